//! Watches of the hub: each feeds the index, and what becomes due goes to the members' queues.

use std::{collections::HashSet, sync::Arc};

use federation_types::{
    budget::ChangeBudgetSpec,
    cluster::{ClusterSetSpec, MemberClusterSpec, MemberClusterStatus},
    condition,
    field_path::FieldPath,
    names::{API_VERSION, Gvk, ObjectKey},
    placement::TemplateRef,
    reason::{self, condition::READY},
    revision::NamedRule,
    selector::ClusterFacts,
    status_rule::StatusRuleSpec,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::{
    context::Shared,
    follow::{self, Seen, Source},
    index::{
        ClusterEntry, Due, Meta, NamespaceEntry, PlacementEntry, RevisionEntry, WatchedPlacement,
    },
    member, pause,
};

/// Kinds of the hub that must be known before any member is touched.
const WATCHES: usize = 9;

const NOT_LISTED: &str = "the cluster is not in the inventory";

#[derive(Deserialize)]
struct Object<S> {
    metadata: Meta,
    spec: S,
}

#[derive(Deserialize)]
struct OnlyMeta {
    metadata: Meta,
}

#[derive(Deserialize)]
struct WatchedCluster {
    metadata: Meta,
    spec: MemberClusterSpec,
    #[serde(default)]
    status: MemberClusterStatus,
}

#[derive(Deserialize)]
struct RevisionText {
    template: TemplateRef,
    hash: String,
    content: Box<RawValue>,
    #[serde(default)]
    overrides: Vec<NamedRule>,
    #[serde(default, rename = "replicasPath")]
    replicas_path: Option<FieldPath>,
}

/// Feeds the index, for ever. Members are started once everything is known.
pub(crate) async fn watch_hub(shared: &Arc<Shared>) {
    let (known, mut all_known) = watch::channel(0_usize);
    let start = async {
        // A sender lives as long as its watch, and the watches as long as this.
        let _ = all_known.wait_for(|it| *it == WATCHES).await;
        tracing::info!("the hub is known");
        let entries: Vec<_> =
            shared.index.read().placements().map(|it| Arc::clone(&it.key)).collect();
        for key in entries {
            shared.board.touch(&key);
        }
        let strangers = shared.index.read().strangers();
        for cluster in strangers {
            shared.darken(&cluster, NOT_LISTED);
        }
        member::align(shared);
    };
    let started = || *known.borrow() == WATCHES;
    tokio::join!(
        start,
        each(shared, "placements", &known, placement),
        each(shared, "clusterplacements", &known, placement),
        each(shared, "revisions", &known, revision),
        each(shared, "clusterrevisions", &known, revision),
        each(shared, "memberclusters", &known, |shared, change| cluster(shared, change, started())),
        each(shared, "clustersets", &known, set),
        each(shared, "changebudgets", &known, budget),
        each(shared, "statusrules", &known, rule),
        each(shared, "/api/v1/namespaces", &known, namespace),
    );
}

#[derive(Clone, Copy)]
enum Change<'a> {
    Is(&'a str),
    Gone { namespace: &'a str, name: &'a str },
}

/// Follows one kind of the hub and hands each change on; what a new list lacks is gone.
async fn each(
    shared: &Arc<Shared>,
    plural: &str,
    known: &watch::Sender<usize>,
    apply: impl Fn(&Arc<Shared>, Change<'_>) -> Result<(), serde_json::Error>,
) {
    let path = if plural.starts_with('/') {
        plural.to_owned()
    } else {
        format!("/apis/{API_VERSION}/{plural}")
    };
    let source = Source { path, label_selector: None };
    let mut names: HashSet<(String, String)> = HashSet::new();
    let mut unseen: HashSet<(String, String)> = HashSet::new();
    let mut complete = false;
    follow::follow(&shared.hub, &source, |seen| {
        let result = match seen {
            Seen::Restart => {
                unseen = names.clone();
                Ok(())
            }
            Seen::Object(text) => serde_json::from_str(text).and_then(|it: OnlyMeta| {
                let id = (it.metadata.namespace, it.metadata.name);
                unseen.remove(&id);
                names.insert(id);
                apply(shared, Change::Is(text))
            }),
            Seen::Deleted(text) => serde_json::from_str(text).and_then(|it: OnlyMeta| {
                let Meta { namespace, name, .. } = it.metadata;
                names.remove(&(namespace.clone(), name.clone()));
                apply(shared, Change::Gone { namespace: &namespace, name: &name })
            }),
            Seen::Synced => {
                let gone = unseen.drain().try_for_each(|(namespace, name)| {
                    names.remove(&(namespace.clone(), name.clone()));
                    apply(shared, Change::Gone { namespace: &namespace, name: &name })
                });
                if !std::mem::replace(&mut complete, true) {
                    known.send_modify(|it| *it += 1);
                }
                gone
            }
            Seen::Broken(error) => {
                tracing::debug!(plural, %error, "the hub was not followed");
                Ok(())
            }
        };
        if let Err(error) = result {
            tracing::warn!(plural, %error, "an object of the hub was not understood");
        }
    })
    .await;
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

fn push(shared: &Shared, due: Due) {
    let members = shared.members.lock();
    for (cluster, key) in due {
        if let Some(member) = members.get(&cluster) {
            member.queue.push(key);
        }
    }
}

fn placement(shared: &Arc<Shared>, change: Change<'_>) -> Result<(), serde_json::Error> {
    match change {
        Change::Is(text) => {
            let watched: WatchedPlacement = read(text)?;
            let key = Arc::new(watched.key());
            if let Some(status) = &watched.status {
                shared.board.seed(&key, status);
            }
            let entry = PlacementEntry {
                key: Arc::clone(&key),
                name: watched.metadata.name,
                uid: watched.metadata.uid,
                generation: watched.metadata.generation,
                spec: watched.spec,
            };
            let known = shared.index.read().placement(&key);
            let changed =
                known.is_none_or(|it| it.generation != entry.generation || it.spec != entry.spec);
            let due = shared.index.write().put_placement(entry);
            push(shared, due);
            if changed {
                shared.board.touch(&key);
            }
        }
        Change::Gone { namespace, name } => {
            let key = shared.index.read().placement_key(namespace, name);
            if let Some(key) = key {
                let due = shared.index.write().drop_placement(&key);
                push(shared, due);
                shared.board.drop_template(&key);
            }
        }
    }
    Ok(())
}

fn revision(shared: &Arc<Shared>, change: Change<'_>) -> Result<(), serde_json::Error> {
    match change {
        Change::Is(text) => {
            let Object { metadata, spec }: Object<RevisionText> = read(text)?;
            let template = ObjectKey {
                gvk: Gvk::new(&spec.template.api_version, &spec.template.kind),
                namespace: metadata.namespace.as_str().into(),
                name: spec.template.name.as_str().into(),
            };
            let entry = RevisionEntry {
                hash: spec.hash,
                generation: spec.template.generation,
                content: spec.content,
                rules: spec.overrides,
                replicas_path: spec.replicas_path,
            };
            let due = shared.index.write().put_revision(
                &metadata.namespace,
                &metadata.name,
                &template,
                entry,
            );
            push(shared, due);
        }
        Change::Gone { namespace, name } => shared.index.write().drop_revision(namespace, name),
    }
    Ok(())
}

fn cluster(
    shared: &Arc<Shared>,
    change: Change<'_>,
    started: bool,
) -> Result<(), serde_json::Error> {
    match change {
        Change::Is(text) => {
            let watched: WatchedCluster = read(text)?;
            let spec = watched.spec;
            let conditions = &watched.status.conditions;
            let trouble = condition::find(conditions, READY).filter(|it| it.status != "True");
            let trouble = trouble.map(|it| it.reason.clone()).unwrap_or_default();
            let name = watched.metadata.name;
            let resume = pause::asked(&watched.metadata.annotations);
            let entry = ClusterEntry {
                facts: ClusterFacts {
                    name: name.clone(),
                    provider: spec.provider,
                    region: spec.region,
                    zones: spec.zones,
                    jurisdiction: spec.jurisdiction,
                    labels: watched.metadata.labels,
                    ..ClusterFacts::default()
                },
                uid: watched.metadata.uid,
                secret: spec.connection.kubeconfig.map(|it| it.secret_ref),
                taints: spec.taints,
                apis: watched.status.apis.into(),
                trouble: trouble.clone(),
                resume,
            };
            let before = shared.index.read().clusters.get(&name).cloned();
            if before.as_ref().is_some_and(|it| it.uid != entry.uid) {
                shared.pauses.forget(&name);
            }
            let old_trouble = before.as_ref().map_or_else(String::new, |it| it.trouble.clone());
            if shared.index.write().put_cluster(entry) {
                let after = shared.index.read().clusters.get(&name).cloned();
                let facts_changed =
                    before.as_ref().map(|it| &it.facts) != after.as_ref().map(|it| &it.facts);
                if facts_changed {
                    redo(shared, &name);
                } else if let (Some(before), Some(after)) = (before, after) {
                    redo_served(shared, &name, &before.apis, &after.apis);
                }
            }
            pause::learn(shared, &name, conditions, resume);
            doubt(shared, &name, &trouble, trouble != old_trouble);
        }
        Change::Gone { name, .. } => {
            shared.index.write().clusters.remove(name);
            shared.pauses.forget(name);
            shared.darken(name, NOT_LISTED);
        }
    }
    if started {
        member::align(shared);
    }
    Ok(())
}

/// The hub says that a member is in trouble: a watch that lives on, with credentials that were good when it began, is no
/// proof of the contrary. Where the credentials are in doubt the connection is made anew, which they pass or do not;
/// else the member is asked.
fn doubt(shared: &Shared, cluster: &str, trouble: &str, new: bool) {
    use reason::cluster::{CREDENTIALS_INVALID, CREDENTIALS_MISSING, UNAUTHORIZED};
    if trouble.is_empty() {
        return;
    }
    let session = shared.members.lock().get(cluster).and_then(|it| it.session());
    let Some(session) = session else { return };
    if ![CREDENTIALS_INVALID, CREDENTIALS_MISSING, UNAUTHORIZED].contains(&trouble) {
        session.suspect();
    } else if new {
        session.end();
    }
}

/// Makes every pass of a cluster due.
pub(crate) fn redo(shared: &Shared, cluster: &str) {
    let keys = shared.index.read().of_cluster(cluster);
    push(shared, keys.into_iter().map(|key| (cluster.to_owned(), key)).collect());
}

/// Makes the passes of kinds due that the cluster serves now and did not before: theirs may be waiting for long.
fn redo_served(shared: &Shared, cluster: &str, before: &[String], after: &[String]) {
    let new: HashSet<&str> =
        after.iter().filter(|it| !before.contains(it)).map(String::as_str).collect();
    if new.is_empty() {
        return;
    }
    let keys = shared.index.read().of_cluster(cluster);
    let served = keys.into_iter().filter(|key| {
        let api = format!("{}/{}", key.gvk.api_version(), key.gvk.kind);
        new.contains(api.as_str())
    });
    push(shared, served.map(|key| (cluster.to_owned(), key)).collect());
}

fn set(shared: &Arc<Shared>, change: Change<'_>) -> Result<(), serde_json::Error> {
    let changed = match change {
        Change::Is(text) => {
            let Object { metadata, spec }: Object<ClusterSetSpec> = read(text)?;
            shared.index.write().put_set(&metadata.name, Some(spec))
        }
        Change::Gone { name, .. } => shared.index.write().put_set(name, None),
    };
    for cluster in changed {
        redo(shared, &cluster);
    }
    Ok(())
}

/// Copies of the rule's kind are read anew, and the statuses of their templates with them.
fn rule(shared: &Arc<Shared>, change: Change<'_>) -> Result<(), serde_json::Error> {
    let kinds = match change {
        Change::Is(text) => {
            let Object { metadata, spec }: Object<StatusRuleSpec> = read(text)?;
            shared.index.write().put_rule(&metadata.name, Some(spec))
        }
        Change::Gone { name, .. } => shared.index.write().put_rule(name, None),
    };
    for kind in kinds {
        for (_, session) in shared.sessions() {
            session.read_again(&kind);
        }
        let keys = shared.index.read().of_kind(&kind);
        for key in keys {
            shared.board.touch(&key);
        }
    }
    Ok(())
}

fn budget(shared: &Arc<Shared>, change: Change<'_>) -> Result<(), serde_json::Error> {
    let changed = match change {
        Change::Is(text) => {
            let Object { metadata, spec }: Object<ChangeBudgetSpec> = read(text)?;
            shared.index.write().put_freeze(&metadata.name, Some(spec.freeze))
        }
        Change::Gone { name, .. } => shared.index.write().put_freeze(name, None),
    };
    if changed {
        let clusters: Vec<String> = shared.index.read().clusters.keys().cloned().collect();
        for cluster in clusters {
            redo(shared, &cluster);
        }
    }
    Ok(())
}

fn namespace(shared: &Arc<Shared>, change: Change<'_>) -> Result<(), serde_json::Error> {
    let due = match change {
        Change::Is(text) => {
            let OnlyMeta { metadata } = read(text)?;
            let entry = NamespaceEntry {
                uid: metadata.uid,
                labels: metadata.labels,
                annotations: metadata.annotations,
            };
            shared.index.write().put_namespace(&metadata.name, Some(entry))
        }
        Change::Gone { name, .. } => shared.index.write().put_namespace(name, None),
    };
    push(shared, due);
    Ok(())
}
