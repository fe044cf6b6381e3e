//! JSON patch (RFC 6902), with limits that stop a small request from making a large object, and JSON merge patch
//! (RFC 7396).

use json_patch::{PatchErrorKind, PatchOperation, jsonptr::Pointer};
use serde_json::Value;

/// The operations that one patch may have.
pub const MOST_OPERATIONS: usize = 10_000;
/// What all copies of one patch may add.
pub const MOST_COPIED_BYTES: usize = 3 << 20;

/// Why a JSON patch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no JSON patch (400).
    #[error("{0}")]
    Malformed(String),
    /// Too many operations (413).
    #[error("The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {0}")]
    TooManyOperations(usize),
    /// An operation does not fit the object (422).
    #[error("{0}")]
    Failed(String),
    /// A test found another value (422).
    #[error("{0}")]
    Unmet(String),
}

/// The object after the patch, a JSON array of operations.
pub fn apply(object: &Value, patch: &Value) -> Result<Value, Error> {
    let Some(list) = patch.as_array() else {
        return Err(Error::Malformed("json: a JSON patch is a list of operations".to_owned()));
    };
    if list.len() > MOST_OPERATIONS {
        return Err(Error::TooManyOperations(list.len()));
    }
    let mut operations = Vec::with_capacity(list.len());
    for (i, item) in list.iter().enumerate() {
        let operation: PatchOperation = serde_json::from_value(item.clone())
            .map_err(|e| Error::Malformed(format!("operation {i} of the JSON patch: {e}")))?;
        operations.push(operation);
    }
    let mut out = object.clone();
    let mut copied = 0_usize;
    for operation in &operations {
        if let PatchOperation::Copy(copy) = operation {
            copied = copied.saturating_add(size(&out, &copy.from));
            if copied > MOST_COPIED_BYTES {
                return Err(Error::Failed(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, \
                     exceeding the limit {MOST_COPIED_BYTES}"
                )));
            }
        }
        // One by one: the object is ours, so nothing has to be undone when one fails.
        json_patch::patch_unsafe(&mut out, std::slice::from_ref(operation)).map_err(|e| {
            let why = explain(operation, &e.kind.to_string());
            match e.kind {
                PatchErrorKind::TestFailed => Error::Unmet(why),
                _ => Error::Failed(why),
            }
        })?;
    }
    Ok(out)
}

fn size(object: &Value, from: &Pointer) -> usize {
    object.pointer(from.as_str()).map_or(0, |value| value.to_string().len())
}

fn explain(operation: &PatchOperation, kind: &str) -> String {
    let name = match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    };
    format!("{name} operation does not apply: {}: {kind}", operation.path())
}

/// Applies a merge patch: null removes, objects merge, anything else replaces.
pub fn merge(object: &mut Value, patch: &Value) {
    json_patch::merge(object, patch);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_apply_in_order() {
        let object = json!({"a": {"b": [1, 2]}, "c": "x"});
        let patch = json!([
            {"op": "test", "path": "/c", "value": "x"},
            {"op": "add", "path": "/a/b/-", "value": 3},
            {"op": "remove", "path": "/a/b/0"},
            {"op": "copy", "from": "/a/b", "path": "/d"},
            {"op": "move", "from": "/c", "path": "/e"},
            {"op": "replace", "path": "/a", "value": null},
        ]);
        assert_eq!(apply(&object, &patch).unwrap(), json!({"a": null, "d": [2, 3], "e": "x"}));
    }

    #[test]
    fn what_does_not_fit_is_told_apart_from_what_is_no_patch() {
        let object = json!({"a": 1});
        for patch in [json!({}), json!([{"op": "grow", "path": "/a"}]), json!([{"op": "add"}])] {
            assert!(matches!(apply(&object, &patch), Err(Error::Malformed(_))), "{patch}");
        }
        for patch in [
            json!([{"op": "remove", "path": "/b"}]),
            json!([{"op": "add", "path": "/b/c", "value": 2}]),
        ] {
            assert!(matches!(apply(&object, &patch), Err(Error::Failed(_))), "{patch}");
        }
        let error = apply(&object, &json!([{"op": "test", "path": "/a", "value": 2}])).unwrap_err();
        assert!(matches!(error, Error::Unmet(_)));
        assert_eq!(error.to_string(), "test operation does not apply: /a: value did not match");
    }

    #[test]
    fn limits_hold() {
        let many = vec![json!({"op": "test", "path": "/a", "value": 1}); MOST_OPERATIONS + 1];
        assert!(matches!(
            apply(&json!({"a": 1}), &Value::Array(many)),
            Err(Error::TooManyOperations(10_001))
        ));
        // Each copy doubles the object: without a limit thirty operations would fill the memory.
        let mut doubling = Vec::new();
        for i in 0..30 {
            doubling.push(json!({"op": "copy", "from": "", "path": format!("/c{i}")}));
        }
        let error = apply(&json!({"a": "x".repeat(1000)}), &Value::Array(doubling)).unwrap_err();
        assert!(error.to_string().contains("exceeding the limit"), "{error}");
    }

    #[test]
    fn a_merge_patch_removes_with_null() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "l": [1]});
        merge(&mut object, &json!({"a": {"b": null, "d": {"e": null}}, "l": [2]}));
        assert_eq!(object, json!({"a": {"c": 2, "d": {}}, "l": [2]}));
    }
}
