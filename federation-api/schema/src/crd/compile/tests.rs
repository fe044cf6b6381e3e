#![expect(clippy::needless_pass_by_value, reason = "json! literals read best by value")]

use serde_json::json;

use super::*;
use crate::crd;

fn errors(schema: Value) -> Vec<String> {
    compile(&schema, "schema").unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_not_structural_is_refused_with_its_path() {
    for (schema, want) in [
        (json!({}), "schema.type: Required value: must not be empty at the root"),
        (
            json!({"type": "string"}),
            "schema.type: Invalid value: \"string\": must be object at the root",
        ),
        (
            json!({"type": "object", "properties": {"spec": {}}}),
            "schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            "schema.properties[a].items: Required value: must be specified",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "anyOf": [{"type": "string"}]}}}),
            "schema.properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}]}),
            "schema.properties[b]: Required value: because it is defined in schema.anyOf[0].properties[b]",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}),
            "schema.properties[a].pattern: Invalid value: \"(\": must be a valid regular expression",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "what"}}}),
            "schema.properties[a].type: Unsupported value: \"what\": supported values: \"array\"",
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            "schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName",
        ),
        (
            json!({"type": "object", "properties": {"l": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "x"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
            }}}),
            "schema.properties[l].items.properties[k].default: Required value: this property is in \
             x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            "must not be used at the root",
        ),
    ] {
        let found = errors(schema.clone());
        assert!(found.iter().any(|e| e.contains(want)), "{schema}: {want} not in {found:#?}");
    }
}

fn compiled(properties: Value) -> Compiled {
    compile(&json!({"type": "object", "properties": properties}), "schema").unwrap()
}

#[test]
fn unknown_fields_are_pruned_except_where_they_are_kept() {
    let ty = compiled(json!({
        "spec": {"type": "object", "properties": {
            "known": {"type": "string"},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "closed": {"type": "object", "properties": {"a": {"type": "string"}}},
            }},
            "map": {"type": "object", "additionalProperties": {"type": "object"}},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        }},
    }))
    .ty;
    let mut object = json!({
        "apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a", "labels": {"x": "y"}, "odd": 1}, "odd": 1,
        "spec": {
            "known": "k", "odd": 1, "open": {"odd": 1, "closed": {"a": "", "odd": 1}},
            "map": {"x": {"odd": 1}}, "any": {"odd": [1]}, "port": "http",
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "odd": 1}, "spec": {"odd": 1}},
        },
    });
    let unknown = crate::validate::unknown_fields(&object, &ty);
    assert_eq!(unknown[0], "unknown field \"metadata.odd\"");
    assert_eq!(unknown.len(), 7, "{unknown:#?}");
    crd::prune(&mut object, &ty);
    assert_eq!(crate::validate::unknown_fields(&object, &ty), Vec::<String>::new());
    assert_eq!(
        object,
        json!({
            "apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a", "labels": {"x": "y"}},
            "spec": {
                "known": "k", "open": {"odd": 1, "closed": {"a": ""}},
                "map": {"x": {}}, "any": {"odd": [1]}, "port": "http",
                "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}},
            },
        })
    );
}

#[test]
fn missing_fields_get_their_default_and_nulls_go() {
    let ty = compiled(json!({
        "spec": {"type": "object", "default": {}, "properties": {
            "replicas": {"type": "integer", "default": 1},
            "nullable": {"type": "string", "nullable": true, "default": "x"},
            "plain": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string", "default": "d"}}}},
        }},
    }))
    .ty;
    let mut object = json!({});
    crd::default(&mut object, &ty);
    assert_eq!(object, json!({"spec": {"replicas": 1, "nullable": "x"}}));
    let mut object = json!({"spec": {"replicas": null, "nullable": null, "plain": null, "list": [{}, {"a": "b"}]}});
    crd::default(&mut object, &ty);
    assert_eq!(
        object,
        json!({"spec": {"replicas": 1, "nullable": null, "list": [{"a": "d"}, {"a": "b"}]}})
    );
}
