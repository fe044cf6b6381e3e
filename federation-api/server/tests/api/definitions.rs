//! CustomResourceDefinitions and the objects of their kinds.

use serde_json::{Value, json};

use crate::harness::*;

fn widget(name: &str) -> Value {
    json!({
        "apiVersion": "example.org/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": 2},
    })
}

async fn with_widgets() -> Api {
    let api = Api::new().await;
    api.post(DEFINITIONS, &widgets()).await.ok();
    api
}

fn condition<'v>(object: &'v Value, kind: &str) -> &'v Value {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    &conditions.iter().find(|condition| condition["type"] == kind).unwrap()["status"]
}

#[tokio::test]
async fn a_definition_is_served_by_the_write_that_makes_it() {
    let api = Api::new().await;
    let made = api.post(DEFINITIONS, &widgets()).await.ok();
    assert_eq!(condition(&made, "Established"), "True");
    assert_eq!(made["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    let widget = api.post(WIDGETS, &widget("a")).await.ok();
    assert_eq!(widget["spec"], json!({"size": 2, "colour": "red"}));
    assert_eq!(widget["metadata"]["generation"], 1);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = api.send("GET", WIDGETS, &table, "").await.ok();
    assert_eq!(table["rows"][0]["cells"], json!(["a", 2]));
}

#[tokio::test]
async fn what_a_definition_is_of_does_not_change() {
    let api = with_widgets().await;
    let uri = format!("{DEFINITIONS}/widgets.example.org");
    for (patch, field) in [
        (json!({"spec": {"scope": "Cluster"}}), "spec.scope"),
        (json!({"spec": {"names": {"kind": "Gadget"}}}), "spec.names.kind"),
        (json!({"spec": {"names": {"plural": "gadgets"}}}), "spec.names.plural"),
        (json!({"spec": {"group": "example.com"}}), "spec.group"),
    ] {
        let status = api.patch(&uri, "merge-patch+json", &patch).await.refused(422, "Invalid");
        let cause = &status["details"]["causes"][0];
        assert_eq!(cause["field"], field, "{status}");
        assert!(cause["message"].as_str().unwrap().ends_with("field is immutable"), "{status}");
    }
    let renamed = json!([{"op": "replace", "path": "/spec/versions/0/name", "value": "v2"}]);
    let status = api.patch(&uri, "json-patch+json", &renamed).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "status.storedVersions[0]");
    let short = json!({"spec": {"names": {"shortNames": ["wdg"]}}});
    api.patch(&uri, "merge-patch+json", &short).await.ok();
}

#[tokio::test]
async fn a_schema_prunes_defaults_and_refuses() {
    let api = with_widgets().await;
    let mut body = widget("a");
    body["spec"]["extra"] = 1.into();
    let made = api.post(WIDGETS, &body).await;
    assert_eq!(made.warnings().len(), 1);
    assert_eq!(made.ok()["spec"].get("extra"), None);
    for (size, field) in
        [(json!(0), "spec.size"), (json!("x"), "spec.size"), (Value::Null, "spec.size")]
    {
        let mut body = widget("b");
        body["spec"]["size"] = size;
        let status = api.post(WIDGETS, &body).await.refused(422, "Invalid");
        assert_eq!(status["details"]["causes"][0]["field"], field, "{status}");
    }
    let mut body = widget("b");
    body["spec"]["size"] = "x".into();
    let status = api.apply(&format!("{WIDGETS}/b"), "me", &body).await.refused(400, "BadRequest");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains(".spec.size: expected numeric (int or float), got \"x\""), "{status}");
    let strategic =
        api.patch(&format!("{WIDGETS}/a"), "strategic-merge-patch+json", &json!({})).await;
    strategic.refused(415, "UnsupportedMediaType");
    let mut unversioned = widget("a");
    unversioned["spec"]["size"] = 3.into();
    api.put(&format!("{WIDGETS}/a"), &unversioned).await.refused(422, "Invalid");
}

#[tokio::test]
async fn subresources_and_selectable_fields_of_a_custom_kind() {
    let api = with_widgets().await;
    api.post(WIDGETS, &widget("a")).await.ok();
    let uri = format!("{WIDGETS}/a");
    let status = json!({"status": {"phase": "Good"}, "spec": {"size": 9}});
    let reported = api.patch(&format!("{uri}/status"), "merge-patch+json", &status).await.ok();
    assert_eq!(
        (&reported["status"]["phase"], &reported["spec"]["size"]),
        (&"Good".into(), &2.into())
    );
    let four = json!({"spec": {"replicas": 4}});
    let scale = api.patch(&format!("{uri}/scale"), "merge-patch+json", &four).await;
    assert_eq!(scale.ok()["spec"]["replicas"], 4);
    assert_eq!(api.get(&uri).await.ok()["spec"]["replicas"], 4);
    let red = api.get(&format!("{WIDGETS}?fieldSelector=spec.colour%3Dred")).await.ok();
    assert_eq!(red["items"].as_array().unwrap().len(), 1);
    let blue = api.get(&format!("{WIDGETS}?fieldSelector=spec.colour%3Dblue")).await.ok();
    assert_eq!(blue["items"], json!([]));
    api.apply(&format!("{uri}?force=true"), "one", &widget("a")).await.ok();
}

#[tokio::test]
async fn versions_show_one_object() {
    let api = with_widgets().await;
    api.post(WIDGETS, &widget("a")).await.ok();
    let older = api.get("/apis/example.org/v1beta1/namespaces/default/widgets/a").await.ok();
    assert_eq!(older["apiVersion"], "example.org/v1beta1");
    assert_eq!(older["spec"]["size"], 2);
}

#[tokio::test]
async fn a_default_that_comes_later_is_read_into_older_objects() {
    let api = with_widgets().await;
    api.post(WIDGETS, &widget("a")).await.ok();
    let uri = format!("{DEFINITIONS}/widgets.example.org");
    let mut definition = api.get(&uri).await.ok();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        ["weight"] = json!({"type": "integer", "default": 7});
    api.put(&uri, &definition).await.ok();
    assert_eq!(api.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["weight"], 7);
    assert_eq!(api.get(WIDGETS).await.ok()["items"][0]["spec"]["weight"], 7);
    api.post(WIDGETS, &widget("b")).await.ok();
    assert_eq!(api.get(&format!("{WIDGETS}/b")).await.ok()["spec"]["weight"], 7);
}

#[tokio::test]
async fn a_wrong_definition_is_refused_by_field() {
    let api = Api::new().await;
    let mut wrong = widgets();
    wrong["metadata"]["name"] = "gadgets.example.org".into();
    wrong["spec"]["versions"][0]["schema"] = json!({});
    wrong["spec"]["versions"][1]["storage"] = true.into();
    let status = api.post(DEFINITIONS, &wrong).await.refused(422, "Invalid");
    let text = status.to_string();
    for field in ["metadata.name", "spec.versions", "spec.versions[0].schema.openAPIV3Schema"] {
        assert!(text.contains(&format!("\"field\":\"{field}\"")), "{field}: {text}");
    }
}

#[tokio::test]
async fn a_taken_name_is_not_established() {
    let api = with_widgets().await;
    let mut other = widgets();
    other["metadata"]["name"] = "gadgets.example.org".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget"});
    let made = api.post(DEFINITIONS, &other).await.ok();
    assert_eq!(condition(&made, "NamesAccepted"), "False");
    assert_eq!(condition(&made, "Established"), "False");
    api.get("/apis/example.org/v1/gadgets").await.refused(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_definition_takes_its_objects_along() {
    let api = with_widgets().await;
    let mut held = widget("a");
    held["metadata"]["finalizers"] = json!(["example.org/hold"]);
    api.post(WIDGETS, &held).await.ok();
    api.post(WIDGETS, &widget("b")).await.ok();
    let uri = format!("{DEFINITIONS}/widgets.example.org");
    let going = api.delete(&uri, &Value::Null).await.ok();
    assert_eq!(condition(&going, "Terminating"), "True");
    api.post(WIDGETS, &widget("c")).await.refused(405, "MethodNotAllowed");
    // The one without finalizers goes, the other waits for its own.
    while api.get(&format!("{WIDGETS}/b")).await.code != 404 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(api.get(&uri).await.code, 200);
    let release = json!({"metadata": {"finalizers": null}});
    while api.get(&format!("{WIDGETS}/a")).await.body["metadata"]["deletionTimestamp"].is_null() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    api.patch(&format!("{WIDGETS}/a"), "merge-patch+json", &release).await.ok();
    while api.get(&uri).await.code != 404 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    api.get(WIDGETS).await.refused(404, "NotFound");
}

#[tokio::test]
async fn what_the_server_brings_along_is_served_listed_and_stays() {
    let api = Api::with(|options| options.embedded.push(widgets())).await;
    api.post(WIDGETS, &widget("a")).await.ok();
    let uri = format!("{DEFINITIONS}/widgets.example.org");
    let shown = api.get(&uri).await.ok();
    assert_eq!(condition(&shown, "Established"), "True");
    let list = api.get(DEFINITIONS).await.ok();
    assert_eq!(list["items"][0]["metadata"]["name"], "widgets.example.org");
    api.delete(&uri, &Value::Null).await.refused(403, "Forbidden");
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    api.patch(&uri, "merge-patch+json", &patch).await.refused(403, "Forbidden");
    api.post(DEFINITIONS, &widgets()).await.refused(409, "AlreadyExists");
}

#[tokio::test]
async fn stored_definitions_are_served_after_a_restart() {
    let api = with_widgets().await;
    api.post(WIDGETS, &widget("a")).await.ok();
    let store = std::sync::Arc::clone(api.server.store());
    let options = federation_server::app::ServerOptions::new(store);
    let again = Api { server: federation_server::app::Server::new(options).await.unwrap() };
    assert_eq!(again.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["colour"], "red");
    // What one replica accepts, the other serves as soon as its watch tells it.
    let mut other = widgets();
    other["metadata"]["name"] = "gadgets.example.net".into();
    other["spec"]["group"] = "example.net".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget"});
    api.post(DEFINITIONS, &other).await.ok();
    while again.get("/apis/example.net/v1/gadgets").await.code != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn rules_in_cel_are_checked_with_their_definition_and_asked_about_each_object() {
    let api = Api::new().await;
    let mut definition = widgets();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let rules = json!([
        {"rule": "self.size <= 10", "messageExpression": "'size is ' + string(self.size)"},
        {"rule": "self.colour == oldSelf.colour", "message": "colour is immutable", "fieldPath": ".colour"},
    ]);
    let mut bad = definition.clone();
    bad.pointer_mut(spec).unwrap()["x-kubernetes-validations"] =
        json!([{"rule": "self.weight > 1"}]);
    let status = api.post(DEFINITIONS, &bad).await.refused(422, "Invalid");
    assert_eq!(
        status["details"]["causes"][0]["field"],
        "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"
    );
    definition.pointer_mut(spec).unwrap()["x-kubernetes-validations"] = rules;
    let made = api.post(DEFINITIONS, &definition).await;
    assert_eq!(made.warnings(), Vec::<String>::new());
    made.ok();
    let mut large = widget("a");
    large["spec"]["size"] = 11.into();
    let status = api.post(WIDGETS, &large).await.refused(422, "Invalid");
    let cause = &status["details"]["causes"][0];
    assert_eq!(cause["field"], "spec");
    assert_eq!(cause["message"], "Invalid value: \"object\": size is 11");
    api.post(WIDGETS, &widget("a")).await.ok();
    let blue = json!({"spec": {"colour": "blue"}});
    let uri = format!("{WIDGETS}/a");
    let status = api.patch(&uri, "merge-patch+json", &blue).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.colour");
    let bigger = json!({"spec": {"size": 3}});
    api.patch(&uri, "merge-patch+json", &bigger).await.ok();
}
