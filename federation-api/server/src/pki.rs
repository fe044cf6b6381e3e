//! The hub's own certificates and keys: made at first start, kept in `DATA_DIR/pki`, renewed before they expire.
//!
//! ```text
//! ca.pem ──signs──▶ serving.pem   (this server)
//!    └─────signs──▶ admin.pem     (O=archipel:admins, bound to cluster-admin by a bootstrap binding)
//! tokens.pem                      (signs ServiceAccount tokens)     hub-uid
//! ```
//!
//! Each file holds a certificate and its key together, so that no crash can part them.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::files::{self, FileError};

/// The group of the admin client certificate.
pub const ADMIN_GROUP: &str = "archipel:admins";
/// The user of the admin client certificate.
pub const ADMIN_USER: &str = "archipel-admin";

const DAY: Duration = Duration::from_secs(24 * 3600);
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const LEAF_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// A leaf is renewed while a quarter of its life is left, so that a daily look is never too late.
const LEAF_RENEWAL: Duration = Duration::from_secs(90 * 24 * 3600);
/// Clocks of clients may be behind ours.
const BACKDATED: Duration = Duration::from_secs(3600);

/// Why the certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{}` does not hold a certificate and its key: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("the certificate authority `{}` expires within a day: move the directory away to make a new one", path.display())]
    AuthorityExpired { path: PathBuf },
    #[error("a certificate could not be made")]
    Make(#[from] rcgen::Error),
}

/// A certificate and its private key, as PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for Pair {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// The hub's certificates and keys.
#[derive(Clone, Debug)]
pub struct Pki {
    dir: PathBuf,
    names: Vec<String>,
    authority: Pair,
    pub serving: Pair,
    pub admin: Pair,
    /// The key that signs ServiceAccount tokens, PEM.
    token_key: Pair,
    /// This hub, as it signs its copies in members. Never changes.
    pub hub_uid: String,
}

impl Pki {
    /// Reads the directory and makes what is missing in it. `names`: the host names and addresses, beyond the usual
    /// local ones, under which the server is reached.
    pub fn open(dir: &Path, names: &[String], now: SystemTime) -> Result<Self, PkiError> {
        files::private_dir(dir)?;
        let path = dir.join("ca.pem");
        let authority = match read_pair(&path)? {
            Some(pair) => pair,
            None => store(&path, make_authority(now)?)?,
        };
        if expires(&path, &authority)? < now + DAY {
            return Err(PkiError::AuthorityExpired { path });
        }
        let path = dir.join("tokens.pem");
        let token_key = match files::read_if_there(&path)? {
            Some(key) => key,
            None => {
                let key = KeyPair::generate()?.serialize_pem();
                files::write_private(&path, key.as_bytes())?;
                key
            }
        };
        let path = dir.join("hub-uid");
        let hub_uid = match files::read_if_there(&path)? {
            Some(uid) => uid.trim().to_owned(),
            None => {
                let uid = uuid::Uuid::new_v4().to_string();
                files::write_private(&path, uid.as_bytes())?;
                uid
            }
        };
        let public = KeyPair::from_pem(&token_key)
            .map_err(|error| PkiError::Malformed {
                path: dir.join("tokens.pem"),
                reason: error.to_string(),
            })?
            .public_key_pem();
        let empty = || Pair { certificate: String::new(), key: String::new() };
        let mut pki = Self {
            dir: dir.to_owned(),
            names: serving_names(names),
            authority,
            serving: empty(),
            admin: empty(),
            token_key: Pair { certificate: public, key: token_key },
            hub_uid,
        };
        pki.renew(now)?;
        Ok(pki)
    }

    /// Makes the serving and admin certificates anew where they are missing, close to their end, or name other hosts
    /// than they must. Says whether any was.
    pub fn renew(&mut self, now: SystemTime) -> Result<bool, PkiError> {
        let path = self.dir.join("serving.pem");
        let (serving, served_anew) = match read_pair(&path)? {
            Some(pair)
                if !self.is_due(&path, &pair, now)? && names_of(&path, &pair)? == self.names =>
            {
                (pair, false)
            }
            _ => (store(&path, self.make_serving(now)?)?, true),
        };
        let path = self.dir.join("admin.pem");
        let (admin, admin_anew) = match read_pair(&path)? {
            Some(pair) if !self.is_due(&path, &pair, now)? => (pair, false),
            _ => (store(&path, self.issue_client(ADMIN_USER, Some(ADMIN_GROUP), now)?)?, true),
        };
        (self.serving, self.admin) = (serving, admin);
        Ok(served_anew || admin_anew)
    }

    /// The certificate of our authority, PEM: what clients trust, and what `kube-root-ca.crt` holds.
    pub fn ca_certificate(&self) -> &str {
        &self.authority.certificate
    }

    /// The private and the public key of ServiceAccount tokens, PEM.
    pub fn token_keys(&self) -> (&str, &str) {
        (&self.token_key.key, &self.token_key.certificate)
    }

    /// A client certificate of our authority for a user, and one group if need be.
    pub fn issue_client(
        &self,
        user: &str,
        group: Option<&str>,
        now: SystemTime,
    ) -> Result<Pair, PkiError> {
        let mut params = leaf(user, now);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn make_serving(&self, now: SystemTime) -> Result<Pair, PkiError> {
        let mut params = leaf("archipel", now);
        for name in &self.names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Pair, PkiError> {
        let issuer = Issuer::from_ca_cert_pem(
            &self.authority.certificate,
            KeyPair::from_pem(&self.authority.key)?,
        )?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }

    /// Whether a leaf is close to its end, or was signed by another authority than ours.
    fn is_due(&self, path: &Path, pair: &Pair, now: SystemTime) -> Result<bool, PkiError> {
        let issuer = der(path, &self.authority)?;
        let leaf = der(path, pair)?;
        let (Ok((_, issuer)), Ok((_, leaf_cert))) =
            (X509Certificate::from_der(&issuer), X509Certificate::from_der(&leaf))
        else {
            return Ok(true);
        };
        Ok(leaf_cert.verify_signature(Some(issuer.public_key())).is_err()
            || expires(path, pair)? < now + LEAF_RENEWAL)
    }
}

impl Pair {
    /// The certificate chain for rustls.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect()
    }

    /// The private key for rustls.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, rustls::pki_types::pem::Error> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes())
    }
}

/// Where every hub can be reached, and where this one is, sorted.
fn serving_names(names: &[String]) -> Vec<String> {
    let usual = [
        "127.0.0.1",
        "::1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let mut all: Vec<String> = usual.into_iter().map(str::to_owned).collect();
    all.extend(
        names
            .iter()
            .filter(|name| !name.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()))
            .cloned(),
    );
    all.sort();
    all.dedup();
    all
}

fn make_authority(now: SystemTime) -> Result<Pair, PkiError> {
    let mut params = leaf("archipel-ca", now);
    params.not_after = (now + CA_LIFE).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

fn leaf(common_name: &str, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + LEAF_LIFE).into();
    params.serial_number = Some(SerialNumber::from_slice(uuid::Uuid::new_v4().as_bytes()));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn store(path: &Path, pair: Pair) -> Result<Pair, PkiError> {
    files::write_private(path, format!("{}{}", pair.certificate, pair.key).as_bytes())?;
    Ok(pair)
}

fn read_pair(path: &Path) -> Result<Option<Pair>, PkiError> {
    let Some(text) = files::read_if_there(path)? else { return Ok(None) };
    let Some(at) = text.find("-----BEGIN PRIVATE KEY-----") else {
        return Err(malformed(path, &"there is no private key"));
    };
    let pair = Pair { certificate: text[..at].to_owned(), key: text[at..].to_owned() };
    der(path, &pair)?;
    pair.private_key().map_err(|error| malformed(path, &error))?;
    Ok(Some(pair))
}

fn der(path: &Path, pair: &Pair) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pair.certificate.as_bytes())
        .map_err(|error| malformed(path, &error))
}

fn expires(path: &Path, pair: &Pair) -> Result<SystemTime, PkiError> {
    let der = der(path, pair)?;
    let (_, certificate) =
        X509Certificate::from_der(&der).map_err(|error| malformed(path, &error))?;
    let seconds = certificate.validity().not_after.timestamp();
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The names that a serving certificate is good for, sorted.
fn names_of(path: &Path, pair: &Pair) -> Result<Vec<String>, PkiError> {
    let der = der(path, pair)?;
    let (_, certificate) =
        X509Certificate::from_der(&der).map_err(|error| malformed(path, &error))?;
    let mut names = Vec::new();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    if let Ok(octets) = <[u8; 4]>::try_from(*bytes) {
                        names.push(IpAddr::from(octets).to_string());
                    } else if let Ok(octets) = <[u8; 16]>::try_from(*bytes) {
                        names.push(IpAddr::from(octets).to_string());
                    }
                }
                _ => {}
            }
        }
    }
    names.sort();
    Ok(names)
}

fn malformed(path: &Path, reason: &dyn std::fmt::Display) -> PkiError {
    PkiError::Malformed { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, names: &[&str], now: SystemTime) -> Pki {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Pki::open(dir, &names, now).unwrap()
    }

    #[test]
    fn a_second_start_finds_what_the_first_one_made() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = open(dir.path(), &["10.0.0.7", "hub.example"], now);
        let second = open(dir.path(), &["10.0.0.7", "hub.example"], now + DAY);
        assert_eq!(first.ca_certificate(), second.ca_certificate());
        assert_eq!(first.serving.certificate, second.serving.certificate);
        assert_eq!(first.admin.key, second.admin.key);
        assert_eq!(first.token_keys(), second.token_keys());
        assert_eq!(first.hub_uid, second.hub_uid);
    }

    #[test]
    fn leaves_are_renewed_under_the_same_authority() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let mut pki = open(dir.path(), &[], now);
        let (authority, serving) =
            (pki.ca_certificate().to_owned(), pki.serving.certificate.clone());
        assert!(!pki.renew(now + 200 * DAY).unwrap());
        assert!(pki.renew(now + 280 * DAY).unwrap());
        assert_ne!(pki.serving.certificate, serving);
        assert_eq!(pki.ca_certificate(), authority);
    }

    #[test]
    fn a_new_name_makes_a_new_serving_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let before = open(dir.path(), &["0.0.0.0"], now);
        let after = open(dir.path(), &["hub.example"], now);
        assert_ne!(before.serving.certificate, after.serving.certificate);
        let names = names_of(dir.path(), &after.serving).unwrap();
        assert!(names.iter().any(|name| name == "hub.example"), "{names:?}");
        assert!(names.iter().any(|name| name == "::1"), "{names:?}");
        assert_eq!(before.admin.certificate, after.admin.certificate);
    }

    #[test]
    fn an_authority_at_its_end_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        open(dir.path(), &[], now);
        let error = Pki::open(dir.path(), &[], now + CA_LIFE).unwrap_err();
        assert!(matches!(error, PkiError::AuthorityExpired { .. }), "{error}");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        open(dir.path(), &[], now);
        std::fs::write(dir.path().join("ca.pem"), "nonsense").unwrap();
        let error = Pki::open(dir.path(), &[], now).unwrap_err();
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}
