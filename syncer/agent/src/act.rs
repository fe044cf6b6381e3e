//! The writes into a member: each is one request, sent as the bytes that were rendered.

use federation_types::names::{
    COPY_OF_ANNOTATION, FIELD_MANAGER, MANAGED_LABEL, ObjectKey, REVISION_ANNOTATION,
};
use http::{Method, Request, header::CONTENT_TYPE};
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{error::ActError, kinds::Resource, live::LiveObject};

/// A deletion is answered with a Status when the object is gone, and with the object while it lingers.
#[derive(Deserialize)]
struct Answered {
    kind: String,
}

/// One object of one member.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) client: &'a Client,
    pub(crate) resource: &'a Resource,
    pub(crate) key: &'a ObjectKey,
}

impl Target<'_> {
    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<String, ActError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, content_type)
            .body(body)
            .map_err(|error| ActError::Refused { message: format!("`{path}`: {error}") })?;
        self.client
            .request_text(request)
            .await
            .map_err(|error| ActError::from_client(self.key, error))
    }

    fn read(&self, text: &str) -> Result<LiveObject, ActError> {
        LiveObject::parse(text).map_err(|error| ActError::Busy {
            message: format!("the answer about {} is no object: {error}", self.key),
        })
    }

    /// What is there, or none.
    pub(crate) async fn get(&self) -> Result<Option<LiveObject>, ActError> {
        let path = self.resource.object(self.key);
        match self.send(Method::GET, &path, "application/json", Vec::new()).await {
            Ok(text) => self.read(&text).map(Some),
            Err(ActError::Gone { .. } | ActError::NoNamespace { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the object; an object that is there already is [`ActError::Changed`].
    pub(crate) async fn create(&self, manifest: &[u8]) -> Result<LiveObject, ActError> {
        let collection = self.resource.collection(&self.key.namespace);
        let path = format!("{collection}?fieldManager={FIELD_MANAGER}");
        let text = self.send(Method::POST, &path, "application/json", manifest.to_vec()).await?;
        self.read(&text)
    }

    /// Applies the manifest to the object with that uid; without one, to whatever has the name.
    pub(crate) async fn apply(
        &self,
        manifest: &Value,
        uid: Option<&str>,
    ) -> Result<LiveObject, ActError> {
        let mut manifest = manifest.clone();
        if let (Some(uid), Some(metadata)) =
            (uid, manifest.get_mut("metadata").and_then(Value::as_object_mut))
        {
            metadata.insert("uid".to_owned(), json!(uid));
        }
        let body = serde_json::to_vec(&manifest).expect("a JSON value serialises");
        let object = self.resource.object(self.key);
        let path = format!("{object}?fieldManager={FIELD_MANAGER}&force=true");
        let text = self.send(Method::PATCH, &path, "application/apply-patch+yaml", body).await?;
        self.read(&text)
    }

    /// What a plain create wrote becomes what we applied, or a field that a later manifest leaves out would stay for
    /// ever.
    pub(crate) async fn own_as_applied(&self, at: usize) -> Result<LiveObject, ActError> {
        let entry = format!("/metadata/managedFields/{at}");
        let patch = json!([
            {"op": "test", "path": format!("{entry}/manager"), "value": FIELD_MANAGER},
            {"op": "test", "path": format!("{entry}/operation"), "value": "Update"},
            {"op": "replace", "path": format!("{entry}/operation"), "value": "Apply"},
        ]);
        let object = self.resource.object(self.key);
        let path = format!("{object}?fieldManager={FIELD_MANAGER}");
        let body = serde_json::to_vec(&patch).expect("a JSON value serialises");
        let text = self.send(Method::PATCH, &path, "application/json-patch+json", body).await?;
        self.read(&text)
    }

    /// Deletes the object with that uid, at that version if one is given, and nothing that took its place. Says whether it
    /// is gone; one with finalizers or a grace period goes later.
    pub(crate) async fn delete(&self, uid: &str, version: Option<u64>) -> Result<bool, ActError> {
        let mut preconditions = json!({ "uid": uid });
        if let Some(version) = version {
            preconditions["resourceVersion"] = json!(version.to_string());
        }
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": preconditions, "propagationPolicy": "Background",
        });
        let body = serde_json::to_vec(&options).expect("a JSON value serialises");
        let path = self.resource.object(self.key);
        match self.send(Method::DELETE, &path, "application/json", body).await {
            Ok(text) => {
                Ok(serde_json::from_str::<Answered>(&text).is_ok_and(|it| it.kind == "Status"))
            }
            Err(ActError::Gone { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Takes our marks away; the object stays.
    pub(crate) async fn orphan(&self, uid: &str) -> Result<(), ActError> {
        let patch = json!({"metadata": {
            "uid": uid,
            "labels": {MANAGED_LABEL: null},
            "annotations": {COPY_OF_ANNOTATION: null, REVISION_ANNOTATION: null},
        }});
        let body = serde_json::to_vec(&patch).expect("a JSON value serialises");
        let object = self.resource.object(self.key);
        let path = format!("{object}?fieldManager={FIELD_MANAGER}");
        match self.send(Method::PATCH, &path, "application/merge-patch+json", body).await {
            Ok(_) | Err(ActError::Gone { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
