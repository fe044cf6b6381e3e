//! Groups and resources, from the aggregated discovery document.

use std::fmt::Write;

use serde_json::Value;

use super::{Modules, Served};

/// Writes `G`, `R` and `S` lines; returns what is served.
pub(super) fn write(modules: &Modules, out: &mut String) -> Result<Served, String> {
    let named = modules.json("api/discovery/aggregated_v2.json")?;
    let core = modules.json("api/discovery/api__v1.json")?;
    let mut served = Served::new();
    served.insert((String::new(), "v1".to_owned()));
    let _ = writeln!(out, "G - v1");
    write_core(&core, out)?;
    for group in named["items"].as_array().ok_or("the discovery document has no items")? {
        let name = text(&group["metadata"], "name")?;
        // Pre-release versions are off unless an operator turns them on.
        let versions: Vec<&Value> = group["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|v| is_stable(v["version"].as_str()))
            .collect();
        if versions.is_empty() {
            continue;
        }
        let names: Vec<&str> = versions.iter().filter_map(|v| v["version"].as_str()).collect();
        let _ = writeln!(out, "G {name} {}", names.join(" "));
        for version in versions {
            let version_name = text(version, "version")?;
            served.insert((name.to_owned(), version_name.to_owned()));
            for resource in version["resources"].as_array().into_iter().flatten() {
                let scope = if resource["scope"] == "Namespaced" { "N" } else { "C" };
                let kind = text(&resource["responseKind"], "kind")?;
                let head = [
                    name,
                    version_name,
                    text(resource, "resource")?,
                    text(resource, "singularResource")?,
                    kind,
                    scope,
                ];
                line(out, &head, resource);
                for sub in resource["subresources"].as_array().into_iter().flatten() {
                    let kind = &sub["responseKind"];
                    subresource(out, text(sub, "subresource")?, kind, &sub["verbs"])?;
                }
            }
        }
    }
    Ok(served)
}

/// The core group is published as a plain resource list only.
fn write_core(list: &Value, out: &mut String) -> Result<(), String> {
    let resources =
        list["resources"].as_array().ok_or("the core discovery document has no resources")?;
    for resource in
        resources.iter().filter(|r| r["name"].as_str().is_some_and(|n| !n.contains('/')))
    {
        let plural = text(resource, "name")?;
        let scope = if resource["namespaced"] == true { "N" } else { "C" };
        line(
            out,
            &["-", "v1", plural, text(resource, "singularName")?, text(resource, "kind")?, scope],
            resource,
        );
        let prefix = format!("{plural}/");
        for sub in resources {
            if let Some(name) = sub["name"].as_str().and_then(|n| n.strip_prefix(&prefix)) {
                subresource(out, name, sub, &sub["verbs"])?;
            }
        }
    }
    Ok(())
}

fn line(out: &mut String, head: &[&str], resource: &Value) {
    let _ = writeln!(
        out,
        "R {} {} {} {}",
        head.join(" "),
        joined(&resource["shortNames"]),
        joined(&resource["categories"]),
        joined(&resource["verbs"])
    );
}

fn subresource(out: &mut String, name: &str, kind: &Value, verbs: &Value) -> Result<(), String> {
    let group = kind["group"].as_str().unwrap_or_default();
    let version = kind["version"].as_str().unwrap_or_default();
    let kind = text(kind, "kind")?;
    // Nothing said means: of the resource's own group-version.
    let place = if version.is_empty() {
        "=".to_owned()
    } else {
        format!("{}/{version}", if group.is_empty() { "-" } else { group })
    };
    let _ = writeln!(out, "S {name} {place} {kind} {}", joined(verbs));
    Ok(())
}

fn is_stable(version: Option<&str>) -> bool {
    version.is_some_and(|v| !v.contains("alpha") && !v.contains("beta"))
}

fn joined(list: &Value) -> String {
    let items: Vec<&str> =
        list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(",") }
}

fn text<'v>(value: &'v Value, key: &str) -> Result<&'v str, String> {
    value[key].as_str().ok_or_else(|| format!("discovery: {key} is missing in {value}"))
}
