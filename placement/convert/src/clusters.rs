//! Karmada's selectors, of clusters (`ClusterAffinity`) and of templates, as ours.

use std::collections::BTreeMap;

use federation_types::selector::{ClusterSelector, LabelSelector, TemplateSelector};
use serde_json::{Value, from_value};

use crate::{Change, fields::Fields};

/// Providers as our MemberClusters name them.
const PROVIDERS: [&str; 4] = ["eks", "gke", "aks", "onprem"];

/// Reads the fields of a ClusterAffinity.
pub(crate) fn selector(fields: &mut Fields) -> ClusterSelector {
    let mut selector = ClusterSelector {
        label_selector: labels(fields),
        names: fields.texts("clusterNames"),
        exclude: fields.texts("exclude"),
        ..ClusterSelector::default()
    };
    if let Some(mut inner) = fields.inner("fieldSelector") {
        for mut it in inner.list("matchExpressions") {
            expression(&mut it, &mut selector);
            inner.join(it);
        }
        fields.join(inner);
    }
    selector
}

pub(crate) fn labels(fields: &mut Fields) -> LabelSelector {
    let Some(value) = fields.take("labelSelector") else { return LabelSelector::default() };
    from_value(value).unwrap_or_else(|error| {
        fields.note("labelSelector", Change::Dropped, format!("cannot be read: {error}"));
        LabelSelector::default()
    })
}

fn expression(it: &mut Fields, selector: &mut ClusterSelector) {
    let key = it.text("key").unwrap_or_default();
    let operator = it.text("operator").unwrap_or_default();
    let values = it.texts("values");
    if key == "provider" {
        for value in values.iter().filter(|it| !PROVIDERS.contains(&it.as_str())) {
            it.note(
                "values",
                Change::Changed,
                format!("`{value}`: providers of MemberClusters are eks, gke, aks and onprem"),
            );
        }
    }
    let list = values.iter().map(|it| format!("{it:?}")).collect::<Vec<_>>().join(", ");
    let first = |there: &mut Vec<String>| {
        let free = there.is_empty();
        if free {
            there.clone_from(&values);
        }
        free
    };
    let text = match (key.as_str(), operator.as_str()) {
        ("provider", "In") if first(&mut selector.providers) => return,
        ("region", "In") if first(&mut selector.regions) => return,
        ("provider" | "region", "In") => format!("cluster.{key} in [{list}]"),
        ("provider" | "region", "NotIn") => format!("!(cluster.{key} in [{list}])"),
        ("zone", "In") if first(&mut selector.zones) => {
            let why = "one of a cluster's zones is enough; in Karmada all must be among them";
            it.note("values", Change::Changed, why);
            return;
        }
        ("zone", "NotIn") => {
            let parts: Vec<_> =
                values.iter().map(|it| format!("!({it:?} in cluster.zones)")).collect();
            parts.join(" && ")
        }
        _ => {
            let why = format!("`{key} {operator}` is not read; write it as an expression");
            it.note("", Change::Dropped, why);
            return;
        }
    };
    selector.expressions.push(text);
}

/// Template selectors by the namespace that they name; empty: every one.
pub(crate) fn templates(
    spec: &mut Fields,
    own: Option<&str>,
) -> BTreeMap<String, Vec<TemplateSelector>> {
    let mut found: BTreeMap<String, Vec<TemplateSelector>> = BTreeMap::new();
    for mut it in spec.list("resourceSelectors") {
        let name = it.text("name").unwrap_or_default();
        let label_selector = labels(&mut it);
        let mut namespace = it.text("namespace").unwrap_or_default();
        if let Some(own) = own {
            if !namespace.is_empty() && namespace != own {
                let why =
                    "a namespaced policy selects in its own namespace; the selector is left out";
                it.note("namespace", Change::Dropped, why);
                it.take("apiVersion");
                it.take("kind");
                spec.join(it);
                continue;
            }
            namespace.clear();
        }
        let mut selector = TemplateSelector {
            api_version: it.text("apiVersion").unwrap_or_default(),
            kind: it.text("kind").unwrap_or_default(),
            name,
            label_selector,
        };
        if !selector.name.is_empty() && !selector.label_selector.is_empty() {
            selector.label_selector = LabelSelector::default();
            it.note("labelSelector", Change::Same, "ignored beside a name, in Karmada too");
        }
        if selector.api_version.is_empty() || selector.kind.is_empty() {
            it.note("", Change::Dropped, "apiVersion and kind are required");
        } else {
            found.entry(namespace).or_default().push(selector);
        }
        spec.join(it);
    }
    found
}

/// How narrow the narrowest selector is, as Karmada ranks them: 3 by name, 2 by labels, 1 otherwise.
pub(crate) fn rank(selectors: &[TemplateSelector]) -> i32 {
    let of = |it: &TemplateSelector| match (it.name.is_empty(), it.label_selector.is_empty()) {
        (false, _) => 3,
        (true, false) => 2,
        (true, true) => 1,
    };
    selectors.iter().map(of).max().unwrap_or(1)
}

/// As JSON, for a document.
pub(crate) fn value(it: &impl serde::Serialize) -> Value {
    serde_json::to_value(it).expect("plain data with text keys")
}
