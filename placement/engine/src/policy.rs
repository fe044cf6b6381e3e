//! A policy made ready for deciding: expressions parsed, limits of every matching cluster policy put beside it, money
//! converted.

use federation_types::{
    money::Money,
    policy::{
        Division, FailbackMode, Limits, PlacementPolicySpec, ReplicaMode, Toleration,
        WhenUnsatisfiable,
    },
    selector::ClusterSelector,
    validate::Problem,
};
use sha2::{Digest, Sha256};

use crate::{
    expression::Expression,
    workload::{KindClass, Workload},
};

/// A policy with the limits that hold for what it claims.
#[derive(Clone, Debug)]
pub struct CompiledPolicy {
    /// Of the content: what is remembered about a policy is remembered under this.
    pub id: u64,
    /// `PlacementPolicy shop/web-eu`
    pub name: String,
    /// Of a namespaced policy: the ClusterSets that serve it bound what it may use (RULES 2.3).
    pub namespace: Option<String>,
    pub spec: PlacementPolicySpec,
    pub(crate) groups: Vec<Group>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) weights: Vec<(Selector, u32)>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) spread: Vec<SpreadRule>,
    /// Bounds on the number of clusters, lowest first: the bound and whose it is.
    pub(crate) max_clusters: Option<(u32, String)>,
    pub(crate) max_replicas: Option<(u32, String)>,
    pub(crate) max_monthly: Option<(Money, String)>,
    pub(crate) money: Objective,
    /// What a point of each wanted score is worth, in µ$ per replica and hour.
    pub(crate) points: Vec<(String, i64)>,
}

/// What an objective counts as, in µ$/h (RULES 5.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objective {
    pub(crate) cost: i64,
    /// Of one millisecond, for one replica and hour.
    pub(crate) per_ms: i64,
    /// Of a cluster that does not hold the workload yet, for one replica and hour.
    pub(crate) per_move: i64,
}

/// The default of `usdPerMsPerReplicaHour`: a hundredth of a cent.
const DEFAULT_PER_MS: Money = Money(100);
/// The default of `usdPerMove`: two cents.
const DEFAULT_PER_MOVE: Money = Money(20_000);
/// Hours over which a move is spread.
const MOVE_HORIZON: i64 = 720;

/// An affinity group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Its name, or its place in the list.
    pub(crate) label: String,
    pub(crate) selector: Selector,
    /// Where it holds only part, growth goes on in the next group.
    pub(crate) overflows: bool,
}

/// A ClusterSelector with its expressions parsed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    pub(crate) spec: ClusterSelector,
    pub(crate) expressions: Vec<Expression>,
}

/// The limits of one cluster policy.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) policy: String,
    pub(crate) clusters: Option<Selector>,
    pub(crate) jurisdictions: Vec<String>,
    /// Keys of the taints that may be tolerated; `None`: all.
    pub(crate) tolerations: Option<Vec<String>>,
    pub(crate) max_clusters: Option<u32>,
}

/// One rule of a spread other than over clusters.
#[derive(Clone, Debug)]
pub(crate) struct SpreadRule {
    pub(crate) key: String,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) max_skew: Option<i64>,
    pub(crate) hard: bool,
}

/// How the replicas of one workload are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of it on one cluster.
    One,
    /// All of it on each cluster.
    Duplicated,
    Weighted,
    Room,
    Packed,
    Cheapest,
}

impl Mode {
    /// Whether the replicas are shared out.
    pub fn divides(self) -> bool {
        matches!(self, Self::Weighted | Self::Room | Self::Packed | Self::Cheapest)
    }

    /// Whether room decides (DESIGN 3).
    pub fn by_room(self) -> bool {
        matches!(self, Self::Room | Self::Packed | Self::Cheapest)
    }
}

impl CompiledPolicy {
    /// Makes a policy ready. `name` is for people (`PlacementPolicy shop/web-eu`), `namespace` is that of a namespaced
    /// policy, `limits` those of every matching cluster policy with its name.
    pub fn compile(
        name: &str,
        namespace: Option<&str>,
        spec: &PlacementPolicySpec,
        limits: &[(&str, &Limits)],
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let groups: Vec<_> = spec
            .affinities
            .iter()
            .enumerate()
            .map(|(at, it)| Group {
                label: if it.name.is_empty() {
                    format!("affinities[{at}]")
                } else {
                    it.name.clone()
                },
                selector: selector(
                    &it.clusters,
                    &format!("spec.affinities[{at}].clusters"),
                    "",
                    &mut problems,
                ),
                overflows: it.overflow.is_some() && at + 1 < spec.affinities.len(),
            })
            .collect();
        let groups = if groups.is_empty() {
            vec![Group { label: String::new(), selector: Selector::default(), overflows: false }]
        } else {
            groups
        };
        let replicas = spec.replicas.clone().unwrap_or_default();
        let weights = replicas
            .weights
            .iter()
            .enumerate()
            .map(|(at, it)| {
                let field = format!("spec.replicas.weights[{at}].clusters");
                (selector(&it.clusters, &field, "", &mut problems), it.weight)
            })
            .collect();
        let own_budget = spec.budget.as_ref().map(|it| it.max_monthly_usd.as_str());
        let mut max_monthly = dollars(own_budget, "spec.budget.maxMonthlyUsd", &mut problems)
            .map(|it| (it, name.to_owned()));
        let (mut max_clusters, mut max_replicas) = (None, None);
        let mut tolerations = spec.tolerations.clone();
        let mut compiled = Vec::new();
        for (policy, limit) in limits {
            let suffix = format!(" (limits of {policy})");
            let clusters = limit
                .clusters
                .as_ref()
                .map(|it| selector(it, "spec.limits.clusters", &suffix, &mut problems));
            lower(&mut max_clusters, limit.max_clusters, policy);
            lower(&mut max_replicas, limit.max_replicas, policy);
            let field = "spec.limits.maxMonthlyUsd";
            let monthly = dollars(limit.max_monthly_usd.as_deref(), field, &mut problems);
            lower(&mut max_monthly, monthly, policy);
            if let Some(keys) = &limit.tolerations {
                narrow(&mut tolerations, keys);
            }
            compiled.push(Limit {
                policy: (*policy).to_owned(),
                clusters,
                jurisdictions: limit.jurisdictions.clone(),
                tolerations: limit.tolerations.clone(),
                max_clusters: limit.max_clusters,
            });
        }
        let money = objective(spec, &mut problems);
        let points = points(spec, &mut problems);
        let spread = spread(spec, &mut max_clusters, name);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            id: identity(name, namespace, spec, limits),
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            spec: spec.clone(),
            groups,
            limits: compiled,
            weights,
            tolerations,
            spread,
            max_clusters,
            max_replicas,
            max_monthly,
            money,
            points,
        })
    }

    /// How a workload is given out under this policy (RULES 3.4).
    pub fn mode(&self, workload: &Workload) -> Mode {
        let one_or_all = |one: bool| if one { Mode::One } else { Mode::Duplicated };
        let by_kind = one_or_all(workload.on_one_cluster());
        let Some(replicas) = &self.spec.replicas else { return by_kind };
        let divided = replicas.mode == Some(ReplicaMode::Divided)
            || (replicas.mode.is_none()
                && (replicas.division.is_some()
                    || !replicas.weights.is_empty()
                    || replicas.min_per_cluster.is_some()
                    || replicas.max_per_cluster.is_some()));
        if divided {
            let indexed = workload.class == KindClass::Job && workload.job.indexed;
            if !workload.divisible() || indexed {
                return by_kind;
            }
            return match replicas.division {
                None | Some(Division::Weighted) => Mode::Weighted,
                Some(Division::Room) => Mode::Room,
                Some(Division::Packed) => Mode::Packed,
                Some(Division::Cheapest) => Mode::Cheapest,
            };
        }
        match replicas.mode {
            Some(ReplicaMode::Duplicated | ReplicaMode::Divided) => Mode::Duplicated,
            None => by_kind,
        }
    }

    /// The name of an affinity group, as a Placement keeps it; empty where the policy has none.
    pub fn affinity_name(&self, group: usize) -> &str {
        self.groups.get(group).map_or("", |it| &it.label)
    }

    pub(crate) fn min_per_cluster(&self) -> i64 {
        self.spec.replicas.as_ref().and_then(|it| it.min_per_cluster).map_or(0, i64::from)
    }

    pub(crate) fn max_per_cluster(&self) -> i64 {
        self.spec.replicas.as_ref().and_then(|it| it.max_per_cluster).map_or(i64::MAX, i64::from)
    }

    pub(crate) fn partial(&self) -> bool {
        self.spec.replicas.as_ref().is_some_and(|it| it.partial.is_some())
    }

    /// Whether every copy is pinned to spot nodes.
    pub(crate) fn all_on_spot(&self) -> bool {
        self.spec.spot.as_ref().is_some_and(|it| it.percent >= 100)
    }

    /// Whether what runs elsewhere returns to a preferred group by itself.
    pub fn fails_back(&self) -> bool {
        let failback = self.spec.failover.as_ref().and_then(|it| it.failback.as_ref());
        failback.is_some_and(|it| it.mode != Some(FailbackMode::Never))
    }

    /// The least number of clusters that the spread asks for.
    pub(crate) fn min_clusters(&self) -> usize {
        self.spread.iter().filter(|it| it.hard).map(|it| it.min).max().unwrap_or(1).max(1)
    }
}

pub(crate) fn selector(
    spec: &ClusterSelector,
    field: &str,
    suffix: &str,
    problems: &mut Vec<Problem>,
) -> Selector {
    let mut expressions = Vec::new();
    for (at, text) in spec.expressions.iter().enumerate() {
        match Expression::parse(text) {
            Ok(it) => expressions.push(it),
            Err(error) => problems.push(Problem {
                field: format!("{field}.expressions[{at}]"),
                message: format!("Invalid value: {text:?}: {error}{suffix}"),
            }),
        }
    }
    Selector { spec: spec.clone(), expressions }
}

fn dollars(text: Option<&str>, field: &str, problems: &mut Vec<Problem>) -> Option<Money> {
    let text = text?;
    let amount = Money::parse_usd(text);
    if amount.is_none() {
        problems.push(Problem {
            field: field.to_owned(),
            message: format!("Invalid value: {text:?}: must be dollars as a decimal number"),
        });
    }
    amount
}

fn lower<T: PartialOrd>(bound: &mut Option<(T, String)>, other: Option<T>, policy: &str) {
    if let Some(other) = other
        && bound.as_ref().is_none_or(|(it, _)| other < *it)
    {
        *bound = Some((other, policy.to_owned()));
    }
}

/// Only taints of these keys may be tolerated from now on.
fn narrow(tolerations: &mut Vec<Toleration>, keys: &[String]) {
    let old = std::mem::take(tolerations);
    for it in old {
        if it.key.is_empty() {
            let of = |key: &String| Toleration { key: key.clone(), ..it.clone() };
            tolerations.extend(keys.iter().map(of));
        } else if keys.contains(&it.key) {
            tolerations.push(it);
        }
    }
}

fn objective(spec: &PlacementPolicySpec, problems: &mut Vec<Problem>) -> Objective {
    let objectives = spec.objectives.clone().unwrap_or_default();
    let mut money = |text: &Option<String>, field: &str, default: Money| {
        let field = format!("spec.objectives.{field}");
        dollars(text.as_deref(), &field, problems).unwrap_or(default)
    };
    let ms =
        money(&objectives.usd_per_ms_per_replica_hour, "usdPerMsPerReplicaHour", DEFAULT_PER_MS);
    let per_move = money(&objectives.usd_per_move, "usdPerMove", DEFAULT_PER_MOVE);
    let share = |it: Money, percent: u32| it.0.saturating_mul(i64::from(percent)) / 100;
    Objective {
        cost: i64::from(objectives.cost),
        per_ms: share(ms, objectives.latency),
        per_move: share(per_move, objectives.stickiness) / MOVE_HORIZON,
    }
}

fn points(spec: &PlacementPolicySpec, problems: &mut Vec<Problem>) -> Vec<(String, i64)> {
    let scores = spec.objectives.iter().flat_map(|it| &it.scores).enumerate();
    scores
        .filter_map(|(at, it)| {
            let field = format!("spec.objectives.scores[{at}].usdPerPoint");
            Some((it.name.clone(), dollars(Some(&it.usd_per_point), &field, problems)?.0))
        })
        .collect()
}

/// Rules over clusters become the bound on their number; the others stay.
fn spread(
    spec: &PlacementPolicySpec,
    max_clusters: &mut Option<(u32, String)>,
    name: &str,
) -> Vec<SpreadRule> {
    let count = |it: u32| usize::try_from(it).unwrap_or(usize::MAX);
    let mut rules = Vec::new();
    for it in &spec.spread {
        let hard = it.when_unsatisfiable != Some(WhenUnsatisfiable::ScheduleAnyway);
        let over_clusters = it.topology_key == "cluster";
        if over_clusters && hard {
            lower(max_clusters, it.max, name);
        }
        rules.push(SpreadRule {
            key: it.topology_key.clone(),
            min: it.min.map_or(0, count),
            max: it.max.map_or(usize::MAX, count),
            max_skew: it.max_skew.map(i64::from),
            hard,
        });
    }
    rules
}

fn identity(
    name: &str,
    namespace: Option<&str>,
    spec: &PlacementPolicySpec,
    limits: &[(&str, &Limits)],
) -> u64 {
    let content = serde_json::to_vec(&(name, namespace, spec, limits))
        .expect("policies are made of text, numbers and maps with text keys");
    let digest = Sha256::digest(content);
    let first: [u8; 8] = digest[..8].try_into().expect("a digest has 32 bytes");
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use federation_types::policy::{Affinity, Replicas, Weight};

    use super::*;

    fn workload(class: KindClass) -> Workload {
        Workload { class, replicas: Some(3), ..Workload::default() }
    }

    #[test]
    fn rule_3_4_the_kind_decides_where_the_mode_is_left_out() {
        let policy =
            CompiledPolicy::compile("p", None, &PlacementPolicySpec::default(), &[]).unwrap();
        let check = |class, mode| assert_eq!(policy.mode(&workload(class)), mode, "{class:?}");
        check(KindClass::Deployment, Mode::Duplicated);
        check(KindClass::DaemonSet, Mode::Duplicated);
        check(KindClass::Plain, Mode::Duplicated);
        check(KindClass::StatefulSet, Mode::One);
        check(KindClass::Job, Mode::One);
        check(KindClass::CronJob, Mode::One);
        check(KindClass::Pod, Mode::One);
    }

    #[test]
    fn rule_3_4_only_what_can_be_divided_is() {
        let replicas = Replicas { mode: Some(ReplicaMode::Divided), ..Replicas::default() };
        let spec = PlacementPolicySpec { replicas: Some(replicas), ..Default::default() };
        let policy = CompiledPolicy::compile("p", None, &spec, &[]).unwrap();
        let check = |it: &Workload, mode| assert_eq!(policy.mode(it), mode, "{:?}", it.class);
        check(&workload(KindClass::Deployment), Mode::Weighted);
        check(&workload(KindClass::Job), Mode::Weighted);
        check(&workload(KindClass::DaemonSet), Mode::Duplicated);
        check(&workload(KindClass::CronJob), Mode::One);
        let mut indexed = workload(KindClass::Job);
        indexed.job.indexed = true;
        check(&indexed, Mode::One);
    }

    #[test]
    fn a_bad_expression_names_its_field() {
        let bad = |text: &str| ClusterSelector {
            expressions: vec!["true".into(), text.into()],
            ..ClusterSelector::default()
        };
        let spec = PlacementPolicySpec {
            affinities: vec![Affinity {
                name: "eu".into(),
                clusters: bad("cluster.minor >="),
                ..Affinity::default()
            }],
            replicas: Some(Replicas {
                weights: vec![Weight { clusters: bad("x"), weight: 1 }],
                ..Replicas::default()
            }),
            ..Default::default()
        };
        let problems = CompiledPolicy::compile("p", None, &spec, &[]).unwrap_err();
        let fields: Vec<_> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.affinities[0].clusters.expressions[1]",
                "spec.replicas.weights[0].clusters.expressions[1]"
            ]
        );
    }

    #[test]
    fn rule_2_2_limits_narrow_and_name_their_policy() {
        let spec = PlacementPolicySpec {
            tolerations: vec![Toleration {
                operator: federation_types::policy::TolerationOperator::Exists,
                ..Toleration::default()
            }],
            ..Default::default()
        };
        let limits = |max, keys: &[&str]| Limits {
            max_clusters: Some(max),
            tolerations: Some(keys.iter().map(|it| (*it).to_owned()).collect()),
            ..Limits::default()
        };
        let (a, b) = (limits(5, &["spot", "gpu"]), limits(3, &["gpu"]));
        let policy = CompiledPolicy::compile("p", None, &spec, &[("a", &a), ("b", &b)]).unwrap();
        assert_eq!(policy.max_clusters, Some((3, "b".to_owned())));
        let keys: Vec<_> = policy.tolerations.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["gpu"]);
    }
}
