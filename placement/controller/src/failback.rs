//! The way back to a preferred affinity group: since when it could hold all of a template, and how long that has to last
//! (RULES 3.5).
//!
//! A time that has lasted for five minutes is kept in the Placement, and so is how often a template has returned: a
//! restart of the hub makes a return at most that much later, and never earlier. What comes and goes sooner is kept in
//! memory alone, so that room which flutters writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    names::ObjectKey,
    placement::Returned,
    policy::{FailbackMode, PlacementPolicySpec},
    validate::seconds,
};
use placement_engine::Failback;

use crate::{clock, index::Index};

/// How long a preferred group could hold all of it before it returns, unless the policy says otherwise.
const STABLE: i64 = 1_800;
/// Returns within so many seconds of each other count.
const DAY: i64 = 86_400;
/// How long a preferred group could hold all of it before that is kept.
const KEPT: i64 = 300;
/// More returns than this no longer make the wait longer.
const DOUBLINGS: u32 = 6;

/// Templates on their way back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returning {
    /// Elsewhere than preferred: looked at again when room or clusters change.
    away: BTreeSet<ObjectKey>,
    possible: BTreeMap<ObjectKey, Possible>,
}

#[derive(Clone, Copy, Debug)]
struct Possible {
    since: i64,
    due: i64,
    /// Its pass at `due` was asked for.
    asked: bool,
    /// The pass that keeps `since` was asked for.
    kept: bool,
}

/// How long a preferred group must have been able to hold all of it; `None` where the policy wants nothing back.
pub(crate) fn wait(
    spec: &PlacementPolicySpec,
    returned: Option<&Returned>,
    now: i64,
) -> Option<i64> {
    let failback = spec.failover.as_ref()?.failback.as_ref()?;
    if failback.mode == Some(FailbackMode::Never) {
        return None;
    }
    let stated = failback.stable_for.as_deref().and_then(seconds);
    let stable = stated.and_then(|it| i64::try_from(it).ok()).unwrap_or(STABLE);
    let recent = returned.filter(|it| now - clock::seconds(&it.last) < DAY);
    Some(stable.saturating_mul(1 << recent.map_or(0, |it| it.times.min(DOUBLINGS))))
}

/// What the Placement keeps of a return.
pub(crate) fn returned(before: Option<&Returned>, now: i64) -> Returned {
    let recent = before.filter(|it| now - clock::seconds(&it.last) < DAY);
    let times = recent.map_or(0, |it| it.times).saturating_add(1);
    Returned { times, last: clock::text(now) }
}

impl Index {
    /// Whether it is time for a template to return.
    pub(crate) fn may_return(&self, key: &ObjectKey, wait: i64, now: i64) -> bool {
        self.returning.possible.get(key).is_some_and(|it| now - it.since >= wait)
    }

    /// Keeps what a decision says of the way back; `kept` is since when, by the Placement. Returns what the Placement is
    /// to keep.
    pub(crate) fn note_failback(
        &mut self,
        key: &ObjectKey,
        failback: Failback,
        wait: Option<i64>,
        kept: &str,
        now: i64,
    ) -> String {
        let Returning { away, possible } = &mut self.returning;
        let wait = wait.filter(|_| matches!(failback, Failback::Away | Failback::Possible));
        let Some(wait) = wait else {
            away.remove(key);
            possible.remove(key);
            return String::new();
        };
        if !away.contains(key) {
            away.insert(key.clone());
        }
        if failback == Failback::Away {
            possible.remove(key);
            return String::new();
        }
        let it = possible.entry(key.clone()).or_insert_with(|| {
            // Not known to this process, and kept by the one before.
            let since = Some(clock::seconds(kept)).filter(|it| (1..=now).contains(it));
            Possible { since: since.unwrap_or(now), due: 0, asked: false, kept: since.is_some() }
        });
        let due = it.since.saturating_add(wait);
        if it.due != due {
            *it = Possible { due, asked: false, ..*it };
        }
        if now - it.since >= KEPT { clock::text(it.since) } else { String::new() }
    }

    pub(crate) fn forget_failback(&mut self, key: &ObjectKey) {
        self.returning.away.remove(key);
        self.returning.possible.remove(key);
    }

    /// What is elsewhere than preferred.
    pub(crate) fn away(&self) -> impl Iterator<Item = &ObjectKey> {
        self.returning.away.iter()
    }

    /// Marks what is to return now: a pass is made when its time comes, and not while it lasts.
    pub(crate) fn touch_returning(&mut self, now: i64) {
        for (key, it) in &mut self.returning.possible {
            if !it.kept && it.since + KEPT <= now {
                it.kept = true;
                self.dirty.insert(key.clone());
            }
            if !it.asked && it.due <= now {
                it.asked = true;
                self.dirty.insert(key.clone());
            }
        }
    }
}
