//! The objects of files, each with where it was read, so that what the hub says of `spec.objects[3]` can be said of
//! `web.yaml#4 Deployment shop/web`.

use std::path::PathBuf;

use federation_types::{names::Gvk, review::plan::ObjectRef};
use serde::Deserialize;
use serde_json::Value;

use super::PlanFileError;
use crate::{
    output::Failure,
    policy::files::{self, File},
};

const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Objects in the order of their files.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) values: Vec<Value>,
    /// Of each: `web.yaml#2 Deployment shop/web`, or `web.yaml#2[0] …` for the first of a list.
    pub(crate) sources: Vec<String>,
}

/// The objects of files: YAML of any number of documents, or JSON; lists are taken apart.
pub(crate) fn objects(paths: &[PathBuf]) -> Result<Objects, Failure> {
    let mut found = Objects::default();
    for file in files::read(paths, &ENDINGS)? {
        let before = found.values.len();
        found.add(&file)?;
        // In a directory there may be one that is all comment.
        if found.values.len() == before && paths.contains(&file.path) {
            return Err(PlanFileError::Empty { paths: file.path.display().to_string() }.into());
        }
    }
    if found.values.is_empty() && !paths.is_empty() {
        let paths: Vec<String> = paths.iter().map(|it| it.display().to_string()).collect();
        return Err(PlanFileError::Empty { paths: paths.join(", ") }.into());
    }
    Ok(found)
}

impl Objects {
    fn add(&mut self, file: &File) -> Result<(), PlanFileError> {
        for (at, document) in serde_norway::Deserializer::from_str(&file.text).enumerate() {
            let place = format!("{}#{}", file.path.display(), at + 1);
            let value = Value::deserialize(document)
                .map_err(|source| PlanFileError::Unreadable { place: place.clone(), source })?;
            match value {
                Value::Null => (),
                Value::Object(mut list) if list.get("items").is_some_and(Value::is_array) => {
                    let Some(Value::Array(items)) = list.remove("items") else { continue };
                    for (n, item) in items.into_iter().enumerate() {
                        self.push(format!("{place}[{n}]"), item)?;
                    }
                }
                object => self.push(place, object)?,
            }
        }
        Ok(())
    }

    fn push(&mut self, place: String, object: Value) -> Result<(), PlanFileError> {
        let required =
            [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")];
        let missing =
            required.iter().find(|it| !object.pointer(it.0).is_some_and(Value::is_string));
        if let Some((_, field)) = missing {
            return Err(PlanFileError::Incomplete { place, field });
        }
        let object_ref = reference(&object);
        if let Some(first) = self.values.iter().position(|it| {
            it["metadata"]["name"] == object["metadata"]["name"]
                && is_same(&reference(it), &object_ref)
        }) {
            let first = self.sources[first].clone();
            return Err(PlanFileError::Twice { first, place });
        }
        self.sources.push(format!("{place} {object_ref}"));
        self.values.push(object);
        Ok(())
    }
}

/// Whether two references mean one object, in whatever version of its kind; without a namespace it is in `default`, if
/// in any.
fn is_same(a: &ObjectRef, b: &ObjectRef) -> bool {
    let key = |it: &ObjectRef| {
        let gvk = Gvk::new(&it.api_version, &it.kind);
        let namespace = if it.namespace.is_empty() { "default" } else { &it.namespace };
        (gvk.group, gvk.kind, namespace.to_owned(), it.name.clone())
    };
    key(a) == key(b)
}

/// The object by its name.
pub(crate) fn reference(object: &Value) -> ObjectRef {
    let text = |pointer: &str| {
        object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    ObjectRef {
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    }
}

/// What the hub says of `spec.objects[n]`, said of where that was read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct AtSource(String);

/// The failure of a review, with files in the place of the review's own fields.
pub(crate) fn at_source(failure: Failure, sources: &[String]) -> Failure {
    let Some(kube::Error::Api(status)) = failure.downcast_ref::<kube::Error>() else {
        return failure;
    };
    match translate(&status.message, sources) {
        Some(text) => AtSource(text).into(),
        None => failure,
    }
}

/// `spec.objects[3].kind: …` as `web.yaml#4 Deployment shop/web: kind: …`.
fn translate(message: &str, sources: &[String]) -> Option<String> {
    let rest = ["spec.objects[", "spec.delete["]
        .iter()
        .find_map(|it| message.find(it).map(|at| &message[at + it.len()..]))?;
    let (number, rest) = rest.split_once(']')?;
    let source = sources.get(number.parse::<usize>().ok()?)?;
    let rest = rest.strip_prefix(": ").or_else(|| rest.strip_prefix('.')).unwrap_or(rest);
    // The source names the object already.
    let rest = match rest.split_once(" is invalid: ") {
        Some((named, why)) if named.split(' ').count() == 2 => why,
        Some(_) | None => rest,
    };
    Some(format!("{source}: {rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Objects, PlanFileError> {
        let mut objects = Objects::default();
        objects.add(&File { path: "web.yaml".into(), text: text.to_owned() })?;
        Ok(objects)
    }

    const WEB: &str =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n";

    #[test]
    fn an_object_is_named_by_its_file_its_document_and_itself() {
        let list =
            "kind: List\nitems: [{apiVersion: v1, kind: Namespace, metadata: {name: shop}}]\n";
        let objects = read(&format!("---\n# nothing\n---\n{WEB}---\n{list}")).unwrap();
        assert_eq!(
            objects.sources,
            ["web.yaml#2 Deployment shop/web", "web.yaml#3[0] Namespace shop"]
        );
        let error = read(&format!("{WEB}---\nkind: ConfigMap\n")).unwrap_err().to_string();
        assert_eq!(error, "web.yaml#2 has no apiVersion");
        let error = read(&format!("{WEB}---\na: [\n")).unwrap_err().to_string();
        assert_eq!(error, "web.yaml#2 is neither YAML nor JSON");
    }

    #[test]
    fn an_object_that_is_given_twice_is_refused_with_both_of_its_places() {
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n";
        assert_eq!(read(&format!("{map}---\n{WEB}")).unwrap().values.len(), 2);
        let home = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: default}\n";
        let error = read(&format!("{map}---\n{WEB}---\n{home}")).unwrap_err().to_string();
        assert_eq!(error, "web.yaml#3 is the same object as web.yaml#1 ConfigMap web");
    }

    #[test]
    fn files_without_an_object_are_named() {
        let whole =
            std::env::temp_dir().join(format!("archipel-empty-test-{}", std::process::id()));
        std::fs::create_dir_all(&whole).unwrap();
        let (empty, web) = (whole.join("empty.yaml"), whole.join("web.yaml"));
        std::fs::write(&empty, "---\n# later\n").unwrap();
        let said = |paths: &[&PathBuf]| {
            let paths: Vec<PathBuf> = paths.iter().map(|it| (*it).clone()).collect();
            objects(&paths).map(|it| it.values.len()).map_err(|it| it.to_string())
        };
        assert_eq!(said(&[&empty]), Err(format!("{} holds no object", empty.display())));
        assert_eq!(said(&[&whole]), Err(format!("{} holds no object", whole.display())));
        std::fs::write(&web, WEB).unwrap();
        assert_eq!(said(&[&whole]), Ok(1));
        assert!(said(&[&web, &empty]).is_err(), "it was named for something");
        assert_eq!(said(&[]), Ok(0));
        std::fs::remove_dir_all(&whole).unwrap();
    }

    #[test]
    fn what_the_hub_says_of_the_review_is_said_of_the_file() {
        let sources =
            ["a.yaml#1 Namespace shop".to_owned(), "web.yaml#2 Deployment shop/web".to_owned()];
        let said = |message: &str| translate(message, &sources);
        assert_eq!(
            said(r#"spec.objects[1]: Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1"#)
                .as_deref(),
            Some("web.yaml#2 Deployment shop/web: spec.replicas: Invalid value: -1")
        );
        assert_eq!(
            said("spec.objects[0].kind: Invalid value: the hub serves no v1 Namespase").as_deref(),
            Some("a.yaml#1 Namespace shop: kind: Invalid value: the hub serves no v1 Namespase")
        );
        assert_eq!(
            said(r#"spec.delete[1]: deployments "web" is forbidden: no"#).as_deref(),
            Some(r#"web.yaml#2 Deployment shop/web: deployments "web" is forbidden: no"#)
        );
        assert_eq!(said("spec.objects[7]: no such object"), None);
        assert_eq!(said("spec.objects: Too many: 2000"), None);
    }
}
