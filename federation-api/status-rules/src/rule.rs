//! A rule that is ready to be followed.

use std::sync::Arc;

use federation_types::{
    field_path::FieldPath,
    status_rule::{Across, KeptField, StatusRuleSpec, Unreachable},
    validate::{self, Problem},
};

use crate::{
    error::RuleError,
    expression::{Expression, Yields},
};

/// How objects of one kind are read.
#[derive(Debug)]
pub struct Rule {
    /// `StatusRule engines`, or `the built-in rule of RayCluster`.
    pub name: String,
    /// Its objects are bound to where they run.
    pub bound: bool,
    pub(crate) replicas: Option<Replicas>,
    pub(crate) components: Option<Expression>,
    pub(crate) health: Option<Health>,
    pub(crate) count: Option<Expression>,
    pub(crate) ready: Option<Expression>,
    pub(crate) dependencies: Option<Expression>,
    /// The fields that are brought back to the template, by their paths.
    pub keep: Vec<Keep>,
}

#[derive(Debug)]
pub(crate) struct Replicas {
    pub(crate) path: FieldPath,
    /// Of an object that leaves them out.
    pub(crate) default: Option<u32>,
    pub(crate) template: Option<Expression>,
    pub(crate) requests: Option<Expression>,
}

#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) ready: Option<Expression>,
    pub(crate) degraded: Option<Expression>,
    pub(crate) reason: Option<Expression>,
    pub(crate) message: Option<Expression>,
}

/// One field of the status that is brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    pub path: Arc<FieldPath>,
    /// None: as the values are.
    pub across: Option<Across>,
    /// A number of a cluster that does not answer is 0.
    pub zero_when_silent: bool,
}

impl Rule {
    /// Makes a rule of what its user wrote; the error names each field that is wrong.
    pub fn compile(name: &str, spec: &StatusRuleSpec) -> Result<Self, Vec<Problem>> {
        let mut problems = validate::status_rule(spec);
        let mut expression = |field: &'static str, text: Option<&String>, yields: Yields| {
            let compiled = Expression::compile(field, text?, yields);
            compiled.map_err(|it| problems.push(it)).ok()
        };
        let components = expression("spec.components", spec.components.as_ref(), Yields::List);
        let dependencies =
            expression("spec.dependencies", spec.dependencies.as_ref(), Yields::List);
        let replicas = spec.replicas.as_ref().and_then(|it| {
            let template =
                expression("spec.replicas.podTemplate", it.pod_template.as_ref(), Yields::Object);
            let requests =
                expression("spec.replicas.requests", it.requests.as_ref(), Yields::Object);
            let path = FieldPath::parse(&it.path)?;
            Some(Replicas { path, default: it.default, template, requests })
        });
        let health = spec.health.as_ref().map(|it| Health {
            ready: expression("spec.health.ready", it.ready.as_ref(), Yields::Truth),
            degraded: expression("spec.health.degraded", it.degraded.as_ref(), Yields::Truth),
            reason: expression("spec.health.reason", it.reason.as_ref(), Yields::Text),
            message: expression("spec.health.message", it.message.as_ref(), Yields::Text),
        });
        let status = spec.status.clone().unwrap_or_default();
        let count = expression("spec.status.replicas", status.replicas.as_ref(), Yields::Number);
        let ready =
            expression("spec.status.readyReplicas", status.ready_replicas.as_ref(), Yields::Number);
        if !problems.is_empty() {
            return Err(problems);
        }
        let keep = status.keep.iter().filter_map(kept).collect();
        let (name, bound) = (name.to_owned(), spec.bound.unwrap_or(false));
        Ok(Self { name, bound, replicas, components, health, count, ready, dependencies, keep })
    }

    /// Where replicas are written; none: where the kind has them by convention, if at all.
    pub fn replicas_path(&self) -> Option<&FieldPath> {
        self.replicas.as_ref().map(|it| &it.path)
    }

    pub(crate) fn error(&self, field: &'static str, message: impl Into<String>) -> RuleError {
        RuleError { rule: self.name.clone(), field, message: message.into() }
    }
}

fn kept(field: &KeptField) -> Option<Keep> {
    Some(Keep {
        path: Arc::new(FieldPath::parse(&field.path)?),
        across: field.across,
        zero_when_silent: field.unreachable == Some(Unreachable::Zero),
    })
}

/// A user's rule with what it leaves out taken from the one that is built in.
pub(crate) fn completed(own: &StatusRuleSpec, built_in: &StatusRuleSpec) -> StatusRuleSpec {
    let mut spec = own.clone();
    spec.bound = spec.bound.or(built_in.bound);
    // A kind has replicas or parts: who states one of them takes the other away.
    if spec.replicas.is_none() && spec.components.is_none() {
        spec.replicas.clone_from(&built_in.replicas);
        spec.components.clone_from(&built_in.components);
    }
    spec.health = spec.health.or_else(|| built_in.health.clone());
    spec.dependencies = spec.dependencies.or_else(|| built_in.dependencies.clone());
    let beneath = built_in.status.clone().unwrap_or_default();
    match &mut spec.status {
        None => spec.status = Some(beneath).filter(|it| *it != Default::default()),
        Some(status) => {
            status.replicas = status.replicas.take().or(beneath.replicas);
            status.ready_replicas = status.ready_replicas.take().or(beneath.ready_replicas);
            if status.keep.is_empty() {
                status.keep = beneath.keep;
            }
        }
    }
    spec
}
