//! Custom kinds, read by StatusRules.

use expect_test::expect;
use federation_types::{names::API_VERSION, status_rule::StatusRule};
use serde_json::{Value, json};

use super::{
    planning::{edit, lines, plan},
    world::{World, key},
};
use crate::status_rule::count;

fn rule(mut spec: Value) -> StatusRule {
    spec["target"] = json!({"apiVersion": "example.org/v1", "kind": "Engine"});
    StatusRule::new("engines", serde_json::from_value(spec).unwrap())
}

fn sized() -> StatusRule {
    rule(json!({"replicas": {"path": ".spec.size", "requests": "{'cpu': object.spec.cores}"}}))
}

fn engine(world: &mut World, spec: &Value) {
    let object = json!({"apiVersion": "example.org/v1", "kind": "Engine",
                        "metadata": {"namespace": "shop", "name": "e"}, "spec": spec});
    world.store(&key("Engine/e"), &object, "uid-1");
}

fn world(policy: Value) -> World {
    let mut world = World::new("a eks, b gke");
    world.synced("example.org", "Engine");
    let mut policy = policy;
    policy["selectors"] = json!([{"apiVersion": "example.org/v1", "kind": "Engine"}]);
    world.policy("engines", policy);
    world
}

fn divided() -> Value {
    json!({"replicas": {"mode": "Divided", "division": "Weighted"}})
}

fn revision(world: &World) -> String {
    let placed = world.placed("Engine/e").unwrap();
    placed.spec.clusters[0].revision.clone()
}

#[test]
fn a_rule_that_comes_later_is_followed_and_scaling_makes_no_revision() {
    let mut world = world(divided());
    engine(&mut world, &json!({"size": 5, "cores": 1}));
    world.settle();
    // Without a rule nobody knows of replicas: every cluster has the whole.
    assert_eq!(world.show("Engine/e"), "a b | Placed");
    world.index.set_status_rule("engines", Some(sized()));
    world.settle();
    assert_eq!(world.show("Engine/e"), "a=3 b=2 | Placed");
    let before = revision(&world);
    engine(&mut world, &json!({"size": 8, "cores": 1}));
    world.settle();
    assert_eq!(world.show("Engine/e"), "a=4 b=4 | Placed");
    assert_eq!(revision(&world), before);
    engine(&mut world, &json!({"size": 8, "cores": 2}));
    world.settle();
    assert_ne!(revision(&world), before);
    let status = &count(&world.index)["engines"];
    assert_eq!((status.objects, status.unreadable), (1, 0));
    assert_eq!(status.conditions[0].message, "1 template read by it");
}

#[test]
fn rule_1_2_what_its_rule_cannot_read_keeps_what_runs() {
    let mut world = world(divided());
    world.index.set_status_rule("engines", Some(sized()));
    engine(&mut world, &json!({"size": 5, "cores": 1}));
    world.settle();
    assert_eq!(world.show("Engine/e"), "a=3 b=2 | Placed");
    let before = revision(&world);
    engine(&mut world, &json!({"size": 9}));
    world.settle();
    assert_eq!(world.show("Engine/e"), "a=3 b=2 | Unreadable");
    let placed = world.placed("Engine/e").unwrap();
    // What each cluster would run of the new content is not known: it is not released.
    assert_eq!(placed.spec.clusters[0].revision, before);
    // It counts for what it last was.
    assert_eq!(world.index.templates[&key("Engine/e")].workload.requests.base[0], 1_000);
    let why = "StatusRule engines: spec.replicas.requests: no such key: cores";
    assert_eq!(placed.spec.outcome.message, why);
    let status = &count(&world.index)["engines"];
    assert_eq!((status.objects, status.unreadable), (1, 1));
    let ready = &status.conditions[0];
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Unreadable"));
    assert_eq!(ready.message, format!("1 of 1 template cannot be read; Engine shop/e: {why}"));
    // The rule mended, it goes on.
    let mended = rule(json!({"replicas": {"path": ".spec.size"}}));
    world.index.set_status_rule("engines", Some(mended));
    world.settle();
    assert_eq!(world.show("Engine/e"), "a=5 b=4 | Placed");
}

#[test]
fn rule_1_2_a_slip_in_a_path_changes_nothing_that_runs() {
    let mut world = world(divided());
    world.index.set_status_rule("engines", Some(sized()));
    engine(&mut world, &json!({"size": 5, "cores": 1}));
    world.settle();
    let before = revision(&world);
    let slip = rule(json!({"replicas": {"path": ".spec.sise"}}));
    world.index.set_status_rule("engines", Some(slip));
    world.settle();
    assert_eq!(world.show("Engine/e"), "a=3 b=2 | Unreadable");
    assert_eq!(revision(&world), before);
}

#[test]
fn rule_3_4_what_a_rule_binds_moves_by_an_approval_only() {
    let on = |cluster: &str| json!({"affinities": [{"clusters": {"names": [cluster]}}]});
    let mut world = world(on("a"));
    world.index.set_status_rule("engines", Some(rule(json!({"bound": true}))));
    engine(&mut world, &json!({}));
    world.settle();
    assert_eq!(world.show("Engine/e"), "a | Placed");
    let mut policy = on("b");
    policy["selectors"] = json!([{"apiVersion": "example.org/v1", "kind": "Engine"}]);
    world.policy("engines", policy);
    world.settle();
    assert_eq!(world.show("Engine/e"), "a | NeedsApproval");
    // A rule that no longer binds it lets it go.
    world.index.set_status_rule("engines", Some(rule(json!({"bound": false}))));
    world.settle();
    assert_eq!(world.show("Engine/e"), "b | Placed");
}

#[test]
fn a_rule_is_planned_as_any_other_change() {
    let mut world = world(divided());
    engine(&mut world, &json!({"size": 5, "cores": 1}));
    world.settle();
    let rule = sized();
    let edit = edit(json!({"apiVersion": API_VERSION, "kind": "StatusRule",
                           "metadata": {"name": "engines", "uid": "r"}, "spec": rule.spec}));
    let plan = plan(&world, &[edit]);
    expect![[r#"
        Engine shop/e
          Update a - → 3 PolicyChanged 
          Update b - → 2 PolicyChanged 
    "#]]
    .assert_eq(&lines(&plan));
    assert_eq!(world.show("Engine/e"), "a b | Placed");
}

#[test]
fn of_two_rules_about_one_kind_the_second_says_so() {
    let mut world = world(divided());
    world.index.set_status_rule("engines", Some(sized()));
    world.index.set_status_rule("more", Some(rule(json!({"bound": true}))));
    engine(&mut world, &json!({"size": 5, "cores": 1}));
    world.settle();
    assert_eq!(world.show("Engine/e"), "a=3 b=2 | Placed");
    let ready = &count(&world.index)["more"].conditions[0];
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Shadowed"));
    let warnings = world.index.rule_warnings("other", &sized().spec);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let slip = rule(json!({"replicas": {"path": ".spec.seize"}})).spec;
    let warned = world.index.rule_warnings("engines", &slip);
    assert!(
        warned.iter().any(|it| it.contains("has .spec.seize: none of them can be read")),
        "{warned:?}"
    );
    let told = |world: &World| world.index.rule_delete_warning("engines").unwrap();
    assert_eq!(told(&world), "1 template is read by it: StatusRule more is followed instead");
    world.index.set_status_rule("more", None);
    let said =
        "1 template is read by it: from now on as if there were no rule, but for a built-in one";
    assert!(told(&world).starts_with(said), "{}", told(&world));
}
