//! Types and their fields: the OpenAPI documents and the Go tags brought together. Where the two disagree about which
//! fields there are, nothing is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::{Value, json};

use super::{
    Modules, Served,
    golang::{GoField, Sources},
};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Writes `P` and `T` lines with their fields.
pub(super) fn write(
    modules: &Modules,
    mut schemas: BTreeMap<String, Value>,
    served: &Served,
    out: &mut String,
) -> Result<(), String> {
    add_partial_metadata(&mut schemas);
    // An empty schema says nothing of its fields; the request body of PATCH is no type of ours.
    schemas.remove(&format!("{META}.Patch"));
    let keys = key_fields(&schemas);
    let mut sources = Sources::new(modules);
    let mut blocks: BTreeMap<String, String> = BTreeMap::new();
    for (name, schema) in &schemas {
        if special(name).is_some() {
            continue;
        }
        let kind = kind_of(schema, served);
        let atomic = if schema["x-kubernetes-map-type"] == "atomic" { " !" } else { "" };
        let mut body = String::new();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let mut seen = BTreeSet::new();
        fields(name, schema, &keys, &mut sources, &mut body, &mut seen, &mut blocks)?;
        for property in properties.keys() {
            if !seen.contains(property) {
                return Err(format!(
                    "{name}.{property} is in the OpenAPI document but not in the Go struct"
                ));
            }
        }
        let kind = kind.map(|k| format!(" {k}")).unwrap_or_default();
        blocks.insert(name.clone(), format!("T {}{kind}{atomic}\n{body}", short(name)));
    }
    let packages: BTreeSet<&str> =
        blocks.keys().filter_map(|n| n.rsplit_once('.')).map(|(p, _)| p).collect();
    for package in packages {
        let _ = writeln!(out, "P {} {package}", short_package(package));
    }
    for block in blocks.values() {
        out.push_str(block);
    }
    Ok(())
}

/// Writes a struct's fields. An inlined message gets a block of its own (the wire knows it), described by the
/// properties of the struct that holds it.
fn fields(
    name: &str,
    schema: &Value,
    keys: &BTreeMap<String, BTreeSet<String>>,
    sources: &mut Sources<'_>,
    body: &mut String,
    seen: &mut BTreeSet<String>,
    blocks: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let go = sources.fields(name)?.to_vec();
    let required: BTreeSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for field in go.iter().filter(|f| f.json != "-") {
        if let Some(inlined) = &field.inlines {
            if field.number == 0 {
                fields(inlined, schema, keys, sources, body, seen, blocks).map(drop)?;
                continue;
            }
            let mut inner = String::new();
            fields(inlined, schema, keys, sources, &mut inner, seen, blocks)?;
            let _ = writeln!(
                body,
                " * {} {} {}",
                reference(inlined, name),
                field.number,
                if field.pointer { "p" } else { "-" }
            );
            blocks
                .entry(inlined.clone())
                .or_insert_with(|| format!("T {}\n{inner}", short(inlined)));
            continue;
        }
        let Some(property) = schema["properties"].get(&field.json) else {
            return Err(format!(
                "{name}.{} is in the Go struct but not in the OpenAPI document",
                field.json
            ));
        };
        seen.insert(field.json.clone());
        let number = if is_type_meta(field, schema) { 0 } else { field.number };
        let code = code(property, name)?;
        let _ = write!(
            body,
            " {} {code} {number} {}",
            field.json,
            flags(field, &code, required.contains(field.json.as_str()))
        );
        topology(property, body);
        if keys.get(name).is_some_and(|k| k.contains(&field.json))
            && let Some(default) = property.get("default")
        {
            let _ = write!(body, " ={default}");
        }
        body.push('\n');
    }
    Ok(())
}

/// `apiVersion` and `kind` of an object stand in the envelope, not in its message.
fn is_type_meta(field: &GoField, schema: &Value) -> bool {
    matches!(field.json.as_str(), "apiVersion" | "kind")
        && schema["x-kubernetes-group-version-kind"].is_array()
}

fn flags(field: &GoField, code: &str, required: bool) -> String {
    let mut flags = String::new();
    for (on, flag) in [
        (required, 'r'),
        (field.omitempty, 'o'),
        (field.omitzero, 'z'),
        (field.pointer, 'p'),
        (code.starts_with('[') && field.wrapped, 'w'),
    ] {
        if on {
            flags.push(flag);
        }
    }
    if flags.is_empty() { "-".to_owned() } else { flags }
}

fn topology(property: &Value, body: &mut String) {
    match property["x-kubernetes-list-type"].as_str() {
        Some("set") => body.push_str(" @set"),
        Some("map") => {
            let keys: Vec<&str> = property["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let _ = write!(body, " @{}", keys.join(","));
        }
        _ => {}
    }
    if property["type"] == "array"
        && let Some(strategy) = property["x-kubernetes-patch-strategy"].as_str()
    {
        let _ = write!(body, " %{strategy}");
        if let Some(key) = property["x-kubernetes-patch-merge-key"].as_str() {
            let _ = write!(body, ":{key}");
        }
    }
}

/// The code of a type: one letter for a scalar, `[T` and `{T` for lists and maps, a name for a struct.
fn code(property: &Value, within: &str) -> Result<String, String> {
    if let Some(name) = target(property) {
        if let Some(code) = special(name) {
            return Ok(code.to_owned());
        }
        let variant = match (
            property["x-kubernetes-patch-strategy"].as_str(),
            property["x-kubernetes-map-type"].as_str(),
        ) {
            (Some("retainKeys"), _) => "~retainKeys",
            (Some("replace"), _) => "~replace",
            (_, Some("granular")) => "~granular",
            _ => "",
        };
        return Ok(format!("{}{variant}", reference(name, within)));
    }
    let format = property["format"].as_str();
    Ok(match property["type"].as_str() {
        Some("string") if format == Some("byte") => "y".to_owned(),
        Some("string") => "s".to_owned(),
        Some("boolean") => "b".to_owned(),
        Some("integer") if format == Some("int32") => "i".to_owned(),
        Some("integer") => "l".to_owned(),
        Some("number") => "n".to_owned(),
        Some("array") => format!("[{}", code(&property["items"], within)?),
        Some("object") => {
            let atomic = if property["x-kubernetes-map-type"] == "atomic" { "!" } else { "" };
            format!("{{{atomic}{}", code(&property["additionalProperties"], within)?)
        }
        other => return Err(format!("{within}: the type {other:?} is not known")),
    })
}

/// Types whose JSON is not their fields.
fn special(name: &str) -> Option<&'static str> {
    Some(match name.strip_prefix("io.k8s.")? {
        "apimachinery.pkg.apis.meta.v1.Time" => "t",
        "apimachinery.pkg.apis.meta.v1.MicroTime" => "u",
        "apimachinery.pkg.api.resource.Quantity" => "q",
        "apimachinery.pkg.util.intstr.IntOrString" => "x",
        "apimachinery.pkg.runtime.RawExtension"
        | "apimachinery.pkg.apis.meta.v1.FieldsV1"
        | "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON" => "a",
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool" => "B",
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray" => "Y",
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray" => "S",
        _ => return None,
    })
}

/// The fields that tell the elements of some associative list apart: their defaults matter.
fn key_fields(schemas: &BTreeMap<String, Value>) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for property in
        schemas.values().filter_map(|s| s["properties"].as_object()).flat_map(|p| p.values())
    {
        if let Some(item) = target(&property["items"]) {
            let of = property["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            keys.entry(item.to_owned()).or_default().extend(of.map(str::to_owned));
        }
    }
    keys
}

/// The one group-version-kind that a type stands for, if it is served; options and status are of every group.
fn kind_of(schema: &Value, served: &Served) -> Option<String> {
    let gvks = schema["x-kubernetes-group-version-kind"].as_array()?;
    let mut own = gvks.iter().filter_map(|gvk| {
        let (group, version, kind) =
            (gvk["group"].as_str()?, gvk["version"].as_str()?, gvk["kind"].as_str()?);
        let of_every_group = gvks.len() > 1;
        let fits = match group {
            "" => version == "v1",
            "meta.k8s.io" => !of_every_group,
            _ => !of_every_group && served.contains(&(group.to_owned(), version.to_owned())),
        };
        fits.then(|| format!("{}/{version}/{kind}", if group.is_empty() { "-" } else { group }))
    });
    own.next()
}

fn target(property: &Value) -> Option<&str> {
    let direct = property["$ref"].as_str().or_else(|| property["allOf"][0]["$ref"].as_str())?;
    direct.strip_prefix("#/components/schemas/")
}

/// A type as another names it: without the package where it is the same.
fn reference(name: &str, within: &str) -> String {
    match (name.rsplit_once('.'), within.rsplit_once('.')) {
        (Some((package, kind)), Some((own, _))) if package == own => format!(".{kind}"),
        _ => short(name),
    }
}

fn short(name: &str) -> String {
    let (package, kind) = name.rsplit_once('.').unwrap_or(("", name));
    format!("{}.{kind}", short_package(package))
}

fn short_package(package: &str) -> String {
    package
        .split('.')
        .rev()
        .take(2)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
        .join(".")
}

/// These travel between clients and servers but stand in no OpenAPI document.
fn add_partial_metadata(schemas: &mut BTreeMap<String, Value>) {
    let reference = |kind: &str| json!({"$ref": format!("#/components/schemas/{META}.{kind}")});
    let text = json!({"type": "string"});
    let gvk = |kind: &str| json!([{"group": "meta.k8s.io", "version": "v1", "kind": kind}]);
    schemas.insert(
        format!("{META}.PartialObjectMetadata"),
        json!({"properties": {"apiVersion": text, "kind": text, "metadata": reference("ObjectMeta")},
            "x-kubernetes-group-version-kind": gvk("PartialObjectMetadata")}),
    );
    schemas.insert(
        format!("{META}.PartialObjectMetadataList"),
        json!({"properties": {"apiVersion": text, "kind": text, "metadata": reference("ListMeta"),
                "items": {"type": "array", "items": reference("PartialObjectMetadata")}},
            "required": ["items"], "x-kubernetes-group-version-kind": gvk("PartialObjectMetadataList")}),
    );
}
