//! What replicas cost: the price of a slot, by which decisions rank clusters; the allocated estimate, which budgets bound
//! and people read; and beside it what a decision adds to the bill, and what of it is paid in advance.

use federation_types::money::Money;

use crate::{
    cheapest::{self, Bounds, Choice, Percent, Site},
    extras::{self, Extras},
    fleet::{CPU, ClusterId, Fleet, MEMORY},
    place::{Decision, Placed, Previous},
    policy::CompiledPolicy,
    price::Trust,
    room::{self, Need, Room},
    workload::Workload,
};

/// The price of one replica's slot on the cheapest kind of node that it fits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// µ$/h, stale prices a quarter dearer.
    pub(crate) micros: i64,
    pub(crate) undated: bool,
}

/// `None` where no price of a fitting node is known.
pub(crate) fn slot(fleet: &Fleet, cluster: ClusterId, need: &Need) -> Option<Slot> {
    let shapes = &fleet.cluster(cluster).shapes;
    shapes
        .iter()
        .filter_map(|it| {
            let price = it.price_for(need.pinned)?;
            let fit = need.fit_empty(fleet, it.class);
            let per_slot = ceiling(price.ranked().0, fit)?;
            Some(Slot { micros: per_slot, undated: price.trust == Trust::Undated })
        })
        .min_by_key(|it| (it.micros, it.undated))
}

/// The slots of a unit together; `None` where the price of one is not known.
pub(crate) fn slots(fleet: &Fleet, cluster: ClusterId, parts: &[(Need, i64)]) -> Option<Slot> {
    parts.iter().try_fold(Slot { micros: 0, undated: false }, |sum, (need, each)| {
        let slot = slot(fleet, cluster, need)?;
        let micros = sum.micros.saturating_add(slot.micros.saturating_mul(*each));
        Some(Slot { micros, undated: sum.undated || slot.undated })
    })
}

/// ⌈amount ÷ parts⌉; `None` for no parts.
pub(crate) fn ceiling(amount: i64, parts: i64) -> Option<i64> {
    (parts > 0).then(|| amount.div_euclid(parts) + i64::from(amount.rem_euclid(parts) > 0))
}

/// The allocated estimate of a placement, and how far to trust it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Allocated: each replica its share of a node, with its volumes, traffic and charges. Of a Job: one run.
    pub monthly: Money,
    /// Of that, what the bill loses once it is gone: the nodes of fixed pools and those paid in advance are paid for
    /// regardless.
    pub marginal: Money,
    /// Of that, what runs on nodes that are paid for in advance.
    pub committed: Money,
    /// Some price is unknown: the total is a lower bound.
    pub at_least: bool,
    pub stale: bool,
    pub undated: bool,
    pub sample: bool,
    /// Traffic is declared and in the figures.
    pub egress: bool,
    /// Spot prices are in it; the largest part of such nodes that is taken away in a month, in per cent, if it is known.
    pub spot: bool,
    pub interrupted: Option<u32>,
    /// An autoscaler's maximum was counted with.
    pub autoscaled: bool,
    /// Of a Job: the figure is for its one run.
    pub per_run: bool,
    /// How long a run takes is not known: it counts as an hour.
    pub run_assumed: bool,
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.at_least {
            f.write_str("at least ")?;
        }
        write!(f, "{}", self.monthly)
    }
}

impl Estimate {
    /// What a figure made of it must say beside it.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut say = |set: bool, text: &str| {
            if set {
                notes.push(text.to_owned());
            }
        };
        say(self.sample, "sample prices");
        say(self.at_least, "some prices are unknown");
        say(self.stale, "some prices are older than their book allows");
        say(self.undated, "some prices are undated");
        say(self.monthly > Money::ZERO && !self.egress, "without egress");
        say(self.autoscaled, "as many replicas as its autoscaler may make");
        say(self.per_run, "of one run");
        say(self.run_assumed, "a run counts as an hour, since nothing says how long it takes");
        let interrupted = match self.interrupted {
            Some(percent) => format!("up to {percent} % are taken away in a month"),
            None => "it is not known how many are taken away".to_owned(),
        };
        say(self.spot, &format!("on spot nodes, of which {interrupted}"));
        notes
    }
}

/// What a placement costs per month, `spot` being the clusters whose copies are pinned to spot nodes: each replica its
/// share of the node that most nodes of the cluster are like, by cpu, memory and devices, and what it brings along.
pub fn estimate(
    fleet: &Fleet,
    workload: &Workload,
    policy: &CompiledPolicy,
    placed: &[Placed],
    spot: &[ClusterId],
) -> Estimate {
    let mut total = Estimate {
        egress: !policy.spec.traffic.is_empty(),
        per_run: workload.run.is_some_and(|it| it.in_four_years.is_none()),
        run_assumed: workload.run.is_some_and(|it| it.assumed),
        ..Estimate::default()
    };
    let (mut plain, mut pinned) = (Need::default(), Need::default());
    plain.read(fleet, workload, false);
    if !spot.is_empty() {
        pinned.read(fleet, workload, true);
    }
    let parts = room::parts(fleet, workload);
    let (mut hourly, mut committed, mut marginal) = (Money::ZERO, Money::ZERO, Money::ZERO);
    for it in placed {
        let replicas = counted(workload, it, &mut total);
        let bill = extras::bill(fleet, it.cluster, workload, policy);
        let alone = !workload.has_pods();
        if replicas == 0 && !alone {
            continue;
        }
        total.sample |= bill.sample;
        total.at_least |= !bill.is_complete();
        let beside = Money(bill.first) + Money(bill.per_replica).times(replicas.max(1));
        let (mut nodes, mut advance) = (Money::ZERO, Money::ZERO);
        for (need, each) in &parts {
            nodes += allocated(fleet, it.cluster, need, &mut total).hour.times(*each);
        }
        if !alone && parts.is_empty() {
            let need = if spot.contains(&it.cluster) { &pinned } else { &plain };
            let share = allocated(fleet, it.cluster, need, &mut total);
            nodes = share.hour.times(replicas);
            let (covered, of) = share.committed;
            if of > 0 {
                let part = i128::from(nodes.0) * i128::from(covered) / i128::from(of);
                advance = Money(i64::try_from(part).unwrap_or(i64::MAX));
            }
        }
        let grows = fleet.cluster(it.cluster).spec.autoscaled;
        hourly += beside + nodes;
        committed += advance;
        marginal += if grows { beside + (nodes - advance) } else { beside };
    }
    total.monthly = monthly(workload, hourly);
    total.marginal = monthly(workload, marginal);
    total.committed = monthly(workload, committed);
    total
}

/// The replicas that a figure counts: under an autoscaler its maximum, shared out as the replicas are.
fn counted(workload: &Workload, placed: &Placed, total: &mut Estimate) -> i64 {
    let pods = || workload.run.map_or_else(|| workload.pods(), |it| it.pods);
    let replicas = placed.replicas.unwrap_or_else(pods);
    let most = workload.around.most_replicas.zip(workload.replicas);
    match most.filter(|(most, now)| most > now && *now > 0) {
        Some((most, now)) => {
            total.autoscaled = true;
            ceiling(replicas.saturating_mul(most), now).unwrap_or(replicas)
        }
        None => replicas,
    }
}

/// An hourly amount as one of a month, or of a run.
fn monthly(workload: &Workload, hourly: Money) -> Money {
    match &workload.run {
        Some(run) => Money(run.amount(hourly.0)),
        None => hourly.per_month(),
    }
}

/// One replica's share of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    hour: Money,
    /// So many of how many nodes are paid for in advance.
    committed: (i64, i64),
}

/// One replica's share, per hour; flags are put into `flags`.
fn allocated(fleet: &Fleet, cluster: ClusterId, need: &Need, flags: &mut Estimate) -> Share {
    let shapes = &fleet.cluster(cluster).shapes;
    let fitting = shapes.iter().filter(|it| need.fit_empty(fleet, it.class) > 0);
    let usual = fitting.reduce(|best, it| if it.count > best.count { it } else { best });
    let Some((shape, price)) = usual.and_then(|it| Some((it, it.price_for(need.pinned)?))) else {
        flags.at_least = true;
        return Share::default();
    };
    flags.sample |= price.sample;
    flags.stale |= price.trust == Trust::Stale;
    flags.undated |= price.trust == Trust::Undated;
    if need.pinned {
        flags.spot = true;
        flags.interrupted = flags.interrupted.max(price.interrupts.map(|it| it.1));
    }
    let class = &fleet.classes[shape.class as usize];
    let devices = |amount: &dyn Fn(usize) -> i64| -> i64 {
        let named = fleet.extended.iter().enumerate().filter(|(_, name)| name.contains("gpu"));
        named.map(|(at, _)| amount(at)).sum()
    };
    let whole = weight(
        class.allocatable[CPU],
        class.allocatable[MEMORY],
        devices(&|at| class.extended[at]),
    );
    let own = |at: usize| need.extended.iter().filter(|it| it.0 == at).map(|it| it.1).sum();
    let part = weight(need.amounts[CPU], need.amounts[MEMORY], devices(&own));
    if whole == 0 {
        return Share::default();
    }
    let micros = (i128::from(price.hour.0) * part + whole - 1) / whole;
    let committed = if need.pinned { (0, 0) } else { (shape.committed, shape.count) };
    Share { hour: Money(i64::try_from(micros).unwrap_or(i64::MAX)), committed }
}

/// Resources as one number. What a core, a GiB and a device cost relative to each other is what cost tools agree on:
/// 0.031611, 0.004237 and 0.95 dollars an hour.
fn weight(cpu: i64, memory: i64, devices: i64) -> i128 {
    const GIB: i128 = 1 << 30;
    (i128::from(cpu) * 31_611 + i128::from(devices) * 950_000_000) * GIB
        + i128::from(memory) * 4_237_000
}

/// What a decision adds to the bill per month: free slots and nodes that it takes, as [`Decision`]s by cost count them,
/// with volumes, traffic and first charges. `room` is what was free before. `None` where a price is unknown.
pub fn marginal(
    fleet: &Fleet,
    room: &Room,
    workload: &Workload,
    policy: &CompiledPolicy,
    previous: &Previous,
    decision: &Decision,
) -> Option<Money> {
    const ALL: Percent = Percent(100);
    let (mut plain, mut pinned) = (Need::default(), Need::default());
    plain.read(fleet, workload, false);
    pinned.read(fleet, workload, true);
    let mut hourly: i128 = 0;
    let mut choices: Vec<Choice> = Vec::new();
    for it in &decision.clusters {
        let before = previous.clusters.iter().find(|old| old.name == fleet.name(it.cluster));
        let held = before.map_or(0, |old| old.replicas.unwrap_or_else(|| workload.pods()));
        let bill = extras::bill(fleet, it.cluster, workload, policy);
        if !workload.has_pods() {
            if before.is_none() {
                bill.is_complete().then_some(())?;
                hourly += i128::from(bill.first + bill.per_replica);
            }
            continue;
        }
        let more = it.replicas.unwrap_or_else(|| workload.pods()) - held;
        let Ok(more) = usize::try_from(more) else { continue };
        if more == 0 {
            continue;
        }
        // What the parts of a unit take together no curve of one replica tells.
        workload.components.is_empty().then_some(())?;
        bill.is_complete().then_some(())?;
        let extras = Extras {
            per_replica: bill.per_replica,
            first: if held > 0 { 0 } else { bill.first },
            unknown: false,
        };
        let spot = decision.spot.contains(&it.cluster);
        let need = if spot { &pinned } else { &plain };
        let pool = fleet.pool_of(it.cluster).filter(|_| !spot);
        let cluster = it.cluster;
        let curve = |pooled| {
            cheapest::curve(Site { fleet, room, cluster, need, pooled }, more, ALL, extras)
        };
        let (ways, _) = cheapest::ways(more, pool.map(|it| fleet.pools[it]), curve);
        let choice = Choice { ways, pool, used: false, least: 0, domains: Vec::new() };
        let reached = choice.room();
        cheapest::known_micros(choice.ways[0].costs[reached])?;
        // What finds no room now is placed regardless, and costs its slot once there is.
        let waiting = i64::try_from(more - reached).unwrap_or(i64::MAX);
        if waiting > 0 {
            let slot = slot(fleet, it.cluster, need)?.micros;
            hourly += i128::from(slot.saturating_add(bill.per_replica)) * i128::from(waiting);
            hourly += i128::from(if reached == 0 { extras.first } else { 0 });
        }
        choices.push(choice);
    }
    hourly += i128::from(cheapest::micros(together(fleet, &choices)));
    let hourly = Money(i64::try_from(hourly).unwrap_or(i64::MAX));
    Some(monthly(workload, hourly))
}

/// What all of them cost where each gets all that it can: only the nodes of pools are still to be shared out.
fn together(fleet: &Fleet, choices: &[Choice]) -> i128 {
    let plain: i128 = choices.iter().map(|it| it.ways[0].costs[it.room()]).sum();
    if choices.iter().all(|it| it.ways.len() == 1) {
        return plain;
    }
    let total = choices.iter().map(Choice::room).sum();
    let pools = fleet.pools.iter().map(|it| usize::try_from(*it).unwrap_or(0).min(total));
    let bounds = Bounds { clusters: (0, usize::MAX), pools: pools.collect(), ..Bounds::default() };
    let shares = cheapest::solve(choices, total, &bounds);
    shares.map_or(plain, |it| cheapest::cost_of(choices, &it.shares))
}
