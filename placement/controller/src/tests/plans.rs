//! What a plan says is what the gate then does.

use std::collections::BTreeMap;

use expect_test::expect;
use federation_types::{
    names::API_VERSION,
    review::plan::{Action, ObjectRef, PlanStatus},
};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::json;

use super::{
    planning::{
        apply, chosen, edit, lines, member_edit, object, on, plan, plan_moves, policy_edit,
        template_edit,
    },
    random::{CLUSTERS, Happens, NAMES, happens, play, policy_spec},
    world::{World, budget, key},
};
use crate::{
    approval::Approvals,
    overlay,
    plan::{Edit, work_out},
    snapshot::Snapshots,
};

/// Two clusters alike, and a policy that leaves the choice to cost.
fn cheapest(clusters: &str) -> World {
    let mut world = World::new(clusters);
    world.prices();
    world.policy("web", json!({"replicas": {"mode": "Divided", "division": "Cheapest"}}));
    world.apply("web", 2, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
    world
}

#[test]
fn a_policy_edit_is_planned_to_its_end_and_nothing_is_changed() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    world.settle();
    let plan = plan(&world, &[policy_edit(9, on(&["b", "c"]))]);
    expect![[r#"
        Deployment shop/web
          Remove a 2 → - PolicyChanged 
          Add c - → 2 PolicyChanged 
    "#]]
    .assert_eq(&lines(&plan));
    assert_eq!(world.show("web"), "a=2 b=2 | Placed");
    assert_eq!((plan.summary.add, plan.summary.remove, plan.summary.clusters), (1, 1, 2));
    assert_eq!(world.settle(), "");
}

#[test]
fn rule_2_4_the_definitions_of_our_own_kinds_are_no_more_in_a_plan_than_on_members() {
    let mut world = World::new("a eks");
    world.synced("apiextensions.k8s.io", "CustomResourceDefinition");
    for name in ["placements.archipel.dev", "plans.review.archipel.dev", "shops.example.com"] {
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                                "metadata": {"name": name, "uid": name}});
        overlay::put(&mut world.index, &object(definition)).unwrap();
    }
    let policy = edit(json!({
        "apiVersion": API_VERSION, "kind": "ClusterPlacementPolicy", "metadata": {"name": "all", "uid": "all"},
        "spec": {"selectors": [{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}]},
    }));
    let plan = plan(&world, &[policy]);
    let names: Vec<&str> = plan.templates.iter().map(|it| it.template.name.as_str()).collect();
    assert_eq!(names, ["shops.example.com"]);
}

#[test]
fn a_new_image_updates_every_copy_and_other_replicas_resize_them() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    world.settle();
    let image = template_edit(&world, "web", 4, "v2").unwrap();
    expect![[r#"
        Deployment shop/web
          Update a 2 → 2 ContentChanged 
          Update b 2 → 2 ContentChanged 
    "#]]
    .assert_eq(&lines(&plan(&world, &[image])));
    let more = template_edit(&world, "web", 6, "v1").unwrap();
    expect![[r#"
        Deployment shop/web
          Resize a 2 → 3 ScaledUp 
          Resize b 2 → 3 ScaledUp 
    "#]]
    .assert_eq(&lines(&plan(&world, &[more])));
}

#[test]
fn what_is_unmet_before_and_after_is_counted_and_not_listed() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 1);
    world.apply("web", 4, "v1");
    world.settle();
    world.policy(
        "lost",
        json!({"selectors": [{"apiVersion": "v1", "kind": "ConfigMap"}],
               "affinities": [{"clusters": {"names": ["nowhere"]}}]}),
    );
    world.apply("ConfigMap/notes", 0, "v1");
    world.settle();
    let taint = member_edit(&world, "a", Some("NoExecute")).unwrap();
    let plan = plan(&world, &[taint]);
    expect![[r#"
        Deployment shop/web
          Remove a 2 → - ClusterChanged 
          Resize b 2 → 4 ClusterChanged 
    "#]]
    .assert_eq(&lines(&plan));
    assert_eq!(plan.notes.last().unwrap(), "1 other unmet before and after");
    assert_eq!(plan.summary.unmet, 0);
}

#[test]
fn only_what_is_handed_in_or_was_claimed_is_said_to_be_claimed_by_nothing() {
    let mut world = World::new("a eks");
    world.divide(&["a"], 1);
    world.apply("web", 4, "v1");
    world.apply("ConfigMap/kube-root-ca.crt", 0, "v1");
    world.settle();
    let said = |edits: &[Edit]| -> Vec<String> {
        let notes = plan(&world, edits).notes;
        notes.into_iter().filter(|it| it.contains("claimed by no")).collect()
    };
    // A cluster that changes makes every template be looked at.
    assert!(said(&[member_edit(&world, "a", Some("NoSchedule")).unwrap()]).is_empty());
    let stray = json!({"apiVersion": "v1", "kind": "ConfigMap",
                       "metadata": {"name": "stray", "namespace": "shop", "uid": "s"}});
    assert_eq!(
        said(&[edit(stray)]),
        ["ConfigMap shop/stray is claimed by no placement policy: it stays on the hub"]
    );
}

#[test]
fn what_the_caller_may_not_read_is_left_out() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a"], 1);
    world.apply("web", 4, "v1");
    world.apply("bank", 4, "v1");
    world.settle();
    let edits = [policy_edit(9, on(&["b"]))];
    let draft = work_out(world.index.clone(), &edits, &[], Approvals::All, world.now).unwrap();
    let plan = draft.finish(&edits, &|key, _| key.name != "bank");
    assert_eq!(plan.templates.len(), 1);
    assert_eq!(plan.templates[0].template.name, "web");
    assert!(plan.notes.contains(&"1 template that you may not read is left out".to_owned()));
}

#[test]
fn the_hash_of_inputs_changes_with_what_matters_and_with_nothing_else() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.divide(&["a"], 1);
    world.apply("web", 4, "v1");
    world.settle();
    let edits = [policy_edit(9, on(&["b"]))];
    let first = plan(&world, &edits).inputs;
    world.cluster("c onprem rooms=7");
    world.pass_time(60);
    world.settle();
    assert_eq!(plan(&world, &edits).inputs, first, "room that is not used does not matter");
    world.apply("web", 4, "v2");
    world.settle();
    let second = plan(&world, &edits).inputs;
    assert_ne!(second, first, "another image");
    world.cluster("b gke zone:x");
    world.settle();
    assert_ne!(plan(&world, &edits).inputs, second, "another label of the cluster it goes to");
}

#[test]
fn rule_3_4_a_stateful_set_moves_by_an_approved_plan_once() {
    let mut world = World::new("a eks, b gke");
    let db = |cluster: &str| {
        json!({"selectors": [{"apiVersion": "apps/v1", "kind": "StatefulSet"}],
               "affinities": [{"clusters": {"names": [cluster]}}]})
    };
    world.policy("web", db("a"));
    world.apply("StatefulSet/db", 3, "v1");
    world.settle();
    world.policy("web", db("b"));
    world.settle();
    assert_eq!(world.show("StatefulSet/db"), "a=3 | NeedsApproval");

    let pending = plan(&world, &[]);
    expect![[r#"
        StatefulSet shop/db
          Remove a 3 → - PolicyChanged 
          Add b - → 3 PolicyChanged 
        approval: Waits: StatefulSet shop/db: moves only by applying this plan
    "#]]
    .assert_eq(&lines(&pending));
    assert_eq!(world.show("StatefulSet/db"), "a=3 | NeedsApproval", "a plan changes nothing");

    apply(&mut world, &[], &pending);
    world.settle();
    assert_eq!(world.show("StatefulSet/db"), "b=3 | Placed");

    // There and back: the approval was used up.
    world.policy("web", db("a"));
    world.settle();
    assert_eq!(world.show("StatefulSet/db"), "b=3 | NeedsApproval");
    let back = plan(&world, &[]);
    world.now += 1;
    apply(&mut world, &[], &back);
    world.settle();
    assert_eq!(world.show("StatefulSet/db"), "a=3 | Placed");
    world.policy("web", db("b"));
    world.settle();
    assert_eq!(world.show("StatefulSet/db"), "a=3 | NeedsApproval");
    // The same move, approved anew.
    let again = plan(&world, &[]);
    assert_eq!(again.templates[0].approval, pending.templates[0].approval);
    world.now += 1;
    apply(&mut world, &[], &again);
    world.settle();
    assert_eq!(world.show("StatefulSet/db"), "b=3 | Placed");
}

#[test]
fn rule_3_4_a_claim_leaves_by_an_approved_plan() {
    let mut world = World::new("a eks, b gke");
    let claims = |clusters: &[&str]| {
        json!({"selectors": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim"}],
               "affinities": [{"clusters": {"names": clusters}}]})
    };
    let data = "PersistentVolumeClaim/data";
    world.policy("web", claims(&["a", "b"]));
    world.claim(data);
    world.settle();
    world.policy("web", claims(&["b"]));
    world.settle();
    assert_eq!(world.show(data), "a b | NeedsApproval");
    let pending = plan(&world, &[]);
    expect![[r#"
        PersistentVolumeClaim shop/data
          Remove a - → - PolicyChanged 
        approval: Waits: PersistentVolumeClaim shop/data: moves only by applying this plan
    "#]]
    .assert_eq(&lines(&pending));
    apply(&mut world, &[], &pending);
    expect![[r#"
        data: b -a:PolicyChanged(orphan) | Placed
        data: b | Placed
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_3_4_an_approved_claim_leaves_an_orphan_behind_whatever_the_policy_deletes() {
    let mut world = World::new("a eks, b gke");
    let claims = |clusters: &[&str]| {
        json!({"selectors": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim"}],
               "affinities": [{"clusters": {"names": clusters}}], "sync": {"onDelete": "Delete"}})
    };
    let data = "PersistentVolumeClaim/data";
    world.policy("web", claims(&["a"]));
    world.claim(data);
    world.settle();
    world.policy("web", claims(&["a", "b"]));
    world.cluster("a eks orphan");
    world.settle();
    assert_eq!(world.show(data), "a | NeedsApproval");
    let pending = plan(&world, &[]);
    apply(&mut world, &[], &pending);
    let log = world.settle();
    assert!(log.contains("-a:ClusterLeaving(orphan)"), "{log}");
    assert_eq!(world.show(data), "b | Placed");
}

#[test]
fn rule_1_2_what_runs_moves_for_its_price_by_an_approved_plan_once() {
    let mut world = cheapest("a eks, b eks");
    let moves = chosen("web", &[("b", 2)]);
    let plan = plan_moves(&world, &moves);
    expect![[r#"
        Deployment shop/web
          Remove a 2 → - Rebalanced 
          Add b - → 2 Rebalanced 
        approval: Waits: Deployment shop/web: moves only by applying this plan
    "#]]
    .assert_eq(&lines(&plan));
    assert_eq!(world.show("web"), "a=2 | Placed", "a plan changes nothing");
    assert_eq!(plan_moves(&world, &moves).inputs, plan.inputs, "the same plan, asked again");

    apply(&mut world, &[], &plan);
    world.settle();
    assert_eq!(world.show("web"), "b=2 | Placed");
    assert_ne!(plan_moves(&world, &moves).inputs, plan.inputs, "it was carried out");

    // Back by a plan of its own; the first approval is used up.
    world.now += 1;
    let back = plan_moves(&world, &chosen("web", &[("a", 1), ("b", 1)]));
    apply(&mut world, &[], &back);
    world.settle();
    assert_eq!(world.show("web"), "a=1 b=1 | Placed");
    world.index.dirty.insert(key("web"));
    world.settle();
    assert_eq!(world.show("web"), "a=1 b=1 | Placed");
}

#[test]
fn rule_1_2_a_chosen_move_of_copies_that_changed_since_is_not_made() {
    let mut world = cheapest("a eks, b eks");
    let moves = chosen("web", &[("b", 2)]);
    let plan = plan_moves(&world, &moves);
    world.apply("web", 3, "v1");
    world.settle();
    assert_ne!(plan_moves(&world, &moves).inputs, plan.inputs, "applying it is refused");
    apply(&mut world, &[], &plan);
    world.settle();
    assert_eq!(world.show("web"), "a=3 | Placed", "nor does its approval mean anything");
}

#[test]
fn rule_1_3_a_chosen_move_waits_for_the_change_budget() {
    let mut world = cheapest("a eks, b eks");
    world.index.budgets.insert("default".into(), budget(0, 0));
    let plan = plan_moves(&world, &chosen("web", &[("b", 2)]));
    apply(&mut world, &[], &plan);
    world.settle();
    assert_eq!(world.show("web"), "a=2!Rebalanced b=2 | ChangeBudgetSpent");
}

#[test]
fn a_chosen_move_waits_for_room_and_is_made_when_there_is() {
    let mut world = cheapest("a eks, b eks rooms=1");
    let plan = plan_moves(&world, &chosen("web", &[("b", 2)]));
    expect![[r#"
        Deployment shop/web
          ! NotEnoughRoom: it stays where it is: there is room for 1 more on b, and 2 would come
        room: Failed: Deployment shop/web: does not get what it asks for
        approval: Waits: Deployment shop/web: moves only by applying this plan
    "#]]
    .assert_eq(&lines(&plan));
    apply(&mut world, &[], &plan);
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
    world.cluster("b eks rooms=5");
    world.settle();
    assert_eq!(world.show("web"), "b=2 | Placed");
}

#[test]
fn a_chosen_move_keeps_to_the_policy() {
    let mut world = cheapest("a eks, b eks, c eks taint=x");
    let unmet = |world: &World, to: &[(&str, i64)]| {
        let plan = plan_moves(world, &chosen("web", to));
        let it = plan.templates.first().map(|it| (it.unmet.clone(), it.approval.clone()));
        it.unwrap_or_default()
    };
    let says = |text: &str| (format!("it stays where it is: {text}"), String::new());
    assert_eq!(unmet(&world, &[("c", 2)]), says("its policy lets no replica start on c"));
    assert_eq!(unmet(&world, &[("b", 3)]), says("it has 2 replicas, and 3 would be placed"));
    assert_eq!(unmet(&world, &[("z", 2)]), says("the inventory has no cluster z"));
    world.divide(&["a", "b"], 1);
    world.settle();
    assert!(unmet(&world, &[("b", 2)]).0.ends_with("does not leave the choice to cost"));
}

#[test]
fn rule_3_4_an_approval_of_another_move_approves_nothing() {
    let mut world = World::new("a eks, b gke, c onprem");
    let db = |cluster: &str| {
        json!({"selectors": [{"apiVersion": "apps/v1", "kind": "StatefulSet"}],
               "affinities": [{"clusters": {"names": [cluster]}}]})
    };
    world.policy("web", db("a"));
    world.apply("StatefulSet/db", 3, "v1");
    world.settle();
    world.policy("web", db("b"));
    world.settle();
    let pending = plan(&world, &[]);
    world.policy("web", db("c"));
    apply(&mut world, &[], &pending);
    world.settle();
    assert_eq!(world.show("StatefulSet/db"), "a=3 | NeedsApproval");
}

/// What is to be planned, by numbers.
#[derive(Clone, Debug)]
enum Supposed {
    Policy(usize),
    Scale(usize, i64, u8),
    Taint(usize, usize),
    Delete(usize),
}

fn supposed() -> impl Strategy<Value = Supposed> {
    prop_oneof![
        3 => (0..9_usize).prop_map(Supposed::Policy),
        2 => (0..3_usize, 0..12_i64, 0..3_u8).prop_map(|(it, n, image)| Supposed::Scale(it, n, image)),
        2 => (0..5_usize, 0..3_usize).prop_map(|(it, how)| Supposed::Taint(it, how)),
        1 => (0..3_usize).prop_map(Supposed::Delete),
    ]
}

fn suppose(world: &World, it: &Supposed) -> Option<Edit> {
    match it {
        Supposed::Policy(which) => Some(match policy_spec(*which) {
            Some(spec) => policy_edit(1_000_000, spec),
            None => Edit {
                object: ObjectRef {
                    api_version: API_VERSION.into(),
                    kind: "PlacementPolicy".into(),
                    namespace: "shop".into(),
                    name: "web".into(),
                },
                before: None,
                after: None,
                refused: None,
            },
        }),
        Supposed::Scale(at, n, image) => template_edit(world, NAMES[*at], *n, &format!("v{image}")),
        Supposed::Taint(at, how) => {
            let name = CLUSTERS[*at].split_once(' ').unwrap().0;
            member_edit(world, name, [None, Some("NoSchedule"), Some("NoExecute")][*how])
        }
        Supposed::Delete(at) => {
            let template = world.index.templates.get(&key(NAMES[*at]))?;
            let object = ObjectRef {
                api_version: template.api_version.clone(),
                kind: template.workload.key.gvk.kind.to_string(),
                namespace: "shop".into(),
                name: template.workload.key.name.to_string(),
            };
            Some(Edit { object, before: None, after: None, refused: None })
        }
    }
}

/// Copies by template and cluster: replicas, and whether the copy is to go.
type Copies = BTreeMap<(String, String), (Option<i64>, bool)>;

fn copies(world: &World) -> Copies {
    let mut found = BTreeMap::new();
    for (key, placed) in &world.index.placements {
        for it in &placed.spec.clusters {
            found.insert(
                (key.name.to_string(), it.name.clone()),
                (it.replicas, !it.leaving.is_empty()),
            );
        }
    }
    found
}

/// The copies as the plan says that they will be.
fn foretold(mut copies: Copies, plan: &PlanStatus) -> Copies {
    for template in &plan.templates {
        for it in &template.changes {
            let at = (template.template.name.clone(), it.cluster.clone());
            match it.action {
                Action::Remove if it.held.is_empty() => drop(copies.remove(&at)),
                Action::Remove => copies.get_mut(&at).unwrap().1 = true,
                Action::Add | Action::Resize | Action::Update => {
                    copies.insert(at, (it.replicas_after, false));
                }
            }
        }
    }
    copies
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(20_261_121),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn rule_1_1_what_the_plan_says_is_what_the_gate_then_does(
        events in proptest::collection::vec(happens(), 1..20),
        asked in supposed(),
    ) {
        let mut world = World::new(&CLUSTERS.join(","));
        world.policy("web", policy_spec(1).unwrap());
        let (mut images, mut sizes) = ([0; 3], [3; 3]);
        for (at, name) in NAMES.iter().enumerate() {
            world.apply(name, sizes[at], "v0");
        }
        for event in events.iter().filter(|it| !matches!(it, Happens::Failing(..))) {
            play(&mut world, &mut images, &mut sizes, event);
        }
        world.settle();
        // Decisions of before no longer stand in the way: the members have reported them since.
        world.snapshots = Snapshots::default();
        world.index.touch_waiting();
        world.settle();
        world.snapshots = Snapshots::default();
        let Some(edit) = suppose(&world, &asked) else { return Ok(()) };
        let edits = [edit];
        let plan = plan(&world, &edits);
        let expected = foretold(copies(&world), &plan);
        apply(&mut world, &edits, &plan);
        world.settle();
        prop_assert_eq!(copies(&world), expected, "{:?}\n{}", asked, lines(&plan));
    }
}
