//! The one writer: decides queued writes in order, makes them durable as a group, publishes, then answers.
//!
//! It runs on a thread of its own, since it waits for the disk. While one group is being synced the next one queues up;
//! a lone write is a group at once and waits for nothing but its own sync.
//!
//! A medium that failed is opened again before it is used again: what the failed step left on it is taken back first.

use std::{collections::VecDeque, io, sync::Arc, thread, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    CommitError, Committed, Revision, Write,
    log::Slot,
    state::{Pending, Shared},
};

/// Writes that may queue before committers have to wait for room.
const QUEUE: usize = 4096;
/// Writes per group.
const GROUP: usize = 1024;
/// Bytes of values per group, so that no transaction is without bounds.
const GROUP_BYTES: usize = 8 << 20;
/// How long a medium that failed is left alone before it is tried again.
const REST: Duration = Duration::from_secs(1);
/// Superseded records that a group takes off the disk along with its own work, and that an idle writer takes at once.
const SWEEP: usize = 512;

/// One step of the medium: all of it becomes durable, or nothing.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// New revisions, ascending and without gaps.
    pub(crate) append: &'a [(Revision, Slot)],
    /// Nothing below is readable any more.
    pub(crate) floor: Revision,
    /// Records that no one needs, in the order in which they may go.
    pub(crate) remove: &'a [Revision],
}

/// Where groups are made durable.
pub(crate) trait Medium: Send + 'static {
    /// Carries out `step`, durably.
    fn commit(&mut self, step: &Step<'_>) -> Result<(), MediumError>;

    /// Opens the medium again after a failure and takes off it whatever is newer than `head`: those writes were
    /// refused.
    fn reopen(&mut self, head: Revision) -> Result<(), MediumError>;
}

/// What the medium says when it fails.
pub(crate) type MediumError = Box<dyn std::error::Error + Send + Sync>;

enum Request {
    Write { write: Write, now: Instant, answer: oneshot::Sender<Result<Committed, CommitError>> },
    Compact { now: Instant, answer: oneshot::Sender<Result<Revision, CommitError>> },
    Probe { now: Instant, answer: oneshot::Sender<Result<(), CommitError>> },
}

impl Request {
    fn now(&self) -> Instant {
        match self {
            Self::Write { now, .. } | Self::Compact { now, .. } | Self::Probe { now, .. } => *now,
        }
    }
}

/// The committers' end of the writer.
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Request>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `garbage` are records that an earlier run left to be removed.
    pub(crate) fn start(
        shared: Arc<Shared>,
        medium: impl Medium,
        garbage: VecDeque<Revision>,
    ) -> io::Result<Self> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let work = Work { shared, medium, garbage, failed: None };
        let thread = thread::Builder::new().name("store".into()).spawn(|| work.run(requests))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(crate) async fn commit(&self, write: Write) -> Result<Committed, CommitError> {
        let now = Instant::now();
        self.ask(|answer| Request::Write { write, now, answer }).await
    }

    pub(crate) async fn compact(&self) -> Result<Revision, CommitError> {
        let now = Instant::now();
        self.ask(|answer| Request::Compact { now, answer }).await
    }

    /// Whether a write would be taken now.
    pub(crate) async fn probe(&self) -> Result<(), CommitError> {
        let now = Instant::now();
        self.ask(|answer| Request::Probe { now, answer }).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, CommitError>>) -> Request,
    ) -> Result<T, CommitError> {
        let queue = self.queue.as_ref().ok_or(CommitError::Closed)?;
        let (answer, answered) = oneshot::channel();
        queue.send(request(answer)).await.map_err(|_| CommitError::Closed)?;
        answered.await.map_err(|_| CommitError::Closed)?
    }
}

impl Drop for Writer {
    /// Finishes what is queued and closes the medium, so that it can be opened again.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer ended in a panic");
        }
    }
}

struct Work<M> {
    shared: Arc<Shared>,
    medium: M,
    garbage: VecDeque<Revision>,
    /// Set by a failure: what the medium holds is uncertain until it is opened again.
    failed: Option<Failure>,
}

/// Why the medium is not used.
struct Failure {
    reason: Arc<str>,
    /// When it failed, or was last tried again in vain; unknown if it failed while nobody asked for anything.
    since: Option<Instant>,
}

/// Who is told what once the group is durable.
enum Answer {
    Write(oneshot::Sender<Result<Committed, CommitError>>, Result<Committed, CommitError>),
    Compact(oneshot::Sender<Result<Revision, CommitError>>, Revision),
    Probe(oneshot::Sender<Result<(), CommitError>>),
}

impl Answer {
    fn give(self) {
        // Who no longer waits is not told; the write stands all the same.
        match self {
            Self::Write(to, outcome) => drop(to.send(outcome)),
            Self::Compact(to, revision) => drop(to.send(Ok(revision))),
            Self::Probe(to) => drop(to.send(Ok(()))),
        }
    }

    fn refuse(self, reason: &Arc<str>) {
        let error = CommitError::Medium { reason: reason.clone() };
        match self {
            Self::Write(to, _) => drop(to.send(Err(error))),
            Self::Compact(to, _) => drop(to.send(Err(error))),
            Self::Probe(to) => drop(to.send(Err(error))),
        }
    }
}

/// A group, decided.
struct Decided {
    append: Vec<(Revision, Slot)>,
    floor: Revision,
    now: Option<Instant>,
    answers: Vec<Answer>,
}

impl<M: Medium> Work<M> {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut group = Vec::new();
        loop {
            while self.failed.is_none()
                && requests.is_empty()
                && !requests.is_closed()
                && self.tidy()
            {}
            let Some(first) = requests.blocking_recv() else { return };
            let mut bytes = size(&first);
            group.push(first);
            while group.len() < GROUP
                && bytes < GROUP_BYTES
                && let Ok(next) = requests.try_recv()
            {
                bytes += size(&next);
                group.push(next);
            }
            let asked = group.iter().map(Request::now).max().expect("it holds the first one");
            self.recover(asked);
            self.commit(group.drain(..), asked);
        }
    }

    fn commit(&mut self, group: impl Iterator<Item = Request>, asked: Instant) {
        let Decided { append, floor, now, answers } = self.decide(group);
        if let Some(failure) = &self.failed {
            let reason = Arc::clone(&failure.reason);
            answers.into_iter().for_each(|answer| answer.refuse(&reason));
            return;
        }
        if let Some(now) = now {
            let remove = self.removable(SWEEP.max(2 * append.len()));
            let step = Step { append: &append, floor, remove: &remove };
            if let Err(reason) = self.carry_out(&step, Some(asked)) {
                answers.into_iter().for_each(|answer| answer.refuse(&reason));
                return;
            }
            let slots: Vec<_> = append.into_iter().map(|(_, slot)| slot).collect();
            self.shared.publish(&slots, floor, now);
        }
        answers.into_iter().for_each(Answer::give);
    }

    /// Decides on each request against those before it, whose outcome is not visible yet.
    fn decide(&self, group: impl Iterator<Item = Request>) -> Decided {
        self.shared.read(|state| {
            let mut pending = Pending::new();
            let mut decided = Decided {
                append: Vec::new(),
                floor: state.log.floor(),
                now: None,
                answers: Vec::new(),
            };
            for request in group {
                let revision = Revision(state.log.head().0 + decided.append.len() as u64 + 1);
                match request {
                    Request::Write { write, now, answer } => {
                        let outcome = match state.decide(&pending, write, revision) {
                            Ok((change, committed)) => {
                                pending.insert(change.key().clone(), change.after().cloned());
                                decided.append.push((revision, Slot::Change(change)));
                                decided.now = decided.now.max(Some(now));
                                Ok(committed)
                            }
                            Err(error) => Err(error),
                        };
                        decided.answers.push(Answer::Write(answer, outcome));
                    }
                    Request::Probe { answer, .. } => decided.answers.push(Answer::Probe(answer)),
                    Request::Compact { now, answer } => {
                        decided.floor = decided.floor.max(state.log.due(now));
                        decided.append.push((revision, Slot::Compaction));
                        decided.now = decided.now.max(Some(now));
                        decided.answers.push(Answer::Compact(answer, revision));
                    }
                }
            }
            decided
        })
    }

    /// Takes some of what lies below the floor off the disk. False when there is nothing left to do.
    fn tidy(&mut self) -> bool {
        let remove = self.removable(SWEEP);
        let (floor, done) = self.shared.read(|state| (state.log.floor(), state.log.is_swept()));
        if remove.is_empty() {
            return !done;
        }
        self.carry_out(&Step { append: &[], floor, remove: &remove }, None).is_ok()
    }

    fn removable(&mut self, most: usize) -> Vec<Revision> {
        if self.garbage.is_empty() {
            return self.shared.sweep(most);
        }
        let most = most.min(self.garbage.len());
        self.garbage.drain(..most).collect()
    }

    fn carry_out(&mut self, step: &Step<'_>, asked: Option<Instant>) -> Result<(), Arc<str>> {
        self.medium.commit(step).map_err(|error| {
            tracing::error!(%error, "the store cannot write and refuses writes until it can");
            let reason: Arc<str> = error.to_string().into();
            self.failed = Some(Failure { reason: Arc::clone(&reason), since: asked });
            reason
        })
    }

    /// Tries a medium that failed again, if it had its rest.
    fn recover(&mut self, asked: Instant) {
        let Some(failure) = &mut self.failed else { return };
        if failure.since.is_some_and(|since| asked < since + REST) {
            return;
        }
        match self.medium.reopen(self.shared.revision()) {
            Ok(()) => {
                tracing::info!("the store can write again");
                self.failed = None;
            }
            Err(error) => {
                tracing::debug!(%error, "the store still cannot write");
                failure.reason = error.to_string().into();
                failure.since = Some(asked);
            }
        }
    }
}

fn size(request: &Request) -> usize {
    match request {
        Request::Write {
            write: Write::Create { value, .. } | Write::Update { value, .. }, ..
        } => value.len(),
        Request::Write { write: Write::Delete { .. }, .. }
        | Request::Compact { .. }
        | Request::Probe { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicBool, Ordering},
        mpsc as sync_mpsc,
    };

    use bytes::Bytes;
    use futures::{StreamExt, future::join_all};
    use parking_lot::Mutex;

    use super::*;
    use crate::{At, WatchItem, log::Log, map::Map, state::State};

    /// A medium that keeps a record of its steps, waits when told to, and fails when told to.
    #[derive(Clone, Default)]
    struct Fake {
        groups: Arc<Mutex<Vec<Vec<u64>>>>,
        gate: Arc<Mutex<Option<sync_mpsc::Receiver<()>>>>,
        broken: Arc<AtomicBool>,
        /// Broken once and not opened again.
        poisoned: Arc<AtomicBool>,
    }

    impl Fake {
        /// The next step waits until the returned end is dropped.
        fn close_gate(&self) -> sync_mpsc::Sender<()> {
            let (held, gate) = sync_mpsc::channel();
            *self.gate.lock() = Some(gate);
            held
        }
    }

    impl Medium for Fake {
        fn commit(&mut self, step: &Step<'_>) -> Result<(), MediumError> {
            if let Some(gate) = self.gate.lock().take() {
                // Ends when the test drops its end.
                gate.recv().unwrap_err();
            }
            if self.broken.load(Ordering::SeqCst) {
                self.poisoned.store(true, Ordering::SeqCst);
                return Err("the disk is gone".into());
            }
            assert!(!self.poisoned.load(Ordering::SeqCst), "used before it was opened again");
            self.groups.lock().push(step.append.iter().map(|(revision, _)| revision.0).collect());
            Ok(())
        }

        fn reopen(&mut self, _: Revision) -> Result<(), MediumError> {
            if self.broken.load(Ordering::SeqCst) {
                return Err("the disk is still gone".into());
            }
            self.poisoned.store(false, Ordering::SeqCst);
            Ok(())
        }
    }

    fn start(medium: &Fake) -> (Writer, Arc<Shared>) {
        let log = Log::new(Revision::FIRST);
        let shared = Shared::new(State { map: Map::default(), log });
        let writer = Writer::start(shared.clone(), medium.clone(), VecDeque::new()).unwrap();
        (writer, shared)
    }

    fn create(key: &str) -> Write {
        Write::Create { key: key.into(), value: Bytes::from_static(b"v") }
    }

    #[tokio::test]
    async fn writes_that_queue_up_during_a_sync_become_one_group() {
        let medium = Fake::default();
        let (writer, _shared) = start(&medium);
        let held = medium.close_gate();
        let keys: Vec<_> = (0..64).map(|at| format!("/g/r/{at}")).collect();
        let commits = join_all(keys.iter().map(|key| writer.commit(create(key))));
        let opened = async {
            // All are queued as soon as this future has its turn after the first poll of the others.
            tokio::task::yield_now().await;
            drop(held);
        };
        let (outcomes, ()) = tokio::join!(commits, opened);
        let mut revisions: Vec<_> =
            outcomes.into_iter().map(|outcome| outcome.unwrap().revision.0).collect();
        revisions.sort_unstable();
        assert_eq!(revisions, (2..66).collect::<Vec<_>>());
        let groups = medium.groups.lock();
        assert!(groups.len() <= 2, "{} groups", groups.len());
        assert_eq!(groups.concat(), (2..66).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_write_sees_those_before_it_in_its_group() {
        let medium = Fake::default();
        let (writer, shared) = start(&medium);
        let held = medium.close_gate();
        let blocker = writer.commit(create("/g/r/blocker"));
        let chain = async {
            let created = writer.commit(create("/g/r/a"));
            let again = writer.commit(create("/g/r/a"));
            let stale =
                writer.commit(Write::Delete { key: "/g/r/a".into(), expected: Revision(1) });
            tokio::join!(created, again, stale)
        };
        let opened = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        let (_, (created, again, stale), ()) = tokio::join!(blocker, chain, opened);
        let created = created.unwrap();
        let Err(CommitError::Exists { current }) = again else { panic!("{again:?}") };
        assert_eq!(current.revision, created.revision);
        assert!(matches!(stale, Err(CommitError::Stale { .. })));
        assert_eq!(shared.revision(), Revision(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_the_medium_refuses_leaves_no_trace_and_writes_go_on_once_it_is_opened_again()
     {
        let medium = Fake::default();
        let (writer, shared) = start(&medium);
        let first = writer.commit(create("/g/r/a")).await.unwrap();
        let mut watch = shared.watch("/g/r/", first.revision).unwrap();
        medium.broken.store(true, Ordering::SeqCst);
        let lost = writer.commit(create("/g/r/b")).await;
        let Err(CommitError::Medium { reason }) = lost else { panic!("{lost:?}") };
        assert!(reason.contains("disk is gone"));
        let refused = |outcome| matches!(outcome, Err(CommitError::Medium { .. }));
        assert!(refused(writer.probe().await));
        assert!(refused(writer.compact().await.map(drop)));
        tokio::time::advance(REST).await;
        let Err(CommitError::Medium { reason }) = writer.probe().await else { panic!("recovered") };
        assert!(reason.contains("still gone"), "{reason}");
        medium.broken.store(false, Ordering::SeqCst);
        // It was tried a moment ago.
        assert!(refused(writer.commit(create("/g/r/c")).await.map(drop)));
        assert_eq!(shared.revision(), first.revision);
        tokio::time::advance(REST).await;
        writer.probe().await.unwrap();
        let after = writer.commit(create("/g/r/c")).await.unwrap();
        assert_eq!(after.revision.0, first.revision.0 + 1);
        let listing = shared.list("", std::ops::Bound::Unbounded, 0, At::Latest).await.unwrap();
        let keys: Vec<_> = listing.entries.iter().map(|entry| &*entry.key).collect();
        assert_eq!(keys, ["/g/r/a", "/g/r/c"]);
        let Some(Ok(WatchItem::Event(event))) = watch.next().await else { panic!("no event") };
        assert_eq!(event.revision, after.revision);
    }
}
