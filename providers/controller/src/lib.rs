//! Keeps MemberClusters true: whether each answers, who it is, what it serves, and how much room it has.
//!
//! ```text
//! MemberClusters, Secrets ─▶ fleet ─▶ one task per member ─▶ probe · discovery · room ─▶ report ─▶ MemberCluster.status
//! ```
//!
//! Members are independent: each has its own task, connections and back-off, so a sick one slows nobody. A member whose
//! state does not change costs no write.

mod credentials;
mod definitions;
mod fleet;
mod health;
mod identity;
mod member;
mod report;
mod room;

use std::sync::Arc;

use kube::Client;
use parking_lot::Mutex;
use providers_core::ConnectOptions;

/// Field manager of what this controller writes into a MemberCluster's status; other fields there are the syncer's.
pub const FIELD_MANAGER: &str = "providers-controller";

/// What the server's owner decides.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Absolute paths of the exec plug-ins that may run (RULES 4.8).
    pub allowed_exec: Vec<String>,
}

/// What the tasks of this crate share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) connect: ConnectOptions,
    pub(crate) identities: Mutex<identity::Identities>,
}

/// Watches the fleet; ends only when it is dropped, and then with all its tasks.
pub async fn run(client: Client, options: Options) {
    let connect =
        ConnectOptions { allowed_exec: options.allowed_exec, ..ConnectOptions::default() };
    let context = Arc::new(Context { client, connect, identities: Mutex::default() });
    fleet::follow(context).await;
}
