//! Acts on what the graph suspects: looks at it live, and deletes or releases it.

use std::sync::Arc;

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::{ApiResource, PartialObjectMeta},
};
use serde_json::json;

use crate::graph::{FOREGROUND, ORPHAN, Owner, Place};

/// An object to look at, with all that must be known of it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub place: Place,
    pub resource: Arc<ApiResource>,
    pub namespaced: bool,
}

/// What is known of an owner before the live look.
#[derive(Clone, Debug)]
pub(crate) struct OwnerTarget {
    pub owner: Owner,
    /// Its kind, if it is served.
    pub kind: Option<(Arc<ApiResource>, bool)>,
    /// The watch shows it.
    pub seen: bool,
    /// It is being deleted and waits for its dependents.
    pub foreground: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is there.
    Solid,
    /// It is there and waits for its dependents to go.
    Waiting,
    /// It is not there.
    Gone,
    /// It cannot be told: its kind is not served, or lies where it cannot be an owner. Never a reason to delete.
    Unknown,
}

impl Target {
    fn api(&self, client: &Client) -> Api<DynamicObject> {
        api(client, &self.resource, self.namespaced, &self.place.namespace)
    }

    /// The object's metadata as it stands, if it is still the same object.
    async fn live(
        &self,
        client: &Client,
    ) -> Result<Option<PartialObjectMeta<DynamicObject>>, kube::Error> {
        let found = self.api(client).get_metadata_opt(&self.place.name).await?;
        Ok(found.filter(|found| found.metadata.uid.as_deref() == Some(&*self.place.uid)))
    }

    async fn patch(&self, client: &Client, body: &serde_json::Value) -> Result<(), kube::Error> {
        let patched = self
            .api(client)
            .patch_metadata(&self.place.name, &PatchParams::default(), &Patch::Merge(body))
            .await;
        ignore_gone(patched.map(drop))
    }
}

/// Deletes a dependent whose owners are all gone, and takes the gone ones off one that still has some. `has_dependents`:
/// others depend on it.
pub(crate) async fn dependent(
    client: &Client,
    target: &Target,
    owners: &[OwnerTarget],
    has_dependents: bool,
) -> Result<(), kube::Error> {
    let mut standings = Vec::new();
    for owner in owners {
        standings.push(standing(client, target, owner).await?);
    }
    let any = |wanted| standings.contains(&wanted);
    let to_drop = any(Standing::Gone) || any(Standing::Waiting);
    if !to_drop {
        return Ok(());
    }
    let Some(live) = target.live(client).await? else { return Ok(()) };
    // What was judged must be what stands there now; a change of it comes as an event and is judged then.
    let judged: Vec<Owner> = owners.iter().map(|owner| owner.owner.clone()).collect();
    if crate::graph::owners(&live.metadata) != judged {
        return Ok(());
    }
    if any(Standing::Solid) || any(Standing::Unknown) {
        if !any(Standing::Gone) && any(Standing::Unknown) {
            return Ok(());
        }
        let kept: Vec<_> = live
            .metadata
            .owner_references
            .iter()
            .flatten()
            .zip(&standings)
            .filter(|(_, standing)| matches!(standing, Standing::Solid | Standing::Unknown))
            .map(|(reference, _)| reference)
            .collect();
        let body = json!({"metadata": {
            "uid": target.place.uid,
            "resourceVersion": live.metadata.resource_version,
            "ownerReferences": kept,
        }});
        return target.patch(client, &body).await;
    }
    if live.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let has = |finalizer: &str| {
        live.metadata.finalizers.iter().flatten().any(|present| present == finalizer)
    };
    let propagation = if any(Standing::Waiting) && has_dependents || has(FOREGROUND) {
        PropagationPolicy::Foreground
    } else if has(ORPHAN) {
        PropagationPolicy::Orphan
    } else {
        PropagationPolicy::Background
    };
    let parameters = DeleteParams {
        propagation_policy: Some(propagation),
        preconditions: Some(Preconditions {
            uid: Some(target.place.uid.to_string()),
            resource_version: live.metadata.resource_version.clone(),
        }),
        ..DeleteParams::default()
    };
    tracing::debug!(
        kind = target.resource.kind,
        namespace = &*target.place.namespace,
        name = &*target.place.name,
        "collecting"
    );
    ignore_gone(target.api(client).delete(&target.place.name, &parameters).await.map(drop))
}

async fn standing(
    client: &Client,
    dependent: &Target,
    owner: &OwnerTarget,
) -> Result<Standing, kube::Error> {
    if owner.foreground {
        return Ok(Standing::Waiting);
    }
    if owner.seen {
        return Ok(Standing::Solid);
    }
    let Some((resource, namespaced)) = &owner.kind else { return Ok(Standing::Unknown) };
    if *namespaced && !dependent.namespaced {
        return Ok(Standing::Unknown);
    }
    let api = api(client, resource, *namespaced, &dependent.place.namespace);
    let found = api.get_metadata_opt(&owner.owner.name).await?;
    Ok(match found {
        Some(found) if found.metadata.uid.as_deref() == Some(&*owner.owner.uid) => {
            let waits = found.metadata.deletion_timestamp.is_some()
                && found.metadata.finalizers.iter().flatten().any(|it| it == FOREGROUND);
            if waits { Standing::Waiting } else { Standing::Solid }
        }
        // Another object of that name is not the owner.
        _ => Standing::Gone,
    })
}

/// Lets an owner go whose dependents were to go first. Called once none of them blocks it.
pub(crate) async fn release(
    client: &Client,
    owner: &Target,
    finalizer: &str,
) -> Result<(), kube::Error> {
    let Some(live) = owner.live(client).await? else { return Ok(()) };
    let present = live.metadata.finalizers.unwrap_or_default();
    if live.metadata.deletion_timestamp.is_none() || !present.iter().any(|it| it == finalizer) {
        return Ok(());
    }
    let kept: Vec<&String> = present.iter().filter(|it| *it != finalizer).collect();
    let body = json!({"metadata": {
        "uid": owner.place.uid,
        "resourceVersion": live.metadata.resource_version,
        "finalizers": kept,
    }});
    owner.patch(client, &body).await
}

/// Takes the owner off its dependents, so that they live on, and then lets it go.
pub(crate) async fn orphan(
    client: &Client,
    owner: &Target,
    dependents: &[Target],
) -> Result<(), kube::Error> {
    for dependent in dependents {
        let Some(live) = dependent.live(client).await? else { continue };
        let references = live.metadata.owner_references.unwrap_or_default();
        let kept: Vec<_> =
            references.iter().filter(|reference| reference.uid != *owner.place.uid).collect();
        if kept.len() == references.len() {
            continue;
        }
        let body = json!({"metadata": {
            "uid": dependent.place.uid,
            "resourceVersion": live.metadata.resource_version,
            "ownerReferences": kept,
        }});
        dependent.patch(client, &body).await?;
    }
    release(client, owner, ORPHAN).await
}

pub(crate) fn api(
    client: &Client,
    resource: &ApiResource,
    namespaced: bool,
    namespace: &str,
) -> Api<DynamicObject> {
    if namespaced {
        Api::namespaced_with(client.clone(), namespace, resource)
    } else {
        Api::all_with(client.clone(), resource)
    }
}

/// What is gone already needs nothing more.
pub(crate) fn ignore_gone(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}
