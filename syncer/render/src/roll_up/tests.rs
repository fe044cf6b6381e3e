use federation_types::names::Gvk;
use federation_types::placement::{Outcome, PlacedCluster, RemovedCluster, TemplateRef};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn deployment() -> Gvk {
    Gvk::new("apps/v1", "Deployment")
}

fn spec(divided: bool, clusters: &[&str]) -> PlacementSpec {
    PlacementSpec {
        template: TemplateRef { generation: 7, ..TemplateRef::default() },
        divided,
        clusters: clusters
            .iter()
            .map(|it| PlacedCluster { name: (*it).into(), ..PlacedCluster::default() })
            .collect(),
        ..PlacementSpec::default()
    }
}

fn report(replicas: i64, available: i64) -> CopyReport {
    let ready = replicas == available;
    CopyReport {
        state: if ready { CopyState::Ready } else { CopyState::Progressing },
        revision: "r".into(),
        current: true,
        health: Some(Arc::new(Health {
            state: if ready { CopyState::Ready } else { CopyState::Progressing },
            observed: true,
            available: ready,
            replicas: Some(replicas),
            ready: Some(available),
            numbers: vec![
                ("replicas", replicas),
                ("updatedReplicas", replicas),
                ("readyReplicas", available),
                ("availableReplicas", available),
                ("unavailableReplicas", replicas - available),
            ],
            ..Health::default()
        })),
        ..CopyReport::default()
    }
}

fn reports(reports: &[(&str, CopyReport)]) -> Reports {
    reports.iter().map(|(name, report)| ((*name).to_owned(), report.clone())).collect()
}

fn status(spec: &PlacementSpec, reports: &Reports) -> Value {
    template_status(&deployment(), spec, reports, &Value::Null, &[], "now").expect("a status")
}

fn condition_of<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"]
        .as_array()
        .and_then(|it| it.iter().find(|it| it["type"] == kind))
        .expect("the condition")
}

#[test]
fn rule_4_6_divided_sums_its_copies_and_duplicated_reports_the_lowest() {
    let both = reports(&[("a", report(3, 3)), ("b", report(2, 1))]);
    let divided = status(&spec(true, &["a", "b"]), &both);
    assert_eq!((&divided["replicas"], &divided["availableReplicas"]), (&json!(5), &json!(4)));
    let duplicated = status(&spec(false, &["a", "b"]), &both);
    assert_eq!((&duplicated["replicas"], &duplicated["availableReplicas"]), (&json!(2), &json!(1)));
    assert_eq!(condition_of(&divided, "Available")["status"], "False");
    let fine = reports(&[("a", report(3, 3)), ("b", report(2, 2))]);
    let fine = status(&spec(true, &["a", "b"]), &fine);
    assert_eq!(condition_of(&fine, "Available")["status"], "True");
    assert_eq!(condition_of(&fine, "Progressing")["reason"], "NewReplicaSetAvailable");
}

#[test]
fn rule_4_6_a_generation_is_observed_when_every_target_observed_it() {
    let spec = spec(true, &["a", "b"]);
    let with = |second: CopyReport| {
        let both = reports(&[("a", report(1, 1)), ("b", second)]);
        let previous = json!({"observedGeneration": 6});
        template_status(&deployment(), &spec, &both, &previous, &[], "now").expect("a status")
            ["observedGeneration"]
            .clone()
    };
    assert_eq!(with(report(1, 1)), 7);
    assert_eq!(with(CopyReport { current: false, ..report(1, 1) }), 6);
    assert_eq!(with(unreachable(&report(1, 1), "")), 6);
    let mut unseen = report(1, 1);
    let unobserved =
        Health { observed: false, ..(**unseen.health.as_ref().expect("health")).clone() };
    unseen.health = Some(Arc::new(unobserved));
    assert_eq!(with(unseen), 6);
}

#[test]
fn rule_4_6_unreachable_copies_keep_their_last_values_and_count_as_none_available() {
    let spec = spec(true, &["a", "b"]);
    let both = reports(&[("a", report(3, 3)), ("b", unreachable(&report(2, 2), "no answer"))]);
    let template = status(&spec, &both);
    assert_eq!((&template["replicas"], &template["availableReplicas"]), (&json!(5), &json!(3)));
    let placement = placement_status(&spec, 1, &both, &PlacementStatus::default(), "now");
    let copy = &placement.clusters[1];
    assert_eq!((copy.state, copy.stale, copy.replicas), (CopyState::Unreachable, true, Some(2)));
    assert_eq!(copy.ready_replicas, Some(0));
    assert_eq!((placement.summary.clusters, placement.summary.ready), (2, 1));
    let ready = condition::find(&placement.conditions, "Ready").expect("Ready");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", copy::UNREACHABLE));
}

#[test]
fn rule_4_6_any_refusal_names_its_cluster() {
    let spec = spec(true, &["a", "b"]);
    let refused = CopyReport {
        state: CopyState::Refused,
        reason: copy::REFUSED.into(),
        message: "spec.x: Invalid value".into(),
        ..CopyReport::default()
    };
    let both = reports(&[("a", report(3, 3)), ("b", refused)]);
    let template = status(&spec, &both);
    assert_eq!(condition_of(&template, "Progressing")["message"], "b: spec.x: Invalid value");
    let placement = placement_status(&spec, 1, &both, &PlacementStatus::default(), "now");
    let synced = condition::find(&placement.conditions, "Synced").expect("Synced");
    assert_eq!(
        (synced.status.as_str(), synced.message.as_str()),
        ("False", "b: spec.x: Invalid value")
    );
}

#[test]
fn rule_4_3_a_removing_entry_stays_until_the_copy_was_seen_gone() {
    let mut spec = spec(true, &["a"]);
    spec.removing.push(RemovedCluster { name: "b".into(), ..RemovedCluster::default() });
    let names = |reports: &Reports| -> Vec<(String, CopyState)> {
        placement_status(&spec, 4, reports, &PlacementStatus::default(), "now")
            .clusters
            .into_iter()
            .map(|it| (it.name, it.state))
            .collect()
    };
    let a = ("a", report(1, 1));
    let kept = [("a".to_owned(), CopyState::Ready), ("b".to_owned(), CopyState::Removing)];
    assert_eq!(names(&reports(std::slice::from_ref(&a))), kept);
    assert_eq!(names(&reports(&[a.clone(), ("b", unreachable(&report(1, 1), ""))])), kept);
    let gone = CopyReport { gone: true, ..CopyReport::default() };
    assert_eq!(names(&reports(&[a, ("b", gone)])), kept[..1]);
}

#[test]
fn times_move_only_with_what_they_are_about_so_that_an_idle_fleet_writes_nothing() {
    let spec = spec(true, &["a"]);
    let one = reports(&[("a", report(1, 1))]);
    let first = placement_status(&spec, 1, &one, &PlacementStatus::default(), "t1");
    assert_eq!(placement_status(&spec, 1, &one, &first, "t2"), first);
    let template =
        template_status(&deployment(), &spec, &one, &Value::Null, &[], "t1").expect("one");
    assert_eq!(template_status(&deployment(), &spec, &one, &template, &[], "t2"), Some(template));
    let changed = reports(&[("a", report(1, 0))]);
    let second = placement_status(&spec, 1, &changed, &first, "t3");
    assert_eq!(second.clusters[0].since, "t3");
}

#[test]
fn jobs_end_when_all_their_copies_did_and_services_show_every_address() {
    let job = Gvk::new("batch/v1", "Job");
    let copy = |reason: &str, succeeded: i64, completed: &str| CopyReport {
        reason: reason.into(),
        health: Some(Arc::new(Health {
            reason: reason.into(),
            numbers: vec![("succeeded", succeeded)],
            started: "2026-01-01T00:00:00Z".into(),
            completed: completed.into(),
            ..Health::default()
        })),
        ..CopyReport::default()
    };
    let spec = spec(true, &["a", "b"]);
    let status = |gvk: &Gvk, both: &[(&str, CopyReport)]| {
        template_status(gvk, &spec, &reports(both), &Value::Null, &[], "now").expect("a status")
    };
    let half = status(&job, &[("a", copy("Completed", 2, "t")), ("b", copy("", 1, ""))]);
    assert_eq!((half.get("conditions"), &half["succeeded"]), (None, &json!(3)));
    let done = [("a", copy("Completed", 2, "t1")), ("b", copy("Completed", 1, "t2"))];
    let whole = status(&job, &done);
    assert_eq!(whole["conditions"][0]["type"], "Complete");
    assert_eq!(whole["completionTime"], "t2");
    let failed = status(&job, &[("a", copy("Failed", 0, "")), ("b", copy("", 1, ""))]);
    assert_eq!(failed["conditions"][0]["type"], "Failed");

    let at = |ip: &str| CopyReport {
        health: Some(Arc::new(Health { ingress: vec![json!({ "ip": ip })], ..Health::default() })),
        ..CopyReport::default()
    };
    let service = status(&Gvk::new("v1", "Service"), &[("a", at("1.1.1.1")), ("b", at("2.2.2.2"))]);
    assert_eq!(
        service,
        json!({"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}, {"ip": "2.2.2.2"}]}})
    );
    let map = template_status(
        &Gvk::new("v1", "ConfigMap"),
        &spec,
        &Reports::new(),
        &Value::Null,
        &[],
        "",
    );
    assert_eq!(map, None);
}

proptest! {
    #[test]
    fn rule_4_6_replicas_never_exceed_what_was_asked_for(
        shares in proptest::collection::vec((0..20_i64, 0..20_i64), 1..6),
        divided in any::<bool>(),
    ) {
        let names: Vec<String> = (0..shares.len()).map(|it| format!("c{it}")).collect();
        let spec = spec(divided, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let all: Reports = names
            .iter()
            .zip(&shares)
            .map(|(name, (replicas, available))| (name.clone(), report(*replicas, *available.min(replicas))))
            .collect();
        let status = status(&spec, &all);
        let asked: i64 = if divided {
            shares.iter().map(|it| it.0).sum()
        } else {
            shares.iter().map(|it| it.0).max().unwrap_or(0)
        };
        prop_assert!(status["replicas"].as_i64().expect("a number") <= asked);
        prop_assert!(status["availableReplicas"].as_i64() <= status["replicas"].as_i64());
    }
}

#[test]
fn rule_4_6_what_runs_nowhere_says_why_on_the_template_itself() {
    let mut spec = spec(true, &[]);
    assert_eq!(
        template_status(&deployment(), &spec, &reports(&[]), &Value::Null, &[], "now"),
        None
    );
    spec.outcome.status = "False".into();
    spec.outcome.reason = "NoClusterFits".into();
    spec.outcome.message = "no cluster fits (3 Taint)".into();
    let status = status(&spec, &reports(&[]));
    let stalled = condition_of(&status, "Stalled");
    assert_eq!((&stalled["status"], &stalled["reason"]), (&json!("True"), &json!("NoClusterFits")));
    assert_eq!(stalled["message"], "no cluster fits (3 Taint)");
    assert_eq!(condition_of(&status, "Available")["status"], "False");
    assert_eq!((&status["replicas"], &status["observedGeneration"]), (&json!(0), &json!(7)));
    for kind in ["StatefulSet", "DaemonSet", "ReplicaSet"] {
        let gvk = Gvk::new("apps/v1", kind);
        let status =
            template_status(&gvk, &spec, &reports(&[]), &Value::Null, &[], "now").expect("one");
        assert_eq!(condition_of(&status, "Placed")["status"], "False", "{kind}");
    }
    // What still runs is not stalled, and says that it is not as it was asked for.
    spec.clusters = self::spec(true, &["a"]).clusters;
    let status = self::status(&spec, &reports(&[("a", report(1, 1))]));
    assert_eq!(condition_of(&status, "Placed")["reason"], "NoClusterFits");
    assert!(!status.to_string().contains("Stalled"));
}

#[test]
fn rule_4_7_what_is_needed_and_missing_is_a_condition_of_who_needs_it() {
    let mut spec = spec(true, &["a"]);
    let reports = reports(&[("a", report(1, 1))]);
    let outcome = |status: &str, reason: &str, message: &str| Outcome {
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
    };
    let none = placement_status(&spec, 1, &reports, &PlacementStatus::default(), "t1");
    let of = |it: &PlacementStatus| -> Option<(String, String, String)> {
        let found = it.conditions.iter().find(|it| it.kind == "DependenciesMet")?;
        Some((found.status.clone(), found.message.clone(), found.last_transition_time.clone()))
    };
    assert_eq!(of(&none), None);
    spec.dependencies =
        Some(outcome("False", "DependencyMissing", "ConfigMap cfg is not on the hub"));
    let lacks = placement_status(&spec, 2, &reports, &none, "t2");
    let said = ("False".into(), "ConfigMap cfg is not on the hub".into(), "t2".into());
    assert_eq!(of(&lacks), Some(said));
    spec.dependencies = Some(outcome("True", "DependenciesMet", ""));
    let met = placement_status(&spec, 3, &reports, &lacks, "t3");
    assert_eq!(of(&met), Some(("True".into(), String::new(), "t3".into())));
    spec.dependencies = None;
    assert_eq!(of(&placement_status(&spec, 4, &reports, &met, "t4")), None);
}

#[test]
fn rule_4_6_a_paused_wave_is_rollout_paused_and_no_timeout() {
    let mut spec = spec(false, &["a", "b"]);
    for (cluster, revision) in spec.clusters.iter_mut().zip(["r2", "r1"]) {
        revision.clone_into(&mut cluster.revision);
    }
    let reports = reports(&[("a", report(2, 2)), ("b", report(2, 2))]);
    let said = |reason: &str| {
        let rollout = PlacedRollout {
            revision: "r2".into(),
            reason: reason.into(),
            message: "wave two (2 of 2) waits for approval".into(),
        };
        PlacementSpec { rollout: Some(rollout), ..spec.clone() }
    };
    let waits = status(&said("WaitingForApproval"), &reports);
    let progressing = condition_of(&waits, "Progressing");
    assert_eq!(
        (&progressing["status"], &progressing["reason"]),
        (&json!("True"), &json!("RolloutPaused"))
    );
    assert_eq!(progressing["message"], "wave two (2 of 2) waits for approval");
    // The new content was observed by one of two only.
    assert_eq!(waits["observedGeneration"], 0);
    let over = status(&PlacementSpec { rollout: None, ..spec.clone() }, &reports);
    assert_eq!(over["observedGeneration"], spec.template.generation);
    let aborted = status(&said("Aborted"), &reports);
    assert_eq!(condition_of(&aborted, "Stalled")["reason"], "Aborted");
    assert_eq!(condition_of(&aborted, "Progressing")["status"], "False");
    let placement = placement_status(
        &said("WaitingForApproval"),
        1,
        &reports,
        &PlacementStatus::default(),
        "t",
    );
    let synced = condition::find(&placement.conditions, "Synced").unwrap();
    assert_eq!((synced.status.as_str(), synced.reason.as_str()), ("False", "WaitingForApproval"));
}

#[test]
fn among_many_clusters_one_that_is_ready_in_an_older_revision_is_listed() {
    let names: Vec<String> = (0..=LISTED).map(|it| format!("c{it:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut spec = spec(false, &names);
    let copies: Vec<(&str, CopyReport)> = names.iter().map(|it| (*it, report(2, 2))).collect();
    let mut reports = reports(&copies);
    for report in reports.values_mut() {
        report.revision = "r1".into();
    }
    for cluster in &mut spec.clusters {
        cluster.revision = "r1".into();
    }
    spec.clusters[7].revision = "r2".into();
    let status = placement_status(&spec, 1, &reports, &PlacementStatus::default(), "t");
    let listed: Vec<&str> = status.clusters.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(listed, ["c0007"]);
    let left_out = status.decisions.iter().filter(|it| it.revision == "r1");
    assert_eq!(left_out.count(), LISTED, "what is left out says in which revision");
    assert_eq!(status.decisions[7].revision, "");
}

#[test]
fn a_custom_kind_has_the_status_that_its_rule_keeps() {
    let rule = json!({
        "target": {"apiVersion": "example.org/v1", "kind": "Engine"},
        "status": {"keep": [{"path": ".status.up"}, {"path": ".status.conditions"}]},
    });
    let rule = serde_json::from_value(rule).expect("a rule");
    let (rules, _) = status_rules::Rules::new([("engines", &rule)]);
    let gvk = Gvk::new("example.org/v1", "Engine");
    let keep = &rules.find(&gvk).expect("it is active").keep;
    let report = |up: i64| {
        let live =
            json!({"metadata": {"generation": 1}, "status": {"up": up, "observedGeneration": 1}});
        let health = crate::health::assess(&gvk, &live, &rules);
        CopyReport {
            state: health.state,
            current: true,
            health: Some(Arc::new(health)),
            ..CopyReport::default()
        }
    };
    let mut spec = PlacementSpec { divided: true, ..PlacementSpec::default() };
    spec.template.generation = 4;
    spec.outcome.status = "True".into();
    let mut both = Reports::new();
    for (name, up) in [("a", 2), ("b", 3)] {
        spec.clusters.push(PlacedCluster { name: name.into(), ..PlacedCluster::default() });
        both.insert(name.into(), report(up));
    }
    let status = template_status(&gvk, &spec, &both, &Value::Null, keep, "now");
    let expected = json!({"up": 5, "observedGeneration": 4});
    assert_eq!(status, Some(expected.clone()));
    // Without a rule it has none, and what there was is taken away.
    assert_eq!(template_status(&gvk, &spec, &both, &expected, &[], "now"), None);
    assert_eq!(
        status_patch(&expected, &json!({})),
        json!({"up": null, "observedGeneration": null})
    );
    let (old, new) = (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 3}, "d": [1]}));
    assert_eq!(status_patch(&old, &new), json!({"a": {"b": 3, "c": null}, "d": [1]}));
    // What is not placed says so where its author looks.
    spec.clusters.clear();
    spec.outcome.status = "False".into();
    spec.outcome.reason = "NoClusterFits".into();
    let status =
        template_status(&gvk, &spec, &Reports::new(), &expected, keep, "now").expect("one");
    assert_eq!(status["conditions"][0]["reason"], "NoClusterFits");
}
