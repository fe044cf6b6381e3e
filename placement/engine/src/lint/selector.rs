//! What a selector can select, seen in the selector alone.

use federation_types::selector::{ClusterSelector, LabelOperator, LabelSelector, glob};

/// Why no labels satisfy the selector.
pub(super) fn contradiction(selector: &LabelSelector) -> Option<String> {
    let rules = &selector.match_expressions;
    for it in rules {
        let key = &it.key;
        let fixed = selector.match_labels.get(key);
        match it.operator {
            LabelOperator::DoesNotExist => {
                let wanted = fixed.is_some()
                    || rules.iter().any(|other| {
                        other.key == *key
                            && matches!(other.operator, LabelOperator::Exists | LabelOperator::In)
                    });
                if wanted {
                    return Some(format!("the label {key} must be there and must not"));
                }
            }
            LabelOperator::In => {
                if let Some(value) = fixed.filter(|value| !it.values.contains(value)) {
                    return Some(format!(
                        "the label {key} must be {value} and one of {}",
                        it.values.join(", ")
                    ));
                }
                let open = it.values.iter().any(|value| {
                    rules.iter().filter(|other| other.key == *key).all(|other| {
                        match other.operator {
                            LabelOperator::In => other.values.contains(value),
                            LabelOperator::NotIn => !other.values.contains(value),
                            LabelOperator::Exists | LabelOperator::DoesNotExist => true,
                        }
                    })
                });
                if !open {
                    return Some(format!("no value of the label {key} is left"));
                }
            }
            LabelOperator::NotIn => {
                if let Some(value) = fixed.filter(|value| it.values.contains(value)) {
                    return Some(format!("the label {key} must be {value} and must not"));
                }
            }
            LabelOperator::Exists => (),
        }
    }
    None
}

/// The part of a cluster selector that nothing satisfies, with why.
pub(super) fn impossible(selector: &ClusterSelector) -> Option<(&'static str, String)> {
    if let Some(why) = contradiction(&selector.label_selector) {
        return Some(("labelSelector", why));
    }
    let excluded = |name: &String| selector.exclude.iter().any(|it| covers_pattern(it, name));
    if !selector.names.is_empty() && selector.names.iter().all(excluded) {
        return Some(("exclude", "every name that is selected is excluded".to_owned()));
    }
    if selector.exclude.iter().any(|it| !it.is_empty() && it.chars().all(|c| c == '*')) {
        return Some(("exclude", "every cluster is excluded".to_owned()));
    }
    let known = ["eks", "gke", "aks", "onprem"];
    if !selector.providers.is_empty()
        && !selector.providers.iter().any(|it| known.contains(&it.as_str()))
    {
        return Some((
            "providers",
            format!("no cluster is of provider {}", selector.providers.join(", ")),
        ));
    }
    selector
        .expressions
        .iter()
        .position(|it| it.trim() == "false")
        .map(|_| ("expressions", "an expression is false on every cluster".to_owned()))
}

/// Whether `wide` selects every cluster that `narrow` does, as far as the two alone tell.
pub(super) fn covers(wide: &ClusterSelector, narrow: &ClusterSelector) -> bool {
    let patterns = |wide: &[String], narrow: &[String]| {
        wide.is_empty()
            || (!narrow.is_empty()
                && narrow.iter().all(|it| wide.iter().any(|other| covers_pattern(other, it))))
    };
    let among = |wide: &[String], narrow: &[String]| {
        wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|it| wide.contains(it)))
    };
    among(&wide.sets, &narrow.sets)
        && among(&wide.providers, &narrow.providers)
        && patterns(&wide.regions, &narrow.regions)
        && patterns(&wide.zones, &narrow.zones)
        && patterns(&wide.names, &narrow.names)
        && wide
            .exclude
            .iter()
            .all(|it| narrow.exclude.iter().any(|other| covers_pattern(other, it)))
        && covers_labels(&wide.label_selector, &narrow.label_selector)
        && wide.expressions.iter().all(|it| narrow.expressions.contains(it))
}

/// Whether every rule of `wide` is one of `narrow`.
pub(super) fn covers_labels(wide: &LabelSelector, narrow: &LabelSelector) -> bool {
    wide.match_labels.iter().all(|(key, value)| narrow.match_labels.get(key) == Some(value))
        && wide.match_expressions.iter().all(|it| narrow.match_expressions.contains(it))
}

/// Whether every name that `narrow` matches, `wide` does: its stars stand for themselves, which a star matches too.
fn covers_pattern(wide: &str, narrow: &str) -> bool {
    glob(wide, narrow)
}

/// How many names a list can stand for at most; `None` where a star leaves it open.
pub(super) fn at_most(names: &[String]) -> Option<usize> {
    (!names.is_empty() && names.iter().all(|it| !it.contains('*'))).then(|| {
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        distinct.len()
    })
}
