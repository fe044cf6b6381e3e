//! Convex lower bounds of cost curves: what some clusters cost at least, whatever steps and bounds add.

use super::{Choice, EXACT, NEVER};

/// A straight piece of the convex lower bound of a curve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) option: usize,
    pub(super) cost: i128,
    pub(super) count: usize,
}

/// The convex lower bound of a curve, as pieces of rising slope. Numbers of replicas below `first`, but for none, are
/// left aside.
pub(super) fn pieces(option: usize, costs: &[i128], first: usize) -> Vec<Piece> {
    let mut corners: Vec<usize> = Vec::new();
    for n in (0..costs.len()).filter(|n| *n == 0 || *n >= first) {
        while let [.., a, b] = corners[..] {
            // Drop b if it lies on or above the line from a to n.
            let to_b = (costs[b] - costs[a]).saturating_mul((n - a) as i128);
            let to_n = (costs[n] - costs[a]).saturating_mul((b - a) as i128);
            if to_b < to_n {
                break;
            }
            corners.pop();
        }
        corners.push(n);
    }
    corners
        .windows(2)
        .map(|it| Piece { option, cost: costs[it[1]] - costs[it[0]], count: it[1] - it[0] })
        .collect()
}

/// The cheaper for each replica first; of equal ones in the order of the options.
pub(super) fn sort(pieces: &mut [Piece]) {
    pieces.sort_by(|a, b| {
        let left = a.cost.saturating_mul(b.count as i128);
        let right = b.cost.saturating_mul(a.count as i128);
        left.cmp(&right).then(a.option.cmp(&b.option))
    });
}

fn of(options: &[&Choice], at: usize) -> Vec<Piece> {
    let it = options[at];
    let first = if it.used { 0 } else { it.first() };
    pieces(at, &it.best(), first)
}

/// What 0, 1, 2 … `total` replicas cost at least on sorted pieces; [`NEVER`] where there is no room for them.
fn fill(sorted: &[Piece], total: usize) -> Vec<i128> {
    let mut least = vec![NEVER; total + 1];
    let (mut sum, mut n) = (0_i128, 0);
    least[0] = 0;
    for it in sorted {
        for more in 1..=it.count.min(total - n) {
            let part = it.cost.saturating_mul(more as i128).div_euclid(it.count as i128);
            least[n + more] = sum + part;
        }
        sum += it.cost;
        n += it.count.min(total - n);
        if n == total {
            break;
        }
    }
    least
}

/// The least cost of `total` replicas; `None` without room for them.
pub(super) fn least(options: &[&Choice], total: usize) -> Option<i128> {
    let mut all: Vec<Piece> = (0..options.len()).flat_map(|at| of(options, at)).collect();
    sort(&mut all);
    Some(fill(&all, total)[total]).filter(|it| *it < NEVER)
}

/// Numbers that a table may hold: beyond it only the whole is bounded.
const SIZE: usize = 1 << 22;

/// What the options from each place on cost at least, for every number of replicas.
#[derive(Debug)]
pub(super) struct Table {
    /// One row only, of all options, where there are too many for a table.
    rows: Vec<Vec<i128>>,
    total: usize,
}

impl Table {
    /// `None` without room for `total`.
    pub(super) fn new(options: &[&Choice], total: usize) -> Option<Self> {
        let whole = total <= EXACT && (options.len() + 1) * (total + 1) <= SIZE;
        let rows =
            if whole { suffixes(options, total) } else { vec![vec![least(options, total)?]] };
        let table = Self { rows, total };
        (table.least() < NEVER).then_some(table)
    }

    /// Whether it knows every place.
    pub(super) fn is_whole(&self) -> bool {
        self.rows[0].len() > self.total
    }

    /// Of all options together.
    pub(super) fn least(&self) -> i128 {
        *self.rows[0].last().expect("a row has at least the entry for no replicas")
    }

    /// Of so many replicas on the options from a place on.
    pub(super) fn from(&self, at: usize, replicas: usize) -> i128 {
        self.rows[at][replicas]
    }
}

fn suffixes(options: &[&Choice], total: usize) -> Vec<Vec<i128>> {
    let mut rows = vec![Vec::new(); options.len() + 1];
    let mut sorted: Vec<Piece> = Vec::new();
    rows[options.len()] = fill(&sorted, total);
    for at in (0..options.len()).rev() {
        sorted.extend(of(options, at));
        sort(&mut sorted);
        // What lies beyond the total is never taken.
        let mut sum = 0;
        let enough = sorted.iter().position(|it| {
            sum += it.count;
            sum >= total
        });
        sorted.truncate(enough.map_or(sorted.len(), |it| it + 1));
        rows[at] = fill(&sorted, total);
    }
    rows
}
