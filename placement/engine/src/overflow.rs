//! Several affinity groups as one: a group that overflows is filled first, and what it cannot hold goes into the next;
//! and the way back to a preferred group (RULES 3.5).

use std::ops::RangeInclusive;

use crate::{
    attempt::{Attempt, Pass, Scope},
    place::{Outcome, Placed},
    report::Rule,
};

impl Pass<'_> {
    /// The last group that a group flows over into, one after the other.
    pub(crate) fn last_of(&self, group: usize) -> usize {
        if !self.mode.divides() {
            return group;
        }
        let flows = self.policy.groups[group..].iter().take_while(|it| it.overflows).count();
        (group + flows).min(self.policy.groups.len() - 1)
    }

    /// A group with all that it flows over into.
    pub(crate) fn chain(&self, group: usize) -> Scope {
        let all = (group, self.last_of(group));
        Scope { keep: all, open: all }
    }

    /// Whether something of it lies in a group further on.
    pub(crate) fn spills(&self, group: usize) -> bool {
        let last = self.last_of(group);
        last > group
            && self.scratch.held.iter().any(|(cluster, _)| {
                let keeps =
                    |group: usize| self.masks.groups[group].keep.contains(*cluster as usize);
                !keeps(group) && (group + 1..=last).any(keeps)
            })
    }

    /// The first of the groups in view that keeps a cluster, counted from the first one.
    pub(crate) fn tier(&self, cluster: u32) -> usize {
        let (first, last) = self.scope.keep;
        if first == last {
            return 0;
        }
        let holds = |group: &usize| self.masks.groups[*group].keep.contains(cluster as usize);
        (first..=last).find(holds).map_or(0, |it| it - first)
    }

    /// Fills the groups one after the other. A group that cannot keep the rules of the spread alone is filled together
    /// with the next.
    pub(crate) fn overflow(&mut self, group: usize) -> Result<Attempt, Outcome> {
        let last = self.last_of(group);
        let before = self.scratch.held.clone();
        let mut first_open = group;
        let mut result = Err(Outcome::NoClusterFits);
        for at in group..=last {
            self.scope = Scope { keep: (group, last), open: (first_open, at) };
            let partly = self.partial;
            self.partial = partly || at < last;
            result = self.try_scope();
            if at < last {
                result = self.with_new_nodes(result);
            }
            self.partial = partly;
            match &result {
                Ok(attempt) if attempt.missing == 0 => break,
                Ok(attempt) if at < last => {
                    first_open = at + 1;
                    self.scratch.held = attempt
                        .clusters
                        .iter()
                        .map(|it| (it.cluster.0, it.replicas.unwrap_or(0)))
                        .collect();
                }
                Ok(_) | Err(_) => (),
            }
        }
        self.scratch.held = before;
        result
    }

    /// A group whose clusters can have new nodes grows before it flows over.
    fn with_new_nodes(&mut self, first: Result<Attempt, Outcome>) -> Result<Attempt, Outcome> {
        let short = match &first {
            Ok(attempt) => attempt.missing > 0,
            Err(_) => false,
        };
        if !short || !self.fleet.clusters.iter().any(|it| it.spec.autoscaled) {
            return first;
        }
        let before = std::mem::replace(&mut self.elastic, true);
        let second = self.try_scope();
        self.elastic = before;
        second.or(first)
    }

    /// The rules and the open clusters of further groups beside those of the first one in view.
    pub(crate) fn open_more(&mut self, groups: RangeInclusive<usize>) {
        for mask in &self.masks.groups[groups] {
            for at in mask.open.iter() {
                self.scratch.open.insert(at);
                self.rules[at] = Rule::NotNeeded;
            }
        }
        let (first, last) = self.scope.keep;
        for mask in &self.masks.groups[first..=last] {
            for at in mask.open.iter().filter(|at| !self.scratch.open.contains(*at)) {
                // Its group is full, or not needed.
                self.rules[at] = Rule::Room;
            }
        }
    }

    /// Whether some of it would rather be elsewhere.
    pub(crate) fn is_away(&self, group: usize, placed: &[Placed]) -> bool {
        let own = |it: &Placed| self.masks.groups[group].keep.contains(it.cluster.at());
        self.policy.fails_back() && (group > 0 || !placed.iter().all(own))
    }

    /// A group before the one that was chosen, or that one alone where it has flowed over, that could hold all of it.
    pub(crate) fn preferred(&mut self, current: usize) -> Option<(usize, Attempt)> {
        if !self.policy.fails_back() {
            return None;
        }
        let last = if self.spills(current) { current + 1 } else { current };
        (0..last).find_map(|group| Some((group, self.takes_all(group)?)))
    }
}
