//! What every part of the syncer shares.

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures::future::BoxFuture;
use kube::Client;
use parking_lot::{Mutex, RwLock};
use providers_core::{ConnectError, ConnectOptions, MemberClient};
use syncer_render::roll_up;

use crate::{
    board::Board, events::Events, index::Index, kinds::Kinds, member::Handle, pause::Pauses,
    renders::Evaluator, renders::Renders, session::Session,
};

/// How a member is reached: its name and its kubeconfig give a client.
pub type Dial = Arc<
    dyn Fn(String, Vec<u8>) -> BoxFuture<'static, Result<MemberClient, ConnectError>> + Send + Sync,
>;

/// Counts what is written. Every method has a body that does nothing.
pub trait Metrics: Send + Sync {
    /// A write into a member: `create`, `apply`, `delete` or `orphan`.
    fn wrote(&self, _cluster: &str, _verb: &'static str) {}
    /// A status of a Placement or a template.
    fn wrote_status(&self) {}
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {}

/// What the syncer is given.
#[derive(Clone)]
pub struct SyncerContext {
    /// The hub's API, as the identity `syncer`.
    pub hub: Client,
    /// The hub's own id, by which it knows its copies.
    pub hub_uid: String,
    pub dial: Dial,
    /// For expressions in the cluster selectors of overrides; without it they are refused.
    pub evaluate: Option<Evaluator>,
    pub metrics: Arc<dyn Metrics>,
}

impl fmt::Debug for SyncerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncerContext").field("hub_uid", &self.hub_uid).finish_non_exhaustive()
    }
}

impl SyncerContext {
    /// Reaches members by their kubeconfigs.
    pub fn new(hub: Client, hub_uid: String, connect: ConnectOptions) -> Self {
        let connect = Arc::new(connect);
        let dial: Dial = Arc::new(move |_, kubeconfig| {
            let connect = Arc::clone(&connect);
            Box::pin(async move { MemberClient::connect(&kubeconfig, &connect).await })
        });
        Self { hub, hub_uid, dial, evaluate: None, metrics: Arc::new(NoMetrics) }
    }
}

pub(crate) struct Shared {
    pub(crate) hub: Client,
    pub(crate) hub_uid: String,
    pub(crate) hub_kinds: Kinds,
    pub(crate) dial: Dial,
    pub(crate) index: RwLock<Index>,
    pub(crate) board: Board,
    pub(crate) renders: Renders,
    pub(crate) events: Events,
    pub(crate) pauses: Pauses,
    pub(crate) metrics: Arc<dyn Metrics>,
    pub(crate) members: Mutex<BTreeMap<String, Handle>>,
}

/// So many passes under way at once are a wave, and not the daily life of a fleet.
const WAVE: usize = 16;

impl Shared {
    /// Whether many copies are being written just now.
    pub(crate) fn is_busy(&self) -> bool {
        self.members.lock().values().map(|it| it.queue.running()).sum::<usize>() >= WAVE
    }

    pub(crate) fn new(context: SyncerContext) -> Self {
        Self {
            renders: Renders::new(context.hub_uid.clone(), context.evaluate),
            hub: context.hub,
            hub_uid: context.hub_uid,
            hub_kinds: Kinds::default(),
            dial: context.dial,
            index: RwLock::default(),
            board: Board::default(),
            events: Events::new(),
            pauses: Pauses::default(),
            metrics: context.metrics,
            members: Mutex::default(),
        }
    }

    /// Seconds since the epoch.
    pub(crate) fn now(&self) -> i64 {
        jiff::Timestamp::now().as_second()
    }

    /// RFC 3339.
    pub(crate) fn now_text(&self) -> String {
        jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// A member does not answer: its copies keep their last values, marked stale.
    pub(crate) fn darken(&self, cluster: &str, why: &str) {
        for key in self.index.read().of_cluster(cluster) {
            let last = self.board.last(&key, cluster).unwrap_or_default();
            self.board.report(&key, cluster, roll_up::unreachable(&last, why));
        }
    }

    /// The members that are connected, by name.
    pub(crate) fn sessions(&self) -> Vec<(String, Arc<Session>)> {
        let members = self.members.lock();
        members.iter().filter_map(|(name, it)| Some((name.clone(), it.session()?))).collect()
    }
}
