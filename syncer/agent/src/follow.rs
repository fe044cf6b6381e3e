//! List and watch, for ever: how the hub and the members are seen.
//!
//! Objects are handed over as text, so that each reader takes out what it keeps and no more.

use std::time::Duration;

use futures::{AsyncBufReadExt as _, AsyncReadExt as _};
use http::Request;
use kube::Client;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

/// What to follow.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// `/apis/apps/v1/deployments`
    pub(crate) path: String,
    pub(crate) label_selector: Option<String>,
}

/// What was seen.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// A new list begins; what it does not hold is gone.
    Restart,
    Object(&'a str),
    Deleted(&'a str),
    /// The list is complete, or the watch goes on after a break.
    Synced,
    /// It could not be followed; another try is coming.
    Broken(FollowError),
}

/// Why a list or a watch ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    #[error("the request failed")]
    Request(#[from] kube::Error),
    #[error("the stream broke: {0}")]
    Stream(#[from] std::io::Error),
    #[error("the answer was not understood: {0}")]
    Answer(#[from] serde_json::Error),
    #[error("no answer in time")]
    Silent,
}

impl FollowError {
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Request(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

const PAGE: u32 = 500;
/// The server ends a watch after so long, and it goes on where it was.
const WATCH: Duration = Duration::from_secs(300);
const HEAD: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct List<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
struct Head {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    code: u16,
}

enum Ended {
    /// Go on from here.
    At(String),
    /// The history is gone: list again.
    Expired,
}

/// Follows a source until dropped. `sink` is called for everything in order and must not block.
pub(crate) async fn follow(client: &Client, source: &Source, mut sink: impl FnMut(Seen<'_>)) {
    let mut failures = 0_u32;
    let mut at: Option<String> = None;
    loop {
        let started = Instant::now();
        let result = match at.take() {
            None => list(client, source, &mut sink).await.map(Ended::At),
            Some(version) => watch(client, source, version.clone(), failures > 0, &mut sink)
                .await
                .inspect_err(|_| at = Some(version)),
        };
        match result {
            Ok(Ended::At(version)) => {
                at = Some(version);
                failures = 0;
            }
            Ok(Ended::Expired) => failures = 0,
            Err(error) => {
                if error.code() == Some(410) {
                    at = None;
                }
                // A watch that ran for a while and broke is not yet a server that is away.
                failures = if started.elapsed() > WATCH / 10 { 0 } else { failures + 1 };
                tracing::debug!(path = %source.path, %error, failures, "following broke");
                sink(Seen::Broken(error));
                tokio::time::sleep(pause(failures)).await;
            }
        }
    }
}

fn pause(failures: u32) -> Duration {
    Duration::from_millis(100 << failures.min(7)).min(Duration::from_secs(10))
}

fn request(path: &str) -> Request<Vec<u8>> {
    Request::get(path).body(Vec::new()).expect("a path of ours is a valid address")
}

async fn list(
    client: &Client,
    source: &Source,
    sink: &mut impl FnMut(Seen<'_>),
) -> Result<String, FollowError> {
    let mut next = String::new();
    let mut first = true;
    loop {
        let mut path = format!("{}?limit={PAGE}", source.path);
        if let Some(selector) = &source.label_selector {
            path.push_str(&format!("&labelSelector={}", encode(selector)));
        }
        if !next.is_empty() {
            path.push_str(&format!("&continue={}", encode(&next)));
        }
        let text = timeout(HEAD, client.request_text(request(&path)))
            .await
            .map_err(|_| FollowError::Silent)??;
        let list: List<'_> = serde_json::from_str(&text)?;
        if std::mem::take(&mut first) {
            sink(Seen::Restart);
        }
        for item in list.items {
            sink(Seen::Object(item.get()));
        }
        next = list.metadata.next;
        if next.is_empty() {
            sink(Seen::Synced);
            return Ok(list.metadata.resource_version);
        }
    }
}

async fn watch(
    client: &Client,
    source: &Source,
    mut version: String,
    after_break: bool,
    sink: &mut impl FnMut(Seen<'_>),
) -> Result<Ended, FollowError> {
    let mut path = format!(
        "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
        source.path,
        WATCH.as_secs(),
        encode(&version)
    );
    if let Some(selector) = &source.label_selector {
        path.push_str(&format!("&labelSelector={}", encode(selector)));
    }
    let mut stream = Box::pin(
        timeout(HEAD, client.request_stream(request(&path)))
            .await
            .map_err(|_| FollowError::Silent)??,
    );
    if after_break {
        sink(Seen::Synced);
    }
    let mut line = Vec::with_capacity(4096);
    loop {
        line.clear();
        let read = timeout(WATCH + HEAD, stream.read_until(b'\n', &mut line))
            .await
            .map_err(|_| FollowError::Silent)??;
        if read == 0 {
            return Ok(Ended::At(version));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let event: Line<'_> = serde_json::from_slice(&line)?;
        let head: Head = serde_json::from_str(event.object.get())?;
        match event.kind.as_str() {
            "ADDED" | "MODIFIED" => sink(Seen::Object(event.object.get())),
            "DELETED" => sink(Seen::Deleted(event.object.get())),
            "BOOKMARK" => (),
            // An error event ends the watch; a list says what is true now.
            _ => {
                tracing::debug!(path = %source.path, code = head.code, "the watch was ended");
                let mut rest = Vec::new();
                let _ = timeout(Duration::from_secs(1), stream.read_to_end(&mut rest)).await;
                return Ok(Ended::Expired);
            }
        }
        if !head.metadata.resource_version.is_empty() {
            version = head.metadata.resource_version;
        }
    }
}

/// Whether any object there carries the label.
pub(crate) async fn any(client: &Client, path: &str, label: &str) -> Result<bool, FollowError> {
    let path = format!("{path}?limit=1&labelSelector={}", encode(label));
    let text = timeout(HEAD, client.request_text(request(&path)))
        .await
        .map_err(|_| FollowError::Silent)??;
    let list: List<'_> = serde_json::from_str(&text)?;
    Ok(!list.items.is_empty())
}

/// Percent-encodes a query value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http::Response;
    use kube::client::Body;
    use parking_lot::Mutex;

    use super::*;

    /// A client whose answers are made from the request's path and query.
    pub(crate) fn fake(answer: impl Fn(&str) -> (u16, String) + Clone + Send + 'static) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            let (code, body) = answer(&path);
            async move {
                let body = Body::from(body.into_bytes());
                let response = Response::builder().status(code).body(body).expect("a response");
                Ok::<_, Infallible>(response)
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_followed_by_a_watch_and_an_expired_watch_by_a_list() {
        let lists = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&lists);
        let client = fake(move |path| {
            if path.contains("watch=true") {
                let first = path.contains("resourceVersion=5");
                let line = if first {
                    r#"{"type":"ADDED","object":{"metadata":{"name":"b","resourceVersion":"6"}}}"#
                } else {
                    r#"{"type":"ERROR","object":{"code":410}}"#
                };
                (200, format!("{line}\n"))
            } else if path.contains("continue=") {
                (200, r#"{"metadata":{"resourceVersion":"5"},"items":[{"n":2}]}"#.to_owned())
            } else {
                *counted.lock() += 1;
                (
                    200,
                    r#"{"metadata":{"resourceVersion":"5","continue":"x"},"items":[{"n":1}]}"#
                        .to_owned(),
                )
            }
        });
        let source = Source { path: "/api/v1/things".into(), label_selector: Some("a=b".into()) };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let run = follow(&client, &source, move |it| {
            log.lock().push(match it {
                Seen::Restart => "restart".to_owned(),
                Seen::Object(text) | Seen::Deleted(text) => text.to_owned(),
                Seen::Synced => "synced".to_owned(),
                Seen::Broken(error) => error.to_string(),
            });
        });
        let enough = async {
            while *lists.lock() < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { () = run => (), () = enough => () }
        let seen = seen.lock();
        assert_eq!(seen[..4], ["restart", r#"{"n":1}"#, r#"{"n":2}"#, "synced"]);
        assert!(seen[4].contains(r#""name":"b""#), "{}", seen[4]);
    }

    #[test]
    fn query_values_are_encoded() {
        assert_eq!(encode("a=b,c"), "a%3Db%2Cc");
    }
}
