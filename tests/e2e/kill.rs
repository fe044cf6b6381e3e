//! The hub is killed under writes, again and again: what it acknowledged stays, each change is watched once, and the
//! members come to what the hub says.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use federation_tests::{
    Hub, Member, MemberOptions, Random, hash,
    process::{Process, Program},
    wait,
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
};
use parking_lot::Mutex;
use serde_json::Value;

const NAMESPACE: &str = "kill";
const WRITERS: u64 = 3;
/// Until the members hold what the hub does, after the last restart.
const CONVERGED: Duration = Duration::from_secs(120);

const POLICY: &str = r#"
apiVersion: archipel.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: placed, namespace: kill}
spec: {selectors: [{apiVersion: v1, kind: ConfigMap, labelSelector: {matchLabels: {placed: "true"}}}]}
"#;

/// What one watch saw, over all of its connections.
#[derive(Debug, Default)]
struct Seen {
    /// By revision: key, and the content's hash (none for a removal).
    events: BTreeMap<u64, (String, Option<u64>)>,
    problems: Vec<String>,
    connections: usize,
    /// Up to where everything was delivered.
    last: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_writes_nothing_acknowledged_is_lost_and_all_converges() {
    let kills = if std::env::var_os("ARCHIPEL_FULL").is_some() { 20 } else { 5 };
    let seed =
        std::env::var("ARCHIPEL_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            now.subsec_nanos().into()
        });
    println!("kill: {kills} times, ARCHIPEL_SEED={seed}");
    let mut random = Random::new(seed);
    let (hub, one, two) = tokio::join!(
        Hub::start(),
        Member::start(MemberOptions::bare("one")),
        Member::start(MemberOptions::bare("two")),
    );
    let (mut hub, members) = (hub.unwrap(), [one.unwrap(), two.unwrap()]);
    for member in &members {
        hub.join(member, "onprem", "here", &[]).await;
    }
    hub.kubectl().ok(["create", "namespace", NAMESPACE]).await;
    hub.kubectl().apply(POLICY).await;

    let client = hub.client().await;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let start = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let seen = Arc::new(Mutex::new(Seen { last: start.parse().unwrap(), ..Seen::default() }));
    let watching = tokio::spawn(watch(api.clone(), Arc::clone(&seen)));

    let stop = hub.dir().join("stop");
    // The writers' own copy: a restart replaces the hub's.
    let kubeconfig = hub.dir().join("writers.kubeconfig");
    std::fs::copy(hub.kubeconfig(), &kubeconfig).unwrap();
    let mut writers: Vec<(Process, PathBuf)> =
        (0..WRITERS).map(|n| writer(&kubeconfig, n, random.bits(), hub.dir(), &stop)).collect();

    for n in 0..kills {
        let before = acknowledged(&writers);
        wait::until("writes between kills", CONVERGED, async || {
            let now = acknowledged(&writers);
            if now >= before + 20 { Ok(()) } else { Err(format!("{before} → {now}")) }
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random.below(1200))).await;
        hub.kill().unwrap();
        let known = acknowledged(&writers);
        println!("kill {}: {known} writes acknowledged", n + 1);
        hub.restart().await.unwrap();
    }
    let before = acknowledged(&writers);
    wait::until("writes after the last kill", CONVERGED, async || {
        let now = acknowledged(&writers);
        if now >= before + 20 { Ok(()) } else { Err(format!("{before} → {now}")) }
    })
    .await;
    std::fs::write(&stop, "").unwrap();
    for (writer, _) in &mut writers {
        wait::until("the writer ends", CONVERGED, async || match writer.ended().unwrap() {
            Some(status) if status.success() => Ok(()),
            other => Err(format!("{other:?}: {}", writer.log_tail())),
        })
        .await;
    }

    let ledger: Vec<Value> = writers.iter().flat_map(|(_, path)| lines(path)).collect();
    converged(&api, &members).await;
    // The last change is one that nothing else follows: the watch has seen all once it has seen that.
    let fence = api.list(&ListParams::default()).await.unwrap();
    let newest = fence
        .items
        .iter()
        .filter_map(|it| it.resource_version()?.parse::<u64>().ok())
        .max()
        .unwrap();
    wait::until("the watch is there", CONVERGED, async || {
        let last = seen.lock().last;
        if last >= newest { Ok(()) } else { Err(format!("{last} of {newest}")) }
    })
    .await;
    watching.abort();
    let seen = std::mem::take(&mut *seen.lock());
    assert_eq!(seen.problems, Vec::<String>::new());
    println!("kill: {} events over {} connections", seen.events.len(), seen.connections);
    check_revisions(&ledger, &seen);
    check_state(&ledger, &fence.items);
    let acknowledged = ledger.iter().filter(|it| it["what"] == "ack").count();
    println!("kill: {kills} kills, {acknowledged} acknowledged writes, none lost");
}

fn writer(kubeconfig: &Path, n: u64, seed: u64, dir: &Path, stop: &Path) -> (Process, PathBuf) {
    let ledger = dir.join(format!("ledger-{n}"));
    let program = Program::executable(&format!("writer-{n}"), env!("CARGO_BIN_EXE_writer"))
        .arg(kubeconfig)
        .args([NAMESPACE, &format!("w{n}"), &seed.to_string()])
        .arg(&ledger)
        .arg(stop);
    let binaries = federation_tests::Binaries::find().unwrap();
    (Process::start(&binaries, &program, dir).unwrap(), ledger)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may be under way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

fn acknowledged(writers: &[(Process, PathBuf)]) -> usize {
    writers.iter().flat_map(|(_, path)| lines(path)).filter(|it| it["what"] == "ack").count()
}

/// One watch that goes on where it was cut off, as informers do.
async fn watch(api: Api<ConfigMap>, seen: Arc<Mutex<Seen>>) {
    loop {
        let from = {
            let mut seen = seen.lock();
            seen.connections += 1;
            seen.last.to_string()
        };
        if let Ok(stream) = api.watch(&WatchParams::default().timeout(290), &from).await {
            let mut stream = std::pin::pin!(stream);
            while let Some(Ok(event)) = stream.next().await {
                note(&mut seen.lock(), event);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn note(seen: &mut Seen, event: WatchEvent<ConfigMap>) {
    let (object, gone) = match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
        WatchEvent::Deleted(object) => (object, true),
        WatchEvent::Bookmark(bookmark) => {
            seen.last = bookmark.metadata.resource_version.parse().unwrap_or(seen.last);
            return;
        }
        WatchEvent::Error(status) => {
            seen.problems.push(format!("the watch from {} was told {status:?}", seen.last));
            return;
        }
    };
    let revision: u64 = object.resource_version().unwrap_or_default().parse().unwrap_or(0);
    if revision <= seen.last && seen.last != 0 && !seen.events.is_empty() {
        seen.problems.push(format!("{revision} came after {}", seen.last));
    }
    let content = (!gone).then(|| content(&object));
    if let Some(before) = seen.events.insert(revision, (object.name_any(), content)) {
        seen.problems.push(format!("{revision} came twice: {before:?}"));
    }
    seen.last = revision;
}

fn content(object: &ConfigMap) -> u64 {
    hash(object.data.as_ref().and_then(|it| it.get("value")).map_or(b"", |it| it.as_bytes()))
}

fn revision(line: &Value) -> Option<u64> {
    line["rv"].as_str()?.parse().ok()
}

/// Every acknowledged write is an event of its own, at its revision and with its content.
fn check_revisions(ledger: &[Value], seen: &Seen) {
    let mut by_revision: BTreeMap<u64, &Value> = BTreeMap::new();
    for line in ledger.iter().filter(|it| it["what"] == "ack") {
        let Some(revision) = revision(line) else { continue };
        if let Some(other) = by_revision.insert(revision, line) {
            panic!("revision {revision} belongs to two writes: {other} and {line}");
        }
        let expected = (line["key"].as_str().unwrap().to_owned(), line["hash"].as_u64());
        assert_eq!(seen.events.get(&revision), Some(&expected), "{line}");
    }
    assert!(by_revision.len() > 100, "only {} writes", by_revision.len());
}

/// Every key stands where its last acknowledged write left it, or where a later, unanswered request of its writer did.
fn check_state(ledger: &[Value], objects: &[ConfigMap]) {
    let now: BTreeMap<String, (u64, u64)> = objects
        .iter()
        .map(|it| {
            (
                it.name_any(),
                (it.resource_version().unwrap_or_default().parse().unwrap_or(0), content(it)),
            )
        })
        .collect();
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    for line in ledger.iter().filter(|it| it["what"] != "try") {
        last.insert(line["key"].as_str().unwrap(), line);
    }
    for (key, line) in last {
        let absent = line["what"] == "gone" || line["op"] == "delete";
        match now.get(key) {
            None => assert!(absent, "{line} is lost"),
            Some((revision, content)) => {
                assert!(!absent, "{line}, and yet it is there at {revision}");
                assert!(Some(*revision) >= self::revision(line), "{line} is at {revision}");
                assert_eq!(Some(*content), line["hash"].as_u64(), "{line}");
            }
        }
    }
}

/// Waits until each member holds exactly the hub's placed objects, with their content.
async fn converged(api: &Api<ConfigMap>, members: &[Member]) {
    let placed = ListParams::default().labels("placed=true");
    for member in members {
        let client: Client = member.client().await.unwrap();
        let there: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        wait::until(&format!("{} holds what the hub does", member.name()), CONVERGED, async || {
            let show = |list: Vec<ConfigMap>| -> BTreeMap<String, u64> {
                list.iter().map(|it| (it.name_any(), content(it))).collect()
            };
            let wanted = show(api.list(&placed).await.map_err(|error| error.to_string())?.items);
            let found = show(there.list(&placed).await.map_err(|error| error.to_string())?.items);
            let wrong: Vec<&String> = wanted
                .iter()
                .filter(|(key, value)| found.get(*key) != Some(value))
                .map(|it| it.0)
                .collect();
            let more: Vec<&String> =
                found.keys().filter(|key| !wanted.contains_key(*key)).collect();
            if wrong.is_empty() && more.is_empty() && !wanted.is_empty() {
                Ok(())
            } else {
                Err(format!(
                    "{} of {} differ: {wrong:?}, too much: {more:?}",
                    wrong.len(),
                    wanted.len()
                ))
            }
        })
        .await;
    }
}
