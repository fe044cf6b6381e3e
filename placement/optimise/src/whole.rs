//! The emptier nodes once more, as a small problem in whole numbers: which of them to keep, and what runs where, solved by
//! branch and bound under a node limit. What it says is tried; the exact cost decides.

use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOptions, SolveOutcome, Variable};

use crate::{
    fill::{Guide, parts, place},
    improve::Dice,
    net::{DIMS, MANY, SLOTS},
    state::State,
};

/// Nodes that are taken apart at a time, tasks that this may concern, and places looked at for each.
const NODES: usize = 10;
const TASKS: usize = 24;
const PLACES: usize = 5;
/// Nodes of the branch and bound.
const LIMIT: u64 = 60;
/// Free room on nodes that stay is scattered: so many per cent of it count.
const SCATTERED: f64 = 0.9;

/// Takes the emptiest nodes apart and puts them together by the answer. Keeps what is cheaper.
pub(crate) fn repack(state: &mut State<'_>, guide: &Guide, sizes: &[i64], dice: &mut Dice) {
    let before = (state.cost, state.moved);
    state.mark();
    if let Some(tasks) = take_apart(state, dice) {
        if let Some(answer) = solve(state, &tasks) {
            carry_out(state, &answer);
        }
        let mut order = tasks;
        order.sort_by_key(|it| (std::cmp::Reverse(sizes[*it]), *it));
        let whole = order.iter().all(|it| place(state, guide, *it));
        let over = state.net.instance.max_moves.is_some_and(|max| state.moved > max);
        if whole && !over && (state.cost, state.moved) <= before {
            return;
        }
    }
    state.undo();
}

/// The tasks of the nodes that were taken apart.
fn take_apart(state: &mut State<'_>, dice: &mut Dice) -> Option<Vec<usize>> {
    let mut bins: Vec<(i64, usize)> = state
        .open
        .iter()
        .enumerate()
        .filter(|(pool, _)| state.net.pools[*pool].cost > 0)
        .flat_map(|(pool, bins)| bins.iter().map(move |bin| (pool, *bin)))
        .map(|(pool, bin)| (-parts(&state.bins[bin].free, &state.net.pools[pool].free), bin))
        .collect();
    bins.sort_unstable();
    bins.truncate(4 * NODES);
    let mut tasks: Vec<usize> = Vec::new();
    let mut chosen = Vec::new();
    while chosen.len() < NODES && !bins.is_empty() {
        let (_, bin) = bins.remove(dice.roll(bins.len().min(NODES)));
        let more: Vec<usize> =
            state.bins[bin].load.iter().map(|it| it.0).filter(|it| !tasks.contains(it)).collect();
        if tasks.len() + more.len() <= TASKS {
            tasks.extend(more);
            chosen.push(bin);
        }
    }
    if chosen.len() < 2 {
        return None;
    }
    for bin in chosen {
        state.empty_out(bin);
    }
    tasks.sort_unstable();
    Some(tasks)
}

/// Task, place and replicas.
type Answer = Vec<(usize, usize, i64)>;

fn solve(state: &State<'_>, tasks: &[usize]) -> Option<Answer> {
    let net = state.net;
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let mut columns: Vec<(Variable, usize, usize)> = Vec::new();
    for task in tasks {
        let (it, part) = (&net.tasks[*task], &state.parts[*task]);
        let missing = i32::try_from(part.missing).ok()?;
        // Sites that it is on already: nothing that the rules bound changes there but numbers.
        let mut places: Vec<(i64, usize)> = (0..it.places.len())
            .filter(|at| {
                let place = it.places[*at];
                let stays = it.sites[place.site]
                    .held
                    .is_none_or(|held| part.stays[place.site] == held.replicas);
                stays && (it.least == 1 || part.starts[place.site] > 0)
            })
            .map(|at| {
                let place = it.places[at];
                let pool = &net.pools[place.pool];
                let fit = crate::net::fit(&pool.free, &it.need).max(1);
                (place.cost + pool.cost / fit, at)
            })
            .collect();
        places.sort_unstable();
        places.truncate(PLACES);
        let mut row: Vec<(Variable, f64)> = Vec::new();
        for (_, at) in places {
            let cost = it.places[at].cost as f64;
            let column = problem.add_integer_var(cost, (0, missing));
            row.push((column, 1.0));
            columns.push((column, *task, at));
        }
        problem.add_constraint(&row, ComparisonOp::Eq, f64::from(missing));
    }
    let mut pools: Vec<usize> =
        columns.iter().map(|it| net.tasks[it.1].places[it.2].pool).collect();
    pools.sort_unstable();
    pools.dedup();
    for pool in pools {
        let it = &net.pools[pool];
        let vacant = i32::try_from(state.vacant(pool).clamp(0, 1_000)).ok()?;
        let node = problem.add_integer_var(it.cost as f64, (0, vacant));
        for r in 0..DIMS {
            if it.free[r] == 0 || it.free[r] >= MANY {
                continue;
            }
            let whole = it.free[r] as f64;
            let here = columns.iter().filter(|it| net.tasks[it.1].places[it.2].pool == pool);
            let mut row: Vec<(Variable, f64)> = here
                .map(|it| (it.0, net.tasks[it.1].need[r] as f64 / whole))
                .filter(|it| it.1 > 1e-6)
                .collect();
            if row.is_empty() {
                continue;
            }
            row.push((node, -1.0));
            let left: i64 = state.open[pool].iter().map(|bin| state.bins[*bin].free[r]).sum();
            let share = if r == SLOTS { 1.0 } else { SCATTERED };
            problem.add_constraint(&row, ComparisonOp::Le, share * left as f64 / whole);
        }
    }
    let mut options = SolveOptions::default();
    options.node_limit = Some(LIMIT);
    options.mip_gap = 1e-3;
    let SolveOutcome::Solution(found) = problem.solve_with(options).ok()? else { return None };
    let answer = columns.iter().map(|it| (it.1, it.2, rounded(found.var_value(it.0))));
    Some(answer.filter(|it| it.2 > 0).collect())
}

#[expect(clippy::cast_possible_truncation, reason = "bounded by the replicas that are missing")]
fn rounded(value: f64) -> i64 {
    value.round() as i64
}

/// As far as it goes: what finds no room stays missing.
fn carry_out(state: &mut State<'_>, answer: &Answer) {
    let mut order = answer.clone();
    order.sort_by_key(|it| (std::cmp::Reverse(state.net.tasks[it.0].need), it.0, it.1));
    for (task, at, n) in order {
        let it = &state.net.tasks[task];
        let place = it.places[at];
        let part = &state.parts[task];
        let mut left = n.min(part.missing).min(it.most - part.at(place.site));
        while left > 0 {
            let open = &state.open[place.pool];
            let bin = open
                .iter()
                .filter(|bin| state.room(**bin, task) > 0)
                .min_by_key(|bin| parts(&state.bins[**bin].free, &state.net.pools[place.pool].free))
                .copied();
            let bin = match bin {
                Some(bin) => bin,
                None if state.vacant(place.pool) > 0 => state.open(place.pool),
                None => break,
            };
            let more = left.min(state.room(bin, task));
            if more <= 0 {
                if state.bins[bin].load.is_empty() {
                    state.close(bin);
                }
                break;
            }
            state.start(bin, task, at, more);
            left -= more;
        }
    }
}
