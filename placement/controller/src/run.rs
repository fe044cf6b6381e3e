//! The loop: whatever is dirty is decided one by one, and written many at a time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use federation_types::{
    names::{Gvk, ObjectKey},
    overrides::OverrideStatus,
    policy::PolicyStatus,
    price::PriceBookSpec,
    rollout::Rollout,
    status_rule::StatusRuleStatus,
};
use kube::{Client, api::ApiResource};
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    bootstrap, budget_status, clock,
    context::Context,
    cost_status,
    decide::{self, Pass},
    events::Events,
    farewell, feed,
    index::{Index, Placed, Template, version},
    kinds::Kinds,
    metrics::Metrics,
    override_status, policy_status,
    queue::Queue,
    release::RolloutWrite,
    snapshot::Snapshots,
    spending,
    status::Statuses,
    status_rule,
    write::{self, About, Home, Write, WriteError, Written},
};

/// Writes under way at once: enough to fill group commits, few enough to bound memory.
const WRITES: usize = 128;
/// How often what depends on time is looked at: dark clusters, windows of the gate, kinds that are not served yet.
const TICK: Duration = Duration::from_secs(1);
/// At most one part in so many of the time goes into following what is free.
const REST: u32 = 20;
/// What follows what follows, so many times over, is decided with its user; what comes after that in its turn, so that no
/// chain of templates is too long.
const NESTED: u32 = 8;

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
    kind: &'static str,
    /// Removals that the gate counted for it.
    counted: i64,
    result: Result<(Option<Rollout>, Option<Written>), WriteError>,
}

pub(crate) async fn run(
    client: Client,
    index: Arc<Mutex<Index>>,
    metrics: Arc<Metrics>,
    sample: PriceBookSpec,
) -> Result<(), RunError> {
    bootstrap::ensure(&client, sample).await.map_err(RunError::Bootstrap)?;
    let context = Context::new(client, index);
    let mut feeds = JoinSet::new();
    feed::spawn(&context, &mut feeds);
    let mut decider = Decider {
        context: Arc::clone(&context),
        metrics,
        kinds: Kinds::default(),
        snapshots: Snapshots::resting(REST),
        queue: Queue::default(),
        writes: JoinSet::new(),
        writing: BTreeSet::new(),
        again: BTreeSet::new(),
        events: Events::default(),
        policies: Statuses::default(),
        overrides: Statuses::default(),
        rules: Statuses::default(),
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let rested = decider.queue.next_rested();
        tokio::select! {
            () = context.wake.notified() => (),
            () = sleep_until(rested.unwrap_or_else(Instant::now)), if rested.is_some() => {
                decider.on_rested();
            }
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
    metrics: Arc<Metrics>,
    kinds: Kinds,
    snapshots: Snapshots,
    queue: Queue,
    writes: JoinSet<Done>,
    writing: BTreeSet<ObjectKey>,
    /// Became dirty while a write was under way.
    again: BTreeSet<ObjectKey>,
    events: Events,
    policies: Statuses<PolicyStatus>,
    overrides: Statuses<OverrideStatus>,
    rules: Statuses<StatusRuleStatus>,
}

impl Decider {
    fn on_rested(&mut self) {
        let rested = self.queue.rested(Instant::now());
        self.context.index.lock().dirty.extend(rested);
    }

    async fn on_tick(&mut self) {
        self.kinds.reconcile(&self.context, true).await;
        {
            let mut index = self.context.index.lock();
            let now = clock::now();
            index.touch_lost(now);
            index.touch_taints(now);
            index.touch_returning(now);
            index.touch_over_budget(now);
            index.touch_settling(now);
            index.expire_scores(now);
            index.touch_rollouts(now);
            if std::mem::take(&mut index.policies_changed) {
                self.policies.mark();
                self.overrides.mark();
                self.rules.mark();
            }
            if self.snapshots.is_stale(&index) {
                index.touch_waiting();
            }
            spending::catch_up(&mut index, &mut self.snapshots, now);
            self.metrics.rollouts(&index.rollout_states());
            self.metrics.spending(&index.spending.budgets);
            self.metrics.stand(&index.outcomes, index.copies, index.leaving, self.queue.len());
        }
        self.events.tidy();
        self.events.write(&self.context.client);
        policy_status::write(&self.context, &mut self.policies).await;
        override_status::write(&self.context, &mut self.overrides).await;
        status_rule::write(&self.context, &self.metrics, &mut self.rules).await;
        budget_status::write(&self.context).await;
        cost_status::write(&self.context).await;
        farewell::release(&self.context).await;
    }

    fn on_done(&mut self, done: Done) {
        let Done { key, kind, counted, result } = done;
        self.writing.remove(&key);
        self.metrics.wrote(kind, result.is_ok());
        self.policies.mark();
        self.overrides.mark();
        self.rules.mark();
        let mut index = self.context.index.lock();
        index.in_flight.remove(&key);
        if self.again.remove(&key) {
            index.dirty.insert(key.clone());
        }
        match result {
            Ok((rollout, written)) => {
                self.queue.well(&key);
                if let Some(rollout) = rollout {
                    index.wrote_rollout(rollout);
                }
                if let Some(written) = written {
                    settle(&mut index, &key, written);
                }
            }
            Err(error) => {
                // The removals were not carried out, and the room is free again.
                index.give_back(counted);
                index.gave_back();
                let wait = self.queue.failed(&key, Instant::now());
                let chain = Chain(&error).to_string();
                if error.is_conflict() {
                    // Somebody wrote in between, the syncer's status above all: it is decided once more.
                    tracing::debug!(template = %key, error = chain, retry_in = ?wait, "not written");
                } else {
                    tracing::warn!(template = %key, error = chain, retry_in = ?wait, "not written");
                }
            }
        }
        index.announced(&key);
    }

    /// Decides whatever is dirty, as far as writes have room.
    async fn pass_over_all(&mut self) {
        self.kinds.reconcile(&self.context, false).await;
        self.take_in();
        while self.writes.len() < WRITES
            && let Some(key) = self.queue.pop()
        {
            if self.writing.contains(&key) {
                self.again.insert(key);
                continue;
            }
            drop(self.pass(key, 0));
        }
    }

    fn take_in(&mut self) {
        let mut index = self.context.index.lock();
        let dirty = index.take_dirty();
        if dirty.is_empty() {
            return;
        }
        self.policies.mark();
        self.overrides.mark();
        self.rules.mark();
        for key in dirty {
            let rank = index.rank(&key);
            self.queue.push(key, rank);
        }
    }

    /// Decides for one template, and writes what came of it. What it returns ends with the write. `depth`: so many
    /// templates are decided around it that it follows.
    fn pass(&mut self, key: ObjectKey, depth: u32) -> Option<Ended> {
        let (pass, template, standing) = {
            let mut index = self.context.index.lock();
            let pass = decide::pass(&mut index, &mut self.snapshots, &key, clock::now());
            (pass, index.templates.get(&key).cloned(), index.placements.get(&key).cloned())
        };
        let Pass { write, events, stale_revisions, counted, hold, approval, refused, .. } = pass;
        let rollout = pass.rollout;
        if let Some(approval) = approval {
            tracing::info!(template = %key, approval, "moves by an approval");
        }
        if let Some(refusal) = refused {
            tracing::info!(template = %key, why = refusal.text(), "an approved move is not made");
        }
        self.metrics.passed(hold);
        for event in events {
            tracing::info!(template = %key, reason = event.reason, "{}", event.message);
            if let Some(template) = &template {
                self.events.say(&key, &template.api_version, &template.uid, &event);
            }
        }
        if write.is_none() && rollout.is_none() {
            self.queue.well(&key);
            return None;
        }
        let kind = (key.gvk.group.clone(), key.gvk.kind.clone());
        let resource = self.kinds.resource(&kind).cloned();
        let resource = resource.or_else(|| standing.as_deref().map(named))?;
        self.writing.insert(key.clone());
        let first = self.take_along(&key, write.as_ref(), depth);
        let job =
            Job { resource, template, standing, rollout, write, stale_revisions, counted, first };
        Some(self.spawn(key, job))
    }

    /// What follows a template is decided before its Placement is written, and written before it (RULES 4.7).
    fn take_along(&mut self, key: &ObjectKey, write: Option<&Write>, depth: u32) -> Vec<Ended> {
        let Some(Write::Place { spec, .. }) = write else { return Vec::new() };
        let mut first = Vec::new();
        let followers = {
            let mut index = self.context.index.lock();
            let followers = index.announce(key, spec);
            if depth == NESTED {
                index.dirty.extend(followers);
                return first;
            }
            followers
        };
        for it in followers {
            if self.writing.contains(&it) {
                self.again.insert(it);
            } else {
                first.extend(self.pass(it, depth + 1));
            }
        }
        first
    }

    fn spawn(&mut self, key: ObjectKey, job: Job) -> Ended {
        let client = self.context.client.clone();
        let kind = job.write.as_ref().map_or("rollout", Write::kind);
        if let Some(Write::Place { spec, .. }) = &job.write {
            let replicas = spec.clusters.iter().map(|it| (it.name.clone(), it.replicas));
            self.context.index.lock().in_flight.insert(key.clone(), replicas.collect());
        }
        let (end, ended) = oneshot::channel();
        self.writes.spawn(async move {
            let Job {
                resource,
                template,
                standing,
                rollout,
                write,
                stale_revisions,
                counted,
                first,
            } = job;
            for it in first {
                // However it ended: what it needs is waited for, and does not hold it up.
                drop(it.await);
            }
            let home = Home::new(&key, resource);
            let about = About { template: template.as_deref(), standing: standing.as_deref() };
            let result = write::execute(&client, &home, &about, rollout, write).await;
            if result.is_ok() {
                write::drop_revisions(&client, &home, &stale_revisions).await;
            }
            drop(end);
            Done { key, kind, counted, result }
        });
        ended
    }
}

/// Is told when a write has ended, well or not.
type Ended = oneshot::Receiver<()>;

/// A write with all that it needs.
struct Job {
    resource: ApiResource,
    template: Option<Arc<Template>>,
    standing: Option<Arc<Placed>>,
    rollout: Option<Box<RolloutWrite>>,
    write: Option<Write>,
    stale_revisions: Vec<String>,
    counted: i64,
    /// Writes that go before it.
    first: Vec<Ended>,
}

/// A kind that the hub does not serve (any more), as far as its Placements go.
fn named(placed: &Placed) -> ApiResource {
    let reference = &placed.spec.template;
    let gvk = Gvk::new(&reference.api_version, &reference.kind);
    ApiResource::from_gvk_with_plural(&(&gvk).into(), &gvk.kind.to_lowercase())
}

/// Tells the index what was written, so that the next pass does not decide on what it already changed.
fn settle(index: &mut Index, key: &ObjectKey, written: Written) {
    match written {
        Written::Placed { placed, revision } => {
            if let Some(revision) = revision {
                // It was written just before the Placement; its own version comes with its watch.
                let since = version(&placed.resource_version);
                index.set_revision(&key.namespace, &revision, Some(since));
            }
            index.wrote_placement(key, *placed);
        }
        Written::Released => (),
        Written::Forgotten { revisions } => {
            for revision in revisions {
                index.set_revision(&key.namespace, &revision, None);
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

#[cfg(test)]
mod tests {
    use federation_types::{
        placement::{PlacementSpec, TemplateRef},
        status_rule::StatusRule,
    };
    use kube::client::Body;
    use serde_json::json;
    use tower::service_fn;

    use super::*;
    use crate::tests::world::{World, key};

    const CHAIN: usize = 5_000;

    fn link(at: usize) -> ObjectKey {
        key(&format!("Engine/e{at:04}"))
    }

    /// Engines of which each needs the next, the first of them placed by a policy.
    fn chain() -> World {
        let mut world = World::new("a eks");
        world.synced("example.org", "Engine");
        let next = "[{'apiVersion': 'example.org/v1', 'kind': 'Engine', 'name': object.spec.next}]";
        let spec = json!({"target": {"apiVersion": "example.org/v1", "kind": "Engine"},
                          "dependencies": next});
        let rule = StatusRule::new("engines", serde_json::from_value(spec).unwrap());
        world.index.set_status_rule("engines", Some(rule));
        for at in 0..CHAIN {
            let (own, next) = (link(at), link(at + 1));
            let object = json!({"apiVersion": "example.org/v1", "kind": "Engine",
                                "metadata": {"namespace": "shop", "name": own.name},
                                "spec": {"next": next.name}});
            world.store(&own, &object, "uid-1");
            // By it the kind is known without a hub that serves it.
            let template = TemplateRef {
                api_version: "example.org/v1".into(),
                kind: "Engine".into(),
                name: own.name.to_string(),
                ..TemplateRef::default()
            };
            let placed = Placed {
                name: format!("engine-{}", own.name),
                uid: String::new(),
                generation: 1,
                resource_version: "1".into(),
                spec: PlacementSpec { template, ..PlacementSpec::default() },
                status: Default::default(),
            };
            world.index.set_placement(own, Some(placed));
        }
        world.policy(
            "engines",
            json!({"dependencies": "Follow", "selectors": [
                {"apiVersion": "example.org/v1", "kind": "Engine", "name": "e0000"}]}),
        );
        world.index.dirty.clear();
        world
    }

    #[tokio::test]
    async fn a_long_chain_of_what_follows_is_decided_in_parts() {
        let nowhere = service_fn(|_: http::Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, std::io::Error>>()
        });
        let index = Arc::new(Mutex::new(chain().index));
        let context = Context::new(Client::new(nowhere, "shop"), Arc::clone(&index));
        let mut decider = Decider {
            context,
            metrics: Arc::default(),
            kinds: Kinds::default(),
            snapshots: Snapshots::resting(REST),
            queue: Queue::default(),
            writes: JoinSet::new(),
            writing: BTreeSet::new(),
            again: BTreeSet::new(),
            events: Events::default(),
            policies: Statuses::default(),
            overrides: Statuses::default(),
            rules: Statuses::default(),
        };
        index.lock().dirty.insert(link(0));
        let mut parts = 0;
        loop {
            let before = decider.writing.len();
            decider.take_in();
            let Some(next) = decider.queue.pop() else { break };
            drop(decider.pass(next, 0));
            let more = decider.writing.len() - before;
            assert!(more <= 1 + NESTED as usize, "{more} at once");
            parts += usize::from(more > 0);
        }
        assert_eq!(decider.writing.len(), CHAIN);
        assert_eq!(parts, CHAIN.div_ceil(1 + NESTED as usize));
    }
}
