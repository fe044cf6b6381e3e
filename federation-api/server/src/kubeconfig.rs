//! The admin kubeconfig: credentials embedded, written by rename, readable by the owner alone.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{
    files::{self, FileError},
    pki::{ADMIN_USER, Pki},
};

/// Writes the admin kubeconfig for `server` (`https://127.0.0.1:6443`). Call it once `/readyz` answers 200: scripts
/// wait for this file.
pub fn write(path: &Path, server: &str, pki: &Pki) -> Result<(), FileError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        files::private_dir(parent)?;
    }
    files::write_private(path, render(server, pki).as_bytes())
}

/// The admin kubeconfig as text.
pub fn render(server: &str, pki: &Pki) -> String {
    let encode = |pem: &str| STANDARD.encode(pem);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "archipel", "cluster": {
            "server": server,
            "certificate-authority-data": encode(pki.ca_certificate()),
        }}],
        "users": [{"name": ADMIN_USER, "user": {
            "client-certificate-data": encode(&pki.admin.certificate),
            "client-key-data": encode(&pki.admin.key),
        }}],
        "contexts": [{"name": "archipel", "context": {"cluster": "archipel", "user": ADMIN_USER}}],
        "current-context": "archipel",
    });
    federation_types::yaml::to_string(&config).expect("a literal of strings is always written")
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, time::SystemTime};

    use super::*;

    #[test]
    fn the_kubeconfig_is_private_and_one_that_kube_reads() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(&dir.path().join("pki"), &[], SystemTime::now()).unwrap();
        let path = dir.path().join("out/kubeconfig");
        write(&path, "https://127.0.0.1:1", &pki).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = kube::config::Kubeconfig::read_from(&path).unwrap();
        assert_eq!(read.current_context.as_deref(), Some("archipel"));
        assert!(read.auth_infos[0].auth_info.as_ref().unwrap().client_key_data.is_some());
    }
}
