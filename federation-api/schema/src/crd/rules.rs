//! Reads the value rules of one node of a schema.

use std::fmt;

use regex::Regex;
use serde_json::Value;

use crate::model::Rules;

/// A regular expression that was compiled once.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles it; what it may cost is bounded.
    pub fn new(text: &str) -> Result<Self, String> {
        let built = regex::RegexBuilder::new(text).size_limit(1 << 20).build();
        built.map(Self).map_err(|e| e.to_string())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.as_str()).finish()
    }
}

/// The rules of a schema, `None` when there are none. Patterns that do not compile were refused before.
pub(crate) fn read(schema: &Value) -> Option<Rules> {
    let list = |name: &str| schema.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    let count = |name: &str| schema.get(name).and_then(Value::as_u64);
    let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
    let text = |name: &str| schema.get(name).and_then(Value::as_str);
    let mut all_of = list("allOf");
    let mut any_of = list("anyOf");
    if flag("x-kubernetes-int-or-string") {
        // The two ways to spell int-or-string out say no more than the extension does.
        if is_int_or_string(&any_of) {
            any_of.clear();
        }
        if let Some(first) = all_of.first_mut()
            && first.get("anyOf").and_then(Value::as_array).is_some_and(|a| is_int_or_string(a))
            && let Value::Object(first) = first
        {
            first.remove("anyOf");
        }
    }
    let rules = Rules {
        nullable: flag("nullable"),
        default: schema.get("default").filter(|d| !d.is_null()).cloned(),
        enumeration: list("enum"),
        pattern: text("pattern").and_then(|p| Pattern::new(p).ok()),
        format: text("format").map(Into::into),
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        unique_items: flag("uniqueItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        all_of,
        any_of,
        one_of: list("oneOf"),
        not: schema.get("not").cloned(),
        // They are compiled with the type.
        validations: Vec::new(),
    };
    let empty = !rules.nullable
        && rules.default.is_none()
        && rules.enumeration.is_empty()
        && rules.pattern.is_none()
        && rules.format.is_none()
        && [rules.minimum, rules.maximum, rules.multiple_of].iter().all(Option::is_none)
        && [rules.min_length, rules.max_length, rules.min_items, rules.max_items]
            .iter()
            .all(Option::is_none)
        && [rules.min_properties, rules.max_properties].iter().all(Option::is_none)
        && !rules.unique_items
        && [&rules.all_of, &rules.any_of, &rules.one_of].iter().all(|l| l.is_empty())
        && rules.not.is_none();
    (!empty).then_some(rules)
}

/// `[{type: integer}, {type: string}]`.
pub(crate) fn is_int_or_string(any_of: &[Value]) -> bool {
    let only_type = |schema: &Value, name: &str| {
        schema
            .as_object()
            .is_some_and(|o| o.len() == 1 && o.get("type").and_then(Value::as_str) == Some(name))
    };
    matches!(any_of, [a, b] if only_type(a, "integer") && only_type(b, "string"))
}
