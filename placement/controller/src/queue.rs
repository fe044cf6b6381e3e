//! The order of passes: the higher priority first, what failed after a rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use federation_types::names::ObjectKey;
use tokio::time::Instant;

/// The first and the longest rest before a failed write is tried again.
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Templates that wait for their pass.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// By rank, the lowest first.
    ready: BTreeSet<(i64, ObjectKey)>,
    rank: BTreeMap<ObjectKey, i64>,
    /// By the end of their rest.
    resting: BTreeSet<(Instant, ObjectKey)>,
    failing: BTreeMap<ObjectKey, Failing>,
}

#[derive(Debug)]
struct Failing {
    until: Instant,
    rested: Duration,
}

impl Queue {
    /// Takes a template in; one that rests waits for the end of its rest.
    pub(crate) fn push(&mut self, key: ObjectKey, rank: i64) {
        if self.failing.get(&key).is_some_and(|it| self.resting.contains(&(it.until, key.clone())))
        {
            return;
        }
        if let Some(old) = self.rank.insert(key.clone(), rank) {
            self.ready.remove(&(old, key.clone()));
        }
        self.ready.insert((rank, key));
    }

    pub(crate) fn pop(&mut self) -> Option<ObjectKey> {
        let (_, key) = self.ready.pop_first()?;
        self.rank.remove(&key);
        Some(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.resting.len()
    }

    /// A write failed; returns for how long the template rests.
    pub(crate) fn failed(&mut self, key: &ObjectKey, now: Instant) -> Duration {
        let last = self.failing.get(key).map_or(Duration::ZERO, |it| it.rested);
        let rested = (last * 2).clamp(REST.0, REST.1);
        let until = now + rested;
        if let Some(old) = self.failing.insert(key.clone(), Failing { until, rested }) {
            self.resting.remove(&(old.until, key.clone()));
        }
        self.resting.insert((until, key.clone()));
        rested
    }

    /// The template is well: a write succeeded, or there is nothing to write any more.
    pub(crate) fn well(&mut self, key: &ObjectKey) {
        if let Some(old) = self.failing.remove(key) {
            self.resting.remove(&(old.until, key.clone()));
        }
    }

    /// When the next rest ends.
    pub(crate) fn next_rested(&self) -> Option<Instant> {
        self.resting.first().map(|it| it.0)
    }

    /// Those whose rest has ended.
    pub(crate) fn rested(&mut self, now: Instant) -> Vec<ObjectKey> {
        let mut rested = Vec::new();
        while self.resting.first().is_some_and(|it| it.0 <= now) {
            rested.extend(self.resting.pop_first().map(|it| it.1));
        }
        rested
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { name: name.into(), ..ObjectKey::default() }
    }

    #[test]
    fn the_lower_rank_goes_first_and_a_new_rank_counts() {
        let mut queue = Queue::default();
        queue.push(key("a"), 0);
        queue.push(key("b"), -5);
        queue.push(key("a"), -9);
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.pop(), Some(key("a")));
        assert_eq!(queue.pop(), Some(key("b")));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn what_failed_rests_longer_each_time_and_is_not_forgotten() {
        let mut queue = Queue::default();
        let start = Instant::now();
        assert_eq!(queue.failed(&key("a"), start), Duration::from_millis(100));
        queue.push(key("a"), 0);
        assert_eq!(queue.pop(), None, "it rests");
        assert_eq!(queue.rested(start), []);
        let later = start + Duration::from_millis(100);
        assert_eq!(queue.next_rested(), Some(later));
        assert_eq!(queue.rested(later), [key("a")]);
        queue.push(key("a"), 0);
        assert_eq!(queue.pop(), Some(key("a")));
        assert_eq!(queue.failed(&key("a"), later), Duration::from_millis(200));
        queue.well(&key("a"));
        assert_eq!(queue.next_rested(), None);
        assert_eq!(queue.failed(&key("a"), later), Duration::from_millis(100));
        for _ in 0..20 {
            queue.failed(&key("a"), later);
        }
        assert_eq!(queue.failed(&key("a"), later), Duration::from_secs(30));
        assert_eq!(queue.len(), 1);
    }
}
