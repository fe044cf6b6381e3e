//! What a definition's status says: whether its names are free, whether it is served, which versions are stored.

use std::collections::BTreeSet;

use federation_schema::error::FieldError;
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

/// What of a definition may not change: where its objects are stored ever, what they are once they may exist.
pub(super) fn changed(old: &Value, new: &Value) -> Vec<FieldError> {
    let established = is(old, "Established");
    let fields = [
        ("/spec/group", "spec.group", true),
        ("/spec/names/plural", "spec.names.plural", true),
        ("/spec/scope", "spec.scope", established),
        ("/spec/names/kind", "spec.names.kind", established),
    ];
    let mut errors: Vec<FieldError> = fields
        .into_iter()
        .filter(|(pointer, _, fixed)| *fixed && old.pointer(pointer) != new.pointer(pointer))
        .map(|(pointer, field, _)| {
            let value = new.pointer(pointer).cloned().unwrap_or_default();
            FieldError::invalid(field, value, "field is immutable")
        })
        .collect();
    let names = |list: &Value, name: fn(&Value) -> &Value| -> Vec<Value> {
        list.as_array().into_iter().flatten().map(|it| name(it).clone()).collect()
    };
    let versions = names(&new["spec"]["versions"], |version| &version["name"]);
    for (at, stored) in names(&new["status"]["storedVersions"], |it| it).into_iter().enumerate() {
        if !versions.contains(&stored) {
            errors.push(FieldError::invalid(
                format!("status.storedVersions[{at}]"),
                stored,
                "must appear in spec.versions: objects of that version may still be stored",
            ));
        }
    }
    errors
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
    is(object, "NamesAccepted")
}

fn is(object: &Value, kind: &str) -> bool {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == kind && condition["status"] == "True")
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
