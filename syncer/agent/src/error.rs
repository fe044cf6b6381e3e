//! Why a write did not reach a member, and when another try can help.

use federation_types::{names::ObjectKey, reason::copy};

/// Each variant is a situation in which an operator, or the next pass, does something different.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    /// The object is there already, or it is another one than was seen.
    #[error("{object} changed meanwhile")]
    Changed { object: ObjectKey },
    #[error("{object} is not there any more")]
    Gone { object: ObjectKey },
    #[error("namespace `{namespace}` is missing")]
    NoNamespace { namespace: String },
    #[error("the namespace is being deleted")]
    Terminating,
    #[error("the credentials are not accepted any more")]
    Unauthorised,
    #[error("{message}")]
    Refused { message: String },
    #[error("the cluster is busy: {message}")]
    Busy { message: String },
    #[error("the cluster does not answer")]
    Unreachable { source: kube::Error },
}

impl ActError {
    /// Sorts a client error into what it means here: the one place that reads status codes.
    pub(crate) fn from_client(object: &ObjectKey, source: kube::Error) -> Self {
        let kube::Error::Api(status) = &source else {
            return Self::Unreachable { source };
        };
        let message = status.message.clone();
        let about_namespace = status.details.as_ref().is_some_and(|it| it.kind == "namespaces")
            && !object.namespace.is_empty();
        match status.code {
            401 => Self::Unauthorised,
            404 if about_namespace => Self::NoNamespace { namespace: object.namespace.to_string() },
            404 => Self::Gone { object: object.clone() },
            403 if message.contains("is being terminated") => Self::Terminating,
            409 => Self::Changed { object: object.clone() },
            429 | 500.. => Self::Busy { message },
            _ => Self::Refused { message },
        }
    }

    /// The `reason` of the copy's report.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Changed { .. } | Self::Gone { .. } => copy::DRIFT,
            Self::NoNamespace { .. } => copy::NAMESPACE_MISSING,
            Self::Terminating => copy::TERMINATING,
            Self::Refused { .. } => copy::REFUSED,
            Self::Unauthorised | Self::Busy { .. } | Self::Unreachable { .. } => copy::UNREACHABLE,
        }
    }
}
