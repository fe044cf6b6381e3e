//! How a copy stands, told to the board.

use syncer_render::CopyReport;

use super::Session;
use crate::{index::PlacementEntry, queue::Key, slot::Outcome};

impl Session {
    /// Tells the board how a copy stands.
    pub(crate) fn report(&self, key: &Key) {
        let Some(entry) = self.shared.index.read().placement(key) else { return };
        let removing = entry.removed(&self.cluster).is_some();
        if !removing && entry.placed(&self.cluster).is_none() {
            return;
        }
        if self.is_dark() {
            return;
        }
        self.tell(key, || self.report_of(key, &entry, removing));
    }

    /// Who tells the board last has looked last: two that report one copy at the same time end with the newer word.
    pub(super) fn tell(&self, key: &Key, mut look: impl FnMut() -> Option<CopyReport>) {
        let mut told = None;
        loop {
            let Some(report) = look() else { return };
            if told.as_ref() == Some(&report) {
                return;
            }
            self.shared.board.report(key, &self.cluster, report.clone());
            told = Some(report);
        }
    }

    fn report_of(&self, key: &Key, entry: &PlacementEntry, removing: bool) -> Option<CopyReport> {
        let slots = self.slots.lock();
        let slot = slots.get(key)?;
        // A Job that is gone after its end keeps its last word.
        if slot.seen.is_none() && slot.outcome == Outcome::Synced(entry.generation) {
            let mut last = self.shared.board.last(key, &self.cluster)?;
            last.current = true;
            last.stale = false;
            return Some(last);
        }
        Some(slot.report(entry.generation, removing))
    }
}
