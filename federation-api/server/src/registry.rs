//! The kinds that are served now: built-in ones from the catalogue, our own from embedded CRDs, users' CRDs from the
//! store, and what is answered by code.
//!
//! Readers take an immutable [`Snapshot`]; a CRD that comes, changes or goes makes a new one that shares every group it
//! does not touch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_schema::{catalogue::Catalogue, name::NameRule};
use federation_storage::Revision;
use parking_lot::RwLock;
use serde_json::Value;

use crate::{
    app::Builtin,
    crd::{CrdError, Definition},
    hooks::Review,
};

pub(crate) use self::kind::{Answered, AnsweredResource};
pub use self::kind::{Kind, Origin, ScalePaths, Subresource, SubresourceKind, key, prefix};

mod kind;

/// Why the registry could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("CustomResourceDefinition `{name}`")]
    Definition { name: String, source: CrdError },
}

/// A group: its versions in order of preference, each with its resources.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub name: Box<str>,
    pub versions: Vec<Version>,
}

/// A version of a group.
#[derive(Clone, Debug)]
pub struct Version {
    pub name: Box<str>,
    /// In discovery's order.
    pub kinds: Vec<Arc<Kind>>,
    pub(crate) answered: Vec<Arc<AnsweredResource>>,
}

impl Version {
    fn named(name: &str) -> Self {
        Self { name: name.into(), kinds: Vec::new(), answered: Vec::new() }
    }
}

impl Group {
    /// A version by its name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| &*version.name == name)
    }

    fn version_mut(&mut self, name: &str) -> &mut Version {
        let at = self.versions.iter().position(|version| &*version.name == name);
        let at = at.unwrap_or_else(|| {
            self.versions.push(Version::named(name));
            self.versions.len() - 1
        });
        &mut self.versions[at]
    }
}

/// The kinds at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The core group first, then built-in groups in the catalogue's order, then the others by name.
    groups: Vec<Arc<Group>>,
    by_name: BTreeMap<Box<str>, usize>,
    /// CRDs by name, embedded ones included.
    definitions: BTreeMap<Box<str>, Arc<Definition>>,
    /// Counts the changes.
    pub generation: u64,
}

impl Snapshot {
    /// A group by its name; empty for core.
    pub fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.by_name.get(name).map(|at| &self.groups[*at])
    }

    /// Every group, in discovery's order.
    pub fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    /// The kind of a resource.
    pub fn kind(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.group(group)?.version(version)?.kinds.iter().find(|kind| &*kind.plural == plural)
    }

    /// Another version of the same resource.
    pub fn sibling(&self, kind: &Kind, version: &str) -> Option<&Arc<Kind>> {
        self.kind(&kind.group, version, &kind.plural)
    }

    pub(crate) fn answered(
        &self,
        group: &str,
        version: &str,
        resource: &str,
        subresource: &str,
    ) -> Option<&Arc<AnsweredResource>> {
        self.group(group)?.version(version)?.answered.iter().find(|answered| {
            &*answered.resource == resource && &*answered.subresource == subresource
        })
    }

    /// A CRD by its name.
    pub fn definition(&self, name: &str) -> Option<&Arc<Definition>> {
        self.definitions.get(name)
    }

    /// Every CRD, by name.
    pub fn definitions(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.definitions.values()
    }

    /// Every kind of every version.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.groups.iter().flat_map(|group| &group.versions).flat_map(|version| &version.kinds)
    }

    fn put_group(&mut self, group: Group) {
        if let Some(at) = self.by_name.get(&group.name) {
            self.groups[*at] = Arc::new(group);
            return;
        }
        self.by_name.insert(group.name.clone(), self.groups.len());
        self.groups.push(Arc::new(group));
    }
}

/// The registry: the present [`Snapshot`], and what it is made from.
#[derive(Debug)]
pub struct Registry {
    /// What never changes: built-in kinds and what is answered by code.
    base: BTreeMap<Box<str>, Arc<Group>>,
    current: RwLock<Arc<Snapshot>>,
}

impl Registry {
    pub(crate) fn new(
        embedded: &[Value],
        reviews: &[Review],
        builtins: &[Arc<dyn Builtin>],
        now: Revision,
    ) -> Result<Self, RegistryError> {
        let mut groups = builtin_groups();
        let answered = reviews
            .iter()
            .map(AnsweredResource::of_review)
            .chain(builtins.iter().map(AnsweredResource::of_builtin));
        for answered in answered {
            let at = groups.iter().position(|group| group.name == answered.group);
            let at = at.unwrap_or_else(|| {
                groups.push(Group { name: answered.group.clone(), versions: Vec::new() });
                groups.len() - 1
            });
            groups[at].version_mut(&answered.version).answered.push(Arc::new(answered));
        }
        let mut snapshot = Snapshot::default();
        for mut group in groups {
            group
                .versions
                .retain(|version| !version.kinds.is_empty() || !version.answered.is_empty());
            if !group.versions.is_empty() {
                snapshot.put_group(group);
            }
        }
        let base =
            snapshot.groups.iter().map(|group| (group.name.clone(), Arc::clone(group))).collect();
        let registry = Self { base, current: RwLock::new(Arc::new(snapshot)) };
        for object in embedded {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let definition = Definition::compile(object, true, now)
                .map_err(|source| RegistryError::Definition { name, source })?;
            registry.put(Arc::new(definition));
        }
        Ok(registry)
    }

    /// The kinds as they are now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read())
    }

    /// Serves a CRD's kinds from now on, in place of its older version.
    pub(crate) fn put(&self, definition: Arc<Definition>) {
        let mut current = self.current.write();
        let held = current.definition(&definition.name);
        if held.is_some_and(|held| {
            held.embedded && !definition.embedded || held.revision > definition.revision
        }) {
            return;
        }
        let mut next = Snapshot::clone(&current);
        let group = definition.group.clone();
        next.definitions.insert(definition.name.clone(), definition);
        self.rebuild(&mut next, &group);
        *current = Arc::new(next);
    }

    /// Serves a CRD no longer.
    pub(crate) fn remove(&self, name: &str) {
        let mut current = self.current.write();
        let Some(held) = current.definition(name).filter(|held| !held.embedded) else { return };
        let group = held.group.clone();
        let mut next = Snapshot::clone(&current);
        next.definitions.remove(name);
        self.rebuild(&mut next, &group);
        *current = Arc::new(next);
    }

    /// Makes one group anew from its built-in part and the CRDs of that group.
    fn rebuild(&self, snapshot: &mut Snapshot, name: &str) {
        let mut group = match self.base.get(name) {
            Some(group) => Group::clone(group),
            None => Group { name: name.into(), versions: Vec::new() },
        };
        let mut versions = BTreeSet::new();
        for definition in
            snapshot.definitions.values().filter(|definition| &*definition.group == name)
        {
            for kind in &definition.kinds {
                let version = group.version_mut(&kind.version);
                let taken = version.kinds.iter().any(|other| other.plural == kind.plural);
                if !taken {
                    version.kinds.push(Arc::clone(kind));
                    versions.insert(kind.version.clone());
                }
            }
        }
        if !self.base.contains_key(name) {
            group.versions.sort_by(|a, b| preference(&a.name, &b.name));
        }
        snapshot.generation += 1;
        if group.versions.is_empty() {
            snapshot.groups.retain(|other| &*other.name != name);
            let names = snapshot.groups.iter().enumerate();
            snapshot.by_name = names.map(|(at, group)| (group.name.clone(), at)).collect();
        } else {
            snapshot.put_group(group);
        }
    }
}

/// Stable before beta before alpha, each newest first; anything else by name, last.
pub(crate) fn preference(a: &str, b: &str) -> std::cmp::Ordering {
    fn rank(version: &str) -> Option<(u8, u32, u32)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        let (stage, minor) = match &rest[digits..] {
            "" => (2, "0"),
            beta if beta.starts_with("beta") => (1, &beta[4..]),
            alpha if alpha.starts_with("alpha") => (0, &alpha[5..]),
            _ => return None,
        };
        Some((stage, major, minor.parse().ok()?))
    }
    match (rank(a), rank(b)) {
        (Some(left), Some(right)) => right.cmp(&left),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

fn builtin_groups() -> Vec<Group> {
    let catalogue = Catalogue::builtin();
    let mut groups = Vec::new();
    for (name, versions) in catalogue.groups() {
        let versions: Vec<Version> =
            versions.iter().map(|version| Version::named(version)).collect();
        groups.push(Group { name: name.clone(), versions });
    }
    for info in catalogue.resources() {
        // What can only be created is a question, and questions are answered by code; the rest is not served here.
        if !info.serves("get") || !info.serves("create") {
            continue;
        }
        let Some(ty) = catalogue.type_of(&info.gvk()) else { continue };
        let api_version = federation_schema::catalogue::api_version(&info.group, &info.version);
        let subresources: Vec<Subresource> = info
            .subresources
            .iter()
            .filter_map(|subresource| {
                let kind = match (&*info.plural, &*subresource.name) {
                    (_, "status") => SubresourceKind::Status,
                    (_, "scale") => SubresourceKind::Scale,
                    ("namespaces", "finalize") => SubresourceKind::Finalize,
                    ("certificatesigningrequests", "approval") => SubresourceKind::Approval,
                    ("pods", "eviction") => SubresourceKind::Eviction,
                    _ => return None,
                };
                let own = subresource.kind == info.kind && subresource.group == info.group;
                let speaks = (!own).then(|| {
                    federation_schema::catalogue::Gvk::new(
                        &subresource.group,
                        &subresource.version,
                        &subresource.kind,
                    )
                });
                Some(Subresource {
                    name: subresource.name.clone(),
                    kind,
                    speaks,
                    verbs: subresource.verbs.clone(),
                })
            })
            .collect();
        let scale =
            subresources.iter().any(|subresource| subresource.kind == SubresourceKind::Scale);
        let path = |text: &str| -> Vec<Box<str>> { text.split('.').map(Into::into).collect() };
        let kind = Kind {
            group: info.group.clone(),
            version: info.version.clone(),
            api_version: api_version.into(),
            plural: info.plural.clone(),
            singular: info.singular.clone(),
            kind: info.kind.clone(),
            list_kind: format!("{}List", info.kind).into(),
            namespaced: info.namespaced,
            short_names: info.short_names.clone(),
            categories: info.categories.clone(),
            verbs: info.verbs.clone(),
            subresources,
            origin: Origin::BuiltIn,
            ty,
            names: NameRule::of(&info.group, &info.kind),
            scale: scale.then(|| ScalePaths {
                spec_replicas: path("spec.replicas"),
                status_replicas: path("status.replicas"),
                selector: Some(path("spec.selector")),
            }),
            prefix: prefix(&info.group, &info.plural).into(),
            storage_version: "".into(),
            defaulted_since: None,
            selectable: crate::fields::builtin(&info.group, &info.plural),
            printer: std::sync::OnceLock::new(),
        };
        if let Some(group) = groups.iter_mut().find(|group| group.name == info.group) {
            group.version_mut(&info.version).kinds.push(Arc::new(kind));
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_stability_and_age() {
        let mut versions = vec!["v1alpha1", "foo", "v2beta1", "v1", "v10", "v1beta2", "v2"];
        versions.sort_by(|a, b| preference(a, b));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]);
    }
}
