//! Workloads of several parts that run as a unit, all of it on one cluster or nothing: where the parts of each kind are
//! written is a table.

use federation_types::{names::Gvk, quantity};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::workload::{NodeRules, Requests, node_rules, pod_labels, requests};

/// One part: so many pods that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Component {
    pub name: String,
    pub replicas: i64,
    pub requests: Requests,
    pub nodes: NodeRules,
}

/// Where parts are written. Pointers are from the part, counts that are left out are 1.
enum Part {
    /// A pod template.
    One {
        name: &'static str,
        template: &'static str,
    },
    /// Parts by name, each with `replicas` and `template`.
    Named {
        at: &'static str,
    },
    /// A list of parts; the numbers at `counts` are multiplied.
    Listed {
        at: &'static str,
        counts: &'static [&'static str],
        template: &'static str,
    },
    /// What Flink and Spark write instead of pod templates, with the place of the spec.
    Flink,
    Spark {
        at: &'static str,
    },
}

/// Kinds by group.
const UNITS: &[(&str, &str, &[Part])] = &[
    (
        "batch.volcano.sh",
        "Job",
        &[Part::Listed { at: "/spec/tasks", counts: &["/replicas"], template: "/template" }],
    ),
    ("flink.apache.org", "FlinkDeployment", &[Part::Flink]),
    (
        "jobset.x-k8s.io",
        "JobSet",
        &[Part::Listed {
            at: "/spec/replicatedJobs",
            counts: &["/replicas", "/template/spec/parallelism"],
            template: "/template/spec/template",
        }],
    ),
    ("kubeflow.org", "MPIJob", &[Part::Named { at: "/spec/mpiReplicaSpecs" }]),
    ("kubeflow.org", "Notebook", &[Part::One { name: "notebook", template: "/spec/template" }]),
    ("kubeflow.org", "PaddleJob", &[Part::Named { at: "/spec/paddleReplicaSpecs" }]),
    ("kubeflow.org", "PyTorchJob", &[Part::Named { at: "/spec/pytorchReplicaSpecs" }]),
    ("kubeflow.org", "TFJob", &[Part::Named { at: "/spec/tfReplicaSpecs" }]),
    ("kubeflow.org", "XGBoostJob", &[Part::Named { at: "/spec/xgbReplicaSpecs" }]),
    (
        "ray.io",
        "RayCluster",
        &[
            Part::One { name: "head", template: "/spec/headGroupSpec/template" },
            Part::Listed {
                at: "/spec/workerGroupSpecs",
                counts: &["/replicas", "/numOfHosts"],
                template: "/template",
            },
        ],
    ),
    (
        "ray.io",
        "RayJob",
        &[
            Part::One { name: "head", template: "/spec/rayClusterSpec/headGroupSpec/template" },
            Part::Listed {
                at: "/spec/rayClusterSpec/workerGroupSpecs",
                counts: &["/replicas", "/numOfHosts"],
                template: "/template",
            },
        ],
    ),
    (
        "ray.io",
        "RayService",
        &[
            Part::One { name: "head", template: "/spec/rayClusterConfig/headGroupSpec/template" },
            Part::Listed {
                at: "/spec/rayClusterConfig/workerGroupSpecs",
                counts: &["/replicas", "/numOfHosts"],
                template: "/template",
            },
        ],
    ),
    ("sparkoperator.k8s.io", "ScheduledSparkApplication", &[Part::Spark { at: "/spec/template" }]),
    ("sparkoperator.k8s.io", "SparkApplication", &[Part::Spark { at: "/spec" }]),
];

/// The parts of a template, by their order in it; none for kinds that are no unit.
pub(crate) fn components(gvk: &Gvk, template: &Value) -> Vec<Component> {
    let unit = UNITS.iter().find(|it| it.0 == gvk.group && it.1 == gvk.kind);
    let parts = unit.into_iter().flat_map(|it| it.2);
    let mut all: Vec<Component> = parts.flat_map(|it| read(it, template)).collect();
    all.retain(|it| it.replicas > 0);
    all
}

/// The pod specs of a unit's parts, also of those that have no pods now.
pub(crate) fn pods<'a>(gvk: &Gvk, template: &'a Value) -> Vec<&'a Value> {
    let unit = UNITS.iter().find(|it| it.0 == gvk.group && it.1 == gvk.kind);
    let parts = unit.into_iter().flat_map(|it| it.2);
    let list = |at: &str| template.pointer(at).and_then(Value::as_array).into_iter().flatten();
    let named = |at: &str| template.pointer(at).and_then(Value::as_object).into_iter().flatten();
    let pods = parts.flat_map(|part| -> Vec<&'a Value> {
        match part {
            Part::One { template: pod, .. } => template.pointer(pod).into_iter().collect(),
            Part::Named { at } => named(at).filter_map(|it| it.1.get("template")).collect(),
            Part::Listed { at, template: pod, .. } => {
                list(at).filter_map(|it| it.pointer(pod)).collect()
            }
            Part::Flink => ["", "/jobManager", "/taskManager"]
                .iter()
                .filter_map(|it| template.pointer(&format!("/spec{it}/podTemplate")))
                .collect(),
            // Its parts are no pod templates.
            Part::Spark { .. } => Vec::new(),
        }
    });
    pods.filter_map(|it| it.get("spec")).collect()
}

fn read(part: &Part, template: &Value) -> Vec<Component> {
    let from = |name: &str, value: &Value, counts: &[&str], pod: &str| -> Option<Component> {
        let replicas = counts.iter().map(|it| number(value, it).unwrap_or(1).clamp(0, MOST));
        Some(of_pod(name, replicas.product(), value.pointer(pod)?))
    };
    match part {
        Part::One { name, template: pod } => from(name, template, &[], pod).into_iter().collect(),
        Part::Named { at } => {
            let parts = template.pointer(at).and_then(Value::as_object).into_iter().flatten();
            parts.filter_map(|(name, it)| from(name, it, &["/replicas"], "/template")).collect()
        }
        Part::Listed { at, counts, template: pod } => {
            let parts = template.pointer(at).and_then(Value::as_array).into_iter().flatten();
            let name = |it: &Value| {
                let name = it.get("name").or_else(|| it.get("groupName"));
                name.and_then(Value::as_str).unwrap_or("part").to_owned()
            };
            parts.filter_map(|it| from(&name(it), it, counts, pod)).collect()
        }
        Part::Flink => flink(template),
        Part::Spark { at } => template.pointer(at).map(spark).unwrap_or_default(),
    }
}

/// More pods than this are no number that somebody means.
const MOST: i64 = 1 << 20;

pub(crate) fn of_pod(name: &str, replicas: i64, template: &Value) -> Component {
    let pod = template.get("spec").cloned().unwrap_or_default();
    Component {
        name: name.to_owned(),
        replicas,
        requests: requests(&pod),
        nodes: node_rules(&pod, &pod_labels(template)),
    }
}

fn number(value: &Value, pointer: &str) -> Option<i64> {
    match value.pointer(pointer)? {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    }
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn flink(template: &Value) -> Vec<Component> {
    let at = |pointer: &str| template.pointer(pointer).cloned().unwrap_or_default();
    let (jobs, tasks) = (at("/spec/jobManager"), at("/spec/taskManager"));
    let configuration = at("/spec/flinkConfiguration");
    let slots = configuration.get("taskmanager.numberOfTaskSlots").cloned().unwrap_or_default();
    let slots = number(&slots, "").unwrap_or(1).max(1);
    let parallelism = number(template, "/spec/job/parallelism").unwrap_or(1).max(1);
    let wanted = parallelism / slots + i64::from(parallelism % slots > 0);
    let common = at("/spec/podTemplate");
    [("jobmanager", jobs, 1), ("taskmanager", tasks, wanted)]
        .into_iter()
        .map(|(name, part, usual)| {
            let own = part.get("podTemplate").unwrap_or(&common);
            let replicas = number(&part, "/replicas").unwrap_or(usual).clamp(0, MOST);
            let mut component = of_pod(name, replicas, own);
            let amount = |resource: &str, field: &str, usual: &str| {
                let text = text(&part, &format!("/resource/{field}"));
                amount(resource, text.as_deref().unwrap_or(usual))
            };
            component.requests.base[0] = amount("cpu", "cpu", "1");
            component.requests.base[1] = amount("memory", "memory", "0");
            component.requests.base[3] = amount("ephemeral-storage", "ephemeralStorage", "0");
            component
        })
        .collect()
}

/// Memory that is kept beside the heap: at least so much.
const OVERHEAD: i64 = 384 << 20;

fn spark(spec: &Value) -> Vec<Component> {
    let dynamic = spec.pointer("/dynamicAllocation/enabled") == Some(&Value::Bool(true));
    let initial = ["initialExecutors", "minExecutors"]
        .iter()
        .find_map(|it| number(spec, &format!("/dynamicAllocation/{it}")))
        .filter(|_| dynamic);
    let executors = initial.or_else(|| number(spec, "/executor/instances")).unwrap_or(1);
    let jvm = !matches!(text(spec, "/type").as_deref(), Some("Python" | "R"));
    // In thousandths.
    let stated = text(spec, "/memoryOverheadFactor").map(|it| amount("cpu", &it));
    let factor = stated.unwrap_or(if jvm { 100 } else { 400 });
    [("driver", 1), ("executor", executors.clamp(0, MOST))]
        .into_iter()
        .filter_map(|(name, replicas)| {
            let part = spec.get(name)?;
            // Its fields are those of a pod, as far as nodes go.
            let mut pod = serde_json::json!({"spec": part});
            if part.get("nodeSelector").is_none()
                && let Some(selector) = spec.get("nodeSelector")
            {
                pod["spec"]["nodeSelector"] = selector.clone();
            }
            let mut component = of_pod(name, replicas, &pod);
            let cores = text(part, "/coreRequest").or_else(|| text(part, "/cores"));
            let heap = amount("memory", text(part, "/memory").as_deref().unwrap_or("1g"));
            let beside = match text(part, "/memoryOverhead") {
                Some(stated) => amount("memory", &stated),
                None => (heap / 1_000).saturating_mul(factor).max(OVERHEAD),
            };
            component.requests = Requests {
                base: [
                    amount("cpu", cores.as_deref().unwrap_or("1")),
                    heap.saturating_add(beside),
                    0,
                    0,
                ],
                extended: text(part, "/gpu/name")
                    .zip(number(part, "/gpu/quantity"))
                    .filter(|it| it.1 > 0)
                    .into_iter()
                    .collect(),
            };
            Some(component)
        })
        .collect()
}

/// A quantity of Kubernetes, or of a Java machine, whose `m` and `g` are mebibytes and gibibytes.
fn amount(resource: &str, text: &str) -> i64 {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match lower[digits.len()..].trim_end_matches('b') {
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => 0,
    };
    let java = (resource == "memory" && unit > 0).then(|| digits.trim().parse::<i64>().ok());
    let known = java.flatten().map(|it| it.saturating_mul(1 << unit));
    known.or_else(|| quantity::units(resource, text)).unwrap_or(0).max(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(template: &Value) -> Vec<(String, i64, [i64; 4])> {
        let text = |field: &str| template[field].as_str().unwrap().to_owned();
        let gvk = Gvk::new(&text("apiVersion"), &text("kind"));
        let all = components(&gvk, template);
        all.into_iter().map(|it| (it.name, it.replicas, it.requests.base)).collect()
    }

    fn pod(cpu: &str) -> Value {
        json!({"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}]}})
    }

    const MI: i64 = 1 << 20;

    fn part(name: &str, replicas: i64, cpu: i64, memory: i64) -> (String, i64, [i64; 4]) {
        (name.to_owned(), replicas, [cpu, memory, 0, 0])
    }

    #[test]
    fn training_jobs_have_parts_by_name() {
        let job = json!({"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": {"pytorchReplicaSpecs": {
            "Master": {"template": pod("1")}, "Worker": {"replicas": 3, "template": pod("2")}}}});
        assert_eq!(read(&job), [part("Master", 1, 1_000, 0), part("Worker", 3, 2_000, 0)]);
    }

    #[test]
    fn a_ray_cluster_has_a_head_and_groups_of_workers() {
        let cluster = json!({
            "headGroupSpec": {"template": pod("1")},
            "workerGroupSpecs": [
                {"groupName": "small", "replicas": 2, "template": pod("2")},
                {"groupName": "slices", "replicas": 2, "numOfHosts": 4, "template": pod("8")},
                {"groupName": "none", "replicas": 0, "template": pod("8")},
            ],
        });
        let expected =
            [part("head", 1, 1_000, 0), part("small", 2, 2_000, 0), part("slices", 8, 8_000, 0)];
        for (kind, spec) in [
            ("RayCluster", cluster.clone()),
            ("RayJob", json!({"rayClusterSpec": cluster})),
            ("RayService", json!({"rayClusterConfig": cluster})),
        ] {
            let template = json!({"apiVersion": "ray.io/v1", "kind": kind, "spec": spec});
            assert_eq!(read(&template), expected, "{kind}");
        }
    }

    #[test]
    fn flink_has_as_many_task_managers_as_its_slots_need() {
        let template = json!({"apiVersion": "flink.apache.org/v1beta1", "kind": "FlinkDeployment", "spec": {
            "flinkConfiguration": {"taskmanager.numberOfTaskSlots": "2"},
            "jobManager": {"resource": {"memory": "2048m", "cpu": 1}},
            "taskManager": {"resource": {"memory": "2Gi", "cpu": 0.5}},
            "job": {"parallelism": 5}}});
        let expected =
            [part("jobmanager", 1, 1_000, 2_048 * MI), part("taskmanager", 3, 500, 2_048 * MI)];
        assert_eq!(read(&template), expected);
    }

    #[test]
    fn spark_keeps_memory_beside_its_heap() {
        let template = json!({"apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "spec": {
            "type": "Scala", "nodeSelector": {"arch": "arm64"},
            "driver": {"cores": 1, "memory": "512m"},
            "executor": {"instances": 4, "coreRequest": "1500m", "memory": "10g",
                         "gpu": {"name": "nvidia.com/gpu", "quantity": 1}}}});
        let gvk = Gvk::new("sparkoperator.k8s.io/v1beta2", "SparkApplication");
        let all = components(&gvk, &template);
        assert_eq!(all[0].requests.base, [1_000, 896 * MI, 0, 0]);
        assert_eq!((all[1].replicas, all[1].requests.base[0]), (4, 1_500));
        assert!(all[1].requests.base[1] > 10_240 * MI + 1_023 * MI);
        assert_eq!(all[1].requests.extended, [("nvidia.com/gpu".to_owned(), 1)]);
        assert!(all.iter().all(|it| it.nodes.selector["arch"] == "arm64"));
    }

    #[test]
    fn lists_of_tasks_multiply_their_numbers() {
        let volcano = json!({"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "spec": {"tasks": [
            {"name": "ps", "replicas": 2, "template": pod("1")}]}});
        assert_eq!(read(&volcano), [part("ps", 2, 1_000, 0)]);
        let set = json!({"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "spec": {"replicatedJobs": [
            {"name": "workers", "replicas": 2, "template": {"spec": {"parallelism": 3, "template": pod("1")}}}]}});
        assert_eq!(read(&set), [part("workers", 6, 1_000, 0)]);
        assert!(
            read(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}})).is_empty()
        );
    }
}
