//! Whose decision it is, who may use what, and what is never carried (RULES 2.1, 2.3, 2.4).

use serde_json::json;

use crate::fleet::{Fleet, clusters, deployment, get, placed_is, policy, seen};

/// A policy on Deployments of this namespace, with a selector and one cluster.
fn to(kind: &str, name: &str, selector: &str, cluster: &str, more: &str) -> String {
    let (namespace, namespaces) = if kind == "PlacementPolicy" {
        (", namespace: claims", "")
    } else {
        ("", "  namespaces: [claims]\n")
    };
    format!(
        "apiVersion: archipel.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{namespace}}}\nspec:\n  \
         selectors: [{{apiVersion: apps/v1, kind: Deployment{selector}}}]\n  \
         affinities: [{{clusters: {{names: [{cluster}]}}}}]\n{namespaces}{more}\n---\n"
    )
}

pub(super) async fn the_claim_goes_by_priority_specificity_scope_and_name(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("claims").await;
    let (own, wide) = ("PlacementPolicy", "ClusterPlacementPolicy");
    kubectl.apply(&to(wide, "claims-wide", "", "eks-1", "")).await;
    kubectl.apply(&deployment("claims", "web", 1)).await;
    fleet.placed("claims", "deployment-web", "eks-1").await;
    // Each of these beats what stands before it.
    let labels = ", labelSelector: {matchLabels: {tier: web}}";
    let steps = [
        (own, "b-kind", "", "gke-1", "", "namespaced before cluster"),
        (own, "a-kind", "", "prem-1", "", "the name that sorts first"),
        (wide, "claims-labels", labels, "eks-1", "", "labels before a kind"),
        (wide, "claims-name", ", name: web", "gke-1", "", "a name before labels"),
        (own, "urgent", "", "prem-1", "  priority: 7", "priority before all else"),
    ];
    for (kind, name, selector, cluster, more, rule) in steps {
        kubectl.apply(&to(kind, name, selector, cluster, more)).await;
        let args = ["placement", "deployment-web", "-n", "claims"];
        fleet
            .shows(rule, &args, |it| seen(it["spec"]["policyRef"]["name"] == name, &it["spec"]))
            .await;
        fleet.placed("claims", "deployment-web", cluster).await;
    }
    let why = fleet.hub.archipel_ok(&["why", "deploy/web", "-n", "claims"]).await;
    assert!(why.contains("claimed by PlacementPolicy claims/urgent"), "{why}");
    for loser in ["claims/a-kind", "claims/b-kind", "claims-name", "claims-labels", "claims-wide"] {
        assert!(why.contains("also matched by") && why.contains(loser), "{loser}: {why}");
    }
    fleet
        .shows("who shadows it", &["placementpolicy", "b-kind", "-n", "claims"], |it| {
            let status = &it["status"];
            seen(
                status["matched"] == 1
                    && status["placed"] == 0
                    && status["shadowed"]["PlacementPolicy claims/urgent"] == 1,
                status,
            )
        })
        .await;
    // It is computed, not remembered: once the winner is gone the next one decides.
    kubectl.ok(["delete", "placementpolicy", "urgent", "-n", "claims"]).await;
    fleet.placed("claims", "deployment-web", "gke-1").await;
    let template = fleet.get(&["deploy", "web", "-n", "claims"]).await.unwrap();
    assert!(!template.to_string().contains("claims-name"), "templates are not written for it");
    kubectl
        .ok(["delete", "clusterplacementpolicy", "claims-wide", "claims-labels", "claims-name"])
        .await;
    fleet.end("claims").await;
}

pub(super) async fn sets_serve_their_namespaces_and_rights_need_federate(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("tenant").await;
    kubectl
        .apply("{apiVersion: archipel.dev/v1alpha1, kind: ClusterSet, metadata: {name: others}, spec: {labelSelector: {matchLabels: {tier: edge}}, namespaces: [somebody-else]}}")
        .await;
    kubectl.apply(&policy("tenant", "web", "  affinities: [{clusters: {sets: [others]}}]")).await;
    kubectl.apply(&deployment("tenant", "web", 1)).await;
    let args = ["placement", "deployment-web", "-n", "tenant"];
    fleet.shows("no set for it", &args, |it| placed_is(it, "False", "NoClusterFits")).await;
    let why =
        fleet.hub.archipel_ok(&["why", "deploy/web", "-n", "tenant", "--not", "prem-1"]).await;
    assert!(why.contains("ClusterSet"), "{why}");
    kubectl
        .ok([
            "patch",
            "clusterset",
            "others",
            "--type=merge",
            "-p",
            r#"{"spec":{"namespaces":["tenant"]}}"#,
        ])
        .await;
    fleet.placed("tenant", "deployment-web", "prem-1").await;

    // Someone who may write policies and roles, and not send roles to other clusters.
    kubectl
        .apply(
            r#"
{apiVersion: v1, kind: ServiceAccount, metadata: {name: author, namespace: tenant}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: author, namespace: tenant}
rules:
- {apiGroups: [archipel.dev], resources: [placementpolicies], verbs: ["*"]}
- {apiGroups: [""], resources: [configmaps], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: author, namespace: tenant}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: author}
subjects: [{kind: ServiceAccount, name: author, namespace: tenant}]
"#,
        )
        .await;
    let roles = policy("tenant", "roles", "").replace(
        "{apiVersion: apps/v1, kind: Deployment, name: roles}",
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, name: reader}",
    );
    let as_author = ["apply", "-f", "-", "--as=system:serviceaccount:tenant:author"];
    let refused = kubectl.run_with(&roles, as_author).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("federate"), "{refused:?}");
    let taken = kubectl.run_with(&policy("tenant", "mine", ""), as_author).await;
    assert!(taken.success(), "{taken:?}");
    kubectl.apply(&roles).await;
    kubectl.ok(["create", "role", "reader", "--verb=get", "--resource=pods", "-n", "tenant"]).await;
    fleet.placed("tenant", "role-reader", "eks-1 gke-1 prem-1").await;
    fleet.arrives("eks-1", &["role", "reader", "-n", "tenant"]).await;
    kubectl.ok(["delete", "clusterset", "others"]).await;
    fleet.end("tenant").await;
}

pub(super) async fn objects_without_a_namespace_are_claimed_by_cluster_policies_only(
    fleet: &mut Fleet,
) {
    let kubectl = fleet.kubectl();
    fleet.begin("scope").await;
    let class = "apiVersion: scheduling.k8s.io/v1, kind: PriorityClass";
    // A namespaced policy selects its own namespace only.
    let namespaced = policy("scope", "classes", "")
        .replace("{apiVersion: apps/v1, kind: Deployment, name: classes}", &format!("{{{class}}}"));
    let refused = kubectl.run_with(&namespaced, ["apply", "-f", "-"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("a PriorityClass has no namespace"), "{refused:?}");
    let object = format!("{{{class}, metadata: {{name: scope-high}}, value: 1000}}");
    kubectl.apply(&object).await;
    let name = "priorityclass-scope-high";
    assert!(fleet.get(&["clusterplacement", name]).await.is_none());
    kubectl
        .apply(&format!(
            "apiVersion: archipel.dev/v1alpha1\nkind: ClusterPlacementPolicy\nmetadata: {{name: scope}}\nspec:\n  \
             selectors: [{{{class}, name: scope-high}}]\n  affinities: [{{clusters: {{names: [eks-1, prem-1]}}}}]\n"
        ))
        .await;
    let placed = fleet
        .shows("the ClusterPlacement", &["clusterplacement", name], |it| {
            seen(it["status"]["summary"]["ready"] == 2, &json!([it["spec"], it["status"]]))
        })
        .await;
    assert_eq!(clusters(&placed), "eks-1 prem-1");
    let copy = fleet.arrives("prem-1", &["priorityclass", "scope-high"]).await;
    assert_eq!(copy["value"], 1000);
    assert!(get(&fleet.on("gke-1"), &["priorityclass", "scope-high"]).await.is_none());
    let status = fleet.hub.archipel_ok(&["status"]).await;
    assert!(status.contains("PriorityClass/scope-high"), "{status}");
    kubectl.ok(["delete", "priorityclass", "scope-high", "--timeout=60s"]).await;
    for member in ["eks-1", "prem-1"] {
        fleet.leaves(member, &["priorityclass", "scope-high"]).await;
    }
    kubectl.ok(["delete", "clusterplacementpolicy", "scope"]).await;
    fleet.end("scope").await;
}
