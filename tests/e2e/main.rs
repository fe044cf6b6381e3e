//! End-to-end tests on real Kubernetes components.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panicking and tell how far they are"
)]

mod fleet;
mod join;
mod kill;
mod members;
mod memory;
mod offline;
mod relay;
mod stories;
