//! ValidatingAdmissionPolicies: expressions that a write must fulfil, bound to where and with which parameters.

use std::{ops::Bound, sync::Arc};

use federation_schema::{
    catalogue::Gvk,
    cel::{Budget, CelValue, Program, on_large_stack, plain},
    selector::LabelSelector,
};
use federation_storage::At;
use serde_json::{Map, Value};

use super::{
    Call,
    matching::{Condition, Matching, check_conditions},
    name, text,
};
use crate::{
    app::Server,
    status::{ApiError, Cause},
};

const VARIABLES: &[&str] =
    &["object", "oldObject", "request", "params", "namespaceObject", "variables"];

/// An active policy with its bindings.
#[derive(Debug)]
pub(super) struct Policy {
    name: String,
    /// Whether a write passes that the policy cannot judge.
    ignores_failure: bool,
    matching: Matching,
    conditions: Vec<Condition>,
    variables: Vec<(String, Program)>,
    validations: Vec<Validation>,
    params: Option<Gvk>,
    bindings: Vec<Binding>,
    /// Why it cannot judge anything.
    broken: Option<String>,
}

#[derive(Debug)]
struct Validation {
    program: Program,
    message: String,
    expression: Option<Program>,
    reason: String,
}

#[derive(Debug)]
struct Binding {
    name: String,
    matching: Matching,
    params: Option<Value>,
    denies: bool,
    warns: bool,
    audits: bool,
}

impl Policy {
    pub(super) fn read(object: &Value, bindings: &[Value]) -> Self {
        let spec = &object["spec"];
        let own = name(object);
        let bindings = bindings.iter().filter(|it| it["spec"]["policyName"] == *own);
        let mut policy = Self {
            ignores_failure: spec["failurePolicy"] == "Ignore",
            matching: Matching::read(&spec["matchConstraints"], "resourceRules"),
            conditions: Vec::new(),
            variables: Vec::new(),
            validations: Vec::new(),
            params: spec["paramKind"].as_object().map(|_| {
                Gvk::of(text(&spec["paramKind"], "apiVersion"), text(&spec["paramKind"], "kind"))
            }),
            bindings: bindings.map(Binding::read).collect(),
            broken: None,
            name: own,
        };
        let compiled = on_large_stack(|| {
            let list = |field: &str| spec[field].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut variables = Vec::new();
            for variable in list("variables") {
                let program = Program::compile(text(variable, "expression"), VARIABLES)?;
                variables.push((text(variable, "name").to_owned(), program));
            }
            let mut validations = Vec::new();
            for it in list("validations") {
                let expression = it["messageExpression"].as_str();
                validations.push(Validation {
                    program: Program::compile(text(it, "expression"), VARIABLES)?,
                    message: text(it, "message").to_owned(),
                    expression: expression.map(|it| Program::compile(it, VARIABLES)).transpose()?,
                    reason: text(it, "reason").to_owned(),
                });
            }
            let conditions = Condition::read_all(&spec["matchConditions"]);
            Ok((variables, validations, conditions))
        });
        match compiled {
            Ok((variables, validations, conditions)) => {
                policy.variables = variables;
                policy.validations = validations;
                policy.conditions = conditions;
            }
            // It was written before it was made to be refused.
            Err(error) => {
                let error: federation_schema::cel::CompileError = error;
                policy.broken = Some(error.to_string());
            }
        }
        policy
    }

    /// Refuses a write that the policy denies; what it only warns of is added to `warnings`.
    pub(super) async fn judge(
        &self,
        server: &Arc<Server>,
        call: &Call<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        if self.bindings.is_empty() || !self.matching.holds(call, false) {
            return Ok(());
        }
        let (variables, size) = call.variables();
        let mut budget = Budget::default();
        let matched = match &self.broken {
            Some(why) => Err(why.clone()),
            None => Condition::all(&self.conditions, &variables, size, &mut budget),
        };
        if matched == Ok(false) {
            return Ok(());
        }
        for binding in &self.bindings {
            if !binding.matching.holds(call, true) {
                continue;
            }
            let failed = match &matched {
                Err(why) => vec![self.failure(why)],
                Ok(_) => match self.params(server, call, binding).await? {
                    Err(why) => vec![self.failure(&why)],
                    Ok(all) => {
                        let judge = |params: &Value| {
                            self.ask(call, variables.clone(), size, params, &mut budget)
                        };
                        all.iter().flat_map(judge).collect()
                    }
                },
            };
            self.conclude(server, call, binding, &failed, warnings)?;
        }
        Ok(())
    }

    /// What stands for a judgement that could not be made.
    fn failure(&self, why: &str) -> Failed {
        Failed { why: why.to_owned(), reason: String::new(), error: true }
    }

    fn conclude(
        &self,
        server: &Server,
        call: &Call<'_>,
        binding: &Binding,
        failed: &[Failed],
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let failed: Vec<&Failed> =
            failed.iter().filter(|it| !(it.error && self.ignores_failure)).collect();
        let outcome = match failed.first() {
            None => "allowed",
            Some(first) if first.error => "failed",
            Some(_) => "denied",
        };
        server.active.count("policy", &self.name, outcome);
        for failed in failed {
            let Failed { why, reason, error } = failed;
            let (policy, bound) = (&self.name, &binding.name);
            if binding.audits {
                tracing::info!(
                    target: "audit",
                    policy, binding = bound, user = call.writing.identity.user,
                    resource = &*call.writing.kind.plural, name = call.writing.name, why,
                    "a policy was not fulfilled"
                );
            }
            if binding.warns {
                warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{bound}': {why}"
                ));
            }
            if binding.denies || *error {
                let what = if *error { "could not judge" } else { "denied" };
                let why = format!(
                    "ValidatingAdmissionPolicy '{policy}' with binding '{bound}' {what} request: {why}"
                );
                return Err(call.forbidden(&why).with_reason(reason));
            }
        }
        Ok(())
    }

    /// The validations that a write does not fulfil with one parameter object.
    fn ask(
        &self,
        call: &Call<'_>,
        mut variables: Vec<(&'static str, CelValue)>,
        mut size: u64,
        params: &Value,
        budget: &mut Budget,
    ) -> Vec<Failed> {
        variables.push(("params", plain(params, &mut size)));
        let namespace = call.namespace.as_ref().unwrap_or(&Value::Null);
        variables.push(("namespaceObject", plain(namespace, &mut size)));
        let mut composed = Composed::default();
        for (name, program) in &self.variables {
            let mut known = variables.clone();
            known.push(("variables", composed.value()));
            composed.add(name, program.evaluate(&known, size, budget).ok());
        }
        variables.push(("variables", composed.value()));
        let mut failed = Vec::new();
        for validation in &self.validations {
            match validation.program.evaluate(&variables, size, budget) {
                Ok(CelValue::Bool(true)) => {}
                Ok(CelValue::Bool(false)) => {
                    let made = validation.expression.as_ref().and_then(|it| {
                        match it.evaluate(&variables, size, budget) {
                            Ok(CelValue::String(text)) => Some(text.trim().to_owned()),
                            Ok(_) | Err(_) => None,
                        }
                    });
                    let why = made
                        .filter(|text| !text.is_empty() && !text.contains('\n'))
                        .or_else(|| Some(validation.message.clone()).filter(|it| !it.is_empty()))
                        .unwrap_or_else(|| {
                            format!("failed expression: {}", validation.program.text.trim())
                        });
                    let reason = validation.reason.clone();
                    failed.push(Failed { why, reason, error: false });
                }
                Ok(_) => failed.push(
                    self.failure(&format!("expression '{}' is no bool", validation.program.text)),
                ),
                Err(fault) => failed.push(self.failure(&format!(
                    "expression '{}' resulted in error: {fault}",
                    validation.program.text
                ))),
            }
        }
        failed
    }

    /// The parameter objects of a binding; one Null if it has none. The inner error says what is wrong with it.
    async fn params(
        &self,
        server: &Server,
        call: &Call<'_>,
        binding: &Binding,
    ) -> Result<Result<Vec<Value>, String>, ApiError> {
        let (Some(gvk), Some(reference)) = (&self.params, &binding.params) else {
            return Ok(Ok(vec![Value::Null]));
        };
        let snapshot = server.registry.snapshot();
        let Some(kind) = snapshot.kinds().find(|kind| kind.gvk() == *gvk) else {
            return Ok(Err(format!("this server has no {} of the policy's paramKind", gvk.kind)));
        };
        let namespace = reference["namespace"].as_str().or(call.writing.namespace);
        if kind.namespaced && namespace.is_none() {
            return Ok(Err("paramRef.namespace must be set for cluster-wide objects".to_owned()));
        }
        let mut found = Vec::new();
        if let Some(name) = reference["name"].as_str().filter(|name| !name.is_empty()) {
            found.extend(server.store.get(&kind.key(namespace, name)).await?);
        } else {
            let Ok(selector) = LabelSelector::from_object(&reference["selector"]) else {
                return Ok(Err("paramRef.selector is no label selector".to_owned()));
            };
            let range = kind.range(namespace);
            let listing = server.store.list(&range, Bound::Unbounded, 0, At::Latest).await?;
            let labelled = |entry: &federation_storage::Entry| {
                let facts = crate::stored::facts(entry);
                selector.matches(|label| facts.labels.get(label).map(|it| &**it))
            };
            found.extend(listing.entries.into_iter().filter(|entry| labelled(entry)));
        }
        if found.is_empty() && reference["parameterNotFoundAction"] != "Allow" {
            return Ok(Err("no params found for policy binding".to_owned()));
        }
        let decode = |entry: &Arc<federation_storage::Entry>| {
            crate::stored::decode(entry, kind, entry.revision)
        };
        Ok(Ok(found.iter().map(decode).collect()))
    }
}

/// A validation that is not fulfilled.
struct Failed {
    why: String,
    reason: String,
    /// Whether it could not be asked at all.
    error: bool,
}

/// The policy's own variables; one that fails is missing from what uses it.
#[derive(Default)]
struct Composed(Vec<(String, CelValue)>);

impl Composed {
    fn add(&mut self, name: &str, value: Option<CelValue>) {
        self.0.extend(value.map(|value| (name.to_owned(), value)));
    }

    fn value(&self) -> CelValue {
        federation_schema::cel::map(self.0.iter().cloned())
    }
}

impl Binding {
    fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let actions = spec["validationActions"].as_array();
        let has = |action: &str| actions.is_some_and(|list| list.iter().any(|it| it == action));
        Self {
            name: name(object),
            matching: Matching::read(&spec["matchResources"], "resourceRules"),
            params: spec.get("paramRef").filter(|it| it.is_object()).cloned(),
            denies: has("Deny"),
            warns: has("Warn"),
            audits: has("Audit"),
        }
    }
}

/// What is wrong with a policy.
pub(super) fn check(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = check_conditions(&spec["matchConditions"], "spec.matchConditions");
    for (list, fields) in [
        ("variables", ["expression"].as_slice()),
        ("validations", &["expression", "messageExpression"]),
    ] {
        let items = spec[list].as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let none = Map::new();
            let item = item.as_object().unwrap_or(&none);
            for field in fields {
                let required = *field == "expression";
                let expression = item.get(*field).and_then(Value::as_str);
                let Some(expression) = expression.or_else(|| required.then_some("")) else {
                    continue;
                };
                if let Err(error) = Program::compile(expression, VARIABLES) {
                    let message = format!("Invalid value: {expression:?}: {error}");
                    causes.push(Cause::field(format!("spec.{list}[{index}].{field}"), message));
                }
            }
        }
    }
    if spec["auditAnnotations"].as_array().is_some_and(|list| !list.is_empty()) {
        let why = "Forbidden: audit annotations are not written by this server";
        causes.push(Cause::field("spec.auditAnnotations", why));
    }
    causes
}
