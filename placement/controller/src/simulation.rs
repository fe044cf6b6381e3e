//! The answer to `Simulation`: what would happen if. The same dry run as a plan's, on a fleet that is supposed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    cluster::{FreeNodes, MemberCluster},
    condition::{self, Condition},
    money::Money,
    names::{GROUP, Gvk, ObjectKey},
    price::PriceBook,
    reason::{condition::READY, copy, placed as reason},
    review::{
        plan::{Action, ObjectRef},
        simulation::{
            AddCluster, Load, PriceChange, Scale, SimulationSpec, SimulationStatus, Unplaced,
        },
    },
    selector::glob,
    validate::{self, Problem},
};
use kube::{Client, api::DynamicObject};
use parking_lot::Mutex;
use placement_engine::simulate::Load as Fullness;
use serde_json::Value;

use crate::{
    approval::Approvals,
    caller::{Kinds, PlanError},
    clock,
    dry_run::DryRun,
    feed::{self, Change},
    gate::Fleet,
    index::{Index, template_key},
    members::is_ready,
    overlay,
    plan::{Draft, compare, group_of, may_see_clusters, readable},
    snapshot,
};

/// More things than this are not supposed at once.
const SUPPOSED: usize = 1_000;
/// What the sums of a simulation with other prices are of.
const PRICED: &str =
    "the cost is that of the templates that change or cost something else, not of the whole fleet";
/// What `spec.replicas` of a workload can say.
const MOST_REPLICAS: i64 = i32::MAX as i64;
/// So many of the fullest clusters are listed.
const HOTTEST: usize = 20;

pub(crate) async fn simulate(
    index: &Mutex<Index>,
    caller: &Client,
    spec: &SimulationSpec,
) -> Result<SimulationStatus, PlanError> {
    let total = spec.down.len()
        + spec.add.len()
        + spec.prices.len()
        + spec.scale.len()
        + spec.objects.len();
    if total > SUPPOSED {
        let message = format!("Too many: {total}: at most {SUPPOSED} things are supposed at once");
        return Err(PlanError::invalid("spec", message));
    }
    let (copy, asked) = (index.lock().clone(), spec.clone());
    let outcome = tokio::task::spawn_blocking(move || work_out(copy, &asked, clock::now()))
        .await
        .map_err(|error| PlanError::Unavailable(error.to_string()))??;
    let mut kinds = Kinds::new(caller);
    let readable = readable(&mut kinds, outcome.keys()).await?;
    let clusters = may_see_clusters(caller).await?;
    Ok(outcome.finish(clusters, &|key| readable.get(&group_of(key)).copied().unwrap_or(false)))
}

/// A simulation before it is known who asks.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) draft: Draft,
    down: BTreeSet<String>,
    stranded: Vec<(ObjectKey, Unplaced)>,
    loads: Vec<Load>,
    notes: Vec<String>,
}

pub(crate) fn work_out(
    mut index: Index,
    spec: &SimulationSpec,
    now: i64,
) -> Result<Outcome, PlanError> {
    let mut before = index.clone();
    index.dirty.clear();
    let mut notes = Vec::new();
    for (at, it) in spec.add.iter().enumerate() {
        add(&mut index, it, &format!("spec.add[{at}]"))?;
    }
    for (at, it) in spec.prices.iter().enumerate() {
        reprice(&mut index, it, &format!("spec.prices[{at}]"))?;
    }
    for (at, it) in spec.scale.iter().enumerate() {
        scale(&mut index, it, &format!("spec.scale[{at}]"))?;
    }
    for (at, it) in spec.objects.iter().enumerate() {
        suppose(&mut index, it, &format!("spec.objects[{at}]"))?;
    }
    if !spec.prices.is_empty() {
        notes.push(PRICED.to_owned());
    }
    let mut down = BTreeSet::new();
    for (at, it) in spec.down.iter().enumerate() {
        let found = lost(&index, it);
        if found.is_empty() {
            let message = format!("Invalid value: {it:?}: no cluster is meant by it");
            return Err(PlanError::invalid(format!("spec.down[{at}]"), message));
        }
        down.extend(found);
    }
    for name in &down {
        go_dark(&mut index, name);
    }
    index.touch_lost(now);
    if index.presumed() == Fleet::CutOff {
        notes.push(
            "so much of the fleet would be dark that the hub presumes that it is itself cut off: it changes nothing"
                .to_owned(),
        );
    }
    let mut run = DryRun::new(index, Approvals::Given, now);
    run.settle();
    let stranded = stranded(&run.index, &down);
    let draft = compare(&mut before, run, &BTreeSet::new(), now);
    let loads = loads(&before, &draft, &down, now);
    Ok(Outcome { draft, down, stranded, loads, notes })
}

impl Outcome {
    /// The templates that it speaks of, with their API versions.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&ObjectKey, &str)> {
        let stranded =
            self.stranded.iter().map(|(key, it)| (key, it.template.api_version.as_str()));
        self.draft.keys().chain(stranded)
    }

    pub(crate) fn finish(
        self,
        clusters: bool,
        may_read: &dyn Fn(&ObjectKey) -> bool,
    ) -> SimulationStatus {
        let mut plan = self.draft.finish(&[], &|key, _| may_read(key));
        plan.notes.extend(self.notes);
        // What a simulation comes to is no plan to be applied.
        plan.inputs.clear();
        let waits = [reason::FROZEN, reason::BUDGET, reason::FLEET_DARK];
        let unmet = plan
            .templates
            .iter()
            .filter(|it| !it.unmet.is_empty() && !waits.contains(&it.reason.as_str()));
        let mut unplaced: Vec<Unplaced> = unmet
            .map(|it| Unplaced {
                template: it.template.clone(),
                reason: it.reason.clone(),
                message: it.unmet.clone(),
            })
            .collect();
        for (key, it) in self.stranded {
            if may_read(&key) && !unplaced.iter().any(|known| known.template == it.template) {
                unplaced.push(it);
            }
        }
        unplaced.sort_by(|a, b| a.template.cmp(&b.template));
        let hottest = if clusters { self.loads } else { Vec::new() };
        SimulationStatus { down: self.down.into_iter().collect(), plan, unplaced, hottest }
    }
}

/// The clusters that a word means.
fn lost(index: &Index, word: &str) -> Vec<String> {
    let is_meant = |name: &str, member: &MemberCluster| match word.split_once('=') {
        None => name == word,
        Some(("provider", it)) => member.spec.provider == it,
        Some(("region", it)) => glob(it, &member.spec.region),
        Some(("zone", it)) => member.spec.zones.iter().any(|zone| glob(it, zone)),
        Some((key, it)) => {
            let labels = member.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(key)).is_some_and(|value| value == it)
        }
    };
    let found = index.clusters.iter().filter(|(name, it)| is_meant(name, it));
    found.map(|(name, _)| name.clone()).collect()
}

/// It has not answered for longer than any policy waits.
fn go_dark(index: &mut Index, name: &str) {
    let Some(member) = index.clusters.get(name) else { return };
    let mut member = (**member).clone();
    set_ready(&mut member, "Unknown");
    index.set_cluster(name, Some(member));
}

fn set_ready(member: &mut MemberCluster, status: &str) {
    let conditions = &mut member.status.get_or_insert_default().conditions;
    conditions.retain(|it| it.kind != READY);
    let ready = Condition {
        kind: READY.to_owned(),
        status: status.to_owned(),
        reason: "Supposed".to_owned(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: String::new(),
    };
    condition::set(conditions, ready, &clock::text(0));
}

fn add(index: &mut Index, it: &AddCluster, field: &str) -> Result<(), PlanError> {
    if it.name.is_empty() {
        return Err(PlanError::invalid(format!("{field}.name"), "Required value"));
    }
    if index.clusters.contains_key(&it.name) {
        let message = format!("Invalid value: {:?}: there is a cluster of this name", it.name);
        return Err(PlanError::invalid(format!("{field}.name"), message));
    }
    refuse(validate::name(&format!("{field}.name"), &it.name))?;
    let Some(like) = index.clusters.get(&it.like) else {
        let message = format!("Invalid value: {:?}: there is no such cluster", it.like);
        return Err(PlanError::invalid(format!("{field}.like"), message));
    };
    let mut member = (**like).clone();
    member.metadata.name = Some(it.name.clone());
    member.metadata.uid = None;
    member.spec.accepted = true;
    let elsewhere = !it.region.is_empty() || !it.provider.is_empty();
    for (stated, own) in [
        (&it.provider, &mut member.spec.provider),
        (&it.region, &mut member.spec.region),
        (&it.jurisdiction, &mut member.spec.jurisdiction),
    ] {
        if !stated.is_empty() {
            own.clone_from(stated);
        }
    }
    if elsewhere {
        member.spec.zones.clear();
    }
    let stated = [
        ("spec.provider", &it.provider),
        ("spec.region", &it.region),
        ("spec.jurisdiction", &it.jurisdiction),
    ];
    let mut problems = validate::member_cluster(&member.spec);
    problems.retain(|it| stated.iter().any(|(path, text)| *path == it.field && !text.is_empty()));
    for it in &mut problems {
        it.field = it.field.replacen("spec", field, 1);
    }
    refuse(problems)?;
    let status = member.status.get_or_insert_default();
    status.uid = format!("supposed-{}", it.name);
    for shape in &mut status.shapes {
        shape.free = vec![FreeNodes { nodes: shape.count, resources: shape.allocatable.clone() }];
        if elsewhere {
            shape.zone.clear();
        }
    }
    set_ready(&mut member, "True");
    index.set_cluster(&it.name, Some(member));
    Ok(())
}

/// The first of what is wrong, if anything is.
fn refuse(problems: Vec<Problem>) -> Result<(), PlanError> {
    match problems.into_iter().next() {
        Some(it) => Err(PlanError::invalid(it.field, it.message)),
        None => Ok(()),
    }
}

fn reprice(index: &mut Index, it: &PriceChange, field: &str) -> Result<(), PlanError> {
    if it.percent < -100 {
        let message = format!("Invalid value: {}: a price cannot fall below nothing", it.percent);
        return Err(PlanError::invalid(format!("{field}.percent"), message));
    }
    let fits = |wanted: &str, found: &str| wanted.is_empty() || glob(wanted, found);
    let mut touched = 0;
    let books: Vec<PriceBook> = index.books.values().map(|it| (**it).clone()).collect();
    for mut book in books {
        for row in &mut book.spec.prices {
            let meant = fits(&it.provider, &row.provider)
                && fits(&it.region, &row.region)
                && fits(&it.instance_type, &row.instance_type);
            if meant {
                touched += 1;
                for price in [&mut row.on_demand_usd_hour, &mut row.spot_usd_hour] {
                    if let Some(text) = price
                        && let Some(money) = Money::parse_usd(text)
                    {
                        *text = decimal(percent_of(money.0, 100 + it.percent));
                    }
                }
            }
        }
        feed::on_book(index, Change::Set(book));
    }
    if touched == 0 {
        let message = "Invalid value: no price of any PriceBook is meant by it";
        return Err(PlanError::invalid(field, message));
    }
    Ok(())
}

fn percent_of(amount: i64, percent: i64) -> i64 {
    i64::try_from(i128::from(amount) * i128::from(percent) / 100).unwrap_or(i64::MAX)
}

/// Micro-dollars as price books write them.
fn decimal(micros: i64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn scale(index: &mut Index, it: &Scale, field: &str) -> Result<(), PlanError> {
    let wrong =
        |name: &str, message: String| Err(PlanError::invalid(format!("{field}.{name}"), message));
    match (it.replicas, it.percent) {
        (Some(n), None) if n < 0 => {
            return wrong("replicas", format!("Invalid value: {n}: must not be negative"));
        }
        (None, Some(n)) if n < 0 => {
            return wrong("percent", format!("Invalid value: {n}: must not be negative"));
        }
        (Some(_), None) | (None, Some(_)) => (),
        (None, None) | (Some(_), Some(_)) => {
            return wrong("replicas", "Required value: either replicas or percent".to_owned());
        }
    }
    let fits = |wanted: &str, found: &str| wanted.is_empty() || glob(wanted, found);
    let meant: Vec<_> = index
        .templates
        .iter()
        .filter(|(key, template)| {
            template.workload.replicas.is_some()
                && fits(&it.namespace, &key.namespace)
                && fits(&it.name, &key.name)
                && (it.kind.is_empty() || it.kind.eq_ignore_ascii_case(&key.gvk.kind))
        })
        .map(|(key, template)| (key.clone(), Arc::clone(template)))
        .collect();
    if meant.is_empty() {
        return wrong(
            "name",
            format!("Invalid value: {:?}: no template with replicas is meant by it", it.name),
        );
    }
    for (key, template) in meant {
        let mut template = (*template).clone();
        let now = template.workload.replicas.unwrap_or(0);
        let then = it.replicas.unwrap_or_else(|| percent_of(now, it.percent.unwrap_or(100)));
        if then > MOST_REPLICAS {
            let (part, value) = match it.percent {
                Some(percent) => {
                    ("percent", format!("{percent}: {key} would have {then} replicas"))
                }
                None => ("replicas", then.to_string()),
            };
            let message = format!("Invalid value: {value}: must be at most {MOST_REPLICAS}");
            return wrong(part, message);
        }
        template.workload.replicas = Some(then);
        template.generation += 1;
        index.set_template(key, Some(Arc::new(template)));
    }
    Ok(())
}

/// An object as it would stand, without asking the API what it would make of it.
fn suppose(index: &mut Index, object: &Value, field: &str) -> Result<(), PlanError> {
    let mut object: DynamicObject = serde_json::from_value(object.clone())
        .map_err(|error| PlanError::invalid(field, format!("Invalid value: {error}")))?;
    let Some(types) = object.types.clone() else {
        return Err(PlanError::invalid(format!("{field}.kind"), "Required value"));
    };
    let Some(name) = object.metadata.name.clone() else {
        return Err(PlanError::invalid(format!("{field}.metadata.name"), "Required value"));
    };
    let gvk = Gvk::new(&types.api_version, &types.kind);
    let metadata = &mut object.metadata;
    if gvk.group == GROUP {
        if matches!(types.kind.as_str(), "PlacementPolicy" | "OverridePolicy") {
            metadata.namespace.get_or_insert_with(|| "default".to_owned());
        }
        let namespace = metadata.namespace.clone().unwrap_or_default();
        metadata.uid = Some(format!("supposed/{}/{namespace}/{name}", types.kind));
        if types.kind == "MemberCluster"
            && let Some(known) = index.clusters.get(&name)
        {
            let status = serde_json::to_value(&known.status).unwrap_or_default();
            object.data["status"] = status;
        }
    } else {
        metadata.namespace.get_or_insert_with(|| "default".to_owned());
        let namespace = metadata.namespace.clone().unwrap_or_default();
        if let Some(known) = index.templates.get(&template_key(&gvk, &namespace, &name)) {
            metadata.uid = Some(known.uid.clone());
            metadata.finalizers = Some(known.finalizers.clone());
            metadata.generation = Some(known.generation + 1);
        }
    }
    overlay::put(index, &object)
        .map_err(|error| PlanError::invalid(format!("{field}.kind"), error.to_string()))
}

/// Templates that would have no copy on a cluster that answers, or too few: what does not fail over by itself
/// (RULES 3.5), and what is kept where it is for another reason, which is told.
fn stranded(index: &Index, down: &BTreeSet<String>) -> Vec<(ObjectKey, Unplaced)> {
    let mut found = Vec::new();
    for (key, placed) in &index.placements {
        let meant = || placed.spec.clusters.iter().filter(|it| it.leaving.is_empty());
        let on: Vec<&str> =
            meant().map(|it| it.name.as_str()).filter(|it| down.contains(*it)).collect();
        let up = meant().any(|it| !down.contains(&it.name));
        if on.is_empty() || (up && !placed.spec.divided) {
            continue;
        }
        let template = ObjectRef {
            api_version: placed.spec.template.api_version.clone(),
            kind: key.gvk.kind.to_string(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        };
        let outcome = &placed.spec.outcome;
        let (reason, why) = match outcome.status.as_str() {
            "True" => (copy::UNREACHABLE, "it does not fail over by itself"),
            // It would go elsewhere: what keeps it is what the decision says.
            _ => (outcome.reason.as_str(), outcome.message.as_str()),
        };
        let message = format!("stays on {}: {why}", on.join(", "));
        found.push((key.clone(), Unplaced { template, reason: reason.to_owned(), message }));
    }
    found
}

/// The fullest clusters afterwards, of those that answer.
fn loads(before: &Index, draft: &Draft, down: &BTreeSet<String>, now: i64) -> Vec<Load> {
    let Some(run) = &draft.run else { return Vec::new() };
    let snapshot = snapshot::build(&run.index, &BTreeSet::new(), now);
    let mut deltas: BTreeMap<&str, Vec<(&crate::index::Template, i64)>> = BTreeMap::new();
    for entry in &draft.entries {
        let template = run.index.templates.get(&entry.key);
        let template = template.or_else(|| before.templates.get(&entry.key));
        let Some(template) = template else { continue };
        for change in &entry.change.changes {
            let count = |it: Option<i64>| it.unwrap_or(1);
            let delta = match change.action {
                Action::Add => count(change.replicas_after),
                Action::Remove => -count(change.replicas_before),
                Action::Resize => count(change.replicas_after) - count(change.replicas_before),
                Action::Update => 0,
            };
            deltas.entry(&change.cluster).or_default().push((template, delta));
        }
    }
    // As the members report it: what the snapshot reserves is among the changes, and would count twice.
    let room = placement_engine::Room::new(&snapshot.fleet);
    let mut loads = Vec::new();
    for (name, member) in &run.index.clusters {
        if down.contains(name) || !is_ready(member) {
            continue;
        }
        let Some(id) = snapshot.fleet.id(name) else { continue };
        let is = Fullness::of(&snapshot.fleet, &room, id);
        let then = deltas.get(name.as_str()).into_iter().flatten();
        let then = then.fold(is, |load, (template, n)| load.with(&template.workload, *n));
        let ((cpu_before, memory_before), (cpu_after, memory_after)) =
            (is.percent(), then.percent());
        loads.push(Load {
            cluster: name.clone(),
            cpu_before,
            cpu_after,
            memory_before,
            memory_after,
            nodes: if member.spec.autoscaled { then.nodes(&snapshot.fleet, id) } else { 0 },
        });
    }
    loads.sort_by_key(|it| (-it.cpu_after.max(it.memory_after), it.cluster.clone()));
    loads.truncate(HOTTEST);
    loads
}
