//! Joining real clusters: the account that the hub makes for itself there, the guard that bounds it, and what the hub
//! then knows of the member.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like the tests that call them")]

use std::{path::Path, sync::Arc, time::Duration};

use federation_server::{
    identity::Identity,
    pki::ADMIN_GROUP,
    shell::{Shell, ShellOptions},
};
use federation_storage::MemoryStore;
use federation_tests::{Member, MemberOptions, NodeShape, wait};
use federation_types::{
    cluster::{Connection, KubeconfigConnection, MemberCluster, MemberClusterSpec, SecretRef},
    condition,
    names::{ADOPT_ANNOTATION, COPY_OF_ANNOTATION, MANAGED_LABEL, SYSTEM_NAMESPACE},
};
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::TokenRequest,
        core::v1::{ConfigMap, Namespace, Secret, ServiceAccount},
    },
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use providers_core::{
    ConnectOptions, MemberClient, UserKubeconfig,
    join::{Joined, Joiner, clean_up, identify},
    token,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

async fn join(kubeconfig: &Path) -> Joined {
    let user = UserKubeconfig::read(kubeconfig, None).unwrap();
    let identified = identify(&user, &ConnectOptions::default()).await.unwrap();
    identified.join(&joiner("this", None)).await.unwrap()
}

fn joiner(hub: &str, take_over: Option<&str>) -> Joiner {
    let take_over = take_over.map(str::to_owned);
    Joiner { hub: hub.to_owned(), name: "edge".to_owned(), take_over }
}

fn config_map(name: &str, marked: bool) -> ConfigMap {
    let mut object =
        json!({"metadata": {"name": name, "namespace": "default"}, "data": {"a": "b"}});
    if marked {
        object["metadata"]["labels"] = json!({MANAGED_LABEL: "true"});
        let copy_of = format!("hub//ConfigMap/default/{name}/uid");
        object["metadata"]["annotations"] = json!({ COPY_OF_ANNOTATION: copy_of });
    }
    serde_json::from_value(object).unwrap()
}

/// The guard's own word; RBAC alone would let all of this pass.
#[track_caller]
fn refused<T: std::fmt::Debug>(what: &str, result: Result<T, kube::Error>) {
    match result {
        Err(kube::Error::Api(status)) if status.message.contains("archipel-guard") => (),
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn rule_4_8_the_account_of_the_hub_changes_only_what_is_the_hubs() {
    let member = Member::start(MemberOptions::bare("guarded")).await.unwrap();
    let admin = member.client().await.unwrap();
    let joined = join(member.kubeconfig()).await;
    assert_eq!(joined.notes, Vec::<String>::new());
    assert_eq!(joined.version, "v1.36.3");
    let stored = String::from_utf8(joined.kubeconfig.clone()).unwrap();
    assert!(!stored.contains("client-key"), "the user's credentials are not kept");

    let syncer =
        MemberClient::connect(&joined.kubeconfig, &ConnectOptions::default()).await.unwrap();
    let own = Api::<ConfigMap>::default_namespaced(syncer.rest().clone());
    let theirs = Api::<ConfigMap>::default_namespaced(admin.clone());
    let post = PostParams::default();
    theirs.create(&post, &config_map("foreign", false)).await.unwrap();

    // A policy is in force a moment after it was made.
    wait::until("the guard is in force", SOON, async || {
        let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
        match own.delete("foreign", &dry).await {
            Err(kube::Error::Api(status)) if status.message.contains("archipel-guard") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    refused("delete", own.delete("foreign", &DeleteParams::default()).await);
    let data = Patch::Merge(json!({"data": {"a": "c"}}));
    refused("patch", own.patch("foreign", &PatchParams::default(), &data).await);
    let over = serde_json::to_value(config_map("foreign", true)).unwrap();
    let over = with_kind(over);
    let force = PatchParams::apply("archipel").force();
    refused("apply over", own.patch("foreign", &force, &Patch::Apply(&over)).await);
    let mut copied = config_map("copied", true);
    copied.metadata.name = Some("copied-marks".to_owned());
    theirs.create(&post, &copied).await.unwrap();
    let delete = DeleteParams::default();
    refused("marks of another object", own.delete("copied-marks", &delete).await);

    // What is ours comes and goes.
    own.create(&post, &config_map("ours", true)).await.unwrap();
    own.patch("ours", &PatchParams::default(), &data).await.unwrap();
    // The label alone is no proof: one that was taken off is put back.
    let unlabelled = Patch::Merge(json!({"metadata": {"labels": {MANAGED_LABEL: null}}}));
    theirs.patch("ours", &PatchParams::default(), &unlabelled).await.unwrap();
    let label = Patch::Merge(json!({"metadata": {"labels": {MANAGED_LABEL: "true"}}}));
    own.patch("ours", &PatchParams::default(), &label).await.unwrap();
    own.delete("ours", &DeleteParams::default()).await.unwrap();
    let created = with_kind(serde_json::to_value(config_map("applied", true)).unwrap());
    own.patch("applied", &force, &Patch::Apply(&created)).await.unwrap();
    // An owner hands an object over.
    let hand_over = json!({"metadata": {"annotations": {ADOPT_ANNOTATION: "true"}}});
    theirs.patch("foreign", &PatchParams::default(), &Patch::Merge(hand_over)).await.unwrap();
    own.patch("foreign", &force, &Patch::Apply(&over)).await.unwrap();
    // Namespaces are made for copies; those of others are left alone.
    let namespaces = Api::<Namespace>::all(syncer.rest().clone());
    let shop: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&post, &shop).await.unwrap();
    let bank: Namespace = serde_json::from_value(json!({"metadata": {"name": "bank"}})).unwrap();
    Api::<Namespace>::all(admin.clone()).create(&post, &bank).await.unwrap();
    refused("a namespace", namespaces.delete("bank", &DeleteParams::default()).await);

    // No one else's token, and a new one of its own.
    let accounts = Api::<ServiceAccount>::default_namespaced(syncer.rest().clone());
    let account = serde_json::from_value(json!({"metadata": {"name": "boss"}})).unwrap();
    Api::<ServiceAccount>::default_namespaced(admin.clone()).create(&post, &account).await.unwrap();
    let foreign = accounts.create_token_request("boss", &post, &TokenRequest::default()).await;
    refused("another's token", foreign);
    let renewed = token::request(syncer.rest()).await.unwrap();
    let renewed = token::replace(&joined.kubeconfig, &renewed).unwrap();
    MemberClient::connect(&renewed, &ConnectOptions::default()).await.unwrap();
    assert!(token::TokenLife::of_kubeconfig(&renewed).is_some());

    // Once more changes nothing.
    let again = join(member.kubeconfig()).await;
    assert_eq!(again.uid, joined.uid);

    // What was made goes, by the account that it was made for.
    let left = clean_up(&syncer, "this").await.unwrap();
    assert_eq!(left, Vec::<String>::new());
    let namespaces = Api::<Namespace>::all(admin);
    let system = namespaces.get_opt(SYSTEM_NAMESPACE).await.unwrap();
    assert!(system.is_none_or(|it| it.metadata.deletion_timestamp.is_some()));
}

fn with_kind(mut object: Value) -> Value {
    object["apiVersion"] = "v1".into();
    object["kind"] = "ConfigMap".into();
    object
}

#[tokio::test]
async fn rule_4_8_a_member_has_one_hub() {
    let member = Member::start(MemberOptions::bare("wanted")).await.unwrap();
    let user = UserKubeconfig::read(member.kubeconfig(), None).unwrap();
    let options = ConnectOptions::default();
    let attempt = async |hub: &str, take_over: Option<&str>| {
        let identified = identify(&user, &options).await.unwrap();
        identified.join(&joiner(hub, take_over)).await
    };
    let works = async |joined: &Joined| {
        let client = MemberClient::connect(&joined.kubeconfig, &options).await.unwrap();
        let maps = Api::<ConfigMap>::default_namespaced(client.rest().clone());
        (client, maps.list(&ListParams::default()).await.is_ok())
    };
    let first = attempt("first", None).await.unwrap();
    // The same hub again, as after a restore of its store.
    let first = attempt("first", None).await.map(|_| first).unwrap();

    let refused = attempt("second", None).await.unwrap_err().to_string();
    assert!(refused.contains("another hub, first, which calls it `edge`"), "{refused}");
    let kept = identify(&user, &options).await.unwrap();
    assert!(kept.keep(&joiner("second", None)).await.is_err());
    let (old, answered) = works(&first).await;
    assert!(answered, "a refused join changes nothing");

    let second = attempt("second", Some("first")).await.unwrap();
    assert!(second.notes[0].contains("taken over"), "{:?}", second.notes);
    let (new, answered) = works(&second).await;
    assert!(answered);
    wait::until("the first hub is cut off", SOON, async || {
        let namespaces = Api::<Namespace>::all(old.rest().clone());
        match namespaces.get("default").await {
            Err(kube::Error::Api(status)) if status.code == 401 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // Whoever may still speak for the first hub leaves alone what is the second's.
    let left = clean_up(&new, "first").await.unwrap();
    assert!(left[0].contains("another hub, second"), "{left:?}");
    assert!(works(&second).await.1);
    assert_eq!(clean_up(&new, "second").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_kubeconfig_that_does_not_answer_is_named() {
    let member = Member::start(MemberOptions::bare("gone")).await.unwrap();
    let user = UserKubeconfig::read(member.kubeconfig(), None).unwrap();
    let address = member.address().to_string();
    drop(member);
    let error = identify(&user, &ConnectOptions::default()).await.unwrap_err().to_string();
    assert!(error.contains(&address) && error.contains("refused"), "{error}");
}

/// A hub without anything but its API and the controller under test.
struct Hub {
    client: Client,
    _tasks: tokio::task::JoinSet<()>,
    _dir: tempfile::TempDir,
}

async fn hub() -> Hub {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    let mut options = ShellOptions::new(store, dir.path(), ([127, 0, 0, 1], 0).into());
    options.embedded = federation_types::crds::all();
    let shell = Shell::open(options).await.unwrap();
    let admin = Identity {
        user: "admin".to_owned(),
        groups: vec![ADMIN_GROUP.to_owned(), "system:authenticated".to_owned()],
        ..Identity::default()
    };
    let client = Client::new(shell.server.local(admin), "default");
    let component = Identity::component("providers-controller");
    let own = Client::new(shell.server.local(component), "default");
    for name in ["default", SYSTEM_NAMESPACE] {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let _ = shell.run(None, tokio_util::sync::CancellationToken::new()).await;
    });
    tasks.spawn(providers_controller::run(own, providers_controller::Options::default()));
    Hub { client, _tasks: tasks, _dir: dir }
}

impl Hub {
    async fn add(&self, name: &str, kubeconfig: Vec<u8>) {
        let secret = Secret {
            metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            data: Some([("kubeconfig".to_owned(), ByteString(kubeconfig))].into()),
            ..Secret::default()
        };
        let secrets = Api::<Secret>::namespaced(self.client.clone(), SYSTEM_NAMESPACE);
        secrets.create(&PostParams::default(), &secret).await.unwrap();
        let reference = SecretRef { namespace: SYSTEM_NAMESPACE.to_owned(), name: name.to_owned() };
        let spec = MemberClusterSpec {
            provider: "eks".to_owned(),
            accepted: true,
            connection: Connection {
                kubeconfig: Some(KubeconfigConnection { secret_ref: reference }),
            },
            ..MemberClusterSpec::default()
        };
        let member = MemberCluster::new(name, spec);
        self.members().create(&PostParams::default(), &member).await.unwrap();
    }

    fn members(&self) -> Api<MemberCluster> {
        Api::all(self.client.clone())
    }

    /// Waits until the condition Ready has this reason.
    async fn becomes(&self, name: &str, reason: &str) -> MemberCluster {
        wait::until(&format!("{name} is {reason}"), SOON, async || {
            let member = self.members().get(name).await.map_err(|error| error.to_string())?;
            let conditions =
                member.status.as_ref().map(|it| it.conditions.clone()).unwrap_or_default();
            match condition::find(&conditions, "Ready") {
                Some(it) if it.reason == reason => Ok(member),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

#[tokio::test]
async fn the_hub_knows_of_a_member_what_is_true() {
    let shape = NodeShape::new(2, "m6i.xlarge", "eu-west-1", "eu-west-1a");
    let full = Member::start(MemberOptions::full("full", [shape])).await.unwrap();
    let hub = hub().await;
    hub.add("full", join(full.kubeconfig()).await.kubeconfig).await;
    hub.becomes("full", "Ready").await;
    let status = wait::until("the room is known", SOON, async || {
        let status = hub.members().get("full").await.unwrap().status.unwrap_or_default();
        if status.shapes.is_empty() { Err(status) } else { Ok(status) }
    })
    .await;
    assert_eq!(status.version, "v1.36.3");
    assert!(
        status.apis.binary_search(&"apps/v1/Deployment".to_owned()).is_ok(),
        "{:?}",
        status.apis
    );
    assert!(!status.apis.contains(&"v1/ComponentStatus".to_owned()), "it cannot be created");
    let shape = &status.shapes[0];
    assert_eq!((status.nodes, shape.count, shape.zone.as_str()), (2, 2, "eu-west-1a"));
    assert_eq!(shape.free[0].resources["cpu"], "4");

    // A second member that is the same cluster is held, and names the first.
    hub.add("twin", join(full.kubeconfig()).await.kubeconfig).await;
    let twin = hub.becomes("twin", "DuplicateIdentity").await;
    let conditions = twin.status.unwrap_or_default().conditions;
    assert!(conditions[0].message.contains("`full`"), "{conditions:?}");

    // An idle fleet writes nothing: its resource versions stand still over several probes.
    let versions = async || -> Vec<Option<String>> {
        let list = hub.members().list(&ListParams::default()).await.unwrap();
        list.items.into_iter().map(|it| it.metadata.resource_version).collect()
    };
    let before = versions().await;
    let moved = wait::try_until("something is written", Duration::from_secs(25), async || {
        let now = versions().await;
        if now == before { Err(()) } else { Ok(now) }
    })
    .await;
    assert!(moved.is_err(), "{before:?} became {moved:?}");

    full.client().await.unwrap();
    let (events, options) = (
        Api::<k8s_openapi::api::events::v1::Event>::all(hub.client.clone()),
        ListParams::default(),
    );
    let reasons: Vec<_> =
        events.list(&options).await.unwrap().into_iter().filter_map(|it| it.reason).collect();
    assert!(reasons.iter().any(|it| it == "DuplicateIdentity"), "{reasons:?}");
}

#[tokio::test]
async fn a_sick_member_is_unreachable_alone_and_comes_back() {
    let (mut sick, well) = tokio::try_join!(
        Member::start(MemberOptions::bare("sick")),
        Member::start(MemberOptions::bare("well"))
    )
    .unwrap();
    let hub = hub().await;
    hub.add("sick", join(sick.kubeconfig()).await.kubeconfig).await;
    hub.add("well", join(well.kubeconfig()).await.kubeconfig).await;
    hub.becomes("sick", "Ready").await;
    let well_before = hub.becomes("well", "Ready").await;
    sick.freeze().unwrap();
    let dark = hub.becomes("sick", "Unreachable").await;
    assert!(!dark.status.unwrap_or_default().apis.is_empty(), "what was known stays known");
    let well_after = hub.becomes("well", "Ready").await;
    let since =
        |it: &MemberCluster| it.status.as_ref().unwrap().conditions[0].last_transition_time.clone();
    assert_eq!(since(&well_after), since(&well_before));
    sick.thaw().unwrap();
    hub.becomes("sick", "Ready").await;

    // Credentials that are gone are said to be.
    let secrets = Api::<Secret>::namespaced(hub.client.clone(), SYSTEM_NAMESPACE);
    secrets.delete("well", &DeleteParams::default()).await.unwrap();
    hub.becomes("well", "CredentialsMissing").await;
    let broken = Secret {
        metadata: kube::api::ObjectMeta { name: Some("well".to_owned()), ..Default::default() },
        data: Some([("kubeconfig".to_owned(), ByteString(b"no: kubeconfig".to_vec()))].into()),
        ..Secret::default()
    };
    secrets.create(&PostParams::default(), &broken).await.unwrap();
    hub.becomes("well", "CredentialsInvalid").await;
}

#[tokio::test]
async fn rule_4_8_a_new_cluster_under_an_old_name_is_held() {
    let (first, second) = tokio::try_join!(
        Member::start(MemberOptions::bare("one")),
        Member::start(MemberOptions::bare("two"))
    )
    .unwrap();
    let hub = hub().await;
    hub.add("a", join(first.kubeconfig()).await.kubeconfig).await;
    let uid = hub.becomes("a", "Ready").await.status.unwrap_or_default().uid;
    let other = ByteString(join(second.kubeconfig()).await.kubeconfig);
    let patch = json!({"data": {"kubeconfig": other}});
    Api::<Secret>::namespaced(hub.client.clone(), SYSTEM_NAMESPACE)
        .patch("a", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    let held = hub.becomes("a", "IdentityChanged").await.status.unwrap_or_default();
    assert_eq!(held.uid, uid, "the identity is what it was");
    assert!(held.conditions[0].message.contains(&uid), "{:?}", held.conditions);
}

#[tokio::test]
async fn rule_4_8_leaving_is_refused_while_copies_exist_unless_it_is_said_what_becomes_of_them() {
    let (hub, one, two, three) = tokio::join!(
        federation_tests::Hub::start(),
        Member::start(MemberOptions::bare("one")),
        Member::start(MemberOptions::bare("two")),
        Member::start(MemberOptions::bare("three")),
    );
    let (hub, one, two, three) = (hub.unwrap(), one.unwrap(), two.unwrap(), three.unwrap());
    let refused = async |args: &[&str], word: &str| {
        let output = hub.archipel(args).await;
        assert!(!output.success() && output.stderr.contains(word), "{args:?}: {output:?}");
    };
    let join_refused = async |name: &str, kubeconfig: &Path, word: &str| {
        let kubeconfig = kubeconfig.display().to_string();
        refused(
            &[
                "cluster",
                "join",
                name,
                "--kubeconfig",
                &kubeconfig,
                "--provider",
                "eks",
                "--region",
                "r",
            ],
            word,
        )
        .await;
    };

    // What does not answer leaves nothing behind.
    let silent = one.dir().join("silent");
    let text = std::fs::read_to_string(one.kubeconfig()).unwrap();
    std::fs::write(&silent, text.replace(&one.address().to_string(), "127.0.0.1:1")).unwrap();
    join_refused("silent", &silent, "127.0.0.1:1").await;
    let kubectl = hub.kubectl();
    let secrets = kubectl.ok(["get", "secrets", "-n", "archipel-system", "-o", "name"]).await;
    assert!(!secrets.contains("member-silent"), "{secrets}");
    assert_eq!(kubectl.ok(["get", "memberclusters", "-o", "name"]).await, "");

    hub.join(&one, "eks", "eu-west-1", &[]).await;
    hub.join(&two, "gke", "europe-west1", &[]).await;
    hub.join(&three, "gke", "europe-west4", &[]).await;
    join_refused("again", one.kubeconfig(), "`one`").await;

    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: all, namespace: default}
spec: {selectors: [{apiVersion: v1, kind: ConfigMap, name: app}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: default}
data: {a: b}
"#,
        )
        .await;
    let of_one = Api::<ConfigMap>::default_namespaced(one.client().await.unwrap());
    let of_two = Api::<ConfigMap>::default_namespaced(two.client().await.unwrap());
    for map in [&of_one, &of_two] {
        wait::until("the copy is there", SOON, async || map.get("app").await.map(drop)).await;
    }

    // A copy that the hub knows nothing of.
    let copy_of = of_one.get("app").await.unwrap().metadata.annotations.unwrap();
    let hub_uid = copy_of[COPY_OF_ANNOTATION].split('/').next().unwrap().to_owned();
    let mut ghost = config_map("ghost", true);
    let mark = format!("{hub_uid}//ConfigMap/default/ghost/uid");
    ghost.metadata.annotations.as_mut().unwrap().insert(COPY_OF_ANNOTATION.to_owned(), mark);
    of_one.create(&PostParams::default(), &ghost).await.unwrap();

    refused(&["cluster", "leave", "one"], "holds 1 copy").await;
    hub.archipel_ok(&["cluster", "leave", "one", "--orphan", "--timeout", "60"]).await;
    for name in ["app", "ghost"] {
        let orphan = of_one.get(name).await.unwrap().metadata;
        assert!(!orphan.labels.unwrap_or_default().contains_key(MANAGED_LABEL), "{name}");
        assert!(!orphan.annotations.unwrap_or_default().contains_key(COPY_OF_ANNOTATION), "{name}");
    }
    let listed = hub.archipel_ok(&["cluster", "list"]).await;
    assert!(!listed.contains("one ") && listed.contains("two "), "{listed}");

    hub.archipel_ok(&["cluster", "leave", "two", "--forget"]).await;
    assert!(of_two.get("app").await.is_ok(), "a cluster that is forgotten is not touched");
    let secrets = kubectl.ok(["get", "secrets", "-n", "archipel-system", "-o", "name"]).await;
    assert_eq!(secrets.matches("member-").count(), 1, "{secrets}");
}
