//! Keeps `ChangeBudget.status` true: what was removed in the window, and how much waits. Written on change only.

use federation_types::budget::{ChangeBudget, ChangeBudgetStatus};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{clock, context::Context};

/// Writes the status of every budget whose count has moved.
pub(crate) async fn write(context: &Context) {
    let changed: Vec<(String, ChangeBudgetStatus)> = {
        let mut index = context.index.lock();
        let (copies, waiting) = (index.copies, index.leaving);
        index
            .budgets
            .iter_mut()
            .filter_map(|(name, budget)| {
                let status = ChangeBudgetStatus {
                    removed: budget.removed,
                    allowed: budget.allowed(copies),
                    waiting,
                    window_start: clock::text(budget.window_start),
                    frozen: budget.spec.freeze.summary(),
                };
                let moved = budget.written.as_ref() != Some(&status);
                moved.then(|| {
                    budget.written = Some(status.clone());
                    (name.clone(), status)
                })
            })
            .collect()
    };
    let api = Api::<ChangeBudget>::all(context.client.clone());
    for (name, status) in changed {
        let patch = Patch::Merge(json!({ "status": status }));
        match api.patch_status(&name, &PatchParams::default(), &patch).await {
            Ok(_) => (),
            // The default budget holds even where it is missing; it has a status once it is there again.
            Err(kube::Error::Api(status)) if status.code == 404 => (),
            Err(error) => {
                tracing::warn!(%error, budget = name, "status not written");
                if let Some(budget) = context.index.lock().budgets.get_mut(&name) {
                    budget.written = None;
                }
            }
        }
    }
}
