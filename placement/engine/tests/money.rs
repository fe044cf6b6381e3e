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
