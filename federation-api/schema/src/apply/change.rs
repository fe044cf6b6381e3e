//! Merging an applied configuration into an object, and taking fields out of one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::{
    element::{PathElement, show},
    fieldset::FieldSet,
    schema::{Atom, ListAtom, MapAtom, Ty, atom},
};
use crate::model::Shape;

/// `live` with what `config` says. The items of an associative list follow the order of `config` where it has any.
pub(crate) fn merge(live: &Value, config: &Value, ty: &Ty) -> Option<Value> {
    merge_at(Some(live), Some(config), ty)
}

fn merge_at(live: Option<&Value>, config: Option<&Value>, ty: &Ty) -> Option<Value> {
    let kind = match (live, config) {
        (live, None) => atom(ty, live),
        (_, config) => atom(ty, config),
    };
    let either = || config.or(live).cloned();
    match kind {
        Atom::Leaf => either(),
        Atom::Map(map) => {
            let (a, b) = (live.and_then(Value::as_object), config.and_then(Value::as_object));
            if a.is_none_or(Map::is_empty) && b.is_none_or(Map::is_empty) {
                return either();
            }
            merge_maps(&map, a, b)
        }
        Atom::List(list) => {
            let (a, b) = (live.and_then(Value::as_array), config.and_then(Value::as_array));
            let (a, b) = (a.map_or(&[][..], Vec::as_slice), b.map_or(&[][..], Vec::as_slice));
            if a.is_empty() && b.is_empty() {
                return either();
            }
            match (list.elements(a), list.elements(b)) {
                (Ok(ea), Ok(eb)) => merge_lists(&list, (a, &ea), (b, &eb)),
                _ => either(),
            }
        }
    }
}

fn merge_maps(
    map: &MapAtom,
    live: Option<&Map<String, Value>>,
    config: Option<&Map<String, Value>>,
) -> Option<Value> {
    let mut out = Map::new();
    let names = live.into_iter().flatten().chain(config.into_iter().flatten());
    let names: BTreeSet<&String> = names.map(|(name, _)| name).collect();
    for name in names {
        let (ty, _) = map.field(name);
        let merged =
            merge_at(live.and_then(|m| m.get(name)), config.and_then(|m| m.get(name)), &ty);
        if let Some(merged) = merged {
            out.insert(name.clone(), merged);
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

/// Items that only the live list has stay before the shared item that they stood before.
fn merge_lists(
    list: &ListAtom,
    live: (&[Value], &[PathElement]),
    config: (&[Value], &[PathElement]),
) -> Option<Value> {
    let mut live_by: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (item, element) in live.0.iter().zip(live.1) {
        // Live items that cannot be told apart are not merged into: the applied one replaces them.
        live_by.entry(element).and_modify(|v| *v = None).or_insert(Some(item));
    }
    let config_by: BTreeMap<&PathElement, &Value> = config.1.iter().zip(config.0).collect();
    let mut shared: VecDeque<&PathElement> =
        config.1.iter().filter(|e| live_by.contains_key(e)).collect();
    let mut next_shared = shared.pop_front();
    let mut taken: BTreeSet<&PathElement> = BTreeSet::new();
    let mut out = Vec::new();
    let both = |element: &PathElement| {
        let live_item = live_by.get(element).copied().flatten();
        merge_at(live_item, config_by.get(element).copied(), &list.item)
    };
    let (mut l, mut c) = (0, 0);
    while l < live.1.len() || c < config.1.len() {
        if let (Some(mine), Some(theirs)) = (live.1.get(l), config.1.get(c)) {
            if mine == theirs {
                taken.insert(mine);
                out.extend(both(mine));
                (l, c) = (l + 1, c + 1);
                next_shared = shared.pop_front();
                continue;
            }
            if config_by.contains_key(mine) && next_shared.is_some_and(|next| next != mine) {
                l += 1;
                continue;
            }
        }
        if let Some(mine) = live.1.get(l) {
            if !config_by.contains_key(mine) {
                out.extend(merge_at(Some(&live.0[l]), None, &list.item));
                l += 1;
                continue;
            }
            if taken.contains(mine) {
                l += 1;
            }
        }
        if let Some(theirs) = config.1.get(c) {
            taken.insert(theirs);
            out.extend(both(theirs));
            c += 1;
            if next_shared == Some(theirs) {
                next_shared = shared.pop_front();
            }
        }
    }
    (!out.is_empty()).then_some(Value::Array(out))
}

/// What stands where everything that a field held was taken out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emptied {
    /// Null: for comparing, since the field itself was not taken.
    Null,
    /// Nothing: for storing.
    Gone,
}

/// `value` without the fields of `gone`.
pub(crate) fn remove(value: &Value, gone: &FieldSet, ty: &Ty, emptied: Emptied) -> Value {
    match remove_at(value, gone, ty, emptied) {
        Some(Value::Null) | None => Value::Object(Map::new()),
        Some(left) => left,
    }
}

fn remove_at(value: &Value, gone: &FieldSet, ty: &Ty, emptied: Emptied) -> Option<Value> {
    let nothing = || (emptied == Emptied::Null).then_some(Value::Null);
    match atom(ty, Some(value)) {
        Atom::Leaf => match value {
            // What is below an atomic list or map is nobody's: a set that says otherwise takes the whole.
            Value::Array(_) | Value::Object(_) => nothing(),
            scalar => Some(scalar.clone()),
        },
        Atom::Map(map) => {
            let mut out = Map::new();
            // A field that was emptied still holds up what it stands in.
            let mut holds = false;
            for (name, entry) in value.as_object().into_iter().flatten() {
                let element = PathElement::field(name);
                if gone.members.contains(&element) {
                    continue;
                }
                let kept = match gone.below(&element) {
                    Some(below) if !below.is_empty() => {
                        remove_at(entry, below, &map.field(name).0, emptied)
                    }
                    _ => Some(entry.clone()),
                };
                match kept {
                    Some(kept) => drop(out.insert(name.clone(), kept)),
                    None => holds = true,
                }
            }
            if out.is_empty() && !holds { nothing() } else { Some(Value::Object(out)) }
        }
        Atom::List(list) => {
            let mut out = Vec::new();
            for item in value.as_array().into_iter().flatten() {
                let Ok(element) = list.element(item) else {
                    out.push(item.clone());
                    continue;
                };
                if gone.members.contains(&element) {
                    continue;
                }
                match gone.below(&element) {
                    Some(below) if !below.is_empty() => {
                        out.extend(remove_at(item, below, &list.item, emptied));
                    }
                    _ => out.push(item.clone()),
                }
            }
            if out.is_empty() { nothing() } else { Some(Value::Array(out)) }
        }
    }
}

/// The paths of what can only be replaced as a whole, and of what is null.
pub(crate) fn wholes(config: &Value, ty: &Ty) -> Vec<String> {
    let mut found = Vec::new();
    wholes_at(config, ty, &mut Vec::new(), &mut found);
    found
}

fn wholes_at(config: &Value, ty: &Ty, path: &mut Vec<PathElement>, found: &mut Vec<String>) {
    match atom(ty, Some(config)) {
        _ if config.is_null() => found.push(show(path)),
        Atom::Leaf => {
            if config.is_array() || config.is_object() {
                found.push(show(path));
            }
        }
        Atom::Map(map) => {
            for (name, entry) in config.as_object().into_iter().flatten() {
                path.push(PathElement::field(name));
                wholes_at(entry, &map.field(name).0, path, found);
                path.pop();
            }
        }
        Atom::List(list) => {
            for item in config.as_array().into_iter().flatten() {
                if let Ok(element) = list.element(item) {
                    path.push(element);
                    wholes_at(item, &list.item, path, found);
                    path.pop();
                }
            }
        }
    }
}

/// Refuses a configuration that does not fit its type: unknown fields, other JSON types, items that cannot be told
/// apart.
pub(crate) fn check(config: &Value, ty: &Ty) -> Result<(), String> {
    check_at(config, ty, &mut Vec::new())
}

fn check_at(config: &Value, ty: &Ty, path: &mut Vec<PathElement>) -> Result<(), String> {
    if config.is_null() {
        return Ok(());
    }
    let wrong = |path: &[PathElement], want: &str| {
        Err(format!("{}: expected {want}, got {config}", show(path)))
    };
    if let Some(ty) = ty {
        match &ty.node().shape {
            Shape::Any => {}
            Shape::Struct(_) | Shape::Map { .. } if !config.is_object() => {
                return wrong(path, "map");
            }
            Shape::List { .. } if !config.is_array() => return wrong(path, "list"),
            Shape::Boolean if !config.is_boolean() => return wrong(path, "boolean"),
            Shape::Integer { .. } | Shape::Number if !config.is_number() => {
                return wrong(path, "numeric (int or float)");
            }
            Shape::String(_) if !config.is_string() => return wrong(path, "string"),
            Shape::Quantity | Shape::IntOrString if !config.is_string() && !config.is_number() => {
                return wrong(path, "string or number");
            }
            _ => {}
        }
    }
    match atom(ty, Some(config)) {
        Atom::Leaf => {}
        Atom::Map(map) => {
            for (name, entry) in config.as_object().into_iter().flatten() {
                path.push(PathElement::field(name));
                if !map.declares(name) {
                    return Err(format!("{}: field not declared in schema", show(path)));
                }
                check_at(entry, &map.field(name).0, path)?;
                path.pop();
            }
        }
        Atom::List(list) => {
            let items = config.as_array().map_or(&[][..], Vec::as_slice);
            let elements = list.elements(items).map_err(|e| format!("{}: {e}", show(path)))?;
            let mut seen = BTreeSet::new();
            for (item, element) in items.iter().zip(elements) {
                if !seen.insert(element.clone()) {
                    return Err(format!("{}: duplicate entries for key {element}", show(path)));
                }
                path.push(element);
                check_at(item, &list.item, path)?;
                path.pop();
            }
        }
    }
    Ok(())
}
