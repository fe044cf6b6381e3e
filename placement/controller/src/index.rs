//! What the controller knows: one synchronous index, fed by watches, asked by passes.
//!
//! An event changes the index and names the templates that must be looked at again; a pass takes a name and reads the
//! rest from here. What changed is never an input of a pass, so a restart, a resync and a burst take the same path.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    cluster::{ClusterSet, MemberCluster},
    condition,
    names::{Gvk, ObjectKey},
    placement::{PlacementSpec, PlacementStatus},
    price::PriceBook,
    reason::condition::READY,
    selector::TemplateSelector,
};
use placement_engine::workload::Workload;

use crate::{
    claim::{Claim, Facts, Override, Policy, claim, overrides},
    gate::Budget,
};

/// Names a template without its version: one kind is watched in one version, whichever a policy wrote.
pub fn template_key(gvk: &Gvk, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        gvk: Gvk { version: String::new(), ..gvk.clone() },
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// A template, as far as decisions need it.
#[derive(Debug)]
pub struct Template {
    pub api_version: String,
    pub uid: String,
    pub generation: i64,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    pub secret_type: String,
    pub deleting: bool,
    pub finalizers: Vec<String>,
    /// What the user wrote, as JSON text: compact, and hashed as it stands.
    pub content: Box<str>,
    pub workload: Workload,
}

/// A Placement, as it stands in the hub.
#[derive(Debug)]
pub struct Placed {
    pub name: String,
    pub uid: String,
    pub generation: i64,
    pub resource_version: String,
    pub spec: PlacementSpec,
    pub status: PlacementStatus,
}

impl Placed {
    /// Whether the template still has copies, or tombstones of some.
    pub fn holds_copies(&self) -> bool {
        !self.spec.clusters.is_empty() || !self.spec.removing.is_empty()
    }

    fn unsettled(&self) -> bool {
        !self.spec.removing.is_empty()
            || self.spec.outcome.status != "True"
            || self.spec.clusters.iter().any(|it| !it.leaving.is_empty())
    }
}

/// A kind that some policy selects or some Placement names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindState {
    /// The version asked for first.
    pub version: String,
    /// The first complete list has arrived: only then does a missing template mean a deleted one.
    pub synced: bool,
    /// The hub does not serve it (any more): its Placements are held.
    pub missing: bool,
}

/// A key of the index's kinds: group and kind.
pub type KindKey = (String, String);

#[derive(Debug, Default)]
pub struct Index {
    /// By namespace (empty for cluster policies) and name.
    pub policies: BTreeMap<(String, String), Arc<Policy>>,
    pub overrides: BTreeMap<(String, String), Arc<Override>>,
    pub clusters: BTreeMap<String, Arc<MemberCluster>>,
    pub sets: BTreeMap<String, Arc<ClusterSet>>,
    pub books: BTreeMap<String, Arc<PriceBook>>,
    pub budgets: BTreeMap<String, Budget>,
    pub kinds: BTreeMap<KindKey, KindState>,
    pub templates: BTreeMap<ObjectKey, Arc<Template>>,
    pub placements: BTreeMap<ObjectKey, Arc<Placed>>,
    /// By namespace and name of the Placement: the template it decides on.
    placement_names: BTreeMap<(String, String), ObjectKey>,
    /// The revisions that exist, by namespace and name of their Placement, oldest first: hashes.
    pub revisions: BTreeMap<(String, String), Vec<String>>,
    /// The templates to be looked at again.
    pub dirty: BTreeSet<ObjectKey>,
    /// Grows when the fleet's snapshot has to be built anew.
    pub fleet_version: u64,
    /// Copies in the whole fleet, kept as Placements change.
    pub copies: i64,
}

impl Index {
    pub fn facts<'a>(key: &'a ObjectKey, template: &'a Template) -> Facts<'a> {
        Facts { key, labels: &template.labels, secret_type: &template.secret_type }
    }

    pub fn claim(&self, key: &ObjectKey, template: &Template) -> Claim {
        claim(&Self::facts(key, template), self.policies.values())
    }

    pub fn override_rules(
        &self,
        key: &ObjectKey,
        template: &Template,
    ) -> Vec<federation_types::revision::NamedRule> {
        overrides(&Self::facts(key, template), self.overrides.values())
    }

    pub fn set_policy(&mut self, id: (String, String), policy: Option<Arc<Policy>>) {
        let old = match &policy {
            Some(new) => self.policies.insert(id, Arc::clone(new)),
            None => self.policies.remove(&id),
        };
        if old.as_ref().zip(policy.as_ref()).is_some_and(|(a, b)| a == b) {
            return;
        }
        let spec = |it: &Arc<Policy>| it.spec.selectors.clone();
        let mut selectors: Vec<TemplateSelector> = old.iter().flat_map(&spec).collect();
        selectors.extend(policy.iter().flat_map(&spec));
        self.touch_selected(&selectors);
    }

    pub fn set_override(&mut self, id: (String, String), policy: Option<Arc<Override>>) {
        let old = match &policy {
            Some(new) => self.overrides.insert(id, Arc::clone(new)),
            None => self.overrides.remove(&id),
        };
        if old.as_ref().zip(policy.as_ref()).is_some_and(|(a, b)| a == b) {
            return;
        }
        let spec = |it: &Arc<Override>| it.spec.selectors.clone();
        let mut selectors: Vec<TemplateSelector> = old.iter().flat_map(&spec).collect();
        selectors.extend(policy.iter().flat_map(&spec));
        self.touch_selected(&selectors);
    }

    /// A change of what the owner says of a cluster re-decides everything; of readiness, what waits and what is there;
    /// of room, only what waits (RULES 3.2).
    pub fn set_cluster(&mut self, name: &str, cluster: Option<MemberCluster>) {
        let new = cluster.map(Arc::new);
        let old = match &new {
            Some(new) => self.clusters.insert(name.to_owned(), Arc::clone(new)),
            None => self.clusters.remove(name),
        };
        let Some((old, new)) = old.as_ref().zip(new.as_ref()) else {
            self.fleet_version += 1;
            self.touch_everything();
            return;
        };
        let told = |it: &MemberCluster| {
            (
                it.spec.clone(),
                it.metadata.labels.clone(),
                it.metadata.deletion_timestamp.is_some(),
                it.metadata.annotations.clone(),
                it.status.as_ref().map(|it| it.apis.clone()),
            )
        };
        let shapes = |it: &MemberCluster| it.status.as_ref().map(|it| it.shapes.clone());
        if told(old) != told(new) {
            self.fleet_version += 1;
            self.touch_everything();
        } else if is_ready(old) != is_ready(new) {
            self.fleet_version += 1;
            self.touch_waiting();
            self.touch_placed_on(name);
        } else if shapes(old) != shapes(new) {
            self.fleet_version += 1;
            self.touch_waiting();
        }
    }

    pub fn set_template(&mut self, key: ObjectKey, template: Option<Arc<Template>>) {
        match template {
            Some(new) => {
                let old = self.templates.insert(key.clone(), Arc::clone(&new));
                let same = old.is_some_and(|old| {
                    old.uid == new.uid
                        && old.content == new.content
                        && old.labels == new.labels
                        && old.deleting == new.deleting
                        && old.finalizers == new.finalizers
                        && old.generation == new.generation
                });
                if !same {
                    self.dirty.insert(key);
                }
            }
            None => {
                if self.templates.remove(&key).is_some() {
                    self.dirty.insert(key);
                }
            }
        }
    }

    pub fn set_placement(&mut self, key: ObjectKey, placed: Option<Placed>) {
        let count = |it: &Placed| i64::try_from(it.spec.clusters.len()).unwrap_or(i64::MAX);
        let before = self.placements.get(&key).map_or(0, |it| count(it));
        let after = placed.as_ref().map_or(0, count);
        self.copies += after - before;
        let Some(placed) = placed else {
            if self.placements.remove(&key).is_some() {
                self.dirty.insert(key);
            }
            return;
        };
        let newer = self.placements.get(&key).is_none_or(|old| {
            version(&old.resource_version) <= version(&placed.resource_version)
        });
        if !newer {
            self.copies += before - after;
            return;
        }
        let spec_changed = self.placements.get(&key).is_none_or(|old| old.spec != placed.spec);
        if spec_changed || placed.unsettled() {
            self.dirty.insert(key.clone());
        }
        let name = (key.namespace.clone(), placed.name.clone());
        self.placement_names.insert(name, key.clone());
        self.placements.insert(key, Arc::new(placed));
    }

    /// A Placement is gone: deleted by us, or by someone who went around the hub's rules.
    pub fn forget_placement(&mut self, name: &(String, String)) {
        if let Some(key) = self.placement_names.remove(name) {
            self.set_placement(key, None);
        }
    }

    /// A Revision exists, or no longer does. Its name is the Placement's, a dash, and the hash.
    pub fn set_revision(&mut self, namespace: &str, name: &str, exists: bool) {
        let Some((placement, hash)) = name.rsplit_once('-') else { return };
        let home = (namespace.to_owned(), placement.to_owned());
        let hashes = self.revisions.entry(home.clone()).or_default();
        hashes.retain(|it| it != hash);
        if exists {
            hashes.push(hash.to_owned());
        } else if hashes.is_empty() {
            self.revisions.remove(&home);
        }
    }

    pub fn touch_everything(&mut self) {
        self.dirty.extend(self.templates.keys().cloned());
        self.dirty.extend(self.placements.keys().cloned());
    }

    /// Whatever waits: for a cluster, for room, for the gate.
    pub fn touch_waiting(&mut self) {
        let waiting = self.placements.iter().filter(|(_, it)| it.unsettled());
        self.dirty.extend(waiting.map(|(key, _)| key.clone()));
    }

    pub fn touch_placed_on(&mut self, cluster: &str) {
        let there = self.placements.iter().filter(|(_, it)| {
            it.spec.clusters.iter().any(|it| it.name == cluster)
                || it.spec.removing.iter().any(|it| it.name == cluster)
        });
        self.dirty.extend(there.map(|(key, _)| key.clone()));
    }

    fn touch_selected(&mut self, selectors: &[TemplateSelector]) {
        let hit = |key: &ObjectKey, labels: &BTreeMap<String, String>| {
            selectors
                .iter()
                .any(|it| it.matches(&key.gvk.group, &key.gvk.kind, &key.name, labels).is_some())
        };
        let keys: Vec<ObjectKey> = self
            .templates
            .iter()
            .filter(|(key, template)| hit(key, &template.labels))
            .map(|(key, _)| key.clone())
            .collect();
        self.dirty.extend(keys);
    }

    /// The kinds to watch: what policies select and what Placements name, with the version wanted first.
    pub fn wanted_kinds(&self) -> BTreeMap<KindKey, String> {
        let mut kinds = BTreeMap::new();
        for policy in self.policies.values() {
            for selector in &policy.spec.selectors {
                let gvk = Gvk::new(&selector.api_version, &selector.kind);
                kinds.entry((gvk.group, gvk.kind)).or_insert(gvk.version);
            }
        }
        for placed in self.placements.values() {
            let gvk = Gvk::new(&placed.spec.template.api_version, &placed.spec.template.kind);
            kinds.entry((gvk.group, gvk.kind)).or_insert(gvk.version);
        }
        kinds
    }
}

/// Whether the member answers, by its own condition.
pub fn is_ready(cluster: &MemberCluster) -> bool {
    cluster.status.as_ref().is_some_and(|it| condition::is_true(&it.conditions, READY))
}

/// Versions of our own hub are numbers that grow; what is not a number counts as oldest.
fn version(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}
