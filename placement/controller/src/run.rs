//! The loop: whatever is dirty is decided one by one, and written many at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use federation_types::{names::ObjectKey, price::PriceBookSpec};
use kube::{Client, api::ApiResource};
use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    bootstrap, budget_status,
    context::Context,
    decide::{self, Pass},
    farewell, feed,
    index::{Index, Placed, Template},
    kinds::Kinds,
    policy_status::PolicyStatuses,
    snapshot::Snapshots,
    write::{self, Home, Write, WriteError, Written},
};

/// Writes under way at once: enough to fill group commits, few enough to bound memory.
const WRITES: usize = 128;
/// How often what depends on time is looked at: dark clusters, windows of the gate, kinds that are not served yet.
const TICK: Duration = Duration::from_secs(2);
/// The first and the longest wait before a failed write is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the objects of a first start could not be made")]
    Bootstrap(#[source] kube::Error),
    #[error("a watch ended by itself")]
    WatchEnded,
}

/// What a finished write brings home.
struct Done {
    key: ObjectKey,
    result: Result<Written, WriteError>,
}

pub(crate) async fn run(
    client: Client,
    index: Arc<Mutex<Index>>,
    sample: PriceBookSpec,
) -> Result<(), RunError> {
    bootstrap::ensure(&client, sample).await.map_err(RunError::Bootstrap)?;
    let context = Context::new(client, index);
    let mut feeds = JoinSet::new();
    feed::spawn(&context, &mut feeds);
    let mut decider = Decider {
        context: Arc::clone(&context),
        kinds: Kinds::default(),
        snapshots: Snapshots::default(),
        writes: JoinSet::new(),
        writing: BTreeSet::new(),
        again: BTreeSet::new(),
        failing: BTreeMap::new(),
        statuses: PolicyStatuses::default(),
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = context.wake.notified() => (),
            _ = tick.tick() => decider.on_tick().await,
            Some(done) = decider.writes.join_next() => {
                // A write that panicked is a bug: it must not look like a quiet one.
                decider.on_done(done.expect("a write does not panic"));
            }
            _ = feeds.join_next() => return Err(RunError::WatchEnded),
        }
        if context.is_synced() {
            decider.pass_over_all().await;
        }
    }
}

struct Decider {
    context: Arc<Context>,
    kinds: Kinds,
    snapshots: Snapshots,
    writes: JoinSet<Done>,
    writing: BTreeSet<ObjectKey>,
    /// Became dirty while a write was under way.
    again: BTreeSet<ObjectKey>,
    /// Until when a failed key rests, and how long it rested last.
    failing: BTreeMap<ObjectKey, (Instant, Duration)>,
    statuses: PolicyStatuses,
}

impl Decider {
    async fn on_tick(&mut self) {
        self.kinds.reconcile(&self.context, true).await;
        let now = Instant::now();
        let rested: Vec<ObjectKey> =
            self.failing.iter().filter(|(_, it)| it.0 <= now).map(|(key, _)| key.clone()).collect();
        {
            let mut index = self.context.index.lock();
            index.dirty.extend(rested);
            if self.snapshots.time_matters(&index) {
                index.touch_waiting();
            }
            decide::touch_failing_over(&mut index);
        }
        self.statuses.write(&self.context).await;
        budget_status::write(&self.context).await;
        farewell::release(&self.context).await;
    }

    fn on_done(&mut self, done: Done) {
        let Done { key, result } = done;
        self.writing.remove(&key);
        let mut index = self.context.index.lock();
        if self.again.remove(&key) {
            index.dirty.insert(key.clone());
        }
        match result {
            Ok(written) => {
                self.failing.remove(&key);
                settle(&mut index, &key, written);
            }
            Err(error) => {
                let last = self.failing.get(&key).map_or(Duration::ZERO, |it| it.1);
                let wait = (last * 2).clamp(BACKOFF.0, BACKOFF.1);
                let chain = Chain(&error).to_string();
                tracing::warn!(template = %key, error = chain, retry_in = ?wait, "not written");
                self.failing.insert(key.clone(), (Instant::now() + wait, wait));
                let context = Arc::clone(&self.context);
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    context.index.lock().dirty.insert(key);
                    context.wake.notify_one();
                });
            }
        }
    }

    /// Decides whatever is dirty, as far as writes have room.
    async fn pass_over_all(&mut self) {
        self.kinds.reconcile(&self.context, false).await;
        let dirty = std::mem::take(&mut self.context.index.lock().dirty);
        if dirty.is_empty() {
            return;
        }
        self.statuses.mark();
        let mut later = BTreeSet::new();
        for key in self.in_order(dirty) {
            if self.writing.contains(&key) {
                self.again.insert(key);
                continue;
            }
            if self.writes.len() >= WRITES {
                later.insert(key);
                continue;
            }
            if self.failing.get(&key).is_some_and(|it| it.0 > Instant::now()) {
                continue;
            }
            let kind = (key.gvk.group.clone(), key.gvk.kind.clone());
            let Some(resource) = self.kinds.resource(&kind).cloned() else {
                continue;
            };
            self.pass(key, resource);
        }
        if !later.is_empty() {
            self.context.index.lock().dirty.extend(later);
        }
    }

    /// The higher priority first: where room is short, it is served first.
    fn in_order(&self, dirty: BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
        let index = self.context.index.lock();
        let mut keyed: Vec<(i64, ObjectKey)> = dirty
            .into_iter()
            .map(|key| {
                let priority = index
                    .templates
                    .get(&key)
                    .and_then(|template| index.claim(&key, template).winner)
                    .map_or(i64::MAX, |it| -i64::from(it.spec.priority));
                (priority, key)
            })
            .collect();
        keyed.sort();
        keyed.into_iter().map(|(_, key)| key).collect()
    }

    fn pass(&mut self, key: ObjectKey, resource: ApiResource) {
        let (pass, template, standing) = {
            let mut index = self.context.index.lock();
            let pass = decide::pass(&mut index, &mut self.snapshots, &key);
            (pass, index.templates.get(&key).cloned(), index.placements.get(&key).cloned())
        };
        let Pass { write, events, stale_revisions } = pass;
        for event in events {
            tracing::info!(template = %key, reason = event.reason, "{}", event.message);
        }
        let Some(write) = write else { return };
        self.spawn(key, resource, template, standing, write, stale_revisions);
    }

    fn spawn(
        &mut self,
        key: ObjectKey,
        resource: ApiResource,
        template: Option<Arc<Template>>,
        standing: Option<Arc<Placed>>,
        write: Write,
        stale_revisions: Vec<String>,
    ) {
        let client = self.context.client.clone();
        self.writing.insert(key.clone());
        self.writes.spawn(async move {
            let home = Home::new(&key, resource);
            let result =
                write::execute(&client, &home, template.as_deref(), standing.as_deref(), write).await;
            if result.is_ok() {
                write::drop_revisions(&client, &home, &stale_revisions).await;
            }
            Done { key, result }
        });
    }
}

/// Tells the index what was written, so that the next pass does not decide on what it already changed.
fn settle(index: &mut Index, key: &ObjectKey, written: Written) {
    match written {
        Written::Placed { placed, revision } => {
            if let Some(revision) = revision {
                index.set_revision(&key.namespace, &revision, true);
            }
            index.set_placement(key.clone(), Some(*placed));
        }
        Written::Released => (),
        Written::Forgotten { revisions } => {
            for revision in revisions {
                index.set_revision(&key.namespace, &revision, false);
            }
            index.set_placement(key.clone(), None);
        }
    }
}

/// An error with its causes, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(it) = cause {
            write!(f, ": {it}")?;
            cause = it.source();
        }
        Ok(())
    }
}
