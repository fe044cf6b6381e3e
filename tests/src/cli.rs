//! Runs the stock command-line clients and captures what they say.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{Binaries, BinariesMissing};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl CommandOutput {
    /// Whether the command succeeded.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// kubectl against one cluster.
#[derive(Debug, Clone)]
pub struct Kubectl(Tool);

/// helm against one cluster.
#[derive(Debug, Clone)]
pub struct Helm(Tool);

#[derive(Debug, Clone)]
struct Tool {
    program: PathBuf,
    env: Vec<(&'static str, OsString)>,
    timeout: Duration,
}

impl Kubectl {
    /// kubectl with this kubeconfig; its caches stay beside that file.
    pub fn new(kubeconfig: &Path) -> Result<Self, BinariesMissing> {
        let cache = kubeconfig.with_extension("kubectl-cache");
        let env = vec![("KUBECONFIG", kubeconfig.into()), ("KUBECACHEDIR", cache.into())];
        Ok(Self(Tool { program: Binaries::find()?.kubectl, env, timeout: DEFAULT_TIMEOUT }))
    }

    /// With one more variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.0.env.push((name, value.into()));
        self
    }

    /// Runs it, whatever the outcome.
    ///
    /// # Panics
    /// When the program cannot be run or does not end in time.
    pub async fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> CommandOutput {
        self.0.run(args, "").await
    }

    /// Runs it with this on standard input (for `-f -`).
    ///
    /// # Panics
    /// As [`Self::run`].
    pub async fn run_with<A: AsRef<OsStr>>(
        &self,
        input: &str,
        args: impl IntoIterator<Item = A>,
    ) -> CommandOutput {
        self.0.run(args, input).await
    }

    /// Runs it and returns its standard output.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        self.0.ok(args, "").await
    }

    /// Applies a manifest given as text.
    ///
    /// # Panics
    /// When it fails.
    pub async fn apply(&self, manifest: &str) -> String {
        self.0.ok(["apply", "-f", "-"], manifest).await
    }
}

impl Helm {
    /// helm with this kubeconfig; its caches and settings stay beside that file.
    pub fn new(kubeconfig: &Path) -> Result<Self, BinariesMissing> {
        let home = kubeconfig.with_extension("helm");
        let env = vec![
            ("KUBECONFIG", kubeconfig.into()),
            ("HELM_CACHE_HOME", home.join("cache").into()),
            ("HELM_CONFIG_HOME", home.join("config").into()),
            ("HELM_DATA_HOME", home.join("data").into()),
        ];
        Ok(Self(Tool { program: Binaries::find()?.helm, env, timeout: DEFAULT_TIMEOUT }))
    }

    /// Runs it, whatever the outcome.
    ///
    /// # Panics
    /// When the program cannot be run or does not end in time.
    pub async fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> CommandOutput {
        self.0.run(args, "").await
    }

    /// Runs it and returns its standard output.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        self.0.ok(args, "").await
    }
}

/// Runs any program of ours with an environment of its own; as [`Kubectl::run`].
pub(crate) async fn run_program(
    program: &Path,
    args: &[&str],
    env: &[(&'static str, &OsStr)],
) -> CommandOutput {
    let env = env.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Tool { program: program.to_owned(), env, timeout: DEFAULT_TIMEOUT }.run(args, "").await
}

impl Tool {
    async fn run<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        input: &str,
    ) -> CommandOutput {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        let work = async {
            // A command that does not read its input may end first; its own words tell more.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await
        };
        let output = match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => panic!("{command:?}: {error}"),
            Err(_) => panic!("{command:?}: did not end within {} s", self.timeout.as_secs()),
        };
        CommandOutput {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    async fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, input: &str) -> String {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let output = self.run(&args, input).await;
        assert!(output.success(), "{} {args:?}: {output:#?}", self.program.display());
        output.stdout
    }
}
