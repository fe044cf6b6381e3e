//! `archipel serve`: the composition root. Every part is made here, and none of them knows the others.
//!
//! ```text
//! store ─▶ server ◀─ local clients ─ lifecycle · providers · placement · syncer
//! ```

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use federation_server::{
    hooks::{Review, ReviewError},
    identity::Identity,
    local::client,
    shell::{Shell, ShellOptions},
};
use federation_storage::RedbStore;
use placement_controller::Controller;
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    guard::Guard,
    output::{self, Failure},
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
        let hub = Hub::start(options).await?;
        output::progress(format_args!("hub at {}; kubeconfig: {kubeconfig}", hub.url));
        tokio::select! {
            () = interrupted() => hub.stop().await,
            ended = hub.ended() => ended,
        }
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
        let store = {
            let dir = options.data_dir.clone();
            let key_file = options.encryption_key_file.clone();
            tokio::task::spawn_blocking(move || open(&dir, key_file)).await??
        };
        let store = Arc::new(store);
        let controller = Controller::new();
        let mut shell = ShellOptions::new(store, &options.data_dir, options.listen);
        shell.tls_names = options.tls_names;
        shell.embedded = federation_types::crds::all();
        shell.admission = vec![Arc::new(Guard { controller: Arc::clone(&controller) })];
        shell.reviews = vec![explanation(Arc::clone(&controller))];
        let shell = Shell::open(shell).await?;
        let url = shell.url();
        let hub_uid = shell.hub_uid();
        let ca_certificate = shell.ca_certificate();
        let server = Arc::clone(&shell.server);
        let component = |name: &str| client(&server, Identity::component(name));

        let closing = CancellationToken::new();
        let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
        let lifecycle = component("lifecycle");
        let placement = component("placement-controller");
        let syncer = component("syncer");
        let providers = component("providers-controller");
        let serving = shell.run(Some(options.kubeconfig), closing.clone());
        tasks.spawn(async move { Ok(serving.await?) });
        tasks.spawn(async move {
            Ok(federation_lifecycle::run(lifecycle, federation_lifecycle::Options { ca_certificate }).await?)
        });
        tasks.spawn(async move { Ok(controller.run(placement, sample_prices()).await?) });
        Ok(Self { url, closing, tasks })
    }

    /// Ends with the first task that does: none of them should, so a lost one must not look like a quiet one.
    pub(crate) async fn ended(mut self) -> Result<(), Failure> {
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

fn open(dir: &Path, key_file: Option<PathBuf>) -> Result<RedbStore, Failure> {
    std::fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    Ok(RedbStore::open(dir, key_file)?)
}

/// The review behind `archipel why`.
fn explanation(controller: Arc<Controller>) -> Review {
    Review {
        kind: "Explanation",
        resource: "explanations",
        namespaced: false,
        answer: Arc::new(move |_identity: Identity, review: Value| {
            let controller = Arc::clone(&controller);
            Box::pin(async move {
                let spec = serde_json::from_value(review["spec"].clone()).map_err(|error| {
                    ReviewError::Invalid { field: "spec".to_owned(), message: error.to_string() }
                })?;
                let status = controller.explain(&spec).map_err(ReviewError::NotFound)?;
                let mut answer = review;
                answer["status"] = serde_json::to_value(status)
                    .map_err(|error| ReviewError::Unavailable(error.to_string()))?;
                Ok(answer)
            })
        }),
    }
}
