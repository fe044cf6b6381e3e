//! What joining makes in a member: an account, its roles, and the guard.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::names::{
    ADOPT_ANNOTATION, COPY_OF_ANNOTATION, MEMBER_SERVICE_ACCOUNT, SYSTEM_NAMESPACE,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::apis::Discovery;

/// The name of the admission policy on the member and of its binding.
pub const GUARD: &str = "archipel-guard";

/// Label of what joining made, for taking it away again.
pub(super) const MADE_BY_LABEL: &str = "archipel.dev/made-by";
const MADE_BY: &str = "join";

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

fn labels() -> Value {
    json!({ MADE_BY_LABEL: MADE_BY, "app.kubernetes.io/part-of": "archipel" })
}

/// An object of these literals as its type.
pub(super) fn typed<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("a literal of the type's own fields")
}

pub(super) fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
           "metadata": {"name": SYSTEM_NAMESPACE, "labels": labels()}})
}

pub(super) fn account() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": false,
        "metadata": {"name": MEMBER_SERVICE_ACCOUNT, "namespace": SYSTEM_NAMESPACE, "labels": labels()},
    })
}

/// Whatever a policy can select, kinds of tomorrow included. RBAC knows no exceptions: that none of this reaches what is
/// not ours, nor any subresource, is what the guard is for. `escalate`, `bind` and `impersonate` are not among the verbs.
pub(super) fn role() -> Value {
    cluster_role(&json!([{
        "apiGroups": ["*"], "resources": ["*"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
    }]))
}

/// Where there is no guard: the kinds that are served today, none of their subresources.
pub(super) fn role_without_guard(discovery: &Discovery) -> Value {
    let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for api in discovery.apis().filter(|it| it.creatable) {
        groups.entry(&api.group).or_default().insert(&api.resource);
    }
    let mut rules: Vec<Value> = groups
        .into_iter()
        .map(|(group, resources)| {
            json!({
                "apiGroups": [group], "resources": resources,
                "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
            })
        })
        .collect();
    rules.push(json!({"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["get", "list", "watch"]}));
    cluster_role(&Value::Array(rules))
}

fn cluster_role(rules: &Value) -> Value {
    json!({
        "apiVersion": RBAC, "kind": "ClusterRole",
        "metadata": {"name": MEMBER_SERVICE_ACCOUNT, "labels": labels()},
        "rules": rules,
    })
}

/// Goes with its role by the member's garbage collection: our account cannot take away its last right and use it.
pub(super) fn role_binding(role_uid: &str) -> Value {
    json!({
        "apiVersion": RBAC, "kind": "ClusterRoleBinding",
        "metadata": {"name": MEMBER_SERVICE_ACCOUNT, "labels": labels(), "ownerReferences": [{
            "apiVersion": RBAC, "kind": "ClusterRole", "name": MEMBER_SERVICE_ACCOUNT, "uid": role_uid,
        }]},
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": MEMBER_SERVICE_ACCOUNT},
        "subjects": subjects(),
    })
}

/// Lets the account renew its own token.
pub(super) fn token_role() -> Value {
    json!({
        "apiVersion": RBAC, "kind": "Role",
        "metadata": {"name": MEMBER_SERVICE_ACCOUNT, "namespace": SYSTEM_NAMESPACE, "labels": labels()},
        "rules": [{
            "apiGroups": [""], "resources": ["serviceaccounts/token"],
            "resourceNames": [MEMBER_SERVICE_ACCOUNT], "verbs": ["create"],
        }],
    })
}

pub(super) fn token_binding() -> Value {
    json!({
        "apiVersion": RBAC, "kind": "RoleBinding",
        "metadata": {"name": MEMBER_SERVICE_ACCOUNT, "namespace": SYSTEM_NAMESPACE, "labels": labels()},
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": MEMBER_SERVICE_ACCOUNT},
        "subjects": subjects(),
    })
}

fn subjects() -> Value {
    json!([{"kind": "ServiceAccount", "name": MEMBER_SERVICE_ACCOUNT, "namespace": SYSTEM_NAMESPACE}])
}

/// The admission policy that keeps our account to changing what carries our marks for that very object (RULES 4.2):
/// copied marks prove nothing. Events may be changed without; an owner may hand an object over by annotation; of
/// subresources there is only the account's own token.
pub(super) fn guard() -> Value {
    let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{MEMBER_SERVICE_ACCOUNT}");
    let subresource = "has(request.subResource) && request.subResource != ''";
    let own_token = format!(
        "request.resource.resource == 'serviceaccounts' && request.subResource == 'token' && \
         request.name == '{MEMBER_SERVICE_ACCOUNT}' && request.namespace == '{SYSTEM_NAMESPACE}'"
    );
    // The annotation is the proof; the label only finds candidates, and one that was taken off is put back.
    let copy_of = format!(
        "has(oldObject.metadata.annotations) && '{COPY_OF_ANNOTATION}' in oldObject.metadata.annotations ? \
         string(oldObject.metadata.annotations['{COPY_OF_ANNOTATION}']).split('/') : ['']"
    );
    let marked = "variables.parts.size() == 6 && variables.parts[2] == request.kind.kind && \
         variables.parts[4] == string(oldObject.metadata.name) && \
         (!has(oldObject.metadata.ownerReferences) || \
          !oldObject.metadata.ownerReferences.exists(it, has(it.controller) && it.controller))";
    let free = "request.operation != 'DELETE' && request.resource.resource == 'events'";
    let handed_over = format!(
        "request.operation == 'UPDATE' && has(oldObject.metadata.annotations) && \
         '{ADOPT_ANNOTATION}' in oldObject.metadata.annotations && \
         oldObject.metadata.annotations['{ADOPT_ANNOTATION}'] == 'true'"
    );
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": GUARD, "labels": labels()},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
                "operations": ["CREATE", "UPDATE", "DELETE", "CONNECT"],
            }],
            // What comes into being was nobody's, and whoever may write the marks could forge them: to look at every new
            // object would bound nothing, and costs the member more than all else that a copy costs it. Subresources
            // that are created, tokens and evictions, are looked at: `*` means objects alone.
            "excludeResourceRules": [{
                "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"],
                "operations": ["CREATE"],
            }]},
            "matchConditions": [{
                "name": "our-account", "expression": format!("request.userInfo.username == '{user}'"),
            }],
            "variables": [{"name": "parts", "expression": copy_of}],
            "validations": [
                {
                    "expression": format!(
                        "request.operation != 'CONNECT' && (!({subresource}) || ({own_token}))"
                    ),
                    "message": "archipel-syncer has no business with subresources",
                    "reason": "Forbidden",
                },
                {
                    "expression": format!("({subresource}) || ({free}) || ({marked}) || ({handed_over})"),
                    "message": "archipel-syncer may change only what carries the marks of Archipel",
                    "reason": "Forbidden",
                },
            ],
        },
    })
}

pub(super) fn guard_binding() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": GUARD, "labels": labels()},
        "spec": {"policyName": GUARD, "validationActions": ["Deny"]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_8_the_account_may_not_widen_its_rights() {
        for role in [role(), token_role(), role_without_guard(&Discovery::default())] {
            let text = role.to_string();
            for verb in ["escalate", "bind\"", "impersonate", "\"verbs\":[\"*\"]"] {
                assert!(!text.contains(verb), "{text}");
            }
        }
    }

    #[test]
    fn the_literals_are_of_their_types() {
        use k8s_openapi::api::{
            admissionregistration::v1 as admission, core::v1 as core, rbac::v1 as rbac,
        };
        let _: core::Namespace = typed(namespace());
        let _: core::ServiceAccount = typed(account());
        let _: rbac::ClusterRole = typed(role());
        let _: rbac::RoleBinding = typed(token_binding());
        let policy: admission::ValidatingAdmissionPolicy = typed(guard());
        assert_eq!(policy.spec.and_then(|it| it.validations).map_or(0, |it| it.len()), 2);
    }
}
