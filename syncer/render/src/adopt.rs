//! A copy made into a template again: what we wrote of it, as its user once wrote it (RULES 4.3).

use federation_types::names::FIELD_MANAGER;
use serde_json::{Map, Value, json};

use crate::template;

/// The template of a copy, from the fields that its member holds as written by us: what the member added by itself, be it
/// a default or an address, stays out. A copy without such a record is taken as it is.
pub fn template_of(live: &Value) -> Value {
    let managed = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let ours: Vec<&Map<String, Value>> = managed
        .into_iter()
        .flatten()
        .filter(|it| {
            let text = |name: &str| it.get(name).and_then(Value::as_str).unwrap_or_default();
            text("manager") == FIELD_MANAGER && text("subresource").is_empty()
        })
        .filter_map(|it| it.get("fieldsV1")?.as_object())
        .collect();
    if ours.is_empty() {
        return template::strip(live);
    }
    let mut written = pick(live, &ours);
    for name in ["apiVersion", "kind"] {
        written[name] = live[name].clone();
    }
    if !written["metadata"].is_object() {
        written["metadata"] = json!({});
    }
    for name in ["name", "namespace"] {
        if let Some(value) = live["metadata"].get(name) {
            written["metadata"][name] = value.clone();
        }
    }
    template::strip(&written)
}

/// The part of a value that any of the field sets names.
fn pick(value: &Value, sets: &[&Map<String, Value>]) -> Value {
    if sets.iter().any(|it| it.keys().all(|key| key == ".")) {
        return value.clone();
    }
    match value {
        Value::Object(fields) => {
            let picked = fields.iter().filter_map(|(name, value)| {
                let path = format!("f:{name}");
                let below = below(sets, |key| key == path);
                (!below.is_empty()).then(|| (name.clone(), pick(value, &below)))
            });
            Value::Object(picked.collect())
        }
        Value::Array(items) => {
            let picked = items.iter().enumerate().filter_map(|(at, item)| {
                let below = below(sets, |key| is_item(key, at, item));
                (!below.is_empty()).then(|| pick(item, &below))
            });
            Value::Array(picked.collect())
        }
        scalar => scalar.clone(),
    }
}

fn below<'a>(
    sets: &[&'a Map<String, Value>],
    is: impl Fn(&str) -> bool,
) -> Vec<&'a Map<String, Value>> {
    let entries = sets.iter().flat_map(|it| it.iter());
    entries.filter(|(key, _)| is(key)).filter_map(|(_, value)| value.as_object()).collect()
}

/// Whether a path element is about an element of a list: by its keys, its value or its place.
fn is_item(key: &str, at: usize, item: &Value) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    match key.split_once(':') {
        Some(("k", keys)) => parsed(keys).is_some_and(|keys| {
            keys.as_object().is_some_and(|it| it.iter().all(|(name, value)| item[name] == *value))
        }),
        Some(("v", value)) => parsed(value).as_ref() == Some(item),
        Some(("i", place)) => place.parse() == Ok(at),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_3_an_adopted_copy_is_what_we_wrote_and_not_what_the_member_added() {
        let live = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "9",
                "labels": {"app": "web", "archipel.dev/managed": "true", "theirs": "x"},
                "annotations": {"archipel.dev/copy-of": "hub//Service/shop/web/t"},
                "managedFields": [
                    {"manager": "archipel", "operation": "Apply", "fieldsV1": {
                        "f:metadata": {
                            "f:labels": {"f:app": {}, "f:archipel.dev/managed": {}},
                            "f:annotations": {"f:archipel.dev/copy-of": {}},
                        },
                        "f:spec": {
                            "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
                            "f:selector": {},
                            "f:loadBalancerSourceRanges": {"v:\"10.0.0.0/8\"": {}},
                        },
                    }},
                    {"manager": "kubectl", "operation": "Update", "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:theirs": {}}},
                    }},
                ],
            },
            "spec": {
                "clusterIP": "10.1.2.3", "type": "ClusterIP", "selector": {"app": "web"},
                "ports": [
                    {"port": 80, "protocol": "TCP", "nodePort": 31234, "targetPort": 80},
                    {"port": 81, "protocol": "TCP"},
                ],
                "loadBalancerSourceRanges": ["10.0.0.0/8", "11.0.0.0/8"],
            },
            "status": {"loadBalancer": {}},
        });
        assert_eq!(
            template_of(&live),
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
                "spec": {
                    "selector": {"app": "web"}, "ports": [{"port": 80}],
                    "loadBalancerSourceRanges": ["10.0.0.0/8"],
                },
            })
        );
    }

    #[test]
    fn a_copy_without_a_record_is_taken_as_it_is() {
        let live = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "shop", "uid": "u"}, "data": {"a": "b"},
        });
        let expected = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "shop"}, "data": {"a": "b"},
        });
        assert_eq!(template_of(&live), expected);
    }
}
