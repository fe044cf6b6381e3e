//! Keeping the domains of a spread level: `maxSkew` bounds the difference between them (RULES 3.1).

use crate::{
    attempt::Pass,
    divide::{Next, Party, webster},
    fleet::Domains,
    place::Outcome,
    select::Candidate,
};

/// More replicas than this are not levelled one by one.
const MANY: i64 = 1 << 12;

impl Pass<'_> {
    pub(crate) fn skews(&self) -> bool {
        self.policy.spread.iter().any(|it| it.max_skew.is_some())
    }

    /// Replicas of each chosen domain of a rule, by domain.
    fn totals(&self, rule: usize, parties: &[Party], candidates: &[Candidate]) -> Vec<(u32, i64)> {
        let mut totals: Vec<(u32, i64)> = Vec::new();
        for (party, it) in parties.iter().zip(candidates) {
            let domain = self.domain(rule, it);
            if domain == Domains::NONE {
                continue;
            }
            match totals.iter_mut().find(|it| it.0 == domain) {
                Some(total) => total.1 += party.seats,
                None => totals.push((domain, party.seats)),
            }
        }
        totals
    }

    /// Seat by seat, so that no chosen domain is ever further ahead than `maxSkew`.
    pub(crate) fn level(&self, parties: &mut [Party], candidates: &[Candidate], total: i64) -> i64 {
        for it in parties.iter_mut() {
            it.seats = it.floor;
        }
        let mut left = total - parties.iter().map(|it| it.seats).sum::<i64>();
        if left > MANY {
            left = self.rise(parties, candidates, left);
        }
        while left > 0 {
            let totals: Vec<_> = (0..self.policy.spread.len())
                .map(|rule| self.totals(rule, parties, candidates))
                .collect();
            let pick = |strict: bool| {
                (0..parties.len())
                    .filter(|at| parties[*at].seats < parties[*at].cap)
                    .filter(|at| {
                        self.policy.spread.iter().enumerate().all(|(rule, spread)| {
                            let Some(skew) = spread.max_skew else { return true };
                            if !strict && !spread.hard {
                                return true;
                            }
                            let domain = self.domain(rule, &candidates[*at]);
                            let lowest = totals[rule].iter().map(|it| it.1).min().unwrap_or(0);
                            let own = totals[rule].iter().find(|it| it.0 == domain);
                            own.is_none_or(|it| it.1 < lowest + skew)
                        })
                    })
                    .map(|at| Next { weight: parties[at].weight, seats: parties[at].seats, at })
                    .max()
            };
            let Some(next) = pick(true).or_else(|| pick(false)) else { break };
            parties[next.at].seats += 1;
            left -= 1;
        }
        left
    }

    /// Lets all domains of the first rule with a `maxSkew` rise together by most of `left`; returns what is left then.
    fn rise(&self, parties: &mut [Party], candidates: &[Candidate], left: i64) -> i64 {
        let Some(rule) = self.policy.spread.iter().position(|it| it.max_skew.is_some()) else {
            return left;
        };
        let totals = self.totals(rule, parties, candidates);
        let count = i64::try_from(totals.len()).unwrap_or(i64::MAX).max(1);
        let each = (left - MANY / 2) / count;
        let mut given = 0;
        for (domain, seats) in totals {
            let own: Vec<usize> = (0..parties.len())
                .filter(|at| self.domain(rule, &candidates[*at]) == domain)
                .collect();
            let mut inside: Vec<Party> =
                own.iter().map(|at| Party { floor: parties[*at].seats, ..parties[*at] }).collect();
            let over = webster(&mut inside, seats + each).max(0);
            for (at, party) in own.iter().zip(&inside) {
                parties[*at].seats = party.seats;
            }
            given += each - over;
        }
        left - given
    }

    /// Moves replicas from the fullest domain to the emptiest while a hard `maxSkew` is broken: first what is being
    /// given or taken away, then what runs.
    pub(crate) fn even_out(&self, parties: &mut [Party], candidates: &[Candidate]) {
        let least = self.policy.min_per_cluster();
        let spreads = self.policy.spread.iter().any(|it| it.min > 1);
        let floor = if spreads { least.max(1) } else { least };
        for (rule, spread) in self.policy.spread.iter().enumerate() {
            let Some(skew) = spread.max_skew.filter(|_| spread.hard) else { continue };
            for gently in [true, false] {
                // Whoever holds what makes it count keeps that much.
                let bounds = |it: &Party, candidate: &Candidate| {
                    let least = floor.min(it.seats);
                    if gently { (it.floor.max(least), it.cap) } else { (least, candidate.cap) }
                };
                self.even_out_rule(rule, skew, parties, candidates, &bounds);
            }
        }
    }

    fn even_out_rule(
        &self,
        rule: usize,
        skew: i64,
        parties: &mut [Party],
        candidates: &[Candidate],
        bounds: &dyn Fn(&Party, &Candidate) -> (i64, i64),
    ) {
        loop {
            let totals = self.totals(rule, parties, candidates);
            let Some(high) = totals.iter().map(|it| it.1).max() else { break };
            let Some(low) = totals.iter().map(|it| it.1).min() else { break };
            if high - low <= skew {
                break;
            }
            let of = |domain: u32| {
                (0..parties.len()).filter(move |at| self.domain(rule, &candidates[*at]) == domain)
            };
            let spare = |at: usize| parties[at].seats - bounds(&parties[at], &candidates[at]).0;
            let space = |at: usize| bounds(&parties[at], &candidates[at]).1 - parties[at].seats;
            let giver = |domain: u32| {
                of(domain).filter(|at| spare(*at) > 0).max_by_key(|at| (parties[*at].seats, *at))
            };
            let taker = |domain: u32| {
                of(domain).filter(|at| space(*at) > 0).min_by_key(|at| (parties[*at].seats, *at))
            };
            let from = totals
                .iter()
                .filter(|it| it.1 > low)
                .filter_map(|it| Some((it.1, it.0, giver(it.0)?)))
                .max_by_key(|it| (it.0, it.1));
            let to = totals
                .iter()
                .filter(|it| it.1 < high)
                .filter_map(|it| Some((it.1, it.0, taker(it.0)?)))
                .min_by_key(|it| (it.0, it.1));
            let (Some((most, _, from)), Some((least, _, to))) = (from, to) else { break };
            // Where the fullest cannot give, or the emptiest cannot take, another domain does as far as it stays within.
            let amount = match (most == high, least == low) {
                (true, true) => ((high - low - skew) / 2).max(1),
                (true, false) => (high - low - skew).min(low + skew - least),
                (false, true) => (high - low - skew).min(most - (high - skew)),
                (false, false) => 0,
            };
            let amount = amount.min(spare(from)).min(space(to));
            if amount <= 0 {
                break;
            }
            parties[from].seats -= amount;
            parties[to].seats += amount;
        }
    }

    /// The hard rule whose domains with replicas lie further apart than its `maxSkew`.
    pub(crate) fn skewed(&self, parties: &[Party], candidates: &[Candidate]) -> Option<usize> {
        self.policy.spread.iter().enumerate().position(|(rule, spread)| {
            spread.max_skew.filter(|_| spread.hard).is_some_and(|skew| {
                let totals = self.totals(rule, parties, candidates);
                let held = || totals.iter().map(|it| it.1).filter(|it| *it > 0);
                held().max().unwrap_or(0) - held().min().unwrap_or(0) > skew
            })
        })
    }

    /// An error where the parts in `scratch.parties` break a `maxSkew`.
    pub(crate) fn level_enough(&self, candidates: &[Candidate]) -> Result<(), Outcome> {
        let Some(rule) = self.skewed(&self.scratch.parties, candidates) else { return Ok(()) };
        let spread = &self.policy.spread[rule];
        Err(Outcome::Skew { key: spread.key.clone(), max: spread.max_skew.unwrap_or_default() })
    }

    /// Gives up the domain of the first hard rule with a `maxSkew` that can hold least and holds nothing: it keeps the
    /// others low. `false` if there is none to spare.
    pub(crate) fn give_up_lowest(&self, candidates: &mut Vec<Candidate>) -> bool {
        let rules = || self.policy.spread.iter();
        let Some(rule) = rules().position(|it| it.max_skew.is_some() && it.hard) else {
            return false;
        };
        let mut caps: std::collections::BTreeMap<u32, (bool, i64)> = Default::default();
        for it in candidates.iter() {
            let cap = caps.entry(self.domain(rule, it)).or_default();
            *cap = (cap.0 || it.held > 0, cap.1.saturating_add(it.cap));
        }
        if caps.len() <= self.policy.spread[rule].min.max(1) {
            return false;
        }
        let lowest = caps.iter().filter(|it| !it.1.0).min_by_key(|it| (it.1.1, *it.0));
        let Some((lowest, _)) = lowest else { return false };
        candidates.retain(|it| self.domain(rule, it) != *lowest);
        true
    }
}
