//! What is said of a rollout: by its own status, by the Placement, and by events.

use std::sync::Arc;

use federation_types::{
    condition::{self, Condition},
    names::ObjectKey,
    placement::PlacedRollout,
    reason::{condition as conditions, rollout as reason},
    rollout::{Rollout, RolloutSpec, RolloutState, RolloutStatus, WaveState},
};

use super::home;
use crate::{clock, outcome::Event, rollout};

/// What the pass of one template wants written of its Rollout.
#[derive(Debug)]
pub(crate) struct RolloutWrite {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// As it stands; none: it is made.
    pub(crate) standing: Option<Arc<Rollout>>,
    /// Where a rollout begins: what was said of the one before is taken out.
    pub(crate) spec: Option<RolloutSpec>,
    pub(crate) status: RolloutStatus,
}

/// What the Placement says of it, and with it the template.
pub(super) fn note(status: &RolloutStatus, message: &str) -> PlacedRollout {
    PlacedRollout {
        revision: status.to.clone(),
        reason: rollout::reason_of(status).to_owned(),
        message: message.to_owned(),
    }
}

/// The Rollout as it is to be, if that is not what stands.
pub(super) fn write(
    key: &ObjectKey,
    standing: Option<Arc<Rollout>>,
    spec: Option<RolloutSpec>,
    mut status: RolloutStatus,
    message: &str,
    now: i64,
) -> Option<Box<RolloutWrite>> {
    let (namespace, name) = home(key);
    let spec = spec.filter(|it| standing.as_ref().is_none_or(|standing| standing.spec != *it));
    status.observed_generation = standing.as_ref().and_then(|it| it.metadata.generation);
    let message = match (message, status.state) {
        ("", RolloutState::Completed) => format!("every cluster runs revision {}", status.to),
        (message, _) => message.to_owned(),
    };
    let reason = rollout::reason_of(&status).to_owned();
    let is = |yes: bool| if yes { "True" } else { "False" }.to_owned();
    let stalled = status.state == RolloutState::Aborted || !status.failure.is_empty();
    let stopped = status.state == RolloutState::Paused || status.state.is_over();
    let all = [
        (conditions::READY, status.state == RolloutState::Completed),
        (conditions::PROGRESSING, !stopped),
        (conditions::STALLED, stalled),
    ];
    for (kind, yes) in all {
        let condition = Condition {
            kind: kind.to_owned(),
            status: is(yes),
            reason: reason.clone(),
            message: message.clone(),
            observed_generation: status.observed_generation,
            ..Condition::default()
        };
        condition::set(&mut status.conditions, condition, &clock::text(now));
    }
    if spec.is_none() && standing.as_ref().is_some_and(|it| it.status.as_ref() == Some(&status)) {
        return None;
    }
    Some(Box::new(RolloutWrite {
        namespace: namespace.to_string(),
        name: name.to_string(),
        standing,
        spec,
        status,
    }))
}

/// What is worth telling people of the change of a rollout.
pub(super) fn events(
    before: &RolloutStatus,
    status: &RolloutStatus,
    message: &str,
    begins: bool,
) -> Vec<Event> {
    let mut events = Vec::new();
    let mut say = |reason: &'static str, message: String| events.push(Event { reason, message });
    if begins {
        let RolloutStatus { from, to, strategy, .. } = status;
        say(
            reason::STARTED,
            format!(
                "revision {to} is released in waves by RolloutStrategy {strategy}, after {from}"
            ),
        );
    }
    for wave in
        status.waves.iter().filter(|it| it.state != WaveState::Pending && !it.started.is_empty())
    {
        let known = before.waves.iter().any(|it| it.name == wave.name && !it.started.is_empty());
        if begins || !known {
            say(reason::WAVE_STARTED, format!("wave {} gets revision {}", wave.name, status.to));
        }
    }
    let moved = begins || before.state != status.state;
    match status.state {
        RolloutState::Paused | RolloutState::WaitingForApproval if moved => {
            say(reason::PAUSED, message.to_owned());
        }
        RolloutState::Completed if moved => say(reason::ROLLOUT_COMPLETED, message.to_owned()),
        RolloutState::Aborted if moved => say(reason::ROLLOUT_ABORTED, message.to_owned()),
        _ => (),
    }
    events
}
