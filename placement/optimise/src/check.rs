//! Checks a solution against its instance, in exact integers and by nothing but the two of them: it shares no code with
//! the search, so that a mistake there is found here.

use std::collections::BTreeMap;

use crate::instance::{Instance, Solution, Task};

/// What a solution comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// µ$/h
    pub cost: i64,
    /// Replicas that leave where they run.
    pub moved: i64,
}

/// The rule that a solution breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("the solution is not about this instance")]
    Shape,
    #[error("{task} has {found} replicas, not {wanted}")]
    Replicas { task: String, wanted: i64, found: i64 },
    #[error("{task} may not run in pool {pool}")]
    NotAllowed { task: String, pool: String },
    #[error("a node of pool {pool} is overfilled in {resource}")]
    Overfilled { pool: String, resource: String },
    #[error("pool {pool} has {nodes} nodes, and {used} are used")]
    TooManyNodes { pool: String, nodes: i64, used: i64 },
    #[error("{task} has {found} replicas on one node, at most {max} may be")]
    PerNode { task: String, max: i64, found: i64 },
    #[error("{task} stays with {found} replicas where it holds {held}")]
    Stays { task: String, held: i64, found: i64 },
    #[error("{task} starts replicas in {cluster} beside places of its own that it gave up")]
    Shuffled { task: String, cluster: String },
    #[error("{task} has {found} replicas in {cluster}, outside of {min} to {max}")]
    PerCluster { task: String, cluster: String, min: i64, max: i64, found: i64 },
    #[error("{task} is on {found} of {key}, outside of {min} to {max}")]
    Spread { task: String, key: String, min: i64, max: i64, found: i64 },
    #[error("{moved} replicas move, at most {max} may")]
    Moves { moved: i64, max: i64 },
}

/// Adds up a solution that breaks no rule.
pub fn check(instance: &Instance, solution: &Solution) -> Result<Tally, Violation> {
    let about = solution.stays.len() == instance.tasks.len()
        && solution.stays.iter().zip(&instance.tasks).all(|(it, task)| it.len() == task.held.len())
        && solution.fills.iter().all(|it| {
            it.pool < instance.pools.len()
                && it.nodes > 0
                && it.load.iter().all(|(task, n)| *task < instance.tasks.len() && *n > 0)
        });
    if !about {
        return Err(Violation::Shape);
    }
    let mut cost: i128 = 0;
    let mut used = vec![0_i64; instance.pools.len()];
    for (task, stays) in instance.tasks.iter().zip(&solution.stays) {
        for (held, stays) in task.held.iter().zip(stays) {
            if *stays < 0 || *stays > held.replicas {
                let (task, held) = (task.name.clone(), held.replicas);
                return Err(Violation::Stays { task, held, found: *stays });
            }
            used[held.pool] += stays;
            cost += i128::from(held.cost) * i128::from(*stays);
        }
    }
    // By task and cluster: replicas that start there.
    let mut started: Vec<BTreeMap<usize, i64>> = vec![BTreeMap::new(); instance.tasks.len()];
    for fill in &solution.fills {
        let pool = &instance.pools[fill.pool];
        used[fill.pool] += fill.nodes;
        cost += i128::from(pool.node_cost) * i128::from(fill.nodes);
        let mut on_node: BTreeMap<usize, i64> = BTreeMap::new();
        for (task, n) in &fill.load {
            *on_node.entry(*task).or_default() += n;
        }
        let mut taken = vec![0_i128; instance.resources.len()];
        for (task, n) in &on_node {
            let it = &instance.tasks[*task];
            let Some(place) = it.places.iter().find(|place| place.pool == fill.pool) else {
                let (task, pool) = (it.name.clone(), pool.name.clone());
                return Err(Violation::NotAllowed { task, pool });
            };
            if let Some(max) = it.per_node.filter(|max| n > max) {
                return Err(Violation::PerNode { task: it.name.clone(), max, found: *n });
            }
            for (taken, need) in taken.iter_mut().zip(&it.need) {
                *taken += i128::from(*need) * i128::from(*n);
            }
            let each = place.cost + if it.held.is_empty() { 0 } else { it.move_cost };
            cost += i128::from(each) * i128::from(*n) * i128::from(fill.nodes);
            *started[*task].entry(pool.cluster).or_default() += n * fill.nodes;
        }
        let over = taken.iter().zip(&pool.free).position(|(taken, free)| *taken > (*free).into());
        let replicas: i64 = on_node.values().sum();
        let resource = match over {
            Some(at) => Some(instance.resources[at].clone()),
            None => pool.slots.filter(|it| replicas > *it).map(|_| "slots".to_owned()),
        };
        if let Some(resource) = resource {
            return Err(Violation::Overfilled { pool: pool.name.clone(), resource });
        }
    }
    if let Some((pool, used)) =
        instance.pools.iter().zip(&used).find(|(it, used)| **used > it.nodes)
    {
        let (pool, nodes) = (pool.name.clone(), pool.nodes);
        return Err(Violation::TooManyNodes { pool, nodes, used: *used });
    }
    let mut moved = 0;
    for ((task, stays), started) in instance.tasks.iter().zip(&solution.stays).zip(&started) {
        let mut shares = started.clone();
        for (held, stays) in task.held.iter().zip(stays) {
            let cluster = instance.pools[held.pool].cluster;
            if *stays < held.replicas && started.contains_key(&cluster) {
                let cluster = instance.clusters[cluster].clone();
                return Err(Violation::Shuffled { task: task.name.clone(), cluster });
            }
            if *stays > 0 {
                *shares.entry(cluster).or_default() += stays;
            }
        }
        rules(instance, task, &shares)?;
        cost += shares
            .keys()
            .map(|it| i128::from(task.fixed.get(it).copied().unwrap_or(0)))
            .sum::<i128>();
        if !task.held.is_empty() {
            moved += started.values().sum::<i64>();
        }
    }
    if let Some(max) = instance.max_moves.filter(|max| moved > *max) {
        return Err(Violation::Moves { moved, max });
    }
    Ok(Tally { cost: i64::try_from(cost).unwrap_or(i64::MAX), moved })
}

fn rules(instance: &Instance, task: &Task, shares: &BTreeMap<usize, i64>) -> Result<(), Violation> {
    let name = || task.name.clone();
    let found: i64 = shares.values().sum();
    if found != task.replicas {
        return Err(Violation::Replicas { task: name(), wanted: task.replicas, found });
    }
    let (min, max) = (task.min_per_cluster, task.max_per_cluster.unwrap_or(i64::MAX));
    if let Some((cluster, found)) = shares.iter().find(|(_, it)| **it < min || **it > max) {
        let cluster = instance.clusters[*cluster].clone();
        return Err(Violation::PerCluster { task: name(), cluster, min, max, found: *found });
    }
    let spread = |key: &str, found: usize, min: i64, max: Option<i64>| {
        let (found, max) = (i64::try_from(found).unwrap_or(i64::MAX), max.unwrap_or(i64::MAX));
        if found < min || found > max {
            return Err(Violation::Spread { task: name(), key: key.to_owned(), min, max, found });
        }
        Ok(())
    };
    spread("cluster", shares.len(), task.min_clusters, task.max_clusters)?;
    for rule in &task.spread {
        let of = &instance.topologies[&rule.key];
        let mut domains: Vec<_> = shares.keys().map(|it| of[*it]).collect();
        domains.sort_unstable();
        domains.dedup();
        if domains.first() == Some(&None) {
            return spread(&rule.key, usize::MAX, rule.min, Some(0));
        }
        spread(&rule.key, domains.len(), rule.min, rule.max)?;
    }
    Ok(())
}
