//! The certificates, keys and kubeconfig of one member cluster.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;

/// Why the credentials of a member could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PkiError {
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
}

/// The files that the components of a member are pointed at.
#[derive(Debug)]
pub(crate) struct Pki {
    pub(crate) ca_certificate: PathBuf,
    pub(crate) server_certificate: PathBuf,
    pub(crate) server_key: PathBuf,
    pub(crate) token_key: PathBuf,
    pub(crate) token_public_key: PathBuf,
    pub(crate) kubeconfig: PathBuf,
}

impl Pki {
    /// Makes a certificate authority of the member's own, and all that it signs.
    pub(crate) fn create(
        dir: &Path,
        member: &str,
        port: u16,
        service_ip: Ipv4Addr,
    ) -> Result<Self, PkiError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| PkiError::File { path: dir.to_owned(), error })?;
        let ca_key = KeyPair::generate()?;
        let mut params = named(&format!("{member}-ca"), None)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&ca_key)?;
        let issuer = Issuer::from_params(&params, &ca_key);

        let server_key = KeyPair::generate()?;
        let mut server = named("kube-apiserver", None)?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
            server.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
        for address in [Ipv4Addr::LOCALHOST, service_ip] {
            server.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(address)));
        }
        let server = server.signed_by(&server_key, &issuer)?;

        let admin_key = KeyPair::generate()?;
        let mut admin = named(&format!("{member}-admin"), Some("system:masters"))?;
        admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let admin = admin.signed_by(&admin_key, &issuer)?;

        let token_key = KeyPair::generate()?;
        let kubeconfig = kubeconfig(member, port, &ca.pem(), &admin.pem(), &admin_key);
        Ok(Self {
            ca_certificate: write(dir, "ca.crt", &ca.pem())?,
            server_certificate: write(dir, "server.crt", &server.pem())?,
            server_key: write(dir, "server.key", &server_key.serialize_pem())?,
            token_key: write(dir, "tokens.key", &token_key.serialize_pem())?,
            token_public_key: write(dir, "tokens.pub", &token_key.public_key_pem())?,
            kubeconfig: write(dir, "kubeconfig", &kubeconfig)?,
        })
    }
}

fn named(name: &str, organisation: Option<&str>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organisation) = organisation {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// JSON is YAML: every client reads it.
fn kubeconfig(member: &str, port: u16, ca: &str, certificate: &str, key: &KeyPair) -> String {
    let data = |pem: &str| STANDARD.encode(pem);
    let user = format!("{member}-admin");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": member,
        "contexts": [{"name": member, "context": {"cluster": member, "user": user}}],
        "clusters": [{"name": member, "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": data(ca),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": data(certificate),
            "client-key-data": data(&key.serialize_pem()),
        }}],
    });
    format!("{config:#}\n")
}

fn write(dir: &Path, name: &str, content: &str) -> Result<PathBuf, PkiError> {
    let path = dir.join(name);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .map_err(|error| PkiError::File { path: path.clone(), error })?;
    Ok(path)
}
