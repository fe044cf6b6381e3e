//! The rules that are built in: `data/rules.yaml`, read once.

use std::{collections::BTreeMap, sync::LazyLock};

use federation_types::{
    names::Gvk,
    status_rule::{RuleTarget, StatusRuleSpec},
};
use serde::Deserialize;
use serde_json::Value;

use crate::rule::Rule;

const TEXT: &str = include_str!("../data/rules.yaml");

#[derive(Deserialize)]
struct Targets {
    targets: Vec<RuleTarget>,
}

static SPECS: LazyLock<BTreeMap<Gvk, StatusRuleSpec>> = LazyLock::new(|| {
    let entries: Vec<Value> = serde_norway::from_str(TEXT).expect("data/rules.yaml is a list");
    let mut specs = BTreeMap::new();
    for mut entry in entries {
        let Targets { targets } =
            Targets::deserialize(&entry).expect("an entry of data/rules.yaml has targets");
        for it in targets {
            entry["target"] = serde_json::to_value(&it).expect("a target is plain data");
            let spec = StatusRuleSpec::deserialize(&entry)
                .expect("an entry of data/rules.yaml is the spec of a rule");
            specs.insert(spec.kind(), spec);
        }
    }
    specs
});

static RULES: LazyLock<BTreeMap<Gvk, Rule>> = LazyLock::new(|| {
    let compiled = SPECS.iter().map(|(kind, spec)| {
        let name = format!("the built-in rule of {}", kind.kind);
        let rule = Rule::compile(&name, spec).expect("the expressions of data/rules.yaml are good");
        (kind.clone(), rule)
    });
    compiled.collect()
});

/// The rules that are built in, by the kinds that they are about.
pub fn built_in() -> impl Iterator<Item = (&'static Gvk, &'static StatusRuleSpec)> {
    SPECS.iter()
}

pub(crate) fn built_in_spec(kind: &Gvk) -> Option<&'static StatusRuleSpec> {
    SPECS.get(kind)
}

pub(crate) fn built_in_rule(kind: &Gvk) -> Option<&'static Rule> {
    RULES.get(kind)
}
