//! Reviews: create-only kinds that are answered and not stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::TaintEffect;

pub mod cost;
pub mod plan;
pub mod simulation;

/// `Explanation`: why a template is where it is, and why not elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExplanationSpec {
    #[serde(default)]
    pub api_version: String,
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub name: String,
    /// Empty for cluster-scoped templates.
    #[serde(default)]
    pub namespace: String,
    /// Only this cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplanationStatus {
    /// The claiming policy: `PlacementPolicy shop/web-eu`; empty: unclaimed.
    #[serde(default)]
    pub policy: String,
    /// Policies that match too, in the order of claim, each with why it lost.
    #[serde(default)]
    pub shadowed: Vec<String>,
    /// One sentence: where it stands now.
    pub summary: String,
    /// Where it would be by a decision of this moment, and why it is not; empty where that is what stands. The figures
    /// and the clusters below are of this decision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pending: String,
    /// The affinity group that was chosen.
    #[serde(default)]
    pub affinity: String,
    #[serde(default)]
    pub clusters: Vec<ClusterExplanation>,
    /// Flags on the figures: `sample prices`, `without egress`, …
    #[serde(default)]
    pub notes: Vec<String>,
    /// The allocated estimate per month, `$12.34`; `at least` before it where prices are unknown.
    #[serde(default)]
    pub monthly_cost: String,
    /// What the decision adds to the bill per month: the new nodes, volumes, charges and traffic of what it adds.
    #[serde(default)]
    pub marginal_monthly_cost: String,
    /// The part of the allocated estimate that runs on nodes which are paid for in advance.
    #[serde(default)]
    pub committed_monthly_cost: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterExplanation {
    pub cluster: String,
    /// A copy is meant to be there now, or still is.
    #[serde(default)]
    pub holds: bool,
    pub eligible: bool,
    /// A rule id of [`crate::reason::rule`].
    pub rule: String,
    #[serde(default)]
    pub wanted: String,
    #[serde(default)]
    pub found: String,
    /// The policy behind a limit, where one refused.
    #[serde(default)]
    pub policy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// What would change the answer, in words.
    #[serde(default)]
    pub would_change: String,
    /// The same for programs: with all of these the rule would pass; others may still refuse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Counterfactual>,
    /// With all of any one of these the cluster would be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wins_if: Vec<Vec<Counterfactual>>,
    /// Parts of the score as money per hour: `cost $0.23`, …
    #[serde(default)]
    pub score: Vec<ScorePart>,
    /// What one more replica would cost here, per month.
    #[serde(default)]
    pub marginal_cost: String,
    /// Its place by that cost among the eligible clusters, from 1; none where the cost is not known or there is no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u32>,
}

/// One change of what a decision is made from. What is said of a cluster is to be said only where it is so, by its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all_fields = "camelCase")]
pub enum Counterfactual {
    /// `spec.accepted` of the cluster is true.
    ClusterAccepted,
    /// The cluster answers and is well.
    ClusterReady,
    /// The cluster is not let go.
    ClusterStays,
    /// The cluster serves the kind.
    ApiServed { api: String },
    /// A ClusterSet holds the cluster; with a namespace, one that serves it.
    InSet {
        #[serde(default, skip_serializing_if = "String::is_empty")]
        set: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        namespace: String,
    },
    /// A list of a policy has one more entry. An empty policy is the one that decides.
    Allowed {
        #[serde(default, skip_serializing_if = "String::is_empty")]
        policy: String,
        field: String,
        value: String,
    },
    /// A field or an entry of a policy is gone. Of several the later entry of a list comes first.
    Dropped {
        #[serde(default, skip_serializing_if = "String::is_empty")]
        policy: String,
        field: String,
    },
    /// A bound of a policy is higher.
    Raised {
        #[serde(default, skip_serializing_if = "String::is_empty")]
        policy: String,
        field: String,
        to: i64,
    },
    /// A group of the policy that decides names this cluster alone; without a group, it has one that does.
    Alone { field: String, cluster: String },
    /// The policy tolerates the taint.
    Tolerated {
        key: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        value: String,
        effect: TaintEffect,
    },
    /// A weight of the policy matches the cluster.
    Weighed { cluster: String },
    /// So many nodes of the cluster have so much free, each; with these labels, and no taints.
    RoomFreed {
        nodes: i64,
        free: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
    },
    /// The newest price of the nodes is at most so much.
    Priced {
        provider: String,
        region: String,
        zone: String,
        instance_type: String,
        usd_hour: String,
    },
    /// The template has so many replicas.
    Replicas { to: i64 },
}

impl std::fmt::Display for Counterfactual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of =
            |policy: &str| if policy.is_empty() { String::new() } else { format!(" of {policy}") };
        match self {
            Self::ClusterAccepted => f.write_str("the cluster is accepted"),
            Self::ClusterReady => f.write_str("the cluster is Ready again"),
            Self::ClusterStays => f.write_str("the cluster is not let go"),
            Self::ApiServed { api } => write!(f, "the cluster serves {api}"),
            Self::InSet { set, namespace } if namespace.is_empty() => {
                write!(f, "the ClusterSet {set} holds it")
            }
            Self::InSet { namespace, .. } => {
                write!(f, "a ClusterSet that serves {namespace} holds it")
            }
            Self::Allowed { policy, field, value } => {
                write!(f, "{field}{} has {value}", of(policy))
            }
            Self::Dropped { policy, field } => write!(f, "{field}{} is gone", of(policy)),
            Self::Raised { policy, field, to } => {
                write!(f, "{field}{} is at least {to}", of(policy))
            }
            Self::Alone { field, cluster } => write!(f, "{field} is [{cluster}]"),
            Self::Tolerated { key, value, effect } => {
                let value = if value.is_empty() { String::new() } else { format!("={value}") };
                write!(f, "spec.tolerations has {key}{value}:{effect:?}")
            }
            Self::Weighed { cluster } => write!(f, "spec.replicas.weights has one for {cluster}"),
            Self::RoomFreed { nodes, free, labels } => {
                let list = |it: &BTreeMap<String, String>, between: &str| {
                    let parts: Vec<_> =
                        it.iter().map(|(key, value)| format!("{key}{between}{value}")).collect();
                    parts.join(", ")
                };
                let nodes = if *nodes == 1 {
                    "one more node".to_owned()
                } else {
                    format!("{nodes} more nodes")
                };
                write!(f, "{nodes} with {} free", list(free, " "))?;
                if !labels.is_empty() {
                    write!(f, ", labelled {}", list(labels, "="))?;
                }
                Ok(())
            }
            Self::Priced { instance_type, usd_hour, .. } => {
                write!(f, "a node of type {instance_type} costs at most ${usd_hour}/h")
            }
            Self::Replicas { to } => write!(f, "the template has {to} replicas"),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScorePart {
    pub name: String,
    /// Micro-dollars per hour.
    pub micros: i64,
}
