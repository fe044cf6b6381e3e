//! How changes reach clusters: in waves, and how far each change has come.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition::Condition, selector::ClusterSelector};

/// The wave of the clusters that no stated wave selects: always the last one.
pub const REST: &str = "rest";
/// How long a cluster may take where a strategy does not say so.
pub const PROGRESS_DEADLINE: &str = "10m";

/// Releases each change wave by wave: a new content, an override, a planned move. What is placed for the first time, what
/// grows, and what takes the place of something lost waits for no wave.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "RolloutStrategy",
    plural = "rolloutstrategies",
    category = "archipel",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Deadline","type":"string","jsonPath":".spec.progressDeadline"}"#,
    printcolumn = r#"{"name":"On-Failure","type":"string","jsonPath":".spec.onFailure"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStrategySpec {
    /// In this order. A cluster belongs to the first wave that selects it; those that none selects are a last wave,
    /// `rest`.
    #[schemars(length(min = 1))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub waves: Vec<Wave>,
    /// How long a cluster may take until its copy is ready in the new revision, and how long a gate may stay closed.
    #[serde(default = "progress_deadline")]
    pub progress_deadline: String,
    /// What happens when a copy fails, or a cluster or a gate takes too long.
    #[serde(default)]
    pub on_failure: OnFailure,
}

fn progress_deadline() -> String {
    PROGRESS_DEADLINE.to_owned()
}

impl Default for RolloutStrategySpec {
    fn default() -> Self {
        let on_failure = OnFailure::default();
        Self { waves: Vec::new(), progress_deadline: progress_deadline(), on_failure }
    }
}

/// Clusters that get a change together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// By which it is approved. A stated wave `rest` without a selector says how the last one goes.
    pub name: String,
    /// Which clusters; empty: all that are left.
    #[serde(default, skip_serializing_if = "ClusterSelector::is_empty")]
    pub clusters: ClusterSelector,
    /// So many of its clusters at most are not ready at a time; left out: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// How long all of the wave stay ready before the next one begins: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<String>,
    /// `Required`: the wave begins once somebody has approved it.
    #[serde(default)]
    pub approval: Approval,
    /// CEL over `wave` (name, size, ready, and clusters: each with name, replicas, ready and scores): all must be true
    /// after the soak before the next wave begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gate: Vec<String>,
}

/// Whether a wave asks before it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    #[default]
    None,
    Required,
}

/// What a failure leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Nothing more is released until somebody says so.
    #[default]
    Pause,
    /// Every cluster returns to the last good revision, and stays there until the template changes or somebody tries
    /// again.
    RollBack,
}

/// How far the last change of one template has come. Named after its Placement. The hub writes it when a change begins,
/// and its status; `spec` is what people say to it.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "Rollout",
    plural = "rollouts",
    shortname = "arol",
    category = "archipel",
    namespaced,
    status = "RolloutStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Wave","type":"string","jsonPath":".status.wave"}"#,
    printcolumn = r#"{"name":"Step","type":"string","jsonPath":".status.step"}"#,
    printcolumn = r#"{"name":"To","type":"string","jsonPath":".status.to"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".status.started"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// The revision that `approved` and `aborted` are about: said of another one, they do not count.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Nothing more is released while it is true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Names of waves that may begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<String>,
    /// Every cluster returns to the revision before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aborted: bool,
    /// Another value than before begins again after a failure; `archipel rollout retry` writes the time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub retry: String,
}

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is so now, one entry per type; `kubectl wait` reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where it stands.
    #[serde(default)]
    pub state: RolloutState,
    /// The strategy, with its namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub strategy: String,
    /// The last good revision: where an abort returns to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The revision that is released.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// The wave that it is at.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wave: String,
    /// That wave's place among those that have something to do: `2/3`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// In their order; those with nothing to do are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub waves: Vec<WaveStatus>,
    /// Clusters that were given the revision and are not ready in it yet; sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub updating: Vec<Updating>,
    /// What went wrong: a reason code of [`crate::reason::rollout`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failure: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failure_message: String,
    /// The `spec.retry` that was acted upon.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub retry: String,
    /// RFC 3339; when it began.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub started: String,
    /// RFC 3339; when it ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub finished: String,
}

/// Where a rollout stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RolloutState {
    /// Clusters of the wave are on their way.
    #[default]
    Progressing,
    /// All of the wave are ready, and are to stay so for a while.
    Soaking,
    /// All of the wave are ready, and its gate is not open.
    Gated,
    /// The next wave begins once somebody has approved it.
    WaitingForApproval,
    /// Somebody has paused it, or something failed.
    Paused,
    /// Every cluster was given the revision.
    Completed,
    /// Every cluster is back at the revision before.
    Aborted,
}

impl RolloutState {
    /// Nothing more comes of it by itself.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Aborted)
    }

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Progressing => "Progressing",
            Self::Soaking => "Soaking",
            Self::Gated => "Gated",
            Self::WaitingForApproval => "WaitingForApproval",
            Self::Paused => "Paused",
            Self::Completed => "Completed",
            Self::Aborted => "Aborted",
        }
    }
}

/// One wave of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaveStatus {
    /// Its name.
    pub name: String,
    /// Where it stands.
    #[serde(default)]
    pub state: WaveState,
    /// Clusters in it that are to hold a copy.
    #[serde(default)]
    pub clusters: i64,
    /// Of these, those that were given the revision.
    #[serde(default)]
    pub released: i64,
    /// Of these, those that are ready in it.
    #[serde(default)]
    pub ready: i64,
    /// RFC 3339; when its first cluster was given the revision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub started: String,
    /// RFC 3339; since when all of them are ready.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ready_since: String,
    /// RFC 3339; when the next wave might begin.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub finished: String,
}

/// Where one wave stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum WaveState {
    /// Its turn has not come.
    #[default]
    Pending,
    /// Its turn has come, and it begins once somebody has approved it.
    WaitingForApproval,
    /// Its clusters are on their way.
    Progressing,
    /// All are ready, and are to stay so for a while.
    Soaking,
    /// All are ready, and its gate is not open.
    Gated,
    Done,
}

/// A cluster on its way to a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Updating {
    /// The name of the MemberCluster.
    pub name: String,
    /// RFC 3339; from when on the deadline counts.
    pub since: String,
    /// The deadline does not count: the rollout is paused, writes are frozen, or the cluster does not answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}
