//! What the composition root hangs into the server: admission by the parts that know the fleet, validation of our own
//! kinds, and reviews. The server itself knows nothing of placement.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use serde_json::Value;

use crate::identity::Identity;

/// What a write is about to do to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
}

/// A write as admission sees it, after defaulting and validation by schema.
#[derive(Debug)]
pub struct AdmissionRequest<'a> {
    pub operation: Operation,
    pub identity: &'a Identity,
    /// `apps/v1` or `v1`.
    pub api_version: &'a str,
    pub kind: &'a str,
    /// The resource's plural name.
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub namespace: Option<&'a str>,
    pub name: &'a str,
    /// The object to be stored; `None` on delete.
    pub object: Option<&'a Value>,
    /// The object as it stands; `None` on create.
    pub old: Option<&'a Value>,
    pub dry_run: bool,
}

/// A field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// `spec.spread[0].min`
    pub field: String,
    /// `Invalid value: 3: must not be more than max`
    pub message: String,
}

/// What admission says of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let through, with these `Warning:` headers.
    Allow(Vec<String>),
    /// 403 Forbidden with this message.
    Forbid(String),
    /// 422 Invalid, naming each field.
    Invalid(Vec<FieldError>),
}

/// Judges a write before it is stored. Synchronous and quick: it runs on every write.
pub trait Admission: Send + Sync + 'static {
    fn judge(&self, request: &AdmissionRequest<'_>) -> Verdict;

    /// Finalizers that a new object is made with: whoever would set them in a second write says so here.
    fn finalizers(&self, _request: &AdmissionRequest<'_>) -> Vec<&'static str> {
        Vec::new()
    }
}

/// Why a review was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
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

/// Answers a review: the whole object in, the whole object with its `status` out.
pub type Answer =
    dyn Fn(Identity, Value) -> BoxFuture<'static, Result<Value, ReviewError>> + Send + Sync;

/// A create-only kind in `review.archipel.dev/v1alpha1`, answered and never stored.
#[derive(Clone)]
pub struct Review {
    /// `Explanation`
    pub kind: &'static str,
    /// `explanations`
    pub resource: &'static str,
    pub namespaced: bool,
    pub answer: Arc<Answer>,
}

impl fmt::Debug for Review {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Review").field("kind", &self.kind).finish_non_exhaustive()
    }
}
