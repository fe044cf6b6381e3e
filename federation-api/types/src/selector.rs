//! Selectors: of labels, of templates, of clusters.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A label selector as everywhere in Kubernetes; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be there with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelRequirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: LabelOperator,
    /// With `In` and `NotIn`: the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelSelector {
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|it| it.matches(labels))
    }
}

impl LabelRequirement {
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            LabelOperator::In => value.is_some_and(|it| self.values.contains(it)),
            LabelOperator::NotIn => value.is_none_or(|it| !self.values.contains(it)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// Which templates a policy is about: all stated parts must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateSelector {
    /// `apps/v1`, `v1`
    pub api_version: String,
    /// `Deployment`
    pub kind: String,
    /// Empty selects every name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Labels of the templates; empty: all.
    #[serde(default, skip_serializing_if = "LabelSelector::is_empty")]
    pub label_selector: LabelSelector,
}

/// How narrowly a selector matched: what decides between policies of one priority (RULES 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Specificity {
    Kind,
    Labels,
    Name,
}

impl TemplateSelector {
    /// Whether the template is selected, and how narrowly. The version does not count: a policy on `apps/v1beta1`
    /// selects what the hub serves as `apps/v1`.
    pub fn matches(
        &self,
        group: &str,
        kind: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Option<Specificity> {
        let own_group = self.api_version.split_once('/').map_or("", |(group, _)| group);
        if own_group != group || self.kind != kind {
            return None;
        }
        if !self.name.is_empty() && self.name != name {
            return None;
        }
        if !self.label_selector.matches(labels) {
            return None;
        }
        Some(if !self.name.is_empty() {
            Specificity::Name
        } else if !self.label_selector.is_empty() {
            Specificity::Labels
        } else {
            Specificity::Kind
        })
    }
}

/// Which clusters a rule is about: every stated part restricts, an empty one does not. `regions`, `zones` and `names`
/// take `*` as a wildcard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSelector {
    /// Names of ClusterSets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// Providers: `eks`, `gke`, `aks`, `onprem`; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// Regions, `*` as a wildcard; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Zones, `*` as a wildcard, of which the cluster has one; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// Labels of the MemberCluster; empty: all.
    #[serde(default, skip_serializing_if = "LabelSelector::is_empty")]
    pub label_selector: LabelSelector,
    /// Names, `*` as a wildcard; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Names left out, with `*` as a wildcard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// CEL over `cluster` (name, provider, region, zones, jurisdiction, labels, minor, properties): all must be true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expressions: Vec<String>,
}

impl ClusterSelector {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every part but `expressions` holds for the cluster; those need an evaluator, and who asks here must see
    /// to them.
    pub fn matches(&self, cluster: &ClusterFacts) -> bool {
        let any = |patterns: &[String], text: &str| patterns.iter().any(|it| glob(it, text));
        (self.sets.is_empty() || self.sets.iter().any(|it| cluster.sets.contains(it)))
            && (self.providers.is_empty() || self.providers.contains(&cluster.provider))
            && (self.regions.is_empty() || any(&self.regions, &cluster.region))
            && (self.zones.is_empty() || cluster.zones.iter().any(|it| any(&self.zones, it)))
            && self.label_selector.matches(&cluster.labels)
            && (self.names.is_empty() || any(&self.names, &cluster.name))
            && !any(&self.exclude, &cluster.name)
    }
}

/// What selectors may ask of a cluster: from the hub's `spec` and labels, never from what a member reports (RULES 2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    pub name: String,
    pub provider: String,
    pub region: String,
    pub zones: Vec<String>,
    pub jurisdiction: String,
    pub labels: BTreeMap<String, String>,
    /// Names of the ClusterSets that it is in.
    pub sets: BTreeSet<String>,
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        };
        check("eu-*", "eu-west-1", true);
        check("eu-*", "us-east-1", false);
        check("*-west-*", "eu-west-1", true);
        check("eu-west-1", "eu-west-1", true);
        check("eu-west-1", "eu-west-12", false);
        check("*", "", true);
        check("a*a", "a", false);
        check("a*b*c", "axbxbc", true);
    }

    #[test]
    fn every_stated_part_of_a_cluster_selector_restricts_and_an_empty_one_does_not() {
        let cluster = ClusterFacts {
            name: "eks-a".into(),
            provider: "eks".into(),
            region: "eu-west-1".into(),
            zones: vec!["eu-west-1a".into()],
            sets: BTreeSet::from(["prod".to_owned()]),
            ..ClusterFacts::default()
        };
        let check = |expected: bool, edit: fn(&mut ClusterSelector)| {
            let mut selector = ClusterSelector::default();
            edit(&mut selector);
            assert_eq!(selector.matches(&cluster), expected, "{selector:?}");
        };
        check(true, |_| ());
        check(true, |it| it.regions = vec!["us-*".into(), "eu-*".into()]);
        check(false, |it| it.regions = vec!["us-*".into()]);
        check(true, |it| it.zones = vec!["*1a".into()]);
        check(false, |it| it.zones = vec!["*1b".into()]);
        check(true, |it| it.sets = vec!["prod".into()]);
        check(false, |it| it.sets = vec!["dev".into()]);
        check(false, |it| it.providers = vec!["gke".into()]);
        check(true, |it| it.names = vec!["eks-*".into()]);
        check(false, |it| it.exclude = vec!["*-a".into()]);
    }

    #[test]
    fn the_narrower_selector_is_known() {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        let mut selector = TemplateSelector {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            ..TemplateSelector::default()
        };
        let on = |it: &TemplateSelector| it.matches("apps", "Deployment", "web", &labels);
        assert_eq!(on(&selector), Some(Specificity::Kind));
        selector.label_selector.match_labels.insert("tier".into(), "web".into());
        assert_eq!(on(&selector), Some(Specificity::Labels));
        selector.name = "web".into();
        assert_eq!(on(&selector), Some(Specificity::Name));
        selector.name = "api".into();
        assert_eq!(on(&selector), None);
    }
}
