//! Whether an object is called what it is: of a group of ours only the kinds and the version that the hub serves exist.

use federation_types::{
    names::{API_VERSION, GROUP},
    shape,
    validate::Problem,
};
use serde_json::Value;

/// What is wrong with the `apiVersion` or the `kind` of an object, where it is one of ours or does not say whose it is.
///
/// An object of ours may leave its `apiVersion` out in a file.
pub(crate) fn misnamed(object: &Value) -> Option<Problem> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (api, kind) = (text("apiVersion"), text("kind"));
    let known = shape::of_kind(kind).is_some();
    let problem = |field: &str, message: String| Some(Problem { field: field.to_owned(), message });
    if object["apiVersion"].is_null() {
        // Files of other tools have a `kind` at times, and are no objects.
        let nameless = kind.is_empty() || !object["metadata"].is_object();
        return if known || nameless {
            None
        } else {
            let message = format!(
                "Required value: only kinds of {GROUP} may leave it out, and {kind:?} is none"
            );
            problem("apiVersion", message)
        };
    }
    if api.split('/').next() != Some(GROUP) {
        return None;
    }
    if api != API_VERSION {
        let message = format!("Unsupported value: {api:?}: supported values: {API_VERSION:?}");
        return problem("apiVersion", message);
    }
    if known {
        return None;
    }
    let kinds: Vec<&str> = shape::kinds().collect();
    let message =
        format!("Unsupported value: {kind:?}: the kinds of {GROUP} are {}", kinds.join(", "));
    problem("kind", message)
}
