//! The one gate (RULES 1.1, 1.3, 1.4): which removals may go now, and which wait.
//!
//! PURE: time is an argument. The window's count is kept in `ChangeBudget.status`, so it survives a restart.

use std::collections::BTreeSet;

use federation_types::{
    budget::{ChangeBudgetSpec, ChangeBudgetStatus},
    validate::seconds,
};

/// A budget as the gate sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    pub spec: ChangeBudgetSpec,
    /// Seconds since the epoch at which the present window began.
    pub window_start: i64,
    /// Removals let through in the present window.
    pub removed: i64,
    /// The status as it was last stored.
    pub written: Option<ChangeBudgetStatus>,
}

impl Budget {
    /// How many copies may go per window, with so many copies in the fleet.
    pub fn allowed(&self, copies: i64) -> i64 {
        let share = copies.saturating_mul(i64::from(self.spec.removal_percent)) / 100;
        share.max(i64::from(self.spec.min_removals))
    }

    /// The length of the window in seconds.
    pub fn window(&self) -> i64 {
        seconds(&self.spec.window).and_then(|it| i64::try_from(it).ok()).unwrap_or(600)
    }

    /// Seconds until the window ends.
    pub fn window_ends_in(&self, now: i64) -> i64 {
        (self.window_start + self.window() - now).max(0)
    }

    /// How many more copies may go in the present window.
    pub fn left(&self, copies: i64, now: i64) -> i64 {
        let removed = if self.is_over(now) { 0 } else { self.removed };
        (self.allowed(copies) - removed).max(0)
    }

    fn is_over(&self, now: i64) -> bool {
        now >= self.window_start + self.window() || now < self.window_start
    }

    /// Begins a new window when the present one is over.
    fn roll(&mut self, now: i64) {
        if self.is_over(now) {
            self.window_start = now;
            self.removed = 0;
        }
    }

    /// Takes the state back from what was stored.
    pub fn restore(spec: ChangeBudgetSpec, status: &ChangeBudgetStatus, window_start: i64) -> Self {
        Self { spec, window_start, removed: status.removed, written: Some(status.clone()) }
    }
}

/// A removal that asks to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking<'a> {
    pub cluster: &'a str,
    pub namespace: &'a str,
}

/// Why a removal waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Frozen,
    BudgetSpent,
    FleetDark,
}

/// Lets as many removals pass as every budget allows, in the order given; counts them.
pub fn pass(
    budgets: &mut [Budget],
    copies: i64,
    fleet: Fleet,
    asking: &[Asking<'_>],
    now: i64,
) -> (BTreeSet<String>, Option<Hold>) {
    let mut passed = BTreeSet::new();
    let mut hold = None;
    if asking.is_empty() {
        return (passed, hold);
    }
    if fleet == Fleet::CutOff {
        return (passed, Some(Hold::FleetDark));
    }
    for budget in budgets.iter_mut() {
        budget.roll(now);
    }
    for removal in asking {
        if budgets.iter().any(|it| it.spec.freeze.holds(removal.cluster, removal.namespace)) {
            hold = Some(Hold::Frozen);
            continue;
        }
        if budgets.iter().any(|it| it.removed >= it.allowed(copies)) {
            hold = hold.or(Some(Hold::BudgetSpent));
            continue;
        }
        for budget in budgets.iter_mut() {
            budget.removed += 1;
        }
        passed.insert(removal.cluster.to_owned());
    }
    (passed, hold)
}

/// What the hub presumes of the fleet as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fleet {
    /// Dark clusters, if any, are their own trouble.
    #[default]
    Reachable,
    /// The hub is itself cut off: nothing changes.
    CutOff,
}

/// A cluster as the presumption sees it.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    pub provider: &'a str,
    pub answers: bool,
}

/// RULES 1.4: dark over several providers and more than 30 % of the fleet, or none answers: the hub is cut off.
///
/// A fleet of one cluster that is dark is a dark cluster all the same: nothing could replace it, so nothing changes.
pub fn presume(members: &[Member<'_>]) -> Fleet {
    let dark: Vec<&Member<'_>> = members.iter().filter(|it| !it.answers).collect();
    if dark.is_empty() {
        return Fleet::Reachable;
    }
    if dark.len() == members.len() {
        return Fleet::CutOff;
    }
    let providers: BTreeSet<&str> = dark.iter().map(|it| it.provider).collect();
    if providers.len() > 1 && dark.len() * 10 > members.len() * 3 {
        return Fleet::CutOff;
    }
    Fleet::Reachable
}

#[cfg(test)]
mod tests {
    use federation_types::budget::Freeze;

    use super::*;

    fn budget(min: u32, percent: u32) -> Budget {
        Budget {
            spec: ChangeBudgetSpec {
                window: "10m".into(),
                min_removals: min,
                removal_percent: percent,
                freeze: Freeze::default(),
            },
            ..Budget::default()
        }
    }

    fn asking(n: usize) -> Vec<String> {
        (0..n).map(|it| format!("c{it}")).collect()
    }

    fn passed(budgets: &mut [Budget], copies: i64, n: usize, now: i64) -> (usize, Option<Hold>) {
        let names = asking(n);
        let asking: Vec<Asking<'_>> =
            names.iter().map(|it| Asking { cluster: it, namespace: "shop" }).collect();
        let (passed, hold) = pass(budgets, copies, Fleet::Reachable, &asking, now);
        (passed.len(), hold)
    }

    #[test]
    fn rule_1_3_at_most_twenty_or_ten_per_cent_in_ten_minutes() {
        let mut small = [budget(20, 10)];
        assert_eq!(passed(&mut small, 50, 30, 1_000), (20, Some(Hold::BudgetSpent)));
        assert_eq!(passed(&mut small, 50, 1, 1_599), (0, Some(Hold::BudgetSpent)));
        assert_eq!((small[0].left(50, 1_599), small[0].left(50, 1_600)), (0, 20));
        assert_eq!(passed(&mut small, 50, 1, 1_600), (1, None));
        let mut large = [budget(20, 10)];
        assert_eq!(passed(&mut large, 1_000, 200, 1_000), (100, Some(Hold::BudgetSpent)));
    }

    #[test]
    fn rule_1_3_a_freeze_stops_removals_and_names_itself() {
        let mut budgets = [budget(20, 10)];
        budgets[0].spec.freeze.clusters.push("c1".into());
        assert_eq!(passed(&mut budgets, 10, 3, 0), (2, Some(Hold::Frozen)));
        budgets[0].spec.freeze.all = true;
        assert_eq!(passed(&mut budgets, 10, 3, 0), (0, Some(Hold::Frozen)));
    }

    #[test]
    fn every_budget_has_to_agree() {
        let mut budgets = [budget(20, 10), budget(1, 0)];
        assert_eq!(passed(&mut budgets, 10, 3, 0), (1, Some(Hold::BudgetSpent)));
    }

    #[test]
    fn rule_1_4_the_hub_presumes_that_it_is_cut_off() {
        let fleet = |text: &str| {
            let members: Vec<Member<'_>> = text
                .split_whitespace()
                .map(|it| Member {
                    provider: it.trim_end_matches('!'),
                    answers: !it.ends_with('!'),
                })
                .collect();
            presume(&members)
        };
        assert_eq!(fleet("eks gke onprem"), Fleet::Reachable);
        assert_eq!(fleet("eks! eks! eks! gke"), Fleet::Reachable);
        assert_eq!(fleet("eks! gke! onprem onprem"), Fleet::CutOff);
        assert_eq!(fleet("eks! gke! a b c d e f g h"), Fleet::Reachable);
        assert_eq!(fleet("eks!"), Fleet::CutOff);
        assert_eq!(fleet(""), Fleet::Reachable);
    }
}
