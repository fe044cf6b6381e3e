//! From what stands to what was decided: new copies first, then the old ones go (RULES 1.2).
//!
//! PURE. The outcome is a [`Draft`]: the clusters that are to hold copies, and the removals that still have to pass the
//! gate, each with its cause.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    placement::{
        CopyState, CopyStatus, Decision, PlacedCluster, PlacementSpec, PlacementStatus,
        RemovedCluster,
    },
    policy::OnDelete,
    reason::cause,
};

/// What was decided for a template, as far as clusters go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Sorted by name.
    pub clusters: BTreeMap<String, Option<i64>>,
    /// The revision to release.
    pub revision: String,
}

/// Why the decision differs from what stands: what the removals of this pass are put down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    PolicyChanged,
    ClusterChanged,
    ScaledDown,
    Failover,
    Failback,
    ClusterLeaving,
    /// An approved plan chose other clusters.
    Rebalanced,
    /// Nothing that needs it is there any more.
    UserGone,
}

impl Trigger {
    fn cause(self) -> &'static str {
        match self {
            Self::PolicyChanged => cause::POLICY_CHANGED,
            Self::ClusterChanged => cause::CLUSTER_CHANGED,
            Self::ScaledDown => cause::SCALED_DOWN,
            Self::Failover => cause::FAILOVER,
            Self::Failback => cause::FAILBACK,
            Self::ClusterLeaving => cause::CLUSTER_LEAVING,
            Self::Rebalanced => cause::REBALANCED,
            Self::UserGone => cause::USER_GONE,
        }
    }
}

/// What is to stand next, before the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    pub clusters: Vec<PlacedCluster>,
    /// Removals that passed the gate before and are not confirmed yet.
    pub removing: Vec<RemovedCluster>,
    /// Removals that ask the gate now: the cluster and its cause. Their copies stand in `clusters` too.
    pub asking: Vec<(String, String)>,
}

/// What the syncer last said of a template's copies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copies<'a> {
    /// Sorted by name.
    pub listed: &'a [CopyStatus],
    /// All that the syncer knew of, sorted by name: where many are listed, those that are ready are left out.
    pub known: &'a [Decision],
}

impl<'a> Copies<'a> {
    pub fn of(status: &'a PlacementStatus) -> Self {
        Self { listed: &status.clusters, known: &status.decisions }
    }

    /// Whether a copy is up in a revision.
    pub(crate) fn is_ready_in(&self, name: &str, replicas: Option<i64>, revision: &str) -> bool {
        let listed = self.find(name).map(|it| it.revision.as_str());
        self.is_ready(name, replicas) && listed.or_else(|| self.left_out(name)) == Some(revision)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&'a CopyStatus> {
        let at = self.listed.binary_search_by(|it| it.name.as_str().cmp(name)).ok()?;
        Some(&self.listed[at])
    }

    /// Whether a copy that is asked for with so many replicas is up.
    ///
    /// The generation that the status is of does not matter: every Placement that is written, be it for a message,
    /// would make each copy look unready for a moment.
    fn is_ready(&self, name: &str, replicas: Option<i64>) -> bool {
        self.find(name).map_or_else(
            || self.left_out(name).is_some(),
            |copy| {
                // An autoscaler in the member may well want fewer than were decided.
                let all = if copy.scaled_by.is_empty() { replicas } else { copy.replicas };
                let enough = all.zip(copy.ready_replicas).is_none_or(|(all, ready)| ready >= all);
                copy.state == CopyState::Ready && !copy.stale && enough
            },
        )
    }

    /// Whether it was up when its cluster last answered.
    fn was_ready(&self, name: &str) -> bool {
        self.find(name)
            .map_or_else(|| self.left_out(name).is_some(), |copy| copy.state == CopyState::Ready)
    }

    /// The revision in which a copy is ready that is not listed for it.
    fn left_out(&self, name: &str) -> Option<&'a str> {
        let at = self.known.binary_search_by(|it| it.cluster_name.as_str().cmp(name)).ok()?;
        Some(self.known[at].revision.as_str()).filter(|it| !it.is_empty())
    }
}

/// What the fleet says of the clusters that hold copies.
#[derive(Clone, Debug, Default)]
pub struct Standing<'a> {
    /// Clusters that do not answer: nothing is removed there until they do.
    pub dark: BTreeSet<&'a str>,
    /// Clusters that are not in the inventory (any more): held, and reported (RULES 1.2).
    pub gone: BTreeSet<&'a str>,
}

/// Goes from `previous` to `target`.
///
/// A cluster that the decision has left keeps its copy, marked `leaving`, until every cluster of the decision is ready;
/// a mere scale-down has no successor to wait for, nor has a copy in whose stead nothing is made: one of a duplicated
/// workload whose other copies stood there before, if some of them is up, and the last one of what runs nowhere any more.
pub fn draft(
    previous: &PlacementSpec,
    copies: Copies<'_>,
    target: &Target,
    trigger: &dyn Fn(&str) -> Trigger,
    standing: &Standing<'_>,
) -> Draft {
    let mut draft = Draft::default();
    let before: BTreeMap<&str, &PlacedCluster> =
        previous.clusters.iter().map(|it| (it.name.as_str(), it)).collect();
    for (name, replicas) in &target.clusters {
        let old = before.get(name.as_str());
        draft.clusters.push(PlacedCluster {
            name: name.clone(),
            replicas: *replicas,
            revision: target.revision.clone(),
            spot: old.is_some_and(|it| it.spot),
            ordinals_start: old.and_then(|it| it.ordinals_start),
            share: old.and_then(|it| it.share),
            leaving: String::new(),
            unreplaced: false,
            kept: old.is_some_and(|it| it.kept),
        });
    }
    draft.removing = previous
        .removing
        .iter()
        .filter(|it| !target.clusters.contains_key(&it.name))
        .cloned()
        .collect();
    let successors_ready = successors_ready(previous, copies, target, standing);
    let grows = grows(&before, target);
    let may_spare = target.clusters.is_empty()
        || target.clusters.iter().any(|(name, it)| copies.is_ready(name, *it));
    for old in &previous.clusters {
        if target.clusters.contains_key(&old.name) {
            continue;
        }
        if standing.gone.contains(old.name.as_str()) {
            // Held as it stands, and counted: a cluster that vanished from the inventory is not known to be dead.
            draft.clusters.push(old.clone());
            continue;
        }
        let cause = if old.leaving.is_empty() {
            trigger(&old.name).cause().to_owned()
        } else {
            old.leaving.clone()
        };
        let held = standing.dark.contains(old.name.as_str());
        let stays_so = old.leaving.is_empty() || old.unreplaced;
        let unreplaced = target.clusters.is_empty() || (!previous.divided && !grows && stays_so);
        let alone = cause == cause::SCALED_DOWN || cause == cause::USER_GONE;
        let may_go = alone || (unreplaced && may_spare) || successors_ready;
        if may_go && !held {
            draft.asking.push((old.name.clone(), cause.clone()));
        }
        draft.clusters.push(PlacedCluster { leaving: cause, unreplaced, ..old.clone() });
    }
    draft.clusters.sort_by(|a, b| a.name.cmp(&b.name));
    draft
}

/// Whether some cluster gets a copy by this decision, or more of it.
fn grows(before: &BTreeMap<&str, &PlacedCluster>, target: &Target) -> bool {
    target.clusters.iter().any(|(name, replicas)| {
        let old = before.get(name.as_str()).filter(|it| it.leaving.is_empty());
        old.is_none_or(|it| *replicas > it.replicas)
    })
}

/// Whether all that was decided is up. A copy on a cluster that went dark cannot be, and does not count against the
/// others if it was; at least one has to be seen up.
fn successors_ready(
    previous: &PlacementSpec,
    copies: Copies<'_>,
    target: &Target,
    standing: &Standing<'_>,
) -> bool {
    let mut up = 0;
    for (name, replicas) in &target.clusters {
        // What is only asked for by this decision was not made yet, whatever an old status says.
        let asked = previous
            .clusters
            .iter()
            .find(|it| it.name == *name)
            .is_some_and(|it| it.leaving.is_empty() && it.replicas == *replicas);
        if !asked {
            return false;
        }
        if copies.is_ready(name, *replicas) {
            up += 1;
        } else if !(standing.dark.contains(name.as_str()) && copies.was_ready(name)) {
            return false;
        }
    }
    up > 0
}

/// The template is being deleted: every copy asks to go.
pub fn farewell(previous: &PlacementSpec, standing: &Standing<'_>) -> Draft {
    let mut draft = Draft { removing: previous.removing.clone(), ..Draft::default() };
    for old in &previous.clusters {
        // A dark cluster's removal is recorded at once: it is the tombstone that outlives the template.
        if !standing.gone.contains(old.name.as_str()) {
            draft.asking.push((old.name.clone(), cause::TEMPLATE_DELETED.to_owned()));
        }
        let leaving = cause::TEMPLATE_DELETED.to_owned();
        draft.clusters.push(PlacedCluster { leaving, ..old.clone() });
    }
    draft
}

impl Draft {
    /// Carries out the removals that the gate let pass.
    pub fn settle(mut self, passed: &BTreeSet<String>, on_delete: OnDelete, now: &str) -> Self {
        for (name, cause) in &self.asking {
            if !passed.contains(name) {
                continue;
            }
            self.clusters.retain(|it| it.name != *name);
            self.removing.push(RemovedCluster {
                name: name.clone(),
                cause: cause.clone(),
                since: now.to_owned(),
                on_delete,
            });
        }
        self.asking.retain(|(name, _)| !passed.contains(name));
        self.removing.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }

    /// Drops the tombstones whose copies the syncer has seen gone.
    pub fn bury(&mut self, gone: &BTreeSet<String>) {
        self.removing.retain(|it| !gone.contains(&it.name));
    }
}

/// The clusters of `spec.removing` that the syncer has confirmed: it has observed this generation and lists no copy.
pub fn confirmed(
    spec: &PlacementSpec,
    generation: i64,
    observed_generation: Option<i64>,
    copies: &[CopyStatus],
) -> BTreeSet<String> {
    if observed_generation.is_none_or(|it| it < generation) {
        return BTreeSet::new();
    }
    let listed: BTreeSet<&str> = copies.iter().map(|it| it.name.as_str()).collect();
    spec.removing
        .iter()
        .map(|it| it.name.as_str())
        .filter(|name| !listed.contains(name))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(clusters: &str) -> PlacementSpec {
        let clusters = clusters
            .split_whitespace()
            .map(|it| {
                let (name, leaving) = it.split_once('!').unwrap_or((it, ""));
                PlacedCluster {
                    name: name.into(),
                    replicas: Some(2),
                    revision: "r1".into(),
                    leaving: leaving.into(),
                    ..PlacedCluster::default()
                }
            })
            .collect();
        PlacementSpec { clusters, ..PlacementSpec::default() }
    }

    fn target(clusters: &str) -> Target {
        Target {
            clusters: clusters.split_whitespace().map(|it| (it.to_owned(), Some(2))).collect(),
            revision: "r2".into(),
        }
    }

    fn ready(clusters: &str) -> Vec<CopyStatus> {
        let status = |name: &str| CopyStatus {
            name: name.into(),
            state: CopyState::Ready,
            ..CopyStatus::default()
        };
        clusters.split_whitespace().map(status).collect()
    }

    fn up(listed: &[CopyStatus]) -> Copies<'_> {
        Copies { listed, known: &[] }
    }

    fn show(draft: &Draft) -> String {
        let clusters: Vec<String> = draft
            .clusters
            .iter()
            .map(|it| match it.leaving.as_str() {
                "" => format!("{}@{}", it.name, it.revision),
                cause => format!("{}@{}!{cause}", it.name, it.revision),
            })
            .collect();
        let asking: Vec<&str> = draft.asking.iter().map(|(name, _)| name.as_str()).collect();
        let removing: Vec<&str> = draft.removing.iter().map(|it| it.name.as_str()).collect();
        format!(
            "{} | ask {} | removing {}",
            clusters.join(" "),
            asking.join(" "),
            removing.join(" ")
        )
    }

    #[test]
    fn rule_1_2_new_copies_are_ready_before_the_old_ones_go() {
        let because = |_: &str| Trigger::PolicyChanged;
        let standing = Standing::default();
        let first = draft(&spec("a"), up(&ready("a")), &target("b"), &because, &standing);
        assert_eq!(show(&first), "a@r1!PolicyChanged b@r2 | ask  | removing ");
        let then =
            draft(&spec("a!PolicyChanged b"), up(&ready("a b")), &target("b"), &because, &standing);
        assert_eq!(show(&then), "a@r1!PolicyChanged b@r2 | ask a | removing ");
        let settled = then.settle(&BTreeSet::from(["a".to_owned()]), OnDelete::Delete, "now");
        assert_eq!(show(&settled), "b@r2 | ask  | removing a");
    }

    #[test]
    fn rule_1_2_a_copy_that_only_now_is_to_grow_is_no_successor_yet() {
        let because = |_: &str| Trigger::PolicyChanged;
        let more = Target { clusters: [("b".to_owned(), Some(4))].into(), revision: "r2".into() };
        let copies = ready("a b");
        let drafted = draft(&spec("a b"), up(&copies), &more, &because, &Standing::default());
        assert_eq!(show(&drafted), "a@r1!PolicyChanged b@r2 | ask  | removing ");
        // Asked for, and not there yet: the status is still that of the two it had.
        let mut before = spec("a!PolicyChanged b");
        before.clusters[1].replicas = Some(4);
        let mut copies = copies;
        copies[1].ready_replicas = Some(2);
        let drafted = draft(&before, up(&copies), &more, &because, &Standing::default());
        assert_eq!(show(&drafted), "a@r1!PolicyChanged b@r2 | ask  | removing ");
        copies[1].ready_replicas = Some(4);
        let drafted = draft(&before, up(&copies), &more, &because, &Standing::default());
        assert_eq!(show(&drafted), "a@r1!PolicyChanged b@r2 | ask a | removing ");
    }

    #[test]
    fn a_copy_that_is_left_out_is_ready_in_the_revision_that_is_said_of_it() {
        let known = |name: &str, revision: &str| Decision {
            cluster_name: name.into(),
            revision: revision.into(),
        };
        let known = [known("a", "r1"), known("b", "")];
        let copies = Copies { listed: &[], known: &known };
        assert!(copies.is_ready_in("a", Some(2), "r1"));
        assert!(!copies.is_ready_in("a", Some(2), "r2"), "no member has seen it");
        assert!(!copies.is_ready_in("b", Some(2), ""), "nobody knows");
        assert!(!copies.is_ready_in("c", Some(2), "r1"));
    }

    #[test]
    fn rule_4_5_a_copy_that_an_autoscaler_keeps_small_is_ready_with_what_it_wants() {
        let because = |_: &str| Trigger::PolicyChanged;
        let mut copies = ready("a b");
        (copies[1].replicas, copies[1].ready_replicas) = (Some(1), Some(1));
        let before = spec("a!PolicyChanged b");
        let standing = Standing::default();
        let drafted = draft(&before, up(&copies), &target("b"), &because, &standing);
        assert_eq!(show(&drafted), "a@r1!PolicyChanged b@r2 | ask  | removing ");
        copies[1].scaled_by = "kube-controller-manager".into();
        let drafted = draft(&before, up(&copies), &target("b"), &because, &standing);
        assert_eq!(show(&drafted), "a@r1!PolicyChanged b@r2 | ask a | removing ");
    }

    #[test]
    fn a_dark_cluster_of_the_decision_does_not_keep_the_others_from_being_tidied() {
        let because = |_: &str| Trigger::PolicyChanged;
        let standing = Standing { dark: BTreeSet::from(["c"]), ..Standing::default() };
        let mut copies = ready("a b c");
        copies[2].stale = true;
        let before = spec("a!PolicyChanged b c");
        let drafted = draft(&before, up(&copies), &target("b c"), &because, &standing);
        assert_eq!(show(&drafted), "a@r1!PolicyChanged b@r2 c@r2 | ask a | removing ");
    }

    #[test]
    fn rule_1_2_a_duplicated_copy_in_whose_stead_nothing_is_made_waits_for_no_other() {
        let because = |_: &str| Trigger::ClusterChanged;
        let standing = Standing { dark: BTreeSet::from(["c"]), ..Standing::default() };
        // c does not answer, and has nothing to do with a.
        let first = draft(&spec("a b c"), up(&ready("a b")), &target("b c"), &because, &standing);
        assert_eq!(show(&first), "a@r1!ClusterChanged b@r2 c@r2 | ask a | removing ");
        // Were it the only one that is up, it would wait.
        let alone = draft(&spec("a b c"), up(&ready("a")), &target("b c"), &because, &standing);
        assert_eq!(show(&alone), "a@r1!ClusterChanged b@r2 c@r2 | ask  | removing ");
        // Held by the gate it asks again; once something new is decided for it, it waits for that.
        let held = first.settle(&BTreeSet::new(), OnDelete::Delete, "now");
        let before = PlacementSpec { clusters: held.clusters, ..PlacementSpec::default() };
        let again = draft(&before, up(&ready("a b")), &target("b c"), &because, &standing);
        assert_eq!(show(&again), "a@r1!ClusterChanged b@r2 c@r2 | ask a | removing ");
        let more = draft(&before, up(&ready("a b")), &target("b c d"), &because, &standing);
        assert_eq!(show(&more), "a@r1!ClusterChanged b@r2 c@r2 d@r2 | ask  | removing ");
        // Parts of a divided workload stand in for each other.
        let divided = PlacementSpec { divided: true, ..spec("a b c") };
        let parts = draft(&divided, up(&ready("a b")), &target("b c"), &because, &standing);
        assert_eq!(show(&parts), "a@r1!ClusterChanged b@r2 c@r2 | ask  | removing ");
    }

    #[test]
    fn a_scale_down_has_no_successor_to_wait_for() {
        let because = |_: &str| Trigger::ScaledDown;
        let drafted = draft(&spec("a b"), up(&[]), &target("a"), &because, &Standing::default());
        assert_eq!(show(&drafted), "a@r2 b@r1!ScaledDown | ask b | removing ");
    }

    #[test]
    fn rule_1_2_a_cluster_gone_from_the_inventory_is_held() {
        let because = |_: &str| Trigger::ClusterChanged;
        let standing = Standing { gone: BTreeSet::from(["a"]), ..Standing::default() };
        let drafted = draft(&spec("a b"), up(&ready("b")), &target("b"), &because, &standing);
        assert_eq!(show(&drafted), "a@r1 b@r2 | ask  | removing ");
    }

    #[test]
    fn rule_1_4_removals_from_a_dark_cluster_are_held_and_its_replacement_is_made_at_once() {
        let because = |_: &str| Trigger::Failover;
        let standing = Standing { dark: BTreeSet::from(["a"]), ..Standing::default() };
        let drafted = draft(&spec("a"), up(&[]), &target("c"), &because, &standing);
        assert_eq!(show(&drafted), "a@r1!Failover c@r2 | ask  | removing ");
    }

    #[test]
    fn a_cluster_that_is_wanted_again_is_not_removed() {
        let mut previous = spec("b");
        previous.removing.push(RemovedCluster { name: "a".into(), ..RemovedCluster::default() });
        let because = |_: &str| Trigger::PolicyChanged;
        let drafted = draft(&previous, up(&[]), &target("a b"), &because, &Standing::default());
        assert_eq!(show(&drafted), "a@r2 b@r2 | ask  | removing ");
    }

    #[test]
    fn rule_4_3_a_tombstone_stays_until_the_copy_is_seen_gone() {
        let mut previous = spec("b");
        previous.removing.push(RemovedCluster { name: "a".into(), ..RemovedCluster::default() });
        assert!(confirmed(&previous, 3, Some(2), &ready("b")).is_empty());
        assert!(confirmed(&previous, 3, Some(3), &ready("a b")).is_empty());
        assert_eq!(confirmed(&previous, 3, Some(3), &ready("b")), BTreeSet::from(["a".to_owned()]));
    }

    #[test]
    fn a_deleted_template_asks_to_remove_every_copy() {
        let drafted = farewell(&spec("a b"), &Standing::default());
        assert_eq!(
            show(&drafted),
            "a@r1!TemplateDeleted b@r1!TemplateDeleted | ask a b | removing "
        );
    }
}
