//! Admission by the parts that know the fleet: what the server asks before it stores a write.
//!
//! The server knows no policies and the placement controller no HTTP; this is the seam between them.

use std::sync::Arc;

use federation_server::hooks::{Admission, AdmissionRequest, FieldError, Operation, Verdict};
use federation_types::{
    budget::ChangeBudgetSpec,
    cluster::MemberClusterSpec,
    names::{ALLOW_DELETE_ANNOTATION, API_VERSION, GROUP},
    overrides::OverridePolicySpec,
    policy::{ClusterPlacementPolicySpec, PlacementPolicySpec},
    validate::{self, Problem},
};
use placement_controller::{
    Controller,
    guard::{is_component, unreadable},
    index::Index,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Judges writes by the controller's index.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) controller: Arc<Controller>,
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
        match (request.operation, request.object, request.old) {
            (Operation::Delete, _, Some(old)) => self.judge_delete(request, old),
            (Operation::Create, Some(object), _) => self.judge_write(request, object, true),
            (Operation::Update, Some(object), _) => self.judge_write(request, object, false),
            (Operation::Create | Operation::Update | Operation::Delete, ..) => {
                Verdict::Allow(Vec::new())
            }
        }
    }
}

impl Guard {
    fn judge_write(&self, request: &AdmissionRequest<'_>, object: &Value, create: bool) -> Verdict {
        let own = request.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP);
        if !own {
            let warning = if create {
                self.controller.index().unclaimed(request.api_version, request.kind, object)
            } else {
                None
            };
            return Verdict::Allow(warning.into_iter().collect());
        }
        let spec = object.get("spec").cloned().unwrap_or_default();
        let problems = match request.kind {
            "PlacementPolicy" => checked(&spec, |spec: &PlacementPolicySpec| {
                let mut problems = validate::placement_policy(spec);
                problems.extend(unreadable(spec));
                problems
            }),
            "ClusterPlacementPolicy" => checked(&spec, |spec: &ClusterPlacementPolicySpec| {
                let mut problems = validate::cluster_placement_policy(spec);
                problems.extend(unreadable(&spec.policy));
                problems
            }),
            "OverridePolicy" | "ClusterOverridePolicy" => {
                checked(&spec, |spec: &OverridePolicySpec| validate::override_policy(spec))
            }
            "MemberCluster" => {
                checked(&spec, |spec: &MemberClusterSpec| validate::member_cluster(spec))
            }
            "ChangeBudget" => {
                checked(&spec, |spec: &ChangeBudgetSpec| validate::change_budget(spec))
            }
            _ => Vec::new(),
        };
        if !problems.is_empty() {
            let errors =
                problems.into_iter().map(|it| FieldError { field: it.field, message: it.message });
            return Verdict::Invalid(errors.collect());
        }
        let warnings = match request.kind {
            "PlacementPolicy" | "ClusterPlacementPolicy" => {
                match serde_json::from_value::<PlacementPolicySpec>(spec) {
                    Ok(spec) => self.controller.index().policy_warnings(&spec),
                    Err(_) => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        Verdict::Allow(warnings)
    }

    fn judge_delete(&self, request: &AdmissionRequest<'_>, old: &Value) -> Verdict {
        let wide = matches!(request.resource, "namespaces" | "customresourcedefinitions")
            || (request.resource == "memberclusters" && request.api_version == API_VERSION);
        // A component finishes what a person has begun.
        if !wide || old["metadata"]["deletionTimestamp"].is_string() {
            return Verdict::Allow(Vec::new());
        }
        match self.controller.index().wide_delete(request.resource, old) {
            None => Verdict::Allow(Vec::new()),
            Some(reach) => Verdict::Forbid(format!(
                "deleting it would reach {} objects on {} clusters; annotate it with {ALLOW_DELETE_ANNOTATION}: \
                 \"true\" if that is meant",
                reach.objects, reach.clusters
            )),
        }
    }
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
