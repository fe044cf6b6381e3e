//! What is odd about objects beside the templates, price books, scores and policies that are given with them: names that
//! nothing answers to.

use std::collections::BTreeSet;

use federation_types::{
    policy::PlacementPolicySpec,
    reason::lint as code,
    selector::{LabelSelector, TemplateSelector, glob},
    spend::TrafficTo,
};
use serde_json::Value;
use status_rules::Rules;

use super::{Finding, Given, Report, together::is_template};
use crate::{
    claim::{Facts, never},
    scenario::Document,
    workload::Workload,
};

pub(super) fn look(
    documents: &[&Document],
    given: &Given,
    rules: &Rules,
    findings: &mut Vec<Finding>,
) {
    let given_templates = documents.iter().filter(|it| is_template(it));
    let templates: Vec<Template> =
        given_templates.filter_map(|it| Template::of(it, rules)).collect();
    for it in &given.policies {
        let policy = &it.policy;
        let mut report = Report { document: it.document, findings };
        let there: Vec<&Template> = templates
            .iter()
            .filter(|it| {
                policy.namespace.is_empty() || it.workload.key.namespace == policy.namespace
            })
            .collect();
        let selected = there.iter().any(|it| policy.selects(&it.facts()).is_some());
        selects_some(selected, there.len(), &mut report);
        names(&policy.spec, &policy.namespace, given, &there, &mut report);
    }
    for (document, it) in &given.overrides {
        let namespace = text(&documents[*document].value, "/metadata/namespace");
        let mut report = Report { document: *document, findings };
        let there: Vec<&Template> = templates
            .iter()
            .filter(|it| namespace.is_empty() || it.workload.key.namespace == namespace)
            .collect();
        let selected = there.iter().any(|template| it.selectors.iter().any(|it| template.is(it)));
        selects_some(selected, there.len(), &mut report);
    }
    cost_budgets(&templates, given, findings);
    scores(given, findings);
}

/// A template among the documents.
struct Template {
    workload: Workload,
    secret_type: String,
}

impl Template {
    /// None for what is never a template.
    fn of(document: &Document, rules: &Rules) -> Option<Self> {
        let mut workload = Workload::read(&document.value, rules);
        if workload.key.gvk.kind.is_empty() || workload.key.name.is_empty() {
            return None;
        }
        if workload.key.namespace.is_empty() && workload.key.gvk.kind != "Namespace" {
            workload.key.namespace = "default".into();
        }
        let secret_type = text(&document.value, "/type");
        let it = Self { workload, secret_type };
        never(&it.facts()).is_none().then_some(it)
    }

    fn facts(&self) -> Facts<'_> {
        let Self { workload, secret_type } = self;
        Facts { key: &workload.key, labels: &workload.labels, secret_type }
    }

    fn is(&self, selector: &TemplateSelector) -> bool {
        let key = &self.workload.key;
        selector.matches(&key.gvk.group, &key.gvk.kind, &key.name, &self.workload.labels).is_some()
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn selects_some(selected: bool, there: usize, report: &mut Report<'_>) {
    if !selected && there > 0 {
        report.warn(
            code::SELECTS_NO_TEMPLATE,
            "spec.selectors",
            format!("none of the {there} given templates in its reach is selected"),
            "compare it with their kinds, names and labels",
        );
    }
}

/// What a policy names and nobody gives.
fn names(
    spec: &PlacementPolicySpec,
    namespace: &str,
    given: &Given,
    templates: &[&Template],
    report: &mut Report<'_>,
) {
    let charges: BTreeSet<&str> =
        given.books.iter().flat_map(|(_, it)| &it.charges).map(|it| it.name.as_str()).collect();
    for (at, it) in spec.brings.iter().enumerate() {
        if !given.books.is_empty() && !charges.contains(it.as_str()) {
            let why = format!("no given PriceBook has a charge {it}: it costs nothing");
            let field = format!("spec.brings[{at}]");
            report.warn(code::UNKNOWN_NAME, field, why, "name a charge of a PriceBook");
        }
    }
    let spot =
        given.books.iter().flat_map(|(_, it)| &it.prices).any(|it| it.spot_usd_hour.is_some());
    if spec.spot.is_some() && !given.books.is_empty() && !spot {
        report.warn(
            code::NO_EFFECT,
            "spec.spot",
            "no given PriceBook has a spot price: what it saves is not known",
            "add spotUsdHour to a PriceBook",
        );
    }
    let points: BTreeSet<&str> =
        given.scores.iter().flat_map(|(_, it)| &it.scores).map(|it| it.name.as_str()).collect();
    for (at, it) in spec.objectives.iter().flat_map(|it| &it.scores).enumerate() {
        if !given.scores.is_empty() && !points.contains(it.name.as_str()) {
            let why = format!("no given ClusterScore gives points called {}", it.name);
            let field = format!("spec.objectives.scores[{at}].name");
            report.warn(code::UNKNOWN_NAME, field, why, "name a score of a ClusterScore");
        }
    }
    // Of a cluster policy the templates that are meant are those of each namespace.
    if namespace.is_empty() || templates.is_empty() {
        return;
    }
    for (at, it) in spec.traffic.iter().enumerate().filter(|(_, it)| it.to == TrafficTo::Template) {
        let kind = if it.kind.is_empty() { "Deployment" } else { &it.kind };
        let known = |template: &&Template| {
            template.workload.key.name == it.name && template.workload.key.gvk.kind == kind
        };
        if !templates.iter().any(known) {
            let why = format!("there is no {kind} {} among the given templates", it.name);
            let field = format!("spec.traffic[{at}].name");
            report.warn(code::UNKNOWN_NAME, field, why, "name a template of the namespace");
        }
    }
    let beside = [
        ("spec.workloadAffinity", &spec.workload_affinity),
        ("spec.workloadAntiAffinity", &spec.workload_anti_affinity),
    ];
    for (name, terms) in beside {
        for (at, it) in terms.iter().enumerate() {
            if !selects(&it.label_selector, templates) {
                let why = "none of the given templates of the namespace is selected";
                let field = format!("{name}[{at}].labelSelector");
                report.warn(code::SELECTS_NO_TEMPLATE, field, why, "compare it with their labels");
            }
        }
    }
}

fn selects(selector: &LabelSelector, templates: &[&Template]) -> bool {
    templates.iter().any(|it| selector.matches(&it.workload.labels))
}

fn cost_budgets(templates: &[Template], given: &Given, findings: &mut Vec<Finding>) {
    for (document, it) in &given.cost_budgets {
        let mut report = Report { document: *document, findings };
        for (at, named) in it.policies.iter().enumerate() {
            let known = given
                .policies
                .iter()
                .any(|it| it.policy.namespace == named.namespace && it.policy.name == named.name);
            if !given.policies.is_empty() && !known {
                let why = format!("no given policy is called {}", named.name);
                let field = format!("spec.policies[{at}].name");
                report.warn(code::UNKNOWN_NAME, field, why, "name a policy, with its namespace");
            }
        }
        let covered = |template: &Template| {
            let namespace = &template.workload.key.namespace;
            (it.namespaces.is_empty() || it.namespaces.iter().any(|it| glob(it, namespace)))
                && it.label_selector.matches(&template.workload.labels)
        };
        if !templates.is_empty() && !templates.iter().any(covered) {
            report.warn(
                code::SELECTS_NO_TEMPLATE,
                "spec",
                format!("none of the {} given templates is covered", templates.len()),
                "compare it with their namespaces and labels",
            );
        }
    }
}

/// Points that no policy counts.
fn scores(given: &Given, findings: &mut Vec<Finding>) {
    let counted: BTreeSet<&str> = given
        .policies
        .iter()
        .flat_map(|it| &it.policy.spec.objectives)
        .flat_map(|it| &it.scores)
        .map(|it| it.name.as_str())
        .collect();
    for (document, it) in given.scores.iter().filter(|_| !given.policies.is_empty()) {
        let mut report = Report { document: *document, findings };
        for (at, points) in it.scores.iter().enumerate() {
            if !counted.contains(points.name.as_str()) {
                let why = format!("no given policy counts {}", points.name);
                let field = format!("spec.scores[{at}].name");
                let advice = "say what a point is worth in a policy's objectives.scores";
                report.warn(code::NO_EFFECT, field, why, advice);
            }
        }
    }
}
