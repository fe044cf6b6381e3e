//! The connection to a member: HTTP/2 with keep-alive, one connection for watches and one for the rest, so that a
//! long list never stands in the way of an event.

use std::{fmt, time::Duration};

use http::Request;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client as HttpClient,
        connect::{Connect, HttpConnector, proxy::Tunnel},
    },
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _},
};
use tower::{BoxError, ServiceBuilder, timeout::TimeoutLayer};

use crate::{exec, kubeconfig::Endpoint};

/// How connections are made: the server's own settings, never a kubeconfig's.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Absolute paths of the exec plug-ins that may run.
    pub allowed_exec: Vec<String>,
    pub exec_timeout: Duration,
    pub connect_timeout: Duration,
    /// Until the head of an answer, on the connection that is not for watches.
    pub request_timeout: Duration,
    /// A ping after so much silence, and as long again until the connection counts as lost.
    pub keep_alive: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            allowed_exec: Vec::new(),
            exec_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(15),
            keep_alive: Duration::from_secs(10),
        }
    }
}

/// Why a member cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("kubeconfig field `{field}`: {why}")]
    Field { field: String, why: String },
    #[error("exec plug-in `{command}` {why}")]
    Plugin { command: String, why: String },
    #[error("`{server}` refused the connection: {why}")]
    Refused { server: String, why: String },
    #[error("`{server}` did not answer in time")]
    Timeout { server: String },
    #[error("TLS with `{server}` failed: {why}")]
    Tls { server: String, why: String },
    #[error("`{server}` does not accept the credentials: {why}")]
    Unauthorised { server: String, why: String },
    #[error("`{server}` answered {code}: {why}")]
    Unhealthy { server: String, code: u16, why: String },
}

impl ConnectError {
    pub(crate) fn field(field: &str, why: impl fmt::Display) -> Self {
        Self::Field { field: field.to_owned(), why: why.to_string() }
    }

    /// Sorts what a request to a member came back with.
    pub fn from_request(server: &str, error: &kube::Error) -> Self {
        let server = server.to_owned();
        if let kube::Error::Api(status) = error {
            let (code, why) = (status.code, status.message.clone());
            return match code {
                401 | 403 => Self::Unauthorised { server, why },
                _ => Self::Unhealthy { server, code, why },
            };
        }
        let why = causes(error);
        let lower = why.to_lowercase();
        if lower.contains("timed out") || lower.contains("timeout") || lower.contains("deadline") {
            Self::Timeout { server }
        } else if ["certificate", "tls", "handshake", "unknownissuer", "corrupt message"]
            .iter()
            .any(|it| lower.contains(it))
        {
            Self::Tls { server, why }
        } else {
            Self::Refused { server, why }
        }
    }

    /// A reason code of [`federation_types::reason::cluster`].
    pub fn reason(&self) -> &'static str {
        use federation_types::reason::cluster as reason;
        match self {
            Self::Field { .. } | Self::Plugin { .. } => reason::CREDENTIALS_INVALID,
            Self::Unauthorised { .. } => reason::UNAUTHORIZED,
            Self::Refused { .. } | Self::Timeout { .. } | Self::Tls { .. } => reason::UNREACHABLE,
            Self::Unhealthy { .. } => reason::UNHEALTHY,
        }
    }
}

/// The innermost causes say what happened; the outer ones only where.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

/// Two clients of one member.
#[derive(Clone)]
pub struct MemberClient {
    watch: Client,
    rest: Client,
    server: String,
    expires: Option<String>,
}

impl fmt::Debug for MemberClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberClient").field("server", &self.server).finish_non_exhaustive()
    }
}

impl MemberClient {
    /// Connects with the current context of a kubeconfig, and asks for the version to see whether that works.
    pub async fn connect(
        kubeconfig: &[u8],
        options: &ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let client = Self::prepare(kubeconfig, options).await?;
        client
            .rest
            .apiserver_version()
            .await
            .map_err(|error| ConnectError::from_request(&client.server, &error))?;
        Ok(client)
    }

    /// The same without a first request; an exec plug-in does run.
    pub async fn prepare(
        kubeconfig: &[u8],
        options: &ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let mut endpoint = Endpoint::parse(kubeconfig)?;
        let mut expires = None;
        if let Some(plugin) = endpoint.exec.take() {
            expires = exec::authenticate(
                &plugin,
                &options.allowed_exec,
                options.exec_timeout,
                &mut endpoint.auth,
            )
            .await?;
        }
        let mut config = Config::new(endpoint.server.clone());
        config.root_cert = endpoint.roots;
        config.accept_invalid_certs = endpoint.insecure;
        config.tls_server_name = endpoint.server_name;
        config.auth_info = endpoint.auth;
        config.connect_timeout = Some(options.connect_timeout);

        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = |timeout| match &endpoint.proxy {
            None => stack(&config, http_connector(options), options, timeout),
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.clone(), http_connector(options));
                stack(&config, tunnel, options, timeout)
            }
        };
        Ok(Self {
            watch: client(None)?,
            rest: client(Some(options.request_timeout))?,
            server: endpoint.server.to_string(),
            expires,
        })
    }

    /// Around a client that exists: a member in this process.
    pub fn around(client: Client, name: &str) -> Self {
        Self { watch: client.clone(), rest: client, server: name.to_owned(), expires: None }
    }

    /// For watches: no request on it ends by time.
    pub fn watch(&self) -> &Client {
        &self.watch
    }

    /// For everything else.
    pub fn rest(&self) -> &Client {
        &self.rest
    }

    /// Where it is, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// RFC 3339; when the credentials of an exec plug-in end and a new connection is due.
    pub fn expires(&self) -> Option<&str> {
        self.expires.as_deref()
    }
}

fn http_connector(options: &ConnectOptions) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(options.connect_timeout));
    connector
}

fn stack<C>(
    config: &Config,
    connector: C,
    options: &ConnectOptions,
    timeout: Option<Duration>,
) -> Result<Client, ConnectError>
where
    C: tower::Service<http::Uri> + Clone + Send + Sync + 'static,
    C::Response: hyper::rt::Read
        + hyper::rt::Write
        + hyper_util::client::legacy::connect::Connection
        + Unpin
        + Send
        + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
    hyper_rustls::HttpsConnector<C>: Connect,
{
    let tls = config
        .rustls_client_config()
        .map_err(|error| ConnectError::field("user or cluster certificates", causes(&error)))?;
    let mut https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name
            .clone()
            .try_into()
            .map_err(|error| ConnectError::field("cluster.tls-server-name", error))?;
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let https = https.enable_all_versions().wrap_connector(connector);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(options.keep_alive)
        .http2_keep_alive_timeout(options.keep_alive)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(1 << 20)
        .http2_initial_connection_window_size(4 << 20)
        .build(https);
    let auth = config.auth_layer().map_err(|error| ConnectError::field("user", causes(&error)))?;
    let service = ServiceBuilder::new()
        .option_layer(timeout.map(TimeoutLayer::new))
        .map_err(BoxError::from)
        .layer(config.base_uri_layer())
        .option_layer(auth)
        .map_err(BoxError::from)
        .service(http);
    let service =
        ServiceBuilder::new().map_request(|request: Request<Body>| request).service(service);
    Ok(Client::new(service, config.default_namespace.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_port_is_refused_and_a_silent_one_times_out() {
        let options =
            ConnectOptions { request_timeout: Duration::from_millis(200), ..Default::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let kubeconfig = |port: u16| {
            format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
                 contexts: [{{name: c, context: {{cluster: k}}}}]\n\
                 clusters: [{{name: k, cluster: {{server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true}}}}]\n"
            )
        };
        // Bound and never accepted: the handshake gets no answer.
        let silent = MemberClient::connect(kubeconfig(port).as_bytes(), &options).await;
        assert!(matches!(silent, Err(ConnectError::Timeout { .. })), "{silent:?}");
        drop(listener);
        let closed = MemberClient::connect(kubeconfig(port).as_bytes(), &options).await;
        assert!(matches!(closed, Err(ConnectError::Refused { .. })), "{closed:?}");
    }
}
