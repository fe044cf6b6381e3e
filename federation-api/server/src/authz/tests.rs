//! The denial matrix: who may do what by the roles of a first start, and who may grant what.

use serde_json::{Value, json};

use super::{index::Kind, *};
use crate::hooks::{Admission as _, AdmissionRequest, Operation, Verdict};

fn kind(resource: &str) -> Kind {
    match resource {
        "roles" => Kind::Role,
        "clusterroles" => Kind::ClusterRole,
        "rolebindings" => Kind::RoleBinding,
        "clusterrolebindings" => Kind::ClusterRoleBinding,
        other => panic!("{other}"),
    }
}

/// The bootstrap roles, and people of each kind: ann is admin, ed editor and vic viewer of the namespace `shop`.
fn rbac() -> Arc<Rbac> {
    let mut index = Index::default();
    for (resource, namespace, mut object) in roles::all() {
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        index.apply(kind(resource), &object);
    }
    for (user, role) in [("ann", "admin"), ("ed", "edit"), ("vic", "view")] {
        let binding = json!({
            "metadata": {"name": user, "namespace": "shop"},
            "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": user}],
        });
        index.apply(Kind::RoleBinding, &binding);
    }
    Arc::new(Rbac::fixed(index))
}

fn person(name: &str) -> Identity {
    let groups = match name {
        "anonymous" => return Identity::anonymous(),
        "root" => vec![crate::pki::ADMIN_GROUP, "system:authenticated"],
        "master" => vec!["system:masters", "system:authenticated"],
        "monitor" => vec!["system:monitoring", "system:authenticated"],
        _ => vec!["system:authenticated"],
    };
    Identity {
        user: name.to_owned(),
        groups: groups.into_iter().map(str::to_owned).collect(),
        ..Identity::default()
    }
}

/// `get apps/deployments shop/web`, `create core/serviceaccounts/token shop/x`, `list core/nodes /`, `get /metrics`
fn attributes(text: &str) -> Attributes {
    let mut words = text.split(' ');
    let verb = words.next().unwrap().to_owned();
    let what = words.next().unwrap();
    if what.starts_with('/') {
        return Attributes { verb, path: what.to_owned(), ..Attributes::default() };
    }
    let mut parts = what.split('/');
    let group = parts.next().filter(|&group| group != "core").unwrap_or_default().to_owned();
    let resource = parts.next().unwrap().to_owned();
    let subresource = parts.next().unwrap_or_default().to_owned();
    let (namespace, name) = words.next().unwrap_or("/").split_once('/').unwrap();
    Attributes {
        verb,
        group,
        resource,
        subresource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    }
}

#[test]
fn people_may_do_what_their_roles_say_and_nothing_else() {
    let rbac = rbac();
    let everybody = ["root", "ann", "ed", "vic", "nobody", "master", "monitor", "anonymous"];
    let cases: &[(&str, &[&str])] = &[
        ("get apps/deployments shop/web", &["root", "ann", "ed", "vic"]),
        ("watch apps/deployments shop/", &["root", "ann", "ed", "vic"]),
        ("get apps/deployments bank/web", &["root"]),
        ("list apps/deployments /", &["root"]),
        ("patch apps/deployments shop/web", &["root", "ann", "ed"]),
        ("patch apps/deployments/scale shop/web", &["root", "ann", "ed"]),
        ("patch apps/deployments/status shop/web", &["root"]),
        ("deletecollection apps/deployments shop/", &["root", "ann", "ed"]),
        ("get core/secrets shop/db", &["root", "ann", "ed"]),
        ("create core/serviceaccounts/token shop/ci", &["root", "ann", "ed"]),
        ("get core/nodes /n1", &["root"]),
        ("create core/namespaces /", &["root"]),
        ("get archipel.dev/placements shop/web", &["root", "ann", "ed", "vic"]),
        ("get archipel.dev/placements/copies shop/web", &["root", "ann", "ed", "vic"]),
        ("patch archipel.dev/placements shop/web", &["root"]),
        ("create archipel.dev/placementpolicies shop/", &["root", "ann", "ed"]),
        ("create archipel.dev/clusterplacementpolicies /", &["root"]),
        ("create archipel.dev/memberclusters /", &["root"]),
        // They hold what Secrets hold.
        ("get archipel.dev/revisions shop/x", &["root"]),
        ("list archipel.dev/clusterrevisions /", &["root"]),
        // Answered to whoever may read the object in question.
        (
            "create review.archipel.dev/explanations /",
            &["root", "ann", "ed", "vic", "nobody", "master", "monitor"],
        ),
        (
            "create review.archipel.dev/costs /",
            &["root", "ann", "ed", "vic", "nobody", "master", "monitor"],
        ),
        (
            "create review.archipel.dev/plans /",
            &["root", "ann", "ed", "vic", "nobody", "master", "monitor"],
        ),
        ("create rbac.authorization.k8s.io/rolebindings shop/", &["root", "ann"]),
        ("create rbac.authorization.k8s.io/clusterrolebindings /", &["root"]),
        ("federate rbac.authorization.k8s.io/roles shop/x", &["root"]),
        ("escalate rbac.authorization.k8s.io/roles shop/x", &["root"]),
        ("bind rbac.authorization.k8s.io/clusterroles shop/cluster-admin", &["root"]),
        ("impersonate core/users /jane", &["root"]),
        ("impersonate core/serviceaccounts shop/ci", &["root"]),
        (
            "create authorization.k8s.io/selfsubjectaccessreviews /",
            &["root", "ann", "ed", "vic", "nobody", "master", "monitor"],
        ),
        ("create authorization.k8s.io/subjectaccessreviews /", &["root"]),
        ("create authorization.k8s.io/localsubjectaccessreviews shop/", &["root", "ann"]),
        ("create authentication.k8s.io/tokenreviews /", &["root"]),
        ("get /healthz", &everybody),
        ("get /readyz", &everybody),
        ("get /version", &everybody),
        ("get /readyz/store", &["root", "monitor"]),
        ("get /metrics", &["root", "monitor"]),
        ("get /apis", &["root", "ann", "ed", "vic", "nobody", "master", "monitor"]),
        ("get /openapi/v3", &["root", "ann", "ed", "vic", "nobody", "master", "monitor"]),
        ("post /healthz", &["root"]),
    ];
    for (text, allowed) in cases {
        let attributes = attributes(text);
        for name in everybody {
            let decision = rbac.authorize(&person(name), &attributes);
            assert_eq!(decision == Decision::Allow, allowed.contains(&name), "{name}: {text}");
        }
    }
}

#[test]
fn components_hold_no_more_than_they_need() {
    let rbac = rbac();
    let all = ["placement-controller", "syncer", "lifecycle", "providers-controller", "web"];
    let cases: &[(&str, &[&str])] = &[
        ("watch apps/deployments /", &["placement-controller", "syncer", "lifecycle"]),
        ("list core/secrets /", &["placement-controller", "syncer", "lifecycle"]),
        (
            "get core/secrets archipel-system/c1",
            &["placement-controller", "syncer", "lifecycle", "providers-controller"],
        ),
        ("create core/secrets archipel-system/", &["providers-controller"]),
        ("create core/secrets shop/", &[]),
        ("patch apps/deployments shop/web", &["placement-controller", "lifecycle"]),
        ("patch x.example/things/status shop/a", &["placement-controller", "syncer", "lifecycle"]),
        ("patch x.example/things shop/a", &["placement-controller", "lifecycle"]),
        ("create apps/deployments shop/", &[]),
        ("delete apps/deployments shop/web", &["lifecycle"]),
        ("create core/namespaces /", &["lifecycle"]),
        ("update core/namespaces/finalize /shop", &["lifecycle"]),
        ("create archipel.dev/placements shop/", &["placement-controller"]),
        (
            "update archipel.dev/placements/status shop/web",
            &["placement-controller", "syncer", "lifecycle", "providers-controller"],
        ),
        ("update archipel.dev/memberclusters /c1", &["lifecycle", "providers-controller"]),
        ("get archipel.dev/memberclusters /c1", &all),
        ("create core/events shop/", &all),
        ("create rbac.authorization.k8s.io/clusterrolebindings /", &[]),
        ("escalate rbac.authorization.k8s.io/clusterroles /x", &[]),
        ("bind rbac.authorization.k8s.io/clusterroles /cluster-admin", &[]),
        ("impersonate core/users /root", &[]),
        ("create core/serviceaccounts/token shop/ci", &[]),
        ("create core/pods/exec shop/p", &[]),
        ("get /metrics", &[]),
        ("get /apis", &all),
    ];
    for (text, allowed) in cases {
        let attributes = attributes(text);
        for name in all {
            let decision = rbac.authorize(&Identity::component(name), &attributes);
            assert_eq!(decision == Decision::Allow, allowed.contains(&name), "{name}: {text}");
        }
    }
}

/// What admission says of `who` creating or (with `old`) updating an RBAC object.
fn judge(
    who: &str,
    resource: &str,
    namespace: &str,
    old: Option<&Value>,
    object: &Value,
) -> Verdict {
    let identity = person(who);
    EscalationCheck(rbac()).judge(&AdmissionRequest {
        operation: if old.is_some() { Operation::Update } else { Operation::Create },
        identity: &identity,
        api_version: "rbac.authorization.k8s.io/v1",
        kind: "",
        resource,
        subresource: "",
        namespace: Some(namespace).filter(|namespace| !namespace.is_empty()),
        name: "x",
        object: Some(object),
        old,
        dry_run: false,
    })
}

#[test]
fn nobody_writes_a_role_that_holds_more_than_he_does() {
    let role = |verb: &str, group: &str, resource: &str| json!({"rules": [{"verbs": [verb], "apiGroups": [group], "resources": [resource]}]});
    let cases = [
        ("ann", "roles", "shop", role("patch", "apps", "deployments"), true),
        ("ann", "roles", "shop", role("get", "", "nodes"), false),
        ("ann", "roles", "shop", role("*", "*", "*"), false),
        ("ann", "roles", "bank", role("get", "apps", "deployments"), false),
        ("ann", "clusterroles", "", role("get", "apps", "deployments"), false),
        ("vic", "roles", "shop", role("patch", "apps", "deployments"), false),
        ("root", "clusterroles", "", role("*", "*", "*"), true),
        (
            "ann",
            "clusterroles",
            "",
            json!({"aggregationRule": {"clusterRoleSelectors": [{}]}}),
            false,
        ),
        (
            "root",
            "clusterroles",
            "",
            json!({"aggregationRule": {"clusterRoleSelectors": [{}]}}),
            true,
        ),
        ("ann", "roles", "shop", json!({"rules": []}), true),
    ];
    for (who, resource, namespace, object, allowed) in cases {
        let verdict = judge(who, resource, namespace, None, &object);
        assert_eq!(matches!(verdict, Verdict::Allow(_)), allowed, "{who} {object} {verdict:?}");
    }
    // Who changes nothing in the rules grants nothing.
    let old = role("*", "*", "*");
    let mut new = old.clone();
    new["metadata"] = json!({"labels": {"a": "b"}});
    assert!(matches!(judge("ann", "roles", "shop", Some(&old), &new), Verdict::Allow(_)));
}

#[test]
fn nobody_binds_a_role_that_holds_more_than_he_does() {
    let binding = |role: &str| {
        json!({"roleRef": {"kind": "ClusterRole", "name": role},
               "subjects": [{"kind": "User", "name": "eve"}]})
    };
    for (who, resource, namespace, role, allowed) in [
        ("ann", "rolebindings", "shop", "view", true),
        ("ann", "rolebindings", "shop", "admin", true),
        ("ann", "rolebindings", "shop", "cluster-admin", false),
        ("ann", "rolebindings", "bank", "view", false),
        ("ann", "clusterrolebindings", "", "view", false),
        ("ann", "rolebindings", "shop", "not-there", false),
        ("root", "clusterrolebindings", "", "cluster-admin", true),
        ("root", "clusterrolebindings", "", "not-there", true),
    ] {
        let verdict = judge(who, resource, namespace, None, &binding(role));
        assert_eq!(matches!(verdict, Verdict::Allow(_)), allowed, "{who} {role} {verdict:?}");
    }
    let verdict = judge("root", "rolebindings", "shop", Some(&binding("view")), &binding("edit"));
    assert!(matches!(verdict, Verdict::Invalid(_)), "{verdict:?}");
    let mut role = binding("view");
    role["roleRef"]["kind"] = "Role".into();
    let verdict = judge("root", "clusterrolebindings", "", None, &role);
    assert!(matches!(verdict, Verdict::Invalid(_)), "{verdict:?}");
}

#[test]
fn rule_2_3_role_templates_need_the_verb_federate() {
    let rbac = rbac();
    for (who, allowed) in [("root", true), ("ann", false), ("master", false)] {
        let may = may_federate(&*rbac, &person(who), "rolebindings", "shop", "x");
        assert_eq!(may, allowed, "{who}");
    }
}
