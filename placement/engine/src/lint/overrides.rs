//! What is odd about an override policy alone.

use federation_types::{
    overrides::{OverridePolicySpec, OverrideRule},
    reason::lint as code,
};

use super::{Report, selector};

pub(super) fn look(spec: &OverridePolicySpec, report: &mut Report<'_>) {
    for (at, it) in spec.selectors.iter().enumerate() {
        if let Some(why) = selector::contradiction(&it.label_selector) {
            let field = format!("spec.selectors[{at}].labelSelector");
            report.warn(code::SELECTS_NOTHING, field, why, "take one of the two out");
        }
    }
    if spec.rules.is_empty() {
        let advice = "say what is to be changed, or delete the policy";
        report.warn(code::NO_EFFECT, "spec.rules", "it changes nothing", advice);
    }
    for (at, it) in spec.rules.iter().enumerate() {
        if let Some((part, why)) = selector::impossible(&it.clusters) {
            let field = format!("spec.rules[{at}].clusters.{part}");
            report.warn(code::SELECTS_NOTHING, field, why, "widen it, or take the rule out");
        }
        let idle = OverrideRule { clusters: it.clusters.clone(), ..OverrideRule::default() };
        if *it == idle {
            let advice = "say what is to be changed, or take the rule out";
            report.warn(code::NO_EFFECT, format!("spec.rules[{at}]"), "it changes nothing", advice);
        }
    }
}
