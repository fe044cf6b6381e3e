//! Finds the programs that `cargo xtask members` built.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Names the directory of the built programs, in place of the newest build in the cache.
const OVERRIDE: &str = "ARCHIPEL_MEMBER_BINARIES";

/// The programs of a member cluster and the stock clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The directory that holds all of them.
    pub dir: PathBuf,
    /// etcd, kube-apiserver, kube-controller-manager and kube-scheduler in one.
    pub members: PathBuf,
    /// The stand-in for kubelets.
    pub kwok: PathBuf,
    /// The stock client.
    pub kubectl: PathBuf,
    /// The stock package manager.
    pub helm: PathBuf,
    /// A Go program that uses a hub through client-go.
    pub client: PathBuf,
}

/// No complete build of the member programs is there.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("no member binaries in {place}: run `cargo xtask members` first")]
pub struct BinariesMissing {
    place: String,
}

// Tests unwrap: what they then print is for people.
impl fmt::Debug for BinariesMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Binaries {
    /// The build that `ARCHIPEL_MEMBER_BINARIES` names, else the newest one in the user's cache.
    pub fn find() -> Result<Self, BinariesMissing> {
        if let Some(dir) = non_empty(OVERRIDE) {
            return Self::in_dir(&dir).ok_or_else(|| BinariesMissing {
                place: format!("{} ({OVERRIDE})", dir.display()),
            });
        }
        let cache = non_empty("XDG_CACHE_HOME")
            .or_else(|| non_empty("HOME").map(|home| home.join(".cache")))
            .ok_or_else(|| BinariesMissing { place: "a cache directory (HOME is not set)".into() })?
            .join("archipel")
            .join("members");
        Self::newest_below(&cache)
            .ok_or_else(|| BinariesMissing { place: cache.display().to_string() })
    }

    fn newest_below(cache: &Path) -> Option<Self> {
        let built = |dir: &Path| -> Option<SystemTime> { dir.metadata().ok()?.modified().ok() };
        std::fs::read_dir(cache)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            // A directory with a suffix is a build under way.
            .filter(|path| path.extension().is_none())
            .filter_map(|path| Some((built(&path)?, Self::in_dir(&path)?)))
            .max_by_key(|(built, _)| *built)
            .map(|(_, binaries)| binaries)
    }

    fn in_dir(dir: &Path) -> Option<Self> {
        let program = |name: &str| Some(dir.join(name)).filter(|path| path.is_file());
        Some(Self {
            dir: dir.to_owned(),
            members: program("archipel-members")?,
            kwok: program("kwok")?,
            kubectl: program("kubectl")?,
            helm: program("helm")?,
            client: program("client")?,
        })
    }
}

fn non_empty(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(dir: &Path, programs: &[&str]) {
        std::fs::create_dir_all(dir).unwrap();
        for program in programs {
            std::fs::write(dir.join(program), "").unwrap();
        }
    }

    #[test]
    fn only_a_complete_and_finished_build_counts() {
        let all = ["archipel-members", "kwok", "kubectl", "helm", "client"];
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(Binaries::newest_below(&cache.path().join("absent")), None);
        touch(&cache.path().join("aa"), &all[..4]);
        touch(&cache.path().join("bb.building-1"), &all);
        assert_eq!(Binaries::newest_below(cache.path()), None);
        touch(&cache.path().join("cc"), &all);
        let found = Binaries::newest_below(cache.path()).unwrap();
        assert_eq!(found.helm, cache.path().join("cc").join("helm"));
    }

    #[test]
    fn the_error_names_the_command_that_helps() {
        let error = BinariesMissing { place: "/nowhere".into() };
        assert_eq!(
            error.to_string(),
            "no member binaries in /nowhere: run `cargo xtask members` first"
        );
    }
}
