//! What is said of a Secret never holds its values (RULES 2.4).

use federation_server::hooks::{Admission, AdmissionRequest, Verdict};
use serde_json::json;

use super::{World, until};

/// Refuses copies of a Secret named `loud`, and quotes what it refuses.
pub(super) struct Quotes;

impl Admission for Quotes {
    fn judge(&self, request: &AdmissionRequest<'_>) -> Verdict {
        let copy = request
            .object
            .filter(|it| request.name == "loud" && it.pointer("/metadata/labels").is_some());
        match copy {
            Some(copy) => Verdict::Forbid(format!("hunter2 is weak, see {}", copy["data"])),
            None => Verdict::Allow(Vec::new()),
        }
    }
}

#[tokio::test]
async fn rule_2_4_a_members_refusal_of_a_secret_is_passed_on_without_its_values() {
    let world = World::new(&["a"]).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "loud", "namespace": "shop"},
        "stringData": {"password": "hunter2"},
    });
    let secret = world.hub.create("/api/v1/namespaces/shop/secrets", &secret).await;
    world.place(&secret, &json!([{"name": "a"}]), &json!({})).await;
    let path = "/apis/archipel.dev/v1alpha1/namespaces/shop/placements/secret-loud";
    until("the refusal is reported", async || {
        let placement = world.hub.get(path).await.unwrap_or_default();
        placement["status"]["clusters"][0]["state"] == "Refused"
    })
    .await;
    let events = "/api/v1/namespaces/shop/events";
    until("an event says so", async || {
        let events = world.hub.get(events).await.unwrap_or_default();
        events["items"].as_array().is_some_and(|it| !it.is_empty())
    })
    .await;
    for path in [path, events] {
        let said = world.hub.get(path).await.expect("there").to_string();
        assert!(said.contains("*** is weak"), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("aHVudGVyMg"), "{said}");
    }
}
