//! The demo's policies and apps: applied as a user would, and waited for.

use std::collections::BTreeMap;

use federation_types::placement::{CopyState, Placement};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
    discovery::{Scope, pinned_kind},
};
use serde::Deserialize as _;
use tokio::time::{Duration, Instant};

use crate::output::{Failure, Table};

const FILES: [(&str, &str); 3] = [
    ("deploy/demo/prices.yaml", include_str!("../../deploy/demo/prices.yaml")),
    ("deploy/demo/policies.yaml", include_str!("../../deploy/demo/policies.yaml")),
    ("deploy/demo/apps.yaml", include_str!("../../deploy/demo/apps.yaml")),
];
/// Where the apps are.
pub(super) const NAMESPACE: &str = "shop";
/// Objects of `apps.yaml`: each becomes a Placement.
const APPS: usize = 6;
const LOOK_EACH: Duration = Duration::from_millis(100);

/// Applies every sample.
pub(super) async fn apply(client: &Client) -> Result<(), Failure> {
    let mut kinds: BTreeMap<(String, String), (ApiResource, Scope)> = BTreeMap::new();
    for (file, text) in FILES {
        for object in objects(text)? {
            let types =
                object.types.clone().ok_or_else(|| format!("{file}: an object without a kind"))?;
            let key = (types.api_version.clone(), types.kind.clone());
            if !kinds.contains_key(&key) {
                let gvk = GroupVersionKind::try_from(&types)?;
                let (resource, capabilities) = pinned_kind(client, &gvk).await?;
                kinds.insert(key.clone(), (resource, capabilities.scope));
            }
            let (resource, scope) = &kinds[&key];
            let api: Api<DynamicObject> = match scope {
                Scope::Cluster => Api::all_with(client.clone(), resource),
                Scope::Namespaced => {
                    let namespace = object.namespace().unwrap_or_else(|| NAMESPACE.to_owned());
                    Api::namespaced_with(client.clone(), &namespace, resource)
                }
            };
            let name = object.name_any();
            api.patch(&name, &PatchParams::apply("archipel-demo").force(), &Patch::Apply(&object))
                .await
                .map_err(|error| format!("{file}: {} {name}: {error}", types.kind))?;
        }
    }
    Ok(())
}

fn objects(text: &str) -> Result<Vec<DynamicObject>, Failure> {
    serde_norway::Deserializer::from_str(text)
        .map(|it| DynamicObject::deserialize(it).map_err(Into::into))
        .collect()
}

/// Waits until every app runs everywhere it was placed; says what does not where it takes too long.
pub(super) async fn wait(client: &Client, patience: Duration) -> Result<(), String> {
    let placements = Api::<Placement>::namespaced(client.clone(), NAMESPACE);
    let until = Instant::now() + patience;
    loop {
        let trouble = match placements.list(&ListParams::default()).await {
            Ok(list) => trouble(&list.items),
            Err(error) => Some(error.to_string()),
        };
        match trouble {
            None => return Ok(()),
            Some(trouble) if Instant::now() >= until => return Err(trouble),
            Some(_) => tokio::time::sleep(LOOK_EACH).await,
        }
    }
}

/// What is not running yet.
fn trouble(placements: &[Placement]) -> Option<String> {
    if placements.len() < APPS {
        return Some(format!("{} of {APPS} apps are placed", placements.len()));
    }
    let waiting: Vec<String> = placements
        .iter()
        .filter_map(|it| {
            let status = it.status.clone().unwrap_or_default();
            let wanted = it.spec.clusters.len();
            let ready = status
                .clusters
                .iter()
                .filter(|it| it.state == CopyState::Ready)
                .filter(|copy| it.spec.clusters.iter().any(|it| it.name == copy.name))
                .count();
            let outcome = &it.spec.outcome;
            let why = if wanted == 0 {
                format!(" ({}: {})", outcome.reason, outcome.message)
            } else {
                String::new()
            };
            (wanted == 0 || ready < wanted)
                .then(|| format!("{}: {ready} of {wanted}{why}", it.name_any()))
        })
        .collect();
    (!waiting.is_empty()).then(|| waiting.join(", "))
}

/// Where each app runs, and with how many replicas.
pub(super) async fn table(client: &Client) -> Result<Table, Failure> {
    let placements = Api::<Placement>::namespaced(client.clone(), NAMESPACE);
    let mut table = Table::new(&["TEMPLATE", "POLICY", "CLUSTERS", "READY", "WHERE"]);
    for placement in placements.list(&ListParams::default()).await? {
        let spec = &placement.spec;
        let places: Vec<String> = spec
            .clusters
            .iter()
            .map(|it| match it.replicas {
                Some(replicas) => format!("{}×{replicas}", it.name),
                None => it.name.clone(),
            })
            .collect();
        let shown = if places.len() <= 5 {
            places.join(" ")
        } else {
            format!("{} and {} more", places[..3].join(" "), places.len() - 3)
        };
        let summary = placement.status.clone().unwrap_or_default().summary;
        table.row(vec![
            format!("{}/{}", spec.template.kind, spec.template.name),
            spec.policy_ref.as_ref().map(|it| it.name.clone()).unwrap_or_default(),
            spec.clusters.len().to_string(),
            format!("{}/{}", summary.ready, summary.clusters),
            shown,
        ]);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use federation_types::{overrides::OverridePolicy, policy::PlacementPolicy, price::PriceBook};

    use super::*;

    #[test]
    fn the_samples_are_whole_and_of_their_kinds() {
        let mut apps = 0;
        for (file, text) in FILES {
            for object in objects(text).unwrap() {
                let kind = object.types.clone().unwrap().kind;
                let value = serde_json::to_value(&object).unwrap();
                match kind.as_str() {
                    "PlacementPolicy" => {
                        drop(serde_json::from_value::<PlacementPolicy>(value).unwrap());
                    }
                    "OverridePolicy" => {
                        drop(serde_json::from_value::<OverridePolicy>(value).unwrap());
                    }
                    "PriceBook" => drop(serde_json::from_value::<PriceBook>(value).unwrap()),
                    "Namespace" => (),
                    _ => apps += usize::from(file.ends_with("apps.yaml")),
                }
            }
        }
        assert_eq!(apps, APPS);
    }
}
