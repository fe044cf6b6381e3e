//! Where replicas cost least: exact by dynamic programming over the clusters' cost curves up to 512 replicas, a
//! convexified greedy with its gap above (RULES 5.3).

use crate::{
    cost::ceiling,
    extras::Extras,
    fleet::{ClusterId, Fleet},
    price::Trust,
    room::{Need, Room},
};

mod exact;
mod greedy;
mod hull;
mod keys;

/// Exact up to so many replicas.
pub(crate) const EXACT: usize = 512;

/// µ$/h of a replica at an unknown price: more than any that is known, so that it never wins.
pub(crate) const UNKNOWN: i64 = 1_000_000_000_000;
const NEVER: i128 = i128::MAX / 4;

/// Costs compare by what they add, then by what the slots would cost by list price, then by how many of the prices are
/// undated: an undated one loses ties. One number holds all three.
fn cost(micros: i64, list: i64, trust: Option<Trust>) -> i128 {
    let undated = i128::from(trust == Some(Trust::Undated));
    (i128::from(micros) << 64) + i128::from(list) * 4_096 + undated
}

/// What a cost adds, in µ$/h.
pub(crate) fn micros(cost: i128) -> i64 {
    i64::try_from(cost >> 64).unwrap_or(i64::MAX)
}

/// The same, unless some of it is at an unknown price.
pub(crate) fn known_micros(cost: i128) -> Option<i64> {
    Some(micros(cost)).filter(|it| *it < UNKNOWN)
}

/// What `n` more replicas cost in one cluster, `n` from 0 as far as they fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Curve {
    pub(crate) costs: Vec<i128>,
    /// Some of it is at unknown prices.
    pub(crate) unknown: bool,
}

/// Where replicas of which kind may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) room: &'a Room,
    pub(crate) cluster: ClusterId,
    pub(crate) need: &'a Need,
    /// How many nodes of the cluster's pool they may use.
    pub(crate) pooled: i64,
}

/// The curve of one cluster, up to `most` more replicas: free slots, then nodes that are paid for in advance, then new
/// ones, each a step; with what each replica brings along, and the first.
pub(crate) fn curve(site: Site<'_>, most: usize, objective: Percent, extras: Extras) -> Curve {
    let Site { fleet, room, cluster, need, pooled } = site;
    let it = fleet.cluster(cluster);
    let autoscaled = it.spec.autoscaled;
    let free = room.by_class(cluster, need);
    // Free slots, cheapest first: nothing in a fixed pool, the price of the slot in one that would shrink.
    let mut slots: Vec<(i128, i64)> = Vec::new();
    let mut nodes: Vec<Nodes> = Vec::new();
    let mut unknown = extras.unknown;
    for (class, count) in &free {
        let shape = it.shapes.iter().find(|it| it.class == *class);
        let price = shape.and_then(|it| it.price_for(need.pinned));
        let fit = need.fit_empty(fleet, *class).max(1);
        let cost = match price {
            Some(price) => {
                let list = ceiling(price.ranked().0, fit).unwrap_or(UNKNOWN);
                let added = if autoscaled { objective.of(list) } else { 0 };
                cost(added, list, Some(price.trust))
            }
            None => {
                unknown |= *count > 0;
                cost(UNKNOWN, 0, None)
            }
        };
        slots.push((cost, *count));
    }
    slots.sort_unstable();
    if autoscaled {
        for shape in &it.shapes {
            let Ok(fit) = usize::try_from(need.fit_empty(fleet, shape.class)) else { continue };
            if fit == 0 {
                continue;
            }
            let fit = fit.min(most.max(1));
            let size = i64::try_from(fit).expect("not more than the replicas wanted");
            let each = match shape.price_for(need.pinned) {
                Some(price) => {
                    let hour = price.ranked().0;
                    cost(objective.of(hour), hour, Some(price.trust))
                }
                None => {
                    unknown = true;
                    cost(UNKNOWN.saturating_mul(size), 0, None)
                }
            };
            nodes.push(Nodes { cost: each, fit, most: None });
            let paid = shape.idle + if shape.pool.is_some() { pooled } else { 0 };
            if paid > 0 {
                // Paid for already, but for the licences of one more node.
                let licences = shape.licences.0;
                let cost = cost(objective.of(licences), licences, None);
                nodes.push(Nodes { cost, fit, most: Some(paid) });
            }
        }
    }
    let in_slots = prefix(&slots, most);
    let in_nodes = cover(&nodes, most);
    let mut costs: Vec<i128> = Vec::with_capacity(most + 1);
    for n in 0..=most {
        let most_used = n.min(in_slots.len() - 1);
        // Long curves use free slots first.
        let least_used = if most > EXACT { most_used } else { 0 };
        let best = (least_used..=most_used)
            .filter(|used| n - used < in_nodes.len())
            .map(|used| in_slots[used].saturating_add(in_nodes[n - used]))
            .min();
        let Some(best) = best.filter(|it| *it < NEVER) else { break };
        let extra = extras.per_replica.saturating_mul(i64::try_from(n).expect("few replicas"));
        let first = if n > 0 { extras.first } else { 0 };
        costs.push(best.saturating_add(cost(extra.saturating_add(first), 0, None)));
    }
    Curve { costs, unknown }
}

/// So many nodes of a pool are looked at one by one; above that it is doubled.
const ONE_BY_ONE: i64 = 16;

/// The plain way to run more replicas in a cluster, and those with nodes of its pool.
pub(crate) fn ways(
    most: usize,
    pool: Option<i64>,
    curve: impl Fn(i64) -> Curve,
) -> (Vec<Way>, bool) {
    let Curve { costs, unknown } = curve(0);
    let mut ways = vec![Way::plain(costs)];
    let most = pool.unwrap_or(0).min(i64::try_from(most).unwrap_or(i64::MAX));
    let mut nodes = 0;
    while nodes < most {
        nodes = if nodes < ONE_BY_ONE { nodes + 1 } else { (nodes * 2).min(most) };
        let costs = curve(nodes).costs;
        if ways.last().is_some_and(|it| it.costs == costs) {
            break;
        }
        let nodes = usize::try_from(nodes).expect("more than none");
        ways.push(Way { costs, nodes, spot: false });
    }
    (ways, unknown)
}

/// The weight of money in a decision, in per cent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percent(pub(crate) i64);

impl Percent {
    pub(crate) fn of(self, micros: i64) -> i64 {
        micros.saturating_mul(self.0) / 100
    }
}

/// Costs of the cheapest 0, 1, 2 … slots.
fn prefix(slots: &[(i128, i64)], most: usize) -> Vec<i128> {
    let mut costs = vec![0];
    for (cost, count) in slots {
        for _ in 0..*count {
            if costs.len() > most {
                return costs;
            }
            costs.push(costs[costs.len() - 1].saturating_add(*cost));
        }
    }
    costs
}

/// New nodes of one kind.
#[derive(Clone, Copy, Debug)]
struct Nodes {
    cost: i128,
    /// Replicas on one of them.
    fit: usize,
    /// There are no more of them than so many.
    most: Option<i64>,
}

/// Costs of whole new nodes for 0, 1, 2 … replicas.
fn cover(nodes: &[Nodes], most: usize) -> Vec<i128> {
    let mut costs = vec![0_i128];
    let endless: Vec<&Nodes> = nodes.iter().filter(|it| it.most.is_none()).collect();
    if endless.is_empty() {
        return costs;
    }
    for n in 1..=most {
        let best = endless.iter().map(|it| costs[n.saturating_sub(it.fit)].saturating_add(it.cost));
        costs.push(best.min().expect("there are nodes"));
    }
    // One by one: each may stand for nodes that cost more.
    for it in nodes {
        let useful = i64::try_from(most.div_ceil(it.fit)).unwrap_or(i64::MAX);
        for _ in 0..it.most.unwrap_or(0).min(useful) {
            for n in (1..=most).rev() {
                let with = costs[n.saturating_sub(it.fit)].saturating_add(it.cost);
                costs[n] = costs[n].min(with);
            }
        }
    }
    costs
}

/// One cluster among which replicas are shared out.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// The ways in which it can run more replicas, the plain one first.
    pub(crate) ways: Vec<Way>,
    /// The pool that its ways take nodes of.
    pub(crate) pool: Option<usize>,
    /// It holds replicas already: it counts as used without getting any.
    pub(crate) used: bool,
    /// If it gets any, then at least these.
    pub(crate) least: usize,
    /// Its domain by each key that binds; [`Domains::NONE`](crate::fleet::Domains::NONE) counts as none.
    pub(crate) domains: Vec<u32>,
}

/// One way in which a cluster runs more replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// Of 0, 1, 2 … replicas.
    pub(crate) costs: Vec<i128>,
    /// They are pinned to spot nodes, and count against what may be.
    pub(crate) spot: bool,
    /// So many nodes of the pool are used up.
    pub(crate) nodes: usize,
}

impl Way {
    pub(crate) fn plain(costs: Vec<i128>) -> Self {
        Self { costs, ..Self::default() }
    }

    fn room(&self) -> usize {
        self.costs.len().saturating_sub(1)
    }
}

impl Choice {
    /// The same without room.
    pub(crate) fn closed(&self) -> Self {
        let ways = vec![Way::plain(vec![0])];
        Self { ways, pool: None, domains: self.domains.clone(), ..*self }
    }

    /// Replicas that it can get.
    pub(crate) fn room(&self) -> usize {
        self.ways.iter().map(Way::room).max().unwrap_or(0)
    }

    /// The fewest that it gets if it gets any.
    fn first(&self) -> usize {
        self.least.max(1)
    }

    /// The least cost of each number of replicas, whichever way.
    fn best(&self) -> Vec<i128> {
        let least = |n: usize| self.ways.iter().filter_map(|it| it.costs.get(n)).min().copied();
        (0..=self.room()).map(|n| least(n).unwrap_or(NEVER)).collect()
    }
}

/// What one option gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) replicas: usize,
    /// The place of the way among the option's.
    pub(crate) way: usize,
}

/// What shares cost together.
pub(crate) fn cost_of(options: &[Choice], shares: &[Share]) -> i128 {
    let cost = |(it, share): (&Choice, &Share)| {
        it.ways.get(share.way).and_then(|way| way.costs.get(share.replicas)).copied().unwrap_or(0)
    };
    options.iter().zip(shares).map(cost).sum()
}

/// Bounds on how many clusters are used, and domains by each key that binds; and what is shared among all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) clusters: (usize, usize),
    pub(crate) domains: Vec<(usize, usize)>,
    /// The most replicas that may be added on spot nodes.
    pub(crate) spot: usize,
    /// Nodes that each pool has.
    pub(crate) pools: Vec<usize>,
}

/// The outcome: what each gets, in the order they came, and how far from the least cost it may be in µ$/h.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) shares: Vec<Share>,
    pub(crate) gap: i64,
}

/// Steps of the dynamic programme that a decision may take before the outcome of the greedy one has to do.
const WORK: u64 = 1 << 28;

/// The cheapest way to give `total` replicas to the options; `None` if none is found that keeps the bounds.
pub(crate) fn solve(options: &[Choice], total: usize, bounds: &Bounds) -> Option<Shares> {
    solve_within(options, total, bounds, WORK).0
}

/// The same with how many steps it took.
fn solve_within(
    options: &[Choice],
    total: usize,
    bounds: &Bounds,
    work: u64,
) -> (Option<Shares>, u64) {
    let keys = keys::arrange(options, bounds);
    let order = keys.as_ref().map_or_else(|| keys::in_order(options), |it| it.order.clone());
    let ordered: Vec<&Choice> = order.iter().map(|at| &options[*at]).collect();
    let Some(table) = hull::Table::new(&ordered, total) else { return (None, 0) };
    let guess = greedy::greedy(&ordered, total, bounds);
    let mut steps = 0;
    let found = keys.filter(|_| total <= EXACT).and_then(|keys| {
        let problem = exact::Problem::new(&ordered, &keys, total, bounds, &table);
        let least = table.least();
        let Some(cost) = guess.as_ref().map(|it| it.1) else {
            return problem.solve(None, work, &mut steps);
        };
        // Near the lower bound first: there is little between, and mostly something is found.
        for part in [64, 16, 4, 1] {
            match problem.solve(Some(least + (cost - least) / part), work / 4, &mut steps) {
                Some(None) => (),
                Some(found) => return Some(found),
                None => break,
            }
        }
        // Without the ways that cost just what is known.
        problem.solve(Some(cost - 1), work, &mut steps)
    });
    let shares = match (found, guess) {
        (Some(Some(shares)), _) => Some((shares, 0)),
        // Nothing is below what was guessed.
        (Some(None), guess) => guess.map(|it| (it.0, 0)),
        (None, guess) => guess.map(|(shares, cost)| (shares, micros(cost - table.least()).max(0))),
    };
    let shares = shares.map(|(ordered, gap)| {
        let mut shares = vec![Share::default(); options.len()];
        for (at, share) in order.iter().zip(ordered) {
            shares[*at] = share;
        }
        Shares { shares, gap }
    });
    (shares, steps)
}

/// No way to give `total` replicas to the options costs less than this, whatever the bounds are.
pub(crate) fn lower_bound(options: &[Choice], total: usize) -> Option<i128> {
    let all: Vec<&Choice> = options.iter().collect();
    hull::least(&all, total)
}

#[cfg(test)]
#[path = "cheapest/tests.rs"]
mod tests;
