//! Claims, limits, tenancy, stability, shortage and kinds, through whole passes (RULES 2, 3.1 to 3.4).

use expect_test::expect;
use federation_types::cluster::ClusterSetSpec;
use serde_json::json;

use super::world::{World, key};

#[test]
fn rule_2_1_the_claim_is_computed_anew_and_names_the_winner() {
    let mut world = World::new("a eks, b gke");
    world.policy("low", json!({"priority": 1, "affinities": [{"clusters": {"names": ["a"]}}]}));
    world.apply("web", 2, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
    world.policy("high", json!({"priority": 2, "affinities": [{"clusters": {"names": ["b"]}}]}));
    expect![[r#"
        web: a=2!PolicyChanged b=2 | Placed
        web: b=2 -a:PolicyChanged | Placed
        web: b=2 | Placed
    "#]]
    .assert_eq(&world.settle());
    let policy = world.placed("web").unwrap().spec.policy_ref.clone().unwrap();
    assert_eq!((policy.kind.as_str(), policy.name.as_str()), ("PlacementPolicy", "high"));
}

#[test]
fn rule_2_2_limits_of_cluster_policies_hold_whoever_claims() {
    let mut world = World::new("a eks in=EU, b gke in=EU, c onprem");
    world.policy("web", json!({}));
    world.apply("web", 2, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=2 b=2 c=2 | Placed");
    world.policy(
        "-/guard",
        json!({"limitsOnly": true, "limits": {"jurisdictions": ["EU"], "maxClusters": 1}}),
    );
    world.settle();
    assert_eq!(world.show("web"), "a=2 | Placed");
}

#[test]
fn rule_2_2_two_templates_of_one_policy_under_different_limits_are_both_bound() {
    let mut world = World::new("a eks, b gke");
    world.policy("web", json!({}));
    world.policy(
        "-/guard",
        json!({"limitsOnly": true, "limits": {"maxClusters": 1},
               "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}]}),
    );
    world.apply("web", 1, "v1");
    world.apply("api", 1, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=1 | Placed");
    assert_eq!(world.show("api"), "a=1 b=1 | Placed");
}

#[test]
fn rule_2_2_what_runs_over_a_limit_that_came_later_stays_and_is_said() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 1);
    world.apply("web", 6, "v1");
    world.settle();
    let limit = |most: u32| json!({"limitsOnly": true, "limits": {"maxReplicas": most}});
    world.policy("-/guard", limit(4));
    world.settle();
    assert_eq!(world.show("web"), "a=3 b=3 | OverLimit");
    let outcome = world.placed("web").unwrap().spec.outcome.clone();
    let message = "6 replicas run, over the 4 that ClusterPlacementPolicy guard allows: none is added until there are \
                   fewer";
    assert_eq!((outcome.status.as_str(), outcome.message.as_str()), ("True", message));
    assert!(
        world.notes("web").contains(&format!("OverLimit: {message}")),
        "{:?}",
        world.notes("web")
    );
    // Growing, it waits; shrinking below the limit, it is well again.
    world.apply("web", 8, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=3 b=3 | Invalid");
    world.apply("web", 4, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=2 b=2 | Placed");
}

#[test]
fn rule_2_3_a_namespace_uses_the_clusters_of_the_sets_that_serve_it() {
    let mut world = World::new("a eks, b gke");
    let serve = |clusters: &[&str], namespace: &str| ClusterSetSpec {
        names: clusters.iter().map(|it| (*it).to_owned()).collect(),
        namespaces: vec![namespace.to_owned()],
        ..ClusterSetSpec::default()
    };
    world.set(
        "all",
        ClusterSetSpec { namespaces: vec!["*".to_owned()], ..ClusterSetSpec::default() },
    );
    world.policy("web", json!({}));
    world.apply("web", 1, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=1 b=1 | Placed");
    world.set("all", serve(&["a", "b"], "bank"));
    world.set("shop", serve(&["b"], "shop"));
    world.settle();
    assert_eq!(world.show("web"), "b=1 | Placed");
    world.set("shop", serve(&["b"], "other"));
    world.settle();
    assert_eq!(world.show("web"), "b=1 | NoClusterFits", "what runs stays");
}

#[test]
fn rule_2_6_what_nobody_claims_stays_on_the_hub() {
    let mut world = World::new("a eks");
    world.policy(
        "web",
        json!({"selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}]}),
    );
    world.apply("other", 1, "v1");
    assert_eq!(world.settle(), "");
    assert_eq!(world.show("other"), "-");
}

#[test]
fn a_suspended_policy_decides_nothing_new_and_finishes_what_was_begun() {
    let mut world = World::new("a eks, b gke dark");
    let policy = |suspend: bool, names: &[&str]| json!({"suspend": suspend, "affinities": [{"clusters": {"names": names}}], "tolerations": []});
    world.policy("web", policy(false, &["a"]));
    world.apply("web", 2, "v1");
    world.settle();
    world.cluster("b gke");
    world.policy("web", policy(false, &["b"]));
    // The removal is written, and the copy not yet seen gone, when the policy is suspended.
    let mut log = String::new();
    while !world.show("web").contains("-a:") {
        world.decide(&mut log);
        if !world.show("web").contains("-a:") {
            world.sync();
        }
    }
    world.policy("web", policy(true, &["a"]));
    world.apply("web", 9, "v2");
    expect![[r#"
        web: b=2 -a:PolicyChanged | Suspended
        web: b=2 | Suspended
    "#]]
    .assert_eq(&world.settle());
    world.delete("web");
    expect![[r#"
        web: -b:TemplateDeleted | Suspended
        web: forgotten
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_3_2_scaling_up_adds_and_scaling_down_removes_and_nothing_else_moves() {
    let mut world = World::new("a eks, b gke, c onprem");
    world.divide(&["a", "b", "c"], 1);
    world.apply("web", 2, "v1");
    world.settle();
    world.apply("web", 7, "v1");
    expect![[r#"
        web: a=3 b=2 c=2 | Placed
    "#]]
    .assert_eq(&world.settle());
    world.apply("web", 2, "v1");
    expect![[r#"
        web: a=1 b=1 -c:ScaledDown | Placed
        web: a=1 b=1 | Placed
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn rule_3_2_one_that_waits_for_room_is_placed_when_there_is_some() {
    let mut world = World::new("a eks rooms=3");
    world.policy("web", json!({"replicas": {"mode": "Divided", "division": "Room"}}));
    world.apply("one", 2, "v1");
    world.apply("two", 2, "v1");
    world.settle();
    assert_eq!(
        (world.show("one"), world.show("two")),
        ("a=2 | Placed".into(), "| NotEnoughRoom".into())
    );
    // The first runs now: the member reports what is left beside it.
    world.cluster("a eks rooms=1");
    world.settle();
    assert_eq!(world.show("two"), "| NotEnoughRoom");
    world.cluster("a eks rooms=2");
    world.settle();
    assert_eq!(
        (world.show("one"), world.show("two")),
        ("a=2 | Placed".into(), "a=2 | Placed".into())
    );
}

#[test]
fn rule_3_2_what_is_in_flight_is_not_given_away_twice() {
    let mut world = World::new("a eks rooms=4");
    world.policy("web", json!({"replicas": {"mode": "Divided", "division": "Room"}}));
    world.failing.insert("a".into());
    world.apply("one", 3, "v1");
    let mut log = String::new();
    world.decide(&mut log);
    // Nothing of it runs yet, and the snapshot is built anew.
    world.index.fleet_version += 1;
    world.apply("two", 2, "v1");
    world.decide(&mut log);
    assert_eq!(
        (world.show("one"), world.show("two")),
        ("a=3 | Placed".into(), "| NotEnoughRoom".into())
    );
    // Its own reservation does not stand in its way.
    world.apply("one", 4, "v1");
    world.index.fleet_version += 1;
    world.decide(&mut log);
    assert_eq!(world.show("one"), "a=4 | Placed");
}

#[test]
fn rule_3_3_growth_waits_and_what_runs_stays() {
    let mut world = World::new("a eks rooms=3");
    world.policy("web", json!({"replicas": {"mode": "Divided", "division": "Room"}}));
    world.apply("web", 3, "v1");
    world.settle();
    world.cluster("a eks rooms=0");
    world.apply("web", 5, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=3 | NotEnoughRoom");
    world.policy(
        "web",
        json!({"replicas": {"mode": "Divided", "division": "Room", "partial": "Allow"}}),
    );
    world.cluster("a eks rooms=1");
    world.settle();
    assert_eq!(world.show("web"), "a=4 | NotEnoughRoom");
    assert_eq!(
        world.placed("web").unwrap().spec.outcome.message.split(';').next().unwrap(),
        "1 replica finds no room"
    );
}

#[test]
fn rule_3_3_no_replicas_keep_their_clusters() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 2);
    world.apply("web", 4, "v1");
    world.settle();
    world.apply("web", 0, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=0 b=0 | Placed");
    world.apply("web", 6, "v1");
    world.settle();
    assert_eq!(world.show("web"), "a=3 b=3 | Placed");
}

fn one_of(world: &mut World, kind: &str, api: &str, clusters: &[&str]) {
    world.policy(
        "one",
        json!({"selectors": [{"apiVersion": api, "kind": kind}], "affinities": [{"clusters": {"names": clusters}}]}),
    );
}

#[test]
fn rule_3_4_a_stateful_set_stays_until_a_plan_is_approved() {
    let mut world = World::new("a eks, b gke");
    one_of(&mut world, "StatefulSet", "apps/v1", &["a"]);
    world.apply("StatefulSet/db", 3, "v1");
    world.settle();
    one_of(&mut world, "StatefulSet", "apps/v1", &["b"]);
    world.apply("StatefulSet/db", 5, "v2");
    expect![[r#"
        db: a=5 | NeedsApproval
    "#]]
    .assert_eq(&world.settle());
    let message = &world.placed("StatefulSet/db").unwrap().spec.outcome.message;
    assert_eq!(message, "a StatefulSet moves by an approved plan only: it stays where it is");
    // Wanted where it is, it is well again.
    one_of(&mut world, "StatefulSet", "apps/v1", &["a"]);
    world.settle();
    assert_eq!(world.show("StatefulSet/db"), "a=5 | Placed");
}

#[test]
fn rule_3_4_a_started_job_is_never_moved_and_one_that_is_done_is_not_made_again() {
    let mut world = World::new("a eks, b gke");
    one_of(&mut world, "Job", "batch/v1", &["a"]);
    world.apply("Job/import", 1, "v1");
    world.settle();
    world.apply_as("Job/import", 1, "v1", "uid-1", &json!({"startTime": "2026-11-21T10:00:00Z"}));
    world.settle();
    one_of(&mut world, "Job", "batch/v1", &["b"]);
    world.settle();
    assert_eq!(world.show("Job/import"), "a=1 | Placed");
    // Gone from its cluster after its end: the syncer keeps its last word, and nothing is decided anew.
    world.index.touch_everything();
    assert_eq!(world.settle(), "");
}

#[test]
fn rule_3_4_a_job_that_has_not_started_is_not_run_in_two_places() {
    let mut world = World::new("a eks, b gke");
    one_of(&mut world, "Job", "batch/v1", &["a"]);
    world.apply("Job/import", 1, "v1");
    world.settle();
    one_of(&mut world, "Job", "batch/v1", &["b"]);
    world.settle();
    assert_eq!(world.show("Job/import"), "a=1 | NeedsApproval");
}

#[test]
fn rule_3_4_claims_on_volumes_outlive_their_template_unless_told_otherwise() {
    let mut world = World::new("a eks");
    world.policy(
        "all",
        json!({"selectors": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim"}]}),
    );
    world.apply("PersistentVolumeClaim/data", 1, "v1");
    world.settle();
    world.delete("PersistentVolumeClaim/data");
    assert!(world.settle().contains("-a:TemplateDeleted(orphan)"));
}

#[test]
fn rule_3_4_claims_stay_where_they_are_bound() {
    let mut world = World::new("a eks, b gke");
    let claims = |clusters: &[&str]| {
        json!({"selectors": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim"}],
               "affinities": [{"clusters": {"names": clusters}}]})
    };
    let data = "PersistentVolumeClaim/data";
    world.policy("web", claims(&["a", "b"]));
    world.claim(data);
    world.settle();
    assert_eq!(world.show(data), "a b | Placed");
    world.cluster("a eks drain=repair");
    world.settle();
    assert_eq!(world.show(data), "a b | NeedsApproval");
    assert_eq!(
        world.headline(data),
        "PersistentVolumeClaim shop/data: on 2 clusters: a, b | on 1 cluster: b; not done: NeedsApproval: a \
         PersistentVolumeClaim leaves by an approved plan only: it stays where it is bound"
    );
    let message = &world.placed(data).unwrap().spec.outcome.message;
    assert_eq!(
        message,
        "a PersistentVolumeClaim leaves by an approved plan only: it stays where it is bound"
    );
    world.cluster("a eks");
    world.settle();
    assert_eq!(world.show(data), "a b | Placed");
    world.policy("web", claims(&["b"]));
    world.settle();
    assert_eq!(world.show(data), "a b | NeedsApproval");
    // It comes to others freely, as long as it leaves none.
    world.cluster("c onprem");
    world.policy("web", claims(&["a", "b", "c"]));
    world.settle();
    assert_eq!(world.show(data), "a b c | Placed");
}

#[test]
fn rule_3_4_the_claims_of_a_lost_cluster_stay_with_it() {
    let mut world = World::new("a eks, b gke, c onprem, d onprem");
    world.policy(
        "web",
        json!({"selectors": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim"}],
               "spread": [{"topologyKey": "cluster", "max": 1}]}),
    );
    let data = "PersistentVolumeClaim/data";
    world.claim(data);
    world.settle();
    assert_eq!(world.show(data), "a | Placed");
    world.cluster("a eks dark");
    world.pass_time(86_400);
    world.settle();
    assert_eq!(world.show(data), "a | Placed");
}

#[test]
fn rule_3_4_what_bounds_a_divided_workload_follows_its_shares() {
    let mut world = World::new("a eks, b gke");
    world.divide(&["a", "b"], 2);
    world.policy(
        "bounds",
        json!({"selectors": [
            {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"},
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}]}),
    );
    let (hpa, pdb) = ("HorizontalPodAutoscaler/web", "PodDisruptionBudget/web");
    let object = |version: &str, kind: &str, spec: serde_json::Value| {
        json!({"apiVersion": version, "kind": kind,
               "metadata": {"namespace": "shop", "name": "web"}, "spec": spec})
    };
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let scale = object(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        json!({"scaleTargetRef": target, "maxReplicas": 10}),
    );
    let disrupt = object(
        "policy/v1",
        "PodDisruptionBudget",
        json!({"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 2}),
    );
    world.store(&key(hpa), &scale, "uid-hpa");
    world.store(&key(pdb), &disrupt, "uid-pdb");
    world.settle();
    let shares = |world: &World, text: &str| -> Vec<Option<i64>> {
        world.placed(text).expect("placed").spec.clusters.iter().map(|it| it.share).collect()
    };
    assert_eq!(shares(&world, hpa), [None, None]);
    world.apply("web", 3, "v1");
    world.settle();
    assert_eq!(shares(&world, hpa), [Some(2), Some(1)]);
    assert_eq!(shares(&world, pdb), [Some(2), Some(1)]);
    assert_eq!(shares(&world, "web"), [None, None]);
    world.apply("web", 6, "v1");
    // Another workload of the namespace is none of theirs.
    world.apply("api", 4, "v1");
    world.settle();
    assert_eq!(shares(&world, hpa), [Some(3), Some(3)]);
    assert_eq!(shares(&world, pdb), [Some(3), Some(3)]);
    world.policy("web", json!({"replicas": {"mode": "Duplicated"}}));
    world.settle();
    assert_eq!(shares(&world, hpa), [None, None], "each cluster runs all of them");
}

#[test]
fn rule_3_2_room_that_is_given_back_decides_at_once_what_waits() {
    let mut world = World::new("a eks rooms=4");
    world.policy("web", json!({"replicas": {"mode": "Divided", "division": "Room"}}));
    world.failing.insert("a".into());
    world.apply("one", 3, "v1");
    let mut log = String::new();
    world.decide(&mut log);
    world.apply("two", 2, "v1");
    world.decide(&mut log);
    assert_eq!(world.show("two"), "| NotEnoughRoom");
    // Nothing of the first runs yet, so that no member reports anything when it asks for less.
    world.apply("one", 2, "v1");
    world.decide(&mut log);
    assert_eq!(world.show("two"), "a=2 | Placed");
    world.apply("three", 2, "v1");
    world.decide(&mut log);
    assert_eq!(world.show("three"), "| NotEnoughRoom");
    world.delete("one");
    world.settle();
    assert_eq!(world.show("three"), "a=2 | Placed");
}

#[test]
fn rule_3_2_a_write_that_fails_gives_its_room_to_what_waits() {
    let mut world = World::new("a eks rooms=4");
    world.policy("web", json!({"replicas": {"mode": "Divided", "division": "Room"}}));
    world.index.in_flight.insert(key("one"), vec![("a".into(), Some(3))]);
    world.apply("one", 3, "v1");
    world.index.dirty.clear();
    world.apply("two", 2, "v1");
    let mut log = String::new();
    world.decide(&mut log);
    assert_eq!(world.show("two"), "| NotEnoughRoom");
    world.index.in_flight.clear();
    world.index.gave_back();
    world.decide(&mut log);
    assert_eq!(world.show("two"), "a=2 | Placed");
}

#[test]
fn rule_2_6_a_policy_that_only_limits_counts_what_it_limits() {
    let mut world = World::new("a eks in=EU");
    world.policy("web", json!({}));
    world.policy("-/guard", json!({"limitsOnly": true, "limits": {"jurisdictions": ["EU"]}}));
    world.apply("web", 2, "v1");
    world.apply("api", 2, "v1");
    world.settle();
    let statuses = crate::policy_status::count(&world.index);
    let guard = &statuses[&(String::new(), "guard".to_owned())];
    assert_eq!((guard.matched, guard.conditions[0].message.as_str()), (2, "limits 2 templates"));
    let web = &statuses[&("shop".to_owned(), "web".to_owned())];
    assert_eq!((web.matched, web.placed), (2, 2));
}

#[test]
fn rule_3_1_workloads_keep_apart_although_their_placements_are_still_being_written() {
    let mut world = World::new("a eks, b gke");
    world.policy(
        "web",
        json!({"spread": [{"topologyKey": "cluster", "max": 1}],
               "workloadAntiAffinity": [{"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "cluster"}]}),
    );
    world.apply_labelled("one", &[("app", "db")]);
    world.apply_labelled("two", &[("app", "db")]);
    world.apply_labelled("three", &[("app", "db")]);
    world.settle();
    assert_eq!(world.show("one"), "a=1 | Placed");
    assert_eq!(world.show("three"), "b=1 | Placed");
    assert_eq!(world.show("two"), "| NoClusterFits");
    // One of them goes: the one that waited takes its place.
    world.delete("one");
    world.settle();
    assert_eq!(world.show("two"), "a=1 | Placed");
    world.index.in_flight.insert(key("two"), vec![("b".into(), Some(1))]);
    world.apply_labelled("four", &[("app", "db")]);
    let mut log = String::new();
    world.decide(&mut log);
    assert_eq!(world.show("four"), "a=1 | Placed", "where it is being written to counts");
}

#[test]
fn rule_3_1_a_workload_follows_the_one_that_it_wants_near() {
    let mut world = World::new("a eks, b gke");
    let select =
        |name: &str| json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": name}]);
    world.policy(
        "web",
        json!({"selectors": select("web"), "workloadAffinity": [
            {"labelSelector": {"matchLabels": {"app": "cache"}}, "topologyKey": "provider"}]}),
    );
    world.policy(
        "cache",
        json!({"selectors": select("cache"), "affinities": [{"clusters": {"names": ["b"]}}]}),
    );
    world.apply("web", 1, "v1");
    world.settle();
    assert_eq!(world.show("web"), "| NoClusterFits");
    world.apply_labelled("cache", &[("app", "cache")]);
    world.settle();
    assert_eq!(world.show("web"), "b=1 | Placed");
}

#[test]
fn rule_3_4_a_divided_statefulset_is_given_ordinals_that_are_never_reused() {
    let mut world = World::new("a eks, b gke, c onprem");
    let policy = |names: &[&str]| {
        json!({"selectors": [{"apiVersion": "apps/v1", "kind": "StatefulSet"}],
               "affinities": [{"clusters": {"names": names}}], "spread": [{"topologyKey": "cluster", "min": 2}],
               "replicas": {"mode": "Divided"}, "failover": {"unfenced": "Allow"}})
    };
    world.policy("db", policy(&["a", "b"]));
    world.apply("StatefulSet/db", 4, "v1");
    world.settle();
    let starts = |world: &World| -> Vec<(String, Option<i64>)> {
        let spec = &world.placed("StatefulSet/db").unwrap().spec;
        spec.clusters.iter().map(|it| (it.name.clone(), it.ordinals_start)).collect()
    };
    let of = |name: &str, start: i64| (name.to_owned(), Some(start));
    assert_eq!(starts(&world), [of("a", 0), of("b", 1_000)]);
    world.apply("StatefulSet/db", 9, "v2");
    world.settle();
    assert_eq!(starts(&world), [of("a", 0), of("b", 1_000)]);
    // Lost for good: its successor begins where nobody was.
    world.policy("db", policy(&["a", "b", "c"]));
    world.settle();
    world.cluster("b gke dark");
    world.pass_time(300);
    world.settle();
    assert_eq!(starts(&world), [of("a", 0), of("b", 1_000), of("c", 2_000)]);
}

#[test]
fn rule_2_6_a_policy_that_matches_nothing_is_due_for_its_status_too() {
    let mut world = World::new("a eks");
    assert!(!std::mem::take(&mut world.index.policies_changed));
    world.policy("web", json!({}));
    assert!(std::mem::take(&mut world.index.policies_changed));
}

#[test]
fn a_template_that_no_policy_claims_is_told_from_a_cluster_that_is_not_there() {
    let mut world = World::new("a eks");
    world.apply("web", 1, "v1");
    let status = world.why_not("web", "a").unwrap();
    assert!(
        status.clusters.is_empty() && status.summary.contains("claimed by no placement policy")
    );
    let error = world.why_not("web", "b").unwrap_err().to_string();
    assert_eq!(error, "spec.cluster: there is no cluster `b`");
}
