//! The answer to `Plan`: what a change would do, worked out by the passes of the running controller on a copy of what it
//! knows.
//!
//! ```text
//! objects ─▶ as the caller: get, dry-run apply ─▶ index + objects ─▶ DryRun ─▶ before / after ─▶ what the caller may read
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    money::Money,
    names::{API_VERSION, Gvk, ObjectKey, short_hash},
    reason::placed as reason,
    review::plan::{
        Cost, Move, ObjectAction, ObjectChange, ObjectRef, PlanStatus, Refused, TemplateChange,
    },
    words,
};
use kube::api::DynamicObject;
use placement_engine::Fleet;
use serde_json::Value;

use crate::{
    approval::Approvals,
    claim::Policy,
    dry_run::DryRun,
    fields,
    index::{Index, Placed, template_key},
    members::is_ready,
    overlay::{self, OverlayError},
    snapshot::{self, Snapshots},
    spending::{self, Priced},
};

mod ask;
mod changes;
mod checks;
mod moves;
mod pricing;
mod renders;

pub(crate) use ask::{group_of, may_see_clusters, plan, preview, readable};

/// More templates than this are counted and not listed.
const LISTED: usize = 5_000;

/// One object that is supposed to change.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) object: ObjectRef,
    /// As it stands.
    pub(crate) before: Option<DynamicObject>,
    /// As it would stand; none: deleted.
    pub(crate) after: Option<DynamicObject>,
    /// Why the hub would not take it, although it is well formed. Then nothing comes of it.
    pub(crate) refused: Option<Refused>,
}

impl Edit {
    /// By the fields that change.
    pub(crate) fn describe(&self) -> ObjectChange {
        let value = |it: &DynamicObject| serde_json::to_value(it).unwrap_or_default();
        let (action, fields) = match (&self.before, &self.after) {
            (Some(_), _) if self.refused.is_some() => (ObjectAction::Change, Vec::new()),
            (None, _) if self.refused.is_some() => (ObjectAction::Create, Vec::new()),
            (Some(before), Some(after)) => {
                let fields = fields::differences(&value(before), &value(after));
                let same = fields.is_empty();
                (if same { ObjectAction::None } else { ObjectAction::Change }, fields)
            }
            (None, Some(_)) => (ObjectAction::Create, Vec::new()),
            (Some(_), None) => (ObjectAction::Delete, Vec::new()),
            (None, None) => (ObjectAction::None, Vec::new()),
        };
        let (object, refused) = (self.object.clone(), self.refused.clone());
        ObjectChange { object, action, fields, refused }
    }

    fn put(&self, index: &mut Index) -> Result<(), OverlayError> {
        match &self.after {
            _ if self.refused.is_some() => Ok(()),
            Some(after) => overlay::put(index, after),
            None => overlay::take(index, &self.object),
        }
    }
}

/// What happens to one template, whoever may read it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: ObjectKey,
    pub(crate) api_version: String,
    pub(crate) change: TemplateChange,
    /// What the decision was made from and came to, for the hash.
    stamp: Vec<u8>,
    /// Titles of the policies behind it.
    policies: BTreeSet<String>,
    /// Copies that cannot be rendered.
    unrendered: Vec<renders::Unrendered>,
}

/// A plan before it is known who asks.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) entries: Vec<Entry>,
    /// Templates that stay where they are and cost something else, with the sums.
    repriced: Vec<(ObjectKey, String, Cost)>,
    /// Templates with their API versions that get as little as before, whatever changes.
    unmet: Vec<(ObjectKey, String)>,
    /// Cost budgets that are exceeded by what runs, and were not so, or not by so much.
    overspent: Vec<Overspent>,
    notes: BTreeSet<String>,
    /// By title of a policy, name of a cluster, name of a book: what the hash covers of it.
    facts: BTreeMap<String, String>,
    pub(crate) run: Option<DryRun>,
}

/// A cost budget that what runs exceeds.
#[derive(Debug)]
pub(crate) struct Overspent {
    key: ObjectKey,
    spent: Money,
    max: Money,
    /// Some price is unknown.
    at_least: bool,
}

/// Why an object of a plan cannot be planned: the place in the list, and what is wrong.
pub(crate) type Unplannable = (usize, OverlayError);

/// Plans on a copy of the index. Without edits and moves: what waits for an approval.
pub(crate) fn work_out(
    mut index: Index,
    edits: &[Edit],
    moves: &[Move],
    approvals: Approvals,
    now: i64,
) -> Result<Draft, Unplannable> {
    let mut before = index.clone();
    index.dirty.clear();
    let mut edited = BTreeSet::new();
    for wanted in moves {
        // One that is gone by now is not in the plan, and so the plan is another one.
        edited.extend(moves::suppose(&mut index, wanted, now));
    }
    for (at, edit) in edits.iter().enumerate() {
        edit.put(&mut index).map_err(|error| (at, error))?;
        let object = &edit.object;
        let gvk = Gvk::new(&object.api_version, &object.kind);
        edited.insert(template_key(&gvk, &object.namespace, &object.name));
    }
    if edits.is_empty() && moves.is_empty() {
        let waiting = index
            .placements
            .iter()
            .filter(|(_, it)| it.spec.outcome.reason == reason::NEEDS_APPROVAL);
        let waiting: Vec<ObjectKey> = waiting.map(|(key, _)| key.clone()).collect();
        index.dirty.extend(waiting);
    }
    let mut run = DryRun::new(index, approvals, now);
    run.settle();
    Ok(compare(&mut before, run, &edited, now))
}

/// What the dry run changed. `edited`: the objects that were handed in.
pub(crate) fn compare(
    before: &mut Index,
    mut run: DryRun,
    edited: &BTreeSet<ObjectKey>,
    now: i64,
) -> Draft {
    let mut draft = Draft { overspent: overspent(before, &mut run, now), ..Draft::default() };
    let before = &*before;
    let old = snapshot::fleet(before, now);
    // Room does not matter to prices: most changes leave the fleet as it is.
    let other = before.fleet_version != run.index.fleet_version;
    let new = other.then(|| snapshot::fleet(&run.index, now));
    let fleets = (&old, new.as_ref().unwrap_or(&old));
    let mut compiled = [Snapshots::default(), Snapshots::default()];
    let mut listed = BTreeSet::new();
    for key in std::mem::take(&mut run.touched) {
        let notes = &mut draft.notes;
        if let Some(entry) = entry(before, &run, &key, edited, fleets, &mut compiled, notes) {
            listed.insert(key);
            draft.entries.push(entry);
        }
    }
    if other {
        pricing::reprice(before, &run.index, fleets, &mut compiled, &mut draft);
    }
    let still = run.index.placements.iter().filter(|(key, it)| {
        let old = before.placements.get(*key);
        !listed.contains(*key) && old.is_some_and(|old| is_as_unmet(&old.spec, &it.spec))
    });
    draft.unmet =
        still.map(|(key, it)| (key.clone(), it.spec.template.api_version.clone())).collect();
    facts(&run.index, &mut draft);
    draft.run = Some(run);
    draft
}

/// Whether it gets as little as before, and for the same reason.
fn is_as_unmet(old: &Spec, new: &Spec) -> bool {
    let (old, new) = (&old.outcome, &new.outcome);
    new.status != "True" && old.reason == new.reason
}

/// The budgets that are exceeded by what would run then, where that differs from what is now.
fn overspent(before: &mut Index, run: &mut DryRun, now: i64) -> Vec<Overspent> {
    spending::refresh(before, &mut Snapshots::default(), None, now);
    spending::refresh(&mut run.index, &mut run.snapshots, None, now);
    let gvk = Gvk::new(API_VERSION, "CostBudget");
    let mut found = Vec::new();
    for (name, is) in &run.index.spending.budgets {
        let was = before.spending.budgets.get(name);
        let same = was.is_some_and(|was| was.max() == is.max() && was.spent >= is.spent);
        if same || is.spent <= is.max().0 {
            continue;
        }
        found.push(Overspent {
            key: template_key(&gvk, "", name),
            spent: Money(is.spent),
            max: is.max(),
            at_least: is.incomplete > 0,
        });
    }
    found
}

/// What happens to one template; nothing where nothing changes and it was not handed in itself.
fn entry(
    before: &Index,
    run: &DryRun,
    key: &ObjectKey,
    edited: &BTreeSet<ObjectKey>,
    fleets: (&Fleet, &Fleet),
    [compiled, recompiled]: &mut [Snapshots; 2],
    notes: &mut BTreeSet<String>,
) -> Option<Entry> {
    let index = &run.index;
    let template = index.templates.get(key).or_else(|| before.templates.get(key));
    let old = before.placements.get(key);
    let new = index.placements.get(key);
    let api_version = match (template, old) {
        (Some(it), _) => it.api_version.clone(),
        (None, Some(it)) => it.spec.template.api_version.clone(),
        (None, None) => return None,
    };
    let object = ObjectRef {
        api_version: api_version.clone(),
        kind: key.gvk.kind.to_string(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    };
    let mut change = TemplateChange { template: object, ..TemplateChange::default() };
    let claim = index.templates.get(key).map(|it| index.claim(key, it)).unwrap_or_default();
    let mut policies: BTreeSet<String> = claim.limits.iter().map(|it| it.title()).collect();
    if let Some(winner) = &claim.winner {
        change.policy = winner.title();
        policies.insert(winner.title());
    } else if old.is_none() && (edited.contains(key) || is_claimed(before, key)) {
        notes.insert(format!("{key} is claimed by no placement policy: it stays on the hub"));
    }
    change.changes = changes::of(run, key, before);
    let unrendered = renders::look(before, run, key, &mut change.changes);
    let was = Priced::of(before, compiled, key);
    let is = Priced::of(index, recompiled, key).or_else(|| was.clone());
    let priced = (was.as_ref(), is.as_ref());
    pricing::price(
        &mut change,
        old.map(|it| &it.spec),
        new.map(|it| &it.spec),
        priced,
        fleets,
        notes,
    );
    if let Some(new) = new
        && new.spec.outcome.status != "True"
    {
        change.reason.clone_from(&new.spec.outcome.reason);
        change.unmet.clone_from(&new.spec.outcome.message);
    }
    let lacks = |it: &Arc<Placed>| it.spec.dependencies.clone().filter(|it| it.status == "False");
    if let Some(lacks) = new.and_then(lacks)
        && old.and_then(|it| it.spec.dependencies.as_ref()) != Some(&lacks)
    {
        notes.insert(format!("{key}: {}", lacks.message));
    }
    if let Some(approval) = run.approvals.get(key) {
        change.approval.clone_from(approval);
    }
    let staged =
        run.staged.get(key).filter(|_| change.changes.iter().any(|it| !it.wave.is_empty()));
    change.rollout = staged.map(|it| it.text()).unwrap_or_default();
    moves::say_refused(run, key, &mut change);
    // Of what was handed in, or is decided by what was, it is told that it still gets too little.
    let by_edited = claim.winner.as_ref().is_some_and(|it| edited.contains(&key_of(it)));
    let asked = edited.contains(key)
        || (by_edited && old.is_none_or(|it| it.spec.outcome.message != change.unmet));
    let as_before = old.zip(new).is_some_and(|(old, new)| is_as_unmet(&old.spec, &new.spec));
    if change.changes.is_empty() && (change.unmet.is_empty() || (as_before && !asked)) {
        return None;
    }
    let stamp = stamp(&change, old.map(|it| &it.spec), new.map(|it| &it.spec));
    Some(Entry { key: key.clone(), api_version, change, stamp, policies, unrendered })
}

fn key_of(policy: &Policy) -> ObjectKey {
    let gvk = Gvk::new(API_VERSION, &policy.reference().kind);
    template_key(&gvk, &policy.namespace, &policy.name)
}

fn is_claimed(index: &Index, key: &ObjectKey) -> bool {
    index.templates.get(key).is_some_and(|it| index.claim(key, it).winner.is_some())
}

type Spec = federation_types::placement::PlacementSpec;

/// What a template's part of the plan was made from and came to; not whether a budget's window is spent, nor a time, nor
/// what a removal is put down to.
fn stamp(change: &TemplateChange, old: Option<&Spec>, new: Option<&Spec>) -> Vec<u8> {
    let copies = |spec: Option<&Spec>| -> Vec<(String, Option<i64>, String)> {
        let all = spec.into_iter().flat_map(|it| &it.clusters);
        all.map(|it| (it.name.clone(), it.replicas, it.revision.clone())).collect()
    };
    let meant = |spec: Option<&Spec>| -> Vec<(String, Option<i64>, String)> {
        let all = spec.into_iter().flat_map(|it| &it.clusters);
        let meant = all.filter(|it| it.leaving.is_empty());
        meant.map(|it| (it.name.clone(), it.replicas, it.revision.clone())).collect()
    };
    let unmet = match change.reason.as_str() {
        reason::FROZEN | reason::BUDGET | reason::FLEET_DARK => "",
        other => other,
    };
    let facts =
        (&change.template, &change.policy, copies(old), meant(new), unmet, &change.approval);
    serde_json::to_vec(&facts).expect("names and numbers can be written as JSON")
}

/// What the hash covers beside the templates: the policies, the clusters and the prices behind them.
fn facts(index: &Index, draft: &mut Draft) {
    let titles: BTreeSet<&String> = draft.entries.iter().flat_map(|it| &it.policies).collect();
    let changes = draft.entries.iter().flat_map(|it| &it.change.changes);
    let clusters: BTreeSet<&String> = changes.map(|it| &it.cluster).collect();
    let json = |value: &dyn Fn() -> serde_json::Result<Value>| -> String {
        value().map(|it| it.to_string()).unwrap_or_default()
    };
    let mut facts = BTreeMap::new();
    for policy in index.policies.values().filter(|it| titles.contains(&it.title())) {
        let text = json(&|| serde_json::to_value((&policy.spec, &policy.limits)));
        facts.insert(policy.title(), text);
    }
    for name in clusters {
        let Some(member) = index.clusters.get(name) else { continue };
        let text = json(&|| {
            serde_json::to_value((&member.spec, &member.metadata.labels, is_ready(member)))
        });
        facts.insert(format!("MemberCluster {name}"), text);
    }
    if !draft.entries.is_empty() || !draft.repriced.is_empty() {
        for (name, book) in &index.books {
            let text = json(&|| serde_json::to_value(&book.spec));
            facts.insert(format!("PriceBook {name}"), short_hash(text.as_bytes()));
        }
    }
    draft.facts = facts;
}

impl Draft {
    /// The templates that it speaks of, with their API versions.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&ObjectKey, &str)> {
        let listed = self.entries.iter().map(|it| (&it.key, it.api_version.as_str()));
        listed
            .chain(self.repriced.iter().map(|it| (&it.0, it.1.as_str())))
            .chain(self.unmet.iter().map(|it| (&it.0, it.1.as_str())))
            .chain(self.overspent.iter().map(|it| (&it.key, API_VERSION)))
    }

    /// The plan as those see it who may read what `may_read` says.
    pub(crate) fn finish(
        mut self,
        edits: &[Edit],
        may_read: &dyn Fn(&ObjectKey, &str) -> bool,
    ) -> PlanStatus {
        let objects: Vec<ObjectChange> = edits.iter().map(Edit::describe).collect();
        let all = self.entries.len();
        self.entries.retain(|it| may_read(&it.key, &it.api_version));
        let hidden = all - self.entries.len();
        let mut plan = PlanStatus { objects, ..PlanStatus::default() };
        plan.inputs = self.inputs(edits);
        if let Some(run) = &self.run {
            self.overspent.retain(|it| may_read(&it.key, API_VERSION));
            plan.checks = checks::checks(run, &self.entries, &self.overspent, &plan.objects);
        }
        plan.templates = self.entries.into_iter().map(|it| it.change).collect();
        plan.summarize();
        let mut n = 0;
        for (key, api_version, cost) in self.repriced {
            if may_read(&key, &api_version) {
                plan.summary.cost.add(cost);
                n += 1;
            }
        }
        if n > 0 {
            let stay = match n {
                1 => "1 template stays where it is and costs something else".to_owned(),
                n => format!("{n} templates stay where they are and cost something else"),
            };
            plan.notes.push(stay);
        }
        plan.notes.extend(self.notes);
        let unmet = self.unmet.iter().filter(|(key, it)| may_read(key, it)).count();
        if unmet > 0 {
            let others = words::counted(unmet, "other", "others");
            plan.notes.push(format!("{others} unmet before and after"));
        }
        if hidden > 0 {
            let is = if hidden == 1 { "is" } else { "are" };
            let hidden = words::counted(hidden, "template", "templates");
            plan.notes.push(format!("{hidden} that you may not read {is} left out"));
        }
        if plan.templates.len() > LISTED {
            let more = plan.templates.len() - LISTED;
            plan.templates.truncate(LISTED);
            plan.notes.push(format!("{more} further templates are counted and not listed"));
        }
        plan
    }

    fn inputs(&self, edits: &[Edit]) -> String {
        let mut bytes = Vec::new();
        for edit in edits {
            let change = edit.describe();
            let text = serde_json::to_vec(&change);
            bytes.extend(text.expect("names and texts can be written as JSON"));
        }
        for entry in &self.entries {
            bytes.extend(&entry.stamp);
        }
        for (name, text) in &self.facts {
            bytes.extend(name.as_bytes());
            bytes.extend(text.as_bytes());
        }
        short_hash(&bytes)
    }
}
