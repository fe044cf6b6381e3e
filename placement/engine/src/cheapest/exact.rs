//! Dynamic programming over the clusters one after the other: for every number of replicas, clusters and domains so far
//! the least cost. Ways that cannot become cheaper than one that is known are left.

use std::collections::BTreeMap;

use super::{
    Bounds, Choice, NEVER, Share,
    hull::Table,
    keys::{Keys, Width},
};
use crate::fleet::Domains;

/// Entries of all rows together, and of the steps that led to them.
const ENTRIES: usize = 1 << 21;
const STEPS: usize = 1 << 22;

/// What is asked for; options in the order of the keys.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    options: &'a [&'a Choice],
    keys: &'a Keys,
    total: usize,
    bounds: &'a Bounds,
    table: &'a Table,
    /// From each place on: how many domains of each level begin, and which domains of each crossing key there are.
    begin: Vec<Vec<usize>>,
    ahead: Vec<Vec<u16>>,
    /// Entries of a row for each number of replicas: as many as replicas on spot nodes are counted apart.
    width: usize,
}

/// How many levels deep the present domains are used already; then how many domains of each level, which of each
/// crossing key, how many nodes of each pool, and how many clusters.
type Cell = Vec<u16>;

/// What the option at hand gets, on top of the step before.
#[derive(Clone, Copy, Debug, Default)]
struct More {
    before: u32,
    replicas: u16,
    way: u16,
}

/// The least cost by number of replicas and, of those, on spot nodes; and how it came about.
#[derive(Clone, Debug)]
struct Row {
    costs: Vec<i128>,
    from: Vec<More>,
}

/// One option that got something, after what came before it.
#[derive(Clone, Copy, Debug)]
struct Step {
    option: u32,
    more: More,
}

struct Run<'a> {
    problem: &'a Problem<'a>,
    clusters: Width,
    upper: i128,
    cells: BTreeMap<Cell, Row>,
    steps: Vec<Step>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(
        options: &'a [&'a Choice],
        keys: &'a Keys,
        total: usize,
        bounds: &'a Bounds,
        table: &'a Table,
    ) -> Self {
        let count = options.len();
        let mut begin = vec![vec![0; keys.levels.len()]; count + 1];
        let mut ahead = vec![vec![0; keys.crossing.len()]; count + 1];
        for at in (0..count).rev() {
            begin[at] = begin[at + 1].clone();
            for (level, it) in keys.levels.iter().enumerate() {
                let new =
                    at == 0 || keys.levels[..=level].iter().any(|it| it.of[at - 1] != it.of[at]);
                begin[at][level] += usize::from(new && it.of[at] != Domains::NONE);
            }
            ahead[at] = ahead[at + 1].clone();
            for (n, it) in keys.crossing.iter().enumerate() {
                ahead[at][n] |= it.of[at].map_or(0, |domain| 1 << domain);
            }
        }
        let spot = options.iter().any(|it| it.ways.iter().any(|it| it.spot));
        let width = if spot { bounds.spot.min(total) + 1 } else { 1 };
        Self { options, keys, total, bounds, table, begin, ahead, width }
    }

    /// The cheapest shares; inside `None` if there are none that cost no more than `upper`. `None` if that takes more
    /// than `work`, of which what it took is added to `steps`.
    pub(super) fn solve(
        &self,
        upper: Option<i128>,
        work: u64,
        steps: &mut u64,
    ) -> Option<Option<Vec<Share>>> {
        if !self.table.is_whole() {
            return None;
        }
        let upper = upper.unwrap_or(NEVER - 1);
        let clusters = Width::new(self.bounds.clusters, self.options.len());
        let start = vec![0; self.place_of_pools() + self.bounds.pools.len() + 1];
        let mut first = Row::empty(self.size());
        first.costs[0] = 0;
        let root = Step { option: 0, more: More::default() };
        let cells = [(start, first)].into();
        let mut run = Run { problem: self, clusters, upper, cells, steps: vec![root] };
        let mut left = work;
        for at in 0..self.options.len() {
            let levels = &self.keys.levels;
            if at > 0
                && let Some(level) = levels.iter().position(|it| it.of[at - 1] != it.of[at])
            {
                run.leave(level);
            }
            run.empty_pools(at);
            run.prune(at);
            let done = run.take(at, &mut left);
            if done.is_none() {
                *steps += work - left;
                return None;
            }
        }
        *steps += work - left;
        run.leave(0);
        Some(run.best())
    }

    /// Adds what an option may get one way to all of a row, and keeps what is cheaper. Returns how much work it was.
    fn add(&self, row: &Row, target: &mut Row, option: &Choice, number: usize) -> u64 {
        let way = &option.ways[number];
        let least = if option.used { option.least } else { option.first() };
        let stride = self.width + usize::from(way.spot);
        let mut work = 0;
        // Descending, so that of equal ways the one stands that gives more to the earlier name.
        for n in (0..=self.total).rev() {
            for spot in 0..self.width {
                let here = n * self.width + spot;
                if row.costs[here] >= NEVER {
                    continue;
                }
                let most = if way.spot { self.width - 1 - spot } else { usize::MAX };
                let top = way.room().min(self.total - n).min(most);
                if least > top {
                    continue;
                }
                work += (top - least + 1) as u64;
                let (from, to) = (here + least * stride, here + top * stride);
                let costs = target.costs[from..=to].iter_mut().step_by(stride);
                let slots = costs.zip(target.from[from..=to].iter_mut().step_by(stride));
                let (before, step) = (row.costs[here], row.from[here].before);
                for ((cost, more), (x, add)) in slots.zip((least..).zip(&way.costs[least..=top])) {
                    if before + add < *cost {
                        *cost = before + add;
                        *more = More {
                            before: step,
                            replicas: u16::try_from(x).expect("not more than 512 replicas"),
                            way: u16::try_from(number).expect("few ways"),
                        };
                    }
                }
            }
        }
        work
    }

    /// Entries of a row.
    fn size(&self) -> usize {
        (self.total + 1) * self.width
    }

    /// Where the pools begin in a cell.
    fn place_of_pools(&self) -> usize {
        1 + self.keys.levels.len() + self.keys.crossing.len()
    }
}

impl Row {
    fn empty(size: usize) -> Self {
        Self { costs: vec![NEVER; size], from: vec![More::default(); size] }
    }

    /// Takes over what is cheaper in the other.
    fn merge(&mut self, other: &Self) {
        for n in 0..self.costs.len() {
            if other.costs[n] < self.costs[n] {
                (self.costs[n], self.from[n]) = (other.costs[n], other.from[n]);
            }
        }
    }
}

impl Run<'_> {
    /// The domains of a level and of those below it are left behind.
    fn leave(&mut self, level: usize) {
        let level = u16::try_from(level).expect("few levels");
        self.change(|cell| cell[0] = cell[0].min(level));
    }

    /// Pools that no option from here on takes from are not counted any more.
    fn empty_pools(&mut self, at: usize) {
        let first = self.problem.place_of_pools();
        for pool in 0..self.problem.bounds.pools.len() {
            let takes = |it: &&&Choice| it.pool == Some(pool);
            let ended = at > 0 && self.problem.options[at - 1].pool == Some(pool);
            if ended && !self.problem.options[at..].iter().any(|it| takes(&it)) {
                self.change(|cell| cell[first + pool] = 0);
            }
        }
    }

    /// Changes cells, of which several may become one.
    fn change(&mut self, change: impl Fn(&mut Cell)) {
        let mut kept: BTreeMap<Cell, Row> = BTreeMap::new();
        for (mut cell, row) in std::mem::take(&mut self.cells) {
            change(&mut cell);
            match kept.get_mut(&cell) {
                Some(other) => other.merge(&row),
                None => {
                    kept.insert(cell, row);
                }
            }
        }
        self.cells = kept;
    }

    /// Forgets what cannot become cheaper than what is known.
    fn prune(&mut self, at: usize) {
        let (problem, upper) = (self.problem, self.upper);
        let (keys, clusters) = (problem.keys, self.clusters.min);
        let level = |cell: &Cell, level: usize| {
            // The domain at hand may be used still.
            let present =
                at > 0 && keys.levels[..=level].iter().all(|it| it.of[at - 1] == it.of[at]);
            let more = problem.begin[at][level] + usize::from(present);
            usize::from(cell[1 + level]) + more >= keys.levels[level].width.min
        };
        let crossing = |cell: &Cell, n: usize| {
            let set = cell[1 + keys.levels.len() + n] | problem.ahead[at][n];
            set.count_ones() as usize >= keys.crossing[n].bounds.0
        };
        self.cells.retain(|cell, row| {
            let used = cell.last().map_or(0, |it| usize::from(*it));
            let mut any = false;
            if used + problem.options.len() - at < clusters
                || !(0..keys.levels.len()).all(|it| level(cell, it))
                || !(0..keys.crossing.len()).all(|it| crossing(cell, it))
            {
                return any;
            }
            for (n, cost) in row.costs.iter_mut().enumerate() {
                let left = problem.total - n / problem.width;
                if *cost < NEVER && *cost + problem.table.from(at, left) > upper {
                    *cost = NEVER;
                }
                any |= *cost < NEVER;
            }
            any
        });
    }

    /// Where a cell comes to when an option is used; `None` if a largest number forbids it.
    fn enter(&self, cell: &Cell, at: usize) -> Option<Cell> {
        let keys = self.problem.keys;
        let mut to = cell.clone();
        let inside = usize::from(cell[0]);
        for (level, it) in keys.levels.iter().enumerate().skip(inside) {
            if it.of[at] != Domains::NONE {
                to[1 + level] = it.width.up(cell[1 + level])?;
            }
        }
        to[0] = u16::try_from(keys.levels.len()).expect("few levels");
        for (n, it) in keys.crossing.iter().enumerate() {
            let Some(domain) = it.of[at] else { continue };
            let set = &mut to[1 + keys.levels.len() + n];
            *set |= 1 << domain;
            if set.count_ones() as usize > it.bounds.1 {
                return None;
            }
        }
        let last = to.last_mut().expect("the number of clusters is the last");
        *last = self.clusters.up(*last)?;
        Some(to)
    }

    /// Gives an option what it may get. `None` if that is too much work.
    fn take(&mut self, at: usize, left: &mut u64) -> Option<()> {
        let problem = self.problem;
        let option = problem.options[at];
        let old = std::mem::take(&mut self.cells);
        if old.len().saturating_mul(problem.size()) > ENTRIES || self.steps.len() > STEPS {
            return None;
        }
        // One that is used already cannot be left out.
        let mut next = if option.used { BTreeMap::new() } else { old.clone() };
        let mut work = (old.len() * problem.size()) as u64;
        for (cell, row) in &old {
            let Some(cell) = self.enter(cell, at) else { continue };
            for (number, way) in option.ways.iter().enumerate() {
                let mut cell = cell.clone();
                if let Some(pool) = option.pool {
                    let used = &mut cell[problem.place_of_pools() + pool];
                    let all = usize::from(*used) + way.nodes;
                    if all > problem.bounds.pools[pool] {
                        continue;
                    }
                    *used = u16::try_from(all).expect("pools are cut to what can be used");
                }
                let target = next.entry(cell).or_insert_with(|| Row::empty(problem.size()));
                work += problem.add(row, target, option, number);
            }
            if work > *left {
                *left = 0;
                return None;
            }
        }
        *left -= work.min(*left);
        self.cells = next;
        self.keep_steps(at);
        Some(())
    }

    /// Writes down how the rows came about.
    fn keep_steps(&mut self, at: usize) {
        let option = u32::try_from(at).expect("fewer than 2³² options");
        for row in self.cells.values_mut() {
            for more in row.from.iter_mut().filter(|it| it.replicas > 0) {
                let id = u32::try_from(self.steps.len()).expect("fewer than 2³² steps");
                self.steps.push(Step { option, more: *more });
                *more = More { before: id, ..More::default() };
            }
        }
    }

    /// The cheapest of the ways that keep every bound.
    fn best(&self) -> Option<Vec<Share>> {
        let keys = self.problem.keys;
        let total = self.problem.total;
        let enough = |cell: &Cell| {
            let levels = keys.levels.iter().zip(&cell[1..]);
            let sets = keys.crossing.iter().zip(&cell[1 + keys.levels.len()..]);
            levels.map(|(it, count)| (it.width.min, usize::from(*count))).all(|it| it.1 >= it.0)
                && sets
                    .map(|(it, set)| (it.bounds.0, set.count_ones() as usize))
                    .all(|it| it.1 >= it.0)
                && cell.last().is_some_and(|it| usize::from(*it) >= self.clusters.min)
        };
        let last = total * self.problem.width..self.problem.size();
        let mut best: Option<(&Row, usize)> = None;
        for (_, row) in self.cells.iter().filter(|(cell, _)| enough(cell)) {
            for at in last.clone().filter(|at| row.costs[*at] <= self.upper) {
                if best.is_none_or(|(other, was)| row.costs[at] < other.costs[was]) {
                    best = Some((row, at));
                }
            }
        }
        let (row, at) = best?;
        let mut shares = vec![Share::default(); self.problem.options.len()];
        let mut step = row.from[at].before;
        while step > 0 {
            let Step { option, more } = self.steps[step as usize];
            let (replicas, way) = (usize::from(more.replicas), usize::from(more.way));
            shares[option as usize] = Share { replicas, way };
            step = more.before;
        }
        Some(shares)
    }
}
