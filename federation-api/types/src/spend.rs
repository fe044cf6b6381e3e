//! What a policy says of money beside its objectives: spot capacity, traffic, scores that others give.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much of the workload may run on spot capacity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spot {
    /// Per cent of the replicas. With 100 every copy is pinned to spot nodes. With less, whole copies are: so at least
    /// two copies are needed, and with fewer nothing is placed.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u32,
}

/// Traffic that the workload sends, over all its replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Where it goes: to the internet (default), to a managed service, or to another template's copies.
    pub to: TrafficTo,
    /// With `Service`: a managed service, as in `near`. With `Template`: the name of a template in the same namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// With `Template`: its kind; left out: `Deployment`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// GiB a month, over all its replicas.
    pub gib_per_month: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficTo {
    #[default]
    Internet,
    /// A managed service.
    Service,
    /// Another template's copies.
    Template,
}

/// What one point of a score is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScoreWeight {
    /// A name that `ClusterScore`s give points for.
    pub name: String,
    /// Dollars per replica and hour that one point counts as saved; negative where points are a burden.
    pub usd_per_point: String,
}
