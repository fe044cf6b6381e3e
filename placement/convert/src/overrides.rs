//! OverridePolicy and ClusterOverridePolicy as ours of the same names.

use federation_types::{
    overrides::{
        ClusterOverridePolicySpec, ImageOverride, JsonPatchOp, JsonPatchOperation, MapOverride,
        OverridePolicySpec, OverrideRule, WordsOverride,
    },
    validate,
};
use serde_json::{Value, from_value};

use crate::{
    Change,
    clusters::{rank, selector, templates, value},
    fields::Fields,
};

/// Specs by what is appended to the name. `own` is the namespace of a namespaced policy.
pub(crate) fn policies(spec: &mut Fields, own: Option<&str>) -> Vec<(String, Value)> {
    let found = templates(spec, own);
    let mut rules = Vec::new();
    // The old form: one rule at the top.
    if spec.has("overriders") {
        rules.push(rule(spec));
        spec.note("overriders", Change::Same, "written as a rule");
    }
    for mut it in spec.list("overrideRules") {
        rules.push(rule(&mut it));
        spec.join(it);
    }
    if found.is_empty() {
        let why =
            "without selectors it is for everything, which ours never are: no policy is written";
        spec.note("resourceSelectors", Change::Dropped, why);
    }
    let mut specs = Vec::new();
    for (namespace, selectors) in found {
        if !namespace.is_empty() {
            let why = format!(
                "ours has no namespaces here: the rule for `{namespace}` is for every namespace; write an OverridePolicy there instead"
            );
            spec.note("resourceSelectors", Change::Changed, why);
        }
        // Narrower ones come later and have the last word, as in Karmada.
        let priority = rank(&selectors);
        let rules = rules.clone();
        let own_spec = OverridePolicySpec { selectors, priority, rules };
        let suffix = if specs.is_empty() { String::new() } else { format!("-{}", specs.len() + 1) };
        specs.push((
            suffix,
            match own {
                Some(_) => value(&own_spec),
                None => value(&ClusterOverridePolicySpec { overrides: own_spec }),
            },
        ));
    }
    specs
}

fn rule(fields: &mut Fields) -> OverrideRule {
    let mut rule = OverrideRule::default();
    if let Some(mut target) = fields.inner("targetCluster") {
        rule.clusters = selector(&mut target);
        fields.join(target);
    }
    if let Some(mut all) = fields.inner("overriders") {
        for mut it in all.list("imageOverrider") {
            rule.image.extend(image(&mut it));
            all.join(it);
        }
        for (field, words) in
            [("commandOverrider", &mut rule.command), ("argsOverrider", &mut rule.args)]
        {
            for mut it in all.list(field) {
                words.extend(command(&mut it));
                all.join(it);
            }
        }
        rule.labels = map(&mut all, "labelsOverrider");
        rule.annotations = map(&mut all, "annotationsOverrider");
        for mut it in all.list("plaintext") {
            rule.json_patch.extend(patch(&mut it));
            all.join(it);
        }
        all.drop("fieldOverrider", "a patch inside a text field has no counterpart; replace the whole field with jsonPatch");
        fields.join(all);
    }
    rule
}

fn image(it: &mut Fields) -> Option<ImageOverride> {
    let component = it.text("component").unwrap_or_default();
    let operator = it.text("operator").unwrap_or_default();
    let value = it.text("value").unwrap_or_default();
    if it.has("predicate") {
        it.drop(
            "predicate",
            "ours names containers, not paths: the change is left out; write it with `container`",
        );
        return None;
    }
    let value = match operator.as_str() {
        "replace" => value,
        "remove" if component == "Registry" => String::new(),
        _ => {
            let why = format!(
                "`{operator}` of {component} has no counterpart: ours replaces a part whole"
            );
            it.note("operator", Change::Dropped, why);
            return None;
        }
    };
    let mut image = ImageOverride::default();
    match component.as_str() {
        "Registry" => image.registry = Some(value),
        "Repository" => image.repository = Some(value),
        "Tag" => image.tag = Some(value),
        _ => {
            it.note("component", Change::Dropped, "neither Registry, Repository nor Tag");
            return None;
        }
    }
    Some(image)
}

fn command(it: &mut Fields) -> Option<WordsOverride> {
    let container = it.text("containerName").unwrap_or_default();
    let operator = it.text("operator").unwrap_or_default();
    let value = it.texts("value");
    let words = WordsOverride { container, ..WordsOverride::default() };
    match operator.as_str() {
        "add" => Some(WordsOverride { add: value, ..words }),
        "remove" => Some(WordsOverride { remove: value, ..words }),
        _ => {
            it.note("operator", Change::Dropped, "neither add nor remove");
            None
        }
    }
}

fn map(all: &mut Fields, field: &str) -> Option<MapOverride> {
    let mut map = MapOverride::default();
    for mut it in all.list(field) {
        let operator = it.text("operator").unwrap_or_default();
        let values: std::collections::BTreeMap<String, String> =
            it.take("value").and_then(|it| from_value(it).ok()).unwrap_or_default();
        match operator.as_str() {
            "add" => map.set.extend(values),
            "replace" => {
                map.set.extend(values);
                it.note("operator", Change::Changed, "set where it is missing too");
            }
            "remove" => map.remove.extend(values.into_keys()),
            _ => it.note("operator", Change::Dropped, "neither add, replace nor remove"),
        }
        all.join(it);
    }
    (map != MapOverride::default()).then_some(map)
}

fn patch(it: &mut Fields) -> Option<JsonPatchOperation> {
    let path = it.text("path").unwrap_or_default();
    let value = it.take("value");
    let op = match it.text("operator").as_deref() {
        Some("add") => JsonPatchOp::Add,
        Some("replace") => JsonPatchOp::Replace,
        Some("remove") => JsonPatchOp::Remove,
        _ => {
            it.note("operator", Change::Dropped, "neither add, replace nor remove");
            return None;
        }
    };
    let value = if op == JsonPatchOp::Remove { None } else { value };
    let operation = JsonPatchOperation { op, path, from: None, value };
    match refused(&operation) {
        None => Some(operation),
        Some((field, why)) => {
            it.note(&field, Change::Dropped, format!("the hub refuses it: {why}"));
            None
        }
    }
}

/// What the hub has against an operation, and at which field of it.
fn refused(operation: &JsonPatchOperation) -> Option<(String, String)> {
    let rule = OverrideRule { json_patch: vec![operation.clone()], ..OverrideRule::default() };
    let spec = OverridePolicySpec { rules: vec![rule], ..OverridePolicySpec::default() };
    validate::override_policy(&spec).into_iter().find_map(|it| {
        let field = it.field.strip_prefix("spec.rules[0].jsonPatch[0]")?.trim_start_matches('.');
        Some((field.to_owned(), it.message))
    })
}
