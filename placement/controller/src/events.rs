//! Events on templates: what could not be placed, what nobody claims any more, what failed over, how far a
//! rollout has come; each said once.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use federation_types::{
    names::{ObjectKey, short_hash},
    reason::rollout,
};
use k8s_openapi::{
    api::core::v1::{Event as CoreEvent, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{task::JoinSet, time::Instant};

use crate::outcome::Event;

/// The same is not said again of one template for so long.
const QUIET: Duration = Duration::from_secs(600);
/// So many wait at most; Placements hold the same in their conditions.
const WAITING: usize = 1_000;
/// So many are written at once.
const AT_ONCE: usize = 4;

/// Says what passes found worth telling.
#[derive(Debug, Default)]
pub(crate) struct Events {
    said: BTreeMap<String, Instant>,
    waiting: VecDeque<CoreEvent>,
    writing: JoinSet<()>,
}

impl Events {
    /// Takes an event in unless it was said of this template a short while ago.
    pub(crate) fn say(
        &mut self,
        template: &ObjectKey,
        api_version: &str,
        uid: &str,
        event: &Event,
    ) {
        let id = short_hash(format!("{template} {} {}", event.reason, event.message).as_bytes());
        let now = Instant::now();
        if self.said.get(&id).is_some_and(|at| now.duration_since(*at) < QUIET) {
            return;
        }
        if self.waiting.len() >= WAITING {
            tracing::debug!(%template, reason = event.reason, "too many events at once");
            return;
        }
        self.said.insert(id, now);
        self.waiting.push_back(core_event(template, api_version, uid, event, Timestamp::now()));
    }

    /// Writes what waits, a few at a time.
    pub(crate) fn write(&mut self, client: &Client) {
        while self.writing.try_join_next().is_some() {}
        while self.writing.len() < AT_ONCE
            && let Some(event) = self.waiting.pop_front()
        {
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            let api = Api::<CoreEvent>::namespaced(client.clone(), &namespace);
            self.writing.spawn(async move {
                if let Err(error) = api.create(&PostParams::default(), &event).await {
                    tracing::debug!(%error, "event not written");
                }
            });
        }
    }

    /// Forgets what may be said again.
    pub(crate) fn tidy(&mut self) {
        let now = Instant::now();
        self.said.retain(|_, at| now.duration_since(*at) < QUIET);
    }
}

fn core_event(
    template: &ObjectKey,
    api_version: &str,
    uid: &str,
    event: &Event,
    now: Timestamp,
) -> CoreEvent {
    let namespace = if template.namespace.is_empty() { "default" } else { &template.namespace };
    let id = short_hash(format!("{template} {} {now}", event.message).as_bytes());
    // The names of some kinds hold what an event's may not.
    let stem: String = template.name.to_lowercase().replace(':', "-").chars().take(200).collect();
    let normal = rollout::NORMAL.contains(&event.reason);
    let component = "archipel-placement-controller".to_owned();
    CoreEvent {
        metadata: ObjectMeta {
            name: Some(format!("{stem}.{id}")),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(template.gvk.kind.to_string()),
            name: Some(template.name.to_string()),
            namespace: (!template.namespace.is_empty()).then(|| template.namespace.to_string()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        },
        type_: Some(if normal { "Normal" } else { "Warning" }.to_owned()),
        reason: Some(event.reason.to_owned()),
        message: Some(event.message.chars().take(1_000).collect()),
        source: Some(EventSource { component: Some(component.clone()), host: None }),
        reporting_component: Some(component),
        reporting_instance: Some("hub".to_owned()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..CoreEvent::default()
    }
}

#[cfg(test)]
mod tests {
    use federation_types::names::Gvk;

    use super::*;

    #[test]
    fn the_same_event_is_said_once() {
        let gvk = Gvk::new("apps/v1", "Deployment");
        let key = ObjectKey { gvk, namespace: "shop".into(), name: "Web:1".into() };
        let mut events = Events::default();
        let event = Event { reason: "NotPlaced", message: "no cluster fits".into() };
        events.say(&key, "apps/v1", "u1", &event);
        events.say(&key, "apps/v1", "u1", &event);
        assert_eq!(events.waiting.len(), 1);
        let said = &events.waiting[0];
        assert!(said.metadata.name.as_deref().unwrap().starts_with("web-1."));
        assert_eq!(said.involved_object.uid.as_deref(), Some("u1"));
        let other = Event { reason: "NotPlaced", message: "no room".into() };
        events.say(&key, "apps/v1", "u1", &other);
        assert_eq!(events.waiting.len(), 2);
    }
}
