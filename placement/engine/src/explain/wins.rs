//! With what an eligible cluster would be chosen: each answer is found by deciding once more with the change made, so that
//! it is never a guess.

use federation_types::{money::Money, policy::WhenUnsatisfiable, review::Counterfactual};

use super::Teller;
use crate::{
    fleet::{ClusterId, Fleet},
    place::place,
    policy::{CompiledPolicy, Mode},
    report::Rule,
    workload::Workload,
};

/// Of so many clusters at most it is told; about any one it can be asked.
const TOLD: usize = 16;
/// In larger fleets of fewer: each answer takes some fifty decisions, and each decision looks at every cluster.
const LOOKS: usize = 8_192;
/// So many nodes more are tried, doubled each time.
const NODES: i64 = 64;
/// Prices per hour up to this are tried.
const DEAREST: i64 = 1_000_000_000;

/// Of how many clusters that could be chosen and are not it is told with what they would be.
pub(super) fn told(fleet: &Fleet) -> usize {
    (LOOKS / fleet.len().max(1)).clamp(1, TOLD)
}

impl Teller<'_> {
    /// What would make the cluster chosen, each alone; nothing where no such change was found. `None`: it was not looked
    /// for, as it is for the first ones in the order of names.
    pub(super) fn wins_if(
        &mut self,
        id: ClusterId,
        rule: Rule,
    ) -> Option<Vec<Vec<Counterfactual>>> {
        if !matches!(rule, Rule::NotNeeded | Rule::Room | Rule::Dearer | Rule::PriceUnknown) {
            return Some(Vec::new());
        }
        self.told = self.told.checked_sub(1)?;
        let mode = self.policy.mode(self.workload);
        let mut found = Vec::new();
        if matches!(rule, Rule::Dearer | Rule::PriceUnknown) {
            found.extend(self.by_price(id));
        }
        if mode.by_room() && !matches!(rule, Rule::PriceUnknown) {
            found.extend(self.by_room(id).map(|it| vec![it]));
        }
        if rule == Rule::NotNeeded {
            found.extend(self.by_bound(id));
        }
        if mode.divides() && matches!(rule, Rule::NotNeeded | Rule::Dearer) {
            found.extend(self.by_replicas(id).map(|it| vec![it]));
        }
        if found.is_empty() && matches!(rule, Rule::NotNeeded | Rule::Dearer) {
            found.extend(self.by_policy(id).map(|it| vec![it]));
        }
        Some(found)
    }

    /// Whether the cluster is chosen with these.
    fn wins(
        &self,
        fleet: &Fleet,
        workload: &Workload,
        policy: &CompiledPolicy,
        id: ClusterId,
        more: Option<&Counterfactual>,
    ) -> bool {
        let mut room = self.room.clone();
        if let Some(Counterfactual::RoomFreed { nodes, .. }) = more
            && !room.grant(fleet, id, self.need, *nodes)
        {
            return false;
        }
        let decision = place(fleet, &mut room, workload, policy, self.previous);
        decision.outcome.is_placed()
            && decision.clusters.iter().any(|it| it.cluster == id && it.replicas != Some(0))
    }

    /// The highest price of its nodes at which it wins; kinds of nodes in their present proportion.
    fn by_price(&self, id: ClusterId) -> Option<Vec<Counterfactual>> {
        let own = self.fleet.cluster(id);
        let mut fleet = self.fleet.clone();
        let mut at = |micros: i64| {
            let Fleet { clusters, classes, .. } = &mut fleet;
            // A price is that of every cluster which it fits.
            let rows: Vec<_> = own
                .shapes
                .iter()
                .map(|it| &self.fleet.classes[it.class as usize])
                .map(|it| (it.zone.as_str(), it.instance_type.as_str()))
                .collect();
            for it in clusters {
                if it.spec.provider != own.spec.provider
                    || (!own.spec.region.is_empty() && it.spec.region != own.spec.region)
                {
                    continue;
                }
                for shape in &mut it.shapes {
                    let class = &classes[shape.class as usize];
                    let fits = rows.iter().any(|(zone, kind)| {
                        class.instance_type == *kind && (zone.is_empty() || class.zone == *zone)
                    });
                    if fits {
                        let hour = Money(micros) + shape.licences;
                        shape.price = Some(crate::price::Price::known(hour));
                    }
                }
            }
            self.wins(&fleet, self.workload, self.policy, id, None)
        };
        if !at(0) {
            return None;
        }
        // What wins at one price wins at every lower one; the search ends on a price that was tried.
        let (mut wins, mut loses) = (0, DEAREST);
        while loses - wins > 100 {
            let middle = wins + (loses - wins) / 2;
            if at(middle) { wins = middle } else { loses = middle }
        }
        let mut rows: Vec<_> = own
            .shapes
            .iter()
            .map(|it| {
                let class = &self.fleet.classes[it.class as usize];
                Counterfactual::Priced {
                    provider: own.spec.provider.clone(),
                    region: own.spec.region.clone(),
                    zone: class.zone.clone(),
                    instance_type: class.instance_type.clone(),
                    usd_hour: usd(wins),
                }
            })
            .collect();
        rows.dedup();
        (!rows.is_empty()).then_some(rows)
    }

    /// The fewest more nodes with room for all of it.
    fn by_room(&self, id: ClusterId) -> Option<Counterfactual> {
        if !self.workload.components.is_empty() {
            return None;
        }
        let mut nodes = 1;
        while nodes <= NODES {
            let Counterfactual::RoomFreed { free, labels, .. } = self.room_for(1) else {
                return None;
            };
            let change = Counterfactual::RoomFreed { nodes, free, labels };
            if self.wins(self.fleet, self.workload, self.policy, id, Some(&change)) {
                return Some(change);
            }
            nodes *= 2;
        }
        None
    }

    /// A larger number of clusters: every bound below it has to be raised.
    fn by_bound(&self, id: ClusterId) -> Option<Vec<Counterfactual>> {
        let (max, whose) = self.policy.max_clusters.as_ref()?;
        let to = (1..=8).map(|more| max.saturating_add(more)).find(|to| {
            let mut policy = self.policy.clone();
            policy.max_clusters = Some((*to, whose.clone()));
            self.wins(self.fleet, self.workload, &policy, id, None)
        })?;
        let raised = |policy: &str, field: String| Counterfactual::Raised {
            policy: policy.to_owned(),
            field,
            to: i64::from(to),
        };
        let spread = self.policy.spec.spread.iter().enumerate().filter(|(_, it)| {
            it.topology_key == "cluster"
                && it.when_unsatisfiable != Some(WhenUnsatisfiable::ScheduleAnyway)
                && it.max.is_some_and(|max| max < to)
        });
        let limits =
            self.policy.limits.iter().filter(|it| it.max_clusters.is_some_and(|max| max < to));
        let own = spread.map(|(at, _)| raised("", format!("spec.spread[{at}].max")));
        let others = limits.map(|it| raised(&it.policy, "spec.limits.maxClusters".to_owned()));
        Some(own.chain(others).collect())
    }

    /// A policy that leaves no choice.
    fn by_policy(&self, id: ClusterId) -> Option<Counterfactual> {
        let at = self.check.group;
        let cluster = self.fleet.name(id).to_owned();
        let mut policy = self.policy.clone();
        let group = policy.groups.get_mut(at)?;
        group.selector.spec.names = vec![cluster.clone()];
        if policy.spec.affinities.is_empty() {
            group.label = format!("affinities[{at}]");
        }
        // What is known of a policy is known by its id, and this is another one.
        policy.id ^= u64::from(id.0) + 1;
        self.wins(self.fleet, self.workload, &policy, id, None).then(|| Counterfactual::Alone {
            field: format!("spec.affinities[{at}].clusters.names"),
            cluster,
        })
    }

    /// More replicas, up to four times as many.
    fn by_replicas(&self, id: ClusterId) -> Option<Counterfactual> {
        let now = self.workload.replicas.filter(|it| *it > 0)?;
        let at = |to: i64| {
            let workload = Workload { replicas: Some(to), ..self.workload.clone() };
            self.wins(self.fleet, &workload, self.policy, id, None)
        };
        let steps = [now + 1, now + 2, now + now / 2, now.saturating_mul(2), now.saturating_mul(4)];
        steps
            .into_iter()
            .filter(|it| *it > now)
            .find(|to| at(*to))
            .map(|to| Counterfactual::Replicas { to })
    }
}

/// Whether the workload is stable: what runs stays, so that no price and no room moves it.
pub(super) fn stands(workload: &Workload, held: i64, mode: Mode) -> bool {
    mode.divides() && held > 0 && workload.replicas.is_some_and(|it| it <= held)
}

/// Dollars with six places.
fn usd(micros: i64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
