//! Writes statuses: of Placements, of templates and of members; only what changed, and not at every change.

use std::{collections::HashMap, sync::Arc, time::Duration};

use federation_types::{names::API_VERSION, placement::PlacementStatus};
use http::{Request, header::CONTENT_TYPE};
use kube::Client;
use serde_json::{Value, json};
use syncer_render::roll_up;

use crate::{context::Shared, index::PlacementEntry, queue::Key};

/// Statuses written at a time.
const WRITERS: usize = 8;
/// Counts of members change with every copy and are shown in lists only.
const MEMBERS: Duration = Duration::from_secs(10);

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
    if roll_up::numbers_of(&key.gvk).is_empty()
        && !matches!(key.gvk.kind.as_str(), "Service" | "Ingress")
    {
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
    let status =
        roll_up::template_status(&key.gvk, &placement.spec, &snapshot.reports, &previous, now);
    let Some(status) = status else { return Ok(()) };
    if status == previous {
        shared.board.wrote_template(key, status);
        return Ok(());
    }
    let body = json!({"metadata": {"uid": placement.spec.template.uid}, "status": &status});
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

/// Writes how many copies each member holds, for ever.
pub(crate) async fn write_members(shared: &Arc<Shared>) {
    let mut written: HashMap<String, (i64, Vec<String>)> = HashMap::new();
    loop {
        tokio::time::sleep(MEMBERS).await;
        for (name, census) in shared.census() {
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

async fn get(hub: &Client, path: &str) -> Result<Option<Value>, kube::Error> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    match hub.request(request).await {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
