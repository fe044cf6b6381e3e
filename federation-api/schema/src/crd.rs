//! Custom kinds: their structural schemas as types, and what the schema does to their objects.

mod compile;
mod default;
mod meta;
mod prune;
mod rules;
mod structural;

pub use compile::{Compiled, compile};
pub use default::default;
pub use meta::metadata_type;
pub use prune::prune;
pub use rules::Pattern;
pub(crate) use rules::read as read_rules;
