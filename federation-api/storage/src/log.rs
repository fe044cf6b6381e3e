//! The shared event log: every change since the compaction floor, addressed by revision.
//!
//! Revisions have no gaps, so the log is an array of segments. An index per topic (the first two segments of the key)
//! lists the revisions of that topic, so that a watch of one topic never looks at the others.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{Change, Entry, Event, Revision};

/// How far back reads and watches reach, whatever is compacted.
const WINDOW: Duration = Duration::from_secs(300);
/// How exactly the age of a revision is known. The window is shorter by that much, so that of two compactions five
/// minutes apart the second always passes the revision that the first one took.
const GRAIN: Duration = Duration::from_secs(1);
/// Superseded values held for watches and old pages. Beyond it the floor rises before its time: a client that is too far
/// behind lists again, and memory stays bounded.
const HELD: usize = 256 << 20;
/// Revisions per segment.
const SEGMENT: usize = 1024;
/// How many revisions a watch without a topic looks at before it lets go of the lock.
const STRIDE: u64 = 4096;

/// What one revision did.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Change(Change),
    /// A revision that a compaction took for itself.
    Compaction,
    /// Below the floor and given up.
    Swept,
}

/// The first `count` segments of a key or prefix, up to and with their closing slash.
pub(crate) fn segments(key: &str, count: usize) -> Option<&str> {
    let slashes = count + usize::from(key.starts_with('/'));
    let (end, _) = key.bytes().enumerate().filter(|(_, byte)| *byte == b'/').nth(slashes - 1)?;
    Some(&key[..=end])
}

/// The segments of a key that name its topic.
pub(crate) const TOPIC: usize = 2;

/// All changes above the floor.
pub(crate) struct Log {
    slots: VecDeque<Vec<Slot>>,
    /// The revision of the very first slot.
    base: u64,
    head: u64,
    /// Reads and watches reach back to this revision.
    floor: u64,
    /// Everything up to here is given up; at most the floor.
    swept: u64,
    topics: HashMap<Box<str>, VecDeque<u64>>,
    /// When the log stood where, oldest first.
    marks: VecDeque<(Instant, u64)>,
    /// Bytes of values that only the log still holds.
    held: usize,
}

/// The value that a change took out of the newest state.
fn superseded(change: &Change) -> Option<&Arc<Entry>> {
    match change {
        Change::Created(_) => None,
        Change::Updated { before, .. } => Some(before),
        Change::Deleted(entry) => Some(entry),
    }
}

impl Log {
    /// An empty log that goes on after `floor`.
    pub(crate) fn new(floor: Revision) -> Self {
        Self {
            slots: VecDeque::new(),
            base: floor.0 + 1,
            head: floor.0,
            floor: floor.0,
            swept: floor.0,
            topics: HashMap::new(),
            marks: VecDeque::new(),
            held: 0,
        }
    }

    pub(crate) fn head(&self) -> Revision {
        Revision(self.head)
    }

    pub(crate) fn floor(&self) -> Revision {
        Revision(self.floor)
    }

    /// Whether nothing below the floor is left to give up.
    pub(crate) fn is_swept(&self) -> bool {
        self.swept == self.floor
    }

    /// Appends the next revision, made at `now`.
    pub(crate) fn push(&mut self, slot: Slot, now: Instant) {
        self.head += 1;
        if let Slot::Change(change) = &slot {
            self.held += superseded(change).map_or(0, |entry| entry.value.len());
            if let Some(topic) = segments(change.key(), TOPIC) {
                match self.topics.get_mut(topic) {
                    Some(index) => index.push_back(self.head),
                    None => drop(self.topics.insert(topic.into(), VecDeque::from([self.head]))),
                }
            }
        }
        match self.slots.back_mut() {
            Some(segment) if segment.len() < SEGMENT => segment.push(slot),
            _ => self.slots.push_back(vec![slot]),
        }
        match self.marks.back_mut() {
            Some((at, revision)) if now < *at + GRAIN => *revision = self.head,
            _ => self.marks.push_back((now, self.head)),
        }
    }

    /// The floor that a compaction at `now` leads to.
    pub(crate) fn due(&self, now: Instant) -> Revision {
        let old = self.marks.iter().take_while(|(at, _)| *at + (WINDOW - GRAIN) <= now);
        Revision(old.last().map_or(self.floor, |(_, revision)| *revision))
    }

    /// Lifts the floor. What lies below is refused from now on and given up by [`Self::sweep`].
    pub(crate) fn raise(&mut self, floor: Revision) {
        self.floor = self.floor.max(floor.0.min(self.head));
        while self.marks.front().is_some_and(|(_, revision)| *revision <= self.floor) {
            self.marks.pop_front();
        }
    }

    /// Lifts the floor when the log holds too much.
    pub(crate) fn press(&mut self) {
        if self.held > HELD && self.swept == self.floor {
            let floor = (self.floor + SEGMENT as u64).min(self.head.saturating_sub(1));
            self.raise(Revision(floor));
        }
    }

    /// Gives up to `most` revisions below the floor up, and returns those whose records no one needs any more: a version
    /// always before the deletion that removed it, so that half of a sweep cannot bring it back.
    pub(crate) fn sweep(&mut self, most: usize) -> Vec<Revision> {
        let mut garbage = Vec::new();
        let end = self.floor.min(self.swept + most as u64);
        while self.swept < end {
            self.swept += 1;
            let offset = (self.swept - self.base) as usize;
            let slot = &mut self.slots[offset / SEGMENT][offset % SEGMENT];
            match std::mem::replace(slot, Slot::Swept) {
                Slot::Change(change) => {
                    if let Some(entry) = superseded(&change) {
                        self.held -= entry.value.len();
                        garbage.push(entry.revision);
                    }
                    if matches!(change, Change::Deleted(_)) {
                        garbage.push(Revision(self.swept));
                    }
                    self.forget(change.key());
                }
                Slot::Compaction => garbage.push(Revision(self.swept)),
                Slot::Swept => {}
            }
            if offset + 1 == SEGMENT {
                self.slots.pop_front();
                self.base += SEGMENT as u64;
            }
        }
        garbage
    }

    fn forget(&mut self, key: &str) {
        let Some(topic) = segments(key, TOPIC) else { return };
        if let Some(index) = self.topics.get_mut(topic) {
            index.pop_front();
            if index.is_empty() {
                self.topics.remove(topic);
            } else if index.capacity() > 64 && index.len() < index.capacity() / 4 {
                index.shrink_to(index.len() * 2);
            }
        }
    }

    fn change(&self, revision: u64) -> Option<&Change> {
        let offset = revision.checked_sub(self.base)? as usize;
        match self.slots.get(offset / SEGMENT)?.get(offset % SEGMENT)? {
            Slot::Change(change) => Some(change),
            Slot::Compaction | Slot::Swept => None,
        }
    }

    /// The revisions after `since` that may concern `prefix`, ascending.
    fn candidates(&self, prefix: &str, since: u64) -> impl Iterator<Item = u64> {
        let indexed = segments(prefix, TOPIC);
        let topic = indexed.and_then(|topic| self.topics.get(topic));
        let listed = topic.map(|index| {
            let from = index.partition_point(|revision| *revision <= since);
            index.range(from..).copied()
        });
        let all = if indexed.is_none() { since + 1..self.head + 1 } else { 0..0 };
        listed.into_iter().flatten().chain(all)
    }

    /// Moves up to `most` changes of `prefix` after `since` to `into`, and returns up to where the log was read.
    /// The caller has made sure that `since` is not below the floor.
    pub(crate) fn read(
        &self,
        prefix: &str,
        since: u64,
        most: usize,
        into: &mut VecDeque<Event>,
    ) -> u64 {
        if since >= self.head {
            return since;
        }
        let whole = segments(prefix, TOPIC).is_none();
        for revision in self.candidates(prefix, since) {
            if let Some(change) = self.change(revision)
                && change.key().starts_with(prefix)
            {
                into.push_back(Event { revision: Revision(revision), change: change.clone() });
            }
            if into.len() >= most || (whole && revision - since >= STRIDE) {
                return revision;
            }
        }
        self.head
    }

    /// For every key with `prefix` that changed after `revision`: what stood there at `revision`.
    pub(crate) fn undo(
        &self,
        prefix: &str,
        revision: Revision,
    ) -> BTreeMap<Arc<str>, Option<Arc<Entry>>> {
        let mut undone = BTreeMap::new();
        for change in self.candidates(prefix, revision.0).filter_map(|at| self.change(at)) {
            let key = change.key();
            if key.starts_with(prefix) && !undone.contains_key(key) {
                undone.insert(key.clone(), superseded(change).cloned());
            }
        }
        undone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::entry;

    #[test]
    fn segments_end_with_their_slash() {
        assert_eq!(segments("/apps/deployments/ns/web", 2), Some("/apps/deployments/"));
        assert_eq!(segments("/apps/deployments/ns/web", 3), Some("/apps/deployments/ns/"));
        assert_eq!(segments("apps/deployments/ns/web", 2), Some("apps/deployments/"));
        assert_eq!(segments("/apps/deployments", 2), None);
        assert_eq!(segments("", 2), None);
    }

    fn created(key: &str, revision: u64) -> Slot {
        Slot::Change(Change::Created(entry(key, b"v", Revision(revision), Revision(revision))))
    }

    #[test]
    fn a_watch_of_everything_reads_in_strides_and_loses_nothing() {
        let (mut log, now) = (Log::new(Revision(1)), Instant::now());
        for revision in 2..=10_001 {
            log.push(created(if revision % 5000 == 0 { "/b" } else { "/a" }, revision), now);
        }
        let (mut at, mut found, mut reads) = (1, VecDeque::new(), 0);
        while at < 10_001 {
            at = log.read("/b", at, 100, &mut found);
            reads += 1;
        }
        assert_eq!(found.iter().map(|e| e.revision.0).collect::<Vec<_>>(), [5000, 10_000]);
        assert!(reads > 1);
    }

    #[test]
    fn a_log_that_holds_too_much_gives_up_its_oldest_changes() {
        let (mut log, now) = (Log::new(Revision(1)), Instant::now());
        let big = entry("/g/r/a", &vec![0; 1 << 20], Revision(1), Revision(1));
        for _ in 0..2000 {
            let change = Change::Updated { before: big.clone(), after: big.clone() };
            log.push(Slot::Change(change), now);
            log.press();
            log.sweep(16);
        }
        assert!(log.floor() > Revision(1000), "floor {}", log.floor());
        assert!(log.floor() < log.head());
        assert!(log.held < HELD + (SEGMENT << 20));
    }

    #[test]
    fn a_sweep_names_a_version_before_the_deletion_that_removed_it() {
        let (mut log, now) = (Log::new(Revision(1)), Instant::now());
        let first = entry("/g/r/a", b"1", Revision(2), Revision(2));
        log.push(Slot::Change(Change::Created(first.clone())), now);
        log.push(Slot::Change(Change::Deleted(first)), now);
        log.push(Slot::Compaction, now);
        log.raise(Revision(4));
        assert_eq!(log.sweep(100), [Revision(2), Revision(3), Revision(4)]);
        assert!(log.topics.is_empty());
        assert_eq!(log.held, 0);
    }
}
