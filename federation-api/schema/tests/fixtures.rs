//! Kubernetes publishes, inside its Go module `k8s.io/api`, one object of each kind as JSON and as protobuf. Every one
//! of a kind that is in the catalogue must decode to exactly its JSON.

use std::{fs, path::PathBuf, process::Command};

use federation_schema::{
    catalogue::{Catalogue, Gvk},
    protobuf,
};
use serde_json::Value;

const MODULE: &str = "k8s.io/api@v0.36.3";

fn testdata() -> PathBuf {
    let output = Command::new("go")
        .args(["mod", "download", "-json", MODULE])
        .env("GOFLAGS", "-mod=mod")
        .current_dir(std::env::temp_dir())
        .output()
        .expect("this test needs Go on the PATH");
    let module: Value = serde_json::from_slice(&output.stdout).expect("go prints JSON");
    let dir = module["Dir"]
        .as_str()
        .unwrap_or_else(|| panic!("{MODULE} cannot be downloaded: {}", module["Error"]));
    PathBuf::from(dir).join("testdata/HEAD")
}

/// What is wrong with one fixture, if anything.
fn compare(json: &Value, body: &[u8]) -> Option<String> {
    match protobuf::decode(body, Catalogue::builtin(), None) {
        Ok(decoded) if decoded == *json => None,
        Ok(decoded) => Some(difference("", json, &decoded)),
        Err(error) => Some(error.to_string()),
    }
}

fn difference(path: &str, wanted: &Value, found: &Value) -> String {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            let keys = wanted.keys().chain(found.keys());
            let differing = keys.filter(|k| wanted.get(*k) != found.get(*k));
            let each = differing.map(|k| {
                difference(
                    &format!("{path}.{k}"),
                    wanted.get(k).unwrap_or(&Value::Null),
                    found.get(k).unwrap_or(&Value::Null),
                )
            });
            each.collect::<Vec<_>>().join("; ")
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let pairs = wanted.iter().zip(found).enumerate().filter(|(_, (w, f))| w != f);
            pairs
                .map(|(at, (w, f))| difference(&format!("{path}[{at}]"), w, f))
                .collect::<Vec<_>>()
                .join("; ")
        }
        _ => format!("{path}: wanted {wanted}, found {found}"),
    }
}

#[test]
fn every_published_object_of_a_built_in_kind_decodes_to_its_json() {
    let (mut compared, mut wrong) = (0, Vec::new());
    let mut kinds = Vec::new();
    for file in fs::read_dir(testdata()).expect("the module holds testdata") {
        let path = file.expect("readable").path();
        if path.extension().is_none_or(|e| e != "pb") {
            continue;
        }
        let json: Value = serde_json::from_slice(
            &fs::read(path.with_extension("json")).expect("each has its JSON"),
        )
        .expect("JSON");
        // Watch events and the like are no objects of their own.
        let (Some(api_version), Some(kind)) = (json["apiVersion"].as_str(), json["kind"].as_str())
        else {
            continue;
        };
        let gvk = Gvk::of(api_version, kind);
        if Catalogue::builtin().type_of(&gvk).is_none() {
            continue;
        }
        compared += 1;
        if let Some(problem) = compare(&json, &fs::read(&path).expect("readable")) {
            wrong.push(format!("{gvk:?}: {problem}"));
        }
        kinds.push(gvk);
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= 70, "only {compared} objects were compared");
    // Two groups publish no objects there: their modules are others.
    let elsewhere = ["apiextensions.k8s.io", "apiregistration.k8s.io"];
    for resource in
        Catalogue::builtin().resources().iter().filter(|r| !elsewhere.contains(&&*r.group))
    {
        assert!(kinds.contains(&resource.gvk()), "no published object of {:?}", resource.gvk());
    }
}
