//! From the reports of the copies to the status of the Placement and of the template (RULES 4.6).

use std::{collections::BTreeMap, sync::Arc};

use federation_types::{
    condition::{self, Condition},
    placement::{
        CopyState, CopyStatus, Decision, PlacedCluster, PlacedRollout, PlacementSpec,
        PlacementStatus, Summary,
    },
    reason::{condition as kind, copy, rollout as reason},
    words::counted,
};

use crate::health::Health;

mod template;

pub(crate) use template::standing_condition;
pub use template::{Fold, has_status, numbers_of, status_patch, template_status};

/// Above so many clusters only those that are not Ready are listed.
const LISTED: usize = 500;

/// What the agent of one cluster says of one copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CopyReport {
    pub state: CopyState,
    pub reason: String,
    pub message: String,
    /// The revision that the member last accepted; empty: none.
    pub revision: String,
    /// The member holds exactly what the Placement wants.
    pub current: bool,
    /// As last seen; none: there is no copy.
    pub health: Option<Arc<Health>>,
    /// Who else has taken over the number of replicas (RULES 4.5).
    pub scaled_by: Option<String>,
    /// The cluster does not answer; the rest is its last word.
    pub stale: bool,
    /// For a cluster in `removing`: the copy was seen gone.
    pub gone: bool,
}

/// Reports by cluster.
pub type Reports = BTreeMap<String, CopyReport>;

/// The status of a Placement. Equal input gives an equal status: times move only with the states that they are about.
pub fn placement_status(
    spec: &PlacementSpec,
    generation: i64,
    reports: &Reports,
    previous: &PlacementStatus,
    now: &str,
) -> PlacementStatus {
    let none = CopyReport::default();
    let mut copies: Vec<CopyStatus> = Vec::new();
    for placed in &spec.clusters {
        let report = reports.get(&placed.name).unwrap_or(&none);
        copies.push(copy_status(&placed.name, report, report.state));
    }
    for removed in &spec.removing {
        let report = reports.get(&removed.name).unwrap_or(&none);
        // Nothing but a copy seen gone takes the entry away: it is what keeps the tombstone.
        if !report.gone {
            copies.push(copy_status(&removed.name, report, CopyState::Removing));
        }
    }
    copies.sort_by(|a, b| a.name.cmp(&b.name));
    copies.dedup_by(|a, b| a.name == b.name);
    for copy in &mut copies {
        let before = previous.clusters.iter().find(|it| it.name == copy.name);
        let since = before.filter(|it| it.state == copy.state).map(|it| it.since.as_str());
        since.filter(|it| !it.is_empty()).unwrap_or(now).clone_into(&mut copy.since);
    }

    let placed = |copy: &&CopyStatus| spec.clusters.iter().any(|it| it.name == copy.name);
    let is_ready = |copy: &&CopyStatus| copy.state == CopyState::Ready && !copy.stale;
    let summary = Summary {
        clusters: count(spec.clusters.len()),
        ready: count(copies.iter().filter(placed).filter(is_ready).count()),
        replicas: copies.iter().filter_map(|it| it.replicas).sum(),
        ready_replicas: copies.iter().filter_map(|it| it.ready_replicas).sum(),
    };
    let mut conditions = previous.conditions.clone();
    let dependencies = spec.dependencies.as_ref();
    if dependencies.is_none() {
        conditions.retain(|it| it.kind != kind::DEPENDENCIES_MET);
    }
    let dependencies = dependencies
        .map(|it| condition_of(kind::DEPENDENCIES_MET, &it.status, &it.reason, &it.message));
    for condition in [
        placed_condition(spec),
        synced_condition(spec, reports),
        ready_condition(spec, &summary, &copies),
    ]
    .into_iter()
    .chain(dependencies)
    {
        let condition = Condition { observed_generation: Some(generation), ..condition };
        condition::set(&mut conditions, condition, now);
    }
    let mut left_out = BTreeMap::new();
    if copies.len() > LISTED {
        // One that lags behind what was released to it is listed, however ready it is.
        let given: BTreeMap<&str, &str> =
            spec.clusters.iter().map(|it| (it.name.as_str(), it.revision.as_str())).collect();
        let current = |it: &CopyStatus| given.get(it.name.as_str()) == Some(&it.revision.as_str());
        copies.retain(|it| {
            let stays = it.state != CopyState::Ready || !current(it);
            if !stays {
                left_out.insert(it.name.clone(), it.revision.clone());
            }
            stays
        });
    }
    let decision = |it: &PlacedCluster| Decision {
        cluster_name: it.name.clone(),
        revision: left_out.remove(&it.name).unwrap_or_default(),
    };
    let decisions = spec.clusters.iter().map(decision).collect();
    PlacementStatus {
        observed_generation: Some(generation),
        conditions,
        summary,
        clusters: copies,
        decisions,
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn copy_status(name: &str, report: &CopyReport, state: CopyState) -> CopyStatus {
    let health = report.health.as_ref();
    let ready = health.and_then(|it| it.ready).map(|it| if report.stale { 0 } else { it });
    CopyStatus {
        name: name.to_owned(),
        state,
        replicas: health.and_then(|it| it.replicas),
        ready_replicas: ready,
        scaled_by: report.scaled_by.clone().unwrap_or_default(),
        revision: report.revision.clone(),
        reason: report.reason.clone(),
        message: report.message.clone(),
        since: String::new(),
        stale: report.stale,
    }
}

fn placed_condition(spec: &PlacementSpec) -> Condition {
    let outcome = &spec.outcome;
    let (status, reason) = if outcome.status.is_empty() {
        let placed = !spec.clusters.is_empty();
        (if placed { "True" } else { "Unknown" }, if placed { "Placed" } else { "Pending" })
    } else {
        (outcome.status.as_str(), outcome.reason.as_str())
    };
    condition_of(kind::PLACED, status, reason, &outcome.message)
}

/// The rollout that some cluster, or the decision itself, still waits for.
fn waiting(spec: &PlacementSpec) -> Option<&PlacedRollout> {
    let rollout = spec.rollout.as_ref()?;
    (behind(spec, rollout) || rollout.reason != reason::SOAKING).then_some(rollout)
}

/// Whether some cluster was not given the revision that is released.
fn behind(spec: &PlacementSpec, rollout: &PlacedRollout) -> bool {
    let meant = spec.clusters.iter().filter(|it| it.leaving.is_empty());
    meant.into_iter().any(|it| it.revision != rollout.revision)
}

fn condition_of(kind: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        ..Condition::default()
    }
}

fn synced_condition(spec: &PlacementSpec, reports: &Reports) -> Condition {
    if let Some((cluster, report)) = refusal(spec, reports) {
        let message = sentence(cluster, report);
        return condition_of(kind::SYNCED, "False", &report.reason, &message);
    }
    let behind: Vec<&str> = spec
        .clusters
        .iter()
        .map(|it| it.name.as_str())
        .filter(|it| reports.get(*it).is_none_or(|report| !report.current))
        .collect();
    let leaving = spec.removing.iter().filter(|it| reports.get(&it.name).is_none_or(|it| !it.gone));
    if let Some(rollout) = waiting(spec).filter(|_| behind.is_empty()) {
        condition_of(kind::SYNCED, "False", &rollout.reason, &rollout.message)
    } else if let Some(first) = behind.first() {
        let all = counted(spec.clusters.len(), "cluster", "clusters");
        let message = format!("{} of {all} to go, {first} first", behind.len());
        let reason = reports.get(*first).map_or("", |it| it.reason.as_str());
        let reason = if reason.is_empty() { "Pending" } else { reason };
        condition_of(kind::SYNCED, "False", reason, &message)
    } else if leaving.count() > 0 {
        condition_of(kind::SYNCED, "False", "Removing", "")
    } else {
        condition_of(kind::SYNCED, "True", "Synced", "")
    }
}

/// The first copy that cannot come forward by itself; every refusal names its cluster.
fn refusal<'a>(spec: &'a PlacementSpec, reports: &'a Reports) -> Option<(&'a str, &'a CopyReport)> {
    let stuck = |report: &CopyReport| {
        matches!(report.state, CopyState::Refused | CopyState::Conflict | CopyState::Held)
    };
    spec.clusters
        .iter()
        .filter_map(|it| Some((it.name.as_str(), reports.get(&it.name)?)))
        .find(|(_, report)| stuck(report))
}

fn sentence(cluster: &str, report: &CopyReport) -> String {
    if report.message.is_empty() {
        format!("{cluster}: {}", report.reason)
    } else {
        format!("{cluster}: {}", report.message)
    }
}

fn ready_condition(spec: &PlacementSpec, summary: &Summary, copies: &[CopyStatus]) -> Condition {
    if summary.clusters > 0 && summary.ready == summary.clusters {
        return condition_of(kind::READY, "True", "Ready", "");
    }
    let worst = copies
        .iter()
        .filter(|it| spec.clusters.iter().any(|placed| placed.name == it.name))
        .filter(|it| it.state != CopyState::Ready || it.stale)
        .max_by_key(|it| it.state);
    match worst {
        None => condition_of(kind::READY, "False", "NoCluster", "no cluster holds a copy"),
        Some(copy) => {
            let reason = if copy.reason.is_empty() {
                format!("{:?}", copy.state)
            } else {
                copy.reason.clone()
            };
            let detail = if copy.message.is_empty() { &reason } else { &copy.message };
            let all = counted(summary.clusters, "cluster", "clusters");
            let message = format!("{} of {all} ready; {}: {detail}", summary.ready, copy.name);
            condition_of(kind::READY, "False", &reason, &message)
        }
    }
}

pub(crate) fn placed<'a>(
    spec: &'a PlacementSpec,
    reports: &'a Reports,
) -> impl Iterator<Item = (&'a str, Option<&'a CopyReport>)> {
    spec.clusters.iter().map(|it| (it.name.as_str(), reports.get(&it.name)))
}

/// The report of a copy whose cluster does not answer: its last word, marked stale.
pub fn unreachable(last: &CopyReport, why: &str) -> CopyReport {
    CopyReport {
        state: CopyState::Unreachable,
        reason: copy::UNREACHABLE.to_owned(),
        message: why.to_owned(),
        stale: true,
        ..last.clone()
    }
}

#[cfg(test)]
mod tests;
