//! Whoever asks a review: the kinds and objects that the hub serves to them, and what it says to them instead.

use std::collections::BTreeMap;

use federation_types::{names::Gvk, review::plan::ObjectRef};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
    discovery::{ApiCapabilities, Scope, pinned_kind},
};

/// Why a review is not answered.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{field}: {message}")]
    Invalid { field: String, message: String },
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    /// Asked again, it comes out the same.
    #[error("{0}")]
    Failed(String),
    /// Asked again, it may be answered.
    #[error("{0}")]
    Unavailable(String),
}

impl PlanError {
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }
}

/// What the API says to the caller, at the field that it says it of.
pub fn refused(field: &str, error: kube::Error) -> PlanError {
    match error {
        kube::Error::Api(status) => match status.code {
            403 => PlanError::Forbidden(format!("{field}: {}", status.message)),
            404 => PlanError::NotFound(format!("{field}: {}", status.message)),
            409 => PlanError::invalid(
                field,
                format!("{}; --force-conflicts (spec.force) takes the fields over", status.message),
            ),
            // Clients repeat what is said to be unavailable: only what passes by itself is.
            429 | 503 | 504 => PlanError::Unavailable(format!("{field}: {}", status.message)),
            400..=499 => PlanError::invalid(field, status.message.clone()),
            _ => PlanError::Failed(format!("{field}: {}", status.message)),
        },
        other => PlanError::Unavailable(format!("{field}: {other}")),
    }
}

/// Whether the caller may read objects of a kind in a namespace; empty: in all.
pub(crate) async fn may_get(
    caller: &Client,
    resource: &ApiResource,
    namespace: &str,
) -> Result<bool, PlanError> {
    let attributes = ResourceAttributes {
        group: Some(resource.group.clone()),
        resource: Some(resource.plural.clone()),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        verb: Some("get".to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api = Api::<SelfSubjectAccessReview>::all(caller.clone());
    let answer = api
        .create(&PostParams::default(), &review)
        .await
        .map_err(|error| PlanError::Unavailable(error.to_string()))?;
    Ok(answer.status.is_some_and(|it| it.allowed))
}

/// The kinds that the hub serves, as the caller finds them; each is looked up once.
pub(crate) struct Kinds<'a> {
    pub(crate) caller: &'a Client,
    known: BTreeMap<(String, String), (ApiResource, ApiCapabilities)>,
}

impl<'a> Kinds<'a> {
    pub(crate) fn new(caller: &'a Client) -> Self {
        Self { caller, known: BTreeMap::new() }
    }

    pub(crate) async fn find(
        &mut self,
        field: &str,
        api_version: &str,
        kind: &str,
    ) -> Result<(ApiResource, ApiCapabilities), PlanError> {
        let id = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let gvk = Gvk::new(api_version, kind);
        let found =
            pinned_kind(self.caller, &(&gvk).into()).await.map_err(|error| match error {
                kube::Error::Api(status) if !status.is_not_found() => {
                    refused(field, kube::Error::Api(status))
                }
                kube::Error::Service(_) | kube::Error::HyperError(_) => refused(field, error),
                _ => {
                    let message = format!("Invalid value: the hub serves no {api_version} {kind}");
                    PlanError::invalid(field, message)
                }
            })?;
        self.known.insert(id, found.clone());
        Ok(found)
    }

    pub(crate) fn api(&self, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        if namespace.is_empty() {
            Api::all_with(self.caller.clone(), resource)
        } else {
            Api::namespaced_with(self.caller.clone(), namespace, resource)
        }
    }

    /// Where an object is to be read or written, if its name and its namespace can be those of one.
    pub(crate) async fn api_of(
        &mut self,
        field: &str,
        object: &ObjectRef,
    ) -> Result<Api<DynamicObject>, PlanError> {
        let ObjectRef { api_version, kind, namespace, name } = object;
        for (name, text) in [("apiVersion", api_version), ("kind", kind), ("name", name)] {
            segment(&format!("{field}.{name}"), text, name == "apiVersion")?;
        }
        let (resource, capabilities) =
            self.find(&format!("{field}.kind"), api_version, kind).await?;
        let field = format!("{field}.namespace");
        match capabilities.scope {
            Scope::Namespaced => segment(&field, namespace, false)?,
            Scope::Cluster if namespace.is_empty() => (),
            Scope::Cluster => {
                let message = format!("Invalid value: {namespace:?}: a {kind} is in no namespace");
                return Err(PlanError::invalid(field, message));
            }
        }
        Ok(self.api(&resource, namespace))
    }
}

/// Whether a text can be a part of a path; of an API version, two.
fn segment(field: &str, text: &str, two: bool) -> Result<(), PlanError> {
    if text.is_empty() {
        return Err(PlanError::invalid(field, "Required value"));
    }
    let slashes = text.matches('/').count();
    let strange = text.contains(['%', '?', '#']) || text.chars().any(char::is_whitespace);
    if strange || slashes > usize::from(two) || text == "." || text == ".." {
        return Err(PlanError::invalid(field, format!("Invalid value: {text:?}: no such name")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_unavailable() {
        let said = |code: u16| {
            let status = Status { code, message: ".spec.x: no".to_owned(), ..Status::default() };
            refused("spec.objects[0]", kube::Error::Api(Box::new(status)))
        };
        for code in [400, 405, 413, 415, 422] {
            let error = said(code);
            assert!(matches!(&error, PlanError::Invalid { .. }), "{code}: {error:?}");
            assert_eq!(error.to_string(), "spec.objects[0]: .spec.x: no");
        }
        for code in [429, 503, 504] {
            assert!(matches!(said(code), PlanError::Unavailable(_)), "{code}");
        }
        assert!(matches!(said(500), PlanError::Failed(_)));
    }

    #[test]
    fn what_no_object_can_be_called_is_bad_input() {
        let said = |text: &str, two| segment("spec.name", text, two).map_err(|it| it.to_string());
        assert_eq!(said("web", false), Ok(()));
        assert_eq!(said("apps/v1", true), Ok(()));
        assert_eq!(said("", false), Err("spec.name: Required value".to_owned()));
        for text in ["a/b", "..", "a%2fb", "a b", "a?b"] {
            let expected = format!("spec.name: Invalid value: {text:?}: no such name");
            assert_eq!(said(text, false), Err(expected));
        }
        assert!(said("apps/v1/x", true).is_err());
    }
}
