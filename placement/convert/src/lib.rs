//! Reads policies of Karmada (`policy.karmada.io/v1alpha1`) and says the same in our kinds. Every field that is left
//! out, or that means something else here, is named with its path and why; a field that is not known is left out and
//! named too, so nothing is lost in silence.
//!
//! PURE: a document in, documents and notes out.

use federation_types::{
    shape,
    validate::{self, Problem},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

mod clusters;
mod fields;
mod overrides;
mod placement;

use fields::Fields;

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Change {
    /// Said otherwise, or not at all, with the same effect.
    Same,
    /// It does something else here, or not all of it.
    Changed,
    /// It has no counterpart.
    Dropped,
}

/// One field, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// `PropagationPolicy shop/web`
    pub object: String,
    pub path: String,
    pub change: Change,
    pub why: String,
}

/// What an object became.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Converted {
    pub objects: Vec<Value>,
    pub notes: Vec<Note>,
}

impl Converted {
    /// Whether something is lost or changed.
    pub fn has_losses(&self) -> bool {
        self.notes.iter().any(|it| it.change != Change::Same)
    }
}

/// The group whose policies are read.
const GROUP: &str = "policy.karmada.io";

/// Converts one object; `None` if it is none of Karmada's policies.
pub fn convert(object: &Value) -> Option<Converted> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/apiVersion").split('/').next() != Some(GROUP) {
        return None;
    }
    let kind = text("/kind");
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let title = match namespace {
        "" => format!("{kind} {name}"),
        _ => format!("{kind} {namespace}/{name}"),
    };
    let mut spec = Fields::new(&title, "spec", object.get("spec"));
    let specs = match kind {
        "PropagationPolicy" => placement::policies(&mut spec, Some(namespace)),
        "ClusterPropagationPolicy" => placement::policies(&mut spec, None),
        "OverridePolicy" => overrides::policies(&mut spec, Some(namespace)),
        "ClusterOverridePolicy" => overrides::policies(&mut spec, None),
        _ => {
            let mut whole = Fields::new(&title, "", Some(object));
            whole.note("", Change::Dropped, "this kind has no counterpart among our policies");
            return Some(Converted { objects: Vec::new(), notes: whole.forget() });
        }
    };
    let own_kind = match kind {
        "PropagationPolicy" => "PlacementPolicy",
        "ClusterPropagationPolicy" => "ClusterPlacementPolicy",
        other => other,
    };
    let labels = kept(object.pointer("/metadata/labels"));
    let annotations = kept(object.pointer("/metadata/annotations"));
    let objects: Vec<Value> = specs
        .into_iter()
        .map(|(suffix, spec)| {
            let mut metadata = json!({ "name": format!("{name}{suffix}") });
            if !namespace.is_empty() {
                metadata["namespace"] = json!(namespace);
            }
            for (key, map) in [("labels", &labels), ("annotations", &annotations)] {
                if let Some(map) = map {
                    metadata[key] = map.clone();
                }
            }
            json!({
                "apiVersion": federation_types::names::API_VERSION,
                "kind": own_kind,
                "metadata": metadata,
                "spec": spec,
            })
        })
        .collect();
    let mut notes = spec.finish();
    for Problem { field, message } in objects.iter().flat_map(refused) {
        let why = format!("the hub refuses what is written: {message}");
        let note = Note { object: title.clone(), path: field, change: Change::Changed, why };
        // Of several policies made from one it is said once.
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    Some(Converted { objects, notes })
}

/// What the hub has against an object of ours, by the fields of that.
fn refused(object: &Value) -> Vec<Problem> {
    fn checked<S: DeserializeOwned>(spec: &Value, check: fn(&S) -> Vec<Problem>) -> Vec<Problem> {
        match serde_json::from_value(spec.clone()) {
            Ok(spec) => check(&spec),
            Err(error) => {
                vec![Problem { field: "spec".to_owned(), message: error.to_string() }]
            }
        }
    }
    let (kind, spec) = (object["kind"].as_str().unwrap_or_default(), &object["spec"]);
    let mut problems = Vec::new();
    if let Some(schema) = shape::of_kind(kind) {
        shape::check(&schema["properties"]["spec"], spec, "spec", &mut problems);
    }
    let rules = match kind {
        "PlacementPolicy" => checked(spec, validate::placement_policy),
        "ClusterPlacementPolicy" => checked(spec, validate::cluster_placement_policy),
        _ => checked(spec, validate::override_policy),
    };
    let new = rules.into_iter().filter(|it| !problems.iter().any(|known| known.field == it.field));
    let new: Vec<Problem> = new.collect();
    problems.extend(new);
    problems
}

/// Labels and annotations of the user; what tools put there for themselves stays behind.
fn kept(map: Option<&Value>) -> Option<Value> {
    let map = map?.as_object()?;
    let own = |key: &str| {
        key != "kubectl.kubernetes.io/last-applied-configuration" && !key.contains("karmada.io/")
    };
    let kept: serde_json::Map<String, Value> = map
        .iter()
        .filter(|it| own(it.0))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}
