//! What is odd about objects beside the members that are given with them: what lets none of them in.

use std::collections::BTreeSet;

use federation_types::{
    policy::{Near, PlacementPolicySpec, WhenUnsatisfiable},
    reason::lint as code,
    selector::ClusterSelector,
};

use super::{Finding, Given, Report, selector};
use crate::{
    claim::Policy,
    expression::{Expression, Expressions},
    fleet::Fleet,
    mask,
    policy::Selector,
};

pub(super) fn look(fleet: &Fleet, given: &Given, findings: &mut Vec<Finding>) {
    for it in &given.policies {
        let mut report = Report { document: it.document, findings };
        policy(&it.policy, fleet, &mut report);
    }
    for (document, it) in &given.overrides {
        let mut report = Report { document: *document, findings };
        for (at, rule) in it.rules.iter().enumerate() {
            selects(&format!("spec.rules[{at}].clusters"), &rule.clusters, fleet, &mut report);
        }
    }
    for (document, it) in &given.strategies {
        let mut report = Report { document: *document, findings };
        for (at, wave) in it.waves.iter().enumerate() {
            selects(&format!("spec.waves[{at}].clusters"), &wave.clusters, fleet, &mut report);
        }
    }
    for (document, it) in &given.scores {
        if fleet.id(&it.cluster).is_none() {
            let mut report = Report { document: *document, findings };
            let why = format!("none of the {} given members is called {}", fleet.len(), it.cluster);
            report.warn(code::SELECTS_NO_MEMBER, "spec.cluster", why, "name a MemberCluster");
        }
    }
}

fn policy(policy: &Policy, fleet: &Fleet, report: &mut Report<'_>) {
    let spec = &policy.spec;
    let groups = spec
        .affinities
        .iter()
        .enumerate()
        .map(|(at, it)| (format!("spec.affinities[{at}].clusters"), &it.clusters));
    let weights = spec
        .replicas
        .iter()
        .flat_map(|it| it.weights.iter().enumerate())
        .map(|(at, it)| (format!("spec.replicas.weights[{at}].clusters"), &it.clusters));
    let limits = policy
        .limits
        .iter()
        .filter_map(|it| it.clusters.as_ref())
        .map(|it| ("spec.limits.clusters".to_owned(), it));
    for (field, it) in groups.chain(weights).chain(limits) {
        selects(&field, it, fleet, report);
    }
    let residency = spec
        .residency
        .iter()
        .map(|it| ("spec.residency.jurisdictions", it.jurisdictions.as_slice()));
    let limit =
        policy.limits.iter().map(|it| ("spec.limits.jurisdictions", it.jurisdictions.as_slice()));
    for (field, wanted) in residency.chain(limit) {
        let lies = |it: &crate::fleet::Cluster| wanted.contains(&it.spec.jurisdiction);
        if !wanted.is_empty() && !fleet.clusters.iter().any(lies) {
            let why =
                format!("none of the {} given members lies in {}", fleet.len(), wanted.join(", "));
            report.warn(
                code::SELECTS_NO_MEMBER,
                field,
                why,
                "compare it with the members' jurisdictions",
            );
        }
    }
    for (at, it) in spec.near.iter().enumerate() {
        near(&format!("spec.near[{at}]"), it, fleet, report);
    }
    domains(spec, fleet, report);
}

/// A selector that lets none of the members in; where one expression is to blame, that is said.
fn selects(field: &str, it: &ClusterSelector, fleet: &Fleet, report: &mut Report<'_>) {
    if selector::impossible(it).is_some() || !among(it, fleet).is_empty() {
        return;
    }
    let blamed = it.expressions.iter().position(|text| {
        let alone =
            ClusterSelector { expressions: vec![text.clone()], ..ClusterSelector::default() };
        among(&alone, fleet).is_empty()
    });
    let (field, what) = match blamed {
        Some(at) => (format!("{field}.expressions[{at}]"), "satisfies it"),
        None => (field.to_owned(), "is selected"),
    };
    let message = format!("none of the {} given members {what}", fleet.len());
    report.warn(
        code::SELECTS_NO_MEMBER,
        field,
        message,
        "compare it with the members' names, labels and regions",
    );
}

/// The places of the members that a selector lets in.
fn among(spec: &ClusterSelector, fleet: &Fleet) -> Vec<usize> {
    let expressions: Result<Vec<_>, _> =
        spec.expressions.iter().map(|it| Expression::parse(it)).collect();
    // What cannot be compiled is refused as such.
    let Ok(expressions) = expressions else { return (0..fleet.len()).collect() };
    let compiled = Selector { spec: spec.clone(), expressions };
    let mut cache = Expressions::default();
    (0..fleet.len())
        .filter(|at| mask::refuses(fleet, &compiled, *at, &mut cache).is_none())
        .collect()
}

fn near(field: &str, it: &Near, fleet: &Fleet, report: &mut Report<'_>) {
    let latencies: Vec<u32> = fleet
        .clusters
        .iter()
        .flat_map(|member| &member.spec.services)
        .filter(|service| service.name == it.service)
        .map(|service| service.latency_ms)
        .collect();
    let Some(least) = latencies.iter().min() else {
        let message = format!("no given member says that {} is near", it.service);
        let advice = "name a service of some member's spec.services";
        report.warn(code::SELECTS_NO_MEMBER, format!("{field}.service"), message, advice);
        return;
    };
    if let Some(max) = it.max_latency_ms.filter(|max| max < least && it.required != Some(false)) {
        let message =
            format!("{max} ms at most are wanted, and the nearest given member is {least} ms away");
        let advice = "raise it, or make it a wish with required: false";
        report.warn(code::SELECTS_NO_MEMBER, format!("{field}.maxLatencyMs"), message, advice);
    }
}

/// A spread over more domains than the members that any one group lets in have.
fn domains(spec: &PlacementPolicySpec, fleet: &Fleet, report: &mut Report<'_>) {
    let groups: Vec<Vec<usize>> = if spec.affinities.is_empty() {
        vec![(0..fleet.len()).collect()]
    } else {
        spec.affinities.iter().map(|it| among(&it.clusters, fleet)).collect()
    };
    for (at, it) in spec.spread.iter().enumerate() {
        let hard = it.when_unsatisfiable != Some(WhenUnsatisfiable::ScheduleAnyway);
        let Some(min) = it.min.filter(|_| hard) else { continue };
        let count = |group: &Vec<usize>| -> usize {
            let of = |at: &usize| domains_of(fleet, *at, &it.topology_key);
            group.iter().flat_map(of).collect::<BTreeSet<String>>().len()
        };
        let most = groups.iter().map(count).max().unwrap_or(0);
        // What selects nobody at all is told already.
        if most > 0 && most < min as usize {
            let message = format!(
                "{min} of {} are wanted, and the given members that may be chosen have {most}",
                it.topology_key
            );
            let advice = "lower min, widen the affinities, or make it a wish with ScheduleAnyway";
            report.warn(code::TOO_FEW_DOMAINS, format!("spec.spread[{at}].min"), message, advice);
        }
    }
}

fn domains_of(fleet: &Fleet, at: usize, key: &str) -> Vec<String> {
    let cluster = &fleet.clusters[at];
    let one = |text: &String| if text.is_empty() { Vec::new() } else { vec![text.clone()] };
    match key {
        "cluster" => vec![cluster.name.clone()],
        "provider" => one(&cluster.spec.provider),
        "region" => one(&cluster.spec.region),
        "zone" => cluster.spec.zones.clone(),
        label => cluster.labels.get(label).into_iter().cloned().collect(),
    }
}
