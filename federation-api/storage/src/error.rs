//! What can go wrong between the server and its store.

use std::sync::Arc;

use crate::{Entry, Revision};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("data directory `{path}` is in use by another process")]
    InUse { path: String },
    #[error("store `{path}` cannot be opened")]
    Unreadable { path: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("store `{path}` has format {found}, this version reads {known}")]
    Format { path: String, found: u32, known: u32 },
    #[error("encryption key `{path}`: {reason}")]
    Key { path: String, reason: String },
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("revision {wanted} is compacted; the oldest readable one is {oldest}")]
    Compacted { wanted: Revision, oldest: Revision },
    #[error("revision {wanted} is in the future; the newest one is {newest}")]
    Future { wanted: Revision, newest: Revision },
    #[error("the store is closed")]
    Closed,
}

/// Why a write was not made. Nothing has changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// The key to be created exists.
    #[error("key `{}` exists at revision {}", current.key, current.revision)]
    Exists { current: Arc<Entry> },
    /// The key moved on; `current` is what stands there now.
    #[error("key `{}` is at revision {}, not at the expected one", current.key, current.revision)]
    Stale { current: Arc<Entry> },
    #[error("key `{key}` does not exist")]
    Missing { key: Arc<str> },
    /// The medium failed. The store refuses further writes until it could be opened again.
    #[error("the store cannot write: {reason}")]
    Medium { reason: Arc<str> },
    #[error("the store is closed")]
    Closed,
}

/// Why a watch could not start or had to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    #[error("revision {since} is compacted; the oldest readable one is {oldest}")]
    Compacted { since: Revision, oldest: Revision },
    #[error("the store is closed")]
    Closed,
}
