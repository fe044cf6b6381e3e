//! Errors of the API as `Status` objects: the only place that knows HTTP codes and the reasons that stand for them.

use federation_storage::{CommitError, ReadError, WatchError};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    authorize::Attributes,
    hooks::{FieldError, ReviewError},
    identity::Identity,
};

/// The answers that are no errors.
pub(crate) const OK: StatusCode = StatusCode::OK;
pub(crate) const CREATED: StatusCode = StatusCode::CREATED;
/// The client has it already.
pub(crate) const NOT_MODIFIED: StatusCode = StatusCode::NOT_MODIFIED;
/// It stands elsewhere.
pub(crate) const MOVED: StatusCode = StatusCode::MOVED_PERMANENTLY;

/// One reason among several: `details.causes[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldManagerConflict`
    pub reason: &'static str,
    pub message: String,
    pub field: String,
}

/// A refusal, as it is told to the client. Boxed: errors are rare and results are everywhere.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct ApiError(Box<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    code: StatusCode,
    reason: &'static str,
    message: String,
    name: String,
    group: String,
    kind: String,
    uid: String,
    causes: Vec<Cause>,
    retry_after_seconds: u32,
    /// The token with which an expired list can go on.
    continue_token: String,
}

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { code, reason, message: message.into(), ..Inner::default() }))
    }

    /// Names the object (or resource) that the error is about.
    #[must_use]
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        group.clone_into(&mut self.0.group);
        kind.clone_into(&mut self.0.kind);
        name.clone_into(&mut self.0.name);
        self
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: nobody that is known here.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403 by authorisation.
    pub fn denied(identity: &Identity, wanted: &Attributes, reason: &str) -> Self {
        let suffix = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        if !wanted.is_resource() {
            let message = format!(
                "forbidden: User {:?} cannot {} path {:?}{suffix}",
                identity.user, wanted.verb, wanted.path
            );
            return Self::new(StatusCode::FORBIDDEN, "Forbidden", message);
        }
        let resource = if wanted.subresource.is_empty() {
            wanted.resource.clone()
        } else {
            format!("{}/{}", wanted.resource, wanted.subresource)
        };
        let place = if wanted.namespace.is_empty() {
            " at the cluster scope".to_owned()
        } else {
            format!(" in the namespace {:?}", wanted.namespace)
        };
        let what = format!(
            "User {:?} cannot {} resource {resource:?} in API group {:?}{place}{suffix}",
            identity.user, wanted.verb, wanted.group
        );
        Self::forbidden(&wanted.group, &wanted.resource, &wanted.name, &what)
    }

    /// 403: understood and refused.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let qualified = qualified(resource, group);
        let message = if name.is_empty() {
            format!("{qualified} is forbidden: {why}")
        } else {
            format!("{qualified} {name:?} is forbidden: {why}")
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(group, resource, name)
    }

    /// A webhook's refusal, with the code that it gave if that is one of a refusal; 403 otherwise.
    pub fn refused(why: &str, code: Option<u64>) -> Self {
        let code = code.and_then(|code| u16::try_from(code).ok());
        let code = code.and_then(|code| StatusCode::from_u16(code).ok());
        let code = code.filter(|code| code.is_client_error() || code.is_server_error());
        let code = code.unwrap_or(StatusCode::FORBIDDEN);
        let reason = match code {
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::CONFLICT => "Conflict",
            StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
            _ => "",
        };
        Self::new(code, reason, why)
    }

    /// As a policy wants its refusal to be called: `Unauthorized`, `Forbidden`, `RequestEntityTooLarge`, or else
    /// `Invalid`.
    #[must_use]
    pub fn with_reason(mut self, reason: &str) -> Self {
        (self.0.code, self.0.reason) = match reason {
            "Unauthorized" => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            "Forbidden" => (StatusCode::FORBIDDEN, "Forbidden"),
            "RequestEntityTooLarge" => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
        };
        self
    }

    /// 404: no such object.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(resource, group));
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(group, resource, name)
    }

    /// 404: no such resource or path.
    pub fn path_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// 405: the resource has no such verb.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 409: the name is taken.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(resource, group));
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(group, resource, name)
    }

    /// 409: the object is not in the state that the request supposes.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            qualified(resource, group)
        );
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(group, resource, name)
    }

    /// 409: server-side apply met fields of others.
    pub fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        let mut error = Self::new(StatusCode::CONFLICT, "Conflict", message);
        error.0.causes = causes;
        error
    }

    /// 422: fields that are not as they must be.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let list: Vec<String> = causes
            .iter()
            .map(|cause| {
                if cause.field.is_empty() {
                    cause.message.clone()
                } else {
                    format!("{}: {}", cause.field, cause.message)
                }
            })
            .collect();
        let why = match list.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} {name:?} is invalid: {why}", qualified(kind, group));
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
            .about(group, kind, name);
        error.0.causes = causes;
        error
    }

    /// 410: the wanted revision is gone; `continue_token` lets a list go on inconsistently.
    pub fn expired(message: impl Into<String>, continue_token: Option<String>) -> Self {
        let mut error = Self::new(StatusCode::GONE, "Expired", message);
        error.0.continue_token = continue_token.unwrap_or_default();
        error
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// 413, for another reason than the body's size.
    pub fn too_large_because(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 422: understood, but it does not fit what it is meant for.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// 406: none of the media types that the client takes.
    pub fn not_acceptable(accepted: &str) -> Self {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            "NotAcceptable",
            format!("only the following media types are accepted: {accepted}"),
        )
    }

    /// 415: a body in a form that is not read here.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {accepted}"
            ),
        )
    }

    /// 429: come again later.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        error.0.retry_after_seconds = retry_after_seconds;
        error
    }

    /// 500.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = format!("Internal error occurred: {}", message.into());
        let mut error =
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message.clone());
        error.0.causes = vec![Cause { reason: "", message, field: String::new() }];
        error
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// 504: a resourceVersion that is not there yet.
    pub fn future_version(wanted: u64, newest: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {wanted}, current: {newest}");
        let mut error = Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message);
        error.0.retry_after_seconds = 1;
        error.0.causes = vec![Cause {
            reason: "ResourceVersionTooLarge",
            message: "Too large resource version".to_owned(),
            field: String::new(),
        }];
        error
    }

    /// Adds a machine-readable cause.
    #[must_use]
    pub fn caused_by(mut self, cause: Cause) -> Self {
        self.0.causes.push(cause);
        self
    }

    /// The HTTP code.
    pub fn code(&self) -> StatusCode {
        self.0.code
    }

    /// The `Status` reason, such as `NotFound`.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The name of the object that it is about, if it is about one.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Seconds for the `Retry-After` header; 0 for none.
    pub fn retry_after_seconds(&self) -> u32 {
        self.0.retry_after_seconds
    }

    /// Whether the object was not there.
    pub fn is_not_found(&self) -> bool {
        self.0.code == StatusCode::NOT_FOUND
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let inner = &*self.0;
        let mut metadata = Map::new();
        if !inner.continue_token.is_empty() {
            metadata.insert("continue".to_owned(), inner.continue_token.clone().into());
        }
        let mut details = Map::new();
        for (field, text) in [
            ("name", &inner.name),
            ("group", &inner.group),
            ("kind", &inner.kind),
            ("uid", &inner.uid),
        ] {
            if !text.is_empty() {
                details.insert(field.to_owned(), text.as_str().into());
            }
        }
        if !inner.causes.is_empty() {
            let causes: Vec<Value> = inner.causes.iter().map(cause_object).collect();
            details.insert("causes".to_owned(), causes.into());
        }
        if inner.retry_after_seconds > 0 {
            details.insert("retryAfterSeconds".to_owned(), inner.retry_after_seconds.into());
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": inner.message,
            "reason": inner.reason,
            "code": inner.code.as_u16(),
        });
        let has_details = !details.is_empty() || inner.code == StatusCode::NOT_FOUND;
        if let (true, Some(status)) = (has_details, status.as_object_mut()) {
            status.insert("details".to_owned(), details.into());
        }
        status
    }
}

fn cause_object(cause: &Cause) -> Value {
    let mut object = Map::new();
    for (field, text) in
        [("reason", cause.reason), ("message", &cause.message), ("field", &cause.field)]
    {
        if !text.is_empty() {
            object.insert(field.to_owned(), text.into());
        }
    }
    object.into()
}

/// What a successful delete answers when the object itself is not shown.
pub(crate) fn deleted(group: &str, resource: &str, name: &str, uid: &str) -> Value {
    let mut details = json!({ "name": name, "kind": resource, "uid": uid });
    if !group.is_empty() {
        details["group"] = group.into();
    }
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    })
}

/// `deployments.apps`, or `pods` for the core group.
fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

impl Cause {
    /// A field that may not be as it is. `message` is complete: `Invalid value: 3: must be less than 2`.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let message = message.into();
        let reason = match () {
            () if message.starts_with("Required value") => "FieldValueRequired",
            () if message.starts_with("Duplicate value") => "FieldValueDuplicate",
            () if message.starts_with("Unsupported value") => "FieldValueNotSupported",
            () if message.starts_with("Forbidden") => "FieldValueForbidden",
            () if message.starts_with("Too long") => "FieldValueTooLong",
            () if message.starts_with("Too many") => "FieldValueTooMany",
            () if message.starts_with("Not found") => "FieldValueNotFound",
            () if message.contains("must be of type") => "FieldValueTypeInvalid",
            () => "FieldValueInvalid",
        };
        Self { reason, message, field: field.into() }
    }
}

impl From<FieldError> for Cause {
    fn from(error: FieldError) -> Self {
        Self::field(error.field, error.message)
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { wanted, oldest } => {
                Self::expired(format!("too old resource version: {wanted} ({oldest})"), None)
            }
            ReadError::Future { wanted, newest } => Self::future_version(wanted.0, newest.0),
            ReadError::Closed => Self::unavailable("the server is shutting down"),
        }
    }
}

impl From<CommitError> for ApiError {
    /// For what is left once the verbs have taken the errors that mean something to them.
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Medium { reason } => {
                Self::unavailable(format!("the store cannot write: {reason}"))
            }
            CommitError::Closed => Self::unavailable("the server is shutting down"),
            CommitError::Exists { .. }
            | CommitError::Stale { .. }
            | CommitError::Missing { .. } => Self::internal(error.to_string()),
        }
    }
}

impl From<WatchError> for ApiError {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Compacted { since, oldest } => {
                Self::expired(format!("too old resource version: {since} ({oldest})"), None)
            }
            WatchError::Closed => Self::unavailable("the server is shutting down"),
        }
    }
}

impl From<ReviewError> for ApiError {
    fn from(error: ReviewError) -> Self {
        match error {
            ReviewError::Invalid { field, message } => {
                let text = format!("{field}: {message}");
                let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text);
                error.0.causes = vec![Cause::field(field, message)];
                error
            }
            ReviewError::Forbidden(message) => {
                Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
            }
            ReviewError::NotFound(message) => Self::new(StatusCode::NOT_FOUND, "NotFound", message),
            ReviewError::Failed(message) => Self::internal(message),
            ReviewError::Unavailable(message) => Self::unavailable(message),
        }
    }
}
