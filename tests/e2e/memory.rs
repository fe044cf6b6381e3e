//! What the hub has forgotten, or no longer sees, is no reason to remove anything (RULES 1.2, 1.4, 4.3).

use std::{path::Path, time::Duration};

use federation_tests::{Hub, Kubectl, Member, MemberOptions, wait};
use serde_json::Value;

use crate::{
    fleet::{SOON, clusters, copy_is, deployment, get, policy, seen},
    relay::Relay,
};

const WEB: [&str; 4] = ["deploy", "web", "-n", "default"];
const PLACEMENT: [&str; 4] = ["placement", "deployment-web", "-n", "default"];
/// Until a member that is silent counts as dark.
const DARK: Duration = Duration::from_secs(90);

fn on(member: &Member) -> Kubectl {
    Kubectl::new(member.kubeconfig()).unwrap()
}

/// Waits until an object is as the probe wants it.
async fn shows(
    kubectl: &Kubectl,
    what: &str,
    args: &[&str],
    probe: impl Fn(&Value) -> Result<(), String>,
) -> Value {
    wait::until(what, SOON, async || {
        let object = get(kubectl, args).await.ok_or("it is not there")?;
        probe(&object).map(|()| object)
    })
    .await
}

async fn arrives(member: &Member, args: &[&str]) -> Value {
    shows(&on(member), &format!("{args:?} in {}", member.name()), args, |_| Ok(())).await
}

fn image_is(tag: &str) -> impl Fn(&Value) -> Result<(), String> {
    let image = format!("registry.example/web:{tag}");
    move |it| {
        let found = &it["spec"]["template"]["spec"]["containers"][0]["image"];
        seen(*found == *image, found)
    }
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

fn copy_dir(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_4_3_a_member_newer_than_the_hubs_store_is_only_observed_until_it_is_resumed() {
    let (hub, one) = tokio::join!(Hub::start(), Member::start(MemberOptions::bare("one")));
    let (mut hub, one) = (hub.unwrap(), one.unwrap());
    hub.join(&one, "onprem", "here", &[]).await;
    let kubectl = hub.kubectl();
    kubectl.apply(&policy("default", "web", "")).await;
    kubectl.apply(&policy("default", "newer", "")).await;
    kubectl.apply(&deployment("default", "web", 1)).await;
    let first = arrives(&one, &WEB).await;

    // A backup; what comes after it is lost.
    let (data, backup) = (hub.dir().join("data"), hub.dir().join("backup"));
    hub.kill().unwrap();
    copy_dir(&data, &backup);
    hub.restart().await.unwrap();
    kubectl.ok(["set", "image", "deploy/web", "web=registry.example/web:2.0"]).await;
    kubectl.apply(&deployment("default", "newer", 1)).await;
    shows(&on(&one), "the new image", &WEB, image_is("2.0")).await;
    arrives(&one, &["deploy", "newer", "-n", "default"]).await;
    hub.kill().unwrap();
    copy_dir(&backup, &data);
    hub.restart().await.unwrap();

    let member = ["membercluster", "one"];
    let paused = shows(&kubectl, "the pause", &member, |it| {
        let conditions = it["status"]["conditions"].as_array();
        let told = conditions.into_iter().flatten().any(|it| {
            it["type"] == "SyncPaused"
                && it["status"] == "True"
                && it["reason"] == "HubOlderThanMember"
        });
        seen(told, &it["status"]["conditions"])
    })
    .await;
    assert!(paused.to_string().contains("web"), "the object is named: {}", paused["status"]);
    // What the hub wants now waits.
    kubectl.ok(["scale", "deploy/web", "--replicas=2"]).await;
    shows(&kubectl, "the write that waits", &PLACEMENT, |it| copy_is(it, "one", "Held")).await;
    let status = hub.archipel_ok(&["status"]).await;
    assert!(status.contains("paused") && status.contains("cluster resume"), "{status}");
    let listed = hub.archipel_ok(&["cluster", "list", "-o", "wide"]).await;
    assert!(listed.contains("paused"), "{listed}");
    // It survives a restart, and so does what the member holds.
    hub.restart().await.unwrap();
    shows(&kubectl, "the pause after a restart", &PLACEMENT, |it| copy_is(it, "one", "Held")).await;
    let held = arrives(&one, &WEB).await;
    assert_eq!(held["spec"]["replicas"], 1, "nothing is written");
    assert_eq!(image_is("2.0")(&held), Ok(()));

    let resumed = hub.archipel(&["cluster", "resume", "one"]).await;
    assert!(resumed.success(), "{resumed:?}");
    let written = shows(&on(&one), "the hub's image", &WEB, image_is("1.0")).await;
    assert_eq!(written["spec"]["replicas"], 2);
    assert_eq!(uid(&written), uid(&first), "written, not made again");
    // What the hub knows nothing of is reported, and left.
    wait::until("the unknown copy", SOON, async || {
        let listed = hub.archipel_ok(&["orphans", "list"]).await;
        if listed.contains("Deployment default/newer") { Ok(()) } else { Err(listed) }
    })
    .await;
    arrives(&one, &["deploy", "newer", "-n", "default"]).await;
    let again = hub.archipel_ok(&["cluster", "resume", "one"]).await;
    assert!(again.contains("nothing to resume"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_1_2_what_vanishes_or_serves_nothing_or_goes_dark_loses_no_copy() {
    let (hub, one, two) = tokio::join!(
        Hub::start(),
        Member::start(MemberOptions::bare("one")),
        Member::start(MemberOptions::bare("two")),
    );
    let (mut hub, mut one, mut two) = (hub.unwrap(), one.unwrap(), two.unwrap());
    let relay = Relay::start(&two).await;
    hub.join(&one, "eks", "eu-west-1", &[]).await;
    let relayed = relay.kubeconfig().display().to_string();
    let join = ["cluster", "join", "two", "--kubeconfig", &relayed, "--provider", "gke"];
    let join = [join.as_slice(), &["--region", "europe-west3", "--keep-credentials"]].concat();
    hub.archipel_ok(&join).await;
    let kubectl = hub.kubectl();
    kubectl.apply(&policy("default", "web", "")).await;
    kubectl.apply(&policy("default", "later", "")).await;
    kubectl.apply(&deployment("default", "web", 1)).await;
    let uids = [uid(&arrives(&one, &WEB).await), uid(&arrives(&two, &WEB).await)];
    let unmoved = async |one: &Member, two: &Member, hub: &Hub| {
        let now = [uid(&arrives(one, &WEB).await), uid(&arrives(two, &WEB).await)];
        assert_eq!(now, uids);
        let placement = get(&hub.kubectl(), &PLACEMENT).await.unwrap();
        assert_eq!(clusters(&placement), "one two", "{}", placement["spec"]);
        assert_eq!(placement["spec"]["removing"], Value::Null);
    };

    // Discovery is empty: all that is known of the member stays known.
    let apis = |it: &Value| it["status"]["apis"].as_array().map_or(0, Vec::len);
    let before = apis(&get(&kubectl, &["membercluster", "two"]).await.unwrap());
    assert!(before > 10);
    relay.serve_nothing(true);
    hub.restart().await.unwrap();
    wait::until("the member was asked what it serves", SOON, async || {
        if relay.emptied() >= 2 { Ok(()) } else { Err(relay.emptied()) }
    })
    .await;
    // Decided and written after that.
    kubectl.apply(&deployment("default", "later", 1)).await;
    arrives(&one, &["deploy", "later", "-n", "default"]).await;
    assert_eq!(apis(&get(&kubectl, &["membercluster", "two"]).await.unwrap()), before);
    unmoved(&one, &two, &hub).await;
    relay.serve_nothing(false);
    hub.restart().await.unwrap();
    arrives(&two, &["deploy", "later", "-n", "default"]).await;

    // None answers: the hub takes itself for cut off, and changes nothing.
    one.freeze().unwrap();
    two.freeze().unwrap();
    for name in ["one", "two"] {
        wait::until(&format!("{name} is dark"), DARK, async || {
            let member = get(&kubectl, &["membercluster", name]).await.unwrap();
            let dark = member["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|it| it["type"] == "Ready" && it["status"] == "False");
            seen(dark, &member["status"]["conditions"])
        })
        .await;
    }
    kubectl.apply(&policy("default", "web", "  affinities: [{clusters: {names: [one]}}]")).await;
    kubectl.ok(["delete", "deploy/later", "-n", "default", "--wait=false"]).await;
    let later = ["placement", "deployment-later", "-n", "default"];
    let held = shows(&kubectl, "a fleet that is dark", &later, |it| {
        seen(it["spec"]["outcome"]["reason"] == "FleetDark", &it["spec"])
    })
    .await;
    assert_eq!(clusters(&held), "one! two!", "{}", held["spec"]);
    assert_eq!(held["spec"]["removing"], Value::Null, "{}", held["spec"]);
    let status = hub.archipel_ok(&["status"]).await;
    assert!(status.contains("cut off"), "{status}");
    let why = hub.archipel_ok(&["why", "deploy/web"]).await;
    assert!(why.contains("cut off"), "{why}");
    kubectl.apply(&policy("default", "web", "")).await;
    one.thaw().unwrap();
    two.thaw().unwrap();
    // What was asked for meanwhile is done, and nothing else.
    for member in [&one, &two] {
        wait::until(&format!("later gone from {}", member.name()), DARK, async || {
            let left = get(&on(member), &["deploy", "later", "-n", "default"]).await;
            left.map_or(Ok(()), |it| Err(it["metadata"].to_string()))
        })
        .await;
    }
    unmoved(&one, &two, &hub).await;

    // A cluster goes from the inventory: its copies are held, and that is said.
    // Torn out, past all that asks for leave: without the finalizer nobody says good-bye to it.
    let torn =
        r#"{"metadata":{"finalizers":null,"annotations":{"archipel.dev/allow-delete":"true"}}}"#;
    kubectl.ok(["patch", "membercluster", "two", "--type=merge", "-p", torn]).await;
    kubectl.ok(["delete", "membercluster", "two", "--timeout=60s"]).await;
    let held = shows(&kubectl, "what is held", &PLACEMENT, |it| {
        let copy = crate::fleet::copy(it, "two").cloned().unwrap_or_default();
        let told = copy["message"].as_str().is_some_and(|it| it.contains("inventory"));
        seen(told, &it["status"])
    })
    .await;
    let status = hub.archipel_ok(&["status"]).await;
    assert!(status.contains("two") && status.contains("inventory"), "{status}");
    let why = hub.archipel_ok(&["why", "deploy/web"]).await;
    assert!(why.contains("two") && why.contains("inventory"), "{why}");
    assert_eq!(crate::fleet::copy(&held, "one").unwrap()["stale"], Value::Null);
    unmoved(&one, &two, &hub).await;
    // It joins again, and finds its own.
    hub.archipel_ok(&join).await;
    shows(&kubectl, "both again", &PLACEMENT, |it| {
        let copy = crate::fleet::copy(it, "two").cloned().unwrap_or_default();
        seen(!copy["message"].as_str().unwrap_or_default().contains("inventory"), &copy)
    })
    .await;
    unmoved(&one, &two, &hub).await;
}
