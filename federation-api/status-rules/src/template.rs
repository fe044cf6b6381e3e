//! What a template says of itself: replicas, what they take, its parts, and what it needs.

use std::collections::BTreeMap;

use federation_schema::cel::Fault;
use federation_types::quantity;
use serde_json::Value;

use crate::{
    error::RuleError,
    expression::{Expression, Subject},
    rule::Rule,
};

/// One part of a unit: so many pods that are alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub name: String,
    pub replicas: i64,
    /// A pod template; null: there is none.
    pub template: Value,
    /// What one of them takes, as quantities by resource; none: as the pod template says.
    pub requests: Option<BTreeMap<String, String>>,
}

/// An object that another one needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    pub api_version: String,
    pub kind: String,
    /// Of the template's namespace.
    pub name: String,
}

/// More pods than this are no number that somebody means.
const MOST: i64 = 1 << 20;
/// More parts or dependencies than this are no list that somebody means.
const LONGEST: usize = 1_000;

impl Rule {
    /// The replicas that a template asks for, or what the rule says of one that leaves them out. None if the rule does not
    /// say where they are.
    pub fn replicas(&self, template: &Value) -> Result<Option<i64>, RuleError> {
        let Some(replicas) = &self.replicas else { return Ok(None) };
        match replicas.path.get(template) {
            None | Some(Value::Null) => match replicas.default {
                Some(count) => Ok(Some(count.into())),
                None => {
                    let path = &replicas.path;
                    let why = format!("there is no {path}, and the rule states no default");
                    Err(self.error("spec.replicas.path", why))
                }
            },
            Some(value) => match value.as_i64() {
                Some(count) if (0..=i64::from(i32::MAX)).contains(&count) => Ok(Some(count)),
                _ => {
                    let path = &replicas.path;
                    Err(self
                        .error("spec.replicas.path", format!("{path} is no number of replicas")))
                }
            },
        }
    }

    /// The pod template of one replica, where the rule says which it is.
    pub fn pod_template(&self, template: &Value) -> Result<Option<Value>, RuleError> {
        let Some(expression) = self.replicas.as_ref().and_then(|it| it.template.as_ref()) else {
            return Ok(None);
        };
        let value = match expression.json(&mut Subject::new(template)) {
            // What a replica takes is stated beside it.
            Err(Fault::Missing(_)) if self.states_requests() => return Ok(None),
            other => other.map_err(|fault| self.error(expression.field, fault.to_string()))?,
        };
        if value.is_object() {
            Ok(Some(value))
        } else {
            Err(self.error(expression.field, "does not yield a pod template"))
        }
    }

    /// What one replica takes, where the rule says it.
    pub fn requests(
        &self,
        template: &Value,
    ) -> Result<Option<BTreeMap<String, String>>, RuleError> {
        let Some(expression) = self.replicas.as_ref().and_then(|it| it.requests.as_ref()) else {
            return Ok(None);
        };
        let value = self.required(expression, template)?;
        let amounts = amounts(&value)
            .ok_or_else(|| self.error(expression.field, "does not yield quantities by resource"))?;
        Ok(Some(amounts))
    }

    /// The parts of a template; none if the rule does not say which there are.
    pub fn components(&self, template: &Value) -> Result<Option<Vec<Part>>, RuleError> {
        let Some(expression) = &self.components else { return Ok(None) };
        let items = self.list(expression, template)?;
        let parts = items.iter().enumerate().map(|(at, item)| {
            part(item).map_err(|why| self.error(expression.field, format!("part {at} {why}")))
        });
        parts.collect::<Result<Vec<Part>, RuleError>>().map(Some)
    }

    /// What a template needs beside it.
    pub fn dependencies(&self, template: &Value) -> Result<Vec<Dependency>, RuleError> {
        let Some(expression) = &self.dependencies else { return Ok(Vec::new()) };
        let items = self.list(expression, template)?;
        let mut all = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
            let it = Dependency {
                api_version: text("apiVersion").to_owned(),
                kind: text("kind").to_owned(),
                name: text("name").to_owned(),
            };
            if it.api_version.is_empty() || it.kind.is_empty() || it.name.is_empty() {
                let why = format!("item {at} lacks apiVersion, kind or name");
                return Err(self.error(expression.field, why));
            }
            all.push(it);
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    fn states_requests(&self) -> bool {
        self.replicas.as_ref().is_some_and(|it| it.requests.is_some())
    }

    fn required(&self, expression: &Expression, template: &Value) -> Result<Value, RuleError> {
        let value = expression.json(&mut Subject::new(template));
        value.map_err(|fault: Fault| self.error(expression.field, fault.to_string()))
    }

    fn list(&self, expression: &Expression, template: &Value) -> Result<Vec<Value>, RuleError> {
        match self.required(expression, template)? {
            Value::Array(items) if items.len() <= LONGEST => Ok(items),
            Value::Array(_) => {
                Err(self.error(expression.field, format!("yields more than {LONGEST} items")))
            }
            _ => Err(self.error(expression.field, "does not yield a list")),
        }
    }
}

fn part(item: &Value) -> Result<Part, &'static str> {
    let name = item.get("name").and_then(Value::as_str).filter(|it| !it.is_empty());
    let replicas = match item.get("replicas") {
        None | Some(Value::Null) => Some(1),
        Some(count) => count.as_i64().filter(|it| (0..=MOST).contains(it)),
    };
    let requests = match item.get("requests") {
        None | Some(Value::Null) => None,
        Some(stated) => Some(amounts(stated).ok_or("has requests that are no quantities")?),
    };
    let template = item.get("template").cloned().unwrap_or_default();
    if !template.is_object() && requests.is_none() {
        return Err("has neither a template nor requests");
    }
    Ok(Part {
        name: name.ok_or("has no name")?.to_owned(),
        replicas: replicas.ok_or("has replicas that are no number of pods")?,
        template,
        requests,
    })
}

fn amounts(value: &Value) -> Option<BTreeMap<String, String>> {
    let text = |it: &Value| match it {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let amount = |name: &str, it: &Value| {
        let text = text(it)?;
        quantity::units(name, &text).filter(|it| *it >= 0).map(|_| text)
    };
    value.as_object()?.iter().map(|(name, it)| Some((name.clone(), amount(name, it)?))).collect()
}
