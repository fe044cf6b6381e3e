//! The nodes of a member: shapes, and the objects that stand for them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A number of equal nodes.
#[derive(Debug, Clone)]
pub struct NodeShape {
    /// How many.
    pub count: usize,
    /// The provider's name of the machine type.
    pub instance_type: String,
    /// The region.
    pub region: String,
    /// The zone.
    pub zone: String,
    /// Allocatable CPU, as a quantity.
    pub cpu: String,
    /// Allocatable memory, as a quantity.
    pub memory: String,
    /// Allocatable pods.
    pub pods: u32,
    /// Further allocatable resources, such as `nvidia.com/gpu`.
    pub extended: BTreeMap<String, String>,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
}

impl NodeShape {
    /// Nodes of 4 CPUs, 16 GiB and 110 pods in one zone.
    pub fn new(count: usize, instance_type: &str, region: &str, zone: &str) -> Self {
        Self {
            count,
            instance_type: instance_type.to_owned(),
            region: region.to_owned(),
            zone: zone.to_owned(),
            cpu: "4".to_owned(),
            memory: "16Gi".to_owned(),
            pods: 110,
            extended: BTreeMap::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
        }
    }

    /// With this much CPU and memory.
    #[must_use]
    pub fn size(mut self, cpu: &str, memory: &str) -> Self {
        cpu.clone_into(&mut self.cpu);
        memory.clone_into(&mut self.memory);
        self
    }

    /// With so much of an extended resource.
    #[must_use]
    pub fn extended(mut self, resource: &str, quantity: &str) -> Self {
        self.extended.insert(resource.to_owned(), quantity.to_owned());
        self
    }

    /// With one more label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    fn object(&self, name: &str) -> Node {
        let well_known = [
            ("kubernetes.io/arch", "amd64"),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/hostname", name),
            ("node.kubernetes.io/instance-type", &self.instance_type),
            ("topology.kubernetes.io/region", &self.region),
            ("topology.kubernetes.io/zone", &self.zone),
        ];
        let mut labels = self.labels.clone();
        for (label, value) in well_known {
            labels.entry(label.to_owned()).or_insert_with(|| value.to_owned());
        }
        let pods = self.pods.to_string();
        let resources: BTreeMap<_, _> =
            [("cpu", &self.cpu), ("memory", &self.memory), ("pods", &pods)]
                .into_iter()
                .chain(self.extended.iter().map(|(name, quantity)| (name.as_str(), quantity)))
                .map(|(name, quantity)| (name.to_owned(), Quantity(quantity.clone())))
                .collect();
        Node {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                taints: (!self.taints.is_empty()).then(|| self.taints.clone()),
                ..NodeSpec::default()
            }),
            status: Some(NodeStatus {
                allocatable: Some(resources.clone()),
                capacity: Some(resources),
                // Ready from the start: the stage would do the same a moment later.
                conditions: Some(vec![NodeCondition {
                    type_: "Ready".to_owned(),
                    status: "True".to_owned(),
                    reason: Some("KubeletReady".to_owned()),
                    ..NodeCondition::default()
                }]),
                node_info: Some(NodeSystemInfo {
                    architecture: "amd64".to_owned(),
                    operating_system: "linux".to_owned(),
                    kubelet_version: "v1.36.3".to_owned(),
                    ..NodeSystemInfo::default()
                }),
                ..NodeStatus::default()
            }),
        }
    }
}

/// The objects for all nodes of a member; names tell the member, the shape and the number.
pub(super) fn objects(member: &str, shapes: &[NodeShape]) -> Vec<Node> {
    let numbered = shapes.iter().enumerate();
    numbered
        .flat_map(|(index, shape)| {
            (0..shape.count).map(move |number| shape.object(&format!("{member}-{index}-{number}")))
        })
        .collect()
}

/// Whether pods without tolerations can be bound to this node as far as its state goes.
pub(super) fn takes_pods(node: &Node) -> bool {
    let ready = node.status.as_ref().and_then(|status| status.conditions.as_ref()).is_some_and(
        |conditions| conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"),
    );
    // Taints that the test itself chose are none of the node's state.
    let held_back =
        node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_some_and(|taints| {
            taints.iter().any(|taint| taint.key.starts_with("node.kubernetes.io/"))
        });
    ready && !held_back
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_its_shape_and_place() {
        let shapes = [
            NodeShape::new(1, "m5.large", "eu-west-1", "eu-west-1a"),
            NodeShape::new(2, "p4d.24xlarge", "eu-west-1", "eu-west-1b")
                .size("96", "1152Gi")
                .extended("nvidia.com/gpu", "8")
                .label("karpenter.sh/capacity-type", "spot"),
        ];
        let nodes = objects("a", &shapes);
        let names: Vec<_> = nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
        assert_eq!(names, ["a-0-0", "a-1-0", "a-1-1"]);
        let labels = nodes[2].metadata.labels.as_ref().unwrap();
        assert_eq!(labels["topology.kubernetes.io/zone"], "eu-west-1b");
        assert_eq!(labels["node.kubernetes.io/instance-type"], "p4d.24xlarge");
        assert_eq!(labels["karpenter.sh/capacity-type"], "spot");
        let allocatable = nodes[2].status.as_ref().unwrap().allocatable.as_ref().unwrap();
        assert_eq!(allocatable["nvidia.com/gpu"].0, "8");
        assert_eq!(allocatable["memory"].0, "1152Gi");
        assert!(takes_pods(&nodes[2]));
    }

    #[test]
    fn a_node_called_not_ready_takes_no_pods() {
        let mut node = NodeShape::new(1, "m5.large", "r", "z").object("n");
        node.spec.as_mut().unwrap().taints = Some(vec![Taint {
            key: "node.kubernetes.io/not-ready".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        }]);
        assert!(!takes_pods(&node));
    }
}
