//! The clusters of the index: which of them answer, since when others do not, and what is looked at again when that
//! changes (RULES 1.4, 3.5).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    cluster::{MemberCluster, Taint, TaintEffect},
    condition,
    names::{LEAVE_ANNOTATION, LEAVE_ORPHAN},
    policy::PlacementPolicySpec,
    reason::condition::READY,
    validate::seconds,
};

use crate::{
    clock,
    gate::{self, Member},
    index::Index,
};

/// How long a cluster is dark before what it holds is replaced, unless a policy says otherwise.
const PATIENCE: i64 = 300;

/// What is known of the fleet's health.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// Clusters that answered once and do not now: since when, in seconds since the epoch.
    dark: BTreeMap<String, i64>,
    presumed: gate::Fleet,
    /// NoExecute taints by cluster, key and value: since when they stand, in seconds since the epoch.
    tainted: BTreeMap<(String, String, String), i64>,
    /// When `tolerationSeconds` were last counted.
    counted: i64,
    /// By patience: the clusters that counted as lost when that was last looked at.
    lost: BTreeMap<i64, BTreeSet<String>>,
}

impl Index {
    /// A change of what the owner says of a cluster re-decides everything, and so does its return: what is to run on
    /// every cluster passed it by. A cluster that goes dark re-decides what waits and what is there; room, only what
    /// waits (RULES 3.2).
    pub fn set_cluster(&mut self, name: &str, cluster: Option<MemberCluster>) {
        let new = cluster.map(Arc::new);
        let old = match &new {
            Some(new) => self.clusters.insert(name.to_owned(), Arc::clone(new)),
            None => self.clusters.remove(name),
        };
        let health = |it: &Option<Arc<MemberCluster>>| {
            it.as_ref().map(|it| (it.spec.provider.clone(), answered_once(it), dark_since(it)))
        };
        if health(&old) != health(&new) {
            self.look_at_health(name, new.as_deref());
        }
        let room = |it: &Option<Arc<MemberCluster>>| {
            let status = it.as_ref().and_then(|it| it.status.as_ref());
            status.map(|it| (it.room_time.clone(), it.shapes.clone()))
        };
        if room(&old) != room(&new) {
            self.follow_room(name, new.as_deref());
        }
        let Some((old, new)) = old.as_ref().zip(new.as_ref()) else {
            self.fleet_version += 1;
            self.touch_everything();
            return;
        };
        let told = |it: &MemberCluster| {
            (
                it.metadata.labels.clone(),
                it.metadata.deletion_timestamp.is_some(),
                it.metadata.annotations.clone(),
                it.status.as_ref().map(|it| it.apis.clone()),
            )
        };
        let shapes = |it: &MemberCluster| it.status.as_ref().map(|it| it.shapes.clone());
        let returns = !is_ready(old) && is_ready(new);
        if old.spec != new.spec || told(old) != told(new) || returns {
            self.fleet_version += 1;
            self.touch_everything();
        } else if is_ready(old) != is_ready(new) {
            self.fleet_version += 1;
            self.touch_waiting();
            self.touch_placed_on(name);
        } else if shapes(old) != shapes(new) {
            self.room_version += 1;
            self.touch_waiting();
        }
    }

    fn look_at_health(&mut self, name: &str, member: Option<&MemberCluster>) {
        match member.and_then(dark_since) {
            Some(since) => drop(self.fleet.dark.insert(name.to_owned(), since)),
            None => drop(self.fleet.dark.remove(name)),
        }
        let presumed = presume(self.clusters.values().map(|it| &**it));
        let before = std::mem::replace(&mut self.fleet.presumed, presumed);
        if before == gate::Fleet::CutOff && self.fleet.presumed != gate::Fleet::CutOff {
            let held = std::mem::take(&mut self.held_back);
            self.dirty.extend(held);
            self.touch_waiting();
        }
    }

    /// What the hub presumes of the fleet as a whole.
    pub(crate) fn presumed(&self) -> gate::Fleet {
        self.fleet.presumed
    }

    /// The clusters that have been dark for `patience` seconds, unless the hub presumes that it is itself cut off
    /// (RULES 1.4).
    pub(crate) fn lost(&self, patience: i64, now: i64) -> BTreeSet<String> {
        if self.presumed() == gate::Fleet::CutOff {
            return BTreeSet::new();
        }
        let lost = self.fleet.dark.iter().filter(|(_, since)| now - **since >= patience);
        lost.map(|(name, _)| name.clone()).collect()
    }

    /// Marks what a cluster holds that has become lost by some policy's patience, or is so no longer: passes are made
    /// when that happens, and not while it lasts.
    pub(crate) fn touch_lost(&mut self, now: i64) {
        if self.fleet.dark.is_empty() && self.fleet.lost.is_empty() {
            return;
        }
        let stated = self.policies.values().map(|it| patience(&it.spec));
        let patiences: BTreeSet<i64> = stated.chain([PATIENCE]).collect();
        let found: BTreeMap<i64, BTreeSet<String>> = patiences
            .into_iter()
            .map(|it| (it, self.lost(it, now)))
            .filter(|(_, lost)| !lost.is_empty())
            .collect();
        let before = std::mem::replace(&mut self.fleet.lost, found);
        let none = BTreeSet::new();
        let now_lost = &self.fleet.lost;
        let changed: BTreeSet<String> = before
            .keys()
            .chain(now_lost.keys())
            .flat_map(|it| {
                let (old, new) =
                    (before.get(it).unwrap_or(&none), now_lost.get(it).unwrap_or(&none));
                old.symmetric_difference(new).cloned()
            })
            .collect();
        for cluster in &changed {
            self.touch_placed_on(cluster);
        }
        if !changed.is_empty() {
            self.touch_waiting();
        }
    }

    /// Since when a NoExecute taint stands, as RFC 3339: as its owner says, or when it was first seen.
    pub(crate) fn tainted_since(&self, cluster: &str, taint: &Taint) -> String {
        let id = (cluster.to_owned(), taint.key.clone(), taint.value.clone());
        self.fleet.tainted.get(&id).map_or_else(String::new, |it| clock::text(*it))
    }

    /// Follows NoExecute taints, and marks what lies on a cluster where some policy's `tolerationSeconds` have passed:
    /// once, when that happens.
    pub(crate) fn touch_taints(&mut self, now: i64) {
        let mut standing = BTreeMap::new();
        for (name, member) in &self.clusters {
            let evicting = |it: &&Taint| it.effect == TaintEffect::NoExecute;
            for taint in member.spec.taints.iter().filter(evicting) {
                let id = (name.clone(), taint.key.clone(), taint.value.clone());
                let since = match clock::seconds(&taint.time_added) {
                    0 => {
                        let first = || written(member).map_or(now, |it| it.min(now));
                        self.fleet.tainted.get(&id).copied().unwrap_or_else(first)
                    }
                    stated => stated,
                };
                standing.insert(id, since);
            }
        }
        let last = std::mem::replace(&mut self.fleet.counted, now);
        self.fleet.tainted = standing;
        if self.fleet.tainted.is_empty() {
            return;
        }
        let tolerations = self.policies.values().flat_map(|it| &it.spec.tolerations);
        let times: BTreeSet<i64> = tolerations.filter_map(|it| it.toleration_seconds).collect();
        let ended = |since: i64| {
            times.iter().any(|it| (last + 1..=now).contains(&since.saturating_add(*it)))
        };
        let ended: BTreeSet<String> = self
            .fleet
            .tainted
            .iter()
            .filter(|(_, since)| ended(**since))
            .map(|((cluster, ..), _)| cluster.clone())
            .collect();
        if !ended.is_empty() {
            self.fleet_version += 1;
        }
        for cluster in &ended {
            self.touch_placed_on(cluster);
        }
    }

    pub fn touch_placed_on(&mut self, cluster: &str) {
        let there = self.placements.iter().filter(|(_, it)| {
            it.spec.clusters.iter().any(|it| it.name == cluster)
                || it.spec.removing.iter().any(|it| it.name == cluster)
        });
        self.dirty.extend(there.map(|(key, _)| key.clone()));
    }

    /// The MemberCluster is being deleted: what it holds is no longer the hub's (RULES 4.8).
    pub(crate) fn is_forgotten(&self, cluster: &str) -> bool {
        self.clusters.get(cluster).is_some_and(|it| it.metadata.deletion_timestamp.is_some())
    }
}

/// Whether the member answers, by its own condition.
pub fn is_ready(cluster: &MemberCluster) -> bool {
    cluster.status.as_ref().is_some_and(|it| condition::is_true(&it.conditions, READY))
}

/// What a hub presumes of these clusters as a whole (RULES 1.4).
pub fn presume<'a>(clusters: impl Iterator<Item = &'a MemberCluster>) -> gate::Fleet {
    let members: Vec<Member<'_>> = clusters
        .filter(|it| answered_once(it))
        .map(|it| Member { provider: &it.spec.provider, answers: is_ready(it) })
        .collect();
    gate::presume(&members)
}

/// A cluster that never answered holds nothing that could be lost.
fn answered_once(member: &MemberCluster) -> bool {
    member.status.as_ref().is_some_and(|it| !it.uid.is_empty())
}

/// When the taints of a cluster were last written, as the hub's server noted it: a taint that does not say when it was
/// added counts from there, however often the hub is started.
fn written(member: &MemberCluster) -> Option<i64> {
    let managers = member.metadata.managed_fields.iter().flatten();
    let theirs = managers.filter(|it| {
        let fields = it.fields_v1.as_ref().map(|it| &it.0);
        fields.is_some_and(|it| it.pointer("/f:spec/f:taints").is_some())
    });
    theirs.filter_map(|it| it.time.as_ref().map(|it| it.0.as_second())).max()
}

/// Since when a cluster has not answered; `None` while it does, and before it has ever done so.
fn dark_since(member: &MemberCluster) -> Option<i64> {
    let status = member.status.as_ref().filter(|it| !it.uid.is_empty())?;
    let ready = condition::find(&status.conditions, READY)?;
    (ready.status != "True").then(|| clock::seconds(&ready.last_transition_time))
}

/// `cluster leave --orphan`: copies there lose our marks and stay.
pub(crate) fn leaves_as_orphans(member: &MemberCluster) -> bool {
    let annotations = member.metadata.annotations.as_ref();
    annotations.and_then(|it| it.get(LEAVE_ANNOTATION)).is_some_and(|it| it == LEAVE_ORPHAN)
}

/// How long a policy waits for a dark cluster, in seconds.
pub(crate) fn patience(spec: &PlacementPolicySpec) -> i64 {
    let after = spec.failover.as_ref().and_then(|it| it.after.as_deref());
    after.and_then(seconds).and_then(|it| i64::try_from(it).ok()).unwrap_or(PATIENCE)
}
