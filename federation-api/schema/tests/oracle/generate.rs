//! Cases made from types: small alphabets, so that keys meet.

use federation_schema::model::{ListTopology, Shape, StringKind, TypeRef};
use serde_json::{Map, Value, json};

/// Numbers that are the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % most as u64).expect("a small number")
    }

    /// True in `of` cases out of 100.
    pub(crate) fn chance(&mut self, of: usize) -> bool {
        self.below(100) < of
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// The fields that make interesting objects; all others would only dilute them.
const FIELDS: &[&str] = &[
    "metadata",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "spec",
    "template",
    "replicas",
    "selector",
    "matchLabels",
    "containers",
    "initContainers",
    "name",
    "image",
    "args",
    "env",
    "value",
    "valueFrom",
    "fieldRef",
    "fieldPath",
    "ports",
    "containerPort",
    "protocol",
    "port",
    "targetPort",
    "nodePort",
    "resources",
    "limits",
    "requests",
    "volumes",
    "emptyDir",
    "hostPath",
    "path",
    "volumeMounts",
    "mountPath",
    "strategy",
    "type",
    "rollingUpdate",
    "maxSurge",
    "tolerations",
    "key",
    "operator",
    "nodeSelector",
    "imagePullSecrets",
    "data",
    "clusterIP",
    "externalIPs",
    "loadBalancerSourceRanges",
    "topologySpreadConstraints",
    "topologyKey",
    "whenUnsatisfiable",
    "maxSkew",
    "status",
    "conditions",
    "uid",
    "apiVersion",
    "kind",
    "secret",
    "medium",
    "hostAliases",
    "ip",
    "hostnames",
    "securityContext",
    "capabilities",
    "add",
];

/// An object of a type.
pub(crate) fn object(dice: &mut Dice, ty: &TypeRef, api_version: &str, kind: &str) -> Value {
    let mut out = value(dice, ty, 0);
    out["apiVersion"] = json!(api_version);
    out["kind"] = json!(kind);
    if !out["metadata"].is_object() {
        out["metadata"] = json!({});
    }
    out["metadata"]["name"] = json!("web");
    out
}

pub(crate) fn value(dice: &mut Dice, ty: &TypeRef, depth: usize) -> Value {
    match &ty.node().shape {
        Shape::Any => json!({"x": dice.below(2)}),
        Shape::Boolean => json!(dice.chance(50)),
        Shape::Integer { .. } | Shape::Number => json!(dice.below(3) + 1),
        Shape::String(StringKind::Plain) => json!(dice.pick(&["a", "b", "c"])),
        Shape::String(StringKind::Bytes) => json!(dice.pick(&["YQ==", "Yg=="])),
        Shape::String(_) => json!("2026-01-01T00:00:00Z"),
        Shape::Quantity => json!(dice.pick(&["1", "2"])),
        Shape::IntOrString => {
            if dice.chance(50) {
                json!(1)
            } else {
                json!("a")
            }
        }
        Shape::Map { value: node, .. } => {
            let mut out = Map::new();
            for key in ["a", "b", "c"] {
                if dice.chance(40) {
                    out.insert(key.to_owned(), value(dice, &ty.at(*node), depth + 1));
                }
            }
            Value::Object(out)
        }
        Shape::List { item, .. } => {
            let count = if depth > 9 { 0 } else { dice.below(4) };
            let mut items: Vec<Value> = Vec::new();
            for _ in 0..count {
                let item = self::item(dice, ty, &ty.at(*item), depth);
                if !items.iter().any(|other| same_key(ty, other, &item)) {
                    items.push(item);
                }
            }
            Value::Array(items)
        }
        Shape::Struct(shape) => {
            let mut out = Map::new();
            for (name, field) in &shape.fields {
                let top = depth == 0 && &**name != "status";
                let often = if top { 90 } else { 35 };
                if FIELDS.contains(&&**name) && depth < 12 && dice.chance(often) {
                    out.insert(name.to_string(), value(dice, &ty.at(field.node), depth + 1));
                }
            }
            Value::Object(out)
        }
    }
}

/// The keys that tell items apart: of ownership, and of patches.
pub(crate) fn keys(list: &TypeRef) -> Vec<String> {
    let Shape::List { topology, patch, .. } = &list.node().shape else { return Vec::new() };
    let mut keys: Vec<String> = patch.merge_key.iter().map(ToString::to_string).collect();
    if let ListTopology::Map { keys: more } = topology {
        keys.extend(more.iter().map(ToString::to_string));
    }
    keys.sort();
    keys.dedup();
    keys
}

fn item(dice: &mut Dice, list: &TypeRef, item: &TypeRef, depth: usize) -> Value {
    let mut out = value(dice, item, depth + 1);
    if let (Value::Object(fields), Shape::Struct(shape)) = (&mut out, &item.node().shape) {
        for key in keys(list) {
            let Some(field) = shape.fields.get(key.as_str()) else { continue };
            let patch_key = matches!(&list.node().shape, Shape::List { patch, .. } if patch.merge_key.as_deref() == Some(&key));
            if field.default.is_some() && !patch_key && dice.chance(50) {
                fields.remove(&key);
                continue;
            }
            let made = match field.default.as_ref() {
                Some(default) if dice.chance(60) => default.clone(),
                Some(Value::String(default)) if default == "TCP" => json!("UDP"),
                _ => value(dice, &item.at(field.node), depth + 1),
            };
            fields.insert(key, made);
        }
    }
    out
}

/// Whether two items of a list would be one: then a list of both is no valid object.
fn same_key(list: &TypeRef, a: &Value, b: &Value) -> bool {
    let Shape::List { item, topology, patch } = &list.node().shape else { return false };
    let item = list.at(*item);
    let of = |value: &Value, key: &str| {
        value.get(key).cloned().or_else(|| match &item.node().shape {
            Shape::Struct(shape) => shape.fields.get(key)?.default.clone(),
            _ => None,
        })
    };
    let by_patch = patch.merge_key.as_ref().is_some_and(|key| a.get(&**key) == b.get(&**key));
    match topology {
        ListTopology::Map { keys } => keys.iter().all(|key| of(a, key) == of(b, key)) || by_patch,
        ListTopology::Set => a == b,
        ListTopology::Atomic => by_patch || (patch.merge && a == b),
    }
}

/// A strategic merge patch for objects of a type.
pub(crate) fn patch(dice: &mut Dice, ty: &TypeRef, live: &Value, depth: usize) -> Value {
    match (&ty.node().shape, live) {
        (Shape::Struct(shape), Value::Object(fields)) => {
            let mut out = Map::new();
            let odds = if depth == 0 { 0 } else { dice.below(100) };
            if odds > 97 {
                out.insert("$patch".to_owned(), json!(dice.pick(&["replace", "delete", "grow"])));
            }
            for (name, field) in &shape.fields {
                if !FIELDS.contains(&&**name) || depth > 12 {
                    continue;
                }
                let below = ty.at(field.node);
                match fields.get(&**name) {
                    _ if depth > 0 && dice.chance(8) => {
                        out.insert(name.to_string(), Value::Null);
                    }
                    Some(live) if depth < 3 || dice.chance(50) => {
                        list_directives(dice, &below, name, live, &mut out);
                        let mut made = patch(dice, &below, live, depth + 1);
                        // What is added and deleted at once depends on the order of a map there.
                        let gone = out
                            .get(&format!("$deleteFromPrimitiveList/{name}"))
                            .and_then(Value::as_array);
                        if let (Some(gone), Value::Array(items)) = (gone, &mut made) {
                            items.retain(|item| !gone.contains(item));
                        }
                        out.insert(name.to_string(), made);
                    }
                    None if dice.chance(15) => {
                        out.insert(name.to_string(), value(dice, &below, depth + 1));
                    }
                    _ => {}
                }
            }
            if (90..=93).contains(&odds) {
                let mut kept: Vec<Value> =
                    out.keys().filter(|k| !k.starts_with('$')).map(|k| json!(k)).collect();
                if odds == 93 {
                    kept.pop();
                }
                out.insert("$retainKeys".to_owned(), Value::Array(kept));
            }
            Value::Object(out)
        }
        (Shape::Map { value: node, .. }, Value::Object(_)) => {
            let mut out = Map::new();
            for key in ["a", "b", "c"] {
                match dice.below(5) {
                    0 => drop(out.insert(key.to_owned(), Value::Null)),
                    1 => drop(out.insert(key.to_owned(), value(dice, &ty.at(*node), depth + 1))),
                    _ => {}
                }
            }
            Value::Object(out)
        }
        (Shape::List { item, patch: strategy, .. }, Value::Array(items)) => {
            let mut out: Vec<Value> = Vec::new();
            let by = strategy.merge_key.as_deref();
            for live in items {
                let Some(key) = by else { continue };
                let mut one = match dice.below(5) {
                    0 => json!({"$patch": "delete"}),
                    1 | 2 => patch(dice, &ty.at(*item), live, depth + 1),
                    _ => continue,
                };
                if dice.chance(99) {
                    one[key] = live[key].clone();
                }
                out.push(one);
            }
            if let Value::Array(more) = value(dice, ty, depth + 1) {
                for one in more {
                    let fresh =
                        by.is_none_or(|key| !out.iter().any(|o| o.get(key) == one.get(key)));
                    if fresh && dice.chance(50) {
                        out.push(one);
                    }
                }
            }
            if by.is_some() && dice.chance(3) {
                out.push(json!({"$patch": "replace"}));
            }
            Value::Array(out)
        }
        _ => value(dice, ty, depth),
    }
}

fn list_directives(
    dice: &mut Dice,
    ty: &TypeRef,
    name: &str,
    live: &Value,
    out: &mut Map<String, Value>,
) {
    let (Shape::List { patch, .. }, Value::Array(items)) = (&ty.node().shape, live) else { return };
    if !patch.merge {
        return;
    }
    if patch.merge_key.is_none() && dice.chance(30) {
        let gone: Vec<Value> = items.iter().filter(|_| dice.chance(50)).cloned().collect();
        out.insert(format!("$deleteFromPrimitiveList/{name}"), Value::Array(gone));
    }
}

/// Adds the directive that orders a list to a patch that has the list, now and then a wrong one.
pub(crate) fn order(dice: &mut Dice, ty: &TypeRef, patch: &mut Value, live: &Value) {
    match (&ty.node().shape, patch) {
        (Shape::Struct(shape), Value::Object(fields)) => {
            if fields.contains_key("$patch") {
                return;
            }
            for (name, field) in &shape.fields {
                let below = ty.at(field.node);
                let gone = fields.get(&format!("$deleteFromPrimitiveList/{name}")).cloned();
                let Some(value) = fields.get_mut(&**name) else { continue };
                order(dice, &below, value, &live[&**name]);
                let Shape::List { patch: strategy, .. } = &below.node().shape else { continue };
                let (true, Value::Array(items)) = (strategy.merge && dice.chance(40), &*value)
                else {
                    continue;
                };
                let key = strategy.merge_key.as_deref();
                // With a deletion and a new item at once, they write the new one over the live list by whose order they
                // then go.
                let deletes = items.iter().any(|i| i["$patch"] == "delete");
                let known = |i: &Value| key.is_some_and(|k| theirs_has(&live[&**name], k, &i[k]));
                if deletes && items.iter().any(|i| i.get("$patch").is_none() && !known(i)) {
                    continue;
                }
                let mut listed: Vec<Value> = Vec::new();
                let theirs = live[&**name].as_array().cloned().unwrap_or_default();
                for item in items.iter().filter(|i| i.get("$patch").is_none()).chain(&theirs) {
                    let entry = match key {
                        Some(key) => match item.get(key) {
                            Some(value) => json!({key: value}),
                            None => continue,
                        },
                        None => item.clone(),
                    };
                    let deleted =
                        gone.as_ref().and_then(Value::as_array).is_some_and(|g| g.contains(&entry));
                    if !listed.contains(&entry) && !deleted {
                        listed.push(entry);
                    }
                }
                if dice.chance(5) {
                    listed.pop();
                }
                fields.insert(format!("$setElementOrder/{name}"), Value::Array(listed));
            }
        }
        (Shape::List { item, patch: strategy, .. }, Value::Array(items)) => {
            let Some(key) = strategy.merge_key.as_deref() else { return };
            for one in items {
                let theirs =
                    live.as_array().into_iter().flatten().find(|l| l.get(key) == one.get(key));
                order(dice, &ty.at(*item), one, theirs.unwrap_or(&Value::Null));
            }
        }
        _ => {}
    }
}

fn theirs_has(live: &Value, key: &str, value: &Value) -> bool {
    live.as_array().into_iter().flatten().any(|item| item.get(key) == Some(value))
}
