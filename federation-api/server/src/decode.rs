//! Bodies of requests, in whatever form, as JSON values; and what is said of fields that should not be there.

use bytes::Bytes;
use federation_schema::{
    catalogue::{Catalogue, Gvk},
    protobuf, strict,
};
use http::{HeaderMap, header};
use serde_json::Value;

use crate::status::ApiError;

const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// A body that was read.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub value: Value,
    /// `duplicate field "spec.a"`
    pub complaints: Vec<String>,
}

/// What to do about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// The media type of the request's body, without its parameters; empty if none is given.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .map(str::trim)
        .unwrap_or_default()
}

/// Reads an object. `expected` is what it is taken for if it does not say what it is.
pub(crate) fn object(
    headers: &HeaderMap,
    body: &Bytes,
    expected: &Gvk,
) -> Result<Decoded, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad_request("the request has no body, and one is needed"));
    }
    let mut decoded = any(headers, body, expected)?;
    if !decoded.value.is_object() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): it is no JSON object",
            expected.kind
        )));
    }
    for (field, text) in [("apiVersion", expected.api_version()), ("kind", expected.kind.clone())] {
        if decoded.value[field].as_str().is_none_or(str::is_empty) {
            decoded.value[field] = text.into();
        }
    }
    Ok(decoded)
}

fn any(headers: &HeaderMap, body: &Bytes, expected: &Gvk) -> Result<Decoded, ApiError> {
    let unreadable = |error: String| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {error}",
            expected.kind
        ))
    };
    let parsed = match media_type(headers) {
        "" | "application/json" | "*/*" => strict::parse_json(body),
        "application/yaml" => strict::parse_yaml(body),
        "application/vnd.kubernetes.protobuf" => {
            let value = protobuf::decode(body, Catalogue::builtin(), Some(expected))
                .map_err(|error| unreadable(error.to_string()))?;
            return Ok(Decoded { value, complaints: Vec::new() });
        }
        _ => return Err(ApiError::unsupported_media_type(ACCEPTED)),
    };
    let parsed = parsed.map_err(|error| unreadable(error.to_string()))?;
    Ok(Decoded { value: parsed.value, complaints: parsed.duplicates })
}

/// Reads `DeleteOptions`, which may be left out.
pub(crate) fn delete_options(headers: &HeaderMap, body: &Bytes) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let expected = Gvk::new("", "v1", "DeleteOptions");
    let decoded = any(headers, body, &expected)?;
    match decoded.value["kind"].as_str() {
        None | Some("" | "DeleteOptions") => Ok(decoded.value),
        Some(kind) => Err(ApiError::bad_request(format!(
            "the body of a delete must be DeleteOptions, not {kind}"
        ))),
    }
}

/// Puts complaints where the client wants them: nowhere, into warnings, or into a refusal.
pub(crate) fn complain(
    complaints: Vec<String>,
    validation: FieldValidation,
    expected: &Gvk,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    match validation {
        _ if complaints.is_empty() => Ok(()),
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            warnings.extend(complaints);
            Ok(())
        }
        FieldValidation::Strict => Err(ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
            complaints.join(", "),
            kind = expected.kind,
            version = expected.version,
        ))),
    }
}
