//! Garbage collection, namespaces, service accounts and time to live, as a client of the API.
//!
//! ```text
//! discovery ─▶ kinds ─▶ metadata watches ─▶ graph, expiry ─▶ queue ─▶ live look ─▶ delete | patch
//! ```
//!
//! One task holds all state. It is told of every change of every served kind, keeps what it needs of each (mostly a
//! uid), and works on what it suspects. Nothing is deleted on the word of the state alone: each deletion is preceded by
//! a live read and carries the uid. While nothing changes, nothing is written.

use std::time::Duration;

use kube::Client;

pub use crate::base::NAMESPACES;

mod base;
mod controller;
mod expiry;
mod garbage;
mod graph;
mod kinds;
mod namespaces;
mod queue;

#[cfg(test)]
mod tests;

/// What the lifecycle controller is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The certificate that clients trust, PEM: `kube-root-ca.crt` of each namespace.
    pub ca_certificate: String,
    /// The hub's own id, which its namespace `archipel-system` tells whoever joins a member; none where nobody does.
    pub hub_uid: Option<String>,
    /// How often discovery is asked although no CustomResourceDefinition changed.
    pub discover_every: Duration,
    /// Kinds (`plural.group`) that their own controller removes from a namespace that goes: they are waited for, never
    /// deleted here. What they say is still needed by whoever cleans up behind them.
    pub removed_by_others: Vec<String>,
}

impl Options {
    /// The usual intervals.
    pub fn new(ca_certificate: impl Into<String>) -> Self {
        Self {
            ca_certificate: ca_certificate.into(),
            hub_uid: None,
            discover_every: Duration::from_secs(300),
            removed_by_others: Vec::new(),
        }
    }
}

/// Why the lifecycle controller could not start. Once it runs, it does not fail: it tries again.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    #[error("the system namespaces could not be made")]
    Base(#[source] kube::Error),
    #[error("the served kinds could not be read")]
    Discovery(#[source] kube::Error),
}

/// Makes the system namespaces and then runs until it is dropped.
pub async fn run(client: Client, options: Options) -> Result<(), LifecycleError> {
    base::ensure(&client, options.hub_uid.as_deref()).await.map_err(LifecycleError::Base)?;
    let served = kinds::served(&client).await.map_err(LifecycleError::Discovery)?;
    controller::Controller::new(client, options).run(&served).await
}
