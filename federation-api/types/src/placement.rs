//! The decision for one template. Written by the hub only: `spec` by the placement controller through the gate,
//! `status` by the syncer.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition::Condition, policy::Sync};

/// Where one template runs, in which revision, and which copies are to go.
///
/// Nothing reaches a member that does not stand here: a cluster in `clusters` gets a copy, a cluster in `removing`
/// loses it, and any other cluster is left alone, whatever it holds (RULES 1.1, 1.2).
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "Placement",
    plural = "placements",
    shortname = "apl",
    category = "archipel",
    namespaced,
    status = "PlacementStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Template","type":"string","jsonPath":".spec.template.kind"}"#,
    printcolumn = r#"{"name":"Policy","type":"string","jsonPath":".spec.policyRef.name"}"#,
    printcolumn = r#"{"name":"Clusters","type":"integer","jsonPath":".status.summary.clusters"}"#,
    printcolumn = r#"{"name":"Ready","type":"integer","jsonPath":".status.summary.ready"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".status.summary.replicas"}"#,
    printcolumn = r#"{"name":"Placed","type":"string","jsonPath":".status.conditions[?(@.type==\"Placed\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Placed\")].reason","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct PlacementSpec {
    /// The template that is decided on.
    pub template: TemplateRef,
    /// The policy that claims the template; none once it is gone (RULES 1.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<PolicyRef>,
    /// The affinity group that was chosen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub affinity: String,
    /// Whether the replicas are shared out over the clusters; otherwise each runs all of them.
    #[serde(default)]
    pub divided: bool,
    /// Sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub clusters: Vec<PlacedCluster>,
    /// Copies that are to go, with the cause that passed the gate; sorted by name. An entry stays until the syncer has
    /// seen the copy gone: it is the tombstone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub removing: Vec<RemovedCluster>,
    /// The first ordinal that no cluster was ever given, of a divided StatefulSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinals_next: Option<i64>,
    /// Returns to a preferred affinity group, by which the next one waits longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<Returned>,
    /// RFC 3339; since when a preferred affinity group could hold all of it, once that has lasted for five minutes: what
    /// `stableFor` counts from after a restart of the hub.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub preferred_since: String,
    /// From the claiming policy: what the syncer needs to know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<Sync>,
    /// The approval that the last move was made by; none is used twice (RULES 3.4).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub approval: String,
    /// While a change is released in waves: how far it has come. Clusters that name another revision wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<PlacedRollout>,
    /// How the decision came out; the syncer shows it as the condition `Placed`.
    #[serde(default)]
    pub outcome: Outcome,
    /// What the template names and its policy has follow it, sorted (RULES 4.7).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Dependency>,
    /// Whether all of that is where the template is; the syncer shows it as the condition `DependenciesMet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Outcome>,
    /// Of a template that no policy selects: the first ten, by name, that need it and for whose sake it is placed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<Follows>,
}

/// Another template of the same namespace, which is needed.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// It is used where it exists: nothing is amiss without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// Another template of the same namespace, which needs this one.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Follows {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// How often a template returned to a preferred affinity group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Returned {
    /// Returns of which each came within a day of the one before.
    pub times: u32,
    /// RFC 3339; the last one.
    pub last: String,
}

/// What is to be released, and what it waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlacedRollout {
    /// The revision that is to be released: `Revision.spec.hash`.
    pub revision: String,
    /// A reason code of [`crate::reason::rollout`].
    pub reason: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How a decision came out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// `True`, `False` or `Unknown`: the status of the condition `Placed`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// A reason code of [`crate::reason::placed`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How the decision came out, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The same for a cluster-scoped template.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "ClusterPlacement",
    plural = "clusterplacements",
    category = "archipel",
    status = "PlacementStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Template","type":"string","jsonPath":".spec.template.kind"}"#,
    printcolumn = r#"{"name":"Policy","type":"string","jsonPath":".spec.policyRef.name"}"#,
    printcolumn = r#"{"name":"Clusters","type":"integer","jsonPath":".status.summary.clusters"}"#,
    printcolumn = r#"{"name":"Ready","type":"integer","jsonPath":".status.summary.ready"}"#,
    printcolumn = r#"{"name":"Placed","type":"string","jsonPath":".status.conditions[?(@.type==\"Placed\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPlacementSpec {
    /// The decision.
    #[serde(flatten)]
    pub placement: PlacementSpec,
}

/// The template that was decided on; its namespace is the Placement's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateRef {
    /// The template's group and version.
    pub api_version: String,
    /// The template's kind.
    pub kind: String,
    /// The template's name.
    pub name: String,
    /// The template's uid.
    pub uid: String,
    /// The generation of the template that was decided on.
    pub generation: i64,
}

#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct PolicyRef {
    /// `PlacementPolicy` or `ClusterPlacementPolicy`.
    pub kind: String,
    /// The policy's name.
    pub name: String,
}

/// A cluster that holds a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacedCluster {
    /// The name of the MemberCluster.
    pub name: String,
    /// Replicas there; left out for kinds without replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// The Revision that is released to this cluster: `Revision.spec.hash`.
    pub revision: String,
    /// The decision has moved on, for this cause; the copy stays until its successors are ready, the cluster answers and
    /// the gate lets it go. Empty: it is meant to be here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub leaving: String,
    /// Of a copy that leaves: nothing was made in its stead, and it waits for no other copy to be ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreplaced: bool,
    /// Of what follows: nothing needs it here any more, and it stays until something does, a policy claims it, or it is
    /// deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Of a divided StatefulSet: the ordinal at which this cluster's pods begin; fixed at first placement, never reused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinals_start: Option<i64>,
    /// Of an object that bounds a divided workload: that workload's replicas here, by which its numbers are divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<i64>,
    /// The copy is pinned to spot nodes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spot: bool,
}

/// A cluster whose copy is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovedCluster {
    /// The name of the MemberCluster.
    pub name: String,
    /// Why it goes (RULES 1.2): `TemplateDeleted`, `PolicyChanged`, `ClusterChanged`, `ScaledDown`, `Failover`, `Failback`,
    /// `ClusterLeaving`, `UserGone`.
    pub cause: String,
    /// RFC 3339; when the removal passed the gate.
    pub since: String,
    /// `Orphan`: our marks go, the object stays.
    #[serde(default)]
    pub on_delete: crate::policy::OnDelete,
}

/// How the copies fare. Above 500 clusters `clusters` lists only those that are not Ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is so now, one entry per type; `kubectl wait` reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Counts over all clusters.
    #[serde(default)]
    pub summary: Summary,
    /// Sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub clusters: Vec<CopyStatus>,
    /// `clusterName` of every cluster that holds a copy, in the form that other tools read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
}

/// Counts over all clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Clusters that are to hold a copy.
    pub clusters: i64,
    /// Of these, those whose copy is ready.
    pub ready: i64,
    /// Replicas over all copies.
    #[serde(default)]
    pub replicas: i64,
    /// Of these, those that are ready.
    #[serde(default)]
    pub ready_replicas: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The name of the MemberCluster.
    pub cluster_name: String,
    /// The revision in which its copy is ready, where `clusters` leaves it out for being so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
}

/// How one copy fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopyStatus {
    /// The name of the MemberCluster.
    pub name: String,
    /// Where the copy is on its way.
    pub state: CopyState,
    /// Replicas that run there; left out for kinds without replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Of these, those that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i64>,
    /// The manager in the member that has taken over the number of replicas: an autoscaler. Ours is no longer sent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scaled_by: String,
    /// The revision that the member last accepted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// A reason code, see [`crate::reason`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What is wrong, or waited for, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// RFC 3339; when the state last changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// The member has not answered since; the values are its last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// Where a copy is on its way.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum CopyState {
    /// Not written yet.
    #[default]
    Pending,
    /// Written; not ready yet.
    Progressing,
    Ready,
    /// Written, and the member says that it is not well.
    Degraded,
    /// The member refused it.
    Refused,
    /// A foreign object stands in its place.
    Conflict,
    /// On its way out.
    Removing,
    /// The cluster does not answer.
    Unreachable,
    /// Held back: freeze, budget, observe-only.
    Held,
}
