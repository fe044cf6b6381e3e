//! What a table says of volumes, claims and classes.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{items, plain, text};

/// The phase, or that it is going away.
pub(super) fn phase(volume: &Value, _: Timestamp) -> Value {
    if volume.pointer("/metadata/deletionTimestamp").is_some() {
        return "Terminating".into();
    }
    text(volume, "/status/phase").into()
}

fn modes(list: &[Value]) -> Value {
    let known = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let held = known.iter().filter(|(mode, _)| list.iter().any(|m| m == mode));
    held.map(|(_, short)| *short).collect::<Vec<_>>().join(",").into()
}

pub(super) fn volume_modes(volume: &Value, _: Timestamp) -> Value {
    modes(items(volume, "/spec/accessModes"))
}

pub(super) fn volume_capacity(volume: &Value, _: Timestamp) -> Value {
    volume.pointer("/spec/capacity/storage").map_or_else(|| "0".to_owned(), plain).into()
}

pub(super) fn volume_claim(volume: &Value, _: Timestamp) -> Value {
    match volume.pointer("/spec/claimRef") {
        Some(claim) => format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")).into(),
        None => "".into(),
    }
}

/// Until it is bound, a claim has neither.
pub(super) fn claim_capacity(claim: &Value, _: Timestamp) -> Value {
    if text(claim, "/spec/volumeName").is_empty() {
        return "".into();
    }
    claim.pointer("/status/capacity/storage").map_or_else(|| "0".to_owned(), plain).into()
}

pub(super) fn claim_modes(claim: &Value, _: Timestamp) -> Value {
    if text(claim, "/spec/volumeName").is_empty() {
        "".into()
    } else {
        modes(items(claim, "/status/accessModes"))
    }
}

/// The class, in either of its notations.
pub(super) fn class(volume: &Value, _: Timestamp) -> Value {
    let annotation =
        volume["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    annotation.unwrap_or_else(|| text(volume, "/spec/storageClassName")).into()
}

/// A class's name, with a mark on the default one.
pub(super) fn class_name(class: &Value, _: Timestamp) -> Value {
    let name = text(class, "/metadata/name");
    let annotations = &class["metadata"]["annotations"];
    let marks = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
        "ingressclass.kubernetes.io/is-default-class",
    ];
    if marks.iter().any(|mark| annotations[*mark] == "true") {
        format!("{name} (default)").into()
    } else {
        name.into()
    }
}

pub(super) fn allows_expansion(class: &Value, _: Timestamp) -> Value {
    (class["allowVolumeExpansion"] == true).into()
}
