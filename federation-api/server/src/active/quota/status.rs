//! The `status` of active quotas: what they bound, and what stands there. It is written when it differs, and only then.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    ops::Bound,
    sync::{Arc, Weak},
    time::Duration,
};

use federation_storage::{
    At, Change, CommitError, Entry, ReadError, Revision, Watch, WatchError, WatchItem, Write,
};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::{
    sync::watch::Receiver,
    time::{Instant, sleep, timeout_at},
};

use super::{super::is_active, Amounts, Counted, Quota};
use crate::{
    app::Server,
    object,
    registry::{Kind, prefix},
    stored,
};

/// How long what happens is gathered before quotas are summed up again.
const GATHER: Duration = Duration::from_millis(100);
/// How long it rests when the store failed.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("nothing is left to follow")]
    Over,
}

/// The active quotas, by namespace.
type Known = BTreeMap<String, Vec<Quota>>;

/// Keeps the status for as long as the server lives, from the first active quota on: who has none is spared the watch.
pub(in super::super) async fn keep(server: Weak<Server>, mut noted: Receiver<bool>) {
    if noted.wait_for(|noted| *noted).await.is_err() {
        return;
    }
    let mut known = Known::new();
    loop {
        let Err(error) = follow(&server, &mut known).await;
        match error {
            Ended::Over
            | Ended::Read(ReadError::Closed)
            | Ended::Watch(WatchError::Closed)
            | Ended::Commit(CommitError::Closed) => return,
            error => tracing::warn!(%error, "the status of quotas is not up to date"),
        }
        sleep(REST).await;
    }
}

async fn follow(server: &Weak<Server>, known: &mut Known) -> Result<Infallible, Ended> {
    let held = server.upgrade().ok_or(Ended::Over)?;
    let (mut dirty, since) = namespaces(&held).await?;
    dirty.extend(known.keys().cloned());
    let mut watch = held.store.watch("/", since)?;
    drop(held);
    loop {
        let held = server.upgrade().ok_or(Ended::Over)?;
        for namespace in std::mem::take(&mut dirty) {
            let before = known.remove(&namespace).unwrap_or_default();
            let quotas = sum_up(&held, &namespace, &before).await?;
            if !quotas.is_empty() {
                known.insert(namespace, quotas);
            }
        }
        drop(held);
        gather(&mut watch, known, &mut dirty).await?;
    }
}

/// The namespaces that have quotas.
async fn namespaces(server: &Server) -> Result<(BTreeSet<String>, Revision), ReadError> {
    let range = prefix("", "resourcequotas");
    let listing = server.store.list(&range, Bound::Unbounded, 0, At::Latest).await?;
    let places = listing.entries.iter().filter_map(|entry| place(&entry.key));
    Ok((places.map(|(_, namespace)| namespace.to_owned()).collect(), listing.revision))
}

/// Waits until something happens that the quotas of a namespace count, and a moment for what else does.
async fn gather(
    watch: &mut Watch,
    known: &Known,
    dirty: &mut BTreeSet<String>,
) -> Result<(), Ended> {
    let mut until = None;
    loop {
        let item = match until {
            None => watch.next().await,
            Some(until) => match timeout_at(until, watch.next()).await {
                Ok(item) => item,
                Err(_) => return Ok(()),
            },
        };
        match item {
            Some(Ok(WatchItem::Event(event))) => {
                if let Some(namespace) = touched(&event.change, known) {
                    dirty.insert(namespace.to_owned());
                    until.get_or_insert_with(|| Instant::now() + GATHER);
                }
            }
            Some(Ok(WatchItem::Progress(_))) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Ended::Over),
        }
    }
}

/// The namespace in which a change bears on a quota.
fn touched<'c>(change: &'c Change, known: &Known) -> Option<&'c str> {
    let (kind, namespace) = place(change.key())?;
    if kind.is("resourcequotas") {
        return Some(namespace);
    }
    let quotas = known.get(namespace)?;
    let counted = |quota: &Quota| {
        // Those that are only counted change nothing by changing.
        let grows = kind.is_weighed() || !matches!(change, Change::Updated { .. });
        grows && quota.hard.keys().any(|resource| Counted::by(resource) == Some(kind))
    };
    quotas.iter().any(counted).then_some(namespace)
}

/// Kind and namespace of the key of a namespaced object.
fn place(key: &str) -> Option<(Counted<'_>, &str)> {
    let mut parts = key.strip_prefix('/')?.split('/');
    let (group, plural) = (parts.next()?, parts.next()?);
    let (namespace, _name) = (parts.next()?, parts.next()?);
    let group = if group == "core" { "" } else { group };
    Some((Counted { group, plural }, namespace))
}

/// Writes what the active quotas of a namespace bound and what stands there; those that were `before` and are active
/// no more lose their status.
async fn sum_up(server: &Server, namespace: &str, before: &[Quota]) -> Result<Vec<Quota>, Ended> {
    let snapshot = server.registry.snapshot();
    let kind = snapshot.kind("", "v1", "resourcequotas").ok_or(Ended::Over)?;
    let range = kind.range(Some(namespace));
    let listing = server.store.list(&range, Bound::Unbounded, 0, At::Latest).await?;
    let mut quotas = Vec::new();
    for entry in &listing.entries {
        let object = stored::decode(entry, kind, entry.revision);
        let quota = Quota::read(&object);
        if is_active(&object) {
            let used = quota.used(server, namespace, |_| true).await?;
            let status = json!({"hard": shown(&quota.hard), "used": shown(&used)});
            write(server, kind, entry, object, Some(status)).await?;
            quotas.push(quota);
        } else if before.iter().any(|it| it.name == quota.name) {
            write(server, kind, entry, object, None).await?;
        }
    }
    Ok(quotas)
}

fn shown(amounts: &Amounts) -> BTreeMap<&String, String> {
    amounts.iter().map(|(resource, amount)| (resource, amount.to_string())).collect()
}

async fn write(
    server: &Server,
    kind: &Kind,
    entry: &Arc<Entry>,
    mut quota: Value,
    status: Option<Value>,
) -> Result<(), Ended> {
    if quota.get("status") == status.as_ref() {
        return Ok(());
    }
    let Some(fields) = quota.as_object_mut() else { return Ok(()) };
    object::set(fields, "status", status);
    let value = stored::encode(&quota, kind);
    let write = Write::Update { key: Arc::clone(&entry.key), value, expected: entry.revision };
    match server.store.commit(write).await {
        // Another write came first; it is seen next.
        Ok(_) | Err(CommitError::Stale { .. } | CommitError::Missing { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
