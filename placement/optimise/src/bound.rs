//! What no placement can cost less than: the rules that tie tasks together (room of pools, the bound on moves) get
//! prices instead, and every task then takes what is cheapest for itself.
//!
//! Prices are found by the volume method in floating point; what a set of prices proves is worked out in integers, so
//! the bound holds whatever rounding did on the way there.

use crate::net::{Amounts, DIMS, Net, NetTask, SLOTS};

/// A µ$ in the numbers that bounds are worked out in.
const UNIT: u32 = 20;
/// Costs above this prove nothing more.
const DEAR: i64 = 1 << 40;
/// Amounts are counted so finely.
const FINE: i64 = 1 << 22;

/// What the room of pools and a move are worth.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prices {
    /// By pool and resource: of all of one node's, in µ$/h.
    pub(crate) pools: Vec<[f64; DIMS]>,
    pub(crate) moves: f64,
}

/// The bound's view of an instance.
#[derive(Debug)]
pub(crate) struct Bound<'a> {
    net: &'a Net<'a>,
    /// By task, in scaled units, rounded down.
    need: Vec<Amounts>,
    /// By pool, in scaled units, rounded up.
    free: Vec<Amounts>,
    /// By pool: resources that can run short there.
    live: Vec<[bool; DIMS]>,
    /// By task: every site takes all that could be left for it, and nothing runs yet.
    roomy: Vec<bool>,
}

/// What a set of prices proves, and what runs where under it.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    /// In 2⁻²⁰ µ$/h.
    pub(crate) value: i128,
    /// By pool and resource: nodes' worth used beyond those that there are.
    excess: Vec<[f64; DIMS]>,
    moves: f64,
}

impl Proof {
    /// µ$/h, rounded up: costs are whole numbers.
    pub(crate) fn micros(&self) -> i64 {
        let floor = self.value >> UNIT;
        let up = floor + i128::from(floor << UNIT != self.value);
        i64::try_from(up).unwrap_or(if up < 0 { i64::MIN } else { i64::MAX })
    }
}

/// What one site offers a task, in the numbers of the bound.
#[derive(Clone, Copy, Debug)]
struct Offer {
    site: usize,
    unit: i64,
    cap: i64,
    /// Where it is used: a place, or the replicas that stay.
    place: Option<usize>,
}

impl<'a> Bound<'a> {
    pub(crate) fn new(net: &'a Net<'a>) -> Self {
        let mut unit = [1_i64; DIMS];
        for (at, unit) in unit.iter_mut().enumerate().take(SLOTS) {
            let common = net.tasks.iter().fold(0, |sum, it| gcd(sum, it.need[at]));
            let largest = net.pools.iter().map(|it| it.free[at]).max().unwrap_or(0);
            *unit = common.max(1).max(largest / FINE);
            if common > 0 && *unit > common {
                // A multiple of what all needs are multiples of: no more is lost than must be.
                *unit -= *unit % common;
            }
        }
        let down = |amount: i64, at: usize| amount / unit[at];
        let common = |at: usize| net.tasks.iter().fold(0, |sum, it| gcd(sum, it.need[at]));
        let commons: Vec<i64> = (0..DIMS).map(common).collect();
        let need: Vec<Amounts> =
            net.tasks.iter().map(|it| std::array::from_fn(|at| down(it.need[at], at))).collect();
        let free: Vec<Amounts> = net
            .pools
            .iter()
            .map(|it| {
                std::array::from_fn(|at| {
                    // Nothing can use what is less than all needs have in common.
                    let usable = it.free[at] - it.free[at] % commons[at].max(1);
                    usable / unit[at] + i64::from(usable % unit[at] > 0)
                })
            })
            .collect();
        let live = net
            .pools
            .iter()
            .zip(&free)
            .map(|(it, free)| {
                std::array::from_fn(|at| match at {
                    SLOTS => it.free[SLOTS] < crate::net::MANY,
                    _ => it.free[SLOTS] > 1 && commons[at] > 0 && free[at] > 0,
                })
            })
            .collect();
        let roomy = net.tasks.iter().map(roomy).collect();
        Self { net, need, free, live, roomy }
    }

    /// Prices to begin with: each resource costs the same wherever it is, as on a market; how much, the bound says.
    fn start(&self) -> Prices {
        let pools = || self.net.pools.iter().zip(&self.free).zip(&self.live);
        let resources: Vec<usize> =
            (0..SLOTS).filter(|r| pools().any(|it| it.1[*r] && it.0.0.cost > 0)).collect();
        let mut rates = [0.0_f64; DIMS];
        for r in &resources {
            let (mut money, mut amount) = (0.0, 0.0);
            for ((pool, free), _) in pools().filter(|it| it.0.0.cost > 0) {
                money += pool.cost as f64 * pool.nodes as f64;
                amount += free[*r] as f64 * pool.nodes as f64;
            }
            rates[*r] = money / amount.max(1.0) / resources.len() as f64;
        }
        let priced = |rates: &[f64; DIMS]| Prices {
            pools: pools()
                .map(|((_, free), live)| {
                    std::array::from_fn(|r| if live[r] { rates[r] * free[r] as f64 } else { 0.0 })
                })
                .collect(),
            moves: 0.0,
        };
        let mut best = (self.prove(&priced(&rates)).value, rates);
        for factor in [2.0, 1.4, 1.1, 1.03] {
            for r in resources.iter().copied().cycle().take(2 * resources.len()) {
                for up in [true, false] {
                    for _ in 0..8 {
                        let mut rates = best.1;
                        rates[r] *= if up { factor } else { 1.0 / factor };
                        let value = self.prove(&priced(&rates)).value;
                        if value <= best.0 {
                            break;
                        }
                        best = (value, rates);
                    }
                }
            }
        }
        priced(&best.1)
    }

    /// What prices prove.
    pub(crate) fn prove(&self, prices: &Prices) -> Proof {
        let rates: Vec<Amounts> = prices
            .pools
            .iter()
            .zip(&self.free)
            .zip(&self.live)
            .map(|((it, free), live)| {
                std::array::from_fn(|at| if live[at] { rate(it[at], free[at]) } else { 0 })
            })
            .collect();
        let per_move = rate(prices.moves, 1);
        let mut value: i128 = 0;
        let mut excess = vec![[0.0; DIMS]; self.net.pools.len()];
        let mut moved: i64 = 0;
        let mut work = Work::default();
        let whole: Vec<i64> =
            rates.iter().zip(&self.free).map(|(rates, free)| dot(rates, free)).collect();
        for (at, task) in self.net.tasks.iter().enumerate() {
            self.offers(task, &self.need[at], &rates, &whole, per_move, &mut work.offers);
            value += cheapest(task, self.roomy[at], &mut work);
            for (offer, n) in &work.taken {
                let amount = *n as f64;
                match offer.place {
                    Some(place) => {
                        let pool = task.places[place].pool;
                        for (r, excess) in excess[pool].iter_mut().enumerate() {
                            if self.live[pool][r] {
                                let share = self.need[at][r] as f64 / self.free[pool][r] as f64;
                                *excess += amount * share;
                            }
                        }
                        moved += if task.moves { *n } else { 0 };
                    }
                    None => {
                        let held = task.sites[offer.site].held.expect("only what is held stays");
                        for (r, excess) in excess[held.pool].iter_mut().enumerate() {
                            *excess += if self.live[held.pool][r] { amount } else { 0.0 };
                        }
                    }
                }
            }
        }
        for (at, pool) in self.net.pools.iter().enumerate() {
            let gain = (i128::from(pool.cost) << UNIT) - i128::from(whole[at]);
            if gain <= 0 {
                value += gain * i128::from(pool.nodes);
                for (r, excess) in excess[at].iter_mut().enumerate() {
                    *excess -= if self.live[at][r] { pool.nodes as f64 } else { 0.0 };
                }
            }
        }
        let mut moves = 0.0;
        if let Some(max) = self.net.instance.max_moves {
            value -= i128::from(per_move) * i128::from(max);
            moves = (moved - max) as f64;
        }
        Proof { value, excess, moves }
    }

    fn offers(
        &self,
        task: &NetTask,
        need: &Amounts,
        rates: &[Amounts],
        whole: &[i64],
        per_move: i64,
        offers: &mut Vec<Offer>,
    ) {
        offers.clear();
        let extra = if task.moves { per_move } else { 0 };
        for (at, place) in task.places.iter().enumerate() {
            let unit = (place.cost.min(DEAR) << UNIT)
                .saturating_add(dot(&rates[place.pool], need))
                .saturating_add(extra);
            match offers.last_mut().filter(|it| it.site == place.site) {
                Some(best) if best.unit <= unit => (),
                Some(best) => (best.unit, best.place) = (unit, Some(at)),
                None => {
                    let cap = task.sites[place.site].cap;
                    offers.push(Offer { site: place.site, unit, cap, place: Some(at) });
                }
            }
        }
        if task.moves {
            for (site, it) in task.sites.iter().enumerate() {
                if let Some(held) = it.held {
                    let unit = (held.cost.min(DEAR) << UNIT).saturating_add(whole[held.pool]);
                    let cap = held.replicas.min(it.cap);
                    offers.push(Offer { site, unit, cap, place: None });
                }
            }
        }
    }

    /// Improves prices by so many steps of the volume method. `target` is what some placement costs.
    pub(crate) fn climb(&self, ascent: &mut Ascent, steps: usize, target: i64) {
        for _ in 0..steps {
            let aim = target as f64 * 1.001 - ascent.best.value as f64 / f64::from(1 << UNIT);
            let norm: f64 = ascent.direction.iter().flatten().map(|it| it * it).sum::<f64>()
                + ascent.moves * ascent.moves;
            if norm < 1e-12 || aim <= 0.0 {
                return;
            }
            let step = ascent.pace * aim / norm;
            let mut prices = ascent.prices.clone();
            for ((prices, direction), live) in
                prices.pools.iter_mut().zip(&ascent.direction).zip(&self.live)
            {
                for r in 0..DIMS {
                    if live[r] {
                        prices[r] = (prices[r] + step * direction[r]).max(0.0);
                    }
                }
            }
            prices.moves = (prices.moves + step * ascent.moves).max(0.0);
            let proof = self.prove(&prices);
            let along: f64 = ascent
                .direction
                .iter()
                .flatten()
                .zip(proof.excess.iter().flatten())
                .map(|(a, b)| a * b)
                .sum();
            let share = ascent.share;
            for (direction, excess) in
                ascent.direction.iter_mut().flatten().zip(proof.excess.iter().flatten())
            {
                *direction += share * (excess - *direction);
            }
            ascent.moves += share * (proof.moves - ascent.moves);
            if proof.value > ascent.best.value {
                let little = (proof.value - ascent.best.value) < ascent.best.value.abs() / 20_000;
                (ascent.best, ascent.prices) = (proof, prices);
                ascent.failures = 0;
                if along > 0.0 {
                    ascent.pace = (ascent.pace * 1.1).min(2.0);
                }
                ascent.slow += usize::from(little);
            } else {
                ascent.failures += 1;
                ascent.slow += 1;
                if ascent.failures >= 10 {
                    ascent.failures = 0;
                    ascent.pace = (ascent.pace * 0.7).max(1e-4);
                }
            }
            if ascent.slow >= 60 {
                ascent.slow = 0;
                ascent.share = (ascent.share * 0.7).max(0.04);
            }
        }
    }

    pub(crate) fn begin(&self) -> Ascent {
        let prices = self.start();
        let best = self.prove(&prices);
        let (direction, moves) = (best.excess.clone(), best.moves);
        Ascent { prices, best, direction, moves, pace: 1.0, share: 0.15, failures: 0, slow: 0 }
    }
}

/// The state of a climb: the best prices so far, and where to go from there.
#[derive(Debug)]
pub(crate) struct Ascent {
    pub(crate) prices: Prices,
    pub(crate) best: Proof,
    direction: Vec<[f64; DIMS]>,
    moves: f64,
    pub(crate) pace: f64,
    pub(crate) share: f64,
    failures: usize,
    slow: usize,
}

/// Memory that is used for one task after the other.
#[derive(Debug, Default)]
struct Work {
    offers: Vec<Offer>,
    taken: Vec<(Offer, i64)>,
    firsts: Vec<(i128, usize)>,
    chosen: Vec<(i128, usize, usize)>,
}

/// A lower bound of what the task costs at these offers, and who takes part in it.
fn cheapest(task: &NetTask, roomy: bool, work: &mut Work) -> i128 {
    // By the cheapest offer of each site.
    work.offers.sort_unstable_by_key(|it| (it.unit, it.site, it.place));
    work.taken.clear();
    let mut best = i128::MIN;
    let mut chosen_rule = 0;
    for rule in 0..task.rules.len() {
        let value = if roomy { by_bulk(task, rule, work) } else { by_firsts(task, rule, work) };
        if value > best {
            (best, chosen_rule) = (value, rule);
        }
    }
    if chosen_rule + 1 != task.rules.len() {
        // What was taken is what the best bound says.
        let again = if roomy {
            by_bulk(task, chosen_rule, work)
        } else {
            by_firsts(task, chosen_rule, work)
        };
        debug_assert_eq!(again, best, "the same bound again");
    }
    best
}

/// The cheapest `count` domains by what the least share costs there: cost, domain, offer.
fn firsts(task: &NetTask, rule: usize, count: usize, work: &mut Work) {
    let rule = &task.rules[rule];
    work.firsts.clear();
    work.firsts.resize(rule.domains, (i128::MAX, 0));
    for (at, it) in work.offers.iter().enumerate() {
        let fixed = i128::from(task.sites[it.site].fixed) << UNIT;
        let cost = fixed + i128::from(it.unit) * i128::from(task.least);
        let first = &mut work.firsts[rule.of[it.site]];
        if cost < first.0 {
            *first = (cost, at);
        }
    }
    work.chosen.clear();
    let found = work.firsts.iter().enumerate().filter(|it| it.1.0 < i128::MAX);
    work.chosen.extend(found.map(|(domain, (cost, at))| (*cost, domain, *at)));
    work.chosen.sort_unstable();
    work.chosen.truncate(count);
}

/// Every way to keep the least number of domains has so many first shares in different ones; the rest costs at least
/// what the cheapest offers say.
fn by_firsts(task: &NetTask, rule: usize, work: &mut Work) -> i128 {
    let count = usize::try_from(task.rules[rule].min).unwrap_or(usize::MAX);
    let mut value = 0;
    let mut left = task.replicas;
    work.taken.clear();
    let any_fixed = task.sites.iter().any(|it| it.fixed > 0);
    if count > 1 || any_fixed {
        firsts(task, rule, count.max(1), work);
        for (cost, _, at) in &work.chosen {
            value += cost;
            left -= task.least;
            work.taken.push((work.offers[*at], task.least));
        }
    }
    for it in &work.offers {
        if left <= 0 {
            break;
        }
        let n = left.min(it.cap);
        value += i128::from(it.unit) * i128::from(n);
        work.taken.push((*it, n));
        left -= n;
    }
    value
}

/// Where every site could take everything: one of them takes what the least shares of the others leave.
fn by_bulk(task: &NetTask, rule: usize, work: &mut Work) -> i128 {
    let count = usize::try_from(task.rules[rule].min.max(1)).unwrap_or(usize::MAX);
    firsts(task, rule, count, work);
    let others = i64::try_from(count - 1).unwrap_or(i64::MAX);
    let bulk = task.replicas - others.saturating_mul(task.least);
    let all: i128 = work.chosen.iter().map(|it| it.0).sum();
    let last = work.chosen.last().map_or((0, usize::MAX), |it| (it.0, it.1));
    let mut best = (i128::MAX, 0, usize::MAX);
    for (at, it) in work.offers.iter().enumerate() {
        let domain = task.rules[rule].of[it.site];
        let own = work.chosen.iter().find(|it| it.1 == domain).map_or(last, |it| (it.0, it.1));
        let fixed = i128::from(task.sites[it.site].fixed) << UNIT;
        let cost = all - own.0 + fixed + i128::from(it.unit) * i128::from(bulk);
        if cost < best.0 {
            best = (cost, at, own.1);
        }
    }
    work.taken.clear();
    for (_, domain, at) in work.chosen.iter().filter(|it| it.1 != best.2) {
        debug_assert!(*domain != best.2, "filtered above");
        work.taken.push((work.offers[*at], task.least));
    }
    work.taken.push((work.offers[best.1], bulk));
    best.0
}

fn roomy(task: &NetTask) -> bool {
    !task.moves && task.sites.iter().all(|it| it.cap >= task.replicas)
}

/// µ$ per unit, in the numbers of the bound, rounded down: any rate proves something.
#[expect(clippy::cast_possible_truncation, reason = "a rate that does not fit saturates")]
fn rate(price: f64, units: i64) -> i64 {
    // A whole node's worth stays small enough to be added up.
    let limit = (1_i64 << 58) as f64;
    ((price * f64::from(1 << UNIT)).clamp(0.0, limit) / units as f64) as i64
}

fn dot(rates: &Amounts, amounts: &Amounts) -> i64 {
    let mut sum = 0_i64;
    for (rate, amount) in rates.iter().zip(amounts) {
        if *rate > 0 {
            sum = sum.saturating_add(rate.saturating_mul(*amount));
        }
    }
    sum
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
