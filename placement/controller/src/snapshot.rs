//! The border between objects and the engine: builds the fleet's snapshot and compiles policies, and keeps both while
//! they are true.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{condition, reason::condition::READY, validate::Problem};
use placement_engine::{ClusterInput, CompiledPolicy, Fleet, PriceIndex, Room, SetInput};

use crate::{
    claim::{Claim, Policy},
    clock,
    gate::{self, Member},
    index::{Index, is_ready},
};

/// How long a cluster is dark before what it holds is replaced, unless a policy says otherwise.
pub(crate) const PATIENCE: i64 = 300;

/// The fleet as decisions see it now, with what is reserved by decisions in flight.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) fleet: Fleet,
    pub(crate) room: Room,
}

/// Compiled policies by the identity of what was compiled.
type Compiled = BTreeMap<(String, String), (Vec<(String, i64)>, Arc<Result<CompiledPolicy, Vec<Problem>>>)>;

/// Snapshots and compiled policies, each kept until what it was made from has changed.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    version: u64,
    /// By the clusters that count as lost: policies differ in their patience, and nearly always agree.
    by_lost: BTreeMap<BTreeSet<String>, Snapshot>,
    compiled: Compiled,
}

impl Snapshots {
    /// The snapshot for a policy with this patience, in seconds.
    pub(crate) fn get(&mut self, index: &Index, patience: i64) -> &mut Snapshot {
        if self.version != index.fleet_version {
            self.by_lost.clear();
            self.version = index.fleet_version;
        }
        let lost = lost(index, patience, clock::now());
        self.by_lost.entry(lost).or_insert_with_key(|lost| build(index, lost))
    }

    /// The claim's policy, ready for deciding.
    pub(crate) fn policy(
        &mut self,
        claim: &Claim,
        winner: &Arc<Policy>,
    ) -> Arc<Result<CompiledPolicy, Vec<Problem>>> {
        let stamp: Vec<(String, i64)> = std::iter::once(winner)
            .chain(&claim.limits)
            .map(|it| (it.uid.clone(), it.generation))
            .collect();
        let id = (winner.namespace.clone(), winner.name.clone());
        if let Some((known, compiled)) = self.compiled.get(&id)
            && *known == stamp
        {
            return Arc::clone(compiled);
        }
        let titles: Vec<String> = claim.limits.iter().map(|it| it.title()).collect();
        let limits: Vec<_> = titles
            .iter()
            .zip(&claim.limits)
            .filter_map(|(title, policy)| Some((title.as_str(), policy.limits.as_ref()?)))
            .collect();
        let namespace = (!winner.namespace.is_empty()).then_some(winner.namespace.as_str());
        let compiled =
            Arc::new(CompiledPolicy::compile(&winner.title(), namespace, &winner.spec, &limits));
        self.compiled.insert(id, (stamp, Arc::clone(&compiled)));
        compiled
    }

    /// Whether the passage of time alone can change a decision: a cluster is dark, or the gate holds something.
    pub(crate) fn time_matters(&self, index: &Index) -> bool {
        index.clusters.values().any(|it| !is_ready(it))
            || index.placements.values().any(|it| {
                it.spec.clusters.iter().any(|it| !it.leaving.is_empty()) || !it.spec.removing.is_empty()
            })
    }
}

/// A snapshot from what is known now.
pub(crate) fn build(index: &Index, lost: &BTreeSet<String>) -> Snapshot {
    let inputs = index
        .clusters
        .values()
        .map(|member| {
            let mut input = ClusterInput::from_member(member);
            input.lost = lost.contains(&input.name);
            input
        })
        .collect();
    let sets: Vec<SetInput> = index
        .sets
        .iter()
        .map(|(name, set)| SetInput { name: name.clone(), spec: set.spec.clone() })
        .collect();
    let now = clock::now_text();
    let books = index.books.iter().map(|(name, book)| (name.as_str(), &book.spec));
    let prices = PriceIndex::build(books, &now);
    let fleet = Fleet::build(inputs, &sets, &prices, &now);
    let mut room = Room::new(&fleet);
    reserve_in_flight(index, &fleet, &mut room);
    Snapshot { fleet, room }
}

/// What was decided and is not seen to run yet takes room that the members do not report.
fn reserve_in_flight(index: &Index, fleet: &Fleet, room: &mut Room) {
    for (key, placed) in &index.placements {
        let Some(template) = index.templates.get(key) else { continue };
        for cluster in &placed.spec.clusters {
            let Some(wanted) = cluster.replicas else { continue };
            let seen = placed
                .status
                .clusters
                .iter()
                .find(|it| it.name == cluster.name)
                .and_then(|it| it.replicas)
                .unwrap_or(0);
            let Some(id) = fleet.id(&cluster.name) else { continue };
            if wanted > seen {
                room.reserve(fleet, id, &template.workload, wanted - seen);
            }
        }
    }
}

/// The clusters that have been dark for longer than `patience` seconds, unless the hub presumes that it is itself cut
/// off (RULES 1.4).
fn lost(index: &Index, patience: i64, now: i64) -> BTreeSet<String> {
    if presume(index) == gate::Fleet::CutOff {
        return BTreeSet::new();
    }
    index
        .clusters
        .iter()
        .filter(|(_, member)| dark_for(member, now).is_some_and(|it| it >= patience))
        .map(|(name, _)| name.clone())
        .collect()
}

/// For how many seconds a cluster has not answered; `None` while it does, and before it has ever done so.
pub(crate) fn dark_for(member: &federation_types::cluster::MemberCluster, now: i64) -> Option<i64> {
    let status = member.status.as_ref()?;
    let ready = condition::find(&status.conditions, READY)?;
    // A cluster that never answered holds nothing that could be lost.
    if ready.status == "True" || status.uid.is_empty() {
        return None;
    }
    Some(now - clock::seconds(&ready.last_transition_time))
}

/// What the hub presumes of the fleet as a whole.
pub(crate) fn presume(index: &Index) -> gate::Fleet {
    let members: Vec<Member<'_>> = index
        .clusters
        .values()
        .filter(|it| it.status.as_ref().is_some_and(|it| !it.uid.is_empty()))
        .map(|it| Member { provider: &it.spec.provider, answers: is_ready(it) })
        .collect();
    gate::presume(&members)
}
