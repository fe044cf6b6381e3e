//! The newest version of every key, in key order, with cheap snapshots and cheap counting.
//!
//! A vector of sorted chunks. An entry costs one pointer; counting the keys of a range adds up chunk lengths instead
//! of walking keys; a snapshot shares all chunks, and only those that a later write touches are copied.

use std::sync::Arc;

use crate::Entry;

/// Chunks split above this many entries.
const CHUNK: usize = 256;
/// Neighbours that together hold no more than this are joined.
const JOIN: usize = CHUNK / 2;

/// A sorted map of shared entries. Cloning it is a snapshot.
#[derive(Clone, Default)]
pub(crate) struct Map {
    chunks: Arc<Vec<Chunk>>,
}

#[derive(Clone)]
struct Chunk {
    /// No key of this chunk is smaller, every key of the chunks before is.
    first: Arc<str>,
    /// The length of `entries`, here so that counting does not follow the pointer.
    len: usize,
    entries: Arc<Vec<Arc<Entry>>>,
}

/// A place between two entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    chunk: usize,
    offset: usize,
}

impl Chunk {
    fn new(entries: Vec<Arc<Entry>>) -> Self {
        Self { first: entries[0].key.clone(), len: entries.len(), entries: Arc::new(entries) }
    }
}

impl Map {
    /// The map of entries that are sorted by key and have distinct keys.
    pub(crate) fn from_sorted(entries: Vec<Arc<Entry>>) -> Self {
        let mut chunks = Vec::with_capacity(entries.len() / (CHUNK * 3 / 4) + 1);
        let mut entries = entries.into_iter();
        loop {
            let chunk: Vec<_> = entries.by_ref().take(CHUNK * 3 / 4).collect();
            if chunk.is_empty() {
                return Self { chunks: Arc::new(chunks) };
            }
            chunks.push(Chunk::new(chunk));
        }
    }

    /// The entry at `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let found = chunk.entries.binary_search_by(|entry| (*entry.key).cmp(key)).ok()?;
        chunk.entries.get(found)
    }

    /// Puts `entry` at its key, in place of what stood there.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) {
        let index = self.chunk_of(&entry.key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(index) else {
            chunks.push(Chunk::new(vec![entry]));
            return;
        };
        let entries = Arc::make_mut(&mut chunk.entries);
        match entries.binary_search_by(|there| there.key.cmp(&entry.key)) {
            Ok(at) => entries[at] = entry,
            Err(at) => {
                if entry.key < chunk.first {
                    chunk.first = entry.key.clone();
                }
                entries.insert(at, entry);
                let tail = (entries.len() > CHUNK).then(|| {
                    // Keys that arrive in order leave full chunks behind, all others halves.
                    let cut = if at + 1 == entries.len() { CHUNK } else { CHUNK / 2 };
                    entries.split_off(cut)
                });
                chunk.len = entries.len();
                if let Some(tail) = tail {
                    chunks.insert(index + 1, Chunk::new(tail));
                }
            }
        }
    }

    /// Takes the entry at `key` out.
    pub(crate) fn remove(&mut self, key: &str) {
        if self.get(key).is_none() {
            return;
        }
        let index = self.chunk_of(key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = &mut chunks[index];
        let entries = Arc::make_mut(&mut chunk.entries);
        if let Ok(at) = entries.binary_search_by(|entry| (*entry.key).cmp(key)) {
            entries.remove(at);
        }
        chunk.len = entries.len();
        if chunk.len == 0 {
            chunks.remove(index);
        } else if chunks.get(index + 1).is_some_and(|next| next.len + chunks[index].len <= JOIN) {
            let next = chunks.remove(index + 1);
            let chunk = &mut chunks[index];
            Arc::make_mut(&mut chunk.entries).extend(next.entries.iter().cloned());
            chunk.len = chunk.entries.len();
        }
    }

    /// Where `before` turns false; it must be true of all smaller keys and false of all greater ones.
    pub(crate) fn partition(&self, before: impl Fn(&str) -> bool) -> Position {
        match self.chunks.partition_point(|chunk| before(&chunk.first)) {
            0 => Position { chunk: 0, offset: 0 },
            past => {
                let entries = &self.chunks[past - 1].entries;
                let offset = entries.partition_point(|entry| before(&entry.key));
                Position { chunk: past - 1, offset }
            }
        }
    }

    /// How many entries stand before `position`.
    pub(crate) fn rank(&self, position: Position) -> usize {
        let before: usize = self.chunks[..position.chunk].iter().map(|chunk| chunk.len).sum();
        before + position.offset
    }

    /// The entries from `position` on.
    pub(crate) fn iter_from(&self, position: Position) -> impl Iterator<Item = &Arc<Entry>> {
        let chunks = self.chunks.get(position.chunk..).unwrap_or_default();
        let (head, tail) = match chunks.split_first() {
            Some((head, tail)) => (&head.entries[position.offset..], tail),
            None => (&[][..], &[][..]),
        };
        head.iter().chain(tail.iter().flat_map(|chunk| chunk.entries.iter()))
    }

    /// The chunk in which `key` is or belongs.
    fn chunk_of(&self, key: &str) -> usize {
        self.chunks.partition_point(|chunk| *chunk.first <= *key).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{Revision, state::entry};

    fn keys(map: &Map) -> Vec<String> {
        map.iter_from(Position { chunk: 0, offset: 0 }).map(|e| e.key.to_string()).collect()
    }

    fn put(map: &mut Map, key: u32) {
        map.insert(entry(&format!("/k/{key:05}"), b"", Revision(1), Revision(1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn holds_what_a_btree_holds_and_counts_alike(
            ops in proptest::collection::vec((any::<bool>(), any::<bool>(), 0u32..3000), 0..4000),
            probe in 0u32..3000,
        ) {
            let (mut map, mut model) = (Map::default(), BTreeSet::new());
            for (at, (add, run, key)) in ops.into_iter().enumerate() {
                let key = if run { (at as u32) % 3000 } else { key };
                if add {
                    put(&mut map, key);
                    model.insert(key);
                } else {
                    map.remove(&format!("/k/{key:05}"));
                    model.remove(&key);
                }
            }
            let expected: Vec<_> = model.iter().map(|key| format!("/k/{key:05}")).collect();
            prop_assert_eq!(keys(&map), expected);
            let wanted = format!("/k/{probe:05}");
            let position = map.partition(|key| key < wanted.as_str());
            prop_assert_eq!(map.rank(position), model.range(..probe).count());
            prop_assert_eq!(map.iter_from(position).count(), model.range(probe..).count());
            prop_assert_eq!(map.get(&wanted).is_some(), model.contains(&probe));
        }
    }

    #[test]
    fn a_snapshot_does_not_see_later_writes() {
        let mut map = Map::default();
        (0..1000).for_each(|key| put(&mut map, key));
        let snapshot = map.clone();
        (0..1000).step_by(2).for_each(|key| map.remove(&format!("/k/{key:05}")));
        put(&mut map, 5000);
        assert_eq!(keys(&snapshot).len(), 1000);
        assert_eq!(keys(&map).len(), 501);
    }

    #[test]
    fn a_sorted_load_equals_single_inserts() {
        let mut map = Map::default();
        (0..1000).for_each(|key| put(&mut map, key));
        let all = map.iter_from(Position { chunk: 0, offset: 0 }).cloned().collect();
        let loaded = Map::from_sorted(all);
        assert_eq!(keys(&loaded), keys(&map));
        assert!(Map::from_sorted(Vec::new()).get("/k/00000").is_none());
    }
}
