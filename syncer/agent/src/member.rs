//! One task per member: it connects, runs a session and connects again, whatever the others do.

use std::{sync::Arc, time::Duration};

use federation_types::cluster::SecretRef;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use parking_lot::Mutex;
use providers_core::{ConnectError, MemberClient};
use tokio::{task::JoinHandle, time::Instant};

use crate::{context::Shared, index::ClusterEntry, queue::Queue, session::Session};

const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Exec credentials are renewed so long before they end.
const BEFORE_EXPIRY: Duration = Duration::from_secs(60);

/// A member's task, as the rest of the syncer holds it.
pub(crate) struct Handle {
    pub(crate) queue: Arc<Queue>,
    /// What the connection is made of; another one needs another task.
    secret: Option<SecretRef>,
    uid: String,
    session: Arc<Mutex<Option<Arc<Session>>>>,
    task: JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Handle {
    pub(crate) fn start(shared: &Arc<Shared>, entry: &ClusterEntry) -> Self {
        let queue = Arc::new(Queue::default());
        let session = Arc::new(Mutex::new(None));
        let task = tokio::spawn(run(
            Arc::clone(shared),
            entry.facts.name.clone(),
            entry.secret.clone(),
            Arc::clone(&queue),
            Arc::clone(&session),
        ));
        Self { queue, secret: entry.secret.clone(), uid: entry.uid.clone(), session, task }
    }

    pub(crate) fn is_for(&self, entry: &ClusterEntry) -> bool {
        self.secret == entry.secret && self.uid == entry.uid
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session.lock().clone()
    }
}

async fn run(
    shared: Arc<Shared>,
    name: String,
    secret: Option<SecretRef>,
    queue: Arc<Queue>,
    current: Arc<Mutex<Option<Arc<Session>>>>,
) {
    let mut pause = Duration::from_secs(1);
    loop {
        let started = Instant::now();
        match connect(&shared, &name, secret.as_ref()).await {
            Ok(client) => {
                let lifetime = lifetime(&client);
                let session = Session::new(&name, &shared, client, &queue);
                *current.lock() = Some(Arc::clone(&session));
                tokio::select! {
                    () = session.run() => (),
                    () = tokio::time::sleep(lifetime) => (),
                }
                *current.lock() = None;
            }
            Err(why) => {
                tracing::debug!(cluster = %name, %why, "not connected");
                shared.darken(&name, &why);
            }
        }
        if started.elapsed() > MAX_PAUSE {
            pause = Duration::from_secs(1);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

async fn connect(
    shared: &Shared,
    name: &str,
    secret: Option<&SecretRef>,
) -> Result<MemberClient, String> {
    let reference = secret.ok_or("its connection names no kubeconfig")?;
    let api: Api<Secret> = Api::namespaced(shared.hub.clone(), &reference.namespace);
    let secret = api
        .get(&reference.name)
        .await
        .map_err(|error| format!("secret {}/{}: {error}", reference.namespace, reference.name))?;
    let kubeconfig = secret.data.unwrap_or_default().remove("kubeconfig").ok_or_else(|| {
        format!("secret {}/{} has no key `kubeconfig`", reference.namespace, reference.name)
    })?;
    (shared.dial)(name.to_owned(), kubeconfig.0)
        .await
        .map_err(|error: ConnectError| error.to_string())
}

fn lifetime(client: &MemberClient) -> Duration {
    const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
    let Some(end) = client.expires().and_then(|it| it.parse::<jiff::Timestamp>().ok()) else {
        return NEVER;
    };
    let left = end.as_second() - jiff::Timestamp::now().as_second();
    let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
    left.saturating_sub(BEFORE_EXPIRY).max(Duration::from_secs(1))
}

/// Starts and ends members' tasks as the inventory says.
pub(crate) fn align(shared: &Arc<Shared>) {
    let clusters = shared.index.read().clusters.clone();
    let mut members = shared.members.lock();
    members.retain(|name, handle| clusters.get(name).is_some_and(|it| handle.is_for(it)));
    for (name, entry) in &clusters {
        members.entry(name.clone()).or_insert_with(|| Handle::start(shared, entry));
    }
}
