//! OpenAPI documents, made on demand from the catalogue and from CRDs: what `kubectl apply`, `explain`, `diff` and the
//! tools built on them ask a server for.
//!
//! They hold shapes and markers, no prose: types with their kinds, list and map topology, patch strategies; paths with
//! their verbs, query parameters and patch types.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::catalogue::{Catalogue, ResourceInfo, SubresourceInfo, api_version};

mod components;
mod custom;
pub mod gnostic;
mod paths;

use components::Components;

/// A custom kind as one version of its CRD declares it.
#[derive(Clone, Copy, Debug)]
pub struct CustomKind<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    pub list_kind: &'a str,
    pub plural: &'a str,
    pub namespaced: bool,
    /// `openAPIV3Schema`, as written; null where there is none.
    pub schema: &'a Value,
    pub status: bool,
    pub scale: bool,
}

/// Which OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// How a type is referred to.
    fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// The OpenAPI v3 document of one group-version: its built-in kinds and, of `custom`, those that are of it.
pub fn v3(catalogue: &Catalogue, group: &str, version: &str, custom: &[CustomKind<'_>]) -> Value {
    let mut components = Components::new(catalogue, Dialect::V3);
    let mut paths = Map::new();
    add_group_version(&mut components, &mut paths, group, version, custom);
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Archipel", "version": "unversioned"},
        "paths": paths,
        "components": {
            "schemas": components.finish(),
            "securitySchemes": {"BearerToken": {"type": "apiKey", "in": "header", "name": "authorization"}},
        },
    })
}

/// The OpenAPI v2 document of everything that is served.
pub fn v2(catalogue: &Catalogue, custom: &[CustomKind<'_>]) -> Value {
    let mut components = Components::new(catalogue, Dialect::V2);
    let mut paths = Map::new();
    for (group, version) in group_versions(catalogue, custom) {
        add_group_version(&mut components, &mut paths, group, version, custom);
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Archipel", "version": "unversioned"},
        "paths": paths,
        "definitions": components.finish(),
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "in": "header", "name": "authorization"}},
        "security": [{"BearerToken": []}],
    })
}

/// Every group-version that has a document, in order: those of the catalogue and those of custom kinds.
pub fn group_versions<'a>(
    catalogue: &'a Catalogue,
    custom: &[CustomKind<'a>],
) -> BTreeSet<(&'a str, &'a str)> {
    let builtin = catalogue
        .groups()
        .iter()
        .flat_map(|(g, versions)| versions.iter().map(move |v| (&**g, &**v)));
    builtin.chain(custom.iter().map(|kind| (kind.group, kind.version))).collect()
}

/// The path of a group-version's document below `/openapi/v3/`: `api/v1`, `apis/apps/v1`.
pub fn v3_path(group: &str, version: &str) -> String {
    let prefix = if group.is_empty() { "api" } else { "apis" };
    format!("{prefix}/{}", api_version(group, version))
}

/// The hash that the index states of a document, in upper-case hexadecimal.
pub fn hash(document: &[u8]) -> String {
    Sha256::digest(document).iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The index at `/openapi/v3`, of paths (see [`v3_path`]) and hashes.
pub fn v3_index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let entries = documents.into_iter().map(|(path, hash)| {
        let entry = json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")});
        (path.to_owned(), entry)
    });
    json!({"paths": entries.collect::<Map<_, _>>()})
}

fn add_group_version(
    components: &mut Components<'_>,
    paths: &mut Map<String, Value>,
    group: &str,
    version: &str,
    custom: &[CustomKind<'_>],
) {
    let catalogue = components.catalogue;
    for gvk in catalogue.kinds().filter(|gvk| gvk.group == group && gvk.version == version) {
        components.add_kind(gvk);
    }
    let builtin =
        catalogue.resources().iter().filter(|r| &*r.group == group && &*r.version == version);
    for resource in builtin {
        paths::add(paths, components, resource, true);
    }
    for kind in custom.iter().filter(|kind| kind.group == group && kind.version == version) {
        components.add_custom(kind);
        paths::add(paths, components, &resource_of(kind), false);
    }
}

/// A custom kind as a resource.
fn resource_of(kind: &CustomKind<'_>) -> ResourceInfo {
    let verbs = |verbs: &[&str]| verbs.iter().map(|&v| v.into()).collect::<Vec<Box<str>>>();
    let sub = |name: &str, group: &str, version: &str, of: &str| SubresourceInfo {
        name: name.into(),
        group: group.into(),
        version: version.into(),
        kind: of.into(),
        verbs: verbs(&["get", "patch", "update"]),
    };
    let status = kind.status.then(|| sub("status", kind.group, kind.version, kind.kind));
    let scale = kind.scale.then(|| sub("scale", "autoscaling", "v1", "Scale"));
    ResourceInfo {
        group: kind.group.into(),
        version: kind.version.into(),
        plural: kind.plural.into(),
        singular: kind.kind.to_lowercase().into(),
        kind: kind.kind.into(),
        namespaced: kind.namespaced,
        short_names: Vec::new(),
        categories: Vec::new(),
        verbs: verbs(&[
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ]),
        subresources: status.into_iter().chain(scale).collect(),
    }
}

#[cfg(test)]
mod tests;
