//! Reading and writing the statuses of our policies and rules, whichever kind and scope: on change only.

use std::collections::BTreeMap;

use federation_types::{
    condition::{self, Condition},
    names::{API_VERSION, Gvk},
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{clock, context::Context};

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

    pub(crate) fn status_rule(_: &Id) -> Self {
        Self { kind: "StatusRule", plural: "statusrules" }
    }

    pub(crate) fn override_policy(id: &Id) -> Self {
        match id.0.is_empty() {
            true => Self { kind: "ClusterOverridePolicy", plural: "clusteroverridepolicies" },
            false => Self { kind: "OverridePolicy", plural: "overridepolicies" },
        }
    }
}

/// A status with conditions.
pub(crate) trait Status: Clone + PartialEq + Serialize + DeserializeOwned {
    fn conditions(&mut self) -> &mut Vec<Condition>;
    /// What a merge patch has to name so that it is taken away; fields that are left out stay.
    fn gone(&self) -> Option<&'static str> {
        None
    }
}

/// The statuses of one kind of object, as last stored.
#[derive(Debug)]
pub(crate) struct Statuses<S> {
    dirty: bool,
    written: BTreeMap<Id, S>,
}

impl<S> Default for Statuses<S> {
    fn default() -> Self {
        Self { dirty: false, written: BTreeMap::new() }
    }
}

impl<S: Status> Statuses<S> {
    /// Something was decided: the statuses may be others.
    pub(crate) fn mark(&mut self) {
        self.dirty = true;
    }

    /// Whether they are to be worked out anew; asked once.
    pub(crate) fn is_due(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Writes what has changed. Each status has one condition, without its time.
    pub(crate) async fn write(
        &mut self,
        context: &Context,
        names: impl Fn(&Id) -> Names,
        statuses: BTreeMap<Id, S>,
    ) {
        self.written.retain(|id, _| statuses.contains_key(id));
        for (id, mut status) in statuses {
            let names = names(&id);
            if !self.written.contains_key(&id) {
                // An earlier process wrote it: its times are kept, and an equal one is not written again.
                match read::<S>(context, &names, &id).await {
                    Ok(Some(before)) => drop(self.written.insert(id.clone(), before)),
                    Ok(None) => (),
                    Err(error) => {
                        tracing::debug!(%error, kind = names.kind, name = id.1, "status not read");
                        self.dirty = true;
                        continue;
                    }
                }
            }
            let mut conditions =
                self.written.get_mut(&id).map(|it| it.conditions().clone()).unwrap_or_default();
            for it in std::mem::take(status.conditions()) {
                condition::set(&mut conditions, it, &clock::now_text());
            }
            *status.conditions() = conditions;
            if self.written.get(&id) == Some(&status) {
                continue;
            }
            let mut value = json!(status);
            if let Some(field) = status.gone() {
                value[field] = Value::Null;
            }
            if patch(context, &names, &id, &value).await {
                self.written.insert(id, status);
            } else {
                self.dirty = true;
            }
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
async fn read<S: DeserializeOwned>(
    context: &Context,
    names: &Names,
    id: &Id,
) -> Result<Option<S>, kube::Error> {
    let object = api(context, names, id).get_opt(&id.1).await?;
    let status = object.and_then(|it| it.data.get("status").cloned());
    Ok(status.and_then(|it| serde_json::from_value(it).ok()))
}

/// Writes a status as a merge patch; says whether it is stored, or no longer needed.
async fn patch(context: &Context, names: &Names, id: &Id, status: &Value) -> bool {
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
