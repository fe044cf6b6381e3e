//! Which writes a policy or a webhook is about: its rules, selectors and conditions.

use federation_schema::{
    cel::{Budget, CelValue, CompileError, Program},
    selector::LabelSelector,
};
use serde_json::Value;

use super::{Call, operation, text};
use crate::status::Cause;

/// The variables of match conditions.
pub(super) const VARIABLES: &[&str] = &["object", "oldObject", "request"];

/// Which writes are meant.
#[derive(Debug)]
pub(super) struct Matching {
    rules: Vec<Value>,
    excluded: Vec<Value>,
    namespaces: LabelSelector,
    objects: LabelSelector,
    /// Whether the version that a rule names must be that of the request.
    exact: bool,
}

impl Matching {
    /// Reads `matchConstraints` or `matchResources` of a policy (rules under `resourceRules`) or a webhook (`rules`).
    pub(super) fn read(object: &Value, rules: &str) -> Self {
        let list = |field: &str| object[field].as_array().cloned().unwrap_or_default();
        // What does not parse selects nothing: it was refused when it was written.
        let selector = |field: &str| LabelSelector::from_object(&object[field]).unwrap_or_default();
        Self {
            rules: list(rules),
            excluded: list("excludeResourceRules"),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            exact: object["matchPolicy"] == "Exact",
        }
    }

    /// Whether a write is meant. `open`: no rules mean all.
    pub(super) fn holds(&self, call: &Call<'_>, open: bool) -> bool {
        let matches = |rule: &Value| self.rule(rule, call);
        let ruled = (open && self.rules.is_empty()) || self.rules.iter().any(matches);
        ruled && !self.excluded.iter().any(matches) && self.place(call) && self.content(call)
    }

    fn rule(&self, rule: &Value, call: &Call<'_>) -> bool {
        let kind = call.writing.kind;
        let has = |field: &str, wanted: &str| {
            let list = rule[field].as_array().into_iter().flatten().filter_map(Value::as_str);
            list.into_iter().any(|it| it == "*" || it == wanted)
        };
        let scope = match rule["scope"].as_str() {
            Some("Cluster") => !kind.namespaced,
            Some("Namespaced") => kind.namespaced,
            _ => true,
        };
        let names = rule["resourceNames"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = names.is_empty() || names.iter().any(|name| name == call.writing.name);
        let (plural, sub) = (&*kind.plural, call.writing.subresource);
        let resource = rule["resources"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let resource = resource.into_iter().any(|it| {
            let (of, below) = it.split_once('/').unwrap_or((it, ""));
            (of == "*" || of == plural) && (below == sub || below == "*")
        });
        has("operations", operation(call.writing.operation))
            && has("apiGroups", &kind.group)
            && (!self.exact || has("apiVersions", &kind.version))
            && resource
            && scope
            && named
    }

    fn place(&self, call: &Call<'_>) -> bool {
        if self.namespaces.is_empty() {
            return true;
        }
        if call.writing.kind.is("", "namespaces") {
            return [call.object(), call.old()].iter().any(|it| self.selects(&self.namespaces, it));
        }
        call.namespace.as_ref().is_none_or(|it| self.namespaces.matches_object(it))
    }

    fn content(&self, call: &Call<'_>) -> bool {
        self.objects.is_empty()
            || [call.object(), call.old()].iter().any(|it| self.selects(&self.objects, it))
    }

    #[expect(clippy::unused_self, reason = "it reads as a question to the matching")]
    fn selects(&self, selector: &LabelSelector, object: &Value) -> bool {
        object.is_object() && selector.matches_object(object)
    }
}

/// A named expression.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) name: String,
    program: Result<Program, CompileError>,
}

impl Condition {
    pub(super) fn read_all(list: &Value) -> Vec<Self> {
        let list = list.as_array().into_iter().flatten();
        list.map(|it| Self {
            name: text(it, "name").to_owned(),
            program: Program::compile(text(it, "expression"), VARIABLES),
        })
        .collect()
    }

    /// Whether all hold; the error says which one could not be asked.
    pub(super) fn all(
        conditions: &[Self],
        variables: &[(&str, CelValue)],
        size: u64,
        budget: &mut Budget,
    ) -> Result<bool, String> {
        let mut failed = None;
        for condition in conditions {
            let outcome = condition
                .program
                .as_ref()
                .map_err(ToString::to_string)
                .and_then(|it| it.evaluate(variables, size, budget).map_err(|e| e.to_string()));
            match outcome {
                Ok(CelValue::Bool(true)) => {}
                // One that is false decides, whatever the others say.
                Ok(CelValue::Bool(false)) => return Ok(false),
                Ok(_) => failed = Some(format!("match condition {:?} is no bool", condition.name)),
                Err(why) => failed = Some(format!("match condition {:?}: {why}", condition.name)),
            }
        }
        failed.map_or(Ok(true), Err)
    }
}

/// What is wrong with match conditions at a path.
pub(super) fn check_conditions(list: &Value, at: &str) -> Vec<Cause> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let wrong = list.iter().enumerate().filter_map(|(index, it)| {
        let expression = text(it, "expression");
        let error = Program::compile(expression, VARIABLES).err()?;
        let message = format!("Invalid value: {expression:?}: {error}");
        Some(Cause::field(format!("{at}[{index}].expression"), message))
    });
    wrong.collect()
}
