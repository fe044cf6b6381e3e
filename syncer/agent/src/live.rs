//! An object as a member shows it, read without its managed fields: of those, two facts are kept.

use std::{
    collections::hash_map::DefaultHasher,
    fmt,
    hash::{Hash as _, Hasher as _},
};

use federation_types::names::{FIELD_MANAGER, Gvk, ObjectKey};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// A live object.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveObject {
    /// Everything but `metadata.managedFields`.
    pub(crate) value: Value,
    /// Who else than us wrote the replicas through the scale subresource: an autoscaler (RULES 4.5).
    pub(crate) scaled_by: Option<String>,
    /// Where our fields stand as written by a plain create; they must become ours as applied before the first apply, or
    /// what a later manifest leaves out would stay.
    pub(crate) created_at: Option<usize>,
}

#[derive(Deserialize)]
struct ManagedEntry {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    subresource: String,
    #[serde(default, rename = "fieldsV1")]
    fields: Fields,
}

#[derive(Default, Deserialize)]
struct Fields {
    #[serde(default, rename = "f:spec")]
    spec: Option<IgnoredAny>,
}

impl LiveObject {
    pub(crate) fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn managed(&mut self, entries: &[ManagedEntry]) {
        self.scaled_by = entries
            .iter()
            .filter(|it| it.subresource == "scale" && !it.manager.starts_with("kubectl"))
            // The one field that this subresource writes is the number of replicas, wherever the kind has it.
            .find(|it| it.fields.spec.is_some())
            .map(|it| it.manager.clone());
        self.created_at = entries.iter().position(|it| {
            it.manager == FIELD_MANAGER && it.operation == "Update" && it.subresource.is_empty()
        });
    }

    fn text(&self, path: &str) -> &str {
        self.value.pointer(path).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// As a number, by which an older view of the object is told from a newer one; 0 where it is none.
    pub(crate) fn resource_version(&self) -> u64 {
        self.text("/metadata/resourceVersion").parse().unwrap_or(0)
    }

    pub(crate) fn key(&self, gvk: &Gvk) -> ObjectKey {
        ObjectKey {
            gvk: gvk.clone(),
            namespace: self.text("/metadata/namespace").into(),
            name: self.text("/metadata/name").into(),
        }
    }

    pub(crate) fn annotations(&self) -> Option<&Map<String, Value>> {
        self.value.pointer("/metadata/annotations")?.as_object()
    }

    pub(crate) fn is_terminating(&self) -> bool {
        self.value.pointer("/metadata/deletionTimestamp").is_some()
    }

    pub(crate) fn has_controller(&self) -> bool {
        self.value
            .pointer("/metadata/ownerReferences")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .any(|it| it.get("controller").and_then(Value::as_bool) == Some(true))
    }

    /// Changes when anything changes that could be ours: all but the status and the bookkeeping of the server.
    pub(crate) fn content_hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for field in ["labels", "annotations"] {
            self.value.get("metadata").and_then(|it| it.get(field)).hash(&mut hasher);
        }
        for (name, value) in self.value.as_object().into_iter().flatten() {
            if name != "metadata" && name != "status" {
                (name, value).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

impl<'de> Deserialize<'de> for LiveObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Top;
        impl<'de> Visitor<'de> for Top {
            type Value = LiveObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LiveObject, A::Error> {
                let mut live = LiveObject::default();
                let mut fields = Map::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "metadata" {
                        let (metadata, managed) = map.next_value_seed(Metadata)?;
                        live.managed(&managed);
                        fields.insert(name, Value::Object(metadata));
                    } else {
                        fields.insert(name, map.next_value()?);
                    }
                }
                live.value = Value::Object(fields);
                Ok(live)
            }
        }
        deserializer.deserialize_map(Top)
    }
}

struct Metadata;

impl<'de> DeserializeSeed<'de> for Metadata {
    type Value = (Map<String, Value>, Vec<ManagedEntry>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = (Map<String, Value>, Vec<ManagedEntry>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        let mut managed = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "managedFields" {
                managed = map.next_value::<Option<Vec<ManagedEntry>>>()?.unwrap_or_default();
            } else {
                fields.insert(name, map.next_value()?);
            }
        }
        Ok((fields, managed))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(status: i64, managed: &Value) -> LiveObject {
        let text = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "42",
                "managedFields": managed,
            },
            "spec": {"replicas": 2}, "status": {"replicas": status},
        });
        LiveObject::parse(&text.to_string()).expect("parses")
    }

    #[test]
    fn the_status_and_managed_fields_are_no_content() {
        let entry =
            json!([{"manager": "archipel", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]);
        let (one, two) = (live(1, &json!(null)), live(2, &entry));
        assert_eq!(one.content_hash(), two.content_hash());
        assert_eq!((two.resource_version(), two.uid()), (42, "u"));
        assert_eq!(two.value.pointer("/metadata/managedFields"), None);
    }

    #[test]
    fn rule_4_5_an_autoscaler_is_seen_to_own_the_replicas_and_kubectl_scale_is_not_one() {
        let scaled = |manager: &str| {
            json!([
                {"manager": "archipel", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": manager, "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            ])
        };
        let by = |manager: &str| live(1, &scaled(manager));
        assert_eq!(by("keda").scaled_by.as_deref(), Some("keda"));
        assert_eq!(by("kubectl-scale").scaled_by, None);
        assert_eq!(by("keda").created_at, Some(0));
    }
}
