//! The question that is put to authorisation, and who answers it. What the answer follows from (RBAC) is elsewhere.

use crate::identity::Identity;

/// What a request wants to do, in the terms of RBAC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for other paths the
    /// lower-case HTTP method.
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    /// The plural name; empty for a path that is no resource.
    pub resource: String,
    pub subresource: String,
    /// Empty for cluster-scoped requests.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// The whole path; decides when `resource` is empty.
    pub path: String,
}

impl Attributes {
    /// Whether a resource is meant, rather than a path such as `/version`.
    pub fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }
}

/// What authorisation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// Refused; the reason is appended to the answer if it is not empty.
    Deny(String),
}

/// Decides what an identity may do. Synchronous and quick: it runs on every request.
pub trait Authorizer: Send + Sync + 'static {
    fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Decision;
}

/// Lets everything pass: for simulated members and tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn authorize(&self, _: &Identity, _: &Attributes) -> Decision {
        Decision::Allow
    }
}
