//! How objects of custom kinds are read: by the `StatusRule`s of users, and by the rules that are built in.
//!
//! ```text
//! StatusRuleSpec ─▶ Rule (expressions compiled) ─▶ a template's replicas, requests, parts and dependencies
//!                                               └▶ a live object's health, and what of its status is kept
//! ```
//!
//! PURE: an expression sees the object and nothing else, under a budget.

mod built_in;
mod error;
mod expression;
mod live;
mod rule;
mod rules;
mod template;

pub use built_in::built_in;
pub use error::RuleError;
pub use live::Reading;
pub use rule::{Keep, Rule};
pub use rules::{Compiled, Rules, Standing};
pub use template::{Dependency, Part};
