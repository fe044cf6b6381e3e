//! Watches: cursors over the shared log, and who wakes them.
//!
//! A watch sleeps on the topic it is about, so that changes of other topics do not wake it. That the store moved on all
//! the same it learns from a common beat, once a second and only when there was a change.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::{
    Change, Event, Revision, Watch, WatchError, WatchItem,
    log::{TOPIC, segments},
    state::Shared,
};

/// How many events a watch takes from the log at once: all that a reader who stops reading holds on to.
const BATCH: usize = 32;
/// The time between two progress items of a watch.
const BEAT: Duration = Duration::from_secs(1);

/// Who is to be woken by which change.
#[derive(Default)]
pub(crate) struct Wakers {
    /// By the first segments of the watched prefix: none, two or three.
    topics: RwLock<HashMap<Box<str>, Arc<Notify>>>,
    beat: Arc<Beat>,
    closed: AtomicBool,
}

/// Tells all watches, at most once per [`BEAT`], that the store has moved.
#[derive(Default)]
struct Beat {
    moved: Notify,
    all: Notify,
    running: AtomicBool,
    /// The store is gone.
    over: AtomicBool,
}

/// The part of a watched prefix that decides what wakes the watch.
fn bell(prefix: &str) -> &str {
    segments(prefix, TOPIC + 1).or_else(|| segments(prefix, TOPIC)).unwrap_or_default()
}

impl Wakers {
    /// Wakes the watches that `changes` may concern.
    pub(crate) fn wake<'a>(&self, changes: impl IntoIterator<Item = &'a Change>) {
        {
            let topics = self.topics.read();
            if !topics.is_empty() {
                let ring = |name: &str| topics.get(name).iter().for_each(|n| n.notify_waiters());
                for change in changes {
                    let names = [TOPIC, TOPIC + 1].map(|count| segments(change.key(), count));
                    names.into_iter().flatten().for_each(ring);
                }
                ring("");
            }
        }
        self.beat.moved.notify_one();
    }

    /// Ends all watches once they have delivered what there is.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.topics.read().values().for_each(|topic| topic.notify_waiters());
        self.beat.moved.notify_one();
    }

    fn join(&self, name: &str) -> Arc<Notify> {
        if let Some(topic) = self.topics.read().get(name) {
            return topic.clone();
        }
        self.topics.write().entry(name.into()).or_default().clone()
    }

    fn leave(&self, name: &str) {
        let mut topics = self.topics.write();
        // One for the table, one for the watch that leaves.
        if topics.get(name).is_some_and(|topic| Arc::strong_count(topic) <= 2) {
            topics.remove(name);
        }
    }
}

impl Drop for Wakers {
    fn drop(&mut self) {
        self.beat.over.store(true, Ordering::Release);
        self.beat.moved.notify_one();
    }
}

impl Beat {
    /// Starts the beat on the runtime at hand, unless it runs.
    fn ensure(self: &Arc<Self>) {
        if self.running.load(Ordering::Relaxed) || self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running(self.clone());
        tokio::spawn(async move { running.0.beat().await });
    }

    async fn beat(&self) {
        loop {
            self.moved.notified().await;
            if self.over.load(Ordering::Acquire) {
                return;
            }
            tokio::time::sleep(BEAT).await;
            self.all.notify_waiters();
        }
    }
}

/// Says when it is dropped, be it with its runtime, that the beat has stopped.
struct Running(Arc<Beat>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
        // Watches on other runtimes start it again.
        self.0.all.notify_waiters();
    }
}

/// One watch.
pub(crate) struct Cursor {
    shared: Arc<Shared>,
    topic: Arc<Notify>,
    prefix: Box<str>,
    /// The log is read up to here.
    at: Revision,
    /// The reader knows that it is at this revision.
    told: Revision,
    /// Read and not yet delivered.
    batch: VecDeque<Event>,
    ended: bool,
}

impl Cursor {
    pub(crate) fn new(shared: &Arc<Shared>, prefix: &str, since: Revision) -> Self {
        Self {
            shared: shared.clone(),
            topic: shared.wakers.join(bell(prefix)),
            prefix: prefix.into(),
            at: since,
            told: since,
            batch: VecDeque::new(),
            ended: false,
        }
    }

    pub(crate) fn into_stream(self) -> Watch {
        stream::unfold(self, async |mut cursor| {
            let item = cursor.next().await?;
            cursor.ended = item.is_err();
            Some((item, cursor))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<WatchItem, WatchError>> {
        if self.ended {
            return None;
        }
        let shared = self.shared.clone();
        let topic = self.topic.clone();
        let beat = &shared.wakers.beat;
        let mut due = false;
        loop {
            // Registered before the look, so that no change falls between the two.
            let changed = topic.notified();
            let moved = beat.all.notified();
            if let Some(item) = self.take(due) {
                return Some(item);
            }
            beat.ensure();
            if self.at > self.told {
                // The moves so far may have had their beat already.
                beat.moved.notify_one();
            }
            due = tokio::select! {
                biased;
                () = changed => false,
                () = moved => true,
            };
        }
    }

    /// What can be delivered now; progress only when it is due and all events before it are out.
    fn take(&mut self, due: bool) -> Option<Result<WatchItem, WatchError>> {
        if self.batch.is_empty()
            && let Err(error) = self.fill()
        {
            return Some(Err(error));
        }
        if let Some(event) = self.batch.pop_front() {
            if self.batch.is_empty() {
                self.batch = VecDeque::new();
            }
            self.told = event.revision;
            return Some(Ok(WatchItem::Event(event)));
        }
        if due && self.at > self.told {
            self.told = self.at;
            return Some(Ok(WatchItem::Progress(self.at)));
        }
        let closed = self.shared.wakers.closed.load(Ordering::Acquire);
        closed.then_some(Err(WatchError::Closed))
    }

    /// Reads on, until there is an event or the end of the log.
    fn fill(&mut self) -> Result<(), WatchError> {
        loop {
            let end = self.shared.read(|state| {
                let (oldest, since) = (state.log.floor(), self.at);
                if since < oldest {
                    return Err(WatchError::Compacted { since, oldest });
                }
                self.at.0 = state.log.read(&self.prefix, since.0, BATCH, &mut self.batch);
                Ok(self.at >= state.log.head())
            })?;
            if end || !self.batch.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.shared.wakers.leave(bell(&self.prefix));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::{Context, Poll},
    };

    use futures::task::{ArcWake, waker};

    use super::*;
    use crate::{MemoryStore, Store, contract::create};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl ArcWake for Count {
        fn wake_by_ref(arc_self: &Arc<Self>) {
            arc_self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleeping_watch_is_woken_by_its_own_topic_and_else_once_a_second() {
        let store = MemoryStore::new();
        let woken = Arc::new(Count::default());
        let waker = waker(woken.clone());
        let mut context = Context::from_waker(&waker);
        let mut watch = store.watch("/core/pods/ns/", store.revision()).unwrap();
        assert!(watch.poll_next_unpin(&mut context).is_pending());
        for at in 0..100 {
            store.commit(create(&format!("/core/maps/ns/{at}"), "v")).await.unwrap();
            store.commit(create(&format!("/core/pods/ns2/{at}"), "v")).await.unwrap();
        }
        tokio::task::yield_now().await;
        assert_eq!(woken.get(), 0);
        tokio::time::sleep(BEAT * 2).await;
        assert_eq!(woken.get(), 1);
        let Poll::Ready(Some(Ok(item))) = watch.poll_next_unpin(&mut context) else { panic!() };
        assert!(matches!(item, WatchItem::Progress(revision) if revision == store.revision()));
        assert!(watch.poll_next_unpin(&mut context).is_pending());
        store.commit(create("/core/pods/ns/a", "v")).await.unwrap();
        assert_eq!(woken.get(), 2);
    }

    #[tokio::test]
    async fn watches_that_are_gone_leave_nothing_behind() {
        let shared = Shared::new(crate::state::State {
            map: crate::map::Map::default(),
            log: crate::log::Log::new(Revision::FIRST),
        });
        let mut watches: Vec<_> = (0..100)
            .map(|at| shared.watch(&format!("/g/r/{}/", at % 10), Revision::FIRST).unwrap())
            .collect();
        for watch in &mut watches {
            assert!(futures::poll!(watch.next()).is_pending());
        }
        assert_eq!(shared.wakers.topics.read().len(), 10);
        drop(watches);
        assert!(shared.wakers.topics.read().is_empty());
    }
}
