//! A member that holds later generations than the hub's store (RULES 4.3).

use serde_json::{Value, json};

use super::{DEPLOYMENT, World, until};

const MEMBER: &str = "/apis/archipel.dev/v1alpha1/memberclusters/a";

impl World {
    async fn condition(&self, kind: &str) -> Option<Value> {
        let member = self.hub.get(MEMBER).await?;
        let conditions = member["status"]["conditions"].as_array()?;
        conditions.iter().find(|it| it["type"] == kind).cloned()
    }

    async fn is_paused(&self, status: &str) -> bool {
        self.condition("SyncPaused").await.is_some_and(|it| it["status"] == status)
    }

    /// Places a ConfigMap in `a`.
    async fn place_map(&self, name: &str) {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "shop"}, "data": {"a": "b"},
        });
        let map = self.hub.create("/api/v1/namespaces/shop/configmaps", &map).await;
        self.place(&map, &json!([{"name": "a"}]), &json!({})).await;
    }

    async fn has_map(&self, name: &str) -> bool {
        let path = format!("/api/v1/namespaces/shop/configmaps/{name}");
        self.member("a").get(&path).await.is_some()
    }

    /// Whether a ConfigMap's copy is held as the member is only observed.
    async fn is_held(&self, name: &str) -> bool {
        let base = "/apis/archipel.dev/v1alpha1/namespaces/shop/placements";
        let placement = self.hub.get(&format!("{base}/configmap-{name}")).await.unwrap_or_default();
        let copy = placement["status"]["clusters"][0].clone();
        copy["state"] == "Held" && copy["reason"] == "ObserveOnly"
    }
}

#[tokio::test]
async fn rule_4_3_a_member_newer_than_the_hub_is_only_observed_until_it_is_resumed() {
    let mut world = World::new(&["a"]).await;
    let ready = json!([{
        "type": "Ready", "status": "True", "reason": "Ready", "message": "it answers",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let status = json!({"status": {"conditions": ready}});
    world.hub.merge(&format!("{MEMBER}/status"), &status).await;
    let template = world.apply_web().await;
    world.place(&template, &json!([{"name": "a", "replicas": 1}]), &json!({})).await;
    until("the copy is written", async || world.is_synced().await).await;
    assert_eq!(world.condition("SyncPaused").await, None);

    // What a hub wrote whose store was lost since.
    let newer = json!({
        "metadata": {"annotations": {"archipel.dev/revision": "later/99/digest"}},
        "spec": {"replicas": 9},
    });
    world.member("a").merge(DEPLOYMENT, &newer).await;
    until("the member is paused", async || world.is_paused("True").await).await;
    let paused = world.condition("SyncPaused").await.expect("there");
    assert_eq!(paused["reason"], "HubOlderThanMember");
    let message = paused["message"].as_str().expect("a message");
    for part in ["shop/web", "generation 99", "generation 1"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert_eq!(world.condition("Ready").await, Some(ready[0].clone()));
    until("an event says so", async || {
        let events = world.hub.get("/api/v1/namespaces/default/events").await.unwrap_or_default();
        events["items"].as_array().is_some_and(|it| {
            it.iter().any(|it| {
                it["reason"] == "HubOlderThanMember" && it["involvedObject"]["name"] == "a"
            })
        })
    })
    .await;
    let held = Some(("Held".to_owned(), "ObserveOnly".to_owned()));
    until("the copy is held", async || world.copy("a").await == held).await;
    world.place_map("one").await;
    until("other copies are held", async || world.is_held("one").await).await;

    // The next process of the hub knows it by the condition.
    world.restart();
    world.place_map("two").await;
    until("it is held after a restart", async || world.is_held("two").await).await;
    assert_eq!(world.condition("SyncPaused").await, Some(paused));

    // One that does not know it finds out before it writes anything.
    world.syncer.abort();
    assert!((&mut world.syncer).await.is_err_and(|it| it.is_cancelled()));
    world.hub.merge(&format!("{MEMBER}/status"), &status).await;
    assert_eq!(world.condition("SyncPaused").await, None);
    world.restart();
    until("it is paused again", async || world.is_paused("True").await).await;
    world.place_map("three").await;
    until("it is held anew", async || world.is_held("three").await).await;
    assert!(!world.has_map("one").await && !world.has_map("two").await);
    assert_eq!(world.counts().iter().find(|it| *it.0 != "status"), None);
    let copy = world.member("a").get(DEPLOYMENT).await.expect("there");
    assert_eq!(copy["spec"]["replicas"], 9);

    let resume = |at: &str| json!({"metadata": {"annotations": {"archipel.dev/resume": at}}});
    world.hub.merge(MEMBER, &resume("2020-01-01T00:00:00Z")).await;
    world.place_map("four").await;
    until("an earlier time does not count", async || world.is_held("four").await).await;
    assert!(world.is_paused("True").await);
    world.hub.merge(MEMBER, &resume(&jiff::Timestamp::now().to_string())).await;
    until("it is resumed", async || world.is_paused("False").await).await;
    until("the hub's state is written", async || {
        let copy = world.member("a").get(DEPLOYMENT).await.expect("there");
        copy["spec"]["replicas"] == 1 && world.is_synced().await
    })
    .await;
    until("what was held is written", async || {
        world.has_map("one").await && world.has_map("two").await && world.has_map("four").await
    })
    .await;
    assert_eq!(world.condition("Ready").await, Some(ready[0].clone()));

    world.restart();
    world.place_map("five").await;
    until("it is written after a restart", async || world.has_map("five").await).await;
    assert!(world.is_paused("False").await);
}

#[tokio::test]
async fn rule_4_3_a_scale_that_the_hubs_store_has_lost_is_not_set_back() {
    let mut world = World::new(&["a"]).await;
    let template = world.apply_web().await;
    world.place(&template, &json!([{"name": "a", "replicas": 1}]), &json!({})).await;
    until("the copy is written", async || world.is_synced().await).await;
    let replicas = async |world: &World| {
        world.member("a").get(DEPLOYMENT).await.expect("there")["spec"]["replicas"].clone()
    };
    let mark = async |world: &World| {
        let copy = world.member("a").get(DEPLOYMENT).await.expect("there");
        let mark = copy["metadata"]["annotations"]["archipel.dev/revision"].as_str();
        mark.expect("a mark").to_owned()
    };
    let before = mark(&world).await;
    assert!(before.ends_with(".1"), "of the Placement's first generation: {before}");

    // What a hub wrote that was scaled after its store was saved: no other revision, another generation of the Placement.
    world.syncer.abort();
    assert!((&mut world.syncer).await.is_err_and(|it| it.is_cancelled()));
    let later = before.strip_suffix(".1").map(|it| format!("{it}.2")).expect("it ends so");
    let scaled = json!({
        "metadata": {"annotations": {"archipel.dev/revision": later}}, "spec": {"replicas": 5},
    });
    world.member("a").merge(DEPLOYMENT, &scaled).await;
    world.restart();
    until("the member is paused", async || world.is_paused("True").await).await;
    let held = Some(("Held".to_owned(), "ObserveOnly".to_owned()));
    until("the copy is held", async || world.copy("a").await == held).await;
    assert_eq!(replicas(&world).await, 5);
    let message = world.condition("SyncPaused").await.expect("there")["message"].clone();
    let message = message.as_str().expect("a message");
    assert!(message.contains("generation 2") && message.contains("generation 1"), "{message}");

    let resume = jiff::Timestamp::now().to_string();
    let resume = json!({"metadata": {"annotations": {"archipel.dev/resume": resume}}});
    world.hub.merge(MEMBER, &resume).await;
    until("the hub's state is written", async || replicas(&world).await == 1).await;
    until("the mark is the hub's again", async || mark(&world).await == before).await;

    // A later generation that asks for nothing else is no reason to write, and no drift.
    until("it is synced", async || world.is_synced().await).await;
    let writes = world.counts().get("apply").copied();
    let outcome = json!({"outcome": {"status": "True", "reason": "Placed", "message": "again"}});
    world.place(&template, &json!([{"name": "a", "replicas": 1}]), &outcome).await;
    world.place_map("after").await;
    until("it is seen", async || world.is_synced().await && world.has_map("after").await).await;
    world.member("a").merge(DEPLOYMENT, &json!({"metadata": {"labels": {"theirs": "x"}}})).await;
    world.place_map("later").await;
    until("it is seen again", async || world.is_synced().await && world.has_map("later").await)
        .await;
    assert_eq!((mark(&world).await, world.counts().get("apply").copied()), (before, writes));
}
