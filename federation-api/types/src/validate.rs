//! Contradictions that are visible in one object alone (RULES 3.1): what the schema cannot say.
//!
//! Those that depend on the fleet are conditions, not errors.

use crate::{
    budget::ChangeBudgetSpec,
    cluster::{ClusterSetSpec, MemberClusterSpec, PROVIDERS},
    money::Money,
};

mod form;
mod overrides;
mod policy;
mod rollout;
mod selectors;
mod spend;
mod status_rule;

use form::Form;
pub use overrides::override_policy;
pub use policy::{cluster_placement_policy, placement_policy, policy_of_all_namespaces};
pub use rollout::{rollout, rollout_strategy};
use selectors::label_selector;
pub use spend::{cluster_score, cost_budget, days, moment, price_book};
pub use status_rule::status_rule;

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

/// What is wrong with the name of an object of ours.
pub fn name(field: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    Check { problems: &mut problems }.form(field, text, Form::Name);
    problems
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
