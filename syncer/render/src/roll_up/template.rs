//! The status of a template itself: what its kind's own controllers would say of all copies together (RULES 4.6).

use federation_types::{
    names::Gvk,
    placement::{CopyState, PlacementSpec},
    reason::{condition as kind, rollout as reason},
};
use serde_json::{Map, Value, json};
use status_rules::Keep;

use super::{CopyReport, Reports, behind, placed, refusal, sentence, waiting};
use crate::{
    health::{DEADLINE, FAILED, OBSERVED},
    kept::{self, kept_status},
};

/// How a number of `.status` is taken together over the copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Divided: the sum; Duplicated: the lowest. Kept while the cluster is silent.
    Count,
    /// The same, and 0 while the cluster is silent.
    Live,
    /// Divided: the sum; Duplicated: the highest.
    Bad,
    /// The sum, whatever the mode: each cluster has a number of its own.
    Sum,
    /// The sum, and 0 while the cluster is silent.
    LiveSum,
}

/// The numbers of a kind's `.status` that are rolled up.
pub fn numbers_of(gvk: &Gvk) -> &'static [(&'static str, Fold)] {
    use Fold::{Bad, Count, Live, LiveSum, Sum};
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("apps", "Deployment") => &[
            ("replicas", Count),
            ("updatedReplicas", Count),
            ("readyReplicas", Live),
            ("availableReplicas", Live),
            ("unavailableReplicas", Bad),
        ],
        ("apps", "StatefulSet") => &[
            ("replicas", Count),
            ("currentReplicas", Count),
            ("updatedReplicas", Count),
            ("readyReplicas", Live),
            ("availableReplicas", Live),
        ],
        ("apps", "ReplicaSet") | ("", "ReplicationController") => &[
            ("replicas", Count),
            ("fullyLabeledReplicas", Count),
            ("readyReplicas", Live),
            ("availableReplicas", Live),
        ],
        ("apps", "DaemonSet") => &[
            ("desiredNumberScheduled", Sum),
            ("currentNumberScheduled", Sum),
            ("updatedNumberScheduled", Sum),
            ("numberMisscheduled", Sum),
            ("numberReady", LiveSum),
            ("numberAvailable", LiveSum),
            ("numberUnavailable", Sum),
        ],
        ("batch", "Job") => {
            &[("active", Count), ("ready", Live), ("succeeded", Count), ("failed", Bad)]
        }
        _ => &[],
    }
}

/// Whether the copies of a kind make a status of the template.
pub fn has_status(gvk: &Gvk, keep: &[Keep]) -> bool {
    !keep.is_empty() || !numbers_of(gvk).is_empty() || is_balanced(gvk)
}

/// Kinds whose status is the addresses that each cluster gave them.
fn is_balanced(gvk: &Gvk) -> bool {
    matches!(
        (gvk.group.as_str(), gvk.kind.as_str()),
        ("", "Service") | ("networking.k8s.io", "Ingress")
    )
}

/// The template's own `.status`, or none for kinds whose status means nothing outside one cluster. Of a custom kind it is
/// what its rule keeps.
pub fn template_status(
    gvk: &Gvk,
    spec: &PlacementSpec,
    reports: &Reports,
    previous: &Value,
    keep: &[Keep],
    now: &str,
) -> Option<Value> {
    if !keep.is_empty() {
        return Some(custom(spec, reports, previous, keep, now));
    }
    let numbers = numbers_of(gvk);
    let balanced = is_balanced(gvk);
    if numbers.is_empty() && !balanced {
        return None;
    }
    // What runs nowhere has nothing to say but why.
    if spec.clusters.is_empty() && (balanced || spec.outcome.status != "False") {
        return None;
    }
    let mut status = Map::new();
    if balanced {
        let mut union: Vec<&Value> = Vec::new();
        for ingress in
            placed(spec, reports).filter_map(|it| it.1?.health.as_ref()).flat_map(|it| &it.ingress)
        {
            if !union.contains(&ingress) {
                union.push(ingress);
            }
        }
        let balancer = if union.is_empty() { json!({}) } else { json!({ "ingress": union }) };
        status.insert("loadBalancer".to_owned(), balancer);
        return Some(Value::Object(status));
    }
    for (name, fold) in numbers {
        status.insert((*name).to_owned(), json!(number(name, *fold, spec, reports)));
    }
    match gvk.kind.as_str() {
        "Job" => job(&mut status, spec, reports, previous, now),
        "Deployment" => {
            observed(&mut status, spec, reports, previous);
            let conditions = deployment_conditions(spec, reports, previous, now);
            status.insert("conditions".to_owned(), conditions);
        }
        _ => observed(&mut status, spec, reports, previous),
    }
    unplaced(&mut status, spec, previous, now);
    Some(Value::Object(status))
}

fn custom(
    spec: &PlacementSpec,
    reports: &Reports,
    previous: &Value,
    keep: &[Keep],
    now: &str,
) -> Value {
    let mut status = kept_status(keep, spec, reports, previous, now);
    let says_observed = |report: &CopyReport| {
        report.health.as_ref().is_some_and(|it| kept::find(&it.kept, &OBSERVED).is_some())
    };
    if placed(spec, reports).any(|(_, it)| it.is_some_and(says_observed)) {
        observed(&mut status, spec, reports, previous);
    }
    // Where its operator has no conditions, the definition may well have none.
    if keep.iter().any(|it| it.path.names().eq(["status", "conditions"])) {
        unplaced(&mut status, spec, previous, now);
    }
    Value::Object(status)
}

/// A merge patch that makes one status the other: what is gone is taken away.
pub fn status_patch(before: &Value, after: &Value) -> Value {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        return after.clone();
    };
    let gone = old.keys().filter(|it| !new.contains_key(*it));
    let mut patch: Map<String, Value> = gone.map(|it| (it.clone(), Value::Null)).collect();
    for (name, value) in new {
        let before = old.get(name).unwrap_or(&Value::Null);
        patch.insert(name.clone(), status_patch(before, value));
    }
    Value::Object(patch)
}

fn number(name: &str, fold: Fold, spec: &PlacementSpec, reports: &Reports) -> i64 {
    let of = |report: Option<&CopyReport>| {
        let Some(report) = report else { return 0 };
        if report.stale && matches!(fold, Fold::Live | Fold::LiveSum) {
            return 0;
        }
        let numbers = report.health.as_ref().map_or(&[][..], |it| &it.numbers);
        numbers.iter().find(|(it, _)| *it == name).map_or(0, |(_, value)| *value)
    };
    let values = placed(spec, reports).map(|(_, report)| of(report));
    match fold {
        Fold::Sum | Fold::LiveSum => values.sum(),
        Fold::Count | Fold::Live | Fold::Bad if spec.divided => values.sum(),
        Fold::Count | Fold::Live => values.min().unwrap_or(0),
        Fold::Bad => values.max().unwrap_or(0),
    }
}

/// The generation of the template counts as observed only when every copy that is wanted was observed in it.
fn observed(
    status: &mut Map<String, Value>,
    spec: &PlacementSpec,
    reports: &Reports,
    previous: &Value,
) {
    let before = previous.get("observedGeneration").and_then(Value::as_i64).unwrap_or(0);
    let all = !spec.clusters.is_empty()
        && placed(spec, reports).all(|(_, report)| {
            report.is_some_and(|it| {
                it.current && !it.stale && it.health.as_ref().is_some_and(|it| it.observed)
            })
        });
    // What waits for its wave was observed nowhere.
    let all = all && !spec.rollout.as_ref().is_some_and(|it| behind(spec, it));
    // Where it runs nowhere, nothing is left to be observed.
    let all = all || spec.clusters.is_empty();
    let generation = if all { spec.template.generation } else { before };
    status.insert("observedGeneration".to_owned(), json!(generation));
}

fn deployment_conditions(
    spec: &PlacementSpec,
    reports: &Reports,
    previous: &Value,
    now: &str,
) -> Value {
    let is_available = |report: Option<&CopyReport>| {
        report.is_some_and(|it| !it.stale && it.health.as_ref().is_some_and(|it| it.available))
    };
    let lacking: Vec<&str> = placed(spec, reports)
        .filter(|(_, report)| !is_available(*report))
        .map(|(name, _)| name)
        .collect();
    let available = if lacking.is_empty() && !spec.clusters.is_empty() {
        ("True", "MinimumReplicasAvailable", "every cluster has its replicas available".to_owned())
    } else if spec.clusters.is_empty() {
        ("False", "MinimumReplicasUnavailable", "it runs in no cluster".to_owned())
    } else {
        let message = format!("replicas are missing in: {}", list(&lacking));
        ("False", "MinimumReplicasUnavailable", message)
    };

    let late = placed(spec, reports).find_map(|(name, report)| {
        let report = report?;
        let health = report.health.as_ref()?;
        (report.state == CopyState::Degraded && health.reason == DEADLINE)
            .then(|| format!("{name}: {}", health.message))
    });
    let done = !spec.clusters.is_empty()
        && placed(spec, reports).all(|(_, report)| {
            report.is_some_and(|it| it.current && !it.stale && it.state == CopyState::Ready)
        });
    let progressing = if let Some((cluster, report)) = refusal(spec, reports) {
        ("False", report.reason.as_str(), sentence(cluster, report))
    } else if spec.clusters.is_empty() {
        ("False", spec.outcome.reason.as_str(), spec.outcome.message.clone())
    } else if let Some(message) = late {
        ("False", DEADLINE, message)
    } else if let Some(rollout) = waiting(spec) {
        // A wave that waits is no timeout (RULES 4.6).
        match rollout.reason.as_str() {
            reason::PROGRESSING => ("True", "ReplicaSetUpdated", rollout.message.clone()),
            reason::ABORTED => ("False", reason::ABORTED, rollout.message.clone()),
            _ => ("True", reason::PAUSED, rollout.message.clone()),
        }
    } else if done {
        ("True", "NewReplicaSetAvailable", "every cluster runs this revision".to_owned())
    } else {
        ("True", "ReplicaSetUpdated", "clusters are on their way to this revision".to_owned())
    };
    let set = |kind: &str, (status, reason, message): (&str, &str, String)| {
        standing_condition(previous, kind, status, reason, &message, now)
    };
    json!([set(kind::AVAILABLE, available), set(kind::PROGRESSING, progressing)])
}

/// A decision that did not come out stands on the template itself, where its author looks, and so does a change that was
/// taken back. What runs nowhere, or not as it is written, is `Stalled` besides: tools that follow kstatus stop waiting.
fn unplaced(status: &mut Map<String, Value>, spec: &PlacementSpec, previous: &Value, now: &str) {
    let outcome = &spec.outcome;
    let failed = outcome.status == "False";
    let aborted = spec.rollout.as_ref().filter(|it| it.reason == reason::ABORTED);
    let mut stated = Vec::new();
    if failed {
        stated.push((kind::PLACED, "False", &outcome.reason, &outcome.message));
    }
    if failed && spec.clusters.is_empty() {
        stated.push((kind::STALLED, "True", &outcome.reason, &outcome.message));
    } else if let Some(rollout) = aborted {
        stated.push((kind::STALLED, "True", &rollout.reason, &rollout.message));
    }
    if stated.is_empty() {
        return;
    }
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    for (kind, is, reason, message) in stated {
        let mut condition = standing_condition(previous, kind, is, reason, message, now);
        if let Some(fields) = condition.as_object_mut() {
            fields.remove("lastUpdateTime");
        }
        if let Some(conditions) = conditions.as_array_mut() {
            conditions.push(condition);
        }
    }
}

fn list(names: &[&str]) -> String {
    match names {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        _ => names.join(", "),
    }
}

/// A condition of a workload's own status; its times move only when it does.
pub(crate) fn standing_condition(
    previous: &Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: &str,
) -> Value {
    let before = previous
        .get("conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|it| it.get("type").and_then(Value::as_str) == Some(kind));
    let text = |name: &str| before.and_then(|it| it.get(name)).and_then(Value::as_str);
    let same_status = text("status") == Some(status);
    let same = same_status && text("reason") == Some(reason) && text("message") == Some(message);
    let transition = text("lastTransitionTime").filter(|_| same_status).unwrap_or(now);
    let update = text("lastUpdateTime").filter(|_| same).unwrap_or(now);
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": transition, "lastUpdateTime": update,
    })
}

fn job(
    status: &mut Map<String, Value>,
    spec: &PlacementSpec,
    reports: &Reports,
    previous: &Value,
    now: &str,
) {
    let health =
        || placed(spec, reports).filter_map(|(name, it)| Some((name, it?.health.as_ref()?)));
    let started = health().map(|(_, it)| it.started.as_str()).filter(|it| !it.is_empty()).min();
    if let Some(started) = started {
        status.insert("startTime".to_owned(), json!(started));
    }
    let failed = health().find(|(_, it)| it.reason == FAILED);
    let complete = !spec.clusters.is_empty()
        && placed(spec, reports)
            .all(|(_, it)| it.is_some_and(|it| it.reason == crate::health::COMPLETED));
    let conditions = |kind: &str, message: &str| {
        let ended = standing_condition(previous, kind, "True", "", message, now);
        let fields = ["type", "status", "message", "lastTransitionTime"];
        let kept: Map<String, Value> = fields
            .iter()
            .filter_map(|it| Some(((*it).to_owned(), ended.get(*it)?.clone())))
            .collect();
        json!([kept])
    };
    if let Some((cluster, health)) = failed {
        let message = format!("{cluster}: {}", health.message);
        status.insert("conditions".to_owned(), conditions("Failed", &message));
    } else if complete {
        let last = health().map(|(_, it)| it.completed.as_str()).max().unwrap_or_default();
        if !last.is_empty() {
            status.insert("completionTime".to_owned(), json!(last));
        }
        status.insert("conditions".to_owned(), conditions("Complete", ""));
    }
}
