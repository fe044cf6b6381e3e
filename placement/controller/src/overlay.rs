//! Puts objects into an index as their watches would: what a plan supposes to be written.

use std::sync::Arc;

use federation_types::{
    names::{GROUP, Gvk},
    overrides::{ClusterOverridePolicy, OverridePolicy},
    policy::{ClusterPlacementPolicy, PlacementPolicy},
    review::plan::ObjectRef,
};
use kube::api::DynamicObject;
use serde::de::DeserializeOwned;

use crate::{
    feed::{self, Change},
    index::{Index, KindState, template_key},
};

/// Why an object cannot be supposed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OverlayError {
    #[error("{0}s are written by the hub only")]
    HubOnly(String),
    #[error("a {0} decides on no template: there is nothing to plan")]
    DecidesNothing(String),
    #[error("{kind} cannot be read: {source}")]
    Unreadable { kind: String, source: serde_json::Error },
}

/// The object as it would stand.
pub(crate) fn put(index: &mut Index, object: &DynamicObject) -> Result<(), OverlayError> {
    let Some(types) = &object.types else { return Ok(()) };
    let gvk = Gvk::new(&types.api_version, &types.kind);
    if gvk.group != GROUP {
        put_template(index, &gvk, object);
        return Ok(());
    }
    match types.kind.as_str() {
        "PlacementPolicy" => {
            feed::on_policy::<PlacementPolicy>(index, Change::Set(read(object)?));
        }
        "ClusterPlacementPolicy" => {
            feed::on_policy::<ClusterPlacementPolicy>(index, Change::Set(read(object)?));
        }
        "OverridePolicy" => {
            let change: Change<OverridePolicy> = Change::Set(read(object)?);
            feed::on_override(index, change, |it| it.spec.clone());
        }
        "ClusterOverridePolicy" => {
            let change: Change<ClusterOverridePolicy> = Change::Set(read(object)?);
            feed::on_override(index, change, |it| it.spec.overrides.clone());
        }
        "MemberCluster" => feed::on_cluster(index, Change::Set(read(object)?)),
        "ClusterSet" => feed::on_set(index, Change::Set(read(object)?)),
        "PriceBook" => feed::on_book(index, Change::Set(read(object)?)),
        "ChangeBudget" => feed::on_budget(index, Change::Set(read(object)?)),
        "CostBudget" => feed::on_cost_budget(index, Change::Set(read(object)?)),
        "ClusterScore" => feed::on_score(index, Change::Set(read(object)?)),
        "RolloutStrategy" => feed::on_strategy(index, Change::Set(read(object)?)),
        "StatusRule" => feed::on_status_rule(index, Change::Set(read(object)?)),
        _ => return Err(refusal(&types.kind)),
    }
    Ok(())
}

/// The object as if it were deleted.
pub(crate) fn take(index: &mut Index, object: &ObjectRef) -> Result<(), OverlayError> {
    let gvk = Gvk::new(&object.api_version, &object.kind);
    if gvk.group != GROUP {
        let key = template_key(&gvk, &object.namespace, &object.name);
        let deleting = index.templates.get(&key).map(|it| {
            let mut template = (**it).clone();
            template.deleting = true;
            Arc::new(template)
        });
        index.set_template(key, deleting.filter(|it| !it.finalizers.is_empty()));
        return Ok(());
    }
    let name = (object.namespace.clone(), object.name.clone());
    match object.kind.as_str() {
        "PlacementPolicy" | "ClusterPlacementPolicy" => index.set_policy(name, None),
        "OverridePolicy" | "ClusterOverridePolicy" => index.set_override(name, None),
        "MemberCluster" => feed::on_cluster(index, Change::Gone(name)),
        "ClusterSet" => feed::on_set(index, Change::Gone(name)),
        "PriceBook" => feed::on_book(index, Change::Gone(name)),
        "ChangeBudget" => feed::on_budget(index, Change::Gone(name)),
        "CostBudget" => feed::on_cost_budget(index, Change::Gone(name)),
        "ClusterScore" => feed::on_score(index, Change::Gone(name)),
        "RolloutStrategy" => feed::on_strategy(index, Change::Gone(name)),
        "StatusRule" => feed::on_status_rule(index, Change::Gone(name)),
        other => return Err(refusal(other)),
    }
    Ok(())
}

/// A template of a kind that need not be watched yet.
pub(crate) fn put_template(index: &mut Index, gvk: &Gvk, object: &DynamicObject) {
    let name = object.metadata.name.clone().unwrap_or_default();
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let rules = Arc::clone(&index.reading.rules);
    let template = feed::template(&gvk.api_version(), object, &rules);
    index.set_template(template_key(gvk, &namespace, &name), Some(Arc::new(template)));
    index
        .kinds
        .entry((gvk.group.clone(), gvk.kind.clone()))
        .or_insert_with(|| KindState { version: gvk.version.to_string(), ..KindState::default() });
}

fn refusal(kind: &str) -> OverlayError {
    let api_version = federation_types::names::API_VERSION;
    if Index::written_by_the_hub_only(api_version, kind) {
        OverlayError::HubOnly(kind.to_owned())
    } else {
        OverlayError::DecidesNothing(kind.to_owned())
    }
}

fn read<K: DeserializeOwned>(object: &DynamicObject) -> Result<K, OverlayError> {
    let kind = || object.types.as_ref().map_or_else(String::new, |it| it.kind.clone());
    serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .map_err(|source| OverlayError::Unreadable { kind: kind(), source })
}
