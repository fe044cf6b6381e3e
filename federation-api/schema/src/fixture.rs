//! Types for tests, from schemas.

use serde_json::Value;

use crate::{
    crd,
    model::{PatchStrategy, Shape, TypeRef},
};

/// The type of a schema written in YAML, `apiVersion`, `kind` and `metadata` included. Lists of list-type map or set
/// also merge in strategic merge patches, by their first key.
pub(crate) fn typed(schema: &str) -> TypeRef {
    let schema: Value = serde_norway::from_str(schema).unwrap();
    let compiled = crd::compile(&schema, "").unwrap();
    let mut schema = std::sync::Arc::into_inner(compiled.ty.schema).unwrap();
    for node in &mut schema.nodes {
        if let Shape::List { topology, patch, .. } = &mut node.shape {
            let key = match topology {
                crate::model::ListTopology::Atomic => continue,
                crate::model::ListTopology::Set => None,
                crate::model::ListTopology::Map { keys } => keys.first().cloned(),
            };
            *patch = PatchStrategy { merge: true, retain_keys: false, merge_key: key };
        }
    }
    TypeRef { schema: std::sync::Arc::new(schema), id: compiled.ty.id }
}

/// A small Deployment, near enough to the real one for ownership and merging.
pub(crate) fn deployment() -> TypeRef {
    typed(DEPLOYMENT)
}

const DEPLOYMENT: &str = r"
type: object
properties:
  spec:
    type: object
    properties:
      replicas: {type: integer, format: int32}
      paused: {type: boolean}
      selector:
        type: object
        x-kubernetes-map-type: atomic
        properties:
          matchLabels: {type: object, additionalProperties: {type: string}}
      strategy:
        type: object
        properties:
          type: {type: string}
          rollingUpdate: {type: object, properties: {maxSurge: {x-kubernetes-int-or-string: true}}}
      tags: {type: array, items: {type: string}, x-kubernetes-list-type: set}
      args: {type: array, items: {type: string}}
      containers:
        type: array
        x-kubernetes-list-type: map
        x-kubernetes-list-map-keys: [name]
        items:
          type: object
          required: [name]
          properties:
            name: {type: string}
            image: {type: string}
            resources: {type: object, additionalProperties: {type: string}}
            ports:
              type: array
              x-kubernetes-list-type: map
              x-kubernetes-list-map-keys: [containerPort, protocol]
              items:
                type: object
                required: [containerPort]
                properties:
                  containerPort: {type: integer}
                  protocol: {type: string, default: TCP}
                  name: {type: string}
      free: {x-kubernetes-preserve-unknown-fields: true}
  status:
    type: object
    properties:
      ready: {type: integer}
";
