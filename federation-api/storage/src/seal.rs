//! Encryption at rest: values under chosen prefixes reach the disk sealed only.
//!
//! AES-256-GCM with a random nonce per version; key and revision of the version are authenticated with it, so that
//! sealed values cannot be exchanged on disk. Names of keys are not hidden. The key file holds one key per line in
//! hexadecimal digits: the first seals, every one opens, so a new key is put first and the old one kept.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest, rand,
};

use crate::{OpenError, Revision};

/// Length of a key in bytes.
const KEY: usize = 32;
/// Length of a key's id, which stands before each sealed value.
const ID: usize = 8;

/// Which values are sealed on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// None; sealed ones cannot be read.
    Off,
    /// Those whose key has one of `prefixes`.
    Prefixes {
        prefixes: Vec<String>,
        /// `key` in the data directory, made at first start, when left out.
        key_file: Option<PathBuf>,
    },
}

/// Seals and opens values.
pub(crate) struct Sealer {
    prefixes: Vec<String>,
    keys: Vec<([u8; ID], RandomizedNonceKey)>,
}

/// Why a sealed value cannot be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("it is not the key that the store was sealed with (wanted id {0})")]
    WrongKey(String),
    #[error("the store is sealed and encryption is off")]
    Off,
    #[error("the sealed value of `{0}` is damaged")]
    Damaged(String),
}

impl Sealer {
    /// The sealer of a store in `dir`. A key file is made only for a store that is `new`: for an old one its absence
    /// means that the key is lost, and a fresh one would hide that.
    pub(crate) fn load(dir: &Path, encryption: &Encryption, new: bool) -> Result<Self, OpenError> {
        let Encryption::Prefixes { prefixes, key_file } = encryption else {
            return Ok(Self { prefixes: Vec::new(), keys: Vec::new() });
        };
        let path = key_path(dir, encryption);
        let refuse = |reason: String| OpenError::Key { path: path.display().to_string(), reason };
        if new && key_file.is_none() && !path.exists() {
            make_key(dir, &path).map_err(|error| refuse(error.to_string()))?;
        }
        let text = fs::read_to_string(&path).map_err(|error| refuse(error.to_string()))?;
        if fs::metadata(&path).is_ok_and(|file| file.mode() & 0o007 != 0) {
            tracing::warn!(path = %path.display(), "the encryption key is open to every user");
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Option<Vec<_>> = lines.map(parse_key).collect();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Self { prefixes: prefixes.clone(), keys }),
            _ => Err(refuse(format!("wanted lines of {} hexadecimal digits", KEY * 2))),
        }
    }

    /// Whether the value at `key` is to be sealed.
    pub(crate) fn covers(&self, key: &str) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))
    }

    /// The id of the key that seals.
    pub(crate) fn id(&self) -> Option<[u8; ID]> {
        self.keys.first().map(|(id, _)| *id)
    }

    /// Whether it opens what the key with `id` sealed.
    pub(crate) fn knows(&self, id: &[u8]) -> bool {
        self.keys.iter().any(|(known, _)| known == id)
    }

    /// Appends `value` to `to`, sealed: id, nonce, ciphertext, tag.
    pub(crate) fn seal(
        &self,
        key: &str,
        revision: Revision,
        value: &[u8],
        to: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let (id, cipher) = self.keys.first().ok_or(SealError::Off)?;
        let mut sealed = value.to_vec();
        let nonce = cipher
            .seal_in_place_append_tag(Aad::from(context(key, revision)), &mut sealed)
            .map_err(|_| SealError::Damaged(key.to_owned()))?;
        to.extend_from_slice(id);
        to.extend_from_slice(nonce.as_ref());
        to.extend_from_slice(&sealed);
        Ok(())
    }

    /// The value that was sealed.
    pub(crate) fn open(
        &self,
        key: &str,
        revision: Revision,
        sealed: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let damaged = || SealError::Damaged(key.to_owned());
        let (wanted, rest) = sealed.split_at_checked(ID).ok_or_else(damaged)?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        if self.keys.is_empty() {
            return Err(SealError::Off);
        }
        let Some((_, cipher)) = self.keys.iter().find(|(id, _)| id == wanted) else {
            return Err(SealError::WrongKey(hex(wanted)));
        };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut value = rest.to_vec();
        let length = cipher
            .open_in_place(nonce, Aad::from(context(key, revision)), &mut value)
            .map_err(|_| damaged())?
            .len();
        value.truncate(length);
        Ok(value)
    }
}

/// The key file in use.
pub(crate) fn key_path(dir: &Path, encryption: &Encryption) -> PathBuf {
    match encryption {
        Encryption::Prefixes { key_file: Some(path), .. } => path.clone(),
        Encryption::Prefixes { key_file: None, .. } | Encryption::Off => dir.join("key"),
    }
}

/// What is authenticated with a value: its place.
fn context(key: &str, revision: Revision) -> Vec<u8> {
    [&revision.0.to_le_bytes(), key.as_bytes()].concat()
}

fn make_key(dir: &Path, path: &Path) -> io::Result<()> {
    let mut bytes = [0; KEY];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    let draft = dir.join("key.new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", hex(&bytes))?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(dir)?.sync_all()
}

fn parse_key(line: &str) -> Option<([u8; ID], RandomizedNonceKey)> {
    let digits = line.as_bytes();
    if digits.len() != KEY * 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let bytes: Vec<u8> = (0..KEY)
        .map(|at| u8::from_str_radix(&line[at * 2..at * 2 + 2], 16))
        .collect::<Result<_, _>>()
        .ok()?;
    // The id tells keys apart and must not tell anything else about them.
    let digest = digest::digest(&digest::SHA256, &[b"key id ", &bytes[..]].concat());
    let id = digest.as_ref().first_chunk::<ID>().copied()?;
    Some((id, RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(key_file: Option<PathBuf>) -> Encryption {
        Encryption::Prefixes { prefixes: vec!["/secrets/".into()], key_file }
    }

    fn sealed(sealer: &Sealer, key: &str, revision: u64, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        sealer.seal(key, Revision(revision), value, &mut out).unwrap();
        out
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Sealer::load(dir.path(), &on(None), true).unwrap();
        assert!(sealer.covers("/secrets/a") && !sealer.covers("/maps/a"));
        let bytes = sealed(&sealer, "/secrets/a", 7, b"hush");
        assert!(!bytes.windows(4).any(|window| window == b"hush"));
        assert_ne!(bytes, sealed(&sealer, "/secrets/a", 7, b"hush"), "nonces repeat");
        assert_eq!(sealer.open("/secrets/a", Revision(7), &bytes).unwrap(), b"hush");
        let damaged = |key: &str| Err(SealError::Damaged(key.to_owned()));
        assert_eq!(sealer.open("/secrets/b", Revision(7), &bytes), damaged("/secrets/b"));
        assert_eq!(sealer.open("/secrets/a", Revision(8), &bytes), damaged("/secrets/a"));
        assert_eq!(sealer.open("/secrets/a", Revision(7), &bytes[..9]), damaged("/secrets/a"));
        for at in ID..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(sealer.open("/secrets/a", Revision(7), &flipped), damaged("/secrets/a"));
        }
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Sealer::load(dir.path(), &on(None), true).unwrap();
        let mode = fs::metadata(dir.path().join("key")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let bytes = sealed(&first, "/secrets/a", 1, b"hush");
        let again = Sealer::load(dir.path(), &on(None), true).unwrap();
        assert_eq!(again.open("/secrets/a", Revision(1), &bytes).unwrap(), b"hush");
    }

    #[test]
    fn an_old_store_without_its_key_gets_no_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let refused = Sealer::load(dir.path(), &on(None), false).err().unwrap();
        assert!(matches!(refused, OpenError::Key { .. }), "{refused}");
        assert!(!dir.path().join("key").exists());
    }

    #[test]
    fn a_second_key_in_the_file_still_opens() {
        let dir = tempfile::tempdir().unwrap();
        let old = Sealer::load(dir.path(), &on(None), true).unwrap();
        let bytes = sealed(&old, "/secrets/a", 1, b"hush");
        let path = dir.path().join("keys");
        let line = fs::read_to_string(dir.path().join("key")).unwrap();
        fs::write(&path, format!("{}\n{line}", "0f".repeat(KEY))).unwrap();
        let rotated = Sealer::load(dir.path(), &on(Some(path.clone())), false).unwrap();
        assert_eq!(rotated.open("/secrets/a", Revision(1), &bytes).unwrap(), b"hush");
        let bytes = sealed(&rotated, "/secrets/a", 2, b"hush");
        assert!(matches!(old.open("/secrets/a", Revision(2), &bytes), Err(SealError::WrongKey(_))));
        fs::write(&path, "not a key").unwrap();
        assert!(Sealer::load(dir.path(), &on(Some(path)), false).is_err());
    }
}
