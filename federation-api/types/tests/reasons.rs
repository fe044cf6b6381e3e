//! The set of reason codes is closed: each is documented, and no component says one that is not in it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The codes of `reason.rs`, each with its module.
fn codes() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("federation-api/types/src/reason.rs")).unwrap();
    let (mut module, mut codes) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("pub mod ") {
            name.trim_end_matches(" {").clone_into(&mut module);
        } else if let Some((_, value)) = line.split_once(": &str = \"") {
            codes.push((module.clone(), value.trim_end_matches("\";").to_owned()));
        }
    }
    codes
}

/// All files below a folder whose name ends so.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

#[test]
fn every_code_is_said_once_and_documented() {
    let mut docs = Vec::new();
    files(&root().join("docs"), ".md", &mut docs);
    let text: String = docs.iter().map(|it| fs::read_to_string(it).unwrap()).collect();
    let codes = codes();
    assert!(codes.len() > 60, "the codes are found");
    let once: BTreeSet<_> = codes.iter().collect();
    assert_eq!(once.len(), codes.len(), "a module says no code twice");
    let missing: Vec<_> =
        codes.iter().filter(|(_, it)| !text.contains(&format!("`{it}`"))).collect();
    assert!(missing.is_empty(), "not in docs/: {missing:?}");
}

#[test]
fn no_component_says_a_code_of_its_own() {
    let known: BTreeSet<String> = codes().into_iter().map(|(_, code)| code).collect();
    let mut sources = Vec::new();
    for part in ["placement", "syncer", "providers/controller", "src"] {
        files(&root().join(part), ".rs", &mut sources);
    }
    let mut strange = Vec::new();
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_test = path.components().any(|it| it.as_os_str() == "tests");
        for (_, rest) in
            code.match_indices("reason: \"").map(|(at, it)| (at, &code[at + it.len()..]))
        {
            let said = rest.split('"').next().unwrap_or_default();
            let is_code = !said.is_empty() && said.chars().all(|c| c.is_ascii_alphanumeric());
            if is_code && !is_test && !path.ends_with("tests.rs") && !known.contains(said) {
                strange.push(format!("{}: {said}", path.display()));
            }
        }
    }
    assert!(strange.is_empty(), "not in reason.rs: {strange:?}");
}
