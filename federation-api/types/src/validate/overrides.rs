//! What is wrong with an override policy alone: parts that change nothing, contradict each other, or change what an
//! object is.

use std::collections::BTreeSet;

use super::{
    Check, Problem,
    form::Form,
    selectors::{cluster_selector, selectors},
};
use crate::{
    names::GROUP,
    overrides::{
        EnvOverride, ImageOverride, JsonPatchOp, JsonPatchOperation, MapOverride,
        OverridePolicySpec, WordsOverride,
    },
};

/// What an override does not change: what an object is.
const LOCKED: [&str; 4] = ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"];

/// What is wrong with an override policy.
pub fn override_policy(spec: &OverridePolicySpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let check = &mut Check { problems: &mut problems };
    selectors(&spec.selectors, check);
    for (at, rule) in spec.rules.iter().enumerate() {
        let field = |part: &str| format!("spec.rules[{at}].{part}");
        let item = |part: &str, n: usize| format!("spec.rules[{at}].{part}[{n}]");
        cluster_selector(&field("clusters"), &rule.clusters, check);
        for (n, it) in rule.image.iter().enumerate() {
            image(&item("image", n), it, check);
        }
        for (n, it) in rule.command.iter().enumerate() {
            words(&item("command", n), it, check);
        }
        for (n, it) in rule.args.iter().enumerate() {
            words(&item("args", n), it, check);
        }
        for (n, it) in rule.env.iter().enumerate() {
            env(&item("env", n), it, check);
        }
        for (part, it) in [("labels", &rule.labels), ("annotations", &rule.annotations)] {
            if let Some(it) = it {
                map(&field(part), part, it, check);
            }
        }
        for (n, it) in rule.json_patch.iter().enumerate() {
            operation(&item("jsonPatch", n), it, check);
        }
    }
    problems
}

fn image(field: &str, it: &ImageOverride, check: &mut Check<'_>) {
    if it.registry.is_none() && it.repository.is_none() && it.tag.is_none() {
        check.required(field, "one of registry, repository and tag: it changes nothing");
    }
    // An empty registry is the one that images without any come from.
    check.form_if_any(
        &format!("{field}.registry"),
        it.registry.as_deref().unwrap_or_default(),
        Form::Word,
    );
    for (part, text) in [("repository", &it.repository), ("tag", &it.tag)] {
        if let Some(text) = text {
            check.form(&format!("{field}.{part}"), text, Form::Word);
        }
    }
    if let Some(tag) = it.tag.as_ref().filter(|it| it.contains(['/', '@'])) {
        let rule = "must be a tag, or a digest such as sha256:…";
        check.invalid(&format!("{field}.tag"), format!("{tag:?}"), rule);
    }
}

fn words(field: &str, it: &WordsOverride, check: &mut Check<'_>) {
    if it.set.is_some() && !(it.remove.is_empty() && it.add.is_empty()) {
        check.forbidden(&format!("{field}.set"), "it replaces all words: not with remove or add");
    }
    if it.set.is_none() && it.remove.is_empty() && it.add.is_empty() {
        check.required(field, "one of set, remove and add: it changes nothing");
    }
}

fn env(field: &str, it: &EnvOverride, check: &mut Check<'_>) {
    if it.set.is_empty() && it.remove.is_empty() {
        check.required(field, "one of set and remove: it changes nothing");
    }
    let mut names = BTreeSet::new();
    for (n, value) in it.set.iter().enumerate() {
        let field = format!("{field}.set[{n}].name");
        if value.name.is_empty() || value.name.contains('=') {
            let rule = "must be the name of a variable, without =";
            check.invalid(&field, format!("{:?}", value.name), rule);
        } else if !names.insert(&value.name) {
            check.duplicate(&field, &value.name);
        }
        if it.remove.contains(&value.name) {
            check.forbidden(&field, &format!("{:?} is set and removed", value.name));
        }
    }
}

fn map(field: &str, part: &str, it: &MapOverride, check: &mut Check<'_>) {
    for (key, value) in &it.set {
        let field = format!("{field}.set[{key}]");
        if check.form(&field, key, Form::Key) && part == "labels" {
            check.form(&field, value, Form::LabelValue);
        }
        if it.remove.contains(key) {
            check.forbidden(&field, "it is set and removed");
        }
        own(&field, key, check);
    }
    for (n, key) in it.remove.iter().enumerate() {
        let field = format!("{field}.remove[{n}]");
        check.form(&field, key, Form::Key);
        own(&field, key, check);
    }
}

/// What copies are known by is not for overrides (RULES 4.2).
fn own(field: &str, key: &str, check: &mut Check<'_>) {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    if domain == GROUP {
        check.forbidden(field, "labels and annotations of archipel.dev are the hub's own");
    }
}

fn operation(field: &str, it: &JsonPatchOperation, check: &mut Check<'_>) {
    use JsonPatchOp::{Add, Copy, Move, Remove, Replace, Test};
    let at_path = format!("{field}.path");
    pointer(&at_path, &it.path, check);
    match it.op {
        Add | Replace | Test => {
            if it.value.is_none() {
                check.required(&format!("{field}.value"), "add, replace and test take a value");
            }
            if it.from.is_some() {
                check.forbidden(&format!("{field}.from"), "only move and copy take a from");
            }
        }
        Move | Copy => match &it.from {
            None => check.required(&format!("{field}.from"), "move and copy take a from"),
            Some(from) => {
                let at_from = format!("{field}.from");
                pointer(&at_from, from, check);
                if it.op == Move {
                    locked(&at_from, from, check);
                }
            }
        },
        Remove => {
            if it.from.is_some() {
                check.forbidden(&format!("{field}.from"), "only move and copy take a from");
            }
        }
    }
    if it.op != Test {
        locked(&at_path, &it.path, check);
    }
}

fn pointer(field: &str, text: &str, check: &mut Check<'_>) {
    if !text.is_empty() && !text.starts_with('/') {
        check.invalid(field, format!("{text:?}"), "must be a JSON pointer, which begins with /");
    }
    let mut escapes = text.split('~').skip(1);
    if escapes.any(|it| !it.starts_with(['0', '1'])) {
        check.invalid(field, format!("{text:?}"), "must be a JSON pointer: after ~ comes 0 or 1");
    }
}

fn locked(field: &str, path: &str, check: &mut Check<'_>) {
    if path.is_empty() || LOCKED.contains(&path) {
        check.forbidden(field, "an override does not change what an object is");
    }
    if path == "/spec/replicas" {
        check.forbidden(field, "the placement says how many replicas each cluster runs");
    }
    for map in ["/metadata/labels/", "/metadata/annotations/"] {
        if let Some(key) = path.strip_prefix(map) {
            own(field, &key.replace("~1", "/").replace("~0", "~"), check);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fields(rule: &Value) -> Vec<String> {
        let spec = json!({"selectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}], "rules": [rule]});
        let spec = serde_json::from_value(spec).unwrap();
        override_policy(&spec).into_iter().map(|it| it.field).collect()
    }

    #[test]
    fn what_an_override_cannot_do_names_its_field() {
        let check = |rule: Value, expected: &[&str]| {
            let expected: Vec<String> =
                expected.iter().map(|it| format!("spec.rules[0].{it}")).collect();
            assert_eq!(fields(&rule), expected, "{rule}");
        };
        check(json!({"image": [{"tag": "v2"}, {"registry": ""}, {"tag": "sha256:00"}]}), &[]);
        check(json!({"image": [{"container": "main"}]}), &["image[0]"]);
        check(json!({"image": [{"repository": "a b"}]}), &["image[0].repository"]);
        check(json!({"image": [{"tag": "web:v2@x"}]}), &["image[0].tag"]);
        check(json!({"command": [{}]}), &["command[0]"]);
        check(json!({"args": [{"set": ["a"], "add": ["b"]}]}), &["args[0].set"]);
        check(json!({"env": [{}]}), &["env[0]"]);
        check(
            json!({"env": [{"set": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}], "remove": ["B"]}]}),
            &["env[0].set[1].name"],
        );
        check(json!({"env": [{"set": [{"name": "A=B", "value": "1"}]}]}), &["env[0].set[0].name"]);
        check(
            json!({"env": [{"set": [{"name": "A", "value": "1"}], "remove": ["A"]}]}),
            &["env[0].set[0].name"],
        );
        check(json!({"labels": {"set": {"a b": "x"}}}), &["labels.set[a b]"]);
        check(json!({"labels": {"set": {"a": "x y"}}}), &["labels.set[a]"]);
        check(json!({"annotations": {"set": {"a": "x y"}}}), &[]);
        check(json!({"labels": {"remove": ["a/b/c"]}}), &["labels.remove[0]"]);
        let patch = |it: Value| json!({"jsonPatch": [it]});
        check(patch(json!({"op": "remove", "path": "spec/x"})), &["jsonPatch[0].path"]);
        check(patch(json!({"op": "remove", "path": "/a~2b"})), &["jsonPatch[0].path"]);
        check(patch(json!({"op": "remove", "path": "/x", "from": "/y"})), &["jsonPatch[0].from"]);
        check(patch(json!({"op": "move", "path": "/x", "from": "/kind"})), &["jsonPatch[0].from"]);
        check(patch(json!({"op": "copy", "path": "/x", "from": "/kind"})), &[]);
        check(patch(json!({"op": "test", "path": "/kind", "value": "Deployment"})), &[]);
        check(
            patch(json!({"op": "replace", "path": "/spec/replicas", "value": 1})),
            &["jsonPatch[0].path"],
        );
    }

    #[test]
    fn rule_4_2_an_override_does_not_touch_our_marks() {
        let labels = json!({"labels": {"set": {"archipel.dev/managed": "no"}}});
        assert_eq!(fields(&labels), ["spec.rules[0].labels.set[archipel.dev/managed]"]);
        let remove = json!({"annotations": {"remove": ["archipel.dev/copy-of"]}});
        assert_eq!(fields(&remove), ["spec.rules[0].annotations.remove[0]"]);
        let path = "/metadata/annotations/archipel.dev~1copy-of";
        let patch = json!({"jsonPatch": [{"op": "remove", "path": path}]});
        assert_eq!(fields(&patch), ["spec.rules[0].jsonPatch[0].path"]);
    }
}
