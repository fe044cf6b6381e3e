//! The seam to the schema crate: what the verbs ask of a kind's type.

use federation_schema::{
    apply::{self, ApplyError, Owns, Write},
    crd::prune,
    error::FieldError,
    model::TypeRef,
    validate,
};
use serde_json::Value;

use crate::{
    registry::{Kind, SubresourceKind},
    status::{ApiError, Cause},
    strategy::Part,
    verbs::WriteOptions,
};

impl From<FieldError> for Cause {
    fn from(error: FieldError) -> Self {
        Self { reason: error.reason(), message: error.body(), field: error.field }
    }
}

/// Values that a built-in kind's fields cannot hold. Those of custom kinds are found by their rules.
pub(crate) fn type_errors(object: &Value, kind: &Kind) -> Vec<String> {
    if kind.is_custom() { Vec::new() } else { type_errors_of(object, &kind.ty) }
}

/// Values that a type's fields cannot hold.
pub(crate) fn type_errors_of(object: &Value, ty: &TypeRef) -> Vec<String> {
    validate::shape_errors(object, ty)
}

/// The fields that the kind does not have.
pub(crate) fn unknown_fields(object: &Value, kind: &Kind) -> Vec<String> {
    validate::unknown_fields(object, &kind.ty)
}

/// Takes out the fields that the kind does not have, and names them.
pub(crate) fn take_unknown_fields(object: &mut Value, kind: &Kind) -> Vec<String> {
    take_unknown_fields_of(object, &kind.ty)
}

/// Takes out the fields that a type does not have, and names them.
pub(crate) fn take_unknown_fields_of(object: &mut Value, ty: &TypeRef) -> Vec<String> {
    let unknown = validate::unknown_fields(object, ty);
    if !unknown.is_empty() {
        prune(object, ty);
    }
    unknown
}

/// Who writes what, for the managed fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub kind: &'a Kind,
    pub options: &'a WriteOptions,
    pub part: Part,
    /// The subresource's name; empty for the object itself.
    pub subresource: &'a str,
    /// RFC 3339 with seconds.
    pub now: &'a str,
}

impl Record<'_> {
    fn write(&self) -> Write<'_> {
        let owns = match self.part {
            Part::Main if self.kind.has_status() => Owns::AllBut("status"),
            Part::Sub(SubresourceKind::Status | SubresourceKind::Approval) => Owns::Only("status"),
            Part::Main
            | Part::Sub(
                SubresourceKind::Scale | SubresourceKind::Finalize | SubresourceKind::Eviction,
            ) => Owns::All,
        };
        Write {
            manager: &self.options.manager,
            api_version: &self.kind.api_version,
            subresource: self.subresource,
            now: self.now,
            owns,
        }
    }
}

/// Records who changed what. `old` is the object as it stands, `None` on creation.
pub(crate) fn track(old: Option<&Value>, new: Value, record: &Record<'_>) -> Value {
    apply::update(old, new, &record.kind.ty, &record.write())
}

/// Server-side apply.
pub(crate) fn apply(
    old: Option<&Value>,
    config: &Value,
    record: &Record<'_>,
    force: bool,
) -> Result<Value, ApiError> {
    apply::apply(old, config, &record.kind.ty, &record.write(), force).map_err(
        |error| match error {
            ApplyError::Conflicts(conflicts) => {
                let causes = conflicts
                    .causes()
                    .map(|(message, field)| Cause {
                        reason: "FieldManagerConflict",
                        message,
                        field,
                    })
                    .collect();
                ApiError::apply_conflict(conflicts.to_string(), causes)
            }
            ApplyError::BadRequest(why) => ApiError::bad_request(why),
            error @ ApplyError::Invalid(..) => ApiError::bad_request(error.to_string()),
        },
    )
}
