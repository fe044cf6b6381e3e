//! Clusters that go dark: what is presumed, what fails over, what is held (RULES 1.4, 3.5).

use expect_test::expect;
use serde_json::json;

use super::world::World;

#[test]
fn rule_3_5_unreachable_is_not_dead_until_the_policys_patience_ends() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.divide(&["a", "b"], 1);
    world.apply("web", 4, "v1");
    world.settle();
    world.cluster("a eks dark");
    assert_eq!(world.settle(), "");
    world.pass_time(299);
    assert_eq!(world.settle(), "");
    world.pass_time(1);
    expect![[r#"
        web: a=2!Failover b=4 | Placed
    "#]]
    .assert_eq(&world.settle());
    let event = world.events.last().unwrap();
    assert_eq!(
        (event.reason, event.message.as_str()),
        ("Failover", "a does not answer: it runs on b now")
    );
    // It answers again: its copy goes, as the others are up.
    world.cluster("a eks");
    expect![[r#"
        web: b=4 -a:Failover | Placed
        web: b=4 | Placed
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_3_5_the_patience_is_the_policys() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.policy(
        "web",
        json!({"affinities": [{"clusters": {"names": ["a"]}}, {"clusters": {"names": ["b"]}}],
                               "failover": {"after": "10s"}}),
    );
    world.apply("web", 1, "v1");
    world.settle();
    world.cluster("a eks dark");
    world.pass_time(9);
    assert_eq!(world.settle(), "");
    world.pass_time(1);
    world.settle();
    assert_eq!(world.show("web"), "a=1!Failover b=1 | Placed");
    // While it lasts, time alone makes no passes.
    world.pass_time(60);
    assert!(world.index.dirty.is_empty());
}

#[test]
fn rule_3_5_what_may_not_run_twice_fails_over_only_unfenced() {
    for (kind, api) in [("StatefulSet", "apps/v1"), ("Job", "batch/v1")] {
        for unfenced in [false, true] {
            let mut world = World::new("a eks, b gke, c onprem, d onprem");
            let mut policy = json!({"selectors": [{"apiVersion": api, "kind": kind}],
                                    "affinities": [{"clusters": {"names": ["a", "b"]}}]});
            if unfenced {
                policy["failover"] = json!({"unfenced": "Allow"});
            }
            world.policy("one", policy);
            let name = format!("{kind}/it");
            world.apply(&name, 1, "v1");
            world.settle();
            assert_eq!(world.show(&name), "a=1 | Placed", "{kind}");
            world.cluster("a eks dark");
            world.pass_time(300);
            world.settle();
            let expected = if unfenced { "a=1!Failover b=1 | Placed" } else { "a=1 | Placed" };
            assert_eq!(world.show(&name), expected, "{kind}");
        }
    }
}

#[test]
fn rule_3_5_a_copy_that_is_not_to_be_purged_stays_where_it_was() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.policy(
        "web",
        json!({"affinities": [{"clusters": {"names": ["a"]}}, {"clusters": {"names": ["b"]}}],
               "failover": {"purge": "Never"}}),
    );
    world.apply("web", 1, "v1");
    world.settle();
    world.cluster("a eks dark");
    world.pass_time(300);
    world.settle();
    world.cluster("a eks");
    world.settle();
    assert_eq!(world.show("web"), "a=1!Failover b=1 | Placed");
}

#[test]
fn rule_1_4_clusters_of_one_provider_are_replaced_by_priority_within_room_and_removals_are_held() {
    let mut world = World::new("a eks, b eks, c gke rooms=3");
    let policy = |name: &str, priority: i32| {
        json!({"priority": priority, "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": name}],
               "affinities": [{"clusters": {"providers": ["eks"]}}, {"clusters": {"providers": ["gke"]}}],
               "replicas": {"mode": "Divided", "division": "Packed"}})
    };
    world.policy("later", policy("later", 1));
    world.policy("first", policy("first", 9));
    world.apply("later", 2, "v1");
    world.apply("first", 2, "v1");
    world.settle();
    world.cluster("a eks dark");
    world.cluster("b eks dark");
    world.pass_time(300);
    let log = world.settle();
    let c_holds = |world: &World, name: &str| world.show(name).contains("c=2");
    assert!(c_holds(&world, "first") || c_holds(&world, "later"), "{log}");
    assert!(!(c_holds(&world, "first") && c_holds(&world, "later")), "beyond the room:\n{log}");
    assert!(!log.contains(" -"), "nothing is removed from dark clusters:\n{log}");
}

#[test]
fn rule_1_4_dark_over_several_providers_the_hub_presumes_itself_cut_off_and_changes_nothing() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.divide(&["a", "b", "c"], 3);
    world.apply("web", 3, "v1");
    world.settle();
    world.cluster("a eks dark");
    world.cluster("b gke dark");
    world.pass_time(10_000);
    world.apply("web", 6, "v2");
    world.apply("new", 6, "v1");
    assert_eq!(world.settle(), "");
    world.delete("web");
    expect![[r#"
        web: a=1!TemplateDeleted b=1!TemplateDeleted c=1!TemplateDeleted | FleetDark
    "#]]
    .assert_eq(&world.settle());
    // The link is back: what was asked for meanwhile is done.
    world.cluster("b gke");
    world.cluster("a eks");
    let log = world.settle();
    assert!(log.contains("web: forgotten"), "{log}");
    assert_eq!(world.show("new"), "a=2 b=2 c=2 | Placed");
}

#[test]
fn rule_1_4_when_none_answers_nothing_changes() {
    let mut world = World::new("a eks");
    world.divide(&["a"], 1);
    world.apply("web", 1, "v1");
    world.settle();
    world.cluster("a eks dark");
    world.pass_time(10_000);
    world.index.touch_everything();
    assert_eq!(world.settle(), "");
    assert_eq!(world.show("web"), "a=1 | Placed");
}

#[test]
fn a_cluster_that_returns_is_given_what_is_to_run_everywhere() {
    let mut world = World::new("a eks, b gke dark");
    world.policy("web", json!({}));
    world.apply("web", 2, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
    world.cluster("b gke");
    world.settle();
    assert_eq!(world.show("web"), "a=2 b=2 | Placed");
}

#[test]
fn a_fleet_that_is_quiet_makes_no_passes() {
    let mut world = World::new("a eks, b gke dark, c onprem, d onprem");
    world.divide(&["a", "c"], 1);
    world.apply("web", 4, "v1");
    world.settle();
    world.pass_time(1_000);
    world.settle();
    for _ in 0..10 {
        world.pass_time(1_000);
        assert!(world.index.dirty.is_empty());
    }
}

#[test]
fn why_tells_of_a_freeze_and_of_a_fleet_that_does_not_answer() {
    let mut world = World::new("a eks, b gke");
    world.policy("web", json!({}));
    world.apply("web", 2, "v1");
    world.settle();
    assert_eq!(world.notes("web"), ["some prices are unknown", "placed regardless of room"]);
    let freeze = |clusters: &[&str], namespaces: &[&str]| federation_types::budget::Freeze {
        all: false,
        clusters: clusters.iter().map(|it| (*it).to_owned()).collect(),
        namespaces: namespaces.iter().map(|it| (*it).to_owned()).collect(),
    };
    let set = |world: &mut World, freeze| {
        world.index.budgets.get_mut("default").unwrap().spec.freeze = freeze;
    };
    set(&mut world, freeze(&[], &["shop"]));
    let notes = world.notes("web").join("; ");
    assert!(!notes.contains("everything"), "{notes}");
    assert!(notes.contains("the namespace shop is frozen by ChangeBudget default"), "{notes}");
    set(&mut world, freeze(&["b"], &["bank"]));
    let notes = world.notes("web").join("; ");
    assert!(notes.contains("frozen clusters, to which nothing is written: b"), "{notes}");
    world.cluster("a eks dark");
    world.cluster("b gke dark");
    let notes = world.notes("web").join("; ");
    assert!(notes.contains("itself cut off"), "{notes}");
}

#[test]
fn rule_1_3_why_says_what_stands_while_a_freeze_holds_what_would_be() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a"], 1);
    world.apply("web", 2, "v1");
    assert_eq!(
        world.headline("web"),
        "Deployment shop/web: not placed yet | on 1 cluster: a 2; not done: it has not been decided yet"
    );
    world.settle();
    assert_eq!(world.headline("web"), "Deployment shop/web: on 1 cluster: a 2");
    world.freeze(true);
    world.divide(&["b"], 1);
    world.settle();
    let headline = world.headline("web");
    let frozen = "on 1 cluster: b 2 (not written yet); a is being left (PolicyChanged)";
    assert!(headline.ends_with(frozen), "{headline}");
    assert!(
        world.notes("web").join("; ").contains("everything is frozen"),
        "{:?}",
        world.notes("web")
    );
    // What nothing fits any more stays, and says both.
    world.freeze(false);
    world.settle();
    world.cluster("b gke drain=repair");
    world.settle();
    let headline = world.headline("web");
    assert!(
        headline.starts_with("Deployment shop/web: on 1 cluster: b 2; no cluster"),
        "{headline}"
    );
    world.policy("web", json!({"suspend": true}));
    world.settle();
    assert_eq!(
        world.headline("web"),
        "Deployment shop/web: on 1 cluster: b 2; PlacementPolicy shop/web is suspended"
    );
}

fn two_groups(stable_for: &str) -> serde_json::Value {
    json!({"affinities": [{"name": "near", "clusters": {"names": ["a"]}}, {"name": "far", "clusters": {"names": ["b"]}}],
           "failover": {"after": "10s", "failback": {"mode": "Automatic", "stableFor": stable_for}}})
}

#[test]
fn rule_3_5_it_returns_to_the_preferred_group_after_a_while_the_new_copy_first() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.policy("web", two_groups("30m"));
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("a eks dark");
    world.pass_time(10);
    world.settle();
    world.cluster("a eks");
    world.settle();
    assert_eq!(world.show("web"), "b=2 | Placed");
    world.pass_time(1_799);
    assert!(!world.settle().contains("a="));
    world.pass_time(1);
    expect![[r#"
        web: a=2 b=2!Failback | Placed
        web: a=2 -b:Failback | Placed
        web: a=2 | Placed
    "#]]
    .assert_eq(&world.settle());
    let returned = world.placed("web").unwrap().spec.returned.clone().unwrap();
    assert_eq!((returned.times, returned.last), (1, crate::clock::text(world.now)));
    // It is thrown out again: it waits twice as long.
    world.cluster("a eks dark");
    world.pass_time(10);
    world.settle();
    world.cluster("a eks");
    world.settle();
    world.pass_time(3_599);
    assert!(!world.settle().contains("a="));
    world.pass_time(1);
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
    assert_eq!(world.placed("web").unwrap().spec.returned.as_ref().unwrap().times, 2);
}

#[test]
fn rule_3_5_a_preferred_group_that_fails_meanwhile_begins_anew() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.policy("web", two_groups("30m"));
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("a eks dark");
    world.pass_time(10);
    world.settle();
    world.cluster("a eks");
    world.settle();
    world.pass_time(1_000);
    world.cluster("a eks dark");
    world.settle();
    world.cluster("a eks");
    world.settle();
    world.pass_time(1_799);
    assert!(!world.settle().contains("a="));
    world.pass_time(1);
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
}

#[test]
fn rule_3_5_a_restart_of_the_hub_does_not_make_stable_for_longer() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.policy("web", two_groups("30m"));
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("a eks dark");
    world.pass_time(10);
    world.settle();
    world.cluster("a eks");
    world.settle();
    let since = crate::clock::text(world.now);
    world.pass_time(299);
    assert_eq!(world.settle(), "", "what may pass soon is not written");
    world.pass_time(1);
    world.settle();
    assert_eq!(world.placed("web").unwrap().spec.preferred_since, since);
    world.pass_time(1_000);
    // Another process: what it knows is what the objects say.
    world.index.returning = crate::failback::Returning::default();
    world.index.touch_everything();
    assert_eq!(world.settle(), "");
    world.pass_time(499);
    assert!(!world.settle().contains("a="));
    world.pass_time(1);
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
    assert_eq!(world.placed("web").unwrap().spec.preferred_since, "");
}

#[test]
fn rule_3_5_a_taint_without_a_time_counts_from_when_it_was_written_and_not_from_a_restart() {
    let mut world = World::new("a eks, b gke");
    world.policy(
        "web",
        json!({"spread": [{"topologyKey": "cluster", "max": 1}],
               "tolerations": [{"key": "repair", "operator": "Exists", "effect": "NoExecute",
                                "tolerationSeconds": 60}]}),
    );
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("a eks drain=repair");
    let mut member = (*world.index.clusters["a"]).clone();
    let written = json!([
        {"manager": "kubectl", "operation": "Update", "time": crate::clock::text(world.now - 50),
         "fieldsV1": {"f:spec": {"f:taints": {}}}},
        {"manager": "status", "operation": "Update", "time": crate::clock::text(world.now),
         "fieldsV1": {"f:status": {}}},
    ]);
    member.metadata.managed_fields = serde_json::from_value(written).unwrap();
    world.index.set_cluster("a", Some(member));
    world.pass_time(0);
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
    world.pass_time(10);
    world.settle();
    assert_eq!(world.show("web"), "b=2 | Placed");
}

#[test]
fn rule_3_5_what_overflowed_returns_once_its_group_has_had_room_for_long_enough() {
    let mut world = World::new("a eks rooms=3, b gke rooms=9");
    world.policy(
        "web",
        json!({"affinities": [{"name": "near", "clusters": {"names": ["a"]}, "overflow": "Allow"},
                              {"name": "far", "clusters": {"names": ["b"]}}],
               "replicas": {"mode": "Divided", "division": "Room"},
               "failover": {"failback": {"stableFor": "1m"}}}),
    );
    world.apply("web", 5, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=3 b=2 | Placed");
    // It reports what runs, and then more room.
    world.cluster("a eks rooms=0");
    world.cluster("a eks rooms=2");
    assert_eq!(world.settle(), "", "room moves nothing by itself");
    world.pass_time(59);
    assert_eq!(world.settle(), "");
    world.pass_time(1);
    world.settle();
    assert_eq!(world.show("web"), "a=5 | Placed");
}

#[test]
fn rule_3_5_a_taint_that_is_tolerated_for_a_while_evicts_when_the_time_is_over() {
    let mut world = World::new("a eks, b gke");
    let policy = |seconds: i64| {
        json!({"spread": [{"topologyKey": "cluster", "max": 1}],
               "tolerations": [{"key": "repair", "operator": "Exists", "effect": "NoExecute",
                                "tolerationSeconds": seconds}]})
    };
    world.policy("web", policy(60));
    world.apply("web", 2, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
    world.cluster("a eks drain=repair");
    assert_eq!(world.settle(), "");
    world.pass_time(0);
    world.pass_time(59);
    assert_eq!(world.settle(), "");
    world.pass_time(1);
    expect![[r#"
        web: a=2!ClusterChanged b=2 | Placed
        web: b=2 -a:ClusterChanged | Placed
        web: b=2 | Placed
    "#]]
    .assert_eq(&world.settle());
    // While it lasts, time alone makes no passes.
    world.pass_time(60);
    assert!(world.index.dirty.is_empty());
    // A new template does not go where it could not stay.
    world.apply("api", 1, "v1");
    world.settle();
    assert_eq!(world.show("api"), "b=1 | Placed");
}

#[test]
fn why_says_once_what_is_not_placed() {
    let mut world = World::new("a eks, b gke");
    world.policy("web", json!({"affinities": [{"clusters": {"names": ["nowhere"]}}]}));
    world.apply("web", 2, "v1");
    world.settle();
    assert_eq!(
        world.headline("web"),
        "Deployment shop/web: on no cluster; no cluster passes the rules of the policy (2 Affinity)"
    );
    let notes = world.notes("web");
    assert!(!notes.iter().any(|it| it.contains("no cluster passes")), "{notes:?}");
}
