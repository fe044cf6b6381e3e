use std::collections::BTreeSet;

use super::*;

fn custom_schema() -> Value {
    json!({"type": "object", "description": "d", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "nullable": true},
        "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "extra": {"type": "object", "additionalProperties": {"type": "string", "nullable": true}},
        "items": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "atomic"}}}}})
}

fn custom(schema: &Value) -> CustomKind<'_> {
    CustomKind {
        group: "example.dev",
        version: "v1",
        kind: "Widget",
        list_kind: "WidgetList",
        plural: "widgets",
        namespaced: true,
        schema,
        status: true,
        scale: true,
    }
}

/// Every `$ref` in a document.
fn references<'v>(value: &'v Value, into: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|v| references(v, into));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, into)),
        _ => {}
    }
}

fn unresolved(document: &Value) -> Vec<&str> {
    let mut all = BTreeSet::new();
    references(document, &mut all);
    assert!(!all.is_empty());
    let missing = |r: &&str| document.pointer(r.trim_start_matches('#')).is_none_or(Value::is_null);
    all.into_iter().filter(missing).collect()
}

#[test]
fn every_reference_of_every_document_resolves() {
    let schema = custom_schema();
    let custom = [custom(&schema)];
    let catalogue = Catalogue::builtin();
    for (group, version) in group_versions(catalogue, &custom) {
        assert_eq!(
            unresolved(&v3(catalogue, group, version, &custom)),
            Vec::<&str>::new(),
            "{group}/{version}"
        );
    }
    assert_eq!(unresolved(&v2(catalogue, &custom)), Vec::<&str>::new());
}

#[test]
fn kubectl_apply_finds_patch_types_parameters_and_merge_keys() {
    let document = v3(Catalogue::builtin(), "apps", "v1", &[]);
    let patch =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    assert!(patch["requestBody"]["content"].get(STRATEGIC).is_some());
    assert!(patch["requestBody"]["content"].get("application/apply-patch+yaml").is_some());
    for name in ["fieldValidation", "dryRun", "fieldManager", "force"] {
        let held = patch["parameters"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|p| p["name"] == name && p["in"] == "query");
        assert!(held, "{name}");
    }
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    let volumes = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
    assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    let strategy = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
    assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
    assert_eq!(
        schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]["default"],
        "TCP"
    );
    let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    assert_eq!(
        schemas["io.k8s.api.core.v1.LocalObjectReference"]["x-kubernetes-map-type"],
        "atomic"
    );
}

const STRATEGIC: &str = "application/strategic-merge-patch+json";

#[test]
fn a_variant_of_a_type_does_not_change_the_type() {
    let document = v2(Catalogue::builtin(), &[]);
    let definitions = &document["definitions"];
    assert_eq!(
        definitions["io.k8s.api.core.v1.ObjectReference"]["x-kubernetes-map-type"],
        "atomic"
    );
    let claim = &definitions["io.k8s.api.core.v1.PersistentVolumeSpec"]["properties"]["claimRef"];
    assert_eq!(claim["x-kubernetes-map-type"], "granular");
    assert_eq!(claim["$ref"], "#/definitions/io.k8s.api.core.v1.ObjectReference");
}

#[test]
fn custom_kinds_have_no_strategic_merge_patch_and_keep_their_schema() {
    let schema = custom_schema();
    let document = v3(Catalogue::builtin(), "example.dev", "v1", &[custom(&schema)]);
    let path = &document["paths"]["/apis/example.dev/v1/namespaces/{namespace}/widgets/{name}"];
    assert!(path["patch"]["requestBody"]["content"].get(STRATEGIC).is_none());
    assert!(path["patch"]["requestBody"]["content"].get("application/merge-patch+json").is_some());
    let widget = &document["components"]["schemas"]["dev.example.v1.Widget"];
    assert_eq!(widget["properties"]["spec"], schema["properties"]["spec"]);
    assert!(widget["properties"]["metadata"]["$ref"].is_string());
    let scale = &document["paths"]["/apis/example.dev/v1/namespaces/{namespace}/widgets/{name}/scale"]
        ["get"];
    assert_eq!(scale["x-kubernetes-group-version-kind"]["kind"], "Scale");
    let list =
        &document["paths"]["/apis/example.dev/v1/widgets"]["get"]["responses"]["200"]["content"];
    assert_eq!(
        list["application/json"]["schema"]["$ref"],
        "#/components/schemas/dev.example.v1.WidgetList"
    );
}

#[test]
fn v2_says_nothing_that_it_cannot() {
    let schema = custom_schema();
    let document = v2(Catalogue::builtin(), &[custom(&schema)]);
    let spec =
        &document["definitions"]["dev.example.v1.Widget"]["properties"]["spec"]["properties"];
    assert_eq!(spec["size"], json!({}));
    assert_eq!(spec["port"], json!({"x-kubernetes-int-or-string": true}));
    assert_eq!(spec["extra"], json!({"type": "object", "additionalProperties": {}}));
    assert_eq!(
        document["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"],
        json!({"type": "string"})
    );
    assert!(!document.to_string().contains("components/schemas"));
}

#[test]
fn operations_have_names_of_their_own() {
    let document = v2(Catalogue::builtin(), &[]);
    let paths = document["paths"].as_object().expect("paths");
    let ids: Vec<&str> = paths
        .values()
        .flat_map(|p| p.as_object().expect("a path").values())
        .filter_map(|o| o["operationId"].as_str())
        .collect();
    assert!(ids.len() > 500, "{}", ids.len());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

#[test]
fn the_index_names_documents_by_path_and_hash() {
    assert_eq!(v3_path("", "v1"), "api/v1");
    let hash = hash(b"{}");
    let index = v3_index([(v3_path("apps", "v1").as_str(), hash.as_str())]);
    assert_eq!(
        index,
        json!({"paths": {"apis/apps/v1": {"serverRelativeURL": format!("/openapi/v3/apis/apps/v1?hash={hash}")}}})
    );
    assert_eq!(hash.len(), 64);
}

#[test]
fn a_kind_that_may_hold_anything_names_no_field_in_v2() {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let custom = [custom(&schema)];
    let catalogue = Catalogue::builtin();
    let widget = "dev.example.v1.Widget";
    let document = v2(catalogue, &custom);
    assert_eq!(document["definitions"][widget]["properties"], Value::Null);
    assert_eq!(document["definitions"][widget]["type"], "object");
    let document = v3(catalogue, "example.dev", "v1", &custom);
    assert!(document["components"]["schemas"][widget]["properties"]["metadata"].is_object());
}
