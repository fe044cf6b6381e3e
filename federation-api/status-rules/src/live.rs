//! What a live object says of itself: how it fares, and what of its status is kept.

use std::sync::Arc;

use federation_types::{field_path::FieldPath, placement::CopyState, reason::copy};
use serde_json::Value;

use crate::{
    expression::Subject,
    rule::{Health, Rule},
};

/// A live object as a rule reads it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// How it fares, with a reason and a message; none if the rule says nothing of it.
    pub health: Option<(CopyState, String, String)>,
    pub replicas: Option<i64>,
    pub ready: Option<i64>,
    /// The fields that are kept, as far as the object has them.
    pub kept: Vec<(Arc<FieldPath>, Value)>,
}

/// So much of one copy's status is kept, as JSON: it is brought back to be read, not to be stored.
const LARGEST: usize = 16 << 10;
/// A reason is a word, and a message a sentence.
const LONGEST_REASON: usize = 128;
const LONGEST_MESSAGE: usize = 1_024;

impl Rule {
    /// Reads a live object.
    pub fn read(&self, live: &Value) -> Reading {
        let mut subject = Subject::new(live);
        let mut left = LARGEST;
        let kept = self.keep.iter().filter_map(|it| {
            let value = it.path.get(live).filter(|it| !it.is_null())?;
            left = left.checked_sub(value.to_string().len())?;
            Some((Arc::clone(&it.path), value.clone()))
        });
        let kept: Vec<_> = kept.collect();
        Reading {
            health: self.health.as_ref().map(|it| assess(it, &self.name, &mut subject)),
            replicas: self.count.as_ref().and_then(|it| it.number(&mut subject)),
            ready: self.ready.as_ref().and_then(|it| it.number(&mut subject)),
            kept,
        }
    }
}

fn assess(health: &Health, name: &str, subject: &mut Subject) -> (CopyState, String, String) {
    let mut asked = |expression: &Option<crate::expression::Expression>, if_none: bool| {
        let Some(expression) = expression else { return Ok(if_none) };
        expression.holds(subject).map_err(|why| format!("{name}: {}: {why}", expression.field))
    };
    let state = match (asked(&health.degraded, false), asked(&health.ready, true)) {
        (Err(why), _) | (Ok(false), Err(why)) => {
            return (CopyState::Progressing, copy::RULE_FAILED.to_owned(), why);
        }
        (Ok(true), _) => CopyState::Degraded,
        (Ok(false), Ok(true)) => return (CopyState::Ready, String::new(), String::new()),
        (Ok(false), Ok(false)) => CopyState::Progressing,
    };
    let mut text = |expression: &Option<crate::expression::Expression>, most: usize| {
        let text = expression.as_ref().map(|it| it.text(subject)).unwrap_or_default();
        text.chars().take(most).collect::<String>()
    };
    let reason = text(&health.reason, LONGEST_REASON);
    (state, reason, text(&health.message, LONGEST_MESSAGE))
}
