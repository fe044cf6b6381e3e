//! Price books.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Prices of nodes, in one normal form for every provider.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "PriceBook",
    plural = "pricebooks",
    category = "archipel",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Sample","type":"boolean","jsonPath":".spec.sample"}"#,
    printcolumn = r#"{"name":"Max-Age","type":"string","jsonPath":".spec.maxAge"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct PriceBookSpec {
    /// A price older than this ranks at × 1.25 and is flagged (RULES 5.4): `720h`. Left out: no maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// Every figure from a sample book says so.
    #[serde(default)]
    pub sample: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<NodePrice>,
}

/// What a node costs per hour. Decimal dollars in text; what is left out is unknown, never free.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePrice {
    pub provider: String,
    /// Empty: every region of the provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    pub instance_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand_usd_hour: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_usd_hour: Option<String>,
    /// Of the node: lets a price be split over what runs on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cpu: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub memory: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// RFC 3339 date; empty: undated (usable, flagged, loses ties).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub as_of: String,
}
