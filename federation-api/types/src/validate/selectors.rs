//! What is wrong with a selector alone: of templates, of clusters, of labels.

use super::{
    Check,
    form::{Form, is_api_version, is_kind},
};
use crate::selector::{ClusterSelector, LabelOperator, LabelSelector, TemplateSelector};

/// Whether a kind of Kubernetes itself has no namespace; what is not built in may have one.
pub(super) fn is_cluster_scoped(api_version: &str, kind: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match group {
        "" => matches!(kind, "Namespace" | "Node" | "PersistentVolume" | "ComponentStatus"),
        "rbac.authorization.k8s.io" => matches!(kind, "ClusterRole" | "ClusterRoleBinding"),
        "storage.k8s.io" => kind != "CSIStorageCapacity",
        "networking.k8s.io" => matches!(kind, "IngressClass" | "IPAddress" | "ServiceCIDR"),
        "resource.k8s.io" => matches!(kind, "DeviceClass" | "ResourceSlice"),
        "certificates.k8s.io" => kind != "PodCertificateRequest",
        "admissionregistration.k8s.io"
        | "apiextensions.k8s.io"
        | "apiregistration.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "node.k8s.io"
        | "scheduling.k8s.io" => true,
        _ => false,
    }
}

/// The `apiVersion` and `kind` below a field.
pub(super) fn api_and_kind(field: &str, api_version: &str, kind: &str, check: &mut Check<'_>) {
    if kind.is_empty() {
        check.required(&format!("{field}.kind"), "name the kind");
    } else if !is_kind(kind) {
        let rule = "must be a kind, such as Deployment; * is no wildcard here";
        check.invalid(&format!("{field}.kind"), format!("{kind:?}"), rule);
    }
    if api_version.is_empty() {
        check.required(&format!("{field}.apiVersion"), "name the group and version");
    } else if !is_api_version(api_version) {
        let rule = "must be a version, or a group and a version: v1, apps/v1";
        check.invalid(&format!("{field}.apiVersion"), format!("{api_version:?}"), rule);
    }
}

pub(super) fn selectors(selectors: &[TemplateSelector], check: &mut Check<'_>) {
    if selectors.is_empty() {
        check.required("spec.selectors", "a policy selects at least one kind");
    }
    for (at, selector) in selectors.iter().enumerate() {
        let field = format!("spec.selectors[{at}]");
        api_and_kind(&field, &selector.api_version, &selector.kind, check);
        check.form_if_any(&format!("{field}.name"), &selector.name, Form::Word);
        let own = selector.api_version.split_once('/').map_or("", |(group, _)| group);
        if own == crate::names::GROUP || own.ends_with(&format!(".{}", crate::names::GROUP)) {
            check.forbidden(
                &format!("{field}.apiVersion"),
                "kinds of archipel.dev are never templates",
            );
        }
        label_selector(&format!("{field}.labelSelector"), &selector.label_selector, check);
        let secrets = own.is_empty() && selector.kind == "Secret";
        if secrets && selector.name.is_empty() && selector.label_selector.is_empty() {
            check.required(&field, "a selector of Secrets needs a name or labels");
        }
    }
}

pub(super) fn cluster_selector(field: &str, selector: &ClusterSelector, check: &mut Check<'_>) {
    label_selector(&format!("{field}.labelSelector"), &selector.label_selector, check);
    check.forms(&format!("{field}.sets"), &selector.sets, Form::Name);
    check.forms(&format!("{field}.providers"), &selector.providers, Form::Provider);
    check.forms(&format!("{field}.regions"), &selector.regions, Form::Pattern);
    check.forms(&format!("{field}.zones"), &selector.zones, Form::Pattern);
    check.forms(&format!("{field}.names"), &selector.names, Form::NamePattern);
    check.forms(&format!("{field}.exclude"), &selector.exclude, Form::NamePattern);
    for name in &selector.names {
        if selector.exclude.contains(name) {
            check
                .forbidden(&format!("{field}.exclude"), &format!("{name:?} is named and excluded"));
        }
    }
}

pub(super) fn label_selector(field: &str, selector: &LabelSelector, check: &mut Check<'_>) {
    for (key, value) in &selector.match_labels {
        let field = format!("{field}.matchLabels[{key}]");
        check.form(&field, key, Form::Key);
        check.form(&field, value, Form::LabelValue);
    }
    for (at, it) in selector.match_expressions.iter().enumerate() {
        check.form(&format!("{field}.matchExpressions[{at}].key"), &it.key, Form::Key);
        let field = format!("{field}.matchExpressions[{at}].values");
        check.forms(&field, &it.values, Form::LabelValue);
        match it.operator {
            LabelOperator::In | LabelOperator::NotIn if it.values.is_empty() => {
                check.required(&field, "In and NotIn take values");
            }
            LabelOperator::Exists | LabelOperator::DoesNotExist if !it.values.is_empty() => {
                check.forbidden(&field, "Exists and DoesNotExist take no values");
            }
            LabelOperator::In
            | LabelOperator::NotIn
            | LabelOperator::Exists
            | LabelOperator::DoesNotExist => (),
        }
    }
}
