//! One member: connects, probes, and reports, until the MemberCluster is gone or names another cluster.
//!
//! ```text
//! desired ─▶ connect ─▶ probe ─▶ identity ─▶ version, discovery ─┐
//!     ▲                   ▲                  room (own watches) ─┴▶ report
//!     └── credentials ────┘ each 10 s, 5 s while it is silent, soon after a CRD changed
//! ```

use std::{sync::Arc, time::Duration};

use federation_types::{
    cluster::{MemberCluster, SecretRef},
    names::{CLUSTER_UID_ANNOTATION, short_hash},
    reason::cluster as reason,
};
use http::Request;
use jiff::Timestamp;
use kube::ResourceExt;
use providers_core::{ConnectError, MemberClient, apis::Discovery, join::identity};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    Context, credentials,
    definitions::{self, Looks},
    health::{Health, Verdict},
    report::Report,
    room::{self, Seen},
};

const PROBE_EACH: Duration = Duration::from_secs(10);
const PROBE_SILENT_EACH: Duration = Duration::from_secs(5);
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// What is asked for less often than whether it answers: version, kinds, identity.
const DETAILS_EACH: Duration = Duration::from_secs(30);
/// A kubeconfig that cannot work is tried again, in case it is the plug-in that could not.
const BROKEN_EACH: Duration = Duration::from_secs(60);
/// The first report waits so long for the room, so that decisions need not be made twice.
const ROOM_PATIENCE: Duration = Duration::from_secs(2);

/// What the hub says of a member: changes of status are no news here.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) member: Arc<MemberCluster>,
    /// `None`: the Secret or its key is missing.
    pub(crate) kubeconfig: Option<Arc<[u8]>>,
}

impl Desired {
    pub(crate) fn secret(&self) -> Option<&SecretRef> {
        self.member.spec.connection.kubeconfig.as_ref().map(|it| &it.secret_ref)
    }
}

/// Runs until it is aborted.
pub(crate) async fn run(context: Arc<Context>, mut desired: watch::Receiver<Desired>) {
    let first = desired.borrow_and_update().clone();
    let mut task = Task {
        name: first.member.name_any(),
        report: Report::of(&first.member),
        health: Health::default(),
        desired: first,
        round: 0,
        context,
    };
    loop {
        task.report.set_generation(task.desired.member.metadata.generation);
        let pause = task.session(&mut desired).await;
        task.write().await;
        tokio::select! {
            changed = desired.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => (),
        }
        task.desired = desired.borrow_and_update().clone();
    }
}

struct Task {
    context: Arc<Context>,
    name: String,
    desired: Desired,
    report: Report,
    health: Health,
    round: u64,
}

impl Task {
    /// One connection's life: ends when it is of no use, with how long to wait before the next.
    async fn session(&mut self, changes: &mut watch::Receiver<Desired>) -> Duration {
        let Some(kubeconfig) = self.desired.kubeconfig.clone() else {
            let message = match self.desired.secret() {
                Some(it) => {
                    format!(
                        "the Secret {}/{} with the key `kubeconfig` is missing",
                        it.namespace, it.name
                    )
                }
                None => "spec.connection: names no kubeconfig".to_owned(),
            };
            self.report.set_verdict(Verdict::held(reason::CREDENTIALS_MISSING, message));
            return BROKEN_EACH;
        };
        let client = match MemberClient::prepare(&kubeconfig, &self.context.connect).await {
            Ok(client) => client,
            Err(error) => {
                self.report.set_verdict(Verdict::from(&error));
                return BROKEN_EACH;
            }
        };
        let mut discovery = Discovery::default();
        let (publish, mut room) = watch::channel(None);
        let mut publish = Some(publish);
        // The room's watches end with the session.
        let mut watches = JoinSet::new();
        let changed = Arc::new(Notify::new());
        let mut looks = Looks::default();
        let mut details_due = Instant::now();
        let mut probe_due = Instant::now();
        let mut first = true;
        loop {
            if probe_due <= Instant::now() || looks.is_due() {
                let details =
                    details_due <= Instant::now() || looks.is_due() || self.health.misses() > 0;
                let probe = self.probe(&client, &mut discovery, details).await;
                let known = self.report.verdict().is_some();
                if probe.is_ok() {
                    if details {
                        details_due = Instant::now() + self.jitter(DETAILS_EACH);
                    }
                    if let Some(publish) = publish.take() {
                        let (watching, changed) = (client.watch().clone(), Arc::clone(&changed));
                        watches.spawn(definitions::follow(watching, changed));
                        watches.spawn(room::follow(client.watch().clone(), publish));
                        // Neither a member without right to its pods nor a slow one holds the first report back.
                        if timeout(ROOM_PATIENCE, room.changed()).await.is_ok() {
                            self.see(&mut room);
                        }
                    }
                }
                looks.looked();
                if let Some(verdict) = self.health.observe(probe, known) {
                    if [reason::IDENTITY_CHANGED, reason::DUPLICATE]
                        .contains(&verdict.reason.as_str())
                    {
                        // It is not the cluster that was joined: nothing of it is looked at.
                        self.report.set_verdict(verdict);
                        return self.jitter(PROBE_EACH);
                    }
                    self.report.set_verdict(verdict);
                }
                let silent = self.health.misses() > 0;
                let each = if silent { PROBE_SILENT_EACH } else { PROBE_EACH };
                probe_due = Instant::now() + self.jitter(each);
                if !silent && !first {
                    self.renew(&client, &kubeconfig).await;
                }
                first = false;
            }
            // While it was probed, its room may have moved on.
            if room.has_changed().unwrap_or(false) {
                self.see(&mut room);
            }
            self.write().await;
            if expired(&client) {
                return Duration::ZERO;
            }
            let wake = self
                .report
                .due()
                .map_or(probe_due, |it| it.max(Instant::now() + WRITE_PAUSE).min(probe_due));
            let wake = looks.due().map_or(wake, |it| it.min(wake));
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return BROKEN_EACH;
                    }
                    let desired = changes.borrow_and_update().clone();
                    let same = desired.kubeconfig == self.desired.kubeconfig;
                    self.report.set_generation(desired.member.metadata.generation);
                    self.desired = desired;
                    if !same {
                        return Duration::ZERO;
                    }
                }
                Ok(()) = room.changed() => self.see(&mut room),
                () = changed.notified() => looks.begin(),
                () = tokio::time::sleep_until(wake) => (),
            }
        }
    }

    fn see(&mut self, room: &mut watch::Receiver<Option<Seen>>) {
        if let Some(seen) = room.borrow_and_update().clone() {
            self.report.set_room(seen);
        }
    }

    /// Asks whether it answers and, each now and then, who it is and what it serves.
    async fn probe(
        &mut self,
        client: &MemberClient,
        discovery: &mut Discovery,
        details: bool,
    ) -> Result<(), Verdict> {
        let verdict = |error: &kube::Error| {
            Verdict::from(&ConnectError::from_request(client.server(), error))
        };
        let silent =
            || Verdict::from(&ConnectError::Timeout { server: client.server().to_owned() });
        let ready = Request::get("/readyz").body(Vec::new()).expect("the parts are constants");
        timeout(PROBE_PATIENCE, client.rest().request_text(ready))
            .await
            .map_err(|_| silent())?
            .map_err(|error| verdict(&error))?;
        if !details {
            return self.claim(None);
        }
        let uid = timeout(PROBE_PATIENCE, identity(client.rest()))
            .await
            .map_err(|_| silent())?
            .map_err(|error| verdict(&error))?;
        self.claim(uid.as_deref())?;
        let version = timeout(PROBE_PATIENCE, client.rest().apiserver_version())
            .await
            .map_err(|_| silent())?
            .map_err(|error| verdict(&error))?;
        self.report.set_version(version.git_version);
        match timeout(PROBE_PATIENCE, discovery.refresh(client.rest())).await {
            Ok(Ok(_)) => self.report.set_apis(discovery.creatable()),
            // It answers; what it served before it serves still, as far as anyone knows.
            Ok(Err(error)) => tracing::warn!(cluster = self.name, %error, "discovery failed"),
            Err(_) => tracing::warn!(cluster = self.name, "discovery took too long"),
        }
        Ok(())
    }

    /// Holds a member that is another cluster than it was, or the same as another member (RULES 4.8).
    fn claim(&mut self, uid: Option<&str>) -> Result<(), Verdict> {
        let joined_as = self.desired.member.annotations().get(CLUSTER_UID_ANNOTATION).cloned();
        let known =
            Some(self.report.cluster_uid().to_owned()).filter(|it| !it.is_empty()).or(joined_as);
        let (known, uid) = match (known, uid) {
            (None, None) => return Ok(()),
            (Some(known), None) => (known.clone(), known),
            (None, Some(uid)) => (uid.to_owned(), uid.to_owned()),
            (Some(known), Some(uid)) => (known, uid.to_owned()),
        };
        if known != uid {
            let message = format!(
                "the cluster's identity (uid of kube-system) was {known} and is {uid}: it is held; \
                 if it was rebuilt, let it leave with --forget and join it again"
            );
            return Err(Verdict::held(reason::IDENTITY_CHANGED, message));
        }
        let created = self.desired.member.metadata.creation_timestamp.as_ref();
        let created = created.map(|it| it.0.to_string()).unwrap_or_default();
        let claimed = self.context.identities.lock().claim(&uid, &created, &self.name);
        claimed.map_err(|first| {
            Verdict::held(
                reason::DUPLICATE,
                format!("it is the same cluster as the member `{first}`"),
            )
        })?;
        self.report.set_identity(&uid);
        Ok(())
    }

    async fn renew(&self, client: &MemberClient, kubeconfig: &[u8]) {
        let Some(secret) = self.desired.secret() else { return };
        match credentials::renew(&self.context.client, client, secret, kubeconfig).await {
            Ok(true) => tracing::info!(cluster = self.name, "token renewed"),
            Ok(false) => (),
            Err(error) => {
                tracing::warn!(cluster = self.name, %error, "token not renewed; tried again");
            }
        }
    }

    async fn write(&mut self) {
        if let Err(error) = self.report.write(&self.context.client, &self.desired.member).await {
            tracing::warn!(cluster = self.name, %error, "status not written; tried again");
        }
    }

    /// Spreads members over time: up to a fifth more, another each round.
    fn jitter(&mut self, each: Duration) -> Duration {
        self.round += 1;
        let hash = short_hash(format!("{}/{}", self.name, self.round).as_bytes());
        let share = u32::from_str_radix(&hash[..4], 16).unwrap_or(0);
        each + each * share / (5 * 0x1_0000)
    }
}

/// A write that failed is tried again no sooner.
const WRITE_PAUSE: Duration = Duration::from_secs(1);

/// Whether a plug-in's credentials are about to end.
fn expired(client: &MemberClient) -> bool {
    let ends = client.expires().and_then(|it| it.parse::<Timestamp>().ok());
    ends.is_some_and(|it| it.as_second() - 60 <= Timestamp::now().as_second())
}
