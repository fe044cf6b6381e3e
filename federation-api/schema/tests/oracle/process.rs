//! The oracle: Kubernetes' own libraries, in a process of their own (`tests/oracle`, a Go module).

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// A running oracle.
pub(crate) struct Oracle {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    /// Builds it, if need be, and starts it.
    pub(crate) fn start() -> Self {
        static BINARY: OnceLock<PathBuf> = OnceLock::new();
        let mut child = Command::new(BINARY.get_or_init(build))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the oracle starts");
        let ask = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("the oracle has an output"));
        Self { child, ask, answers }
    }

    /// Its answer to one request.
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        let input = self.ask.as_mut().expect("the oracle has an input");
        writeln!(input, "{request}").expect("the oracle takes a request");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the oracle answers");
        let answer: Value = serde_json::from_str(&line).expect("the oracle answers in JSON");
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(!error.starts_with("bad request"), "{error}: {request}");
        assert!(!error.starts_with("panic"), "{error}: {request}");
        answer
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.ask = None;
        let _ = self.child.wait();
    }
}

fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle");
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let directory = cache.unwrap_or_else(std::env::temp_dir).join("archipel");
    std::fs::create_dir_all(&directory).expect("the cache directory can be made");
    // One file per process: tests that run at once do not overwrite a binary that runs.
    let binary = directory.join(format!("oracle-{}", std::process::id()));
    let built = Command::new("go")
        .arg("build")
        .arg("-o")
        .arg(&binary)
        .arg(".")
        .current_dir(source)
        .output();
    match built {
        Err(e) => panic!("the differential tests need Go (`go version`): {e}"),
        Ok(output) if !output.status.success() => {
            panic!("the oracle does not build:\n{}", String::from_utf8_lossy(&output.stderr))
        }
        Ok(_) => {}
    }
    let kept = directory.join("oracle");
    std::fs::rename(&binary, &kept).expect("the oracle can be put in its place");
    kept
}
