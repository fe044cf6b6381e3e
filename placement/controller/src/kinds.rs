//! Keeps one watch per kind that policies select or Placements name, and none for the rest.

use std::{collections::BTreeMap, sync::Arc};

use kube::{api::ApiResource, core::GroupVersionKind, discovery};
use tokio::task::JoinHandle;

use crate::{
    context::Context,
    feed,
    index::{KindKey, KindState},
};

/// The watches that run, and how each kind is served.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    running: BTreeMap<KindKey, Running>,
}

#[derive(Debug)]
struct Running {
    resource: ApiResource,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kinds {
    /// How the hub serves a kind that is watched.
    pub(crate) fn resource(&self, kind: &KindKey) -> Option<&ApiResource> {
        self.running.get(kind).map(|it| &it.resource)
    }

    /// Starts and ends watches so that they are what the index wants. A kind that the hub does not serve is marked so
    /// and asked for again on the next call; its Placements are held (RULES 1.2).
    pub(crate) async fn reconcile(&mut self, context: &Arc<Context>) {
        let wanted = context.index.lock().wanted_kinds();
        self.running.retain(|kind, _| wanted.contains_key(kind));
        {
            let mut index = context.index.lock();
            index.kinds.retain(|kind, _| wanted.contains_key(kind));
        }
        for (kind, version) in wanted {
            if self.running.get(&kind).is_some_and(|it| !it.task.is_finished()) {
                continue;
            }
            self.running.remove(&kind);
            match resolve(context, &kind, &version).await {
                Some(resource) => {
                    let state =
                        KindState { version: resource.version.clone(), ..KindState::default() };
                    context.index.lock().kinds.insert(kind.clone(), state);
                    let task = feed::spawn_templates(context, resource.clone(), kind.clone());
                    self.running.insert(kind, Running { resource, task });
                }
                None => {
                    let state = KindState { version, missing: true, ..KindState::default() };
                    context.index.lock().kinds.insert(kind, state);
                }
            }
        }
    }

    /// Whether some kind is asked for that the hub does not serve.
    pub(crate) fn waiting(context: &Context) -> bool {
        context.index.lock().kinds.values().any(|it| it.missing)
    }
}

/// The kind as the hub serves it: in the version asked for, else in the group's preferred one.
async fn resolve(context: &Context, kind: &KindKey, version: &str) -> Option<ApiResource> {
    let (group, kind) = kind;
    let gvk = GroupVersionKind { group: group.clone(), version: version.to_owned(), kind: kind.clone() };
    if let Ok((resource, _)) = discovery::pinned_kind(&context.client, &gvk).await {
        return Some(resource);
    }
    let group = discovery::group(&context.client, group).await.ok()?;
    group.recommended_kind(kind).map(|(resource, _)| resource)
}
