//! The server as one value: its options, its parts, and the one entry for authenticated requests.
//!
//! ```text
//! handle(identity, request) ─▶ RequestInfo ─▶ authorize ─▶ builtin | path handler | discovery | openapi | verbs
//! ```

use std::{fmt, sync::Arc};

use bytes::Bytes;
use federation_storage::Store;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use serde_json::Value;

use crate::{
    active::Active,
    authorize::{Attributes, Authorizer, Decision},
    body::{self, BoxError, ResponseBody},
    discovery::DiscoveryCache,
    hooks::{Admission, Review},
    identity::Identity,
    observe::{Answered, Observer},
    openapi,
    registry::{Registry, RegistryError},
    request::{RequestInfo, Target},
    respond,
    status::ApiError,
    verbs::{self, watch::EventCache},
};

/// What `/version` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// `v1.36.0+archipel.0.1.0`: clients read the Kubernetes version that they may expect from it.
    pub git_version: String,
    pub major: String,
    pub minor: String,
    pub git_commit: String,
    pub build_date: String,
}

impl Default for VersionInfo {
    fn default() -> Self {
        Self {
            git_version: concat!("v1.36.3+archipel.", env!("CARGO_PKG_VERSION")).to_owned(),
            major: "1".to_owned(),
            minor: "36".to_owned(),
            git_commit: String::new(),
            build_date: String::new(),
        }
    }
}

/// A create-only kind or a subresource that is answered by code and never stored by the generic engine:
/// `SubjectAccessReview`, `serviceaccounts/token`.
pub trait Builtin: Send + Sync + 'static {
    /// What it answers, for routing and discovery.
    fn resource(&self) -> BuiltinResource;

    /// The whole object in, the whole object out. Called after authorisation.
    fn answer<'a>(&'a self, call: BuiltinCall<'a>) -> BoxFuture<'a, Result<Value, ApiError>>;
}

/// How a [`Builtin`] appears in the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinResource {
    /// The group whose path serves it; empty for core.
    pub group: &'static str,
    pub version: &'static str,
    /// `subjectaccessreviews`, or `serviceaccounts` with a `subresource`.
    pub resource: &'static str,
    /// `token`, or empty.
    pub subresource: &'static str,
    /// The kind that is posted.
    pub kind: &'static str,
    /// The group and version of that kind, when they are not the path's: `authentication.k8s.io/v1` of a TokenRequest.
    pub kind_api_version: &'static str,
    pub namespaced: bool,
}

/// A request to a [`Builtin`].
#[derive(Debug)]
pub struct BuiltinCall<'a> {
    pub identity: &'a Identity,
    pub namespace: Option<&'a str>,
    /// The object that a subresource belongs to.
    pub name: Option<&'a str>,
    /// What was posted, decoded.
    pub body: Value,
    pub dry_run: bool,
}

/// Paths outside the API's groups: `/healthz`, `/metrics`, `/.well-known/…`. Called after authorisation.
pub trait PathHandler: Send + Sync + 'static {
    fn matches(&self, path: &str) -> bool;
    fn answer<'a>(
        &'a self,
        identity: &'a Identity,
        request: &'a http::request::Parts,
    ) -> BoxFuture<'a, Response<ResponseBody>>;
}

/// What a server is made of.
pub struct ServerOptions {
    pub store: Arc<dyn Store>,
    /// CustomResourceDefinitions that the binary brings along: served, never stored, not deletable.
    pub embedded: Vec<Value>,
    pub admission: Vec<Arc<dyn Admission>>,
    pub reviews: Vec<Review>,
    pub authorizer: Arc<dyn Authorizer>,
    pub builtins: Vec<Arc<dyn Builtin>>,
    pub paths: Vec<Arc<dyn PathHandler>>,
    /// See every answer, in this order.
    pub observers: Vec<Arc<dyn Observer>>,
    pub version: VersionInfo,
}

impl ServerOptions {
    /// A server over `store` that lets everything pass and brings nothing of its own.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            embedded: Vec::new(),
            admission: Vec::new(),
            reviews: Vec::new(),
            authorizer: Arc::new(crate::authorize::AllowAll),
            builtins: Vec::new(),
            paths: Vec::new(),
            observers: Vec::new(),
            version: VersionInfo::default(),
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("embedded", &self.embedded.len())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Why a server could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("an embedded CustomResourceDefinition is not valid")]
    Embedded(#[source] RegistryError),
    #[error("the store cannot be read")]
    Store(#[from] federation_storage::ReadError),
    #[error("the store cannot be watched")]
    Watch(#[from] federation_storage::WatchError),
}

/// The name that an object was created under, where the path does not say it: for those who see the answer go out.
#[derive(Clone, Debug)]
pub(crate) struct CreatedName(pub String);

/// The Kubernetes API over one store.
pub struct Server {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Registry,
    pub(crate) admission: Vec<Arc<dyn Admission>>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) version: VersionInfo,
    pub(crate) events: EventCache,
    pub(crate) discovery: DiscoveryCache,
    pub(crate) openapi: openapi::Documents,
    /// Policies and webhooks that act on this server.
    pub active: Active,
    paths: Vec<Arc<dyn PathHandler>>,
    observers: Vec<Arc<dyn Observer>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Server {
    /// Makes a server: embeds the given kinds, loads the store's CRDs and follows their changes for as long as the
    /// server lives.
    pub async fn new(options: ServerOptions) -> Result<Arc<Self>, StartError> {
        let ServerOptions {
            store,
            embedded,
            admission,
            reviews,
            authorizer,
            builtins,
            paths,
            observers,
            version,
        } = options;
        let registry = Registry::new(&embedded, &reviews, &builtins, store.revision())
            .map_err(StartError::Embedded)?;
        let server = Arc::new(Self {
            store,
            registry,
            admission,
            authorizer,
            version,
            events: EventCache::default(),
            discovery: DiscoveryCache::default(),
            openapi: openapi::Documents::default(),
            active: Active::default(),
            paths,
            observers,
        });
        crate::crd::load_and_follow(&server).await?;
        crate::active::load_and_follow(&server).await?;
        Ok(server)
    }

    /// The store beneath, for the parts of the shell that read it directly.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The kinds that are served now.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// How many watch events have been serialised; those shared by several watches count once.
    pub fn events_serialised(&self) -> u64 {
        self.events.made()
    }

    /// Answers one request of an authenticated subject.
    pub async fn handle<B>(
        self: &Arc<Self>,
        identity: Identity,
        request: Request<B>,
    ) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let started = tokio::time::Instant::now();
        let info = RequestInfo::parse(&parts.method, &parts.uri);
        let mut attributes = match &info {
            _ if self.observers.is_empty() => Attributes::default(),
            Ok(info) => info.attributes.clone(),
            Err(_) => Attributes {
                verb: parts.method.as_str().to_ascii_lowercase(),
                path: parts.uri.path().to_owned(),
                ..Attributes::default()
            },
        };
        let answer = match info {
            Ok(info) => Box::pin(self.dispatch(&identity, &parts, info, Box::pin(body))).await,
            Err(error) => Err(error),
        };
        let mut response = match answer {
            Ok(mut response) => {
                if let Some(CreatedName(name)) = response.extensions_mut().remove() {
                    attributes.name = name;
                }
                response
            }
            Err(error) => {
                if attributes.verb == "create" && attributes.name.is_empty() {
                    error.name().clone_into(&mut attributes.name);
                }
                respond::error(&parts, &error)
            }
        };
        if parts.method == Method::HEAD {
            *response.body_mut() = ResponseBody::empty();
        }
        let answered =
            Answered { identity: &identity, attributes: &attributes, elapsed: started.elapsed() };
        self.observers
            .iter()
            .fold(response, |response, observer| observer.answered(answered, response))
    }

    async fn dispatch<B>(
        self: &Arc<Self>,
        identity: &Identity,
        parts: &http::request::Parts,
        info: RequestInfo,
        body: std::pin::Pin<Box<B>>,
    ) -> Result<Response<ResponseBody>, ApiError>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        self.authorize(identity, &info.attributes)?;
        if let Some(handler) = self.paths.iter().find(|handler| handler.matches(info.path())) {
            return Ok(handler.answer(identity, parts).await);
        }
        let may = match info.target {
            Target::Resource => parts.method != Method::HEAD,
            Target::Discovery | Target::Version => parts.method == Method::GET,
            Target::OpenApi => parts.method.is_safe(),
            Target::Other => true,
        };
        if !may {
            return Err(verbs::not_allowed());
        }
        match info.target {
            Target::Resource => {
                let body =
                    if parts.method.is_safe() { Bytes::new() } else { body::read(body).await? };
                verbs::dispatch(self, identity, parts, info, body).await
            }
            Target::Discovery => crate::discovery::answer(self, parts, &info),
            Target::OpenApi => openapi::answer(self, parts, &info),
            Target::Version => Ok(respond::json_value(&version_object(&self.version))),
            Target::Other => Err(ApiError::path_not_found()),
        }
    }

    pub(crate) fn authorize(
        &self,
        identity: &Identity,
        attributes: &Attributes,
    ) -> Result<(), ApiError> {
        match self.authorizer.authorize(identity, attributes) {
            Decision::Allow => Ok(()),
            Decision::Deny(reason) => Err(ApiError::denied(identity, attributes, &reason)),
        }
    }
}

fn version_object(version: &VersionInfo) -> Value {
    serde_json::json!({
        "major": version.major,
        "minor": version.minor,
        "gitVersion": version.git_version,
        "gitCommit": version.git_commit,
        "gitTreeState": "clean",
        "buildDate": version.build_date,
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }),
    })
}
