//! Runs the exec plug-in of a kubeconfig: only by an absolute path on the server's list, with an empty environment, and
//! not for ever (RULES 4.8).

use std::{
    io::IsTerminal as _,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use tokio::process::Command;

use crate::connection::ConnectError;

#[derive(Deserialize)]
struct Credential {
    status: Option<CredentialStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialStatus {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Puts what the plug-in answers into `auth`, and says when it expires (RFC 3339).
pub(crate) async fn authenticate(
    exec: &ExecConfig,
    allowed: &[String],
    timeout: Duration,
    auth: &mut AuthInfo,
) -> Result<Option<String>, ConnectError> {
    let field = "user.exec.command";
    let command =
        exec.command.as_deref().ok_or_else(|| ConnectError::field(field, "is not set"))?;
    if !Path::new(command).is_absolute() || !allowed.iter().any(|it| it == command) {
        let why = format!("`{command}` is not an absolute path on this server's list");
        return Err(ConnectError::field(field, why));
    }
    let api_version = exec.api_version.as_deref().unwrap_or("client.authentication.k8s.io/v1");
    let info = serde_json::json!({
        "apiVersion": api_version, "kind": "ExecCredential", "spec": {"interactive": false},
    });
    let mut process = Command::new(command);
    process
        .args(exec.args.iter().flatten())
        .env_clear()
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    for pair in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (pair.get("name"), pair.get("value")) {
            process.env(name, value);
        }
    }
    let plugin = |why: String| ConnectError::Plugin { command: command.to_owned(), why };
    let output = tokio::time::timeout(timeout, process.output())
        .await
        .map_err(|_| plugin(format!("did not end within {} s", timeout.as_secs())))?
        .map_err(|error| plugin(error.to_string()))?;
    accept(command, &output, auth)
}

/// Runs the plug-in as the user's own kubectl would: found on the path, in the caller's environment, free to ask and to
/// speak. Only ever at the command line, with the user's own kubeconfig.
pub(crate) async fn authenticate_as_user(
    exec: &ExecConfig,
    cluster: &kube::config::Cluster,
    auth: &mut AuthInfo,
) -> Result<Option<String>, ConnectError> {
    let field = "user.exec.command";
    let command =
        exec.command.as_deref().ok_or_else(|| ConnectError::field(field, "is not set"))?;
    let interactive =
        exec.interactive_mode != Some(ExecInteractiveMode::Never) && std::io::stdin().is_terminal();
    let mut info = serde_json::json!({
        "apiVersion": exec.api_version.as_deref().unwrap_or("client.authentication.k8s.io/v1"),
        "kind": "ExecCredential",
        "spec": {"interactive": interactive},
    });
    if exec.provide_cluster_info {
        info["spec"]["cluster"] = serde_json::json!({
            "server": cluster.server,
            "certificate-authority-data": cluster.certificate_authority_data,
            "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify.unwrap_or(false),
            "tls-server-name": cluster.tls_server_name,
        });
    }
    let mut process = Command::new(command);
    process
        .args(exec.args.iter().flatten())
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(if interactive { Stdio::inherit() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    for pair in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (pair.get("name"), pair.get("value")) {
            process.env(name, value);
        }
    }
    let output = process.output().await.map_err(|error| {
        let hint = exec.install_hint.as_deref().map(|it| format!(" ({it})")).unwrap_or_default();
        ConnectError::Plugin {
            command: command.to_owned(),
            why: format!("does not run: {error}{hint}"),
        }
    })?;
    accept(command, &output, auth)
}

/// Takes the credential that a plug-in printed.
fn accept(
    command: &str,
    output: &Output,
    auth: &mut AuthInfo,
) -> Result<Option<String>, ConnectError> {
    let plugin = |why: String| ConnectError::Plugin { command: command.to_owned(), why };
    if !output.status.success() {
        return Err(plugin(format!("ended with {}", output.status)));
    }
    let credential: Credential = serde_norway::from_slice(&output.stdout)
        .map_err(|_| plugin("did not print an ExecCredential".to_owned()))?;
    let status = credential.status.unwrap_or_default();
    match (status.token, status.client_certificate_data, status.client_key_data) {
        (Some(token), ..) => auth.token = Some(token.into()),
        (None, Some(certificate), Some(key)) => {
            auth.client_certificate_data = Some(STANDARD.encode(certificate));
            auth.client_key_data = Some(STANDARD.encode(key).into());
        }
        _ => return Err(plugin("gave neither a token nor a certificate".to_owned())),
    }
    Ok(status.expiration_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(command: &str, args: &[&str], allowed: &[&str]) -> Result<String, String> {
        let exec: ExecConfig = serde_json::from_value(serde_json::json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": args,
        }))
        .expect("an exec configuration");
        let allowed: Vec<String> = allowed.iter().map(|it| (*it).to_owned()).collect();
        let mut auth = AuthInfo::default();
        authenticate(&exec, &allowed, Duration::from_millis(500), &mut auth)
            .await
            .map_err(|error| error.to_string())?;
        let value = serde_json::to_value(&auth).expect("serialises");
        Ok(value["token"].as_str().unwrap_or_default().to_owned())
    }

    #[tokio::test]
    async fn rule_4_8_a_plug_in_runs_only_by_the_list_with_an_empty_environment_and_in_time() {
        let print = r#"printf '{"status":{"token":"t%s"}}' "$HOME""#;
        assert_eq!(run("/bin/sh", &["-c", print], &["/bin/sh"]).await.as_deref(), Ok("t"));
        let refused = run("/bin/sh", &["-c", print], &[]).await.expect_err("not listed");
        assert!(refused.contains("user.exec.command"), "{refused}");
        let relative = run("sh", &[], &["sh"]).await.expect_err("relative");
        assert!(relative.contains("absolute"), "{relative}");
        let slow = run("/bin/sh", &["-c", "sleep 30"], &["/bin/sh"]).await.expect_err("slow");
        assert!(slow.contains("did not end"), "{slow}");
        let odd = run("/bin/sh", &["-c", "echo '{}'"], &["/bin/sh"]).await.expect_err("odd");
        assert!(odd.contains("neither"), "{odd}");
    }
}
