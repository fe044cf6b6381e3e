//! Where replicas cost least: exact by dynamic programming over the clusters' cost curves up to 512 replicas, a
//! convexified greedy with its gap above (RULES 5.3).

use crate::{
    cost::ceiling,
    extras::Extras,
    fleet::{ClusterId, Fleet},
    price::Trust,
    room::{Need, Room},
};

/// Exact up to so many replicas.
pub(crate) const EXACT: usize = 512;
/// More candidates than this are cut to the ones that are cheapest to fill.
const EXACT_CLUSTERS: usize = 256;

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

/// The curve of one cluster, up to `most` more replicas: free slots, then nodes that are paid for in advance, then new
/// ones, each a step; with what each replica brings along, and the first.
pub(crate) fn curve(
    fleet: &Fleet,
    room: &Room,
    cluster: ClusterId,
    need: &Need,
    most: usize,
    objective: Percent,
    extras: Extras,
) -> Curve {
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
            if shape.idle > 0 {
                // Paid for already, but for the licences of one more node.
                let licences = shape.licences.0;
                let cost = cost(objective.of(licences), licences, None);
                nodes.push(Nodes { cost, fit, most: Some(shape.idle) });
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
    pub(crate) curve: Curve,
    /// It holds replicas already: it counts as used without getting any.
    pub(crate) used: bool,
    /// If it gets any, then at least these.
    pub(crate) least: usize,
    pub(crate) domain: u32,
}

impl Choice {
    /// The same without room.
    pub(crate) fn closed(&self) -> Self {
        let curve = Curve { costs: vec![0], unknown: self.curve.unknown };
        Self { curve, used: self.used, least: self.least, domain: self.domain }
    }
}

/// What shares cost together.
pub(crate) fn cost_of(options: &[Choice], shares: &Shares) -> i128 {
    let each = options.iter().zip(&shares.shares);
    each.map(|(it, share)| it.curve.costs.get(*share).copied().unwrap_or(0)).sum()
}

/// Bounds on how many clusters and domains are used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) clusters: (usize, usize),
    pub(crate) domains: (usize, usize),
}

/// The outcome: what each gets, in the order they came, and how far from the least cost it may be in µ$/h.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) shares: Vec<usize>,
    pub(crate) gap: i64,
}

/// The cheapest way to give `total` replicas to the options, which are sorted by domain and name; `None` if none
/// keeps the bounds.
pub(crate) fn solve(options: &[Choice], total: usize, bounds: Bounds) -> Option<Shares> {
    if total <= EXACT && options.len() <= EXACT_CLUSTERS {
        return exact(options, total, bounds);
    }
    greedy(options, total, bounds)
}

/// Counts saturate at what still matters: the maximum, or the minimum where there is no maximum.
fn width(bounds: (usize, usize), most: usize) -> (usize, usize, bool) {
    let (min, max) = bounds;
    if max >= most { (min.min(most + 1), min.min(most + 1), true) } else { (min, max, false) }
}

fn exact(options: &[Choice], total: usize, bounds: Bounds) -> Option<Shares> {
    let (k_min, k_size, k_free) = width(bounds.clusters, options.len());
    let (d_min, d_size, d_free) = width(bounds.domains, options.len());
    let (ks, ds, ns) = (k_size + 1, d_size + 1, total + 1);
    // Inside: the domain at hand is used by some option before.
    let state = |inside: usize, d: usize, k: usize, n: usize| ((inside * ds + d) * ks + k) * ns + n;
    let states = 2 * ds * ks * ns;
    let up = |it: usize, size: usize, free: bool| {
        if it < size { Some(it + 1) } else { free.then_some(it) }
    };
    let mut costs = vec![NEVER; states];
    costs[state(0, 0, 0, 0)] = 0;
    // For each step: the state that each state came from, and the option that the step was about.
    let mut steps: Vec<(Option<usize>, Vec<u32>)> = Vec::with_capacity(2 * options.len());
    for (at, option) in options.iter().enumerate() {
        if at > 0 && options[at - 1].domain != option.domain {
            steps.push((None, leave_domain(&mut costs)));
        }
        // One that is used already cannot be left out.
        let (mut next, mut from) = if option.used {
            (vec![NEVER; states], vec![0; states])
        } else {
            (costs.clone(), itself(states))
        };
        let least = if option.used { option.least } else { option.least.max(1) };
        let top = option.curve.costs.len().saturating_sub(1).min(total);
        for inside in 0..2 {
            for d in 0..ds {
                let d_next = if inside == 1 { Some(d) } else { up(d, d_size, d_free) };
                let Some(d_next) = d_next else { continue };
                for k in 0..ks {
                    let Some(k_next) = up(k, k_size, k_free) else { continue };
                    // Descending, so that of equal ways the one stands that gives more to the earlier name.
                    for n in (0..ns).rev() {
                        let here = state(inside, d, k, n);
                        let before = costs[here];
                        if before >= NEVER {
                            continue;
                        }
                        for x in least..=top.min(total - n) {
                            let cost = before.saturating_add(option.curve.costs[x]);
                            let to = state(1, d_next, k_next, n + x);
                            if cost < next[to] {
                                next[to] = cost;
                                from[to] = u32::try_from(here).expect("fewer than 2³² states");
                            }
                        }
                    }
                }
            }
        }
        costs = next;
        steps.push((Some(at), from));
    }
    steps.push((None, leave_domain(&mut costs)));
    let mut best: Option<usize> = None;
    for d in d_min..ds {
        for k in k_min..ks {
            let it = state(0, d, k, total);
            if costs[it] < NEVER && best.is_none_or(|best| costs[it] < costs[best]) {
                best = Some(it);
            }
        }
    }
    let mut at_state = best?;
    let mut shares = vec![0; options.len()];
    for (option, from) in steps.iter().rev() {
        let before = from[at_state] as usize;
        if let Some(option) = option {
            shares[*option] = at_state % ns - before % ns;
        }
        at_state = before;
    }
    Some(Shares { shares, gap: 0 })
}

fn itself(states: usize) -> Vec<u32> {
    (0..states).map(|it| u32::try_from(it).expect("fewer than 2³² states")).collect()
}

/// The upper half of the states, inside a domain, comes to the lower one where that is cheaper.
fn leave_domain(costs: &mut [i128]) -> Vec<u32> {
    let half = costs.len() / 2;
    let mut from = itself(costs.len());
    for outside in 0..half {
        let inside = outside + half;
        if costs[inside] < costs[outside] {
            costs[outside] = costs[inside];
            from[outside] = u32::try_from(inside).expect("fewer than 2³² states");
        }
        costs[inside] = NEVER;
    }
    from
}

/// A straight piece of the convex lower bound of a curve.
#[derive(Clone, Copy, Debug)]
struct Piece {
    option: usize,
    cost: i128,
    count: usize,
}

/// Fills the cheapest pieces of the curves' convex lower bounds first. The gap is what the outcome costs above the
/// lower bound that ignores steps and bounds.
fn greedy(options: &[Choice], total: usize, bounds: Bounds) -> Option<Shares> {
    let mut shares = vec![0_usize; options.len()];
    let mut used: Vec<bool> = options.iter().map(|it| it.used).collect();
    let mut domains: Vec<u32> = options.iter().filter(|it| it.used).map(|it| it.domain).collect();
    let mut left = total;
    let first_cost = |it: &Choice| it.curve.costs.get(it.least.max(1)).copied();
    for new_domain in [true, false] {
        loop {
            domains.sort_unstable();
            domains.dedup();
            let count = used.iter().filter(|it| **it).count();
            let enough = if new_domain {
                domains.len() >= bounds.domains.0
            } else {
                count >= bounds.clusters.0
            };
            if enough {
                break;
            }
            let best = (0..options.len())
                .filter(|at| !used[*at] && options[*at].least.max(1) <= left)
                .filter(|at| !new_domain || !domains.contains(&options[*at].domain))
                .filter_map(|at| Some((first_cost(&options[at])?, at)))
                .min()?
                .1;
            used[best] = true;
            domains.push(options[best].domain);
            shares[best] = options[best].least.max(1);
            left -= shares[best];
        }
    }
    let mut pieces: Vec<Piece> =
        options.iter().enumerate().flat_map(|(at, it)| pieces(at, &it.curve.costs)).collect();
    pieces.sort_by(|a, b| {
        let left = a.cost.saturating_mul(b.count as i128);
        let right = b.cost.saturating_mul(a.count as i128);
        left.cmp(&right).then(a.option.cmp(&b.option))
    });
    let mut lower: i128 = 0;
    let mut unbounded = total;
    for piece in &pieces {
        let take = piece.count.min(unbounded);
        lower += piece.cost / piece.count.max(1) as i128 * take as i128;
        unbounded -= take;
    }
    for piece in &pieces {
        if left == 0 {
            break;
        }
        let option = &options[piece.option];
        if !used[piece.option] {
            let count = used.iter().filter(|it| **it).count();
            let full = count >= bounds.clusters.1
                || (!domains.contains(&option.domain) && domains.len() >= bounds.domains.1);
            if full || option.least > left || option.curve.costs.len() <= option.least {
                continue;
            }
            used[piece.option] = true;
            if !domains.contains(&option.domain) {
                domains.push(option.domain);
            }
            shares[piece.option] = option.least;
            left -= option.least;
        }
        let top = option.curve.costs.len() - 1;
        let take = piece.count.min(left).min(top - shares[piece.option]);
        shares[piece.option] += take;
        left -= take;
    }
    if left > 0 {
        return None;
    }
    let mut found = Shares { shares, gap: 0 };
    found.gap = micros((cost_of(options, &found) - lower).max(0));
    Some(found)
}

/// The convex lower bound of a curve, as pieces of rising slope.
fn pieces(option: usize, costs: &[i128]) -> Vec<Piece> {
    let mut corners: Vec<usize> = Vec::new();
    for n in 0..costs.len() {
        while let [.., a, b] = corners[..] {
            // Drop b if it lies on or above the line from a to n.
            let to_b = (costs[b] - costs[a]).saturating_mul((n - a) as i128);
            let to_n = (costs[n] - costs[a]).saturating_mul((b - a) as i128);
            if to_b < to_n {
                break;
            }
            corners.pop();
        }
        corners.push(n);
    }
    corners
        .windows(2)
        .map(|it| Piece { option, cost: costs[it[1]] - costs[it[0]], count: it[1] - it[0] })
        .collect()
}

#[cfg(test)]
#[path = "cheapest/tests.rs"]
mod tests;
