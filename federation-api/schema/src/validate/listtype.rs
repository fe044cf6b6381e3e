//! Lists whose items must differ.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    error::{FieldError, child, item, key},
    model::{ListTopology, Shape, TypeRef},
};

/// Every item that stands twice in a set, or has the keys of another.
pub(super) fn duplicates(value: &Value, ty: &TypeRef, at: &str, out: &mut Vec<FieldError>) {
    match (&ty.node().shape, value) {
        (Shape::Struct(shape), Value::Object(fields)) => {
            for (name, value) in fields {
                if let Some(field) = shape.fields.get(name.as_str()) {
                    duplicates(value, &ty.at(field.node), &child(at, name), out);
                }
            }
        }
        (Shape::Map { value: node, .. }, Value::Object(entries)) => {
            for (name, value) in entries {
                duplicates(value, &ty.at(*node), &key(at, name), out);
            }
        }
        (Shape::List { item: node, topology, .. }, Value::Array(items)) => {
            match topology {
                ListTopology::Atomic => {}
                ListTopology::Set => repeated(items, at, out),
                ListTopology::Map { keys } => {
                    let keys: Vec<Value> = items.iter().map(|i| key_of(i, keys)).collect();
                    repeated(&keys, at, out);
                }
            }
            for (i, value) in items.iter().enumerate() {
                duplicates(value, &ty.at(*node), &item(at, i), out);
            }
        }
        _ => {}
    }
}

fn key_of(item: &Value, keys: &[Box<str>]) -> Value {
    let of = |name: &str| item.get(name).map(|value| (name.to_owned(), value.clone()));
    Value::Object(keys.iter().filter_map(|name| of(name)).collect::<Map<_, _>>())
}

/// Names the second of each; one that stands three times is named once.
fn repeated(values: &[Value], at: &str, out: &mut Vec<FieldError>) {
    let (mut seen, mut told) = (BTreeSet::new(), BTreeSet::new());
    for (i, value) in values.iter().enumerate() {
        let text = value.to_string();
        if !seen.insert(text.clone()) && told.insert(text) {
            out.push(FieldError::duplicate(item(at, i), value.clone()));
        }
    }
}
