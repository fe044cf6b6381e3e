//! End-to-end tests on real Kubernetes components.

mod fleet;
mod join;
mod kill;
mod members;
mod stories;
