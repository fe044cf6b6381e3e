//! The nodes and pods of one member, kept small: of a pod only its node and what it asks for, shared between pods that
//! ask for the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{cluster::NodeShape, quantity};
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, Object},
    runtime::{WatchStreamExt, watcher},
};
use providers_core::capacity::{
    self, Amounts, Node, NodeMeta, NodeSpec, NodeStatus, Owner, Pod, PodMeta, PodSpec, PodStatus,
};
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt};

/// What room is worked out from is looked at no more often.
pub(crate) const PACE: Duration = Duration::from_secs(1);

type WatchedNode = Object<NodeSpec, NodeStatus>;
type WatchedPod = Object<PodSpec, PodStatus>;

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) nodes: i64,
    pub(crate) shapes: Vec<NodeShape>,
}

/// Follows the nodes and pods of a member and publishes what it has, once both are known.
pub(crate) async fn follow(client: Client, publish: watch::Sender<Option<Seen>>) {
    let mut nodes = std::pin::pin!(observe::<WatchedNode, core::Node>(&client));
    let mut pods = std::pin::pin!(observe::<WatchedPod, core::Pod>(&client));
    let mut room = Room::default();
    let mut due = None;
    loop {
        tokio::select! {
            Some(event) = nodes.next() => room.on_node(event),
            Some(event) = pods.next() => room.on_pod(event),
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                let seen = room.seen();
                publish.send_if_modified(|it| {
                    let changed = it.as_ref() != Some(&seen);
                    *it = Some(seen);
                    changed
                });
                continue;
            }
            else => return,
        }
        if room.is_synced() && due.is_none() {
            let pace = if publish.borrow().is_none() { Duration::ZERO } else { PACE };
            due = Some(Instant::now() + pace);
        }
    }
}

/// A watch that comes back by itself.
fn observe<K, R>(client: &Client) -> impl Stream<Item = watcher::Event<K>> + use<K, R>
where
    K: kube::Resource<DynamicType = ApiResource>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
    R: kube::Resource<DynamicType = ()>,
{
    let api = Api::<K>::all_with(client.clone(), &ApiResource::erase::<R>(&()));
    watcher(api, watcher::Config::default())
        .default_backoff()
        .filter_map(|event| std::future::ready(event.ok()))
}

/// A pod's part in the room: a few bytes beside its key.
#[derive(Clone, Debug)]
struct Part {
    node: Arc<str>,
    requests: Arc<Amounts>,
    /// A DaemonSet runs it.
    daemon: bool,
}

#[derive(Debug, Default)]
struct Room {
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<u128, Part>,
    used: BTreeMap<Arc<str>, capacity::Used>,
    requests: BTreeSet<Arc<Amounts>>,
    fresh_nodes: BTreeMap<String, Node>,
    fresh_pods: BTreeSet<u128>,
    nodes_synced: bool,
    pods_synced: bool,
}

impl Room {
    fn is_synced(&self) -> bool {
        self.nodes_synced && self.pods_synced
    }

    fn seen(&self) -> Seen {
        Seen {
            nodes: i64::try_from(self.nodes.len()).unwrap_or(i64::MAX),
            shapes: capacity::shapes_in_use(self.nodes.values(), &self.used),
        }
    }

    fn on_node(&mut self, event: watcher::Event<WatchedNode>) {
        match event {
            watcher::Event::Init => self.fresh_nodes.clear(),
            watcher::Event::InitApply(it) => drop(self.fresh_nodes.insert(it.name_any(), node(it))),
            watcher::Event::InitDone => {
                self.nodes = std::mem::take(&mut self.fresh_nodes);
                self.nodes_synced = true;
            }
            watcher::Event::Apply(it) => drop(self.nodes.insert(it.name_any(), node(it))),
            watcher::Event::Delete(it) => drop(self.nodes.remove(&it.name_any())),
        }
    }

    fn on_pod(&mut self, event: watcher::Event<WatchedPod>) {
        match event {
            watcher::Event::Init => self.fresh_pods.clear(),
            watcher::Event::InitApply(it) => {
                self.fresh_pods.insert(key(&it));
                self.set_pod(it);
            }
            watcher::Event::InitDone => {
                let fresh = std::mem::take(&mut self.fresh_pods);
                let gone: Vec<u128> =
                    self.pods.keys().filter(|it| !fresh.contains(it)).copied().collect();
                for key in gone {
                    self.drop_pod(key);
                }
                self.requests.retain(|it| Arc::strong_count(it) > 1);
                self.pods_synced = true;
            }
            watcher::Event::Apply(it) => self.set_pod(it),
            watcher::Event::Delete(it) => self.drop_pod(key(&it)),
        }
    }

    fn set_pod(&mut self, pod: WatchedPod) {
        let key = key(&pod);
        let pod = Pod {
            metadata: PodMeta { owner_references: owners(&pod) },
            spec: pod.spec,
            status: pod.status.unwrap_or_default(),
        };
        let daemon = capacity::of_daemon_set(&pod);
        let usage = capacity::usage(&pod);
        if let (Some(old), Some((node, requests))) = (self.pods.get(&key), &usage)
            && *old.node == **node
            && *old.requests == *requests
        {
            return;
        }
        self.drop_pod(key);
        let Some((node, requests)) = usage else { return };
        let requests = self.requests.get(&requests).cloned().unwrap_or_else(|| {
            let requests = Arc::new(requests);
            self.requests.insert(Arc::clone(&requests));
            requests
        });
        let node = match self.used.get_key_value(node) {
            Some((node, _)) => Arc::clone(node),
            None => Arc::from(node),
        };
        self.used.entry(Arc::clone(&node)).or_default().add(&requests, daemon);
        self.pods.insert(key, Part { node, requests, daemon });
    }

    fn drop_pod(&mut self, key: u128) {
        let Some(Part { node, requests, daemon }) = self.pods.remove(&key) else { return };
        let Some(used) = self.used.get_mut(&node) else { return };
        used.take(&requests, daemon);
        if used.all.get("pods").is_none_or(|it| *it <= 0) {
            self.used.remove(&node);
        }
    }
}

fn owners(pod: &WatchedPod) -> Vec<Owner> {
    let references = pod.metadata.owner_references.iter().flatten();
    references
        .map(|it| Owner { kind: it.kind.clone(), controller: it.controller == Some(true) })
        .collect()
}

fn node(it: WatchedNode) -> Node {
    Node {
        metadata: NodeMeta { name: it.name_any(), labels: it.metadata.labels.unwrap_or_default() },
        spec: it.spec,
        status: it.status.unwrap_or_default(),
    }
}

/// A pod's uid as a number; pods have random ones, so what is no uid may as well be mixed from the letters.
fn key(pod: &WatchedPod) -> u128 {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    uid.bytes()
        .filter(u8::is_ascii_hexdigit)
        .fold(0, |key, digit| key << 4 | u128::from((digit as char).to_digit(16).unwrap_or(0)))
}

/// Whether room has changed enough to be written: nodes came or went, or the free amount of some resource of a shape
/// moved by 5 % of what the shape has, in sum or on the node that has most.
pub(crate) fn moved(old: &[NodeShape], new: &[NodeShape]) -> bool {
    if old.len() != new.len() {
        return true;
    }
    old.iter().zip(new).any(|(old, new)| {
        let same = NodeShape { free: Vec::new(), ..old.clone() }
            == NodeShape { free: Vec::new(), ..new.clone() };
        !same
            || new.allocatable.iter().any(|(resource, text)| {
                let one = quantity::units(resource, text).unwrap_or(0);
                let (old_sum, old_most) = free(old, resource);
                let (new_sum, new_most) = free(new, resource);
                far(old_sum, new_sum, one.saturating_mul(new.count)) || far(old_most, new_most, one)
            })
    })
}

/// Free of a resource: on all nodes of a shape, and on the one that has most.
fn free(shape: &NodeShape, resource: &str) -> (i64, i64) {
    shape.free.iter().fold((0_i64, 0_i64), |(sum, most), group| {
        let text = group.resources.get(resource);
        let amount = text.and_then(|it| quantity::units(resource, it)).unwrap_or(0);
        (sum.saturating_add(amount.saturating_mul(group.nodes)), most.max(amount))
    })
}

fn far(old: i64, new: i64, whole: i64) -> bool {
    old != new && old.abs_diff(new).saturating_mul(20) >= whole.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn room(nodes: usize) -> Room {
        let mut room = Room::default();
        for n in 0..nodes {
            let node: WatchedNode = serde_json::from_value(json!({
                "metadata": {"name": format!("n{n}")}, "spec": {},
                "status": {
                    "allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"},
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }))
            .unwrap();
            room.on_node(watcher::Event::Apply(node));
        }
        room
    }

    fn pod(n: usize, node: &str, cpu: &str, phase: &str) -> WatchedPod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": format!("00000000-0000-0000-0000-{n:012}")},
            "spec": {"nodeName": node, "containers": [{"resources": {"requests": {"cpu": cpu}}}]},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn pods_take_room_until_they_are_over_or_gone() {
        let mut room = room(2);
        let empty = room.seen();
        for n in 0..3 {
            room.on_pod(watcher::Event::Apply(pod(n, "n0", "500m", "Running")));
        }
        assert_eq!(free(&room.seen().shapes[0], "cpu"), (6_500, 4_000));
        assert_eq!(room.requests.len(), 1, "equal requests are shared");
        room.on_pod(watcher::Event::Apply(pod(0, "n0", "500m", "Succeeded")));
        room.on_pod(watcher::Event::Delete(pod(1, "n0", "500m", "Running")));
        assert_eq!(free(&room.seen().shapes[0], "pods"), (219, 110));
        // A list after an interruption: what it lacks is gone.
        room.on_pod(watcher::Event::Init);
        room.on_pod(watcher::Event::InitDone);
        assert_eq!(room.seen(), empty);
        assert!(room.requests.is_empty() && room.used.is_empty());
    }

    #[test]
    fn nothing_is_said_before_both_lists_are_whole() {
        let mut room = room(1);
        room.on_node(watcher::Event::InitDone);
        assert!(!room.is_synced());
        room.on_pod(watcher::Event::InitDone);
        assert!(room.is_synced());
    }

    #[test]
    fn room_that_moves_by_less_than_five_per_cent_is_no_news() {
        let with = |cpu: &str| {
            let mut room = room(2);
            room.on_pod(watcher::Event::Apply(pod(0, "n0", cpu, "Running")));
            room.on_pod(watcher::Event::Apply(pod(1, "n1", "1", "Running")));
            room.seen().shapes
        };
        assert!(!moved(&with("1"), &with("1")));
        let mut daemon = pod(1, "n1", "10m", "Running");
        daemon.metadata.owner_references = serde_json::from_value(json!([
            {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "1", "controller": true}
        ]))
        .unwrap();
        let mut with_daemon = room(2);
        with_daemon.on_pod(watcher::Event::Apply(daemon));
        let shapes = with_daemon.seen().shapes;
        assert_eq!(shapes[0].overhead["cpu"], "10m");
        assert!(moved(&room(2).seen().shapes, &shapes), "what a new node has left");
        assert!(!moved(&with("1"), &with("1100m")), "100m of 8 CPUs");
        assert!(moved(&with("1"), &with("1400m")), "400m of 8 CPUs");
        assert!(moved(&with("1"), &with("750m")), "250m on the node that has most");
        let more = room(3).seen().shapes;
        assert!(moved(&room(2).seen().shapes, &more), "a node came");
    }
}
