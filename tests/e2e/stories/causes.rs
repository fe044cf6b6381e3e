//! Every removal has a cause, and every cause its own rules (RULES 1.2-1.5), seen from the members.

use std::time::Duration;

use federation_tests::wait;
use serde_json::{Value, json};

use crate::fleet::{
    Fleet, SOON, clusters, copy_is, deployment, get, list, placed_is, policy, replicas, seen,
};

pub(super) async fn a_deleted_template_takes_its_copies_along(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("deleted").await;
    kubectl.apply(&policy("deleted", "web", "  replicas: {mode: Duplicated}")).await;
    kubectl.apply(&deployment("deleted", "web", 1)).await;
    fleet.placed("deleted", "deployment-web", "eks-1 gke-1 prem-1").await;
    kubectl.ok(["delete", "deploy/web", "-n", "deleted", "--timeout=60s"]).await;
    for member in ["eks-1", "gke-1", "prem-1"] {
        let left = get(&fleet.on(member), &["deploy", "web", "-n", "deleted"]).await;
        assert!(left.is_none(), "the template goes last: {member} still has {left:?}");
    }
    wait::until("no placement is left", SOON, async || {
        fleet
            .get(&["placement", "deployment-web", "-n", "deleted"])
            .await
            .map_or(Ok(()), |it| Err(it.to_string()))
    })
    .await;
    wait::until("no revision is left", SOON, async || {
        let revisions = list(&kubectl, &["revisions.archipel.dev", "-n", "deleted"]).await;
        if revisions.is_empty() { Ok(()) } else { Err(revisions) }
    })
    .await;
    fleet.end("deleted").await;
}

pub(super) async fn a_policy_edit_brings_new_copies_before_old_ones_go(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("edited").await;
    // What is to come up in gke-1 is kept from being ready.
    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: OverridePolicy
metadata: {name: slow, namespace: edited}
spec:
  selectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
  rules:
  - clusters: {names: [gke-1]}
    jsonPatch: [{op: add, path: /spec/template/metadata/annotations, value: {archipel.test/behaviour: never-ready}}]
"#,
        )
        .await;
    kubectl.apply(&policy("edited", "web", "  affinities: [{clusters: {names: [eks-1]}}]")).await;
    kubectl.apply(&deployment("edited", "web", 1)).await;
    fleet.placed("edited", "deployment-web", "eks-1").await;
    kubectl.apply(&policy("edited", "web", "  affinities: [{clusters: {names: [gke-1]}}]")).await;
    fleet.arrives("gke-1", &["deploy", "web", "-n", "edited"]).await;
    let args = ["placement", "deployment-web", "-n", "edited"];
    let both = fleet
        .shows("the new copy, not ready", &args, |it| copy_is(it, "gke-1", "Progressing"))
        .await;
    assert_eq!(clusters(&both), "eks-1! gke-1");
    assert_eq!(both["spec"]["clusters"][0]["leaving"], "PolicyChanged");
    assert!(get(&fleet.on("eks-1"), &["deploy", "web", "-n", "edited"]).await.is_some());
    kubectl.ok(["delete", "overridepolicy", "slow", "-n", "edited"]).await;
    fleet.placed("edited", "deployment-web", "gke-1").await;
    fleet.leaves("eks-1", &["deploy", "web", "-n", "edited"]).await;
    fleet.end("edited").await;
}

pub(super) async fn an_override_edit_reaches_what_runs(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("patched").await;
    kubectl.apply(&policy("patched", "web", "  replicas: {mode: Duplicated}")).await;
    kubectl.apply(&deployment("patched", "web", 1)).await;
    fleet.placed("patched", "deployment-web", "eks-1 gke-1 prem-1").await;
    let rule = |tag: &str| {
        format!(
            "{{apiVersion: archipel.dev/v1alpha1, kind: OverridePolicy, metadata: {{name: tag, namespace: patched}}, spec: {{selectors: [{{apiVersion: apps/v1, kind: Deployment, name: web}}], rules: [{{clusters: {{names: [prem-1]}}, image: [{{tag: \"{tag}\"}}]}}]}}}}"
        )
    };
    let image = |member: &'static str, expected: &'static str| {
        let fleet = &*fleet;
        async move {
            fleet
                .member_shows(member, expected, &["deploy", "web", "-n", "patched"], |it| {
                    let image = &it["spec"]["template"]["spec"]["containers"][0]["image"];
                    seen(image == expected, image)
                })
                .await
        }
    };
    kubectl.apply(&rule("2.0")).await;
    image("prem-1", "registry.example/web:2.0").await;
    kubectl.ok(["delete", "overridepolicy", "tag", "-n", "patched"]).await;
    image("prem-1", "registry.example/web:1.0").await;
    image("eks-1", "registry.example/web:1.0").await;
    fleet.end("patched").await;
}

pub(super) async fn a_policy_that_is_deleted_leaves_its_copies(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("abandoned").await;
    kubectl
        .apply(&policy("abandoned", "web", "  affinities: [{clusters: {names: [eks-1, gke-1]}}]"))
        .await;
    kubectl.apply(&deployment("abandoned", "web", 1)).await;
    fleet.placed("abandoned", "deployment-web", "eks-1 gke-1").await;
    kubectl.ok(["delete", "placementpolicy", "web", "-n", "abandoned"]).await;
    let args = ["placement", "deployment-web", "-n", "abandoned"];
    let left = fleet
        .shows("Placed=Unknown, PolicyGone", &args, |it| placed_is(it, "Unknown", "PolicyGone"))
        .await;
    assert_eq!(clusters(&left), "eks-1 gke-1", "{}", left["spec"]);
    // Claimed again, by a policy that agrees: nothing moves.
    let uid = |it: &Value| it["metadata"]["uid"].clone();
    let before = uid(&fleet.arrives("eks-1", &["deploy", "web", "-n", "abandoned"]).await);
    kubectl
        .apply(&policy("abandoned", "web", "  affinities: [{clusters: {names: [eks-1, gke-1]}}]"))
        .await;
    fleet.placed("abandoned", "deployment-web", "eks-1 gke-1").await;
    assert_eq!(before, uid(&fleet.arrives("eks-1", &["deploy", "web", "-n", "abandoned"]).await));
    // The labels move out of the selector: the same.
    kubectl.ok(["delete", "placementpolicy", "web", "-n", "abandoned"]).await;
    fleet.shows("PolicyGone again", &args, |it| placed_is(it, "Unknown", "PolicyGone")).await;
    kubectl.ok(["delete", "deploy/web", "-n", "abandoned", "--timeout=60s"]).await;
    for member in ["eks-1", "gke-1"] {
        fleet.leaves(member, &["deploy", "web", "-n", "abandoned"]).await;
    }
    fleet.end("abandoned").await;
}

pub(super) async fn no_cluster_fits_and_running_copies_stay(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("unfit").await;
    kubectl
        .apply(&policy("unfit", "web", "  affinities: [{clusters: {names: [eks-1, gke-1]}}]"))
        .await;
    kubectl.apply(&policy("unfit", "new", "  affinities: [{clusters: {names: [nowhere]}}]")).await;
    kubectl.apply(&deployment("unfit", "web", 2)).await;
    fleet.placed("unfit", "deployment-web", "eks-1=2 gke-1=2").await;
    kubectl.apply(&policy("unfit", "web", "  affinities: [{clusters: {names: [nowhere]}}]")).await;
    let args = ["placement", "deployment-web", "-n", "unfit"];
    let stays = fleet
        .shows("Placed=False, NoClusterFits", &args, |it| placed_is(it, "False", "NoClusterFits"))
        .await;
    assert_eq!(clusters(&stays), "eks-1 gke-1", "{}", stays["spec"]);
    for member in ["eks-1", "gke-1"] {
        let copy = fleet.arrives(member, &["deploy", "web", "-n", "unfit"]).await;
        assert_eq!(copy["status"]["readyReplicas"], 2, "{member}: {}", copy["status"]);
    }
    kubectl.apply(&deployment("unfit", "new", 1)).await;
    let args = ["placement", "deployment-new", "-n", "unfit"];
    let none = fleet
        .shows("NoClusterFits for what is new", &args, |it| placed_is(it, "False", "NoClusterFits"))
        .await;
    assert_eq!(clusters(&none), "");
    let status = fleet.hub.archipel_ok(&["status", "-n", "unfit"]).await;
    assert!(status.contains("NoClusterFits"), "{status}");
    fleet.end("unfit").await;
}

pub(super) async fn a_taint_moves_what_does_not_tolerate_it(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("tainted").await;
    kubectl
        .apply(&policy("tainted", "web", "  affinities: [{clusters: {labelSelector: {matchLabels: {tier: prod}}}}]\n  spread: [{topologyKey: cluster, max: 1}]\n  replicas: {mode: Divided}"))
        .await;
    kubectl.apply(&policy("tainted", "bold", "  affinities: [{clusters: {labelSelector: {matchLabels: {tier: prod}}}}]\n  tolerations: [{key: broken, operator: Exists}]")).await;
    kubectl.apply(&deployment("tainted", "web", 2)).await;
    kubectl.apply(&deployment("tainted", "bold", 1)).await;
    fleet.placed("tainted", "deployment-bold", "eks-1 gke-1").await;
    let args = ["placement", "deployment-web", "-n", "tainted"];
    let placed = fleet
        .shows("web on one cluster", &args, |it| seen(it["status"]["summary"]["ready"] == 1, it))
        .await;
    let from = clusters(&placed);
    let to = if from == "eks-1" { "gke-1" } else { "eks-1" };
    fleet.patch_member(&from, &json!({"taints": [{"key": "broken", "effect": "NoExecute"}]})).await;
    fleet.placed("tainted", "deployment-web", to).await;
    fleet.leaves(&from, &["deploy", "web", "-n", "tainted"]).await;
    fleet.placed("tainted", "deployment-bold", "eks-1 gke-1").await;
    fleet.patch_member(&from, &json!({"taints": []})).await;
    fleet.end("tainted").await;
}

pub(super) async fn a_label_and_a_jurisdiction_that_change_move_what_they_held(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("moved").await;
    kubectl
        .apply(&policy(
            "moved",
            "web",
            "  affinities: [{clusters: {labelSelector: {matchLabels: {lane: fast}}}}]",
        ))
        .await;
    kubectl.apply(&policy("moved", "law", "  residency: {jurisdictions: [US]}")).await;
    kubectl.ok(["label", "membercluster", "eks-1", "lane=fast"]).await;
    fleet.patch_member("gke-1", &json!({"jurisdiction": "US"})).await;
    kubectl.apply(&deployment("moved", "web", 1)).await;
    kubectl.apply(&deployment("moved", "law", 1)).await;
    fleet.placed("moved", "deployment-web", "eks-1").await;
    fleet.placed("moved", "deployment-law", "gke-1").await;
    kubectl.ok(["label", "membercluster", "prem-1", "lane=fast"]).await;
    kubectl.ok(["label", "membercluster", "eks-1", "lane-"]).await;
    fleet.patch_member("prem-1", &json!({"jurisdiction": "US"})).await;
    fleet.patch_member("gke-1", &json!({"jurisdiction": "EU"})).await;
    fleet.placed("moved", "deployment-web", "prem-1").await;
    fleet.placed("moved", "deployment-law", "prem-1").await;
    fleet.leaves("eks-1", &["deploy", "web", "-n", "moved"]).await;
    fleet.leaves("gke-1", &["deploy", "law", "-n", "moved"]).await;
    kubectl.ok(["label", "membercluster", "prem-1", "lane-"]).await;
    fleet.patch_member("prem-1", &json!({"jurisdiction": "CH"})).await;
    fleet.end("moved").await;
}

pub(super) async fn an_api_that_is_no_longer_served_is_held_and_reported(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("widgets").await;
    let definition = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.toys.example}
spec:
  group: toys.example
  scope: Namespaced
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
"#;
    kubectl.apply(definition).await;
    for member in ["eks-1", "gke-1"] {
        fleet.on(member).apply(definition).await;
    }
    kubectl
        .ok(["wait", "--for=condition=Established", "crd/widgets.toys.example", "--timeout=60s"])
        .await;
    kubectl
        .apply("{apiVersion: archipel.dev/v1alpha1, kind: PlacementPolicy, metadata: {name: widgets, namespace: widgets}, spec: {selectors: [{apiVersion: toys.example/v1, kind: Widget}]}}")
        .await;
    // The hub asks its members now and then for what they serve.
    for member in ["eks-1", "gke-1"] {
        fleet
            .shows("the new kind", &["membercluster", member], |it| {
                seen(serves(it), &it["status"]["version"])
            })
            .await;
    }
    kubectl.apply("{apiVersion: toys.example/v1, kind: Widget, metadata: {name: top, namespace: widgets}, spec: {size: 3}}").await;
    fleet.placed("widgets", "widget.toys.example-top", "eks-1 gke-1").await;
    let why =
        fleet.hub.archipel_ok(&["why", "widget/top", "-n", "widgets", "--not", "prem-1"]).await;
    assert!(why.contains("toys.example"), "{why}");

    fleet.on("gke-1").ok(["delete", "crd", "widgets.toys.example"]).await;
    fleet
        .shows("one kind less", &["membercluster", "gke-1"], |it| {
            seen(!serves(it), &it["status"]["version"])
        })
        .await;
    let args = ["placement", "widget.toys.example-top", "-n", "widgets"];
    let reported = fleet
        .shows("the report", &args, |it| {
            let copy = crate::fleet::copy(it, "gke-1").cloned().unwrap_or_default();
            seen(copy["reason"] == "KindMissing", &json!([it["spec"], it["status"]]))
        })
        .await;
    assert_eq!(clusters(&reported), "eks-1 gke-1", "held: {}", reported["spec"]);
    assert_eq!(reported["spec"]["removing"], Value::Null);
    // Back again, it is made again.
    fleet.on("gke-1").apply(definition).await;
    fleet.placed("widgets", "widget.toys.example-top", "eks-1 gke-1").await;
    fleet.arrives("gke-1", &["widgets.toys.example", "top", "-n", "widgets"]).await;
    kubectl.ok(["delete", "widget/top", "-n", "widgets", "--timeout=60s"]).await;
    kubectl.ok(["delete", "crd", "widgets.toys.example"]).await;
    for member in ["eks-1", "gke-1"] {
        fleet.on(member).ok(["delete", "crd", "widgets.toys.example"]).await;
    }
    fleet.end("widgets").await;
}

fn serves(member: &Value) -> bool {
    let apis = member["status"]["apis"].as_array();
    apis.into_iter().flatten().any(|it| it == "toys.example/v1/Widget")
}

pub(super) async fn a_price_that_changes_moves_nothing_that_runs(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("priced").await;
    for member in ["eks-1", "gke-1"] {
        fleet.patch_member(member, &json!({"autoscaled": true})).await;
    }
    let cheapest = "  affinities: [{clusters: {labelSelector: {matchLabels: {tier: prod}}}}]\n  spread: [{topologyKey: cluster, max: 1}]\n  replicas: {mode: Divided, division: Cheapest}";
    let book = |eks: &str, gke: &str| {
        json!({
            "apiVersion": "archipel.dev/v1alpha1", "kind": "PriceBook", "metadata": {"name": "sample"},
            "spec": {"sample": false, "prices": [
                {"provider": "eks", "instanceType": "m6i.xlarge", "onDemandUsdHour": eks, "cpu": "4", "memory": "16Gi", "source": "test", "asOf": "2026-11-01"},
                {"provider": "gke", "instanceType": "n2-standard-4", "onDemandUsdHour": gke, "cpu": "4", "memory": "16Gi", "source": "test", "asOf": "2026-11-01"},
            ]},
        })
        .to_string()
    };
    let before = fleet.get(&["pricebook", "sample"]).await.unwrap();
    kubectl.ok(["delete", "pricebook", "sample"]).await;
    kubectl.apply(&book("0.10", "9.00")).await;
    kubectl.apply(&policy("priced", "first", cheapest)).await;
    kubectl.apply(&policy("priced", "second", cheapest)).await;
    kubectl.apply(&deployment("priced", "first", 2)).await;
    fleet.placed("priced", "deployment-first", "eks-1=2").await;
    kubectl.apply(&book("9.00", "0.10")).await;
    // What is new shows that the new price is known by now.
    kubectl.apply(&deployment("priced", "second", 2)).await;
    fleet.placed("priced", "deployment-second", "gke-1=2").await;
    let first = fleet.get(&["placement", "deployment-first", "-n", "priced"]).await.unwrap();
    assert_eq!(replicas(&first), [("eks-1".to_owned(), 2)].into(), "{}", first["spec"]);
    kubectl.ok(["delete", "pricebook", "sample"]).await;
    let mut back = before;
    back["metadata"] = json!({"name": "sample"});
    kubectl.run_with(&back.to_string(), ["create", "-f", "-"]).await;
    for member in ["eks-1", "gke-1"] {
        fleet.patch_member(member, &json!({"autoscaled": false})).await;
    }
    fleet.end("priced").await;
}

pub(super) async fn wide_deletes_are_asked_for(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("wide").await;
    kubectl
        .apply(&policy("wide", "web", "  affinities: [{clusters: {names: [eks-1, gke-1]}}]"))
        .await;
    kubectl.apply(&deployment("wide", "web", 1)).await;
    fleet.placed("wide", "deployment-web", "eks-1 gke-1").await;
    let refused = kubectl.run(["delete", "namespace", "wide", "--wait=false"]).await;
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("1 object on 2 clusters"), "{refused:?}");
    assert!(refused.stderr.contains("archipel.dev/allow-delete"), "{refused:?}");
    let refused = kubectl.run(["delete", "membercluster", "eks-1", "--wait=false"]).await;
    assert!(!refused.success() && refused.stderr.contains("on 1 cluster;"), "{refused:?}");
    let left = fleet.hub.archipel(&["cluster", "leave", "eks-1"]).await;
    assert!(!left.success() && left.stderr.contains("--drain"), "{left:?}");
    for args in [["namespace", "wide"], ["membercluster", "eks-1"]] {
        let object = fleet.get(&args).await.unwrap();
        assert_eq!(object["metadata"]["deletionTimestamp"], Value::Null, "{args:?}");
    }
    kubectl.ok(["annotate", "namespace", "wide", "archipel.dev/allow-delete=true"]).await;
    kubectl.ok(["delete", "namespace", "wide", "--timeout=90s"]).await;
    for member in ["eks-1", "gke-1"] {
        fleet.leaves(member, &["deploy", "web", "-n", "wide"]).await;
        // It came with its first copy, and goes with the hub's own (RULES 4.4).
        fleet.leaves(member, &["namespace", "wide"]).await;
    }
}

pub(super) async fn a_freeze_stops_every_write(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("frozen").await;
    kubectl
        .apply(&policy("frozen", "web", "  affinities: [{clusters: {names: [eks-1, gke-1]}}]"))
        .await;
    kubectl.apply(&deployment("frozen", "web", 1)).await;
    fleet.placed("frozen", "deployment-web", "eks-1=1 gke-1=1").await;
    // A freeze of what is not there would hold nothing.
    for (args, named) in
        [(["freeze", "-n", "nowhere"], "`nowhere`"), (["freeze", "--cluster", "moon"], "`moon`")]
    {
        let refused = fleet.hub.archipel(&args).await;
        assert!(refused.code == Some(1) && refused.stderr.contains(named), "{refused:?}");
    }
    let frozen = fleet.hub.archipel_ok(&["freeze", "-n", "frozen"]).await;
    assert_eq!(frozen, "frozen: namespace frozen\n");
    // It survives a restart.
    fleet.hub.restart().await.unwrap();
    kubectl.ok(["scale", "deploy/web", "-n", "frozen", "--replicas=3"]).await;
    fleet
        .on("eks-1")
        .ok(["label", "deploy/web", "-n", "frozen", "tier=broken", "--overwrite"])
        .await;
    let args = ["placement", "deployment-web", "-n", "frozen"];
    fleet
        .shows("the freeze", &args, |it| {
            let frozen = |name: &str| {
                crate::fleet::copy(it, name).is_some_and(|it| it["reason"] == "Frozen")
            };
            seen(frozen("eks-1") && frozen("gke-1"), &json!([it["spec"], it["status"]]))
        })
        .await;
    // Other namespaces go on, which also shows that there was time to write here.
    fleet.begin("warm").await;
    kubectl.apply(&policy("warm", "web", "  replicas: {mode: Duplicated}")).await;
    kubectl.apply(&deployment("warm", "web", 1)).await;
    fleet.placed("warm", "deployment-web", "eks-1 gke-1 prem-1").await;
    let copy = fleet.arrives("eks-1", &["deploy", "web", "-n", "frozen"]).await;
    assert_eq!(copy["spec"]["replicas"], 1, "nothing is written");
    assert_eq!(copy["metadata"]["labels"]["tier"], "broken", "drift neither");
    // A removal waits too.
    kubectl.ok(["delete", "deploy/web", "-n", "frozen", "--wait=false"]).await;
    fleet
        .shows("the removal that waits", &args, |it| {
            let message = it["spec"]["outcome"]["message"].as_str().unwrap_or_default();
            seen(message.contains("freeze") && clusters(it) == "eks-1! gke-1!", &it["spec"])
        })
        .await;
    for member in ["eks-1", "gke-1"] {
        assert!(
            get(&fleet.on(member), &["deploy", "web", "-n", "frozen"]).await.is_some(),
            "{member}"
        );
    }
    let status = fleet.hub.archipel_ok(&["status"]).await;
    assert!(status.contains("frozen: namespace frozen"), "{status}");
    let why = fleet.hub.archipel_ok(&["why", "deploy/web", "-n", "frozen"]).await;
    assert!(why.contains("frozen by ChangeBudget default"), "{why}");
    let thawed = fleet.hub.archipel_ok(&["thaw", "-n", "frozen"]).await;
    assert_eq!(thawed, "nothing is frozen\n");
    let again = fleet.hub.archipel_ok(&["thaw", "-n", "frozen"]).await;
    assert!(again.contains("namespace frozen was not frozen"), "{again}");
    for member in ["eks-1", "gke-1"] {
        fleet.leaves(member, &["deploy", "web", "-n", "frozen"]).await;
    }
    // All, and one cluster: what is thawed catches up.
    kubectl.apply(&policy("warm", "other", "  replicas: {mode: Duplicated}")).await;
    fleet.hub.archipel_ok(&["freeze", "--cluster", "gke-1"]).await;
    kubectl.apply(&deployment("warm", "other", 1)).await;
    fleet.arrives("eks-1", &["deploy", "other", "-n", "warm"]).await;
    fleet.arrives("prem-1", &["deploy", "other", "-n", "warm"]).await;
    let other = ["placement", "deployment-other", "-n", "warm"];
    fleet.shows("gke-1 held", &other, |it| copy_is(it, "gke-1", "Held")).await;
    let listed = fleet.hub.archipel_ok(&["cluster", "list", "-o", "wide"]).await;
    let gke = listed.lines().find(|it| it.starts_with("gke-1")).unwrap_or_default();
    assert!(gke.contains("frozen"), "{listed}");
    assert!(get(&fleet.on("gke-1"), &["deploy", "other", "-n", "warm"]).await.is_none());
    fleet.hub.archipel_ok(&["thaw", "--cluster", "gke-1"]).await;
    fleet.placed("warm", "deployment-other", "eks-1 gke-1 prem-1").await;
    fleet.end("frozen").await;
    fleet.end("warm").await;
}

pub(super) async fn a_change_budget_holds_removals_visibly(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("budget").await;
    kubectl.apply(&policy("budget", "web", "  replicas: {mode: Duplicated}")).await;
    kubectl.apply(&deployment("budget", "web", 1)).await;
    fleet.placed("budget", "deployment-web", "eks-1 gke-1 prem-1").await;
    // Every budget has to agree: this one lets one copy go in an hour.
    kubectl
        .apply("{apiVersion: archipel.dev/v1alpha1, kind: ChangeBudget, metadata: {name: tight}, spec: {window: 1h, minRemovals: 1, removalPercent: 0}}")
        .await;
    kubectl.ok(["delete", "deploy/web", "-n", "budget", "--wait=false"]).await;
    fleet
        .shows("the budget's count", &["changebudget", "tight"], |it| {
            seen(it["status"]["removed"] == 1 && it["status"]["waiting"] == 2, it)
        })
        .await;
    let args = ["placement", "deployment-web", "-n", "budget"];
    let held = fleet
        .shows("two copies that wait", &args, |it| {
            let message = it["spec"]["outcome"]["message"].as_str().unwrap_or_default();
            let settled = it["spec"]["removing"].as_array().is_none_or(Vec::is_empty);
            seen(settled && message.contains("budget") && message.contains("2 copies"), &it["spec"])
        })
        .await;
    let left: Vec<String> = replicas(&held).into_keys().collect();
    assert_eq!(left.len(), 2);
    for member in &left {
        assert!(
            get(&fleet.on(member), &["deploy", "web", "-n", "budget"]).await.is_some(),
            "{member}"
        );
    }
    // The count survives a restart.
    fleet.hub.restart().await.unwrap();
    let budget = fleet
        .shows("the budget after a restart", &["changebudget", "tight"], |it| {
            seen(it["status"]["waiting"] == 2, it)
        })
        .await;
    assert_eq!(budget["status"]["removed"], 1);
    for member in &left {
        assert!(
            get(&fleet.on(member), &["deploy", "web", "-n", "budget"]).await.is_some(),
            "{member}"
        );
    }
    kubectl.ok(["delete", "changebudget", "tight"]).await;
    for member in ["eks-1", "gke-1", "prem-1"] {
        fleet.leaves(member, &["deploy", "web", "-n", "budget"]).await;
    }
    fleet.end("budget").await;
}

/// How long the loss of a cluster may stay unnoticed, its policy's patience and the decision included.
const FAILOVER: Duration = Duration::from_secs(120);

pub(super) async fn failover_makes_new_copies_and_removes_none_in_the_dark(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("failover").await;
    let spec = "  affinities: [{clusters: {labelSelector: {matchLabels: {tier: prod}}}}]\n  spread: [{topologyKey: cluster, max: 1}]\n  replicas: {mode: Divided}\n  failover: {after: 10s, failback: {mode: Never}}";
    kubectl.apply(&policy("failover", "web", spec)).await;
    // Its patience is the default: five minutes.
    kubectl
        .apply(&policy(
            "failover",
            "calm",
            "  affinities: [{clusters: {labelSelector: {matchLabels: {tier: prod}}}}]",
        ))
        .await;
    kubectl.apply(&deployment("failover", "web", 2)).await;
    kubectl.apply(&deployment("failover", "calm", 1)).await;
    fleet.placed("failover", "deployment-calm", "eks-1 gke-1").await;
    let args = ["placement", "deployment-web", "-n", "failover"];
    let placed = fleet
        .shows("web on one cluster", &args, |it| seen(it["status"]["summary"]["ready"] == 1, it))
        .await;
    let lost = clusters(&placed);
    let next = if lost == "eks-1" { "gke-1" } else { "eks-1" };
    fleet.member_mut(&lost).freeze().unwrap();
    let on_next = fleet.on(next);
    let came = wait::try_until("a replacement", FAILOVER, async || {
        get(&on_next, &["deploy", "web", "-n", "failover"]).await.ok_or("not there")
    })
    .await;
    let placement = fleet.get(&args).await.unwrap();
    let member = fleet.get(&["membercluster", &lost]).await.unwrap();
    let calm = fleet.get(&["placement", "deployment-calm", "-n", "failover"]).await.unwrap();
    fleet.member_mut(&lost).thaw().unwrap();
    assert!(came.is_ok(), "{came:?}; {placement}; {member}");
    let expected = if lost == "eks-1" { "eks-1! gke-1" } else { "eks-1 gke-1!" };
    assert_eq!(
        clusters(&placement),
        expected,
        "nothing is removed where nobody answers: {}",
        placement["spec"]
    );
    assert_eq!(clusters(&calm), "eks-1 gke-1", "{}", calm["spec"]);
    let stale = crate::fleet::copy(&placement, &lost).cloned().unwrap_or_default();
    assert_eq!(stale["stale"], true, "{stale}");
    assert_eq!(
        member["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["type"] == "Ready")
            .unwrap()["status"],
        "False"
    );
    // It is back: the old copy goes, now that the new one is ready.
    fleet.placed("failover", "deployment-web", next).await;
    fleet.leaves(&lost, &["deploy", "web", "-n", "failover"]).await;
    fleet.placed("failover", "deployment-calm", "eks-1 gke-1").await;
    fleet.end("failover").await;
}

pub(super) async fn a_cluster_leaves_drained(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("drained").await;
    kubectl
        .apply(&policy("drained", "web", "  replicas: {mode: Divided, division: Weighted}"))
        .await;
    kubectl.apply(&deployment("drained", "web", 6)).await;
    fleet.placed("drained", "deployment-web", "eks-1=2 gke-1=2 prem-1=2").await;
    let refused = fleet.hub.archipel(&["cluster", "leave", "prem-1"]).await;
    assert!(!refused.success() && refused.stderr.contains("prem-1 holds"), "{refused:?}");
    fleet.hub.archipel_ok(&["cluster", "leave", "prem-1", "--drain", "--timeout", "100"]).await;
    fleet.placed("drained", "deployment-web", "eks-1=3 gke-1=3").await;
    assert!(get(&fleet.on("prem-1"), &["deploy", "web", "-n", "drained"]).await.is_none());
    let gone = fleet.hub.archipel_ok(&["cluster", "list"]).await;
    assert!(!gone.contains("prem-1"), "{gone}");
    assert!(fleet.get(&["secret", "member-prem-1", "-n", "archipel-system"]).await.is_none());
    // Our account and its rights went along.
    fleet.leaves("prem-1", &["namespace", "archipel-system"]).await;
    fleet.leaves("prem-1", &["clusterrolebinding", "archipel-syncer"]).await;
    fleet.join_again("prem-1").await;
    // Joining moves nothing that runs.
    let placement = fleet.get(&["placement", "deployment-web", "-n", "drained"]).await.unwrap();
    assert_eq!(clusters(&placement), "eks-1 gke-1", "{}", placement["spec"]);
    fleet.end("drained").await;
}
