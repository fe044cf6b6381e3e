//! The controller beside a server in process, as it runs in the hub.

use std::{sync::Arc, time::Duration};

use federation_server::{
    app::{Server, ServerOptions},
    authz::{Rbac, bootstrap},
    identity::Identity,
    pki,
};
use federation_storage::{MemoryStore, Store};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Secret, Service, ServiceAccount};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::*;

struct Hub {
    store: Arc<dyn Store>,
    /// As the admin.
    client: Client,
    task: tokio::task::JoinHandle<Result<(), LifecycleError>>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A hub with RBAC whose lifecycle controller has its own role and nothing more.
async fn hub() -> Hub {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    bootstrap::ensure(&*store).await.unwrap();
    let mut options = ServerOptions::new(Arc::clone(&store));
    options.authorizer = Rbac::follow(Arc::clone(&store)).await.unwrap();
    let server = Server::new(options).await.unwrap();
    let admin = Identity {
        user: pki::ADMIN_USER.to_owned(),
        groups: vec![pki::ADMIN_GROUP.to_owned(), "system:authenticated".to_owned()],
        ..Identity::default()
    };
    let client = Client::new(server.local(admin), "default");
    let own = Client::new(server.local(Identity::component("lifecycle")), "default");
    let mut options = Options::new("CA");
    options.removed_by_others = vec!["leases.coordination.k8s.io".to_owned()];
    options.hub_uid = Some("hub".to_owned());
    let task = tokio::spawn(run(own, options));
    let hub = Hub { store, client, task };
    hub.furnished("default").await;
    hub
}

/// Waits until a condition holds.
async fn within(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let patience = Duration::from_secs(30);
    let waited = tokio::time::timeout(patience, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {patience:?}: {what}");
}

impl Hub {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn furnished(&self, namespace: &str) {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        within("the namespace has what every namespace has", async || {
            accounts.get_opt("default").await.unwrap().is_some()
                && maps.get_opt("kube-root-ca.crt").await.unwrap().is_some()
        })
        .await;
    }

    /// Makes an object owned by others.
    async fn make<K>(&self, name: &str, owners: &[Value], finalizers: &[&str]) -> Value
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
        K::DynamicType: Default,
    {
        let object: K = serde_json::from_value(json!({"metadata": {
            "name": name, "ownerReferences": owners, "finalizers": finalizers,
        }}))
        .unwrap();
        let made = self.api::<K>().create(&PostParams::default(), &object).await.unwrap();
        reference::<K>(made.meta())
    }

    async fn exists<K>(&self, name: &str) -> bool
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
        K::DynamicType: Default,
    {
        self.api::<K>().get_metadata_opt(name).await.unwrap().is_some()
    }
}

fn reference<K: Resource>(meta: &kube::core::ObjectMeta) -> Value
where
    K::DynamicType: Default,
{
    json!({
        "apiVersion": K::api_version(&K::DynamicType::default()),
        "kind": K::kind(&K::DynamicType::default()),
        "name": meta.name,
        "uid": meta.uid,
        "blockOwnerDeletion": true,
    })
}

#[tokio::test]
async fn a_first_start_makes_the_system_namespaces_and_then_writes_nothing() {
    let hub = hub().await;
    for namespace in NAMESPACES {
        hub.furnished(namespace).await;
    }
    assert!(hub.exists::<Service>("kubernetes").await);
    let map = hub.api::<ConfigMap>().get("kube-root-ca.crt").await.unwrap();
    assert_eq!(map.data.unwrap()["ca.crt"], "CA");
    // Work that is seen to end shows that the queue moves; every write of anybody counts.
    let before = hub.store.revision().0;
    let owner = hub.make::<ConfigMap>("owner", &[], &[]).await;
    hub.make::<ConfigMap>("child", &[owner], &[]).await;
    hub.api::<ConfigMap>().delete("owner", &DeleteParams::default()).await.unwrap();
    within("the child is gone", async || !hub.exists::<ConfigMap>("child").await).await;
    assert_eq!(hub.store.revision().0, before + 4);
}

#[tokio::test]
async fn rule_4_8_the_hub_says_who_it_is_and_puts_it_right() {
    let hub = hub().await;
    let namespaces = Api::<Namespace>::all(hub.client.clone());
    let said = async || {
        let system = namespaces.get_metadata("archipel-system").await.unwrap();
        let annotations = system.metadata.annotations.unwrap_or_default();
        (annotations.get("archipel.dev/hub-uid").cloned(), system.metadata.resource_version)
    };
    let (uid, version) = said().await;
    assert_eq!(uid.as_deref(), Some("hub"));
    base::ensure(&hub.client, Some("hub")).await.unwrap();
    assert_eq!(said().await.1, version, "what is right is not written again");
    base::ensure(&hub.client, Some("restored")).await.unwrap();
    assert_eq!(said().await.0.as_deref(), Some("restored"));
}

#[tokio::test]
async fn what_every_namespace_has_comes_back_and_is_put_right() {
    let hub = hub().await;
    let accounts = hub.api::<ServiceAccount>();
    let before = accounts.get("default").await.unwrap().metadata.uid;
    accounts.delete("default", &DeleteParams::default()).await.unwrap();
    within("the account is made again", async || {
        let account = accounts.get_opt("default").await.unwrap();
        account.is_some_and(|account| account.metadata.uid != before)
    })
    .await;
    let maps = hub.api::<ConfigMap>();
    let patch = Patch::Merge(json!({"data": {"ca.crt": "forged", "more": "x"}}));
    maps.patch("kube-root-ca.crt", &PatchParams::default(), &patch).await.unwrap();
    within("the certificate is put right", async || {
        let map = maps.get("kube-root-ca.crt").await.unwrap();
        json!(map.data) == json!({"ca.crt": "CA"})
    })
    .await;
}

#[tokio::test]
async fn dependents_go_with_their_last_owner() {
    let hub = hub().await;
    let a = hub.make::<ConfigMap>("a", &[], &[]).await;
    let b = hub.make::<Secret>("b", &[], &[]).await;
    let child = hub.make::<ConfigMap>("of-a", std::slice::from_ref(&a), &[]).await;
    hub.make::<Secret>("of-of-a", &[child], &[]).await;
    hub.make::<ConfigMap>("of-both", &[a, b], &[]).await;
    hub.api::<ConfigMap>().delete("a", &DeleteParams::default()).await.unwrap();
    within("what a owned alone is gone", async || {
        !hub.exists::<ConfigMap>("of-a").await && !hub.exists::<Secret>("of-of-a").await
    })
    .await;
    within("a is named no more", async || {
        let both = hub.api::<ConfigMap>().get("of-both").await.unwrap();
        both.metadata.owner_references.unwrap_or_default().len() == 1
    })
    .await;
    hub.api::<Secret>().delete("b", &DeleteParams::default()).await.unwrap();
    within("both owners are gone", async || !hub.exists::<ConfigMap>("of-both").await).await;
}

#[tokio::test]
async fn an_owner_that_never_was_takes_its_dependent_along_and_an_unknown_kind_does_not() {
    let hub = hub().await;
    let a = hub.make::<ConfigMap>("a", &[], &[]).await;
    let mut dead = a.clone();
    dead["uid"] = "00000000-0000-4000-8000-000000000000".into();
    let mut unknown = dead.clone();
    unknown["apiVersion"] = "nowhere.example/v1".into();
    hub.make::<ConfigMap>("of-unknown", &[unknown], &[]).await;
    hub.make::<ConfigMap>("of-dead", &[dead], &[]).await;
    within("the owner's uid was another's", async || !hub.exists::<ConfigMap>("of-dead").await)
        .await;
    assert!(hub.exists::<ConfigMap>("of-unknown").await);
    assert!(hub.exists::<ConfigMap>("a").await);
}

#[tokio::test]
async fn in_the_foreground_the_owner_goes_last() {
    let hub = hub().await;
    let owner = hub.make::<ConfigMap>("owner", &[], &[]).await;
    hub.make::<Secret>("held", std::slice::from_ref(&owner), &["example.com/hold"]).await;
    hub.make::<Secret>("free", &[owner], &[]).await;
    let maps = hub.api::<ConfigMap>();
    maps.delete("owner", &DeleteParams::foreground()).await.unwrap();
    within("the dependents are being deleted", async || {
        let held = hub.api::<Secret>().get("held").await.unwrap();
        held.metadata.deletion_timestamp.is_some() && !hub.exists::<Secret>("free").await
    })
    .await;
    assert!(hub.exists::<ConfigMap>("owner").await);
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    hub.api::<Secret>().patch("held", &PatchParams::default(), &release).await.unwrap();
    within("the owner is gone", async || !hub.exists::<ConfigMap>("owner").await).await;
}

#[tokio::test]
async fn orphans_live_on_without_their_owner() {
    let hub = hub().await;
    let owner = hub.make::<ConfigMap>("owner", &[], &[]).await;
    hub.make::<Secret>("child", &[owner], &[]).await;
    let orphan = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    hub.api::<ConfigMap>().delete("owner", &orphan).await.unwrap();
    within("the owner is gone", async || !hub.exists::<ConfigMap>("owner").await).await;
    let child = hub.api::<Secret>().get("child").await.unwrap();
    assert!(child.metadata.owner_references.unwrap_or_default().is_empty());
    assert!(child.metadata.deletion_timestamp.is_none());
}

#[tokio::test]
async fn a_namespace_is_emptied_before_it_goes() {
    let hub = hub().await;
    let namespaces: Api<Namespace> = Api::all(hub.client.clone());
    let shop: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &shop).await.unwrap();
    hub.furnished("shop").await;
    let maps: Api<ConfigMap> = Api::namespaced(hub.client.clone(), "shop");
    for (name, finalizers) in [("a", json!([])), ("b", json!(["example.com/hold"]))] {
        let metadata = json!({"metadata": {"name": name, "finalizers": finalizers}});
        let map: ConfigMap = serde_json::from_value(metadata).unwrap();
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    within("its status says what is left", async || {
        let shop = namespaces.get("shop").await.unwrap();
        let conditions = shop.status.and_then(|status| status.conditions).unwrap_or_default();
        conditions.iter().any(|condition| {
            condition.message.as_deref().is_some_and(|text| text.contains("configmaps has 1 left"))
        })
    })
    .await;
    assert!(maps.get_opt("a").await.unwrap().is_none());
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("b", &PatchParams::default(), &release).await.unwrap();
    within("the namespace is gone", async || namespaces.get_opt("shop").await.unwrap().is_none())
        .await;
}

#[tokio::test]
async fn what_others_remove_is_waited_for() {
    let hub = hub().await;
    let namespaces: Api<Namespace> = Api::all(hub.client.clone());
    let shop: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &shop).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(hub.client.clone(), "shop");
    let lease: Lease = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    leases.create(&PostParams::default(), &lease).await.unwrap();
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    within("its status says what is left", async || {
        let shop = namespaces.get("shop").await.unwrap();
        let conditions = shop.status.and_then(|status| status.conditions).unwrap_or_default();
        conditions.iter().any(|condition| {
            let text = condition.message.as_deref().unwrap_or_default();
            text.ends_with("remaining: leases.coordination.k8s.io has 1 left (a)")
        })
    })
    .await;
    assert!(leases.get("a").await.unwrap().metadata.deletion_timestamp.is_none());
    leases.delete("a", &DeleteParams::default()).await.unwrap();
    within("the namespace is gone", async || namespaces.get_opt("shop").await.unwrap().is_none())
        .await;
}

#[tokio::test]
async fn kinds_of_new_definitions_are_collected_too() {
    let hub = hub().await;
    let definitions: Api<kube::api::DynamicObject> = Api::all_with(
        hub.client.clone(),
        &kube::core::ApiResource::from_gvk_with_plural(
            &kube::core::GroupVersionKind::gvk(
                "apiextensions.k8s.io",
                "v1",
                "CustomResourceDefinition",
            ),
            "customresourcedefinitions",
        ),
    );
    let definition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.x.example"},
        "spec": {
            "group": "x.example",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema":
                {"openAPIV3Schema": {"type": "object"}}}],
        },
    }))
    .unwrap();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let widget = kube::core::ApiResource::from_gvk_with_plural(
        &kube::core::GroupVersionKind::gvk("x.example", "v1", "Widget"),
        "widgets",
    );
    let widgets: Api<kube::api::DynamicObject> =
        Api::namespaced_with(hub.client.clone(), "default", &widget);
    let object: kube::api::DynamicObject = serde_json::from_value(json!({
        "apiVersion": "x.example/v1", "kind": "Widget", "metadata": {"name": "w"},
    }))
    .unwrap();
    within("the kind is served", async || {
        widgets.create(&PostParams::default(), &object).await.is_ok()
    })
    .await;
    let uid = widgets.get("w").await.unwrap().metadata.uid;
    let owner = json!({"apiVersion": "x.example/v1", "kind": "Widget", "name": "w", "uid": uid});
    hub.make::<ConfigMap>("of-w", &[owner], &[]).await;
    widgets.delete("w", &DeleteParams::default()).await.unwrap();
    within("its dependent is gone", async || !hub.exists::<ConfigMap>("of-w").await).await;
}

#[tokio::test]
async fn old_events_are_deleted_and_young_ones_are_not() {
    let hub = hub().await;
    let events = hub.api::<Event>();
    let event: Event = serde_json::from_value(json!({
        "metadata": {"name": "young", "namespace": "default"},
        "involvedObject": {"kind": "ConfigMap", "namespace": "default", "name": "a"},
    }))
    .unwrap();
    events.create(&PostParams::default(), &event).await.unwrap();
    // An event of two hours ago, as an earlier run of the hub left it behind.
    hub.task.abort();
    let uid = "11111111-1111-4111-8111-111111111111";
    let old = format!(
        r#"{{"kind":"Event","apiVersion":"v1","metadata":{{"name":"old","namespace":"default","uid":"{uid}","creationTimestamp":"2020-01-01T00:00:00Z"}},"involvedObject":{{}}}}"#
    );
    let key = federation_server::registry::key("", "events", Some("default"), "old");
    hub.store
        .commit(federation_storage::Write::Create { key: key.into(), value: old.into() })
        .await
        .unwrap();
    let task = tokio::spawn(run(hub.client.clone(), Options::new("CA")));
    within("the old event is gone", async || events.get_opt("old").await.unwrap().is_none()).await;
    assert!(events.get_opt("young").await.unwrap().is_some());
    task.abort();
}
