//! Which kinds there are: the documents that every client begins with, one by one and aggregated.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    app::Server,
    body::ResponseBody,
    negotiate,
    registry::{AnsweredResource, Group, Kind, Snapshot, Version},
    request::RequestInfo,
    respond,
    status::{self, ApiError},
    stored,
};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The two aggregated documents as they were last made.
#[derive(Debug, Default)]
pub(crate) struct DiscoveryCache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    /// The snapshot's generation, and the documents of core and of all other groups.
    made: Option<(u64, Document, Document)>,
}

#[derive(Clone, Debug)]
struct Document {
    body: Bytes,
    etag: HeaderValue,
}

impl Document {
    fn new(value: &Value) -> Self {
        let mut body = Vec::new();
        stored::write(&mut body, value);
        let etag = etag(&body);
        Self { body: body.into(), etag }
    }
}

/// A strong entity tag.
pub(crate) fn etag(body: &[u8]) -> HeaderValue {
    let digest: String =
        Sha256::digest(body).iter().take(16).map(|byte| format!("{byte:02X}")).collect();
    HeaderValue::from_str(&format!("\"{digest}\"")).expect("hexadecimal digits make a header")
}

/// Whether the client has this version already.
pub(crate) fn is_fresh(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|given| given == etag)
}

pub(crate) fn answer(
    server: &Server,
    parts: &http::request::Parts,
    info: &RequestInfo,
) -> Result<Response<ResponseBody>, ApiError> {
    if !parts.method.is_safe() {
        return Err(ApiError::method_not_allowed(
            "the server does not allow this method on the requested resource",
        ));
    }
    let kinds = server.registry.snapshot();
    let path = info.discovery_parts();
    if let ["api" | "apis"] = path.as_slice() {
        let aggregated = negotiate::clauses(&parts.headers)
            .iter()
            .find(|clause| {
                clause.media == "application/json" && (clause.kind.is_empty() || is_v2(clause))
            })
            .is_some_and(is_v2);
        if aggregated {
            let document = server.discovery.document(&kinds, path[0] == "api");
            return Ok(fresh(&parts.headers, &document));
        }
    }
    let form = negotiate::plain(&parts.headers)?;
    let value = match path.as_slice() {
        ["api"] => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        ["apis"] => {
            let groups = kinds.groups().iter().filter(|group| !group.name.is_empty());
            let groups: Vec<Value> = groups.map(|group| api_group(group)).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        ["api", version] => resource_list(&kinds, "", version)?,
        ["apis", group] => {
            let group = kinds.group(group).ok_or_else(ApiError::path_not_found)?;
            let mut value = api_group(group);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            value
        }
        ["apis", group, version] => resource_list(&kinds, group, version)?,
        _ => return Err(ApiError::path_not_found()),
    };
    let mut response = respond::value_with(status::OK, form, &value);
    if path.len() == 1 {
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    }
    Ok(response)
}

fn is_v2(clause: &negotiate::Clause<'_>) -> bool {
    clause.kind == "APIGroupDiscoveryList"
        && clause.group == "apidiscovery.k8s.io"
        && clause.version == "v2"
}

fn fresh(headers: &HeaderMap, document: &Document) -> Response<ResponseBody> {
    let unchanged = is_fresh(headers, &document.etag);
    let (code, body) = if unchanged {
        (status::NOT_MODIFIED, Bytes::new())
    } else {
        (status::OK, document.body.clone())
    };
    let mut response = respond::bytes(code, AGGREGATED, body);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, document.etag.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

impl DiscoveryCache {
    fn document(&self, kinds: &Snapshot, core: bool) -> Document {
        let mut cached = self.0.lock();
        let made = match &cached.made {
            Some(made) if made.0 == kinds.generation => made,
            _ => {
                let documents = [true, false].map(|core| {
                    let groups = kinds.groups().iter();
                    let groups = groups.filter(|group| group.name.is_empty() == core);
                    Document::new(&aggregated(groups.map(|group| &**group)))
                });
                let [of_core, of_groups] = documents;
                cached.made.insert((kinds.generation, of_core, of_groups))
            }
        };
        if core { made.1.clone() } else { made.2.clone() }
    }
}

fn aggregated<'a>(groups: impl Iterator<Item = &'a Group>) -> Value {
    let items: Vec<Value> = groups
        .map(|group| {
            let versions = group.versions.iter().map(|version| {
                json!({
                    "version": version.name,
                    "freshness": "Current",
                    "resources": aggregated_resources(group, version),
                })
            });
            let mut metadata = Map::new();
            if !group.name.is_empty() {
                metadata.insert("name".to_owned(), (*group.name).into());
            }
            json!({ "metadata": metadata, "versions": versions.collect::<Vec<_>>() })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregated_resources(group: &Group, version: &Version) -> Vec<Value> {
    let mut resources: Vec<Value> = Vec::new();
    for kind in &version.kinds {
        let mut subresources: Vec<Value> = kind
            .subresources
            .iter()
            .map(|subresource| {
                let speaks = subresource.speaks.clone().unwrap_or_else(|| kind.gvk());
                json!({
                    "subresource": subresource.name,
                    "responseKind": response_kind(&speaks.group, &speaks.version, &speaks.kind),
                    "verbs": subresource.verbs,
                })
            })
            .collect();
        let answered = version.answered.iter().filter(|answered| {
            answered.resource == kind.plural && !answered.subresource.is_empty()
        });
        subresources.extend(answered.map(|answered| {
            json!({
                "subresource": answered.subresource,
                "responseKind": answered_kind(answered),
                "verbs": ["create"],
            })
        }));
        let mut resource = json!({
            "resource": kind.plural,
            "responseKind": response_kind(&group.name, &version.name, &kind.kind),
            "scope": scope(kind.namespaced),
            "singularResource": kind.singular,
            "verbs": sorted(kind),
        });
        for (field, list) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
            if !list.is_empty() {
                resource[field] = json!(list);
            }
        }
        if !subresources.is_empty() {
            resource["subresources"] = subresources.into();
        }
        resources.push(resource);
    }
    let alone = version.answered.iter().filter(|answered| answered.subresource.is_empty());
    resources.extend(alone.map(|answered| {
        json!({
            "resource": answered.resource,
            "responseKind": answered_kind(answered),
            "scope": scope(answered.namespaced),
            "singularResource": answered.kind.to_lowercase(),
            "verbs": ["create"],
        })
    }));
    resources
}

fn scope(namespaced: bool) -> &'static str {
    if namespaced { "Namespaced" } else { "Cluster" }
}

fn sorted(kind: &Kind) -> Vec<&str> {
    let mut verbs: Vec<&str> = kind.verbs.iter().map(|verb| &**verb).collect();
    verbs.sort_unstable();
    verbs
}

fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "version": version, "kind": kind })
}

fn answered_kind(answered: &AnsweredResource) -> Value {
    let (group, version) =
        answered.kind_api_version.split_once('/').unwrap_or(("", &answered.kind_api_version));
    response_kind(group, version, &answered.kind)
}

fn api_group(group: &Group) -> Value {
    let version = |version: &Version| {
        json!({
            "groupVersion": format!("{}/{}", group.name, version.name),
            "version": version.name,
        })
    };
    json!({
        "name": group.name,
        "versions": group.versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": group.versions.first().map(version),
    })
}

fn resource_list(kinds: &Snapshot, group: &str, version: &str) -> Result<Value, ApiError> {
    let served = kinds.group(group).and_then(|group| group.version(version));
    let version = served.ok_or_else(ApiError::path_not_found)?;
    let mut resources: Vec<Value> = Vec::new();
    for kind in &version.kinds {
        let mut resource = json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": sorted(kind),
        });
        for (field, list) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
            if !list.is_empty() {
                resource[field] = json!(list);
            }
        }
        resources.push(resource);
        for subresource in &kind.subresources {
            let mut resource = json!({
                "name": format!("{}/{}", kind.plural, subresource.name),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": subresource.verbs,
            });
            if let Some(speaks) = &subresource.speaks {
                resource["group"] = speaks.group.as_str().into();
                resource["version"] = speaks.version.as_str().into();
                resource["kind"] = speaks.kind.as_str().into();
            }
            resources.push(resource);
        }
    }
    for answered in &version.answered {
        let name = if answered.subresource.is_empty() {
            answered.resource.to_string()
        } else {
            format!("{}/{}", answered.resource, answered.subresource)
        };
        let singular = if answered.subresource.is_empty() {
            answered.kind.to_lowercase()
        } else {
            String::new()
        };
        let speaks = answered_kind(answered);
        resources.push(json!({
            "name": name,
            "singularName": singular,
            "namespaced": answered.namespaced,
            "group": speaks["group"],
            "version": speaks["version"],
            "kind": answered.kind,
            "verbs": ["create"],
        }));
    }
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": federation_schema::catalogue::api_version(group, &version.name),
        "resources": resources,
    }))
}
