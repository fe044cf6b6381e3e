//! What stands between a well-formed write and the store: the life of namespaces, what may never change, and the hooks
//! of the parts that know the fleet.

use federation_storage::Store;
use serde_json::Value;

use crate::{
    app::Server,
    hooks::{AdmissionRequest, Operation, Verdict},
    identity::Identity,
    object,
    registry::{Kind, key},
    status::{ApiError, Cause},
};

/// A write on its way through admission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing<'a> {
    pub operation: Operation,
    pub identity: &'a Identity,
    pub kind: &'a Kind,
    pub subresource: &'a str,
    pub namespace: Option<&'a str>,
    pub name: &'a str,
    pub object: Option<&'a Value>,
    pub old: Option<&'a Value>,
    pub dry_run: bool,
}

impl<'a> Writing<'a> {
    fn request(&self) -> AdmissionRequest<'a> {
        AdmissionRequest {
            operation: self.operation,
            identity: self.identity,
            api_version: &self.kind.api_version,
            kind: &self.kind.kind,
            resource: &self.kind.plural,
            subresource: self.subresource,
            namespace: self.namespace,
            name: self.name,
            object: self.object,
            old: self.old,
            dry_run: self.dry_run,
        }
    }
}

/// The finalizers that the hooks want on a new object.
pub(crate) fn finalizers(server: &Server, writing: &Writing<'_>) -> Vec<&'static str> {
    let request = writing.request();
    server.admission.iter().flat_map(|hook| hook.finalizers(&request)).collect()
}

/// Asks the hooks; their warnings are returned.
pub(crate) fn judge(server: &Server, writing: &Writing<'_>) -> Result<Vec<String>, ApiError> {
    let kind = writing.kind;
    let request = writing.request();
    let mut warnings = Vec::new();
    for hook in &server.admission {
        match hook.judge(&request) {
            Verdict::Allow(more) => warnings.extend(more),
            Verdict::Forbid(why) => {
                return Err(ApiError::forbidden(&kind.group, &kind.plural, writing.name, &why));
            }
            Verdict::Invalid(errors) => {
                let causes = errors.into_iter().map(Cause::from).collect();
                return Err(ApiError::invalid(&kind.group, &kind.kind, writing.name, causes));
            }
        }
    }
    Ok(warnings)
}

/// Nothing is made in a namespace that is not there or is going.
pub(crate) async fn namespace_lives(
    store: &dyn Store,
    kind: &Kind,
    namespace: &str,
    name: &str,
) -> Result<(), ApiError> {
    let Some(entry) = store.get(&key("", "namespaces", None, namespace)).await? else {
        return Err(ApiError::not_found("", "namespaces", namespace));
    };
    // Decoding every namespace on every create would cost more than the rest of this check.
    let deleting = entry.value.windows(DELETING.len()).any(|window| window == DELETING);
    if !deleting {
        return Ok(());
    }
    let object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    if !object::is_deleting(&object) {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    Err(ApiError::forbidden(&kind.group, &kind.plural, name, &why).caused_by(Cause {
        reason: "NamespaceTerminating",
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    }))
}

const DELETING: &[u8] = b"\"deletionTimestamp\"";

/// Namespaces that are part of every cluster.
const LASTING: [&str; 5] =
    ["default", "kube-system", "kube-public", "kube-node-lease", "archipel-system"];

/// What may never be deleted.
pub(crate) fn may_be_deleted(kind: &Kind, name: &str) -> Result<(), ApiError> {
    if kind.is("", "namespaces") && LASTING.contains(&name) {
        return Err(ApiError::forbidden(
            "",
            "namespaces",
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// ConfigMaps and Secrets that were made immutable stay as they are.
pub(crate) fn immutable(kind: &Kind, old: &Value, new: &Value) -> Vec<Cause> {
    let frozen = kind.is("", "configmaps") || kind.is("", "secrets");
    let mut causes = Vec::new();
    if frozen && old["immutable"] == true {
        let text = |field: &str| {
            Cause::field(field, "Forbidden: field is immutable when `immutable` is set")
        };
        if new["immutable"] != true {
            causes.push(text("immutable"));
        }
        for field in ["data", "binaryData"] {
            if old.get(field) != new.get(field) {
                causes.push(text(field));
            }
        }
    }
    if kind.is("", "secrets") && old.get("type") != new.get("type") {
        let plain = |object: &Value| object["type"].as_str().unwrap_or("Opaque").to_owned();
        if plain(old) != plain(new) {
            causes.push(Cause::field(
                "type",
                format!("Invalid value: {:?}: field is immutable", plain(new)),
            ));
        }
    }
    causes
}
