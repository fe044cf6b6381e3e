//! Where what follows goes, and where it stays although nothing needs it any more (RULES 1.2): a copy goes only where
//! whoever needed it was seen to leave, and nobody is left who names it.

use std::collections::BTreeSet;

use federation_types::{
    names::{Gvk, ObjectKey, SmolStr},
    placement::{Outcome, PlacedCluster, PlacementSpec},
    reason::{cause, placed},
};
use placement_engine::{
    Decision, Fleet, Outcome as Decided, Placed as PlacedOn, Rule, dependencies::dependencies,
};

use super::{follows, holding, needed_key, user_key};
use crate::{
    claim::Policy,
    index::{Index, Template, template_key},
    outcome::outcome,
    upkeep::drains,
};

/// As long as some cluster is to run an earlier revision, what that one needs is needed too (RULES 1.6).
pub(crate) fn keep_needs(
    policy: &Policy,
    spec: &mut PlacementSpec,
    previous: &PlacementSpec,
    newest: &str,
) {
    if !follows(policy) || spec.clusters.iter().all(|it| it.revision == newest) {
        return;
    }
    for old in &previous.needs {
        let known = spec.needs.iter_mut().find(|it| {
            (&it.api_version, &it.kind, &it.name) == (&old.api_version, &old.kind, &old.name)
        });
        match known {
            Some(it) => it.optional &= old.optional,
            None => spec.needs.push(old.clone()),
        }
    }
    spec.needs.sort();
}

/// The decision for what follows: nowhere but where it is needed; and what it holds there it keeps, whatever keeps new
/// copies away, for it goes after those that need it. The limits that match it hold for it as well (RULES 2.2).
/// What is to be said where that leaves no cluster.
pub(crate) fn bind(
    index: &Index,
    key: &ObjectKey,
    fleet: &Fleet,
    previous: &PlacementSpec,
    decision: &mut Decision,
) -> Option<Outcome> {
    let needed = |name: &str| index.follow.is_needed_on(key, name);
    if decision.outcome.is_placed() {
        decision.clusters.retain(|it| needed(fleet.name(it.cluster)));
    } else {
        decision.clusters.clear();
    }
    let kept = kept(index, key, previous);
    let stays = |it: &&PlacedCluster| needed(&it.name) || kept.contains(it.name.as_str());
    for it in previous.clusters.iter().filter(|it| it.leaving.is_empty()).filter(stays) {
        let Some(cluster) = fleet.id(&it.name) else { continue };
        let rule = decision.report.rules.get(cluster.0 as usize);
        let refused = matches!(rule, Some(Rule::Limit | Rule::Residency | Rule::ClusterSet));
        if !refused && !decision.clusters.iter().any(|it| it.cluster == cluster) {
            decision.clusters.push(PlacedOn { cluster, replicas: it.replicas });
        }
    }
    decision.clusters.sort_by_key(|it| it.cluster);
    decision.outcome = Decided::Placed;
    decision.clusters.is_empty().then(|| {
        let message = "no cluster where it is needed may hold it now".to_owned();
        outcome("False", placed::NO_CLUSTER_FITS, message)
    })
}

/// The clusters where nothing needs it, and where it stays: it did not come there for the sake of those that need it, or
/// one of them is there still, or another that names it. A cluster that leaves is not held up by that.
fn kept<'a>(index: &Index, key: &ObjectKey, previous: &'a PlacementSpec) -> BTreeSet<&'a str> {
    let meant = previous.clusters.iter().filter(|it| it.leaving.is_empty());
    let mut left: Vec<&PlacedCluster> = meant
        .filter(|it| !index.follow.is_needed_on(key, &it.name) && !drains(index, &it.name))
        .collect();
    if !previous.follows.is_empty() && left.iter().any(|it| !it.kept) {
        let users = previous.follows.iter().map(|it| user_key(&key.namespace, it));
        let users = users.filter_map(|it| index.placements.get(&it));
        let mut used: BTreeSet<&str> = users.flat_map(|it| holding(&it.spec)).collect();
        used.extend(index.naming(key));
        left.retain(|it| it.kept || used.contains(it.name.as_str()));
    }
    left.into_iter().map(|it| it.name.as_str()).collect()
}

/// Whether everybody for whose sake it was placed is gone: without a copy left, and deleted or claimed by nobody. A
/// kind that is not served, or not listed yet, shows nothing (RULES 1.2). Where others run that name it, it is kept: a
/// Placement tells of the first of its users only.
pub(crate) fn is_forsaken(
    index: &Index,
    key: &ObjectKey,
    template: &Template,
    spec: &mut PlacementSpec,
) -> bool {
    let gone = |user: ObjectKey| {
        if index.placements.get(&user).is_some_and(|it| it.holds_copies()) {
            return false;
        }
        match index.templates.get(&user) {
            Some(it) => it.deleting || index.claim(&user, it).winner.is_none(),
            None => {
                let kind = (user.gvk.group, user.gvk.kind);
                index.kinds.get(&kind).is_some_and(|it| it.synced)
            }
        }
    };
    // Data is not let go because what used it is gone (RULES 3.4).
    let forsaken = !template.workload.is_claim()
        && index.follow.clusters(key).next().is_none()
        && !spec.follows.is_empty()
        && spec.follows.iter().all(|it| gone(user_key(&key.namespace, it)));
    if forsaken && spec.clusters.iter().any(|it| !it.kept) {
        let used: BTreeSet<&str> = index.naming(key).collect();
        for it in &mut spec.clusters {
            it.kept |= it.leaving.is_empty() && used.contains(it.name.as_str());
        }
    }
    forsaken && (spec.clusters.is_empty() || spec.clusters.iter().any(|it| !it.kept))
}

/// Nothing takes it along any more: what was about to go from everywhere with its users stays.
pub(crate) fn stay(spec: &mut PlacementSpec) {
    if spec.clusters.iter().all(|it| it.leaving == cause::USER_GONE) {
        for it in &mut spec.clusters {
            it.leaving.clear();
            it.unreplaced = false;
        }
    }
}

impl Index {
    /// The clusters of all templates that name it, whether they take it along or not. Many are looked at: to be asked
    /// only where a copy is about to go.
    fn naming<'a>(&'a self, key: &'a ObjectKey) -> impl Iterator<Item = &'a str> {
        let kinds = self.kinds.keys().map(|(group, kind)| {
            let version = SmolStr::default();
            Gvk { group: group.clone(), version, kind: kind.clone() }
        });
        let all = kinds.flat_map(move |gvk| {
            let first = template_key(&gvk, &key.namespace, "");
            let same = move |it: &ObjectKey| it.gvk == gvk && it.namespace == key.namespace;
            self.placements.range(first..).take_while(move |it| same(it.0))
        });
        let names = move |user: &ObjectKey| {
            let template = self.templates.get(user).filter(|_| user != key);
            let template = template.filter(|it| it.content.contains(key.name.as_str()));
            let content = template.and_then(|it| serde_json::from_str(&it.content).ok());
            content.is_some_and(|it| {
                let all = dependencies(&it, &self.reading.rules);
                all.iter().any(|it| needed_key(&key.namespace, it) == *key)
            })
        };
        let there = all.filter(|(_, placed)| placed.holds_copies());
        there.filter(move |it| names(it.0)).flat_map(|it| holding(&it.1.spec))
    }
}

/// What is said of a template that no policy claims.
pub(crate) fn unclaimed(spec: &PlacementSpec, forsaken: bool) -> Outcome {
    let (reason, message) = if forsaken {
        (placed::USER_GONE, "what needed it is gone, and its copies go too")
    } else if spec.follows.is_empty() {
        (
            placed::POLICY_GONE,
            "no policy claims it any more; its copies stay until one does, or it is deleted",
        )
    } else {
        (
            placed::POLICY_GONE,
            "nothing takes it along any more; its copies stay until something does, a policy claims it, or it is deleted",
        )
    };
    outcome("Unknown", reason, message.to_owned())
}
