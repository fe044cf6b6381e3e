//! Strategic merge patch: a merge patch that knows which lists are merged item by item, and by which key.
//!
//! `$patch: replace|delete` acts on the object or the list it stands in, `$deleteFromPrimitiveList/x` takes values out of
//! `x`, `$setElementOrder/x` orders `x`, `$retainKeys` names all the fields that stay.

mod lists;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    error::{child, go_quote},
    model::{Shape, TypeRef},
};

pub(crate) const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";
const ORDER_PREFIX: &str = "$setElementOrder/";

/// Why a patch was not applied; `at` is the path of the field that it failed at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch is malformed (400).
    #[error("{}{message}", prefix(at))]
    Malformed { at: String, message: String },
    /// The patch does not fit the object (422).
    #[error("{}{message}", prefix(at))]
    Unfit { at: String, message: String },
}

fn prefix(at: &str) -> String {
    if at.is_empty() { String::new() } else { format!("{at}: ") }
}

impl Error {
    fn malformed(at: &str, message: impl Into<String>) -> Self {
        Self::Malformed { at: at.to_owned(), message: message.into() }
    }

    fn unfit(at: &str, message: impl Into<String>) -> Self {
        Self::Unfit { at: at.to_owned(), message: message.into() }
    }
}

/// The object after the patch.
pub fn strategic(object: &Value, patch: &Value, ty: &TypeRef) -> Result<Value, Error> {
    let Value::Object(patch) = patch else {
        return Err(Error::malformed("", "invalid JSON document"));
    };
    let object = object.as_object().cloned().unwrap_or_default();
    merge_map(object, patch.clone(), Some(ty), "").map(Value::Object)
}

type Object = Map<String, Value>;

/// The type of a field, if it is known.
fn field_type(ty: Option<&TypeRef>, name: &str) -> Option<TypeRef> {
    let ty = ty?;
    match &ty.node().shape {
        Shape::Struct(shape) => shape.fields.get(name).map(|field| ty.at(field.node)),
        Shape::Map { value, .. } => Some(ty.at(*value)),
        _ => None,
    }
}

pub(crate) fn merge_map(
    mut original: Object,
    mut patch: Object,
    ty: Option<&TypeRef>,
    at: &str,
) -> Result<Object, Error> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Object::new()),
            _ => Err(unknown_directive(at, &directive)),
        };
    }
    retain_keys(&mut original, &mut patch, at)?;
    element_orders(&mut original, &mut patch, ty, at)?;
    for (name, value) in patch {
        if let Some(name) = name.strip_prefix(DELETE_PREFIX) {
            let at = child(at, name);
            let Value::Array(gone) = value else {
                return Err(Error::malformed(&at, "invalid patch format of primitive list"));
            };
            if let Some(Value::Array(items)) = original.get_mut(name) {
                lists::delete_from(items, &gone, &at)?;
            }
            continue;
        }
        if value.is_null() {
            original.remove(&name);
            continue;
        }
        let below = child(at, &name);
        let merged = match (original.remove(&name), value) {
            (Some(Value::Object(original)), Value::Object(patch)) => {
                let ty = field_type(ty, &name);
                if ty.as_ref().is_some_and(is_replaced) {
                    Some(Value::Object(patch))
                } else {
                    Some(Value::Object(merge_map(original, patch, ty.as_ref(), &below)?))
                }
            }
            (Some(Value::Array(original)), Value::Array(patch)) => {
                let ty = field_type(ty, &name);
                Some(Value::Array(lists::merge(original, patch, ty.as_ref(), &below)?))
            }
            (Some(Value::Object(_) | Value::Array(_)) | None, mut value) => {
                discard_nulls(&mut value);
                without_directives(value)
            }
            (Some(_), mut value) => {
                discard_nulls(&mut value);
                without_directives(value)
            }
        };
        if let Some(merged) = merged {
            original.insert(name, merged);
        }
    }
    Ok(original)
}

/// The few structs that a patch replaces whole, as a disruption budget's selector.
fn is_replaced(ty: &TypeRef) -> bool {
    matches!(&ty.node().shape, Shape::Struct(shape) if shape.replace)
}

fn unknown_directive(at: &str, directive: &Value) -> Error {
    let shown = directive.as_str().map_or_else(|| directive.to_string(), go_quote);
    Error::unfit(at, format!("unknown patch type: {shown}"))
}

fn retain_keys(original: &mut Object, patch: &mut Object, at: &str) -> Result<(), Error> {
    let Some(list) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let malformed = || Error::malformed(at, "invalid patch format of retainKeys");
    let Value::Array(list) = list else { return Err(malformed()) };
    let kept: BTreeSet<&str> = list.iter().filter_map(Value::as_str).collect();
    let strays = patch.iter().any(|(name, value)| {
        !value.is_null()
            && !name.starts_with(DELETE_PREFIX)
            && !name.starts_with(ORDER_PREFIX)
            && !kept.contains(name.as_str())
    });
    if strays {
        return Err(malformed());
    }
    original.retain(|name, _| kept.contains(name.as_str()));
    Ok(())
}

/// Merges and orders each list that the patch names the order of, and takes it out of the patch.
fn element_orders(
    original: &mut Object,
    patch: &mut Object,
    ty: Option<&TypeRef>,
    at: &str,
) -> Result<(), Error> {
    let orders: Vec<String> =
        patch.keys().filter(|k| k.starts_with(ORDER_PREFIX)).cloned().collect();
    for directive in orders {
        let order = patch.remove(&directive).unwrap_or_default();
        let name = &directive[ORDER_PREFIX.len()..];
        let below = child(at, name);
        let malformed = || Error::malformed(&below, "invalid patch format of setElementOrder list");
        let Value::Array(order) = order else { return Err(malformed()) };
        let list = |value: Option<Value>| match value {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(malformed()),
        };
        let ours = list(original.get(name).cloned())?;
        let theirs = list(patch.remove(name))?;
        let ty = field_type(ty, name);
        if let Some(merged) = lists::ordered(ours, theirs, &order, ty.as_ref(), &below)? {
            original.insert(name.to_owned(), Value::Array(merged));
        }
    }
    Ok(())
}

/// What a new field is made of: a null in it says that there is nothing.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(discard_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// The value without objects that are directives.
pub(crate) fn without_directives(value: Value) -> Option<Value> {
    Some(match value {
        Value::Object(fields) => {
            if fields.contains_key(DIRECTIVE) {
                return None;
            }
            let kept =
                fields.into_iter().filter_map(|(name, v)| Some((name, without_directives(v)?)));
            Value::Object(kept.collect())
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().filter_map(without_directives).collect())
        }
        scalar => scalar,
    })
}

#[cfg(test)]
mod tests;
