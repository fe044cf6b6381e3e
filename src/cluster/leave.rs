//! `archipel cluster leave`: refuses while copies exist, unless it is said what becomes of them (RULES 4.8).

use std::time::Duration;

use clap::Args;
use federation_types::{
    cluster::{MemberCluster, Taint, TaintEffect},
    names::{
        ALLOW_DELETE_ANNOTATION, DRAINING_TAINT, LEAVE_ANNOTATION, LEAVE_ORPHAN, SYSTEM_NAMESPACE,
    },
    placement::{ClusterPlacement, Placement, PlacementSpec},
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use providers_core::{ConnectOptions, MemberClient, join::clean_up};
use serde_json::json;

use crate::{
    hub::Hub,
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
        let held = copies(&hub, name).await?;
        let Mode { drain, orphan, forget } = self.mode;
        if held > 0 && !(drain || orphan || forget) {
            return Err(format!(
                "{name} holds {held} copies: --drain moves them elsewhere first, --orphan leaves them running \
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
            let waiting = emptied(&hub, name);
            limited(self.timeout.map(Duration::from_secs), waiting).await?;
        }
        let client = if forget { None } else { connection(&hub, &member).await };
        let_go(&members, name, forget).await?;
        if let Some(client) = client {
            match clean_up(&client).await {
                Ok(left) => {
                    for it in left {
                        output::progress(format_args!(
                            "note: {it} stays in {name}: nobody has it now"
                        ));
                    }
                }
                Err(error) => output::progress(format_args!(
                    "note: what the hub made in {name} stays there: {error}"
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

/// How many templates have a copy there, or one that is not known to be gone: what the hub decided is what counts, a
/// member that does not answer included.
async fn copies(hub: &Client, name: &str) -> Result<usize, kube::Error> {
    let all = ListParams::default();
    let named = |spec: &PlacementSpec| {
        spec.clusters.iter().any(|it| it.name == name)
            || spec.removing.iter().any(|it| it.name == name)
    };
    let placements = Api::<Placement>::all(hub.clone()).list(&all).await?;
    let cluster_placements = Api::<ClusterPlacement>::all(hub.clone()).list(&all).await?;
    Ok(placements.iter().filter(|it| named(&it.spec)).count()
        + cluster_placements.iter().filter(|it| named(&it.spec.placement)).count())
}

/// Waits until no copy is left there, and tells how many are.
async fn emptied(hub: &Client, name: &str) -> Result<(), Failure> {
    let mut said = 0;
    loop {
        match copies(hub, name).await? {
            0 => return Ok(()),
            left => {
                if left != said {
                    output::progress(format_args!("{name}: {left} copies left"));
                    said = left;
                }
                tokio::time::sleep(LOOK_EACH).await;
            }
        }
    }
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

/// A client with the credentials that the hub keeps; `None` where there are none or they do not work, which a leave
/// does not hang on.
async fn connection(hub: &Client, member: &MemberCluster) -> Option<MemberClient> {
    let reference = member.spec.connection.kubeconfig.as_ref()?;
    let secrets = Api::<Secret>::namespaced(hub.clone(), &reference.secret_ref.namespace);
    let secret = secrets.get(&reference.secret_ref.name).await.ok()?;
    let kubeconfig = secret.data?.remove("kubeconfig")?;
    MemberClient::connect(&kubeconfig.0, &ConnectOptions::default()).await.ok()
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
