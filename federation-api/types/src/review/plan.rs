//! `Plan`: what a change would do to the fleet, said before it is made. The answer of the review, what is saved by
//! `archipel plan --out`, and what every producer of plans prints.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::money::Money;

/// What is to be planned. Without objects: what waits for an approval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanSpec {
    /// Objects as they would be applied, by server-side apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Value>,
    /// Objects that would be deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<ObjectRef>,
    /// Templates that are to run elsewhere, as somebody chose: within what their policies allow, and only by an approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Move>,
    /// Whether fields that another manager owns are taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Where all replicas of one template are to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Move {
    pub template: ObjectRef,
    /// Replicas by cluster.
    pub to: std::collections::BTreeMap<String, i64>,
}

/// One object by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    pub api_version: String,
    pub kind: String,
    /// Empty for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for ObjectRef {
    /// `Deployment shop/web`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        if namespace.is_empty() {
            write!(f, "{kind} {name}")
        } else {
            write!(f, "{kind} {namespace}/{name}")
        }
    }
}

/// What would change, why, what it costs, and what stands in its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// The objects that were handed in, by the fields that would change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectChange>,
    /// Sorted by template; those to which nothing happens are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<TemplateChange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    pub summary: PlanSummary,
    /// Flags on the figures and on what was left out: `sample prices`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// A hash of all that the plan was worked out from: a plan is applied only while it is the same.
    #[serde(default)]
    pub inputs: String,
}

impl PlanStatus {
    /// Whether applying it would change nothing, and approve nothing.
    pub fn is_empty(&self) -> bool {
        self.objects.iter().all(|it| it.action == ObjectAction::None)
            && self.templates.iter().all(|it| it.changes.is_empty() && it.approval.is_empty())
    }

    /// Counts what stands in `templates`.
    pub fn summarize(&mut self) {
        let mut summary = PlanSummary::default();
        let mut clusters = std::collections::BTreeSet::new();
        for template in &self.templates {
            summary.templates += i64::from(!template.changes.is_empty());
            summary.unmet += i64::from(!template.unmet.is_empty());
            summary.approvals += i64::from(!template.approval.is_empty());
            summary.cost.add(template.cost);
            for change in &template.changes {
                clusters.insert(change.cluster.as_str());
                match change.action {
                    Action::Add => summary.add += 1,
                    Action::Resize => summary.resize += 1,
                    Action::Remove => summary.remove += 1,
                    Action::Update => summary.update += 1,
                }
                summary.held += i64::from(!change.held.is_empty());
                // Of what stays, but is no longer or not yet counted in replicas, the difference is not known.
                let known = change.replicas_before.is_some() == change.replicas_after.is_some();
                if known || change.action != Action::Update {
                    summary.replicas_before += change.replicas_before.unwrap_or(0);
                    summary.replicas_after += change.replicas_after.unwrap_or(0);
                }
            }
        }
        summary.clusters = i64::try_from(clusters.len()).unwrap_or(i64::MAX);
        self.summary = summary;
    }
}

/// One object that was handed in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    pub object: ObjectRef,
    pub action: ObjectAction,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// Why the hub would not take it as things stand. Nothing else of the plan supposes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// Why an object that is well formed would not be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// A code of [`crate::reason::admission`].
    pub reason: String,
    /// The same in words.
    pub message: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectAction {
    #[default]
    None,
    Create,
    Change,
    Delete,
}

/// One field with its value before and after, as JSON; empty: it is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// `spec.template.spec.containers[name=web].image`
    pub path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
}

/// What happens to one template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateChange {
    pub template: ObjectRef,
    /// The policy that would claim it: `PlacementPolicy shop/web`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// Sorted by cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ClusterChange>,
    /// Of the whole template, per month.
    #[serde(default)]
    pub cost: Cost,
    /// A reason code of [`crate::reason::placed`] where the decision is not what was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unmet: String,
    /// It moves only by an approval (RULES 3.4): what the approval has to name. Applying the plan gives it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub approval: String,
    /// The change is released in waves: by which strategy, and in which order, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rollout: String,
}

/// What happens to the copy on one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterChange {
    pub cluster: String,
    pub action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_before: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_after: Option<i64>,
    /// A code of [`crate::reason::cause`].
    pub cause: String,
    #[serde(default)]
    pub cost: Cost,
    /// What holds it for now: a code of [`crate::reason::placed`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub held: String,
    /// The wave in which it happens; empty: at once.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wave: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    #[default]
    Add,
    /// Other replicas, and the new content if there is one.
    Resize,
    Remove,
    /// The same replicas, a new content.
    Update,
}

/// Micro-dollars per month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    pub before_micros: i64,
    pub after_micros: i64,
    /// Some price is unknown: the figures are lower bounds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

impl Cost {
    pub fn before(self) -> Money {
        Money(self.before_micros)
    }

    pub fn after(self) -> Money {
        Money(self.after_micros)
    }

    /// Adds another one to it.
    pub fn add(&mut self, other: Self) {
        self.before_micros = self.before_micros.saturating_add(other.before_micros);
        self.after_micros = self.after_micros.saturating_add(other.after_micros);
        self.at_least |= other.at_least;
    }
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `policy`, `limits`, `quota`, `limitRange`, `room`, `budget`, `residency`, `overrides`, `disruption`,
    /// `approval`, `rollout`.
    pub name: String,
    pub result: CheckResult,
    /// What is not well; empty if all is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CheckResult {
    #[default]
    Passed,
    /// It will happen, though not at once or not as wished.
    Waits,
    Failed,
}

/// Counts over the whole plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanSummary {
    /// Templates to which something happens.
    pub templates: i64,
    /// Clusters on which something happens.
    pub clusters: i64,
    pub add: i64,
    pub resize: i64,
    pub remove: i64,
    pub update: i64,
    /// Changes that wait.
    #[serde(default)]
    pub held: i64,
    /// Templates that do not get what was asked for.
    #[serde(default)]
    pub unmet: i64,
    /// Moves that applying the plan approves.
    #[serde(default)]
    pub approvals: i64,
    /// Over the clusters on which something happens.
    pub replicas_before: i64,
    pub replicas_after: i64,
    pub cost: Cost,
}
