//! Small readings and writings of objects as JSON.

use serde_json::{Map, Value};

static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

/// An object's metadata; empty if it has none.
pub(crate) fn metadata(object: &Value) -> &Map<String, Value> {
    object.get("metadata").and_then(Value::as_object).unwrap_or(&EMPTY)
}

/// An object's metadata, made if it has none. `None` only if it is no JSON object, or its metadata is none.
pub(crate) fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let object = object.as_object_mut()?;
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut()
}

/// A text of the metadata; empty if there is none.
pub(crate) fn meta<'v>(object: &'v Value, field: &str) -> &'v str {
    metadata(object).get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The finalizers.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    metadata(object)
        .get("finalizers")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// Adds the finalizers that the object has not.
pub(crate) fn add_finalizers(object: &mut Value, added: &[&'static str]) {
    let had = finalizers(object);
    let missing: Vec<&str> = added.iter().filter(|it| !had.contains(it)).copied().collect();
    if missing.is_empty() {
        return;
    }
    let all: Vec<Value> = had.into_iter().chain(missing).map(Value::from).collect();
    if let Some(metadata) = metadata_mut(object) {
        metadata.insert("finalizers".to_owned(), Value::Array(all));
    }
}

/// Whether the object has been asked to go.
pub(crate) fn is_deleting(object: &Value) -> bool {
    metadata(object).get("deletionTimestamp").is_some_and(|value| !value.is_null())
}

/// What stands at a path of fields.
pub(crate) fn at<'v>(object: &'v Value, path: &[Box<str>]) -> Option<&'v Value> {
    path.iter()
        .try_fold(object, |value, field| value.get(&**field))
        .filter(|value| !value.is_null())
}

/// Puts a value at a path of fields, making the objects on the way.
pub(crate) fn put(object: &mut Value, path: &[Box<str>], value: Value) {
    let Some((last, way)) = path.split_last() else { return };
    let mut place = object;
    for field in way {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[&**field];
    }
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    place[&**last] = value;
}

/// Sets a field, or removes it if there is no value.
pub(crate) fn set(map: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            map.insert(field.to_owned(), value);
        }
        None => {
            map.remove(field);
        }
    }
}

/// Seconds in UTC, as `creationTimestamp` has them.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `spec.replicas` as a path.
#[cfg(test)]
pub(crate) fn path(text: &str) -> Vec<Box<str>> {
    text.split('.').map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_made_where_it_is_missing() {
        let mut object = json!({"spec": {"a": 1}});
        put(&mut object, &path("spec.b.c"), json!(2));
        put(&mut object, &path("status.replicas"), json!(3));
        assert_eq!(object, json!({"spec": {"a": 1, "b": {"c": 2}}, "status": {"replicas": 3}}));
        assert_eq!(at(&object, &path("spec.b.c")), Some(&json!(2)));
        assert_eq!(at(&object, &path("spec.x.c")), None);
    }
}
