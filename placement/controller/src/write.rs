//! Carries out what a pass decided: revision, finalizer, Placement, in the order that keeps every moment safe.

use federation_types::{
    names::{
        API_VERSION, COPIES_FINALIZER, Gvk, ObjectKey, TEMPLATE_LABEL, placement_name,
        template_label,
    },
    placement::PlacementSpec,
    revision::RevisionSpec,
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
    core::TypeMeta,
};
use serde_json::{Value, json};

use crate::{
    feed::placed,
    index::{Placed, Template},
};

/// What one pass wants written. Leaves nothing to decide.
#[derive(Debug)]
pub(crate) enum Write {
    /// Create or replace the Placement; before it, the revision it names and the template's finalizer.
    Place { spec: Box<PlacementSpec>, revision: Option<Box<RevisionSpec>>, finalizer: bool },
    /// Every reachable copy of a deleted template is gone: let the template go.
    Release,
    /// The Placement has nothing left to say: it and the template's revisions go.
    Forget { revisions: Vec<String>, release: bool },
}

impl Write {
    /// For counting.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Place { .. } => "place",
            Self::Release => "release",
            Self::Forget { .. } => "forget",
        }
    }
}

/// What a write led to: what the index is told at once, without waiting for its own watch.
#[derive(Debug)]
pub(crate) enum Written {
    Placed { placed: Box<Placed>, revision: Option<String> },
    Released,
    Forgotten { revisions: Vec<String> },
}

/// Why a write did not happen; the pass is made again in every case.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("cannot keep revision `{name}`")]
    Revision { name: String, source: kube::Error },
    #[error("cannot set the finalizer of {template}")]
    Finalizer { template: ObjectKey, source: kube::Error },
    #[error("cannot write placement `{name}`")]
    Placement { name: String, source: kube::Error },
    #[error("cannot read back placement `{name}`")]
    Unreadable { name: String, source: serde_json::Error },
}

impl WriteError {
    /// Whether another writer came in between: the write is decided once more and made again.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            Self::Revision { source, .. }
            | Self::Finalizer { source, .. }
            | Self::Placement { source, .. } => {
                matches!(source, kube::Error::Api(status) if status.code == 409)
            }
            Self::Unreadable { .. } => false,
        }
    }
}

/// Where a template's Placement and revisions live.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) key: ObjectKey,
    pub(crate) resource: ApiResource,
    pub(crate) placement: String,
}

impl Home {
    pub(crate) fn new(key: &ObjectKey, resource: ApiResource) -> Self {
        let gvk = Gvk::new(&resource.api_version, &key.gvk.kind);
        Self { key: key.clone(), placement: placement_name(&gvk, &key.name), resource }
    }

    fn api(&self, client: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
        let kind =
            if self.key.namespace.is_empty() { format!("Cluster{kind}") } else { kind.to_owned() };
        let plural = if self.key.namespace.is_empty() {
            format!("cluster{plural}")
        } else {
            plural.to_owned()
        };
        let gvk = Gvk::new(API_VERSION, &kind);
        let resource = ApiResource::from_gvk_with_plural(&(&gvk).into(), &plural);
        scoped(client, &self.key.namespace, &resource)
    }

    fn templates(&self, client: &Client) -> Api<DynamicObject> {
        scoped(client, &self.key.namespace, &self.resource)
    }

    fn object(&self, kind: &str, name: &str, spec: &impl serde::Serialize) -> DynamicObject {
        let kind =
            if self.key.namespace.is_empty() { format!("Cluster{kind}") } else { kind.to_owned() };
        let labels = [(TEMPLATE_LABEL.to_owned(), template_label(&self.key))];
        DynamicObject {
            types: Some(TypeMeta { api_version: API_VERSION.to_owned(), kind }),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: (!self.key.namespace.is_empty()).then(|| self.key.namespace.to_string()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            data: json!({ "spec": spec }),
        }
    }
}

fn scoped(client: &Client, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
    if namespace.is_empty() {
        Api::all_with(client.clone(), resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, resource)
    }
}

/// Makes the writes of one pass.
pub(crate) async fn execute(
    client: &Client,
    home: &Home,
    template: Option<&Template>,
    standing: Option<&Placed>,
    write: Write,
) -> Result<Written, WriteError> {
    match write {
        Write::Place { spec, revision, finalizer } => {
            let mut kept = None;
            if let Some(revision) = revision {
                let name = format!("{}-{}", home.placement, revision.hash);
                keep(client, home, &name, &revision).await?;
                kept = Some(name);
            }
            if finalizer && let Some(template) = template {
                set_finalizer(client, home, template, true).await?;
            }
            let placed = place(client, home, standing, &spec).await?;
            Ok(Written::Placed { placed: Box::new(placed), revision: kept })
        }
        Write::Release => {
            if let Some(template) = template {
                set_finalizer(client, home, template, false).await?;
            }
            Ok(Written::Released)
        }
        Write::Forget { revisions, release } => {
            forget(client, home, &revisions).await?;
            if release && let Some(template) = template {
                set_finalizer(client, home, template, false).await?;
            }
            Ok(Written::Forgotten { revisions })
        }
    }
}

async fn keep(
    client: &Client,
    home: &Home,
    name: &str,
    revision: &RevisionSpec,
) -> Result<(), WriteError> {
    let api = home.api(client, "Revision", "revisions");
    let object = home.object("Revision", name, revision);
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        // Content-addressed: what exists under this name is this.
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(source) => Err(WriteError::Revision { name: name.to_owned(), source }),
    }
}

async fn place(
    client: &Client,
    home: &Home,
    standing: Option<&Placed>,
    spec: &PlacementSpec,
) -> Result<Placed, WriteError> {
    let api = home.api(client, "Placement", "placements");
    let mut object = home.object("Placement", &home.placement, spec);
    // It outlives its namespace's other objects: without it nobody knows which copies are to go (RULES 4.3).
    object.metadata.finalizers = Some(vec![COPIES_FINALIZER.to_owned()]);
    let name = || home.placement.clone();
    let written = match standing {
        Some(standing) => {
            object.metadata.resource_version = Some(standing.resource_version.clone());
            api.replace(&home.placement, &PostParams::default(), &object).await
        }
        None => api.create(&PostParams::default(), &object).await,
    };
    let written = written.map_err(|source| WriteError::Placement { name: name(), source })?;
    read(&written).map_err(|source| WriteError::Unreadable { name: name(), source })
}

fn read(object: &DynamicObject) -> Result<Placed, serde_json::Error> {
    let spec = serde_json::from_value(object.data["spec"].clone())?;
    let status = match object.data.get("status") {
        Some(status) => Some(serde_json::from_value(status.clone())?),
        None => None,
    };
    Ok(placed(&object.metadata, spec, status))
}

async fn forget(client: &Client, home: &Home, revisions: &[String]) -> Result<(), WriteError> {
    let gone = |result: Result<_, kube::Error>| match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(source),
    };
    let api = home.api(client, "Placement", "placements");
    gone(api.delete(&home.placement, &DeleteParams::default()).await.map(drop))
        .map_err(|source| WriteError::Placement { name: home.placement.clone(), source })?;
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    gone(api.patch(&home.placement, &PatchParams::default(), &patch).await.map(drop))
        .map_err(|source| WriteError::Placement { name: home.placement.clone(), source })?;
    let api = home.api(client, "Revision", "revisions");
    for name in revisions {
        gone(api.delete(name, &DeleteParams::default()).await.map(drop))
            .map_err(|source| WriteError::Revision { name: name.clone(), source })?;
    }
    Ok(())
}

/// Deletes revisions that are no longer among those to keep.
pub(crate) async fn drop_revisions(client: &Client, home: &Home, names: &[String]) {
    let api = home.api(client, "Revision", "revisions");
    for name in names {
        if let Err(error) = api.delete(name, &DeleteParams::default()).await {
            tracing::debug!(%error, revision = %name, "old revision not deleted");
        }
    }
}

async fn set_finalizer(
    client: &Client,
    home: &Home,
    template: &Template,
    wanted: bool,
) -> Result<(), WriteError> {
    let mut finalizers: Vec<&str> = template
        .finalizers
        .iter()
        .map(String::as_str)
        .filter(|it| *it != COPIES_FINALIZER)
        .collect();
    if wanted {
        finalizers.push(COPIES_FINALIZER);
    }
    // The version guards the whole list: another writer's finalizer is never lost.
    let patch: Value = json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": template.resource_version,
    }});
    let api = home.templates(client);
    match api.patch(&home.key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() && !wanted => Ok(()),
        Err(source) => Err(WriteError::Finalizer { template: home.key.clone(), source }),
    }
}
