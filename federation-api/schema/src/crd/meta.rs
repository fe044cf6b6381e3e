//! The type of `metadata`: the same for every kind.

use std::sync::Arc;

use crate::model::{
    Field, ListTopology, Node, NodeId, PatchStrategy, Schema, Shape, StringKind, StructShape,
    TypeRef,
};

/// The type of ObjectMeta by itself.
pub fn metadata_type() -> TypeRef {
    let mut schema = Schema::default();
    let id = add(&mut schema);
    TypeRef { schema: Arc::new(schema), id }
}

pub(crate) fn push(schema: &mut Schema, name: &str, shape: Shape) -> NodeId {
    let id = NodeId(u32::try_from(schema.nodes.len()).expect("a type has fewer than 2^32 nodes"));
    schema.nodes.push(Node { name: name.into(), shape, rules: None });
    id
}

pub(crate) fn plain(node: NodeId) -> Field {
    Field { node, required: false, nullable: false, default: None }
}

/// Adds ObjectMeta and what it refers to.
pub(crate) fn add(schema: &mut Schema) -> NodeId {
    let string = push(schema, "", Shape::String(StringKind::Plain));
    let boolean = push(schema, "", Shape::Boolean);
    let long = push(schema, "", Shape::Integer { wide: true });
    let time =
        push(schema, "io.k8s.apimachinery.pkg.apis.meta.v1.Time", Shape::String(StringKind::Time));
    let any = push(schema, "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", Shape::Any);
    let strings = push(schema, "", Shape::Map { value: string, atomic: false });
    let owner = structure(
        schema,
        "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
        true,
        &[
            ("apiVersion", string, true),
            ("blockOwnerDeletion", boolean, false),
            ("controller", boolean, false),
            ("kind", string, true),
            ("name", string, true),
            ("uid", string, true),
        ],
    );
    let owners = push(
        schema,
        "",
        Shape::List {
            item: owner,
            topology: ListTopology::Map { keys: vec!["uid".into()] },
            patch: PatchStrategy { merge: true, retain_keys: false, merge_key: Some("uid".into()) },
        },
    );
    let finalizers = push(
        schema,
        "",
        Shape::List {
            item: string,
            topology: ListTopology::Set,
            patch: PatchStrategy { merge: true, retain_keys: false, merge_key: None },
        },
    );
    let entry = structure(
        schema,
        "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry",
        false,
        &[
            ("apiVersion", string, false),
            ("fieldsType", string, false),
            ("fieldsV1", any, false),
            ("manager", string, false),
            ("operation", string, false),
            ("subresource", string, false),
            ("time", time, false),
        ],
    );
    let managed = push(
        schema,
        "",
        Shape::List {
            item: entry,
            topology: ListTopology::Atomic,
            patch: PatchStrategy::default(),
        },
    );
    structure(
        schema,
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        false,
        &[
            ("annotations", strings, false),
            ("creationTimestamp", time, false),
            ("deletionGracePeriodSeconds", long, false),
            ("deletionTimestamp", time, false),
            ("finalizers", finalizers, false),
            ("generateName", string, false),
            ("generation", long, false),
            ("labels", strings, false),
            ("managedFields", managed, false),
            ("name", string, false),
            ("namespace", string, false),
            ("ownerReferences", owners, false),
            ("resourceVersion", string, false),
            ("selfLink", string, false),
            ("uid", string, false),
        ],
    )
}

fn structure(
    schema: &mut Schema,
    name: &str,
    atomic: bool,
    fields: &[(&str, NodeId, bool)],
) -> NodeId {
    let mut shape = StructShape { atomic, ..StructShape::default() };
    for (field, node, required) in fields {
        // Every field of metadata may be null: clients send `creationTimestamp: null`.
        let field_type = Field { required: *required, nullable: true, ..plain(*node) };
        shape.fields.insert((*field).into(), field_type);
    }
    push(schema, name, Shape::Struct(Box::new(shape)))
}
