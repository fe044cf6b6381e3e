//! Cells that several kinds share.

use jiff::Timestamp;
use serde_json::Value;

use super::human;

/// Text at a JSON pointer, empty where there is none.
pub(super) fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number at a JSON pointer.
pub(super) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// The items of a list at a JSON pointer.
pub(super) fn items<'v>(object: &'v Value, pointer: &str) -> &'v [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A scalar as it is written: quantities, ports and percentages may be numbers or text.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `a=1,b=2`, or `<none>`.
pub(super) fn labels(map: Option<&Value>) -> String {
    let Some(map) = map.and_then(Value::as_object).filter(|m| !m.is_empty()) else {
        return "<none>".to_owned();
    };
    let pairs = map.iter().map(|(key, value)| format!("{key}={}", plain(value)));
    pairs.collect::<Vec<_>>().join(",")
}

/// A label selector in the notation of `-l`, empty where it selects by nothing.
fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return String::new() };
    let mut parts: Vec<(String, String)> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        parts.push((key.clone(), format!("{key}={}", plain(value))));
    }
    for expression in items(selector, "/matchExpressions") {
        let key = text(expression, "/key");
        let mut values: Vec<String> = items(expression, "/values").iter().map(plain).collect();
        values.sort();
        let values = values.join(",");
        let part = match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key.to_owned(), part));
    }
    parts.sort();
    parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(",")
}

/// The selector of a workload, empty where it has none.
pub(super) fn bare_selector(object: &Value, _: Timestamp) -> Value {
    selector(object.pointer("/spec/selector")).into()
}

/// The same, `<none>` where it has none.
pub(super) fn workload_selector(object: &Value, _: Timestamp) -> Value {
    or_none(selector(object.pointer("/spec/selector"))).into()
}

pub(super) fn cron_job_selector(object: &Value, _: Timestamp) -> Value {
    or_none(selector(object.pointer("/spec/jobTemplate/spec/selector"))).into()
}

pub(super) fn pod_selector(object: &Value, _: Timestamp) -> Value {
    or_none(selector(object.pointer("/spec/podSelector"))).into()
}

pub(super) fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// The names or images of the containers of a workload's template.
fn containers(object: &Value, key: &str) -> Value {
    let at = [
        "/spec/template/spec/containers",
        "/spec/jobTemplate/spec/template/spec/containers",
        "/template/spec/containers",
    ];
    let containers =
        at.iter().map(|pointer| items(object, pointer)).find(|c| !c.is_empty()).unwrap_or_default();
    containers
        .iter()
        .map(|c| c[key].as_str().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(",")
        .into()
}

pub(super) fn container_names(object: &Value, _: Timestamp) -> Value {
    containers(object, "name")
}

pub(super) fn container_images(object: &Value, _: Timestamp) -> Value {
    containers(object, "image")
}

/// `2/3`: ready of wanted. Nothing said of replicas means one.
pub(super) fn ready_of_wanted(object: &Value, _: Timestamp) -> Value {
    let ready = number(object, "/status/readyReplicas").unwrap_or(0);
    format!("{ready}/{}", number(object, "/spec/replicas").unwrap_or(1)).into()
}

/// The replicas that are wanted.
pub(super) fn wanted(object: &Value, _: Timestamp) -> Value {
    number(object, "/spec/replicas").unwrap_or(1).into()
}

/// How many entries `data` and `binaryData` hold.
pub(super) fn data_entries(object: &Value, _: Timestamp) -> Value {
    let entries = |key: &str| object[key].as_object().map_or(0, serde_json::Map::len);
    (entries("data") + entries("binaryData")).into()
}

pub(super) fn job_status(job: &Value, _: Timestamp) -> Value {
    let holds = |kind: &str| {
        items(job, "/status/conditions").iter().any(|c| c["type"] == kind && c["status"] == "True")
    };
    let status = if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if job.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else {
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
            .into_iter()
            .find(|kind| holds(kind))
            .unwrap_or("Running")
    };
    status.into()
}

pub(super) fn job_completions(job: &Value, _: Timestamp) -> Value {
    let succeeded = number(job, "/status/succeeded").unwrap_or(0);
    // Nothing said of either means one run.
    let parallelism = number(job, "/spec/parallelism");
    match (number(job, "/spec/completions"), parallelism) {
        (Some(completions), _) => format!("{succeeded}/{completions}").into(),
        (None, Some(parallel)) if parallel > 1 => format!("{succeeded}/1 of {parallel}").into(),
        _ => format!("{succeeded}/1").into(),
    }
}

pub(super) fn job_duration(job: &Value, now: Timestamp) -> Value {
    let at = |pointer| text(job, pointer).parse::<Timestamp>().ok();
    let Some(start) = at("/status/startTime") else { return "".into() };
    let end = at("/status/completionTime").unwrap_or(now);
    human::human_duration(end.duration_since(start).as_secs()).into()
}

pub(super) fn cron_suspend(job: &Value, _: Timestamp) -> Value {
    truth(job.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or(false))
}

fn truth(value: bool) -> Value {
    if value { "True".into() } else { "False".into() }
}

pub(super) fn cron_last(job: &Value, now: Timestamp) -> Value {
    match job.pointer("/status/lastScheduleTime") {
        None | Some(Value::Null) => "<none>".into(),
        Some(at) => human::age(at, now).into(),
    }
}

pub(super) fn node_status(node: &Value, _: Timestamp) -> Value {
    let ready = items(node, "/status/conditions").iter().find(|c| c["type"] == "Ready");
    let mut status = match ready {
        Some(condition) if condition["status"] == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    status.into()
}

pub(super) fn node_roles(node: &Value, _: Timestamp) -> Value {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    or_none(roles.join(",")).into()
}

fn node_address(node: &Value, kind: &str) -> Value {
    let address = items(node, "/status/addresses").iter().find(|a| a["type"] == kind);
    or_none(address.map(|a| plain(&a["address"])).unwrap_or_default()).into()
}

pub(super) fn node_internal_ip(node: &Value, _: Timestamp) -> Value {
    node_address(node, "InternalIP")
}

pub(super) fn node_external_ip(node: &Value, _: Timestamp) -> Value {
    node_address(node, "ExternalIP")
}

pub(super) fn node_kernel(node: &Value, _: Timestamp) -> Value {
    let kernel = text(node, "/status/nodeInfo/kernelVersion");
    let kernel = if kernel.is_empty() { "<unknown>" } else { kernel };
    match text(node, "/status/nodeInfo/architecture") {
        "" => kernel.into(),
        architecture => format!("{kernel} ({architecture})").into(),
    }
}

pub(super) fn role_of(binding: &Value, _: Timestamp) -> Value {
    format!("{}/{}", text(binding, "/roleRef/kind"), text(binding, "/roleRef/name")).into()
}

fn subjects(binding: &Value, kind: &str) -> Value {
    let of_kind = items(binding, "/subjects").iter().filter(|s| s["kind"] == kind);
    let names = of_kind.map(|s| match kind {
        "ServiceAccount" => format!("{}/{}", text(s, "/namespace"), text(s, "/name")),
        _ => text(s, "/name").to_owned(),
    });
    names.collect::<Vec<_>>().join(", ").into()
}

pub(super) fn bound_users(binding: &Value, _: Timestamp) -> Value {
    subjects(binding, "User")
}

pub(super) fn bound_groups(binding: &Value, _: Timestamp) -> Value {
    subjects(binding, "Group")
}

pub(super) fn bound_accounts(binding: &Value, _: Timestamp) -> Value {
    subjects(binding, "ServiceAccount")
}

/// When an event was last seen, by whichever of its three notations it uses.
pub(super) fn event_last(event: &Value, now: Timestamp) -> Value {
    let series = event.pointer("/series/lastObservedTime").unwrap_or(&Value::Null);
    let last = event
        .get("lastTimestamp")
        .or_else(|| event.get("deprecatedLastTimestamp"))
        .unwrap_or(&Value::Null);
    match (series, last) {
        (Value::String(_), _) => human::age(series, now).into(),
        (_, Value::String(_)) => human::age(last, now).into(),
        _ => event_first(event, now),
    }
}

pub(super) fn event_first(event: &Value, now: Timestamp) -> Value {
    let first = ["firstTimestamp", "deprecatedFirstTimestamp", "eventTime"];
    let first = first.iter().filter_map(|key| event.get(*key)).find(|at| at.is_string());
    human::age(first.unwrap_or(&Value::Null), now).into()
}

fn involved(event: &Value) -> &Value {
    event.get("involvedObject").or_else(|| event.get("regarding")).unwrap_or(&Value::Null)
}

pub(super) fn event_object(event: &Value, _: Timestamp) -> Value {
    let object = involved(event);
    let kind = text(object, "/kind").to_lowercase();
    match text(object, "/name") {
        "" => kind.into(),
        name => format!("{kind}/{name}").into(),
    }
}

pub(super) fn event_subobject(event: &Value, _: Timestamp) -> Value {
    text(involved(event), "/fieldPath").into()
}

pub(super) fn event_source(event: &Value, _: Timestamp) -> Value {
    let first = |pointers: [&str; 3]| {
        pointers.into_iter().map(|p| text(event, p)).find(|t| !t.is_empty()).unwrap_or_default()
    };
    let component = first(["/source/component", "/reportingComponent", "/reportingController"]);
    match first(["/source/host", "/reportingInstance", "/deprecatedSource/host"]) {
        "" => component.into(),
        instance => format!("{component}, {instance}").into(),
    }
}

pub(super) fn event_message(event: &Value, _: Timestamp) -> Value {
    let message = event.get("message").or_else(|| event.get("note")).and_then(Value::as_str);
    message.unwrap_or_default().trim().into()
}

pub(super) fn event_count(event: &Value, _: Timestamp) -> Value {
    let count = number(event, "/series/count")
        .or_else(|| number(event, "/count"))
        .or_else(|| number(event, "/deprecatedCount"));
    count.filter(|c| *c > 0).unwrap_or(1).into()
}

pub(super) fn quota_requests(quota: &Value, _: Timestamp) -> Value {
    quota_entries(quota, false)
}

pub(super) fn quota_limits(quota: &Value, _: Timestamp) -> Value {
    quota_entries(quota, true)
}

fn quota_entries(quota: &Value, limits: bool) -> Value {
    let hard = quota.pointer("/status/hard").and_then(Value::as_object);
    let entries =
        hard.into_iter().flatten().filter(|(name, _)| name.starts_with("limits.") == limits);
    let entries = entries.map(|(name, hard)| {
        let used = quota["status"]["used"].get(name).map_or_else(|| "0".to_owned(), plain);
        format!("{name}: {used}/{}", plain(hard))
    });
    entries.collect::<Vec<_>>().join(", ").into()
}
