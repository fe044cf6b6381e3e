//! The shapes of nodes: which there are, what one has, and what is free on them.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    cluster::{FreeNodes, NodeShape, Taint},
    money::Money,
    quantity,
};

use super::ClusterInput;
use crate::{price::Price, room::Group};

/// The resources that every fleet counts; extended ones follow in [`Fleet::extended`].
pub const BASE: [&str; 4] = ["cpu", "memory", "pods", "ephemeral-storage"];
pub(crate) const CPU: usize = 0;
pub(crate) const MEMORY: usize = 1;
pub(crate) const PODS: usize = 2;

/// Nodes that are alike: what a pod's constraints are matched against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShapeClass {
    pub instance_type: String,
    pub zone: String,
    /// With the well-known ones for type, zone and region.
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<(String, String, bool)>,
    /// Of one node, in the order of [`BASE`].
    pub allocatable: [i64; 4],
    /// In the order of [`Fleet::extended`].
    pub extended: Vec<i64>,
    /// What a new node has for workloads: allocatable without what DaemonSets take (RULES 5.2).
    pub(crate) new: [i64; 4],
    /// The provider may take such nodes away.
    pub spot: bool,
}

/// Nodes of one class in one cluster.
#[derive(Clone, Debug)]
pub struct ClusterShape {
    /// Index into [`Fleet::classes`].
    pub class: u32,
    pub count: i64,
    /// With licences; `None` is unknown, which is never free.
    pub price: Option<Price>,
    /// Of spot nodes: what they cost as such.
    pub spot: Option<Price>,
    /// So many of the nodes are paid for in advance …
    pub committed: i64,
    /// … and so many more could be had here without paying more,
    pub idle: i64,
    /// … and those of a pool that several clusters share: see [`Fleet::pools`].
    pub(crate) pool: Option<usize>,
    /// Licences of one node per hour, which are in the prices.
    pub(crate) licences: Money,
}

impl ClusterShape {
    /// What a node counts as for a workload: as a spot node only where the workload is pinned to such (RULES 5.6).
    pub(crate) fn price_for(&self, pinned: bool) -> Option<&Price> {
        if pinned { self.spot.as_ref() } else { self.price.as_ref() }
    }
}

pub(super) fn extended_resources(inputs: &[ClusterInput]) -> Vec<String> {
    let names: BTreeSet<_> = inputs
        .iter()
        .flat_map(|it| &it.shapes)
        .flat_map(|it| it.allocatable.keys())
        .filter(|it| !BASE.contains(&it.as_str()))
        .cloned()
        .collect();
    names.into_iter().collect()
}

fn amounts(quantities: &BTreeMap<String, String>, extended: &[String]) -> ([i64; 4], Vec<i64>) {
    let amount = |name: &str| {
        let found = quantities.get(name).and_then(|it| quantity::units(name, it));
        found.unwrap_or(0).max(0)
    };
    (BASE.map(amount), extended.iter().map(|it| amount(it)).collect())
}

pub(super) fn class(cluster: &ClusterInput, shape: &NodeShape, extended: &[String]) -> ShapeClass {
    let (allocatable, extended) = amounts(&shape.allocatable, extended);
    let mut labels = shape.labels.clone();
    let mut imply = |key: &str, value: &str| {
        if !value.is_empty() {
            labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    };
    imply("node.kubernetes.io/instance-type", &shape.instance_type);
    imply("topology.kubernetes.io/zone", &shape.zone);
    imply("topology.kubernetes.io/region", &cluster.spec.region);
    imply("kubernetes.io/os", "linux");
    let spot =
        SPOT_LABELS.iter().any(|(key, value)| labels.get(*key).is_some_and(|it| it == value));
    let (overhead, _) = amounts(&shape.overhead, &[]);
    let mut new = allocatable;
    for (amount, taken) in new.iter_mut().zip(overhead) {
        *amount = (*amount - taken).max(0);
    }
    let mut taints: Vec<_> = shape.taints.iter().filter_map(hard_taint).collect();
    taints.sort();
    ShapeClass {
        instance_type: shape.instance_type.clone(),
        zone: shape.zone.clone(),
        labels,
        taints,
        allocatable,
        extended,
        new,
        spot,
    }
}

/// Labels by which spot nodes are known, and pods are pinned to them.
pub(crate) const SPOT_LABELS: &[(&str, &str)] = &[
    ("cloud.google.com/gke-preemptible", "true"),
    ("cloud.google.com/gke-spot", "true"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("karpenter.sh/capacity-type", "spot"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
];

/// Key, value, and whether the effect is NoExecute; a taint that only asks is none.
fn hard_taint(taint: &Taint) -> Option<(String, String, bool)> {
    use federation_types::cluster::TaintEffect::{NoExecute, NoSchedule, PreferNoSchedule};
    match taint.effect {
        PreferNoSchedule => None,
        NoSchedule => Some((taint.key.clone(), taint.value.clone(), false)),
        NoExecute => Some((taint.key.clone(), taint.value.clone(), true)),
    }
}

pub(super) fn group(class: u32, free: &FreeNodes, extended: &[String]) -> (Group, Vec<i64>) {
    let (amount, extended) = amounts(&free.resources, extended);
    (Group { nodes: free.nodes, class, free: amount }, extended)
}
