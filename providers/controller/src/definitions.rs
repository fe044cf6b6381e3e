//! Tells when the definitions of a member's own kinds change, so that what it serves is looked at soon.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ListParams, WatchEvent, WatchParams},
};
use tokio::{
    sync::Notify,
    time::{Duration, Instant, sleep},
};

/// A definition is served a moment after it is accepted.
const FIRST: Duration = Duration::from_secs(1);
/// Looks after the last change, each twice as long after the one before.
const LOOKS: u32 = 3;
const RETRY: Duration = Duration::from_secs(30);

/// Notifies at every change, until it is dropped. What is there already is no change, so it is not read.
pub(crate) async fn follow(client: Client, changed: Arc<Notify>) {
    let api = Api::<CustomResourceDefinition>::all(client);
    loop {
        // A member that does not let us watch is looked at now and then all the same.
        let pause = if watch(&api, &changed).await.is_ok() { FIRST } else { RETRY };
        sleep(pause).await;
    }
}

async fn watch(api: &Api<CustomResourceDefinition>, changed: &Notify) -> Result<(), kube::Error> {
    let list = api.list_metadata(&ListParams::default().limit(1)).await?;
    let mut version = list.metadata.resource_version.unwrap_or_default();
    loop {
        let mut events = api.watch_metadata(&WatchParams::default(), &version).await?.boxed();
        // The server ends a watch now and then; the next goes on where it was.
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(it) | WatchEvent::Modified(it) | WatchEvent::Deleted(it) => {
                    version = it.metadata.resource_version.unwrap_or(version);
                    changed.notify_one();
                }
                WatchEvent::Bookmark(it) => version = it.metadata.resource_version,
                WatchEvent::Error(_) => {
                    // The history is gone, and with it what has changed meanwhile.
                    changed.notify_one();
                    return Ok(());
                }
            }
        }
    }
}

/// When to look again at what a member serves: a few times after a change, then no more.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    due: Option<Instant>,
    done: u32,
}

impl Looks {
    /// Something has changed.
    pub(crate) fn begin(&mut self) {
        let soon = Instant::now() + FIRST;
        self.due = Some(self.due.map_or(soon, |it| it.min(soon)));
        self.done = 0;
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due.is_some_and(|it| it <= Instant::now())
    }

    /// It was looked at, whatever for.
    pub(crate) fn looked(&mut self) {
        if !self.is_due() {
            return;
        }
        self.done += 1;
        self.due =
            (self.done < LOOKS).then(|| Instant::now() + FIRST * 2_u32.saturating_pow(self.done));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_followed_by_three_looks_and_then_by_none() {
        let mut looks = Looks::default();
        assert!(looks.due().is_none());
        let start = Instant::now();
        let mut at = Vec::new();
        looks.begin();
        while let Some(due) = looks.due() {
            tokio::time::sleep_until(due).await;
            looks.looked();
            at.push(start.elapsed().as_secs());
        }
        assert_eq!(at, [1, 3, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_in_a_row_do_not_put_the_first_look_off() {
        let mut looks = Looks::default();
        looks.begin();
        let first = looks.due();
        sleep(Duration::from_millis(900)).await;
        looks.begin();
        assert_eq!(looks.due(), first);
        sleep(Duration::from_millis(100)).await;
        looks.looked();
        looks.begin();
        assert_eq!(looks.due(), Some(Instant::now() + FIRST), "and the last has its looks");
    }
}
