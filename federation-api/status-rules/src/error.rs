//! What is said of a rule that could not be followed.

/// Why an object could not be read by a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {field}: {message}")]
pub struct RuleError {
    /// `StatusRule engines`, or `the built-in rule of RayCluster`.
    pub rule: String,
    /// `spec.components`
    pub field: &'static str,
    /// What went wrong with this object.
    pub message: String,
}
