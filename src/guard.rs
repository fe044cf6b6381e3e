//! Admission by the parts that know the fleet: what the server asks before it stores a write.
//!
//! The server knows no policies and the placement controller no HTTP; this is the seam between them.

use std::sync::{Arc, OnceLock};

use federation_server::{
    authz::{Rbac, may_federate},
    hooks::{Admission, AdmissionRequest, FieldError, Operation, Verdict},
    registry::Snapshot,
};
use federation_types::{
    budget::{ChangeBudgetSpec, CostBudgetSpec, DEFAULT_CHANGE_BUDGET, Freeze},
    cluster::{ClusterSetSpec, MemberClusterSpec},
    names::{ALLOW_DELETE_ANNOTATION, API_VERSION, COPIES_FINALIZER, GROUP, Gvk},
    overrides::OverridePolicySpec,
    policy::{ClusterPlacementPolicySpec, PlacementPolicySpec},
    price::PriceBookSpec,
    rollout::{RolloutSpec, RolloutStrategySpec},
    score::ClusterScoreSpec,
    status_rule::StatusRuleSpec,
    validate::{self, Problem},
    words::counted,
};
use placement_controller::{
    Controller,
    guard::{is_component, unreadable},
    index::Index,
};
use placement_engine::{Waves, expression::Expression};
use serde::de::DeserializeOwned;
use serde_json::Value;
use status_rules::Rule;

use crate::{plan::text, reviews::Opened};

/// The group of Roles and their bindings.
const RBAC: &str = "rbac.authorization.k8s.io";

/// Judges writes by the controller's index.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) controller: Arc<Controller>,
    /// Set once the server is open; until then nobody but the hub itself writes.
    pub(crate) rbac: Arc<OnceLock<Arc<Rbac>>>,
    /// Likewise: it knows which kinds are served.
    pub(crate) server: Opened,
}

impl Admission for Guard {
    fn judge(&self, request: &AdmissionRequest<'_>) -> Verdict {
        if !request.subresource.is_empty() {
            return Verdict::Allow(Vec::new());
        }
        let component = is_component(&request.identity.user);
        if Index::written_by_the_hub_only(request.api_version, request.kind) && !component {
            return Verdict::Forbid(format!(
                "{}s are written by the hub only: change the policy or the template",
                request.kind
            ));
        }
        let mut verdict = match (request.operation, request.object, request.old) {
            (Operation::Delete, _, Some(old)) => self.judge_delete(request, old),
            (Operation::Create, Some(object), _) => self.judge_write(request, object, true),
            (Operation::Update, Some(object), _) => self.judge_write(request, object, false),
            (Operation::Create | Operation::Update | Operation::Delete, ..) => {
                Verdict::Allow(Vec::new())
            }
        };
        if request.dry_run
            && !component
            && let Verdict::Allow(warnings) = &mut verdict
            && let Some(object) = request.object
        {
            let plan = self.controller.preview(object);
            warnings.extend(plan.map(|it| text::summary(&it)));
        }
        verdict
    }

    fn finalizers(&self, request: &AdmissionRequest<'_>) -> Vec<&'static str> {
        if self.will_be_copied(request) { vec![COPIES_FINALIZER] } else { Vec::new() }
    }
}

impl Guard {
    /// Whether a new object will be placed, as far as the policies of this moment say.
    fn will_be_copied(&self, request: &AdmissionRequest<'_>) -> bool {
        request.subresource.is_empty()
            && !is_group(request.api_version, GROUP)
            && request.object.is_some_and(|object| {
                self.controller.index().claims(request.api_version, request.kind, object)
            })
    }

    fn judge_write(&self, request: &AdmissionRequest<'_>, object: &Value, create: bool) -> Verdict {
        if !is_group(request.api_version, GROUP) {
            if is_group(request.api_version, RBAC)
                && self.controller.index().claims(request.api_version, request.kind, object)
                && let Some(refusal) = self.refuse_to_federate(request, request.resource)
            {
                return Verdict::Forbid(refusal);
            }
            let warning = if create {
                self.controller.index().unclaimed(request.api_version, request.kind, object)
            } else {
                None
            };
            return Verdict::Allow(warning.into_iter().collect());
        }
        if is_component(&request.identity.user) {
            return Verdict::Allow(Vec::new());
        }
        let spec = object.get("spec").cloned().unwrap_or_default();
        for kind in selected_rbac_kinds(&spec) {
            // The plural of every kind of this group is its lower case and an s.
            let resource = format!("{}s", kind.to_lowercase());
            if let Some(refusal) = self.refuse_to_federate(request, &resource) {
                return Verdict::Forbid(refusal);
            }
        }
        let problems = match request.kind {
            "PlacementPolicy" => checked(&spec, |spec: &PlacementPolicySpec| {
                let problems = validate::placement_policy(spec);
                each_field_once(problems, unreadable(spec))
            }),
            "ClusterPlacementPolicy" => checked(&spec, |spec: &ClusterPlacementPolicySpec| {
                let problems = validate::cluster_placement_policy(spec);
                each_field_once(problems, unreadable(&spec.policy))
            }),
            "OverridePolicy" | "ClusterOverridePolicy" => {
                checked(&spec, |spec: &OverridePolicySpec| {
                    let mut problems = validate::override_policy(spec);
                    problems.extend(unreadable_overrides(spec));
                    problems
                })
            }
            "MemberCluster" => {
                checked(&spec, |spec: &MemberClusterSpec| validate::member_cluster(spec))
            }
            "ClusterSet" => checked(&spec, |spec: &ClusterSetSpec| validate::cluster_set(spec)),
            "ChangeBudget" => {
                checked(&spec, |spec: &ChangeBudgetSpec| validate::change_budget(spec))
            }
            "CostBudget" => checked(&spec, |spec: &CostBudgetSpec| validate::cost_budget(spec)),
            "PriceBook" => checked(&spec, |spec: &PriceBookSpec| validate::price_book(spec)),
            "ClusterScore" => {
                checked(&spec, |spec: &ClusterScoreSpec| validate::cluster_score(spec))
            }
            "RolloutStrategy" => checked(&spec, |spec: &RolloutStrategySpec| {
                let unread = Waves::compile(spec).err().unwrap_or_default();
                each_field_once(validate::rollout_strategy(spec), unread)
            }),
            "Rollout" => checked(&spec, |spec: &RolloutSpec| validate::rollout(spec)),
            "StatusRule" => checked(&spec, |spec: &StatusRuleSpec| {
                Rule::compile(request.name, spec).err().unwrap_or_default()
            }),
            _ => Vec::new(),
        };
        if !problems.is_empty() {
            let errors =
                problems.into_iter().map(|it| FieldError { field: it.field, message: it.message });
            return Verdict::Invalid(errors.collect());
        }
        let warnings = match request.kind {
            "PlacementPolicy" | "ClusterPlacementPolicy" => {
                let claims = spec["limitsOnly"] != true;
                let namespace = request.namespace.unwrap_or_default();
                match serde_json::from_value::<PlacementPolicySpec>(spec) {
                    Ok(spec) => {
                        let served = self.server.get().map(|it| it.registry().snapshot());
                        let serves = |group: &str, kind: &str| {
                            served.as_ref().is_none_or(|it| serves(it, group, kind))
                        };
                        self.controller.index().policy_warnings(namespace, &spec, claims, &serves)
                    }
                    Err(_) => Vec::new(),
                }
            }
            "ClusterScore" => match serde_json::from_value::<ClusterScoreSpec>(spec) {
                Ok(spec) => self.controller.score_warnings(&spec),
                Err(_) => Vec::new(),
            },
            "StatusRule" => match serde_json::from_value::<StatusRuleSpec>(spec) {
                Ok(spec) => self.rule_warnings(request.name, &spec),
                Err(_) => Vec::new(),
            },
            _ => Vec::new(),
        };
        Verdict::Allow(warnings)
    }

    /// What the author of a rule should know: that it is for a kind that the hub does not serve, or not followed.
    fn rule_warnings(&self, name: &str, spec: &StatusRuleSpec) -> Vec<String> {
        let mut warnings = self.controller.index().rule_warnings(name, spec);
        let target = Gvk::new(&spec.target.api_version, &spec.target.kind);
        let served = self.server.get().map(|it| it.registry().snapshot());
        if served.is_some_and(|it| !serves(&it, &target.group, &target.kind)) {
            let Gvk { group, kind, .. } = &target;
            warnings.push(format!("spec.target: the hub serves no {kind} of {group} (yet)"));
        }
        warnings
    }

    /// Rights are copied to members only by someone who may do that (RULES 2.3).
    fn refuse_to_federate(&self, request: &AdmissionRequest<'_>, resource: &str) -> Option<String> {
        let allowed = is_component(&request.identity.user)
            || self.rbac.get().is_some_and(|rbac| {
                let namespace = request.namespace.unwrap_or_default();
                may_federate(&**rbac, request.identity, resource, namespace, request.name)
            });
        (!allowed).then(|| {
            format!("{resource} are copied to member clusters by a policy: that needs the verb \"federate\" on {resource}")
        })
    }

    fn judge_delete(&self, request: &AdmissionRequest<'_>, old: &Value) -> Verdict {
        if request.kind == "ChangeBudget" && is_group(request.api_version, GROUP) {
            return judge_budget_delete(request.name, old);
        }
        if request.kind == "StatusRule" && is_group(request.api_version, GROUP) {
            let warning = self.controller.index().rule_delete_warning(request.name);
            return Verdict::Allow(warning.into_iter().collect());
        }
        if request.kind == "RolloutStrategy" && is_group(request.api_version, GROUP) {
            let namespace = request.namespace.unwrap_or_default();
            let index = self.controller.index();
            let warning = index.strategy_delete_warning(namespace, request.name);
            return Verdict::Allow(warning.into_iter().collect());
        }
        let wide = matches!(request.resource, "namespaces" | "customresourcedefinitions")
            || (request.resource == "memberclusters" && request.api_version == API_VERSION);
        let held = || {
            let index = self.controller.index();
            let warning = index.held_delete(request.api_version, request.kind, old);
            Verdict::Allow(warning.into_iter().collect())
        };
        // A component finishes what a person has begun.
        if !wide || old["metadata"]["deletionTimestamp"].is_string() {
            return held();
        }
        let reach = self.controller.index().wide_delete(request.resource, old);
        match reach {
            None => held(),
            Some(reach) => Verdict::Forbid(format!(
                "deleting it would reach {} on {}; annotate it with {ALLOW_DELETE_ANNOTATION}: \"true\" if that is \
                 meant",
                counted(reach.objects, "object", "objects"),
                counted(reach.clusters, "cluster", "clusters")
            )),
        }
    }
}

/// The limits of the fleet are loosened by who says by how much, never by their absence (RULES 1.3).
fn judge_budget_delete(name: &str, old: &Value) -> Verdict {
    if name == DEFAULT_CHANGE_BUDGET {
        return Verdict::Forbid(
            "it bounds how many copies go at once, and keeps the freezes: it is edited, not deleted. To loosen it, \
             raise spec.minRemovals or spec.removalPercent; to end a freeze, `archipel thaw`"
                .to_owned(),
        );
    }
    let freeze = serde_json::from_value::<Freeze>(old["spec"]["freeze"].clone());
    let lifted = freeze.unwrap_or_default().words();
    let warning = format!("this lifts the freeze of ChangeBudget {name}: {lifted}");
    Verdict::Allow(if lifted.is_empty() { Vec::new() } else { vec![warning] })
}

/// Whether a kind is served, in whatever version.
fn serves(served: &Snapshot, group: &str, kind: &str) -> bool {
    let versions = served.group(group).into_iter().flat_map(|it| &it.versions);
    versions.flat_map(|it| &it.kinds).any(|it| &*it.kind == kind)
}

fn is_group(api_version: &str, group: &str) -> bool {
    api_version.split_once('/').is_some_and(|(own, _)| own == group)
}

/// The kinds of RBAC that a policy selects.
fn selected_rbac_kinds(spec: &Value) -> impl Iterator<Item = &str> {
    spec["selectors"].as_array().into_iter().flatten().filter_map(|selector| {
        let group = selector["apiVersion"].as_str()?.split_once('/')?.0;
        if group == RBAC { selector["kind"].as_str() } else { None }
    })
}

/// Expressions of an override policy that cannot be read, by field.
fn unreadable_overrides(spec: &OverridePolicySpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, rule) in spec.rules.iter().enumerate() {
        for (n, text) in rule.clusters.expressions.iter().enumerate() {
            if let Err(why) = Expression::parse(text) {
                let field = format!("spec.rules[{at}].clusters.expressions[{n}]");
                problems
                    .push(Problem { field, message: format!("Invalid value: {text:?}: {why}") });
            }
        }
    }
    problems
}

/// What reading finds wrong as well is said of a field once.
fn each_field_once(mut problems: Vec<Problem>, more: Vec<Problem>) -> Vec<Problem> {
    for it in more {
        if !problems.iter().any(|known| known.field == it.field) {
            problems.push(it);
        }
    }
    problems
}

/// The problems of a spec; one that does not read is a problem at the field that serde names.
fn checked<S: DeserializeOwned>(spec: &Value, check: impl Fn(&S) -> Vec<Problem>) -> Vec<Problem> {
    match serde_json::from_value::<S>(spec.clone()) {
        Ok(spec) => check(&spec),
        Err(error) => {
            vec![Problem { field: "spec".to_owned(), message: format!("Invalid value: {error}") }]
        }
    }
}

#[cfg(test)]
mod tests {
    use federation_server::{
        app::{Server, ServerOptions},
        identity::Identity,
    };
    use federation_storage::MemoryStore;
    use serde_json::json;

    use super::*;

    fn delete(name: &str, spec: &Value) -> Verdict {
        let guard =
            Guard { controller: Controller::new(), rbac: Arc::default(), server: Arc::default() };
        let old = json!({"metadata": {"name": name}, "spec": spec});
        guard.judge(&AdmissionRequest {
            operation: Operation::Delete,
            identity: &Identity::component("lifecycle"),
            api_version: API_VERSION,
            kind: "ChangeBudget",
            resource: "changebudgets",
            subresource: "",
            namespace: None,
            name,
            object: None,
            old: Some(&old),
            dry_run: false,
        })
    }

    #[test]
    fn rule_1_3_the_default_budget_is_not_deleted_and_the_end_of_a_freeze_is_told() {
        let Verdict::Forbid(why) = delete("default", &json!({})) else {
            panic!("nobody deletes it");
        };
        assert!(why.contains("spec.minRemovals") && why.contains("archipel thaw"), "{why}");
        assert_eq!(delete("night", &json!({"window": "1h"})), Verdict::Allow(Vec::new()));
        let freeze = json!({"freeze": {"clusters": ["eks-1"], "namespaces": ["shop"]}});
        let told = "this lifts the freeze of ChangeBudget night: cluster eks-1, namespace shop";
        assert_eq!(delete("night", &freeze), Verdict::Allow(vec![told.to_owned()]));
    }

    #[tokio::test]
    async fn rule_2_6_a_selector_of_a_kind_that_the_hub_does_not_serve_is_warned_of_at_once() {
        let options = ServerOptions::new(Arc::new(MemoryStore::default()));
        let server = Server::new(options).await.expect("it starts on an empty store");
        let guard = Guard {
            controller: Controller::new(),
            rbac: Arc::default(),
            server: Arc::new(OnceLock::from(server)),
        };
        let said = |api_version: &str, kind: &str| {
            let policy = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": {
                "selectors": [{"apiVersion": api_version, "kind": kind}],
                "affinities": [{"clusters": {"names": ["a"]}}],
            }});
            guard.judge(&AdmissionRequest {
                operation: Operation::Create,
                identity: &Identity::service_account("shop", "ci"),
                api_version: API_VERSION,
                kind: "PlacementPolicy",
                resource: "placementpolicies",
                subresource: "",
                namespace: Some("shop"),
                name: "p",
                object: Some(&policy),
                old: None,
                dry_run: false,
            })
        };
        let told = |text: &str| Verdict::Allow(vec![text.to_owned()]);
        assert_eq!(said("apps/v1", "Deployment"), Verdict::Allow(Vec::new()));
        assert_eq!(
            said("apps/v2", "Deploymnet"),
            told("spec.selectors[0]: the hub serves no apps/v2 Deploymnet (yet)")
        );
        assert_eq!(
            said("v1", "Deployment"),
            told("spec.selectors[0]: the hub serves no v1 Deployment (yet)")
        );
        assert_eq!(
            said("v1", "Event"),
            told("spec.selectors[0]: v1 Event is never a template: it belongs to one cluster")
        );
    }

    #[test]
    fn a_wrong_field_is_said_once() {
        let spec = json!({
            "selectors": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "budget": {"maxMonthlyUsd": "6oo"},
            "affinities": [{"clusters": {"expressions": ["cluster.minor >="]}}],
        });
        let spec: PlacementPolicySpec = serde_json::from_value(spec).expect("a spec");
        let problems = each_field_once(validate::placement_policy(&spec), unreadable(&spec));
        let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(
            fields,
            ["spec.budget.maxMonthlyUsd", "spec.affinities[0].clusters.expressions[0]"]
        );
    }
}
