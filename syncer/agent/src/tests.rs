//! The syncer between a hub and members, all of them servers in this process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use federation_server::{
    app::{Server, ServerOptions},
    identity::Identity,
};
use federation_storage::MemoryStore;
use federation_types::{
    crds,
    names::{Gvk, ObjectKey, placement_name, template_label},
};
use http::{Request, header::CONTENT_TYPE};
use kube::Client;
use parking_lot::Mutex;
use providers_core::{ConnectError, MemberClient};
use serde_json::{Value, json};
use syncer_render::{revision::content_hash, template::strip};

use crate::{Metrics, SyncerContext, run};

mod namespaces;
mod pause;
mod secrets;

/// A server and its API as an administrator sees it.
#[derive(Clone)]
struct Side {
    server: Arc<Server>,
    client: Client,
}

impl Side {
    async fn new() -> Self {
        let mut options = ServerOptions::new(Arc::new(MemoryStore::new()));
        options.embedded = crds::all();
        options.admission = vec![Arc::new(secrets::Quotes)];
        let server = Server::new(options).await.expect("a server starts");
        let identity = Identity { user: "admin".to_owned(), ..Identity::default() };
        let client = Client::new(server.local(identity), "default");
        let side = Self { server, client };
        for name in ["default", "kube-system", "archipel-system"] {
            side.create("/api/v1/namespaces", &json!({"metadata": {"name": name}})).await;
        }
        side
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        media: &str,
        body: &Value,
    ) -> Result<Value, u16> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, media)
            .body(body)
            .expect("a request");
        match self.client.request(request).await {
            Ok(value) => Ok(value),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(404),
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    async fn get(&self, path: &str) -> Option<Value> {
        self.send("GET", path, "application/json", &Value::Null).await.ok()
    }

    async fn create(&self, path: &str, body: &Value) -> Value {
        self.send("POST", path, "application/json", body).await.expect("created")
    }

    async fn merge(&self, path: &str, body: &Value) -> Value {
        self.send("PATCH", path, "application/merge-patch+json", body).await.expect("patched")
    }
}

#[derive(Default)]
struct Counted(Mutex<BTreeMap<&'static str, usize>>);

impl Metrics for Counted {
    fn wrote(&self, _cluster: &str, verb: &'static str) {
        *self.0.lock().entry(verb).or_default() += 1;
    }

    fn wrote_status(&self) {
        *self.0.lock().entry("status").or_default() += 1;
    }
}

/// A hub, members, and the syncer between them.
struct World {
    hub: Side,
    members: BTreeMap<&'static str, Side>,
    silent: Arc<Mutex<BTreeSet<String>>>,
    counted: Arc<Counted>,
    syncer: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.syncer.abort();
    }
}

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const PLACEMENT: &str = "/apis/archipel.dev/v1alpha1/namespaces/shop/placements/deployment-web";

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"tier": "web", "extra": "x"}},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    })
}

impl World {
    async fn new(names: &[&'static str]) -> Self {
        let hub = Side::new().await;
        let labels = json!({"team": "shop"});
        let shop = json!({"metadata": {"name": "shop", "labels": labels}});
        hub.create("/api/v1/namespaces", &shop).await;
        let mut members = BTreeMap::new();
        for name in names {
            members.insert(*name, Side::new().await);
            let secret = json!({"metadata": {"name": name}, "stringData": {"kubeconfig": "x"}});
            hub.create("/api/v1/namespaces/archipel-system/secrets", &secret).await;
            let cluster = json!({
                "apiVersion": "archipel.dev/v1alpha1", "kind": "MemberCluster",
                "metadata": {"name": name},
                "spec": {"provider": "onprem", "accepted": true, "connection": {"kubeconfig": {
                    "secretRef": {"namespace": "archipel-system", "name": name},
                }}},
            });
            hub.create("/apis/archipel.dev/v1alpha1/memberclusters", &cluster).await;
        }
        let silent = Arc::new(Mutex::new(BTreeSet::new()));
        let counted = Arc::new(Counted::default());
        let syncer = start(&hub, &members, &silent, &counted);
        Self { hub, members, silent, counted, syncer }
    }

    fn restart(&mut self) {
        self.syncer.abort();
        self.counted = Arc::new(Counted::default());
        self.syncer = start(&self.hub, &self.members, &self.silent, &self.counted);
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.counted.0.lock().clone()
    }

    fn member(&self, name: &str) -> &Side {
        &self.members[name]
    }

    /// What the placement controller writes for a template.
    async fn place(&self, template: &Value, clusters: &Value, more: &Value) {
        let content = strip(template);
        let hash = content_hash(&content, &[], None);
        let gvk = Gvk::new(
            template["apiVersion"].as_str().expect("apiVersion"),
            template["kind"].as_str().expect("kind"),
        );
        let name = template["metadata"]["name"].as_str().expect("a name").to_owned();
        let placement = placement_name(&gvk, &name);
        let key = ObjectKey { gvk, namespace: "shop".into(), name: name.into() };
        let labels = json!({"archipel.dev/template": template_label(&key)});
        let reference = json!({
            "apiVersion": key.gvk.api_version(), "kind": key.gvk.kind, "name": key.name,
            "uid": template["metadata"]["uid"],
            "generation": template["metadata"]["generation"].as_i64().unwrap_or(1),
        });
        let base = "/apis/archipel.dev/v1alpha1/namespaces/shop";
        let revision_name = format!("{placement}-{hash}");
        if self.hub.get(&format!("{base}/revisions/{revision_name}")).await.is_none() {
            let revision = json!({
                "apiVersion": "archipel.dev/v1alpha1", "kind": "Revision",
                "metadata": {"name": revision_name, "labels": labels},
                "spec": {"template": reference, "hash": hash, "content": content},
            });
            self.hub.create(&format!("{base}/revisions"), &revision).await;
        }
        let mut clusters = clusters.clone();
        for cluster in clusters.as_array_mut().expect("clusters") {
            cluster["revision"] = json!(hash);
        }
        let mut spec = json!({
            "template": reference, "divided": true, "clusters": clusters, "removing": null,
            "outcome": {"status": "True", "reason": "Placed", "message": ""},
        });
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        let path = format!("{base}/placements/{placement}");
        if self.hub.get(&path).await.is_some() {
            self.hub.merge(&path, &json!({ "spec": spec })).await;
        } else {
            let placement = json!({
                "apiVersion": "archipel.dev/v1alpha1", "kind": "Placement",
                "metadata": {"name": placement, "labels": labels}, "spec": spec,
            });
            self.hub.create(&format!("{base}/placements"), &placement).await;
        }
    }

    async fn apply_web(&self) -> Value {
        self.hub.create("/apis/apps/v1/namespaces/shop/deployments", &deployment()).await
    }

    async fn placement(&self) -> Value {
        self.hub.get(PLACEMENT).await.unwrap_or_default()
    }

    /// The state and the reason of a copy in the Placement's status.
    async fn copy(&self, cluster: &str) -> Option<(String, String)> {
        let placement = self.placement().await;
        let copies = placement["status"]["clusters"].as_array()?;
        let copy = copies.iter().find(|it| it["name"] == cluster)?;
        let text = |name: &str| copy[name].as_str().unwrap_or_default().to_owned();
        Some((text("state"), text("reason")))
    }

    async fn is_synced(&self) -> bool {
        let placement = self.placement().await;
        let current =
            placement["status"]["observedGeneration"] == placement["metadata"]["generation"];
        let synced = placement["status"]["conditions"]
            .as_array()
            .is_some_and(|it| it.iter().any(|it| it["type"] == "Synced" && it["status"] == "True"));
        current && synced
    }
}

fn start(
    hub: &Side,
    members: &BTreeMap<&'static str, Side>,
    silent: &Arc<Mutex<BTreeSet<String>>>,
    counted: &Arc<Counted>,
) -> tokio::task::JoinHandle<()> {
    let identity = Identity::component("syncer");
    let client = Client::new(hub.server.local(identity), "default");
    let mut context = SyncerContext::new(client, "hub".to_owned(), Default::default());
    let (members, silent) = (members.clone(), Arc::clone(silent));
    context.dial = Arc::new(move |name, _| {
        let result = if silent.lock().contains(&name) {
            Err(ConnectError::Timeout { server: name })
        } else {
            let identity = Identity { user: "archipel".to_owned(), ..Identity::default() };
            let client = Client::new(members[name.as_str()].server.local(identity), "default");
            Ok(MemberClient::around(client, &name))
        };
        Box::pin(async move { result })
    });
    context.metrics = Arc::clone(counted) as Arc<dyn Metrics>;
    tokio::spawn(run(context))
}

/// Waits until a condition holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let patience = Duration::from_secs(30);
    let waited = tokio::time::timeout(patience, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {patience:?}: {what}");
}

#[tokio::test]
async fn a_template_runs_where_its_placement_says_and_its_status_comes_back() {
    let world = World::new(&["a", "b", "c"]).await;
    let template = world.apply_web().await;
    let clusters = json!([{"name": "a", "replicas": 2}, {"name": "b", "replicas": 1}]);
    world.place(&template, &clusters, &json!({})).await;
    until("both copies are written", async || world.is_synced().await).await;

    let copy = world.member("a").get(DEPLOYMENT).await.expect("the copy in a");
    assert_eq!(copy["spec"]["replicas"], 2);
    assert_eq!(copy["metadata"]["labels"]["archipel.dev/managed"], "true");
    assert_eq!(copy["spec"]["template"]["metadata"]["labels"], json!({"app": "web"}));
    let uid = template["metadata"]["uid"].as_str().expect("a uid");
    let copy_of = format!("hub/apps/Deployment/shop/web/{uid}");
    assert_eq!(copy["metadata"]["annotations"]["archipel.dev/copy-of"], copy_of);
    assert_eq!(world.member("c").get(DEPLOYMENT).await, None);

    for (name, count) in [("a", 2), ("b", 1)] {
        let status = json!({"status": {
            "observedGeneration": 1, "replicas": count, "updatedReplicas": count,
            "readyReplicas": count, "availableReplicas": count,
            "conditions": [{"type": "Available", "status": "True"}],
        }});
        world.member(name).merge(&format!("{DEPLOYMENT}/status"), &status).await;
    }
    until("the template shows the sum", async || {
        let status = world.hub.get(DEPLOYMENT).await.unwrap_or_default()["status"].clone();
        status["availableReplicas"] == 3 && status["observedGeneration"] == 1
    })
    .await;
    assert_eq!(world.copy("a").await, Some(("Ready".into(), String::new())));
    let summary = world.placement().await["status"]["summary"].clone();
    assert_eq!((&summary["ready"], &summary["readyReplicas"]), (&json!(2), &json!(3)));
}

#[tokio::test]
async fn rule_4_4_a_namespace_comes_with_its_first_copy_and_nowhere_else() {
    let world = World::new(&["a", "b"]).await;
    let template = world.apply_web().await;
    world.place(&template, &json!([{"name": "a", "replicas": 1}]), &json!({})).await;
    until("the copy is written", async || world.is_synced().await).await;
    let namespace = world.member("a").get("/api/v1/namespaces/shop").await.expect("in a");
    assert_eq!(namespace["metadata"]["labels"]["team"], "shop");
    assert_eq!(namespace["metadata"]["labels"]["archipel.dev/managed"], "true");
    assert_eq!(world.member("b").get("/api/v1/namespaces/shop").await, None);

    let relabelled = json!({"metadata": {"labels": {"team": "sales"}}});
    world.hub.merge("/api/v1/namespaces/shop", &relabelled).await;
    until("the label follows", async || {
        let namespace = world.member("a").get("/api/v1/namespaces/shop").await.unwrap_or_default();
        namespace["metadata"]["labels"]["team"] == "sales"
    })
    .await;
}

#[tokio::test]
async fn rule_4_2_a_foreign_object_is_reported_and_not_overwritten_until_it_is_to_be_adopted() {
    let world = World::new(&["a"]).await;
    let member = world.member("a");
    member.create("/api/v1/namespaces", &json!({"metadata": {"name": "shop"}})).await;
    let mut theirs = deployment();
    theirs["spec"]["replicas"] = json!(7);
    member.create("/apis/apps/v1/namespaces/shop/deployments", &theirs).await;
    let template = world.apply_web().await;
    let clusters = json!([{"name": "a", "replicas": 1}]);
    world.place(&template, &clusters, &json!({})).await;
    let conflict = Some(("Conflict".to_owned(), "ForeignObject".to_owned()));
    until("the conflict is reported", async || world.copy("a").await == conflict).await;
    let told = async || {
        let events = world.hub.get("/api/v1/namespaces/shop/events").await.unwrap_or_default();
        let said = events["items"].as_array().cloned().unwrap_or_default();
        said.iter().filter(|it| it["reason"] == "ForeignObject").count()
    };
    until("an event says so", async || told().await == 1).await;
    // Passes that find it as it was say nothing new.
    let before = world.placement().await["status"]["observedGeneration"].clone();
    world.place(&template, &clusters, &json!({"affinity": "x"})).await;
    until("it was looked at again", async || {
        world.placement().await["status"]["observedGeneration"] != before
    })
    .await;
    assert_eq!(told().await, 1);
    let there = member.get(DEPLOYMENT).await.expect("theirs");
    assert_eq!(there["spec"]["replicas"], 7);
    assert_eq!(
        member.get("/api/v1/namespaces/shop").await.expect("theirs")["metadata"]
            .get("labels")
            .and_then(|it| it.get("archipel.dev/managed")),
        None
    );

    world.place(&template, &clusters, &json!({"sync": {"conflict": "Adopt"}})).await;
    until("it is taken over", async || {
        member.get(DEPLOYMENT).await.expect("still there")["spec"]["replicas"] == 1
    })
    .await;
    until("it counts as synced", async || world.is_synced().await).await;
}

#[tokio::test]
async fn rule_1_1_only_a_cluster_named_as_removing_loses_its_copy() {
    let world = World::new(&["a", "b"]).await;
    let template = world.apply_web().await;
    let both = json!([{"name": "a", "replicas": 1}, {"name": "b", "replicas": 1}]);
    world.place(&template, &both, &json!({})).await;
    until("both copies are written", async || world.is_synced().await).await;

    // Named nowhere: the copy stays, and the member says that nobody knows of it.
    let only_a = json!([{"name": "a", "replicas": 2}]);
    world.place(&template, &only_a, &json!({})).await;
    until("a is scaled", async || {
        world.member("a").get(DEPLOYMENT).await.expect("a")["spec"]["replicas"] == 2
    })
    .await;
    assert!(world.member("b").get(DEPLOYMENT).await.is_some());

    let removing =
        json!([{"name": "b", "cause": "PolicyChanged", "since": "2026-01-01T00:00:00Z"}]);
    world.place(&template, &only_a, &json!({ "removing": removing })).await;
    until("b is empty", async || world.member("b").get(DEPLOYMENT).await.is_none()).await;
    until("the status says so", async || {
        world.is_synced().await && world.copy("b").await.is_none()
    })
    .await;
    assert_eq!(world.counts().get("delete"), Some(&1));
}

#[tokio::test]
async fn rule_4_3_a_copy_without_our_label_is_found_before_it_counts_as_gone() {
    let world = World::new(&["a"]).await;
    let template = world.apply_web().await;
    world.place(&template, &json!([{"name": "a", "replicas": 1}]), &json!({})).await;
    until("the copy is written", async || world.is_synced().await).await;
    // While frozen the label is not put back.
    let freeze = json!({
        "apiVersion": "archipel.dev/v1alpha1", "kind": "ChangeBudget",
        "metadata": {"name": "default"}, "spec": {"freeze": {"all": true}},
    });
    world.hub.create("/apis/archipel.dev/v1alpha1/changebudgets", &freeze).await;
    let budget = "/apis/archipel.dev/v1alpha1/changebudgets/default";
    let unlabelled = json!({"metadata": {"labels": {"archipel.dev/managed": null}}});
    world.member("a").merge(DEPLOYMENT, &unlabelled).await;
    let removing =
        json!([{"name": "a", "cause": "PolicyChanged", "since": "2026-01-01T00:00:00Z"}]);
    world.place(&template, &json!([]), &json!({ "removing": removing })).await;
    world.hub.merge(budget, &json!({"spec": {"freeze": {"all": false}}})).await;
    until("it is deleted", async || world.member("a").get(DEPLOYMENT).await.is_none()).await;
    until("the status says so", async || world.copy("a").await.is_none()).await;
}

#[tokio::test]
async fn rule_1_3_drift_is_put_right_and_a_freeze_stops_that_too() {
    let world = World::new(&["a"]).await;
    let template = world.apply_web().await;
    world.place(&template, &json!([{"name": "a", "replicas": 1}]), &json!({})).await;
    until("the copy is written", async || world.is_synced().await).await;
    let member = world.member("a");
    let replicas =
        async || member.get(DEPLOYMENT).await.expect("there")["spec"]["replicas"].clone();
    member.merge(DEPLOYMENT, &json!({"spec": {"replicas": 5}})).await;
    until("the replicas are put right", async || replicas().await == 1).await;

    let freeze = json!({
        "apiVersion": "archipel.dev/v1alpha1", "kind": "ChangeBudget",
        "metadata": {"name": "default"}, "spec": {"freeze": {"clusters": ["a"]}},
    });
    world.hub.create("/apis/archipel.dev/v1alpha1/changebudgets", &freeze).await;
    until("the freeze is known", async || {
        member.merge(DEPLOYMENT, &json!({"spec": {"replicas": 6}})).await;
        world.copy("a").await == Some(("Held".into(), "Frozen".into()))
    })
    .await;
    assert_eq!(replicas().await, 6);
    let budget = "/apis/archipel.dev/v1alpha1/changebudgets/default";
    world.hub.merge(budget, &json!({"spec": {"freeze": {"clusters": null}}})).await;
    // Freezing may have come after some corrections: then it is a fight, which is left to the users.
    until("the thaw is followed by a verdict", async || {
        replicas().await == 1 || world.copy("a").await.is_some_and(|it| it.1 == "Fighting")
    })
    .await;
}

#[tokio::test]
async fn a_field_that_the_user_takes_away_goes_from_the_copies() {
    let world = World::new(&["a"]).await;
    let template = world.apply_web().await;
    let clusters = json!([{"name": "a", "replicas": 1}]);
    world.place(&template, &clusters, &json!({})).await;
    until("the copy is written", async || world.is_synced().await).await;
    let without = json!({"metadata": {"labels": {"extra": null}}});
    let template = world.hub.merge(DEPLOYMENT, &without).await;
    world.place(&template, &clusters, &json!({})).await;
    until("the label is gone", async || {
        let copy = world.member("a").get(DEPLOYMENT).await.expect("there");
        copy["metadata"]["labels"].get("extra").is_none()
    })
    .await;
    let labels =
        world.member("a").get(DEPLOYMENT).await.expect("there")["metadata"]["labels"].clone();
    assert_eq!((&labels["tier"], &labels["archipel.dev/managed"]), (&json!("web"), &json!("true")));
}

#[tokio::test]
async fn a_member_that_does_not_answer_is_shown_and_holds_nobody_up() {
    let world = World::new(&["a", "b"]).await;
    world.silent.lock().insert("b".to_owned());
    let mut world = world;
    world.restart();
    let template = world.apply_web().await;
    let both = json!([{"name": "a", "replicas": 1}, {"name": "b", "replicas": 1}]);
    world.place(&template, &both, &json!({})).await;
    until("a has its copy", async || world.member("a").get(DEPLOYMENT).await.is_some()).await;
    until("b is shown as unreachable", async || {
        world.copy("b").await.is_some_and(|it| it.0 == "Unreachable")
    })
    .await;
    world.silent.lock().clear();
    until("b gets its copy when it is back", async || {
        world.member("b").get(DEPLOYMENT).await.is_some() && world.is_synced().await
    })
    .await;
}

#[tokio::test]
async fn a_member_that_refuses_the_credentials_is_shown_as_stale_although_its_watches_live_on() {
    let world = World::new(&["a"]).await;
    let template = world.apply_web().await;
    world.place(&template, &json!([{"name": "a", "replicas": 1}]), &json!({})).await;
    until("the copy is written", async || world.is_synced().await).await;
    // The open connection goes on as it was; only a new one would be refused.
    world.silent.lock().insert("a".to_owned());
    let stale = async || {
        let placement = world.placement().await;
        placement["status"]["clusters"][0]["stale"] == true
    };
    assert!(!stale().await);
    let say = async |status: &str, reason: &str| {
        let ready = json!({"status": {"conditions": [{
            "type": "Ready", "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}});
        world.hub.merge("/apis/archipel.dev/v1alpha1/memberclusters/a/status", &ready).await;
    };
    say("False", "Unauthorized").await;
    until("the copy is shown as stale", stale).await;
    world.silent.lock().clear();
    until("it is seen again", async || world.is_synced().await && !stale().await).await;
}

#[tokio::test]
async fn rule_1_7_a_restart_finds_everything_as_it_was_and_writes_nothing() {
    let mut world = World::new(&["a", "b"]).await;
    let template = world.apply_web().await;
    let both = json!([{"name": "a", "replicas": 1}, {"name": "b", "replicas": 1}]);
    world.place(&template, &both, &json!({})).await;
    until("both copies are written", async || world.is_synced().await).await;
    let template_synced =
        async || world.hub.get(DEPLOYMENT).await.expect("there")["status"]["conditions"].is_array();
    until("the template has a status", template_synced).await;
    world.restart();
    let placement = world.placement().await["metadata"]["resourceVersion"].clone();
    // A second template goes through the same queues; once it is there, the first has been looked at.
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "rates", "namespace": "shop"}, "data": {"a": "b"},
    });
    let map = world.hub.create("/api/v1/namespaces/shop/configmaps", &map).await;
    world.place(&map, &json!([{"name": "a"}]), &json!({})).await;
    until("the second template is there", async || {
        world.member("a").get("/api/v1/namespaces/shop/configmaps/rates").await.is_some()
    })
    .await;
    let drifted = json!({"metadata": {"labels": {"tier": "other"}}});
    world.member("b").merge(DEPLOYMENT, &drifted).await;
    until("b is watched", async || {
        let copy = world.member("b").get(DEPLOYMENT).await.expect("there");
        copy["metadata"]["labels"]["tier"] == "web"
    })
    .await;
    let counts = world.counts();
    assert_eq!((counts.get("create"), counts.get("apply")), (Some(&1), Some(&1)));
    assert_eq!(world.placement().await["metadata"]["resourceVersion"], placement);
}

#[tokio::test]
async fn a_refusal_names_the_cluster_on_the_placement_the_template_and_an_event() {
    let world = World::new(&["a", "b"]).await;
    // In `a` the namespace stands for something that the member refuses: a name that no Deployment may have.
    let template = world.apply_web().await;
    let mut broken = template.clone();
    broken["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!(7);
    let both = json!([{"name": "a", "replicas": 1}, {"name": "b", "replicas": 1}]);
    world.place(&broken, &both, &json!({})).await;
    until("the refusal is reported", async || {
        world.copy("a").await == Some(("Refused".into(), "RefusedByCluster".into()))
    })
    .await;
    until("an event says so", async || {
        let events = world.hub.get("/api/v1/namespaces/shop/events").await.unwrap_or_default();
        events["items"].as_array().is_some_and(|it| {
            it.iter()
                .any(|it| it["message"].as_str().is_some_and(|it| it.starts_with("cluster a: ")))
        })
    })
    .await;
    until("the template says so", async || {
        let status = world.hub.get(DEPLOYMENT).await.unwrap_or_default()["status"].clone();
        status["conditions"].as_array().is_some_and(|it| {
            it.iter().any(|it| {
                it["reason"] == "RefusedByCluster"
                    && it["message"].as_str().is_some_and(|it| it.starts_with("a: "))
            })
        })
    })
    .await;
}

#[tokio::test]
async fn rule_4_3_a_copy_that_nobody_knows_of_is_counted_and_left_alone() {
    let world = World::new(&["a"]).await;
    let template = world.apply_web().await;
    world.place(&template, &json!([{"name": "a", "replicas": 1}]), &json!({})).await;
    until("the copy is written", async || world.is_synced().await).await;
    let stray = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "stray", "namespace": "shop", "labels": {"archipel.dev/managed": "true"},
            "annotations": {"archipel.dev/copy-of": "hub//ConfigMap/shop/stray/uid"},
        },
    });
    let path = "/api/v1/namespaces/shop/configmaps/stray";
    world.member("a").create("/api/v1/namespaces/shop/configmaps", &stray).await;
    let member = "/apis/archipel.dev/v1alpha1/memberclusters/a";
    let served = json!({"status": {"apis": ["v1/ConfigMap"]}});
    world.hub.merge(&format!("{member}/status"), &served).await;
    until("what is served is known", async || {
        world.hub.get(member).await.expect("there")["status"]["apis"].is_array()
    })
    .await;
    let mut world = world;
    world.restart();
    until("it is counted", async || {
        let status = world.hub.get(member).await.expect("there")["status"].clone();
        status["unknownCopies"] == json!(["ConfigMap shop/stray"]) && status["copies"] == 3
    })
    .await;
    assert!(world.member("a").get(path).await.is_some());
    assert_eq!(world.counts().get("delete"), None);
}

#[tokio::test]
async fn rule_3_4_a_job_that_ended_and_is_gone_is_not_made_again_and_keeps_its_last_word() {
    let world = World::new(&["a"]).await;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "shop"},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "c"}],
        }}},
    });
    let job = world.hub.create("/apis/batch/v1/namespaces/shop/jobs", &job).await;
    world.place(&job, &json!([{"name": "a"}]), &json!({})).await;
    let path = "/apis/batch/v1/namespaces/shop/jobs/j";
    until("it is there", async || world.member("a").get(path).await.is_some()).await;
    let done = json!({"status": {
        "succeeded": 1, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z",
        "conditions": [{"type": "Complete", "status": "True"}],
    }});
    world.member("a").merge(&format!("{path}/status"), &done).await;
    let complete = async || {
        let status = world.hub.get(path).await.expect("there")["status"].clone();
        status["conditions"][0]["type"] == "Complete" && status["succeeded"] == 1
    };
    until("the template says so", complete).await;
    let delete = world.member("a").send("DELETE", path, "application/json", &Value::Null).await;
    assert!(delete.is_ok());
    // A change of the Placement makes a pass over the Job due; another template shows that it is over.
    world.place(&job, &json!([{"name": "a"}]), &json!({"affinity": "x"})).await;
    let placement = "/apis/archipel.dev/v1alpha1/namespaces/shop/placements/job-j";
    until("the change was passed", async || {
        let placement = world.hub.get(placement).await.expect("there");
        placement["status"]["observedGeneration"] == 2
            && placement["status"]["conditions"].as_array().is_some_and(|it| {
                it.iter().any(|it| it["type"] == "Synced" && it["status"] == "True")
            })
    })
    .await;
    assert_eq!(world.member("a").get(path).await, None);
    assert!(complete().await);
    let copy = world.hub.get(placement).await.expect("there")["status"]["clusters"][0].clone();
    assert_eq!((&copy["state"], &copy["reason"]), (&json!("Ready"), &json!("Completed")));
}
