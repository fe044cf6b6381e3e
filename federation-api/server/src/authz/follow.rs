//! Feeds the index from the store, which every replica's writes reach.

use std::{sync::Arc, time::Duration};

use federation_storage::{At, Change, Entry, ReadError, Revision, Store, WatchError, WatchItem};
use futures::StreamExt as _;
use parking_lot::RwLock;
use serde_json::Value;

use super::{
    RBAC_GROUP, Rbac,
    index::{Index, Kind},
};
use crate::keys;

/// Why the index could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("roles and bindings cannot be read")]
    Read(#[from] ReadError),
    #[error("roles and bindings cannot be watched")]
    Watch(#[from] WatchError),
}

impl Rbac {
    /// An authorizer over the roles and bindings of a store. It knows them all when this returns, and follows their
    /// changes for as long as it lives.
    pub async fn follow(store: Arc<dyn Store>) -> Result<Arc<Self>, FollowError> {
        let index = Arc::new(RwLock::new(Index::default()));
        let mut since = fill(&*store, &index).await?;
        let following = Arc::clone(&index);
        let feed = tokio::spawn(async move {
            loop {
                track(&*store, &following, since).await;
                // The cursor was lost. What the index holds is old by now: it is filled anew.
                loop {
                    match fill(&*store, &following).await {
                        Ok(revision) => break since = revision,
                        Err(FollowError::Read(ReadError::Closed)) => return,
                        Err(error) => {
                            tracing::warn!(%error, "roles and bindings are not up to date");
                            tokio::time::sleep(Duration::from_secs(1)).await;
                        }
                    }
                }
            }
        });
        Ok(Arc::new(Self { index, feed: Some(feed) }))
    }
}

/// Replaces the whole index by what the store holds.
async fn fill(store: &dyn Store, index: &RwLock<Index>) -> Result<Revision, FollowError> {
    let mut fresh = Index::default();
    let listing =
        store.list(&keys::group(RBAC_GROUP), std::ops::Bound::Unbounded, 0, At::Latest).await?;
    for entry in &listing.entries {
        apply(&mut fresh, entry);
    }
    *index.write() = fresh;
    Ok(listing.revision)
}

/// Follows changes until the watch ends.
async fn track(store: &dyn Store, index: &RwLock<Index>, since: Revision) {
    let Ok(mut watch) = store.watch(&keys::group(RBAC_GROUP), since) else { return };
    while let Some(Ok(item)) = watch.next().await {
        let WatchItem::Event(event) = item else { continue };
        let mut index = index.write();
        match &event.change {
            Change::Created(entry) | Change::Updated { after: entry, .. } => {
                apply(&mut index, entry);
            }
            Change::Deleted(entry) => {
                if let Some((kind, namespace, name)) = place(&entry.key) {
                    index.remove(kind, namespace, name);
                }
            }
        }
    }
}

fn apply(index: &mut Index, entry: &Entry) {
    let Some((kind, _, _)) = place(&entry.key) else { return };
    match serde_json::from_slice::<Value>(&entry.value) {
        Ok(object) => index.apply(kind, &object),
        Err(error) => tracing::warn!(key = %entry.key, %error, "ignoring a role or binding"),
    }
}

fn place(key: &str) -> Option<(Kind, &str, &str)> {
    let (resource, namespace, name) = keys::split(RBAC_GROUP, key)?;
    let kind = match resource {
        "roles" => Kind::Role,
        "clusterroles" => Kind::ClusterRole,
        "rolebindings" => Kind::RoleBinding,
        "clusterrolebindings" => Kind::ClusterRoleBinding,
        _ => return None,
    };
    Some((kind, namespace, name))
}
