//! `/openapi/v3` and `/openapi/v2`: documents made on demand, a few kept.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use federation_schema::{
    catalogue::Catalogue,
    openapi::{self, CustomKind},
};
use http::{HeaderValue, Response, header};
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    app::Server,
    body::ResponseBody,
    discovery, negotiate,
    registry::{Group, Kind, Origin, Snapshot, Version},
    request::RequestInfo,
    respond,
    status::{self, ApiError},
    stored,
};

/// What the documents that are kept may take: those that one `kubectl apply` of a few kinds asks for.
const KEPT: usize = 4 * 1024 * 1024;

/// The documents last asked for, by path and hash.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<VecDeque<(String, Bytes)>>);

impl Documents {
    fn get(&self, key: &str, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        if let Some((_, body)) = self.0.lock().iter().find(|(held, _)| held == key) {
            return body.clone();
        }
        // Made without the lock: it takes a while, and nobody else should wait for another document.
        let mut body = make();
        body.shrink_to_fit();
        let body = Bytes::from(body);
        let mut held = self.0.lock();
        held.push_back((key.to_owned(), body.clone()));
        while held.iter().map(|(_, body)| body.len()).sum::<usize>() > KEPT {
            held.pop_front();
        }
        body
    }
}

pub(crate) fn answer(
    server: &Server,
    parts: &http::request::Parts,
    info: &RequestInfo,
) -> Result<Response<ResponseBody>, ApiError> {
    let kinds = server.registry.snapshot();
    match info.discovery_parts().as_slice() {
        ["openapi", "v2"] => v2(server, parts, &kinds),
        ["openapi", "v3"] => Ok(respond::json_value(&index(server, &kinds))),
        ["openapi", "v3", path @ ..] => {
            let (group, version) = match path {
                ["api", version] => ("", *version),
                ["apis", group, version] => (*group, *version),
                _ => return Err(ApiError::path_not_found()),
            };
            let group = kinds.group(group).ok_or_else(ApiError::path_not_found)?;
            let version = group.version(version).ok_or_else(ApiError::path_not_found)?;
            Ok(v3(server, parts, info, group, version))
        }
        _ => Err(ApiError::path_not_found()),
    }
}

fn index(server: &Server, kinds: &Snapshot) -> Value {
    let documents: Vec<(String, String)> = kinds
        .groups()
        .iter()
        .flat_map(|group| group.versions.iter().map(move |version| (group, version)))
        .map(|(group, version)| {
            (openapi::v3_path(&group.name, &version.name), hash(server, group, version))
        })
        .collect();
    openapi::v3_index(documents.iter().map(|(path, hash)| (path.as_str(), hash.as_str())))
}

/// What a document follows from: the program, and the definitions of its group.
fn hash(server: &Server, group: &Group, version: &Version) -> String {
    let mut source = format!("{}/{}/{}", server.version.git_version, group.name, version.name);
    for kind in &version.kinds {
        if let Origin::Custom(custom) = &kind.origin {
            source.push_str(&kind.plural);
            source.push_str(&kind.kind);
            source.push_str(&custom.schema);
        }
    }
    openapi::hash(source.as_bytes())
}

/// The schemas of custom kinds, parsed for as long as a document is being made.
fn with_custom<T>(kinds: &[Arc<Kind>], make: impl FnOnce(&[CustomKind<'_>]) -> T) -> T {
    let schemas: Vec<(&Kind, Value)> = kinds
        .iter()
        .filter_map(|kind| {
            let schema = &kind.custom()?.schema;
            Some((&**kind, serde_json::from_str(schema).unwrap_or_default()))
        })
        .collect();
    let customs: Vec<CustomKind<'_>> = schemas
        .iter()
        .map(|(kind, schema)| CustomKind {
            group: &kind.group,
            version: &kind.version,
            kind: &kind.kind,
            list_kind: &kind.list_kind,
            plural: &kind.plural,
            namespaced: kind.namespaced,
            schema,
            status: kind.has_status(),
            scale: kind.scale.is_some(),
        })
        .collect();
    make(&customs)
}

fn v3(
    server: &Server,
    parts: &http::request::Parts,
    info: &RequestInfo,
    group: &Group,
    version: &Version,
) -> Response<ResponseBody> {
    let hash = hash(server, group, version);
    let path = openapi::v3_path(&group.name, &version.name);
    let wanted = info.query.get("hash");
    if wanted.is_some_and(|wanted| wanted != hash) {
        let mut response = respond::bytes(status::MOVED, "application/json", Bytes::new());
        let location = format!("/openapi/v3/{path}?hash={hash}");
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        return response;
    }
    let body = server.openapi.get(&format!("{path}?{hash}"), || {
        with_custom(&version.kinds, |custom| {
            json(&openapi::v3(Catalogue::builtin(), &group.name, &version.name, custom))
        })
    });
    let etag = discovery::etag(hash.as_bytes());
    let mut response = tagged(parts, body, etag);
    if wanted.is_some() {
        let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    response
}

/// The media type by which Go clients ask, and the one by which they are answered.
const GNOSTIC: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

fn v2(
    server: &Server,
    parts: &http::request::Parts,
    kinds: &Snapshot,
) -> Result<Response<ResponseBody>, ApiError> {
    let clauses = negotiate::clauses(&parts.headers);
    let gnostic = clauses.first().is_some_and(|clause| GNOSTIC.contains(&clause.media));
    if !gnostic {
        negotiate::plain(&parts.headers)?;
    }
    let form = if gnostic { "protobuf" } else { "json" };
    let body = server.openapi.get(&format!("v2?{}?{form}", kinds.generation), || {
        let all: Vec<Arc<Kind>> = kinds.kinds().cloned().collect();
        let document = with_custom(&all, |custom| openapi::v2(Catalogue::builtin(), custom));
        if gnostic {
            return openapi::gnostic::encode(&document);
        }
        json(&document)
    });
    let etag = discovery::etag(&body);
    let mut response = tagged(parts, body, etag);
    if gnostic {
        let media = HeaderValue::from_static(GNOSTIC[1]);
        response.headers_mut().insert(header::CONTENT_TYPE, media);
    }
    Ok(response)
}

fn json(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    stored::write(&mut out, value);
    out
}

fn tagged(parts: &http::request::Parts, body: Bytes, etag: HeaderValue) -> Response<ResponseBody> {
    let fresh = discovery::is_fresh(&parts.headers, &etag);
    let (code, body) =
        if fresh { (status::NOT_MODIFIED, Bytes::new()) } else { (status::OK, body) };
    let mut response = respond::bytes(code, "application/json", body);
    response.headers_mut().insert(header::ETAG, etag);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
