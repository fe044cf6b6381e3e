//! What a replica brings along beside its part of a node: volumes, traffic, the charges of the first one in a cluster,
//! and the points that others give to the cluster (RULES 5.2, 5.6).

use federation_types::{
    money::HOURS_PER_MONTH,
    spend::{Traffic, TrafficTo},
};

use crate::{
    cheapest::{Percent, UNKNOWN},
    cost::ceiling,
    fleet::{Cluster, ClusterId, Fleet},
    policy::CompiledPolicy,
    rates::{Rate, distance},
    workload::Workload,
};

/// The charge that a Service of type LoadBalancer brings by itself.
pub(crate) const LOAD_BALANCER: &str = "load-balancer";

/// What is paid in one cluster beside nodes, in µ$/h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bill {
    /// For each replica: volumes and traffic.
    pub(crate) per_replica: i64,
    /// Once the cluster has a replica.
    pub(crate) first: i64,
    /// Some rate is unknown, and left out.
    pub(crate) unknown_per_replica: bool,
    pub(crate) unknown_first: bool,
    pub(crate) sample: bool,
}

impl Bill {
    /// Whether every rate is known.
    pub(crate) fn is_complete(&self) -> bool {
        !self.unknown_first && !self.unknown_per_replica
    }
}

/// Whether nothing is paid beside nodes, wherever it is.
fn is_plain(workload: &Workload, policy: &CompiledPolicy) -> bool {
    let spec = &policy.spec;
    workload.volumes.is_empty()
        && spec.traffic.is_empty()
        && spec.brings.is_empty()
        && !workload.load_balancer
}

/// What the workload pays in a cluster beside nodes.
pub(crate) fn bill(
    fleet: &Fleet,
    cluster: ClusterId,
    workload: &Workload,
    policy: &CompiledPolicy,
) -> Bill {
    let mut bill = Bill::default();
    if is_plain(workload, policy) {
        return bill;
    }
    let here = fleet.cluster(cluster);
    let mut sample = false;
    for it in &workload.volumes {
        match here.rates.storage(&it.class) {
            Some(rate) => {
                let month = it.gib.saturating_mul(rate.micros);
                bill.per_replica += ceiling(month, HOURS_PER_MONTH).unwrap_or(0);
                sample |= rate.sample;
            }
            None => bill.unknown_per_replica = true,
        }
    }
    let replicas = workload.pods().max(1);
    for it in &policy.spec.traffic {
        match per_gib(fleet, here, workload, it) {
            Some(rate) => {
                let month = i64::from(it.gib_per_month).saturating_mul(rate.micros);
                let hours = HOURS_PER_MONTH.saturating_mul(replicas);
                bill.per_replica += ceiling(month, hours).unwrap_or(0);
                sample |= rate.sample;
            }
            None => bill.unknown_per_replica |= it.gib_per_month > 0,
        }
    }
    let own = workload.load_balancer.then_some(LOAD_BALANCER);
    let named = policy.spec.brings.iter().map(String::as_str).filter(|it| Some(*it) != own);
    for name in named.chain(own) {
        match here.rates.charges.get(name) {
            Some(rate) => {
                bill.first += rate.micros;
                sample |= rate.sample;
            }
            None => bill.unknown_first = true,
        }
    }
    bill.sample = sample;
    bill
}

/// What a GiB of the traffic costs from there; `None` if the way or its price is unknown.
fn per_gib(fleet: &Fleet, from: &Cluster, workload: &Workload, traffic: &Traffic) -> Option<Rate> {
    match traffic.to {
        TrafficTo::Internet => from.rates.egress(federation_types::price::EgressClass::Internet),
        TrafficTo::Service => {
            let (provider, region) = fleet.services.get(&traffic.name)?;
            match distance(&from.spec, provider, region, None) {
                Some(class) => from.rates.egress(class),
                None => Some(Rate::default()),
            }
        }
        TrafficTo::Template => {
            let kind = if traffic.kind.is_empty() { "Deployment" } else { &traffic.kind };
            let peers = workload.around.peers.get(&format!("{kind} {}", traffic.name))?;
            if peers.iter().any(|it| it.name == from.name) {
                // Its own copy answers first.
                return Some(Rate::default());
            }
            let (mut sum, mut weights, mut sample) = (0_i128, 0_i128, false);
            for it in peers {
                let to = &fleet.cluster(fleet.id(&it.name)?).spec;
                let rate = match distance(&from.spec, &to.provider, &to.region, Some(&to.zones)) {
                    Some(class) => from.rates.egress(class)?,
                    None => Rate::default(),
                };
                let weight = i128::from(it.replicas.unwrap_or(1).max(1));
                sum += i128::from(rate.micros) * weight;
                weights += weight;
                sample |= rate.sample;
            }
            if weights == 0 {
                return None;
            }
            // Rounded up: by their replicas the peers share the traffic.
            let micros = i64::try_from((sum + weights - 1) / weights).ok()?;
            Some(Rate { micros, sample })
        }
    }
}

/// What decisions count in a cluster beside slots and nodes, in µ$/h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    pub(crate) per_replica: i64,
    /// With the first replica of the workload there.
    pub(crate) first: i64,
    /// Some of it is unknown, and counted as dearer than all that is known.
    pub(crate) unknown: bool,
}

impl Extras {
    /// `held`: the cluster holds the workload, and what its first replica brought is paid already.
    pub(crate) fn of(
        fleet: &Fleet,
        cluster: ClusterId,
        workload: &Workload,
        policy: &CompiledPolicy,
        objective: Percent,
        held: bool,
    ) -> Self {
        if policy.points.is_empty() && is_plain(workload, policy) {
            return Self::default();
        }
        let bill = bill(fleet, cluster, workload, policy);
        let unknown = |it: bool| if it { UNKNOWN } else { 0 };
        Self {
            per_replica: objective.of(bill.per_replica) + unknown(bill.unknown_per_replica)
                - points(fleet.cluster(cluster), policy),
            first: if held { 0 } else { objective.of(bill.first) + unknown(bill.unknown_first) },
            unknown: !bill.is_complete(),
        }
    }
}

/// What the points of a cluster are worth for each replica and hour; what is missing or expired counts as none.
pub(crate) fn points(cluster: &Cluster, policy: &CompiledPolicy) -> i64 {
    let worth = |(name, micros): &(String, i64)| {
        cluster.scores.get(name).map_or(0, |it| it.saturating_mul(*micros))
    };
    policy.points.iter().map(worth).fold(0, i64::saturating_add)
}
