//! From the first write into the hub to the last arrival in four real members, beside the time that writing the same
//! objects straight into those members takes.
//!
//! Both are written by the same client, with 64 requests under way, over connections that are open already.

use std::{collections::HashSet, sync::Arc, time::Duration};

use federation_tests::{Hub, Member, MemberOptions};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api, Client, ResourceExt,
    api::{PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::Instant,
};

use crate::{
    Failure, Flags,
    measure::{median, own_cpu_s, rounded, usage},
};

const UNDER_WAY: usize = 64;
const PATIENCE: Duration = Duration::from_secs(600);
/// Counted as the hub's work after the last arrival: the reports that come back.
const AFTERMATH: Duration = Duration::from_secs(10);

struct Run {
    /// What the members spent on the raw writes, and on the hub's.
    members_cpu_s: [f64; 2],
    raw_s: f64,
    wall_s: f64,
    cpu_ms_per_object: f64,
    rss_before_mib: f64,
    rss_mib: f64,
    peak_mib: f64,
}

pub(crate) async fn run(flags: &Flags) -> Result<Value, Failure> {
    let deployments = flags.count("deployments", 500);
    let members = flags.count("members", 4);
    let mut runs = Vec::new();
    for number in 1..=flags.count("runs", 3) {
        let run = once(deployments, members).await?;
        if number == 1 {
            println!(
                "{deployments} Deployments, divided over {members} real members: {} objects",
                deployments * members
            );
            println!(
                "  run   raw s  wall s  ratio  hub CPU ms/object  RSS MiB before/after/peak  \
                 members' CPU s raw/hub"
            );
        }
        println!(
            "  {number:>3}  {:>6.2}  {:>6.2}  {:>5.2}  {:>17.2}  {:>25}  {:>22}",
            run.raw_s,
            run.wall_s,
            run.wall_s / run.raw_s,
            run.cpu_ms_per_object,
            format!("{:.0}/{:.0}/{:.0}", run.rss_before_mib, run.rss_mib, run.peak_mib),
            format!("{:.2}/{:.2}", run.members_cpu_s[0], run.members_cpu_s[1]),
        );
        runs.push(run);
    }
    let of = |figure: fn(&Run) -> f64| rounded(median(runs.iter().map(figure)));
    Ok(json!({
        "wall_s": of(|it| it.wall_s),
        "raw_s": of(|it| it.raw_s),
        "ratio": of(|it| it.wall_s / it.raw_s),
        "hub_cpu_ms_per_object": of(|it| it.cpu_ms_per_object),
        "hub_rss_mib": of(|it| it.rss_mib),
    }))
}

async fn once(deployments: usize, count: usize) -> Result<Run, Failure> {
    let names: Vec<String> = (1..=count).map(|n| format!("m{n}")).collect();
    let starting = names.iter().map(|name| Member::start(MemberOptions::bare(name)));
    let members: Vec<Member> = futures::future::try_join_all(starting).await?;
    let idle = usage(&[own_pid()])?.cpu_s - own_cpu_s()?;
    let raw_s = raw(&members, deployments).await?;
    let raw_cpu_s = usage(&[own_pid()])?.cpu_s - own_cpu_s()? - idle;

    let hub = Hub::start().await?;
    for member in &members {
        hub.join(member, "onprem", "here", &[]).await;
    }
    hub.kubectl().ok(["create", "namespace", "bench"]).await;
    hub.kubectl().apply(POLICY).await;
    // One object goes the whole way first: namespaces, connections and caches are there as they are in a hub that works.
    let client = hub.client().await;
    let api: Api<Deployment> = Api::namespaced(client, "bench");
    let (arrivals, mut arrived) = unbounded_channel();
    for (at, member) in members.iter().enumerate() {
        let there: Api<Deployment> = Api::namespaced(member.client().await?, "bench");
        tokio::spawn(follow(there, at, arrivals.clone()));
    }
    let mut seen = HashSet::new();
    api.create(&PostParams::default(), &deployment("warm", count)).await?;
    collect(&mut arrived, &mut seen, count).await?;

    let members_cpu = || {
        let all = usage(&[own_pid()])?.cpu_s;
        Ok::<f64, Failure>(all - own_cpu_s()? - usage(&[hub.pid()])?.cpu_s)
    };
    let (before, members_before) = (usage(&[hub.pid()])?, members_cpu()?);
    let began = Instant::now();
    write(&[api], "web", deployments, count).await?;
    let last = collect(&mut arrived, &mut seen, (deployments + 1) * count).await?;
    let wall_s = last.duration_since(began).as_secs_f64();
    let members_cpu_s = [raw_cpu_s, members_cpu()? - members_before];
    tokio::time::sleep_until(last + AFTERMATH).await;
    let after = usage(&[hub.pid()])?;
    #[expect(clippy::cast_precision_loss, reason = "a count of objects")]
    let objects = (deployments * count) as f64;
    Ok(Run {
        members_cpu_s,
        raw_s,
        wall_s,
        cpu_ms_per_object: (after.cpu_s - before.cpu_s) * 1000.0 / objects,
        rss_before_mib: before.rss_mib,
        rss_mib: after.rss_mib,
        peak_mib: after.peak_mib,
    })
}

fn own_pid() -> u32 {
    std::process::id()
}

const POLICY: &str = r#"
apiVersion: archipel.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: all, namespace: bench}
spec:
  selectors: [{apiVersion: apps/v1, kind: Deployment}]
  replicas: {mode: Divided, division: Weighted}
"#;

/// The same objects, one replica each, straight into every member.
async fn raw(members: &[Member], deployments: usize) -> Result<f64, Failure> {
    let mut apis: Vec<Api<Deployment>> = Vec::new();
    for member in members {
        let client: Client = member.client().await?;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let raw = serde_json::from_value(json!({"metadata": {"name": "raw"}}))?;
        namespaces.create(&PostParams::default(), &raw).await?;
        apis.push(Api::namespaced(client, "raw"));
    }
    write(&apis, "warm", 8, 1).await?;
    let began = Instant::now();
    write(&apis, "web", deployments, 1).await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Creates so many Deployments in each place, 64 requests under way over all of them.
async fn write(
    apis: &[Api<Deployment>],
    prefix: &str,
    deployments: usize,
    replicas: usize,
) -> Result<(), kube::Error> {
    let all = (0..deployments).flat_map(|n| apis.iter().map(move |api| (n, api)));
    stream::iter(all)
        .map(|(n, api)| async move {
            let object = deployment(&format!("{prefix}-{n}"), replicas);
            api.create(&PostParams::default(), &object).await.map(drop)
        })
        .buffer_unordered(UNDER_WAY)
        .try_collect()
        .await
}

fn deployment(name: &str, replicas: usize) -> Deployment {
    let labels = json!({"app": name, "tier": "web"});
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "web",
                    "image": "registry.example/web:1.0",
                    "ports": [{"containerPort": 8080}],
                    "env": [{"name": "MODE", "value": "production"}],
                    "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
                }]},
            },
        },
    }))
    .expect("a Deployment")
}

/// Tells of every Deployment that appears in a member.
async fn follow(
    api: Api<Deployment>,
    member: usize,
    arrivals: UnboundedSender<(usize, String, Instant)>,
) {
    let mut from = "0".to_owned();
    loop {
        if let Ok(stream) = api.watch_metadata(&WatchParams::default(), &from).await {
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                match event {
                    Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                        from = object.resource_version().unwrap_or_default();
                        if arrivals.send((member, object.name_any(), Instant::now())).is_err() {
                            return;
                        }
                    }
                    Ok(_) => (),
                    Err(_) => break,
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until so many copies have arrived; returns the moment of the last.
async fn collect(
    arrived: &mut tokio::sync::mpsc::UnboundedReceiver<(usize, String, Instant)>,
    seen: &mut HashSet<(usize, Arc<str>)>,
    wanted: usize,
) -> Result<Instant, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = Instant::now();
    while seen.len() < wanted {
        match tokio::time::timeout_at(deadline, arrived.recv()).await {
            Ok(Some((member, name, at))) => {
                if seen.insert((member, name.into())) {
                    last = at;
                }
            }
            Ok(None) => return Err("the watches have ended".into()),
            Err(_) => {
                return Err(format!(
                    "{} of {wanted} copies after {} s",
                    seen.len(),
                    PATIENCE.as_secs()
                )
                .into());
            }
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_copy_counts_once() {
        let (send, mut arrived) = unbounded_channel();
        for name in ["a", "a", "b"] {
            send.send((0, name.to_owned(), Instant::now())).unwrap();
        }
        let mut seen = HashSet::new();
        collect(&mut arrived, &mut seen, 2).await.unwrap();
        assert_eq!(seen.len(), 2);
    }
}
