//! The API without a socket: what the hub's own components talk through. Authorisation and all that follows it is the
//! same as over the network.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tower::Service;

use crate::{app::Server, body::ResponseBody, identity::Identity};

/// A service that answers as the API does to one identity: `kube::Client::new(server.local(identity), namespace)`.
#[derive(Clone, Debug)]
pub struct LocalService {
    server: Arc<Server>,
    identity: Identity,
}

impl Server {
    /// The API as one identity sees it.
    pub fn local(self: &Arc<Self>, identity: Identity) -> LocalService {
        LocalService { server: Arc::clone(self), identity }
    }
}

impl Service<Request<kube::client::Body>> for LocalService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let Self { server, identity } = self.clone();
        async move { Ok(server.handle(identity, request).await) }.boxed()
    }
}
