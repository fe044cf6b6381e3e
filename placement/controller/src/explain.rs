//! The answer to `why`: the same pass as the decision's, told in words.

use federation_types::{
    names::{Gvk, ObjectKey},
    reason::placed as reason,
    review::{ExplanationSpec, ExplanationStatus},
};

use crate::{
    claim::{Facts, never},
    clock,
    decide::still_meant,
    gate,
    index::{Index, Placed, template_key},
    members::patience,
    snapshot::{self, Snapshots},
    spending,
};

pub(crate) fn explain(
    index: &Index,
    question: &ExplanationSpec,
) -> Result<ExplanationStatus, String> {
    let gvk = Gvk::new(&question.api_version, &question.kind);
    let key = template_key(&gvk, &question.namespace, &question.name);
    let labels = std::collections::BTreeMap::new();
    if let Some(why) = never(&Facts { key: &key, labels: &labels, secret_type: "" }) {
        let summary = format!("{key} is never a template: {why}");
        return Ok(ExplanationStatus { summary, ..Default::default() });
    }
    let Some(template) = index.templates.get(&key) else {
        let watched = index.kinds.contains_key(&(gvk.group.clone(), gvk.kind.clone()));
        let summary = if watched {
            return Err(format!("{key} does not exist"));
        } else {
            format!("no placement policy selects any {}: it stays on the hub", gvk.kind)
        };
        return Ok(ExplanationStatus { summary, ..Default::default() });
    };
    let claim = index.claim(&key, template);
    let shadowed =
        claim.shadowed.iter().map(|(policy, lost)| format!("{}: {}", policy.title(), lost.text()));
    let shadowed: Vec<String> = shadowed.collect();
    let placed = index.placements.get(&key);
    let Some(winner) = &claim.winner else {
        let summary = match placed.filter(|it| it.holds_copies()) {
            Some(_) => format!(
                "{key} is claimed by no policy any more: its copies stay until one claims it, or it is deleted"
            ),
            None => format!("{key} is claimed by no placement policy: it stays on the hub"),
        };
        return Ok(ExplanationStatus { summary, shadowed, ..Default::default() });
    };
    let compiled = Snapshots::default().policy(&claim, winner);
    let compiled = match &*compiled {
        Ok(compiled) => compiled,
        Err(problems) => {
            let texts: Vec<String> =
                problems.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
            let summary = format!("{} cannot decide: {}", winner.title(), texts.join("; "));
            return Ok(ExplanationStatus {
                policy: winner.title(),
                summary,
                shadowed,
                ..Default::default()
            });
        }
    };
    let now = clock::now();
    let lost = index.lost(patience(&winner.spec), now);
    let snapshot = snapshot::build(index, &lost, now);
    let only = if question.cluster.is_empty() {
        None
    } else {
        let id = snapshot.fleet.id(&question.cluster);
        Some(id.ok_or_else(|| format!("there is no cluster `{}`", question.cluster))?)
    };
    let previous = placed.map(|it| still_meant(&it.spec)).unwrap_or_default();
    let own = spending::surrounded(index, &key, template, Some(winner));
    let workload = own.as_ref().unwrap_or(&template.workload);
    let mut status = placement_engine::explain(
        &snapshot.fleet,
        &snapshot.room,
        &index.in_company(&key, template, workload, &winner.spec),
        compiled,
        &previous,
        only,
    );
    status.policy = winner.title();
    status.shadowed = shadowed;
    status.notes.extend(held(index, &key, placed.map(|it| &**it)));
    Ok(status)
}

/// What keeps a decision from being carried out, or from being made.
fn held(index: &Index, key: &ObjectKey, placed: Option<&Placed>) -> Vec<String> {
    let mut notes = Vec::new();
    if index.presumed() == gate::Fleet::CutOff {
        notes.push(
            "most of the fleet does not answer: the hub presumes that it is itself cut off, and changes nothing"
                .to_owned(),
        );
    }
    let mut frozen: Vec<&str> = Vec::new();
    for (name, budget) in &index.budgets {
        let freeze = &budget.spec.freeze;
        // A freeze of the fleet or the namespace holds everywhere; one of a cluster, what it is to hold.
        if freeze.holds("", &key.namespace) {
            notes.push(format!("frozen by ChangeBudget {name}: nothing is written to any cluster"));
        } else if let Some(placed) = placed {
            let clusters = placed.spec.clusters.iter().map(|it| it.name.as_str());
            frozen.extend(clusters.filter(|it| freeze.holds(it, &key.namespace)));
        }
    }
    if !frozen.is_empty() {
        notes.push(format!("frozen clusters, to which nothing is written: {}", frozen.join(", ")));
    }
    if let Some(outcome) = placed.map(|it| &it.spec.outcome)
        && (outcome.status != "True" || outcome.reason != reason::PLACED)
        && !outcome.message.is_empty()
    {
        notes.push(format!("{}: {}", outcome.reason, outcome.message));
    }
    notes
}
