//! How much may change, how much may be spent, and the freeze.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition::Condition, selector::LabelSelector};

/// Bounds removals in a window and holds the freeze (RULES 1.3). `default` is made at first start; all of them hold.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "ChangeBudget",
    plural = "changebudgets",
    category = "archipel",
    status = "ChangeBudgetStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Window","type":"string","jsonPath":".spec.window"}"#,
    printcolumn = r#"{"name":"Removed","type":"integer","jsonPath":".status.removed"}"#,
    printcolumn = r#"{"name":"Allowed","type":"integer","jsonPath":".status.allowed"}"#,
    printcolumn = r#"{"name":"Waiting","type":"integer","jsonPath":".status.waiting"}"#,
    printcolumn = r#"{"name":"Frozen","type":"boolean","jsonPath":".spec.freeze.all"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct ChangeBudgetSpec {
    /// `10m`
    #[serde(default = "ten_minutes")]
    pub window: String,
    /// At least so many copies may go in a window.
    #[serde(default = "twenty")]
    pub min_removals: u32,
    /// … or this share of all copies, whichever is more.
    #[serde(default = "ten")]
    pub removal_percent: u32,
    /// What is frozen: nothing is written there, repair of drift included.
    #[serde(default)]
    pub freeze: Freeze,
}

fn ten_minutes() -> String {
    "10m".to_owned()
}

fn twenty() -> u32 {
    20
}

fn ten() -> u32 {
    10
}

/// What no write may reach, repair of drift included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Freeze {
    /// Everything: nothing is written into any cluster.
    #[serde(default)]
    pub all: bool,
    /// Names of MemberClusters: nothing is written into them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// Namespaces of the hub: nothing of them is written into any cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

impl Freeze {
    /// Whether writes of objects of this namespace into this cluster stop.
    pub fn holds(&self, cluster: &str, namespace: &str) -> bool {
        self.all
            || self.clusters.iter().any(|it| it == cluster)
            || self.namespaces.iter().any(|it| it == namespace)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeBudgetStatus {
    /// Copies removed in the present window.
    #[serde(default)]
    pub removed: i64,
    /// How many may go in a window, as of now.
    #[serde(default)]
    pub allowed: i64,
    /// Removals that wait.
    #[serde(default)]
    pub waiting: i64,
    /// RFC 3339; when the present window began.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub window_start: String,
}

/// Bounds what the placements of a scope cost together. Over it, growth and new placements wait; nothing that runs goes
/// (RULES 5.5). Several may hold for one template: all of them count.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "CostBudget",
    plural = "costbudgets",
    category = "archipel",
    status = "CostBudgetStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Limit","type":"string","jsonPath":".spec.maxMonthlyUsd"}"#,
    printcolumn = r#"{"name":"Spent","type":"string","jsonPath":".status.spentMonthlyUsd"}"#,
    printcolumn = r#"{"name":"Placements","type":"integer","jsonPath":".status.placements"}"#,
    printcolumn = r#"{"name":"Waiting","type":"integer","jsonPath":".status.waiting"}"#,
    printcolumn = r#"{"name":"Within","type":"string","jsonPath":".status.conditions[?(@.type==\"WithinBudget\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct CostBudgetSpec {
    /// Dollars a month for all placements of the scope together: `600`.
    pub max_monthly_usd: String,
    /// Namespaces of the hub, `*` as a wildcard; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Labels of the templates, such as a team's; empty: all.
    #[serde(default, skip_serializing_if = "LabelSelector::is_empty")]
    pub label_selector: LabelSelector,
    /// Only what one of these policies claims; empty: whoever claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<BudgetPolicy>,
}

/// A policy whose placements count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetPolicy {
    /// Empty: a ClusterPlacementPolicy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name of the policy.
    pub name: String,
}

/// What a cost budget's scope costs, as estimated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CostBudgetStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is so now, one entry per type; `kubectl wait` reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Dollars a month, the allocated estimate of every placement in scope together.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub spent_monthly_usd: String,
    /// Some price is unknown: what is spent is a lower bound.
    #[serde(default)]
    pub at_least: bool,
    /// Placements in scope.
    #[serde(default)]
    pub placements: i64,
    /// Of these, how many wait since they would cost more than is left.
    #[serde(default)]
    pub waiting: i64,
}
