//! What a plan's checks say.

use expect_test::expect;
use federation_types::{
    budget::Freeze, names::API_VERSION, reason::admission, review::plan::Refused,
};
use serde_json::{Value, json};

use super::{
    planning::{edit, lines, on, plan, policy_edit, template_edit},
    world::{World, budget},
};
use crate::plan::Edit;

#[test]
fn rule_1_3_a_plan_says_what_the_change_budget_will_hold() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.index.budgets.insert("default".into(), budget(1, 0));
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    world.settle();
    expect![[r#"
        Deployment shop/web
          Remove a 2 → - PolicyChanged 
          Remove b 2 → - PolicyChanged ChangeBudgetSpent
          Add c - → 4 PolicyChanged 
        disruption: Waits: 1 of 2 removals wait: 1 ChangeBudgetSpent (ChangeBudget default lets 1 go per 10m)
    "#]]
    .assert_eq(&lines(&plan(&world, &[policy_edit(9, on(&["c"]))])));
}

#[test]
fn a_policy_that_fits_nowhere_is_said_before_it_is_applied() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    world.settle();
    let plan = plan(&world, &[policy_edit(9, on(&["nowhere"]))]);
    expect![[r#"
        Deployment shop/web
          ! NoClusterFits: no cluster passes the rules of the policy (2 Affinity)
        policy: Failed: Deployment shop/web: does not get what it asks for
    "#]]
    .assert_eq(&lines(&plan));
    assert!(plan.templates[0].changes.is_empty());
}

fn cost_budget(usd: &str) -> Edit {
    edit(json!({
        "apiVersion": API_VERSION, "kind": "CostBudget",
        "metadata": {"name": "team", "uid": "team", "generation": 1},
        "spec": {"maxMonthlyUsd": usd, "namespaces": ["shop"]},
    }))
}

#[test]
fn rule_5_5_a_plan_of_a_cost_budget_says_by_how_much_what_runs_exceeds_it_and_who_would_wait() {
    let mut world = World::new("a eks");
    world.prices();
    world.policy("web", json!({"replicas": {"mode": "Divided"}}));
    world.apply("api", 2, "v1");
    world.apply("web", 2, "v1");
    world.settle();
    expect![[r#"
        budget: Waits: CostBudget team: what runs costs $29.20 of $20.00 a month, $9.20 over: nothing of it goes, growth and new placements wait
    "#]]
    .assert_eq(&lines(&plan(&world, &[cost_budget("20")])));
    // Enough for what runs, and not for what the same plan adds.
    let more = template_edit(&world, "web", 9, "v1").unwrap();
    expect![[r#"
        Deployment shop/web
          ! OverCostBudget: $65.70 a month is over the $15.40 that CostBudget team still allows (1 Chosen)
        budget: Failed: Deployment shop/web: does not get what it asks for
    "#]]
    .assert_eq(&lines(&plan(&world, &[cost_budget("30"), more])));
    assert_eq!(lines(&plan(&world, &[cost_budget("50")])), "");
}

#[test]
fn an_object_that_a_quota_refuses_is_a_failed_check_and_nothing_supposes_it() {
    let mut world = World::new("a eks");
    world.divide(&["a"], 1);
    world.apply("web", 4, "v1");
    world.settle();
    let mut refused = edit(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "more", "namespace": "shop", "uid": "m"}, "spec": {"replicas": 2}}));
    refused.refused = Some(Refused {
        reason: admission::QUOTA_EXCEEDED.to_owned(),
        message: "exceeded quota: few".to_owned(),
    });
    let more = template_edit(&world, "web", 5, "v1").unwrap();
    let plan = plan(&world, &[refused, more]);
    expect![[r#"
        Deployment shop/web
          Resize a 4 → 5 ScaledUp 
        quota: Failed: Deployment shop/more: exceeded quota: few
    "#]]
    .assert_eq(&lines(&plan));
}

#[test]
fn an_object_that_a_limit_range_refuses_is_a_failed_check_of_its_own() {
    let world = World::new("a eks");
    let mut refused = edit(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "large", "namespace": "shop", "uid": "m"}}));
    refused.refused = Some(Refused {
        reason: admission::LIMIT_RANGE_EXCEEDED.to_owned(),
        message: "3 is too much".to_owned(),
    });
    expect![[r#"
        limitRange: Failed: Pod shop/large: 3 is too much
    "#]]
    .assert_eq(&lines(&plan(&world, &[refused])));
}

fn overrides(rules: &Value) -> Edit {
    edit(json!({
        "apiVersion": API_VERSION, "kind": "OverridePolicy",
        "metadata": {"name": "web", "namespace": "shop", "uid": "o", "generation": 2},
        "spec": {"selectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}], "rules": rules},
    }))
}

#[test]
fn an_override_for_one_cluster_updates_that_cluster_only() {
    let mut world = World::new("a eks, b gke, c gke");
    world.divide(&["a", "b", "c"], 3);
    world.apply("web", 6, "v1");
    world.settle();
    let of_b = json!([{"clusters": {"names": ["b"]}, "labels": {"set": {"cloud": "gke"}}}]);
    expect![[r#"
        Deployment shop/web
          Update b 2 → 2 ContentChanged 
    "#]]
    .assert_eq(&lines(&plan(&world, &[overrides(&of_b)])));
    // Neither does one that is there already hide what changes everywhere, nor its going what changes there.
    world.overrides("web", &of_b);
    world.settle();
    let image = template_edit(&world, "web", 6, "v2").unwrap();
    assert_eq!(lines(&plan(&world, &[image])).matches("Update").count(), 3);
    let of_c = json!([{"clusters": {"expressions": ["cluster.name == 'c'"]}, "labels": {"set": {"x": "y"}}}]);
    expect![[r#"
        Deployment shop/web
          Update b 2 → 2 ContentChanged 
          Update c 2 → 2 ContentChanged 
    "#]]
    .assert_eq(&lines(&plan(&world, &[overrides(&of_c)])));
}

#[test]
fn an_override_that_cannot_be_rendered_is_a_failed_check_with_its_rule_and_the_cluster() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    world.settle();
    let broken = json!([
        {"labels": {"set": {"x": "y"}}},
        {"clusters": {"providers": ["gke"]}, "image": [{"container": "db", "tag": "2"}]},
    ]);
    expect![[r#"
        Deployment shop/web
          Update a 2 → 2 ContentChanged 
          Update b 2 → 2 ContentChanged 
        overrides: Failed: Deployment shop/web cannot be written to b: OverridePolicy shop/web rule 1: image[0]: there is no container `db`
    "#]]
    .assert_eq(&lines(&plan(&world, &[overrides(&broken)])));
    // One that would come there is no better off.
    world.divide(&["a"], 1);
    world.settle();
    world.overrides("web", &broken);
    world.settle();
    let plan = plan(&world, &[policy_edit(9, on(&["b"]))]);
    let check = plan.checks.iter().find(|it| it.name == "overrides").unwrap();
    assert!(check.message.contains("to b: OverridePolicy shop/web rule 1"), "{check:?}");
}

#[test]
fn what_stays_outside_the_jurisdictions_allowed_fails_the_residency_check() {
    let mut world = World::new("a eks in=US, b gke in=US");
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    world.settle();
    let mut in_eu = on(&["a", "b"]);
    in_eu["residency"] = json!({"jurisdictions": ["EU"]});
    let plan = plan(&world, &[policy_edit(9, in_eu)]);
    expect![[r#"
        Deployment shop/web
          ! NoClusterFits: no cluster passes the rules of the policy (2 Residency)
        policy: Failed: Deployment shop/web: does not get what it asks for
        residency: Failed: Deployment shop/web on a, Deployment shop/web on b: lies outside the jurisdictions allowed
    "#]]
    .assert_eq(&lines(&plan));
}

#[test]
fn rule_1_4_a_plan_says_that_a_freeze_holds_removals_and_lets_additions_be_decided() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a"], 1);
    world.apply("web", 2, "v1");
    world.settle();
    let move_to_b = [policy_edit(9, on(&["b"]))];
    let freeze = |clusters: &[&str]| Freeze {
        clusters: clusters.iter().map(|it| (*it).to_owned()).collect(),
        ..Freeze::default()
    };
    world.freeze_as(freeze(&["a"]));
    expect![[r#"
        Deployment shop/web
          Remove a 2 → - PolicyChanged Frozen
          Add b - → 2 PolicyChanged 
        disruption: Waits: 1 of 1 removals wait: 1 Frozen
    "#]]
    .assert_eq(&lines(&plan(&world, &move_to_b)));
    world.freeze_as(freeze(&["b"]));
    expect![[r#"
        Deployment shop/web
          Remove a 2 → - PolicyChanged Frozen
          Add b - → 2 PolicyChanged Frozen
        disruption: Waits: 1 of 1 removals wait: 1 Frozen; 1 addition or change is decided now and written to b after the thaw
    "#]]
    .assert_eq(&lines(&plan(&world, &move_to_b)));
}
