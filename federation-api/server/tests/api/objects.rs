//! Create, get, update and delete.

use std::sync::Arc;

use federation_server::{
    body::ResponseBody,
    hooks::{Admission, AdmissionRequest, Verdict},
    observe::{Answered, Observer},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::*;

#[tokio::test]
async fn an_object_comes_back_as_it_was_written() {
    let api = Api::new().await;
    let made = api.post(MAPS, &map("a")).await;
    assert_eq!(made.code, 201);
    let made = made.ok();
    assert_eq!(made["data"], json!({"a": "1"}));
    assert_eq!(made["metadata"]["namespace"], "default");
    assert!(made["metadata"]["resourceVersion"].is_string());
    assert_eq!(made["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Update");
    let read = api.get(&format!("{MAPS}/a")).await.ok();
    assert_eq!(read, made);
    let status = api.post(MAPS, &map("a")).await.refused(409, "AlreadyExists");
    assert_eq!(status["message"], "configmaps \"a\" already exists");
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps"}));
}

#[tokio::test]
async fn rule_4_1_an_object_is_stored_as_the_user_wrote_it() {
    let api = Api::new().await;
    let mut wanted = deployment("web");
    wanted["status"] = json!({"replicas": 9});
    let made = api.post(DEPLOYMENTS, &wanted).await.ok();
    assert_eq!(made["spec"], deployment("web")["spec"]);
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["status"], json!({}));
    let stored = api.server.store().get("/apps/deployments/default/web").await.unwrap().unwrap();
    let stored: Value = serde_json::from_slice(&stored.value).unwrap();
    assert_eq!(stored.get("status"), None);
    assert_eq!(stored["spec"], deployment("web")["spec"]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let api = Api::new().await;
    let status = api.get(&format!("{DEPLOYMENTS}/x")).await.refused(404, "NotFound");
    assert_eq!(status["message"], "deployments.apps \"x\" not found");
    assert_eq!(status["details"], json!({"name": "x", "group": "apps", "kind": "deployments"}));
    api.get("/api/v1/namespaces/default/nothings").await.refused(404, "NotFound");
    api.get("/nothing").await.refused(404, "NotFound");
    let missing = "/api/v1/namespaces/none/configmaps";
    let status = api.post(missing, &map("a")).await.refused(404, "NotFound");
    assert_eq!(status["message"], "namespaces \"none\" not found");
}

#[tokio::test]
async fn bad_bodies_are_named() {
    let api = Api::new().await;
    api.send("POST", MAPS, &[("content-type", "application/json")], "{")
        .await
        .refused(400, "BadRequest");
    api.send("POST", MAPS, &[], "").await.refused(400, "BadRequest");
    api.send("POST", MAPS, &[("content-type", "text/plain")], "{}")
        .await
        .refused(415, "UnsupportedMediaType");
    api.post(MAPS, &deployment("a")).await.refused(400, "BadRequest");
    let mut wrong = deployment("a");
    wrong["spec"]["replicas"] = "three".into();
    api.post(DEPLOYMENTS, &wrong).await.refused(400, "BadRequest");
    let long = "x".repeat(3 * 1024 * 1024 + 1);
    api.send("POST", MAPS, &[], long).await.refused(413, "RequestEntityTooLarge");
    let status = api.post(MAPS, &map("A_b")).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.name");
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueInvalid");
    let mut labelled = map("a");
    labelled["metadata"]["labels"] = json!({"a b": "c"});
    let status = api.post(MAPS, &labelled).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.labels");
    let accept = [("accept", "application/vnd.kubernetes.protobuf")];
    api.send("GET", MAPS, &accept, "").await.refused(406, "NotAcceptable");
}

#[tokio::test]
async fn what_every_cluster_would_refuse_is_refused_at_once() {
    let api = Api::new().await;
    let mut wrong = deployment("a");
    wrong["spec"]["template"]["metadata"]["labels"] = json!({"app": "b"});
    wrong["spec"]["template"]["spec"]["containers"][0]["name"] = "".into();
    let status = api.post(DEPLOYMENTS, &wrong).await.refused(422, "Invalid");
    let fields: Vec<&str> = status["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["spec.template.metadata.labels", "spec.template.spec.containers[0].name"]);
    let service = json!({"metadata": {"name": "a"}, "spec": {"ports": [{"name": "x"}]}});
    let services = "/api/v1/namespaces/default/services";
    let status = api.post(services, &service).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.ports[0].port");
}

#[tokio::test]
async fn a_generated_name_is_unique() {
    let api = Api::new().await;
    let body = json!({"metadata": {"generateName": "x-"}});
    let first = api.post(MAPS, &body).await.ok();
    let second = api.post(MAPS, &body).await.ok();
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name(&first).starts_with("x-") && name(&first).len() == 7);
    assert_ne!(name(&first), name(&second));
}

#[tokio::test]
async fn an_update_needs_the_newest_version_if_it_names_one() {
    let api = Api::new().await;
    let made = api.post(MAPS, &map("a")).await.ok();
    let mut next = made.clone();
    next["data"]["a"] = "2".into();
    let updated = api.put(&format!("{MAPS}/a"), &next).await.ok();
    assert_eq!(updated["data"]["a"], "2");
    assert_eq!(updated["metadata"]["uid"], made["metadata"]["uid"]);
    next["data"]["a"] = "3".into();
    let status = api.put(&format!("{MAPS}/a"), &next).await.refused(409, "Conflict");
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    // Without a version it is taken as it is.
    api.put(&format!("{MAPS}/a"), &map("a")).await.ok();
    api.put(&format!("{MAPS}/b"), &map("a")).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn a_write_that_changes_nothing_writes_nothing() {
    let api = Api::new().await;
    let made = api.post(MAPS, &map("a")).await.ok();
    let before = api.server.store().revision();
    let same = api.put(&format!("{MAPS}/a"), &made).await.ok();
    assert_eq!(same, made);
    api.patch(&format!("{MAPS}/a"), "merge-patch+json", &json!({"data": {"a": "1"}})).await.ok();
    assert_eq!(api.server.store().revision(), before);
}

#[tokio::test]
async fn the_generation_counts_changes_of_content() {
    let api = Api::new().await;
    api.post(DEPLOYMENTS, &deployment("a")).await.ok();
    let uri = format!("{DEPLOYMENTS}/a");
    let generation = |object: &Value| object["metadata"]["generation"].as_i64().unwrap();
    let labelled =
        api.patch(&uri, "merge-patch+json", &json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!(generation(&labelled.ok()), 1);
    let scaled = api.patch(&uri, "merge-patch+json", &json!({"spec": {"replicas": 5}})).await;
    assert_eq!(generation(&scaled.ok()), 2);
    let status = json!({"status": {"replicas": 5}, "spec": {"replicas": 7}});
    let reported = api.patch(&format!("{uri}/status"), "merge-patch+json", &status).await.ok();
    assert_eq!(generation(&reported), 2);
    assert_eq!(reported["status"]["replicas"], 5);
    assert_eq!(reported["spec"]["replicas"], 5);
    let main = api.patch(&uri, "merge-patch+json", &json!({"status": {"replicas": 1}})).await.ok();
    assert_eq!(main["status"]["replicas"], 5);
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_and_writes_nothing() {
    let api = Api::new().await;
    let before = api.server.store().revision();
    let made = api.post(&format!("{MAPS}?dryRun=All"), &map("a")).await;
    assert_eq!(made.code, 201);
    assert!(made.ok()["metadata"]["uid"].is_string());
    assert_eq!(api.server.store().revision(), before);
    api.get(&format!("{MAPS}/a")).await.refused(404, "NotFound");
    api.post(&format!("{MAPS}?dryRun=Some"), &map("a")).await.refused(422, "Invalid");
}

#[tokio::test]
async fn unknown_fields_are_warned_of_or_refused() {
    let api = Api::new().await;
    let mut body = deployment("a");
    body["spec"]["nonsense"] = 1.into();
    let made = api.post(DEPLOYMENTS, &body).await;
    assert_eq!(made.warnings(), ["299 - \"unknown field \\\"spec.nonsense\\\"\""]);
    assert_eq!(made.ok()["spec"].get("nonsense"), None);
    let strict = format!("{DEPLOYMENTS}?fieldValidation=Strict");
    let status = api.post(&strict, &body).await.refused(400, "BadRequest");
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("strict decoding error: unknown field \"spec.nonsense\""),
        "{message}"
    );
    let twice = r#"{"metadata":{"name":"b"},"data":{"a":"1","a":"2"}}"#;
    let answer = api.send("POST", MAPS, &[("content-type", "application/json")], twice).await;
    assert_eq!(answer.warnings(), ["299 - \"duplicate field \\\"data.a\\\"\""]);
    body["metadata"]["name"] = "c".into();
    let ignored = api.post(&format!("{DEPLOYMENTS}?fieldValidation=Ignore"), &body).await;
    assert_eq!(ignored.warnings(), Vec::<String>::new());
}

#[tokio::test]
async fn a_delete_answers_with_a_status_and_honours_preconditions() {
    let api = Api::new().await;
    let made = api.post(MAPS, &map("a")).await.ok();
    let uri = format!("{MAPS}/a");
    let wrong = json!({"preconditions": {"uid": "other"}});
    let status = api.delete(&uri, &wrong).await.refused(409, "Conflict");
    assert!(status["message"].as_str().unwrap().contains("UID in precondition: other"));
    let status = api.delete(&uri, &Value::Null).await.ok();
    assert_eq!(status["status"], "Success");
    assert_eq!(status["details"]["uid"], made["metadata"]["uid"]);
    api.delete(&uri, &Value::Null).await.refused(404, "NotFound");
}

#[tokio::test]
async fn finalizers_hold_a_deleted_object_until_they_are_gone() {
    let api = Api::new().await;
    let mut body = map("a");
    body["metadata"]["finalizers"] = json!(["example.org/hold"]);
    api.post(MAPS, &body).await.ok();
    let uri = format!("{MAPS}/a");
    let waiting = api.delete(&uri, &Value::Null).await.ok();
    assert!(waiting["metadata"]["deletionTimestamp"].is_string());
    let revision = api.server.store().revision();
    api.delete(&uri, &Value::Null).await.ok();
    assert_eq!(api.server.store().revision(), revision);
    let add = json!({"metadata": {"finalizers": ["example.org/hold", "example.org/more"]}});
    api.patch(&uri, "merge-patch+json", &add).await.refused(422, "Invalid");
    let release = json!({"metadata": {"finalizers": null}});
    api.patch(&uri, "merge-patch+json", &release).await.ok();
    api.get(&uri).await.refused(404, "NotFound");
}

#[tokio::test]
async fn propagation_is_said_by_finalizers() {
    let api = Api::new().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let name = policy.to_lowercase();
        api.post(MAPS, &map(&name)).await.ok();
        let uri = format!("{MAPS}/{name}");
        let waiting = api.delete(&uri, &json!({"propagationPolicy": policy})).await.ok();
        assert_eq!(waiting["metadata"]["finalizers"], json!([finalizer]));
    }
    api.delete(&format!("{MAPS}/orphan?propagationPolicy=Sideways"), &Value::Null)
        .await
        .refused(422, "Invalid");
}

#[tokio::test]
async fn a_collection_is_deleted_as_selected() {
    let api = Api::new().await;
    for name in ["a", "b", "c"] {
        let mut body = map(name);
        body["metadata"]["labels"] = json!({"keep": if name == "b" { "yes" } else { "no" }});
        api.post(MAPS, &body).await.ok();
    }
    let gone = api.delete(&format!("{MAPS}?labelSelector=keep%3Dno"), &Value::Null).await.ok();
    assert_eq!(gone["items"].as_array().unwrap().len(), 2);
    let left = api.get(MAPS).await.ok();
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_namespace_that_is_going_takes_nothing_in() {
    let api = Api::new().await;
    let made = api.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await.ok();
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "n");
    let going = api.delete("/api/v1/namespaces/n", &Value::Null).await.ok();
    assert_eq!(going["status"]["phase"], "Terminating");
    let status =
        api.post("/api/v1/namespaces/n/configmaps", &map("a")).await.refused(403, "Forbidden");
    assert_eq!(status["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let mut finalized = going.clone();
    finalized["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/n/finalize", &finalized).await.ok();
    api.get("/api/v1/namespaces/n").await.refused(404, "NotFound");
    api.delete("/api/v1/namespaces/default", &Value::Null).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn secrets_and_immutable_maps() {
    let api = Api::new().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let body = json!({"metadata": {"name": "a"}, "stringData": {"k": "v"}, "data": {"o": "bw=="}});
    let made = api.post(secrets, &body).await.ok();
    assert_eq!(made["data"], json!({"k": "dg==", "o": "bw=="}));
    assert_eq!((made.get("stringData"), made.get("type")), (None, None));
    let mut frozen = map("f");
    frozen["immutable"] = true.into();
    api.post(MAPS, &frozen).await.ok();
    let uri = format!("{MAPS}/f");
    let status = api.patch(&uri, "merge-patch+json", &json!({"data": {"a": "2"}})).await;
    assert_eq!(status.refused(422, "Invalid")["details"]["causes"][0]["field"], "data");
    api.patch(&uri, "merge-patch+json", &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
}

#[tokio::test]
async fn yaml_goes_in_and_comes_out() {
    let api = Api::new().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata:\n  a: 'yes'\n";
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let answer = api.send("POST", MAPS, &headers, yaml).await;
    assert_eq!(answer.code, 201);
    let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
    // For a reader of YAML 1.1 both are truths unless they are quoted.
    assert!(text.contains("name: 'y'") && text.contains("a: 'yes'"), "{text}");
    assert_eq!(api.get(&format!("{MAPS}/y")).await.ok()["data"]["a"], "yes");
}

#[tokio::test]
async fn protobuf_goes_in() {
    // ConfigMap {metadata {name "p"}, data {"k": "v"}} in the envelope of v1 ConfigMap.
    let metadata = [&[0x0a, 0x01][..], b"p"].concat();
    let data = [&[0x0a, 0x01][..], b"k", &[0x12, 0x01], b"v"].concat();
    let raw = [&[0x0a, 3][..], &metadata, &[0x12, 6], &data].concat();
    let kind = [&[0x0a, 2][..], b"v1", &[0x12, 9], b"ConfigMap"].concat();
    let mut body = b"k8s\0".to_vec();
    body.extend([0x0a, u8::try_from(kind.len()).unwrap()]);
    body.extend(&kind);
    body.extend([0x12, u8::try_from(raw.len()).unwrap()]);
    body.extend(&raw);
    let api = Api::new().await;
    let headers = [
        ("content-type", "application/vnd.kubernetes.protobuf"),
        ("accept", "application/vnd.kubernetes.protobuf,application/json"),
    ];
    let made = api.send("POST", MAPS, &headers, body).await.ok();
    assert_eq!(made["metadata"]["name"], "p");
    assert_eq!(made["data"], json!({"k": "v"}));
}

#[tokio::test]
async fn scale_is_one_form_for_all() {
    let api = Api::new().await;
    let mut body = deployment("a");
    body["spec"].as_object_mut().unwrap().remove("replicas");
    api.post(DEPLOYMENTS, &body).await.ok();
    let uri = format!("{DEPLOYMENTS}/a/scale");
    let scale = api.get(&uri).await.ok();
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["spec"]["replicas"], 1);
    assert_eq!(scale["status"], json!({"replicas": 0, "selector": "app=a"}));
    let mut wanted = scale.clone();
    wanted["spec"]["replicas"] = 4.into();
    assert_eq!(api.put(&uri, &wanted).await.ok()["spec"]["replicas"], 4);
    let object = api.get(&format!("{DEPLOYMENTS}/a")).await.ok();
    assert_eq!(
        (&object["spec"]["replicas"], &object["metadata"]["generation"]),
        (&4.into(), &2.into())
    );
    api.put(&uri, &wanted).await.refused(409, "Conflict");
    let patched = api.patch(&uri, "merge-patch+json", &json!({"spec": {"replicas": 6}})).await.ok();
    assert_eq!(patched["spec"]["replicas"], 6);
    let negative = json!({"spec": {"replicas": -1}});
    api.patch(&uri, "merge-patch+json", &negative).await.refused(422, "Invalid");
}

#[tokio::test]
async fn what_is_fixed_at_creation_stays() {
    let api = Api::new().await;
    api.post(DEPLOYMENTS, &deployment("a")).await.ok();
    let moved = json!({"spec": {
        "selector": {"matchLabels": {"app": "b"}},
        "template": {"metadata": {"labels": {"app": "b"}}},
    }});
    let status = api
        .patch(&format!("{DEPLOYMENTS}/a"), "merge-patch+json", &moved)
        .await
        .refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.selector");
    let template = &deployment("j")["spec"]["template"];
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": template}});
    let status = api.post(jobs, &job).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.template.spec.restartPolicy");
}

#[tokio::test]
async fn the_two_faces_of_events_and_autoscalers_are_one_object() {
    let api = Api::new().await;
    let event = json!({
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "message": "m",
        "reason": "R",
    });
    api.post("/api/v1/namespaces/default/events", &event).await.ok();
    let other = "/apis/events.k8s.io/v1/namespaces/default/events";
    assert_eq!(api.get(&format!("{other}/e")).await.ok()["note"], "m");
    let selected = api.get(&format!("{other}?fieldSelector=regarding.name%3Dp")).await.ok();
    assert_eq!(selected["items"][0]["regarding"]["kind"], "Pod");
    let of = |version: &str| {
        format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers")
    };
    let scaler = json!({"metadata": {"name": "h"}, "spec": {
        "maxReplicas": 3,
        "scaleTargetRef": {"kind": "Deployment", "name": "a"},
        "targetCPUUtilizationPercentage": 50,
    }});
    let made = api.post(&of("v1"), &scaler).await.ok();
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 50);
    let newer = api.get(&format!("{}/h", of("v2"))).await.ok();
    assert_eq!(newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
}

#[tokio::test]
async fn rule_2_5_a_webhook_is_stored_with_a_warning_and_never_called() {
    let api = Api::new().await;
    let configurations = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let body = json!({
        "metadata": {"name": "w"},
        "webhooks": [{
            "name": "w.example.org",
            "clientConfig": {"service": {"namespace": "default", "name": "w"}},
            "failurePolicy": "Fail",
            "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    });
    let made = api.post(configurations, &body).await;
    assert_eq!(made.warnings().len(), 1, "{:?}", made.warnings());
    assert!(made.warnings()[0].contains("act on members only"));
    made.ok();
    // It would refuse everything if it were called.
    api.post(MAPS, &map("a")).await.ok();
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let api = Api::new().await;
    for (uri, code) in [
        (DEPLOYMENTS, 405),
        ("/api/v1/namespaces/default", 405),
        ("/apis/apps/v1", 405),
        ("/version", 405),
        ("/openapi/v3", 200),
    ] {
        let answer = api.send("HEAD", uri, &[], "").await;
        assert_eq!((answer.code.as_u16(), answer.bytes.len()), (code, 0), "{uri}");
    }
    api.send("POST", "/apis", &[], "").await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn an_empty_status_is_shown_and_makes_no_difference() {
    let api = Api::new().await;
    let made = api.post(DEPLOYMENTS, &deployment("web")).await.ok();
    assert_eq!(made["status"], json!({}));
    let uri = format!("{DEPLOYMENTS}/web");
    let live = api.get(&uri).await.ok();
    assert_eq!(live["status"], json!({}));
    assert_eq!(api.get(DEPLOYMENTS).await.ok()["items"][0]["status"], json!({}));
    // Written back as it was read, it is the same object.
    assert_eq!(api.put(&uri, &live).await.ok()["metadata"], live["metadata"]);
    let dry =
        api.apply(&format!("{uri}?dryRun=All&force=true"), "me", &deployment("web")).await.ok();
    assert_eq!(dry["status"], live["status"]);
    assert_eq!(api.post(MAPS, &map("m")).await.ok().get("status"), None);
}

/// Keeps the names that it is told.
#[derive(Debug, Default)]
struct Names(Mutex<Vec<String>>);

impl Observer for Names {
    fn answered(
        &self,
        answered: Answered<'_>,
        response: http::Response<ResponseBody>,
    ) -> http::Response<ResponseBody> {
        self.0.lock().push(answered.attributes.name.clone());
        response
    }
}

#[tokio::test]
async fn who_sees_a_create_go_out_is_told_the_name() {
    let names = Arc::new(Names::default());
    let observer = Arc::clone(&names);
    let api = Api::with(|options| options.observers = vec![observer]).await;
    let mut generated = map("");
    generated["metadata"] = json!({"generateName": "web-"});
    let made = api.post(MAPS, &generated).await.ok();
    api.post(MAPS, &map("a")).await.ok();
    api.post(MAPS, &map("a")).await.refused(409, "AlreadyExists");
    let name = made["metadata"]["name"].as_str().unwrap();
    assert_eq!(*names.0.lock(), ["default", name, "a", "a"]);
}

/// Wants a finalizer on every ConfigMap.
#[derive(Debug)]
struct Keeps;

impl Admission for Keeps {
    fn judge(&self, _: &AdmissionRequest<'_>) -> Verdict {
        Verdict::Allow(Vec::new())
    }

    fn finalizers(&self, request: &AdmissionRequest<'_>) -> Vec<&'static str> {
        if request.kind == "ConfigMap" { vec!["example.com/kept"] } else { Vec::new() }
    }
}

#[tokio::test]
async fn a_hooks_finalizer_is_there_from_the_start_and_is_nobodys_field() {
    let api = Api::with(|options| options.admission.push(Arc::new(Keeps))).await;
    let object = json!({"metadata": {"name": "a", "finalizers": ["example.com/own"]}});
    let made = api.post("/api/v1/namespaces/default/configmaps", &object).await.ok();
    let both = json!(["example.com/own", "example.com/kept"]);
    assert_eq!(made["metadata"]["finalizers"], both);
    let owned = made["metadata"]["managedFields"].to_string();
    assert!(owned.contains("example.com/own") && !owned.contains("example.com/kept"), "{owned}");
    // What is applied without it does not take it away.
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}});
    for _ in 0..2 {
        let uri = "/api/v1/namespaces/default/configmaps/b?fieldManager=t";
        let headers = [("content-type", "application/apply-patch+yaml")];
        let applied = api.send("PATCH", uri, &headers, config.to_string()).await.ok();
        assert_eq!(applied["metadata"]["finalizers"], json!(["example.com/kept"]));
    }
}
