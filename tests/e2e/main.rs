//! End-to-end tests on real Kubernetes components.

mod fleet;
mod join;
mod members;
mod stories;
