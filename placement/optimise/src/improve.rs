//! Local search: takes some nodes or tasks apart, puts what they ran somewhere else, and keeps what is not dearer.

use crate::{
    fill::{Guide, parts, place},
    net::{Amounts, Net, SLOTS},
    state::State,
};

/// Numbers that look like chance and are the same in every run.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 0 half of the time, 1 a quarter of it, and so on.
    pub(crate) fn halvings(&mut self) -> u32 {
        self.next().trailing_zeros()
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(sides.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        it ^ (it >> 31)
    }
}

/// How large a replica of each task is beside all that is wanted: the order in which replicas are put somewhere.
pub(crate) fn sizes(net: &Net<'_>) -> Vec<i64> {
    let mut wanted = [0_i128; SLOTS];
    for it in &net.tasks {
        for (sum, need) in wanted.iter_mut().zip(&it.need) {
            *sum += i128::from(*need) * i128::from(it.replicas);
        }
    }
    let size = |need: &Amounts| {
        let shares = need.iter().zip(&wanted).filter(|it| *it.1 > 0);
        shares.map(|(need, wanted)| i128::from(*need) * (1 << 40) / wanted).max().unwrap_or(0)
    };
    net.tasks.iter().map(|it| i64::try_from(size(&it.need)).unwrap_or(i64::MAX)).collect()
}

/// Puts everything that is missing somewhere, the largest replicas first.
pub(crate) fn fill_all(state: &mut State<'_>, guide: &Guide, sizes: &[i64]) -> bool {
    let mut tasks: Vec<usize> =
        (0..sizes.len()).filter(|it| state.parts[*it].missing > 0).collect();
    tasks.sort_by_key(|it| (std::cmp::Reverse(sizes[*it]), *it));
    let mut whole = true;
    for task in tasks {
        whole &= place(state, guide, task);
    }
    whole
}

/// So many rounds of taking apart and putting together. Stops early where `stop` says so.
pub(crate) fn improve(
    state: &mut State<'_>,
    guides: &[Guide],
    sizes: &[i64],
    dice: &mut Dice,
    rounds: usize,
    stop: &dyn Fn() -> bool,
) {
    let mut tasks: Vec<usize> = Vec::new();
    for round in 0..rounds {
        if round % 32 == 0 && stop() {
            return;
        }
        let before = (state.cost, state.moved);
        state.mark();
        if dice.roll(3) > 0 {
            nodes(state, dice);
        } else {
            for _ in 0..=dice.roll(3) {
                let task = dice.roll(state.parts.len());
                state.take_off(task, true);
            }
        }
        tasks.clear();
        tasks.extend((0..state.parts.len()).filter(|it| state.parts[*it].missing > 0));
        let keyed = |dice: &mut Dice, it: usize| {
            // Mostly by size, with some disorder.
            let noise = 80 + i64::try_from(dice.roll(41)).unwrap_or(0);
            (std::cmp::Reverse(sizes[it].saturating_mul(noise)), it)
        };
        let mut order: Vec<_> = tasks.iter().map(|it| keyed(dice, *it)).collect();
        order.sort_unstable();
        let guide = &guides[dice.roll(guides.len())];
        let kept = order.iter().all(|it| place(state, guide, it.1));
        if !kept || (state.cost, state.moved) > before {
            state.undo();
        }
    }
}

/// Takes some nodes apart: one of the emptier ones, and others near it.
fn nodes(state: &mut State<'_>, dice: &mut Dice) {
    let Some(first) = (0..3)
        .filter_map(|_| any_bin(state, dice, None))
        .max_by_key(|it| parts(&state.bins[*it].free, &state.net.pools[state.bins[*it].pool].free))
    else {
        return;
    };
    let pool = state.bins[first].pool;
    let cluster = state.net.instance.pools[pool].cluster;
    state.empty_out(first);
    let near = dice.roll(2) == 0;
    for _ in 0..=dice.roll(3) {
        if let Some(bin) = any_bin(state, dice, near.then_some(cluster)) {
            state.empty_out(bin);
        }
    }
}

fn any_bin(state: &State<'_>, dice: &mut Dice, cluster: Option<usize>) -> Option<usize> {
    // A few tries are enough: most nodes are in use.
    (0..12).find_map(|_| {
        let bin = dice.roll(state.bins.len());
        let it = state.bins.get(bin)?;
        let there = cluster.is_none_or(|own| state.net.instance.pools[it.pool].cluster == own);
        (there && !it.load.is_empty()).then_some(bin)
    })
}
