//! How an object lies in the store, and how it gets out of it.
//!
//! The stored form is the object's JSON without `resourceVersion`, always laid out as
//! `{"kind":"…","apiVersion":"…","metadata":{…},…}`. So the two things that differ between the stored and the shown
//! form (the version asked for, the revision) stand at the front, and most reads are a copy of bytes: nothing is
//! decoded.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use federation_storage::{Entry, Revision};
use serde::Deserialize;
use serde_json::Value;

use crate::{convert, object, registry::Kind};

const METADATA: &[u8] = br#""metadata":{"#;
const API_VERSION: &[u8] = br#"","apiVersion":""#;

/// The stored form of an object whose metadata has at least a name.
pub(crate) fn encode(object: &Value, kind: &Kind) -> Bytes {
    let api_version = if kind.storage_version.is_empty() {
        Cow::Borrowed(&*kind.api_version)
    } else {
        Cow::Owned(federation_schema::catalogue::api_version(&kind.group, &kind.storage_version))
    };
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(br#"{"kind":""#);
    out.extend_from_slice(kind.kind.as_bytes());
    out.extend_from_slice(API_VERSION);
    out.extend_from_slice(api_version.as_bytes());
    out.extend_from_slice(br#"","metadata":{"#);
    let mut first = true;
    for (field, value) in object::metadata(object) {
        if field != "resourceVersion" && field != "selfLink" && !value.is_null() {
            write_field(&mut out, field, value, &mut first);
        }
    }
    out.push(b'}');
    first = false;
    for (field, value) in object.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "kind" | "apiVersion" | "metadata") {
            write_field(&mut out, field, value, &mut first);
        }
    }
    out.push(b'}');
    out.shrink_to_fit();
    out.into()
}

fn write_field(out: &mut Vec<u8>, field: &str, value: &Value, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    write(out, field);
    out.push(b':');
    write(out, value);
}

/// Appends JSON.
pub(crate) fn write<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(&mut *out, value).expect("JSON values with string keys always serialise");
}

/// The stored bytes, taken apart.
struct Parts<'a> {
    api_version: &'a str,
    /// From the first field of the metadata on.
    rest: &'a [u8],
}

fn parts(value: &[u8]) -> Option<Parts<'_>> {
    // Kind and apiVersion hold no quotes, so the first occurrence is the one.
    let start = find(value, API_VERSION)? + API_VERSION.len();
    let end = start + value[start..].iter().position(|byte| *byte == b'"')?;
    let api_version = std::str::from_utf8(&value[start..end]).ok()?;
    let rest = &value[end + 2..];
    rest.strip_prefix(METADATA).map(|rest| Parts { api_version, rest })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Appends the object as `kind` shows it, with `revision` as its resourceVersion.
pub(crate) fn show(out: &mut Vec<u8>, entry: &Entry, kind: &Kind, revision: Revision) {
    let parts = parts(&entry.value).filter(|parts| {
        let same =
            *kind.api_version == *parts.api_version || !convert::is_needed(kind, parts.api_version);
        same && kind.defaulted_since.is_none_or(|since| entry.revision > since)
    });
    let Some(parts) = parts else {
        // Another version, or an older schema: the long way.
        let object = decode(entry, kind, revision);
        show_value(out, &object, kind);
        return;
    };
    out.reserve(parts.rest.len() + 128);
    out.extend_from_slice(br#"{"kind":""#);
    out.extend_from_slice(kind.kind.as_bytes());
    out.extend_from_slice(API_VERSION);
    out.extend_from_slice(kind.api_version.as_bytes());
    out.extend_from_slice(br#"","metadata":{"resourceVersion":""#);
    out.extend_from_slice(revision.0.to_string().as_bytes());
    out.push(b'"');
    if parts.rest.first() != Some(&b'}') {
        out.push(b',');
    }
    out.extend_from_slice(parts.rest);
    if kind.shows_status() && !has_status(parts.rest) {
        add_status(out);
    }
}

/// Appends an object that is no stored version, as `kind` shows it.
pub(crate) fn show_value(out: &mut Vec<u8>, object: &Value, kind: &Kind) {
    write(out, object);
    if kind.shows_status() && object.is_object() && object.get("status").is_none() {
        add_status(out);
    }
}

/// What a typed client expects of a kind with a status, even of an object that has none yet. It is not stored: a
/// template is what its user wrote.
fn add_status(out: &mut Vec<u8>) {
    out.pop();
    out.extend_from_slice(br#","status":{}}"#);
}

/// Whether the bytes of an object, from within its metadata on, have a status of their own.
fn has_status(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Outer {
        status: Option<serde::de::IgnoredAny>,
    }
    let mut seen = false;
    for at in memchr::memmem::find_iter(bytes, STATUS) {
        seen = true;
        // Almost always it is the last field, and then this is all there is to read.
        if is_last(&bytes[at + STATUS.len()..]) {
            return true;
        }
    }
    if !seen {
        return false;
    }
    let whole = [br#"{"metadata":{"#.as_slice(), bytes].concat();
    serde_json::from_slice::<Outer>(&whole).is_ok_and(|outer| outer.status.is_some())
}

const STATUS: &[u8] = br#","status":"#;

/// Whether one object and the brace that closes the one around it are all that is left.
fn is_last(bytes: &[u8]) -> bool {
    let (mut depth, mut text, mut escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            _ if text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 1 => depth -= 1,
            b'}' | b']' => return depth == 1 && bytes[at + 1..] == *b"}",
            _ => {}
        }
        if depth == 0 {
            return false;
        }
    }
    false
}

/// The object as `kind` shows it, with `revision` as its resourceVersion.
pub(crate) fn decode(entry: &Entry, kind: &Kind, revision: Revision) -> Value {
    let mut object: Value = serde_json::from_slice(&entry.value).unwrap_or_else(|error| {
        // The store verifies its bytes, so this is an error of ours; an empty object shows it without taking the
        // whole list along.
        tracing::error!(key = %entry.key, %error, "a stored object is not JSON");
        Value::Object(serde_json::Map::new())
    });
    convert::to(&mut object, kind);
    if kind.defaulted_since.is_some_and(|since| entry.revision <= since)
        && let Some(custom) = kind.custom()
    {
        custom.default(&mut object);
    }
    if let Some(metadata) = object::metadata_mut(&mut object) {
        metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
    }
    object
}

/// The labels of a stored object, read once per version.
#[derive(Debug)]
pub(crate) struct Facts {
    pub labels: BTreeMap<Box<str>, Box<str>>,
}

#[derive(Deserialize)]
struct Partial<'a> {
    #[serde(borrow, default)]
    metadata: PartialMetadata<'a>,
}

#[derive(Default, Deserialize)]
struct PartialMetadata<'a> {
    #[serde(borrow, default)]
    labels: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

/// What selectors ask for most, kept beside the version.
pub(crate) fn facts(entry: &Entry) -> Arc<Facts> {
    let memo = entry.memo.get_or_init(|| {
        let partial: Option<Partial<'_>> = serde_json::from_slice(&entry.value).ok();
        let labels = partial.and_then(|partial| partial.metadata.labels).unwrap_or_default();
        let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Arc::new(Facts { labels })
    });
    Arc::clone(memo).downcast().expect("only this function writes the memo")
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    fn entry(object: &Value, kind: &Kind) -> Entry {
        Entry {
            key: kind.key(Some("a"), "b"),
            value: encode(object, kind),
            revision: Revision(7),
            created: Revision(7),
            memo: OnceLock::new(),
        }
    }

    #[test]
    fn bytes_and_value_show_the_same_object() {
        let registry = Registry::new(&[], &[], &[], Revision(0)).unwrap();
        let snapshot = registry.snapshot();
        let kind = snapshot.kind("apps", "v1", "deployments").unwrap();
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "b", "namespace": "a", "labels": {"x": "y\"z"}, "resourceVersion": "3"},
            "spec": {"metadata": {"labels": {"no": "no"}}},
            "status": {"replicas": 1},
        });
        let entry = entry(&object, kind);
        let mut bytes = Vec::new();
        show(&mut bytes, &entry, kind, Revision(9));
        let shown: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(shown, decode(&entry, kind, Revision(9)));
        assert_eq!(shown["metadata"]["resourceVersion"], "9");
        assert_eq!(shown["spec"], object["spec"]);
        assert_eq!(facts(&entry).labels.get("x").map(|value| &**value), Some("y\"z"));
        assert_eq!(facts(&entry).labels.len(), 1);
    }

    #[test]
    fn a_kind_with_a_status_shows_one_and_stores_none() {
        let registry = Registry::new(&[], &[], &[], Revision(0)).unwrap();
        let snapshot = registry.snapshot();
        let shown = |plural: &str, api: (&str, &str), object: &Value| -> Value {
            let kind = snapshot.kind(api.0, api.1, plural).unwrap();
            let entry = entry(object, kind);
            let mut bytes = Vec::new();
            show(&mut bytes, &entry, kind, Revision(9));
            serde_json::from_slice(&bytes).unwrap()
        };
        let mut object = json!({"metadata": {"name": "b", "namespace": "a"}, "spec": {}});
        let apps = ("apps", "v1");
        assert_eq!(shown("deployments", apps, &object)["status"], json!({}));
        assert_eq!(shown("configmaps", ("", "v1"), &object).get("status"), None);
        object["spec"] = json!({"a": {"x": 1, "status": {"no": "}\\\"}"}}, "z": 1});
        assert_eq!(shown("deployments", apps, &object)["status"], json!({}));
        object["spec"] = json!({"a": {"x": 1, "status": {}}});
        assert_eq!(shown("deployments", apps, &object)["status"], json!({}));
        object["status"] = json!({"conditions": [{"a": "b", "status": "\"}"}], "replicas": 1});
        assert_eq!(shown("deployments", apps, &object)["status"], object["status"]);
        // Bytes that are laid out otherwise are read as well.
        assert!(has_status(br#""name":"a"},"status":{"a":1},"z":{"status":{}}}"#));
        assert!(!has_status(br#""name":"a"},"spec":{"a":1,"status":{"a":1},"z":2}}"#));
    }
}
