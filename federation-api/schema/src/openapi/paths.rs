//! The paths of a resource: its verbs, their query parameters and the bodies they take.

use serde_json::{Map, Value, json};

use super::{Dialect, components::Components};
use crate::catalogue::{Gvk, ResourceInfo};

const ANSWERS: [&str; 2] = ["application/json", "application/yaml"];
/// Custom kinds have no strategic merge patch.
const PATCHES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// A query parameter and its type.
type Query = (&'static str, &'static str);
const WRITE: &[Query] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCH: &[Query] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
];
const DELETE: &[Query] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const LIST: &[Query] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

/// One verb of a path.
struct Verb {
    method: &'static str,
    /// As discovery calls it.
    verb: &'static str,
    /// As `x-kubernetes-action` calls it.
    action: &'static str,
    query: &'static [Query],
}

const fn verb(
    method: &'static str,
    verb: &'static str,
    action: &'static str,
    query: &'static [Query],
) -> Verb {
    Verb { method, verb, action, query }
}

const COLLECTION: [Verb; 3] = [
    verb("get", "list", "list", LIST),
    verb("post", "create", "post", WRITE),
    verb("delete", "deletecollection", "deletecollection", LIST),
];
const ITEM: [Verb; 4] = [
    verb("get", "get", "get", &[]),
    verb("put", "update", "put", WRITE),
    verb("patch", "patch", "patch", PATCH),
    verb("delete", "delete", "delete", DELETE),
];
/// Of subresources.
const BELOW: [Verb; 4] = [
    verb("get", "get", "get", &[]),
    verb("post", "create", "post", WRITE),
    verb("put", "update", "put", WRITE),
    verb("patch", "patch", "patch", PATCH),
];

/// What the operations of one path have in common.
struct Place<'p> {
    path: String,
    namespaced: bool,
    named: bool,
    gvk: Gvk,
    /// The verbs that the resource serves.
    verbs: &'p [Box<str>],
    /// Tells the operation's name apart: the subresource, or that it spans namespaces.
    suffix: &'p str,
    strategic: bool,
}

/// Adds the paths of a resource.
pub(super) fn add(
    paths: &mut Map<String, Value>,
    components: &mut Components<'_>,
    resource: &ResourceInfo,
    builtin: bool,
) {
    let root = format!("/{}", super::v3_path(&resource.group, &resource.version));
    let whole = format!("{root}/{}", resource.plural);
    let within = if resource.namespaced {
        format!("{root}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        whole.clone()
    };
    let place = |path: String, named: bool| Place {
        path,
        namespaced: resource.namespaced,
        named,
        gvk: resource.gvk(),
        verbs: &resource.verbs,
        suffix: "",
        strategic: builtin,
    };
    if resource.namespaced {
        let across = Place { namespaced: false, suffix: "ForAllNamespaces", ..place(whole, false) };
        add_path(paths, components, &across, &COLLECTION[..1]);
    }
    add_path(paths, components, &place(within.clone(), false), &COLLECTION);
    let item = format!("{within}/{{name}}");
    add_path(paths, components, &place(item.clone(), true), &ITEM);
    for sub in &resource.subresources {
        let gvk = Gvk::new(&sub.group, &sub.version, &sub.kind);
        let below = Place {
            gvk,
            verbs: &sub.verbs,
            suffix: &sub.name,
            ..place(format!("{item}/{}", sub.name), true)
        };
        add_path(paths, components, &below, &BELOW);
    }
}

fn add_path(
    paths: &mut Map<String, Value>,
    components: &mut Components<'_>,
    place: &Place<'_>,
    verbs: &[Verb],
) {
    // Subresources that speak no object (logs, terminals) have no schema to show.
    let Some(object) = components.kind(&place.gvk) else { return };
    let mut path = Map::new();
    for verb in verbs.iter().filter(|verb| place.verbs.iter().any(|v| **v == *verb.verb)) {
        path.insert(verb.method.to_owned(), operation(components, place, verb, &object));
    }
    if path.is_empty() {
        return;
    }
    let dialect = components.dialect;
    let in_path = |name: &str| parameter(dialect, "path", name, "string");
    let named = [(place.named, "name"), (place.namespaced, "namespace")];
    let parameters = named.iter().filter(|(on, _)| *on).map(|(_, name)| in_path(name));
    let pretty = parameter(dialect, "query", "pretty", "string");
    path.insert("parameters".to_owned(), parameters.chain([pretty]).collect());
    paths.insert(place.path.clone(), path.into());
}

fn operation(
    components: &mut Components<'_>,
    place: &Place<'_>,
    verb: &Verb,
    object: &Value,
) -> Value {
    let dialect = components.dialect;
    let answer = match verb.verb {
        "list" => {
            let list = Gvk { kind: format!("{}List", place.gvk.kind), ..place.gvk.clone() };
            components.kind(&list).unwrap_or_else(|| object.clone())
        }
        "delete" | "deletecollection" => components.meta("Status"),
        _ => object.clone(),
    };
    let body = match verb.verb {
        "create" | "update" => Some((object.clone(), vec!["application/json", "application/yaml"])),
        "patch" => {
            let strategic = place.strategic.then_some(STRATEGIC);
            Some((components.meta("Patch"), PATCHES.into_iter().chain(strategic).collect()))
        }
        "delete" | "deletecollection" => {
            Some((components.meta("DeleteOptions"), vec!["application/json", "application/yaml"]))
        }
        _ => None,
    };
    let mut parameters: Vec<Value> =
        verb.query.iter().map(|(name, kind)| parameter(dialect, "query", name, kind)).collect();
    let code = if verb.verb == "create" { "201" } else { "200" };
    let mut operation = json!({
        "operationId": operation_id(place, verb),
        "tags": [tag(&place.gvk)],
        "x-kubernetes-action": verb.action,
        "x-kubernetes-group-version-kind": {"group": place.gvk.group, "version": place.gvk.version, "kind": place.gvk.kind},
    });
    match dialect {
        Dialect::V3 => {
            let of = |types: &[&str], schema: &Value| -> Value {
                types.iter().map(|t| ((*t).to_owned(), json!({"schema": schema}))).collect()
            };
            if let Some((schema, types)) = body {
                operation["requestBody"] = json!({"content": of(&types, &schema)});
            }
            operation["responses"] =
                json!({code: {"description": "OK", "content": of(&ANSWERS, &answer)}});
        }
        Dialect::V2 => {
            if let Some((schema, types)) = body {
                operation["consumes"] = json!(types);
                parameters.push(json!({"in": "body", "name": "body", "schema": schema}));
            }
            operation["produces"] = json!(ANSWERS);
            operation["schemes"] = json!(["https"]);
            operation["responses"] = json!({code: {"description": "OK", "schema": answer}});
        }
    }
    operation["parameters"] = parameters.into();
    operation
}

fn parameter(dialect: Dialect, place: &str, name: &str, kind: &str) -> Value {
    let mut parameter = json!({"in": place, "name": name, "uniqueItems": true});
    if place == "path" {
        parameter["required"] = true.into();
    }
    match dialect {
        Dialect::V2 => parameter["type"] = kind.into(),
        Dialect::V3 => {
            parameter["schema"] = json!({"type": kind});
            if let Some(fields) = parameter.as_object_mut() {
                fields.remove("uniqueItems");
            }
        }
    }
    parameter
}

fn tag(gvk: &Gvk) -> String {
    let group =
        if gvk.group.is_empty() { "core" } else { gvk.group.split('.').next().unwrap_or_default() };
    format!("{group}_{}", gvk.version)
}

/// Unique in a document: the path says more than the kind does.
fn operation_id(place: &Place<'_>, verb: &Verb) -> String {
    let mut id = verb.action.to_owned();
    let words = place.path.split(['/', '.', '-']).filter(|w| !w.is_empty() && !w.starts_with('{'));
    for word in words.chain((place.suffix == "ForAllNamespaces").then_some(place.suffix)) {
        let mut letters = word.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id.push_str(letters.as_str());
    }
    if place.named { id + "ByName" } else { id }
}
