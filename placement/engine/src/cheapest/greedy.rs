//! Fills the cheapest pieces of the curves' convex lower bounds first, under the bounds: the way for many replicas, and
//! the first guess for few.

use super::{
    Bounds, Choice, Share, hull,
    hull::{Piece, pieces},
};
use crate::fleet::Domains;

/// How far the filling is.
struct State<'a> {
    options: &'a [&'a Choice],
    /// The curve that each is filled along.
    curves: &'a [Vec<i128>],
    bounds: &'a Bounds,
    shares: Vec<usize>,
    used: Vec<bool>,
    /// By key: the domains that are used, sorted.
    domains: Vec<Vec<u32>>,
    left: usize,
}

impl State<'_> {
    /// Whether its domain by a key is not used yet.
    fn is_new(&self, key: usize, at: usize) -> bool {
        let domain = self.options[at].domains[key];
        domain != Domains::NONE && self.domains[key].binary_search(&domain).is_err()
    }

    fn count(&self) -> usize {
        self.used.iter().filter(|it| **it).count()
    }

    /// Whether one more cluster may be used, as far as the largest numbers go.
    fn allowed(&self, at: usize) -> bool {
        self.count() < self.bounds.clusters.1
            && (0..self.domains.len()).all(|key| {
                !self.is_new(key, at) || self.domains[key].len() < self.bounds.domains[key].1
            })
    }

    fn mark(&mut self, at: usize) {
        self.used[at] = true;
        for key in 0..self.domains.len() {
            let domain = self.options[at].domains[key];
            if domain != Domains::NONE
                && let Err(to) = self.domains[key].binary_search(&domain)
            {
                self.domains[key].insert(to, domain);
            }
        }
    }

    fn give(&mut self, at: usize, count: usize) {
        self.shares[at] += count;
        self.left -= count;
    }

    /// Uses clusters until there are enough of them and of the domains: each time the one that helps most keys, the
    /// cheapest of those.
    fn minima(&mut self) -> Option<()> {
        loop {
            let short: Vec<usize> = (0..self.domains.len())
                .filter(|key| self.domains[*key].len() < self.bounds.domains[*key].0)
                .collect();
            if short.is_empty() && self.count() >= self.bounds.clusters.0 {
                return Some(());
            }
            let helps = |at: usize| short.iter().filter(|key| self.is_new(**key, at)).count();
            let best = (0..self.options.len())
                .filter(|at| !self.used[*at] && self.options[*at].first() <= self.left)
                .filter(|at| short.is_empty() || helps(*at) > 0)
                .filter(|at| self.allowed(*at))
                .filter_map(|at| {
                    let it = self.options[at];
                    let cost = self.curves[at].get(it.first())?;
                    Some((std::cmp::Reverse(helps(at)), *cost, at))
                })
                .min()?
                .2;
            self.mark(best);
            self.give(best, self.options[best].first());
        }
    }

    fn fill(&mut self, piece: &Piece) {
        let (at, option) = (piece.option, self.options[piece.option]);
        let room = self.curves[at].len() - 1;
        if !self.used[at] {
            if !self.allowed(at) || option.least > self.left || room < option.first() {
                return;
            }
            self.mark(at);
            self.give(at, option.least);
        }
        let take = piece.count.min(self.left).min(room - self.shares[at]);
        self.give(at, take);
    }
}

/// Shares in the order of the options with what they cost; `None` where it finds none that keep the bounds.
pub(super) fn greedy(
    options: &[&Choice],
    total: usize,
    bounds: &Bounds,
) -> Option<(Vec<Share>, i128)> {
    let plain: Vec<Vec<i128>> = options.iter().map(|it| it.ways[0].costs.clone()).collect();
    let one = filled(options, &plain, total, bounds).map(|it| priced(options, &it, |_| 0));
    if options.iter().all(|it| it.ways.len() == 1) {
        return one;
    }
    let best: Vec<Vec<i128>> = options.iter().map(|it| it.best()).collect();
    let other = filled(options, &best, total, bounds).and_then(|it| ways(options, &it, bounds));
    [one, other].into_iter().flatten().min_by_key(|it| it.1)
}

fn priced(
    options: &[&Choice],
    replicas: &[usize],
    way: impl Fn(usize) -> usize,
) -> (Vec<Share>, i128) {
    let each = replicas.iter().enumerate();
    let shares: Vec<Share> =
        each.map(|(at, replicas)| Share { replicas: *replicas, way: way(at) }).collect();
    let each = options.iter().zip(&shares);
    let cost = each.map(|(it, share)| it.ways[share.way].costs[share.replicas]).sum();
    (shares, cost)
}

/// The ways that save most, as far as what is shared lasts.
fn ways(options: &[&Choice], replicas: &[usize], bounds: &Bounds) -> Option<(Vec<Share>, i128)> {
    let (mut spot, mut pools) = (bounds.spot, bounds.pools.clone());
    let cost = |at: usize, way: usize| options[at].ways[way].costs.get(replicas[at]).copied();
    let mut order: Vec<(i128, usize, usize)> = Vec::new();
    for at in (0..options.len()).filter(|at| replicas[*at] > 0) {
        for way in 1..options[at].ways.len() {
            let saved = cost(at, way).zip(cost(at, 0)).map(|(with, without)| with - without);
            // What cannot do without goes first.
            let saved = if cost(at, 0).is_none() { i128::MIN } else { saved.unwrap_or(0) };
            if saved < 0 && cost(at, way).is_some() {
                order.push((saved, at, way));
            }
        }
    }
    order.sort_unstable();
    let mut chosen = vec![0; options.len()];
    for (_, at, way) in order {
        let it = &options[at].ways[way];
        let taken = if it.spot { replicas[at] } else { 0 };
        let left = options[at].pool.map_or(0, |pool| pools[pool]);
        if chosen[at] == 0 && taken <= spot && it.nodes <= left {
            chosen[at] = way;
            spot -= taken;
            if let Some(pool) = options[at].pool {
                pools[pool] -= it.nodes;
            }
        }
    }
    let fits = (0..options.len()).all(|at| cost(at, chosen[at]).is_some());
    fits.then(|| priced(options, replicas, |at| chosen[at]))
}

/// How many replicas each gets.
fn filled(
    options: &[&Choice],
    curves: &[Vec<i128>],
    total: usize,
    bounds: &Bounds,
) -> Option<Vec<usize>> {
    let mut state = State {
        options,
        curves,
        bounds,
        shares: vec![0; options.len()],
        used: vec![false; options.len()],
        domains: vec![Vec::new(); bounds.domains.len()],
        left: total,
    };
    for at in (0..options.len()).filter(|at| options[*at].used) {
        state.mark(at);
        // Less than a least share is filled up.
        let least = options[at].least;
        if least > state.left || least >= curves[at].len() {
            return None;
        }
        state.give(at, least);
    }
    let over =
        (0..bounds.domains.len()).any(|key| state.domains[key].len() > bounds.domains[key].1);
    if over || state.count() > bounds.clusters.1 {
        return None;
    }
    state.minima()?;
    let mut sorted: Vec<Piece> =
        curves.iter().enumerate().flat_map(|(at, it)| pieces(at, it, 0)).collect();
    hull::sort(&mut sorted);
    for piece in &sorted {
        if state.left == 0 {
            break;
        }
        state.fill(piece);
    }
    (state.left == 0).then_some(state.shares)
}
