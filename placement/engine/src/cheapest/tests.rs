use proptest::prelude::*;

use super::*;

fn choice(costs: Vec<i128>, used: bool, least: usize, domain: u32) -> Choice {
    Choice { curve: Curve { costs, unknown: false }, used, least, domain }
}

const FREE: Bounds = Bounds { clusters: (0, usize::MAX), domains: (0, usize::MAX) };

/// Every way to share out, by trying them all.
fn brute(choices: &[Choice], total: usize, bounds: Bounds) -> Option<i128> {
    fn go(
        choices: &[Choice],
        total: usize,
        bounds: Bounds,
        used: usize,
        domains: &mut Vec<u32>,
        cost: i128,
    ) -> Option<i128> {
        let Some((first, rest)) = choices.split_first() else {
            let mut distinct = domains.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let legal = total == 0
                && (bounds.clusters.0..=bounds.clusters.1).contains(&used)
                && (bounds.domains.0..=bounds.domains.1).contains(&distinct.len());
            return legal.then_some(cost);
        };
        let mut best: Option<i128> = None;
        for x in 0..first.curve.costs.len().min(total + 1) {
            let counts = first.used || x > 0;
            if (x > 0 || first.used) && x < first.least {
                continue;
            }
            if counts {
                domains.push(first.domain);
            }
            let next = cost + first.curve.costs[x];
            let found = go(rest, total - x, bounds, used + usize::from(counts), domains, next);
            if counts {
                domains.pop();
            }
            best = match (best, found) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        best
    }
    go(choices, total, bounds, 0, &mut Vec::new(), 0)
}

fn sum(choices: &[Choice], shares: &Shares) -> i128 {
    choices.iter().zip(&shares.shares).map(|(it, n)| it.curve.costs[*n]).sum()
}

#[test]
fn rule_5_3_a_whole_node_is_a_step() {
    // One slot at 3 each, or a node of four at 10: five replicas are a node and the slot beside it.
    let slots = choice(vec![0, 3, 6, 9], false, 0, 0);
    let node = choice(vec![0, 10, 10, 10, 10, 20], false, 0, 1);
    let shares = solve(&[slots, node], 5, FREE).unwrap();
    assert_eq!(shares.shares, [1, 4]);
}

#[test]
fn bounds_on_clusters_and_domains_hold() {
    let cheap = || choice(vec![0; 6], false, 0, 0);
    let dear = choice((0..6).collect(), false, 0, 1);
    let two_domains = Bounds { clusters: (0, usize::MAX), domains: (2, usize::MAX) };
    let shares = solve(&[cheap(), cheap(), dear.clone()], 5, two_domains).unwrap();
    assert_eq!(shares.shares, [4, 0, 1]);
    let three_clusters = Bounds { clusters: (3, 3), domains: (0, usize::MAX) };
    let shares = solve(&[cheap(), cheap(), dear.clone()], 5, three_clusters).unwrap();
    assert_eq!(shares.shares, [3, 1, 1]);
    let one_cluster = Bounds { clusters: (0, 1), domains: (0, usize::MAX) };
    assert_eq!(solve(&[cheap(), dear], 6, one_cluster), None);
}

#[test]
fn above_the_exact_size_the_gap_is_told() {
    let total = 600;
    let node = |size: usize, price: i64| {
        let nodes = |n: usize| i64::try_from(n.div_ceil(size)).unwrap();
        let costs = (0..=total).map(|n| cost(price * nodes(n), 0, None)).collect();
        choice(costs, false, 0, 0)
    };
    let shares = solve(&[node(7, 230), node(16, 500)], total, FREE).unwrap();
    assert_eq!(shares.shares.iter().sum::<usize>(), total);
    assert!(shares.gap > 0 && shares.gap < 500, "{}", shares.gap);
}

prop_compose! {
    fn choices()(
        parts in prop::collection::vec(
            (prop::collection::vec(0_i128..20, 0..5), any::<bool>(), 0_usize..3, 0_u32..2), 1..5),
    ) -> Vec<Choice> {
        let mut all: Vec<_> = parts
            .into_iter()
            .map(|(steps, used, least, domain)| {
                let mut costs = vec![0];
                for step in steps {
                    costs.push(costs[costs.len() - 1] + step);
                }
                choice(costs, used, least, domain)
            })
            .collect();
        all.sort_by_key(|it| it.domain);
        all
    }
}

proptest! {
    #[test]
    fn rule_5_3_it_is_exact(
        choices in choices(), total in 0_usize..8,
        k in (0_usize..3, 0_usize..4), d in (0_usize..3, 0_usize..3),
    ) {
        let bounds = Bounds { clusters: (k.0, k.0 + k.1), domains: (d.0, d.0 + d.1) };
        let found = solve(&choices, total, bounds);
        prop_assert_eq!(found.as_ref().map(|it| sum(&choices, it)), brute(&choices, total, bounds));
    }
}
