//! The harness for tests on real clusters: member clusters made of real Kubernetes components, the
//! stock clients, and waiting for conditions.
//!
//! The components are built by `cargo xtask members`; [`Binaries::find`] says so where they are
//! missing. Every process started here ends with the process that started it, however that ends.

mod binaries;
mod cli;
mod hub;
pub mod member;
mod pki;
pub mod process;
mod random;
pub mod wait;

pub use binaries::{Binaries, BinariesMissing};
pub use cli::{CommandOutput, Helm, Kubectl};
pub use hub::{Hub, HubError, archipel};
pub use member::{Controllers, Member, MemberError, MemberOptions, NodeShape};
pub use random::{Random, hash};
