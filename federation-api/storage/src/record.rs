//! The bytes of one revision on disk.
//!
//! ```text
//! op 1 · sealed 1 · unix seconds 4 · created 8 · key length 4 · key · value
//! ```
//!
//! Numbers are little-endian. A deletion has no value, a compaction neither key nor value.

use crate::{Change, Revision, log::Slot};

/// What a revision did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put,
    Delete,
    Compaction,
}

/// One revision.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) op: Op,
    /// Whether `value` is sealed.
    pub(crate) sealed: bool,
    pub(crate) seconds: u32,
    pub(crate) created: Revision,
    pub(crate) key: &'a str,
    pub(crate) value: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record of `slot`.
    pub(crate) fn of(slot: &'a Slot, seconds: u32) -> Self {
        let (op, entry) = match slot {
            Slot::Change(Change::Created(entry) | Change::Updated { after: entry, .. }) => {
                (Op::Put, Some(entry))
            }
            Slot::Change(Change::Deleted(entry)) => (Op::Delete, Some(entry)),
            Slot::Compaction | Slot::Swept => (Op::Compaction, None),
        };
        Self {
            op,
            sealed: false,
            seconds,
            created: entry.map_or(Revision(0), |entry| entry.created),
            key: entry.map_or("", |entry| &entry.key),
            value: entry.filter(|_| op == Op::Put).map_or(&[], |entry| &entry.value),
        }
    }

    /// Appends all but the value.
    pub(crate) fn encode_head(&self, sealed: bool, to: &mut Vec<u8>) {
        let op = match self.op {
            Op::Put => 1,
            Op::Delete => 2,
            Op::Compaction => 3,
        };
        to.extend_from_slice(&[op, u8::from(sealed)]);
        to.extend_from_slice(&self.seconds.to_le_bytes());
        to.extend_from_slice(&self.created.0.to_le_bytes());
        to.extend_from_slice(&(self.key.len() as u32).to_le_bytes());
        to.extend_from_slice(self.key.as_bytes());
    }

    /// Reads what was written, or nothing when it is damaged.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&[op, sealed], rest) = bytes.split_first_chunk()?;
        let (seconds, rest) = rest.split_first_chunk()?;
        let (created, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (key, value) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let op = match op {
            1 => Op::Put,
            2 => Op::Delete,
            3 => Op::Compaction,
            _ => return None,
        };
        Some(Self {
            op,
            sealed: sealed == 1,
            seconds: u32::from_le_bytes(*seconds),
            created: Revision(u64::from_le_bytes(*created)),
            key: std::str::from_utf8(key).ok()?,
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::entry;

    #[test]
    fn a_record_reads_as_it_was_written_and_refuses_to_be_cut() {
        let entry = entry("/g/r/a", b"value", Revision(9), Revision(4));
        let put = Slot::Change(Change::Created(entry.clone()));
        for slot in [put, Slot::Change(Change::Deleted(entry)), Slot::Compaction] {
            let record = Record::of(&slot, 77);
            let mut bytes = Vec::new();
            record.encode_head(false, &mut bytes);
            let head = bytes.len();
            bytes.extend_from_slice(record.value);
            assert_eq!(Record::decode(&bytes), Some(record));
            assert!((0..head).all(|end| Record::decode(&bytes[..end]).is_none()));
        }
    }
}
