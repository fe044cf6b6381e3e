//! Kinds that are bound to where they are (RULES 3.4): StatefulSets, Jobs, volume claims, and custom kinds whose
//! rule says so. PURE.

use federation_types::{placement::Outcome, reason::placed as reason};
use placement_engine::{self as engine, Decision, Fleet, Previous, workload::KindClass};

use crate::{
    index::{Index, Template},
    outcome::outcome,
    upkeep::{drains, orphans_of},
};

/// Whether a StatefulSet or a Job would move, or a PersistentVolumeClaim would leave a cluster, which they do by an
/// approved Plan only: two at once may do harm, and the data stays behind (RULES 3.4). `may_leave`: the clusters that are lost, where the policy allows to fail over
/// unfenced (RULES 3.5); one that is forgotten is no longer among the previous ones.
pub(crate) fn wants_approval(
    decision: &Decision,
    fleet: &Fleet,
    template: &Template,
    previous: &Previous,
    may_leave: &dyn Fn(&str) -> bool,
) -> bool {
    if !template.workload.is_bound() {
        return false;
    }
    let loses = previous.clusters.iter().any(|it| {
        let Some(id) = fleet.id(&it.name) else { return false };
        !may_leave(&it.name) && !decision.clusters.iter().any(|now| now.cluster == id)
    });
    loses && (gains(decision, fleet, previous) || template.workload.is_claim())
}

/// Whether some cluster gets a copy, or more of it.
pub(crate) fn gains(decision: &Decision, fleet: &Fleet, previous: &Previous) -> bool {
    let before = |name: &str| previous.clusters.iter().find(|it| it.name == name);
    decision
        .clusters
        .iter()
        .any(|it| before(fleet.name(it.cluster)).is_none_or(|old| it.replicas > old.replicas))
}

/// A started Job is not moved (RULES 3.4). From a cluster that leaves it goes once it has ended, and at once where it is
/// left behind; what is to be said of it while it is waited for, and when it is nowhere any more.
pub(crate) fn run_out(
    index: &Index,
    template: &Template,
    fleet: &Fleet,
    decision: &mut Decision,
) -> Option<Outcome> {
    let job = template.workload.job;
    if template.workload.class != KindClass::Job || !job.started {
        return None;
    }
    let name = |it: &engine::Placed| fleet.name(it.cluster);
    decision
        .clusters
        .retain(|it| !(orphans_of(index, name(it)) || (job.finished && drains(index, name(it)))));
    let left: Vec<&str> =
        decision.clusters.iter().map(name).filter(|it| drains(index, it)).collect();
    let said = |reason, message| Some(outcome("True", reason, message));
    if decision.clusters.is_empty() {
        return said(reason::PLACED, "it has run, and is not made again".to_owned());
    }
    if left.is_empty() {
        return None;
    }
    let left = left.join(", ");
    said(
        reason::RUNS_TO_END,
        format!("a started Job is not moved: it leaves {left} when it has ended"),
    )
}
