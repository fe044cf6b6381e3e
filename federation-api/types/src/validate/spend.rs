//! What is wrong with money in an object alone: amounts that are no amounts, and what no figure can be made of.

use super::{Check, Problem, dollars, form::Form, selectors::label_selector};
use crate::{
    budget::CostBudgetSpec,
    money::Money,
    policy::PlacementPolicySpec,
    price::{ChargeUnit, NodePrice, PriceBookSpec},
    score::ClusterScoreSpec,
    spend::TrafficTo,
};

/// The money of a policy, but for its objectives in dollars and its budget.
pub(super) fn policy(spec: &PlacementPolicySpec, check: &mut Check<'_>) {
    for (at, it) in spec.traffic.iter().enumerate() {
        let field = format!("spec.traffic[{at}]");
        match it.to {
            TrafficTo::Internet if !it.name.is_empty() => {
                check.forbidden(&format!("{field}.name"), "the internet has no name");
            }
            TrafficTo::Service | TrafficTo::Template if it.name.is_empty() => {
                check.required(&format!("{field}.name"), "name what it goes to");
            }
            TrafficTo::Internet | TrafficTo::Service | TrafficTo::Template => {
                check.form_if_any(&format!("{field}.name"), &it.name, Form::Word);
            }
        }
        if it.to != TrafficTo::Template && !it.kind.is_empty() {
            check.forbidden(&format!("{field}.kind"), "only with to: Template");
        }
    }
    let mut names = std::collections::BTreeSet::new();
    for (at, name) in spec.brings.iter().enumerate() {
        let field = format!("spec.brings[{at}]");
        if name.is_empty() {
            check.required(&field, "the name of a charge of a price book");
        }
        check.form_if_any(&field, name, Form::Word);
        if !names.insert(name) {
            check.duplicate(&field, name);
        }
    }
    if let Some(spot) = &spec.spot
        && !(1..=100).contains(&spot.percent)
    {
        check.invalid("spec.spot.percent", spot.percent, "must be between 1 and 100");
    }
    let scores = spec.objectives.iter().flat_map(|it| &it.scores);
    for (at, it) in scores.enumerate() {
        let field = format!("spec.objectives.scores[{at}]");
        if it.name.is_empty() {
            check.required(&format!("{field}.name"), "the name of a score");
        }
        check.form_if_any(&format!("{field}.name"), &it.name, Form::Word);
        if Money::parse_usd(&it.usd_per_point).is_none() {
            check.invalid(
                &format!("{field}.usdPerPoint"),
                format!("{:?}", it.usd_per_point),
                "must be dollars as a decimal number, such as \"0.001\"",
            );
        }
    }
    let mut services = std::collections::BTreeSet::new();
    for (at, it) in spec.near.iter().enumerate() {
        let field = format!("spec.near[{at}].service");
        if it.service.is_empty() {
            check.required(&field, "name the service");
        }
        check.form_if_any(&field, &it.service, Form::Word);
        if !services.insert(&it.service) {
            check.duplicate(&field, &it.service);
        }
    }
}

/// What is wrong with a price book.
pub fn price_book(spec: &PriceBookSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    if let Some(max_age) = &spec.max_age {
        super::duration("spec.maxAge", max_age, check);
    }
    for (at, it) in spec.prices.iter().enumerate() {
        let field = format!("spec.prices[{at}]");
        for (name, text) in [("provider", &it.provider), ("instanceType", &it.instance_type)] {
            if text.is_empty() {
                check.required(&format!("{field}.{name}"), "a price is of a provider's node type");
            }
        }
        check.form_if_any(&format!("{field}.provider"), &it.provider, Form::Provider);
        check.form_if_any(&format!("{field}.region"), &it.region, Form::Word);
        if !it.as_of.is_empty() {
            check.date(&format!("{field}.asOf"), &it.as_of);
        }
        for (resource, text) in [("cpu", &it.cpu), ("memory", &it.memory)] {
            let amount = crate::quantity::units(resource, text);
            if !text.is_empty() && amount.is_none_or(|it| it <= 0) {
                let rule = "must be a quantity above 0, such as 4 or 16Gi";
                check.invalid(&format!("{field}.{resource}"), format!("{text:?}"), rule);
            }
        }
        interruption(&field, it, check);
        let amounts =
            [("onDemandUsdHour", &it.on_demand_usd_hour), ("spotUsdHour", &it.spot_usd_hour)];
        for (name, text) in amounts {
            if let Some(text) = text {
                dollars(&format!("{field}.{name}"), text, check);
            }
        }
    }
    for (at, it) in spec.charges.iter().enumerate() {
        let field = format!("spec.charges[{at}]");
        if it.name.is_empty() {
            let why = match it.per {
                ChargeUnit::Cluster => "workloads bring a charge by its name",
                ChargeUnit::Node => "a charge has a name",
            };
            check.required(&format!("{field}.name"), why);
        }
        check.form_if_any(&format!("{field}.name"), &it.name, Form::Word);
        check.form_if_any(&format!("{field}.provider"), &it.provider, Form::Provider);
        dollars(&format!("{field}.usdHour"), &it.usd_hour, check);
    }
    for (at, it) in spec.storage.iter().enumerate() {
        check.form_if_any(&format!("spec.storage[{at}].provider"), &it.provider, Form::Provider);
        dollars(&format!("spec.storage[{at}].usdGibMonth"), &it.usd_gib_month, check);
    }
    for (at, it) in spec.egress.iter().enumerate() {
        check.form_if_any(&format!("spec.egress[{at}].provider"), &it.provider, Form::Provider);
        dollars(&format!("spec.egress[{at}].usdGib"), &it.usd_gib, check);
    }
    for (at, it) in spec.commitments.iter().enumerate() {
        let field = format!("spec.commitments[{at}]");
        for (name, text) in [("provider", &it.provider), ("instanceType", &it.instance_type)] {
            if text.is_empty() {
                check.required(
                    &format!("{field}.{name}"),
                    "a commitment is to a provider's node type",
                );
            }
        }
        check.form_if_any(&format!("{field}.provider"), &it.provider, Form::Provider);
        if it.nodes == 0 {
            check.invalid(&format!("{field}.nodes"), 0, "must be at least 1");
        }
        if let Some(until) = &it.until {
            check.date(&format!("{field}.until"), until);
        }
    }
    problems
}

/// How often spot nodes are taken away: a share, between two bounds.
fn interruption(field: &str, price: &NodePrice, check: &mut Check<'_>) {
    let (min, max) = (price.spot_interrupt_percent_min, price.spot_interrupt_percent_max);
    for (name, percent) in [("Min", min), ("Max", max)] {
        if let Some(percent) = percent.filter(|it| *it > 100) {
            let field = format!("{field}.spotInterruptPercent{name}");
            check.invalid(&field, percent, "must not be more than 100");
        }
    }
    if let Some((min, max)) = min.zip(max).filter(|(min, max)| min > max) {
        let rule = format!("must not be more than spotInterruptPercentMax ({max})");
        check.invalid(&format!("{field}.spotInterruptPercentMin"), min, &rule);
    }
}

/// What is wrong with a cost budget.
pub fn cost_budget(spec: &CostBudgetSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    dollars("spec.maxMonthlyUsd", &spec.max_monthly_usd, check);
    check.forms("spec.namespaces", &spec.namespaces, Form::NamePattern);
    label_selector("spec.labelSelector", &spec.label_selector, check);
    for (at, it) in spec.policies.iter().enumerate() {
        if it.name.is_empty() {
            check.required(&format!("spec.policies[{at}].name"), "name the policy");
        }
        check.form_if_any(&format!("spec.policies[{at}].name"), &it.name, Form::Name);
        check.form_if_any(&format!("spec.policies[{at}].namespace"), &it.namespace, Form::Name);
    }
    problems
}

/// What is wrong with a score.
pub fn cluster_score(spec: &ClusterScoreSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    if spec.cluster.is_empty() {
        check.required("spec.cluster", "name the cluster");
    }
    check.form_if_any("spec.cluster", &spec.cluster, Form::Name);
    if let Some(until) = &spec.valid_until
        && moment(until).is_none()
    {
        let rule = "must be a time in UTC, such as 2026-11-21T12:00:00Z";
        check.invalid("spec.validUntil", format!("{until:?}"), rule);
    }
    let mut names = std::collections::BTreeSet::new();
    for (at, it) in spec.scores.iter().enumerate() {
        let field = format!("spec.scores[{at}].name");
        if it.name.is_empty() {
            check.required(&field, "name the score");
        } else if !names.insert(&it.name) {
            check.duplicate(&field, &it.name);
        }
        check.form_if_any(&field, &it.name, Form::Word);
    }
    problems
}

/// Days since 1970-01-01 of a date that begins with `YYYY-MM-DD`.
pub fn days(text: &str) -> Option<i64> {
    let date = text.get(..10)?;
    let mut parts = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Seconds since 1970 of a time in UTC: `2026-11-21T12:00:00Z`, parts of a second left aside; a date alone is its begin.
pub fn moment(text: &str) -> Option<i64> {
    let day = days(text)?;
    if text.len() == 10 {
        return Some(day * 86_400);
    }
    let clock = text.get(10..)?.strip_prefix('T')?.strip_suffix('Z')?;
    let whole = clock.split('.').next()?;
    let mut parts = whole.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let fits = parts.next().is_none()
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..61).contains(&second);
    fits.then_some(day * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy_fields(mut spec: Value) -> Vec<String> {
        spec["selectors"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment"}]);
        let spec = serde_json::from_value(spec).unwrap();
        crate::validate::placement_policy(&spec).into_iter().map(|it| it.field).collect()
    }

    #[test]
    fn bad_money_of_a_policy_names_its_field() {
        let check = |spec: Value, expected: &str| {
            assert_eq!(policy_fields(spec.clone()), [expected], "{spec}");
        };
        check(json!({"traffic": [{"to": "Service", "gibPerMonth": 1}]}), "spec.traffic[0].name");
        check(
            json!({"traffic": [{"to": "Internet", "kind": "Deployment", "gibPerMonth": 1}]}),
            "spec.traffic[0].kind",
        );
        check(json!({"brings": ["nat", "nat"]}), "spec.brings[1]");
        check(json!({"spot": {"percent": 0}}), "spec.spot.percent");
        check(
            json!({"objectives": {"scores": [{"name": "carbon", "usdPerPoint": "much"}]}}),
            "spec.objectives.scores[0].usdPerPoint",
        );
        assert!(
            policy_fields(json!({
                "traffic": [{"to": "Template", "name": "db", "gibPerMonth": 5}],
                "spot": {"percent": 50}, "brings": ["load-balancer"],
                "objectives": {"scores": [{"name": "carbon", "usdPerPoint": "-0.001"}]}
            }))
            .is_empty()
        );
    }

    #[test]
    fn a_bad_amount_of_a_book_names_its_field() {
        let spec: PriceBookSpec = serde_json::from_value(json!({
            "maxAge": "a month",
            "prices": [{"provider": "eks", "instanceType": "m", "spotUsdHour": "cheap"}],
            "charges": [{"name": "nat", "usdHour": "x"}],
            "storage": [{"usdGibMonth": "-1"}],
            "egress": [{"to": "Zone", "usdGib": ""}],
            "commitments": [{"provider": "eks", "instanceType": "m", "nodes": 1, "until": "soon"}]
        }))
        .unwrap();
        let fields: Vec<_> = price_book(&spec).into_iter().map(|it| it.field).collect();
        assert_eq!(
            fields,
            [
                "spec.maxAge",
                "spec.prices[0].spotUsdHour",
                "spec.charges[0].usdHour",
                "spec.storage[0].usdGibMonth",
                "spec.egress[0].usdGib",
                "spec.commitments[0].until"
            ]
        );
    }

    #[test]
    fn a_price_that_can_mean_nothing_names_its_field() {
        let price = json!({
            "provider": "aws", "instanceType": "m", "cpu": "0", "memory": "much", "asOf": "2026-02-30",
            "spotInterruptPercentMin": 101, "spotInterruptPercentMax": 5
        });
        let commitment = json!({"provider": "eks", "instanceType": "m", "nodes": 0});
        let spec = json!({"prices": [price], "commitments": [commitment]});
        let spec: PriceBookSpec = serde_json::from_value(spec).unwrap();
        let fields: Vec<_> = price_book(&spec).into_iter().map(|it| it.field).collect();
        assert_eq!(
            fields,
            [
                "spec.prices[0].provider",
                "spec.prices[0].asOf",
                "spec.prices[0].cpu",
                "spec.prices[0].memory",
                "spec.prices[0].spotInterruptPercentMin",
                "spec.prices[0].spotInterruptPercentMin",
                "spec.commitments[0].nodes"
            ]
        );
    }

    #[test]
    fn a_bad_budget_or_score_names_its_field() {
        let budget = CostBudgetSpec { max_monthly_usd: "lots".into(), ..Default::default() };
        assert_eq!(cost_budget(&budget)[0].field, "spec.maxMonthlyUsd");
        let score = ClusterScoreSpec {
            cluster: "a".into(),
            valid_until: Some("tomorrow".into()),
            ..Default::default()
        };
        assert_eq!(cluster_score(&score)[0].field, "spec.validUntil");
    }

    #[test]
    fn dates_and_times_are_read() {
        assert_eq!(days("1970-01-01"), Some(0));
        assert_eq!(days("2000-03-01T10:00:00Z"), Some(11_017));
        assert_eq!(days("2026-11-21"), Some(20_778));
        assert_eq!(days("2026-13-01"), None);
        assert_eq!((days("2026-02-29"), days("2028-02-29").is_some()), (None, true));
        assert_eq!(days(""), None);
        assert_eq!(moment("1970-01-02T00:01:05Z"), Some(86_465));
        assert_eq!(moment("1970-01-02T00:01:05.25Z"), Some(86_465));
        assert_eq!(moment("1970-01-02"), Some(86_400));
        assert_eq!(moment("1970-01-02T00:01:05+01:00"), None);
        assert_eq!(moment("1970-01-02Tnoon"), None);
    }
}
