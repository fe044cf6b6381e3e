//! Running cargo and other programs, with one build directory for every clone of a user.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// `$CARGO_TARGET_DIR`, else a directory in the user's cache: a fresh clone reuses what an earlier one compiled.
pub(crate) fn target_dir() -> Result<PathBuf, String> {
    if let Some(dir) = env::var_os("CARGO_TARGET_DIR") {
        return Ok(dir.into());
    }
    let cache = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        (_, None) => {
            return Err(
                "neither XDG_CACHE_HOME nor HOME is set: where may builds be kept?".to_owned()
            );
        }
    };
    Ok(cache.join("archipel").join("target"))
}

/// `cargo` in the workspace, building into [`target_dir`].
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command, String> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments).env("CARGO_TARGET_DIR", target_dir()?);
    Ok(command)
}

/// Runs to the end; a failure names the command.
pub(crate) fn wait(mut command: Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}")) }
}

/// What a command prints.
pub(crate) fn output(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} ended with {}\n{errors}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Builds the hub's binary and says where it is.
pub(crate) fn build_hub(release: bool) -> Result<PathBuf, String> {
    let mut arguments = vec!["build", "--package", "archipel", "--bin", "archipel"];
    if release {
        arguments.push("--release");
    }
    wait(cargo(&arguments)?)?;
    let profile = if release { "release" } else { "debug" };
    Ok(target_dir()?.join(profile).join("archipel"))
}
