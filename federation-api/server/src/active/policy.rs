//! What validating and mutating policies have in common: the writes that they are about, their variables, and where and
//! with which parameters they are bound.

use std::{ops::Bound, sync::Arc};

use federation_schema::{
    catalogue::Gvk,
    cel::{Budget, CelValue, CompileError, Program, on_large_stack, plain},
    selector::LabelSelector,
};
use federation_storage::{At, Entry};
use serde_json::Value;

use super::{
    Call,
    matching::{Condition, Matching, check_conditions},
    name, text,
};
use crate::{
    app::Server,
    status::{ApiError, Cause},
};

/// What the expressions of a policy may use.
pub(super) const VARIABLES: &[&str] =
    &["object", "oldObject", "request", "params", "namespaceObject", "variables"];

/// A policy, but for what it does.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    /// Whether a write passes that the policy cannot judge.
    pub(super) ignores_failure: bool,
    matching: Matching,
    conditions: Vec<Condition>,
    variables: Vec<(String, Program)>,
    params: Option<Gvk>,
    bindings: Vec<Binding>,
    /// Why it cannot judge anything.
    broken: Option<String>,
}

/// Where and with which parameters a policy holds.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    matching: Matching,
    params: Option<Value>,
    /// What a validating policy does.
    actions: Vec<String>,
}

impl Binding {
    fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let actions = spec["validationActions"].as_array().into_iter().flatten();
        Self {
            name: name(object),
            matching: Matching::read(&spec["matchResources"], "resourceRules"),
            params: spec.get("paramRef").filter(|it| it.is_object()).cloned(),
            actions: actions.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    /// Whether it demands `Deny`, `Warn` or `Audit`.
    pub(super) fn has(&self, action: &str) -> bool {
        self.actions.iter().any(|it| it == action)
    }
}

/// The parameter objects to judge a write by: one Null if there are none. The error says why it cannot be judged.
pub(super) type Params = Result<Vec<Value>, String>;

/// A policy as it was read, with what `compile` made of the rest of its spec; nothing if that does not compile.
pub(super) fn read<T>(
    object: &Value,
    bindings: &[Value],
    compile: impl FnOnce(&Value) -> Result<T, CompileError> + Send,
) -> (Policy, Option<T>)
where
    T: Send,
{
    let spec = &object["spec"];
    let own = name(object);
    let bindings = bindings.iter().filter(|it| it["spec"]["policyName"] == *own);
    let mut policy = Policy {
        ignores_failure: spec["failurePolicy"] == "Ignore",
        matching: Matching::read(&spec["matchConstraints"], "resourceRules"),
        conditions: Vec::new(),
        variables: Vec::new(),
        params: spec["paramKind"].as_object().map(|_| {
            Gvk::of(text(&spec["paramKind"], "apiVersion"), text(&spec["paramKind"], "kind"))
        }),
        bindings: bindings.map(Binding::read).collect(),
        broken: None,
        name: own,
    };
    let compiled = on_large_stack(|| {
        let mut variables = Vec::new();
        for variable in spec["variables"].as_array().into_iter().flatten() {
            let program = Program::compile(text(variable, "expression"), VARIABLES)?;
            variables.push((text(variable, "name").to_owned(), program));
        }
        let conditions = Condition::read_all(&spec["matchConditions"]);
        Ok::<_, CompileError>((variables, conditions, compile(spec)?))
    });
    match compiled {
        Ok((variables, conditions, rest)) => {
            policy.variables = variables;
            policy.conditions = conditions;
            (policy, Some(rest))
        }
        // It was written before it was made to be refused.
        Err(error) => {
            policy.broken = Some(error.to_string());
            (policy, None)
        }
    }
}

impl Policy {
    /// The bindings that a write falls under; none if the policy is not about it.
    pub(super) async fn bound(
        &self,
        server: &Server,
        call: &Call<'_>,
        budget: &mut Budget,
    ) -> Result<Vec<(&Binding, Params)>, ApiError> {
        if self.bindings.is_empty() || !self.matching.holds(call, false) {
            return Ok(Vec::new());
        }
        let matched = match &self.broken {
            Some(why) => Err(why.clone()),
            None => {
                let (variables, size) = call.variables(call.object());
                Condition::all(&self.conditions, &variables, size, budget)
            }
        };
        let mut bound = Vec::new();
        if matched == Ok(false) {
            return Ok(bound);
        }
        for binding in self.bindings.iter().filter(|it| it.matching.holds(call, true)) {
            let params = match &matched {
                Err(why) => Err(why.clone()),
                Ok(_) => self.params(server, call, binding).await?,
            };
            bound.push((binding, params));
        }
        Ok(bound)
    }

    /// All that expressions may use, and how large it is: `object` as it is now, with one parameter object.
    pub(super) fn variables(
        &self,
        call: &Call<'_>,
        object: &Value,
        params: &Value,
        budget: &mut Budget,
    ) -> (Vec<(&'static str, CelValue)>, u64) {
        let (mut variables, mut size) = call.variables(object);
        variables.push(("params", plain(params, &mut size)));
        let namespace = call.namespace.as_ref().unwrap_or(&Value::Null);
        variables.push(("namespaceObject", plain(namespace, &mut size)));
        // The policy's own; one that fails is missing from what uses it.
        let mut own = Vec::new();
        let composed =
            |own: &[(String, CelValue)]| federation_schema::cel::map(own.iter().cloned());
        for (name, program) in &self.variables {
            let mut known = variables.clone();
            known.push(("variables", composed(&own)));
            let value = program.evaluate(&known, size, budget).ok();
            own.extend(value.map(|value| (name.clone(), value)));
        }
        variables.push(("variables", composed(&own)));
        (variables, size)
    }

    /// The parameter objects of a binding; one Null if it has none. The inner error says what is wrong with it.
    async fn params(
        &self,
        server: &Server,
        call: &Call<'_>,
        binding: &Binding,
    ) -> Result<Params, ApiError> {
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
            let labelled = |entry: &Entry| {
                let facts = crate::stored::facts(entry);
                selector.matches(|label| facts.labels.get(label).map(|it| &**it))
            };
            found.extend(listing.entries.into_iter().filter(|entry| labelled(entry)));
        }
        if found.is_empty() && reference["parameterNotFoundAction"] != "Allow" {
            return Ok(Err("no params found for policy binding".to_owned()));
        }
        let decode = |entry: &Arc<Entry>| crate::stored::decode(entry, kind, entry.revision);
        Ok(Ok(found.iter().map(decode).collect()))
    }
}

/// What is wrong with what policies have in common.
pub(super) fn check(spec: &Value) -> Vec<Cause> {
    let mut causes = check_conditions(&spec["matchConditions"], "spec.matchConditions");
    causes.extend(check_expressions(spec, "variables", &["expression"]));
    causes
}

/// What is wrong with the expressions of a list; the first field must be there.
pub(super) fn check_expressions(spec: &Value, list: &str, fields: &[&str]) -> Vec<Cause> {
    let mut causes = Vec::new();
    let items = spec[list].as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        for (place, field) in fields.iter().enumerate() {
            let expression = item[*field].as_str();
            let Some(expression) = expression.or_else(|| (place == 0).then_some("")) else {
                continue;
            };
            if let Err(error) = Program::compile(expression, VARIABLES) {
                let message = format!("Invalid value: {expression:?}: {error}");
                causes.push(Cause::field(format!("spec.{list}[{index}].{field}"), message));
            }
        }
    }
    causes
}
