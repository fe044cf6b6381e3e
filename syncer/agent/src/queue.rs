//! A queue of keys: each is worked on by one at a time, however often it is asked for.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use federation_types::names::ObjectKey;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

pub(crate) type Key = Arc<ObjectKey>;

/// What others need comes first: 0 before 1 before 2.
fn rank(key: &ObjectKey) -> usize {
    match key.gvk.kind.as_str() {
        "Namespace" | "CustomResourceDefinition" => 0,
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "CronJob" | "Pod" => 2,
        _ => 1,
    }
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: [VecDeque<Key>; 3],
    queued: HashSet<Key>,
    running: HashSet<Key>,
    /// Asked for while running.
    again: HashSet<Key>,
    later: BTreeMap<(Instant, u64), Key>,
    due: HashMap<Key, (Instant, u64)>,
    count: u64,
    paused: bool,
}

impl Queue {
    /// Asks for a key now.
    pub(crate) fn push(&self, key: Key) {
        let mut state = self.state.lock();
        if let Some(slot) = state.due.remove(&key) {
            state.later.remove(&slot);
        }
        state.enqueue(key);
        drop(state);
        self.changed.notify_one();
    }

    /// Asks for a key after a while, unless it comes sooner anyway.
    pub(crate) fn push_after(&self, key: Key, delay: Duration) {
        let at = Instant::now() + delay;
        let mut state = self.state.lock();
        if state.queued.contains(&key) {
            return;
        }
        if let Some(slot) = state.due.get(&key).copied() {
            if slot.0 <= at {
                return;
            }
            state.later.remove(&slot);
        }
        state.count += 1;
        let slot = (at, state.count);
        state.due.insert(Arc::clone(&key), slot);
        state.later.insert(slot, key);
        drop(state);
        self.changed.notify_one();
    }

    /// While paused nothing is handed out; it is kept.
    pub(crate) fn pause(&self, paused: bool) {
        self.state.lock().paused = paused;
        self.changed.notify_one();
    }

    /// The next key; [`Self::done`] must follow.
    pub(crate) async fn next(&self) -> Key {
        loop {
            let wake = {
                let mut state = self.state.lock();
                if let Some(key) = state.take() {
                    return key;
                }
                state.later.first_key_value().map(|((at, _), _)| *at).filter(|_| !state.paused)
            };
            match wake {
                Some(at) => {
                    tokio::select! {
                        () = sleep_until(at) => (),
                        () = self.changed.notified() => (),
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    pub(crate) fn done(&self, key: &Key) {
        let mut state = self.state.lock();
        state.running.remove(key);
        if state.again.remove(key) {
            state.enqueue(Arc::clone(key));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// How many keys are being worked on.
    pub(crate) fn running(&self) -> usize {
        self.state.lock().running.len()
    }

    pub(crate) fn len(&self) -> usize {
        let state = self.state.lock();
        state.queued.len() + state.running.len()
    }
}

impl State {
    fn enqueue(&mut self, key: Key) {
        if self.running.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(Arc::clone(&key)) {
            self.ready[rank(&key)].push_back(key);
        }
    }

    fn take(&mut self) -> Option<Key> {
        if self.paused {
            return None;
        }
        let now = Instant::now();
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.enqueue(key);
        }
        let key = self.ready.iter_mut().find_map(VecDeque::pop_front)?;
        self.queued.remove(&key);
        self.running.insert(Arc::clone(&key));
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use federation_types::names::Gvk;
    use futures::FutureExt as _;

    use super::*;

    fn key(kind: &str, name: &str) -> Key {
        Arc::new(ObjectKey { gvk: Gvk::new("v1", kind), namespace: "".into(), name: name.into() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_once_at_a_time_and_again_if_it_was_asked_for_meanwhile() {
        let queue = Queue::default();
        let web = key("Deployment", "web");
        queue.push(Arc::clone(&web));
        queue.push(Arc::clone(&web));
        let taken = queue.next().await;
        assert_eq!(taken, web);
        queue.push(Arc::clone(&web));
        assert!(queue.next().now_or_never().is_none());
        queue.done(&taken);
        assert_eq!(queue.next().await, web);
        queue.done(&web);
        assert!(queue.next().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_need_comes_first_and_later_is_later() {
        let queue = Queue::default();
        queue.push_after(key("ConfigMap", "late"), Duration::from_secs(5));
        queue.push(key("Deployment", "web"));
        queue.push(key("Namespace", "shop"));
        let started = Instant::now();
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(queue.next().await.name.clone());
        }
        assert_eq!(order, ["shop", "web", "late"]);
        assert_eq!(started.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_queue_keeps_what_it_is_given() {
        let queue = Queue::default();
        queue.pause(true);
        queue.push(key("Pod", "a"));
        assert!(queue.next().now_or_never().is_none());
        queue.pause(false);
        assert_eq!(queue.next().await.name, "a");
    }
}
