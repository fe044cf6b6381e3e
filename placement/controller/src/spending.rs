//! What placements cost, kept as they change, and what cost budgets leave for each (RULES 5.5).
//!
//! Nothing is worked out while there is no cost budget.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use federation_types::{
    budget::{CostBudget, CostBudgetSpec, CostBudgetStatus},
    money::Money,
    names::{Gvk, ObjectKey},
    policy::PlacementPolicySpec,
    reason::placed as reason,
    selector::glob,
    spend::TrafficTo,
    validate::Problem,
};
use placement_engine::{
    ClusterId, CompiledPolicy, Decision, Fleet, Outcome, Placed, PreviousCluster, Workload,
    cost::{self, Estimate},
    workload::{Allowance, Around},
};

use crate::{
    bounds,
    claim::Policy,
    decide::still_meant,
    index::{Index, Template, template_key},
    members::patience,
    snapshot::Snapshots,
};

/// A cost budget with what its scope costs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) spec: CostBudgetSpec,
    pub(crate) generation: i64,
    /// µ$ per month.
    pub(crate) spent: i64,
    pub(crate) placements: i64,
    pub(crate) waiting: i64,
    /// Placements of which some price is unknown.
    pub(crate) incomplete: i64,
    /// The status as it was last stored.
    pub(crate) written: CostBudgetStatus,
}

impl Scope {
    pub(crate) fn max(&self) -> Money {
        Money::parse_usd(&self.spec.max_monthly_usd).unwrap_or_default()
    }

    fn covers(&self, key: &ObjectKey, template: &Template, winner: Option<&Policy>) -> bool {
        let spec = &self.spec;
        let claimed = |it: &Policy| {
            spec.policies.iter().any(|own| own.namespace == it.namespace && own.name == it.name)
        };
        (spec.namespaces.is_empty() || spec.namespaces.iter().any(|it| glob(it, &key.namespace)))
            && spec.label_selector.matches(&template.labels)
            && (spec.policies.is_empty() || winner.is_some_and(claimed))
    }
}

/// What one placement costs, and in whose scope it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    micros: i64,
    incomplete: bool,
    waiting: bool,
    budgets: Vec<String>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spending {
    pub(crate) budgets: BTreeMap<String, Scope>,
    entries: BTreeMap<ObjectKey, Entry>,
    /// The version of the fleet at whose prices the entries are; none: all are to be worked out anew.
    priced: Option<u64>,
}

impl Spending {
    /// Says whether something costs less than before: then others may have what is left.
    fn enter(&mut self, key: &ObjectKey, new: Option<Entry>) -> bool {
        let old = match new.clone() {
            Some(new) => self.entries.insert(key.clone(), new),
            None => self.entries.remove(key),
        };
        let micros = |it: &Option<Entry>| it.as_ref().map_or(0, |it| it.micros);
        let less = micros(&new) < micros(&old);
        for (entry, sign) in [(old, -1), (new, 1)] {
            let Some(entry) = entry else { continue };
            for name in &entry.budgets {
                let Some(scope) = self.budgets.get_mut(name) else { continue };
                scope.spent += sign * entry.micros;
                scope.placements += sign;
                scope.waiting += sign * i64::from(entry.waiting);
                scope.incomplete += sign * i64::from(entry.incomplete);
            }
        }
        less
    }

    /// Everything is to be worked out anew.
    fn forget(&mut self) {
        self.priced = None;
        self.entries.clear();
        for scope in self.budgets.values_mut() {
            (scope.spent, scope.placements, scope.waiting, scope.incomplete) = (0, 0, 0, 0);
        }
    }
}

impl Index {
    /// A cost budget as a watch delivers it.
    pub fn set_cost_budget(&mut self, name: &str, budget: Option<CostBudget>) {
        let Some(budget) = budget else {
            if self.spending.budgets.remove(name).is_some() {
                self.spending.forget();
                self.touch_waiting();
            }
            return;
        };
        let known = self.spending.budgets.get(name);
        if known.is_some_and(|it| it.spec == budget.spec) {
            return;
        }
        let written = match known {
            Some(known) => known.written.clone(),
            None => budget.status.clone().unwrap_or_default(),
        };
        let generation = budget.metadata.generation.unwrap_or_default();
        let scope = Scope { spec: budget.spec, generation, written, ..Scope::default() };
        self.spending.budgets.insert(name.to_owned(), scope);
        self.spending.forget();
        self.touch_waiting();
    }

    fn scopes_of(
        &self,
        key: &ObjectKey,
        template: &Template,
        winner: Option<&Policy>,
    ) -> Vec<String> {
        let covering =
            self.spending.budgets.iter().filter(|(_, it)| it.covers(key, template, winner));
        covering.map(|(name, _)| name.clone()).collect()
    }
}

/// What the hub knows of a workload beside its template.
pub(crate) fn around(
    index: &Index,
    key: &ObjectKey,
    template: &Template,
    winner: Option<&Policy>,
) -> Around {
    let mut around =
        Around { most_replicas: bounds::most_replicas(index, key), ..Around::default() };
    let traffic = winner.iter().flat_map(|it| &it.spec.traffic);
    for it in traffic.filter(|it| it.to == TrafficTo::Template) {
        let kind = if it.kind.is_empty() { "Deployment" } else { &it.kind };
        if let Some(clusters) = peers(index, &key.namespace, kind, &it.name) {
            around.peers.insert(format!("{kind} {}", it.name), clusters);
        }
    }
    let own = index.spending.entries.get(key);
    for name in index.scopes_of(key, template, winner) {
        let scope = &index.spending.budgets[&name];
        let mine = own.filter(|it| it.budgets.contains(&name)).map_or(0, |it| it.micros);
        let monthly_micros = scope.max().0.saturating_sub(scope.spent - mine);
        around.allowances.push(Allowance { budget: name, monthly_micros });
    }
    around
}

/// The workload with what the hub knows beside its template; `None` where that is nothing.
pub(crate) fn surrounded(
    index: &Index,
    key: &ObjectKey,
    template: &Template,
    winner: Option<&Policy>,
) -> Option<Workload> {
    let around = around(index, key, template, winner);
    (around != Around::default()).then(|| Workload { around, ..template.workload.clone() })
}

/// Where the template of that kind and name is; `None` before it is anywhere.
fn peers(index: &Index, namespace: &str, kind: &str, name: &str) -> Option<Vec<PreviousCluster>> {
    let groups = index.kinds.keys().filter(|it| it.1 == kind);
    groups
        .filter_map(|(group, kind)| {
            let gvk = Gvk::unversioned(group, kind);
            let placed = index.placements.get(&template_key(&gvk, namespace, name))?;
            let clusters = still_meant(&placed.spec).clusters;
            (!clusters.is_empty()).then_some(clusters)
        })
        .next()
}

/// Works out what has changed: everything after a change of the fleet or of a budget, otherwise the one template that is
/// looked at, if any.
pub(crate) fn refresh(
    index: &mut Index,
    snapshots: &mut Snapshots,
    key: Option<&ObjectKey>,
    now: i64,
) {
    if index.spending.budgets.is_empty() {
        return;
    }
    let version = index.fleet_version;
    let keys: Vec<ObjectKey> = if index.spending.priced == Some(version) {
        key.into_iter().cloned().collect()
    } else {
        index.spending.priced = Some(version);
        index.placements.keys().chain(key).cloned().collect()
    };
    work_out(index, snapshots, keys, now);
}

/// Works out everything if a budget is new or another one: where nothing waits, no template is looked at for it.
pub(crate) fn catch_up(index: &mut Index, snapshots: &mut Snapshots, now: i64) {
    if index.spending.budgets.is_empty() || index.spending.priced.is_some() {
        return;
    }
    index.spending.priced = Some(index.fleet_version);
    let keys = index.placements.keys().cloned().collect();
    work_out(index, snapshots, keys, now);
}

fn work_out(index: &mut Index, snapshots: &mut Snapshots, keys: Vec<ObjectKey>, now: i64) {
    let mut less = false;
    for key in keys {
        // What is being written is known better than what stands.
        if index.in_flight.contains_key(&key) && index.spending.entries.contains_key(&key) {
            continue;
        }
        let entry = standing(index, snapshots, &key, now);
        less |= index.spending.enter(&key, entry);
    }
    if less {
        index.touch_waiting();
    }
}

/// A template with all that its price depends on but the fleet.
#[derive(Clone, Debug)]
pub(crate) struct Priced<'a> {
    workload: Cow<'a, Workload>,
    policy: Arc<Result<CompiledPolicy, Vec<Problem>>>,
}

impl<'a> Priced<'a> {
    /// Where no policy decides any more, or none that can be read, what runs costs nevertheless.
    pub(crate) fn of(index: &'a Index, snapshots: &mut Snapshots, key: &ObjectKey) -> Option<Self> {
        let template = index.templates.get(key)?;
        let claim = index.claim(key, template);
        let winner = claim.winner.as_ref();
        let compiled = winner.map(|it| snapshots.policy(&claim, it)).filter(|it| it.is_ok());
        let plain = || {
            let spec = PlacementPolicySpec::default();
            Arc::new(CompiledPolicy::compile("", None, &spec, &[]))
        };
        let workload = surrounded(index, key, template, winner.map(|it| &**it))
            .map_or(Cow::Borrowed(&template.workload), Cow::Owned);
        Some(Self { workload, policy: compiled.unwrap_or_else(plain) })
    }

    /// What it costs on clusters of a Placement.
    pub(crate) fn estimate(&self, fleet: &Fleet, clusters: &[PreviousCluster]) -> Estimate {
        let Ok(policy) = &*self.policy else { return Estimate::default() };
        let known = || clusters.iter().filter_map(|it| Some((fleet.id(&it.name)?, it)));
        let placed: Vec<Placed> =
            known().map(|(cluster, it)| Placed { cluster, replicas: it.replicas }).collect();
        let spot: Vec<ClusterId> =
            known().filter(|(_, it)| it.spot).map(|(cluster, _)| cluster).collect();
        cost::estimate(fleet, &self.workload, policy, &placed, &spot)
    }
}

/// What a template costs as it stands.
fn standing(index: &Index, snapshots: &mut Snapshots, key: &ObjectKey, now: i64) -> Option<Entry> {
    let placed = index.placements.get(key)?;
    let template = index.templates.get(key)?;
    let winner = index.claim(key, template).winner;
    let budgets = index.scopes_of(key, template, winner.as_deref());
    if budgets.is_empty() {
        return None;
    }
    let priced = Priced::of(index, snapshots, key)?;
    let wait =
        winner.map_or_else(|| patience(&PlacementPolicySpec::default()), |it| patience(&it.spec));
    let fleet = &snapshots.get(index, wait, now).fleet;
    let estimate = priced.estimate(fleet, &still_meant(&placed.spec).clusters);
    let waiting = placed.spec.outcome.reason == reason::OVER_COST;
    Some(entry(estimate, waiting, budgets))
}

fn entry(estimate: Estimate, waiting: bool, budgets: Vec<String>) -> Entry {
    Entry { micros: estimate.monthly.0, incomplete: estimate.at_least, waiting, budgets }
}

/// Takes a decision in before it is written, so that the next one is not given the same money.
pub(crate) fn decided(
    index: &mut Index,
    fleet: &Fleet,
    key: &ObjectKey,
    (template, workload): (&Template, &Workload),
    (policy, winner): (&CompiledPolicy, &Policy),
    decision: &Decision,
) {
    if index.spending.budgets.is_empty() {
        return;
    }
    let budgets = index.scopes_of(key, template, Some(winner));
    let estimate = decision.estimate(fleet, workload, policy);
    let waiting = matches!(decision.outcome, Outcome::OverBudget { .. });
    let new = (!budgets.is_empty()).then(|| entry(estimate, waiting, budgets));
    if index.spending.enter(key, new) {
        index.touch_waiting();
    }
}
