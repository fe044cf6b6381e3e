use super::*;
use crate::scenario::documents;

/// `code field` of everything found in a text.
fn found(text: &str) -> Vec<String> {
    let documents = documents(text).unwrap();
    let all: Vec<_> = documents.iter().collect();
    let findings = lint(&all);
    assert!(
        findings.iter().all(|it| !it.message.is_empty() && !it.advice.is_empty()),
        "{findings:?}"
    );
    findings.iter().map(|it| format!("{} {} {}", it.severity, it.code, it.field)).collect()
}

/// A policy of Deployments on the clusters of one region, with more in its spec.
fn policy(more: &str) -> Vec<String> {
    found(&format!(
        "kind: PlacementPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n  selectors: [{{apiVersion: apps/v1, kind: Deployment}}]\n  {}\n",
        more.replace('\n', "\n  ")
    ))
}

/// Without the code: what the hub refuses by itself is told once, as `Invalid`.
fn plain(found: Vec<String>) -> Vec<String> {
    let field = |it: String| {
        let words: Vec<&str> = it.split(' ').collect();
        format!("{} {}", words[0], words[2])
    };
    found.into_iter().map(field).collect()
}

const EU: &str = "affinities: [{clusters: {regions: [\"eu-*\"]}}]\n";

#[test]
fn a_sound_policy_has_no_findings() {
    assert_eq!(policy(EU), [""; 0]);
    assert_eq!(policy(""), ["info EveryCluster spec.affinities"]);
}

#[test]
fn what_the_hub_refuses_is_an_error() {
    let check = |more: &str, expected: &str| assert_eq!(policy(&format!("{EU}{more}")), [expected]);
    check("spred: []", "error UnknownField spec.spred");
    check("replicas: {mode: Halved}", "error Invalid spec.replicas.mode");
    check(
        "replicas: {mode: Divided, division: Room, weights: [{clusters: {}, weight: 1}]}",
        "error Invalid spec.replicas.weights",
    );
    check("spread: [{topologyKey: zone, min: 3, max: 2}]", "error Invalid spec.spread[0].min");
    check("budget: {maxMonthlyUsd: lots}", "error Invalid spec.budget.maxMonthlyUsd");
    assert_eq!(
        found("apiVersion: archipel.dev/v1alpha1\nkind: PlacementPolice\nmetadata: {name: p}"),
        [""; 0]
    );
    assert_eq!(found("kind: SpreadPolicy\nmetadata: {name: p}"), ["error Invalid kind"]);
    assert_eq!(
        policy("affinities: [{clusters: {expressions: [\"cluster.minor >=\"]}}]"),
        ["error Invalid spec.affinities[0].clusters.expressions[0]"]
    );
}

#[test]
fn what_selects_nothing_is_told() {
    let check = |clusters: &str, part: &str| {
        assert_eq!(
            policy(&format!("affinities: [{{clusters: {clusters}}}]")),
            [format!("error SelectsNothing spec.affinities[0].clusters.{part}")]
        );
    };
    check("{names: [a-1], exclude: [\"a-*\"]}", "exclude");
    check("{exclude: [\"*\"]}", "exclude");
    assert_eq!(
        policy("affinities: [{clusters: {providers: [aws]}}]"),
        ["error Invalid spec.affinities[0].clusters.providers[0]"]
    );
    check("{expressions: [\"false\"]}", "expressions");
    check(
        "{labelSelector: {matchLabels: {a: x}, matchExpressions: [{key: a, operator: NotIn, values: [x]}]}}",
        "labelSelector",
    );
    check(
        "{labelSelector: {matchExpressions: [{key: a, operator: In, values: [x]}, {key: a, operator: NotIn, values: [x]}]}}",
        "labelSelector",
    );
    check(
        "{labelSelector: {matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]}}",
        "labelSelector",
    );
}

#[test]
fn a_group_behind_a_wider_one_is_never_reached() {
    let check = |groups: &str, expected: &[&str]| {
        assert_eq!(policy(&format!("affinities: {groups}")), expected);
    };
    let unreachable = ["warning UnreachableGroup spec.affinities[1]"];
    check("[{name: a}, {name: b, clusters: {providers: [eks]}}]", &unreachable);
    check(
        "[{clusters: {regions: [\"eu-*\"]}}, {clusters: {regions: [eu-west-1], providers: [eks]}}]",
        &unreachable,
    );
    check("[{clusters: {regions: [eu-west-1]}}, {clusters: {regions: [\"eu-*\"]}}]", &[]);
    check("[{clusters: {providers: [eks], exclude: [x]}}, {clusters: {providers: [eks]}}]", &[]);
}

#[test]
fn a_spread_that_contradicts_itself_is_an_error() {
    let check = |spread: &str, expected: &[&str]| {
        assert_eq!(plain(policy(&format!("{EU}spread: {spread}"))), expected);
    };
    let first = ["error spec.spread[0].min"];
    check("[{topologyKey: region, min: 3}, {topologyKey: cluster, max: 2}]", &first);
    check("[{topologyKey: rack, min: 3}, {topologyKey: cluster, max: 2}]", &first);
    check("[{topologyKey: provider, min: 3}, {topologyKey: region, max: 2}]", &first);
    check("[{topologyKey: region, min: 2}, {topologyKey: cluster, max: 2}]", &[]);
    check(
        "[{topologyKey: region, min: 3, whenUnsatisfiable: ScheduleAnyway}, {topologyKey: cluster, max: 2}]",
        &[],
    );
    check("[{topologyKey: zone}]", &["warning spec.spread[0]"]);
    assert_eq!(
        plain(policy(
            "affinities: [{clusters: {providers: [eks]}}, {clusters: {providers: [gke]}}]\nspread: [{topologyKey: provider, min: 2}]"
        )),
        first
    );
}

#[test]
fn what_has_no_effect_is_told() {
    let check = |more: &str, field: &str| {
        assert_eq!(policy(&format!("{EU}{more}")), [format!("warning NoEffect {field}")]);
    };
    check(
        "replicas: {mode: Duplicated, weights: [{clusters: {}, weight: 2}]}",
        "spec.replicas.weights",
    );
    check("replicas: {mode: Duplicated, partial: Allow}", "spec.replicas.partial");
    check(
        "replicas: {mode: Duplicated}\nspread: [{topologyKey: zone, maxSkew: 1}]",
        "spec.spread[0].maxSkew",
    );
    assert_eq!(
        found(
            "kind: ClusterPlacementPolicy\nmetadata: {name: p}\nspec: {limitsOnly: true, limits: {maxClusters: 3}, selectors: [{apiVersion: apps/v1, kind: Deployment}], replicas: {mode: Divided}}"
        ),
        ["warning NoEffect spec"]
    );
}

#[test]
fn rule_2_1_a_policy_that_never_claims_is_told() {
    let one = |name: &str, more: &str| {
        format!(
            "kind: PlacementPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{affinities: [{{clusters: {{providers: [eks]}}}}], {more}}}\n"
        )
    };
    let check = |a: &str, b: &str, expected: &[&str]| {
        assert_eq!(found(&format!("{}---\n{}", one("a", a), one("b", b))), expected, "{a} {b}");
    };
    let kind = "selectors: [{apiVersion: apps/v1, kind: Deployment}]";
    let named = "selectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]";
    let shadowed = ["warning Shadowed spec.selectors"];
    check(kind, kind, &shadowed);
    check(kind, named, &[]);
    check(&format!("{kind}, priority: 5"), named, &shadowed);
    check(named, kind, &[]);
}

#[test]
fn members_and_templates_beside_the_policy_are_looked_at() {
    let members = "---\nkind: MemberCluster\nmetadata: {name: a, labels: {tier: dev}}\nspec: {provider: eks, region: eu-west-1}\n";
    let one = |more: &str, rest: &str| {
        found(&format!(
            "kind: PlacementPolicy\nmetadata: {{name: p, namespace: shop}}\nspec: {{selectors: [{{apiVersion: apps/v1, kind: Deployment}}], {more}}}\n{members}{rest}"
        ))
    };
    assert_eq!(
        one("affinities: [{clusters: {labelSelector: {matchLabels: {tier: prod}}}}]", ""),
        ["warning SelectsNoMember spec.affinities[0].clusters"]
    );
    assert_eq!(
        one("affinities: [{clusters: {expressions: [\"cluster.region.startsWith('eu-')\"]}}]", ""),
        [""; 0]
    );
    let web = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 3}\n";
    assert_eq!(
        one(
            "affinities: [{clusters: {providers: [eks]}}], spread: [{topologyKey: cluster, min: 2}], replicas: {minPerCluster: 2}",
            web
        ),
        ["error TooFewReplicas spec.replicas.minPerCluster"]
    );
    assert_eq!(
        one(
            "affinities: [{clusters: {providers: [eks]}}], replicas: {mode: Divided, division: Cheapest}",
            web
        ),
        ["warning NoRequests spec.replicas.division"]
    );
}
