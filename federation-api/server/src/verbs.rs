//! What can be done to objects, one file per verb, the same for every kind.

use std::sync::Arc;

use bytes::Bytes;
use federation_storage::{Entry, Revision};
use http::{Response, StatusCode, request::Parts};
use serde_json::Value;

use crate::{
    app::Server,
    body::ResponseBody,
    decode::FieldValidation,
    identity::Identity,
    negotiate::{self, Form},
    registry::{Kind, Snapshot, SubresourceKind},
    request::RequestInfo,
    respond,
    status::{ApiError, Cause},
    view::{self, Source},
};

mod answered;
mod apply;
mod create;
mod delete;
mod deletecollection;
mod get;
mod list;
mod patch;
mod scale;
mod update;
pub(crate) mod watch;
mod write;

/// A request for a resource on its way through a verb.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub server: &'a Arc<Server>,
    pub identity: &'a Identity,
    pub parts: &'a Parts,
    pub info: RequestInfo,
    pub kinds: Arc<Snapshot>,
    pub kind: Arc<Kind>,
    pub warnings: Vec<String>,
}

/// What a writing request says of how it wants to be treated.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub dry_run: bool,
    /// The field manager.
    pub manager: String,
    pub validation: FieldValidation,
    pub force: bool,
}

/// Routes a request for a resource to its verb.
pub(crate) async fn dispatch(
    server: &Arc<Server>,
    identity: &Identity,
    parts: &Parts,
    info: RequestInfo,
    body: Bytes,
) -> Result<Response<ResponseBody>, ApiError> {
    let kinds = server.registry.snapshot();
    let at = &info.attributes;
    if let Some(resource) = kinds.answered(&at.group, &at.version, &at.resource, &at.subresource) {
        let resource = Arc::clone(resource);
        return answered::answer(identity, parts, &info, &resource, &body).await;
    }
    let kind =
        kinds.kind(&at.group, &at.version, &at.resource).ok_or_else(ApiError::path_not_found)?;
    let kind = Arc::clone(kind);
    if !kind.namespaced && info.namespace().is_some() && !kind.is("", "namespaces") {
        return Err(ApiError::path_not_found());
    }
    if kind.namespaced && info.namespace().is_none() && !at.name.is_empty() {
        return Err(ApiError::path_not_found());
    }
    let mut context = Context { server, identity, parts, info, kinds, kind, warnings: Vec::new() };
    let answer = route(&mut context, body).await;
    answer.map(|mut response| {
        respond::warn(&mut response, &context.warnings);
        response
    })
}

async fn route(context: &mut Context<'_>, body: Bytes) -> Result<Response<ResponseBody>, ApiError> {
    let verb = context.info.attributes.verb.clone();
    let name = context.info.attributes.subresource.clone();
    if name.is_empty() {
        if !context.kind.serves(&verb) {
            return Err(not_allowed());
        }
        return match verb.as_str() {
            "create" if context.info.attributes.name.is_empty() => {
                Box::pin(create::create(context, &body)).await
            }
            "get" => get::get(context).await,
            "list" => list::list(context).await,
            "watch" => watch::watch(context).await,
            "update" => Box::pin(update::update(context, &body, strategy_part(None))).await,
            "patch" => Box::pin(patch::patch(context, &body, strategy_part(None))).await,
            "delete" => Box::pin(delete::delete(context, &body)).await,
            "deletecollection" => Box::pin(deletecollection::delete(context, &body)).await,
            _ => Err(not_allowed()),
        };
    }
    let Some(subresource) = context.kind.subresource(&name) else {
        return Err(ApiError::path_not_found());
    };
    let kind = subresource.kind;
    match (kind, verb.as_str()) {
        (SubresourceKind::Eviction, "create") => Box::pin(delete::evict(context, &body)).await,
        (SubresourceKind::Eviction, _) => Err(not_allowed()),
        (SubresourceKind::Scale, "get") => scale::get(context).await,
        (SubresourceKind::Scale, "update") => Box::pin(scale::update(context, &body)).await,
        (SubresourceKind::Scale, "patch") => Box::pin(scale::patch(context, &body)).await,
        (_, "get") => get::get(context).await,
        (_, "update") => Box::pin(update::update(context, &body, strategy_part(Some(kind)))).await,
        (_, "patch") => Box::pin(patch::patch(context, &body, strategy_part(Some(kind)))).await,
        _ => Err(not_allowed()),
    }
}

fn strategy_part(subresource: Option<SubresourceKind>) -> crate::strategy::Part {
    subresource.map_or(crate::strategy::Part::Main, crate::strategy::Part::Sub)
}

pub(crate) fn not_allowed() -> ApiError {
    ApiError::method_not_allowed("the server does not allow this method on the requested resource")
}

impl Context<'_> {
    /// The name in the path.
    pub(crate) fn name(&self) -> &str {
        &self.info.attributes.name
    }

    /// The namespace that keys are made with.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.info.namespace().filter(|_| self.kind.namespaced)
    }

    /// The key of the object that the path names.
    pub(crate) fn key(&self) -> Arc<str> {
        self.kind.key(self.namespace(), self.name())
    }

    /// The object that the path names.
    pub(crate) async fn entry(&self) -> Result<Arc<Entry>, ApiError> {
        let key = self.key();
        let embedded = crate::crd::embedded(self).into_iter().find(|entry| entry.key == key);
        if let Some(entry) = embedded {
            return Ok(entry);
        }
        let entry = self.server.store.get(&key).await?;
        entry.ok_or_else(|| self.not_found())
    }

    pub(crate) fn not_found(&self) -> ApiError {
        ApiError::not_found(&self.kind.group, &self.kind.plural, self.name())
    }

    pub(crate) fn conflict(&self, name: &str, why: &str) -> ApiError {
        ApiError::conflict(&self.kind.group, &self.kind.plural, name, why)
    }

    pub(crate) fn invalid(&self, name: &str, causes: Vec<Cause>) -> ApiError {
        ApiError::invalid(&self.kind.group, &self.kind.kind, name, causes)
    }

    /// The form in which objects are shown.
    pub(crate) fn form(&self) -> Result<Form, ApiError> {
        negotiate::form(&self.parts.headers, self.info.query.get("includeObject"), false)
    }

    /// Shows a stored version.
    pub(crate) fn show(
        &self,
        code: StatusCode,
        form: Form,
        entry: &Entry,
    ) -> Response<ResponseBody> {
        self.show_source(code, form, Source::Entry(entry, entry.revision))
    }

    /// Shows an object that is not (or no longer) stored.
    pub(crate) fn show_value(
        &self,
        code: StatusCode,
        form: Form,
        object: &Value,
    ) -> Response<ResponseBody> {
        self.show_source(code, form, Source::Value(object))
    }

    fn show_source(
        &self,
        code: StatusCode,
        form: Form,
        source: Source<'_>,
    ) -> Response<ResponseBody> {
        let mut out = Vec::new();
        view::one(&mut out, source, &self.kind, form.shape);
        respond::encoded(code, form, out)
    }

    /// Reads the options of a write from the query; `options` names them in errors.
    pub(crate) fn write_options(&self, options: &'static str) -> Result<WriteOptions, ApiError> {
        let query = &self.info.query;
        let mut causes = Vec::new();
        let dry_run = dry_run(query.all("dryRun"), &mut causes);
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                causes.push(Cause::field(
                    "fieldValidation",
                    format!(
                        "Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                    ),
                ));
                FieldValidation::Warn
            }
        };
        let named = query.get("fieldManager").unwrap_or_default();
        if named.len() > 128 {
            causes.push(Cause::field("fieldManager", "Too long: may not be more than 128 bytes"));
        }
        if named.chars().any(char::is_control) {
            causes.push(Cause::field(
                "fieldManager",
                format!("Invalid value: {named:?}: should only contain printable characters"),
            ));
        }
        if !causes.is_empty() {
            return Err(ApiError::invalid("meta.k8s.io", options, "", causes));
        }
        let manager = if named.is_empty() { self.user_agent() } else { named.to_owned() };
        Ok(WriteOptions { dry_run, manager, validation, force: query.flag("force") })
    }

    /// The program's name from the `User-Agent` header: what stands for a field manager that was not given.
    fn user_agent(&self) -> String {
        let agent = self.parts.headers.get(http::header::USER_AGENT);
        let agent = agent.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let program = agent.split('/').next().unwrap_or_default();
        let program: String = program.chars().filter(|c| !c.is_control()).take(128).collect();
        if program.is_empty() { "unknown".to_owned() } else { program }
    }
}

/// Reads `dryRun`: `All` is the only stage there is.
pub(crate) fn dry_run<'a>(values: impl Iterator<Item = &'a str>, causes: &mut Vec<Cause>) -> bool {
    let mut dry_run = false;
    for value in values {
        if value == "All" {
            dry_run = true;
        } else if !value.is_empty() {
            causes.push(Cause::field(
                "dryRun",
                format!("Unsupported value: {value:?}: supported values: \"All\""),
            ));
        }
    }
    dry_run
}

/// A resourceVersion, as a client sends it.
pub(crate) fn revision(text: &str) -> Result<Revision, ApiError> {
    text.parse().map(Revision).map_err(|_| {
        ApiError::bad_request(format!(
            "Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}
