//! The catalogue of the kinds that Kubernetes itself serves: their resources, their types, and their protobuf messages.
//!
//! The facts come from a generated table (`data/kubernetes.txt`, written by `cargo xtask codegen`) that is read once.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use crate::model::{NodeId, Schema, TypeRef};

mod read;
pub(crate) mod wire;

use wire::Messages;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
static TABLE: &str = include_str!("../data/kubernetes.txt");

/// Group, version and kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gvk {
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl Gvk {
    /// From its three parts.
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// From what an object says of itself: `apps/v1` and `Deployment`.
    pub fn of(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        Self::new(group, version, kind)
    }

    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

/// `apps/v1`, or `v1` for the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// A resource that Kubernetes serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceInfo {
    pub group: Box<str>,
    pub version: Box<str>,
    pub plural: Box<str>,
    pub singular: Box<str>,
    pub kind: Box<str>,
    pub namespaced: bool,
    pub short_names: Vec<Box<str>>,
    pub categories: Vec<Box<str>>,
    /// In discovery's order; `create` alone for reviews.
    pub verbs: Vec<Box<str>>,
    pub subresources: Vec<SubresourceInfo>,
}

impl ResourceInfo {
    /// The kind of its objects.
    pub fn gvk(&self) -> Gvk {
        Gvk::new(&self.group, &self.version, &self.kind)
    }

    /// A subresource by name (`status`, `scale`).
    pub fn subresource(&self, name: &str) -> Option<&SubresourceInfo> {
        self.subresources.iter().find(|s| &*s.name == name)
    }

    /// Whether it can be asked for this verb.
    pub fn serves(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| &**v == verb)
    }
}

/// A subresource and the kind that it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubresourceInfo {
    pub name: Box<str>,
    pub group: Box<str>,
    pub version: Box<str>,
    pub kind: Box<str>,
    pub verbs: Vec<Box<str>>,
}

/// Everything that is known of the built-in kinds.
#[derive(Debug)]
pub struct Catalogue {
    resources: Vec<ResourceInfo>,
    /// Versions of a group, the preferred first; groups in discovery's order.
    groups: Vec<(Box<str>, Vec<Box<str>>)>,
    /// Every kind that has a type: resources, lists, options, `Status`.
    kinds: BTreeMap<Gvk, NodeId>,
    names: BTreeMap<Box<str>, NodeId>,
    schema: Arc<Schema>,
    messages: Messages,
}

impl Catalogue {
    /// The one catalogue of this program, read at first use.
    pub fn builtin() -> &'static Self {
        static BUILTIN: OnceLock<Catalogue> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            read::read(TABLE).expect("the generated table is well-formed: a test reads it")
        })
    }

    /// Every resource, in discovery's order.
    pub fn resources(&self) -> &[ResourceInfo] {
        &self.resources
    }

    /// The groups in discovery's order, the core group (`""`) first, each with its versions, the preferred first.
    pub fn groups(&self) -> &[(Box<str>, Vec<Box<str>>)] {
        &self.groups
    }

    /// A resource by its place in the API: `("apps", "v1", "deployments")`.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&ResourceInfo> {
        self.resources
            .iter()
            .find(|r| &*r.plural == plural && &*r.group == group && &*r.version == version)
    }

    /// The resource whose objects are of this kind.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&ResourceInfo> {
        self.resources
            .iter()
            .find(|r| &*r.kind == kind && &*r.group == group && &*r.version == version)
    }

    /// The type of a kind: of resources, of their lists, of subresources (`autoscaling/v1 Scale`), of `v1 Status` and
    /// `v1 DeleteOptions` (which every group-version knows).
    pub fn type_of(&self, gvk: &Gvk) -> Option<TypeRef> {
        self.kinds.get(gvk).map(|id| self.at(*id)).or_else(|| {
            let general = matches!(&*gvk.kind, "DeleteOptions" | "Status" | "WatchEvent");
            if general { self.type_named(&format!("{META}{}", gvk.kind)) } else { None }
        })
    }

    /// A type by its published name: `io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta`.
    pub fn type_named(&self, name: &str) -> Option<TypeRef> {
        self.names.get(name).map(|id| self.at(*id))
    }

    /// The type of `metadata` of every object, custom ones included.
    pub fn object_meta(&self) -> TypeRef {
        self.type_named(&format!("{META}ObjectMeta"))
            .expect("the table holds ObjectMeta: a test reads it")
    }

    /// Every kind that has a type.
    pub fn kinds(&self) -> impl Iterator<Item = &Gvk> {
        self.kinds.keys()
    }

    /// The arena of all types.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    pub(crate) fn messages(&self) -> &Messages {
        &self.messages
    }

    fn at(&self, id: NodeId) -> TypeRef {
        TypeRef { schema: Arc::clone(&self.schema), id }
    }
}

#[cfg(test)]
mod tests;
