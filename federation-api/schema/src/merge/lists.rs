//! Lists in a strategic merge patch.

use serde_json::Value;

use super::{DIRECTIVE, Error, merge_map, unknown_directive, without_directives};
use crate::model::{PatchStrategy, Shape, TypeRef};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scalars,
    Objects,
}

/// How a list merges, and of what its items are.
fn strategy(ty: Option<&TypeRef>) -> (PatchStrategy, Option<TypeRef>) {
    match ty.map(|ty| (&ty.node().shape, ty)) {
        Some((Shape::List { item, patch, .. }, ty)) => (patch.clone(), Some(ty.at(*item))),
        _ => (PatchStrategy::default(), None),
    }
}

/// All items are scalars, or all are objects.
fn kind_of<'a>(items: impl Iterator<Item = &'a Value>, at: &str) -> Result<Kind, Error> {
    let mut kind = None;
    for item in items {
        let this = match item {
            Value::Array(_) => return Err(Error::unfit(at, "lists of lists are not supported")),
            Value::Null => return Err(Error::unfit(at, "lists with null items are not supported")),
            Value::Object(_) => Kind::Objects,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => Kind::Scalars,
        };
        if kind.is_some_and(|kind| kind != this) {
            return Err(Error::unfit(at, "the items of a list must be of one type"));
        }
        kind = Some(this);
    }
    Ok(kind.unwrap_or(Kind::Scalars))
}

/// Takes values out of a list of scalars.
pub(super) fn delete_from(items: &mut Vec<Value>, gone: &[Value], at: &str) -> Result<(), Error> {
    if kind_of(items.iter().chain(gone), at)? == Kind::Objects {
        return Err(Error::malformed(at, "invalid patch format of primitive list"));
    }
    items.retain(|item| !gone.contains(item));
    Ok(())
}

/// One list with the patch of it.
pub(super) fn merge(
    original: Vec<Value>,
    patch: Vec<Value>,
    ty: Option<&TypeRef>,
    at: &str,
) -> Result<Vec<Value>, Error> {
    let (strategy, item) = strategy(ty);
    if !strategy.merge {
        return Ok(patch);
    }
    merge_items(original, patch, strategy.merge_key.as_deref(), item.as_ref(), at)
}

fn merge_items(
    original: Vec<Value>,
    patch: Vec<Value>,
    merge_key: Option<&str>,
    item: Option<&TypeRef>,
    at: &str,
) -> Result<Vec<Value>, Error> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if kind_of(original.iter().chain(&patch), at)? == Kind::Scalars {
        let mut merged: Vec<Value> = Vec::new();
        for value in original.iter().chain(&patch) {
            if !merged.contains(value) {
                merged.push(value.clone());
            }
        }
        let (first, rest): (Vec<_>, Vec<_>) = merged.into_iter().partition(|v| patch.contains(v));
        return Ok(interleave(first, rest, &patch, &original, None));
    }
    let Some(key) = merge_key else {
        return Err(Error::unfit(at, "cannot merge lists without merge key"));
    };
    let (original, patch) = directives(original, patch, key, at)?;
    let order = original.clone();
    let mut merged = original;
    for theirs in &patch {
        let value = key_value(theirs, key, at)?;
        match merged.iter().position(|ours| ours.get(key) == Some(value)) {
            Some(place) => {
                let ours = std::mem::take(&mut merged[place]);
                let below = format!("{at}[{key}={value}]");
                merged[place] = merge_objects(ours, theirs.clone(), item, &below)?;
            }
            None => merged.push(theirs.clone()),
        }
    }
    let (first, rest) = partition(merged, &patch, key, at)?;
    Ok(interleave(first, rest, &patch, &order, Some(key)))
}

fn merge_objects(
    ours: Value,
    theirs: Value,
    item: Option<&TypeRef>,
    at: &str,
) -> Result<Value, Error> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            merge_map(ours, theirs, item, at).map(Value::Object)
        }
        (_, theirs) => Ok(theirs),
    }
}

fn key_value<'a>(item: &'a Value, key: &str, at: &str) -> Result<&'a Value, Error> {
    item.get(key).ok_or_else(|| {
        Error::unfit(at, format!("map: {item} does not contain declared merge key: {key}"))
    })
}

/// Carries out the items that are directives; what is left of the list, and of the patch.
fn directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
    at: &str,
) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let (mut rest, mut replace) = (Vec::new(), false);
    for item in patch {
        match item.get(DIRECTIVE) {
            None => rest.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let value = key_value(&item, key, at)?;
                    original.retain(|ours| ours.get(key) != Some(value));
                }
                Some("replace") => replace = true,
                Some("merge") => {
                    return Err(Error::unfit(
                        at,
                        "merging lists cannot yet be specified in the patch",
                    ));
                }
                _ => return Err(unknown_directive(at, directive)),
            },
        }
    }
    Ok(if replace { (rest, Vec::new()) } else { (original, rest) })
}

/// Those whose key stands in `by`, and the others.
fn partition(
    items: Vec<Value>,
    by: &[Value],
    key: &str,
    at: &str,
) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for item in items {
        let value = key_value(&item, key, at)?;
        let named = by.iter().any(|b| b.get(key) == Some(value));
        if named { first.push(item) } else { rest.push(item) }
    }
    Ok((first, rest))
}

/// Items of the patch in the patch's order, the others in the live list's order, each of the others before the first
/// item of the patch that it stood before in the live list.
fn interleave(
    mut patched: Vec<Value>,
    mut others: Vec<Value>,
    patch_order: &[Value],
    live_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let place = |order: &[Value], item: &Value| match key {
        Some(key) => order.iter().position(|o| o.get(key) == item.get(key)),
        None => order.iter().position(|o| o == item),
    };
    patched.sort_by_key(|item| place(patch_order, item).unwrap_or(usize::MAX));
    others.sort_by_key(|item| place(live_order, item).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(patched.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in patched {
        let here = place(live_order, &item);
        while let Some(other) = others.peek() {
            match (place(live_order, other), here) {
                (Some(other), Some(here)) if other < here => out.extend(others.next()),
                _ => break,
            }
        }
        out.push(item);
    }
    out.extend(others);
    out
}

/// A list whose order the patch gives; `None` when there is no list.
pub(super) fn ordered(
    original: Option<Vec<Value>>,
    patch: Option<Vec<Value>>,
    order: &[Value],
    ty: Option<&TypeRef>,
    at: &str,
) -> Result<Option<Vec<Value>>, Error> {
    let (strategy, _) = strategy(ty);
    let key = strategy.merge_key.as_deref();
    check_order(patch.as_deref().unwrap_or_default(), order, key, at)?;
    let live = original.clone().unwrap_or_default();
    let merged = match (original, patch) {
        (None, None) => return Ok(None),
        (Some(original), None) => original,
        (None, Some(patch)) => match without_directives(Value::Array(patch)) {
            Some(Value::Array(items)) => items,
            _ => return Ok(None),
        },
        (Some(original), Some(patch)) => merge(original, patch, ty, at)?,
    };
    let (first, rest) = match key {
        Some(key) => partition(merged, order, key, at)?,
        None => merged.into_iter().partition(|item| order.contains(item)),
    };
    Ok(Some(interleave(first, rest, order, &live, key)))
}

/// The items of the patch stand in the order list, in that order.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>, at: &str) -> Result<(), Error> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut left = order.iter();
    for item in patch {
        let directive = item.get(DIRECTIVE).and_then(Value::as_str);
        let found = match key {
            _ if directive == Some("delete") => true,
            // An item that replaces the list stands before the end of the order, or in nobody's.
            _ if directive.is_some() => left.len() > 0,
            Some(key) => {
                let value = key_value(item, key, at)?;
                left.any(|o| o.get(key) == Some(value))
            }
            None => left.any(|o| o == item),
        };
        if !found {
            let (patch, order) = (Value::from(patch), Value::from(order));
            let what = format!(
                "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
            );
            return Err(Error::unfit(at, what));
        }
    }
    Ok(())
}
