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
            if !matches!(ty.node().shape, Shape::Any) && !nullable(&ty) {
                entries.retain(|_, value| !value.is_null());
            }
            entries.values_mut().for_each(|value| default(value, &ty));
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            let ty = ty.at(*item);
            items.iter_mut().for_each(|value| default(value, &ty));
        }
        _ => {}
    }
}

fn nullable(ty: &TypeRef) -> bool {
    ty.node().rules.as_ref().is_some_and(|rules| rules.nullable)
}
