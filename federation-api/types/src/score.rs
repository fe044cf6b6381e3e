//! Scores of clusters that others give: whoever may write this kind has a say in decisions, in money.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Points for one cluster, by name, until a date. A policy says what a point is worth in `objectives.scores`; what has
/// expired counts as no points.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "ClusterScore",
    plural = "clusterscores",
    category = "archipel",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Cluster","type":"string","jsonPath":".spec.cluster"}"#,
    printcolumn = r#"{"name":"Valid-Until","type":"string","jsonPath":".spec.validUntil"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterScoreSpec {
    /// The name of a MemberCluster.
    pub cluster: String,
    /// RFC 3339, in UTC: `2026-11-21T12:00:00Z`. Left out: until it is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// The points, by name.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub scores: Vec<Points>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Points {
    /// The name of the score, as policies weigh it.
    pub name: String,
    /// How many points.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub value: i64,
}
