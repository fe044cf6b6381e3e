//! What every member last said of every copy, and whose status is to be written.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use federation_types::placement::{CopyState, PlacementStatus};
use parking_lot::Mutex;
use serde_json::Value;
use syncer_render::{CopyReport, Health, roll_up};
use tokio::time::Instant;

use crate::queue::{Key, Queue};

/// Reports of a template's copies and what was last written of them.
#[derive(Debug, Default)]
struct Entry {
    reports: BTreeMap<String, Reported>,
    written: PlacementStatus,
    template: Option<Value>,
    last_write: Option<Instant>,
    /// Since when something waits to be written.
    waiting_since: Option<Instant>,
    /// The hub had a status when this process began: the template's is read before it is written.
    known_before: bool,
}

#[derive(Debug)]
struct Reported {
    report: CopyReport,
    /// Read from the Placement's status at the start and not yet seen by this process.
    seeded: bool,
}

/// What the writer of statuses needs of one template.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) reports: roll_up::Reports,
    pub(crate) written: PlacementStatus,
    pub(crate) template: Option<Value>,
    /// Clusters whose copies were not looked at since the start: with them the template's numbers would be wrong.
    pub(crate) seeded: Vec<String>,
    pub(crate) known_before: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Board {
    entries: Mutex<HashMap<Key, Entry>>,
    /// Templates whose status may be out of date.
    pub(crate) dirty: Queue,
}

/// A status is not written more often than this, and less often while many are waiting.
const INTERVAL: Duration = Duration::from_millis(200);
/// The longest that a status waits for members that are being written to.
const PATIENCE: Duration = Duration::from_secs(2);
/// What changes at once is written at once.
const GATHER: Duration = Duration::from_millis(50);

impl Board {
    /// Takes over what an earlier process wrote.
    pub(crate) fn seed(&self, key: &Key, status: &PlacementStatus) {
        let mut entries = self.entries.lock();
        let entry = entries.entry(Arc::clone(key)).or_default();
        if entry.last_write.is_some() || entry.known_before {
            return;
        }
        entry.known_before = status.observed_generation.is_some();
        entry.written = status.clone();
        for copy in &status.clusters {
            let number = |value: Option<i64>| value.unwrap_or(0);
            let (replicas, ready) = (number(copy.replicas), number(copy.ready_replicas));
            let health = copy.replicas.map(|_| {
                Arc::new(Health {
                    state: copy.state,
                    replicas: copy.replicas,
                    ready: copy.ready_replicas,
                    numbers: vec![
                        ("replicas", replicas),
                        ("updatedReplicas", replicas),
                        ("readyReplicas", ready),
                        ("availableReplicas", ready),
                    ],
                    ..Health::default()
                })
            });
            let report = CopyReport {
                state: copy.state,
                reason: copy.reason.clone(),
                message: copy.message.clone(),
                revision: copy.revision.clone(),
                current: copy.state == CopyState::Ready,
                health,
                scaled_by: Some(copy.scaled_by.clone()).filter(|it| !it.is_empty()),
                stale: copy.stale,
                gone: false,
            };
            entry.reports.entry(copy.name.clone()).or_insert(Reported { report, seeded: true });
        }
    }

    /// A member's word on a copy.
    pub(crate) fn report(&self, key: &Key, cluster: &str, report: CopyReport) {
        let mut entries = self.entries.lock();
        let entry = entries.entry(Arc::clone(key)).or_default();
        match entry.reports.get_mut(cluster) {
            Some(known) if known.report == report && !known.seeded => return,
            Some(known) => *known = Reported { report, seeded: false },
            None => {
                entry.reports.insert(cluster.to_owned(), Reported { report, seeded: false });
            }
        }
        entry.waiting_since.get_or_insert_with(Instant::now);
        let delay = self.delay(entry.last_write);
        drop(entries);
        self.dirty.push_after(Arc::clone(key), delay);
    }

    /// While members are being written to, statuses wait: copies come first, and what is said of a template at its end
    /// is written once. Says whether this one is put off.
    pub(crate) fn put_off(&self, key: &Key) -> bool {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(key) else { return false };
        let since = *entry.waiting_since.get_or_insert_with(Instant::now);
        drop(entries);
        let waits = since.elapsed() < PATIENCE;
        if waits {
            self.dirty.push_after(Arc::clone(key), INTERVAL);
        }
        waits
    }

    /// The last word on a copy.
    pub(crate) fn last(&self, key: &Key, cluster: &str) -> Option<CopyReport> {
        Some(self.entries.lock().get(key)?.reports.get(cluster)?.report.clone())
    }

    /// A copy that is neither placed nor being removed is no part of any status.
    pub(crate) fn forget(&self, key: &Key, cluster: &str) {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(key) else { return };
        if entry.reports.remove(cluster).is_some() {
            let delay = self.delay(entry.last_write);
            drop(entries);
            self.dirty.push_after(Arc::clone(key), delay);
        }
    }

    /// The Placement is gone.
    pub(crate) fn drop_template(&self, key: &Key) {
        self.entries.lock().remove(key);
    }

    /// The Placement changed: its status is looked at even if no copy says anything new.
    pub(crate) fn touch(&self, key: &Key) {
        let last = self.entries.lock().get(key).and_then(|it| it.last_write);
        self.dirty.push_after(Arc::clone(key), self.delay(last));
    }

    /// A status could not be written.
    pub(crate) fn retry(&self, key: &Key) {
        self.dirty.push_after(Arc::clone(key), Duration::from_secs(2));
    }

    fn delay(&self, last: Option<Instant>) -> Duration {
        let Some(last) = last else { return GATHER };
        let waiting = u32::try_from(self.dirty.len() / 50).unwrap_or(u32::MAX).min(9);
        let next = last + INTERVAL * (1 + waiting);
        next.saturating_duration_since(Instant::now()).max(GATHER)
    }

    pub(crate) fn snapshot(&self, key: &Key) -> Snapshot {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get_mut(key) {
            entry.waiting_since = None;
        }
        match entries.get(key) {
            None => Snapshot {
                reports: BTreeMap::new(),
                written: PlacementStatus::default(),
                template: None,
                seeded: Vec::new(),
                known_before: false,
            },
            Some(entry) => Snapshot {
                reports: entry
                    .reports
                    .iter()
                    .map(|(name, it)| (name.clone(), it.report.clone()))
                    .collect(),
                written: entry.written.clone(),
                template: entry.template.clone(),
                seeded: entry
                    .reports
                    .iter()
                    .filter(|(_, it)| it.seeded)
                    .map(|(name, _)| name.clone())
                    .collect(),
                known_before: entry.known_before,
            },
        }
    }

    pub(crate) fn wrote(&self, key: &Key, status: PlacementStatus) {
        let mut entries = self.entries.lock();
        let entry = entries.entry(Arc::clone(key)).or_default();
        entry.written = status;
        entry.last_write = Some(Instant::now());
    }

    pub(crate) fn wrote_template(&self, key: &Key, status: Value) {
        if let Some(entry) = self.entries.lock().get_mut(key) {
            entry.template = Some(status);
            entry.last_write = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use federation_types::names::{Gvk, ObjectKey};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_status_waits_for_a_wave_of_copies_but_not_for_ever() {
        let board = Board::default();
        let key = Arc::new(ObjectKey {
            gvk: Gvk::new("apps/v1", "Deployment"),
            namespace: "shop".into(),
            name: "web".into(),
        });
        let report = CopyReport { state: CopyState::Progressing, ..CopyReport::default() };
        board.report(&key, "a", report);
        assert!(board.put_off(&key));
        tokio::time::advance(PATIENCE).await;
        assert!(!board.put_off(&key));
        // What comes after it was looked at waits anew.
        board.snapshot(&key);
        assert!(board.put_off(&key));
    }
}
