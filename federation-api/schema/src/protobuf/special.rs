//! Values whose JSON is not their message: times, quantities, numbers, bytes.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Number, Value};

use super::{
    Outcome,
    scan::{self, Reader, Wire},
};
use crate::catalogue::wire::Kind;

/// Go's zero time, 0001-01-01T00:00:00Z, which its JSON writes as null.
const ZERO_TIME: i64 = -62_135_596_800;

/// The JSON of a scalar.
pub(super) fn scalar(kind: Kind, wire: Wire<'_>) -> Outcome<Value> {
    match (kind, wire) {
        (Kind::Bool, Wire::Varint(value)) => Ok(Value::Bool(value != 0)),
        // As Go converts: 32 bits of the 64 that are sent, negative numbers sign-extended.
        (Kind::Int32, Wire::Varint(value)) => Ok((value as i32).into()),
        (Kind::Int64, Wire::Varint(value)) => Ok((value as i64).into()),
        (Kind::Double, Wire::Fixed64(bits)) => double(f64::from_bits(bits)),
        (Kind::String, Wire::Bytes(bytes)) => Ok(scan::text(bytes)?.into()),
        (Kind::Bytes, Wire::Bytes(bytes)) => Ok(STANDARD.encode(bytes).into()),
        (Kind::Time, Wire::Bytes(bytes)) => time(bytes, false),
        (Kind::MicroTime, Wire::Bytes(bytes)) => time(bytes, true),
        (Kind::Quantity, Wire::Bytes(bytes)) => quantity(bytes),
        (Kind::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes),
        _ => Err("has the wrong wire type"),
    }
}

fn double(value: f64) -> Outcome<Value> {
    // Go writes whole numbers without a fraction.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Ok((value as i64).into());
    }
    Number::from_f64(value).map(Value::Number).ok_or("is not a finite number")
}

fn time(bytes: &[u8], micro: bool) -> Outcome<Value> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.field()? {
        match field {
            (1, Wire::Varint(value)) => seconds = value as i64,
            (2, Wire::Varint(value)) => nanos = value as i32,
            _ => {}
        }
    }
    if (seconds == 0 && nanos == 0) || (seconds == ZERO_TIME && (nanos == 0 || !micro)) {
        return Ok(Value::Null);
    }
    let nanos = if micro { nanos } else { 0 };
    let at = Timestamp::new(seconds, nanos).map_err(|_| "is a time out of range")?;
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(at.strftime(format).to_string().into())
}

fn quantity(bytes: &[u8]) -> Outcome<Value> {
    let mut quantity = "";
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.field()? {
        if let (1, Wire::Bytes(text)) = field {
            quantity = scan::text(text)?;
        }
    }
    Ok(if quantity.is_empty() { "0".into() } else { quantity.into() })
}

fn int_or_string(bytes: &[u8]) -> Outcome<Value> {
    let (mut kind, mut number, mut text) = (0, 0i32, "");
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.field()? {
        match field {
            (1, Wire::Varint(value)) => kind = value,
            (2, Wire::Varint(value)) => number = value as i32,
            (3, Wire::Bytes(bytes)) => text = scan::text(bytes)?,
            _ => {}
        }
    }
    match kind {
        0 => Ok(number.into()),
        1 => Ok(text.into()),
        _ => Err("is neither an integer nor a string"),
    }
}
