//! `archipel cluster leave`: refuses while copies exist, unless it is said what becomes of them (RULES 4.8).

use std::time::Duration;

use clap::Args;
use federation_types::{
    cluster::{MemberCluster, Taint, TaintEffect},
    names::{
        ALLOW_DELETE_ANNOTATION, DRAINING_TAINT, LEAVE_ANNOTATION, LEAVE_ORPHAN, SYSTEM_NAMESPACE,
    },
    placement::{ClusterPlacement, Placement, PlacementSpec, PlacementStatus},
    reason,
    words::counted,
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use providers_core::{ConnectOptions, MemberClient, join::clean_up};
use serde_json::json;
use tokio::time::Instant;

use super::join;
use crate::{
    hub::Hub,
    orphans::member::Member,
    output::{self, Failure},
};

/// How long the hub may take to let go of a member that holds nothing.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EACH: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct Leave {
    /// The member.
    name: String,
    #[command(flatten)]
    mode: Mode,
    /// How many seconds to wait for its copies to go; for ever if left out.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    #[command(flatten)]
    hub: Hub,
}

/// What becomes of the copies.
#[derive(Clone, Copy, Debug, Args)]
#[group(multiple = false)]
struct Mode {
    /// Move its copies elsewhere first.
    #[arg(long)]
    drain: bool,
    /// Leave its copies running, without the hub's marks.
    #[arg(long)]
    orphan: bool,
    /// The cluster is lost: forget it at once, whatever it holds.
    #[arg(long)]
    forget: bool,
}

impl Leave {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let hub = self.hub.client().await?;
        let members = Api::<MemberCluster>::all(hub.clone());
        let name = self.name.as_str();
        let member =
            members.get_opt(name).await?.ok_or_else(|| format!("there is no member `{name}`"))?;
        let Mode { drain, orphan, forget } = self.mode;
        let held = copies(&hub, name, orphan).await?;
        if !(held.is_empty() || drain || orphan || forget) {
            let held = counted(held.len(), "copy", "copies");
            return Err(format!(
                "{name} holds {held}: --drain moves them elsewhere first, --orphan leaves them running \
                 without the hub, --forget is for a cluster that is lost"
            )
            .into());
        }
        // Said before the taint drives the copies away: a copy that is to stay must not be deleted.
        if orphan {
            let annotation = json!({"metadata": {"annotations": {LEAVE_ANNOTATION: LEAVE_ORPHAN}}});
            members.patch(name, &PatchParams::default(), &Patch::Merge(annotation)).await?;
        }
        if drain || orphan {
            taint(&members, name).await?;
        }
        if !forget {
            emptied(&hub, name, orphan, self.timeout.map(Duration::from_secs)).await?;
        }
        let hub_uid = join::hub_uid(&hub).await?;
        let client = if forget { None } else { Some(connection(&hub, &member).await) };
        if let Some(Ok(client)) = &client {
            unknown_copies(name, client, &hub_uid, orphan).await;
        }
        let_go(&members, name, forget).await?;
        if let Some(client) = client {
            let cleaned = match client {
                Ok(client) => clean_up(&client, &hub_uid).await.map_err(Failure::from),
                Err(error) => Err(error),
            };
            match cleaned {
                Ok(left) => {
                    for it in left {
                        output::progress(format_args!("note: in {name}, {it}"));
                    }
                }
                Err(error) => output::progress(format_args!(
                    "note: {name} was not tidied up, and what a join has made there stays: {}",
                    output::with_causes(&*error)
                )),
            }
        }
        let secrets = Api::<Secret>::namespaced(hub.clone(), SYSTEM_NAMESPACE);
        match secrets.delete(&format!("member-{name}"), &DeleteParams::default()).await {
            Ok(_) => (),
            Err(kube::Error::Api(status)) if status.code == 404 => (),
            Err(error) => return Err(error.into()),
        }
        output::line(format_args!("{name} has left"));
        Ok(())
    }
}

/// What becomes of copies without a template: orphans lose our marks as all others do; else they are named, as nobody
/// finds them by the hub any more.
async fn unknown_copies(name: &str, client: &MemberClient, hub_uid: &str, orphan: bool) {
    let member = Member::new(name, client.rest().clone());
    let found = match member.marked(hub_uid).await {
        Ok(found) => found,
        Err(error) => {
            let why = output::with_causes(&*error);
            output::progress(format_args!(
                "note: {name} was not searched for unknown copies: {why}"
            ));
            return;
        }
    };
    let mut left = Vec::new();
    for it in found {
        if !orphan {
            left.push(it.to_string());
        } else if let Err(error) = member.let_go(&it).await {
            left.push(format!("{it}: {}", output::with_causes(&error)));
        }
    }
    if !left.is_empty() {
        let marks = counted(left.len(), "unknown copy keeps", "unknown copies keep");
        output::progress(format_args!(
            "note: {marks} the hub's marks in {}",
            listed_as(name, &left)
        ));
    }
}

/// Drives away whatever does not tolerate leaving clusters: nothing does unless it says so.
async fn taint(members: &Api<MemberCluster>, name: &str) -> Result<(), Failure> {
    let member = members.get(name).await?;
    let mut taints = member.spec.taints.clone();
    if taints.iter().any(|it| it.key == DRAINING_TAINT) {
        return Ok(());
    }
    taints.push(Taint {
        key: DRAINING_TAINT.to_owned(),
        value: String::new(),
        effect: TaintEffect::NoExecute,
        ..Taint::default()
    });
    // Taints are a list: another writer's change in between must not be lost.
    let patch = json!({
        "metadata": {"resourceVersion": member.metadata.resource_version},
        "spec": {"taints": taints},
    });
    members.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// The templates that have a copy there, or one that is not known to be gone, each with why: what the hub decided is
/// what counts, a member that does not answer included.
async fn copies(hub: &Client, name: &str, orphan: bool) -> Result<Vec<String>, kube::Error> {
    let all = ListParams::default();
    let placements = Api::<Placement>::all(hub.clone()).list(&all).await?;
    let mut held: Vec<String> = placements
        .iter()
        .filter_map(|it| {
            let namespace = it.namespace().unwrap_or_default();
            held(&namespace, &it.spec, it.status.as_ref(), name, orphan)
        })
        .collect();
    let placements = Api::<ClusterPlacement>::all(hub.clone()).list(&all).await?;
    held.extend(
        placements
            .iter()
            .filter_map(|it| self::held("", &it.spec.placement, it.status.as_ref(), name, orphan)),
    );
    held.sort();
    Ok(held)
}

/// A copy in a cluster and why it is still there: `Deployment shop/web: no cluster passes the rules of the policy`.
fn held(
    namespace: &str,
    spec: &PlacementSpec,
    status: Option<&PlacementStatus>,
    cluster: &str,
    orphan: bool,
) -> Option<String> {
    let placed = spec.clusters.iter().find(|it| it.name == cluster);
    let removing = spec.removing.iter().any(|it| it.name == cluster);
    if placed.is_none() && !removing {
        return None;
    }
    let template = match namespace {
        "" => format!("{} {}", spec.template.kind, spec.template.name),
        _ => format!("{} {namespace}/{}", spec.template.kind, spec.template.name),
    };
    let outcome = &spec.outcome;
    let copy = status.and_then(|it| it.clusters.iter().find(|it| it.name == cluster));
    let said = copy.map_or("", |it| match it.message.as_str() {
        "" => it.reason.as_str(),
        message => message,
    });
    let why = match placed {
        None if orphan => match copy.map_or("", |it| it.message.as_str()) {
            "" => "it stays there, without our marks".to_owned(),
            message => format!("it stays there, without our marks: {message}"),
        },
        None if said.is_empty() => "it is being deleted there".to_owned(),
        None => format!("it is being deleted there: {said}"),
        Some(_) if outcome.status != "True" => outcome.message.clone(),
        Some(_) if outcome.reason != reason::placed::PLACED => outcome.message.clone(),
        Some(placed) if placed.leaving.is_empty() => match &spec.rollout {
            Some(rollout) => format!("its next place waits: {}", rollout.message),
            None => "its next place is not decided yet".to_owned(),
        },
        Some(_) => {
            let others: Vec<&str> = spec
                .clusters
                .iter()
                .filter(|it| it.leaving.is_empty())
                .map(|it| it.name.as_str())
                .collect();
            format!("it waits until {} is ready", others.join(", "))
        }
    };
    Some(format!("{template}: {why}"))
}

/// So many copies are named; the others are counted.
const NAMED: usize = 5;

/// Waits until no copy is left there, and tells which are and why. What is left when the time is over is said in the
/// answer.
async fn emptied(
    hub: &Client,
    name: &str,
    orphan: bool,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let end = timeout.map(|it| Instant::now() + it);
    let mut said = Vec::new();
    loop {
        let left = copies(hub, name, orphan).await?;
        if left.is_empty() {
            return Ok(());
        }
        if end.is_some_and(|it| Instant::now() >= it) {
            let seconds = timeout.unwrap_or_default().as_secs();
            return Err(format!(
                "not done after {seconds} s; asked again, it goes on\n{}",
                listed(name, &left)
            )
            .into());
        }
        if left != said {
            output::progress(listed(name, &left));
            said = left;
        }
        tokio::time::sleep(LOOK_EACH).await;
    }
}

fn listed(name: &str, left: &[String]) -> String {
    let left_of = counted(left.len(), "copy", "copies");
    listed_as(&format!("{name}: {left_of} left"), left)
}

fn listed_as(head: &str, left: &[String]) -> String {
    let mut text = head.to_owned();
    for copy in left.iter().take(NAMED) {
        text = format!("{text}\n  {copy}");
    }
    if left.len() > NAMED {
        text = format!("{text}\n  and {} more: `archipel status`", left.len() - NAMED);
    }
    text
}

/// Deletes the MemberCluster and waits until it is gone. Only one that is forgotten may still hold copies.
async fn let_go(members: &Api<MemberCluster>, name: &str, forget: bool) -> Result<(), Failure> {
    if forget {
        let allow = json!({"metadata": {"annotations": {ALLOW_DELETE_ANNOTATION: "true"}}});
        members.patch(name, &PatchParams::default(), &Patch::Merge(allow)).await?;
    }
    members.delete(name, &DeleteParams::default()).await?;
    let waiting = until(members, name, |it| match it {
        None => Ok(()),
        Some(_) => Err("waiting for the hub to let go of it".to_owned()),
    });
    limited(Some(PATIENCE), waiting).await
}

/// A client with the credentials that the hub keeps; a leave does not hang on it.
pub(crate) async fn connection(
    hub: &Client,
    member: &MemberCluster,
) -> Result<MemberClient, Failure> {
    let none = || Failure::from("the hub keeps no credentials of it");
    let reference = &member.spec.connection.kubeconfig.as_ref().ok_or_else(none)?.secret_ref;
    let secrets = Api::<Secret>::namespaced(hub.clone(), &reference.namespace);
    let secret = secrets.get(&reference.name).await?;
    let kubeconfig = secret.data.and_then(|mut it| it.remove("kubeconfig")).ok_or_else(none)?;
    Ok(MemberClient::connect(&kubeconfig.0, &ConnectOptions::default()).await?)
}

pub(super) async fn limited(
    patience: Option<Duration>,
    waiting: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    match patience {
        None => waiting.await,
        Some(patience) => tokio::time::timeout(patience, waiting).await.map_err(|_| {
            format!("not done after {} s; asked again, it goes on", patience.as_secs())
        })?,
    }
}

/// Watches a member until `done`, and tells what it waits for.
pub(super) async fn until(
    members: &Api<MemberCluster>,
    name: &str,
    done: impl Fn(Option<&MemberCluster>) -> Result<(), String>,
) -> Result<(), Failure> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = std::pin::pin!(watcher(members.clone(), config).default_backoff());
    let mut said = String::new();
    let mut seen = false;
    while let Some(change) = changes.next().await {
        let state = match change {
            Ok(watcher::Event::Init) => {
                seen = false;
                continue;
            }
            Ok(watcher::Event::InitDone) if seen => continue,
            Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => done(None),
            Ok(watcher::Event::InitApply(it) | watcher::Event::Apply(it)) => {
                seen = true;
                done(Some(&it))
            }
            // An interrupted watch comes back by itself.
            Err(_) => continue,
        };
        match state {
            Ok(()) => return Ok(()),
            Err(now) if now != said => {
                output::progress(format_args!("{name}: {now}"));
                said = now;
            }
            Err(_) => (),
        }
    }
    Err(format!("the hub stopped answering while {name} was waited for").into())
}

#[cfg(test)]
mod tests {
    use federation_types::placement::{
        CopyStatus, Outcome, PlacedCluster, PlacedRollout, RemovedCluster,
    };

    use super::*;

    #[test]
    fn a_drain_says_which_copies_stay_and_why() {
        let placed = |name: &str, leaving: &str| PlacedCluster {
            name: name.into(),
            leaving: leaving.into(),
            ..PlacedCluster::default()
        };
        let mut spec = PlacementSpec::default();
        (spec.template.kind, spec.template.name) = ("Deployment".into(), "web".into());
        spec.outcome =
            Outcome { status: "True".into(), reason: "Placed".into(), ..Outcome::default() };
        assert_eq!(held("shop", &spec, None, "a", false), None);
        spec.clusters = vec![placed("a", "ClusterChanged"), placed("b", "")];
        let said =
            |spec: &PlacementSpec, status| held("shop", spec, status, "a", false).expect("held");
        assert_eq!(said(&spec, None), "Deployment shop/web: it waits until b is ready");
        spec.outcome.reason = "Frozen".into();
        spec.outcome.message = "a freeze holds the removal of 1 copy".into();
        assert_eq!(said(&spec, None), "Deployment shop/web: a freeze holds the removal of 1 copy");
        let mut waits = spec.clone();
        waits.outcome.reason = "Placed".into();
        waits.clusters[0].leaving.clear();
        let message = "wave rest (1 of 1) waits for approval".to_owned();
        waits.rollout =
            Some(PlacedRollout { message: message.clone(), ..PlacedRollout::default() });
        let expected = format!("Deployment shop/web: its next place waits: {message}");
        assert_eq!(said(&waits, None), expected);
        spec.clusters.clear();
        spec.removing = vec![RemovedCluster { name: "a".into(), ..RemovedCluster::default() }];
        let copy =
            CopyStatus { name: "a".into(), reason: "Terminating".into(), ..CopyStatus::default() };
        let status = PlacementStatus { clusters: vec![copy], ..PlacementStatus::default() };
        assert_eq!(
            said(&spec, Some(&status)),
            "Deployment shop/web: it is being deleted there: Terminating"
        );
        assert_eq!(
            held("shop", &spec, Some(&status), "a", true).expect("held"),
            "Deployment shop/web: it stays there, without our marks"
        );
        let many: Vec<String> = (0..7).map(|it| format!("Pod {it}: x")).collect();
        let text = listed("a", &many);
        assert!(text.starts_with("a: 7 copies left\n  Pod 0: x\n"), "{text}");
        assert!(text.ends_with("\n  and 2 more: `archipel status`"), "{text}");
    }
}
