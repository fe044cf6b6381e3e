//! Revisions, values and watches: what the API server asks of persistence, and nothing more.
//!
//! A store maps keys to values. Every write takes the next [`Revision`] of the whole store, so revisions order all
//! writes and there are no gaps. What the bytes mean is the server's affair; this crate has never heard of Kubernetes.
//!
//! ```text
//! commit ─▶ writer task ─▶ durable log ─▶ in-memory map + event log ─▶ answer
//!                                               │
//!                    list, get ◀────────────────┴──▶ watch: a cursor over the shared log
//! ```

use std::{any::Any, fmt, ops::Bound, sync::Arc};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

pub use crate::{
    error::{CommitError, OpenError, ReadError, WatchError},
    memory::MemoryStore,
    redb::RedbStore,
    seal::Encryption,
};

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod error;
mod log;
mod map;
mod memory;
mod record;
mod redb;
mod seal;
mod state;
mod watch;
mod writer;

/// The store's counter: one per write, over all keys, never reused and never decreasing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Where a new store stands before its first write, so that even its first list has a revision to watch from.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One stored version of one key. Shared: every list, watch and cache holds the same allocation.
pub struct Entry {
    pub key: Arc<str>,
    /// The bytes last written.
    pub value: Bytes,
    /// The revision that wrote this version.
    pub revision: Revision,
    /// The revision that created the key.
    pub created: Revision,
    /// What the server decoded from `value`, kept so that it is decoded once per version.
    pub memo: std::sync::OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Entry {
    /// Without the value: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("revision", &self.revision)
            .field("bytes", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// One change, as a watch delivers it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The revision of the change.
    pub revision: Revision,
    pub change: Change,
}

/// What a commit did to its key.
#[derive(Clone, Debug)]
pub enum Change {
    Created(Arc<Entry>),
    Updated {
        before: Arc<Entry>,
        after: Arc<Entry>,
    },
    /// The version that was removed; the revision of the removal stands in [`Event`].
    Deleted(Arc<Entry>),
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Created(entry) | Self::Deleted(entry) => &entry.key,
            Self::Updated { after, .. } => &after.key,
        }
    }

    /// What stands at the key after the change.
    pub fn after(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Created(entry) | Self::Updated { after: entry, .. } => Some(entry),
            Self::Deleted(_) => None,
        }
    }
}

/// A write together with the state of the key that it is meant for.
#[derive(Clone, Debug)]
pub enum Write {
    /// The key must be free.
    Create { key: Arc<str>, value: Bytes },
    /// The key must still be at `expected`.
    Update { key: Arc<str>, value: Bytes, expected: Revision },
    /// The key must still be at `expected`.
    Delete { key: Arc<str>, expected: Revision },
}

/// The outcome of a commit: the version written or, for a delete, the version removed.
#[derive(Clone, Debug)]
pub struct Committed {
    pub revision: Revision,
    pub entry: Arc<Entry>,
}

/// As of which revision a list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Every acknowledged write is in it.
    Latest,
    /// Exactly this revision; refused with [`ReadError::Compacted`] or [`ReadError::Future`].
    Exactly(Revision),
    /// This revision or a later one; waits up to three seconds, then [`ReadError::Future`].
    NotBefore(Revision),
}

/// One page of a list, all as of one revision.
#[derive(Clone, Debug)]
pub struct Listing {
    pub entries: Vec<Arc<Entry>>,
    /// The revision that the page shows.
    pub revision: Revision,
    /// How many keys of the range follow this page; 0 when it is complete.
    pub remaining: usize,
}

/// What a watch yields.
#[derive(Clone, Debug)]
pub enum WatchItem {
    Event(Event),
    /// Everything up to this revision has been delivered. Sent when the watch catches up with the head after other
    /// keys moved it, at most once a second; the server makes bookmarks of it.
    Progress(Revision),
}

/// A watch: a cursor over the shared log. A slow reader costs its cursor and nothing else; it ends with
/// [`WatchError::Compacted`] when the log no longer reaches back to it.
pub type Watch = BoxStream<'static, Result<WatchItem, WatchError>>;

/// A linearizable key-value store with one revision counter.
///
/// Each implementation passes the suite in `contract`, which is the full statement of this trait.
pub trait Store: Send + Sync + 'static {
    /// The latest version at `key`; every acknowledged write is visible.
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Arc<Entry>>, ReadError>>;

    /// Up to `limit` keys (0: all) with `prefix`, from `start` on, in key order, as of one revision.
    fn list(
        &self,
        prefix: &str,
        start: Bound<&str>,
        limit: usize,
        at: At,
    ) -> BoxFuture<'_, Result<Listing, ReadError>>;

    /// Makes one write, provided that its precondition holds. Durable when it returns.
    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Committed, CommitError>>;

    /// Every change of keys with `prefix` after `since`: in revision order, each once, none left out.
    fn watch(&self, prefix: &str, since: Revision) -> Result<Watch, WatchError>;

    /// The newest revision.
    fn revision(&self) -> Revision;

    /// Drops superseded versions up to the newest revision but those of the last five minutes, and takes a revision of
    /// its own, so that a client that lost its place always finds a newer one.
    fn compact(&self) -> BoxFuture<'_, Result<Revision, CommitError>>;

    /// Whether a write would be taken now. A medium that failed is tried again, at most once a second.
    fn writable(&self) -> BoxFuture<'_, Result<(), CommitError>>;
}
