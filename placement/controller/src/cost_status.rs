//! Keeps `CostBudget.status` true: what the placements of a scope cost, and how many wait. Written on change only.

use federation_types::{
    budget::{CostBudget, CostBudgetStatus},
    condition::{self, Condition},
    money::Money,
    reason::{condition::WITHIN_BUDGET, cost},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{clock, context::Context, spending::Scope};

/// The status as it is to be; `now` is the time of a transition.
pub(crate) fn status(scope: &Scope, now: &str) -> CostBudgetStatus {
    let (spent, max) = (Money(scope.spent), scope.max());
    let within = spent <= max;
    let waits = match scope.waiting {
        0 => String::new(),
        1 => "; 1 placement waits".to_owned(),
        n => format!("; {n} placements wait"),
    };
    let at_least = scope.incomplete > 0;
    let about = if at_least { "at least " } else { "" };
    let condition = Condition {
        kind: WITHIN_BUDGET.to_owned(),
        status: if within { "True" } else { "False" }.to_owned(),
        reason: if within { cost::WITHIN } else { cost::OVER }.to_owned(),
        message: format!("{about}{spent} of {max} a month{waits}"),
        observed_generation: Some(scope.generation),
        ..Condition::default()
    };
    let mut conditions = scope.written.conditions.clone();
    condition::set(&mut conditions, condition, now);
    CostBudgetStatus {
        observed_generation: Some(scope.generation),
        conditions,
        spent_monthly_usd: spent.decimal(),
        at_least,
        placements: scope.placements,
        waiting: scope.waiting,
    }
}

/// Writes the status of every budget whose figures have moved.
pub(crate) async fn write(context: &Context) {
    let changed: Vec<(String, CostBudgetStatus)> = {
        let mut index = context.index.lock();
        let now = clock::now_text();
        let scopes = index.spending.budgets.iter_mut();
        scopes
            .filter_map(|(name, scope)| {
                let status = status(scope, &now);
                (scope.written != status).then(|| {
                    scope.written = status.clone();
                    (name.clone(), status)
                })
            })
            .collect()
    };
    let api = Api::<CostBudget>::all(context.client.clone());
    for (name, status) in changed {
        let patch = Patch::Merge(json!({ "status": status }));
        if let Err(error) = api.patch_status(&name, &PatchParams::default(), &patch).await {
            tracing::warn!(%error, budget = name, "status not written");
            if let Some(scope) = context.index.lock().spending.budgets.get_mut(&name) {
                scope.written = CostBudgetStatus::default();
            }
        }
    }
}
