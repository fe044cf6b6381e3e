//! Moves that somebody has to approve (RULES 1.2, 3.4): what an approval names, and whether it is one. PURE.
//!
//! An approval is an annotation of the template, `MOVE/TIME`: the hash of this one move, and when it was approved. The
//! Placement remembers the approval that it moved by, so none is used twice; a move that has become another one since,
//! because the fleet or the policy has changed, is not approved by it.
//!
//! A move that no policy asks for, chosen by a plan for the whole fleet, says in its approval where to: `MOVE:a=2,b=3/TIME`.

use std::collections::BTreeMap;

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
    let to: Vec<_> =
        decision.clusters.iter().map(|it| (fleet.name(it.cluster), it.replicas)).collect();
    hash(template, previous, &to)
}

/// The token of a move that was chosen: its hash, and where to.
pub(crate) fn chosen_token(
    template: &Template,
    previous: &Previous,
    to: &BTreeMap<String, i64>,
) -> String {
    let by_name: Vec<_> = to.iter().map(|(name, n)| (name.as_str(), Some(*n))).collect();
    let text: Vec<String> = to.iter().map(|(name, n)| format!("{name}={n}")).collect();
    format!("{}:{}", hash(template, previous, &by_name), text.join(","))
}

/// Where the template's approval says that it is to run; none if that is not about the copies that stand, or was used.
pub(crate) fn chosen(
    template: &Template,
    placed: &PlacementSpec,
    previous: &Previous,
) -> Option<BTreeMap<String, i64>> {
    if template.approved == placed.approval {
        return None;
    }
    let token = template.approved.split('/').next()?;
    let (_, text) = token.split_once(':')?;
    let mut to = BTreeMap::new();
    for one in text.split(',') {
        let (name, n) = one.split_once('=')?;
        to.insert(name.to_owned(), n.parse().ok()?);
    }
    (chosen_token(template, previous, &to) == token).then_some(to)
}

/// Whether a token is that of a move that was chosen.
pub(crate) fn is_chosen(token: &str) -> bool {
    token.contains(':')
}

fn hash(template: &Template, previous: &Previous, to: &[(&str, Option<i64>)]) -> String {
    let from: Vec<_> = previous.clusters.iter().map(|it| (it.name.as_str(), it.replicas)).collect();
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
