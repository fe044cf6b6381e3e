//! `archipel demo`: a hub, simulated members in three providers, and sample apps placed on them, in one process.
//!
//! ```text
//! hub ─┐
//!      ├─▶ join each ─▶ ready ─▶ policies, apps ─▶ running ─▶ what to try next ─▶ Ctrl-C
//! members ┘
//! ```

mod apps;
mod fleet;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use kube::Client;
use providers_core::UserKubeconfig;
use providers_simulated::{SimulatedMember, SimulatedOptions};
use tokio::time::Instant;

use crate::{
    cluster::join::{Request, join, wait_until_ready},
    hub,
    output::{self, Failure},
    serve::{self, Hub, HubOptions},
};

/// Says that a directory is a demo's, and may be emptied by the next.
const MARKER: &str = ".archipel-demo";
const HUB_PATIENCE: Duration = Duration::from_secs(15);
const APPS_PATIENCE: Duration = Duration::from_secs(30);
/// How many members are started or joined at a time.
const CONCURRENCY: usize = 16;

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How many simulated clusters.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=200))]
    clusters: u16,
    /// Where everything is kept; emptied at each start.
    #[arg(long, value_name = "DIR", default_value = "archipel-data/demo")]
    data_dir: PathBuf,
}

impl Demo {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        // A person watches: logs are for those who ask for them.
        if std::env::var_os("RUST_LOG").is_some() {
            serve::log(false);
        }
        let started = Instant::now();
        let dir = prepare(&self.data_dir)?;
        let kubeconfig = dir.join("kubeconfig");
        let plans = fleet::plans(self.clusters.into());
        output::progress(format_args!("starting a hub and {} simulated clusters", plans.len()));
        let options = HubOptions {
            kubeconfig: kubeconfig.clone(),
            ..HubOptions::new(&dir.join("hub"), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        };
        let (mut hub, members) =
            tokio::try_join!(Hub::start(options), start_members(&dir, &plans))?;
        let shown = async {
            let client = client(&kubeconfig).await?;
            join_all(&client, &plans, &members).await?;
            output::progress(format_args!(
                "{} clusters are ready after {:.1} s; applying the apps",
                plans.len(),
                started.elapsed().as_secs_f32()
            ));
            apps::apply(&client).await?;
            if let Err(waiting) = apps::wait(&client, APPS_PATIENCE).await {
                output::progress(format_args!("not everything runs yet: {waiting}"));
            }
            show(&client, &kubeconfig, started).await
        };
        tokio::select! {
            done = shown => done?,
            ended = hub.ended() => return ended,
            () = serve::interrupted() => return hub.stop().await,
        }
        tokio::select! {
            ended = hub.ended() => return ended,
            () = serve::interrupted() => (),
        }
        output::progress("stopping");
        hub.stop().await?;
        drop(members);
        Ok(())
    }
}

/// Makes the directory, or empties it where an earlier demo made it; anyone else's is refused.
fn prepare(dir: &Path) -> Result<PathBuf, Failure> {
    let at = dir.display();
    let wrong = |what: &str, error: std::io::Error| format!("cannot {what} {at}: {error}");
    std::fs::create_dir_all(dir).map_err(|error| wrong("make", error))?;
    let dir = dir.canonicalize().map_err(|error| wrong("find", error))?;
    let marker = dir.join(MARKER);
    let mut entries = std::fs::read_dir(&dir).map_err(|error| wrong("read", error))?;
    if entries.next().is_some() && !marker.exists() {
        return Err(format!("{at} is not empty and not a demo's: give another --data-dir").into());
    }
    if let Ok(lock) = std::fs::File::open(dir.join("hub").join("lock"))
        && lock.try_lock().is_err()
    {
        return Err(
            format!("a demo is running in {at}: end it first, or give another --data-dir").into()
        );
    }
    for name in ["hub", "members"] {
        match std::fs::remove_dir_all(dir.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(wrong("empty", error).into());
            }
            _ => (),
        }
    }
    match std::fs::remove_file(dir.join("kubeconfig")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(wrong("empty", error).into());
        }
        _ => (),
    }
    std::fs::write(&marker, "").map_err(|error| wrong("write into", error))?;
    Ok(dir)
}

async fn start_members(dir: &Path, plans: &[fleet::Plan]) -> Result<Vec<SimulatedMember>, Failure> {
    let starts: Vec<_> = plans
        .iter()
        .map(|plan| {
            let options = SimulatedOptions {
                region: plan.spec.region.clone(),
                nodes: plan.nodes.clone(),
                ..SimulatedOptions::new(&plan.name, dir.join("members").join(&plan.name))
            };
            async move { SimulatedMember::start(options).await.map_err(Failure::from) }
        })
        .collect();
    stream::iter(starts).buffered(CONCURRENCY).try_collect().await
}

/// A client of the hub, as soon as its kubeconfig is there.
async fn client(kubeconfig: &Path) -> Result<Client, Failure> {
    let until = Instant::now() + HUB_PATIENCE;
    while !kubeconfig.exists() {
        if Instant::now() >= until {
            return Err(format!("the hub is not ready after {} s", HUB_PATIENCE.as_secs()).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(Client::try_from(hub::read(kubeconfig).await?)?)
}

async fn join_all(
    client: &Client,
    plans: &[fleet::Plan],
    members: &[SimulatedMember],
) -> Result<(), Failure> {
    let joins: Vec<_> = plans
        .iter()
        .zip(members)
        .map(|(plan, member)| async move {
            let request = Request {
                name: plan.name.clone(),
                labels: plan.labels.clone(),
                spec: plan.spec.clone(),
                user: UserKubeconfig::read(member.kubeconfig_path(), None)?,
                keep_credentials: false,
                take_over: None,
            };
            join(client, request).await.map(drop)
        })
        .collect();
    stream::iter(joins).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
    try_join_all(plans.iter().map(|it| wait_until_ready(client, &it.name, |_| ()))).await?;
    Ok(())
}

async fn show(client: &Client, kubeconfig: &Path, started: Instant) -> Result<(), Failure> {
    let namespace = apps::NAMESPACE;
    output::line("");
    apps::table(client).await?.print();
    output::line(format_args!(
        "\nready after {:.1} s. Try next:\n",
        started.elapsed().as_secs_f32()
    ));
    let program = std::env::current_exe()?;
    for command in [
        format!("export KUBECONFIG={}", kubeconfig.display()),
        format!("alias archipel={}", program.display()),
        format!("kubectl get placements -n {namespace}"),
        "archipel status".to_owned(),
        "archipel cluster list".to_owned(),
        format!("archipel why deployment/web -n {namespace}"),
        format!("kubectl scale deployment/web -n {namespace} --replicas=20"),
        format!("archipel freeze -n {namespace}    # and: archipel thaw"),
    ] {
        output::line(format_args!("  {command}"));
    }
    output::line("\nCtrl-C stops everything.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_of_an_earlier_demo_is_emptied() {
        let dir = std::env::temp_dir().join(format!("archipel-demo-test-{}", std::process::id()));
        let own = dir.join("own");
        prepare(&own).unwrap();
        std::fs::create_dir(own.join("hub")).unwrap();
        let again = prepare(&own).unwrap();
        assert!(!again.join("hub").exists());
        let foreign = dir.join("foreign");
        std::fs::create_dir_all(&foreign).unwrap();
        std::fs::write(foreign.join("thesis.txt"), "").unwrap();
        let refused = prepare(&foreign).unwrap_err().to_string();
        assert!(refused.contains("--data-dir"), "{refused}");
        assert!(foreign.join("thesis.txt").exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
