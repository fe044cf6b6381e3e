use serde_json::json;

use super::*;
use crate::{crd, error::FieldError};

fn compiled(schema: &Value) -> Result<crd::Compiled, Vec<FieldError>> {
    crd::compile(schema, "schema")
}

/// A schema of objects whose `spec` is as given.
fn schema(spec: &Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}})
}

fn broken(spec: &Value, new: &Value, old: Option<&Value>) -> Vec<String> {
    let compiled = compiled(&schema(spec)).unwrap();
    assert_eq!(compiled.warnings, Vec::<String>::new());
    assert!(has_rules(&compiled.ty));
    let object = |spec: &Value| json!({"metadata": {"name": "a", "labels": {}}, "spec": spec});
    let old = old.map(object);
    let errors = rules_broken(&object(new), old.as_ref(), &compiled.ty);
    errors.iter().map(ToString::to_string).collect()
}

fn refused(schema: &Value) -> Vec<String> {
    compiled(schema).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_rule_is_asked_about_its_own_value() {
    let spec = json!({
        "type": "object",
        "properties": {
            "min": {"type": "integer"},
            "max": {"type": "integer"},
            "foo-bar": {"type": "string"},
            "when": {"type": "string", "format": "date-time"},
            "parts": {"type": "array", "items": {
                "type": "object",
                "properties": {"size": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.size > 0", "messageExpression": "'size is ' + string(self.size)"}],
            }},
            "limits": {"type": "object", "additionalProperties": {
                "type": "string",
                "x-kubernetes-validations": [{"rule": "isQuantity(self)", "message": "no quantity"}],
            }},
        },
        "x-kubernetes-validations": [
            {"rule": "!has(self.min) || !has(self.max) || self.min <= self.max", "message": "min is over max", "fieldPath": ".min", "reason": "FieldValueForbidden"},
            {"rule": "!has(self.foo__dash__bar) || self.foo__dash__bar != 'x'"},
            {"rule": "!has(self.when) || self.when > timestamp('2020-01-01T00:00:00Z')"},
        ],
    });
    let good = json!({"min": 1, "max": 2, "foo-bar": "y", "when": "2026-01-01T00:00:00Z",
        "parts": [{"size": 1}], "limits": {"a/b": "1Gi"}});
    assert_eq!(broken(&spec, &good, None), Vec::<String>::new());
    let bad = json!({"min": 3, "max": 2, "foo-bar": "x", "when": "2016-01-01T00:00:00Z",
        "parts": [{"size": 1}, {"size": 0}], "limits": {"a": "much"}});
    assert_eq!(
        broken(&spec, &bad, None),
        [
            "spec.min: Forbidden: min is over max",
            "spec: Invalid value: \"object\": failed rule: !has(self.foo__dash__bar) || self.foo__dash__bar != 'x'",
            "spec: Invalid value: \"object\": failed rule: !has(self.when) || self.when > timestamp('2020-01-01T00:00:00Z')",
            "spec.limits[a]: Invalid value: \"string\": no quantity",
            "spec.parts[1]: Invalid value: \"object\": size is 0",
        ]
    );
}

#[test]
fn a_rule_that_compares_is_asked_when_there_is_something_to_compare_with() {
    let spec = json!({
        "type": "object",
        "properties": {
            "class": {"type": "string", "x-kubernetes-validations": [
                {"rule": "self == oldSelf", "message": "class is immutable"},
            ]},
            "count": {"type": "integer", "x-kubernetes-validations": [
                {"rule": "oldSelf.hasValue() || self == 1", "optionalOldSelf": true, "message": "begins with 1"},
                {"rule": "self <= 5", "message": "is too many"},
            ]},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "size": {"type": "integer", "x-kubernetes-validations": [
                    {"rule": "self >= oldSelf", "message": "shrinks"},
                ]}},
            }},
        },
    });
    let part = |name: &str, size: u32| json!({"name": name, "size": size});
    let first = json!({"class": "a", "count": 1, "parts": [part("x", 3), part("y", 1)]});
    assert_eq!(broken(&spec, &first, None), Vec::<String>::new());
    assert_eq!(
        broken(&spec, &json!({"count": 2}), None),
        ["spec.count: Invalid value: \"integer\": begins with 1"]
    );
    let next =
        json!({"class": "b", "count": 3, "parts": [part("y", 2), part("x", 2), part("z", 0)]});
    assert_eq!(
        broken(&spec, &next, Some(&first)),
        [
            "spec.class: Invalid value: \"string\": class is immutable",
            "spec.parts[1].size: Invalid value: \"integer\": shrinks",
        ]
    );
    // What was wrong before the rule was made, and is not touched, stays.
    let many = json!({"count": 9, "class": "a"});
    assert_eq!(broken(&spec, &json!({"count": 9}), Some(&many)), Vec::<String>::new());
    assert_eq!(broken(&spec, &json!({"count": 8}), Some(&many)).len(), 1);
}

#[test]
fn rules_that_cannot_be_right_are_refused_by_their_path() {
    let with = |rule: Value| {
        let mut spec = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {
            "type": "array", "items": {"type": "object", "properties": {"c": {"type": "string"}}}}}});
        spec["x-kubernetes-validations"] = json!([rule]);
        schema(&spec)
    };
    let at = "schema.properties[spec].x-kubernetes-validations[0]";
    for (rule, want) in [
        (json!({"rule": "self.a >"}), "rule: Invalid value: \"self.a >\": compilation failed: "),
        (
            json!({"rule": "self.z > 1"}),
            "rule: Invalid value: \"self.z > 1\": compilation failed: undefined field 'z'",
        ),
        (
            json!({"rule": "self.b.all(x, x.d == '')"}),
            "rule: Invalid value: \"self.b.all(x, x.d == '')\": compilation failed: undefined field 'd'",
        ),
        (
            json!({"rule": "self.a"}),
            "rule: Invalid value: \"self.a\": compilation failed: must evaluate to a bool",
        ),
        (
            json!({"rule": "object.a > 1"}),
            "rule: Invalid value: \"object.a > 1\": compilation failed: undeclared reference to 'object'",
        ),
        (json!({"message": "x"}), "rule: Required value: rule is not specified"),
        (json!({"rule": "true", "reason": "Because"}), "reason: Unsupported value"),
        (json!({"rule": "true", "fieldPath": ".z"}), "fieldPath: Invalid value: \".z\""),
        (json!({"rule": "true", "optionalOldSelf": true}), "optionalOldSelf: Invalid value"),
        (json!({"rule": "true", "message": "a\nb"}), "message: Invalid value"),
        (json!({"rule": "true", "messageExpression": "'a' +"}), "messageExpression: Invalid value"),
    ] {
        let errors = refused(&with(rule));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(&format!("{at}.{want}")), "{errors:?}");
    }
    let list = json!({"type": "object", "properties": {"spec": {"type": "array", "items": {
        "type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}});
    let errors = refused(&list);
    assert!(errors[0].contains("oldSelf cannot be used within a list"), "{errors:?}");
    let compiled = compiled(&with(json!({"rule": "type(self.a) == int"}))).unwrap();
    assert_eq!(compiled.warnings.len(), 1);
    assert!(compiled.warnings[0].starts_with(&format!("{at}.rule is not evaluated: ")));
}

#[test]
fn a_root_rule_knows_the_name_and_no_more_of_the_metadata() {
    let mut whole = schema(&json!({"type": "object"}));
    whole["x-kubernetes-validations"] = json!([{"rule": "self.metadata.name.size() < 3 && self.kind != ''", "message": "is too long"}]);
    let ty = compiled(&whole).unwrap().ty;
    let named = |name: &str| json!({"kind": "K", "apiVersion": "v", "metadata": {"name": name}});
    assert_eq!(rules_broken(&named("ab"), None, &ty), Vec::new());
    let errors = rules_broken(&named("abc"), None, &ty);
    assert_eq!(errors[0].to_string(), ": Invalid value: \"object\": is too long");
    whole["x-kubernetes-validations"] = json!([{"rule": "has(self.metadata.labels)"}]);
    assert!(refused(&whole)[0].contains("undefined field 'labels'"));
}
