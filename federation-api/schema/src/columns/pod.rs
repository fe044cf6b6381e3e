//! What a table says of a pod: how many containers are ready, in which state it is, and how often it restarted.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    cells::{items, number, or_none, text},
    human,
};

/// What the containers' statuses add up to.
struct Summary {
    ready: usize,
    total: usize,
    status: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// Restarts and the last time one ended.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += number(container, "/restartCount").unwrap_or(0);
        let ended = text(container, "/lastState/terminated/finishedAt").parse().ok();
        self.last = self.last.max(ended);
    }
}

fn summary(pod: &Value) -> Summary {
    let specs = items(pod, "/spec/initContainers");
    let sidecar =
        |name: &Value| specs.iter().any(|c| c["name"] == *name && c["restartPolicy"] == "Always");
    let sidecars = specs.iter().filter(|c| c["restartPolicy"] == "Always").count();
    let total = items(pod, "/spec/containers").len() + sidecars;
    let phase = text(pod, "/status/phase");
    let mut status = match text(pod, "/status/reason") {
        "" => phase.to_owned(),
        reason => reason.to_owned(),
    };
    let gated = |c: &Value| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated";
    if items(pod, "/status/conditions").iter().any(gated) {
        "SchedulingGated".clone_into(&mut status);
    }

    let (mut ready, mut all, mut of_sidecars) = (0, Restarts::default(), Restarts::default());
    let mut initialising = false;
    for (at, container) in items(pod, "/status/initContainerStatuses").iter().enumerate() {
        all.add(container);
        let is_sidecar = sidecar(&container["name"]);
        if is_sidecar {
            of_sidecars.add(container);
        }
        let terminated = container.pointer("/state/terminated");
        if terminated.is_some_and(|t| number(t, "/exitCode").unwrap_or(0) == 0) {
            continue;
        }
        if is_sidecar && container["started"] == true {
            ready += usize::from(container["ready"] == true);
            continue;
        }
        status = match (terminated, text(container, "/state/waiting/reason")) {
            (Some(terminated), _) => format!("Init:{}", ended(terminated)),
            (None, "" | "PodInitializing") => format!("Init:{at}/{}", specs.len()),
            (None, reason) => format!("Init:{reason}"),
        };
        initialising = true;
        break;
    }
    if !initialising || holds(pod, "Initialized") {
        all = of_sidecars;
        let (running, ready_now) = main_containers(pod, &mut status, &mut all);
        ready += ready_now;
        if status == "Completed" && running && holds(pod, "Ready") {
            "Running".clone_into(&mut status);
        } else if status == "Completed" && running {
            "NotReady".clone_into(&mut status);
        }
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        if pod.pointer("/status/reason").is_some_and(|r| r == "NodeLost") {
            "Unknown".clone_into(&mut status);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut status);
        }
    }
    Summary { ready, total, status, restarts: all.count, last_restart: all.last }
}

/// Takes the state of the first container that is in trouble; says whether one runs and how many are ready.
fn main_containers(pod: &Value, status: &mut String, restarts: &mut Restarts) -> (bool, usize) {
    let (mut ready, mut failed) = (0, None);
    for container in items(pod, "/status/containerStatuses").iter().rev() {
        restarts.add(container);
        match (text(container, "/state/waiting/reason"), container.pointer("/state/terminated")) {
            ("", Some(terminated)) => {
                *status = ended(terminated);
                if number(terminated, "/exitCode").unwrap_or(0) != 0 {
                    failed = Some(status.clone());
                }
            }
            ("", None) => {
                ready += usize::from(
                    container["ready"] == true && container.pointer("/state/running").is_some(),
                );
            }
            (reason, _) => reason.clone_into(status),
        }
    }
    let recovered = ready > 0 && holds(pod, "Ready");
    if let (true, false, Some(failed)) = (*status == "Completed", recovered, failed) {
        *status = failed;
    }
    (ready > 0, ready)
}

fn ended(terminated: &Value) -> String {
    match (text(terminated, "/reason"), number(terminated, "/signal").unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "/exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn holds(pod: &Value, kind: &str) -> bool {
    items(pod, "/status/conditions").iter().any(|c| c["type"] == kind && c["status"] == "True")
}

pub(super) fn ready(pod: &Value, _: Timestamp) -> Value {
    let summary = summary(pod);
    format!("{}/{}", summary.ready, summary.total).into()
}

pub(super) fn status(pod: &Value, _: Timestamp) -> Value {
    summary(pod).status.into()
}

pub(super) fn restarts(pod: &Value, now: Timestamp) -> Value {
    let Summary { restarts, last_restart, .. } = summary(pod);
    match last_restart {
        Some(at) if restarts != 0 => {
            format!("{restarts} ({} ago)", human::human_duration(now.duration_since(at).as_secs()))
                .into()
        }
        _ => restarts.to_string().into(),
    }
}

pub(super) fn ip(pod: &Value, _: Timestamp) -> Value {
    or_none(text(pod, "/status/podIPs/0/ip").to_owned()).into()
}

pub(super) fn readiness_gates(pod: &Value, _: Timestamp) -> Value {
    let gates = items(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let open = gates.iter().filter(|gate| holds(pod, text(gate, "/conditionType"))).count();
    format!("{open}/{}", gates.len()).into()
}
