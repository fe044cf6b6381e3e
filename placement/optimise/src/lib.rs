//! The placement of the whole fleet that costs least, with a proof of how far from it an answer may be.
//!
//! ```text
//! Fleet, Terms of each workload ─▶ Instance ─▶ Net ─▶ bound (Lagrangian, exact) ─┐ prices
//!                                                └▶ share, squeeze, close, improve ◀┘
//!                                                        └▶ Solution ─▶ check ─▶ Answer ─▶ Plan
//! ```
//!
//! The result is a plan and never an action. Time is not read here: a caller that wants to stop a run says so through a
//! closure, and a run that is never stopped gives the same bytes each time. Prices and the small problems given to
//! microlp are floating point; costs, bounds and the check are integers.
#![expect(clippy::cast_precision_loss, reason = "prices are estimates; what they prove is exact")]

mod anneal;
mod bound;
mod check;
mod exact;
mod fill;
mod improve;
mod instance;
mod model;
mod net;
mod share;
mod solve;
mod squeeze;
mod state;
mod whole;

pub use check::{Tally, Violation, check};
pub use instance::{
    Fill, Held, Instance, Invalid, MAX_RESOURCES, Place, Pool, Solution, Spread, Task,
};
pub use model::{Model, Optimum, Subject};
pub use solve::{Answer, SolveError, solve};
