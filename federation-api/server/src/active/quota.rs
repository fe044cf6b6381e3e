//! ResourceQuotas that were made active: what the objects of a namespace may come to. What stands there is read from
//! the store, and one write at a time is let through, so that no two take the last place.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use federation_schema::quantity::Quantity;
use federation_storage::{At, ReadError};
use federation_types::reason::admission;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, watch};

use self::{
    scope::Scope,
    usage::{Counted, usage},
};
use super::{
    name,
    present::Present,
    resources::{Amounts, add, amounts},
};
use crate::{
    admission::Writing,
    app::Server,
    hooks::Operation,
    registry::{Kind, prefix},
    status::{ApiError, Cause},
};

mod scope;
mod status;
mod usage;

/// The active quotas, and who may write now where there are any.
#[derive(Debug)]
pub(super) struct Quotas {
    present: Present,
    /// Wakes who keeps their status.
    noted: watch::Sender<bool>,
    turn: Mutex<()>,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            present: Present::new("resourcequotas"),
            noted: watch::Sender::new(false),
            turn: Mutex::default(),
        }
    }
}

impl Quotas {
    /// Remembers that an active quota may be written.
    pub(super) fn note(&self) {
        self.present.note();
        self.noted.send_if_modified(|noted| !std::mem::replace(noted, true));
    }

    /// Looks for active quotas that were written before, and keeps the status of all.
    pub(super) async fn load(&self, server: &Arc<Server>) -> Result<(), ReadError> {
        if self.present.load(&*server.store).await? {
            self.note();
        }
        tokio::spawn(status::keep(Arc::downgrade(server), self.noted.subscribe()));
        Ok(())
    }
}

/// One active quota.
#[derive(Clone, Debug)]
struct Quota {
    name: String,
    hard: Amounts,
    scopes: Vec<Scope>,
}

impl Quota {
    fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        Self { name: name(object), hard: amounts(&spec["hard"]), scopes: Scope::read_all(spec) }
    }

    /// Whether it bears on an object of a kind.
    fn covers(&self, kind: &Counted<'_>, object: &Value) -> bool {
        self.scopes.iter().all(|scope| scope.covers(kind, object))
    }

    /// What an object counts for it.
    fn charge(&self, kind: &Counted<'_>, object: &Value) -> Amounts {
        let mut charge =
            if self.covers(kind, object) { usage(kind, object) } else { Amounts::new() };
        charge.retain(|resource, _| self.hard.contains_key(resource));
        charge
    }

    /// What all objects of a namespace count for it, of the kinds that `wanted` names bear on.
    async fn used(
        &self,
        server: &Server,
        namespace: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Amounts, ReadError> {
        let mut used = Amounts::new();
        let mut kinds: BTreeMap<Counted<'_>, Vec<&str>> = BTreeMap::new();
        for resource in self.hard.keys().filter(|it| wanted(it)) {
            used.insert(resource.clone(), Quantity::default());
            if let Some(kind) = Counted::by(resource) {
                kinds.entry(kind).or_default().push(resource);
            }
        }
        for (kind, resources) in kinds {
            let range = format!("{}{namespace}/", prefix(kind.group, kind.plural));
            let listing = server.store.list(&range, Bound::Unbounded, 0, At::Latest).await?;
            if self.scopes.is_empty() && !kind.is_weighed() {
                let count = whole(listing.entries.len());
                used.extend(resources.iter().map(|it| ((*it).to_owned(), count)));
                continue;
            }
            for entry in &listing.entries {
                let object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
                let mut charge = self.charge(&kind, &object);
                charge.retain(|resource, _| used.contains_key(resource));
                add(&mut used, &charge);
            }
        }
        Ok(used)
    }
}

/// A count as an amount.
fn whole(count: usize) -> Quantity {
    let nano = i128::try_from(count).unwrap_or(i128::MAX).saturating_mul(1_000_000_000);
    Quantity::from_nano(nano, federation_schema::quantity::QuantityFormat::DecimalSi)
}

/// Refuses a write that an active quota of its namespace has no place for. The place is held until what is returned is
/// dropped.
pub(crate) async fn hold<'s>(
    server: &'s Arc<Server>,
    writing: Writing<'_>,
) -> Result<Option<MutexGuard<'s, ()>>, ApiError> {
    let (Some(namespace), Some(object)) = (writing.namespace, writing.object) else {
        return Ok(None);
    };
    let kind = Counted { group: &writing.kind.group, plural: &writing.kind.plural };
    let grows = writing.operation == Operation::Create || kind.is_weighed();
    if writing.identity.is_component() || !grows || !writing.subresource.is_empty() {
        return Ok(None);
    }
    // What asks for nothing new stays as it was let in.
    if writing.old.is_some_and(|old| old["spec"] == object["spec"]) {
        return Ok(None);
    }
    let quotas = &server.active.quotas;
    let mut asked = Vec::new();
    for quota in quotas.present.of(&*server.store, namespace).await? {
        let quota = Quota::read(&quota);
        if !quota.covers(&kind, object) {
            continue;
        }
        let missing = usage::missing(&quota.hard, &kind, object);
        if !missing.is_empty() {
            let why = format!("failed quota: {}: must specify {}", quota.name, missing.join("; "));
            return Err(forbidden(writing, &why));
        }
        let mut more = quota.charge(&kind, object);
        if let Some(old) = writing.old {
            for (resource, before) in quota.charge(&kind, old) {
                let after = more.get(&resource).copied().unwrap_or_default();
                more.insert(resource, after.checked_sub(before).unwrap_or_default());
            }
        }
        more.retain(|_, amount| amount.as_nano() > 0);
        if !more.is_empty() {
            asked.push((quota, more));
        }
    }
    if asked.is_empty() {
        return Ok(None);
    }
    let turn = quotas.turn.lock().await;
    for (quota, more) in asked {
        let used = quota.used(server, namespace, |it| more.contains_key(it)).await?;
        let exceeds = |(resource, amount): &(&String, &Quantity)| {
            let used = used.get(*resource).copied().unwrap_or_default();
            used.checked_add(**amount).is_none_or(|sum| sum > quota.hard[*resource])
        };
        let over: Amounts =
            more.iter().filter(exceeds).map(|(name, amount)| (name.clone(), *amount)).collect();
        if !over.is_empty() {
            let of = |all: &Amounts| {
                let shown = over
                    .keys()
                    .map(|it| format!("{it}={}", all.get(it).copied().unwrap_or_default()));
                shown.collect::<Vec<_>>().join(",")
            };
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                quota.name,
                of(&over),
                of(&used),
                of(&quota.hard)
            );
            return Err(forbidden(writing, &why));
        }
    }
    Ok(Some(turn))
}

fn forbidden(writing: Writing<'_>, why: &str) -> ApiError {
    let Kind { group, plural, .. } = writing.kind;
    let reason = admission::QUOTA_EXCEEDED;
    let cause = Cause { reason, message: why.to_owned(), field: String::new() };
    ApiError::forbidden(group, plural, writing.name, why).caused_by(cause)
}

/// What of an active quota could not be carried out here.
pub(super) fn check(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    for (resource, hard) in spec["hard"].as_object().into_iter().flatten() {
        let field = format!("spec.hard[{resource}]");
        let Some(kind) = Counted::by(resource) else {
            let why = "Forbidden: a quota that is active on this server cannot count it";
            causes.push(Cause::field(field, why));
            continue;
        };
        let Ok(amount) = Quantity::from_value(hard) else { continue };
        if amount.as_nano() < 0 {
            let why = format!("Invalid value: {amount}: must be greater than or equal to 0");
            causes.push(Cause::field(field, why));
        } else if kind.is_count(resource)
            && amount != whole(usize::try_from(amount.value()).unwrap_or(0))
        {
            let why = format!("Invalid value: {amount}: must be an integer");
            causes.push(Cause::field(field, why));
        }
    }
    causes.extend(scope::check(spec));
    causes
}

#[cfg(test)]
mod tests;
