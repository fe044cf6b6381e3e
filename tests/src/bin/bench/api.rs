//! Durable creates per second, and what one costs, beside kube-apiserver with etcd. One client for both: this program,
//! with 64 workers that each wait for an answer before the next request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use federation_tests::{Hub, Member, MemberOptions, wait};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use providers_core::{ConnectOptions, MemberClient};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    Failure, Flags,
    measure::{median, rounded, usage},
};

#[derive(Clone, Copy)]
struct Run {
    creates_per_s: f64,
    cpu_ms_per_create: f64,
    rss_mib: f64,
}

pub(crate) async fn run(flags: &Flags) -> Result<Value, Failure> {
    let (creates, workers) = (flags.count("creates", 10_000), flags.count("workers", 64));
    let (mut archipel, mut kube) = (Vec::new(), Vec::new());
    println!("{creates} creates of 1 KiB by {workers} workers");
    println!("  server                 creates/s  CPU ms/create  RSS MiB");
    for _ in 0..flags.count("runs", 3) {
        let hub = Hub::start().await?;
        archipel.push(show(
            "archipel",
            measure(hub.client().await, &[hub.pid()], creates, workers).await?,
        ));
        drop(hub);
        let member = Member::start(MemberOptions::bare("kube")).await?;
        let pids: Vec<u32> = member.processes().iter().map(|it| it.pid()).collect();
        kube.push(show(
            "kube-apiserver + etcd",
            measure(member.client().await?, &pids, creates, workers).await?,
        ));
    }
    let (connections, watches) = (flags.count("connections", 100), flags.count("watches", 10_000));
    println!("one update to {watches} watches over {connections} connections");
    let mut latest = Vec::new();
    for _ in 0..flags.count("runs", 3) {
        let hub = Hub::start().await?;
        let took = fan_out(&hub, connections, watches).await?;
        println!(
            "  p50 {:.3} s, p99 {:.3} s, last {:.3} s",
            took[took.len() / 2],
            percentile_99(&took),
            took[took.len() - 1]
        );
        latest.push(percentile_99(&took));
    }
    let of = |runs: &[Run], figure: fn(&Run) -> f64| rounded(median(runs.iter().map(figure)));
    let both = |figure: fn(&Run) -> f64| json!({"archipel": of(&archipel, figure), "kube": of(&kube, figure)});
    Ok(json!({
        "creates_per_s": both(|it| it.creates_per_s),
        "cpu_ms_per_create": both(|it| it.cpu_ms_per_create),
        "rss_mib": both(|it| it.rss_mib),
        "watch_p99_s": rounded(median(latest)),
    }))
}

fn show(server: &str, run: Run) -> Run {
    println!(
        "  {server:<22} {:>9.0}  {:>13.3}  {:>7.0}",
        run.creates_per_s, run.cpu_ms_per_create, run.rss_mib
    );
    run
}

async fn measure(
    client: Client,
    pids: &[u32],
    creates: usize,
    workers: usize,
) -> Result<Run, Failure> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({"metadata": {"name": "bench"}}))?,
        )
        .await?;
    let api: Api<ConfigMap> = Api::namespaced(client, "bench");
    // Every worker's connection is open before the clock runs.
    create(&api, "warm", workers * 4, workers).await?;
    let before = usage(pids)?;
    let began = Instant::now();
    create(&api, "entry", creates, workers).await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = usage(pids)?;
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let count = creates as f64;
    Ok(Run {
        creates_per_s: count / seconds,
        cpu_ms_per_create: (after.cpu_s - before.cpu_s) * 1000.0 / count,
        rss_mib: after.rss_mib,
    })
}

/// How long one update takes to each of so many watches, in seconds, sorted.
async fn fan_out(hub: &Hub, connections: usize, watches: usize) -> Result<Vec<f64>, Failure> {
    let client = hub.client().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let watched = ConfigMap {
        metadata: ObjectMeta { name: Some("watched".to_owned()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    };
    let made = api.create(&PostParams::default(), &watched).await?;
    let from = made.resource_version().unwrap_or_default();
    let kubeconfig = std::fs::read(hub.kubeconfig())?;
    let mut tasks: JoinSet<Result<Instant, Failure>> = JoinSet::new();
    let open = Arc::new(AtomicUsize::new(0));
    for at in 0..connections {
        // HTTP/2: all watches of a client share its connection.
        let client = MemberClient::connect(&kubeconfig, &ConnectOptions::default()).await?;
        for _ in 0..watches / connections + usize::from(at < watches % connections) {
            let api: Api<ConfigMap> = Api::namespaced(client.watch().clone(), "default");
            let (from, open) = (from.clone(), Arc::clone(&open));
            tasks.spawn(async move {
                let mut events = Box::pin(api.watch(&WatchParams::default(), &from).await?);
                open.fetch_add(1, Ordering::Relaxed);
                while let Some(event) = events.next().await {
                    if let WatchEvent::Modified(_) = event? {
                        return Ok(Instant::now());
                    }
                }
                Err("a watch ended without the update".into())
            });
        }
    }
    wait::try_until("the watches are open", Duration::from_secs(120), async || {
        let open = open.load(Ordering::Relaxed);
        if open == watches { Ok(()) } else { Err(open) }
    })
    .await?;
    let began = Instant::now();
    let patch = Patch::Merge(json!({"data": {"value": "0123456789abcdef".repeat(64)}}));
    api.patch("watched", &PatchParams::default(), &patch).await?;
    let mut took = Vec::new();
    while let Some(at) = tasks.join_next().await {
        took.push(at??.duration_since(began).as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

fn percentile_99(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}

async fn create(
    api: &Api<ConfigMap>,
    prefix: &'static str,
    creates: usize,
    workers: usize,
) -> Result<(), Failure> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks: JoinSet<Result<(), kube::Error>> = JoinSet::new();
    for _ in 0..workers {
        let (api, next) = (api.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= creates {
                    return Ok(());
                }
                let name = Some(format!("{prefix}-{n}"));
                let data = Some([("value".to_owned(), "0123456789abcdef".repeat(64))].into());
                let metadata = ObjectMeta { name, ..ObjectMeta::default() };
                api.create(
                    &PostParams::default(),
                    &ConfigMap { metadata, data, ..ConfigMap::default() },
                )
                .await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
