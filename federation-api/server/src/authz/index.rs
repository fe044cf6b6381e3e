//! Roles and bindings by whom they concern: an index in memory, told of each change, that answers without waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::rule::{Action, Rule};
use crate::identity::Identity;

/// A kind that the index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
}

/// Namespace (empty for cluster-wide kinds) and name.
type Place = (String, String);

/// The effective rules of a role.
pub(super) type Rules = Arc<[Rule]>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    User(String),
    Group(String),
}

#[derive(Debug)]
struct ClusterRole {
    labels: BTreeMap<String, String>,
    /// What the role says itself.
    own: Rules,
    /// Of `aggregationRule`; empty when it aggregates nothing.
    selectors: Vec<Value>,
    /// What it allows: `own`, or the rules of those that its selectors choose.
    effective: Rules,
}

#[derive(Debug)]
struct Binding {
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// The role that a binding names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleRef {
    Role { namespace: String, name: String },
    ClusterRole(String),
}

/// All roles and bindings.
#[derive(Debug, Default)]
pub struct Index {
    roles: BTreeMap<Place, Rules>,
    cluster_roles: BTreeMap<String, ClusterRole>,
    bindings: BTreeMap<Place, Binding>,
    /// Subject → bindings: an empty namespace is a ClusterRoleBinding.
    by_subject: BTreeMap<Subject, BTreeSet<Place>>,
}

impl Index {
    /// Takes up a new version of an object.
    pub fn apply(&mut self, kind: Kind, object: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&object["metadata"]["name"]);
        let namespace = text(&object["metadata"]["namespace"]);
        match kind {
            Kind::Role => {
                self.roles.insert((namespace, name), rules_of(object));
            }
            Kind::ClusterRole => {
                let labels = object["metadata"]["labels"].as_object();
                let role = ClusterRole {
                    labels: labels
                        .into_iter()
                        .flatten()
                        .map(|(key, value)| (key.clone(), text(value)))
                        .collect(),
                    own: rules_of(object),
                    selectors: object["aggregationRule"]["clusterRoleSelectors"]
                        .as_array()
                        .cloned()
                        .unwrap_or_default(),
                    effective: Arc::default(),
                };
                self.cluster_roles.insert(name, role);
                self.aggregate();
            }
            Kind::RoleBinding => self.bind((namespace, name), object),
            Kind::ClusterRoleBinding => self.bind((String::new(), name), object),
        }
    }

    /// Forgets an object.
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        let place = (namespace.to_owned(), name.to_owned());
        match kind {
            Kind::Role => {
                self.roles.remove(&place);
            }
            Kind::ClusterRole => {
                if self.cluster_roles.remove(name).is_some() {
                    self.aggregate();
                }
            }
            Kind::RoleBinding => self.unbind(&place),
            Kind::ClusterRoleBinding => self.unbind(&(String::new(), name.to_owned())),
        }
    }

    /// Whether some binding allows it: any ClusterRoleBinding and, in a namespace, any RoleBinding there.
    pub fn allows(&self, identity: &Identity, namespace: &str, action: &Action<'_>) -> bool {
        self.bound(identity, namespace).any(|rules| rules.iter().any(|rule| rule.allows(action)))
    }

    /// All that somebody may do in a namespace (empty: cluster-wide).
    pub fn rules_for(&self, identity: &Identity, namespace: &str) -> Vec<Rule> {
        self.bound(identity, namespace).flat_map(|rules| rules.iter().cloned()).collect()
    }

    /// The effective rules of a role; `None` when it does not exist.
    pub fn rules_of(&self, role: &RoleRef) -> Option<Rules> {
        match role {
            RoleRef::Role { namespace, name } => {
                self.roles.get(&(namespace.clone(), name.clone())).cloned()
            }
            RoleRef::ClusterRole(name) => {
                self.cluster_roles.get(name).map(|role| Arc::clone(&role.effective))
            }
        }
    }

    fn bound<'a>(
        &'a self,
        identity: &'a Identity,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Rules> {
        let user = Subject::User(identity.user.clone());
        let groups = identity.groups.iter().cloned().map(Subject::Group);
        std::iter::once(user)
            .chain(groups)
            .filter_map(|subject| self.by_subject.get(&subject))
            .flatten()
            .filter(move |place| place.0.is_empty() || place.0 == namespace)
            .filter_map(|place| self.bindings.get(place))
            .filter_map(|binding| match &binding.role {
                RoleRef::Role { namespace, name } => {
                    self.roles.get(&(namespace.clone(), name.clone()))
                }
                RoleRef::ClusterRole(name) => {
                    self.cluster_roles.get(name).map(|role| &role.effective)
                }
            })
    }

    fn bind(&mut self, place: Place, object: &Value) {
        self.unbind(&place);
        let Some(role) = role_ref(object, &place.0) else { return };
        let subjects: Vec<Subject> =
            object["subjects"].as_array().into_iter().flatten().filter_map(subject).collect();
        for subject in &subjects {
            self.by_subject.entry(subject.clone()).or_default().insert(place.clone());
        }
        self.bindings.insert(place, Binding { role, subjects });
    }

    fn unbind(&mut self, place: &Place) {
        let Some(binding) = self.bindings.remove(place) else { return };
        for subject in binding.subjects {
            if let Some(places) = self.by_subject.get_mut(&subject) {
                places.remove(place);
                if places.is_empty() {
                    self.by_subject.remove(&subject);
                }
            }
        }
    }

    /// Computes what every cluster role allows. An aggregating role may itself be aggregated (`view` into `edit`), so
    /// this repeats until nothing grows; there are few of them.
    fn aggregate(&mut self) {
        let mut effective: BTreeMap<String, BTreeSet<Rule>> = self
            .cluster_roles
            .iter()
            .map(|(name, role)| {
                let own = if role.selectors.is_empty() { role.own.to_vec() } else { Vec::new() };
                (name.clone(), own.into_iter().collect())
            })
            .collect();
        let chosen: Vec<(String, Vec<String>)> = self
            .cluster_roles
            .iter()
            .filter(|(_, role)| !role.selectors.is_empty())
            .map(|(name, role)| {
                let sources = self.cluster_roles.iter().filter(|(other, source)| {
                    *other != name && role.selectors.iter().any(|s| selects(s, &source.labels))
                });
                (name.clone(), sources.map(|(source, _)| source.clone()).collect())
            })
            .collect();
        loop {
            let mut grew = false;
            for (name, sources) in &chosen {
                let union: BTreeSet<Rule> =
                    sources.iter().flat_map(|source| effective[source].iter().cloned()).collect();
                if effective[name] != union {
                    effective.insert(name.clone(), union);
                    grew = true;
                }
            }
            if !grew {
                break;
            }
        }
        for (name, rules) in effective {
            let role = self.cluster_roles.get_mut(&name).expect("computed from the same map");
            let rules: Vec<Rule> = rules.into_iter().collect();
            if *role.effective != rules[..] {
                role.effective = rules.into();
            }
        }
    }
}

/// The role that a binding object names; a Role only from within a namespace.
pub(super) fn role_ref(binding: &Value, namespace: &str) -> Option<RoleRef> {
    let name = binding["roleRef"]["name"].as_str()?.to_owned();
    match binding["roleRef"]["kind"].as_str()? {
        "Role" if !namespace.is_empty() => {
            Some(RoleRef::Role { namespace: namespace.to_owned(), name })
        }
        "ClusterRole" => Some(RoleRef::ClusterRole(name)),
        _ => None,
    }
}

fn rules_of(object: &Value) -> Rules {
    object["rules"].as_array().into_iter().flatten().map(Rule::from_value).collect()
}

fn subject(value: &Value) -> Option<Subject> {
    let name = value["name"].as_str()?;
    match value["kind"].as_str()? {
        "User" => Some(Subject::User(name.to_owned())),
        "Group" => Some(Subject::Group(name.to_owned())),
        "ServiceAccount" => {
            let namespace = value["namespace"].as_str()?;
            Some(Subject::User(format!("system:serviceaccount:{namespace}:{name}")))
        }
        _ => None,
    }
}

/// Whether a label selector (`matchLabels`, `matchExpressions`) chooses these labels. An operator that is not known
/// chooses nothing.
fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    equal.into_iter().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
        && expressions.into_iter().all(|expression| {
            let value = expression["key"].as_str().and_then(|key| labels.get(key));
            let listed = value.is_some_and(|value| {
                expression["values"]
                    .as_array()
                    .is_some_and(|values| values.iter().any(|item| item == value.as_str()))
            });
            match expression["operator"].as_str() {
                Some("In") => listed,
                Some("NotIn") => !listed,
                Some("Exists") => value.is_some(),
                Some("DoesNotExist") => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests;
