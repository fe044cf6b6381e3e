//! Server-side apply: whose each field of an object is, and what an applied configuration does to it.
//!
//! A manager owns what it last applied, or what it changed by another write. Two managers may own a field as long as
//! they agree about it; who would change a field of another's gets a conflict. What a manager stops applying and nobody
//! else owns goes away.

mod change;
mod conflict;
pub mod element;
pub mod fieldset;
mod managed;
mod schema;
mod walk;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use change::Emptied;
pub use conflict::{ApplyError, Conflict, Conflicts};
pub use fieldset::FieldSet;
use managed::{Entry, Managed, ManagerId, is_reset};
use schema::Ty;
use walk::{Comparison, compare, compare_objects, fields_of, with_named_fields};

use crate::model::TypeRef;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Who wrote what `kubectl apply` applied without `--server-side`.
const CLIENT_SIDE: &str = "kubectl-client-side-apply";
/// The manager of `archipel apply`: what stood there by `kubectl apply` is its own from its first apply on.
const SUCCESSOR: &str = "archipel-apply";

/// The fields that nobody owns: the server sets them, or they name the object.
const NOBODYS: [&[&str]; 12] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// Which top-level fields a write through an endpoint can come to own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owns<'a> {
    All,
    /// The main endpoint of a kind with a status endpoint.
    AllBut(&'a str),
    /// The status endpoint.
    Only(&'a str),
}

impl Owns<'_> {
    fn filter(self, set: &FieldSet) -> FieldSet {
        match self {
            _ if set.is_empty() => FieldSet::default(),
            Self::All => set.clone(),
            Self::AllBut(field) => set.recursive_difference(&FieldSet::of(&[field])),
            Self::Only(field) => {
                let only =
                    |element: &element::PathElement| *element == element::PathElement::field(field);
                FieldSet {
                    members: set.members.iter().filter(|e| only(e)).cloned().collect(),
                    children: set
                        .children
                        .iter()
                        .filter(|(e, _)| only(e))
                        .map(|(e, c)| (e.clone(), c.clone()))
                        .collect(),
                }
            }
        }
    }
}

/// Who writes, through what, when.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The field manager; empty is "unknown".
    pub manager: &'a str,
    /// `apps/v1`: the version that was written through.
    pub api_version: &'a str,
    /// `status`, `scale` or empty.
    pub subresource: &'a str,
    /// RFC 3339 with seconds.
    pub now: &'a str,
    pub owns: Owns<'a>,
}

/// The object after `config` was applied to it, with its managedFields.
///
/// `live` is the stored object, `None` on creation. With `force`, conflicting fields change hands. A write that changes
/// nothing returns an object that equals `live`.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    ty: &TypeRef,
    write: &Write<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    if config.get("apiVersion").and_then(Value::as_str) != Some(write.api_version) {
        let found = config.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        return Err(ApplyError::BadRequest(format!(
            "Incorrect version specified in apply patch. Specified patch version: {found}, expected: {}",
            write.api_version
        )));
    }
    if metadata(config, "managedFields").is_some_and(|m| !m.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    let ty: Ty = Some(ty.clone());
    change::check(config, &ty).map_err(|e| ApplyError::Invalid(describe(config), e))?;
    let stored =
        live.map_or_else(|| empty_like(config), |live| without_managed_fields(live.clone()));
    let list = live.and_then(|l| metadata(l, "managedFields")).cloned().unwrap_or(Value::Null);
    let before = Managed::decode(&list)
        .map_err(|e| ApplyError::BadRequest(format!("failed to decode managed fields: {e}")))?;
    let mut managed = before.clone();
    if managed.entries.is_empty() && live.is_some() {
        // Whoever made what stands there did so before anyone applied, and keeps it.
        let write = Write { manager: "before-first-apply", ..*write };
        track(&mut managed, &empty_like(&stored), &stored, &ty, &write);
    }
    if write.manager == SUCCESSOR && write.subresource.is_empty() {
        succeed(&mut managed, write);
    }
    let merged = match apply_core(&stored, config, &ty, managed.clone(), write, force) {
        Err(ApplyError::Conflicts(conflicts)) if write.manager == "kubectl" => {
            apply_upgrading(&stored, config, &ty, managed, write, conflicts)?
        }
        other => other?,
    };
    let (mut object, managed) = merged;
    if write.manager == "kubectl" {
        update_last_applied(&mut object, config);
    }
    Ok(finish(object, &managed, live, &stored, &before, &list))
}

/// `live` with what a part of an object says of it, whose fields nobody comes to own: what a mutation does.
///
/// A list or map that can only be replaced as a whole is refused: part of it may be another's.
pub fn overlay(live: &Value, part: &Value, ty: &TypeRef) -> Result<Value, String> {
    let ty: Ty = Some(ty.clone());
    change::check(part, &ty)?;
    let wholes = change::wholes(part, &ty);
    if !wholes.is_empty() {
        let wholes = wholes.join(", ");
        return Err(format!("null, or atomic lists, maps and structs, may not be set: {wholes}"));
    }
    Ok(change::merge(live, part, &ty).unwrap_or_else(|| json!({})))
}

/// `new` with managedFields that say what this write changed; for creates, updates and patches that are no applies.
///
/// `live` is the stored object, `None` on creation.
pub fn update(live: Option<&Value>, new: Value, ty: &TypeRef, write: &Write<'_>) -> Value {
    let ty: Ty = Some(ty.clone());
    let none = Value::Null;
    let list = live.and_then(|l| metadata(l, "managedFields")).unwrap_or(&none);
    let sent = metadata(&new, "managedFields");
    let reset = write.subresource.is_empty() && is_reset(sent);
    let of_live = Managed::decode(list).unwrap_or_default();
    // Clients that do not know managedFields leave them out, and must not lose them by that; a patch carries along what
    // stands there.
    let of_others = |sent: &Value| write.subresource.is_empty() && sent != list;
    let mut managed = match sent.filter(|it| of_others(it)).map(Managed::decode) {
        _ if reset => Managed::default(),
        Some(Ok(sent)) if !sent.entries.is_empty() => sent,
        _ => of_live.clone(),
    };
    let new = without_managed_fields(new);
    let changes = match live {
        Some(live) => compare_objects(live, &new, &ty),
        None => compare_objects(&empty_like(&new), &new, &ty),
    };
    let same = live.is_some() && changes.is_empty();
    // Nobody is given what stood there before anyone's fields were kept.
    if !changes.is_empty() && (live.is_none() || !managed.entries.is_empty()) {
        managed.reconcile(&ty);
        give(&mut managed, changes, write);
        managed.cap();
    }
    let unchanged = same && managed.same_ownership(&of_live);
    with_managed_fields(new, if unchanged { kept(list) } else { managed.encode() })
}

/// Gives the writer what it changed, and takes it from the others.
fn track(managed: &mut Managed, live: &Value, new: &Value, ty: &Ty, write: &Write<'_>) {
    managed.reconcile(ty);
    give(managed, compare(live, new, ty), write);
}

/// Gives the writer what changed, and takes it from the others.
fn give(managed: &mut Managed, changes: Comparison, write: &Write<'_>) {
    let changes = changes.filter(|set| write.owns.filter(set));
    release(managed, &changes, None);
    let taken = write.owns.filter(&changes.modified.union(&changes.added)).difference(nobodys());
    if taken.is_empty() {
        return;
    }
    let id = writer(write, false);
    let set =
        managed.entries.get(&id).map_or_else(|| taken.clone(), |entry| entry.set.union(&taken));
    let api_version = write.api_version.to_owned();
    managed.entries.insert(id, Entry { set, api_version, time: Some(write.now.to_owned()) });
}

/// Takes what changed and what is gone from everyone but `but`.
fn release(managed: &mut Managed, changes: &Comparison, but: Option<&ManagerId>) {
    if managed.entries.is_empty() {
        return;
    }
    let changed = changes.modified.union(&changes.added).union(&changes.removed);
    for (id, entry) in &mut managed.entries {
        if Some(id) != but {
            entry.set = entry.set.difference(&changed);
        }
    }
    managed.drop_empty();
}

fn apply_core(
    live: &Value,
    config: &Value,
    ty: &Ty,
    mut managed: Managed,
    write: &Write<'_>,
    force: bool,
) -> Result<(Value, Managed), ApplyError> {
    managed.reconcile(ty);
    let id = writer(write, true);
    let merged = change::merge(live, config, ty).unwrap_or_else(|| json!({}));
    let last = managed.entries.get(&id).cloned();
    let set = write.owns.filter(&fields_of(config, ty));
    let time = last.as_ref().and_then(|entry| entry.time.clone());
    let api_version = write.api_version.to_owned();
    managed.entries.insert(id.clone(), Entry { set, api_version, time });
    let (compared, object) = match &last {
        Some(last) if !last.set.is_empty() => prune(&merged, &last.set, &managed, ty),
        _ => (merged.clone(), merged),
    };
    let changes = compare(live, &compared, ty).filter(|set| write.owns.filter(set));
    let taken = changes.modified.union(&changes.added);
    if !force {
        let conflicts = conflicts(&managed, &id, &taken);
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(Conflicts(conflicts)));
        }
    }
    release(&mut managed, &changes, Some(&id));
    if let Some(entry) = managed.entries.get_mut(&id) {
        entry.set = entry.set.difference(nobodys());
        if !element::same(Some(live), Some(&object)) {
            entry.time = Some(write.now.to_owned());
        }
    }
    managed.drop_empty();
    Ok((object, managed))
}

fn conflicts(managed: &Managed, id: &ManagerId, taken: &FieldSet) -> Vec<Conflict> {
    let mut out = Vec::new();
    for (other, entry) in managed.entries.iter().filter(|(other, _)| *other != id) {
        for path in entry.set.intersection(taken).paths() {
            out.push(Conflict { manager: other.show(), path: element::show(&path) });
        }
    }
    out
}

/// Removes what the manager applied last time, does not apply now, and nobody else owns; the object to compare, and the
/// object to store.
fn prune(merged: &Value, last: &FieldSet, managed: &Managed, ty: &Ty) -> (Value, Value) {
    let named = |set: &FieldSet| with_named_fields(set, ty);
    let without = |gone: &FieldSet| change::remove(merged, gone, ty, Emptied::Null);
    let last = named(last);
    let all = named(&fields_of(merged, ty));
    let mut pruned = without(&last);
    // Back what somebody owns: an item that was dropped whole may hold fields of another's.
    let owned = managed.entries.values().fold(FieldSet::default(), |set, e| set.union(&e.set));
    let kept = named(&fields_of(&pruned, ty)).union(&named(&owned));
    pruned = without(&all.difference(&kept));
    // Back what nobody owns and this manager never applied.
    let kept = named(&fields_of(&pruned, ty));
    let gone = all.difference(&kept).intersection(&last);
    (without(&gone), change::remove(merged, &gone, ty, Emptied::Gone))
}

/// kubectl's own client-side past is no conflict: what the last-applied annotation says and what still stands so may be
/// taken over.
fn apply_upgrading(
    live: &Value,
    config: &Value,
    ty: &Ty,
    managed: Managed,
    write: &Write<'_>,
    conflicts: Conflicts,
) -> Result<(Value, Managed), ApplyError> {
    let annotation = live.pointer("/metadata/annotations").and_then(|a| a.get(LAST_APPLIED));
    let last =
        annotation.and_then(Value::as_str).and_then(|a| serde_json::from_str::<Value>(a).ok());
    let last =
        last.filter(|l| l.get("apiVersion").and_then(Value::as_str) == Some(write.api_version));
    let Some(last) = last else { return Err(ApplyError::Conflicts(conflicts)) };
    let changed = compare(&last, live, ty);
    let ours = fields_of(&last, ty)
        .difference(&changed.modified)
        .difference(&changed.added)
        .difference(&changed.removed);
    let ours: std::collections::BTreeSet<String> =
        ours.paths().iter().map(|path| element::show(path)).collect();
    let foreign: Vec<Conflict> =
        conflicts.0.into_iter().filter(|c| !ours.contains(&c.path)).collect();
    if foreign.is_empty() {
        apply_core(live, config, ty, managed, write, true)
    } else {
        Err(ApplyError::Conflicts(Conflicts(foreign)))
    }
}

/// What client-side applies wrote is as if the manager had applied it: it takes it over without a conflict, and what it
/// does not apply any more goes away, the annotation that those applies kept their past in included.
fn succeed(managed: &mut Managed, write: &Write<'_>) {
    let annotation = FieldSet::of(&["metadata", "annotations", LAST_APPLIED]);
    let past = managed.entries.extract_if(.., |id, entry| {
        !id.applied
            && id.subresource.is_empty()
            && (id.manager == CLIENT_SIDE || !entry.set.intersection(&annotation).is_empty())
    });
    let past: Vec<Entry> = past.map(|(_, entry)| entry).collect();
    if past.is_empty() {
        return;
    }
    let own = managed.entries.entry(writer(write, true)).or_insert_with(|| Entry {
        set: FieldSet::default(),
        api_version: write.api_version.to_owned(),
        time: None,
    });
    own.set = past.iter().fold(std::mem::take(&mut own.set), |set, it| set.union(&it.set));
}

fn update_last_applied(object: &mut Value, config: &Value) {
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let Some(annotations) = annotations else { return };
    if annotations.get(LAST_APPLIED).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(theirs) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        theirs.remove(LAST_APPLIED);
    }
    annotations.insert(LAST_APPLIED.to_owned(), format!("{config}\n").into());
}

/// Writes the managedFields into the object; where nothing but times would change, the old ones stay.
fn finish(
    object: Value,
    managed: &Managed,
    live: Option<&Value>,
    stored: &Value,
    before: &Managed,
    list: &Value,
) -> Value {
    let unchanged = live.is_some()
        && managed.same_ownership(before)
        && element::same(Some(stored), Some(&object));
    with_managed_fields(object, if unchanged { kept(list) } else { managed.encode() })
}

/// The list as it stood; none where there was none.
fn kept(list: &Value) -> Option<Value> {
    (!list.is_null()).then(|| list.clone())
}

fn with_managed_fields(mut object: Value, encoded: Option<Value>) -> Value {
    if let Some(encoded) = encoded
        && let Value::Object(fields) = &mut object
        && let Value::Object(metadata) =
            fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()))
    {
        metadata.insert("managedFields".to_owned(), encoded);
    }
    object
}

fn writer(write: &Write<'_>, applied: bool) -> ManagerId {
    ManagerId {
        manager: if write.manager.is_empty() { "unknown" } else { write.manager }.to_owned(),
        applied,
        api_version: if applied { String::new() } else { write.api_version.to_owned() },
        subresource: write.subresource.to_owned(),
    }
}

fn nobodys() -> &'static FieldSet {
    static SET: LazyLock<FieldSet> = LazyLock::new(|| {
        NOBODYS.iter().fold(FieldSet::default(), |set, path| set.union(&FieldSet::of(path)))
    });
    &SET
}

fn metadata<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(field)
}

fn without_managed_fields(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// The object before it was made: it says what it is, and no more.
fn empty_like(object: &Value) -> Value {
    let mut out = Map::new();
    for field in ["apiVersion", "kind"] {
        if let Some(value) = object.get(field) {
            out.insert(field.to_owned(), value.clone());
        }
    }
    Value::Object(out)
}

fn describe(object: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    format!(
        "{}/{}; {}, Kind={}",
        text(metadata(object, "namespace")),
        text(metadata(object, "name")),
        text(object.get("apiVersion")),
        text(object.get("kind"))
    )
}

#[cfg(test)]
mod tests;
