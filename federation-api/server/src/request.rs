//! What a request asks for, read from its method, path and query alone.

use http::{Method, Uri};

use crate::{authorize::Attributes, status::ApiError};

/// Which part of the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Objects of some kind.
    Resource,
    /// `/api`, `/apis`, `/apis/GROUP/VERSION`, …
    Discovery,
    /// `/openapi/…`
    OpenApi,
    Version,
    /// Another path.
    Other,
}

/// The parameters of a query, decoded, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    fn parse(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter, if it is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean, as the API reads it: present and neither `0` nor `false`.
    pub fn flag(&self, name: &str) -> bool {
        self.optional_flag(name).unwrap_or(false)
    }

    /// A boolean that may be left out.
    pub fn optional_flag(&self, name: &str) -> Option<bool> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| !matches!(value.to_ascii_lowercase().as_str(), "0" | "false"))
    }

    /// A number that may be left out.
    pub fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    ApiError::bad_request(format!(
                        "invalid value {text:?} of the query parameter {name}: not a number"
                    ))
                })
            })
            .transpose()
    }
}

/// A request, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    pub target: Target,
    pub attributes: Attributes,
    pub query: Query,
}

impl RequestInfo {
    /// Reads a request's line.
    pub fn parse(method: &Method, uri: &Uri) -> Result<Self, ApiError> {
        let query = Query::parse(uri.query().unwrap_or_default());
        let path = uri.path();
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| decode(segment, false))
            .collect();
        if segments.iter().any(|segment| segment == "." || segment == "..") {
            return Err(ApiError::path_not_found());
        }
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let mut attributes = Attributes {
            verb: method.as_str().to_ascii_lowercase(),
            path: path.to_owned(),
            ..Attributes::default()
        };
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            ["api" | "apis", ..] => {
                return Ok(Self { target: Target::Discovery, attributes, query });
            }
            ["openapi", ..] => return Ok(Self { target: Target::OpenApi, attributes, query }),
            ["version"] => return Ok(Self { target: Target::Version, attributes, query }),
            _ => return Ok(Self { target: Target::Other, attributes, query }),
        };
        group.clone_into(&mut attributes.group);
        version.clone_into(&mut attributes.version);
        let (legacy_watch, rest) = match rest {
            ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
            rest => (false, rest),
        };
        place(&mut attributes, rest);
        attributes.verb = verb(method, &attributes, &query, legacy_watch).to_owned();
        Ok(Self { target: Target::Resource, attributes, query })
    }

    /// The path as it was sent.
    pub fn path(&self) -> &str {
        &self.attributes.path
    }

    /// The namespace that is meant, if one is.
    pub fn namespace(&self) -> Option<&str> {
        Some(self.attributes.namespace.as_str()).filter(|namespace| !namespace.is_empty())
    }

    /// The parts of the path before the version, which a discovery path consists of.
    pub fn discovery_parts(&self) -> Vec<&str> {
        self.path().split('/').filter(|segment| !segment.is_empty()).collect()
    }
}

/// Fills in namespace, resource, name and subresource.
fn place(attributes: &mut Attributes, rest: &[&str]) {
    let rest = match rest {
        // A namespace itself lies in its own namespace, so that a Role there can grant it.
        ["namespaces", namespace] | ["namespaces", namespace, "status" | "finalize"] => {
            (*namespace).clone_into(&mut attributes.namespace);
            rest
        }
        ["namespaces", namespace, rest @ ..] => {
            (*namespace).clone_into(&mut attributes.namespace);
            rest
        }
        rest => rest,
    };
    if let Some(resource) = rest.first() {
        (*resource).clone_into(&mut attributes.resource);
    }
    if let Some(name) = rest.get(1) {
        (*name).clone_into(&mut attributes.name);
    }
    attributes.subresource = rest.get(2..).unwrap_or_default().join("/");
}

fn verb(
    method: &Method,
    attributes: &Attributes,
    query: &Query,
    legacy_watch: bool,
) -> &'static str {
    let collection = attributes.name.is_empty();
    match *method {
        Method::GET | Method::HEAD if legacy_watch => "watch",
        Method::GET | Method::HEAD if collection && query.flag("watch") => "watch",
        Method::GET | Method::HEAD if collection => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// Undoes percent-encoding; what is not valid stays as it is.
fn decode(text: &str, form: bool) -> String {
    let encoded = text.contains('%') || (form && text.contains('+'));
    if !encoded {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (byte, pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) if form => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &Method, uri: &str) -> RequestInfo {
        RequestInfo::parse(method, &uri.parse().unwrap()).unwrap()
    }

    fn shown(method: &Method, uri: &str) -> String {
        let info = parse(method, uri);
        let Attributes { verb, group, version, resource, subresource, namespace, name, .. } =
            &info.attributes;
        format!("{verb} {group}/{version} {resource}/{subresource} {namespace}/{name}")
    }

    #[test]
    fn paths_are_taken_apart() {
        for (method, uri, want) in [
            (Method::GET, "/api/v1/pods", "list /v1 pods/ /"),
            (Method::GET, "/api/v1/pods?watch=yes", "watch /v1 pods/ /"),
            (Method::GET, "/api/v1/pods?watch=0", "list /v1 pods/ /"),
            (Method::GET, "/api/v1/watch/namespaces/a/pods", "watch /v1 pods/ a/"),
            (Method::GET, "/api/v1/namespaces/a", "get /v1 namespaces/ a/a"),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update /v1 namespaces/finalize a/a"),
            (Method::POST, "/api/v1/namespaces/a/pods", "create /v1 pods/ a/"),
            (Method::GET, "/api/v1/namespaces/a/pods/b/log", "get /v1 pods/log a/b"),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "patch apps/v1 deployments/scale a/b",
            ),
            (
                Method::DELETE,
                "/apis/apps/v1/namespaces/a/deployments",
                "deletecollection apps/v1 deployments/ a/",
            ),
            (
                Method::GET,
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa",
                "get rbac.authorization.k8s.io/v1 clusterroles/ /system:a",
            ),
        ] {
            assert_eq!(shown(&method, uri), want, "{uri}");
        }
        assert_eq!(parse(&Method::GET, "/apis/apps/v1").target, Target::Discovery);
        assert_eq!(parse(&Method::GET, "/openapi/v3/apis/apps/v1").target, Target::OpenApi);
        assert_eq!(parse(&Method::GET, "/healthz").target, Target::Other);
        assert!(RequestInfo::parse(&Method::GET, &"/api/v1/pods/%2e%2e".parse().unwrap()).is_err());
    }

    #[test]
    fn a_query_is_decoded() {
        let query =
            parse(&Method::GET, "/api/v1/pods?labelSelector=a%3Db%2Cc+in+(d)&limit=5").query;
        assert_eq!(query.get("labelSelector"), Some("a=b,c in (d)"));
        assert_eq!(query.number("limit").unwrap(), Some(5));
        assert_eq!(query.number("continue").unwrap(), None);
    }
}
