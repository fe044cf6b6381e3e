//! How much may change, how much may be spent, and the freeze.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition::Condition, selector::LabelSelector, words::counted};

/// The ChangeBudget that is made at the first start, and that holds even where it is missing (RULES 1.3).
pub const DEFAULT_CHANGE_BUDGET: &str = "default";

/// Bounds removals in a window and holds the freeze (RULES 1.3). `default` is made at first start; all of them hold.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    printcolumn = r#"{"name":"Frozen","type":"string","jsonPath":".status.frozen"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase", default)]
pub struct ChangeBudgetSpec {
    /// `10m`
    pub window: String,
    /// At least so many copies may go in a window.
    pub min_removals: u32,
    /// … or this share of all copies, whichever is more.
    pub removal_percent: u32,
    /// What is frozen: nothing is written there, repair of drift included.
    pub freeze: Freeze,
}

/// What `ChangeBudget/default` is made with: at most max(20, 10 %) of all copies in 10 minutes (RULES 1.3).
impl Default for ChangeBudgetSpec {
    fn default() -> Self {
        let window = "10m".to_owned();
        Self { window, min_removals: 20, removal_percent: 10, freeze: Freeze::default() }
    }
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

    /// Whether it stops nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What it stops, with names: `cluster eks-1, namespace shop`; empty where it stops nothing.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if self.all {
            words.push("every write to every member".to_owned());
        }
        words.extend(self.clusters.iter().map(|it| format!("cluster {it}")));
        words.extend(self.namespaces.iter().map(|it| format!("namespace {it}")));
        words.join(", ")
    }

    /// What it stops, in short: `all`, `1 cluster, 2 namespaces`, `nothing`.
    pub fn summary(&self) -> String {
        if self.all {
            return "all".to_owned();
        }
        let parts = [
            (self.clusters.len(), "cluster", "clusters"),
            (self.namespaces.len(), "namespace", "namespaces"),
        ];
        let parts = parts.into_iter().filter(|it| it.0 > 0);
        let texts: Vec<String> = parts.map(|(n, one, many)| counted(n, one, many)).collect();
        if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
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
    /// What the budget freezes, in short: `all`, `1 cluster, 2 namespaces`, `nothing`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub frozen: String,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate;

    #[test]
    fn rule_1_3_the_default_budget_is_one_that_the_hub_takes() {
        let spec = ChangeBudgetSpec::default();
        assert_eq!(validate::change_budget(&spec), []);
        assert_eq!(
            (spec.window.as_str(), spec.min_removals, spec.removal_percent),
            ("10m", 20, 10)
        );
        let read: ChangeBudgetSpec = serde_json::from_str("{}").expect("every field has a default");
        assert_eq!(read, spec);
    }

    #[test]
    fn a_freeze_says_in_short_what_it_stops() {
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let freeze = |all, clusters: &[&str], namespaces: &[&str]| Freeze {
            all,
            clusters: names(clusters),
            namespaces: names(namespaces),
        };
        assert_eq!(freeze(false, &[], &[]).summary(), "nothing");
        assert_eq!(freeze(true, &["a"], &[]).summary(), "all");
        assert_eq!(freeze(false, &[], &["shop", "bank"]).summary(), "2 namespaces");
        let some = freeze(false, &["a"], &["shop"]);
        assert_eq!(some.summary(), "1 cluster, 1 namespace");
        assert_eq!(some.words(), "cluster a, namespace shop");
        assert!(freeze(false, &[], &[]).is_none() && !some.is_none());
    }
}
