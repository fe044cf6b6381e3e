//! What the hub holds, as far as the user may read it, in the engine's terms: for commands that work something out
//! themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    cluster::{ClusterSet, MemberCluster},
    names::Gvk,
    placement::Placement,
    policy::{ClusterPlacementPolicy, PlacementPolicy},
    price::PriceBook,
    status_rule::StatusRule,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
};
use placement_engine::{
    ClusterInput, Fleet, PriceIndex, SetInput, Workload,
    claim::{Claim, Facts, Policy, claim},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use status_rules::Rules;

use crate::output::Failure;

/// Kind, namespace and name of a template.
pub(crate) type Key = (String, String, String);

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) members: Vec<MemberCluster>,
    pub(crate) sets: Vec<ClusterSet>,
    pub(crate) books: Vec<PriceBook>,
    pub(crate) policies: Vec<Arc<Policy>>,
    /// How custom kinds are read.
    pub(crate) rules: Rules,
    pub(crate) placements: Vec<Placement>,
    pub(crate) templates: BTreeMap<Key, Value>,
    /// Kinds that the user may not list.
    pub(crate) hidden: Vec<String>,
}

impl Seen {
    /// Everything, or what is placed from one namespace; the templates of those Placements that are wanted. `inventory`
    /// reads the clusters, their prices and the policies, `client` what is placed by them.
    pub(crate) async fn read(
        client: &Client,
        inventory: &Client,
        namespace: Option<&str>,
        wanted: impl Fn(&Placement) -> bool,
    ) -> Result<Self, Failure> {
        let members = all(Api::<MemberCluster>::all(inventory.clone())).await?;
        let sets = all(Api::<ClusterSet>::all(inventory.clone())).await?;
        let books = all(Api::<PriceBook>::all(inventory.clone())).await?;
        let rules = all(Api::<StatusRule>::all(inventory.clone())).await?;
        let mut specs: BTreeMap<String, _> = BTreeMap::new();
        specs.extend(rules.into_iter().map(|it| (it.name_any(), it.spec)));
        let (rules, _) = Rules::new(specs.iter().map(|(name, spec)| (name.as_str(), spec)));
        let own = all(within::<PlacementPolicy>(inventory, namespace)).await?;
        let wide = all(Api::<ClusterPlacementPolicy>::all(inventory.clone())).await?;
        let placements = all(within::<Placement>(client, namespace)).await?;
        let policies = own.iter().map(Policy::from).chain(wide.iter().map(Policy::from));
        let policies = policies.map(Arc::new).collect();
        let kinds: BTreeSet<(String, String)> = placements
            .iter()
            .filter(|it| wanted(it))
            .map(|it| (it.spec.template.api_version.clone(), it.spec.template.kind.clone()))
            .collect();
        let mut seen =
            Self { members, sets, books, policies, rules, placements, ..Self::default() };
        for (api_version, kind) in kinds {
            seen.read_kind(client, namespace, &api_version, &kind).await?;
        }
        Ok(seen)
    }

    async fn read_kind(
        &mut self,
        client: &Client,
        namespace: Option<&str>,
        api_version: &str,
        kind: &str,
    ) -> Result<(), Failure> {
        let gvk = Gvk::new(api_version, kind);
        let (resource, _) = kube::discovery::pinned_kind(client, &(&gvk).into()).await?;
        let api = match namespace {
            Some(it) => Api::<DynamicObject>::namespaced_with(client.clone(), it, &resource),
            None => Api::<DynamicObject>::all_with(client.clone(), &resource),
        };
        let list = match api.list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 403 => {
                self.hidden.push(kind.to_owned());
                return Ok(());
            }
            list => list?,
        };
        for mut it in list {
            it.types = Some(kube::core::TypeMeta {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
            });
            let key = (kind.to_owned(), it.namespace().unwrap_or_default(), it.name_any());
            self.templates.insert(key, serde_json::to_value(it)?);
        }
        Ok(())
    }

    pub(crate) fn fleet(&self, as_of: &str) -> Fleet {
        let clusters = self.members.iter().map(ClusterInput::from_member).collect();
        let sets: Vec<SetInput> = self
            .sets
            .iter()
            .map(|it| SetInput { name: it.name_any(), spec: it.spec.clone() })
            .collect();
        let names: Vec<String> = self.books.iter().map(ResourceExt::name_any).collect();
        let books = names.iter().zip(&self.books).map(|(name, it)| (name.as_str(), &it.spec));
        Fleet::build(clusters, &sets, &PriceIndex::build(books, as_of), as_of)
    }

    /// The template of a Placement; none if it is gone or was not read.
    pub(crate) fn workload(&self, placement: &Placement) -> Option<Workload> {
        let reference = &placement.spec.template;
        let namespace = placement.namespace().unwrap_or_default();
        let key = (reference.kind.clone(), namespace, reference.name.clone());
        let mut workload = Workload::read(self.templates.get(&key)?, &self.rules);
        // The hub serves a kind in one version; clusters list it in that of the template.
        workload.key.gvk = Gvk::new(&reference.api_version, &reference.kind);
        Some(workload)
    }

    pub(crate) fn claim(&self, workload: &Workload) -> Claim {
        let facts = Facts { key: &workload.key, labels: &workload.labels, secret_type: "" };
        claim(&facts, &self.policies)
    }
}

fn within<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(it) => Api::namespaced(client.clone(), it),
        None => Api::all(client.clone()),
    }
}

async fn all<K>(api: Api<K>) -> Result<Vec<K>, Failure>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    Ok(api.list(&ListParams::default()).await?.items)
}
