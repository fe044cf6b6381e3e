//! What a member's task keeps of one template: the copy as last seen, reduced to what passes need, and how the last
//! pass went.

use std::sync::Arc;

use federation_types::{placement::CopyState, reason::copy};
use syncer_render::{
    CopyReport, Health, Hold, RevisionMark,
    drift::Corrections,
    plan::{Ours, Standing},
};

/// A copy of ours as last seen. The object itself is not kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) uid: String,
    pub(crate) version: u64,
    pub(crate) template: String,
    pub(crate) mark: RevisionMark,
    /// Of everything that could be ours.
    pub(crate) content: u64,
    pub(crate) drift: Vec<String>,
    pub(crate) terminating: bool,
    pub(crate) health: Arc<Health>,
    pub(crate) scaled_by: Option<String>,
    pub(crate) created_at: Option<usize>,
}

/// How the last pass went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    #[default]
    Pending,
    /// As wanted by the Placement of this generation.
    Synced(i64),
    /// Confirmed gone from the member.
    Gone,
    Held(Hold),
    /// A reason code and a message.
    Failed(&'static str, String),
    /// Waits for something of the hub's own.
    Waiting(&'static str, String),
}

#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) seen: Option<Seen>,
    /// Something of somebody else's has the name.
    pub(crate) foreign: Option<bool>,
    pub(crate) outcome: Outcome,
    pub(crate) failures: u32,
    pub(crate) corrections: Corrections,
    /// Fields that the member does not keep as they were sent.
    pub(crate) not_kept: Vec<String>,
}

impl Slot {
    pub(crate) fn standing(&self, now: i64) -> Standing {
        match (&self.seen, self.foreign) {
            (Some(seen), _) => {
                let fighting = self.corrections.fighting(now);
                let fighting =
                    seen.drift.iter().filter(|it| fighting.contains(&it.as_str())).cloned();
                Standing::Ours(Ours {
                    uid: seen.uid.clone(),
                    template: seen.template.clone(),
                    mark: seen.mark.clone(),
                    drift: seen.drift.clone(),
                    fighting: fighting.collect(),
                    terminating: seen.terminating,
                })
            }
            (None, Some(other_hub)) => Standing::Foreign { other_hub },
            (None, None) => Standing::Absent,
        }
    }

    /// The word of this member on the copy. `generation` is the Placement's.
    pub(crate) fn report(&self, generation: i64, removing: bool) -> CopyReport {
        let seen = self.seen.as_ref();
        let health = seen.map(|it| Arc::clone(&it.health));
        let of_copy = |reason: &str, message: &str| match seen {
            None => (CopyState::Pending, reason.to_owned(), message.to_owned()),
            Some(seen) => {
                let reason =
                    if reason.is_empty() { seen.health.reason.clone() } else { reason.to_owned() };
                let message = if message.is_empty() {
                    seen.health.message.clone()
                } else {
                    message.to_owned()
                };
                (seen.health.state, reason, message)
            }
        };
        let (state, reason, message) = match &self.outcome {
            Outcome::Pending | Outcome::Gone => of_copy("", ""),
            Outcome::Synced(_) => {
                let healthy = seen.is_some_and(|it| it.health.reason.is_empty());
                if healthy && !self.not_kept.is_empty() {
                    let message = format!("the cluster does not keep {}", self.not_kept.join(", "));
                    of_copy(copy::FIELDS_NOT_KEPT, &message)
                } else {
                    of_copy("", "")
                }
            }
            Outcome::Waiting(reason, message) => of_copy(reason, message),
            Outcome::Failed(reason, message) => {
                let state = match *reason {
                    copy::REFUSED | copy::KIND_MISSING | copy::RENDER_FAILED => CopyState::Refused,
                    _ => seen.map_or(CopyState::Pending, |it| it.health.state),
                };
                (state, (*reason).to_owned(), message.clone())
            }
            Outcome::Held(hold) => self.held(hold, of_copy),
        };
        CopyReport {
            state: if removing { CopyState::Removing } else { state },
            reason,
            message,
            revision: seen.map(|it| it.mark.revision.clone()).unwrap_or_default(),
            current: self.outcome == Outcome::Synced(generation)
                && seen.is_some_and(|it| it.drift.is_empty()),
            health,
            scaled_by: seen.and_then(|it| it.scaled_by.clone()),
            stale: false,
            gone: removing && self.outcome == Outcome::Gone,
        }
    }

    fn held(
        &self,
        hold: &Hold,
        of_copy: impl Fn(&str, &str) -> (CopyState, String, String),
    ) -> (CopyState, String, String) {
        let is =
            |state, reason: &str, message: &str| (state, reason.to_owned(), message.to_owned());
        match hold {
            Hold::Frozen => is(CopyState::Held, copy::FROZEN, "writes are frozen"),
            Hold::Foreign | Hold::OtherHub => {
                let (reason, message) = conflict(hold).unwrap_or_default();
                is(CopyState::Conflict, reason, message)
            }
            Hold::Terminating => of_copy(copy::TERMINATING, "an older object is being deleted"),
            Hold::NewerThanHub => is(
                CopyState::Held,
                copy::OBSERVE_ONLY,
                "the member holds a later generation than the hub's store: the hub has lost data",
            ),
            Hold::ObserveOnly => is(
                CopyState::Held,
                copy::OBSERVE_ONLY,
                "the member holds later generations than the hub's store: nothing is written there until \
                 `archipel cluster resume`",
            ),
            Hold::Drift(fields) => {
                of_copy(copy::DRIFT, &format!("differs in {}", fields.join(", ")))
            }
            Hold::Fighting(fields) => {
                let message = format!("somebody keeps changing {}", fields.join(", "));
                is(CopyState::Degraded, copy::FIGHTING, &message)
            }
            Hold::UnknownCopy => is(CopyState::Held, copy::UNKNOWN_COPY, ""),
            Hold::JobGone => is(
                CopyState::Degraded,
                copy::JOB_GONE,
                "the Job was made and is gone; it is not made again",
            ),
        }
    }
}

/// What stands in the copy's place, as a reason and in words.
pub(crate) fn conflict(hold: &Hold) -> Option<(&'static str, &'static str)> {
    match hold {
        Hold::Foreign => {
            Some((copy::FOREIGN, "an object of this name that is not ours is in its place"))
        }
        Hold::OtherHub => Some((copy::OTHER_HUB, "another hub's copy is in its place")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_object_is_a_conflict_and_a_refusal_is_refused() {
        let slot = |outcome| Slot { outcome, ..Slot::default() };
        let conflict = slot(Outcome::Held(Hold::Foreign)).report(1, false);
        assert_eq!(
            (conflict.state, conflict.reason.as_str()),
            (CopyState::Conflict, copy::FOREIGN)
        );
        let refused = slot(Outcome::Failed(copy::REFUSED, "spec.x".into())).report(1, false);
        assert_eq!((refused.state, refused.message.as_str()), (CopyState::Refused, "spec.x"));
    }

    #[test]
    fn a_copy_is_current_for_the_generation_that_was_passed_only() {
        let slot =
            Slot { seen: Some(Seen::default()), outcome: Outcome::Synced(3), ..Slot::default() };
        assert!(slot.report(3, false).current);
        assert!(!slot.report(4, false).current);
    }

    #[test]
    fn rule_4_3_gone_is_said_only_after_it_was_confirmed() {
        let mut slot = Slot { seen: Some(Seen::default()), ..Slot::default() };
        assert!(!slot.report(1, true).gone);
        slot.seen = None;
        assert!(!slot.report(1, true).gone);
        slot.outcome = Outcome::Gone;
        assert!(slot.report(1, true).gone);
        assert!(!slot.report(1, false).gone);
    }
}
