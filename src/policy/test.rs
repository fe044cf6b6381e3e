//! `archipel policy test`: scenarios are decided and compared with what they expect; with `--format json` objects are read,
//! and the Placements printed.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use federation_types::words::counted;
use placement_engine::{
    claim::{Facts, overrides},
    scenario::{self, Answer, Flaw, Given, Scenario},
};
use serde_json::{Value, json};

use super::{
    difference,
    files::{self, File, FileError},
};
use crate::output::{self, Failure};

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Scenario files, or directories of them (`*.txt`); with `--format json` one file of objects.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write what is decided into the files as what they expect.
    #[arg(long, conflicts_with = "format")]
    update: bool,
    /// `json` reads MemberClusters, ClusterSets, PriceBooks, policies and templates, and prints the Placements.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<TestFormat>,
    /// The day against which ages of prices count; today if left out. Scenarios state their own.
    #[arg(long, value_name = "YYYY-MM-DD", requires = "format")]
    as_of: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TestFormat {
    Json,
}

/// Why a test does not pass.
#[derive(Debug, thiserror::Error)]
enum TestError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{failed} of {scenarios} not as expected")]
    Differs { failed: usize, scenarios: String },
    #[error("the objects cannot be read:\n{0}")]
    Flawed(String),
    #[error("--format json reads one file")]
    OneFile,
    #[error("--as-of {0}: must be a day, such as 2026-11-21")]
    Day(String),
}

impl Test {
    pub(crate) fn run(self) -> Result<(), Failure> {
        if self.format == Some(TestFormat::Json) {
            let [path] = self.paths.as_slice() else { return Err(TestError::OneFile.into()) };
            if let Some(day) = self.as_of.as_ref().filter(|it| !is_day(it)) {
                return Err(TestError::Day(day.clone()).into());
            }
            let today = || jiff::Timestamp::now().to_string();
            return answers(path, &self.as_of.unwrap_or_else(today));
        }
        let files = files::read(&self.paths, &[".txt"]).map_err(TestError::from)?;
        let (mut failed, mut updated) = (0, 0);
        for file in &files {
            match verdict(file) {
                Verdict::Same => output::line(format_args!("ok       {}", file.path.display())),
                Verdict::Flawed(flaws) => {
                    failed += 1;
                    output::line(format_args!("FLAWED   {}", file.path.display()));
                    for flaw in flaws {
                        output::line(format_args!("  {}:{flaw}", file.path.display()));
                    }
                }
                Verdict::Differs(decision) if self.update => {
                    files::write(&file.path, &scenario::with_decision(&file.text, &decision))
                        .map_err(TestError::from)?;
                    updated += 1;
                    output::line(format_args!("updated  {}", file.path.display()));
                }
                Verdict::Differs(decision) => {
                    failed += 1;
                    output::line(format_args!("DIFFERS  {}", file.path.display()));
                    let (_, expected) = scenario::split(&file.text);
                    if expected.is_none() {
                        output::line("  it expects nothing: `--update` writes what is decided");
                    }
                    for line in difference::lines(expected.unwrap_or_default(), &decision) {
                        output::line(format_args!("  {line}"));
                    }
                }
            }
        }
        let total = files.len();
        let told = match updated {
            0 => String::new(),
            n => format!(", {n} updated"),
        };
        let scenarios = counted(total, "scenario", "scenarios");
        output::line(format_args!("{scenarios}, {} as expected{told}", total - failed - updated));
        if failed > 0 {
            return Err(TestError::Differs { failed, scenarios }.into());
        }
        Ok(())
    }
}

/// Whether a text is a day of the calendar, and nothing beside it.
fn is_day(text: &str) -> bool {
    text.len() == "2026-11-21".len() && text.parse::<jiff::civil::Date>().is_ok()
}

/// How a scenario came out.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    /// What was decided instead.
    Differs(String),
    Flawed(Vec<Flaw>),
}

fn verdict(file: &File) -> Verdict {
    let (given, expected) = scenario::split(&file.text);
    match Scenario::parse(given) {
        Err(flaws) => Verdict::Flawed(flaws),
        Ok(scenario) => {
            let decision = scenario.report();
            if expected == Some(decision.as_str()) {
                Verdict::Same
            } else {
                Verdict::Differs(decision)
            }
        }
    }
}

/// Prints the Placements for a file of objects: one as it is, several as a List.
fn answers(path: &Path, as_of: &str) -> Result<(), Failure> {
    let file = files::one(path).map_err(TestError::from)?;
    let scenario = Scenario::of_objects(&file.text, as_of).map_err(|flaws| {
        let lines: Vec<String> =
            flaws.iter().map(|it| format!("  {}:{it}", path.display())).collect();
        TestError::Flawed(lines.join("\n"))
    })?;
    let mut placements = Vec::new();
    for (answer, given) in scenario.answers().into_iter().zip(&scenario.workloads) {
        if !answer.note.is_empty() {
            output::progress(&answer.note);
        }
        placements.extend(with_revision(answer, given, &scenario));
    }
    let printed = match placements.len() {
        1 => placements.remove(0),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": placements}),
    };
    output::line(serde_json::to_string_pretty(&printed)?);
    Ok(())
}

/// The Placement with the revision that each cluster would be given: the template's content with the overrides that match.
fn with_revision(answer: Answer, given: &Given, scenario: &Scenario) -> Option<Value> {
    let mut placement = answer.placement?;
    let facts =
        Facts { key: &answer.key, labels: &given.workload.labels, secret_type: &given.secret_type };
    let rules = overrides(&facts, &scenario.overrides);
    let content = syncer_render::template::strip(&given.template);
    let path = given.workload.replicas_path(&scenario.rules);
    let revision = syncer_render::revision::content_hash(&content, &rules, path.as_ref());
    let clusters = placement.pointer_mut("/spec/clusters").and_then(Value::as_array_mut);
    for cluster in clusters.into_iter().flatten() {
        cluster["revision"] = json!(revision);
    }
    Some(placement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { path: "web.txt".into(), text: text.to_owned() }
    }

    const WEB: &str = "clusters: [{name: a}]\npolicy: {}\nworkload: {apiVersion: v1, kind: ConfigMap, metadata: {name: web, namespace: shop}}\n";

    #[test]
    fn one_scenario_is_no_plural() {
        let told = |total: usize| {
            let scenarios = counted(total, "scenario", "scenarios");
            TestError::Differs { failed: 1, scenarios }.to_string()
        };
        assert_eq!(told(1), "1 of 1 scenario not as expected");
        assert_eq!(told(3), "1 of 3 scenarios not as expected");
    }

    #[test]
    fn a_day_is_one_of_the_calendar() {
        assert!(is_day("2026-02-28"));
        for text in ["x", "2026-02-30", "2026-11-21T00:00:00Z", "26-1-1", ""] {
            assert!(!is_day(text), "{text}");
        }
    }

    #[test]
    fn a_scenario_is_compared_with_what_it_expects() {
        let Verdict::Differs(decision) = verdict(&file(WEB)) else { panic!("it expects nothing") };
        assert!(decision.starts_with("ConfigMap shop/web: on 1 cluster: a\n"), "{decision}");
        let updated = scenario::with_decision(WEB, &decision);
        assert_eq!(verdict(&file(&updated)), Verdict::Same);
        assert!(matches!(verdict(&file(&updated.replace(": a\n", ": b\n"))), Verdict::Differs(_)));
        assert!(matches!(verdict(&file("clusters: {}")), Verdict::Flawed(_)));
    }
}
