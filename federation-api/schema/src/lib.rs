//! What a Kubernetes object may hold: the catalogue of built-in kinds, CRD schemas, wire formats, patches and managed
//! fields.
//!
//! PURE: objects are `serde_json::Value`s, and every function is the same for a built-in kind and a custom one because
//! both are described by the [`model`].
//!
//! ```text
//! catalogue (generated tables) ─┐
//!                               ├─▶ TypeRef ─▶ protobuf · validate · prune · default · merge · apply · openapi
//! crd (structural schemas)   ───┘
//! ```

pub mod apply;
pub mod catalogue;
pub mod cel;
pub mod columns;
pub mod crd;
pub mod error;
pub mod json_patch;
pub mod jsonpath;
pub mod merge;
pub mod model;
pub mod name;
pub mod openapi;
pub mod protobuf;
pub mod quantity;
pub mod selector;
pub mod strict;
pub mod validate;

#[cfg(test)]
mod fixture;
