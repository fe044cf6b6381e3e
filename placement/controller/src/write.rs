//! Carries out what a pass decided: revision, finalizer, Placement, in the order that keeps every moment safe.

use federation_types::{
    names::{
        API_VERSION, COPIES_FINALIZER, Gvk, ObjectKey, TEMPLATE_LABEL, placement_name,
        template_label,
    },
    placement::PlacementSpec,
    revision::RevisionSpec,
    rollout::{Rollout, RolloutStatus},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
    core::TypeMeta,
};
use serde_json::{Value, json};

use crate::{
    feed::placed,
    index::{Placed, Template},
    release::RolloutWrite,
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
    #[error("cannot write rollout `{name}`")]
    Rollout { name: String, source: kube::Error },
    #[error("cannot read back placement `{name}`")]
    Unreadable { name: String, source: serde_json::Error },
}

impl WriteError {
    /// Whether another writer came in between: the write is decided once more and made again.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            Self::Revision { source, .. }
            | Self::Finalizer { source, .. }
            | Self::Rollout { source, .. }
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

    /// The Placement as the owner of what goes with it.
    fn owner(&self, placed: &Placed) -> OwnerReference {
        let kind = if self.key.namespace.is_empty() { "ClusterPlacement" } else { "Placement" };
        OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: kind.to_owned(),
            name: placed.name.clone(),
            uid: placed.uid.clone(),
            ..OwnerReference::default()
        }
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

/// What the writes of one pass are about, as it stood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) template: Option<&'a Template>,
    pub(crate) standing: Option<&'a Placed>,
}

/// Makes the writes of one pass. What a rollout releases is said by it first: it can be told afterwards from when on.
pub(crate) async fn execute(
    client: &Client,
    home: &Home,
    about: &About<'_>,
    rollout: Option<Box<RolloutWrite>>,
    write: Option<Write>,
) -> Result<(Option<Rollout>, Option<Written>), WriteError> {
    let rollout = match rollout {
        Some(it) => Some(roll_out(client, home, about.standing, *it).await?),
        None => None,
    };
    let written = match write {
        Some(write) => Some(one(client, home, about, write).await?),
        None => None,
    };
    Ok((rollout, written))
}

/// Writes a Rollout: what people say of it where it begins, and where it stands.
async fn roll_out(
    client: &Client,
    home: &Home,
    placed: Option<&Placed>,
    write: RolloutWrite,
) -> Result<Rollout, WriteError> {
    let RolloutWrite { namespace, name, standing, spec, status } = write;
    let failed = |source| WriteError::Rollout { name: name.clone(), source };
    let api = Api::<Rollout>::namespaced(client.clone(), &namespace);
    let mut object = match (standing, spec) {
        (Some(standing), None) => (*standing).clone(),
        (Some(standing), Some(spec)) => {
            let object = Rollout { spec, ..(*standing).clone() };
            api.replace(&name, &PostParams::default(), &object).await.map_err(failed)?
        }
        (None, spec) => {
            let mut object = Rollout::new(&name, spec.unwrap_or_default());
            object.metadata.labels =
                Some([(TEMPLATE_LABEL.to_owned(), template_label(&home.key))].into());
            // It goes with its Placement.
            object.metadata.owner_references = placed.map(|it| vec![home.owner(it)]);
            api.create(&PostParams::default(), &object).await.map_err(failed)?
        }
    };
    let observed_generation = object.metadata.generation;
    let mut status = RolloutStatus { observed_generation, ..status };
    status.conditions.iter_mut().for_each(|it| it.observed_generation = observed_generation);
    object.status = Some(status);
    api.replace_status(&name, &PostParams::default(), &object).await.map_err(failed)
}

async fn one(
    client: &Client,
    home: &Home,
    about: &About<'_>,
    write: Write,
) -> Result<Written, WriteError> {
    let About { template, standing } = *about;
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
