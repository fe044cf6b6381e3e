//! Bound and placement together: prices from the bound guide the search, what the search finds tells the bound how far
//! it may climb.

use crate::{
    anneal::anneal,
    bound::{Ascent, Bound},
    check::{Tally, Violation, check},
    exact::settle,
    fill::Guide,
    improve::{Dice, fill_all, improve, sizes},
    instance::{Instance, Invalid, Solution},
    net::Net,
    share::share,
    squeeze::{close, penalties},
    state::State,
    whole::repack,
};

/// What was found, and what nothing can be better than.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub solution: Solution,
    pub tally: Tally,
    /// µ$/h: no placement of the instance costs less.
    pub bound: i64,
    /// µ$/h of today's placement; none where something does not run yet.
    pub today: Option<i64>,
    /// Whether `stop` ended the run: one more second might have found more.
    pub stopped: bool,
}

impl Answer {
    /// How much of the cost may be too much, in millionths of it.
    pub fn gap(&self) -> i64 {
        let over = i128::from(self.tally.cost) - i128::from(self.bound);
        let gap = over.max(0) * 1_000_000 / i128::from(self.tally.cost.max(1));
        i64::try_from(gap).unwrap_or(i64::MAX)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    #[error("the instance is not valid: {0}")]
    Invalid(#[from] Invalid),
    #[error("what runs today breaks a rule: {0}")]
    Today(Violation),
    #[error("no placement of everything was found; {missing} replicas are left over")]
    NoPlacement { missing: i64 },
    /// The search is wrong: its result did not pass the check.
    #[error("the result did not pass the check: {0}")]
    Unsound(Violation),
}

/// Steps of the climb between two looks at the search.
const STEPS: usize = 60;
/// The climb comes first, and a first placement with it: in so many laps at least, and at most.
const FIRST: std::ops::Range<usize> = 4..40;
/// What some placement is taken to cost while none is known, in per cent of the bound.
const TARGET: i64 = 103;
/// With no more tasks than these every way to begin is tried.
const SMALL_TASKS: usize = 100;
/// Stretches of annealing, each cooler than the one before; steps of a stretch for each replica, and at most.
const STRETCHES: i64 = 8;
const EACH: i64 = 200;
/// Of a small fleet, so many times as many, and so many times the laps without a change.
const LONGER: usize = 4;
const MOST: i64 = 1_000_000;
/// What a step up may cost at first, in parts of what a replica costs.
const HOT: i64 = 60;
/// Laps of local search, its rounds in each, and laps without a change until nothing more is expected.
const LAPS: usize = 100;
const ROUNDS: usize = 300;
const STILL: usize = 6;
/// Laps in which the prices are worked at too.
const CLIMBING: usize = 8;
/// Nodes that are tried to be closed in each lap.
const CLOSINGS: usize = 20;
/// A gap below this many millionths is none worth the time.
const SMALL: i64 = 500;

/// Finds a placement of everything that costs little, and proves how little it could cost. `stop` is asked now and
/// then; where it never says yes, the same instance gives the same answer.
pub fn solve(instance: &Instance, stop: &dyn Fn() -> bool) -> Result<Answer, SolveError> {
    instance.validate()?;
    let today = match Solution::today(instance) {
        Some(it) => Some((check(instance, &it).map_err(SolveError::Today)?, it)),
        None => None,
    };
    let net = Net::new(instance);
    if let Some(it) = net.tasks.iter().find(|it| !it.may_fit()) {
        return Err(SolveError::NoPlacement { missing: it.replicas });
    }
    let bound = Bound::new(&net);
    let mut search = Search {
        net: &net,
        bound: &bound,
        sizes: sizes(&net),
        ascent: bound.begin(),
        dice: Dice::new(20_261_121),
        stop,
        stopped: false,
        shared: false,
        settled: false,
    };
    let mut best: Option<State<'_>> = today.as_ref().map(|_| State::today(&net));
    let missing = search.first(&mut best);
    if let Some(best) = &mut best {
        if !search.shared {
            search.anneal(best);
        }
        search.polish(best);
        search.settle(best);
    }
    let found = best.map(|it| it.solution());
    let (ascent, stopped, settled) = (search.ascent, search.stopped, search.settled);
    let solution = found.ok_or(SolveError::NoPlacement { missing })?;
    let tally = check(instance, &solution).map_err(SolveError::Unsound)?;
    Ok(Answer {
        solution,
        tally,
        // Where every way was looked at, what costs least is known.
        bound: if settled { tally.cost } else { ascent.best.micros() },
        today: today.map(|it| it.0.cost),
        stopped,
    })
}

/// The parts of a run, in their order.
struct Search<'a> {
    net: &'a Net<'a>,
    bound: &'a Bound<'a>,
    sizes: Vec<i64>,
    ascent: Ascent,
    dice: Dice,
    stop: &'a dyn Fn() -> bool,
    stopped: bool,
    /// The placement was begun on pools as wholes: there is nothing in it that heat would mend.
    shared: bool,
    /// No placement costs less.
    settled: bool,
}

impl<'a> Search<'a> {
    fn guides(&self) -> [Guide; 4] {
        [(100.0, 0.05), (100.0, 0.3), (80.0, 0.1), (30.0, 0.3)]
            .map(|(percent, scarce)| Guide::new(self.net, &self.ascent.prices, percent, scarce))
    }

    /// Whether there is nothing more to be done.
    fn ends(&mut self, best: &State<'_>) -> bool {
        self.stopped |= (self.stop)();
        let gap = i128::from(best.cost) - i128::from(self.ascent.best.micros());
        self.stopped || gap * 1_000_000 / i128::from(best.cost.max(1)) < i128::from(SMALL)
    }

    /// Prices, and a placement by them. Returns how many replicas were left over at the closest failure.
    fn first(&mut self, best: &mut Option<State<'a>>) -> i64 {
        let mut missing = i64::MAX;
        // What runs already may stay, which pools as wholes do not know of.
        if best.is_none() && !self.net.tasks.iter().any(|it| it.moves) {
            for _ in 0..FIRST.start {
                let target = self.ascent.best.micros() / 100 * TARGET;
                self.bound.climb(&mut self.ascent, STEPS, target);
            }
            let (prices, guide) = (&self.ascent.prices, &self.guides()[0]);
            *best = share(self.net, prices, guide, &self.sizes, &mut self.dice, self.stop);
            // A small one is cheap to look at in other ways too.
            self.shared = best.is_some() && self.net.tasks.len() > SMALL_TASKS;
            if self.shared {
                return 0;
            }
        }
        for lap in 0..FIRST.end {
            // Before anything is found there is little to climb towards.
            match best {
                Some(best) => self.bound.climb(&mut self.ascent, STEPS, best.cost),
                None if lap > 0 => self.bound.climb(&mut self.ascent, STEPS, dearest(self.net)),
                None => (),
            }
            for guide in &self.guides() {
                let mut state = State::empty(self.net);
                if fill_all(&mut state, guide, &self.sizes) {
                    if best.as_ref().is_none_or(|best| state.cost < best.cost) {
                        *best = Some(state);
                    }
                } else {
                    missing = missing.min(state.missing.max(1));
                }
            }
            if let Some(best) = best
                && (self.ends(best) || lap + 1 >= FIRST.start)
            {
                break;
            }
        }
        missing
    }

    fn longer(&self) -> usize {
        if self.net.tasks.len() <= SMALL_TASKS { LONGER } else { 1 }
    }

    fn anneal(&mut self, best: &mut State<'a>) {
        let replicas: i64 = self.net.tasks.iter().map(|it| it.replicas).sum();
        let each = EACH * i64::try_from(self.longer()).unwrap_or(1);
        let steps = usize::try_from((replicas * each).clamp(4_096, MOST)).unwrap_or(4_096);
        let hot = best.cost / replicas.max(1) / HOT;
        let mut state = best.clone();
        state.forget();
        for stretch in 0..STRETCHES {
            if self.ends(best) {
                return;
            }
            self.bound.climb(&mut self.ascent, STEPS, best.cost);
            let cool = STRETCHES - stretch;
            let heat = hot * cool * cool / (STRETCHES * STRETCHES);
            self.stopped |= !anneal(&mut state, &mut self.dice, heat, steps, self.stop);
            if state.cost < best.cost {
                *best = state.clone();
            }
        }
    }

    /// A small one to its end: exactly, where it is small enough.
    fn settle(&mut self, best: &mut State<'a>) {
        let small = self.net.tasks.len() <= SMALL_TASKS;
        if small && !self.stopped && best.cost > self.ascent.best.micros() {
            self.settled = settle(best, self.stop);
            self.stopped = !self.settled && (self.stop)();
        }
    }

    fn polish(&mut self, best: &mut State<'a>) {
        let guides = self.guides();
        let (mut last, mut still) = (best.cost, 0);
        for lap in 0..LAPS {
            if lap < CLIMBING {
                self.bound.climb(&mut self.ascent, STEPS, best.cost);
            }
            if self.ends(best) || still >= STILL * self.longer() {
                return;
            }
            improve(best, &guides, &self.sizes, &mut self.dice, ROUNDS, self.stop);
            let penalties = penalties(self.net, &self.ascent.prices);
            for _ in 0..CLOSINGS {
                close(best, &guides[0], &penalties, &self.sizes, &mut self.dice, self.stop);
            }
            repack(best, &guides[0], &self.sizes, &mut self.dice);
            still = if best.cost < last { 0 } else { still + 1 };
            last = best.cost;
        }
    }
}

/// More than any placement costs that is worth looking for.
fn dearest(net: &Net<'_>) -> i64 {
    let place = |it: &crate::net::NetTask| {
        let each = it.places.iter().map(|at| at.cost + net.pools[at.pool].cost).max();
        each.unwrap_or(0).saturating_mul(it.replicas)
    };
    net.tasks.iter().map(place).fold(0, i64::saturating_add)
}
