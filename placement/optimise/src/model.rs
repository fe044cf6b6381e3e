//! From the fleet as the engine sees it to an instance, and from a solution back to a plan.
//!
//! Only what a policy hands to money moves: workloads divided by `Cheapest`, all of whose replicas run where they may.
//! Room is counted by node: the free part of each node, whole new nodes where pools grow, and the place that a replica
//! leaves behind, which another may have if it is no larger and may run on the same nodes.

use std::collections::BTreeMap;

use federation_types::reason::cause;
use placement_engine::{
    ClusterId, CompiledPolicy, Decision, Failback, Fleet, Outcome, Placed, Plan, Previous, Report,
    Room, Rule, Terms, Workload,
    fleet::BASE,
    plan::{self, PolicySince, TemplatePlan},
    policy::Mode,
};

use crate::{
    instance::{Held, Instance, MAX_RESOURCES, Place, Pool, Solution, Spread, Task},
    solve::{Answer, SolveError, solve},
};

/// A template with the policy that decides for it and where it runs.
#[derive(Clone, Debug)]
pub struct Subject {
    pub workload: Workload,
    pub policy: CompiledPolicy,
    pub previous: Previous,
}

/// The instance of a fleet, and what is not in it.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    pub instance: Instance,
    /// By task: its subject.
    pub subjects: Vec<&'a Subject>,
    /// What stays as it is, by its place among the subjects, and why.
    pub left_out: Vec<(usize, &'static str)>,
}

/// A plan for the whole fleet.
#[derive(Clone, Debug)]
pub struct Optimum {
    pub plan: Plan,
    pub answer: Answer,
}

/// Where the resources of an instance come from.
struct Resources {
    names: Vec<String>,
    /// Extended ones, by their place in the fleet's list.
    extended: Vec<usize>,
}

/// cpu, memory and ephemeral storage; pods are slots.
const COUNTED: [usize; 3] = [0, 1, 3];

impl Resources {
    fn of(fleet: &Fleet, terms: &[(usize, Terms)]) -> Self {
        let mut extended: Vec<usize> = terms
            .iter()
            .flat_map(|(_, it)| it.amounts().1.iter().filter(|it| it.1 > 0).map(|it| it.0))
            .collect();
        extended.sort_unstable();
        extended.dedup();
        extended.truncate(MAX_RESOURCES - COUNTED.len());
        let base = COUNTED.iter().map(|at| BASE[*at].to_owned());
        let names = base.chain(extended.iter().map(|at| fleet.extended[*at].clone()));
        Self { names: names.collect(), extended }
    }

    fn need(&self, terms: &Terms) -> Vec<i64> {
        let (base, own) = terms.amounts();
        let amount = |at: &usize| own.iter().filter(|it| it.0 == *at).map(|it| it.1).sum();
        let base = COUNTED.iter().map(|at| base[*at]);
        base.chain(self.extended.iter().map(amount)).collect()
    }

    fn free(&self, base: &[i64; 4], extended: &[i64]) -> Vec<i64> {
        let base = COUNTED.iter().map(|at| base[*at]);
        base.chain(self.extended.iter().map(|at| extended[*at])).map(|it| it.max(0)).collect()
    }

    fn covers(&self, terms: &Terms) -> bool {
        terms.amounts().1.iter().all(|(at, n)| *n == 0 || self.extended.contains(at))
    }
}

/// What a pool is made of.
enum Source {
    /// Nodes of a class: the free part of those that run, or new ones.
    Class { class: u32, hour: i64, new: bool },
    /// Places that replicas of this subject's size hold.
    Left { terms: usize, cost: i64 },
}

impl<'a> Model<'a> {
    /// Of the fleet with what is free in `room`.
    pub fn new(
        fleet: &Fleet,
        room: &mut Room,
        subjects: &'a [Subject],
        max_moves: Option<i64>,
    ) -> Self {
        let mut left_out = Vec::new();
        let mut terms: Vec<(usize, Terms)> = Vec::new();
        for (at, it) in subjects.iter().enumerate() {
            let own = Terms::of(fleet, room, &it.workload, &it.policy, &it.previous);
            match stays(fleet, it, &own) {
                Some(why) => left_out.push((at, why)),
                None => terms.push((at, own)),
            }
        }
        let resources = Resources::of(fleet, &terms);
        terms.retain(|(at, it)| {
            let covered = resources.covers(it);
            if !covered {
                left_out.push((*at, "more kinds of devices are asked for than are told apart"));
            }
            covered
        });
        left_out.sort_unstable();
        let mut pools: Vec<(Pool, Source)> = Vec::new();
        let all: i64 = terms.iter().map(|(at, _)| replicas(&subjects[*at])).sum();
        for at in 0..fleet.len() {
            node_pools(fleet, room, at, all, &resources, &mut pools);
        }
        let mut left: BTreeMap<(usize, Vec<i64>, Vec<bool>), usize> = BTreeMap::new();
        let mut held: Vec<Vec<Held>> = Vec::new();
        for (n, (at, own)) in terms.iter().enumerate() {
            let mut all = Vec::new();
            for it in subjects[*at].previous.clusters.iter().filter(|it| it.replicas > Some(0)) {
                let id = fleet.id(&it.name).expect("what is elsewhere is left out");
                let cluster = id.0 as usize;
                let replicas = it.replicas.unwrap_or(0);
                let cost = held_cost(fleet, own, cluster) + own.clusters_terms[cluster].beside;
                let nodes = fleet.clusters[cluster].shapes.iter();
                let admitted = nodes.map(|it| own.admits(it.class)).collect();
                let pool =
                    *left.entry((cluster, resources.need(own), admitted)).or_insert_with(|| {
                        let pool = Pool {
                            cluster,
                            name: format!("{} left by {}", it.name, subjects[*at].workload.key),
                            free: resources.need(own),
                            slots: Some(1),
                            ..Pool::default()
                        };
                        let cost = held_cost(fleet, own, cluster);
                        pools.push((pool, Source::Left { terms: n, cost }));
                        pools.len() - 1
                    });
                pools[pool].0.nodes += replicas;
                all.push(Held { pool, replicas, cost });
            }
            held.push(all);
        }
        let mut topologies = BTreeMap::new();
        let tasks = terms
            .iter()
            .zip(held)
            .map(|((at, own), held)| {
                let subject = &subjects[*at];
                for it in &own.spread {
                    topologies.entry(it.key.clone()).or_insert_with(|| it.domains.clone());
                }
                Task {
                    name: subject.workload.key.to_string(),
                    replicas: replicas(subject),
                    need: resources.need(own),
                    per_node: subject.workload.nodes.per_node,
                    places: places(fleet, subject, own, &terms, &resources, &pools),
                    held,
                    fixed: first(own),
                    move_cost: own.per_move.max(0),
                    min_per_cluster: own.min_per_cluster,
                    max_per_cluster: own.max_per_cluster,
                    min_clusters: own.clusters.0,
                    max_clusters: own.clusters.1,
                    spread: own
                        .spread
                        .iter()
                        .map(|it| Spread { key: it.key.clone(), min: it.min, max: it.max })
                        .collect(),
                }
            })
            .collect();
        let instance = Instance {
            resources: resources.names,
            clusters: fleet.clusters.iter().map(|it| it.name.clone()).collect(),
            pools: pools.into_iter().map(|it| it.0).collect(),
            tasks,
            topologies,
            max_moves,
        };
        Self { instance, subjects: terms.iter().map(|(at, _)| &subjects[*at]).collect(), left_out }
    }

    /// Solves it. What today's placement breaks itself must have been left out before.
    pub fn optimise(&self, fleet: &Fleet, stop: &dyn Fn() -> bool) -> Result<Optimum, SolveError> {
        let answer = solve(&self.instance, stop)?;
        Ok(Optimum { plan: self.plan(fleet, &answer.solution), answer })
    }

    /// What a solution changes.
    pub fn plan(&self, fleet: &Fleet, solution: &Solution) -> Plan {
        let shares = solution.shares(&self.instance);
        let plans =
            self.subjects.iter().zip(&shares).map(|(it, shares)| template(fleet, it, shares));
        let inputs: Vec<_> = self
            .subjects
            .iter()
            .map(|it| plan::inputs(fleet, &it.workload, &it.policy, &it.previous))
            .collect();
        Plan::of(plans.collect(), &inputs)
    }
}

/// What the first replica of each cluster costs beside.
fn first(terms: &Terms) -> BTreeMap<usize, i64> {
    let clusters = terms.clusters_terms.iter().enumerate();
    clusters.filter(|it| it.1.first > 0).map(|(at, it)| (at, it.first)).collect()
}

fn replicas(subject: &Subject) -> i64 {
    subject.workload.replicas.unwrap_or(0)
}

/// Why a subject stays as it is; `None` if it may move.
fn stays(fleet: &Fleet, subject: &Subject, terms: &Terms) -> Option<&'static str> {
    let Subject { workload, policy, previous } = subject;
    if terms.mode != Mode::Cheapest {
        return Some("its policy does not divide by Cheapest");
    }
    if workload.is_bound() {
        return Some("its kind is bound to where it runs");
    }
    if policy.spec.suspend {
        return Some("its policy is suspended");
    }
    if !policy.spec.workload_affinity.is_empty() || !policy.spec.workload_anti_affinity.is_empty() {
        return Some("its policy binds it to where other templates are");
    }
    if policy.spec.spot.is_some() || previous.clusters.iter().any(|it| it.spot) {
        return Some("part of it is on spot nodes");
    }
    if Terms::skews(policy) {
        return Some("its spread bounds the difference between domains");
    }
    let held: i64 = previous.clusters.iter().filter_map(|it| it.replicas).sum();
    if replicas(subject) == 0 || held != replicas(subject) {
        return Some("not all of its replicas are placed");
    }
    let running = || previous.clusters.iter().filter(|it| it.replicas > Some(0));
    let mut counts = vec![0_i64; fleet.len()];
    for it in running() {
        let Some(id) = fleet.id(&it.name) else {
            return Some("it runs on a cluster that the inventory does not have");
        };
        if !terms.clusters_terms[id.0 as usize].keeps {
            return Some("it runs where its policy no longer lets it");
        }
        counts[id.0 as usize] = it.replicas.unwrap_or(0);
    }
    let used = || counts.iter().enumerate().filter(|it| *it.1 > 0);
    let number = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
    let within = |n: usize, min: i64, max: Option<i64>| {
        number(n) >= min && max.is_none_or(|max| number(n) <= max)
    };
    let kept = used().all(|it| {
        *it.1 >= terms.min_per_cluster && terms.max_per_cluster.is_none_or(|max| *it.1 <= max)
    }) && within(used().count(), terms.clusters.0, terms.clusters.1)
        && terms.spread.iter().all(|rule| {
            let mut domains: Vec<_> = used().map(|it| rule.domains[it.0]).collect();
            domains.sort_unstable();
            domains.dedup();
            domains.first() != Some(&None) && within(domains.len(), rule.min, rule.max)
        });
    if !kept {
        return Some("where it runs does not keep its policy");
    }
    let affordable = |at: usize| affords(fleet, subject, terms, at);
    (!used().all(|it| affordable(it.0))).then_some("its budget leaves no room for a move")
}

/// Whether all of it could run there within its budget: then any division over such clusters is within it.
fn affords(fleet: &Fleet, subject: &Subject, terms: &Terms, at: usize) -> bool {
    terms.max_monthly.is_none_or(|max| {
        let cluster = ClusterId(u32::try_from(at).expect("a cluster of the fleet"));
        Terms::monthly(fleet, &subject.workload, &subject.policy, cluster)
            .is_some_and(|it| it <= max)
    })
}

/// What a replica that runs there costs: nothing in a fixed pool, else its slot at the lowest price (RULES 5.2).
fn held_cost(fleet: &Fleet, terms: &Terms, cluster: usize) -> i64 {
    let it = &fleet.clusters[cluster];
    if !it.spec.autoscaled {
        return 0;
    }
    let slots = it.shapes.iter().filter_map(|shape| {
        let hour = shape.price.as_ref()?.ranked().0;
        terms.slot_price(fleet, shape.class, hour)
    });
    slots.min().unwrap_or(0)
}

fn node_pools(
    fleet: &Fleet,
    room: &Room,
    cluster: usize,
    all: i64,
    resources: &Resources,
    pools: &mut Vec<(Pool, Source)>,
) {
    let it = &fleet.clusters[cluster];
    let id = fleet.id(&it.name).expect("a cluster of the fleet");
    let hour = |class: u32| {
        let shape = it.shapes.iter().find(|it| it.class == class)?;
        Some(shape.price.as_ref()?.ranked().0)
    };
    let name = |class: u32, what: &str| {
        let class = &fleet.classes[class as usize];
        format!("{} {} {what}", it.name, class.instance_type)
    };
    for (group, extended) in room.groups_in_full(id) {
        // An unknown price never wins.
        let Some(hour) = hour(group.class) else { continue };
        let pool = Pool {
            cluster,
            name: name(group.class, "free"),
            free: resources.free(&group.free, extended),
            slots: Some(group.free[2].max(0)),
            nodes: group.nodes,
            node_cost: 0,
        };
        pools.push((pool, Source::Class { class: group.class, hour, new: false }));
    }
    if !it.spec.autoscaled {
        return;
    }
    for shape in &it.shapes {
        let Some(hour) = hour(shape.class) else { continue };
        let class = &fleet.classes[shape.class as usize];
        let pool = Pool {
            cluster,
            name: name(shape.class, "new"),
            free: resources.free(&class.allocatable, &class.extended),
            slots: Some(class.allocatable[2].max(0)),
            nodes: all,
            node_cost: hour,
        };
        pools.push((pool, Source::Class { class: shape.class, hour, new: true }));
    }
}

fn places(
    fleet: &Fleet,
    subject: &Subject,
    own: &Terms,
    terms: &[(usize, Terms)],
    resources: &Resources,
    pools: &[(Pool, Source)],
) -> Vec<Place> {
    let need = resources.need(own);
    let mut places = Vec::new();
    for (at, (pool, source)) in pools.iter().enumerate() {
        let cluster = &own.clusters_terms[pool.cluster];
        let fits = need.iter().zip(&pool.free).all(|(need, free)| need <= free);
        if !cluster.open || cluster.unknown || !fits || !affords(fleet, subject, own, pool.cluster)
        {
            continue;
        }
        let autoscaled = fleet.clusters[pool.cluster].spec.autoscaled;
        let cost = match source {
            Source::Class { class, .. } if !own.admits(*class) => continue,
            Source::Class { new: true, .. } => 0,
            Source::Class { class, hour, .. } if autoscaled => {
                match own.slot_price(fleet, *class, *hour) {
                    Some(price) => price,
                    None => continue,
                }
            }
            Source::Class { .. } => 0,
            Source::Left { terms: n, cost } => {
                // On which nodes it lies is not known: all that it may lie on must do.
                let before = &terms[*n].1;
                let shapes = &fleet.clusters[pool.cluster].shapes;
                let same = shapes.iter().all(|it| !before.admits(it.class) || own.admits(it.class));
                if !same || subject.workload.nodes.per_node.is_some() {
                    continue;
                }
                *cost
            }
        };
        places.push(Place { pool: at, cost: cost.saturating_add(cluster.beside) });
    }
    places
}

/// What changes for one template; every change of it is the plan's own doing.
fn template(fleet: &Fleet, subject: &Subject, shares: &BTreeMap<usize, i64>) -> TemplatePlan {
    let mut rules = vec![Rule::Dearer; fleet.len()];
    let mut clusters: Vec<Placed> = Vec::new();
    for (cluster, replicas) in shares {
        rules[*cluster] = Rule::Chosen;
        let cluster = ClusterId(u32::try_from(*cluster).expect("a cluster of the fleet"));
        clusters.push(Placed { cluster, replicas: Some(*replicas) });
    }
    // A cluster that is kept with no replicas stays so.
    for it in subject.previous.clusters.iter().filter(|it| it.replicas == Some(0)) {
        if let Some(cluster) = fleet.id(&it.name)
            && !clusters.iter().any(|it| it.cluster == cluster)
        {
            clusters.push(Placed { cluster, replicas: Some(0) });
        }
    }
    clusters.sort_by_key(|it| it.cluster);
    let decision = Decision {
        clusters,
        absent: Vec::new(),
        affinity: None,
        divided: true,
        outcome: Outcome::Placed,
        gap: 0,
        spot: Vec::new(),
        failback: Failback::None,
        report: Report { rules },
    };
    let mut plan = plan::diff(
        fleet,
        &subject.workload,
        &subject.policy,
        &subject.previous,
        &decision,
        PolicySince::Same,
    );
    for change in &mut plan.changes {
        cause::REBALANCED.clone_into(&mut change.cause);
    }
    plan
}
