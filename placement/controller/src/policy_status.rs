//! Keeps the status of policies true (RULES 2.6): matched, placed, pending, failing, and by whom they are shadowed.
//! Worked out at most once a tick and written on change only.

use std::collections::BTreeMap;

use federation_types::{
    condition::Condition, policy::PolicyStatus, reason::condition::READY, words::counted,
};

use crate::{
    clock,
    context::Context,
    index::Index,
    status::{Id, Names, Status, Statuses},
};

impl Status for PolicyStatus {
    fn conditions(&mut self) -> &mut Vec<Condition> {
        &mut self.conditions
    }

    fn gone(&self) -> Option<&'static str> {
        self.shadowed.is_empty().then_some("shadowed")
    }
}

/// Writes what has changed.
pub(crate) async fn write(context: &Context, statuses: &mut Statuses<PolicyStatus>) {
    if !statuses.is_due() {
        return;
    }
    let counted = count(&context.index.lock());
    statuses.write(context, Names::policy, counted).await;
}

fn templates(count: i64) -> String {
    counted(count, "template", "templates")
}

/// The status of every policy, the `Ready` condition first and without its time.
pub(crate) fn count(index: &Index) -> BTreeMap<Id, PolicyStatus> {
    let mut statuses: BTreeMap<Id, PolicyStatus> = index
        .policies
        .iter()
        .map(|(id, policy)| {
            let status =
                PolicyStatus { observed_generation: Some(policy.generation), ..Default::default() };
            (id.clone(), status)
        })
        .collect();
    for (key, template) in &index.templates {
        let claim = index.claim(key, template);
        for policy in claim.limits.iter().filter(|it| it.limits_only) {
            let id = (policy.namespace.clone(), policy.name.clone());
            if let Some(status) = statuses.get_mut(&id) {
                status.matched += 1;
            }
        }
        // What only follows is told of by those that need it.
        let Some(winner) = claim.winner.as_ref().filter(|_| claim.users.is_empty()) else {
            continue;
        };
        for (policy, _) in &claim.shadowed {
            let id = (policy.namespace.clone(), policy.name.clone());
            if let Some(status) = statuses.get_mut(&id) {
                status.matched += 1;
                *status.shadowed.entry(winner.title()).or_default() += 1;
            }
        }
        let id = (winner.namespace.clone(), winner.name.clone());
        let Some(status) = statuses.get_mut(&id) else { continue };
        status.matched += 1;
        match index.placements.get(key).map(|it| it.spec.outcome.status.as_str()) {
            Some("True") => status.placed += 1,
            Some("False") => status.failing += 1,
            Some(_) | None => status.pending += 1,
        }
    }
    for (id, status) in &mut statuses {
        let policy = &index.policies[id];
        let missing: Vec<String> = policy
            .spec
            .selectors
            .iter()
            .filter(|selector| {
                let group = selector.api_version.split_once('/').map_or("", |(group, _)| group);
                let kind = (group.into(), selector.kind.as_str().into());
                index.kinds.get(&kind).is_some_and(|it| it.missing)
            })
            .map(|it| format!("{} {}", it.api_version, it.kind))
            .collect();
        let (ready, reason, message) = if !missing.is_empty() {
            ("False", "KindNotServed", format!("the hub serves no {}", missing.join(", ")))
        } else if status.failing > 0 {
            (
                "False",
                "NotPlaced",
                format!("{} of {} not placed", status.failing, templates(status.matched)),
            )
        } else if policy.limits_only {
            ("True", "Ready", format!("limits {}", templates(status.matched)))
        } else {
            ("True", "Ready", format!("{} of {} placed", status.placed, templates(status.matched)))
        };
        status.conditions = vec![Condition {
            kind: READY.to_owned(),
            status: ready.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(policy.generation),
            last_transition_time: clock::now_text(),
        }];
    }
    statuses
}
