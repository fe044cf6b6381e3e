//! Which fields a selector may name, kind by kind, and what stands in them.

use federation_schema::selector::{FieldSelector, LabelSelector};
use federation_storage::Entry;
use serde_json::Value;

use crate::{registry::Kind, status::ApiError, stored};

/// The fields of built-in kinds beside `metadata.name` and `metadata.namespace`.
const FIELDS: &[(&str, &str, &[&str])] = &[
    (
        "",
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
    ),
    ("", "nodes", &["spec.unschedulable"]),
    ("", "namespaces", &["status.phase"]),
    ("", "secrets", &["type"]),
    ("", "services", &["spec.clusterIP", "spec.type"]),
    ("", "replicationcontrollers", &["status.replicas"]),
    (
        "",
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    (
        "events.k8s.io",
        "events",
        &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
    ),
    ("apps", "replicasets", &["status.replicas"]),
    ("batch", "jobs", &["status.successful"]),
    ("certificates.k8s.io", "certificatesigningrequests", &["spec.signerName"]),
];

/// The fields that selectors of a built-in resource may name.
pub(crate) fn builtin(group: &str, plural: &str) -> Vec<Box<str>> {
    FIELDS
        .iter()
        .find(|(of, resource, _)| *of == group && *resource == plural)
        .map(|(_, _, fields)| fields.iter().map(|field| Box::from(*field)).collect())
        .unwrap_or_default()
}

/// What a list or a watch is restricted to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// Whether a field beyond name and namespace is asked for.
    deep: bool,
}

impl Selection {
    /// Reads both selectors of a request.
    pub(crate) fn parse(
        kind: &Kind,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, ApiError> {
        let labels = labels
            .map(LabelSelector::parse)
            .transpose()
            .map_err(|error| {
                ApiError::bad_request(format!("unable to parse requirement: {error}"))
            })?
            .unwrap_or_default();
        let fields = fields
            .map(FieldSelector::parse)
            .transpose()
            .map_err(|error| ApiError::bad_request(error.to_string()))?
            .unwrap_or_default();
        let mut deep = false;
        for requirement in &fields.requirements {
            let field = requirement.field.as_str();
            if field == "metadata.name" || (field == "metadata.namespace" && kind.namespaced) {
                continue;
            }
            if !kind.selectable.iter().any(|selectable| **selectable == *field) {
                return Err(ApiError::bad_request(format!("field label not supported: {field}")));
            }
            deep = true;
        }
        Ok(Self { labels, fields, deep })
    }

    /// Whether everything is selected.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The one name that can be selected, if there is only one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// The one namespace that can be selected, if there is only one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.fields.exact("metadata.namespace")
    }

    /// Whether it selects a stored object. Names come from the key, labels from the version's memo; only other fields
    /// need the object.
    pub(crate) fn matches(&self, entry: &Entry, kind: &Kind) -> bool {
        if !self.labels.is_empty() {
            let facts = stored::facts(entry);
            if !self.labels.matches(|key| facts.labels.get(key).map(|value| &**value)) {
                return false;
            }
        }
        if self.fields.is_empty() {
            return true;
        }
        let (namespace, name) = kind.place(&entry.key);
        let object = self.deep.then(|| stored::decode(entry, kind, entry.revision));
        self.fields.matches(|field| match field {
            "metadata.name" => Some(name.to_owned()),
            "metadata.namespace" => namespace.map(str::to_owned),
            field => object.as_ref().map(|object| value(kind, object, field)),
        })
    }
}

/// What a selector reads in a field; what is not there has the value that Kubernetes would take it for.
fn value(kind: &Kind, object: &Value, field: &str) -> String {
    let text = match (&*kind.plural, field) {
        ("events", "source") => plain(&object["source"]["component"]),
        ("pods", "status.podIPs") => plain(&object["status"]["podIP"]),
        ("jobs", "status.successful") => plain(&object["status"]["succeeded"]),
        _ => plain(field.split('.').fold(object, |value, part| &value[part])),
    };
    if !text.is_empty() {
        return text;
    }
    let default = match (&*kind.plural, field) {
        ("nodes", "spec.unschedulable") | ("pods", "spec.hostNetwork") => "false",
        ("secrets", "type") => "Opaque",
        ("services", "spec.type") => "ClusterIP",
        ("replicasets" | "replicationcontrollers", "status.replicas")
        | ("jobs", "status.successful") => "0",
        ("pods", "spec.restartPolicy") => "Always",
        ("pods", "spec.schedulerName") => "default-scheduler",
        ("pods", "status.phase") => "Pending",
        ("namespaces", "status.phase") => "Active",
        _ => "",
    };
    default.to_owned()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
