//! Programs written against Kubernetes, in Go and in Python, against the hub.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use federation_tests::Binaries;
use tokio::process::Command;

use crate::fleet::Fleet;

/// The `kubernetes` package of PyPI; another version gets an environment of its own.
const PYTHON_CLIENT: &str = "36.0.3";

pub(super) async fn client_go(fleet: &mut Fleet) {
    let client = Binaries::find().unwrap().client;
    let said = run(Command::new(client).arg(fleet.hub.kubeconfig())).await;
    for step in ["informer: ok", "leader election: ok"] {
        assert!(said.contains(step), "{said}");
    }
}

pub(super) async fn python(fleet: &mut Fleet) {
    let python = environment().await;
    let script = fleet.hub.dir().join("client.py");
    std::fs::write(&script, include_str!("client.py")).unwrap();
    let said = run(Command::new(python).arg(script).arg(fleet.hub.kubeconfig())).await;
    for step in
        ["create: ok", "list: ok", "patch: ok", "watch: ok", "custom objects: ok", "delete: ok"]
    {
        assert!(said.contains(step), "{said}");
    }
    // What the script left to be placed is placed.
    fleet.placed("python", "deployment-web", "eks-1 gke-1 prem-1").await;
    fleet.end("python").await;
}

/// The interpreter of a virtual environment with the client in it; made when it is not there yet.
async fn environment() -> PathBuf {
    let home = std::env::var_os("HOME").expect("HOME is set");
    let dir = Path::new(&home).join(".cache/archipel/python").join(PYTHON_CLIENT);
    let python = dir.join("bin/python");
    let done = dir.join("complete");
    if done.exists() {
        return python;
    }
    // What an interrupted installation left is no use.
    let _ = std::fs::remove_dir_all(&dir);
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir)).await;
    let package = format!("kubernetes=={PYTHON_CLIENT}");
    run(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        &package,
    ]))
    .await;
    std::fs::write(done, "").unwrap();
    python
}

async fn run(command: &mut Command) -> String {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command
        .output()
        .await
        .unwrap_or_else(|error| panic!("{command:?}: {error}; is it installed?"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}
