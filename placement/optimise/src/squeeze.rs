//! Fits in what is missing without another node: a replica takes the place of smaller ones or of one that goes elsewhere,
//! and what it drove out is missing instead. So what is missing becomes small, and small replicas fit into what nodes
//! have left.

use crate::{
    anneal::{may_start, place_in},
    bound::Prices,
    fill::{Guide, allowance, place},
    improve::Dice,
    net::{Amounts, DIMS, MANY, Net, fit},
    state::State,
};

/// Nodes that are tried for a replica that was driven out.
const TRIES: usize = 6;
/// Others that are tried beside it.
const FILLERS: usize = 4;
/// Tries to fit in what a closed node ran.
const CLOSING: usize = 20_000;

/// By task: what a missing replica counts as.
pub(crate) fn penalties(net: &Net<'_>, prices: &Prices) -> Vec<i64> {
    // What a unit of each resource is worth on the average of nodes that cost something.
    let (mut money, mut amount) = ([0.0_f64; DIMS], [0.0_f64; DIMS]);
    for (pool, prices) in net.pools.iter().zip(&prices.pools).filter(|it| it.0.cost > 0) {
        for r in 0..DIMS {
            if pool.free[r] > 0 && pool.free[r] < MANY {
                money[r] += prices[r] * pool.nodes as f64;
                amount[r] += (pool.free[r] * pool.nodes) as f64;
            }
        }
    }
    let rates: Vec<f64> = (0..DIMS).map(|r| money[r] / amount[r].max(1.0)).collect();
    let of = |need: &Amounts| {
        let worth: f64 = rates.iter().zip(need).map(|(rate, need)| rate * *need as f64).sum();
        whole(worth * 1.1) + 1
    };
    net.tasks.iter().map(|it| of(&it.need)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a price that does not fit saturates")]
fn whole(price: f64) -> i64 {
    price.min(1e12) as i64
}

/// So many tries. Stops when nothing is missing.
pub(crate) fn squeeze(
    state: &mut State<'_>,
    penalties: &[i64],
    dice: &mut Dice,
    steps: usize,
    stop: &dyn Fn() -> bool,
) {
    let mut waiting: Vec<usize> =
        (0..state.parts.len()).filter(|it| state.parts[*it].missing > 0).collect();
    for step in 0..steps {
        if waiting.is_empty() || (step % 4_096 == 0 && stop()) {
            return;
        }
        let at = dice.roll(waiting.len());
        let task = waiting[at];
        if state.parts[task].missing == 0 {
            waiting.swap_remove(at);
            continue;
        }
        let places = &state.net.tasks[task].places;
        let place = dice.roll(places.len());
        if !may_start(state, task, place) {
            continue;
        }
        let Some(bin) = any_open(state, places[place].pool, dice) else { continue };
        if state.room(bin, task) > 0 {
            let n = allowance(state, task, places[place].site).min(state.room(bin, task));
            if n > 0 {
                let before = state.cost;
                state.mark();
                state.start(bin, task, place, n);
                if state.cost - before > penalties[task] * n {
                    state.undo();
                }
            }
            continue;
        }
        if let Some(out) = drive_out(state, penalties, dice, (bin, task, place), &waiting) {
            waiting.push(out);
        }
    }
}

fn any_open(state: &State<'_>, pool: usize, dice: &mut Dice) -> Option<usize> {
    let open = &state.open[pool];
    (!open.is_empty()).then(|| open[dice.roll(open.len())])
}

/// Puts a replica in the place of some others. What those are now missing of is returned.
fn drive_out(
    state: &mut State<'_>,
    penalties: &[i64],
    dice: &mut Dice,
    (bin, task, place): (usize, usize, usize),
    waiting: &[usize],
) -> Option<usize> {
    let net = state.net;
    let it = &net.tasks[task];
    let there = state.bins[bin].load.iter().find(|load| load.0 == task).map_or(0, |load| load.2);
    if there >= it.per_node {
        return None;
    }
    let load = &state.bins[bin].load;
    let (other, other_place, has) = load[dice.roll(load.len())];
    if other == task {
        return None;
    }
    // As few of them as make room.
    let (free, need, gives) = (&state.bins[bin].free, &it.need, &net.tasks[other].need);
    let mut k = 1;
    for r in 0..DIMS {
        let short = need[r] - free[r];
        if short > 0 {
            if gives[r] == 0 {
                return None;
            }
            k = k.max((short + gives[r] - 1) / gives[r]);
        }
    }
    if k > has || !may_leave(state, other, other_place, k) {
        return None;
    }
    let n = allowance(state, task, it.places[place].site);
    if n == 0 || (it.least > 1 && state.parts[task].at(it.places[place].site) == 0) {
        return None;
    }
    let before = state.cost;
    state.mark();
    state.start(bin, other, other_place, -k);
    state.start(bin, task, place, 1);
    let mut gain = penalties[task];
    // What else is missing may fill the rest.
    for _ in 0..FILLERS {
        let filler = waiting[dice.roll(waiting.len())];
        if filler == other || state.parts[filler].missing == 0 {
            continue;
        }
        let Some(to_place) = place_in(state, filler, state.bins[bin].pool) else { continue };
        let room = state.room(bin, filler);
        if room <= 0 || !may_start(state, filler, to_place) {
            continue;
        }
        let n = room.min(allowance(state, filler, net.tasks[filler].places[to_place].site));
        if n > 0 {
            state.start(bin, filler, to_place, n);
            gain += penalties[filler] * n;
        }
    }
    let mut left = k;
    let others = &net.tasks[other].places;
    for _ in 0..TRIES {
        let to_place = dice.roll(others.len());
        if !may_start(state, other, to_place) {
            continue;
        }
        let Some(to) = any_open(state, others[to_place].pool, dice) else { continue };
        let room = fit(&state.bins[to].free, gives);
        if room <= 0 || to == bin {
            continue;
        }
        let n = left.min(state.room(to, other)).min(allowance(state, other, others[to_place].site));
        if n > 0 {
            state.start(to, other, to_place, n);
            left -= n;
            if left == 0 {
                break;
            }
        }
    }
    // What is a little dearer is taken now and then: it mixes what is missing.
    let gain = gain - left * penalties[other] - (state.cost - before);
    if gain >= 0 || (left > 0 && gain * 30 >= -penalties[task] && dice.roll(4) == 0) {
        return (left > 0).then_some(other);
    }
    state.undo();
    None
}

/// Whether so many replicas may be taken off a site: what stays there is none or enough, and no rule needs it.
fn may_leave(state: &State<'_>, task: usize, place: usize, n: i64) -> bool {
    let (it, part) = (&state.net.tasks[task], &state.parts[task]);
    let site = it.places[place].site;
    let left = part.at(site) - n;
    if left > 0 {
        return left >= it.least;
    }
    let rules = it.rules.iter().zip(&part.counts).zip(&part.domains);
    let mut rules = rules.map(|((rule, count), domains)| (rule, *count, domains[rule.of[site]]));
    rules.all(|(rule, count, sites)| sites > 1 || count > rule.min)
}

/// Closes one of the nodes whose replicas are worth least beside what it costs, if they fit in elsewhere.
pub(crate) fn close<'a>(
    state: &mut State<'a>,
    guide: &Guide,
    penalties: &[i64],
    sizes: &[i64],
    dice: &mut Dice,
    stop: &dyn Fn() -> bool,
) {
    let spare = |bin: usize| {
        let own = &state.bins[bin];
        let worth: i64 = own.load.iter().map(|it| penalties[it.0] * it.2).sum();
        state.net.pools[own.pool].cost - worth
    };
    if state.bins.is_empty() {
        return;
    }
    let tries: Vec<usize> = (0..TRIES).map(|_| dice.roll(state.bins.len())).collect();
    let open = tries.into_iter().filter(|it| {
        let own = &state.bins[*it];
        !own.load.is_empty() && state.net.pools[own.pool].cost > 0
    });
    let Some(bin) = open.max_by_key(|it| (spare(*it), *it)) else { return };
    let before = state.clone();
    state.empty_out(bin);
    let tries = (2 * sizes.len()).saturating_mul(10).clamp(200, CLOSING);
    squeeze(state, penalties, dice, tries, stop);
    let mut left: Vec<usize> =
        (0..state.parts.len()).filter(|it| state.parts[*it].missing > 0).collect();
    left.sort_by_key(|it| (std::cmp::Reverse(sizes[*it]), *it));
    let placed = left.into_iter().all(|it| place(state, guide, it));
    let over = state.net.instance.max_moves.is_some_and(|max| state.moved > max);
    if !placed || over || state.cost >= before.cost {
        *state = before;
    }
}
