//! Which kinds a server serves, and at which paths: asked once per group and version.

use std::{collections::HashMap, sync::Arc};

use federation_types::names::{Gvk, ObjectKey};
use kube::Client;
use parking_lot::Mutex;
use serde::Deserialize;

/// Where a kind is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// `/apis/apps/v1`
    prefix: String,
    plural: String,
    pub(crate) namespaced: bool,
    pub(crate) has_status: bool,
}

impl Resource {
    /// All objects of the kind.
    pub(crate) fn all(&self) -> String {
        format!("{}/{}", self.prefix, self.plural)
    }

    /// Where objects of that namespace are made.
    pub(crate) fn collection(&self, namespace: &str) -> String {
        if self.namespaced {
            format!("{}/namespaces/{namespace}/{}", self.prefix, self.plural)
        } else {
            self.all()
        }
    }

    pub(crate) fn object(&self, key: &ObjectKey) -> String {
        // RBAC names hold colons, which a path may; a percent sign it may not.
        format!("{}/{}", self.collection(&key.namespace), key.name.replace('%', "%25"))
    }
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    namespaced: bool,
    kind: String,
}

/// The kinds of one server.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    known: Mutex<HashMap<Gvk, Arc<Resource>>>,
}

impl Kinds {
    /// Where the kind is served, or none if it is not.
    pub(crate) async fn find(
        &self,
        client: &Client,
        gvk: &Gvk,
    ) -> Result<Option<Arc<Resource>>, kube::Error> {
        if let Some(found) = self.known.lock().get(gvk) {
            return Ok(Some(Arc::clone(found)));
        }
        let prefix = if gvk.group.is_empty() {
            format!("/api/{}", gvk.version)
        } else {
            format!("/apis/{}/{}", gvk.group, gvk.version)
        };
        let request =
            http::Request::get(&prefix).body(Vec::new()).map_err(kube::Error::HttpError)?;
        let list: ResourceList = match client.request(request).await {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        let statuses: Vec<&str> =
            list.resources.iter().filter_map(|it| it.name.strip_suffix("/status")).collect();
        let mut known = self.known.lock();
        for listed in list.resources.iter().filter(|it| !it.name.contains('/')) {
            let own = Gvk { kind: listed.kind.as_str().into(), ..gvk.clone() };
            known.insert(
                own,
                Arc::new(Resource {
                    prefix: prefix.clone(),
                    plural: listed.name.clone(),
                    namespaced: listed.namespaced,
                    has_status: statuses.contains(&listed.name.as_str()),
                }),
            );
        }
        Ok(known.get(gvk).cloned())
    }
}
