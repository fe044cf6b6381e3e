//! Every kind that is served: what garbage collection watches and namespace deletion empties.

use std::collections::BTreeMap;

use kube::{
    Client,
    core::{ApiResource, gvk::ParseGroupVersionError},
    discovery::{ApiCapabilities, Discovery, Scope, verbs},
};

use crate::graph::KindId;

/// A served kind.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub resource: ApiResource,
    pub namespaced: bool,
    pub deletes_collections: bool,
}

impl Kind {
    /// Whether this is the resource of this group and plural name.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.resource.group == group && self.resource.plural == plural
    }
}

/// The kinds that are watched, with ids that are never given twice.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    next: KindId,
    by_id: BTreeMap<KindId, Kind>,
}

/// What a look at discovery changed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub added: Vec<KindId>,
    pub removed: Vec<KindId>,
}

impl Kinds {
    /// Takes up what is served now.
    pub(crate) fn update(&mut self, served: &[Kind]) -> Changed {
        let removed: Vec<KindId> = self
            .by_id
            .iter()
            .filter(|(_, kind)| !served.iter().any(|other| other.resource == kind.resource))
            .map(|(&id, _)| id)
            .collect();
        for id in &removed {
            self.by_id.remove(id);
        }
        let mut added = Vec::new();
        for kind in served {
            if !self.by_id.values().any(|known| known.resource == kind.resource) {
                self.by_id.insert(self.next, kind.clone());
                added.push(self.next);
                self.next += 1;
            }
        }
        Changed { added, removed }
    }

    pub(crate) fn get(&self, id: KindId) -> Option<&Kind> {
        self.by_id.get(&id)
    }

    /// The kind that a reference names; another version of it will do.
    pub(crate) fn named(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<&Kind>, ParseGroupVersionError> {
        let group = api_version.parse::<kube::core::GroupVersion>()?.group;
        Ok(self
            .by_id
            .values()
            .find(|known| known.resource.group == group && known.resource.kind == kind))
    }
}

/// Asks what is served: each kind that can be listed, watched and deleted, once.
pub(crate) async fn served(client: &Client) -> Result<Vec<Kind>, kube::Error> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        Err(error) => {
            tracing::debug!(%error, "no aggregated discovery, asking group by group");
            Discovery::new(client.clone()).run().await?
        }
    };
    let mut kinds = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.resources_by_stability() {
            let kind = kind(resource, &capabilities);
            // `events.k8s.io` shows the events of the core group.
            let twice = kind.is("events.k8s.io", "events");
            let usable = [verbs::LIST, verbs::WATCH, verbs::DELETE]
                .into_iter()
                .all(|verb| capabilities.supports_operation(verb));
            if usable && !twice {
                kinds.push(kind);
            }
        }
    }
    Ok(kinds)
}

fn kind(resource: ApiResource, capabilities: &ApiCapabilities) -> Kind {
    Kind {
        resource,
        namespaced: capabilities.scope == Scope::Namespaced,
        deletes_collections: capabilities.supports_operation(verbs::DELETE_COLLECTION),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::GroupVersionKind;

    use super::*;

    fn widget(version: &str) -> Kind {
        Kind {
            resource: ApiResource::from_gvk(&GroupVersionKind::gvk("x.example", version, "Widget")),
            namespaced: true,
            deletes_collections: true,
        }
    }

    #[test]
    fn kinds_come_and_go_and_ids_do_not_come_again() {
        let mut kinds = Kinds::default();
        assert_eq!(kinds.update(&[widget("v1")]).added, [0]);
        assert!(kinds.update(&[widget("v1")]).added.is_empty());
        let changed = kinds.update(&[widget("v2")]);
        assert_eq!((changed.added, changed.removed), (vec![1], vec![0]));
        assert!(kinds.get(0).is_none());
        assert!(kinds.named("x.example/v1", "Widget").unwrap().is_some());
        assert!(kinds.named("y.example/v1", "Widget").unwrap().is_none());
    }
}
