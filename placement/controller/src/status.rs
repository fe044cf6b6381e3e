//! Reading and writing the status of our policies, whichever kind and scope.

use federation_types::names::{API_VERSION, Gvk};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::context::Context;

/// A policy by namespace (empty for cluster policies) and name.
pub(crate) type Id = (String, String);

/// What a kind is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    kind: &'static str,
    plural: &'static str,
}

impl Names {
    pub(crate) fn policy(id: &Id) -> Self {
        match id.0.is_empty() {
            true => Self { kind: "ClusterPlacementPolicy", plural: "clusterplacementpolicies" },
            false => Self { kind: "PlacementPolicy", plural: "placementpolicies" },
        }
    }

    pub(crate) fn status_rule() -> Self {
        Self { kind: "StatusRule", plural: "statusrules" }
    }

    pub(crate) fn override_policy(id: &Id) -> Self {
        match id.0.is_empty() {
            true => Self { kind: "ClusterOverridePolicy", plural: "clusteroverridepolicies" },
            false => Self { kind: "OverridePolicy", plural: "overridepolicies" },
        }
    }
}

fn api(context: &Context, names: &Names, id: &Id) -> Api<DynamicObject> {
    let gvk = Gvk::new(API_VERSION, names.kind);
    let resource = ApiResource::from_gvk_with_plural(&(&gvk).into(), names.plural);
    let client = context.client.clone();
    if id.0.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &id.0, &resource)
    }
}

/// What stands; none if nothing was written yet or the policy is gone.
pub(crate) async fn read<S: DeserializeOwned>(
    context: &Context,
    names: &Names,
    id: &Id,
) -> Result<Option<S>, kube::Error> {
    let object = api(context, names, id).get_opt(&id.1).await?;
    let status = object.and_then(|it| it.data.get("status").cloned());
    Ok(status.and_then(|it| serde_json::from_value(it).ok()))
}

/// Writes a status as a merge patch; says whether it is stored, or no longer needed.
pub(crate) async fn patch(context: &Context, names: &Names, id: &Id, status: &Value) -> bool {
    let patch = Patch::Merge(json!({ "status": status }));
    match api(context, names, id).patch_status(&id.1, &PatchParams::default(), &patch).await {
        Ok(_) => true,
        Err(kube::Error::Api(error)) if error.is_not_found() => true,
        Err(error) => {
            tracing::warn!(%error, kind = names.kind, policy = id.1, "status not written");
            false
        }
    }
}
