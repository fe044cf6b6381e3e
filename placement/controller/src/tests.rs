//! Whole passes without a hub: each test builds a fleet from a few words, and reads the Placements as they follow one
//! another until nothing is written any more.

mod changes;
mod custom;
mod decisions;
mod failure;
mod following;
mod members;
mod money;
mod plan_checks;
mod planning;
mod plans;
mod random;
mod rollouts;
mod rooms;
mod simulations;
pub(crate) mod world;
