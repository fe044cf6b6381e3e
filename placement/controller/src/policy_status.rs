//! Keeps the status of policies true (RULES 2.6): matched, placed, pending, failing, and by whom they are shadowed.
//! Worked out at most once a tick and written on change only.

use std::collections::BTreeMap;

use federation_types::{
    condition::{self, Condition},
    policy::PolicyStatus,
    reason::condition::READY,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::json;

use crate::{clock, context::Context, index::Index};

/// A policy by namespace (empty for cluster policies) and name.
type Id = (String, String);

#[derive(Debug, Default)]
pub(crate) struct PolicyStatuses {
    dirty: bool,
    /// As last stored.
    written: BTreeMap<Id, PolicyStatus>,
}

impl PolicyStatuses {
    /// Something was decided: the counts may have moved.
    pub(crate) fn mark(&mut self) {
        self.dirty = true;
    }

    /// Writes what has changed.
    pub(crate) async fn write(&mut self, context: &Context) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let statuses = count(&context.index.lock());
        self.written.retain(|id, _| statuses.contains_key(id));
        for (id, mut status) in statuses {
            let before = self.written.get(&id);
            if let Some(before) = before {
                let ready = status.conditions.remove(0);
                status.conditions.clone_from(&before.conditions);
                condition::set(&mut status.conditions, ready, &clock::now_text());
                if *before == status {
                    continue;
                }
            }
            if patch(context, &id, &status).await {
                self.written.insert(id, status);
            } else {
                self.dirty = true;
            }
        }
    }
}

async fn patch(context: &Context, id: &Id, status: &PolicyStatus) -> bool {
    let (kind, plural) = if id.0.is_empty() {
        ("ClusterPlacementPolicy", "clusterplacementpolicies")
    } else {
        ("PlacementPolicy", "placementpolicies")
    };
    let resource = ApiResource {
        group: federation_types::names::GROUP.to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: federation_types::names::API_VERSION.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    let client = context.client.clone();
    let api: Api<DynamicObject> = if id.0.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &id.0, &resource)
    };
    let mut value = json!(status);
    if status.shadowed.is_empty() {
        // A merge patch takes away only what it names.
        value["shadowed"] = serde_json::Value::Null;
    }
    let patch = Patch::Merge(json!({ "status": value }));
    match api.patch_status(&id.1, &PatchParams::default(), &patch).await {
        Ok(_) => true,
        Err(kube::Error::Api(error)) if error.is_not_found() => true,
        Err(error) => {
            tracing::warn!(%error, policy = id.1, "status not written");
            false
        }
    }
}

/// The status of every policy, the `Ready` condition first and without its time.
fn count(index: &Index) -> BTreeMap<Id, PolicyStatus> {
    let mut statuses: BTreeMap<Id, PolicyStatus> = index
        .policies
        .iter()
        .map(|(id, policy)| {
            let status =
                PolicyStatus { observed_generation: Some(policy.generation), ..Default::default() };
            (id.clone(), status)
        })
        .collect();
    for (key, template) in &index.templates {
        let claim = index.claim(key, template);
        let Some(winner) = &claim.winner else { continue };
        for (policy, _) in &claim.shadowed {
            let id = (policy.namespace.clone(), policy.name.clone());
            if let Some(status) = statuses.get_mut(&id) {
                status.matched += 1;
                *status.shadowed.entry(winner.title()).or_default() += 1;
            }
        }
        let id = (winner.namespace.clone(), winner.name.clone());
        let Some(status) = statuses.get_mut(&id) else { continue };
        status.matched += 1;
        match index.placements.get(key).map(|it| it.spec.outcome.status.as_str()) {
            Some("True") => status.placed += 1,
            Some("False") => status.failing += 1,
            Some(_) | None => status.pending += 1,
        }
    }
    for (id, status) in &mut statuses {
        let policy = &index.policies[id];
        let missing: Vec<&str> = policy
            .spec
            .selectors
            .iter()
            .filter(|selector| {
                let group = selector.api_version.split_once('/').map_or("", |(group, _)| group);
                let kind = (group.to_owned(), selector.kind.clone());
                index.kinds.get(&kind).is_some_and(|it| it.missing)
            })
            .map(|it| it.kind.as_str())
            .collect();
        let (ready, reason, message) = if !missing.is_empty() {
            ("False", "KindNotServed", format!("the hub serves no {}", missing.join(", ")))
        } else if status.failing > 0 {
            (
                "False",
                "NotPlaced",
                format!("{} of {} templates are not placed", status.failing, status.matched),
            )
        } else {
            ("True", "Ready", format!("{} of {} templates placed", status.placed, status.matched))
        };
        status.conditions = vec![Condition {
            kind: READY.to_owned(),
            status: ready.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(policy.generation),
            last_transition_time: clock::now_text(),
        }];
    }
    statuses
}
