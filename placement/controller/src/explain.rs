//! The answer to `why`: the same pass as the decision's, told in words.

use federation_types::{
    names::{COPIES_FINALIZER, Gvk, ObjectKey},
    reason::placed as reason,
    review::{ExplanationSpec, ExplanationStatus, plan::ObjectRef},
};
use kube::Client;
use parking_lot::Mutex;

use crate::{
    caller::{Kinds, PlanError, refused},
    claim::{Facts, never},
    clock,
    decide::still_meant,
    follow, held,
    index::{Index, Placed, template_key},
    members::{is_ready, patience},
    snapshot::{self, Snapshots},
    spending, stands,
};

/// Reads the template as the caller first: what the caller may not see is not explained.
pub(crate) async fn answer(
    index: &Mutex<Index>,
    caller: &Client,
    question: &ExplanationSpec,
) -> Result<ExplanationStatus, PlanError> {
    let ExplanationSpec { api_version, kind, name, namespace, .. } = question.clone();
    let template = ObjectRef { api_version, kind, namespace, name };
    let api = Kinds::new(caller).api_of("spec", &template).await?;
    let found = api.get_metadata(&template.name).await;
    let gone = matches!(&found, Err(kube::Error::Api(status)) if status.code == 404);
    // Who is told that it is gone may read it: what is still awaited of it is no secret to them.
    if !(gone && is_deleted(&index.lock(), question)) {
        found.map_err(|error| refused("spec.name", error))?;
    }
    let (copy, question) = (index.lock().clone(), question.clone());
    // It decides many times over: never while others wait for the index, nor on a thread that answers requests.
    tokio::task::spawn_blocking(move || explain(&copy, &question))
        .await
        .map_err(|error| PlanError::Unavailable(error.to_string()))?
}

fn is_deleted(index: &Index, question: &ExplanationSpec) -> bool {
    let gvk = Gvk::new(&question.api_version, &question.kind);
    let key = template_key(&gvk, &question.namespace, &question.name);
    farewell(index, &key, clock::now()).is_some()
}

pub(crate) fn explain(
    index: &Index,
    question: &ExplanationSpec,
) -> Result<ExplanationStatus, PlanError> {
    let gvk = Gvk::new(&question.api_version, &question.kind);
    let key = template_key(&gvk, &question.namespace, &question.name);
    let labels = std::collections::BTreeMap::new();
    if let Some(why) = never(&Facts { key: &key, labels: &labels, secret_type: "" }) {
        let summary = format!("{key} is never a template: {why}");
        return Ok(ExplanationStatus { summary, ..Default::default() });
    }
    let unknown =
        || PlanError::NotFound(format!("spec.cluster: there is no cluster `{}`", question.cluster));
    if !question.cluster.is_empty() && !index.clusters.contains_key(&question.cluster) {
        return Err(unknown());
    }
    if let Some(summary) = farewell(index, &key, clock::now()) {
        return Ok(ExplanationStatus { summary, ..Default::default() });
    }
    let Some(template) = index.templates.get(&key) else {
        let watched = index.kinds.contains_key(&(gvk.group.clone(), gvk.kind.clone()));
        let summary = if watched {
            return Err(PlanError::NotFound(format!("spec.name: {key} does not exist")));
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
    let copies = placed.filter(|it| it.holds_copies());
    let Some(winner) = &claim.winner else {
        let summary = match copies {
            Some(placed) => {
                let forsaken = follow::is_forsaken(index, &key, template, &mut placed.spec.clone());
                let why = follow::unclaimed(&placed.spec, forsaken).message;
                format!("{key}: {}; {why}", stands::text(placed))
            }
            None => format!("{key} is claimed by no placement policy: it stays on the hub"),
        };
        let notes = held(index, &key, copies.map(|it| &**it));
        let gone = |it: &String| {
            !it.starts_with(reason::POLICY_GONE) && !it.starts_with(reason::USER_GONE)
        };
        let notes = notes.into_iter().filter(gone).collect();
        return Ok(ExplanationStatus { summary, shadowed, notes, ..Default::default() });
    };
    let compiled = Snapshots::default().policy(&claim, winner);
    let compiled = match &*compiled {
        Ok(compiled) => compiled,
        Err(problems) => {
            let texts: Vec<String> =
                problems.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
            let stands =
                copies.map_or_else(String::new, |it| format!("{key}: {}; ", stands::text(it)));
            let summary = format!("{stands}{} cannot decide: {}", winner.title(), texts.join("; "));
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
        Some(id.ok_or_else(unknown)?)
    };
    let previous = placed.map(|it| still_meant(&it.spec)).unwrap_or_default();
    let own = spending::surrounded(index, &key, template, Some(winner));
    let workload = own.as_ref().unwrap_or(&template.workload);
    let workload = &*index.in_company(&key, template, workload, &winner.spec);
    let (fleet, room) = (&snapshot.fleet, &snapshot.room);
    let mut status = placement_engine::explain(fleet, room, workload, compiled, &previous, only);
    status.policy = winner.title();
    status.shadowed = shadowed;
    let mut notes = held(index, &key, placed.map(|it| &**it));
    let company = follow::remarks(index, &key, &claim, placed.map(|it| &**it));
    let decision = placement_engine::place(fleet, &mut room.clone(), workload, compiled, &previous);
    match placed {
        Some(placed) if stands::is_decided(&placed.spec, &decision, fleet) => {
            let said = format!("{}: ", placed.spec.outcome.reason);
            let said = notes.iter().position(|it| it.starts_with(&said));
            let outcome = match (&decision.outcome, said) {
                (outcome, _) if outcome.is_placed() => String::new(),
                // Said once: with the rules that refused.
                (_, Some(at)) => format!("; {}", without_reason(&notes.remove(at))),
                (outcome, None) => format!("; {outcome}"),
            };
            status.summary = format!("{key}: {}{outcome}", stands::text(placed));
        }
        _ => {
            let stands = placed.map_or_else(|| "not placed yet".to_owned(), |it| stands::text(it));
            status.summary = format!("{key}: {stands}");
            let why = match notes.iter().position(|it| !it.starts_with(held::FROZEN_CLUSTERS)) {
                Some(first) => notes.remove(first),
                None if placed
                    .is_some_and(|it| it.spec.clusters.iter().any(|it| !it.leaving.is_empty())) =>
                {
                    "the move before is not finished".to_owned()
                }
                None => "it has not been decided yet".to_owned(),
            };
            status.pending = format!("{}; not done: {why}", stands::decided(&decision, fleet));
        }
    }
    status.notes.extend(notes);
    status.notes.extend(company);
    for it in &mut status.clusters {
        it.holds = placed
            .is_some_and(|placed| placed.spec.clusters.iter().any(|own| own.name == it.cluster));
    }
    Ok(status)
}

/// `NoClusterFits: no cluster …` without its code.
fn without_reason(note: &str) -> &str {
    note.split_once(": ").map_or(note, |it| it.1)
}

/// Of a template that is being deleted, or was: where its copies still are, and what they wait for. Nothing is decided for
/// it any more. None where the template stands, or left nothing.
fn farewell(index: &Index, key: &ObjectKey, now: i64) -> Option<String> {
    let placed = index.placements.get(key).filter(|it| it.holds_copies());
    let there = match index.templates.get(key) {
        Some(template) if template.deleting => true,
        Some(_) => return None,
        // Only a complete list shows that it is gone.
        None if index.kinds.get(&(key.gvk.group.clone(), key.gvk.kind.clone()))?.synced => false,
        None => return None,
    };
    let begin = format!("{key} {}", if there { "is being deleted" } else { "was deleted" });
    let Some(placed) = placed else {
        return there.then(|| format!("{begin}: no copy of it is left"));
    };
    let spec = &placed.spec;
    let (mut stand, mut going, mut awaited) = (Vec::new(), Vec::new(), Vec::new());
    let copies = spec.clusters.iter().map(|it| (it.name.as_str(), false));
    let removed = spec.removing.iter().map(|it| (it.name.as_str(), true));
    for (name, goes) in copies.chain(removed) {
        match index.clusters.get(name) {
            None => {
                awaited.push(format!("its copy on {name} is held: {name} is not in the inventory"));
            }
            Some(member) if !is_ready(member) => awaited.push(format!(
                "its copy on {name} goes when {name} answers again, or with `archipel cluster leave {name} --forget`"
            )),
            Some(_) if goes => going.push(name),
            Some(_) => stand.push(name),
        }
    }
    let mut parts = Vec::new();
    if !stand.is_empty() {
        parts.push(format!("copies still stand on {}", stand.join(", ")));
    }
    if !going.is_empty() {
        parts.push(format!("copies are being removed from {}", going.join(", ")));
    }
    parts.extend(awaited);
    let held = held::removals(index, key, placed, now);
    if !held.is_empty() {
        parts.push(format!("held: {}", held.join("; ")));
    }
    let finalizer = if there { format!(" (finalizer {COPIES_FINALIZER})") } else { String::new() };
    Some(format!("{begin}: {}{finalizer}", parts.join("; ")))
}

/// What keeps a decision from being carried out, or from being made.
fn held(index: &Index, key: &ObjectKey, placed: Option<&Placed>) -> Vec<String> {
    let mut notes = held::writes(index, key, placed);
    if let Some(outcome) = placed.map(|it| &it.spec.outcome)
        && (outcome.status != "True" || outcome.reason != reason::PLACED)
        && !outcome.message.is_empty()
    {
        notes.push(format!("{}: {}", outcome.reason, outcome.message));
    }
    let rollout = placed.and_then(|it| it.spec.rollout.as_ref().map(|rollout| (it, rollout)));
    if let Some((_, it)) = rollout.filter(|(placed, it)| placed.spec.outcome.reason != it.reason) {
        notes.push(format!("{}: {} (`archipel rollout status`)", it.reason, it.message));
    }
    notes
}
