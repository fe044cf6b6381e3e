//! Which of some clusters stay, in the order of preference, under the rules of a spread: a search that looks ahead, so
//! that it seldom goes back, and gives up after a bounded number of steps.

use crate::{fleet::Domains, select::Candidate};

/// So often the search goes back on a cluster that it took.
const RETURNS: usize = 1_024;
/// So many clusters are looked at for the room that is still to be had.
const LOOKS: usize = 1 << 20;

/// What is asked of a choice.
pub(crate) struct Asked<'a> {
    pub(crate) domains: &'a [Domains],
    /// Whether a cluster without the property is out, by rule.
    pub(crate) hard: Vec<bool>,
    /// The least and the largest number of domains, by rule.
    pub(crate) bounds: Vec<(usize, usize)>,
    /// The largest number of clusters.
    pub(crate) clusters: usize,
    /// Together they must be able to hold so much.
    pub(crate) room: i64,
    /// Those that are taken only as far as the others are not enough.
    pub(crate) spare: Vec<bool>,
    /// The preferred group of clusters comes first: what lies in a further one is not needed as long as this is enough.
    pub(crate) tiers: Vec<usize>,
}

/// The first choice in the order of `all` that is as asked, as places in it. `caps` says how much each can hold.
pub(crate) fn survivors(all: &[Candidate], caps: &[i64], asked: &Asked<'_>) -> Option<Vec<usize>> {
    Search::new(all, caps, asked).run()
}

/// One rule during the search.
struct RuleState {
    /// Of each candidate.
    of: Vec<u32>,
    min: usize,
    max: usize,
    /// Of each domain: how many of the chosen lie in it, and the last candidate that does.
    chosen: Vec<u32>,
    last: Vec<usize>,
    /// Domains with a chosen one.
    have: usize,
}

impl RuleState {
    fn need(&self) -> usize {
        self.min.saturating_sub(self.have)
    }

    fn is_new(&self, at: usize) -> bool {
        self.of[at] != Domains::NONE && self.chosen[self.of[at] as usize] == 0
    }

    /// Whether no candidate after `at` lies in its domain.
    fn is_last(&self, at: usize) -> bool {
        self.of[at] != Domains::NONE && self.last[self.of[at] as usize] == at
    }
}

struct Search<'a> {
    caps: &'a [i64],
    asked: &'a Asked<'a>,
    rules: Vec<RuleState>,
    /// Candidates that can hold nothing, or lack a property that a hard rule asks for.
    out: Vec<bool>,
    /// Domains without a chosen one, with candidates from here on, by rule.
    ahead: Vec<usize>,
    taken: Vec<usize>,
    room: i64,
    /// Sums of caps before each place.
    sums: Vec<i64>,
    sorted: bool,
    looks: usize,
}

impl<'a> Search<'a> {
    fn new(all: &[Candidate], caps: &'a [i64], asked: &'a Asked<'a>) -> Self {
        let mut out: Vec<bool> = caps.iter().map(|it| *it <= 0).collect();
        let mut rules: Vec<RuleState> = Vec::new();
        for (rule, domains) in asked.domains.iter().enumerate() {
            let (min, max) = asked.bounds[rule];
            let of: Vec<u32> = all.iter().map(|it| domains.of[it.cluster as usize]).collect();
            let last = vec![usize::MAX; domains.names.len()];
            for (at, domain) in of.iter().enumerate() {
                if *domain == Domains::NONE {
                    out[at] |= asked.hard[rule];
                }
            }
            let chosen = vec![0; last.len()];
            rules.push(RuleState { of, min, max, chosen, last, have: 0 });
        }
        for it in &mut rules {
            for at in (0..all.len()).filter(|at| !out[*at] && it.of[*at] != Domains::NONE) {
                it.last[it.of[at] as usize] = at;
            }
        }
        let mut sum = 0_i64;
        let mut sums = vec![0];
        for cap in caps {
            sum = sum.saturating_add(*cap);
            sums.push(sum);
        }
        let ahead =
            rules.iter().map(|it| it.last.iter().filter(|it| **it != usize::MAX).count()).collect();
        let sorted = caps.is_sorted_by(|a, b| a >= b) && !out.contains(&true);
        Self { caps, asked, rules, out, ahead, taken: Vec::new(), room: 0, sums, sorted, looks: 0 }
    }

    fn run(mut self) -> Option<Vec<usize>> {
        let count = self.caps.len();
        let (mut at, mut returns) = (0, 0);
        if !self.hopeful(0) {
            return None;
        }
        loop {
            if at == count && self.done() {
                return Some(self.slim());
            }
            let mut goes_on = at < count;
            if goes_on {
                if self.may(at) {
                    self.take(at);
                    goes_on = self.hopeful(at + 1);
                    if !goes_on {
                        self.give_back();
                        goes_on = self.pass(at);
                    }
                } else {
                    goes_on = self.pass(at);
                }
                at += 1;
            }
            while !goes_on {
                returns += 1;
                let last = *self.taken.last()?;
                if returns > RETURNS {
                    return None;
                }
                // The places after it were passed, and are ahead again.
                self.give_back();
                self.look_ahead_from(last);
                goes_on = self.pass(last);
                at = last + 1;
            }
        }
    }

    /// Without those spare ones, the last first, that turned out not to be needed.
    fn slim(mut self) -> Vec<usize> {
        for place in (0..self.taken.len()).rev() {
            let at = self.taken[place];
            if !self.asked.spare[at] {
                continue;
            }
            let domain = |it: &RuleState| {
                let only = it.of[at] != Domains::NONE && it.chosen[it.of[at] as usize] == 1;
                only && it.have <= it.min
            };
            let others = self.taken.iter().filter(|it| **it != at);
            let room = others.map(|it| self.caps[*it]).fold(0, i64::saturating_add);
            if self.taken.len() == 1 || room < self.asked.room || self.rules.iter().any(domain) {
                continue;
            }
            let tiers = &self.asked.tiers;
            if self.taken.iter().any(|other| tiers[*other] > tiers[at]) {
                continue;
            }
            self.taken.remove(place);
            for it in &mut self.rules {
                if it.of[at] != Domains::NONE {
                    it.chosen[it.of[at] as usize] -= 1;
                }
                it.have -= usize::from(it.is_new(at));
            }
        }
        self.taken
    }

    fn done(&self) -> bool {
        self.room >= self.asked.room
            && !self.taken.is_empty()
            && self.rules.iter().all(|it| it.need() == 0)
    }

    fn may(&self, at: usize) -> bool {
        !self.out[at]
            && self.taken.len() < self.asked.clusters
            && (!self.asked.spare[at]
                || self.room < self.asked.room
                || self.rules.iter().any(|it| it.need() > 0 && it.is_new(at)))
            && self.rules.iter().all(|it| !it.is_new(at) || it.have < it.max)
    }

    fn take(&mut self, at: usize) {
        for (it, ahead) in self.rules.iter_mut().zip(&mut self.ahead) {
            if it.is_new(at) {
                it.have += 1;
                *ahead -= 1;
            }
            if it.of[at] != Domains::NONE {
                it.chosen[it.of[at] as usize] += 1;
            }
        }
        self.taken.push(at);
        self.room = self.room.saturating_add(self.caps[at]);
    }

    /// Undoes the last taking.
    fn give_back(&mut self) {
        let Some(at) = self.taken.pop() else { return };
        for (it, ahead) in self.rules.iter_mut().zip(&mut self.ahead) {
            if it.of[at] != Domains::NONE {
                it.chosen[it.of[at] as usize] -= 1;
            }
            if it.is_new(at) {
                it.have -= 1;
                *ahead += 1;
            }
        }
        self.room = self.taken.iter().map(|it| self.caps[*it]).fold(0, i64::saturating_add);
    }

    /// Leaves one out. Says whether there is hope without it.
    fn pass(&mut self, at: usize) -> bool {
        for (it, ahead) in self.rules.iter().zip(&mut self.ahead) {
            if it.is_last(at) && it.is_new(at) {
                *ahead -= 1;
            }
        }
        self.hopeful(at + 1)
    }

    /// Counts the domains ahead anew, from a place on.
    fn look_ahead_from(&mut self, at: usize) {
        for (it, ahead) in self.rules.iter().zip(&mut self.ahead) {
            let open = it.last.iter().zip(&it.chosen);
            *ahead = open
                .filter(|(last, chosen)| **chosen == 0 && **last != usize::MAX && **last >= at)
                .count();
        }
    }

    /// Whether what is taken can still become a whole choice with what comes from a place on. What it refuses is
    /// impossible; with at most one rule what it lets pass is possible, apart from a largest number of domains.
    fn hopeful(&mut self, from: usize) -> bool {
        let places = self.asked.clusters - self.taken.len();
        let needs = self.rules.iter().zip(&self.ahead);
        let enough = needs.fold(true, |enough, (it, ahead)| {
            enough && it.need() <= places.min(*ahead) && it.have + it.need() <= it.max
        });
        if !enough {
            return false;
        }
        if self.room >= self.asked.room {
            return true;
        }
        let needs = self.rules.iter().any(|it| it.need() > 0);
        if self.sorted && !needs {
            let to = from.saturating_add(places).min(self.caps.len());
            let more = self.sums[to].saturating_sub(self.sums[from]);
            return self.room.saturating_add(more) >= self.asked.room;
        }
        if self.looks > LOOKS {
            return true;
        }
        self.looks += self.caps.len() - from;
        let mut rest: Vec<usize> = (from..self.caps.len()).filter(|at| !self.out[*at]).collect();
        rest.sort_by_key(|at| std::cmp::Reverse(self.caps[*at]));
        if self.rules.is_empty() {
            return self.reach(None, &rest, places) >= self.asked.room;
        }
        self.rules.iter().all(|it| self.reach(Some(it), &rest, places) >= self.asked.room)
    }

    /// The most room to be had with so many more, the roomiest first, as far as one rule lets it.
    fn reach(&self, rule: Option<&RuleState>, rest: &[usize], mut places: usize) -> i64 {
        let mut need = rule.map_or(0, RuleState::need);
        let mut seen: Vec<u32> = Vec::new();
        let mut room = self.room;
        for at in rest {
            if places == 0 || room >= self.asked.room && need == 0 {
                break;
            }
            let new = rule.is_some_and(|it| it.is_new(*at) && !seen.contains(&it.of[*at]));
            if places <= need && !new {
                continue;
            }
            if let (true, Some(rule)) = (new && need > 0, rule) {
                seen.push(rule.of[*at]);
                need -= 1;
            }
            room = room.saturating_add(self.caps[*at]);
            places -= 1;
        }
        room
    }
}
