//! Fills in what a schema says a missing field is taken for.

use serde_json::Value;

use crate::model::{Shape, TypeRef};

/// Sets missing fields that have a default. Null in a field that may not be null counts as missing: with a default it
/// gets it, without one it goes.
pub fn default(object: &mut Value, ty: &TypeRef) {
    match (&ty.node().shape, object) {
        (Shape::Struct(shape), Value::Object(fields)) => {
            for (name, field) in &shape.fields {
                let null = match fields.get(&**name) {
                    None => false,
                    Some(value) if value.is_null() && !field.nullable => true,
                    Some(_) => continue,
                };
                match &field.default {
                    Some(default) => {
                        fields.insert(name.to_string(), default.clone());
                    }
                    None if null => {
                        fields.remove(&**name);
                    }
                    None => {}
                }
            }
            for (name, value) in fields {
                if let Some(field) = shape.fields.get(name.as_str()) {
                    default(value, &ty.at(field.node));
                }
            }
        }
        (Shape::Map { value: node, .. }, Value::Object(entries)) => {
            let ty = ty.at(*node);
            for value in entries.values_mut() {
                place(value, &ty);
            }
            if !matches!(ty.node().shape, Shape::Any) && !nullable(&ty) {
                entries.retain(|_, value| !value.is_null());
            }
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            let ty = ty.at(*item);
            items.iter_mut().for_each(|value| place(value, &ty));
        }
        _ => {}
    }
}

/// An item or an entry: it cannot be missing, but null where it may not be.
fn place(value: &mut Value, ty: &TypeRef) {
    if value.is_null()
        && !nullable(ty)
        && let Some(default) = ty.node().rules.as_ref().and_then(|rules| rules.default.as_ref())
    {
        value.clone_from(default);
    }
    default(value, ty);
}

fn nullable(ty: &TypeRef) -> bool {
    ty.node().rules.as_ref().is_some_and(|rules| rules.nullable)
}
