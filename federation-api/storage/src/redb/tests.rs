use std::path::Path;

use futures::StreamExt;

use super::*;
use crate::contract::{create, delete, update};

fn sealed() -> Encryption {
    Encryption::Prefixes { prefixes: vec!["/core/secrets/".into()], key_file: None }
}

fn open(dir: &Path) -> RedbStore {
    RedbStore::open(dir, &sealed()).unwrap()
}

fn fresh() -> (RedbStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(dir.path()), dir)
}

crate::store_contract!(fresh());

async fn all(store: &RedbStore) -> Vec<(String, Vec<u8>, Revision, Revision)> {
    let listing = store.list("", Bound::Unbounded, 0, At::Latest).await.unwrap();
    let row = |e: &Arc<Entry>| (e.key.to_string(), e.value.to_vec(), e.revision, e.created);
    listing.entries.iter().map(row).collect()
}

/// The revisions on disk.
fn records(dir: &Path) -> Vec<u64> {
    let database = Builder::new().open(dir.join("store.redb")).unwrap();
    let table = database.begin_read().unwrap().open_table(VAL).unwrap();
    table.iter().unwrap().map(|item| item.unwrap().0.value()).collect()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let (store, dir) = fresh();
    let a = store.commit(create("/g/r/a", "1")).await.unwrap();
    let b = store.commit(create("/g/r/b", "1")).await.unwrap();
    store.commit(update("/g/r/a", "2", a.revision)).await.unwrap();
    store.commit(delete("/g/r/b", b.revision)).await.unwrap();
    store.compact().await.unwrap();
    let (before, head) = (all(&store).await, store.revision());
    drop(store);
    let store = open(dir.path());
    assert_eq!((all(&store).await, store.revision()), (before, head));
    let next = store.commit(create("/g/r/b", "2")).await.unwrap();
    assert_eq!(next.revision.0, head.0 + 1);
}

#[tokio::test]
async fn a_watch_from_before_a_restart_goes_on() {
    let (store, dir) = fresh();
    let start = store.revision();
    let a = store.commit(create("/g/r/a", "1")).await.unwrap();
    let newer = store.commit(update("/g/r/a", "2", a.revision)).await.unwrap();
    let gone = store.commit(delete("/g/r/a", newer.revision)).await.unwrap();
    drop(store);
    let store = open(dir.path());
    let mut watch = store.watch("/g/r/", start).unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let Some(Ok(crate::WatchItem::Event(event))) = watch.next().await else { panic!() };
        seen.push((event.revision, event.change.after().map(|entry| entry.value.clone())));
    }
    let value = |text: &'static str| Some(bytes::Bytes::from_static(text.as_bytes()));
    let expected = [(a.revision, value("1")), (newer.revision, value("2")), (gone.revision, None)];
    assert_eq!(seen, expected);
    let then = store.list("", Bound::Unbounded, 0, At::Exactly(newer.revision)).await.unwrap();
    assert_eq!(&*then.entries[0].value, b"2");
}

#[tokio::test(start_paused = true)]
async fn compaction_takes_superseded_records_off_the_disk() {
    let (store, dir) = fresh();
    let mut newest = store.commit(create("/g/r/a", "0")).await.unwrap().revision;
    for at in 1..2000 {
        let write = update("/g/r/a", &at.to_string(), newest);
        newest = store.commit(write).await.unwrap().revision;
    }
    let b = store.commit(create("/g/r/b", "0")).await.unwrap().revision;
    store.commit(delete("/g/r/b", b)).await.unwrap();
    tokio::time::advance(Duration::from_secs(301)).await;
    let compacted = store.compact().await.unwrap();
    // Each commit takes some along, so that no commit waits for all of it.
    let mut last = compacted;
    for at in 0..5 {
        last = store.commit(create(&format!("/g/r/c{at}"), "0")).await.unwrap().revision;
    }
    let before = all(&store).await;
    drop(store);
    let mut expected = vec![newest.0];
    expected.extend(compacted.0..=last.0);
    assert_eq!(records(dir.path()), expected);
    let store = open(dir.path());
    assert_eq!(all(&store).await, before);
    let floor = store.list("", Bound::Unbounded, 0, At::Exactly(b)).await;
    assert!(matches!(floor, Err(ReadError::Compacted { .. })), "the floor survives a restart");
}

#[tokio::test]
async fn a_removal_that_was_cut_short_is_finished_and_revives_nothing() {
    let (store, dir) = fresh();
    let a = store.commit(create("/g/r/a", "1")).await.unwrap().revision;
    let newer = store.commit(update("/g/r/a", "2", a)).await.unwrap().revision;
    let gone = store.commit(delete("/g/r/a", newer)).await.unwrap().revision;
    let last = store.commit(create("/g/r/b", "1")).await.unwrap().revision;
    drop(store);
    // As compaction leaves it when it is killed after its first removal.
    for removed in [a, newer] {
        let database = Builder::new().open(dir.path().join("store.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(VAL).unwrap().remove(removed.0).unwrap();
        let floor = gone.0.to_le_bytes();
        transaction.open_table(META).unwrap().insert("floor", &floor[..]).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let lost = open(dir.path());
        assert!(lost.get("/g/r/a").await.unwrap().is_none());
        assert_eq!(lost.revision(), last);
        drop(lost);
    }
    let store = open(dir.path());
    let after = store.commit(create("/g/r/c", "1")).await.unwrap().revision;
    drop(store);
    assert_eq!(records(dir.path()), [last.0, after.0]);
}

#[tokio::test]
async fn a_missing_record_is_found_at_opening() {
    let (store, dir) = fresh();
    let a = store.commit(create("/g/r/a", "1")).await.unwrap().revision;
    store.commit(create("/g/r/b", "1")).await.unwrap();
    drop(store);
    let database = Builder::new().open(dir.path().join("store.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(VAL).unwrap().remove(a.0).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = RedbStore::open(dir.path(), &sealed()).unwrap_err();
    assert!(matches!(refused, OpenError::Unreadable { .. }), "{refused}");
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let (store, dir) = fresh();
    let refused = RedbStore::open(dir.path(), &sealed()).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    drop(store);
    open(dir.path());
}

#[tokio::test]
async fn a_newer_format_and_a_foreign_file_are_refused() {
    let (store, dir) = fresh();
    drop(store);
    let path = dir.path().join("store.redb");
    let database = Builder::new().open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", &9_u64.to_le_bytes()[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = RedbStore::open(dir.path(), &sealed()).unwrap_err();
    assert!(matches!(refused, OpenError::Format { found: 9, known: 1, .. }), "{refused}");
    fs::write(&path, vec![b'x'; 8192]).unwrap();
    let refused = RedbStore::open(dir.path(), &sealed()).unwrap_err();
    assert!(matches!(refused, OpenError::Unreadable { .. }), "{refused}");
}

#[tokio::test]
async fn a_half_made_store_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.redb.new"), b"half").unwrap();
    let store = open(dir.path());
    assert_eq!(store.revision(), Revision::FIRST);
}

#[tokio::test]
async fn sealed_values_are_nowhere_on_disk_and_survive_a_restart() {
    let (store, dir) = fresh();
    let canary = "canary-7f3a91";
    store.commit(create("/core/secrets/ns/a", canary)).await.unwrap();
    store.commit(create("/core/configmaps/ns/a", "plain-7f3a91")).await.unwrap();
    let before = all(&store).await;
    drop(store);
    let mut plain = false;
    for file in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds(canary));
        plain |= holds("plain-7f3a91");
    }
    assert!(plain, "the search finds what is not sealed");
    let store = open(dir.path());
    assert_eq!(all(&store).await, before);
    drop(store);

    let mode = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(dir.path().join(name)).unwrap().mode() & 0o777
    };
    assert_eq!((mode("key"), mode("store.redb")), (0o600, 0o600));
    let refused = RedbStore::open(dir.path(), &Encryption::Off).unwrap_err();
    assert!(matches!(refused, OpenError::Key { .. }), "{refused}");
    fs::remove_file(dir.path().join("key")).unwrap();
    let refused = RedbStore::open(dir.path(), &sealed()).unwrap_err();
    assert!(matches!(refused, OpenError::Key { .. }), "{refused}");
    assert!(!dir.path().join("key").exists());
}

#[tokio::test]
async fn a_wrong_key_is_refused_even_before_anything_is_sealed() {
    let (store, dir) = fresh();
    drop(store);
    fs::write(dir.path().join("key"), "0f".repeat(32)).unwrap();
    let refused = RedbStore::open(dir.path(), &sealed()).unwrap_err();
    let OpenError::Key { reason, .. } = refused else { panic!("{refused}") };
    assert!(reason.contains("not the key of this store"), "{reason}");
}

#[tokio::test]
async fn a_store_made_in_the_clear_can_be_sealed_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path(), &Encryption::Off).unwrap();
    store.commit(create("/core/secrets/ns/a", "old")).await.unwrap();
    drop(store);
    let store = open(dir.path());
    store.commit(create("/core/secrets/ns/b", "canary-55")).await.unwrap();
    drop(store);
    let bytes = fs::read(dir.path().join("store.redb")).unwrap();
    assert!(!bytes.windows(9).any(|window| window == b"canary-55"));
    assert_eq!(all(&open(dir.path())).await.len(), 2);
}

#[tokio::test]
async fn a_removal_that_never_started_is_made_up_for() {
    let (store, dir) = fresh();
    let a = store.commit(create("/g/r/a", "1")).await.unwrap().revision;
    let newer = store.commit(update("/g/r/a", "2", a)).await.unwrap().revision;
    drop(store);
    let database = Builder::new().open(dir.path().join("store.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let floor = newer.0.to_le_bytes();
    transaction.open_table(META).unwrap().insert("floor", &floor[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let store = open(dir.path());
    let last = store.commit(create("/g/r/b", "1")).await.unwrap().revision;
    drop(store);
    assert_eq!(records(dir.path()), [newer.0, last.0]);
}
