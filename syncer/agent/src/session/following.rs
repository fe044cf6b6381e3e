//! Which kinds of a member are followed, and how far each is: discovery, the watch of its copies, and reading them anew.

use std::{collections::HashSet, sync::Arc, time::Duration};

use federation_types::{
    names::{Gvk, MANAGED_LABEL},
    reason::copy,
};
use status_rules::Rules;
use tokio::sync::Notify;

use super::{KindState, Session};
use crate::{
    follow::{self, Source},
    kinds::Resource,
    live::LiveObject,
    queue::Key,
};

/// What may be a copy of ours, of one kind.
fn copies_of(resource: &Resource) -> Source {
    Source { path: resource.all(), label_selector: Some(format!("{MANAGED_LABEL}=true")) }
}

impl Session {
    pub(super) fn is_settled(&self, gvk: &Gvk) -> bool {
        let kinds = self.kinds.lock();
        kinds.get(gvk).is_some_and(|it| !matches!(it, KindState::Starting))
    }

    /// Begins to follow a kind's copies if that was not done yet, and says how far it is.
    pub(crate) async fn ensure_kind(self: &Arc<Self>, gvk: &Gvk) -> KindState {
        {
            let mut kinds = self.kinds.lock();
            if let Some(state) = kinds.get(gvk) {
                return state.clone();
            }
            kinds.insert(gvk.clone(), KindState::Starting);
        }
        match self.served.find(self.client.rest(), gvk).await {
            Ok(Some(resource)) => {
                self.follow(gvk, &resource);
                KindState::Starting
            }
            Ok(None) => {
                self.kinds.lock().insert(gvk.clone(), KindState::Missing);
                self.settled.notify_one();
                KindState::Missing
            }
            Err(error) => {
                tracing::debug!(cluster = %self.cluster, %gvk, %error, "discovery failed");
                self.kinds.lock().remove(gvk);
                if matches!(&error, kube::Error::Api(status) if status.code == 401) {
                    self.end();
                }
                self.suspect();
                self.retry_kind(gvk.clone());
                KindState::Starting
            }
        }
    }

    fn retry_kind(self: &Arc<Self>, gvk: Gvk) {
        let session = Arc::clone(self);
        self.followers.lock().spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                match session.served.find(session.client.rest(), &gvk).await {
                    Ok(Some(resource)) => return session.follow(&gvk, &resource),
                    Ok(None) => {
                        session.kinds.lock().insert(gvk, KindState::Missing);
                        return session.settled.notify_one();
                    }
                    Err(_) => session.suspect(),
                }
            }
        });
    }

    /// A kind that was missing may have come: the next pass asks again.
    pub(crate) fn forget_kind(&self, gvk: &Gvk) {
        let mut kinds = self.kinds.lock();
        if matches!(kinds.get(gvk), Some(KindState::Missing)) {
            kinds.remove(gvk);
        }
    }

    fn follow(self: &Arc<Self>, gvk: &Gvk, resource: &Arc<Resource>) {
        self.kinds.lock().insert(gvk.clone(), KindState::Starting);
        let (session, gvk, resource) = (Arc::clone(self), gvk.clone(), Arc::clone(resource));
        let source = copies_of(&resource);
        self.followers.lock().spawn(async move {
            // Copies that were known when a list began and are not in it are gone; one made meanwhile is not.
            let mut unseen: HashSet<Key> = HashSet::new();
            let mut rules = session.rules();
            follow::follow(session.client.watch(), &source, |seen| match seen {
                follow::Seen::Restart => {
                    unseen = session.known(&gvk);
                    rules = session.rules();
                }
                follow::Seen::Object(text) => match LiveObject::parse(text) {
                    Ok(live) => {
                        let key = session.observe(&gvk, &live);
                        unseen.remove(&key);
                    }
                    Err(error) => tracing::warn!(%gvk, %error, "an object was not understood"),
                },
                follow::Seen::Deleted(text) => {
                    if let Ok(live) = LiveObject::parse(text) {
                        session.vanished(&Arc::new(live.key(&gvk)), Some(live.uid()));
                    }
                }
                follow::Seen::Synced => {
                    for key in unseen.drain() {
                        session.vanished(&key, None);
                    }
                    session.synced(&gvk, &resource);
                    if !Arc::ptr_eq(&rules, &session.rules()) {
                        // A rule came while they were listed.
                        session.read_again(&Gvk::unversioned(&gvk.group, &gvk.kind));
                    }
                }
                follow::Seen::Broken(error) => match error.code() {
                    Some(401) => session.end(),
                    // Its copies are no longer seen, and must not count as gone.
                    Some(code @ 403..=405) => {
                        let reason = if code == 403 { copy::REFUSED } else { copy::KIND_MISSING };
                        let state = KindState::Denied(reason, format!("{gvk}: {error}"));
                        let before = session.kinds.lock().insert(gvk.clone(), state);
                        session.settled.notify_one();
                        if matches!(before, Some(KindState::Synced(_))) {
                            session.redo_kind(&gvk);
                        }
                    }
                    _ => session.suspect(),
                },
            })
            .await;
        });
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.shared.index.read().rules)
    }

    /// Lists the copies of a kind once more, in whatever version: its rule reads them in another way now.
    pub(crate) fn read_again(self: &Arc<Self>, kind: &Gvk) {
        let followed: Vec<(Gvk, Arc<Resource>)> = {
            let kinds = self.kinds.lock();
            let same =
                kinds.iter().filter(|(it, _)| it.group == kind.group && it.kind == kind.kind);
            same.filter_map(|(gvk, state)| match state {
                KindState::Synced(resource) => Some((gvk.clone(), Arc::clone(resource))),
                _ => None,
            })
            .collect()
        };
        for (gvk, resource) in followed {
            for (key, slot) in self.slots.lock().iter_mut() {
                if key.gvk == gvk
                    && let Some(seen) = &mut slot.seen
                {
                    // Older than whatever the list says.
                    seen.version = 0;
                }
            }
            let session = Arc::clone(self);
            let source = copies_of(&resource);
            self.followers.lock().spawn(async move {
                let listed = Notify::new();
                let reading = follow::follow(session.client.watch(), &source, |seen| match seen {
                    follow::Seen::Object(text) => {
                        if let Ok(live) = LiveObject::parse(text) {
                            session.observe(&gvk, &live);
                        }
                    }
                    follow::Seen::Synced => listed.notify_one(),
                    _ => (),
                });
                tokio::select! {
                    () = reading => (),
                    () = listed.notified() => (),
                }
            });
        }
    }

    fn synced(&self, gvk: &Gvk, resource: &Arc<Resource>) {
        let before = self.kinds.lock().insert(gvk.clone(), KindState::Synced(Arc::clone(resource)));
        if matches!(before, Some(KindState::Synced(_))) {
            return;
        }
        self.settled.notify_one();
        self.redo_kind(gvk);
    }

    /// Makes every pass of a kind due.
    pub(super) fn redo_kind(&self, gvk: &Gvk) {
        let wanted = self.shared.index.read().of_cluster(&self.cluster);
        for key in wanted.into_iter().filter(|it| it.gvk == *gvk) {
            self.queue.push(key);
        }
        for key in self.known(gvk) {
            self.queue.push(key);
        }
    }

    pub(super) fn known(&self, gvk: &Gvk) -> HashSet<Key> {
        let slots = self.slots.lock();
        let known = slots.iter().filter(|(key, slot)| key.gvk == *gvk && slot.seen.is_some());
        known.map(|(key, _)| Arc::clone(key)).collect()
    }
}
