//! Reads one document as an object of ours, and says everything that its admission would refuse: what has not the shape of
//! its kind, and then, of what is left when that is taken out, what its own rules say.

use federation_types::{
    budget::{ChangeBudgetSpec, CostBudgetSpec},
    overrides::{ClusterOverridePolicy, OverridePolicy, OverridePolicySpec},
    policy::{ClusterPlacementPolicy, Limits, PlacementPolicy},
    price::PriceBookSpec,
    reason::lint as code,
    rollout::RolloutStrategySpec,
    score::ClusterScoreSpec,
    shape,
    status_rule::StatusRuleSpec,
    validate::{self, Problem},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use status_rules::Rule;

use super::{Report, Severity};
use crate::{
    claim::Policy,
    policy::CompiledPolicy,
    scenario::{Document, misnamed},
    waves::Waves,
};

/// Written by the hub, and in files only as what was.
const WRITTEN_BY_THE_HUB: [&str; 5] =
    ["Placement", "ClusterPlacement", "Revision", "ClusterRevision", "Rollout"];

/// An object of ours that says what it should.
#[derive(Debug)]
pub(super) enum Ours {
    Policy(Box<Policy>),
    Override(OverridePolicySpec),
    CostBudget(CostBudgetSpec),
    ChangeBudget(ChangeBudgetSpec),
    PriceBook(PriceBookSpec),
    ClusterScore(ClusterScoreSpec),
    Strategy(RolloutStrategySpec),
    StatusRule(StatusRuleSpec),
}

/// The object of a document, if it is one of ours and nothing is wrong with it; what is wrong is reported.
pub(super) fn read(document: &Document, report: &mut Report<'_>) -> Option<Ours> {
    let (kind, value) = (document.kind(), &document.value);
    if let Some(Problem { field, message }) = misnamed(value) {
        let advice = "name a kind and a version that the hub serves";
        report.say(Severity::Error, code::INVALID, field, message, advice);
        return None;
    }
    let stated = !value["apiVersion"].is_null();
    if WRITTEN_BY_THE_HUB.contains(&kind) || (stated && !shape::is_ours(value)) {
        return None;
    }
    let schema = shape::of_kind(kind)?;
    let mut problems = Vec::new();
    if value.pointer("/metadata/name").and_then(Value::as_str).is_none_or(str::is_empty) {
        problems.push(Problem {
            field: "metadata.name".to_owned(),
            message: "Required value".to_owned(),
        });
    }
    shape::check(&schema["properties"]["spec"], &value["spec"], "spec", &mut problems);
    let ways = [Instead::Nothing, Instead::Empty, Instead::Something];
    let found = ways
        .into_iter()
        .find_map(|instead| rules(kind, &without(value, &problems, instead), &mut problems));
    // The hub takes what has a field too many, and leaves it out.
    let sound = problems.iter().all(is_unknown);
    report.refused(problems);
    found.filter(|_| sound)
}

fn is_unknown(problem: &Problem) -> bool {
    problem.message.starts_with("Unknown field")
}

/// What the rules of the kind say beside its shape is added; the object, if it can be read at all.
fn rules(kind: &str, value: &Value, problems: &mut Vec<Problem>) -> Option<Ours> {
    let spec = &value["spec"];
    match kind {
        "PlacementPolicy" => {
            let it: PlacementPolicy = typed(value, problems)?;
            add(problems, validate::placement_policy(&it.spec));
            Some(policy(Policy::from(&it), problems))
        }
        "ClusterPlacementPolicy" => {
            let it: ClusterPlacementPolicy = typed(value, problems)?;
            add(problems, validate::cluster_placement_policy(&it.spec));
            Some(policy(Policy::from(&it), problems))
        }
        "OverridePolicy" => {
            let it: OverridePolicy = typed(value, problems)?;
            add(problems, validate::override_policy(&it.spec));
            Some(Ours::Override(it.spec))
        }
        "ClusterOverridePolicy" => {
            let it: ClusterOverridePolicy = typed(value, problems)?;
            add(problems, validate::override_policy(&it.spec.overrides));
            Some(Ours::Override(it.spec.overrides))
        }
        "CostBudget" => {
            let it: CostBudgetSpec = typed(spec, problems)?;
            add(problems, validate::cost_budget(&it));
            Some(Ours::CostBudget(it))
        }
        "ChangeBudget" => {
            let it: ChangeBudgetSpec = typed(spec, problems)?;
            add(problems, validate::change_budget(&it));
            Some(Ours::ChangeBudget(it))
        }
        "PriceBook" => {
            let it: PriceBookSpec = typed(spec, problems)?;
            add(problems, validate::price_book(&it));
            Some(Ours::PriceBook(it))
        }
        "ClusterScore" => {
            let it: ClusterScoreSpec = typed(spec, problems)?;
            add(problems, validate::cluster_score(&it));
            Some(Ours::ClusterScore(it))
        }
        "RolloutStrategy" => {
            let it: RolloutStrategySpec = typed(spec, problems)?;
            add(problems, validate::rollout_strategy(&it));
            add(problems, Waves::compile(&it).err().unwrap_or_default());
            Some(Ours::Strategy(it))
        }
        "StatusRule" => {
            let it: StatusRuleSpec = typed(spec, problems)?;
            add(problems, Rule::compile("the rule", &it).err().unwrap_or_default());
            Some(Ours::StatusRule(it))
        }
        "MemberCluster" => {
            let it = typed(spec, problems)?;
            let mut found = validate::member_cluster(&it);
            // A fleet that is only looked at need not be reached.
            found.retain(|it| it.field != "spec.connection");
            add(problems, found);
            None
        }
        _ => None,
    }
}

/// With what only shows once its expressions are compiled.
fn policy(policy: Policy, problems: &mut Vec<Problem>) -> Ours {
    let limits: Vec<(&str, &Limits)> =
        policy.limits.iter().map(|it| ("the policy itself", it)).collect();
    if let Err(found) = CompiledPolicy::compile("the policy", None, &policy.spec, &limits) {
        add(problems, found);
    }
    Ours::Policy(Box::new(policy))
}

/// What cannot be read says so only where nothing else was found: it follows from that.
fn typed<T: DeserializeOwned>(value: &Value, problems: &mut Vec<Problem>) -> Option<T> {
    match serde_json::from_value(value.clone()) {
        Ok(it) => Some(it),
        Err(error) => {
            if problems.iter().all(is_unknown) {
                problems.push(Problem { field: String::new(), message: error.to_string() });
            }
            None
        }
    }
}

/// Adds what is not said already, of the field itself or of what it is part of.
fn add(problems: &mut Vec<Problem>, found: Vec<Problem>) {
    for it in found {
        let said = problems.iter().filter(|it| !is_unknown(it)).any(|known| {
            it.field.strip_prefix(&known.field).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('.') || rest.starts_with('[')
            })
        });
        if !said {
            problems.push(it);
        }
    }
}

/// What takes the place of what is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Instead {
    Nothing,
    /// An empty value of its type, for what has to be there.
    Empty,
    /// The same, and the first of the values that are supported.
    Something,
}

/// The object without what is wrong, and with an empty text where something is missing.
fn without(value: &Value, problems: &[Problem], instead: Instead) -> Value {
    let mut rest = value.clone();
    for it in problems.iter().filter(|it| !is_unknown(it) && !it.field.is_empty()) {
        let something =
            (instead != Instead::Nothing).then(|| something(&it.message, instead)).flatten();
        take_out(&mut rest, &it.field, something.as_ref());
    }
    rest
}

/// By what is said of the shape: the first value that is supported, or an empty one of the type.
fn something(message: &str, instead: Instead) -> Option<Value> {
    if let Some((_, supported)) = message.split_once("supported values: ") {
        let first = supported.split(", ").next().unwrap_or_default();
        return serde_json::from_str(first).ok().filter(|_| instead == Instead::Something);
    }
    Some(match message.rsplit(' ').next().unwrap_or_default() {
        "object" => json!({}),
        "list" => json!([]),
        "number" => json!(1),
        "false" => json!(false),
        _ => json!(""),
    })
}

/// An item that is wrong takes its list with it: the places of the others are to stay what they are.
fn take_out(value: &mut Value, path: &str, instead: Option<&Value>) {
    match value {
        Value::Object(fields) => {
            let is_step = |key: &str| {
                path.strip_prefix(key).is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('.') || rest.starts_with('[')
                })
            };
            // Of keys that have dots in them the longest is meant.
            let key = fields.keys().filter(|it| is_step(it)).max_by_key(|it| it.len()).cloned();
            let Some(key) = key else {
                if !path.contains(['.', '[']) {
                    fields.insert(path.to_owned(), json!(""));
                }
                return;
            };
            let rest = path[key.len()..].trim_start_matches('.');
            let item = rest.starts_with('[') && rest.find(']') == Some(rest.len() - 1);
            let Some(below) = fields.get_mut(&key) else { return };
            match instead {
                Some(instead) if rest.is_empty() => *below = instead.clone(),
                // What is there and empty can be read as it is.
                None if rest.is_empty() && below.as_array().is_some_and(Vec::is_empty) => (),
                None if rest.is_empty() || item => drop(fields.remove(&key)),
                Some(_) | None => take_out(below, rest, instead),
            }
        }
        Value::Array(items) => {
            let step = path.strip_prefix('[').and_then(|it| it.split_once(']'));
            if let Some((at, rest)) = step
                && let Some(item) = at.parse().ok().and_then(|at: usize| items.get_mut(at))
            {
                match instead {
                    Some(instead) if rest.is_empty() => *item = instead.clone(),
                    Some(_) | None => take_out(item, rest.trim_start_matches('.'), instead),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}
