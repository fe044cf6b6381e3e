//! What the user wrote of a template, without what the hub added (RULES 4.1).

use federation_types::names::GROUP;
use serde_json::{Map, Value};

/// Parts of `metadata` that a user decides and a copy carries.
const METADATA: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// Annotations that tools and controllers of one cluster leave behind.
const LOCAL_ANNOTATIONS: [&str; 7] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/selected-node",
];

/// Labels by which a Job finds its pods: made anew in every cluster.
const JOB_LABELS: [&str; 4] = [
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
];

/// The content of a template: apiVersion, kind, the user's metadata and the rest, without status, without what only
/// holds in one cluster and without our marks.
pub fn strip(template: &Value) -> Value {
    let Some(object) = template.as_object() else { return template.clone() };
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    let kind = text("kind");
    let bound_by_controller =
        template.pointer("/metadata/annotations/pv.kubernetes.io~1bound-by-controller").is_some();

    let mut content = Map::new();
    for (name, value) in object {
        match name.as_str() {
            "status" => (),
            "metadata" => drop(content.insert(name.clone(), metadata(value))),
            _ => drop(content.insert(name.clone(), value.clone())),
        }
    }
    match (group, kind) {
        ("", "Service") => service(&mut content),
        ("", "PersistentVolumeClaim") if bound_by_controller => {
            remove(content.get_mut("spec"), &["volumeName"]);
        }
        ("", "Namespace") => {
            remove(content.get_mut("spec"), &["finalizers"]);
            remove(in_metadata(&mut content, "labels"), &["kubernetes.io/metadata.name"]);
        }
        ("batch", "Job") => job(&mut content),
        _ => (),
    }
    drop_empty(&mut content, "spec");
    for value in content.values_mut() {
        drop_unset_times(value);
    }
    Value::Object(content)
}

fn metadata(value: &Value) -> Value {
    let Some(metadata) = value.as_object() else { return Value::Object(Map::new()) };
    let mut kept = Map::new();
    for name in METADATA {
        match (name, metadata.get(name)) {
            (_, None | Some(Value::Null)) => (),
            ("labels" | "annotations", Some(Value::Object(entries))) => {
                let entries: Map<String, Value> = entries
                    .iter()
                    .filter(|(key, _)| !is_ours(key) && !LOCAL_ANNOTATIONS.contains(&key.as_str()))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                if !entries.is_empty() {
                    kept.insert(name.to_owned(), Value::Object(entries));
                }
            }
            (_, Some(value)) => drop(kept.insert(name.to_owned(), value.clone())),
        }
    }
    Value::Object(kept)
}

fn is_ours(key: &str) -> bool {
    key.split_once('/').is_some_and(|(prefix, _)| prefix == GROUP)
}

fn service(content: &mut Map<String, Value>) {
    let Some(spec) = content.get_mut("spec").and_then(Value::as_object_mut) else { return };
    // `None` makes a Service headless: that is the user's word, every other address one cluster's.
    if spec.get("clusterIP").and_then(Value::as_str) != Some("None") {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    // A nodePort stays: the hub allocates none, so one that stands here is the user's word.
    spec.remove("healthCheckNodePort");
}

fn job(content: &mut Map<String, Value>) {
    let Some(spec) = content.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("manualSelector").and_then(Value::as_bool) == Some(true) {
        return;
    }
    spec.remove("selector");
    if let Some(metadata) = spec.get_mut("template").and_then(|it| it.get_mut("metadata")) {
        remove(metadata.get_mut("labels"), &JOB_LABELS);
    }
    remove(in_metadata(content, "labels"), &JOB_LABELS);
}

fn in_metadata<'a>(content: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Value> {
    content.get_mut("metadata")?.get_mut(name)
}

fn remove(value: Option<&mut Value>, names: &[&str]) {
    if let Some(object) = value.and_then(Value::as_object_mut) {
        for name in names {
            object.remove(*name);
        }
    }
}

fn drop_empty(content: &mut Map<String, Value>, name: &str) {
    if content.get(name).and_then(Value::as_object).is_some_and(Map::is_empty) {
        content.remove(name);
    }
}

/// Clients write `creationTimestamp: null` into nested metadata; it says nothing.
fn drop_unset_times(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("creationTimestamp").is_some_and(Value::is_null) {
                object.remove("creationTimestamp");
            }
            object.values_mut().for_each(drop_unset_times);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_unset_times),
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rule_4_1_a_manifest_holds_what_the_user_wrote_and_not_what_the_hub_added() {
        let template = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{"manager": "kubectl"}],
                "ownerReferences": [{"uid": "x"}], "finalizers": ["archipel.dev/copies"],
                "labels": {"app": "web", "archipel.dev/template": "t"},
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                    "archipel.dev/allow-delete": "true", "note": "mine",
                },
            },
            "spec": {"replicas": 2, "template": {"metadata": {"creationTimestamp": null}}},
            "status": {"replicas": 2},
        });
        assert_eq!(
            strip(&template),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {
                    "name": "web", "namespace": "shop",
                    "labels": {"app": "web"}, "annotations": {"note": "mine"},
                },
                "spec": {"replicas": 2, "template": {"metadata": {}}},
            })
        );
    }

    #[test]
    fn rule_4_1_allocated_values_of_one_cluster_stay_there() {
        let service = |address: &str| {
            strip(&json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                "spec": {
                    "clusterIP": address, "clusterIPs": [address], "healthCheckNodePort": 30001,
                    "ports": [{"port": 80, "nodePort": 30000}],
                },
            }))
        };
        // The hub allocates no port of nodes: one that stands in a template was asked for.
        let asked = json!({"ports": [{"port": 80, "nodePort": 30000}]});
        assert_eq!(service("10.0.0.1")["spec"], asked);
        assert_eq!(service("None")["spec"]["clusterIP"], "None");

        let job = strip(&json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
            "spec": {
                "selector": {"matchLabels": {"controller-uid": "u"}},
                "template": {"metadata": {"labels": {"controller-uid": "u", "app": "j"}}},
            },
        }));
        assert_eq!(job["spec"], json!({"template": {"metadata": {"labels": {"app": "j"}}}}));

        let claim = |annotations: Value| {
            strip(&json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "c", "annotations": annotations},
                "spec": {"volumeName": "pv-1"},
            }))
        };
        let bound = claim(json!({"pv.kubernetes.io/bound-by-controller": "yes"}));
        assert_eq!(bound.get("spec"), None);
        assert_eq!(claim(json!({}))["spec"]["volumeName"], "pv-1");

        let namespace = strip(&json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}},
            "spec": {"finalizers": ["kubernetes"]},
        }));
        assert_eq!(namespace.get("spec"), None);
    }

    #[test]
    fn stripping_twice_changes_nothing_more() {
        let once = strip(
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}),
        );
        assert_eq!(strip(&once), once);
    }
}
