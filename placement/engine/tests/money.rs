//! Cheapest is exact: on small fleets no other way to share replicas out adds less to the bill, whole nodes, licences,
//! first charges, volumes and nodes paid in advance included (RULES 5.2, 5.3).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use federation_types::{
    cluster::{FreeNodes, MemberClusterSpec, NodeShape},
    money::Money,
    policy::PlacementPolicySpec,
    price::PriceBookSpec,
};
use placement_engine::{
    ClusterInput, CompiledPolicy, Fleet, Outcome, Previous, PreviousCluster, PriceIndex, Room,
    Workload,
    cost::marginal,
    place,
    workload::{KindClass, Requests},
};
use proptest::prelude::*;
use serde_json::json;

/// A node runs four replicas of one core each.
const CORES: i64 = 4;

#[derive(Clone, Debug)]
struct Shape {
    cents: i64,
    /// Cores that DaemonSets take on each new node.
    overhead: i64,
    /// Replicas that fit on what is free.
    free: i64,
    /// Nodes that are paid for and not there.
    idle: i64,
}

#[derive(Clone, Debug)]
struct Member {
    autoscaled: bool,
    shapes: Vec<Shape>,
    /// In cents an hour: the charge of the first replica, and the licence of a node.
    first: i64,
    licence: i64,
    held: Option<i64>,
}

fn cores(amount: i64) -> BTreeMap<String, String> {
    [("cpu", amount.to_string()), ("memory", "64Gi".to_owned()), ("pods", "50".to_owned())]
        .map(|(name, amount)| (name.to_owned(), amount))
        .into()
}

fn usd(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Each cluster is a region of its own, so that its prices are its own.
fn fleet(members: &[Member]) -> Fleet {
    let mut book = json!({"prices": [], "charges": [], "commitments": []});
    let mut push = |list: &str, row| book[list].as_array_mut().unwrap().push(row);
    let mut inputs = Vec::new();
    for (at, it) in members.iter().enumerate() {
        let region = format!("r{at}");
        let place = |more: serde_json::Value| {
            let mut row = json!({"provider": "eks", "region": region});
            row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            row
        };
        push("charges", place(json!({"name": "nat", "usdHour": usd(it.first)})));
        push("charges", place(json!({"name": "agent", "per": "Node", "usdHour": usd(it.licence)})));
        let mut shapes = Vec::new();
        for (n, shape) in it.shapes.iter().enumerate() {
            let kind = format!("type-{n}");
            push(
                "prices",
                place(json!({
                    "instanceType": kind, "onDemandUsdHour": usd(shape.cents), "asOf": "2026-11-01",
                })),
            );
            push("commitments", place(json!({"instanceType": kind, "nodes": shape.idle + 1})));
            shapes.push(NodeShape {
                instance_type: kind,
                count: 1,
                allocatable: cores(CORES),
                overhead: [("cpu".to_owned(), shape.overhead.to_string())].into(),
                free: vec![FreeNodes { nodes: 1, resources: cores(shape.free) }],
                ..NodeShape::default()
            });
        }
        inputs.push(ClusterInput {
            name: format!("c{at}"),
            spec: MemberClusterSpec {
                provider: "eks".into(),
                region: region.clone(),
                autoscaled: it.autoscaled,
                accepted: true,
                ..MemberClusterSpec::default()
            },
            apis: vec!["apps/v1/Deployment".into()],
            shapes,
            ready: true,
            ..ClusterInput::default()
        });
    }
    let book: PriceBookSpec = serde_json::from_value(book).unwrap();
    let prices = PriceIndex::build([("book", &book)], "2026-11-21");
    Fleet::build(inputs, &[], &prices, "2026-11-21")
}

/// The least that so many more replicas cost there in µ$/h, by trying every number of every kind of slot and node.
fn least(member: &Member, n: i64) -> Option<i64> {
    // What one costs, how many replicas it takes, and how many of it there are.
    let mut ways: Vec<(i64, i64, i64)> = Vec::new();
    for it in &member.shapes {
        let price = (it.cents + member.licence) * 10_000;
        let fit = CORES - it.overhead;
        let slot = if !member.autoscaled {
            0
        } else if fit > 0 {
            (price + fit - 1) / fit
        } else {
            price
        };
        ways.push((slot, 1, it.free));
        if member.autoscaled && fit > 0 {
            ways.push((price, fit, n));
            ways.push((member.licence * 10_000, fit, it.idle));
        }
    }
    fn go(ways: &[(i64, i64, i64)], left: i64) -> Option<i64> {
        if left <= 0 {
            return Some(0);
        }
        let ((cost, fit, most), rest) = ways.split_first()?;
        (0..=(*most).min((left + fit - 1) / fit))
            .filter_map(|k| Some(go(rest, left - k * fit)? + k * cost))
            .min()
    }
    let first = if n > 0 && member.held.is_none() { member.first * 10_000 } else { 0 };
    Some(go(&ways, n)? + first)
}

/// The least over every way to share out.
fn brute(members: &[Member], n: i64) -> Option<i64> {
    let Some((first, rest)) = members.split_first() else { return (n == 0).then_some(0) };
    (0..=n).filter_map(|x| Some(least(first, x)? + brute(rest, n - x)?)).min()
}

prop_compose! {
    fn shape()(cents in 1_i64..60, overhead in 0_i64..4, free in 0_i64..4, idle in 0_i64..3) -> Shape {
        Shape { cents, overhead, free, idle }
    }
}

prop_compose! {
    fn member()(
        autoscaled in any::<bool>(), shapes in prop::collection::vec(shape(), 1..3),
        first in prop::sample::select(vec![0_i64, 5, 40]), licence in 0_i64..6,
        held in prop::option::weighted(0.3, 1_i64..3),
    ) -> Member {
        Member { autoscaled, shapes, first, licence, held }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn rule_5_3_no_other_way_costs_less_steps_included(
        members in prop::collection::vec(member(), 1..4), more in 1_i64..8,
    ) {
        let fleet = fleet(&members);
        let held: Vec<_> = members.iter().enumerate().filter_map(|(at, it)| {
            Some(PreviousCluster { name: format!("c{at}"), replicas: Some(it.held?), spot: false })
        }).collect();
        let before: i64 = members.iter().filter_map(|it| it.held).sum();
        let previous = Previous { clusters: held, divided: true, ..Previous::default() };
        let spec: PlacementPolicySpec = serde_json::from_value(json!({
            "selectors": [], "brings": ["nat"],
            "replicas": {"mode": "Divided", "division": "Cheapest"},
            "objectives": {"stickiness": 0},
        })).unwrap();
        let policy = CompiledPolicy::compile("p", None, &spec, &[]).unwrap();
        let workload = Workload {
            api: "apps/v1/Deployment".into(),
            class: KindClass::Deployment,
            replicas: Some(before + more),
            requests: Requests { base: [1_000, 1 << 30, 0, 0], extended: Vec::new() },
            ..Workload::default()
        };
        let free = Room::new(&fleet);
        let decision = place(&fleet, &mut Room::new(&fleet), &workload, &policy, &previous);
        match brute(&members, more) {
            Some(micros) => {
                prop_assert_eq!(&decision.outcome, &Outcome::Placed);
                let found = marginal(&fleet, &free, &workload, &policy, &previous, &decision);
                prop_assert_eq!(found, Some(Money(micros).per_month()));
            }
            None => {
                let short = matches!(decision.outcome, Outcome::NotEnoughRoom { .. });
                prop_assert!(short, "{:?}", decision.outcome);
            }
        }
    }
}

/// Where a cluster is: its provider, region and a label that lies across.
type Place = (&'static str, i64, &'static str);

fn place_of() -> impl Strategy<Value = Place> {
    let names = prop::sample::select(vec!["eks", "gke", "aks"]);
    (names, 0_i64..3, prop::sample::select(vec!["blue", "green"]))
}

/// Clusters of one node type each, whose prices go by the region: what `n` more cost there.
#[derive(Clone, Debug)]
struct Site {
    place: Place,
    free: i64,
    autoscaled: bool,
    held: Option<i64>,
}

fn hour(place: Place) -> i64 {
    let provider = ["eks", "gke", "aks"].iter().position(|it| *it == place.0).unwrap();
    i64::try_from(provider).unwrap() * 7 + place.1 * 11 + 8
}

fn site_fleet(sites: &[Site]) -> Fleet {
    let mut prices = Vec::new();
    let mut inputs = Vec::new();
    for (at, it) in sites.iter().enumerate() {
        let (provider, region, color) = it.place;
        let region = format!("{provider}-{region}");
        prices.push(json!({
            "provider": provider, "region": region, "instanceType": "m",
            "onDemandUsdHour": usd(hour(it.place)), "asOf": "2026-11-01",
        }));
        inputs.push(ClusterInput {
            name: format!("c{at}"),
            labels: [("color".to_owned(), color.to_owned())].into(),
            spec: MemberClusterSpec {
                provider: provider.into(),
                region,
                autoscaled: it.autoscaled,
                accepted: true,
                ..MemberClusterSpec::default()
            },
            apis: vec!["apps/v1/Deployment".into()],
            shapes: vec![NodeShape {
                instance_type: "m".into(),
                count: 1,
                allocatable: cores(CORES),
                free: vec![FreeNodes { nodes: 1, resources: cores(it.free) }],
                ..NodeShape::default()
            }],
            ready: true,
            ..ClusterInput::default()
        });
    }
    let charges = json!([{"name": "nat", "usdHour": "0.05"}]);
    let book: PriceBookSpec =
        serde_json::from_value(json!({"prices": prices, "charges": charges})).unwrap();
    let prices = PriceIndex::build([("book", &book)], "2026-11-21");
    Fleet::build(inputs, &[], &prices, "2026-11-21")
}

type Bound = (u32, u32);

/// The least over every way to share out that keeps the bounds on clusters, providers, regions and colors.
fn brute_spread(sites: &[Site], n: i64, bounds: &[Bound; 4]) -> Option<i64> {
    fn go(
        sites: &[Site],
        at: usize,
        n: i64,
        bounds: &[Bound; 4],
        used: &mut Vec<usize>,
    ) -> Option<i64> {
        let Some(it) = sites.get(at) else {
            let distinct = |of: &dyn Fn(&Site) -> String| {
                used.iter()
                    .map(|at| of(&sites[*at]))
                    .collect::<std::collections::BTreeSet<_>>()
                    .len()
            };
            let counts = [
                used.len(),
                distinct(&|it| it.place.0.to_owned()),
                distinct(&|it| format!("{}-{}", it.place.0, it.place.1)),
                distinct(&|it| it.place.2.to_owned()),
            ];
            let within = counts
                .iter()
                .zip(bounds)
                .all(|(count, (min, max))| (*min as usize..=*max as usize).contains(count));
            return (n == 0 && within).then_some(0);
        };
        (0..=n)
            .filter_map(|x| {
                let shape = Shape { cents: hour(it.place), overhead: 0, free: it.free, idle: 0 };
                let member = Member {
                    autoscaled: it.autoscaled,
                    shapes: vec![shape],
                    first: 5,
                    licence: 0,
                    held: it.held,
                };
                let cost = least(&member, x)?;
                let uses = x > 0 || it.held.is_some();
                if uses {
                    used.push(at);
                }
                let rest = go(sites, at + 1, n - x, bounds, used);
                if uses {
                    used.pop();
                }
                Some(cost + rest?)
            })
            .min()
    }
    go(sites, 0, n, bounds, &mut Vec::new())
}

prop_compose! {
    fn site()(
        place in place_of(), free in 0_i64..4, autoscaled in any::<bool>(),
        held in prop::option::weighted(0.2, 1_i64..3),
    ) -> Site {
        Site { place, free, autoscaled, held }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn rule_5_3_no_other_way_costs_less_under_several_spreads(
        sites in prop::collection::vec(site(), 2..6), more in 2_i64..7,
        bounds in prop::array::uniform4((1_u32..3, 0_u32..3)),
    ) {
        let bounds = bounds.map(|(min, more)| (min, min + more));
        let fleet = site_fleet(&sites);
        let held: Vec<_> = sites.iter().enumerate().filter_map(|(at, it)| {
            Some(PreviousCluster { name: format!("c{at}"), replicas: Some(it.held?), spot: false })
        }).collect();
        let before: i64 = sites.iter().filter_map(|it| it.held).sum();
        let previous = Previous { clusters: held.clone(), divided: true, ..Previous::default() };
        let spread: Vec<_> = ["cluster", "provider", "region", "color"].iter().zip(&bounds)
            .map(|(key, (min, max))| json!({"topologyKey": key, "min": min, "max": max})).collect();
        let spec: PlacementPolicySpec = serde_json::from_value(json!({
            "selectors": [], "brings": ["nat"], "spread": spread,
            "traffic": [{"to": "Internet", "gibPerMonth": 0}],
            "replicas": {"mode": "Divided", "division": "Cheapest"},
            "objectives": {"stickiness": 0},
        })).unwrap();
        let policy = CompiledPolicy::compile("p", None, &spec, &[]).unwrap();
        let workload = Workload {
            api: "apps/v1/Deployment".into(),
            class: KindClass::Deployment,
            replicas: Some(before + more),
            requests: Requests { base: [1_000, 1 << 30, 0, 0], extended: Vec::new() },
            ..Workload::default()
        };
        let free = Room::new(&fleet);
        let decision = place(&fleet, &mut Room::new(&fleet), &workload, &policy, &previous);
        let stays = |old: &PreviousCluster| decision.clusters.iter().any(|it| {
            fleet.name(it.cluster) == old.name && it.replicas >= old.replicas
        });
        match brute_spread(&sites, more, &bounds) {
            Some(micros) => {
                prop_assert_eq!(&decision.outcome, &Outcome::Placed);
                prop_assert!(held.iter().all(stays), "growth moved something: {:?}", decision.clusters);
                let found = marginal(&fleet, &free, &workload, &policy, &previous, &decision);
                prop_assert_eq!(found, Some(Money(micros).per_month()));
                prop_assert_eq!(decision.gap, 0);
            }
            // What runs may have to move for the rules: growth alone cannot keep them.
            None if decision.outcome == Outcome::Placed => {
                prop_assert!(!held.is_empty(), "{:?}", decision.clusters);
            }
            None => (),
        }
    }
}

/// Autoscaled clusters without a free slot, each a region of its own: a node of four replicas costs so many cents an hour,
/// as a spot node fewer. `spare` nodes are paid for in advance beyond the one that each of them runs.
fn growing(cents: &[(i64, i64)], spare: i64) -> Fleet {
    let mut prices = Vec::new();
    let mut inputs = Vec::new();
    for (at, (node, spot)) in cents.iter().enumerate() {
        let region = format!("r{at}");
        prices.push(json!({
            "provider": "eks", "region": region, "instanceType": "m", "onDemandUsdHour": usd(*node),
            "spotUsdHour": usd(*spot), "asOf": "2026-11-01",
        }));
        let shape = |label: Option<(&str, &str)>| NodeShape {
            instance_type: "m".into(),
            count: i64::from(label.is_none()),
            allocatable: cores(CORES),
            labels: label
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            ..NodeShape::default()
        };
        inputs.push(ClusterInput {
            name: format!("c{at}"),
            spec: MemberClusterSpec {
                provider: "eks".into(),
                region,
                autoscaled: true,
                accepted: true,
                ..MemberClusterSpec::default()
            },
            apis: vec!["apps/v1/Deployment".into()],
            shapes: vec![shape(None), shape(Some(("karpenter.sh/capacity-type", "spot")))],
            ready: true,
            ..ClusterInput::default()
        });
    }
    let running = i64::try_from(cents.len()).unwrap();
    let book: PriceBookSpec = serde_json::from_value(json!({
        "prices": prices,
        "charges": [{"name": "nat", "usdHour": "0.03"}],
        "commitments": [{"provider": "eks", "instanceType": "m", "nodes": running + spare}],
    }))
    .unwrap();
    let prices = PriceIndex::build([("book", &book)], "2026-11-21");
    Fleet::build(inputs, &[], &prices, "2026-11-21")
}

/// The least over every way to share out, to pin clusters to spot nodes and to use up what is paid in advance.
fn brute_growing(
    cents: &[(i64, i64)],
    n: i64,
    spot: i64,
    spare: i64,
    clusters: usize,
) -> Option<i64> {
    let Some(((node, cheap), rest)) = cents.split_first() else {
        return (n == 0 && clusters == 0).then_some(0);
    };
    let mut best: Option<i64> = None;
    for x in 0..=n {
        let nodes = (x + CORES - 1) / CORES;
        let first = if x > 0 { 3 } else { 0 };
        let fewer = clusters.saturating_sub(usize::from(x > 0));
        let mut ways = vec![];
        for used in 0..=nodes.min(spare) {
            ways.push(((nodes - used) * node, 0, used));
        }
        if x <= spot {
            ways.push((nodes * cheap, x, 0));
        }
        for (cost, on_spot, used) in ways {
            let others = brute_growing(rest, n - x, spot - on_spot, spare - used, fewer);
            let all = others.map(|it| it + (cost + first) * 10_000);
            best = match (best, all) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn rule_5_1_nodes_paid_in_advance_are_shared_and_rule_5_6_a_share_of_spot_is_seen_by_the_division(
        cents in prop::collection::vec((10_i64..60, 2_i64..50), 1..4), n in 1_i64..12,
        spare in 0_i64..3, percent in prop::option::of(0_i64..100),
    ) {
        let fleet = growing(&cents, spare);
        let mut spec = json!({
            "selectors": [], "brings": ["nat"],
            "replicas": {"mode": "Divided", "division": "Cheapest"},
            "objectives": {"stickiness": 0},
        });
        if let Some(percent) = percent {
            spec["spot"] = json!({"percent": percent});
        }
        let spec: PlacementPolicySpec = serde_json::from_value(spec).unwrap();
        let policy = CompiledPolicy::compile("p", None, &spec, &[]).unwrap();
        let workload = Workload {
            api: "apps/v1/Deployment".into(),
            class: KindClass::Deployment,
            replicas: Some(n),
            requests: Requests { base: [1_000, 1 << 30, 0, 0], extended: Vec::new() },
            ..Workload::default()
        };
        let free = Room::new(&fleet);
        let previous = Previous::default();
        let decision = place(&fleet, &mut Room::new(&fleet), &workload, &policy, &previous);
        let share = percent.map_or(0, |it| n * it / 100);
        let clusters = if percent.is_some() { 2 } else { 1 };
        match brute_growing(&cents, n, share, spare, clusters) {
            Some(micros) => {
                prop_assert_eq!(&decision.outcome, &Outcome::Placed);
                let found = marginal(&fleet, &free, &workload, &policy, &previous, &decision);
                prop_assert_eq!(found, Some(Money(micros).per_month()), "{:?}", decision);
                let pinned = decision.clusters.iter().filter(|it| decision.spot.contains(&it.cluster));
                prop_assert!(pinned.filter_map(|it| it.replicas).sum::<i64>() <= share);
            }
            None => {
                let refused = matches!(decision.outcome, Outcome::SpotNeedsTwo { .. });
                prop_assert!(refused, "{:?}", decision.outcome);
            }
        }
    }
}
