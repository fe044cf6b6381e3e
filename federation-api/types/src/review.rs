//! Reviews: create-only kinds that are answered and not stored.

use serde::{Deserialize, Serialize};

pub mod plan;
pub mod simulation;

/// `Explanation`: why a template is where it is, and why not elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplanationSpec {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    /// Empty for cluster-scoped templates.
    #[serde(default)]
    pub namespace: String,
    /// Only this cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplanationStatus {
    /// The claiming policy: `PlacementPolicy shop/web-eu`; empty: unclaimed.
    #[serde(default)]
    pub policy: String,
    /// Policies that match too, in the order of claim, each with why it lost.
    #[serde(default)]
    pub shadowed: Vec<String>,
    /// One sentence: what was decided.
    pub summary: String,
    /// The affinity group that was chosen.
    #[serde(default)]
    pub affinity: String,
    #[serde(default)]
    pub clusters: Vec<ClusterExplanation>,
    /// Flags on the figures: `sample prices`, `without egress`, …
    #[serde(default)]
    pub notes: Vec<String>,
    /// The allocated estimate per month, `$12.34`; `at least` before it where prices are unknown.
    #[serde(default)]
    pub monthly_cost: String,
    /// What the decision adds to the bill per month: the new nodes, volumes, charges and traffic of what it adds.
    #[serde(default)]
    pub marginal_monthly_cost: String,
    /// The part of the allocated estimate that runs on nodes which are paid for in advance.
    #[serde(default)]
    pub committed_monthly_cost: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterExplanation {
    pub cluster: String,
    pub eligible: bool,
    /// A rule id of [`crate::reason::rule`].
    pub rule: String,
    #[serde(default)]
    pub wanted: String,
    #[serde(default)]
    pub found: String,
    /// The policy behind a limit, where one refused.
    #[serde(default)]
    pub policy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// What would change the answer.
    #[serde(default)]
    pub would_change: String,
    /// Parts of the score as money per hour: `cost $0.23`, …
    #[serde(default)]
    pub score: Vec<ScorePart>,
    /// What one more replica would cost here, per month.
    #[serde(default)]
    pub marginal_cost: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScorePart {
    pub name: String,
    /// Micro-dollars per hour.
    pub micros: i64,
}
