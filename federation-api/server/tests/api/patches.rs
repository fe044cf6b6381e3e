//! The four kinds of patch.

use serde_json::{Value, json};

use crate::harness::*;

#[tokio::test]
async fn each_kind_of_patch_is_understood() {
    let api = Api::new().await;
    api.post(DEPLOYMENTS, &deployment("a")).await.ok();
    let uri = format!("{DEPLOYMENTS}/a");
    let operations = json!([
        {"op": "test", "path": "/spec/replicas", "value": 3},
        {"op": "replace", "path": "/spec/replicas", "value": 4},
    ]);
    let patched = api.patch(&uri, "json-patch+json", &operations).await.ok();
    assert_eq!(patched["spec"]["replicas"], 4);
    api.patch(&uri, "json-patch+json", &operations).await.refused(422, "Invalid");
    let merge = json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"replicas": null}});
    let patched = api.patch(&uri, "merge-patch+json", &merge).await.ok();
    assert_eq!(patched["spec"].get("replicas"), None);
    // By name, the second container is added beside the first.
    let strategic =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "j"}]}}}});
    let patched = api.patch(&uri, "strategic-merge-patch+json", &strategic).await.ok();
    assert_eq!(patched["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);
    api.patch(&uri, "patch+json", &merge).await.refused(415, "UnsupportedMediaType");
    api.patch(&uri, "merge-patch+json", &json!([])).await.refused(400, "BadRequest");
    let strict = format!("{uri}?fieldValidation=Strict");
    let unknown = json!({"spec": {"nonsense": 1}});
    let status = api.patch(&strict, "merge-patch+json", &unknown).await.refused(400, "BadRequest");
    assert!(status["message"].as_str().unwrap().contains("unknown field \"spec.nonsense\""));
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"paused": true}});
    api.patch(&uri, "merge-patch+json", &stale).await.refused(409, "Conflict");
    let moved = json!({"metadata": {"name": "b"}});
    api.patch(&uri, "merge-patch+json", &moved).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn apply_creates_then_owns_then_conflicts() {
    let api = Api::new().await;
    let uri = format!("{DEPLOYMENTS}/a");
    api.patch(&uri, "apply-patch+yaml", &deployment("a")).await.refused(422, "Invalid");
    let made = api.apply(&uri, "one", &deployment("a")).await;
    assert_eq!(made.code, 201);
    let made = made.ok();
    let entry = &made["metadata"]["managedFields"][0];
    assert_eq!((&entry["manager"], &entry["operation"]), (&"one".into(), &"Apply".into()));
    let again = api.apply(&uri, "one", &deployment("a")).await;
    assert_eq!(again.code, 200);
    assert_eq!(again.ok(), made);
    let other = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"replicas": 5},
    });
    let status = api.apply(&uri, "two", &other).await.refused(409, "Conflict");
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldManagerConflict");
    assert_eq!(status["details"]["causes"][0]["field"], ".spec.replicas");
    let forced = api.apply(&format!("{uri}?force=true"), "two", &other).await.ok();
    assert_eq!(forced["spec"]["replicas"], 5);
    // Who stops applying a field that nobody else has removes it.
    let less = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    let pruned = api.apply(&uri, "two", &less).await.ok();
    assert_eq!(pruned["spec"].get("replicas"), None);
    let absent = format!("{DEPLOYMENTS}/b/status");
    api.apply(&absent, "one", &less).await.refused(404, "NotFound");
}

#[tokio::test]
async fn client_side_apply_finds_its_way() {
    // What kubectl does: create with the annotation, then a strategic merge patch.
    let api = Api::new().await;
    let mut body = deployment("a");
    body["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"});
    let create =
        format!("{DEPLOYMENTS}?fieldManager=kubectl-client-side-apply&fieldValidation=Strict");
    api.post(&create, &body).await.ok();
    let patch = json!({
        "spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "c"}],
            "containers": [{"name": "c", "image": "i:2"}],
        }}},
    });
    let uri = format!("{DEPLOYMENTS}/a?fieldManager=kubectl-client-side-apply");
    let patched = api.patch(&uri, "strategic-merge-patch+json", &patch).await.ok();
    let containers = &patched["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers, &json!([{"name": "c", "image": "i:2"}]));
    let managers: Vec<&Value> = patched["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["manager"])
        .collect();
    assert_eq!(managers, ["kubectl-client-side-apply"]);
}

#[tokio::test]
async fn writers_that_meet_both_succeed() {
    let api = std::sync::Arc::new(Api::new().await);
    api.post(MAPS, &map("a")).await.ok();
    let mut tasks = Vec::new();
    for writer in 0..8 {
        let api = std::sync::Arc::clone(&api);
        tasks.push(tokio::spawn(async move {
            let patch = json!({"data": {format!("w{writer}"): "x"}});
            api.patch(&format!("{MAPS}/a"), "merge-patch+json", &patch).await.ok();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let data = api.get(&format!("{MAPS}/a")).await.ok()["data"].clone();
    assert_eq!(data.as_object().unwrap().len(), 9);
}
