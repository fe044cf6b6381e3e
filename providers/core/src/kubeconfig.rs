//! Reads a kubeconfig into one endpoint, and names the field where that is not possible.
//!
//! The process environment never counts: a proxy comes from the kubeconfig or there is none, and files are never
//! opened, as the kubeconfig lies in a Secret of the hub and the hub's files are none of its author's business.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Uri;
use kube::config::{AuthInfo, Cluster, ExecConfig, Kubeconfig};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::connection::ConnectError;

/// One context of a kubeconfig, checked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub server: Uri,
    pub(crate) proxy: Option<Uri>,
    pub(crate) roots: Option<Vec<Vec<u8>>>,
    pub(crate) insecure: bool,
    pub(crate) server_name: Option<String>,
    pub(crate) auth: AuthInfo,
    pub(crate) exec: Option<ExecConfig>,
}

impl Endpoint {
    /// The current context of the kubeconfig.
    pub fn parse(kubeconfig: &[u8]) -> Result<Self, ConnectError> {
        let text = std::str::from_utf8(kubeconfig)
            .map_err(|error| ConnectError::field("kubeconfig", error))?;
        let config = Kubeconfig::from_yaml(text)
            .map_err(|error| ConnectError::field("kubeconfig", error))?;
        let name = config
            .current_context
            .as_deref()
            .filter(|it| !it.is_empty())
            .ok_or_else(|| ConnectError::field("current-context", "is not set"))?;
        let context = config
            .contexts
            .iter()
            .find(|it| it.name == name)
            .and_then(|it| it.context.as_ref())
            .ok_or_else(|| ConnectError::field("contexts", format!("has no context `{name}`")))?;
        let cluster = config
            .clusters
            .iter()
            .find(|it| it.name == context.cluster)
            .and_then(|it| it.cluster.as_ref())
            .ok_or_else(|| {
                ConnectError::field("clusters", format!("has no cluster `{}`", context.cluster))
            })?;
        let user = match context.user.as_deref().filter(|it| !it.is_empty()) {
            None => AuthInfo::default(),
            Some(user) => config
                .auth_infos
                .iter()
                .find(|it| it.name == user)
                .and_then(|it| it.auth_info.clone())
                .ok_or_else(|| ConnectError::field("users", format!("has no user `{user}`")))?,
        };
        Self::from_parts(cluster, user)
    }

    fn from_parts(cluster: &Cluster, mut auth: AuthInfo) -> Result<Self, ConnectError> {
        let server = cluster
            .server
            .as_deref()
            .ok_or_else(|| ConnectError::field("cluster.server", "is not set"))?;
        let server: Uri =
            server.parse().map_err(|error| ConnectError::field("cluster.server", error))?;
        if !matches!(server.scheme_str(), Some("https" | "http")) || server.host().is_none() {
            return Err(ConnectError::field("cluster.server", "is no http(s) address"));
        }
        let proxy = match cluster.proxy_url.as_deref().filter(|it| !it.is_empty()) {
            None => None,
            Some(url) => {
                let uri: Uri =
                    url.parse().map_err(|error| ConnectError::field("cluster.proxy-url", error))?;
                if uri.scheme_str() != Some("http") {
                    return Err(ConnectError::field(
                        "cluster.proxy-url",
                        "only http:// is supported",
                    ));
                }
                Some(uri)
            }
        };
        let file = [
            ("cluster.certificate-authority", &cluster.certificate_authority),
            ("user.tokenFile", &auth.token_file),
            ("user.client-certificate", &auth.client_certificate),
            ("user.client-key", &auth.client_key),
        ];
        if let Some((field, _)) = file.iter().find(|(_, it)| it.is_some()) {
            return Err(ConnectError::field(field, "names a file; give the data itself"));
        }
        if let Some(provider) = &auth.auth_provider {
            let why = format!("`{}` is not supported; use an exec plug-in", provider.name);
            return Err(ConnectError::field("user.auth-provider", why));
        }
        if let Some(data) = &auth.client_certificate_data {
            STANDARD
                .decode(data)
                .map_err(|error| ConnectError::field("user.client-certificate-data", error))?;
        }
        let exec = auth.exec.take();
        Ok(Self {
            server,
            proxy,
            roots: cluster.certificate_authority_data.as_deref().map(roots).transpose()?,
            insecure: cluster.insecure_skip_tls_verify.unwrap_or(false),
            server_name: cluster.tls_server_name.clone(),
            auth,
            exec,
        })
    }
}

fn roots(data: &str) -> Result<Vec<Vec<u8>>, ConnectError> {
    let field = "cluster.certificate-authority-data";
    let pem = STANDARD.decode(data).map_err(|error| ConnectError::field(field, error))?;
    let roots: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(&pem)
        .map(|it| it.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| ConnectError::field(field, error))?;
    if roots.is_empty() {
        return Err(ConnectError::field(field, "holds no certificate"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{{cluster}}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n"
        )
    }

    #[track_caller]
    fn refused(cluster: &str, user: &str) -> String {
        Endpoint::parse(kubeconfig(cluster, user).as_bytes()).expect_err("refused").to_string()
    }

    #[test]
    fn a_token_and_a_server_are_enough() {
        let text = kubeconfig("server: 'https://127.0.0.1:6443'", "token: abc");
        let endpoint = Endpoint::parse(text.as_bytes()).expect("parses");
        assert_eq!(endpoint.server.port_u16(), Some(6443));
        assert!(endpoint.proxy.is_none() && endpoint.exec.is_none());
    }

    #[test]
    fn the_wrong_field_is_named() {
        let check = |cluster: &str, user: &str, field: &str| {
            let message = refused(cluster, user);
            assert!(message.contains(field), "{message}");
        };
        let server = "server: 'https://a:1'";
        check("server: ''", "token: a", "cluster.server");
        check("server: 'ftp://a'", "token: a", "cluster.server");
        check(&format!("{server}, certificate-authority: /etc/ca"), "", "certificate-authority");
        check(&format!("{server}, certificate-authority-data: '%%'"), "", "authority-data");
        check(&format!("{server}, certificate-authority-data: aGk="), "", "no certificate");
        check(&format!("{server}, proxy-url: 'socks5://p:1'"), "", "proxy-url");
        check(server, "tokenFile: /etc/passwd", "user.tokenFile");
        check(server, "auth-provider: {name: gcp, config: {}}", "auth-provider");
        let no_context = b"apiVersion: v1\nkind: Config\n";
        let message = Endpoint::parse(no_context).expect_err("refused").to_string();
        assert!(message.contains("current-context"), "{message}");
    }
}
