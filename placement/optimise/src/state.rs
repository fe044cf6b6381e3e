//! A placement while it is being worked on: nodes that run something, what stays, what it costs, and a way back.

use std::collections::BTreeMap;

use crate::{
    instance::{Fill, Solution},
    net::{Amounts, MANY, Net, fit},
};

/// A node that runs something.
#[derive(Clone, Debug)]
pub(crate) struct Bin {
    pub(crate) pool: usize,
    pub(crate) free: Amounts,
    /// Task, place of the task, replicas.
    pub(crate) load: Vec<(usize, usize, i64)>,
    /// Where it stands in its pool's list.
    at: usize,
}

/// One task's part.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// By site.
    pub(crate) stays: Vec<i64>,
    pub(crate) starts: Vec<i64>,
    /// By rule and domain: sites that run any.
    pub(crate) domains: Vec<Vec<i64>>,
    /// By rule: domains that run any.
    pub(crate) counts: Vec<i64>,
    /// Replicas that are nowhere.
    pub(crate) missing: i64,
}

impl Part {
    pub(crate) fn at(&self, site: usize) -> i64 {
        self.stays[site] + self.starts[site]
    }
}

/// What was done, so that it can be undone.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open(usize),
    Close(usize),
    Start { bin: usize, task: usize, place: usize, n: i64 },
    Stay { task: usize, site: usize, n: i64 },
}

#[derive(Clone, Debug)]
pub(crate) struct State<'a> {
    pub(crate) net: &'a Net<'a>,
    pub(crate) bins: Vec<Bin>,
    /// By pool: bins that are open.
    pub(crate) open: Vec<Vec<usize>>,
    /// By pool: nodes that run something, stays included.
    pub(crate) used: Vec<i64>,
    pub(crate) parts: Vec<Part>,
    pub(crate) cost: i64,
    pub(crate) moved: i64,
    pub(crate) missing: i64,
    /// Closed nodes whose memory may be used again, and those that a way back may still need.
    spare: Vec<usize>,
    resting: Vec<usize>,
    log: Vec<Step>,
    logs: bool,
}

impl<'a> State<'a> {
    /// Nothing runs.
    pub(crate) fn empty(net: &'a Net<'a>) -> Self {
        let part = |it: &crate::net::NetTask| Part {
            stays: vec![0; it.sites.len()],
            starts: vec![0; it.sites.len()],
            domains: it.rules.iter().map(|rule| vec![0; rule.domains]).collect(),
            counts: vec![0; it.rules.len()],
            missing: it.replicas,
        };
        Self {
            net,
            bins: Vec::new(),
            open: vec![Vec::new(); net.pools.len()],
            used: vec![0; net.pools.len()],
            parts: net.tasks.iter().map(part).collect(),
            cost: 0,
            moved: 0,
            missing: net.tasks.iter().map(|it| it.replicas).sum(),
            spare: Vec::new(),
            resting: Vec::new(),
            log: Vec::new(),
            logs: false,
        }
    }

    /// What runs today stays.
    pub(crate) fn today(net: &'a Net<'a>) -> Self {
        let mut state = Self::empty(net);
        for (task, it) in net.tasks.iter().enumerate() {
            for (site, it) in it.sites.iter().enumerate() {
                if let Some(held) = it.held {
                    state.stay(task, site, held.replicas);
                }
            }
        }
        state
    }

    /// From here on everything can be undone.
    pub(crate) fn mark(&mut self) {
        self.log.clear();
        self.spare.append(&mut self.resting);
        self.logs = true;
    }

    /// There is no way back from here.
    pub(crate) fn forget(&mut self) {
        self.mark();
        self.logs = false;
    }

    pub(crate) fn undo(&mut self) {
        self.logs = false;
        while let Some(step) = self.log.pop() {
            match step {
                Step::Open(bin) => self.close(bin),
                Step::Close(bin) => self.reopen(bin),
                Step::Start { bin, task, place, n } => self.start(bin, task, place, -n),
                Step::Stay { task, site, n } => self.stay(task, site, -n),
            }
        }
        self.logs = true;
    }

    fn note(&mut self, step: Step) {
        if self.logs {
            self.log.push(step);
        }
    }

    /// Nodes of a pool that nothing runs on.
    pub(crate) fn vacant(&self, pool: usize) -> i64 {
        self.net.pools[pool].nodes - self.used[pool]
    }

    pub(crate) fn open(&mut self, pool: usize) -> usize {
        let at = self.open[pool].len();
        let it = Bin { pool, free: self.net.pools[pool].free, load: Vec::new(), at };
        let bin = match self.spare.pop() {
            Some(bin) => {
                self.bins[bin] = it;
                bin
            }
            None => {
                self.bins.push(it);
                self.bins.len() - 1
            }
        };
        self.open[pool].push(bin);
        self.used[pool] += 1;
        self.cost += self.net.pools[pool].cost;
        self.note(Step::Open(bin));
        bin
    }

    fn reopen(&mut self, bin: usize) {
        let pool = self.bins[bin].pool;
        self.bins[bin].at = self.open[pool].len();
        self.open[pool].push(bin);
        self.used[pool] += 1;
        self.cost += self.net.pools[pool].cost;
        self.resting.retain(|it| *it != bin);
    }

    /// A node that runs nothing any more.
    pub(crate) fn close(&mut self, bin: usize) {
        let Bin { pool, at, .. } = self.bins[bin];
        debug_assert!(self.bins[bin].load.is_empty(), "only an empty node is closed");
        self.open[pool].swap_remove(at);
        if let Some(moved) = self.open[pool].get(at) {
            self.bins[*moved].at = at;
        }
        self.used[pool] -= 1;
        self.cost -= self.net.pools[pool].cost;
        if self.logs { &mut self.resting } else { &mut self.spare }.push(bin);
        self.note(Step::Close(bin));
    }

    /// Starts replicas on a node, or takes them off it (`n` below zero).
    pub(crate) fn start(&mut self, bin: usize, task: usize, place: usize, n: i64) {
        let it = &self.net.tasks[task];
        let at = it.places[place];
        let own = &mut self.bins[bin];
        for (free, need) in own.free.iter_mut().zip(&it.need) {
            *free -= need * n;
        }
        match own.load.iter().position(|load| load.0 == task) {
            Some(found) => {
                own.load[found].2 += n;
                if own.load[found].2 == 0 {
                    own.load.remove(found);
                }
            }
            None => own.load.push((task, place, n)),
        }
        self.cost += at.cost * n;
        self.moved += if it.moves { n } else { 0 };
        let before = self.parts[task].at(at.site);
        self.parts[task].starts[at.site] += n;
        self.counted(task, at.site, before, n);
        self.note(Step::Start { bin, task, place, n });
    }

    /// Lets replicas stay where they run, or leave (`n` below zero).
    pub(crate) fn stay(&mut self, task: usize, site: usize, n: i64) {
        let held = self.net.tasks[task].sites[site].held.expect("only what is held stays");
        self.used[held.pool] += n;
        self.cost += held.cost * n;
        let before = self.parts[task].at(site);
        self.parts[task].stays[site] += n;
        self.counted(task, site, before, n);
        self.note(Step::Stay { task, site, n });
    }

    fn counted(&mut self, task: usize, site: usize, before: i64, n: i64) {
        let it = &self.net.tasks[task];
        let part = &mut self.parts[task];
        part.missing -= n;
        self.missing -= n;
        let change = i64::from(before + n > 0) - i64::from(before > 0);
        if change == 0 {
            return;
        }
        self.cost += it.sites[site].fixed * change;
        for (at, rule) in it.rules.iter().enumerate() {
            let sites = &mut part.domains[at][rule.of[site]];
            let was = *sites > 0;
            *sites += change;
            part.counts[at] += i64::from(*sites > 0) - i64::from(was);
        }
    }

    /// How many more replicas of a task a node takes.
    pub(crate) fn room(&self, bin: usize, task: usize) -> i64 {
        let (own, it) = (&self.bins[bin], &self.net.tasks[task]);
        let room = fit(&own.free, &it.need);
        if it.per_node >= MANY || room == 0 {
            return room;
        }
        let there = own.load.iter().find(|load| load.0 == task).map_or(0, |load| load.2);
        room.min(it.per_node - there)
    }

    /// Takes everything off a node and closes it; what it ran is missing now.
    pub(crate) fn empty_out(&mut self, bin: usize) {
        while let Some((task, place, n)) = self.bins[bin].load.last().copied() {
            self.start(bin, task, place, -n);
        }
        self.close(bin);
    }

    /// Takes a task off every node; what stays stays, unless `wholly`.
    pub(crate) fn take_off(&mut self, task: usize, wholly: bool) {
        let mut pools: Vec<usize> = Vec::new();
        for it in &self.net.tasks[task].places {
            if self.parts[task].starts[it.site] > 0 {
                pools.push(it.pool);
            }
        }
        for pool in pools {
            let bins: Vec<usize> = self.open[pool].clone();
            for bin in bins {
                let load = self.bins[bin].load.iter().find(|load| load.0 == task).copied();
                if let Some((_, place, n)) = load {
                    self.start(bin, task, place, -n);
                    if self.bins[bin].load.is_empty() {
                        self.close(bin);
                    }
                }
            }
        }
        if wholly {
            for site in 0..self.parts[task].stays.len() {
                let stays = self.parts[task].stays[site];
                if stays > 0 {
                    self.stay(task, site, -stays);
                }
            }
        }
    }

    /// Whether everything runs and every rule of this task is kept.
    pub(crate) fn is_whole(&self, task: usize) -> bool {
        let (it, part) = (&self.net.tasks[task], &self.parts[task]);
        part.missing == 0
            && (0..it.sites.len()).all(|site| {
                let n = part.at(site);
                n == 0 || (n >= it.least && n <= it.most)
            })
            && it.rules.iter().zip(&part.counts).all(|(rule, n)| *n >= rule.min && *n <= rule.max)
    }

    pub(crate) fn solution(&self) -> Solution {
        let mut fills: BTreeMap<(usize, Vec<(usize, i64)>), i64> = BTreeMap::new();
        for (pool, bins) in self.open.iter().enumerate() {
            for bin in bins {
                let mut load: Vec<_> = self.bins[*bin].load.iter().map(|it| (it.0, it.2)).collect();
                load.sort_unstable();
                *fills.entry((pool, load)).or_default() += 1;
            }
        }
        let stays = self.net.tasks.iter().zip(&self.parts).map(|(task, part)| {
            let mut held: Vec<_> = task
                .sites
                .iter()
                .zip(&part.stays)
                .filter_map(|(site, stays)| Some((site.held?.at, *stays)))
                .collect();
            held.sort_unstable();
            held.into_iter().map(|it| it.1).collect()
        });
        Solution {
            stays: stays.collect(),
            fills: fills
                .into_iter()
                .map(|((pool, load), nodes)| Fill { pool, nodes, load })
                .collect(),
        }
    }
}
