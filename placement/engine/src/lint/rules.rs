//! What is odd about StatusRules beside one another, and beside the templates that they read.

use std::collections::BTreeSet;

use federation_types::reason::lint as code;
use status_rules::{Rules, Standing};

use super::{Finding, Given, Report, Severity, together::is_template};
use crate::{scenario::Document, workload::Workload};

/// The rules as the hub would follow them.
pub(super) fn look(documents: &[&Document], given: &Given, findings: &mut Vec<Finding>) -> Rules {
    let specs = given.rules.iter().map(|(name, (_, spec))| (name.as_str(), spec));
    let (rules, standings) = Rules::new(specs);
    for (name, standing) in standings {
        if let Standing::Shadowed { by } = standing {
            let mut report = Report { document: given.rules[&name].0, findings };
            report.warn(
                code::SHADOWED,
                "spec.target",
                format!("StatusRule {by} is about the same kind, and its name sorts first"),
                "put both into one rule",
            );
        }
    }
    let templates: Vec<(usize, Workload)> = documents
        .iter()
        .enumerate()
        .filter(|(_, it)| is_template(it))
        .map(|(at, it)| (at, Workload::read(&it.value, &rules)))
        .collect();
    for (document, it) in templates.iter().filter(|(_, it)| !it.unreadable.is_empty()) {
        let mut report = Report { document: *document, findings };
        let advice = "correct the rule or the template: it would not be placed";
        report.say(Severity::Error, code::UNREADABLE, "", it.unreadable.clone(), advice);
    }
    let kinds: BTreeSet<_> = templates
        .iter()
        .map(|(_, it)| (it.key.gvk.group.clone(), it.key.gvk.kind.clone()))
        .collect();
    for (document, spec) in given.rules.values().filter(|_| !templates.is_empty()) {
        let group = spec.target.api_version.split_once('/').map_or("", |it| it.0);
        if !kinds.contains(&(group.into(), spec.target.kind.as_str().into())) {
            let mut report = Report { document: *document, findings };
            report.warn(
                code::SELECTS_NO_TEMPLATE,
                "spec.target",
                format!(
                    "none of the {} given templates is a {}",
                    templates.len(),
                    spec.target.kind
                ),
                "compare it with their kinds",
            );
        }
    }
    rules
}
