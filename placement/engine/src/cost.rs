//! What replicas cost: the price of a slot, by which decisions rank clusters, and the allocated estimate, which budgets
//! bound and people read.

use federation_types::money::Money;

use crate::{
    fleet::{CPU, ClusterId, Fleet, MEMORY},
    place::Placed,
    price::Trust,
    room::Need,
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
            let price = it.price.as_ref()?;
            let fit = need.fit_empty(fleet, it.class);
            let per_slot = ceiling(price.ranked().0, fit)?;
            Some(Slot { micros: per_slot, undated: price.trust == Trust::Undated })
        })
        .min_by_key(|it| (it.micros, it.undated))
}

/// ⌈amount ÷ parts⌉; `None` for no parts.
pub(crate) fn ceiling(amount: i64, parts: i64) -> Option<i64> {
    (parts > 0).then(|| amount.div_euclid(parts) + i64::from(amount.rem_euclid(parts) > 0))
}

/// The allocated estimate of a placement, and how far to trust it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    pub monthly: Money,
    /// Some price is unknown: the total is a lower bound.
    pub at_least: bool,
    pub stale: bool,
    pub undated: bool,
    pub sample: bool,
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
        say(self.monthly > Money::ZERO, "without egress");
        notes
    }
}

/// What a placement costs per month: each replica its share of the node that most nodes of the cluster are like,
/// by cpu, memory and devices.
pub fn estimate(fleet: &Fleet, workload: &Workload, placed: &[Placed]) -> Estimate {
    let mut need = Need::default();
    need.read(fleet, workload);
    let mut total = Estimate::default();
    if !workload.has_pods() {
        return total;
    }
    let mut hourly = Money::ZERO;
    for it in placed {
        let replicas = it.replicas.unwrap_or_else(|| workload.pods());
        if replicas > 0 {
            hourly += allocated(fleet, it.cluster, &need, &mut total).times(replicas);
        }
    }
    total.monthly = hourly.per_month();
    total
}

/// One replica's share, per hour; flags are put into `flags`.
pub(crate) fn allocated(
    fleet: &Fleet,
    cluster: ClusterId,
    need: &Need,
    flags: &mut Estimate,
) -> Money {
    let shapes = &fleet.cluster(cluster).shapes;
    let fitting = shapes.iter().filter(|it| need.fit_empty(fleet, it.class) > 0);
    let usual = fitting.reduce(|best, it| if it.count > best.count { it } else { best });
    let Some((shape, price)) = usual.and_then(|it| Some((it, it.price.as_ref()?))) else {
        flags.at_least = true;
        return Money::ZERO;
    };
    flags.sample |= price.sample;
    flags.stale |= price.trust == Trust::Stale;
    flags.undated |= price.trust == Trust::Undated;
    let class = &fleet.classes[shape.class as usize];
    let devices = |amount: &dyn Fn(usize) -> i64| -> i64 {
        let named = fleet.extended.iter().enumerate().filter(|(_, name)| name.contains("gpu"));
        named.map(|(at, _)| amount(at)).sum()
    };
    let whole =
        share(class.allocatable[CPU], class.allocatable[MEMORY], devices(&|at| class.extended[at]));
    let own = |at: usize| need.extended.iter().filter(|it| it.0 == at).map(|it| it.1).sum();
    let part = share(need.amounts[CPU], need.amounts[MEMORY], devices(&own));
    if whole == 0 {
        return Money::ZERO;
    }
    let micros = (i128::from(price.hour.0) * part + whole - 1) / whole;
    Money(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// Resources as one number. What a core, a GiB and a device cost relative to each other is what cost tools agree on:
/// 0.031611, 0.004237 and 0.95 dollars an hour.
fn share(cpu: i64, memory: i64, devices: i64) -> i128 {
    const GIB: i128 = 1 << 30;
    (i128::from(cpu) * 31_611 + i128::from(devices) * 950_000_000) * GIB
        + i128::from(memory) * 4_237_000
}
