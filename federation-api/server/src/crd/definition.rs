//! A definition compiled: its kinds, one per served version.

use std::sync::{Arc, OnceLock};

use federation_schema::{
    catalogue::{Gvk, api_version},
    columns::Printer,
    crd as schema,
    error::FieldError,
    model::{Shape, TypeRef},
    name::{self, NameRule},
    validate,
};
use federation_storage::{Entry, Revision};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    object,
    registry::{Kind, Origin, ScalePaths, Subresource, SubresourceKind, prefix},
    status::Cause,
};

/// Everything that is wrong with a definition.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
pub struct CrdError(pub Vec<FieldError>);

/// What a definition says of one version.
#[derive(Debug)]
pub struct CustomVersion {
    pub ty: TypeRef,
    /// `additionalPrinterColumns`, as written.
    pub columns: Vec<Value>,
    /// `openAPIV3Schema` as JSON text: it is read rarely, and a parsed schema takes ten times the room.
    pub schema: Box<str>,
    /// Whether the definition is going, so that nothing new is made.
    pub terminating: bool,
    has_defaults: bool,
    /// Whether rules in CEL stand in the schema.
    has_rules: bool,
}

impl CustomVersion {
    /// Sets missing fields that have a default.
    pub(crate) fn default(&self, object: &mut Value) {
        if self.has_defaults {
            schema::default(object, &self.ty);
        }
    }

    /// What the schema has against an object. What was wrong before and did not change is let through.
    pub(crate) fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        let errors = validate::validate(new, &self.ty);
        let before = match old {
            Some(old) if !errors.is_empty() => validate::validate(old, &self.ty),
            _ => Vec::new(),
        };
        let causes: Vec<Cause> =
            errors.into_iter().filter(|error| !before.contains(error)).map(Cause::from).collect();
        if !causes.is_empty() || !self.has_rules {
            return causes;
        }
        // They may rely on the rest of the schema.
        validate::rules_broken(new, old, &self.ty).into_iter().map(Cause::from).collect()
    }
}

/// A definition that is served.
#[derive(Debug)]
pub struct Definition {
    /// `widgets.example.org`
    pub name: Box<str>,
    pub group: Box<str>,
    /// Brought along by the binary.
    pub embedded: bool,
    /// The revision of the definition's stored version.
    pub revision: Revision,
    /// One per served version; none if its names are not accepted.
    pub kinds: Vec<Arc<Kind>>,
    /// As a version of the store, if it is none.
    pub(crate) entry: Option<Arc<Entry>>,
    since: Revision,
    /// Of what its kinds follow from.
    fingerprint: [u8; 32],
}

impl Definition {
    /// Compiles a definition that is not (or no longer) being written.
    pub(crate) fn compile(
        object: &Value,
        embedded: bool,
        revision: Revision,
    ) -> Result<Self, CrdError> {
        let mut object = object.clone();
        complete(&mut object);
        let draft = Draft::compile(&object)?;
        let accepted = embedded || super::conditions::is_accepted(&object);
        if embedded {
            super::conditions::established(&mut object);
            embed(&mut object);
        }
        let mut definition = draft.accepted(accepted, &object).serve(revision, None, embedded);
        if embedded {
            // Older than anything that is stored.
            definition.revision = Revision(0);
        }
        Ok(definition)
    }
}

/// A definition that is about to be stored.
#[derive(Debug)]
pub(crate) struct Draft {
    pub name: String,
    object: Value,
    versions: Vec<(usize, TypeRef)>,
    accepted: bool,
    /// What of it is not done here.
    pub warnings: Vec<String>,
}

impl Draft {
    pub(crate) fn compile(object: &Value) -> Result<Self, CrdError> {
        let mut errors = check(object);
        let mut versions = Vec::new();
        let mut warnings = Vec::new();
        if object["spec"]["conversion"]["strategy"] == "Webhook" {
            warnings.push(
                "conversion webhooks are not called by this server: versions differ in their apiVersion only"
                    .to_owned(),
            );
        }
        for (at, version) in list(&object["spec"]["versions"]).iter().enumerate() {
            let path = format!("spec.versions[{at}].schema.openAPIV3Schema");
            let schema = &version["schema"]["openAPIV3Schema"];
            if !schema.is_object() {
                errors.push(FieldError::required(path, "schemas are required"));
                continue;
            }
            match schema::compile(schema, &path) {
                Ok(compiled) => {
                    versions.push((at, compiled.ty));
                    warnings.extend(compiled.warnings);
                }
                Err(more) => errors.extend(more),
            }
            if let Err(error) = Printer::custom(list(&version["additionalPrinterColumns"])) {
                errors.push(FieldError::invalid(
                    format!("spec.versions[{at}].additionalPrinterColumns"),
                    Value::Null,
                    error.to_string(),
                ));
            }
        }
        if !errors.is_empty() {
            return Err(CrdError(errors));
        }
        let name = object::meta(object, "name").to_owned();
        Ok(Self { name, object: Value::Null, versions, accepted: true, warnings })
    }

    /// With the judgement of its names.
    pub(crate) fn accepted(mut self, accepted: bool, object: &Value) -> Self {
        self.accepted = accepted;
        self.object = object.clone();
        self
    }

    /// As it is served from now on. `held` is what is served until now: while the schemas stay the same, so does the
    /// revision since which every object has their defaults.
    pub(crate) fn serve(
        self,
        revision: Revision,
        held: Option<&Definition>,
        embedded: bool,
    ) -> Definition {
        let object = self.object;
        let mut digest = Sha256::new();
        digest.update(object::meta(&object, "uid"));
        digest.update(object["spec"].to_string());
        let fingerprint: [u8; 32] = digest.finalize().into();
        let same = |held: &&Definition| held.fingerprint == fingerprint;
        let since = held.filter(same).map_or(revision, |held| held.since);
        let kinds = if self.accepted {
            let kinds =
                self.versions.into_iter().filter_map(|(at, ty)| kind(&object, at, ty, since));
            kinds.map(Arc::new).collect()
        } else {
            Vec::new()
        };
        let text = |value: &Value| Box::from(value.as_str().unwrap_or_default());
        let mut definition = Definition {
            name: self.name.into(),
            group: text(&object["spec"]["group"]),
            embedded,
            revision,
            kinds,
            entry: None,
            since,
            fingerprint,
        };
        if embedded {
            definition.entry = Some(Arc::new(entry(&definition.name, &object)));
        }
        definition
    }
}

fn kind(object: &Value, at: usize, ty: TypeRef, since: Revision) -> Option<Kind> {
    let spec = &object["spec"];
    let version = &spec["versions"][at];
    if version["served"] == false {
        return None;
    }
    let text = |value: &Value| Box::<str>::from(value.as_str().unwrap_or_default());
    let texts = |value: &Value| list(value).iter().map(text).collect::<Vec<_>>();
    let names = &spec["names"];
    let (group, plural) = (text(&spec["group"]), text(&names["plural"]));
    let version_name = text(&version["name"]);
    let storage = list(&spec["versions"]).iter().find(|version| version["storage"] == true);
    let verbs = |list: &[&str]| list.iter().map(|verb| Box::from(*verb)).collect::<Vec<Box<str>>>();
    let subresources = &version["subresources"];
    let mut served = Vec::new();
    if subresources["status"].is_object() {
        served.push(Subresource {
            name: "status".into(),
            kind: SubresourceKind::Status,
            speaks: None,
            verbs: verbs(&["get", "patch", "update"]),
        });
    }
    let scale = &subresources["scale"];
    if scale.is_object() {
        served.push(Subresource {
            name: "scale".into(),
            kind: SubresourceKind::Scale,
            speaks: Some(Gvk::new("autoscaling", "v1", "Scale")),
            verbs: verbs(&["get", "patch", "update"]),
        });
    }
    let has_defaults = ty.schema.nodes.iter().any(|node| match &node.shape {
        Shape::Struct(shape) => shape.fields.values().any(|field| field.default.is_some()),
        _ => false,
    });
    let selectable = list(&version["selectableFields"]).iter();
    let selectable = selectable.filter_map(|field| field["jsonPath"].as_str());
    let custom = CustomVersion {
        ty: ty.clone(),
        columns: list(&version["additionalPrinterColumns"]).to_vec(),
        schema: version["schema"]["openAPIV3Schema"].to_string().into(),
        terminating: object::is_deleting(object),
        has_defaults,
        has_rules: validate::has_rules(&ty),
    };
    Some(Kind {
        api_version: api_version(&group, &version_name).into(),
        prefix: prefix(&group, &plural).into(),
        group,
        version: version_name,
        plural,
        singular: text(&names["singular"]),
        kind: text(&names["kind"]),
        list_kind: text(&names["listKind"]),
        namespaced: spec["scope"] == "Namespaced",
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        verbs: verbs(&[
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "create",
            "update",
            "watch",
        ]),
        subresources: served,
        origin: Origin::Custom(Arc::new(custom)),
        ty,
        names: NameRule::Subdomain,
        scale: scale.is_object().then(|| ScalePaths {
            spec_replicas: path(&scale["specReplicasPath"]).unwrap_or_default(),
            status_replicas: path(&scale["statusReplicasPath"]).unwrap_or_default(),
            selector: path(&scale["labelSelectorPath"]),
        }),
        storage_version: storage.map(|storage| text(&storage["name"])).unwrap_or_default(),
        defaulted_since: has_defaults.then_some(since),
        selectable: selectable.map(|path| path.trim_start_matches('.').into()).collect(),
        printer: OnceLock::new(),
    })
}

/// `.spec.replicas` as a path.
fn path(value: &Value) -> Option<Vec<Box<str>>> {
    let text = value.as_str()?.trim_start_matches('.');
    (!text.is_empty()).then(|| text.split('.').map(Into::into).collect())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Sets what a definition may leave out.
pub(crate) fn complete(object: &mut Value) {
    let kind = object["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
    let Some(spec) = object["spec"].as_object_mut() else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut)
        && !kind.is_empty()
    {
        names.entry("singular").or_insert_with(|| kind.to_lowercase().into());
        names.entry("listKind").or_insert_with(|| format!("{kind}List").into());
    }
    spec.entry("conversion").or_insert_with(|| json!({ "strategy": "None" }));
}

pub(crate) fn add_finalizer(object: &mut Value) {
    let mut finalizers: Vec<Value> =
        object::finalizers(object).into_iter().map(Value::from).collect();
    if finalizers.iter().any(|finalizer| finalizer == super::FINALIZER) {
        return;
    }
    finalizers.push(super::FINALIZER.into());
    if let Some(metadata) = object::metadata_mut(object) {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
}

/// Gives a definition of the binary's own what the store would have given to it.
fn embed(object: &mut Value) {
    let name = object::meta(object, "name").to_owned();
    let digest = Sha256::digest(name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // The same in every start: it depends on the name alone.
    let uid = uuid::Builder::from_random_bytes(bytes).into_uuid();
    if let Some(metadata) = object::metadata_mut(object) {
        metadata.insert("uid".to_owned(), uid.to_string().into());
        metadata.insert("generation".to_owned(), 1.into());
        metadata.insert("creationTimestamp".to_owned(), "2026-01-01T00:00:00Z".into());
    }
}

fn entry(name: &str, object: &Value) -> Entry {
    let mut value =
        br#"{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1""#.to_vec();
    for field in ["metadata", "spec", "status"] {
        value.push(b',');
        crate::stored::write(&mut value, field);
        value.push(b':');
        crate::stored::write(&mut value, &object[field]);
    }
    value.push(b'}');
    Entry {
        key: format!("{}{name}", prefix(super::GROUP, super::PLURAL)).into(),
        value: value.into(),
        revision: Revision(1),
        created: Revision(1),
        memo: OnceLock::new(),
    }
}

/// What is wrong with a definition beside its schemas.
fn check(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &object["spec"];
    let names = &spec["names"];
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
    let (own, group, plural) =
        (object::meta(object, "name"), text(&spec["group"]), text(&names["plural"]));
    if own != format!("{plural}.{group}") {
        errors.push(FieldError::invalid(
            "metadata.name",
            own,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(
            "spec.group",
            group.as_str(),
            "should be a domain with at least one dot",
        ));
    } else {
        for problem in name::dns1123_subdomain(&group) {
            errors.push(FieldError::invalid("spec.group", group.as_str(), problem));
        }
    }
    let scope = text(&spec["scope"]);
    match scope.as_str() {
        "Cluster" | "Namespaced" => {}
        "" => errors.push(FieldError::required("spec.scope", "")),
        _ => errors.push(FieldError::not_supported("spec.scope", scope, ["Cluster", "Namespaced"])),
    }
    for (field, needed) in
        [("plural", true), ("singular", true), ("kind", true), ("listKind", true)]
    {
        let path = format!("spec.names.{field}");
        let value = text(&names[field]);
        if value.is_empty() {
            if needed {
                errors.push(FieldError::required(path, ""));
            }
            continue;
        }
        for problem in name::dns1035_label(&value.to_lowercase()) {
            errors.push(FieldError::invalid(path.clone(), value.as_str(), problem));
        }
    }
    if !names["kind"].is_null() && names["kind"] == names["listKind"] {
        errors.push(FieldError::invalid(
            "spec.names.listKind",
            text(&names["listKind"]),
            "kind and listKind may not be the same",
        ));
    }
    versions(spec, &mut errors);
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|suffix| group == *suffix || group.ends_with(&format!(".{suffix}")));
    let annotations = &object["metadata"]["annotations"];
    if protected && text(&annotations["api-approved.kubernetes.io"]).is_empty() {
        errors.push(FieldError::required(
            "metadata.annotations[api-approved.kubernetes.io]",
            "protected groups must have approval annotation \"api-approved.kubernetes.io\"",
        ));
    }
    if spec["preserveUnknownFields"] == true {
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            true,
            "must be false; use x-kubernetes-preserve-unknown-fields in the schema",
        ));
    }
    errors
}

fn versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = list(&spec["versions"]);
    if versions.is_empty() {
        errors.push(FieldError::required(
            "spec.versions",
            "must have exactly one version marked as storage version",
        ));
        return;
    }
    let mut seen = std::collections::BTreeSet::new();
    for (at, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{at}].name");
        let own = version["name"].as_str().unwrap_or_default();
        if own.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        if !seen.insert(own) {
            errors.push(FieldError::duplicate(path.clone(), own));
        }
        for problem in name::dns1035_label(own) {
            errors.push(FieldError::invalid(path.clone(), own, problem));
        }
    }
    let storing = versions.iter().filter(|version| version["storage"] == true).count();
    if storing != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            Value::Array(versions.iter().map(|version| version["name"].clone()).collect()),
            "must have exactly one version marked as storage version",
        ));
    }
}
