//! The project's tasks: `cargo xtask demo | test | tidy | bench NAME | members | codegen`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task talks to a person at a terminal"
)]

mod bench;
mod codegen;
mod demo;
mod members;
mod run;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  demo [ARG…]         build the hub and run the main job: 12 simulated members, sample apps
  test [--full] [-- ARG…]
                      run every test; installs what it needs. --full adds the long suites
  tidy                check what the compiler does not: crate arrows, file sizes, lints, bans
  bench NAME [ARG…]   engine | propagate | start | api: print figures, last line is JSON
  members             build the real Kubernetes components that tests run against
  codegen [--check]   write the tables of built-in kinds from the Go modules
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let result = match task.as_str() {
        "demo" => demo::run(&rest),
        "test" => test::run(&rest),
        "tidy" => tidy::run(),
        "bench" => bench::run(&rest),
        "members" => members::ensure().map(|binaries| print!("{binaries}")),
        "codegen" => codegen::run(rest.iter().any(|it| it == "--check")),
        "" | "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(format!("no task `{other}`\n\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
