//! Sharing out where money decides: growth to where it costs least.

use crate::{
    attempt::Pass,
    cheapest::{self, Bounds, Choice, Percent, Shares, Site, Way},
    divide::Party,
    fleet::{ClusterId, Domains},
    place::Outcome,
    report::Rule,
    room::Need,
    select::{Candidate, Unfit, Wanted},
};

/// The place of the way on spot nodes, where there is one.
const SPOT: usize = 1;

impl Pass<'_> {
    /// Growth to where it costs least. Returns how many replicas find no room.
    pub(crate) fn cheapest(
        &mut self,
        total: i64,
        max: usize,
        candidates: &mut Vec<Candidate>,
    ) -> Result<i64, Outcome> {
        let rules = &self.policy.spread;
        let hard = || (0..rules.len()).filter(|at| rules[*at].key != "cluster" && rules[*at].hard);
        let lacks = |rule: &usize| {
            let none = |it: &Candidate| it.held > 0 && self.domain(*rule, it) == Domains::NONE;
            candidates.iter().any(none)
        };
        if let Some(rule) = hard().find(lacks) {
            // What runs where the rule has no domain has to go.
            let found = domains_of(candidates.iter(), |it| self.domain(rule, it)).len();
            return Err(self.unfit(Unfit::Spread { rule, found }));
        }
        let binding: Vec<usize> =
            hard().filter(|at| rules[*at].min > 1 || rules[*at].max < usize::MAX).collect();
        candidates.sort_unstable_by_key(|it| it.cluster);
        let held: i64 = candidates.iter().map(|it| it.held).sum();
        let wanted = total - held;
        let most = usize::try_from(wanted).unwrap_or(0);
        let least = self.policy.min_per_cluster();
        let (choices, unknown) = self.choices(candidates, most, &binding, None);
        let room: usize = choices.iter().map(Choice::room).sum();
        let missing = most.saturating_sub(room);
        let short = i64::try_from(missing).unwrap_or(i64::MAX);
        if missing > 0 && !self.partial {
            return Err(Outcome::NotEnoughRoom { missing: short });
        }
        let of_clusters = rules.iter().filter(|it| it.key == "cluster" && it.hard);
        let min_clusters = of_clusters.map(|it| it.min).max().unwrap_or(0);
        let domains = binding.iter().map(|at| (rules[*at].min, rules[*at].max)).collect();
        let pools = self.fleet.pools.iter();
        let bounds = Bounds {
            clusters: (min_clusters, max),
            domains,
            spot: 0,
            pools: pools.map(|it| usize::try_from(*it).unwrap_or(0).min(most)).collect(),
        };
        let asked = Asked { bounds, binding: &binding, total: most - missing };
        let mut solved = None;
        let mut pinned = false;
        if let Some(share) = self.spot_share(candidates, total - short) {
            // Less than all on spot nodes takes two copies (RULES 5.6).
            let clusters = (min_clusters.max(2), max);
            let bounds = Bounds { clusters, spot: share, ..asked.bounds.clone() };
            let two = Asked { bounds, ..asked };
            let (with, _) = self.choices(candidates, most, &binding, Some(total));
            solved = self.solve(candidates, &with, &two);
            pinned = solved.is_some();
            if !pinned {
                solved = self.solve(candidates, &choices, &two);
            }
        }
        if solved.is_none() {
            solved = self.solve(candidates, &choices, &asked);
        }
        if solved.is_none() && binding.len() > 1 {
            solved = self.solve_chosen(candidates, &choices, &asked)?;
        }
        for ((it, choice), unknown) in candidates.iter().zip(&choices).zip(unknown) {
            self.rules[it.cluster as usize] = match choice.room() {
                0 => Rule::Room,
                _ if unknown => Rule::PriceUnknown,
                _ => Rule::Dearer,
            };
        }
        let Some(shares) = solved else {
            return Err(self.no_cheapest(&choices, candidates, wanted, &asked));
        };
        self.gap = shares.gap;
        let mut order: Vec<(Candidate, i64, bool)> = candidates
            .iter()
            .zip(&shares.shares)
            .map(|(it, share)| {
                let seats = it.held + i64::try_from(share.replicas).unwrap_or(0);
                // The plain way is the first; what is pinned already stays so.
                let spot = pinned && share.replicas > 0 && share.way == SPOT;
                (*it, seats, spot || self.on_spot.contains(&it.cluster))
            })
            .collect();
        order.sort_unstable_by_key(|it| it.0.cluster);
        let mut parties = std::mem::take(&mut self.scratch.parties);
        parties.clear();
        candidates.clear();
        let mut pins = Vec::new();
        for (it, seats, spot) in order {
            if spot && seats > 0 {
                pins.push(ClusterId(it.cluster));
            }
            candidates.push(it);
            parties.push(Party { seats, cap: i64::MAX, ..Party::default() });
        }
        let seats: Vec<i64> = parties.iter().map(|it| it.seats).collect();
        let minima = self.minima(&mut parties, candidates, least);
        let same = seats.iter().zip(&parties).all(|(seats, party)| *seats == party.seats);
        self.pins = (pinned && same).then_some(pins);
        self.scratch.parties = parties;
        minima?;
        Ok(short)
    }

    /// What each can get at which cost, and whether that is known. With `spot`, the replicas in all, also on spot nodes:
    /// what is pinned grows there only, what runs elsewhere never does.
    fn choices(
        &self,
        candidates: &[Candidate],
        most: usize,
        binding: &[usize],
        spot: Option<i64>,
    ) -> (Vec<Choice>, Vec<bool>) {
        let least = self.policy.min_per_cluster();
        let per_cluster = self.policy.max_per_cluster();
        let objective = Percent(self.policy.money.cost);
        let mut pinned = Need::default();
        if spot.is_some() {
            pinned.read(self.fleet, self.workload, true);
        }
        let choice = |it: &Candidate| {
            let room = usize::try_from(per_cluster - it.held).unwrap_or(0).min(most);
            let room = if it.open { room } else { 0 };
            // A wish that is not met counts as a move.
            let moves = i64::from(!it.kept) + i64::from(self.lonely(it.cluster));
            let mut extras = self.extras(it.cluster, it.held > 0);
            extras.per_replica += self.latency_score(it.cluster);
            extras.per_replica += moves * self.policy.money.per_move;
            let (fleet, id) = (self.fleet, ClusterId(it.cluster));
            let curve = |need: &Need, pooled| {
                cheapest::curve(
                    Site { fleet, room: self.room, cluster: id, need, pooled },
                    room,
                    objective,
                    extras,
                )
            };
            let pool = fleet.pool_of(id);
            let idle = pool.map(|it| fleet.pools[it]);
            let (mut ways, unknown) = cheapest::ways(room, idle, |nodes| curve(self.need, nodes));
            if spot.is_some() {
                let stays = self.on_spot.contains(&it.cluster);
                let cheaper = curve(&pinned, 0);
                if stays {
                    ways = vec![Way::plain(vec![0])];
                }
                if (it.held == 0 || stays) && !unknown && !cheaper.unknown {
                    ways.insert(SPOT, Way { costs: cheaper.costs, spot: true, nodes: 0 });
                } else {
                    ways.insert(SPOT, Way { costs: vec![0], spot: true, nodes: 0 });
                }
            }
            let choice = Choice {
                ways,
                pool,
                used: it.held > 0,
                least: usize::try_from(least - it.held).unwrap_or(0),
                domains: binding.iter().map(|rule| self.domain(*rule, it)).collect(),
            };
            (choice, unknown)
        };
        candidates.iter().map(choice).unzip()
    }

    /// How many replicas may be added on spot nodes, where that is a part of all.
    fn spot_share(&self, candidates: &[Candidate], total: i64) -> Option<usize> {
        let percent = self.policy.spec.spot.as_ref()?.percent;
        if percent >= 100 || !self.workload.has_pods() {
            return None;
        }
        let held = candidates.iter().filter(|it| self.on_spot.contains(&it.cluster));
        let held: i64 = held.map(|it| it.held).sum();
        let all = total.saturating_mul(i64::from(percent)) / 100;
        Some(usize::try_from(all - held).unwrap_or(0))
    }

    /// The cheapest way. Where nothing is known of traffic, it stays with one provider, or with those that hold the
    /// workload already, unless the spread or the room demands more (RULES 5.6).
    fn solve(
        &self,
        candidates: &[Candidate],
        choices: &[Choice],
        asked: &Asked<'_>,
    ) -> Option<Shares> {
        let Asked { bounds, total, .. } = asked;
        let any = || cheapest::solve(choices, *total, bounds);
        if !self.policy.spec.traffic.is_empty() {
            return any();
        }
        let of = |it: &Candidate| self.fleet.provider.of[it.cluster as usize];
        let providers = domains_of(candidates, of);
        let held = domains_of(candidates.iter().filter(|it| it.held > 0), of);
        let over = asked.binding.iter().position(|it| self.policy.spread[*it].key == "provider");
        if let Some(key) = over {
            let mut few = bounds.clone();
            let (min, max) = few.domains[key];
            few.domains[key] = (min, max.min(min.max(held.len()).max(1)));
            return cheapest::solve(choices, *total, &few).or_else(any);
        }
        let unbound = any();
        let shares = unbound.iter().flat_map(|it| &it.shares);
        let used =
            candidates.iter().zip(shares).filter(|(at, share)| at.held > 0 || share.replicas > 0);
        if domains_of(used.map(|it| it.0), of).len() <= held.len().max(1) {
            // The best of all ways does so by itself, or there is none at all.
            return unbound;
        }
        let within = |allowed: &[u32]| {
            let narrow = candidates.iter().zip(choices).map(|(at, choice)| {
                if allowed.contains(&of(at)) { choice.clone() } else { choice.closed() }
            });
            let shares = cheapest::solve(&narrow.collect::<Vec<_>>(), *total, bounds)?;
            Some((cheapest::cost_of(choices, &shares.shares), shares))
        };
        let best = if held.is_empty() {
            providers.iter().filter_map(|it| within(&[*it])).min_by_key(|it| it.0)
        } else {
            within(&held)
        };
        best.map(|it| it.1).or(unbound)
    }

    /// Where keys cross in so many ways that none was found: clusters are chosen first, and money decides among them.
    fn solve_chosen(
        &self,
        candidates: &[Candidate],
        choices: &[Choice],
        asked: &Asked<'_>,
    ) -> Result<Option<Shares>, Outcome> {
        let mut chosen = candidates.to_vec();
        let room = if self.partial || self.any_grows(candidates) { 0 } else { asked.total };
        let wanted = Wanted {
            max_clusters: asked.bounds.clusters.1,
            room: i64::try_from(room).unwrap_or(i64::MAX),
            few: false,
        };
        self.select_or_search(&mut chosen, wanted)?;
        let of = |it: &Candidate| chosen.iter().any(|other| other.cluster == it.cluster);
        let narrow = candidates
            .iter()
            .zip(choices)
            .map(|(it, choice)| if of(it) { choice.clone() } else { choice.closed() });
        let narrow: Vec<Choice> = narrow.collect();
        let Some(mut shares) = cheapest::solve(&narrow, asked.total, &asked.bounds) else {
            return Ok(None);
        };
        let least = cheapest::lower_bound(choices, asked.total).unwrap_or_default();
        shares.gap = cheapest::micros(cheapest::cost_of(choices, &shares.shares) - least).max(0);
        Ok(Some(shares))
    }

    /// Why there is no cheapest way: too few clusters or domains, or no room within the bounds.
    fn no_cheapest(
        &self,
        choices: &[Choice],
        candidates: &[Candidate],
        wanted: i64,
        asked: &Asked<'_>,
    ) -> Outcome {
        let bounds = &asked.bounds;
        let usable = |it: &Choice| it.used || it.room() >= it.least.max(1);
        let clusters = choices.iter().filter(|it| usable(it)).count();
        let cluster_rule = self.policy.spread.iter().position(|it| it.key == "cluster");
        if let Some(rule) = cluster_rule.filter(|_| clusters < bounds.clusters.0) {
            return self.unfit(Unfit::Spread { rule, found: clusters });
        }
        for rule in asked.binding {
            let usable = choices.iter().zip(candidates).filter(|(it, _)| usable(it));
            let found = domains_of(usable.map(|it| it.1), |it| self.domain(*rule, it)).len();
            if found < self.policy.spread[*rule].min {
                return self.unfit(Unfit::Spread { rule: *rule, found });
            }
        }
        let mut rooms: Vec<usize> = choices.iter().map(Choice::room).collect();
        rooms.sort_unstable_by_key(|it| std::cmp::Reverse(*it));
        let best: usize = rooms.iter().take(bounds.clusters.1).sum();
        let missing = wanted - i64::try_from(best).unwrap_or(i64::MAX);
        Outcome::NotEnoughRoom { missing: missing.max(1) }
    }
}

/// What is asked of a cheapest way: so many replicas within the bounds, which are those of the rules that bind.
struct Asked<'a> {
    bounds: Bounds,
    binding: &'a [usize],
    total: usize,
}

/// The different domains of some clusters.
fn domains_of<'a>(
    candidates: impl IntoIterator<Item = &'a Candidate>,
    of: impl Fn(&Candidate) -> u32,
) -> Vec<u32> {
    let mut domains: Vec<u32> = candidates.into_iter().map(of).collect();
    domains.sort_unstable();
    domains.dedup();
    domains.retain(|it| *it != Domains::NONE);
    domains
}
