//! LimitRanges and ResourceQuotas that act on the server itself.

use serde_json::{Value, json};

use crate::{active::active, harness::*};

const PODS: &str = "/api/v1/namespaces/default/pods";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const RANGES: &str = "/api/v1/namespaces/default/limitranges";

fn pod(name: &str, resources: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i:1", "resources": resources}]},
    })
}

fn claim(name: &str, storage: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}},
    })
}

/// An object of the core group in the default namespace that acts on this server.
fn bounds(kind: &str, name: &str, spec: &Value) -> Value {
    let mut object = active(kind, name, spec);
    object["apiVersion"] = "v1".into();
    object
}

#[tokio::test]
async fn rule_2_5_an_active_limit_range_fills_in_and_bounds() {
    let api = Api::new().await;
    let limits = json!({"limits": [
        {"type": "Container", "max": {"cpu": "2"}, "default": {"cpu": "500m"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    ]});
    let mut range = bounds("LimitRange", "usual", &limits);
    range["metadata"]["annotations"] = json!({});
    api.post(RANGES, &range).await.ok();
    let inert = api.post(PODS, &pod("before", &json!({}))).await.ok();
    assert_eq!(inert["spec"]["containers"][0]["resources"], json!({}));
    let annotate = json!({"metadata": {"annotations": {"archipel.dev/hub": "Active"}}});
    let made = api.patch(&format!("{RANGES}/usual"), "merge-patch+json", &annotate).await;
    assert_eq!(made.warnings(), Vec::<String>::new());
    made.ok();

    let filled = json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}});
    let made = api.post(PODS, &pod("web", &json!({}))).await.ok();
    assert_eq!(made["spec"]["containers"][0]["resources"], filled);
    // Applying again what left it open changes nothing, and takes nothing away.
    let uri = format!("{PODS}/applied");
    let applied = api.apply(&uri, "me", &pod("applied", &json!({}))).await.ok();
    assert_eq!(applied["spec"]["containers"][0]["resources"], filled);
    let again = api.apply(&uri, "me", &pod("applied", &json!({}))).await.ok();
    assert_eq!(again["metadata"]["resourceVersion"], applied["metadata"]["resourceVersion"]);

    let large = pod("large", &json!({"limits": {"cpu": "3"}}));
    let status = api.post(PODS, &large).await.refused(403, "Forbidden");
    assert_eq!(
        status["message"],
        "pods \"large\" is forbidden: spec.containers[0].resources.limits[cpu]: 3 is too much: \
         the maximum is 2 per Container (LimitRange usual)"
    );
    let field = "spec.containers[0].resources.limits[cpu]";
    assert_eq!(status["details"]["causes"][0]["field"], field);
    assert_eq!(status["details"]["causes"][0]["reason"], "LimitRangeExceeded");
    let grown =
        json!([{"op": "add", "path": "/spec/containers/0/resources/limits/cpu", "value": "3"}]);
    let web = format!("{PODS}/web");
    api.patch(&web, "json-patch+json", &grown).await.refused(403, "Forbidden");
    // What was let in before the range was there may still be labelled.
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    api.patch(&format!("{PODS}/before"), "merge-patch+json", &label).await.ok();

    let status = api.post(CLAIMS, &claim("data", "2Gi")).await.refused(403, "Forbidden");
    let field = "spec.resources.requests[storage]";
    assert_eq!(status["details"]["causes"][0]["field"], field);
    // Templates of pods are not pods.
    api.post(DEPLOYMENTS, &deployment("web")).await.ok();

    let wrong = json!({"limits": [{"type": "Pod", "default": {"cpu": "1"}}]});
    let wrong = bounds("LimitRange", "wrong", &wrong);
    let status = api.post(RANGES, &wrong).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.limits[0].default");
}

#[tokio::test]
async fn rule_2_5_an_active_quota_counts_objects() {
    let api = Api::new().await;
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"count/deployments.apps": "2", "configmaps": 1}},
    });
    api.post(QUOTAS, &quota).await.ok();
    for name in ["a", "b"] {
        api.post(DEPLOYMENTS, &deployment(name)).await.ok();
    }
    api.delete(&format!("{DEPLOYMENTS}/b"), &Value::Null).await.ok();
    let annotate = json!({"metadata": {"annotations": {"archipel.dev/hub": "Active"}}});
    let uri = format!("{QUOTAS}/few");
    api.patch(&uri, "merge-patch+json", &annotate).await.ok();
    let (one, two) = (deployment("b"), deployment("c"));
    let (one, two) = tokio::join!(api.post(DEPLOYMENTS, &one), api.post(DEPLOYMENTS, &two));
    let refused = if one.code == 201 { two } else { one };
    let status = refused.refused(403, "Forbidden");
    assert!(
        status["message"].as_str().unwrap().ends_with(
            "is forbidden: exceeded quota: few, requested: count/deployments.apps=1, \
             used: count/deployments.apps=2, limited: count/deployments.apps=2"
        ),
        "{status}"
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "QuotaExceeded");
    api.post(MAPS, &map("a")).await.ok();
    api.post(MAPS, &map("b")).await.refused(403, "Forbidden");
}

/// Waits for what the status of a quota says to be used.
async fn until_used(api: &Api, name: &str, used: &Value) -> Value {
    let asked = async {
        loop {
            let quota = api.get(&format!("{QUOTAS}/{name}")).await.ok();
            if quota["status"]["used"] == *used {
                return quota;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, asked).await.expect("the status does not become so")
}

#[tokio::test]
async fn rule_2_5_an_active_quota_sums_up_what_pods_and_claims_ask_for() {
    let api = Api::new().await;
    let hard = json!({"requests.cpu": "2", "pods": 3, "requests.storage": "5Gi"});
    let sums = bounds("ResourceQuota", "sums", &json!({"hard": hard}));
    api.post(QUOTAS, &sums).await.ok();
    let status = api.post(PODS, &pod("silent", &json!({}))).await.refused(403, "Forbidden");
    assert_eq!(
        status["message"],
        "pods \"silent\" is forbidden: failed quota: sums: must specify requests.cpu for: c"
    );
    let asks = |name: &str, cpu: &str| pod(name, &json!({"requests": {"cpu": cpu}}));
    api.post(PODS, &asks("a", "500m")).await.ok();
    // Trying takes no place.
    api.post(&format!("{PODS}?dryRun=All"), &asks("dry", "1500m")).await.ok();
    let (one, two) = (asks("b", "1"), asks("c", "1"));
    let (one, two) = tokio::join!(api.post(PODS, &one), api.post(PODS, &two));
    let (made, refused) = if one.code == 201 { (one, two) } else { (two, one) };
    let made = made.ok()["metadata"]["name"].as_str().unwrap().to_owned();
    let status = refused.refused(403, "Forbidden");
    assert!(
        status["message"].as_str().unwrap().ends_with(
            "exceeded quota: sums, requested: requests.cpu=1, used: requests.cpu=1500m, \
             limited: requests.cpu=2"
        ),
        "{status}"
    );
    let grow = |cpu: &str| json!([{"op": "replace", "path": "/spec/containers/0/resources/requests/cpu", "value": cpu}]);
    let uri = format!("{PODS}/{made}");
    api.patch(&uri, "json-patch+json", &grow("1600m")).await.refused(403, "Forbidden");
    api.patch(&uri, "json-patch+json", &grow("1500m")).await.ok();
    api.post(CLAIMS, &claim("data", "3Gi")).await.ok();
    api.post(CLAIMS, &claim("more", "3Gi")).await.refused(403, "Forbidden");

    let full = json!({"pods": "2", "requests.cpu": "2", "requests.storage": "3Gi"});
    let quota = until_used(&api, "sums", &full).await;
    let hard = json!({"pods": "3", "requests.cpu": "2", "requests.storage": "5Gi"});
    assert_eq!(quota["status"]["hard"], hard);
    api.delete(&uri, &Value::Null).await.ok();
    let less = json!({"pods": "1", "requests.cpu": "500m", "requests.storage": "3Gi"});
    let quota = until_used(&api, "sums", &less).await;
    // What bears on no quota makes no write of one.
    api.post(MAPS, &map("a")).await.ok();
    api.post(&format!("{PODS}?dryRun=All"), &asks("dry", "1")).await.ok();
    api.post(CLAIMS, &claim("more", "1Gi")).await.ok();
    let more = json!({"pods": "1", "requests.cpu": "500m", "requests.storage": "4Gi"});
    let after = until_used(&api, "sums", &more).await;
    let version = |it: &Value| -> u64 {
        it["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    };
    // The map, the claim, the status: one write each.
    assert_eq!(version(&after), version(&quota) + 3);

    let inert = json!({"metadata": {"annotations": {"archipel.dev/hub": null}}});
    api.patch(&format!("{QUOTAS}/sums"), "merge-patch+json", &inert).await.ok();
    until_used(&api, "sums", &Value::Null).await;
    api.post(PODS, &asks("large", "64")).await.ok();
}

#[tokio::test]
async fn rule_2_5_an_active_quota_bears_on_its_scopes_only() {
    let api = Api::new().await;
    let spec = json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]});
    api.post(QUOTAS, &bounds("ResourceQuota", "idle", &spec)).await.ok();
    api.post(PODS, &pod("a", &json!({}))).await.ok();
    api.post(PODS, &pod("b", &json!({}))).await.refused(403, "Forbidden");
    api.post(PODS, &pod("c", &json!({"requests": {"cpu": "1"}}))).await.ok();
    until_used(&api, "idle", &json!({"pods": "1"})).await;
    let wrong = json!({"hard": {"limits.nvidia.com/gpu": "1"}, "scopes": ["Idle"]});
    let status =
        api.post(QUOTAS, &bounds("ResourceQuota", "wrong", &wrong)).await.refused(422, "Invalid");
    let causes = &status["details"]["causes"];
    assert_eq!(causes[0]["field"], "spec.hard[limits.nvidia.com/gpu]");
    assert_eq!(causes[1]["field"], "spec.scopes[0]");
}

#[tokio::test]
async fn rule_2_5_a_misspelt_annotation_is_refused_where_it_means_something() {
    let api = Api::new().await;
    let spec = json!({"hard": {"pods": "1"}});
    for value in ["active", "Aktive", ""] {
        let mut quota = bounds("ResourceQuota", "few", &spec);
        quota["metadata"]["annotations"]["archipel.dev/hub"] = value.into();
        let status = api.post(QUOTAS, &quota).await.refused(422, "Invalid");
        let cause = &status["details"]["causes"][0];
        assert_eq!(cause["field"], "metadata.annotations[archipel.dev/hub]");
        let message = format!("Unsupported value: {value:?}: supported values: \"Active\"");
        assert_eq!(cause["message"], message.as_str());
    }
    let mut hooks = active("ValidatingWebhookConfiguration", "none", &json!({}));
    hooks.as_object_mut().unwrap().remove("spec");
    let uri = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    api.post(uri, &hooks).await.ok();
    let wrong = json!({"metadata": {"annotations": {"archipel.dev/hub": "active"}}});
    let uri = format!("{uri}/none");
    api.patch(&uri, "merge-patch+json", &wrong).await.refused(422, "Invalid");
    // Elsewhere it is an annotation like any other.
    let mut other = map("other");
    other["metadata"]["annotations"] = json!({"archipel.dev/hub": "active"});
    api.post(MAPS, &other).await.ok();
}
