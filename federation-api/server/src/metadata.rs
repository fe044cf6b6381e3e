//! Whether an object's metadata is as it must be, beyond what its form says.

use federation_schema::validate;
use serde_json::Value;

use crate::{object, registry::Kind, status::Cause};

/// What is wrong with the metadata of an object.
pub(crate) fn check(object: &Value, kind: &Kind) -> Vec<Cause> {
    validate::object_meta(object, kind.namespaced, kind.names)
        .into_iter()
        .map(Cause::from)
        .collect()
}

/// Finalizers that an object being deleted may not gain.
pub(crate) fn added_finalizers(old: &Value, new: &Value) -> Option<Cause> {
    if !object::is_deleting(old) {
        return None;
    }
    let held = object::finalizers(old);
    let added: Vec<&str> =
        object::finalizers(new).into_iter().filter(|finalizer| !held.contains(finalizer)).collect();
    (!added.is_empty()).then(|| {
        Cause::field(
            "metadata.finalizers",
            format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            ),
        )
    })
}
