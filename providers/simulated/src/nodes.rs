//! The nodes of a simulated member: their objects, and their room.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{SimulatedOptions, objects::typed, scheduler::Slot};

/// A number of equal nodes.
#[derive(Clone, Debug)]
pub struct NodePool {
    pub count: usize,
    /// The provider's name of the machine type.
    pub instance_type: String,
    pub zone: String,
    /// Allocatable, as quantities.
    pub cpu: String,
    pub memory: String,
    pub pods: u32,
}

impl NodePool {
    /// Nodes with the usual number of pods.
    pub fn new(count: usize, instance_type: &str, zone: &str, cpu: &str, memory: &str) -> Self {
        Self {
            count,
            instance_type: instance_type.to_owned(),
            zone: zone.to_owned(),
            cpu: cpu.to_owned(),
            memory: memory.to_owned(),
            pods: 110,
        }
    }
}

fn names(options: &SimulatedOptions) -> impl Iterator<Item = (String, &NodePool)> {
    let pools = options.nodes.iter().enumerate();
    pools.flat_map(move |(pool, it)| {
        (0..it.count).map(move |n| (format!("{}-{pool}-{n}", options.name), it))
    })
}

/// Where pods can go.
pub(crate) fn slots(options: &SimulatedOptions) -> Vec<Slot> {
    names(options).map(|(name, it)| Slot::new(name, &it.cpu, &it.memory, it.pods)).collect()
}

/// Makes what every cluster has, and the nodes.
pub(crate) async fn furnish(
    client: &Client,
    options: &SimulatedOptions,
) -> Result<(), kube::Error> {
    let namespaces = Api::<Namespace>::all(client.clone());
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let namespace: Namespace = typed(json!({"metadata": {"name": name}}));
        match namespaces.create(&PostParams::default(), &namespace).await {
            Ok(_) => (),
            Err(kube::Error::Api(status)) if status.code == 409 => (),
            Err(error) => return Err(error),
        }
    }
    let nodes = Api::<Node>::all(client.clone());
    let node = |(name, pool): (String, &NodePool)| {
        let object = object(&name, &options.region, pool);
        let status = json!({"status": status(pool)});
        let nodes = nodes.clone();
        async move {
            nodes.create(&PostParams::default(), &typed::<Node>(object)).await?;
            nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await
        }
    };
    stream::iter(names(options).map(node))
        .buffer_unordered(8)
        .try_for_each(|_| async { Ok(()) })
        .await
}

fn object(name: &str, region: &str, pool: &NodePool) -> Value {
    json!({
        "metadata": {"name": name, "labels": {
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": pool.instance_type,
            "topology.kubernetes.io/region": region,
            "topology.kubernetes.io/zone": pool.zone,
        }},
        "spec": {},
    })
}

fn status(pool: &NodePool) -> Value {
    let resources = json!({"cpu": pool.cpu, "memory": pool.memory, "pods": pool.pods.to_string()});
    json!({
        "allocatable": resources, "capacity": resources,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.36.3",
            "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
            "machineID": "", "osImage": "", "systemUUID": "",
        },
    })
}
