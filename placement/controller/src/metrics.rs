//! What the controller counts of itself.

use std::{collections::BTreeMap, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{caller::PlanError, gate::Hold, spending::Scope};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HoldLabels {
    by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CostLabels {
    budget: String,
}

/// `review`: `Plan` or `Simulation`; `outcome`: `changes`, `none`, `refused` or `failed`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlanLabels {
    review: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    review: &'static str,
}

/// Seconds, up to what a plan of a large fleet may take.
fn durations() -> Histogram {
    Histogram::new([0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

/// Counters and gauges, to be registered where metrics are served.
#[derive(Clone, Debug)]
pub struct Metrics {
    placements: Family<OutcomeLabels, Gauge>,
    copies: Gauge,
    leaving: Gauge,
    waiting: Gauge,
    passes: Counter,
    writes: Family<WriteLabels, Counter>,
    holds: Family<HoldLabels, Counter>,
    spent: Family<CostLabels, Gauge>,
    limits: Family<CostLabels, Gauge>,
    rollouts: Family<StateLabels, Gauge>,
    unreadable: Family<RuleLabels, Gauge>,
    plans: Family<PlanLabels, Counter>,
    plan_seconds: Family<ReviewLabels, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            placements: Family::default(),
            copies: Gauge::default(),
            leaving: Gauge::default(),
            waiting: Gauge::default(),
            passes: Counter::default(),
            writes: Family::default(),
            holds: Family::default(),
            spent: Family::default(),
            limits: Family::default(),
            rollouts: Family::default(),
            unreadable: Family::default(),
            plans: Family::default(),
            plan_seconds: Family::new_with_constructor(durations),
        }
    }
}

impl Metrics {
    /// On how many templates each rule fails.
    pub(crate) fn rules<'a>(&self, unreadable: impl Iterator<Item = (&'a String, i64)>) {
        self.unreadable.clear();
        for (rule, count) in unreadable {
            self.unreadable.get_or_create(&RuleLabels { rule: rule.clone() }).set(count);
        }
    }

    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let prefix = |name: &str| format!("archipel_placement_{name}");
        registry.register(prefix("placements"), "Placements by outcome", self.placements.clone());
        registry.register(prefix("copies"), "Copies in the fleet", self.copies.clone());
        registry.register(
            prefix("copies_leaving"),
            "Copies on their way out",
            self.leaving.clone(),
        );
        registry.register(prefix("queue"), "Templates that wait for a pass", self.waiting.clone());
        registry.register(prefix("passes"), "Passes over one template", self.passes.clone());
        registry.register(prefix("writes"), "Writes by kind and result", self.writes.clone());
        registry.register(
            prefix("cost_budget_spent_cents"),
            "What the scope of a cost budget costs a month",
            self.spent.clone(),
        );
        registry.register(
            prefix("cost_budget_limit_cents"),
            "What a cost budget allows a month",
            self.limits.clone(),
        );
        registry.register(prefix("gate_holds"), "Passes that the gate held", self.holds.clone());
        registry.register(
            prefix("unreadable"),
            "Templates that the StatusRule of their kind cannot be evaluated on",
            self.unreadable.clone(),
        );
        registry.register(
            "archipel_rollouts",
            "Rollouts by where they stand; those that are over stay until the next one",
            self.rollouts.clone(),
        );
        registry.register(
            prefix("plans"),
            "Plans and simulations that were asked for, by what came of them",
            self.plans.clone(),
        );
        registry.register(
            prefix("plan_seconds"),
            "How long working out a plan or a simulation took, with what it asked of the API",
            self.plan_seconds.clone(),
        );
    }

    /// A plan or a simulation was answered: whether it would change something, or why there is none.
    pub(crate) fn planned(
        &self,
        review: &'static str,
        changes: Result<bool, &PlanError>,
        took: Duration,
    ) {
        let outcome = match changes {
            Ok(true) => "changes",
            Ok(false) => "none",
            Err(PlanError::Failed(_) | PlanError::Unavailable(_)) => "failed",
            Err(_) => "refused",
        };
        self.plans.get_or_create(&PlanLabels { review, outcome }).inc();
        self.plan_seconds.get_or_create(&ReviewLabels { review }).observe(took.as_secs_f64());
    }

    pub(crate) fn passed(&self, hold: Option<Hold>) {
        self.passes.inc();
        let by = match hold {
            None => return,
            Some(Hold::Frozen) => "freeze",
            Some(Hold::BudgetSpent) => "budget",
            Some(Hold::FleetDark) => "fleet",
        };
        self.holds.get_or_create(&HoldLabels { by }).inc();
    }

    pub(crate) fn wrote(&self, kind: &'static str, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.writes.get_or_create(&WriteLabels { kind, result }).inc();
    }

    /// What the scopes of cost budgets cost now; those that are gone are no longer told.
    pub(crate) fn spending(&self, scopes: &BTreeMap<String, Scope>) {
        self.spent.clear();
        self.limits.clear();
        for (budget, scope) in scopes {
            let labels = CostLabels { budget: budget.clone() };
            self.spent.get_or_create(&labels).set(scope.spent / 10_000);
            self.limits.get_or_create(&labels).set(scope.max().0 / 10_000);
        }
    }

    /// Where rollouts stand now.
    pub(crate) fn rollouts(&self, states: &BTreeMap<&'static str, i64>) {
        self.rollouts.clear();
        for (state, count) in states {
            self.rollouts.get_or_create(&StateLabels { state }).set(*count);
        }
    }

    /// Where things stand now.
    pub(crate) fn stand(
        &self,
        outcomes: &BTreeMap<String, i64>,
        copies: i64,
        leaving: i64,
        waiting: usize,
    ) {
        for (reason, count) in outcomes {
            self.placements.get_or_create(&OutcomeLabels { reason: reason.clone() }).set(*count);
        }
        self.copies.set(copies);
        self.leaving.set(leaving);
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.passed(Some(Hold::BudgetSpent));
        metrics.wrote("place", true);
        metrics.planned("Plan", Ok(true), Duration::from_millis(300));
        let refused = PlanError::Forbidden(String::new());
        metrics.planned("Simulation", Err(&refused), Duration::from_millis(3));
        metrics.stand(&BTreeMap::from([("Placed".to_owned(), 3)]), 7, 1, 0);
        let scope = Scope { spent: 12_340_000, ..Scope::default() };
        metrics.spending(&BTreeMap::from([("team".to_owned(), scope)]));
        metrics.rollouts(&BTreeMap::from([("Paused", 2)]));
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for line in [
            "archipel_placement_placements{reason=\"Placed\"} 3",
            "archipel_placement_copies 7",
            "archipel_rollouts{state=\"Paused\"} 2",
            "archipel_placement_cost_budget_spent_cents{budget=\"team\"} 1234",
            "archipel_placement_passes_total 1",
            "archipel_placement_writes_total{kind=\"place\",result=\"ok\"} 1",
            "archipel_placement_gate_holds_total{by=\"budget\"} 1",
            "archipel_placement_plans_total{review=\"Plan\",outcome=\"changes\"} 1",
            "archipel_placement_plans_total{review=\"Simulation\",outcome=\"refused\"} 1",
            "archipel_placement_plan_seconds_bucket{le=\"0.5\",review=\"Plan\"} 1",
            "archipel_placement_plan_seconds_bucket{le=\"0.25\",review=\"Plan\"} 0",
        ] {
            assert!(shown.contains(line), "{line} in {shown}");
        }
    }
}
