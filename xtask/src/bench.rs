//! `cargo xtask bench NAME`: builds in release, measures, prints a table and, last, one line of JSON.

use crate::{members, run};

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err("bench takes a name: engine, optimise, propagate, start or api".to_owned());
    };
    match name.as_str() {
        "engine" => example("placement-engine", "bench_engine", rest),
        "optimise" => example("placement-optimise", "bench_optimise", rest),
        "propagate" | "start" | "api" => {
            let hub = run::build_hub(true)?;
            let binaries = members::ensure()?;
            let mut command = run::cargo(&[
                "run",
                "--release",
                "--quiet",
                "--package",
                "federation-tests",
                "--bin",
                "bench",
                "--",
                name,
            ])?;
            command
                .env("ARCHIPEL_BINARY", hub)
                .env("ARCHIPEL_MEMBER_BINARIES", binaries.dir)
                .args(rest);
            run::wait(command)
        }
        other => Err(format!("no bench `{other}`: engine, optimise, propagate, start or api")),
    }
}

/// An example of a crate, in release.
fn example(package: &str, name: &str, arguments: &[String]) -> Result<(), String> {
    let mut command = run::cargo(&[
        "run",
        "--release",
        "--quiet",
        "--package",
        package,
        "--example",
        name,
        "--",
    ])?;
    command.args(arguments);
    run::wait(command)
}
