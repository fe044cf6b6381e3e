//! The rules that make a schema structural: it says of every field what it is, exactly once.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    compile::{flag, text},
    rules::{Pattern, is_int_or_string},
};
use crate::error::{FieldError, child, item, key};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REFUSED: [&str; 6] =
    ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
const JUNCTORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Every reason why `schema` is not structural, sorted.
pub(super) fn check(schema: &Value, at: &str) -> Vec<FieldError> {
    let mut check = Check { errors: Vec::new(), complete: false };
    if schema.is_object() {
        check.schema(schema, Level::Root, at);
    } else {
        check.errors.push(FieldError::required(at, "schemas are required"));
    }
    check.errors.sort_by_key(ToString::to_string);
    check.errors
}

struct Check {
    errors: Vec<FieldError>,
    /// The rules being read are the root's: what they speak of must be described.
    complete: bool,
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

impl Check {
    fn forbid(&mut self, at: &str, name: &str, why: &str) {
        self.errors.push(FieldError::forbidden(child(at, name), why));
    }

    /// Absent is required, anything else is invalid.
    fn wrong(&mut self, schema: &Value, at: &str, name: &str, why: &str) {
        if schema.get(name).is_none() {
            self.require(at, name, why);
        } else {
            self.invalid(schema, at, name, why);
        }
    }

    fn invalid(&mut self, schema: &Value, at: &str, name: &str, why: &str) {
        let value = schema.get(name).cloned().unwrap_or_default();
        self.errors.push(FieldError::invalid(child(at, name), value, why));
    }

    fn require(&mut self, at: &str, name: &str, why: &str) {
        self.errors.push(FieldError::required(child(at, name), why));
    }

    fn schema(&mut self, schema: &Value, level: Level, at: &str) {
        let kind = text(schema, "type");
        for name in REFUSED {
            if schema.get(name).is_some_and(|v| !v.is_null()) {
                self.forbid(at, name, &format!("{name} is not supported"));
            }
        }
        if !kind.is_empty() && !TYPES.contains(&kind) {
            self.errors.push(FieldError::not_supported(child(at, "type"), kind, TYPES));
        }
        if flag(schema, "uniqueItems") {
            self.forbid(
                at,
                "uniqueItems",
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            );
        }
        self.type_present(schema, kind, level, at);
        self.extensions(schema, kind, at);
        match schema.get("items") {
            Some(items @ Value::Object(_)) => self.schema(items, Level::Item, &child(at, "items")),
            Some(Value::Array(_)) => {
                self.forbid(at, "items", "items must be a schema object and not an array");
            }
            _ if kind == "array" => self.require(at, "items", "must be specified"),
            _ => {}
        }
        for (name, property) in properties(schema) {
            let below = key(&child(at, "properties"), name);
            if name == "metadata"
                && (level == Level::Root || flag(schema, "x-kubernetes-embedded-resource"))
            {
                self.metadata(property, level, &below);
                continue;
            }
            self.schema(property, Level::Field, &below);
        }
        if let Some(additional) = schema.get("additionalProperties") {
            let allowed = additional.is_object() || *additional == Value::Bool(true);
            if allowed && level == Level::Root {
                self.forbid(at, "additionalProperties", "must not be used at the root");
            }
            if allowed && properties(schema).next().is_some() {
                self.forbid(
                    at,
                    "additionalProperties",
                    "additionalProperties and properties are mutual exclusive",
                );
            }
            if *additional == Value::Bool(false) {
                self.forbid(
                    at,
                    "additionalProperties",
                    "additionalProperties cannot be set to false",
                );
            }
            if additional.is_object() {
                self.schema(additional, Level::Field, &child(at, "additionalProperties"));
            }
        }
        self.lists(schema, kind, at);
        self.complete = level == Level::Root;
        let any_of = schema.get("anyOf").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        self.values(
            schema,
            schema,
            at,
            at,
            is_int_or_string(any_of) && flag(schema, "x-kubernetes-int-or-string"),
        );
    }

    fn type_present(&mut self, schema: &Value, kind: &str, level: Level, at: &str) {
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let free = flag(schema, "x-kubernetes-int-or-string")
            || flag(schema, "x-kubernetes-preserve-unknown-fields");
        if embedded && kind != "object" {
            self.require(at, "type", "must be object if x-kubernetes-embedded-resource is true");
        } else if kind.is_empty() && !free {
            let why = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.require(at, "type", why);
        }
        if level == Level::Root && !kind.is_empty() && kind != "object" {
            self.invalid(schema, at, "type", "must be object at the root");
        }
        if level == Level::Root || embedded {
            for name in ["apiVersion", "kind"] {
                if let Some(property) = schema.pointer(&format!("/properties/{name}"))
                    && text(property, "type") != "string"
                {
                    self.invalid(
                        property,
                        &key(&child(at, "properties"), name),
                        "type",
                        "must be string",
                    );
                }
            }
        }
    }

    fn metadata(&mut self, schema: &Value, level: Level, at: &str) {
        if text(schema, "type") != "object" {
            self.invalid(schema, at, "type", "must be object");
        }
        let only_names =
            properties(schema).all(|(name, _)| name == "name" || name == "generateName");
        let nothing_else = schema.as_object().is_some_and(|o| {
            o.keys().all(|k| ["type", "properties", "description"].contains(&k.as_str()))
        });
        if level == Level::Root && !(only_names && nothing_else) {
            let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.errors.push(FieldError::forbidden(at, why));
        }
    }

    fn extensions(&mut self, schema: &Value, kind: &str, at: &str) {
        const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
        const EMBEDDED: &str = "x-kubernetes-embedded-resource";
        let int_or_string = flag(schema, "x-kubernetes-int-or-string");
        if schema.get(PRESERVE) == Some(&Value::Bool(false)) {
            self.invalid(schema, at, PRESERVE, "must be true or undefined");
        }
        if int_or_string && flag(schema, PRESERVE) {
            self.invalid(
                schema,
                at,
                PRESERVE,
                "must be false if x-kubernetes-int-or-string is true",
            );
        }
        if int_or_string && flag(schema, EMBEDDED) {
            self.invalid(
                schema,
                at,
                EMBEDDED,
                "must be false if x-kubernetes-int-or-string is true",
            );
        }
        if flag(schema, EMBEDDED) {
            if schema.get("additionalProperties").is_some() {
                self.forbid(
                    at,
                    "additionalProperties",
                    "must not be used if x-kubernetes-embedded-resource is set",
                );
            }
            if !flag(schema, PRESERVE) && properties(schema).next().is_none() {
                let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                           x-kubernetes-preserve-unknown-fields";
                self.require(at, "properties", why);
            }
        }
        match text(schema, "x-kubernetes-map-type") {
            "" => {}
            _ if kind != "object" => {
                self.wrong(
                    schema,
                    at,
                    "type",
                    "must be object if x-kubernetes-map-type is specified",
                );
            }
            "atomic" | "granular" => {}
            other => self.errors.push(FieldError::not_supported(
                child(at, "x-kubernetes-map-type"),
                other,
                ["atomic", "granular"],
            )),
        }
    }

    fn lists(&mut self, schema: &Value, kind: &str, at: &str) {
        let list_type = text(schema, "x-kubernetes-list-type");
        let none = Vec::new();
        let keys =
            schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).unwrap_or(&none);
        if !list_type.is_empty() && kind != "array" {
            self.wrong(schema, at, "type", "must be array if x-kubernetes-list-type is specified");
        }
        if !["", "atomic", "set", "map"].contains(&list_type) {
            let field = child(at, "x-kubernetes-list-type");
            self.errors.push(FieldError::not_supported(field, list_type, ["atomic", "set", "map"]));
        }
        if !keys.is_empty() && list_type != "map" {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            self.require(at, "x-kubernetes-list-type", why);
        }
        let items = &schema["items"];
        if ["set", "map"].contains(&list_type) && flag(items, "nullable") {
            let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
            self.forbid(&child(at, "items"), "nullable", &why);
        }
        if list_type != "map" {
            return;
        }
        if keys.is_empty() {
            self.require(
                at,
                "x-kubernetes-list-map-keys",
                "must not be empty if x-kubernetes-list-type is map",
            );
        }
        if text(items, "type") != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            self.invalid(items, &child(at, "items"), "type", why);
        }
        self.map_keys(schema, items, keys, at);
    }

    fn map_keys(&mut self, schema: &Value, items: &Value, keys: &[Value], at: &str) {
        const KEYS: &str = "x-kubernetes-list-map-keys";
        let mut seen = BTreeSet::new();
        let required = items.get("required").and_then(Value::as_array);
        for name in keys.iter().filter_map(Value::as_str) {
            if !seen.insert(name) {
                self.invalid(schema, at, KEYS, "must not contain duplicate entries");
            }
            let Some(property) = items.get("properties").and_then(|p| p.get(name)) else {
                self.invalid(schema, at, KEYS, "entries must all be names of item properties");
                continue;
            };
            let below = key(&child(&child(at, "items"), "properties"), name);
            if ["object", "array"].contains(&text(property, "type")) {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                self.invalid(property, &below, "type", why);
            }
            let is_required = required.is_some_and(|r| r.iter().any(|r| r.as_str() == Some(name)));
            if !is_required && property.get("default").is_none() {
                let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                self.require(&below, "default", why);
            }
            if flag(property, "nullable") {
                let why =
                    "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                self.forbid(&below, "nullable", why);
            }
        }
    }

    /// The value rules at one place; `whole` is the schema of that place, which must describe what they speak of.
    fn values(
        &mut self,
        rules: &Value,
        whole: &Value,
        at: &str,
        whole_at: &str,
        skip_any_of: bool,
    ) {
        if let Some(pattern) = rules.get("pattern").and_then(Value::as_str)
            && let Err(e) = Pattern::new(pattern)
        {
            let why = format!("must be a valid regular expression, but isn't: {e}");
            self.invalid(rules, at, "pattern", &why);
        }
        for junctor in JUNCTORS {
            if junctor == "anyOf" && skip_any_of {
                continue;
            }
            let list = rules.get(junctor).and_then(Value::as_array);
            for (i, nested) in list.into_iter().flatten().enumerate() {
                // The first of allOf may hold the pattern that spells int-or-string out.
                let any_of =
                    nested.get("anyOf").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let skip = junctor == "allOf"
                    && i == 0
                    && is_int_or_string(any_of)
                    && flag(whole, "x-kubernetes-int-or-string");
                self.nested(nested, Some(whole), &item(&child(at, junctor), i), whole_at, skip);
            }
        }
        if let Some(not) = rules.get("not") {
            self.nested(not, Some(whole), &child(at, "not"), whole_at, false);
        }
    }

    fn nested(
        &mut self,
        rules: &Value,
        whole: Option<&Value>,
        at: &str,
        whole_at: &str,
        skip: bool,
    ) {
        if whole.is_none() && self.complete {
            let why = format!("because it is defined in {at}");
            return self.errors.push(FieldError::required(whole_at, why));
        }
        let whole = whole.unwrap_or(&Value::Null);
        let none = Map::new();
        for (name, value) in rules.as_object().unwrap_or(&none) {
            let why = match name.as_str() {
                "type" | "title" | "description" if value.as_str() != Some("") => {
                    "must be empty to be structural"
                }
                "x-kubernetes-list-map-keys" | "x-kubernetes-validations" => {
                    "must be empty to be structural"
                }
                "additionalProperties"
                | "default"
                | "x-kubernetes-list-type"
                | "x-kubernetes-map-type" => "must be undefined to be structural",
                "nullable"
                | "x-kubernetes-preserve-unknown-fields"
                | "x-kubernetes-embedded-resource"
                | "x-kubernetes-int-or-string"
                    if *value == Value::Bool(true) =>
                {
                    "must be false to be structural"
                }
                _ => continue,
            };
            self.forbid(at, name, why);
        }
        self.values(rules, whole, at, whole_at, skip);
        if let Some(items) = rules.get("items") {
            let below = child(whole_at, "items");
            self.nested(items, whole.get("items"), &child(at, "items"), &below, false);
        }
        for (name, property) in properties(rules) {
            let below = key(&child(at, "properties"), name);
            if name == "metadata" {
                self.errors.push(FieldError::forbidden(
                    &below,
                    "must not be specified in a nested context",
                ));
            }
            let whole_below = key(&child(whole_at, "properties"), name);
            let described = whole.get("properties").and_then(|p| p.get(name));
            self.nested(property, described, &below, &whole_below, false);
        }
    }
}
