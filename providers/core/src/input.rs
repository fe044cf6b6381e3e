//! The kubeconfig that a user gives at the command line: files that it names are read in, its exec plug-in runs as the
//! user's kubectl would run it, and what comes out stands on its own.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use serde_json::{Value, json};

use crate::{ConnectError, exec};

/// One context of a user's kubeconfig, without references to files.
#[derive(Clone, Debug)]
pub struct UserKubeconfig {
    cluster: Cluster,
    user: AuthInfo,
}

impl UserKubeconfig {
    /// Reads a context of the file; the current one if none is named.
    pub fn read(path: &Path, context: Option<&str>) -> Result<Self, ConnectError> {
        let config = Kubeconfig::read_from(path).map_err(|error| {
            ConnectError::field("kubeconfig", format!("{}: {error}", path.display()))
        })?;
        let current = config.current_context.as_deref().filter(|it| !it.is_empty());
        let name = context
            .or(current)
            .ok_or_else(|| ConnectError::field("current-context", "is not set; give --context"))?;
        let names = || {
            let names: Vec<&str> = config.contexts.iter().map(|it| it.name.as_str()).collect();
            names.join(", ")
        };
        let chosen = config
            .contexts
            .iter()
            .find(|it| it.name == name)
            .and_then(|it| it.context.as_ref())
            .ok_or_else(|| {
                ConnectError::field(
                    "contexts",
                    format!("has no context `{name}`, only: {}", names()),
                )
            })?;
        let mut cluster = config
            .clusters
            .iter()
            .find(|it| it.name == chosen.cluster)
            .and_then(|it| it.cluster.clone())
            .ok_or_else(|| {
                ConnectError::field("clusters", format!("has no cluster `{}`", chosen.cluster))
            })?;
        let mut user = match chosen.user.as_deref().filter(|it| !it.is_empty()) {
            None => AuthInfo::default(),
            Some(user) => config
                .auth_infos
                .iter()
                .find(|it| it.name == user)
                .and_then(|it| it.auth_info.clone())
                .ok_or_else(|| ConnectError::field("users", format!("has no user `{user}`")))?,
        };
        inline("cluster.certificate-authority", &mut cluster.certificate_authority, |data| {
            cluster.certificate_authority_data.get_or_insert_with(|| STANDARD.encode(data));
        })?;
        inline("user.client-certificate", &mut user.client_certificate, |data| {
            user.client_certificate_data.get_or_insert_with(|| STANDARD.encode(data));
        })?;
        inline("user.client-key", &mut user.client_key, |data| {
            user.client_key_data.get_or_insert_with(|| STANDARD.encode(data).into());
        })?;
        inline("user.tokenFile", &mut user.token_file, |data| {
            let token = String::from_utf8_lossy(&data).trim().to_owned();
            user.token.get_or_insert_with(|| token.into());
        })?;
        Ok(Self { cluster, user })
    }

    /// The address of the cluster.
    pub fn server(&self) -> &str {
        self.cluster.server.as_deref().unwrap_or_default()
    }

    /// A kubeconfig that works by itself for a while: a plug-in has been run, and its credential stands in it.
    pub async fn authenticated(&self) -> Result<Vec<u8>, ConnectError> {
        let mut user = self.user.clone();
        if let Some(plugin) = user.exec.take() {
            exec::authenticate_as_user(&plugin, &self.cluster, &mut user).await?;
        }
        Ok(render(&self.cluster, &serde_json::to_value(&user).unwrap_or_default()))
    }

    /// The same credentials for keeping. A plug-in stays a plug-in: the hub runs it, so it needs an absolute path.
    pub fn kept(&self) -> Result<Vec<u8>, ConnectError> {
        if let Some(plugin) = &self.user.exec {
            let command = plugin.command.as_deref().unwrap_or_default();
            if !Path::new(command).is_absolute() {
                let why =
                    format!("`{command}` must be an absolute path to be kept (--keep-credentials)");
                return Err(ConnectError::field("user.exec.command", why));
            }
        }
        Ok(render(&self.cluster, &serde_json::to_value(&self.user).unwrap_or_default()))
    }

    /// The same cluster with a token of our own.
    pub fn with_token(&self, token: &str) -> Vec<u8> {
        render(&self.cluster, &json!({"token": token}))
    }
}

/// Reads a referenced file, and forgets the reference.
fn inline(
    field: &str,
    reference: &mut Option<String>,
    mut set: impl FnMut(Vec<u8>),
) -> Result<(), ConnectError> {
    if let Some(path) = reference.take() {
        let data = std::fs::read(&path)
            .map_err(|error| ConnectError::field(field, format!("cannot read {path}: {error}")))?;
        set(data);
    }
    Ok(())
}

fn render(cluster: &Cluster, user: &Value) -> Vec<u8> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "member", "cluster": cluster}],
        "users": [{"name": "archipel", "user": user}],
        "contexts": [{"name": "member", "context": {"cluster": "member", "user": "archipel"}}],
        "current-context": "member",
    });
    federation_types::yaml::to_string(&config).expect("plain data is always written").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Endpoint;

    const CERTIFICATE: &str = "not looked at";

    fn write(dir: &Path, user: &str) -> std::path::PathBuf {
        fs::write(dir.join("ca.crt"), CERTIFICATE).unwrap();
        fs::write(dir.join("token"), "secret\n").unwrap();
        let path = dir.join("config");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             contexts:\n- {{name: a, context: {{cluster: k, user: u}}}}\n\
             - {{name: b, context: {{cluster: k, user: nobody}}}}\n\
             clusters: [{{name: k, cluster: {{server: 'https://127.0.0.1:1', certificate-authority: ca.crt}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n"
        );
        fs::write(&path, text).unwrap();
        path
    }

    fn value(kubeconfig: &[u8]) -> Value {
        serde_norway::from_slice(kubeconfig).unwrap()
    }

    #[tokio::test]
    async fn files_that_a_kubeconfig_names_are_read_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "tokenFile: token");
        let read = UserKubeconfig::read(&path, None).unwrap();
        let kubeconfig = value(&read.authenticated().await.unwrap());
        let cluster = &kubeconfig["clusters"][0]["cluster"];
        assert_eq!(cluster["certificate-authority-data"], STANDARD.encode(CERTIFICATE));
        assert!(cluster.get("certificate-authority").is_none(), "{cluster}");
        assert_eq!(kubeconfig["users"][0]["user"], json!({"token": "secret"}));
    }

    #[test]
    fn a_context_user_or_file_that_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "client-key: /no/such.key");
        let refused = |context: Option<&str>| {
            UserKubeconfig::read(&path, context).expect_err("refused").to_string()
        };
        assert!(refused(None).contains("user.client-key"), "{}", refused(None));
        assert!(refused(None).contains("/no/such.key"));
        assert!(refused(Some("c")).contains("only: a, b"), "{}", refused(Some("c")));
        assert!(refused(Some("b")).contains("nobody"), "{}", refused(Some("b")));
    }

    #[tokio::test]
    async fn rule_4_8_a_plug_in_runs_at_the_command_line_and_is_not_stored() {
        let dir = tempfile::tempdir().unwrap();
        let plugin = "exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never, \
                      args: ['-c', 'printf \"{\\\"status\\\":{\\\"token\\\":\\\"$GREETING\\\"}}\"'], \
                      env: [{name: GREETING, value: hello}]}";
        let path = write(dir.path(), plugin);
        let read = UserKubeconfig::read(&path, None).unwrap();
        let kubeconfig = value(&read.authenticated().await.unwrap());
        assert_eq!(kubeconfig["users"][0]["user"], json!({"token": "hello"}));
        let kept = read.kept().expect_err("a relative path is not kept").to_string();
        assert!(kept.contains("user.exec.command"), "{kept}");
        let own = read.with_token("t");
        assert!(!String::from_utf8(own).unwrap().contains("exec"));
    }

    #[test]
    fn what_is_kept_is_what_the_hub_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "token: abc");
        let read = UserKubeconfig::read(&path, None).unwrap();
        let error = Endpoint::parse(&read.with_token("t")).expect_err("no certificate").to_string();
        // Everything else was in order.
        assert!(error.contains("certificate-authority-data"), "{error}");
    }
}
