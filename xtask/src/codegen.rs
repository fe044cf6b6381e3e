//! `cargo xtask codegen`: writes the table of what Kubernetes serves, from the Go modules that publish it.
//!
//! Only facts go in: names, types, numbers, keys, strategies. `--check` compares with the committed table instead of
//! writing it.
//!
//! ```text
//! OpenAPI v3 documents ──▶ JSON types, required, list and map topology, patch strategies ─┐
//! Go struct tags ────────▶ protobuf numbers, omitempty, pointers, inlined structs ─────────┼─▶ kubernetes.txt
//! aggregated discovery ──▶ resources, verbs, subresources, short names ───────────────────┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

mod golang;
mod resources;
mod types;

/// The release whose facts are taken.
const KUBERNETES: &str = "1.36.3";
const STAGING: &str = "0.36.3";
const TABLE: &str = "federation-api/schema/data/kubernetes.txt";

/// The Go modules on this machine.
struct Modules {
    dirs: BTreeMap<String, PathBuf>,
}

impl Modules {
    fn fetch() -> Result<Self, String> {
        let wanted = std::iter::once(format!("k8s.io/kubernetes@v{KUBERNETES}")).chain(
            ["api", "apimachinery", "apiextensions-apiserver", "kube-aggregator"]
                .map(|m| format!("k8s.io/{m}@v{STAGING}")),
        );
        let output = Command::new("go")
            .args(["mod", "download", "-json"])
            .args(wanted)
            .env("GOFLAGS", "-mod=mod")
            .current_dir(std::env::temp_dir())
            .output()
            .map_err(|e| format!("codegen needs Go on the PATH: {e}"))?;
        let mut dirs = BTreeMap::new();
        for module in serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>() {
            let module = module.map_err(|e| format!("go mod download: {e}"))?;
            let path = module["Path"].as_str().unwrap_or_default().to_owned();
            let dir = module["Dir"]
                .as_str()
                .ok_or_else(|| format!("go mod download {path}: {}", module["Error"]))?;
            dirs.insert(path, PathBuf::from(dir));
        }
        if dirs.is_empty() {
            return Err(format!("go mod download: {}", String::from_utf8_lossy(&output.stderr)));
        }
        Ok(Self { dirs })
    }

    fn dir(&self, module: &str) -> Result<&Path, String> {
        self.dirs
            .get(module)
            .map(PathBuf::as_path)
            .ok_or_else(|| format!("module {module} was not downloaded"))
    }

    fn json(&self, path: &str) -> Result<Value, String> {
        let file = self.dir("k8s.io/kubernetes")?.join(path);
        let text = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", file.display()))
    }
}

/// Writes the table, or with `check` says whether the committed one is what would be written.
pub(crate) fn run(check: bool) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(TABLE);
    let table = table(&Modules::fetch()?)?;
    if check {
        let committed = fs::read_to_string(&path).map_err(|e| format!("{TABLE}: {e}"))?;
        return if committed == table {
            Ok(())
        } else {
            Err(format!("{TABLE} is stale: run `cargo xtask codegen`"))
        };
    }
    fs::write(&path, table).map_err(|e| format!("{TABLE}: {e}"))
}

fn table(modules: &Modules) -> Result<String, String> {
    let mut out = format!("V {KUBERNETES}\n");
    let served = resources::write(modules, &mut out)?;
    let mut schemas = BTreeMap::new();
    for (group, version) in &served {
        let name = if group.is_empty() {
            format!("api__{version}")
        } else {
            format!("apis__{group}__{version}")
        };
        let document = modules.json(&format!("api/openapi-spec/v3/{name}_openapi.json"))?;
        let components = document["components"]["schemas"]
            .as_object()
            .ok_or_else(|| format!("{name} has no schemas"))?;
        for (name, schema) in components {
            schemas.entry(name.clone()).or_insert_with(|| schema.clone());
        }
    }
    types::write(modules, schemas, &served, &mut out)?;
    Ok(out)
}

/// The group-versions that a default kube-apiserver serves.
type Served = BTreeSet<(String, String)>;

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_table_is_what_codegen_writes() {
        assert_eq!(super::run(true), Ok(()));
    }
}
