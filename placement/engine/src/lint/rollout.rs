//! What is odd about a rollout strategy, alone and beside the policies that name one.

use federation_types::{
    names::home_namespace,
    reason::lint as code,
    rollout::{Approval, RolloutStrategySpec},
};

use super::{Finding, Given, Report, selector};
use crate::scenario::Document;

pub(super) fn look(spec: &RolloutStrategySpec, report: &mut Report<'_>) {
    for (at, it) in spec.waves.iter().enumerate() {
        let field = format!("spec.waves[{at}]");
        if let Some((part, why)) = selector::impossible(&it.clusters) {
            let field = format!("{field}.clusters.{part}");
            report.warn(code::SELECTS_NOTHING, field, why, "widen it, or take the wave out");
        }
        let before = spec.waves.iter().take(at);
        let taken = before.filter(|_| !it.clusters.is_empty());
        if let Some(wide) =
            taken.into_iter().find(|wide| selector::covers(&wide.clusters, &it.clusters))
        {
            let why = format!("wave {} takes all of its clusters", wide.name);
            report.warn(
                code::UNREACHABLE_GROUP,
                field,
                why,
                "put it before that wave, or take it out",
            );
        }
    }
    let alone = spec.waves.len() == 1
        && spec.waves.iter().all(|it| {
            it.clusters.is_empty() && it.max_concurrent.is_none() && it.approval == Approval::None
        });
    if alone {
        let why = "every cluster gets a change at once, as without a strategy; it is only watched";
        report.warn(code::NO_EFFECT, "spec.waves", why, "name a first wave, or say maxConcurrent");
    }
}

/// Policies that name a strategy which is not among those given; where none is given, nothing is known.
pub(super) fn beside(documents: &[&Document], given: &Given, findings: &mut Vec<Finding>) {
    if given.strategies.is_empty() {
        return;
    }
    let text = |at: usize, path: &str| {
        documents[at].value.pointer(path).and_then(serde_json::Value::as_str).unwrap_or_default()
    };
    let known: Vec<(&str, &str)> = given
        .strategies
        .iter()
        .map(|(at, _)| (text(*at, "/metadata/namespace"), text(*at, "/metadata/name")))
        .collect();
    for it in &given.policies {
        let Some(rollout) = &it.policy.spec.rollout else { continue };
        let namespace = home_namespace(&it.policy.namespace);
        let name = rollout.strategy_name.as_str();
        if known.contains(&(namespace, name)) {
            continue;
        }
        let mut report = Report { document: it.document, findings };
        let why = format!("no given RolloutStrategy of the namespace {namespace} is called {name}");
        let advice = "name a RolloutStrategy: without it nothing new is released";
        report.warn(code::UNKNOWN_NAME, "spec.rollout.strategyName", why, advice);
    }
}
