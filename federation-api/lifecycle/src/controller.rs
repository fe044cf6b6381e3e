//! The loop: changes in, work out.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::SystemTime,
};

use futures::{
    StreamExt as _,
    future::{AbortHandle, Abortable, BoxFuture},
    stream::{BoxStream, FuturesUnordered, SelectAll},
};
use k8s_openapi::api::core::v1::Event as CoreEvent;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Preconditions},
    core::{ApiResource, PartialObjectMeta},
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::time::Instant;

use crate::{
    LifecycleError, Options,
    expiry::{Expired, Expiry},
    garbage::{self, OwnerTarget, Target},
    graph::{FOREGROUND, Graph, KindId, Look, Owner, Place},
    kinds::{self, Kind, Kinds},
    namespaces::{self, DEFAULT_ACCOUNT, Emptied, ROOT_CA},
    queue::Queue,
};

/// How much is worked on at once.
const CONCURRENCY: usize = 16;
/// How often expired events are looked for.
const EXPIRY_LOOK: std::time::Duration = std::time::Duration::from_secs(30);
/// A changed CRD is served a moment later, and many change together.
const DISCOVERY_DELAY: std::time::Duration = std::time::Duration::from_millis(200);

type Change = (KindId, watcher::Result<watcher::Event<PartialObjectMeta<DynamicObject>>>);

/// A thing to work on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Work {
    Look(Look),
    /// Give a namespace what every namespace has.
    Furnish(Box<str>),
    /// Empty a namespace that is being deleted.
    Empty(Box<str>),
    Expire(Expired),
    Discover,
}

/// What came of it.
enum Outcome {
    Done,
    Retry,
    Served(Vec<Kind>),
}

pub(crate) struct Controller {
    client: Client,
    options: Arc<Options>,
    kinds: Kinds,
    resources: HashMap<KindId, Arc<ApiResource>>,
    graph: Graph,
    expiry: Expiry,
    queue: Queue<Work>,
    watches: SelectAll<BoxStream<'static, Change>>,
    aborts: HashMap<KindId, AbortHandle>,
    /// Namespaces that are being deleted.
    terminating: BTreeSet<Box<str>>,
    /// Kinds whose first list is not complete. While there are some, no owner is let go: dependents may be unseen.
    unlisted: BTreeSet<KindId>,
    working: FuturesUnordered<BoxFuture<'static, (Work, Outcome)>>,
}

impl Controller {
    pub(crate) fn new(client: Client, options: Options) -> Self {
        Self {
            client,
            options: Arc::new(options),
            kinds: Kinds::default(),
            resources: HashMap::new(),
            graph: Graph::default(),
            expiry: Expiry::default(),
            queue: Queue::default(),
            watches: SelectAll::new(),
            aborts: HashMap::new(),
            terminating: BTreeSet::new(),
            unlisted: BTreeSet::new(),
            working: FuturesUnordered::new(),
        }
    }

    pub(crate) async fn run(mut self, served: &[Kind]) -> Result<(), LifecycleError> {
        self.serve(served);
        let mut expiry_look = tokio::time::interval(EXPIRY_LOOK);
        let mut discovery = tokio::time::interval(self.options.discover_every);
        discovery.reset();
        loop {
            self.start_work();
            let due = self.queue.next_due();
            tokio::select! {
                Some((kind, change)) = self.watches.next() => self.changed(kind, change),
                Some((work, outcome)) = self.working.next() => self.finished(work, &outcome),
                () = until(due) => {}
                _ = expiry_look.tick() => self.expire(),
                _ = discovery.tick() => self.queue.add(Work::Discover),
            }
        }
    }

    /// Watches what is served now and stops watching what is not.
    fn serve(&mut self, served: &[Kind]) {
        let changed = self.kinds.update(served);
        for id in changed.removed {
            if let Some(abort) = self.aborts.remove(&id) {
                abort.abort();
            }
            self.resources.remove(&id);
            self.unlisted.remove(&id);
            self.graph.forget(id);
        }
        for id in changed.added {
            let Some(kind) = self.kinds.get(id) else { continue };
            tracing::debug!(kind = kind.resource.kind, group = kind.resource.group, "watching");
            let api: Api<PartialObjectMeta<DynamicObject>> =
                Api::all_with(self.client.clone(), &kind.resource);
            let (abort, registration) = AbortHandle::new_pair();
            let watch = watcher(api, watcher::Config::default())
                .default_backoff()
                .map(move |change| (id, change));
            self.watches.push(Abortable::new(watch, registration).boxed());
            self.aborts.insert(id, abort);
            self.resources.insert(id, Arc::new(kind.resource.clone()));
            self.unlisted.insert(id);
        }
    }

    fn changed(
        &mut self,
        id: KindId,
        change: watcher::Result<watcher::Event<PartialObjectMeta<DynamicObject>>>,
    ) {
        let Some(kind) = self.kinds.get(id).cloned() else { return };
        let looks = match change {
            Ok(watcher::Event::Init) => {
                self.graph.begin(id);
                Vec::new()
            }
            Ok(watcher::Event::InitApply(object)) => self.applied(id, &kind, &object, true),
            Ok(watcher::Event::Apply(object)) => self.applied(id, &kind, &object, false),
            Ok(watcher::Event::InitDone) => {
                self.expire();
                let mut looks = self.graph.complete(id);
                if self.unlisted.remove(&id) && self.unlisted.is_empty() {
                    tracing::debug!("every kind is listed");
                    looks.extend(self.graph.unowned());
                }
                looks
            }
            Ok(watcher::Event::Delete(object)) => {
                self.deleted(&kind, &object);
                self.graph.delete(&object.metadata)
            }
            Err(error) => {
                tracing::debug!(kind = kind.resource.kind, %error, "a watch failed");
                // Its kind may not be served any more.
                self.queue.add_after(Work::Discover, DISCOVERY_DELAY);
                Vec::new()
            }
        };
        for look in looks {
            // Before everything is listed an owner may just not have been seen yet; afterwards all is looked at.
            let early = !self.unlisted.is_empty() && matches!(look, Look::Dependent(_));
            if !early {
                self.queue.add(Work::Look(look));
            }
        }
    }

    fn applied(
        &mut self,
        id: KindId,
        kind: &Kind,
        object: &PartialObjectMeta<DynamicObject>,
        listed: bool,
    ) -> Vec<Look> {
        let meta = &object.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        if kind.is("", "namespaces") {
            if meta.deletion_timestamp.is_some() {
                self.terminating.insert(name.into());
                self.queue.add(Work::Empty(name.into()));
            } else {
                self.queue.add(Work::Furnish(name.into()));
            }
        } else if kind.is("", "events") {
            self.expiry.apply(meta, listed, SystemTime::now());
        } else if !listed {
            if kind.is("", "configmaps") && name == ROOT_CA {
                let namespace = meta.namespace.as_deref().unwrap_or_default();
                self.queue.add(Work::Furnish(namespace.into()));
            } else if brings_kinds(kind) {
                self.queue.add_after(Work::Discover, DISCOVERY_DELAY);
            }
        }
        self.graph.apply(id, meta)
    }

    fn deleted(&mut self, kind: &Kind, object: &PartialObjectMeta<DynamicObject>) {
        let meta = &object.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        if kind.is("", "namespaces") {
            self.terminating.remove(name);
        }
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        if self.terminating.contains(namespace) {
            // It may have been the last one there.
            self.queue.add(Work::Empty(namespace.into()));
            self.expiry.remove(meta);
            return;
        }
        let furniture = kind.is("", "configmaps") && name == ROOT_CA
            || kind.is("", "serviceaccounts") && name == DEFAULT_ACCOUNT;
        if furniture {
            self.queue.add(Work::Furnish(namespace.into()));
        } else if kind.is("", "events") {
            self.expiry.remove(meta);
        } else if brings_kinds(kind) {
            self.queue.add_after(Work::Discover, DISCOVERY_DELAY);
        }
    }

    fn expire(&mut self) {
        while let Some(expired) = self.expiry.take(SystemTime::now()) {
            self.queue.add(Work::Expire(expired));
        }
    }

    fn start_work(&mut self) {
        while self.working.len() < CONCURRENCY {
            let Some(work) = self.queue.take() else { return };
            let task = self.task(&work);
            self.working.push(Box::pin(async move {
                let outcome = task.await.unwrap_or_else(|error| {
                    tracing::debug!(?work, %error, "to be tried again");
                    Outcome::Retry
                });
                (work, outcome)
            }));
        }
    }

    fn finished(&mut self, work: Work, outcome: &Outcome) {
        if let Outcome::Served(served) = outcome {
            self.serve(served);
        }
        self.queue.finish(work, matches!(outcome, Outcome::Retry));
    }

    /// Everything that the work needs is taken out of the state here; it holds no reference to it.
    fn task(&self, work: &Work) -> BoxFuture<'static, Result<Outcome, kube::Error>> {
        let client = self.client.clone();
        match work {
            Work::Look(Look::Dependent(uid)) => {
                let Some((place, owners)) = self.graph.dependent(*uid) else { return done() };
                let Some(target) = self.target(place) else { return done() };
                let owners: Vec<OwnerTarget> =
                    owners.iter().map(|owner| self.owner_target(owner)).collect();
                let has_dependents = self.graph.dependents_of(&place.uid).next().is_some();
                Box::pin(async move {
                    garbage::dependent(&client, &target, &owners, has_dependents).await?;
                    Ok(Outcome::Done)
                })
            }
            Work::Look(Look::Foreground(place)) => {
                let Some(owner) = self.target(place) else { return done() };
                if !self.unlisted.is_empty() {
                    return again();
                }
                let blocked = self.graph.dependents_of(&place.uid).any(|(_, owners)| {
                    owners.iter().any(|owner| owner.uid == place.uid && owner.blocks)
                });
                if blocked {
                    // The last of them to go brings it back.
                    return done();
                }
                Box::pin(async move {
                    garbage::release(&client, &owner, FOREGROUND).await?;
                    Ok(Outcome::Done)
                })
            }
            Work::Look(Look::Orphan(place)) => {
                let Some(owner) = self.target(place) else { return done() };
                if !self.unlisted.is_empty() {
                    return again();
                }
                let dependents: Vec<Target> = self
                    .graph
                    .dependents_of(&place.uid)
                    .filter_map(|(place, _)| self.target(place))
                    .collect();
                Box::pin(async move {
                    garbage::orphan(&client, &owner, &dependents).await?;
                    Ok(Outcome::Done)
                })
            }
            Work::Furnish(namespace) => {
                let (namespace, options) = (namespace.clone(), Arc::clone(&self.options));
                Box::pin(async move {
                    namespaces::furnish(&client, &namespace, &options.ca_certificate).await?;
                    Ok(Outcome::Done)
                })
            }
            Work::Empty(namespace) => {
                let (namespace, options) = (namespace.clone(), Arc::clone(&self.options));
                Box::pin(async move {
                    Ok(
                        match namespaces::empty(&client, &namespace, &options.removed_by_others)
                            .await?
                        {
                            Emptied::Done => Outcome::Done,
                            Emptied::NotYet => Outcome::Retry,
                        },
                    )
                })
            }
            Work::Expire(event) => {
                let event = event.clone();
                Box::pin(async move {
                    let api: Api<CoreEvent> = Api::namespaced(client, &event.namespace);
                    let parameters = DeleteParams {
                        preconditions: Some(Preconditions {
                            uid: Some(event.uid.to_string()),
                            resource_version: None,
                        }),
                        ..DeleteParams::default()
                    };
                    let deleted = api.delete(&event.name, &parameters).await;
                    garbage::ignore_gone(deleted.map(drop))?;
                    Ok(Outcome::Done)
                })
            }
            Work::Discover => {
                Box::pin(async move { Ok(Outcome::Served(kinds::served(&client).await?)) })
            }
        }
    }

    fn target(&self, place: &Place) -> Option<Target> {
        Some(Target {
            place: place.clone(),
            resource: Arc::clone(self.resources.get(&place.kind)?),
            namespaced: self.kinds.get(place.kind)?.namespaced,
        })
    }

    fn owner_target(&self, owner: &Owner) -> OwnerTarget {
        let kind = self.kinds.named(&owner.api_version, &owner.kind).ok().flatten();
        OwnerTarget {
            owner: owner.clone(),
            kind: kind.map(|kind| (Arc::new(kind.resource.clone()), kind.namespaced)),
            seen: self.graph.is_seen(&owner.uid),
            foreground: self.graph.is_foreground(&owner.uid),
        }
    }
}

/// Whether objects of this kind make other kinds be served.
fn brings_kinds(kind: &Kind) -> bool {
    kind.is("apiextensions.k8s.io", "customresourcedefinitions")
        || kind.is("archipel.dev", "learnedkinds")
}

fn done() -> BoxFuture<'static, Result<Outcome, kube::Error>> {
    Box::pin(std::future::ready(Ok(Outcome::Done)))
}

fn again() -> BoxFuture<'static, Result<Outcome, kube::Error>> {
    Box::pin(std::future::ready(Ok(Outcome::Retry)))
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
