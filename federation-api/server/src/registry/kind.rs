//! One kind in one version, with everything that the verbs need to know of it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use federation_schema::{
    catalogue::{Gvk, api_version},
    columns::Printer,
    model::TypeRef,
    name::NameRule,
};
use federation_storage::Revision;

use crate::{app::Builtin, crd::CustomVersion, hooks::Review};

/// Where a kind comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    BuiltIn,
    /// A CustomResourceDefinition: of the binary's own, or of a user.
    Custom(Arc<CustomVersion>),
}

/// A subresource that the generic engine serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubresourceKind {
    Status,
    Scale,
    /// `namespaces/finalize`: `spec.finalizers` alone.
    Finalize,
    /// `certificatesigningrequests/approval`: the conditions of the status alone.
    Approval,
    /// `pods/eviction`: a delete.
    Eviction,
}

/// A subresource, as discovery shows it.
#[derive(Clone, Debug)]
pub struct Subresource {
    pub name: Box<str>,
    pub kind: SubresourceKind,
    /// The kind that it speaks, when it is not its parent's.
    pub speaks: Option<Gvk>,
    pub verbs: Vec<Box<str>>,
}

/// Where `spec.replicas` and its like stand, as paths into the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    pub spec_replicas: Vec<Box<str>>,
    pub status_replicas: Vec<Box<str>>,
    /// A LabelSelector object (built-in kinds) or its string form (custom ones).
    pub selector: Option<Vec<Box<str>>>,
}

/// A resource of one group and version.
pub struct Kind {
    /// Empty for core.
    pub group: Box<str>,
    pub version: Box<str>,
    /// `apps/v1`
    pub api_version: Box<str>,
    pub plural: Box<str>,
    pub singular: Box<str>,
    pub kind: Box<str>,
    pub list_kind: Box<str>,
    pub namespaced: bool,
    pub short_names: Vec<Box<str>>,
    pub categories: Vec<Box<str>>,
    pub verbs: Vec<Box<str>>,
    pub subresources: Vec<Subresource>,
    pub origin: Origin,
    /// What its objects hold.
    pub ty: TypeRef,
    /// Which names its objects may have.
    pub names: NameRule,
    pub scale: Option<ScalePaths>,
    /// `/apps/deployments/`: shared by the versions of a resource.
    pub prefix: Arc<str>,
    /// The version that is stored; empty when the version that was written is.
    pub storage_version: Box<str>,
    /// Versions older than this may lack defaults of the present schema.
    pub defaulted_since: Option<Revision>,
    /// Fields that selectors may name, beside those every kind has.
    pub selectable: Vec<Box<str>>,
    pub(crate) printer: OnceLock<Printer>,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind")
            .field("api_version", &self.api_version)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Kind {
    /// A subresource that is served.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| &*subresource.name == name)
    }

    /// Whether the status is written by its own path only.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Whether even an object without a status is shown with an empty one.
    pub(crate) fn shows_status(&self) -> bool {
        !self.is_custom() && self.has_status()
    }

    /// Whether it can be asked for this verb.
    pub fn serves(&self, verb: &str) -> bool {
        self.verbs.iter().any(|served| &**served == verb)
    }

    /// Whether it comes from a CustomResourceDefinition.
    pub fn is_custom(&self) -> bool {
        matches!(self.origin, Origin::Custom(_))
    }

    /// The schema of a custom kind.
    pub fn custom(&self) -> Option<&CustomVersion> {
        match &self.origin {
            Origin::BuiltIn => None,
            Origin::Custom(version) => Some(version),
        }
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> Gvk {
        Gvk::new(&self.group, &self.version, &self.kind)
    }

    /// Whether this is the built-in resource of this group and name.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        &*self.group == group && &*self.plural == plural && !self.is_custom()
    }

    /// The key of an object.
    pub fn key(&self, namespace: Option<&str>, name: &str) -> Arc<str> {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{}{namespace}/{name}", self.prefix).into(),
            None => format!("{}{name}", self.prefix).into(),
        }
    }

    /// The prefix of the keys of a namespace, or of all namespaces.
    pub fn range(&self, namespace: Option<&str>) -> String {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{}{namespace}/", self.prefix),
            None => self.prefix.to_string(),
        }
    }

    /// Namespace and name of a key of this kind.
    pub fn place<'k>(&self, key: &'k str) -> (Option<&'k str>, &'k str) {
        let rest = key.strip_prefix(&*self.prefix).unwrap_or(key);
        match rest.split_once('/') {
            Some((namespace, name)) if self.namespaced => (Some(namespace), name),
            _ => (None, rest),
        }
    }

    /// What its table shows.
    pub(crate) fn printer(&self) -> &Printer {
        self.printer.get_or_init(|| match &self.origin {
            Origin::BuiltIn => Printer::builtin(&self.gvk()),
            // The columns of a CRD were checked when it was accepted.
            Origin::Custom(version) => {
                Printer::custom(&version.columns).unwrap_or_else(|_| Printer::builtin(&self.gvk()))
            }
        })
    }
}

/// The key of an object, by the resource's group (empty for core) and plural name.
pub fn key(group: &str, plural: &str, namespace: Option<&str>, name: &str) -> String {
    let prefix = prefix(group, plural);
    match namespace {
        Some(namespace) => format!("{prefix}{namespace}/{name}"),
        None => format!("{prefix}{name}"),
    }
}

/// The prefix of all keys of a resource.
pub fn prefix(group: &str, plural: &str) -> String {
    match (group, plural) {
        // The two groups show the same events.
        ("events.k8s.io", "events") => "/core/events/".to_owned(),
        ("", plural) => format!("/core/{plural}/"),
        (group, plural) => format!("/{group}/{plural}/"),
    }
}

/// A create-only kind or subresource, answered by code.
#[derive(Clone)]
pub(crate) enum Answered {
    Builtin(Arc<dyn Builtin>),
    Review(Review),
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(builtin) => builtin.resource().fmt(f),
            Self::Review(review) => review.fmt(f),
        }
    }
}

/// How an answered kind appears.
#[derive(Clone, Debug)]
pub(crate) struct AnsweredResource {
    pub group: Box<str>,
    pub version: Box<str>,
    pub resource: Box<str>,
    pub subresource: Box<str>,
    pub kind: Box<str>,
    pub kind_api_version: Box<str>,
    pub namespaced: bool,
    pub answered: Answered,
}

impl AnsweredResource {
    pub(crate) fn of_builtin(builtin: &Arc<dyn Builtin>) -> Self {
        let resource = builtin.resource();
        Self {
            group: resource.group.into(),
            version: resource.version.into(),
            resource: resource.resource.into(),
            subresource: resource.subresource.into(),
            kind: resource.kind.into(),
            kind_api_version: if resource.kind_api_version.is_empty() {
                api_version(resource.group, resource.version).into()
            } else {
                resource.kind_api_version.into()
            },
            namespaced: resource.namespaced,
            answered: Answered::Builtin(Arc::clone(builtin)),
        }
    }

    pub(crate) fn of_review(review: &Review) -> Self {
        Self {
            group: "review.archipel.dev".into(),
            version: "v1alpha1".into(),
            resource: review.resource.into(),
            subresource: "".into(),
            kind: review.kind.into(),
            kind_api_version: "review.archipel.dev/v1alpha1".into(),
            namespaced: review.namespaced,
            answered: Answered::Review(review.clone()),
        }
    }
}
