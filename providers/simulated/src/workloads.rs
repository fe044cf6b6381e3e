//! The controllers of a simulated member in one task: pods for every workload, and a status that says ready after a
//! delay. Nothing is read back: what was made is known, so an event of our own writing costs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    objects::{self, Kind, Progress, Wanted, typed},
    scheduler::{self, Needs, Slot},
};

/// How many requests of one workload are under way at a time.
const CONCURRENCY: usize = 8;
/// A status that could not be written is tried again after this.
const RETRY: Duration = Duration::from_millis(500);

type Key = (Kind, String, String);

/// One member's controllers.
struct Controllers {
    client: Client,
    slots: Vec<Slot>,
    delay: Duration,
    pods: bool,
    workloads: BTreeMap<Key, Workload>,
    /// When a workload is looked at again.
    due: BTreeSet<(Instant, Key)>,
}

struct Workload {
    wanted: Wanted,
    pods: BTreeMap<String, Placed>,
    /// As was last reported.
    ready: usize,
}

/// A pod that was made: its node by index, none while it waits.
struct Placed {
    slot: Option<usize>,
    needs: Needs,
}

/// Runs until it is dropped.
pub(crate) async fn run(client: Client, slots: Vec<Slot>, delay: Duration, pods: bool) {
    let mut events = stream::select_all(Kind::ALL.map(|kind| observe(&client, kind).boxed()));
    let mut controllers = Controllers {
        client,
        slots,
        delay,
        pods,
        workloads: BTreeMap::new(),
        due: BTreeSet::new(),
    };
    loop {
        let next = controllers.due.first().map(|(at, _)| *at);
        tokio::select! {
            Some((kind, change)) = events.next() => controllers.on_change(kind, change).await,
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if let Some((_, key)) = controllers.due.pop_first() {
                    controllers.settle(&key).await;
                }
            }
            else => return,
        }
    }
}

enum Change {
    Set(Box<DynamicObject>),
    Gone(Box<DynamicObject>),
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or_default();
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: kind.api_version().to_owned(),
        kind: kind.name().to_owned(),
        plural: kind.plural().to_owned(),
    }
}

fn observe(client: &Client, kind: Kind) -> impl Stream<Item = (Kind, Change)> + use<> {
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource(kind));
    watcher(api, watcher::Config::default()).default_backoff().filter_map(move |event| {
        let change = match event {
            Ok(watcher::Event::Apply(it) | watcher::Event::InitApply(it)) => {
                Some(Change::Set(Box::new(it)))
            }
            Ok(watcher::Event::Delete(it)) => Some(Change::Gone(Box::new(it))),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => None,
            Err(error) => {
                tracing::debug!(%error, kind = kind.name(), "watch interrupted");
                None
            }
        };
        std::future::ready(change.map(|it| (kind, it)))
    })
}

impl Controllers {
    async fn on_change(&mut self, kind: Kind, change: Change) {
        match change {
            Change::Set(object) => {
                let Ok(object) = serde_json::to_value(&object) else { return };
                let wanted = Wanted::of(kind, &object, self.slots.len());
                self.set(wanted).await;
            }
            Change::Gone(object) => {
                let metadata = object.metadata;
                let key = (
                    kind,
                    metadata.namespace.unwrap_or_default(),
                    metadata.name.unwrap_or_default(),
                );
                if let Some(workload) = self.workloads.remove(&key) {
                    let names: Vec<String> = workload.pods.keys().cloned().collect();
                    self.release(workload.pods.values());
                    self.delete_pods(&key.1, names).await;
                    self.wake_waiting();
                }
            }
        }
    }

    /// Takes a workload's new wish; our own writes change none.
    async fn set(&mut self, wanted: Wanted) {
        let key = (wanted.kind, wanted.namespace.clone(), wanted.name.clone());
        let known = self.workloads.get(&key);
        let same = known.is_some_and(|it| {
            (&it.wanted.uid, it.wanted.generation, it.wanted.pods, &it.wanted.hash)
                == (&wanted.uid, wanted.generation, wanted.pods, &wanted.hash)
        });
        if same || wanted.over {
            return;
        }
        let workload = self.workloads.entry(key.clone()).or_insert_with(|| Workload {
            wanted: wanted.clone(),
            pods: BTreeMap::new(),
            ready: 0,
        });
        // A rolling change: what was ready is replaced one by one.
        let ready = workload.ready.min(wanted.pods);
        workload.ready = ready;
        workload.wanted = wanted;
        self.sync_pods(&key).await;
        self.write_status(&key, |pods| Progress { pods, ready, settled: false }).await;
        self.due.insert((Instant::now() + self.delay, key));
    }

    /// The delay is over: what runs is ready.
    async fn settle(&mut self, key: &Key) {
        if !self.workloads.contains_key(key) {
            return;
        }
        self.sync_pods(key).await;
        let Some(workload) = self.workloads.get_mut(key) else { return };
        let running = if self.pods {
            workload.pods.values().filter(|it| it.slot.is_some()).count()
        } else {
            workload.wanted.pods
        };
        let ready = if workload.wanted.never_ready { 0 } else { running };
        workload.ready = ready;
        let all = running >= workload.wanted.pods;
        let over = workload.wanted.kind == Kind::Job && all && ready > 0;
        if over {
            self.finish_pods(key).await;
        }
        if !self.write_status(key, |pods| Progress { pods, ready, settled: true }).await {
            self.due.insert((Instant::now() + RETRY, key.clone()));
        }
    }

    /// Makes the pods that are missing, and takes those away that are too many or of an old template.
    async fn sync_pods(&mut self, key: &Key) {
        if !self.pods {
            return;
        }
        let Some(workload) = self.workloads.get_mut(key) else { return };
        let wanted = workload.wanted.clone();
        let names: BTreeSet<String> = (0..wanted.pods).map(|n| wanted.pod_name(n)).collect();
        let mut gone: Vec<String> =
            workload.pods.keys().filter(|it| !names.contains(*it)).cloned().collect();
        // One that waits is made again where there is room now: a pod's node cannot be set afterwards but by binding.
        let waiting: Vec<String> = workload
            .pods
            .iter()
            .filter(|(_, it)| it.slot.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        let needs = Needs::of(&wanted.template["spec"]);
        let mut released = Vec::new();
        for name in &gone {
            released.extend(workload.pods.remove(name));
        }
        let mut made = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let waits = waiting.contains(name);
            if workload.pods.contains_key(name) && !waits {
                continue;
            }
            let slot = match wanted.kind {
                Kind::DaemonSet => scheduler::place_on(&mut self.slots, n, needs),
                _ => scheduler::place(&mut self.slots, needs),
            };
            if waits && slot.is_none() {
                continue;
            }
            if waits {
                gone.push(name.clone());
            }
            workload.pods.insert(name.clone(), Placed { slot, needs });
            made.push((name.clone(), slot));
        }
        let freed = !released.is_empty();
        self.release(released.iter());
        self.delete_pods(&key.1, gone).await;
        let pods = Api::<Pod>::namespaced(self.client.clone(), &key.1);
        let creations = made.into_iter().map(|(name, slot)| {
            let node = slot.and_then(|it| self.slots.get(it)).map(|it| it.name.as_str());
            let pod = objects::pod(&wanted, &name, node);
            let status = objects::pod_status(&wanted, node.is_some(), false);
            let pods = pods.clone();
            async move {
                let result = create(&pods, &name, pod, status).await;
                if let Err(error) = result {
                    tracing::debug!(%error, pod = name, "not made");
                }
            }
        });
        stream::iter(creations).buffer_unordered(CONCURRENCY).collect::<()>().await;
        if freed {
            self.wake_waiting();
        }
    }

    async fn finish_pods(&mut self, key: &Key) {
        let Some(workload) = self.workloads.get_mut(key) else { return };
        let mut released = Vec::new();
        for placed in workload.pods.values_mut() {
            if let Some(slot) = placed.slot {
                released.push((slot, placed.needs));
            }
        }
        let status = objects::pod_status(&workload.wanted, true, true);
        let names: Vec<String> = workload.pods.keys().cloned().collect();
        // They stay as objects, and take no room any more.
        for placed in workload.pods.values_mut() {
            placed.needs = Needs::default();
        }
        for (slot, needs) in released {
            scheduler::release(&mut self.slots, slot, needs);
            let _ = scheduler::place_on(&mut self.slots, slot, Needs::default());
        }
        let pods = Api::<Pod>::namespaced(self.client.clone(), &key.1);
        for name in names {
            let patched =
                pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await;
            if let Err(error) = patched {
                tracing::debug!(%error, pod = name, "not finished");
            }
        }
    }

    fn release<'a>(&mut self, pods: impl Iterator<Item = &'a Placed>) {
        for placed in pods {
            if let Some(slot) = placed.slot {
                scheduler::release(&mut self.slots, slot, placed.needs);
            }
        }
    }

    async fn delete_pods(&self, namespace: &str, names: Vec<String>) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::background() };
        let deletions = names.into_iter().map(|name| {
            let (pods, at_once) = (pods.clone(), at_once.clone());
            async move {
                if let Err(error) = pods.delete(&name, &at_once).await {
                    tracing::debug!(%error, pod = name, "not deleted");
                }
            }
        });
        stream::iter(deletions).buffer_unordered(CONCURRENCY).collect::<()>().await;
    }

    /// Room was freed: whoever waits for some is looked at again.
    fn wake_waiting(&mut self) {
        let now = Instant::now();
        for (key, workload) in &self.workloads {
            if workload.pods.values().any(|it| it.slot.is_none()) {
                self.due.insert((now, key.clone()));
            }
        }
    }

    /// Says whether it was written.
    async fn write_status(&self, key: &Key, progress: impl FnOnce(usize) -> Progress) -> bool {
        let Some(workload) = self.workloads.get(key) else { return true };
        let pods = if self.pods { workload.pods.len() } else { workload.wanted.pods };
        let now = k8s_openapi::jiff::Timestamp::now();
        let now = now.round(k8s_openapi::jiff::Unit::Second).unwrap_or(now).to_string();
        let status: Value = objects::status(&workload.wanted, progress(pods), &now);
        let api =
            Api::<DynamicObject>::namespaced_with(self.client.clone(), &key.1, &resource(key.0));
        match api.patch_status(&key.2, &PatchParams::default(), &Patch::Merge(&status)).await {
            Ok(_) => true,
            // It is gone: so much the better.
            Err(kube::Error::Api(status)) if status.code == 404 => true,
            Err(error) => {
                tracing::debug!(%error, workload = key.2, "status not written");
                false
            }
        }
    }
}

async fn create(pods: &Api<Pod>, name: &str, pod: Value, status: Value) -> Result<(), kube::Error> {
    match pods.create(&PostParams::default(), &typed::<Pod>(pod)).await {
        Ok(_) => (),
        Err(kube::Error::Api(status)) if status.code == 409 => (),
        Err(error) => return Err(error),
    }
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.map(drop)
}
