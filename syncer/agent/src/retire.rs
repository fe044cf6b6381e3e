//! Namespaces that we made in a member and that were deleted on the hub: they go too, once nothing is in them (RULES 4.4).

use std::{sync::Arc, time::Duration};

use syncer_render::{Hold, Owner};

use crate::{
    act::Target,
    error::ActError,
    index::Index,
    inside::{InsideError, inside},
    kinds::Resource,
    pass::LINGER,
    queue::Key,
    report,
    session::{KindState, Session},
    slot::{Outcome, Slot},
};

/// After so many looks a namespace that is still there is shown as left behind.
const LOOKS: u32 = 4;

/// Why a namespace is not deleted yet.
#[derive(Debug, thiserror::Error)]
enum Stay {
    #[error("{first} and {more} more are in it")]
    Inside { first: String, more: usize },
    #[error(transparent)]
    Unseen(#[from] InsideError),
    #[error("the hub does not say that it is gone")]
    Hub(#[from] kube::Error),
    #[error(transparent)]
    Act(#[from] ActError),
}

impl Session {
    /// Whether the copy is of a namespace that was deleted on the hub, and is on its way out here.
    pub(crate) fn is_retiring(&self, index: &Index, key: &Key, slot: &Slot) -> bool {
        let departed = index.departed(&key.name);
        let ours = slot.seen.as_ref().map(|it| it.template.as_str());
        departed.is_some() && departed == ours && slot.failures < LOOKS
    }

    /// Deletes the copy of a namespace that was deleted on the hub. Says when to look again, if that can help.
    pub(crate) async fn retire_namespace(self: &Arc<Self>, key: &Key) -> Option<Duration> {
        let template = {
            let index = self.shared.index.read();
            let slots = self.slots.lock();
            let seen = slots.get(key)?.seen.as_ref()?;
            // One that is only unknown here, after a restart or with a store that was restored, is left to people.
            let departed = index.departed(&key.name)?;
            if departed != seen.template || seen.terminating {
                return None;
            }
            if index.is_in_use(&self.cluster, &key.name) {
                return Some(Duration::from_secs(1));
            }
            seen.template.clone()
        };
        if !self.writes(&key.name).are_open() {
            return Some(LINGER);
        }
        let KindState::Synced(resource) = self.ensure_kind(&key.gvk).await else {
            return Some(LINGER);
        };
        match self.retire(key, &resource, &template).await {
            Ok(()) => None,
            Err(why) => {
                match &why {
                    Stay::Act(ActError::Unauthorised) => self.end(),
                    Stay::Act(ActError::Unreachable { .. }) => self.suspect(),
                    _ => (),
                }
                tracing::debug!(cluster = %self.cluster, %key, %why, "the namespace stays for now");
                self.failed(key, Outcome::Held(Hold::UnknownCopy))
            }
        }
    }

    /// What is cached decides nothing here: hub and member are asked, and what was seen is what is deleted.
    async fn retire(&self, key: &Key, resource: &Resource, template: &str) -> Result<(), Stay> {
        let path = format!("/api/v1/namespaces/{}", key.name);
        if report::get(&self.shared.hub, &path).await?.is_some() {
            return Ok(());
        }
        let target = Target { client: self.client.rest(), resource, key };
        let Some(live) = target.get().await? else { return Ok(()) };
        let ours =
            matches!(self.owner_of(key, &live), Owner::Us { template: it } if it == template);
        if !ours || live.is_terminating() {
            return Ok(());
        }
        let inside = inside(self.client.rest(), &key.name).await?;
        if let Some(first) = inside.first() {
            return Err(Stay::Inside { first: first.clone(), more: inside.len() - 1 });
        }
        self.shared.metrics.wrote(&self.cluster, "delete");
        target.delete(live.uid(), Some(live.resource_version())).await?;
        tracing::info!(cluster = %self.cluster, %key, "deleted, as the hub's own was");
        Ok(())
    }
}
