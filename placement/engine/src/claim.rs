//! Which policy decides for a template: computed on every pass, never remembered (RULES 2.1, 2.2, 2.4).

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use federation_types::{
    names::{GROUP, Gvk, ObjectKey, SYSTEM_NAMESPACE, SmolStr},
    overrides::OverridePolicySpec,
    placement::PolicyRef,
    policy::{
        ClusterPlacementPolicy, Limits, PlacementPolicy, PlacementPolicySpec, SystemNamespaces,
    },
    revision::NamedRule,
    selector::{Specificity, TemplateSelector, glob},
    validate::Problem,
};

use crate::policy::CompiledPolicy;

/// A policy of either scope, as the index holds it.
#[derive(Debug, PartialEq)]
pub struct Policy {
    /// Empty for cluster policies.
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub generation: i64,
    pub spec: PlacementPolicySpec,
    pub limits: Option<Limits>,
    pub limits_only: bool,
    /// Of a cluster policy: the namespaces whose templates match; empty: all.
    pub namespaces: Vec<String>,
    pub system_namespaces: Option<SystemNamespaces>,
}

impl From<&PlacementPolicy> for Policy {
    fn from(object: &PlacementPolicy) -> Self {
        let PlacementPolicy { metadata, spec, .. } = object.clone();
        Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            generation: metadata.generation.unwrap_or(0),
            spec,
            limits: None,
            limits_only: false,
            namespaces: Vec::new(),
            system_namespaces: None,
        }
    }
}

impl From<&ClusterPlacementPolicy> for Policy {
    fn from(object: &ClusterPlacementPolicy) -> Self {
        let ClusterPlacementPolicy { metadata, spec, .. } = object.clone();
        Self {
            namespace: String::new(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            generation: metadata.generation.unwrap_or(0),
            spec: spec.policy,
            limits: spec.limits,
            limits_only: spec.limits_only,
            namespaces: spec.namespaces,
            system_namespaces: spec.system_namespaces,
        }
    }
}

impl Policy {
    pub fn reference(&self) -> PolicyRef {
        let kind =
            if self.namespace.is_empty() { "ClusterPlacementPolicy" } else { "PlacementPolicy" };
        PolicyRef { kind: kind.to_owned(), name: self.name.clone() }
    }

    /// `PlacementPolicy shop/web`
    pub fn title(&self) -> String {
        if self.namespace.is_empty() {
            format!("ClusterPlacementPolicy {}", self.name)
        } else {
            format!("PlacementPolicy {}/{}", self.namespace, self.name)
        }
    }

    /// Whether the policy selects the template, and how narrowly.
    pub fn selects(&self, template: &Facts<'_>) -> Option<Specificity> {
        if !in_scope(&self.namespace, &self.namespaces, template) {
            return None;
        }
        let system = template.key.namespace.starts_with("kube-");
        if system && (!self.namespace.is_empty() || self.system_namespaces.is_none()) {
            return None;
        }
        narrowest(&self.spec.selectors, template)
    }
}

/// What a claim looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub key: &'a ObjectKey,
    pub labels: &'a BTreeMap<String, String>,
    /// `type` of a Secret, otherwise empty.
    pub secret_type: &'a str,
}

/// Who decides for a template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claim {
    /// None: the template is unclaimed and stays on the hub.
    pub winner: Option<Arc<Policy>>,
    /// The others that select it, best first, each with why it lost.
    pub shadowed: Vec<(Arc<Policy>, Lost)>,
    /// Every matching cluster policy that has limits; they hold whoever claims.
    pub limits: Vec<Arc<Policy>>,
    /// Of a template that no policy selects and that is claimed for the sake of others: the first ten of those that need
    /// it (RULES 4.7).
    pub users: Vec<ObjectKey>,
}

impl Claim {
    /// The winner with the limits that hold for it, ready for deciding; `None` for a template that nobody claims.
    pub fn compile(&self) -> Option<Result<CompiledPolicy, Vec<Problem>>> {
        let winner = self.winner.as_ref()?;
        let titles: Vec<String> = self.limits.iter().map(|it| it.title()).collect();
        let limits: Vec<_> = titles
            .iter()
            .zip(&self.limits)
            .filter_map(|(title, policy)| Some((title.as_str(), policy.limits.as_ref()?)))
            .collect();
        let namespace = (!winner.namespace.is_empty()).then_some(winner.namespace.as_str());
        Some(CompiledPolicy::compile(&winner.title(), namespace, &winner.spec, &limits))
    }
}

/// Why a policy that matches does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    Priority,
    Specificity,
    Scope,
    Name,
}

impl Lost {
    /// In words, for `why`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Priority => "its priority is lower",
            Self::Specificity => "its selector is wider",
            Self::Scope => "a namespaced policy goes before a cluster policy",
            Self::Name => "its name comes later",
        }
    }
}

/// Finds the claim of a template among all policies.
pub fn claim<'a>(
    template: &Facts<'_>,
    policies: impl IntoIterator<Item = &'a Arc<Policy>>,
) -> Claim {
    if never(template).is_some() {
        return Claim::default();
    }
    let mut found: Vec<(Specificity, &Arc<Policy>)> = policies
        .into_iter()
        .filter_map(|policy| policy.selects(template).map(|specificity| (specificity, policy)))
        .collect();
    found.sort_by_key(|(specificity, policy)| {
        (
            Reverse(policy.spec.priority),
            Reverse(*specificity),
            policy.namespace.is_empty(),
            policy.name.clone(),
        )
    });
    let limits = found
        .iter()
        .filter(|(_, policy)| policy.limits.is_some())
        .map(|(_, policy)| Arc::clone(policy))
        .collect();
    let mut claimants = found.iter().filter(|(_, policy)| !policy.limits_only);
    let Some((specificity, winner)) = claimants.next() else {
        return Claim { limits, ..Claim::default() };
    };
    let shadowed = claimants
        .map(|(its, policy)| {
            let lost = if policy.spec.priority != winner.spec.priority {
                Lost::Priority
            } else if its != specificity {
                Lost::Specificity
            } else if policy.namespace.is_empty() != winner.namespace.is_empty() {
                Lost::Scope
            } else {
                Lost::Name
            };
            (Arc::clone(policy), lost)
        })
        .collect();
    Claim { winner: Some(Arc::clone(winner)), shadowed, limits, ..Claim::default() }
}

/// An override policy of either scope.
#[derive(Debug, PartialEq)]
pub struct Override {
    /// Empty for cluster overrides.
    pub namespace: String,
    pub name: String,
    pub generation: i64,
    pub spec: OverridePolicySpec,
}

impl Override {
    /// `OverridePolicy shop/web`
    pub fn title(&self) -> String {
        if self.namespace.is_empty() {
            format!("ClusterOverridePolicy {}", self.name)
        } else {
            format!("OverridePolicy {}/{}", self.namespace, self.name)
        }
    }

    /// Whether its rules are for the template.
    pub fn selects(&self, template: &Facts<'_>) -> bool {
        in_scope(&self.namespace, &[], template)
            && narrowest(&self.spec.selectors, template).is_some()
    }
}

/// The override rules that match a template, in the order in which they are applied: cluster policies before namespaced
/// ones, lower priority before higher, then by name.
pub fn overrides<'a>(
    template: &Facts<'_>,
    policies: impl IntoIterator<Item = &'a Arc<Override>>,
) -> Vec<NamedRule> {
    let mut found: Vec<&Arc<Override>> =
        policies.into_iter().filter(|it| it.selects(template)).collect();
    found.sort_by_key(|it| (!it.namespace.is_empty(), it.spec.priority, it.name.clone()));
    let mut rules = Vec::new();
    for policy in found {
        let title = policy.title();
        for (at, rule) in policy.spec.rules.iter().enumerate() {
            rules.push(NamedRule { from: format!("{title} rule {at}"), rule: rule.clone() });
        }
    }
    rules
}

/// Why nothing that the selector names is ever a template (RULES 2.4), as far as that can be told of its kind and name.
pub fn never_selected(selector: &TemplateSelector) -> Option<&'static str> {
    let key = ObjectKey {
        gvk: Gvk::new(&selector.api_version, &selector.kind),
        namespace: SmolStr::default(),
        name: selector.name.as_str().into(),
    };
    never(&Facts { key: &key, labels: &BTreeMap::new(), secret_type: "" })
}

/// What is never a template, whoever selects it (RULES 2.4); says why.
pub fn never(template: &Facts<'_>) -> Option<&'static str> {
    let ObjectKey { gvk, namespace, name } = template.key;
    let (group, kind) = (gvk.group.as_str(), gvk.kind.as_str());
    if namespace == SYSTEM_NAMESPACE || (kind == "Namespace" && name == SYSTEM_NAMESPACE) {
        return Some("everything in archipel-system is the hub's own");
    }
    if group == GROUP || group.ends_with(".archipel.dev") {
        return Some("kinds of archipel.dev are never templates");
    }
    if group == "apiextensions.k8s.io" && kind == "CustomResourceDefinition" && defines_ours(name) {
        return Some("the definitions of archipel.dev are the hub's own");
    }
    let hub_only = match (group, kind) {
        ("", "Event" | "Endpoints" | "Node" | "Binding" | "ComponentStatus")
        | ("events.k8s.io", "Event")
        | ("discovery.k8s.io", "EndpointSlice")
        | ("coordination.k8s.io", _)
        | ("apps", "ControllerRevision")
        | ("certificates.k8s.io", _)
        | ("apiregistration.k8s.io", _)
        | ("authentication.k8s.io" | "authorization.k8s.io", _) => true,
        ("", "ConfigMap") => name == "kube-root-ca.crt",
        ("", "ServiceAccount") => name == "default",
        ("", "Service") => namespace == "default" && name == "kubernetes",
        ("", "Namespace") => {
            matches!(name.as_str(), "default" | "kube-system" | "kube-public" | "kube-node-lease")
        }
        _ => false,
    };
    if hub_only {
        return Some("it belongs to one cluster");
    }
    let own_secret = matches!(
        template.secret_type,
        "kubernetes.io/service-account-token"
            | "bootstrap.kubernetes.io/token"
            | "helm.sh/release.v1"
            | "helm.sh/release"
    );
    if group.is_empty() && kind == "Secret" && own_secret {
        return Some("Secrets of this type belong to one cluster");
    }
    None
}

/// Whether a definition, which is called `PLURAL.GROUP`, is of a kind of ours.
fn defines_ours(name: &str) -> bool {
    name.split_once('.')
        .is_some_and(|(_, group)| group == GROUP || group.ends_with(".archipel.dev"))
}

fn in_scope(policy_namespace: &str, namespaces: &[String], template: &Facts<'_>) -> bool {
    if policy_namespace.is_empty() {
        namespaces.is_empty() || namespaces.iter().any(|it| glob(it, &template.key.namespace))
    } else {
        template.key.namespace == policy_namespace
    }
}

fn narrowest(selectors: &[TemplateSelector], template: &Facts<'_>) -> Option<Specificity> {
    let ObjectKey { gvk, name, .. } = template.key;
    selectors.iter().filter_map(|it| it.matches(&gvk.group, &gvk.kind, name, template.labels)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `namespace/name priority kind[:name][?label=value]`, namespace `-` for a cluster policy.
    fn policy(text: &str) -> Arc<Policy> {
        let mut words = text.split_whitespace();
        let (namespace, name) = words.next().unwrap().split_once('/').unwrap();
        let priority = words.next().unwrap().parse().unwrap();
        let selector = words.next().unwrap();
        let (selector, label) = selector.split_once('?').unwrap_or((selector, ""));
        let (kind, object) = selector.split_once(':').unwrap_or((selector, ""));
        let mut selector = TemplateSelector {
            api_version: "apps/v1".into(),
            kind: kind.into(),
            name: object.into(),
            ..TemplateSelector::default()
        };
        if let Some((key, value)) = label.split_once('=') {
            selector.label_selector.match_labels.insert(key.into(), value.into());
        }
        let flags: Vec<&str> = words.collect();
        Arc::new(Policy {
            namespace: if namespace == "-" { String::new() } else { namespace.into() },
            name: name.into(),
            uid: name.into(),
            generation: 1,
            spec: PlacementPolicySpec {
                selectors: vec![selector],
                priority,
                ..PlacementPolicySpec::default()
            },
            limits: flags.contains(&"limits").then(Limits::default),
            limits_only: flags.contains(&"only"),
            namespaces: Vec::new(),
            system_namespaces: flags.contains(&"system").then_some(SystemNamespaces::Allow),
        })
    }

    fn claimed(object: &str, policies: &[&str]) -> String {
        let (namespace, name) = object.split_once('/').unwrap();
        let key = ObjectKey {
            gvk: Gvk::new("apps/v1", "Deployment"),
            namespace: namespace.into(),
            name: name.into(),
        };
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        let policies: Vec<_> = policies.iter().map(|it| policy(it)).collect();
        let facts = Facts { key: &key, labels: &labels, secret_type: "" };
        let claim = claim(&facts, &policies);
        let mut text = claim.winner.map_or_else(|| "-".to_owned(), |it| it.name.clone());
        for (policy, lost) in claim.shadowed {
            text += &format!(" {}:{lost:?}", policy.name);
        }
        for policy in claim.limits {
            text += &format!(" limits:{}", policy.name);
        }
        text
    }

    #[test]
    fn rule_2_1_priority_then_specificity_then_scope_then_name() {
        assert_eq!(
            claimed(
                "shop/web",
                &[
                    "shop/kind 1 Deployment",
                    "shop/b-name 1 Deployment:web",
                    "shop/a-name 1 Deployment:web",
                    "-/cluster-name 1 Deployment:web",
                    "shop/label 1 Deployment?tier=web",
                    "-/high 2 Deployment",
                    "other/far 9 Deployment",
                    "shop/else 9 Deployment:api",
                ]
            ),
            "high a-name:Priority b-name:Priority cluster-name:Priority label:Priority kind:Priority"
        );
        assert_eq!(
            claimed(
                "shop/web",
                &["shop/kind 1 Deployment", "-/c 1 Deployment:web", "shop/a 1 Deployment:web"]
            ),
            "a c:Scope kind:Specificity"
        );
    }

    #[test]
    fn rule_2_2_limits_of_every_matching_cluster_policy_hold_whoever_claims() {
        assert_eq!(
            claimed(
                "shop/web",
                &[
                    "shop/own 5 Deployment",
                    "-/guard 0 Deployment limits only",
                    "-/all 1 Deployment limits"
                ]
            ),
            "own all:Priority limits:all limits:guard"
        );
        assert_eq!(claimed("shop/web", &["-/guard 0 Deployment limits only"]), "- limits:guard");
    }

    #[test]
    fn rule_2_4_system_namespaces_only_by_a_cluster_policy_that_allows_it() {
        let policies = ["kube-system/own 5 Deployment", "-/all 1 Deployment"];
        assert_eq!(claimed("kube-system/dns", &policies), "-");
        assert_eq!(claimed("kube-system/dns", &["-/all 1 Deployment system"]), "all");
        assert_eq!(claimed("archipel-system/x", &["-/all 1 Deployment system"]), "-");
    }

    #[test]
    fn rule_2_4_what_belongs_to_one_cluster_is_never_a_template() {
        let check = |api: &str, kind: &str, object: &str, secret_type: &str, expected: bool| {
            let (namespace, name) = object.split_once('/').unwrap();
            let key = ObjectKey {
                gvk: Gvk::new(api, kind),
                namespace: namespace.into(),
                name: name.into(),
            };
            let labels = BTreeMap::new();
            let facts = Facts { key: &key, labels: &labels, secret_type };
            assert_eq!(never(&facts).is_some(), expected, "{api} {kind} {object} {secret_type}");
        };
        check("v1", "ConfigMap", "shop/kube-root-ca.crt", "", true);
        check("v1", "ConfigMap", "shop/settings", "", false);
        check("v1", "ServiceAccount", "shop/default", "", true);
        check("v1", "ServiceAccount", "shop/web", "", false);
        check("v1", "Service", "default/kubernetes", "", true);
        check("v1", "Service", "shop/kubernetes", "", false);
        check("v1", "Secret", "shop/token", "kubernetes.io/service-account-token", true);
        check("v1", "Secret", "shop/sh.helm.release.v1.web.v1", "helm.sh/release.v1", true);
        check("v1", "Secret", "shop/web-tls", "kubernetes.io/tls", false);
        check("coordination.k8s.io/v1", "Lease", "shop/leader", "", true);
        check("discovery.k8s.io/v1", "EndpointSlice", "shop/web-1", "", true);
        check("archipel.dev/v1alpha1", "PlacementPolicy", "shop/web", "", true);
        check("apps/v1", "ControllerRevision", "shop/web-1", "", true);
        let crd = "CustomResourceDefinition";
        check("apiextensions.k8s.io/v1", crd, "/placements.archipel.dev", "", true);
        check("apiextensions.k8s.io/v1", crd, "/plans.review.archipel.dev", "", true);
        check("apiextensions.k8s.io/v1", crd, "/notarchipel.dev", "", false);
        check("apiextensions.k8s.io/v1", crd, "/shops.example.com", "", false);
    }
}
