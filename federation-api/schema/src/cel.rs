//! Expressions in CEL, as Kubernetes has them in the rules of CRDs and in admission policies: compiled once, evaluated
//! often, and never for longer than their budget.
//!
//! ```text
//! text ─▶ Program (parsed, names checked, loops metered) ─▶ evaluate(variables, Budget) ─▶ value
//! ```

mod check;
mod messages;
mod names;
mod program;
mod rule;
mod value;

pub use messages::Outcome;
pub use program::{Budget, CompileError, Fault, Program, on_large_stack};
pub use rule::{Reason, Rule, RuleContext};
pub use value::{escape, json, map, optional, plain, typed};

/// A value of an expression.
pub use kube_cel::cel::Value as CelValue;
