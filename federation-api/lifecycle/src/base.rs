//! What every hub has from its first start: the system namespaces, and the Service `default/kubernetes`.

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use crate::namespaces::{object, unless_there};

/// The namespaces that are always there.
pub const NAMESPACES: [&str; 5] =
    ["default", "kube-system", "kube-public", "kube-node-lease", "archipel-system"];

/// Makes what is missing.
pub(crate) async fn ensure(client: &Client) -> Result<(), kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in NAMESPACES {
        if namespaces.get_metadata_opt(name).await?.is_none() {
            let namespace: Namespace = object(json!({"metadata": {"name": name}}));
            let created = namespaces.create(&PostParams::default(), &namespace).await;
            unless_there(created.map(drop))?;
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
