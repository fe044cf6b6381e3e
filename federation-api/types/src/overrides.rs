//! Override policies: per-cluster changes to what is placed.

use std::collections::BTreeMap;

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    condition::Condition,
    selector::{ClusterSelector, TemplateSelector},
};

/// Changes templates on their way into some clusters.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "OverridePolicy",
    plural = "overridepolicies",
    shortname = "aov",
    category = "archipel",
    namespaced,
    status = "OverrideStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Priority","type":"integer","jsonPath":".spec.priority"}"#,
    printcolumn = r#"{"name":"Matched","type":"integer","jsonPath":".status.matched"}"#,
    printcolumn = r#"{"name":"Applied","type":"integer","jsonPath":".status.applied"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct OverridePolicySpec {
    /// Which templates are changed: those that any of these selects.
    #[schemars(length(min = 1))]
    pub selectors: Vec<TemplateSelector>,
    /// Lower ones are applied first, so the higher one has the last word.
    #[serde(default)]
    pub priority: i32,
    /// Applied in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<OverrideRule>,
}

/// The same for templates of every namespace and cluster-scoped ones; applied before the namespaced ones.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "ClusterOverridePolicy",
    plural = "clusteroverridepolicies",
    category = "archipel",
    status = "OverrideStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Priority","type":"integer","jsonPath":".spec.priority"}"#,
    printcolumn = r#"{"name":"Matched","type":"integer","jsonPath":".status.matched"}"#,
    printcolumn = r#"{"name":"Applied","type":"integer","jsonPath":".status.applied"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterOverridePolicySpec {
    /// What is changed, where.
    #[serde(flatten)]
    pub overrides: OverridePolicySpec,
}

/// Changes for the clusters that it selects; the parts are applied in the order in which they stand here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverrideRule {
    /// Empty: every cluster.
    #[serde(default, skip_serializing_if = "ClusterSelector::is_empty")]
    pub clusters: ClusterSelector,
    /// Changes of images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image: Vec<ImageOverride>,
    /// Changes of the words of commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<WordsOverride>,
    /// Changes of the arguments of commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<WordsOverride>,
    /// Changes of environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvOverride>,
    /// Changes of the labels of the object itself, not of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<MapOverride>,
    /// Changes of the annotations of the object itself, not of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<MapOverride>,
    /// Operations of RFC 6902 on the whole object, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub json_patch: Vec<JsonPatchOperation>,
}

/// Parts of an image's name; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageOverride {
    /// Empty: every container, init containers among them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// The registry: `registry.example`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// The repository in it: `shop/web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// A tag, or a digest (`sha256:…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Words of a command or its arguments: `set` replaces all, else `remove` takes away and `add` appends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WordsOverride {
    /// The container that is meant; empty: every container, init containers among them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// All the words, in place of those there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Vec<String>>,
    /// Words that are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Words that are appended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvOverride {
    /// The container that is meant; empty: every container, init containers among them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Variables that are set, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<EnvValue>,
    /// Names of variables that are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvValue {
    /// The variable's name.
    pub name: String,
    /// The variable's value.
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MapOverride {
    /// Entries that are set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Keys of entries that are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// One operation of RFC 6902.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JsonPatchOperation {
    /// What is done.
    pub op: JsonPatchOp,
    /// A JSON pointer to the place: `/spec/minReadySeconds`.
    pub path: String,
    /// With `move` and `copy`: a JSON pointer to where the value is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// With `add`, `replace` and `test`: the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub value: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JsonPatchOp {
    Add,
    Remove,
    Replace,
    Move,
    Copy,
    Test,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverrideStatus {
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
    /// Of these, placed with every rule that is for their clusters.
    #[serde(default)]
    pub applied: i64,
    /// Rules that cannot do what they say, each with the copies that are not written for it; the first twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingRule>,
}

/// A rule that does not apply to a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailingRule {
    /// Which of `spec.rules`, from 0.
    pub rule: i64,
    /// `Deployment/web in shop`
    pub template: String,
    /// The part of the rule, and why: `jsonPatch[0] /spec/paused: path is invalid`.
    pub message: String,
    /// The clusters whose copy is not written for it.
    pub clusters: Vec<String>,
}
