//! The model of a type: one shape for built-in kinds and custom ones, so that decoding, validation, patches and managed
//! fields are each written once.
//!
//! A [`Schema`] is a graph of [`Node`]s in one arena: built-in types refer to each other (and to themselves, as
//! JSONSchemaProps does), so edges are indices.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

/// The index of a [`Node`] in its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// An arena of types.
#[derive(Debug, Default)]
pub struct Schema {
    pub nodes: Vec<Node>,
}

/// A type by reference: what every function of this crate takes.
#[derive(Clone, Debug)]
pub struct TypeRef {
    pub schema: Arc<Schema>,
    pub id: NodeId,
}

impl TypeRef {
    /// The node it refers to.
    pub fn node(&self) -> &Node {
        &self.schema.nodes[self.id.0 as usize]
    }

    /// Another type of the same arena.
    pub fn at(&self, id: NodeId) -> Self {
        Self { schema: Arc::clone(&self.schema), id }
    }
}

/// One type.
#[derive(Debug)]
pub struct Node {
    /// The name of a built-in type (`io.k8s.api.apps.v1.Deployment`) or empty.
    pub name: Box<str>,
    pub shape: Shape,
    /// From CRDs only: what a validator checks beyond the shape.
    pub rules: Option<Box<Rules>>,
}

/// What JSON a type holds.
#[derive(Debug)]
pub enum Shape {
    /// Any JSON: `x-kubernetes-preserve-unknown-fields` without properties, RawExtension, FieldsV1, JSON.
    Any,
    Boolean,
    /// 32 or 64 bit, per `wide`.
    Integer {
        wide: bool,
    },
    Number,
    String(StringKind),
    /// A quantity: string or number in JSON.
    Quantity,
    /// An integer or a string.
    IntOrString,
    List {
        item: NodeId,
        /// How server-side apply merges it.
        topology: ListTopology,
        /// How a strategic merge patch merges it.
        patch: PatchStrategy,
    },
    /// A map from any string to one type.
    Map {
        value: NodeId,
        atomic: bool,
    },
    Struct(Box<StructShape>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringKind {
    Plain,
    /// base64 in JSON, bytes in protobuf.
    Bytes,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Go's duration notation.
    Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListTopology {
    #[default]
    Atomic,
    /// Of scalars.
    Set,
    /// Of structs, told apart by these fields.
    Map { keys: Vec<Box<str>> },
}

/// `x-kubernetes-patch-strategy` and `-merge-key` of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    pub merge: bool,
    pub retain_keys: bool,
    pub merge_key: Option<Box<str>>,
}

#[derive(Debug, Default)]
pub struct StructShape {
    pub fields: BTreeMap<Box<str>, Field>,
    /// Unknown fields are kept: `x-kubernetes-preserve-unknown-fields` beside properties.
    pub open: bool,
    /// `x-kubernetes-embedded-resource`: apiVersion, kind and metadata are always known.
    pub embedded: bool,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
    /// A strategic merge patch of this struct drops keys it does not retain (`retainKeys`).
    pub retain_keys: bool,
    /// A strategic merge patch replaces this struct whole (`replace`).
    pub replace: bool,
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    pub node: NodeId,
    pub required: bool,
    pub nullable: bool,
    /// What a missing field is taken for: on every read of a CRD's objects, and for the keys of associative lists.
    pub default: Option<Value>,
}

/// What a CRD's schema demands beyond the shape.
#[derive(Debug, Default)]
pub struct Rules {
    /// Null is a value (what [`Field::nullable`] says for the items of lists and the entries of maps).
    pub nullable: bool,
    /// What null becomes in a list or a map, where it may not stand.
    pub default: Option<Value>,
    pub enumeration: Vec<Value>,
    pub pattern: Option<crate::crd::Pattern>,
    pub format: Option<Box<str>>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub unique_items: bool,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub all_of: Vec<Value>,
    pub any_of: Vec<Value>,
    pub one_of: Vec<Value>,
    pub not: Option<Value>,
    /// `x-kubernetes-validations`
    pub validations: Vec<crate::cel::Rule>,
}
