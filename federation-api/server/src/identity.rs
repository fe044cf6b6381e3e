//! Who makes a request: taken from an authenticated subject, never from what the request says of itself.

use std::collections::BTreeMap;

/// An authenticated subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// One of our own components: `system:serviceaccount:archipel-system:<component>`.
    pub fn component(component: &str) -> Self {
        Self::service_account("archipel-system", component)
    }

    /// Whether it is one of our own components.
    pub fn is_component(&self) -> bool {
        self.user.starts_with("system:serviceaccount:archipel-system:")
    }

    /// Whether it may do everything, whatever roles say.
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }

    /// A ServiceAccount with the groups that Kubernetes gives to it.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            ..Self::default()
        }
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self {
            user: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Self::default()
        }
    }
}
