//! What is odd about one policy alone.

use federation_types::{
    policy::{
        Affinity, Dependencies, Limits, PlacementPolicySpec, ReplicaMode, Replicas, Spread,
        WhenUnsatisfiable,
    },
    reason::lint as code,
    selector::LabelSelector,
    validate::Problem,
};

use super::{Report, Severity, money, places, selector};
use crate::{claim::never_selected, dependencies::AT_ONCE};

pub(super) fn look(
    spec: &PlacementPolicySpec,
    limits: Option<&Limits>,
    limits_only: bool,
    report: &mut Report<'_>,
) {
    for (at, it) in spec.selectors.iter().enumerate() {
        if let Some(why) = selector::contradiction(&it.label_selector) {
            let field = format!("spec.selectors[{at}].labelSelector");
            report.warn(code::SELECTS_NOTHING, field, why, "take one of the two out");
        }
        if let Some(why) = never_selected(it) {
            report.warn(
                code::SELECTS_NOTHING,
                format!("spec.selectors[{at}]"),
                format!("{} {} is never a template: {why}", it.api_version, it.kind),
                "take the selector out",
            );
        }
    }
    if limits_only && places(spec) {
        report.warn(
            code::NO_EFFECT,
            "spec",
            "a policy with limitsOnly decides for no template: its affinities, spread and replicas are not used",
            "move them into a policy that claims, or take limitsOnly out",
        );
    }
    if limits_only && spec.dependencies == Some(Dependencies::Follow) {
        report.warn(
            code::NO_EFFECT,
            "spec.dependencies",
            "a policy with limitsOnly places nothing, so nothing follows by it",
            "move it into a policy that claims, or take limitsOnly out",
        );
    }
    affinities(&spec.affinities, report);
    if let Some(clusters) = limits.and_then(|it| it.clusters.as_ref())
        && let Some((part, why)) = selector::impossible(clusters)
    {
        let field = format!("spec.limits.clusters.{part}");
        let advice = "nothing that matches this policy can be placed anywhere: widen the limit";
        report.say(Severity::Error, code::SELECTS_NOTHING, field, why, advice);
    }
    spread(spec, limits, report);
    replicas(spec, report);
    overflow(spec, report);
    near(spec, report);
    if spec.rollout.is_some() && spec.dependencies == Some(Dependencies::Follow) {
        let advice =
            "give what changes a new name with each change, or a policy with a rollout of its own";
        report.warn(code::NO_EFFECT, "spec.dependencies", AT_ONCE, advice);
    }
    terms(spec, report);
    money::policy(spec, limits, report);
    if let (Some(residency), Some(limits)) = (&spec.residency, limits)
        && !limits.jurisdictions.is_empty()
        && !residency.jurisdictions.iter().any(|it| limits.jurisdictions.contains(it))
    {
        report.say(
            Severity::Error,
            code::CONTRADICTION,
            "spec.residency.jurisdictions",
            format!(
                "{} is wanted and {} is allowed: no cluster lies in both",
                residency.jurisdictions.join(", "),
                limits.jurisdictions.join(", ")
            ),
            "let residency and limits share a jurisdiction",
        );
    }
    if !limits_only
        && spec.affinities.is_empty()
        && spec.residency.is_none()
        && limits.is_none_or(|it| it.clusters.is_none())
    {
        report.say(
            Severity::Info,
            code::EVERY_CLUSTER,
            "spec.affinities",
            "it reaches every cluster, also those that join later",
            "name clusters in affinities if that is not meant",
        );
    }
}

fn affinities(affinities: &[Affinity], report: &mut Report<'_>) {
    for (at, it) in affinities.iter().enumerate() {
        if let Some((part, why)) = selector::impossible(&it.clusters) {
            let field = format!("spec.affinities[{at}].clusters.{part}");
            report.say(
                Severity::Error,
                code::SELECTS_NOTHING,
                field,
                why,
                "widen it, or take the group out",
            );
            continue;
        }
        let before = affinities[..at].iter().position(|earlier| {
            selector::impossible(&earlier.clusters).is_none()
                && selector::covers(&earlier.clusters, &it.clusters)
        });
        if let Some(earlier) = before {
            report.warn(
                code::UNREACHABLE_GROUP,
                format!("spec.affinities[{at}]"),
                format!("affinities[{earlier}] selects all that it selects and comes first: it is never reached"),
                "put the narrower group first, or take it out",
            );
        }
    }
}

/// Of two keys the first is made of the second: so many of the one need as many of the other.
const WITHIN: &[(&str, &str)] = &[
    ("provider", "region"),
    ("provider", "zone"),
    ("provider", "cluster"),
    ("region", "zone"),
    ("region", "cluster"),
    ("zone", "cluster"),
];

fn is_hard(it: &Spread) -> bool {
    it.when_unsatisfiable != Some(WhenUnsatisfiable::ScheduleAnyway)
}

fn spread(spec: &PlacementPolicySpec, limits: Option<&Limits>, report: &mut Report<'_>) {
    let hard = || spec.spread.iter().enumerate().filter(|(_, it)| is_hard(it));
    for (at, it) in hard() {
        let Some(min) = it.min else { continue };
        let field = format!("spec.spread[{at}].min");
        let key = it.topology_key.as_str();
        let mut contradicts = |bound: u32, what: String| {
            if min > bound {
                report.say(
                    Severity::Error,
                    code::CONTRADICTION,
                    field.clone(),
                    format!("{min} of {key} are wanted, and {what}"),
                    "lower min, or raise the other bound",
                );
            }
        };
        for (n, other) in hard() {
            let label = !["cluster", "zone", "region", "provider"].contains(&key)
                && other.topology_key == "cluster";
            let within = label
                || WITHIN
                    .iter()
                    .any(|(outer, inner)| *outer == key && *inner == other.topology_key);
            if let Some(max) = other.max.filter(|_| within) {
                contradicts(
                    max,
                    format!("spread[{n}] allows {max} of {} at most", other.topology_key),
                );
            }
        }
        if let Some(max) = limits.and_then(|it| it.max_clusters) {
            contradicts(max, format!("limits.maxClusters allows {max} clusters"));
        }
        let groups = || spec.affinities.iter().map(|it| &it.clusters);
        let bound = match key {
            "cluster" => groups().map(|it| selector::at_most(&it.names)).max(),
            "provider" => groups().map(|it| selector::at_most(&it.providers)).max(),
            "region" => groups().map(|it| selector::at_most(&it.regions)).max(),
            "zone" => groups().map(|it| selector::at_most(&it.zones)).max(),
            _ => None,
        };
        // One group without a bound leaves it open.
        let open = groups().any(|it| match key {
            "cluster" => selector::at_most(&it.names).is_none(),
            "provider" => selector::at_most(&it.providers).is_none(),
            "region" => selector::at_most(&it.regions).is_none(),
            _ => selector::at_most(&it.zones).is_none(),
        });
        if let Some(Some(most)) = bound.filter(|_| !open) {
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            contradicts(most, format!("no group of affinities names more than {most}"));
        }
    }
    let one = spec.replicas.as_ref().and_then(|it| it.mode) == Some(ReplicaMode::Duplicated);
    for (at, it) in spec.spread.iter().enumerate() {
        if it.max_skew.is_some() && one {
            report.warn(
                code::NO_EFFECT,
                format!("spec.spread[{at}].maxSkew"),
                "with mode Duplicated every cluster runs all replicas: there is no difference to bound",
                "take it out, or divide the replicas",
            );
        }
        if it.min.is_none() && it.max.is_none() && it.max_skew.is_none() {
            report.warn(
                code::NO_EFFECT,
                format!("spec.spread[{at}]"),
                "without min, max and maxSkew it only refuses clusters that have no such property",
                "say how many are wanted",
            );
        }
    }
}

fn replicas(spec: &PlacementPolicySpec, report: &mut Report<'_>) {
    let Some(it) = &spec.replicas else { return };
    let Replicas { mode, weights, partial, .. } = it;
    if *mode == Some(ReplicaMode::Duplicated) {
        if !weights.is_empty() {
            report.warn(
                code::NO_EFFECT,
                "spec.replicas.weights",
                "weights share replicas out, and with mode Duplicated every cluster runs all of them",
                "use mode Divided with division Weighted, or take the weights out",
            );
        }
        if partial.is_some() {
            report.warn(
                code::NO_EFFECT,
                "spec.replicas.partial",
                "with mode Duplicated replicas are placed regardless of room",
                "take it out, or divide the replicas",
            );
        }
    }
    for (at, weight) in weights.iter().enumerate() {
        if let Some((part, why)) = selector::impossible(&weight.clusters) {
            let field = format!("spec.replicas.weights[{at}].clusters.{part}");
            report.warn(code::SELECTS_NOTHING, field, why, "widen it, or take the weight out");
        }
    }
    if let (Some(most), false) = (it.max_per_cluster, spec.affinities.is_empty()) {
        let clusters: Option<Vec<usize>> =
            spec.affinities.iter().map(|it| selector::at_most(&it.clusters.names)).collect();
        if let Some(named) = clusters.and_then(|it| it.into_iter().max()) {
            report.say(
                Severity::Info,
                code::BOUNDED,
                "spec.replicas.maxPerCluster",
                format!(
                    "{named} clusters with {most} each hold {} replicas at most",
                    u64::from(most) * named as u64
                ),
                "a template with more replicas waits for room",
            );
        }
    }
}

/// Whether the policy itself says that replicas are shared out; without it the kind decides (RULES 3.4).
pub(super) fn divides(spec: &PlacementPolicySpec) -> bool {
    spec.replicas.as_ref().is_some_and(|it| {
        it.mode == Some(ReplicaMode::Divided)
            || it.division.is_some()
            || it.min_per_cluster.is_some()
            || it.max_per_cluster.is_some()
            || !it.weights.is_empty()
    })
}

fn overflow(spec: &PlacementPolicySpec, report: &mut Report<'_>) {
    for (at, _) in
        spec.affinities.iter().enumerate().filter(|(_, it)| it.overflow.is_some() && !divides(spec))
    {
        report.warn(
            code::NO_EFFECT,
            format!("spec.affinities[{at}].overflow"),
            "only replicas that are divided overflow, and nothing here divides them",
            "use replicas.mode Divided, or take overflow out",
        );
    }
}

fn near(spec: &PlacementPolicySpec, report: &mut Report<'_>) {
    for (at, it) in spec.near.iter().enumerate() {
        if it.required == Some(true) && it.max_latency_ms == Some(0) {
            let why = "no cluster is 0 ms from a service that is not in it";
            let field = format!("spec.near[{at}].maxLatencyMs");
            report.warn(code::SELECTS_NOTHING, field, why, "allow some milliseconds");
        }
    }
}

/// Terms about other workloads.
fn terms(spec: &PlacementPolicySpec, report: &mut Report<'_>) {
    let all = [
        ("spec.workloadAffinity", &spec.workload_affinity),
        ("spec.workloadAntiAffinity", &spec.workload_anti_affinity),
    ];
    for (name, terms) in all {
        for (at, it) in terms.iter().enumerate() {
            if let Some(why) = selector::contradiction(&it.label_selector) {
                let field = format!("{name}[{at}].labelSelector");
                report.warn(code::SELECTS_NOTHING, field, why, "take one of the two out");
            }
        }
    }
    for Problem { field, message } in opposed(spec) {
        let advice = "take one of the two out, or make one a wish";
        report.say(Severity::Error, code::CONTRADICTION, field, message, advice);
    }
}

/// Terms that must hold and want the same templates together and apart.
pub fn opposed(spec: &PlacementPolicySpec) -> Vec<Problem> {
    let is_hard = |it: Option<WhenUnsatisfiable>| it != Some(WhenUnsatisfiable::ScheduleAnyway);
    let same =
        |a: &LabelSelector, b: &LabelSelector| selector::covers_labels(a, b) && !b.is_empty();
    let mut found = Vec::new();
    for (at, apart) in spec.workload_anti_affinity.iter().enumerate() {
        let beside = spec.workload_affinity.iter().position(|it| {
            it.topology_key == apart.topology_key
                && same(&apart.label_selector, &it.label_selector)
                && is_hard(it.when_unsatisfiable)
                && is_hard(apart.when_unsatisfiable)
        });
        if let Some(beside) = beside {
            let field = format!("spec.workloadAntiAffinity[{at}]");
            let key = &apart.topology_key;
            let message =
                format!("workloadAffinity[{beside}] wants the same templates in the same {key}");
            found.push(Problem { field, message });
        }
    }
    found
}
