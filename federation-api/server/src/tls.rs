//! TLS of the API: our serving certificate, client certificates of our authority, and who a certificate is.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::RwLock;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::CertificateDer,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{identity::Identity, pki::Pki};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificates cannot be read")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("the certificates cannot be used")]
    Rustls(#[from] rustls::Error),
    #[error("the certificate authority cannot verify clients")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The certificate that new connections get; replaced when it is renewed, without touching those that are open.
pub struct ServingCertificate(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for ServingCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServingCertificate").finish_non_exhaustive()
    }
}

impl ServingCertificate {
    /// The serving certificate of `pki`.
    pub fn new(pki: &Pki) -> Result<Self, TlsError> {
        Ok(Self(RwLock::new(certified(pki)?)))
    }

    /// Takes up the renewed certificate of `pki`.
    pub fn replace(&self, pki: &Pki) -> Result<(), TlsError> {
        *self.0.write() = certified(pki)?;
        Ok(())
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

/// TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1; client certificates are optional and only those of our authority count.
pub fn server_config(
    pki: &Pki,
    certificate: Arc<ServingCertificate>,
) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    for root in rustls_pem(pki.ca_certificate())? {
        roots.add(root)?;
    }
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Who a verified client certificate is, and until when.
#[derive(Clone, Debug)]
pub struct Peer {
    pub identity: Identity,
    /// A connection may outlive its certificate; its rights do not.
    pub expires: SystemTime,
}

/// CN is the user, each O a group. `None` when the certificate names nobody.
pub fn peer(certificate: &CertificateDer<'_>) -> Option<Peer> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        attribute.as_str().ok().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let user = subject.iter_common_name().next().and_then(text)?;
    let mut groups: Vec<String> = subject.iter_organization().filter_map(text).collect();
    groups.push("system:authenticated".to_owned());
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(Peer {
        identity: Identity { user, groups, ..Identity::default() },
        expires: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
    })
}

fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone)
}

fn certified(pki: &Pki) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = pki.serving.chain()?;
    let key = pki.serving.private_key()?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}

fn rustls_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::pem_slice_iter(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_its_common_name_and_organisation() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let pki = Pki::open(dir.path(), &[], now).unwrap();
        let pair = pki.issue_client("jane", Some("team-a"), now).unwrap();
        let peer = peer(&pair.chain().unwrap()[0]).unwrap();
        assert_eq!(peer.identity.user, "jane");
        assert_eq!(peer.identity.groups, ["team-a", "system:authenticated"]);
        assert!(peer.expires > now);
    }

    #[test]
    fn a_renewed_certificate_is_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let mut pki = Pki::open(dir.path(), &[], now).unwrap();
        let certificate = Arc::new(ServingCertificate::new(&pki).unwrap());
        server_config(&pki, Arc::clone(&certificate)).unwrap();
        let before = certificate.0.read().cert[0].clone();
        assert!(pki.renew(now + Duration::from_secs(300 * 24 * 3600)).unwrap());
        certificate.replace(&pki).unwrap();
        assert_ne!(certificate.0.read().cert[0], before);
    }
}
