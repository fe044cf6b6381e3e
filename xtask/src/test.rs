//! `cargo xtask test`: every test, after whatever it needs has been built.

use std::process::Command;

use crate::{members, run, tidy};

pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (own, passed_on) = match arguments.iter().position(|it| it == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    let full = match own {
        [] => false,
        [flag] if flag == "--full" => true,
        [other, ..] => return Err(format!("test takes no `{other}`; only --full")),
    };
    let step = |what: &str| println!("── {what}");
    step("tidy");
    tidy::run()?;
    step("format");
    run::wait(run::cargo(&["fmt", "--all", "--check"])?)?;
    step("lints");
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    run::wait(run::cargo(&lints)?)?;
    step("the hub");
    let hub = run::build_hub(false)?;
    step("member clusters (Go)");
    let binaries = members::ensure()?;
    let environment = |command: &mut Command| {
        command.env("ARCHIPEL_BINARY", &hub).env("ARCHIPEL_MEMBER_BINARIES", &binaries.dir);
        if full {
            command.env("ARCHIPEL_FULL", "1");
        }
    };
    step("tests of the crates");
    let mut tests =
        run::cargo(&["test", "--workspace", "--exclude", "federation-tests", "--no-fail-fast"])?;
    environment(&mut tests);
    tests.arg("--").args(passed_on);
    let crates = run::wait(tests);
    // One after the other: each starts clusters of real processes, and two cores are soon busy.
    step("tests on real clusters");
    let mut tests = run::cargo(&["test", "--package", "federation-tests", "--no-fail-fast"])?;
    environment(&mut tests);
    tests.args(["--", "--test-threads=1", "--nocapture"]).args(passed_on);
    let clusters = run::wait(tests);
    crates.and(clusters)
}
