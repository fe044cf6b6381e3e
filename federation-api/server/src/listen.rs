//! The API on a socket: TLS, HTTP/1.1 and HTTP/2, limits, and a shutdown that lets requests finish.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use futures::StreamExt as _;
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    app::Server,
    authn::Authenticator,
    body::ResponseBody,
    fair::{Flow, Seat, Seats},
    identity::Identity,
    request::RequestInfo,
    status::ApiError,
    tls::{self, Peer},
};

/// How long a client may take over its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/1.1 client may take over a request's head. The time between two requests counts, so it is longer
/// than clients keep idle connections in use.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How long open requests may take once we are shutting down.
const GRACE: Duration = Duration::from_secs(5);

/// What a socket bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more are closed as they come.
    pub connections: usize,
    /// Requests at once over all connections, watches left out; more wait for their flow's turn.
    pub in_flight: usize,
    /// Streams of one HTTP/2 connection.
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 20_000, in_flight: 256, streams: 1_000 }
    }
}

/// What stands between the socket and the server: who is it, and is there room.
#[derive(Debug)]
pub struct Front {
    server: Arc<Server>,
    authenticator: Arc<Authenticator>,
    seats: Arc<Seats>,
    limits: Limits,
    /// Ends watches, which would otherwise hold a shutdown up.
    closing: CancellationToken,
}

impl Front {
    /// A front of `server`. `closing` ends the watches that it serves.
    pub fn new(
        server: Arc<Server>,
        authenticator: Arc<Authenticator>,
        limits: Limits,
        seats: Arc<Seats>,
        closing: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self { server, authenticator, seats, limits, closing })
    }

    /// A seat for a request; none for what takes none.
    async fn seat(
        &self,
        parts: &http::request::Parts,
        identity: &Identity,
    ) -> Result<Option<Seat>, ApiError> {
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let exempt = ["/healthz", "/livez", "/readyz", "/metrics"];
        if exempt.iter().any(|it| path.starts_with(it)) || identity.is_master() {
            return Ok(None);
        }
        let parse = || RequestInfo::parse(&parts.method, &parts.uri).ok();
        // Most requests are no watch, and need not be parsed to see it.
        let may_watch = query.contains("watch") || path.contains("/watch/");
        if may_watch && parse().is_some_and(|info| info.attributes.verb == "watch") {
            return Ok(None);
        }
        let flow = || Flow {
            user: identity.user.clone(),
            namespace: parse().map(|info| info.attributes.namespace).unwrap_or_default(),
        };
        let refused = |why| {
            ApiError::too_many_requests(
                format!("too many requests, please try again later: {why}"),
                1,
            )
        };
        self.seats.take(flow).await.map(Some).map_err(refused)
    }

    async fn answer(
        &self,
        peer: Option<&Peer>,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let (mut parts, body) = request.into_parts();
        let identity = match self
            .authenticator
            .identify(peer, parts.uri.path(), &mut parts.headers)
            .await
        {
            Ok(identity) => identity,
            Err(error) => {
                tracing::debug!(path = parts.uri.path(), code = error.code().as_u16(), "refused");
                return crate::respond::error(&parts, &error);
            }
        };
        let _seat = match self.seat(&parts, &identity).await {
            Ok(seat) => seat,
            Err(error) => return crate::respond::error(&parts, &error),
        };
        let mut response = self.server.handle(identity, Request::from_parts(parts, body)).await;
        let body = std::mem::replace(response.body_mut(), ResponseBody::empty());
        *response.body_mut() = match body {
            ResponseBody::Stream(stream) => {
                let closing = self.closing.clone().cancelled_owned();
                ResponseBody::Stream(stream.take_until(Box::pin(closing)).boxed())
            }
            full @ ResponseBody::Full(_) => full,
        };
        response
    }
}

/// Serves connections until `closing` is cancelled and the open requests are answered.
pub async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    front: Arc<Front>,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(config);
    let room = Arc::new(Semaphore::new(front.limits.connections));
    let graceful = GracefulShutdown::new();
    let connections = tokio_util::task::TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = front.closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a connection that was gone before it was accepted.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(%address, "connection refused: too many are open");
            continue;
        };
        let (acceptor, front) = (acceptor.clone(), Arc::clone(&front));
        let (watcher, cut) = (graceful.watcher(), cut.clone());
        connections.spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = connection(socket, address, &acceptor, front, watcher) => {}
                () = cut.cancelled() => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::info!("closing connections that did not finish in time");
    }
    cut.cancel();
    connections.wait().await;
    Ok(())
}

async fn connection(
    socket: TcpStream,
    address: SocketAddr,
    acceptor: &TlsAcceptor,
    front: Arc<Front>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Answers are small and wanted now.
    drop(socket.set_nodelay(true));
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "no TLS session"),
        Err(_) => return tracing::debug!(%address, "no TLS session in time"),
    };
    let peer = stream.get_ref().1.peer_certificates().and_then(|chain| tls::peer(chain.first()?));
    let peer = Arc::new(peer);
    let streams = front.limits.streams;
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, peer) = (Arc::clone(&front), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(front.answer(peer.as_ref().as_ref(), request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
        .max_send_buf_size(1024 * 1024)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%address, error, "connection ended");
    }
}
