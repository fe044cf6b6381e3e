//! Deletes that finish, tombstones, and clusters that leave (RULES 4.3, 4.8).

use expect_test::expect;
use serde_json::json;

use super::world::World;

#[test]
fn rule_4_3_a_template_waits_for_reachable_clusters_and_tombstones_outlive_it() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.divide(&["a", "b"], 2);
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("a eks dark");
    world.delete("web");
    expect![[r#"
        web: -a:TemplateDeleted -b:TemplateDeleted | Placed
        web: -a:TemplateDeleted | Placed
        web: released
    "#]]
    .assert_eq(&world.settle());
    assert!(!world.exists("web"));
    assert_eq!(
        world.why("web").summary,
        "Deployment shop/web was deleted: its copy on a goes when a answers again, or with \
         `archipel cluster leave a --forget`"
    );
    world.cluster("a eks");
    expect![[r#"
        web: forgotten
    "#]]
    .assert_eq(&world.settle());
    assert!(world.why_not("web", "").is_err(), "nothing is known of it any more");
}

#[test]
fn rule_4_3_a_tombstone_ends_when_its_cluster_leaves() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.divide(&["a"], 1);
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("a eks dark");
    world.delete("web");
    world.settle();
    assert_eq!(world.show("web"), "-a:TemplateDeleted | Placed");
    world.cluster("a eks dark deleting");
    expect![[r#"
        web: forgotten
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_4_3_a_template_made_again_under_the_same_name_goes_on_where_its_copies_are() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.divide(&["a", "b"], 2);
    world.apply("web", 2, "v1");
    world.settle();
    world.apply_as("web", 2, "v1", "uid-2", &json!({}));
    world.settle();
    assert_eq!(world.show("web"), "a=1 b=1 | Placed");
    assert_eq!(world.placed("web").unwrap().spec.template.uid, "uid-2");
    // And beside the tombstone of the one before.
    world.cluster("a eks dark");
    world.delete("web");
    world.settle();
    assert_eq!(world.show("web"), "-a:TemplateDeleted | Placed");
    world.divide(&["b"], 1);
    world.apply_as("web", 2, "v1", "uid-3", &json!({}));
    world.settle();
    assert_eq!(world.show("web"), "b=2 -a:TemplateDeleted | Placed");
    world.cluster("a eks");
    world.settle();
    assert_eq!(world.show("web"), "b=2 | Placed");
}

#[test]
fn rule_4_8_draining_moves_copies_elsewhere_first() {
    let mut world = World::new("a eks, b gke");
    world.policy("web", json!({"replicas": {"mode": "Divided", "division": "Packed"}}));
    world.apply("web", 2, "v1");
    world.settle();
    let from = if world.show("web").starts_with('a') { "a eks" } else { "b gke" };
    world.cluster(&format!("{from} drain=archipel.dev/draining"));
    let log = world.settle();
    assert!(log.contains("!ClusterChanged"), "{log}");
    let name = from.split_once(' ').unwrap().0;
    assert!(!world.show("web").contains(&format!("{name}=")), "{}", world.show("web"));
}

#[test]
fn rule_4_8_leaving_as_orphans_lets_go_at_once_and_places_elsewhere() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 1);
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("a eks orphan");
    expect![[r#"
        web: b=2 -a:ClusterLeaving(orphan) | Placed
        web: b=2 | Placed
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_4_8_leaving_as_orphans_does_not_wait_for_a_place_elsewhere() {
    let mut world = World::new("a eks");
    world.divide(&["a"], 1);
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("a eks orphan");
    world.settle();
    assert_eq!(world.show("web"), "| NoClusterFits");
}

#[test]
fn rule_3_4_a_claim_on_a_cluster_that_leaves_is_made_elsewhere_by_an_approval_only() {
    for (kind, api, shown) in
        [("PersistentVolumeClaim/data", "v1", "a"), ("StatefulSet/db", "apps/v1", "a=2")]
    {
        let mut world = World::new("a eks, b gke");
        let (named, _) = kind.split_once('/').unwrap();
        let on = |clusters: &[&str]| {
            json!({"selectors": [{"apiVersion": api, "kind": named}], "affinities": [{"clusters": {"names": clusters}}],
                   "spread": [{"topologyKey": "cluster", "max": 1}], "sync": {"onDelete": "Delete"}})
        };
        world.policy("web", on(&["a"]));
        world.store_bound(kind);
        world.settle();
        assert_eq!(world.show(kind), format!("{shown} | Placed"));
        world.policy("web", on(&["a", "b"]));
        world.cluster("a eks orphan");
        world.settle();
        assert_eq!(world.show(kind), format!("{shown} | NeedsApproval"));
        // Where nothing else takes it, it is let go: its copy stays, and none is made.
        world.policy("web", on(&["a"]));
        let log = world.settle();
        assert!(log.contains("-a:ClusterLeaving(orphan) | NoClusterFits"), "{log}");
    }
}

#[test]
fn rule_3_4_a_job_that_has_run_is_let_go_by_a_cluster_that_leaves_and_is_not_made_again() {
    let started = json!({"startTime": "2026-11-21T10:00:00Z"});
    let done = json!({"startTime": "2026-11-21T10:00:00Z", "conditions": [{"type": "Complete", "status": "True"}]});
    let failed = json!({"startTime": "2026-11-21T10:00:00Z", "conditions": [{"type": "Failed", "status": "True"}]});
    let ran = |status: &serde_json::Value| {
        let mut world = World::new("a eks, b gke");
        let policy = json!({"selectors": [{"apiVersion": "batch/v1", "kind": "Job"}]});
        world.policy("one", policy);
        world.apply("Job/report", 1, "v1");
        world.settle();
        world.apply_as("Job/report", 1, "v1", "uid-1", status);
        world.settle();
        assert_eq!(world.show("Job/report"), "a=1 | Placed");
        world
    };
    // Left behind, it runs on there or has run: either way nothing is made of it here.
    for status in [&started, &done, &failed] {
        let mut world = ran(status);
        world.cluster("a eks orphan drain=archipel.dev/draining");
        expect![[r#"
            report: -a:ClusterLeaving(orphan) | Placed
            report: | Placed
        "#]]
        .assert_eq(&world.settle());
        world.index.touch_everything();
        assert_eq!(world.settle(), "", "made again");
    }
    for status in [&done, &failed] {
        let mut world = ran(status);
        world.cluster("a eks drain=archipel.dev/draining");
        expect![[r#"
            report: -a:ClusterChanged | Placed
            report: | Placed
        "#]]
        .assert_eq(&world.settle());
    }
    // One that runs is waited for, and it is said why.
    let mut world = ran(&started);
    world.cluster("a eks drain=archipel.dev/draining");
    world.settle();
    assert_eq!(world.show("Job/report"), "a=1 | RunsToItsEnd");
    let message = &world.placed("Job/report").unwrap().spec.outcome.message;
    assert_eq!(message, "a started Job is not moved: it leaves a when it has ended");
    world.apply_as("Job/report", 1, "v1", "uid-1", &done);
    world.settle();
    assert_eq!(world.show("Job/report"), "| Placed");
}

#[test]
fn rule_4_8_what_is_not_decided_is_let_go_as_well() {
    let mut world = World::new("a eks, b gke");
    let policy = |suspend: bool| json!({"selectors": [{"apiVersion": "apps/v1", "kind": "StatefulSet"}], "suspend": suspend});
    world.policy("one", policy(false));
    world.apply("StatefulSet/db", 1, "v1");
    world.settle();
    world.policy("one", policy(true));
    world.cluster("a eks orphan");
    world.settle();
    assert_eq!(world.show("StatefulSet/db"), "| Suspended");
}

#[test]
fn rule_4_8_a_drain_does_not_wait_for_copies_that_have_nothing_to_do_with_it() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem, e onprem");
    world.policy("ds", json!({"selectors": [{"apiVersion": "apps/v1", "kind": "DaemonSet"}]}));
    world.apply("DaemonSet/agent", 0, "v1");
    world.settle();
    world.cluster("e onprem dark");
    world.failing.insert("d".to_owned());
    world.settle();
    world.cluster("a eks drain=archipel.dev/draining");
    let log = world.settle();
    assert!(log.starts_with("agent: b c d e -a:ClusterChanged | Placed"), "{log}");
}

#[test]
fn rule_4_8_a_forgotten_cluster_is_struck_whatever_the_policy_says() {
    for policy in ["claimed", "suspended", "gone"] {
        let mut world = World::new("a eks, b gke, c onprem, d onprem");
        world.divide(&["a", "b"], 2);
        world.apply("web", 2, "v1");
        world.settle();
        match policy {
            "suspended" => world.policy("web", json!({"suspend": true})),
            "gone" => world.drop_policy("web"),
            _ => (),
        }
        world.settle();
        world.cluster("a eks dark deleting");
        world.settle();
        let shown = world.show("web");
        assert!(!shown.contains("a="), "{policy}: {shown}");
        assert!(shown.contains("b=1"), "{policy}: {shown}");
    }
}

#[test]
fn rule_4_8_the_only_cluster_can_be_forgotten_while_it_is_dark() {
    let mut world = World::new("a eks");
    world.divide(&["a"], 1);
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("a eks dark deleting");
    world.settle();
    assert_eq!(world.show("web"), "| Placed");
}
