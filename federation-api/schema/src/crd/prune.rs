//! Drops what a type does not know.

use serde_json::Value;

use crate::model::{Shape, TypeRef};

/// Removes every field that the type does not describe.
pub fn prune(object: &mut Value, ty: &TypeRef) {
    match (&ty.node().shape, object) {
        (Shape::Struct(shape), Value::Object(fields)) => {
            if !shape.open {
                fields.retain(|name, _| shape.fields.contains_key(name.as_str()));
            }
            for (name, value) in fields {
                if let Some(field) = shape.fields.get(name.as_str()) {
                    prune(value, &ty.at(field.node));
                }
            }
        }
        (Shape::Map { value: node, .. }, Value::Object(entries)) => {
            let ty = ty.at(*node);
            entries.values_mut().for_each(|value| prune(value, &ty));
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            let ty = ty.at(*item);
            items.iter_mut().for_each(|value| prune(value, &ty));
        }
        (Shape::Any, _) => {}
        (Shape::Struct(shape), _) if shape.open => {}
        (_, misplaced) => empty(misplaced),
    }
}

/// An object where none belongs has no known fields.
fn empty(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.clear(),
        Value::Array(items) => items.iter_mut().for_each(empty),
        _ => {}
    }
}
