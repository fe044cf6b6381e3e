//! What is wrong with a placement policy alone, and with the limits of a cluster policy.

use super::{
    Check, Problem, dollars, duration,
    form::Form,
    selectors::{cluster_selector, is_cluster_scoped, label_selector, selectors},
    spend,
};
use crate::{
    cluster::TaintEffect,
    policy::{
        ClusterPlacementPolicySpec, Division, FailbackMode, Failover, Limits, PlacementPolicySpec,
        ReplicaMode, Replicas, Spread, Toleration, TolerationOperator, WhenUnsatisfiable,
        WorkloadTerm,
    },
};

/// What is wrong with a namespaced policy.
pub fn placement_policy(spec: &PlacementPolicySpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    policy(spec, check);
    for (at, selector) in spec.selectors.iter().enumerate() {
        if is_cluster_scoped(&selector.api_version, &selector.kind) {
            let why = format!(
                "a {} has no namespace: a ClusterPlacementPolicy selects it",
                selector.kind
            );
            check.forbidden(&format!("spec.selectors[{at}].kind"), &why);
        }
    }
    problems
}

/// What is wrong with the part of a cluster policy that a namespaced one has too.
pub fn policy_of_all_namespaces(spec: &PlacementPolicySpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    policy(spec, &mut Check { problems: &mut problems });
    problems
}

/// What is wrong with a cluster policy.
pub fn cluster_placement_policy(spec: &ClusterPlacementPolicySpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    policy(&spec.policy, check);
    if let Some(limits) = &spec.limits {
        limits_alone(limits, check);
        if spec.limits_only && *limits == Limits::default() {
            check.required("spec.limits", "a policy with limitsOnly must state limits");
        }
        if !spec.limits_only {
            own_limits(spec, limits, check);
        }
    } else if spec.limits_only {
        check.required("spec.limits", "a policy with limitsOnly must state limits");
    }
    check.forms("spec.namespaces", &spec.namespaces, Form::NamePattern);
    problems
}

fn limits_alone(limits: &Limits, check: &mut Check<'_>) {
    if let Some(clusters) = &limits.clusters {
        cluster_selector("spec.limits.clusters", clusters, check);
    }
    check.forms("spec.limits.jurisdictions", &limits.jurisdictions, Form::Word);
    check.forms("spec.limits.tolerations", limits.tolerations.iter().flatten(), Form::Key);
    for (field, max) in [("maxClusters", limits.max_clusters), ("maxReplicas", limits.max_replicas)]
    {
        if max == Some(0) {
            check.invalid(&format!("spec.limits.{field}"), 0, "must be at least 1");
        }
    }
    if let Some(usd) = &limits.max_monthly_usd {
        dollars("spec.limits.maxMonthlyUsd", usd, check);
    }
}

/// What a policy asks for and its own limits rule out: they bind its own templates too.
fn own_limits(spec: &ClusterPlacementPolicySpec, limits: &Limits, check: &mut Check<'_>) {
    let hard = || spec.policy.spread.iter().filter(|it| is_hard(it));
    let min = hard().filter_map(|it| it.min).max().unwrap_or(0);
    let wanted = |min| format!("spec.spread asks for at least {min} clusters");
    if limits.max_clusters.is_some_and(|max| max < min) {
        check.invalid("spec.limits.maxClusters", limits.max_clusters.unwrap_or(0), &wanted(min));
    }
    let replicas = spec.policy.replicas.clone().unwrap_or_default();
    let least = min.max(1).saturating_mul(replicas.min_per_cluster.unwrap_or(0));
    if let Some(max) = limits.max_replicas.filter(|max| *max < least) {
        let rule = format!("spec.spread and minPerCluster ask for at least {least} replicas");
        check.invalid("spec.limits.maxReplicas", max, &rule);
    }
    if let Some(residency) = &spec.policy.residency
        && !limits.jurisdictions.is_empty()
        && !residency.jurisdictions.is_empty()
        && !residency.jurisdictions.iter().any(|it| limits.jurisdictions.contains(it))
    {
        let value = format!("{:?}", limits.jurisdictions);
        check.invalid(
            "spec.limits.jurisdictions",
            value,
            "none of them is in spec.residency.jurisdictions",
        );
    }
}

fn policy(spec: &PlacementPolicySpec, check: &mut Check<'_>) {
    selectors(&spec.selectors, check);
    let mut names = std::collections::BTreeSet::new();
    for (at, affinity) in spec.affinities.iter().enumerate() {
        cluster_selector(&format!("spec.affinities[{at}].clusters"), &affinity.clusters, check);
        if !affinity.name.is_empty() && !names.insert(&affinity.name) {
            check.duplicate(&format!("spec.affinities[{at}].name"), &affinity.name);
        }
    }
    tolerations(&spec.tolerations, check);
    let last = spec.affinities.len().saturating_sub(1);
    for (at, affinity) in spec.affinities.iter().enumerate() {
        if affinity.overflow.is_some() && at == last {
            let field = format!("spec.affinities[{at}].overflow");
            check.forbidden(&field, "there is no group after the last one");
        }
        let whole = spec.replicas.as_ref().and_then(|it| it.mode) == Some(ReplicaMode::Duplicated);
        if affinity.overflow.is_some() && whole {
            let field = format!("spec.affinities[{at}].overflow");
            check.forbidden(&field, "only replicas that are divided overflow");
        }
    }
    workload_terms("spec.workloadAffinity", &spec.workload_affinity, check);
    workload_terms("spec.workloadAntiAffinity", &spec.workload_anti_affinity, check);
    if let Some(residency) = &spec.residency {
        if residency.jurisdictions.is_empty() {
            check.required("spec.residency.jurisdictions", "name at least one");
        }
        check.forms("spec.residency.jurisdictions", &residency.jurisdictions, Form::Word);
    }
    let replicas = spec.replicas.clone().unwrap_or_default();
    spread(&spec.spread, &replicas, check);
    division(&replicas, check);
    if let Some(budget) = &spec.budget {
        dollars("spec.budget.maxMonthlyUsd", &budget.max_monthly_usd, check);
    }
    spend::policy(spec, check);
    if let Some(objectives) = &spec.objectives {
        let parts = [
            ("cost", objectives.cost),
            ("latency", objectives.latency),
            ("stickiness", objectives.stickiness),
        ];
        for (field, percent) in parts.into_iter().filter(|it| it.1 > 10_000) {
            let rule = "per cent: must not be more than 10000";
            check.invalid(&format!("spec.objectives.{field}"), percent, rule);
        }
        for (field, usd) in [
            ("usdPerMsPerReplicaHour", &objectives.usd_per_ms_per_replica_hour),
            ("usdPerMove", &objectives.usd_per_move),
        ] {
            if let Some(usd) = usd {
                dollars(&format!("spec.objectives.{field}"), usd, check);
            }
        }
    }
    if let Some(stated) = &spec.failover {
        failover(stated, check);
    }
    if let Some(rollout) = &spec.rollout {
        check.form("spec.rollout.strategyName", &rollout.strategy_name, Form::Name);
    }
}

fn tolerations(tolerations: &[Toleration], check: &mut Check<'_>) {
    for (at, toleration) in tolerations.iter().enumerate() {
        if toleration.key.is_empty() && toleration.operator == TolerationOperator::Equal {
            check
                .required(&format!("spec.tolerations[{at}].key"), "only Exists goes without a key");
        }
        check.form_if_any(&format!("spec.tolerations[{at}].key"), &toleration.key, Form::Key);
        let value = format!("spec.tolerations[{at}].value");
        check.form(&value, &toleration.value, Form::LabelValue);
        if !toleration.value.is_empty() && toleration.operator == TolerationOperator::Exists {
            check.forbidden(&value, "Exists takes no value");
        }
        let field = format!("spec.tolerations[{at}].tolerationSeconds");
        match toleration.toleration_seconds {
            Some(seconds) if seconds < 0 => check.invalid(&field, seconds, "must not be negative"),
            Some(_) if toleration.effect != Some(TaintEffect::NoExecute) => {
                check.forbidden(&field, "only with effect NoExecute");
            }
            Some(_) | None => (),
        }
    }
}

fn failover(failover: &Failover, check: &mut Check<'_>) {
    if let Some(after) = &failover.after {
        duration("spec.failover.after", after, check);
    }
    let Some(failback) = &failover.failback else { return };
    if let Some(stable_for) = &failback.stable_for {
        let field = "spec.failover.failback.stableFor";
        duration(field, stable_for, check);
        if failback.mode == Some(FailbackMode::Never) {
            check.forbidden(field, "with mode Never nothing returns");
        }
    }
}

fn workload_terms(field: &str, terms: &[WorkloadTerm], check: &mut Check<'_>) {
    for (at, term) in terms.iter().enumerate() {
        let field = format!("{field}[{at}]");
        topology_key(&format!("{field}.topologyKey"), &term.topology_key, check);
        if term.label_selector.is_empty() {
            check.required(&format!("{field}.labelSelector"), "name the other templates by labels");
        }
        label_selector(&format!("{field}.labelSelector"), &term.label_selector, check);
    }
}

fn topology_key(field: &str, key: &str, check: &mut Check<'_>) {
    if key.is_empty() {
        check.required(field, "cluster, zone, region, provider or a label");
    } else {
        check.form(field, key, Form::Key);
    }
}

/// Whether a rule of a spread is more than a wish.
fn is_hard(rule: &Spread) -> bool {
    rule.when_unsatisfiable != Some(WhenUnsatisfiable::ScheduleAnyway)
}

fn spread(rules: &[Spread], replicas: &Replicas, check: &mut Check<'_>) {
    let mut keys = std::collections::BTreeSet::new();
    // A cluster lies in one domain of each key: fewer clusters than domains cannot be.
    let clusters = rules.iter().find(|it| it.topology_key == "cluster" && is_hard(it));
    if let Some(max) = clusters.and_then(|it| it.max) {
        for (at, rule) in rules.iter().enumerate().filter(|it| it.1.topology_key != "cluster") {
            if let Some(min) = rule.min.filter(|min| *min > max && is_hard(rule)) {
                let why = format!("must not be more than the largest number of clusters ({max})");
                check.invalid(&format!("spec.spread[{at}].min"), min, &why);
            }
        }
    }
    for (at, rule) in rules.iter().enumerate() {
        let field = format!("spec.spread[{at}]");
        topology_key(&format!("{field}.topologyKey"), &rule.topology_key, check);
        if !keys.insert(&rule.topology_key) {
            check.duplicate(&format!("{field}.topologyKey"), &rule.topology_key);
        }
        if rule.min == Some(0) {
            check.invalid(&format!("{field}.min"), 0, "must be at least 1");
        }
        if rule.max == Some(0) {
            check.invalid(&format!("{field}.max"), 0, "must be at least 1");
        }
        if let (Some(min), Some(max)) = (rule.min, rule.max)
            && min > max
        {
            check.invalid(
                &format!("{field}.min"),
                min,
                &format!("must not be more than max ({max})"),
            );
        }
        if rule.max_skew == Some(0) {
            check.invalid(&format!("{field}.maxSkew"), 0, "must be at least 1");
        }
        if rule.max_skew.is_some()
            && let Some(Division::Packed | Division::Cheapest) = replicas.division
        {
            check.forbidden(&format!("{field}.maxSkew"), "not with division Packed or Cheapest");
        }
    }
}

fn division(replicas: &Replicas, check: &mut Check<'_>) {
    if replicas.mode == Some(ReplicaMode::Duplicated) {
        if replicas.division.is_some() {
            check.forbidden("spec.replicas.division", "only with mode Divided");
        }
        if replicas.min_per_cluster.is_some() {
            check.forbidden("spec.replicas.minPerCluster", "only with mode Divided");
        }
        if replicas.max_per_cluster.is_some() {
            check.forbidden("spec.replicas.maxPerCluster", "only with mode Divided");
        }
    }
    let weighted = matches!(replicas.division, None | Some(Division::Weighted));
    if !replicas.weights.is_empty() && !weighted {
        check.forbidden("spec.replicas.weights", "only with division Weighted");
    }
    for (at, weight) in replicas.weights.iter().enumerate() {
        cluster_selector(&format!("spec.replicas.weights[{at}].clusters"), &weight.clusters, check);
        if weight.weight == 0 {
            check.invalid(&format!("spec.replicas.weights[{at}].weight"), 0, "must be at least 1");
        }
    }
    if let (Some(min), Some(max)) = (replicas.min_per_cluster, replicas.max_per_cluster)
        && min > max
    {
        let rule = format!("must not be more than maxPerCluster ({max})");
        check.invalid("spec.replicas.minPerCluster", min, &rule);
    }
    if replicas.max_per_cluster == Some(0) {
        check.invalid("spec.replicas.maxPerCluster", 0, "must be at least 1");
    }
}

#[cfg(test)]
mod tests;
