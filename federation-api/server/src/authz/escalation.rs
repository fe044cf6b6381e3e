//! Nobody grants what they do not hold: checks on writes of roles and bindings.

use std::sync::Arc;

use serde_json::Value;

use super::{
    RBAC_GROUP, Rbac,
    index::{self, Index, RoleRef},
    rule::{Action, Rule},
};
use crate::{
    hooks::{Admission, AdmissionRequest, FieldError, Operation, Verdict},
    identity::Identity,
};

/// Admission of roles and bindings. A role may hold only what its author holds, unless the author has the verb
/// `escalate` on it; a binding may give only a role whose rules its author holds, unless the author has `bind` on that
/// role.
#[derive(Clone, Debug)]
pub struct EscalationCheck(pub Arc<Rbac>);

impl Admission for EscalationCheck {
    fn judge(&self, request: &AdmissionRequest<'_>) -> Verdict {
        let group = request.api_version.split_once('/').map_or("", |(group, _)| group);
        let (Some(object), RBAC_GROUP) = (request.object, group) else {
            return Verdict::Allow(Vec::new());
        };
        if request.operation == Operation::Delete {
            return Verdict::Allow(Vec::new());
        }
        let index = self.0.index.read();
        match request.resource {
            "roles" | "clusterroles" => judge_role(&index, request, object),
            "rolebindings" | "clusterrolebindings" => judge_binding(&index, request, object),
            _ => Verdict::Allow(Vec::new()),
        }
    }
}

fn judge_role(index: &Index, request: &AdmissionRequest<'_>, object: &Value) -> Verdict {
    let same = |field: &str| {
        request
            .old
            .is_some_and(|old| old.get(field).filter(given) == object.get(field).filter(given))
    };
    if same("rules") && same("aggregationRule") {
        return Verdict::Allow(Vec::new());
    }
    let namespace = request.namespace.unwrap_or_default();
    let escalate = Action {
        verb: "escalate",
        group: RBAC_GROUP,
        resource: request.resource,
        name: request.name,
        ..Action::default()
    };
    if index.allows(request.identity, namespace, &escalate) {
        return Verdict::Allow(Vec::new());
    }
    let mut wanted: Vec<Rule> =
        object["rules"].as_array().into_iter().flatten().map(Rule::from_value).collect();
    if !same("aggregationRule") && object.get("aggregationRule").is_some_and(|rule| given(&rule)) {
        // What it will come to hold cannot be known now.
        wanted.push(everything());
    }
    require(index, request.identity, namespace, &wanted)
}

fn judge_binding(index: &Index, request: &AdmissionRequest<'_>, object: &Value) -> Verdict {
    if let Some(old) = request.old
        && old["roleRef"] != object["roleRef"]
    {
        return Verdict::Invalid(vec![FieldError {
            field: "roleRef".to_owned(),
            message: "Invalid value: cannot be changed; delete the binding and make another"
                .to_owned(),
        }]);
    }
    if request.old.is_some_and(|old| old["subjects"] == object["subjects"]) {
        return Verdict::Allow(Vec::new());
    }
    let namespace = request.namespace.unwrap_or_default();
    let Some(role) = index::role_ref(object, namespace) else {
        return Verdict::Invalid(vec![FieldError {
            field: "roleRef.kind".to_owned(),
            message: "Unsupported value: must be ClusterRole, or Role in a RoleBinding".to_owned(),
        }]);
    };
    let (resource, name) = match &role {
        RoleRef::Role { name, .. } => ("roles", name),
        RoleRef::ClusterRole(name) => ("clusterroles", name),
    };
    let bind = Action { verb: "bind", group: RBAC_GROUP, resource, name, ..Action::default() };
    if index.allows(request.identity, namespace, &bind) {
        return Verdict::Allow(Vec::new());
    }
    match index.rules_of(&role) {
        Some(rules) => require(index, request.identity, namespace, &rules),
        // A role that is made later could hold anything.
        None => Verdict::Forbid(format!(
            "{resource} {name:?} does not exist, and user {:?} may not bind what is not there yet",
            request.identity.user
        )),
    }
}

fn require(index: &Index, identity: &Identity, namespace: &str, wanted: &[Rule]) -> Verdict {
    let held = index.rules_for(identity, namespace);
    let missing: Vec<String> =
        wanted.iter().filter(|rule| !rule.covered_by(&held)).map(describe).collect();
    if missing.is_empty() {
        Verdict::Allow(Vec::new())
    } else {
        Verdict::Forbid(format!(
            "user {:?} is attempting to grant RBAC permissions not currently held: {}",
            identity.user,
            missing.join("; ")
        ))
    }
}

fn describe(rule: &Rule) -> String {
    let mut text = format!("{} {}", rule.verbs.join(","), rule.resources.join(","));
    if !rule.paths.is_empty() {
        text.push_str(&rule.paths.join(","));
    }
    if !rule.groups.iter().all(String::is_empty) {
        text.push_str(&format!(" in {}", rule.groups.join(",")));
    }
    if !rule.names.is_empty() {
        text.push_str(&format!(" named {}", rule.names.join(",")));
    }
    text
}

fn everything() -> Rule {
    let any = || vec!["*".to_owned()];
    Rule { verbs: any(), groups: any(), resources: any(), names: Vec::new(), paths: any() }
}

fn given(value: &&Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}
