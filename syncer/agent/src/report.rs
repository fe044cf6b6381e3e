//! Writes statuses: of Placements, of templates and of members; only what changed, and not at every change.

use std::{collections::HashMap, sync::Arc, time::Duration};

use federation_types::{names::API_VERSION, placement::PlacementStatus};
use http::{Request, header::CONTENT_TYPE};
use kube::Client;
use serde_json::{Value, json};
use syncer_render::roll_up;
use tokio::time::Instant;

use crate::{context::Shared, index::PlacementEntry, queue::Key};

/// Statuses written at a time.
const WRITERS: usize = 8;
/// How often is looked whether copies came or went.
const LOOK: Duration = Duration::from_secs(1);
/// While they do, the members' counts, which are shown in lists only, are written no more often.
const COUNT: Duration = Duration::from_secs(10);
/// Once they no longer do, the last count is written as soon as this.
const RECOUNT: Duration = Duration::from_secs(3);

/// Writes the statuses of Placements and templates, for ever.
pub(crate) async fn write_statuses(shared: &Shared) {
    let writer = || async {
        loop {
            let key = shared.board.dirty.next().await;
            if shared.is_busy() && shared.board.put_off(&key) {
                shared.board.dirty.done(&key);
                continue;
            }
            if let Err(error) = write_status(shared, &key).await {
                tracing::debug!(%key, %error, "a status was not written");
                shared.board.retry(&key);
            }
            shared.board.dirty.done(&key);
        }
    };
    futures::future::join_all((0..WRITERS).map(|_| writer())).await;
}

async fn write_status(shared: &Shared, key: &Key) -> Result<(), kube::Error> {
    let Some(placement) = shared.index.read().placement(key) else {
        shared.board.drop_template(key);
        return Ok(());
    };
    let snapshot = shared.board.snapshot(key);
    let now = shared.now_text();
    let status = roll_up::placement_status(
        &placement.spec,
        placement.generation,
        &snapshot.reports,
        &snapshot.written,
        &now,
    );
    if status != snapshot.written {
        let path = placement_path(&placement);
        patch(&shared.hub, &format!("{path}/status"), &placement_patch(&status)).await?;
        shared.metrics.wrote_status();
        shared.board.wrote(key, status);
    }
    let is_known = |name: &String| !snapshot.seeded.contains(name);
    let spec = &placement.spec;
    if (spec.clusters.is_empty() && spec.outcome.status != "False")
        || !spec.clusters.iter().all(|it| is_known(&it.name))
    {
        return Ok(());
    }
    write_template(shared, key, &placement, snapshot, &now).await
}

async fn write_template(
    shared: &Shared,
    key: &Key,
    placement: &PlacementEntry,
    snapshot: crate::board::Snapshot,
    now: &str,
) -> Result<(), kube::Error> {
    let rules = Arc::clone(&shared.index.read().rules);
    let keep = rules.find(&key.gvk).map(|it| &it.keep[..]).unwrap_or_default();
    // What a rule kept that is no longer there is taken away.
    let kept =
        || snapshot.template.as_ref().and_then(Value::as_object).is_some_and(|it| !it.is_empty());
    if !roll_up::has_status(&key.gvk, keep) && !kept() {
        return Ok(());
    }
    let Some(resource) = shared.hub_kinds.find(&shared.hub, &key.gvk).await? else { return Ok(()) };
    if !resource.has_status {
        return Ok(());
    }
    let path = resource.object(key);
    let previous = match snapshot.template {
        Some(previous) => previous,
        // An earlier process wrote it: its times are kept.
        None if snapshot.known_before => match get(&shared.hub, &path).await? {
            Some(template) => template.get("status").cloned().unwrap_or_default(),
            None => return Ok(()),
        },
        None => Value::Null,
    };
    let status = roll_up::template_status(
        &key.gvk,
        &placement.spec,
        &snapshot.reports,
        &previous,
        keep,
        now,
    );
    let status = match status {
        Some(status) => status,
        None if !roll_up::has_status(&key.gvk, keep) => json!({}),
        None => return Ok(()),
    };
    if status == previous {
        shared.board.wrote_template(key, status);
        return Ok(());
    }
    let changes = roll_up::status_patch(&previous, &status);
    let body = json!({"metadata": {"uid": placement.spec.template.uid}, "status": changes});
    match patch(&shared.hub, &format!("{path}/status"), &body).await {
        Ok(()) => {
            shared.metrics.wrote_status();
            shared.board.wrote_template(key, status);
            Ok(())
        }
        // The template is gone, or another one has its name: the Placement will follow.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
            tracing::debug!(%key, message = %status.message, "the template's status was not taken");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn placement_path(placement: &PlacementEntry) -> String {
    let namespace = &placement.key.namespace;
    if namespace.is_empty() {
        format!("/apis/{API_VERSION}/clusterplacements/{}", placement.name)
    } else {
        format!("/apis/{API_VERSION}/namespaces/{namespace}/placements/{}", placement.name)
    }
}

/// A merge patch that sets our part of the status whole: what is left out is taken away.
fn placement_patch(status: &PlacementStatus) -> Value {
    let mut value = serde_json::to_value(status).expect("a status is plain data");
    if let Some(fields) = value.as_object_mut() {
        for name in ["observedGeneration", "conditions", "clusters", "decisions"] {
            fields.entry(name).or_insert(Value::Null);
        }
    }
    json!({ "status": value })
}

/// When a member's copies were last counted.
#[derive(Debug, Default)]
struct Count {
    at: Option<Instant>,
    counted: u64,
    seen: u64,
}

impl Count {
    /// Whether it is time to count again, at this turnover.
    fn is_due(&mut self, turnover: u64, now: Instant) -> bool {
        let rests = std::mem::replace(&mut self.seen, turnover) == turnover;
        let changed = turnover != self.counted;
        // What nobody knows of changes with the hub, too: now and then is looked without a reason.
        let due =
            self.at.is_none_or(|at| now >= at + COUNT || (changed && rests && now >= at + RECOUNT));
        if due {
            (self.at, self.counted) = (Some(now), turnover);
        }
        due
    }
}

/// Writes how many copies each member holds, for ever.
pub(crate) async fn write_members(shared: &Arc<Shared>) {
    let mut written: HashMap<String, (i64, Vec<String>)> = HashMap::new();
    let mut counts: HashMap<String, Count> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        for (name, session) in shared.sessions() {
            let Some(turnover) = session.turnover() else { continue };
            let count = counts.entry(name.clone()).or_default();
            if !count.is_due(turnover, Instant::now()) {
                continue;
            }
            let census = session.census();
            if written.get(&name) == Some(&census) {
                continue;
            }
            let (copies, unknown) = &census;
            let unknown = if unknown.is_empty() { Value::Null } else { json!(unknown) };
            let body = json!({"status": {"copies": copies, "unknownCopies": unknown}});
            let path = format!("/apis/{API_VERSION}/memberclusters/{name}/status");
            match patch(&shared.hub, &path, &body).await {
                Ok(()) => drop(written.insert(name, census)),
                Err(error) => tracing::debug!(cluster = %name, %error, "counts were not written"),
            }
        }
    }
}

async fn patch(hub: &Client, path: &str, body: &Value) -> Result<(), kube::Error> {
    let body = serde_json::to_vec(body).expect("a JSON value serialises");
    let request = Request::patch(format!("{path}?fieldManager=archipel-syncer"))
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(body)
        .map_err(kube::Error::HttpError)?;
    match hub.request_text(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

pub(crate) async fn get(hub: &Client, path: &str) -> Result<Option<Value>, kube::Error> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    match hub.request(request).await {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn copies_are_counted_soon_after_a_wave_and_seldom_during_one() {
        let mut count = Count::default();
        let start = Instant::now();
        let mut due = |second: u64, turnover: u64| {
            count.is_due(turnover, start + Duration::from_secs(second))
        };
        assert!(due(0, 0), "at first");
        assert!(!due(1, 0), "nothing came");
        let wave: Vec<u64> = (2..18).filter(|it| due(*it, it * 100)).collect();
        assert_eq!(wave, [10], "each ten seconds while it lasts");
        let after: Vec<u64> = (18..40).filter(|it| due(*it, 1700)).collect();
        assert_eq!(after, [18, 28, 38], "at once when it is over, then now and then");
    }
}
