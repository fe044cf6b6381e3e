//! What is odd about policies beside one another, and beside the templates they claim.

use federation_types::{
    policy::{Division, ReplicaMode},
    reason::lint as code,
    selector::{Specificity, TemplateSelector, glob},
    shape,
    words::counted,
};
use status_rules::Rules;

use super::{Finding, Read, Report, Severity, selector};
use crate::{
    claim::{Claim, Facts, Policy, claim},
    scenario::Document,
    workload::Workload,
};

pub(super) fn look(
    documents: &[&Document],
    policies: &[Read],
    rules: &Rules,
    findings: &mut Vec<Finding>,
) {
    for it in policies {
        let mut report = Report { document: it.document, findings };
        shadowed(it, policies, &mut report);
    }
    templates(documents, policies, rules, findings);
}

/// A policy every selector of which another one wins.
fn shadowed(it: &Read, policies: &[Read], report: &mut Report<'_>) {
    if it.policy.limits_only {
        return;
    }
    let by = |selector: &TemplateSelector| {
        policies
            .iter()
            .filter(|other| other.document != it.document)
            .map(|other| &*other.policy)
            .find(|other| wins_all(other, &it.policy, selector))
    };
    let winners: Option<Vec<&Policy>> = it.policy.spec.selectors.iter().map(by).collect();
    if let Some(winner) = winners.as_deref().and_then(<[_]>::first) {
        let why = if winner.spec.priority > it.policy.spec.priority {
            "its priority is higher"
        } else {
            "it selects as narrowly and goes first"
        };
        report.warn(
            code::SHADOWED,
            "spec.selectors",
            format!("{} claims all that it selects: {why}", winner.title()),
            "raise spec.priority, narrow a selector, or take the policy out",
        );
    }
}

fn specificity(it: &TemplateSelector) -> Specificity {
    if !it.name.is_empty() {
        Specificity::Name
    } else if it.label_selector.is_empty() {
        Specificity::Kind
    } else {
        Specificity::Labels
    }
}

/// Whether `other` claims whatever the selector of `own` selects (RULES 2.1).
fn wins_all(other: &Policy, own: &Policy, selects: &TemplateSelector) -> bool {
    if other.limits_only {
        return false;
    }
    let scope = if other.namespace.is_empty() {
        let everywhere = other.namespaces.is_empty();
        let there =
            !own.namespace.is_empty() && other.namespaces.iter().any(|it| glob(it, &own.namespace));
        let same = own.namespace.is_empty() && other.namespaces == own.namespaces;
        (everywhere || there || same)
            && (own.system_namespaces.is_none() || other.system_namespaces.is_some())
    } else {
        other.namespace == own.namespace
    };
    scope
        && other.spec.selectors.iter().any(|it| {
            let group = |it: &TemplateSelector| {
                it.api_version.split_once('/').map_or(String::new(), |(group, _)| group.to_owned())
            };
            let covers = group(it) == group(selects)
                && it.kind == selects.kind
                && (it.name.is_empty() || it.name == selects.name)
                && selector::covers_labels(&it.label_selector, &selects.label_selector);
            let order = |policy: &Policy, it: &TemplateSelector| {
                (policy.spec.priority, specificity(it), !policy.namespace.is_empty())
            };
            covers
                && match order(other, it).cmp(&order(own, selects)) {
                    std::cmp::Ordering::Greater => true,
                    std::cmp::Ordering::Equal => other.name < own.name,
                    std::cmp::Ordering::Less => false,
                }
        })
}

/// Whether a document is a template, and not an object of ours.
pub(super) fn is_template(document: &Document) -> bool {
    !shape::is_ours(&document.value) && shape::of_kind(document.kind()).is_none()
}

/// Templates whose size the policy that claims them cannot hold.
fn templates(
    documents: &[&Document],
    policies: &[Read],
    rules: &Rules,
    findings: &mut Vec<Finding>,
) {
    for document in documents.iter().filter(|it| is_template(it)) {
        let workload = Workload::read(&document.value, rules);
        let Some(replicas) = workload.replicas else { continue };
        let facts = Facts { key: &workload.key, labels: &workload.labels, secret_type: "" };
        let Some(it) = claimant(&facts, policies) else { continue };
        let spec = &it.policy.spec;
        let Some(wanted) =
            spec.replicas.as_ref().filter(|it| it.mode != Some(ReplicaMode::Duplicated))
        else {
            continue;
        };
        let mut report = Report { document: it.document, findings };
        let clusters = spec.spread.iter().filter_map(|it| it.min).max().unwrap_or(1).max(1);
        let each = wanted.min_per_cluster.unwrap_or(1).max(1);
        let divided = wanted.mode == Some(ReplicaMode::Divided)
            || wanted.division.is_some()
            || wanted.min_per_cluster.is_some();
        let needed = i64::from(clusters) * i64::from(each);
        if divided && replicas > 0 && replicas < needed {
            report.say(
                Severity::Error,
                code::TOO_FEW_REPLICAS,
                if wanted.min_per_cluster.is_some() {
                    "spec.replicas.minPerCluster"
                } else {
                    "spec.spread"
                },
                format!(
                    "{} has {}, fewer than {clusters} × {each} = {needed}",
                    workload.key,
                    counted(replicas, "replica", "replicas")
                ),
                "lower minPerCluster or the spread's min, or give the template more replicas",
            );
        }
        if wanted.division == Some(Division::Cheapest) && workload.requests.base[..2] == [0, 0] {
            report.warn(
                code::NO_REQUESTS,
                "spec.replicas.division",
                format!("{} requests neither cpu nor memory: a replica counts as one of the pods of a node, and costs that share", workload.key),
                "state requests in the template",
            );
        }
    }
}

fn claimant<'a>(facts: &Facts<'_>, policies: &'a [Read]) -> Option<&'a Read> {
    let Claim { winner, .. } = claim(facts, policies.iter().map(|it| &it.policy));
    let winner = winner?;
    policies.iter().find(|it| std::sync::Arc::ptr_eq(&it.policy, &winner))
}
