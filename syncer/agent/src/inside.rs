//! What is in a namespace of a member: one with anything of anybody's in it is never deleted (RULES 4.4).

use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    discovery::{Discovery, Scope, verbs},
};

/// Why it is not known what is in a namespace.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    #[error("the kinds of the cluster are not known")]
    Kinds(#[source] kube::Error),
    #[error("{plural} of {namespace} cannot be listed")]
    List { plural: String, namespace: String, source: kube::Error },
}

/// What is in the namespace beside what every namespace is given, as `KIND NAME`: of the first kind that has anything there,
/// at most a hundred. A kind that cannot be looked at is an error: it may hide something.
pub async fn inside(client: &Client, namespace: &str) -> Result<Vec<String>, InsideError> {
    // Group by group: the aggregated answer leaves out what a server behind the member's does not answer for.
    let discovery = Discovery::new(client.clone()).run().await.map_err(InsideError::Kinds)?;
    for group in discovery.groups_alphabetical() {
        for (resource, capabilities) in group.resources_by_stability() {
            if capabilities.scope != Scope::Namespaced
                || !capabilities.supports_operation(verbs::LIST)
                // Both tell of what is there or was, and nobody keeps anything in them.
                || resource.kind == "Event"
                || resource.group == "metrics.k8s.io"
            {
                continue;
            }
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), namespace, &resource);
            let list = api.list_metadata(&ListParams::default().limit(100)).await;
            let list = list.map_err(|source| InsideError::List {
                plural: resource.plural.clone(),
                namespace: namespace.to_owned(),
                source,
            })?;
            let names = list.items.into_iter().filter_map(|it| it.metadata.name);
            let found: Vec<String> = names
                .filter(|name| !is_given(&resource.kind, name))
                .map(|name| format!("{} {name}", resource.kind))
                .collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    Ok(Vec::new())
}

/// What each namespace is given by the cluster itself.
fn is_given(kind: &str, name: &str) -> bool {
    matches!((kind, name), ("ServiceAccount", "default") | ("ConfigMap", "kube-root-ca.crt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_4_only_what_every_namespace_is_given_does_not_count() {
        assert!(is_given("ServiceAccount", "default") && is_given("ConfigMap", "kube-root-ca.crt"));
        assert!(!is_given("ServiceAccount", "web") && !is_given("Secret", "default"));
    }
}
