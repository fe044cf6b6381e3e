//! Index, engine, plan, gate, Placement: the only writer of decisions.
//!
//! ```text
//! watches (feed, kinds) ─▶ Index ─▶ pass: claim → engine → transition → gate ─▶ write ─▶ Revision, Placement
//!                            ▲                                                     │
//!                            └──────────────────── what was written ◀──────────────┘
//! ```
//!
//! A pass is given a template's name and nothing else. [`claim`], [`transition`] and [`gate`] are pure; a pass changes
//! nothing but the index, so that whole sequences of them are tested without a hub.

use std::{sync::Arc, time::Duration};

use federation_types::{
    price::PriceBookSpec,
    review::{
        ExplanationSpec, ExplanationStatus,
        plan::{PlanSpec, PlanStatus},
        simulation::{SimulationSpec, SimulationStatus},
    },
    score::ClusterScoreSpec,
};
use kube::Client;
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Semaphore, time::Instant};

mod approval;
mod bootstrap;
mod bound;
mod bounds;
mod budget_status;
mod caller;
mod clock;
mod company;
mod context;
mod cost_status;
mod decide;
mod dry_run;
mod events;
mod explain;
mod failback;
mod farewell;
mod feed;
mod fields;
mod follow;
pub mod gate;
pub mod guard;
mod held;
pub mod index;
mod kinds;
pub mod members;
mod metrics;
mod ordinals;
mod outcome;
mod overlay;
mod override_status;
mod plan;
mod policy_status;
mod queue;
mod reading;
mod release;
mod relocate;
mod revision;
mod rollout;
mod run;
mod scores;
mod settling;
mod simulation;
mod snapshot;
mod spending;
mod staging;
mod stands;
mod status;
mod status_rule;
#[cfg(test)]
mod tests;
pub mod transition;
mod upkeep;
mod write;

pub use caller::{PlanError, refused};
pub use metrics::Metrics;
pub use placement_engine::claim;
pub use run::RunError;

/// The controller as the composition root holds it: admission and reviews ask it from the moment it is made, and it
/// decides once it runs.
#[derive(Debug)]
pub struct Controller {
    index: Arc<Mutex<index::Index>>,
    metrics: Arc<Metrics>,
    /// One plan at a time: each has a copy of the index and a core for itself.
    planning: Semaphore,
}

impl Controller {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            index: Arc::default(),
            metrics: Arc::default(),
            planning: Semaphore::const_new(1),
        })
    }

    /// What it counts of itself: `server_metrics.register(|it| controller.metrics().register(it))`.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What it knows at this moment. Held for as long as a question takes, and never across an await.
    pub fn index(&self) -> MutexGuard<'_, index::Index> {
        self.index.lock()
    }

    /// Decides until the process ends; `sample` is the price book of a hub that has none.
    pub async fn run(&self, client: Client, sample: PriceBookSpec) -> Result<(), RunError> {
        run::run(client, Arc::clone(&self.index), Arc::clone(&self.metrics), sample).await
    }

    /// Why a template is where it is, for whoever may read it.
    pub async fn explain(
        &self,
        caller: &Client,
        question: &ExplanationSpec,
    ) -> Result<ExplanationStatus, PlanError> {
        explain::answer(&self.index, caller, question).await
    }

    /// What a change would do. `caller` is a client with the identity of who asks: what that one may not write is not
    /// planned, and what that one may not read is left out.
    pub async fn plan(&self, caller: &Client, spec: &PlanSpec) -> Result<PlanStatus, PlanError> {
        let _turn = self.planning.acquire().await.expect("the semaphore is never closed");
        let begin = Instant::now();
        let plan = plan::plan(&self.index, caller, spec).await;
        let changes = plan.as_ref().map(|it| !it.is_empty());
        self.planned("Plan", changes, begin.elapsed());
        plan
    }

    fn planned(&self, review: &'static str, changes: Result<bool, &PlanError>, took: Duration) {
        self.metrics.planned(review, changes, took);
        match changes {
            Ok(changes) => tracing::info!(review, changes, ?took, "planned"),
            Err(error) => tracing::info!(review, %error, ?took, "not planned"),
        }
    }

    /// What the write of one object would do, worked out on the spot; none where that is nothing, or too much to be
    /// worked out while a request waits.
    pub fn preview(&self, object: &serde_json::Value) -> Option<PlanStatus> {
        plan::preview(&self.index, object)
    }

    /// What the author of a score should know.
    pub fn score_warnings(&self, spec: &ClusterScoreSpec) -> Vec<String> {
        self.index.lock().score_warnings(spec, clock::now())
    }

    /// What would happen if; told of what `caller` may read.
    pub async fn simulate(
        &self,
        caller: &Client,
        spec: &SimulationSpec,
    ) -> Result<SimulationStatus, PlanError> {
        let _turn = self.planning.acquire().await.expect("the semaphore is never closed");
        let begin = Instant::now();
        let outcome = simulation::simulate(&self.index, caller, spec).await;
        let changes = outcome.as_ref().map(|it| !it.plan.is_empty());
        self.planned("Simulation", changes, begin.elapsed());
        outcome
    }
}
