//! Moves that somebody has to approve (RULES 3.4): what an approval names, and whether it is one. PURE.
//!
//! An approval is an annotation of the template, `MOVE/TIME`: the hash of this one move, and when it was approved. The
//! Placement remembers the approval that it moved by, so none is used twice; a move that has become another one since,
//! because the fleet or the policy has changed, is not approved by it.

use federation_types::{names::short_hash, placement::PlacementSpec};
use placement_engine::{Decision, Fleet, Previous};

use crate::index::Template;

/// Which moves are approved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Approvals {
    /// Those that a template's annotation names.
    #[default]
    Given,
    /// Every one: of a dry run, which shows what an approval would bring about.
    All,
}

/// The hash of one move: of which template, from where, and where to.
pub(crate) fn token(
    template: &Template,
    previous: &Previous,
    decision: &Decision,
    fleet: &Fleet,
) -> String {
    let from: Vec<_> = previous.clusters.iter().map(|it| (it.name.as_str(), it.replicas)).collect();
    let to: Vec<_> =
        decision.clusters.iter().map(|it| (fleet.name(it.cluster), it.replicas)).collect();
    let key = &template.workload.key;
    let text = serde_json::to_vec(&(
        &key.gvk.group,
        &key.gvk.kind,
        &key.namespace,
        &key.name,
        &template.uid,
        from,
        to,
    ))
    .expect("names and numbers can be written as JSON");
    short_hash(&text)
}

/// Whether the move may be made: somebody approved it, and that approval was not used before.
pub(crate) fn is_given(
    approvals: Approvals,
    template: &Template,
    placed: &PlacementSpec,
    token: &str,
) -> bool {
    if approvals == Approvals::All {
        return true;
    }
    let named = template.approved.split('/').next().unwrap_or_default();
    named == token && template.approved != placed.approval
}
