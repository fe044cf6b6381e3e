//! What is to be done, each thing once, and again later if it failed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// A queue of keys.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    ready: VecDeque<K>,
    queued: BTreeSet<K>,
    /// Taken and not yet finished.
    working: BTreeSet<K>,
    /// Asked for while it was being worked on.
    again: BTreeSet<K>,
    later: BTreeMap<(Instant, u64), K>,
    sequence: u64,
    failures: HashMap<K, u32>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            queued: BTreeSet::new(),
            working: BTreeSet::new(),
            again: BTreeSet::new(),
            later: BTreeMap::new(),
            sequence: 0,
            failures: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Ord + Hash> Queue<K> {
    /// Asks for a key to be worked on.
    pub(crate) fn add(&mut self, key: K) {
        if self.working.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Asks for a key to be worked on after a while.
    pub(crate) fn add_after(&mut self, key: K, delay: Duration) {
        self.sequence += 1;
        self.later.insert((Instant::now() + delay, self.sequence), key);
    }

    /// The next key, if one is due.
    pub(crate) fn take(&mut self) -> Option<K> {
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= Instant::now()
        {
            let key = entry.remove();
            self.add(key);
        }
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    /// A key was worked on; `retry` brings it back, later with each failure in a row.
    pub(crate) fn finish(&mut self, key: K, retry: bool) {
        self.working.remove(&key);
        if self.again.remove(&key) {
            self.add(key);
        } else if retry {
            let failures = self.failures.entry(key.clone()).or_default();
            let delay = FIRST_DELAY.saturating_mul(1 << (*failures).min(10)).min(LONGEST_DELAY);
            *failures += 1;
            self.add_after(key, delay);
        } else {
            self.failures.remove(&key);
        }
    }

    /// When the next delayed key is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((due, _), _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_once_at_a_time_and_never_lost() {
        let mut queue = Queue::default();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.take(), Some("a"));
        assert_eq!(queue.take(), None);
        queue.add("a");
        assert_eq!(queue.take(), None);
        queue.finish("a", false);
        assert_eq!(queue.take(), Some("a"));
        queue.finish("a", true);
        assert_eq!(queue.take(), None);
        let due = queue.next_due().unwrap();
        tokio::time::advance(due - Instant::now()).await;
        assert_eq!(queue.take(), Some("a"));
        queue.finish("a", true);
        assert!(queue.next_due().unwrap() - Instant::now() > FIRST_DELAY);
    }
}
