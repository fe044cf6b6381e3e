//! Karmada's policies and what they become: documents, notes, and the decisions that follow.
#![expect(clippy::unwrap_used, reason = "a test says by a panic what is wrong")]

use federation_types::policy::{ClusterPlacementPolicySpec, PlacementPolicySpec};
use placement_convert::{Change, Converted, convert};
use placement_engine::{
    ClusterInput, CompiledPolicy, Fleet, Previous, PriceIndex, Room, Workload, place,
};
use serde_json::{Value, json};

fn read(text: &str) -> Converted {
    let object: Value = serde_norway::from_str(text).unwrap();
    convert(&object).expect("a policy of Karmada")
}

/// A namespaced policy with this spec.
fn policy(spec: &str) -> Converted {
    let indented: String = spec.lines().map(|it| format!("  {it}\n")).collect();
    read(&format!(
        "apiVersion: policy.karmada.io/v1alpha1\nkind: PropagationPolicy\nmetadata: {{name: web, namespace: shop}}\nspec:\n  resourceSelectors: [{{apiVersion: apps/v1, kind: Deployment, name: web}}]\n{indented}"
    ))
}

fn spec(converted: &Converted) -> PlacementPolicySpec {
    serde_json::from_value(converted.objects[0]["spec"].clone()).unwrap()
}

fn notes(converted: &Converted) -> Vec<(&str, Change)> {
    converted.notes.iter().map(|it| (it.path.as_str(), it.change)).collect()
}

/// Clusters with so much room for replicas of one cpu, by name and region.
fn fleet(rooms: &[(&str, &str, i64)]) -> Fleet {
    let cluster = |(name, region, room): &(&str, &str, i64)| {
        let quantities = json!({"cpu": room.to_string(), "memory": "1Ti", "pods": "100"});
        let shape = json!({
            "type": "node", "count": 1, "allocatable": quantities,
            "free": [{"cpu": room.to_string(), "memory": "1Ti", "pods": "100", "nodes": 1}],
        });
        ClusterInput {
            name: (*name).to_owned(),
            labels: [("tier".to_owned(), (*name).to_owned())].into(),
            spec: federation_types::cluster::MemberClusterSpec {
                provider: "gke".into(),
                region: (*region).into(),
                accepted: true,
                ..Default::default()
            },
            apis: vec!["apps/v1/Deployment".to_owned()],
            shapes: vec![serde_json::from_value(shape).unwrap()],
            ready: true,
            ..ClusterInput::default()
        }
    };
    Fleet::build(rooms.iter().map(cluster).collect(), &[], &PriceIndex::default(), "2026-11-21")
}

/// Where so many replicas go: `m1:2 m2:1`.
fn placed(fleet: &Fleet, spec: &PlacementPolicySpec, replicas: i64) -> String {
    let workload = Workload::from_template(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "web", "resources": {"requests": {"cpu": "1"}}}
        ]}}}
    }));
    let policy = CompiledPolicy::compile("PlacementPolicy shop/web", None, spec, &[]).unwrap();
    let decision = place(fleet, &mut Room::new(fleet), &workload, &policy, &Previous::default());
    let part = |it: &placement_engine::Placed| {
        format!("{}:{}", fleet.name(it.cluster), it.replicas.unwrap_or(0))
    };
    let parts: Vec<String> = decision.clusters.iter().map(part).collect();
    if parts.is_empty() { decision.outcome.to_string() } else { parts.join(" ") }
}

const FOUR: [(&str, &str, i64); 4] =
    [("m1", "eu", 10), ("m2", "eu", 8), ("m3", "us", 6), ("m4", "us", 6)];

#[test]
fn static_weights_give_the_same_decision() {
    let converted = policy(
        "placement:
  spreadConstraints: [{spreadByField: cluster, minGroups: 1, maxGroups: 2}]
  replicaScheduling:
    replicaSchedulingType: Divided
    replicaDivisionPreference: Weighted
    weightPreference:
      staticWeightList:
      - {targetCluster: {clusterNames: [m1]}, weight: 2}
      - {targetCluster: {clusterNames: [m2]}, weight: 1}
      - {targetCluster: {clusterNames: [m3]}, weight: 1}
      - {targetCluster: {clusterNames: [m4]}, weight: 1}",
    );
    assert!(!converted.has_losses(), "{:?}", converted.notes);
    assert_eq!(notes(&converted), [("spec.placement.spreadConstraints[0]", Change::Same)]);
    let spec = spec(&converted);
    // Karmada: 2:1:1:1 with 7 is 3, 2, 1, 1, whatever the room, and spread constraints do not count.
    assert_eq!(placed(&fleet(&FOUR), &spec, 7), "m1:3 m2:2 m3:1 m4:1");
}

#[test]
fn a_cluster_without_a_weight_gets_nothing() {
    let converted = policy(
        "placement:
  replicaScheduling:
    replicaDivisionPreference: Weighted
    weightPreference:
      staticWeightList:
      - {targetCluster: {clusterNames: [m1]}, weight: 1}
      - {targetCluster: {clusterNames: [m1, m3]}, weight: 3}",
    );
    assert!(!converted.has_losses());
    // The highest matching weight counts, as in Karmada.
    assert_eq!(placed(&fleet(&FOUR), &spec(&converted), 4), "m1:2 m3:2");
}

#[test]
fn dynamic_weights_divide_by_room() {
    let converted = policy(
        "placement:
  replicaScheduling:
    replicaDivisionPreference: Weighted
    weightPreference: {dynamicWeight: AvailableReplicas}",
    );
    assert!(!converted.has_losses());
    assert_eq!(placed(&fleet(&FOUR), &spec(&converted), 15), "m1:5 m2:4 m3:3 m4:3");
}

#[test]
fn without_replica_scheduling_every_cluster_gets_all() {
    let converted = policy("placement: {clusterAffinity: {exclude: [m4]}}");
    assert!(!converted.has_losses());
    assert_eq!(placed(&fleet(&FOUR), &spec(&converted), 3), "m1:3 m2:3 m3:3");
}

#[test]
fn ordered_groups_fall_back() {
    let converted = policy(
        "placement:
  clusterAffinities:
  - affinityName: us
    fieldSelector: {matchExpressions: [{key: region, operator: In, values: [us]}]}
  - affinityName: not-us
    fieldSelector: {matchExpressions: [{key: region, operator: NotIn, values: [us]}]}
  replicaScheduling:
    replicaDivisionPreference: Weighted
    weightPreference: {dynamicWeight: AvailableReplicas}",
    );
    assert!(!converted.has_losses());
    let spec = spec(&converted);
    assert_eq!(placed(&fleet(&FOUR), &spec, 12), "m3:6 m4:6");
    assert_eq!(placed(&fleet(&FOUR), &spec, 18), "m1:10 m2:8");
}

#[test]
fn aggregated_fills_clusters_and_says_that_this_differs() {
    let converted =
        policy("placement: {replicaScheduling: {replicaDivisionPreference: Aggregated}}");
    let path = "spec.placement.replicaScheduling.replicaDivisionPreference";
    assert_eq!(notes(&converted), [(path, Change::Changed)]);
    // As few clusters as in Karmada, which would divide 12 in proportion to 10 and 8.
    assert_eq!(placed(&fleet(&FOUR), &spec(&converted), 12), "m1:10 m2:2");
}

#[test]
fn every_field_that_is_lost_is_named() {
    let converted = policy(
        "activationPreference: Lazy
schedulerName: mine
conflictResolution: Overwrite
preserveResourcesOnDeletion: true
suspension: {dispatchingOnClusters: {clusterNames: [m1]}}
schedulePriority: {priorityClassSource: KubePriorityClass, priorityClassName: high}
dependentOverrides: [one]
inventedLater: 1
failover:
  application: {purgeMode: Directly}
  cluster: {purgeMode: Directly, statePreservation: {rules: []}}
placement:
  workloadAffinity: {affinity: {groupByLabelKey: app}}
  clusterTolerations:
  - {key: cluster.karmada.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 120}
  - {key: spot, operator: Exists}
  spreadConstraints: [{spreadByLabel: rack, minGroups: 2}]",
    );
    let mut lost: Vec<&str> = converted
        .notes
        .iter()
        .filter(|it| it.change != Change::Same)
        .map(|it| it.path.trim_start_matches("spec."))
        .collect();
    lost.sort_unstable();
    assert_eq!(
        lost,
        [
            "activationPreference",
            "dependentOverrides",
            "failover.application",
            "failover.cluster.purgeMode",
            "failover.cluster.statePreservation",
            "inventedLater",
            "placement.spreadConstraints[0]",
            "placement.workloadAffinity.affinity",
            "schedulePriority",
            "schedulerName",
            "suspension.dispatchingOnClusters",
        ]
    );
    let spec = &converted.objects[0]["spec"];
    assert_eq!(spec["failover"], json!({"after": "120s", "purge": "Graceful"}));
    assert_eq!(spec["sync"], json!({"conflict": "Adopt", "onDelete": "Orphan"}));
    assert_eq!(spec["tolerations"], json!([{"key": "spot", "operator": "Exists"}]));
    assert!(converted.notes.iter().all(|it| it.object == "PropagationPolicy shop/web"));
}

#[test]
fn a_priority_is_kept_and_named() {
    let said = |fields: &str| {
        let converted = policy(fields);
        let notes: Vec<(String, Change)> = notes(&converted)
            .into_iter()
            .map(|(path, change)| (path.to_owned(), change))
            .filter(|(path, _)| path == "spec.priority")
            .collect();
        (spec(&converted).priority, notes)
    };
    let named = |change| vec![("spec.priority".to_owned(), change)];
    assert_eq!(said("priority: 3"), (3, named(Change::Changed)), "it claims what others placed");
    assert_eq!(said("priority: 3\npreemption: Always"), (3, named(Change::Same)));
    assert_eq!(said("priority: 5000000000"), (0, named(Change::Dropped)));
    assert_eq!(said("priority: 0"), (0, Vec::new()));
}

#[test]
fn a_cluster_policy_over_several_namespaces_becomes_one_for_each() {
    let converted = read(
        "apiVersion: policy.karmada.io/v1alpha1
kind: ClusterPropagationPolicy
metadata: {name: all, annotations: {team: web, policy.karmada.io/x: y}}
spec:
  priority: 5
  resourceSelectors:
  - {apiVersion: apps/v1, kind: Deployment, namespace: a}
  - {apiVersion: v1, kind: Namespace, name: a}
  placement: {replicaScheduling: {replicaSchedulingType: Duplicated}}",
    );
    let names: Vec<&Value> = converted.objects.iter().map(|it| &it["metadata"]["name"]).collect();
    assert_eq!(names, ["all-all", "all-a"]);
    assert_eq!(converted.objects[0]["metadata"]["annotations"], json!({"team": "web"}));
    let specs: Vec<ClusterPlacementPolicySpec> = converted
        .objects
        .iter()
        .map(|it| serde_json::from_value(it["spec"].clone()).unwrap())
        .collect();
    assert!(specs[0].namespaces.is_empty());
    assert_eq!(specs[1].namespaces, ["a"]);
    assert!(notes(&converted).contains(&("spec.priority", Change::Changed)));
}

#[test]
fn zones_are_asked_and_a_wider_answer_is_named() {
    let converted = policy(
        "placement:
  clusterAffinity:
    fieldSelector:
      matchExpressions:
      - {key: zone, operator: In, values: [z1, z2]}
      - {key: zone, operator: NotIn, values: [z8, z9]}
      - {key: provider, operator: In, values: [gke]}
      - {key: provider, operator: NotIn, values: [eks]}",
    );
    let path = "spec.placement.clusterAffinity.fieldSelector.matchExpressions[0].values";
    assert_eq!(notes(&converted), [(path, Change::Changed)]);
    let spec = spec(&converted);
    assert_eq!(spec.affinities[0].clusters.providers, ["gke"]);
    let mut inputs = Vec::new();
    for (name, zones) in [
        ("both", vec!["z1", "z2"]),
        ("one", vec!["z1"]),
        ("wide", vec!["z1", "z7"]),
        ("far", vec!["z1", "z9"]),
        ("none", vec![]),
    ] {
        inputs.push(ClusterInput {
            name: name.to_owned(),
            spec: federation_types::cluster::MemberClusterSpec {
                provider: "gke".into(),
                zones: zones.into_iter().map(str::to_owned).collect(),
                accepted: true,
                ..Default::default()
            },
            apis: vec!["apps/v1/Deployment".to_owned()],
            ready: true,
            ..ClusterInput::default()
        });
    }
    let fleet = Fleet::build(inputs, &[], &PriceIndex::default(), "2026-11-21");
    assert_eq!(placed(&fleet, &spec, 1), "both:1 one:1 wide:1");
}

#[test]
fn overrides_are_read() {
    let converted = read(
        "apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata: {name: web, namespace: shop}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, labelSelector: {matchLabels: {app: web}}}]
  overrideRules:
  - targetCluster: {clusterNames: [m1]}
    overriders:
      imageOverrider:
      - {component: Registry, operator: replace, value: registry.example}
      - {component: Tag, operator: add, value: -slim}
      - {component: Tag, operator: replace, value: v2, predicate: {path: /spec/containers/0/image}}
      commandOverrider: [{containerName: web, operator: add, value: [--verbose]}]
      labelsOverrider: [{operator: replace, value: {cloud: gke}}, {operator: remove, value: {old: x}}]
      plaintext: [{path: /spec/minReadySeconds, operator: add, value: 5}]
      fieldOverrider: [{fieldPath: /data/x, yaml: []}]",
    );
    let at = "spec.overrideRules[0].overriders";
    assert_eq!(
        converted
            .notes
            .iter()
            .map(|it| (it.path.trim_start_matches(at), it.change))
            .collect::<Vec<_>>(),
        [
            (".imageOverrider[1].operator", Change::Dropped),
            (".imageOverrider[2].predicate", Change::Dropped),
            (".labelsOverrider[0].operator", Change::Changed),
            (".fieldOverrider", Change::Dropped),
        ]
    );
    assert_eq!(
        converted.objects[0]["spec"],
        json!({
            "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "labelSelector": {"matchLabels": {"app": "web"}}}],
            "priority": 2,
            "rules": [{
                "clusters": {"names": ["m1"]},
                "image": [{"registry": "registry.example"}],
                "command": [{"container": "web", "add": ["--verbose"]}],
                "labels": {"set": {"cloud": "gke"}, "remove": ["old"]},
                "jsonPatch": [{"op": "add", "path": "/spec/minReadySeconds", "value": 5}],
            }],
        })
    );
}

#[test]
fn what_is_not_karmadas_is_none_of_ours() {
    assert_eq!(convert(&json!({"apiVersion": "apps/v1", "kind": "Deployment"})), None);
    let other = read(
        "{apiVersion: policy.karmada.io/v1alpha1, kind: ClusterTaintPolicy, metadata: {name: x}}",
    );
    assert!(other.objects.is_empty() && other.has_losses());
}

#[test]
fn what_the_hub_would_refuse_is_named_and_left_out_where_that_is_possible() {
    let converted = read(
        "apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata: {name: web, namespace: shop}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]
  overrideRules:
  - overriders:
      plaintext:
      - {path: /spec/replicas, operator: replace, value: 5}
      - {path: /metadata/name, operator: replace, value: other}
      - {path: spec/paused, operator: add, value: true}
      - {path: /spec/paused, operator: add}
      - {path: /spec/minReadySeconds, operator: add, value: 5}",
    );
    let at = "spec.overrideRules[0].overriders.plaintext";
    let expected: Vec<(String, Change)> = ["[0].path", "[1].path", "[2].path", "[3].value"]
        .map(|it| (format!("{at}{it}"), Change::Dropped))
        .into();
    let found: Vec<(String, Change)> =
        converted.notes.iter().map(|it| (it.path.clone(), it.change)).collect();
    assert_eq!(found, expected);
    let why =
        "the hub refuses it: Forbidden: the placement says how many replicas each cluster runs";
    assert_eq!(converted.notes[0].why, why);
    let rules = &converted.objects[0]["spec"]["rules"];
    assert_eq!(
        *rules,
        json!([{"jsonPatch": [{"op": "add", "path": "/spec/minReadySeconds", "value": 5}]}])
    );
}

#[test]
fn what_stays_and_is_refused_is_named_by_the_field_that_is_written() {
    let converted = policy(
        "placement:
  clusterAffinity:
    fieldSelector: {matchExpressions: [{key: provider, operator: In, values: [aws]}]}",
    );
    assert_eq!(
        notes(&converted),
        [
            (
                "spec.placement.clusterAffinity.fieldSelector.matchExpressions[0].values",
                Change::Changed
            ),
            ("spec.affinities[0].clusters.providers[0]", Change::Changed),
        ]
    );
    assert!(converted.notes[1].why.contains("must be eks, gke, aks or onprem"));
}

#[test]
fn a_note_is_at_the_field_that_was_written_and_says_its_value() {
    let converted = policy("association: true");
    assert_eq!(notes(&converted), [("spec.association", Change::Changed)]);
    let converted = policy(
        "placement: {replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Weird}}",
    );
    assert!(converted.notes[0].why.starts_with("`Weird` is neither"), "{:?}", converted.notes);
}
