//! `cargo xtask demo`: builds the hub and runs the main job on simulated members.

use std::{os::unix::process::CommandExt, process::Command};

use crate::run;

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let hub = run::build_hub(false)?;
    // The demo takes this process's place, so that Ctrl-C reaches it alone and its exit code is ours.
    let error = Command::new(&hub).arg("demo").args(arguments).exec();
    Err(format!("cannot run {}: {error}", hub.display()))
}
