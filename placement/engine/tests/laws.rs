//! Laws that hold for every fleet, workload and policy.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use federation_types::{
    cluster::{FreeNodes, MemberClusterSpec, NodeShape},
    policy::{
        Affinity, Division, Failback, Failover, Overflow, Partial, PlacementPolicySpec,
        ReplicaMode, Replicas, Spread, WhenUnsatisfiable,
    },
    price::{NodePrice, PriceBookSpec},
    selector::ClusterSelector,
};
use placement_engine::{
    ClusterInput, CompiledPolicy, Decision, Fleet, Outcome, Previous, PreviousCluster, PriceIndex,
    Room, Workload, place,
    workload::{KindClass, Requests},
};
use proptest::prelude::*;

const MI: i64 = 1 << 20;

#[derive(Clone, Debug)]
struct Member {
    provider: usize,
    region: usize,
    autoscaled: bool,
    ready: bool,
    /// Nodes, free cpu in tenths, free memory in GiB, free pods.
    groups: Vec<(i64, i64, i64, i64)>,
    /// Dollars in cents; none is unknown.
    price: Option<u32>,
}

fn name(at: usize) -> String {
    format!("c{at}")
}

fn input(at: usize, member: &Member) -> ClusterInput {
    let resources = |cpu: i64, memory: i64, pods: i64| -> BTreeMap<String, String> {
        [
            ("cpu", format!("{}m", cpu * 100)),
            ("memory", format!("{memory}Gi")),
            ("pods", pods.to_string()),
        ]
        .map(|(name, amount)| (name.to_owned(), amount))
        .into()
    };
    let free = member.groups.iter().map(|(nodes, cpu, memory, pods)| FreeNodes {
        nodes: *nodes,
        resources: resources(*cpu, *memory, *pods),
    });
    ClusterInput {
        name: name(at),
        spec: MemberClusterSpec {
            provider: ["eks", "gke", "aks"][member.provider].to_owned(),
            region: format!("r{}", member.region),
            autoscaled: member.autoscaled,
            accepted: true,
            ..MemberClusterSpec::default()
        },
        apis: vec!["apps/v1/Deployment".to_owned()],
        shapes: vec![NodeShape {
            instance_type: format!("type-{at}"),
            count: member.groups.iter().map(|it| it.0).sum(),
            allocatable: resources(40, 16, 30),
            free: free.collect(),
            ..NodeShape::default()
        }],
        ready: member.ready,
        version: "v1.36.0".to_owned(),
        ..ClusterInput::default()
    }
}

fn prices(members: &[Member]) -> PriceIndex {
    let prices = members.iter().enumerate().filter_map(|(at, it)| {
        Some(NodePrice {
            provider: ["eks", "gke", "aks"][it.provider].to_owned(),
            instance_type: format!("type-{at}"),
            on_demand_usd_hour: Some(format!("{}.{:02}", it.price? / 100, it.price? % 100)),
            as_of: "2026-11-01".to_owned(),
            ..NodePrice::default()
        })
    });
    let book = PriceBookSpec { prices: prices.collect(), ..PriceBookSpec::default() };
    PriceIndex::build([("book", &book)], "2026-11-21")
}

fn fleet(members: &[Member]) -> Fleet {
    let inputs = members.iter().enumerate().map(|(at, it)| input(at, it)).collect();
    Fleet::build(inputs, &[], &prices(members), "2026-11-21")
}

fn workload(replicas: i64, cpu: i64) -> Workload {
    Workload {
        api: "apps/v1/Deployment".to_owned(),
        class: KindClass::Deployment,
        replicas: Some(replicas),
        requests: Requests { base: [cpu * 100, 512 * MI, 0, 0], extended: Vec::new() },
        ..Workload::default()
    }
}

prop_compose! {
    fn members()(
        all in prop::collection::vec(
            (0_usize..3, 0_usize..3, prop::bool::weighted(0.2), prop::bool::weighted(0.9),
             prop::collection::vec((1_i64..4, 0_i64..40, 0_i64..16, 0_i64..30), 0..3),
             prop::option::weighted(0.8, 1_u32..200)),
            1..7),
    ) -> Vec<Member> {
        all.into_iter()
            .map(|(provider, region, autoscaled, ready, groups, price)| {
                Member { provider, region, autoscaled, ready, groups, price }
            })
            .collect()
    }
}

prop_compose! {
    fn policies()(
        division in prop::sample::select(vec![
            Division::Weighted, Division::Room, Division::Packed, Division::Cheapest]),
        least in prop::option::weighted(0.5, 1_u32..4),
        most in prop::option::weighted(0.3, 4_u32..20),
        clusters in prop::option::weighted(0.4, (1_u32..4, 0_u32..3, Just(false))),
        providers in prop::option::weighted(0.5, (1_u32..4, 0_u32..2, prop::bool::weighted(0.2))),
        regions in prop::option::weighted(0.3, (1_u32..3, 1_u32..3, prop::bool::weighted(0.2))),
        partial in any::<bool>(),
    ) -> PlacementPolicySpec {
        let rule = |key: &str, (min, more, wish): (u32, u32, bool)| Spread {
            topology_key: key.to_owned(),
            min: Some(min),
            max: Some(min + more),
            when_unsatisfiable: wish.then_some(WhenUnsatisfiable::ScheduleAnyway),
            ..Spread::default()
        };
        PlacementPolicySpec {
            spread: clusters.map(|it| rule("cluster", it)).into_iter()
                .chain(providers.map(|it| rule("provider", it)))
                .chain(regions.map(|it| rule("region", it))).collect(),
            replicas: Some(Replicas {
                mode: Some(ReplicaMode::Divided),
                division: Some(division),
                min_per_cluster: least,
                max_per_cluster: most,
                partial: partial.then_some(Partial::Allow),
                ..Replicas::default()
            }),
            ..PlacementPolicySpec::default()
        }
    }
}

fn compiled(spec: &PlacementPolicySpec) -> CompiledPolicy {
    CompiledPolicy::compile("p", None, spec, &[]).unwrap()
}

fn decide(
    fleet: &Fleet,
    replicas: i64,
    cpu: i64,
    spec: &PlacementPolicySpec,
    previous: &Previous,
) -> Decision {
    place(fleet, &mut Room::new(fleet), &workload(replicas, cpu), &compiled(spec), previous)
}

/// The decision as the next one sees it.
fn as_previous(fleet: &Fleet, decision: &Decision, policy: &CompiledPolicy) -> Previous {
    Previous {
        clusters: decision
            .clusters
            .iter()
            .map(|it| PreviousCluster {
                name: fleet.name(it.cluster).to_owned(),
                replicas: it.replicas,
                ..PreviousCluster::default()
            })
            .collect(),
        affinity: decision.affinity.map_or("", |it| policy.affinity_name(it)).to_owned(),
        divided: decision.divided,
        returns: false,
    }
}

fn by_name(fleet: &Fleet, decision: &Decision) -> BTreeMap<String, i64> {
    let replicas = |it: &placement_engine::Placed| {
        (fleet.name(it.cluster).to_owned(), it.replicas.unwrap_or(0))
    };
    decision.clusters.iter().map(replicas).collect()
}

/// Previous with the room that it takes.
fn room_beside(fleet: &Fleet, workload: &Workload, previous: &Previous) -> Room {
    let mut room = Room::new(fleet);
    for it in &previous.clusters {
        let id = fleet.id(&it.name).unwrap();
        room.reserve(fleet, id, workload, it.replicas.unwrap_or(0));
    }
    room
}

fn domain(members: &[Member], key: &str, cluster: usize) -> usize {
    match key {
        "cluster" => cluster,
        "provider" => members[cluster].provider,
        _ => members[cluster].region,
    }
}

/// Whether every hard rule of the spread holds over these clusters.
fn is_spread(members: &[Member], spec: &PlacementPolicySpec, clusters: &[usize]) -> bool {
    let hard = spec.spread.iter().filter(|it| it.when_unsatisfiable.is_none());
    hard.into_iter().all(|rule| {
        let mut domains: Vec<_> =
            clusters.iter().map(|it| domain(members, &rule.topology_key, *it)).collect();
        domains.sort_unstable();
        domains.dedup();
        let count = u32::try_from(domains.len()).unwrap();
        count >= rule.min.unwrap() && count <= rule.max.unwrap()
    })
}

/// Whether some of the clusters can hold all replicas, each at least a least share and at most so many, and keep the
/// spread: by trying all combinations.
fn can_hold(
    members: &[Member],
    spec: &PlacementPolicySpec,
    most: &BTreeMap<usize, i64>,
    replicas: i64,
) -> bool {
    let least = spec.replicas.as_ref().unwrap().min_per_cluster.map_or(1, i64::from);
    let all: Vec<(usize, i64)> =
        most.iter().filter(|it| *it.1 >= least).map(|it| (*it.0, *it.1)).collect();
    (1_u32..1 << all.len()).any(|set| {
        let chosen: Vec<_> =
            (0..all.len()).filter(|at| set & (1 << at) != 0).map(|at| all[at]).collect();
        let clusters: Vec<_> = chosen.iter().map(|it| it.0).collect();
        i64::try_from(chosen.len()).unwrap() * least <= replicas
            && chosen.iter().map(|it| it.1).fold(0, i64::saturating_add) >= replicas
            && is_spread(members, spec, &clusters)
    })
}

/// The policy with a `maxSkew` over regions, where its division can have one.
fn with_skew(mut spec: PlacementPolicySpec, skew: Option<u32>) -> PlacementPolicySpec {
    let replicas = spec.replicas.as_mut().unwrap();
    if skew.is_some() && matches!(replicas.division, Some(Division::Packed | Division::Cheapest)) {
        replicas.division = Some(Division::Room);
    }
    match spec.spread.iter_mut().find(|it| it.topology_key == "region") {
        Some(rule) => rule.max_skew = skew,
        None => spec.spread.push(Spread {
            topology_key: "region".to_owned(),
            min: Some(1),
            max: Some(3),
            max_skew: skew,
            ..Spread::default()
        }),
    }
    spec
}

/// Whether every hard `maxSkew` holds between the domains with replicas.
fn is_level(members: &[Member], spec: &PlacementPolicySpec, decision: &Decision) -> bool {
    let hard = spec.spread.iter().filter(|it| it.when_unsatisfiable.is_none());
    hard.filter_map(|it| Some((it, i64::from(it.max_skew?)))).all(|(rule, skew)| {
        let mut totals = BTreeMap::new();
        for it in &decision.clusters {
            let domain = domain(members, &rule.topology_key, it.cluster.0 as usize);
            *totals.entry(domain).or_insert(0) += it.replicas.unwrap();
        }
        let held: Vec<i64> = totals.into_values().filter(|it| *it > 0).collect();
        let most = held.iter().max().copied().unwrap_or(0);
        most - held.iter().min().copied().unwrap_or(0) <= skew
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn rule_3_2_placing_twice_changes_nothing(
        members in members(), spec in policies(), replicas in 0_i64..30, cpu in 1_i64..20,
    ) {
        let fleet = fleet(&members);
        let first = decide(&fleet, replicas, cpu, &spec, &Previous::default());
        let previous = as_previous(&fleet, &first, &compiled(&spec));
        // What was decided runs now, and takes its room.
        let mut room = Room::new(&fleet);
        for it in &first.clusters {
            room.reserve(&fleet, it.cluster, &workload(replicas, cpu), it.replicas.unwrap_or(0));
        }
        let second = place(&fleet, &mut room, &workload(replicas, cpu), &compiled(&spec), &previous);
        if first.outcome.is_placed() {
            prop_assert_eq!(&second.clusters, &first.clusters);
            prop_assert_eq!(&second.outcome, &Outcome::Placed);
        }
    }

    #[test]
    fn rule_3_2_growing_and_shrinking_placing_twice_changes_nothing(
        members in members(), spec in policies(),
        steps in prop::collection::vec(1_i64..24, 2..8), cpu in 1_i64..20,
        held in prop::collection::vec(prop::option::of(0_i64..6), 7), runs in any::<bool>(),
    ) {
        let fleet = fleet(&members);
        let policy = compiled(&spec);
        let least = spec.replicas.as_ref().unwrap().min_per_cluster.map_or(1, i64::from);
        let mut previous = Previous::default();
        if runs {
            // Anything may run, by another policy.
            let held = (0..members.len()).filter_map(|at| Some((at, held[at]?)));
            let of = |(at, n)| PreviousCluster { name: name(at), replicas: Some(n), ..PreviousCluster::default() };
            previous = Previous { clusters: held.map(of).collect(), divided: true, ..Previous::default() };
        }
        for replicas in steps {
            let workload = workload(replicas, cpu);
            let mut room = room_beside(&fleet, &workload, &previous);
            let first = place(&fleet, &mut room, &workload, &policy, &previous);
            if first.outcome.is_placed() {
                let clusters: Vec<_> = first.clusters.iter().map(|it| it.cluster.0 as usize).collect();
                prop_assert!(is_spread(&members, &spec, &clusters), "{:?} to {:?}", previous, first);
                prop_assert!(first.clusters.iter().all(|it| it.replicas >= Some(least)), "{:?} to {:?}", previous, first);
                prop_assert_eq!(first.replicas(), replicas);
            }
            let again = as_previous(&fleet, &first, &policy);
            let mut room = room_beside(&fleet, &workload, &again);
            let second = place(&fleet, &mut room, &workload, &policy, &again);
            if matches!(first.outcome, Outcome::Partial { .. }) {
                // More may find room once some of it runs, and nothing goes for that.
                let (before, after) = (by_name(&fleet, &first), by_name(&fleet, &second));
                prop_assert!(before.iter().all(|(at, n)| after.get(at) >= Some(n)), "{before:?} {after:?}");
            } else {
                prop_assert_eq!(&second.clusters, &first.clusters, "{:?} after {:?}", first.outcome, previous);
                prop_assert_eq!(second.outcome.reason(), first.outcome.reason());
            }
            previous = again;
        }
    }

    #[test]
    fn rule_3_2_scaling_down_finds_what_keeps_the_rules(
        members in members(), spec in policies(),
        replicas in 2_i64..24, fewer in 1_i64..23, cpu in 1_i64..20,
    ) {
        let mut members = members;
        for it in &mut members {
            it.autoscaled = false;
        }
        let fleet = fleet(&members);
        let policy = compiled(&spec);
        let first = decide(&fleet, replicas, cpu, &spec, &Previous::default());
        if first.outcome.is_placed() && fewer < replicas {
            let previous = as_previous(&fleet, &first, &policy);
            let workload = workload(fewer, cpu);
            let mut room = room_beside(&fleet, &workload, &previous);
            let held: BTreeMap<usize, i64> = first
                .clusters
                .iter()
                .map(|it| (it.cluster.0 as usize, it.replicas.unwrap()))
                .collect();
            let rules = spec.replicas.as_ref().unwrap();
            let most: BTreeMap<usize, i64> = (0..members.len())
                .filter(|at| members[*at].ready)
                .map(|at| {
                    let free = match rules.division {
                        Some(Division::Weighted) => i64::MAX / 2,
                        _ => room.available(&fleet, fleet.id(&name(at)).unwrap(), &workload),
                    };
                    let all = held.get(&at).copied().unwrap_or(0) + free;
                    (at, all.min(rules.max_per_cluster.map_or(i64::MAX, i64::from)))
                })
                .collect();
            let second = place(&fleet, &mut room, &workload, &policy, &previous);
            let after = second.clusters.iter().map(|it| (it.cluster.0 as usize, it.replicas.unwrap()));
            if can_hold(&members, &spec, &held, fewer) {
                prop_assert_eq!(&second.outcome, &Outcome::Placed, "{:?}", previous);
                let after: BTreeMap<_, _> = after.collect();
                // A wish may move something, a rule that can be kept by taking away does not.
                let wishes = spec.spread.iter().any(|it| it.when_unsatisfiable.is_some());
                prop_assert!(wishes || after.iter().all(|(at, n)| held.get(at) >= Some(n)), "{held:?} {after:?}");
            } else if can_hold(&members, &spec, &most, fewer) {
                prop_assert_eq!(&second.outcome, &Outcome::Placed, "{:?}", previous);
            } else {
                prop_assert!(!second.outcome.is_placed());
            }
        }
    }

    #[test]
    fn rule_3_2_taking_away_never_waits_for_room(
        members in members(), spec in policies(), skew in prop::option::of(1_u32..3),
        held in prop::collection::vec(prop::option::of(0_i64..6), 7), fewer in 1_i64..40, cpu in 1_i64..20,
    ) {
        let spec = with_skew(spec, skew);
        let fleet = fleet(&members);
        let policy = compiled(&spec);
        let held = (0..members.len()).filter_map(|at| Some((at, held[at]?)));
        let of = |(at, n)| PreviousCluster { name: name(at), replicas: Some(n), ..PreviousCluster::default() };
        let previous = Previous { clusters: held.map(of).collect(), divided: true, ..Previous::default() };
        let before: i64 = previous.clusters.iter().filter_map(|it| it.replicas).sum();
        if fewer < before {
            let workload = workload(fewer, cpu);
            let mut room = room_beside(&fleet, &workload, &previous);
            let decision = place(&fleet, &mut room, &workload, &policy, &previous);
            if matches!(decision.outcome, Outcome::TooFewReplicas { .. }) {
                prop_assert_eq!(decision.replicas(), before);
            } else {
                prop_assert!(decision.replicas() <= fewer, "{:?} after {:?}", decision, previous);
            }
            match decision.outcome {
                Outcome::Placed => prop_assert_eq!(decision.replicas(), fewer),
                Outcome::Partial { missing, .. } => prop_assert_eq!(decision.replicas() + missing, fewer),
                _ => (),
            }
        }
    }

    #[test]
    fn rule_3_1_max_skew_bounds_the_difference_between_chosen_domains(
        members in members(), spec in policies(), skew in 1_u32..4,
        held in prop::collection::vec(prop::option::of(0_i64..6), 7), runs in any::<bool>(),
        replicas in 1_i64..30, cpu in 1_i64..20,
    ) {
        let spec = with_skew(spec, Some(skew));
        let fleet = fleet(&members);
        let policy = compiled(&spec);
        let held = (0..members.len()).filter_map(|at| Some((at, held[at].filter(|_| runs)?)));
        let of = |(at, n)| PreviousCluster { name: name(at), replicas: Some(n), ..PreviousCluster::default() };
        let previous = Previous { clusters: held.map(of).collect(), divided: true, ..Previous::default() };
        let workload = workload(replicas, cpu);
        let mut room = room_beside(&fleet, &workload, &previous);
        let first = place(&fleet, &mut room, &workload, &policy, &previous);
        if matches!(first.outcome, Outcome::Placed | Outcome::Partial { .. }) {
            prop_assert!(is_level(&members, &spec, &first), "{:?} after {:?}", first, previous);
        }
        if first.outcome.is_placed() {
            let clusters: Vec<_> = first.clusters.iter().map(|it| it.cluster.0 as usize).collect();
            prop_assert!(is_spread(&members, &spec, &clusters), "{:?} after {:?}", first, previous);
            let again = as_previous(&fleet, &first, &policy);
            let mut room = room_beside(&fleet, &workload, &again);
            let second = place(&fleet, &mut room, &workload, &policy, &again);
            prop_assert_eq!(second.clusters, first.clusters);
        }
    }

    #[test]
    fn rule_3_1_what_max_skew_lets_fit_is_placed(
        members in members(), skew in 1_i64..4, least in 0_usize..4, replicas in 1_i64..30, cpu in 1_i64..20,
    ) {
        let mut members = members;
        for it in &mut members {
            it.autoscaled = false;
        }
        let spread = Spread {
            topology_key: "region".to_owned(),
            min: Some(u32::try_from(least).unwrap()),
            max_skew: Some(u32::try_from(skew).unwrap()),
            ..Spread::default()
        };
        let replicas_rule = Replicas {
            mode: Some(ReplicaMode::Divided), division: Some(Division::Room), ..Replicas::default()
        };
        let spec = PlacementPolicySpec {
            spread: vec![spread], replicas: Some(replicas_rule), ..PlacementPolicySpec::default()
        };
        let fleet = fleet(&members);
        let mut caps = [0_i64; 3];
        let mut room = Room::new(&fleet);
        for (at, it) in members.iter().enumerate().filter(|it| it.1.ready) {
            let id = fleet.id(&name(at)).unwrap();
            caps[it.region] += room.available(&fleet, id, &workload(replicas, cpu));
        }
        // By trying all sets of regions and all lowest parts.
        let fits = (1_usize..8).any(|set| {
            let chosen: Vec<i64> = (0..3).filter(|it| set & (1 << it) != 0).map(|it| caps[it]).collect();
            let lowest = chosen.iter().copied().min().unwrap();
            let regions = i64::try_from(chosen.len()).unwrap();
            chosen.len() >= least && (1..=lowest).any(|low| {
                let most: i64 = chosen.iter().map(|it| (*it).min(low + skew)).sum();
                low * regions <= replicas && replicas <= most
            })
        });
        let decision = decide(&fleet, replicas, cpu, &spec, &Previous::default());
        prop_assert_eq!(decision.outcome.is_placed(), fits, "{:?} {:?}", decision.outcome, caps);
        prop_assert!(!fits || is_level(&members, &spec, &decision));
    }

    #[test]
    fn rule_3_5_a_group_that_overflows_is_full_before_the_next_gets_anything(
        members in members(), first in 0_usize..7, replicas in 1_i64..40, cpu in 1_i64..20,
        division in prop::sample::select(vec![Division::Room, Division::Packed]),
        more in 0_i64..20, fewer in 1_i64..40,
    ) {
        let mut members = members;
        for it in &mut members {
            it.autoscaled = false;
        }
        let group = |name: &str, own: bool, overflow| Affinity {
            name: name.to_owned(),
            clusters: ClusterSelector {
                names: (0..7).filter(|at| (*at < first) == own).map(self::name).collect(),
                ..ClusterSelector::default()
            },
            overflow,
        };
        let spec = PlacementPolicySpec {
            affinities: vec![group("near", true, Some(Overflow::Allow)), group("far", false, None)],
            replicas: Some(Replicas {
                mode: Some(ReplicaMode::Divided), division: Some(division), ..Replicas::default()
            }),
            failover: Some(Failover { failback: Some(Failback::default()), ..Failover::default() }),
            ..PlacementPolicySpec::default()
        };
        // A group without names would restrict nothing.
        if (1..members.len()).contains(&first) {
            let fleet = fleet(&members);
            let policy = compiled(&spec);
            let sum = |decision: &Decision, near: bool| -> i64 {
                let own = decision.clusters.iter().filter(|it| ((it.cluster.0 as usize) < first) == near);
                own.filter_map(|it| it.replicas).sum()
            };
            let free = |near: bool| -> i64 {
                let mut room = Room::new(&fleet);
                let own = (0..members.len()).filter(|at| (*at < first) == near && members[*at].ready);
                own.map(|at| room.available(&fleet, fleet.id(&name(at)).unwrap(), &workload(1, cpu))).sum()
            };
            let (near, far) = (free(true), free(false));
            let decision = decide(&fleet, replicas, cpu, &spec, &Previous::default());
            prop_assert_eq!(decision.outcome.is_placed(), near + far >= replicas, "{:?}", decision.outcome);
            if decision.outcome.is_placed() {
                prop_assert_eq!(sum(&decision, true), near.min(replicas));
                let previous = as_previous(&fleet, &decision, &policy);
                let again = |replicas: i64, previous: &Previous| {
                    let mut room = room_beside(&fleet, &workload(replicas, cpu), previous);
                    place(&fleet, &mut room, &workload(replicas, cpu), &policy, previous)
                };
                prop_assert_eq!(&again(replicas, &previous).clusters, &decision.clusters);
                let grown = again(replicas + more, &previous);
                prop_assert_eq!(grown.outcome.is_placed(), near + far >= replicas + more);
                let (before, after) = (by_name(&fleet, &decision), by_name(&fleet, &grown));
                prop_assert!(before.iter().all(|(at, n)| after.get(at) >= Some(n)));
                if fewer < replicas {
                    let less = again(fewer, &previous);
                    prop_assert_eq!(less.replicas(), fewer);
                    prop_assert_eq!(sum(&less, true), fewer.min(near.min(replicas)), "the overflow goes first");
                }
                // Nothing runs in the first group, and there is room: it returns when it is time, and not before.
                let away = Previous {
                    clusters: vec![PreviousCluster { name: name(first), replicas: Some(replicas), ..PreviousCluster::default() }],
                    affinity: "far".to_owned(),
                    divided: true,
                    returns: false,
                };
                if members[first].ready && near >= replicas {
                    let waits = again(replicas, &away);
                    prop_assert_eq!((sum(&waits, true), waits.failback), (0, placement_engine::Failback::Possible));
                    let returns = again(replicas, &Previous { returns: true, ..away });
                    prop_assert_eq!(returns.failback, placement_engine::Failback::Returned);
                    prop_assert_eq!(sum(&returns, true), replicas);
                }
            }
        }
    }

    #[test]
    fn the_parts_add_up(
        members in members(), spec in policies(), replicas in 1_i64..30, cpu in 1_i64..20,
    ) {
        let fleet = fleet(&members);
        let decision = decide(&fleet, replicas, cpu, &spec, &Previous::default());
        let rules = spec.replicas.clone().unwrap();
        match decision.outcome {
            Outcome::Placed => prop_assert_eq!(decision.replicas(), replicas),
            Outcome::Partial { missing, .. } => {
                prop_assert!(missing > 0);
                prop_assert_eq!(decision.replicas() + missing, replicas);
            }
            _ => prop_assert!(decision.clusters.is_empty()),
        }
        for it in &decision.clusters {
            let n = it.replicas.unwrap();
            prop_assert!(n > 0);
            prop_assert!(members[it.cluster.0 as usize].ready);
            if decision.outcome.is_placed() {
                prop_assert!(n >= i64::from(rules.min_per_cluster.unwrap_or(0)), "{:?}", decision);
            }
            prop_assert!(n <= rules.max_per_cluster.map_or(i64::MAX, i64::from));
        }
        prop_assert_eq!(decision.report.rules.len(), fleet.len());
        if decision.outcome.is_placed() {
            let clusters: Vec<_> = decision.clusters.iter().map(|it| it.cluster.0 as usize).collect();
            prop_assert!(is_spread(&members, &spec, &clusters), "{:?}", decision);
        }
    }

    #[test]
    fn the_quick_choice_by_room_is_the_careful_one(
        members in members(), most in 1_u32..5, replicas in 1_i64..30, cpu in 1_i64..20,
    ) {
        let rule = |key: &str, max: Option<u32>| Spread {
            topology_key: key.to_owned(), min: Some(1), max, ..Spread::default()
        };
        let replicas_rule = Replicas {
            mode: Some(ReplicaMode::Divided),
            division: Some(Division::Room),
            ..Replicas::default()
        };
        let quick = PlacementPolicySpec {
            spread: vec![rule("cluster", Some(most))],
            replicas: Some(replicas_rule),
            ..PlacementPolicySpec::default()
        };
        // A rule that asks for nothing, and takes the general way.
        let careful = PlacementPolicySpec {
            spread: vec![rule("cluster", Some(most)), rule("provider", None)],
            ..quick.clone()
        };
        let fleet = fleet(&members);
        let previous = Previous::default();
        let (a, b) = (decide(&fleet, replicas, cpu, &quick, &previous), decide(&fleet, replicas, cpu, &careful, &previous));
        prop_assert_eq!(a.clusters, b.clusters);
        prop_assert_eq!(a.outcome.reason(), b.outcome.reason());
    }

    #[test]
    fn a_very_large_number_of_replicas_is_decided_at_once(
        members in members(), spec in policies(), skew in prop::option::of(1_u32..3),
    ) {
        let mut spec = spec;
        let division = spec.replicas.as_ref().unwrap().division;
        if matches!(division, Some(Division::Weighted | Division::Room)) {
            spec.spread.push(Spread {
                topology_key: "region".to_owned(), max_skew: skew, ..Spread::default()
            });
        }
        let fleet = fleet(&members);
        let all = i64::from(i32::MAX);
        let held = Previous {
            clusters: vec![PreviousCluster { name: name(0), replicas: Some(3), ..PreviousCluster::default() }],
            ..Previous::default()
        };
        for previous in [Previous::default(), held] {
            let decision = decide(&fleet, all, 1, &spec, &previous);
            prop_assert!(decision.replicas() <= all);
        }
    }

    #[test]
    fn rule_3_2_no_node_is_overfilled(
        members in members(), asks in prop::collection::vec((0_usize..7, 1_i64..20, 1_i64..20), 1..30),
    ) {
        let fleet = fleet(&members);
        let mut room = Room::new(&fleet);
        for (cluster, replicas, cpu) in asks {
            let Some(id) = fleet.id(&name(cluster)) else { continue };
            let it = workload(replicas, cpu);
            let before: i64 = room.groups(id).iter().map(|it| it.free[0] * it.nodes).sum();
            let fits = room.available(&fleet, id, &it);
            let left = room.reserve(&fleet, id, &it, replicas);
            prop_assert_eq!(left, (replicas - fits).max(0));
            let after: i64 = room.groups(id).iter().map(|it| it.free[0] * it.nodes).sum();
            prop_assert!(after <= before - (replicas - left) * cpu * 100);
            prop_assert!(room.groups(id).iter().all(|it| it.nodes > 0 && it.free.iter().all(|it| *it >= 0)));
        }
    }

    #[test]
    fn rule_3_2_adding_a_replica_takes_none_away(
        members in members(), spec in policies(), replicas in 1_i64..30, cpu in 1_i64..20,
    ) {
        let fleet = fleet(&members);
        let first = decide(&fleet, replicas, cpu, &spec, &Previous::default());
        if first.outcome.is_placed() {
            let previous = as_previous(&fleet, &first, &compiled(&spec));
            let mut room = Room::new(&fleet);
            for it in &first.clusters {
                room.reserve(&fleet, it.cluster, &workload(replicas, cpu), it.replicas.unwrap_or(0));
            }
            let more = place(&fleet, &mut room, &workload(replicas + 1, cpu), &compiled(&spec), &previous);
            let (before, after) = (by_name(&fleet, &first), by_name(&fleet, &more));
            for (cluster, n) in before {
                prop_assert!(after.get(&cluster).copied().unwrap_or(0) >= n, "{cluster}");
            }
        }
    }

    #[test]
    fn the_order_of_inputs_does_not_count(
        members in members(), spec in policies(), replicas in 0_i64..30, cpu in 1_i64..20,
    ) {
        let inputs: Vec<_> = members.iter().enumerate().map(|(at, it)| input(at, it)).collect();
        let reversed = inputs.iter().rev().cloned().collect();
        let prices = prices(&members);
        let a = Fleet::build(inputs, &[], &prices, "2026-11-21");
        let b = Fleet::build(reversed, &[], &prices, "2026-11-21");
        let decide = |it: &Fleet| decide(it, replicas, cpu, &spec, &Previous::default());
        prop_assert_eq!(decide(&a), decide(&b));
        prop_assert_eq!(a.digest(), b.digest());
    }

    #[test]
    fn rule_5_1_a_dearer_cluster_changes_nothing_for_the_others(
        members in members(), replicas in 1_i64..30, cpu in 1_i64..20,
    ) {
        // Room enough for all, so that no one needs the newcomer.
        let mut members = members;
        for it in &mut members {
            it.ready = true;
            it.price = Some(it.price.unwrap_or(7));
            it.groups = vec![(30, 40, 16, 30)];
        }
        let spec = PlacementPolicySpec {
            replicas: Some(Replicas {
                mode: Some(ReplicaMode::Divided),
                division: Some(Division::Cheapest),
                ..Replicas::default()
            }),
            ..PlacementPolicySpec::default()
        };
        let before = fleet(&members);
        let without = by_name(&before, &decide(&before, replicas, cpu, &spec, &Previous::default()));
        let mut dear = members[0].clone();
        (dear.price, dear.autoscaled) = (Some(1_000_000), true);
        members.push(dear);
        let after = fleet(&members);
        let with = by_name(&after, &decide(&after, replicas, cpu, &spec, &Previous::default()));
        prop_assert_eq!(without, with);
    }

    #[test]
    fn a_running_placement_survives_any_prices_and_room(
        members in members(), others in members(), spec in policies(), replicas in 1_i64..30, cpu in 1_i64..20,
    ) {
        let before = fleet(&members);
        let first = decide(&before, replicas, cpu, &spec, &Previous::default());
        if first.outcome.is_placed() {
            // The same clusters with other prices and other room.
            let changed: Vec<_> = members
                .iter()
                .enumerate()
                .map(|(at, it)| {
                    let other = &others[at % others.len()];
                    Member { groups: other.groups.clone(), price: other.price, ..it.clone() }
                })
                .collect();
            let after = fleet(&changed);
            let previous = as_previous(&before, &first, &compiled(&spec));
            let second = decide(&after, replicas, cpu, &spec, &previous);
            prop_assert_eq!(&second.clusters, &first.clusters);
        }
    }
}
