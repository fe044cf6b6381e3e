//! What happens between a Placement and the objects in a member (RULES 4).

use std::time::Duration;

use federation_tests::wait;
use serde_json::{Value, json};

use crate::fleet::{Fleet, SOON, copy, copy_is, deployment, get, list, policy, seen};

/// A policy on ConfigMaps of one name.
fn settings_policy(namespace: &str, name: &str, rest: &str) -> String {
    policy(namespace, name, rest)
        .replace("apiVersion: apps/v1, kind: Deployment", "apiVersion: v1, kind: ConfigMap")
}

fn settings(namespace: &str, name: &str, value: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: {namespace}}}, data: {{key: {value}}}}}\n---\n"
    )
}

pub(super) async fn overrides_reach_their_clusters_only(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("override").await;
    kubectl.apply(&policy("override", "web", "  replicas: {mode: Duplicated}")).await;
    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: OverridePolicy
metadata: {name: second, namespace: override}
spec:
  priority: 5
  selectors: [{apiVersion: apps/v1, kind: Deployment, labelSelector: {matchLabels: {tier: web}}}]
  rules:
  - clusters: {names: [gke-1]}
    image: [{container: web, registry: mirror.example:5000, repository: team/web, tag: "2.5"}]
    command: [{container: web, set: [/bin/web]}]
    args: [{container: "", add: [--verbose]}]
    env: [{container: "", set: [{name: CLOUD, value: gke}]}]
    labels: {set: {cloud: gke}, remove: [spare]}
    annotations: {set: {note: "from the second"}}
    jsonPatch:
    - {op: replace, path: /spec/template/spec/containers/0/resources/requests/cpu, value: 300m}
---
apiVersion: archipel.dev/v1alpha1
kind: OverridePolicy
metadata: {name: first, namespace: override}
spec:
  priority: 1
  selectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
  rules:
  - clusters: {providers: [gke, eks]}
    annotations: {set: {note: "from the first"}}
"#,
        )
        .await;
    kubectl.apply(&deployment("override", "web", 1)).await;
    kubectl.ok(["label", "deploy/web", "-n", "override", "spare=part"]).await;
    fleet.placed("override", "deployment-web", "eks-1 gke-1 prem-1").await;
    let web = ["deploy", "web", "-n", "override"];
    let changed = fleet
        .member_shows("gke-1", "the overrides", &web, |it| {
            seen(
                it["metadata"]["labels"]["spare"].is_null()
                    && it["metadata"]["labels"]["cloud"] == "gke",
                &it["metadata"],
            )
        })
        .await;
    let container = &changed["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "mirror.example:5000/team/web:2.5");
    assert_eq!(container["command"], json!(["/bin/web"]));
    assert_eq!(container["args"], json!(["--verbose"]));
    assert_eq!(container["env"], json!([{"name": "CLOUD", "value": "gke"}]));
    assert_eq!(container["resources"]["requests"]["cpu"], "300m");
    assert_eq!(
        changed["metadata"]["annotations"]["note"], "from the second",
        "the higher priority has the last word"
    );
    assert_eq!(
        changed["spec"]["template"]["metadata"]["labels"],
        json!({"app": "web"}),
        "pod templates carry no mark of ours"
    );
    let eks = fleet
        .member_shows("eks-1", "the label", &web, |it| {
            seen(it["metadata"]["labels"]["spare"] == "part", &it["metadata"])
        })
        .await;
    assert_eq!(eks["metadata"]["annotations"]["note"], "from the first");
    assert_eq!(
        eks["spec"]["template"]["spec"]["containers"][0]["image"],
        "registry.example/web:1.0"
    );
    let prem = fleet.arrives("prem-1", &web).await;
    assert_eq!(prem["metadata"]["annotations"]["note"], Value::Null);
    // A patch that fits one cluster's manifest and not the object stops that cluster's copy, and says where.
    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: OverridePolicy
metadata: {name: third, namespace: override}
spec:
  priority: 9
  selectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
  rules:
  - clusters: {names: [prem-1]}
    jsonPatch: [{op: replace, path: /spec/nothing/there, value: 1}]
"#,
        )
        .await;
    let args = ["placement", "deployment-web", "-n", "override"];
    let failing = fleet
        .shows("the patch that does not fit", &args, |it| {
            // The others go on.
            copy_is(it, "gke-1", "Ready")?;
            copy_is(it, "eks-1", "Ready")?;
            let copy = copy(it, "prem-1").cloned().unwrap_or_default();
            seen(copy["reason"] == "RenderFailed", &it["status"])
        })
        .await;
    let message = copy(&failing, "prem-1").unwrap()["message"].as_str().unwrap_or_default();
    assert!(message.contains("third") && message.contains("/spec/nothing/there"), "{message}");
    fleet.end("override").await;
}

pub(super) async fn drift_is_put_right(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("drift").await;
    kubectl.apply(&policy("drift", "web", "  affinities: [{clusters: {names: [eks-1]}}]")).await;
    kubectl
        .apply(&settings_policy(
            "drift",
            "kept",
            "  affinities: [{clusters: {names: [eks-1]}}]\n  sync: {drift: Report}",
        ))
        .await;
    kubectl.apply(&deployment("drift", "web", 2)).await;
    kubectl.apply(&settings("drift", "kept", "hub")).await;
    fleet.placed("drift", "deployment-web", "eks-1=2").await;
    fleet.placed("drift", "configmap-kept", "eks-1").await;
    let on = fleet.on("eks-1");
    let web = ["deploy", "web", "-n", "drift"];
    on.ok(["scale", "deploy/web", "-n", "drift", "--replicas=5"]).await;
    fleet
        .member_shows("eks-1", "our replicas", &web, |it| {
            seen(it["spec"]["replicas"] == 2, &it["spec"]["replicas"])
        })
        .await;
    let wrong = r#"{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"evil.example/web:9"}]}}}}"#;
    on.ok(["patch", "deploy/web", "-n", "drift", "-p", wrong]).await;
    fleet
        .member_shows("eks-1", "our image", &web, |it| {
            let image = &it["spec"]["template"]["spec"]["containers"][0]["image"];
            seen(image == "registry.example/web:1.0", image)
        })
        .await;
    // Fields that are not ours are left alone.
    on.ok(["annotate", "deploy/web", "-n", "drift", "team.example/owner=blue"]).await;
    on.ok(["delete", "deploy/web", "-n", "drift"]).await;
    let again = fleet.arrives("eks-1", &web).await;
    assert_eq!(again["spec"]["replicas"], 2, "what is deleted there is made again");
    on.ok(["annotate", "deploy/web", "-n", "drift", "team.example/owner=blue"]).await;
    on.ok(["label", "deploy/web", "-n", "drift", "tier=broken", "--overwrite"]).await;
    let corrected = fleet
        .member_shows("eks-1", "our label", &web, |it| {
            seen(it["metadata"]["labels"]["tier"] == "web", &it["metadata"]["labels"])
        })
        .await;
    assert_eq!(corrected["metadata"]["annotations"]["team.example/owner"], "blue");
    // `drift: Report` reports, and leaves it.
    on.ok([
        "patch",
        "cm/kept",
        "-n",
        "drift",
        "--type=merge",
        "-p",
        r#"{"data":{"key":"member"}}"#,
    ])
    .await;
    let args = ["placement", "configmap-kept", "-n", "drift"];
    let reported = fleet
        .shows("the drift", &args, |it| {
            let copy = copy(it, "eks-1").cloned().unwrap_or_default();
            seen(copy["reason"] == "Drift", &it["status"])
        })
        .await;
    let message =
        copy(&reported, "eks-1").unwrap()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("/data/key"), "the field is named: {message}");
    let kept = fleet.arrives("eks-1", &["cm", "kept", "-n", "drift"]).await;
    assert_eq!(kept["data"]["key"], "member");
    fleet.end("drift").await;
}

pub(super) async fn a_foreign_object_is_reported_and_left_alone(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("foreign").await;
    let on = fleet.on("gke-1");
    on.ok(["create", "namespace", "foreign"]).await;
    on.apply(&settings("foreign", "shared", "theirs")).await;
    let before = fleet.arrives("gke-1", &["cm", "shared", "-n", "foreign"]).await;
    kubectl.apply(&settings_policy("foreign", "shared", "  sync: {conflict: Fail}")).await;
    kubectl.apply(&settings("foreign", "shared", "ours")).await;
    let args = ["placement", "configmap-shared", "-n", "foreign"];
    let reported = fleet
        .shows("the conflict", &args, |it| {
            copy_is(it, "gke-1", "Conflict")?;
            copy_is(it, "eks-1", "Ready")?;
            copy_is(it, "prem-1", "Ready")
        })
        .await;
    assert_eq!(copy(&reported, "gke-1").unwrap()["reason"], "ForeignObject");
    let after = fleet.arrives("gke-1", &["cm", "shared", "-n", "foreign"]).await;
    assert_eq!(
        after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"],
        "not touched"
    );
    let status = fleet.hub.archipel_ok(&["status", "-n", "foreign"]).await;
    assert!(status.contains("gke-1"), "{status}");
    // Its owner lets us have it, and the policy asks for it: the guard on the member wants the one, the syncer the other.
    on.ok(["annotate", "cm/shared", "-n", "foreign", "archipel.dev/adopt=true"]).await;
    kubectl.apply(&settings_policy("foreign", "shared", "  sync: {conflict: Adopt}")).await;
    fleet
        .member_shows("gke-1", "our content", &["cm", "shared", "-n", "foreign"], |it| {
            seen(it["data"]["key"] == "ours", it)
        })
        .await;
    fleet.placed("foreign", "configmap-shared", "eks-1 gke-1 prem-1").await;
    // One that goes away makes room.
    on.apply(&settings("foreign", "brief", "theirs")).await;
    kubectl.apply(&settings_policy("foreign", "brief", "  sync: {conflict: Fail}")).await;
    kubectl.apply(&settings("foreign", "brief", "ours")).await;
    let brief = ["placement", "configmap-brief", "-n", "foreign"];
    fleet.shows("the second conflict", &brief, |it| copy_is(it, "gke-1", "Conflict")).await;
    on.ok(["delete", "cm/brief", "-n", "foreign"]).await;
    fleet.placed("foreign", "configmap-brief", "eks-1 gke-1 prem-1").await;
    kubectl.ok(["delete", "cm/brief", "-n", "foreign", "--timeout=60s"]).await;
    // Deleted in the hub, the copies go; the namespace that we did not make stays.
    kubectl.ok(["delete", "cm/shared", "-n", "foreign", "--timeout=60s"]).await;
    fleet.leaves("gke-1", &["cm", "shared", "-n", "foreign"]).await;
    fleet.end("foreign").await;
    assert!(
        get(&on, &["namespace", "foreign"])
            .await
            .is_some_and(|it| it["metadata"]["deletionTimestamp"].is_null())
    );
    on.ok(["delete", "namespace", "foreign", "--wait=false"]).await;
}

pub(super) async fn an_unknown_copy_is_reported_and_left(fleet: &mut Fleet) {
    // Only kinds that have copies there are watched.
    let kubectl = fleet.kubectl();
    fleet.begin("orphans").await;
    kubectl
        .apply(&settings_policy("orphans", "real", "  affinities: [{clusters: {names: [prem-1]}}]"))
        .await;
    kubectl.apply(&settings("orphans", "real", "a")).await;
    fleet.placed("orphans", "configmap-real", "prem-1").await;
    // As a copy whose template the hub has forgotten would look.
    let real = fleet.arrives("prem-1", &["cm", "real", "-n", "orphans"]).await;
    let copy_of = real["metadata"]["annotations"]["archipel.dev/copy-of"].as_str().unwrap();
    let hub = copy_of.split('/').next().unwrap();
    for (name, hub) in [("ghost", hub), ("others", "another-hub")] {
        let copy_of = format!("{hub}//ConfigMap/orphans/{name}/0000");
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": name, "namespace": "orphans", "labels": {"archipel.dev/managed": "true"},
                "annotations": {"archipel.dev/copy-of": copy_of},
            },
        });
        fleet.on("prem-1").apply(&object.to_string()).await;
    }
    let listed = wait::until("the orphan in the list", SOON, async || {
        let listed = fleet.hub.archipel_ok(&["orphans", "list"]).await;
        if listed.contains("ConfigMap orphans/ghost") { Ok(listed) } else { Err(listed) }
    })
    .await;
    assert!(listed.contains("prem-1"), "{listed}");
    assert!(!listed.contains("orphans/others"), "that is another hub's: {listed}");
    assert!(!listed.contains("orphans/real"), "{listed}");
    let on = fleet.on("prem-1");
    for name in ["ghost", "others"] {
        let left = get(&on, &["cm", name, "-n", "orphans"]).await;
        assert!(left.is_some(), "{name} is reported at most, not deleted");
        on.ok(["delete", "cm", name, "-n", "orphans"]).await;
    }
    fleet.end("orphans").await;
}

pub(super) async fn one_member_refuses_and_the_others_go_on(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("refused").await;
    let on = fleet.on("gke-1");
    let guard = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-plums}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [configmaps], operations: [CREATE, UPDATE]}]
  matchConditions: [{name: here, expression: "request.namespace == 'refused'"}]
  validations: [{expression: "!has(object.data) || !has(object.data.key) || object.data.key != 'plum'", message: "no plums in this cluster"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-plums}
spec: {policyName: no-plums, validationActions: [Deny]}
"#;
    on.apply(guard).await;
    on.ok(["create", "namespace", "refused"]).await;
    wait::until("the member refuses plums", SOON, async || {
        let tried = on
            .run_with(
                &settings("refused", "probe", "plum"),
                ["create", "--dry-run=server", "-f", "-"],
            )
            .await;
        if tried.stderr.contains("no plums") { Ok(()) } else { Err(tried) }
    })
    .await;
    kubectl
        .apply(
            &settings_policy("refused", "", "  replicas: {}")
                .replace("metadata: {name: ,", "metadata: {name: fruit,")
                .replace(", name: }", "}"),
        )
        .await;
    kubectl.apply(&settings("refused", "fruit", "plum")).await;
    kubectl.apply(&settings("refused", "other", "pear")).await;
    let args = ["placement", "configmap-fruit", "-n", "refused"];
    let refused = fleet
        .shows("the refusal", &args, |it| {
            copy_is(it, "gke-1", "Refused")?;
            copy_is(it, "eks-1", "Ready")?;
            copy_is(it, "prem-1", "Ready")
        })
        .await;
    let message =
        copy(&refused, "gke-1").unwrap()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("no plums in this cluster"), "{message}");
    assert_eq!(crate::fleet::clusters(&refused), "eks-1 gke-1 prem-1", "it stays assigned");
    fleet.placed("refused", "configmap-other", "eks-1 gke-1 prem-1").await;
    let status = fleet.hub.archipel_ok(&["status", "-n", "refused"]).await;
    assert!(status.contains("gke-1") && status.contains("no plums"), "{status}");
    wait::until("an event that names the cluster", SOON, async || {
        let events = list(&kubectl, &["events", "-n", "refused"]).await;
        let tells = events.iter().any(|it| {
            it["message"].as_str().is_some_and(|it| it.contains("gke-1") && it.contains("no plums"))
        });
        if tells { Ok(()) } else { Err(events) }
    })
    .await;
    // An update that every member takes puts it right.
    kubectl.apply(&settings("refused", "fruit", "apple")).await;
    fleet.placed("refused", "configmap-fruit", "eks-1 gke-1 prem-1").await;
    on.ok([
        "delete",
        "validatingadmissionpolicybinding/no-plums",
        "validatingadmissionpolicy/no-plums",
    ])
    .await;
    fleet.end("refused").await;
    on.ok(["delete", "namespace", "refused", "--wait=false"]).await;
}

pub(super) async fn namespaces_come_with_their_first_copy(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("tenants").await;
    kubectl.ok(["label", "namespace", "tenants", "team=blue"]).await;
    kubectl
        .apply(&settings_policy("tenants", "conf", "  affinities: [{clusters: {names: [eks-1]}}]"))
        .await;
    kubectl.apply(&settings("tenants", "conf", "a")).await;
    fleet.placed("tenants", "configmap-conf", "eks-1").await;
    let there = fleet.arrives("eks-1", &["namespace", "tenants"]).await;
    assert_eq!(there["metadata"]["labels"]["team"], "blue", "{there}");
    kubectl.ok(["label", "namespace", "tenants", "team=red", "--overwrite"]).await;
    fleet
        .member_shows("eks-1", "the new label", &["namespace", "tenants"], |it| {
            seen(it["metadata"]["labels"]["team"] == "red", it)
        })
        .await;
    for member in ["gke-1", "prem-1"] {
        assert!(
            get(&fleet.on(member), &["namespace", "tenants"]).await.is_none(),
            "{member} has no copy"
        );
    }
    // Something foreign inside keeps it.
    fleet.on("eks-1").ok(["create", "configmap", "theirs", "-n", "tenants"]).await;
    kubectl.ok(["annotate", "namespace", "tenants", "archipel.dev/allow-delete=true"]).await;
    kubectl.ok(["delete", "namespace", "tenants", "--timeout=90s"]).await;
    fleet.leaves("eks-1", &["cm", "conf", "-n", "tenants"]).await;
    let kept = fleet.arrives("eks-1", &["namespace", "tenants"]).await;
    assert_eq!(kept["metadata"]["deletionTimestamp"], Value::Null);
    assert!(get(&fleet.on("eks-1"), &["cm", "theirs", "-n", "tenants"]).await.is_some());
    // With nothing left in it, it goes as the hub's own did.
    fleet.on("eks-1").ok(["delete", "configmap", "theirs", "-n", "tenants"]).await;
    fleet.leaves("eks-1", &["namespace", "tenants"]).await;
}

/// After all the other stories: what their namespaces held is gone from the members too.
pub(super) async fn nothing_of_what_was_deleted_stays_behind(fleet: &mut Fleet) {
    wait::until("no copy without a template", Duration::from_secs(90), async || {
        let listed = fleet.hub.archipel_ok(&["orphans", "list", "-o", "json"]).await;
        let orphans: Vec<Value> = serde_json::from_str(&listed).unwrap();
        // A namespace that something was left in is looked into ever more seldom.
        let left: Vec<&Value> = orphans
            .iter()
            .filter(|it| it["object"].as_str().is_none_or(|it| !it.starts_with("Namespace ")))
            .collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// The store's revision as a list shows it.
async fn revision(fleet: &Fleet) -> u64 {
    let list = fleet.kubectl().ok(["get", "--raw", "/api/v1/namespaces?limit=1"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

const IDLE: Duration = Duration::from_secs(20);

pub(super) async fn an_idle_fleet_writes_nothing(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("idle").await;
    kubectl.apply(&policy("idle", "web", "  replicas: {mode: Divided}")).await;
    kubectl.apply(&deployment("idle", "web", 6)).await;
    fleet.placed("idle", "deployment-web", "eks-1=2 gke-1=2 prem-1=2").await;
    // Room is reported for some seconds after the last change; then there is nothing more to say.
    wait::until("the fleet is at rest", Duration::from_secs(90), async || {
        quiet(fleet, Duration::from_secs(12)).await
    })
    .await;
    // Compaction writes once in five minutes, and so does the time at which members were last seen: one look may meet
    // one of them, two looks do not.
    if let Err(first) = quiet(fleet, IDLE).await {
        let second = quiet(fleet, IDLE).await;
        assert_eq!(second, Ok(()), "and before that: {first}");
    }
    fleet.end("idle").await;
}

/// Whether nothing is written for so long; the error is what was.
async fn quiet(fleet: &Fleet, pause: Duration) -> Result<(), String> {
    let before = revision(fleet).await;
    tokio::time::sleep(pause).await;
    let after = revision(fleet).await;
    if after == before {
        return Ok(());
    }
    Err(format!("{before} → {after}: {}", written_since(fleet, before).await))
}

/// What was written since a revision, for the message of a failure.
async fn written_since(fleet: &Fleet, revision: u64) -> String {
    let kinds = "memberclusters.archipel.dev,placements.archipel.dev,changebudgets.archipel.dev,placementpolicies.archipel.dev,clusterplacementpolicies.archipel.dev,revisions.archipel.dev,deployments,events,leases,namespaces,serviceaccounts,secrets,configmaps";
    let all = list(&fleet.kubectl(), &[kinds, "-A"]).await;
    let new = all.iter().filter(|it| {
        it["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|it| it.parse::<u64>().ok())
            .is_some_and(|it| it > revision)
    });
    let names: Vec<String> = new
        .map(|it| {
            format!("{} {}/{}", it["kind"], it["metadata"]["namespace"], it["metadata"]["name"])
        })
        .collect();
    names.join(", ")
}

pub(super) async fn a_frozen_member_converges_when_it_returns(fleet: &mut Fleet) {
    let full = std::env::var_os("ARCHIPEL_FULL").is_some();
    let dark = Duration::from_secs(if full { 60 } else { 15 });
    let kubectl = fleet.kubectl();
    fleet.begin("dark").await;
    kubectl.apply(&policy("dark", "web", "  replicas: {mode: Duplicated}")).await;
    kubectl.apply(&policy("dark", "late", "  replicas: {mode: Duplicated}")).await;
    kubectl.apply(&policy("dark", "gone", "  replicas: {mode: Duplicated}")).await;
    kubectl.apply(&deployment("dark", "web", 1)).await;
    kubectl.apply(&deployment("dark", "gone", 1)).await;
    fleet.placed("dark", "deployment-web", "eks-1=1 gke-1=1 prem-1=1").await;
    fleet.placed("dark", "deployment-gone", "eks-1=1 gke-1=1 prem-1=1").await;
    fleet.member_mut("gke-1").freeze().unwrap();
    let since = tokio::time::Instant::now();
    let during = async {
        let mut slowest = Duration::ZERO;
        let mut replicas = 1;
        while since.elapsed() < dark {
            replicas += 1;
            let wrote = tokio::time::Instant::now();
            kubectl
                .ok(["scale", "deploy/web", "-n", "dark", &format!("--replicas={replicas}")])
                .await;
            for member in ["eks-1", "prem-1"] {
                fleet
                    .member_shows(
                        member,
                        "the new replicas",
                        &["deploy", "web", "-n", "dark"],
                        |it| seen(it["spec"]["replicas"] == replicas, &it["spec"]["replicas"]),
                    )
                    .await;
            }
            slowest = slowest.max(wrote.elapsed());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        kubectl.apply(&deployment("dark", "late", 1)).await;
        for member in ["eks-1", "prem-1"] {
            fleet.arrives(member, &["deploy", "late", "-n", "dark"]).await;
        }
        kubectl.ok(["delete", "deploy/gone", "-n", "dark", "--wait=false"]).await;
        for member in ["eks-1", "prem-1"] {
            fleet.leaves(member, &["deploy", "gone", "-n", "dark"]).await;
        }
        let placement = fleet
            .shows("gke-1 marked stale", &["placement", "deployment-web", "-n", "dark"], |it| {
                seen(copy(it, "gke-1").is_some_and(|it| it["stale"] == true), &it["status"])
            })
            .await;
        (slowest, replicas, placement)
    };
    let (slowest, replicas, _) = during.await;
    println!(
        "  frozen for {:.0} s; the slowest change elsewhere took {:.2} s",
        since.elapsed().as_secs_f32(),
        slowest.as_secs_f32()
    );
    fleet.member_mut("gke-1").thaw().unwrap();
    fleet
        .placed(
            "dark",
            "deployment-web",
            &format!("eks-1={replicas} gke-1={replicas} prem-1={replicas}"),
        )
        .await;
    fleet.arrives("gke-1", &["deploy", "late", "-n", "dark"]).await;
    fleet.leaves("gke-1", &["deploy", "gone", "-n", "dark"]).await;
    let copy = fleet.arrives("gke-1", &["deploy", "web", "-n", "dark"]).await;
    assert_eq!(copy["spec"]["replicas"], replicas);
    fleet.end("dark").await;
}
