//! Lets go of MemberClusters that are being deleted, once no Placement names them (RULES 4.8).

use federation_types::{cluster::MemberCluster, names::MEMBER_FINALIZER};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::context::Context;

/// Takes our finalizer off every cluster that may go.
pub(crate) async fn release(context: &Context) {
    let leaving: Vec<(String, Vec<String>, Option<String>)> = {
        let index = context.index.lock();
        let named = |name: &str| {
            index.placements.values().any(|it| {
                it.spec.clusters.iter().any(|it| it.name == name)
                    || it.spec.removing.iter().any(|it| it.name == name)
            })
        };
        index
            .clusters
            .iter()
            .filter(|(_, it)| it.metadata.deletion_timestamp.is_some())
            .filter(|(_, it)| it.finalizers().iter().any(|it| it == MEMBER_FINALIZER))
            .filter(|(name, _)| !named(name))
            .map(|(name, it)| {
                let rest = it.finalizers().iter().filter(|it| *it != MEMBER_FINALIZER).cloned();
                (name.clone(), rest.collect(), it.resource_version())
            })
            .collect()
    };
    let api = Api::<MemberCluster>::all(context.client.clone());
    for (name, finalizers, version) in leaving {
        let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => tracing::info!(cluster = name, "cluster has left"),
            Err(error) => tracing::debug!(%error, cluster = name, "cluster not released yet"),
        }
    }
}
