//! Builds the real Kubernetes components that stand for member clusters in tests: the Go module
//! `tests/members`, once per content of that module, into the user's cache.
//!
//! The test harness (`federation-tests`) looks for the newest finished build in the same place:
//! `$ARCHIPEL_MEMBER_BINARIES`, else `$XDG_CACHE_HOME/archipel/members/<hash>/` (`~/.cache` where
//! that variable is not set). A directory named by a hash is complete: it appears by rename.
#![expect(clippy::print_stderr, reason = "a task tells the person at the terminal how far it is")]

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The built programs, all in one directory.
#[derive(Debug, Clone)]
pub(crate) struct MemberBinaries {
    /// The directory that `ARCHIPEL_MEMBER_BINARIES` may name.
    pub(crate) dir: PathBuf,
    /// etcd, kube-apiserver, kube-controller-manager and kube-scheduler in one.
    pub(crate) members: PathBuf,
    /// The stand-in for kubelets.
    pub(crate) kwok: PathBuf,
    /// The stock client.
    pub(crate) kubectl: PathBuf,
    /// The stock package manager.
    pub(crate) helm: PathBuf,
    /// A Go program that uses a hub through client-go.
    pub(crate) client: PathBuf,
}

impl fmt::Display for MemberBinaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ARCHIPEL_MEMBER_BINARIES={}", self.dir.display())?;
        let programs = [&self.members, &self.kwok, &self.kubectl, &self.helm, &self.client];
        programs.into_iter().try_for_each(|program| writeln!(f, "{}", program.display()))
    }
}

const PROGRAMS: [&str; 5] = ["archipel-members", "kwok", "kubectl", "helm", "client"];

/// Go packages and the program each becomes (named by Go after the package's last element, except
/// for our own, which is named after its module).
const PACKAGES: [&str; 5] = [
    ".",
    "sigs.k8s.io/kwok/cmd/kwok",
    "k8s.io/kubernetes/cmd/kubectl",
    "helm.sh/helm/v4/cmd/helm",
    "./client",
];

/// Returns the member binaries, building them first when this content was never built here.
pub(crate) fn ensure() -> Result<MemberBinaries, String> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
        .join("tests/members");
    let manifest = read(&module.join("go.mod"))?;
    let ldflags = ldflags(&manifest)?;
    let key = content_key(&module, &ldflags)?;
    let dir = cache_root()?.join(&key);
    if !complete(&dir) {
        build(&module, &ldflags, &dir)?;
    }
    Ok(MemberBinaries {
        members: dir.join(PROGRAMS[0]),
        kwok: dir.join(PROGRAMS[1]),
        kubectl: dir.join(PROGRAMS[2]),
        helm: dir.join(PROGRAMS[3]),
        client: dir.join(PROGRAMS[4]),
        dir,
    })
}

fn complete(dir: &Path) -> bool {
    PROGRAMS.iter().all(|program| dir.join(program).is_file())
}

fn build(module: &Path, ldflags: &str, dir: &Path) -> Result<(), String> {
    let go = Command::new("go").arg("version").output().map_err(|error| {
        format!(
            "cannot run `go` ({error}): building member clusters needs Go 1.26 or newer on PATH"
        )
    })?;
    if !go.status.success() {
        return Err(format!("`go version` failed: {}", String::from_utf8_lossy(&go.stderr).trim()));
    }
    eprintln!(
        "members: building Kubernetes, etcd, kwok, kubectl and helm with {} (once; several minutes)",
        String::from_utf8_lossy(&go.stdout).trim()
    );
    let staging = dir.with_extension(format!("building-{}", std::process::id()));
    fs::create_dir_all(&staging).map_err(|error| at(&staging, &error))?;
    let result = compile(module, ldflags, &staging).and_then(|()| publish(&staging, dir));
    if result.is_err() {
        // What remains of a failed build is of no use to anyone; the build's own error matters more.
        let _ = fs::remove_dir_all(&staging);
    }
    result
}

fn compile(module: &Path, ldflags: &str, staging: &Path) -> Result<(), String> {
    let steps = PACKAGES.len();
    for (index, (package, program)) in PACKAGES.into_iter().zip(PROGRAMS).enumerate() {
        eprintln!("members: [{}/{steps}] {program}", index + 1);
        // No cgo: the build then needs no C compiler and the programs run on any Linux.
        let status = Command::new("go")
            .current_dir(module)
            .env("CGO_ENABLED", "0")
            .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", ldflags])
            .arg("-o")
            .arg(staging.join(program))
            .arg(package)
            .status()
            .map_err(|error| format!("cannot run `go build`: {error}"))?;
        if !status.success() {
            return Err(format!(
                "`go build {package}` in {} failed ({status}); its messages are above",
                module.display()
            ));
        }
    }
    Ok(())
}

/// Puts a finished build in place; another run that finished first has made the same thing.
fn publish(staging: &Path, dir: &Path) -> Result<(), String> {
    match fs::rename(staging, dir) {
        Ok(()) => {
            eprintln!("members: ready in {}", dir.display());
            Ok(())
        }
        Err(_) if complete(dir) => fs::remove_dir_all(staging).map_err(|error| at(staging, &error)),
        Err(error) => Err(at(dir, &error)),
    }
}

/// Stamps the version of Kubernetes that go.mod names, as a release build of it is stamped.
fn ldflags(manifest: &str) -> Result<String, String> {
    let kubernetes = required(manifest, "k8s.io/kubernetes")?;
    let helm = required(manifest, "helm.sh/helm/v4")?;
    let mut numbers = kubernetes.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return Err(format!("tests/members/go.mod: {kubernetes} is no version of Kubernetes"));
    };
    let stamp =
        |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
    Ok([
        "-s -w".to_owned(),
        stamp("gitVersion", kubernetes),
        stamp("gitMajor", major),
        stamp("gitMinor", minor),
        stamp("gitTreeState", "clean"),
        stamp("gitCommit", "unknown"),
        format!("-X helm.sh/helm/v4/internal/version.version={helm}"),
    ]
    .join(" "))
}

/// The version that a manifest requires of a module.
fn required<'a>(manifest: &'a str, module: &str) -> Result<&'a str, String> {
    manifest
        .lines()
        .filter(|line| !line.contains("=>"))
        .find_map(|line| line.trim().strip_prefix(module)?.split_whitespace().next())
        .ok_or_else(|| format!("tests/members/go.mod does not require {module}"))
}

/// A name for all that decides the outcome of the build: manifests, our sources and flags.
fn content_key(module: &Path, ldflags: &str) -> Result<String, String> {
    let mut files: Vec<PathBuf> = Vec::new();
    for dir in [module.to_owned(), module.join("client")] {
        for entry in fs::read_dir(&dir).map_err(|error| at(&dir, &error))? {
            files.push(entry.map_err(|error| at(&dir, &error))?.path());
        }
    }
    files.retain(|path| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        matches!(name, "go.mod" | "go.sum") || name.ends_with(".go")
    });
    files.sort();
    let mut hash = Fnv::new();
    for path in files {
        hash.part(path.file_name().unwrap_or_default().as_encoded_bytes());
        hash.part(&fs::read(&path).map_err(|error| at(&path, &error))?);
    }
    hash.part(ldflags.as_bytes());
    hash.part(PACKAGES.join(" ").as_bytes());
    hash.part(std::env::consts::ARCH.as_bytes());
    Ok(format!("{:016x}", hash.0))
}

/// FNV-1a over length-prefixed parts: a name for a cache entry, not a defence against anyone.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn part(&mut self, bytes: &[u8]) {
        for byte in bytes.len().to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn cache_root() -> Result<PathBuf, String> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set: nowhere to keep the member binaries")?;
    Ok(base.join("archipel").join("members"))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "module m\nrequire (\n\thelm.sh/helm/v4 v4.2.4\n\tk8s.io/kubernetes v1.36.3\n)\nreplace (\n\tk8s.io/kubernetes => other v9.9.9\n)\n";

    #[test]
    fn the_version_comes_from_the_manifest() {
        let flags = ldflags(MANIFEST).unwrap();
        for part in ["gitVersion=v1.36.3", "gitMajor=1", "gitMinor=36", "version.version=v4.2.4"] {
            assert!(flags.contains(part), "{part} in {flags}");
        }
        assert_eq!(
            ldflags("module m\n"),
            Err("tests/members/go.mod does not require k8s.io/kubernetes".to_owned())
        );
    }

    #[test]
    fn the_key_follows_what_is_built() {
        let dir = std::env::temp_dir().join(format!("archipel-members-key-{}", std::process::id()));
        fs::create_dir_all(dir.join("client")).unwrap();
        fs::write(dir.join("go.mod"), MANIFEST).unwrap();
        fs::write(dir.join("main.go"), "package main").unwrap();
        let first = content_key(&dir, "-s").unwrap();
        fs::write(dir.join("notes.txt"), "no part of the build").unwrap();
        assert_eq!(content_key(&dir, "-s").unwrap(), first);
        assert_ne!(content_key(&dir, "-w").unwrap(), first);
        fs::write(dir.join("main.go"), "package main // changed").unwrap();
        let second = content_key(&dir, "-s").unwrap();
        assert_ne!(second, first);
        fs::write(dir.join("client/main.go"), "package main").unwrap();
        assert_ne!(content_key(&dir, "-s").unwrap(), second);
        fs::remove_dir_all(&dir).unwrap();
    }
}
