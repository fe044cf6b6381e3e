//! Scenarios: a fleet, policies and workloads in one text, with what the engine is expected to decide below
//! `== decision`. The engine's own golden tests and a platform team's tests are both written in this form.

use std::{collections::BTreeMap, sync::Arc};

use federation_types::{
    policy::{Limits, PlacementPolicySpec},
    price::PriceBookSpec,
    selector::TemplateSelector,
    validate::{self, Problem},
};
use serde_json::Value;
use status_rules::{Rules, Standing};

mod locate;
mod named;
mod objects;
mod report;
mod template;
mod text;

pub use locate::line;
pub(crate) use named::misnamed;
pub use objects::{Answer, Document, documents};

use crate::{
    claim::{Override, Policy},
    fleet::{ClusterInput, Fleet, SetInput},
    place::Previous,
    plan::PolicySince,
    price::PriceIndex,
    workload::Workload,
};

/// The line between what is given and what is expected.
const MARK: &str = "== decision\n";

/// What is given, and what is expected; `None` where the text does not say.
pub fn split(text: &str) -> (&str, Option<&str>) {
    match text.find(MARK).filter(|at| *at == 0 || text[..*at].ends_with('\n')) {
        Some(at) => (&text[..at], Some(&text[at + MARK.len()..])),
        None => (text, None),
    }
}

/// The text with the decision that it is to expect from now on.
pub fn with_decision(text: &str, decision: &str) -> String {
    let (given, _) = split(text);
    let end = if given.is_empty() || given.ends_with('\n') { "" } else { "\n" };
    format!("{given}{end}{MARK}{decision}")
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Counted from 1.
    pub line: Option<usize>,
    /// `clusters[0].region`; empty where the text is no YAML.
    pub field: String,
    pub message: String,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl From<serde_norway::Error> for Flaw {
    fn from(error: serde_norway::Error) -> Self {
        let text = error.to_string();
        // The place is told beside the message.
        let message = match text.rfind(" at line ") {
            Some(at) => text[..at].to_owned(),
            None => text,
        };
        Self { line: error.location().map(|it| it.line()), field: String::new(), message }
    }
}

/// Who decides for the workloads.
#[derive(Clone, Debug)]
pub enum Deciding {
    /// One policy for all, with the limits of cluster policies by name.
    One {
        spec: Box<PlacementPolicySpec>,
        namespace: Option<String>,
        limits: BTreeMap<String, Limits>,
    },
    /// The one that claims each (RULES 2.1).
    Claims(Vec<Arc<Policy>>),
}

/// A template with the decision before.
#[derive(Clone, Debug)]
pub struct Given {
    pub template: Value,
    pub workload: Workload,
    pub previous: Previous,
    /// `type` of a Secret, otherwise empty.
    pub secret_type: String,
}

impl Given {
    pub fn new(template: Value, previous: Previous, rules: &Rules) -> Self {
        Self {
            workload: Workload::read(&template, rules),
            previous,
            secret_type: template["type"].as_str().unwrap_or_default().to_owned(),
            template,
        }
    }
}

/// Everything that decisions are made from.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The day on which it takes place, for the age of prices.
    pub as_of: String,
    pub clusters: Vec<ClusterInput>,
    pub sets: Vec<SetInput>,
    pub books: Vec<(String, PriceBookSpec)>,
    pub deciding: Deciding,
    pub since: PolicySince,
    pub workloads: Vec<Given>,
    /// They change no decision; the revision that a Placement names is made with them.
    pub overrides: Vec<Arc<Override>>,
    /// How custom kinds are read.
    pub rules: Rules,
    /// The report tells the marginal and the committed cost, too.
    pub figures: bool,
}

impl Scenario {
    /// Reads what is given; the flaws are in the order of lines.
    pub fn parse(given: &str) -> Result<Self, Vec<Flaw>> {
        let plain: Value = serde_norway::from_str(given).map_err(|it| vec![it.into()])?;
        let mut flaws: Vec<Flaw> =
            text::problems(&plain).into_iter().map(|it| flaw(given, it)).collect();
        if !flaws.is_empty() {
            flaws.sort_by_key(|it| it.line);
            return Err(flaws);
        }
        let text: text::Text = serde_norway::from_str(given).map_err(|it| vec![it.into()])?;
        let mut problem = |field: &str, message: &str| {
            let it = Problem { field: field.to_owned(), message: message.to_owned() };
            flaws.push(flaw(given, it));
        };
        let specs = text.rules.iter().map(|(name, spec)| (name.as_str(), spec));
        let (rules, standings) = Rules::new(specs);
        for (name, it) in &standings {
            for it in standing_problems(it, "") {
                problem(&format!("rules.{name}{}", it.field), &it.message);
            }
        }
        if validate::days(&text.as_of).is_none() {
            let message =
                format!("Invalid value: {:?}: must be a day, such as 2026-11-21", text.as_of);
            problem("asOf", &message);
        }
        for (at, it) in text.clusters.iter().enumerate() {
            if text.clusters[..at].iter().any(|before| before.name == it.name) {
                problem(
                    &format!("clusters[{at}].name"),
                    &format!("Duplicate value: {:?}", it.name),
                );
            }
        }
        let deciding = match text.policy {
            Some(spec) if text.policies.is_empty() => match of_all(spec) {
                Ok(spec) => Deciding::One { spec, namespace: text.namespace, limits: text.limits },
                Err(error) => {
                    return Err(vec![flaw(
                        given,
                        Problem { field: "policy".to_owned(), message: error.to_string() },
                    )]);
                }
            },
            Some(_) => {
                problem(
                    "policies",
                    "Forbidden: either `policy`, which decides for all, or `policies`",
                );
                Deciding::Claims(Vec::new())
            }
            None => {
                if !text.limits.is_empty() {
                    problem(
                        "limits",
                        "Forbidden: only beside `policy`; whole policies have limits of their own",
                    );
                }
                if text.namespace.is_some() {
                    problem("namespace", "Forbidden: only beside `policy`");
                }
                let mut policies = Vec::new();
                for (at, it) in text.policies.iter().enumerate() {
                    match policy(it) {
                        Ok(it) => policies.push(Arc::new(it)),
                        Err(error) => problem(&format!("policies[{at}]"), &error.to_string()),
                    }
                }
                Deciding::Claims(policies)
            }
        };
        if text.workload.is_some() && !text.workloads.is_empty() {
            problem("workloads", "Forbidden: either `workload` or `workloads`");
        }
        if text.previous.is_some() && text.workload.is_none() {
            problem(
                "previous",
                "Forbidden: only beside `workload`; of several, `placements` has them by name",
            );
        }
        let one = text.workload.iter().map(|it| ("workload".to_owned(), it));
        let many =
            text.workloads.iter().enumerate().map(|(at, it)| (format!("workloads[{at}]"), it));
        let mut placements = text.placements;
        let mut workloads = Vec::new();
        for (field, template) in one.chain(many) {
            for part in ["apiVersion", "kind"] {
                if template[part].as_str().is_none_or(str::is_empty) {
                    problem(&format!("{field}.{part}"), "Required value");
                }
            }
            if template.pointer("/metadata/name").and_then(Value::as_str).is_none_or(str::is_empty)
            {
                problem(&format!("{field}.metadata.name"), "Required value");
            }
            for it in template::problems(template, &field) {
                problem(&it.field, &it.message);
            }
            let key = Workload::read(template, &rules).key.to_string();
            let before = placements.remove(&key);
            let previous =
                if field == "workload" { text.previous.clone().or(before) } else { before };
            workloads.push(Given::new(template.clone(), previous.unwrap_or_default(), &rules));
        }
        for name in placements.keys() {
            problem(
                &format!("placements.{name}"),
                "Not found: no workload of the scenario is called so",
            );
        }
        if workloads.is_empty() {
            problem("workload", "Required value: what is to be placed");
        }
        if !flaws.is_empty() {
            flaws.sort_by_key(|it| it.line);
            return Err(flaws);
        }
        let book = PriceBookSpec {
            max_age: text.max_age,
            sample: false,
            prices: text.prices,
            charges: text.charges,
            storage: text.storage,
            egress: text.egress,
            commitments: text.commitments,
        };
        for it in &mut workloads {
            it.workload.around = text.around.clone();
        }
        Ok(Self {
            as_of: text.as_of,
            clusters: text.clusters.into_iter().map(ClusterInput::from).collect(),
            sets: text.sets.into_iter().map(|(name, spec)| SetInput { name, spec }).collect(),
            books: vec![("book".to_owned(), book)],
            deciding,
            since: if text.policy_changed { PolicySince::Changed } else { PolicySince::Same },
            workloads,
            overrides: Vec::new(),
            rules,
            figures: text.figures,
        })
    }

    /// The fleet as decisions see it.
    pub fn fleet(&self) -> Fleet {
        let books = self.books.iter().map(|(name, book)| (name.as_str(), book));
        let prices = PriceIndex::build(books, &self.as_of);
        Fleet::build(self.clusters.clone(), &self.sets, &prices, &self.as_of)
    }
}

/// What keeps a rule from being followed; its fields are below `spec`.
pub(crate) fn standing_problems(standing: &Standing, spec: &str) -> Vec<Problem> {
    match standing {
        Standing::Active => Vec::new(),
        Standing::Shadowed { by } => vec![Problem {
            field: format!("{spec}.target"),
            message: format!("Duplicate value: StatusRule {by} is about the same kind"),
        }],
        Standing::Invalid(problems) => {
            let below = |it: &Problem| it.field.trim_start_matches("spec").to_owned();
            let moved = |it: &Problem| Problem {
                field: format!("{spec}{}", below(it)),
                message: it.message.clone(),
            };
            problems.iter().map(moved).collect()
        }
    }
}

fn flaw(text: &str, it: Problem) -> Flaw {
    Flaw { line: line(text, 0, &it.field), field: it.field, message: it.message }
}

/// The spec of a policy that selects everything.
fn of_all(mut spec: Value) -> Result<Box<PlacementPolicySpec>, serde_json::Error> {
    if spec.is_null() {
        spec = Value::Object(serde_json::Map::new());
    }
    if let Some(fields) = spec.as_object_mut() {
        let every = TemplateSelector {
            api_version: "v1".into(),
            // Nothing is selected by it here: the policy is asked directly.
            kind: "Any".into(),
            ..TemplateSelector::default()
        };
        fields.insert("selectors".to_owned(), serde_json::json!([every]));
    }
    serde_json::from_value(spec)
}

fn policy(object: &Value) -> Result<Policy, serde_json::Error> {
    if object["kind"] == "ClusterPlacementPolicy" {
        let it: federation_types::policy::ClusterPlacementPolicy =
            serde_json::from_value(object.clone())?;
        return Ok(Policy::from(&it));
    }
    let it: federation_types::policy::PlacementPolicy = serde_json::from_value(object.clone())?;
    Ok(Policy::from(&it))
}

/// What is wrong with a policy, as its admission says it.
pub(crate) fn refused(policy: &Policy) -> Vec<Problem> {
    let mut problems = if policy.namespace.is_empty() {
        validate::policy_of_all_namespaces(&policy.spec)
    } else {
        validate::placement_policy(&policy.spec)
    };
    if policy.limits_only && policy.limits.is_none() {
        problems.push(Problem {
            field: "spec.limits".to_owned(),
            message: "Required value: a policy with limitsOnly must state limits".to_owned(),
        });
    }
    problems
}

#[cfg(test)]
mod tests;
