//! On which line of a YAML text a field stands: the reader is sent along the path and made to fail there, which it reports
//! with the place.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The line, counted from 1, of `path` (`clusters[2].region`) in a document of the text; of what is not there, the line
/// of what should hold it.
pub fn line(text: &str, document: usize, path: &str) -> Option<usize> {
    let reader = serde_norway::Deserializer::from_str(text).nth(document)?;
    let error = Walk { rest: path }.deserialize(reader).err()?;
    Some(error.location()?.line())
}

/// Looks for the value at `rest` below what it is given, and never succeeds.
struct Walk<'a> {
    rest: &'a str,
}

/// What is left of `rest` after a key or an index in brackets, if that is what it begins with.
fn below<'a>(rest: &'a str, step: &str) -> Option<&'a str> {
    let rest = rest.strip_prefix(step)?;
    if let Some(next) = rest.strip_prefix('.') {
        return Some(next);
    }
    (rest.is_empty() || rest.starts_with('[')).then_some(rest)
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the place of a field")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if !self.rest.is_empty() {
            while let Some(key) = map.next_key::<String>()? {
                match below(self.rest, &key) {
                    Some(rest) => return map.next_value_seed(Walk { rest }),
                    None => drop(map.next_value::<IgnoredAny>()?),
                }
            }
        }
        Err(Error::custom("here"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if !self.rest.is_empty() {
            for at in 0_usize.. {
                match below(self.rest, &format!("[{at}]")) {
                    Some(rest) => {
                        if let Some(()) = items.next_element_seed(Walk { rest })? {
                            return Ok(());
                        }
                        break;
                    }
                    None if items.next_element::<IgnoredAny>()?.is_none() => break,
                    None => (),
                }
            }
        }
        Err(Error::custom("here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_path() {
        let text =
            "a: 1\nb:\n- x: 1\n- y:\n    app.example/z: {q: 2}\n    w: [1,\n     2]\n---\na: 3\n";
        let check = |document: usize, path: &str, expected: usize| {
            assert_eq!(line(text, document, path), Some(expected), "{path}");
        };
        check(0, "a", 1);
        check(0, "b[0].x", 3);
        check(0, "b[1].y.app.example/z.q", 5);
        check(0, "b[1].y.w[1]", 7);
        check(0, "b[1].y.nothing", 5);
        check(1, "a", 9);
        assert_eq!(line(text, 2, "a"), None);
    }
}
