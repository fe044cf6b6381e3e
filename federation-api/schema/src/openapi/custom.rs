//! Custom kinds in OpenAPI: the CRD's schema, with what every object has.

use serde_json::{Map, Value, json};

use super::{CustomKind, Dialect};

/// The name of a custom type: its group reversed, version, kind.
pub(super) fn name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').rev().collect();
    parts.extend([version, kind]);
    parts.join(".")
}

/// The schema of a custom kind.
pub(super) fn schema(kind: &CustomKind<'_>, dialect: Dialect, metadata: Value) -> Value {
    let mut schema = kind.schema.clone();
    if !schema.is_object() {
        schema = json!({"x-kubernetes-preserve-unknown-fields": true});
    }
    if dialect == Dialect::V2 {
        simplify(&mut schema);
    }
    schema["type"] = "object".into();
    // A reader of v2 takes the properties that are named for all that there may be: where any may be, none is.
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if dialect != Dialect::V2 || !open {
        if !schema["properties"].is_object() {
            schema["properties"] = Value::Object(Map::new());
        }
        schema["properties"]["apiVersion"] = json!({"type": "string"});
        schema["properties"]["kind"] = json!({"type": "string"});
        schema["properties"]["metadata"] = metadata;
    }
    schema["x-kubernetes-group-version-kind"] =
        json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
    schema
}

/// The schema of its list.
pub(super) fn list(kind: &CustomKind<'_>, item: &str, metadata: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": metadata,
            "items": {"type": "array", "items": {"$ref": item}},
        },
        "x-kubernetes-group-version-kind": [{"group": kind.group, "version": kind.version, "kind": kind.list_kind}],
    })
}

/// Takes out of a schema what OpenAPI v2 cannot say: a value that may be of several types is of none.
fn simplify(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    for key in ["allOf", "anyOf", "oneOf", "not"] {
        fields.remove(key);
    }
    let nullable = fields.remove("nullable") == Some(Value::Bool(true));
    let mixed = fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
    let open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if nullable || mixed || open {
        for key in ["type", "items", "properties", "additionalProperties", "required"] {
            fields.remove(key);
        }
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(simplify);
    }
    for key in ["items", "additionalProperties"] {
        match fields.get_mut(key) {
            // `additionalProperties: true` is no schema.
            Some(Value::Bool(_)) => {
                fields.remove(key);
            }
            Some(below) => simplify(below),
            None => {}
        }
    }
}
