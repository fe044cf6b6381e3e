//! One pass over one template: claim, engine, transition, gate. Changes nothing but the gate's count; what is to be
//! written is its result.

use std::collections::BTreeSet;

use federation_types::{
    names::{COPIES_FINALIZER, ObjectKey, placement_name},
    placement::{Outcome, PlacementSpec, TemplateRef},
    policy::{OnDelete, PlacementPolicySpec},
    reason::placed as reason,
    revision::RevisionSpec,
    validate::seconds,
};
use placement_engine::{self as engine, Decision, Fleet, Previous, PreviousCluster, Rule};

use crate::{
    clock,
    gate::{self, Asking, Hold},
    index::{Index, Placed, Template, is_ready},
    snapshot::{PATIENCE, Snapshot, Snapshots, dark_for, presume},
    transition::{self, Draft, Standing, Target, Trigger},
    write::Write,
};

/// Revisions that are kept beside those still released (RULES 1.6).
const KEPT_REVISIONS: usize = 10;
/// The annotation on a MemberCluster that says how it leaves.
pub(crate) const LEAVE_ANNOTATION: &str = "archipel.dev/leave";

/// What a pass came to.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    pub(crate) write: Option<Write>,
    pub(crate) events: Vec<Event>,
    /// Names of revisions that nothing needs any more.
    pub(crate) stale_revisions: Vec<String>,
}

/// Something worth telling people.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Looks at one template.
pub(crate) fn pass(index: &mut Index, snapshots: &mut Snapshots, key: &ObjectKey) -> Pass {
    let template = index.templates.get(key).cloned();
    let placed = index.placements.get(key).cloned();
    match (template, placed) {
        (None, None) => Pass::default(),
        (None, Some(placed)) => {
            let kind = (key.gvk.group.clone(), key.gvk.kind.clone());
            // Only a complete list shows that a template was deleted. A kind that is no longer served, a list that has
            // not arrived: what runs stays (RULES 1.2).
            if index.kinds.get(&kind).is_some_and(|it| it.synced) {
                part(index, key, &placed, None)
            } else {
                Pass::default()
            }
        }
        (Some(template), Some(placed)) if template.deleting => {
            part(index, key, &placed, Some(&template))
        }
        (Some(template), None) if template.deleting => release(&template),
        (Some(template), placed) => decide(index, snapshots, key, &template, placed.as_deref()),
    }
}

/// The finalizer goes when there is nothing left to wait for.
fn release(template: &Template) -> Pass {
    let ours = template.finalizers.iter().any(|it| it == COPIES_FINALIZER);
    Pass { write: ours.then_some(Write::Release), ..Pass::default() }
}

/// A template is being deleted, or is gone: its copies go, within the budget (RULES 1.2, 4.3).
fn part(index: &mut Index, key: &ObjectKey, placed: &Placed, template: Option<&Template>) -> Pass {
    let standing = standing(index, &placed.spec);
    let mut draft = transition::farewell(&placed.spec, &standing);
    drop(standing);
    draft.bury(&confirmed(index, placed));
    let (spec, _) = settle(index, key, placed, draft, placed.spec.clone());
    let reachable_left = spec.clusters.iter().any(|it| index.clusters.contains_key(&it.name))
        || spec.removing.iter().any(|it| index.clusters.get(&it.name).is_some_and(|it| is_ready(it)));
    let release = template.is_some_and(|it| it.finalizers.iter().any(|it| it == COPIES_FINALIZER));
    if spec.clusters.is_empty() && spec.removing.is_empty() {
        let revisions = revision_names(index, key);
        return Pass { write: Some(Write::Forget { revisions, release }), ..Pass::default() };
    }
    if spec != placed.spec {
        let write = Write::Place { spec: Box::new(spec), revision: None, finalizer: false };
        return Pass { write: Some(write), ..Pass::default() };
    }
    // Only clusters that do not answer are left: the Placement stays as their tombstone, and the template may go.
    Pass { write: (release && !reachable_left).then_some(Write::Release), ..Pass::default() }
}

fn decide(
    index: &mut Index,
    snapshots: &mut Snapshots,
    key: &ObjectKey,
    template: &Template,
    placed: Option<&Placed>,
) -> Pass {
    let claim = index.claim(key, template);
    let Some(winner) = claim.winner.clone() else {
        return unclaimed(index, key, placed, template);
    };
    let previous = placed.map(|it| it.spec.clone()).unwrap_or_default();
    let mut spec = PlacementSpec {
        template: TemplateRef {
            api_version: template.api_version.clone(),
            kind: key.gvk.kind.clone(),
            name: key.name.clone(),
            uid: template.uid.clone(),
            generation: template.generation,
        },
        policy_ref: Some(winner.reference()),
        sync: winner.spec.sync.clone(),
        ..previous.clone()
    };
    let rules = index.override_rules(key, template);
    let content = serde_json::from_str(&template.content).unwrap_or_default();
    let revision = RevisionSpec {
        template: spec.template.clone(),
        hash: syncer_render::revision::content_hash(&content, &rules),
        content,
        overrides: rules,
    };
    if winner.spec.suspend {
        spec.outcome = outcome("Unknown", reason::SUSPENDED, format!("{} is suspended", winner.title()));
        return place(index, key, placed, template, spec, None);
    }
    let compiled = snapshots.policy(&claim, &winner);
    let compiled = match &*compiled {
        Ok(compiled) => compiled,
        Err(problems) => {
            let texts: Vec<String> =
                problems.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
            spec.outcome = outcome("False", reason::INVALID, texts.join("; "));
            return place(index, key, placed, template, spec, None);
        }
    };
    if presume(index) == gate::Fleet::CutOff {
        // Nothing changes while the hub presumes that it is itself cut off (RULES 1.4).
        return Pass::default();
    }
    let snapshot = snapshots.get(index, patience(&winner.spec));
    let engine_previous = still_meant(&previous);
    let Snapshot { fleet, room } = &mut *snapshot;
    let decision = engine::place(fleet, room, &template.workload, compiled, &engine_previous);
    spec.divided = decision.divided;
    spec.outcome = describe(&decision);
    if !matches!(decision.outcome, engine::Outcome::Placed | engine::Outcome::Partial { .. }) {
        // Nothing could be decided: running copies stay, and so do their replicas; what they run follows the template.
        for cluster in &mut spec.clusters {
            cluster.revision.clone_from(&revision.hash);
        }
        return place(index, key, placed, template, spec, Some(revision));
    }
    compiled.affinity_name(decision.affinity.unwrap_or_default()).clone_into(&mut spec.affinity);
    let target = Target {
        clusters: decision
            .clusters
            .iter()
            .map(|it| (fleet.name(it.cluster).to_owned(), it.replicas))
            .collect(),
        revision: revision.hash.clone(),
    };
    let because = |name: &str| trigger(&decision, fleet, index, name);
    let empty = Vec::new();
    let copies = placed.map_or(&empty, |it| &it.status.clusters);
    let drafted =
        transition::draft(&previous, copies, &target, &because, &standing(index, &previous));
    let Some(placed) = placed else {
        spec.clusters = drafted.clusters;
        return place(index, key, None, template, spec, Some(revision));
    };
    let mut drafted = drafted;
    drafted.bury(&confirmed(index, placed));
    let (spec, _) = settle(index, key, placed, drafted, spec);
    place(index, key, Some(placed), template, spec, Some(revision))
}

/// No policy claims the template: what runs stays, until it is claimed again or deleted (RULES 1.2).
fn unclaimed(index: &Index, key: &ObjectKey, placed: Option<&Placed>, template: &Template) -> Pass {
    let Some(placed) = placed else { return release(template) };
    if !placed.holds_copies() {
        let revisions = revision_names(index, key);
        let release = template.finalizers.iter().any(|it| it == COPIES_FINALIZER);
        return Pass { write: Some(Write::Forget { revisions, release }), ..Pass::default() };
    }
    let mut spec = placed.spec.clone();
    spec.policy_ref = None;
    spec.outcome = outcome(
        "Unknown",
        reason::POLICY_GONE,
        "no policy claims it any more; its copies stay until one does, or it is deleted".to_owned(),
    );
    let gone = confirmed(index, placed);
    spec.removing.retain(|it| !gone.contains(&it.name));
    if spec == placed.spec {
        return Pass::default();
    }
    let write = Write::Place { spec: Box::new(spec), revision: None, finalizer: false };
    Pass { write: Some(write), ..Pass::default() }
}

/// Writes the Placement if it differs from what stands.
fn place(
    index: &Index,
    key: &ObjectKey,
    placed: Option<&Placed>,
    template: &Template,
    spec: PlacementSpec,
    revision: Option<RevisionSpec>,
) -> Pass {
    let mut pass = Pass::default();
    let known = |hash: &str| {
        let home = (key.namespace.clone(), placement_name(&key.gvk, &key.name));
        index.revisions.get(&home).is_some_and(|it| it.iter().any(|it| it == hash))
    };
    let unchanged = placed.is_some_and(|it| it.spec == spec);
    let missing = revision.filter(|it| !spec.clusters.is_empty() && !known(&it.hash));
    let lacks_finalizer = !spec.clusters.is_empty()
        && !template.finalizers.iter().any(|it| it == COPIES_FINALIZER);
    if unchanged && missing.is_none() && !lacks_finalizer {
        return pass;
    }
    if let Some(placed) = placed
        && placed.spec.outcome != spec.outcome
        && spec.outcome.status != "True"
    {
        let message = spec.outcome.message.clone();
        pass.events.push(Event { reason: "NotPlaced", message });
    }
    pass.stale_revisions = stale_revisions(index, key, &spec, missing.as_ref());
    pass.write = Some(Write::Place {
        spec: Box::new(spec),
        revision: missing.map(Box::new),
        finalizer: lacks_finalizer,
    });
    pass
}

/// Lets the draft's removals pass the gate, and carries out those that do.
fn settle(
    index: &mut Index,
    key: &ObjectKey,
    placed: &Placed,
    mut draft: Draft,
    mut spec: PlacementSpec,
) -> (PlacementSpec, Option<Hold>) {
    let leaving = leave(index, &mut draft);
    let fleet = presume(index);
    let copies = index.copies;
    let asking: Vec<Asking<'_>> = draft
        .asking
        .iter()
        .map(|(cluster, _)| Asking { cluster, namespace: &key.namespace })
        .collect();
    let mut budgets: Vec<gate::Budget> = index.budgets.values().cloned().collect();
    let (mut passed, hold) = gate::pass(&mut budgets, copies, fleet, &asking, clock::now());
    for (budget, counted) in index.budgets.values_mut().zip(budgets) {
        *budget = counted;
    }
    passed.extend(leaving);
    let on_delete = on_delete(key, &placed.spec);
    let mut draft = draft.settle(&passed, on_delete, &clock::now_text());
    for removed in &mut draft.removing {
        if index.clusters.get(&removed.name).is_some_and(|it| leaves_as_orphans(it)) {
            removed.on_delete = OnDelete::Orphan;
        }
    }
    spec.clusters = draft.clusters;
    spec.removing = draft.removing;
    let waiting = spec.clusters.iter().filter(|it| !it.leaving.is_empty()).count();
    if waiting > 0
        && let Some(hold) = hold
    {
        let (reason, why) = match hold {
            Hold::Frozen => (reason::FROZEN, "a freeze holds"),
            Hold::BudgetSpent => (reason::BUDGET, "the change budget holds"),
            Hold::FleetDark => (reason::FLEET_DARK, "most of the fleet does not answer, which holds"),
        };
        if spec.outcome.status == "True" {
            spec.outcome.reason = reason.to_owned();
        }
        spec.outcome.message = format!("{why} the removal of {waiting} copies");
    }
    (spec, hold)
}

/// What `cluster leave` asks for: a cluster that leaves as orphans lets its copies go at once, and one that is being
/// deleted is struck from the Placement, with all that was to be removed there (RULES 4.8).
fn leave(index: &Index, draft: &mut Draft) -> BTreeSet<String> {
    let deleting = |name: &str| {
        index.clusters.get(name).is_some_and(|it| it.metadata.deletion_timestamp.is_some())
    };
    draft.clusters.retain(|it| !deleting(&it.name));
    draft.removing.retain(|it| !deleting(&it.name));
    draft.asking.retain(|(name, _)| !deleting(name));
    draft
        .asking
        .iter()
        .map(|(name, _)| name)
        .filter(|name| index.clusters.get(*name).is_some_and(|it| leaves_as_orphans(it)))
        .cloned()
        .collect()
}

fn leaves_as_orphans(member: &federation_types::cluster::MemberCluster) -> bool {
    let annotations = member.metadata.annotations.as_ref();
    annotations.and_then(|it| it.get(LEAVE_ANNOTATION)).is_some_and(|it| it == "Orphan")
}

/// The kinds whose copies outlive their template unless the policy says otherwise (RULES 3.4).
fn on_delete(key: &ObjectKey, spec: &PlacementSpec) -> OnDelete {
    if let Some(stated) = spec.sync.as_ref().and_then(|it| it.on_delete) {
        return stated;
    }
    let keeps = matches!(
        (key.gvk.group.as_str(), key.gvk.kind.as_str()),
        ("", "Namespace" | "PersistentVolume" | "PersistentVolumeClaim")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("storage.k8s.io", "StorageClass")
    );
    if keeps { OnDelete::Orphan } else { OnDelete::Delete }
}

/// The tombstones that have done their work: seen gone by the syncer, or of a cluster that has left.
fn confirmed(index: &Index, placed: &Placed) -> BTreeSet<String> {
    let mut gone = transition::confirmed(
        &placed.spec,
        placed.generation,
        placed.status.observed_generation,
        &placed.status.clusters,
    );
    for removed in &placed.spec.removing {
        let deleting = |it: &federation_types::cluster::MemberCluster| {
            it.metadata.deletion_timestamp.is_some()
        };
        if index.clusters.get(&removed.name).is_some_and(|it| deleting(it)) {
            gone.insert(removed.name.clone());
        }
    }
    gone
}

fn standing<'a>(index: &Index, spec: &'a PlacementSpec) -> Standing<'a> {
    let mut standing = Standing::default();
    for cluster in &spec.clusters {
        match index.clusters.get(&cluster.name) {
            None => drop(standing.gone.insert(cluster.name.as_str())),
            Some(member) if !is_ready(member) => drop(standing.dark.insert(cluster.name.as_str())),
            Some(_) => (),
        }
    }
    standing
}

/// How long the policy waits for a dark cluster, in seconds.
fn patience(spec: &PlacementPolicySpec) -> i64 {
    let after = spec.failover.as_ref().and_then(|it| it.after.as_deref());
    after.and_then(seconds).and_then(|it| i64::try_from(it).ok()).unwrap_or(PATIENCE)
}

/// Names of the revisions beyond those to keep.
fn stale_revisions(
    index: &Index,
    key: &ObjectKey,
    spec: &PlacementSpec,
    new: Option<&RevisionSpec>,
) -> Vec<String> {
    let home = (key.namespace.clone(), placement_name(&key.gvk, &key.name));
    let Some(hashes) = index.revisions.get(&home) else { return Vec::new() };
    let room = KEPT_REVISIONS.saturating_sub(usize::from(new.is_some()));
    let old = hashes.len().saturating_sub(room);
    hashes
        .iter()
        .take(old)
        .filter(|hash| !spec.clusters.iter().any(|it| it.revision == **hash))
        .map(|hash| format!("{}-{hash}", home.1))
        .collect()
}

fn revision_names(index: &Index, key: &ObjectKey) -> Vec<String> {
    let home = (key.namespace.clone(), placement_name(&key.gvk, &key.name));
    let hashes = index.revisions.get(&home).into_iter().flatten();
    hashes.map(|hash| format!("{}-{hash}", home.1)).collect()
}

/// What the engine is told of the decision before: without the clusters that it has already left.
pub(crate) fn still_meant(previous: &PlacementSpec) -> Previous {
    let clusters = previous
        .clusters
        .iter()
        .filter(|it| it.leaving.is_empty())
        .map(|it| PreviousCluster { name: it.name.clone(), replicas: it.replicas })
        .collect();
    Previous { clusters, affinity: previous.affinity.clone(), divided: previous.divided }
}

/// The outcome as the Placement states it.
fn describe(decision: &Decision) -> Outcome {
    let status = match decision.outcome {
        engine::Outcome::Placed => "True",
        engine::Outcome::Suspended => "Unknown",
        engine::Outcome::Partial { .. }
        | engine::Outcome::NoClusterFits
        | engine::Outcome::NotEnoughRoom { .. }
        | engine::Outcome::Spread { .. }
        | engine::Outcome::TooFewReplicas { .. }
        | engine::Outcome::OverBudget { .. }
        | engine::Outcome::OverReplicas { .. } => "False",
    };
    let mut message = decision.outcome.to_string();
    if !decision.outcome.is_placed() && !decision.report.rules.is_empty() {
        let counts = decision.report.counts();
        let counts: Vec<String> = counts.iter().map(|(rule, n)| format!("{n} {rule}")).collect();
        message = format!("{message} ({})", counts.join(", "));
    }
    for absent in &decision.absent {
        message = format!("{message}; cluster {} is not in the inventory and is held", absent.name);
    }
    outcome(status, decision.outcome.reason(), message)
}

/// Why a cluster that held a copy is not in the decision.
fn trigger(decision: &Decision, fleet: &Fleet, index: &Index, name: &str) -> Trigger {
    let dark = index.clusters.get(name).is_some_and(|it| !is_ready(it));
    if dark {
        return Trigger::Failover;
    }
    match fleet.id(name).and_then(|id| decision.report.rules.get(id.0 as usize)) {
        Some(Rule::Taint | Rule::Leaving | Rule::NotAccepted | Rule::ApiNotServed) => Trigger::ClusterChanged,
        // Eligible and yet left out: fewer replicas need fewer clusters.
        Some(Rule::NotNeeded | Rule::Chosen | Rule::Dearer | Rule::Room) => Trigger::ScaledDown,
        Some(_) | None => Trigger::PolicyChanged,
    }
}

fn outcome(status: &str, reason: &str, message: String) -> Outcome {
    Outcome { status: status.to_owned(), reason: reason.to_owned(), message }
}

/// Marks what a lost cluster holds, so that it is looked at as soon as its policy's patience ends.
pub(crate) fn touch_failing_over(index: &mut Index) {
    let now = clock::now();
    let dark: Vec<String> = index
        .clusters
        .iter()
        .filter(|(_, it)| dark_for(it, now).is_some())
        .map(|(name, _)| name.clone())
        .collect();
    for cluster in dark {
        index.touch_placed_on(&cluster);
    }
}
