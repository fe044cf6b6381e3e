//! What is wrong or odd about policies, found without a hub: what their admission would refuse, and what is allowed and
//! cannot be meant. Members and templates beside them, where given, are looked at too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    budget::CostBudgetSpec, overrides::OverridePolicySpec, policy::PlacementPolicySpec,
    price::PriceBookSpec, reason::lint as code, rollout::RolloutStrategySpec,
    score::ClusterScoreSpec, status_rule::StatusRuleSpec, validate::Problem,
};
use serde::Serialize;
use serde_json::Value;

mod beside;
mod members;
mod money;
mod overrides;
mod policy;
mod read;
mod rollout;
mod rules;
mod selector;
mod together;

pub use policy::opposed;
use read::Ours;

use crate::{
    claim::Policy,
    scenario::{Document, Scenario},
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The hub refuses it, or it can never do what it says.
    Error,
    /// It is allowed and hardly meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which of the documents it is about.
    pub document: usize,
    pub severity: Severity,
    /// A code of [`federation_types::reason::lint`].
    pub code: &'static str,
    pub field: String,
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

/// Collects findings about one document.
struct Report<'a> {
    document: usize,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn say(
        &mut self,
        severity: Severity,
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let (field, message, advice) = (field.into(), message.into(), advice.into());
        let document = self.document;
        self.findings.push(Finding { document, severity, code, field, message, advice });
    }

    fn warn(
        &mut self,
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.say(Severity::Warning, code, field, message, advice);
    }

    fn refused(&mut self, problems: Vec<Problem>) {
        for it in problems {
            let advice = if it.message.starts_with("Unknown field") {
                "correct the name: the hub would leave the field out".to_owned()
            } else {
                "the hub refuses it as it is".to_owned()
            };
            let code = if it.message.starts_with("Unknown field") {
                code::UNKNOWN_FIELD
            } else {
                code::INVALID
            };
            self.say(Severity::Error, code, it.field, it.message, advice);
        }
    }
}

/// A policy that can be read, with the document it stands in.
struct Read {
    document: usize,
    policy: Arc<Policy>,
}

/// What can be read of all documents, each with the place of its own.
#[derive(Default)]
struct Given {
    policies: Vec<Read>,
    overrides: Vec<(usize, OverridePolicySpec)>,
    cost_budgets: Vec<(usize, CostBudgetSpec)>,
    books: Vec<(usize, PriceBookSpec)>,
    scores: Vec<(usize, ClusterScoreSpec)>,
    strategies: Vec<(usize, RolloutStrategySpec)>,
    /// By name.
    rules: BTreeMap<String, (usize, StatusRuleSpec)>,
}

/// Looks at all documents together; what is found is in their order.
pub fn lint(documents: &[&Document]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut given = Given::default();
    for (at, document) in documents.iter().enumerate() {
        let mut report = Report { document: at, findings: &mut findings };
        match read::read(document, &mut report) {
            None => (),
            Some(Ours::Policy(it)) => {
                policy::look(&it.spec, it.limits.as_ref(), it.limits_only, &mut report);
                given.policies.push(Read { document: at, policy: Arc::from(it) });
            }
            Some(Ours::Override(it)) => {
                overrides::look(&it, &mut report);
                given.overrides.push((at, it));
            }
            Some(Ours::CostBudget(it)) => {
                money::cost_budget(&it, &mut report);
                given.cost_budgets.push((at, it));
            }
            Some(Ours::ChangeBudget(it)) => money::change_budget(&it, &mut report),
            Some(Ours::PriceBook(it)) => {
                money::price_book(&it, &mut report);
                given.books.push((at, it));
            }
            Some(Ours::ClusterScore(it)) => {
                money::cluster_score(&it, &mut report);
                given.scores.push((at, it));
            }
            Some(Ours::Strategy(it)) => {
                rollout::look(&it, &mut report);
                given.strategies.push((at, it));
            }
            Some(Ours::StatusRule(it)) => {
                let name = document.value.pointer("/metadata/name").and_then(Value::as_str);
                given.rules.insert(name.unwrap_or_default().to_owned(), (at, it));
            }
        }
    }
    let rules = rules::look(documents, &given, &mut findings);
    together::look(documents, &given.policies, &rules, &mut findings);
    if let Some(fleet) = fleet(documents) {
        members::look(&fleet, &given, &mut findings);
    }
    rollout::beside(documents, &given, &mut findings);
    beside::look(documents, &given, &rules, &mut findings);
    findings.sort_by(|a, b| {
        (a.document, a.severity, &a.field).cmp(&(b.document, b.severity, &b.field))
    });
    findings
}

/// Whether the spec says anything about where.
fn places(spec: &PlacementPolicySpec) -> bool {
    !spec.affinities.is_empty() || !spec.spread.is_empty() || spec.replicas.is_some()
}

/// The fleet of the members among the documents; `None` where there are none or some cannot be read.
fn fleet(documents: &[&Document]) -> Option<crate::fleet::Fleet> {
    let inventory = ["MemberCluster", "ClusterSet"];
    let mut known = BTreeSet::new();
    let given: Vec<Value> = documents
        .iter()
        .filter(|it| inventory.contains(&it.kind()) && known.insert(it.title()))
        .map(|it| it.value.clone())
        .collect();
    if !given.iter().any(|it| it["kind"] == "MemberCluster") {
        return None;
    }
    Scenario::of_values(given, "").ok().map(|it| it.fleet())
}

#[cfg(test)]
mod tests;
