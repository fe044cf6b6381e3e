//! What every kind's metadata must obey.

use serde_json::{Map, Value};

use crate::{
    error::{FieldError, item},
    name::{self, NameRule},
};

/// What all keys and values of an object's annotations may take together.
const MOST_ANNOTATION_BYTES: usize = 256 << 10;

/// Everything that is wrong with an object's metadata; `namespaced` says whether its kind lives in namespaces.
pub fn object_meta(object: &Value, namespaced: bool, rule: NameRule) -> Vec<FieldError> {
    let none = Map::new();
    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&none);
    let text = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default();
    let mut out = Vec::new();
    let (name, generate, namespace) = (text("name"), text("generateName"), text("namespace"));
    if !generate.is_empty() {
        let bad = rule.check(generate, true);
        out.extend(
            bad.into_iter().map(|m| FieldError::invalid("metadata.generateName", generate, m)),
        );
    }
    if name.is_empty() {
        out.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        let bad = rule.check(name, false);
        out.extend(bad.into_iter().map(|m| FieldError::invalid("metadata.name", name, m)));
    }
    match (namespaced, namespace) {
        (true, "") => out.push(FieldError::required("metadata.namespace", "")),
        (true, namespace) => {
            let bad = name::dns1123_label(namespace);
            out.extend(
                bad.into_iter().map(|m| FieldError::invalid("metadata.namespace", namespace, m)),
            );
        }
        (false, "") => {}
        (false, _) => {
            out.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
        }
    }
    let map = |field: &str| metadata.get(field).and_then(Value::as_object).unwrap_or(&none);
    for (key, value) in map("labels") {
        let bad = name::qualified(key);
        out.extend(
            bad.into_iter().map(|m| FieldError::invalid("metadata.labels", key.as_str(), m)),
        );
        let value = value.as_str().unwrap_or_default();
        let bad = name::label_value(value);
        out.extend(bad.into_iter().map(|m| FieldError::invalid("metadata.labels", value, m)));
    }
    let mut bytes = 0;
    for (key, value) in map("annotations") {
        let bad = name::qualified(&key.to_lowercase());
        out.extend(
            bad.into_iter().map(|m| FieldError::invalid("metadata.annotations", key.as_str(), m)),
        );
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > MOST_ANNOTATION_BYTES {
        out.push(FieldError::too_long("metadata.annotations", MOST_ANNOTATION_BYTES as u64));
    }
    finalizers(metadata, &mut out);
    owners(metadata, &mut out);
    out
}

fn finalizers(metadata: &Map<String, Value>, out: &mut Vec<FieldError>) {
    let list = metadata.get("finalizers").and_then(Value::as_array);
    let names: Vec<&str> = list.into_iter().flatten().filter_map(Value::as_str).collect();
    for finalizer in &names {
        let bad = name::qualified(finalizer);
        out.extend(
            bad.into_iter().map(|m| FieldError::invalid("metadata.finalizers", *finalizer, m)),
        );
    }
    if names.contains(&"orphan") && names.contains(&"foregroundDeletion") {
        let both = Value::from(names);
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        out.push(FieldError::invalid("metadata.finalizers", both, why));
    }
}

fn owners(metadata: &Map<String, Value>, out: &mut Vec<FieldError>) {
    let list = metadata.get("ownerReferences").and_then(Value::as_array).into_iter().flatten();
    let mut controller: Option<String> = None;
    for (i, owner) in list.enumerate() {
        let at = item("metadata.ownerReferences", i);
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        for (field, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(field).is_empty() {
                out.push(FieldError::invalid(format!("{at}.{field}"), "", why));
            }
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let name = format!("{}/{}", text("kind"), text("name"));
            match &controller {
                None => controller = Some(name),
                Some(first) => {
                    let why = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                         and {name}"
                    );
                    out.push(FieldError::invalid("metadata.ownerReferences", Value::Null, why));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(object: &Value, namespaced: bool) -> Vec<String> {
        object_meta(object, namespaced, NameRule::Subdomain).iter().map(|e| e.to_string()).collect()
    }

    #[test]
    fn good_metadata_is_taken() {
        let object = json!({"metadata": {
            "name": "a", "namespace": "b", "labels": {"a/b": "c"}, "annotations": {"A.b/c": "anything\n"},
            "finalizers": ["x.y/z", "foregroundDeletion"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1", "controller": true}],
        }});
        assert_eq!(said(&object, true), Vec::<String>::new());
    }

    #[test]
    fn each_wrong_part_is_named() {
        assert_eq!(
            said(&json!({}), true),
            [
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Required value",
            ]
        );
        let object = json!({"metadata": {
            "name": "a", "namespace": "b", "labels": {"/": "x", "ok": "a b"},
            "annotations": {"big": "x".repeat(300_000)}, "finalizers": ["orphan", "foregroundDeletion"],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1", "controller": true},
                {"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "", "controller": true},
            ],
        }});
        let errors = said(&object, false);
        for part in [
            "metadata.namespace: Forbidden: not allowed on this type",
            "metadata.labels: Invalid value: \"/\": prefix part must be non-empty",
            "metadata.labels: Invalid value: \"a b\": a valid label must be",
            "metadata.annotations: Too long: may not be more than 262144 bytes",
            "finalizer orphan and foregroundDeletion cannot be both set",
            "metadata.ownerReferences[1].uid: Invalid value: \"\": must not be empty",
            "Only one reference can have Controller set to true. Found \"true\" in references for Pod/p and Pod/q",
        ] {
            assert!(errors.iter().any(|e| e.contains(part)), "{part} in {errors:#?}");
        }
    }
}
