//! The text of a scenario as it is read: what is left out has a default that makes the cluster an ordinary one.

use std::collections::BTreeMap;

use federation_types::{
    cluster::{
        ClusterSetSpec, FreeNodes, MemberClusterSpec, NearService, NodeShape, PROVIDERS, Taint,
    },
    policy::Limits,
    price::{Charge, Commitment, EgressPrice, NodePrice, StoragePrice},
    shape,
    status_rule::StatusRuleSpec,
    validate::Problem,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{fleet::ClusterInput, place::Previous, workload::Around};

/// The day on which scenarios take place unless they say otherwise: what ages of prices are counted against.
fn day() -> String {
    "2026-11-21".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Text {
    #[serde(default = "day")]
    pub(super) as_of: String,
    pub(super) clusters: Vec<Cluster>,
    #[serde(default)]
    pub(super) sets: BTreeMap<String, ClusterSetSpec>,
    #[serde(default)]
    pub(super) prices: Vec<NodePrice>,
    #[serde(default)]
    pub(super) max_age: Option<String>,
    /// The other parts of a price book.
    #[serde(default)]
    pub(super) charges: Vec<Charge>,
    #[serde(default)]
    pub(super) storage: Vec<StoragePrice>,
    #[serde(default)]
    pub(super) egress: Vec<EgressPrice>,
    #[serde(default)]
    pub(super) commitments: Vec<Commitment>,
    /// Whether the marginal and the committed cost are told, too.
    #[serde(default)]
    pub(super) figures: bool,
    /// The specs of StatusRules, by name.
    #[serde(default)]
    pub(super) rules: BTreeMap<String, StatusRuleSpec>,
    /// What the hub knows of every workload beside its template.
    #[serde(default)]
    pub(super) around: Around,
    /// The spec of the one policy that decides, without selectors.
    #[serde(default)]
    pub(super) policy: Option<Value>,
    /// Of cluster policies beside it, by name.
    #[serde(default)]
    pub(super) limits: BTreeMap<String, Limits>,
    /// Of a namespaced policy.
    #[serde(default)]
    pub(super) namespace: Option<String>,
    /// The policy has changed since the decision before.
    #[serde(default)]
    pub(super) policy_changed: bool,
    /// Whole policies of both kinds, among which the claim decides.
    #[serde(default)]
    pub(super) policies: Vec<Value>,
    #[serde(default)]
    pub(super) workload: Option<Value>,
    #[serde(default)]
    pub(super) previous: Option<Previous>,
    /// Decided one after the other, each with the room that those before it left.
    #[serde(default)]
    pub(super) workloads: Vec<Value>,
    /// Decisions before, by `Deployment shop/web`.
    #[serde(default)]
    pub(super) placements: BTreeMap<String, Previous>,
}

/// A cluster in short: ready, accepted, serving the usual kinds, with four large nodes free.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cluster {
    pub(super) name: String,
    #[serde(default = "eks")]
    provider: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    zones: Vec<String>,
    #[serde(default)]
    jurisdiction: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    taints: Vec<Taint>,
    #[serde(default)]
    services: Vec<NearService>,
    #[serde(default)]
    autoscaled: bool,
    #[serde(default = "yes")]
    accepted: bool,
    #[serde(default = "yes")]
    ready: bool,
    #[serde(default)]
    leaving: bool,
    #[serde(default)]
    lost: bool,
    #[serde(default = "version")]
    version: String,
    #[serde(default = "apis")]
    apis: Vec<String>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default = "large")]
    shapes: Vec<NodeShape>,
    #[serde(default)]
    scores: BTreeMap<String, i64>,
    #[serde(default, rename = "expiredScores")]
    expired_scores: Vec<String>,
}

fn eks() -> String {
    "eks".to_owned()
}

fn yes() -> bool {
    true
}

fn version() -> String {
    "v1.36.3".to_owned()
}

fn apis() -> Vec<String> {
    [
        "apps/v1/DaemonSet",
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "batch/v1/CronJob",
        "batch/v1/Job",
        "v1/ConfigMap",
        "v1/Pod",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn large() -> Vec<NodeShape> {
    let resources: BTreeMap<String, String> = [("cpu", "4"), ("memory", "16Gi"), ("pods", "50")]
        .map(|(name, amount)| (name.to_owned(), amount.to_owned()))
        .into();
    vec![NodeShape {
        instance_type: "large".into(),
        count: 4,
        allocatable: resources.clone(),
        free: vec![FreeNodes { nodes: 4, resources }],
        ..NodeShape::default()
    }]
}

impl From<Cluster> for ClusterInput {
    fn from(it: Cluster) -> Self {
        Self {
            name: it.name,
            labels: it.labels,
            spec: MemberClusterSpec {
                provider: it.provider,
                region: it.region,
                zones: it.zones,
                jurisdiction: it.jurisdiction,
                taints: it.taints,
                services: it.services,
                autoscaled: it.autoscaled,
                accepted: it.accepted,
                ..MemberClusterSpec::default()
            },
            version: it.version,
            apis: it.apis,
            shapes: it.shapes,
            properties: it.properties,
            ready: it.ready,
            leaving: it.leaving,
            lost: it.lost,
            scores: it.scores,
            expired_scores: it.expired_scores,
        }
    }
}

/// Where a part of the text has the shape of a part of one of our kinds: its path, the kind, and the path there.
const PARTS: &[(&str, &str, &str)] = &[
    ("/clusters/*/taints", "MemberCluster", "/properties/spec/properties/taints"),
    ("/clusters/*/services", "MemberCluster", "/properties/spec/properties/services"),
    ("/clusters/*/shapes", "MemberCluster", "/properties/status/properties/shapes"),
    ("/sets/*", "ClusterSet", "/properties/spec"),
    ("/prices", "PriceBook", "/properties/spec/properties/prices"),
    ("/charges", "PriceBook", "/properties/spec/properties/charges"),
    ("/storage", "PriceBook", "/properties/spec/properties/storage"),
    ("/egress", "PriceBook", "/properties/spec/properties/egress"),
    ("/commitments", "PriceBook", "/properties/spec/properties/commitments"),
    ("/limits/*", "ClusterPlacementPolicy", "/properties/spec/properties/limits"),
    ("/rules/*", "StatusRule", "/properties/spec"),
    ("/policies/*", "", ""),
];

/// What is not as it must be, read as plain data, so that every problem has its path.
pub(super) fn problems(text: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, kind, within) in PARTS {
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        each(text, &steps, "", &mut |field, value| {
            if kind.is_empty() {
                return whole(value, field, &mut problems);
            }
            if let Some(schema) = shape::of_kind(kind).and_then(|it| it.pointer(within)) {
                shape::check(schema, value, field, &mut problems);
            }
        });
    }
    for path in [["clusters", "*", "provider"], ["prices", "*", "provider"]] {
        each(text, &path, "", &mut |field, value| problems.extend(provider(field, value)));
    }
    let spec = shape::of_kind("PlacementPolicy").and_then(|it| it.pointer("/properties/spec"));
    if let (Some(schema), Some(policy)) = (spec, text.get("policy")) {
        // It says nothing of what it selects.
        let mut schema = schema.clone();
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("required");
        }
        shape::check(&schema, policy, "policy", &mut problems);
    }
    problems
}

/// A text that names no provider; what is no text at all is told where it is read.
pub(super) fn provider(field: &str, value: &Value) -> Option<Problem> {
    let text = value.as_str().filter(|it| !PROVIDERS.contains(it))?;
    let known = PROVIDERS.map(|it| format!("{it:?}")).join(", ");
    let message = format!("Unsupported value: {text:?}: supported values: {known}");
    Some(Problem { field: field.to_owned(), message })
}

/// A whole policy of either kind.
fn whole(object: &Value, field: &str, problems: &mut Vec<Problem>) {
    let kind = object["kind"].as_str().unwrap_or_default();
    match shape::of_kind(kind).filter(|_| kind.ends_with("PlacementPolicy")) {
        Some(schema) => shape::check(&schema["properties"]["spec"], &object["spec"], &format!("{field}.spec"), problems),
        None => problems.push(Problem {
            field: format!("{field}.kind"),
            message: format!(
                "Unsupported value: {kind:?}: supported values: \"PlacementPolicy\", \"ClusterPlacementPolicy\""
            ),
        }),
    }
}

/// Calls `then` with each value at the path, in which `*` stands for every item or field.
fn each(value: &Value, steps: &[&str], field: &str, then: &mut impl FnMut(&str, &Value)) {
    let Some((step, rest)) = steps.split_first() else { return then(field, value) };
    match value {
        Value::Array(items) if *step == "*" => {
            for (at, it) in items.iter().enumerate() {
                each(it, rest, &format!("{field}[{at}]"), then);
            }
        }
        Value::Object(fields) => {
            for (key, it) in fields.iter().filter(|(key, _)| *step == "*" || key == step) {
                let field = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
                each(it, rest, &field, then);
            }
        }
        _ => (),
    }
}
