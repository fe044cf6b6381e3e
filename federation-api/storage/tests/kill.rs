//! A process that is killed loses nothing that it acknowledged: the test runs itself as a child that writes and prints
//! each acknowledged write, kills it at a random moment, and looks.
#![expect(clippy::unwrap_used, reason = "this is a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write as _},
    ops::Bound,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use federation_storage::{
    At, Change, Encryption, Entry, RedbStore, Revision, Store, WatchItem, Write,
};
use futures::StreamExt;
use tokio::runtime::Builder;

/// Set in the child: its directory.
const CHILD: &str = "FEDERATION_STORAGE_KILL_DIR";
const KILLS: u64 = 5;
const WRITERS: u64 = 8;

fn open(dir: &Path) -> RedbStore {
    let encryption =
        Encryption::Prefixes { prefixes: vec!["/core/secrets/".into()], key_file: None };
    RedbStore::open(dir, &encryption).unwrap()
}

/// The child: writes and compacts until it is killed, one line per acknowledged write.
async fn write_for_ever(dir: &Path, step: Duration) {
    let store: Arc<dyn Store> = Arc::new(open(dir));
    say("open");
    let compactor = {
        let store = store.clone();
        async move {
            loop {
                let revision = store.compact().await.unwrap();
                say(&format!("compact - {revision}"));
                if !step.is_zero() {
                    tokio::time::advance(step).await;
                }
            }
        }
    };
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0_u64.. {
                let kind = if round % 2 == 0 { "secrets" } else { "configmaps" };
                let key: Arc<str> = format!("/core/{kind}/{writer}/{}", round % 50).into();
                let value = format!("{key} {round} {}", "x".repeat((round * 37 % 5000) as usize));
                let there = store.get(&key).await.unwrap();
                let write = match there {
                    None => Write::Create { key: key.clone(), value: value.into() },
                    Some(there) if mortal(&key) && round % 7 == 0 => {
                        Write::Delete { key: key.clone(), expected: there.revision }
                    }
                    Some(there) => Write::Update {
                        key: key.clone(),
                        value: value.into(),
                        expected: there.revision,
                    },
                };
                let verb = if matches!(write, Write::Delete { .. }) { "delete" } else { "put" };
                let made = store.commit(write).await.unwrap();
                say(&format!("{verb} {key} {}", made.revision));
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    compactor.await;
    drop(writers);
}

/// Whether a key is ever deleted.
fn mortal(key: &str) -> bool {
    key.len().is_multiple_of(2)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@ {line}").unwrap();
    out.flush().unwrap();
}

/// Starts the child and kills it after `lines` acknowledged writes and some turns; yields what it acknowledged.
fn run_and_kill(test: &str, dir: &Path, lines: u64, turns: u64) -> Vec<(String, String, Revision)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    let mut killed = false;
    while out.read_line(&mut line).unwrap() > 0 {
        // A line that the kill cut short was not acknowledged.
        if let Some(text) = line.strip_suffix('\n').and_then(|line| line.split_once("@ ")) {
            let words: Vec<_> = text.1.split(' ').collect();
            if let [verb, key, revision] = words[..] {
                let revision = Revision(revision.parse().unwrap());
                acknowledged.push((verb.to_owned(), key.to_owned(), revision));
            }
        }
        line.clear();
        if acknowledged.len() as u64 >= lines && !killed {
            // Not only between two lines.
            (0..turns).for_each(|_| std::thread::yield_now());
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself");
    acknowledged
}

async fn check(dir: &Path, acknowledged: &[(String, String, Revision)]) -> Revision {
    let store = open(dir);
    let listing = store.list("", Bound::Unbounded, 0, At::Latest).await.unwrap();
    let newest: BTreeMap<&str, &Arc<Entry>> =
        listing.entries.iter().map(|entry| (&*entry.key, entry)).collect();

    // The log since the beginning: nothing is five minutes old.
    let mut watch = store.watch("", Revision::FIRST).unwrap();
    let mut changes = BTreeMap::new();
    let mut replayed: BTreeMap<String, Revision> = BTreeMap::new();
    loop {
        match watch.next().await.unwrap().unwrap() {
            WatchItem::Event(event) => {
                let key = event.change.key().to_string();
                let verb = match &event.change {
                    Change::Deleted(_) => {
                        assert!(replayed.remove(&key).is_some());
                        "delete"
                    }
                    Change::Created(entry) | Change::Updated { after: entry, .. } => {
                        assert!(entry.value.starts_with(key.as_bytes()));
                        replayed.insert(key.clone(), event.revision);
                        "put"
                    }
                };
                let twice = changes.insert(event.revision, (verb, key));
                assert!(twice.is_none(), "{} twice", event.revision);
            }
            WatchItem::Progress(_) => break,
        }
        if changes.last_key_value().is_some_and(|(last, _)| *last == listing.revision) {
            break;
        }
    }
    let revisions: BTreeMap<String, Revision> =
        newest.iter().map(|(key, entry)| ((*key).to_owned(), entry.revision)).collect();
    assert_eq!(replayed, revisions, "the log leads to the newest state");
    for (verb, key, revision) in acknowledged {
        assert!(*revision <= listing.revision);
        match changes.get(revision) {
            Some((there, at)) => assert_eq!((*there, at), (verb.as_str(), key), "{revision}"),
            None => assert_eq!(verb, "compact", "{revision} {key} is lost"),
        }
    }
    listing.revision
}

/// As [`check`], where the log does not reach back: no key that lives for ever is missing or old, and no deleted one is
/// back.
async fn check_newest(dir: &Path, acknowledged: &[(String, String, Revision)]) -> Revision {
    let store = open(dir);
    let mut newest: BTreeMap<&str, (&str, Revision)> = BTreeMap::new();
    for (verb, key, revision) in acknowledged.iter().filter(|(verb, ..)| verb != "compact") {
        let there = newest.entry(key).or_insert((verb, *revision));
        *there = if there.1 > *revision { *there } else { (verb, *revision) };
    }
    for (key, (verb, revision)) in newest {
        match store.get(key).await.unwrap() {
            None => assert!(mortal(key), "{key} of {revision} is lost"),
            Some(there) if verb == "delete" => {
                assert!(there.created > revision, "{key}, deleted at {revision}, is back");
            }
            Some(there) => assert!(there.revision >= revision, "{key} is older than {revision}"),
        }
    }
    store.revision()
}

/// Kills a child again and again, and calls for a check after each time.
fn kill_and_check(
    test: &str,
    check: impl Fn(&Path, &[(String, String, Revision)]) -> Revision,
) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    let mut head = Revision::FIRST;
    for round in 0..KILLS {
        // The low bits of the clock are as random as this needs.
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let random = u64::from(clock.subsec_nanos() / 7);
        // The first one is killed in its first steps.
        let lines = if round == 0 { 1 } else { 50 + random % 700 };
        let acknowledged = run_and_kill(test, dir.path(), lines, random % 300);
        let lowest = acknowledged.iter().map(|(.., revision)| *revision).min().unwrap();
        assert!(lowest > head, "{lowest} was given out before the restart at {head}");
        all.extend(acknowledged);
        head = check(dir.path(), &all);
    }
    let distinct: BTreeSet<_> = all.iter().map(|(.., revision)| *revision).collect();
    assert_eq!(distinct.len(), all.len(), "a revision belongs to two writes");
    dir
}

#[test]
fn what_is_acknowledged_survives_being_killed() {
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    match std::env::var_os(CHILD) {
        Some(dir) => runtime.block_on(write_for_ever(Path::new(&dir), Duration::ZERO)),
        None => {
            let name = "what_is_acknowledged_survives_being_killed";
            kill_and_check(name, |dir, all| runtime.block_on(check(dir, all)));
        }
    }
}

#[test]
fn a_kill_during_compaction_loses_nothing_and_revives_nothing() {
    // The child's clock runs so fast that every compaction finds something to remove.
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    match std::env::var_os(CHILD) {
        Some(dir) => runtime.block_on(write_for_ever(Path::new(&dir), Duration::from_secs(100))),
        None => {
            let name = "a_kill_during_compaction_loses_nothing_and_revives_nothing";
            let dir = kill_and_check(name, |dir, all| runtime.block_on(check_newest(dir, all)));
            let store = open(dir.path());
            assert!(store.watch("", Revision::FIRST).is_err(), "nothing was compacted");
        }
    }
}
