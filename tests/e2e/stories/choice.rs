//! Which clusters, and how many of them: spread, room, limits and money (RULES 2.2, 3.1, 3.3, 5.5).

use federation_types::quantity;
use serde_json::{Value, json};

use crate::fleet::{Fleet, clusters, deployment, placed_is, policy, replicas, seen};

/// A pod of this takes most of a node: three clusters have nine nodes.
const BIG: &str = "12Gi";

/// A limit on one Deployment of one namespace.
fn limit(name: &str, namespace: &str, limits: &str) -> String {
    format!(
        r#"
apiVersion: archipel.dev/v1alpha1
kind: ClusterPlacementPolicy
metadata: {{name: {namespace}-{name}}}
spec:
  selectors: [{{apiVersion: apps/v1, kind: Deployment, name: {name}}}]
  namespaces: [{namespace}]
  limitsOnly: true
  limits: {limits}
---
"#
    )
}

async fn placement(fleet: &Fleet, namespace: &str, name: &str) -> Value {
    let name = format!("deployment-{name}");
    fleet.get(&["placement", &name, "-n", namespace]).await.expect("it was waited for")
}

/// Waits until a Deployment is not placed as it should be, for this reason; returns what is said.
async fn refused(fleet: &Fleet, namespace: &str, name: &str, reason: &str) -> String {
    let name = format!("deployment-{name}");
    let found = fleet
        .shows(&format!("{reason} of {name}"), &["placement", &name, "-n", namespace], |it| {
            placed_is(it, "False", reason)
        })
        .await;
    found["spec"]["outcome"]["message"].as_str().unwrap_or_default().to_owned()
}

pub(super) async fn spread_over_zones_regions_and_labels(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("spread").await;
    let divided = "  replicas: {mode: Divided}\n  spread:";
    let cases = [
        ("zones", 6, format!("{divided} [{{topologyKey: zone, min: 3, maxSkew: 1}}]")),
        ("regions", 6, format!("{divided} [{{topologyKey: region, min: 2, max: 2, maxSkew: 1}}]")),
        ("tiers", 6, format!("{divided} [{{topologyKey: tier, min: 2, max: 2, maxSkew: 1}}]")),
        ("one-tier", 1, "  spread: [{topologyKey: tier, max: 1}]".to_owned()),
        ("four", 1, "  spread: [{topologyKey: region, min: 4}]".to_owned()),
        (
            "four-if-any",
            1,
            "  spread: [{topologyKey: region, min: 4, whenUnsatisfiable: ScheduleAnyway}]"
                .to_owned(),
        ),
        ("laneless", 1, "  spread: [{topologyKey: lane, min: 1}]".to_owned()),
    ];
    kubectl.ok(["label", "membercluster", "gke-1", "lane=slow"]).await;
    for (name, count, rest) in &cases {
        kubectl.apply(&policy("spread", name, rest)).await;
        kubectl.apply(&deployment("spread", name, *count)).await;
    }
    fleet.placed("spread", "deployment-zones", "eks-1=2 gke-1=2 prem-1=2").await;
    fleet.placed("spread", "deployment-four-if-any", "eks-1 gke-1 prem-1").await;
    fleet.placed("spread", "deployment-laneless", "gke-1").await;
    let why =
        fleet.hub.archipel_ok(&["why", "deploy/laneless", "-n", "spread", "--not", "eks-1"]).await;
    assert!(why.contains("Spread") && why.contains("lane"), "{why}");
    let message = refused(fleet, "spread", "four", "NoClusterFits").await;
    assert!(
        message.contains("region") && message.contains('4') && message.contains('3'),
        "{message}"
    );
    for name in ["regions", "tiers", "one-tier"] {
        let args = ["placement", &format!("deployment-{name}"), "-n", "spread"];
        fleet.shows(&format!("{name} ready"), &args, |it| placed_is(it, "True", "Placed")).await;
    }
    let regions = replicas(&placement(fleet, "spread", "regions").await);
    assert_eq!(regions.values().collect::<Vec<_>>(), [&3, &3], "two regions: {regions:?}");
    let tiers = replicas(&placement(fleet, "spread", "tiers").await);
    assert_eq!(tiers.get("prem-1"), Some(&3), "half of them in the tier of one cluster: {tiers:?}");
    assert_eq!(tiers.values().sum::<u64>(), 6, "{tiers:?}");
    let one = clusters(&placement(fleet, "spread", "one-tier").await);
    assert!(["eks-1 gke-1", "prem-1"].contains(&one.as_str()), "clusters of one tier: {one}");
    kubectl.ok(["label", "membercluster", "gke-1", "lane-"]).await;
    fleet.end("spread").await;
}

pub(super) async fn room_is_counted_by_node_and_growth_waits_for_it(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("room").await;
    let big = |name: &str, count: u32, memory: &str| {
        deployment("room", name, count).replace("256Mi", memory)
    };
    let by_room = "  replicas: {mode: Divided, division: Room}";
    for name in ["huge", "late"] {
        kubectl.apply(&policy("room", name, by_room)).await;
    }
    let partial = "  replicas: {mode: Divided, division: Room, partial: Allow}";
    kubectl.apply(&policy("room", "big", by_room)).await;
    // Three nodes of 16 Gi are 48 in all, and yet none has 20.
    kubectl.apply(&big("huge", 1, "20Gi")).await;
    refused(fleet, "room", "huge", "NotEnoughRoom").await;
    let why = fleet.hub.archipel_ok(&["why", "deploy/huge", "-n", "room", "--not", "eks-1"]).await;
    assert!(why.contains("Room") && why.contains("20Gi"), "{why}");
    // One a node, and one more than there are nodes: nothing, or what fits.
    kubectl.apply(&big("big", 10, BIG)).await;
    let message = refused(fleet, "room", "big", "NotEnoughRoom").await;
    assert!(message.contains('1'), "the number that finds no room is named: {message}");
    assert_eq!(clusters(&placement(fleet, "room", "big").await), "");
    kubectl.apply(&policy("room", "big", partial)).await;
    fleet.placed("room", "deployment-big", "eks-1=3 gke-1=3 prem-1=3").await;
    for member in ["eks-1", "gke-1", "prem-1"] {
        fleet.shows("no room left", &["membercluster", member], full).await;
    }
    // What comes later waits, and is placed as soon as something goes.
    kubectl.apply(&big("late", 1, BIG)).await;
    refused(fleet, "room", "late", "NotEnoughRoom").await;
    kubectl.ok(["scale", "deploy/big", "-n", "room", "--replicas=8"]).await;
    let args = ["placement", "deployment-late", "-n", "room"];
    let late = fleet
        .shows("room for what waited", &args, |it| {
            seen(it["status"]["summary"]["ready"] == 1, &json!([it["spec"], it["status"]]))
        })
        .await;
    assert_eq!(replicas(&late).values().sum::<u64>(), 1);
    let left = replicas(&placement(fleet, "room", "big").await);
    assert_eq!(left.values().sum::<u64>(), 8, "{left:?}");
    fleet.end("room").await;
}

/// Whether no node has room for one more of the big pods, by what the member reports: small pods of others may stand on
/// a node that is free otherwise.
fn full(member: &Value) -> Result<(), String> {
    let shapes = member["status"]["shapes"].as_array();
    let groups = shapes.into_iter().flatten().flat_map(|it| it["free"].as_array()).flatten();
    let free: Vec<_> = groups.map(|it| it["memory"].as_str().and_then(quantity::millis)).collect();
    let full = !free.is_empty() && free.iter().all(|it| *it < quantity::millis(BIG));
    seen(full, &member["status"]["shapes"])
}

pub(super) async fn budgets_of_money_hold_growth_back(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("money").await;
    let cheapest = "  affinities: [{clusters: {names: [eks-1, gke-1]}}]\n  replicas: {mode: Divided, division: Cheapest}";
    let poor = format!("{cheapest}\n  budget: {{maxMonthlyUsd: \"0.01\"}}");
    kubectl.apply(&policy("money", "poor", &poor)).await;
    kubectl.apply(&policy("money", "web", cheapest)).await;
    kubectl.apply(&deployment("money", "poor", 1)).await;
    kubectl.apply(&deployment("money", "web", 2)).await;
    let message = refused(fleet, "money", "poor", "OverCostBudget").await;
    assert!(message.contains("$0.01"), "the budget is named: {message}");
    assert_eq!(clusters(&placement(fleet, "money", "poor").await), "");
    let args = ["placement", "deployment-web", "-n", "money"];
    let before = fleet
        .shows("web ready", &args, |it| seen(it["status"]["summary"]["readyReplicas"] == 2, it))
        .await;
    // A limit that is below what runs takes nothing away, and lets nothing grow.
    kubectl.apply(&limit("web", "money", "{maxMonthlyUsd: \"0.01\"}")).await;
    kubectl.ok(["scale", "deploy/web", "-n", "money", "--replicas=4"]).await;
    let message = refused(fleet, "money", "web", "OverCostBudget").await;
    assert!(message.contains("money-web"), "the policy behind the limit is named: {message}");
    let held = placement(fleet, "money", "web").await;
    assert_eq!(replicas(&held), replicas(&before), "{}", held["spec"]);
    let status = fleet.hub.archipel_ok(&["status", "-n", "money"]).await;
    assert!(status.contains("OverCostBudget"), "{status}");
    // More money, more replicas.
    kubectl.apply(&limit("web", "money", "{maxMonthlyUsd: \"100000\"}")).await;
    fleet
        .shows("web grown", &args, |it| seen(it["status"]["summary"]["readyReplicas"] == 4, it))
        .await;
    kubectl.apply(&policy("money", "poor", cheapest)).await;
    let args = ["placement", "deployment-poor", "-n", "money"];
    fleet.shows("poor placed", &args, |it| placed_is(it, "True", "Placed")).await;
    kubectl.ok(["delete", "clusterplacementpolicy", "money-web"]).await;
    fleet.end("money").await;
}

pub(super) async fn a_limit_on_tolerations_and_a_cluster_without_jurisdiction(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("limits").await;
    fleet
        .patch_member(
            "gke-1",
            &json!({"taints": [{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}]}),
        )
        .await;
    fleet.patch_member("prem-1", &json!({"jurisdiction": ""})).await;
    let bold = "  tolerations: [{operator: Exists}]";
    for name in ["bold", "batch"] {
        kubectl.apply(&policy("limits", name, bold)).await;
    }
    kubectl.apply(&limit("bold", "limits", "{tolerations: [spot]}")).await;
    kubectl.apply(&limit("batch", "limits", "{tolerations: [spot, dedicated]}")).await;
    kubectl
        .apply(&policy(
            "limits",
            "law",
            "  residency: {jurisdictions: [EU, CH]}\n  tolerations: [{operator: Exists}]",
        ))
        .await;
    for name in ["bold", "batch", "law"] {
        kubectl.apply(&deployment("limits", name, 1)).await;
    }
    fleet.placed("limits", "deployment-bold", "eks-1 prem-1").await;
    fleet.placed("limits", "deployment-batch", "eks-1 gke-1 prem-1").await;
    fleet.placed("limits", "deployment-law", "eks-1 gke-1").await;
    let why =
        fleet.hub.archipel_ok(&["why", "deploy/bold", "-n", "limits", "--not", "gke-1"]).await;
    assert!(why.contains("limits-bold"), "why names the policy behind the limit: {why}");
    let why =
        fleet.hub.archipel_ok(&["why", "deploy/law", "-n", "limits", "--not", "prem-1"]).await;
    assert!(why.contains("Residency"), "{why}");
    fleet.patch_member("gke-1", &json!({"taints": []})).await;
    fleet.patch_member("prem-1", &json!({"jurisdiction": "CH"})).await;
    kubectl.ok(["delete", "clusterplacementpolicy", "limits-bold", "limits-batch"]).await;
    fleet.end("limits").await;
}
