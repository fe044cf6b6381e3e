//! Laws over small instances: the bound holds, the search finds what is allowed, and the check sees what is not.
#![expect(clippy::unwrap_used, reason = "a test says by a panic what is wrong")]

use std::collections::BTreeMap;

use placement_optimise::{
    Fill, Held, Instance, Place, Pool, Solution, SolveError, Spread, Task, Violation, check, solve,
};
use proptest::prelude::*;

fn never() -> bool {
    false
}

/// One pool of each kind per cluster, two resources.
fn pools() -> impl Strategy<Value = Vec<Pool>> {
    let pool = (2..9_i64, 2..9_i64, 1..4_i64, prop_oneof![Just(0), 10..200_i64]);
    prop::collection::vec(pool, 2..4).prop_map(|all| {
        let pool = |(at, (cpu, memory, nodes, cost)): (usize, (i64, i64, i64, i64))| Pool {
            cluster: at % 2,
            name: format!("pool-{at}"),
            free: vec![cpu, memory],
            slots: None,
            nodes,
            node_cost: cost,
        };
        all.into_iter().enumerate().map(pool).collect()
    })
}

#[derive(Clone, Debug)]
struct Draft {
    replicas: i64,
    need: (i64, i64),
    costs: Vec<i64>,
    fixed: i64,
    both: bool,
    runs: bool,
    move_cost: i64,
}

fn draft() -> impl Strategy<Value = Draft> {
    (
        (1..4_i64, (1..5_i64, 1..5_i64), prop::collection::vec(0..30_i64, 4)),
        (prop_oneof![Just(0), 1..40_i64], prop::bool::weighted(0.2), any::<bool>(), 0..10_i64),
    )
        .prop_map(|((replicas, need, costs), (fixed, both, runs, move_cost))| Draft {
            replicas,
            need,
            costs,
            fixed,
            both: both && replicas > 1,
            runs,
            move_cost,
        })
}

fn instance() -> impl Strategy<Value = Instance> {
    (pools(), prop::collection::vec(draft(), 1..4), prop::option::of(0..3_i64)).prop_map(
        |(mut pools, drafts, max_moves)| {
            let nodes = pools.len();
            let mut tasks = Vec::new();
            for (n, it) in drafts.iter().enumerate() {
                let need = vec![it.need.0, it.need.1];
                let place = |pool: usize| Place { pool, cost: it.costs[pool % 4] };
                let places = (0..nodes).map(place).collect();
                let mut held = Vec::new();
                if it.runs {
                    // What runs holds a place of its own size in each of its clusters.
                    let here = if it.both { vec![1, it.replicas - 1] } else { vec![it.replicas] };
                    for (cluster, replicas) in here.into_iter().enumerate() {
                        pools.push(Pool {
                            cluster: (cluster + n) % 2,
                            name: format!("left-{n}-{cluster}"),
                            free: need.clone(),
                            slots: Some(1),
                            nodes: replicas,
                            node_cost: 0,
                        });
                        held.push(Held { pool: pools.len() - 1, replicas, cost: 40 });
                    }
                }
                tasks.push(Task {
                    name: format!("task-{n}"),
                    replicas: it.replicas,
                    need,
                    places,
                    held,
                    fixed: if it.fixed > 0 {
                        [(0, it.fixed), (1, it.fixed)].into()
                    } else {
                        BTreeMap::new()
                    },
                    move_cost: it.move_cost,
                    min_per_cluster: 1,
                    min_clusters: 1,
                    spread: if it.both {
                        vec![Spread { key: "region".into(), min: 2, max: None }]
                    } else {
                        Vec::new()
                    },
                    ..Task::default()
                });
            }
            // Places that are given up are open to all that fit.
            for (pool, it) in pools.iter().enumerate().skip(nodes) {
                for task in &mut tasks {
                    if task.need.iter().zip(&it.free).all(|(need, free)| need <= free) {
                        task.places.push(Place { pool, cost: 40 });
                    }
                }
            }
            Instance {
                resources: vec!["cpu".into(), "memory".into()],
                clusters: vec!["a".into(), "b".into()],
                pools,
                tasks,
                topologies: [("region".to_owned(), vec![Some(0), Some(1)])].into(),
                max_moves,
            }
        },
    )
}

/// The least cost over every way to put every replica somewhere, by trying all of them.
fn brute_force(instance: &Instance) -> Option<i64> {
    let mut solution = Solution {
        stays: instance.tasks.iter().map(|it| vec![0; it.held.len()]).collect(),
        fills: Vec::new(),
    };
    let mut best = None;
    let left: Vec<usize> = instance
        .tasks
        .iter()
        .enumerate()
        .flat_map(|(task, it)| std::iter::repeat_n(task, usize::try_from(it.replicas).unwrap()))
        .collect();
    try_all(instance, &left, &mut solution, &mut best, (0, 0));
    best
}

/// `floor`: replicas of one task are alike, so each comes no earlier than the one before.
fn try_all(
    instance: &Instance,
    left: &[usize],
    solution: &mut Solution,
    best: &mut Option<i64>,
    floor: (usize, usize),
) {
    let Some((task, rest)) = left.split_first() else {
        if let Ok(tally) = check(instance, solution)
            && best.is_none_or(|it| tally.cost < it)
        {
            *best = Some(tally.cost);
        }
        return;
    };
    let next = |choice: usize| if rest.first() == Some(task) { (*task, choice) } else { (0, 0) };
    let it = &instance.tasks[*task];
    let held = it.held.len();
    let from = if floor.0 == *task { floor.1 } else { 0 };
    for choice in from..held {
        if solution.stays[*task][choice] < it.held[choice].replicas {
            solution.stays[*task][choice] += 1;
            try_all(instance, rest, solution, best, next(choice));
            solution.stays[*task][choice] -= 1;
        }
    }
    for (at, place) in it.places.iter().enumerate() {
        let choice = held + at;
        if choice < from {
            continue;
        }
        let pool = &instance.pools[place.pool];
        for bin in 0..solution.fills.len() {
            if solution.fills[bin].pool != place.pool {
                continue;
            }
            let load = &solution.fills[bin].load;
            let fits = (0..2).all(|r| {
                let taken: i64 =
                    load.iter().map(|(task, n)| instance.tasks[*task].need[r] * n).sum();
                taken + it.need[r] <= pool.free[r]
            });
            let slots = pool.slots.is_none_or(|it| load.iter().map(|it| it.1).sum::<i64>() < it);
            if fits && slots {
                solution.fills[bin].load.push((*task, 1));
                try_all(instance, rest, solution, best, next(choice));
                solution.fills[bin].load.pop();
            }
        }
        let used = solution.fills.iter().filter(|it| it.pool == place.pool).count();
        if i64::try_from(used).unwrap() < pool.nodes {
            solution.fills.push(Fill { pool: place.pool, nodes: 1, load: vec![(*task, 1)] });
            try_all(instance, rest, solution, best, next(choice));
            solution.fills.pop();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_placement_costs_less_than_the_bound_and_none_that_is_found_less_than_the_best(
        instance in instance()
    ) {
        let small: i64 = instance.tasks.iter().map(|it| it.replicas).sum();
        prop_assume!(small <= 6);
        match (solve(&instance, &never), brute_force(&instance)) {
            (Ok(answer), Some(best)) => {
                prop_assert!(answer.bound <= best, "bound {} best {best}", answer.bound);
                // So few are solved exactly.
                prop_assert_eq!((answer.tally.cost, answer.bound), (best, best));
                prop_assert_eq!(check(&instance, &answer.solution), Ok(answer.tally));
                if let Some(today) = answer.today {
                    prop_assert!(answer.tally.cost <= today);
                }
                if let Some(max) = instance.max_moves {
                    prop_assert!(answer.tally.moved <= max);
                }
            }
            (Ok(answer), None) => prop_assert!(false, "what cannot be is found: {answer:?}"),
            // A search that gives up says so; where everything runs today there is always an answer.
            (Err(SolveError::NoPlacement { .. }), _) => {
                prop_assert!(Solution::today(&instance).is_none());
            }
            (Err(SolveError::Today(_)), _) => prop_assert!(Solution::today(&instance).is_some()),
            (Err(error), _) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn the_same_instance_gives_the_same_bytes(instance in instance()) {
        let (one, two) = (solve(&instance, &never), solve(&instance, &never));
        prop_assert_eq!(format!("{one:?}"), format!("{two:?}"));
    }

    #[test]
    fn the_check_sees_what_is_changed(instance in instance(), at in any::<prop::sample::Index>()) {
        let Ok(answer) = solve(&instance, &never) else { return Ok(()) };
        let mut more = answer.solution.clone();
        if let Some(fill) = (!more.fills.is_empty()).then(|| at.get(&more.fills).clone()) {
            let place = more.fills.iter().position(|it| *it == fill).unwrap();
            more.fills[place].load[0].1 += 1;
            prop_assert!(check(&instance, &more).is_err(), "a replica too many");
            let mut fewer = answer.solution.clone();
            fewer.fills.remove(place);
            prop_assert!(check(&instance, &fewer).is_err(), "replicas are lost");
            let mut crowded = answer.solution;
            crowded.fills[place].nodes += instance.pools[fill.pool].nodes;
            prop_assert!(check(&instance, &crowded).is_err(), "more nodes than there are");
        } else {
            let task = at.index(more.stays.len());
            more.stays[task][0] += 1;
            prop_assert!(check(&instance, &more).is_err(), "more stay than are held");
        }
    }
}

fn one_pool(nodes: i64, need: i64, replicas: i64) -> Instance {
    let pool = |cluster: usize, cost: i64| Pool {
        cluster,
        name: format!("pool-{cluster}"),
        free: vec![4],
        nodes,
        node_cost: cost,
        ..Pool::default()
    };
    Instance {
        resources: vec!["cpu".into()],
        clusters: vec!["a".into(), "b".into()],
        pools: vec![pool(0, 100), pool(1, 70)],
        tasks: vec![Task {
            name: "web".into(),
            replicas,
            need: vec![need],
            places: vec![Place { pool: 0, cost: 0 }, Place { pool: 1, cost: 0 }],
            min_per_cluster: 1,
            min_clusters: 1,
            ..Task::default()
        }],
        ..Instance::default()
    }
}

#[test]
fn whole_nodes_are_paid_for() {
    let answer = solve(&one_pool(9, 1, 5), &never).unwrap();
    assert_eq!(answer.tally.cost, 140, "five replicas take two nodes of the cheaper kind");
    assert!(answer.bound > 70 && answer.bound <= 140, "{}", answer.bound);
}

#[test]
fn rules_are_checked_one_by_one() {
    let mut instance = one_pool(2, 2, 3);
    let fill = |pool: usize, nodes: i64, n: i64| Fill { pool, nodes, load: vec![(0, n)] };
    let of = |fills: Vec<Fill>| Solution { stays: vec![vec![]], fills };
    let good = of(vec![fill(0, 1, 1), fill(1, 1, 2)]);
    assert_eq!(check(&instance, &good).unwrap().cost, 170);
    let found = |instance: &Instance, solution: &Solution| check(instance, solution).unwrap_err();
    assert!(matches!(found(&instance, &of(vec![fill(0, 1, 3)])), Violation::Overfilled { .. }));
    assert!(matches!(found(&instance, &of(vec![fill(0, 3, 1)])), Violation::TooManyNodes { .. }));
    assert!(matches!(found(&instance, &of(vec![fill(0, 2, 1)])), Violation::Replicas { .. }));
    assert!(matches!(found(&instance, &of(vec![fill(7, 1, 3)])), Violation::Shape));
    instance.tasks[0].min_per_cluster = 2;
    assert!(matches!(found(&instance, &good), Violation::PerCluster { .. }));
    instance.tasks[0].min_per_cluster = 1;
    instance.tasks[0].max_clusters = Some(1);
    assert!(matches!(found(&instance, &good), Violation::Spread { .. }));
    instance.tasks[0].max_clusters = None;
    instance.tasks[0].per_node = Some(1);
    assert!(matches!(found(&instance, &good), Violation::PerNode { .. }));
    instance.tasks[0].per_node = None;
    instance.tasks[0].places.pop();
    assert!(matches!(found(&instance, &good), Violation::NotAllowed { .. }));
}

#[test]
fn a_run_that_is_stopped_says_so() {
    let mut instance = one_pool(9, 1, 5);
    // Two kinds of tasks, so that the bound does not meet the cost at once.
    instance.tasks.push(Task { name: "api".into(), need: vec![3], ..instance.tasks[0].clone() });
    let answer = solve(&instance, &|| true).unwrap();
    assert!(answer.stopped);
    assert!(!solve(&instance, &never).unwrap().stopped);
}

/// A fleet with little room to spare: nodes as steps, two resources, charges per cluster.
fn tight(tasks: i64) -> Instance {
    const SIZES: [(i64, i64); 6] = [(1, 2), (2, 2), (2, 8), (5, 10), (10, 16), (20, 60)];
    let size = |at: i64| SIZES[usize::try_from(at * 7 % 6).unwrap()];
    let replicas = |at: i64| 2 + at * 5 % 9;
    let wanted: i64 = (0..tasks).map(|at| size(at).0 * replicas(at)).sum();
    let pool = |at: i64| Pool {
        cluster: usize::try_from(at % 6).unwrap(),
        name: format!("pool-{at}"),
        free: vec![79, 250 - 40 * (at % 3)],
        slots: Some(58),
        nodes: wanted * 108 / 100 / 79 / 12 + 1,
        node_cost: if at % 4 == 0 { 0 } else { 30_000 + at * 7 % 11 * 1_000 },
    };
    let task = |at: i64| Task {
        name: format!("task-{at}"),
        replicas: replicas(at),
        need: vec![size(at).0, size(at).1],
        places: (0..12)
            .filter(|pool| (at + pool) % 4 > 0)
            .map(|pool| Place { pool: usize::try_from(pool).unwrap(), cost: at * pool % 90 })
            .collect(),
        fixed: (0..6).map(|cluster| (cluster, 100 * i64::from(at % 2 == 0))).collect(),
        min_per_cluster: 1,
        min_clusters: 1 + i64::from(at % 3 == 0),
        max_clusters: Some(4),
        ..Task::default()
    };
    Instance {
        resources: vec!["cpu".into(), "memory".into()],
        clusters: (0..6).map(|at| format!("cluster-{at}")).collect(),
        pools: (0..12).map(pool).collect(),
        tasks: (0..tasks).map(task).collect(),
        ..Instance::default()
    }
}

#[test]
fn many_tasks_fill_few_nodes_and_are_begun_on_whole_pools() {
    let instance = tight(140);
    let asked = std::cell::Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 150
    };
    let answer = solve(&instance, &stop).unwrap();
    assert_eq!(check(&instance, &answer.solution).unwrap(), answer.tally);
    assert!(answer.bound <= answer.tally.cost);
    assert!(answer.gap() < 60_000, "{} above {}", answer.tally.cost, answer.bound);
}

#[test]
fn free_room_is_not_left_for_a_new_node_and_nothing_is_left_for_a_second_run() {
    // Four small fleets of workloads that run where they are dear: what is found is found at once.
    for seed in 0..4_i64 {
        let mut instance = one_pool(9, 1, 1);
        instance.pools[0].node_cost = 0;
        instance.pools[0].nodes = 2;
        instance.tasks = (0..5_i64)
            .map(|at| Task {
                name: format!("task-{at}"),
                replicas: 1 + (at * 3 + seed) % 4,
                need: vec![1 + (at + seed) % 3],
                places: vec![
                    Place { pool: 0, cost: 17 * (1 + (at + seed) % 3) },
                    Place { pool: 1, cost: 0 },
                ],
                ..instance.tasks[0].clone()
            })
            .collect();
        let answer = solve(&instance, &never).unwrap();
        assert_eq!(answer.gap(), 0, "{seed}: {answer:?}");
        assert!(!answer.stopped);
    }
}

/// The same fleet with everything running where it came to be over time: each task in one of its clusters, whatever that
/// costs today. What runs on nodes that come and go costs its part of one.
fn drifted(tasks: i64) -> Instance {
    let mut instance = tight(tasks);
    let nodes = instance.pools.len();
    let mut slots = Vec::new();
    for at in 0..instance.tasks.len() {
        let task = instance.tasks[at].clone();
        let parts = i64::try_from(at).unwrap() % 2 + task.min_clusters;
        let mut left = task.replicas;
        let mut clusters = Vec::new();
        for place in task.places.iter().cycle().skip(at * 7 % task.places.len()) {
            let pool = instance.pools[place.pool].clone();
            if clusters.contains(&pool.cluster) {
                continue;
            }
            clusters.push(pool.cluster);
            let last = i64::try_from(clusters.len()).unwrap() == parts.min(task.replicas);
            let n = if last { left } else { 1 };
            instance.pools.push(Pool {
                cluster: pool.cluster,
                name: format!("left-{at}-{}", pool.cluster),
                free: task.need.clone(),
                slots: Some(1),
                nodes: n,
                node_cost: 0,
            });
            let slot = pool.node_cost * task.need[0] / pool.free[0];
            slots.push(slot);
            let held =
                Held { pool: instance.pools.len() - 1, replicas: n, cost: place.cost + slot };
            instance.tasks[at].held.push(held);
            left -= n;
            if last {
                break;
            }
        }
        instance.tasks[at].move_cost = 50;
    }
    for task in &mut instance.tasks {
        for (pool, it) in instance.pools.iter().enumerate().skip(nodes) {
            if task.need.iter().zip(&it.free).all(|(need, free)| need <= free) {
                let cost = slots[pool - nodes] + 40;
                task.places.push(Place { pool, cost });
            }
        }
    }
    instance
}

#[test]
fn a_fleet_is_not_held_by_where_it_came_to_run() {
    let instance = drifted(30);
    let answer = solve(&instance, &never).unwrap();
    let today = answer.today.unwrap();
    assert!(answer.tally.cost < today / 2, "{} of {today}", answer.tally.cost);
    // With few moves there are the dearest first, and never more of them.
    let few = Instance { max_moves: Some(5), ..instance };
    let few = solve(&few, &never).unwrap();
    assert!(few.tally.moved <= 5 && few.tally.cost < today, "{:?}", few.tally);
}
