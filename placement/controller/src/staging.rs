//! What waves mean for a decision: which new copies wait for none, and what stays as it is while others do.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    names::ObjectKey,
    placement::{PlacedCluster, PlacementSpec},
    reason::cause,
};
use placement_engine::{Decision, Previous};

use crate::{
    index::{Index, Placed},
    members::is_ready,
    release::Release,
    transition::Target,
};

/// The clusters that are meant, as they are.
pub(crate) fn stay(meant: &Previous) -> BTreeMap<String, Option<i64>> {
    meant.clusters.iter().map(|it| (it.name.clone(), it.replicas)).collect()
}

/// Whether there are more replicas in all than before.
pub(crate) fn grows(decision: &Decision, meant: &Previous) -> bool {
    decision.replicas() > meant.clusters.iter().filter_map(|it| it.replicas).sum()
}

/// Whether new copies take the place of something lost, or nothing that is meant runs anywhere: those wait for no wave.
pub(crate) fn replaces(
    index: &Index,
    placed: Option<&Placed>,
    previous: &PlacementSpec,
    target: &Target,
    lost: &BTreeSet<String>,
) -> bool {
    let runs = |name: &str| index.clusters.get(name).is_some_and(|it| is_ready(it));
    let mut meant = previous.clusters.iter().filter(|it| it.leaving.is_empty());
    let mut left = previous.clusters.iter().filter(|it| !target.clusters.contains_key(&it.name));
    // What was replaced once is left there only as long as its cluster does not answer.
    let is_due = |it: &PlacedCluster| match it.leaving.as_str() {
        "" => lost.contains(&it.name),
        cause => cause == cause::FAILOVER && previous.outcome.status != "True",
    };
    left.any(is_due)
        // Some cluster was forgotten just now.
        || placed.is_some_and(|it| it.spec.clusters.len() > previous.clusters.len())
        || !meant.any(|it| runs(&it.name))
}

/// The decision as far as it is begun while new copies wait: what would be left for them stays as it is. The parts of a
/// divided workload are moved together.
pub(crate) fn hold_back(
    target: &Target,
    release: &Release,
    meant: &Previous,
    divided: bool,
) -> Target {
    let mut clusters = stay(meant);
    if !divided {
        let begun = target.clusters.iter().filter(|it| !release.holds(it.0));
        clusters.extend(begun.map(|(name, replicas)| (name.clone(), *replicas)));
    }
    Target { clusters, revision: target.revision.clone() }
}

/// A decision that is not carried out yet: an edit that led to it is still one when it is. `known`: the policy by which
/// the template was decided before.
pub(crate) fn not_done(index: &mut Index, key: &ObjectKey, known: Option<u64>) {
    match known {
        Some(known) => drop(index.decided.insert(key.clone(), known)),
        None => drop(index.decided.remove(key)),
    }
}

/// What a Placement says of the waves in which a change is released.
pub(crate) fn say(spec: &mut PlacementSpec, release: &Release) {
    spec.rollout.clone_from(&release.note);
    if let Some(outcome) = release.outcome.as_ref().filter(|_| spec.outcome.status == "True") {
        spec.outcome.clone_from(outcome);
    }
}
