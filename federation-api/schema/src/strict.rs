//! Reading JSON and YAML so that what is said twice is noticed.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::go_quote;

/// More complaints than this help nobody.
const MOST_COMPLAINTS: usize = 100;

/// A document that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// Of fields that stand there twice, the last value.
    pub value: Value,
    /// `duplicate field "spec.a"`, at most 100.
    pub duplicates: Vec<String>,
}

/// Why a text could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub String);

/// Reads one JSON document.
pub fn parse_json(text: &[u8]) -> Result<Parsed, ParseError> {
    let mut reading = Reading::default();
    let mut source = serde_json::Deserializer::from_slice(text);
    let value = Node(&mut reading).deserialize(&mut source).map_err(said)?;
    source.end().map_err(said)?;
    Ok(Parsed { value, duplicates: reading.duplicates })
}

/// Reads one YAML document (JSON is YAML too).
pub fn parse_yaml(text: &[u8]) -> Result<Parsed, ParseError> {
    let mut reading = Reading::default();
    let source = serde_norway::Deserializer::from_slice(text);
    let value = Node(&mut reading).deserialize(source).map_err(said)?;
    Ok(Parsed { value, duplicates: reading.duplicates })
}

fn said(error: impl fmt::Display) -> ParseError {
    ParseError(error.to_string())
}

#[derive(Default)]
struct Reading {
    /// The path of what is being read: `.spec`, `[0]`.
    path: Vec<String>,
    duplicates: Vec<String>,
}

impl Reading {
    fn duplicate(&mut self, key: &str) {
        let path = format!("{}.{key}", self.path.concat());
        let said = format!("duplicate field {}", go_quote(path.trim_start_matches('.')));
        if self.duplicates.len() < MOST_COMPLAINTS && !self.duplicates.contains(&said) {
            self.duplicates.push(said);
        }
    }
}

struct Node<'a>(&'a mut Reading);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        loop {
            self.0.path.push(format!("[{}]", out.len()));
            let item = items.next_element_seed(Node(self.0))?;
            self.0.path.pop();
            let Some(item) = item else { return Ok(Value::Array(out)) };
            out.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(Key(key)) = entries.next_key()? {
            if out.contains_key(&key) {
                self.0.duplicate(&key);
            }
            self.0.path.push(format!(".{key}"));
            let value = entries.next_value_seed(Node(self.0))?;
            self.0.path.pop();
            out.insert(key, value);
        }
        Ok(Value::Object(out))
    }
}

/// A key: in YAML also a number or a boolean, which become strings.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Key, E> {
                Ok(Key(value.to_owned()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Key, E> {
                Ok(Key(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Key, E> {
                Ok(Key(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Key, E> {
                Ok(Key(value.to_string()))
            }
        }
        source.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn duplicates_are_named_once_and_the_last_value_holds() {
        let text =
            br#"{"spec":{"a":1,"a":2,"l":[{"x":1},{"y":1,"y":2,"y":3}]},"kind":"A","kind":"B"}"#;
        for read in [parse_json(text).unwrap(), parse_yaml(text).unwrap()] {
            assert_eq!(
                read.duplicates,
                [
                    "duplicate field \"spec.a\"",
                    "duplicate field \"spec.l[1].y\"",
                    "duplicate field \"kind\"",
                ]
            );
            assert_eq!(
                read.value,
                json!({"spec": {"a": 2, "l": [{"x": 1}, {"y": 3}]}, "kind": "B"})
            );
        }
    }

    #[test]
    fn yaml_becomes_json() {
        let text = b"a: 1\nb: [x, 1.5, true, null]\n3: {c: \"4\"}\ntrue: ~\n";
        let read = parse_yaml(text).unwrap();
        assert_eq!(
            read.value,
            json!({"a": 1, "b": ["x", 1.5, true, null], "3": {"c": "4"}, "true": null})
        );
        assert_eq!(read.duplicates, Vec::<String>::new());
    }

    #[test]
    fn broken_text_is_an_error() {
        assert!(parse_json(b"{\"a\":").is_err());
        assert!(parse_json(b"{} {}").is_err());
        assert!(parse_json(b"").is_err());
        assert!(parse_yaml(b"a: [").is_err());
        assert!(parse_yaml(b"a: .nan").is_err());
        assert!(parse_json(&[b"[".repeat(10_000), b"]".repeat(10_000)].concat()).is_err());
    }
}
