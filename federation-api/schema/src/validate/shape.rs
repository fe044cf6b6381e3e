//! Values of another JSON type than their field, told as a decoder into Go's types tells it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    error::child,
    model::{Shape, StringKind, TypeRef},
    quantity::Quantity,
};

/// Every value that its field cannot hold; the first is what clients are told.
pub fn shape_errors(object: &Value, ty: &TypeRef) -> Vec<String> {
    let mut out = Vec::new();
    walk(object, ty, "", &mut Place { parent: "", errors: &mut out });
    out
}

struct Place<'a> {
    /// The name of the innermost struct.
    parent: &'a str,
    errors: &'a mut Vec<String>,
}

fn walk(value: &Value, ty: &TypeRef, at: &str, place: &mut Place<'_>) {
    if value.is_null() {
        return;
    }
    match (&ty.node().shape, value) {
        (Shape::Struct(shape), Value::Object(fields)) => {
            let parent = short(&ty.node().name);
            for (name, value) in fields {
                if let Some(field) = shape.fields.get(name.as_str()) {
                    let mut below = Place { parent, errors: place.errors };
                    walk(value, &ty.at(field.node), &child(at, name), &mut below);
                }
            }
        }
        (Shape::Map { value: node, .. }, Value::Object(entries)) => {
            entries.values().for_each(|value| walk(value, &ty.at(*node), at, place));
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            items.iter().for_each(|value| walk(value, &ty.at(*item), at, place));
        }
        (Shape::String(StringKind::Plain), Value::String(_))
        | (Shape::Boolean, Value::Bool(_))
        | (Shape::Number, Value::Number(_))
        | (Shape::Any, _) => {}
        (Shape::String(kind), Value::String(text)) => {
            place.errors.extend(text_error(*kind, text));
        }
        (Shape::Integer { wide }, Value::Number(number)) => {
            let fits = number.as_i64().is_some_and(|n| *wide || i32::try_from(n).is_ok());
            if !fits {
                place.errors.push(mismatch(&format!("number {number}"), at, ty, place.parent));
            }
        }
        (Shape::Quantity, Value::String(_) | Value::Number(_)) => {
            place.errors.extend(Quantity::from_value(value).err().map(|e| e.to_string()));
        }
        (Shape::IntOrString, Value::String(_)) => {}
        (Shape::IntOrString, Value::Number(number)) if number.is_i64() => {}
        (_, value) => {
            let found = match value {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) | Value::Null => "object",
            };
            place.errors.push(mismatch(found, at, ty, place.parent));
        }
    }
}

fn text_error(kind: StringKind, text: &str) -> Option<String> {
    match kind {
        StringKind::Plain => None,
        StringKind::Bytes => STANDARD.decode(text).err().map(|_| {
            let at = text
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '+' && c != '/')
                .unwrap_or(text.len());
            format!("illegal base64 data at input byte {at}")
        }),
        StringKind::Time | StringKind::MicroTime => (text.parse::<jiff::Timestamp>().is_err())
            .then(|| {
                format!(
                    "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?}"
                )
            }),
        StringKind::Duration => (!super::format::is_go_duration(text))
            .then(|| format!("time: invalid duration {text:?}")),
    }
}

fn mismatch(found: &str, at: &str, ty: &TypeRef, parent: &str) -> String {
    let want = go_type(ty);
    if at.is_empty() {
        format!("json: cannot unmarshal {found} into Go value of type {want}")
    } else {
        format!("json: cannot unmarshal {found} into Go struct field {parent}.{at} of type {want}")
    }
}

/// `Deployment` of `io.k8s.api.apps.v1.Deployment`.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn go_type(ty: &TypeRef) -> String {
    let node = ty.node();
    match &node.shape {
        Shape::Any => "interface {}".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::Integer { wide: true } => "int64".to_owned(),
        Shape::Integer { wide: false } => "int32".to_owned(),
        Shape::Number => "float64".to_owned(),
        Shape::String(StringKind::Bytes) => "[]uint8".to_owned(),
        Shape::String(_) => "string".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::List { item, .. } => format!("[]{}", go_type(&ty.at(*item))),
        Shape::Map { value, .. } => format!("map[string]{}", go_type(&ty.at(*value))),
        Shape::Struct(_) => {
            let mut parts = node.name.rsplit('.');
            let (name, package) = (parts.next().unwrap_or_default(), parts.next());
            package.map_or_else(|| "map[string]interface {}".to_owned(), |p| format!("{p}.{name}"))
        }
    }
}
