//! Decisions per second on one core. `--dump DIR` writes 200 decisions with their fleet as JSON instead.
//!
//! Fleets of 100, 1,000 and 5,000 clusters with 4 node shapes and 70 group-versions each; 1,000 distinct workloads of
//! 100 replicas, 250m and 512Mi each, under 1,000 distinct policies: spread over 2 to 5 clusters, shared out by free
//! room. Each decision reserves its room before the next one is made; a new snapshot is taken when the fleet is two
//! thirds full, and every run goes at least so far. What depends on policy and fleet alone is worked out in a first round, whose time is told beside.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use federation_types::{
    cluster::{FreeNodes, MemberClusterSpec, NodeShape},
    policy::{Division, PlacementPolicySpec, ReplicaMode, Replicas, Spread},
};
use placement_engine::{
    ClusterInput, CompiledPolicy, Decision, Fleet, Plan, Previous, PriceIndex, Room, Workload,
    place,
    plan::{self, PolicySince},
};
use serde_json::{Value, json};

const WORKLOADS: usize = 1_000;

fn resources(cpu_milli: u64, memory_gib: u64, pods: u64) -> BTreeMap<String, String> {
    let pairs = [
        ("cpu", format!("{cpu_milli}m")),
        ("memory", format!("{memory_gib}Gi")),
        ("pods", pods.to_string()),
    ];
    pairs.map(|(name, amount)| (name.to_owned(), amount)).into()
}

fn cluster(at: usize) -> ClusterInput {
    let shapes = [(4, 16, 58), (8, 32, 58), (16, 64, 110), (8, 64, 110)]
        .iter()
        .enumerate()
        .map(|(n, (cpu, memory, pods))| {
            // Some nodes are partly used; how many differs from cluster to cluster.
            let nodes = 20 + (at * 7 + n * 13) % 30;
            let free = FreeNodes {
                nodes: i64::try_from(nodes).unwrap_or(0),
                resources: resources(
                    cpu * 1_000 - 250 * (at as u64 % 5),
                    memory - at as u64 % 4,
                    *pods,
                ),
            };
            NodeShape {
                instance_type: format!("type-{n}"),
                zone: String::new(),
                count: free.nodes,
                allocatable: resources(cpu * 1_000, *memory, *pods),
                free: vec![free],
                ..NodeShape::default()
            }
        })
        .collect();
    let mut apis: Vec<String> =
        (0..69).map(|n| format!("group{n}.example.org/v1/Kind{n}")).collect();
    apis.push("apps/v1/Deployment".to_owned());
    ClusterInput {
        name: format!("member-{at:05}"),
        labels: [("tier".to_owned(), ["prod", "dev"][at % 2].to_owned())].into(),
        spec: MemberClusterSpec {
            provider: ["eks", "gke", "onprem"][at % 3].to_owned(),
            region: format!("region-{}", at % 50),
            accepted: true,
            ..MemberClusterSpec::default()
        },
        version: "v1.36.3".to_owned(),
        apis,
        shapes,
        ready: true,
        ..ClusterInput::default()
    }
}

fn workload(at: usize) -> Workload {
    Workload::from_template(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": format!("app-{at}"), "namespace": format!("team-{}", at % 40)},
        "spec": {"replicas": 100, "template": {"spec": {"containers": [
            {"name": "app", "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}}}
        ]}}}
    }))
}

fn policy(at: usize) -> CompiledPolicy {
    let spec = PlacementPolicySpec {
        priority: i32::try_from(at).unwrap_or(0),
        spread: vec![Spread {
            topology_key: "cluster".to_owned(),
            min: Some(2),
            max: Some(5),
            ..Spread::default()
        }],
        replicas: Some(Replicas {
            mode: Some(ReplicaMode::Divided),
            division: Some(Division::Room),
            ..Replicas::default()
        }),
        ..PlacementPolicySpec::default()
    };
    CompiledPolicy::compile(&format!("ClusterPlacementPolicy p-{at}"), None, &spec, &[])
        .expect("the policy has no expressions")
}

/// Seconds since some moment, on the system's clock.
fn clock() -> Duration {
    #[expect(clippy::disallowed_types, reason = "a benchmark measures; the library has no clock")]
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// The fleet whose allocations are told.
const TOLD: usize = 1_000;

struct Figures {
    per_second: u128,
    /// Of one decision, in hundredths.
    allocations: u64,
    first_round: Duration,
}

fn measure(clusters: usize, workloads: &[Workload], policies: &[CompiledPolicy]) -> Figures {
    let fleet = Fleet::build((0..clusters).map(cluster).collect(), &[], &PriceIndex::default(), "");
    let previous = Previous::default();
    let mut room = Room::new(&fleet);
    let begin = clock();
    for (workload, policy) in workloads.iter().zip(policies) {
        place(&fleet, &mut room, workload, policy, &previous);
    }
    let first_round = clock().saturating_sub(begin);
    // A cluster holds some 4,000 replicas of this size: 25 decisions' worth are about two thirds of it.
    let until_full = clusters * 25;
    let mut best = 0;
    for _ in 0..3 {
        let (mut decided, mut since, mut checked) = (0_u128, 0, 0_i64);
        room.reset(&fleet);
        let begin = clock();
        let mut spent = Duration::ZERO;
        // From an empty fleet to a full one at least: the fuller it is, the more clusters look alike.
        while spent < Duration::from_millis(1_500) || decided < until_full as u128 {
            for (workload, policy) in workloads.iter().zip(policies) {
                if since == until_full {
                    room.reset(&fleet);
                    since = 0;
                }
                let decision = place(&fleet, &mut room, workload, policy, &previous);
                checked += decision.replicas();
                assert_eq!(decision.report.rules.len(), clusters, "one rule per cluster");
                decided += 1;
                since += 1;
            }
            spent = clock().saturating_sub(begin);
        }
        assert_eq!(u128::from(checked.unsigned_abs()), decided * 100, "every replica is placed");
        best = best.max(decided * 1_000_000 / spent.as_micros().max(1));
    }
    room.reset(&fleet);
    let counted = allocation_counter::measure(|| {
        for (workload, policy) in workloads.iter().zip(policies) {
            place(&fleet, &mut room, workload, policy, &previous);
        }
    });
    let allocations = counted.count_total * 100 / WORKLOADS as u64;
    Figures { per_second: best, allocations, first_round }
}

/// Seconds to decide on 10,000 placements of a fleet of 1,000 clusters again, and to make a plan of them, after a
/// cluster of it has gone dark and counts as lost.
fn again(policies: &[CompiledPolicy]) -> (Duration, Duration) {
    let mut inputs: Vec<_> = (0..1_000).map(cluster).collect();
    let prices = PriceIndex::default();
    let fleet = Fleet::build(inputs.clone(), &[], &prices, "");
    let workloads: Vec<_> = (0..10_000).map(workload).collect();
    let mut room = Room::new(&fleet);
    let none = Previous::default();
    let previous: Vec<Previous> = workloads
        .iter()
        .zip(policies.iter().cycle())
        .map(|(workload, policy)| {
            let decision = place(&fleet, &mut room, workload, policy, &none);
            let of = |it: &placement_engine::Placed| placement_engine::PreviousCluster {
                name: fleet.name(it.cluster).to_owned(),
                replicas: it.replicas,
                spot: false,
            };
            Previous {
                clusters: decision.clusters.iter().map(of).collect(),
                affinity: String::new(),
                divided: decision.divided,
                ..Previous::default()
            }
        })
        .collect();
    (inputs[0].ready, inputs[0].lost) = (false, true);
    let fleet = Fleet::build(inputs, &[], &prices, "");
    let mut room = Room::new(&fleet);
    let begin = clock();
    let decisions: Vec<Decision> = workloads
        .iter()
        .zip(policies.iter().cycle())
        .zip(&previous)
        .map(|((workload, policy), previous)| place(&fleet, &mut room, workload, policy, previous))
        .collect();
    let decided = clock().saturating_sub(begin);
    let plans = workloads
        .iter()
        .zip(&decisions)
        .zip(&previous)
        .zip(policies.iter().cycle())
        .map(|(((workload, decision), previous), policy)| {
            plan::diff(&fleet, workload, policy, previous, decision, PolicySince::Same)
        })
        .collect();
    let plan = Plan::of(plans, &[fleet.digest()]);
    assert!(plan.removals().contains_key("Failover"), "the lost cluster held something");
    (decided, clock().saturating_sub(begin))
}

fn decision_json(fleet: &Fleet, workload: &Workload, decision: &Decision) -> Value {
    let placed: BTreeMap<&str, Option<i64>> =
        decision.clusters.iter().map(|it| (fleet.name(it.cluster), it.replicas)).collect();
    let rules: BTreeMap<&str, &str> = fleet
        .clusters
        .iter()
        .zip(&decision.report.rules)
        .map(|(cluster, rule)| (cluster.name.as_str(), rule.id()))
        .collect();
    json!({
        "template": workload.key.to_string(),
        "workload": workload,
        "outcome": decision.outcome.reason(),
        "clusters": placed,
        "rules": rules,
    })
}

fn dump(folder: &str, workloads: &[Workload], policies: &[CompiledPolicy]) -> std::io::Result<()> {
    let inputs: Vec<_> = (0..100).map(cluster).collect();
    std::fs::create_dir_all(folder)?;
    let folder = std::path::Path::new(folder);
    std::fs::write(folder.join("fleet.json"), serde_json::to_vec_pretty(&inputs)?)?;
    let fleet = Fleet::build(inputs, &[], &PriceIndex::default(), "");
    let mut room = Room::new(&fleet);
    let mut lines = String::new();
    for (workload, policy) in workloads.iter().zip(policies).take(200) {
        let decision = place(&fleet, &mut room, workload, policy, &Previous::default());
        let mut line = decision_json(&fleet, workload, &decision);
        line["policy"] = serde_json::to_value(&policy.spec)?;
        writeln!(lines, "{line}").expect("writing into a string does not fail");
    }
    std::fs::write(folder.join("decisions.jsonl"), lines)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() -> std::io::Result<()> {
    let workloads: Vec<_> = (0..WORKLOADS).map(workload).collect();
    let policies: Vec<_> = (0..WORKLOADS).map(policy).collect();
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--dump") {
        return dump(&arguments.next().unwrap_or_else(|| ".".to_owned()), &workloads, &policies);
    }
    let (mut figures, mut allocations) = (BTreeMap::new(), 0);
    for clusters in [100, TOLD, 5_000] {
        let it = measure(clusters, &workloads, &policies);
        println!(
            "{clusters:>5} clusters: {:>8} decisions/s, {}.{:02} allocations each; first round of {WORKLOADS} with policies made ready: {} ms",
            it.per_second,
            it.allocations / 100,
            it.allocations % 100,
            it.first_round.as_millis()
        );
        if clusters == TOLD {
            allocations = it.allocations;
        }
        figures.insert(clusters.to_string(), u64::try_from(it.per_second).unwrap_or(u64::MAX));
    }
    let (decided, planned) = again(&policies);
    let number = |text: String| text.parse::<serde_json::Number>().unwrap_or_else(|_| 0.into());
    let seconds = |it: Duration| number(format!("{}.{:03}", it.as_secs(), it.subsec_millis()));
    let hundredths = |it: u64| number(format!("{}.{:02}", it / 100, it % 100));
    println!(
        "{}",
        json!({"bench": "engine", "figures": {
            "decisions_per_s": figures,
            "allocs_per_decision": hundredths(allocations),
            "redecide_10k_s": seconds(decided),
            "plan_engine_10k_s": seconds(planned),
        }})
    );
    Ok(())
}
