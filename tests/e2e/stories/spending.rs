//! Money beyond one policy: budgets of a scope, and points that others give (RULES 5.1, 5.5).

use serde_json::json;

use crate::fleet::{Fleet, deployment, placed_is, policy, replicas, seen};

/// A budget of the namespace `spending`.
fn budget(usd: &str) -> String {
    format!(
        "{{apiVersion: archipel.dev/v1alpha1, kind: CostBudget, metadata: {{name: e2e-team}}, spec: {{maxMonthlyUsd: \"{usd}\", namespaces: [spending]}}}}"
    )
}

pub(super) async fn a_cost_budget_makes_growth_wait(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("spending").await;
    let eks = "  affinities: [{clusters: {names: [eks-1]}}]\n  replicas: {mode: Divided}";
    for name in ["web", "late"] {
        kubectl.apply(&policy("spending", name, eks)).await;
    }
    kubectl.apply(&deployment("spending", "web", 1)).await;
    fleet.placed("spending", "deployment-web", "eks-1=1").await;
    kubectl.apply(&budget("0.01")).await;
    kubectl
        .ok(["wait", "costbudget/e2e-team", "--for=condition=WithinBudget=False", "--timeout=60s"])
        .await;
    // What runs stays; what grows and what is new waits, and the budget is named.
    kubectl.ok(["scale", "deploy/web", "-n", "spending", "--replicas=3"]).await;
    kubectl.apply(&deployment("spending", "late", 1)).await;
    for name in ["deployment-web", "deployment-late"] {
        let args = ["placement", name, "-n", "spending"];
        let waits = fleet
            .shows(&format!("{name} over the budget"), &args, |it| {
                placed_is(it, "False", "OverCostBudget")
            })
            .await;
        let message = waits["spec"]["outcome"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("e2e-team"), "{message}");
    }
    let held = fleet.get(&["placement", "deployment-web", "-n", "spending"]).await.unwrap();
    assert_eq!(replicas(&held), [("eks-1".to_owned(), 1)].into(), "{}", held["spec"]);
    let args = ["costbudget", "e2e-team"];
    fleet
        .shows("two that wait", &args, |it| seen(it["status"]["waiting"] == 2, &it["status"]))
        .await;
    // More money: both go on, without being touched.
    kubectl.apply(&budget("100000")).await;
    fleet.placed("spending", "deployment-web", "eks-1=3").await;
    fleet.placed("spending", "deployment-late", "eks-1=1").await;
    kubectl
        .ok(["wait", "costbudget/e2e-team", "--for=condition=WithinBudget=True", "--timeout=60s"])
        .await;
    kubectl.ok(["delete", "costbudget", "e2e-team"]).await;
    fleet.end("spending").await;
}

pub(super) async fn points_of_others_decide_what_is_new(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("points").await;
    let scored = "  spread: [{topologyKey: cluster, max: 1}]\n  replicas: {mode: Divided, division: Cheapest}\n  objectives: {scores: [{name: green, usdPerPoint: \"1\"}]}";
    let score = |cluster: &str, until: &str, value: i64| {
        json!({
            "apiVersion": "archipel.dev/v1alpha1", "kind": "ClusterScore",
            "metadata": {"name": format!("e2e-{cluster}")},
            "spec": {"cluster": cluster, "validUntil": until, "scores": [{"name": "green", "value": value}]},
        })
        .to_string()
    };
    let (then, ago) = ("2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z");
    for name in ["first", "second"] {
        kubectl.apply(&policy("points", name, scored)).await;
    }
    kubectl.apply(&score("gke-1", then, 1000)).await;
    // The highest by far, and no longer valid.
    kubectl.apply(&score("eks-1", ago, 100_000)).await;
    kubectl.apply(&deployment("points", "first", 2)).await;
    fleet.placed("points", "deployment-first", "gke-1=2").await;
    let why = fleet.hub.archipel_ok(&["why", "deploy/first", "-n", "points"]).await;
    assert!(why.contains("green"), "why names what has expired: {why}");
    kubectl.apply(&score("eks-1", then, 5000)).await;
    kubectl.apply(&deployment("points", "second", 2)).await;
    fleet.placed("points", "deployment-second", "eks-1=2").await;
    let first = fleet.get(&["placement", "deployment-first", "-n", "points"]).await.unwrap();
    assert_eq!(replicas(&first), [("gke-1".to_owned(), 2)].into(), "what runs does not move");
    kubectl.ok(["delete", "clusterscore", "e2e-gke-1", "e2e-eks-1"]).await;
    fleet.end("points").await;
}

pub(super) async fn who_may_see_a_namespace_is_told_what_it_costs(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("bill").await;
    let eks = "  affinities: [{clusters: {names: [eks-1]}}]\n  replicas: {mode: Divided}";
    kubectl.apply(&policy("bill", "web", eks)).await;
    kubectl.apply(&deployment("bill", "web", 2)).await;
    fleet.placed("bill", "deployment-web", "eks-1=2").await;
    let told = fleet.hub.archipel_ok(&["cost", "-n", "bill", "--by", "cluster"]).await;
    let row = told.lines().find(|it| it.starts_with("eks-1")).unwrap_or_default().to_owned();
    assert!(row.contains('$') && told.contains("total"), "{told}");

    // Neither clusters nor prices may be read by her, and the figures are the same.
    let args =
        ["create", "rolebinding", "ann", "--clusterrole=view", "--user=e2e-ann", "-n", "bill"];
    kubectl.ok(args).await;
    let ask = |namespace: &str| {
        json!({"apiVersion": "review.archipel.dev/v1alpha1", "kind": "Cost",
               "spec": {"namespace": namespace, "by": "cluster"}})
        .to_string()
    };
    let as_ann = ["create", "--validate=false", "-o", "json", "-f", "-", "--as=e2e-ann"];
    let hidden = kubectl.run(["get", "memberclusters", "--as=e2e-ann"]).await;
    assert!(!hidden.success(), "{hidden:?}");
    let answer = kubectl.run_with(&ask("bill"), as_ann).await;
    assert!(answer.success(), "{answer:?}");
    let answer: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let cost = &answer["status"]["rows"][0];
    assert_eq!(cost["name"], "eks-1", "{answer}");
    let usd = cost["estimate"]["monthlyUsd"].as_str().unwrap();
    assert!(usd != "0.00" && row.contains(&format!("${usd}")), "{row}: {answer}");
    // What is not hers is not told.
    for elsewhere in ["", "default"] {
        let refused = kubectl.run_with(&ask(elsewhere), as_ann).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("orbidden"), "{}", refused.stderr);
    }
    let wrong = ask("bill").replace("cluster\"", "colour\"");
    let refused = kubectl.run_with(&wrong, as_ann).await;
    assert!(refused.stderr.contains("spec.by: Invalid value"), "{}", refused.stderr);
    fleet.end("bill").await;
}
