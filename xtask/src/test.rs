//! `cargo xtask test`: every test, after whatever it needs has been built.

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
    step("the hub");
    let hub = run::build_hub(false)?;
    step("member clusters (Go)");
    let binaries = members::ensure()?;
    step("tests");
    let mut tests = run::cargo(&["test", "--workspace", "--no-fail-fast"])?;
    tests
        .env("ARCHIPEL_BINARY", &hub)
        .env("ARCHIPEL_MEMBER_BINARIES", &binaries.dir)
        .env("ARCHIPEL_FULL", if full { "1" } else { "" })
        .arg("--")
        .args(passed_on);
    run::wait(tests)
}
