//! PropagationPolicy and ClusterPropagationPolicy as PlacementPolicy and ClusterPlacementPolicy.

use federation_types::{
    cluster::TaintEffect,
    policy::{
        Affinity, ClusterPlacementPolicySpec, Conflict, Dependencies, Division, Failover, OnDelete,
        Overflow, PlacementPolicySpec, Purge, ReplicaMode, Replicas, Spread, Sync, Toleration,
        TolerationOperator, Weight,
    },
};
use serde_json::Value;

use crate::{
    Change,
    clusters::{selector, templates, value},
    fields::Fields,
};

/// Specs by what is appended to the name. `own` is the namespace of a namespaced policy.
pub(crate) fn policies(spec: &mut Fields, own: Option<&str>) -> Vec<(String, Value)> {
    let selectors = templates(spec, own);
    let mut policy = PlacementPolicySpec::default();
    priority(spec, own.is_some(), &mut policy);
    behaviour(spec, &mut policy);
    if let Some(mut placement) = spec.inner("placement") {
        clusters(&mut placement, &mut policy);
        tolerations(&mut placement, &mut policy);
        replicas(&mut placement, &mut policy);
        if let Some(mut group) = placement.inner("workloadAffinity") {
            let why = "workloads are grouped by the value of a label; write workloadAffinity or workloadAntiAffinity with selectors";
            group.drop("affinity", why);
            group.drop("antiAffinity", why);
            placement.join(group);
        }
        spec.join(placement);
    } else {
        // Karmada copies to every cluster; here the kind would decide.
        policy.replicas = duplicated();
    }
    if selectors.is_empty() {
        spec.note(
            "resourceSelectors",
            Change::Dropped,
            "nothing is selected: no policy is written",
        );
    }
    if selectors.len() > 1 {
        let why = "selectors name several namespaces: one policy for each";
        spec.note("resourceSelectors", Change::Same, why);
    }
    let several = selectors.len() > 1;
    let of = |(namespace, selectors): (String, Vec<_>)| {
        let policy = PlacementPolicySpec { selectors, ..policy.clone() };
        if own.is_some() {
            return (String::new(), value(&policy));
        }
        let suffix = match namespace.as_str() {
            _ if !several => String::new(),
            "" => "-all".to_owned(),
            name => format!("-{name}"),
        };
        let namespaces = if namespace.is_empty() { Vec::new() } else { vec![namespace] };
        let spec = ClusterPlacementPolicySpec { policy, namespaces, ..Default::default() };
        (suffix, value(&spec))
    };
    selectors.into_iter().map(of).collect()
}

fn duplicated() -> Option<Replicas> {
    Some(Replicas { mode: Some(ReplicaMode::Duplicated), ..Replicas::default() })
}

fn priority(spec: &mut Fields, namespaced: bool, policy: &mut PlacementPolicySpec) {
    let priority = spec.number("priority").unwrap_or(0);
    policy.priority = i32::try_from(priority).unwrap_or_else(|_| {
        let why = "a whole number of 32 bits at most: left out";
        spec.note("priority", Change::Dropped, why);
        0
    });
    let preemption = spec.text("preemption");
    if (namespaced && policy.priority < 0) || (!namespaced && policy.priority > 0) {
        let why = "the higher priority claims whatever its scope; in Karmada a PropagationPolicy always goes before a ClusterPropagationPolicy";
        spec.note("priority", Change::Changed, why);
    } else if policy.priority != 0 && preemption.is_none() {
        let why = "kept, and the higher one claims what another policy has placed too; in Karmada only with `preemption: Always`";
        spec.note("priority", Change::Changed, why);
    } else if policy.priority != 0 {
        spec.note("priority", Change::Same, "kept: the higher one claims");
    }
    match preemption.as_deref() {
        Some("Always") => spec.note("preemption", Change::Same, "a higher priority always claims"),
        Some(_) => spec.note(
            "preemption",
            Change::Changed,
            "a policy of higher priority claims what another one has placed",
        ),
        None => (),
    }
}

fn behaviour(spec: &mut Fields, policy: &mut PlacementPolicySpec) {
    for field in ["association", "propagateDeps"] {
        if spec.truth(field) {
            policy.dependencies = Some(Dependencies::Follow);
            let why = "kept as `dependencies: Follow`; what a template no longer names keeps its copies here until it is deleted";
            spec.note(field, Change::Changed, why);
        }
    }
    spec.drop(
        "dependentOverrides",
        "overrides that match are part of a revision; one that is missing is not waited for",
    );
    match spec.text("schedulerName").as_deref() {
        None => (),
        Some("default-scheduler") => {
            spec.note("schedulerName", Change::Same, "there is one engine");
        }
        Some(_) => spec.note("schedulerName", Change::Dropped, "there is one engine"),
    }
    let mut sync = Sync::default();
    match spec.text("conflictResolution").as_deref() {
        Some("Overwrite") => sync.conflict = Some(Conflict::Adopt),
        Some("Abort") => sync.conflict = Some(Conflict::Fail),
        Some(_) => spec.note("conflictResolution", Change::Dropped, "neither Abort nor Overwrite"),
        None => (),
    }
    if spec.truth("preserveResourcesOnDeletion") {
        sync.on_delete = Some(OnDelete::Orphan);
    }
    policy.sync = (sync != Sync::default()).then_some(sync);
    spec.drop(
        "activationPreference",
        "an edit of a policy takes effect at once, within the change budget; `archipel plan` shows it before",
    );
    if let Some(mut inner) = spec.inner("suspension") {
        if inner.truth("dispatching") {
            policy.suspend = true;
            let why = "nothing new is decided while it is suspended; in Karmada it is decided and not sent";
            inner.note("dispatching", Change::Changed, why);
        }
        inner.drop(
            "dispatchingOnClusters",
            "`archipel freeze --cluster NAME` stops writes to a cluster",
        );
        spec.join(inner);
    }
    spec.drop("schedulePriority", "decisions are not queued by priority classes");
    if let Some(mut inner) = spec.inner("failover") {
        inner.drop("application", "the health of an application does not move it");
        if let Some(mut cluster) = inner.inner("cluster") {
            let purge = cluster.text("purgeMode");
            if purge.is_some() {
                let failover = policy.failover.get_or_insert_with(Failover::default);
                failover.purge = Some(Purge::Graceful);
            }
            if purge.as_deref().is_some_and(|it| it != "Gracefully" && it != "Graciously") {
                let why = "the old copy goes once the new one is ready";
                cluster.note("purgeMode", Change::Changed, why);
            }
            cluster.drop("statePreservation", "no state is carried to the new copy");
            inner.join(cluster);
        }
        spec.join(inner);
    }
}

fn clusters(placement: &mut Fields, policy: &mut PlacementPolicySpec) {
    if let Some(mut inner) = placement.inner("clusterAffinity") {
        let clusters = selector(&mut inner);
        if !clusters.is_empty() {
            policy.affinities.push(Affinity { clusters, ..Affinity::default() });
        }
        placement.join(inner);
    }
    for mut term in placement.list("clusterAffinities") {
        let name = term.text("affinityName").unwrap_or_default();
        let mut group = vec![Affinity { name, clusters: selector(&mut term), overflow: None }];
        for mut it in term.list("overflowAffinities") {
            let name = it.text("affinityName").unwrap_or_default();
            group.push(Affinity { name, clusters: selector(&mut it), overflow: None });
            term.join(it);
        }
        if let [all @ .., _] = group.as_mut_slice()
            && !all.is_empty()
        {
            for it in all {
                it.overflow = Some(Overflow::Allow);
            }
            let why = "written as further groups; where the group before holds nothing, one of them may be chosen alone";
            term.note("overflowAffinities", Change::Changed, why);
        }
        policy.affinities.extend(group);
        placement.join(term);
    }
}

fn tolerations(placement: &mut Fields, policy: &mut PlacementPolicySpec) {
    for mut it in placement.list("clusterTolerations") {
        let key = it.text("key").unwrap_or_default();
        let seconds = it.number("tolerationSeconds");
        let operator = it.text("operator").unwrap_or_else(|| "Equal".to_owned());
        let value = it.text("value").unwrap_or_default();
        let effect = it.text("effect");
        if matches!(key.as_str(), "cluster.karmada.io/not-ready" | "cluster.karmada.io/unreachable")
        {
            let failover = policy.failover.get_or_insert_with(Failover::default);
            let after = seconds.unwrap_or(300).max(1);
            failover.after = Some(format!("{after}s"));
            it.note("", Change::Same, "written as failover.after");
            placement.join(it);
            continue;
        }
        let effect = match effect.as_deref() {
            None => None,
            Some("NoSchedule") => Some(TaintEffect::NoSchedule),
            Some("NoExecute") => Some(TaintEffect::NoExecute),
            Some("PreferNoSchedule") => Some(TaintEffect::PreferNoSchedule),
            Some(_) => {
                it.note("effect", Change::Dropped, "not an effect");
                placement.join(it);
                continue;
            }
        };
        let operator = match operator.as_str() {
            "Exists" => TolerationOperator::Exists,
            "Equal" => TolerationOperator::Equal,
            _ => {
                it.note("operator", Change::Dropped, "neither Equal nor Exists");
                placement.join(it);
                continue;
            }
        };
        let toleration_seconds = seconds;
        policy.tolerations.push(Toleration { key, operator, value, effect, toleration_seconds });
        placement.join(it);
    }
}

fn replicas(placement: &mut Fields, policy: &mut PlacementPolicySpec) {
    let mut ignores_spread = false;
    policy.replicas = duplicated();
    if let Some(mut inner) = placement.inner("replicaScheduling") {
        let kind = inner.text("replicaSchedulingType").unwrap_or_else(|| "Divided".to_owned());
        let preference = inner.text("replicaDivisionPreference");
        let mut weights = inner.inner("weightPreference");
        if kind == "Divided" {
            let division = division(&mut inner, preference.as_deref(), weights.as_mut());
            ignores_spread = division.0 == Division::Weighted;
            policy.replicas = Some(Replicas {
                mode: Some(ReplicaMode::Divided),
                division: Some(division.0),
                weights: division.1,
                ..Replicas::default()
            });
        } else {
            if preference.is_some() {
                inner.note("replicaDivisionPreference", Change::Same, "nothing is divided");
            }
            if let Some(weights) = &mut weights {
                weights.take("staticWeightList");
                weights.take("dynamicWeight");
                weights.note("", Change::Same, "nothing is divided");
            }
        }
        if let Some(weights) = weights {
            inner.join(weights);
        }
        placement.join(inner);
    }
    for mut it in placement.list("spreadConstraints") {
        let field = it.text("spreadByField");
        let label = it.text("spreadByLabel");
        let min = it.number("minGroups").and_then(|it| u32::try_from(it).ok());
        let max = it.number("maxGroups").and_then(|it| u32::try_from(it).ok());
        let Some(topology_key) = field.clone().or_else(|| label.clone()) else {
            it.note("", Change::Dropped, "neither spreadByField nor spreadByLabel");
            placement.join(it);
            continue;
        };
        if ignores_spread {
            it.note(
                "",
                Change::Same,
                "Karmada does not act on it beside static weights; it is left out",
            );
            placement.join(it);
            continue;
        }
        if !matches!(field.as_deref(), Some("cluster" | "region")) {
            it.note("", Change::Changed, "Karmada does not act on it; here it is kept");
        }
        policy.spread.push(Spread {
            topology_key,
            min: Some(min.unwrap_or(1)),
            max: max.filter(|it| *it > 0),
            ..Spread::default()
        });
        placement.join(it);
    }
}

fn division(
    fields: &mut Fields,
    preference: Option<&str>,
    weights: Option<&mut Fields>,
) -> (Division, Vec<Weight>) {
    match preference {
        Some("Aggregated") => {
            let why = "clusters are filled one after the other; in Karmada the fewest that hold all share it by room";
            fields.note("replicaDivisionPreference", Change::Changed, why);
            return (Division::Packed, Vec::new());
        }
        Some("Weighted") => (),
        Some(other) => fields.note(
            "replicaDivisionPreference",
            Change::Changed,
            format!("`{other}` is neither Aggregated nor Weighted: here clusters share by weight"),
        ),
        None => fields.note(
            "replicaDivisionPreference",
            Change::Changed,
            "left out, Karmada cannot divide; here clusters share equally",
        ),
    }
    let Some(weights) = weights else { return (Division::Weighted, Vec::new()) };
    if let Some(dynamic) = weights.text("dynamicWeight") {
        if dynamic != "AvailableReplicas" {
            weights.note("dynamicWeight", Change::Changed, "read as AvailableReplicas");
        }
        if weights.take("staticWeightList").is_some() {
            weights.note("staticWeightList", Change::Same, "ignored beside dynamicWeight");
        }
        return (Division::Room, Vec::new());
    }
    let mut list = Vec::new();
    for mut it in weights.list("staticWeightList") {
        let weight = it.number("weight").and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
        let mut clusters = Default::default();
        if let Some(mut target) = it.inner("targetCluster") {
            clusters = selector(&mut target);
            it.join(target);
        }
        if weight == 0 {
            it.note("weight", Change::Dropped, "must be above zero");
        } else {
            list.push(Weight { clusters, weight });
        }
        weights.join(it);
    }
    (Division::Weighted, list)
}
