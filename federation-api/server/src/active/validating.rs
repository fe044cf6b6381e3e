//! ValidatingAdmissionPolicies: expressions that a write must fulfil.

use std::sync::Arc;

use federation_schema::cel::{Budget, CelValue, CompileError, Program};
use serde_json::Value;

use super::{
    Call,
    policy::{self, Binding, Policy, VARIABLES},
    text,
};
use crate::{
    app::Server,
    status::{ApiError, Cause},
};

/// An active policy with its bindings.
#[derive(Debug)]
pub(super) struct Validating {
    policy: Policy,
    validations: Vec<Validation>,
}

#[derive(Debug)]
struct Validation {
    program: Program,
    message: String,
    expression: Option<Program>,
    reason: String,
}

impl Validation {
    fn read(object: &Value) -> Result<Self, CompileError> {
        let expression = object["messageExpression"].as_str();
        Ok(Self {
            program: Program::compile(text(object, "expression"), VARIABLES)?,
            message: text(object, "message").to_owned(),
            expression: expression.map(|it| Program::compile(it, VARIABLES)).transpose()?,
            reason: text(object, "reason").to_owned(),
        })
    }
}

impl Validating {
    pub(super) fn read(object: &Value, bindings: &[Value]) -> Self {
        let (policy, validations) = policy::read(object, bindings, |spec| {
            let list = spec["validations"].as_array().into_iter().flatten();
            list.map(Validation::read).collect::<Result<_, _>>()
        });
        Self { policy, validations: validations.unwrap_or_default() }
    }

    /// Refuses a write that the policy denies; what it only warns of is added to `warnings`.
    pub(super) async fn judge(
        &self,
        server: &Arc<Server>,
        call: &Call<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let mut budget = Budget::default();
        for (binding, params) in self.policy.bound(server, call, &mut budget).await? {
            let failed = match params {
                Err(why) => vec![failure(&why)],
                Ok(all) => {
                    all.iter().flat_map(|params| self.ask(call, params, &mut budget)).collect()
                }
            };
            self.conclude(server, call, binding, &failed, warnings)?;
        }
        Ok(())
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
            failed.iter().filter(|it| !(it.error && self.policy.ignores_failure)).collect();
        let outcome = match failed.first() {
            None => "allowed",
            Some(first) if first.error => "failed",
            Some(_) => "denied",
        };
        server.active.count("policy", &self.policy.name, outcome);
        for failed in failed {
            let Failed { why, reason, error } = failed;
            let (policy, bound) = (&self.policy.name, &binding.name);
            if binding.has("Audit") {
                tracing::info!(
                    target: "audit",
                    policy, binding = bound, user = call.writing.identity.user,
                    resource = &*call.writing.kind.plural, name = call.writing.name, why,
                    "a policy was not fulfilled"
                );
            }
            if binding.has("Warn") {
                warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{bound}': {why}"
                ));
            }
            if binding.has("Deny") || *error {
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
    fn ask(&self, call: &Call<'_>, params: &Value, budget: &mut Budget) -> Vec<Failed> {
        let (variables, size) = self.policy.variables(call, call.object(), params, budget);
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
                Ok(_) => failed
                    .push(failure(&format!("expression '{}' is no bool", validation.program.text))),
                Err(fault) => failed.push(failure(&format!(
                    "expression '{}' resulted in error: {fault}",
                    validation.program.text
                ))),
            }
        }
        failed
    }
}

/// A validation that is not fulfilled.
struct Failed {
    why: String,
    reason: String,
    /// Whether it could not be asked at all.
    error: bool,
}

/// What stands for a judgement that could not be made.
fn failure(why: &str) -> Failed {
    Failed { why: why.to_owned(), reason: String::new(), error: true }
}

/// What is wrong with a policy.
pub(super) fn check(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = policy::check(spec);
    let fields = ["expression", "messageExpression"];
    causes.extend(policy::check_expressions(spec, "validations", &fields));
    if spec["auditAnnotations"].as_array().is_some_and(|list| !list.is_empty()) {
        let why = "Forbidden: audit annotations are not written by this server";
        causes.push(Cause::field("spec.auditAnnotations", why));
    }
    causes
}
