//! `PATCH`: an object changed in part, in four ways.

use bytes::Bytes;
use federation_schema::{json_patch, merge, model::TypeRef, strict};
use http::Response;
use serde_json::Value;

use super::{Context, apply};
use crate::{
    body::ResponseBody,
    decode,
    status::{self, ApiError, Cause},
    strategy::Part,
};

/// How a patch is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, \
                        application/strategic-merge-patch+json, application/apply-patch+yaml";
const ACCEPTED_BY_CUSTOM: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

/// A patch that was read, and what is to be said of its form.
#[derive(Debug)]
pub(super) struct Patch {
    kind: PatchKind,
    body: Value,
    pub complaints: Vec<String>,
}

impl Patch {
    pub(super) fn read(context: &Context<'_>, body: &Bytes) -> Result<Self, ApiError> {
        let kind = Self::kind(context)?;
        let parsed = strict::parse_json(body)
            .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
        Ok(Self { kind, body: parsed.value, complaints: parsed.duplicates })
    }

    pub(super) fn kind(context: &Context<'_>) -> Result<PatchKind, ApiError> {
        match decode::media_type(&context.parts.headers) {
            "application/json-patch+json" => Ok(PatchKind::Json),
            "application/merge-patch+json" => Ok(PatchKind::Merge),
            "application/strategic-merge-patch+json" if !context.kind.is_custom() => {
                Ok(PatchKind::Strategic)
            }
            "application/apply-patch+yaml" | "application/apply-patch" => Ok(PatchKind::Apply),
            _ if context.kind.is_custom() => {
                Err(ApiError::unsupported_media_type(ACCEPTED_BY_CUSTOM))
            }
            _ => Err(ApiError::unsupported_media_type(ACCEPTED)),
        }
    }

    /// The object after the patch.
    pub(super) fn apply(&self, object: &Value, ty: &TypeRef) -> Result<Value, ApiError> {
        match self.kind {
            PatchKind::Json => json_patch::apply(object, &self.body).map_err(|error| match error {
                json_patch::Error::Malformed(why) => ApiError::bad_request(why),
                json_patch::Error::TooManyOperations(_) => {
                    ApiError::too_large_because(error.to_string())
                }
                json_patch::Error::Failed(why) | json_patch::Error::Unmet(why) => {
                    ApiError::unprocessable(why)
                }
            }),
            PatchKind::Merge => {
                if !self.body.is_object() {
                    return Err(ApiError::bad_request(
                        "error decoding patch: it is no JSON object",
                    ));
                }
                let mut object = object.clone();
                json_patch::merge(&mut object, &self.body);
                Ok(object)
            }
            PatchKind::Strategic => {
                merge::strategic(object, &self.body, ty).map_err(|error| match error {
                    merge::Error::Malformed { .. } => ApiError::bad_request(error.to_string()),
                    merge::Error::Unfit { .. } => ApiError::unprocessable(error.to_string()),
                })
            }
            PatchKind::Apply => Err(ApiError::unsupported_media_type(ACCEPTED)),
        }
    }
}

pub(super) async fn patch(
    context: &mut Context<'_>,
    body: &Bytes,
    part: Part,
) -> Result<Response<ResponseBody>, ApiError> {
    if Patch::kind(context)? == PatchKind::Apply {
        return apply::apply(context, body, part).await;
    }
    let form = context.form()?;
    let options = context.write_options("PatchOptions")?;
    if context.info.query.get("force").is_some() {
        let cause = Cause::field("force", "Forbidden: may not be specified for non-apply patch");
        return Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", vec![cause]));
    }
    let mut patch = Patch::read(context, body)?;
    let complaints = std::mem::take(&mut patch.complaints);
    let settings = options.clone();
    let outcome = context
        .rewrite(&options, part, false, move |context, old| {
            let mut new = patch.apply(old, &context.kind.ty)?;
            if !new.is_object() {
                return Err(ApiError::unprocessable("the patch leaves no object"));
            }
            context.intake(&mut new, complaints.clone(), &settings)?;
            context.check_place(&new)?;
            Ok(new)
        })
        .await?;
    Ok(context.show_outcome(status::OK, form, &outcome))
}
