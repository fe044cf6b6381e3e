//! What an explanation says would change the answer does so: the change is made to what the decision is made from, and
//! the decision made anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use federation_types::{
    cluster::{
        ClusterSetSpec, FreeNodes, MemberClusterSpec, NearService, NodeShape, Taint, TaintEffect,
    },
    policy::{Limits, PlacementPolicySpec},
    price::{NodePrice, PriceBookSpec},
    reason::rule,
    review::{Counterfactual, ExplanationStatus},
};
use placement_engine::{
    ClusterInput, CompiledPolicy, Fleet, Previous, PriceIndex, Room, SetInput, Workload,
    components::Component,
    explain,
    workload::{KindClass, NodeRules, Requests},
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Everything that a decision is made from, open to changes.
#[derive(Clone, Debug)]
struct Inputs {
    clusters: Vec<ClusterInput>,
    sets: Vec<SetInput>,
    prices: Vec<NodePrice>,
    namespace: Option<String>,
    spec: Value,
    limits: BTreeMap<String, Value>,
    workload: Workload,
    previous: Previous,
}

impl Inputs {
    fn explain(&self) -> ExplanationStatus {
        let book = PriceBookSpec { prices: self.prices.clone(), ..PriceBookSpec::default() };
        let prices = PriceIndex::build([("book", &book)], "2026-11-21");
        let fleet = Fleet::build(self.clusters.clone(), &self.sets, &prices, "2026-11-21");
        let spec: PlacementPolicySpec = serde_json::from_value(self.spec.clone()).unwrap();
        let limits: BTreeMap<&str, Limits> = self
            .limits
            .iter()
            .map(|(name, it)| (name.as_str(), serde_json::from_value(it.clone()).unwrap()))
            .collect();
        let limits: Vec<_> = limits.iter().map(|(name, it)| (*name, it)).collect();
        let policy =
            CompiledPolicy::compile("p", self.namespace.as_deref(), &spec, &limits).unwrap();
        explain(&fleet, &Room::new(&fleet), &self.workload, &policy, &self.previous, None)
    }

    fn policy(&mut self, name: &str) -> &mut Value {
        if name.is_empty() { &mut self.spec } else { self.limits.get_mut(name).unwrap() }
    }

    /// Makes a change that was stated for a cluster.
    fn make(&mut self, change: &Counterfactual, cluster: &str) {
        let at = self.clusters.iter().position(|it| it.name == cluster).unwrap();
        let own = &mut self.clusters[at];
        match change {
            Counterfactual::ClusterAccepted => own.spec.accepted = true,
            Counterfactual::ClusterReady => (own.ready, own.lost) = (true, false),
            Counterfactual::ClusterStays => own.leaving = false,
            Counterfactual::ApiServed { api } => own.apis.push(api.clone()),
            Counterfactual::InSet { set, namespace } => {
                let spec = ClusterSetSpec {
                    names: vec![cluster.to_owned()],
                    namespaces: vec![namespace.clone()],
                    ..ClusterSetSpec::default()
                };
                match self.sets.iter_mut().find(|it| !set.is_empty() && it.name == *set) {
                    Some(it) => it.spec.names.push(cluster.to_owned()),
                    None => self.sets.push(SetInput { name: format!("{set}-"), spec }),
                }
            }
            Counterfactual::Allowed { policy, field, value } => {
                let list = at_path(self.policy(policy), field);
                match list {
                    Value::Array(items) => items.push(json!(value)),
                    other => *other = json!([value]),
                }
            }
            Counterfactual::Dropped { policy, field } => drop_path(self.policy(policy), field),
            Counterfactual::Raised { policy, field, to } => {
                *at_path(self.policy(policy), field) = json!(to);
            }
            Counterfactual::Alone { field, cluster } => {
                let affinities = at_path(&mut self.spec, "spec.affinities");
                if affinities.as_array().is_none_or(Vec::is_empty) {
                    *affinities = json!([{"clusters": {}}]);
                }
                *at_path(&mut self.spec, field) = json!([cluster]);
            }
            Counterfactual::Tolerated { key, value, effect } => {
                let it = json!({"key": key, "operator": "Equal", "value": value, "effect": effect});
                match at_path(&mut self.spec, "spec.tolerations") {
                    Value::Array(items) => items.push(it),
                    other => *other = json!([it]),
                }
            }
            Counterfactual::Weighed { cluster } => {
                let weights = at_path(&mut self.spec, "spec.replicas.weights");
                let it = json!({"clusters": {"names": [cluster]}, "weight": 1});
                weights.as_array_mut().unwrap().push(it);
            }
            Counterfactual::RoomFreed { nodes, free, labels } => {
                let free = FreeNodes { nodes: *nodes, resources: free.clone() };
                let known = |it: &NodeShape| {
                    labels.iter().all(|(key, value)| it.labels.get(key) == Some(value))
                };
                match own.shapes.iter_mut().find(|it| known(it)) {
                    Some(shape) => shape.free.push(free),
                    None => own.shapes.push(NodeShape {
                        instance_type: "new".to_owned(),
                        count: *nodes,
                        allocatable: free.resources.clone(),
                        free: vec![free],
                        labels: labels.clone(),
                        ..NodeShape::default()
                    }),
                }
            }
            Counterfactual::Priced { provider, region, zone, instance_type, usd_hour } => {
                self.prices.push(NodePrice {
                    provider: provider.clone(),
                    region: region.clone(),
                    zone: zone.clone(),
                    instance_type: instance_type.clone(),
                    on_demand_usd_hour: Some(if usd_hour.is_empty() {
                        "1".to_owned()
                    } else {
                        usd_hour.clone()
                    }),
                    as_of: "2026-11-20".to_owned(),
                    ..NodePrice::default()
                });
            }
            Counterfactual::Replicas { to } => self.workload.replicas = Some(*to),
        }
    }
}

/// `spec.a[0].b[key]` as its steps.
fn steps(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut rest =
        path.strip_prefix("spec.limits.").or_else(|| path.strip_prefix("spec.")).unwrap();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (key, after) = inside.split_once(']').unwrap();
            steps.push(key.to_owned());
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(rest[..end].to_owned());
            let after = &rest[end..];
            rest = after.strip_prefix('.').unwrap_or(after);
        }
    }
    steps
}

fn step<'a>(value: &'a mut Value, step: &str) -> &'a mut Value {
    match value {
        Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
        other => &mut other[step],
    }
}

fn at_path<'a>(value: &'a mut Value, path: &str) -> &'a mut Value {
    steps(path).iter().fold(value, |value, it| step(value, it))
}

fn drop_path(value: &mut Value, path: &str) {
    let mut steps = steps(path);
    let last = steps.pop().unwrap();
    match steps.iter().fold(value, |value, it| step(value, it)) {
        Value::Array(items) => drop(items.remove(last.parse::<usize>().unwrap())),
        other => drop(other.as_object_mut().unwrap().remove(&last).unwrap()),
    }
}

prop_compose! {
    fn clusters()(all in prop::collection::vec(
        (
            (0_usize..3, 0_usize..3, 0_usize..3, 0_usize..3),
            (prop::bool::weighted(0.85), prop::bool::weighted(0.85), prop::bool::weighted(0.1), prop::bool::weighted(0.85)),
            prop::collection::vec(0_usize..4, 0..3),
            prop::option::of(1_u32..60),
            (prop::option::weighted(0.8, (1_i64..4, 1_i64..40)), prop::bool::weighted(0.3), prop::option::weighted(0.7, 1_u32..200)),
            (any::<bool>(), prop::bool::weighted(0.2)),
        ), 1..6)) -> (Vec<ClusterInput>, Vec<NodePrice>) {
        let mut prices = Vec::new();
        let clusters = all.into_iter().enumerate().map(|(at, (place, flags, taints, service, (free, arm, price), (rack, autoscaled)))| {
            let provider = ["eks", "gke", "aks"][place.0].to_owned();
            let region = format!("r{}", place.1);
            let kind = format!("type-{at}");
            if let Some(cents) = price {
                prices.push(NodePrice {
                    provider: provider.clone(),
                    instance_type: kind.clone(),
                    on_demand_usd_hour: Some(format!("{}.{:02}", cents / 100, cents % 100)),
                    as_of: "2026-11-01".to_owned(),
                    ..NodePrice::default()
                });
            }
            let mut labels = BTreeMap::new();
            if place.2 > 0 {
                labels.insert("tier".to_owned(), ["", "prod", "dev"][place.2].to_owned());
            }
            if rack {
                labels.insert("example.org/rack".to_owned(), format!("rack-{}", at % 2));
            }
            let effects = [("gpu", TaintEffect::NoSchedule), ("spot", TaintEffect::NoExecute), ("old", TaintEffect::NoSchedule), ("soft", TaintEffect::PreferNoSchedule)];
            let taint = |at: usize| Taint { key: effects[at].0.to_owned(), effect: effects[at].1, ..Taint::default() };
            let resources = |cpu: i64| BTreeMap::from([("cpu".to_owned(), format!("{}m", cpu * 100)), ("memory".to_owned(), "16Gi".to_owned()), ("pods".to_owned(), "20".to_owned())]);
            let node_labels = if arm { BTreeMap::from([("arch".to_owned(), "arm64".to_owned())]) } else { BTreeMap::new() };
            ClusterInput {
                name: format!("c{at}"),
                labels,
                spec: MemberClusterSpec {
                    provider,
                    region,
                    jurisdiction: ["EU", "US", ""][place.3].to_owned(),
                    taints: taints.into_iter().map(taint).collect(),
                    services: service.into_iter().map(|ms| NearService { name: "queue".to_owned(), latency_ms: ms }).collect(),
                    autoscaled,
                    accepted: flags.1,
                    ..MemberClusterSpec::default()
                },
                version: format!("v1.{}.0", 34 + at),
                apis: if flags.3 { vec!["apps/v1/Deployment".to_owned()] } else { Vec::new() },
                shapes: vec![NodeShape {
                    instance_type: kind,
                    count: free.map_or(0, |it| it.0),
                    allocatable: resources(40),
                    free: free.into_iter().map(|(nodes, cpu)| FreeNodes { nodes, resources: resources(cpu) }).collect(),
                    labels: node_labels,
                    ..NodeShape::default()
                }],
                ready: flags.0,
                leaving: flags.2,
                ..ClusterInput::default()
            }
        }).collect();
        (clusters, prices)
    }
}

/// Some of the entries, as a patch of a JSON object.
fn some_of(of: &Value) -> impl Strategy<Value = Value> + use<> {
    let entries: Vec<(String, Value)> =
        of.as_object().unwrap().iter().map(|(key, it)| (key.clone(), it.clone())).collect();
    prop::collection::vec(prop::bool::weighted(0.25), entries.len()).prop_map(move |chosen| {
        let picked = entries.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        Value::Object(picked.map(|(it, _)| it.clone()).collect())
    })
}

fn selector() -> impl Strategy<Value = Value> {
    some_of(&json!({
        "names": ["c0", "c2"],
        "exclude": ["c1", "c*1", "c3"],
        "providers": ["eks", "gke"],
        "regions": ["r0", "r1*"],
        "zones": ["z"],
        "sets": ["first"],
        "labelSelector": {
            "matchLabels": {"tier": "prod"},
            "matchExpressions": [
                {"key": "example.org/rack", "operator": "Exists"},
                {"key": "tier", "operator": "NotIn", "values": ["dev"]},
                {"key": "example.org/rack", "operator": "In", "values": ["rack-1"]},
            ],
        },
        "expressions": ["cluster.minor >= 36", "cluster.region != 'r2'", "cluster.labels.tier == 'prod'"],
    }))
}

fn divisions() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({"mode": "Duplicated"}),
        json!({"mode": "Divided", "weights": [{"clusters": {"providers": ["eks"]}, "weight": 2}]}),
        json!({"mode": "Divided", "division": "Room", "minPerCluster": 2}),
        json!({"mode": "Divided", "division": "Packed"}),
        json!({"mode": "Divided", "division": "Packed", "partial": "Allow"}),
        json!({"mode": "Divided", "division": "Cheapest"}),
        json!({"mode": "Divided", "division": "Cheapest", "maxPerCluster": 3}),
    ])
}

prop_compose! {
    fn inputs()(
        (clusters, prices) in clusters(),
        clusters_of_policy in prop::option::of(selector()),
        more in some_of(&json!({
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "residency": {"jurisdictions": ["EU"]},
            "near": [{"service": "queue", "maxLatencyMs": 20}, {"service": "queue", "maxLatencyMs": 40}],
            "spread": [{"topologyKey": "example.org/rack", "max": 2}, {"topologyKey": "cluster", "max": 2}],
        })),
        replicas in divisions(),
        limits in prop::collection::vec(
            (some_of(&json!({"jurisdictions": ["EU", "CH"], "tolerations": ["spot"], "maxClusters": 2})), prop::option::of(selector())), 0..3),
        namespace in any::<bool>(),
        size in (1_i64..8, 1_i64..20),
        arm in prop::bool::weighted(0.2),
        workers in prop::option::weighted(0.15, 1_i64..5),
    ) -> Inputs {
        let mut spec = more;
        spec["selectors"] = json!([]);
        spec["replicas"] = replicas;
        if let Some(clusters) = clusters_of_policy {
            spec["affinities"] = json!([{"clusters": clusters}]);
        }
        let limits = limits.into_iter().enumerate().map(|(at, (mut it, clusters))| {
            if let Some(clusters) = clusters {
                it["clusters"] = clusters;
            }
            (format!("limit-{at}"), it)
        });
        let set = ClusterSetSpec { names: vec!["c0".to_owned(), "c1".to_owned()], namespaces: vec!["shop".to_owned()], ..ClusterSetSpec::default() };
        let mut workload = Workload {
            api: "apps/v1/Deployment".to_owned(),
            class: KindClass::Deployment,
            replicas: Some(size.0),
            requests: Requests { base: [size.1 * 100, 1 << 29, 0, 0], extended: Vec::new() },
            ..Workload::default()
        };
        if arm {
            workload.nodes.selector.insert("arch".to_owned(), "arm64".to_owned());
        }
        if let Some(workers) = workers {
            let part = |name: &str, replicas, cpu, nodes| Component {
                name: name.to_owned(),
                replicas,
                requests: Requests { base: [cpu * 100, 1 << 29, 0, 0], extended: Vec::new() },
                nodes,
            };
            workload.components = vec![
                part("head", 1, 2, NodeRules::default()),
                part("worker", workers, size.1, workload.nodes.clone()),
            ];
            workload.class = KindClass::Unit;
            workload.replicas = None;
            workload.requests = Requests::default();
        }
        Inputs {
            clusters,
            sets: vec![SetInput { name: "first".to_owned(), spec: set }],
            prices,
            namespace: namespace.then(|| "shop".to_owned()),
            spec,
            limits: limits.collect(),
            workload,
            previous: Previous::default(),
        }
    }
}

fn rule_of(status: &ExplanationStatus, cluster: &str) -> String {
    status.clusters.iter().find(|it| it.cluster == cluster).unwrap().rule.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn every_refusal_states_a_change_with_which_its_rule_passes(inputs in inputs()) {
        let before = inputs.explain();
        for it in &before.clusters {
            let refused = !it.eligible || [rule::ROOM, rule::SPREAD, rule::PRICE_UNKNOWN].contains(&it.rule.as_str());
            prop_assert_eq!(it.changes.is_empty(), !refused, "{:?}", it);
            if !refused {
                continue;
            }
            let mut changed = inputs.clone();
            for change in &it.changes {
                changed.make(change, &it.cluster);
            }
            let after = rule_of(&changed.explain(), &it.cluster);
            prop_assert_ne!(&after, &it.rule, "{:?}", it.changes);
        }
    }

    #[test]
    fn what_would_make_a_cluster_win_makes_it_win(inputs in inputs()) {
        let before = inputs.explain();
        for it in &before.clusters {
            for together in &it.wins_if {
                let mut changed = inputs.clone();
                for change in together {
                    changed.make(change, &it.cluster);
                }
                let after = changed.explain();
                prop_assert_eq!(rule_of(&after, &it.cluster), rule::CHOSEN, "{:?} in {:?}", together, after);
            }
        }
    }

    #[test]
    fn nobody_is_told_to_call_a_cluster_what_it_is_not(inputs in inputs()) {
        for it in &inputs.explain().clusters {
            let text = it.would_change.as_str();
            for word in ["label the cluster", "jurisdiction of the cluster", "set the cluster", "spec.jurisdiction set"] {
                prop_assert!(!text.contains(word), "{text}");
            }
        }
    }

    #[test]
    fn the_order_is_that_of_the_marginal_costs(inputs in inputs()) {
        let status = inputs.explain();
        let mut placed: Vec<_> = status.clusters.iter().filter_map(|it| Some((it.order?, it))).collect();
        placed.sort_by_key(|it| it.0);
        let cents = |text: &str| text.trim_start_matches('$').replace('.', "").parse::<i64>().unwrap();
        for (at, (order, it)) in placed.iter().enumerate() {
            prop_assert_eq!(usize::try_from(*order).unwrap(), at + 1);
            prop_assert!(it.eligible);
            prop_assert!(at == 0 || cents(&placed[at - 1].1.marginal_cost) <= cents(&it.marginal_cost));
        }
    }
}

#[test]
fn a_cluster_that_fits_in_vain_is_told_what_the_spread_lacks() {
    let cluster = |name: &str, provider: &str, ready: bool| ClusterInput {
        name: name.to_owned(),
        spec: MemberClusterSpec {
            provider: provider.to_owned(),
            accepted: true,
            ..MemberClusterSpec::default()
        },
        apis: vec!["v1/ConfigMap".to_owned()],
        ready,
        ..ClusterInput::default()
    };
    let inputs = Inputs {
        clusters: vec![cluster("a", "eks", true), cluster("b", "gke", false)],
        sets: Vec::new(),
        prices: Vec::new(),
        namespace: None,
        spec: json!({"selectors": [], "spread": [{"topologyKey": "cluster", "max": 3}, {"topologyKey": "provider", "min": 2}]}),
        limits: BTreeMap::new(),
        workload: Workload::from_template(
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
        ),
        previous: Previous::default(),
    };
    let before = inputs.explain();
    let a = &before.clusters[0];
    assert_eq!((a.rule.as_str(), a.eligible), (rule::SPREAD, true));
    assert_eq!((a.wanted.as_str(), a.found.as_str()), ("2 domains of provider", "1 can be had"));
    assert_eq!(
        a.would_change,
        "spec.spread[1].min is gone; or a cluster of another provider passes the rules"
    );
    let mut changed = inputs.clone();
    changed.make(&a.changes[0], "a");
    assert_eq!(rule_of(&changed.explain(), "a"), rule::CHOSEN);
    let mut well = inputs;
    well.clusters[1].ready = true;
    assert_eq!(rule_of(&well.explain(), "a"), rule::CHOSEN);
}

#[test]
fn in_a_larger_fleet_the_first_clusters_that_lose_are_told_with_what_they_would_win() {
    let amounts = |of: [(&str, &str); 3]| -> BTreeMap<String, String> {
        of.map(|(name, amount)| (name.to_owned(), amount.to_owned())).into()
    };
    let node = amounts([("cpu", "4"), ("memory", "16Gi"), ("pods", "20")]);
    let cluster = |at: usize| ClusterInput {
        name: format!("c-{at:02}"),
        spec: MemberClusterSpec { accepted: true, ..MemberClusterSpec::default() },
        apis: vec!["apps/v1/Deployment".to_owned()],
        shapes: vec![NodeShape {
            instance_type: "large".to_owned(),
            count: 1,
            free: vec![FreeNodes { nodes: 1, resources: node.clone() }],
            allocatable: node.clone(),
            ..NodeShape::default()
        }],
        ready: true,
        ..ClusterInput::default()
    };
    let inputs = Inputs {
        clusters: (0..40).map(cluster).collect(),
        sets: Vec::new(),
        prices: Vec::new(),
        namespace: None,
        spec: json!({"selectors": [], "replicas": {"mode": "Divided", "division": "Packed"}}),
        limits: BTreeMap::new(),
        workload: Workload::from_template(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"replicas": 4, "template": {"spec": {"containers": [
                {"name": "a", "resources": {"requests": {"cpu": "1"}}},
            ]}}},
        })),
        previous: Previous::default(),
    };
    let before = inputs.explain();
    let chosen = before.clusters.iter().filter(|it| it.rule == rule::CHOSEN).count();
    let told: Vec<_> = before.clusters.iter().filter(|it| !it.wins_if.is_empty()).collect();
    // All that lose lose alike, and more room would let each of them win.
    assert_eq!((chosen, told.len()), (1, 16));
    assert!(told.iter().all(|it| it.cluster.as_str() < "c-17"));
    for it in told {
        let mut changed = inputs.clone();
        for change in &it.wins_if[0] {
            changed.make(change, &it.cluster);
        }
        assert_eq!(rule_of(&changed.explain(), &it.cluster), rule::CHOSEN);
    }
}
