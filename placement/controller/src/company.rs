//! Which clusters hold the templates that a policy wants near a workload or apart from it, and what is looked at again
//! when that changes.

use std::{borrow::Cow, collections::BTreeMap};

use federation_types::{names::ObjectKey, policy::PlacementPolicySpec};
use placement_engine::{
    Beside, Workload,
    dependencies::{self, is_follow},
};

use crate::index::{Index, Template};

/// Whether a policy speaks of other workloads.
fn has_terms(spec: &PlacementPolicySpec) -> bool {
    !spec.workload_affinity.is_empty() || !spec.workload_anti_affinity.is_empty()
}

impl Index {
    /// The workload of a template, with where its neighbours are if its policy speaks of any.
    pub(crate) fn in_company<'a>(
        &self,
        key: &ObjectKey,
        template: &Template,
        workload: &'a Workload,
        spec: &PlacementPolicySpec,
    ) -> Cow<'a, Workload> {
        if is_follow(spec) {
            let beside = dependencies::beside(self.follow.clusters(key));
            return Cow::Owned(Workload { beside, ..workload.clone() });
        }
        if !has_terms(spec) {
            return Cow::Borrowed(workload);
        }
        let mut clusters: BTreeMap<&ObjectKey, Vec<&str>> = BTreeMap::new();
        for other in self.placed_in(&key.namespace) {
            let Some(placed) = self.placements.get(other) else { continue };
            let meant = placed.spec.clusters.iter().filter(|it| it.leaving.is_empty());
            clusters.insert(other, meant.map(|it| it.name.as_str()).collect());
        }
        // What is being written is not among the Placements yet.
        for (other, written) in &self.in_flight {
            if other.namespace == key.namespace {
                clusters.insert(other, written.iter().map(|it| it.0.as_str()).collect());
            }
        }
        let others = clusters.into_iter().filter_map(|(other, clusters)| {
            Some((other, &self.templates.get(other)?.labels, clusters))
        });
        let beside = Beside::of(spec, key, &template.labels, others);
        Cow::Owned(Workload { beside, ..workload.clone() })
    }

    /// Templates of a namespace moved, or have other labels: what a policy keeps near or apart is looked at again.
    pub(crate) fn touch_company(&mut self) {
        let moved = std::mem::take(&mut self.moved_in);
        if !self.policies.values().any(|it| has_terms(&it.spec)) {
            return;
        }
        let mut dirty = Vec::new();
        for namespace in &moved {
            for key in self.placed_in(namespace) {
                let Some(template) = self.templates.get(key) else { continue };
                let facts = Self::facts(key, template);
                let speaks = |it: &std::sync::Arc<crate::claim::Policy>| {
                    has_terms(&it.spec) && it.selects(&facts).is_some()
                };
                if self.policies.values().any(speaks) {
                    dirty.push(key.clone());
                }
            }
        }
        self.dirty.extend(dirty);
    }
}
