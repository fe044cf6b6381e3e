//! Child processes that never outlive the process that started them.
//!
//! A child is started through `archipel-members --die-with-parent`, which asks the kernel to kill
//! it when the thread that started it ends; so one thread, which lives as long as this process,
//! starts all of them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::Binaries;

const LOG_TAIL: u64 = 4096;
const STOP_POLL: Duration = Duration::from_millis(20);

/// What to run: a program or a component of `archipel-members`, its arguments and environment.
#[derive(Debug, Clone)]
pub struct Program {
    /// The name in errors and of the log file.
    pub name: String,
    target: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl Program {
    /// A component inside the `archipel-members` binary.
    pub fn component(name: &str) -> Self {
        Self { name: name.into(), target: vec![name.into()], args: Vec::new(), env: Vec::new() }
    }

    /// Any other program, by path or by a name on `PATH`.
    pub fn executable(name: &str, path: impl AsRef<OsStr>) -> Self {
        let target = vec!["--exec".into(), path.as_ref().to_owned()];
        Self { name: name.into(), target, args: Vec::new(), env: Vec::new() }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets one variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }
}

/// A running (or ended) child; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; its output is appended to `NAME.log` in `log_dir`.
    pub fn start(binaries: &Binaries, program: &Program, log_dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(log_dir)?;
        let log = log_dir.join(format!("{}.log", program.name));
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(&binaries.members);
        command
            .arg("--die-with-parent")
            .args(&program.target)
            .args(&program.args)
            .envs(program.env.iter().map(|(name, value)| (name, value)))
            .env("ARCHIPEL_MEMBERS_PARENT", std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // An interrupt typed at the terminal reaches the test alone, which then ends them all.
            .process_group(0);
        Ok(Self { name: program.name.clone(), child: spawn(command)?, log })
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends a signal; nothing happens when the process has ended.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // As long as it is not seen to have ended it is not reaped, and its id is no other's.
        if self.child.try_wait()?.is_none()
            && let Some(pid) = Pid::from_raw(self.child.id().cast_signed())
        {
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// Kills it at once and waits for its end.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Asks it to end, and kills it when it has not after `patience`.
    pub async fn stop(&mut self, patience: Duration) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + patience;
        while self.ended()?.is_none() {
            if Instant::now() >= deadline {
                return self.kill();
            }
            tokio::time::sleep(STOP_POLL).await;
        }
        Ok(())
    }

    /// The resident memory in KiB, as the kernel counts it.
    pub fn resident_kib(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok()
            })
            .ok_or_else(|| io::Error::other("no VmRSS: the process has ended"))
    }

    /// The end of its output, for errors.
    pub fn log_tail(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            // Some components pad their messages with NUL bytes.
            bytes.retain(|byte| *byte != 0);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| format!("({}: {error})", self.log.display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended and was waited for already.
        let _ = self.kill();
    }
}

type Request = (Command, Sender<io::Result<Child>>);

fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Sender<Request>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (requests, queue) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in queue {
                // Nobody waits any more: the child is dropped, and ends with this process.
                let _ = answer.send(command.spawn());
            }
        });
        requests
    });
    let (answer, result) = channel();
    let gone = |_| io::Error::other("the thread that starts processes has ended");
    starter
        .send((command, answer))
        .map_err(|_| io::Error::other("no thread to start processes"))?;
    result.recv().map_err(gone)?
}
