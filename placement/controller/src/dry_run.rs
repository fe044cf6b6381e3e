//! The passes of the running controller, made on a copy of its index, until nothing moves any more: what is planned is
//! what is then done, because it is the same code.
//!
//! The members are played in the simplest way: a copy that is asked for on a cluster that answers comes up, one that is to
//! go is gone, and where writes are frozen nothing happens. Time stands still, so what waits for a budget's next window waits here too.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    names::{COPIES_FINALIZER, ObjectKey, placement_name},
    placement::{CopyState, CopyStatus, PlacementSpec},
};

use crate::{
    approval::Approvals,
    decide,
    gate::Hold,
    index::{Index, Placed, Template},
    members::is_ready,
    release::Staged,
    relocate::Refusal,
    snapshot::Snapshots,
    write::Write,
};

/// New copies, then the removal of old ones, then their tombstones (RULES 3.2), and once more for what waited for those.
const ROUNDS: usize = 6;

/// Whether a template is looked at because of what is supposed, or for the sake of what others did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Yes,
    No,
}

/// An index with what was done to it.
#[derive(Debug)]
pub(crate) struct DryRun {
    pub(crate) index: Index,
    pub(crate) snapshots: Snapshots,
    now: i64,
    /// The templates that were looked at.
    pub(crate) touched: BTreeSet<ObjectKey>,
    written: BTreeSet<ObjectKey>,
    /// Why a copy went.
    pub(crate) causes: BTreeMap<(ObjectKey, String), String>,
    /// What holds the removals that were left.
    pub(crate) holds: BTreeMap<ObjectKey, Hold>,
    /// The approvals that moves were made by.
    pub(crate) approvals: BTreeMap<ObjectKey, String>,
    /// What is released in waves.
    pub(crate) staged: BTreeMap<ObjectKey, Staged>,
    /// Approved moves that are not made, and why.
    pub(crate) refused: BTreeMap<ObjectKey, Refusal>,
}

impl DryRun {
    /// On what is dirty in the index.
    pub(crate) fn new(mut index: Index, approvals: Approvals, now: i64) -> Self {
        index.approvals = approvals;
        index.rollouts.foreseen = true;
        Self {
            index,
            snapshots: Snapshots::paced(),
            now,
            touched: BTreeSet::new(),
            written: BTreeSet::new(),
            causes: BTreeMap::new(),
            holds: BTreeMap::new(),
            approvals: BTreeMap::new(),
            staged: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Passes, and the members' answers to them, until both have nothing left to do; what waits is looked at once more at
    /// the end, as others may have made way for it or taken its room.
    pub(crate) fn settle(&mut self) {
        self.rounds(Asked::Yes);
        self.index.touch_waiting();
        self.rounds(Asked::No);
    }

    /// Whether a freeze stops the writes of a template's copy in a cluster (RULES 1.3).
    pub(crate) fn is_frozen(&self, key: &ObjectKey, cluster: &str) -> bool {
        self.index.budgets.values().any(|it| it.spec.freeze.holds(cluster, &key.namespace))
    }

    /// Whether a copy that is asked for does not come up since writes are frozen.
    pub(crate) fn is_stopped(&self, key: &ObjectKey) -> bool {
        let placed = self.index.placements.get(key);
        let meant = placed.iter().flat_map(|it| &it.spec.clusters);
        meant.filter(|it| it.leaving.is_empty()).any(|it| self.is_frozen(key, &it.name))
    }

    fn rounds(&mut self, asked: Asked) {
        for _ in 0..ROUNDS {
            let dirty = self.index.take_dirty();
            let mut order: Vec<(i64, ObjectKey)> =
                dirty.into_iter().map(|it| (self.index.rank(&it), it)).collect();
            if order.is_empty() {
                break;
            }
            order.sort();
            // What the round before gave back is free in this one, as once the members have reported it.
            self.snapshots.follow(&self.index);
            for (_, key) in order {
                let wrote = self.pass(&key);
                if wrote || asked == Asked::Yes {
                    self.touched.insert(key);
                }
            }
            self.answer();
        }
    }

    /// Says whether it wrote.
    fn pass(&mut self, key: &ObjectKey) -> bool {
        let pass = decide::pass(&mut self.index, &mut self.snapshots, key, self.now);
        match pass.hold {
            Some(hold) => drop(self.holds.insert(key.clone(), hold)),
            None => drop(self.holds.remove(key)),
        }
        if let Some(approval) = pass.approval {
            self.approvals.insert(key.clone(), approval);
        }
        if let Some(staged) = pass.staged {
            self.staged.entry(key.clone()).or_insert(staged);
        }
        match pass.refused {
            Some(refusal) => drop(self.refused.insert(key.clone(), refusal)),
            None => drop(self.refused.remove(key)),
        }
        let wrote = pass.write.is_some();
        match pass.write {
            None => (),
            Some(Write::Place { spec, revision, finalizer }) => {
                if let Some(revision) = revision {
                    let name = placement_name(&key.gvk, &key.name);
                    let name = format!("{name}-{}", revision.hash);
                    self.index.set_revision(&key.namespace, &name, Some(u64::MAX));
                }
                if finalizer {
                    self.with_template(key, |it| it.finalizers.push(COPIES_FINALIZER.to_owned()));
                }
                self.place(key, *spec);
            }
            Some(Write::Release) => self.release(key),
            Some(Write::Forget { release, .. }) => {
                self.index.set_placement(key.clone(), None);
                if release {
                    self.release(key);
                }
            }
        }
        wrote
    }

    fn place(&mut self, key: &ObjectKey, spec: PlacementSpec) {
        for it in &spec.removing {
            self.causes.insert((key.clone(), it.name.clone()), it.cause.clone());
        }
        let standing = self.index.placements.get(key);
        let placed = Placed {
            name: placement_name(&key.gvk, &key.name),
            uid: standing.map(|it| it.uid.clone()).unwrap_or_default(),
            generation: standing.map_or(1, |it| it.generation + 1),
            resource_version: standing.map(|it| it.resource_version.clone()).unwrap_or_default(),
            spec,
            status: standing.map(|it| it.status.clone()).unwrap_or_default(),
        };
        self.index.wrote_placement(key, placed);
        self.written.insert(key.clone());
    }

    fn release(&mut self, key: &ObjectKey) {
        self.with_template(key, |it| it.finalizers.retain(|it| it != COPIES_FINALIZER));
    }

    fn with_template(&mut self, key: &ObjectKey, change: impl FnOnce(&mut Template)) {
        let Some(old) = self.index.templates.get(key) else { return };
        let mut template = (**old).clone();
        change(&mut template);
        let gone = template.deleting && template.finalizers.is_empty();
        self.index.set_template(key.clone(), (!gone).then(|| template.into()));
        // Its own finalizer is nothing to decide anew about.
        if !gone {
            self.index.dirty.remove(key);
        }
    }

    /// Of every Placement that was written, the members do what it says.
    fn answer(&mut self) {
        for key in std::mem::take(&mut self.written) {
            let Some(placed) = self.index.placements.get(&key) else { continue };
            let answers = |name: &str| {
                let ready = self.index.clusters.get(name).is_some_and(|it| is_ready(it));
                ready && !self.is_frozen(&key, name)
            };
            let old = |name: &str| {
                placed
                    .status
                    .clusters
                    .iter()
                    .find(|it| it.name == name)
                    .cloned()
                    .unwrap_or_default()
            };
            let mut copies: Vec<CopyStatus> = Vec::new();
            for it in &placed.spec.clusters {
                let mut copy = CopyStatus { name: it.name.clone(), ..old(&it.name) };
                let same = copy.revision == it.revision && copy.replicas == it.replicas;
                if !same && self.is_frozen(&key, &it.name) {
                    copy.state = CopyState::Held;
                }
                if answers(&it.name) {
                    copy.state = CopyState::Ready;
                    copy.stale = false;
                    // The replicas that the syncer saw stay as they were: by them the room that is spoken for is known,
                    // which the members do not report here.
                    copy.ready_replicas = it.replicas;
                    copy.revision.clone_from(&it.revision);
                }
                copies.push(copy);
            }
            for it in placed.spec.removing.iter().filter(|it| !answers(&it.name)) {
                let state = CopyState::Removing;
                copies.push(CopyStatus { name: it.name.clone(), state, ..old(&it.name) });
            }
            copies.sort_by(|a, b| a.name.cmp(&b.name));
            let mut next = (**placed).clone();
            next.status.observed_generation = Some(next.generation);
            if next.status.clusters != copies || next.status != placed.status {
                next.status.clusters = copies;
                self.index.set_placement(key, Some(next));
            }
        }
    }
}
