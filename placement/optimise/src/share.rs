//! A first placement in two steps. Pools are looked at as wholes first: prices say which nodes run, and every task is put
//! where its replicas cost least, again and again, while a pool that is to hold more than it has gets dearer. Then each
//! pool's nodes are filled one after the other, and what is left over goes wherever there is room.

use crate::{
    bound::Prices,
    fill::{Guide, place},
    improve::Dice,
    net::{DIMS, MANY, Net, NetTask},
    squeeze::{penalties, squeeze},
    state::State,
};

/// Rounds over all tasks, and how much dearer too much becomes from one to the next.
const SWEEPS: usize = 24;
/// Nodes that run in addition, one after the other; and at most, when it is to stop.
const ROUNDS: usize = 60;
const LATE: usize = 8;
/// One of so many replicas that is left over is put anywhere.
const FEW: i64 = 1_000;
/// Tries to fit in what is left over, before a node more runs: for each replica, and at most.
const EACH: i64 = 28;
const FITTING: usize = 400_000;
const STIFFER: f64 = 1.3;
const SOFT: f64 = 0.05;
/// Nodes that are to run have so many thousandths more than the sum of what is wanted.
const SPARE: i64 = 3;
/// So much of what is in plenty counts.
const PLENTY: f64 = 0.97;

/// Everything placed; `None` where something found no place.
pub(crate) fn share<'a>(
    net: &'a Net<'a>,
    prices: &Prices,
    guide: &Guide,
    sizes: &[i64],
    dice: &mut Dice,
    stop: &dyn Fn() -> bool,
) -> Option<State<'a>> {
    let mut market = Market::new(net, prices);
    let mut order: Vec<usize> = (0..net.tasks.len()).collect();
    let mut stiffness = SOFT;
    for _ in 0..SWEEPS {
        for at in (1..order.len()).rev() {
            order.swap(at, dice.roll(at + 1));
        }
        for task in &order {
            market.put(*task, stiffness);
        }
        stiffness *= STIFFER;
    }
    pack(net, &market, (prices, guide), sizes, dice, stop)
}

/// Pools, those first whose room is worth most beside what they cost.
fn by_worth(net: &Net<'_>, prices: &Prices) -> Vec<usize> {
    let worth = |pool: usize| match net.pools[pool].cost {
        0 => f64::INFINITY,
        cost => prices.pools[pool].iter().sum::<f64>() / cost as f64,
    };
    let mut order: Vec<usize> = (0..net.pools.len()).collect();
    order.sort_by(|a, b| worth(*b).total_cmp(&worth(*a)).then(a.cmp(b)));
    order
}

/// Pools as wholes, and who is to run in them.
#[derive(Debug)]
struct Market<'a> {
    net: &'a Net<'a>,
    /// By pool: nodes that are to run.
    nodes: Vec<i64>,
    /// By pool and resource: µ$ of a unit, what is there, and what is taken of it, in nodes.
    rates: Vec<[f64; DIMS]>,
    load: Vec<[f64; DIMS]>,
    /// By pool: what a node too many counts as.
    worth: Vec<f64>,
    /// By task: replicas by place.
    shares: Vec<Vec<i64>>,
}

/// One task's replicas while they are being put somewhere.
#[derive(Clone, Debug)]
struct Draft {
    shares: Vec<i64>,
    at: Vec<i64>,
    domains: Vec<Vec<i64>>,
    counts: Vec<i64>,
    left: i64,
    cost: f64,
}

impl<'a> Market<'a> {
    fn new(net: &'a Net<'a>, prices: &Prices) -> Self {
        let mut wanted = [0_i64; DIMS];
        for it in &net.tasks {
            for (sum, need) in wanted.iter_mut().zip(&it.need) {
                *sum = sum.saturating_add(need.saturating_mul(it.replicas));
            }
        }
        let worth: Vec<f64> = prices.pools.iter().map(|it| it.iter().sum()).collect();
        let mut nodes = vec![0; net.pools.len()];
        let mut there = [0_i64; DIMS];
        let enough = |there: &[i64; DIMS]| {
            let pairs = there.iter().zip(&wanted);
            pairs.into_iter().all(|(there, wanted)| {
                i128::from(*there) * 1_000 >= i128::from(*wanted) * i128::from(1_000 + SPARE)
            })
        };
        for pool in by_worth(net, prices) {
            let it = &net.pools[pool];
            while nodes[pool] < it.nodes && (it.cost == 0 || !enough(&there)) {
                nodes[pool] += 1;
                for (there, free) in there.iter_mut().zip(&it.free) {
                    *there = there.saturating_add(*free);
                }
            }
        }
        let mean = worth.iter().sum::<f64>() / (worth.len() as f64).max(1.0);
        let rates = net.pools.iter().zip(&prices.pools).zip(&worth).map(|((it, prices), worth)| {
            let short = (it.cost as f64 - worth).max(0.0) / DIMS as f64;
            std::array::from_fn(|r| match it.free[r] {
                0 => 0.0,
                free if free >= MANY => 0.0,
                free => (prices[r] + short) / free as f64,
            })
        });
        Self {
            net,
            nodes,
            rates: rates.collect(),
            load: vec![[0.0; DIMS]; net.pools.len()],
            worth: worth.iter().map(|it| it.max(mean)).collect(),
            shares: net.tasks.iter().map(|it| vec![0; it.places.len()]).collect(),
        }
    }

    /// What `n` replicas more in a pool cost, beside what each costs there anyway.
    fn crowds(&self, task: &NetTask, pool: usize, n: i64, stiffness: f64) -> f64 {
        let (it, load) = (&self.net.pools[pool], &self.load[pool]);
        let nodes = self.nodes[pool] as f64;
        let mut cost = 0.0;
        for (r, load) in load.iter().enumerate() {
            if task.need[r] == 0 || it.free[r] >= MANY {
                continue;
            }
            let more = (task.need[r] * n) as f64;
            cost += self.rates[pool][r] * more;
            // What is worth nothing by price is not to become what stops a node from being full.
            let nodes = if self.rates[pool][r] > 0.0 { nodes } else { nodes * PLENTY };
            let (before, after) = (load - nodes, load + more / it.free[r] as f64 - nodes);
            if after > 0.0 {
                let before = before.max(0.0);
                cost += stiffness * self.worth[pool] * (after * after - before * before);
            }
        }
        cost
    }

    fn add(&mut self, task: usize, place: usize, n: i64) {
        let it = &self.net.tasks[task];
        let pool = it.places[place].pool;
        let amounts = it.need.iter().zip(&self.net.pools[pool].free);
        for (load, (need, free)) in self.load[pool].iter_mut().zip(amounts) {
            if *need > 0 && *free < MANY {
                *load += (need * n) as f64 / *free as f64;
            }
        }
    }

    /// Takes a task out and puts it where it costs least now: spread as it likes, or on no more sites than it must.
    fn put(&mut self, task: usize, stiffness: f64) {
        let old = std::mem::take(&mut self.shares[task]);
        for (place, n) in old.iter().enumerate().filter(|it| *it.1 > 0) {
            self.add(task, place, -n);
        }
        let any_fixed = self.net.tasks[task].sites.iter().any(|it| it.fixed > 0);
        let mut best = self.draft(task, stiffness, false);
        self.withdraw(task, &best);
        if any_fixed {
            let close = self.draft(task, stiffness, true);
            self.withdraw(task, &close);
            if (close.left, close.cost) < (best.left, best.cost) {
                best = close;
            }
        }
        for (place, n) in best.shares.iter().enumerate().filter(|it| *it.1 > 0) {
            self.add(task, place, *n);
        }
        self.shares[task] = best.shares;
    }

    fn withdraw(&mut self, task: usize, draft: &Draft) {
        for (place, n) in draft.shares.iter().enumerate().filter(|it| *it.1 > 0) {
            self.add(task, place, -n);
        }
    }

    fn draft(&mut self, task: usize, stiffness: f64, close: bool) -> Draft {
        let it = &self.net.tasks[task];
        let mut draft = Draft {
            shares: vec![0; it.places.len()],
            at: vec![0; it.sites.len()],
            domains: it.rules.iter().map(|rule| vec![0; rule.domains]).collect(),
            counts: vec![0; it.rules.len()],
            left: it.replicas,
            cost: 0.0,
        };
        while draft.left > 0 {
            let mut best: Option<(f64, f64, usize, i64)> = None;
            let mut site = usize::MAX;
            let (mut n, mut beside, mut count) = (0, 0.0, 0.0);
            for (at, place) in it.places.iter().enumerate() {
                if place.site != site {
                    site = place.site;
                    n = draft.step(it, site, close);
                    let new = draft.at[site] == 0;
                    beside = if new { it.sites[site].fixed as f64 } else { 0.0 };
                    let to_come = draft.left - draft.owed(it, Some(site));
                    count = to_come.min(it.sites[site].cap).max(1) as f64;
                }
                if n == 0 {
                    continue;
                }
                let own = place.cost as f64 * n as f64 + self.crowds(it, place.pool, n, stiffness);
                // What comes once is borne by all that may follow.
                let rank = own / n as f64 + beside / count;
                if best.is_none_or(|best| rank < best.0) {
                    best = Some((rank, own + beside, at, n));
                }
            }
            let Some((_, cost, place, n)) = best else { break };
            draft.take(it, it.places[place].site, place, n);
            draft.cost += cost;
            self.add(task, place, n);
        }
        draft
    }
}

impl Draft {
    /// Replicas that are still needed to keep the least numbers, were one more site taken.
    fn owed(&self, task: &NetTask, site: Option<usize>) -> i64 {
        let rules = task.rules.iter().zip(&self.counts).zip(&self.domains);
        let owed = rules.map(|((rule, count), domains)| {
            let new = site.is_some_and(|it| domains[rule.of[it]] == 0);
            (rule.min - count - i64::from(new)).max(0)
        });
        owed.max().unwrap_or(0) * task.least
    }

    /// How many replicas a site may take in one step.
    fn step(&self, task: &NetTask, site: usize, close: bool) -> i64 {
        let there = self.at[site];
        let n = if there == 0 { task.least } else { 1 };
        if there + n > task.sites[site].cap
            || n > self.left
            || self.left - n < self.owed(task, Some(site))
        {
            return 0;
        }
        if there == 0 {
            let rules = || task.rules.iter().zip(&self.counts).zip(&self.domains);
            let over = rules()
                .any(|((rule, count), domains)| domains[rule.of[site]] == 0 && *count >= rule.max);
            // No more sites than must be, once the first is taken, or where those that are taken are full.
            let first = self.counts.first() == Some(&0);
            let owed = self.owed(task, None);
            let full =
                (0..self.at.len()).all(|it| self.at[it] == 0 || self.at[it] >= task.sites[it].cap);
            if over || (close && !first && owed == 0 && !full) {
                return 0;
            }
        }
        n
    }

    fn take(&mut self, task: &NetTask, site: usize, place: usize, n: i64) {
        if self.at[site] == 0 {
            let rules = task.rules.iter().zip(&mut self.counts).zip(&mut self.domains);
            for ((rule, count), domains) in rules {
                let domain = &mut domains[rule.of[site]];
                *count += i64::from(*domain == 0);
                *domain += 1;
            }
        }
        self.at[site] += n;
        self.shares[place] += n;
        self.left -= n;
    }
}

/// Fills the nodes of each pool with what is to run there, one node after the other; the rest goes where there is room.
fn pack<'a>(
    net: &'a Net<'a>,
    market: &Market<'_>,
    (prices, guide): (&Prices, &Guide),
    sizes: &[i64],
    dice: &mut Dice,
    stop: &dyn Fn() -> bool,
) -> Option<State<'a>> {
    let mut state = State::empty(net);
    let mut by_pool: Vec<Vec<(usize, usize, i64)>> = vec![Vec::new(); net.pools.len()];
    for (task, shares) in market.shares.iter().enumerate() {
        for (place, n) in shares.iter().enumerate().filter(|it| *it.1 > 0) {
            by_pool[net.tasks[task].places[place].pool].push((task, place, *n));
        }
    }
    for (pool, mut items) in by_pool.into_iter().enumerate() {
        items.sort_by_key(|it| (std::cmp::Reverse(sizes[it.0]), it.0));
        if items.is_empty() {
            continue;
        }
        let bins: Vec<usize> = (0..market.nodes[pool]).map(|_| state.open(pool)).collect();
        for (task, place, n) in items {
            for _ in 0..n {
                let Some(bin) = evenest(&state, &bins, task) else { break };
                state.start(bin, task, place, 1);
            }
        }
    }
    let order = by_worth(net, prices);
    let penalties = penalties(net, prices);
    let replicas: i64 = net.tasks.iter().map(|it| it.replicas).sum();
    let all = usize::try_from(replicas.saturating_mul(EACH)).unwrap_or(FITTING);
    let all = all.clamp(2_000, FITTING);
    let mut steps = all;
    let mut late = 0;
    for _ in 0..ROUNDS {
        // Once it is to stop there is nothing yet to stop with: a few rounds more are made, to their end.
        let hurry = || late == 0 && stop();
        squeeze(&mut state, &penalties, dice, steps, &hurry);
        if state.missing == 0 {
            break;
        }
        late += usize::from(stop());
        if late > 0 || state.missing <= replicas / FEW {
            let before = state.clone();
            if finish(&mut state, guide, sizes) {
                break;
            }
            state = before;
        }
        if late > LATE {
            return None;
        }
        // One node more, and again: so every one of them comes to be full.
        let next = order.iter().copied().find(|it| helps(&state, *it))?;
        state.open(next);
        steps = all / 4;
    }
    for pool in 0..net.pools.len() {
        for bin in state.open[pool].clone() {
            if state.bins[bin].load.is_empty() {
                state.close(bin);
            }
        }
    }
    state.forget();
    (0..net.tasks.len()).all(|it| state.is_whole(it)).then_some(state)
}

/// Whether one more node of a pool would take some of what is missing.
fn helps(state: &State<'_>, pool: usize) -> bool {
    let (net, parts) = (state.net, &state.parts);
    let missing = net.tasks.iter().zip(parts).filter(|it| it.1.missing > 0);
    state.vacant(pool) > 0
        && missing
            .into_iter()
            .any(|(it, _)| it.by_pool.binary_search_by_key(&pool, |it| it.0).is_ok())
}

/// Puts the last replicas wherever there is room, on nodes of their own too. `false` where something is left over.
fn finish(state: &mut State<'_>, guide: &Guide, sizes: &[i64]) -> bool {
    let mut left: Vec<usize> =
        (0..state.parts.len()).filter(|it| state.parts[*it].missing > 0).collect();
    left.sort_by_key(|it| (std::cmp::Reverse(sizes[*it]), *it));
    left.into_iter().all(|task| {
        place(state, guide, task) || {
            state.take_off(task, true);
            place(state, guide, task)
        }
    })
}

/// The node on which a replica leaves all nodes most alike, in every resource: so none of them runs out of one while it
/// has much of another.
fn evenest(state: &State<'_>, bins: &[usize], task: usize) -> Option<usize> {
    let need = &state.net.tasks[task].need;
    let mut best: Option<(f64, usize)> = None;
    for bin in bins.iter().copied().filter(|it| state.room(*it, task) > 0) {
        let own = &state.bins[bin];
        let whole = &state.net.pools[own.pool].free;
        let mut score = 0.0;
        for r in 0..DIMS {
            if need[r] > 0 && whole[r] > 0 && whole[r] < MANY {
                let used = |free: i64| (whole[r] - free) as f64 / whole[r] as f64;
                score += used(own.free[r] - need[r]).powi(6) - used(own.free[r]).powi(6);
            }
        }
        if best.is_none_or(|best| score < best.0) {
            best = Some((score, bin));
        }
    }
    best.map(|it| it.1)
}
