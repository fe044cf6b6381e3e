//! What may change, and when: causes, budgets, freezes, revisions (RULES 1).

use expect_test::expect;
use federation_types::budget::Freeze;
use serde_json::json;

use super::world::{World, budget, key};

#[test]
fn rule_1_1_a_template_is_placed_once_and_settles_without_a_second_write() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    expect![[r#"
        web: a=2 b=2 | Placed
    "#]]
    .assert_eq(&world.settle());
    assert_eq!(world.settle(), "");
}

#[test]
fn rule_1_2_a_deleted_template_takes_its_copies_with_it() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    world.settle();
    world.delete("web");
    expect![[r#"
        web: -a:TemplateDeleted -b:TemplateDeleted | Placed
        web: forgotten
    "#]]
    .assert_eq(&world.settle());
    assert!(!world.exists("web"));
    assert_eq!(world.index.copies, 0);
    assert!(world.index.revisions.is_empty());
}

#[test]
fn rule_1_2_a_policy_edit_moves_new_copies_first() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.divide(&["a"], 1);
    world.apply("web", 4, "v1");
    world.settle();
    world.divide(&["b"], 1);
    world.failing.insert("b".into());
    expect![[r#"
        web: a=4!PolicyChanged b=4 | Placed
    "#]]
    .assert_eq(&world.settle());
    world.failing.clear();
    expect![[r#"
        web: b=4 -a:PolicyChanged | Placed
        web: b=4 | Placed
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_3_2_a_move_that_was_begun_is_finished_although_its_policy_is_gone() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a"], 1);
    world.apply("web", 4, "v1");
    world.settle();
    world.divide(&["b"], 1);
    world.failing.insert("b".into());
    world.settle();
    world.drop_policy("web");
    world.settle();
    world.failing.clear();
    expect![[r#"
        web: b=4 -a:PolicyChanged | PolicyGone
        web: b=4 | PolicyGone
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_1_2_a_taint_drives_copies_away_once_their_successors_are_ready() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 1);
    world.apply("web", 4, "v1");
    world.settle();
    world.cluster("a eks drain=repair");
    expect![[r#"
        web: a=2!ClusterChanged b=4 | Placed
        web: b=4 -a:ClusterChanged | Placed
        web: b=4 | Placed
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_1_2_a_cluster_gone_from_the_inventory_is_held_and_reported() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 1);
    world.apply("web", 4, "v1");
    world.settle();
    world.index.set_cluster("a", None);
    world.settle();
    assert_eq!(world.show("web"), "a=2 b=2 | Placed");
    let message = &world.placed("web").unwrap().spec.outcome.message;
    assert!(message.contains("cluster a is not in the inventory and is held"), "{message}");
}

#[test]
fn rule_1_2_a_kind_that_the_hub_no_longer_serves_is_held() {
    let mut world = World::new("a eks");
    world.divide(&["a"], 1);
    world.apply("web", 1, "v1");
    world.settle();
    world.index.kinds.clear();
    world.vanish("web");
    assert_eq!(world.settle(), "");
    assert_eq!(world.show("web"), "a=1 | Placed");
    world.synced("apps", "Deployment");
    world.index.touch_everything();
    expect![[r#"
        web: -a:TemplateDeleted | Placed
        web: forgotten
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_1_2_room_that_changes_moves_no_running_replica() {
    let mut world = World::new("a eks rooms=10, b gke rooms=5");
    world.policy("web", json!({"replicas": {"mode": "Divided", "division": "Room"}}));
    world.apply("web", 6, "v1");
    world.settle();
    let before = world.show("web");
    world.cluster("a eks rooms=0");
    world.cluster("b gke rooms=900");
    assert_eq!(world.settle(), "");
    assert_eq!(world.show("web"), before);
}

#[test]
fn rule_1_2_where_no_cluster_fits_running_copies_stay() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    world.settle();
    world.divide(&["nowhere"], 1);
    expect![[r#"
        web: a=2 b=2 | NoClusterFits
    "#]]
    .assert_eq(&world.settle());
    assert_eq!(world.placed("web").unwrap().spec.outcome.status, "False");
    assert_eq!(world.events.last().unwrap().reason, "NotPlaced");
}

#[test]
fn rule_1_2_without_a_policy_copies_stay_until_they_are_claimed_again() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    world.settle();
    world.drop_policy("web");
    expect![[r#"
        web: a=2 b=2 | PolicyGone
    "#]]
    .assert_eq(&world.settle());
    assert_eq!(
        world.headline("web"),
        "Deployment shop/web: on 2 clusters: a 2, b 2; no policy claims it any more; its copies stay until one does, \
         or it is deleted"
    );
    assert_eq!(world.events.last().unwrap().reason, "PolicyGone");
    world.divide(&["a", "b"], 2);
    expect![[r#"
        web: a=2 b=2 | Placed
    "#]]
    .assert_eq(&world.settle());
    world.drop_policy("web");
    world.settle();
    world.delete("web");
    expect![[r#"
        web: -a:TemplateDeleted -b:TemplateDeleted | PolicyGone
        web: forgotten
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_1_3_what_is_over_the_budget_waits_visibly_until_the_window_ends() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.index.budgets.insert("default".into(), budget(2, 0));
    world.divide(&["a", "b", "c"], 3);
    world.apply("web", 3, "v1");
    world.settle();
    world.delete("web");
    expect![[r#"
        web: c=1!TemplateDeleted -a:TemplateDeleted -b:TemplateDeleted | ChangeBudgetSpent
        web: c=1!TemplateDeleted | ChangeBudgetSpent
    "#]]
    .assert_eq(&world.settle());
    let message = &world.placed("web").unwrap().spec.outcome.message;
    assert_eq!(message, "the change budget holds the removal of 1 copy");
    assert_eq!(world.index.leaving, 1);
    world.pass_time(599);
    assert_eq!(world.settle(), "");
    world.pass_time(1);
    expect![[r#"
        web: -c:TemplateDeleted | ChangeBudgetSpent
        web: forgotten
    "#]]
    .assert_eq(&world.settle());
    assert_eq!(world.index.leaving, 0);
}

#[test]
fn rule_1_3_without_the_default_budget_its_defaults_hold() {
    let names: Vec<String> = (0..25).map(|it| format!("c{it}")).collect();
    let mut world = World::new(&names.iter().map(|it| format!("{it} eks, ")).collect::<String>());
    world.index.budgets.clear();
    world.policy("web", serde_json::json!({}));
    world.apply("web", 1, "v1");
    world.settle();
    assert_eq!(world.index.copies, 25);
    world.delete("web");
    world.settle();
    let left = world.placed("web").unwrap();
    assert_eq!(left.spec.clusters.len(), 5, "20 may go in a window");
    assert_eq!(left.spec.outcome.reason, "ChangeBudgetSpent");
    // Deleted under the controller, it is the default one again, and its window goes on.
    world.index.budgets.get_mut("default").unwrap().spec.min_removals = 1_000;
    let gone = crate::feed::Change::Gone((String::new(), "default".to_owned()));
    crate::feed::on_budget(&mut world.index, gone);
    world.settle();
    assert_eq!(world.placed("web").unwrap().spec.clusters.len(), 5);
    world.pass_time(600);
    world.settle();
    assert!(world.placed("web").is_none());
}

#[test]
fn rule_1_3_who_deletes_what_is_held_is_told_so() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.index.budgets.insert("default".into(), budget(2, 0));
    world.divide(&["a", "b", "c"], 3);
    world.apply("web", 3, "v1");
    world.settle();
    let old = serde_json::json!({"metadata": {"namespace": "shop", "name": "web"}});
    let warning = |world: &World| {
        world.index.held_delete_at("apps/v1", "Deployment", &old, world.now).unwrap_or_default()
    };
    let begin = "Deployment shop/web stays, by its finalizer archipel.dev/copies, until its copies are gone, and they \
                 are held: ";
    let told = warning(&world);
    let budget_left = "ChangeBudget default lets 2 more copies go before its window ends in ";
    assert!(told.starts_with(&format!("{begin}{budget_left}")), "{told}");
    world.index.budgets.insert("default".into(), budget(20, 10));
    assert_eq!(warning(&world), "");
    world.freeze_as(Freeze { clusters: vec!["b".to_owned()], ..Freeze::default() });
    let frozen = "frozen clusters, to which nothing is written: b";
    assert_eq!(warning(&world), format!("{begin}{frozen}"));
    world.freeze(true);
    assert!(warning(&world).contains("everything is frozen by ChangeBudget default"));
    // What `why` says of it then.
    world.delete("web");
    world.settle();
    let why = world.headline("web");
    assert_eq!(
        why,
        "Deployment shop/web is being deleted: copies still stand on a, b, c; held: everything is frozen by \
         ChangeBudget default: nothing is written to any cluster (finalizer archipel.dev/copies)"
    );
    world.freeze(false);
    world.settle();
    assert!(world.placed("web").is_none());
}

#[test]
fn rule_1_3_the_window_survives_a_restart_by_the_status() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.index.budgets.insert("default".into(), budget(2, 0));
    world.divide(&["a", "b", "c"], 3);
    world.apply("web", 3, "v1");
    world.settle();
    world.delete("web");
    world.settle();
    let old = &world.index.budgets["default"];
    let status = federation_types::budget::ChangeBudgetStatus {
        removed: old.removed,
        window_start: crate::clock::text(old.window_start),
        ..Default::default()
    };
    let start = crate::clock::seconds(&status.window_start);
    let restored = crate::gate::Budget::restore(old.spec.clone(), &status, start);
    world.index.budgets.insert("default".into(), restored);
    world.pass_time(599);
    world.index.touch_everything();
    assert_eq!(world.settle(), "", "the new process knows what the old one let pass");
    world.pass_time(1);
    assert!(world.settle().contains("forgotten"));
}

#[test]
fn rule_1_3_a_write_that_fails_gives_its_removals_back_to_the_budget() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 2);
    world.apply("web", 2, "v1");
    world.settle();
    world.delete("web");
    let pass = crate::decide::pass(&mut world.index, &mut world.snapshots, &key("web"), world.now);
    assert_eq!((pass.counted, world.index.budgets["default"].removed), (2, 2));
    world.index.give_back(pass.counted);
    assert_eq!(world.index.budgets["default"].removed, 0);
}

#[test]
fn rule_1_3_a_freeze_holds_removals_until_the_thaw() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a"], 1);
    world.apply("web", 2, "v1");
    world.settle();
    world.freeze_as(Freeze { clusters: vec!["a".into()], ..Freeze::default() });
    world.divide(&["b"], 1);
    expect![[r#"
        web: a=2!PolicyChanged b=2 | Placed
        web: a=2!PolicyChanged b=2 | Frozen
    "#]]
    .assert_eq(&world.settle());
    world.freeze(false);
    expect![[r#"
        web: b=2 -a:PolicyChanged | Placed
        web: b=2 | Placed
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_1_4_a_freeze_of_everything_lets_additions_be_decided_and_writes_them_after_the_thaw() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a"], 1);
    world.apply("web", 2, "v1");
    world.settle();
    world.freeze(true);
    world.divide(&["b"], 1);
    expect![[r#"
        web: a=2!PolicyChanged b=2 | Placed
    "#]]
    .assert_eq(&world.settle());
    world.freeze(false);
    expect![[r#"
        web: b=2 -a:PolicyChanged | Placed
        web: b=2 | Placed
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_1_6_each_cluster_is_given_its_revision_and_ten_are_kept() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 2);
    world.apply("web", 2, "v0");
    world.settle();
    let home = ("shop".into(), "deployment-web".into());
    let first = world.placed("web").unwrap().spec.clusters[0].revision.clone();
    for n in 1..=12 {
        world.apply("web", 2, &format!("v{n}"));
        world.settle();
        let spec = &world.placed("web").unwrap().spec;
        let newest = &world.index.revisions[&home].last().unwrap().1;
        assert!(spec.clusters.iter().all(|it| it.revision == *newest), "v{n}");
    }
    assert_eq!(world.index.revisions[&home].len(), 10);
    assert_eq!(world.deleted_revisions[0], format!("deployment-web-{first}"));
    // Back to an old content is back to its name.
    world.apply("web", 2, "v5");
    world.settle();
    assert_eq!(world.index.revisions[&home].len(), 10);
}

#[test]
fn rule_1_6_a_revision_that_is_still_released_is_kept_however_old() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a"], 1);
    world.apply("web", 2, "v0");
    world.settle();
    let released = world.placed("web").unwrap().spec.clusters[0].revision.clone();
    // The new place never becomes ready: the old copy stays with its revision.
    world.failing.insert("b".into());
    world.divide(&["b"], 1);
    for n in 1..=15 {
        world.apply("web", 2, &format!("v{n}"));
        world.settle();
    }
    let home = ("shop".into(), "deployment-web".into());
    assert!(world.index.revisions[&home].iter().any(|it| it.1 == released));
    assert_eq!(world.index.revisions[&home].len(), 11);
}

#[test]
fn rule_1_6_an_override_makes_a_revision() {
    let mut world = World::new("a eks");
    world.divide(&["a"], 1);
    world.apply("web", 1, "v1");
    world.settle();
    let before = world.placed("web").unwrap().spec.clusters[0].revision.clone();
    world.overrides("cloud", &json!([{"labels": {"set": {"cloud": "x"}}}]));
    expect![[r#"
        web: a=1 | Placed
    "#]]
    .assert_eq(&world.settle());
    assert_ne!(world.placed("web").unwrap().spec.clusters[0].revision, before);
}

#[test]
fn rule_1_2_what_a_cluster_is_told_to_be_is_no_edit_of_the_policy() {
    let mut world = World::new("a eks in=EU, b gke in=EU");
    world.policy("web", json!({"residency": {"jurisdictions": ["EU"]}}));
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("b gke in=US");
    expect![[r#"
        web: a=2 -b:ClusterChanged | Placed
        web: a=2 | Placed
    "#]]
    .assert_eq(&world.settle());
    world.policy("web", json!({"residency": {"jurisdictions": ["US"]}}));
    expect![[r#"
        web: a=2!PolicyChanged b=2 | Placed
        web: b=2 -a:PolicyChanged | Placed
        web: b=2 | Placed
    "#]]
    .assert_eq(&world.settle());
    world.policy(
        "web",
        json!({"affinities": [{"clusters": {"labelSelector": {"matchLabels": {"tier": "web"}}}}]}),
    );
    world.cluster("b gke in=US tier:web");
    world.cluster("a eks in=EU tier:web");
    world.settle();
    world.cluster("b gke in=US tier:db");
    expect![[r#"
        web: a=2 -b:ClusterChanged | Placed
        web: a=2 | Placed
    "#]]
    .assert_eq(&world.settle());
}
