//! What is known of a member, and when it is written: on news, paced, and never because time passed (but for the
//! time of the last answer, each five minutes).

use federation_types::{
    cluster::{MemberCluster, MemberClusterStatus, NodeShape},
    condition::{self, Condition},
    names::API_VERSION,
    reason::condition::READY,
};
use jiff::{Timestamp, Unit};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::{
    FIELD_MANAGER,
    health::Verdict,
    room::{self, Seen},
};

/// Room of a member is written no more often.
const ROOM_PACE: Duration = Duration::from_secs(10);
/// The time of the last answer is written at least so often.
const SEEN_PACE: Duration = Duration::from_secs(300);

/// The part of a MemberCluster's status that is this controller's.
#[derive(Debug)]
pub(crate) struct Report {
    name: String,
    uid: Option<String>,
    generation: Option<i64>,
    status: MemberClusterStatus,
    /// Seen and not written yet, for its pace or for want of news.
    room: Option<Seen>,
    room_written: Option<Instant>,
    written: Option<Instant>,
    dirty: bool,
    announce: Option<Verdict>,
}

impl Report {
    /// Goes on from what is stored: after a restart nothing is written that is known already.
    pub(crate) fn of(member: &MemberCluster) -> Self {
        let mut status = member.status.clone().unwrap_or_default();
        status.conditions.retain(|it| it.kind == READY);
        Self {
            name: member.name_any(),
            uid: member.metadata.uid.clone(),
            generation: member.metadata.generation,
            status,
            room: None,
            room_written: None,
            // What was stored last may be as old as the pace allows.
            written: Some(Instant::now()),
            dirty: false,
            announce: None,
        }
    }

    /// The identity that this member was first seen with.
    pub(crate) fn cluster_uid(&self) -> &str {
        &self.status.uid
    }

    /// What the condition says now; `None` before anything was said.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        condition::find(&self.status.conditions, READY).map(|it| Verdict {
            ready: it.status == "True",
            reason: it.reason.clone(),
            message: it.message.clone(),
        })
    }

    pub(crate) fn set_generation(&mut self, generation: Option<i64>) {
        if self.generation != generation {
            self.generation = generation;
            self.dirty = true;
        }
    }

    pub(crate) fn set_verdict(&mut self, verdict: Verdict) {
        if self.verdict().is_some_and(|it| it.is_same(&verdict)) {
            return;
        }
        let condition = Condition {
            kind: READY.to_owned(),
            status: if verdict.ready { "True" } else { "False" }.to_owned(),
            reason: verdict.reason.clone(),
            message: verdict.message.clone(),
            observed_generation: self.generation,
            last_transition_time: String::new(),
        };
        self.dirty |= condition::set(&mut self.status.conditions, condition, &now());
        self.announce = Some(verdict);
    }

    pub(crate) fn set_identity(&mut self, uid: &str) {
        change(&mut self.status.uid, uid.to_owned(), &mut self.dirty);
    }

    pub(crate) fn set_version(&mut self, version: String) {
        change(&mut self.status.version, version, &mut self.dirty);
    }

    /// An empty list is no news: a member that serves nothing has something else wrong with it (RULES 1.2).
    pub(crate) fn set_apis(&mut self, apis: Vec<String>) {
        if !apis.is_empty() {
            change(&mut self.status.apis, apis, &mut self.dirty);
        }
    }

    pub(crate) fn set_room(&mut self, seen: Seen) {
        let news =
            self.status.nodes != seen.nodes || room::moved(&self.status.shapes, &seen.shapes);
        self.room = news.then_some(seen);
    }

    /// When [`Report::write`] has something to do; `None`: not before the next news.
    pub(crate) fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        if self.dirty {
            return Some(now);
        }
        let room = self.room.as_ref().map(|_| self.room_written.map_or(now, |it| it + ROOM_PACE));
        let ready = self.verdict().is_some_and(|it| it.ready);
        let seen = self.written.filter(|_| ready).map(|it| it + SEEN_PACE);
        room.into_iter().chain(seen).min()
    }

    /// Writes what is due, and tells of a change of Ready by an event.
    pub(crate) async fn write(
        &mut self,
        client: &Client,
        member: &MemberCluster,
    ) -> Result<(), kube::Error> {
        if self.due().is_none_or(|it| it > Instant::now()) {
            return Ok(());
        }
        let paced = self.room_written.is_none_or(|it| it + ROOM_PACE <= Instant::now());
        let room = if paced { self.room.clone() } else { None };
        if self.verdict().is_some_and(|it| it.ready) {
            self.status.last_seen = now();
        }
        if let Some(seen) = &room {
            // What came later may not have been looked at yet.
            self.status.room_time = text(Timestamp::now() - room::PACE);
            self.status.nodes = seen.nodes;
            self.status.shapes.clone_from(&seen.shapes);
        }
        let object = json!({
            "apiVersion": API_VERSION, "kind": "MemberCluster",
            "metadata": {"name": self.name, "uid": self.uid},
            "status": own(&self.status, self.generation),
        });
        let members = Api::<MemberCluster>::all(client.clone());
        let apply = PatchParams::apply(FIELD_MANAGER).force();
        members.patch_status(&self.name, &apply, &Patch::Apply(&object)).await?;
        self.dirty = false;
        self.written = Some(Instant::now());
        if room.is_some() {
            self.room = None;
            self.room_written = self.written;
        }
        if let Some(verdict) = self.announce.take() {
            announce(client, member, &verdict).await;
        }
        Ok(())
    }
}

fn change<T: PartialEq>(field: &mut T, new: T, dirty: &mut bool) {
    if *field != new {
        *field = new;
        *dirty = true;
    }
}

/// Our fields and no others: `copies` and `unknownCopies` are the syncer's.
fn own(status: &MemberClusterStatus, generation: Option<i64>) -> Value {
    let MemberClusterStatus {
        conditions,
        uid,
        version,
        apis,
        shapes,
        nodes,
        room_time,
        last_seen,
        ..
    } = status;
    let shapes: &[NodeShape] = shapes;
    let mut own = json!({
        "observedGeneration": generation, "conditions": conditions, "uid": uid, "version": version,
        "apis": apis, "shapes": shapes, "nodes": nodes, "lastSeen": last_seen,
    });
    if !room_time.is_empty() {
        own["roomTime"] = json!(room_time);
    }
    own
}

async fn announce(client: &Client, member: &MemberCluster, verdict: &Verdict) {
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: None };
    let event = Event {
        type_: if verdict.ready { EventType::Normal } else { EventType::Warning },
        reason: verdict.reason.clone(),
        note: Some(verdict.message.clone()),
        action: "Probe".to_owned(),
        secondary: None,
    };
    let recorder = Recorder::new(client.clone(), reporter);
    if let Err(error) = recorder.publish(&event, &member.object_ref(&())).await {
        tracing::debug!(%error, "an event was not recorded");
    }
}

fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}

/// A time that is not later than this one, in RFC 3339 with seconds.
fn text(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use federation_types::cluster::MemberClusterSpec;

    use super::*;

    fn report() -> Report {
        Report::of(&MemberCluster::new("a", MemberClusterSpec::default()))
    }

    fn seen(nodes: i64) -> Seen {
        Seen { nodes, shapes: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_whose_state_does_not_change_is_not_written() {
        let mut report = report();
        report.set_verdict(Verdict::ready());
        report.set_version("v1.36.3".to_owned());
        assert!(report.dirty);
        report.dirty = false;
        report.set_verdict(Verdict { message: "otherwise".to_owned(), ..Verdict::ready() });
        report.set_version("v1.36.3".to_owned());
        report.set_apis(Vec::new());
        report.set_room(Seen::default());
        assert!(!report.dirty && report.room.is_none());
        assert_eq!(report.due(), Some(Instant::now() + SEEN_PACE));
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_written_at_once_and_then_paced() {
        let mut report = report();
        report.set_room(seen(3));
        assert_eq!(report.due(), Some(Instant::now()));
        report.status.nodes = 3;
        report.room_written = Some(Instant::now());
        report.set_room(seen(4));
        assert_eq!(report.due(), Some(Instant::now() + ROOM_PACE));
        report.set_room(seen(3));
        assert_eq!(report.due(), None, "it moved back, and Ready was never said");
    }

    #[tokio::test]
    async fn rule_1_2_an_empty_discovery_takes_nothing_away() {
        let mut report = report();
        report.set_apis(vec!["v1/Service".to_owned()]);
        report.set_apis(Vec::new());
        assert_eq!(report.status.apis, ["v1/Service"]);
    }

    #[tokio::test]
    async fn what_the_syncer_writes_is_none_of_ours() {
        let written = own(&MemberClusterStatus { copies: 7, ..Default::default() }, Some(1));
        assert!(written.get("copies").is_none() && written.get("unknownCopies").is_none());
    }
}
