//! Every way to run a few tasks while the others stay as they are: what is small enough is solved exactly, and what is
//! not quite as small is solved for its tasks one by one and two by two, until none of that saves anything.

use crate::{
    anneal::may_start,
    state::{Bin, State},
};

/// A fleet with more replicas than these is not tried as a whole.
const REPLICAS: i64 = 64;
/// Steps that are made for all tasks at once, for one or two of them, and for all the ones and twos together.
const ALL: usize = 2_000_000;
const SOME: usize = 4_000;
const TOGETHER: usize = 4_000_000;

/// Looks for a cheaper placement until there is none in reach. Says whether it is known that there is none at all.
pub(crate) fn settle(state: &mut State<'_>, stop: &dyn Fn() -> bool) -> bool {
    state.forget();
    let tasks = state.net.tasks.len();
    let mut left = TOGETHER;
    loop {
        let before = (state.cost, state.moved);
        for one in 0..tasks {
            for two in one..tasks {
                let some = if one == two { vec![one] } else { vec![one, two] };
                if left < SOME || stop() {
                    return false;
                }
                left -= try_all(state, &some, SOME, stop).1;
            }
        }
        if (state.cost, state.moved) == before {
            break;
        }
    }
    let replicas: i64 = state.net.tasks.iter().map(|it| it.replicas).sum();
    replicas <= REPLICAS && try_all(state, &(0..tasks).collect::<Vec<_>>(), ALL, stop).0
}

/// Puts these tasks where they cost least together. Says whether every way was looked at, and in how many steps.
fn try_all(
    state: &mut State<'_>,
    tasks: &[usize],
    steps: usize,
    stop: &dyn Fn() -> bool,
) -> (bool, usize) {
    let before = state.clone();
    for task in tasks {
        state.take_off(*task, true);
    }
    let cheapest = |task: &usize| {
        let it = &state.net.tasks[*task];
        let starts = it.places.iter().map(|it| it.cost);
        let stays = it.sites.iter().filter_map(|it| Some(it.held?.cost));
        starts.chain(stays).min().unwrap_or(0).saturating_mul(it.replicas)
    };
    let mut least = vec![0; tasks.len() + 1];
    for (at, task) in tasks.iter().enumerate().rev() {
        least[at] = cheapest(task) + least[at + 1];
    }
    let best = before.cost;
    let mut every = Every { state, tasks, least, best, found: None, left: steps, stop };
    every.task(0);
    let (found, left) = (every.found, every.left);
    *state = found.unwrap_or(before);
    (left > 0, steps - left)
}

struct Every<'s, 'a> {
    state: &'s mut State<'a>,
    tasks: &'s [usize],
    /// What the tasks from this one on cost at least.
    least: Vec<i64>,
    best: i64,
    found: Option<State<'a>>,
    /// Steps that may still be made.
    left: usize,
    stop: &'s dyn Fn() -> bool,
}

impl Every<'_, '_> {
    /// Whether nothing cheaper can come of it.
    fn is_over(&mut self, at: usize) -> bool {
        self.left = self.left.saturating_sub(1);
        if self.left % 4_096 == 1 && (self.stop)() {
            self.left = 0;
        }
        let over = self.state.net.instance.max_moves.is_some_and(|max| self.state.moved > max);
        let task = self.tasks.get(at);
        // The task that is being placed counts with what it has, and the others with the least.
        let rest = task.map_or(0, |_| self.least[at + 1]);
        self.left == 0 || over || self.state.cost + rest >= self.best
    }

    fn task(&mut self, at: usize) {
        if self.is_over(at) {
            return;
        }
        if at < self.tasks.len() {
            self.stay(at, 0);
        } else {
            self.best = self.state.cost;
            self.found = Some(self.state.clone());
        }
    }

    /// How many stay where they run, cluster by cluster.
    fn stay(&mut self, at: usize, site: usize) {
        let task = self.tasks[at];
        let Some(it) = self.state.net.tasks[task].sites.get(site) else {
            return self.start(at, 0, 0);
        };
        let Some(held) = it.held else { return self.stay(at, site + 1) };
        let most = held.replicas.min(self.state.parts[task].missing);
        for n in (0..=most.min(self.state.vacant(held.pool))).rev() {
            if n > 0 {
                self.state.stay(task, site, n);
            }
            if !self.is_over(at) {
                self.stay(at, site + 1);
            }
            if n > 0 {
                self.state.stay(task, site, -n);
            }
        }
    }

    /// The others, one by one, none before the place and the node of the one before: they are alike.
    fn start(&mut self, at: usize, first: usize, node: usize) {
        let task = self.tasks[at];
        if self.state.parts[task].missing == 0 {
            if self.state.is_whole(task) {
                self.task(at + 1);
            }
            return;
        }
        let it = &self.state.net.tasks[task];
        for place in first..it.places.len() {
            let (pool, site) = (it.places[place].pool, it.places[place].site);
            if !may_start(self.state, task, place) || self.state.parts[task].at(site) >= it.most {
                continue;
            }
            let from = if place == first { node } else { 0 };
            for open in from..self.state.open[pool].len() {
                let bin = self.state.open[pool][open];
                if self.state.room(bin, task) > 0 && !self.is_like_one_before(pool, from, open) {
                    self.one(at, place, bin, open);
                }
            }
            if self.state.vacant(pool) > 0 {
                let bin = self.state.open(pool);
                if self.state.room(bin, task) > 0 {
                    let open = self.state.open[pool].len() - 1;
                    self.one(at, place, bin, open);
                }
                self.state.close(bin);
            }
        }
    }

    fn one(&mut self, at: usize, place: usize, bin: usize, open: usize) {
        let task = self.tasks[at];
        self.state.start(bin, task, place, 1);
        if !self.is_over(at) {
            self.start(at, place, open);
        }
        self.state.start(bin, task, place, -1);
    }

    /// Whether another node that may be chosen runs the same.
    fn is_like_one_before(&self, pool: usize, from: usize, open: usize) -> bool {
        let open_ones = &self.state.open[pool];
        let load = |at: usize| {
            let Bin { load, .. } = &self.state.bins[open_ones[at]];
            let mut load: Vec<_> = load.iter().map(|it| (it.0, it.2)).collect();
            load.sort_unstable();
            load
        };
        let own = load(open);
        (from..open).any(|it| load(it) == own)
    }
}
