//! For each refusal the changes with which its rule would pass. They name what would have to be so; whether a cluster is
//! what it would have to be is its owner's to say, so labels and jurisdictions of clusters are never among them.

use std::collections::BTreeMap;

use federation_types::{
    cluster::TaintEffect, policy::Toleration, review::Counterfactual, selector::LabelOperator,
};

use super::Teller;
use crate::{
    fleet::{BASE, CPU, ClusterId, Domains, MEMORY},
    mask::{self, Part, Refusal},
    place::Outcome,
    policy::Selector,
    report::Rule,
    workload::{NodeRequirement, NodeRules, Requests},
};

impl Teller<'_> {
    /// All changes that together make the cluster's rule pass; none where it was not refused.
    pub(super) fn changes(&mut self, id: ClusterId, rule: Rule) -> Vec<Counterfactual> {
        match rule {
            Rule::ApiNotServed => {
                vec![Counterfactual::ApiServed { api: self.workload.api.clone() }]
            }
            Rule::Room if !self.workload.components.is_empty() => {
                self.room_for_all_parts().into_iter().collect()
            }
            Rule::Room => vec![self.room_for(self.policy.min_per_cluster().max(1))],
            Rule::Spread => self.without_spread(id),
            Rule::PriceUnknown => self.prices(id),
            Rule::Chosen | Rule::NotNeeded | Rule::Dearer => Vec::new(),
            _ => match self.check.soft(id.at(), &mut self.expressions) {
                Some(refusal) => self.of_refusal(id, refusal),
                None => Vec::new(),
            },
        }
    }

    fn of_refusal(&mut self, id: ClusterId, refusal: Refusal) -> Vec<Counterfactual> {
        let (fleet, policy) = (self.fleet, self.policy);
        let cluster = fleet.cluster(id);
        match refusal {
            Refusal::Leaving => vec![Counterfactual::ClusterStays],
            Refusal::NotAccepted => vec![Counterfactual::ClusterAccepted],
            Refusal::NotReady => vec![Counterfactual::ClusterReady],
            Refusal::Namespace => {
                let namespace = policy.namespace.clone().unwrap_or_default();
                let mut changes = vec![Counterfactual::InSet { set: String::new(), namespace }];
                // Sets that the group names are asked for by the same rule.
                let group = self.of_selector(id, &policy.groups[self.check.group].selector, "", "");
                changes.extend(
                    group.into_iter().filter(|it| matches!(it, Counterfactual::InSet { .. })),
                );
                changes
            }
            Refusal::Affinity(_) => {
                let group = self.check.group;
                let field = format!("spec.affinities[{group}].clusters");
                let mut changes = self.of_selector(id, &policy.groups[group].selector, "", &field);
                // A weight is asked for by the same rule.
                changes.extend(self.weight(id));
                changes
            }
            Refusal::NoWeight => self.weight(id).into_iter().collect(),
            Refusal::Limit(..) | Refusal::LimitJurisdiction(_) => {
                let mut changes = Vec::new();
                for limit in &policy.limits {
                    if let Some(clusters) = &limit.clusters {
                        let field = "spec.limits.clusters";
                        changes.extend(self.of_selector(id, clusters, &limit.policy, field));
                    }
                    let field = "spec.limits.jurisdictions";
                    let own = &cluster.spec.jurisdiction;
                    changes.extend(jurisdiction(&limit.jurisdictions, own, &limit.policy, field));
                }
                changes
            }
            Refusal::Residency => {
                let wanted = policy.spec.residency.as_ref().map(|it| it.jurisdictions.as_slice());
                let own = &cluster.spec.jurisdiction;
                let wanted = wanted.unwrap_or_default();
                if own.is_empty() {
                    // A residency names at least one.
                    let field = "spec.residency".to_owned();
                    return vec![Counterfactual::Dropped { policy: String::new(), field }];
                }
                let field = "spec.residency.jurisdictions";
                jurisdiction(wanted, own, "", field).into_iter().collect()
            }
            Refusal::Taint(_) | Refusal::TaintForNow(_) => self.tolerations(id),
            Refusal::Near(_) => {
                let near = policy.spec.near.iter().enumerate().rev();
                near.filter(|(_, it)| it.required.unwrap_or_else(|| it.max_latency_ms.is_some()))
                    .filter_map(|(at, it)| {
                        let max = it.max_latency_ms.unwrap_or(u32::MAX);
                        let field = format!("spec.near[{at}]");
                        let services = cluster.spec.services.iter();
                        let own = services.filter(|near| near.name == it.service);
                        match own.map(|it| it.latency_ms).min() {
                            Some(ms) if ms <= max => None,
                            Some(ms) => Some(Counterfactual::Raised {
                                policy: String::new(),
                                field: format!("{field}.maxLatencyMs"),
                                to: i64::from(ms),
                            }),
                            None => Some(Counterfactual::Dropped { policy: String::new(), field }),
                        }
                    })
                    .collect()
            }
        }
    }

    fn weight(&mut self, id: ClusterId) -> Option<Counterfactual> {
        let unweighed = !self.policy.weights.is_empty()
            && mask::weight(self.fleet, self.policy, id.at(), &mut self.expressions) == 0;
        unweighed.then(|| Counterfactual::Weighed { cluster: self.fleet.name(id).to_owned() })
    }

    /// What would let the cluster through every part of a selector.
    fn of_selector(
        &mut self,
        id: ClusterId,
        selector: &Selector,
        policy: &str,
        field: &str,
    ) -> Vec<Counterfactual> {
        let cluster = self.fleet.cluster(id);
        let of = |part: &str| format!("{field}.{part}");
        let allowed = |part: &str, value: &str| Counterfactual::Allowed {
            policy: policy.to_owned(),
            field: of(part),
            value: value.to_owned(),
        };
        let dropped = |field: String| Counterfactual::Dropped { policy: policy.to_owned(), field };
        let (mut left, mut changes) = (selector.clone(), Vec::new());
        while let Some(part) = mask::refuses(self.fleet, &left, id.at(), &mut self.expressions) {
            match part {
                Part::Names => {
                    changes.push(allowed("names", &cluster.name));
                    left.spec.names.clear();
                }
                Part::Exclude => {
                    let matching = left.spec.exclude.iter().enumerate().rev();
                    changes.extend(
                        matching
                            .filter(|(_, it)| federation_types::selector::glob(it, &cluster.name))
                            .map(|(at, _)| dropped(of(&format!("exclude[{at}]")))),
                    );
                    left.spec.exclude.clear();
                }
                Part::Providers => {
                    changes.push(allowed("providers", &cluster.spec.provider));
                    left.spec.providers.clear();
                }
                Part::Regions if cluster.spec.region.is_empty() => {
                    changes.push(dropped(of("regions")));
                    left.spec.regions.clear();
                }
                Part::Regions => {
                    changes.push(allowed("regions", &cluster.spec.region));
                    left.spec.regions.clear();
                }
                Part::Zones => {
                    changes.push(match cluster.spec.zones.first() {
                        Some(zone) => allowed("zones", zone),
                        None => dropped(of("zones")),
                    });
                    left.spec.zones.clear();
                }
                Part::Labels => {
                    let labels = &mut left.spec.label_selector;
                    let wrong = labels
                        .match_labels
                        .iter()
                        .filter(|(key, value)| cluster.labels.get(*key) != Some(value));
                    changes.extend(
                        wrong.map(|(key, _)| {
                            dropped(of(&format!("labelSelector.matchLabels[{key}]")))
                        }),
                    );
                    let wrong = labels.match_expressions.iter().enumerate().rev();
                    changes.extend(wrong.filter(|(_, it)| !it.matches(&cluster.labels)).map(
                        |(at, _)| dropped(of(&format!("labelSelector.matchExpressions[{at}]"))),
                    ));
                    labels.match_labels.clear();
                    labels.match_expressions.retain(|it| {
                        it.operator == LabelOperator::Exists && cluster.labels.contains_key(&it.key)
                    });
                }
                Part::Sets => {
                    let set = left.spec.sets.first().cloned().unwrap_or_default();
                    changes.push(Counterfactual::InSet { set, namespace: String::new() });
                    left.spec.sets.clear();
                }
                Part::Expression(_) => {
                    for (at, it) in left.expressions.iter().enumerate().rev() {
                        if !self.expressions.holds(self.fleet, it).contains(id.at()) {
                            changes.push(dropped(of(&format!("expressions[{at}]"))));
                        }
                    }
                    left.expressions.clear();
                }
            }
        }
        changes
    }

    /// Tolerations of every taint that keeps the workload away, within the limits on them.
    fn tolerations(&self, id: ClusterId) -> Vec<Counterfactual> {
        let policy = self.policy;
        let hard =
            |it: &&federation_types::cluster::Taint| it.effect != TaintEffect::PreferNoSchedule;
        let lasting = |all: &[Toleration], taint| {
            all.iter().any(|it| it.toleration_seconds.is_none() && it.tolerates(taint))
        };
        let mut changes = Vec::new();
        for taint in self.fleet.cluster(id).spec.taints.iter().filter(hard) {
            if lasting(&policy.tolerations, taint) {
                continue;
            }
            for limit in &policy.limits {
                if limit.tolerations.as_ref().is_some_and(|keys| !keys.contains(&taint.key)) {
                    changes.push(Counterfactual::Allowed {
                        policy: limit.policy.clone(),
                        field: "spec.limits.tolerations".to_owned(),
                        value: taint.key.clone(),
                    });
                }
            }
            if !lasting(&policy.spec.tolerations, taint) {
                changes.push(Counterfactual::Tolerated {
                    key: taint.key.clone(),
                    value: taint.value.clone(),
                    effect: taint.effect,
                });
            }
        }
        changes.dedup();
        changes
    }

    /// The rules that ask for a domain which the cluster lacks; where there are too few domains, what asks for more.
    fn without_spread(&self, id: ClusterId) -> Vec<Counterfactual> {
        let few = matches!(self.decision.outcome, Outcome::Spread { .. });
        let rules = self.policy.spread.iter().enumerate().rev().filter(|(_, it)| it.hard);
        rules
            .filter_map(|(at, it)| {
                let lacks = self.fleet.domains(&it.key).of[id.at()] == Domains::NONE;
                let field = match (lacks, few && it.min > 1) {
                    (true, _) => format!("spec.spread[{at}]"),
                    (false, true) => format!("spec.spread[{at}].min"),
                    (false, false) => return None,
                };
                Some(Counterfactual::Dropped { policy: String::new(), field })
            })
            .collect()
    }

    /// A node with room for `n` replicas, on which the pod may run.
    pub(super) fn room_for(&self, n: i64) -> Counterfactual {
        let requests = &self.workload.requests;
        // Where only one may run on a node, more nodes are needed.
        let (nodes, each) = match self.workload.nodes.per_node {
            Some(most) => ((n + most - 1) / most.max(1), most.min(n)),
            None => (1, n),
        };
        let mut taken = Taken::default();
        taken.add(requests, each);
        Counterfactual::RoomFreed {
            nodes,
            free: taken.texts(),
            labels: labels_of(&self.workload.nodes),
        }
    }

    /// Nodes with room for every part of a unit at once, on which each of them may run; `None` where no one kind of node
    /// would do.
    fn room_for_all_parts(&self) -> Option<Counterfactual> {
        let (mut taken, mut labels, mut nodes) = (Taken::default(), BTreeMap::new(), 1);
        for part in &self.workload.components {
            taken.add(&part.requests, part.replicas);
            for (key, value) in labels_of(&part.nodes) {
                let known = labels.entry(key).or_insert_with(|| value.clone());
                if *known != value {
                    return None;
                }
            }
            let most = part.nodes.per_node.unwrap_or(i64::MAX).max(1);
            nodes = nodes.max((part.replicas - 1) / most + 1);
        }
        Some(Counterfactual::RoomFreed { nodes, free: taken.texts(), labels })
    }

    /// Prices for the nodes of the cluster that have none: what a node of each costs.
    fn prices(&self, id: ClusterId) -> Vec<Counterfactual> {
        let cluster = self.fleet.cluster(id);
        let unknown = cluster.shapes.iter().filter(|it| it.price.is_none());
        let mut changes: Vec<_> = unknown
            .map(|it| {
                let class = &self.fleet.classes[it.class as usize];
                Counterfactual::Priced {
                    provider: cluster.spec.provider.clone(),
                    region: cluster.spec.region.clone(),
                    zone: class.zone.clone(),
                    instance_type: class.instance_type.clone(),
                    usd_hour: String::new(),
                }
            })
            .collect();
        changes.dedup();
        changes
    }
}

/// What pods take together.
#[derive(Default)]
struct Taken {
    pods: i64,
    base: [i64; BASE.len()],
    extended: BTreeMap<String, i64>,
}

impl Taken {
    fn add(&mut self, each: &Requests, pods: i64) {
        self.pods = self.pods.saturating_add(pods);
        for (sum, amount) in self.base.iter_mut().zip(each.base) {
            *sum = sum.saturating_add(amount.saturating_mul(pods));
        }
        for (name, amount) in &each.extended {
            let sum = self.extended.entry(name.clone()).or_default();
            *sum = sum.saturating_add(amount.saturating_mul(pods));
        }
    }

    fn texts(self) -> BTreeMap<String, String> {
        let mut free = BTreeMap::from([("pods".to_owned(), self.pods.to_string())]);
        for (at, name) in BASE.iter().enumerate() {
            let amount = self.base[at];
            let text = if at == CPU { format!("{amount}m") } else { amount.to_string() };
            if amount > 0 && *name != "pods" {
                let text = if at == MEMORY { crate::room::bytes(amount) } else { text };
                free.insert((*name).to_owned(), text);
            }
        }
        free.extend(self.extended.into_iter().map(|(name, amount)| (name, amount.to_string())));
        free
    }
}

/// Labels of a node on which the pod may run.
fn labels_of(nodes: &NodeRules) -> BTreeMap<String, String> {
    let mut labels = nodes.selector.clone();
    for it in nodes.terms.first().into_iter().flatten() {
        if let Some(value) = satisfying(it) {
            labels.entry(it.key.clone()).or_insert(value);
        }
    }
    labels
}

/// A value of the label that satisfies the requirement; `None` where the label should not be there, or may be missing.
fn satisfying(it: &NodeRequirement) -> Option<String> {
    let first = it.values.first().cloned();
    let bound = || first.as_ref().and_then(|it| it.parse::<i64>().ok());
    match it.operator.as_str() {
        "In" => first,
        "Exists" => Some("true".to_owned()),
        "Gt" => bound().map(|it| (it + 1).to_string()),
        "Lt" => bound().map(|it| (it - 1).to_string()),
        _ => None,
    }
}

fn jurisdiction(
    allowed: &[String],
    own: &str,
    policy: &str,
    field: &str,
) -> Option<Counterfactual> {
    if allowed.is_empty() || allowed.iter().any(|it| it == own) {
        return None;
    }
    let (policy, field) = (policy.to_owned(), field.to_owned());
    Some(match own {
        "" => Counterfactual::Dropped { policy, field },
        own => Counterfactual::Allowed { policy, field, value: own.to_owned() },
    })
}

/// All of them in words.
pub(super) fn together(changes: &[Counterfactual]) -> String {
    let texts: Vec<String> = changes.iter().map(ToString::to_string).collect();
    texts.join(" and ")
}
