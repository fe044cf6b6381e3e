//! What the syncer knows of the hub: one index in memory, fed by watches, read by every pass.
//!
//! Changing it says whose passes are due; nothing else starts one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use federation_types::{
    budget::Freeze,
    cluster::{ClusterSetSpec, SecretRef, Taint},
    field_path::FieldPath,
    names::{Gvk, ObjectKey, SmolStr, placement_name},
    placement::{PlacedCluster, PlacementSpec, PlacementStatus, RemovedCluster},
    revision::NamedRule,
    selector::ClusterFacts,
    status_rule::StatusRuleSpec,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use status_rules::{Compiled, Rules};
use syncer_render::Asked;

use crate::queue::Key;

/// A pass that is due: which cluster, which template.
pub(crate) type Due = Vec<(String, Key)>;

#[derive(Debug)]
pub(crate) struct PlacementEntry {
    pub(crate) key: Key,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) spec: PlacementSpec,
}

impl PlacementEntry {
    /// What copies that are written now are marked with.
    pub(crate) fn asked(&self) -> Asked {
        Asked::by(&self.uid, self.generation)
    }

    pub(crate) fn placed(&self, cluster: &str) -> Option<&PlacedCluster> {
        self.spec.clusters.iter().find(|it| it.name == cluster)
    }

    pub(crate) fn removed(&self, cluster: &str) -> Option<&RemovedCluster> {
        self.spec.removing.iter().find(|it| it.name == cluster)
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = &str> {
        let placed = self.spec.clusters.iter().map(|it| it.name.as_str());
        placed.chain(self.spec.removing.iter().map(|it| it.name.as_str()))
    }
}

/// A revision; its content stays text until a manifest is made of it.
#[derive(Debug)]
pub(crate) struct RevisionEntry {
    pub(crate) hash: String,
    pub(crate) generation: i64,
    pub(crate) content: Box<RawValue>,
    pub(crate) rules: Vec<NamedRule>,
    pub(crate) replicas_path: Option<FieldPath>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClusterEntry {
    pub(crate) facts: ClusterFacts,
    pub(crate) uid: String,
    pub(crate) secret: Option<SecretRef>,
    pub(crate) taints: Vec<Taint>,
    /// `apps/v1/Deployment`: what the member serves.
    pub(crate) apis: Arc<[String]>,
    /// Why the providers' controller says that it is not ready; empty while it is. A reason to look.
    pub(crate) trouble: String,
    /// When it was last asked to take up writing again (RULES 4.3).
    pub(crate) resume: Option<jiff::Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NamespaceEntry {
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    placements: HashMap<Key, Arc<PlacementEntry>>,
    /// The template of a Placement, by the Placement's namespace and name.
    names: HashMap<(SmolStr, SmolStr), Key>,
    /// By namespace and name of the Revision.
    revisions: HashMap<(SmolStr, SmolStr), Arc<RevisionEntry>>,
    pub(crate) clusters: BTreeMap<String, Arc<ClusterEntry>>,
    sets: BTreeMap<String, ClusterSetSpec>,
    namespaces: HashMap<String, Arc<NamespaceEntry>>,
    /// The uids of namespaces that were deleted on the hub while it was watched. What a store never knew, or no longer
    /// knows, is not among them.
    departed: HashMap<String, String>,
    freezes: BTreeMap<String, Freeze>,
    /// StatusRules by name, and what they come to.
    status_rules: BTreeMap<String, Compiled>,
    pub(crate) rules: Arc<Rules>,
}

impl Index {
    pub(crate) fn placement(&self, key: &ObjectKey) -> Option<Arc<PlacementEntry>> {
        self.placements.get(key).cloned()
    }

    /// A rule of a custom kind; says of which kinds, in no version, objects are to be read anew.
    pub(crate) fn put_rule(&mut self, name: &str, spec: Option<StatusRuleSpec>) -> Vec<Gvk> {
        if self.status_rules.get(name).map(Compiled::spec) == spec.as_ref() {
            return Vec::new();
        }
        let mut kinds: Vec<Gvk> = spec.iter().map(StatusRuleSpec::kind).collect();
        let old = match spec {
            Some(spec) => self.status_rules.insert(name.to_owned(), Compiled::new(name, spec)),
            None => self.status_rules.remove(name),
        };
        kinds.extend(old.iter().map(|it| it.spec().kind()));
        kinds.dedup();
        let all = self.status_rules.iter().map(|(name, it)| (name.as_str(), it));
        self.rules = Arc::new(Rules::of(all).0);
        kinds
    }

    /// The templates of a kind, in whatever version.
    pub(crate) fn of_kind(&self, kind: &Gvk) -> Vec<Key> {
        let same = |it: &&Key| it.gvk.group == kind.group && it.gvk.kind == kind.kind;
        self.placements.keys().filter(same).cloned().collect()
    }

    /// The template that a Placement is about.
    pub(crate) fn placement_key(&self, namespace: &str, name: &str) -> Option<Key> {
        self.names.get(&(namespace.into(), name.into())).cloned()
    }

    pub(crate) fn placements(&self) -> impl Iterator<Item = &Arc<PlacementEntry>> {
        self.placements.values()
    }

    /// The templates that a cluster holds or is to lose.
    pub(crate) fn of_cluster(&self, cluster: &str) -> Vec<Key> {
        self.placements
            .values()
            .filter(|it| it.clusters().any(|name| name == cluster))
            .map(|it| Arc::clone(&it.key))
            .collect()
    }

    /// Clusters that Placements name and the inventory does not.
    pub(crate) fn strangers(&self) -> BTreeSet<String> {
        let named = self.placements.values().flat_map(|it| it.clusters());
        named.filter(|it| !self.clusters.contains_key(*it)).map(str::to_owned).collect()
    }

    pub(crate) fn revision(&self, key: &ObjectKey, hash: &str) -> Option<Arc<RevisionEntry>> {
        let name = format!("{}-{hash}", placement_name(&key.gvk, &key.name));
        self.revisions.get(&(key.namespace.clone(), name.into())).cloned()
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<Arc<NamespaceEntry>> {
        self.namespaces.get(name).cloned()
    }

    /// The uid of the namespace of that name that was deleted on the hub, and not made again.
    pub(crate) fn departed(&self, namespace: &str) -> Option<&str> {
        self.departed.get(namespace).map(String::as_str)
    }

    /// Whether the cluster holds or is to lose a template of that namespace.
    pub(crate) fn is_in_use(&self, cluster: &str, namespace: &str) -> bool {
        let mut within = self.placements.values().filter(|it| it.key.namespace == namespace);
        within.any(|it| it.clusters().any(|name| name == cluster))
    }

    /// Whether any freeze stops writes of that namespace into that cluster.
    pub(crate) fn is_frozen(&self, cluster: &str, namespace: &str) -> bool {
        self.freezes.values().any(|it| it.holds(cluster, namespace))
    }

    pub(crate) fn put_placement(&mut self, entry: PlacementEntry) -> Due {
        let key = Arc::clone(&entry.key);
        let before = self.placements.get(&key);
        if before.is_some_and(|it| it.spec == entry.spec && it.generation == entry.generation) {
            return Vec::new();
        }
        let mut due: Due = entry.clusters().map(|it| (it.to_owned(), Arc::clone(&key))).collect();
        for cluster in before.iter().flat_map(|it| it.clusters()) {
            if !due.iter().any(|(it, _)| it == cluster) {
                due.push((cluster.to_owned(), Arc::clone(&key)));
            }
        }
        self.names.insert((key.namespace.clone(), entry.name.as_str().into()), Arc::clone(&key));
        self.placements.insert(key, Arc::new(entry));
        due
    }

    pub(crate) fn drop_placement(&mut self, key: &ObjectKey) -> Due {
        let Some(gone) = self.placements.remove(key) else { return Vec::new() };
        self.names.remove(&(key.namespace.clone(), gone.name.as_str().into()));
        gone.clusters().map(|it| (it.to_owned(), Arc::clone(&gone.key))).collect()
    }

    pub(crate) fn put_revision(
        &mut self,
        namespace: &str,
        name: &str,
        template: &ObjectKey,
        entry: RevisionEntry,
    ) -> Due {
        let hash = entry.hash.clone();
        let known = self.revisions.insert((namespace.into(), name.into()), Arc::new(entry));
        if known.is_some() {
            return Vec::new();
        }
        let Some(placement) = self.placements.get(template) else { return Vec::new() };
        placement
            .spec
            .clusters
            .iter()
            .filter(|it| it.revision == hash)
            .map(|it| (it.name.clone(), Arc::clone(&placement.key)))
            .collect()
    }

    pub(crate) fn drop_revision(&mut self, namespace: &str, name: &str) {
        self.revisions.remove(&(namespace.into(), name.into()));
    }

    /// Says whether anything that passes look at has changed.
    pub(crate) fn put_cluster(&mut self, mut entry: ClusterEntry) -> bool {
        entry.facts.sets = self.sets_of(&entry.facts);
        let name = entry.facts.name.clone();
        if self.clusters.get(&name).is_some_and(|it| **it == entry) {
            return false;
        }
        self.clusters.insert(name, Arc::new(entry));
        true
    }

    fn sets_of(&self, facts: &ClusterFacts) -> BTreeSet<String> {
        self.sets
            .iter()
            .filter(|(_, set)| set.holds(&facts.name, &facts.labels))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// A set changed: who is in it is computed anew. Says which clusters it changed.
    pub(crate) fn put_set(&mut self, name: &str, spec: Option<ClusterSetSpec>) -> Vec<String> {
        match spec {
            Some(spec) => drop(self.sets.insert(name.to_owned(), spec)),
            None => drop(self.sets.remove(name)),
        }
        let entries: Vec<ClusterEntry> = self.clusters.values().map(|it| (**it).clone()).collect();
        entries
            .into_iter()
            .filter_map(|it| {
                let name = it.facts.name.clone();
                self.put_cluster(it).then_some(name)
            })
            .collect()
    }

    /// The clusters that hold copies in a namespace whose labels or annotations changed, each with one of the copies; all
    /// clusters, each with the namespace, where it was deleted.
    pub(crate) fn put_namespace(&mut self, name: &str, entry: Option<NamespaceEntry>) -> Due {
        let changed = match entry {
            None => {
                let Some(gone) = self.namespaces.remove(name) else { return Vec::new() };
                self.departed.insert(name.to_owned(), gone.uid.clone());
                let key = namespace_key(name);
                return self.clusters.keys().map(|it| (it.clone(), Arc::clone(&key))).collect();
            }
            Some(entry) if self.namespaces.get(name).is_some_and(|it| **it == entry) => false,
            Some(entry) => {
                self.departed.remove(name);
                self.namespaces.insert(name.to_owned(), Arc::new(entry)).is_some()
            }
        };
        if !changed {
            return Vec::new();
        }
        let mut due: BTreeMap<String, Key> = BTreeMap::new();
        for placement in self.placements.values().filter(|it| it.key.namespace == name) {
            for placed in &placement.spec.clusters {
                due.entry(placed.name.clone()).or_insert_with(|| Arc::clone(&placement.key));
            }
        }
        due.into_iter().collect()
    }

    /// Says whether the freeze is another one now.
    pub(crate) fn put_freeze(&mut self, name: &str, freeze: Option<Freeze>) -> bool {
        match freeze {
            Some(freeze) => self.freezes.insert(name.to_owned(), freeze.clone()) != Some(freeze),
            None => self.freezes.remove(name).is_some(),
        }
    }
}

pub(crate) fn namespace_kind() -> Gvk {
    Gvk::new("v1", "Namespace")
}

pub(crate) fn namespace_key(name: &str) -> Key {
    Arc::new(ObjectKey { gvk: namespace_kind(), namespace: SmolStr::default(), name: name.into() })
}

/// What is read of an object's metadata.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Meta {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(default)]
    pub(crate) uid: String,
    #[serde(default)]
    pub(crate) generation: i64,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A Placement or a ClusterPlacement as it is watched.
#[derive(Debug, Deserialize)]
pub(crate) struct WatchedPlacement {
    pub(crate) metadata: Meta,
    #[serde(default)]
    pub(crate) spec: PlacementSpec,
    #[serde(default)]
    pub(crate) status: Option<PlacementStatus>,
}

impl WatchedPlacement {
    pub(crate) fn key(&self) -> ObjectKey {
        let template = &self.spec.template;
        ObjectKey {
            gvk: Gvk::new(&template.api_version, &template.kind),
            namespace: self.metadata.namespace.as_str().into(),
            name: template.name.as_str().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(generation: i64, clusters: &[&str]) -> PlacementEntry {
        PlacementEntry {
            key: Arc::new(ObjectKey {
                gvk: Gvk::new("apps/v1", "Deployment"),
                namespace: "shop".into(),
                name: "web".into(),
            }),
            name: "deployment-web".into(),
            uid: "uid".into(),
            generation,
            spec: PlacementSpec {
                clusters: clusters
                    .iter()
                    .map(|it| PlacedCluster {
                        name: (*it).into(),
                        revision: "r1".into(),
                        ..PlacedCluster::default()
                    })
                    .collect(),
                ..PlacementSpec::default()
            },
        }
    }

    fn names(due: Due) -> Vec<String> {
        due.into_iter().map(|(cluster, _)| cluster).collect()
    }

    #[test]
    fn a_changed_placement_is_due_in_the_clusters_it_names_and_named_and_an_equal_one_nowhere() {
        let mut index = Index::default();
        assert_eq!(names(index.put_placement(entry(1, &["a", "b"]))), ["a", "b"]);
        assert_eq!(names(index.put_placement(entry(1, &["a", "b"]))), [""; 0]);
        assert_eq!(names(index.put_placement(entry(2, &["b", "c"]))), ["b", "c", "a"]);
    }

    #[test]
    fn a_revision_that_comes_after_its_placement_makes_the_passes_due_that_wait_for_it() {
        let mut index = Index::default();
        index.put_placement(entry(1, &["a"]));
        let key = Arc::clone(&entry(1, &[]).key);
        let revision = |hash: &str| RevisionEntry {
            hash: hash.into(),
            generation: 1,
            content: RawValue::from_string("{}".into()).expect("JSON"),
            rules: Vec::new(),
            replicas_path: None,
        };
        assert_eq!(
            names(index.put_revision("shop", "deployment-web-r1", &key, revision("r1"))),
            ["a"]
        );
        assert_eq!(
            names(index.put_revision("shop", "deployment-web-r2", &key, revision("r2"))),
            [""; 0]
        );
        assert!(index.revision(&key, "r1").is_some());
    }

    #[test]
    fn rule_1_3_a_freeze_of_any_budget_holds() {
        let mut index = Index::default();
        let freeze = Freeze { clusters: vec!["a".into()], ..Freeze::default() };
        assert!(index.put_freeze("default", Some(freeze)));
        assert!(index.is_frozen("a", "shop") && !index.is_frozen("b", "shop"));
        assert!(index.put_freeze("default", None));
        assert!(!index.is_frozen("a", "shop"));
    }
}
