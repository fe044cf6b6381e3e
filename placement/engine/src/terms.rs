//! What a policy lets a workload do, cluster by cluster: what something that places many workloads at once must keep to.

use crate::{
    cost::{self, ceiling},
    extras,
    fleet::{ClusterId, Domains, Fleet},
    place::{Placed, Previous},
    policy::{CompiledPolicy, Mode},
    room::{Need, Room},
    workload::Workload,
};

/// The bounds of one workload under its policy.
#[derive(Clone, Debug)]
pub struct Terms {
    pub mode: Mode,
    pub min_per_cluster: i64,
    pub max_per_cluster: Option<i64>,
    /// The least number of clusters, and the most.
    pub clusters: (i64, Option<i64>),
    /// Over anything else than clusters, where it must be kept.
    pub spread: Vec<SpreadTerms>,
    /// µ$/h of a replica that starts in another cluster.
    pub per_move: i64,
    /// Not above this, in µ$ per month.
    pub max_monthly: Option<i64>,
    /// One for each cluster of the fleet.
    pub clusters_terms: Vec<ClusterTerms>,
    need: Need,
}

/// Bounds on the number of domains.
#[derive(Clone, Debug)]
pub struct SpreadTerms {
    pub key: String,
    pub min: i64,
    pub max: Option<i64>,
    /// By cluster; `None` where it has no such property.
    pub domains: Vec<Option<u32>>,
}

/// One cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterTerms {
    /// Replicas may start there.
    pub open: bool,
    /// What runs there may stay.
    pub keeps: bool,
    /// µ$/h of a replica beside its slot: its way to the services it is to be near, volumes, traffic.
    pub beside: i64,
    /// µ$/h once any runs there: load balancers and the like.
    pub first: i64,
    /// Some of that is not known.
    pub unknown: bool,
}

impl Terms {
    /// For the affinity group of the decision before, or the first.
    pub fn of(
        fleet: &Fleet,
        room: &mut Room,
        workload: &Workload,
        policy: &CompiledPolicy,
        previous: &Previous,
    ) -> Self {
        let masks = room.masks(fleet, policy);
        let mut need = Need::default();
        need.read(fleet, workload, false);
        let group = policy.groups.iter().position(|it| it.label == previous.affinity).unwrap_or(0);
        let mask = &masks.groups[group];
        let serving = fleet.serving(&workload.api);
        let cluster = |at: usize| {
            let bill = extras::bill(fleet, ClusterId::of(at), workload, policy);
            let ms = masks.latency.as_ref().map_or(0, |it| i64::from(it[at]));
            ClusterTerms {
                open: mask.open.contains(at) && serving.is_some_and(|it| it.contains(at)),
                keeps: mask.keep.contains(at) && !fleet.lost.contains(at),
                beside: ms.saturating_mul(policy.money.per_ms).saturating_add(bill.per_replica),
                first: bill.first,
                unknown: !bill.is_complete(),
            }
        };
        let number = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
        let bound = |it: usize| (it < usize::MAX).then(|| number(it));
        let hard = policy.spread.iter().zip(&masks.domains).filter(|it| it.0.hard);
        let over_clusters = hard.clone().filter(|it| it.0.key == "cluster");
        let min_clusters = over_clusters.map(|it| number(it.0.min)).max().unwrap_or(1);
        let domain = |it: &u32| (*it != Domains::NONE).then_some(*it);
        // What it sends is not declared: it is not split over more providers than today (RULES 5.6).
        let spreads = policy.spread.iter().any(|it| it.hard && it.key == "provider");
        let undeclared = (policy.spec.traffic.is_empty() && !spreads).then(|| {
            let ids = previous.clusters.iter().filter_map(|it| fleet.id(&it.name));
            let of = |id: ClusterId| fleet.provider.of[id.at()];
            let today: std::collections::BTreeSet<u32> = ids.map(of).collect();
            SpreadTerms {
                key: "provider".to_owned(),
                min: 1,
                max: Some(number(today.len().max(1))),
                domains: fleet.provider.of.iter().map(domain).collect(),
            }
        });
        Self {
            mode: policy.mode(workload),
            min_per_cluster: policy.min_per_cluster().max(1),
            max_per_cluster: Some(policy.max_per_cluster()).filter(|it| *it < i64::MAX),
            clusters: (
                min_clusters.max(1),
                policy.max_clusters.as_ref().map(|(max, _)| i64::from(*max)),
            ),
            spread: undeclared
                .into_iter()
                .chain(hard.filter(|it| it.0.key != "cluster").map(|(rule, domains)| SpreadTerms {
                    key: rule.key.clone(),
                    min: number(rule.min),
                    max: bound(rule.max),
                    domains: domains.of.iter().map(domain).collect(),
                }))
                .collect(),
            per_move: policy.money.per_move,
            max_monthly: policy.max_monthly.as_ref().map(|(max, _)| max.0),
            clusters_terms: (0..fleet.len()).map(cluster).collect(),
            need,
        }
    }

    /// Whether the difference between domains is bounded, which numbers of domains do not say.
    pub fn skews(policy: &CompiledPolicy) -> bool {
        policy.spread.iter().any(|it| it.max_skew.is_some())
    }

    /// What one replica takes: the four base resources (a pod is one), and extended ones by their place in
    /// [`Fleet::extended`].
    pub fn amounts(&self) -> (&[i64; 4], &[(usize, i64)]) {
        (&self.need.amounts, &self.need.extended)
    }

    /// How many replicas fit on an empty node of a class of the fleet; none where it may not run.
    pub fn fit_empty(&self, fleet: &Fleet, class: u32) -> i64 {
        self.need.fit_empty(fleet, class)
    }

    /// Whether the workload may run on nodes of a class.
    pub fn admits(&self, class: u32) -> bool {
        self.need.admits(class)
    }

    /// µ$/h of one slot on a node of a class: its part of the node's price.
    pub fn slot_price(&self, fleet: &Fleet, class: u32, hour: i64) -> Option<i64> {
        ceiling(hour, self.fit_empty(fleet, class))
    }

    /// The allocated estimate of all replicas on one cluster, in µ$ per month; `None` where a price is unknown.
    pub fn monthly(
        fleet: &Fleet,
        workload: &Workload,
        policy: &CompiledPolicy,
        cluster: ClusterId,
    ) -> Option<i64> {
        let placed = Placed { cluster, replicas: workload.replicas };
        let estimate = cost::estimate(fleet, workload, policy, &[placed], &[]);
        (!estimate.at_least).then_some(estimate.monthly.0)
    }
}
