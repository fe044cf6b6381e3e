//! What is said of all clusters together: their order by cost, and what an approval is waited for.

use federation_types::review::ClusterExplanation;

use super::Teller;
use crate::{
    fleet::Fleet,
    place::{Decision, Previous},
    plan::{self, Action},
    policy::CompiledPolicy,
    workload::Workload,
};

/// The places by what one more replica costs, among those of which that is known.
pub(super) fn order(clusters: &mut [ClusterExplanation], teller: &Teller<'_>) {
    let mut known: Vec<(i64, usize)> = clusters
        .iter()
        .enumerate()
        .filter(|(_, it)| it.eligible)
        .filter_map(|(at, it)| Some((teller.one_more(teller.fleet.id(&it.cluster)?)?, at)))
        .collect();
    known.sort_unstable();
    for (place, (_, at)) in (1..).zip(known) {
        clusters[at].order = Some(place);
    }
}

/// What an approval is waited for: a workload that does not move by itself would go from here to there.
pub(super) fn approval(
    fleet: &Fleet,
    workload: &Workload,
    policy: &CompiledPolicy,
    previous: &Previous,
    decision: &Decision,
) -> Option<String> {
    let plan = plan::diff(fleet, workload, policy, previous, decision, plan::PolicySince::Same);
    if !plan.needs_approval {
        return None;
    }
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for it in &plan.changes {
        match it.action {
            Action::Add { .. } => to.push(it.cluster.clone()),
            Action::Remove { .. } => {
                let rule =
                    fleet.id(&it.cluster).map_or("", |id| decision.report.rules[id.at()].id());
                from.push(format!("{} ({rule})", it.cluster));
            }
            Action::Resize { from: before, to: after } if after < before => {
                from.push(it.cluster.clone());
            }
            Action::Resize { .. } => to.push(it.cluster.clone()),
        }
    }
    let from = from.join(", ");
    if to.is_empty() {
        return Some(format!(
            "it would leave {from}: a {} leaves by an approved plan only, and stays where it is until then",
            workload.key.gvk.kind
        ));
    }
    Some(format!(
        "it would move from {from} to {}: a {} moves by an approved plan only, and stays where it is until then",
        to.join(", "),
        workload.key.gvk.kind
    ))
}
