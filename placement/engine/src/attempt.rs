//! One affinity group tried for one workload: which clusters may take it, and all-of-it-on-each placing.

use federation_types::money::Money;

use crate::{
    bits::ones,
    cheapest::Percent,
    cost,
    extras::Extras,
    fleet::{ClusterId, Fleet},
    mask::Masks,
    place::{Outcome, Placed},
    policy::{CompiledPolicy, Mode},
    report::Rule,
    room::{Need, Room},
    select::{Candidate, Rank, Scratch, Unfit, Wanted, select},
    spot,
    workload::Workload,
};

/// What a group gave.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) clusters: Vec<Placed>,
    /// Replicas without room, where that is allowed.
    pub(crate) missing: i64,
}

/// The state of one decision.
pub(crate) struct Pass<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) room: &'a Room,
    pub(crate) workload: &'a Workload,
    pub(crate) policy: &'a CompiledPolicy,
    pub(crate) masks: &'a Masks,
    pub(crate) need: &'a Need,
    /// Of a unit: what each part takes, and how many of it there are.
    pub(crate) parts: &'a [(Need, i64)],
    pub(crate) mode: Mode,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) rules: Vec<Rule>,
    /// Replicas that clusters hold which the inventory no longer has.
    pub(crate) absent: i64,
    /// Autoscaled clusters may grow beyond what is free.
    pub(crate) elastic: bool,
    /// What fits is enough.
    pub(crate) partial: bool,
    /// The groups that are tried.
    pub(crate) scope: Scope,
    pub(crate) gap: i64,
    /// Clusters whose copies were pinned to spot nodes before.
    pub(crate) on_spot: Vec<u32>,
    /// Those that are to be, where money decided that with the division.
    pub(crate) pins: Option<Vec<ClusterId>>,
}

/// Affinity groups by their places: those whose clusters keep what they hold, and those that may get something new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) keep: (usize, usize),
    pub(crate) open: (usize, usize),
}

impl Scope {
    pub(crate) fn only(group: usize) -> Self {
        Self { keep: (group, group), open: (group, group) }
    }
}

impl Pass<'_> {
    /// Tries a group alone, and where it overflows and holds only part, with those after it.
    pub(crate) fn try_group(&mut self, group: usize) -> Result<Attempt, Outcome> {
        if self.spills(group) {
            return self.overflow(group);
        }
        self.scope = Scope::only(group);
        match self.try_scope() {
            Err(
                Outcome::NotEnoughRoom { .. } | Outcome::Spread { .. } | Outcome::NoClusterFits,
            ) if self.last_of(group) > group => self.overflow(group),
            other => other,
        }
    }

    /// Whether a group alone can take all of it, with what it holds.
    pub(crate) fn takes_all(&mut self, group: usize) -> Option<Attempt> {
        self.scope = Scope::only(group);
        self.try_scope().ok().filter(|it| it.missing == 0 && !it.clusters.is_empty())
    }

    /// Tries the groups in view with what is free, then with what autoscaled clusters could add.
    pub(crate) fn try_scope(&mut self) -> Result<Attempt, Outcome> {
        let first = self.attempt();
        if !matches!(first, Err(Outcome::NotEnoughRoom { .. })) {
            return first;
        }
        let grows = self.fleet.clusters.iter().any(|it| it.spec.autoscaled);
        if !grows || self.mode == Mode::Cheapest {
            return first;
        }
        self.elastic = true;
        let second = self.attempt();
        self.elastic = false;
        second.or(first)
    }

    /// Tries a group once more for what fits, where the policy allows that.
    pub(crate) fn try_partly(&mut self, group: usize) -> Option<Attempt> {
        if !self.policy.partial() || !self.mode.divides() {
            return None;
        }
        self.partial = true;
        let attempt = self.try_group(group);
        self.partial = false;
        attempt.ok().filter(|it| !it.clusters.is_empty())
    }

    /// Tries to take away only, and more than is asked for where nothing else keeps the rules that are kept now.
    pub(crate) fn try_less(&mut self, group: usize) -> Option<Attempt> {
        if !self.mode.divides() {
            return None;
        }
        self.gap = 0;
        self.pins = None;
        self.scope = self.chain(group);
        self.open();
        let mut candidates = std::mem::take(&mut self.scratch.candidates);
        candidates.clear();
        let attempt = self.less(&mut candidates);
        self.scratch.candidates = candidates;
        attempt
    }

    /// Whether a cluster keeps what it holds.
    pub(crate) fn keeps(&self, cluster: u32) -> bool {
        let at = cluster as usize;
        let unfenced = self.policy.spec.failover.as_ref().is_some_and(|it| it.unfenced.is_some());
        let replaced = self.fleet.lost.contains(at) && (self.workload.fails_over() || unfenced);
        let (first, last) = self.scope.keep;
        !replaced && self.masks.groups[first..=last].iter().any(|it| it.keep.contains(at))
    }

    fn attempt(&mut self) -> Result<Attempt, Outcome> {
        self.gap = 0;
        self.pins = None;
        self.open();
        if self.mode.divides() { self.divided() } else { self.copies() }
    }

    /// Works out which clusters may get something new: `scratch.open`, and the rules of those that may not.
    fn open(&mut self) {
        let (first, last) = self.scope.open;
        let mask = &self.masks.groups[first];
        self.rules.clear();
        self.rules.extend_from_slice(&mask.rules);
        self.scratch.open.copy_from(&mask.open);
        if self.scope != Scope::only(first) {
            self.open_more(first + 1..=last);
        }
        let open = &mut self.scratch.open;
        let serving = self.fleet.serving(&self.workload.api).map(|it| it.words());
        for (at, word) in open.words_mut().iter_mut().enumerate() {
            let served = serving.map_or(0, |it| it[at]);
            for bit in ones(*word & !served) {
                self.rules[at * 64 + bit] = Rule::ApiNotServed;
            }
            *word &= served;
        }
        self.scratch.wishes.clear();
        if !self.masks.beside.is_empty() {
            self.keep_company();
        }
        if !self.parts.is_empty() {
            self.open_where_all_fits();
        }
    }

    /// A unit goes only where all of it fits together, or where nodes for each part can come.
    fn open_where_all_fits(&mut self) {
        for at in 0..self.fleet.len() {
            let cluster = ClusterId::of(at);
            let fits = || {
                self.room.holds(cluster, self.parts)
                    || self.parts.iter().all(|(need, _)| self.grows_for(cluster.0, need))
            };
            if self.scratch.open.contains(at) && !fits() {
                self.scratch.open.remove(at);
                self.rules[at] = Rule::Room;
            }
        }
    }

    /// The bound on the number of clusters.
    pub(crate) fn max_clusters(&self) -> usize {
        self.policy
            .max_clusters
            .as_ref()
            .map_or(usize::MAX, |(max, _)| usize::try_from(*max).unwrap_or(usize::MAX))
    }

    pub(crate) fn unfit(&self, unfit: Unfit) -> Outcome {
        match unfit {
            Unfit::Room { missing } => Outcome::NotEnoughRoom { missing },
            Unfit::Spread { rule, found } => {
                let rule = &self.policy.spread[rule];
                Outcome::Spread { key: rule.key.clone(), min: rule.min, found }
            }
        }
    }

    /// What a replica there scores in µ$/h; lower is better. Unknown prices come last.
    pub(crate) fn score(&self, cluster: u32, held: bool) -> (i64, i64) {
        let money = self.policy.money;
        let mut score = self.latency_score(cluster);
        if !held {
            score = score.saturating_add(money.per_move);
        }
        if !self.workload.has_pods() || money.cost == 0 {
            return (score, 0);
        }
        let id = ClusterId(cluster);
        let slot = if self.parts.is_empty() {
            cost::slot(self.fleet, id, self.need)
        } else {
            cost::slots(self.fleet, id, self.parts)
        };
        match slot {
            Some(slot) => {
                let cost = slot.micros.saturating_mul(money.cost) / 100;
                let extras = self.extras(cluster, held);
                let first = extras.first / self.workload.pods().max(1);
                let score = score.saturating_add(cost).saturating_add(first);
                (score.saturating_add(extras.per_replica), i64::from(slot.undated))
            }
            None => (i64::MAX / 2, 0),
        }
    }

    /// What a replica brings along there beside its slot.
    pub(crate) fn extras(&self, cluster: u32, held: bool) -> Extras {
        let id = ClusterId(cluster);
        Extras::of(
            self.fleet,
            id,
            self.workload,
            self.policy,
            Percent(self.policy.money.cost),
            held,
        )
    }

    pub(crate) fn latency_score(&self, cluster: u32) -> i64 {
        let ms = self.masks.latency.as_ref().map_or(0, |it| it[cluster as usize]);
        i64::from(ms).saturating_mul(self.policy.money.per_ms)
    }

    /// All of the workload on each chosen cluster.
    fn copies(&mut self) -> Result<Attempt, Outcome> {
        let mut max = match self.mode {
            Mode::One => 1,
            _ => self.max_clusters(),
        };
        let replicas = self.workload.replicas;
        if let (Some((most, policy)), Some(all)) = (&self.policy.max_replicas, replicas)
            && all > 0
        {
            let fits = usize::try_from(i64::from(*most) / all).unwrap_or(usize::MAX);
            if fits == 0 {
                let (max, policy) = (i64::from(*most), policy.clone());
                return Err(Outcome::OverReplicas { replicas: all, max, policy });
            }
            max = max.min(fits);
        }
        let kept: Vec<(u32, i64)> =
            self.scratch.held.iter().filter(|it| self.keeps(it.0)).copied().collect();
        let open = self.scratch.open.count();
        let new =
            kept.iter().filter(|it| !self.scratch.open.contains(it.0 as usize)).count() + open;
        if new == 0 && self.rules.contains(&Rule::Room) {
            return Err(Outcome::NotEnoughRoom { missing: self.parts.iter().map(|it| it.1).sum() });
        }
        if new == 0 {
            return Err(Outcome::NoClusterFits);
        }
        if max >= new && self.policy.spread.is_empty() {
            let mut all = self.scratch.open.clone();
            for (cluster, _) in &kept {
                all.insert(*cluster as usize);
            }
            let placed = |at| Placed { cluster: ClusterId::of(at), replicas };
            return self.within_budget(all.iter().map(placed).collect());
        }
        let mut candidates = std::mem::take(&mut self.scratch.candidates);
        candidates.clear();
        for at in self.scratch.open.iter() {
            let cluster = ClusterId::of(at).0;
            if kept.binary_search_by_key(&cluster, |it| it.0).is_err() {
                let rank = self.copy_rank(cluster);
                candidates.push(Candidate { cluster, open: true, rank, ..Candidate::default() });
            }
        }
        for (cluster, held) in &kept {
            let (cluster, held) = (*cluster, *held);
            let rank = self.copy_rank(cluster);
            candidates.push(Candidate { cluster, kept: true, held, rank, ..Candidate::default() });
        }
        let wanted = Wanted { max_clusters: max, room: 0, few: false };
        let every: Vec<u32> = candidates.iter().map(|it| it.cluster).collect();
        let chosen = select(&mut candidates, &self.policy.spread, self.masks, wanted);
        let result = chosen.map_err(|it| self.unfit(it)).and_then(|()| {
            for cluster in every {
                if self.without_domain(cluster) {
                    self.rules[cluster as usize] = Rule::Spread;
                }
            }
            let mut chosen: Vec<_> = candidates
                .iter()
                .map(|it| Placed { cluster: ClusterId(it.cluster), replicas })
                .collect();
            chosen.sort_unstable_by_key(|it| it.cluster);
            self.within_budget(chosen)
        });
        self.scratch.candidates = candidates;
        result
    }

    /// A cluster without the property that a hard rule spreads over.
    pub(crate) fn without_domain(&self, cluster: u32) -> bool {
        let rules = self.policy.spread.iter().zip(&self.masks.domains);
        rules
            .filter(|(rule, _)| rule.hard)
            .any(|(_, domains)| domains.of[cluster as usize] == crate::fleet::Domains::NONE)
    }

    /// Where it fits before where it does not, then what prefers to be left alone, then money.
    fn copy_rank(&self, cluster: u32) -> Rank {
        let fits = !self.workload.has_pods()
            || !self.parts.is_empty()
            || self.grows(cluster)
            || self.room.capacity(ClusterId(cluster), self.need) >= self.workload.pods();
        let held = self.scratch.held.binary_search_by_key(&cluster, |it| it.0).is_ok();
        let (score, tie) = self.score(cluster, held);
        (128 * u8::from(!fits) + self.unmet(cluster), score, tie)
    }

    /// Whether new nodes for the workload can come there.
    pub(crate) fn grows(&self, cluster: u32) -> bool {
        self.grows_for(cluster, self.need)
    }

    fn grows_for(&self, cluster: u32, need: &Need) -> bool {
        let it = self.fleet.cluster(ClusterId(cluster));
        it.spec.autoscaled && it.shapes.iter().any(|it| need.fit_empty(self.fleet, it.class) > 0)
    }

    /// Growth and new placements wait where they would cost more than is allowed; what replaces a lost copy does not
    /// where the policy says so (RULES 5.5).
    pub(crate) fn within_budget(&self, clusters: Vec<Placed>) -> Result<Attempt, Outcome> {
        if let Some(refused) = spot::refuses(self.policy, self.workload, &clusters) {
            return Err(refused);
        }
        let done = |clusters| Ok(Attempt { clusters, missing: 0 });
        let allowances = &self.workload.around.allowances;
        if self.policy.max_monthly.is_none() && allowances.is_empty() {
            return done(clusters);
        }
        let grows = clusters.iter().any(|it| {
            let held = self.scratch.held.binary_search_by_key(&it.cluster.0, |it| it.0);
            held.map_or(true, |at| it.replicas.unwrap_or(0) > self.scratch.held[at].1)
        });
        let allowed = self.policy.spec.failover.as_ref().is_some_and(|it| it.over_budget.is_some());
        let replaces = self.scratch.held.iter().any(|it| self.fleet.lost.contains(it.0 as usize));
        if !grows || (allowed && replaces) {
            return done(clusters);
        }
        let spot: Vec<ClusterId> = if self.policy.all_on_spot() {
            clusters.iter().map(|it| it.cluster).collect()
        } else {
            self.pins.clone().unwrap_or_default()
        };
        let estimate = cost::estimate(self.fleet, self.workload, self.policy, &clusters, &spot);
        let own = self.policy.max_monthly.clone();
        let left = allowances
            .iter()
            .map(|it| (Money(it.monthly_micros.max(0)), format!("CostBudget {} still", it.budget)));
        match own.into_iter().chain(left).find(|(max, _)| estimate.monthly > *max) {
            Some((max, policy)) => Err(Outcome::OverBudget { estimate, max, policy }),
            None => done(clusters),
        }
    }
}
