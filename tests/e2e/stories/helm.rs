//! The stock helm with a stock chart: one release on the hub, pods in three clusters.

use federation_tests::{Helm, wait};
use serde_json::Value;

use crate::fleet::{Fleet, SOON, list, seen};

pub(super) async fn install_upgrade_rollback_uninstall(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    let helm = Helm::new(&fleet.hub.kubeconfig()).unwrap();
    fleet.begin("charts").await;
    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: ClusterPlacementPolicy
metadata: {name: charts}
spec:
  selectors:
  - {apiVersion: apps/v1, kind: Deployment}
  - {apiVersion: v1, kind: Service}
  - {apiVersion: v1, kind: ServiceAccount}
  replicas: {mode: Duplicated}
"#,
        )
        .await;
    let chart = fleet.hub.dir().join("hello");
    let chart = chart.to_str().unwrap();
    helm.ok(["create", chart]).await;
    helm.ok(["install", "hello", chart, "-n", "charts", "--wait", "--timeout", "90s"]).await;
    pods_run(fleet, 1).await;
    for placement in ["deployment-hello", "service-hello", "serviceaccount-hello"] {
        fleet.placed("charts", placement, "eks-1 gke-1 prem-1").await;
    }

    helm.ok([
        "upgrade",
        "hello",
        chart,
        "-n",
        "charts",
        "--set",
        "replicaCount=3",
        "--set",
        "image.tag=2.0",
        "--wait",
        "--timeout",
        "90s",
    ])
    .await;
    pods_run(fleet, 3).await;
    image(fleet, ":2.0").await;
    helm.ok(["rollback", "hello", "1", "-n", "charts", "--wait", "--timeout", "90s"]).await;
    pods_run(fleet, 1).await;
    let first = image(fleet, "").await;
    assert!(!first.contains(":2.0"), "{first}");
    let history = helm.ok(["history", "hello", "-n", "charts"]).await;
    assert!(history.contains("Rollback to 1"), "{history}");
    let listed = helm.ok(["list", "-n", "charts"]).await;
    assert!(listed.contains("deployed"), "{listed}");

    // Releases are the hub's own affair, and so is the namespace's account.
    for member in &fleet.members {
        let on = fleet.on(member.name());
        let ours =
            list(&on, &["deploy,svc,sa,secret,cm", "-n", "charts", "-l", "archipel.dev/managed"])
                .await;
        let mut kinds: Vec<&str> = ours.iter().filter_map(|it| it["kind"].as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["Deployment", "Service", "ServiceAccount"], "{}", member.name());
        assert_eq!(
            list(&on, &["secrets", "-n", "charts"]).await,
            [] as [Value; 0],
            "{}",
            member.name()
        );
    }

    helm.ok(["uninstall", "hello", "-n", "charts", "--wait", "--timeout", "90s"]).await;
    for member in ["eks-1", "gke-1", "prem-1"] {
        for object in ["deploy", "svc", "sa"] {
            fleet.leaves(member, &[object, "hello", "-n", "charts"]).await;
        }
    }
    kubectl.ok(["delete", "clusterplacementpolicy", "charts"]).await;
    fleet.end("charts").await;
}

/// Waits until so many pods of the release run in each member.
async fn pods_run(fleet: &Fleet, n: usize) {
    for member in &fleet.members {
        let on = fleet.on(member.name());
        wait::until(&format!("{n} pods in {}", member.name()), SOON, async || {
            let pods =
                list(&on, &["pods", "-n", "charts", "-l", "app.kubernetes.io/instance=hello"])
                    .await;
            let phases: Vec<&Value> = pods
                .iter()
                .filter(|it| it["metadata"]["deletionTimestamp"].is_null())
                .map(|it| &it["status"]["phase"])
                .collect();
            if phases.len() == n && phases.iter().all(|it| **it == "Running") {
                Ok(())
            } else {
                Err(format!("{phases:?}"))
            }
        })
        .await;
    }
}

/// Waits until the image in every member ends so; returns the last.
async fn image(fleet: &Fleet, end: &str) -> String {
    let mut image = String::new();
    for member in &fleet.members {
        let found = fleet
            .member_shows(member.name(), "the image", &["deploy", "hello", "-n", "charts"], |it| {
                let image = &it["spec"]["template"]["spec"]["containers"][0]["image"];
                seen(image.as_str().is_some_and(|it| it.ends_with(end)), image)
            })
            .await;
        image = found["spec"]["template"]["spec"]["containers"][0]["image"].to_string();
    }
    image
}
