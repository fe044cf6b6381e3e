//! One decision: on which clusters a workload runs, with how many replicas, and one rule for each cluster.

use federation_types::{money::Money, placement::PlacementSpec, reason::placed, words};

use crate::{
    attempt::{Attempt, Pass, Scope},
    cost::{Estimate, estimate},
    fleet::{ClusterId, Fleet},
    policy::{CompiledPolicy, Mode},
    report::{Report, Rule},
    room::{self, Room},
    settle, spot,
    workload::{KindClass, Workload},
};

/// One cluster of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub cluster: ClusterId,
    /// `None` for kinds without replicas.
    pub replicas: Option<i64>,
}

/// A cluster that holds a copy by the decision before.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PreviousCluster {
    pub name: String,
    #[serde(default)]
    pub replicas: Option<i64>,
    /// Its copy is pinned to spot nodes.
    #[serde(default)]
    pub spot: bool,
}

/// The decision before: what stays unless something forces it out (RULES 3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Previous {
    /// Sorted by name.
    pub clusters: Vec<PreviousCluster>,
    /// The affinity group that was chosen.
    pub affinity: String,
    pub divided: bool,
    /// It may return to a preferred affinity group: one could hold all of it for long enough (RULES 3.5).
    pub returns: bool,
}

impl From<&PlacementSpec> for Previous {
    fn from(spec: &PlacementSpec) -> Self {
        let of = |it: &federation_types::placement::PlacedCluster| PreviousCluster {
            name: it.name.clone(),
            replicas: it.replicas,
            spot: it.spot,
        };
        let mut clusters: Vec<_> = spec.clusters.iter().map(of).collect();
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        Self { clusters, affinity: spec.affinity.clone(), divided: spec.divided, returns: false }
    }
}

/// How a decision came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As the policy wants it.
    Placed,
    /// What fits is placed: by `partial: Allow`, or because taking away never waits for room.
    Partial {
        missing: i64,
        /// Every chosen cluster has so many, and may have no more.
        most: Option<i64>,
    },
    /// Every cluster is refused by some rule.
    NoClusterFits,
    NotEnoughRoom {
        missing: i64,
    },
    /// Fewer domains than the spread asks for.
    Spread {
        key: String,
        min: usize,
        found: usize,
    },
    /// The chosen domains cannot be kept as level as `maxSkew` asks for.
    Skew {
        key: String,
        max: i64,
    },
    /// `replicas < clusters × perCluster` (RULES 3.3).
    TooFewReplicas {
        replicas: i64,
        clusters: usize,
        per_cluster: i64,
    },
    OverBudget {
        estimate: Estimate,
        max: Money,
        policy: String,
    },
    OverReplicas {
        replicas: i64,
        max: i64,
        policy: String,
    },
    /// Less than all is to run on spot nodes, and there is one copy only (RULES 5.6).
    SpotNeedsTwo {
        percent: u32,
    },
    /// The policy is suspended: nothing new is decided.
    Suspended,
    /// The rule for its kind could not be followed on the template: nothing is decided.
    Unreadable {
        why: String,
    },
}

impl Outcome {
    /// Whether the decision is what was asked for.
    pub fn is_placed(&self) -> bool {
        matches!(self, Self::Placed)
    }

    /// The reason for the condition `Placed`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Placed => placed::PLACED,
            Self::NoClusterFits | Self::Spread { .. } | Self::Skew { .. } => {
                placed::NO_CLUSTER_FITS
            }
            Self::Partial { .. } | Self::NotEnoughRoom { .. } => placed::NOT_ENOUGH_ROOM,
            Self::TooFewReplicas { .. } | Self::OverReplicas { .. } => placed::INVALID,
            Self::Unreadable { .. } => placed::UNREADABLE,
            Self::OverBudget { .. } => placed::OVER_COST,
            Self::SpotNeedsTwo { .. } => placed::SPOT_NEEDS_TWO,
            Self::Suspended => placed::SUSPENDED,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Placed => f.write_str("placed"),
            Self::Partial { missing, most } => {
                let missing = words::counted(*missing, "replica finds", "replicas find");
                match most {
                    Some(most) => write!(
                        f,
                        "{missing} no place, as no cluster may have more than {most}; the others are placed"
                    ),
                    None => write!(f, "{missing} no room; the others are placed"),
                }
            }
            Self::NoClusterFits => f.write_str("no cluster passes the rules of the policy"),
            Self::NotEnoughRoom { missing: 1 } => f.write_str("there is no room for 1 replica"),
            Self::NotEnoughRoom { missing } => write!(f, "there is no room for {missing} replicas"),
            Self::Spread { key, min, found } => {
                write!(f, "the spread over {key} needs {min}, and {found} can be had")
            }
            Self::Skew { key, max } => {
                write!(f, "the replicas cannot be kept within maxSkew {max} over {key}")
            }
            Self::TooFewReplicas { replicas, clusters, per_cluster } => write!(
                f,
                "{} fewer than {clusters} clusters × {per_cluster} each = {}",
                words::counted(*replicas, "replica is", "replicas are"),
                i64::try_from(*clusters).unwrap_or(i64::MAX).saturating_mul(*per_cluster)
            ),
            Self::OverBudget { estimate, max, policy } => {
                write!(f, "{estimate} a month is over the {max} that {policy} allows")
            }
            Self::OverReplicas { replicas, max, policy } => {
                write!(f, "{replicas} replicas are over the {max} that {policy} allows")
            }
            Self::SpotNeedsTwo { percent } => write!(
                f,
                "{percent} % on spot nodes needs two copies at least: a copy is on spot nodes as a whole"
            ),
            Self::Suspended => f.write_str("the policy is suspended"),
            Self::Unreadable { why } => f.write_str(why),
        }
    }
}

/// Where a workload stands on the way back to a preferred affinity group, where its policy wants it back (RULES 3.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failback {
    /// It is where it is preferred, or stays where it is.
    #[default]
    None,
    /// It is elsewhere, and no preferred group could hold all of it.
    Away,
    /// A preferred group could hold all of it.
    Possible,
    /// It returns by this decision.
    Returned,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// By cluster number, which is by name. Where nothing could be decided: what was before.
    pub clusters: Vec<Placed>,
    /// Held by clusters that the inventory no longer has: reported, and counted (RULES 1.2).
    pub absent: Vec<PreviousCluster>,
    /// The affinity group, see [`CompiledPolicy::affinity_name`].
    pub affinity: Option<usize>,
    pub divided: bool,
    pub failback: Failback,
    pub outcome: Outcome,
    /// Above 512 replicas, Cheapest may be so many µ$/h off the least cost.
    pub gap: i64,
    /// Of the clusters: those whose copies are pinned to spot nodes, in their order.
    pub spot: Vec<ClusterId>,
    pub report: Report,
}

impl Decision {
    /// Replicas over all clusters.
    pub fn replicas(&self) -> i64 {
        self.clusters.iter().filter_map(|it| it.replicas).sum()
    }

    /// What is to be said of replicas that a limit finds running and does not allow: they stay, and none is added.
    pub fn over_limit(&self, policy: &CompiledPolicy) -> Option<String> {
        let (max, from) = policy.max_replicas.as_ref()?;
        let runs = self.replicas();
        (self.outcome.is_placed() && runs > i64::from(*max)).then(|| {
            format!("{runs} replicas run, over the {max} that {from} allows: none is added until there are fewer")
        })
    }

    /// The allocated estimate per month.
    pub fn estimate(
        &self,
        fleet: &Fleet,
        workload: &Workload,
        policy: &CompiledPolicy,
    ) -> Estimate {
        estimate(fleet, workload, policy, &self.clusters, &self.spot)
    }
}

/// Decides for one workload, and takes the room for what it adds.
///
/// What runs stays where it is unless a rule refuses its cluster; where nothing can be decided, the decision before
/// stands (RULES 1.2, 3.2, 3.3).
pub fn place(
    fleet: &Fleet,
    room: &mut Room,
    workload: &Workload,
    policy: &CompiledPolicy,
    previous: &Previous,
) -> Decision {
    let masks = room.masks(fleet, policy);
    let mut need = std::mem::take(&mut room.need);
    let mut scratch = std::mem::take(&mut room.scratch);
    need.read(fleet, workload, policy.all_on_spot());
    let mode = policy.mode(workload);
    scratch.held.clear();
    let mut absent = Vec::new();
    for it in &previous.clusters {
        match fleet.id(&it.name) {
            Some(id) => scratch.held.push((id.0, it.replicas.unwrap_or(0))),
            None => absent.push(it.clone()),
        }
    }
    scratch.held.sort_unstable();
    let parts = room::parts(fleet, workload);
    let on_spot = previous.clusters.iter().filter(|it| it.spot);
    let mut pass = Pass {
        fleet,
        room,
        workload,
        policy,
        masks: &masks,
        need: &need,
        parts: &parts,
        mode,
        scratch: &mut scratch,
        rules: Vec::new(),
        absent: absent.iter().filter_map(|it| it.replicas).sum(),
        elastic: false,
        partial: false,
        scope: Scope::default(),
        gap: 0,
        on_spot: on_spot.filter_map(|it| Some(fleet.id(&it.name)?.0)).collect(),
        pins: None,
    };
    let Decided { affinity, failback, result } = decide(&mut pass, previous);
    let Pass { rules, gap, pins, .. } = pass;
    let mut report = Report { rules };
    let (clusters, outcome) = match result {
        Ok(attempt) => {
            let most = policy.max_per_cluster();
            let full = !attempt.clusters.is_empty()
                && attempt.clusters.iter().all(|it| it.replicas >= Some(most));
            let outcome = match attempt.missing {
                0 => Outcome::Placed,
                missing => Outcome::Partial { missing, most: full.then_some(most) },
            };
            (attempt.clusters, outcome)
        }
        Err(outcome) => {
            // What could not be decided adds nothing anywhere; what is too much goes.
            let read = !matches!(outcome, Outcome::Unreadable { .. });
            let asked =
                read && !matches!(outcome, Outcome::Suspended | Outcome::TooFewReplicas { .. });
            if asked
                && mode.divides()
                && let Some(all) = workload.replicas
            {
                let absent: i64 = absent.iter().filter_map(|it| it.replicas).sum();
                settle::take_away(&mut scratch.held, all - absent, policy.min_per_cluster());
            }
            let suspended = outcome == Outcome::Suspended;
            let kept = |id: u32, held: i64, all: i64| match previous_of(fleet, previous, id) {
                // Held before anybody knew that it has replicas.
                Some(it) if it.replicas.is_none() => all,
                _ if mode.divides() || suspended => held,
                _ => held.min(all),
            };
            let clusters = scratch
                .held
                .iter()
                .map(|(id, held)| Placed {
                    cluster: ClusterId(*id),
                    replicas: match workload.replicas {
                        Some(all) => Some(kept(*id, *held, all)),
                        None if read => None,
                        None => previous_of(fleet, previous, *id).and_then(|it| it.replicas),
                    },
                })
                .collect();
            (clusters, outcome)
        }
    };
    for it in &clusters {
        if let Some(rule) = report.rules.get_mut(it.cluster.at())
            && (outcome.is_placed() || rule.eligible())
        {
            *rule = Rule::Chosen;
        }
    }
    if matches!(outcome, Outcome::Spread { .. }) {
        // What is eligible is so in vain: no cheaper one has kept it out, but domains that are missing.
        let eligible = |it: &&mut Rule| matches!(it, Rule::NotNeeded | Rule::Dearer);
        report.rules.iter_mut().filter(eligible).for_each(|it| *it = Rule::Spread);
    }
    let spot = if matches!(outcome, Outcome::Placed | Outcome::Partial { .. }) {
        let decided =
            pins.filter(|it| it.iter().all(|id| clusters.iter().any(|it| it.cluster == *id)));
        decided.unwrap_or_else(|| spot::pins(fleet, room, workload, policy, previous, &clusters))
    } else {
        let was =
            |id: ClusterId| previous.clusters.iter().any(|it| it.spot && fleet.name(id) == it.name);
        clusters.iter().map(|it| it.cluster).filter(|it| was(*it)).collect()
    };
    if workload.has_pods() {
        for it in &clusters {
            let held = scratch.held.binary_search_by_key(&it.cluster.0, |held| held.0);
            let before = held.map_or(0, |at| match scratch.held[at].1 {
                0 => {
                    if workload.replicas.is_none() {
                        workload.pods()
                    } else {
                        0
                    }
                }
                before => before,
            });
            let grows = it.replicas.unwrap_or_else(|| workload.pods()) - before;
            if grows > 0 && parts.is_empty() {
                if spot.contains(&it.cluster) && !policy.all_on_spot() {
                    let mut pinned = room::Need::default();
                    pinned.read(fleet, workload, true);
                    room.take(it.cluster, &pinned, grows);
                } else {
                    room.take(it.cluster, &need, grows);
                }
            }
            for (need, each) in parts.iter().filter(|_| grows > 0) {
                room.take(it.cluster, need, *each);
            }
        }
    }
    room.need = need;
    room.scratch = scratch;
    let divided = mode.divides();
    Decision { clusters, absent, affinity, divided, failback, outcome, gap, spot, report }
}

/// What the affinity groups gave.
struct Decided {
    affinity: Option<usize>,
    failback: Failback,
    result: Result<Attempt, Outcome>,
}

/// Tries the affinity groups in their order: the first that fits wins, and one that was chosen stays while it holds
/// anything (RULES 3.3: growth that finds no room waits), unless it is time to return (RULES 3.5).
/// What a cluster held before.
fn previous_of<'a>(fleet: &Fleet, previous: &'a Previous, id: u32) -> Option<&'a PreviousCluster> {
    let name = fleet.name(ClusterId(id));
    previous.clusters.iter().find(|it| it.name == name)
}

fn decide(pass: &mut Pass<'_>, previous: &Previous) -> Decided {
    let groups = pass.policy.groups.len();
    let current = (!pass.scratch.held.is_empty())
        .then(|| pass.policy.groups.iter().position(|it| it.label == previous.affinity))
        .flatten();
    let decided = |affinity, result| Decided { affinity, failback: Failback::None, result };
    let started = pass.workload.class == KindClass::Job && pass.workload.job.started;
    // Where its copies are no longer the hub's, none is made in their stead (RULES 3.4).
    let unreadable = !pass.workload.unreadable.is_empty();
    if pass.policy.spec.suspend || started || unreadable {
        let at = current.unwrap_or(0);
        pass.rules = pass.masks.groups[at].rules.clone();
        if unreadable {
            let why = pass.workload.unreadable.clone();
            return decided(current, Err(Outcome::Unreadable { why }));
        }
        if pass.policy.spec.suspend {
            return decided(current, Err(Outcome::Suspended));
        }
        let same = |(id, held): &(u32, i64)| Placed {
            cluster: ClusterId(*id),
            replicas: pass
                .workload
                .replicas
                .map(|all| if pass.mode == Mode::One { all } else { *held }),
        };
        let clusters = pass.scratch.held.iter().map(same).collect();
        return decided(current, Ok(Attempt { clusters, missing: 0 }));
    }
    let preferred = current.and_then(|group| pass.preferred(group));
    if let Some((group, attempt)) = preferred.clone().filter(|_| previous.returns) {
        pass.takes_all(group);
        return Decided {
            affinity: Some(group),
            failback: Failback::Returned,
            result: Ok(attempt),
        };
    }
    let (affinity, result) = first_that_fits(pass, current, groups);
    let failback = match (&preferred, affinity, &result) {
        (Some(_), ..) => Failback::Possible,
        (None, Some(group), Ok(attempt)) if pass.is_away(group, &attempt.clusters) => {
            Failback::Away
        }
        (None, Some(group), Err(_)) if group > 0 && pass.policy.fails_back() => Failback::Away,
        _ => Failback::None,
    };
    Decided { affinity, failback, result }
}

fn first_that_fits(
    pass: &mut Pass<'_>,
    current: Option<usize>,
    groups: usize,
) -> (Option<usize>, Result<Attempt, Outcome>) {
    let mut first_error = None;
    if let Some(group) = current {
        match pass.try_group(group) {
            Ok(attempt) => return (current, Ok(attempt)),
            Err(outcome) => {
                pass.scope = pass.chain(group);
                let holds = pass.scratch.held.iter().any(|(id, _)| pass.keeps(*id));
                if holds {
                    // Taking away never waits for room, and what fits may be enough: whichever runs more.
                    let tries = [pass.try_less(group), pass.try_partly(group)];
                    let best = tries.into_iter().flatten().min_by_key(|it| it.missing);
                    return (current, best.ok_or(outcome));
                }
                first_error = Some((group, outcome));
            }
        }
    }
    for group in (0..groups).filter(|it| Some(*it) != current) {
        match pass.try_group(group) {
            Ok(attempt) => return (Some(group), Ok(attempt)),
            Err(outcome) => {
                if first_error.is_none() {
                    first_error = Some((group, outcome));
                }
            }
        }
    }
    for group in 0..groups {
        if let Some(attempt) = pass.try_partly(group) {
            return (Some(group), Ok(attempt));
        }
    }
    let (group, outcome) = first_error.expect("a policy has at least one group");
    if groups > 1 {
        // The report is that of the group the error is about.
        let again = pass.try_group(group);
        debug_assert!(again.is_err(), "the same attempt fails again");
    }
    (current, Err(outcome))
}
