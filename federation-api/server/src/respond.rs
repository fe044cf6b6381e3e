//! Answers: headers around bytes.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use crate::{
    body::ResponseBody,
    negotiate::{self, Encoding, Form},
    status::{self, ApiError},
};

/// An answer with a body of a media type.
pub(crate) fn bytes(
    code: StatusCode,
    media: &'static str,
    body: impl Into<Bytes>,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Full(body.into()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// JSON bytes in the encoding agreed upon.
pub(crate) fn encoded(code: StatusCode, form: Form, json: Vec<u8>) -> Response<ResponseBody> {
    match form.encoding {
        Encoding::Json => bytes(code, "application/json", json),
        Encoding::Yaml => {
            let value: Value = serde_json::from_slice(&json).unwrap_or_default();
            let text = federation_types::yaml::to_string(&value).unwrap_or_default();
            bytes(code, "application/yaml", text)
        }
    }
}

/// A JSON value.
pub(crate) fn json_value(value: &Value) -> Response<ResponseBody> {
    value_with(status::OK, Form::JSON, value)
}

/// A value with a code, in the encoding agreed upon.
pub(crate) fn value_with(code: StatusCode, form: Form, value: &Value) -> Response<ResponseBody> {
    let mut json = Vec::with_capacity(512);
    crate::stored::write(&mut json, value);
    encoded(code, form, json)
}

/// A refusal as a `Status` object, in the encoding that the client takes if there is one.
pub fn error(parts: &http::request::Parts, error: &ApiError) -> Response<ResponseBody> {
    let form = negotiate::plain(&parts.headers).unwrap_or(Form::JSON);
    let mut response = value_with(error.code(), form, &error.to_status());
    if error.retry_after_seconds() > 0 {
        response.headers_mut().insert(header::RETRY_AFTER, error.retry_after_seconds().into());
    }
    response
}

/// Adds `Warning:` headers, each text once.
pub(crate) fn warn(response: &mut Response<ResponseBody>, warnings: &[String]) {
    let mut seen: Vec<&str> = Vec::new();
    for text in warnings {
        if seen.contains(&text.as_str()) {
            continue;
        }
        seen.push(text);
        let mut quoted = String::with_capacity(text.len() + 8);
        quoted.push_str("299 - \"");
        for character in text.chars() {
            match character {
                '"' | '\\' => {
                    quoted.push('\\');
                    quoted.push(character);
                }
                control if control.is_control() => quoted.push(' '),
                other => quoted.push(other),
            }
        }
        quoted.push('"');
        if let Ok(value) = HeaderValue::from_bytes(quoted.as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
