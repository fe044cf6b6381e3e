//! `PUT` of an object, or of one of its subresources that has the object's form.

use bytes::Bytes;
use http::Response;

use super::Context;
use crate::{
    body::ResponseBody,
    decode, object,
    status::{self, ApiError},
    strategy::Part,
};

pub(super) async fn update(
    context: &mut Context<'_>,
    body: &Bytes,
    part: Part,
) -> Result<Response<ResponseBody>, ApiError> {
    let form = context.form()?;
    let options = context.write_options("UpdateOptions")?;
    let decoded = decode::object(&context.parts.headers, body, &context.kind.gvk())?;
    let mut new = decoded.value;
    context.intake(&mut new, decoded.complaints, &options)?;
    context.check_place(&new)?;
    if object::meta(&new, "name").is_empty() {
        return Err(ApiError::bad_request(
            "name must be provided: the object to be updated does not name itself",
        ));
    }
    let outcome = context.rewrite(&options, part, false, move |_, _| Ok(new.clone())).await?;
    Ok(context.show_outcome(status::OK, form, &outcome))
}
