//! Giving seats to parties: Webster's method with floors and ceilings, in integers.
//!
//! The next seat goes to the highest weight ÷ (2 × seats + 1); ties go to fewer seats, then to the lower number, which
//! is the lower name. Adding a seat never takes one away.

use std::{cmp::Ordering, collections::BinaryHeap};

/// One that gets seats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) weight: i64,
    /// It gets at least these …
    pub(crate) floor: i64,
    /// … and at most these.
    pub(crate) cap: i64,
    pub(crate) seats: i64,
}

/// Gives `total` seats to the parties; what floors and ceilings do not let it give is returned (negative: the floors
/// are more than the total).
pub(crate) fn webster(parties: &mut [Party], total: i64) -> i64 {
    let floors: i64 = parties.iter().map(|it| it.floor).fold(0, i64::saturating_add);
    for it in parties.iter_mut() {
        it.seats = it.floor;
    }
    if floors >= total {
        return total - floors;
    }
    if unbounded(parties, total) {
        return 0;
    }
    let mut left = total - floors;
    if left > MANY {
        left -= leap(parties, total);
    }
    let mut heap: BinaryHeap<Next> = parties
        .iter()
        .enumerate()
        .filter(|(_, it)| it.seats < it.cap)
        .map(|(at, it)| Next { weight: it.weight, seats: it.seats, at })
        .collect();
    while left > 0 {
        let Some(next) = heap.pop() else { break };
        let it = &mut parties[next.at];
        it.seats += 1;
        left -= 1;
        if it.seats < it.cap {
            heap.push(Next { seats: it.seats, ..next });
        }
    }
    left
}

/// More seats than this are not given one by one.
const MANY: i64 = 1_024;

/// Gives most of many seats at once: those that the largest divisor gives which does not give too many. What one
/// divisor gives, between floors and ceilings, is on the way of giving them one by one. Returns how many it gave.
fn leap(parties: &mut [Party], total: i64) -> i64 {
    let sum: i128 = parties.iter().map(|it| i128::from(it.weight)).sum::<i128>().max(1);
    // Seats are weight × step ÷ unit, to the nearest.
    let unit = sum << 16;
    let seats = |it: &Party, step: i128| {
        let wanted = (2 * i128::from(it.weight) * step + unit) / (2 * unit);
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        if it.weight == 0 { it.floor } else { wanted.min(it.cap).max(it.floor) }
    };
    let given = |step: i128| parties.iter().map(|it| i128::from(seats(it, step))).sum::<i128>();
    let (mut low, mut high) = (0_i128, i128::from(total) * unit * 2);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        if given(middle) <= i128::from(total) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    let mut more = 0;
    for it in parties.iter_mut() {
        let now = seats(it, low);
        more += now - it.seats;
        it.seats = now;
    }
    more
}

/// The same without floors and ceilings, quickly: seats start at a proven lower bound of the outcome, and only the last
/// few are given one by one. If it keeps to floors and ceilings, it is the answer with them too.
fn unbounded(parties: &mut [Party], total: i64) -> bool {
    let sum: i128 = parties.iter().map(|it| i128::from(it.weight)).sum();
    if sum <= 0 {
        return false;
    }
    let count = i128::try_from(parties.len()).expect("fewer than 2¹²⁷ parties");
    let mut given = 0;
    for it in parties.iter_mut() {
        // The divisor d of the outcome has sum ÷ d ≥ total − count ÷ 2, and seats ≥ weight ÷ d − 1 ÷ 2.
        let bound = (i128::from(2 * total) - count) * i128::from(it.weight) - sum;
        it.seats = i64::try_from((bound / (2 * sum)).max(0)).expect("not more than the total");
        given += it.seats;
    }
    while given < total {
        let best = (0..parties.len())
            .max_by(|a, b| next(parties, *a).cmp(&next(parties, *b)))
            .expect("the sum of weights is above zero");
        parties[best].seats += 1;
        given += 1;
    }
    let fits = given == total && parties.iter().all(|it| (it.floor..=it.cap).contains(&it.seats));
    if !fits {
        for it in parties.iter_mut() {
            it.seats = it.floor;
        }
    }
    fits
}

fn next(parties: &[Party], at: usize) -> Next {
    Next { weight: parties[at].weight, seats: parties[at].seats, at }
}

/// A claim to the next seat; the greatest gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) weight: i64,
    pub(crate) seats: i64,
    pub(crate) at: usize,
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        let mine = i128::from(self.weight) * i128::from(2 * other.seats + 1);
        let theirs = i128::from(other.weight) * i128::from(2 * self.seats + 1);
        mine.cmp(&theirs)
            .then_with(|| other.seats.cmp(&self.seats))
            .then_with(|| other.at.cmp(&self.at))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn divide(weights: &[i64], total: i64) -> Vec<i64> {
        let mut parties: Vec<_> = weights
            .iter()
            .map(|weight| Party { weight: *weight, cap: i64::MAX, ..Party::default() })
            .collect();
        webster(&mut parties, total);
        parties.iter().map(|it| it.seats).collect()
    }

    /// Seat by seat, as the definition says.
    fn by_definition(weights: &[i64], total: i64) -> Vec<i64> {
        let mut seats = vec![0_i64; weights.len()];
        for _ in 0..total {
            let best = (0..weights.len())
                .max_by_key(|at| Next { weight: weights[*at], seats: seats[*at], at: *at })
                .unwrap();
            seats[best] += 1;
        }
        seats
    }

    #[test]
    fn rule_3_1_seats_follow_weights() {
        assert_eq!(divide(&[1, 1, 1, 1], 6), [2, 2, 1, 1]);
        assert_eq!(divide(&[2, 1, 1, 1], 7), [3, 2, 1, 1]);
        assert_eq!(divide(&[2, 4, 6], 6), [1, 2, 3]);
        assert_eq!(divide(&[6, 8, 10], 12), [3, 4, 5]);
        assert_eq!(divide(&[1, 1], 5), [3, 2]);
        assert_eq!(divide(&[0, 5], 3), [0, 3]);
    }

    #[test]
    fn a_tie_goes_to_fewer_seats() {
        let mut parties = [
            Party { weight: 3, floor: 1, cap: 9, seats: 0 },
            Party { weight: 1, floor: 0, cap: 9, seats: 0 },
        ];
        webster(&mut parties, 2);
        assert_eq!(parties.map(|it| it.seats), [1, 1]);
    }

    #[test]
    fn a_very_large_number_is_given_at_once() {
        let all = i64::from(i32::MAX);
        let mut parties = [
            Party { weight: 3, floor: 5, cap: i64::MAX, seats: 0 },
            Party { weight: 1, floor: all / 2, cap: i64::MAX, seats: 0 },
        ];
        assert_eq!(webster(&mut parties, all), 0);
        assert_eq!(parties.map(|it| it.seats), [all - all / 2, all / 2]);
    }

    #[test]
    fn what_does_not_fit_is_returned() {
        let mut parties = [Party { weight: 1, floor: 0, cap: 2, seats: 0 }; 2];
        assert_eq!(webster(&mut parties, 7), 3);
        let mut parties = [Party { weight: 1, floor: 3, cap: 9, seats: 0 }; 2];
        assert_eq!(webster(&mut parties, 5), -1);
    }

    proptest! {
        #[test]
        fn the_quick_way_is_the_definition(
            weights in prop::collection::vec(1_i64..1000, 1..8), total in 0_i64..200,
        ) {
            prop_assert_eq!(divide(&weights, total), by_definition(&weights, total));
        }

        #[test]
        fn rule_3_2_adding_a_seat_takes_none_away(
            weights in prop::collection::vec(1_i64..1000, 1..8), total in 0_i64..200,
        ) {
            let (less, more) = (divide(&weights, total), divide(&weights, total + 1));
            prop_assert!(less.iter().zip(&more).all(|(a, b)| a <= b));
        }

        #[test]
        fn many_seats_at_once_are_the_definition(
            parts in prop::collection::vec((1_i64..1000, 0_i64..400, 0_i64..3000), 2..6),
            more in 1_025_i64..3_000,
        ) {
            let mut parties: Vec<_> = parts
                .iter()
                .map(|(weight, floor, room)| {
                    Party { weight: *weight, floor: *floor, cap: floor + room, seats: 0 }
                })
                .collect();
            let total = parties.iter().map(|it| it.floor).sum::<i64>() + more;
            let mut one_by_one = parties.clone();
            let left = webster(&mut parties, total);
            for it in &mut one_by_one {
                it.seats = it.floor;
            }
            for _ in 0..more - left {
                let best = (0..one_by_one.len())
                    .filter(|at| one_by_one[*at].seats < one_by_one[*at].cap)
                    .max_by(|a, b| next(&one_by_one, *a).cmp(&next(&one_by_one, *b)))
                    .unwrap();
                one_by_one[best].seats += 1;
            }
            prop_assert_eq!(parties, one_by_one);
        }

        #[test]
        fn nobody_exceeds_a_weight_that_is_its_room(
            rooms in prop::collection::vec(1_i64..300, 1..8), percent in 0_i64..=100,
        ) {
            let total = rooms.iter().sum::<i64>() * percent / 100;
            prop_assert!(divide(&rooms, total).iter().zip(&rooms).all(|(seats, room)| seats <= room));
        }
    }
}
