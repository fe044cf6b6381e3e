//! What both stores hold in memory: the newest versions and the log, read and changed as one.

use std::{collections::HashMap, ops::Bound, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::RwLock;
use tokio::{sync::Notify, time::Instant};

use crate::{
    At, Change, CommitError, Committed, Entry, Listing, ReadError, Revision, Watch, WatchError,
    Write,
    log::{Log, Slot},
    map::Map,
    watch::{Cursor, Wakers},
};

/// How long a list waits for a revision that is still to come.
const PATIENCE: Duration = Duration::from_secs(3);
/// Lists up to this length are copied under the lock; longer ones from a snapshot.
const SHORT: usize = 1024;

/// A version that holds exactly the bytes of its value, and not the buffer they arrived in.
pub(crate) fn version(
    key: Arc<str>,
    value: &[u8],
    revision: Revision,
    created: Revision,
) -> Arc<Entry> {
    let value = Bytes::copy_from_slice(value);
    Arc::new(Entry { key, value, revision, created, memo: std::sync::OnceLock::new() })
}

/// The newest versions, and how they came about.
pub(crate) struct State {
    pub(crate) map: Map,
    pub(crate) log: Log,
}

/// Writes that are decided and not yet visible: what stands at the keys they touch.
pub(crate) type Pending = HashMap<Arc<str>, Option<Arc<Entry>>>;

impl State {
    /// Decides on `write` as the one that takes `revision`, after those in `pending`.
    pub(crate) fn decide(
        &self,
        pending: &Pending,
        write: Write,
        revision: Revision,
    ) -> Result<(Change, Committed), CommitError> {
        let current = |key: &str| match pending.get(key) {
            Some(there) => there.as_ref(),
            None => self.map.get(key),
        };
        let expect = |key: Arc<str>, expected: Revision| match current(&key) {
            None => Err(CommitError::Missing { key }),
            Some(there) if there.revision != expected => {
                Err(CommitError::Stale { current: there.clone() })
            }
            Some(there) => Ok(there.clone()),
        };
        match write {
            Write::Create { key, value } => match current(&key) {
                Some(there) => Err(CommitError::Exists { current: there.clone() }),
                None => {
                    let entry = version(key, &value, revision, revision);
                    let committed = Committed { revision, entry: entry.clone() };
                    Ok((Change::Created(entry), committed))
                }
            },
            Write::Update { key, value, expected } => {
                let before = expect(key, expected)?;
                let after = version(before.key.clone(), &value, revision, before.created);
                let committed = Committed { revision, entry: after.clone() };
                Ok((Change::Updated { before, after }, committed))
            }
            Write::Delete { key, expected } => {
                let entry = expect(key, expected)?;
                let committed = Committed { revision, entry: entry.clone() };
                Ok((Change::Deleted(entry), committed))
            }
        }
    }

    fn apply(&mut self, slot: Slot, now: Instant) {
        match &slot {
            Slot::Change(Change::Created(entry) | Change::Updated { after: entry, .. }) => {
                self.map.insert(entry.clone());
            }
            Slot::Change(Change::Deleted(entry)) => self.map.remove(&entry.key),
            Slot::Compaction | Slot::Swept => {}
        }
        self.log.push(slot, now);
    }

    /// A page as of `at`, which the log reaches; `at` is the head for the newest state.
    fn page(&self, prefix: &str, start: Bound<&str>, limit: usize, at: Revision) -> Page {
        let before = |key: &str| {
            key < prefix
                || match start {
                    Bound::Included(start) => key < start,
                    Bound::Excluded(start) => key <= start,
                    Bound::Unbounded => false,
                }
        };
        let from = self.map.partition(before);
        let to = self.map.partition(|key| key < prefix || key.starts_with(prefix));
        let mut total = self.map.rank(to).saturating_sub(self.map.rank(from));
        let mut undone = self.log.undo(prefix, at);
        undone.retain(|key, _| !before(key));
        for (key, there) in &undone {
            total = total + usize::from(there.is_some()) - usize::from(self.map.get(key).is_some());
        }
        let wanted = if limit == 0 { total } else { limit.min(total) };
        Page { from, undone, wanted, total, revision: at }
    }
}

/// Which entries a page shows.
struct Page {
    from: crate::map::Position,
    undone: std::collections::BTreeMap<Arc<str>, Option<Arc<Entry>>>,
    wanted: usize,
    total: usize,
    revision: Revision,
}

impl Page {
    fn collect(mut self, map: &Map) -> Listing {
        let mut entries = Vec::with_capacity(self.wanted);
        let mut present = map.iter_from(self.from).peekable();
        while entries.len() < self.wanted {
            let undone_first = match (self.undone.first_key_value(), present.peek()) {
                (Some((key, _)), Some(entry)) => **key <= *entry.key,
                (undone, _) => undone.is_some(),
            };
            if undone_first {
                if let Some((key, there)) = self.undone.pop_first() {
                    present.next_if(|entry| entry.key == key);
                    entries.extend(there);
                }
            } else {
                entries.extend(present.next().cloned());
            }
        }
        let remaining = self.total - entries.len();
        Listing { entries, revision: self.revision, remaining }
    }
}

/// The state behind its lock, with those who wait for it to change.
pub(crate) struct Shared {
    state: RwLock<State>,
    /// Wakes lists that wait for a revision.
    moved: Notify,
    pub(crate) wakers: Wakers,
}

impl Shared {
    pub(crate) fn new(state: State) -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::new(state),
            moved: Notify::new(),
            wakers: Wakers::default(),
        })
    }

    /// Reads under the lock: briefly, and never across an await.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.read())
    }

    pub(crate) fn revision(&self) -> Revision {
        self.read(|state| state.log.head())
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.read(|state| state.map.get(key).cloned())
    }

    /// Makes one write that needs nothing but memory.
    pub(crate) fn commit(&self, write: Write, now: Instant) -> Result<Committed, CommitError> {
        let mut state = self.state.write();
        let revision = Revision(state.log.head().0 + 1);
        let (change, committed) = state.decide(&Pending::new(), write, revision)?;
        state.apply(Slot::Change(change.clone()), now);
        state.log.press();
        drop(state);
        self.wake([&change]);
        Ok(committed)
    }

    /// Compacts what needs nothing but memory.
    pub(crate) fn compact(&self, now: Instant) -> Revision {
        let mut state = self.state.write();
        let floor = state.log.due(now);
        state.apply(Slot::Compaction, now);
        state.log.raise(floor);
        let revision = state.log.head();
        drop(state);
        self.wake([]);
        revision
    }

    /// Makes decided writes visible, and lifts the floor.
    pub(crate) fn publish(&self, slots: &[Slot], floor: Revision, now: Instant) {
        let mut state = self.state.write();
        for slot in slots {
            state.apply(slot.clone(), now);
        }
        state.log.raise(floor);
        state.log.press();
        drop(state);
        self.wake(slots.iter().filter_map(|slot| match slot {
            Slot::Change(change) => Some(change),
            Slot::Compaction | Slot::Swept => None,
        }));
    }

    /// Gives up to `most` revisions below the floor up; see [`Log::sweep`].
    pub(crate) fn sweep(&self, most: usize) -> Vec<Revision> {
        if self.read(|state| state.log.is_swept()) {
            return Vec::new();
        }
        self.state.write().log.sweep(most)
    }

    fn wake<'a>(&self, changes: impl IntoIterator<Item = &'a Change>) {
        self.moved.notify_waiters();
        self.wakers.wake(changes);
    }

    pub(crate) fn list(
        self: &Arc<Self>,
        prefix: &str,
        start: Bound<&str>,
        limit: usize,
        at: At,
    ) -> BoxFuture<'static, Result<Listing, ReadError>> {
        match at {
            At::NotBefore(wanted) if wanted > self.revision() => {
                let shared = self.clone();
                let prefix: Box<str> = prefix.into();
                let start = start.map(Box::<str>::from);
                async move {
                    shared.reach(wanted).await?;
                    shared.list_now(&prefix, start.as_ref().map(|start| &**start), limit, None)
                }
                .boxed()
            }
            At::Exactly(wanted) => {
                std::future::ready(self.list_now(prefix, start, limit, Some(wanted))).boxed()
            }
            At::Latest | At::NotBefore(_) => {
                std::future::ready(self.list_now(prefix, start, limit, None)).boxed()
            }
        }
    }

    fn list_now(
        &self,
        prefix: &str,
        start: Bound<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Listing, ReadError> {
        let state = self.state.read();
        let (floor, head) = (state.log.floor(), state.log.head());
        let at = at.unwrap_or(head).max(Revision::FIRST);
        if at < floor {
            return Err(ReadError::Compacted { wanted: at, oldest: floor });
        }
        if at > head {
            return Err(ReadError::Future { wanted: at, newest: head });
        }
        let page = state.page(prefix, start, limit, at);
        if page.wanted <= SHORT {
            return Ok(page.collect(&state.map));
        }
        let snapshot = state.map.clone();
        drop(state);
        Ok(page.collect(&snapshot))
    }

    /// Waits until the store is at `wanted`.
    async fn reach(&self, wanted: Revision) -> Result<(), ReadError> {
        let reached = async {
            loop {
                // Registered before the look, so that no move falls between the two.
                let moved = self.moved.notified();
                if self.revision() >= wanted {
                    return;
                }
                moved.await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .map_err(|_| ReadError::Future { wanted, newest: self.revision() })
    }

    pub(crate) fn watch(
        self: &Arc<Self>,
        prefix: &str,
        since: Revision,
    ) -> Result<Watch, WatchError> {
        let since = since.max(Revision::FIRST);
        let oldest = self.read(|state| state.log.floor());
        if since < oldest {
            return Err(WatchError::Compacted { since, oldest });
        }
        Ok(Cursor::new(self, prefix, since).into_stream())
    }
}

/// A version, for tests.
#[cfg(test)]
pub(crate) fn entry(key: &str, value: &[u8], revision: Revision, created: Revision) -> Arc<Entry> {
    version(key.into(), value, revision, created)
}
