//! `GET` of one object.

use http::Response;

use super::Context;
use crate::{
    body::ResponseBody,
    status::{self, ApiError},
};

pub(super) async fn get(context: &Context<'_>) -> Result<Response<ResponseBody>, ApiError> {
    let form = context.form()?;
    if let Some(version) = context.info.query.get("resourceVersion") {
        let wanted = super::revision(version)?;
        // Reads are of the newest version, so only one that is not there yet matters.
        let newest = context.server.store.revision();
        if wanted > newest {
            return Err(ApiError::future_version(wanted.0, newest.0));
        }
    }
    let entry = context.entry().await?;
    Ok(context.show(status::OK, form, &entry))
}
