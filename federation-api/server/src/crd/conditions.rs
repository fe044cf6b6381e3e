//! What a definition's status says: whether its names are free, whether it is served, which versions are stored.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{object, registry::Snapshot};

/// Judges the names of a definition and writes the judgement into its status.
pub(super) fn judge(object: &mut Value, old: Option<&Value>, kinds: &Snapshot) -> bool {
    let conflict = conflict(object, kinds);
    match &conflict {
        None => {
            set(object, "NamesAccepted", "True", "NoConflicts", "no conflicts found");
            set(
                object,
                "Established",
                "True",
                "InitialNamesAccepted",
                "the initial names have been accepted",
            );
        }
        Some((reason, message)) => {
            set(object, "NamesAccepted", "False", reason, message);
            set(object, "Established", "False", "NotAccepted", "not all names are accepted");
        }
    }
    if conflict.is_none() {
        object["status"]["acceptedNames"] = object["spec"]["names"].clone();
    } else {
        object["status"]["acceptedNames"] = json!({ "plural": "", "kind": "" });
    }
    let storage = object["spec"]["versions"].as_array().into_iter().flatten();
    let storage = storage.filter(|version| version["storage"] == true);
    let storage: Vec<Value> = storage.map(|version| version["name"].clone()).collect();
    let before = if object["status"]["storedVersions"].is_array() {
        object["status"]["storedVersions"].clone()
    } else {
        old.map(|old| old["status"]["storedVersions"].clone()).unwrap_or_default()
    };
    let mut stored: Vec<Value> = before.as_array().cloned().unwrap_or_default();
    for version in storage {
        if !stored.contains(&version) {
            stored.push(version);
        }
    }
    object["status"]["storedVersions"] = stored.into();
    conflict.is_none()
}

/// The conditions of a definition that the binary brings along.
pub(super) fn established(object: &mut Value) {
    object["status"] = json!({});
    judge(object, None, &Snapshot::default());
    for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z".into();
    }
}

/// What a stored definition says of itself.
pub(super) fn is_accepted(object: &Value) -> bool {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "NamesAccepted" && condition["status"] == "True")
}

/// Notes that a definition is going.
pub(super) fn terminating(object: &mut Value) {
    set(
        object,
        "Terminating",
        "True",
        "InstanceDeletionInProgress",
        "the objects of this definition are being deleted",
    );
}

fn set(object: &mut Value, kind: &str, status: &str, reason: &str, message: &str) {
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    if !object["status"]["conditions"].is_array() {
        object["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = object["status"]["conditions"].as_array_mut() else { return };
    let held = conditions.iter_mut().find(|condition| condition["type"] == kind);
    let since = held
        .as_ref()
        .filter(|held| held["status"] == status)
        .map_or_else(|| object::now().into(), |held| held["lastTransitionTime"].clone());
    let condition = json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    });
    match held {
        Some(held) => *held = condition,
        None => conditions.push(condition),
    }
}

/// The first name that another resource of the group has.
fn conflict(object: &Value, kinds: &Snapshot) -> Option<(&'static str, String)> {
    let names = &object["spec"]["names"];
    let group = object["spec"]["group"].as_str().unwrap_or_default();
    let plural = names["plural"].as_str().unwrap_or_default();
    let text = |field: &str| names[field].as_str().unwrap_or_default();
    let group = kinds.group(group)?;
    let own = object::meta(object, "name");
    let others = group.versions.iter().flat_map(|version| &version.kinds).filter(|kind| {
        let same = kind.is_custom() && *kind.plural == *plural;
        !same || kinds.definition(own).is_none()
    });
    let (mut resources, mut types) = (BTreeSet::new(), BTreeSet::new());
    for kind in others {
        resources.extend([&*kind.plural, &*kind.singular]);
        resources.extend(kind.short_names.iter().map(|name| &**name));
        types.extend([&*kind.kind, &*kind.list_kind]);
    }
    let used = |name: &str| format!("{name:?} is already in use");
    for (field, reason) in [("plural", "PluralConflict"), ("singular", "SingularConflict")] {
        if resources.contains(text(field)) {
            return Some((reason, used(text(field))));
        }
    }
    for short in names["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if resources.contains(short) {
            return Some(("ShortNamesConflict", used(short)));
        }
    }
    for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        if types.contains(text(field)) {
            return Some((reason, used(text(field))));
        }
    }
    None
}
