//! How a live object fares, kind by kind: what a watch event is reduced to before it is kept.

use std::sync::{Arc, LazyLock};

use federation_types::{field_path::FieldPath, names::Gvk, placement::CopyState, reason::copy};
use serde_json::Value;
use status_rules::{Rule, Rules};

/// What is kept of a live object's status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// `Ready`, `Progressing` or `Degraded`.
    pub state: CopyState,
    pub reason: String,
    pub message: String,
    /// The member's controller has seen the latest spec.
    pub observed: bool,
    /// A Deployment's own condition `Available`.
    pub available: bool,
    pub replicas: Option<i64>,
    pub ready: Option<i64>,
    /// Numbers of `.status` that are rolled up, by the table of the kind in [`crate::roll_up`].
    pub numbers: Vec<(&'static str, i64)>,
    /// What the rule of a custom kind keeps of `.status`.
    pub kept: Vec<(Arc<FieldPath>, Value)>,
    /// `status.loadBalancer.ingress` of Services and Ingresses.
    pub ingress: Vec<Value>,
    /// When a Job began and ended, RFC 3339.
    pub started: String,
    pub completed: String,
}

/// The reason of a Job or Pod that ran to its end.
pub const COMPLETED: &str = "Completed";
/// The reason of a Job or Pod that failed.
pub const FAILED: &str = "Failed";
/// What a Deployment says that does not come forward.
pub const DEADLINE: &str = "ProgressDeadlineExceeded";

/// Reads a live object, one of a custom kind by its rule.
pub fn assess(gvk: &Gvk, live: &Value, rules: &Rules) -> Health {
    let mut health = match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("apps", "Deployment") => deployment(live),
        ("apps", "StatefulSet") => stateful_set(live),
        ("apps", "DaemonSet") => daemon_set(live),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replica_set(live),
        ("batch", "Job") => job(live),
        ("", "Pod") => pod(live),
        ("", "Service") => service(live),
        ("", "PersistentVolumeClaim") => claim(live),
        ("", "Namespace") => namespace(live),
        ("networking.k8s.io", "Ingress") => Health { ingress: ingress(live), ..Health::ready() },
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(live),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(live),
        _ => match rules.find(gvk) {
            Some(rule) => ruled(rule, live),
            None => other(live),
        },
    };
    for (field, _) in crate::roll_up::numbers_of(gvk) {
        let found = health.numbers.iter().any(|(name, _)| name == field);
        if !found {
            health.numbers.push((field, number(live, field).unwrap_or(0)));
        }
    }
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        health.state = CopyState::Progressing;
        health.reason = copy::TERMINATING.to_owned();
    }
    health
}

impl Health {
    fn ready() -> Self {
        Self { state: CopyState::Ready, observed: true, ..Self::default() }
    }

    fn of(state: CopyState, reason: &str, message: &str) -> Self {
        Self {
            state,
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed: true,
            ..Self::default()
        }
    }

    fn with_replicas(mut self, live: &Value, replicas: &str, ready: &str, observed: bool) -> Self {
        self.replicas = Some(number(live, replicas).unwrap_or(0));
        self.ready = Some(number(live, ready).unwrap_or(0));
        self.observed = observed;
        self
    }
}

fn number(live: &Value, field: &str) -> Option<i64> {
    live.get("status")?.get(field)?.as_i64()
}

fn wanted(live: &Value) -> i64 {
    live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

/// Whether the controller has seen the latest spec; kinds that do not say count as seen.
fn observed(live: &Value) -> bool {
    let generation = live.pointer("/metadata/generation").and_then(Value::as_i64);
    match (number(live, "observedGeneration"), generation) {
        (Some(observed), Some(generation)) => observed >= generation,
        _ => true,
    }
}

/// For kinds whose controller always says what it has seen: silence means that it has seen nothing.
fn observed_strictly(live: &Value) -> bool {
    let generation = live.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    number(live, "observedGeneration").unwrap_or(0) >= generation
}

struct Found<'a> {
    status: &'a str,
    reason: &'a str,
    message: &'a str,
}

fn condition<'a>(live: &'a Value, kind: &str) -> Option<Found<'a>> {
    let conditions = live.pointer("/status/conditions")?.as_array()?;
    let found =
        conditions.iter().find(|it| it.get("type").and_then(Value::as_str) == Some(kind))?;
    let text = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or_default();
    Some(Found { status: text("status"), reason: text("reason"), message: text("message") })
}

fn deployment(live: &Value) -> Health {
    let count = |field: &str| number(live, field).unwrap_or(0);
    let (wanted, seen) = (wanted(live), observed_strictly(live));
    let failure = condition(live, "Progressing")
        .filter(|it| it.reason == DEADLINE)
        .or_else(|| condition(live, "ReplicaFailure").filter(|it| it.status == "True"));
    let updated = count("updatedReplicas");
    let health = if let Some(failure) = failure.filter(|_| seen) {
        Health::of(CopyState::Degraded, failure.reason, failure.message)
    } else if seen
        && updated >= wanted
        && count("replicas") <= updated
        && count("availableReplicas") >= wanted
    {
        Health::ready()
    } else {
        Health::of(CopyState::Progressing, "", "")
    };
    let available = condition(live, "Available").is_some_and(|it| it.status == "True");
    Health { available, ..health }.with_replicas(live, "replicas", "readyReplicas", seen)
}

fn stateful_set(live: &Value) -> Health {
    let count = |field: &str| number(live, field).unwrap_or(0);
    let (wanted, seen) = (wanted(live), observed_strictly(live));
    let partition = live
        .pointer("/spec/updateStrategy/rollingUpdate/partition")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let on_delete =
        live.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete");
    let to_update = if on_delete { 0 } else { (wanted - partition).max(0) };
    let done = seen
        && count("readyReplicas") >= wanted
        && count("replicas") <= wanted
        && count("updatedReplicas") >= to_update;
    let health = if done { Health::ready() } else { Health::of(CopyState::Progressing, "", "") };
    health.with_replicas(live, "replicas", "readyReplicas", seen)
}

fn daemon_set(live: &Value) -> Health {
    let count = |field: &str| number(live, field).unwrap_or(0);
    let (wanted, seen) = (count("desiredNumberScheduled"), observed_strictly(live));
    let done =
        seen && count("updatedNumberScheduled") >= wanted && count("numberAvailable") >= wanted;
    let health = if done { Health::ready() } else { Health::of(CopyState::Progressing, "", "") };
    health.with_replicas(live, "desiredNumberScheduled", "numberReady", seen)
}

fn replica_set(live: &Value) -> Health {
    let count = |field: &str| number(live, field).unwrap_or(0);
    let (wanted, seen) = (wanted(live), observed_strictly(live));
    let failure = condition(live, "ReplicaFailure").filter(|it| it.status == "True");
    let health = if let Some(failure) = failure {
        Health::of(CopyState::Degraded, failure.reason, failure.message)
    } else if seen && count("availableReplicas") >= wanted && count("replicas") <= wanted {
        Health::ready()
    } else {
        Health::of(CopyState::Progressing, "", "")
    };
    health.with_replicas(live, "replicas", "readyReplicas", seen)
}

fn job(live: &Value) -> Health {
    let is_true = |kind: &str| condition(live, kind).filter(|it| it.status == "True");
    let time = |field: &str| {
        live.get("status").and_then(|it| it.get(field)).and_then(Value::as_str).unwrap_or_default()
    };
    let mut health = if is_true("Complete").is_some() {
        Health::of(CopyState::Ready, COMPLETED, "")
    } else if let Some(failed) = is_true("Failed") {
        Health::of(CopyState::Degraded, FAILED, failed.message)
    } else if let Some(suspended) = is_true("Suspended") {
        Health::of(CopyState::Progressing, "Suspended", suspended.message)
    } else {
        Health::of(CopyState::Progressing, "", "")
    };
    time("startTime").clone_into(&mut health.started);
    time("completionTime").clone_into(&mut health.completed);
    health.with_replicas(live, "active", "ready", true)
}

fn pod(live: &Value) -> Health {
    let text = |path: &str| live.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let stuck = live
        .pointer("/status/containerStatuses")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|it| it.pointer("/state/waiting"))
        .map(|it| {
            let text = |name: &str| it.get(name).and_then(Value::as_str).unwrap_or_default();
            (text("reason"), text("message"))
        })
        .find(|(reason, _)| {
            reason.ends_with("BackOff") || reason.starts_with("Err") || reason.ends_with("Error")
        });
    match text("/status/phase") {
        "Succeeded" => Health::of(CopyState::Ready, COMPLETED, ""),
        "Failed" => Health::of(CopyState::Degraded, FAILED, text("/status/message")),
        _ if stuck.is_some() => {
            let (reason, message) = stuck.unwrap_or_default();
            Health::of(CopyState::Degraded, reason, message)
        }
        "Running" if condition(live, "Ready").is_some_and(|it| it.status == "True") => {
            Health::ready()
        }
        _ => Health::of(CopyState::Progressing, "", ""),
    }
}

fn ingress(live: &Value) -> Vec<Value> {
    live.pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

fn service(live: &Value) -> Health {
    let ingress = ingress(live);
    let balanced = live.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer");
    let state = if balanced && ingress.is_empty() {
        Health::of(CopyState::Progressing, "NoAddress", "the load balancer has no address yet")
    } else {
        Health::ready()
    };
    Health { ingress, ..state }
}

fn claim(live: &Value) -> Health {
    match live.pointer("/status/phase").and_then(Value::as_str) {
        Some("Bound") => Health::ready(),
        Some("Lost") => Health::of(CopyState::Degraded, "Lost", "its volume is lost"),
        _ => Health::of(CopyState::Progressing, "Unbound", ""),
    }
}

fn namespace(live: &Value) -> Health {
    match live.pointer("/status/phase").and_then(Value::as_str) {
        Some("Terminating") => Health::of(CopyState::Progressing, copy::TERMINATING, ""),
        _ => Health::ready(),
    }
}

fn autoscaler(live: &Value) -> Health {
    let mut health = match condition(live, "AbleToScale").filter(|it| it.status == "False") {
        Some(stuck) => Health::of(CopyState::Degraded, stuck.reason, stuck.message),
        None => Health::ready(),
    };
    health.replicas = number(live, "currentReplicas");
    health
}

fn definition(live: &Value) -> Health {
    if let Some(taken) = condition(live, "NamesAccepted").filter(|it| it.status == "False") {
        return Health::of(CopyState::Degraded, taken.reason, taken.message);
    }
    if condition(live, "Established").is_some_and(|it| it.status == "True") {
        Health::ready()
    } else {
        Health::of(CopyState::Progressing, "", "")
    }
}

/// Where custom kinds say which generation their operator has seen.
pub(crate) static OBSERVED: LazyLock<Arc<FieldPath>> = LazyLock::new(|| {
    Arc::new(FieldPath::parse(".status.observedGeneration").expect("it is a path"))
});

/// A custom kind, read by its rule; what that leaves out by the conventions.
fn ruled(rule: &Rule, live: &Value) -> Health {
    let reading = rule.read(live);
    let mut health = match reading.health {
        Some(_) if !observed(live) => {
            Health { observed: false, ..Health::of(CopyState::Progressing, "", "") }
        }
        Some((state, reason, message)) => Health::of(state, &reason, &message),
        None => other(live),
    };
    (health.replicas, health.ready, health.kept) = (reading.replicas, reading.ready, reading.kept);
    if let Some(seen) = OBSERVED.get(live).filter(|_| !rule.keep.is_empty()) {
        health.kept.push((Arc::clone(&OBSERVED), seen.clone()));
    }
    health
}

/// Kinds without an entry above, read by the conventions for conditions.
fn other(live: &Value) -> Health {
    if let Some(stalled) = condition(live, "Stalled").filter(|it| it.status == "True") {
        return Health::of(CopyState::Degraded, stalled.reason, stalled.message);
    }
    if !observed(live) {
        return Health { observed: false, ..Health::of(CopyState::Progressing, "", "") };
    }
    let waits = condition(live, "Reconciling")
        .filter(|it| it.status == "True")
        .or_else(|| condition(live, "Ready").filter(|it| it.status != "True"));
    match waits {
        Some(found) => Health::of(CopyState::Progressing, found.reason, found.message),
        None => Health::ready(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "literals read better by value")]
    #[track_caller]
    fn check(api: &str, kind: &str, live: Value, state: CopyState, reason: &str) {
        let health = assess(&Gvk::new(api, kind), &live, &Rules::default());
        assert_eq!((health.state, health.reason.as_str()), (state, reason), "{live}");
    }

    #[test]
    fn a_deployment_is_ready_when_all_its_replicas_are_updated_and_available() {
        let live = |observed: i64, updated: i64, available: i64, condition: Value| {
            json!({
                "metadata": {"generation": 2}, "spec": {"replicas": 3},
                "status": {
                    "observedGeneration": observed, "replicas": 3, "updatedReplicas": updated,
                    "availableReplicas": available, "readyReplicas": available,
                    "conditions": [condition],
                },
            })
        };
        let fine = json!({"type": "Progressing", "status": "True"});
        let late = json!({"type": "Progressing", "status": "False", "reason": DEADLINE});
        let check = |live, state, reason| check("apps/v1", "Deployment", live, state, reason);
        check(live(2, 3, 3, fine.clone()), CopyState::Ready, "");
        check(live(1, 3, 3, fine.clone()), CopyState::Progressing, "");
        check(live(2, 2, 3, fine.clone()), CopyState::Progressing, "");
        check(live(2, 3, 2, fine.clone()), CopyState::Progressing, "");
        check(live(2, 3, 2, late), CopyState::Degraded, DEADLINE);
        let new = json!({"metadata": {"generation": 1}, "spec": {"replicas": 0}});
        check(new, CopyState::Progressing, "");
        let live = live(2, 3, 2, fine);
        let health = assess(&Gvk::new("apps/v1", "Deployment"), &live, &Rules::default());
        assert_eq!((health.replicas, health.ready, health.observed), (Some(3), Some(2), true));
    }

    #[test]
    fn jobs_and_pods_end() {
        let job =
            |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "True"}]}});
        check("batch/v1", "Job", job("Complete"), CopyState::Ready, COMPLETED);
        check("batch/v1", "Job", job("Failed"), CopyState::Degraded, FAILED);
        check("batch/v1", "Job", json!({}), CopyState::Progressing, "");
        let waiting = json!({"status": {"phase": "Pending", "containerStatuses": [
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}},
        ]}});
        check("v1", "Pod", waiting, CopyState::Degraded, "ImagePullBackOff");
        check("v1", "Pod", json!({"status": {"phase": "Succeeded"}}), CopyState::Ready, COMPLETED);
    }

    #[test]
    fn services_claims_definitions_and_what_has_no_status() {
        check("v1", "Service", json!({"spec": {"type": "ClusterIP"}}), CopyState::Ready, "");
        let balanced = json!({"spec": {"type": "LoadBalancer"}});
        check("v1", "Service", balanced, CopyState::Progressing, "NoAddress");
        let claim = json!({"status": {"phase": "Pending"}});
        check("v1", "PersistentVolumeClaim", claim, CopyState::Progressing, "Unbound");
        let definition =
            json!({"status": {"conditions": [{"type": "Established", "status": "True"}]}});
        let api = "apiextensions.k8s.io/v1";
        check(api, "CustomResourceDefinition", definition, CopyState::Ready, "");
        check("v1", "ConfigMap", json!({"data": {}}), CopyState::Ready, "");
    }

    #[test]
    fn custom_kinds_are_read_by_their_rules() {
        let rule = json!({
            "target": {"apiVersion": "example.org/v1", "kind": "Engine"},
            "health": {"ready": "object.status.phase == 'Up'", "reason": "object.status.phase"},
            "status": {"replicas": "object.status.pods", "readyReplicas": "object.status.up",
                       "keep": [{"path": ".status.phase"}]},
        });
        let rule = serde_json::from_value(rule).expect("a rule");
        let (rules, _) = Rules::new([("engines", &rule)]);
        let gvk = Gvk::new("example.org/v1", "Engine");
        let up = json!({"metadata": {"generation": 2},
                        "status": {"phase": "Up", "pods": 3, "up": 2, "observedGeneration": 2}});
        let health = assess(&gvk, &up, &rules);
        assert_eq!((health.state, health.observed), (CopyState::Ready, true));
        assert_eq!((health.replicas, health.ready), (Some(3), Some(2)));
        let kept: Vec<_> = health.kept.iter().map(|(path, it)| format!("{path} {it}")).collect();
        assert_eq!(kept, [r#".status.phase "Up""#, ".status.observedGeneration 2"]);
        // What the operator has not seen yet is not ready, whatever its last word was.
        let mut lagging = up;
        lagging["metadata"]["generation"] = json!(3);
        let health = assess(&gvk, &lagging, &rules);
        assert_eq!((health.state, health.observed), (CopyState::Progressing, false));
        let down = json!({"status": {"phase": "Starting"}});
        let health = assess(&gvk, &down, &rules);
        assert_eq!((health.state, health.reason.as_str()), (CopyState::Progressing, "Starting"));
    }

    #[test]
    fn unknown_kinds_are_read_by_their_conditions() {
        let with = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status, "reason": "R"}]}});
        let check = |live, state, reason| check("example.com/v1", "Thing", live, state, reason);
        check(with("Ready", "True"), CopyState::Ready, "");
        check(with("Ready", "False"), CopyState::Progressing, "R");
        check(with("Stalled", "True"), CopyState::Degraded, "R");
        let lagging = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}});
        check(lagging, CopyState::Progressing, "");
    }
}
