#![expect(clippy::needless_pass_by_value, reason = "json! literals read best by value")]

use serde_json::json;

use super::*;
use crate::crd::compile;

fn said(properties: Value, object: Value) -> Vec<String> {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}});
    let ty = compile(&schema, "").unwrap().ty;
    validate(&json!({"spec": object}), &ty).iter().map(ToString::to_string).collect()
}

#[test]
fn each_rule_names_its_field() {
    for (property, value, want) in [
        (
            json!({"type": "integer", "minimum": 0}),
            json!(-1),
            "spec.a: Invalid value: -1: spec.a in body should be greater than or equal to 0",
        ),
        (
            json!({"type": "integer", "maximum": 10, "exclusiveMaximum": true}),
            json!(10),
            "spec.a: Invalid value: 10: spec.a in body should be less than 10",
        ),
        (
            json!({"type": "integer"}),
            json!("x"),
            "spec.a: Invalid value: \"string\": spec.a in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "string"}),
            json!(null),
            "spec.a: Invalid value: \"null\": spec.a in body must be of type string: \"null\"",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("x"),
            "spec.a: Unsupported value: \"x\": supported values: \"a\", \"b\"",
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            "spec.a: Invalid value: \"b\": spec.a in body should match '^a+$'",
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("abc"),
            "spec.a: Too long: may not be more than 2 bytes",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("a"),
            "spec.a: Invalid value: \"a\": spec.a in body should be at least 2 chars long",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("today"),
            "spec.a: Invalid value: \"today\": spec.a in body must be of type date-time: \"today\"",
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            "spec.a: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "object", "minProperties": 1}),
            json!({}),
            "spec.a: Invalid value: 0: spec.a in body should have at least 1 properties",
        ),
        (
            json!({"type": "number", "multipleOf": 0.5}),
            json!(0.7),
            "spec.a: Invalid value: 0.7: spec.a in body should be a multiple of 0.5",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "b", "a", "a"]),
            "spec.a[2]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "integer"}}}}),
            json!([{"k": 1}, {"k": 1}]),
            "spec.a[1]: Duplicate value: {\"k\":1}",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}}),
            json!({}),
            "spec.a.x: Required value",
        ),
        (
            json!({"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}}),
            json!([{}, {"k": 1}]),
            "spec.a[1].k: Invalid value: \"integer\": spec.a[1].k in body must be of type string: \"integer\"",
        ),
    ] {
        let errors = said(json!({"a": property}), json!({"a": value}));
        assert!(errors.len() == 1 && errors[0].ends_with(want), "{want} is not {errors:#?}");
    }
}

#[test]
fn junctors_look_inside() {
    let a = json!({"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
        "oneOf": [{"required": ["x"]}, {"required": ["y"]}]});
    assert_eq!(said(json!({"a": a}), json!({"a": {"x": 1}})), Vec::<String>::new());
    assert_eq!(
        said(json!({"a": a}), json!({"a": {"x": 1, "y": 1}})),
        [
            "<nil>: Invalid value: \"\": \"spec.a\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
        ]
    );
    assert!(said(json!({"a": a}), json!({"a": {}}))[0].ends_with("Found none valid"));
    let b = json!({"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 5}], "not": {"enum": [3]}});
    assert_eq!(said(json!({"b": b}), json!({"b": 4})), Vec::<String>::new());
    assert!(said(json!({"b": b}), json!({"b": 7}))[0].contains("at least one schema (anyOf)"));
    assert!(
        said(json!({"b": b}), json!({"b": 3}))[0].contains("must not validate the schema (not)")
    );
    let c = json!({"type": "string", "allOf": [{"pattern": "a"}, {"minLength": 2}]});
    let errors = said(json!({"c": c}), json!({"c": "b"}));
    assert!(errors[0].contains("(allOf). None validated") && errors.len() == 3, "{errors:#?}");
}

#[test]
fn null_is_taken_where_it_may_stand() {
    let properties = json!({
        "a": {"type": "string", "nullable": true},
        "l": {"type": "array", "items": {"type": "string", "nullable": true}},
        "p": {"x-kubernetes-int-or-string": true},
    });
    assert_eq!(
        said(properties, json!({"a": null, "l": [null, "x"], "p": 80})),
        Vec::<String>::new()
    );
}
