//! JSON as values of expressions.

use std::sync::Arc;

use kube_cel::cel::{
    Value as CelValue,
    objects::{Key, Map, OptionalValue},
};
use serde_json::Value;

use crate::model::{Shape, TypeRef};

/// Words that CEL keeps for itself.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name by which an expression calls a field: `foo-bar` is `foo__dash__bar`.
pub fn escape(field: &str) -> String {
    if RESERVED.contains(&field) {
        return format!("__{field}__");
    }
    if !field.contains(['.', '-', '/']) && !field.contains("__") {
        return field.to_owned();
    }
    let field = field.replace("__", "__underscores__");
    field.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

/// The field that an expression calls by a name.
pub(super) fn unescape(name: &str) -> String {
    let inner = name.strip_prefix("__").and_then(|it| it.strip_suffix("__"));
    if let Some(word) = inner.filter(|it| RESERVED.contains(it)) {
        return word.to_owned();
    }
    let name = name.replace("__dot__", ".").replace("__dash__", "-").replace("__slash__", "/");
    name.replace("__underscores__", "__")
}

/// A value as JSON. Optional values that are none are left out of what holds them; what JSON has no form for is
/// refused.
pub fn json(value: &CelValue) -> Result<Value, String> {
    Ok(match value {
        CelValue::Null => Value::Null,
        CelValue::Bool(value) => (*value).into(),
        CelValue::Int(value) => (*value).into(),
        CelValue::UInt(value) => (*value).into(),
        CelValue::Float(value) => (*value).into(),
        CelValue::String(text) => text.as_str().into(),
        CelValue::Bytes(bytes) => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(bytes.as_slice()).into()
        }
        CelValue::Timestamp(time) => time.to_rfc3339().into(),
        CelValue::List(items) => {
            let items = items.iter().filter_map(|item| present(item).transpose());
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        CelValue::Map(map) => {
            let mut fields = serde_json::Map::new();
            for (key, value) in map.map.iter() {
                let Key::String(name) = key else {
                    return Err(format!("a key of a map is no string: {key}"));
                };
                if let Some(value) = present(value)? {
                    fields.insert(name.as_str().to_owned(), value);
                }
            }
            Value::Object(fields)
        }
        other => return Err(format!("a value of type {} has no form in JSON", other.type_of())),
    })
}

/// What an optional value holds, if it is one.
fn present(value: &CelValue) -> Result<Option<Value>, String> {
    match <&OptionalValue>::try_from(value) {
        Ok(optional) => optional.value().map(json).transpose(),
        Err(_) => json(value).map(Some),
    }
}

/// A map of named values.
pub fn map(entries: impl Iterator<Item = (String, CelValue)>) -> CelValue {
    let entries = entries.map(|(key, value)| (Key::String(Arc::new(key)), value));
    CelValue::Map(Map { map: Arc::new(entries.collect()) })
}

/// A value as an optional one.
pub fn optional(value: Option<CelValue>) -> CelValue {
    CelValue::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}

/// JSON of no known type: keys as they are. Adds to `size` about how many values it holds.
pub fn plain(value: &Value, size: &mut u64) -> CelValue {
    *size += 1;
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => CelValue::Int(int),
            (None, Some(uint)) => CelValue::UInt(uint),
            (None, None) => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => string(text, size),
        Value::Array(items) => {
            CelValue::List(Arc::new(items.iter().map(|item| plain(item, size)).collect()))
        }
        Value::Object(fields) => {
            map(fields.iter().map(|(name, value)| (name.clone(), plain(value, size))))
        }
    }
}

fn string(text: &str, size: &mut u64) -> CelValue {
    *size += text.len() as u64 / 32;
    CelValue::String(Arc::new(text.to_owned()))
}

/// JSON of a custom kind's type: fields by their escaped names, those that the schema does not have left out. At the
/// root (and in an embedded resource) the metadata is its names only.
pub fn typed(value: &Value, ty: &TypeRef, root: bool, size: &mut u64) -> CelValue {
    *size += 1;
    let node = ty.node();
    match (&node.shape, value) {
        (Shape::Struct(shape), Value::Object(fields)) => {
            let object = root || shape.embedded;
            map(fields.iter().filter_map(|(name, value)| {
                let field = shape.fields.get(name.as_str())?;
                let value = match name.as_str() {
                    "metadata" if object => names(value, size),
                    _ => typed(value, &ty.at(field.node), false, size),
                };
                Some((escape(name), value))
            }))
        }
        (Shape::Map { value: node, .. }, Value::Object(entries)) => {
            let ty = ty.at(*node);
            map(entries.iter().map(|(key, value)| (key.clone(), typed(value, &ty, false, size))))
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            let ty = ty.at(*item);
            let items = items.iter().map(|item| typed(item, &ty, false, size)).collect();
            CelValue::List(Arc::new(items))
        }
        (Shape::Number, Value::Number(number)) => {
            CelValue::Float(number.as_f64().unwrap_or(f64::NAN))
        }
        (Shape::Integer { .. }, Value::Number(number)) if number.is_f64() => {
            // Whole, or it would have been refused.
            CelValue::Int(number.as_f64().unwrap_or_default() as i64)
        }
        (Shape::String(_), Value::String(text)) => {
            let format = node.rules.as_ref().and_then(|rules| rules.format.as_deref());
            formatted(text, format).unwrap_or_else(|| string(text, size))
        }
        (_, value) => plain(value, size),
    }
}

fn names(metadata: &Value, size: &mut u64) -> CelValue {
    let named = ["name", "generateName"]
        .into_iter()
        .filter_map(|field| Some((field.to_owned(), plain(metadata.get(field)?, size))));
    map(named)
}

/// A string whose format makes it another type. What is not of the format was refused before, or is let through as it
/// was; then it is a string.
fn formatted(text: &str, format: Option<&str>) -> Option<CelValue> {
    use base64::Engine as _;
    match format? {
        "date-time" => chrono::DateTime::parse_from_rfc3339(text).ok().map(CelValue::Timestamp),
        "duration" => {
            let span: jiff::SignedDuration = text.parse().ok()?;
            let nanos = i64::try_from(span.as_nanos()).ok()?;
            Some(CelValue::Duration(chrono::Duration::nanoseconds(nanos)))
        }
        "byte" => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            Some(CelValue::Bytes(Arc::new(bytes)))
        }
        _ => None,
    }
}
