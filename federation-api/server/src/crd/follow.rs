//! Definitions in the store: loaded at the start, followed from then on, and cleaned up behind.

use std::{
    ops::Bound,
    sync::{Arc, Weak},
    time::Duration,
};

use federation_storage::{
    At, Change, CommitError, Entry, ReadError, Revision, Store, Watch, WatchItem, Write,
};
use futures::StreamExt as _;
use serde_json::Value;

use super::{Definition, FINALIZER, GROUP, PLURAL, is_definition};
use crate::{
    app::{Server, StartError},
    object,
    registry::{Kind, prefix},
    stored, strategy,
};

/// How long a cleanup waits before it looks again at objects whose finalizers run.
const AGAIN: Duration = Duration::from_secs(1);

/// Serves the store's definitions, now and from now on, for as long as the server lives.
pub(crate) async fn load_and_follow(server: &Arc<Server>) -> Result<(), StartError> {
    let changes = load(server).await?;
    tokio::spawn(follow(Arc::downgrade(server), changes));
    Ok(())
}

async fn load(server: &Arc<Server>) -> Result<Watch, StartError> {
    let range = prefix(GROUP, PLURAL);
    let listing = server.store.list(&range, Bound::Unbounded, 0, At::Latest).await?;
    for entry in &listing.entries {
        put(server, entry, listing.revision);
    }
    let held: Vec<Box<str>> = server
        .registry
        .snapshot()
        .definitions()
        .filter(|definition| !definition.embedded)
        .map(|definition| definition.name.clone())
        .collect();
    for name in held {
        let key = format!("{range}{name}");
        if !listing.entries.iter().any(|entry| *entry.key == *key) {
            server.registry.remove(&name);
        }
    }
    Ok(server.store.watch(&range, listing.revision)?)
}

async fn follow(server: Weak<Server>, mut changes: Watch) {
    loop {
        let item = changes.next().await;
        let Some(server) = server.upgrade() else { return };
        match item {
            Some(Ok(WatchItem::Progress(_))) => {}
            Some(Ok(WatchItem::Event(event))) => match &event.change {
                Change::Created(entry) | Change::Updated { after: entry, .. } => {
                    put(&server, entry, event.revision);
                }
                Change::Deleted(entry) => {
                    let name = entry.key.rsplit('/').next().unwrap_or_default();
                    let snapshot = server.registry.snapshot();
                    // A definition of the same name may have come since.
                    if snapshot.definition(name).is_some_and(|held| held.revision < event.revision)
                    {
                        server.registry.remove(name);
                    }
                }
            },
            // The log has moved on without this watch: start over.
            Some(Err(_)) | None => match load(&server).await {
                Ok(watch) => changes = watch,
                Err(error) => {
                    tracing::error!(%error, "definitions are no longer followed");
                    return;
                }
            },
        }
    }
}

/// Serves a stored definition, unless this version of it is served already.
fn put(server: &Arc<Server>, entry: &Entry, since: Revision) {
    let name = entry.key.rsplit('/').next().unwrap_or_default();
    let snapshot = server.registry.snapshot();
    if snapshot.definition(name).is_some_and(|held| held.revision >= entry.revision) {
        return;
    }
    let object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    match Definition::compile(&object, false, since.max(entry.revision)) {
        Ok(mut definition) => {
            definition.revision = entry.revision;
            let terminating = object::is_deleting(&object);
            server.registry.put(Arc::new(definition));
            if terminating {
                tokio::spawn(cleanup(Arc::downgrade(server), name.to_owned()));
            }
        }
        Err(error) => tracing::error!(name, %error, "a stored definition is not served"),
    }
}

/// Deletes the objects of a definition that is going, then lets it go.
pub(crate) async fn cleanup(server: Weak<Server>, name: String) {
    loop {
        let Some(server) = server.upgrade() else { return };
        match sweep(&server, &name).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(name, %error, "the objects of a definition are not deleted yet");
            }
        }
        drop(server);
        tokio::time::sleep(AGAIN).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// One pass; whether nothing is left to be done.
async fn sweep(server: &Arc<Server>, name: &str) -> Result<bool, SweepError> {
    let store = &*server.store;
    let snapshot = server.registry.snapshot();
    let Some(definition) = snapshot.definition(name) else { return Ok(true) };
    let mut left = 0;
    if let Some(kind) = definition.kinds.first() {
        let listing = store.list(&kind.prefix, Bound::Unbounded, 0, At::Latest).await?;
        for entry in &listing.entries {
            left += usize::from(!release(store, kind, entry).await?);
        }
    }
    if left > 0 {
        return Ok(false);
    }
    let catalogue = snapshot.kinds().find(|kind| is_definition(kind));
    let Some(kind) = catalogue else { return Ok(true) };
    let Some(entry) = store.get(&kind.key(None, name)).await? else { return Ok(true) };
    let mut object = stored::decode(&entry, kind, entry.revision);
    if !object::is_deleting(&object) {
        return Ok(true);
    }
    let rest: Vec<Value> = object::finalizers(&object)
        .into_iter()
        .filter(|finalizer| *finalizer != FINALIZER)
        .map(Value::from)
        .collect();
    let gone = rest.is_empty();
    if let Some(metadata) = object::metadata_mut(&mut object) {
        object::set(metadata, "finalizers", (!gone).then(|| rest.into()));
    }
    let (key, expected) = (Arc::clone(&entry.key), entry.revision);
    let write = if gone {
        Write::Delete { key, expected }
    } else {
        Write::Update { key, value: stored::encode(&object, kind), expected }
    };
    match store.commit(write).await {
        Ok(_) if gone => {
            server.registry.remove(name);
            Ok(true)
        }
        Ok(_) => Ok(true),
        Err(CommitError::Missing { .. }) => Ok(true),
        Err(CommitError::Stale { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Deletes an object or, if finalizers hold it, marks it; whether it is gone.
async fn release(store: &dyn Store, kind: &Kind, entry: &Entry) -> Result<bool, SweepError> {
    let mut object = stored::decode(entry, kind, entry.revision);
    let (key, expected) = (Arc::clone(&entry.key), entry.revision);
    let write = if strategy::may_go(&object, kind) {
        Write::Delete { key, expected }
    } else if object::is_deleting(&object) {
        return Ok(false);
    } else {
        strategy::mark_deleted(&mut object, kind);
        Write::Update { key, value: stored::encode(&object, kind), expected }
    };
    let gone = matches!(write, Write::Delete { .. });
    match store.commit(write).await {
        Ok(_) => Ok(gone),
        Err(CommitError::Missing { .. }) => Ok(true),
        Err(CommitError::Stale { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
