//! What each member is to hold: rendering, the sync plan, health and the roll-up of status.
//!
//! ```text
//! template ─strip─▶ content ─┐
//! override rules ────────────┼─render─▶ Manifest ─┐
//! cluster, replicas ─────────┘                    ├─ SyncPlan ─▶ the agent acts
//! what the member holds ─ Standing ───────────────┘
//! live object ─ drift · health ─▶ CopyReport ─ roll-up ─▶ status of the Placement and of the template
//! ```
//!
//! PURE: no clock, no client, no randomness.

#![deny(clippy::float_arithmetic)]

pub mod adopt;
pub mod bounds;
pub mod drift;
pub mod health;
mod image;
mod kept;
pub mod manifest;
pub mod marks;
pub mod mask;
pub mod overrides;
pub mod plan;
pub mod revision;
pub mod roll_up;
mod spot;
pub mod template;

pub use health::Health;
pub use manifest::{Manifest, RenderProblem, Rendering, render};
pub use marks::{Asked, Owner, RevisionMark};
pub use plan::{Hold, Standing, Step, SyncPlan, Wanted, Writes};
pub use roll_up::CopyReport;
