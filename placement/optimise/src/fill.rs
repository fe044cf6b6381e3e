//! Puts what is missing somewhere: the cheapest place by price, the tightest node there, and every rule kept.

use crate::{
    bound::Prices,
    net::{Amounts, DIMS, MANY, Net},
    state::State,
};

/// What a place counts as when one is chosen: its own cost, and what its room is worth to others.
#[derive(Clone, Debug)]
pub(crate) struct Guide {
    /// By pool: what a node is worth, and the part of it that each unit of each resource makes up, were the others in
    /// plenty. What is left of a node is worth what the fleet's average replica can use of it.
    pools: Vec<(f64, [f64; DIMS])>,
    /// By pool: what a unit of each resource is worth by price, for the part that `scarce` leaves.
    rates: Vec<[f64; DIMS]>,
    /// By task and place: what a replica counts as on a node that does not run yet.
    alone: Vec<Vec<i64>>,
    /// By task and site: what a replica counts as that stays.
    stays: Vec<Vec<i64>>,
    moves: i64,
}

impl Guide {
    /// `percent` of the prices count on nodes that run already, `scarce` of that by what is left of the node, the rest
    /// by what is taken.
    pub(crate) fn new(net: &Net<'_>, prices: &Prices, percent: f64, scarce: f64) -> Self {
        let mut wanted = [0.0; DIMS];
        for it in &net.tasks {
            for (sum, need) in wanted.iter_mut().zip(&it.need) {
                *sum += *need as f64 * it.replicas as f64;
            }
        }
        let pools = net.pools.iter().zip(&prices.pools).map(|(it, prices)| {
            let counts = |r: usize| it.free[r] > 0 && it.free[r] < MANY && wanted[r] > 0.0;
            let usable = (0..DIMS).filter(|r| counts(*r)).map(|r| it.free[r] as f64 / wanted[r]);
            let usable = usable.fold(f64::INFINITY, f64::min);
            let unit = |r: usize| if counts(r) { 1.0 / wanted[r] / usable } else { f64::INFINITY };
            (prices.iter().sum::<f64>() * percent / 100.0 * scarce, std::array::from_fn(unit))
        });
        let rates = net.pools.iter().zip(&prices.pools).map(|(it, prices)| {
            let rate = |r: usize| prices[r] / it.free[r].max(1) as f64;
            std::array::from_fn(|r| rate(r) * percent / 100.0 * (1.0 - scarce))
        });
        let rates = rates.collect();
        let moves = whole(prices.moves);
        let alone = net.tasks.iter().map(|task| {
            let of = |it: &crate::net::NetPlace| {
                let (pool, prices) = (&net.pools[it.pool], &prices.pools[it.pool]);
                let (mut sum, mut total, mut most) = (0.0, 0.0, 0.0_f64);
                for ((price, free), need) in prices.iter().zip(&pool.free).zip(&task.need) {
                    if *free > 0 && *free < MANY {
                        let part = *need as f64 / *free as f64;
                        sum += price * part;
                        most = most.max(part);
                        total += price;
                    }
                }
                // Where prices do not pay for the node, the rest of it is asked of whoever opens it.
                it.cost + whole(sum) + whole((pool.cost as f64 - total).max(0.0) * most)
            };
            task.places.iter().map(of).collect()
        });
        let stays = net.tasks.iter().map(|task| {
            let cost = |it: &crate::net::Site| {
                let worth = |pool: usize| prices.pools[pool].iter().sum::<f64>();
                it.held.map_or(0, |it| it.cost + whole(worth(it.pool) * percent / 100.0))
            };
            task.sites.iter().map(cost).collect()
        });
        Self {
            alone: alone.collect(),
            stays: stays.collect(),
            pools: pools.collect(),
            rates,
            moves,
        }
    }

    /// What a replica takes away of the worth of a node that runs already.
    fn takes(&self, pool: usize, free: &Amounts, need: &Amounts) -> i64 {
        let (worth, units) = &self.pools[pool];
        let (mut before, mut after) = (1.0_f64, 1.0_f64);
        for ((unit, free), need) in units.iter().zip(free).zip(need) {
            if unit.is_finite() {
                before = before.min(*free as f64 * unit);
                after = after.min((free - need) as f64 * unit);
            }
        }
        let taken = self.rates[pool].iter().zip(need).map(|(rate, need)| rate * *need as f64);
        whole(worth * (before - after) + taken.sum::<f64>())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a price that does not fit saturates")]
fn whole(price: f64) -> i64 {
    price.min(1e15) as i64
}

/// Where the next replicas go.
#[derive(Clone, Copy, Debug)]
enum To {
    Stay(usize),
    Bin(usize, usize),
    New(usize),
}

/// Puts the missing replicas of a task somewhere. `false` if that cannot be, or breaks a rule.
pub(crate) fn place(state: &mut State<'_>, guide: &Guide, task: usize) -> bool {
    while state.parts[task].missing > 0 {
        let Some((to, n)) = next(state, guide, task) else { return false };
        match to {
            To::Stay(site) => state.stay(task, site, n),
            To::Bin(bin, place) => state.start(bin, task, place, n),
            To::New(place) => {
                let bin = state.open(state.net.tasks[task].places[place].pool);
                let n = n.min(state.room(bin, task));
                state.start(bin, task, place, n);
            }
        }
    }
    state.is_whole(task)
}

/// How many replicas a site may get now.
pub(crate) fn allowance(state: &State<'_>, task: usize, site: usize) -> i64 {
    let (it, part) = (&state.net.tasks[task], &state.parts[task]);
    let there = part.at(site);
    let mut cap = it.most - there;
    if there > 0 && there < it.least {
        return (it.least - there).min(part.missing);
    }
    // What must be kept for others: sites below the least share, and domains that are to come.
    let mut kept: i64 = 0;
    for other in 0..it.sites.len() {
        let n = part.at(other);
        if n > 0 && n < it.least {
            kept += it.least - n;
        }
    }
    if kept > 0 {
        return 0;
    }
    let to_come = |opens: bool| {
        let rules = it.rules.iter().zip(&part.counts).zip(&part.domains);
        rules
            .map(|((rule, count), domains)| {
                let new = i64::from(opens && domains[rule.of[site]] == 0);
                (rule.min - count - new).max(0)
            })
            .max()
            .unwrap_or(0)
    };
    if there > 0 {
        cap = cap.min(part.missing - to_come(false) * it.least);
        return cap.max(0);
    }
    for ((rule, count), domains) in it.rules.iter().zip(&part.counts).zip(&part.domains) {
        if domains[rule.of[site]] == 0 && *count >= rule.max {
            return 0;
        }
    }
    let cap = cap.min(part.missing - to_come(true) * it.least);
    if cap < it.least { 0 } else { cap }
}

fn next(state: &State<'_>, guide: &Guide, task: usize) -> Option<(To, i64)> {
    let (net, it, part) = (state.net, &state.net.tasks[task], &state.parts[task]);
    let mut best: Option<(i64, To, i64)> = None;
    let moves_left = match net.instance.max_moves {
        Some(max) if it.moves => max - state.moved,
        _ => MANY,
    };
    if it.moves {
        for (site, own) in it.sites.iter().enumerate() {
            let Some(held) = own.held else { continue };
            let back = (held.replicas - part.stays[site]).min(state.vacant(held.pool));
            if back > 0 && best.is_none_or(|best| guide.stays[task][site] < best.0) {
                let n = allowance(state, task, site).min(back);
                if n > 0 {
                    best = Some((guide.stays[task][site], To::Stay(site), n));
                }
            }
        }
    }
    if moves_left <= 0 {
        return best.map(|it| (it.1, it.2));
    }
    let mut site = usize::MAX;
    let (mut allowed, mut first) = (0, 0);
    for (at, place) in it.places.iter().enumerate() {
        if place.site != site {
            site = place.site;
            // Replicas that left come back to where they were, or go elsewhere.
            let gave_up = it.sites[site].held.is_some_and(|held| part.stays[site] < held.replicas);
            allowed = if gave_up { 0 } else { allowance(state, task, site).min(moves_left) };
            // What the first replica there costs beside is borne by all that can come.
            first = match part.at(site) {
                0 if allowed > 0 => it.sites[site].fixed / allowed.min(it.sites[site].cap).max(1),
                _ => 0,
            };
            first += if it.moves { guide.moves } else { 0 };
        }
        let base = place.cost + first;
        if allowed <= 0 || best.is_some_and(|best| best.0 <= base) {
            continue;
        }
        let mut tight = i64::MAX;
        for bin in &state.open[place.pool] {
            let room = state.room(*bin, task);
            if room <= 0 {
                continue;
            }
            let free = &state.bins[*bin].free;
            let cost = base + guide.takes(place.pool, free, &it.need);
            let left = parts(free, &net.pools[place.pool].free);
            if best.is_none_or(|best| (cost, left) < (best.0, tight)) {
                best = Some((cost, To::Bin(*bin, at), room.min(allowed)));
                tight = left;
            }
        }
        let alone = guide.alone[task][at] + first;
        if best.is_none_or(|best| alone < best.0) && state.vacant(place.pool) > 0 {
            best = Some((alone, To::New(at), allowed));
        }
    }
    best.map(|it| (it.1, it.2))
}

/// How much is left of a node, in thousandths of each resource.
pub(crate) fn parts(free: &Amounts, whole: &Amounts) -> i64 {
    let shares = free.iter().zip(whole).filter(|it| *it.1 > 0 && *it.1 < MANY);
    shares
        .map(|(free, whole)| {
            i64::try_from(i128::from(*free) * 1_000 / i128::from(*whole)).unwrap_or(0)
        })
        .sum()
}
