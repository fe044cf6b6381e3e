//! The command lines of a member's components: small, quick, and as real clusters are set up
//! where it matters to clients (RBAC, ServiceAccount tokens, admission).

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use super::Member;
use crate::process::Program;

pub(super) const API_SERVER: &str = "kube-apiserver";

/// The first address of the range for Services, which the API server takes for itself.
pub(super) const API_SERVICE_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

const SERVICE_RANGE: &str = "10.96.0.0/16";
const POD_RANGE: &str = "10.244.0.1/16";

/// The controllers that workloads, namespaces and accounts need; none that needs a cloud, a
/// kubelet or a network.
const CONTROLLERS: [&str; 23] = [
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
];

const STAGES: [(&str, &str); 3] = [
    ("node.yaml", include_str!("../../members/stages/node.yaml")),
    ("pod.yaml", include_str!("../../members/stages/pod.yaml")),
    ("volume.yaml", include_str!("../../members/stages/volume.yaml")),
];

pub(super) fn etcd(member: &Member) -> Program {
    // It listens on sockets in the member's directory; these two are only ever compared.
    let (client, peer) = ("http://127.0.0.1:2379", "http://127.0.0.1:2380");
    let program = Program::component("etcd").args([
        "--name=member".to_owned(),
        format!("--data-dir={}", member.dir().join("etcd").display()),
        format!("--listen-client-urls={}", etcd_socket(member)),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls=unix://{}", member.dir().join("peer.sock").display()),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=member={peer}"),
        "--log-level=warn".to_owned(),
    ]);
    if member.options.unsafe_no_fsync { program.arg("--unsafe-no-fsync") } else { program }
}

pub(super) fn api_server(member: &Member) -> Program {
    let pki = &member.pki;
    with_gates(member, Program::component(API_SERVER))
        .args([
            format!("--etcd-servers={}", etcd_socket(member)),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", member.address().port()),
            // The harness holds the port while the server is down.
            "--permit-port-sharing=true".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            // One server, no peers: nothing to write into the endpoints of itself.
            "--endpoint-reconciler-type=none".to_owned(),
            "--enable-priority-and-fairness=false".to_owned(),
            "--profiling=false".to_owned(),
        ])
        .args(path_flag("--client-ca-file", &pki.ca_certificate))
        .args(path_flag("--tls-cert-file", &pki.server_certificate))
        .args(path_flag("--tls-private-key-file", &pki.server_key))
        .args(path_flag("--service-account-key-file", &pki.token_public_key))
        .args(path_flag("--service-account-signing-key-file", &pki.token_key))
        .args(map_flag("--runtime-config", &member.options.runtime_config))
}

pub(super) fn controller_manager(member: &Member) -> Program {
    let pki = &member.pki;
    with_gates(member, Program::component("kube-controller-manager"))
        .args([
            format!("--controllers={}", CONTROLLERS.join(",")),
            // A member that was frozen must not call its nodes lost when it returns.
            "--node-monitor-grace-period=10m".to_owned(),
            "--endpointslice-updates-batch-period=100ms".to_owned(),
            "--concurrent-deployment-syncs=10".to_owned(),
            "--concurrent-replicaset-syncs=10".to_owned(),
        ])
        .args(client_flags(member))
        .args(path_flag("--service-account-private-key-file", &pki.token_key))
        .args(path_flag("--root-ca-file", &pki.ca_certificate))
}

pub(super) fn scheduler(member: &Member) -> Program {
    with_gates(member, Program::component("kube-scheduler")).args(client_flags(member))
}

pub(super) fn kwok(member: &Member) -> io::Result<Program> {
    let dir = member.dir().join("stages");
    std::fs::create_dir_all(&dir)?;
    let mut program = Program::executable("kwok", &member.binaries.kwok)
        .args(["--manage-all-nodes", "--node-ip=10.0.0.1", "--cidr", POD_RANGE])
        .args(path_flag("--kubeconfig", &member.pki.kubeconfig));
    for (name, stages) in STAGES {
        let path = dir.join(name);
        std::fs::write(&path, stages)?;
        program = program.args(path_flag("--config", &path));
    }
    Ok(program)
}

/// What the two clients of the API have in common: one instance, and no throttle of its own.
fn client_flags(member: &Member) -> [String; 6] {
    [
        format!("--kubeconfig={}", member.pki.kubeconfig.display()),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--profiling=false".to_owned(),
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
    ]
}

fn with_gates(member: &Member, program: Program) -> Program {
    program.args(map_flag("--feature-gates", &member.options.feature_gates))
}

fn etcd_socket(member: &Member) -> String {
    format!("unix://{}", member.dir().join("etcd.sock").display())
}

fn path_flag(flag: &str, path: &Path) -> [String; 1] {
    [format!("{flag}={}", path.display())]
}

fn map_flag(flag: &str, entries: &BTreeMap<String, bool>) -> Option<String> {
    let entries: Vec<_> = entries.iter().map(|(name, on)| format!("{name}={on}")).collect();
    (!entries.is_empty()).then(|| format!("{flag}={}", entries.join(",")))
}
