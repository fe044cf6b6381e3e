//! Readers and writers on real threads: whoever lists and then watches holds, at the end, what the store holds.
#![expect(clippy::unwrap_used, reason = "this is a test")]

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use federation_storage::{
    At, Change, Encryption, MemoryStore, RedbStore, Revision, Store, WatchItem, Write,
};
use futures::{StreamExt, future::join_all};
use tokio::sync::Barrier;

const WRITERS: usize = 4;
const ROUNDS: usize = 250;
const PREFIXES: [&str; 5] = ["", "/g/r/", "/g/r/0/", "/g/s/", "/g/s/1/"];

async fn write(store: Arc<dyn Store>, writer: usize, start: Arc<Barrier>) {
    start.wait().await;
    for round in 0..ROUNDS {
        let kind = if round % 3 == 0 { "r" } else { "s" };
        let key: Arc<str> = format!("/g/{kind}/{}/{}", round % 2, (round * 7 + writer) % 10).into();
        let value = format!("{writer}-{round}").into();
        let write = match store.get(&key).await.unwrap() {
            None => Write::Create { key, value },
            Some(there) if round % 5 == 0 => Write::Delete { key, expected: there.revision },
            Some(there) => Write::Update { key, value, expected: there.revision },
        };
        // The writers are rivals for the keys.
        drop(store.commit(write).await);
        tokio::task::yield_now().await;
        if round % 50 == writer {
            store.compact().await.unwrap();
        }
    }
}

/// Lists, watches until the key `end`, and compares with a last list.
async fn follow(store: Arc<dyn Store>, prefix: &str, start: Option<Arc<Barrier>>) -> usize {
    let listing = store.list(prefix, Bound::Unbounded, 0, At::Latest).await.unwrap();
    if let Some(start) = start {
        start.wait().await;
    }
    let mut state: BTreeMap<String, Revision> =
        listing.entries.iter().map(|e| (e.key.to_string(), e.revision)).collect();
    let mut watch = store.watch(prefix, listing.revision).unwrap();
    let (mut told, mut events) = (listing.revision, 0);
    loop {
        let event = match watch.next().await.unwrap().unwrap() {
            WatchItem::Event(event) => event,
            WatchItem::Progress(revision) => {
                assert!(revision > told);
                told = revision;
                continue;
            }
        };
        assert!(event.revision > told, "{} after {told}", event.revision);
        told = event.revision;
        events += 1;
        let key = event.change.key().to_string();
        let (there, before) = match &event.change {
            Change::Created(_) => (state.insert(key.clone(), told), None),
            Change::Updated { before, .. } => {
                (state.insert(key.clone(), told), Some(before.revision))
            }
            Change::Deleted(entry) => (state.remove(&key), Some(entry.revision)),
        };
        assert_eq!(there, before, "{event:?}");
        if key.ends_with("/end") {
            break;
        }
    }
    let last = store.list(prefix, Bound::Unbounded, 0, At::Exactly(told)).await.unwrap();
    let last: BTreeMap<_, _> =
        last.entries.iter().map(|e| (e.key.to_string(), e.revision)).collect();
    assert_eq!(state, last, "{prefix} at {told}");
    events
}

async fn all_agree(store: Arc<dyn Store>) {
    // The first readers are there before the first write, the others come while the writers are at work.
    let start = Arc::new(Barrier::new(WRITERS + PREFIXES.len()));
    let mut readers: Vec<_> = PREFIXES
        .map(|prefix| tokio::spawn(follow(store.clone(), prefix, Some(start.clone()))))
        .into();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(store.clone(), writer, start.clone())))
        .collect();
    for _ in 0..8 {
        readers.extend(PREFIXES.map(|prefix| tokio::spawn(follow(store.clone(), prefix, None))));
        tokio::task::yield_now().await;
    }
    join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    for end in ["/g/r/0/end", "/g/s/1/end"] {
        let value = "end".into();
        store.commit(Write::Create { key: end.into(), value }).await.unwrap();
    }
    let events: usize = join_all(readers).await.into_iter().map(|reader| reader.unwrap()).sum();
    assert!(events > ROUNDS, "{events} events");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_readers_of_the_memory_store_agree() {
    all_agree(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_readers_of_the_durable_store_agree() {
    let dir = tempfile::tempdir().unwrap();
    all_agree(Arc::new(RedbStore::open(dir.path(), &Encryption::Off).unwrap())).await;
}
