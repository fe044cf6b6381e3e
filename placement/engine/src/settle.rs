//! Where replicas stay when a workload does not grow, and what moves where a rule would be broken otherwise: scaling
//! down takes away, whole clusters rather than less than a least share, and adds only what no taking away can avoid
//! (RULES 3.2, 3.3).

use crate::{
    attempt::{Attempt, Pass},
    cost,
    divide::{Party, webster},
    fleet::{ClusterId, Domains},
    place::Outcome,
    policy::Mode,
    search::{Asked, survivors},
    select::{Candidate, Unfit},
};

/// Clusters that do not hold the workload are looked at up to so many, the best of each combination of domains.
const OTHERS: usize = 512;

impl Pass<'_> {
    /// Shares `total` out over those of the kept clusters that can stay as they are or smaller. `false` if that breaks
    /// a rule. The outcome is in `candidates` and `scratch.parties`.
    pub(crate) fn shrink(
        &mut self,
        total: i64,
        max: usize,
        candidates: &mut Vec<Candidate>,
    ) -> bool {
        let each = self.policy.min_per_cluster().max(1);
        let mut kept: Vec<Candidate> =
            candidates.iter().filter(|it| it.held >= each).copied().collect();
        self.prefer(&mut kept);
        let caps: Vec<i64> = kept.iter().map(|it| it.held).collect();
        let Some(chosen) = self.search(&kept, &caps, total, max) else { return false };
        *candidates = chosen.into_iter().map(|at| kept[at]).collect();
        self.hand_out(total, candidates) == 0
            && self.skewed(&self.scratch.parties, candidates).is_none()
    }

    /// What can stay of those that keep every rule now, if it is to be fewer: as much as taking away alone allows.
    pub(crate) fn less(&mut self, candidates: &mut Vec<Candidate>) -> Option<Attempt> {
        let total = (self.workload.replicas? - self.absent).max(0);
        let held = self.gather_kept(candidates);
        let each = self.policy.min_per_cluster().max(1);
        if total >= held || total < each || !self.stands(self.max_clusters(), candidates) {
            return None;
        }
        let max = self.max_clusters().min(fits(total, each));
        self.prefer(candidates);
        let caps: Vec<i64> = candidates.iter().map(|it| it.held).collect();
        // The most that some choice holds: with less asked for there is one, with more there is none.
        let (mut most, mut none, mut best) = (0, total, None);
        while most + 1 < none {
            let middle = most + (none - most) / 2;
            match self.search(candidates, &caps, middle, max) {
                Some(chosen) => {
                    most = chosen.iter().map(|at| caps[*at]).fold(0, i64::saturating_add);
                    best = Some(chosen);
                }
                None => none = middle,
            }
        }
        let chosen: Vec<Candidate> = best?.into_iter().map(|at| candidates[at]).collect();
        let stays = most.min(total);
        let left = self.hand_out(stays, &chosen);
        if left > 0 || self.skewed(&self.scratch.parties, &chosen).is_some() {
            return None;
        }
        let clusters = self.placed(&chosen);
        Some(Attempt { clusters, missing: total - stays })
    }

    /// Whether those that hold replicas keep every rule as they are.
    pub(crate) fn stands(&self, max: usize, kept: &[Candidate]) -> bool {
        let caps: Vec<i64> = kept.iter().map(|it| it.held).collect();
        let each = self.policy.min_per_cluster().max(1);
        let held = caps.iter().copied().fold(0, i64::saturating_add);
        held > 0
            && caps.iter().all(|it| *it >= each)
            && self.search(kept, &caps, held, max).is_some_and(|it| it.len() == kept.len())
            && !self.skews_now(kept)
    }

    /// Whether what runs breaks a `maxSkew`.
    fn skews_now(&self, kept: &[Candidate]) -> bool {
        let of = |it: &Candidate| Party { seats: it.held, ..Party::default() };
        self.skews() && self.skewed(&kept.iter().map(of).collect::<Vec<_>>(), kept).is_some()
    }

    /// Shares `total` out over all candidates, with as little moving as the rules let it. Returns how many find no room.
    pub(crate) fn rearrange(
        &mut self,
        total: i64,
        max: usize,
        candidates: &mut Vec<Candidate>,
    ) -> Result<i64, Outcome> {
        let each = self.policy.min_per_cluster().max(1);
        if self.mode == Mode::Cheapest {
            self.count_new_nodes(candidates);
        }
        candidates.retain(|it| it.cap >= each);
        if candidates.is_empty() {
            return Err(Outcome::NotEnoughRoom { missing: total });
        }
        self.prefer(candidates);
        self.thin_out(candidates);
        let Some(chosen) = self.least_moving(candidates, total, max.min(fits(total, each))) else {
            return Err(self.why_not(candidates, total, max.min(fits(total, each))));
        };
        *candidates = chosen.into_iter().map(|at| candidates[at]).collect();
        let room = candidates.iter().map(|it| it.cap).fold(0, i64::saturating_add);
        let missing = (total - room).max(0);
        debug_assert!(missing == 0 || self.partial, "room was asked for");
        let left = self.hand_out(total - missing, candidates);
        if left > 0 && !self.partial {
            return Err(Outcome::NotEnoughRoom { missing: left });
        }
        self.level_enough(candidates)?;
        Ok(missing + left)
    }

    /// Of the choices there are, the one that starts the fewest replicas: among those that run a least share already,
    /// with some that get one, or with some that grow.
    fn least_moving(&self, candidates: &[Candidate], total: i64, max: usize) -> Option<Vec<usize>> {
        let each = self.policy.min_per_cluster().max(1);
        let caps: Vec<i64> = candidates.iter().map(|it| it.cap).collect();
        if self.partial {
            return self.search(candidates, &caps, 0, max);
        }
        let running: Vec<i64> =
            candidates.iter().map(|it| if it.held >= each { it.cap } else { 0 }).collect();
        let least: Vec<i64> = candidates.iter().map(|it| it.held.max(each)).collect();
        let started = |chosen: &[usize]| {
            let held: i64 = chosen.iter().map(|at| candidates[*at].held).sum();
            let filled: i64 = chosen.iter().map(|at| (each - candidates[*at].held).max(0)).sum();
            filled.max(total - held)
        };
        [running, least, caps]
            .into_iter()
            .filter_map(|caps| self.search(candidates, &caps, total, max))
            .min_by_key(|chosen| started(chosen))
    }

    /// What autoscaled clusters could hold with more nodes.
    fn count_new_nodes(&mut self, candidates: &mut [Candidate]) {
        let most = self.policy.max_per_cluster();
        let before = std::mem::replace(&mut self.elastic, true);
        for it in candidates.iter_mut().filter(|it| it.open) {
            it.cap = it.held.saturating_add(self.free(it.cluster)).min(most);
        }
        self.elastic = before;
    }

    /// What holds replicas first, the fuller before the emptier; where money decides, the cheaper before the dearer.
    fn prefer(&self, candidates: &mut [Candidate]) {
        if self.mode != Mode::Cheapest {
            candidates.sort_unstable_by_key(Candidate::order);
            return;
        }
        let price = |it: &Candidate| {
            cost::slot(self.fleet, ClusterId(it.cluster), self.need)
                .map_or(i64::MAX, |it| it.micros)
        };
        candidates.sort_by_cached_key(|it| (!it.kept, it.tier, price(it), it.rank, it.cluster));
    }

    /// Keeps the best of the clusters that hold nothing, some of each combination of domains.
    fn thin_out(&self, candidates: &mut Vec<Candidate>) {
        if candidates.len() <= OTHERS {
            return;
        }
        let rules = || self.policy.spread.iter().enumerate().filter(|(_, it)| it.key != "cluster");
        let mut seen: std::collections::BTreeMap<Vec<u32>, Vec<Candidate>> =
            std::collections::BTreeMap::new();
        for it in candidates.iter().filter(|it| !it.kept) {
            let domains = rules().map(|(rule, _)| self.domain(rule, it)).collect();
            seen.entry(domains).or_default().push(*it);
        }
        let each = (OTHERS / seen.len().max(1)).max(1);
        candidates.retain(|it| it.kept);
        candidates.extend(seen.values().flat_map(|it| it.iter().take(each)));
        self.prefer(candidates);
    }

    /// The first choice that keeps every rule; wishes are given up one after the other, the last first.
    pub(crate) fn search(
        &self,
        candidates: &[Candidate],
        caps: &[i64],
        room: i64,
        max: usize,
    ) -> Option<Vec<usize>> {
        let rules = &self.policy.spread;
        let each = self.policy.min_per_cluster().max(1);
        let few = matches!(self.mode, Mode::Packed | Mode::Cheapest);
        let runs = candidates.iter().any(|it| it.held > 0);
        let spare = |it: &Candidate| room > 0 && (few || it.tier > 0 || (runs && it.held < each));
        let mut wishes = rules.iter().filter(|it| !it.hard && it.min > 1).count();
        loop {
            let mut left = wishes;
            let bounds: Vec<(usize, usize)> = rules
                .iter()
                .map(|it| {
                    if it.hard {
                        // The number of clusters is bounded for itself.
                        let max = if it.key == "cluster" { usize::MAX } else { it.max };
                        return (it.min, max);
                    }
                    let kept = it.min > 1 && left > 0;
                    left -= usize::from(kept);
                    (if kept { it.min } else { 0 }, usize::MAX)
                })
                .collect();
            let asked = Asked {
                domains: &self.masks.domains,
                hard: rules.iter().map(|it| it.hard).collect(),
                bounds,
                clusters: max,
                room,
                spare: candidates.iter().map(spare).collect(),
                tiers: candidates.iter().map(|it| it.tier).collect(),
            };
            let found = survivors(candidates, caps, &asked);
            if found.is_some() || wishes == 0 {
                return found;
            }
            wishes -= 1;
        }
    }

    /// Which rule leaves no choice: too few domains, or no room.
    fn why_not(&self, candidates: &[Candidate], total: i64, max: usize) -> Outcome {
        let caps: Vec<i64> = candidates.iter().map(|it| it.cap).collect();
        if let Some(chosen) = self.search(candidates, &caps, 0, max) {
            let room = chosen.iter().map(|at| caps[*at]).fold(0, i64::saturating_add);
            return Outcome::NotEnoughRoom { missing: (total - room).max(1) };
        }
        let rules = self.policy.spread.iter().enumerate().filter(|(_, it)| it.hard && it.min > 1);
        let mut worst: Option<(usize, usize)> = None;
        for (rule, spread) in rules {
            let mut domains: Vec<u32> = candidates
                .iter()
                .map(|it| self.domain(rule, it))
                .filter(|it| *it != Domains::NONE)
                .collect();
            domains.sort_unstable();
            domains.dedup();
            // Each rule alone could be kept: then it is the number of clusters that stands in the way of all.
            let found = domains.len().min(spread.min - 1);
            if worst.is_none() || domains.len() < spread.min {
                worst = Some((rule, found));
            }
            if domains.len() < spread.min {
                break;
            }
        }
        match worst {
            Some((rule, found)) => self.unfit(Unfit::Spread { rule, found }),
            None => Outcome::NoClusterFits,
        }
    }

    /// Gives the chosen clusters their parts: nobody more than it holds as long as that is enough, nobody less than a
    /// least share. Returns how many find no room.
    fn hand_out(&mut self, total: i64, candidates: &[Candidate]) -> i64 {
        let least = self.policy.min_per_cluster();
        let each = least.max(1);
        // A domain counts only while it holds a replica.
        let spreads = self.policy.spread.iter().any(|it| it.min > 1);
        let floor = if spreads { each } else { least };
        let mut parties = std::mem::take(&mut self.scratch.parties);
        parties.clear();
        let base = |it: &Candidate| it.held.max(each);
        let shrinks = candidates.iter().map(base).fold(0, i64::saturating_add) >= total;
        for it in candidates {
            parties.push(if shrinks {
                let weight = if self.mode == Mode::Weighted { it.weight } else { it.held.max(1) };
                Party { weight, floor, cap: base(it), seats: 0 }
            } else {
                Party { weight: it.weight, floor: base(it), cap: it.cap, seats: 0 }
            });
        }
        if shrinks {
            keep_preferred(&mut parties, candidates, total);
        }
        let left = match self.mode {
            Mode::Packed | Mode::Cheapest => in_order(&mut parties, total),
            _ if !shrinks && self.skews() => self.level(&mut parties, candidates, total),
            _ => webster(&mut parties, total),
        };
        debug_assert!(left >= 0, "least shares of all chosen clusters are not more than the total");
        self.even_out(&mut parties, candidates);
        self.scratch.parties = parties;
        left.max(0)
    }
}

/// How many clusters can have a least share.
fn fits(total: i64, each: i64) -> usize {
    usize::try_from(total / each).unwrap_or(usize::MAX)
}

/// Takes away from clusters that hold more than `total` together, in proportion to what they hold: whatever keeps the
/// rules from being kept, fewer replicas are fewer replicas.
pub(crate) fn take_away(held: &mut [(u32, i64)], total: i64, least: i64) {
    let total = total.max(0);
    if held.iter().map(|it| it.1).fold(0, i64::saturating_add) <= total {
        return;
    }
    for floor in [least.max(1), 1, 0] {
        let of = |it: &(u32, i64)| Party {
            weight: it.1.max(1),
            floor: it.1.min(floor),
            cap: it.1,
            seats: 0,
        };
        let mut parties: Vec<Party> = held.iter().map(of).collect();
        if webster(&mut parties, total) >= 0 {
            for (it, party) in held.iter_mut().zip(parties) {
                it.1 = party.seats;
            }
            return;
        }
    }
}

/// Of several tiers the first keeps what it can have, then the next: what flowed over goes before the rest.
fn keep_preferred(parties: &mut [Party], candidates: &[Candidate], total: i64) {
    let last = candidates.iter().map(|it| it.tier).max().unwrap_or(0);
    for tier in 0..last {
        let floors = parties.iter().map(|it| it.floor).fold(0, i64::saturating_add);
        let own = || candidates.iter().enumerate().filter(move |it| it.1.tier == tier);
        let more: i64 = own().map(|(at, _)| parties[at].cap - parties[at].floor).sum();
        if floors.saturating_add(more) > total {
            break;
        }
        for (at, _) in own() {
            parties[at].floor = parties[at].cap;
        }
    }
}

/// Fills clusters one after the other above their floors.
fn in_order(parties: &mut [Party], total: i64) -> i64 {
    let mut left = total;
    for it in parties.iter_mut() {
        it.seats = it.floor;
        left -= it.floor;
    }
    for it in parties.iter_mut() {
        let more = (it.cap - it.seats).min(left).max(0);
        it.seats += more;
        left -= more;
    }
    left
}
