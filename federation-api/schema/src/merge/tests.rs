#![expect(clippy::needless_pass_by_value, reason = "json! literals read best by value")]

use serde_json::json;

use super::*;
use crate::fixture::deployment;

fn spec(original: Value, patch: Value) -> Value {
    let patch = json!({"spec": patch});
    strategic(&json!({"spec": original}), &patch, &deployment()).unwrap()["spec"].take()
}

fn fails(original: Value, patch: Value) -> String {
    let (original, patch) = (json!({"spec": original}), json!({"spec": patch}));
    strategic(&original, &patch, &deployment()).unwrap_err().to_string()
}

#[test]
fn maps_merge_and_null_removes() {
    assert_eq!(
        spec(
            json!({"replicas": 1, "paused": true, "strategy": {"type": "Recreate"}}),
            json!({"replicas": 2, "paused": null, "absent": null, "strategy": {"rollingUpdate": {"maxSurge": null}}}),
        ),
        json!({"replicas": 2, "strategy": {"type": "Recreate", "rollingUpdate": {}}})
    );
}

#[test]
fn items_merge_by_key_and_keep_their_order() {
    let live = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}, {"name": "c"}]});
    assert_eq!(
        spec(live.clone(), json!({"containers": [{"name": "d"}, {"name": "b", "image": "2"}]})),
        json!({"containers": [{"name": "d"}, {"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c"}]})
    );
    assert_eq!(
        spec(
            live.clone(),
            json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "c", "image": "3"}]})
        ),
        json!({"containers": [{"name": "b", "image": "1"}, {"name": "c", "image": "3"}]})
    );
    assert_eq!(
        spec(live.clone(), json!({"containers": [{"$patch": "replace"}, {"name": "z"}]})),
        json!({"containers": [{"name": "z"}]})
    );
    assert_eq!(
        spec(
            live,
            json!({
                "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
                "containers": [{"name": "c", "image": "9"}],
            })
        ),
        json!({"containers": [{"name": "b", "image": "1"}, {"name": "c", "image": "9"}, {"name": "a", "image": "1"}]})
    );
}

#[test]
fn lists_of_scalars_join_or_are_replaced() {
    assert_eq!(
        spec(
            json!({"tags": ["a", "b"], "args": ["x"]}),
            json!({"tags": ["c", "a"], "args": ["y"]})
        ),
        json!({"tags": ["c", "a", "b"], "args": ["y"]})
    );
    assert_eq!(
        spec(
            json!({"tags": ["a", "b"]}),
            json!({"$deleteFromPrimitiveList/tags": ["a"], "$setElementOrder/tags": ["c", "b"], "tags": ["c"]})
        ),
        json!({"tags": ["c", "b"]})
    );
}

#[test]
fn directives_on_maps() {
    let live = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, "replicas": 1});
    assert_eq!(
        spec(live.clone(), json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}})),
        json!({"strategy": {"type": "Recreate"}, "replicas": 1})
    );
    assert_eq!(
        spec(live.clone(), json!({"strategy": {"$patch": "replace", "type": "Recreate"}}))["strategy"],
        json!({"type": "Recreate"})
    );
    assert_eq!(spec(live, json!({"strategy": {"$patch": "delete"}}))["strategy"], json!({}));
    assert_eq!(
        spec(
            json!({}),
            json!({"strategy": {"$patch": "delete"}, "containers": [{"name": "a", "$patch": "delete"}]})
        ),
        json!({"containers": []})
    );
}

#[test]
fn errors_name_the_field() {
    let live = json!({"containers": [{"name": "a"}], "strategy": {"type": "x"}});
    assert_eq!(
        fails(live.clone(), json!({"containers": [{"image": "1"}]})),
        "spec.containers: map: {\"image\":\"1\"} does not contain declared merge key: name"
    );
    assert_eq!(
        fails(live.clone(), json!({"strategy": {"$patch": "grow"}})),
        "spec.strategy: unknown patch type: \"grow\""
    );
    assert_eq!(
        fails(live.clone(), json!({"strategy": {"$retainKeys": [], "type": "x"}})),
        "spec.strategy: invalid patch format of retainKeys"
    );
    assert_eq!(
        fails(live.clone(), json!({"$setElementOrder/containers": 1})),
        "spec.containers: invalid patch format of setElementOrder list"
    );
    let wrong =
        json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]});
    assert!(fails(live.clone(), wrong).contains("doesn't match $setElementOrder list"));
    assert!(fails(live, json!({"containers": ["a"]})).contains("one type"));
    assert!(matches!(
        strategic(&json!({}), &json!([]), &deployment()),
        Err(Error::Malformed { .. })
    ));
}

#[test]
fn a_disruption_budgets_selector_is_replaced_whole() {
    use crate::catalogue::{Catalogue, Gvk};
    let kind = Gvk::new("policy", "v1", "PodDisruptionBudget");
    let ty = Catalogue::builtin().type_of(&kind).expect("it is built in");
    let budget =
        serde_json::json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "1"}}}});
    let patch = serde_json::json!({"spec": {"selector": {"matchLabels": {"b": "2"}}}});
    let merged = strategic(&budget, &patch, &ty).expect("a well-formed patch");
    let wanted =
        serde_json::json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"b": "2"}}}});
    assert_eq!(merged, wanted);
}
