//! From exec to the first 200 on /readyz: on an empty store, and on a full one after SIGKILL.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Failure, Flags,
    measure::{median, rounded, usage},
    store,
};

const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(2);

pub(crate) async fn run(flags: &Flags) -> Result<Value, Failure> {
    let runs = flags.count("runs", 3);
    let idle = Duration::from_secs(flags.get("idle-seconds", 30));
    let (templates, clusters) = (flags.count("templates", 10_000), flags.count("clusters", 100));
    let (mut empty_s, mut idle_mib) = (Vec::new(), Vec::new());
    println!(
        "  store                                    start s  RSS MiB {} s later",
        idle.as_secs()
    );
    for _ in 0..runs {
        let dir = tempfile::tempdir()?;
        let hub = Served::start(dir.path()).await?;
        let rss = hub.rss_after(idle).await?;
        println!("  empty                                    {:>7.3}  {rss:.0}", hub.ready_s);
        empty_s.push(hub.ready_s);
        idle_mib.push(rss);
    }
    let dir = tempfile::tempdir()?;
    // The hub's own objects come first, as in every store.
    drop(Served::start(dir.path()).await?);
    store::fill(&dir.path().join("data"), templates, clusters).await?;
    // Once through, so that what is measured follows a kill and not a filling.
    drop(Served::start(dir.path()).await?);
    let (mut loaded_s, mut loaded_mib) = (Vec::new(), Vec::new());
    let title = format!("{templates} templates and Placements × {clusters}");
    for _ in 0..runs {
        let hub = Served::start(dir.path()).await?;
        let rss = hub.rss_after(idle).await?;
        println!("  {title:<40} {:>7.3}  {rss:.0}", hub.ready_s);
        loaded_s.push(hub.ready_s);
        loaded_mib.push(rss);
    }
    let of = |values: Vec<f64>| rounded(median(values));
    Ok(json!({
        "empty_s": of(empty_s),
        "loaded_s": of(loaded_s),
        "idle_rss_mib": of(idle_mib),
        "loaded_rss_mib": of(loaded_mib),
    }))
}

/// A hub that was started without anything in between, and is killed when dropped.
struct Served {
    child: Child,
    ready_s: f64,
}

impl Served {
    async fn start(dir: &Path) -> Result<Self, Failure> {
        let program = PathBuf::from(
            std::env::var_os("ARCHIPEL_BINARY").ok_or("ARCHIPEL_BINARY names the hub's binary")?,
        );
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let url: http::Uri = format!("https://127.0.0.1:{port}").parse()?;
        let mut config = Config::new(url);
        // The authority is made by the hub that is being started.
        config.accept_invalid_certs = true;
        let client = Client::try_from(config)?;
        let log =
            std::fs::File::options().create(true).append(true).open(dir.join("archipel.log"))?;
        let began = Instant::now();
        let child = Command::new(program)
            .arg("serve")
            .args(["--data-dir".as_ref(), dir.join("data").as_os_str()])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--kubeconfig-out".as_ref(), dir.join("kubeconfig").as_os_str()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut served = Self { child, ready_s: 0.0 };
        loop {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            if client.request_text(request).await.is_ok() {
                served.ready_s = began.elapsed().as_secs_f64();
                return Ok(served);
            }
            if let Some(status) = served.child.try_wait()? {
                let log = std::fs::read_to_string(dir.join("archipel.log"))?;
                return Err(format!("the hub ended with {status}:\n{log}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("not ready after {} s", PATIENCE.as_secs()).into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn rss_after(&self, pause: Duration) -> Result<f64, Failure> {
        tokio::time::sleep(pause).await;
        Ok(usage(&[self.child.id()])?.rss_mib)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Killed and waited for, whichever state it was in.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
