//! What sees every answer go out, whichever way its request came in: audit here, metrics beside it.

use std::time::Duration;

use http::Response;

use crate::{authorize::Attributes, body::ResponseBody, identity::Identity};

/// An answered request.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    pub identity: &'a Identity,
    /// What was asked for; only the path and the method when the request could not be understood.
    pub attributes: &'a Attributes,
    /// Until the head of the answer was there; a watch goes on after that.
    pub elapsed: Duration,
}

/// Sees each answer before it is sent, and may wrap its body.
pub trait Observer: Send + Sync + 'static {
    fn answered(
        &self,
        answered: Answered<'_>,
        response: Response<ResponseBody>,
    ) -> Response<ResponseBody>;
}

/// One line per change by anyone but the hub's own components, with the target `audit`; every other request at debug:
/// a component's change follows from somebody's, and the objects themselves say which. Never a body: it may be a secret.
#[derive(Clone, Copy, Debug, Default)]
pub struct Audit;

impl Observer for Audit {
    fn answered(
        &self,
        answered: Answered<'_>,
        response: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        let Answered { identity, attributes, elapsed } = answered;
        let code = response.status().as_u16();
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let behind = identity
            .extra
            .get(crate::authn::IMPERSONATED_BY)
            .and_then(|users| users.first())
            .map(String::as_str);
        if is_change(attributes) && !identity.is_component() {
            tracing::info!(
                target: "audit",
                user = identity.user,
                impersonated_by = behind,
                verb = attributes.verb,
                group = attributes.group,
                resource = attributes.resource,
                subresource = attributes.subresource,
                namespace = attributes.namespace,
                name = attributes.name,
                path = attributes.path,
                code,
                micros,
            );
        } else {
            tracing::debug!(
                user = identity.user,
                impersonated_by = behind,
                verb = attributes.verb,
                path = attributes.path,
                code,
                micros,
                "answered"
            );
        }
        response
    }
}

/// Whether a request may have changed something. A review changes nothing, but who asks what is worth a line.
fn is_change(attributes: &Attributes) -> bool {
    matches!(
        attributes.verb.as_str(),
        "create" | "update" | "patch" | "delete" | "deletecollection" | "post" | "put"
    )
}
