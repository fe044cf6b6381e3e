//! Authorisation by RBAC: roles and bindings, nothing else. No group bypasses it, `system:masters` included.
//!
//! ```text
//! store ── watch ──▶ index ◀── Authorizer (each request)   ◀── escalation (writes of roles and bindings)
//! ```

use std::sync::Arc;

use parking_lot::RwLock;

use crate::{
    authorize::{Attributes, Authorizer, Decision},
    identity::Identity,
};

pub use self::{
    escalation::EscalationCheck,
    follow::FollowError,
    index::{Index, RoleRef},
    rule::{Action, Rule},
};

pub mod bootstrap;
mod escalation;
mod follow;
mod index;
mod roles;
mod rule;

/// The RBAC authorizer of one store.
#[derive(Debug)]
pub struct Rbac {
    index: Arc<RwLock<Index>>,
    /// Feeds the index; ends with this value.
    feed: Option<tokio::task::JoinHandle<()>>,
}

impl Rbac {
    /// An authorizer over an index that nobody feeds.
    pub fn fixed(index: Index) -> Self {
        Self { index: Arc::new(RwLock::new(index)), feed: None }
    }

    /// All that somebody may do in a namespace (empty: cluster-wide).
    pub fn rules_for(&self, identity: &Identity, namespace: &str) -> Vec<Rule> {
        self.index.read().rules_for(identity, namespace)
    }

    fn allows(&self, identity: &Identity, attributes: &Attributes) -> bool {
        self.index.read().allows(identity, &attributes.namespace, &attributes.into())
    }
}

impl Drop for Rbac {
    fn drop(&mut self) {
        if let Some(feed) = &self.feed {
            feed.abort();
        }
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Decision {
        if self.allows(identity, attributes) {
            Decision::Allow
        } else {
            Decision::Deny(String::new())
        }
    }
}

impl<'a> From<&'a Attributes> for Action<'a> {
    fn from(attributes: &'a Attributes) -> Self {
        if attributes.is_resource() {
            Self {
                verb: &attributes.verb,
                group: &attributes.group,
                resource: &attributes.resource,
                subresource: &attributes.subresource,
                name: &attributes.name,
                path: None,
            }
        } else {
            Self { verb: &attributes.verb, path: Some(&attributes.path), ..Self::default() }
        }
    }
}

/// Whether somebody may make this RBAC object a template that is copied to members: the verb `federate` on it
/// (RULES 2.3). `resource` is the plural name, `namespace` is empty for cluster-wide kinds.
pub fn may_federate(
    authorizer: &dyn Authorizer,
    identity: &Identity,
    resource: &str,
    namespace: &str,
    name: &str,
) -> bool {
    let attributes = Attributes {
        verb: "federate".to_owned(),
        group: RBAC_GROUP.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    authorizer.authorize(identity, &attributes) == Decision::Allow
}

/// The group of Role, ClusterRole and their bindings.
pub(crate) const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

#[cfg(test)]
mod tests;
