//! Discovery, OpenAPI, version.

use serde_json::Value;

use crate::harness::*;

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

fn named<'v>(list: &'v Value, field: &str, name: &str) -> &'v Value {
    let found = list.as_array().unwrap().iter().find(|item| item[field] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {list}"))
}

#[tokio::test]
async fn plain_discovery_names_everything() {
    let api = Api::new().await;
    assert_eq!(api.get("/api").await.ok()["versions"][0], "v1");
    let groups = api.get("/apis").await.ok();
    let apps = named(&groups["groups"], "name", "apps");
    assert_eq!(apps["preferredVersion"]["groupVersion"], "apps/v1");
    let core = api.get("/api/v1").await.ok();
    let pods = named(&core["resources"], "name", "pods");
    assert_eq!(pods["shortNames"][0], "po");
    assert_eq!(named(&core["resources"], "name", "namespaces")["namespaced"], false);
    let list = api.get("/apis/apps/v1").await.ok();
    let scale = named(&list["resources"], "name", "deployments/scale");
    assert_eq!((&scale["group"], &scale["kind"]), (&"autoscaling".into(), &"Scale".into()));
    api.get("/apis/none").await.refused(404, "NotFound");
    api.get("/apis/apps/v9").await.refused(404, "NotFound");
    // What is not answered is not shown.
    assert!(!groups.to_string().contains("authentication.k8s.io"));
}

#[tokio::test]
async fn aggregated_discovery_is_tagged() {
    let api = Api::new().await;
    let answer = api.send("GET", "/apis", &[("accept", AGGREGATED)], "").await;
    let media = answer.headers["content-type"].to_str().unwrap();
    assert!(media.contains("as=APIGroupDiscoveryList") && media.contains("v=v2"), "{media}");
    assert_eq!(answer.headers["vary"], "Accept");
    let tag = answer.headers["etag"].to_str().unwrap().to_owned();
    let list = answer.ok();
    let apps =
        list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "apps");
    let resources = &apps.unwrap()["versions"][0]["resources"];
    let deployments = named(resources, "resource", "deployments");
    assert_eq!(deployments["scope"], "Namespaced");
    assert_eq!(deployments["responseKind"]["kind"], "Deployment");
    named(&deployments["subresources"], "subresource", "scale");
    let headers = [("accept", AGGREGATED), ("if-none-match", tag.as_str())];
    let again = api.send("GET", "/apis", &headers, "").await;
    assert_eq!((again.code.as_u16(), again.bytes.len()), (304, 0));
    let core = api.send("GET", "/api", &[("accept", AGGREGATED)], "").await.ok();
    assert_eq!(core["items"][0]["versions"][0]["version"], "v1");
    api.post(DEFINITIONS, &widgets()).await.ok();
    let later = api.send("GET", "/apis", &headers, "").await;
    assert_eq!(later.code, 200);
    assert!(later.body.to_string().contains("widgets"));
}

#[tokio::test]
async fn openapi_has_an_index_and_documents() {
    let api = Api::new().await;
    api.post(DEFINITIONS, &widgets()).await.ok();
    let index = api.get("/openapi/v3").await.ok();
    let uri = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = api.get(uri).await;
    assert!(document.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let document = document.ok();
    let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    assert!(document["paths"][path]["patch"].is_object());
    let wrong = api.get("/openapi/v3/apis/apps/v1?hash=X").await;
    assert_eq!(wrong.code, 301);
    assert_eq!(wrong.headers["location"], uri);
    let widgets = api.get("/openapi/v3/apis/example.org/v1").await.ok();
    assert!(widgets.to_string().contains("colour"));
    let second = api.get("/openapi/v2").await.ok();
    assert_eq!(second["swagger"], "2.0");
    let accept = [("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")];
    let proto = api.send("GET", "/openapi/v2", &accept, "").await;
    let media = proto.headers["content-type"].to_str().unwrap();
    assert_eq!(media, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    let name = b"org.example.v1.Widget";
    assert!(proto.bytes.windows(name.len()).any(|window| window == name));
    api.get("/openapi/v3/apis/none/v1").await.refused(404, "NotFound");
}

#[tokio::test]
async fn the_version_is_kubernetes_version() {
    let api = Api::new().await;
    let version = api.get("/version").await.ok();
    assert_eq!((&version["major"], &version["minor"]), (&"1".into(), &"36".into()));
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36."));
}
