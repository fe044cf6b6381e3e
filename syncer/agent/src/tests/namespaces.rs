//! Namespaces that came with copies, and how they go (RULES 4.4).

use serde_json::{Value, json};

use super::{Side, World, until};

const SHOP: &str = "/api/v1/namespaces/shop";
const PLACEMENTS: &str = "/apis/archipel.dev/v1alpha1/namespaces/shop/placements";

impl Side {
    /// Deletes a namespace to the end, as its life cycle would once it is empty.
    async fn delete_namespace(&self, name: &str) {
        let path = format!("/api/v1/namespaces/{name}");
        let gone = self.send("DELETE", &path, "application/json", &Value::Null).await;
        gone.expect("it was there");
        let mut namespace = self.get(&path).await.expect("it is terminating");
        namespace["spec"]["finalizers"] = json!([]);
        let finalize = format!("{path}/finalize");
        let done = self.send("PUT", &finalize, "application/json", &namespace).await;
        done.expect("finalized");
    }

    /// Whether the namespace is gone or going.
    async fn is_going(&self, path: &str) -> bool {
        let namespace = self.get(path).await;
        namespace.is_none_or(|it| !it["metadata"]["deletionTimestamp"].is_null())
    }

    async fn drop(&self, path: &str) {
        let gone = self.send("DELETE", path, "application/json", &Value::Null).await;
        gone.expect("it was there");
    }
}

impl World {
    /// Places a ConfigMap in these members, waits for it, and takes it away again, Placement and all.
    async fn come_and_go(&self, name: &str, members: &[&'static str]) {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "shop"}, "data": {"a": "b"},
        });
        let map = self.hub.create("/api/v1/namespaces/shop/configmaps", &map).await;
        let placed: Vec<Value> = members.iter().map(|it| json!({"name": it})).collect();
        self.place(&map, &json!(placed), &json!({})).await;
        let path = format!("{SHOP}/configmaps/{name}");
        for member in members {
            until("the copy is written", async || self.member(member).get(&path).await.is_some())
                .await;
        }
        let since = "2026-01-01T00:00:00Z";
        let removing: Vec<Value> = members
            .iter()
            .map(|it| json!({"name": it, "cause": "TemplateDeleted", "since": since}))
            .collect();
        self.place(&map, &json!([]), &json!({ "removing": removing })).await;
        for member in members {
            until("the copy is gone", async || self.member(member).get(&path).await.is_none())
                .await;
        }
        self.hub.drop(&path).await;
        self.hub.drop(&format!("{PLACEMENTS}/configmap-{name}")).await;
    }

    /// Waits until the member's unknown copies are these.
    async fn unknown(&self, member: &str, expected: &Value) {
        let path = format!("/apis/archipel.dev/v1alpha1/memberclusters/{member}");
        until("the unknown copies are told", async || {
            let cluster = self.hub.get(&path).await.unwrap_or_default();
            cluster["status"]["unknownCopies"] == *expected
        })
        .await;
    }
}

#[tokio::test]
async fn rule_4_4_a_namespace_we_made_goes_with_the_hubs_own_and_only_if_nothing_is_in_it() {
    let world = World::new(&["a", "b", "c"]).await;
    // Somebody's before we came.
    world.member("c").create("/api/v1/namespaces", &json!({"metadata": {"name": "shop"}})).await;
    world.come_and_go("one", &["a", "b", "c"]).await;
    let theirs = json!({"metadata": {"name": "theirs", "namespace": "shop"}});
    world.member("b").create("/api/v1/namespaces/shop/configmaps", &theirs).await;
    // What every namespace is given, and what only tells.
    let given = [
        ("configmaps", json!({"metadata": {"name": "kube-root-ca.crt"}})),
        ("serviceaccounts", json!({"metadata": {"name": "default"}})),
    ];
    for (plural, object) in given {
        world.member("a").create(&format!("{SHOP}/{plural}"), &object).await;
    }

    // The last copy left, and the namespace is wanted still.
    world.come_and_go("two", &["a", "b"]).await;
    for member in ["a", "b", "c"] {
        assert!(!world.member(member).is_going(SHOP).await, "{member}");
    }
    assert_eq!(world.counts().get("delete"), Some(&5), "copies only");

    world.hub.delete_namespace("shop").await;
    until("the empty one goes", async || world.member("a").is_going(SHOP).await).await;
    world.member("b").drop(&format!("{SHOP}/configmaps/theirs")).await;
    until("it goes once nothing is in it", async || world.member("b").is_going(SHOP).await).await;
    let left = world.member("c").get(SHOP).await.expect("theirs");
    assert_eq!(left["metadata"]["deletionTimestamp"], Value::Null, "we did not make it");
    assert_eq!(world.counts().get("delete"), Some(&7));
}

#[tokio::test]
async fn rule_4_4_a_namespace_with_anything_of_anybodys_in_it_stays() {
    let world = World::new(&["a", "b"]).await;
    world.come_and_go("one", &["a", "b"]).await;
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "shop"},
    });
    world.member("a").create(&format!("{SHOP}/secrets"), &token).await;
    world.hub.delete_namespace("shop").await;
    until("the other one goes", async || world.member("b").is_going(SHOP).await).await;
    world.unknown("a", &json!(["Namespace shop"])).await;
    assert!(!world.member("a").is_going(SHOP).await);
    assert!(world.member("a").get(&format!("{SHOP}/secrets/token")).await.is_some());

    // Made again on the hub, it is one of ours again, and stays.
    let again = json!({"metadata": {"name": "shop", "labels": {"team": "again"}}});
    world.hub.create("/api/v1/namespaces", &again).await;
    world.unknown("a", &Value::Null).await;
    world.member("a").drop(&format!("{SHOP}/secrets/token")).await;
    world.come_and_go("three", &["a"]).await;
    assert!(!world.member("a").is_going(SHOP).await);
}

#[tokio::test]
async fn rule_4_4_a_namespace_that_the_hub_merely_does_not_know_stays() {
    let mut world = World::new(&["a"]).await;
    world.come_and_go("one", &["a"]).await;
    // As with a store that was restored from before the namespace was made: nobody saw it go.
    world.syncer.abort();
    assert!((&mut world.syncer).await.is_err_and(|it| it.is_cancelled()));
    world.hub.delete_namespace("shop").await;
    world.restart();
    world.unknown("a", &json!(["Namespace shop"])).await;
    assert!(!world.member("a").is_going(SHOP).await);
    assert_eq!(world.counts().get("delete"), None);
}
