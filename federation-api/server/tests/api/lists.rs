//! Lists: selectors, pages, revisions, tables.

use serde_json::{Value, json};

use crate::harness::*;

async fn five() -> Api {
    let api = Api::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        let mut body = map(name);
        body["metadata"]["labels"] = json!({"odd": (name.as_bytes()[0] % 2 == 1).to_string()});
        api.post(MAPS, &body).await.ok();
    }
    api
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn selectors_select() {
    let api = five().await;
    let select = async |query: &str| {
        let list = api.get(&format!("/api/v1/configmaps?{query}")).await.ok();
        names(&list).join(" ")
    };
    assert_eq!(select("").await, "a b c d e");
    assert_eq!(select("labelSelector=odd%3Dtrue").await, "a c e");
    assert_eq!(select("labelSelector=odd+notin+(true)").await, "b d");
    assert_eq!(select("fieldSelector=metadata.name%3Dc").await, "c");
    assert_eq!(
        select("fieldSelector=metadata.name!%3Dc,metadata.namespace%3Ddefault").await,
        "a b d e"
    );
    api.get(&format!("{MAPS}?fieldSelector=data.a%3D1")).await.refused(400, "BadRequest");
    api.get(&format!("{MAPS}?labelSelector=%3D%3D")).await.refused(400, "BadRequest");
    let namespaces = api.get("/api/v1/namespaces?fieldSelector=status.phase%3DActive").await.ok();
    assert_eq!(names(&namespaces), ["default"]);
}

#[tokio::test]
async fn pages_are_all_of_one_revision() {
    let api = five().await;
    let first = api.get(&format!("{MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    api.post(MAPS, &map("aa")).await.ok();
    api.delete(&format!("{MAPS}/d"), &Value::Null).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&third), ["e"]);
    assert_eq!(third["metadata"].get("continue"), None);
    let odd = api.get(&format!("{MAPS}?limit=2&labelSelector=odd%3Dtrue")).await.ok();
    assert_eq!(names(&odd), ["a", "c"]);
    assert_eq!(odd["metadata"].get("remainingItemCount"), None);
}

#[tokio::test]
async fn resource_versions_choose_the_state() {
    let api = five().await;
    let then = api.get(MAPS).await.ok();
    let version = then["metadata"]["resourceVersion"].as_str().unwrap();
    api.post(MAPS, &map("f")).await.ok();
    let count = async |query: String| names(&api.get(&format!("{MAPS}?{query}")).await.ok()).len();
    assert_eq!(count(format!("resourceVersion={version}&resourceVersionMatch=Exact")).await, 5);
    assert_eq!(count(format!("resourceVersion={version}")).await, 6);
    assert_eq!(count("resourceVersion=0&limit=1".to_owned()).await, 6);
    for query in [
        "resourceVersionMatch=Exact",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "resourceVersion=5&resourceVersionMatch=Sometimes",
        "sendInitialEvents=true",
    ] {
        api.get(&format!("{MAPS}?{query}")).await.refused(422, "Invalid");
    }
    api.get(&format!("{MAPS}?resourceVersion=x")).await.refused(400, "BadRequest");
    api.get(&format!("{MAPS}?continue=x")).await.refused(400, "BadRequest");
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_not_there_yet_times_out() {
    let api = five().await;
    let status = api.get(&format!("{MAPS}?resourceVersion=1000000")).await.refused(504, "Timeout");
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_expired_page_can_go_on_inconsistently() {
    let api = five().await;
    let first = api.get(&format!("{MAPS}?limit=2")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    api.post(MAPS, &map("bb")).await.ok();
    // Superseded revisions are dropped once they are older than the window.
    for _ in 0..3 {
        tokio::time::advance(std::time::Duration::from_mins(6)).await;
        api.server.store().compact().await.unwrap();
    }
    let status = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.refused(410, "Expired");
    let fresh = status["metadata"]["continue"].as_str().unwrap();
    let rest = api.get(&format!("{MAPS}?continue={fresh}")).await.ok();
    assert_eq!(names(&rest), ["bb", "c", "d", "e"]);
    let before: u64 = first["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let after: u64 = rest["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(after > before);
    let old = format!("{MAPS}?watch=true&resourceVersion=1");
    let line = api.get(&old).await;
    assert_eq!(line.code, 200);
    assert_eq!((&line.body["type"], &line.body["object"]["code"]), (&"ERROR".into(), &410.into()));
}

#[tokio::test]
async fn a_table_has_rows_and_metadata() {
    let api = five().await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let table = api.send("GET", MAPS, &accept, "").await.ok();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"].as_array().unwrap().len(), 5);
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "a");
    let accept = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let partial = api.send("GET", MAPS, &accept, "").await.ok();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(partial["items"][4]["metadata"]["name"], "e");
    assert!(partial["items"][4]["metadata"]["resourceVersion"].is_string());
    assert_eq!(partial["items"][4].get("data"), None);
}
