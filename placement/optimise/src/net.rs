//! An instance made ready for solving: amounts in arrays, places by site, and nothing that cannot hold a replica.

use std::collections::BTreeMap;

use crate::instance::{Instance, MAX_RESOURCES, Pool, Task};

/// Resources, and the slots of a node after them.
pub(crate) const DIMS: usize = MAX_RESOURCES + 1;
pub(crate) const SLOTS: usize = DIMS - 1;
pub(crate) type Amounts = [i64; DIMS];

/// No bound; small enough to be added up.
pub(crate) const MANY: i64 = i64::MAX / 1_024;

#[derive(Clone, Debug)]
pub(crate) struct Net<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) pools: Vec<NetPool>,
    pub(crate) tasks: Vec<NetTask>,
}

#[derive(Clone, Debug)]
pub(crate) struct NetPool {
    pub(crate) free: Amounts,
    pub(crate) nodes: i64,
    pub(crate) cost: i64,
}

/// One cluster, as one task sees it.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) cluster: usize,
    pub(crate) fixed: i64,
    pub(crate) held: Option<NetHeld>,
    /// Replicas that it takes at most.
    pub(crate) cap: i64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct NetHeld {
    /// Its place in [`Task::held`].
    pub(crate) at: usize,
    pub(crate) pool: usize,
    pub(crate) replicas: i64,
    pub(crate) cost: i64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct NetPlace {
    pub(crate) site: usize,
    pub(crate) pool: usize,
    /// With the cost of the move, if it is one.
    pub(crate) cost: i64,
}

/// Bounds on the number of domains; the first rule of a task is that over clusters.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// By site.
    pub(crate) of: Vec<usize>,
    pub(crate) domains: usize,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct NetTask {
    pub(crate) replicas: i64,
    pub(crate) need: Amounts,
    pub(crate) per_node: i64,
    pub(crate) sites: Vec<Site>,
    pub(crate) places: Vec<NetPlace>,
    /// Pools with their places, sorted.
    pub(crate) by_pool: Vec<(usize, usize)>,
    /// A site that runs any runs at least so many.
    pub(crate) least: i64,
    pub(crate) most: i64,
    pub(crate) rules: Vec<Rule>,
    /// It runs today, so that starting it elsewhere is a move.
    pub(crate) moves: bool,
}

impl NetTask {
    /// Whether it could run if it were alone: enough room, and enough domains.
    pub(crate) fn may_fit(&self) -> bool {
        let room = self.sites.iter().map(|it| it.cap).fold(0, i64::saturating_add);
        room >= self.replicas
            && self.rules.iter().all(|rule| {
                let mut domains = rule.of.clone();
                domains.sort_unstable();
                domains.dedup();
                let count = i64::try_from(domains.len()).unwrap_or(i64::MAX);
                count >= rule.min && rule.min.saturating_mul(self.least) <= self.replicas
            })
    }
}

impl<'a> Net<'a> {
    pub(crate) fn new(instance: &'a Instance) -> Self {
        let pools: Vec<_> = instance.pools.iter().map(pool).collect();
        let tasks = instance.tasks.iter().map(|it| task(instance, &pools, it)).collect();
        Self { instance, pools, tasks }
    }
}

fn pool(pool: &Pool) -> NetPool {
    let mut free = [0; DIMS];
    free[..pool.free.len()].copy_from_slice(&pool.free);
    free[SLOTS] = pool.slots.unwrap_or(MANY);
    NetPool { free, nodes: pool.nodes, cost: pool.node_cost }
}

/// How many replicas fit into so much.
pub(crate) fn fit(free: &Amounts, need: &Amounts) -> i64 {
    let counts = free.iter().zip(need).filter(|it| *it.1 > 0);
    counts.map(|(free, need)| free / need).min().unwrap_or(MANY)
}

/// A site while its pools are gathered.
#[derive(Debug, Default)]
struct Draft {
    /// Pool, and what a replica costs there.
    places: Vec<(usize, i64)>,
    held: Option<NetHeld>,
    room: i64,
}

fn task(instance: &Instance, pools: &[NetPool], task: &Task) -> NetTask {
    let mut need = [0; DIMS];
    need[..task.need.len()].copy_from_slice(&task.need);
    need[SLOTS] = 1;
    let per_node = task.per_node.unwrap_or(MANY);
    let most = task.max_per_cluster.unwrap_or(MANY).min(task.replicas);
    let topologies: Vec<_> = task.spread.iter().map(|it| &instance.topologies[&it.key]).collect();
    let allowed = |cluster: usize| topologies.iter().all(|it| it[cluster].is_some());
    let mut by_cluster: BTreeMap<usize, Draft> = BTreeMap::new();
    let each = if task.held.is_empty() { 0 } else { task.move_cost };
    for it in &task.places {
        let (pool, cluster) = (&pools[it.pool], instance.pools[it.pool].cluster);
        let room = fit(&pool.free, &need).min(per_node).saturating_mul(pool.nodes);
        if room > 0 && allowed(cluster) {
            let site = by_cluster.entry(cluster).or_default();
            site.places.push((it.pool, it.cost.saturating_add(each)));
            site.room = site.room.saturating_add(room);
        }
    }
    for (at, it) in task.held.iter().enumerate() {
        let cluster = instance.pools[it.pool].cluster;
        let held = NetHeld { at, pool: it.pool, replicas: it.replicas, cost: it.cost };
        let site = by_cluster.entry(cluster).or_default();
        site.held = Some(held);
        site.room = site.room.saturating_add(it.replicas);
    }
    // A cluster that cannot hold the least share is none.
    by_cluster.retain(|_, it| it.held.is_some() || it.room.min(most) >= task.min_per_cluster);
    let mut net = NetTask {
        replicas: task.replicas,
        need,
        per_node,
        sites: Vec::new(),
        places: Vec::new(),
        by_pool: Vec::new(),
        least: task.min_per_cluster,
        most,
        rules: Vec::new(),
        moves: !task.held.is_empty(),
    };
    for (site, (cluster, Draft { places, held, room })) in by_cluster.into_iter().enumerate() {
        let fixed = task.fixed.get(&cluster).copied().unwrap_or(0);
        net.sites.push(Site { cluster, fixed, held, cap: room.min(most) });
        net.places.extend(places.into_iter().map(|(pool, cost)| NetPlace { site, pool, cost }));
    }
    net.by_pool = net.places.iter().enumerate().map(|(at, it)| (it.pool, at)).collect();
    net.by_pool.sort_unstable();
    net.rules.push(Rule {
        of: (0..net.sites.len()).collect(),
        domains: net.sites.len(),
        min: task.min_clusters,
        max: task.max_clusters.unwrap_or(MANY),
    });
    for (spread, of) in task.spread.iter().zip(topologies) {
        let mut names: Vec<_> = net.sites.iter().filter_map(|it| of[it.cluster]).collect();
        names.sort_unstable();
        names.dedup();
        // One that holds replicas without having a domain counts as one of its own, beside the others.
        let domain = |it: &Site| {
            of[it.cluster].and_then(|it| names.binary_search(&it).ok()).unwrap_or(names.len())
        };
        net.rules.push(Rule {
            of: net.sites.iter().map(domain).collect(),
            domains: names.len() + 1,
            min: spread.min,
            max: spread.max.unwrap_or(MANY),
        });
    }
    net
}
