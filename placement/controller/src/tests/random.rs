//! Whatever happens, in whatever order: [`World`] checks every Placement that is written, and that what did not change
//! is not written again.

use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::{Value, json};

use super::world::World;

#[derive(Clone, Debug)]
pub(super) enum Happens {
    /// A cluster by its number: answers, is dark, is tainted, is drained.
    Cluster(usize, usize),
    Room(usize, i64),
    Policy(usize),
    Scale(usize, i64),
    Image(usize, u8),
    Delete(usize),
    Gone(usize),
    Time(i64),
    Failing(usize, bool),
    Freeze(bool),
    /// Passes without the syncer, as when members are slow.
    Decide,
    Settle,
}

pub(super) const CLUSTERS: [&str; 5] = ["a eks", "b eks", "c gke", "d gke", "e onprem"];
pub(super) const NAMES: [&str; 3] = ["web", "api", "StatefulSet/db"];

pub(super) fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (0..5_usize, 0..4_usize).prop_map(|(it, state)| Happens::Cluster(it, state)),
        1 => (0..5_usize, 0..30_i64).prop_map(|(it, room)| Happens::Room(it, room)),
        2 => (0..9_usize).prop_map(Happens::Policy),
        3 => (0..3_usize, 0..12_i64).prop_map(|(it, n)| Happens::Scale(it, n)),
        1 => (0..3_usize, 0..3_u8).prop_map(|(it, n)| Happens::Image(it, n)),
        1 => (0..3_usize).prop_map(Happens::Delete),
        1 => (0..5_usize).prop_map(Happens::Gone),
        2 => (1..700_i64).prop_map(Happens::Time),
        1 => (0..5_usize, any::<bool>()).prop_map(|(it, set)| Happens::Failing(it, set)),
        1 => any::<bool>().prop_map(Happens::Freeze),
        2 => Just(Happens::Decide),
        2 => Just(Happens::Settle),
    ]
}

/// The spec of a policy by its number; none: no policy.
pub(super) fn policy_spec(which: usize) -> Option<Value> {
    let selectors = json!([
        {"apiVersion": "apps/v1", "kind": "Deployment"}, {"apiVersion": "apps/v1", "kind": "StatefulSet"}
    ]);
    let mut spec = match which {
        0 => json!({}),
        1 => json!({"replicas": {"mode": "Divided", "division": "Weighted"}}),
        2 => {
            json!({"replicas": {"mode": "Divided", "division": "Room"}, "spread": [{"topologyKey": "provider", "min": 2}]})
        }
        3 => {
            json!({"replicas": {"mode": "Divided", "division": "Packed"}, "failover": {"after": "30s"}})
        }
        4 => {
            json!({"affinities": [{"clusters": {"providers": ["eks"]}}, {"clusters": {"providers": ["gke"]}}]})
        }
        5 => json!({"affinities": [{"clusters": {"names": ["nowhere"]}}]}),
        6 => json!({"replicas": {"mode": "Divided", "division": "Room", "partial": "Allow"}}),
        7 => json!({"suspend": true}),
        _ => return None,
    };
    spec["selectors"] = selectors;
    Some(spec)
}

fn policy(world: &mut World, which: usize) {
    match policy_spec(which) {
        Some(spec) => world.policy("web", spec),
        None => world.drop_policy("web"),
    }
}

pub(super) fn play(world: &mut World, images: &mut [u8; 3], sizes: &mut [i64; 3], event: &Happens) {
    let mut log = String::new();
    match event {
        Happens::Cluster(it, state) => {
            let state = ["", "dark", "taint=x", "drain=x"][*state];
            world.cluster(&format!("{} {state}", CLUSTERS[*it]));
        }
        Happens::Room(it, room) => world.cluster(&format!("{} rooms={room}", CLUSTERS[*it])),
        Happens::Policy(which) => policy(world, *which),
        Happens::Scale(it, n) => {
            sizes[*it] = *n;
            world.apply(NAMES[*it], *n, &format!("v{}", images[*it]));
        }
        Happens::Image(it, n) => {
            images[*it] = *n;
            world.apply(NAMES[*it], sizes[*it], &format!("v{n}"));
        }
        Happens::Delete(it) => world.delete(NAMES[*it]),
        Happens::Gone(it) => {
            world.index.set_cluster(CLUSTERS[*it].split_once(' ').unwrap().0, None);
        }
        Happens::Time(seconds) => world.pass_time(*seconds),
        Happens::Failing(it, set) => {
            let name = CLUSTERS[*it].split_once(' ').unwrap().0.to_owned();
            if *set {
                world.failing.insert(name);
            } else {
                world.failing.remove(&name);
            }
        }
        Happens::Freeze(all) => world.freeze(*all),
        Happens::Decide => drop(world.decide(&mut log)),
        Happens::Settle => drop(world.settle()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(20_261_121),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn rules_1_2_and_3_2_hold_whatever_happens(events in proptest::collection::vec(happens(), 1..40)) {
        let mut world = World::new(&CLUSTERS.join(","));
        policy(&mut world, 1);
        let (mut images, mut sizes) = ([0; 3], [3; 3]);
        for (at, name) in NAMES.iter().enumerate() {
            world.apply(name, sizes[at], "v0");
        }
        for event in &events {
            play(&mut world, &mut images, &mut sizes, event);
        }
        world.settle();
        let copies: usize = world.index.placements.values().map(|it| it.spec.clusters.len()).sum();
        prop_assert_eq!(world.index.copies, i64::try_from(copies).unwrap());
        let leaving = world.index.placements.values().flat_map(|it| &it.spec.clusters).filter(|it| !it.leaving.is_empty());
        prop_assert_eq!(world.index.leaving, i64::try_from(leaving.count()).unwrap());
    }
}
