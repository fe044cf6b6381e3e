//! A member cluster made of real Kubernetes components, each a child process: it can be started,
//! stopped, killed, frozen and restarted, and nothing of it remains once it is dropped.

mod components;
mod nodes;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpSocket;

pub use self::nodes::NodeShape;
use crate::pki::{Pki, PkiError};
use crate::process::{Process, Program};
use crate::wait::{TimedOut, try_until};
use crate::{Binaries, BinariesMissing};

/// How long a cluster may take to serve, on a machine that is busy with other tests.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How long a component may take to end by itself.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// Which components a member runs beside etcd and kube-apiserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controllers {
    /// None: objects stay as they were written.
    Bare,
    /// Controllers, scheduler, and nodes whose pods run: workloads become ready.
    Full,
}

/// What a member shall be like.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// Its name: in the kubeconfig and in its nodes' names.
    pub name: String,
    /// Which components run.
    pub controllers: Controllers,
    /// The nodes it has.
    pub nodes: Vec<NodeShape>,
    /// Kubernetes feature gates for all components.
    pub feature_gates: BTreeMap<String, bool>,
    /// APIs switched on or off (`group/version: true`).
    pub runtime_config: BTreeMap<String, bool>,
    /// Whether etcd may answer before its data is on disk; wrong for measurements.
    pub unsafe_no_fsync: bool,
}

impl MemberOptions {
    /// An API server with its store and nothing else.
    pub fn bare(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            controllers: Controllers::Bare,
            nodes: Vec::new(),
            feature_gates: BTreeMap::new(),
            runtime_config: BTreeMap::new(),
            unsafe_no_fsync: false,
        }
    }

    /// A cluster that runs workloads on these nodes.
    pub fn full(name: &str, nodes: impl IntoIterator<Item = NodeShape>) -> Self {
        let nodes = nodes.into_iter().collect();
        Self { controllers: Controllers::Full, nodes, ..Self::bare(name) }
    }
}

/// Why a member could not be brought into the wanted state.
#[derive(thiserror::Error)]
pub enum MemberError {
    /// The programs are not built.
    #[error(transparent)]
    Binaries(#[from] BinariesMissing),
    /// Its certificates or kubeconfig could not be made.
    #[error("member {member}: {reason}")]
    Credentials {
        /// The member.
        member: String,
        /// What went wrong.
        reason: String,
    },
    /// The operating system refused something.
    #[error("member {member}: {what}: {error}")]
    System {
        /// The member.
        member: String,
        /// What was tried.
        what: String,
        /// The answer.
        error: std::io::Error,
    },
    /// A component ended when it should run.
    #[error("member {member}: {component} has ended; its last words:\n{log}")]
    Ended {
        /// The member.
        member: String,
        /// The component.
        component: String,
        /// The end of its log.
        log: String,
    },
    /// It did not become ready.
    #[error("member {member}: {error}\nkube-apiserver's last words:\n{log}")]
    NotReady {
        /// The member.
        member: String,
        /// What was waited for and last seen.
        error: TimedOut,
        /// The end of the API server's log.
        log: String,
    },
    /// Its API refused a request of the harness.
    #[error("member {member}: {what}: {error}")]
    Api {
        /// The member.
        member: String,
        /// What was tried.
        what: String,
        /// The answer.
        error: Box<kube::Error>,
    },
}

// Tests unwrap: what they then print is for people.
impl fmt::Debug for MemberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A running member cluster; dropping it kills its processes and deletes its data.
#[derive(Debug)]
pub struct Member {
    options: MemberOptions,
    binaries: Binaries,
    // In the order of starting; before `dir`, so that they end before their data goes.
    processes: Vec<Process>,
    pki: Pki,
    address: SocketAddr,
    // Bound and never listening: keeps the port for this member while its API server is down.
    _port: TcpSocket,
    dir: TempDir,
}

impl Member {
    /// Starts a member and returns once it serves, its nodes are ready and, with controllers, its
    /// default namespace takes pods.
    pub async fn start(options: MemberOptions) -> Result<Self, MemberError> {
        let binaries = Binaries::find()?;
        let system = |what: &str| {
            let (member, what) = (options.name.clone(), what.to_owned());
            move |error| MemberError::System { member, what, error }
        };
        let dir = tempfile::Builder::new()
            .prefix("archipel-member-")
            .tempdir()
            .map_err(system("a directory for its data"))?;
        let (port, address) = reserve_port().map_err(system("a port on 127.0.0.1"))?;
        let pki = Pki::create(
            &dir.path().join("pki"),
            &options.name,
            address.port(),
            components::API_SERVICE_IP,
        )
        .map_err(|error: PkiError| MemberError::Credentials {
            member: options.name.clone(),
            reason: error.to_string(),
        })?;
        let mut member =
            Self { options, binaries, processes: Vec::new(), pki, address, _port: port, dir };
        member.start_processes(true).await?;
        Ok(member)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// The administrator's kubeconfig (group `system:masters` of this member alone).
    pub fn kubeconfig(&self) -> &Path {
        &self.pki.kubeconfig
    }

    /// Where its API server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory of its data and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The processes that were started last, ended or not.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// A client with the administrator's rights.
    pub async fn client(&self) -> Result<Client, MemberError> {
        let failed =
            |reason: String| MemberError::Credentials { member: self.options.name.clone(), reason };
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())
            .map_err(|error| failed(format!("kubeconfig: {error}")))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|error| failed(format!("kubeconfig: {error}")))?;
        Client::try_from(config).map_err(|error| failed(format!("client: {error}")))
    }

    /// Ends all components in good order; the data stays.
    pub async fn stop(&mut self) -> Result<(), MemberError> {
        // A stopped process does not act on a request to end.
        self.thaw()?;
        while let Some(mut process) = self.processes.pop() {
            process
                .stop(STOP_PATIENCE)
                .await
                .map_err(|error| self.system(&format!("stop {}", process.name()), error))?;
        }
        Ok(())
    }

    /// Kills all components at once, as a loss of power would; the data stays.
    pub fn kill(&mut self) -> Result<(), MemberError> {
        // All are hit before the first is waited for, so that none acts on another's end.
        self.signal_all(Signal::KILL)?;
        while let Some(mut process) = self.processes.pop() {
            process
                .kill()
                .map_err(|error| self.system(&format!("kill {}", process.name()), error))?;
        }
        Ok(())
    }

    /// Stops all components from running on, connections left open: nothing answers any more.
    pub fn freeze(&mut self) -> Result<(), MemberError> {
        self.signal_all(Signal::STOP)
    }

    /// Lets frozen components run on.
    pub fn thaw(&mut self) -> Result<(), MemberError> {
        self.signal_all(Signal::CONT)
    }

    /// Starts all components anew on the same data and port, stopping them first when they run.
    pub async fn restart(&mut self) -> Result<(), MemberError> {
        self.stop().await?;
        self.start_processes(false).await
    }

    async fn start_processes(&mut self, first_start: bool) -> Result<(), MemberError> {
        self.spawn(&components::etcd(self))?;
        self.spawn(&components::api_server(self))?;
        let client = self.client().await?;
        self.await_serving(&client).await?;
        if self.options.controllers == Controllers::Full {
            self.spawn(&components::controller_manager(self))?;
            self.spawn(&components::scheduler(self))?;
            self.spawn(&components::kwok(self).map_err(|error| self.system("stages", error))?)?;
        }
        if first_start {
            self.create_nodes(&client).await?;
        }
        if self.options.controllers == Controllers::Full {
            self.await_schedulable(&client).await?;
        }
        Ok(())
    }

    fn spawn(&mut self, program: &Program) -> Result<(), MemberError> {
        let process = Process::start(&self.binaries, program, &self.logs())
            .map_err(|error| self.system(&format!("start {}", program.name), error))?;
        self.processes.push(process);
        Ok(())
    }

    async fn await_serving(&mut self, client: &Client) -> Result<(), MemberError> {
        let outcome = try_until("GET /readyz answers 200", READY_WITHIN, async || {
            if let Some(ended) = self.first_ended() {
                return Ok(Err(ended));
            }
            let request = http::Request::get("/readyz")
                .body(Vec::new())
                .expect("a constant path makes a valid request");
            client.request_text(request).await.map(|_| Ok(())).map_err(|error| error.to_string())
        })
        .await;
        self.outcome(outcome)
    }

    async fn await_schedulable(&mut self, client: &Client) -> Result<(), MemberError> {
        let nodes: Api<Node> = Api::all(client.clone());
        let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
        let outcome = try_until("its nodes take pods", READY_WITHIN, async || {
            if let Some(ended) = self.first_ended() {
                return Ok(Err(ended));
            }
            // Pods of this namespace are refused until its account is there.
            accounts.get("default").await.map_err(|error| error.to_string())?;
            let nodes = nodes.list(&Default::default()).await.map_err(|error| error.to_string())?;
            match nodes.items.iter().find(|node| !nodes::takes_pods(node)) {
                None => Ok(Ok(())),
                Some(node) => Err(format!("node not ready: {:?}", node.metadata.name)),
            }
        })
        .await;
        self.outcome(outcome)
    }

    async fn create_nodes(&self, client: &Client) -> Result<(), MemberError> {
        let api: Api<Node> = Api::all(client.clone());
        for node in nodes::objects(&self.options.name, &self.options.nodes) {
            api.create(&PostParams::default(), &node).await.map_err(|error| MemberError::Api {
                member: self.options.name.clone(),
                what: format!("create node {}", node.metadata.name.as_deref().unwrap_or_default()),
                error: Box::new(error),
            })?;
        }
        Ok(())
    }

    fn outcome(
        &self,
        outcome: Result<Result<(), MemberError>, TimedOut>,
    ) -> Result<(), MemberError> {
        outcome.unwrap_or_else(|error| {
            let api_server = self.processes.iter().find(|p| p.name() == components::API_SERVER);
            Err(MemberError::NotReady {
                member: self.options.name.clone(),
                error,
                log: api_server.map(Process::log_tail).unwrap_or_default(),
            })
        })
    }

    fn first_ended(&mut self) -> Option<MemberError> {
        let process = self
            .processes
            .iter_mut()
            .find_map(|process| matches!(process.ended(), Ok(Some(_))).then_some(process))?;
        Some(MemberError::Ended {
            member: self.options.name.clone(),
            component: process.name().to_owned(),
            log: process.log_tail(),
        })
    }

    fn signal_all(&mut self, signal: Signal) -> Result<(), MemberError> {
        let mut failure = None;
        for process in &mut self.processes {
            if let Err(error) = process.signal(signal) {
                failure = Some((format!("signal {}", process.name()), error));
            }
        }
        failure.map_or(Ok(()), |(what, error)| Err(self.system(&what, error)))
    }

    fn system(&self, what: &str, error: std::io::Error) -> MemberError {
        let (member, what) = (self.options.name.clone(), what.to_owned());
        MemberError::System { member, what, error }
    }

    fn logs(&self) -> PathBuf {
        self.dir.path().join("logs")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Each process is killed by its own drop if this cannot reach it.
        let _ = self.kill();
    }
}

/// A port that no other process is given, as the API server is told to share it.
fn reserve_port() -> std::io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}
