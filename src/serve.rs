//! `archipel serve`: the composition root. Every part is made here, and none of them knows the others.
//!
//! ```text
//! store ─▶ server ◀─ local clients ─ lifecycle · providers · placement · syncer
//! ```

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use clap::Args;
use federation_server::{
    identity::Identity,
    shell::{Shell, ShellError, ShellOptions},
};
use federation_storage::{Encryption, OpenError, RedbStore, Store};
use federation_types::names::SYSTEM_NAMESPACE;
use kube::Client;
use placement_controller::Controller;
use placement_engine::expression::Expression;
use providers_core::{ConnectOptions, prices::sample_book};
use syncer_agent::SyncerContext;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    guard::Guard,
    output::{self, Failure},
    reviews,
};

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the hub keeps its store and its keys.
    #[arg(long, value_name = "DIR", default_value = "archipel-data")]
    data_dir: PathBuf,
    /// The address of the API.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Where the admin's kubeconfig is written once the hub is ready; DATA_DIR/kubeconfig if left out.
    #[arg(long, value_name = "FILE")]
    kubeconfig_out: Option<PathBuf>,
    /// Further names and addresses in the serving certificate.
    #[arg(long = "tls-san", value_name = "NAME")]
    tls_names: Vec<String>,
    /// The key for Secrets at rest; DATA_DIR/key if left out.
    #[arg(long, value_name = "FILE")]
    encryption_key_file: Option<PathBuf>,
    /// Programs that a member's kubeconfig may run for its credentials: absolute paths.
    #[arg(long = "allow-exec", value_name = "PROGRAM")]
    allowed_exec: Vec<PathBuf>,
    /// Write logs as JSON lines.
    #[arg(long)]
    log_json: bool,
}

/// What a hub is made of.
#[derive(Clone, Debug)]
pub(crate) struct HubOptions {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) tls_names: Vec<String>,
    pub(crate) encryption_key_file: Option<PathBuf>,
    pub(crate) allowed_exec: Vec<PathBuf>,
}

impl HubOptions {
    /// A hub with everything under one directory.
    pub(crate) fn new(data_dir: &Path, listen: SocketAddr) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            listen,
            kubeconfig: data_dir.join("kubeconfig"),
            tls_names: Vec::new(),
            encryption_key_file: None,
            allowed_exec: Vec::new(),
        }
    }
}

impl Serve {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        log(self.log_json);
        for program in &self.allowed_exec {
            if !program.is_absolute() {
                let path = program.display();
                return Err(format!("--allow-exec {path}: must be an absolute path").into());
            }
        }
        let options = HubOptions {
            kubeconfig: self.kubeconfig_out.unwrap_or_else(|| self.data_dir.join("kubeconfig")),
            data_dir: self.data_dir,
            listen: self.listen,
            tls_names: self.tls_names,
            encryption_key_file: self.encryption_key_file,
            allowed_exec: self.allowed_exec,
        };
        let kubeconfig = options.kubeconfig.display().to_string();
        let mut hub = Hub::start(options).await?;
        output::progress(format_args!("hub at {}; kubeconfig: {kubeconfig}", hub.url));
        tokio::select! {
            () = interrupted() => (),
            ended = hub.ended() => return ended,
        }
        hub.stop().await
    }
}

/// Logs to standard error; `RUST_LOG` chooses what, `info` by default.
pub(crate) fn log(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = if json { builder.json().try_init() } else { builder.try_init() };
    // Set already: by the demo, which runs a hub in its own process.
    drop(set);
}

/// Ends when the process is told to: SIGINT or SIGTERM.
pub(crate) async fn interrupted() {
    let mut terminate = signal(SignalKind::terminate()).expect("the runtime handles signals");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => (),
        _ = terminate.recv() => (),
    }
}

/// A running hub.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) url: String,
    closing: CancellationToken,
    tasks: JoinSet<Result<(), Failure>>,
}

impl Hub {
    /// Opens the store, starts the server and every controller. The API answers once this returns.
    pub(crate) async fn start(options: HubOptions) -> Result<Self, Failure> {
        // Where nothing was, a hub that cannot listen leaves nothing. Where there is a store, another hub may be about to
        // end: its address is free once the store is.
        if !options.data_dir.exists() {
            let address = options.listen;
            let probe = tokio::net::TcpListener::bind(address).await;
            drop(probe.map_err(|source| ShellError::Listen { address, source })?);
        }
        let store = {
            let dir = options.data_dir.clone();
            let key_file = options.encryption_key_file.clone();
            tokio::task::spawn_blocking(move || open(&dir, key_file)).await??
        };
        let store = Arc::new(store);
        let controller = Controller::new();
        let mut shell =
            ShellOptions::new(Arc::clone(&store) as _, &options.data_dir, options.listen);
        shell.tls_names = options.tls_names;
        shell.embedded = federation_types::crds::all();
        let rbac = Arc::new(OnceLock::new());
        let opened = Arc::new(OnceLock::new());
        let guard = Guard {
            controller: Arc::clone(&controller),
            rbac: Arc::clone(&rbac),
            server: Arc::clone(&opened),
        };
        shell.admission = vec![Arc::new(guard)];
        shell.reviews = vec![
            reviews::cost(Arc::clone(&opened)),
            reviews::explanation(Arc::clone(&controller), Arc::clone(&opened)),
            reviews::plan(Arc::clone(&controller), Arc::clone(&opened)),
            reviews::simulation(Arc::clone(&controller), Arc::clone(&opened)),
        ];
        let shell = Shell::open(shell).await?;
        drop(opened.set(Arc::clone(&shell.server)));
        drop(rbac.set(Arc::clone(&shell.rbac)));
        shell.metrics.register(|registry| controller.metrics().register(registry));
        let url = shell.url();
        let hub_uid = shell.hub_uid();
        let ca_certificate = shell.ca_certificate();
        let server = Arc::clone(&shell.server);
        let component =
            |name: &str| Client::new(server.local(Identity::component(name)), SYSTEM_NAMESPACE);

        let compacting = Arc::clone(&store);
        let closing = CancellationToken::new();
        let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
        let lifecycle = component("lifecycle");
        let placement = component("placement-controller");
        let syncer = component("syncer");
        let providers = component("providers-controller");
        let serving = shell.run(Some(options.kubeconfig), closing.clone());
        tasks.spawn(async move { Ok(serving.await?) });
        tasks.spawn(compact(compacting));
        let mut emptying = federation_lifecycle::Options::new(ca_certificate);
        emptying.hub_uid = Some(hub_uid.clone());
        // A namespace's copies leave the members as its Placements say; a Placement that went first would leave them there.
        emptying.removed_by_others =
            ["placements.archipel.dev", "revisions.archipel.dev"].map(str::to_owned).into();
        tasks.spawn(async move { Ok(federation_lifecycle::run(lifecycle, emptying).await?) });
        tasks.spawn(async move { Ok(controller.run(placement, sample_book()).await?) });
        let allowed_exec: Vec<String> =
            options.allowed_exec.iter().map(|it| it.display().to_string()).collect();
        let connect =
            ConnectOptions { allowed_exec: allowed_exec.clone(), ..ConnectOptions::default() };
        let mut syncer = SyncerContext::new(syncer, hub_uid, connect);
        syncer.evaluate = Some(Arc::new(|text, facts| Expression::parse(text)?.holds_for(facts)));
        tasks.spawn(async move {
            Box::pin(syncer_agent::run(syncer)).await;
            Ok(())
        });
        tasks.spawn(async move {
            providers_controller::run(providers, providers_controller::Options { allowed_exec })
                .await;
            Ok(())
        });
        Ok(Self { url, closing, tasks })
    }

    /// Ends with the first task that does: none of them should, so a lost one must not look like a quiet one.
    pub(crate) async fn ended(&mut self) -> Result<(), Failure> {
        match self.tasks.join_next().await {
            Some(Ok(Ok(()))) => Err("a part of the hub ended by itself".into()),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => Err(panic.into()),
            None => Ok(()),
        }
    }

    /// Stops serving, lets requests finish, and ends every task.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        self.closing.cancel();
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }
}

/// Values under these keys are sealed at rest: Secrets, and the revisions that may hold their content.
const SEALED: [&str; 3] =
    ["/core/secrets/", "/archipel.dev/revisions/", "/archipel.dev/clusterrevisions/"];

/// How often superseded versions are dropped: as long as clients may resume a watch or a list.
const COMPACTION: Duration = Duration::from_secs(300);

/// Keeps the store as large as what is in it.
async fn compact(store: Arc<RedbStore>) -> Result<(), Failure> {
    loop {
        tokio::time::sleep(COMPACTION).await;
        let revision = store.compact().await?;
        tracing::debug!(%revision, "compacted");
    }
}

fn open(dir: &Path, key_file: Option<PathBuf>) -> Result<RedbStore, Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    let encryption = Encryption::Prefixes { prefixes: SEALED.map(str::to_owned).into(), key_file };
    let mut waited = Duration::ZERO;
    loop {
        match RedbStore::open(dir, &encryption) {
            // A hub that was killed holds its lock until the kernel has taken all its memory back.
            Err(OpenError::InUse { path }) if waited < LOCK_PATIENCE => {
                if waited.is_zero() {
                    tracing::warn!(
                        path,
                        "the data directory is in use by another process: waiting"
                    );
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "opening blocks its thread as a whole, and nothing runs beside it yet"
                )]
                std::thread::sleep(LOCK_STEP);
                waited += LOCK_STEP;
            }
            opened => return Ok(opened?),
        }
    }
}

/// How long a start waits for the process before it to be gone.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_STEP: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hub_that_cannot_listen_leaves_no_directory() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = taken.local_addr().expect("an address");
        let dir = std::env::temp_dir().join(format!("archipel-no-hub-{}", std::process::id()));
        let error = Hub::start(HubOptions::new(&dir, address)).await.expect_err("taken");
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
        assert!(!dir.exists());
    }
}
