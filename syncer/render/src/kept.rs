//! The status of a template of a custom kind: what its rule keeps of the copies' statuses, made one of many.

use federation_types::{
    field_path::FieldPath, placement::PlacementSpec, reason::copy, status_rule::Across,
};
use serde_json::{Map, Value, json};
use status_rules::Keep;

use crate::roll_up::{CopyReport, Reports, placed, standing_condition};

/// What a rule keeps, taken together over the copies. Where no copy has a field, it is left out.
pub(crate) fn kept_status(
    keep: &[Keep],
    spec: &PlacementSpec,
    reports: &Reports,
    previous: &Value,
    now: &str,
) -> Map<String, Value> {
    let mut status = json!({"status": {}});
    for it in keep {
        let values: Vec<Kept<'_>> =
            placed(spec, reports).map(|(cluster, report)| Kept::of(cluster, report, it)).collect();
        if let Some(value) = fold(it, &values, spec.divided, previous, now) {
            it.path.set(&mut status, value);
        }
    }
    match status.get_mut("status").map(Value::take) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// What one copy says.
struct Kept<'a> {
    cluster: &'a str,
    value: Option<&'a Value>,
    stale: bool,
}

impl<'a> Kept<'a> {
    fn of(cluster: &'a str, report: Option<&'a CopyReport>, keep: &Keep) -> Self {
        let health = report.and_then(|it| it.health.as_ref());
        let value = health.and_then(|it| find(&it.kept, &keep.path));
        Self { cluster, value, stale: report.is_none_or(|it| it.stale) }
    }
}

/// The value of a field among those that are kept of a copy.
pub(crate) fn find<'a>(
    kept: &'a [(std::sync::Arc<FieldPath>, Value)],
    path: &FieldPath,
) -> Option<&'a Value> {
    kept.iter().find(|(it, _)| **it == *path).map(|(_, value)| value)
}

fn fold(
    keep: &Keep,
    values: &[Kept<'_>],
    divided: bool,
    previous: &Value,
    now: &str,
) -> Option<Value> {
    let first = values.iter().find_map(|it| it.value)?;
    let across = keep.across.unwrap_or_else(|| match first {
        Value::Number(_) => Across::Total,
        Value::Array(_) if keep.path.last() == "conditions" => Across::Conditions,
        _ => Across::Same,
    });
    // What a copy leaves out is what its operator left out as nothing.
    let numbers = || {
        values.iter().map(|it| {
            let silent = it.stale && keep.zero_when_silent;
            if silent { 0 } else { it.value.and_then(Value::as_i64).unwrap_or(0) }
        })
    };
    let number = |it: Option<i64>| it.map(Value::from);
    match across {
        Across::Sum => number(Some(numbers().fold(0, i64::saturating_add))),
        Across::Total if divided => number(Some(numbers().fold(0, i64::saturating_add))),
        Across::Total | Across::Lowest => number(numbers().min()),
        Across::Highest => number(numbers().max()),
        Across::Same => values.iter().all(|it| it.value == Some(first)).then(|| first.clone()),
        Across::Conditions => Some(conditions(values, previous, now)),
    }
}

/// Each type of condition once, in the order in which copies name them.
fn conditions(values: &[Kept<'_>], previous: &Value, now: &str) -> Value {
    let mut types: Vec<&str> = Vec::new();
    for it in values.iter().flat_map(|it| list(it.value)) {
        let kind = text(it, "type");
        if !kind.is_empty() && !types.contains(&kind) {
            types.push(kind);
        }
    }
    let all = types.into_iter().map(|kind| {
        let said = values.iter().map(|it| Said::of(kind, it));
        let telling = if is_bad_news(kind) {
            said.clone()
                .find(|it| it.status == "True")
                .or_else(|| said.clone().find(|it| it.status != "False"))
        } else {
            said.clone().find(|it| it.status != "True")
        };
        let (told, several) = match telling {
            Some(it) => (it, values.len() > 1),
            None => (said.clone().next()?, false),
        };
        let message = match (several, told.message) {
            (false, message) => message.to_owned(),
            (true, "") => told.cluster.to_owned(),
            (true, message) => format!("{}: {message}", told.cluster),
        };
        let mut it = standing_condition(previous, kind, told.status, told.reason, &message, now);
        if let Some(fields) = it.as_object_mut() {
            fields.remove("lastUpdateTime");
        }
        Some(it)
    });
    Value::Array(all.flatten().collect())
}

/// What one copy says of one condition.
#[derive(Clone, Copy)]
struct Said<'a> {
    cluster: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
}

impl<'a> Said<'a> {
    fn of(kind: &str, kept: &Kept<'a>) -> Self {
        let Kept { cluster, value, stale } = *kept;
        let found = list(value).find(|it| text(it, "type") == kind);
        match found {
            _ if stale => {
                let message = "the cluster does not answer";
                Self { cluster, status: "Unknown", reason: copy::UNREACHABLE, message }
            }
            None => {
                let message = "not reported yet";
                Self { cluster, status: "Unknown", reason: copy::NOT_REPORTED, message }
            }
            Some(it) => Self {
                cluster,
                status: text(it, "status"),
                reason: text(it, "reason"),
                message: text(it, "message"),
            },
        }
    }
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Conditions of which one that is `True` tells more than those that are not.
fn is_bad_news(kind: &str) -> bool {
    matches!(kind, "Stalled" | "Reconciling" | "Degraded" | "Suspended" | "Restarting")
        || ["Fail", "Error", "Abort", "Terminat"].iter().any(|it| kind.contains(it))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use federation_types::placement::PlacedCluster;

    use super::*;
    use crate::health::Health;

    fn keep(path: &str, across: Option<Across>, zero_when_silent: bool) -> Keep {
        Keep { path: Arc::new(FieldPath::parse(path).unwrap()), across, zero_when_silent }
    }

    /// Copies on `a`, `b`, …, with their statuses; null: the cluster does not answer any more, the last status was `up: 1`.
    fn rolled(keep: &Keep, divided: bool, copies: &[Value]) -> Value {
        let names = ["a", "b", "c"];
        let mut spec = PlacementSpec { divided, ..PlacementSpec::default() };
        let mut reports = Reports::new();
        for (name, status) in names.iter().zip(copies) {
            spec.clusters.push(PlacedCluster { name: (*name).into(), ..PlacedCluster::default() });
            let stale = status.is_null();
            let live = json!({"status": if stale { json!({"up": 1}) } else { status.clone() }});
            let kept = keep.path.get(&live).map(|it| (Arc::clone(&keep.path), it.clone()));
            let health = Health { kept: kept.into_iter().collect(), ..Health::default() };
            let report =
                CopyReport { health: Some(Arc::new(health)), stale, ..CopyReport::default() };
            reports.insert((*name).to_owned(), report);
        }
        Value::Object(kept_status(std::slice::from_ref(keep), &spec, &reports, &Value::Null, "now"))
    }

    #[test]
    fn rule_4_6_numbers_are_added_up_or_the_lowest_counts() {
        let copies = [json!({"up": 2}), json!({"up": 3}), json!({})];
        let check = |across, divided, expected: Value| {
            assert_eq!(rolled(&keep(".status.up", across, false), divided, &copies), expected);
        };
        check(None, true, json!({"up": 5}));
        check(None, false, json!({"up": 0}));
        check(Some(Across::Sum), false, json!({"up": 5}));
        check(Some(Across::Lowest), true, json!({"up": 0}));
        check(Some(Across::Highest), true, json!({"up": 3}));
        let silent = [json!({"up": 2}), Value::Null];
        assert_eq!(rolled(&keep(".status.up", None, false), true, &silent), json!({"up": 3}));
        assert_eq!(rolled(&keep(".status.up", None, true), true, &silent), json!({"up": 2}));
        assert_eq!(rolled(&keep(".status.none", None, false), true, &copies), json!({}));
    }

    #[test]
    fn what_is_no_number_is_told_while_all_copies_agree() {
        let phase = keep(".status.state.phase", None, false);
        let up = json!({"state": {"phase": "Up"}});
        assert_eq!(rolled(&phase, false, &[up.clone(), up.clone()]), up);
        assert_eq!(
            rolled(&phase, false, &[up.clone(), json!({"state": {"phase": "Down"}})]),
            json!({})
        );
        assert_eq!(rolled(&phase, false, &[up, json!({})]), json!({}));
    }

    #[test]
    fn a_condition_is_true_where_it_is_true_in_all_copies_and_bad_news_where_it_is_in_one() {
        let said = |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status, "reason": "R", "message": "m"}]});
        let check = |copies: &[Value], kind: &str, status: &str, reason: &str, message: &str| {
            let rolled = rolled(&keep(".status.conditions", None, false), false, copies);
            let expected = json!({"type": kind, "status": status, "reason": reason,
                                  "message": message, "lastTransitionTime": "now"});
            assert_eq!(rolled, json!({"conditions": [expected]}));
        };
        let ready = said("Ready", "True");
        check(std::slice::from_ref(&ready), "Ready", "True", "R", "m");
        check(&[ready.clone(), ready.clone()], "Ready", "True", "R", "m");
        check(&[ready.clone(), said("Ready", "False")], "Ready", "False", "R", "b: m");
        check(
            &[ready.clone(), json!({"conditions": []})],
            "Ready",
            "Unknown",
            "NotReported",
            "b: not reported yet",
        );
        check(
            &[ready, Value::Null],
            "Ready",
            "Unknown",
            "ClusterUnreachable",
            "b: the cluster does not answer",
        );
        check(&[said("Stalled", "False"), said("Stalled", "True")], "Stalled", "True", "R", "b: m");
        check(&[said("Failed", "False"), said("Failed", "False")], "Failed", "False", "R", "m");
    }
}
