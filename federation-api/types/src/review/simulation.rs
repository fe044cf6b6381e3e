//! `Simulation`: what would happen if. Nothing is changed and nothing is stored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::{ObjectRef, PlanStatus};

/// What is supposed to happen, all of it at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SimulationSpec {
    /// Clusters that are lost: a name, `region=…`, `provider=…`, `zone=…` or a label `key=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub down: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<AddCluster>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<PriceChange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scale: Vec<Scale>,
    /// Policies, overrides, price books, clusters or templates as they would stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Value>,
}

/// An empty cluster like one that there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddCluster {
    pub name: String,
    /// The cluster whose nodes, APIs and labels it has.
    pub like: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jurisdiction: String,
}

/// Prices that are other ones; what is left out means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceChange {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance_type: String,
    /// By so many per cent: `10`, `-25`.
    pub percent: i64,
}

/// Workloads of another size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// Empty: every namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Empty: every kind that has replicas.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Empty: every name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Of what it is now: `300` is three times as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i64>,
}

/// What would come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SimulationStatus {
    /// The clusters that were taken as lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub down: Vec<String>,
    /// What would change, in the form of a plan.
    pub plan: PlanStatus,
    /// Templates that would not get what they ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unplaced: Vec<Unplaced>,
    /// The fullest clusters afterwards, fullest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hottest: Vec<Load>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unplaced {
    pub template: ObjectRef,
    /// A code of [`crate::reason::placed`].
    pub reason: String,
    pub message: String,
}

/// How full a cluster is, in per cent of what its nodes offer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    pub cluster: String,
    pub cpu_before: i64,
    pub cpu_after: i64,
    pub memory_before: i64,
    pub memory_after: i64,
    /// In an autoscaled cluster: so many more nodes of its largest kind would come at least.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nodes: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}
