//! A member as it is looked into for copies that nobody knows of.

use federation_types::names::{
    COPY_OF_ANNOTATION, CopyOf, FIELD_MANAGER, Gvk, MANAGED_LABEL, ObjectKey, REVISION_ANNOTATION,
};
use kube::{
    Api, Client, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
    },
    discovery::{Discovery, Scope, verbs},
};
use serde_json::json;

use crate::output::Failure;

pub(crate) struct Member {
    name: String,
    client: Client,
}

/// A copy of the hub's, as it stands in the member.
#[derive(Debug)]
pub(crate) struct Found {
    pub(super) resource: ApiResource,
    pub(super) object: DynamicObject,
}

impl std::fmt::Display for Found {
    /// `ConfigMap shop/settings`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = ObjectKey {
            gvk: Gvk::new(&self.resource.api_version, &self.resource.kind),
            namespace: self.object.namespace().unwrap_or_default().into(),
            name: self.object.name_any().into(),
        };
        key.fmt(f)
    }
}

impl Member {
    pub(crate) fn new(name: &str, client: Client) -> Self {
        Self { name: name.to_owned(), client }
    }

    /// Looks for what is listed as `KIND NAMESPACE/NAME`. Only an object that proves itself a copy is found.
    pub(super) async fn find(&self, text: &str) -> Result<Found, Failure> {
        let (kind, rest) = text.split_once(' ').ok_or("it is not listed as KIND NAME")?;
        let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
        let discovery = Discovery::new(self.client.clone()).run().await?;
        for group in discovery.groups() {
            for (resource, capabilities) in group.recommended_resources() {
                let scoped = (capabilities.scope == Scope::Namespaced) != namespace.is_empty();
                if resource.kind != kind || !scoped {
                    continue;
                }
                let api: Api<DynamicObject> = self.api(&resource, namespace);
                let Some(object) = api.get_opt(name).await? else { continue };
                if is_copy(&resource, &object) {
                    return Ok(Found { resource, object });
                }
            }
        }
        Err("it is not there any more, or bears the hub's mark no longer".into())
    }

    /// Every object that bears this hub's mark for itself.
    pub(crate) async fn marked(&self, hub: &str) -> Result<Vec<Found>, Failure> {
        let labelled = ListParams::default().labels(MANAGED_LABEL);
        let discovery = Discovery::new(self.client.clone()).run().await?;
        let mut found = Vec::new();
        for group in discovery.groups() {
            for (resource, capabilities) in group.recommended_resources() {
                let usable = [verbs::LIST, verbs::PATCH]
                    .iter()
                    .all(|it| capabilities.supports_operation(it));
                if !usable {
                    continue;
                }
                let list = match self.api(&resource, "").list(&labelled).await {
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405 | 503) => {
                        continue;
                    }
                    list => list?,
                };
                let ours = list.items.into_iter().filter(|it| {
                    is_copy(&resource, it) && mark(it).is_some_and(|it| it.hub == hub)
                });
                found.extend(ours.map(|object| Found { resource: resource.clone(), object }));
            }
        }
        Ok(found)
    }

    /// Takes our marks off that very object, which stays as it is.
    pub(crate) async fn let_go(&self, found: &Found) -> Result<(), kube::Error> {
        let patch = json!({"metadata": {
            "uid": found.object.metadata.uid,
            "labels": {MANAGED_LABEL: null},
            "annotations": {COPY_OF_ANNOTATION: null, REVISION_ANNOTATION: null},
        }});
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(&found.resource, &found.object.namespace().unwrap_or_default());
        match api.patch_metadata(&found.object.name_any(), &params, &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn api(&self, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, resource)
        }
    }

    /// Deletes that object as it was found and no other; a namespace only if nothing is in it (RULES 4.4).
    pub(super) async fn delete(&self, found: &Found) -> Result<(), Failure> {
        let metadata = &found.object.metadata;
        let name = metadata.name.clone().unwrap_or_default();
        if found.resource.kind == "Namespace" && found.resource.group.is_empty() {
            let inside = syncer_agent::inside(&self.client, &name).await?;
            if let Some(first) = inside.first() {
                let more = match inside.len() {
                    1 => String::new(),
                    count => format!(" and {} more", count - 1),
                };
                return Err(format!(
                    "{first}{more} is in it: a namespace goes only when it is empty"
                )
                .into());
            }
        }
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: metadata.uid.clone(),
                resource_version: metadata.resource_version.clone(),
            }),
            ..DeleteParams::background()
        };
        match self.api(&found.resource, &namespace).delete(&name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err(format!("it changed meanwhile in {}: look again", self.name).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn mark(object: &DynamicObject) -> Option<CopyOf> {
    CopyOf::parse(object.metadata.annotations.as_ref()?.get(COPY_OF_ANNOTATION)?)
}

/// Whether its mark names the object itself.
fn is_copy(resource: &ApiResource, object: &DynamicObject) -> bool {
    let metadata = &object.metadata;
    let controlled =
        metadata.owner_references.iter().flatten().any(|it| it.controller == Some(true));
    mark(object).is_some_and(|it| {
        !controlled
            && it.group == resource.group
            && it.kind == resource.kind
            && Some(it.name) == metadata.name
            && it.namespace == metadata.namespace.clone().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rule_4_3_only_an_object_whose_mark_names_itself_is_a_copy() {
        let resource = ApiResource {
            group: String::new(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            plural: "configmaps".into(),
        };
        let object = |mark: &str| -> DynamicObject {
            let value = json!({"metadata": {
                "name": "stray", "namespace": "shop", "annotations": {COPY_OF_ANNOTATION: mark},
            }});
            serde_json::from_value(value).expect("an object")
        };
        assert!(is_copy(&resource, &object("hub//ConfigMap/shop/stray/t")));
        assert!(!is_copy(&resource, &object("hub//ConfigMap/shop/other/t")));
        assert!(!is_copy(&resource, &object("hub//Secret/shop/stray/t")));
        assert!(!is_copy(&resource, &object("mine")));
    }
}
