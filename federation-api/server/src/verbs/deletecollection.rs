//! `DELETE` of a collection: each selected object, as if it were deleted alone.

use bytes::Bytes;
use http::Response;

use super::{Context, delete, list};
use crate::{
    body::ResponseBody,
    respond,
    status::{self, ApiError},
    view,
};

pub(super) async fn delete(
    context: &mut Context<'_>,
    body: &Bytes,
) -> Result<Response<ResponseBody>, ApiError> {
    let form = context.form()?;
    let options = delete::options(context, body)?;
    let page = list::selected(context).await?;
    for entry in &page.entries {
        let name = context.kind.place(&entry.key).1.to_owned();
        match delete::remove(context, &entry.key, &name, &options).await {
            Ok(_) => {}
            // Somebody else was quicker.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let entries = page.entries.iter().map(|entry| &**entry);
    let body = view::list(entries, &context.kind, form.shape, &page.meta);
    Ok(respond::encoded(status::OK, form, body))
}
