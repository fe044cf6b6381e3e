//! What would happen if: the same passes on a fleet that is supposed.

use std::fmt::Write as _;

use expect_test::expect;
use federation_types::review::simulation::SimulationStatus;
use serde_json::{Value, json};

use super::world::World;
use crate::simulation::work_out;

fn simulate(world: &World, spec: Value) -> Result<SimulationStatus, String> {
    let spec = serde_json::from_value(spec).unwrap();
    let outcome = work_out(world.index.clone(), &spec, world.now);
    outcome.map(|it| it.finish(true, &|_| true)).map_err(|it| it.to_string())
}

fn show(world: &World, spec: Value) -> String {
    let status = simulate(world, spec).unwrap();
    let mut out = String::new();
    for template in &status.plan.templates {
        for it in &template.changes {
            let n = |it: Option<i64>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let (before, after) = (n(it.replicas_before), n(it.replicas_after));
            let name = &template.template.name;
            writeln!(out, "{name}: {:?} {} {before} → {after} {}", it.action, it.cluster, it.cause)
                .unwrap();
        }
    }
    for it in &status.unplaced {
        writeln!(out, "unplaced {}: {}: {}", it.template.name, it.reason, it.message).unwrap();
    }
    for it in &status.hottest {
        writeln!(out, "{} {} → {}", it.cluster, it.cpu_before, it.cpu_after).unwrap();
    }
    out
}

fn fleet() -> World {
    let mut world = World::new("a eks rooms=900, b gke rooms=900, c gke rooms=500");
    world.policy("web", json!({"replicas": {"mode": "Divided", "division": "Weighted"}}));
    world.policy(
        "db",
        json!({"selectors": [{"apiVersion": "apps/v1", "kind": "StatefulSet"}],
               "affinities": [{"clusters": {"names": ["c"]}}]}),
    );
    world.apply("web", 300, "v1");
    world.apply("StatefulSet/db", 3, "v1");
    world.settle();
    world
}

#[test]
fn a_lost_provider_moves_what_fails_over_and_names_what_does_not() {
    let mut world = fleet();
    expect![[r#"
        web: Resize a 100 → 300 Failover
        web: Remove b 100 → - Failover
        web: Remove c 100 → - Failover
        unplaced db: ClusterUnreachable: stays on c: it does not fail over by itself
        a 10 → 30
    "#]]
    .assert_eq(&show(&world, json!({"down": ["provider=gke"]})));
    assert_eq!(world.settle(), "", "nothing was changed");
}

#[test]
fn what_stays_on_a_lost_cluster_is_asked_for_whoever_reads_although_nothing_of_it_changes() {
    let mut world = fleet();
    world.synced("", "Pod");
    world.policy(
        "pod",
        json!({"selectors": [{"apiVersion": "v1", "kind": "Pod"}],
               "affinities": [{"clusters": {"names": ["c"]}}]}),
    );
    world.apply("Pod/tool", 0, "v1");
    world.settle();
    let spec = serde_json::from_value(json!({"down": ["c"]})).unwrap();
    let outcome = work_out(world.index.clone(), &spec, world.now).unwrap();
    let mut kinds: Vec<String> = outcome.keys().map(|(key, _)| key.gvk.kind.to_string()).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["Deployment", "Pod", "StatefulSet"]);
    let unplaced = outcome.finish(true, &|key| key.gvk.kind != "StatefulSet").unplaced;
    let names: Vec<&str> = unplaced.iter().map(|it| it.template.name.as_str()).collect();
    assert_eq!(names, ["tool"]);
}

#[test]
fn what_would_fail_over_and_cannot_says_why() {
    let mut world = World::new("a eks, b gke, c gke");
    world.policy(
        "web",
        json!({"affinities": [{"clusters": {"names": ["c"]}}],
               "spread": [{"topologyKey": "cluster", "min": 1}]}),
    );
    world.apply("web", 3, "v1");
    world.settle();
    // It got too little before, too: nothing of it changes.
    world.policy(
        "web",
        json!({"affinities": [{"clusters": {"names": ["c"]}}],
               "spread": [{"topologyKey": "region", "min": 9}]}),
    );
    world.settle();
    expect![[r#"
        unplaced web: NoClusterFits: stays on c: no cluster passes the rules of the policy (2 Affinity, 1 NotReady)
        a 0 → 0
        b 0 → 0
    "#]]
    .assert_eq(&show(&world, json!({"down": ["c"]})));
}

#[test]
fn rule_1_4_the_loss_of_most_of_the_fleet_is_taken_for_the_hubs_own() {
    let world = fleet();
    let status = simulate(&world, json!({"down": ["a", "b"]})).unwrap();
    assert_eq!(status.plan.summary.templates, 0);
    assert!(status.plan.notes.iter().any(|it| it.contains("itself cut off")), "{status:?}");
}

#[test]
fn growth_a_new_cluster_and_another_policy_are_supposed_together() {
    let world = fleet();
    let policy = json!({
        "apiVersion": "archipel.dev/v1alpha1", "kind": "PlacementPolicy",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
                 "affinities": [{"clusters": {"names": ["a", "d"]}}],
                 "replicas": {"mode": "Divided", "division": "Weighted"}},
    });
    let spec = json!({
        "add": [{"name": "d", "like": "a", "provider": "onprem"}],
        "scale": [{"name": "web", "percent": 200}],
        "objects": [policy],
    });
    expect![[r#"
        web: Resize a 100 → 300 ScaledUp
        web: Remove b 100 → - PolicyChanged
        web: Remove c 100 → - PolicyChanged
        web: Add d - → 300 PolicyChanged
        c 50 → 40
        a 10 → 30
        d 0 → 30
        b 10 → 0
    "#]]
    .assert_eq(&show(&world, spec));
}

#[test]
fn other_prices_say_what_their_sums_are_of() {
    let mut world = fleet();
    world.prices();
    let status = simulate(&world, json!({"prices": [{"percent": 10}]})).unwrap();
    assert!(status.plan.notes.iter().any(|it| it.contains("not of the whole fleet")), "{status:?}");
    let status = simulate(&world, json!({"down": ["c"]})).unwrap();
    assert!(
        !status.plan.notes.iter().any(|it| it.contains("not of the whole fleet")),
        "{status:?}"
    );
}

#[test]
fn what_is_not_there_is_refused_by_its_field() {
    let world = fleet();
    let refused = |spec: Value| simulate(&world, spec).unwrap_err();
    assert_eq!(
        refused(json!({"down": ["a", "region=mars"]})),
        "spec.down[1]: Invalid value: \"region=mars\": no cluster is meant by it"
    );
    assert!(refused(json!({"add": [{"name": "a", "like": "b"}]})).starts_with("spec.add[0].name"));
    assert!(refused(json!({"add": [{"name": "x", "like": "y"}]})).starts_with("spec.add[0].like"));
    assert!(refused(json!({"prices": [{"percent": 10}]})).starts_with("spec.prices[0]: "));
    assert!(refused(json!({"scale": [{"name": "web"}]})).starts_with("spec.scale[0].replicas"));
    assert!(
        refused(json!({"scale": [{"name": "no", "replicas": 1}]}))
            .starts_with("spec.scale[0].name")
    );
    assert!(
        refused(json!({"add": [{"name": "Bad_Name", "like": "a"}]}))
            .starts_with("spec.add[0].name: Invalid value: \"Bad_Name\"")
    );
    assert!(
        refused(json!({"add": [{"name": "n", "like": "a", "provider": "moon"}]}))
            .starts_with("spec.add[0].provider: Unsupported value: \"moon\"")
    );
    assert!(
        refused(json!({"add": [{"name": "n", "like": "a", "region": "a b"}]}))
            .starts_with("spec.add[0].region: Invalid value: \"a b\"")
    );
    assert_eq!(
        refused(json!({"scale": [{"name": "web", "replicas": 99_999_999_999_i64}]})),
        "spec.scale[0].replicas: Invalid value: 99999999999: must be at most 2147483647"
    );
    assert_eq!(
        refused(json!({"scale": [{"name": "web", "percent": 999_999_999_999_i64}]})),
        "spec.scale[0].percent: Invalid value: 999999999999: Deployment shop/web would have 2999999999997 replicas: \
         must be at most 2147483647"
    );
    let placement = json!({"apiVersion": "archipel.dev/v1alpha1", "kind": "Placement",
                           "metadata": {"name": "x", "namespace": "shop"}});
    assert!(refused(json!({"objects": [placement]})).starts_with("spec.objects[0].kind"));
}
