//! Where other templates are that a workload wants near it, or keeps away from: `workloadAffinity` and
//! `workloadAntiAffinity` of its policy. What runs does not move for it; it says where something new may come.

use std::collections::BTreeMap;

use federation_types::{
    names::ObjectKey,
    policy::{PlacementPolicySpec, WhenUnsatisfiable, WorkloadTerm},
};
use serde::{Deserialize, Serialize};

use crate::{
    attempt::Pass,
    bits::Bits,
    fleet::{Domains, Fleet},
    policy::CompiledPolicy,
    report::Rule,
};

/// For one term: where the templates are that it selects, the workload itself left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Neighbours {
    /// Names of clusters.
    pub clusters: Vec<String>,
    /// The term selects the workload itself: it may be the first of them.
    pub itself: bool,
}

/// The neighbours for each term of the policy, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Beside {
    pub affinity: Vec<Neighbours>,
    pub anti_affinity: Vec<Neighbours>,
}

impl Beside {
    /// Nothing is known of other templates, which is so where the policy speaks of none.
    pub fn is_none(&self) -> bool {
        self.affinity.is_empty() && self.anti_affinity.is_empty()
    }

    /// Works out where the neighbours are that a policy speaks of. `others`: the templates of the namespace with their
    /// labels and the clusters that are to hold them.
    pub fn of<'a>(
        spec: &PlacementPolicySpec,
        key: &ObjectKey,
        labels: &BTreeMap<String, String>,
        others: impl Iterator<Item = (&'a ObjectKey, &'a BTreeMap<String, String>, Vec<&'a str>)>,
    ) -> Self {
        let of = |terms: &[WorkloadTerm]| -> Vec<Neighbours> {
            let itself = |it: &WorkloadTerm| it.label_selector.matches(labels);
            terms
                .iter()
                .map(|it| Neighbours { itself: itself(it), ..Neighbours::default() })
                .collect()
        };
        let mut beside = Self {
            affinity: of(&spec.workload_affinity),
            anti_affinity: of(&spec.workload_anti_affinity),
        };
        for (other, labels, clusters) in others.filter(|it| it.0 != key) {
            let near = spec.workload_affinity.iter().zip(&mut beside.affinity);
            let apart = spec.workload_anti_affinity.iter().zip(&mut beside.anti_affinity);
            for (term, known) in near.chain(apart) {
                if other.namespace == key.namespace && term.label_selector.matches(labels) {
                    known.clusters.extend(clusters.iter().map(|it| (*it).to_owned()));
                }
            }
        }
        for known in beside.affinity.iter_mut().chain(&mut beside.anti_affinity) {
            known.clusters.sort_unstable();
            known.clusters.dedup();
        }
        beside
    }
}

/// The domains of each term: those of affinity first.
pub(crate) fn domains(fleet: &Fleet, policy: &CompiledPolicy) -> Vec<Domains> {
    let spec = &policy.spec;
    let terms = spec.workload_affinity.iter().chain(&spec.workload_anti_affinity);
    terms.map(|it| fleet.domains(&it.topology_key)).collect()
}

impl Pass<'_> {
    /// Closes the clusters that a term refuses, and counts the wishes that each of the others leaves unmet.
    pub(crate) fn keep_company(&mut self) {
        self.scratch.wishes.clear();
        let spec = &self.policy.spec;
        let near = spec.workload_affinity.iter().map(|it| (it, true));
        let apart = spec.workload_anti_affinity.iter().map(|it| (it, false));
        let beside = &self.workload.beside;
        let first = spec.workload_affinity.len();
        let none = Neighbours::default();
        for (at, (term, near)) in near.chain(apart).enumerate() {
            let known =
                if near { beside.affinity.get(at) } else { beside.anti_affinity.get(at - first) };
            self.hold_to(term, near, &self.masks.beside[at], known.unwrap_or(&none));
        }
    }

    fn hold_to(&mut self, term: &WorkloadTerm, near: bool, domains: &Domains, known: &Neighbours) {
        if near && known.clusters.is_empty() && known.itself {
            return;
        }
        let mut theirs = Bits::none(domains.names.len());
        for id in known.clusters.iter().filter_map(|it| self.fleet.id(it)) {
            let domain = domains.of[id.at()];
            if domain != Domains::NONE {
                theirs.insert(domain as usize);
            }
        }
        let wish = term.when_unsatisfiable == Some(WhenUnsatisfiable::ScheduleAnyway);
        for at in 0..self.fleet.len() {
            let domain = domains.of[at];
            let together = domain != Domains::NONE && theirs.contains(domain as usize);
            if together == near || !self.scratch.open.contains(at) {
                continue;
            }
            if wish {
                self.scratch.wishes.resize(self.fleet.len(), 0);
                self.scratch.wishes[at] = self.scratch.wishes[at].saturating_add(1);
            } else {
                self.scratch.open.remove(at);
                self.rules[at] =
                    if near { Rule::WorkloadAffinity } else { Rule::WorkloadAntiAffinity };
            }
        }
    }

    /// How many wishes about other workloads a cluster leaves unmet.
    pub(crate) fn lonely(&self, cluster: u32) -> u8 {
        self.scratch.wishes.get(cluster as usize).copied().unwrap_or(0).min(100)
    }

    /// The same, with the taints that ask to stay away.
    pub(crate) fn unmet(&self, cluster: u32) -> u8 {
        u8::from(self.masks.soft.contains(cluster as usize)) + self.lonely(cluster)
    }
}
