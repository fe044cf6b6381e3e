//! What is odd about money in one object: budgets of nothing, charges, traffic, spot capacity, scores.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    budget::{ChangeBudgetSpec, CostBudgetSpec},
    money::Money,
    policy::{Limits, OverBudget, PlacementPolicySpec},
    price::PriceBookSpec,
    reason::lint as code,
    score::ClusterScoreSpec,
};

use super::{Report, Severity, selector};

fn is_zero(usd: &str) -> bool {
    Money::parse_usd(usd) == Some(Money::ZERO)
}

pub(super) fn policy(spec: &PlacementPolicySpec, limits: Option<&Limits>, report: &mut Report<'_>) {
    let nothing = "nothing new may cost anything: growth and new placements wait for ever";
    if spec.budget.as_ref().is_some_and(|it| is_zero(&it.max_monthly_usd)) {
        let advice = "state an amount, or take the budget out";
        report.warn(code::NOTHING_ALLOWED, "spec.budget.maxMonthlyUsd", nothing, advice);
    }
    if limits.and_then(|it| it.max_monthly_usd.as_deref()).is_some_and(is_zero) {
        let advice = "raise the limit, or take it out";
        report.warn(code::NOTHING_ALLOWED, "spec.limits.maxMonthlyUsd", nothing, advice);
    }
    spot(spec, limits, report);
    traffic(spec, report);
    let mut names = BTreeSet::new();
    for (at, it) in spec.objectives.iter().flat_map(|it| &it.scores).enumerate() {
        let field = format!("spec.objectives.scores[{at}]");
        if !names.insert(&it.name) {
            let why = format!("the score {} is counted twice", it.name);
            report.warn(code::CONTRADICTION, format!("{field}.name"), why, "keep one of the two");
        }
        if is_zero(&it.usd_per_point) {
            let why = "a point is worth nothing";
            report.warn(
                code::NO_EFFECT,
                format!("{field}.usdPerPoint"),
                why,
                "state what it is worth",
            );
        }
    }
    let allowed = spec.failover.as_ref().and_then(|it| it.over_budget) == Some(OverBudget::Allow);
    if allowed && spec.budget.is_none() && limits.is_none_or(|it| it.max_monthly_usd.is_none()) {
        report.say(
            Severity::Info,
            code::NO_EFFECT,
            "spec.failover.overBudget",
            "the policy states no budget: only a CostBudget or a limit of another policy may be exceeded by it",
            "take it out if no CostBudget covers what this policy selects",
        );
    }
}

/// Less than all on spot nodes takes two copies at least (RULES 5.6).
fn spot(spec: &PlacementPolicySpec, limits: Option<&Limits>, report: &mut Report<'_>) {
    let Some(spot) = spec.spot.as_ref().filter(|it| it.percent < 100) else { return };
    let bounds = spec.spread.iter().filter(|it| it.topology_key == "cluster");
    let most = bounds.filter_map(|it| it.max).chain(limits.and_then(|it| it.max_clusters)).min();
    let groups = || spec.affinities.iter().map(|it| selector::at_most(&it.clusters.names));
    let named = groups().all(|it| it.is_some()).then(|| groups().flatten().max()).flatten();
    if most == Some(1) || named == Some(1) {
        let message = format!(
            "{} % on spot nodes takes two copies at least, and there is never more than one",
            spot.percent
        );
        report.say(
            Severity::Error,
            code::CONTRADICTION,
            "spec.spot.percent",
            message,
            "allow two clusters, or let all of it run on spot nodes",
        );
    }
}

fn traffic(spec: &PlacementPolicySpec, report: &mut Report<'_>) {
    let mut known = BTreeMap::new();
    for (at, it) in spec.traffic.iter().enumerate() {
        if it.gib_per_month == 0 {
            let field = format!("spec.traffic[{at}].gibPerMonth");
            report.warn(code::NO_EFFECT, field, "nothing is sent", "say how much, or take it out");
        }
        let to = (format!("{:?}", it.to), &it.kind, &it.name);
        if let Some(first) = known.insert(to, at) {
            let why = format!("traffic[{first}] goes to the same: both are counted");
            let field = format!("spec.traffic[{at}]");
            report.warn(code::CONTRADICTION, field, why, "add the two up");
        }
    }
}

pub(super) fn cost_budget(spec: &CostBudgetSpec, report: &mut Report<'_>) {
    if is_zero(&spec.max_monthly_usd) {
        let why = "whatever it covers can neither be placed nor grow";
        report.warn(code::NOTHING_ALLOWED, "spec.maxMonthlyUsd", why, "state an amount");
    }
    if let Some(why) = selector::contradiction(&spec.label_selector) {
        report.warn(code::SELECTS_NOTHING, "spec.labelSelector", why, "take one of the two out");
    }
    if spec.namespaces.is_empty() && spec.policies.is_empty() && spec.label_selector.is_empty() {
        report.say(
            Severity::Info,
            code::EVERY_TEMPLATE,
            "spec",
            "it covers every template of the hub",
            "name namespaces, labels or policies if that is not meant",
        );
    }
}

pub(super) fn change_budget(spec: &ChangeBudgetSpec, report: &mut Report<'_>) {
    if spec.min_removals == 0 && spec.removal_percent == 0 {
        report.warn(
            code::NOTHING_ALLOWED,
            "spec.minRemovals",
            "no copy may ever be removed: every move and every deletion waits",
            "allow some removals; a freeze is what stops them for a while",
        );
    }
}

pub(super) fn price_book(spec: &PriceBookSpec, report: &mut Report<'_>) {
    let mut known = BTreeMap::new();
    for (at, it) in spec.prices.iter().enumerate() {
        let field = format!("spec.prices[{at}]");
        if it.on_demand_usd_hour.is_none() && it.spot_usd_hour.is_none() {
            let why = "a row without any price";
            report.warn(code::NO_EFFECT, field.clone(), why, "state a price, or take the row out");
        }
        let of = (&it.provider, &it.region, &it.zone, &it.instance_type);
        if let Some(first) = known.insert(of, at) {
            let why = format!("prices[{first}] is for the same nodes: one of the two is not used");
            report.warn(code::CONTRADICTION, field, why, "keep the one that is true");
        }
    }
}

pub(super) fn cluster_score(spec: &ClusterScoreSpec, report: &mut Report<'_>) {
    if spec.scores.is_empty() {
        report.warn(
            code::NO_EFFECT,
            "spec.scores",
            "it gives no points",
            "give some, or delete it",
        );
    }
}
