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
fn rule_2_4_a_selector_of_what_is_never_a_template_is_told() {
    let check = |selector: &str, expected: &[&str]| {
        let spec = format!("spec:\n  selectors: [{selector}]\n  {EU}");
        let found = found(&format!(
            "kind: PlacementPolicy\nmetadata: {{name: p, namespace: shop}}\n{spec}"
        ));
        assert_eq!(found, expected, "{selector}");
    };
    let told = ["warning SelectsNothing spec.selectors[0]"];
    check("{apiVersion: v1, kind: Event}", &told);
    check("{apiVersion: apps/v1, kind: ControllerRevision}", &told);
    check("{apiVersion: v1, kind: ConfigMap, name: kube-root-ca.crt}", &told);
    check("{apiVersion: v1, kind: ConfigMap}", &[]);
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
        policy("affinities: [{clusters: {expressions: [\"cluster.minor >=\"]}}]"),
        ["error Invalid spec.affinities[0].clusters.expressions[0]"]
    );
}

#[test]
fn what_the_hub_serves_no_kind_or_version_of_is_an_error() {
    let check = |head: &str, expected: &[&str]| {
        assert_eq!(found(&format!("{head}\nmetadata: {{name: p}}")), expected, "{head}");
    };
    for kind in ["PlacementPolicyy", "CostBudgets", "PlacementPolice"] {
        let ours = format!("apiVersion: archipel.dev/v1alpha1\nkind: {kind}");
        check(&ours, &["error Invalid kind"]);
        check(&format!("kind: {kind}"), &["error Invalid apiVersion"]);
        check(&format!("apiVersion: example.com/v1\nkind: {kind}"), &[]);
    }
    for api in ["archipel.dev/v1", "archipel.dev"] {
        for kind in ["CostBudget", "Placement", "MemberCluster"] {
            check(&format!("apiVersion: {api}\nkind: {kind}"), &["error Invalid apiVersion"]);
        }
    }
    assert_eq!(found("kind: Deployment\nreplicas: 3"), [""; 0], "values of some other tool");
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
fn every_error_of_every_document_is_told_at_once() {
    assert_eq!(
        policy(&format!(
            "{EU}replicas: {{mode: Halved, minPerCluster: 3, maxPerCluster: 2}}\nspread: [{{topologyKey: zone, min: 3, max: 2}}, {{topologyKey: 7}}]\nspred: []\nbudget: {{maxMonthlyUsd: lots}}\nobjectives: {{scores: [{{name: a, usdPerPoint: x}}]}}"
        )),
        [
            "error Invalid spec.budget.maxMonthlyUsd",
            "error Invalid spec.objectives.scores[0].usdPerPoint",
            "error Invalid spec.replicas.minPerCluster",
            "error Invalid spec.replicas.mode",
            "error Invalid spec.spread[0].min",
            "error Invalid spec.spread[1].topologyKey",
            "error UnknownField spec.spred",
        ]
    );
    let broken = "kind: CostBudget\nmetadata: {name: b}\nspec: {maxMonthlyUsd: much, policies: [{}]}\n---\n\
        kind: ClusterScore\nmetadata: {name: s}\nspec: {cluster: \"\", validUntil: soon, scores: [{name: a, value: 1}, {name: a, value: 2}]}\n---\n\
        kind: ChangeBudget\nmetadata: {name: c}\nspec: {window: ever, removalPercent: 200}\n---\n\
        kind: PriceBook\nmetadata: {}\nspec: {maxAge: old, prices: [{provider: eks, instanceType: a, onDemandUsdHour: x}]}\n---\n\
        kind: ClusterOverridePolicy\nmetadata: {name: o}\nspec: {selectors: [{apiVersion: v1, kind: Secret}], rules: [{jsonPatch: [{op: add, path: spec}]}]}\n---\n\
        kind: MemberCluster\nmetadata: {name: m}\nspec: {provider: aws}\n";
    assert_eq!(
        found(broken),
        [
            "error Invalid spec.maxMonthlyUsd",
            "error Invalid spec.policies[0].name",
            "error Invalid spec.cluster",
            "error Invalid spec.scores[1].name",
            "error Invalid spec.validUntil",
            "error Invalid spec.removalPercent",
            "error Invalid spec.window",
            "error Invalid metadata.name",
            "error Invalid spec.maxAge",
            "error Invalid spec.prices[0].onDemandUsdHour",
            "error Invalid spec.rules[0].jsonPatch[0].path",
            "error Invalid spec.rules[0].jsonPatch[0].value",
            "error Invalid spec.selectors[0]",
            "error Invalid spec.provider",
        ]
    );
}

#[test]
fn a_budget_of_nothing_lets_nothing_start() {
    let check = |more: &str, expected: &[&str]| {
        assert_eq!(policy(&format!("{EU}{more}")), expected, "{more}");
    };
    check("budget: {maxMonthlyUsd: \"0\"}", &["warning NothingAllowed spec.budget.maxMonthlyUsd"]);
    check("budget: {maxMonthlyUsd: \"1\"}", &[]);
    let budget = |kind: &str, spec: &str| {
        found(&format!("kind: {kind}\nmetadata: {{name: b}}\nspec: {spec}\n"))
    };
    assert_eq!(
        budget("CostBudget", "{maxMonthlyUsd: \"0.00\", namespaces: [shop]}"),
        ["warning NothingAllowed spec.maxMonthlyUsd"]
    );
    assert_eq!(budget("CostBudget", "{maxMonthlyUsd: \"10\"}"), ["info EveryTemplate spec"]);
    assert_eq!(
        budget("ChangeBudget", "{minRemovals: 0, removalPercent: 0}"),
        ["warning NothingAllowed spec.minRemovals"]
    );
    assert_eq!(budget("ChangeBudget", "{}"), [""; 0]);
    assert_eq!(
        found(
            "kind: ClusterPlacementPolicy\nmetadata: {name: p}\nspec: {limitsOnly: true, limits: {maxMonthlyUsd: \"0\", clusters: {providers: [eks]}}, selectors: [{apiVersion: apps/v1, kind: Deployment}]}"
        ),
        ["warning NothingAllowed spec.limits.maxMonthlyUsd"]
    );
}

#[test]
fn money_that_contradicts_itself_or_has_no_effect_is_told() {
    let check = |more: &str, expected: &[&str]| {
        assert_eq!(policy(&format!("{EU}{more}")), expected, "{more}");
    };
    let one = "spread: [{topologyKey: cluster, max: 1}]";
    check(&format!("spot: {{percent: 50}}\n{one}"), &["error Contradiction spec.spot.percent"]);
    check(&format!("spot: {{percent: 100}}\n{one}"), &[]);
    check("spot: {percent: 50}", &[]);
    check(
        "traffic: [{to: Internet, gibPerMonth: 0}, {to: Internet, gibPerMonth: 3}]",
        &["warning NoEffect spec.traffic[0].gibPerMonth", "warning Contradiction spec.traffic[1]"],
    );
    check(
        "objectives: {scores: [{name: a, usdPerPoint: \"0\"}, {name: a, usdPerPoint: \"1\"}]}",
        &[
            "warning NoEffect spec.objectives.scores[0].usdPerPoint",
            "warning Contradiction spec.objectives.scores[1].name",
        ],
    );
    check("failover: {overBudget: Allow}", &["info NoEffect spec.failover.overBudget"]);
    check("failover: {overBudget: Allow}\nbudget: {maxMonthlyUsd: \"9\"}", &[]);
    assert_eq!(
        found(
            "kind: PriceBook\nmetadata: {name: p}\nspec: {prices: [{provider: eks, instanceType: a, onDemandUsdHour: \"1\"}, {provider: eks, instanceType: a, onDemandUsdHour: \"2\"}, {provider: eks, instanceType: b}]}"
        ),
        ["warning Contradiction spec.prices[1]", "warning NoEffect spec.prices[2]"]
    );
}

#[test]
fn overflow_nearness_and_company_that_cannot_be_are_told() {
    let overflow = "affinities: [{clusters: {regions: [\"eu-*\"]}, overflow: Allow}, {clusters: {regions: [\"us-*\"]}}]";
    assert_eq!(policy(overflow), ["warning NoEffect spec.affinities[0].overflow"]);
    assert_eq!(policy(&format!("{overflow}\nreplicas: {{mode: Divided}}")), [""; 0]);
    let check = |more: &str, expected: &[&str]| {
        assert_eq!(policy(&format!("{EU}{more}")), expected, "{more}");
    };
    check(
        "near: [{service: a, required: true, maxLatencyMs: 0}]",
        &["warning SelectsNothing spec.near[0].maxLatencyMs"],
    );
    let term = |wish: &str| {
        format!("{{labelSelector: {{matchLabels: {{app: db}}}}, topologyKey: zone{wish}}}")
    };
    let both = |wish: &str| {
        format!("workloadAffinity: [{}]\nworkloadAntiAffinity: [{}]", term(""), term(wish))
    };
    check(&both(""), &["error Contradiction spec.workloadAntiAffinity[0]"]);
    check(&both(", whenUnsatisfiable: ScheduleAnyway"), &[]);
}

#[test]
fn an_override_that_changes_nothing_is_told() {
    let check = |rules: &str, expected: &[&str]| {
        let text = format!(
            "kind: OverridePolicy\nmetadata: {{name: o, namespace: shop}}\nspec: {{selectors: [{{apiVersion: apps/v1, kind: Deployment}}], rules: {rules}}}\n"
        );
        assert_eq!(found(&text), expected, "{rules}");
    };
    check("[]", &["warning NoEffect spec.rules"]);
    check("[{clusters: {providers: [eks]}}]", &["warning NoEffect spec.rules[0]"]);
    check(
        "[{clusters: {names: [a-1], exclude: [\"a-*\"]}, labels: {set: {a: b}}}]",
        &["warning SelectsNothing spec.rules[0].clusters.exclude"],
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
    assert_eq!(
        one(
            "affinities: [{clusters: {providers: [eks], expressions: [\"cluster.minor > 99\"]}}]",
            ""
        ),
        ["warning SelectsNoMember spec.affinities[0].clusters.expressions[0]"]
    );
    let eks = "affinities: [{clusters: {providers: [eks]}}]";
    assert_eq!(
        one(&format!("{eks}, spread: [{{topologyKey: region, min: 2}}]"), ""),
        ["warning TooFewDomains spec.spread[0].min"]
    );
    assert_eq!(
        one(&format!("{eks}, residency: {{jurisdictions: [EU]}}"), ""),
        ["warning SelectsNoMember spec.residency.jurisdictions"]
    );
    let web = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 3}\n";
    assert_eq!(
        one(
            "affinities: [{clusters: {providers: [eks]}}], spread: [{topologyKey: cluster, min: 2}], replicas: {minPerCluster: 2}",
            web
        ),
        [
            "error TooFewReplicas spec.replicas.minPerCluster",
            "warning TooFewDomains spec.spread[0].min"
        ]
    );
    assert_eq!(
        one(
            "affinities: [{clusters: {providers: [eks]}}], replicas: {mode: Divided, division: Cheapest}",
            web
        ),
        ["warning NoRequests spec.replicas.division"]
    );
}

#[test]
fn names_that_nothing_given_answers_to_are_told() {
    let policy = |spec: &str, rest: &str| {
        found(&format!(
            "kind: PlacementPolicy\nmetadata: {{name: p, namespace: shop}}\nspec: {{selectors: [{{apiVersion: apps/v1, kind: Deployment}}], affinities: [{{clusters: {{providers: [eks]}}}}], {spec}}}\n---\n{rest}"
        ))
    };
    let web = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 3}\n";
    assert_eq!(policy("priority: 1", web), [""; 0]);
    assert_eq!(
        policy("priority: 1", &web.replace("Deployment", "StatefulSet")),
        ["warning SelectsNoTemplate spec.selectors"]
    );
    assert_eq!(policy("priority: 1", &web.replace("shop", "bank")), [""; 0], "another namespace's");
    assert_eq!(
        policy("traffic: [{to: Template, name: db, gibPerMonth: 1}]", web),
        ["warning UnknownName spec.traffic[0].name"]
    );
    assert_eq!(
        policy(
            "workloadAffinity: [{labelSelector: {matchLabels: {app: db}}, topologyKey: zone}]",
            web
        ),
        ["warning SelectsNoTemplate spec.workloadAffinity[0].labelSelector"]
    );
    let book = "kind: PriceBook\nmetadata: {name: b}\nspec: {charges: [{name: nat, per: Cluster, usdHour: \"0.1\"}]}\n";
    assert_eq!(
        policy("brings: [nat, load-balancer], spot: {percent: 50}", book),
        ["warning UnknownName spec.brings[1]", "warning NoEffect spec.spot"]
    );
    let score = "kind: ClusterScore\nmetadata: {name: s}\nspec: {cluster: a, scores: [{name: green, value: 1}]}\n";
    assert_eq!(
        policy("objectives: {scores: [{name: gren, usdPerPoint: \"1\"}]}", score),
        [
            "warning UnknownName spec.objectives.scores[0].name",
            "warning NoEffect spec.scores[0].name",
        ]
    );
    let budget = "kind: CostBudget\nmetadata: {name: b}\nspec: {maxMonthlyUsd: \"5\", policies: [{namespace: shop, name: q}]}\n";
    assert_eq!(policy("priority: 1", budget), ["warning UnknownName spec.policies[0].name"]);
}

#[test]
fn a_strategy_is_read_and_looked_at_beside_the_policies_that_name_it() {
    let strategy = |waves: &str| {
        found(&format!(
            "kind: RolloutStrategy\nmetadata: {{name: s, namespace: shop}}\nspec: {{waves: {waves}}}\n"
        ))
    };
    let canary = "{name: canary, clusters: {names: [a]}}";
    assert_eq!(strategy(&format!("[{canary}]")), [""; 0]);
    assert_eq!(strategy("[{name: all}]"), ["warning NoEffect spec.waves"]);
    assert_eq!(
        strategy(&format!("[{canary}, {{name: again, clusters: {{names: [a]}}}}]")),
        ["warning UnreachableGroup spec.waves[1]"]
    );
    assert_eq!(
        strategy("[{name: canary, clusters: {names: [a]}, gate: [\"nothing > 1\"], soak: soon}]"),
        ["error Invalid spec.waves[0].gate[0]", "error Invalid spec.waves[0].soak"]
    );
    let policy = |name: &str| {
        found(&format!(
            "kind: RolloutStrategy\nmetadata: {{name: s, namespace: shop}}\nspec: {{waves: [{canary}]}}\n---\nkind: PlacementPolicy\nmetadata: {{name: p, namespace: shop}}\nspec: {{selectors: [{{apiVersion: apps/v1, kind: Deployment}}], affinities: [{{clusters: {{providers: [eks]}}}}], rollout: {{strategyName: {name}}}}}\n"
        ))
    };
    assert_eq!(policy("s"), [""; 0]);
    assert_eq!(policy("t"), ["warning UnknownName spec.rollout.strategyName"]);
    assert_eq!(policy("s}, dependencies: Ignore, sync: {"), [""; 0]);
    let follow = policy("s}, dependencies: Follow, sync: {");
    assert_eq!(follow, ["warning NoEffect spec.dependencies"]);
}

#[test]
fn nothing_follows_by_a_policy_that_only_limits() {
    let policy = |only: bool| {
        found(&format!(
            "kind: ClusterPlacementPolicy\nmetadata: {{name: p}}\nspec: {{selectors: [{{apiVersion: apps/v1, kind: Deployment}}], residency: {{jurisdictions: [EU]}}, limitsOnly: {only}, limits: {{maxClusters: 3}}, dependencies: Follow}}\n"
        ))
    };
    assert_eq!(policy(false), [""; 0]);
    assert_eq!(policy(true), ["warning NoEffect spec.dependencies"]);
}
