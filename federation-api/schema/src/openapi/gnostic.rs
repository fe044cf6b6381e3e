//! The OpenAPI v2 document in gnostic's protobuf form, which is the only one that Kubernetes' Go clients ask for.
//!
//! The messages mirror the document, so a table of field numbers suffices. What has no place in them is left out.

use serde_json::{Map, Value};

/// What a field holds.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    Flag,
    Integer,
    Double,
    /// A list of texts.
    Texts,
    /// Any JSON, as YAML text.
    Any,
    Anys,
    One(&'static Message),
    Many(&'static Message),
    /// A message that wraps a map: `{repeated {name = 1, value = 2} = 1}`.
    Named(&'static Message),
    /// `type`: a text or a list of them, wrapped.
    Types,
    /// `items`: a schema, wrapped.
    Items,
    /// `additionalProperties`: a schema or a boolean.
    Additional,
    Parameters,
    Responses,
    Paths,
}

struct Message {
    fields: &'static [(&'static str, u64, Holds)],
    /// The number of the field for `x-…`; 0 for none.
    extensions: u64,
}

use Holds::{
    Additional, Any, Anys, Double, Flag, Integer, Items, Many, Named, One, Parameters, Paths,
    Responses, Text, Texts, Types,
};

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Text),
        ("info", 2, One(&INFO)),
        ("host", 3, Text),
        ("basePath", 4, Text),
        ("schemes", 5, Texts),
        ("consumes", 6, Texts),
        ("produces", 7, Texts),
        ("paths", 8, Paths),
        ("definitions", 9, Named(&SCHEMA)),
    ],
    extensions: 16,
};

static INFO: Message = Message {
    fields: &[("title", 1, Text), ("version", 2, Text), ("description", 3, Text)],
    extensions: 7,
};

static PATH: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("get", 2, One(&OPERATION)),
        ("put", 3, One(&OPERATION)),
        ("post", 4, One(&OPERATION)),
        ("delete", 5, One(&OPERATION)),
        ("options", 6, One(&OPERATION)),
        ("head", 7, One(&OPERATION)),
        ("patch", 8, One(&OPERATION)),
        ("parameters", 9, Parameters),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Texts),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Texts),
        ("consumes", 7, Texts),
        ("parameters", 8, Parameters),
        ("responses", 9, Responses),
        ("schemes", 10, Texts),
        ("deprecated", 11, Flag),
    ],
    extensions: 13,
};

static BODY: Message = Message {
    fields: &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Flag),
        ("schema", 5, One(&SCHEMA)),
    ],
    extensions: 6,
};

/// Of header and path.
static PLAIN: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("format", 6, Text),
        ("uniqueItems", 18, Flag),
    ],
    extensions: 22,
};

/// Of query and form.
static QUERY: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("allowEmptyValue", 5, Flag),
        ("type", 6, Text),
        ("format", 7, Text),
        ("uniqueItems", 20, Flag),
    ],
    extensions: 23,
};

static REFERENCE: Message =
    Message { fields: &[("$ref", 1, Text), ("description", 2, Text)], extensions: 0 };

static RESPONSE: Message = Message {
    fields: &[("description", 1, Text), ("schema", 2, One(&SCHEMA_ITEM))],
    extensions: 5,
};

/// A schema where a file could be.
static SCHEMA_ITEM: Message = Message { fields: &[("", 1, One(&SCHEMA))], extensions: 0 };

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("title", 3, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("multipleOf", 6, Double),
        ("maximum", 7, Double),
        ("exclusiveMaximum", 8, Flag),
        ("minimum", 9, Double),
        ("exclusiveMinimum", 10, Flag),
        ("maxLength", 11, Integer),
        ("minLength", 12, Integer),
        ("pattern", 13, Text),
        ("maxItems", 14, Integer),
        ("minItems", 15, Integer),
        ("uniqueItems", 16, Flag),
        ("maxProperties", 17, Integer),
        ("minProperties", 18, Integer),
        ("required", 19, Texts),
        ("enum", 20, Anys),
        ("additionalProperties", 21, Additional),
        ("type", 22, Types),
        ("items", 23, Items),
        ("allOf", 24, Many(&SCHEMA)),
        ("properties", 25, Named(&SCHEMA)),
        ("discriminator", 26, Text),
        ("readOnly", 27, Flag),
        ("example", 30, Any),
    ],
    extensions: 31,
};

/// An OpenAPI v2 document as a gnostic `Document`.
pub fn encode(document: &Value) -> Vec<u8> {
    message(&DOCUMENT, document)
}

fn message(of: &Message, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    // A wrapper has one field, and its value is the whole.
    if let [("", number, holds)] = of.fields {
        field(&mut out, *number, *holds, value);
        return out;
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        if let Some((_, number, holds)) = of.fields.iter().find(|(field, ..)| field == name) {
            field(&mut out, *number, *holds, value);
        } else if of.extensions != 0 && name.starts_with("x-") {
            bytes(&mut out, of.extensions, &named(name, &any(value)));
        }
    }
    out
}

fn field(out: &mut Vec<u8>, number: u64, holds: Holds, value: &Value) {
    match holds {
        Text => text(out, number, value),
        Flag => flag(out, number, value),
        Integer => {
            if let Some(value) = value.as_i64() {
                varint(out, number << 3);
                varint(out, value.cast_unsigned());
            }
        }
        Double => {
            if let Some(value) = value.as_f64() {
                varint(out, number << 3 | 1);
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        Texts => list(value).for_each(|item| text(out, number, item)),
        Any => bytes(out, number, &any(value)),
        Anys => list(value).for_each(|item| bytes(out, number, &any(item))),
        One(of) => bytes(out, number, &message(of, value)),
        Many(of) => list(value).for_each(|item| bytes(out, number, &message(of, item))),
        Named(of) => {
            let mut inner = Vec::new();
            for (name, value) in map(value) {
                bytes(&mut inner, 1, &named(name, &message(of, value)));
            }
            bytes(out, number, &inner);
        }
        Types => {
            let mut inner = Vec::new();
            text(&mut inner, 1, value);
            list(value).for_each(|item| text(&mut inner, 1, item));
            bytes(out, number, &inner);
        }
        Items => bytes(out, number, &wrapped(1, &message(&SCHEMA, value))),
        Additional => {
            let inner = match value {
                Value::Bool(_) => {
                    let mut inner = Vec::new();
                    flag(&mut inner, 2, value);
                    inner
                }
                schema => wrapped(1, &message(&SCHEMA, schema)),
            };
            bytes(out, number, &inner);
        }
        Parameters => list(value).for_each(|item| bytes(out, number, &parameter(item))),
        Responses => {
            let mut inner = Vec::new();
            for (code, response) in map(value) {
                let response = wrapped(1, &message(&RESPONSE, response));
                bytes(&mut inner, 1, &named(code, &response));
            }
            bytes(out, number, &inner);
        }
        Paths => {
            let mut inner = Vec::new();
            for (path, item) in map(value) {
                bytes(&mut inner, 2, &named(path, &message(&PATH, item)));
            }
            bytes(out, number, &inner);
        }
    }
}

/// A parameter is one of a reference, a body, and four kinds of others.
fn parameter(value: &Value) -> Vec<u8> {
    if value.get("$ref").is_some() {
        return wrapped(2, &message(&REFERENCE, value));
    }
    let parameter = match value["in"].as_str() {
        Some("body") => wrapped(1, &message(&BODY, value)),
        Some("header") => wrapped(2, &wrapped(1, &message(&PLAIN, value))),
        Some("formData") => wrapped(2, &wrapped(2, &message(&QUERY, value))),
        Some("path") => wrapped(2, &wrapped(4, &message(&PLAIN, value))),
        _ => wrapped(2, &wrapped(3, &message(&QUERY, value))),
    };
    wrapped(1, &parameter)
}

/// JSON is YAML.
fn any(value: &Value) -> Vec<u8> {
    wrapped(2, value.to_string().as_bytes())
}

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 8);
    bytes(&mut out, 1, name.as_bytes());
    bytes(&mut out, 2, value);
    out
}

fn wrapped(number: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 6);
    bytes(&mut out, number, value);
    out
}

fn text(out: &mut Vec<u8>, number: u64, value: &Value) {
    if let Some(value) = value.as_str() {
        bytes(out, number, value.as_bytes());
    }
}

fn flag(out: &mut Vec<u8>, number: u64, value: &Value) {
    if let Some(value) = value.as_bool() {
        varint(out, number << 3);
        varint(out, u64::from(value));
    }
}

fn bytes(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn map(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_written_field_by_field() {
        let document = json!({"swagger": "2.0", "info": {"title": "a"}, "definitions": {"D": {"type": "object"}}});
        let schema = [0xb2, 0x01, 8, 0x0a, 6, b'o', b'b', b'j', b'e', b'c', b't'];
        let entry = [&[0x0a, 1, b'D', 0x12, 11][..], &schema].concat();
        let definitions = [&[0x4a, 18, 0x0a, 16][..], &entry].concat();
        let info = [0x12, 3, 0x0a, 1, b'a'];
        let swagger = [0x0a, 3, b'2', b'.', b'0'];
        assert_eq!(encode(&document), [&definitions[..], &info, &swagger].concat());
    }

    #[test]
    fn a_parameter_knows_where_it_is() {
        let query = parameter(&json!({"in": "query", "name": "n", "required": true}));
        let inner = [0x12, 5, b'q', b'u', b'e', b'r', b'y', 0x22, 1, b'n', 0x08, 1];
        assert_eq!(query, [&[0x0a, 16, 0x12, 14, 0x1a, 12][..], &inner].concat());
    }
}
