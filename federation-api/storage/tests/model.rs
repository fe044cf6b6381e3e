//! Random operations against a plain map, on both stores, the durable one opened again at random places.
#![expect(clippy::unwrap_used, reason = "this is a test")]

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Duration};

use bytes::Bytes;
use federation_storage::{
    At, Change, CommitError, Encryption, Listing, MemoryStore, ReadError, RedbStore, Revision,
    Store, WatchItem, Write,
};
use futures::StreamExt;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Create(u8, u16),
    /// The flag makes the expected revision a wrong one.
    Update(u8, u16, bool),
    Delete(u8, bool),
    Compact,
    Wait(u16),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..24_u8;
    prop_oneof![
        6 => (key.clone(), 0..3000_u16).prop_map(|(key, size)| Op::Create(key, size)),
        8 => (key.clone(), 0..3000_u16, proptest::bool::weighted(0.1))
            .prop_map(|(key, size, stale)| Op::Update(key, size, stale)),
        5 => (key, proptest::bool::weighted(0.1)).prop_map(|(key, stale)| Op::Delete(key, stale)),
        1 => Just(Op::Compact),
        2 => (0..200_u16).prop_map(Op::Wait),
        1 => Just(Op::Reopen),
    ]
}

fn key(key: u8) -> String {
    let kind = if key.is_multiple_of(2) { "secrets" } else { "pods" };
    format!("/core/{kind}/{}/{key}", key % 3)
}

type Keys = BTreeMap<String, (Bytes, Revision, Revision)>;

fn keys(listing: &Listing) -> Keys {
    let row = |e: &Arc<federation_storage::Entry>| {
        (e.key.to_string(), (e.value.clone(), e.revision, e.created))
    };
    listing.entries.iter().map(row).collect()
}

/// The store under test, which can be closed and opened.
struct Subject {
    store: Option<Arc<dyn Store>>,
    dir: Option<tempfile::TempDir>,
}

impl Subject {
    fn new(durable: bool) -> Self {
        let dir = durable.then(|| tempfile::tempdir().unwrap());
        let mut subject = Self { store: None, dir };
        subject.reopen();
        subject
    }

    /// False when there is nothing to reopen.
    fn reopen(&mut self) -> bool {
        let Some(dir) = &self.dir else {
            let first = self.store.is_none();
            self.store.get_or_insert_with(|| Arc::new(MemoryStore::new()));
            return first;
        };
        self.store = None;
        let prefixes = vec!["/core/secrets/".to_owned()];
        let encryption = Encryption::Prefixes { prefixes, key_file: None };
        self.store = Some(Arc::new(RedbStore::open(dir.path(), &encryption).unwrap()));
        true
    }

    fn get(&self) -> &Arc<dyn Store> {
        self.store.as_ref().unwrap()
    }
}

async fn run(mut subject: Subject, ops: Vec<Op>) {
    let mut model = Keys::new();
    let mut head = subject.get().revision();
    // The state after each revision, to be compared with old pages and with replays.
    let mut history = BTreeMap::from([(head, model.clone())]);
    for op in ops {
        let store = subject.get();
        let next = Revision(head.0 + 1);
        let stand = |name: &str| model.get(name).map(|(_, revision, _)| *revision);
        let (write, name) = match op {
            Op::Create(at, size) => {
                let value = Bytes::from(vec![at; size.into()]);
                (Write::Create { key: key(at).into(), value }, key(at))
            }
            Op::Update(at, size, stale) => {
                let expected = stand(&key(at)).unwrap_or(head);
                let expected = if stale { Revision(expected.0 + 1) } else { expected };
                let value = Bytes::from(vec![at; size.into()]);
                (Write::Update { key: key(at).into(), value, expected }, key(at))
            }
            Op::Delete(at, stale) => {
                let expected = stand(&key(at)).unwrap_or(head);
                let expected = if stale { Revision(expected.0 + 1) } else { expected };
                (Write::Delete { key: key(at).into(), expected }, key(at))
            }
            Op::Compact => {
                head = store.compact().await.unwrap();
                assert_eq!(head, next);
                history.insert(head, model.clone());
                continue;
            }
            Op::Wait(seconds) => {
                tokio::time::advance(Duration::from_secs(seconds.into())).await;
                continue;
            }
            Op::Reopen => {
                subject.reopen();
                assert_eq!(subject.get().revision(), head);
                continue;
            }
        };
        let outcome = store.commit(write.clone()).await;
        let there = model.get(&name).cloned();
        match (write, there) {
            (Write::Create { value, .. }, None) => {
                assert_eq!(outcome.unwrap().revision, next);
                model.insert(name, (value, next, next));
            }
            (Write::Create { .. }, Some((_, revision, _))) => {
                let Err(CommitError::Exists { current }) = outcome else { panic!("{outcome:?}") };
                assert_eq!(current.revision, revision);
                continue;
            }
            (_, None) => {
                assert!(matches!(outcome, Err(CommitError::Missing { .. })), "{outcome:?}");
                continue;
            }
            (Write::Update { value, expected, .. }, Some((_, revision, created)))
                if expected == revision =>
            {
                assert_eq!(outcome.unwrap().revision, next);
                model.insert(name, (value, next, created));
            }
            (Write::Delete { expected, .. }, Some((_, revision, _))) if expected == revision => {
                let removed = outcome.unwrap();
                assert_eq!((removed.revision, removed.entry.revision), (next, revision));
                model.remove(&name);
            }
            (_, Some((_, revision, _))) => {
                let Err(CommitError::Stale { current }) = outcome else { panic!("{outcome:?}") };
                assert_eq!(current.revision, revision);
                continue;
            }
        }
        head = next;
        history.insert(head, model.clone());
    }
    compare(subject.get(), &history).await;
}

/// Every revision that is still readable shows what the model had then, and a watch from there leads to the end.
async fn compare(store: &Arc<dyn Store>, history: &BTreeMap<Revision, Keys>) {
    let (end, last) = history.last_key_value().unwrap();
    let latest = store.list("", Bound::Unbounded, 0, At::Latest).await.unwrap();
    assert_eq!((keys(&latest), latest.revision), (last.clone(), *end));
    let mut readable = 0;
    for (revision, state) in history {
        let then = store.list("/core/", Bound::Unbounded, 0, At::Exactly(*revision)).await;
        let then = match then {
            Ok(then) => then,
            Err(ReadError::Compacted { .. }) if readable == 0 => {
                assert!(store.watch("", *revision).is_err());
                continue;
            }
            Err(error) => panic!("{revision}: {error}"),
        };
        readable += 1;
        assert_eq!(keys(&then), *state, "at {revision}");
        for prefix in ["", "/core/secrets/", "/core/pods/1/"] {
            let within = |state: &Keys| -> Keys {
                let all = state.iter().filter(|(key, _)| key.starts_with(prefix));
                all.map(|(key, row)| (key.clone(), row.clone())).collect()
            };
            let mut replay = within(state);
            let mut watch = store.watch(prefix, *revision).unwrap();
            // All that the log has is delivered before the watch waits for the first time.
            while let Some(Some(item)) = futures::FutureExt::now_or_never(watch.next()) {
                let WatchItem::Event(event) = item.unwrap() else { continue };
                let name = event.change.key().to_string();
                let before = match &event.change {
                    Change::Created(_) => None,
                    Change::Updated { before, .. } | Change::Deleted(before) => {
                        Some((before.value.clone(), before.revision, before.created))
                    }
                };
                let there = match event.change.after() {
                    Some(e) => replay.insert(name, (e.value.clone(), e.revision, e.created)),
                    None => replay.remove(&name),
                };
                assert_eq!(there, before);
                assert_eq!(replay, within(&history[&event.revision]), "at {}", event.revision);
            }
            assert_eq!(replay, within(last), "replay from {revision}");
        }
    }
    assert!(readable > 0);
}

fn check(durable: bool, ops: Vec<Op>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(run(Subject::new(durable), ops));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_store_does_what_the_model_does(ops in proptest::collection::vec(op(), 0..300)) {
        check(false, ops);
    }

    #[test]
    fn the_durable_store_does_what_the_model_does(ops in proptest::collection::vec(op(), 0..150)) {
        check(true, ops);
    }
}
