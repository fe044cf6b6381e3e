use serde_json::json;

use super::*;

fn user(name: &str, groups: &[&str]) -> Identity {
    Identity {
        user: name.to_owned(),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        ..Identity::default()
    }
}

fn get<'a>(group: &'a str, resource: &'a str) -> Action<'a> {
    Action { verb: "get", group, resource, name: "x", ..Action::default() }
}

fn cluster_role(name: &str, labels: &Value, resource: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}],
    })
}

fn aggregate(name: &str, labels: &Value, selector: &Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "aggregationRule": {"clusterRoleSelectors": [selector]},
        // What somebody wrote here beside an aggregation rule does not count.
        "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    })
}

fn bind(name: &str, namespace: &str, role: (&str, &str), subjects: &Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"kind": role.0, "name": role.1},
        "subjects": subjects,
    })
}

#[test]
fn a_cluster_role_reaches_as_far_as_its_binding() {
    let mut index = Index::default();
    index.apply(Kind::ClusterRole, &cluster_role("reader", &json!({}), "pods"));
    let jane = json!([{"kind": "User", "name": "jane"}]);
    let sre = json!([{"kind": "Group", "name": "sre"}]);
    index.apply(Kind::RoleBinding, &bind("b", "shop", ("ClusterRole", "reader"), &jane));
    index.apply(Kind::ClusterRoleBinding, &bind("b", "", ("ClusterRole", "reader"), &sre));
    let (jane, sre) = (user("jane", &[]), user("sam", &["sre"]));
    for (who, namespace, allowed) in [
        (&jane, "shop", true),
        (&jane, "bank", false),
        (&jane, "", false),
        (&sre, "bank", true),
        (&sre, "", true),
    ] {
        assert_eq!(index.allows(who, namespace, &get("", "pods")), allowed, "{who:?} {namespace}");
    }
    index.remove(Kind::RoleBinding, "shop", "b");
    assert!(!index.allows(&jane, "shop", &get("", "pods")));
    assert!(index.allows(&sre, "shop", &get("", "pods")));
}

#[test]
fn a_service_account_is_a_user_of_its_namespace() {
    let mut index = Index::default();
    index.apply(Kind::ClusterRole, &cluster_role("reader", &json!({}), "pods"));
    let subjects = json!([{"kind": "ServiceAccount", "namespace": "ci", "name": "bot"}]);
    index.apply(Kind::RoleBinding, &bind("b", "shop", ("ClusterRole", "reader"), &subjects));
    assert!(index.allows(&Identity::service_account("ci", "bot"), "shop", &get("", "pods")));
    assert!(!index.allows(&Identity::service_account("shop", "bot"), "shop", &get("", "pods")));
    // A user cannot be called like a group, nor a group like a user.
    let impostor = user("x", &["system:serviceaccount:ci:bot"]);
    assert!(!index.allows(&impostor, "shop", &get("", "pods")));
}

#[test]
fn a_role_of_another_namespace_cannot_be_bound() {
    let mut index = Index::default();
    let mut role = cluster_role("reader", &json!({}), "pods");
    role["metadata"]["namespace"] = "bank".into();
    index.apply(Kind::Role, &role);
    let jane = json!([{"kind": "User", "name": "jane"}]);
    index.apply(Kind::RoleBinding, &bind("b", "shop", ("Role", "reader"), &jane));
    index.apply(Kind::ClusterRoleBinding, &bind("b", "", ("Role", "reader"), &jane));
    for namespace in ["shop", "bank", ""] {
        assert!(!index.allows(&user("jane", &[]), namespace, &get("", "pods")), "{namespace}");
    }
}

#[test]
fn aggregation_follows_labels_through_aggregates() {
    let mut index = Index::default();
    index.apply(
        Kind::ClusterRole,
        &aggregate("edit", &json!({}), &json!({"matchLabels": {"to-edit": "true"}})),
    );
    index.apply(
        Kind::ClusterRole,
        &aggregate(
            "view",
            &json!({"to-edit": "true"}),
            &json!({"matchLabels": {"to-view": "true"}}),
        ),
    );
    let jane = json!([{"kind": "User", "name": "jane"}]);
    index.apply(Kind::ClusterRoleBinding, &bind("b", "", ("ClusterRole", "edit"), &jane));
    let jane = user("jane", &[]);
    assert!(!index.allows(&jane, "", &get("", "widgets")));
    index.apply(Kind::ClusterRole, &cluster_role("more", &json!({"to-view": "true"}), "widgets"));
    assert!(index.allows(&jane, "", &get("", "widgets")));
    index.apply(Kind::ClusterRole, &cluster_role("more", &json!({}), "widgets"));
    assert!(!index.allows(&jane, "", &get("", "widgets")));
}

#[test]
fn aggregates_that_choose_each_other_end() {
    let mut index = Index::default();
    let labels = json!({"both": "true"});
    let selector = json!({"matchExpressions": [{"key": "both", "operator": "Exists"}]});
    index.apply(Kind::ClusterRole, &aggregate("a", &labels, &selector));
    index.apply(Kind::ClusterRole, &aggregate("b", &labels, &selector));
    index.apply(Kind::ClusterRole, &cluster_role("c", &labels, "pods"));
    let of = |index: &Index, name: &str| {
        index.rules_of(&RoleRef::ClusterRole(name.to_owned())).unwrap().len()
    };
    assert_eq!((of(&index, "a"), of(&index, "b")), (1, 1));
}
