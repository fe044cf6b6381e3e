//! What is wrong with a rollout strategy alone, and with what is said to a rollout.

use std::collections::BTreeSet;

use super::{Check, Problem, duration, form::Form, seconds, selectors::cluster_selector};
use crate::rollout::{REST, RolloutSpec, RolloutStrategySpec};

/// Waves of a strategy.
const MAX_WAVES: usize = 64;
/// Expressions in the gate of a wave.
const MAX_GATES: usize = 16;

/// What is wrong with a rollout strategy.
pub fn rollout_strategy(spec: &RolloutStrategySpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    if spec.waves.is_empty() {
        check.required("spec.waves", "a strategy has at least one wave");
    }
    if spec.waves.len() > MAX_WAVES {
        check.invalid("spec.waves", spec.waves.len(), &format!("may be {MAX_WAVES} at most"));
    }
    let mut names = BTreeSet::new();
    for (at, wave) in spec.waves.iter().enumerate() {
        let field = |part: &str| format!("spec.waves[{at}].{part}");
        check.form(&field("name"), &wave.name, Form::Name);
        if !names.insert(&wave.name) {
            check.duplicate(&field("name"), &wave.name);
        }
        cluster_selector(&field("clusters"), &wave.clusters, check);
        let last = at + 1 == spec.waves.len();
        if wave.name == REST && !(last && wave.clusters.is_empty()) {
            let rule = "is the name of the last wave, which takes all clusters that are left";
            check.invalid(&field("name"), format!("{REST:?}"), rule);
        } else if wave.clusters.is_empty() && !last {
            let why = "say which clusters: an empty selector takes all, and leaves none to the waves after it";
            check.required(&field("clusters"), why);
        }
        if wave.max_concurrent == Some(0) {
            check.invalid(&field("maxConcurrent"), 0, "must be at least 1");
        }
        if let Some(soak) = &wave.soak {
            duration(&field("soak"), soak, check);
        }
        if wave.gate.len() > MAX_GATES {
            let rule = format!("may be {MAX_GATES} expressions at most");
            check.invalid(&field("gate"), wave.gate.len(), &rule);
        }
        for (n, text) in wave.gate.iter().enumerate() {
            if text.trim().is_empty() {
                check.required(&field(&format!("gate[{n}]")), "an expression");
            }
        }
    }
    duration("spec.progressDeadline", &spec.progress_deadline, check);
    if seconds(&spec.progress_deadline) == Some(0) {
        let value = format!("{:?}", spec.progress_deadline);
        check.invalid("spec.progressDeadline", value, "must be longer than 0");
    }
    problems
}

/// What is wrong with what is said to a rollout.
pub fn rollout(spec: &RolloutSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    check.forms("spec.approved", &spec.approved, Form::Name);
    check.form_if_any("spec.revision", &spec.revision, Form::Name);
    check.form_if_any("spec.retry", &spec.retry, Form::Word);
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rollout::PROGRESS_DEADLINE;

    fn fields(spec: &Value) -> Vec<String> {
        let spec = serde_json::from_value(spec.clone()).unwrap();
        rollout_strategy(&spec).into_iter().map(|it| it.field).collect()
    }

    #[test]
    fn a_strategy_that_says_all_it_can_is_well_formed() {
        let spec = json!({
            "waves": [
                {"name": "canary", "clusters": {"names": ["eks-1"]}, "soak": "10m"},
                {"name": "eu", "clusters": {"regions": ["eu-*"]}, "maxConcurrent": 2, "approval": "Required",
                 "gate": ["wave.ready == wave.size"]},
                {"name": "rest"},
            ],
            "progressDeadline": "30m", "onFailure": "RollBack",
        });
        assert_eq!(fields(&spec), [""; 0]);
        let least = json!({"waves": [{"name": "all"}]});
        assert_eq!(fields(&least), [""; 0]);
        let read: RolloutStrategySpec = serde_json::from_value(least).unwrap();
        assert_eq!(read.progress_deadline, PROGRESS_DEADLINE);
    }

    #[test]
    fn what_is_wrong_is_said_by_its_field() {
        assert_eq!(fields(&json!({"waves": []})), ["spec.waves"]);
        let spec = json!({
            "waves": [
                {"name": "Canary", "clusters": {"providers": ["aws"]}, "maxConcurrent": 0, "soak": "soon"},
                {"name": "rest", "clusters": {"names": ["a"]}},
                {"name": "all", "gate": [" "]},
                {"name": "all"},
            ],
            "progressDeadline": "0s",
        });
        assert_eq!(
            fields(&spec),
            [
                "spec.waves[0].name",
                "spec.waves[0].clusters.providers[0]",
                "spec.waves[0].maxConcurrent",
                "spec.waves[0].soak",
                "spec.waves[1].name",
                "spec.waves[2].clusters",
                "spec.waves[2].gate[0]",
                "spec.waves[3].name",
                "spec.progressDeadline",
            ]
        );
        let wave = |at: usize| json!({"name": format!("w{at}"), "clusters": {"names": ["a"]}, "gate": vec!["true"; 16]});
        let mut most = json!({"waves": (0..64).map(wave).collect::<Vec<_>>()});
        assert_eq!(fields(&most), [""; 0]);
        most["waves"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "all", "gate": vec!["true"; 17]}));
        assert_eq!(fields(&most), ["spec.waves", "spec.waves[64].gate"]);
        let said = RolloutSpec { approved: vec!["Eu West".into()], ..RolloutSpec::default() };
        assert_eq!(rollout(&said)[0].field, "spec.approved[0]");
    }
}
