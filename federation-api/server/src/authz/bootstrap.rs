//! Puts the roles and bindings of a first start into the store, and what a newer version added to them.

use std::sync::Arc;

use federation_storage::{CommitError, Entry, ReadError, Store, Write};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{RBAC_GROUP, roles};
use crate::keys;

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Why the bootstrap roles are not in the store.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("roles cannot be read")]
    Read(#[from] ReadError),
    #[error("roles cannot be written")]
    Commit(#[from] CommitError),
    #[error("`{key}` is not an object")]
    Malformed { key: Arc<str>, source: serde_json::Error },
}

/// Makes what is missing, and adds to what is there the rules and subjects that it lacks. Who sets the annotation
/// `rbac.authorization.kubernetes.io/autoupdate` of an object to `false` keeps it as it is.
pub async fn ensure(store: &dyn Store) -> Result<(), BootstrapError> {
    // Written side by side, so that they share the store's commits.
    let mut writes = stream::iter(roles::all())
        .map(|(resource, namespace, object)| ensure_one(store, resource, namespace, object))
        .buffer_unordered(64);
    while let Some(written) = writes.next().await {
        written?;
    }
    Ok(())
}

async fn ensure_one(
    store: &dyn Store,
    resource: &str,
    namespace: &str,
    mut wanted: Value,
) -> Result<(), BootstrapError> {
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let key: Arc<str> = keys::object(RBAC_GROUP, resource, namespace, &name).into();
    loop {
        let write = match store.get(&key).await? {
            None => {
                let metadata = &mut wanted["metadata"];
                if !namespace.is_empty() {
                    metadata["namespace"] = namespace.into();
                }
                metadata["uid"] = uuid::Uuid::new_v4().to_string().into();
                metadata["creationTimestamp"] =
                    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
                let value = encode(&wanted).into();
                Write::Create { key: Arc::clone(&key), value }
            }
            Some(entry) => match completed(&entry, &wanted)? {
                None => return Ok(()),
                Some(object) => Write::Update {
                    key: Arc::clone(&key),
                    value: encode(&object).into(),
                    expected: entry.revision,
                },
            },
        };
        match store.commit(write).await {
            Ok(_) => return Ok(()),
            // Another replica was first: look again.
            Err(
                CommitError::Exists { .. }
                | CommitError::Stale { .. }
                | CommitError::Missing { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The stored object with what it lacks; `None` when it lacks nothing or is to be left alone.
fn completed(entry: &Entry, wanted: &Value) -> Result<Option<Value>, BootstrapError> {
    let mut object: Value = serde_json::from_slice(&entry.value)
        .map_err(|source| BootstrapError::Malformed { key: Arc::clone(&entry.key), source })?;
    if object["metadata"]["annotations"][AUTOUPDATE] != "true" {
        return Ok(None);
    }
    let mut changed = false;
    for field in ["rules", "subjects"] {
        let Some(items) = wanted[field].as_array() else { continue };
        if !object[field].is_array() {
            object[field] = json!([]);
        }
        let Some(present) = object[field].as_array_mut() else { continue };
        for item in items {
            if !present.contains(item) {
                present.push(item.clone());
                changed = true;
            }
        }
    }
    Ok(changed.then_some(object))
}

/// The stored form: kind, apiVersion and metadata stand first, which lets reads copy the rest.
fn encode(object: &Value) -> String {
    let mut text = format!(
        r#"{{"kind":{},"apiVersion":{},"metadata":{}"#,
        object["kind"], object["apiVersion"], object["metadata"]
    );
    for (field, value) in object.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "kind" | "apiVersion" | "metadata") {
            text.push_str(&format!(",{}:{value}", Value::from(field.as_str())));
        }
    }
    text.push('}');
    text
}
