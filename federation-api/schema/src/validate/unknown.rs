//! Fields that a type does not know.

use serde_json::Value;

use crate::{
    error::{child, go_quote, item},
    model::{Shape, TypeRef},
};

/// More complaints than this help nobody.
const MOST_COMPLAINTS: usize = 100;

/// `unknown field "spec.foo"` for each field that would be dropped, at most 100.
pub fn unknown_fields(object: &Value, ty: &TypeRef) -> Vec<String> {
    let mut paths = Vec::new();
    walk(object, ty, "", &mut paths);
    paths.truncate(MOST_COMPLAINTS);
    paths.iter().map(|path| format!("unknown field {}", go_quote(path))).collect()
}

fn walk(value: &Value, ty: &TypeRef, at: &str, out: &mut Vec<String>) {
    match (&ty.node().shape, value) {
        (Shape::Struct(shape), Value::Object(fields)) => {
            for (name, value) in fields {
                match shape.fields.get(name.as_str()) {
                    Some(field) => walk(value, &ty.at(field.node), &child(at, name), out),
                    None if shape.open => {}
                    None => out.push(child(at, name)),
                }
            }
        }
        (Shape::Map { value: node, .. }, Value::Object(entries)) => {
            for (name, value) in entries {
                walk(value, &ty.at(*node), &child(at, name), out);
            }
        }
        (Shape::List { item: node, .. }, Value::Array(items)) => {
            for (i, value) in items.iter().enumerate() {
                walk(value, &ty.at(*node), &item(at, i), out);
            }
        }
        _ => {}
    }
}
