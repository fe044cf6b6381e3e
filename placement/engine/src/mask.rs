//! What a policy says of each cluster of a fleet, whatever the workload: worked out once per policy and fleet.

use std::sync::Arc;

use federation_types::{
    cluster::{Taint, TaintEffect},
    policy::{Near, Toleration},
    selector::glob,
};

use crate::{
    beside,
    bits::Bits,
    expression::Expressions,
    fleet::{Cluster, Domains, Fleet},
    policy::{CompiledPolicy, Selector},
    report::Rule,
    room::Room,
    time,
};

/// Which part of a selector refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Sets,
    Providers,
    Regions,
    Zones,
    Labels,
    Names,
    Exclude,
    Expression(usize),
}

/// Why a policy refuses a cluster; made into text only on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Leaving,
    /// The namespace may not use it: no ClusterSet that serves it holds the cluster.
    Namespace,
    Affinity(Part),
    Limit(usize, Part),
    LimitJurisdiction(usize),
    Residency,
    /// The taint by its place in the cluster's list.
    Taint(usize),
    /// The same, of one that is tolerated for a while: what runs stays, and nothing new comes.
    TaintForNow(usize),
    /// The service by its place in the policy's list.
    Near(usize),
    NotAccepted,
    NotReady,
    /// Weights are given, and none of them matches.
    NoWeight,
}

impl Refusal {
    pub(crate) fn rule(self) -> Rule {
        match self {
            Self::Leaving => Rule::Leaving,
            Self::Namespace | Self::Affinity(Part::Sets) => Rule::ClusterSet,
            Self::Affinity(Part::Exclude) => Rule::Excluded,
            Self::Affinity(Part::Expression(_)) => Rule::Expression,
            Self::Affinity(_) | Self::NoWeight => Rule::Affinity,
            Self::Limit(..) | Self::LimitJurisdiction(_) => Rule::Limit,
            Self::Residency => Rule::Residency,
            Self::Taint(_) | Self::TaintForNow(_) => Rule::Taint,
            Self::Near(_) => Rule::Near,
            Self::NotAccepted => Rule::NotAccepted,
            Self::NotReady => Rule::NotReady,
        }
    }

    /// Whether a cluster that holds the workload keeps it nevertheless: it only gets nothing new.
    pub(crate) fn keeps(self, cluster: &Cluster) -> bool {
        match self {
            Self::NotAccepted | Self::NotReady | Self::NoWeight | Self::TaintForNow(_) => true,
            Self::Taint(at) => cluster.spec.taints[at].effect != TaintEffect::NoExecute,
            Self::Leaving
            | Self::Namespace
            | Self::Affinity(_)
            | Self::Limit(..)
            | Self::LimitJurisdiction(_)
            | Self::Residency
            | Self::Near(_) => false,
        }
    }
}

/// What one affinity group says.
#[derive(Debug)]
pub(crate) struct GroupMask {
    /// [`Rule::NotNeeded`] where nothing refuses.
    pub(crate) rules: Vec<Rule>,
    /// Clusters that may get something new.
    pub(crate) open: Bits,
    /// Clusters that may keep what they hold.
    pub(crate) keep: Bits,
}

/// What a policy says of the clusters of one fleet.
#[derive(Debug)]
pub(crate) struct Masks {
    pub(crate) groups: Vec<GroupMask>,
    /// The highest matching weight of each cluster; `None` where all count the same.
    pub(crate) weights: Option<Vec<u32>>,
    /// The domains of each rule of the spread.
    pub(crate) domains: Vec<Domains>,
    /// Milliseconds to the wanted services together.
    pub(crate) latency: Option<Vec<u32>>,
    /// Clusters with a PreferNoSchedule taint that is not tolerated.
    pub(crate) soft: Bits,
    /// The domains of each term about other workloads.
    pub(crate) beside: Vec<Domains>,
}

impl Room {
    /// The masks of a policy, worked out at its first decision.
    pub(crate) fn masks(&mut self, fleet: &Fleet, policy: &CompiledPolicy) -> Arc<Masks> {
        if let Some(known) = self.masks.get(&policy.id) {
            return known.clone();
        }
        let masks = Arc::new(build(fleet, policy, &mut self.expressions));
        self.masks.insert(policy.id, masks.clone());
        masks
    }
}

fn build(fleet: &Fleet, policy: &CompiledPolicy, expressions: &mut Expressions) -> Masks {
    let usable = policy.namespace.as_ref().map(|it| fleet.usable_by(it));
    let groups = (0..policy.groups.len())
        .map(|group| {
            let mut mask = GroupMask {
                rules: Vec::with_capacity(fleet.len()),
                open: Bits::none(fleet.len()),
                keep: Bits::none(fleet.len()),
            };
            let check = Check { fleet, policy, group, usable: usable.as_ref() };
            for at in 0..fleet.len() {
                let (mut refusal, mut keeps) = (None, true);
                for it in check.all(at, expressions) {
                    refusal = refusal.or(Some(it));
                    keeps &= it.keeps(&fleet.clusters[at]);
                }
                if refusal.is_none() {
                    mask.open.insert(at);
                }
                if keeps {
                    mask.keep.insert(at);
                }
                mask.rules.push(refusal.map_or(Rule::NotNeeded, Refusal::rule));
            }
            mask
        })
        .collect();
    let weights = (!policy.weights.is_empty())
        .then(|| (0..fleet.len()).map(|at| weight(fleet, policy, at, expressions)).collect());
    let latency = (!policy.spec.near.is_empty())
        .then(|| fleet.clusters.iter().map(|it| latency(it, &policy.spec.near)).collect());
    let mut soft = Bits::none(fleet.len());
    for (at, cluster) in fleet.clusters.iter().enumerate() {
        let prefers = |it: &&Taint| it.effect == TaintEffect::PreferNoSchedule;
        if cluster.spec.taints.iter().filter(prefers).any(|it| !tolerated(it, &policy.tolerations))
        {
            soft.insert(at);
        }
    }
    Masks {
        groups,
        weights,
        domains: policy.spread.iter().map(|it| fleet.domains(&it.key)).collect(),
        latency,
        soft,
        beside: beside::domains(fleet, policy),
    }
}

/// One group of a policy against the clusters of a fleet.
pub(crate) struct Check<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) policy: &'a CompiledPolicy,
    pub(crate) group: usize,
    /// What the policy's namespace may use; `None` for a cluster policy.
    pub(crate) usable: Option<&'a Bits>,
}

impl Check<'_> {
    /// What refuses anything new there.
    pub(crate) fn soft(&self, at: usize, expressions: &mut Expressions) -> Option<Refusal> {
        self.all(at, expressions).next()
    }

    /// Everything that refuses the cluster, in the order in which it is told.
    fn all<'b>(
        &'b self,
        at: usize,
        expressions: &'b mut Expressions,
    ) -> impl Iterator<Item = Refusal> + 'b {
        let (fleet, policy) = (self.fleet, self.policy);
        let cluster = &fleet.clusters[at];
        let flag = move |set: bool, refusal: Refusal| set.then_some(refusal);
        let mut found = [None; 6];
        found[0] = flag(fleet.leaving.contains(at), Refusal::Leaving);
        let usable = self.usable.is_none_or(|it| it.contains(at));
        found[1] = flag(!usable, Refusal::Namespace);
        let group = &policy.groups[self.group].selector;
        found[2] = refuses(fleet, group, at, expressions)
            .or_else(|| (!self.sets_serve(group, at)).then_some(Part::Sets))
            .map(Refusal::Affinity);
        found[3] = policy.limits.iter().enumerate().find_map(|(n, limit)| {
            let clusters = limit.clusters.as_ref();
            let part = clusters.and_then(|it| refuses(fleet, it, at, expressions));
            let lies = within(&limit.jurisdictions, &cluster.spec.jurisdiction);
            part.map(|it| Refusal::Limit(n, it))
                .or_else(|| (!lies).then_some(Refusal::LimitJurisdiction(n)))
        });
        let jurisdictions = policy.spec.residency.as_ref().map(|it| it.jurisdictions.as_slice());
        let resident = within(jurisdictions.unwrap_or_default(), &cluster.spec.jurisdiction);
        found[4] = flag(!resident, Refusal::Residency);
        found[5] = policy
            .spec
            .near
            .iter()
            .position(|it| {
                let required = it.required.unwrap_or_else(|| it.max_latency_ms.is_some());
                let max = it.max_latency_ms.unwrap_or(u32::MAX);
                let found = cluster.spec.services.iter().filter(|near| near.name == it.service);
                required && found.map(|near| near.latency_ms).min().is_none_or(|ms| ms > max)
            })
            .map(Refusal::Near);
        // A taint that evicts comes before one that only keeps new copies away.
        let hard_taint = |effect: TaintEffect| {
            cluster
                .spec
                .taints
                .iter()
                .position(|it| it.effect == effect && !tolerated(it, &policy.tolerations))
                .map(Refusal::Taint)
        };
        // One that is tolerated for a while says less than one that is not tolerated at all.
        let now = fleet.now;
        let evicts =
            |it: &Taint| it.effect == TaintEffect::NoExecute && !tolerated(it, &policy.tolerations);
        let taints = &cluster.spec.taints;
        let lasting = taints
            .iter()
            .position(|it| evicts(it) && !tolerated_for_now(it, &policy.tolerations, now))
            .map(Refusal::Taint);
        let evicting = lasting.or_else(|| taints.iter().position(evicts).map(Refusal::TaintForNow));
        let late = [
            evicting,
            hard_taint(TaintEffect::NoSchedule),
            flag(!fleet.accepted.contains(at), Refusal::NotAccepted),
            flag(!fleet.ready.contains(at) || fleet.lost.contains(at), Refusal::NotReady),
            flag(
                !policy.weights.is_empty() && weight(fleet, policy, at, expressions) == 0,
                Refusal::NoWeight,
            ),
        ];
        found.into_iter().chain(late).flatten()
    }

    /// A set that a namespaced policy names counts only if it serves that namespace (RULES 2.3).
    fn sets_serve(&self, group: &Selector, at: usize) -> bool {
        let names = &group.spec.sets;
        self.policy.namespace.as_ref().filter(|_| !names.is_empty()).is_none_or(|namespace| {
            let mut sets = names.iter().filter_map(|it| self.fleet.sets.get(it));
            sets.any(|it| it.serves(namespace) && it.members.contains(at))
        })
    }
}

/// An empty list restricts nothing; a cluster without a jurisdiction lies in none (RULES 2.2, 3.1).
fn within(jurisdictions: &[String], own: &str) -> bool {
    jurisdictions.is_empty() || jurisdictions.iter().any(|it| it == own && !own.is_empty())
}

fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|it| it.toleration_seconds.is_none() && it.tolerates(taint))
}

/// Whether the time has not come yet until which a NoExecute taint is tolerated. One whose beginning is not known has
/// only just begun.
fn tolerated_for_now(taint: &Taint, tolerations: &[Toleration], now: Option<i64>) -> bool {
    let times = tolerations.iter().filter(|it| it.tolerates(taint));
    let Some(longest) = times.filter_map(|it| it.toleration_seconds).max() else { return false };
    match (time::seconds(&taint.time_added), now) {
        (Some(since), Some(now)) => now < since.saturating_add(longest),
        _ => true,
    }
}

/// Which part of a selector refuses the cluster.
pub(crate) fn refuses(
    fleet: &Fleet,
    selector: &Selector,
    at: usize,
    expressions: &mut Expressions,
) -> Option<Part> {
    let cluster = &fleet.clusters[at];
    let spec = &selector.spec;
    let any = |patterns: &[String], text: &str| patterns.iter().any(|it| glob(it, text));
    if !spec.names.is_empty() && !any(&spec.names, &cluster.name) {
        return Some(Part::Names);
    }
    if any(&spec.exclude, &cluster.name) {
        return Some(Part::Exclude);
    }
    if !spec.providers.is_empty() && !spec.providers.contains(&cluster.spec.provider) {
        return Some(Part::Providers);
    }
    if !spec.regions.is_empty() && !any(&spec.regions, &cluster.spec.region) {
        return Some(Part::Regions);
    }
    if !spec.zones.is_empty() && !cluster.spec.zones.iter().any(|it| any(&spec.zones, it)) {
        return Some(Part::Zones);
    }
    if !spec.label_selector.matches(&cluster.labels) {
        return Some(Part::Labels);
    }
    let in_set = |name: &String| fleet.sets.get(name).is_some_and(|it| it.members.contains(at));
    if !spec.sets.is_empty() && !spec.sets.iter().any(in_set) {
        return Some(Part::Sets);
    }
    selector
        .expressions
        .iter()
        .position(|it| !expressions.holds(fleet, it).contains(at))
        .map(Part::Expression)
}

pub(crate) fn weight(
    fleet: &Fleet,
    policy: &CompiledPolicy,
    at: usize,
    expressions: &mut Expressions,
) -> u32 {
    policy
        .weights
        .iter()
        .filter(|(selector, _)| refuses(fleet, selector, at, expressions).is_none())
        .map(|(_, weight)| *weight)
        .max()
        .unwrap_or(0)
}

/// Milliseconds to the wanted services together; one that is not near counts as the furthest.
const FAR: u32 = 1_000;

pub(crate) fn latency(cluster: &Cluster, near: &[Near]) -> u32 {
    let to = |it: &Near| {
        let found = cluster.spec.services.iter().filter(|near| near.name == it.service);
        let ms = found.map(|near| near.latency_ms).min().unwrap_or(FAR);
        // A wish is granted within its maximum, and costs beyond it.
        let granted = if it.required == Some(false) { it.max_latency_ms.unwrap_or(0) } else { 0 };
        ms.saturating_sub(granted)
    };
    near.iter().fold(0, |sum, it| sum.saturating_add(to(it)))
}
