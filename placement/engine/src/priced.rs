//! Sharing out where money decides: growth to where it costs least.

use crate::{
    attempt::Pass,
    cheapest::{self, Bounds, Choice, Percent, Shares},
    divide::Party,
    fleet::ClusterId,
    place::Outcome,
    report::Rule,
    select::{Candidate, Unfit, Wanted},
};

impl Pass<'_> {
    /// Growth to where it costs least. Returns how many replicas find no room.
    pub(crate) fn cheapest(
        &mut self,
        total: i64,
        max: usize,
        candidates: &mut Vec<Candidate>,
    ) -> Result<i64, Outcome> {
        let rules = &self.policy.spread;
        let binds = |at: &usize| {
            let it = &rules[*at];
            it.key != "cluster" && it.hard && (it.min > 1 || it.max < usize::MAX)
        };
        let binding: Vec<usize> = (0..rules.len()).filter(binds).collect();
        if binding.len() > 1 {
            // More than one kind of domain: clusters are chosen first, money decides among them.
            let grows = self.any_grows(candidates);
            let room = if self.partial || grows { 0 } else { total };
            let wanted = Wanted { max_clusters: max, room, few: false };
            self.select_or_search(candidates, wanted)?;
        }
        let primary = binding.first().copied();
        let domain = |it: &Candidate| primary.map_or(0, |rule| self.domain(rule, it));
        candidates.sort_unstable_by_key(|it| (domain(it), it.cluster));
        let held: i64 = candidates.iter().map(|it| it.held).sum();
        let wanted = total - held;
        let most = usize::try_from(wanted).unwrap_or(0);
        let least = self.policy.min_per_cluster();
        let per_cluster = self.policy.max_per_cluster();
        let objective = Percent(self.policy.money.cost);
        let choices: Vec<Choice> = candidates
            .iter()
            .map(|it| {
                let room = usize::try_from(per_cluster - it.held).unwrap_or(0).min(most);
                let room = if it.open { room } else { 0 };
                // A wish that is not met counts as a move.
                let moves = i64::from(!it.kept) + i64::from(self.lonely(it.cluster));
                let mut extras = self.extras(it.cluster, it.held > 0);
                extras.per_replica += self.latency_score(it.cluster);
                extras.per_replica += moves * self.policy.money.per_move;
                let id = ClusterId(it.cluster);
                let (fleet, need) = (self.fleet, self.need);
                Choice {
                    curve: cheapest::curve(fleet, self.room, id, need, room, objective, extras),
                    used: it.held > 0,
                    least: usize::try_from(least - it.held).unwrap_or(0),
                    domain: domain(it),
                }
            })
            .collect();
        let room: usize = choices.iter().map(|it| it.curve.costs.len().saturating_sub(1)).sum();
        let missing = most.saturating_sub(room);
        let short = i64::try_from(missing).unwrap_or(i64::MAX);
        if missing > 0 && !self.partial {
            return Err(Outcome::NotEnoughRoom { missing: short });
        }
        let (min_clusters, min_domains, max_domains) = self.cheapest_minima(primary);
        let bounds = Bounds { clusters: (min_clusters, max), domains: (min_domains, max_domains) };
        let solved = self.solve(candidates, &choices, most - missing, bounds, primary);
        for (it, choice) in candidates.iter().zip(&choices) {
            self.rules[it.cluster as usize] = match choice.curve {
                _ if choice.curve.costs.len() < 2 => Rule::Room,
                cheapest::Curve { unknown: true, .. } => Rule::PriceUnknown,
                _ => Rule::Dearer,
            };
        }
        let Some(shares) = solved else {
            return Err(self.no_cheapest(&choices, candidates, wanted, bounds, primary));
        };
        self.gap = shares.gap;
        let mut order: Vec<(Candidate, i64)> = candidates
            .iter()
            .zip(&shares.shares)
            .map(|(it, share)| (*it, it.held + i64::try_from(*share).unwrap_or(0)))
            .collect();
        order.sort_unstable_by_key(|it| it.0.cluster);
        let mut parties = std::mem::take(&mut self.scratch.parties);
        parties.clear();
        candidates.clear();
        for (it, seats) in order {
            candidates.push(it);
            parties.push(Party { seats, cap: i64::MAX, ..Party::default() });
        }
        let minima = self.minima(&mut parties, candidates, least);
        self.scratch.parties = parties;
        minima?;
        Ok(short)
    }

    /// The cheapest way. Where nothing is known of traffic, it stays with one provider, or with those that hold the
    /// workload already, unless the spread or the room demands more (RULES 5.6).
    fn solve(
        &self,
        candidates: &[Candidate],
        choices: &[Choice],
        total: usize,
        bounds: Bounds,
        primary: Option<usize>,
    ) -> Option<Shares> {
        let any = || cheapest::solve(choices, total, bounds);
        if !self.policy.spec.traffic.is_empty() {
            return any();
        }
        let of = |it: &Candidate| self.fleet.provider.of[it.cluster as usize];
        let mut providers: Vec<u32> = candidates.iter().map(of).collect();
        let mut held: Vec<u32> = candidates.iter().filter(|it| it.held > 0).map(of).collect();
        for list in [&mut providers, &mut held] {
            list.sort_unstable();
            list.dedup();
        }
        if primary.is_some_and(|it| self.policy.spread[it].key == "provider") {
            let (min, max) = bounds.domains;
            let few = Bounds { domains: (min, max.min(min.max(held.len()).max(1))), ..bounds };
            return cheapest::solve(choices, total, few).or_else(any);
        }
        let unbound = any();
        let mut used: Vec<u32> = candidates
            .iter()
            .zip(unbound.iter().flat_map(|it| &it.shares))
            .filter(|(at, share)| at.held > 0 || **share > 0)
            .map(|(at, _)| of(at))
            .collect();
        used.sort_unstable();
        used.dedup();
        if used.len() <= held.len().max(1) {
            // The best of all ways does so by itself, or there is none at all.
            return unbound;
        }
        let within = |allowed: &[u32]| {
            let narrow = candidates.iter().zip(choices).map(|(at, choice)| {
                if allowed.contains(&of(at)) { choice.clone() } else { choice.closed() }
            });
            let shares = cheapest::solve(&narrow.collect::<Vec<_>>(), total, bounds)?;
            Some((cheapest::cost_of(choices, &shares), shares))
        };
        let best = if held.is_empty() {
            providers.iter().filter_map(|it| within(&[*it])).min_by_key(|it| it.0)
        } else {
            within(&held)
        };
        best.map(|it| it.1).or(unbound)
    }

    fn cheapest_minima(&self, primary: Option<usize>) -> (usize, usize, usize) {
        let rules = &self.policy.spread;
        let of_clusters = rules.iter().filter(|it| it.key == "cluster" && it.hard);
        let clusters = of_clusters.map(|it| it.min).max().unwrap_or(0);
        match primary {
            Some(rule) => (clusters, rules[rule].min, rules[rule].max),
            None => (clusters, 0, usize::MAX),
        }
    }

    /// Why there is no cheapest way: too few clusters or domains, or no room within the bounds.
    fn no_cheapest(
        &self,
        choices: &[Choice],
        candidates: &[Candidate],
        wanted: i64,
        bounds: Bounds,
        primary: Option<usize>,
    ) -> Outcome {
        let usable = |it: &Choice| it.used || it.curve.costs.len() > it.least.max(1);
        let clusters = choices.iter().filter(|it| usable(it)).count();
        let cluster_rule = self.policy.spread.iter().position(|it| it.key == "cluster");
        if let Some(rule) = cluster_rule.filter(|_| clusters < bounds.clusters.0) {
            return self.unfit(Unfit::Spread { rule, found: clusters });
        }
        if let Some(rule) = primary {
            let mut domains: Vec<u32> = choices
                .iter()
                .zip(candidates)
                .filter(|(it, _)| usable(it))
                .map(|(_, it)| self.domain(rule, it))
                .collect();
            domains.sort_unstable();
            domains.dedup();
            if domains.len() < bounds.domains.0 {
                return self.unfit(Unfit::Spread { rule, found: domains.len() });
            }
        }
        let mut rooms: Vec<usize> =
            choices.iter().map(|it| it.curve.costs.len().saturating_sub(1)).collect();
        rooms.sort_unstable_by_key(|it| std::cmp::Reverse(*it));
        let best: usize = rooms.iter().take(bounds.clusters.1).sum();
        let missing = wanted - i64::try_from(best).unwrap_or(i64::MAX);
        Outcome::NotEnoughRoom { missing: missing.max(1) }
    }
}
