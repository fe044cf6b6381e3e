//! Copies that grew, and that the room of their member does not count yet (RULES 3.2).
//!
//! What runs is told by a Placement's status, what is free by the MemberCluster's, up to ten seconds later. In between a
//! copy that is seen would seem to run on what is still called free, so what it grew by stays reserved until the member's
//! room is known to count it, by the first of:
//!
//! - a report of room was made after the copy was seen in full;
//! - a report that came after the decision shows so much more in use than the one before it;
//! - no report came for so long that there is nothing to report: it moves by too little to be written.
//!
//! What goes is free once the member says so, and no sooner: nothing is kept of it, but that a copy which grows again is
//! counted as small as it was meant to be in between. Kept in memory: after a restart, what is seen counts.

use std::{collections::BTreeMap, sync::Arc};

use federation_types::{
    cluster::{MemberCluster, NodeShape},
    names::ObjectKey,
    placement::{CopyState, CopyStatus, PlacedCluster},
    quantity,
};
use placement_engine::workload::Workload;

use crate::{
    clock,
    index::{Index, Placed},
};

/// Longest time between what a member has and its report, where it has news: its pace, with a little for the way.
const LAG: i64 = 13;
/// A look at a member that has not reported for longer than its pace is written within so many seconds.
const LOOK: i64 = 5;
/// What a report is compared by.
const RESOURCES: [&str; 3] = ["cpu", "memory", "pods"];

/// Replicas by member that its room is not known to count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settling {
    /// When passes and ticks last looked at the time, in seconds since the epoch.
    clock: i64,
    copies: BTreeMap<String, BTreeMap<Arc<ObjectKey>, Growth>>,
    /// In how many members something of a template settles.
    open: BTreeMap<Arc<ObjectKey>, usize>,
    reports: BTreeMap<String, Report>,
    /// Something was counted since the last tick without a report that would say so.
    counted: bool,
}

/// A copy that grew.
#[derive(Clone, Copy, Debug)]
struct Growth {
    /// So many replicas the member's room counts for certain.
    counted: i64,
    /// When it was seen in full.
    seen: Option<i64>,
    /// Reports before this one are of a time before the decision.
    since: u64,
}

/// What a member last said of its room.
#[derive(Clone, Copy, Debug, Default)]
struct Report {
    /// How many there were.
    number: u64,
    /// Of which time it is, in seconds since the epoch.
    time: i64,
    used: [i64; 3],
    /// What it shows more in use than the one before, and what no growth was put down to yet.
    shown: [i64; 3],
}

/// What a copy should have and has.
#[derive(Clone, Copy, Debug)]
struct Copy {
    wanted: i64,
    seen: i64,
}

impl Copy {
    /// What has no replicas is one that takes its room once it runs.
    fn of(wanted: Option<i64>, status: Option<&CopyStatus>, workload: &Workload) -> Self {
        let runs = |it: &CopyStatus| matches!(it.state, CopyState::Ready | CopyState::Degraded);
        match wanted {
            Some(wanted) => Self { wanted, seen: status.and_then(|it| it.replicas).unwrap_or(0) },
            None => Self {
                wanted: i64::from(workload.has_pods()),
                seen: i64::from(status.is_some_and(runs)),
            },
        }
    }
}

impl Copy {
    /// What may run: what is to go is there as long as it is seen.
    fn most(self) -> i64 {
        self.wanted.max(self.seen)
    }
}

impl Settling {
    /// Whether members count all that was decided, as far as anyone knows.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.copies.is_empty() && self.open.is_empty()
    }

    /// Keeps the time, as far as passes know it.
    pub(crate) fn at(&mut self, now: i64) {
        self.clock = now;
    }

    fn forget(&mut self, cluster: &str, key: &ObjectKey) {
        let Some(there) = self.copies.get_mut(cluster) else { return };
        if there.remove(key).is_none() {
            return;
        }
        if there.is_empty() {
            self.copies.remove(cluster);
        }
        if let Some(n) = self.open.get_mut(key) {
            *n -= 1;
            if *n == 0 {
                self.open.remove(key);
            }
        }
    }

    fn find(&mut self, cluster: &str, key: &ObjectKey) -> Option<&mut Growth> {
        self.copies.get_mut(cluster)?.get_mut(key)
    }

    /// A copy is to have more than before, of which the room counts `counted` for certain.
    fn grow(&mut self, cluster: &str, key: &ObjectKey, counted: i64) {
        let since = self.reports.get(cluster).map_or(0, |it| it.number) + 1;
        if let Some(growth) = self.find(cluster, key) {
            *growth = Growth { counted: growth.counted.min(counted), seen: None, since };
            return;
        }
        let known = self.open.get_key_value(key).map(|(key, _)| Arc::clone(key));
        let key = known.unwrap_or_else(|| Arc::new(key.clone()));
        *self.open.entry(Arc::clone(&key)).or_default() += 1;
        let growth = Growth { counted, seen: None, since };
        self.copies.entry(cluster.to_owned()).or_default().insert(key, growth);
    }

    /// Puts growth that was seen, to `most` replicas, down to what the last report shows; it is forgotten once all of it
    /// is.
    fn put_down(&mut self, cluster: &str, key: &ObjectKey, most: i64, each: Option<[i64; 3]>) {
        let Some(report) = self.reports.get_mut(cluster) else { return };
        let growth = self.copies.get_mut(cluster).and_then(|it| it.get_mut(key));
        let Some(growth) = growth.filter(|it| it.seen.is_some()) else { return };
        if let Some(each) = each.filter(|_| report.number >= growth.since) {
            let needed = || report.shown.iter().zip(each).filter(|(_, each)| *each > 0);
            let shown = needed().map(|(shown, each)| shown / each).min().unwrap_or(0);
            let n = shown.clamp(0, (most - growth.counted).max(0));
            growth.counted += n;
            for (shown, each) in report.shown.iter_mut().zip(each) {
                *shown -= each.saturating_mul(n);
            }
        }
        if growth.counted >= most {
            self.counted = true;
            self.forget(cluster, key);
        }
    }
}

impl Index {
    /// How many replicas of a copy the room of its member is to be short of, so that it has what was decided.
    pub(crate) fn unsettled(
        &self,
        key: &ObjectKey,
        cluster: &str,
        wanted: Option<i64>,
        status: Option<&CopyStatus>,
        workload: &Workload,
    ) -> i64 {
        let copy = Copy::of(wanted, status, workload);
        let growth = self.settling.copies.get(cluster).and_then(|it| it.get(key));
        growth.map_or(copy.wanted - copy.seen, |it| copy.most() - it.counted)
    }

    /// A Placement, or what is seen of it, has changed.
    pub(crate) fn follow_growth(
        &mut self,
        key: &ObjectKey,
        old: Option<&Placed>,
        new: Option<&Placed>,
    ) {
        let specs = [old, new].map(|it| it.map_or(&[][..], |it| &it.spec.clusters));
        let moves = specs[0] != specs[1];
        if !moves && !self.settling.open.contains_key(key) {
            return;
        }
        let template = self.templates.get(key).cloned();
        let (Some(new), Some(template)) = (new, template) else {
            for cluster in specs.into_iter().flatten() {
                self.settling.forget(&cluster.name, key);
            }
            return;
        };
        let workload = &template.workload;
        if moves {
            for gone in specs[0].iter().filter(|it| find(specs[1], &it.name).is_none()) {
                self.settling.forget(&gone.name, key);
            }
            for cluster in specs[1] {
                let before = find(specs[0], &cluster.name);
                let had = match (before, old) {
                    (Some(it), Some(old)) => {
                        Copy::of(it.replicas, copy(old, &cluster.name), workload)
                    }
                    // A copy that went from here may be seen still: a new one counts for nothing.
                    (None, Some(_)) => Copy { wanted: 0, seen: 0 },
                    // After a restart: what is seen was counted, as far as anyone knows.
                    (_, None) => Copy::of(cluster.replicas, copy(new, &cluster.name), workload),
                };
                let wanted = Copy::of(cluster.replicas, None, workload).wanted;
                let counted = had.wanted.min(had.seen);
                if wanted > counted && (before.is_none() || wanted > had.wanted) {
                    self.settling.grow(&cluster.name, key, counted);
                } else if wanted < had.wanted
                    && let Some(growth) = self.settling.find(&cluster.name, key)
                {
                    growth.counted = growth.counted.min(wanted);
                }
            }
        }
        let each = needs(workload);
        let observed = new.status.observed_generation.is_some_and(|it| it >= new.generation);
        for cluster in specs[1] {
            let now = self.settling.clock;
            let Some(growth) = self.settling.find(&cluster.name, key) else { continue };
            let it = Copy::of(cluster.replicas, copy(new, &cluster.name), workload);
            growth.counted = growth.counted.min(it.seen);
            if observed && growth.seen.is_none() && it.seen >= it.wanted {
                // The second that the clock has begun is not over.
                growth.seen = Some(now + 1);
            }
            self.settling.put_down(&cluster.name, key, it.most(), each);
        }
    }

    /// A member has told of its room.
    pub(crate) fn follow_room(&mut self, name: &str, member: Option<&MemberCluster>) {
        let Some(status) = member.and_then(|it| it.status.as_ref()) else {
            self.settling.reports.remove(name);
            return;
        };
        // What bears no time is as new as it can be.
        let time = match clock::seconds(&status.room_time) {
            0 => self.settling.clock,
            time => time,
        };
        let used = used(&status.shapes);
        let before = self.settling.reports.get(name).copied();
        let shown = before.map_or([0; 3], |it| [0, 1, 2].map(|at| used[at] - it.used[at]));
        let number = before.map_or(0, |it| it.number) + 1;
        self.settling.reports.insert(name.to_owned(), Report { number, time, used, shown });
        let Some(there) = self.settling.copies.get(name) else { return };
        let counted = |it: &Growth| it.seen.is_some_and(|it| time >= it);
        let mut keys: Vec<(bool, Arc<ObjectKey>)> =
            there.iter().map(|(key, it)| (!counted(it), Arc::clone(key))).collect();
        // What is counted for certain has its part in what the report shows, before others have.
        keys.sort();
        for (open, key) in keys {
            let Some((placed, template)) =
                self.placements.get(&*key).zip(self.templates.get(&*key))
            else {
                continue;
            };
            if let Some(cluster) = find(&placed.spec.clusters, name) {
                let workload = &template.workload;
                let it = Copy::of(cluster.replicas, copy(placed, name), workload);
                self.settling.put_down(name, &key, it.most(), needs(workload));
            }
            if !open {
                self.settling.forget(name, &key);
            }
        }
    }

    /// Forgets growth that nothing more will be reported of, and has what waits looked at once more.
    pub(crate) fn touch_settling(&mut self, now: i64) {
        self.settling.at(now);
        let ends = |name: &str, seen: i64| {
            let reported = self.settling.reports.get(name).map_or(0, |it| it.time);
            (seen + LOOK).max(reported.saturating_add(LAG)) <= now
        };
        let ended: Vec<(String, Arc<ObjectKey>)> = self
            .settling
            .copies
            .iter()
            .flat_map(|(name, there)| there.iter().map(move |(key, it)| (name, key, it.seen)))
            .filter(|(name, _, seen)| seen.is_some_and(|it| ends(name, it)))
            .map(|(name, key, _)| (name.clone(), Arc::clone(key)))
            .collect();
        for (name, key) in &ended {
            self.settling.forget(name, key);
        }
        if !ended.is_empty() || std::mem::take(&mut self.settling.counted) {
            self.settling.counted = false;
            self.room_version += 1;
        }
    }
}

fn find<'a>(clusters: &'a [PlacedCluster], name: &str) -> Option<&'a PlacedCluster> {
    let at = clusters.binary_search_by(|it| it.name.as_str().cmp(name)).ok()?;
    Some(&clusters[at])
}

fn copy<'a>(placed: &'a Placed, name: &str) -> Option<&'a CopyStatus> {
    let copies = &placed.status.clusters;
    let at = copies.binary_search_by(|it| it.name.as_str().cmp(name)).ok()?;
    Some(&copies[at])
}

/// What a replica takes; `None` for a unit of several parts, which no report can be compared by.
fn needs(workload: &Workload) -> Option<[i64; 3]> {
    let [cpu, memory, ..] = workload.requests.base;
    workload.components.is_empty().then_some([cpu, memory, 1])
}

/// What is in use on all nodes.
fn used(shapes: &[NodeShape]) -> [i64; 3] {
    RESOURCES.map(|resource| {
        let units =
            |text: Option<&String>| text.and_then(|it| quantity::units(resource, it)).unwrap_or(0);
        shapes.iter().fold(0_i64, |sum, shape| {
            let all = units(shape.allocatable.get(resource)).saturating_mul(shape.count);
            let free = shape.free.iter().fold(0_i64, |sum, it| {
                sum.saturating_add(units(it.resources.get(resource)).saturating_mul(it.nodes))
            });
            sum.saturating_add(all.saturating_sub(free))
        })
    })
}
