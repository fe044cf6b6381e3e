//! One pass per member: observe, plan, act, report.
//!
//! ```text
//! hub ─watch─▶ Index ─due─▶ Queue of each member ─▶ pass: render → plan → act ─▶ member
//!                                                    ▲                            │
//!                                          Slot ◀────┴──── label-selected watch ◀─┘
//!                                            └─▶ Board ─▶ status of Placement and template
//! ```
//!
//! What to write is decided in `syncer-render`; here is what waits, sends and remembers.

mod act;
mod board;
mod context;
mod error;
mod events;
mod follow;
mod hub;
mod index;
mod inside;
mod kinds;
mod live;
mod member;
mod pass;
mod pause;
mod queue;
mod renders;
mod report;
mod retire;
mod session;
mod slot;

use std::sync::Arc;

pub use context::{Dial, Metrics, NoMetrics, SyncerContext};
pub use inside::{InsideError, inside};
pub use renders::Evaluator;

/// Runs the syncer in the hub until dropped: every member has its own task, and none waits for another.
pub async fn run(context: SyncerContext) {
    let shared = Arc::new(context::Shared::new(context));
    let _members = EndMembers(Arc::clone(&shared));
    tokio::join!(
        hub::watch_hub(&shared),
        report::write_statuses(&shared),
        report::write_members(&shared),
        pause::write(&shared),
        shared.events.write(&shared.hub, &shared.index),
    );
}

/// Members' tasks hold what they share with us: they end when we do.
struct EndMembers(Arc<context::Shared>);

impl Drop for EndMembers {
    fn drop(&mut self) {
        self.0.members.lock().clear();
    }
}

#[cfg(test)]
mod tests;
