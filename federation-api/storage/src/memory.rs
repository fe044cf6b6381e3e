//! A store that forgets: for tests and simulated members.

use std::{fmt, future, ops::Bound, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use crate::{
    At, CommitError, Committed, Entry, Listing, ReadError, Revision, Store, Watch, WatchError,
    Write,
    log::Log,
    map::Map,
    state::{Shared, State},
};

/// How much of what fell below the floor a write clears away.
const SWEEP: usize = 64;

/// A [`Store`] that lives as long as its process.
pub struct MemoryStore {
    shared: Arc<Shared>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let state = State { map: Map::default(), log: Log::new(Revision::FIRST) };
        Self { shared: Shared::new(state) }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("revision", &self.revision()).finish()
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.shared.wakers.close();
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Arc<Entry>>, ReadError>> {
        future::ready(Ok(self.shared.get(key))).boxed()
    }

    fn list(
        &self,
        prefix: &str,
        start: Bound<&str>,
        limit: usize,
        at: At,
    ) -> BoxFuture<'_, Result<Listing, ReadError>> {
        self.shared.list(prefix, start, limit, at)
    }

    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Committed, CommitError>> {
        async move {
            let committed = self.shared.commit(write, Instant::now());
            self.shared.sweep(SWEEP);
            committed
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, since: Revision) -> Result<Watch, WatchError> {
        self.shared.watch(prefix, since)
    }

    fn revision(&self) -> Revision {
        self.shared.revision()
    }

    fn compact(&self) -> BoxFuture<'_, Result<Revision, CommitError>> {
        async move {
            let revision = self.shared.compact(Instant::now());
            // A sweep that finds nothing to drop may still be under way to the floor.
            while !self.shared.read(|state| state.log.is_swept()) {
                self.shared.sweep(SWEEP);
            }
            Ok(revision)
        }
        .boxed()
    }

    fn writable(&self) -> BoxFuture<'_, Result<(), CommitError>> {
        future::ready(Ok(())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::store_contract!((MemoryStore::new(), ()));
}
