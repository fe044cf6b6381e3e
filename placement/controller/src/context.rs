//! What the tasks of this crate share.

use std::{collections::BTreeSet, sync::Arc};

use kube::Client;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::index::Index;

/// Shared by feeds and passes.
pub(crate) struct Context {
    pub(crate) client: Client,
    /// Shared with admission and reviews, which ask it without this crate's tasks.
    pub(crate) index: Arc<Mutex<Index>>,
    /// A feed changed the index, or a write finished.
    pub(crate) wake: Notify,
    /// Kinds of our own whose first list has not arrived: nothing is decided before.
    unsynced: Mutex<BTreeSet<&'static str>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Context {
    pub(crate) fn new(client: Client, index: Arc<Mutex<Index>>) -> Arc<Self> {
        Arc::new(Self { client, index, wake: Notify::new(), unsynced: Mutex::default() })
    }

    pub(crate) fn expect_sync(&self, what: &'static str) {
        self.unsynced.lock().insert(what);
    }

    pub(crate) fn synced(&self, what: &'static str) {
        self.unsynced.lock().remove(what);
    }

    /// Whether every kind of our own has been listed once.
    pub(crate) fn is_synced(&self) -> bool {
        self.unsynced.lock().is_empty()
    }
}
