//! What is to be placed: a template as the engine sees it, with what one replica takes and where it may run.

use std::{borrow::Cow, collections::BTreeMap};

use federation_types::{
    cluster::{Taint, TaintEffect},
    field_path::FieldPath,
    names::{Gvk, ObjectKey},
    policy::{Toleration, TolerationOperator},
    quantity,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use status_rules::Rules;

use crate::{
    beside::Beside,
    components::Component,
    custom::{self, Custom},
    fleet::{BASE, SPOT_LABELS, ShapeClass},
    place::PreviousCluster,
    schedule::{self, Run},
};

/// How a kind may be placed (RULES 3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KindClass {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    Pod,
    /// Several parts that run as a unit, all on one cluster or nothing: Flink, Ray, Spark, training jobs.
    Unit,
    /// Another kind with `spec.replicas`.
    Scalable,
    /// No replicas to divide.
    #[default]
    Plain,
}

impl KindClass {
    /// Left without a mode, the kind runs on one cluster.
    fn on_one_cluster(self) -> bool {
        matches!(self, Self::StatefulSet | Self::Job | Self::CronJob | Self::Pod | Self::Unit)
    }

    /// Whether its replicas can be shared out over clusters at all.
    fn divisible(self) -> bool {
        matches!(
            self,
            Self::Deployment | Self::ReplicaSet | Self::StatefulSet | Self::Job | Self::Scalable
        )
    }

    fn fails_over(self) -> bool {
        !matches!(self, Self::StatefulSet | Self::Job | Self::CronJob | Self::Pod | Self::Unit)
    }
}

/// How far a Job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobState {
    pub indexed: bool,
    /// A started Job is never moved or made again.
    pub started: bool,
    /// It is complete, or has failed: nothing of it is left to run.
    pub finished: bool,
}

/// What one replica takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requests {
    /// Cpu in thousandths, memory in bytes, pods (not read: a replica is one), ephemeral storage in bytes.
    pub base: [i64; 4],
    /// Sorted by name; only what is above zero.
    pub extended: Vec<(String, i64)>,
}

/// One requirement on the labels of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRequirement {
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt` or `Lt`.
    pub operator: String,
    #[serde(default)]
    pub values: Vec<String>,
}

/// Which nodes a pod may run on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeRules {
    pub selector: BTreeMap<String, String>,
    /// One of them must hold, all requirements of it; none restricts nothing.
    pub terms: Vec<Vec<NodeRequirement>>,
    pub tolerations: Vec<Toleration>,
    /// At most so many replicas on one node: a host port, or replicas that keep apart by host.
    pub per_node: Option<i64>,
}

impl NodeRules {
    /// Whether labels of nodes matter.
    pub fn constrains(&self) -> bool {
        !self.selector.is_empty() || !self.terms.is_empty()
    }

    /// Whether the pod may run on nodes of a class.
    pub fn admits(&self, class: &ShapeClass) -> bool {
        self.fits(class) && class.taints.iter().all(|it| self.tolerates(it))
    }

    /// The same for a pod that is pinned to spot nodes: what pins it tolerates their taints.
    pub(crate) fn admits_spot(&self, class: &ShapeClass) -> bool {
        let own = |(key, ..): &&(String, String, bool)| !SPOT_LABELS.iter().any(|it| it.0 == key);
        self.fits(class) && class.taints.iter().filter(own).all(|it| self.tolerates(it))
    }

    fn fits(&self, class: &ShapeClass) -> bool {
        self.selector.iter().all(|(key, value)| class.labels.get(key) == Some(value))
            && (self.terms.is_empty()
                || self.terms.iter().any(|term| term.iter().all(|it| it.holds(&class.labels))))
    }

    fn tolerates(&self, (key, value, no_execute): &(String, String, bool)) -> bool {
        let effect = if *no_execute { TaintEffect::NoExecute } else { TaintEffect::NoSchedule };
        let taint = Taint { key: key.clone(), value: value.clone(), effect, ..Taint::default() };
        self.tolerations.iter().any(|it| it.tolerates(&taint))
    }
}

impl NodeRequirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let number = |text: &String| text.parse::<i64>().ok();
        let bound = self.values.first().and_then(number);
        match self.operator.as_str() {
            "In" => value.is_some_and(|it| self.values.contains(it)),
            "NotIn" => value.is_none_or(|it| !self.values.contains(it)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "Gt" => value.and_then(number).zip(bound).is_some_and(|(it, bound)| it > bound),
            "Lt" => value.and_then(number).zip(bound).is_some_and(|(it, bound)| it < bound),
            _ => false,
        }
    }
}

/// A template, as far as placing it goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Workload {
    pub key: ObjectKey,
    /// `apps/v1/Deployment`, as clusters list what they serve.
    pub api: String,
    pub labels: BTreeMap<String, String>,
    pub class: KindClass,
    /// Bound to where it runs by the rule for its kind: it keeps data there, or runs once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bound: bool,
    /// Why the rule for its kind could not be followed; empty: it could. Nothing is decided of what cannot be read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unreadable: String,
    /// `None` for kinds without replicas.
    pub replicas: Option<i64>,
    pub requests: Requests,
    pub nodes: NodeRules,
    /// The parts of a unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
    pub job: JobState,
    /// Never two at a time: a Deployment whose strategy is Recreate.
    #[serde(default)]
    pub exclusive: bool,
    /// Volumes that each replica brings; a PersistentVolumeClaim is one.
    pub volumes: Vec<Volume>,
    /// Of Jobs and CronJobs: how long and how often they run.
    pub run: Option<Run>,
    /// A Service that has a load balancer made.
    pub load_balancer: bool,
    /// What the hub knows beside the template.
    pub around: Around,
    /// Of a StatefulSet: its first ordinal.
    #[serde(default)]
    pub ordinals_start: i64,
    /// Where other templates are that its policy speaks of.
    #[serde(default, skip_serializing_if = "Beside::is_none")]
    pub beside: Beside,
}

/// Storage that comes with a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The storage class; empty: the cluster's default.
    #[serde(default)]
    pub class: String,
    pub gib: i64,
}

/// What the hub knows of a workload that its template does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Around {
    /// The most replicas that an autoscaler may make of it: what estimates count with (RULES 5.5).
    pub most_replicas: Option<i64>,
    /// Where the templates are that it talks to, by `Deployment db`.
    pub peers: BTreeMap<String, Vec<PreviousCluster>>,
    /// What cost budgets leave it.
    pub allowances: Vec<Allowance>,
}

/// What one cost budget leaves a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    pub budget: String,
    /// µ$ per month, after what all others of the scope cost.
    pub monthly_micros: i64,
}

impl Workload {
    /// Whether it is replaced elsewhere without proof that the old copy is dead (RULES 3.5).
    pub fn fails_over(&self) -> bool {
        self.class.fails_over() && !self.bound && !self.exclusive && !self.is_claim()
    }

    /// A template that cannot be read counts for what it was when it last could: what runs of it takes room and costs
    /// money all the same.
    pub fn remember(&mut self, before: &Self) {
        if self.unreadable.is_empty() {
            return;
        }
        self.class = before.class;
        self.bound = before.bound;
        self.replicas = before.replicas;
        self.requests.clone_from(&before.requests);
        self.nodes.clone_from(&before.nodes);
        self.components.clone_from(&before.components);
    }

    /// Where a custom kind has the replicas that are decided; none for kinds of Kubernetes itself, where it is known.
    pub fn replicas_path(&self, rules: &Rules) -> Option<FieldPath> {
        if self.class != KindClass::Scalable {
            return None;
        }
        let ruled = rules.find(&self.key.gvk).and_then(|it| it.replicas_path().cloned());
        ruled.or_else(|| FieldPath::parse(".spec.replicas"))
    }

    /// Left without a mode, it runs on one cluster.
    pub fn on_one_cluster(&self) -> bool {
        self.bound || self.class.on_one_cluster()
    }

    /// Whether its replicas can be shared out over clusters at all.
    pub fn divisible(&self) -> bool {
        !self.bound && self.class.divisible()
    }

    /// Whether it moves by an approved plan only (RULES 3.4).
    pub fn is_bound(&self) -> bool {
        self.bound
            || matches!(self.class, KindClass::StatefulSet | KindClass::Job)
            || self.is_claim()
    }

    /// A PersistentVolumeClaim: its data lies where it is bound, so it leaves a cluster by an approved plan only
    /// (RULES 3.4).
    pub fn is_claim(&self) -> bool {
        self.key.gvk.group.is_empty() && self.key.gvk.kind == "PersistentVolumeClaim"
    }

    /// Reads a template with no rules but those that are built in.
    pub fn from_template(template: &Value) -> Self {
        Self::read(template, &Rules::default())
    }

    /// Reads a template: workload kinds of Kubernetes, and custom kinds by their rules. One that its rule cannot be
    /// evaluated on is [`unreadable`](Self::unreadable).
    pub fn read(template: &Value, rules: &Rules) -> Self {
        let text = |pointer: &str| {
            template.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let gvk = Gvk::new(&text("/apiVersion"), &text("/kind"));
        let mut unreadable = String::new();
        let custom = match native(&gvk) {
            Some(class) => of_native(class, template),
            None => custom::read(rules.find(&gvk), &gvk, template).unwrap_or_else(|error| {
                unreadable = error.to_string();
                Custom::default()
            }),
        };
        let Custom { class, bound, replicas, pod, requests: stated, components } = custom;
        let spec = pod.as_ref().and_then(|it| it.get("spec"));
        let number = |pointer: &str| template.pointer(pointer).and_then(Value::as_i64);
        Self {
            api: gvk.path(),
            components,
            labels: strings(template.pointer("/metadata/labels")),
            class,
            bound,
            unreadable,
            replicas: replicas.map(|it| it.clamp(0, i64::from(i32::MAX))),
            requests: stated.or_else(|| spec.map(requests)).unwrap_or_default(),
            nodes: spec
                .map(|it| {
                    node_rules(it, &pod.as_ref().map(|it| pod_labels(it)).unwrap_or_default())
                })
                .unwrap_or_default(),
            job: JobState {
                indexed: text("/spec/completionMode") == "Indexed",
                started: template.pointer("/status/startTime").is_some(),
                finished: is_finished(template),
            },
            exclusive: text("/spec/strategy/type") == "Recreate",
            volumes: volumes(&gvk, template),
            run: schedule::run(class, template),
            load_balancer: gvk.path() == "v1/Service" && text("/spec/type") == "LoadBalancer",
            around: Around::default(),
            ordinals_start: number("/spec/ordinals/start").unwrap_or(0),
            beside: Beside::default(),
            key: ObjectKey {
                gvk,
                namespace: text("/metadata/namespace").into(),
                name: text("/metadata/name").into(),
            },
        }
    }

    /// Whether a copy runs pods of a known size.
    pub fn has_pods(&self) -> bool {
        self.replicas.is_some()
            || matches!(self.class, KindClass::Pod | KindClass::CronJob | KindClass::Unit)
    }

    /// Pods of one copy, for room and money.
    pub(crate) fn pods(&self) -> i64 {
        self.replicas.unwrap_or_else(|| i64::from(self.has_pods()))
    }
}

/// The class of a kind that Kubernetes itself has.
fn native(gvk: &Gvk) -> Option<KindClass> {
    Some(match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("apps", "Deployment") => KindClass::Deployment,
        ("apps", "ReplicaSet") | ("", "ReplicationController") => KindClass::ReplicaSet,
        ("apps", "StatefulSet") => KindClass::StatefulSet,
        ("apps", "DaemonSet") => KindClass::DaemonSet,
        ("batch", "Job") => KindClass::Job,
        ("batch", "CronJob") => KindClass::CronJob,
        ("", "Pod") => KindClass::Pod,
        _ => return None,
    })
}

fn of_native(class: KindClass, template: &Value) -> Custom<'_> {
    let number = |pointer: &str| template.pointer(pointer).and_then(Value::as_i64).unwrap_or(1);
    let replicas = match class {
        KindClass::Deployment | KindClass::ReplicaSet | KindClass::StatefulSet => {
            Some(number("/spec/replicas"))
        }
        KindClass::Job => Some(number("/spec/parallelism")),
        _ => None,
    };
    let pod = match class {
        KindClass::Pod => Some(template),
        KindClass::CronJob => template.pointer("/spec/jobTemplate/spec/template"),
        _ => template.pointer("/spec/template"),
    };
    Custom { class, replicas, pod: pod.map(Cow::Borrowed), ..Custom::default() }
}

/// Claims that a StatefulSet makes for each replica; a claim is its own.
fn volumes(gvk: &Gvk, template: &Value) -> Vec<Volume> {
    let claims = match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("apps", "StatefulSet") => array(template, "/spec/volumeClaimTemplates"),
        ("", "PersistentVolumeClaim") => std::slice::from_ref(template),
        _ => &[],
    };
    let volume = |claim: &Value| {
        let size = claim.pointer("/spec/resources/requests/storage")?.as_str()?;
        let bytes = quantity::units("storage", size)?.max(0);
        let class = claim.pointer("/spec/storageClassName").and_then(Value::as_str);
        let gib = bytes / (1 << 30) + i64::from(bytes % (1 << 30) > 0);
        Some(Volume { class: class.unwrap_or_default().to_owned(), gib })
    };
    claims.iter().filter_map(volume).collect()
}

/// The labels that a pod template gives its pods.
pub(crate) fn pod_labels(template: &Value) -> BTreeMap<String, String> {
    strings(template.pointer("/metadata/labels"))
}

fn strings(value: Option<&Value>) -> BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, it)| Some((key.clone(), it.as_str()?.to_owned()))).collect()
}

fn array<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

type Amounts = BTreeMap<String, i64>;

/// Requests of a pod: its own where it states them, else the sum of its containers and sidecars, or the largest moment
/// of its start if that is more; the overhead of its runtime on top.
pub(crate) fn requests(pod: &Value) -> Requests {
    let mut total = Amounts::new();
    for container in array(pod, "/containers") {
        add(&mut total, &container_requests(container));
    }
    let mut sidecars = Amounts::new();
    let mut start = Amounts::new();
    for container in array(pod, "/initContainers") {
        let own = container_requests(container);
        if container.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
            add(&mut total, &own);
            add(&mut sidecars, &own);
        } else {
            let mut moment = sidecars.clone();
            add(&mut moment, &own);
            raise(&mut start, &moment);
        }
    }
    raise(&mut total, &start);
    // What the pod states as a whole counts instead.
    total.extend(container_requests(pod));
    if let Some(overhead) = pod.get("overhead") {
        add(&mut total, &amounts(Some(overhead)));
    }
    let base = BASE.map(|name| total.remove(name).unwrap_or(0).max(0));
    Requests { base, extended: total.into_iter().filter(|(_, amount)| *amount > 0).collect() }
}

/// A limit without a request is the request.
fn container_requests(container: &Value) -> Amounts {
    let mut all = amounts(container.pointer("/resources/limits"));
    all.extend(amounts(container.pointer("/resources/requests")));
    all
}

fn amounts(value: Option<&Value>) -> Amounts {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(name, it)| {
            let text = match it {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            Some((name.clone(), quantity::units(name, &text)?))
        })
        .collect()
}

fn add(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let sum = total.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

fn raise(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let it = total.entry(name.clone()).or_default();
        *it = (*it).max(*amount);
    }
}

/// Whether a Job has come to its end, well or not.
fn is_finished(template: &Value) -> bool {
    let conditions = template.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|it| {
        let ended = ["Complete", "Failed"].iter().any(|kind| it["type"] == *kind);
        ended && it["status"] == "True"
    })
}

pub(crate) fn node_rules(pod: &Value, labels: &BTreeMap<String, String>) -> NodeRules {
    let required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let terms = array(pod, &format!("{required}/nodeSelectorTerms"))
        .iter()
        .map(|term| array(term, "/matchExpressions").iter().filter_map(requirement).collect())
        .collect();
    let tolerations = array(pod, "/tolerations").iter().map(toleration).collect();
    let host_port = array(pod, "/containers")
        .iter()
        .flat_map(|it| array(it, "/ports"))
        .any(|it| it.get("hostPort").and_then(Value::as_i64).unwrap_or(0) > 0);
    let apart = "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let keeps_apart = array(pod, apart).iter().any(|term| {
        let own = strings(term.pointer("/labelSelector/matchLabels"));
        term.get("topologyKey").and_then(Value::as_str) == Some("kubernetes.io/hostname")
            && !own.is_empty()
            && own.iter().all(|(key, value)| labels.get(key) == Some(value))
    });
    NodeRules {
        selector: strings(pod.get("nodeSelector")),
        terms,
        tolerations,
        per_node: (host_port || keeps_apart).then_some(1),
    }
}

fn requirement(value: &Value) -> Option<NodeRequirement> {
    serde_json::from_value(value.clone()).ok()
}

fn toleration(value: &Value) -> Toleration {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Toleration {
        key: text("key"),
        operator: if text("operator") == "Exists" {
            TolerationOperator::Exists
        } else {
            TolerationOperator::Equal
        },
        value: text("value"),
        effect: match text("effect").as_str() {
            "NoSchedule" => Some(TaintEffect::NoSchedule),
            "NoExecute" => Some(TaintEffect::NoExecute),
            "PreferNoSchedule" => Some(TaintEffect::PreferNoSchedule),
            _ => None,
        },
        // Of a pod: it may run there at first, which is what room is about.
        toleration_seconds: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rule_3_5_what_may_not_run_twice_does_not_fail_over_by_itself() {
        let workload = |kind: &str, strategy: &str| {
            Workload::from_template(&serde_json::json!({
                "apiVersion": "apps/v1", "kind": kind, "spec": {"strategy": {"type": strategy}},
            }))
        };
        assert!(workload("Deployment", "RollingUpdate").fails_over());
        assert!(!workload("Deployment", "Recreate").fails_over());
        assert!(!workload("StatefulSet", "").fails_over());
    }

    const MI: i64 = 1 << 20;

    #[test]
    fn a_deployment_is_read() {
        let workload = Workload::from_template(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"tier": "web"}},
            "spec": {"replicas": 3, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "nodeSelector": {"arch": "arm64"},
                    "containers": [
                        {"name": "a", "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}}},
                        {"name": "b", "resources": {"limits": {"cpu": 1, "nvidia.com/gpu": "1"}}}
                    ]
                }
            }}
        }));
        assert_eq!(workload.api, "apps/v1/Deployment");
        assert_eq!(workload.key.to_string(), "Deployment shop/web");
        assert_eq!((workload.class, workload.replicas), (KindClass::Deployment, Some(3)));
        assert_eq!(workload.requests.base, [1250, 512 * MI, 0, 0]);
        assert_eq!(workload.requests.extended, [("nvidia.com/gpu".to_owned(), 1)]);
        assert!(workload.nodes.constrains());
    }

    #[test]
    fn init_containers_sidecars_and_overhead_count() {
        let requests = requests(&json!({
            "initContainers": [
                {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "setup", "resources": {"requests": {"cpu": "900m", "memory": "64Mi"}}}
            ],
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "500m", "memory": "32Mi"}}}],
            "overhead": {"cpu": "50m"}
        }));
        assert_eq!(requests.base, [1050, 64 * MI, 0, 0]);
    }

    #[test]
    fn what_the_pod_states_as_a_whole_counts_instead() {
        let requests = requests(&json!({
            "resources": {"requests": {"cpu": "2"}},
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "500m", "memory": "32Mi"}}}]
        }));
        assert_eq!(requests.base, [2000, 32 * MI, 0, 0]);
    }

    #[test]
    fn every_kind_has_its_class() {
        let check = |api: &str,
                     kind: &str,
                     spec: Value,
                     class: KindClass,
                     replicas: Option<i64>| {
            let workload = Workload::from_template(
                &json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}, "spec": spec}),
            );
            assert_eq!((workload.class, workload.replicas), (class, replicas), "{kind}");
        };
        check("apps/v1", "StatefulSet", json!({}), KindClass::StatefulSet, Some(1));
        check("batch/v1", "Job", json!({"parallelism": 4}), KindClass::Job, Some(4));
        check("batch/v1", "CronJob", json!({}), KindClass::CronJob, None);
        check("v1", "Pod", json!({}), KindClass::Pod, None);
        check("apps/v1", "DaemonSet", json!({}), KindClass::DaemonSet, None);
        check("example.org/v1", "Engine", json!({"replicas": 2}), KindClass::Scalable, Some(2));
        check("v1", "ConfigMap", json!({}), KindClass::Plain, None);
    }

    #[test]
    fn replicas_that_keep_apart_by_host_are_one_to_a_node() {
        let pod = json!({"affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}
        ]}}});
        let labels = |value: &str| BTreeMap::from([("app".to_owned(), value.to_owned())]);
        assert_eq!(node_rules(&pod, &labels("a")).per_node, Some(1));
        assert_eq!(node_rules(&pod, &labels("b")).per_node, None);
    }
}
