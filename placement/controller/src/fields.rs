//! The fields in which two objects differ, as a person reads them. PURE.

use federation_types::review::plan::FieldChange;
use serde_json::Value;

/// Longer values are cut: a plan is read, not stored.
const SHOWN: usize = 200;
/// More fields than this are not listed.
const LISTED: usize = 200;
/// What is written by the API and by nobody's wish.
const SERVED: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
    "selfLink",
    "deletionTimestamp",
];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What differs, by path; a Secret's values are not shown (RULES 2.4).
pub(crate) fn differences(before: &Value, after: &Value) -> Vec<FieldChange> {
    let secret = after["kind"] == "Secret" || before["kind"] == "Secret";
    let mut found = Vec::new();
    walk(&mut found, "", before, after);
    found.truncate(LISTED);
    if secret {
        let hidden = |it: &FieldChange| {
            ["data", "stringData"].iter().any(|name| {
                it.path
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        for it in found.iter_mut().filter(|it| hidden(it)) {
            for value in [&mut it.before, &mut it.after] {
                if !value.is_empty() {
                    "(hidden)".clone_into(value);
                }
            }
        }
    }
    found
}

fn walk(found: &mut Vec<FieldChange>, path: &str, before: &Value, after: &Value) {
    if before == after || is_served(path) {
        return;
    }
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let below = if name.contains(['.', '/']) {
                    format!("{path}[{name}]")
                } else if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                let of = |it: &serde_json::Map<String, Value>| it.get(name).cloned();
                walk(found, &below, &of(a).unwrap_or_default(), &of(b).unwrap_or_default());
            }
        }
        (Value::Array(a), Value::Array(b)) if is_named(a) && is_named(b) => {
            let names: std::collections::BTreeSet<&str> =
                a.iter().chain(b).filter_map(|it| it["name"].as_str()).collect();
            for name in names {
                let of = |it: &[Value]| it.iter().find(|it| it["name"] == name).cloned();
                let below = format!("{path}[name={name}]");
                walk(found, &below, &of(a).unwrap_or_default(), &of(b).unwrap_or_default());
            }
        }
        (Value::Array(a), Value::Array(b))
            if a.len() == b.len() && a.iter().chain(b).all(Value::is_object) =>
        {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                walk(found, &format!("{path}[{at}]"), a, b);
            }
        }
        _ => found.push(FieldChange {
            path: path.to_owned(),
            before: shown(before),
            after: shown(after),
        }),
    }
}

fn is_served(path: &str) -> bool {
    path == "status"
        || path.strip_prefix("metadata.").is_some_and(|it| SERVED.contains(&it))
        || path.contains(LAST_APPLIED)
}

/// Lists like those of containers: their order says little, their names say which is which.
fn is_named(list: &[Value]) -> bool {
    let mut names: Vec<&str> = list.iter().filter_map(|it| it["name"].as_str()).collect();
    names.sort_unstable();
    names.dedup();
    !list.is_empty() && names.len() == list.len()
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(before: &Value, after: &Value) -> Vec<String> {
        let found = differences(before, after);
        found.iter().map(|it| format!("{}: {} → {}", it.path, it.before, it.after)).collect()
    }

    #[test]
    fn only_what_differs_is_named_by_its_path() {
        let object = |image: &str, version: &str, replicas: i64| {
            json!({"metadata": {"resourceVersion": version, "labels": {"app.kubernetes.io/name": image}},
                   "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                       {"name": "web", "image": image}, {"name": "log", "image": "log:1"}]}}},
                   "status": {"replicas": replicas}})
        };
        assert_eq!(
            lines(&object("web:1", "4", 2), &object("web:2", "9", 3)),
            [
                "metadata.labels[app.kubernetes.io/name]: web:1 → web:2",
                "spec.replicas: 2 → 3",
                "spec.template.spec.containers[name=web].image: web:1 → web:2"
            ]
        );
        let list = |of: &[&str]| json!({"spec": {"regions": of}});
        assert_eq!(
            lines(&list(&["a"]), &list(&["a", "b"])),
            [r#"spec.regions: ["a"] → ["a","b"]"#]
        );
    }

    #[test]
    fn rule_2_4_a_secret_s_values_are_hidden() {
        let secret =
            |value: &str| json!({"kind": "Secret", "data": {"key": value}, "type": "Opaque"});
        assert_eq!(lines(&secret("YQ=="), &secret("Yg==")), ["data.key: (hidden) → (hidden)"]);
    }
}
