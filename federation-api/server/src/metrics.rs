//! `/metrics`: what the server counts of itself, and a registry that other parts add to. Families that Kubernetes has
//! carry its names, so that dashboards work.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use federation_storage::Store;
use futures::{FutureExt as _, Stream, future::BoxFuture, stream::BoxStream};
use http::{HeaderValue, Response, header};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    app::PathHandler,
    body::ResponseBody,
    identity::Identity,
    observe::{Answered, Observer},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    group: String,
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: String,
    resource: String,
}

/// The server's metrics.
pub struct Metrics {
    registry: Mutex<Registry>,
    store: Arc<dyn Store>,
    requests: Family<RequestLabels, Counter>,
    durations: Family<VerbLabels, Histogram>,
    watches: Family<ResourceLabels, Gauge>,
    revision: Gauge,
    resident: Gauge,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// The metrics of a server over `store`.
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations: Family<VerbLabels, Histogram> = Family::new_with_constructor(|| {
            Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0])
        });
        let watches = Family::default();
        let (revision, resident) = (Gauge::default(), Gauge::default());
        registry.register("apiserver_request", "Requests answered", requests.clone());
        registry.register(
            "apiserver_request_duration_seconds",
            "Time to the head of the answer, watches left out",
            durations.clone(),
        );
        registry.register(
            "apiserver_registered_watchers",
            "Watches that are open",
            watches.clone(),
        );
        registry.register("archipel_store_revision", "The newest revision", revision.clone());
        registry.register(
            "process_resident_memory_bytes",
            "Resident memory of this process",
            resident.clone(),
        );
        Arc::new(Self {
            registry: Mutex::new(registry),
            store,
            requests,
            durations,
            watches,
            revision,
            resident,
        })
    }

    /// Lets another part add its own metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// All metrics as text in the OpenMetrics format.
    pub fn render(&self) -> String {
        self.revision.set(i64::try_from(self.store.revision().0).unwrap_or(i64::MAX));
        self.resident.set(resident_bytes().unwrap_or(0));
        let mut text = String::new();
        text::encode(&mut text, &self.registry.lock()).expect("writing to a string cannot fail");
        text
    }
}

impl Observer for Metrics {
    fn answered(
        &self,
        answered: Answered<'_>,
        mut response: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        let attributes = answered.attributes;
        // Names that only a caller knows must not fill the memory.
        let known = response.status().is_success();
        let label = |text: &str| if known { text.to_owned() } else { String::new() };
        let (group, resource) = (label(&attributes.group), label(&attributes.resource));
        self.requests
            .get_or_create(&RequestLabels {
                verb: verb(&attributes.verb),
                group: group.clone(),
                resource: resource.clone(),
                subresource: label(&attributes.subresource),
                code: response.status().as_u16(),
            })
            .inc();
        if attributes.verb != "watch" {
            self.durations
                .get_or_create(&VerbLabels { verb: verb(&attributes.verb), resource })
                .observe(answered.elapsed.as_secs_f64());
        } else if known {
            let gauge = self.watches.get_or_create_owned(&ResourceLabels { group, resource });
            let body = std::mem::replace(response.body_mut(), ResponseBody::empty());
            *response.body_mut() = match body {
                ResponseBody::Stream(stream) => {
                    gauge.inc();
                    ResponseBody::Stream(Box::pin(Counted { stream, gauge }))
                }
                full @ ResponseBody::Full(_) => full,
            };
        }
        response
    }
}

/// A watch that is counted while it lives.
struct Counted {
    stream: BoxStream<'static, Bytes>,
    gauge: Gauge,
}

impl Stream for Counted {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.stream.as_mut().poll_next(context)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Serves [`Metrics`] at `/metrics`.
#[derive(Clone, Debug)]
pub struct MetricsPath(pub Arc<Metrics>);

impl PathHandler for MetricsPath {
    fn matches(&self, path: &str) -> bool {
        path == "/metrics"
    }

    fn answer<'a>(
        &'a self,
        _: &'a Identity,
        _: &'a http::request::Parts,
    ) -> BoxFuture<'a, Response<ResponseBody>> {
        let mut response = Response::new(ResponseBody::from(self.0.render()));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        );
        std::future::ready(response).boxed()
    }
}

/// A verb as a label: one of those that exist.
fn verb(verb: &str) -> String {
    match verb {
        "get" | "list" | "watch" | "create" | "update" | "patch" | "delete"
        | "deletecollection" | "post" | "put" | "head" | "options" => verb.to_owned(),
        _ => "other".to_owned(),
    }
}

fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<i64>().ok().map(|kib| kib * 1024)
}
