//! What a plan looks at before it is made: one line per kind of guard-rail, well or not. PURE.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    reason::placed as reason,
    review::plan::{Action, Check, CheckResult, ObjectChange},
};

use super::{Entry, Overspent};
use crate::dry_run::DryRun;

/// More names than this are counted.
const NAMED: usize = 3;

pub(super) fn checks(
    run: &DryRun,
    entries: &[Entry],
    overspent: &[Overspent],
    objects: &[ObjectChange],
) -> Vec<Check> {
    let refused = objects.iter().any(|it| !it.refused.is_empty());
    if entries.is_empty() && overspent.is_empty() && !refused {
        return Vec::new();
    }
    let unmet = |name: &str, reasons: &[&str]| {
        let found = entries.iter().filter(|it| reasons.contains(&it.change.reason.as_str()));
        let found: Vec<String> = found.map(|it| it.key.to_string()).collect();
        check(name, CheckResult::Failed, &found, "does not get what it asks for")
    };
    let mut checks = vec![
        unmet("policy", &[reason::NO_CLUSTER_FITS, reason::POLICY_GONE, reason::SUSPENDED]),
        unmet("limits", &[reason::INVALID]),
        quota(objects),
        unmet("room", &[reason::NOT_ENOUGH_ROOM]),
        budget(unmet("budget", &[reason::OVER_COST]), overspent),
    ];
    checks.push(residency(run, entries));
    checks.push(disruption(run, entries));
    let moves = entries.iter().filter(|it| !it.change.approval.is_empty());
    let moves: Vec<String> = moves.map(|it| it.key.to_string()).collect();
    checks.push(check("approval", CheckResult::Waits, &moves, "moves only by applying this plan"));
    checks
}

/// What the hub itself would not take, as a quota of it is used up.
fn quota(objects: &[ObjectChange]) -> Check {
    let refused = objects.iter().filter(|it| !it.refused.is_empty());
    let texts: Vec<String> = refused.map(|it| format!("{}: {}", it.object, it.refused)).collect();
    let result = if texts.is_empty() { CheckResult::Passed } else { CheckResult::Failed };
    Check { name: "quota".to_owned(), result, message: texts.join("; ") }
}

/// Beside what waits for a budget: the budgets that what runs exceeds (RULES 5.5).
fn budget(mut check: Check, overspent: &[Overspent]) -> Check {
    let mut texts: Vec<String> = Vec::new();
    for it in overspent {
        let least = if it.at_least { "at least " } else { "" };
        texts.push(format!(
            "CostBudget {}: what runs costs {least}{} of {} a month, {least}{} over: nothing of it goes, growth and new placements wait",
            it.key.name,
            it.spent,
            it.max,
            it.spent - it.max
        ));
    }
    if !texts.is_empty() {
        check.result = check.result.max(CheckResult::Waits);
        if !check.message.is_empty() {
            texts.insert(0, check.message);
        }
        check.message = texts.join("; ");
    }
    check
}

/// Looked at once more, apart from the decision: every cluster that is to hold a copy lies where the policy wants it.
fn residency(run: &DryRun, entries: &[Entry]) -> Check {
    let mut outside = Vec::new();
    for entry in entries {
        let Some(template) = run.index.templates.get(&entry.key) else { continue };
        let claim = run.index.claim(&entry.key, template);
        let own = claim.winner.iter().filter_map(|it| it.spec.residency.as_ref());
        let limits = claim.limits.iter().filter_map(|it| it.limits.as_ref());
        let wanted: Vec<&Vec<String>> =
            own.map(|it| &it.jurisdictions).chain(limits.map(|it| &it.jurisdictions)).collect();
        for change in entry.change.changes.iter().filter(|it| it.action == Action::Add) {
            let member = run.index.clusters.get(&change.cluster);
            let found = member.map_or("", |it| it.spec.jurisdiction.as_str());
            if wanted.iter().any(|it| !it.is_empty() && !it.iter().any(|it| it == found)) {
                outside.push(format!("{} on {}", entry.key, change.cluster));
            }
        }
    }
    check("residency", CheckResult::Failed, &outside, "lies outside the jurisdictions allowed")
}

/// What the gate would hold, and why.
fn disruption(run: &DryRun, entries: &[Entry]) -> Check {
    let changes = || entries.iter().flat_map(|it| &it.change.changes);
    let removals = changes().filter(|it| it.action == Action::Remove).count();
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for it in changes().filter(|it| !it.held.is_empty()) {
        *held.entry(&it.held).or_default() += 1;
    }
    let mut check = Check { name: "disruption".to_owned(), ..Check::default() };
    let waiting: usize = held.values().sum();
    if waiting == 0 {
        return check;
    }
    let why: Vec<String> = held.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    check.result = CheckResult::Waits;
    check.message = format!("{waiting} of {removals} removals wait: {}", why.join(", "));
    if held.contains_key(reason::BUDGET) {
        let budgets = run.index.budgets.iter();
        let allowed = budgets
            .map(|(name, it)| (it.allowed(run.index.copies), it, name))
            .min_by_key(|it| it.0);
        if let Some((allowed, budget, name)) = allowed {
            let window = &budget.spec.window;
            check.message =
                format!("{} (ChangeBudget {name} lets {allowed} go per {window})", check.message);
        }
    }
    check
}

fn check(name: &str, worse: CheckResult, found: &[String], what: &str) -> Check {
    let name = name.to_owned();
    let distinct: BTreeSet<&String> = found.iter().collect();
    if distinct.is_empty() {
        return Check { name, ..Check::default() };
    }
    let named: Vec<&str> = distinct.iter().take(NAMED).map(|it| it.as_str()).collect();
    let more = match distinct.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    Check { name, result: worse, message: format!("{}{more}: {what}", named.join(", ")) }
}
