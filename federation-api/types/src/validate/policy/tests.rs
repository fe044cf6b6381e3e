use super::*;

fn fields(spec: serde_json::Value) -> Vec<String> {
    let mut spec = spec;
    if spec.get("selectors").is_none() {
        spec["selectors"] = serde_json::json!([{"apiVersion": "apps/v1", "kind": "Deployment"}]);
    }
    let spec = serde_json::from_value(spec).unwrap();
    placement_policy(&spec).into_iter().map(|it| it.field).collect()
}

#[test]
fn rule_3_1_contradictions_visible_in_the_policy_alone_are_refused() {
    let check = |spec: serde_json::Value, expected: &[&str]| {
        assert_eq!(fields(spec.clone()), expected, "{spec}");
    };
    check(serde_json::json!({}), &[]);
    check(
        serde_json::json!({"spread": [{"topologyKey": "cluster", "min": 3, "max": 2}]}),
        &["spec.spread[0].min"],
    );
    check(
        serde_json::json!({
            "spread": [{"topologyKey": "zone", "maxSkew": 1}],
            "replicas": {"mode": "Divided", "division": "Packed"}
        }),
        &["spec.spread[0].maxSkew"],
    );
    check(
        serde_json::json!({"replicas": {"mode": "Duplicated", "division": "Room"}}),
        &["spec.replicas.division"],
    );
    check(
        serde_json::json!({"affinities": [{"clusters": {"names": ["a"], "exclude": ["a"]}}]}),
        &["spec.affinities[0].clusters.exclude"],
    );
    check(serde_json::json!({"failover": {"after": "5 minutes"}}), &["spec.failover.after"]);
    check(serde_json::json!({"budget": {"maxMonthlyUsd": "lots"}}), &["spec.budget.maxMonthlyUsd"]);
}

#[test]
fn rule_2_4_a_selector_of_secrets_needs_a_name_or_labels() {
    let secrets = |more: serde_json::Value| {
        let mut selector = serde_json::json!({"apiVersion": "v1", "kind": "Secret"});
        selector.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields(serde_json::json!({"selectors": [selector]}))
    };
    assert_eq!(secrets(serde_json::json!({})), ["spec.selectors[0]"]);
    assert!(secrets(serde_json::json!({"name": "web-tls"})).is_empty());
}

#[test]
fn rule_2_4_our_own_kinds_are_never_templates() {
    let spec = serde_json::json!({"selectors": [
        {"apiVersion": "archipel.dev/v1alpha1", "kind": "PlacementPolicy"}
    ]});
    assert_eq!(fields(spec), ["spec.selectors[0].apiVersion"]);
}

#[test]
fn rule_3_1_fewer_clusters_than_domains_cannot_be() {
    let spread = |max: u32, wish: bool| {
        let when = if wish { "ScheduleAnyway" } else { "DoNotSchedule" };
        serde_json::json!({"spread": [
            {"topologyKey": "cluster", "max": max},
            {"topologyKey": "provider", "min": 3, "whenUnsatisfiable": when}
        ]})
    };
    assert_eq!(fields(spread(1, false)), ["spec.spread[1].min"]);
    assert!(fields(spread(3, false)).is_empty());
    assert!(fields(spread(1, true)).is_empty());
}

#[test]
fn rule_2_1_a_namespaced_policy_selects_no_kind_without_a_namespace() {
    let select = |api: &str, kind: &str| {
        fields(serde_json::json!({"selectors": [{"apiVersion": api, "kind": kind}]}))
    };
    assert_eq!(select("v1", "Namespace"), ["spec.selectors[0].kind"]);
    assert_eq!(select("storage.k8s.io/v1", "StorageClass"), ["spec.selectors[0].kind"]);
    assert!(select("v1", "ConfigMap").is_empty());
    assert!(select("example.com/v1", "Namespace").is_empty());
}

#[test]
fn rule_2_2_a_policy_and_its_own_limits_agree() {
    let fields = |spec: serde_json::Value| -> Vec<String> {
        let mut all = serde_json::json!({
            "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
            "spread": [{"topologyKey": "region", "min": 3}],
            "replicas": {"mode": "Divided", "minPerCluster": 2},
            "residency": {"jurisdictions": ["EU"]},
        });
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let spec = serde_json::from_value(all).unwrap();
        cluster_placement_policy(&spec).into_iter().map(|it| it.field).collect()
    };
    let limits = serde_json::json!({"maxClusters": 2, "maxReplicas": 5, "jurisdictions": ["US"]});
    assert_eq!(
        fields(serde_json::json!({"limits": limits})),
        ["spec.limits.maxClusters", "spec.limits.maxReplicas", "spec.limits.jurisdictions"]
    );
    assert!(fields(serde_json::json!({"limits": limits, "limitsOnly": true})).is_empty());
    assert!(fields(serde_json::json!({"limits": {"maxClusters": 3}})).is_empty());
}

#[test]
fn parts_of_a_policy_that_do_not_go_together_are_refused() {
    let check = |spec: serde_json::Value, expected: &[&str]| {
        assert_eq!(fields(spec.clone()), expected, "{spec}");
    };
    let toleration = |effect: &str, seconds: i64| {
        serde_json::json!({"tolerations": [
            {"key": "a", "operator": "Exists", "effect": effect, "tolerationSeconds": seconds}
        ]})
    };
    check(toleration("NoExecute", 60), &[]);
    check(toleration("NoSchedule", 60), &["spec.tolerations[0].tolerationSeconds"]);
    check(toleration("NoExecute", -1), &["spec.tolerations[0].tolerationSeconds"]);
    let group = serde_json::json!({"clusters": {"names": ["a"]}, "overflow": "Allow"});
    check(serde_json::json!({"affinities": [group, {}]}), &[]);
    check(serde_json::json!({"affinities": [group]}), &["spec.affinities[0].overflow"]);
    check(
        serde_json::json!({"affinities": [group, {}], "replicas": {"mode": "Duplicated"}}),
        &["spec.affinities[0].overflow"],
    );
    let term = serde_json::json!({"labelSelector": {}, "topologyKey": ""});
    check(
        serde_json::json!({"workloadAffinity": [term]}),
        &["spec.workloadAffinity[0].topologyKey", "spec.workloadAffinity[0].labelSelector"],
    );
}

#[test]
fn slips_of_the_pen_are_refused_where_they_stand() {
    let check = |spec: serde_json::Value, expected: &[&str]| {
        assert_eq!(fields(spec.clone()), expected, "{spec}");
    };
    let spread = |rule: serde_json::Value| serde_json::json!({"spread": [rule]});
    check(spread(serde_json::json!({"topologyKey": "a b"})), &["spec.spread[0].topologyKey"]);
    check(spread(serde_json::json!({"topologyKey": "a/b/c"})), &["spec.spread[0].topologyKey"]);
    check(spread(serde_json::json!({"topologyKey": "topology.kubernetes.io/zone"})), &[]);
    check(spread(serde_json::json!({"topologyKey": "zone", "min": 0})), &["spec.spread[0].min"]);
    let clusters =
        |part: &str, text: &str| serde_json::json!({"affinities": [{"clusters": {part: [text]}}]});
    for (part, bad, good) in [
        ("names", "EU West", "eks-*"),
        ("exclude", "", "*"),
        ("sets", "a*", "prod"),
        ("providers", "aws", "eks"),
        ("regions", "eu west", "eu-*"),
        ("zones", "", "eu-west-1a"),
    ] {
        let field = format!("spec.affinities[0].clusters.{part}[0]");
        check(clusters(part, bad), &[field.as_str()]);
        check(clusters(part, good), &[]);
    }
    let select = |api: &str, kind: &str, name: &str| serde_json::json!({"selectors": [{"apiVersion": api, "kind": kind, "name": name}]});
    check(select("apps/v1", "Deployment", "web-*"), &["spec.selectors[0].name"]);
    check(select("apps", "Deployment", ""), &["spec.selectors[0].apiVersion"]);
    check(select("apps/v1", "deployments", ""), &["spec.selectors[0].kind"]);
    let labels = serde_json::json!({"matchLabels": {"a b": "x"}, "matchExpressions": [
        {"key": "c", "operator": "In", "values": ["d e"]}
    ]});
    check(
        serde_json::json!({"selectors": [{"apiVersion": "v1", "kind": "ConfigMap", "labelSelector": labels}]}),
        &[
            "spec.selectors[0].labelSelector.matchLabels[a b]",
            "spec.selectors[0].labelSelector.matchExpressions[0].values[0]",
        ],
    );
    check(
        serde_json::json!({"tolerations": [{"key": "a b", "operator": "Exists"}]}),
        &["spec.tolerations[0].key"],
    );
    check(
        serde_json::json!({"residency": {"jurisdictions": [""]}}),
        &["spec.residency.jurisdictions[0]"],
    );
    check(serde_json::json!({"failover": {"after": "200000000000000d"}}), &["spec.failover.after"]);
    check(
        serde_json::json!({"failover": {"failback": {"mode": "Never", "stableFor": "5m"}}}),
        &["spec.failover.failback.stableFor"],
    );
    check(
        serde_json::json!({"near": [{"service": "a"}, {"service": "a"}]}),
        &["spec.near[1].service"],
    );
    check(serde_json::json!({"objectives": {"cost": 10_001}}), &["spec.objectives.cost"]);
    check(serde_json::json!({"rollout": {"strategyName": ""}}), &["spec.rollout.strategyName"]);
}
