//! Stands between a hub and a member, and can make the member seem to serve nothing.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use federation_tests::Member;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Aggregated discovery, the form that the hub asks for.
const LIST: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Passes requests on to a member, as the administrator there.
pub(crate) struct Relay {
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    member: Client,
    empty: AtomicBool,
    emptied: AtomicUsize,
}

impl Relay {
    pub(crate) async fn start(member: &Member) -> Self {
        let kubeconfig = std::fs::read_to_string(member.kubeconfig()).unwrap();
        let mut config: Value = serde_json::from_str(&kubeconfig).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        config["clusters"][0]["cluster"] = json!({ "server": format!("http://{address}") });
        let path = member.dir().join("relayed.kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        let shared = Arc::new(Shared {
            member: member.client().await.unwrap(),
            empty: AtomicBool::new(false),
            emptied: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&shared)));
        Self { kubeconfig: path, shared, _tasks: tasks }
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on the member serves nothing, or what it does.
    pub(crate) fn serve_nothing(&self, nothing: bool) {
        self.shared.empty.store(nothing, Ordering::Relaxed);
    }

    /// How often somebody was told that nothing is served.
    pub(crate) fn emptied(&self) -> usize {
        self.shared.emptied.load(Ordering::Relaxed)
    }
}

async fn serve(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(answer(&shared, request).await) }
            });
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A hub that is killed breaks its connections off.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let discovery = matches!(request.uri().path(), "/api" | "/apis");
    if discovery && shared.empty.load(Ordering::Relaxed) {
        shared.emptied.fetch_add(1, Ordering::Relaxed);
        let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": []});
        let mut response = Response::new(Body::from(list.to_string().into_bytes()));
        response.headers_mut().insert(CONTENT_TYPE, LIST.parse().expect("a constant"));
        return response;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Response::new(Body::empty()) };
    let mut request = Request::from_parts(parts, Body::from(body.to_bytes()));
    // The client knows where the member is.
    let path = request.uri().path_and_query().expect("a request has a path").to_string();
    *request.uri_mut() = path.parse().expect("it was one");
    request.headers_mut().remove(http::header::HOST);
    shared.member.send(request).await.unwrap_or_else(|error| {
        let mut response = Response::new(Body::from(error.to_string().into_bytes()));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}
