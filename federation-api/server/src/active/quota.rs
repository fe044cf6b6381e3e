//! ResourceQuotas that were made active: how many objects of a kind a namespace holds. What they are counted by is read
//! from the store, and one create at a time is let through, so that no two take the last place.

use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use federation_storage::{At, ReadError};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use super::{is_active, name};
use crate::{
    app::Server,
    registry::{Kind, prefix},
    status::{ApiError, Cause},
};

/// Kinds of the core group that may be named without `count/`.
const PLAIN: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

/// Whether there may be active quotas, and who may create now where there are.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    any: AtomicBool,
    turn: Mutex<()>,
}

/// Remembers that an active quota may be written.
pub(super) fn note(server: &Server) {
    server.active.quotas.any.store(true, Ordering::Release);
}

/// Looks for active quotas that were written before.
pub(super) async fn load(server: &Server) -> Result<(), ReadError> {
    let range = prefix("", "resourcequotas");
    let listing = server.store.list(&range, Bound::Unbounded, 0, At::Latest).await?;
    let active = |value: &[u8]| serde_json::from_slice(value).is_ok_and(|it: Value| is_active(&it));
    if listing.entries.iter().any(|entry| active(&entry.value)) {
        note(server);
    }
    Ok(())
}

/// Refuses a new object that an active quota of its namespace has no place for. The place is held until what is
/// returned is dropped.
pub(crate) async fn hold<'s>(
    server: &'s Arc<Server>,
    kind: &Kind,
    namespace: Option<&str>,
    name_of_new: &str,
) -> Result<Option<MutexGuard<'s, ()>>, ApiError> {
    let quotas = &server.active.quotas;
    let Some(namespace) = namespace.filter(|_| quotas.any.load(Ordering::Acquire)) else {
        return Ok(None);
    };
    let range = format!("{}{namespace}/", prefix("", "resourcequotas"));
    let listing = server.store.list(&range, Bound::Unbounded, 0, At::Latest).await?;
    let mut limits = Vec::new();
    for entry in &listing.entries {
        let quota: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        if !is_active(&quota) {
            continue;
        }
        for (resource, hard) in quota["spec"]["hard"].as_object().into_iter().flatten() {
            if counts(resource, kind)
                && let Some(hard) = whole(hard)
            {
                limits.push((name(&quota), resource.clone(), hard));
            }
        }
    }
    if limits.is_empty() {
        return Ok(None);
    }
    let turn = quotas.turn.lock().await;
    let range = kind.range(Some(namespace));
    let used = server.store.list(&range, Bound::Unbounded, 0, At::Latest).await?.entries.len();
    for (quota, resource, hard) in limits {
        if used as u64 >= hard {
            let why = format!(
                "exceeded quota: {quota}, requested: {resource}=1, used: {resource}={used}, limited: {resource}={hard}"
            );
            return Err(ApiError::forbidden(&kind.group, &kind.plural, name_of_new, &why));
        }
    }
    Ok(Some(turn))
}

/// Whether a name in `hard` counts objects of a kind: `count/deployments.apps`, `count/secrets`, `secrets`.
fn counts(resource: &str, kind: &Kind) -> bool {
    let core = kind.group.is_empty();
    match resource.strip_prefix("count/") {
        Some(counted) if core => *counted == *kind.plural,
        Some(counted) => counted
            .split_once('.')
            .is_some_and(|(plural, group)| *plural == *kind.plural && *group == *kind.group),
        None => core && PLAIN.contains(&resource) && *resource == *kind.plural,
    }
}

fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// What of an active quota could not be carried out here.
pub(super) fn check(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    for (resource, hard) in spec["hard"].as_object().into_iter().flatten() {
        let field = format!("spec.hard[{resource}]");
        if !resource.starts_with("count/") && !PLAIN.contains(&resource.as_str()) {
            let why =
                "Forbidden: a quota that is active on this server bounds counts of objects only";
            causes.push(Cause::field(field, why));
        } else if whole(hard).is_none() {
            causes.push(Cause::field(
                field,
                format!("Invalid value: {hard}: must be a whole number"),
            ));
        }
    }
    for field in ["scopes", "scopeSelector"] {
        if !spec[field].is_null() {
            let why = "Forbidden: a quota that is active on this server has no scopes";
            causes.push(Cause::field(format!("spec.{field}"), why));
        }
    }
    causes
}
