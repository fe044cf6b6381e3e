//! What a member serves, by aggregated discovery: two requests however many groups there are.

use std::collections::BTreeSet;

use http::{
    HeaderValue, Request, StatusCode,
    header::{ACCEPT, ETAG, IF_NONE_MATCH},
};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use serde::Deserialize;

const ACCEPTED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                        application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
const PATHS: [&str; 2] = ["/api", "/apis"];

/// One kind that a member serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServedApi {
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    pub kind: String,
    /// `deployments`
    pub resource: String,
    /// Whether objects of it can be created.
    pub creatable: bool,
}

impl ServedApi {
    /// `apps/v1/Deployment`
    pub fn path(&self) -> String {
        let Self { group, version, kind, .. } = self;
        if group.is_empty() {
            format!("{version}/{kind}")
        } else {
            format!("{group}/{version}/{kind}")
        }
    }
}

/// Why nothing is known of what a member serves.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    #[error("discovery failed")]
    Request(#[from] kube::Error),
    #[error("discovery answered {0}")]
    Status(StatusCode),
    #[error("discovery answered what is no list of API groups")]
    Unreadable(#[source] serde_json::Error),
    #[error("the member does not serve aggregated discovery (Kubernetes 1.27 and later do)")]
    NotAggregated,
}

/// What was last read of a member; asking again costs next to nothing while nothing changes there.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    documents: [Document; 2],
}

#[derive(Clone, Debug, Default)]
struct Document {
    tag: Option<HeaderValue>,
    apis: BTreeSet<ServedApi>,
}

impl Discovery {
    /// Reads what has changed; says whether anything did.
    pub async fn refresh(&mut self, client: &Client) -> Result<bool, DiscoveryError> {
        let mut changed = false;
        for (path, document) in PATHS.iter().zip(&mut self.documents) {
            let mut request = Request::get(*path).header(ACCEPT, ACCEPTED);
            if let Some(tag) = &document.tag {
                request = request.header(IF_NONE_MATCH, tag);
            }
            let request = request.body(Body::empty()).expect("the parts are constants");
            let response = client.send(request).await?;
            match response.status() {
                StatusCode::NOT_MODIFIED => continue,
                StatusCode::OK => (),
                other => return Err(DiscoveryError::Status(other)),
            }
            let tag = response.headers().get(ETAG).cloned();
            let body = response.into_body().collect().await?.to_bytes();
            let apis = read(&body, &document.apis)?;
            changed |= apis != document.apis;
            *document = Document { tag, apis };
        }
        Ok(changed)
    }

    /// Every kind, sorted.
    pub fn apis(&self) -> impl Iterator<Item = &ServedApi> {
        self.documents.iter().flat_map(|it| &it.apis)
    }

    /// `apps/v1/Deployment`: the kinds that can be created, sorted.
    pub fn creatable(&self) -> Vec<String> {
        let paths: BTreeSet<String> =
            self.apis().filter(|it| it.creatable).map(ServedApi::path).collect();
        paths.into_iter().collect()
    }

    /// Whether a kind is served, by its path.
    pub fn serves(&self, path: &str) -> bool {
        self.apis().any(|it| it.path() == path)
    }
}

#[derive(Deserialize)]
struct Groups {
    kind: String,
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    freshness: String,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource: String,
    response_kind: Option<Kind>,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// A group-version that the member itself could not read just now keeps what it had: it is not gone (DESIGN 2.4).
fn read(body: &[u8], before: &BTreeSet<ServedApi>) -> Result<BTreeSet<ServedApi>, DiscoveryError> {
    let groups: Groups = serde_json::from_slice(body).map_err(DiscoveryError::Unreadable)?;
    if groups.kind != "APIGroupDiscoveryList" {
        return Err(DiscoveryError::NotAggregated);
    }
    let mut apis = BTreeSet::new();
    for group in groups.items {
        let name = group.metadata.name;
        for version in group.versions {
            if version.freshness == "Stale" {
                let same = |it: &&ServedApi| it.group == name && it.version == version.version;
                apis.extend(before.iter().filter(same).cloned());
            }
            for resource in version.resources {
                let Some(kind) = resource.response_kind.filter(|it| !it.kind.is_empty()) else {
                    continue;
                };
                apis.insert(ServedApi {
                    group: name.clone(),
                    version: version.version.clone(),
                    kind: kind.kind,
                    resource: resource.resource,
                    creatable: resource.verbs.iter().any(|it| it == "create"),
                });
            }
        }
    }
    Ok(apis)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(freshness: &str, resources: &serde_json::Value) -> Vec<u8> {
        json!({"kind": "APIGroupDiscoveryList", "items": [{
            "metadata": {"name": "apps"},
            "versions": [{"version": "v1", "freshness": freshness, "resources": resources}],
        }]})
        .to_string()
        .into_bytes()
    }

    fn resource(kind: &str, verbs: &[&str]) -> serde_json::Value {
        json!({"resource": format!("{}s", kind.to_lowercase()), "verbs": verbs,
               "responseKind": {"group": "", "version": "", "kind": kind}, "scope": "Namespaced"})
    }

    #[test]
    fn kinds_that_can_be_created_are_listed_by_their_path() {
        let resources =
            json!([resource("Deployment", &["create", "get"]), resource("Scale", &["get"])]);
        let apis = read(&list("Current", &resources), &BTreeSet::new()).unwrap();
        let paths: Vec<(String, bool)> = apis.iter().map(|it| (it.path(), it.creatable)).collect();
        assert_eq!(
            paths,
            [("apps/v1/Deployment".to_owned(), true), ("apps/v1/Scale".to_owned(), false)]
        );
    }

    #[test]
    fn what_a_member_cannot_read_just_now_is_not_gone() {
        let resources = json!([resource("Deployment", &["create"])]);
        let before = read(&list("Current", &resources), &BTreeSet::new()).unwrap();
        let stale = read(&list("Stale", &json!([])), &before).unwrap();
        assert_eq!(stale, before);
        assert!(read(&list("Current", &json!([])), &before).unwrap().is_empty());
        let plain = json!({"kind": "APIGroupList", "groups": []}).to_string();
        assert!(matches!(read(plain.as_bytes(), &before), Err(DiscoveryError::NotAggregated)));
    }
}
