//! Policies and webhooks that act on the server itself.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};

use crate::harness::*;

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

pub(crate) fn active(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "annotations": {"archipel.dev/hub": "Active"}},
        "spec": spec,
    })
}

fn rules(resource: &str) -> Value {
    json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resource]}])
}

fn replicas_policy() -> Value {
    active(
        "ValidatingAdmissionPolicy",
        "replicas",
        &json!({
            "matchConstraints": {"resourceRules": rules("deployments")},
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConditions": [{"name": "not-free", "expression": "object.metadata.name != 'free'"}],
            "variables": [{"name": "most", "expression": "int(params.data.most)"}],
            "validations": [{
                "expression": "object.spec.replicas <= variables.most",
                "messageExpression": "'at most ' + string(variables.most)",
            }],
        }),
    )
}

fn binding(actions: &Value) -> Value {
    let mut binding = active(
        "ValidatingAdmissionPolicyBinding",
        "everywhere",
        &json!({
            "policyName": "replicas",
            "validationActions": actions,
            "paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"},
        }),
    );
    binding["metadata"]["annotations"] = json!({});
    binding
}

/// Repeats a dry run until what was just made active is followed.
async fn until(api: &Api, uri: &str, body: &Value, done: impl Fn(&Answer) -> bool) -> Answer {
    let dry = format!("{uri}?dryRun=All");
    let tried = async {
        loop {
            let answer = api.post(&dry, body).await;
            if done(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, tried).await.expect("it does not become so")
}

#[tokio::test]
async fn rule_2_5_a_policy_acts_here_only_if_it_is_made_active() {
    let api = Api::new().await;
    let mut inert = replicas_policy();
    inert["metadata"]["annotations"] = json!({});
    let policies = format!("{ADMISSION}/validatingadmissionpolicies");
    let bindings = format!("{ADMISSION}/validatingadmissionpolicybindings");
    let made = api.post(&policies, &inert).await;
    assert_eq!(made.warnings().len(), 1, "{:?}", made.warnings());
    api.post(&bindings, &binding(&json!(["Deny"]))).await.ok();
    api.post(DEPLOYMENTS, &deployment("before")).await.ok();

    let annotate = json!({"metadata": {"annotations": {"archipel.dev/hub": "Active"}}});
    let uri = format!("{policies}/replicas");
    let changed = api.patch(&uri, "merge-patch+json", &annotate).await;
    assert_eq!(changed.warnings(), Vec::<String>::new());
    let web = deployment("web");
    let refused = until(&api, DEPLOYMENTS, &web, |it| it.code == 422).await;
    let status = refused.refused(422, "Invalid");
    assert_eq!(
        status["message"],
        "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding \
         'everywhere' could not judge request: no params found for policy binding"
    );
    let mut limits = map("limits");
    limits["data"] = json!({"most": "2"});
    api.post(MAPS, &limits).await.ok();
    let status = api.post(DEPLOYMENTS, &web).await.refused(422, "Invalid");
    assert!(status["message"].as_str().unwrap().ends_with("denied request: at most 2"), "{status}");
    api.post(DEPLOYMENTS, &deployment("free")).await.ok();
    let mut small = web.clone();
    small["spec"]["replicas"] = 2.into();
    api.post(DEPLOYMENTS, &small).await.ok();
    let more = json!({"spec": {"replicas": 3}});
    let uri = format!("{DEPLOYMENTS}/web");
    api.patch(&uri, "merge-patch+json", &more).await.refused(422, "Invalid");

    let uri = format!("{bindings}/everywhere");
    let warn = json!({"spec": {"validationActions": ["Warn"]}});
    api.patch(&uri, "merge-patch+json", &warn).await.ok();
    let large = deployment("large");
    let warned = until(&api, DEPLOYMENTS, &large, |it| it.code == 201).await;
    assert!(warned.warnings()[0].contains("at most 2"), "{:?}", warned.warnings());
}

#[tokio::test]
async fn an_active_policy_that_cannot_be_carried_out_is_refused() {
    let api = Api::new().await;
    let policies = format!("{ADMISSION}/validatingadmissionpolicies");
    for (path, expression) in [
        ("/spec/validations/0/expression", "object.spec.replicas >"),
        ("/spec/validations/0/expression", "authorizer.group('').check('x').allowed()"),
        ("/spec/variables/0/expression", "nothing"),
        ("/spec/matchConditions/0/expression", "params.x"),
    ] {
        let mut policy = replicas_policy();
        *policy.pointer_mut(path).unwrap() = expression.into();
        let status = api.post(&policies, &policy).await.refused(422, "Invalid");
        let field = path.trim_start_matches('/').replace("/0/", "[0].").replace('/', ".");
        assert_eq!(status["details"]["causes"][0]["field"], field, "{status}");
        policy["metadata"]["annotations"] = json!({});
        policy["metadata"]["name"] = format!("inert-{}", expression.len()).into();
        api.post(&policies, &policy).await.ok();
    }
    let hooks = format!("{ADMISSION}/validatingwebhookconfigurations");
    let mut hook = webhook("http://127.0.0.1:1/", "", &json!({}));
    let status = api.post(&hooks, &hook).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "webhooks[0].clientConfig.url");
    hook["webhooks"][0]["clientConfig"] = json!({"service": {"name": "a", "namespace": "b"}});
    let made = api.post(&hooks, &hook).await;
    assert!(made.warnings()[0].contains("does not call them"), "{:?}", made.warnings());
}

fn webhook(url: &str, bundle: &str, more: &Value) -> Value {
    let mut hook = json!({
        "name": "check.example.org",
        "clientConfig": {"url": url},
        "rules": rules("deployments"),
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    });
    if !bundle.is_empty() {
        hook["clientConfig"]["caBundle"] = bundle.into();
    }
    for (field, value) in more.as_object().unwrap() {
        hook[field] = value.clone();
    }
    let mut configuration = active("ValidatingWebhookConfiguration", "check", &Value::Null);
    configuration.as_object_mut().unwrap().remove("spec");
    configuration["webhooks"] = json!([hook]);
    configuration
}

type Reviews = Arc<Mutex<Vec<Value>>>;

/// A webhook on this machine: its URL, the certificate to trust, and what it was asked.
async fn listen(answer: fn(&Value) -> Value) -> (String, String, Reviews) {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let certificate = own.signed_by(&key, &issuer).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/review", listener.local_addr().unwrap());
    let asked = Reviews::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let service = hyper::service::service_fn(
                    move |request: http::Request<hyper::body::Incoming>| {
                        let seen = Arc::clone(&seen);
                        async move {
                            use http_body_util::BodyExt as _;
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let review: Value = serde_json::from_slice(&body).unwrap();
                            let mut response = answer(&review);
                            response["uid"] = review["request"]["uid"].clone();
                            seen.lock().push(review["request"].clone());
                            let text = json!({"response": response}).to_string();
                            Ok::<_, std::convert::Infallible>(http::Response::new(text))
                        }
                    },
                );
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    (url, STANDARD.encode(root.pem()), asked)
}

fn no_latest(review: &Value) -> Value {
    let image = &review["request"]["object"]["spec"]["template"]["spec"]["containers"][0]["image"];
    let good = !image.as_str().unwrap_or_default().ends_with(":latest");
    json!({"allowed": good, "status": {"message": "no latest images"}, "warnings": ["seen"]})
}

#[tokio::test]
async fn rule_2_5_an_active_webhook_is_called_by_url() {
    let (url, bundle, asked) = listen(no_latest).await;
    let api = Api::new().await;
    let hooks = format!("{ADMISSION}/validatingwebhookconfigurations");
    api.post(&hooks, &webhook(&url, &bundle, &json!({}))).await.ok();
    let mut latest = deployment("web");
    latest["spec"]["template"]["spec"]["containers"][0]["image"] = "i:latest".into();
    let refused = until(&api, DEPLOYMENTS, &latest, |it| it.code == 403).await;
    let status = refused.refused(403, "Forbidden");
    assert_eq!(
        status["message"],
        "admission webhook \"check.example.org\" denied the request: no latest images"
    );
    let made = api.post(DEPLOYMENTS, &deployment("web")).await;
    assert!(made.warnings()[0].contains("seen"), "{:?}", made.warnings());
    made.ok();
    api.post(MAPS, &map("a")).await.ok();
    let asked = asked.lock();
    let last = asked.last().unwrap();
    assert_eq!(last["operation"], "CREATE");
    assert_eq!(
        last["resource"],
        json!({"group": "apps", "version": "v1", "resource": "deployments"})
    );
    assert_eq!(last["userInfo"]["username"], "tester");
    assert_eq!(
        (&last["dryRun"], &last["object"]["metadata"]["name"]),
        (&false.into(), &"web".into())
    );
    assert!(asked.iter().rev().skip(1).all(|request| request["dryRun"] == true));
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_fails_as_its_policy_says() {
    let api = Api::new().await;
    let hooks = format!("{ADMISSION}/validatingwebhookconfigurations");
    // Nobody listens there.
    let url = "https://127.0.0.1:1/";
    let mut side = webhook(url, "", &json!({}));
    side["webhooks"][0]["sideEffects"] = "Some".into();
    api.post(&hooks, &side).await.refused(422, "Invalid");
    let made = api.post(&hooks, &webhook(url, "", &json!({}))).await.ok();
    let web = deployment("web");
    let failed = until(&api, DEPLOYMENTS, &web, |it| it.code == 500).await;
    let message = failed.refused(500, "InternalError")["message"].to_string();
    assert!(message.contains("failed calling webhook \\\"check.example.org\\\""), "{message}");
    let mut ignoring = made.clone();
    ignoring["webhooks"][0]["failurePolicy"] = "Ignore".into();
    api.put(&format!("{hooks}/check"), &ignoring).await.ok();
    until(&api, DEPLOYMENTS, &web, |it| it.code == 201).await;
}

fn label(review: &Value) -> Value {
    let labels = &review["request"]["object"]["metadata"]["labels"];
    assert!(labels.is_object(), "{review}");
    let patch = json!([{"op": "add", "path": "/metadata/labels/team", "value": "shop"}]);
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())})
}

#[tokio::test]
async fn a_mutating_webhook_changes_what_is_stored() {
    let (url, bundle, _) = listen(label).await;
    let api = Api::new().await;
    let mut hook = webhook(&url, &bundle, &json!({"reinvocationPolicy": "Never"}));
    hook["kind"] = "MutatingWebhookConfiguration".into();
    let hooks = format!("{ADMISSION}/mutatingwebhookconfigurations");
    api.post(&hooks, &hook).await.ok();
    let web = deployment("web");
    let done = |it: &Answer| it.body["metadata"]["labels"]["team"] == "shop";
    until(&api, DEPLOYMENTS, &web, done).await;
    let made = api.post(DEPLOYMENTS, &web).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"app": "web", "team": "shop"}));
}

const MUTATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies";

fn mutation(name: &str, mutations: &Value) -> Value {
    active(
        "MutatingAdmissionPolicy",
        name,
        &json!({
            "matchConstraints": {"resourceRules": rules("deployments")},
            "reinvocationPolicy": "Never",
            "mutations": mutations,
        }),
    )
}

/// Makes a mutating policy with its binding.
async fn mutate_by(api: &Api, policy: &Value) {
    let name = &policy["metadata"]["name"];
    let bound = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    });
    let bindings = format!("{ADMISSION}/mutatingadmissionpolicybindings");
    api.post(&bindings, &bound).await.ok();
    let made = api.post(MUTATIONS, policy).await;
    assert_eq!(made.warnings(), Vec::<String>::new());
    made.ok();
}

fn configuration(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn json_patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

#[tokio::test]
async fn rule_2_5_an_active_mutating_policy_changes_what_is_stored() {
    let api = Api::new().await;
    let mut policy = mutation(
        "sidecar",
        &json!([
            configuration(
                "Object{spec: Object.spec{replicas: object.spec.replicas + variables.more, \
                 template: Object.spec.template{spec: Object.spec.template.spec{containers: \
                 [Object.spec.template.spec.containers{name: 'side', image: 's:1'}]}}}}",
            ),
            json_patch(
                "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a.b/replicas'), \
                 value: string(object.spec.replicas)}]",
            ),
            json_patch(
                "[JSONPatch{op: 'test', path: '/spec/replicas', value: 9}, \
                 JSONPatch{op: 'remove', path: '/spec/replicas'}]",
            ),
        ]),
    );
    policy["spec"]["variables"] = json!([{"name": "more", "expression": "1"}]);
    policy["spec"]["matchConditions"] =
        json!([{"name": "once", "expression": "request.operation == 'CREATE'"}]);
    mutate_by(&api, &policy).await;
    let web = deployment("web");
    let done = |it: &Answer| it.body["spec"]["replicas"] == 4;
    until(&api, DEPLOYMENTS, &web, done).await;
    let made = api.post(DEPLOYMENTS, &web).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"app": "web", "a.b/replicas": "4"}));
    assert_eq!(
        made["spec"]["template"]["spec"]["containers"],
        json!([{"name": "c", "image": "i:1"}, {"name": "side", "image": "s:1"}])
    );
    assert_eq!(made["spec"]["replicas"], 4);
    // A validating policy sees what came of it, and objects that it is not about stay as they were.
    let map = api.post(MAPS, &map("a")).await.ok();
    assert_eq!(map["metadata"].get("labels"), None);
}

#[tokio::test]
async fn a_mutating_policy_that_fails_refuses_or_is_ignored() {
    let api = Api::new().await;
    let web = deployment("web");
    for (name, mutation_of, why) in [
        (
            "atomic",
            configuration(
                "Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'a': 'b'}}}}",
            ),
            ".spec.selector",
        ),
        ("unknown", json_patch("[JSONPatch{op: 'add', path: '/spec/foo', value: 1}]"), "spec.foo"),
        ("missing", json_patch("[JSONPatch{op: 'remove', path: '/spec/paused'}]"), "/spec/paused"),
        (
            "renames",
            json_patch("[JSONPatch{op: 'replace', path: '/metadata/name', value: 'x'}]"),
            "which object it is",
        ),
        (
            "fails",
            json_patch(
                "[JSONPatch{op: 'add', path: '/spec/replicas', value: object.spec.nothing}]",
            ),
            "no such key: nothing",
        ),
    ] {
        let policy = mutation(name, &json!([mutation_of]));
        mutate_by(&api, &policy).await;
        let status =
            until(&api, DEPLOYMENTS, &web, |it| it.code == 422).await.refused(422, "Invalid");
        let message = status["message"].as_str().unwrap();
        let by = format!("MutatingAdmissionPolicy '{name}' with binding '{name}' failed: ");
        assert!(message.contains(&by) && message.contains(why), "{message}");
        let uri = format!("{MUTATIONS}/{name}");
        let ignore = json!({"spec": {"failurePolicy": "Ignore"}});
        api.patch(&uri, "merge-patch+json", &ignore).await.ok();
        let passed = until(&api, DEPLOYMENTS, &web, |it| it.code == 201).await.ok();
        assert_eq!(passed["spec"], web["spec"]);
    }
    for (at, mutation_of) in [
        (
            "spec.mutations[0].applyConfiguration.expression",
            configuration("Object{spec: Object.metadata{}}"),
        ),
        ("spec.mutations[0].applyConfiguration.expression", configuration("{'spec': 1}")),
        ("spec.mutations[0].jsonPatch.expression", json_patch("authorizer.allowed() ? [] : []")),
        ("spec.mutations[0].jsonPatch", json!({"patchType": "JSONPatch"})),
        ("spec.mutations[0].patchType", json!({"patchType": "Merge"})),
    ] {
        let policy = mutation("wrong", &json!([mutation_of]));
        let status = api.post(MUTATIONS, &policy).await.refused(422, "Invalid");
        assert_eq!(status["details"]["causes"][0]["field"], at, "{status}");
    }
    let mut inert = mutation("inert", &json!([configuration("Object{}")]));
    inert["metadata"]["annotations"] = json!({});
    let made = api.post(MUTATIONS, &inert).await;
    assert!(made.warnings()[0].contains("acts on members only"), "{:?}", made.warnings());
}

#[tokio::test]
async fn a_mutating_policy_is_asked_again_after_others() {
    let api = Api::new().await;
    let count = "Object{metadata: Object.metadata{annotations: {'count': string(size(object.metadata.labels))}}}";
    let mut first = mutation("a-counts", &json!([configuration(count)]));
    first["spec"]["reinvocationPolicy"] = "IfNeeded".into();
    mutate_by(&api, &first).await;
    let label = "Object{metadata: Object.metadata{labels: {'team': 'shop'}}}";
    mutate_by(&api, &mutation("b-labels", &json!([configuration(label)]))).await;
    let done = |it: &Answer| it.body["metadata"]["labels"]["team"] == "shop";
    let made = until(&api, DEPLOYMENTS, &deployment("web"), done).await.ok();
    assert_eq!(made["metadata"]["annotations"]["count"], "2");
}
