//! What a plan looks at before it is made: one line per kind of guard-rail, well or not. PURE.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    reason::{admission, placed as reason},
    review::plan::{Action, Check, CheckResult, ClusterChange, ObjectChange},
    words,
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
    let refused = objects.iter().any(|it| it.refused.is_some());
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
        unmet("statusRules", &[reason::UNREADABLE]),
        admission("quota", admission::QUOTA_EXCEEDED, objects),
        admission("limitRange", admission::LIMIT_RANGE_EXCEEDED, objects),
        unmet("room", &[reason::NOT_ENOUGH_ROOM]),
        budget(unmet("budget", &[reason::OVER_COST]), overspent),
    ];
    checks.push(residency(run, entries));
    checks.push(overrides(entries));
    checks.push(disruption(run, entries));
    let moves = entries.iter().filter(|it| !it.change.approval.is_empty());
    let moves: Vec<String> = moves.map(|it| it.key.to_string()).collect();
    checks.push(check("approval", CheckResult::Waits, &moves, "moves only by applying this plan"));
    checks.push(rollout(run, entries));
    checks
}

/// What the hub itself would not take, each object with its reason.
fn admission(name: &str, reason: &str, objects: &[ObjectChange]) -> Check {
    let refused = objects.iter().filter_map(|it| Some((&it.object, it.refused.as_ref()?)));
    let refused = refused.filter(|(_, it)| it.reason == reason);
    let texts: Vec<String> =
        refused.map(|(object, it)| format!("{object}: {}", it.message)).collect();
    let result = if texts.is_empty() { CheckResult::Passed } else { CheckResult::Failed };
    Check { name: name.to_owned(), result, message: texts.join("; ") }
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

/// Looked at once more, apart from the decision: every cluster that is to hold a copy, and every one that keeps one
/// since nothing better fits, lies where the policies want it.
fn residency(run: &DryRun, entries: &[Entry]) -> Check {
    let mut outside = Vec::new();
    for entry in entries {
        let Some(template) = run.index.templates.get(&entry.key) else { continue };
        let claim = run.index.claim(&entry.key, template);
        let own = claim.winner.iter().filter_map(|it| it.spec.residency.as_ref());
        let limits = claim.limits.iter().filter_map(|it| it.limits.as_ref());
        let wanted: Vec<&Vec<String>> =
            own.map(|it| &it.jurisdictions).chain(limits.map(|it| &it.jurisdictions)).collect();
        let placed = run.index.placements.get(&entry.key);
        let meant = placed.iter().flat_map(|it| &it.spec.clusters);
        for it in meant.filter(|it| it.leaving.is_empty()) {
            let member = run.index.clusters.get(&it.name);
            let found = member.map_or("", |it| it.spec.jurisdiction.as_str());
            if wanted.iter().any(|it| !it.is_empty() && !it.iter().any(|it| it == found)) {
                outside.push(format!("{} on {}", entry.key, it.name));
            }
        }
    }
    check("residency", CheckResult::Failed, &outside, "lies outside the jurisdictions allowed")
}

/// Copies that could not be written, as an override rule cannot do what it says.
fn overrides(entries: &[Entry]) -> Check {
    let mut found: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
    for entry in entries {
        for it in &entry.unrendered {
            found.entry((entry.key.to_string(), &it.why)).or_default().push(&it.cluster);
        }
    }
    let texts: Vec<String> = found
        .iter()
        .map(|((template, why), clusters)| {
            format!("{template} cannot be written to {}: {why}", named(clusters))
        })
        .collect();
    let mut check = Check { name: "overrides".to_owned(), ..Check::default() };
    if !texts.is_empty() {
        check.result = CheckResult::Failed;
        check.message = some_of(&texts, "; ");
    }
    check
}

/// Waves that begin once somebody approves them.
fn rollout(run: &DryRun, entries: &[Entry]) -> Check {
    let mut texts = Vec::new();
    for it in entries.iter().filter(|it| !it.change.rollout.is_empty()) {
        let staged = run.staged.get(&it.key).into_iter().flat_map(|it| &it.order);
        let asking: Vec<&str> =
            staged.filter(|(_, asks)| *asks).map(|(name, _)| name.as_str()).collect();
        if !asking.is_empty() {
            let waits = if asking.len() == 1 { "waits" } else { "wait" };
            let waves = if asking.len() == 1 { "wave" } else { "waves" };
            texts.push(format!("{waves} {} of {} {waits} for approval", asking.join(", "), it.key));
        }
    }
    let result = if texts.is_empty() { CheckResult::Passed } else { CheckResult::Waits };
    Check { name: "rollout".to_owned(), result, message: some_of(&texts, "; ") }
}

/// What the gate would hold, what a freeze keeps from the members, and why.
fn disruption(run: &DryRun, entries: &[Entry]) -> Check {
    let changes = || entries.iter().flat_map(|it| &it.change.changes);
    let is_removal = |it: &&ClusterChange| it.action == Action::Remove;
    let removals = changes().filter(is_removal).count();
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for it in changes().filter(is_removal).filter(|it| !it.held.is_empty()) {
        *held.entry(&it.held).or_default() += 1;
    }
    let mut texts = Vec::new();
    let waiting: usize = held.values().sum();
    if waiting > 0 {
        let why: Vec<String> = held.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        texts.push(format!("{waiting} of {removals} removals wait: {}", why.join(", ")));
    }
    if held.contains_key(reason::BUDGET) {
        let budgets = run.index.budgets.iter();
        let allowed = budgets
            .map(|(name, it)| (it.allowed(run.index.copies), it, name))
            .min_by_key(|it| it.0);
        if let Some((allowed, budget, name)) = allowed
            && let Some(text) = texts.last_mut()
        {
            let window = &budget.spec.window;
            *text = format!("{text} (ChangeBudget {name} lets {allowed} go per {window})");
        }
    }
    // A freeze stops removals, never additions (RULES 1.4): those are decided, and written once it ends (RULES 1.3).
    let others = changes().filter(|it| !is_removal(it) && !it.held.is_empty());
    let frozen: Vec<&str> = others.map(|it| it.cluster.as_str()).collect();
    if !frozen.is_empty() {
        let n = words::counted(frozen.len(), "addition or change is", "additions or changes are");
        let clusters: BTreeSet<&str> = frozen.into_iter().collect();
        let clusters: Vec<&str> = clusters.into_iter().collect();
        let clusters = named(&clusters);
        texts.push(format!("{n} decided now and written to {clusters} after the thaw"));
    }
    let result = if texts.is_empty() { CheckResult::Passed } else { CheckResult::Waits };
    Check { name: "disruption".to_owned(), result, message: texts.join("; ") }
}

/// The first names, and how many more there are.
fn named(all: &[&str]) -> String {
    some_of(all, ", ")
}

fn some_of<T: AsRef<str>>(all: &[T], between: &str) -> String {
    let first: Vec<&str> = all.iter().take(NAMED).map(AsRef::as_ref).collect();
    let first = first.join(between);
    match all.len().saturating_sub(NAMED) {
        0 => first,
        n => format!("{first} and {n} more"),
    }
}

fn check(name: &str, worse: CheckResult, found: &[String], what: &str) -> Check {
    let distinct: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let distinct: Vec<&str> = distinct.into_iter().collect();
    let mut check = Check { name: name.to_owned(), ..Check::default() };
    if !distinct.is_empty() {
        check.result = worse;
        check.message = format!("{}: {what}", named(&distinct));
    }
    check
}
