//! Laws that are proved by trying everything, and by letting a placement be carried out: a refusal is true, and what is
//! decided, placed and observed in turn comes to rest.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    cluster::{FreeNodes, MemberClusterSpec, NodeShape},
    policy::PlacementPolicySpec,
};
use placement_engine::{
    ClusterInput, CompiledPolicy, Decision, Fleet, Previous, PreviousCluster, PriceIndex, Room,
    Workload, place,
    workload::{KindClass, Requests},
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A cluster that can hold so many replicas, each on a node of its own.
#[derive(Clone, Debug)]
struct Member {
    provider: usize,
    region: usize,
    ready: bool,
    slots: i64,
}

fn input(at: usize, member: &Member, free: i64) -> ClusterInput {
    let one: BTreeMap<String, String> = [("cpu", "1"), ("memory", "1Gi"), ("pods", "1")]
        .map(|(name, amount)| (name.to_owned(), amount.to_owned()))
        .into();
    ClusterInput {
        name: format!("c{at}"),
        spec: MemberClusterSpec {
            provider: format!("p{}", member.provider),
            region: format!("r{}", member.region),
            accepted: true,
            ..MemberClusterSpec::default()
        },
        apis: vec!["apps/v1/Deployment".to_owned()],
        shapes: vec![NodeShape {
            instance_type: "one".to_owned(),
            count: member.slots,
            allocatable: one.clone(),
            free: vec![FreeNodes { nodes: free, resources: one }],
            ..NodeShape::default()
        }],
        ready: member.ready,
        ..ClusterInput::default()
    }
}

fn fleet(members: &[Member], free: &[i64]) -> Fleet {
    let inputs = members.iter().enumerate().map(|(at, it)| input(at, it, free[at])).collect();
    Fleet::build(inputs, &[], &PriceIndex::default(), "2026-11-21")
}

fn workload(replicas: i64) -> Workload {
    Workload {
        api: "apps/v1/Deployment".to_owned(),
        class: KindClass::Deployment,
        replicas: Some(replicas),
        requests: Requests { base: [1_000, 1 << 30, 0, 0], extended: Vec::new() },
        ..Workload::default()
    }
}

fn previous(decision: &Decision, fleet: &Fleet) -> Previous {
    let of = |it: &placement_engine::Placed| PreviousCluster {
        name: fleet.name(it.cluster).to_owned(),
        replicas: it.replicas,
        ..PreviousCluster::default()
    };
    Previous {
        clusters: decision.clusters.iter().map(of).collect(),
        divided: true,
        ..Previous::default()
    }
}

/// Whether some clusters with some shares keep every rule, by trying all sets of clusters.
fn possible(members: &[Member], spec: &Value, replicas: i64) -> bool {
    let rules = &spec["replicas"];
    let least = rules["minPerCluster"].as_i64().unwrap_or(0).max(1);
    let most = rules["maxPerCluster"].as_i64().unwrap_or(i64::MAX);
    let by_room = rules["division"] != "Weighted";
    let hold = |it: &Member| if by_room { it.slots.min(most) } else { most };
    (1_u32..1 << members.len()).any(|set| {
        let chosen: Vec<usize> = (0..members.len()).filter(|at| set & (1 << at) != 0).collect();
        let count = i64::try_from(chosen.len()).unwrap();
        chosen.iter().all(|at| members[*at].ready && hold(&members[*at]) >= least)
            && count * least <= replicas
            && chosen.iter().map(|at| hold(&members[*at])).fold(0, i64::saturating_add) >= replicas
            && spec["spread"].as_array().unwrap().iter().all(|rule| {
                let domains: BTreeSet<usize> = chosen
                    .iter()
                    .map(|at| match rule["topologyKey"].as_str().unwrap() {
                        "cluster" => *at,
                        "provider" => members[*at].provider,
                        _ => members[*at].region,
                    })
                    .collect();
                let count = i64::try_from(domains.len()).unwrap();
                count >= rule["min"].as_i64().unwrap() && count <= rule["max"].as_i64().unwrap()
            })
    })
}

prop_compose! {
    fn members()(all in prop::collection::vec((0_usize..3, 0_usize..3, prop::bool::weighted(0.85), 0_i64..7), 1..8)) -> Vec<Member> {
        all.into_iter().map(|(provider, region, ready, slots)| Member { provider, region, ready, slots }).collect()
    }
}

prop_compose! {
    fn specs()(
        division in prop::sample::select(vec!["Weighted", "Room", "Packed", "Cheapest"]),
        least in prop::option::of(1_u32..4),
        most in prop::option::of(3_u32..6),
        clusters in prop::option::of((1_u32..4, 0_u32..3)),
        providers in prop::option::of((1_u32..3, 0_u32..2)),
        regions in prop::option::weighted(0.3, (1_u32..3, 0_u32..2)),
    ) -> Value {
        let rule = |key: &str, (min, more): (u32, u32)| json!({"topologyKey": key, "min": min, "max": min + more});
        let spread: Vec<Value> = clusters.map(|it| rule("cluster", it)).into_iter()
            .chain(providers.map(|it| rule("provider", it)))
            .chain(regions.map(|it| rule("region", it))).collect();
        json!({
            "selectors": [], "spread": spread,
            "replicas": {"mode": "Divided", "division": division, "minPerCluster": least, "maxPerCluster": most},
        })
    }
}

fn compiled(spec: &Value) -> CompiledPolicy {
    let spec: PlacementPolicySpec = serde_json::from_value(spec.clone()).unwrap();
    CompiledPolicy::compile("p", None, &spec, &[]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn rule_3_3_a_refusal_is_true_and_so_is_a_placement(members in members(), spec in specs(), replicas in 1_i64..16) {
        let free: Vec<i64> = members.iter().map(|it| it.slots).collect();
        let fleet = fleet(&members, &free);
        let policy = compiled(&spec);
        let decision = place(&fleet, &mut Room::new(&fleet), &workload(replicas), &policy, &Previous::default());
        let possible = possible(&members, &spec, replicas);
        prop_assert_eq!(decision.outcome.is_placed(), possible, "{:?}", decision);
    }

    #[test]
    fn rule_3_2_decided_placed_and_observed_it_comes_to_rest(
        members in members(), spec in specs(), sizes in prop::collection::vec(1_i64..14, 1..5),
    ) {
        let policy = compiled(&spec);
        let mut running = vec![0_i64; members.len()];
        // What the hub last heard is one round old.
        let mut heard = running.clone();
        let mut before = Previous::default();
        for replicas in sizes {
            let mut rounds = 0;
            loop {
                let free: Vec<i64> = members.iter().zip(&heard).map(|(it, n)| (it.slots - n).max(0)).collect();
                let fleet = fleet(&members, &free);
                let workload = workload(replicas);
                let mut room = Room::new(&fleet);
                for it in &before.clusters {
                    let id = fleet.id(&it.name).unwrap();
                    let in_flight = it.replicas.unwrap() - heard[id.0 as usize];
                    if in_flight > 0 {
                        room.reserve(&fleet, id, &workload, in_flight);
                    }
                }
                let decision = place(&fleet, &mut room, &workload, &policy, &before);
                let after = previous(&decision, &fleet);
                if decision.outcome.is_placed() {
                    prop_assert_eq!(decision.replicas(), replicas);
                } else {
                    let held: i64 = before.clusters.iter().filter_map(|it| it.replicas).sum();
                    prop_assert!(decision.replicas() <= held.max(replicas), "{:?}", decision);
                }
                heard.clone_from(&running);
                running.fill(0);
                for it in &decision.clusters {
                    running[it.cluster.0 as usize] = it.replicas.unwrap();
                }
                let rests = after == before && heard == running;
                before = after;
                if rests {
                    break;
                }
                rounds += 1;
                // One to decide, one until it runs, one until that is heard of.
                prop_assert!(rounds <= 3, "still moving: {:?}", before);
            }
        }
    }
}
