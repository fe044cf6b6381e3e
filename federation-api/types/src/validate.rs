//! Contradictions that are visible in one object alone (RULES 3.1): what the schema cannot say.
//!
//! Those that depend on the fleet are conditions, not errors.

use crate::{
    budget::ChangeBudgetSpec,
    cluster::{ClusterSetSpec, MemberClusterSpec, PROVIDERS, TaintEffect},
    money::Money,
    policy::{
        ClusterPlacementPolicySpec, Division, FailbackMode, Failover, Limits, PlacementPolicySpec,
        ReplicaMode, Replicas, Spread, Toleration, TolerationOperator, WhenUnsatisfiable,
        WorkloadTerm,
    },
    selector::{ClusterSelector, LabelOperator, LabelSelector, TemplateSelector},
};

mod form;
mod overrides;
mod spend;

use form::{Form, is_api_version, is_kind};
pub use overrides::override_policy;
pub use spend::{cluster_score, cost_budget, days, moment, price_book};

/// A field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `spec.spread[0].min`
    pub field: String,
    /// `Invalid value: 3: must not be more than max (2)`
    pub message: String,
}

/// Collects problems under a path.
struct Check<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn invalid(&mut self, field: &str, value: impl std::fmt::Display, rule: &str) {
        let message = format!("Invalid value: {value}: {rule}");
        self.problems.push(Problem { field: field.to_owned(), message });
    }

    fn required(&mut self, field: &str, why: &str) {
        let message = format!("Required value: {why}");
        self.problems.push(Problem { field: field.to_owned(), message });
    }

    fn duplicate(&mut self, field: &str, value: &str) {
        let message = format!("Duplicate value: {value:?}");
        self.problems.push(Problem { field: field.to_owned(), message });
    }

    fn forbidden(&mut self, field: &str, why: &str) {
        let message = format!("Forbidden: {why}");
        self.problems.push(Problem { field: field.to_owned(), message });
    }
}

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

/// Whether a kind of Kubernetes itself has no namespace; what is not built in may have one.
fn is_cluster_scoped(api_version: &str, kind: &str) -> bool {
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

/// What is wrong with a member cluster.
pub fn member_cluster(spec: &MemberClusterSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    if !PROVIDERS.contains(&spec.provider.as_str()) {
        let message = format!(
            "Unsupported value: {:?}: supported values: \"eks\", \"gke\", \"aks\", \"onprem\"",
            spec.provider
        );
        check.problems.push(Problem { field: "spec.provider".to_owned(), message });
    }
    if spec.connection.kubeconfig.is_none() {
        check.required("spec.connection", "one way to reach the cluster must be given: kubeconfig");
    }
    check.form_if_any("spec.region", &spec.region, Form::Word);
    check.forms("spec.zones", &spec.zones, Form::Word);
    check.form_if_any("spec.jurisdiction", &spec.jurisdiction, Form::Word);
    let mut taints = std::collections::BTreeSet::new();
    for (at, taint) in spec.taints.iter().enumerate() {
        let field = format!("spec.taints[{at}]");
        check.form(&format!("{field}.key"), &taint.key, Form::Key);
        check.form(&format!("{field}.value"), &taint.value, Form::LabelValue);
        if !taint.time_added.is_empty() {
            check.date(&format!("{field}.timeAdded"), &taint.time_added);
        }
        if !taints.insert((&taint.key, taint.effect as u8)) {
            check.duplicate(&field, &taint.key);
        }
    }
    let mut services = std::collections::BTreeSet::new();
    for (at, service) in spec.services.iter().enumerate() {
        let field = format!("spec.services[{at}].name");
        check.form(&field, &service.name, Form::Word);
        if !services.insert(&service.name) {
            check.duplicate(&field, &service.name);
        }
    }
    problems
}

/// What is wrong with a cluster set.
pub fn cluster_set(spec: &ClusterSetSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    label_selector("spec.labelSelector", &spec.label_selector, check);
    check.forms("spec.names", &spec.names, Form::Name);
    check.forms("spec.namespaces", &spec.namespaces, Form::NamePattern);
    problems
}

/// What is wrong with a change budget.
pub fn change_budget(spec: &ChangeBudgetSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    duration("spec.window", &spec.window, check);
    if seconds(&spec.window) == Some(0) {
        check.invalid("spec.window", format!("{:?}", spec.window), "must be longer than 0");
    }
    check.forms("spec.freeze.clusters", &spec.freeze.clusters, Form::Name);
    check.forms("spec.freeze.namespaces", &spec.freeze.namespaces, Form::Name);
    if spec.removal_percent > 100 {
        check.invalid("spec.removalPercent", spec.removal_percent, "must not be more than 100");
    }
    problems
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

fn selectors(selectors: &[TemplateSelector], check: &mut Check<'_>) {
    if selectors.is_empty() {
        check.required("spec.selectors", "a policy selects at least one kind");
    }
    for (at, selector) in selectors.iter().enumerate() {
        let field = format!("spec.selectors[{at}]");
        if selector.kind.is_empty() {
            check.required(&format!("{field}.kind"), "name the kind");
        } else if !is_kind(&selector.kind) {
            let rule = "must be a kind, such as Deployment; * is no wildcard here";
            check.invalid(&format!("{field}.kind"), format!("{:?}", selector.kind), rule);
        }
        if selector.api_version.is_empty() {
            check.required(&format!("{field}.apiVersion"), "name the group and version");
        } else if !is_api_version(&selector.api_version) {
            let rule = "must be a version, or a group and a version: v1, apps/v1";
            check.invalid(
                &format!("{field}.apiVersion"),
                format!("{:?}", selector.api_version),
                rule,
            );
        }
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

fn cluster_selector(field: &str, selector: &ClusterSelector, check: &mut Check<'_>) {
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

fn label_selector(field: &str, selector: &LabelSelector, check: &mut Check<'_>) {
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

fn dollars(field: &str, text: &str, check: &mut Check<'_>) {
    match Money::parse_usd(text) {
        Some(amount) if amount >= Money::ZERO => (),
        Some(_) | None => {
            check.invalid(
                field,
                format!("{text:?}"),
                "must be dollars as a decimal number, such as \"600\"",
            );
        }
    }
}

/// Ten years: what is longer was not meant.
const LONGEST: u64 = 3_650 * 86_400;

fn duration(field: &str, text: &str, check: &mut Check<'_>) {
    match seconds(text) {
        None => {
            let rule = "must be a duration such as 30s, 5m or 1h30m";
            check.invalid(field, format!("{text:?}"), rule);
        }
        Some(seconds) if seconds > LONGEST => {
            check.invalid(field, format!("{text:?}"), "must not be more than 3650d");
        }
        Some(_) => (),
    }
}

/// A duration in seconds: numbers with `s`, `m`, `h` or `d`, as in `1h30m`.
pub fn seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut number = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        let n: u64 = number.parse().ok()?;
        number.clear();
        total = total.checked_add(n.checked_mul(unit)?)?;
    }
    (number.is_empty() && !text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(spec: serde_json::Value) -> Vec<String> {
        let mut spec = spec;
        if spec.get("selectors").is_none() {
            spec["selectors"] =
                serde_json::json!([{"apiVersion": "apps/v1", "kind": "Deployment"}]);
        }
        let spec = serde_json::from_value(spec).unwrap();
        placement_policy(&spec).into_iter().map(|it| it.field).collect()
    }

    #[test]
    fn rule_3_1_contradictions_visible_in_the_policy_alone_are_refused() {
        let check = |spec: serde_json::Value, expected: &[&str]| {
            assert_eq!(fields(spec.clone()), expected, "{spec}");
        };
        check(serde_json::json!({}), &[]);
        check(
            serde_json::json!({"spread": [{"topologyKey": "cluster", "min": 3, "max": 2}]}),
            &["spec.spread[0].min"],
        );
        check(
            serde_json::json!({
                "spread": [{"topologyKey": "zone", "maxSkew": 1}],
                "replicas": {"mode": "Divided", "division": "Packed"}
            }),
            &["spec.spread[0].maxSkew"],
        );
        check(
            serde_json::json!({"replicas": {"mode": "Duplicated", "division": "Room"}}),
            &["spec.replicas.division"],
        );
        check(
            serde_json::json!({"affinities": [{"clusters": {"names": ["a"], "exclude": ["a"]}}]}),
            &["spec.affinities[0].clusters.exclude"],
        );
        check(serde_json::json!({"failover": {"after": "5 minutes"}}), &["spec.failover.after"]);
        check(
            serde_json::json!({"budget": {"maxMonthlyUsd": "lots"}}),
            &["spec.budget.maxMonthlyUsd"],
        );
    }

    #[test]
    fn rule_2_4_a_selector_of_secrets_needs_a_name_or_labels() {
        let secrets = |more: serde_json::Value| {
            let mut selector = serde_json::json!({"apiVersion": "v1", "kind": "Secret"});
            selector.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            fields(serde_json::json!({"selectors": [selector]}))
        };
        assert_eq!(secrets(serde_json::json!({})), ["spec.selectors[0]"]);
        assert!(secrets(serde_json::json!({"name": "web-tls"})).is_empty());
    }

    #[test]
    fn rule_2_4_our_own_kinds_are_never_templates() {
        let spec = serde_json::json!({"selectors": [
            {"apiVersion": "archipel.dev/v1alpha1", "kind": "PlacementPolicy"}
        ]});
        assert_eq!(fields(spec), ["spec.selectors[0].apiVersion"]);
    }

    #[test]
    fn rule_3_1_fewer_clusters_than_domains_cannot_be() {
        let spread = |max: u32, wish: bool| {
            let when = if wish { "ScheduleAnyway" } else { "DoNotSchedule" };
            serde_json::json!({"spread": [
                {"topologyKey": "cluster", "max": max},
                {"topologyKey": "provider", "min": 3, "whenUnsatisfiable": when}
            ]})
        };
        assert_eq!(fields(spread(1, false)), ["spec.spread[1].min"]);
        assert!(fields(spread(3, false)).is_empty());
        assert!(fields(spread(1, true)).is_empty());
    }

    #[test]
    fn rule_2_1_a_namespaced_policy_selects_no_kind_without_a_namespace() {
        let select = |api: &str, kind: &str| {
            fields(serde_json::json!({"selectors": [{"apiVersion": api, "kind": kind}]}))
        };
        assert_eq!(select("v1", "Namespace"), ["spec.selectors[0].kind"]);
        assert_eq!(select("storage.k8s.io/v1", "StorageClass"), ["spec.selectors[0].kind"]);
        assert!(select("v1", "ConfigMap").is_empty());
        assert!(select("example.com/v1", "Namespace").is_empty());
    }

    #[test]
    fn rule_2_2_a_policy_and_its_own_limits_agree() {
        let fields = |spec: serde_json::Value| -> Vec<String> {
            let mut all = serde_json::json!({
                "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
                "spread": [{"topologyKey": "region", "min": 3}],
                "replicas": {"mode": "Divided", "minPerCluster": 2},
                "residency": {"jurisdictions": ["EU"]},
            });
            all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            let spec = serde_json::from_value(all).unwrap();
            cluster_placement_policy(&spec).into_iter().map(|it| it.field).collect()
        };
        let limits =
            serde_json::json!({"maxClusters": 2, "maxReplicas": 5, "jurisdictions": ["US"]});
        assert_eq!(
            fields(serde_json::json!({"limits": limits})),
            ["spec.limits.maxClusters", "spec.limits.maxReplicas", "spec.limits.jurisdictions"]
        );
        assert!(fields(serde_json::json!({"limits": limits, "limitsOnly": true})).is_empty());
        assert!(fields(serde_json::json!({"limits": {"maxClusters": 3}})).is_empty());
    }

    #[test]
    fn parts_of_a_policy_that_do_not_go_together_are_refused() {
        let check = |spec: serde_json::Value, expected: &[&str]| {
            assert_eq!(fields(spec.clone()), expected, "{spec}");
        };
        let toleration = |effect: &str, seconds: i64| {
            serde_json::json!({"tolerations": [
                {"key": "a", "operator": "Exists", "effect": effect, "tolerationSeconds": seconds}
            ]})
        };
        check(toleration("NoExecute", 60), &[]);
        check(toleration("NoSchedule", 60), &["spec.tolerations[0].tolerationSeconds"]);
        check(toleration("NoExecute", -1), &["spec.tolerations[0].tolerationSeconds"]);
        let group = serde_json::json!({"clusters": {"names": ["a"]}, "overflow": "Allow"});
        check(serde_json::json!({"affinities": [group, {}]}), &[]);
        check(serde_json::json!({"affinities": [group]}), &["spec.affinities[0].overflow"]);
        check(
            serde_json::json!({"affinities": [group, {}], "replicas": {"mode": "Duplicated"}}),
            &["spec.affinities[0].overflow"],
        );
        let term = serde_json::json!({"labelSelector": {}, "topologyKey": ""});
        check(
            serde_json::json!({"workloadAffinity": [term]}),
            &["spec.workloadAffinity[0].topologyKey", "spec.workloadAffinity[0].labelSelector"],
        );
    }

    #[test]
    fn slips_of_the_pen_are_refused_where_they_stand() {
        let check = |spec: serde_json::Value, expected: &[&str]| {
            assert_eq!(fields(spec.clone()), expected, "{spec}");
        };
        let spread = |rule: serde_json::Value| serde_json::json!({"spread": [rule]});
        check(spread(serde_json::json!({"topologyKey": "a b"})), &["spec.spread[0].topologyKey"]);
        check(spread(serde_json::json!({"topologyKey": "a/b/c"})), &["spec.spread[0].topologyKey"]);
        check(spread(serde_json::json!({"topologyKey": "topology.kubernetes.io/zone"})), &[]);
        check(
            spread(serde_json::json!({"topologyKey": "zone", "min": 0})),
            &["spec.spread[0].min"],
        );
        let clusters = |part: &str, text: &str| serde_json::json!({"affinities": [{"clusters": {part: [text]}}]});
        for (part, bad, good) in [
            ("names", "EU West", "eks-*"),
            ("exclude", "", "*"),
            ("sets", "a*", "prod"),
            ("providers", "aws", "eks"),
            ("regions", "eu west", "eu-*"),
            ("zones", "", "eu-west-1a"),
        ] {
            let field = format!("spec.affinities[0].clusters.{part}[0]");
            check(clusters(part, bad), &[field.as_str()]);
            check(clusters(part, good), &[]);
        }
        let select = |api: &str, kind: &str, name: &str| serde_json::json!({"selectors": [{"apiVersion": api, "kind": kind, "name": name}]});
        check(select("apps/v1", "Deployment", "web-*"), &["spec.selectors[0].name"]);
        check(select("apps", "Deployment", ""), &["spec.selectors[0].apiVersion"]);
        check(select("apps/v1", "deployments", ""), &["spec.selectors[0].kind"]);
        let labels = serde_json::json!({"matchLabels": {"a b": "x"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["d e"]}
        ]});
        check(
            serde_json::json!({"selectors": [{"apiVersion": "v1", "kind": "ConfigMap", "labelSelector": labels}]}),
            &[
                "spec.selectors[0].labelSelector.matchLabels[a b]",
                "spec.selectors[0].labelSelector.matchExpressions[0].values[0]",
            ],
        );
        check(
            serde_json::json!({"tolerations": [{"key": "a b", "operator": "Exists"}]}),
            &["spec.tolerations[0].key"],
        );
        check(
            serde_json::json!({"residency": {"jurisdictions": [""]}}),
            &["spec.residency.jurisdictions[0]"],
        );
        check(
            serde_json::json!({"failover": {"after": "200000000000000d"}}),
            &["spec.failover.after"],
        );
        check(
            serde_json::json!({"failover": {"failback": {"mode": "Never", "stableFor": "5m"}}}),
            &["spec.failover.failback.stableFor"],
        );
        check(
            serde_json::json!({"near": [{"service": "a"}, {"service": "a"}]}),
            &["spec.near[1].service"],
        );
        check(serde_json::json!({"objectives": {"cost": 10_001}}), &["spec.objectives.cost"]);
        check(serde_json::json!({"rollout": {"strategyName": ""}}), &["spec.rollout.strategyName"]);
    }

    #[test]
    fn bad_limits_members_sets_and_budgets_name_their_field() {
        let of = |problems: Vec<Problem>| -> Vec<String> {
            problems.into_iter().map(|it| it.field).collect()
        };
        let limits = |limits: serde_json::Value| {
            let selectors = serde_json::json!([{"apiVersion": "apps/v1", "kind": "Deployment"}]);
            let spec = serde_json::json!({"selectors": selectors, "limitsOnly": true, "limits": limits,
                                          "namespaces": ["Team A"]});
            of(cluster_placement_policy(&serde_json::from_value(spec).unwrap()))
        };
        assert_eq!(limits(serde_json::json!({})), ["spec.limits", "spec.namespaces[0]"]);
        assert_eq!(
            limits(
                serde_json::json!({"maxClusters": 0, "jurisdictions": [" "], "tolerations": ["a b"]})
            ),
            [
                "spec.limits.jurisdictions[0]",
                "spec.limits.tolerations[0]",
                "spec.limits.maxClusters",
                "spec.namespaces[0]"
            ]
        );
        let member = serde_json::json!({
            "provider": "eks", "region": "eu west", "zones": [""],
            "taints": [{"key": "a", "effect": "NoExecute", "timeAdded": "soon"}, {"key": "a", "effect": "NoExecute"}],
            "services": [{"name": "a b", "latencyMs": 1}],
            "connection": {"kubeconfig": {"secretRef": {"namespace": "a", "name": "b"}}},
        });
        assert_eq!(
            of(member_cluster(&serde_json::from_value(member).unwrap())),
            [
                "spec.region",
                "spec.zones[0]",
                "spec.taints[0].timeAdded",
                "spec.taints[1]",
                "spec.services[0].name"
            ]
        );
        let set = serde_json::json!({"names": ["a*"], "namespaces": ["*", "b c"]});
        assert_eq!(
            of(cluster_set(&serde_json::from_value(set).unwrap())),
            ["spec.names[0]", "spec.namespaces[1]"]
        );
        let budget = serde_json::json!({"window": "0s", "freeze": {"clusters": [""]}});
        assert_eq!(
            of(change_budget(&serde_json::from_value(budget).unwrap())),
            ["spec.window", "spec.freeze.clusters[0]"]
        );
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(seconds("1h30m"), Some(5_400));
        assert_eq!(seconds("30s"), Some(30));
        assert_eq!(seconds("5"), None);
        assert_eq!(seconds(""), None);
        assert_eq!(seconds("m"), None);
    }
}
