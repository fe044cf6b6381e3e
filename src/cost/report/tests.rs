use std::sync::Arc;

use federation_types::{
    cluster::{ClusterSet, MemberCluster},
    policy::ClusterPlacementPolicy,
    price::PriceBook,
};
use placement_engine::claim::Policy;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::cost::table;

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn member(name: &str, provider: &str, autoscaled: bool) -> MemberCluster {
    read(json!({
        "apiVersion": "archipel.dev/v1alpha1", "kind": "MemberCluster", "metadata": {"name": name},
        "spec": {"provider": provider, "region": "r", "accepted": true, "autoscaled": autoscaled},
        "status": {"apis": ["apps/v1/Deployment"], "shapes": [{
            "type": "large", "count": 2,
            "allocatable": {"cpu": "10", "memory": "10Gi", "pods": "100"},
            "free": [{"nodes": 2, "cpu": "10", "memory": "10Gi", "pods": "100"}],
        }]},
    }))
}

fn web() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 6, "template": {"spec": {"containers": [
            {"name": "a", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
        ]}}},
    })
}

/// Four replicas are meant for `a` and two for `b`; `a` runs three, and `c`, which is left, still two.
fn seen() -> Seen {
    let placement: Placement = read(json!({
        "apiVersion": "archipel.dev/v1alpha1", "kind": "Placement",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "template": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "generation": 1},
            "policyRef": {"kind": "ClusterPlacementPolicy", "name": "all"}, "divided": true,
            "clusters": [
                {"name": "a", "replicas": 4, "revision": "r"}, {"name": "b", "replicas": 2, "revision": "r"},
                {"name": "c", "replicas": 2, "revision": "r", "leaving": "Failover"},
            ],
        },
        "status": {"summary": {"clusters": 3, "ready": 2}, "clusters": [
            {"name": "a", "state": "Progressing", "replicas": 3, "revision": "r"},
            {"name": "b", "state": "Pending"},
            {"name": "c", "state": "Unreachable", "replicas": 2, "revision": "r", "stale": true},
        ]},
    }));
    let book: PriceBook = read(json!({
        "apiVersion": "archipel.dev/v1alpha1", "kind": "PriceBook", "metadata": {"name": "ours"},
        "spec": {
            "sample": true,
            "prices": [
                {"provider": "eks", "instanceType": "large", "onDemandUsdHour": "1", "asOf": "2026-11-01"},
                {"provider": "gke", "instanceType": "large", "onDemandUsdHour": "2", "asOf": "2026-11-01"},
            ],
            "commitments": [{"provider": "eks", "instanceType": "large", "nodes": 1}],
        },
    }));
    let policy: ClusterPlacementPolicy = read(json!({
        "apiVersion": "archipel.dev/v1alpha1", "kind": "ClusterPlacementPolicy", "metadata": {"name": "all"},
        "spec": {
            "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}], "replicas": {"mode": "Divided"},
        },
    }));
    let mut seen = Seen {
        members: vec![
            member("a", "eks", true),
            member("b", "gke", false),
            member("c", "gke", true),
        ],
        books: vec![book],
        sets: Vec::<ClusterSet>::new(),
        policies: vec![Arc::new(Policy::from(&policy))],
        placements: vec![placement],
        ..Seen::default()
    };
    seen.templates.insert(("Deployment".into(), "shop".into(), "web".into()), web());
    seen
}

fn shown(report: &Report) -> Vec<String> {
    let say = |it: &Row| {
        let (e, r) = (&it.estimate, &it.realised);
        format!(
            "{}: {} {} {} | {} {} {}",
            it.name, e.allocated, e.marginal, e.committed, r.allocated, r.marginal, r.committed
        )
    };
    report.rows.iter().chain([&report.total]).map(say).collect()
}

/// A replica is a tenth of a node: $73 a month on `a`, $146 on `b` and `c`.
#[test]
fn rule_5_6_the_estimate_stands_beside_what_is_realised() {
    let report = report(&seen(), By::Cluster, "2026-11-21T00:00:00Z");
    // Half of a's nodes are paid for in advance; b does not grow, and costs the same without it.
    let expected = [
        "a: $292.00 $146.00 $146.00 | $219.00 $109.50 $109.50",
        "b: $292.00 $0.00 $0.00 | $0.00 $0.00 $0.00",
        "c: $0.00 $0.00 $0.00 | $292.00 $292.00 $0.00",
        "total: $584.00 $146.00 $146.00 | $511.00 $401.50 $109.50",
    ];
    assert_eq!(shown(&report), expected);
    let notes = report.notes.join("\n");
    for said in [
        "sample prices",
        "without egress",
        "neither a history nor a bill",
        "1 copy does not answer",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
}

#[test]
fn it_adds_up_by_whatever_is_asked() {
    let names = |by| {
        let report = report(&seen(), by, "2026-11-21T00:00:00Z");
        let sum: Money = report.rows.iter().map(|it| it.estimate.allocated).sum();
        assert_eq!(sum, report.total.estimate.allocated);
        report.rows.iter().map(|it| it.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(By::Template), ["shop/Deployment/web"]);
    assert_eq!(names(By::Namespace), ["shop"]);
    assert_eq!(names(By::Policy), ["ClusterPlacementPolicy/all"]);
    assert_eq!(names(By::Provider), ["eks", "gke"]);
}

#[test]
fn rule_5_5_an_autoscalers_maximum_counts_in_the_estimate_and_not_in_what_runs() {
    let mut seen = seen();
    seen.templates.insert(
        ("HorizontalPodAutoscaler".into(), "shop".into(), "web".into()),
        json!({"spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 12,
        }}),
    );
    let report = report(&seen, By::Namespace, "2026-11-21T00:00:00Z");
    assert_eq!(report.total.estimate.allocated.to_string(), "$1168.00");
    assert_eq!(report.total.realised.allocated.to_string(), "$511.00");
}

#[test]
fn rule_5_5_an_unknown_price_makes_a_figure_a_lower_bound() {
    let mut seen = seen();
    seen.books[0].spec.prices.truncate(1);
    let report = report(&seen, By::Cluster, "2026-11-21T00:00:00Z");
    let text = table(&report, true).to_string();
    let line = |name: &str| text.lines().find(|it| it.starts_with(name)).unwrap().to_owned();
    assert!(line("a").contains("$292.00") && !line("a").contains("at least"), "{text}");
    assert!(line("b").contains("at least $0.00"), "{text}");
    assert!(line("total").contains("at least $292.00"), "{text}");
    let last: Vec<String> =
        line("total").split_whitespace().rev().take(2).map(str::to_owned).collect();
    assert_eq!(last, ["5/6", "2/2"], "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["total"]["estimate"]["atLeast"], true);
    assert_eq!(json["total"]["realised"]["monthlyUsd"], "219.00");
    assert_eq!(json["by"], "cluster");
}

#[test]
fn what_a_cluster_holds_that_the_inventory_no_longer_has_is_said() {
    let mut seen = seen();
    seen.members.remove(0);
    seen.hidden.push("Pod".into());
    let notes = report(&seen, By::Template, "2026-11-21T00:00:00Z").notes.join("\n");
    assert!(notes.contains("what a holds is left out") && notes.contains("may not list it: Pod"));
}
