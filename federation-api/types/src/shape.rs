//! Whether a value has the shape that a schema describes: what is unknown, missing or of another type, each with the path
//! to it. It reads the schemas of our own kinds, which are structural and small.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

use crate::{crds, names::GROUP, validate::Problem};

static KINDS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let of = |mut crd: Value| {
        let kind = crd["spec"]["names"]["kind"].as_str()?.to_owned();
        let schema = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema")?.take();
        Some((kind, schema))
    };
    crds::all().into_iter().filter_map(of).collect()
});

/// The schema of a kind of ours.
pub fn of_kind(kind: &str) -> Option<&'static Value> {
    KINDS.get(kind)
}

/// The kinds of ours, in the order of names.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.keys().map(String::as_str)
}

/// What is not as the schema says, under the path `field`.
pub fn check(schema: &Value, value: &Value, field: &str, problems: &mut Vec<Problem>) {
    let mut problem = |message: String| {
        problems.push(Problem { field: field.to_owned(), message });
    };
    if schema["x-kubernetes-int-or-string"] == true {
        if !value.is_string() && !value.is_number() {
            problem(format!("Invalid value: {}: must be a number or text", name(value)));
        }
        return;
    }
    // What is left out and what is null are the same.
    if value.is_null() {
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let allowed: Vec<String> =
            allowed.iter().filter(|it| !it.is_null()).map(Value::to_string).collect();
        problem(format!("Unsupported value: {value}: supported values: {}", allowed.join(", ")));
        return;
    }
    let Some(wanted) = schema["type"].as_str() else { return };
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    };
    if !fits {
        problem(format!("Invalid value: {}: must be {}", name(value), article(wanted)));
        return;
    }
    if let (Some(least), Some(number)) = (schema["minimum"].as_f64(), value.as_f64())
        && number < least
    {
        problem(format!("Invalid value: {value}: must be at least {least}"));
    }
    if let (Some(most), Some(number)) = (schema["maximum"].as_f64(), value.as_f64())
        && number > most
    {
        problem(format!("Invalid value: {value}: must be at most {most}"));
    }
    if let (Some(least), Some(items)) = (schema["minItems"].as_u64(), value.as_array())
        && items.is_empty()
        && least > 0
    {
        problem("Required value: at least one".to_owned());
    }
    match value {
        Value::Object(fields) => object(schema, fields, field, problems),
        Value::Array(items) => {
            for (at, it) in items.iter().enumerate() {
                check(&schema["items"], it, &format!("{field}[{at}]"), problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

fn object(
    schema: &Value,
    fields: &serde_json::Map<String, Value>,
    field: &str,
    problems: &mut Vec<Problem>,
) {
    let below =
        |key: &str| if field.is_empty() { key.to_owned() } else { format!("{field}.{key}") };
    let properties = schema["properties"].as_object();
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    for (key, value) in fields {
        if let Some(known) = properties.and_then(|it| it.get(key)) {
            check(known, value, &below(key), problems);
        } else if schema["additionalProperties"].is_object() {
            check(&schema["additionalProperties"], value, &below(key), problems);
        } else if !open && properties.is_some() {
            let message = match properties.and_then(|it| nearest(key, it.keys())) {
                Some(meant) => format!("Unknown field: is `{meant}` meant?"),
                None => "Unknown field".to_owned(),
            };
            problems.push(Problem { field: below(key), message });
        }
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for key in required.filter(|it| !fields.contains_key(*it)) {
        problems.push(Problem { field: below(key), message: "Required value".to_owned() });
    }
}

/// Whether the object is of a kind of ours, by its group.
pub fn is_ours(object: &Value) -> bool {
    let api = object["apiVersion"].as_str().unwrap_or_default();
    api.split_once('/').is_some_and(|(group, _)| group == GROUP)
}

fn name(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

fn article(kind: &str) -> &str {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        other => other,
    }
}

/// The known word that differs in at most two letters.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let best = known.map(|it| (distance(word, it), it.as_str())).min()?;
    (best.0 <= 2 && best.0 < word.chars().count()).then_some(best.1)
}

/// How many letters have to be put in, left out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(spec: &Value) -> Vec<String> {
        let object = json!({"spec": spec});
        let mut problems = Vec::new();
        check(of_kind("PlacementPolicy").unwrap(), &object, "", &mut problems);
        problems.into_iter().map(|it| format!("{}: {}", it.field, it.message)).collect()
    }

    #[test]
    fn what_is_unknown_missing_or_of_another_type_is_named() {
        let check = |spec: Value, expected: &[&str]| assert_eq!(problems(&spec), expected);
        let selectors = json!([{"apiVersion": "apps/v1", "kind": "Deployment"}]);
        check(json!({"selectors": selectors, "replicas": {"mode": "Divided"}}), &[]);
        check(
            json!({"selectors": selectors, "replica": {}}),
            &["spec.replica: Unknown field: is `replicas` meant?"],
        );
        check(
            json!({"selectors": selectors, "spread": [{"topologyKey": "zone", "min": "two"}]}),
            &["spec.spread[0].min: Invalid value: \"two\": must be a whole number"],
        );
        check(
            json!({"selectors": selectors, "spread": [{}]}),
            &["spec.spread[0].topologyKey: Required value"],
        );
        check(
            json!({"selectors": selectors, "replicas": {"mode": "Halved"}}),
            &[
                "spec.replicas.mode: Unsupported value: \"Halved\": supported values: \"Duplicated\", \"Divided\"",
            ],
        );
        check(json!({"selectors": []}), &["spec.selectors: Required value: at least one"]);
        check(
            json!({"selectors": selectors, "priority": 99_999_999_999_i64}),
            &["spec.priority: Invalid value: 99999999999: must be at most 2147483647"],
        );
        check(
            json!({"selectors": selectors, "affinities": [{"clusters": {"labelSelector": {"matchLabels": {"any": "thing"}}}}]}),
            &[],
        );
    }
}
