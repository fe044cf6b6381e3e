//! What the controllers write: pods, and the status of workloads as Kubernetes' own controllers write it. Pure.

use federation_types::names::short_hash;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Annotation of a pod template: with any value, its pods never become ready.
pub const BEHAVIOUR_ANNOTATION: &str = "archipel.test/behaviour";

/// The kinds that run pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::Job];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
        }
    }

    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::Job => "batch/v1",
            _ => "apps/v1",
        }
    }

    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
            Self::Job => "jobs",
        }
    }
}

/// What a workload asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) pods: usize,
    /// Of the pod template: pods of another one are replaced.
    pub(crate) hash: String,
    pub(crate) template: Value,
    pub(crate) never_ready: bool,
    /// A Job that is over; it runs nothing again.
    pub(crate) over: bool,
}

impl Wanted {
    /// From a workload's object, in a member with so many nodes.
    pub(crate) fn of(kind: Kind, object: &Value, nodes: usize) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let count = |field: &str| usize::try_from(spec[field].as_i64().unwrap_or(1)).unwrap_or(0);
        let suspended = spec["suspend"].as_bool().unwrap_or(false);
        let pods = match kind {
            Kind::DaemonSet => nodes,
            Kind::Job if suspended => 0,
            Kind::Job => count("parallelism").min(count("completions")),
            Kind::Deployment | Kind::StatefulSet => count("replicas"),
        };
        let template = spec["template"].clone();
        let behaviour = &template["metadata"]["annotations"][BEHAVIOUR_ANNOTATION];
        let ended = |it: &Value| it["type"] == "Complete" && it["status"] == "True";
        Self {
            kind,
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            generation: metadata["generation"].as_i64().unwrap_or(1),
            pods,
            hash: short_hash(template.to_string().as_bytes())[..8].to_owned(),
            never_ready: behaviour.is_string(),
            over: kind == Kind::Job
                && object["status"]["conditions"].as_array().is_some_and(|it| it.iter().any(ended)),
            template,
        }
    }

    pub(crate) fn pod_name(&self, n: usize) -> String {
        match self.kind {
            Kind::StatefulSet => format!("{}-{n}", self.name),
            _ => format!("{}-{}-{n}", self.name, self.hash),
        }
    }
}

/// An object of these literals as its type.
pub(crate) fn typed<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("a literal of the type's own fields")
}

/// A pod of a workload, on a node or waiting for one.
pub(crate) fn pod(wanted: &Wanted, name: &str, node: Option<&str>) -> Value {
    let mut spec = wanted.template["spec"].clone();
    if let (Some(spec), Some(node)) = (spec.as_object_mut(), node) {
        spec.insert("nodeName".to_owned(), node.into());
    }
    let metadata = &wanted.template["metadata"];
    let of_template = |field: &str| metadata[field].as_object().cloned().unwrap_or_else(Map::new);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": wanted.namespace,
            "labels": of_template("labels"), "annotations": of_template("annotations"),
            "ownerReferences": [{
                "apiVersion": wanted.kind.api_version(), "kind": wanted.kind.name(),
                "name": wanted.name, "uid": wanted.uid, "controller": true,
            }],
        },
        "spec": spec,
    })
}

/// The status of a pod.
pub(crate) fn pod_status(wanted: &Wanted, scheduled: bool, over: bool) -> Value {
    let phase = match (scheduled, over) {
        (_, true) => "Succeeded",
        (true, false) => "Running",
        (false, false) => "Pending",
    };
    let ready = scheduled && !over && !wanted.never_ready;
    let condition =
        |kind: &str, is: bool| json!({"type": kind, "status": if is { "True" } else { "False" }});
    json!({"status": {
        "phase": phase,
        "conditions": [condition("PodScheduled", scheduled), condition("Ready", ready)],
    }})
}

/// How far a workload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) pods: usize,
    pub(crate) ready: usize,
    /// Nothing more is to be waited for.
    pub(crate) settled: bool,
}

/// The status of a workload.
pub(crate) fn status(wanted: &Wanted, progress: Progress, now: &str) -> Value {
    let Progress { pods, ready, settled } = progress;
    let condition = |kind: &str, is: bool, reason: &str| {
        json!({"type": kind, "status": if is { "True" } else { "False" }, "reason": reason,
               "message": "", "lastUpdateTime": now, "lastTransitionTime": now})
    };
    let generation = wanted.generation;
    let status = match wanted.kind {
        Kind::Deployment => json!({
            "observedGeneration": generation, "replicas": pods, "updatedReplicas": pods,
            "readyReplicas": ready, "availableReplicas": ready, "unavailableReplicas": wanted.pods - ready.min(wanted.pods),
            "conditions": [
                if ready >= wanted.pods {
                    condition("Available", true, "MinimumReplicasAvailable")
                } else {
                    condition("Available", false, "MinimumReplicasUnavailable")
                },
                condition(
                    "Progressing",
                    true,
                    if settled && ready >= wanted.pods { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" },
                ),
            ],
        }),
        Kind::StatefulSet => json!({
            "observedGeneration": generation, "replicas": pods, "updatedReplicas": pods,
            "currentReplicas": pods, "readyReplicas": ready, "availableReplicas": ready,
            "currentRevision": format!("{}-{}", wanted.name, wanted.hash),
            "updateRevision": format!("{}-{}", wanted.name, wanted.hash),
        }),
        Kind::DaemonSet => json!({
            "observedGeneration": generation, "desiredNumberScheduled": wanted.pods,
            "currentNumberScheduled": pods, "updatedNumberScheduled": pods, "numberMisscheduled": 0,
            "numberReady": ready, "numberAvailable": ready,
        }),
        Kind::Job if settled && ready >= wanted.pods && wanted.pods > 0 => json!({
            "startTime": now, "completionTime": now, "active": 0, "ready": 0, "succeeded": wanted.pods,
            "conditions": [condition("Complete", true, "CompletionsReached")],
        }),
        Kind::Job => json!({"startTime": now, "active": pods, "ready": ready}),
    };
    json!({ "status": status })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(kind: Kind, spec: &Value) -> Wanted {
        let object = json!({"metadata": {"name": "web", "namespace": "shop", "generation": 3}, "spec": spec});
        Wanted::of(kind, &object, 5)
    }

    #[test]
    fn what_is_left_out_is_one() {
        assert_eq!(wanted(Kind::Deployment, &json!({})).pods, 1);
        assert_eq!(wanted(Kind::Deployment, &json!({"replicas": 0})).pods, 0);
        assert_eq!(wanted(Kind::DaemonSet, &json!({})).pods, 5);
        assert_eq!(wanted(Kind::Job, &json!({"completions": 2, "parallelism": 4})).pods, 2);
        assert_eq!(wanted(Kind::Job, &json!({"suspend": true})).pods, 0);
    }

    #[test]
    fn a_deployment_is_available_once_all_its_pods_are_ready() {
        let web = wanted(Kind::Deployment, &json!({"replicas": 2}));
        let half = status(&web, Progress { pods: 2, ready: 1, settled: true }, "t");
        assert_eq!(half["status"]["conditions"][0]["status"], "False");
        assert_eq!(half["status"]["observedGeneration"], 3);
        let all = status(&web, Progress { pods: 2, ready: 2, settled: true }, "t");
        assert_eq!(all["status"]["conditions"][0]["status"], "True");
        assert_eq!(all["status"]["conditions"][1]["reason"], "NewReplicaSetAvailable");
    }

    #[test]
    fn a_template_that_changed_gives_its_pods_other_names() {
        let one = wanted(
            Kind::Deployment,
            &json!({"template": {"spec": {"containers": [{"image": "a"}]}}}),
        );
        let two = wanted(
            Kind::Deployment,
            &json!({"template": {"spec": {"containers": [{"image": "b"}]}}}),
        );
        assert_ne!(one.pod_name(0), two.pod_name(0));
    }
}
