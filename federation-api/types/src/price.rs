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
    /// What nodes cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<NodePrice>,
    /// What is paid beside nodes: per cluster that a workload is in, or per node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Charge>,
    /// What volumes cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<StoragePrice>,
    /// What leaving traffic costs, paid where it leaves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressPrice>,
    /// Nodes that are paid for in advance: using one that stands idle costs nothing more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commitments: Vec<Commitment>,
}

/// What a node costs per hour. Decimal dollars in text; what is left out is unknown, never free.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePrice {
    /// The provider: `eks`, `gke`, `aks` or `onprem`.
    pub provider: String,
    /// Empty: every region of the provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Empty: every zone of the region.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// The type of the node, as the provider names it.
    pub instance_type: String,
    /// Dollars an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand_usd_hour: Option<String>,
    /// Dollars an hour as a spot node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_usd_hour: Option<String>,
    /// How often spot nodes of the type are taken away: between so many …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_interrupt_percent_min: Option<u32>,
    /// … and so many per cent of them in a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_interrupt_percent_max: Option<u32>,
    /// Of the node: lets a price be split over what runs on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cpu: String,
    /// Of the node: lets a price be split over what runs on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub memory: String,
    /// Where the price was read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// RFC 3339 date; empty: undated (usable, flagged, loses ties).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub as_of: String,
}

/// A charge by name. Of several that fit a cluster the closest place counts: region, provider, anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Charge {
    /// `load-balancer`, `nat`, the name of a licence.
    pub name: String,
    /// What it is paid for: each cluster that a workload is in (default), or each node.
    #[serde(default)]
    pub per: ChargeUnit,
    /// Empty: every provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider: String,
    /// Empty: every region of the provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Dollars an hour.
    pub usd_hour: String,
}

/// What a charge is paid for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ChargeUnit {
    /// Each cluster that a workload is in which brings it.
    #[default]
    Cluster,
    /// Each node, whatever runs there: licences and agents by node.
    Node,
}

/// What a volume costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoragePrice {
    /// Empty: every provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider: String,
    /// Empty: every region of the provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// The name of a storage class; empty: every class that has no price of its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// Dollars per GiB and month.
    pub usd_gib_month: String,
}

/// What traffic costs that leaves a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressPrice {
    /// Where it leaves; empty: every provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider: String,
    /// Empty: every region of the provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// How far it goes.
    pub to: EgressClass,
    /// Dollars per GiB.
    pub usd_gib: String,
}

/// How far traffic goes. What stays in one zone costs nothing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum EgressClass {
    /// To another zone of the region.
    Zone,
    /// To another region of the provider.
    Region,
    /// To another provider; without a price it costs what the internet does.
    Provider,
    #[default]
    Internet,
}

/// Nodes paid for in advance: reserved instances, committed use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Commitment {
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The provider: `eks`, `gke`, `aks` or `onprem`.
    pub provider: String,
    /// Empty: every region of the provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// The type of the nodes.
    pub instance_type: String,
    /// How many nodes are paid for.
    pub nodes: u32,
    /// RFC 3339 date of the last day; left out: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}
