//! MutatingAdmissionPolicies: expressions that make what a write is changed by.

use std::sync::Arc;

use federation_schema::{
    apply,
    cel::{self, Budget, CompileError, Outcome, Program},
    json_patch,
};
use serde_json::Value;

use super::{
    Call,
    policy::{self, Policy, VARIABLES},
    text,
};
use crate::{
    app::Server,
    registry::Kind,
    schema,
    status::{ApiError, Cause},
};

/// An active policy with its bindings.
#[derive(Debug)]
pub(super) struct Mutating {
    policy: Policy,
    mutations: Vec<Mutation>,
    /// Whether it is asked again when others changed the object after it.
    pub(super) again: bool,
}

#[derive(Debug)]
struct Mutation {
    program: Program,
    outcome: Outcome,
}

/// The kinds of mutations: `patchType`, the field that holds the expression, what it makes.
const TYPES: [(&str, &str, Outcome); 2] = [
    ("ApplyConfiguration", "applyConfiguration", Outcome::Object),
    ("JSONPatch", "jsonPatch", Outcome::Patch),
];

impl Mutation {
    fn read(object: &Value) -> Result<Self, CompileError> {
        let kind = TYPES.iter().find(|(name, ..)| object["patchType"] == *name);
        let (_, field, outcome) = kind.ok_or_else(|| {
            CompileError::Unsupported(format!("patchType {} is unknown", object["patchType"]))
        })?;
        let program = Program::mutation(text(&object[*field], "expression"), VARIABLES, *outcome)?;
        Ok(Self { program, outcome: *outcome })
    }
}

impl Mutating {
    pub(super) fn read(object: &Value, bindings: &[Value]) -> Self {
        let (policy, mutations) = policy::read(object, bindings, |spec| {
            let list = spec["mutations"].as_array().into_iter().flatten();
            list.map(Mutation::read).collect::<Result<_, _>>()
        });
        Self {
            policy,
            mutations: mutations.unwrap_or_default(),
            again: object["spec"]["reinvocationPolicy"] == "IfNeeded",
        }
    }

    /// Changes the object of a write as the policy says; the new object, if the policy is about it.
    pub(super) async fn mutate(
        &self,
        server: &Arc<Server>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, ApiError> {
        let mut budget = Budget::default();
        let mut object: Option<Value> = None;
        for (binding, params) in self.policy.bound(server, call, &mut budget).await? {
            let now = object.as_ref().unwrap_or_else(|| call.object());
            let changed = params.and_then(|all| {
                let mut next = now.clone();
                for params in &all {
                    next = self.change(call, next, params, &mut budget)?;
                }
                fits(call, &next)?;
                Ok(next)
            });
            let name = &self.policy.name;
            match changed {
                Ok(next) => {
                    let outcome = if next == *now { "same" } else { "changed" };
                    server.active.count("mutation", name, outcome);
                    object = Some(next);
                }
                Err(why) => {
                    server.active.count("mutation", name, "failed");
                    let bound = &binding.name;
                    if !self.policy.ignores_failure {
                        let why = format!(
                            "MutatingAdmissionPolicy '{name}' with binding '{bound}' failed: {why}"
                        );
                        return Err(call.forbidden(&why).with_reason(""));
                    }
                    tracing::warn!(policy = name, bound, why, "a policy failed and is ignored");
                }
            }
        }
        Ok(object)
    }

    /// The object after all mutations, each of which sees what the one before it made.
    fn change(
        &self,
        call: &Call<'_>,
        mut object: Value,
        params: &Value,
        budget: &mut Budget,
    ) -> Result<Value, String> {
        for Mutation { program, outcome } in &self.mutations {
            let (variables, size) = self.policy.variables(call, &object, params, budget);
            let failed = |why: &str| format!("expression '{}': {why}", program.text.trim());
            let made = program
                .evaluate(&variables, size, budget)
                .map_err(|fault| fault.to_string())
                .and_then(|value| cel::json(&value))
                .map_err(|why| failed(&why))?;
            object = match outcome {
                Outcome::Object if made.is_object() => {
                    apply::overlay(&object, &made, &call.writing.kind.ty)
                }
                Outcome::Object => Err("it must evaluate to Object".to_owned()),
                Outcome::Patch => match json_patch::apply(&object, &made) {
                    // Whoever tests asks that nothing be changed otherwise.
                    Err(json_patch::Error::Unmet(_)) => Ok(object),
                    changed => changed.map_err(|error| error.to_string()),
                },
            }
            .map_err(|why| failed(&why))?;
        }
        Ok(object)
    }
}

/// Whether an object is still the same one, of its kind.
fn fits(call: &Call<'_>, object: &Value) -> Result<(), String> {
    let kind: &Kind = call.writing.kind;
    let same = |field: &str| object["metadata"][field] == call.object()["metadata"][field];
    let system = ["name", "namespace", "uid", "managedFields"].into_iter().all(same);
    let typed = ["apiVersion", "kind"].into_iter().all(|it| object[it] == call.object()[it]);
    if !system || !typed {
        return Err("it changes which object it is".to_owned());
    }
    let mut wrong = schema::type_errors(object, kind);
    wrong.extend(schema::unknown_fields(object, kind));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
}

/// What is wrong with a policy.
pub(super) fn check(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = policy::check(spec);
    let mutations = spec["mutations"].as_array().map(Vec::as_slice).unwrap_or_default();
    if mutations.is_empty() {
        causes.push(Cause::field("spec.mutations", "Required value: at least one"));
    }
    for (index, mutation) in mutations.iter().enumerate() {
        let at = format!("spec.mutations[{index}]");
        let wanted = &mutation["patchType"];
        if TYPES.iter().all(|(name, ..)| wanted != name) {
            let why = format!(
                "Unsupported value: {wanted}: supported values: \"ApplyConfiguration\", \"JSONPatch\""
            );
            causes.push(Cause::field(format!("{at}.patchType"), why));
            continue;
        }
        for (name, field, outcome) in TYPES {
            let given = &mutation[field];
            if wanted != name {
                if !given.is_null() {
                    let why =
                        format!("Forbidden: must not be specified when patchType is {wanted}");
                    causes.push(Cause::field(format!("{at}.{field}"), why));
                }
            } else if given.is_null() {
                let why = format!("Required value: must be specified when patchType is {name}");
                causes.push(Cause::field(format!("{at}.{field}"), why));
            } else {
                let expression = text(given, "expression");
                if let Err(error) = Program::mutation(expression, VARIABLES, outcome) {
                    let why = format!("Invalid value: {expression:?}: {error}");
                    causes.push(Cause::field(format!("{at}.{field}.expression"), why));
                }
            }
        }
    }
    causes
}
