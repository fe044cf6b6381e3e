//! Kinds and subresources that code answers: nothing is stored.

use bytes::Bytes;
use federation_schema::catalogue::{Catalogue, Gvk};
use http::{Response, request::Parts};

use crate::{
    app::BuiltinCall,
    body::ResponseBody,
    decode::{self, FieldValidation},
    identity::Identity,
    negotiate,
    registry::{Answered, AnsweredResource},
    request::RequestInfo,
    respond, schema,
    status::{self, ApiError, Cause},
};

pub(super) async fn answer(
    identity: &Identity,
    parts: &Parts,
    info: &RequestInfo,
    resource: &AnsweredResource,
    body: &Bytes,
) -> Result<Response<ResponseBody>, ApiError> {
    let at = &info.attributes;
    if at.verb != "create" || at.name.is_empty() != resource.subresource.is_empty() {
        return Err(ApiError::method_not_allowed(
            "the server does not allow this method on the requested resource",
        ));
    }
    if resource.namespaced != info.namespace().is_some() {
        return Err(ApiError::path_not_found());
    }
    let form = negotiate::plain(&parts.headers)?;
    let expected = Gvk::of(&resource.kind_api_version, &resource.kind);
    let decoded = decode::object(&parts.headers, body, &expected)?;
    let mut object = decoded.value;
    if object["kind"] != *resource.kind || object["apiVersion"] != *resource.kind_api_version {
        return Err(ApiError::bad_request(format!(
            "the body must be a {} of {}",
            resource.kind, resource.kind_api_version
        )));
    }
    let mut complaints = decoded.complaints;
    if let Some(ty) = Catalogue::builtin().type_of(&expected) {
        let wrong = schema::type_errors_of(&object, &ty);
        if !wrong.is_empty() {
            return Err(ApiError::bad_request(wrong.join(", ")));
        }
        complaints.extend(schema::take_unknown_fields_of(&mut object, &ty));
    }
    let mut warnings = Vec::new();
    let validation = match info.query.get("fieldValidation") {
        Some("Strict") => FieldValidation::Strict,
        Some("Ignore") => FieldValidation::Ignore,
        _ => FieldValidation::Warn,
    };
    decode::complain(complaints, validation, &expected, &mut warnings)?;
    let mut causes: Vec<Cause> = Vec::new();
    let dry_run = super::dry_run(info.query.all("dryRun"), &mut causes);
    if !causes.is_empty() {
        return Err(ApiError::invalid("meta.k8s.io", "CreateOptions", "", causes));
    }
    let answered = match &resource.answered {
        Answered::Builtin(builtin) => {
            let call = BuiltinCall {
                identity,
                namespace: info.namespace(),
                name: Some(at.name.as_str()).filter(|name| !name.is_empty()),
                body: object,
                dry_run,
            };
            builtin.answer(call).await?
        }
        Answered::Review(review) => {
            if let (Some(namespace), Some(metadata)) =
                (info.namespace(), crate::object::metadata_mut(&mut object))
            {
                metadata.insert("namespace".to_owned(), namespace.into());
            }
            (review.answer)(identity.clone(), object).await?
        }
    };
    let mut response = respond::value_with(status::CREATED, form, &answered);
    respond::warn(&mut response, &warnings);
    Ok(response)
}
