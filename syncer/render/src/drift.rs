//! Fields of ours whose live value differs from what was sent (RULES 4.5).
//!
//! Only what the manifest sets is compared. A member may add, default and reorder; it may also write a value in another
//! form that means the same.

use std::collections::BTreeMap;

use federation_types::{names::REVISION_ANNOTATION, quantity};
use serde_json::{Map, Value};

/// Parts of a manifest that identify it or are marks: the plan looks at those itself.
const NOT_COMPARED: [&str; 2] = ["apiVersion", "kind"];

/// Below these names, texts are quantities.
const QUANTITIES: [&str; 14] = [
    "requests",
    "limits",
    "hard",
    "capacity",
    "sizeLimit",
    "overhead",
    "min",
    "max",
    "default",
    "defaultRequest",
    "averageValue",
    "divisor",
    "allocatable",
    "maxLimitRequestRatio",
];

/// Fields by which the items of a list are known, by preference.
const LIST_KEYS: [&[&str]; 9] = [
    &["name"],
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["mountPath"],
    &["devicePath"],
    &["topologyKey", "whenUnsatisfiable"],
    &["type"],
    &["ip"],
    &["host"],
];

/// The paths of the manifest's fields that the live object holds otherwise or not at all, sorted.
pub fn differences(manifest: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let (Some(manifest), Some(live)) = (manifest.as_object(), live.as_object()) else {
        return found;
    };
    for (name, value) in manifest {
        if NOT_COMPARED.contains(&name.as_str()) || name == "status" {
            continue;
        }
        let path = format!("/{name}");
        match (name.as_str(), value, live.get(name)) {
            ("metadata", Value::Object(ours), Some(Value::Object(theirs))) => {
                metadata(ours, theirs, &mut found);
            }
            (_, _, theirs) => compare(value, theirs, &path, false, &mut found),
        }
    }
    found.sort();
    found.dedup();
    found
}

fn metadata(ours: &Map<String, Value>, theirs: &Map<String, Value>, found: &mut Vec<String>) {
    for field in ["labels", "annotations"] {
        if let Some(value) = ours.get(field) {
            compare(value, theirs.get(field), &format!("/metadata/{field}"), false, found);
        }
    }
    // It says when the copy was written, too, and a copy is not written again for that.
    let mark = format!("/metadata/annotations/{}", escape(REVISION_ANNOTATION));
    found.retain(|it| *it != mark);
}

fn compare(
    ours: &Value,
    theirs: Option<&Value>,
    path: &str,
    quantity: bool,
    found: &mut Vec<String>,
) {
    let Some(theirs) = theirs else {
        if !is_empty(ours) {
            found.push(path.to_owned());
        }
        return;
    };
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in ours {
                let quantity = quantity || QUANTITIES.contains(&name.as_str());
                compare(
                    value,
                    theirs.get(name),
                    &format!("{path}/{}", escape(name)),
                    quantity,
                    found,
                );
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => list(ours, theirs, path, found),
        (ours, theirs) => {
            if !same(ours, theirs, quantity) {
                found.push(path.to_owned());
            }
        }
    }
}

fn list(ours: &[Value], theirs: &[Value], path: &str, found: &mut Vec<String>) {
    let known = ours.iter().all(Value::is_object).then(|| {
        LIST_KEYS.into_iter().find(|key| {
            let mut seen: Vec<Vec<&Value>> = Vec::new();
            ours.iter().all(|it| match identity(it, key) {
                Some(id) if !seen.contains(&id) => {
                    seen.push(id);
                    true
                }
                _ => false,
            })
        })
    });
    if let Some(Some(key)) = known {
        for item in ours {
            let id = identity(item, key).expect("the key was chosen because every item has it");
            let text = id[0].as_str().map_or_else(|| id[0].to_string(), str::to_owned);
            let path = format!("{path}/{}", escape(&text));
            let other = theirs.iter().find(|it| identity(it, key).as_ref() == Some(&id));
            match other {
                Some(other) => compare(item, Some(other), &path, false, found),
                None => found.push(path),
            }
        }
    } else if ours.len() != theirs.len() {
        found.push(path.to_owned());
    } else {
        for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            compare(ours, Some(theirs), &format!("{path}/{at}"), false, found);
        }
    }
}

/// An item's key; a protocol left out is TCP, any other part left out is no part of it.
fn identity<'a>(item: &'a Value, key: &[&str]) -> Option<Vec<&'a Value>> {
    let first = item.get(key[0])?;
    if first.is_object() || first.is_array() {
        return None;
    }
    let mut id = vec![first];
    for name in &key[1..] {
        match item.get(*name) {
            Some(Value::String(text)) if text == "TCP" => (),
            Some(value) => id.push(value),
            None => (),
        }
    }
    Some(id)
}

fn same(ours: &Value, theirs: &Value, quantity: bool) -> bool {
    if ours == theirs || (is_empty(ours) && is_empty(theirs)) {
        return true;
    }
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => number(ours) == number(theirs),
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) if quantity => {
            let millis = |it: &Value| match it {
                Value::String(text) => quantity::millis(text),
                other => quantity::millis(&other.to_string()),
            };
            millis(ours).is_some() && millis(ours) == millis(theirs)
        }
        _ => false,
    }
}

/// `1` and `1.0` are one number.
fn number(number: &serde_json::Number) -> String {
    let text = number.to_string();
    match text.strip_suffix(".0") {
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// What a server may leave out without changing anything.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.values().all(is_empty),
    }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Remembers how often each field was put right: who corrects for ever fights.
#[derive(Clone, Debug, Default)]
pub struct Corrections {
    times: BTreeMap<String, Vec<i64>>,
}

/// So many corrections …
const FIGHT_COUNT: usize = 3;
/// … within so many seconds are a fight.
const FIGHT_WINDOW: i64 = 600;

impl Corrections {
    /// Notes that a field is about to be put right.
    pub fn note(&mut self, path: &str, now: i64) {
        let times = self.times.entry(path.to_owned()).or_default();
        times.retain(|it| now - it < FIGHT_WINDOW);
        times.push(now);
    }

    /// The fields that were put right too often lately to try again.
    pub fn fighting(&self, now: i64) -> Vec<&str> {
        self.times
            .iter()
            .filter(|(_, times)| {
                times.iter().filter(|it| now - **it < FIGHT_WINDOW).count() >= FIGHT_COUNT
            })
            .map(|(path, _)| path.as_str())
            .collect()
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "literals read better by value")]
    #[track_caller]
    fn check(ours: Value, live: Value, expected: &[&str]) {
        let found = differences(&json!({"spec": ours}), &json!({"spec": live}));
        assert_eq!(found, expected);
    }

    #[test]
    fn rule_4_5_drift_is_a_field_of_ours_that_differs() {
        check(json!({"a": 1}), json!({"a": 2}), &["/spec/a"]);
        check(json!({"a": 1}), json!({}), &["/spec/a"]);
        check(json!({"command": ["x"]}), json!({"command": ["x", "y"]}), &["/spec/command"]);
    }

    #[test]
    fn rule_4_5_what_a_member_adds_defaults_or_writes_in_another_form_is_no_drift() {
        check(json!({"a": 1}), json!({"a": 1, "b": 2}), &[]);
        check(json!({"a": null, "b": {}, "c": [], "d": ""}), json!({}), &[]);
        check(
            json!({"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}),
            json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}),
            &[],
        );
        check(json!({"limits": {"cpu": 1}}), json!({"limits": {"cpu": "1"}}), &[]);
        check(
            json!({"env": {"value": "1000m"}}),
            json!({"env": {"value": "1"}}),
            &["/spec/env/value"],
        );
    }

    #[test]
    fn items_are_compared_by_their_key_and_others_items_are_none_of_ours() {
        check(
            json!({"containers": [{"name": "web", "image": "a"}]}),
            json!({"containers": [{"name": "proxy", "image": "p"}, {"name": "web", "image": "a"}]}),
            &[],
        );
        check(
            json!({"containers": [{"name": "web", "image": "a"}]}),
            json!({"containers": [{"name": "web", "image": "b"}]}),
            &["/spec/containers/web/image"],
        );
        check(
            json!({"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}),
            json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80, "protocol": "TCP"}]}),
            &[],
        );
        check(json!({"ports": [{"port": 80}]}), json!({"ports": []}), &["/spec/ports/80"]);
    }

    #[test]
    fn labels_and_annotations_count_and_the_rest_of_the_metadata_does_not() {
        let ours = json!({"metadata": {"name": "a", "labels": {"x": "1"}}});
        let live = json!({"metadata": {"name": "a", "uid": "u", "labels": {"x": "2", "y": "3"}}});
        assert_eq!(differences(&ours, &live), ["/metadata/labels/x"]);
    }

    #[test]
    fn rule_4_5_three_corrections_of_one_field_in_ten_minutes_are_a_fight() {
        let mut corrections = Corrections::default();
        for now in [0, 100, 200] {
            assert!(corrections.fighting(now).is_empty());
            corrections.note("/spec/replicas", now);
        }
        assert_eq!(corrections.fighting(300), ["/spec/replicas"]);
        assert!(corrections.fighting(700).is_empty());
        corrections.note("/spec/paused", 700);
        assert!(corrections.fighting(700).is_empty());
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z0-9]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_differs_from_itself(value in json_value()) {
            let object = json!({"spec": value});
            prop_assert_eq!(differences(&object, &object), Vec::<String>::new());
        }
    }
}
