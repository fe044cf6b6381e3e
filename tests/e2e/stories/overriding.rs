//! Every part of an override rule, in real members (RULES 1.6, 2.1).

use serde_json::{Value, json};

use crate::fleet::{Fleet, copy, copy_is, deployment, policy, seen};

const OVERRIDES: &str = r#"
apiVersion: archipel.dev/v1alpha1
kind: ClusterOverridePolicy
metadata: {name: e2e-fleet}
spec:
  selectors:
  - {apiVersion: apps/v1, kind: Deployment, labelSelector: {matchLabels: {app: parts}}}
  - {apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, name: e2e-urgent}
  rules:
  - clusters: {names: [gke-1]}
    annotations: {set: {from: cluster, both: cluster}}
---
apiVersion: archipel.dev/v1alpha1
kind: OverridePolicy
metadata: {name: parts, namespace: parts}
spec:
  selectors: [{apiVersion: apps/v1, kind: Deployment, name: parts}]
  rules:
  - clusters: {names: [gke-1]}
    command: [{container: web, remove: [--old], add: [--new]}]
    args: [{container: web, remove: [a], add: [c]}]
    env: [{container: "", set: [{name: KEPT, value: new}], remove: [GONE]}]
    labels: {set: {cloud: gke}, remove: [spare]}
    annotations: {set: {both: namespaced}, remove: [note]}
  - clusters: {names: [gke-1]}
    jsonPatch:
    - {op: test, path: /spec/minReadySeconds, value: 7}
    - {op: replace, path: /spec/minReadySeconds, value: 2}
    - {op: remove, path: /spec/progressDeadlineSeconds}
    - {op: copy, from: /metadata/labels/app, path: /metadata/labels/copied}
    - {op: move, from: /metadata/labels/early, path: /metadata/labels/late}
    - {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: ADDED, value: last}}
"#;

/// A Deployment with something to take away in each of its parts.
fn template() -> String {
    deployment("parts", "parts", 1)
        .replace(
            "labels: {app: parts, tier: web}",
            "labels: {app: parts, spare: part, early: bird}, annotations: {note: here, kept: here}",
        )
        .replace(
            "  replicas: 1",
            "  replicas: 1\n  minReadySeconds: 7\n  progressDeadlineSeconds: 900",
        )
        .replace(
            "      - name: web",
            "      - name: web\n        command: [/bin/web, --old]\n        args: [a, b]\n        env: [{name: GONE, value: x}, {name: KEPT, value: old}]",
        )
}

pub(super) async fn every_part_of_an_override(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("parts").await;
    kubectl.apply(OVERRIDES).await;
    kubectl.apply(&policy("parts", "parts", "  replicas: {mode: Duplicated}")).await;
    kubectl.apply(&template()).await;
    fleet.placed("parts", "deployment-parts", "eks-1=1 gke-1=1 prem-1=1").await;
    let parts = ["deploy", "parts", "-n", "parts"];
    let changed = fleet.arrives("gke-1", &parts).await;
    let container = &changed["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["command"], json!(["/bin/web", "--new"]));
    assert_eq!(container["args"], json!(["b", "c"]));
    assert_eq!(
        container["env"],
        json!([{"name": "KEPT", "value": "new"}, {"name": "ADDED", "value": "last"}])
    );
    assert_eq!(changed["spec"]["minReadySeconds"], 2);
    assert_eq!(changed["spec"]["progressDeadlineSeconds"], 600, "the member's own default");
    let metadata = &changed["metadata"];
    let word = |map: &str, name: &str| metadata[map][name].as_str().map(str::to_owned);
    let has = |map, name, value: &str| {
        assert_eq!(word(map, name).as_deref(), Some(value), "{map} {name}: {metadata}");
    };
    has("labels", "cloud", "gke");
    has("labels", "copied", "parts");
    has("labels", "late", "bird");
    has("annotations", "from", "cluster");
    has("annotations", "both", "namespaced");
    has("annotations", "kept", "here");
    for (map, name) in [("labels", "spare"), ("labels", "early"), ("annotations", "note")] {
        assert_eq!(word(map, name), None, "{map} {name}: {metadata}");
    }
    let eks = fleet.arrives("eks-1", &parts).await;
    assert_eq!(eks["spec"]["minReadySeconds"], 7, "the others have what the user wrote");
    assert_eq!(eks["metadata"]["labels"]["spare"], "part");
    assert_eq!(eks["metadata"]["annotations"]["from"], Value::Null);

    a_test_that_fails(fleet).await;
    cluster_scoped(fleet).await;
    kubectl.ok(["delete", "clusteroverridepolicy", "e2e-fleet"]).await;
    fleet.end("parts").await;
}

/// A failing `test` stops that cluster's copy, leaves what runs there, and is said where one looks.
async fn a_test_that_fails(fleet: &Fleet) {
    let kubectl = fleet.kubectl();
    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: OverridePolicy
metadata: {name: tested, namespace: parts}
spec:
  priority: 9
  selectors: [{apiVersion: apps/v1, kind: Deployment, name: parts}]
  rules:
  - clusters: {names: [eks-1]}
    jsonPatch:
    - {op: test, path: /spec/minReadySeconds, value: 8}
    - {op: replace, path: /spec/minReadySeconds, value: 1}
"#,
        )
        .await;
    let args = ["placement", "deployment-parts", "-n", "parts"];
    let failing = fleet
        .shows("the test that fails", &args, |it| {
            copy_is(it, "gke-1", "Ready")?;
            copy_is(it, "prem-1", "Ready")?;
            let reason = copy(it, "eks-1").map(|it| it["reason"].clone());
            seen(reason == Some(json!("RenderFailed")), &it["status"])
        })
        .await;
    let message = copy(&failing, "eks-1").unwrap()["message"].as_str().unwrap_or_default();
    assert!(message.contains("tested") && message.contains("/spec/minReadySeconds"), "{message}");
    let conditions = failing["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let synced = conditions.iter().find(|it| it["type"] == "Synced").cloned().unwrap_or_default();
    assert_eq!(synced["status"], "False", "{conditions:?}");
    assert!(synced["message"].as_str().unwrap_or_default().contains("eks-1"), "{synced}");
    let args = ["overridepolicy", "tested", "-n", "parts"];
    fleet
        .shows("the rule that fails, with its cluster", &args, |it| {
            seen(it["status"]["failing"][0]["clusters"] == json!(["eks-1"]), &it["status"])
        })
        .await;
    let standing = fleet.arrives("eks-1", &["deploy", "parts", "-n", "parts"]).await;
    assert_eq!(standing["spec"]["minReadySeconds"], 7, "what ran stays as it was");
    kubectl.ok(["delete", "overridepolicy", "tested", "-n", "parts"]).await;
    fleet.placed("parts", "deployment-parts", "eks-1=1 gke-1=1 prem-1=1").await;
}

/// Cluster policies reach templates without a namespace.
async fn cluster_scoped(fleet: &Fleet) {
    let kubectl = fleet.kubectl();
    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: ClusterPlacementPolicy
metadata: {name: e2e-urgent}
spec:
  selectors: [{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, name: e2e-urgent}]
  affinities: [{clusters: {names: [eks-1, gke-1]}}]
---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: e2e-urgent}, value: 7}
"#,
        )
        .await;
    let urgent = ["priorityclass", "e2e-urgent"];
    let from = |it: &Value| it["metadata"]["annotations"]["from"].clone();
    assert_eq!(from(&fleet.arrives("gke-1", &urgent).await), "cluster");
    assert_eq!(from(&fleet.arrives("eks-1", &urgent).await), Value::Null);
    kubectl.ok(["delete", "priorityclass", "e2e-urgent", "--timeout=60s"]).await;
    fleet.leaves("gke-1", &urgent).await;
    kubectl.ok(["delete", "clusterplacementpolicy", "e2e-urgent"]).await;
}
