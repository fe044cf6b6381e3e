//! Whole passes over templates whose policy names a rollout strategy.

use federation_types::{rollout::RolloutState, score::ClusterScore};
use serde_json::{Value, json};

use super::{
    planning::{plan, policy_edit, template_edit},
    world::{World, key},
};
use crate::{approval::Approvals, plan::work_out};

/// Three clusters; the first is a wave of its own, the rest asks.
fn world() -> World {
    let mut world = World::new("a eks, b gke, c onprem");
    world.strategy(
        "waves",
        json!({"waves": [{"name": "canary", "clusters": {"names": ["a"]}, "soak": "10m"},
                         {"name": "rest", "approval": "Required"}]}),
    );
    world.policy("web", rolled(&json!({"replicas": {"mode": "Duplicated"}})));
    world.apply("web", 2, "v1");
    world.settle();
    world
}

fn rolled(spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["rollout"] = json!({"strategyName": "waves"});
    spec
}

impl World {
    /// Which generation of the content each cluster was given, by the order in which they came: `a1 b1 c1`.
    fn given(&self, text: &str, known: &mut Vec<String>) -> String {
        let clusters = &self.placed(text).unwrap().spec.clusters;
        let mut words = Vec::new();
        for it in clusters {
            let at = known.iter().position(|known| *known == it.revision).unwrap_or_else(|| {
                known.push(it.revision.clone());
                known.len() - 1
            });
            words.push(format!("{}{}", it.name, at + 1));
        }
        words.join(" ")
    }

    /// Passes and the syncer, until both rest.
    fn rest(&mut self) {
        let mut log = String::new();
        for round in 0.. {
            assert!(round < 30, "no rest:\n{log}");
            if !self.decide(&mut log) && !self.sync() {
                break;
            }
        }
        self.index.touch_everything();
        assert!(!self.decide(&mut log), "an idle look wrote:\n{log}");
    }

    fn state(&self, text: &str) -> RolloutState {
        self.rollout(text).unwrap().status.as_ref().unwrap().state
    }

    fn told(&self) -> Vec<&str> {
        self.events.iter().map(|it| it.reason).collect()
    }
}

#[test]
fn an_image_goes_wave_by_wave_and_a_first_placement_everywhere_at_once() {
    let mut world = world();
    let mut known = Vec::new();
    assert_eq!(world.given("web", &mut known), "a1 b1 c1");
    assert!(world.rollout("web").is_none(), "there is nothing to be said of it");

    world.apply("web", 2, "v2");
    world.rest();
    assert_eq!(world.given("web", &mut known), "a2 b1 c1");
    assert_eq!(world.state("web"), RolloutState::Soaking);
    let note = world.placed("web").unwrap().spec.rollout.clone().unwrap();
    assert_eq!((note.revision, note.reason.as_str()), (known[1].clone(), "Soaking"));

    world.pass_time(601);
    world.rest();
    assert_eq!(world.given("web", &mut known), "a2 b1 c1");
    assert_eq!(world.state("web"), RolloutState::WaitingForApproval);

    world.tell("web", |it| it.approved.push("rest".into()));
    world.rest();
    assert_eq!(world.given("web", &mut known), "a2 b2 c2");
    assert_eq!(world.state("web"), RolloutState::Completed);
    assert_eq!(world.placed("web").unwrap().spec.rollout, None);
    let told =
        ["RolloutStarted", "WaveStarted", "RolloutPaused", "WaveStarted", "RolloutCompleted"];
    assert_eq!(world.told(), told);

    // Taken back: the revision before is still there.
    world.tell("web", |it| it.aborted = true);
    world.rest();
    assert_eq!(world.given("web", &mut known), "a1 b1 c1");
    assert_eq!(world.state("web"), RolloutState::Aborted);
    assert_eq!(world.told().last(), Some(&"RolloutAborted"));
}

#[test]
fn scaling_waits_for_nothing() {
    let mut world = world();
    world.apply("web", 2, "v2");
    world.rest();
    world.apply("web", 5, "v2");
    world.rest();
    let placed = world.placed("web").unwrap();
    let replicas: Vec<_> = placed.spec.clusters.iter().map(|it| it.replicas).collect();
    assert_eq!(replicas, [Some(5), Some(5), Some(5)]);
    let mut known = Vec::new();
    assert_eq!(world.given("web", &mut known), "a1 b2 c2");
}

#[test]
fn a_missing_strategy_releases_nothing_and_is_named() {
    let mut world = World::new("a eks, b gke");
    world.policy("web", rolled(&json!({})));
    world.apply("web", 2, "v1");
    world.settle();
    let mut known = Vec::new();
    assert_eq!(world.given("web", &mut known), "a1 b1");
    world.apply("web", 2, "v2");
    world.rest();
    assert_eq!(world.given("web", &mut known), "a1 b1");
    let outcome = &world.placed("web").unwrap().spec.outcome;
    assert_eq!((outcome.status.as_str(), outcome.reason.as_str()), ("False", "NoRolloutStrategy"));
    assert_eq!(
        outcome.message,
        "RolloutStrategy shop/waves does not exist: nothing new is released"
    );
    world.strategy(
        "waves",
        json!({"waves": [{"name": "canary", "clusters": {"names": ["b"]}, "soak": "1h"}]}),
    );
    world.rest();
    assert_eq!(world.given("web", &mut known), "a1 b2");
    // What has begun is taken back without one, too.
    let warned = world.index.strategy_delete_warning("shop", "waves").unwrap();
    assert!(warned.starts_with("named by PlacementPolicy shop/"), "{warned}");
    assert_eq!(world.index.strategy_delete_warning("shop", "other"), None);
    world.index.set_strategy(&("shop".into(), "waves".into()), None);
    world.rest();
    assert_eq!(world.given("web", &mut known), "a1 b2");
    world.tell("web", |it| it.aborted = true);
    world.rest();
    assert_eq!(world.given("web", &mut known), "a1 b1");
    assert_eq!(world.state("web"), RolloutState::Aborted);
    // No waves are asked for any more.
    world.policy("web", json!({}));
    world.rest();
    assert_eq!(world.given("web", &mut known), "a2 b2");
    assert_eq!(world.state("web"), RolloutState::Completed);
}

#[test]
fn rule_1_6_what_an_abort_returns_to_is_kept() {
    let mut world = world();
    let mut known = Vec::new();
    world.given("web", &mut known);
    for n in 2..20 {
        world.apply("web", 2, &format!("v{n}"));
        world.rest();
    }
    let good = format!("deployment-web-{}", known[0]);
    assert!(!world.deleted_revisions.is_empty());
    assert!(!world.deleted_revisions.contains(&good), "{:?}", world.deleted_revisions);
    world.tell("web", |it| it.aborted = true);
    world.rest();
    assert_eq!(world.given("web", &mut known), "a1 b1 c1");
}

#[test]
fn a_planned_move_keeps_the_old_copy_until_its_wave_is_open() {
    for mode in ["Duplicated", "Divided"] {
        let mut world = World::new("a eks, b gke, c onprem");
        world.strategy(
            "waves",
            json!({"waves": [{"name": "canary", "clusters": {"names": ["a"]}},
                             {"name": "rest", "approval": "Required"}]}),
        );
        let on = |names: &[&str]| {
            let replicas = match mode {
                "Divided" => json!({"mode": mode, "division": "Weighted"}),
                _ => json!({"mode": mode}),
            };
            rolled(&json!({"affinities": [{"clusters": {"names": names}}], "replicas": replicas}))
        };
        world.policy("web", on(&["a"]));
        world.apply("web", 4, "v1");
        world.settle();
        assert_eq!(world.show("web"), "a=4 | Placed");
        world.policy("web", on(&["b", "c"]));
        world.rest();
        assert_eq!(world.show("web"), "a=4 | Placed", "{mode}: nothing is begun");
        assert_eq!(world.state("web"), RolloutState::WaitingForApproval);
        world.tell("web", |it| it.approved.push("rest".into()));
        world.rest();
        let moved = if mode == "Divided" { "b=2 c=2 | Placed" } else { "b=4 c=4 | Placed" };
        assert_eq!(world.show("web"), moved);
        assert_eq!(world.state("web"), RolloutState::Completed);
    }
}

#[test]
fn a_divided_move_into_several_waves_ends() {
    let strategies = [
        json!({"waves": [{"name": "canary", "clusters": {"names": ["b"]}, "soak": "10m"}]}),
        json!({"waves": [{"name": "rest", "maxConcurrent": 1}]}),
    ];
    for strategy in strategies {
        let mut world = World::new("a eks, b gke, c onprem");
        world.strategy("waves", strategy);
        let on = |names: &[&str]| {
            rolled(&json!({"affinities": [{"clusters": {"names": names}}],
                           "replicas": {"mode": "Divided", "division": "Weighted"}}))
        };
        world.policy("web", on(&["a"]));
        world.apply("web", 4, "v1");
        world.settle();
        world.policy("web", on(&["b", "c"]));
        world.rest();
        assert_eq!(world.show("web"), "b=2 c=2 | Placed");
        assert_eq!(world.state("web"), RolloutState::Completed);
    }
}

#[test]
fn rule_1_4_a_replacement_waits_for_no_wave() {
    let mut world = World::new("a eks, b eks, c eks, d eks");
    world.strategy(
        "waves",
        json!({"waves": [{"name": "canary", "clusters": {"names": ["a"]}},
                         {"name": "rest", "approval": "Required"}]}),
    );
    world.policy(
        "web",
        rolled(&json!({"spread": [{"topologyKey": "cluster", "min": 2, "max": 2}], "failover": {"after": "5m"}})),
    );
    world.apply("web", 2, "v1");
    world.settle();
    let mut known = Vec::new();
    assert_eq!(world.given("web", &mut known), "a1 b1");
    world.apply("web", 2, "v2");
    world.rest();
    assert_eq!(world.given("web", &mut known), "a2 b1");
    world.cluster("b eks dark");
    world.pass_time(301);
    world.rest();
    assert_eq!(world.given("web", &mut known), "a2 b1 c1", "by what is known to be good");
    assert_eq!(world.show("web"), "a=2 b=2!Failover c=2 | Placed");
}

#[test]
fn rule_1_4_a_move_beside_what_was_replaced_waits_for_its_wave() {
    let mut world = World::new("a eks, b eks, c eks, d eks");
    world.strategy(
        "waves",
        json!({"waves": [{"name": "canary", "clusters": {"names": ["a"]}},
                         {"name": "rest", "approval": "Required"}]}),
    );
    let on = |names: &[&str]| {
        rolled(&json!({"affinities": [{"clusters": {"names": names}}], "failover": {"after": "5m"},
                       "spread": [{"topologyKey": "cluster", "min": 2, "max": 2}]}))
    };
    world.policy("web", on(&["a", "b", "c"]));
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("b eks dark");
    world.pass_time(301);
    world.rest();
    assert_eq!(world.show("web"), "a=2 b=2!Failover c=2 | Placed");
    // d in place of a, by a policy edit: b was replaced already.
    world.policy("web", on(&["b", "c", "d"]));
    world.rest();
    assert_eq!(world.show("web"), "a=2 b=2!Failover c=2 | Placed");
    assert_eq!(world.state("web"), RolloutState::WaitingForApproval);
    world.tell("web", |it| it.approved.push("rest".into()));
    world.rest();
    assert_eq!(world.show("web"), "b=2!Failover c=2 d=2 | Placed");
}

#[test]
fn an_override_is_a_change_too() {
    let mut world = world();
    world.overrides("mirror", &json!([{"image": [{"registry": "mirror.example"}]}]));
    world.rest();
    let mut known = Vec::new();
    assert_eq!(world.given("web", &mut known), "a1 b2 c2");
    assert_eq!(world.rollout("web").unwrap().metadata.name.as_deref(), Some("deployment-web"));
    assert_eq!(key("web").namespace, "shop");
}

#[test]
fn what_fails_in_the_first_wave_reaches_no_other() {
    let mut world = world();
    world.strategy(
        "waves",
        json!({"waves": [{"name": "canary", "clusters": {"names": ["a"]}}], "progressDeadline": "5m",
               "onFailure": "RollBack"}),
    );
    let mut known = Vec::new();
    world.given("web", &mut known);
    world.failing.insert("a".into());
    world.apply("web", 2, "v2");
    world.rest();
    assert_eq!(world.given("web", &mut known), "a2 b1 c1");
    world.pass_time(302);
    world.rest();
    assert_eq!(world.given("web", &mut known), "a1 b1 c1");
    assert_eq!(world.state("web"), RolloutState::Aborted);
    let status = world.rollout("web").unwrap().status.clone().unwrap();
    assert_eq!(status.failure, "ProgressDeadlineExceeded");
    let note = world.placed("web").unwrap().spec.rollout.clone().unwrap();
    assert_eq!(note.reason, "Aborted");
    assert!(note.message.contains("a was not ready within 5m"), "{}", note.message);
    // The policy asks for no waves any more: it is released all the same, and so it is told.
    world.policy("web", json!({"replicas": {"mode": "Duplicated"}}));
    world.rest();
    assert_eq!(world.given("web", &mut known), "a2 b2 c2");
    assert_eq!(world.state("web"), RolloutState::Completed);
}

#[test]
fn a_plan_says_in_which_waves_a_change_is_released_and_what_it_waits_for() {
    let world = world();
    let changed = |replicas, image| [template_edit(&world, "web", replicas, image).unwrap()];
    let planned = plan(&world, &changed(2, "v2"));
    let template = &planned.templates[0];
    assert_eq!(
        template.rollout,
        "released in 2 waves by RolloutStrategy shop/waves: canary, rest (needs approval)"
    );
    let waves: Vec<_> =
        template.changes.iter().map(|it| (it.cluster.as_str(), it.wave.as_str())).collect();
    assert_eq!(waves, [("a", "canary"), ("b", "rest"), ("c", "rest")]);
    let check = planned.checks.iter().find(|it| it.name == "rollout").unwrap();
    assert_eq!(check.message, "wave rest of Deployment shop/web waits for approval");
    // More replicas are not released in waves.
    let scaled = plan(&world, &changed(3, "v1"));
    assert_eq!(scaled.templates[0].changes.len(), 3);
    assert_eq!(scaled.templates[0].rollout, "");
}

#[test]
fn what_a_plan_says_of_waves_is_there_after_the_last_of_them() {
    let on = |names: &[&str], mode: &Value| {
        rolled(&json!({"affinities": [{"clusters": {"names": names}}], "replicas": mode}))
    };
    let whole = json!({"mode": "Duplicated"});
    let parts = json!({"mode": "Divided", "division": "Weighted"});
    for (mode, image, clusters) in [
        (&whole, "v2", ["a", "b"]),
        (&whole, "v1", ["b", "c"]),
        (&parts, "v2", ["a", "c"]),
        (&parts, "v1", ["b", "c"]),
    ] {
        let mut world = World::new("a eks, b gke, c onprem");
        world.strategy(
            "waves",
            json!({"waves": [{"name": "canary", "clusters": {"names": ["a"]}, "soak": "10m"},
                             {"name": "rest", "approval": "Required"}]}),
        );
        world.policy("web", on(&["a", "b"], mode));
        world.apply("web", 4, "v1");
        world.settle();
        let policy = on(&clusters, mode);
        let edits =
            [template_edit(&world, "web", 4, image).unwrap(), policy_edit(99, policy.clone())];
        let copy = world.index.clone();
        let planned = work_out(copy, &edits, &[], Approvals::All, world.now).unwrap();
        let planned = planned.run.unwrap().index.placements[&key("web")].spec.clusters.clone();
        world.apply("web", 4, image);
        world.policy("web", policy);
        for _ in 0..4 {
            world.rest();
            world.tell("web", |it| it.approved = vec!["rest".into()]);
            world.pass_time(601);
        }
        assert_eq!(world.state("web"), RolloutState::Completed, "{mode} {image} {clusters:?}");
        assert_eq!(world.placed("web").unwrap().spec.clusters, planned);
    }
}

#[test]
fn a_rollout_of_what_is_not_decided_any_more_says_that_it_is_held() {
    let spec = json!({"replicas": {"mode": "Duplicated"}});
    let mut suspended = rolled(&spec);
    suspended["suspend"] = json!(true);
    let mut invalid = rolled(&spec);
    invalid["affinities"] = json!([{"clusters": {"expressions": ["cluster.minor >="]}}]);
    for (policy, why) in [
        (Some(suspended), "PlacementPolicy shop/web is suspended"),
        (Some(invalid), "spec.affinities[0]"),
        (None, "policy"),
    ] {
        let mut world = world();
        world.strategy(
            "waves",
            json!({"waves": [{"name": "canary", "clusters": {"names": ["a"]}}, {"name": "rest"}],
                   "progressDeadline": "5m"}),
        );
        let mut known = Vec::new();
        world.given("web", &mut known);
        world.failing.insert("a".into());
        world.apply("web", 2, "v2");
        world.rest();
        assert_eq!(world.state("web"), RolloutState::Progressing);
        match policy {
            Some(policy) => world.policy("web", policy),
            None => world.index.set_policy(("shop".into(), "web".into()), None),
        }
        world.rest();
        assert_eq!(world.state("web"), RolloutState::Paused);
        let note = world.placed("web").unwrap().spec.rollout.clone().unwrap();
        assert_eq!(note.reason, "RolloutPaused");
        assert!(note.message.starts_with("held: ") && note.message.contains(why), "{note:?}");
        // Its deadline does not count as long, and then it goes on.
        world.pass_time(3_600);
        world.rest();
        world.policy("web", rolled(&spec));
        world.rest();
        assert_eq!(world.state("web"), RolloutState::Progressing, "{why}");
        assert_eq!(world.given("web", &mut known), "a2 b1 c1");
        world.failing.clear();
        world.rest();
        assert_eq!(world.given("web", &mut known), "a2 b2 c2");
        assert_eq!(world.state("web"), RolloutState::Completed);
    }
}

#[test]
fn what_room_changes_is_no_concern_of_a_rollout_and_what_is_measured_is_one_of_its_gate() {
    let mut world = World::new("a eks, b gke");
    world.strategy(
        "waves",
        json!({"waves": [{"name": "canary", "clusters": {"names": ["a"]},
                          "gate": ["wave.clusters.all(it, it.scores['errors'] <= 5)"]},
                         {"name": "rest", "approval": "Required"}]}),
    );
    world.policy("web", rolled(&json!({})));
    world.apply("web", 2, "v1");
    world.settle();
    world.apply("web", 2, "v2");
    world.rest();
    assert_eq!(world.state("web"), RolloutState::Gated);
    world.index.touch_waiting();
    assert!(world.index.dirty.is_empty());
    let score = |points: i64| {
        let spec = json!({"cluster": "a", "scores": [{"name": "errors", "value": points}]});
        ClusterScore::new("a", serde_json::from_value(spec).unwrap())
    };
    world.index.set_score("a", Some(score(9)));
    assert!(!world.index.dirty.is_empty());
    world.rest();
    assert_eq!(world.state("web"), RolloutState::Gated);
    world.index.set_score("a", Some(score(3)));
    world.rest();
    assert_eq!(world.state("web"), RolloutState::WaitingForApproval);
    world.index.set_score("a", Some(score(4)));
    assert!(world.index.dirty.is_empty(), "its gate was open");
}
