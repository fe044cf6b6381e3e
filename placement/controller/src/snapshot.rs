//! The border between objects and the engine: builds the fleet's snapshot and compiles policies, and keeps both while
//! they are true.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use federation_types::{
    cluster::TaintEffect, names::ObjectKey, placement::CopyStatus, validate::Problem,
};
use placement_engine::{ClusterInput, CompiledPolicy, Fleet, PriceIndex, Room, SetInput};
use tokio::time::Instant;

use crate::{
    claim::{Claim, Policy},
    clock,
    index::{Index, Template},
    members::leaves_as_orphans,
};

/// The fleet as decisions see it now, with what is reserved by decisions in flight.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) fleet: Fleet,
    pub(crate) room: Room,
}

/// Policies that were compiled together, each with its generation: the winner, then those that limit.
type Stamp = Vec<(String, i64)>;

/// Snapshots and compiled policies, each kept until what it was made from has changed.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    version: u64,
    room_version: u64,
    /// By the clusters that count as lost: policies differ in their patience, and nearly always agree.
    by_lost: BTreeMap<BTreeSet<String>, Snapshot>,
    compiled: BTreeMap<Stamp, Arc<Result<CompiledPolicy, Vec<Problem>>>>,
    pace: Pace,
    /// Since room was last followed.
    asked: usize,
    built: Option<(Instant, Duration)>,
}

/// When a snapshot is built anew where only room has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pace {
    #[default]
    AtOnce,
    /// Not for so many times as long as it took to build it.
    Resting(u32),
    /// After so many questions that a round over everything follows it [`LOOKS`] times.
    Paced,
}

/// How often who passes over everything looks at the room that its passes give back.
const LOOKS: usize = 16;

impl Snapshots {
    /// Spends at most one part in `rest` of the time on following what is free in a large fleet.
    pub(crate) fn resting(rest: u32) -> Self {
        Self { pace: Pace::Resting(rest), ..Self::default() }
    }

    /// For thousands of passes at once, over clusters that stay what they are: room that the passes give back is followed
    /// now and then, and by no clock.
    pub(crate) fn paced() -> Self {
        Self { pace: Pace::Paced, ..Self::default() }
    }

    /// What is free has moved, and is to be seen from now on: the clusters are the same.
    pub(crate) fn follow(&mut self, index: &Index) {
        self.asked = 0;
        if self.version != index.fleet_version || !self.is_stale(index) {
            return;
        }
        self.room_version = index.room_version;
        for Snapshot { fleet, room } in self.by_lost.values_mut() {
            room.reset(fleet);
            reserve_in_flight(index, fleet, room);
        }
    }

    /// The snapshot for a policy with this patience, in seconds.
    pub(crate) fn get(&mut self, index: &Index, patience: i64, now: i64) -> &mut Snapshot {
        let rested = match self.pace {
            Pace::AtOnce => true,
            Pace::Resting(rest) => self.built.is_none_or(|(at, took)| at.elapsed() >= took * rest),
            Pace::Paced => {
                self.asked += 1;
                if self.asked > index.placements.len() / LOOKS {
                    self.follow(index);
                }
                false
            }
        };
        if self.version != index.fleet_version || (self.is_stale(index) && rested) {
            self.by_lost.clear();
            self.version = index.fleet_version;
            self.room_version = index.room_version;
        }
        let lost = index.lost(patience, now);
        let built = &mut self.built;
        self.by_lost.entry(lost).or_insert_with_key(|lost| {
            let start = Instant::now();
            let snapshot = build(index, lost, now);
            *built = Some((Instant::now(), start.elapsed()));
            snapshot
        })
    }

    /// Whether room has moved since the snapshot was built: what waits for room is to be looked at once more.
    pub(crate) fn is_stale(&self, index: &Index) -> bool {
        !self.by_lost.is_empty() && self.room_version != index.room_version
    }

    /// The claim's policy, ready for deciding.
    pub(crate) fn policy(
        &mut self,
        claim: &Claim,
        winner: &Arc<Policy>,
    ) -> Arc<Result<CompiledPolicy, Vec<Problem>>> {
        let stamp: Stamp = std::iter::once(winner)
            .chain(&claim.limits)
            .map(|it| (it.uid.clone(), it.generation))
            .collect();
        if let Some(compiled) = self.compiled.get(&stamp) {
            return Arc::clone(compiled);
        }
        // An older generation of any of them is never asked for again.
        self.compiled.retain(|known, _| {
            known.iter().all(|(uid, old)| stamp.iter().all(|(it, new)| it != uid || new == old))
        });
        let compiled = Arc::new(claim.compile().expect("a claim with a winner"));
        self.compiled.insert(stamp, Arc::clone(&compiled));
        compiled
    }
}

/// A snapshot from what is known now.
pub(crate) fn build(index: &Index, lost: &BTreeSet<String>, now: i64) -> Snapshot {
    let fleet = built(index, lost, now);
    let mut room = Room::new(&fleet);
    reserve_in_flight(index, &fleet, &mut room);
    Snapshot { fleet, room }
}

/// The fleet alone, for who asks what things cost there.
pub(crate) fn fleet(index: &Index, now: i64) -> Fleet {
    built(index, &BTreeSet::new(), now)
}

fn built(index: &Index, lost: &BTreeSet<String>, now: i64) -> Fleet {
    let inputs = index
        .clusters
        .values()
        .map(|member| {
            let mut input = ClusterInput::from_member(member);
            input.lost = lost.contains(&input.name);
            for taint in &mut input.spec.taints {
                let since = index.tainted_since(&input.name, taint);
                if !since.is_empty() && taint.effect == TaintEffect::NoExecute {
                    taint.time_added = since;
                }
            }
            input.leaving |= leaves_as_orphans(member);
            index.score(&mut input, now);
            input
        })
        .collect();
    let sets: Vec<SetInput> = index
        .sets
        .iter()
        .map(|(name, set)| SetInput { name: name.clone(), spec: set.spec.clone() })
        .collect();
    let now = clock::text(now);
    let books = index.books.iter().map(|(name, book)| (name.as_str(), &book.spec));
    let prices = PriceIndex::build(books, &now);
    Fleet::build(inputs, &sets, &prices, &now)
}

/// A template with what is known of its copies.
struct Own<'a> {
    template: &'a Template,
    copies: &'a [CopyStatus],
}

/// What was decided, and what is not known to be counted there, takes room that the members do not report.
fn reserve_in_flight(index: &Index, fleet: &Fleet, room: &mut Room) {
    let mut reserve = |key: &ObjectKey, own: &Own<'_>, cluster: &str, wanted: Option<i64>| {
        let Own { template, copies } = own;
        let copy =
            copies.binary_search_by(|it| it.name.as_str().cmp(cluster)).ok().map(|at| &copies[at]);
        let missing = index.unsettled(key, cluster, wanted, copy, &template.workload);
        if missing > 0
            && let Some(id) = fleet.id(cluster)
        {
            room.reserve(fleet, id, &template.workload, missing);
        }
    };
    for (key, placed) in &index.placements {
        if index.in_flight.contains_key(key) {
            continue;
        }
        let Some(template) = index.templates.get(key) else { continue };
        let own = Own { template, copies: &placed.status.clusters };
        for cluster in &placed.spec.clusters {
            reserve(key, &own, &cluster.name, cluster.replicas);
        }
    }
    for (key, clusters) in &index.in_flight {
        let Some(template) = index.templates.get(key) else { continue };
        let copies = index.placements.get(key).map_or(&[][..], |it| &it.status.clusters);
        let own = Own { template, copies };
        for (cluster, wanted) in clusters {
            reserve(key, &own, cluster, *wanted);
        }
    }
}
