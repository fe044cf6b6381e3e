//! What differs by kind when a policy says nothing about it (RULES 3.4).

use federation_tests::wait;
use serde_json::{Value, json};

use crate::fleet::{Fleet, SOON, clusters, copy_is, get, placed_is, replicas, seen};

const PODS: &str = "{metadata: {labels: {app: it}}, spec: {restartPolicy: Always, containers: [{name: a, image: registry.example/a:1}]}}";

/// A policy on every object of one kind.
fn of_kind(api_version: &str, kind: &str, rest: &str) -> String {
    let name = kind.to_lowercase();
    format!(
        "apiVersion: archipel.dev/v1alpha1\nkind: PlacementPolicy\nmetadata: {{name: {name}, namespace: kinds}}\nspec:\n  \
         selectors: [{{apiVersion: {api_version}, kind: {kind}}}]\n{rest}\n---\n"
    )
}

pub(super) async fn each_kind_has_its_own_default(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("kinds").await;
    for (api_version, kind) in [
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("batch/v1", "CronJob"),
        ("batch/v1", "Job"),
        ("v1", "Pod"),
        ("v1", "PersistentVolumeClaim"),
    ] {
        kubectl.apply(&of_kind(api_version, kind, "")).await;
    }
    let job_pods = PODS.replace("Always", "Never");
    kubectl
        .apply(&format!(
            r#"
{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: db, namespace: kinds}}, spec: {{replicas: 2, serviceName: db, selector: {{matchLabels: {{app: it}}}}, template: {PODS}}}}}
---
{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: agent, namespace: kinds}}, spec: {{selector: {{matchLabels: {{app: it}}}}, template: {PODS}}}}}
---
{{apiVersion: batch/v1, kind: CronJob, metadata: {{name: nightly, namespace: kinds}}, spec: {{schedule: "0 3 * * *", jobTemplate: {{spec: {{template: {job_pods}}}}}}}}}
---
{{apiVersion: batch/v1, kind: Job, metadata: {{name: once, namespace: kinds}}, spec: {{template: {job_pods}}}}}
---
{{apiVersion: v1, kind: Pod, metadata: {{name: lone, namespace: kinds}}, spec: {{containers: [{{name: a, image: "registry.example/a:1"}}]}}}}
"#
        ))
        .await;
    fleet.placed("kinds", "daemonset-agent", "eks-1 gke-1 prem-1").await;
    let mut homes = Vec::new();
    for name in ["statefulset-db", "cronjob-nightly", "job-once", "pod-lone"] {
        let args = ["placement", name, "-n", "kinds"];
        let placement = fleet
            .shows(&format!("{name} on one cluster"), &args, |it| {
                seen(it["status"]["summary"]["ready"] == 1, &json!([it["spec"], it["status"]]))
            })
            .await;
        assert!(!clusters(&placement).contains(' '), "{name}: {}", placement["spec"]);
        homes.push(clusters(&placement));
    }
    let home = homes[0].clone();
    let db = fleet.get(&["placement", "statefulset-db", "-n", "kinds"]).await.unwrap();
    assert_eq!(replicas(&db).values().sum::<u64>(), 2, "whole: {}", db["spec"]);

    // A StatefulSet moves only by a plan that somebody approves.
    fleet.patch_member(&home, &json!({"taints": [{"key": "broken", "effect": "NoExecute"}]})).await;
    let args = ["placement", "statefulset-db", "-n", "kinds"];
    let held = fleet
        .shows("the move that waits", &args, |it| placed_is(it, "False", "NeedsApproval"))
        .await;
    assert_eq!(clusters(&held), home, "{}", held["spec"]);
    fleet.arrives(&home, &["statefulset", "db", "-n", "kinds"]).await;
    fleet.patch_member(&home, &json!({"taints": []})).await;
    fleet.shows("no move any more", &args, |it| placed_is(it, "True", "Placed")).await;

    a_job_that_is_done(fleet, &homes[2]).await;

    // Deleted on the hub, a volume stays where it is, without our marks.
    kubectl
        .apply("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: kinds}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}")
        .await;
    fleet.placed("kinds", "persistentvolumeclaim-data", "eks-1 gke-1 prem-1").await;
    kubectl.ok(["delete", "pvc", "data", "-n", "kinds", "--timeout=60s"]).await;
    for member in ["eks-1", "gke-1", "prem-1"] {
        let claim = get(&fleet.on(member), &["pvc", "data", "-n", "kinds"]).await;
        let claim = claim.unwrap_or_else(|| panic!("{member} has lost it"));
        let metadata = &claim["metadata"];
        assert_eq!(metadata["deletionTimestamp"], Value::Null, "{member}");
        assert_eq!(metadata["labels"]["archipel.dev/managed"], Value::Null, "{member}: {metadata}");
    }
    fleet.end("kinds").await;
    for member in ["eks-1", "gke-1", "prem-1"] {
        fleet.on(member).ok(["delete", "pvc", "data", "-n", "kinds", "--wait=false"]).await;
    }
}

/// A started Job is never moved; one that is gone after it was seen finished is done, and keeps its last status.
async fn a_job_that_is_done(fleet: &Fleet, home: &str) {
    let kubectl = fleet.kubectl();
    kubectl
        .ok(["wait", "--for=condition=Complete", "job/once", "-n", "kinds", "--timeout=60s"])
        .await;
    let elsewhere = if home == "eks-1" { "gke-1" } else { "eks-1" };
    let away = format!("  affinities: [{{clusters: {{names: [{elsewhere}]}}}}]");
    kubectl.apply(&of_kind("batch/v1", "Job", &away)).await;
    let args = ["placement", "job-once", "-n", "kinds"];
    fleet
        .shows("the policy seen", &["placementpolicy", "job", "-n", "kinds"], |it| {
            seen(it["status"]["observedGeneration"] == it["metadata"]["generation"], &it["status"])
        })
        .await;
    fleet.on(home).ok(["delete", "job", "once", "-n", "kinds"]).await;
    // Another object of the same member is written meanwhile: there was time to make the Job again.
    kubectl.ok(["label", "statefulset", "db", "-n", "kinds", "pass=second"]).await;
    let db = ["statefulset", "db", "-n", "kinds"];
    wait::until("a later write", SOON, async || {
        let there = futures::future::join_all(
            fleet.members.iter().map(|it| async { get(&fleet.on(it.name()), &db).await }),
        )
        .await;
        let labelled =
            there.iter().flatten().any(|it| it["metadata"]["labels"]["pass"] == "second");
        if labelled { Ok(()) } else { Err("not written") }
    })
    .await;
    let placement = fleet.shows("still done", &args, |it| copy_is(it, home, "Ready")).await;
    assert_eq!(clusters(&placement), home, "{}", placement["spec"]);
    for member in &fleet.members {
        let made = get(&fleet.on(member.name()), &["job", "once", "-n", "kinds"]).await;
        assert!(made.is_none(), "made again in {}", member.name());
    }
    let job = fleet.get(&["job", "once", "-n", "kinds"]).await.unwrap();
    assert_eq!(job["status"]["succeeded"], 1, "the last status is kept: {}", job["status"]);
}
