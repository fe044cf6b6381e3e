//! Checks an object against its type: unknown fields, wrong JSON types, a custom kind's rules, metadata.

mod cel;
mod format;
mod listtype;
mod metadata;
mod rules;
mod shape;
mod unknown;

pub use cel::{has_rules, rules_broken};
pub(crate) use format::NOT_ENFORCED;
pub use metadata::object_meta;
pub use rules::validate;
pub use shape::shape_errors;
pub use unknown::unknown_fields;
