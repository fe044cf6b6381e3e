//! The whole API server put together: certificates, RBAC, the engine, health, metrics, and a socket.
//!
//! ```text
//! open: pki ─▶ bootstrap roles ─▶ RBAC index ─▶ Server        run: bind ─▶ serve ─▶ ready ─▶ kubeconfig
//! ```

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use federation_storage::Store;
use futures::{FutureExt as _, future::BoxFuture};
use http::Response;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{PathHandler, Server, ServerOptions, StartError, VersionInfo},
    authn::Authenticator,
    authorize::Authorizer,
    authz::{self, EscalationCheck, FollowError, Rbac},
    body::ResponseBody,
    fair::Seats,
    files::FileError,
    health::{Health, HealthPaths},
    hooks::{Admission, Review},
    identity::Identity,
    kubeconfig,
    listen::{self, Front, Limits},
    metrics::{Metrics, MetricsPath},
    observe::Audit,
    pki::{Pki, PkiError},
    respond, reviews,
    status::ApiError,
    tls::{self, ServingCertificate, TlsError},
    tokens::{TokenError, TokenKeys},
};

/// How often certificates are looked at.
const RENEWAL: Duration = Duration::from_secs(12 * 3600);

/// What an API server is made of.
pub struct ShellOptions {
    pub store: Arc<dyn Store>,
    /// Holds `pki/`.
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// Further names and addresses under which clients reach it.
    pub tls_names: Vec<String>,
    /// Our kinds, as CustomResourceDefinitions.
    pub embedded: Vec<Value>,
    pub admission: Vec<Arc<dyn Admission>>,
    pub reviews: Vec<Review>,
    pub version: VersionInfo,
    pub limits: Limits,
}

impl ShellOptions {
    /// A server on `listen` that keeps its keys under `data_dir`.
    pub fn new(store: Arc<dyn Store>, data_dir: &Path, listen: SocketAddr) -> Self {
        Self {
            store,
            data_dir: data_dir.to_owned(),
            listen,
            tls_names: Vec::new(),
            embedded: Vec::new(),
            admission: Vec::new(),
            reviews: Vec::new(),
            version: VersionInfo::default(),
            limits: Limits::default(),
        }
    }
}

impl std::fmt::Debug for ShellOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShellOptions")
            .field("data_dir", &self.data_dir)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// Why an API server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Tokens(#[from] TokenError),
    #[error("the roles of a first start could not be made")]
    Bootstrap(#[from] authz::bootstrap::BootstrapError),
    #[error(transparent)]
    Rbac(#[from] FollowError),
    #[error(transparent)]
    Server(#[from] StartError),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Kubeconfig(#[from] FileError),
}

/// An API server, bound to its address; it answers once [`Shell::run`] is polled.
#[derive(Debug)]
pub struct Shell {
    pub server: Arc<Server>,
    pub rbac: Arc<Rbac>,
    pub health: Arc<Health>,
    pub metrics: Arc<Metrics>,
    /// Where it listens, with the port that was given to it.
    pub address: SocketAddr,
    pki: Arc<Mutex<Pki>>,
    certificate: Arc<ServingCertificate>,
    config: Arc<rustls::ServerConfig>,
    authenticator: Arc<Authenticator>,
    listener: TcpListener,
    limits: Limits,
}

impl Shell {
    /// Makes what is missing, reads what is there, and binds the socket.
    pub async fn open(options: ShellOptions) -> Result<Self, ShellError> {
        let ShellOptions {
            store,
            data_dir,
            listen,
            mut tls_names,
            embedded,
            mut admission,
            reviews,
            version,
            limits,
        } = options;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| ShellError::Listen { address: listen, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| ShellError::Listen { address: listen, source })?;
        tls_names.push(address.ip().to_string());
        let pki = Pki::open(&data_dir.join("pki"), &tls_names, SystemTime::now())?;
        let tokens = Arc::new(TokenKeys::new(&pki)?);
        authz::bootstrap::ensure(&*store).await?;
        let rbac = Rbac::follow(Arc::clone(&store)).await?;
        let authorizer = Arc::clone(&rbac) as Arc<dyn Authorizer>;
        let authenticator = Arc::new(Authenticator::new(
            Arc::clone(&store),
            Arc::clone(&tokens),
            Arc::clone(&authorizer),
        ));
        let health = Health::new(Arc::clone(&store));
        let metrics = Metrics::new(Arc::clone(&store));
        let builtins = reviews::all(&store, &rbac, &authenticator, &tokens);
        admission.insert(0, Arc::new(EscalationCheck(Arc::clone(&rbac))));
        let server = Server::new(ServerOptions {
            store,
            embedded,
            admission,
            reviews,
            authorizer,
            builtins,
            paths: vec![
                Arc::new(HealthPaths(Arc::clone(&health))),
                Arc::new(MetricsPath(Arc::clone(&metrics))),
                Arc::new(IssuerPaths(tokens)),
            ],
            observers: vec![Arc::new(Audit), Arc::clone(&metrics) as _],
            version,
        })
        .await?;
        metrics.register(|registry| server.active.register(registry));
        let certificate = Arc::new(ServingCertificate::new(&pki)?);
        let config = Arc::new(tls::server_config(&pki, Arc::clone(&certificate))?);
        Ok(Self {
            server,
            rbac,
            health,
            metrics,
            address,
            pki: Arc::new(Mutex::new(pki)),
            certificate,
            config,
            authenticator,
            listener,
            limits,
        })
    }

    /// This hub, as it signs its copies in members.
    pub fn hub_uid(&self) -> String {
        self.pki.lock().hub_uid.clone()
    }

    /// The certificate that clients trust, PEM: what `kube-root-ca.crt` holds.
    pub fn ca_certificate(&self) -> String {
        self.pki.lock().ca_certificate().to_owned()
    }

    /// Where local clients reach it.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("https://{address}")
    }

    /// Serves until `closing` is cancelled. The admin kubeconfig is written to `kubeconfig` as soon as `/readyz` would
    /// answer 200, and again when its certificate is renewed.
    pub async fn run(
        self,
        kubeconfig: Option<PathBuf>,
        closing: CancellationToken,
    ) -> Result<(), ShellError> {
        let url = self.url();
        let seats = Seats::new(self.limits.in_flight);
        self.metrics.register(|registry| seats.register(registry));
        let front =
            Front::new(self.server, self.authenticator, self.limits, seats, closing.clone());
        let serving = listen::serve(self.listener, self.config, front);
        let tending = async {
            while !self.health.is_ready().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if let Some(path) = &kubeconfig {
                kubeconfig::write(path, &url, &self.pki.lock())?;
            }
            tracing::info!(url, "ready");
            loop {
                tokio::time::sleep(RENEWAL).await;
                let mut pki = self.pki.lock();
                if pki.renew(SystemTime::now())? {
                    self.certificate.replace(&pki)?;
                    if let Some(path) = &kubeconfig {
                        kubeconfig::write(path, &url, &pki)?;
                    }
                    tracing::info!("certificates renewed");
                }
            }
        };
        tokio::select! {
            served = serving => {
                served.map_err(|source| ShellError::Listen { address: self.address, source })
            }
            tended = tending => tended,
        }
    }
}

/// Serves what others need to trust our tokens.
#[derive(Debug)]
struct IssuerPaths(Arc<TokenKeys>);

impl PathHandler for IssuerPaths {
    fn matches(&self, path: &str) -> bool {
        path.starts_with("/.well-known/") || path.starts_with("/openid/")
    }

    fn answer<'a>(
        &'a self,
        _: &'a Identity,
        request: &'a http::request::Parts,
    ) -> BoxFuture<'a, Response<ResponseBody>> {
        let response = match reviews::issuer_document(request.uri.path(), &self.0) {
            Some(document) => respond::json_value(&document),
            None => respond::error(request, &ApiError::path_not_found()),
        };
        std::future::ready(response).boxed()
    }
}

#[cfg(test)]
mod tests;
