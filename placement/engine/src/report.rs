//! What a decision says of each cluster: one rule, as one byte.

use federation_types::reason::rule;

/// Why a cluster was refused, or that it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rule {
    /// Eligible, and others were enough.
    NotNeeded,
    Chosen,
    NotAccepted,
    NotReady,
    Leaving,
    Affinity,
    Excluded,
    Expression,
    ClusterSet,
    Taint,
    ApiNotServed,
    Residency,
    Limit,
    Near,
    WorkloadAffinity,
    WorkloadAntiAffinity,
    Spread,
    Room,
    PriceUnknown,
    Dearer,
}

impl Rule {
    /// The id, as the API has it.
    pub fn id(self) -> &'static str {
        match self {
            Self::NotNeeded => rule::NOT_NEEDED,
            Self::Chosen => rule::CHOSEN,
            Self::NotAccepted => rule::NOT_ACCEPTED,
            Self::NotReady => rule::NOT_READY,
            Self::Leaving => rule::LEAVING,
            Self::Affinity => rule::AFFINITY,
            Self::Excluded => rule::EXCLUDED,
            Self::Expression => rule::EXPRESSION,
            Self::ClusterSet => rule::CLUSTER_SET,
            Self::Taint => rule::TAINT,
            Self::ApiNotServed => rule::API_NOT_SERVED,
            Self::Residency => rule::RESIDENCY,
            Self::Limit => rule::LIMIT,
            Self::Near => rule::NEAR,
            Self::WorkloadAffinity => rule::WORKLOAD_AFFINITY,
            Self::WorkloadAntiAffinity => rule::WORKLOAD_ANTI_AFFINITY,
            Self::Spread => rule::SPREAD,
            Self::Room => rule::ROOM,
            Self::PriceUnknown => rule::PRICE_UNKNOWN,
            Self::Dearer => rule::DEARER,
        }
    }

    /// Whether the cluster could have been chosen as far as the policy alone goes.
    pub fn eligible(self) -> bool {
        matches!(
            self,
            Self::NotNeeded
                | Self::Chosen
                | Self::Spread
                | Self::Room
                | Self::PriceUnknown
                | Self::Dearer
        )
    }
}

/// One rule per cluster, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub rules: Vec<Rule>,
}

impl Report {
    /// How many clusters each rule decided for, by id.
    pub fn counts(&self) -> std::collections::BTreeMap<&'static str, usize> {
        let mut counts = std::collections::BTreeMap::new();
        for rule in &self.rules {
            *counts.entry(rule.id()).or_default() += 1;
        }
        counts
    }
}
