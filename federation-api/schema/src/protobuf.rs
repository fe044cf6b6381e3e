//! Reading Kubernetes' protobuf: the envelope and, by the catalogue's tables, every built-in message, into the JSON
//! that Go's encoder would make of the same object.

use serde_json::{Map, Value};

use crate::catalogue::{
    Catalogue, Gvk,
    wire::{Flags, Holds, Kind, Message, Messages, WireField},
};

mod scan;
mod special;

use scan::{Reader, Wire};

/// How deep messages may nest. Real objects need a dozen; a CRD's schema some more.
const MAX_DEPTH: usize = 100;
/// How many JSON values a body may become: an absent struct costs two bytes on the wire and a whole subtree in JSON.
const MAX_VALUES: usize = 1_000_000;
const MAGIC: &[u8] = b"k8s\0";

/// Why a body was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProtobufError {
    #[error("the body does not start with the Kubernetes protobuf prefix")]
    Prefix,
    #[error("{0:?} is no built-in kind, and only built-in kinds can be sent as protobuf")]
    UnknownKind(String),
    #[error("content of type {0:?} inside the protobuf envelope is not supported")]
    Content(String),
    #[error("{message}.{field}: {problem}")]
    Malformed { message: String, field: String, problem: &'static str },
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("more than {MAX_VALUES} values")]
    TooLarge,
}

/// Whether these bytes start like a Kubernetes protobuf body.
pub fn is_protobuf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The object in a protobuf body. `apiVersion` and `kind` come from the envelope, or from `expected` where that names
/// none.
pub fn decode(
    bytes: &[u8],
    catalogue: &Catalogue,
    expected: Option<&Gvk>,
) -> Result<Value, ProtobufError> {
    let mut decoder = Decoder { catalogue, messages: catalogue.messages(), left: MAX_VALUES };
    decoder.envelope(bytes, expected, 0)
}

struct Decoder<'c> {
    catalogue: &'c Catalogue,
    messages: &'c Messages,
    /// Values that may still be made.
    left: usize,
}

/// What happens on the wire, before it is known where.
type Outcome<T> = Result<T, &'static str>;

impl Decoder<'_> {
    fn envelope(
        &mut self,
        bytes: &[u8],
        expected: Option<&Gvk>,
        depth: usize,
    ) -> Result<Value, ProtobufError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Prefix)?;
        let at = |problem| malformed("Unknown", "", problem);
        let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &body[..0]);
        let mut reader = Reader::new(body);
        while let Some((number, wire)) = reader.field().map_err(at)? {
            match (number, wire) {
                (1, Wire::Bytes(type_meta)) => {
                    let mut reader = Reader::new(type_meta);
                    while let Some((number, wire)) = reader.field().map_err(at)? {
                        match (number, wire) {
                            (1, Wire::Bytes(text)) => {
                                api_version = scan::text(text).map_err(at)?.to_owned();
                            }
                            (2, Wire::Bytes(text)) => {
                                kind = scan::text(text).map_err(at)?.to_owned();
                            }
                            _ => {}
                        }
                    }
                }
                (2, Wire::Bytes(bytes)) => raw = bytes,
                (3 | 4, Wire::Bytes(name))
                    if !name.is_empty() && name != b"application/vnd.kubernetes.protobuf" =>
                {
                    return Err(ProtobufError::Content(String::from_utf8_lossy(name).into_owned()));
                }
                _ => {}
            }
        }
        let gvk = match expected {
            Some(expected) if kind.is_empty() => expected.clone(),
            _ => Gvk::of(&api_version, &kind),
        };
        let unknown =
            || ProtobufError::UnknownKind(format!("{}, Kind={}", gvk.api_version(), gvk.kind));
        let id = self.catalogue.type_of(&gvk).ok_or_else(unknown)?.id.0;
        let Value::Object(mut object) = self.message(id, raw, depth)? else {
            return Err(unknown());
        };
        object.insert("apiVersion".to_owned(), gvk.api_version().into());
        object.insert("kind".to_owned(), gvk.kind.into());
        Ok(Value::Object(object))
    }

    fn message(&mut self, id: u32, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
        let mut into = Map::new();
        self.message_into(id, bytes, depth, &mut into)?;
        Ok(Value::Object(into))
    }

    fn message_into(
        &mut self,
        id: u32,
        bytes: &[u8],
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        if depth > MAX_DEPTH {
            return Err(ProtobufError::TooDeep);
        }
        let messages = self.messages;
        let message = &messages.list[id as usize];
        let mut values: Vec<Option<Value>> = vec![None; message.fields.len()];
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) =
            reader.field().map_err(|p| malformed(message.name, "", p))?
        {
            // Fields of a later Kubernetes are dropped, as its own older servers do.
            let Some(at) = message.field(number) else { continue };
            self.add(message, &message.fields[at], wire, depth, &mut values[at])?;
        }
        for (field, value) in message.fields.iter().zip(values) {
            if field.flags.inline {
                self.inline(field, value, depth, into)?;
            } else if let Some(value) = self.finish(field, value, depth)? {
                into.insert(field.name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// An inlined message adds its fields to the parent's; an absent one that is no pointer adds its zero values.
    fn inline(
        &mut self,
        field: &WireField,
        value: Option<Value>,
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        match (value, field.kind) {
            (Some(Value::Object(fields)), _) => into.extend(fields),
            (None, Kind::Message(id)) if !field.flags.pointer => {
                self.message_into(id, &[], depth + 1, into)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes one occurrence of a field.
    fn add(
        &mut self,
        message: &Message,
        field: &WireField,
        wire: Wire<'_>,
        depth: usize,
        slot: &mut Option<Value>,
    ) -> Result<(), ProtobufError> {
        let at = |problem| malformed(message.name, field.name, problem);
        match field.holds {
            Holds::One => {
                if slot.is_some() && matches!(field.kind, Kind::Message(_)) {
                    return Err(at("stands twice"));
                }
                *slot = Some(self.value(message, field, wire, depth)?);
            }
            Holds::List => {
                let Value::Array(items) = slot.get_or_insert_with(|| Value::Array(Vec::new()))
                else {
                    return Err(at("is no list"));
                };
                match (wire, field.kind) {
                    // Packed numbers: nobody sends them today, every protobuf reader takes them.
                    (Wire::Bytes(packed), Kind::Int32 | Kind::Int64 | Kind::Bool) => {
                        let mut reader = Reader::new(packed);
                        while let Some(number) = reader.varint_or_end().map_err(at)? {
                            items.push(self.value(message, field, Wire::Varint(number), depth)?);
                        }
                    }
                    (wire, _) => items.push(self.value(message, field, wire, depth)?),
                }
            }
            Holds::WrappedList => *slot = Some(self.wrapped(message, field, wire, depth)?),
            Holds::Map | Holds::MapOfLists => {
                let Wire::Bytes(entry) = wire else {
                    return Err(at("is not a message on the wire"));
                };
                let (mut key, mut value) = (String::new(), None);
                let mut reader = Reader::new(entry);
                while let Some((number, wire)) = reader.field().map_err(at)? {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => key = scan::text(text).map_err(at)?.to_owned(),
                        (2, wire) if field.holds == Holds::Map => {
                            value = Some(self.value(message, field, wire, depth)?);
                        }
                        (2, wire) => value = Some(self.wrapped(message, field, wire, depth)?),
                        _ => {}
                    }
                }
                let value = match value {
                    Some(value) => value,
                    None if field.holds == Holds::MapOfLists => Value::Null,
                    None => self.zero(field.kind, depth)?,
                };
                let Value::Object(entries) = slot.get_or_insert_with(|| Value::Object(Map::new()))
                else {
                    return Err(at("is no map"));
                };
                entries.insert(key, value);
            }
        }
        Ok(())
    }

    /// A message whose one field, `items`, is the list. Go takes an empty one for no list at all.
    fn wrapped(
        &mut self,
        message: &Message,
        field: &WireField,
        wire: Wire<'_>,
        depth: usize,
    ) -> Result<Value, ProtobufError> {
        let at = |problem| malformed(message.name, field.name, problem);
        let Wire::Bytes(bytes) = wire else { return Err(at("is not a message on the wire")) };
        let mut items = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field().map_err(at)? {
            if number == 1 {
                items.push(self.value(message, field, wire, depth)?);
            }
        }
        Ok(if items.is_empty() { Value::Null } else { Value::Array(items) })
    }

    fn value(
        &mut self,
        message: &Message,
        field: &WireField,
        wire: Wire<'_>,
        depth: usize,
    ) -> Result<Value, ProtobufError> {
        self.spend(1)?;
        let at = |problem| malformed(message.name, field.name, problem);
        match (field.kind, wire) {
            (Kind::Message(id), Wire::Bytes(bytes)) => self.message(id, bytes, depth + 1),
            (
                Kind::SchemaOrBool | Kind::SchemaOrArray | Kind::SchemaOrStrings,
                Wire::Bytes(bytes),
            ) => self.schema_or(field.kind, bytes, depth + 1, &at),
            (Kind::Raw, Wire::Bytes(bytes)) => self.raw(bytes, depth + 1, &at),
            (kind, wire) => special::scalar(kind, wire).map_err(at),
        }
    }

    /// What the JSON holds of a field that has been read whole; `None` where it is left out.
    fn finish(
        &mut self,
        field: &WireField,
        value: Option<Value>,
        depth: usize,
    ) -> Result<Option<Value>, ProtobufError> {
        let Flags { omit_empty, omit_zero, pointer, .. } = field.flags;
        let value = match value {
            Some(value) => value,
            None if pointer || field.holds != Holds::One || field.kind == Kind::Bytes => {
                Value::Null
            }
            None => self.zero(field.kind, depth)?,
        };
        let left_out = match field.kind {
            // Go never takes a struct for empty; only `omitzero` leaves out one.
            _ if pointer || field.holds != Holds::One => omit_empty && value.is_null(),
            Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Double | Kind::String | Kind::Bytes => {
                omit_empty && is_zero(&value)
            }
            _ => omit_zero && is_zero(&value),
        };
        Ok((!left_out).then_some(value))
    }

    /// The JSON of a value that is not on the wire.
    fn zero(&mut self, kind: Kind, depth: usize) -> Result<Value, ProtobufError> {
        self.spend(1)?;
        Ok(match kind {
            Kind::Bool | Kind::SchemaOrBool => Value::Bool(false),
            Kind::Int32 | Kind::Int64 | Kind::Double | Kind::IntOrString => 0.into(),
            Kind::String => "".into(),
            Kind::Quantity => "0".into(),
            Kind::Bytes
            | Kind::Time
            | Kind::MicroTime
            | Kind::Raw
            | Kind::SchemaOrArray
            | Kind::SchemaOrStrings => Value::Null,
            Kind::Message(id) => self.message(id, &[], depth + 1)?,
        })
    }

    fn spend(&mut self, values: usize) -> Result<(), ProtobufError> {
        self.left = self.left.checked_sub(values).ok_or(ProtobufError::TooLarge)?;
        Ok(())
    }

    /// JSON inside a message; an object that a typed client embedded may itself be protobuf.
    fn raw(
        &mut self,
        bytes: &[u8],
        depth: usize,
        at: &dyn Fn(&'static str) -> ProtobufError,
    ) -> Result<Value, ProtobufError> {
        let mut text: &[u8] = &[];
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field().map_err(at)? {
            if let (1, Wire::Bytes(inner)) = (number, wire) {
                text = inner;
            }
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        if is_protobuf(text) {
            return if depth > MAX_DEPTH {
                Err(ProtobufError::TooDeep)
            } else {
                self.envelope(text, None, depth + 1)
            };
        }
        let value: Value = serde_json::from_slice(text).map_err(|_| at("holds no JSON"))?;
        // Each JSON value takes at least two bytes with its separator.
        self.spend(text.len() / 2)?;
        Ok(value)
    }

    fn schema_or(
        &mut self,
        kind: Kind,
        bytes: &[u8],
        depth: usize,
        at: &dyn Fn(&'static str) -> ProtobufError,
    ) -> Result<Value, ProtobufError> {
        let json_schema = self.messages.json_schema;
        let (mut allows, mut schema, mut schemas, mut strings) =
            (false, None, Vec::new(), Vec::new());
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field().map_err(at)? {
            match (kind, number, wire) {
                (Kind::SchemaOrBool, 1, Wire::Varint(value)) => allows = value != 0,
                (Kind::SchemaOrBool, 2, Wire::Bytes(inner)) | (_, 1, Wire::Bytes(inner)) => {
                    schema = Some(self.message(json_schema, inner, depth)?);
                }
                (Kind::SchemaOrArray, 2, Wire::Bytes(inner)) => {
                    schemas.push(self.message(json_schema, inner, depth)?);
                }
                (Kind::SchemaOrStrings, 2, Wire::Bytes(text)) => {
                    strings.push(scan::text(text).map_err(at)?.into());
                }
                _ => return Err(at("has an unknown field")),
            }
            self.spend(1)?;
        }
        Ok(match (kind, schema) {
            (Kind::SchemaOrBool, None) => allows.into(),
            (Kind::SchemaOrArray, _) if !schemas.is_empty() => schemas.into(),
            (Kind::SchemaOrStrings, _) if !strings.is_empty() => Value::Array(strings),
            (_, schema) => schema.unwrap_or(Value::Null),
        })
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn malformed(message: &str, field: &str, problem: &'static str) -> ProtobufError {
    ProtobufError::Malformed { message: message.to_owned(), field: field.to_owned(), problem }
}

#[cfg(test)]
mod tests;
