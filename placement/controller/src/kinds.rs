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

    /// Starts and ends watches so that they are what the index wants. A kind that the hub does not serve is marked so,
    /// and asked for again when `ask_again` is set; its Placements are held (RULES 1.2).
    pub(crate) async fn reconcile(&mut self, context: &Arc<Context>, ask_again: bool) {
        let wanted = {
            let mut index = context.index.lock();
            let ended = self.running.values().any(|it| it.task.is_finished());
            let missing = ask_again && index.kinds.values().any(|it| it.missing);
            if !std::mem::take(&mut index.kinds_changed) && !ended && !missing {
                return;
            }
            let wanted = index.wanted_kinds();
            index.kinds.retain(|kind, _| wanted.contains_key(kind));
            if self.running.keys().any(|kind| !wanted.contains_key(kind)) {
                index.templates.retain(|key, _| {
                    wanted.contains_key(&(key.gvk.group.clone(), key.gvk.kind.clone()))
                });
            }
            wanted
        };
        self.running.retain(|kind, _| wanted.contains_key(kind));
        for (kind, version) in wanted {
            if self.running.get(&kind).is_some_and(|it| !it.task.is_finished()) {
                continue;
            }
            if !ask_again && context.index.lock().kinds.get(&kind).is_some_and(|it| it.missing) {
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
}

/// The kind as the hub serves it: in the version asked for, else in the group's preferred one.
async fn resolve(context: &Context, kind: &KindKey, version: &str) -> Option<ApiResource> {
    let (group, kind) = kind;
    let gvk = GroupVersionKind::gvk(group, version, kind);
    if let Ok((resource, _)) = discovery::pinned_kind(&context.client, &gvk).await {
        return Some(resource);
    }
    let group = discovery::group(&context.client, group).await.ok()?;
    group.recommended_kind(kind).map(|(resource, _)| resource)
}
