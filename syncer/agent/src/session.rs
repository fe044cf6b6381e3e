//! One connection to one member: what is seen there, and whether it answers.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use federation_types::names::{Gvk, MANAGED_LABEL, ObjectKey};
use futures::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use providers_core::MemberClient;
use syncer_render::{
    Asked, Owner, SyncPlan, Writes, drift, health,
    marks::{self, RevisionMark},
};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

use crate::{
    context::Shared,
    follow,
    index::{NamespaceEntry, namespace_kind},
    kinds::{Kinds, Resource},
    live::LiveObject,
    queue::{Key, Queue},
    slot::{Seen, Slot},
};

mod following;
mod telling;

/// How far the cache of a kind's copies is.
#[derive(Clone, Debug)]
pub(crate) enum KindState {
    Starting,
    Synced(Arc<Resource>),
    /// The member does not serve it, and nothing follows it.
    Missing,
    /// It could not be listed, for a reason code and a message; its follower goes on trying.
    Denied(&'static str, String),
}

pub(crate) struct Session {
    pub(crate) cluster: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: MemberClient,
    pub(crate) queue: Arc<Queue>,
    pub(crate) slots: Mutex<HashMap<Key, Slot>>,
    pub(crate) kinds: Mutex<HashMap<Gvk, KindState>>,
    /// Namespaces that are known to be there, with what they were last seen to be on the hub.
    pub(crate) namespaces: Mutex<HashMap<String, Arc<NamespaceEntry>>>,
    served: Kinds,
    followers: Mutex<JoinSet<()>>,
    dark: AtomicBool,
    /// The first comparison is done: writes may begin.
    compared: AtomicBool,
    /// How often a copy came or went.
    turnover: AtomicU64,
    suspicion: Notify,
    settled: Notify,
    over: Notify,
}

/// Passes of one member at a time.
const IN_FLIGHT: usize = 32;
const PROBE: Duration = Duration::from_secs(5);

impl Session {
    pub(crate) fn new(
        cluster: &str,
        shared: &Arc<Shared>,
        client: MemberClient,
        queue: &Arc<Queue>,
    ) -> Arc<Self> {
        Arc::new(Self {
            cluster: cluster.to_owned(),
            shared: Arc::clone(shared),
            client,
            queue: Arc::clone(queue),
            slots: Mutex::default(),
            kinds: Mutex::default(),
            namespaces: Mutex::default(),
            served: Kinds::default(),
            followers: Mutex::new(JoinSet::new()),
            dark: AtomicBool::new(false),
            compared: AtomicBool::new(false),
            turnover: AtomicU64::new(0),
            suspicion: Notify::new(),
            settled: Notify::new(),
            over: Notify::new(),
        })
    }

    /// Compares what is there with what is wanted, and then works until the credentials end or the connection must be
    /// made anew.
    pub(crate) async fn run(self: &Arc<Self>) {
        let _followers = EndFollowers(Arc::clone(self));
        self.queue.pause(true);
        let keys = self.shared.index.read().of_cluster(&self.cluster);
        let mut kinds: HashSet<Gvk> = keys.iter().map(|it| it.gvk.clone()).collect();
        kinds.insert(namespace_kind());
        let first = async {
            for gvk in &kinds {
                self.ensure_kind(gvk).await;
            }
            while !kinds.iter().all(|gvk| self.is_settled(gvk)) {
                self.settled.notified().await;
            }
            self.compare_all(&keys);
            self.compared.store(true, Ordering::Relaxed);
            for key in keys {
                self.queue.push(key);
            }
            self.queue.pause(self.is_dark());
            tokio::join!(self.work(), self.sweep());
        };
        tokio::select! {
            () = first => (),
            () = self.watch_health() => (),
            () = self.over.notified() => (),
        }
        self.queue.pause(true);
    }

    /// Ends the session: the credentials or the connection must be renewed.
    pub(crate) fn end(&self) {
        self.over.notify_one();
    }

    /// Something went unanswered: looks whether the member is there at all.
    pub(crate) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    pub(crate) fn is_dark(&self) -> bool {
        self.dark.load(Ordering::Relaxed)
    }

    async fn work(self: &Arc<Self>) {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                key = self.queue.next(), if running.len() < IN_FLIGHT => {
                    running.push(async move {
                        let retry = self.pass(&key).await;
                        (key, retry)
                    });
                }
                Some((key, retry)) = running.next(), if !running.is_empty() => {
                    self.queue.done(&key);
                    if let Some(delay) = retry {
                        self.queue.push_after(key, delay);
                    }
                }
            }
        }
    }

    /// The circuit breaker: while the member does not answer nothing is sent, and its copies are shown as unreachable.
    async fn watch_health(self: &Arc<Self>) {
        loop {
            self.suspicion.notified().await;
            let mut pause = Duration::from_secs(1);
            loop {
                match timeout(PROBE, self.client.rest().apiserver_version()).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(kube::Error::Api(status))) if status.code == 401 => return self.end(),
                    // An answer of any other kind is an answer.
                    Ok(Err(kube::Error::Api(status))) if status.code < 500 => break,
                    Ok(Err(error)) => self.darken(&error.to_string()),
                    Err(_) => self.darken("no answer in time"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(15));
            }
            if self.dark.swap(false, Ordering::Relaxed) {
                tracing::info!(cluster = %self.cluster, "answers again");
                for key in self.shared.index.read().of_cluster(&self.cluster) {
                    self.queue.push(key);
                }
            }
            self.queue.pause(!self.compared.load(Ordering::Relaxed));
        }
    }

    fn darken(&self, why: &str) {
        if !self.dark.swap(true, Ordering::Relaxed) {
            tracing::warn!(cluster = %self.cluster, why, "does not answer");
            self.queue.pause(true);
        }
        self.shared.darken(&self.cluster, why);
    }

    /// Takes over what is seen of an object, and asks for a pass if it is not what the last pass left.
    pub(crate) fn observe(&self, gvk: &Gvk, live: &LiveObject) -> Key {
        let key = Arc::new(live.key(gvk));
        if let Some((seen, changed)) = self.assess(&key, live) {
            self.take_over(&key, seen, changed);
        }
        key
    }

    /// What a live object comes to, and whether its content is new; none if it is not ours or not newer than what is
    /// known.
    fn assess(&self, key: &Key, live: &LiveObject) -> Option<(Seen, bool)> {
        let owner =
            marks::owner(&self.shared.hub_uid, key, live.annotations(), live.has_controller());
        let Owner::Us { template } = owner else {
            self.vanished(key, None);
            return None;
        };
        let version = live.resource_version();
        let content = live.content_hash();
        let mark = marks::revision_mark(live.annotations()).unwrap_or_default();
        let known = {
            let slots = self.slots.lock();
            let known = slots.get(key).and_then(|it| it.seen.as_ref());
            if known.is_some_and(|it| version != 0 && it.version >= version && it.uid == live.uid())
            {
                return None;
            }
            known
                .filter(|it| it.uid == live.uid() && it.content == content)
                .map(|it| it.drift.clone())
        };
        let changed = known.is_none();
        let drift = known.unwrap_or_else(|| self.drift_of(key, &mark, live));
        let seen = Seen {
            uid: live.uid().to_owned(),
            version,
            template,
            mark,
            content,
            drift,
            terminating: live.is_terminating(),
            health: Arc::new(health::assess(&key.gvk, &live.value, &self.rules())),
            scaled_by: live.scaled_by.clone(),
            created_at: live.created_at,
        };
        Some((seen, changed))
    }

    fn take_over(&self, key: &Key, seen: Seen, changed: bool) {
        let due = {
            let mut slots = self.slots.lock();
            let slot = slots.entry(Arc::clone(key)).or_default();
            // Looked at again: the answer to a write and the watch tell of one object at the same time, and the older
            // word must not come last.
            let overtaken = slot.seen.as_ref().is_some_and(|it| {
                seen.version != 0 && it.uid == seen.uid && it.version >= seen.version
            });
            if overtaken {
                return;
            }
            let due = changed
                || slot.seen.as_ref().is_none_or(|it| {
                    it.terminating != seen.terminating || it.scaled_by != seen.scaled_by
                });
            slot.foreign = None;
            if slot.seen.replace(seen).is_none() {
                self.turnover.fetch_add(1, Ordering::Relaxed);
            }
            due
        };
        if self.compared.load(Ordering::Relaxed) {
            self.watch_for_newer(std::slice::from_ref(key));
        }
        self.report(key);
        if due {
            self.queue.push(Arc::clone(key));
        }
    }

    /// Stops writes into the member if any of these copies is of a later generation than the hub's store knows: the hub
    /// has lost data, and the rest of what it wants may be as old (RULES 4.3).
    pub(crate) fn watch_for_newer(&self, keys: &[Key]) {
        let mut newer: Vec<(Key, String)> = {
            let index = self.shared.index.read();
            let slots = self.slots.lock();
            let newer = keys.iter().filter_map(|key| {
                let seen = slots.get(key)?.seen.as_ref()?;
                let placement = index.placement(key)?;
                let template = &placement.spec.template;
                let asked = placement.asked();
                let is_newer = seen.template == template.uid
                    && seen.mark.is_newer_than(template.generation, Some(&asked));
                is_newer.then(|| {
                    (Arc::clone(key), newer_words(&seen.mark, template.generation, &asked))
                })
            });
            newer.collect()
        };
        newer.sort();
        let Some((key, what)) = newer.first() else { return };
        let more = match newer.len() {
            1 => String::new(),
            count => format!(", and {} more are newer", count - 1),
        };
        let why = format!(
            "{key}: {what}{more}; nothing is written there until `archipel cluster resume`"
        );
        let asked = self.shared.index.read().clusters.get(&self.cluster).and_then(|it| it.resume);
        if self.shared.pauses.pause(&self.cluster, &why, asked) {
            tracing::warn!(cluster = %self.cluster, why, "observed only");
        }
    }

    /// What may be written of that namespace.
    pub(crate) fn writes(&self, namespace: &str) -> Writes {
        if self.shared.pauses.is_paused(&self.cluster) {
            Writes::ObserveOnly
        } else if self.shared.index.read().is_frozen(&self.cluster, namespace) {
            Writes::Frozen
        } else if self.shared.pauses.is_resumed(&self.cluster) {
            Writes::Resumed
        } else {
            Writes::Allowed
        }
    }

    /// The copy is not seen any more. With a uid only that one, as another may have its name by now.
    pub(crate) fn vanished(&self, key: &Key, uid: Option<&str>) {
        {
            let mut slots = self.slots.lock();
            let Some(slot) = slots.get_mut(key) else { return };
            let Some(seen) = &slot.seen else { return };
            if uid.is_some_and(|it| it != seen.uid) {
                return;
            }
            slot.seen = None;
            self.turnover.fetch_add(1, Ordering::Relaxed);
        }
        if key.gvk == namespace_kind() {
            self.namespaces.lock().remove(key.name.as_str());
        }
        self.queue.push(Arc::clone(key));
    }

    /// Fields of the manifest that the mark names which the live object holds otherwise, less those that the member was
    /// seen not to keep. A mark that is not the wanted one is written anew anyway.
    fn drift_of(&self, key: &Key, mark: &RevisionMark, live: &LiveObject) -> Vec<String> {
        let Some(wanted) = self.wanted_manifest(key, live.scaled_by.is_some()) else {
            return Vec::new();
        };
        if wanted.manifest.mark.digest != mark.digest {
            return Vec::new();
        }
        let mut found = drift::differences(&wanted.manifest.object, &live.value);
        if let Some(slot) = self.slots.lock().get(key) {
            found.retain(|it| !slot.not_kept.contains(it));
        }
        found
    }

    /// Compares everything before anything is written (RULES 1.7).
    fn compare_all(self: &Arc<Self>, keys: &[Key]) {
        let now = self.shared.now();
        let wanted = keys
            .iter()
            .filter_map(|key| Some((ObjectKey::clone(key), self.wanted(key)?)))
            .collect();
        let observed = {
            let slots = self.slots.lock();
            slots.iter().map(|(key, slot)| (ObjectKey::clone(key), slot.standing(now))).collect()
        };
        let seen: Vec<Key> = self.slots.lock().keys().cloned().collect();
        self.watch_for_newer(&seen);
        let plan = SyncPlan::between(&wanted, &observed, |key| self.writes(&key.namespace));
        tracing::info!(
            cluster = %self.cluster,
            copies = observed.len(),
            wanted = wanted.len(),
            steps = plan.steps.len(),
            rewrites = plan.rewrites(),
            "compared"
        );
        tracing::debug!(cluster = %self.cluster, "plan\n{plan}");
    }

    /// Looks once for copies of kinds that no Placement names here: a hub that lost data would not know of them
    /// (RULES 4.3). A kind with such copies is followed from then on.
    async fn sweep(self: &Arc<Self>) {
        let entry = self.shared.index.read().clusters.get(&self.cluster).cloned();
        let apis = entry.map(|it| it.apis.clone()).unwrap_or_default();
        for api in apis.iter() {
            let Some((version, kind)) = api.rsplit_once('/') else { continue };
            let gvk = Gvk::new(version, kind);
            if self.kinds.lock().contains_key(&gvk) {
                continue;
            }
            let Ok(Some(resource)) = self.served.find(self.client.rest(), &gvk).await else {
                continue;
            };
            match follow::any(self.client.rest(), &resource.all(), MANAGED_LABEL).await {
                Ok(true) => drop(self.ensure_kind(&gvk).await),
                Ok(false) => (),
                Err(error) => tracing::debug!(cluster = %self.cluster, %gvk, %error, "not swept"),
            }
        }
    }

    /// How often a copy came or went; none before what is there was counted once.
    pub(crate) fn turnover(&self) -> Option<u64> {
        let counted = self.compared.load(Ordering::Relaxed);
        counted.then(|| self.turnover.load(Ordering::Relaxed))
    }

    /// How many copies this hub holds here, and which of them nobody knows of.
    pub(crate) fn census(&self) -> (i64, Vec<String>) {
        let index = self.shared.index.read();
        let slots = self.slots.lock();
        let mut unknown = Vec::new();
        let mut copies = 0;
        for (key, slot) in slots.iter().filter(|(_, slot)| slot.seen.is_some()) {
            copies += 1;
            let entry = index.placement(key);
            let placed = entry.is_some_and(|it| it.clusters().any(|name| name == self.cluster));
            // A namespace comes with its first copy and needs no Placement of its own; it stays when the copies go, and
            // goes after the hub's own.
            let carried = key.gvk == namespace_kind()
                && (index.namespace(&key.name).is_some() || self.is_retiring(&index, key, slot));
            if !placed && !carried {
                unknown.push(key.to_string());
            }
        }
        unknown.sort();
        unknown.truncate(100);
        (copies, unknown)
    }
}

fn newer_words(mark: &RevisionMark, template: i64, asked: &Asked) -> String {
    match &mark.asked {
        Some(there) if mark.generation <= template => format!(
            "the cluster holds what its Placement asked for at generation {}, the hub's store has generation {}",
            there.generation, asked.generation
        ),
        _ => format!(
            "the cluster holds generation {}, the hub's store generation {template}",
            mark.generation
        ),
    }
}

/// Followers hold the session: they end when its run does, however it ends.
struct EndFollowers(Arc<Session>);

impl Drop for EndFollowers {
    fn drop(&mut self) {
        self.0.followers.lock().abort_all();
    }
}

#[cfg(test)]
mod tests;
