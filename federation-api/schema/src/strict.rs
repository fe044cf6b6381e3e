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
    if nests_too_deep(text) {
        return Err(ParseError(format!("nested deeper than {DEEPEST} levels")));
    }
    let mut reading = Reading::default();
    let source = serde_norway::Deserializer::from_slice(text);
    let value = Node(&mut reading).deserialize(source).map_err(said)?;
    Ok(Parsed { value, duplicates: reading.duplicates })
}

/// How deep YAML may nest: objects stay far below, and what is quoted seldom leaves so many brackets open.
const DEEPEST: usize = 2_000;

/// Whether YAML nests so deep that reading it would take long: the parser's work grows with the square of the depth, so it
/// is looked at before. Brackets in quoted text count too.
fn nests_too_deep(text: &[u8]) -> bool {
    let mut depth: usize = 0;
    for line in text.split(|byte| *byte == b'\n') {
        // `- - - x` nests on one line; nesting line by line costs its author a square of bytes.
        let dashes = line.trim_ascii_start().chunks(2).take_while(|it| *it == b"- ").count();
        if dashes > DEEPEST {
            return true;
        }
        for byte in line {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => (),
            }
            if depth > DEEPEST {
                return true;
            }
        }
    }
    false
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
    fn yaml_that_nests_very_deep_is_refused_before_it_is_read() {
        let brackets = format!("a: {}{}", "[".repeat(50_000), "]".repeat(50_000));
        assert!(parse_yaml(brackets.as_bytes()).unwrap_err().to_string().contains("2000 levels"));
        assert!(parse_yaml("- ".repeat(50_000).as_bytes()).is_err());
        let flat = "a: [1, 2]\nb: {c: d}\n";
        assert!(parse_yaml(flat.as_bytes()).is_ok());
        let rows: String = (0..2_000).map(|at| format!("k{at}: [{{a: 1}}]\n")).collect();
        assert!(parse_yaml(rows.as_bytes()).is_ok());
    }

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
