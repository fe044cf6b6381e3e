//! A template's content with its overrides: what a syncer renders.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{field_path::FieldPath, overrides::OverrideRule, placement::TemplateRef};

/// Immutable and content-addressed: its name is the Placement's followed by its hash.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "Revision",
    plural = "revisions",
    category = "archipel",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.template.kind"}"#,
    printcolumn = r#"{"name":"Template","type":"string","jsonPath":".spec.template.name"}"#,
    printcolumn = r#"{"name":"Generation","type":"integer","jsonPath":".spec.template.generation"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSpec {
    /// The template that it is the content of.
    pub template: TemplateRef,
    /// 16 hexadecimal digits over `content`, `overrides` and `replicasPath`.
    pub hash: String,
    /// What the user wrote, without what the hub added (RULES 4.1): apiVersion, kind, metadata (name, namespace, labels,
    /// annotations) and the rest.
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    #[serde(default)]
    pub content: Value,
    /// Where a custom kind has its replicas, by its StatusRule: `.spec.size`. Each cluster's number is written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_path: Option<FieldPath>,
    /// The override rules that matched the template, in the order in which they are applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<NamedRule>,
}

/// The same for a cluster-scoped template.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "ClusterRevision",
    plural = "clusterrevisions",
    category = "archipel",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.template.kind"}"#,
    printcolumn = r#"{"name":"Template","type":"string","jsonPath":".spec.template.name"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRevisionSpec {
    /// The revision.
    #[serde(flatten)]
    pub revision: RevisionSpec,
}

/// An override rule and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NamedRule {
    /// `OverridePolicy shop/web rule 0`
    pub from: String,
    /// What it changes.
    pub rule: OverrideRule,
}
