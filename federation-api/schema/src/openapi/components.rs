//! The types of a document: those asked for and all that they refer to.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{CustomKind, Dialect, custom};
use crate::{
    catalogue::{Catalogue, Gvk},
    model::{Field, ListTopology, Node, NodeId, PatchStrategy, Shape, StringKind, StructShape},
};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// The types collected so far.
pub(super) struct Components<'c> {
    pub(super) catalogue: &'c Catalogue,
    pub(super) dialect: Dialect,
    schemas: BTreeMap<String, Value>,
    /// The names of kinds, built-in and custom.
    kinds: BTreeMap<Gvk, String>,
}

impl<'c> Components<'c> {
    pub(super) fn new(catalogue: &'c Catalogue, dialect: Dialect) -> Self {
        let mut components =
            Self { catalogue, dialect, schemas: BTreeMap::new(), kinds: BTreeMap::new() };
        // What requests and answers of every group-version are made of.
        for kind in ["DeleteOptions", "Status"] {
            components.add_kind(&Gvk::new("", "v1", kind));
        }
        let patch = json!({"type": "object"});
        components.schemas.insert(format!("{META}.Patch"), patch);
        components
    }

    pub(super) fn finish(self) -> Map<String, Value> {
        self.schemas.into_iter().collect()
    }

    /// A reference to a kind's type, if it has one.
    pub(super) fn kind(&mut self, gvk: &Gvk) -> Option<Value> {
        self.add_kind(gvk);
        let name = self.kinds.get(gvk)?;
        Some(json!({"$ref": self.dialect.reference(name)}))
    }

    /// A reference to one of the types that every group-version shares (`Status`, `Patch`).
    pub(super) fn meta(&self, kind: &str) -> Value {
        json!({"$ref": self.dialect.reference(&format!("{META}.{kind}"))})
    }

    pub(super) fn add_kind(&mut self, gvk: &Gvk) {
        if self.kinds.contains_key(gvk) {
            return;
        }
        let Some(found) = self.catalogue.type_of(gvk) else { return };
        let name = found.node().name.to_string();
        self.add(found.id);
        if let Some(schema) = self.schemas.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] =
                json!([{"group": gvk.group, "version": gvk.version, "kind": gvk.kind}]);
        }
        self.kinds.insert(gvk.clone(), name);
    }

    pub(super) fn add_custom(&mut self, kind: &CustomKind<'_>) {
        let metadata = self.catalogue.object_meta().id;
        self.add(metadata);
        let list = self.catalogue.type_named(&format!("{META}.ListMeta")).map(|t| t.id);
        if let Some(list) = list {
            self.add(list);
        }
        let name = custom::name(kind.group, kind.version, kind.kind);
        let list_name = custom::name(kind.group, kind.version, kind.list_kind);
        let schema = custom::schema(kind, self.dialect, self.meta("ObjectMeta"));
        let list = custom::list(kind, &self.dialect.reference(&name), &self.meta("ListMeta"));
        self.schemas.insert(name.clone(), schema);
        self.schemas.insert(list_name.clone(), list);
        self.kinds.insert(Gvk::new(kind.group, kind.version, kind.kind), name);
        self.kinds.insert(Gvk::new(kind.group, kind.version, kind.list_kind), list_name);
    }

    fn node(&self, id: NodeId) -> &'c Node {
        &self.catalogue.schema().nodes[id.0 as usize]
    }

    /// Adds a struct and what it refers to.
    fn add(&mut self, id: NodeId) {
        let node = self.node(id);
        let Shape::Struct(shape) = &node.shape else { return };
        if self.schemas.contains_key(&*node.name) {
            return;
        }
        // Before its fields: types refer to themselves.
        self.schemas.insert(node.name.to_string(), Value::Null);
        let mut schema = json!({"type": "object"});
        if !shape.fields.is_empty() {
            schema["properties"] = shape
                .fields
                .iter()
                .map(|(name, field)| (name.to_string(), self.field(field)))
                .collect();
        }
        let required: Vec<&str> =
            shape.fields.iter().filter(|(_, f)| f.required).map(|(name, _)| &**name).collect();
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        // A variant of a type is described where it stands, the type itself by its own node.
        let own =
            self.catalogue.type_named(&node.name).map_or(shape.atomic, |t| is_atomic(t.node()));
        if own {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        self.schemas.insert(node.name.to_string(), schema);
    }

    fn field(&mut self, field: &Field) -> Value {
        let mut schema = self.schema(field.node);
        if let Some(default) = &field.default {
            schema["default"] = default.clone();
        }
        schema
    }

    fn schema(&mut self, id: NodeId) -> Value {
        match &self.node(id).shape {
            // Nothing is said of the type, so that readers leave the value alone.
            Shape::Any => json!({"x-kubernetes-preserve-unknown-fields": true}),
            Shape::Boolean => json!({"type": "boolean"}),
            Shape::Integer { wide } => {
                json!({"type": "integer", "format": if *wide { "int64" } else { "int32" }})
            }
            Shape::Number => json!({"type": "number", "format": "double"}),
            Shape::String(StringKind::Bytes) => json!({"type": "string", "format": "byte"}),
            Shape::String(StringKind::Time) => self
                .scalar(&format!("{META}.Time"), json!({"type": "string", "format": "date-time"})),
            Shape::String(StringKind::MicroTime) => self.scalar(
                &format!("{META}.MicroTime"),
                json!({"type": "string", "format": "date-time"}),
            ),
            Shape::String(StringKind::Plain | StringKind::Duration) => json!({"type": "string"}),
            Shape::Quantity => {
                let v3 = json!({"oneOf": [{"type": "string"}, {"type": "number"}]});
                self.scalar(
                    QUANTITY,
                    if self.dialect == Dialect::V3 { v3 } else { json!({"type": "string"}) },
                )
            }
            Shape::IntOrString => {
                let v3 = json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]});
                let v2 = json!({"format": "int-or-string", "type": "string"});
                self.scalar(INT_OR_STRING, if self.dialect == Dialect::V3 { v3 } else { v2 })
            }
            Shape::List { item, topology, patch } => self.list(*item, topology, patch),
            Shape::Map { value, atomic } => {
                let mut schema =
                    json!({"type": "object", "additionalProperties": self.schema(*value)});
                if *atomic {
                    schema["x-kubernetes-map-type"] = "atomic".into();
                }
                schema
            }
            Shape::Struct(shape) => self.reference(id, shape),
        }
    }

    /// Readers know these scalars by their names.
    fn scalar(&mut self, name: &str, schema: Value) -> Value {
        self.schemas.entry(name.to_owned()).or_insert(schema);
        json!({"$ref": self.dialect.reference(name)})
    }

    fn list(&mut self, item: NodeId, topology: &ListTopology, patch: &PatchStrategy) -> Value {
        let mut schema = json!({"type": "array", "items": self.schema(item)});
        let kind = match topology {
            ListTopology::Atomic => "atomic",
            ListTopology::Set => "set",
            ListTopology::Map { keys } => {
                schema["x-kubernetes-list-map-keys"] =
                    keys.iter().map(|k| Value::from(&**k)).collect();
                "map"
            }
        };
        schema["x-kubernetes-list-type"] = kind.into();
        let strategies = [(patch.merge, "merge"), (patch.retain_keys, "retainKeys")];
        let strategies: Vec<&str> =
            strategies.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        if !strategies.is_empty() {
            schema["x-kubernetes-patch-strategy"] = strategies.join(",").into();
        }
        if let Some(key) = &patch.merge_key {
            schema["x-kubernetes-patch-merge-key"] = (**key).into();
        }
        schema
    }

    /// A reference to a struct, with what this place says of it otherwise than its type does.
    fn reference(&mut self, id: NodeId, shape: &StructShape) -> Value {
        self.add(id);
        let node = self.node(id);
        let target = json!({"$ref": self.dialect.reference(&node.name)});
        let mut extensions = Map::new();
        if shape.retain_keys {
            extensions.insert("x-kubernetes-patch-strategy".to_owned(), "retainKeys".into());
        }
        if shape.replace {
            extensions.insert("x-kubernetes-patch-strategy".to_owned(), "replace".into());
        }
        let of_type = self.catalogue.type_named(&node.name).is_some_and(|t| is_atomic(t.node()));
        if of_type != shape.atomic {
            let kind = if shape.atomic { "atomic" } else { "granular" };
            extensions.insert("x-kubernetes-map-type".to_owned(), kind.into());
        }
        if extensions.is_empty() {
            return target;
        }
        // In v3 nothing may stand beside a reference.
        match self.dialect {
            Dialect::V2 => extensions.insert("$ref".to_owned(), target["$ref"].clone()),
            Dialect::V3 => extensions.insert("allOf".to_owned(), json!([target])),
        };
        extensions.into()
    }
}

fn is_atomic(node: &Node) -> bool {
    matches!(&node.shape, Shape::Struct(shape) if shape.atomic)
}
