//! Watches: every change once, in order, as the selector sees it.

use std::collections::VecDeque;

use federation_server::{body::ResponseBody, identity::Identity};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use serde_json::{Value, json};

use crate::harness::*;

struct Watch {
    body: ResponseBody,
    lines: VecDeque<Value>,
}

impl Watch {
    async fn start(api: &Api, uri: &str) -> Self {
        Self::accepting(api, uri, "application/json").await
    }

    async fn accepting(api: &Api, uri: &str, accept: &str) -> Self {
        let request =
            Request::get(uri).header("accept", accept).body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = api.server.handle(Identity::default(), request).await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), lines: VecDeque::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        while self.lines.is_empty() {
            let chunk = self.body.frame().await?.unwrap().into_data().unwrap();
            for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                self.lines.push_back(serde_json::from_slice(line).unwrap());
            }
        }
        self.lines.pop_front()
    }

    async fn shown(&mut self) -> String {
        let event = self.next().await.unwrap();
        let kind = event["type"].as_str().unwrap();
        format!("{kind} {}", event["object"]["metadata"]["name"].as_str().unwrap_or_default())
    }
}

#[tokio::test]
async fn changes_are_told_from_a_revision_on() {
    let api = Api::new().await;
    api.post(MAPS, &map("a")).await.ok();
    let list = api.get(MAPS).await.ok();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch =
        Watch::start(&api, &format!("{MAPS}?watch=true&resourceVersion={version}")).await;
    api.post(MAPS, &map("b")).await.ok();
    let changed = api
        .patch(&format!("{MAPS}/a"), "merge-patch+json", &json!({"data": {"a": "2"}}))
        .await
        .ok();
    api.delete(&format!("{MAPS}/b"), &Value::Null).await.ok();
    assert_eq!(watch.shown().await, "ADDED b");
    assert_eq!(watch.next().await.unwrap(), json!({"type": "MODIFIED", "object": changed}));
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    let newest = api.server.store().revision().to_string();
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], newest);
}

#[tokio::test]
async fn without_a_revision_the_state_comes_first() {
    let api = Api::new().await;
    api.post(MAPS, &map("a")).await.ok();
    let mut watch = Watch::start(&api, &format!("{MAPS}?watch=1")).await;
    api.post(MAPS, &map("b")).await.ok();
    assert_eq!(
        (watch.shown().await, watch.shown().await),
        ("ADDED a".to_owned(), "ADDED b".to_owned())
    );
}

#[tokio::test]
async fn a_streamed_list_ends_with_its_bookmark() {
    let api = Api::new().await;
    api.post(MAPS, &map("a")).await.ok();
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::start(&api, &format!("{MAPS}?{query}")).await;
    assert_eq!(watch.shown().await, "ADDED a");
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    api.post(MAPS, &map("b")).await.ok();
    assert_eq!(watch.shown().await, "ADDED b");
    api.get(&format!("{MAPS}?watch=true&sendInitialEvents=true")).await.refused(422, "Invalid");
    api.get(&format!("{MAPS}?watch=true&resourceVersionMatch=Exact")).await.refused(422, "Invalid");
}

#[tokio::test]
async fn a_selector_sees_objects_come_and_go() {
    let api = Api::new().await;
    let mut watch =
        Watch::start(&api, &format!("{MAPS}?watch=true&labelSelector=on%3Dyes&resourceVersion=1"))
            .await;
    let label = async |value: Value| {
        let patch = json!({"metadata": {"labels": {"on": value}}, "data": {"a": "x"}});
        api.patch(&format!("{MAPS}/a"), "merge-patch+json", &patch).await.ok();
    };
    api.post(MAPS, &map("a")).await.ok();
    label("yes".into()).await;
    label("no".into()).await;
    label("yes".into()).await;
    api.delete(&format!("{MAPS}/a"), &Value::Null).await.ok();
    assert_eq!(watch.shown().await, "ADDED a");
    let left = watch.next().await.unwrap();
    assert_eq!(
        (&left["type"], &left["object"]["metadata"]["labels"]["on"]),
        (&"DELETED".into(), &"yes".into())
    );
    assert_eq!(watch.shown().await, "ADDED a");
    assert_eq!(watch.shown().await, "DELETED a");
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_its_timeout_after_a_bookmark() {
    let api = Api::new().await;
    let uri = format!("{MAPS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=90");
    let mut watch = Watch::start(&api, &uri).await;
    for _ in 0..2 {
        assert_eq!(watch.next().await.unwrap()["type"], "BOOKMARK");
    }
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn one_event_is_serialised_once_for_all_watches_of_a_form() {
    let api = Api::new().await;
    let mut watches = Vec::new();
    for _ in 0..20 {
        watches.push(Watch::start(&api, &format!("{MAPS}?watch=true&resourceVersion=1")).await);
    }
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut of_tables =
        Watch::accepting(&api, &format!("{MAPS}?watch=true&resourceVersion=1"), table).await;
    let before = api.server.events_serialised();
    api.post(MAPS, &map("a")).await.ok();
    for watch in &mut watches {
        assert_eq!(watch.shown().await, "ADDED a");
    }
    assert_eq!(api.server.events_serialised() - before, 1);
    let row = of_tables.next().await.unwrap();
    assert_eq!(row["object"]["rows"][0]["cells"][0], "a");
    assert_eq!(api.server.events_serialised() - before, 2);
}

#[tokio::test]
async fn one_object_is_watched_by_its_name() {
    let api = Api::new().await;
    let uri = format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Da&resourceVersion=1");
    let mut watch = Watch::start(&api, &uri).await;
    for name in ["aa", "b", "a"] {
        api.post(MAPS, &map(name)).await.ok();
    }
    assert_eq!(watch.shown().await, "ADDED a");
}
