//! Member clusters in a process: the hub's own API server on memory storage, with nodes of chosen shapes and controllers
//! that make workloads ready after a delay. The demo's members, and the fleet of scale tests.
//!
//! ```text
//! client ─▶ relay (latency, partition) ─▶ TLS ─▶ Server on MemoryStore ◀─ local client ─ workloads ─▶ pods, status
//! ```

mod nodes;
mod objects;
mod relay;
mod scheduler;
mod workloads;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use federation_server::{
    identity::Identity,
    pki::ADMIN_GROUP,
    shell::{Shell, ShellError, ShellOptions},
};
use federation_storage::MemoryStore;
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::{nodes::NodePool, objects::BEHAVIOUR_ANNOTATION, relay::Network};
use crate::relay::Relay;

/// What a simulated member shall be like.
#[derive(Clone, Debug)]
pub struct SimulatedOptions {
    pub name: String,
    /// Holds its certificates and its kubeconfig.
    pub data_dir: PathBuf,
    pub region: String,
    pub nodes: Vec<NodePool>,
    /// How long a workload takes to become ready.
    pub ready_delay: Duration,
    /// Whether workloads get pods: they take room, and a large fleet can do without them.
    pub pods: bool,
    /// Whether its network can be disturbed, which costs a copy of every byte.
    pub disturbable: bool,
}

impl SimulatedOptions {
    /// A member that is ready soon, without nodes.
    pub fn new(name: &str, data_dir: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            data_dir,
            region: String::new(),
            nodes: Vec::new(),
            ready_delay: Duration::from_millis(300),
            pods: true,
            disturbable: false,
        }
    }
}

/// Why a simulated member did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatedError {
    #[error("simulated member {name}: its API server does not start")]
    Shell { name: String, source: Box<ShellError> },
    #[error("simulated member {name}: its API server ended before it was ready")]
    Ended { name: String },
    #[error("simulated member {name}: {doing}")]
    System { name: String, doing: &'static str, source: std::io::Error },
    #[error("simulated member {name}: {doing}")]
    Api { name: String, doing: &'static str, source: Box<kube::Error> },
}

/// A running member; it ends when it is dropped.
#[derive(Debug)]
pub struct SimulatedMember {
    name: String,
    kubeconfig: Vec<u8>,
    kubeconfig_path: PathBuf,
    address: SocketAddr,
    client: QuietClient,
    relay: Option<Relay>,
    closing: CancellationToken,
    _tasks: JoinSet<()>,
}

impl SimulatedMember {
    /// Starts a member; it serves, and its nodes are there, once this returns.
    pub async fn start(options: SimulatedOptions) -> Result<Self, SimulatedError> {
        let name = options.name.clone();
        let system = |doing| {
            let name = name.clone();
            move |source| SimulatedError::System { name, doing, source }
        };
        let api = |doing| {
            let name = name.clone();
            move |source| SimulatedError::Api { name, doing, source: Box::new(source) }
        };
        let shell = |source| SimulatedError::Shell { name: name.clone(), source: Box::new(source) };
        std::fs::create_dir_all(&options.data_dir).map_err(system("making its directory"))?;
        let kubeconfig_path = options.data_dir.join("kubeconfig");
        // One of an earlier run would be taken for the one that is waited for.
        match std::fs::remove_file(&kubeconfig_path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(system("removing its old kubeconfig")(error));
            }
            _ => (),
        }
        let store = Arc::new(MemoryStore::new());
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let opened = Shell::open(ShellOptions::new(store, &options.data_dir, listen))
            .await
            .map_err(shell)?;
        let server_address = opened.address;
        let identity = Identity {
            user: "system:simulated-controllers".to_owned(),
            groups: vec![ADMIN_GROUP.to_owned(), "system:authenticated".to_owned()],
            ..Identity::default()
        };
        let client = Client::new(opened.server.local(identity), "default");
        let closing = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let serving = opened.run(Some(kubeconfig_path.clone()), closing.clone());
        let (died, mut dead) = tokio::sync::oneshot::channel();
        tasks.spawn(async move {
            let _ = died.send(serving.await.err());
        });
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !kubeconfig_path.exists() {
            tokio::select! {
                _ = look.tick() => (),
                ended = &mut dead => {
                    return Err(match ended {
                        Ok(Some(error)) => shell(error),
                        _ => SimulatedError::Ended { name: name.clone() },
                    });
                }
            }
        }
        let mut kubeconfig =
            std::fs::read(&kubeconfig_path).map_err(system("reading its kubeconfig"))?;
        let relay = if options.disturbable {
            let relay = Relay::start(server_address).await.map_err(system("listening"))?;
            let (server, public) = (server_address.to_string(), relay.address().to_string());
            let text = String::from_utf8_lossy(&kubeconfig).replace(&server, &public);
            std::fs::write(&kubeconfig_path, &text).map_err(system("writing its kubeconfig"))?;
            kubeconfig = text.into_bytes();
            Some(relay)
        } else {
            None
        };
        nodes::furnish(&client, &options).await.map_err(api("making its namespaces and nodes"))?;
        let slots = nodes::slots(&options);
        tasks.spawn(workloads::run(client.clone(), slots, options.ready_delay, options.pods));
        Ok(Self {
            name,
            kubeconfig,
            kubeconfig_path,
            address: relay.as_ref().map_or(server_address, Relay::address),
            client: QuietClient(client),
            relay,
            closing,
            _tasks: tasks,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// An administrator's kubeconfig, complete in itself.
    pub fn kubeconfig(&self) -> &[u8] {
        &self.kubeconfig
    }

    /// The same as a file.
    pub fn kubeconfig_path(&self) -> &std::path::Path {
        &self.kubeconfig_path
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An administrator's client without a socket.
    pub fn client(&self) -> Client {
        self.client.0.clone()
    }

    /// Disturbs its network; only a member that was started `disturbable` can be.
    pub fn disturb(&self, network: Network) -> bool {
        self.relay.as_ref().is_some_and(|it| {
            it.disturb(network);
            true
        })
    }

    /// Answers nothing until it is healed; connections stay open.
    pub fn set_partitioned(&self, partitioned: bool) -> bool {
        self.disturb(Network { partitioned, ..Network::default() })
    }
}

impl Drop for SimulatedMember {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// A client says nothing of itself.
struct QuietClient(Client);

impl std::fmt::Debug for QuietClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{
        apps::v1::Deployment,
        core::v1::{Node, Pod},
    };
    use kube::{
        Api,
        api::{ListParams, Patch, PatchParams},
        runtime::wait::await_condition,
    };
    use providers_core::{ConnectError, ConnectOptions, MemberClient};
    use serde_json::json;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    async fn start(dir: &std::path::Path, disturbable: bool) -> SimulatedMember {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options = SimulatedOptions {
            nodes: vec![NodePool::new(2, "m6i.xlarge", "eu-west-1a", "2", "8Gi")],
            ready_delay: Duration::from_millis(20),
            disturbable,
            ..SimulatedOptions::new("a", dir.to_owned())
        };
        SimulatedMember::start(options).await.unwrap()
    }

    async fn reaches(deployments: &Api<Deployment>, ready: i32) {
        let condition = move |it: Option<&Deployment>| {
            it.is_some_and(|it| {
                let status = it.status.clone().unwrap_or_default();
                status.observed_generation == it.metadata.generation
                    && status.ready_replicas.unwrap_or(0) == ready
            })
        };
        let waiting = await_condition(deployments.clone(), "web", condition);
        tokio::time::timeout(SOON, waiting).await.expect("in time").unwrap();
    }

    #[tokio::test]
    async fn a_deployment_gets_pods_and_becomes_ready_as_far_as_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let member = start(dir.path(), false).await;
        let client =
            MemberClient::connect(member.kubeconfig(), &ConnectOptions::default()).await.unwrap();
        let rest = client.rest().clone();
        assert_eq!(
            Api::<Node>::all(rest.clone()).list(&ListParams::default()).await.unwrap().items.len(),
            2
        );
        let deployments = Api::<Deployment>::namespaced(rest.clone(), "default");
        let web = |replicas: i32| {
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                "spec": {
                    "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{
                            "name": "web", "image": "web", "resources": {"requests": {"cpu": "900m"}},
                        }]},
                    },
                },
            })
        };
        let apply = PatchParams::apply("test").force();
        let pods = Api::<Pod>::namespaced(rest, "default");
        deployments.patch("web", &apply, &Patch::Apply(web(3))).await.unwrap();
        reaches(&deployments, 3).await;
        let list = pods.list(&ListParams::default().labels("app=web")).await.unwrap();
        assert!(list.iter().all(|it| it.spec.as_ref().is_some_and(|it| it.node_name.is_some())));
        // Two nodes of two CPUs hold four of these.
        deployments.patch("web", &apply, &Patch::Apply(web(6))).await.unwrap();
        reaches(&deployments, 4).await;
        deployments.patch("web", &apply, &Patch::Apply(web(1))).await.unwrap();
        reaches(&deployments, 1).await;
        assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 1);
    }

    #[tokio::test]
    async fn a_partitioned_member_is_silent_until_it_heals() {
        let dir = tempfile::tempdir().unwrap();
        let member = start(dir.path(), true).await;
        let options = ConnectOptions {
            request_timeout: Duration::from_millis(300),
            ..ConnectOptions::default()
        };
        let client = MemberClient::connect(member.kubeconfig(), &options).await.unwrap();
        assert!(member.set_partitioned(true));
        let error = client.rest().apiserver_version().await.unwrap_err();
        let error = ConnectError::from_request(client.server(), &error);
        assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
        member.set_partitioned(false);
        client.rest().apiserver_version().await.unwrap();
    }

    #[tokio::test]
    async fn a_dropped_member_gives_its_port_back() {
        let dir = tempfile::tempdir().unwrap();
        let member = start(dir.path(), false).await;
        let address = member.address();
        drop(member);
        let free = async {
            while tokio::net::TcpListener::bind(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, free).await.expect("in time");
    }
}
