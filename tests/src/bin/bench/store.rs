//! A hub's store full of templates and Placements, written key by key in the form in which the server keeps them.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use federation_storage::{Encryption, RedbStore, Store, Write};
use federation_types::names::{Gvk, ObjectKey, placement_name, template_label};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::Failure;

const MADE: &str = "2026-11-01T08:00:00Z";
/// What the hub seals at rest.
const SEALED: [&str; 3] =
    ["/core/secrets/", "/archipel.dev/revisions/", "/archipel.dev/clusterrevisions/"];
const NAMESPACES: usize = 100;
const UNDER_WAY: usize = 512;

/// Fills the store in `dir`, which no hub has open, with a settled fleet: `templates` Deployments, each with a Revision
/// and a Placement on every one of `clusters` clusters, all Ready.
pub(crate) async fn fill(dir: &Path, templates: usize, clusters: usize) -> Result<(), Failure> {
    let encryption =
        Encryption::Prefixes { prefixes: SEALED.map(str::to_owned).into(), key_file: None };
    let dir = dir.to_owned();
    let store = tokio::task::spawn_blocking(move || RedbStore::open(dir, &encryption)).await??;
    let head =
        (0..clusters).map(member).chain((0..NAMESPACES).flat_map(|n| [namespace(n), policy(n)]));
    let body = (0..templates).flat_map(|n| {
        let names: Vec<String> = (0..clusters).map(cluster_name).collect();
        workload(n, &names)
    });
    stream::iter(head.chain(body))
        .map(|(key, value)| {
            store.commit(Write::Create { key: Arc::from(key), value: Bytes::from(value) })
        })
        .buffer_unordered(UNDER_WAY)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// As the server lays an object out: kind, apiVersion and metadata first.
fn encode(api_version: &str, kind: &str, metadata: &Value, rest: &[(&str, &Value)]) -> String {
    let mut text =
        format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata}"#);
    for (field, value) in rest {
        text.push_str(&format!(r#","{field}":{value}"#));
    }
    text.push('}');
    text
}

fn uid(kind: usize, n: usize) -> String {
    format!("{kind:08x}-0000-4000-8000-{n:012x}")
}

fn cluster_name(n: usize) -> String {
    format!("cluster-{n:04}")
}

fn member(n: usize) -> (String, String) {
    let name = cluster_name(n);
    let provider = ["eks", "gke", "onprem"][n % 3];
    let metadata = json!({
        "name": name, "uid": uid(1, n), "creationTimestamp": MADE, "generation": 1, "labels": {"tier": "prod"},
        "finalizers": ["archipel.dev/member"],
    });
    let spec = json!({
        "provider": provider, "region": "eu-west-1", "zones": ["eu-west-1a"], "accepted": true,
        "connection": {"kubeconfig": {"secretRef": {"namespace": "archipel-system", "name": format!("member-{name}")}}},
    });
    let status = json!({
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": MADE}],
        "uid": uid(2, n), "version": "v1.36.3", "nodes": 10, "copies": 100, "lastSeen": MADE,
        "apis": ["apps/v1/Deployment", "v1/ConfigMap", "v1/Namespace", "v1/Service"],
        "shapes": [{
            "type": "m6i.xlarge", "zone": "eu-west-1a", "count": 10,
            "allocatable": {"cpu": "4", "memory": "16Gi", "pods": "58"},
            "free": [{"nodes": 10, "cpu": "2", "memory": "8Gi", "pods": "40"}],
        }],
    });
    let text = encode(
        "archipel.dev/v1alpha1",
        "MemberCluster",
        &metadata,
        &[("spec", &spec), ("status", &status)],
    );
    (format!("/archipel.dev/memberclusters/{name}"), text)
}

fn namespace_name(n: usize) -> String {
    format!("team-{:03}", n % NAMESPACES)
}

fn namespace(n: usize) -> (String, String) {
    let name = namespace_name(n);
    let metadata = json!({"name": name, "uid": uid(3, n), "creationTimestamp": MADE, "labels": {"kubernetes.io/metadata.name": name}});
    let text = encode(
        "v1",
        "Namespace",
        &metadata,
        &[
            ("spec", &json!({"finalizers": ["kubernetes"]})),
            ("status", &json!({"phase": "Active"})),
        ],
    );
    (format!("/core/namespaces/{name}"), text)
}

fn policy(n: usize) -> (String, String) {
    let namespace = namespace_name(n);
    let metadata = json!({"name": "all", "namespace": namespace, "uid": uid(4, n), "creationTimestamp": MADE, "generation": 1});
    let spec = json!({
        "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}], "priority": 0, "replicas": {"mode": "Duplicated"},
    });
    let text = encode("archipel.dev/v1alpha1", "PlacementPolicy", &metadata, &[("spec", &spec)]);
    (format!("/archipel.dev/placementpolicies/{namespace}/all"), text)
}

fn workload(n: usize, clusters: &[String]) -> [(String, String); 3] {
    let (namespace, name) = (namespace_name(n), format!("web-{n}"));
    let gvk = Gvk::new("apps/v1", "Deployment");
    let key = ObjectKey {
        gvk: gvk.clone(),
        namespace: namespace.as_str().into(),
        name: name.as_str().into(),
    };
    let (placement, label) = (placement_name(&gvk, &name), template_label(&key));
    let labels = json!({"app": name, "tier": "web"});
    let spec = json!({
        "replicas": 2,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{
                "name": "web", "image": "registry.example/web:1.0",
                "ports": [{"containerPort": 8080}],
                "env": [{"name": "MODE", "value": "production"}, {"name": "NUMBER", "value": n.to_string()}],
                "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}},
            }]},
        },
    });
    let metadata = json!({
        "name": name, "namespace": namespace, "uid": uid(5, n), "creationTimestamp": MADE, "generation": 1,
        "labels": labels, "finalizers": ["archipel.dev/copies"],
    });
    let status = json!({"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
    let template =
        encode("apps/v1", "Deployment", &metadata, &[("spec", &spec), ("status", &status)]);

    let content = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec,
    });
    let hash = syncer_render::revision::content_hash(&content, &[], None);
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid(5, n), "generation": 1});
    let metadata = json!({
        "name": format!("{placement}-{hash}"), "namespace": namespace, "uid": uid(6, n), "creationTimestamp": MADE,
        "generation": 1, "labels": {"archipel.dev/template": label},
    });
    let revision_spec = json!({"template": reference, "hash": hash, "content": content});
    let revision =
        encode("archipel.dev/v1alpha1", "Revision", &metadata, &[("spec", &revision_spec)]);

    let metadata = json!({
        "name": placement, "namespace": namespace, "uid": uid(7, n), "creationTimestamp": MADE, "generation": 1,
        "labels": {"archipel.dev/template": label},
    });
    let placed: Vec<Value> =
        clusters.iter().map(|it| json!({"name": it, "replicas": 2, "revision": hash})).collect();
    let copies: Vec<Value> = clusters
        .iter()
        .map(|it| json!({"name": it, "state": "Ready", "replicas": 2, "readyReplicas": 2, "revision": hash, "since": MADE}))
        .collect();
    let decisions: Vec<Value> = clusters.iter().map(|it| json!({"clusterName": it})).collect();
    let count = clusters.len();
    let placement_spec = json!({
        "template": reference, "policyRef": {"kind": "PlacementPolicy", "name": "all"}, "divided": false,
        "clusters": placed, "outcome": {"status": "True", "reason": "Placed", "message": ""},
    });
    let status = json!({
        "observedGeneration": 1,
        "conditions": [{"type": "Placed", "status": "True", "reason": "Placed", "message": "", "lastTransitionTime": MADE}],
        "summary": {"clusters": count, "ready": count, "replicas": 2, "readyReplicas": 2},
        "clusters": copies, "decisions": decisions,
    });
    let text = encode(
        "archipel.dev/v1alpha1",
        "Placement",
        &metadata,
        &[("spec", &placement_spec), ("status", &status)],
    );
    [
        (format!("/apps/deployments/{namespace}/{name}"), template),
        (format!("/archipel.dev/revisions/{namespace}/{placement}-{hash}"), revision),
        (format!("/archipel.dev/placements/{namespace}/{placement}"), text),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_types_read() {
        let [_, (_, revision), (key, placement)] = workload(3, &[cluster_name(0), cluster_name(1)]);
        assert_eq!(key, "/archipel.dev/placements/team-003/deployment-web-3");
        let placement: federation_types::placement::Placement =
            serde_json::from_str(&placement).unwrap();
        assert_eq!(placement.spec.clusters.len(), 2);
        let revision: federation_types::revision::Revision =
            serde_json::from_str(&revision).unwrap();
        assert_eq!(revision.spec.hash, placement.spec.clusters[0].revision);
        let (_, text) = member(1);
        let member: federation_types::cluster::MemberCluster = serde_json::from_str(&text).unwrap();
        assert_eq!(member.spec.provider, "gke");
        let (_, text) = policy(0);
        let _: federation_types::policy::PlacementPolicy = serde_json::from_str(&text).unwrap();
    }
}
