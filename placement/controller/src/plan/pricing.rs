//! What a plan costs: each template before and after, and those that stay where they are and cost something else.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    names::ObjectKey,
    review::plan::{Cost, TemplateChange},
};
use placement_engine::{Fleet, PreviousCluster};

use super::{Draft, Spec};
use crate::{index::Index, snapshot::Snapshots, spending::Priced};

/// Sets the costs of a template and of each change; figures that have to say something beside them say it in `notes`.
pub(super) fn price(
    change: &mut TemplateChange,
    old: Option<&Spec>,
    new: Option<&Spec>,
    priced: (Option<&Priced<'_>>, Option<&Priced<'_>>),
    fleets: (&Fleet, &Fleet),
    notes: &mut BTreeSet<String>,
) {
    let (before, least_before) = costs(old, false, priced.0, fleets.0, notes);
    let (after, least_after) = costs(new, true, priced.1, fleets.1, notes);
    for it in &mut change.changes {
        it.cost = Cost {
            before_micros: before.get(&it.cluster).copied().unwrap_or(0),
            after_micros: after.get(&it.cluster).copied().unwrap_or(0),
            at_least: least_before || least_after,
        };
    }
    change.cost = Cost {
        before_micros: before.values().sum(),
        after_micros: after.values().sum(),
        at_least: least_before || least_after,
    };
}

/// µ$ per month by cluster; and whether some price is unknown. `meant`: without the copies that are to go.
fn costs(
    spec: Option<&Spec>,
    meant: bool,
    priced: Option<&Priced<'_>>,
    fleet: &Fleet,
    notes: &mut BTreeSet<String>,
) -> (BTreeMap<String, i64>, bool) {
    let mut found = BTreeMap::new();
    let mut at_least = false;
    let (Some(spec), Some(priced)) = (spec, priced) else { return (found, at_least) };
    for it in spec.clusters.iter().filter(|it| !meant || it.leaving.is_empty()) {
        if fleet.id(&it.name).is_none() {
            continue;
        }
        let here = PreviousCluster { name: it.name.clone(), replicas: it.replicas, spot: it.spot };
        let estimate = priced.estimate(fleet, &[here]);
        at_least |= estimate.at_least;
        notes.extend(estimate.notes());
        found.insert(it.name.clone(), estimate.monthly.0);
    }
    (found, at_least)
}

/// What stays where it is and costs something else: prices or clusters have changed.
pub(super) fn reprice(
    before: &Index,
    after: &Index,
    fleets: (&Fleet, &Fleet),
    [compiled, recompiled]: &mut [Snapshots; 2],
    draft: &mut Draft,
) {
    let listed: BTreeSet<&ObjectKey> = draft.entries.iter().map(|it| &it.key).collect();
    let mut repriced = Vec::new();
    for (key, placed) in &before.placements {
        if listed.contains(key) {
            continue;
        }
        let (was, is) = (Priced::of(before, compiled, key), Priced::of(after, recompiled, key));
        let mut change = TemplateChange::default();
        let now = after.placements.get(key).map(|it| &it.spec);
        let priced = (was.as_ref(), is.as_ref());
        price(&mut change, Some(&placed.spec), now, priced, fleets, &mut draft.notes);
        if change.cost.before_micros != change.cost.after_micros {
            let api_version = placed.spec.template.api_version.clone();
            repriced.push((key.clone(), api_version, change.cost));
        }
    }
    draft.repriced = repriced;
}
