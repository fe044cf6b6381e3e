//! What is wrong with a rule of a custom kind, its expressions left out: those are compiled elsewhere.

use std::collections::BTreeSet;

use super::{Check, Problem, selectors::api_and_kind};
use crate::{
    field_path::FieldPath,
    names::Gvk,
    status_rule::{StatusRuleSpec, is_native},
};

/// So many fields of a status are kept at most: of every copy they are held in memory.
const MOST_KEPT: usize = 32;

/// What is wrong with a status rule.
pub fn status_rule(spec: &StatusRuleSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    let target = &spec.target;
    api_and_kind("spec.target", &target.api_version, &target.kind, check);
    let gvk = Gvk::new(&target.api_version, &target.kind);
    if check.problems.is_empty() && is_native(&gvk.group, &gvk.kind) {
        let why = "kinds of Kubernetes itself are read by the hub; a rule is about a custom kind";
        check.forbidden("spec.target", why);
    }
    if *spec == (StatusRuleSpec { target: spec.target.clone(), ..StatusRuleSpec::default() }) {
        check.required(
            "spec",
            "say something of the kind: bound, replicas, components, health, status or dependencies",
        );
    }
    if let Some(replicas) = &spec.replicas {
        path("spec.replicas.path", &replicas.path, "spec", check);
        if spec.components.is_some() {
            let why = "a kind has replicas, which can be divided, or components, which cannot";
            check.forbidden("spec.components", why);
        }
    }
    if let Some(health) = &spec.health
        && health.ready.is_none()
        && health.degraded.is_none()
    {
        check.required("spec.health.ready", "say when a copy is ready, or when it is degraded");
    }
    let kept = spec.status.as_ref().map_or(0, |it| it.keep.len());
    if kept > MOST_KEPT {
        let rule = format!("must have at most {MOST_KEPT} items");
        check.invalid("spec.status.keep", kept, &rule);
    }
    let mut paths = BTreeSet::new();
    for (at, kept) in spec.status.iter().flat_map(|it| &it.keep).enumerate() {
        let field = format!("spec.status.keep[{at}].path");
        path(&field, &kept.path, "status", check);
        if matches!(kept.path.as_str(), ".status.observedGeneration") {
            check.forbidden(&field, "the hub says itself which generation was observed");
        }
        if !paths.insert(&kept.path) {
            check.duplicate(&field, &kept.path);
        }
    }
    problems
}

fn path(field: &str, text: &str, root: &str, check: &mut Check<'_>) {
    if text.is_empty() {
        check.required(field, &format!("a path such as .{root}.replicas"));
    } else if FieldPath::parse(text).is_none_or(|it| !it.is_below(root)) {
        let rule =
            format!("must be a path below .{root}, of names with dots, such as .{root}.replicas");
        check.invalid(field, format!("{text:?}"), &rule);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(spec: Value, fields: &[&str]) {
        let problems = status_rule(&serde_json::from_value(spec).unwrap());
        let found: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(found, fields, "{problems:?}");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let keep: Vec<Value> =
            (0..33).map(|it| json!({"path": format!(".status.f{it}")})).collect();
        let engine = json!({"apiVersion": "example.org/v1", "kind": "Engine"});
        check(json!({"target": engine, "status": {"keep": keep}}), &["spec.status.keep"]);
    }

    #[test]
    fn bad_rules_name_their_field() {
        let engine = json!({"apiVersion": "example.org/v1", "kind": "Engine"});
        check(json!({"target": engine, "bound": true}), &[]);
        check(json!({"target": engine}), &["spec"]);
        check(
            json!({"target": {"apiVersion": "apps/v1", "kind": "Deployment"}, "bound": true}),
            &["spec.target"],
        );
        check(
            json!({"target": {"apiVersion": "", "kind": "engine x"}, "bound": true}),
            &["spec.target.kind", "spec.target.apiVersion"],
        );
        check(
            json!({"target": engine, "replicas": {"path": "spec.size"}}),
            &["spec.replicas.path"],
        );
        check(
            json!({"target": engine, "replicas": {"path": ""}, "components": "[]", "health": {"reason": "'x'"}}),
            &["spec.replicas.path", "spec.components", "spec.health.ready"],
        );
        check(
            json!({"target": engine, "status": {"keep": [
                {"path": ".status.phase"}, {"path": ".status.phase"}, {"path": ".spec.x"},
                {"path": ".status.observedGeneration"}]}}),
            &["spec.status.keep[1].path", "spec.status.keep[2].path", "spec.status.keep[3].path"],
        );
    }
}
