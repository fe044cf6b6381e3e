//! Keeps the status of StatusRules true: whether each is followed, on how many templates, and on how many it fails.
//! Worked out at most once a tick and written on change only.

use std::collections::BTreeMap;

use federation_types::{
    condition::Condition,
    names::Gvk,
    reason::{condition::READY, lint, placed},
    status_rule::{StatusRule, StatusRuleStatus},
    words::counted,
};
use status_rules::Standing;

use crate::{
    context::Context,
    index::Index,
    metrics::Metrics,
    status::{Names, Status, Statuses},
};

impl Status for StatusRuleStatus {
    fn conditions(&mut self) -> &mut Vec<Condition> {
        &mut self.conditions
    }
}

/// Writes what has changed.
pub(crate) async fn write(
    context: &Context,
    metrics: &Metrics,
    statuses: &mut Statuses<StatusRuleStatus>,
) {
    let counted = {
        let mut index = context.index.lock();
        let changed = std::mem::take(&mut index.reading.changed);
        let dirty = statuses.is_due() && !index.reading.objects.is_empty();
        if !(changed || dirty) {
            return;
        }
        count(&index)
    };
    metrics.rules(counted.iter().map(|(name, it)| (name, it.unreadable)));
    let of_all = counted.into_iter().map(|(name, it)| ((String::new(), name), it));
    statuses.write(context, Names::status_rule, of_all.collect()).await;
}

/// The status of every rule, with the condition `Ready` and without its time.
pub(crate) fn count(index: &Index) -> BTreeMap<String, StatusRuleStatus> {
    /// Templates of a kind, those that cannot be read, and why the first of them cannot.
    #[derive(Default)]
    struct Read<'a> {
        objects: i64,
        unreadable: i64,
        first: Option<String>,
        why: &'a str,
    }
    let mut kinds: BTreeMap<Gvk, Read<'_>> =
        index.reading.rules.kinds().map(|it| (it.clone(), Read::default())).collect();
    for (key, template) in &index.templates {
        let Some(read) = kinds.get_mut(&key.gvk) else { continue };
        read.objects += 1;
        let why = template.workload.unreadable.as_str();
        if !why.is_empty() {
            read.unreadable += 1;
            if read.first.is_none() {
                (read.first, read.why) = (Some(key.to_string()), why);
            }
        }
    }
    let none = Read::default();
    let status_of = |name: &str, rule: &StatusRule| {
        let read = kinds.get(&rule.spec.kind()).unwrap_or(&none);
        let templates = |count: i64| counted(count, "template", "templates");
        let (mut objects, mut unreadable) = (0, 0);
        let (ready, reason, message) = match index.reading.standings.get(name) {
            Some(Standing::Shadowed { by }) => {
                let message = format!("StatusRule {by} is about the same kind");
                ("False", lint::SHADOWED, message)
            }
            Some(Standing::Invalid(problems)) => {
                let texts = problems.iter().map(|it| format!("{}: {}", it.field, it.message));
                ("False", placed::INVALID, texts.collect::<Vec<_>>().join("; "))
            }
            Some(Standing::Active) | None => {
                (objects, unreadable) = (read.objects, read.unreadable);
                match &read.first {
                    Some(first) => {
                        let of = templates(objects);
                        let message =
                            format!("{unreadable} of {of} cannot be read; {first}: {}", read.why);
                        ("False", lint::UNREADABLE, message)
                    }
                    None => ("True", READY, format!("{} read by it", templates(objects))),
                }
            }
        };
        let generation = rule.metadata.generation;
        StatusRuleStatus {
            observed_generation: generation,
            conditions: vec![Condition {
                kind: READY.to_owned(),
                status: ready.to_owned(),
                reason: reason.to_owned(),
                message,
                observed_generation: generation,
                last_transition_time: String::new(),
            }],
            objects,
            unreadable,
        }
    };
    let rules = index.reading.objects.iter();
    rules.map(|(name, rule)| (name.clone(), status_of(name, rule))).collect()
}
