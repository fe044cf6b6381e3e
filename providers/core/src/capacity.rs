//! Nodes and pods become node shapes with the room on them. Pure: what a member said goes in, what the hub keeps comes
//! out.
//!
//! Room is kept by node and never summed: two nodes with half a CPU each do not run a pod that asks for one.

use std::collections::BTreeMap;

use federation_types::{
    cluster::{FreeNodes, NodeShape, Taint, TaintEffect},
    quantity,
};
use serde::Deserialize;

/// What counts of a node.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Node {
    pub metadata: NodeMeta,
    #[serde(default)]
    pub spec: NodeSpec,
    #[serde(default)]
    pub status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct NodeMeta {
    pub name: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct NodeSpec {
    #[serde(default)]
    pub unschedulable: bool,
    #[serde(default)]
    pub taints: Vec<NodeTaint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct NodeTaint {
    pub key: String,
    #[serde(default)]
    pub value: String,
    pub effect: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct NodeStatus {
    #[serde(default)]
    pub allocatable: BTreeMap<String, String>,
    #[serde(default)]
    pub conditions: Vec<NodeCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct NodeCondition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
}

/// What counts of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Pod {
    #[serde(default)]
    pub metadata: PodMeta,
    #[serde(default)]
    pub spec: PodSpec,
    #[serde(default)]
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodMeta {
    #[serde(default)]
    pub owner_references: Vec<Owner>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Owner {
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub controller: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    #[serde(default)]
    pub node_name: String,
    #[serde(default)]
    pub containers: Vec<Container>,
    #[serde(default)]
    pub init_containers: Vec<Container>,
    #[serde(default)]
    pub overhead: BTreeMap<String, String>,
    /// Requests of the pod as a whole, where it states them.
    #[serde(default)]
    pub resources: Resources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub restart_policy: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Resources {
    #[serde(default)]
    pub requests: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct PodStatus {
    #[serde(default)]
    pub phase: String,
}

/// Amounts by resource: CPU in thousandths, everything else in units.
pub type Amounts = BTreeMap<String, i64>;

const TYPE: &str = "node.kubernetes.io/instance-type";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Labels that tell nodes of one shape apart, or that change from node to node.
const OF_ONE_NODE: [&str; 1] = ["kubernetes.io/hostname"];

/// The nodes of a member by shape, sorted by type and zone, with free room in groups. Cordoned nodes and nodes that are
/// not ready are left out.
pub fn shapes(nodes: &[Node], pods: &[Pod]) -> Vec<NodeShape> {
    let mut used: BTreeMap<&str, Used> = BTreeMap::new();
    for pod in pods {
        if let Some((node, requests)) = usage(pod) {
            used.entry(node).or_default().add(&requests, of_daemon_set(pod));
        }
    }
    shapes_in_use(nodes, &used)
}

/// What is taken on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    pub all: Amounts,
    /// Of it, by DaemonSets: a new node would have as much taken.
    pub daemons: Amounts,
}

impl Used {
    /// Counts a pod in.
    pub fn add(&mut self, amounts: &Amounts, of_daemon_set: bool) {
        add(&mut self.all, amounts);
        if of_daemon_set {
            add(&mut self.daemons, amounts);
        }
    }

    /// Counts a pod out again.
    pub fn take(&mut self, amounts: &Amounts, of_daemon_set: bool) {
        let sums = [Some(&mut self.all), of_daemon_set.then_some(&mut self.daemons)];
        for sum in sums.into_iter().flatten() {
            for (resource, amount) in amounts {
                if let Some(it) = sum.get_mut(resource) {
                    *it -= amount;
                }
            }
            sum.retain(|_, amount| *amount > 0);
        }
    }
}

/// Whether a DaemonSet runs the pod: its like comes with every new node.
pub fn of_daemon_set(pod: &Pod) -> bool {
    pod.metadata.owner_references.iter().any(|it| it.controller && it.kind == "DaemonSet")
}

/// The node that a pod takes room on, and what it takes there: its requests, and its place among the `pods`. `None` for
/// pods that wait for a node or are over.
pub fn usage(pod: &Pod) -> Option<(&str, Amounts)> {
    let over = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
    if over || pod.spec.node_name.is_empty() {
        return None;
    }
    let mut amounts = requests(&pod.spec);
    amounts.insert("pods".to_owned(), 1);
    Some((&pod.spec.node_name, amounts))
}

/// The same as [`shapes`], from what is used on each node.
pub fn shapes_in_use<'a, N>(
    nodes: impl IntoIterator<Item = &'a Node>,
    used: &BTreeMap<N, Used>,
) -> Vec<NodeShape>
where
    N: Ord + std::borrow::Borrow<str>,
{
    let mut groups: BTreeMap<ShapeKey, Vec<(&Node, Amounts)>> = BTreeMap::new();
    let mut overheads: BTreeMap<ShapeKey, Amounts> = BTreeMap::new();
    for node in nodes.into_iter().filter(|it| takes_pods(it)) {
        let allocatable = amounts(&node.status.allocatable);
        let none = Used::default();
        let taken = used.get(node.metadata.name.as_str()).unwrap_or(&none);
        let free = allocatable
            .iter()
            .map(|(resource, amount)| {
                let left = amount - taken.all.get(resource).copied().unwrap_or(0);
                (resource.clone(), left.max(0))
            })
            .collect();
        let key = ShapeKey::of(node, allocatable);
        // A node that has just come may not run them all yet: the fullest says what they take.
        raise(overheads.entry(key.clone()).or_default(), &taken.daemons);
        groups.entry(key).or_default().push((node, free));
    }
    groups
        .into_iter()
        .map(|(key, nodes)| {
            let overhead = overheads.remove(&key).unwrap_or_default();
            key.shape(&nodes, &overhead)
        })
        .collect()
}

fn takes_pods(node: &Node) -> bool {
    let ready = node.status.conditions.iter().any(|it| it.kind == "Ready" && it.status == "True");
    ready && !node.spec.unschedulable
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ShapeKey {
    instance_type: String,
    zone: String,
    allocatable: Amounts,
    taints: Vec<(String, String, String)>,
}

impl ShapeKey {
    fn of(node: &Node, allocatable: Amounts) -> Self {
        let label = |name: &str| node.metadata.labels.get(name).cloned().unwrap_or_default();
        let mut taints: Vec<_> = node
            .spec
            .taints
            .iter()
            .filter(|it| matches!(it.effect.as_str(), "NoSchedule" | "NoExecute"))
            .map(|it| (it.key.clone(), it.value.clone(), it.effect.clone()))
            .collect();
        taints.sort();
        Self { instance_type: label(TYPE), zone: label(ZONE), allocatable, taints }
    }

    fn shape(self, nodes: &[(&Node, Amounts)], overhead: &Amounts) -> NodeShape {
        let mut labels = nodes[0].0.metadata.labels.clone();
        labels.retain(|name, value| {
            !OF_ONE_NODE.contains(&name.as_str())
                && nodes.iter().all(|(node, _)| node.metadata.labels.get(name) == Some(value))
        });
        let mut free: BTreeMap<&Amounts, i64> = BTreeMap::new();
        for (_, amounts) in nodes {
            *free.entry(amounts).or_default() += 1;
        }
        let taints = self.taints.into_iter().map(|(key, value, effect)| Taint {
            key,
            value,
            effect: if effect == "NoExecute" {
                TaintEffect::NoExecute
            } else {
                TaintEffect::NoSchedule
            },
            ..Taint::default()
        });
        NodeShape {
            instance_type: self.instance_type,
            zone: self.zone,
            count: i64::try_from(nodes.len()).unwrap_or(i64::MAX),
            allocatable: texts(&self.allocatable),
            free: free
                .into_iter()
                .map(|(amounts, nodes)| FreeNodes { nodes, resources: texts(amounts) })
                .collect(),
            overhead: texts(overhead),
            labels,
            taints: taints.collect(),
        }
    }
}

/// What a pod asks of its node: the sum of its containers and sidecars, or what an init container needs at its turn,
/// whichever is more; and its overhead.
fn requests(pod: &PodSpec) -> Amounts {
    let mut running = Amounts::new();
    let mut peak = Amounts::new();
    for container in &pod.init_containers {
        let own = amounts(&container.resources.requests);
        if container.restart_policy == "Always" {
            add(&mut running, &own);
            raise(&mut peak, &running);
        } else {
            let mut at_its_turn = running.clone();
            add(&mut at_its_turn, &own);
            raise(&mut peak, &at_its_turn);
        }
    }
    for container in &pod.containers {
        add(&mut running, &amounts(&container.resources.requests));
    }
    raise(&mut running, &peak);
    for (resource, amount) in amounts(&pod.resources.requests) {
        running.insert(resource, amount);
    }
    add(&mut running, &amounts(&pod.overhead));
    running
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (resource, amount) in more {
        *sum.entry(resource.clone()).or_default() += amount;
    }
}

fn raise(most: &mut Amounts, other: &Amounts) {
    for (resource, amount) in other {
        let entry = most.entry(resource.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

fn amounts(quantities: &BTreeMap<String, String>) -> Amounts {
    quantities
        .iter()
        .filter_map(|(resource, text)| Some((resource.clone(), quantity::units(resource, text)?)))
        .collect()
}

fn texts(amounts: &Amounts) -> BTreeMap<String, String> {
    amounts.iter().map(|(resource, amount)| (resource.clone(), text(resource, *amount))).collect()
}

/// The shortest usual form: `1500m` or `2` CPU, `16Gi` or bytes of memory.
fn text(resource: &str, amount: i64) -> String {
    if resource == "cpu" {
        return if amount % 1000 == 0 { (amount / 1000).to_string() } else { format!("{amount}m") };
    }
    let bytes = resource == "memory" || resource.ends_with("storage");
    let unit = [(1_i64 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")]
        .into_iter()
        .find(|(size, _)| bytes && amount != 0 && amount % size == 0);
    match unit {
        Some((size, unit)) => format!("{}{unit}", amount / size),
        None => amount.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, more: &serde_json::Value) -> Node {
        let mut value = json!({
            "metadata": {"name": name, "labels": {
                TYPE: "m6i.xlarge", ZONE: "eu-west-1a", "kubernetes.io/hostname": name, "pool": "a",
            }},
            "status": {
                "allocatable": {"cpu": "4", "memory": "16Gi", "pods": "58"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        if let (Some(value), Some(more)) = (value.as_object_mut(), more.as_object()) {
            value.extend(more.clone());
        }
        serde_json::from_value(value).expect("a node")
    }

    fn pod(node: &str, phase: &str, cpu: &str) -> Pod {
        serde_json::from_value(json!({
            "spec": {"nodeName": node, "containers": [
                {"resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}},
            ]},
            "status": {"phase": phase},
        }))
        .expect("a pod")
    }

    #[test]
    fn room_is_kept_by_node_and_equal_nodes_are_grouped() {
        let nodes = [node("a", &json!({})), node("b", &json!({})), node("c", &json!({}))];
        let pods = [
            pod("a", "Running", "500m"),
            pod("a", "Pending", "500m"),
            pod("b", "Succeeded", "4"),
            pod("", "Pending", "4"),
        ];
        let shapes = shapes(&nodes, &pods);
        assert_eq!(shapes.len(), 1);
        let shape = &shapes[0];
        assert_eq!((shape.count, shape.instance_type.as_str()), (3, "m6i.xlarge"));
        assert_eq!(shape.labels.get("pool").map(String::as_str), Some("a"));
        assert!(!shape.labels.contains_key("kubernetes.io/hostname"));
        let free: Vec<_> = shape
            .free
            .iter()
            .map(|it| (it.nodes, it.resources["cpu"].as_str(), it.resources["memory"].as_str()))
            .collect();
        assert_eq!(free, [(1, "3", "14Gi"), (2, "4", "16Gi")]);
        assert_eq!(shape.free[0].resources["pods"], "56");
    }

    #[test]
    fn rule_5_2_what_daemon_sets_take_on_a_node_is_told() {
        let mut agent = pod("a", "Running", "300m");
        agent.metadata.owner_references =
            vec![Owner { kind: "DaemonSet".into(), controller: true }];
        let nodes = [node("a", &json!({})), node("b", &json!({}))];
        let shapes = shapes(&nodes, &[agent, pod("a", "Running", "1")]);
        let overhead = &shapes[0].overhead;
        assert_eq!((overhead["cpu"].as_str(), overhead["pods"].as_str()), ("300m", "1"));
        assert_eq!(overhead["memory"], "1Gi");
    }

    #[test]
    fn cordoned_and_unready_nodes_are_left_out() {
        let nodes = [
            node("a", &json!({"spec": {"unschedulable": true}})),
            node("b", &json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})),
        ];
        assert_eq!(shapes(&nodes, &[]), []);
    }

    #[test]
    fn tainted_nodes_are_a_shape_of_their_own() {
        let taint = json!({"spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}});
        let shapes = shapes(&[node("a", &json!({})), node("b", &taint)], &[]);
        assert_eq!(shapes.len(), 2);
        assert_eq!(shapes.iter().filter(|it| it.taints.len() == 1).count(), 1);
    }

    #[test]
    fn an_init_container_counts_at_its_turn_and_a_sidecar_throughout() {
        let pod: PodSpec = serde_json::from_value(json!({
            "initContainers": [
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"resources": {"requests": {"cpu": "2"}}},
            ],
            "containers": [{"resources": {"requests": {"cpu": "1"}}}],
            "overhead": {"cpu": "50m"},
        }))
        .expect("a pod");
        assert_eq!(requests(&pod)["cpu"], 2_150);
    }
}
