//! What a template of a custom kind says of itself: by the rule for its kind, by the table of units, or by the convention
//! that replicas are at `spec.replicas` and their pods at `spec.template`.

use std::{borrow::Cow, collections::BTreeMap};

use federation_types::names::Gvk;
use serde_json::Value;
use status_rules::{Part, Rule, RuleError};

use crate::{
    components::{Component, components, of_pod},
    workload::{KindClass, Requests, requests},
};

/// A template of a custom kind, as it is read.
#[derive(Debug, Default)]
pub(crate) struct Custom<'a> {
    pub(crate) class: KindClass,
    pub(crate) bound: bool,
    pub(crate) replicas: Option<i64>,
    /// The pod template of one replica.
    pub(crate) pod: Option<Cow<'a, Value>>,
    /// What one replica takes, where it is stated beside the pod template.
    pub(crate) requests: Option<Requests>,
    pub(crate) components: Vec<Component>,
}

/// Reads a template; the error names the rule and the field of it that could not be followed.
pub(crate) fn read<'a>(
    rule: Option<&Rule>,
    gvk: &Gvk,
    template: &'a Value,
) -> Result<Custom<'a>, RuleError> {
    let conventional = || template.pointer("/spec/template").map(Cow::Borrowed);
    let Some(rule) = rule else {
        let components = components(gvk, template);
        if !components.is_empty() {
            return Ok(Custom { class: KindClass::Unit, components, ..Custom::default() });
        }
        let replicas = template.pointer("/spec/replicas").and_then(Value::as_i64);
        let class = replicas.map_or(KindClass::Plain, |_| KindClass::Scalable);
        return Ok(Custom { class, replicas, pod: conventional(), ..Custom::default() });
    };
    // What it needs is asked for later, by policies that follow it; whether that can be told is known now.
    rule.dependencies(template)?;
    let bound = rule.bound;
    let parts = match rule.components(template)? {
        Some(parts) => parts.iter().map(component).filter(|it| it.replicas > 0).collect(),
        None if rule.replicas_path().is_none() => components(gvk, template),
        None => Vec::new(),
    };
    if !parts.is_empty() {
        return Ok(Custom {
            class: KindClass::Unit,
            bound,
            components: parts,
            ..Custom::default()
        });
    }
    let stated = rule.replicas(template)?;
    let replicas = match rule.replicas_path() {
        Some(_) => stated,
        None => template.pointer("/spec/replicas").and_then(Value::as_i64),
    };
    let pod = rule.pod_template(template)?.map(Cow::Owned).or_else(conventional);
    let requests = rule.requests(template)?.map(|it| amounts(&it));
    let class = replicas.map_or(KindClass::Plain, |_| KindClass::Scalable);
    Ok(Custom { class, bound, replicas, pod, requests, components: Vec::new() })
}

fn component(part: &Part) -> Component {
    let mut component = of_pod(&part.name, part.replicas, &part.template);
    if let Some(stated) = &part.requests {
        component.requests = amounts(stated);
    }
    component
}

/// Quantities by resource; what is no quantity counts as nothing.
fn amounts(stated: &BTreeMap<String, String>) -> Requests {
    let fields: serde_json::Map<String, Value> =
        stated.iter().map(|(name, text)| (name.clone(), Value::String(text.clone()))).collect();
    requests(&serde_json::json!({"resources": {"requests": fields}}))
}
