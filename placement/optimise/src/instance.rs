//! The problem in plain integers: pools of nodes, tasks with replicas, what each costs where, and which rules bind.
//! Nothing here knows of Kubernetes; an instance can be written to a file, solved elsewhere, and compared.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// More resources than these are not told apart.
pub const MAX_RESOURCES: usize = 7;

/// A fleet and what is to be placed in it. Money is µ$/h.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Names of what nodes have and replicas take, in the order of [`Pool::free`] and [`Task::need`].
    pub resources: Vec<String>,
    pub clusters: Vec<String>,
    pub pools: Vec<Pool>,
    pub tasks: Vec<Task>,
    /// By topology key: the domain of each cluster; none where it has no such property.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topologies: BTreeMap<String, Vec<Option<u32>>>,
    /// At most so many replicas leave the place that they hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_moves: Option<i64>,
}

/// Nodes that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Index into [`Instance::clusters`].
    pub cluster: usize,
    pub name: String,
    /// Of one node.
    pub free: Vec<i64>,
    /// Replicas that one node takes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<i64>,
    pub nodes: i64,
    /// Of each node that runs something: a whole node is a step.
    #[serde(default)]
    pub node_cost: i64,
}

/// Replicas that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub name: String,
    pub replicas: i64,
    /// Of one replica.
    pub need: Vec<i64>,
    /// At most so many on one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_node: Option<i64>,
    /// Where a replica may start.
    pub places: Vec<Place>,
    /// Where replicas run today: all of them, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
    /// A cluster that runs any costs so much once, beside its replicas.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fixed: BTreeMap<usize, i64>,
    /// Of a replica that starts elsewhere than it runs today.
    #[serde(default)]
    pub move_cost: i64,
    /// A cluster that runs any runs at least so many, and at most.
    #[serde(default = "one")]
    pub min_per_cluster: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_cluster: Option<i64>,
    #[serde(default = "one")]
    pub min_clusters: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_clusters: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Spread>,
}

fn one() -> i64 {
    1
}

/// A pool in which a replica may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub pool: usize,
    /// Of one replica, beside its nodes.
    #[serde(default)]
    pub cost: i64,
}

/// Replicas that run in a cluster today. Each holds one node of `pool`, which others may have once it has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub pool: usize,
    pub replicas: i64,
    /// Of one replica that stays.
    #[serde(default)]
    pub cost: i64,
}

/// Bounds on the number of domains that run any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    pub key: String,
    #[serde(default)]
    pub min: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
}

/// What is wrong with an instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct Invalid {
    pub at: String,
    pub problem: &'static str,
}

impl Instance {
    /// Whether every number refers to something and means something.
    pub fn validate(&self) -> Result<(), Invalid> {
        let wrong = |at: String, problem| Err(Invalid { at, problem });
        if self.resources.len() > MAX_RESOURCES {
            return wrong("resources".to_owned(), "more than seven");
        }
        if self.topologies.values().any(|it| it.len() != self.clusters.len()) {
            return wrong("topologies".to_owned(), "not one entry per cluster");
        }
        for (n, it) in self.pools.iter().enumerate() {
            let at = || format!("pools[{n}]");
            if it.cluster >= self.clusters.len() {
                return wrong(at(), "no such cluster");
            }
            if it.free.len() != self.resources.len() {
                return wrong(at(), "not one amount per resource");
            }
            let slots = it.slots.unwrap_or(0);
            if it.free.iter().any(|it| *it < 0) || it.nodes < 0 || it.node_cost < 0 || slots < 0 {
                return wrong(at(), "a number below zero");
            }
        }
        for (n, it) in self.tasks.iter().enumerate() {
            self.validate_task(it)
                .map_err(|problem| Invalid { at: format!("tasks[{n}] {}", it.name), problem })?;
        }
        for (pool, it) in self.pools.iter().enumerate() {
            let held = self.tasks.iter().flat_map(|task| &task.held);
            let held: i64 = held.filter(|it| it.pool == pool).map(|it| it.replicas).sum();
            if held > it.nodes {
                return wrong(format!("pools[{pool}]"), "more is held than there are nodes");
            }
        }
        Ok(())
    }

    fn validate_task(&self, task: &Task) -> Result<(), &'static str> {
        if task.need.len() != self.resources.len() {
            return Err("not one amount per resource");
        }
        if task.replicas < 1 || task.min_per_cluster < 1 || task.min_clusters < 1 {
            return Err("replicas and least numbers begin at one");
        }
        let costs = task.places.iter().map(|it| it.cost).chain(task.held.iter().map(|it| it.cost));
        if task.need.iter().chain(task.fixed.values()).copied().chain(costs).any(|it| it < 0)
            || task.move_cost < 0
        {
            return Err("a number below zero");
        }
        let pools = task.places.iter().map(|it| it.pool).chain(task.held.iter().map(|it| it.pool));
        if pools.into_iter().any(|it| it >= self.pools.len()) {
            return Err("no such pool");
        }
        let places: BTreeSet<_> = task.places.iter().map(|it| it.pool).collect();
        if places.len() < task.places.len() {
            return Err("a pool is named twice");
        }
        if task.spread.iter().any(|it| !self.topologies.contains_key(&it.key)) {
            return Err("no such topology");
        }
        let clusters: BTreeSet<_> =
            task.held.iter().map(|it| self.pools[it.pool].cluster).collect();
        if clusters.len() < task.held.len() {
            return Err("a cluster holds in two pools");
        }
        let held: i64 = task.held.iter().map(|it| it.replicas).sum();
        if task.held.iter().any(|it| it.replicas < 1) || (held != 0 && held != task.replicas) {
            return Err("not all replicas are held, or none");
        }
        let fits = |it: &Held| {
            self.pools[it.pool].free.iter().zip(&task.need).all(|(free, need)| need <= free)
        };
        if !task.held.iter().all(fits) {
            return Err("a replica is larger than what it holds");
        }
        Ok(())
    }
}

/// What fills a node: so many replicas of each task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    pub pool: usize,
    /// So many nodes are filled alike.
    pub nodes: i64,
    /// Task and replicas.
    pub load: Vec<(usize, i64)>,
}

/// Where everything runs, node by node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Solution {
    /// By task: how many stay, in the order of [`Task::held`].
    pub stays: Vec<Vec<i64>>,
    pub fills: Vec<Fill>,
}

impl Solution {
    /// What runs today; `None` where something does not run yet.
    pub fn today(instance: &Instance) -> Option<Self> {
        if instance.tasks.iter().any(|it| it.held.is_empty()) {
            return None;
        }
        let stays = |it: &Task| it.held.iter().map(|it| it.replicas).collect();
        Some(Self { stays: instance.tasks.iter().map(stays).collect(), fills: Vec::new() })
    }

    /// Replicas of each task by cluster.
    pub fn shares(&self, instance: &Instance) -> Vec<BTreeMap<usize, i64>> {
        let mut shares = vec![BTreeMap::new(); instance.tasks.len()];
        for (at, (task, stays)) in instance.tasks.iter().zip(&self.stays).enumerate() {
            for (held, stays) in task.held.iter().zip(stays).filter(|it| *it.1 > 0) {
                *shares[at].entry(instance.pools[held.pool].cluster).or_default() += stays;
            }
        }
        for fill in &self.fills {
            for (task, n) in &fill.load {
                *shares[*task].entry(instance.pools[fill.pool].cluster).or_default() +=
                    n * fill.nodes;
            }
        }
        shares
    }
}
