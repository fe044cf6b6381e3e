//! The fleet as one immutable snapshot, built once and read by every decision: clusters by number in the order of their
//! names, what they serve, what is free on them by node shape, and what their nodes cost.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    cluster::{ClusterSetSpec, MemberCluster, MemberClusterSpec, NodeShape},
    condition,
    reason::condition as conditions,
    selector::glob,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    bits::Bits,
    commitments::commit,
    price::{Price, PriceIndex},
    rates::Rates,
    room::Slots,
    time,
};

mod shapes;

pub use shapes::{BASE, ClusterShape, ShapeClass};
pub(crate) use shapes::{CPU, MEMORY, PODS, SPOT_LABELS};
use shapes::{class, extended_resources, group};

/// A cluster by its place in the order of names: the lower number is the lower name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ClusterId(pub u32);

impl ClusterId {
    pub(crate) fn at(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn of(at: usize) -> Self {
        Self(u32::try_from(at).expect("a fleet has fewer than 2³² clusters"))
    }
}

/// What the engine is told of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInput {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub spec: MemberClusterSpec,
    /// `v1.36.3`
    pub version: String,
    /// `apps/v1/Deployment`
    pub apis: Vec<String>,
    pub shapes: Vec<NodeShape>,
    /// Free-form facts for expressions: `cluster.properties`.
    pub properties: BTreeMap<String, String>,
    pub ready: bool,
    /// The cluster is on its way out: what it holds goes elsewhere.
    pub leaving: bool,
    /// The cluster counts as dead (RULES 3.5): what may fail over is replaced.
    pub lost: bool,
    /// Points that others give, by name.
    pub scores: BTreeMap<String, i64>,
    /// Names of scores that were given and have expired.
    pub expired_scores: Vec<String>,
}

impl ClusterInput {
    /// From the stored object.
    pub fn from_member(member: &MemberCluster) -> Self {
        let status = member.status.clone().unwrap_or_default();
        Self {
            name: member.metadata.name.clone().unwrap_or_default(),
            labels: member.metadata.labels.clone().unwrap_or_default(),
            spec: member.spec.clone(),
            ready: condition::is_true(&status.conditions, conditions::READY),
            leaving: member.metadata.deletion_timestamp.is_some(),
            version: status.version,
            apis: status.apis,
            shapes: status.shapes,
            properties: BTreeMap::new(),
            lost: false,
            scores: BTreeMap::new(),
            expired_scores: Vec::new(),
        }
    }
}

/// A ClusterSet by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetInput {
    pub name: String,
    pub spec: ClusterSetSpec,
}

/// One cluster of the snapshot.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub spec: MemberClusterSpec,
    pub version: String,
    /// 36 of `v1.36.3`; −1 if unknown.
    pub minor: i64,
    pub properties: BTreeMap<String, String>,
    pub shapes: Vec<ClusterShape>,
    pub rates: Rates,
    pub scores: BTreeMap<String, i64>,
    pub expired_scores: Vec<String>,
    /// Whether discovery has answered at all.
    pub has_apis: bool,
}

/// The domain of each cluster for one topology key.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    /// By cluster; [`Domains::NONE`] where the cluster has no such property.
    pub of: Vec<u32>,
    pub names: Vec<String>,
}

impl Domains {
    pub const NONE: u32 = u32::MAX;

    fn build(values: impl Iterator<Item = Option<String>> + Clone) -> Self {
        let names: BTreeSet<_> = values.clone().flatten().collect();
        let names: Vec<_> = names.into_iter().collect();
        let of = values
            .map(|value| match value {
                Some(value) => index(&names, &value),
                None => Self::NONE,
            })
            .collect();
        Self { of, names }
    }
}

fn index<T: Ord>(sorted: &[T], value: &T) -> u32 {
    let at = sorted.binary_search(value).expect("the list was made of these values");
    u32::try_from(at).expect("fewer than 2³² values")
}

#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) members: Bits,
    pub(crate) namespaces: Vec<String>,
}

/// All clusters, seen at one moment.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub as_of: String,
    /// The same in seconds since 1970-01-01, where it is a time.
    pub(crate) now: Option<i64>,
    /// Sorted by name.
    pub clusters: Vec<Cluster>,
    pub classes: Vec<ShapeClass>,
    /// Names of extended resources that some node has.
    pub extended: Vec<String>,
    pub(crate) apis: BTreeMap<String, Bits>,
    pub(crate) ready: Bits,
    pub(crate) accepted: Bits,
    pub(crate) leaving: Bits,
    pub(crate) lost: Bits,
    pub(crate) sets: BTreeMap<String, Set>,
    pub(crate) provider: Domains,
    pub(crate) region: Domains,
    pub(crate) zone: Domains,
    pub(crate) slots: Slots,
    /// Nodes that are paid for in advance and that none of the clusters of the place runs: whichever grows first has them.
    pub(crate) pools: Vec<i64>,
    /// Where each managed service is: the provider and region of the cluster nearest to it.
    pub(crate) services: BTreeMap<String, (String, String)>,
    /// Whether some node is tainted: only then are tolerations of pods looked at.
    pub(crate) tainted_nodes: bool,
    digest: [u8; 32],
}

impl Fleet {
    /// From what is known of clusters, sets and prices. Of two clusters of one name the first counts.
    pub fn build(
        mut inputs: Vec<ClusterInput>,
        sets: &[SetInput],
        prices: &PriceIndex,
        as_of: &str,
    ) -> Self {
        inputs.sort_by(|a, b| a.name.cmp(&b.name));
        inputs.dedup_by(|a, b| a.name == b.name);
        let digest = digest(&inputs, sets, prices);
        let count = inputs.len();
        let extended = extended_resources(&inputs);
        let classes: BTreeSet<ShapeClass> = inputs
            .iter()
            .flat_map(|it| it.shapes.iter().map(|shape| class(it, shape, &extended)))
            .collect();
        let classes: Vec<_> = classes.into_iter().collect();

        let mut apis: BTreeMap<String, Bits> = BTreeMap::new();
        let mut slots = Slots::new(extended.len());
        let mut clusters = Vec::with_capacity(count);
        let mut flags = [(); 4].map(|()| Bits::none(count));
        for (at, input) in inputs.iter().enumerate() {
            for api in &input.apis {
                match apis.get_mut(api) {
                    Some(bits) => bits.insert(at),
                    None => {
                        let mut bits = Bits::none(count);
                        bits.insert(at);
                        apis.insert(api.clone(), bits);
                    }
                }
            }
            let set = [input.ready, input.spec.accepted, input.leaving, input.lost];
            for (bits, set) in flags.iter_mut().zip(set) {
                if set {
                    bits.insert(at);
                }
            }
            let rates = prices.rates.of(&input.spec.provider, &input.spec.region);
            let mut shapes = Vec::with_capacity(input.shapes.len());
            let mut groups = Vec::new();
            for shape in &input.shapes {
                let class = index(&classes, &class(input, shape, &extended));
                let region = &input.spec.region;
                let place = (input.spec.provider.as_str(), region.as_str(), shape.zone.as_str());
                let licensed = |price: &Price| {
                    let hour = price.hour + rates.node();
                    Price { hour, ..price.clone() }
                };
                let kind = &shape.instance_type;
                let price = prices.find(place.0, place.1, place.2, kind).map(licensed);
                let is_spot = classes[class as usize].spot;
                let spot = prices.find_spot(place.0, place.1, place.2, kind).map(licensed);
                shapes.push(ClusterShape {
                    class,
                    count: shape.count,
                    price,
                    spot: spot.filter(|_| is_spot),
                    committed: 0,
                    idle: 0,
                    pool: None,
                    licences: rates.node(),
                });
                for free in &shape.free {
                    if free.nodes > 0 {
                        groups.push(group(class, free, &extended));
                    }
                }
            }
            shapes.sort_by_key(|it| it.class);
            slots.push_cluster(groups);
            clusters.push(Cluster {
                name: input.name.clone(),
                labels: input.labels.clone(),
                minor: minor(&input.version),
                version: input.version.clone(),
                properties: input.properties.clone(),
                has_apis: !input.apis.is_empty(),
                shapes,
                rates,
                scores: input.scores.clone(),
                expired_scores: input.expired_scores.clone(),
                spec: input.spec.clone(),
            });
        }
        let pools = commit(&mut clusters, &classes, &prices.rates.commitments);
        let [ready, accepted, leaving, lost] = flags;
        let sets = sets.iter().map(|it| (it.name.clone(), set(&it.spec, &clusters))).collect();
        let domain = |value: fn(&MemberClusterSpec) -> String| {
            Domains::build(clusters.iter().map(move |it| {
                let value = value(&it.spec);
                (!value.is_empty()).then_some(value)
            }))
        };
        Self {
            as_of: as_of.to_owned(),
            now: time::seconds(as_of),
            provider: domain(|it| it.provider.clone()),
            region: domain(|it| it.region.clone()),
            zone: domain(|it| {
                let zones: BTreeSet<_> = it.zones.iter().cloned().collect();
                zones.into_iter().collect::<Vec<_>>().join("+")
            }),
            services: homes(&clusters),
            tainted_nodes: classes.iter().any(|it| !it.taints.is_empty()),
            clusters,
            classes,
            extended,
            apis,
            ready,
            accepted,
            leaving,
            lost,
            sets,
            slots,
            pools,
            digest,
        }
    }

    pub fn len(&self) -> usize {
        self.clusters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    /// The number of a cluster.
    pub fn id(&self, name: &str) -> Option<ClusterId> {
        self.clusters.binary_search_by(|it| it.name.as_str().cmp(name)).ok().map(ClusterId::of)
    }

    pub fn name(&self, id: ClusterId) -> &str {
        &self.clusters[id.at()].name
    }

    pub(crate) fn cluster(&self, id: ClusterId) -> &Cluster {
        &self.clusters[id.at()]
    }

    /// The pool that a cluster takes nodes of, if it shares one.
    pub(crate) fn pool_of(&self, id: ClusterId) -> Option<usize> {
        self.cluster(id).shapes.iter().find_map(|it| it.pool)
    }

    /// Which clusters serve a kind (`apps/v1/Deployment`); none has it: `None`.
    pub(crate) fn serving(&self, api: &str) -> Option<&Bits> {
        self.apis.get(api)
    }

    /// A hash of all that decisions read of the fleet.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The domains of a topology key: `cluster`, `zone`, `region`, `provider` or a label.
    ///
    /// A cluster over several zones is one domain of its own, `a+b`: the hub cannot say in which of them a pod lands.
    pub(crate) fn domains(&self, key: &str) -> Domains {
        match key {
            "cluster" => Domains {
                of: (0..self.len()).map(|at| ClusterId::of(at).0).collect(),
                names: self.clusters.iter().map(|it| it.name.clone()).collect(),
            },
            "zone" => self.zone.clone(),
            "region" => self.region.clone(),
            "provider" => self.provider.clone(),
            label => Domains::build(self.clusters.iter().map(|it| it.labels.get(label).cloned())),
        }
    }

    /// Clusters that a namespace may use: those of the sets that serve it. Without any set nothing restricts.
    pub(crate) fn usable_by(&self, namespace: &str) -> Bits {
        if self.sets.is_empty() {
            return Bits::all(self.len());
        }
        let mut bits = Bits::none(self.len());
        for set in self.sets.values().filter(|it| it.serves(namespace)) {
            for (word, other) in bits.words_mut().iter_mut().zip(set.members.words()) {
                *word |= other;
            }
        }
        bits
    }
}

impl Set {
    pub(crate) fn serves(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|it| glob(it, namespace))
    }
}

fn digest(inputs: &[ClusterInput], sets: &[SetInput], prices: &PriceIndex) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut sets: Vec<&SetInput> = sets.iter().collect();
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    serde_json::to_writer(Sink(&mut hash), &(inputs, sets)).expect("plain data with text keys");
    for input in inputs {
        let spec = &input.spec;
        for shape in &input.shapes {
            let kind = &shape.instance_type;
            let found = [
                prices.find(&spec.provider, &spec.region, &shape.zone, kind),
                prices.find_spot(&spec.provider, &spec.region, &shape.zone, kind),
            ];
            for price in found.into_iter().flatten() {
                hash.update(price.ranked().0.to_be_bytes());
                hash.update([price.trust as u8]);
            }
        }
        let rates = prices.rates.of(&spec.provider, &spec.region);
        serde_json::to_writer(Sink(&mut hash), &rates).expect("plain data with text keys");
    }
    let commitments = &prices.rates.commitments;
    serde_json::to_writer(Sink(&mut hash), commitments).expect("plain data");
    hash.finalize().into()
}

/// Hashes what is written to it.
struct Sink<'a>(&'a mut Sha256);

impl std::io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn set(spec: &ClusterSetSpec, clusters: &[Cluster]) -> Set {
    let mut members = Bits::none(clusters.len());
    for (at, cluster) in clusters.iter().enumerate() {
        if spec.holds(&cluster.name, &cluster.labels) {
            members.insert(at);
        }
    }
    Set { members, namespaces: spec.namespaces.clone() }
}

/// Where managed services are: at the cluster that is nearest, by the name that sorts first of equally near ones.
fn homes(clusters: &[Cluster]) -> BTreeMap<String, (String, String)> {
    let mut nearest: BTreeMap<&str, (u32, usize)> = BTreeMap::new();
    for (at, cluster) in clusters.iter().enumerate() {
        for it in &cluster.spec.services {
            let here = (it.latency_ms, at);
            let best = nearest.entry(it.name.as_str()).or_insert(here);
            *best = (*best).min(here);
        }
    }
    let place = |at: usize| {
        let spec = &clusters[at].spec;
        (spec.provider.clone(), spec.region.clone())
    };
    nearest.into_iter().map(|(name, (_, at))| (name.to_owned(), place(at))).collect()
}

/// 36 of `v1.36.3` or `v1.36+`.
fn minor(version: &str) -> i64 {
    let digits = |it: &str| it.chars().take_while(char::is_ascii_digit).collect::<String>();
    version.split('.').nth(1).and_then(|it| digits(it).parse().ok()).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_numbered_by_name_in_whatever_order_they_come() {
        let input = |name: &str| ClusterInput { name: name.into(), ..ClusterInput::default() };
        let build = |names: [&str; 3]| {
            Fleet::build(names.map(input).to_vec(), &[], &PriceIndex::default(), "")
        };
        for fleet in [build(["b", "c", "a"]), build(["a", "b", "c"])] {
            assert_eq!(fleet.id("b"), Some(ClusterId(1)));
            assert_eq!(fleet.id("x"), None);
        }
    }

    #[test]
    fn the_minor_version_is_read() {
        assert_eq!(minor("v1.36.3"), 36);
        assert_eq!(minor("v1.34+"), 34);
        assert_eq!(minor(""), -1);
    }

    #[test]
    fn a_set_by_names_holds_these_only() {
        let input = |name: &str| ClusterInput { name: name.into(), ..ClusterInput::default() };
        let spec = ClusterSetSpec {
            names: vec!["b".into()],
            namespaces: vec!["team-*".into()],
            ..ClusterSetSpec::default()
        };
        let sets = [SetInput { name: "some".into(), spec }];
        let fleet = Fleet::build(vec![input("a"), input("b")], &sets, &PriceIndex::default(), "");
        assert_eq!(fleet.usable_by("team-x").iter().collect::<Vec<_>>(), [1]);
        assert!(fleet.usable_by("shop").is_empty());
    }
}
