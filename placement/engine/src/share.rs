//! Sharing replicas out over clusters: scaling up adds, scaling down removes, and nothing else moves unless a rule asks
//! for it (RULES 3.2).

use crate::{
    attempt::{Attempt, Pass},
    bits::ones,
    divide::{Party, webster},
    fleet::{ClusterId, Domains},
    place::{Outcome, Placed},
    policy::Mode,
    report::Rule,
    select::{Candidate, Unfit, Wanted, select},
};

/// Up to so many clusters are picked from all by room in one sweep.
const SWEEP: usize = 64;

/// Above so many more replicas Cheapest fills clusters by the price of a slot, without whole nodes in view.
const PRICED: i64 = 1 << 16;

impl Pass<'_> {
    /// The replicas of the workload over the clusters of a group.
    pub(crate) fn divided(&mut self) -> Result<Attempt, Outcome> {
        let total = self.workload.replicas.unwrap_or(0);
        let over = self.policy.max_replicas.as_ref().filter(|it| total > i64::from(it.0));
        let over = over.map(|(max, policy)| Outcome::OverReplicas {
            replicas: total,
            max: i64::from(*max),
            policy: policy.clone(),
        });
        let runs = self.scratch.held.iter().map(|it| it.1).sum::<i64>() + self.absent;
        if let Some(over) = over.clone().filter(|_| total > runs) {
            return Err(over);
        }
        let total = (total - self.absent).max(0);
        if total == 0 {
            return self.none_running();
        }
        let least = self.policy.min_per_cluster();
        let min = self.policy.min_clusters();
        let each = least.max(1);
        let needed = i64::try_from(min).unwrap_or(i64::MAX).saturating_mul(each);
        if total < needed {
            let outcome =
                Outcome::TooFewReplicas { replicas: total, clusters: min, per_cluster: each };
            return Err(outcome);
        }
        let most = usize::try_from(total / each).unwrap_or(usize::MAX);
        let max = self.max_clusters().min(most);
        let mut candidates = std::mem::take(&mut self.scratch.candidates);
        candidates.clear();
        let held: i64 = self.scratch.held.iter().map(|it| it.1).sum();
        let before = self.elastic;
        self.elastic |= self.mode == Mode::Cheapest && total - held > PRICED;
        let result = self.divide_among(total, max, &mut candidates);
        self.elastic = before;
        self.scratch.candidates = candidates;
        // What runs may stay and shrink, but nothing comes anywhere while there is more than the limit allows.
        match (over, &result) {
            (Some(over), Ok(attempt)) if self.adds_somewhere(attempt) => Err(over),
            _ => result,
        }
    }

    /// Whether some cluster gets more than it holds.
    fn adds_somewhere(&self, attempt: &Attempt) -> bool {
        let held = |id: u32| {
            let at = self.scratch.held.binary_search_by_key(&id, |it| it.0);
            at.map_or(0, |at| self.scratch.held[at].1)
        };
        attempt.clusters.iter().any(|it| it.replicas.unwrap_or(0) > held(it.cluster.0))
    }

    /// Clusters stay with no replicas while the template has none (RULES 3.3).
    fn none_running(&mut self) -> Result<Attempt, Outcome> {
        let kept: Vec<_> = self
            .scratch
            .held
            .iter()
            .filter(|it| self.keeps(it.0))
            .map(|it| Placed { cluster: ClusterId(it.0), replicas: Some(0) })
            .collect();
        if !kept.is_empty() {
            return Ok(Attempt { clusters: kept, missing: 0 });
        }
        let mut candidates = std::mem::take(&mut self.scratch.candidates);
        candidates.clear();
        let max = self.max_clusters();
        let total = i64::try_from(self.policy.min_clusters()).unwrap_or(1);
        let result = self.divide_among(total, max, &mut candidates);
        self.scratch.candidates = candidates;
        let mut attempt = result?;
        for it in &mut attempt.clusters {
            it.replicas = Some(0);
        }
        Ok(attempt)
    }

    fn divide_among(
        &mut self,
        total: i64,
        max: usize,
        candidates: &mut Vec<Candidate>,
    ) -> Result<Attempt, Outcome> {
        let held = self.gather_kept(candidates);
        let kept = candidates.clone();
        let missing = if held > 0 && total <= held {
            // What others could hold is told, and needed only if taking away is not enough.
            if total < held {
                self.gather_all(candidates);
            } else {
                self.gather_open(kept.len(), candidates);
            }
            candidates.truncate(kept.len());
            if self.shrink(total, max, candidates) { Some(0) } else { None }
        } else {
            self.grow(total, held, max, candidates)?
        };
        let missing = match missing {
            Some(missing) => missing,
            // Room and wishes move nothing that runs.
            None if total > held && self.stands(max, &kept) => {
                return Err(Outcome::NotEnoughRoom { missing: total - held });
            }
            None => {
                candidates.clone_from(&kept);
                self.gather_all(candidates);
                let missing = self.rearrange(total, max, candidates)?;
                let stood = total < held && self.stands(self.max_clusters(), &kept);
                if missing > 0 && !stood && total - missing < held.min(total) {
                    // What runs is more than what could be placed instead.
                    return Err(Outcome::NotEnoughRoom { missing });
                }
                missing
            }
        };
        let placed = self.placed(candidates);
        let attempt = self.within_budget(placed)?;
        Ok(Attempt { missing, ..attempt })
    }

    /// The parts as they are, by cluster: parts and candidates are in the same order.
    pub(crate) fn placed(&self, candidates: &[Candidate]) -> Vec<Placed> {
        let mut placed: Vec<Placed> = candidates
            .iter()
            .zip(&self.scratch.parties)
            .filter(|(_, party)| party.seats > 0)
            .map(|(it, party)| Placed {
                cluster: ClusterId(it.cluster),
                replicas: Some(party.seats),
            })
            .collect();
        placed.sort_unstable_by_key(|it| it.cluster);
        placed
    }

    /// Growth moves nothing that runs. Returns how many replicas find no room; `None` where a rule asks for more than
    /// growth can mend.
    fn grow(
        &mut self,
        total: i64,
        held: i64,
        max: usize,
        candidates: &mut Vec<Candidate>,
    ) -> Result<Option<i64>, Outcome> {
        // As many new clusters as the growth can give a share to, and as the spread asks for: nothing else moves.
        let each = self.policy.min_per_cluster().max(1);
        candidates.retain(|it| it.held > 0 || it.cap >= each);
        if candidates.iter().any(|it| it.cap < each) {
            return Ok(None);
        }
        let new = usize::try_from((total - held) / each).unwrap_or(usize::MAX);
        let spread = self.policy.min_clusters();
        let max = max.min(candidates.len().saturating_add(new).max(spread));
        let swept = self.gather_open(max, candidates);
        if candidates.is_empty() {
            let full = self.rules.contains(&Rule::Room);
            let missing = total - held;
            return Err(if full {
                Outcome::NotEnoughRoom { missing }
            } else {
                Outcome::NoClusterFits
            });
        }
        let room: i64 = candidates.iter().map(|it| it.cap).fold(0, i64::saturating_add);
        let grows = self.mode == Mode::Cheapest && self.any_grows(candidates);
        if self.mode.by_room() && !grows && room < total && !self.partial {
            return Err(Outcome::NotEnoughRoom { missing: total - room });
        }
        let result = if self.mode == Mode::Cheapest && total - held <= PRICED {
            self.cheapest(total, max, candidates).map(Some)
        } else {
            self.choose_and_share(total, held, max, swept, candidates)
        };
        match result {
            Err(Outcome::Spread { .. } | Outcome::Skew { .. }) => Ok(None),
            other => other,
        }
    }

    /// Chooses clusters and shares out over them; where a `maxSkew` finds no room, without the domains that hold least.
    fn choose_and_share(
        &mut self,
        total: i64,
        held: i64,
        max: usize,
        swept: bool,
        candidates: &mut Vec<Candidate>,
    ) -> Result<Option<i64>, Outcome> {
        let skews = self.skews();
        loop {
            let all = skews.then(|| candidates.clone());
            let result = self.choose(total, max, swept, candidates).and_then(|()| {
                candidates.sort_unstable_by_key(|it| it.cluster);
                self.share(total, held, candidates)
            });
            let (Some(all), Err(Outcome::NotEnoughRoom { .. } | Outcome::Skew { .. })) =
                (all, &result)
            else {
                return result;
            };
            let mut fewer = all;
            if !self.give_up_lowest(&mut fewer) {
                return result;
            }
            *candidates = fewer;
        }
    }

    /// Clusters that hold replicas and may keep them; returns how many they hold.
    pub(crate) fn gather_kept(&mut self, candidates: &mut Vec<Candidate>) -> i64 {
        let most = self.policy.max_per_cluster();
        let mut sum = 0;
        for at in 0..self.scratch.held.len() {
            let (cluster, held) = self.scratch.held[at];
            if !self.keeps(cluster) {
                continue;
            }
            let open = self.scratch.open.contains(cluster as usize);
            let mut it = Candidate { cluster, kept: true, open, held, ..Candidate::default() };
            it.cap = if !open {
                held
            } else if self.mode.by_room() {
                held.saturating_add(self.free(cluster))
            } else {
                i64::MAX
            }
            .min(most);
            it.held = held.min(it.cap);
            it.tier = self.tier(cluster);
            self.rank(&mut it);
            // Its place is taken: it is not to be found among the others.
            self.scratch.open.remove(cluster as usize);
            sum += it.held;
            candidates.push(it);
        }
        sum
    }

    pub(crate) fn free(&self, cluster: u32) -> i64 {
        let room = self.room.capacity(ClusterId(cluster), self.need);
        if self.elastic && self.grows(cluster) {
            return room.saturating_add(self.workload.replicas.unwrap_or(0));
        }
        room
    }

    fn rank(&self, it: &mut Candidate) {
        let at = it.cluster as usize;
        let soft = self.unmet(it.cluster);
        match self.mode {
            Mode::Room | Mode::Packed => {
                it.weight = it.cap;
                it.rank = (soft, -it.cap, 0);
            }
            Mode::Cheapest => {
                it.weight = 1;
                let (score, tie) = self.score(it.cluster, it.kept);
                it.rank = (soft, score, tie);
            }
            Mode::Weighted | Mode::One | Mode::Duplicated => {
                it.weight = self.masks.weights.as_ref().map_or(1, |all| i64::from(all[at]));
                it.rank = (soft, -it.weight, 0);
            }
        }
    }

    /// Clusters that may get something new. Says whether they are the best `max` already.
    fn gather_open(&mut self, max: usize, candidates: &mut Vec<Candidate>) -> bool {
        let over_clusters = self.policy.spread.iter().all(|it| it.key == "cluster");
        let by_room = matches!(self.mode, Mode::Room | Mode::Packed);
        let one_tier = self.scope.keep.0 == self.scope.keep.1;
        if !(by_room && over_clusters && max <= SWEEP && !self.elastic && one_tier) {
            self.gather_all(candidates);
            return false;
        }
        let kept = candidates.len();
        let places = max.saturating_sub(kept);
        let most = self.policy.max_per_cluster();
        let each = self.policy.min_per_cluster().max(1);
        for (at, word) in self.scratch.open.words().iter().enumerate() {
            for bit in ones(*word) {
                let cluster = ClusterId::of(at * 64 + bit);
                let soft = self.unmet(cluster.0);
                let bound = self.room.bound(cluster, self.need).min(most);
                if bound < each {
                    self.rules[cluster.at()] = Rule::Room;
                    continue;
                }
                let full = candidates.len() - kept >= places;
                let worst = candidates.last().map(|it| it.rank);
                // Not even if all that is free together were on one node.
                if full && (places == 0 || worst.is_some_and(|it| (soft, -bound, 0) >= it)) {
                    continue;
                }
                let cap = self.room.capacity(cluster, self.need).min(most);
                let rank = (soft, -cap, 0);
                if cap < each {
                    self.rules[cluster.at()] = Rule::Room;
                    continue;
                }
                if full && worst.is_some_and(|it| rank >= it) {
                    continue;
                }
                if full {
                    candidates.pop();
                }
                let cluster = cluster.0;
                let it =
                    Candidate { cluster, open: true, cap, weight: cap, rank, ..Default::default() };
                let to = kept + candidates[kept..].partition_point(|other| other.rank <= rank);
                candidates.insert(to, it);
            }
        }
        // Kept ones may be more than are allowed now: then they are chosen among, too.
        kept <= max
    }

    fn gather_all(&mut self, candidates: &mut Vec<Candidate>) {
        let most = self.policy.max_per_cluster();
        let each = self.policy.min_per_cluster().max(1);
        let spreads = !self.policy.spread.is_empty();
        for at in self.scratch.open.iter() {
            let cluster = ClusterId::of(at).0;
            if spreads && self.without_domain(cluster) {
                self.rules[at] = Rule::Spread;
                continue;
            }
            let room = if self.mode.by_room() { self.free(cluster) } else { i64::MAX };
            let cap = room.min(most);
            let elastic = self.mode == Mode::Cheapest && self.grows(cluster);
            if cap < each && !elastic {
                self.rules[at] = Rule::Room;
                continue;
            }
            let tier = self.tier(cluster);
            let mut it = Candidate { cluster, open: true, cap, tier, ..Candidate::default() };
            self.rank(&mut it);
            candidates.push(it);
        }
    }

    pub(crate) fn any_grows(&self, candidates: &[Candidate]) -> bool {
        candidates.iter().any(|it| it.open && self.grows(it.cluster))
    }

    /// Keeps the clusters that replicas are shared out over.
    fn choose(
        &self,
        total: i64,
        max: usize,
        swept: bool,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), Outcome> {
        let room = candidates.iter().map(|it| it.cap).fold(0, i64::saturating_add);
        // Without room in view a bound on each cluster still is one on all.
        let bounded = self.mode.by_room() || self.policy.max_per_cluster() < i64::MAX;
        let enough = !bounded || self.partial || room >= total;
        let few = self.mode == Mode::Packed;
        if swept && !few {
            let mut rules = self.policy.spread.iter();
            if let Some(rule) = rules.position(|it| it.hard && it.min > candidates.len()) {
                return Err(self.unfit(Unfit::Spread { rule, found: candidates.len() }));
            }
            return if enough {
                Ok(())
            } else {
                Err(Outcome::NotEnoughRoom { missing: total - room })
            };
        }
        if self.policy.spread.is_empty() && candidates.len() <= max && !few {
            return if enough {
                Ok(())
            } else {
                Err(Outcome::NotEnoughRoom { missing: total - room })
            };
        }
        let wanted = Wanted {
            max_clusters: max,
            room: if bounded && !self.partial { total } else { 0 },
            few: few && !self.partial,
        };
        self.select_or_search(candidates, wanted)
    }

    /// The first choice, or where it took what stands in the way of others, one that looks ahead.
    pub(crate) fn select_or_search(
        &self,
        candidates: &mut Vec<Candidate>,
        wanted: Wanted,
    ) -> Result<(), Outcome> {
        let Err(unfit) = select(candidates, &self.policy.spread, self.masks, wanted) else {
            return Ok(());
        };
        let caps: Vec<i64> = candidates.iter().map(|it| it.cap).collect();
        let Some(chosen) = self.search(candidates, &caps, wanted.room, wanted.max_clusters) else {
            return Err(self.unfit(unfit));
        };
        // Growth waits rather than move what runs.
        if (0..candidates.len()).any(|at| candidates[at].held > 0 && !chosen.contains(&at)) {
            return Err(self.unfit(unfit));
        }
        *candidates = chosen.into_iter().map(|at| candidates[at]).collect();
        Ok(())
    }

    /// Shares growth to `total` out over the chosen clusters, which hold `held`; the outcome is in `scratch.parties`.
    /// Returns how many find no room; `None` if something that runs would have to go.
    fn share(
        &mut self,
        total: i64,
        held: i64,
        candidates: &[Candidate],
    ) -> Result<Option<i64>, Outcome> {
        let least = self.policy.min_per_cluster();
        let room = candidates.iter().map(|it| it.cap).fold(0, i64::saturating_add);
        let missing = if self.mode.by_room() || self.partial { (total - room).max(0) } else { 0 };
        let total = total - missing;
        let kept: i64 = candidates.iter().map(|it| it.held).sum();
        if kept < held {
            return Ok(None);
        }
        let mut parties = std::mem::take(&mut self.scratch.parties);
        parties.clear();
        for it in candidates {
            let floor = it.held.max(least.min(it.cap));
            parties.push(Party { weight: it.weight, floor, cap: it.cap, seats: 0 });
        }
        let left = match self.mode {
            Mode::Packed | Mode::Cheapest => packed(&mut parties, candidates, total),
            _ if self.skews() => self.level(&mut parties, candidates, total),
            _ => webster(&mut parties, total),
        };
        let result = if left < 0 {
            Ok(None)
        } else if left > 0 && !self.partial {
            Err(Outcome::NotEnoughRoom { missing: left })
        } else {
            self.minima(&mut parties, candidates, least).map(|()| Some(missing + left))
        };
        self.even_out(&mut parties, candidates);
        self.scratch.parties = parties;
        if matches!(result, Ok(Some(_))) {
            self.level_enough(candidates)?;
        }
        result
    }

    pub(crate) fn domain(&self, rule: usize, it: &Candidate) -> u32 {
        self.masks.domains[rule].of[it.cluster as usize]
    }

    /// Gives a least share to a chosen cluster in a new domain, from the one that grows most, until every rule has its
    /// minimum of domains that hold a replica (RULES 3.1). What runs is not touched.
    pub(crate) fn minima(
        &self,
        parties: &mut [Party],
        candidates: &[Candidate],
        least: i64,
    ) -> Result<(), Outcome> {
        for (rule, spread) in self.policy.spread.iter().enumerate() {
            if spread.min <= 1 {
                continue;
            }
            loop {
                let mut holding: Vec<u32> = (0..parties.len())
                    .filter(|at| parties[*at].seats > 0)
                    .map(|at| self.domain(rule, &candidates[at]))
                    .filter(|it| *it != Domains::NONE)
                    .collect();
                holding.sort_unstable();
                holding.dedup();
                if holding.len() >= spread.min {
                    break;
                }
                let to = (0..parties.len())
                    .filter(|at| {
                        let domain = self.domain(rule, &candidates[*at]);
                        let it = &candidates[*at];
                        domain != Domains::NONE
                            && holding.binary_search(&domain).is_err()
                            && it.cap >= least.max(1)
                            && (it.open || it.kept)
                            && self.may_join(parties, candidates, *at)
                    })
                    .min_by_key(|at| (candidates[*at].rank, *at));
                let from = (0..parties.len())
                    .filter(|at| {
                        let rest = parties[*at].seats - least.max(1);
                        rest >= least.max(1) && rest >= candidates[*at].held
                    })
                    .max_by_key(|at| {
                        (parties[*at].seats - candidates[*at].held, parties[*at].seats, *at)
                    });
                let (Some(to), Some(from)) = (to, from) else {
                    if spread.hard {
                        return Err(self.unfit(Unfit::Spread { rule, found: holding.len() }));
                    }
                    break;
                };
                let amount = least.max(1);
                parties[from].seats -= amount;
                parties[to].seats += amount;
            }
        }
        Ok(())
    }

    /// Whether one that has nothing yet may hold some, as far as the largest numbers of clusters and domains go.
    fn may_join(&self, parties: &[Party], candidates: &[Candidate], at: usize) -> bool {
        let held = || parties.iter().zip(candidates).filter(|it| it.0.seats > 0).map(|it| it.1);
        held().count() < self.max_clusters()
            && self.policy.spread.iter().enumerate().filter(|(_, it)| it.hard).all(|(rule, it)| {
                let mut domains: Vec<u32> = held().map(|it| self.domain(rule, it)).collect();
                domains.push(self.domain(rule, &candidates[at]));
                domains.sort_unstable();
                domains.dedup();
                domains.len() <= it.max
            })
    }
}

/// Fills clusters one after the other: those that hold most first, then the roomiest.
fn packed(parties: &mut [Party], candidates: &[Candidate], total: i64) -> i64 {
    let mut order: Vec<usize> = (0..parties.len()).collect();
    order.sort_by_key(|at| {
        let it = &candidates[*at];
        (!it.kept, -it.held, it.rank, *at)
    });
    let mut left = total;
    for it in parties.iter_mut() {
        it.seats = it.floor;
        left -= it.floor;
    }
    for at in order {
        let it = &mut parties[at];
        let more = (it.cap - it.seats).min(left).max(0);
        it.seats += more;
        left -= more;
    }
    left
}
