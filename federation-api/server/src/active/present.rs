//! Active objects of a namespaced kind. They are read from the store for each write that they bear on, so that they
//! hold from the write on that made them active.

use std::{
    ops::Bound,
    sync::atomic::{AtomicBool, Ordering},
};

use federation_storage::{At, ReadError, Store};
use serde_json::Value;

use super::is_active;
use crate::registry::prefix;

/// The active objects of one kind of the core group.
#[derive(Debug)]
pub(super) struct Present {
    plural: &'static str,
    /// Whether there may be any: spares those who have none the reading.
    any: AtomicBool,
}

impl Present {
    pub(super) const fn new(plural: &'static str) -> Self {
        Self { plural, any: AtomicBool::new(false) }
    }

    /// Remembers that one may be written.
    pub(super) fn note(&self) {
        self.any.store(true, Ordering::Release);
    }

    /// Looks for those that were written before; whether there are any.
    pub(super) async fn load(&self, store: &dyn Store) -> Result<bool, ReadError> {
        let found = !read(store, &prefix("", self.plural)).await?.is_empty();
        if found {
            self.note();
        }
        Ok(found)
    }

    /// Those of a namespace, by name.
    pub(super) async fn of(
        &self,
        store: &dyn Store,
        namespace: &str,
    ) -> Result<Vec<Value>, ReadError> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(Vec::new());
        }
        read(store, &format!("{}{namespace}/", prefix("", self.plural))).await
    }
}

async fn read(store: &dyn Store, range: &str) -> Result<Vec<Value>, ReadError> {
    let listing = store.list(range, Bound::Unbounded, 0, At::Latest).await?;
    let objects = listing.entries.iter().filter_map(|it| serde_json::from_slice(&it.value).ok());
    Ok(objects.filter(is_active).collect())
}
