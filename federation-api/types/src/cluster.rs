//! Member clusters, and sets of them.

use std::collections::BTreeMap;

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::Condition,
    selector::{LabelSelector, glob},
};

/// A cluster of the fleet. What is in `spec` the hub is told by its owner and decides by; what a member reports stands
/// in `status` (RULES 2.2).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "MemberCluster",
    plural = "memberclusters",
    shortname = "amc",
    category = "archipel",
    status = "MemberClusterStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Provider","type":"string","jsonPath":".spec.provider"}"#,
    printcolumn = r#"{"name":"Region","type":"string","jsonPath":".spec.region"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.version"}"#,
    printcolumn = r#"{"name":"Nodes","type":"integer","jsonPath":".status.nodes"}"#,
    printcolumn = r#"{"name":"Copies","type":"integer","jsonPath":".status.copies"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","priority":1}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterSpec {
    /// `eks`, `gke`, `aks` or `onprem`.
    pub provider: String,
    /// The provider's own name of the region.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// The zones that its nodes are in, by the provider's own names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// The jurisdiction that data in this cluster is under; a cluster without one satisfies no residency rule.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jurisdiction: String,
    /// What keeps away templates whose policy does not tolerate it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Managed services near this cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<NearService>,
    /// How the hub reaches it.
    #[serde(default)]
    pub connection: Connection,
    /// Whether the node pools of the cluster grow and shrink by themselves (RULES 5.2).
    #[serde(default)]
    pub autoscaled: bool,
    /// Whether copies may be placed here; joining by kubeconfig is acceptance (RULES 4.8).
    #[serde(default)]
    pub accepted: bool,
}

/// The providers that a cluster may be of.
pub const PROVIDERS: [&str; 4] = ["eks", "gke", "aks", "onprem"];

/// Keeps what does not tolerate it away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// The taint's key.
    pub key: String,
    /// The taint's value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSchedule` takes nothing new, `NoExecute` drives away what runs too; `PreferNoSchedule` prefers clusters
    /// without it.
    pub effect: TaintEffect,
    /// RFC 3339; when a NoExecute taint was added, against which `tolerationSeconds` count. Left out: when the
    /// taints were last written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub time_added: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// New copies need a toleration.
    #[default]
    NoSchedule,
    /// Clusters without the taint are preferred.
    PreferNoSchedule,
    /// Copies that do not tolerate it move away.
    NoExecute,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NearService {
    /// `aws/dynamodb`, `gcp/bigquery`, or a name of one's own.
    pub name: String,
    /// How far it is, in milliseconds.
    pub latency_ms: u32,
}

/// How the hub reaches the cluster: exactly one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// By a kubeconfig that a Secret holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<KubeconfigConnection>,
}

/// A kubeconfig in a Secret of the hub, key `kubeconfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigConnection {
    /// The Secret, with the kubeconfig under the key `kubeconfig`.
    pub secret_ref: SecretRef,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// The namespace of the Secret.
    pub namespace: String,
    /// The name of the Secret.
    pub name: String,
}

/// What the hub knows of a member from asking it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterStatus {
    /// What is so now, one entry per type; `kubectl wait` reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The UID of the member's `kube-system` namespace: its identity (RULES 4.8).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// `v1.36.3`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// `apps/v1/Deployment`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apis: Vec<String>,
    /// Nodes by shape, sorted by type and zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<NodeShape>,
    /// How many nodes it has.
    #[serde(default)]
    pub nodes: i64,
    /// RFC 3339; `shapes` count every pod that ran there by then. Written with them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub room_time: String,
    /// How many copies the hub holds there.
    #[serde(default)]
    pub copies: i64,
    /// RFC 3339; written on a change of condition or each five minutes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_seen: String,
    /// Objects there that carry our mark and have neither template nor tombstone (RULES 4.3).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_copies: Vec<String>,
}

/// Nodes of one kind in one zone, and the room on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeShape {
    /// `node.kubernetes.io/instance-type`
    #[serde(rename = "type")]
    pub instance_type: String,
    /// The zone of the nodes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// How many nodes are of this shape.
    pub count: i64,
    /// Of one node, as quantities; `pods` is among them.
    pub allocatable: BTreeMap<String, String>,
    /// Nodes grouped by what is free on each: `nodes` says how many are in the group, the rest are quantities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub free: Vec<FreeNodes>,
    /// What the DaemonSets of the cluster take on each node, as quantities: a new node has that much less.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overhead: BTreeMap<String, String>,
    /// Labels that every node of the shape has, for node selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `NoSchedule` and `NoExecute` taints of the nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
}

/// So many nodes with so much free on each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeNodes {
    /// How many nodes are in the group.
    pub nodes: i64,
    /// Quantities by resource, `pods` among them.
    #[serde(flatten)]
    pub resources: BTreeMap<String, String>,
}

// By hand: a structural schema has either properties or additional ones, and the names of resources are open.
impl JsonSchema for FreeNodes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FreeNodes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "properties": {"nodes": {
                "type": "integer", "format": "int64", "description": "How many nodes are in the group.",
            }},
            "required": ["nodes"],
            "x-kubernetes-preserve-unknown-fields": true,
        })
    }
}

/// A selection of clusters, and the namespaces that may use it. The set `all` exists from the first start.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "archipel.dev",
    version = "v1alpha1",
    kind = "ClusterSet",
    plural = "clustersets",
    category = "archipel",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSetSpec {
    /// Selects by labels; empty selects every cluster, unless `names` are given.
    #[serde(default, skip_serializing_if = "LabelSelector::is_empty")]
    pub label_selector: LabelSelector,
    /// Names of MemberClusters, `*` as a wildcard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Namespaces of the hub that may place here, `*` as a wildcard; empty: none. Cluster-scoped policies may always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

impl ClusterSetSpec {
    /// Whether a cluster is in it.
    pub fn holds(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let named = self.names.iter().any(|it| glob(it, name));
        let labelled = !self.label_selector.is_empty() && self.label_selector.matches(labels);
        named || labelled || (self.names.is_empty() && self.label_selector.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_it_names_and_what_its_labels_select() {
        let labels = BTreeMap::from([("tier".to_owned(), "prod".to_owned())]);
        let holds = |spec: serde_json::Value, name: &str| {
            let spec: ClusterSetSpec = serde_json::from_value(spec).unwrap();
            spec.holds(name, &labels)
        };
        assert!(holds(serde_json::json!({}), "eks-1"), "nothing said restricts nothing");
        assert!(holds(serde_json::json!({"names": ["eks-*"]}), "eks-1"));
        assert!(!holds(serde_json::json!({"names": ["eks-*"]}), "gke-1"));
        let prod =
            serde_json::json!({"names": ["x"], "labelSelector": {"matchLabels": {"tier": "prod"}}});
        assert!(holds(prod, "gke-1"), "either of both");
        let test = serde_json::json!({"labelSelector": {"matchLabels": {"tier": "test"}}});
        assert!(!holds(test, "gke-1"));
    }
}
