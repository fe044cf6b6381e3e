//! Members that are only observed: one that holds a later generation than the hub's store takes no write until somebody
//! said that the hub's state goes (RULES 4.3).
//!
//! What is known here stands in the member's condition `SyncPaused` too, by which the next process of the hub knows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use federation_types::{
    condition::{self, Condition},
    names::{API_VERSION, RESUME_ANNOTATION},
    reason::{condition::SYNC_PAUSED, paused},
};
use http::{Request, header::CONTENT_TYPE};
use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

use crate::{context::Shared, events, hub};

/// Its own: the condition `Ready` in the same list is another controller's.
const FIELD_MANAGER: &str = "archipel-syncer-pause";
const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Paused {
        since: Timestamp,
        why: String,
    },
    /// What the member holds newer is overwritten. A store does not grow older under a running hub, so this holds as
    /// long as the process.
    Resumed {
        at: Timestamp,
    },
}

/// Which members are only observed.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    states: Mutex<BTreeMap<String, State>>,
    unwritten: Mutex<BTreeSet<String>>,
    news: Notify,
}

impl Pauses {
    pub(crate) fn is_paused(&self, cluster: &str) -> bool {
        matches!(self.states.lock().get(cluster), Some(State::Paused { .. }))
    }

    pub(crate) fn is_resumed(&self, cluster: &str) -> bool {
        matches!(self.states.lock().get(cluster), Some(State::Resumed { .. }))
    }

    /// The member holds what the hub's store does not know. Says whether that is news.
    pub(crate) fn pause(&self, cluster: &str, why: &str, asked: Option<Timestamp>) -> bool {
        let mut states = self.states.lock();
        if states.contains_key(cluster) {
            return false;
        }
        // A resume that was asked for before does not count, whatever clock it was asked by.
        let now = Timestamp::now();
        let since = asked.map_or(now, |it| it.max(now));
        states.insert(cluster.to_owned(), State::Paused { since, why: why.to_owned() });
        drop(states);
        self.write(cluster);
        true
    }

    /// Takes over what the hub's store says of a member. Says whether writing is taken up again.
    pub(crate) fn learn(
        &self,
        cluster: &str,
        conditions: &[Condition],
        asked: Option<Timestamp>,
    ) -> bool {
        let mut states = self.states.lock();
        if !states.contains_key(cluster)
            && let Some(it) = condition::find(conditions, SYNC_PAUSED)
            && it.status == "True"
        {
            // One that cannot be read is taken for the latest, so that it takes a new resume.
            let since = it.last_transition_time.parse().unwrap_or_else(|_| Timestamp::now());
            let state = State::Paused { since, why: it.message.clone() };
            states.insert(cluster.to_owned(), state);
        }
        let Some(State::Paused { since, .. }) = states.get(cluster) else { return false };
        if asked.is_none_or(|it| it <= *since) {
            return false;
        }
        states.insert(cluster.to_owned(), State::Resumed { at: Timestamp::now() });
        drop(states);
        self.write(cluster);
        true
    }

    /// The member has left, or another one has its name.
    pub(crate) fn forget(&self, cluster: &str) {
        self.states.lock().remove(cluster);
        self.unwritten.lock().remove(cluster);
    }

    fn write(&self, cluster: &str) {
        self.unwritten.lock().insert(cluster.to_owned());
        self.news.notify_one();
    }
}

/// When somebody last asked for writing to be taken up again.
pub(crate) fn asked(annotations: &BTreeMap<String, String>) -> Option<Timestamp> {
    annotations.get(RESUME_ANNOTATION)?.parse().ok()
}

/// Learns what the hub's store says of a member, and takes up writing into it if that was asked for.
pub(crate) fn learn(
    shared: &Shared,
    cluster: &str,
    conditions: &[Condition],
    asked: Option<Timestamp>,
) {
    if shared.pauses.learn(cluster, conditions, asked) {
        tracing::info!(cluster, "resumed: what it holds newer than the hub is overwritten");
        hub::redo(shared, cluster);
    }
}

/// Writes conditions and events, for ever.
pub(crate) async fn write(shared: &Arc<Shared>) {
    loop {
        shared.pauses.news.notified().await;
        let clusters = std::mem::take(&mut *shared.pauses.unwritten.lock());
        for cluster in clusters {
            let Some(state) = shared.pauses.states.lock().get(&cluster).cloned() else { continue };
            if let Err(error) = apply(&shared.hub, &cluster, &state).await {
                tracing::debug!(%cluster, %error, "whether writes are paused was not written");
                if shared.pauses.states.lock().contains_key(&cluster) {
                    shared.pauses.write(&cluster);
                }
                tokio::time::sleep(RETRY).await;
                continue;
            }
            let uid = shared.index.read().clusters.get(&cluster).map(|it| it.uid.clone());
            if let Err(error) = announce(&shared.hub, &cluster, uid, &state).await {
                tracing::debug!(%cluster, %error, "an event was not written");
            }
        }
    }
}

fn words(state: &State) -> (&'static str, &'static str, String) {
    match state {
        State::Paused { why, .. } => ("True", paused::HUB_OLDER, why.clone()),
        State::Resumed { .. } => (
            "False",
            paused::RESUMED,
            "the hub's state is written, over what the cluster held newer".to_owned(),
        ),
    }
}

async fn apply(hub: &Client, cluster: &str, state: &State) -> Result<(), kube::Error> {
    let (status, reason, message) = words(state);
    let (State::Paused { since: at, .. } | State::Resumed { at }) = state;
    let body = json!({
        "apiVersion": API_VERSION, "kind": "MemberCluster", "metadata": {"name": cluster},
        "status": {"conditions": [{
            "type": SYNC_PAUSED, "status": status, "reason": reason, "message": message,
            // To the fraction: a resume is told by its time from one that was asked for before.
            "lastTransitionTime": at.to_string(),
        }]},
    });
    let path = format!(
        "/apis/{API_VERSION}/memberclusters/{cluster}/status?fieldManager={FIELD_MANAGER}&force=true"
    );
    let body = serde_json::to_vec(&body).expect("a JSON value serialises");
    let request = Request::patch(path)
        .header(CONTENT_TYPE, "application/apply-patch+yaml")
        .body(body)
        .map_err(kube::Error::HttpError)?;
    match hub.request_text(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

async fn announce(
    hub: &Client,
    cluster: &str,
    uid: Option<String>,
    state: &State,
) -> Result<(), kube::Error> {
    let (status, reason, message) = words(state);
    let involved = json!({
        "apiVersion": API_VERSION, "kind": "MemberCluster", "name": cluster, "uid": uid,
    });
    let kind = if status == "True" { "Warning" } else { "Normal" };
    events::post(hub, &involved, kind, reason, &message).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(status: &str, at: &str) -> Vec<Condition> {
        vec![Condition {
            kind: SYNC_PAUSED.to_owned(),
            status: status.to_owned(),
            last_transition_time: at.to_owned(),
            ..Condition::default()
        }]
    }

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().expect("a time"))
    }

    #[test]
    fn rule_4_3_only_a_resume_later_than_the_pause_counts() {
        let pauses = Pauses::default();
        let paused = condition("True", "2026-01-01T00:00:05Z");
        assert!(!pauses.learn("a", &paused, at("2026-01-01T00:00:04Z")));
        assert!(pauses.is_paused("a"));
        assert!(pauses.learn("a", &paused, at("2026-01-01T00:00:05.5Z")));
        assert!(!pauses.is_paused("a") && pauses.is_resumed("a"));
        assert!(!pauses.pause("a", "newer", None), "it pauses again for the same copies");
    }

    #[test]
    fn rule_4_3_a_resume_asked_for_before_is_not_taken_for_a_new_one() {
        let pauses = Pauses::default();
        let ahead = at("2999-01-01T00:00:00Z");
        assert!(!pauses.learn("a", &condition("False", "2026-01-01T00:00:00Z"), ahead));
        assert!(pauses.pause("a", "newer", ahead));
        assert!(!pauses.learn("a", &[], ahead));
        assert!(pauses.is_paused("a"));
    }
}
