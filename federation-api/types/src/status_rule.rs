//! How objects of a kind that Kubernetes does not have are read: what they run, how they fare, and what of their status
//! is kept.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition::Condition, names::Gvk};

/// Says of a custom kind how many replicas its objects run and what these take, when a copy is ready, which part of its
/// status is brought back to the template, and what else it needs. What is left out follows from the rule that is built
/// in for the kind, or from the conventions for custom kinds. Expressions are in CEL; they know the object as `object`.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "StatusRule",
    plural = "statusrules",
    category = "archipel",
    status = "StatusRuleStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.target.kind"}"#,
    printcolumn = r#"{"name":"API","type":"string","jsonPath":".spec.target.apiVersion"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Objects","type":"integer","jsonPath":".status.objects"}"#,
    printcolumn = r#"{"name":"Unreadable","type":"integer","jsonPath":".status.unreadable"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct StatusRuleSpec {
    /// The kind that it is about.
    pub target: RuleTarget,
    /// The objects are bound to where they run, as what keeps data there or is run once: left without a mode they run on
    /// one cluster, they are not divided, they do not fail over by themselves, and they move by an approved plan only
    /// (RULES 3.4, 3.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<bool>,
    /// How many replicas an object runs, and what one takes. Left out: `.spec.replicas` and `.spec.template`, if they are
    /// there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicasRule>,
    /// The parts of an object that runs as a unit, all of it on one cluster or nothing. An expression that yields a list
    /// of `{"name": …, "replicas": …, "template": a pod template}`, with `"requests": {"cpu": "2"}` for a part without
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<String>,
    /// How a copy fares, by what its member says of it. Left out: by its conditions `Ready`, `Stalled` and `Reconciling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthRule>,
    /// What of a copy's status is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<KeptStatus>,
    /// What an object needs beside it, for policies with `dependencies: Follow`. An expression that yields a list of
    /// `{"apiVersion": …, "kind": …, "name": …}` of its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<String>,
}

impl StatusRuleSpec {
    /// The kind that it is about, in no version.
    pub fn kind(&self) -> Gvk {
        let gvk = Gvk::new(&self.target.api_version, &self.target.kind);
        Gvk::unversioned(&gvk.group, &gvk.kind)
    }
}

/// A kind, in whatever version it is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleTarget {
    /// `example.org/v1`; the rule holds for every version of the group.
    pub api_version: String,
    /// `Engine`
    pub kind: String,
}

/// Where replicas are written, and what one takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicasRule {
    /// Where the number stands: `.spec.size`. It is read there, and each cluster's share is written there.
    pub path: String,
    /// How many replicas an object has that leaves them out, as its definition or its operator has it. Left out: such an
    /// object cannot be read, as a slip of the pen in `path` is told by nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<u32>,
    /// The pod template of one replica: an expression such as `object.spec.worker.template`. Left out: `.spec.template`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<String>,
    /// What one replica takes, where there is no pod template: an expression that yields `{"cpu": "500m", "memory":
    /// "1Gi"}`. It counts instead of what the pod template says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<String>,
}

/// How a copy fares. A field that an object does not have (yet) makes an expression false.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthRule {
    /// When the copy is up: `object.status.phase == "Running"`. Left out: when it is not degraded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// When the copy does not come forward by itself: `object.status.phase == "Failed"`. Asked first; what is neither is
    /// progressing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
    /// A word that says why, shown where the copy is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence that says why, shown where the copy is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What of a copy's status is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptStatus {
    /// Replicas that a copy has: an expression that yields a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<String>,
    /// Replicas that are ready: an expression that yields a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<String>,
    /// Fields that are brought back to the status of the template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub keep: Vec<KeptField>,
}

/// One field of the status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptField {
    /// `.status.readyReplicas`; in the copies and in the template alike.
    pub path: String,
    /// How the values of several clusters become one. Left out: numbers `Total`, conditions `Conditions`, all else
    /// `Same`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub across: Option<Across>,
    /// What a number of a cluster that does not answer counts as. Left out: `Keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<Unreachable>,
}

/// How the values of several clusters become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Across {
    /// Of a divided workload the sum, of a duplicated one the lowest.
    Total,
    /// The sum, whatever the mode.
    Sum,
    /// The lowest.
    Lowest,
    /// The highest.
    Highest,
    /// The value that all copies have; none while they differ.
    Same,
    /// A list of conditions: each is `True` where it is in all copies, else as in the first copy where it is not.
    Conditions,
}

/// What a number of a silent cluster counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unreachable {
    /// Its last value.
    Keep,
    /// 0: what is not seen is not available.
    Zero,
}

/// How a rule fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusRuleStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the rule is in use. It is not while another one is about the same kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Templates that are read by it.
    #[serde(default)]
    pub objects: i64,
    /// Of these, templates that its expressions could not be evaluated on: they are not placed anew.
    #[serde(default)]
    pub unreadable: i64,
}

/// Kinds that are read by the hub itself, whatever a rule may say.
pub fn is_native(group: &str, kind: &str) -> bool {
    match group {
        "" | "apps" | "archipel.dev" => true,
        "batch" => matches!(kind, "Job" | "CronJob"),
        "networking.k8s.io" => kind == "Ingress",
        "autoscaling" => kind == "HorizontalPodAutoscaler",
        "apiextensions.k8s.io" => kind == "CustomResourceDefinition",
        _ => false,
    }
}
