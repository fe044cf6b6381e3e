//! The demo's clusters: three providers, with regions, machine types and jurisdictions as they exist.

use std::collections::BTreeMap;

use federation_types::cluster::{MemberClusterSpec, NearService, Taint, TaintEffect};
use providers_simulated::NodePool;

/// One cluster of the demo.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) spec: MemberClusterSpec,
    pub(super) nodes: Vec<NodePool>,
}

struct Site {
    provider: &'static str,
    region: &'static str,
    zones: &'static [&'static str],
    jurisdiction: &'static str,
    tier: &'static str,
    machine: (&'static str, &'static str, &'static str),
    nodes: usize,
}

/// Allocatable: what is left of a machine after the system's part.
const M6I: (&str, &str, &str) = ("m6i.xlarge", "3920m", "14Gi");
const M7G: (&str, &str, &str) = ("m7g.xlarge", "3920m", "14Gi");
const E2: (&str, &str, &str) = ("e2-standard-4", "3920m", "13Gi");
const N2: (&str, &str, &str) = ("n2-standard-8", "7910m", "28Gi");
const METAL: (&str, &str, &str) = ("metal-8", "7800m", "30Gi");

const SITES: [Site; 12] = [
    site("eks", "eu-west-1", &["eu-west-1a", "eu-west-1b"], "EU", "prod", M6I, 4),
    site("gke", "europe-west1", &["europe-west1-b", "europe-west1-c"], "EU", "prod", E2, 4),
    site("onprem", "frankfurt", &["hall-1"], "EU", "prod", METAL, 3),
    site("eks", "eu-central-1", &["eu-central-1a"], "EU", "prod", M7G, 3),
    site("gke", "europe-west4", &["europe-west4-a"], "EU", "prod", N2, 3),
    site("onprem", "amsterdam", &["hall-1", "hall-2"], "EU", "staging", METAL, 2),
    site("eks", "us-east-1", &["us-east-1a", "us-east-1b"], "US", "prod", M6I, 4),
    site("gke", "us-central1", &["us-central1-a"], "US", "prod", E2, 4),
    site("onprem", "ashburn", &["hall-1"], "US", "prod", METAL, 2),
    site("eks", "us-west-2", &["us-west-2a"], "US", "spot", M7G, 3),
    site("gke", "europe-west3", &["europe-west3-a"], "EU", "staging", N2, 2),
    site("gke", "us-east1", &["us-east1-b"], "US", "spot", E2, 3),
];

/// The managed services that the apps of a region may use, across clouds too, each with how many milliseconds away it is.
fn services(region: &str) -> &'static [(&'static str, u32)] {
    match region {
        "eu-west-1" => &[("aws/dynamodb", 2), ("gcp/bigquery", 21)],
        "eu-central-1" => &[("aws/dynamodb", 2), ("gcp/bigquery", 13)],
        "us-east-1" => &[("aws/dynamodb", 2), ("gcp/bigquery", 35)],
        "us-west-2" => &[("aws/dynamodb", 2), ("gcp/bigquery", 39)],
        "europe-west1" => &[("aws/dynamodb", 19), ("gcp/bigquery", 2)],
        "europe-west3" => &[("aws/dynamodb", 5), ("gcp/bigquery", 2)],
        "europe-west4" => &[("aws/dynamodb", 14), ("gcp/bigquery", 2)],
        "us-central1" => &[("aws/dynamodb", 34), ("gcp/bigquery", 2)],
        "us-east1" => &[("aws/dynamodb", 15), ("gcp/bigquery", 2)],
        "frankfurt" => &[("aws/dynamodb", 5)],
        "amsterdam" => &[("aws/dynamodb", 12)],
        "ashburn" => &[("aws/dynamodb", 4)],
        _ => &[],
    }
}

const fn site(
    provider: &'static str,
    region: &'static str,
    zones: &'static [&'static str],
    jurisdiction: &'static str,
    tier: &'static str,
    machine: (&'static str, &'static str, &'static str),
    nodes: usize,
) -> Site {
    Site { provider, region, zones, jurisdiction, tier, machine, nodes }
}

/// So many clusters; beyond the sites there are, each site has one more.
pub(super) fn plans(count: usize) -> Vec<Plan> {
    (0..count).map(|n| plan(&SITES[n % SITES.len()], n / SITES.len())).collect()
}

fn plan(site: &Site, round: usize) -> Plan {
    let suffix = if round == 0 { String::new() } else { format!("-{}", round + 1) };
    let spot = site.tier == "spot";
    let taint = Taint {
        key: "spot".to_owned(),
        value: "true".to_owned(),
        effect: TaintEffect::NoSchedule,
        ..Taint::default()
    };
    let (machine, cpu, memory) = site.machine;
    let share = |at: usize| {
        let zones = site.zones.len();
        site.nodes / zones + usize::from(at < site.nodes % zones)
    };
    Plan {
        name: format!("{}-{}{suffix}", site.provider, site.region),
        labels: BTreeMap::from([("tier".to_owned(), site.tier.to_owned())]),
        spec: MemberClusterSpec {
            provider: site.provider.to_owned(),
            region: site.region.to_owned(),
            zones: site.zones.iter().map(|it| (*it).to_owned()).collect(),
            jurisdiction: site.jurisdiction.to_owned(),
            taints: if spot { vec![taint] } else { Vec::new() },
            services: services(site.region)
                .iter()
                .map(|(name, ms)| NearService { name: (*name).to_owned(), latency_ms: *ms })
                .collect(),
            autoscaled: site.provider != "onprem",
            ..MemberClusterSpec::default()
        },
        nodes: site
            .zones
            .iter()
            .enumerate()
            .map(|(at, zone)| NodePool::new(share(at), machine, zone, cpu, memory))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use federation_types::{
        cluster::{ClusterSetSpec, FreeNodes, NodeShape},
        policy::PlacementPolicy,
    };
    use placement_engine::{
        ClusterInput, CompiledPolicy, Fleet, Previous, Room, SetInput, Workload, place,
    };
    use providers_core::prices::{PriceIndex, sample_book};
    use serde::Deserialize as _;

    use super::*;

    #[test]
    fn clusters_have_names_of_their_own_and_three_providers() {
        let plans = plans(30);
        let names: BTreeSet<&str> = plans.iter().map(|it| it.name.as_str()).collect();
        let providers: BTreeSet<&str> = plans.iter().map(|it| it.spec.provider.as_str()).collect();
        assert_eq!((names.len(), providers.len()), (30, 3));
        assert!(plans.iter().all(|it| it.nodes.iter().map(|it| it.count).sum::<usize>() >= 2));
    }

    /// The clusters as the hub knows them once they are ready.
    fn ready(plans: &[Plan]) -> Vec<ClusterInput> {
        let input = |plan: &Plan| {
            let shapes = plan.nodes.iter().map(|it| {
                let amounts = [("cpu", it.cpu.clone()), ("memory", it.memory.clone())];
                let pods = ("pods".to_owned(), it.pods.to_string());
                let amounts = amounts.map(|(name, amount)| (name.to_owned(), amount));
                let resources: BTreeMap<_, _> = amounts.into_iter().chain([pods]).collect();
                let count = i64::try_from(it.count).unwrap();
                NodeShape {
                    instance_type: it.instance_type.clone(),
                    zone: it.zone.clone(),
                    count,
                    allocatable: resources.clone(),
                    free: vec![FreeNodes { nodes: count, resources }],
                    ..NodeShape::default()
                }
            });
            ClusterInput {
                name: plan.name.clone(),
                labels: plan.labels.clone(),
                spec: MemberClusterSpec { accepted: true, ..plan.spec.clone() },
                ready: true,
                version: "v1.36.3".to_owned(),
                apis: vec!["apps/v1/Deployment".to_owned()],
                shapes: shapes.collect(),
                ..ClusterInput::default()
            }
        };
        plans.iter().map(input).collect()
    }

    #[test]
    fn the_example_policy_of_the_design_places_the_front_end() {
        let objects = |text: &str| -> Vec<serde_json::Value> {
            serde_norway::Deserializer::from_str(text)
                .map(|it| serde_json::Value::deserialize(it).unwrap())
                .collect()
        };
        let example = objects(include_str!("../../tests/e2e/stories/design-example.yaml"));
        let policy: PlacementPolicy = serde_json::from_value(example[0].clone()).unwrap();
        let policy = CompiledPolicy::compile("web-eu", Some("shop"), &policy.spec, &[]).unwrap();
        let apps = objects(include_str!("../../deploy/demo/apps.yaml"));
        let is_web = |it: &&serde_json::Value| {
            it["kind"] == "Deployment" && it["metadata"]["labels"]["tier"] == "web"
        };
        let web = Workload::from_template(apps.iter().find(is_web).unwrap());

        let all = SetInput {
            name: "all".to_owned(),
            spec: ClusterSetSpec { namespaces: vec!["*".to_owned()], ..ClusterSetSpec::default() },
        };
        let sample = sample_book();
        let prices = placement_engine::PriceIndex::build([("sample", &sample)], "2026-11-21");
        let fleet = Fleet::build(ready(&plans(SITES.len())), &[all], &prices, "2026-11-21");
        let mut room = Room::new(&fleet);
        let decision = place(&fleet, &mut room, &web, &policy, &Previous::default());
        assert!(decision.outcome.is_placed(), "{}", decision.outcome);
        let names = decision.clusters.iter().map(|it| fleet.name(it.cluster));
        let providers: BTreeSet<&str> = names.filter_map(|it| it.split('-').next()).collect();
        assert_eq!(providers, BTreeSet::from(["eks", "gke"]));
        assert_eq!(decision.replicas(), 12);
    }

    #[test]
    fn every_cloud_machine_of_the_demo_has_a_price_in_the_sample_book() {
        let prices = PriceIndex::new([&sample_book()]);
        for plan in plans(SITES.len()).iter().filter(|it| it.spec.provider != "onprem") {
            for pool in &plan.nodes {
                let price = prices.find(
                    &plan.spec.provider,
                    &plan.spec.region,
                    &pool.zone,
                    &pool.instance_type,
                );
                assert!(price.is_some_and(|it| it.on_demand.is_some()), "{}", plan.name);
            }
        }
    }
}
