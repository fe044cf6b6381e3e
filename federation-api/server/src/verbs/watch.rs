//! `GET` of a collection's changes: a cursor over the store's log, shown as lines of JSON.
//!
//! An event is serialised once per form, however many watch it; selectors are evaluated on the object before and after.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use federation_storage::{
    At, Change, Entry, Event, ReadError, Revision, Watch, WatchError, WatchItem,
};
use futures::{StreamExt as _, stream};
use http::Response;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::time::Instant;

use super::{Context, revision};
use crate::{
    body::ResponseBody,
    fields::Selection,
    negotiate::{self, Shape},
    registry::Kind,
    respond,
    status::{self, ApiError, Cause},
    stored::write,
    view::{self, Source},
};

/// How often a bookmark is sent.
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);
/// The initial state goes out in pieces of about this size.
const PIECE: usize = 64 * 1024;

/// What happened, as the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Added,
    Modified,
    Deleted,
}

impl What {
    fn text(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

type EventKey = (Revision, What, Shape, Box<str>);

/// The lines of the latest events, so that watchers share them.
#[derive(Debug, Default)]
pub(crate) struct EventCache(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    by_key: BTreeMap<EventKey, Bytes>,
    order: VecDeque<EventKey>,
    bytes: usize,
    /// How many lines were made, for tests and metrics.
    made: u64,
}

impl EventCache {
    const LIMIT: usize = 2 * 1024 * 1024;

    fn line(&self, key: EventKey, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut lines = self.0.lock();
        if let Some(line) = lines.by_key.get(&key) {
            return line.clone();
        }
        // Made under the lock: whoever else waits for it wants this very line, or will be quick.
        let line = make();
        lines.made += 1;
        lines.bytes += line.len();
        lines.order.push_back(key.clone());
        lines.by_key.insert(key, line.clone());
        while lines.bytes > Self::LIMIT {
            let Some(oldest) = lines.order.pop_front() else { break };
            lines.bytes -= lines.by_key.remove(&oldest).map_or(0, |line| line.len());
        }
        line
    }

    /// How many events have been serialised.
    pub(crate) fn made(&self) -> u64 {
        self.0.lock().made
    }
}

/// What a watch asks for.
#[derive(Debug)]
struct Wanted {
    /// The state to begin with, if it is to be told.
    initial: Option<At>,
    /// Where the changes begin, if there is no state to begin with; `None`: now.
    since: Option<Revision>,
    /// The end of the initial state is marked by a bookmark.
    marked: bool,
    bookmarks: bool,
    timeout: Duration,
}

fn wanted(context: &Context<'_>) -> Result<Wanted, ApiError> {
    let query = &context.info.query;
    let initial = query.optional_flag("sendInitialEvents");
    let matching = query.get("resourceVersionMatch");
    let mut causes = Vec::new();
    let mut forbid = |why: &str| {
        causes.push(Cause::field("resourceVersionMatch", format!("Forbidden: {why}")));
    };
    match (initial, matching) {
        (Some(_), Some("NotOlderThan")) | (None, None) => {}
        (Some(_), _) => {
            forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        (None, Some(_)) => forbid(
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
    }
    if !causes.is_empty() {
        return Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", causes));
    }
    let version = query.get("resourceVersion").map(revision).transpose()?;
    let version = version.filter(|version| version.0 > 0);
    let bookmarks = query.flag("allowWatchBookmarks");
    let seconds = query.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
    let timeout = match seconds.filter(|seconds| *seconds > 0) {
        Some(seconds) => Duration::from_secs(seconds),
        // Spread, so that the watches of one moment do not all come back at one moment.
        None => Duration::from_secs(rand::rng().random_range(1800..3600)),
    };
    let (initial, since) = match (initial, version) {
        (Some(true), Some(version)) => (Some(At::NotBefore(version)), None),
        (Some(true) | None, None) => (Some(At::Latest), None),
        (Some(false) | None, since) => (None, since),
    };
    let marked = query.flag("sendInitialEvents");
    Ok(Wanted { initial, since, marked, bookmarks, timeout })
}

pub(super) async fn watch(context: &Context<'_>) -> Result<Response<ResponseBody>, ApiError> {
    let query = &context.info.query;
    let kind = Arc::clone(&context.kind);
    let form = negotiate::form(&context.parts.headers, query.get("includeObject"), true)?;
    let mut fields = query.get("fieldSelector").map(str::to_owned);
    if !context.name().is_empty() {
        // The old way to watch one object: by its path.
        fields = Some(format!("metadata.name={}", context.name()));
    }
    let selection = Selection::parse(&kind, query.get("labelSelector"), fields.as_deref())?;
    let wanted = wanted(context)?;
    let store = &context.server.store;
    let namespace =
        context.namespace().or_else(|| selection.namespace().filter(|_| kind.namespaced));
    let range = match selection.name() {
        Some(name) if namespace.is_some() || !kind.namespaced => {
            kind.key(namespace, name).to_string()
        }
        _ => kind.range(namespace),
    };
    let mut initial = VecDeque::new();
    let since = match (wanted.initial, wanted.since) {
        (Some(at), _) => {
            let listing = store.list(&range, std::ops::Bound::Unbounded, 0, at).await;
            let listing = match listing {
                Ok(listing) => listing,
                Err(error @ ReadError::Compacted { .. }) => return Ok(refused(&error.into())),
                Err(error) => return Err(error.into()),
            };
            let entries = listing.entries.into_iter().chain(crate::crd::embedded(context));
            initial.extend(entries.filter(|entry| selection.matches(entry, &kind)));
            listing.revision
        }
        (None, Some(since)) => since,
        (None, None) => store.revision(),
    };
    let changes = match store.watch(&range, since) {
        Ok(changes) => changes,
        Err(error @ WatchError::Compacted { .. }) => return Ok(refused(&error.into())),
        Err(error) => return Err(error.into()),
    };
    let now = Instant::now();
    let watching = Watching {
        server: Arc::clone(context.server),
        kind,
        selection,
        shape: form.shape,
        initial,
        mark: wanted.marked && wanted.bookmarks,
        changes,
        seen: since,
        bookmarks: wanted.bookmarks,
        next_bookmark: now + BOOKMARK_EVERY,
        deadline: now + wanted.timeout,
        ended: false,
    };
    let lines = stream::unfold(watching, |mut watching| async move {
        let line = watching.next().await?;
        Some((line, watching))
    });
    Ok(streamed(lines.boxed()))
}

fn streamed(lines: stream::BoxStream<'static, Bytes>) -> Response<ResponseBody> {
    let mut response = respond::bytes(status::OK, "application/json", Bytes::new());
    *response.body_mut() = ResponseBody::Stream(lines);
    response
}

/// A watch that cannot begin says so in its first and only event.
fn refused(error: &ApiError) -> Response<ResponseBody> {
    streamed(stream::iter([failure(error)]).boxed())
}

fn failure(error: &ApiError) -> Bytes {
    let mut out = br#"{"type":"ERROR","object":"#.to_vec();
    write(&mut out, &error.to_status());
    out.extend_from_slice(b"}\n");
    out.into()
}

/// A watch under way.
struct Watching {
    server: Arc<crate::app::Server>,
    kind: Arc<Kind>,
    selection: Selection,
    shape: Shape,
    /// What is left of the state to begin with.
    initial: VecDeque<Arc<Entry>>,
    /// Whether its end is still to be marked.
    mark: bool,
    changes: Watch,
    /// Everything up to here has been told.
    seen: Revision,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    ended: bool,
}

impl Watching {
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if !self.initial.is_empty() {
            return Some(self.begin());
        }
        if std::mem::take(&mut self.mark) {
            return Some(self.bookmark(true));
        }
        loop {
            let wake =
                if self.bookmarks { self.next_bookmark.min(self.deadline) } else { self.deadline };
            // A change that is there goes before a bookmark that is due: the bookmark would be wrong.
            let item = tokio::select! {
                biased;
                item = self.changes.next() => item,
                () = tokio::time::sleep_until(wake) => {
                    let now = Instant::now();
                    self.ended = now >= self.deadline;
                    self.next_bookmark = now + BOOKMARK_EVERY;
                    if self.bookmarks {
                        return Some(self.bookmark(false));
                    }
                    return None;
                }
            };
            match item {
                Some(Ok(WatchItem::Progress(revision))) => self.seen = self.seen.max(revision),
                Some(Ok(WatchItem::Event(event))) => {
                    self.seen = event.revision;
                    if let Some(line) = self.event(&event) {
                        return Some(line);
                    }
                }
                Some(Err(error @ WatchError::Compacted { .. })) => {
                    self.ended = true;
                    return Some(failure(&error.into()));
                }
                Some(Err(WatchError::Closed)) | None => return None,
            }
        }
    }

    /// A piece of the state to begin with.
    fn begin(&mut self) -> Bytes {
        let mut out = Vec::with_capacity(PIECE + 4096);
        while out.len() < PIECE {
            let Some(entry) = self.initial.pop_front() else { break };
            line(&mut out, What::Added, &entry, entry.revision, &self.kind, self.shape);
        }
        out.into()
    }

    fn event(&self, event: &Event) -> Option<Bytes> {
        let selects = |entry: &Entry| self.selection.matches(entry, &self.kind);
        let (what, entry) = match &event.change {
            Change::Created(entry) => selects(entry).then_some((What::Added, entry))?,
            Change::Deleted(entry) => selects(entry).then_some((What::Deleted, entry))?,
            Change::Updated { before, after } => match (selects(before), selects(after)) {
                (true, true) => (What::Modified, after),
                (false, true) => (What::Added, after),
                // What it was, at the revision at which it ceased to be that.
                (true, false) => (What::Deleted, before),
                (false, false) => return None,
            },
        };
        let key = (event.revision, what, self.shape, self.kind.api_version.clone());
        Some(self.server.events.line(key, || {
            let mut out = Vec::with_capacity(entry.value.len() + 256);
            line(&mut out, what, entry, event.revision, &self.kind, self.shape);
            out.into()
        }))
    }

    fn bookmark(&self, initial_events_end: bool) -> Bytes {
        let annotations = if initial_events_end {
            serde_json::json!({ "k8s.io/initial-events-end": "true" })
        } else {
            serde_json::Value::Null
        };
        let (kind, api_version) = match self.shape {
            Shape::Object => (&*self.kind.kind, &*self.kind.api_version),
            Shape::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1"),
            Shape::Table(_) => ("Table", "meta.k8s.io/v1"),
        };
        let mut metadata = serde_json::json!({ "resourceVersion": self.seen.to_string() });
        if !annotations.is_null() {
            metadata["annotations"] = annotations;
        }
        let mut object = serde_json::json!({
            "kind": kind,
            "apiVersion": api_version,
            "metadata": metadata,
        });
        if matches!(self.shape, Shape::Table(_)) {
            // A table has only a list's metadata, so the mark stands on the object of its one row.
            let row = serde_json::json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            });
            object["columnDefinitions"] = serde_json::json!([]);
            object["metadata"] = serde_json::json!({ "resourceVersion": self.seen.to_string() });
            object["rows"] = serde_json::json!([{ "cells": [], "object": row }]);
        }
        let mut out = br#"{"type":"BOOKMARK","object":"#.to_vec();
        write(&mut out, &object);
        out.extend_from_slice(b"}\n");
        out.into()
    }
}

fn line(
    out: &mut Vec<u8>,
    what: What,
    entry: &Entry,
    revision: Revision,
    kind: &Kind,
    shape: Shape,
) {
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(what.text().as_bytes());
    out.extend_from_slice(br#"","object":"#);
    view::one(out, Source::Entry(entry, revision), kind, shape);
    out.extend_from_slice(b"}\n");
}
