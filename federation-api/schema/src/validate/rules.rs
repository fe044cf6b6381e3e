//! A custom kind's rules: types, required fields, and what a schema demands of values.

use serde_json::Value;

use super::{format, listtype};
use crate::{
    apply::element::same,
    crd::read_rules,
    error::{FieldError, FieldErrorKind, child, item},
    model::{Rules, Shape, TypeRef},
};

/// Everything that is wrong with an object of a custom kind.
pub fn validate(object: &Value, ty: &TypeRef) -> Vec<FieldError> {
    let mut out = Vec::new();
    typed(object, ty, "", false, &mut out);
    listtype::duplicates(object, ty, "", &mut out);
    out
}

fn typed(value: &Value, ty: &TypeRef, at: &str, nullable: bool, out: &mut Vec<FieldError>) {
    let node = ty.node();
    let rules = node.rules.as_deref();
    if value.is_null() && (nullable || rules.is_some_and(|r| r.nullable)) {
        return;
    }
    if let Some(want) = wrong_type(value, &node.shape) {
        out.push(type_error(at, want, value));
        return;
    }
    match (&node.shape, value) {
        (Shape::Struct(shape), Value::Object(fields)) => {
            for (name, field) in &shape.fields {
                let below = child(at, name);
                match fields.get(&**name) {
                    Some(value) => typed(value, &ty.at(field.node), &below, field.nullable, out),
                    None if field.required => out.push(FieldError::required(below, "")),
                    None => {}
                }
            }
        }
        (Shape::Map { value: node, .. }, Value::Object(entries)) => {
            for (name, value) in entries {
                typed(value, &ty.at(*node), &child(at, name), false, out);
            }
        }
        (Shape::List { item: node, .. }, Value::Array(items)) => {
            for (i, value) in items.iter().enumerate() {
                typed(value, &ty.at(*node), &item(at, i), false, out);
            }
        }
        _ => {}
    }
    if let Some(rules) = rules {
        check(value, rules, at, out);
    }
}

/// The type that `value` is not.
fn wrong_type(value: &Value, shape: &Shape) -> Option<&'static str> {
    let (fits, want) = match shape {
        Shape::Any => (true, ""),
        Shape::Boolean => (value.is_boolean(), "boolean"),
        Shape::Integer { .. } => (is_integer(value), "integer"),
        Shape::Number => (value.is_number(), "number"),
        Shape::String(_) => (value.is_string(), "string"),
        Shape::IntOrString => (value.is_string() || is_integer(value), "integer,string"),
        Shape::Quantity => (value.is_string() || value.is_number(), "integer,string"),
        Shape::List { .. } => (value.is_array(), "array"),
        Shape::Map { .. } | Shape::Struct(_) => (value.is_object(), "object"),
    };
    (!fits).then_some(want)
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0)
}

fn type_error(at: &str, want: &str, value: &Value) -> FieldError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    FieldError::type_invalid(at, found, format!("{at} in body must be of type {want}: \"{found}\""))
}

/// What a schema demands beyond the type.
fn check(value: &Value, rules: &Rules, at: &str, out: &mut Vec<FieldError>) {
    let mut invalid = |what: String| {
        out.push(FieldError::invalid(at, value.clone(), format!("{at} in body {what}")));
    };
    match value {
        Value::String(text) => {
            let length = text.chars().count() as u64;
            if let Some(min) = rules.min_length.filter(|min| length < *min) {
                invalid(format!("should be at least {min} chars long"));
            }
            if let Some(pattern) = rules.pattern.as_ref().filter(|p| !p.is_match(text)) {
                invalid(format!("should match '{}'", pattern.as_str()));
            }
            if let Some(format) = rules.format.as_deref().filter(|f| !format::holds(f, text)) {
                invalid(format!("must be of type {format}: {text:?}"));
            }
            if let Some(max) = rules.max_length.filter(|max| length > *max) {
                out.push(FieldError::too_long(at, max));
            }
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(0.0);
            match rules.minimum {
                Some(min) if rules.exclusive_minimum && number <= min => {
                    invalid(format!("should be greater than {min}"));
                }
                Some(min) if number < min => {
                    invalid(format!("should be greater than or equal to {min}"));
                }
                _ => {}
            }
            match rules.maximum {
                Some(max) if rules.exclusive_maximum && number >= max => {
                    invalid(format!("should be less than {max}"));
                }
                Some(max) if number > max => {
                    invalid(format!("should be less than or equal to {max}"));
                }
                _ => {}
            }
            if let Some(factor) =
                rules.multiple_of.filter(|f| *f > 0.0 && (number / f).fract() != 0.0)
            {
                invalid(format!("should be a multiple of {factor}"));
            }
        }
        Value::Array(items) => {
            let count = items.len() as u64;
            if let Some(min) = rules.min_items.filter(|min| count < *min) {
                let what = format!("{at} in body should have at least {min} items");
                out.push(FieldError::invalid(at, count, what));
            }
            if let Some(max) = rules.max_items.filter(|max| count > *max) {
                out.push(FieldError::too_many(at, count, max));
            }
        }
        Value::Object(fields) => {
            let count = fields.len() as u64;
            if let Some(min) = rules.min_properties.filter(|min| count < *min) {
                let what = format!("{at} in body should have at least {min} properties");
                out.push(FieldError::invalid(at, count, what));
            }
            if let Some(max) = rules.max_properties.filter(|max| count > *max) {
                out.push(FieldError::too_many(at, count, max));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    if !rules.enumeration.is_empty()
        && !rules.enumeration.iter().any(|e| same(Some(e), Some(value)))
    {
        let allowed = rules
            .enumeration
            .iter()
            .map(|e| e.as_str().map_or_else(|| e.to_string(), str::to_owned));
        out.push(FieldError::not_supported(at, value.clone(), allowed));
    }
    junctors(value, rules, at, out);
}

fn junctors(value: &Value, rules: &Rules, at: &str, out: &mut Vec<FieldError>) {
    // Which field a junctor speaks of stands in its text only.
    let composite = |what: String| FieldError {
        kind: FieldErrorKind::Invalid,
        field: "<nil>".to_owned(),
        value: Some("".into()),
        detail: format!("{at:?} {what}"),
    };
    let run = |schemas: &[Value]| -> Vec<Vec<FieldError>> {
        let one = |schema| {
            let mut errors = Vec::new();
            nested(value, schema, at, &mut errors);
            errors
        };
        schemas.iter().map(one).collect()
    };
    if !rules.all_of.is_empty() {
        let failed: Vec<Vec<FieldError>> =
            run(&rules.all_of).into_iter().filter(|e| !e.is_empty()).collect();
        if !failed.is_empty() {
            let none = if failed.len() == rules.all_of.len() { ". None validated" } else { "" };
            out.push(composite(format!("must validate all the schemas (allOf){none}")));
            out.extend(failed.into_iter().flatten());
        }
    }
    let closest =
        |failed: Vec<Vec<FieldError>>| failed.into_iter().min_by_key(Vec::len).unwrap_or_default();
    if !rules.any_of.is_empty() {
        let results = run(&rules.any_of);
        if results.iter().all(|e| !e.is_empty()) {
            out.push(composite("must validate at least one schema (anyOf)".to_owned()));
            out.extend(closest(results));
        }
    }
    if !rules.one_of.is_empty() {
        let results = run(&rules.one_of);
        let valid = results.iter().filter(|e| e.is_empty()).count();
        if valid != 1 {
            let found = if valid == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {valid} valid alternatives")
            };
            out.push(composite(format!("must validate one and only one schema (oneOf). {found}")));
            if valid == 0 {
                out.extend(closest(results));
            }
        }
    }
    if let Some(not) = &rules.not {
        let mut errors = Vec::new();
        nested(value, not, at, &mut errors);
        if errors.is_empty() {
            out.push(composite("must not validate the schema (not)".to_owned()));
        }
    }
}

/// A schema inside a junctor: value rules only, for the types were checked outside of it.
fn nested(value: &Value, schema: &Value, at: &str, out: &mut Vec<FieldError>) {
    if let Some(want) = schema.get("type").and_then(Value::as_str) {
        let fits = match want {
            "integer" => is_integer(value),
            "string" => value.is_string(),
            _ => true,
        };
        if !fits {
            out.push(type_error(at, want, value));
            return;
        }
    }
    if let Some(rules) = read_rules(schema) {
        check(value, &rules, at, out);
    }
    if let Value::Object(fields) = value {
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|name| !fields.contains_key(*name)) {
            out.push(FieldError::required(child(at, name), ""));
        }
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        for (name, property) in properties {
            if let Some(value) = fields.get(name) {
                nested(value, property, &child(at, name), out);
            }
        }
    }
    if let (Value::Array(items), Some(schema)) = (value, schema.get("items")) {
        for (i, value) in items.iter().enumerate() {
            nested(value, schema, &item(at, i), out);
        }
    }
}

#[cfg(test)]
mod tests;
