//! Simulated annealing over single replicas: shifts one, or swaps two, and takes what is dearer the less often the
//! longer it runs. What is left on a node counts the more the emptier it is, so that nodes come to be empty or full.

use crate::{
    improve::Dice,
    net::{DIMS, MANY, Net},
    state::State,
};

/// What the rest of a node counts as: by pool, its cost and the part of it that a unit of each resource makes up.
#[derive(Debug)]
struct Rests(Vec<(f64, [f64; DIMS])>);

impl Rests {
    fn new(net: &Net<'_>) -> Self {
        let mut wanted = [0.0; DIMS];
        for it in &net.tasks {
            for (sum, need) in wanted.iter_mut().zip(&it.need) {
                *sum += *need as f64 * it.replicas as f64;
            }
        }
        let of = |it: &crate::net::NetPool| {
            let counts = |r: usize| it.free[r] > 0 && it.free[r] < MANY && wanted[r] > 0.0;
            let usable = (0..DIMS).filter(|r| counts(*r)).map(|r| it.free[r] as f64 / wanted[r]);
            let usable = usable.fold(f64::INFINITY, f64::min);
            let unit = |r: usize| if counts(r) { 1.0 / wanted[r] / usable } else { f64::INFINITY };
            (it.cost as f64, std::array::from_fn(unit))
        };
        Self(net.pools.iter().map(of).collect())
    }

    /// The credit for what is left of a node.
    #[expect(clippy::cast_possible_truncation, reason = "at most the cost of a node")]
    fn of(&self, state: &State<'_>, bin: usize) -> i64 {
        let it = &state.bins[bin];
        let (cost, units) = &self.0[it.pool];
        if *cost == 0.0 {
            return 0;
        }
        let parts = units.iter().zip(&it.free).filter(|it| it.0.is_finite());
        let left = parts.map(|(unit, free)| *free as f64 * unit).fold(1.0, f64::min);
        (cost * left * left) as i64
    }
}

/// Runs so many steps in which something may become dearer by `heat`. `false` if `stop` ended it.
pub(crate) fn anneal(
    state: &mut State<'_>,
    dice: &mut Dice,
    heat: i64,
    steps: usize,
    stop: &dyn Fn() -> bool,
) -> bool {
    let rests = Rests::new(state.net);
    let runs = state.net.tasks.iter().any(|it| it.moves);
    for step in 0..steps {
        if step % 4_096 == 0 && stop() {
            return false;
        }
        // Twice as dear is taken half as often.
        let allowed = heat * i64::from(dice.halvings());
        match dice.roll(8) {
            0 | 1 if runs => leave(state, &rests, dice, allowed),
            0..4 => shift(state, &rests, dice, allowed),
            _ => swap(state, &rests, dice, allowed),
        }
    }
    true
}

/// Replicas leave where they run today.
fn leave(state: &mut State<'_>, rests: &Rests, dice: &mut Dice, allowed: i64) {
    let task = dice.roll(state.parts.len());
    let it = &state.net.tasks[task];
    let site = dice.roll(it.sites.len());
    let (stays, starts) = (state.parts[task].stays[site], state.parts[task].starts[site]);
    if stays == 0 || starts > 0 || it.places.is_empty() {
        return;
    }
    let to_place = dice.roll(it.places.len());
    let place = it.places[to_place];
    if place.site == site || !may_start(state, task, to_place) {
        return;
    }
    let open = &state.open[place.pool];
    let old = if open.is_empty() { None } else { Some(open[dice.roll(open.len())]) };
    let old = old.filter(|bin| state.room(*bin, task) > 0);
    if old.is_none() && state.vacant(place.pool) == 0 {
        return;
    }
    let before = state.cost - old.map_or(0, |bin| rests.of(state, bin));
    let to = old.unwrap_or_else(|| state.open(place.pool));
    let most = stays.min(state.room(to, task));
    let n = 1 + i64::try_from(dice.roll(usize::try_from(most).unwrap_or(1))).unwrap_or(0);
    state.stay(task, site, -n);
    state.start(to, task, to_place, n);
    let over = state.net.instance.max_moves.is_some_and(|max| state.moved > max);
    let after = state.cost - rests.of(state, to);
    if over || after - before > allowed || !state.is_whole(task) {
        state.start(to, task, to_place, -n);
        state.stay(task, site, n);
        if old.is_none() {
            state.close(to);
        }
    }
}

fn any(state: &State<'_>, dice: &mut Dice) -> Option<usize> {
    let bin = dice.roll(state.bins.len());
    (!state.bins.get(bin)?.load.is_empty()).then_some(bin)
}

/// A place of the task in that pool.
pub(crate) fn place_in(state: &State<'_>, task: usize, pool: usize) -> Option<usize> {
    let by_pool = &state.net.tasks[task].by_pool;
    by_pool.binary_search_by_key(&pool, |it| it.0).ok().map(|at| by_pool[at].1)
}

/// Replicas that gave their places up do not start beside them.
pub(crate) fn may_start(state: &State<'_>, task: usize, place: usize) -> bool {
    let it = &state.net.tasks[task];
    let site = it.places[place].site;
    it.sites[site].held.is_none_or(|held| state.parts[task].stays[site] == held.replicas)
}

fn shift(state: &mut State<'_>, rests: &Rests, dice: &mut Dice, allowed: i64) {
    let Some(from) = any(state, dice) else { return };
    let load = &state.bins[from].load;
    let (task, place, has) = load[dice.roll(load.len())];
    let places = &state.net.tasks[task].places;
    let to_place = dice.roll(places.len());
    let pool = places[to_place].pool;
    let open = &state.open[pool];
    if open.is_empty() {
        return;
    }
    if !may_start(state, task, to_place) {
        return;
    }
    // Most nodes are full: a few are tried.
    let tries = (0..4).map(|_| open[dice.roll(open.len())]);
    let found = tries.map(|to| (to, state.room(to, task))).find(|it| it.1 > 0 && it.0 != from);
    let Some((to, room)) = found else { return };
    let most = usize::try_from(has.min(room)).unwrap_or(1);
    let n = 1 + i64::try_from(dice.roll(most)).unwrap_or(0);
    let before = state.cost - rests.of(state, from) - rests.of(state, to);
    state.start(from, task, place, -n);
    state.start(to, task, to_place, n);
    let empties = state.bins[from].load.is_empty();
    let gain =
        if empties { state.net.pools[state.bins[from].pool].cost } else { rests.of(state, from) };
    let after = state.cost - gain - rests.of(state, to);
    if after - before <= allowed && state.is_whole(task) {
        if empties {
            state.close(from);
        }
    } else {
        state.start(to, task, to_place, -n);
        state.start(from, task, place, n);
    }
}

fn swap(state: &mut State<'_>, rests: &Rests, dice: &mut Dice, allowed: i64) {
    let Some(a) = any(state, dice) else { return };
    let load_a = &state.bins[a].load;
    let (one, one_at, _) = load_a[dice.roll(load_a.len())];
    let places = &state.net.tasks[one].places;
    let open = &state.open[places[dice.roll(places.len())].pool];
    if open.is_empty() {
        return;
    }
    let b = open[dice.roll(open.len())];
    let load_b = &state.bins[b].load;
    let (two, two_at, _) = load_b[dice.roll(load_b.len())];
    if a == b || one == two {
        return;
    }
    let Some(one_to) = place_in(state, one, state.bins[b].pool) else { return };
    let Some(two_to) = place_in(state, two, state.bins[a].pool) else { return };
    if !may_start(state, one, one_to) || !may_start(state, two, two_to) {
        return;
    }
    // As many of the smaller as make up one of the larger.
    let (need_one, need_two) = (&state.net.tasks[one].need, &state.net.tasks[two].need);
    let (n, m) = if need_one[0] >= need_two[0] {
        (
            1,
            (need_one[0] / need_two[0].max(1))
                .clamp(1, load_b.iter().find(|it| it.0 == two).map_or(1, |it| it.2)),
        )
    } else {
        (
            (need_two[0] / need_one[0].max(1))
                .clamp(1, load_a.iter().find(|it| it.0 == one).map_or(1, |it| it.2)),
            1,
        )
    };
    let fits = |bin: usize, minus: &[i64; DIMS], less: i64, plus: &[i64; DIMS], more: i64| {
        let free = &state.bins[bin].free;
        (0..DIMS).all(|r| free[r] + minus[r] * less - plus[r] * more >= 0)
    };
    if !fits(a, need_one, n, need_two, m) || !fits(b, need_two, m, need_one, n) {
        return;
    }
    let per_node = |bin: usize, task: usize, n: i64| {
        let there = state.bins[bin].load.iter().find(|it| it.0 == task).map_or(0, |it| it.2);
        there + n <= state.net.tasks[task].per_node
    };
    if !per_node(b, one, n) || !per_node(a, two, m) {
        return;
    }
    let before = state.cost - rests.of(state, a) - rests.of(state, b);
    state.start(a, one, one_at, -n);
    state.start(b, two, two_at, -m);
    state.start(a, two, two_to, m);
    state.start(b, one, one_to, n);
    let after = state.cost - rests.of(state, a) - rests.of(state, b);
    if after - before > allowed || !state.is_whole(one) || !state.is_whole(two) {
        state.start(b, one, one_to, -n);
        state.start(a, two, two_to, -m);
        state.start(b, two, two_at, m);
        state.start(a, one, one_at, n);
    }
}
