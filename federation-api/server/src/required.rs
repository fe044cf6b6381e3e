//! What a built-in object must have because every cluster would refuse it without: a table of facts, checked where the
//! user writes and not later where it is placed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{registry::Kind, status::Cause};

/// Kinds with a pod template, by group and plural, and where it stands.
const TEMPLATES: &[(&str, &str, &str)] = &[
    ("apps", "deployments", "spec.template"),
    ("apps", "replicasets", "spec.template"),
    ("apps", "statefulsets", "spec.template"),
    ("apps", "daemonsets", "spec.template"),
    ("", "replicationcontrollers", "spec.template"),
    ("batch", "jobs", "spec.template"),
    ("batch", "cronjobs", "spec.jobTemplate.spec.template"),
    ("", "podtemplates", "template"),
    ("", "pods", ""),
];

/// Kinds whose selector must be there and must select their own template.
const SELECTORS: &[&str] = &["deployments", "replicasets", "statefulsets", "daemonsets"];

/// Other fields that must be there: group, plural, field.
const REQUIRED: &[(&str, &str, &str)] = &[
    ("batch", "cronjobs", "spec.schedule"),
    ("autoscaling", "horizontalpodautoscalers", "spec.scaleTargetRef.kind"),
    ("autoscaling", "horizontalpodautoscalers", "spec.scaleTargetRef.name"),
    ("autoscaling", "horizontalpodautoscalers", "spec.maxReplicas"),
    ("rbac.authorization.k8s.io", "rolebindings", "roleRef.name"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "roleRef.name"),
    ("storage.k8s.io", "storageclasses", "provisioner"),
    ("", "persistentvolumeclaims", "spec.accessModes"),
];

/// Fields that stay as they were made: group, plural, field.
const IMMUTABLE: &[(&str, &str, &str)] = &[
    ("apps", "deployments", "spec.selector"),
    ("apps", "replicasets", "spec.selector"),
    ("apps", "daemonsets", "spec.selector"),
    ("apps", "statefulsets", "spec.selector"),
    ("apps", "statefulsets", "spec.serviceName"),
    ("apps", "statefulsets", "spec.podManagementPolicy"),
    ("batch", "jobs", "spec.completionMode"),
    ("rbac.authorization.k8s.io", "rolebindings", "roleRef"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "roleRef"),
    ("storage.k8s.io", "storageclasses", "provisioner"),
    ("storage.k8s.io", "storageclasses", "parameters"),
];

/// What of a built-in object may not be changed and is.
pub(crate) fn changed(kind: &Kind, old: &Value, new: &Value) -> Vec<Cause> {
    let of_kind = |(group, plural, _): &&(&str, &str, &str)| kind.is(group, plural);
    let mut causes: Vec<Cause> = IMMUTABLE
        .iter()
        .filter(of_kind)
        .filter(|(.., path)| at(old, path) != at(new, path))
        .map(|(.., path)| immutable(path, at(new, path)))
        .collect();
    // A Job that has not started yet may still be told where to run.
    let started = kind.is("batch", "jobs") && old["spec"]["suspend"] != true;
    if started && old["spec"]["template"] != new["spec"]["template"] {
        causes.push(immutable("spec.template", &new["spec"]["template"]));
    }
    causes
}

fn immutable(field: &str, value: &Value) -> Cause {
    Cause::field(field, format!("Invalid value: {value}: field is immutable"))
}

/// What a built-in object lacks.
pub(crate) fn check(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if kind.is_custom() {
        return causes;
    }
    let of_kind = |group: &str, plural: &str| *kind.group == *group && *kind.plural == *plural;
    if let Some((.., path)) = TEMPLATES.iter().find(|(group, plural, _)| of_kind(group, plural)) {
        template(kind, object, path, &mut causes);
    }
    for (.., path) in REQUIRED.iter().filter(|(group, plural, _)| of_kind(group, plural)) {
        if missing(at(object, path)) {
            causes.push(Cause::field(*path, "Required value"));
        }
    }
    if of_kind("", "services") {
        service(object, &mut causes);
    }
    if let Some(replicas) = object["spec"]["replicas"].as_i64().filter(|replicas| *replicas < 0) {
        causes.push(Cause::field(
            "spec.replicas",
            format!("Invalid value: {replicas}: must be greater than or equal to 0"),
        ));
    }
    causes
}

fn at<'v>(object: &'v Value, path: &str) -> &'v Value {
    path.split('.').filter(|part| !part.is_empty()).fold(object, |value, part| &value[part])
}

fn missing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn template(kind: &Kind, object: &Value, path: &str, causes: &mut Vec<Cause>) {
    let template = at(object, path);
    let below =
        |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    if *kind.group == *"apps" && SELECTORS.contains(&&*kind.plural) {
        let selector = &object["spec"]["selector"];
        if missing(selector) {
            causes.push(Cause::field("spec.selector", "Required value"));
        } else {
            selects_itself(selector, template, causes);
        }
    }
    restart(kind, &template["spec"]["restartPolicy"], below("spec.restartPolicy"), causes);
    let containers = template["spec"]["containers"].as_array();
    let field = below("spec.containers");
    let Some(containers) = containers.filter(|list| !list.is_empty()) else {
        causes.push(Cause::field(field, "Required value"));
        return;
    };
    let mut seen = BTreeMap::new();
    for (at, container) in containers.iter().enumerate() {
        let name = container["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::field(format!("{field}[{at}].name"), "Required value"));
        } else if seen.insert(name, at).is_some() {
            causes.push(Cause::field(
                format!("{field}[{at}].name"),
                format!("Duplicate value: {name:?}"),
            ));
        } else {
            for problem in federation_schema::name::dns1123_label(name) {
                causes.push(Cause::field(
                    format!("{field}[{at}].name"),
                    format!("Invalid value: {name:?}: {problem}"),
                ));
            }
        }
        if missing(&container["image"]) {
            causes.push(Cause::field(format!("{field}[{at}].image"), "Required value"));
        }
        for (number, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
            let field = format!("{field}[{at}].ports[{number}].containerPort");
            port_number(&port["containerPort"], field, causes);
        }
    }
}

/// What runs for ever restarts always; what ends does not.
fn restart(kind: &Kind, policy: &Value, field: String, causes: &mut Vec<Cause>) {
    let supported: &[&str] = match (&*kind.group, &*kind.plural) {
        ("batch", _) => &["OnFailure", "Never"],
        ("apps", _) | ("", "replicationcontrollers") => &["Always"],
        _ => return,
    };
    match policy.as_str() {
        Some(policy) if supported.contains(&policy) => {}
        None | Some("") if supported == ["Always"] => {}
        None | Some("") => causes
            .push(Cause::field(field, "Required value: valid values: \"OnFailure\", \"Never\"")),
        Some(policy) => {
            let list: Vec<String> = supported.iter().map(|name| format!("{name:?}")).collect();
            causes.push(Cause::field(
                field,
                format!("Unsupported value: {policy:?}: supported values: {}", list.join(", ")),
            ));
        }
    }
}

fn selects_itself(selector: &Value, template: &Value, causes: &mut Vec<Cause>) {
    let labels = &template["metadata"]["labels"];
    let wanted = selector["matchLabels"].as_object().into_iter().flatten();
    if wanted.clone().any(|(key, value)| labels[key] != *value) {
        causes.push(Cause::field(
            "spec.template.metadata.labels",
            format!("Invalid value: {labels}: `selector` does not match template `labels`"),
        ));
    }
}

fn service(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let headless = spec["clusterIP"] == "None";
    let external = spec["type"] == "ExternalName";
    if ports.is_empty() && !headless && !external {
        causes.push(Cause::field("spec.ports", "Required value"));
    }
    if external && missing(&spec["externalName"]) {
        causes.push(Cause::field("spec.externalName", "Required value"));
    }
    let mut names = BTreeMap::new();
    for (at, port) in ports.iter().enumerate() {
        port_number(&port["port"], format!("spec.ports[{at}].port"), causes);
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::field(format!("spec.ports[{at}].name"), "Required value"));
        } else if !name.is_empty() && names.insert(name, at).is_some() {
            causes.push(Cause::field(
                format!("spec.ports[{at}].name"),
                format!("Duplicate value: {name:?}"),
            ));
        }
    }
}

fn port_number(port: &Value, field: String, causes: &mut Vec<Cause>) {
    match port.as_i64() {
        Some(1..=65535) => {}
        None | Some(0) => causes.push(Cause::field(field, "Required value")),
        Some(other) => causes.push(Cause::field(
            field,
            format!("Invalid value: {other}: must be between 1 and 65535, inclusive"),
        )),
    }
}
