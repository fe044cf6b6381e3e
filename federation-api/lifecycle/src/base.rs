//! What every hub has from its first start: the system namespaces, and the Service `default/kubernetes`.

use federation_types::names::{HUB_UID_ANNOTATION, SYSTEM_NAMESPACE};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::namespaces::{object, unless_there};

/// The namespaces that are always there.
pub const NAMESPACES: [&str; 5] =
    ["default", "kube-system", "kube-public", "kube-node-lease", "archipel-system"];

/// Makes what is missing, and puts right who the hub says it is.
pub(crate) async fn ensure(client: &Client, hub_uid: Option<&str>) -> Result<(), kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in NAMESPACES {
        if namespaces.get_metadata_opt(name).await?.is_none() {
            let mut namespace = json!({"metadata": {"name": name}});
            if name == SYSTEM_NAMESPACE
                && let Some(uid) = hub_uid
            {
                namespace["metadata"]["annotations"] = json!({HUB_UID_ANNOTATION: uid});
            }
            let namespace: Namespace = object(namespace);
            let created = namespaces.create(&PostParams::default(), &namespace).await;
            unless_there(created.map(drop))?;
        }
    }
    if let Some(uid) = hub_uid {
        let there = namespaces.get_metadata(SYSTEM_NAMESPACE).await?.metadata.annotations;
        if there.is_none_or(|it| it.get(HUB_UID_ANNOTATION).is_none_or(|it| it != uid)) {
            let says = json!({"metadata": {"annotations": {HUB_UID_ANNOTATION: uid}}});
            let params = PatchParams::default();
            namespaces.patch_metadata(SYSTEM_NAMESPACE, &params, &Patch::Merge(says)).await?;
        }
    }
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    if services.get_metadata_opt("kubernetes").await?.is_none() {
        let service: Service = object(json!({
            "metadata": {
                "name": "kubernetes",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "type": "ClusterIP",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            },
        }));
        unless_there(services.create(&PostParams::default(), &service).await.map(drop))?;
    }
    Ok(())
}
