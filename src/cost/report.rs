//! The costs themselves, worked out from what was read.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    money::Money,
    placement::{CopyStatus, Placement},
    review::cost::{CostBy as By, CostFigures as Figures, CostRow as Row, CostStatus as Report},
    spend::TrafficTo,
};
use kube::ResourceExt;
use placement_engine::{
    CompiledPolicy, Fleet, Placed, PreviousCluster, Workload,
    cost::{self, Estimate},
};

use crate::seen::Seen;

/// Kinds that are only read by others cost nothing, and are not asked for.
pub(crate) fn may_cost(placement: &Placement) -> bool {
    const FREE: [&str; 7] = [
        "ConfigMap",
        "Secret",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "NetworkPolicy",
        "Namespace",
    ];
    !FREE.contains(&placement.spec.template.kind.as_str())
}

/// One template's Placement with all that its price depends on but the fleet.
struct Subject<'a> {
    placement: &'a Placement,
    workload: Workload,
    policy: CompiledPolicy,
}

impl<'a> Subject<'a> {
    /// Where no policy decides any more, or none that can be read, what runs costs nevertheless.
    fn of(seen: &Seen, placement: &'a Placement) -> Option<Self> {
        let mut workload = seen.workload(placement)?;
        let compiled = seen.claim(&workload).compile().and_then(Result::ok);
        let plain = || CompiledPolicy::compile("", None, &Default::default(), &[]).ok();
        let policy = compiled.or_else(plain)?;
        let namespace = placement.namespace().unwrap_or_default();
        for it in policy.spec.traffic.iter().filter(|it| it.to == TrafficTo::Template) {
            let kind = if it.kind.is_empty() { "Deployment" } else { &it.kind };
            let peer = |other: &&Placement| {
                let template = &other.spec.template;
                template.kind == kind
                    && template.name == it.name
                    && other.namespace().as_deref() == Some(&namespace)
            };
            if let Some(peer) = seen.placements.iter().find(peer) {
                workload.around.peers.insert(format!("{kind} {}", it.name), meant(peer));
            }
        }
        workload.around.most_replicas = most_replicas(seen, &workload, &namespace);
        Some(Self { placement, workload, policy })
    }

    /// What it costs in one cluster, `observed` being the replicas that run instead of those that an autoscaler may make.
    fn in_cluster(&self, fleet: &Fleet, it: &PreviousCluster, observed: bool) -> Option<Estimate> {
        let cluster = fleet.id(&it.name)?;
        let placed = [Placed { cluster, replicas: it.replicas }];
        let spot = if it.spot { vec![cluster] } else { Vec::new() };
        if !observed {
            return Some(cost::estimate(fleet, &self.workload, &self.policy, &placed, &spot));
        }
        let mut workload = self.workload.clone();
        workload.around.most_replicas = None;
        Some(cost::estimate(fleet, &workload, &self.policy, &placed, &spot))
    }
}

/// Where it is meant to be.
fn meant(placement: &Placement) -> Vec<PreviousCluster> {
    let stays = placement.spec.clusters.iter().filter(|it| it.leaving.is_empty());
    stays
        .map(|it| PreviousCluster { name: it.name.clone(), replicas: it.replicas, spot: it.spot })
        .collect()
}

/// Where it runs by the last report. Of a long list only copies that are not ready are reported one by one: the others
/// run as they are meant to.
fn running(placement: &Placement) -> Vec<PreviousCluster> {
    let Some(status) = &placement.status else { return Vec::new() };
    let spot = |name: &str| placement.spec.clusters.iter().any(|it| it.name == name && it.spot);
    let written = |it: &&CopyStatus| !it.revision.is_empty() || it.replicas.is_some();
    let reported = status.clusters.iter().filter(written).map(|it| PreviousCluster {
        name: it.name.clone(),
        replicas: it.replicas,
        spot: spot(&it.name),
    });
    let shortened = usize::try_from(status.summary.clusters).unwrap_or(0) > status.clusters.len();
    let silent = placement
        .spec
        .clusters
        .iter()
        .filter(|it| shortened && !status.clusters.iter().any(|copy| copy.name == it.name));
    let silent = silent.map(|it| PreviousCluster {
        name: it.name.clone(),
        replicas: it.replicas,
        spot: it.spot,
    });
    reported.chain(silent).collect()
}

/// The most replicas that a placed autoscaler may make of a workload.
fn most_replicas(seen: &Seen, workload: &Workload, namespace: &str) -> Option<i64> {
    let key = &workload.key;
    let of_it = |(it, _): &(&crate::seen::Key, &serde_json::Value)| {
        it.0 == "HorizontalPodAutoscaler" && it.1 == namespace
    };
    let scalers = seen.templates.iter().filter(of_it).map(|(_, template)| template);
    scalers
        .filter(|it| {
            let target = |field: &str| it.pointer(&format!("/spec/scaleTargetRef/{field}"));
            target("kind").is_some_and(|it| it == key.gvk.kind.as_str())
                && target("name").is_some_and(|it| it == key.name.as_str())
        })
        .filter_map(|it| it.pointer("/spec/maxReplicas")?.as_i64())
        .max()
}

/// Adds up what is seen, at the prices of that day.
pub(crate) fn report(seen: &Seen, by: By, as_of: &str) -> Report {
    let fleet = seen.fleet(as_of);
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut total = Row { name: "total".to_owned(), ..Row::default() };
    let mut notes: BTreeSet<String> = BTreeSet::new();
    let (mut stale, mut gone) = (0, BTreeSet::new());
    for subject in seen.placements.iter().filter_map(|it| Subject::of(seen, it)) {
        let status = subject.placement.status.iter().flat_map(|it| &it.clusters);
        stale += status.filter(|it| it.stale).count();
        let both = [(meant(subject.placement), false), (running(subject.placement), true)];
        for (clusters, observed) in both {
            for it in clusters {
                let Some(estimate) = subject.in_cluster(&fleet, &it, observed) else {
                    gone.insert(it.name);
                    continue;
                };
                if estimate.monthly == Money::ZERO
                    && !estimate.at_least
                    && !subject.workload.has_pods()
                {
                    continue;
                }
                if !observed {
                    notes.extend(estimate.notes());
                }
                let figures = Figures {
                    allocated: estimate.monthly,
                    marginal: estimate.marginal,
                    committed: estimate.committed,
                    at_least: estimate.at_least,
                    copies: 1,
                    replicas: it.replicas.unwrap_or(0),
                };
                let name = name(&fleet, &subject, &it.name, by);
                let row =
                    rows.entry(name.clone()).or_insert_with(|| Row { name, ..Row::default() });
                for row in [row, &mut total] {
                    let side = if observed { &mut row.realised } else { &mut row.estimate };
                    side.add(&figures);
                }
            }
        }
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by(|a, b| {
        b.estimate.allocated.cmp(&a.estimate.allocated).then_with(|| a.name.cmp(&b.name))
    });
    if notes.remove("of one run") {
        notes.insert("a Job counts with its one run".to_owned());
    }
    let mut said: Vec<String> = notes.into_iter().collect();
    said.push(
        "realised: the replicas that members last reported, at the same prices; neither a history nor a bill"
            .to_owned(),
    );
    if stale > 0 {
        let copies =
            if stale == 1 { "1 copy does".to_owned() } else { format!("{stale} copies do") };
        said.push(format!("{copies} not answer, and counts as last seen"));
    }
    for it in gone {
        said.push(format!("what {it} holds is left out: the inventory no longer has the cluster"));
    }
    for kind in &seen.hidden {
        said.push(format!("left out, since you may not list it: {kind}"));
    }
    Report { by, rows, total, notes: said }
}

fn name(fleet: &Fleet, subject: &Subject<'_>, cluster: &str, by: By) -> String {
    let placement = subject.placement;
    let namespace = placement.namespace().unwrap_or_default();
    let spec = &placement.spec;
    match by {
        By::Template => format!("{namespace}/{}/{}", spec.template.kind, spec.template.name),
        By::Namespace => namespace,
        By::Policy => match &spec.policy_ref {
            Some(it) if it.kind == "PlacementPolicy" => {
                format!("{}/{namespace}/{}", it.kind, it.name)
            }
            Some(it) => format!("{}/{}", it.kind, it.name),
            None => "none".to_owned(),
        },
        By::Cluster => cluster.to_owned(),
        By::Provider => fleet
            .id(cluster)
            .map_or_else(String::new, |it| fleet.clusters[it.0 as usize].spec.provider.clone()),
    }
}

#[cfg(test)]
mod tests;
