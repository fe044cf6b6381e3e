#![expect(clippy::needless_pass_by_value, reason = "json! literals read best by value")]

use serde_json::json;

use super::*;
use crate::fixture::deployment;

const NOW: &str = "2026-11-21T10:00:00Z";
const LATER: &str = "2026-11-21T11:00:00Z";

fn by<'a>(manager: &'a str, now: &'a str) -> Write<'a> {
    Write { manager, api_version: "apps/v1", subresource: "", now, owns: Owns::AllBut("status") }
}

fn config(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn applied(live: Option<&Value>, manager: &str, spec: Value) -> Value {
    apply(live, &config(spec), &deployment(), &by(manager, NOW), false).unwrap()
}

fn conflicts(live: &Value, manager: &str, spec: Value) -> String {
    apply(Some(live), &config(spec), &deployment(), &by(manager, NOW), false)
        .unwrap_err()
        .to_string()
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let found: Vec<&Value> = entries.iter().filter(|e| e["manager"] == manager).collect();
    assert!(found.len() <= 1, "{found:?}");
    found.first().map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

#[test]
fn a_created_object_is_owned_by_leaf() {
    let object = applied(
        None,
        "a",
        json!({
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "args": ["x"],
            "tags": ["t"],
            "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}], "resources": {}}],
        }),
    );
    assert_eq!(
        owned(&object, "a"),
        json!({"f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:args": {},
            "f:tags": {"v:\"t\"": {}},
            "f:containers": {"k:{\"name\":\"c\"}": {
                ".": {}, "f:name": {}, "f:image": {}, "f:resources": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
            }},
        }})
    );
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["operation"], &entry["time"], &entry["apiVersion"]),
        (&json!("Apply"), &json!(NOW), &json!("apps/v1"))
    );
}

#[test]
fn what_is_no_longer_applied_goes_unless_another_owns_it() {
    let object = applied(
        None,
        "a",
        json!({"replicas": 1, "paused": true, "containers": [{"name": "c", "image": "i"}]}),
    );
    let object = applied(Some(&object), "b", json!({"paused": true}));
    let object = applied(Some(&object), "a", json!({"containers": []}));
    assert_eq!(object["spec"], json!({"paused": true}));
    assert_eq!(owned(&object, "b"), json!({"f:spec": {"f:paused": {}}}));
}

#[test]
fn a_dropped_item_keeps_what_another_owns_in_it() {
    let object = applied(
        None,
        "a",
        json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}),
    );
    let object = applied(Some(&object), "b", json!({"containers": [{"name": "c", "image": "i"}]}));
    let object = applied(Some(&object), "a", json!({"replicas": 3}));
    assert_eq!(object["spec"], json!({"replicas": 3, "containers": [{"name": "c", "image": "i"}]}));
}

#[test]
fn another_value_is_a_conflict_and_force_takes_it() {
    let object = applied(None, "a", json!({"replicas": 1, "paused": true}));
    let updated = update(
        Some(&object),
        {
            let mut new = object.clone();
            new["spec"]["replicas"] = json!(5);
            new
        },
        &deployment(),
        &by("kubectl-edit", LATER),
    );
    assert_eq!(owned(&updated, "a"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(
        conflicts(&updated, "a", json!({"replicas": 2})),
        "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using apps/v1: .spec.replicas"
    );
    assert_eq!(
        conflicts(&updated, "c", json!({"replicas": 2, "paused": false})),
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.paused\nconflicts with \"kubectl-edit\" using apps/v1:\n- .spec.replicas"
    );
    let forced =
        apply(Some(&updated), &config(json!({"replicas": 2})), &deployment(), &by("c", NOW), true)
            .unwrap();
    assert_eq!(forced["spec"]["replicas"], 2);
    assert_eq!(owned(&forced, "c"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(owned(&forced, "kubectl-edit"), Value::Null);
}

#[test]
fn a_write_that_changes_nothing_is_no_write() {
    let object = applied(None, "a", json!({"replicas": 1}));
    let again = apply(
        Some(&object),
        &config(json!({"replicas": 1})),
        &deployment(),
        &by("a", LATER),
        false,
    )
    .unwrap();
    assert_eq!(again, object);
    assert_eq!(update(Some(&object), object.clone(), &deployment(), &by("b", LATER)), object);
}

#[test]
fn status_belongs_to_the_status_endpoint() {
    let mut config = config(json!({"replicas": 1}));
    config["status"] = json!({"ready": 1});
    let object = apply(None, &config, &deployment(), &by("a", NOW), false).unwrap();
    assert_eq!(owned(&object, "a"), json!({"f:spec": {"f:replicas": {}}}));
    let mut new = object.clone();
    new["status"] = json!({"ready": 2});
    new["metadata"]["managedFields"] = json!([{}]);
    let write =
        Write { subresource: "status", owns: Owns::Only("status"), ..by("controller", LATER) };
    let object = update(Some(&object), new, &deployment(), &write);
    assert_eq!(owned(&object, "controller"), json!({"f:status": {"f:ready": {}}}));
    assert_eq!(owned(&object, "a"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(object["metadata"]["managedFields"][1]["subresource"], "status");
}

#[test]
fn an_object_from_before_the_first_apply_keeps_its_owner() {
    let live = config(json!({"replicas": 1, "paused": true}));
    let object = applied(Some(&live), "a", json!({"replicas": 1}));
    assert_eq!(
        owned(&object, "before-first-apply"),
        json!({"f:spec": {".": {}, "f:replicas": {}, "f:paused": {}}})
    );
    // Nobody tracked it before, so an update does not begin to.
    assert_eq!(update(Some(&live), live.clone(), &deployment(), &by("x", NOW)), live);
}

#[test]
fn managed_fields_can_be_reset_but_not_lost() {
    let object = applied(None, "a", json!({"replicas": 1}));
    let mut without = object.clone();
    without["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(update(Some(&object), without, &deployment(), &by("b", NOW)), object);
    for reset in [json!([{}]), json!([])] {
        let mut new = object.clone();
        new["metadata"]["managedFields"] = reset;
        let object = update(Some(&object), new, &deployment(), &by("b", NOW));
        assert_eq!(object["metadata"].get("managedFields"), None);
    }
}

#[test]
fn old_updates_share_an_entry() {
    let mut object = update(
        None,
        config(json!({"replicas": 0})),
        &deployment(),
        &by("m0", "2026-01-01T00:00:00Z"),
    );
    for i in 1..15 {
        let mut new = object.clone();
        new["metadata"]["labels"][format!("l{i}")] = json!("x");
        let (manager, now) = (format!("m{i}"), format!("2026-01-01T00:00:{i:02}Z"));
        object = update(Some(&object), new, &deployment(), &by(&manager, &now));
    }
    assert_eq!(object["metadata"]["managedFields"].as_array().unwrap().len(), 10);
    let ancient = owned(&object, "ancient-changes");
    assert_eq!(ancient["f:spec"], json!({".": {}, "f:replicas": {}}));
    assert!(ancient["f:metadata"]["f:labels"]["f:l5"].is_object());
    assert!(owned(&object, "m14").is_object());
}

#[test]
fn client_side_apply_is_taken_over_by_kubectl() {
    let last = config(json!({"replicas": 1}));
    let mut live = last.clone();
    live["metadata"]["annotations"] = json!({LAST_APPLIED: last.to_string()});
    let live = update(None, live, &deployment(), &by("kubectl-client-side-apply", NOW));
    let config = config(json!({"replicas": 2}));
    let other = apply(Some(&live), &config, &deployment(), &by("other", NOW), false).unwrap_err();
    assert!(matches!(other, ApplyError::Conflicts(_)));
    let object = apply(Some(&live), &config, &deployment(), &by("kubectl", NOW), false).unwrap();
    assert_eq!(object["spec"]["replicas"], 2);
    let annotation = object["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(annotation).unwrap(), config);
}

#[test]
fn archipel_apply_succeeds_client_side_apply_and_nobody_else() {
    let last = config(
        json!({"replicas": 1, "paused": true, "containers": [{"name": "a", "image": "i:1"}]}),
    );
    let mut live = last.clone();
    live["metadata"]["annotations"] = json!({LAST_APPLIED: last.to_string(), "own": "x"});
    let live = update(None, live, &deployment(), &by("kubectl-client-side-apply", NOW));
    let next = |live: &Value, spec: Value| {
        let by = by("archipel-apply", LATER);
        apply(Some(live), &config(spec), &deployment(), &by, false)
    };
    // Another image without a conflict; what is left out goes, with the annotation of the past.
    let spec = json!({"replicas": 1, "containers": [{"name": "a", "image": "i:2"}]});
    let object = next(&live, spec.clone()).unwrap();
    assert_eq!(object["spec"], spec);
    assert_eq!(object["metadata"].get("annotations"), None);
    assert_eq!(owned(&object, "kubectl-client-side-apply"), Value::Null);
    assert_eq!(next(&object, spec.clone()).unwrap(), object, "once more changes nothing");
    // What somebody else has come to own since is theirs, and a conflict.
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = 5.into();
    let scaled = update(Some(&live), scaled, &deployment(), &by("scaler", NOW));
    let refused = next(&scaled, spec).unwrap_err().to_string();
    assert!(
        refused.contains("conflict with \"scaler\" using apps/v1: .spec.replicas"),
        "{refused}"
    );
    let left = next(&scaled, json!({"containers": [{"name": "a", "image": "i:2"}]})).unwrap();
    assert_eq!(left["spec"]["replicas"], 5);
}

#[test]
fn what_an_annotation_owner_applied_is_the_past_of_client_side_apply_by_any_name() {
    let mut live = config(json!({"replicas": 1}));
    live["metadata"]["annotations"] = json!({LAST_APPLIED: "{}"});
    let live = update(None, live, &deployment(), &by("ci", NOW));
    let write = by("archipel-apply", LATER);
    let object = apply(Some(&live), &config(json!({"replicas": 2})), &deployment(), &write, false);
    assert_eq!(object.unwrap()["spec"]["replicas"], 2);
}

#[test]
fn a_bad_configuration_is_refused() {
    let fails = |config: Value| {
        apply(None, &config, &deployment(), &by("a", NOW), false).unwrap_err().to_string()
    };
    assert_eq!(
        fails(config(json!({"odd": 1}))),
        "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.odd: field not declared in schema"
    );
    assert!(
        fails(config(json!({"containers": [{"name": "a"}, {"name": "a"}]})))
            .contains("duplicate entries for key [name=\"a\"]")
    );
    assert!(fails(config(json!({"replicas": "x"}))).contains(".spec.replicas: expected numeric"));
    assert!(fails(config(json!({"containers": [{}]}))).contains("omits all key fields"));
    let mut managed = config(json!({}));
    managed["metadata"]["managedFields"] = json!([]);
    assert_eq!(fails(managed), "metadata.managedFields must be nil");
    let mut version = config(json!({}));
    version["apiVersion"] = json!("v2");
    assert!(fails(version).contains("Specified patch version: v2, expected: apps/v1"));
}

#[test]
fn untyped_parts_are_granular_maps_and_atomic_lists() {
    let object = applied(None, "a", json!({"free": {"m": {"x": 1}, "l": [1, 2]}}));
    assert_eq!(
        owned(&object, "a"),
        json!({"f:spec": {"f:free": {"f:m": {".": {}, "f:x": {}}, "f:l": {}}}})
    );
    let object = applied(Some(&object), "b", json!({"free": {"m": {"y": 2}}}));
    assert_eq!(object["spec"]["free"], json!({"m": {"x": 1, "y": 2}, "l": [1, 2]}));
}

#[test]
fn a_mutation_merges_and_owns_nothing() {
    let ty = deployment();
    let live = applied(
        None,
        "a",
        json!({"replicas": 1, "containers": [{"name": "c", "image": "i", "resources": {"cpu": "1"}}]}),
    );
    let part = json!({
        "metadata": {"labels": {"env": "test"}},
        "spec": {"replicas": 2, "containers": [{"name": "side", "image": "j"}, {"name": "c", "image": "k"}]},
    });
    let mut want = live.clone();
    want["metadata"]["labels"] = json!({"env": "test"});
    want["spec"]["replicas"] = 2.into();
    want["spec"]["containers"] = json!([{"name": "side", "image": "j"}, {"name": "c", "image": "k", "resources": {"cpu": "1"}}]);
    assert_eq!(overlay(&live, &part, &ty), Ok(want));
    assert_eq!(overlay(&live, &json!({}), &ty), Ok(live.clone()));
    for (part, want) in [
        (json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}), "set: .spec.selector"),
        (json!({"spec": {"args": ["y"]}}), "set: .spec.args"),
        (json!({"spec": {"replicas": null}}), "set: .spec.replicas"),
        (json!({"spec": {"nothing": 1}}), ".spec.nothing: field not declared in schema"),
        (json!({"spec": {"replicas": "x"}}), ".spec.replicas: expected numeric"),
    ] {
        let error = overlay(&live, &part, &ty).unwrap_err();
        assert!(error.contains(want), "{error}");
    }
}
