//! `POST` of a new object.

use bytes::Bytes;
use http::Response;

use super::Context;
use crate::{
    app::CreatedName,
    body::ResponseBody,
    decode,
    status::{self, ApiError},
};

pub(super) async fn create(
    context: &mut Context<'_>,
    body: &Bytes,
) -> Result<Response<ResponseBody>, ApiError> {
    if context.kind.namespaced && context.namespace().is_none() {
        return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
    }
    let form = context.form()?;
    let options = context.write_options("CreateOptions")?;
    let decoded = decode::object(&context.parts.headers, body, &context.kind.gvk())?;
    let mut object = decoded.value;
    context.intake(&mut object, decoded.complaints, &options)?;
    context.check_place(&object)?;
    if !crate::object::meta(&object, "resourceVersion").is_empty() {
        return Err(ApiError::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let outcome = context.insert(&options, object, false).await?;
    let mut response = context.show_outcome(status::CREATED, form, &outcome);
    response.extensions_mut().insert(CreatedName(outcome.name(&context.kind).to_owned()));
    Ok(response)
}
