//! What admission asks of the index: warnings for what would otherwise be silent (RULES 2.6), and the refusal of wide
//! deletes (RULES 1.5).

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    cluster::PROVIDERS,
    field_path::FieldPath,
    names::{ALLOW_DELETE_ANNOTATION, GROUP, Gvk, SYSTEM_NAMESPACE, home_namespace},
    policy::{Dependencies, PlacementPolicySpec},
    score::ClusterScoreSpec,
    selector::TemplateSelector,
    status_rule::StatusRuleSpec,
    validate::Problem,
    words::counted,
};
use placement_engine::{CompiledPolicy, dependencies::AT_ONCE};
use serde_json::Value;

use crate::{
    claim::{Facts, claim, never, never_selected},
    index::{Index, template_key},
    scores::has_ended,
};

/// What a wide delete would take with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub objects: usize,
    pub clusters: usize,
}

/// So many templates of a kind are looked at for the fields of a rule.
const LOOKED_AT: usize = 100;

impl Index {
    /// A warning for the author of an object whose kind some policy selects, and that none claims.
    pub fn unclaimed(&self, api_version: &str, kind: &str, object: &Value) -> Option<String> {
        let gvk = Gvk::new(api_version, kind);
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("");
        let name = object["metadata"]["name"].as_str().unwrap_or("");
        let selected = self.policies.values().any(|policy| {
            !policy.limits_only
                && policy.spec.selectors.iter().any(|it| {
                    let own = it.api_version.split_once('/').map_or("", |(group, _)| group);
                    own == gvk.group && it.kind == gvk.kind
                })
        });
        if !selected {
            return None;
        }
        let key = template_key(&gvk, namespace, name);
        let labels: BTreeMap<String, String> =
            serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default();
        let secret_type = object["type"].as_str().unwrap_or("");
        let facts = Facts { key: &key, labels: &labels, secret_type };
        if never(&facts).is_some()
            || claim(&facts, self.policies.values()).winner.is_some()
            || self.follow.is_needed(&key)
        {
            return None;
        }
        Some(format!("{key} is claimed by no placement policy: it stays on the hub"))
    }

    /// Whether some policy claims the object: it will be copied to clusters.
    pub fn claims(&self, api_version: &str, kind: &str, object: &Value) -> bool {
        let gvk = Gvk::new(api_version, kind);
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("");
        let name = object["metadata"]["name"].as_str().unwrap_or("");
        let key = template_key(&gvk, namespace, name);
        let labels: BTreeMap<String, String> =
            serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default();
        let secret_type = object["type"].as_str().unwrap_or("");
        let facts = Facts { key: &key, labels: &labels, secret_type };
        never(&facts).is_none()
            && (claim(&facts, self.policies.values()).winner.is_some()
                || self.follow.is_needed(&key))
    }

    /// How far the deletion of a Namespace, a CustomResourceDefinition or a MemberCluster would reach; `None` where it
    /// takes no copy with it, or is asked for by annotation.
    pub fn wide_delete(&self, resource: &str, old: &Value) -> Option<Reach> {
        let allowed =
            old["metadata"]["annotations"][ALLOW_DELETE_ANNOTATION].as_str() == Some("true");
        if allowed {
            return None;
        }
        let name = old["metadata"]["name"].as_str().unwrap_or("");
        let mut reach = Reach { objects: 0, clusters: 0 };
        let mut clusters = BTreeSet::new();
        for (key, placed) in &self.placements {
            let hit = match resource {
                "namespaces" => key.namespace == name,
                "customresourcedefinitions" => {
                    old["spec"]["group"].as_str() == Some(key.gvk.group.as_str())
                        && old["spec"]["names"]["kind"].as_str() == Some(key.gvk.kind.as_str())
                }
                "memberclusters" => placed.spec.clusters.iter().any(|it| it.name == name),
                _ => false,
            };
            if !hit || placed.spec.clusters.is_empty() {
                continue;
            }
            reach.objects += 1;
            let there = placed.spec.clusters.iter().map(|it| it.name.as_str());
            clusters.extend(there.filter(|it| resource != "memberclusters" || *it == name));
        }
        reach.clusters = clusters.len();
        (reach.objects > 0).then_some(reach)
    }

    /// What the author of a policy should know: that it reaches every cluster, which parts do not act yet, and names
    /// that nobody knows. `serves`: whether the hub serves a kind, by its group and name.
    pub fn policy_warnings(
        &self,
        namespace: &str,
        spec: &PlacementPolicySpec,
        claims: bool,
        serves: &dyn Fn(&str, &str) -> bool,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        let everywhere =
            spec.affinities.is_empty() || spec.affinities.iter().any(|it| it.clusters.is_empty());
        if claims && everywhere && spec.residency.is_none() {
            let n = self.clusters.len();
            warnings.push(format!("spec.affinities: the policy reaches every cluster ({n} now)"));
        }
        if let Some(rollout) = &spec.rollout
            && self.lacks_strategy(namespace, &rollout.strategy_name)
        {
            warnings.push(format!(
                "spec.rollout.strategyName: there is no RolloutStrategy {}/{} (yet): changes of what runs wait for it",
                home_namespace(namespace),
                rollout.strategy_name
            ));
        }
        if spec.rollout.is_some() && spec.dependencies == Some(Dependencies::Follow) {
            warnings.push(format!("spec.dependencies: {AT_ONCE}"));
        }
        warnings.extend(self.unknown_names(spec));
        let opposed = placement_engine::lint::opposed(spec);
        warnings.extend(opposed.into_iter().map(|it| format!("{}: {}", it.field, it.message)));
        warnings.extend(vain_selectors(spec, serves));
        warnings
    }

    /// What the author of a rule should know: that another one is about the same kind, and that no template has the field.
    pub fn rule_warnings(&self, name: &str, spec: &StatusRuleSpec) -> Vec<String> {
        let same = self
            .reading
            .objects
            .iter()
            .filter(|(other, it)| other.as_str() != name && it.spec.kind() == spec.kind());
        let mut warnings: Vec<String> = same
            .map(|(other, _)| {
                let first = if other.as_str() < name { other } else { name };
                format!(
                    "spec.target: StatusRule {other} is about the same kind; {first} is followed"
                )
            })
            .collect();
        warnings.extend(self.no_such_path(spec));
        warnings
    }

    /// That none of the templates of a rule's kind has its replicas where it says: a slip of the pen, most likely.
    fn no_such_path(&self, spec: &StatusRuleSpec) -> Option<String> {
        let path = FieldPath::parse(&spec.replicas.as_ref()?.path)?;
        let kind = spec.kind();
        let templates: Vec<_> =
            self.templates.iter().filter(|(key, _)| key.gvk == kind).take(LOOKED_AT).collect();
        let has = |content: &str| {
            serde_json::from_str::<Value>(content).is_ok_and(|it| path.get(&it).is_some())
        };
        let none = !templates.is_empty() && !templates.iter().any(|(_, it)| has(&it.content));
        none.then(|| {
            let of = counted(templates.len(), "template", "templates");
            match spec.replicas.as_ref().and_then(|it| it.default) {
                Some(count) => format!(
                    "spec.replicas.path: none of {of} looked at has {path}: each counts as {count}"
                ),
                None => format!(
                    "spec.replicas.path: none of {of} looked at has {path}: none of them can be read"
                ),
            }
        })
    }

    /// What whoever deletes a rule should know: how many templates it reads.
    pub fn rule_delete_warning(&self, name: &str) -> Option<String> {
        let objects = crate::status_rule::count(self).get(name)?.objects;
        let told = counted(objects, "template is", "templates are");
        let kind = self.reading.objects.get(name)?.spec.kind();
        let mut others = self.reading.objects.iter();
        let next = others.find(|(other, it)| other.as_str() != name && it.spec.kind() == kind);
        let then = match next {
            Some((other, _)) => format!("StatusRule {other} is followed instead"),
            None => "from now on as if there were no rule, but for a built-in one; a divided template whose replicas \
                     nothing else tells is written whole to each of its clusters"
                .to_owned(),
        };
        (objects > 0).then(|| format!("{told} read by it: {then}"))
    }

    /// What the author of a score should know: that it is for nobody, or counts no more.
    pub fn score_warnings(&self, spec: &ClusterScoreSpec, now: i64) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.clusters.contains_key(&spec.cluster) {
            let name = &spec.cluster;
            warnings.push(format!("spec.cluster: there is no MemberCluster {name:?} (yet)"));
        }
        if let Some(until) = spec.valid_until.as_deref().filter(|it| has_ended(it, now)) {
            warnings
                .push(format!("spec.validUntil: {until} is past: the points count for nothing"));
        }
        warnings
    }

    /// Providers and ClusterSets that a policy names and nobody knows: it may be meant for later, or misspelt.
    fn unknown_names(&self, spec: &PlacementPolicySpec) -> Vec<String> {
        let groups = spec
            .affinities
            .iter()
            .enumerate()
            .map(|(at, it)| (format!("spec.affinities[{at}].clusters"), &it.clusters));
        let weights = spec
            .replicas
            .iter()
            .flat_map(|it| it.weights.iter().enumerate())
            .map(|(at, it)| (format!("spec.replicas.weights[{at}].clusters"), &it.clusters));
        let mut warnings = Vec::new();
        for (field, clusters) in groups.chain(weights) {
            for it in clusters.providers.iter().filter(|it| !PROVIDERS.contains(&it.as_str())) {
                let known = PROVIDERS.join(", ");
                warnings.push(format!(
                    "{field}.providers: no cluster is of the provider {it:?}; they are {known}"
                ));
            }
            for it in clusters.sets.iter().filter(|it| !self.sets.contains_key(*it)) {
                warnings.push(format!("{field}.sets: there is no ClusterSet {it:?} (yet)"));
            }
        }
        warnings
    }

    /// Whether the object is one that only the hub writes.
    pub fn written_by_the_hub_only(api_version: &str, kind: &str) -> bool {
        api_version.split_once('/').is_some_and(|(group, _)| group == GROUP)
            && matches!(kind, "Placement" | "ClusterPlacement" | "Revision" | "ClusterRevision")
    }
}

/// Selectors that nothing can match: the hub serves no such kind, or it is never a template (RULES 2.4).
fn vain_selectors(spec: &PlacementPolicySpec, serves: &dyn Fn(&str, &str) -> bool) -> Vec<String> {
    let vain = |(at, it): (usize, &TemplateSelector)| {
        let what = format!("{} {}", it.api_version, it.kind);
        let gvk = Gvk::new(&it.api_version, &it.kind);
        if let Some(why) = never_selected(it) {
            Some(format!("spec.selectors[{at}]: {what} is never a template: {why}"))
        } else if serves(&gvk.group, &gvk.kind) {
            None
        } else {
            Some(format!("spec.selectors[{at}]: the hub serves no {what} (yet)"))
        }
    };
    spec.selectors.iter().enumerate().filter_map(vain).collect()
}

/// Expressions of a policy that cannot be read, by field.
pub fn unreadable(spec: &PlacementPolicySpec) -> Vec<Problem> {
    CompiledPolicy::compile("", None, spec, &[]).err().unwrap_or_default()
}

/// Whether the user is one of the hub's own components.
pub fn is_component(user: &str) -> bool {
    user.strip_prefix("system:serviceaccount:").is_some_and(|it| {
        it.split_once(':').is_some_and(|(namespace, _)| namespace == SYSTEM_NAMESPACE)
    })
}

#[cfg(test)]
mod tests {

    use federation_types::{
        placement::{PlacedCluster, PlacementSpec},
        validate::moment,
    };
    use serde_json::json;

    use super::*;
    use crate::{claim::Policy, index::Placed};

    fn index() -> Index {
        let mut index = Index::default();
        let selector = TemplateSelector {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: "web".into(),
            ..TemplateSelector::default()
        };
        let policy = Policy {
            namespace: "shop".into(),
            name: "web".into(),
            uid: "u".into(),
            generation: 1,
            spec: PlacementPolicySpec { selectors: vec![selector], ..Default::default() },
            limits: None,
            limits_only: false,
            namespaces: Vec::new(),
            system_namespaces: None,
        };
        index.set_policy(("shop".into(), "web".into()), Some(policy));
        let spec = PlacementSpec {
            clusters: ["a", "b"]
                .map(|name| PlacedCluster { name: name.into(), ..PlacedCluster::default() })
                .into(),
            ..PlacementSpec::default()
        };
        let placed = Placed {
            name: "deployment-web".into(),
            uid: String::new(),
            generation: 1,
            resource_version: "1".into(),
            spec,
            status: Default::default(),
        };
        let key = template_key(&Gvk::new("apps/v1", "Deployment"), "shop", "web");
        index.set_placement(key, Some(placed));
        index
    }

    #[test]
    fn rule_2_6_an_object_of_a_selected_kind_that_nobody_claims_is_answered_with_a_warning() {
        let index = index();
        let warn = |kind: &str, name: &str| {
            let object = json!({"metadata": {"namespace": "shop", "name": name}});
            index.unclaimed("apps/v1", kind, &object)
        };
        assert!(
            warn("Deployment", "api").unwrap().contains("Deployment shop/api is claimed by no")
        );
        assert_eq!(warn("Deployment", "web"), None);
        assert_eq!(warn("StatefulSet", "db"), None);
    }

    #[test]
    fn rule_1_5_wide_deletes_are_asked_for() {
        let index = index();
        let mut namespace = json!({"metadata": {"name": "shop"}});
        let reach = Some(Reach { objects: 1, clusters: 2 });
        assert_eq!(index.wide_delete("namespaces", &namespace), reach);
        assert_eq!(index.wide_delete("namespaces", &json!({"metadata": {"name": "bank"}})), None);
        let member = json!({"metadata": {"name": "a"}});
        let reach = Some(Reach { objects: 1, clusters: 1 });
        assert_eq!(index.wide_delete("memberclusters", &member), reach);
        let crd = json!({"metadata": {"name": "x"},
                         "spec": {"group": "apps", "names": {"kind": "Deployment"}}});
        let reach = Some(Reach { objects: 1, clusters: 2 });
        assert_eq!(index.wide_delete("customresourcedefinitions", &crd), reach);
        namespace["metadata"]["annotations"] = json!({ALLOW_DELETE_ANNOTATION: "true"});
        assert_eq!(index.wide_delete("namespaces", &namespace), None);
    }

    #[test]
    fn rule_3_1_names_that_nobody_knows_are_said_to_the_author() {
        let spec = json!({"selectors": [], "affinities": [
            {"clusters": {"providers": ["eks", "ekz"], "sets": ["prod"]}}
        ]});
        let warnings = index().policy_warnings(
            "shop",
            &serde_json::from_value(spec).unwrap(),
            true,
            &|_, _| true,
        );
        assert_eq!(
            warnings,
            [
                "spec.affinities[0].clusters.providers: no cluster is of the provider \"ekz\"; they are eks, gke, \
                 aks, onprem",
                "spec.affinities[0].clusters.sets: there is no ClusterSet \"prod\" (yet)"
            ]
        );
    }

    #[test]
    fn rule_3_1_terms_that_want_the_same_templates_together_and_apart_are_said_to_the_author() {
        let term =
            json!([{"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone"}]);
        let spec = json!({"selectors": [], "affinities": [{"clusters": {"names": ["a"]}}],
                          "workloadAffinity": term, "workloadAntiAffinity": term});
        assert_eq!(
            index().policy_warnings(
                "shop",
                &serde_json::from_value(spec).unwrap(),
                true,
                &|_, _| true
            ),
            [
                "spec.workloadAntiAffinity[0]: workloadAffinity[0] wants the same templates in the same zone"
            ]
        );
    }

    #[test]
    fn rule_2_6_what_follows_past_a_rollout_strategy_is_said_to_the_author() {
        let said = |dependencies: &str| {
            let spec = json!({"selectors": [], "affinities": [{"clusters": {"names": ["a"]}}],
                              "rollout": {"strategyName": "waves"}, "dependencies": dependencies});
            let spec = serde_json::from_value(spec).unwrap();
            let mut warnings = index().policy_warnings("shop", &spec, true, &|_, _| true);
            // There is no such strategy.
            assert!(warnings.remove(0).starts_with("spec.rollout.strategyName: "));
            warnings
        };
        assert!(said("Ignore").is_empty());
        assert_eq!(
            said("Follow"),
            [
                "spec.dependencies: what follows is released to all clusters at once: the rollout strategy holds back the \
              template, not what it names"
            ]
        );
    }

    #[test]
    fn a_score_for_nobody_or_of_the_past_is_said_to_its_author() {
        let mut index = Index::default();
        let member = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {
            "provider": "eks", "connection": {},
        }}));
        index.set_cluster("a", Some(member.unwrap()));
        let now = moment("2026-11-21T12:00:00Z").unwrap();
        let said = |cluster: &str, until: Option<&str>| {
            let spec = ClusterScoreSpec {
                cluster: cluster.into(),
                valid_until: until.map(Into::into),
                scores: Vec::new(),
            };
            index.score_warnings(&spec, now)
        };
        assert!(said("a", None).is_empty());
        assert!(said("a", Some("2026-11-21T12:00:01Z")).is_empty());
        assert_eq!(
            said("b", Some("2026-11-21T12:00:00Z")),
            [
                "spec.cluster: there is no MemberCluster \"b\" (yet)",
                "spec.validUntil: 2026-11-21T12:00:00Z is past: the points count for nothing"
            ]
        );
    }

    #[test]
    fn rule_2_6_a_selector_that_nothing_can_match_is_said_to_the_author() {
        let spec = json!({
            "selectors": [
                {"apiVersion": "apps/v1", "kind": "Deployment"},
                {"apiVersion": "v1", "kind": "Deployment"},
                {"apiVersion": "apps/v2", "kind": "Deploymnet"},
                {"apiVersion": "apps/v2", "kind": "Deployment"},
                {"apiVersion": "v1", "kind": "Event"},
            ],
            "affinities": [{"clusters": {"names": ["a"]}}],
        });
        let serves = |group: &str, kind: &str| {
            matches!((group, kind), ("apps", "Deployment") | ("", "Event"))
        };
        let warnings =
            index().policy_warnings("shop", &serde_json::from_value(spec).unwrap(), true, &serves);
        assert_eq!(
            warnings,
            [
                "spec.selectors[1]: the hub serves no v1 Deployment (yet)",
                "spec.selectors[2]: the hub serves no apps/v2 Deploymnet (yet)",
                "spec.selectors[4]: v1 Event is never a template: it belongs to one cluster",
            ]
        );
    }

    #[test]
    fn only_components_write_placements() {
        assert!(Index::written_by_the_hub_only("archipel.dev/v1alpha1", "Placement"));
        assert!(!Index::written_by_the_hub_only("apps/v1", "Placement"));
        assert!(is_component("system:serviceaccount:archipel-system:syncer"));
        assert!(!is_component("system:serviceaccount:shop:archipel-system"));
        assert!(!is_component("admin"));
    }
}
