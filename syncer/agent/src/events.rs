//! Events: on templates, what a member refused or holds in a copy's place, said once; on members, as others ask for them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use federation_types::{
    names::{ObjectKey, short_hash},
    reason::copy,
};
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};

use crate::{index::Index, queue::Key};

/// The same refusal is not said again for so long.
const QUIET: Duration = Duration::from_secs(600);
const WAITING: usize = 256;

#[derive(Debug)]
struct Trouble {
    key: Key,
    cluster: String,
    reason: &'static str,
    message: String,
}

/// Takes troubles of copies in without waiting; too many at once are dropped, as each copy's report holds its own.
#[derive(Debug)]
pub(crate) struct Events {
    said: Mutex<HashMap<String, Instant>>,
    out: mpsc::Sender<Trouble>,
    waiting: Mutex<Option<mpsc::Receiver<Trouble>>>,
}

impl Events {
    pub(crate) fn new() -> Self {
        let (out, waiting) = mpsc::channel(WAITING);
        Self { said: Mutex::default(), out, waiting: Mutex::new(Some(waiting)) }
    }

    /// A member refused a copy, or it could not be rendered for it.
    pub(crate) fn refused(&self, key: &Key, cluster: &str, message: &str) {
        let id = short_hash(format!("{key}/{cluster}/{message}").as_bytes());
        let now = Instant::now();
        let mut said = self.said.lock();
        said.retain(|_, at| now.duration_since(*at) < QUIET);
        if said.insert(id, now).is_some() {
            return;
        }
        drop(said);
        self.say(key, cluster, copy::REFUSED, message);
    }

    /// Something else has come to be in the place of a copy.
    pub(crate) fn conflict(&self, key: &Key, cluster: &str, reason: &'static str, message: &str) {
        self.say(key, cluster, reason, message);
    }

    fn say(&self, key: &Key, cluster: &str, reason: &'static str, message: &str) {
        let trouble = Trouble {
            key: Arc::clone(key),
            cluster: cluster.to_owned(),
            reason,
            message: message.to_owned(),
        };
        if self.out.try_send(trouble).is_err() {
            tracing::debug!(%key, cluster, "too many events at once");
        }
    }

    /// Writes them, for ever.
    pub(crate) async fn write(&self, hub: &Client, index: &parking_lot::RwLock<Index>) {
        let Some(mut waiting) = self.waiting.lock().take() else { return };
        while let Some(trouble) = waiting.recv().await {
            let uid = index.read().placement(&trouble.key).map(|it| it.spec.template.uid.clone());
            if let Err(error) = write(hub, &trouble, uid.unwrap_or_default()).await {
                tracing::debug!(key = %trouble.key, %error, "an event was not written");
            }
        }
    }
}

async fn write(hub: &Client, trouble: &Trouble, uid: String) -> Result<(), kube::Error> {
    let ObjectKey { gvk, namespace, name } = &*trouble.key;
    let involved = json!({
        "apiVersion": gvk.api_version(), "kind": gvk.kind, "name": name,
        "namespace": namespace, "uid": uid,
    });
    let message = format!("cluster {}: {}", trouble.cluster, trouble.message);
    post(hub, &involved, "Warning", trouble.reason, &message).await
}

/// Writes one event about an object.
pub(crate) async fn post(
    hub: &Client,
    involved: &Value,
    kind: &str,
    reason: &str,
    message: &str,
) -> Result<(), kube::Error> {
    let text = |field: &str| involved.get(field).and_then(Value::as_str).unwrap_or_default();
    let now = jiff::Timestamp::now();
    let namespace = match text("namespace") {
        "" => "default",
        namespace => namespace,
    };
    let id = short_hash(format!("{involved}/{message}/{now}").as_bytes());
    // An event's name may be shorter than the object's.
    let stem: String = text("name").to_lowercase().replace(':', "-").chars().take(200).collect();
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{stem}.{id}"), "namespace": namespace},
        "involvedObject": involved,
        "type": kind, "reason": reason, "message": message,
        "source": {"component": "archipel-syncer"},
        "reportingComponent": "archipel-syncer", "reportingInstance": "hub",
        "firstTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "count": 1,
    });
    let body = serde_json::to_vec(&event).expect("a JSON value serialises");
    let request = http::Request::post(format!("/api/v1/namespaces/{namespace}/events"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(kube::Error::HttpError)?;
    hub.request_text(request).await.map(drop)
}
