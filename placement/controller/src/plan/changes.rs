//! What happens to each copy of one template, why, and what holds it.

use std::sync::Arc;

use federation_types::{
    names::ObjectKey,
    placement::PlacedCluster,
    reason::{cause, condition::PROGRESSING, copy::UNREACHABLE, placed as reason},
    review::plan::{Action, ClusterChange},
};

use super::moves;
use crate::{dry_run::DryRun, gate::Hold, index::Index, members::is_ready};

/// From the copies that stand to those that are meant, by cluster.
pub(super) fn of(run: &DryRun, key: &ObjectKey, before: &Index) -> Vec<ClusterChange> {
    let empty = Vec::new();
    let clusters = |index: &Index| index.placements.get(key).map(Arc::clone);
    let (old, new) = (clusters(before), clusters(&run.index));
    let old = old.as_ref().map_or(&empty, |it| &it.spec.clusters);
    let new = new.as_ref().map_or(&empty, |it| &it.spec.clusters);
    let sum = |of: &[PlacedCluster]| -> i64 {
        let meant = of.iter().filter(|it| it.leaving.is_empty());
        meant.filter_map(|it| it.replicas).sum()
    };
    let (total_before, total_after) = (sum(old), sum(new));
    let mut found = Vec::new();
    for was in old {
        let is = new.iter().find(|it| it.name == was.name);
        let change = ClusterChange {
            cluster: was.name.clone(),
            replicas_before: was.replicas,
            ..ClusterChange::default()
        };
        match is {
            None => {
                let known = run.causes.get(&(key.clone(), was.name.clone()));
                let cause = known.cloned().unwrap_or_else(|| cause::CLUSTER_LEAVING.to_owned());
                found.push(ClusterChange { action: Action::Remove, cause, ..change });
            }
            // It waits already.
            Some(is) if !is.leaving.is_empty() && !was.leaving.is_empty() => (),
            Some(is) if !is.leaving.is_empty() => found.push(ClusterChange {
                action: Action::Remove,
                cause: is.leaving.clone(),
                held: held(run, key, &was.name),
                ..change
            }),
            // Whether its replicas are decided at all has changed: how many there were, or will be, is for its kind to say.
            Some(is) if is.replicas.is_some() != was.replicas.is_some() => {
                found.push(ClusterChange {
                    action: Action::Update,
                    replicas_after: is.replicas,
                    ..change
                });
            }
            Some(is) if is.replicas != was.replicas => found.push(ClusterChange {
                action: Action::Resize,
                replicas_after: is.replicas,
                cause: match total_after.cmp(&total_before) {
                    std::cmp::Ordering::Greater => cause::SCALED_UP.to_owned(),
                    std::cmp::Ordering::Less => cause::SCALED_DOWN.to_owned(),
                    std::cmp::Ordering::Equal => String::new(),
                },
                ..change
            }),
            Some(is) if is.revision != was.revision => found.push(ClusterChange {
                action: Action::Update,
                replicas_after: is.replicas,
                cause: cause::CONTENT_CHANGED.to_owned(),
                ..change
            }),
            Some(_) => (),
        }
    }
    for is in new.iter().filter(|it| !old.iter().any(|was| was.name == it.name)) {
        // What came and is to go again within one plan never was.
        if !is.leaving.is_empty() {
            continue;
        }
        found.push(ClusterChange {
            cluster: is.name.clone(),
            action: Action::Add,
            replicas_after: is.replicas,
            ..ClusterChange::default()
        });
    }
    for it in found.iter_mut().filter(|it| it.action != Action::Remove) {
        // Decided all the same: it reaches the cluster after the thaw.
        if run.is_frozen(key, &it.cluster) {
            reason::FROZEN.clone_into(&mut it.held);
        }
    }
    if let Some(staged) = run.staged.get(key) {
        for it in found.iter_mut().filter(|it| it.action != Action::Remove) {
            it.wave = staged.waves.get(&it.cluster).cloned().unwrap_or_default();
        }
    }
    moves::say_chosen(run, key, &mut found);
    let follows = run.index.placements.get(key).is_some_and(|it| !it.spec.follows.is_empty());
    for it in found.iter_mut().filter(|it| follows && it.action == Action::Add) {
        cause::NEEDED.clone_into(&mut it.cause);
    }
    // What is added or made larger in the place of something that goes has its cause.
    let moved = found.iter().find(|it| it.action == Action::Remove).map(|it| it.cause.clone());
    for it in found.iter_mut().filter(|it| it.cause.is_empty()) {
        it.cause = match (&moved, it.action) {
            (Some(cause), _) => cause.clone(),
            (None, Action::Add) if total_after > total_before && total_before > 0 => {
                cause::SCALED_UP.to_owned()
            }
            (None, Action::Add) => cause::PLACED.to_owned(),
            (None, _) => cause::POLICY_CHANGED.to_owned(),
        };
    }
    found.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    found
}

/// What keeps a copy that is to go.
fn held(run: &DryRun, key: &ObjectKey, cluster: &str) -> String {
    let answers = run.index.clusters.get(cluster).is_some_and(|it| is_ready(it));
    match run.holds.get(key) {
        Some(Hold::Frozen) => reason::FROZEN,
        Some(Hold::BudgetSpent) => reason::BUDGET,
        Some(Hold::FleetDark) => reason::FLEET_DARK,
        None if !answers => UNREACHABLE,
        // What is to come in its place does not come up before the thaw.
        None if run.is_stopped(key) => reason::FROZEN,
        None => PROGRESSING,
    }
    .to_owned()
}
