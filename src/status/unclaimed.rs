//! The objects that no policy claims (RULES 2.6): they stay on the hub, and nobody would see why they run nowhere.
//!
//! What is claimed has a Placement, and what a policy selects will have one; the rest is looked for here, kind by kind,
//! by what the user may list. The hub keeps no list of it: most kinds of a hub are selected by no policy at all.

use std::{collections::BTreeSet, sync::Arc};

use federation_types::{
    names::{Gvk, HUB_ANNOTATION, ObjectKey},
    policy::{ClusterPlacementPolicy, PlacementPolicy},
};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, ObjectMeta},
    discovery::{Discovery, Scope, verbs},
};
use placement_controller::index::template_key;
use placement_engine::claim::{Facts, Policy, claim, never};
use serde::Serialize;

use crate::output::Failure;

/// How many kinds are asked for at a time.
const CONCURRENCY: usize = 8;
/// Set by the server on the roles of a first start.
const BOOTSTRAP_LABEL: &str = "kubernetes.io/bootstrapping";
/// Secrets that RULES 2.4 leaves out by a field that their metadata does not show.
const OWN_SECRETS: &str = "type!=kubernetes.io/service-account-token,type!=bootstrap.kubernetes.io/token,\
                           type!=helm.sh/release.v1,type!=helm.sh/release";

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Unclaimed {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    /// `Deployment/web`
    pub(super) object: String,
}

impl std::fmt::Display for Unclaimed {
    /// `Deployment shop/web`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { namespace, object } = self;
        let (kind, name) = object.split_once('/').unwrap_or(("", object));
        if namespace.is_empty() {
            write!(f, "{kind} {name}")
        } else {
            write!(f, "{kind} {namespace}/{name}")
        }
    }
}

/// What was found, and the kinds that the user may not list.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) objects: Vec<Unclaimed>,
    pub(super) hidden: Vec<String>,
}

/// Looks for them in one namespace, or everywhere. `placed`: the templates that have a Placement.
pub(super) async fn find(
    client: &Client,
    namespace: Option<&str>,
    placed: &BTreeSet<ObjectKey>,
) -> Result<Found, Failure> {
    let policies = policies(client, namespace).await?;
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let mut kinds = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let namespaced = capabilities.scope == Scope::Namespaced;
            let usable =
                [verbs::LIST, verbs::CREATE].iter().all(|it| capabilities.supports_operation(it));
            if usable && (namespaced || namespace.is_none()) && may_run(&resource, &policies) {
                kinds.push(resource);
            }
        }
    }
    let lists: Vec<_> =
        kinds.iter().map(|kind| list(client, namespace, kind, &policies, placed)).collect();
    let mut lists = stream::iter(lists).buffer_unordered(CONCURRENCY);
    let mut found = Found::default();
    while let Some(list) = lists.try_next().await? {
        match list {
            Ok(objects) => found.objects.extend(objects),
            Err(hidden) => found.hidden.push(hidden),
        }
    }
    found.objects.sort();
    found.hidden.sort();
    Ok(found)
}

/// The policies, as far as the user may read them: what has a Placement is claimed whoever may read what.
async fn policies(client: &Client, namespace: Option<&str>) -> Result<Vec<Arc<Policy>>, Failure> {
    let all = ListParams::default();
    let own = match namespace {
        Some(it) => Api::<PlacementPolicy>::namespaced(client.clone(), it),
        None => Api::<PlacementPolicy>::all(client.clone()),
    };
    let own = readable(own.list(&all).await)?;
    let wide = readable(Api::<ClusterPlacementPolicy>::all(client.clone()).list(&all).await)?;
    let own = own.iter().flat_map(|it| &it.items).map(Policy::from);
    let wide = wide.iter().flat_map(|it| &it.items).map(Policy::from);
    Ok(own.chain(wide).map(Arc::new).collect())
}

/// The objects of one kind; the kind's name where the user may not list it.
async fn list(
    client: &Client,
    namespace: Option<&str>,
    kind: &ApiResource,
    policies: &[Arc<Policy>],
    placed: &BTreeSet<ObjectKey>,
) -> Result<Result<Vec<Unclaimed>, String>, Failure> {
    let api = match namespace {
        Some(it) => Api::<DynamicObject>::namespaced_with(client.clone(), it, kind),
        None => Api::<DynamicObject>::all_with(client.clone(), kind),
    };
    let secrets = kind.group.is_empty() && kind.kind == "Secret";
    let params = ListParams {
        field_selector: secrets.then(|| OWN_SECRETS.to_owned()),
        ..ListParams::default()
    };
    let Some(list) = readable(api.list_metadata(&params).await)? else {
        return Ok(Err(kind.plural.clone()));
    };
    let unclaimed =
        list.items.iter().filter(|it| is_unclaimed(kind, &it.metadata, policies, placed));
    Ok(Ok(unclaimed
        .map(|it| Unclaimed {
            namespace: it.namespace().unwrap_or_default(),
            object: format!("{}/{}", kind.kind, it.name_any()),
        })
        .collect()))
}

/// `None` where the user may not.
fn readable<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(it) => Ok(Some(it)),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => Err(error),
    }
}

fn gvk(kind: &ApiResource) -> Gvk {
    Gvk::new(&kind.api_version, &kind.kind)
}

/// Whether objects of a kind are made to run somewhere. Rights, namespaces and definitions do their work on the hub: they
/// are meant for members only where a policy selects their kind.
fn may_run(kind: &ApiResource, policies: &[Arc<Policy>]) -> bool {
    let key = template_key(&gvk(kind), "", "");
    if never(&Facts { key: &key, labels: &Default::default(), secret_type: "" }).is_some() {
        return false;
    }
    let works_here = matches!(
        (kind.group.as_str(), kind.kind.as_str()),
        ("rbac.authorization.k8s.io", _)
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("", "Namespace")
    );
    let mut claiming = policies.iter().filter(|it| !it.limits_only);
    !works_here
        || claiming.any(|policy| {
            policy.spec.selectors.iter().any(|it| {
                let group = it.api_version.split_once('/').map_or("", |(group, _)| group);
                group == kind.group && it.kind == kind.kind
            })
        })
}

/// Whether an object could run somewhere and no policy claims it.
fn is_unclaimed(
    kind: &ApiResource,
    object: &ObjectMeta,
    policies: &[Arc<Policy>],
    placed: &BTreeSet<ObjectKey>,
) -> bool {
    let namespace = object.namespace.clone().unwrap_or_default();
    let name = object.name.clone().unwrap_or_default();
    let labels = object.labels.clone().unwrap_or_default();
    // Somebody else's business: made by a controller from another object, made by the server, about to be gone, or put
    // to work on the hub by its owner.
    let derived = object.owner_references.iter().flatten().any(|it| it.controller == Some(true));
    let active = object.annotations.as_ref().is_some_and(|it| it.contains_key(HUB_ANNOTATION));
    if derived
        || active
        || object.deletion_timestamp.is_some()
        || labels.contains_key(BOOTSTRAP_LABEL)
    {
        return false;
    }
    let key = template_key(&gvk(kind), &namespace, &name);
    let facts = Facts { key: &key, labels: &labels, secret_type: "" };
    never(&facts).is_none() && claim(&facts, policies).winner.is_none() && !placed.contains(&key)
}

#[cfg(test)]
mod tests {
    use federation_types::policy::PlacementPolicySpec;
    use serde_json::json;

    use super::*;

    fn kind(api_version: &str, kind: &str) -> ApiResource {
        let gvk = Gvk::new(api_version, kind);
        ApiResource {
            api_version: api_version.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
            group: gvk.group.to_string(),
            version: gvk.version.to_string(),
            kind: gvk.kind.to_string(),
        }
    }

    fn policy(selector: &serde_json::Value) -> Arc<Policy> {
        let spec = json!({"selectors": [selector]});
        let spec: PlacementPolicySpec = serde_json::from_value(spec).unwrap();
        let mut policy = PlacementPolicy::new("web", spec);
        policy.metadata.namespace = Some("shop".to_owned());
        Arc::new(Policy::from(&policy))
    }

    fn metadata(value: serde_json::Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn rule_2_6_an_object_is_unclaimed_also_where_no_policy_selects_its_kind() {
        let policies =
            [policy(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}))];
        let none = BTreeSet::new();
        let unclaimed = |it: &ApiResource, object: serde_json::Value| {
            may_run(it, &policies) && is_unclaimed(it, &metadata(object), &policies, &none)
        };
        let deployment = kind("apps/v1", "Deployment");
        let config = kind("v1", "ConfigMap");
        assert!(!unclaimed(&deployment, json!({"namespace": "shop", "name": "web"})));
        assert!(unclaimed(&deployment, json!({"namespace": "shop", "name": "api"})));
        assert!(unclaimed(&deployment, json!({"namespace": "bank", "name": "web"})));
        assert!(unclaimed(&config, json!({"namespace": "shop", "name": "settings"})));
        assert!(unclaimed(&kind("example.org/v1", "Widget"), json!({"name": "w"})));
        // A policy that is gone left its copies: the Placement tells of them.
        let placed = BTreeSet::from([template_key(&gvk(&config), "shop", "settings")]);
        let object = metadata(json!({"namespace": "shop", "name": "settings"}));
        assert!(!is_unclaimed(&config, &object, &policies, &placed));
    }

    #[test]
    fn rule_2_6_what_is_never_a_template_or_works_on_the_hub_is_no_news() {
        let none = BTreeSet::new();
        let unclaimed = |it: &ApiResource, object: serde_json::Value, policies: &[Arc<Policy>]| {
            may_run(it, policies) && is_unclaimed(it, &metadata(object), policies, &none)
        };
        let quiet = [
            ("v1", "Event", json!({"namespace": "shop", "name": "e"})),
            ("events.k8s.io/v1", "Event", json!({"namespace": "shop", "name": "e"})),
            ("v1", "ConfigMap", json!({"namespace": "shop", "name": "kube-root-ca.crt"})),
            ("v1", "ServiceAccount", json!({"namespace": "shop", "name": "default"})),
            ("v1", "Service", json!({"namespace": "default", "name": "kubernetes"})),
            ("v1", "Endpoints", json!({"namespace": "shop", "name": "web"})),
            ("discovery.k8s.io/v1", "EndpointSlice", json!({"namespace": "shop", "name": "web"})),
            ("coordination.k8s.io/v1", "Lease", json!({"namespace": "shop", "name": "l"})),
            ("archipel.dev/v1alpha1", "PlacementPolicy", json!({"namespace": "shop", "name": "p"})),
            ("v1", "Secret", json!({"namespace": "archipel-system", "name": "member-a"})),
            ("v1", "Namespace", json!({"name": "shop"})),
            ("rbac.authorization.k8s.io/v1", "Role", json!({"namespace": "shop", "name": "r"})),
            (
                "v1",
                "Pod",
                json!({"namespace": "shop", "name": "p", "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true}]}),
            ),
            (
                "admissionregistration.k8s.io/v1",
                "ValidatingAdmissionPolicy",
                json!({"name": "v", "annotations": {HUB_ANNOTATION: "Active"}}),
            ),
        ];
        for (api_version, its, object) in quiet {
            assert!(!unclaimed(&kind(api_version, its), object.clone(), &[]), "{its} {object}");
        }
        // A policy that selects roles says that roles are meant for members.
        let rbac = "rbac.authorization.k8s.io/v1";
        let roles = [policy(&json!({"apiVersion": rbac, "kind": "Role", "name": "reader"}))];
        let role =
            |labels: serde_json::Value| json!({"namespace": "shop", "name": "r", "labels": labels});
        assert!(unclaimed(&kind(rbac, "Role"), role(json!({})), &roles));
        assert!(!unclaimed(
            &kind(rbac, "Role"),
            role(json!({BOOTSTRAP_LABEL: "rbac-defaults"})),
            &roles
        ));
    }

    #[test]
    fn an_unclaimed_object_is_named_as_everywhere_else() {
        let named = |namespace: &str| {
            let namespace = namespace.to_owned();
            Unclaimed { namespace, object: "Widget/w".to_owned() }.to_string()
        };
        assert_eq!((named("shop"), named("")), ("Widget shop/w".to_owned(), "Widget w".to_owned()));
    }
}
