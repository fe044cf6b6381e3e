//! Pins a copy's pods to spot nodes, by the labels that its provider gives such nodes, and tolerates their taints
//! (RULES 5.6).

use serde_json::{Value, json};

/// Labels of spot nodes, by provider: one of them is enough.
const LABELS: &[(&str, &[(&str, &str)])] = &[
    ("aks", &[("kubernetes.azure.com/scalesetpriority", "spot")]),
    ("eks", &[("eks.amazonaws.com/capacityType", "SPOT"), ("karpenter.sh/capacity-type", "spot")]),
    ("gke", &[("cloud.google.com/gke-spot", "true"), ("cloud.google.com/gke-preemptible", "true")]),
];
/// Nodes that a provisioner makes elsewhere.
const ELSEWHERE: &[(&str, &str)] = &[("karpenter.sh/capacity-type", "spot")];

/// Where the pods of a kind are described.
const PODS: &[&str] = &["/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];

/// Pins the pods of an object; an object without pods stays as it is.
pub(crate) fn pin(object: &mut Value, provider: &str) {
    let own = LABELS.iter().find(|(name, _)| *name == provider);
    let labels = own.map_or(ELSEWHERE, |(_, labels)| labels);
    let is_pod = object["apiVersion"] == "v1" && object["kind"] == "Pod";
    let place = if is_pod {
        Some("/spec")
    } else {
        PODS.iter().find(|it| object.pointer(it).is_some_and(Value::is_object)).copied()
    };
    let Some(pod) = place.and_then(|it| object.pointer_mut(it)).filter(|it| it.is_object()) else {
        return;
    };
    let tolerations = child(pod, "tolerations", || json!([]));
    if let Some(tolerations) = tolerations.as_array_mut() {
        for (key, _) in labels {
            let tolerated = |it: &Value| it["key"] == *key && it["operator"] == "Exists";
            if !tolerations.iter().any(tolerated) {
                tolerations.push(json!({"key": key, "operator": "Exists"}));
            }
        }
    }
    let affinity = child(pod, "affinity", || json!({}));
    let nodes = child(affinity, "nodeAffinity", || json!({}));
    let required = child(nodes, "requiredDuringSchedulingIgnoredDuringExecution", || json!({}));
    let terms = child(required, "nodeSelectorTerms", || json!([]));
    let before = terms.as_array().cloned().unwrap_or_default();
    // Terms are alternatives, and what a term asks for must hold together: each of them once with each label.
    let before = if before.is_empty() { vec![json!({})] } else { before };
    let pinned = before.iter().flat_map(|term| {
        labels.iter().map(move |(key, value)| {
            let mut term = term.clone();
            let wanted = json!({"key": key, "operator": "In", "values": [value]});
            if let Some(all) = child(&mut term, "matchExpressions", || json!([])).as_array_mut() {
                all.push(wanted);
            }
            term
        })
    });
    *terms = pinned.collect();
}

/// A field that is made where it is missing.
fn child<'a>(of: &'a mut Value, name: &str, empty: impl Fn() -> Value) -> &'a mut Value {
    let field = &mut of[name];
    if field.is_null() {
        *field = empty();
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: &str = "/spec/template/spec/affinity/nodeAffinity/\
                         requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";

    #[test]
    fn rule_5_6_pods_are_pinned_by_the_labels_of_the_provider() {
        let mut object = json!({"kind": "Deployment", "spec": {"template": {"spec": {}}}});
        pin(&mut object, "aks");
        assert_eq!(
            object.pointer(TERMS).unwrap(),
            &json!([{"matchExpressions": [
                {"key": "kubernetes.azure.com/scalesetpriority", "operator": "In", "values": ["spot"]}]}])
        );
        assert_eq!(
            object["spec"]["template"]["spec"]["tolerations"],
            json!([{"key": "kubernetes.azure.com/scalesetpriority", "operator": "Exists"}])
        );
    }

    #[test]
    fn what_the_template_asks_of_nodes_still_holds() {
        let arm = json!({"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]});
        let mut object = json!({"kind": "Deployment", "spec": {"template": {"spec": {}}}});
        pin(&mut object, "onprem");
        *object.pointer_mut(TERMS).unwrap() = json!([{"matchExpressions": [arm]}]);
        pin(&mut object, "gke");
        let terms = object.pointer(TERMS).unwrap().as_array().unwrap();
        assert_eq!(terms.len(), 2);
        assert!(terms.iter().all(|it| it["matchExpressions"][0] == arm));
    }

    #[test]
    fn what_has_no_pods_stays_as_it_is() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}});
        let mut pinned = object.clone();
        pin(&mut pinned, "eks");
        assert_eq!(pinned, object);
    }
}
