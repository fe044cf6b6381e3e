//! `archipel policy lint`: what is wrong or odd about policies, with the place and what to do.

use std::path::PathBuf;

use clap::Args;
use federation_types::{validate::Problem, words::counted};
use placement_engine::{
    lint::{Finding, Severity, lint},
    scenario::{Document, documents},
};
use serde::Serialize;

use super::files::{self, File};
use crate::output::{self, Failure, Format};

#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// Files of objects, or directories of them (`*.yaml`, `*.yml`, `*.json`). Members and templates among them are
    /// looked at beside the policies.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Fail on warnings too.
    #[arg(long)]
    strict: bool,
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Found(String);

/// One finding with its place.
#[derive(Debug, Serialize)]
struct Line {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    object: String,
    field: String,
    severity: Severity,
    code: &'static str,
    message: String,
    advice: String,
}

impl std::fmt::Display for Line {
    /// `web.yaml:8: error SelectsNothing (PlacementPolicy shop/web) spec.affinities[0]: why`, and the advice below it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {} {}", self.severity, self.code)?;
        if !self.object.is_empty() {
            write!(f, " ({})", self.object)?;
        }
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}\n    {}", self.message, self.advice)
    }
}

impl Lint {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let files = files::read(&self.paths, &[".yaml", ".yml", ".json"])?;
        let (lines, policies) = look(&files);
        let count = |severity: Severity| lines.iter().filter(|it| it.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if !output::machine(self.output, &lines)? {
            for it in &lines {
                output::line(it);
            }
            output::line(format_args!(
                "{}: {}, {} to know",
                counted(policies, "policy", "policies"),
                summary(errors, warnings),
                count(Severity::Info)
            ));
        }
        if errors > 0 || (self.strict && warnings > 0) {
            return Err(Found(summary(errors, warnings)).into());
        }
        Ok(())
    }
}

/// `1 error, 2 warnings`
fn summary(errors: usize, warnings: usize) -> String {
    format!("{}, {}", counted(errors, "error", "errors"), counted(warnings, "warning", "warnings"))
}

/// Looks at all files together; says how many policies there are.
fn look(files: &[File]) -> (Vec<Line>, usize) {
    let mut lines = Vec::new();
    let mut all: Vec<(&File, Document)> = Vec::new();
    for file in files {
        match documents(&file.text) {
            Ok(found) => all.extend(found.into_iter().map(|it| (file, it))),
            Err(flaw) => lines.push(Line {
                file: file.path.display().to_string(),
                line: flaw.line,
                object: String::new(),
                field: String::new(),
                severity: Severity::Error,
                code: federation_types::reason::lint::INVALID,
                message: flaw.message,
                advice: "correct the YAML".to_owned(),
            }),
        }
    }
    let policies = all.iter().filter(|(_, it)| it.kind().ends_with("Policy")).count();
    let documents: Vec<&Document> = all.iter().map(|(_, it)| it).collect();
    for Finding { document, severity, code, field, message, advice } in lint(&documents) {
        let (file, document) = &all[document];
        let flaw = document.flaw(&file.text, Problem { field, message });
        lines.push(Line {
            file: file.path.display().to_string(),
            line: flaw.line,
            object: document.title(),
            field: flaw.field,
            severity,
            code,
            message: flaw.message,
            advice,
        });
    }
    (lines, policies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_or_version_of_ours_is_an_error_with_its_place() {
        let text = "apiVersion: archipel.dev/v1alpha1\nkind: PlacementPolicyy\nmetadata: {name: p}\n---\napiVersion: archipel.dev/v1\nkind: CostBudget\nmetadata: {name: b}\n";
        let files = [File { path: "p.yaml".into(), text: text.to_owned() }];
        let (lines, _) = look(&files);
        let found: Vec<_> = lines
            .iter()
            .map(|it| {
                (it.file.as_str(), it.line, it.severity, it.object.as_str(), it.field.as_str())
            })
            .collect();
        let error = Severity::Error;
        assert_eq!(
            found,
            [
                ("p.yaml", Some(2), error, "PlacementPolicyy p", "kind"),
                ("p.yaml", Some(5), error, "CostBudget b", "apiVersion"),
            ]
        );
    }

    #[test]
    fn what_is_no_yaml_is_said_of_the_file_alone() {
        let files = [File { path: "p.yaml".into(), text: "a: [\n".to_owned() }];
        let (lines, _) = look(&files);
        let text = lines[0].to_string();
        assert!(text.starts_with("p.yaml:") && text.contains(" error Invalid: "), "{text}");
        assert!(text.ends_with("\n    correct the YAML"), "{text}");
    }

    #[test]
    fn one_error_is_no_plural() {
        assert_eq!(summary(1, 0), "1 error, 0 warnings");
        assert_eq!(summary(2, 1), "2 errors, 1 warning");
    }

    #[test]
    fn a_finding_has_its_file_and_line() {
        let text = "kind: PlacementPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n  selectors: [{apiVersion: apps/v1, kind: Deployment}]\n  affinities:\n  - clusters:\n      names: [a]\n      exclude: [a*]\n";
        let files = [File { path: "p.yaml".into(), text: text.to_owned() }];
        let (lines, policies) = look(&files);
        assert_eq!(policies, 1);
        let found: Vec<_> = lines
            .iter()
            .map(|it| (it.line, it.code, it.object.as_str(), it.field.as_str()))
            .collect();
        let field = "spec.affinities[0].clusters.exclude";
        assert_eq!(found, [(Some(8), "SelectsNothing", "PlacementPolicy shop/p", field)]);
    }
}
