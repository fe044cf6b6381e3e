//! The contract of [`Store`], as tests that every implementation runs: `store_contract!(expression)`, where the
//! expression yields a new, empty store and a guard that is kept for as long as the store.
#![expect(clippy::unwrap_used, reason = "these are tests, only shared ones")]

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::join_all};

use crate::{
    At, Change, CommitError, Committed, Entry, Event, Listing, ReadError, Revision, Store, Watch,
    WatchError, WatchItem, Write,
};

/// Longer than the compaction window.
const LATER: Duration = Duration::from_secs(301);

/// Expands to one test per clause of the contract.
#[macro_export]
macro_rules! store_contract {
    ($open:expr) => {
        $crate::store_contract!(@ $open;
            a_create_takes_a_free_key_and_nothing_else,
            updates_and_deletes_need_the_revision_they_expect,
            revisions_are_consecutive_under_concurrent_writers,
            of_many_concurrent_updates_of_one_revision_one_wins,
            values_share_no_buffer_with_the_writer,
            lists_are_sorted_bounded_and_counted,
            pages_show_the_revision_they_started_from,
            an_exact_list_sees_deleted_and_not_yet_created_keys_as_they_were,
            a_list_of_a_future_revision_waits_three_seconds,
            a_list_not_before_a_coming_revision_gets_it,
            a_watch_replays_and_goes_on_without_gap_or_double,
            a_watch_sees_its_prefix_only,
            watches_of_any_depth_see_the_same_events,
            watch_replay_equals_the_difference_of_lists,
            two_watches_from_one_revision_yield_the_same_events,
            a_watch_opened_at_the_compaction_revision_misses_nothing,
            a_delete_during_compaction_reaches_its_watch,
            a_watch_that_falls_behind_the_floor_ends_compacted,
            a_watch_one_revision_behind_the_floor_ends_compacted,
            progress_follows_other_keys_at_most_once_a_second,
            progress_never_runs_ahead_of_an_undelivered_event,
            an_idle_store_sends_no_progress,
            compaction_takes_a_revision_and_keeps_the_last_five_minutes,
            compaction_keeps_every_newest_version,
            the_second_of_two_compactions_passes_what_stood_at_the_first,
            a_watch_ends_when_the_store_closes,
        );
    };
    (@ $open:expr; $($name:ident,)*) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            let (store, _guard) = $open;
            $crate::contract::$name(std::sync::Arc::new(store)).await;
        })*
    };
}

type Shared = Arc<dyn Store>;

/// A create of `key`.
pub fn create(key: &str, value: &str) -> Write {
    Write::Create { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()) }
}

/// An update of `key`.
pub fn update(key: &str, value: &str, expected: Revision) -> Write {
    Write::Update { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()), expected }
}

/// A delete of `key`.
pub fn delete(key: &str, expected: Revision) -> Write {
    Write::Delete { key: key.into(), expected }
}

async fn put(store: &Shared, key: &str, value: &str) -> Committed {
    match store.get(key).await.unwrap() {
        Some(there) => store.commit(update(key, value, there.revision)).await.unwrap(),
        None => store.commit(create(key, value)).await.unwrap(),
    }
}

async fn remove(store: &Shared, key: &str) -> Committed {
    let there = store.get(key).await.unwrap().unwrap();
    store.commit(delete(key, there.revision)).await.unwrap()
}

async fn list(store: &Shared, prefix: &str, at: At) -> Result<Listing, ReadError> {
    store.list(prefix, Bound::Unbounded, 0, at).await
}

fn show(entries: &[Arc<Entry>]) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    entries.iter().map(|entry| (entry.key.to_string(), text(&entry.value))).collect()
}

/// The next event; progress before it is checked to be behind it.
async fn event(watch: &mut Watch) -> Event {
    let mut told = Revision(0);
    loop {
        match watch.next().await.unwrap().unwrap() {
            WatchItem::Event(event) => {
                assert!(event.revision > told, "progress {told} before event {event:?}");
                return event;
            }
            WatchItem::Progress(revision) => {
                assert!(revision > told);
                told = revision;
            }
        }
    }
}

fn line(event: &Event) -> String {
    let (revision, key) = (event.revision, event.change.key());
    match &event.change {
        Change::Created(entry) => {
            assert_eq!((entry.revision, entry.created), (revision, revision));
            format!("{revision} + {key}")
        }
        Change::Updated { before, after } => {
            assert!(before.revision < after.revision && after.revision == revision);
            assert_eq!(before.created, after.created);
            format!("{revision} {} > {key}", before.revision)
        }
        Change::Deleted(entry) => format!("{revision} {} - {key}", entry.revision),
    }
}

/// All events up to `end`, which must be the revision of one.
async fn until(watch: &mut Watch, end: Revision) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let event = event(watch).await;
        lines.push(line(&event));
        assert!(event.revision <= end, "beyond {end}: {event:?}");
        if event.revision == end {
            return lines;
        }
    }
}

/// Applies events to a state.
fn replay(state: &mut BTreeMap<String, Revision>, event: &Event) {
    let key = event.change.key().to_string();
    let before = match &event.change {
        Change::Created(_) => None,
        Change::Updated { before, .. } => Some(before.revision),
        Change::Deleted(entry) => Some(entry.revision),
    };
    let there = match event.change.after() {
        Some(_) => state.insert(key, event.revision),
        None => state.remove(&key),
    };
    assert_eq!(there, before, "{event:?}");
}

pub async fn a_create_takes_a_free_key_and_nothing_else(store: Shared) {
    let empty = list(&store, "", At::Latest).await.unwrap();
    assert!(empty.entries.is_empty() && empty.revision >= Revision::FIRST);
    let made = store.commit(create("/g/r/a", "1")).await.unwrap();
    assert!(made.revision > empty.revision);
    assert_eq!((made.entry.revision, made.entry.created), (made.revision, made.revision));
    let refused = store.commit(create("/g/r/a", "2")).await.unwrap_err();
    let CommitError::Exists { current } = refused else { panic!("{refused}") };
    assert_eq!((&*current.key, &*current.value), ("/g/r/a", &b"1"[..]));
    assert_eq!(store.revision(), made.revision, "a refused write takes no revision");
    assert!(store.get("/g/r/b").await.unwrap().is_none());
    let read = store.get("/g/r/a").await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&read, &made.entry), "one allocation per version");
}

pub async fn updates_and_deletes_need_the_revision_they_expect(store: Shared) {
    let made = put(&store, "/g/r/a", "1").await;
    let newer = store.commit(update("/g/r/a", "2", made.revision)).await.unwrap();
    assert_eq!((newer.entry.created, newer.entry.revision), (made.revision, newer.revision));
    for stale in [update("/g/r/a", "3", made.revision), delete("/g/r/a", made.revision)] {
        let refused = store.commit(stale).await.unwrap_err();
        let CommitError::Stale { current } = refused else { panic!("{refused}") };
        assert_eq!(current.revision, newer.revision);
    }
    let gone = store.commit(delete("/g/r/a", newer.revision)).await.unwrap();
    assert!(gone.revision > newer.revision);
    assert_eq!(gone.entry.revision, newer.revision, "a delete yields the version it removed");
    assert!(store.get("/g/r/a").await.unwrap().is_none());
    for missing in [update("/g/r/a", "3", newer.revision), delete("/g/r/a", newer.revision)] {
        let refused = store.commit(missing).await.unwrap_err();
        assert!(matches!(&refused, CommitError::Missing { key } if &**key == "/g/r/a"));
    }
    let again = put(&store, "/g/r/a", "4").await;
    assert_eq!(again.entry.created, again.revision, "made again is made anew");
}

pub async fn revisions_are_consecutive_under_concurrent_writers(store: Shared) {
    let start = store.revision();
    let keys: Vec<_> = (0..200).map(|at| format!("/g/r/{at}")).collect();
    let made = join_all(keys.iter().map(|key| store.commit(create(key, key)))).await;
    let revisions: BTreeSet<_> =
        made.iter().map(|made| made.as_ref().unwrap().revision.0).collect();
    assert_eq!(revisions, (start.0 + 1..=start.0 + 200).collect());
    assert_eq!(store.revision(), Revision(start.0 + 200));
}

pub async fn of_many_concurrent_updates_of_one_revision_one_wins(store: Shared) {
    let made = put(&store, "/g/r/a", "0").await;
    let values: Vec<_> = (0..32).map(|at| at.to_string()).collect();
    let tries = values.iter().map(|v| store.commit(update("/g/r/a", v, made.revision)));
    let outcomes = join_all(tries).await;
    let won: Vec<_> = outcomes.iter().flatten().collect();
    assert_eq!(won.len(), 1);
    for lost in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        let CommitError::Stale { current } = lost else { panic!("{lost}") };
        assert_eq!(current.revision, won[0].revision);
    }
}

pub async fn values_share_no_buffer_with_the_writer(store: Shared) {
    let buffer = Bytes::from(vec![7; 1 << 20]);
    let write = Write::Create { key: "/g/r/a".into(), value: buffer.slice(100..110) };
    let made = store.commit(write).await.unwrap();
    assert_eq!(*made.entry.value, [7; 10]);
    assert!(!buffer.as_ptr_range().contains(&made.entry.value.as_ptr()));
}

pub async fn lists_are_sorted_bounded_and_counted(store: Shared) {
    for at in (0..50).rev() {
        put(&store, &format!("/g/r/ns/{at:02}"), "v").await;
    }
    put(&store, "/g/r/nsx/00", "v").await;
    put(&store, "/g/a/ns/00", "v").await;
    let names = async |prefix: &str, start: Bound<&str>, limit: usize| {
        let page = store.list(prefix, start, limit, At::Latest).await.unwrap();
        assert_eq!(page.revision, store.revision());
        (show(&page.entries).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), page.remaining)
    };
    let (all, remaining) = names("/g/r/ns/", Bound::Unbounded, 0).await;
    assert_eq!((all.len(), remaining), (50, 0));
    assert!(all.is_sorted());
    let (page, remaining) = names("/g/r/ns/", Bound::Unbounded, 20).await;
    assert_eq!((page.as_slice(), remaining), (&all[..20], 30));
    let (page, remaining) = names("/g/r/ns/", Bound::Excluded(&all[19]), 20).await;
    assert_eq!((page.as_slice(), remaining), (&all[20..40], 10));
    let (page, remaining) = names("/g/r/ns/", Bound::Included("/g/r/ns/40"), 20).await;
    assert_eq!((page.as_slice(), remaining), (&all[40..], 0));
    assert_eq!(names("/g/r/ns/", Bound::Included("/z"), 5).await, (vec![], 0));
    assert_eq!(names("/g/r/ns/", Bound::Included("/a"), 1).await, (vec![all[0].clone()], 49));
    assert_eq!(names("/h/", Bound::Unbounded, 5).await, (vec![], 0));
    assert_eq!(names("", Bound::Unbounded, 0).await.0.len(), 52);
}

pub async fn pages_show_the_revision_they_started_from(store: Shared) {
    for at in 0..30 {
        put(&store, &format!("/g/r/{at:02}"), "old").await;
    }
    let before = list(&store, "/g/r/", At::Latest).await.unwrap();
    let mut pages = Vec::new();
    let mut start = None::<String>;
    for round in 0..6 {
        let bound = start.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = store.list("/g/r/", bound, 5, At::Exactly(before.revision)).await.unwrap();
        assert_eq!((page.revision, page.remaining), (before.revision, 25 - 5 * round));
        start = page.entries.last().map(|entry| entry.key.to_string());
        pages.extend(page.entries);
        // Behind, at and before the page: a new key, a removed one, changed ones.
        put(&store, &format!("/g/r/{:02}x", round * 5), "new").await;
        put(&store, &format!("/g/r/{:02}", 29 - round), "new").await;
        remove(&store, &format!("/g/r/{:02}", 10 + round)).await;
    }
    assert_eq!(show(&pages), show(&before.entries));
}

pub async fn an_exact_list_sees_deleted_and_not_yet_created_keys_as_they_were(store: Shared) {
    let mut states = Vec::new();
    for round in 0..40_u32 {
        let key = format!("/g/r/{}", round * 7 % 11);
        let there = store.get(&key).await.unwrap();
        if there.is_some() && round % 3 == 0 {
            remove(&store, &key).await;
        } else {
            put(&store, &key, &round.to_string()).await;
        }
        states.push(list(&store, "/g/", At::Latest).await.unwrap());
    }
    for state in states {
        let then = list(&store, "/g/", At::Exactly(state.revision)).await.unwrap();
        assert_eq!(then.revision, state.revision);
        assert_eq!(show(&then.entries), show(&state.entries));
    }
}

pub async fn a_list_of_a_future_revision_waits_three_seconds(store: Shared) {
    let newest = store.revision();
    let wanted = Revision(newest.0 + 1);
    let start = tokio::time::Instant::now();
    let refused = list(&store, "", At::Exactly(wanted)).await.unwrap_err();
    assert!(matches!(refused, ReadError::Future { .. }) && start.elapsed().is_zero());
    let refused = list(&store, "", At::NotBefore(wanted)).await.unwrap_err();
    let ReadError::Future { wanted: told, newest: head } = refused else { panic!("{refused}") };
    assert_eq!((told, head), (wanted, newest));
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(4), "{waited:?}");
}

pub async fn a_list_not_before_a_coming_revision_gets_it(store: Shared) {
    let made = put(&store, "/g/r/a", "1").await;
    let present = list(&store, "", At::NotBefore(made.revision)).now_or_never();
    assert_eq!(present.unwrap().unwrap().revision, made.revision);
    tokio::time::resume();
    let coming = list(&store, "", At::NotBefore(Revision(made.revision.0 + 1)));
    let (listed, made) = tokio::join!(coming, put(&store, "/g/r/b", "1"));
    let listed = listed.unwrap();
    assert!(listed.revision >= made.revision && listed.entries.len() == 2);
}

pub async fn a_watch_replays_and_goes_on_without_gap_or_double(store: Shared) {
    let start = store.revision();
    let made = put(&store, "/g/r/a", "1").await.revision;
    let mut watch = store.watch("/g/r/", start).unwrap();
    let newer = put(&store, "/g/r/a", "2").await.revision;
    let mut lines = until(&mut watch, newer).await;
    let gone = remove(&store, "/g/r/a").await.revision;
    lines.extend(until(&mut watch, gone).await);
    let expected = [
        format!("{made} + /g/r/a"),
        format!("{newer} {made} > /g/r/a"),
        format!("{gone} {newer} - /g/r/a"),
    ];
    assert_eq!(lines, expected);
    assert!(watch.next().now_or_never().is_none());
    for since in [made, newer] {
        let mut later = store.watch("/g/r/", since).unwrap();
        let after = expected.len() - (gone.0 - since.0) as usize;
        assert_eq!(until(&mut later, gone).await, expected[after..]);
    }
}

pub async fn a_watch_sees_its_prefix_only(store: Shared) {
    let start = store.revision();
    let mut watch = store.watch("/g/r/ns/", start).unwrap();
    assert!(watch.next().now_or_never().is_none());
    for key in ["/g/r/nsx/a", "/g/r/n/a", "/g/rr/ns/a", "/h/r/ns/a"] {
        put(&store, key, "1").await;
    }
    let made = put(&store, "/g/r/ns/a", "1").await.revision;
    assert_eq!(until(&mut watch, made).await, [format!("{made} + /g/r/ns/a")]);
}

pub async fn watches_of_any_depth_see_the_same_events(store: Shared) {
    let start = store.revision();
    let prefixes = ["", "/", "/g", "/g/", "/g/r", "/g/r/", "/g/r/n", "/g/r/ns/", "/g/r/ns/a"];
    let mut watches: Vec<_> =
        prefixes.iter().map(|prefix| store.watch(prefix, start).unwrap()).collect();
    let mut end = start;
    // Once before they sleep, then asleep.
    for round in 0..3 {
        for key in ["/g/r/ns/a", "/x/y/z/a", "/g/r/ns/ab"] {
            end = put(&store, key, &round.to_string()).await.revision;
        }
        let mut seen = Vec::new();
        for watch in &mut watches {
            let mut lines = until(watch, end).await;
            lines.retain(|line| !line.contains("/x/"));
            seen.push(lines);
        }
        assert!(seen.iter().all(|lines| *lines == seen[0] && lines.len() == 2), "{seen:?}");
    }
}

pub async fn watch_replay_equals_the_difference_of_lists(store: Shared) {
    let keys: Vec<_> = (0..20).map(|at| format!("/g/r{}/{at}", at % 3)).collect();
    let start = store.revision();
    let writers = (0..8_usize).map(|writer| {
        let (store, keys) = (store.clone(), &keys);
        async move {
            for round in 0..40_usize {
                let key = &keys[(writer * 13 + round * 7) % keys.len()];
                // Losing against another writer is part of the game.
                let there = store.get(key).await.unwrap();
                let write = match there {
                    Some(there) if round % 4 == 0 => delete(key, there.revision),
                    Some(there) => update(key, "v", there.revision),
                    None => create(key, "v"),
                };
                drop(store.commit(write).await);
            }
        }
    });
    let mut watch = store.watch("/g/r1/", start).unwrap();
    let mut state = BTreeMap::new();
    let live = async {
        for _ in 0..10 {
            replay(&mut state, &event(&mut watch).await);
        }
    };
    tokio::join!(join_all(writers), live);
    let end = put(&store, "/g/r1/end", "v").await.revision;
    loop {
        let event = event(&mut watch).await;
        replay(&mut state, &event);
        let then = list(&store, "/g/r1/", At::Exactly(event.revision)).await.unwrap();
        let listed: BTreeMap<_, _> =
            then.entries.iter().map(|entry| (entry.key.to_string(), entry.revision)).collect();
        assert_eq!(state, listed, "at {}", event.revision);
        if event.revision == end {
            return;
        }
    }
}

pub async fn two_watches_from_one_revision_yield_the_same_events(store: Shared) {
    let start = store.revision();
    let mut early = store.watch("/g/r/", start).unwrap();
    let mut end = start;
    for at in 0..100 {
        end = put(&store, &format!("/g/r/{}", at % 7), "v").await.revision;
    }
    store.compact().await.unwrap();
    let mut late = store.watch("/g/r/", start).unwrap();
    let lines = until(&mut early, end).await;
    assert_eq!(lines.len(), 100);
    assert_eq!(until(&mut late, end).await, lines);
}

/// Lets everything so far grow old, and compacts.
async fn compact_all(store: &Shared) -> Revision {
    tokio::time::advance(LATER).await;
    store.compact().await.unwrap()
}

pub async fn a_watch_opened_at_the_compaction_revision_misses_nothing(store: Shared) {
    put(&store, "/g/r/a", "1").await;
    let floor = put(&store, "/g/r/b", "1").await.revision;
    tokio::time::advance(LATER).await;
    let gone = remove(&store, "/g/r/a").await;
    let compacted = store.compact().await.unwrap();
    let below = store.watch("/g/r/", Revision(floor.0 - 1)).err();
    assert_eq!(below, Some(WatchError::Compacted { since: Revision(floor.0 - 1), oldest: floor }));
    // The first event after the floor carries the version that it removed, which lies below.
    let mut watch = store.watch("/g/r/", floor).unwrap();
    let expected = format!("{} {} - /g/r/a", gone.revision, gone.entry.revision);
    assert_eq!(until(&mut watch, gone.revision).await, [expected]);
    let mut watch = store.watch("/g/r/", compacted).unwrap();
    let made = put(&store, "/g/r/a", "2").await.revision;
    assert_eq!(until(&mut watch, made).await, [format!("{made} + /g/r/a")]);
}

pub async fn a_delete_during_compaction_reaches_its_watch(store: Shared) {
    for at in 0..50 {
        put(&store, &format!("/g/r/{at}"), "1").await;
    }
    let start = store.revision();
    let mut watch = store.watch("/g/r/", start).unwrap();
    tokio::time::advance(LATER).await;
    let removals = (0..50).map(|at| {
        let store = store.clone();
        async move {
            if at % 10 == 5 {
                store.compact().await.unwrap();
            }
            remove(&store, &format!("/g/r/{at}")).await.revision
        }
    });
    let gone = join_all(removals).await;
    let end = *gone.iter().max().unwrap();
    assert_eq!(until(&mut watch, end).await.len(), 50);
    assert!(list(&store, "/g/r/", At::Latest).await.unwrap().entries.is_empty());
    compact_all(&store).await;
    assert!(list(&store, "/g/r/", At::Latest).await.unwrap().entries.is_empty());
}

pub async fn a_watch_that_falls_behind_the_floor_ends_compacted(store: Shared) {
    let start = put(&store, "/g/r/a", "0").await.revision;
    let mut slow = store.watch("/g/r/", start).unwrap();
    for at in 0..500 {
        put(&store, "/g/r/a", &at.to_string()).await;
    }
    compact_all(&store).await;
    let mut last = start;
    let error = loop {
        match slow.next().await.unwrap() {
            Ok(WatchItem::Event(event)) => {
                assert_eq!(event.revision.0, last.0 + 1, "no gap before the end");
                last = event.revision;
            }
            Ok(WatchItem::Progress(revision)) => panic!("progress {revision}"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, WatchError::Compacted { since, .. } if since <= Revision(last.0 + 500))
    );
    assert!(slow.next().await.is_none(), "an ended watch stays ended");
}

pub async fn a_watch_one_revision_behind_the_floor_ends_compacted(store: Shared) {
    let start = put(&store, "/g/r/a", "0").await.revision;
    let mut behind = store.watch("/g/r/", start).unwrap();
    let floor = put(&store, "/g/r/a", "1").await.revision;
    let mut level = store.watch("/g/r/", floor).unwrap();
    compact_all(&store).await;
    let error = behind.next().await.unwrap().unwrap_err();
    assert_eq!(error, WatchError::Compacted { since: start, oldest: floor });
    let made = put(&store, "/g/r/b", "1").await.revision;
    assert_eq!(until(&mut level, made).await.len(), 1);
}

pub async fn progress_follows_other_keys_at_most_once_a_second(store: Shared) {
    let mut watch = store.watch("/g/r/", store.revision()).unwrap();
    assert!(watch.next().now_or_never().is_none());
    let mut last = (tokio::time::Instant::now(), Revision(0));
    for round in 0..5_u32 {
        for at in 0..20 {
            put(&store, &format!("/other/r/{at}"), &round.to_string()).await;
        }
        let item = watch.next().await.unwrap().unwrap();
        let WatchItem::Progress(revision) = item else { panic!("{item:?}") };
        let now = tokio::time::Instant::now();
        assert!(revision > last.1 && revision <= store.revision());
        assert!(round == 0 || now - last.0 >= Duration::from_secs(1), "{:?}", now - last.0);
        last = (now, revision);
    }
    // It comes to the head without a further change.
    while last.1 < store.revision() {
        let item = watch.next().await.unwrap().unwrap();
        let WatchItem::Progress(revision) = item else { panic!("{item:?}") };
        last.1 = revision;
    }
    // A watch from the past catches up to it too.
    let mut past = store.watch("/g/r/", Revision::FIRST).unwrap();
    let item = past.next().await.unwrap().unwrap();
    assert!(matches!(item, WatchItem::Progress(revision) if revision == store.revision()));
}

pub async fn progress_never_runs_ahead_of_an_undelivered_event(store: Shared) {
    let start = store.revision();
    let mut watch = store.watch("/g/r/", start).unwrap();
    let writes = async {
        let mut own = 0;
        for round in 0..400_u32 {
            let key = if round % 3 == 0 { "/g/r/a" } else { "/other/r/a" };
            put(&store, key, "v").await;
            own += u32::from(round % 3 == 0);
            if round % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        }
        own
    };
    let reads = async {
        let (mut told, mut events, mut progress) = (start, 0, 0);
        while events < 134 {
            match watch.next().await.unwrap().unwrap() {
                WatchItem::Event(event) => {
                    assert!(event.revision > told, "event {} after {told}", event.revision);
                    told = event.revision;
                    events += 1;
                }
                WatchItem::Progress(revision) => {
                    assert!(revision > told);
                    told = revision;
                    progress += 1;
                }
            }
        }
        (events, progress)
    };
    let (own, (events, progress)) = tokio::join!(writes, reads);
    assert_eq!(own, events);
    assert!(progress > 0);
}

pub async fn an_idle_store_sends_no_progress(store: Shared) {
    let made = put(&store, "/g/r/a", "1").await.revision;
    let mut watch = store.watch("/g/r/", Revision(made.0 - 1)).unwrap();
    until(&mut watch, made).await;
    let item = tokio::time::timeout(Duration::from_secs(3600), watch.next()).await;
    assert!(item.is_err(), "{item:?}");
}

pub async fn compaction_takes_a_revision_and_keeps_the_last_five_minutes(store: Shared) {
    let old = put(&store, "/g/r/a", "1").await.revision;
    let newer = put(&store, "/g/r/a", "2").await.revision;
    tokio::time::advance(LATER).await;
    let young = put(&store, "/g/r/a", "3").await.revision;
    tokio::time::advance(Duration::from_secs(200)).await;
    let head = store.revision();
    let compacted = store.compact().await.unwrap();
    assert_eq!((head, compacted), (young, Revision(young.0 + 1)));
    assert_eq!(store.revision(), compacted);
    let refused = list(&store, "/g/r/", At::Exactly(old)).await.unwrap_err();
    assert!(
        matches!(refused, ReadError::Compacted { wanted, oldest } if wanted == old && oldest == newer)
    );
    for (revision, value) in [(newer, "2"), (young, "3"), (compacted, "3")] {
        let then = list(&store, "/g/r/", At::Exactly(revision)).await.unwrap();
        assert_eq!(show(&then.entries), [("/g/r/a".to_owned(), value.to_owned())]);
    }
    assert!(store.compact().await.unwrap() > compacted, "each takes one, needed or not");
}

pub async fn compaction_keeps_every_newest_version(store: Shared) {
    for round in 0..5 {
        for at in 0..300 {
            if round == 4 && at % 5 == 0 {
                remove(&store, &format!("/g/r/{at}")).await;
            } else {
                put(&store, &format!("/g/r/{at}"), &round.to_string()).await;
            }
        }
    }
    let before = list(&store, "", At::Latest).await.unwrap();
    let compacted = compact_all(&store).await;
    let after = list(&store, "", At::Latest).await.unwrap();
    assert_eq!(after.revision, compacted);
    assert_eq!(show(&after.entries), show(&before.entries));
    let kept = before.entries.iter().zip(&after.entries).all(|(one, two)| Arc::ptr_eq(one, two));
    assert!(kept);
}

pub async fn the_second_of_two_compactions_passes_what_stood_at_the_first(store: Shared) {
    let token = put(&store, "/g/r/a", "1").await.revision;
    let first = store.compact().await.unwrap();
    assert!(list(&store, "", At::Exactly(token)).await.is_ok());
    // A timer that ticks each five minutes is never exact.
    tokio::time::advance(Duration::from_millis(299_900)).await;
    store.compact().await.unwrap();
    let refused = list(&store, "", At::Exactly(token)).await.unwrap_err();
    assert!(matches!(refused, ReadError::Compacted { .. }), "{refused}");
    assert!(list(&store, "", At::Exactly(first)).await.is_ok());
}

pub async fn a_watch_ends_when_the_store_closes(store: Shared) {
    let start = store.revision();
    let made = put(&store, "/g/r/a", "1").await.revision;
    let mut watch = store.watch("/g/r/", start).unwrap();
    let mut idle = store.watch("/h/", made).unwrap();
    assert!(idle.next().now_or_never().is_none());
    drop(store);
    until(&mut watch, made).await;
    assert_eq!(watch.next().await.unwrap().unwrap_err(), WatchError::Closed);
    assert!(watch.next().await.is_none());
    assert_eq!(idle.next().await.unwrap().unwrap_err(), WatchError::Closed);
}
