//! The words of an explanation.

use federation_types::{cluster::Taint, selector::LabelSelector};

/// What a rule wanted, what it found, and what would change the answer.
#[derive(Default)]
pub(super) struct Text {
    pub(super) wanted: String,
    pub(super) found: String,
    pub(super) change: String,
    pub(super) policy: String,
}

impl Text {
    pub(super) fn new(
        wanted: impl Into<String>,
        found: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        Self {
            wanted: wanted.into(),
            found: found.into(),
            change: change.into(),
            policy: String::new(),
        }
    }
}

pub(super) fn jurisdiction(wanted: &[String], found: &str) -> Text {
    let found = if found.is_empty() { "no jurisdiction" } else { found };
    Text::new(wanted.join(", "), found, "another jurisdiction in the cluster's spec")
}

pub(super) fn taint(it: &Taint) -> String {
    let value = if it.value.is_empty() { String::new() } else { format!("={}", it.value) };
    format!("{}{value}:{:?}", it.key, it.effect)
}

pub(super) fn labels_text(selector: &LabelSelector) -> String {
    let mut parts: Vec<_> =
        selector.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    for it in &selector.match_expressions {
        parts.push(format!("{} {:?} ({})", it.key, it.operator, it.values.join(",")));
    }
    parts.join(",")
}
