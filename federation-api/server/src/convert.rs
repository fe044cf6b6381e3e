//! One object in several versions: what differs between the versions of a built-in resource.
//!
//! Versions of a custom kind differ in their `apiVersion` alone (conversion `None`), and so do the versions of most
//! built-in kinds. The exceptions are the two faces of events and the two generations of HorizontalPodAutoscaler.

use serde_json::{Map, Value, json};

use crate::{object, registry::Kind};

/// Whether an object of `from` must be rewritten beyond its `apiVersion` to be shown as `kind`.
pub(crate) fn is_needed(kind: &Kind, from: &str) -> bool {
    !kind.is_custom() && *kind.api_version != *from && table(&kind.kind).is_some()
}

/// Rewrites an object of any version of the resource as `kind`.
pub(crate) fn to(object: &mut Value, kind: &Kind) {
    let from = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    if let (true, Some(convert)) = (is_needed(kind, &from), table(&kind.kind)) {
        convert(object, &from, &kind.api_version);
    }
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".to_owned(), (*kind.api_version).into());
        object.insert("kind".to_owned(), (*kind.kind).into());
    }
}

type Conversion = fn(&mut Value, &str, &str);

fn table(kind: &str) -> Option<Conversion> {
    match kind {
        "Event" => Some(event),
        "HorizontalPodAutoscaler" => Some(autoscaler),
        _ => None,
    }
}

/// The names of one field in `v1` and in `events.k8s.io/v1`.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn event(object: &mut Value, _: &str, to: &str) {
    let Some(object) = object.as_object_mut() else { return };
    for (core, events) in EVENT_FIELDS {
        let (from, to) = if to == "v1" { (events, core) } else { (core, events) };
        if let Some(value) = object.remove(from) {
            object.insert(to.to_owned(), value);
        }
    }
}

/// `v1` knows one target, the processor's utilisation; `v2` a list of metrics.
fn autoscaler(object: &mut Value, from: &str, to: &str) {
    const TARGET: &str = "targetCPUUtilizationPercentage";
    /// Where `v1` keeps what it cannot say.
    const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
    const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
    let spec = object.get_mut("spec").and_then(Value::as_object_mut);
    if from == "autoscaling/v1" && to == "autoscaling/v2" {
        let target = spec.and_then(|spec| spec.remove(TARGET));
        let mut metrics: Vec<Value> = annotation(object, METRICS)
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        if let Some(target) = target {
            metrics.insert(0, json!({
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}},
            }));
        }
        let behavior =
            annotation(object, BEHAVIOR).and_then(|text| serde_json::from_str(&text).ok());
        let Some(spec) = spec_of(object) else { return };
        if !metrics.is_empty() {
            spec.insert("metrics".to_owned(), metrics.into());
        }
        object::set(spec, "behavior", behavior);
    } else if from == "autoscaling/v2" && to == "autoscaling/v1" {
        let Some(spec) = spec else { return };
        let mut metrics = match spec.remove("metrics") {
            Some(Value::Array(metrics)) => metrics,
            _ => Vec::new(),
        };
        let behavior = spec.remove("behavior").map(|behavior| behavior.to_string());
        let cpu = metrics.iter().position(|metric| {
            metric["resource"]["name"] == "cpu"
                && metric["resource"]["target"]["averageUtilization"].is_i64()
        });
        if let Some(at) = cpu {
            let metric = metrics.remove(at);
            let target = metric["resource"]["target"]["averageUtilization"].clone();
            spec.insert(TARGET.to_owned(), target);
        }
        let rest = (!metrics.is_empty()).then(|| Value::from(metrics).to_string());
        for (key, text) in [(METRICS, rest), (BEHAVIOR, behavior)] {
            if let (Some(text), Some(metadata)) = (text, object::metadata_mut(object)) {
                let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
                if let Some(annotations) = annotations.as_object_mut() {
                    annotations.insert(key.to_owned(), text.into());
                }
            }
        }
    }
}

fn spec_of(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("spec")?.as_object_mut()
}

/// Takes an annotation away.
fn annotation(object: &mut Value, key: &str) -> Option<String> {
    let metadata = object::metadata_mut(object)?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    match annotations.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_two_faces() {
        let core =
            json!({"involvedObject": {"name": "a"}, "message": "m", "count": 2, "reason": "R"});
        let mut object = core.clone();
        event(&mut object, "v1", "events.k8s.io/v1");
        assert_eq!(
            object,
            json!({"regarding": {"name": "a"}, "note": "m", "deprecatedCount": 2, "reason": "R"})
        );
        event(&mut object, "events.k8s.io/v1", "v1");
        assert_eq!(object, core);
    }

    #[test]
    fn an_autoscaler_survives_the_way_through_its_older_version() {
        let newer = json!({
            "metadata": {"name": "a", "annotations": {}},
            "spec": {
                "maxReplicas": 3,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
                    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
            },
        });
        let mut object = newer.clone();
        autoscaler(&mut object, "autoscaling/v2", "autoscaling/v1");
        assert_eq!(object["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 80}));
        autoscaler(&mut object, "autoscaling/v1", "autoscaling/v2");
        assert_eq!(object, newer);
    }
}
