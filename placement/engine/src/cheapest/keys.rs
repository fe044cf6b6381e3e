//! How the keys of a spread lie to each other: those of which each domain lies in one of the key before (a zone in its
//! region, a region with its provider) are counted level by level; few others by the set of their domains.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bounds, Choice};
use crate::fleet::Domains;

/// Keys beyond so many are not taken apart.
const KEYS: usize = 8;
/// Sets of so many domains are kept in mind, over all keys that cross.
const CROSSING: usize = 12;

/// A key whose domains lie next to each other in the order of the options.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) of: Vec<u32>,
    pub(super) width: Width,
}

/// A key that crosses the levels: the number of each option's domain, if it has one.
#[derive(Debug)]
pub(super) struct Crossing {
    pub(super) of: Vec<Option<u32>>,
    pub(super) bounds: (usize, usize),
}

#[derive(Debug)]
pub(super) struct Keys {
    /// The options, so that the domains of each level lie next to each other.
    pub(super) order: Vec<usize>,
    /// The coarsest first; there is always one.
    pub(super) levels: Vec<Level>,
    pub(super) crossing: Vec<Crossing>,
}

/// How far something is counted: no further than what still matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Width {
    pub(super) min: usize,
    size: usize,
    /// What comes beyond is not counted any more; otherwise it is refused.
    free: bool,
}

impl Width {
    /// Of something of which there are `most`.
    pub(super) fn new((min, max): (usize, usize), most: usize) -> Self {
        let free = max >= most;
        let size = if free { min.min(most + 1) } else { max };
        Self { min: min.min(most + 1), size, free }
    }

    pub(super) fn up(self, count: u16) -> Option<u16> {
        if usize::from(count) < self.size { Some(count + 1) } else { self.free.then_some(count) }
    }
}

/// The domains of the first key next to each other, then in the order they came.
pub(super) fn in_order(options: &[Choice]) -> Vec<usize> {
    sorted(
        options,
        if options.first().is_some_and(|it| !it.domains.is_empty()) { &[0] } else { &[] },
    )
}

fn sorted(options: &[Choice], keys: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..options.len()).collect();
    order.sort_by_cached_key(|at| {
        (keys.iter().map(|key| options[*at].domains[*key]).collect::<Vec<_>>(), *at)
    });
    order
}

/// Whether every domain of one key lies in one domain of the other.
fn nested(options: &[Choice], coarse: usize, fine: usize) -> bool {
    let mut parents = BTreeMap::new();
    options.iter().all(|it| {
        let (parent, child) = (it.domains[coarse], it.domains[fine]);
        *parents.entry(child).or_insert(parent) == parent
    })
}

/// `None` where the keys cross in too many ways.
pub(super) fn arrange(options: &[Choice], bounds: &Bounds) -> Option<Keys> {
    let count = bounds.domains.len();
    if count > KEYS {
        return None;
    }
    let names: Vec<BTreeSet<u32>> = (0..count)
        .map(|key| options.iter().map(|it| it.domains[key]).collect::<BTreeSet<u32>>())
        .collect();
    let named = |key: usize| names[key].iter().filter(|it| **it != Domains::NONE).count();
    let chain = (0..1_u32 << count)
        .filter_map(|set| {
            let mut chain: Vec<usize> = (0..count).filter(|key| set >> key & 1 == 1).collect();
            chain.sort_by_key(|key| (names[*key].len(), *key));
            let nests = chain.windows(2).all(|it| nested(options, it[0], it[1]));
            let others = (0..count).filter(|key| set >> key & 1 == 0);
            let crossing: usize = others.map(named).sum();
            (nests && crossing <= CROSSING).then_some((
                crossing,
                std::cmp::Reverse(chain.len()),
                chain,
            ))
        })
        .min()?
        .2;
    let order = sorted(options, &chain);
    let domain = |key: usize| order.iter().map(|at| options[*at].domains[key]).collect::<Vec<_>>();
    let mut levels: Vec<Level> = chain
        .iter()
        .map(|key| Level { of: domain(*key), width: Width::new(bounds.domains[*key], named(*key)) })
        .collect();
    if levels.is_empty() {
        let width = Width::new((0, usize::MAX), 1);
        levels.push(Level { of: vec![0; options.len()], width });
    }
    let crossing = (0..count).filter(|key| !chain.contains(key)).map(|key| {
        let known: Vec<u32> =
            names[key].iter().copied().filter(|it| *it != Domains::NONE).collect();
        let place = |it: &u32| known.binary_search(it).ok().and_then(|it| u32::try_from(it).ok());
        Crossing { of: domain(key).iter().map(place).collect(), bounds: bounds.domains[key] }
    });
    Some(Keys { levels, crossing: crossing.collect(), order })
}
