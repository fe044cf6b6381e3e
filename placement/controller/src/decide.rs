//! One pass over one template: claim, engine, transition, gate. Changes nothing but the gate's count; what is to be
//! written is its result.

use std::collections::BTreeMap;

use federation_types::{
    budget::DEFAULT_CHANGE_BUDGET,
    names::{COPIES_FINALIZER, ObjectKey},
    placement::{Outcome, PlacedCluster, PlacementSpec, TemplateRef},
    policy::Purge,
    reason::{cause, placed as reason},
    revision::RevisionSpec,
    words,
};
use placement_engine::{self as engine, Previous, PreviousCluster};

use crate::{
    approval,
    bound::{gains, run_out, wants_approval},
    bounds,
    claim::Policy,
    clock, failback, follow,
    gate::{self, Asking, Hold},
    index::{Index, Placed, Template},
    members::{is_ready, patience},
    ordinals,
    outcome::{Event, describe, events, outcome, trigger},
    release::{self, Asked, Release, RolloutWrite, Staged},
    relocate::{Refusal, relocate},
    revision::revision,
    snapshot::{Snapshot, Snapshots},
    spending, staging,
    transition::{self, Copies, Draft, Target, Trigger},
    upkeep::{
        drains, knows_revision, let_go, on_delete, orphans_of, revision_names, stale_revisions,
        standing, strike, upkeep,
    },
    write::Write,
};

/// What a pass came to.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    pub(crate) write: Option<Write>,
    pub(crate) events: Vec<Event>,
    /// Names of revisions that nothing needs any more.
    pub(crate) stale_revisions: Vec<String>,
    /// Removals that the gate let pass and counted.
    pub(crate) counted: i64,
    /// Why removals wait.
    pub(crate) hold: Option<Hold>,
    /// The approval that the move was made by.
    pub(crate) approval: Option<String>,
    /// Why a move that was approved is not made.
    pub(crate) refused: Option<Refusal>,
    /// What is said of the rollout, before anything is released by it.
    pub(crate) rollout: Option<Box<RolloutWrite>>,
    /// Of a plan: what is released in waves.
    pub(crate) staged: Option<Staged>,
}

impl Pass {
    fn write(write: Option<Write>) -> Self {
        Self { write, ..Self::default() }
    }
}

/// What the gate made of the removals that asked it.
#[derive(Clone, Copy, Debug, Default)]
struct Gated {
    counted: i64,
    hold: Option<Hold>,
}

/// Looks at one template. `now` is in seconds since the epoch.
pub(crate) fn pass(
    index: &mut Index,
    snapshots: &mut Snapshots,
    key: &ObjectKey,
    now: i64,
) -> Pass {
    index.settling.at(now);
    index.refresh(key);
    index.over_budget.remove(key);
    index.postponed.remove(key);
    spending::refresh(index, snapshots, Some(key), now);
    let template = index.templates.get(key).cloned();
    let placed = index.placements.get(key).cloned();
    let pass = match (template, placed) {
        (None, None) => Pass::default(),
        (None, Some(placed)) => {
            let kind = (key.gvk.group.clone(), key.gvk.kind.clone());
            // Only a complete list shows that a template was deleted. A kind that is no longer served, a list that has
            // not arrived: what runs stays (RULES 1.2).
            if index.kinds.get(&kind).is_some_and(|it| it.synced) {
                part(index, key, &placed, None, now)
            } else {
                let spec = upkeep(index, &placed, now);
                Pass::write((spec != placed.spec).then(|| just(spec)))
            }
        }
        (Some(template), Some(placed)) if template.deleting => {
            part(index, key, &placed, Some(&template), now)
        }
        (Some(template), None) if template.deleting => free(&template),
        (Some(template), placed) => {
            decide(index, snapshots, key, &template, placed.as_deref(), now)
        }
    };
    if pass.hold == Some(Hold::BudgetSpent) {
        index.over_budget.insert(key.clone());
    }
    index.looked_at(key, pass.write.is_some());
    pass
}

/// A Placement and nothing beside it.
fn just(spec: PlacementSpec) -> Write {
    Write::Place { spec: Box::new(spec), revision: None, finalizer: false }
}

fn has_finalizer(template: &Template) -> bool {
    template.finalizers.iter().any(|it| it == COPIES_FINALIZER)
}

/// The finalizer goes when there is nothing left to wait for.
fn free(template: &Template) -> Pass {
    Pass::write(has_finalizer(template).then_some(Write::Release))
}

/// A template is being deleted, or is gone: its copies go, within the budget (RULES 1.2, 4.3).
fn part(
    index: &mut Index,
    key: &ObjectKey,
    placed: &Placed,
    template: Option<&Template>,
    now: i64,
) -> Pass {
    let previous = upkeep(index, placed, now);
    let draft = transition::farewell(&previous, &standing(index, &previous));
    let (spec, gated) = settle(index, key, draft, previous, now);
    let release = template.is_some_and(has_finalizer);
    let write = if spec.clusters.is_empty() && spec.removing.is_empty() {
        Some(Write::Forget { revisions: revision_names(index, key), release })
    } else if spec != placed.spec {
        Some(just(spec))
    } else {
        let answers = |name: &str| index.clusters.get(name).is_some_and(|it| is_ready(it));
        let reachable_left = spec.clusters.iter().any(|it| index.clusters.contains_key(&it.name))
            || spec.removing.iter().any(|it| answers(&it.name));
        // Only clusters that do not answer are left: the Placement stays as their tombstone, and the template may go.
        (release && !reachable_left).then_some(Write::Release)
    };
    Pass { write, counted: gated.counted, hold: gated.hold, ..Pass::default() }
}

fn decide(
    index: &mut Index,
    snapshots: &mut Snapshots,
    key: &ObjectKey,
    template: &Template,
    placed: Option<&Placed>,
    now: i64,
) -> Pass {
    let claim = index.claim(key, template);
    let Some(winner) = claim.winner.clone() else {
        let previous = placed.map(|it| upkeep(index, it, now)).unwrap_or_default();
        return unclaimed(index, key, placed, previous, template, now);
    };
    // What moves by an approval only is let go by a cluster that leaves once it is known whether it would run elsewhere.
    let previous = match placed {
        Some(placed) if template.workload.is_bound() => strike(index, placed),
        Some(placed) => upkeep(index, placed, now),
        None => PlacementSpec::default(),
    };
    let mut spec = PlacementSpec {
        template: TemplateRef {
            api_version: template.api_version.clone(),
            kind: key.gvk.kind.to_string(),
            name: key.name.to_string(),
            uid: template.uid.clone(),
            generation: template.generation,
        },
        policy_ref: Some(winner.reference()),
        sync: winner.spec.sync.clone(),
        needs: follow::needs(index, &winner, template),
        follows: follow::named(index, &claim),
        ..previous.clone()
    };
    // What is not decided anew keeps the generation that it was decided for; it is made nowhere else, and let go where
    // its cluster leaves.
    let undecided = |index: &mut Index, outcome: Outcome| {
        let mut kept = previous.clone();
        let_go(index, &mut kept, now);
        let of = match placed {
            Some(_) => previous.template.clone(),
            None => spec.template.clone(),
        };
        let policy_ref = spec.policy_ref.clone();
        let mut spec = PlacementSpec { template: of, outcome, policy_ref, ..kept };
        let release = release::hold(index, key, &mut spec, now);
        released(place(index, key, placed, template, spec, None), release)
    };
    if winner.spec.suspend {
        let message = format!("{} is suspended", winner.title());
        return undecided(index, outcome("Unknown", reason::SUSPENDED, message));
    }
    if !template.workload.unreadable.is_empty() {
        // Nor is its new content released: nobody knows what each cluster's part of it would be.
        let why = template.workload.unreadable.clone();
        return undecided(index, outcome("False", reason::UNREADABLE, why));
    }
    let compiled = snapshots.policy(&claim, &winner);
    let compiled = match &*compiled {
        Ok(compiled) => compiled,
        Err(problems) => {
            let texts: Vec<String> =
                problems.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
            return undecided(index, outcome("False", reason::INVALID, texts.join("; ")));
        }
    };
    if index.presumed() == gate::Fleet::CutOff {
        // Nothing is decided while the hub presumes that it is itself cut off (RULES 1.4).
        index.held_back.insert(key.clone());
        let tidied = placed.is_some_and(|it| it.spec != previous);
        return Pass::write(tidied.then(|| just(previous)));
    }
    let revision = revision(index, key, template, &spec.template);
    let own = spending::surrounded(index, key, template, Some(&winner));
    let workload = own.as_ref().unwrap_or(&template.workload);
    let snapshot = snapshots.get(index, patience(&winner.spec), now);
    let Snapshot { fleet, room } = &mut *snapshot;
    let mut meant = still_meant(&previous);
    let wait = failback::wait(&winner.spec, previous.returned.as_ref(), now);
    meant.returns = wait.is_some_and(|it| index.may_return(key, it, now));
    let workload = &*index.in_company(key, template, workload, &winner.spec);
    // What may turn out to need an approval must not take room that it then does not use.
    let takes_room = (template.workload.is_bound() && !template.workload.is_claim())
        || previous.rollout.is_some();
    let mut before = (takes_room && !meant.clusters.is_empty()).then(|| room.clone());
    let chosen = approval::chosen(template, &previous, &meant);
    let moved = chosen.map(|to| {
        let made = relocate(fleet, room, workload, compiled, &meant, &to);
        made.map(|it| (it, approval::chosen_token(template, &meant, &to)))
    });
    let (mut decision, rebalanced, refused) = match moved {
        Some(Ok((decision, token))) => (decision, Some(token), None),
        Some(Err(refusal)) => {
            (engine::place(fleet, room, workload, compiled, &meant), None, Some(refusal))
        }
        None => (engine::place(fleet, room, workload, compiled, &meant), None, None),
    };
    if matches!(refused, Some(Refusal::Room(_))) {
        index.postponed.insert(key.clone());
    }
    let followed = !claim.users.is_empty();
    let unfit =
        followed.then(|| follow::bind(index, key, fleet, &previous, &mut decision)).flatten();
    let ends = run_out(index, template, fleet, &mut decision).or(unfit);
    let kept = &previous.preferred_since;
    spec.preferred_since = index.note_failback(key, decision.failback, wait, kept, now);
    // After a restart nobody knows: then an edit is as likely as any.
    let known = index.decided.insert(key.clone(), compiled.id);
    let edited = known != Some(compiled.id);
    spec.divided = decision.divided;
    spec.outcome = match decision.over_limit(compiled) {
        Some(message) => outcome("True", reason::OVER_LIMIT, message),
        None => ends.unwrap_or_else(|| describe(&decision)),
    };
    let decided =
        matches!(decision.outcome, engine::Outcome::Placed | engine::Outcome::Partial { .. });
    let lost = index.lost(patience(&winner.spec), now);
    let unfenced = winner.spec.failover.as_ref().is_some_and(|it| it.unfenced.is_some());
    // A copy that is left where it is, and made nowhere else, does not move.
    let stays = || !gains(&decision, fleet, &meant);
    let may_leave =
        |name: &str| (unfenced && lost.contains(name)) || (orphans_of(index, name) && stays());
    let approval = (decided && wants_approval(&decision, fleet, template, &meant, &may_leave))
        .then(|| approval::token(template, &meant, &decision, fleet));
    let given = |it: &String| approval::is_given(index.approvals, template, &previous, it);
    let held = approval.as_ref().is_some_and(|it| !given(it));
    if rebalanced.is_some() || (approval.is_some() && !held) {
        spec.approval.clone_from(&template.approved);
    }
    if held {
        // Where to is not said: that changes with what is free, and a Placement that waits is not written for it.
        let message = if template.workload.is_claim() {
            format!(
                "a {} leaves by an approved plan only: it stays where it is bound",
                key.gvk.kind
            )
        } else {
            format!("a {} moves by an approved plan only: it stays where it is", key.gvk.kind)
        };
        spec.outcome = outcome("False", reason::NEEDS_APPROVAL, message);
        spec.divided = previous.divided;
        staging::not_done(index, key, known);
        if let Some(before) = before.take() {
            *room = before;
        }
    }
    let mut previous = previous;
    if !held {
        let_go(index, &mut previous, now);
        let_go(index, &mut spec, now);
        let policy = (compiled, &*winner);
        spending::decided(index, fleet, key, (template, workload), policy, &decision);
    }
    if !decided || held {
        // Running copies stay where they are; what they run follows the template.
        let alone = !spec.divided && meant.clusters.len() == 1;
        let clusters = staging::stay(&meant);
        let asked = Asked {
            key,
            policy: &winner,
            previous: &previous,
            copies: placed.map_or_else(Copies::default, |it| Copies::of(&it.status)),
            clusters: &clusters,
            to: &revision.hash,
            urgent: true,
            together: false,
            now,
        };
        let release = release::release(index, fleet, room, &asked);
        staging::say(&mut spec, &release);
        for cluster in spec.clusters.iter_mut().filter(|it| it.leaving.is_empty()) {
            release
                .given(&cluster.name)
                .unwrap_or(&revision.hash)
                .clone_into(&mut cluster.revision);
            let own = fleet.id(&cluster.name);
            let same = decision.clusters.iter().find(|it| !decided && Some(it.cluster) == own);
            let all = template.workload.replicas.filter(|_| held && alone);
            cluster.replicas = same.and_then(|it| it.replicas).or(all).or(cluster.replicas);
        }
        follow::keep_needs(&winner, &mut spec, &previous, &revision.hash);
        let pass = place(index, key, placed, template, spec, Some(revision));
        return Pass { refused, ..released(pass, release) };
    }
    compiled.affinity_name(decision.affinity.unwrap_or_default()).clone_into(&mut spec.affinity);
    let mut target = Target {
        clusters: decision
            .clusters
            .iter()
            .map(|it| (fleet.name(it.cluster).to_owned(), it.replicas))
            .collect(),
        revision: revision.hash.clone(),
    };
    let shrinks = decision.replicas() < meant.clusters.iter().filter_map(|it| it.replicas).sum();
    let copies = placed.map_or_else(Copies::default, |it| Copies::of(&it.status));
    let urgent = (decision.divided && staging::grows(&decision, &meant))
        || staging::replaces(index, placed, &previous, &target, &lost);
    let asked = Asked {
        key,
        policy: &winner,
        previous: &previous,
        copies,
        clusters: &target.clusters,
        to: &revision.hash,
        urgent,
        together: decision.divided,
        now,
    };
    let release = release::release(index, fleet, room, &asked);
    let waits = release.holds_any();
    if waits {
        // A move that waits for its wave is not begun: what runs stays as it is, and so does what is remembered of it.
        target = staging::hold_back(&target, &release, &meant, decision.divided);
        spec.divided = previous.divided;
        spec.affinity.clone_from(&previous.affinity);
        spec.approval.clone_from(&previous.approval);
        staging::not_done(index, key, known);
        match before.take() {
            Some(before) => *room = before,
            // It waits since this pass: what it took is free again once room is looked at anew.
            None => index.room_version += 1,
        }
    }
    staging::say(&mut spec, &release);
    let returns = decision.failback == engine::Failback::Returned && !waits;
    if returns {
        spec.returned = Some(failback::returned(previous.returned.as_ref(), now));
    }
    let needed = |index: &Index, name: &str| index.follow.is_needed_on(key, name);
    // What no user has brought is not taken away by one.
    let nobody = |name: &str| followed && !previous.follows.is_empty() && !needed(index, name);
    let because = |name: &str| match lost.contains(name) {
        _ if nobody(name) => Trigger::UserGone,
        true => Trigger::Failover,
        false if rebalanced.is_some() => Trigger::Rebalanced,
        false if returns => Trigger::Failback,
        false if template.workload.job.finished && drains(index, name) => Trigger::ClusterChanged,
        false => trigger(&decision, fleet, name, shrinks, edited),
    };
    let mut draft =
        transition::draft(&previous, copies, &target, &because, &standing(index, &previous));
    for cluster in draft.clusters.iter_mut().filter(|it| it.leaving.is_empty()) {
        cluster.kept = followed && !needed(index, &cluster.name);
        if let Some(kept) = release.keeps(&previous, &cluster.name) {
            (cluster.spot, cluster.revision) = (kept.spot, kept.revision.clone());
            continue;
        }
        cluster.spot = decision.spot.iter().any(|it| fleet.name(*it) == cluster.name);
        if let Some(given) = release.given(&cluster.name) {
            given.clone_into(&mut cluster.revision);
        }
    }
    if never_purges(&winner) {
        draft.asking.retain(|(_, it)| it != cause::FAILOVER);
    }
    let (mut spec, gated) = settle(index, key, draft, spec, now);
    ordinals::number(&previous, &mut spec, &template.workload);
    if let Some(cluster) = ordinals::beyond_its_range(&spec) {
        index.give_back(gated.counted);
        let message = format!("{cluster} would run more replicas than its range has ordinals");
        let outcome = outcome("False", reason::INVALID, message);
        let spec = PlacementSpec { outcome, ..previous };
        return place(index, key, placed, template, spec, None);
    }
    follow::keep_needs(&winner, &mut spec, &previous, &revision.hash);
    let pass = place(index, key, placed, template, spec, Some(revision));
    let approval = rebalanced.or(approval).filter(|_| !waits);
    let pass = Pass { counted: gated.counted, hold: gated.hold, approval, refused, ..pass };
    released(pass, release)
}

/// The pass with what it wants written of its rollout.
fn released(pass: Pass, release: Release) -> Pass {
    let Release { write, events, staged, .. } = release;
    let events = pass.events.iter().cloned().chain(events).collect();
    Pass { rollout: write, events, staged, ..pass }
}

fn never_purges(policy: &Policy) -> bool {
    policy.spec.failover.as_ref().is_some_and(|it| it.purge == Some(Purge::Never))
}

/// No policy claims the template: what runs stays, until it is claimed again or deleted (RULES 1.2).
fn unclaimed(
    index: &mut Index,
    key: &ObjectKey,
    placed: Option<&Placed>,
    previous: PlacementSpec,
    template: &Template,
    now: i64,
) -> Pass {
    let Some(placed) = placed else { return free(template) };
    if previous.clusters.is_empty() && previous.removing.is_empty() {
        let (revisions, release) = (revision_names(index, key), has_finalizer(template));
        return Pass::write(Some(Write::Forget { revisions, release }));
    }
    let mut previous = previous;
    let forsaken = follow::is_forsaken(index, key, template, &mut previous);
    if !forsaken {
        follow::stay(&mut previous);
    }
    let policy_ref = previous.policy_ref.clone().filter(|_| forsaken);
    let mut spec = PlacementSpec { policy_ref, dependencies: None, ..previous };
    let said = follow::unclaimed(&spec, forsaken);
    spec.outcome = said.clone();
    let release = release::hold(index, key, &mut spec, now);
    let (mut spec, gated) = finish_move(index, key, placed, spec, forsaken, now);
    if spec.outcome.message != said.message {
        // What holds a removal is said beside the rest.
        spec.outcome.message = format!("{}; {}", said.message, spec.outcome.message);
    }
    let changed = spec != placed.spec;
    let events = if changed { events(Some(placed), &spec) } else { Vec::new() };
    let write = changed.then(|| just(spec));
    let pass = Pass { write, events, counted: gated.counted, hold: gated.hold, ..Pass::default() };
    released(pass, release)
}

/// A move that was begun is finished although nothing is decided any more: once every successor is ready, the copies that
/// were left behind go. Otherwise both would run for ever (RULES 3.2). Of what is
/// `forsaken` all copies go that are not kept.
fn finish_move(
    index: &mut Index,
    key: &ObjectKey,
    placed: &Placed,
    spec: PlacementSpec,
    forsaken: bool,
    now: i64,
) -> (PlacementSpec, Gated) {
    let stays = |it: &&PlacedCluster| it.leaving.is_empty() && (!forsaken || it.kept);
    let meant = spec.clusters.iter().filter(stays);
    let clusters: BTreeMap<_, _> = meant.map(|it| (it.name.clone(), it.replicas)).collect();
    if (clusters.is_empty() && !forsaken) || clusters.len() == spec.clusters.len() {
        return (spec, Gated::default());
    }
    let released: BTreeMap<String, String> =
        spec.clusters.iter().map(|it| (it.name.clone(), it.revision.clone())).collect();
    let target = Target { clusters, revision: String::new() };
    let copies = Copies::of(&placed.status);
    // Whatever else goes has its cause already.
    let because = |_: &str| if forsaken { Trigger::UserGone } else { Trigger::PolicyChanged };
    let mut draft = transition::draft(&spec, copies, &target, &because, &standing(index, &spec));
    for cluster in &mut draft.clusters {
        if let Some(revision) = released.get(&cluster.name) {
            cluster.revision.clone_from(revision);
        }
    }
    settle(index, key, draft, spec, now)
}

/// Writes the Placement if it differs from what stands.
fn place(
    index: &Index,
    key: &ObjectKey,
    placed: Option<&Placed>,
    template: &Template,
    mut spec: PlacementSpec,
    revision: Option<RevisionSpec>,
) -> Pass {
    if revision.is_some() {
        bounds::share(index, key, template, &mut spec);
        follow::note(index, key, placed, &mut spec);
    }
    let released = |hash: &str| spec.clusters.iter().any(|it| it.revision == hash);
    let unchanged = placed.is_some_and(|it| it.spec == spec);
    let missing = revision.filter(|it| released(&it.hash) && !knows_revision(index, key, &it.hash));
    let lacks_finalizer = !spec.clusters.is_empty() && !has_finalizer(template);
    if unchanged && missing.is_none() && !lacks_finalizer {
        return Pass::default();
    }
    Pass {
        events: events(placed, &spec),
        stale_revisions: stale_revisions(index, key, &spec, missing.as_ref()),
        write: Some(Write::Place {
            spec: Box::new(spec),
            revision: missing.map(Box::new),
            finalizer: lacks_finalizer,
        }),
        ..Pass::default()
    }
}

/// Lets the draft's removals pass the gate, and carries out those that do.
fn settle(
    index: &mut Index,
    key: &ObjectKey,
    draft: Draft,
    mut spec: PlacementSpec,
    now: i64,
) -> (PlacementSpec, Gated) {
    let asking: Vec<Asking<'_>> = draft
        .asking
        .iter()
        .map(|(cluster, _)| Asking { cluster, namespace: &key.namespace })
        .collect();
    if !asking.is_empty() && !index.budgets.contains_key(DEFAULT_CHANGE_BUDGET) {
        // Whatever became of it: there is no fleet without a limit (RULES 1.3).
        index.budgets.insert(DEFAULT_CHANGE_BUDGET.to_owned(), gate::Budget::default());
    }
    let mut budgets: Vec<gate::Budget> = index.budgets.values().cloned().collect();
    let fleet = index.presumed();
    let (passed, hold) = gate::pass(&mut budgets, index.copies, fleet, &asking, now);
    for (budget, counted) in index.budgets.values_mut().zip(budgets) {
        *budget = counted;
    }
    let counted = i64::try_from(passed.len()).unwrap_or(i64::MAX);
    let draft = draft.settle(&passed, on_delete(key, &spec), &clock::text(now));
    spec.clusters = draft.clusters;
    spec.removing = draft.removing;
    let waiting = spec.clusters.iter().filter(|it| !it.leaving.is_empty()).count();
    if waiting > 0
        && let Some(hold) = hold
    {
        let (reason, why) = match hold {
            Hold::Frozen => (reason::FROZEN, "a freeze holds"),
            Hold::BudgetSpent => (reason::BUDGET, "the change budget holds"),
            Hold::FleetDark => {
                (reason::FLEET_DARK, "most of the fleet does not answer, which holds")
            }
        };
        if spec.outcome.status == "True" {
            spec.outcome.reason = reason.to_owned();
        }
        let waiting = words::counted(waiting, "copy", "copies");
        spec.outcome.message = format!("{why} the removal of {waiting}");
    }
    (spec, Gated { counted, hold })
}

/// What the engine is told of the decision before: without the clusters that it has already left.
pub(crate) fn still_meant(previous: &PlacementSpec) -> Previous {
    let clusters = previous
        .clusters
        .iter()
        .filter(|it| it.leaving.is_empty())
        .map(|it| PreviousCluster { name: it.name.clone(), replicas: it.replicas, spot: it.spot })
        .collect();
    Previous {
        clusters,
        affinity: previous.affinity.clone(),
        divided: previous.divided,
        returns: false,
    }
}
