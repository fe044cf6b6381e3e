//! Where other templates are that a workload wants near it, or keeps away from: `workloadAffinity` and
//! `workloadAntiAffinity` of its policy. What runs does not move for it; it says where something new may come.

use federation_types::policy::{WhenUnsatisfiable, WorkloadTerm};
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
            let known = if near { beside.affinity.get(at) } else { beside.anti_affinity.get(at - first) };
            self.hold_to(term, near, &self.masks.beside[at], known.unwrap_or(&none));
        }
    }

    fn hold_to(
        &mut self,
        term: &WorkloadTerm,
        near: bool,
        domains: &Domains,
        known: &Neighbours,
    ) {
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

    /// How many wishes a cluster leaves unmet: taints that ask to stay away, neighbours that are elsewhere.
    pub(crate) fn unmet(&self, cluster: u32) -> u8 {
        let at = cluster as usize;
        let wishes = self.scratch.wishes.get(at).copied().unwrap_or(0);
        u8::from(self.masks.soft.contains(at)) + wishes.min(100)
    }
}
