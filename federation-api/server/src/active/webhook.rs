//! Admission webhooks that are reached by URL: what they are sent, and what becomes of their answer.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use federation_schema::{
    cel::{Budget, on_large_stack},
    json_patch,
};
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use kube::{Client, Config, client::Body};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};

use super::{
    Call,
    matching::{Condition, Matching, check_conditions},
    name, text,
};
use crate::{
    app::Server,
    body::BODY_LIMIT,
    status::{ApiError, Cause},
};

/// How long a webhook may take that does not say it.
const PATIENCE: u64 = 10;

/// One webhook of an active configuration.
#[derive(Debug)]
pub(super) struct Webhook {
    name: String,
    matching: Matching,
    conditions: Vec<Condition>,
    ignores_failure: bool,
    /// Whether a dry run leaves no trace with it.
    dry: bool,
    timeout: Duration,
    target: Result<Target, String>,
}

#[derive(Clone)]
struct Target {
    client: Client,
    path: Uri,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Those of a configuration that are reached by URL.
    pub(super) fn read_all(configuration: &Value) -> impl Iterator<Item = Self> {
        let list = configuration["webhooks"].as_array().into_iter().flatten();
        let own = name(configuration);
        list.filter(|it| it["clientConfig"]["url"].is_string()).map(move |it| Self {
            name: match text(it, "name") {
                "" => own.clone(),
                name => name.to_owned(),
            },
            matching: Matching::read(it, "rules"),
            conditions: on_large_stack(|| Condition::read_all(&it["matchConditions"])),
            ignores_failure: it["failurePolicy"] == "Ignore",
            dry: matches!(it["sideEffects"].as_str(), Some("None" | "NoneOnDryRun")),
            timeout: Duration::from_secs(
                it["timeoutSeconds"].as_u64().unwrap_or(PATIENCE).clamp(1, 30),
            ),
            target: Target::read(&it["clientConfig"]),
        })
    }

    /// Asks it about a write: an error if it denies it, the changed object if it changes it.
    pub(super) async fn ask(
        &self,
        server: &Arc<Server>,
        call: &Call<'_>,
        role: &'static str,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Value>, ApiError> {
        if !self.matching.holds(call, false) {
            return Ok(None);
        }
        let (variables, size) = call.variables(call.object());
        let asked = Condition::all(&self.conditions, &variables, size, &mut Budget::default());
        let answer = match asked {
            Ok(false) => return Ok(None),
            Ok(true) if call.writing.dry_run && !self.dry => {
                let why = format!("admission webhook {:?} does not support dry run", self.name);
                return Err(ApiError::bad_request(why));
            }
            Ok(true) => self.send(call).await,
            Err(why) => Err(why),
        };
        let outcome = answer.and_then(|answer| self.read(call, &answer, warnings));
        let (told, result) = match outcome {
            Ok(Answer::Allowed(changed)) => ("allowed", Ok(changed)),
            Ok(Answer::Denied(error)) => ("denied", Err(error)),
            Err(why) if self.ignores_failure => {
                tracing::warn!(webhook = self.name, why, "a webhook failed and is ignored");
                ("failed", Ok(None))
            }
            Err(why) => {
                let why = format!("failed calling webhook {:?}: {why}", self.name);
                ("failed", Err(ApiError::internal(why)))
            }
        };
        server.active.count(role, &self.name, told);
        result
    }

    async fn send(&self, call: &Call<'_>) -> Result<Value, String> {
        let target = self.target.as_ref().map_err(Clone::clone)?;
        let mut request = call.request.clone();
        request["object"] = call.object().clone();
        request["oldObject"] = call.old().clone();
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": request,
        });
        let request = Request::post(target.path.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Body::from(review.to_string().into_bytes()))
            .map_err(|error| error.to_string())?;
        let sent = async {
            let answer = target.client.send(request).await.map_err(|error| chain(&error))?;
            let code = answer.status();
            if !code.is_success() {
                return Err(format!("it answered {code}"));
            }
            let body = Limited::new(answer.into_body(), BODY_LIMIT).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| format!("its answer is no JSON: {error}"))
        };
        let seconds = self.timeout.as_secs();
        let late = |_| Err(format!("no answer within {seconds} s (timeoutSeconds)"));
        tokio::time::timeout(self.timeout, sent).await.unwrap_or_else(late)
    }

    fn read(
        &self,
        call: &Call<'_>,
        answer: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, String> {
        let response = &answer["response"];
        if response["uid"] != call.request["uid"] {
            return Err("response.uid is not that of the request".to_owned());
        }
        let told = response["warnings"].as_array().into_iter().flatten();
        warnings.extend(told.filter_map(Value::as_str).map(str::to_owned));
        if response["allowed"] != true {
            let why = match text(&response["status"], "message") {
                "" => text(&response["status"], "reason"),
                message => message,
            };
            let why = if why.is_empty() { "without explanation" } else { why };
            let why = format!("admission webhook {:?} denied the request: {why}", self.name);
            let denied = ApiError::refused(&why, response["status"]["code"].as_u64());
            return Ok(Answer::Denied(denied));
        }
        let Some(patch) = response["patch"].as_str().filter(|patch| !patch.is_empty()) else {
            return Ok(Answer::Allowed(None));
        };
        if response["patchType"] != "JSONPatch" {
            return Err("response.patchType must be JSONPatch".to_owned());
        }
        let patch = STANDARD.decode(patch).map_err(|error| format!("response.patch: {error}"))?;
        let patch: Value =
            serde_json::from_slice(&patch).map_err(|error| format!("response.patch: {error}"))?;
        let changed = json_patch::apply(call.object(), &patch);
        let changed = changed.map_err(|error| format!("response.patch: {error}"))?;
        let same = |field: &str| changed["metadata"][field] == call.object()["metadata"][field];
        if !["name", "namespace", "uid"].into_iter().all(same) {
            return Err("response.patch changes which object it is".to_owned());
        }
        Ok(Answer::Allowed(Some(changed)))
    }
}

enum Answer {
    Allowed(Option<Value>),
    Denied(ApiError),
}

impl Target {
    fn read(config: &Value) -> Result<Self, String> {
        let url: Uri = text(config, "url").parse().map_err(|_| "its URL is none".to_owned())?;
        let (Some("https"), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err("its URL is not https".to_owned());
        };
        let base: Uri =
            format!("https://{authority}").parse().map_err(|_| "its URL has no host")?;
        let path = url.path().parse().map_err(|_| "its URL has no path")?;
        let mut settings = Config::new(base);
        settings.default_retry = false;
        settings.root_cert = roots(text(config, "caBundle"))?;
        let client = Client::try_from(settings).map_err(|error| chain(&error))?;
        Ok(Self { client, path })
    }
}

/// The certificates of a `caBundle`; none if it is left out, and then those of the system hold.
fn roots(bundle: &str) -> Result<Option<Vec<Vec<u8>>>, String> {
    if bundle.is_empty() {
        return Ok(None);
    }
    let refused = "caBundle holds no certificates in PEM";
    let pem = STANDARD.decode(bundle).map_err(|_| refused)?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let roots: Vec<Vec<u8>> =
        roots.map_err(|_| refused)?.iter().map(|certificate| certificate.to_vec()).collect();
    if roots.is_empty() { Err(refused.to_owned()) } else { Ok(Some(roots)) }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What is wrong with an active configuration of webhooks.
pub(super) fn check(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let list = object["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, webhook) in list.iter().enumerate() {
        let at = format!("webhooks[{index}]");
        let config = &webhook["clientConfig"];
        let mut invalid = |field: &str, value: &Value, why: &str| {
            let message = format!("Invalid value: {value}: {why}");
            causes.push(Cause::field(format!("{at}.{field}"), message));
        };
        if let Some(url) = config["url"].as_str() {
            let parsed = url.parse::<Uri>().ok();
            let secure = parsed.as_ref().is_some_and(|it| it.scheme_str() == Some("https"));
            if !secure {
                invalid("clientConfig.url", &config["url"], "must be a URL with the scheme https");
            } else if url.contains(['?', '#', '@']) {
                let why = "must have no user, query or fragment";
                invalid("clientConfig.url", &config["url"], why);
            }
            if roots(text(config, "caBundle")).is_err() {
                let why = "must hold certificates in PEM, in base64";
                invalid("clientConfig.caBundle", &"…".into(), why);
            }
        }
        if !matches!(webhook["sideEffects"].as_str(), Some("None" | "NoneOnDryRun")) {
            let why = "must be None or NoneOnDryRun";
            invalid("sideEffects", &webhook["sideEffects"], why);
        }
        let timeout = &webhook["timeoutSeconds"];
        if !timeout.is_null() && !timeout.as_u64().is_some_and(|it| (1..=30).contains(&it)) {
            invalid("timeoutSeconds", timeout, "must be between 1 and 30");
        }
        if webhook["reinvocationPolicy"] == "IfNeeded" {
            let why = "webhooks are not called twice by this server";
            invalid("reinvocationPolicy", &webhook["reinvocationPolicy"], why);
        }
        let conditions = format!("{at}.matchConditions");
        causes.extend(check_conditions(&webhook["matchConditions"], &conditions));
    }
    causes
}
