//! Plans: what would change, why, and what it costs before and after. Every change goes through one (RULES 1.1).

use std::collections::BTreeMap;

use federation_types::{money::Money, names::ObjectKey, reason::cause};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    cost::Estimate,
    fleet::Fleet,
    place::{Decision, Failback, Outcome, Placed, Previous},
    policy::CompiledPolicy,
    report::Rule,
    workload::{KindClass, Workload},
};

/// What happens to the copy on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Add { replicas: Option<i64> },
    Resize { from: i64, to: i64 },
    Remove { replicas: Option<i64> },
}

/// One change, with its cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub cluster: String,
    pub action: Action,
    /// A cause of [`federation_types::reason::cause`].
    pub cause: String,
}

/// What a decision changes for one template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplatePlan {
    pub template: ObjectKey,
    /// By cluster.
    pub changes: Vec<Change>,
    /// µ$ per month.
    pub cost_before: i64,
    pub cost_after: i64,
    /// Some prices are unknown: the costs are lower bounds.
    pub at_least: bool,
    /// The change waits for an approval: a StatefulSet moves, or a PersistentVolumeClaim leaves a cluster (RULES 3.4).
    pub needs_approval: bool,
    /// Why the decision is not what was asked for; empty if it is.
    pub unmet: String,
}

/// Changes to many templates, and a hash of what they were worked out from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// By template; those without changes and without a complaint are left out.
    pub templates: Vec<TemplatePlan>,
    pub inputs: String,
}

impl Plan {
    /// Puts plans of templates together. `inputs` are the hashes of what each was decided from.
    pub fn of(templates: Vec<TemplatePlan>, inputs: &[[u8; 32]]) -> Self {
        let mut hash = Sha256::new();
        for it in inputs {
            hash.update(it);
        }
        let mut templates: Vec<_> = templates
            .into_iter()
            .filter(|it| !it.changes.is_empty() || !it.unmet.is_empty())
            .collect();
        templates.sort_by(|a, b| a.template.cmp(&b.template));
        Self { templates, inputs: hex(&hash.finalize()) }
    }

    /// Copies that would go, by cause.
    pub fn removals(&self) -> BTreeMap<&str, usize> {
        let mut removals = BTreeMap::new();
        let changes = self.templates.iter().flat_map(|it| &it.changes);
        for it in changes.filter(|it| matches!(it.action, Action::Remove { .. })) {
            *removals.entry(it.cause.as_str()).or_default() += 1;
        }
        removals
    }

    /// µ$ per month, before and after.
    pub fn cost(&self) -> (Money, Money) {
        let sum =
            |of: fn(&TemplatePlan) -> i64| self.templates.iter().map(|it| Money(of(it))).sum();
        (sum(|it| it.cost_before), sum(|it| it.cost_after))
    }
}

/// Whether the policy changed since the decision before, by edit or because another one claims now: tells the cause of
/// a removal by a rule, which is otherwise that the cluster changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicySince {
    Same,
    Changed,
}

/// What a decision changes. Clusters that the inventory no longer has are left as they are (RULES 1.2).
pub fn diff(
    fleet: &Fleet,
    workload: &Workload,
    policy: &CompiledPolicy,
    previous: &Previous,
    decision: &Decision,
    since: PolicySince,
) -> TemplatePlan {
    let before: BTreeMap<&str, Option<i64>> =
        previous.clusters.iter().map(|it| (it.name.as_str(), it.replicas)).collect();
    let after: BTreeMap<&str, Option<i64>> = decision
        .clusters
        .iter()
        .map(|it| (fleet.name(it.cluster), it.replicas))
        .chain(decision.absent.iter().map(|it| (it.name.as_str(), it.replicas)))
        .collect();
    let mut changes = Vec::new();
    let total = |all: &BTreeMap<&str, Option<i64>>| all.values().flatten().sum::<i64>();
    let scaled_down = total(&after) < total(&before);
    for (name, replicas) in &before {
        match after.get(name) {
            None => changes.push(Change {
                cluster: (*name).to_owned(),
                action: Action::Remove { replicas: *replicas },
                cause: removal(fleet, name, decision, since).to_owned(),
            }),
            Some(now) => {
                if let (Some(from), Some(to)) = (replicas, now)
                    && from != to
                {
                    let cause = match to.cmp(from) {
                        std::cmp::Ordering::Greater => cause::SCALED_UP,
                        _ if scaled_down => cause::SCALED_DOWN,
                        _ => by_rule(since),
                    };
                    changes.push(Change {
                        cluster: (*name).to_owned(),
                        action: Action::Resize { from: *from, to: *to },
                        cause: cause.to_owned(),
                    });
                }
            }
        }
    }
    for (name, replicas) in &after {
        if !before.contains_key(name) {
            changes.push(Change {
                cluster: (*name).to_owned(),
                action: Action::Add { replicas: *replicas },
                cause: cause::PLACED.to_owned(),
            });
        }
    }
    changes.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    let held: Vec<Placed> = previous
        .clusters
        .iter()
        .filter_map(|it| Some(Placed { cluster: fleet.id(&it.name)?, replicas: it.replicas }))
        .collect();
    let on_spot = previous.clusters.iter().filter(|it| it.spot);
    let on_spot: Vec<_> = on_spot.filter_map(|it| fleet.id(&it.name)).collect();
    let old: Estimate = crate::cost::estimate(fleet, workload, policy, &held, &on_spot);
    let new = decision.estimate(fleet, workload, policy);
    // A move takes replicas from one cluster and gives them to another.
    let takes = changes.iter().any(|it| match it.action {
        Action::Remove { .. } => true,
        Action::Resize { from, to } => to < from,
        Action::Add { .. } => false,
    });
    let gives = changes.iter().any(|it| match it.action {
        Action::Add { .. } => true,
        Action::Resize { from, to } => to > from,
        Action::Remove { .. } => false,
    });
    let leaves = changes.iter().any(|it| matches!(it.action, Action::Remove { .. }));
    let bound = workload.bound || workload.class == KindClass::StatefulSet;
    let moves = bound && takes && gives;
    TemplatePlan {
        template: workload.key.clone(),
        changes,
        cost_before: old.monthly.0,
        cost_after: new.monthly.0,
        at_least: old.at_least || new.at_least,
        needs_approval: moves || (workload.is_claim() && leaves),
        unmet: match &decision.outcome {
            Outcome::Placed => String::new(),
            other => other.to_string(),
        },
    }
}

fn by_rule(since: PolicySince) -> &'static str {
    match since {
        PolicySince::Changed => cause::POLICY_CHANGED,
        PolicySince::Same => cause::CLUSTER_CHANGED,
    }
}

fn removal(fleet: &Fleet, name: &str, decision: &Decision, since: PolicySince) -> &'static str {
    let rule = fleet.id(name).map(|it| decision.report.rules[it.at()]);
    if decision.failback == Failback::Returned && rule == Some(Rule::Affinity) {
        return cause::FAILBACK;
    }
    match rule {
        Some(Rule::Leaving) => cause::CLUSTER_LEAVING,
        Some(Rule::NotReady) => cause::FAILOVER,
        Some(Rule::NotNeeded | Rule::Room | Rule::Dearer | Rule::PriceUnknown) => match since {
            PolicySince::Changed => cause::POLICY_CHANGED,
            PolicySince::Same => cause::SCALED_DOWN,
        },
        _ => by_rule(since),
    }
}

/// A hash of everything that a decision is made from: the same hash means the same decision.
pub fn inputs(
    fleet: &Fleet,
    workload: &Workload,
    policy: &CompiledPolicy,
    previous: &Previous,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(fleet.digest());
    hash.update(policy.id.to_be_bytes());
    let rest = serde_json::to_vec(&(workload, previous)).expect("plain data with text keys");
    hash.update(rest);
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}
