//! Choosing clusters under the rules of a spread: greedily in the order of preference, with a bounded number of second
//! tries, never by trying all combinations.

use crate::{bits::Bits, divide::Party, fleet::Domains, mask::Masks, policy::SpreadRule};

/// Lower is better; ties go to the lower number of the cluster, which is the lower name.
pub(crate) type Rank = (u8, i64, i64);

/// A cluster that may be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) cluster: u32,
    /// It holds the workload and may keep it.
    pub(crate) kept: bool,
    /// It may get more than it holds.
    pub(crate) open: bool,
    /// What it holds.
    pub(crate) held: i64,
    /// What it can hold in all.
    pub(crate) cap: i64,
    pub(crate) weight: i64,
    pub(crate) rank: Rank,
    /// Its affinity group, counted from the one that flows over.
    pub(crate) tier: usize,
}

impl Candidate {
    /// Kept ones first, those of a preferred group before others, the fuller before the emptier; then by rank and name.
    pub(crate) fn order(&self) -> (bool, usize, i64, Rank, u32) {
        let held = if self.kept { -self.held } else { 0 };
        (!self.kept, self.tier, held, self.rank, self.cluster)
    }
}

/// Memory that decisions use again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) open: Bits,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) parties: Vec<Party>,
    pub(crate) held: Vec<(u32, i64)>,
    /// Wishes about other workloads that each cluster leaves unmet; empty where there are none.
    pub(crate) wishes: Vec<u8>,
}

/// What is asked of a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) max_clusters: usize,
    /// Together they must be able to hold so much; 0 where room does not count.
    pub(crate) room: i64,
    /// Stop once they can; otherwise take as many clusters as the rules allow.
    pub(crate) few: bool,
}

/// Why no choice keeps the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A rule of the spread by its place, with how many domains could be had.
    Spread {
        rule: usize,
        found: usize,
    },
    Room {
        missing: i64,
    },
}

/// Second tries, each with another cluster forced.
const TRIES: usize = 64;

/// Chooses among `all` (which it sorts) and keeps the chosen ones only.
pub(crate) fn select(
    all: &mut Vec<Candidate>,
    rules: &[SpreadRule],
    masks: &Masks,
    wanted: Wanted,
) -> Result<(), Unfit> {
    all.sort_unstable_by_key(Candidate::order);
    let choice = Choice { all, rules, domains: &masks.domains, wanted };
    let first = choice.run(None);
    let chosen = match first {
        Ok(chosen) => chosen,
        Err(mut error) => {
            let mut seen: Vec<Vec<u32>> = Vec::new();
            let mut better = None;
            for (at, it) in all.iter().enumerate().filter(|(_, it)| !it.kept) {
                let signature: Vec<u32> = rules
                    .iter()
                    .zip(&masks.domains)
                    .filter(|(rule, _)| rule.key != "cluster")
                    .map(|(_, domains)| domains.of[it.cluster as usize])
                    .collect();
                if signature.is_empty() || seen.len() >= TRIES {
                    break;
                }
                if seen.contains(&signature) {
                    continue;
                }
                seen.push(signature);
                match choice.run(Some(at)) {
                    Ok(chosen) => {
                        better = Some(chosen);
                        break;
                    }
                    Err(Unfit::Room { missing }) => {
                        if let Unfit::Room { missing: least } = &mut error {
                            *least = missing.min(*least);
                        }
                    }
                    Err(Unfit::Spread { .. }) => (),
                }
            }
            better.ok_or(error)?
        }
    };
    let mut at = 0;
    all.retain(|_| {
        at += 1;
        chosen.contains(at - 1)
    });
    Ok(())
}

struct Choice<'a> {
    all: &'a [Candidate],
    rules: &'a [SpreadRule],
    domains: &'a [Domains],
    wanted: Wanted,
}

/// How far a choice is: the chosen ones, and the domains of each rule that they lie in.
struct State {
    chosen: Bits,
    count: usize,
    room: i64,
    domains: Vec<Bits>,
    counts: Vec<usize>,
}

impl Choice<'_> {
    fn run(&self, forced: Option<usize>) -> Result<Bits, Unfit> {
        let mut state = State {
            chosen: Bits::none(self.all.len()),
            count: 0,
            room: 0,
            domains: self.domains.iter().map(|it| Bits::none(it.names.len())).collect(),
            counts: vec![0; self.rules.len()],
        };
        // What runs stays, as far as the rules let it.
        for at in (0..self.all.len()).take_while(|at| self.all[*at].kept).chain(forced) {
            if self.allowed(&state, at) {
                self.take(&mut state, at);
            }
        }
        self.minima(&mut state)?;
        for at in 0..self.all.len() {
            if self.wanted.few && state.room >= self.wanted.room && state.count > 0 {
                break;
            }
            if !state.chosen.contains(at) && self.allowed(&state, at) {
                self.take(&mut state, at);
            }
        }
        if state.room < self.wanted.room {
            return Err(Unfit::Room { missing: self.wanted.room - state.room });
        }
        Ok(state.chosen)
    }

    fn domain(&self, rule: usize, at: usize) -> u32 {
        self.domains[rule].of[self.all[at].cluster as usize]
    }

    fn is_new(&self, state: &State, rule: usize, at: usize) -> bool {
        let domain = self.domain(rule, at);
        domain != Domains::NONE && !state.domains[rule].contains(domain as usize)
    }

    fn allowed(&self, state: &State, at: usize) -> bool {
        let it = &self.all[at];
        (it.kept || it.open)
            && state.count < self.wanted.max_clusters
            && (0..self.rules.len()).filter(|rule| self.rules[*rule].hard).all(|rule| {
                self.domain(rule, at) != Domains::NONE
                    && (!self.is_new(state, rule, at) || state.counts[rule] < self.rules[rule].max)
            })
    }

    fn take(&self, state: &mut State, at: usize) {
        for rule in 0..self.rules.len() {
            if self.is_new(state, rule, at) {
                state.domains[rule].insert(self.domain(rule, at) as usize);
                state.counts[rule] += 1;
            }
        }
        state.chosen.insert(at);
        state.count += 1;
        state.room = state.room.saturating_add(self.all[at].cap);
    }

    /// Takes clusters until every rule has its least number of domains: each time the one that helps most rules.
    fn minima(&self, state: &mut State) -> Result<(), Unfit> {
        let mut hopeless = vec![false; self.rules.len()];
        loop {
            let unmet = |state: &State, rule: usize, hopeless: &[bool]| {
                !hopeless[rule] && state.counts[rule] < self.rules[rule].min
            };
            let Some(first) = (0..self.rules.len()).find(|it| unmet(state, *it, &hopeless)) else {
                return Ok(());
            };
            let helps = |at: usize| {
                (0..self.rules.len())
                    .filter(|rule| unmet(state, *rule, &hopeless) && self.is_new(state, *rule, at))
                    .count()
            };
            let mut best: Option<(usize, usize)> = None;
            for at in 0..self.all.len() {
                if state.chosen.contains(at)
                    || !self.is_new(state, first, at)
                    || !self.allowed(state, at)
                    || (self.wanted.room > 0 && self.all[at].cap == 0)
                {
                    continue;
                }
                let helped = helps(at);
                if best.is_none_or(|(most, _)| helped > most) {
                    best = Some((helped, at));
                }
            }
            match best {
                Some((_, at)) => self.take(state, at),
                None if self.rules[first].hard => {
                    return Err(Unfit::Spread { rule: first, found: state.counts[first] });
                }
                None => hopeless[first] = true,
            }
        }
    }
}
