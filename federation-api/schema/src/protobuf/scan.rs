//! The protobuf encoding itself: tags, varints, lengths.

use super::Outcome;

/// A value as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire<'b> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'b [u8]),
}

/// Reads one message's bytes.
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field's number and value.
    pub(super) fn field(&mut self) -> Outcome<Option<(u32, Wire<'b>)>> {
        let Some(tag) = self.varint_or_end()? else { return Ok(None) };
        let number = u32::try_from(tag >> 3).map_err(|_| "has a field number that is too large")?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| "has a length beyond its end")?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            _ => return Err("has an unknown wire type"),
        };
        if number == 0 { Err("has field number 0") } else { Ok(Some((number, wire))) }
    }

    /// The next number, or `None` at the end.
    pub(super) fn varint_or_end(&mut self) -> Outcome<Option<u64>> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Outcome<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("has a number of more than ten bytes")
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or("ends too early")?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, length: usize) -> Outcome<&'b [u8]> {
        let (head, rest) =
            self.rest.split_at_checked(length).ok_or("has a length beyond its end")?;
        self.rest = rest;
        Ok(head)
    }
}

/// Text must be UTF-8.
pub(super) fn text(bytes: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")
}
