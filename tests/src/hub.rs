//! A hub as users run it: the binary itself, on a port and in a directory of its own.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    Binaries, CommandOutput, Kubectl, Member,
    cli::run_program,
    process::{Process, Program},
    wait,
};

/// How long a hub may take to be ready; a debug build on a busy machine is slow.
const READY: Duration = Duration::from_secs(60);

/// Why a hub could not be started.
#[derive(thiserror::Error)]
pub enum HubError {
    #[error("no hub binary: ARCHIPEL_BINARY is not set and {} does not exist; run `cargo build`", .0.display())]
    BinaryMissing(PathBuf),
    #[error("the hub cannot be started: {0}")]
    Start(#[source] io::Error),
    #[error("the hub did not become ready: {timeout}\n{log}")]
    NotReady { timeout: String, log: String },
    #[error(transparent)]
    Members(#[from] crate::BinariesMissing),
}

// Tests unwrap: what they then print is for people.
impl std::fmt::Debug for HubError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A running hub; dropping it kills it and deletes what it kept.
#[derive(Debug)]
pub struct Hub {
    binaries: Binaries,
    program: PathBuf,
    dir: TempDir,
    port: u16,
    process: Process,
}

impl Hub {
    /// Starts a hub on an empty store and waits until it is ready.
    pub async fn start() -> Result<Self, HubError> {
        let binaries = Binaries::find()?;
        let program = program()?;
        let dir =
            tempfile::Builder::new().prefix("archipel-hub-").tempdir().map_err(HubError::Start)?;
        let port = free_port().map_err(HubError::Start)?;
        let process = launch(&binaries, &program, dir.path(), port)?;
        let mut hub = Self { binaries, program, dir, port, process };
        hub.ready().await?;
        Ok(hub)
    }

    /// Starts it again on the same store and port.
    pub async fn restart(&mut self) -> Result<(), HubError> {
        self.process.kill().map_err(HubError::Start)?;
        // Gone first: what is then found was written by the new process.
        let _ = std::fs::remove_file(self.kubeconfig());
        self.process = launch(&self.binaries, &self.program, self.dir.path(), self.port)?;
        self.ready().await
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// A signal of choice.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        self.process.signal(signal)
    }

    async fn ready(&mut self) -> Result<(), HubError> {
        let kubeconfig = self.kubeconfig();
        let ready = wait::try_until("the hub's kubeconfig", READY, async || {
            if kubeconfig.exists() { Ok(()) } else { Err("not written") }
        })
        .await;
        ready.map_err(|timeout| HubError::NotReady {
            timeout: timeout.to_string(),
            log: self.process.log_tail(),
        })
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// Where everything of it is kept.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> io::Result<u64> {
        self.process.resident_kib()
    }

    /// The end of what it logged.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// A client with the admin's kubeconfig.
    pub async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).expect("the hub wrote it whole");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .expect("the hub's kubeconfig is usable");
        Client::try_from(config).expect("the hub's kubeconfig is usable")
    }

    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig()).expect("the binaries were found before")
    }

    /// Runs `archipel ARGS…` against this hub.
    pub async fn archipel(&self, args: &[&str]) -> CommandOutput {
        let kubeconfig = self.kubeconfig();
        run_program(&self.program, args, &[("KUBECONFIG", kubeconfig.as_os_str())]).await
    }

    /// Like [`Hub::archipel`]; fails the test unless the command succeeds.
    pub async fn archipel_ok(&self, args: &[&str]) -> String {
        let output = self.archipel(args).await;
        assert!(output.success(), "archipel {args:?}: {output:?}");
        output.stdout
    }

    /// Joins a member under its own name and waits until it is Ready.
    pub async fn join(&self, member: &Member, provider: &str, region: &str, more: &[&str]) {
        let kubeconfig = member.kubeconfig().display().to_string();
        let mut args = vec![
            "cluster",
            "join",
            member.name(),
            "--kubeconfig",
            &kubeconfig,
            "--provider",
            provider,
            "--region",
            region,
        ];
        args.extend(more);
        self.archipel_ok(&args).await;
    }
}

/// Runs `archipel ARGS…` where there is no hub.
///
/// # Panics
/// When there is no binary.
pub async fn archipel(args: &[&str]) -> CommandOutput {
    let program = program().expect("the binary was built");
    let nowhere = "/nonexistent/kubeconfig";
    run_program(&program, args, &[("KUBECONFIG", nowhere.as_ref())]).await
}

/// `$ARCHIPEL_BINARY`, else the debug build in the target directory of this test.
fn program() -> Result<PathBuf, HubError> {
    if let Some(path) = std::env::var_os("ARCHIPEL_BINARY") {
        return Ok(path.into());
    }
    // target/debug/deps/e2e-… → target/debug/archipel
    let own = std::env::current_exe().map_err(HubError::Start)?;
    let path =
        own.parent().and_then(Path::parent).unwrap_or_else(|| Path::new(".")).join("archipel");
    if path.exists() { Ok(path) } else { Err(HubError::BinaryMissing(path)) }
}

fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn launch(binaries: &Binaries, program: &Path, dir: &Path, port: u16) -> Result<Process, HubError> {
    let launch = Program::executable("archipel", program)
        .arg("serve")
        .args(["--data-dir".as_ref(), dir.join("data").as_os_str()])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--kubeconfig-out".as_ref(), dir.join("kubeconfig").as_os_str()])
        .env("RUST_LOG", std::env::var("ARCHIPEL_TEST_LOG").unwrap_or_else(|_| "info".to_owned()));
    Process::start(binaries, &launch, dir).map_err(HubError::Start)
}
