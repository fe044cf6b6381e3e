//! `cargo xtask tidy`: what the compiler does not check, each with a word on what to do instead.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::run;

/// Which crates of the workspace a crate may depend on. A new arrow is a change of this list, so that it is seen.
const ARROWS: &[(&str, &[&str])] = &[
    ("federation-types", &[]),
    ("federation-storage", &[]),
    ("federation-schema", &[]),
    ("federation-server", &["federation-types", "federation-storage", "federation-schema"]),
    ("federation-lifecycle", &["federation-types"]),
    ("status-rules", &["federation-types", "federation-schema"]),
    ("placement-engine", &["federation-types", "federation-schema", "status-rules"]),
    (
        "placement-controller",
        &[
            "federation-types",
            "federation-schema",
            "status-rules",
            "placement-engine",
            "syncer-render",
        ],
    ),
    ("placement-convert", &["federation-types"]),
    (
        "placement-optimise",
        &["federation-types", "federation-schema", "status-rules", "placement-engine"],
    ),
    ("syncer-render", &["federation-types", "federation-schema", "status-rules"]),
    (
        "syncer-agent",
        &[
            "federation-types",
            "federation-schema",
            "status-rules",
            "syncer-render",
            "providers-core",
        ],
    ),
    ("providers-core", &["federation-types"]),
    ("providers-simulated", &["federation-types", "federation-storage", "federation-server"]),
    ("providers-controller", &["federation-types", "providers-core"]),
    ("xtask", &[]),
];

/// Crates that know all the others.
const ROOTS: &[&str] = &["archipel", "federation-tests"];

/// Crates without I/O, clock and chance, and what may not be in their tree.
const PURE: &[&str] = &[
    "federation-types",
    "federation-schema",
    "status-rules",
    "placement-engine",
    "placement-convert",
    "syncer-render",
];
const IMPURE: &[&str] = &["tokio", "kube", "kube-client", "hyper", "rand", "tracing"];

/// One TLS provider, one HTTP stack.
const BANNED: &[&str] = &["ring", "openssl-sys", "native-tls"];

const LICENSES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Lines that a file may have, its tests left out.
const LINES: usize = 600;

pub(crate) fn run() -> Result<(), String> {
    let mut problems = Vec::new();
    arrows(&mut problems)?;
    licenses(&mut problems)?;
    manifests(&mut problems)?;
    sources(&mut problems)?;
    if problems.is_empty() {
        println!("tidy: {} crates, all as they should be", ARROWS.len() + ROOTS.len());
        return Ok(());
    }
    for problem in &problems {
        println!("tidy: {problem}");
    }
    Err(format!("{} things are not tidy", problems.len()))
}

/// The names in a crate's tree of normal dependencies, itself left out.
fn tree(package: &str) -> Result<BTreeSet<String>, String> {
    let arguments = [
        "tree",
        "--quiet",
        "--package",
        package,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let text = run::output(run::cargo(&arguments)?)?;
    Ok(text
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            let version = words.next()?.trim_start_matches('v');
            Some(if name == "hyper" { format!("hyper@{version}") } else { name.to_owned() })
        })
        .collect())
}

fn arrows(problems: &mut Vec<String>) -> Result<(), String> {
    let metadata = run::output(run::cargo(&["metadata", "--format-version", "1", "--no-deps"])?)?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        if ROOTS.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(it, _)| *it == name) else {
            problems
                .push(format!("crate `{name}` has no line in ARROWS: say what it may depend on"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let own = dependency["path"].is_string() && dependency["kind"].is_null();
            let target = dependency["name"].as_str().unwrap_or_default();
            if own && !allowed.contains(&target) {
                problems
                    .push(format!("`{name}` depends on `{target}`: not an arrow of the design"));
            }
        }
        let tree = tree(name)?;
        if PURE.contains(&name) {
            for banned in IMPURE.iter().filter(|it| tree.contains(**it)) {
                problems.push(format!(
                    "pure crate `{name}` has `{banned}` in its tree: move the shell out of it"
                ));
            }
        }
    }
    for root in ROOTS.iter().filter(|it| **it == "archipel") {
        let tree = tree(root)?;
        for banned in BANNED.iter().filter(|it| tree.contains(**it)) {
            problems.push(format!(
                "`{banned}` is in the tree of `{root}`: aws-lc-rs is the one TLS provider"
            ));
        }
        if tree.iter().any(|it| it.starts_with("hyper@0.")) {
            problems
                .push(format!("hyper 0.14 is in the tree of `{root}`: use what builds on hyper 1"));
        }
    }
    Ok(())
}

fn licenses(problems: &mut Vec<String>) -> Result<(), String> {
    let metadata = run::output(run::cargo(&["metadata", "--format-version", "1"])?)?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let license = package["license"].as_str().unwrap_or_default().replace('/', " OR ");
        // Every term joined by AND needs one allowed alternative.
        let fine = license.split(" AND ").all(|term| {
            term.trim_matches(['(', ')'])
                .split(" OR ")
                .any(|it| LICENSES.contains(&it.trim().trim_matches(['(', ')'])))
        });
        if !fine {
            problems.push(format!("`{name}` has licence `{license}`: not on the list of tidy.rs"));
        }
    }
    Ok(())
}

fn manifests(problems: &mut Vec<String>) -> Result<(), String> {
    for manifest in files(&run::root(), "Cargo.toml")? {
        let text = fs::read_to_string(&manifest).map_err(|error| error.to_string())?;
        let name = manifest.display();
        if !text.contains("[lints]\nworkspace = true") {
            problems.push(format!("{name}: `[lints] workspace = true` is missing"));
        }
        if manifest == run::root().join("Cargo.toml") {
            continue;
        }
        for line in text.lines() {
            let inline = line.contains("version = \"")
                || line
                    .split_once(" = \"")
                    .is_some_and(|(_, v)| v.starts_with(|c: char| c.is_ascii_digit()));
            if inline {
                problems
                    .push(format!("{name}: `{line}`: versions stand in the root manifest only"));
            }
        }
    }
    Ok(())
}

fn sources(problems: &mut Vec<String>) -> Result<(), String> {
    for file in files(&run::root(), ".rs")? {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let name = file.strip_prefix(run::root()).unwrap_or(&file).display().to_string();
        let is_test =
            name.ends_with("/tests.rs") || name.contains("/tests/") || name.starts_with("tests/");
        // `tests.rs` is the tests of the module beside it, which says what it is for.
        if !text.starts_with("//!") && !name.ends_with("/tests.rs") {
            problems.push(format!(
                "{name}: begins without `//!`: say what the module is responsible for"
            ));
        }
        // The contract suite of the stores is tests through and through.
        let is_test = is_test || name.ends_with("storage/src/contract.rs");
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().count();
        if lines > LINES && !is_test {
            problems.push(format!(
                "{name}: {lines} lines without tests, more than {LINES}: look for the seam"
            ));
        }
        if name == "xtask/src/tidy.rs" {
            continue;
        }
        for banned in
            ["#[ignore", "#[should_panic", "todo!(", "unimplemented!(", "FIXME", "#[allow("]
        {
            if text.contains(banned) {
                problems.push(format!("{name}: has `{banned}`"));
            }
        }
    }
    Ok(())
}

/// Every file below `dir` whose name ends so, build output and hidden folders left out.
fn files(dir: &Path, end: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    open.push(path);
                }
            } else if name.ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
