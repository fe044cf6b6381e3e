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

const ENGINES: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: engines.motors.example}
spec:
  group: motors.example
  scope: Namespaced
  names: {kind: Engine, listKind: EngineList, plural: engines, singular: engine}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              pool: {type: object, properties: {size: {type: integer}, cores: {type: integer}}}
          status:
            type: object
            properties:
              phase: {type: string}
              up: {type: integer}
              observedGeneration: {type: integer}
              conditions:
                type: array
                items:
                  type: object
                  properties:
                    type: {type: string}
                    status: {type: string}
                    reason: {type: string}
                    message: {type: string}
                    lastTransitionTime: {type: string, format: date-time}
"#;

/// The rule of engines, with what makes a copy degraded.
fn engine_rule(degraded: &str, requests: &str) -> Value {
    json!({
        "apiVersion": "archipel.dev/v1alpha1", "kind": "StatusRule", "metadata": {"name": "engines"},
        "spec": {
            "target": {"apiVersion": "motors.example/v1", "kind": "Engine"},
            "replicas": {"path": ".spec.pool.size", "requests": requests},
            "health": {"ready": "object.status.phase == 'Up'", "degraded": degraded,
                       "reason": "object.status.phase"},
            "status": {
                "replicas": "object.spec.pool.size", "readyReplicas": "object.status.up",
                "keep": [{"path": ".status.up", "unreachable": "Zero"}, {"path": ".status.phase"},
                         {"path": ".status.conditions"}],
            },
        },
    })
}

pub(super) async fn a_custom_kind_is_read_by_its_rule(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("motors").await;
    kubectl.apply(ENGINES).await;
    for member in ["eks-1", "gke-1"] {
        fleet.on(member).apply(ENGINES).await;
    }
    kubectl
        .ok(["wait", "--for=condition=Established", "crd/engines.motors.example", "--timeout=60s"])
        .await;
    // The hub asks its members now and then for what they serve.
    for member in ["eks-1", "gke-1"] {
        let serves = |it: &Value| {
            let apis = it["status"]["apis"].as_array();
            apis.is_some_and(|all| all.contains(&json!("motors.example/v1/Engine")))
        };
        fleet
            .shows("the new kind", &["membercluster", member], |it| {
                seen(serves(it), &it["status"]["version"])
            })
            .await;
    }
    let requests = "{'cpu': object.spec.pool.cores}";
    let bad = engine_rule("object.status.phase ==", requests).to_string();
    let refused = kubectl.run_with(&bad, ["apply", "-f", "-"]).await;
    assert!(!refused.success() && refused.stderr.contains("spec.health.degraded"), "{refused:?}");
    kubectl.apply(&engine_rule("object.status.phase == 'Broken'", requests).to_string()).await;
    kubectl
        .apply("{apiVersion: archipel.dev/v1alpha1, kind: PlacementPolicy, metadata: {name: engines, namespace: motors}, spec: {selectors: [{apiVersion: motors.example/v1, kind: Engine}], replicas: {mode: Divided, division: Weighted}}}")
        .await;
    kubectl.apply("{apiVersion: motors.example/v1, kind: Engine, metadata: {name: v8, namespace: motors}, spec: {pool: {size: 5, cores: 1}}}").await;
    let args = ["placement", "engine.motors.example-v8", "-n", "motors"];
    let placement = fleet
        .shows("five in all", &args, |it| {
            seen(replicas(it).values().sum::<u64>() == 5, &it["spec"])
        })
        .await;
    let revision = placement["spec"]["clusters"][0]["revision"].clone();
    let engine = ["engine", "v8", "-n", "motors"];
    let sizes = async |expected: u64| {
        let mut all = 0;
        for member in ["eks-1", "gke-1"] {
            let copy = fleet.arrives(member, &engine).await;
            all += copy["spec"]["pool"]["size"].as_u64().unwrap_or_default();
        }
        seen(all == expected, &json!(all))
    };
    wait::until("a share in each member", SOON, async || sizes(5).await).await;

    // Their operator in the members makes them ready; the hub has one status of both.
    let says = async |phase: &str, up: u64| {
        for member in ["eks-1", "gke-1"] {
            let conditions = json!([{"type": "Ready", "status": "True", "reason": "Runs", "message": "",
                                     "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
            let status = json!({"status": {"phase": phase, "up": up, "conditions": conditions}});
            let patch = status.to_string();
            let args = [
                "patch",
                "engine",
                "v8",
                "-n",
                "motors",
                "--subresource=status",
                "--type=merge",
                "-p",
                &patch,
            ];
            fleet.on(member).ok(args).await;
        }
    };
    let starting = fleet
        .shows("not ready yet", &args, |it| {
            seen(it["status"]["summary"]["ready"] == 0, &it["status"])
        })
        .await;
    assert_eq!(starting["status"]["clusters"][0]["state"], "Progressing", "{starting}");
    says("Up", 3).await;
    fleet
        .shows("both ready", &args, |it| {
            seen(
                it["status"]["summary"]["ready"] == 2
                    && it["status"]["summary"]["readyReplicas"] == 6,
                &it["status"],
            )
        })
        .await;
    let told = fleet
        .shows("the status of both", &engine, |it| {
            seen(it["status"]["up"] == 6 && it["status"]["phase"] == "Up", &it["status"])
        })
        .await;
    assert_eq!(told["status"]["conditions"][0]["type"], "Ready", "{told}");
    kubectl
        .ok(["wait", "--for=condition=Ready", "engine/v8", "-n", "motors", "--timeout=10s"])
        .await;
    kubectl.ok(["wait", "--for=condition=Ready", "statusrule/engines", "--timeout=10s"]).await;

    // Scaling is no new revision.
    let larger = r#"{"spec": {"pool": {"size": 8}}}"#;
    kubectl.ok(["patch", "engine", "v8", "-n", "motors", "--type=merge", "-p", larger]).await;
    let scaled = fleet
        .shows("eight in all", &args, |it| {
            seen(replicas(it).values().sum::<u64>() == 8, &it["spec"])
        })
        .await;
    assert_eq!(scaled["spec"]["clusters"][0]["revision"], revision);
    wait::until("the new shares", SOON, async || sizes(8).await).await;

    // Another rule sees the same copies in another way.
    kubectl.apply(&engine_rule("object.status.up < 4", requests).to_string()).await;
    fleet
        .shows("degraded", &args, |it| {
            seen(it["status"]["clusters"][0]["state"] == "Degraded", &it["status"])
        })
        .await;
    // One that cannot be followed changes nothing that runs, and says so.
    kubectl
        .apply(&engine_rule("object.status.up < 1", "{'cpu': object.spec.none}").to_string())
        .await;
    let held =
        fleet.shows("the rule that fails", &args, |it| placed_is(it, "False", "Unreadable")).await;
    assert_eq!(replicas(&held).values().sum::<u64>(), 8, "{}", held["spec"]);
    let rule = fleet
        .shows("the rule that says so", &["statusrule", "engines"], |it| {
            seen(it["status"]["unreadable"] == 1, &it["status"])
        })
        .await;
    assert_eq!(rule["status"]["conditions"][0]["reason"], "Unreadable", "{rule}");
    // Nor does an edit of what cannot be read reach a member.
    let larger = r#"{"spec": {"pool": {"size": 20}}}"#;
    kubectl.ok(["patch", "engine", "v8", "-n", "motors", "--type=merge", "-p", larger]).await;
    kubectl.ok(["annotate", "statusrule", "engines", "seen=1"]).await;
    fleet.shows("the edit held", &args, |it| placed_is(it, "False", "Unreadable")).await;
    assert_eq!(sizes(8).await, Ok(()), "what runs stays as it is");
    let back = r#"{"spec": {"pool": {"size": 8}}}"#;
    kubectl.ok(["patch", "engine", "v8", "-n", "motors", "--type=merge", "-p", back]).await;

    kubectl.apply(&engine_rule("object.status.up < 1", requests).to_string()).await;
    fleet.shows("placed again", &args, |it| placed_is(it, "True", "Placed")).await;
    let warned = kubectl.run(["delete", "statusrule", "engines"]).await;
    assert!(warned.stderr.contains("1 template is read by it"), "{warned:?}");
    fleet
        .shows("nothing kept any more", &engine, |it| {
            seen(it["status"]["up"].is_null(), &it["status"])
        })
        .await;
    fleet.end("motors").await;
    kubectl
        .ok(["annotate", "crd", "engines.motors.example", "archipel.dev/allow-delete=true"])
        .await;
    kubectl.ok(["delete", "crd", "engines.motors.example"]).await;
    for member in ["eks-1", "gke-1"] {
        fleet.on(member).ok(["delete", "crd", "engines.motors.example"]).await;
    }
}
