//! Namespaces: what each is given when it comes, and how it is emptied when it goes.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
};
use serde_json::json;

use crate::{
    garbage::{api, ignore_gone},
    kinds,
};

/// The ConfigMap that holds the certificate of the API server.
pub(crate) const ROOT_CA: &str = "kube-root-ca.crt";
/// The ServiceAccount that every namespace has.
pub(crate) const DEFAULT_ACCOUNT: &str = "default";
/// The finalizer in a namespace's spec that is ours to remove.
const FINALIZER: &str = "kubernetes";

/// Makes what every namespace has; writes nothing where it is there.
pub(crate) async fn furnish(
    client: &Client,
    namespace: &str,
    ca_certificate: &str,
) -> Result<(), kube::Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    if accounts.get_metadata_opt(DEFAULT_ACCOUNT).await?.is_none() {
        let account: ServiceAccount = object(json!({"metadata": {"name": DEFAULT_ACCOUNT}}));
        unless_there(accounts.create(&PostParams::default(), &account).await.map(drop))?;
    }
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let data = json!({"ca.crt": ca_certificate});
    match maps.get_opt(ROOT_CA).await? {
        None => {
            let map: ConfigMap = object(json!({"metadata": {"name": ROOT_CA}, "data": data}));
            unless_there(maps.create(&PostParams::default(), &map).await.map(drop))
        }
        Some(map) if map.data.as_ref().is_some_and(|have| json!(have) == data) => Ok(()),
        Some(map) => {
            // Whoever adds keys to it does not own it.
            let mut wanted = json!({});
            for key in map.data.iter().flatten().map(|(key, _)| key) {
                wanted[key] = serde_json::Value::Null;
            }
            wanted["ca.crt"] = ca_certificate.into();
            let patch = Patch::Merge(json!({"data": wanted}));
            let patched = maps.patch(ROOT_CA, &PatchParams::default(), &patch).await;
            ignore_gone(patched.map(drop))
        }
    }
}

/// Whether a pass over a namespace finished it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emptied {
    /// It is gone, or not to be emptied at all.
    Done,
    /// Objects are left, with finalizers of others.
    NotYet,
}

/// Deletes everything in a namespace that is being deleted and, once nothing is left, lets it go.
///
/// Kinds that are `removed_by_others` are waited for.
pub(crate) async fn empty(
    client: &Client,
    name: &str,
    removed_by_others: &[String],
) -> Result<Emptied, kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let Some(namespace) = namespaces.get_opt(name).await? else { return Ok(Emptied::Done) };
    if namespace.metadata.deletion_timestamp.is_none() {
        return Ok(Emptied::Done);
    }
    // Asked anew each time: a kind that is missed here would leave its objects behind for ever.
    let mut left = Vec::new();
    for kind in kinds::served(client).await?.into_iter().filter(|kind| kind.namespaced) {
        let objects = api(client, &kind.resource, true, name);
        if objects.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty() {
            continue;
        }
        let delete = DeleteParams::background();
        let awaited = removed_by_others.contains(&plural(&kind.resource));
        if awaited {
            // Counted and named below.
        } else if kind.deletes_collections {
            let deleted = objects.delete_collection(&delete, &ListParams::default()).await;
            ignore_gone(deleted.map(drop))?;
        } else {
            for object in objects.list_metadata(&ListParams::default()).await? {
                let name = object.metadata.name.unwrap_or_default();
                ignore_gone(objects.delete(&name, &delete).await.map(drop))?;
            }
        }
        let items = objects.list_metadata(&ListParams::default()).await?.items;
        if !items.is_empty() {
            let names = if awaited { named(&items) } else { String::new() };
            left.push(format!("{} has {} left{names}", plural(&kind.resource), items.len()));
        }
    }
    if left.is_empty() {
        finalize(client, name, &namespace).await?;
        return Ok(Emptied::Done);
    }
    report(&namespaces, &namespace, &left.join(", ")).await?;
    Ok(Emptied::NotYet)
}

/// So many of the objects that others remove are named: who waits for them looks there for the reason.
const NAMED: usize = 3;

/// ` (deployment-web, deployment-api, …)`
fn named(items: &[PartialObjectMeta<DynamicObject>]) -> String {
    let mut names: Vec<&str> =
        items.iter().take(NAMED).filter_map(|it| it.metadata.name.as_deref()).collect();
    if items.len() > NAMED {
        names.push("…");
    }
    format!(" ({})", names.join(", "))
}

async fn finalize(client: &Client, name: &str, namespace: &Namespace) -> Result<(), kube::Error> {
    let mut released = namespace.clone();
    if let Some(spec) = &mut released.spec
        && let Some(finalizers) = &mut spec.finalizers
    {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    let mut body = serde_json::to_value(&released).map_err(kube::Error::SerdeError)?;
    // The type leaves empty lists out, and a missing list would mean that nothing changes.
    if body["spec"]["finalizers"].is_null() {
        body["spec"]["finalizers"] = json!([]);
    }
    body["apiVersion"] = "v1".into();
    body["kind"] = "Namespace".into();
    let resource = kube::core::ApiResource::erase::<Namespace>(&());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let answer = api.replace_subresource("finalize", name, &PostParams::default(), &body).await;
    ignore_gone(answer.map(drop))
}

/// Says in the namespace's status what it waits for; writes only when that changed.
async fn report(
    namespaces: &Api<Namespace>,
    namespace: &Namespace,
    message: &str,
) -> Result<(), kube::Error> {
    const TYPE: &str = "NamespaceContentRemaining";
    let mut conditions =
        namespace.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let message = format!("Some resources are remaining: {message}");
    if conditions
        .iter()
        .any(|condition| condition.type_ == TYPE && condition.message.as_deref() == Some(&*message))
    {
        return Ok(());
    }
    conditions.retain(|condition| condition.type_ != TYPE);
    let mut all: Vec<serde_json::Value> =
        conditions.iter().filter_map(|condition| serde_json::to_value(condition).ok()).collect();
    all.push(json!({
        "type": TYPE,
        "status": "True",
        "reason": "SomeResourcesRemain",
        "message": message,
        "lastTransitionTime": namespace.metadata.deletion_timestamp,
    }));
    let body = json!({"status": {"conditions": all}});
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let patched =
        namespaces.patch_status(name, &PatchParams::default(), &Patch::Merge(&body)).await;
    ignore_gone(patched.map(drop))
}

/// A create that finds the object there has nothing more to do.
pub(crate) fn unless_there(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        // The namespace went meanwhile.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(kube::Error::Api(status))
            if status.code == 403 && status.message.contains("being terminated") =>
        {
            Ok(())
        }
        other => other,
    }
}

fn plural(resource: &kube::core::ApiResource) -> String {
    if resource.group.is_empty() {
        resource.plural.clone()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}

pub(crate) fn object<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).expect("a literal object of its type")
}
