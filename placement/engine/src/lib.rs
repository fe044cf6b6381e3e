//! Decides on which clusters a workload runs, and says why.
//!
//! ```text
//! MemberClusters, ClusterSets, PriceBooks ─▶ Fleet ─▶ Room (what is still free while decisions are made)
//! template ─▶ Workload        policy and limits ─▶ CompiledPolicy        Placement ─▶ Previous
//!        place(fleet, room, workload, policy, previous) ─▶ Decision ─▶ Plan
//! policies, template ─▶ Claim                          all of it as text ─▶ Scenario
//! ```
//!
//! PURE: no clock, no client, no randomness, no floating point. The same inputs give the same bytes, in whatever order
//! clusters are handed in; ties go to the name that sorts first.
#![deny(clippy::float_arithmetic)]

mod attempt;
pub mod beside;
pub mod bits;
mod cheapest;
pub mod claim;
mod commitments;
pub mod components;
pub mod cost;
mod custom;
pub mod dependencies;
mod divide;
pub mod explain;
pub mod expression;
mod extras;
pub mod fleet;
pub mod lint;
mod mask;
mod overflow;
pub mod place;
pub mod plan;
pub mod policy;
pub mod price;
mod priced;
pub mod rates;
pub mod report;
pub mod room;
pub mod scenario;
pub mod schedule;
mod search;
mod select;
mod settle;
mod share;
pub mod simulate;
mod skew;
mod spot;
pub mod terms;
mod time;
pub mod waves;
pub mod workload;

pub use beside::Beside;
pub use explain::explain;
pub use fleet::{ClusterId, ClusterInput, Fleet, SetInput};
pub use place::{Decision, Failback, Outcome, Placed, Previous, PreviousCluster, place};
pub use plan::{Change, Plan};
pub use policy::CompiledPolicy;
pub use price::PriceIndex;
pub use report::{Report, Rule};
pub use room::Room;
pub use terms::Terms;
pub use waves::Waves;
pub use workload::Workload;
