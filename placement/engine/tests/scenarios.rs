//! Scenarios: a fleet, a policy and a workload in, the decision and its report out. Each file under `golden/` is one;
//! what stands below `== decision` is what the engine says. `UPDATE_EXPECT=1` rewrites it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use federation_types::{
    cluster::{ClusterSetSpec, FreeNodes, MemberClusterSpec, NearService, NodeShape, Taint},
    policy::{Limits, PlacementPolicySpec},
    price::{NodePrice, PriceBookSpec},
};
use placement_engine::{
    ClusterInput, CompiledPolicy, Fleet, Previous, PriceIndex, Room, SetInput, Workload, explain,
    place,
    plan::{self, Action, PolicySince},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    clusters: Vec<Cluster>,
    #[serde(default)]
    sets: BTreeMap<String, ClusterSetSpec>,
    #[serde(default)]
    prices: Vec<NodePrice>,
    #[serde(default, rename = "maxAge")]
    max_age: Option<String>,
    policy: serde_json::Value,
    #[serde(default)]
    limits: BTreeMap<String, Limits>,
    /// Of a namespaced policy.
    #[serde(default)]
    namespace: Option<String>,
    workload: serde_json::Value,
    #[serde(default)]
    previous: Previous,
}

/// A cluster in short: what is left out is ready, accepted, serves the usual kinds, and has four large nodes free.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster {
    name: String,
    #[serde(default = "eks")]
    provider: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    zones: Vec<String>,
    #[serde(default)]
    jurisdiction: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    taints: Vec<Taint>,
    #[serde(default)]
    services: Vec<NearService>,
    #[serde(default)]
    autoscaled: bool,
    #[serde(default = "yes")]
    accepted: bool,
    #[serde(default = "yes")]
    ready: bool,
    #[serde(default)]
    leaving: bool,
    #[serde(default)]
    lost: bool,
    #[serde(default = "version")]
    version: String,
    #[serde(default = "apis")]
    apis: Vec<String>,
    #[serde(default = "large")]
    shapes: Vec<NodeShape>,
}

fn eks() -> String {
    "eks".to_owned()
}

fn yes() -> bool {
    true
}

fn version() -> String {
    "v1.36.3".to_owned()
}

fn apis() -> Vec<String> {
    [
        "apps/v1/DaemonSet",
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "batch/v1/Job",
        "v1/ConfigMap",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn resources(cpu: &str, memory: &str, pods: &str) -> BTreeMap<String, String> {
    [("cpu", cpu), ("memory", memory), ("pods", pods)]
        .map(|(name, amount)| (name.to_owned(), amount.to_owned()))
        .into()
}

fn large() -> Vec<NodeShape> {
    vec![NodeShape {
        instance_type: "large".into(),
        count: 4,
        allocatable: resources("4", "16Gi", "50"),
        free: vec![FreeNodes { nodes: 4, resources: resources("4", "16Gi", "50") }],
        ..NodeShape::default()
    }]
}

impl From<Cluster> for ClusterInput {
    fn from(it: Cluster) -> Self {
        Self {
            name: it.name,
            labels: it.labels,
            spec: MemberClusterSpec {
                provider: it.provider,
                region: it.region,
                zones: it.zones,
                jurisdiction: it.jurisdiction,
                taints: it.taints,
                services: it.services,
                autoscaled: it.autoscaled,
                accepted: it.accepted,
                ..MemberClusterSpec::default()
            },
            version: it.version,
            apis: it.apis,
            shapes: it.shapes,
            properties: BTreeMap::new(),
            ready: it.ready,
            leaving: it.leaving,
            lost: it.lost,
        }
    }
}

fn run(text: &str) -> String {
    let scenario: Scenario = serde_norway::from_str(text).unwrap();
    let book = PriceBookSpec { max_age: scenario.max_age, sample: false, prices: scenario.prices };
    let prices = PriceIndex::build([("book", &book)], "2026-11-21");
    let sets: Vec<_> =
        scenario.sets.into_iter().map(|(name, spec)| SetInput { name, spec }).collect();
    let clusters = scenario.clusters.into_iter().map(ClusterInput::from).collect();
    let fleet = Fleet::build(clusters, &sets, &prices, "2026-11-21");
    let mut spec = scenario.policy;
    spec["selectors"] = serde_json::json!([]);
    let spec: PlacementPolicySpec = serde_json::from_value(spec).unwrap();
    let limits: Vec<_> = scenario.limits.iter().map(|(name, it)| (name.as_str(), it)).collect();
    let policy = match CompiledPolicy::compile(
        "the policy",
        scenario.namespace.as_deref(),
        &spec,
        &limits,
    ) {
        Ok(policy) => policy,
        Err(problems) => {
            let lines = problems.iter().map(|it| format!("{}: {}\n", it.field, it.message));
            return lines.collect();
        }
    };
    let workload = Workload::from_template(&scenario.workload);
    let mut room = Room::new(&fleet);
    let explanation = explain(&fleet, &room, &workload, &policy, &scenario.previous, None);
    let decision = place(&fleet, &mut room, &workload, &policy, &scenario.previous);
    let changes = plan::diff(&fleet, &workload, &scenario.previous, &decision, PolicySince::Same);

    let mut out = String::new();
    writeln!(out, "{}", explanation.summary).unwrap();
    writeln!(out, "reason {}", decision.outcome.reason()).unwrap();
    if !explanation.affinity.is_empty() {
        writeln!(out, "affinity {}", explanation.affinity).unwrap();
    }
    writeln!(out, "monthly {}", explanation.monthly_cost).unwrap();
    for note in &explanation.notes {
        writeln!(out, "note: {note}").unwrap();
    }
    for it in &changes.changes {
        let number = |it: &Option<i64>| it.map_or(String::new(), |it| format!(" {it}"));
        let action = match &it.action {
            Action::Add { replicas } => format!("add{}", number(replicas)),
            Action::Remove { replicas } => format!("remove{}", number(replicas)),
            Action::Resize { from, to } => format!("resize {from} to {to}"),
        };
        writeln!(out, "change {}: {action}, {}", it.cluster, it.cause).unwrap();
    }
    if changes.needs_approval {
        writeln!(out, "needs approval").unwrap();
    }
    for it in &explanation.clusters {
        write!(out, "{} {}", it.cluster, it.rule).unwrap();
        let mut part = |name: &str, text: &str| {
            if !text.is_empty() {
                write!(out, "; {name} {text}").unwrap();
            }
        };
        part("by", &it.policy);
        part("wanted", &it.wanted);
        part("found", &it.found);
        part("would change:", &it.would_change);
        out.push('\n');
    }
    out
}

#[test]
fn every_scenario_comes_out_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "the scenarios are there");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let input = text.split("== decision\n").next().unwrap();
        let actual = format!("{input}== decision\n{}", run(input));
        expect_test::expect_file![&file].assert_eq(&actual);
    }
}
