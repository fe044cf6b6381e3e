//! Where a template stands, in words: what its Placement and the members say, not what would be decided now. PURE.

use std::collections::BTreeMap;

use federation_types::{
    budget::Freeze,
    names::ObjectKey,
    placement::{CopyState, CopyStatus, PlacedCluster, PlacementSpec},
};
use placement_engine::{Decision, Fleet};

use crate::index::Placed;

/// `on 2 clusters: a 2, b 1 (not written yet); c is being left (ClusterChanged)`
pub(crate) fn text(placed: &Placed) -> String {
    let copy = |name: &str| placed.status.clusters.iter().find(|it| it.name == name);
    let meant = placed.spec.clusters.iter().filter(|it| it.leaving.is_empty());
    let mut text = on(meant.map(|it| (one(&it.name, it.replicas), remark(it, copy(&it.name)))));
    let leaving = placed.spec.clusters.iter().filter(|it| !it.leaving.is_empty());
    for it in leaving {
        text = format!("{text}; {} is being left ({})", it.name, it.leaving);
    }
    for it in &placed.spec.removing {
        text = format!("{text}; its copy on {} is being removed ({})", it.name, it.cause);
    }
    text
}

/// What a decision comes to, in the same words.
pub(crate) fn decided(decision: &Decision, fleet: &Fleet) -> String {
    let clusters = decision.clusters.iter();
    on(clusters.map(|it| (one(fleet.name(it.cluster), it.replicas), String::new())))
}

/// Whether a decision is what the Placement means already. Clusters that the inventory lost are held, and not decided on.
pub(crate) fn is_decided(spec: &PlacementSpec, decision: &Decision, fleet: &Fleet) -> bool {
    let meant = spec.clusters.iter().filter(|it| it.leaving.is_empty());
    let known = meant.filter(|it| fleet.id(&it.name).is_some());
    let stands: BTreeMap<_, _> = known.map(|it| (it.name.as_str(), it.replicas)).collect();
    let decided = decision.clusters.iter().map(|it| (fleet.name(it.cluster), it.replicas));
    stands == decided.collect()
}

/// What of a freeze holds a template on every cluster: the fleet's, or that of its namespace.
pub(crate) fn frozen(freeze: &Freeze, budget: &str, key: &ObjectKey) -> Option<String> {
    let namespace = &key.namespace;
    if freeze.all {
        Some(format!(
            "everything is frozen by ChangeBudget {budget}: nothing is written to any cluster"
        ))
    } else if !namespace.is_empty() && freeze.namespaces.iter().any(|it| it == namespace) {
        Some(format!(
            "the namespace {namespace} is frozen by ChangeBudget {budget}: nothing of it is written to any cluster"
        ))
    } else {
        None
    }
}

fn one(name: &str, replicas: Option<i64>) -> String {
    replicas.map_or_else(|| name.to_owned(), |it| format!("{name} {it}"))
}

fn on(clusters: impl Iterator<Item = (String, String)>) -> String {
    let all: Vec<String> = clusters
        .map(|(text, remark)| if remark.is_empty() { text } else { format!("{text} ({remark})") })
        .collect();
    match all.as_slice() {
        [] => "on no cluster".to_owned(),
        [one] => format!("on 1 cluster: {one}"),
        all => format!("on {} clusters: {}", all.len(), all.join(", ")),
    }
}

/// Where a copy is not what the Placement means.
fn remark(meant: &PlacedCluster, copy: Option<&CopyStatus>) -> String {
    let Some(copy) = copy else { return String::new() };
    let word = match copy.state {
        CopyState::Pending => "not written yet",
        CopyState::Held if copy.revision.is_empty() => "not written yet",
        CopyState::Held => "held",
        CopyState::Refused => "refused",
        CopyState::Conflict => "in conflict",
        CopyState::Unreachable => "does not answer",
        CopyState::Progressing | CopyState::Ready | CopyState::Degraded | CopyState::Removing => "",
    };
    let runs = copy.replicas.filter(|it| meant.replicas.is_some_and(|meant| meant != *it));
    let runs = runs.filter(|_| !copy.revision.is_empty()).map(|it| format!("runs {it}"));
    match (word, runs) {
        ("", runs) => runs.unwrap_or_default(),
        (word, Some(runs)) => format!("{word}, {runs}"),
        (word, None) => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use federation_types::placement::{PlacementStatus, RemovedCluster};

    use super::*;

    #[test]
    fn what_stands_is_told_from_what_is_meant() {
        let cluster = |name: &str, replicas, leaving: &str| PlacedCluster {
            name: name.to_owned(),
            replicas,
            leaving: leaving.to_owned(),
            ..PlacedCluster::default()
        };
        let copy = |name: &str, state, replicas, revision: &str| CopyStatus {
            name: name.to_owned(),
            state,
            replicas,
            revision: revision.to_owned(),
            ..CopyStatus::default()
        };
        let spec = PlacementSpec {
            clusters: vec![
                cluster("a", Some(5), ""),
                cluster("b", Some(1), ""),
                cluster("c", Some(2), ""),
                cluster("d", Some(2), "ClusterChanged"),
            ],
            removing: vec![RemovedCluster {
                name: "e".to_owned(),
                cause: "PolicyChanged".to_owned(),
                ..RemovedCluster::default()
            }],
            ..PlacementSpec::default()
        };
        let status = PlacementStatus {
            clusters: vec![
                copy("a", CopyState::Held, Some(2), "r"),
                copy("b", CopyState::Held, None, ""),
                copy("c", CopyState::Ready, Some(2), "r"),
            ],
            ..PlacementStatus::default()
        };
        let mut placed = Placed {
            name: "deployment-web".to_owned(),
            uid: String::new(),
            generation: 1,
            resource_version: String::new(),
            spec,
            status,
        };
        assert_eq!(
            text(&placed),
            "on 3 clusters: a 5 (held, runs 2), b 1 (not written yet), c 2; d is being left (ClusterChanged); its copy \
             on e is being removed (PolicyChanged)"
        );
        placed.spec.clusters.clear();
        placed.spec.removing.clear();
        assert_eq!(text(&placed), "on no cluster");
    }
}
