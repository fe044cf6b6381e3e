//! The name of a content: equal content and rules have one hash, on every machine and in every version.

use federation_types::{field_path::FieldPath, revision::NamedRule};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// 16 hexadecimal digits over a stripped template and the override rules that matched it.
///
/// Replicas that the Placement decides do not count, so scaling makes no new revision and rolls nothing out: those at
/// `spec.replicas` of a scalable kind, and those of a custom kind at `replicas`.
pub fn content_hash(content: &Value, rules: &[NamedRule], replicas: Option<&FieldPath>) -> String {
    let mut hasher = Sha256::new();
    let custom: Option<Vec<&str>> = replicas.map(|it| it.names().collect());
    let conventional: &[&str] = &["spec", "replicas"];
    let skip = custom.as_deref().or_else(|| is_scalable(content).then_some(conventional));
    write(&mut hasher, content, skip);
    if let Some(path) = replicas {
        hasher.update(b"\nreplicas ");
        text(&mut hasher, &path.to_string());
    }
    for rule in rules {
        hasher.update(b"\nrule ");
        let value = serde_json::to_value(&rule.rule).expect("a rule is plain data");
        write(&mut hasher, &value, None);
    }
    hex(hasher)
}

/// 16 hexadecimal digits over a value, whatever the order of its keys.
pub fn digest(value: &Value) -> String {
    let mut hasher = Sha256::new();
    write(&mut hasher, value, None);
    hex(hasher)
}

/// Kinds whose `spec.replicas` a Placement decides.
pub(crate) fn is_scalable(content: &Value) -> bool {
    let text = |name: &str| content.get(name).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    matches!(
        (group, text("kind")),
        ("apps", "Deployment" | "StatefulSet" | "ReplicaSet") | ("", "ReplicationController")
    )
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// JSON with sorted keys; the value at `skip` is left out.
fn write(hasher: &mut Sha256, value: &Value, skip: Option<&[&str]>) {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            hasher.update(b"{");
            for (key, value) in entries {
                let below = match skip {
                    Some([last]) if last == key => continue,
                    Some([first, rest @ ..]) if first == key => Some(rest),
                    _ => None,
                };
                text(hasher, key);
                hasher.update(b":");
                write(hasher, value, below);
                hasher.update(b",");
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            for item in items {
                write(hasher, item, None);
                hasher.update(b",");
            }
            hasher.update(b"]");
        }
        Value::String(string) => text(hasher, string),
        Value::Null => hasher.update(b"null"),
        Value::Bool(flag) => hasher.update(if *flag { &b"true"[..] } else { &b"false"[..] }),
        Value::Number(number) => hasher.update(number.to_string().as_bytes()),
    }
}

/// Length first, so that no text can look like another structure.
fn text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use federation_types::overrides::OverrideRule;
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i64, image: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"image": image}]}}},
        })
    }

    #[test]
    fn content_decides_and_scaling_does_not() {
        let hash_of = |content: &Value| content_hash(content, &[], None);
        let hash = hash_of(&deployment(2, "a"));
        assert_eq!(hash.len(), 16);
        assert_eq!(hash, hash_of(&deployment(5, "a")));
        assert_ne!(hash, hash_of(&deployment(2, "b")));
        let custom = |size: i64, colour: &str| {
            json!({"apiVersion": "example.com/v1", "kind": "Web",
                   "spec": {"size": size, "replicas": 1, "colour": colour}})
        };
        assert_ne!(hash_of(&custom(1, "red")), hash_of(&custom(2, "red")));
        let path = FieldPath::parse(".spec.size");
        let ruled = |content: &Value| content_hash(content, &[], path.as_ref());
        assert_eq!(ruled(&custom(1, "red")), ruled(&custom(2, "red")));
        assert_ne!(ruled(&custom(1, "red")), ruled(&custom(1, "blue")));
        // Another rule may render the same content another way.
        let other = FieldPath::parse(".spec.replicas");
        let size = custom(1, "red");
        assert_ne!(ruled(&size), content_hash(&size, &[], other.as_ref()));
    }

    #[test]
    fn rules_count_and_where_they_come_from_does_not() {
        let rule = |from: &str, registry: &str| NamedRule {
            from: from.into(),
            rule: OverrideRule {
                image: vec![federation_types::overrides::ImageOverride {
                    registry: Some(registry.into()),
                    ..Default::default()
                }],
                ..Default::default()
            },
        };
        let content = deployment(1, "a");
        let hash = content_hash(&content, &[rule("x", "r1")], None);
        assert_eq!(hash, content_hash(&content, &[rule("y", "r1")], None));
        assert_ne!(hash, content_hash(&content, &[rule("x", "r2")], None));
        assert_ne!(hash, content_hash(&content, &[], None));
    }

    #[test]
    fn the_order_of_keys_does_not_count() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":3}}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap();
        assert_eq!(digest(&one), digest(&two));
        assert_ne!(digest(&json!(["ab"])), digest(&json!(["a", "b"])));
    }
}
