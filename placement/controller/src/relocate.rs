//! A move that an approved plan chose: whether policy, fleet and room allow it, and the decision that makes it.

use std::collections::BTreeMap;

use placement_engine::{
    CompiledPolicy, Decision, Fleet, Outcome, Placed, Previous, PreviousCluster, Room, Terms,
    Workload, place, policy::Mode,
};

/// Why a chosen move is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It may be, once there is room.
    Room(String),
    /// It never will be as things stand.
    Rule(String),
}

impl Refusal {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Room(text) | Self::Rule(text) => text,
        }
    }
}

/// The decision that puts every replica where `to` says, with its room taken.
pub(crate) fn relocate(
    fleet: &Fleet,
    room: &mut Room,
    workload: &Workload,
    policy: &CompiledPolicy,
    previous: &Previous,
    to: &BTreeMap<String, i64>,
) -> Result<Decision, Refusal> {
    let rule = |text: String| Err(Refusal::Rule(text));
    let terms = Terms::of(fleet, room, workload, policy, previous);
    if terms.mode != Mode::Cheapest {
        return rule("its policy does not leave the choice to cost".to_owned());
    }
    if workload.is_bound() {
        return rule("its kind is bound to where it runs".to_owned());
    }
    let held = |name: &str| {
        let it = previous.clusters.iter().find(|it| it.name == name);
        it.and_then(|it| it.replicas).unwrap_or(0)
    };
    let total: i64 = to.values().sum();
    let before: i64 = previous.clusters.iter().filter_map(|it| it.replicas).sum();
    if workload.replicas != Some(total) || total != before || to.values().any(|it| *it < 0) {
        return rule(format!("it has {before} replicas, and {total} would be placed"));
    }
    for (name, n) in to.iter().filter(|it| *it.1 > held(it.0)) {
        let Some(id) = fleet.id(name) else {
            return rule(format!("the inventory has no cluster {name}"));
        };
        if !terms.clusters_terms[id.0 as usize].open {
            return rule(format!("its policy lets no replica start on {name}"));
        }
        let grows = fleet.clusters[id.0 as usize].spec.autoscaled;
        let (more, fits) = (n - held(name), room.available(fleet, id, workload));
        if !grows && fits < more {
            return Err(Refusal::Room(format!(
                "there is room for {fits} more on {name}, and {more} would come"
            )));
        }
    }
    // As if it ran there already: what the engine then keeps is within every rule, and stays.
    let there = Previous {
        clusters: to
            .iter()
            .map(|(name, n)| PreviousCluster {
                name: name.clone(),
                replicas: Some(*n),
                spot: previous.clusters.iter().any(|it| it.name == *name && it.spot),
            })
            .collect(),
        returns: false,
        ..previous.clone()
    };
    let free = room.clone();
    let decision = place(fleet, room, workload, policy, &there);
    let same = decision.clusters.len() == to.len()
        && decision
            .clusters
            .iter()
            .all(|Placed { cluster, replicas }| to.get(fleet.name(*cluster)).copied() == *replicas);
    if decision.outcome != Outcome::Placed || !same {
        *room = free;
        let why = match &decision.outcome {
            Outcome::Placed => "it would not stay there".to_owned(),
            other => other.to_string(),
        };
        return rule(format!("its policy does not allow it: {why}"));
    }
    for Placed { cluster, replicas } in &decision.clusters {
        let more = replicas.unwrap_or(0) - held(fleet.name(*cluster));
        if more > 0 {
            room.reserve(fleet, *cluster, workload, more);
        }
    }
    Ok(decision)
}
