//! `cargo xtask bench NAME`: builds in release, measures, prints a table and, last, one line of JSON.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{members, run};

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(
            "bench takes a name: engine, plan, optimise, propagate, start or api".to_owned()
        );
    };
    match name.as_str() {
        "engine" if rest.is_empty() => engine(),
        "engine" => run::wait(example("placement-engine", "bench_engine", rest)?),
        "plan" => run::wait(example("placement-controller", "bench_plan", rest)?),
        "optimise" => run::wait(example("placement-optimise", "bench_optimise", rest)?),
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
        other => {
            Err(format!("no bench `{other}`: engine, plan, optimise, propagate, start or api"))
        }
    }
}

/// Decisions by the engine alone, and a plan by the review that asks for it, in one line.
fn engine() -> Result<(), String> {
    let mut line = figures(example("placement-engine", "bench_engine", &[])?)?;
    let plan = figures(example("placement-controller", "bench_plan", &[])?)?;
    for (name, figure) in plan["figures"].as_object().into_iter().flatten() {
        line["figures"][name] = figure.clone();
    }
    println!("{line}");
    Ok(())
}

/// Runs a bench and passes on what it prints, but for the last line, which is its figures.
fn figures(mut command: Command) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("cannot run the bench: {error}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut last = String::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line.map_err(failed)?;
        if !last.is_empty() {
            println!("{last}");
        }
        last = line;
    }
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(format!("{command:?} ended with {status}"));
    }
    serde_json::from_str(&last).map_err(|error| format!("`{last}` is no line of figures: {error}"))
}

/// An example of a crate, in release.
fn example(package: &str, name: &str, arguments: &[String]) -> Result<Command, String> {
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
    Ok(command)
}
