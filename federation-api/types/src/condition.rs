//! Conditions in the standard form, and how they change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One condition, as in every Kubernetes status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about, such as `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word for why, for programs.
    #[serde(default)]
    pub reason: String,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
    /// The generation of the spec that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// RFC 3339; when `status` last changed.
    #[serde(default)]
    pub last_transition_time: String,
}

/// Puts a condition into a list: the transition time moves only when the status does. Says whether anything changed.
pub fn set(conditions: &mut Vec<Condition>, mut new: Condition, now: &str) -> bool {
    now.clone_into(&mut new.last_transition_time);
    match conditions.iter_mut().find(|it| it.kind == new.kind) {
        None => conditions.push(new),
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time.clone_from(&old.last_transition_time);
            }
            if *old == new {
                return false;
            }
            *old = new;
        }
    }
    true
}

/// The condition of that type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|it| it.kind == kind)
}

/// Whether the condition of that type is `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|it| it.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let ready = |status: &str, reason: &str| Condition {
            kind: "Ready".into(),
            status: status.into(),
            reason: reason.into(),
            ..Condition::default()
        };
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, ready("True", "A"), "t1"));
        assert!(set(&mut conditions, ready("True", "B"), "t2"));
        assert_eq!(conditions[0].last_transition_time, "t1");
        assert!(!set(&mut conditions, ready("True", "B"), "t3"));
        assert!(set(&mut conditions, ready("False", "B"), "t4"));
        assert_eq!(conditions[0].last_transition_time, "t4");
    }
}
