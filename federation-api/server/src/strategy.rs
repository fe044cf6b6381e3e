//! What the server itself writes into an object before it is stored: identity, times, generation; and what a path may
//! not change. What the user wrote is kept: built-in kinds get no defaults.

use rand::Rng as _;
use serde_json::{Map, Value, json};

use crate::{
    object,
    registry::{Kind, SubresourceKind},
};

/// The alphabet of generated suffixes: no vowels, nothing that is mistaken for something else.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
const LONGEST_GENERATED: usize = 63;

/// Built-in kinds with a `spec` whose generation Kubernetes does not count.
const WITHOUT_GENERATION: &[(&str, &str)] = &[
    ("", "namespaces"),
    ("", "nodes"),
    ("", "services"),
    ("", "persistentvolumes"),
    ("", "persistentvolumeclaims"),
    ("", "resourcequotas"),
    ("", "limitranges"),
    ("", "replicationcontrollers"),
    ("coordination.k8s.io", "leases"),
    ("certificates.k8s.io", "certificatesigningrequests"),
];

/// Kinds that are made by whoever reports their status, and so may bring it along.
const CREATED_WITH_STATUS: &[(&str, &str)] = &[("", "nodes")];

/// Fields of the metadata that only the server writes.
const SYSTEM_FIELDS: [&str; 5] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

fn listed(list: &[(&str, &str)], kind: &Kind) -> bool {
    list.iter().any(|(group, plural)| kind.is(group, plural))
}

fn counts_generation(kind: &Kind, object: &Value) -> bool {
    if kind.is_custom() {
        return true;
    }
    object.get("spec").is_some_and(Value::is_object) && !listed(WITHOUT_GENERATION, kind)
}

/// `web-` as `web-x7k2f`.
pub(crate) fn generated_name(base: &str) -> String {
    let room = LONGEST_GENERATED - SUFFIX;
    let mut end = base.len().min(room);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    let mut random = rand::rng();
    for _ in 0..SUFFIX {
        name.push(char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    }
    name
}

/// Makes a decoded object one that was just created.
pub(crate) fn prepare_create(object: &mut Value, kind: &Kind, namespace: Option<&str>) {
    if kind.has_status()
        && !listed(CREATED_WITH_STATUS, kind)
        && let Some(object) = object.as_object_mut()
    {
        object.remove("status");
    }
    secret_data(object, kind);
    if kind.is("", "namespaces") {
        namespace_basics(object);
    }
    if kind.is("certificates.k8s.io", "certificatesigningrequests") {
        object["status"] = json!({});
    }
    let generation = counts_generation(kind, object);
    let Some(metadata) = object::metadata_mut(object) else { return };
    for field in SYSTEM_FIELDS.into_iter().chain(["resourceVersion", "selfLink"]) {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".to_owned(), object::now().into());
    if generation {
        metadata.insert("generation".to_owned(), 1.into());
    }
    match namespace.filter(|_| kind.namespaced) {
        Some(namespace) => metadata.insert("namespace".to_owned(), namespace.into()),
        None => metadata.remove("namespace"),
    };
}

fn namespace_basics(object: &mut Value) {
    let name = object::meta(object, "name").to_owned();
    let finalizers = object["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
        let mut finalizers = finalizers;
        finalizers.push("kubernetes".into());
        if !object["spec"].is_object() {
            object["spec"] = json!({});
        }
        object["spec"]["finalizers"] = finalizers.into();
    }
    object["status"] = json!({ "phase": "Active" });
    if !name.is_empty() {
        label_with_name(object, &name);
    }
}

/// Selectors of namespaces can name one: whoever writes it without the label gets it back.
fn label_with_name(object: &mut Value, name: &str) {
    let Some(metadata) = object::metadata_mut(object) else { return };
    let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
    }
}

/// `stringData` is a way to write `data`, and is never read back.
fn secret_data(object: &mut Value, kind: &Kind) {
    use base64::Engine as _;
    if !kind.is("", "secrets") {
        return;
    }
    let Some(object) = object.as_object_mut() else { return };
    let Some(Value::Object(texts)) = object.remove("stringData") else { return };
    let data = object.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if !data.is_object() {
        *data = Value::Object(Map::new());
    }
    for (key, text) in texts {
        let text = text.as_str().unwrap_or_default();
        data[key] = base64::engine::general_purpose::STANDARD.encode(text).into();
    }
}

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Sub(SubresourceKind),
}

/// Makes a decoded object the successor of `old`: what this path may not change is as it was.
pub(crate) fn prepare_update(old: &Value, new: &mut Value, kind: &Kind, part: Part) {
    match part {
        Part::Main => {
            if kind.has_status() {
                keep_field(old, new, "status");
            }
            if kind.is("", "namespaces") {
                keep_field(old, new, "spec");
                let name = object::meta(old, "name").to_owned();
                label_with_name(new, &name);
            }
            secret_data(new, kind);
            if counts_generation(kind, new) {
                count_generation(old, new);
            } else {
                keep_generation(old, new);
            }
        }
        Part::Sub(SubresourceKind::Status | SubresourceKind::Approval) => {
            only(old, new, "status");
        }
        Part::Sub(SubresourceKind::Finalize) => {
            let finalizers = new["spec"]["finalizers"].take();
            let managed = new["metadata"]["managedFields"].take();
            *new = old.clone();
            if !new["spec"].is_object() {
                new["spec"] = json!({});
            }
            new["spec"]["finalizers"] = finalizers;
            restore_managed(new, managed);
        }
        // These write the object as a whole, having changed what they may.
        Part::Sub(SubresourceKind::Scale | SubresourceKind::Eviction) => {
            count_generation(old, new);
        }
    }
    let Some(metadata) = object::metadata_mut(new) else { return };
    let before = object::metadata(old);
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "name",
        "namespace",
    ] {
        object::set(metadata, field, before.get(field).cloned());
    }
    metadata.remove("selfLink");
}

/// Takes everything but one field (and the managed fields, which are told apart later) from `old`.
fn only(old: &Value, new: &mut Value, field: &str) {
    let value = new.get_mut(field).map(Value::take);
    let managed = new["metadata"]["managedFields"].take();
    *new = old.clone();
    if let Some(object) = new.as_object_mut() {
        object::set(object, field, value);
    }
    restore_managed(new, managed);
}

fn restore_managed(new: &mut Value, managed: Value) {
    if let Some(metadata) = object::metadata_mut(new) {
        object::set(metadata, "managedFields", Some(managed).filter(|managed| !managed.is_null()));
    }
}

fn keep_field(old: &Value, new: &mut Value, field: &str) {
    if let Some(object) = new.as_object_mut() {
        object::set(object, field, old.get(field).cloned());
    }
}

fn generation(object: &Value) -> i64 {
    object::metadata(object).get("generation").and_then(Value::as_i64).unwrap_or(0)
}

fn keep_generation(old: &Value, new: &mut Value) {
    let before = object::metadata(old).get("generation").cloned();
    if let Some(metadata) = object::metadata_mut(new) {
        object::set(metadata, "generation", before);
    }
}

/// One more if anything but metadata and status changed.
fn count_generation(old: &Value, new: &mut Value) {
    let counts = |(field, _): &(&String, &Value)| {
        !matches!(field.as_str(), "metadata" | "status" | "apiVersion" | "kind")
    };
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else { return };
    let same = before.iter().filter(counts).eq(after.iter().filter(counts));
    let next = generation(old).max(1) + i64::from(!same);
    if let Some(metadata) = object::metadata_mut(new) {
        metadata.insert("generation".to_owned(), next.into());
    }
}

/// Whether two versions of an object differ in nothing but who manages which field since when.
pub(crate) fn unchanged(old: &Value, new: &Value) -> bool {
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else { return false };
    let plain = |(field, _): &(&String, &Value)| field.as_str() != "metadata";
    let meta = |(field, _): &(&String, &Value)| {
        !matches!(field.as_str(), "managedFields" | "resourceVersion")
    };
    before.iter().filter(plain).eq(after.iter().filter(plain))
        && object::metadata(old).iter().filter(meta).eq(object::metadata(new).iter().filter(meta))
}

/// Asks an object to go: what remains until its finalizers have run.
pub(crate) fn mark_deleted(object: &mut Value, kind: &Kind) {
    let generation = generation(object);
    if let Some(metadata) = object::metadata_mut(object) {
        metadata.insert("deletionTimestamp".to_owned(), object::now().into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
        if generation > 0 {
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
    }
    if kind.is("", "namespaces") {
        object["status"]["phase"] = "Terminating".into();
    }
}

/// Whether nothing holds an object that has been asked to go.
pub(crate) fn may_go(object: &Value, kind: &Kind) -> bool {
    let held = kind.is("", "namespaces")
        && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    object::finalizers(object).is_empty() && !held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_fits_a_label() {
        let name = generated_name("web-");
        assert_eq!(name.len(), 9);
        assert!(name.starts_with("web-"));
        assert_eq!(generated_name(&"a".repeat(100)).len(), 63);
    }

    #[test]
    fn a_namespace_keeps_the_label_with_its_name() {
        for mut object in [
            json!({"metadata": {"name": "shop"}}),
            json!({"metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "x", "tier": "a"}}}),
        ] {
            label_with_name(&mut object, "shop");
            assert_eq!(object["metadata"]["labels"]["kubernetes.io/metadata.name"], "shop");
        }
    }

    #[test]
    fn only_content_counts_for_the_generation() {
        let old =
            json!({"metadata": {"generation": 4, "labels": {}}, "spec": {"a": 1}, "status": {}});
        let mut labelled =
            json!({"metadata": {"labels": {"x": "y"}}, "spec": {"a": 1}, "status": {"b": 1}});
        count_generation(&old, &mut labelled);
        assert_eq!(labelled["metadata"]["generation"], 4);
        let mut changed = json!({"metadata": {}, "spec": {"a": 2}});
        count_generation(&old, &mut changed);
        assert_eq!(changed["metadata"]["generation"], 5);
        let mut gained = json!({"metadata": {}, "spec": {"a": 1}, "data": {}});
        count_generation(&old, &mut gained);
        assert_eq!(gained["metadata"]["generation"], 5);
    }
}
