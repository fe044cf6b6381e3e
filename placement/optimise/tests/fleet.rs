//! From a fleet to a plan: what may move moves to where it costs less, within room, rules and the bound on moves.
#![expect(clippy::unwrap_used, reason = "a test says by a panic what is wrong")]

use federation_types::{
    cluster::MemberClusterSpec,
    policy::{Division, PlacementPolicySpec, ReplicaMode, Replicas, Spread},
    price::{NodePrice, PriceBookSpec},
    reason::cause,
};
use placement_engine::{
    ClusterInput, CompiledPolicy, Fleet, Previous, PreviousCluster, PriceIndex, Room, Workload,
};
use placement_optimise::{Model, Optimum, Subject};
use serde_json::json;

/// A cluster of nodes with 4 cpus each; `free` are the cpus left on each of them.
fn cluster(name: &str, autoscaled: bool, free: &[i64]) -> ClusterInput {
    let whole = json!({"cpu": "4", "memory": "16Gi", "pods": "50"});
    let rest: Vec<_> = free
        .iter()
        .map(|it| json!({"cpu": it.to_string(), "memory": "16Gi", "pods": "50", "nodes": 1}))
        .collect();
    let shape = json!({"type": name, "count": 3, "allocatable": whole, "free": rest});
    ClusterInput {
        name: name.to_owned(),
        spec: MemberClusterSpec {
            provider: "gke".into(),
            region: name.to_owned(),
            accepted: true,
            autoscaled,
            ..MemberClusterSpec::default()
        },
        apis: vec!["apps/v1/Deployment".to_owned(), "apps/v1/StatefulSet".to_owned()],
        shapes: vec![serde_json::from_value(shape).unwrap()],
        ready: true,
        ..ClusterInput::default()
    }
}

/// `prices`: dollars an hour of a node, by cluster.
fn fleet(clusters: Vec<ClusterInput>, prices: &[(&str, &str)]) -> Fleet {
    let row = |(name, usd): &(&str, &str)| NodePrice {
        provider: "gke".into(),
        instance_type: (*name).to_owned(),
        on_demand_usd_hour: Some((*usd).to_owned()),
        as_of: "2026-11-20".into(),
        ..NodePrice::default()
    };
    let book = PriceBookSpec { prices: prices.iter().map(row).collect(), ..Default::default() };
    let index = PriceIndex::build([("book", &book)], "2026-11-21");
    Fleet::build(clusters, &[], &index, "2026-11-21")
}

/// A workload of replicas with one cpu each, and where they run.
fn subject(kind: &str, name: &str, held: &[(&str, i64)], spec: &PlacementPolicySpec) -> Subject {
    let replicas: i64 = held.iter().map(|it| it.1).sum();
    let workload = Workload::from_template(&json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "web", "resources": {"requests": {"cpu": "1"}}}
        ]}}}
    }));
    let of = |it: &(&str, i64)| PreviousCluster {
        name: it.0.to_owned(),
        replicas: Some(it.1),
        ..PreviousCluster::default()
    };
    Subject {
        workload,
        policy: CompiledPolicy::compile("p", None, spec, &[]).unwrap(),
        previous: Previous {
            clusters: held.iter().map(of).collect(),
            divided: true,
            ..Previous::default()
        },
    }
}

fn cheapest() -> PlacementPolicySpec {
    PlacementPolicySpec {
        replicas: Some(Replicas {
            mode: Some(ReplicaMode::Divided),
            division: Some(Division::Cheapest),
            ..Replicas::default()
        }),
        ..PlacementPolicySpec::default()
    }
}

fn optimise(fleet: &Fleet, subjects: &[Subject], moves: Option<i64>) -> (Optimum, Vec<usize>) {
    let model = Model::new(fleet, &mut Room::new(fleet), subjects, moves);
    let left_out = model.left_out.iter().map(|it| it.0).collect();
    (model.optimise(fleet, &|| false).unwrap(), left_out)
}

/// `web: dear - cheap +`
fn changes(optimum: &Optimum) -> Vec<String> {
    let of = |it: &placement_engine::plan::TemplatePlan| {
        let parts = it.changes.iter().map(|it| {
            assert_eq!(it.cause, cause::REBALANCED);
            format!(" {} {:?}", it.cluster, it.action)
        });
        format!("{}:{}", it.template.name, parts.collect::<String>())
    };
    optimum.plan.templates.iter().map(of).collect()
}

#[test]
fn what_grows_and_shrinks_moves_into_free_room_of_a_fixed_pool() {
    let clusters = vec![cluster("dear", true, &[]), cluster("own", false, &[2])];
    let fleet = fleet(clusters, &[("dear", "0.4"), ("own", "0.4")]);
    let subjects = [subject("Deployment", "web", &[("dear", 3)], &cheapest())];
    let (optimum, _) = optimise(&fleet, &subjects, None);
    assert_eq!(
        changes(&optimum),
        ["web: dear Resize { from: 3, to: 1 } own Add { replicas: Some(2) }"]
    );
    assert_eq!(optimum.answer.tally.moved, 2);
    assert_eq!(optimum.answer.gap(), 0, "{:?}", optimum.answer);
    let (one, _) = optimise(&fleet, &subjects, Some(1));
    assert_eq!(
        changes(&one),
        ["web: dear Resize { from: 3, to: 2 } own Add { replicas: Some(1) }"]
    );
    let (none, _) = optimise(&fleet, &subjects, Some(0));
    assert!(changes(&none).is_empty());
}

#[test]
fn a_new_node_is_opened_only_where_enough_of_it_is_used() {
    let clusters = vec![cluster("dear", true, &[]), cluster("new", true, &[])];
    let fleet = fleet(clusters, &[("dear", "0.8"), ("new", "0.4")]);
    // A slot in `dear` is $0.20 an hour, a node in `new` is $0.40 with room for four.
    let alone = [subject("Deployment", "web", &[("dear", 1)], &cheapest())];
    assert!(changes(&optimise(&fleet, &alone, None).0).is_empty(), "one does not pay for a node");
    let several: Vec<Subject> =
        ["a", "b", "c"].map(|name| subject("Deployment", name, &[("dear", 1)], &cheapest())).into();
    let (together, _) = optimise(&fleet, &several, None);
    assert_eq!(together.answer.tally.moved, 3, "three of them do: {:?}", changes(&together));
}

#[test]
fn rules_and_kinds_keep_what_they_keep() {
    let clusters = vec![cluster("dear", true, &[]), cluster("own", false, &[4, 4])];
    let fleet = fleet(clusters, &[("dear", "0.4"), ("own", "0.4")]);
    let mut spread = cheapest();
    spread.spread =
        vec![Spread { topology_key: "region".into(), min: Some(2), ..Spread::default() }];
    let subjects = [
        subject("Deployment", "spread", &[("dear", 2), ("own", 1)], &spread),
        subject(
            "Deployment",
            "weighted",
            &[("dear", 2)],
            &PlacementPolicySpec {
                replicas: Some(Replicas {
                    mode: Some(ReplicaMode::Divided),
                    ..Replicas::default()
                }),
                ..PlacementPolicySpec::default()
            },
        ),
        subject("StatefulSet", "data", &[("dear", 2)], &cheapest()),
        subject("Deployment", "gone", &[("elsewhere", 2)], &cheapest()),
    ];
    let (optimum, left_out) = optimise(&fleet, &subjects, None);
    assert_eq!(left_out, [1, 2, 3]);
    assert_eq!(
        changes(&optimum),
        ["spread: dear Resize { from: 2, to: 1 } own Resize { from: 1, to: 2 }"]
    );
}

#[test]
fn a_place_that_is_given_up_goes_to_what_is_no_larger() {
    // `small` leaves `mid` for `own`, and `other` takes what it gave up.
    let clusters = vec![
        cluster("a-dear", true, &[]),
        cluster("b-mid", false, &[]),
        cluster("c-own", false, &[1]),
    ];
    let fleet = fleet(clusters, &[("a-dear", "0.4"), ("b-mid", "0.4"), ("c-own", "0.4")]);
    let mut near = cheapest();
    near.affinities = vec![federation_types::policy::Affinity {
        clusters: federation_types::selector::ClusterSelector {
            names: vec!["a-dear".into(), "b-mid".into()],
            ..Default::default()
        },
        ..Default::default()
    }];
    let mut other = subject("Deployment", "other", &[("a-dear", 1)], &near);
    other.previous.affinity = "affinities[0]".into();
    let subjects = [subject("Deployment", "small", &[("b-mid", 1)], &cheapest()), other];
    let (optimum, _) = optimise(&fleet, &subjects, None);
    assert_eq!(
        changes(&optimum),
        [
            "other: a-dear Remove { replicas: Some(1) } b-mid Add { replicas: Some(1) }",
            "small: b-mid Remove { replicas: Some(1) } c-own Add { replicas: Some(1) }",
        ]
    );
}
