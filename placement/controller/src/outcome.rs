//! How a decision came out, in the words of the Placement, of the causes of removals, and of events. PURE.

use std::collections::BTreeSet;

use federation_types::{
    placement::{Outcome, PlacementSpec},
    reason::{cause, dependencies as code, placed as reason},
};
use placement_engine::{self as engine, Decision, Fleet, Rule};

use crate::{index::Placed, transition::Trigger};

/// Something worth telling people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What is worth telling of a change: that nothing could be placed, that no policy claims, that something it needs is
/// missing, that a cluster was replaced.
pub(crate) fn events(placed: Option<&Placed>, spec: &PlacementSpec) -> Vec<Event> {
    let mut events = Vec::new();
    let before = placed.map(|it| &it.spec);
    let new = before.is_none_or(|it| it.outcome.reason != spec.outcome.reason);
    let message = spec.outcome.message.clone();
    match spec.outcome.status.as_str() {
        "False" if new => events.push(Event { reason: reason::NOT_PLACED, message }),
        "Unknown" if new && spec.outcome.reason == reason::POLICY_GONE => {
            events.push(Event { reason: reason::POLICY_GONE, message });
        }
        _ => (),
    }
    if let Some(said) = spec.dependencies.as_ref().filter(|it| it.status == "False")
        && before.is_none_or(|it| it.dependencies.as_ref() != Some(said))
    {
        let known = [code::MISSING, code::LEFT_OUT, code::NEVER];
        let reason = known.into_iter().find(|it| *it == said.reason);
        let message = said.message.clone();
        events.extend(reason.map(|reason| Event { reason, message }));
    }
    let failed_over = |it: &PlacementSpec| -> BTreeSet<String> {
        let leaving = it.clusters.iter().filter(|it| it.leaving == cause::FAILOVER);
        leaving.map(|it| it.name.clone()).collect()
    };
    let known = before.map(failed_over).unwrap_or_default();
    let lost: Vec<String> = failed_over(spec).difference(&known).cloned().collect();
    if !lost.is_empty() {
        let now: Vec<&str> = spec
            .clusters
            .iter()
            .filter(|it| it.leaving.is_empty())
            .map(|it| it.name.as_str())
            .collect();
        let message =
            format!("{} does not answer: it runs on {} now", lost.join(", "), now.join(", "));
        events.push(Event { reason: cause::FAILOVER, message });
    }
    events
}

/// The outcome as the Placement states it.
pub(crate) fn describe(decision: &Decision) -> Outcome {
    let status = match decision.outcome {
        engine::Outcome::Placed => "True",
        engine::Outcome::Suspended => "Unknown",
        engine::Outcome::Partial { .. }
        | engine::Outcome::NoClusterFits
        | engine::Outcome::NotEnoughRoom { .. }
        | engine::Outcome::Spread { .. }
        | engine::Outcome::Skew { .. }
        | engine::Outcome::TooFewReplicas { .. }
        | engine::Outcome::OverBudget { .. }
        | engine::Outcome::OverReplicas { .. }
        | engine::Outcome::SpotNeedsTwo { .. }
        | engine::Outcome::Unreadable { .. } => "False",
    };
    let mut message = decision.outcome.to_string();
    if !decision.outcome.is_placed() && !decision.report.rules.is_empty() {
        let counts = decision.report.counts();
        let counts: Vec<String> = counts.iter().map(|(rule, n)| format!("{n} {rule}")).collect();
        message = format!("{message} ({})", counts.join(", "));
    }
    for absent in &decision.absent {
        message = format!("{message}; cluster {} is not in the inventory and is held", absent.name);
    }
    outcome(status, decision.outcome.reason(), message)
}

/// Why a cluster that held a copy is not in the decision. `shrinks`: there are fewer replicas in all than before.
/// `edited`: the policy is another one, or says something else, than at the decision before.
pub(crate) fn trigger(
    decision: &Decision,
    fleet: &Fleet,
    name: &str,
    shrinks: bool,
    edited: bool,
) -> Trigger {
    match fleet.id(name).and_then(|id| decision.report.rules.get(id.0 as usize)) {
        Some(Rule::Leaving) => Trigger::ClusterLeaving,
        Some(Rule::Taint | Rule::NotAccepted | Rule::ApiNotServed) => Trigger::ClusterChanged,
        // Eligible and yet left out: fewer replicas need fewer clusters. With as many as before something else has
        // taken its place, which has to be up first.
        Some(rule) if rule.eligible() && shrinks => Trigger::ScaledDown,
        // The policy is the same: what it asks of a cluster, its labels, place or jurisdiction, is not what it was.
        Some(_) if !edited => Trigger::ClusterChanged,
        Some(_) | None => Trigger::PolicyChanged,
    }
}

pub(crate) fn outcome(status: &str, reason: &str, message: String) -> Outcome {
    Outcome { status: status.to_owned(), reason: reason.to_owned(), message }
}
