//! What a cluster is worth to the workload: the parts of its score, and what one more replica there costs.

use federation_types::{money::Money, review::ScorePart};

use super::Teller;
use crate::{
    cheapest::{self, Curve, Percent, Site},
    cost,
    extras::{self, Extras},
    fleet::ClusterId,
};

impl Teller<'_> {
    pub(super) fn score(&self, id: ClusterId) -> Vec<ScorePart> {
        let money = self.policy.money;
        let mut parts = Vec::new();
        let mut part = |name: &str, micros: i64| {
            parts.push(ScorePart { name: name.to_owned(), micros });
        };
        if self.workload.has_pods()
            && let Some(slot) = cost::slot(self.fleet, id, self.need)
        {
            part("cost", slot.micros.saturating_mul(money.cost) / 100);
        }
        let bill = extras::bill(self.fleet, id, self.workload, self.policy);
        for (name, micros) in [("extras", bill.per_replica), ("first", bill.first)] {
            if micros > 0 && (name == "extras" || !self.holds(id)) {
                part(name, micros.saturating_mul(money.cost) / 100);
            }
        }
        if !self.policy.points.is_empty() {
            part("scores", -extras::points(self.fleet.cluster(id), self.policy));
        }
        if !self.policy.spec.near.is_empty() {
            let near = &self.policy.spec.near;
            let ms = crate::mask::latency(self.fleet.cluster(id), near);
            part("latency", i64::from(ms).saturating_mul(money.per_ms));
        }
        if !self.holds(id) && money.per_move > 0 {
            part("stickiness", money.per_move);
        }
        parts
    }

    /// What one more replica would add, as a curve of one step.
    fn next(&self, id: ClusterId) -> Curve {
        let all = Percent(100);
        let extras = Extras::of(self.fleet, id, self.workload, self.policy, all, self.holds(id));
        let worth = extras::points(self.fleet.cluster(id), self.policy);
        // Points are no bill.
        let extras = Extras { per_replica: extras.per_replica + worth, ..extras };
        let pooled = self.fleet.pool_of(id).map_or(0, |it| self.fleet.pools[it]);
        let (fleet, room, need) = (self.fleet, self.room, self.need);
        cheapest::curve(Site { fleet, room, cluster: id, need, pooled }, 1, all, extras)
    }

    /// µ$/h of one more replica; `None` where it is not known or there is no room.
    pub(super) fn one_more(&self, id: ClusterId) -> Option<i64> {
        if !self.workload.components.is_empty() {
            return None;
        }
        let curve = self.next(id);
        let known = self.workload.has_pods() && !curve.unknown;
        curve.costs.get(1).filter(|_| known).map(|it| cheapest::micros(*it))
    }

    /// What one more replica would add to the bill, per month.
    pub(super) fn marginal(&self, id: ClusterId) -> String {
        if !self.workload.has_pods() {
            return Money::ZERO.to_string();
        }
        if !self.workload.components.is_empty() {
            // Its parts take nodes of several kinds together, which no curve of one replica tells.
            return "unknown".to_owned();
        }
        let curve = self.next(id);
        match curve.costs.get(1) {
            None => "no room".to_owned(),
            Some(_) if curve.unknown => "unknown".to_owned(),
            Some(cost) => Money(cheapest::micros(*cost)).per_month().to_string(),
        }
    }
}
