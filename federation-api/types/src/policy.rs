//! Placement policies: which templates, where they may run, and how they are spread and divided.

use std::collections::BTreeMap;

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::Condition,
    selector::{ClusterSelector, LabelSelector, TemplateSelector},
    spend::{ScoreWeight, Spot, Traffic},
};

/// What a policy says, in both scopes.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "PlacementPolicy",
    plural = "placementpolicies",
    shortname = "apol",
    category = "archipel",
    namespaced,
    status = "PolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Priority","type":"integer","jsonPath":".spec.priority"}"#,
    printcolumn = r#"{"name":"Matched","type":"integer","jsonPath":".status.matched"}"#,
    printcolumn = r#"{"name":"Placed","type":"integer","jsonPath":".status.placed"}"#,
    printcolumn = r#"{"name":"Failing","type":"integer","jsonPath":".status.failing"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct PlacementPolicySpec {
    /// Which templates; at least one.
    #[schemars(length(min = 1))]
    pub selectors: Vec<TemplateSelector>,
    /// The higher one claims.
    #[serde(default)]
    pub priority: i32,
    /// Ordered groups of clusters: the first that fits wins. None means every cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affinities: Vec<Affinity>,
    /// Taints of clusters that do not keep it away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Where data may be: hard, and binds what the template needs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Residency>,
    /// How many clusters, zones, regions or providers hold it; all of these rules hold together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Spread>,
    /// How replicas are given to clusters. Left out, the kind decides (RULES 3.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// What counts for how much where there is a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,
    /// Managed services that the workload wants near.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<Near>,
    /// Only near templates of the namespace that these select. What runs does not move for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workload_affinity: Vec<WorkloadTerm>,
    /// Only apart from templates of the namespace that these select. What runs does not move for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workload_anti_affinity: Vec<WorkloadTerm>,
    /// Traffic that the workload sends. Without any, figures leave egress out, and Cheapest stays with one provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// Charges of the price books that the workload brings to each cluster it is in: `load-balancer`, `nat`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brings: Vec<String>,
    /// How much of it may run on spot capacity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<Spot>,
    /// What it may cost: over it, growth and new placements wait, and nothing that runs goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What happens when a cluster is lost (RULES 3.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// How objects in members are treated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<Sync>,
    /// `Follow` takes along what the template names: ConfigMaps, Secrets, ServiceAccounts and PersistentVolumeClaims, the
    /// Service of a StatefulSet, the Services and Secrets of an Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Dependencies>,
    /// How changes reach clusters: all at once, unless a strategy says in which waves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutRef>,
    /// Nothing new is decided while it is true; what runs stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// A policy for templates of every namespace and for cluster-scoped ones, with limits that hold whoever claims.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "ClusterPlacementPolicy",
    plural = "clusterplacementpolicies",
    category = "archipel",
    status = "PolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Priority","type":"integer","jsonPath":".spec.priority"}"#,
    printcolumn = r#"{"name":"Matched","type":"integer","jsonPath":".status.matched"}"#,
    printcolumn = r#"{"name":"Placed","type":"integer","jsonPath":".status.placed"}"#,
    printcolumn = r#"{"name":"Failing","type":"integer","jsonPath":".status.failing"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPlacementPolicySpec {
    /// The policy.
    #[serde(flatten)]
    pub policy: PlacementPolicySpec,
    /// ANDed into every decision on a matching template, whoever claims it (RULES 2.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Namespaces of the hub whose templates match, `*` as a wildcard; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Only with `Allow` are templates in `kube-*` namespaces selected (RULES 2.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_namespaces: Option<SystemNamespaces>,
    /// The policy only limits: it claims nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub limits_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SystemNamespaces {
    Allow,
}

/// A named group of clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Affinity {
    /// A name for the group: placements and `why` show it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The clusters of the group; empty: every one.
    #[serde(default, skip_serializing_if = "ClusterSelector::is_empty")]
    pub clusters: ClusterSelector,
    /// `Allow`: where this group can hold only part of a divided workload, growth goes on in the next group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Overflow {
    Allow,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// Empty with `Exists` tolerates every taint.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// `Equal` (default) wants the taint's value, `Exists` takes any.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// With `Equal`: the taint's value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Left out: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<crate::cluster::TaintEffect>,
    /// With NoExecute: what runs on the cluster stays for so long after the taint was added, and nothing new comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    #[default]
    Equal,
    Exists,
}

impl Toleration {
    pub fn tolerates(&self, taint: &crate::cluster::Taint) -> bool {
        self.effect.is_none_or(|it| it == taint.effect)
            && match self.operator {
                TolerationOperator::Exists => self.key.is_empty() || self.key == taint.key,
                TolerationOperator::Equal => self.key == taint.key && self.value == taint.value,
            }
    }
}

/// Where data may be: hard, and binds what the template needs too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Residency {
    /// Jurisdictions that the cluster must be in one of. A cluster without one is in none.
    pub jurisdictions: Vec<String>,
}

/// Other templates that a workload wants beside it, or keeps away from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadTerm {
    /// Labels of templates in the namespace of the workload, whatever their kind.
    pub label_selector: LabelSelector,
    /// What near means: `cluster`, `zone`, `region`, `provider`, or any label of the clusters.
    pub topology_key: String,
    /// `ScheduleAnyway` makes it a wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_unsatisfiable: Option<WhenUnsatisfiable>,
}

/// How many domains hold the workload. Counts domains with at least one replica (RULES 3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// `cluster`, `zone`, `region`, `provider`, or any label of the clusters.
    pub topology_key: String,
    /// At least so many domains hold replicas; with fewer at hand nothing is placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// At most so many domains hold replicas; left out: as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Bounds the difference in replicas between chosen domains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_skew: Option<u32>,
    /// `DoNotSchedule` (default) makes the rule hard; `ScheduleAnyway` makes it a wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_unsatisfiable: Option<WhenUnsatisfiable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    DoNotSchedule,
    ScheduleAnyway,
}

/// How replicas are given to clusters. Left out, the kind decides (RULES 3.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replicas {
    /// `Duplicated`: every chosen cluster runs all replicas; `Divided`: they are shared out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ReplicaMode>,
    /// Of `Divided`, by what they are shared out: `Weighted` by `weights`, `Room` by free room, `Packed` into as
    /// few clusters as possible, `Cheapest` where it adds least to the bill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<Division>,
    /// For `Weighted`; equal if left out. The highest matching weight of a cluster counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<Weight>,
    /// Of `Divided`: a cluster that runs any runs at least so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_per_cluster: Option<u32>,
    /// Of `Divided`: no cluster runs more than so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_cluster: Option<u32>,
    /// `Allow` places what fits when there is not room for all (RULES 3.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReplicaMode {
    /// Every chosen cluster runs all replicas.
    Duplicated,
    /// The replicas are shared out.
    Divided,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Division {
    /// In proportion to `weights`.
    Weighted,
    /// In proportion to free room.
    Room,
    /// Into as few clusters as possible.
    Packed,
    /// Where it costs least.
    Cheapest,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Weight {
    /// The clusters that have this weight.
    pub clusters: ClusterSelector,
    /// The share of a cluster beside those of the others.
    #[schemars(range(min = 1))]
    pub weight: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Partial {
    Allow,
}

/// Per cent of the converted money (RULES 5.1); what is left out counts with its stated default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objectives {
    /// Per cent at which costs count; 100 if left out.
    #[serde(default = "hundred")]
    pub cost: u32,
    /// Per cent at which the way to the services in `near` counts; 100 if left out.
    #[serde(default = "hundred")]
    pub latency: u32,
    /// Per cent at which what a move costs counts; 100 if left out.
    #[serde(default = "hundred")]
    pub stickiness: u32,
    /// What one millisecond to the wanted services costs per replica and hour, in dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_ms_per_replica_hour: Option<String>,
    /// What moving one replica costs, in dollars, spread over 720 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_move: Option<String>,
    /// Points that ClusterScores give, and what one is worth.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<ScoreWeight>,
}

impl Default for Objectives {
    fn default() -> Self {
        Self {
            cost: 100,
            latency: 100,
            stickiness: 100,
            usd_per_ms_per_replica_hour: None,
            usd_per_move: None,
            scores: Vec::new(),
        }
    }
}

fn hundred() -> u32 {
    100
}

/// A managed service the workload talks to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Near {
    /// The service, as `spec.services` of MemberClusters names it: `aws/dynamodb`.
    pub service: String,
    /// A cluster without the service, or further from it, is refused, unless `required` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency_ms: Option<u32>,
    /// `true` refuses clusters that do not name the service, `false` makes of `maxLatencyMs` a wish: only what is beyond
    /// it costs. Left out: true with `maxLatencyMs`, false without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Dollars; bounds the allocated estimate (RULES 5.5).
    pub max_monthly_usd: String,
}

/// What happens when a cluster is lost (RULES 3.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// How long a cluster is dark before its replicas are replaced: `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What becomes of the old copy: `Graceful` (default), it goes once the new one is ready; `Never`, it is left
    /// in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge: Option<Purge>,
    /// Whether it returns to the affinity group that it was moved from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failback: Option<Failback>,
    /// Lets StatefulSets, Jobs and Recreate Deployments fail over without proof that the old copy is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfenced: Option<Unfenced>,
    /// Lets what is replaced cost more than the budgets allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_budget: Option<OverBudget>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OverBudget {
    Allow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Purge {
    /// The old copy goes once the new one is ready.
    Graceful,
    /// The old copy is left in place.
    Never,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failback {
    /// `Automatic` unless stated otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FailbackMode>,
    /// How long a preferred group could take all of it, without a break, before it returns there: `30m` if left out,
    /// doubled for each return within the last day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_for: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailbackMode {
    /// Back to the affinity group that comes first, once it could hold all of it for long enough.
    Automatic,
    /// What left its group stays where it is.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unfenced {
    Allow,
}

/// How the syncer treats the members' objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// An object that is not ours stands where a copy should: `Fail` (default) reports it and leaves it, `Adopt`
    /// takes it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
    /// Somebody changed a field of ours in a member: `Correct` (default) puts it right, `Report` only says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// What becomes of a copy that is no longer wanted: `Delete`, or `Orphan`, by which it stays without the hub's
    /// marks. Left out, the kind decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_delete: Option<OnDelete>,
}

/// What to do with an object that stands where a copy should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Conflict {
    /// Report it and leave it.
    #[default]
    Fail,
    /// Take it over.
    Adopt,
}

/// What to do with a field of ours that someone changed in a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Drift {
    #[default]
    Correct,
    /// Report it and leave it.
    Report,
}

/// What becomes of a copy that is no longer wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    #[default]
    Delete,
    /// Our marks go, the object stays.
    Orphan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dependencies {
    Follow,
    Ignore,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRef {
    /// The name of a RolloutStrategy in the policy's namespace; of a cluster policy, in `archipel-system`.
    pub strategy_name: String,
}

/// What every matching cluster policy adds to a decision (RULES 2.2): all that is stated restricts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The clusters that may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterSelector>,
    /// Jurisdictions that the cluster must be in one of. A cluster without one is in none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jurisdictions: Vec<String>,
    /// Keys of taints that may be tolerated; left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<String>>,
    /// At most so many clusters hold the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_clusters: Option<u32>,
    /// At most so many replicas run of a template over all clusters. Of a divided one what runs already stays, and none is
    /// added while there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<u32>,
    /// Dollars a month that a template may cost, as estimated; over it, growth and new placements wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_monthly_usd: Option<String>,
}

/// How a policy fares (RULES 2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is so now, one entry per type; `kubectl wait` reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Templates that the selectors match.
    #[serde(default)]
    pub matched: i64,
    /// Of these, claimed by this policy and placed.
    #[serde(default)]
    pub placed: i64,
    /// Of these, claimed by this policy and not decided yet, or held.
    #[serde(default)]
    pub pending: i64,
    /// Of these, claimed by this policy and not placed.
    #[serde(default)]
    pub failing: i64,
    /// Templates that match and that another policy claims, by that policy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shadowed: BTreeMap<String, i64>,
}
