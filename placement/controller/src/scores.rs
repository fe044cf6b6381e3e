//! Scores that others give to clusters: which of them hold now (RULES 5.1).

use std::sync::Arc;

use federation_types::{score::ClusterScore, validate::moment};
use placement_engine::ClusterInput;

use crate::index::Index;

/// When a score ends, in seconds since the epoch; one that cannot be read has ended.
fn until(score: &ClusterScore) -> Option<i64> {
    score.spec.valid_until.as_ref().map(|it| moment(it).unwrap_or(0))
}

/// Whether points that hold until then count no more.
pub(crate) fn has_ended(until: &str, now: i64) -> bool {
    moment(until).unwrap_or(0) <= now
}

impl Index {
    /// A score as a watch delivers it. Points move nothing that runs: only what waits is looked at again.
    pub fn set_score(&mut self, name: &str, score: Option<ClusterScore>) {
        let new = score.map(Arc::new);
        let old = match &new {
            Some(new) => self.scores.insert(name.to_owned(), Arc::clone(new)),
            None => self.scores.remove(name),
        };
        if old.map(|it| it.spec.clone()) != new.map(|it| it.spec.clone()) {
            self.fleet_version += 1;
            self.touch_waiting();
            self.touch_gated();
        }
    }

    /// Scores that have ended since the last look count no more.
    pub(crate) fn expire_scores(&mut self, now: i64) {
        let since = std::mem::replace(&mut self.scores_seen, now);
        if self.scores.values().filter_map(|it| until(it)).any(|it| since < it && it <= now) {
            self.fleet_version += 1;
            self.touch_waiting();
            self.touch_gated();
        }
    }

    /// Puts the scores into what the engine is told of a cluster; of two for one name the first object counts.
    pub(crate) fn score(&self, input: &mut ClusterInput, now: i64) {
        for score in self.scores.values().filter(|it| it.spec.cluster == input.name) {
            let ended = until(score).is_some_and(|it| it <= now);
            for points in &score.spec.scores {
                if ended {
                    input.expired_scores.push(points.name.clone());
                } else {
                    input.scores.entry(points.name.clone()).or_insert(points.value);
                }
            }
        }
        let known = &input.scores;
        input.expired_scores.retain(|it| !known.contains_key(it));
        input.expired_scores.sort();
        input.expired_scores.dedup();
    }
}
