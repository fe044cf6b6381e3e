//! From watches of the hub into the [`Index`]: one task per kind, each a thin shell around a setter.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use federation_types::{
    budget::{ChangeBudget, ChangeBudgetSpec, CostBudget, DEFAULT_CHANGE_BUDGET},
    cluster::{ClusterSet, MemberCluster},
    names::{APPROVED_ANNOTATION, Gvk, ObjectKey},
    overrides::{ClusterOverridePolicy, OverridePolicy},
    placement::{ClusterPlacement, Placement, PlacementSpec, PlacementStatus},
    policy::{ClusterPlacementPolicy, PlacementPolicy},
    price::PriceBook,
    revision::{ClusterRevision, Revision},
    rollout::{Rollout, RolloutStrategy},
    score::ClusterScore,
    status_rule::StatusRule,
};
use futures::{StreamExt, pin_mut};
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::PartialObjectMeta,
    runtime::watcher,
};
use placement_engine::workload::Workload;
use serde::de::DeserializeOwned;
use serde_json::Value;
use status_rules::Rules;
use tokio::task::{JoinHandle, JoinSet};

use crate::{
    bounds::Bounds,
    claim::{Override, Policy, never},
    context::Context,
    gate::Budget,
    index::{Index, KindKey, Placed, Template, template_key, version},
    release,
};

/// Namespace (empty for cluster-scoped kinds) and name.
pub(crate) type Name = (String, String);

/// One change of a watched kind.
pub(crate) enum Change<K> {
    Set(K),
    Gone(Name),
    /// The first complete list has been delivered; also after every later one, when the kind is whole again.
    Synced,
}

/// Watches all our kinds; ends only with the process.
pub(crate) fn spawn(context: &Arc<Context>, tasks: &mut JoinSet<()>) {
    watch(context, tasks, "policies", |index, change: Change<PlacementPolicy>| {
        on_policy(index, change);
    });
    watch(context, tasks, "cluster policies", |index, change: Change<ClusterPlacementPolicy>| {
        on_policy(index, change);
    });
    watch(context, tasks, "overrides", |index, change: Change<OverridePolicy>| {
        on_override(index, change, |it| it.spec.clone());
    });
    watch(context, tasks, "cluster overrides", |index, change: Change<ClusterOverridePolicy>| {
        on_override(index, change, |it| it.spec.overrides.clone());
    });
    watch(context, tasks, "clusters", on_cluster);
    watch(context, tasks, "cluster sets", on_set);
    watch(context, tasks, "price books", on_book);
    watch(context, tasks, "change budgets", on_budget);
    watch(context, tasks, "cost budgets", on_cost_budget);
    watch(context, tasks, "scores", on_score);
    watch(context, tasks, "rollout strategies", on_strategy);
    watch(context, tasks, "rollouts", |index, change: Change<Rollout>| match change {
        Change::Set(it) => {
            let (namespace, name) = release::id(&it);
            index.set_rollout(&namespace, &name, Some(it));
        }
        Change::Gone((namespace, name)) => index.set_rollout(&namespace, &name, None),
        Change::Synced => (),
    });
    watch(context, tasks, "status rules", on_status_rule);
    watch(context, tasks, "placements", |index, change: Change<Placement>| match change {
        Change::Set(it) => {
            let namespace = it.namespace().unwrap_or_default();
            on_placement(index, &namespace, &it.metadata, it.spec.clone(), it.status.clone());
        }
        Change::Gone(name) => index.forget_placement(&name.0, &name.1),
        Change::Synced => (),
    });
    watch_revisions::<Revision>(context, tasks, "revisions");
    watch_revisions::<ClusterRevision>(context, tasks, "cluster revisions");
    watch(context, tasks, "cluster placements", |index, change: Change<ClusterPlacement>| {
        match change {
            Change::Set(it) => {
                on_placement(index, "", &it.metadata, it.spec.placement.clone(), it.status.clone());
            }
            Change::Gone(name) => index.forget_placement(&name.0, &name.1),
            Change::Synced => (),
        }
    });
}

/// Follows which revisions exist: their names say all that is needed.
fn watch_revisions<K>(context: &Arc<Context>, tasks: &mut JoinSet<()>, what: &'static str)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let context = Arc::clone(context);
    let api = Api::<PartialObjectMeta<K>>::all(context.client.clone());
    context.expect_sync(what);
    tasks.spawn(async move {
        let stream = watcher(api, watcher::Config::default());
        pin_mut!(stream);
        let mut known = Known::default();
        while let Some(event) = stream.next().await {
            let Ok(event) = event else {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            };
            let name =
                |it: &PartialObjectMeta<K>| (it.namespace().unwrap_or_default(), it.name_any());
            let mut index = context.index.lock();
            for change in known.changes(event, name) {
                match change {
                    Change::Set(it) => {
                        let since = version(&it.resource_version().unwrap_or_default());
                        index.set_revision(
                            &it.namespace().unwrap_or_default(),
                            &it.name_any(),
                            Some(since),
                        );
                    }
                    Change::Gone((namespace, name)) => index.set_revision(&namespace, &name, None),
                    Change::Synced => context.synced(what),
                }
            }
        }
    });
}

/// Watches one kind of our own into the index.
fn watch<K>(
    context: &Arc<Context>,
    tasks: &mut JoinSet<()>,
    what: &'static str,
    set: impl Fn(&mut Index, Change<K>) + Send + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let context = Arc::clone(context);
    let api = Api::<K>::all(context.client.clone());
    context.expect_sync(what);
    tasks.spawn(async move {
        let stream = watcher(api, watcher::Config::default());
        pin_mut!(stream);
        let mut known = Known::default();
        let name = |it: &K| (it.namespace().unwrap_or_default(), it.name_any());
        while let Some(event) = stream.next().await {
            let changes = match event {
                Ok(event) => known.changes(event, name),
                Err(error) => {
                    tracing::warn!(%error, what, "watch interrupted");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                }
            };
            let synced = changes.iter().any(|it| matches!(it, Change::Synced));
            {
                let mut index = context.index.lock();
                for change in changes {
                    set(&mut index, change);
                }
            }
            if synced {
                context.synced(what);
            }
            context.wake.notify_one();
        }
    });
}

/// The names that stand, so that what vanished while a watch was interrupted is seen to be gone.
#[derive(Default)]
struct Known {
    standing: BTreeSet<Name>,
    listing: Option<BTreeSet<Name>>,
}

impl Known {
    fn changes<K>(
        &mut self,
        event: watcher::Event<K>,
        name: impl Fn(&K) -> Name,
    ) -> Vec<Change<K>> {
        match event {
            watcher::Event::Init => {
                self.listing = Some(BTreeSet::new());
                Vec::new()
            }
            watcher::Event::InitApply(it) => {
                if let Some(listing) = &mut self.listing {
                    listing.insert(name(&it));
                }
                vec![Change::Set(it)]
            }
            watcher::Event::InitDone => {
                let listing = self.listing.take().unwrap_or_default();
                let before = std::mem::replace(&mut self.standing, listing);
                let gone = before.difference(&self.standing).cloned().map(Change::Gone);
                gone.chain([Change::Synced]).collect()
            }
            watcher::Event::Apply(it) => {
                self.standing.insert(name(&it));
                vec![Change::Set(it)]
            }
            watcher::Event::Delete(it) => {
                let name = name(&it);
                self.standing.remove(&name);
                vec![Change::Gone(name)]
            }
        }
    }
}

/// Watches the templates of one kind until the handle is aborted. Keeps nothing but names beside the index.
pub(crate) fn spawn_templates(
    context: &Arc<Context>,
    resource: ApiResource,
    kind: KindKey,
) -> JoinHandle<()> {
    let context = Arc::clone(context);
    let gvk = Gvk::unversioned(&kind.0, &kind.1);
    tokio::spawn(async move {
        let api = Api::<DynamicObject>::all_with(context.client.clone(), &resource);
        let stream = watcher(api, watcher::Config::default());
        pin_mut!(stream);
        let mut listing: Option<BTreeSet<ObjectKey>> = None;
        while let Some(event) = stream.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(%error, kind = %gvk.kind, "watch of templates interrupted");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                }
            };
            let key_of = |it: &DynamicObject| {
                template_key(&gvk, it.metadata.namespace.as_deref().unwrap_or(""), &it.name_any())
            };
            match event {
                watcher::Event::Init => listing = Some(BTreeSet::new()),
                watcher::Event::InitApply(it) | watcher::Event::Apply(it) => {
                    let key = key_of(&it);
                    if let Some(listing) = &mut listing {
                        listing.insert(key.clone());
                    }
                    let rules = Arc::clone(&context.index.lock().reading.rules);
                    let mut template = template(&resource.api_version, &it, &rules);
                    if never(&Index::facts(&key, &template)).is_some() {
                        // Releases of Helm, for one, are large, and never copied.
                        template.content = Box::default();
                    }
                    let mut index = context.index.lock();
                    if !Arc::ptr_eq(&rules, &index.reading.rules) {
                        // A rule came in between.
                        let rules = &index.reading.rules;
                        template.workload =
                            self::template(&resource.api_version, &it, rules).workload;
                    }
                    index.set_template(key, Some(Arc::new(template)));
                }
                watcher::Event::Delete(it) => {
                    context.index.lock().set_template(key_of(&it), None);
                }
                watcher::Event::InitDone => {
                    let listed = listing.take().unwrap_or_default();
                    let mut index = context.index.lock();
                    let vanished: Vec<ObjectKey> = index
                        .templates
                        .keys()
                        .filter(|key| key.gvk == gvk && !listed.contains(*key))
                        .cloned()
                        .collect();
                    for key in vanished {
                        index.set_template(key, None);
                    }
                    if let Some(state) = index.kinds.get_mut(&kind) {
                        state.synced = true;
                    }
                    let keys: Vec<ObjectKey> =
                        index.placements.keys().filter(|key| key.gvk == gvk).cloned().collect();
                    index.dirty.extend(keys);
                    index.touch_followed_kind(&gvk);
                }
            }
            context.wake.notify_one();
        }
    })
}

pub(crate) fn template(api_version: &str, object: &DynamicObject, rules: &Rules) -> Template {
    let metadata = object.metadata.clone();
    let mut value = serde_json::to_value(object).unwrap_or(Value::Null);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("apiVersion".to_owned(), Value::String(api_version.to_owned()));
    }
    let content = syncer_render::template::strip(&value);
    let secret_type = match (api_version, object.types.as_ref().map(|it| it.kind.as_str())) {
        ("v1", Some("Secret")) => value["type"].as_str().unwrap_or("").to_owned(),
        _ => String::new(),
    };
    let annotations = metadata.annotations.unwrap_or_default();
    Template {
        api_version: api_version.to_owned(),
        uid: metadata.uid.unwrap_or_default(),
        generation: metadata.generation.unwrap_or(1),
        resource_version: metadata.resource_version.unwrap_or_default(),
        labels: metadata.labels.unwrap_or_default(),
        secret_type,
        deleting: metadata.deletion_timestamp.is_some(),
        finalizers: metadata.finalizers.unwrap_or_default(),
        approved: annotations.get(APPROVED_ANNOTATION).cloned().unwrap_or_default(),
        workload: Workload::read(&value, rules),
        bounds: Bounds::of(&value),
        content: content.to_string().into_boxed_str(),
    }
}

pub(crate) fn on_cluster(index: &mut Index, change: Change<MemberCluster>) {
    match change {
        Change::Set(it) => index.set_cluster(&it.name_any(), Some(it)),
        Change::Gone((_, name)) => index.set_cluster(&name, None),
        Change::Synced => (),
    }
}

pub(crate) fn on_set(index: &mut Index, change: Change<ClusterSet>) {
    match change {
        Change::Set(it) => drop(index.sets.insert(it.name_any(), Arc::new(it))),
        Change::Gone((_, name)) => drop(index.sets.remove(&name)),
        Change::Synced => return,
    }
    index.fleet_version += 1;
    index.touch_everything();
}

pub(crate) fn on_book(index: &mut Index, change: Change<PriceBook>) {
    match change {
        Change::Set(it) => drop(index.books.insert(it.name_any(), Arc::new(it))),
        Change::Gone((_, name)) => drop(index.books.remove(&name)),
        Change::Synced => return,
    }
    // A price moves no running replica: only what waits or grows is looked at again (RULES 1.2, 3.2).
    index.fleet_version += 1;
    index.touch_waiting();
}

pub(crate) fn on_cost_budget(index: &mut Index, change: Change<CostBudget>) {
    match change {
        Change::Set(it) => index.set_cost_budget(&it.name_any(), Some(it)),
        Change::Gone((_, name)) => index.set_cost_budget(&name, None),
        Change::Synced => (),
    }
}

pub(crate) fn on_score(index: &mut Index, change: Change<ClusterScore>) {
    match change {
        Change::Set(it) => index.set_score(&it.name_any(), Some(it)),
        Change::Gone((_, name)) => index.set_score(&name, None),
        Change::Synced => (),
    }
}

pub(crate) fn on_status_rule(index: &mut Index, change: Change<StatusRule>) {
    match change {
        Change::Set(it) => index.set_status_rule(&it.name_any(), Some(it)),
        Change::Gone((_, name)) => index.set_status_rule(&name, None),
        Change::Synced => (),
    }
}

pub(crate) fn on_budget(index: &mut Index, change: Change<ChangeBudget>) {
    match change {
        Change::Set(it) => {
            let name = it.name_any();
            let status = it.status.clone().unwrap_or_default();
            let start = crate::clock::seconds(&status.window_start);
            let budget = Budget::restore(it.spec, &status, start);
            let changed = index.budgets.get(&name).is_none_or(|old| old.spec != budget.spec);
            match index.budgets.get_mut(&name) {
                // The gate's own count is newer than what comes back from the store.
                Some(old) => {
                    old.spec = budget.spec;
                    if it.status.is_none() {
                        old.written = None;
                    }
                }
                None => drop(index.budgets.insert(name, budget)),
            }
            if changed {
                index.touch_waiting();
            }
        }
        Change::Gone((_, name)) => {
            if name == DEFAULT_CHANGE_BUDGET
                && let Some(budget) = index.budgets.get_mut(&name)
            {
                // There is no fleet without a limit (RULES 1.3), and the window goes on.
                budget.spec = ChangeBudgetSpec::default();
            } else {
                index.budgets.remove(&name);
            }
            index.touch_waiting();
        }
        Change::Synced => (),
    }
}

pub(crate) fn on_strategy(index: &mut Index, change: Change<RolloutStrategy>) {
    match change {
        Change::Set(it) => index.set_strategy(&release::id(&it), Some(&it)),
        Change::Gone(id) => index.set_strategy(&id, None),
        Change::Synced => (),
    }
}

pub(crate) fn on_policy<K>(index: &mut Index, change: Change<K>)
where
    for<'a> Policy: From<&'a K>,
{
    match change {
        Change::Set(it) => {
            let policy = Policy::from(&it);
            let id = (policy.namespace.clone(), policy.name.clone());
            index.set_policy(id, Some(policy));
        }
        Change::Gone(name) => index.set_policy(name, None),
        Change::Synced => (),
    }
}

pub(crate) fn on_override<K: ResourceExt>(
    index: &mut Index,
    change: Change<K>,
    read: impl Fn(&K) -> federation_types::overrides::OverridePolicySpec,
) {
    match change {
        Change::Set(it) => {
            let id = (it.namespace().unwrap_or_default(), it.name_any());
            let policy = Override {
                namespace: id.0.clone(),
                name: id.1.clone(),
                generation: it.meta().generation.unwrap_or(0),
                spec: read(&it),
            };
            index.set_override(id, Some(policy));
        }
        Change::Gone(name) => index.set_override(name, None),
        Change::Synced => (),
    }
}

fn on_placement(
    index: &mut Index,
    namespace: &str,
    metadata: &kube::api::ObjectMeta,
    spec: PlacementSpec,
    status: Option<PlacementStatus>,
) {
    let key = placement_key(namespace, &spec);
    index.set_placement(key, Some(placed(metadata, spec, status)));
}

/// A Placement as the index keeps it.
pub(crate) fn placed(
    metadata: &kube::api::ObjectMeta,
    spec: PlacementSpec,
    status: Option<PlacementStatus>,
) -> Placed {
    Placed {
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or(0),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        spec,
        status: status.unwrap_or_default(),
    }
}

/// The template that a Placement decides on.
pub(crate) fn placement_key(namespace: &str, spec: &PlacementSpec) -> ObjectKey {
    let gvk = Gvk::new(&spec.template.api_version, &spec.template.kind);
    template_key(&gvk, namespace, &spec.template.name)
}
