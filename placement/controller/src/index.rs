//! What the controller knows: one synchronous index, fed by watches, asked by passes.
//!
//! An event changes the index and names the templates that must be looked at again; a pass takes a name and reads the
//! rest from here. What changed is never an input of a pass, so a restart, a resync and a burst take the same path.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    cluster::{ClusterSet, MemberCluster},
    names::{COPIES_FINALIZER, Gvk, ObjectKey, SmolStr},
    placement::{PlacementSpec, PlacementStatus},
    price::PriceBook,
    score::ClusterScore,
    selector::TemplateSelector,
};
use placement_engine::{dependencies, workload::Workload};

use crate::{
    approval::Approvals,
    bounds::{self, Bounds},
    claim::{Claim, Facts, Override, Policy, claim, overrides},
    failback::Returning,
    follow::{Follow, follows},
    gate::Budget,
    members::Fleet,
    override_status,
    reading::Reading,
    release::Rollouts,
    settling::Settling,
    spending::Spending,
};

/// Names a template without its version: one kind is watched in one version, whichever a policy wrote.
pub fn template_key(gvk: &Gvk, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        gvk: Gvk { version: SmolStr::default(), ..gvk.clone() },
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// A template, as far as decisions need it.
#[derive(Clone, Debug)]
pub struct Template {
    pub api_version: String,
    pub uid: String,
    pub generation: i64,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    pub secret_type: String,
    pub deleting: bool,
    pub finalizers: Vec<String>,
    /// The move that somebody approved: the value of [`federation_types::names::APPROVED_ANNOTATION`].
    pub approved: String,
    /// What the user wrote, as JSON text: compact, and hashed as it stands.
    pub content: Box<str>,
    pub workload: Workload,
    /// What a HPA or a PodDisruptionBudget bounds.
    pub bounds: Option<Bounds>,
}

/// A Placement, as it stands in the hub.
#[derive(Clone, Debug)]
pub struct Placed {
    pub name: String,
    pub uid: String,
    pub generation: i64,
    pub resource_version: String,
    pub spec: PlacementSpec,
    pub status: PlacementStatus,
}

impl Placed {
    /// Whether the template still has copies, or tombstones of some.
    pub fn holds_copies(&self) -> bool {
        !self.spec.clusters.is_empty() || !self.spec.removing.is_empty()
    }

    /// Copies that are on their way out.
    fn leaving(&self) -> i64 {
        count(self.spec.clusters.iter().filter(|it| !it.leaving.is_empty()).count())
    }

    /// Its next step depends on what the syncer says of its copies.
    fn moves(&self) -> bool {
        !self.spec.removing.is_empty() || self.leaving() > 0 || self.spec.rollout.is_some()
    }

    /// It waits for what others may give back. A rollout does not: it waits for its copies, for time and for people.
    fn unsettled(&self) -> bool {
        !self.spec.removing.is_empty() || self.leaving() > 0 || self.spec.outcome.status != "True"
    }

    fn kind(&self) -> (KindKey, String) {
        let gvk = Gvk::new(&self.spec.template.api_version, &self.spec.template.kind);
        ((gvk.group, gvk.kind), gvk.version.to_string())
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A kind that some policy selects or some Placement names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindState {
    /// The version asked for first.
    pub version: String,
    /// The first complete list has arrived: only then does a missing template mean a deleted one.
    pub synced: bool,
    /// The hub does not serve it (any more): its Placements are held.
    pub missing: bool,
}

/// A key of the index's kinds: group and kind.
pub type KindKey = (SmolStr, SmolStr);

#[derive(Clone, Debug, Default)]
pub struct Index {
    /// By namespace (empty for cluster policies) and name.
    pub policies: BTreeMap<(String, String), Arc<Policy>>,
    pub overrides: BTreeMap<(String, String), Arc<Override>>,
    pub clusters: BTreeMap<String, Arc<MemberCluster>>,
    /// Which of the clusters answer.
    pub(crate) fleet: Fleet,
    /// Their status is due, though nothing may be decided: a policy that matches nothing is told so too (RULES 2.6).
    pub(crate) policies_changed: bool,
    pub sets: BTreeMap<String, Arc<ClusterSet>>,
    pub books: BTreeMap<String, Arc<PriceBook>>,
    pub budgets: BTreeMap<String, Budget>,
    /// Cost budgets, and what their scopes cost.
    pub(crate) spending: Spending,
    /// Scores of clusters by the names of their objects.
    pub(crate) scores: BTreeMap<String, Arc<ClusterScore>>,
    /// When scores were last looked at for whether they have ended.
    pub(crate) scores_seen: i64,
    pub kinds: BTreeMap<KindKey, KindState>,
    pub templates: BTreeMap<ObjectKey, Arc<Template>>,
    pub placements: BTreeMap<ObjectKey, Arc<Placed>>,
    /// By namespace and name of the Placement: the template it decides on.
    placement_names: BTreeMap<(SmolStr, SmolStr), ObjectKey>,
    /// The revisions that exist, by namespace and name of their Placement, oldest first: version and hash.
    pub revisions: BTreeMap<(SmolStr, SmolStr), Vec<(u64, String)>>,
    /// The templates to be looked at again.
    pub dirty: BTreeSet<ObjectKey>,
    /// Grows when the fleet's snapshot has to be built anew.
    pub fleet_version: u64,
    /// Grows when only room has moved: the snapshot may be built anew a little later.
    pub room_version: u64,
    /// Copies in the whole fleet, kept as Placements change.
    pub copies: i64,
    /// Of these, how many are on their way out.
    pub leaving: i64,
    /// Room that decisions held was given back: what waits is to be looked at once more.
    freed: bool,
    /// Placements that wait: for a cluster, for room, for the gate, for their copies.
    unsettled: BTreeSet<ObjectKey>,
    /// What Placements being written give to clusters: room that is spoken for.
    pub(crate) in_flight: BTreeMap<ObjectKey, Vec<(String, Option<i64>)>>,
    /// What copies grew by, as long as the room of their members may not count it.
    pub(crate) settling: Settling,
    /// Not looked at while the hub presumes that it is cut off.
    pub(crate) held_back: BTreeSet<ObjectKey>,
    /// Approved moves that found no room yet.
    pub(crate) postponed: BTreeSet<ObjectKey>,
    /// Removals that wait for a budget's next window.
    pub(crate) over_budget: BTreeSet<ObjectKey>,
    /// Namespaces in which templates moved or have other labels.
    pub(crate) moved_in: BTreeSet<String>,
    /// What is elsewhere than its policy prefers.
    pub(crate) returning: Returning,
    /// By which policy, with its limits, each template was last decided: tells an edit of it from a change of a cluster.
    pub(crate) decided: BTreeMap<ObjectKey, u64>,
    /// How many Placements came out how, by reason.
    pub(crate) outcomes: BTreeMap<String, i64>,
    /// The kinds that Placements name: how many of them, and in which version.
    placed_kinds: BTreeMap<KindKey, (usize, String)>,
    /// Which templates follow which.
    pub(crate) follow: Follow,
    /// The kinds to watch may have changed.
    pub(crate) kinds_changed: bool,
    /// How custom kinds are read.
    pub(crate) reading: Reading,
    /// Which moves of bound kinds are approved (RULES 3.4).
    pub(crate) approvals: Approvals,
    /// Strategies and rollouts.
    pub(crate) rollouts: Rollouts,
    /// Override policies, or what could not be rendered with them, may have changed.
    pub(crate) renders_changed: bool,
}

impl Index {
    pub fn facts<'a>(key: &'a ObjectKey, template: &'a Template) -> Facts<'a> {
        Facts { key, labels: &template.labels, secret_type: &template.secret_type }
    }

    pub fn claim(&self, key: &ObjectKey, template: &Template) -> Claim {
        let mut claim = claim(&Self::facts(key, template), self.policies.values());
        if claim.winner.is_none() {
            self.follow_claim(key, template, &mut claim);
        }
        claim
    }

    pub fn override_rules(
        &self,
        key: &ObjectKey,
        template: &Template,
    ) -> Vec<federation_types::revision::NamedRule> {
        overrides(&Self::facts(key, template), self.overrides.values())
    }

    pub fn set_policy(&mut self, id: (String, String), policy: Option<Policy>) {
        let policy = policy.map(Arc::new);
        let old = match &policy {
            Some(new) => self.policies.insert(id, Arc::clone(new)),
            None => self.policies.remove(&id),
        };
        if old.as_ref().zip(policy.as_ref()).is_some_and(|(a, b)| a == b) {
            return;
        }
        self.kinds_changed = true;
        let timed =
            |it: &Arc<Policy>| it.spec.tolerations.iter().any(|it| it.toleration_seconds.is_some());
        if policy.as_ref().is_some_and(timed) {
            // Another time may have come for it than for those before.
            self.fleet_version += 1;
        }
        self.policies_changed = true;
        if let Some(following) = old.iter().chain(&policy).find(|it| follows(it)) {
            self.touch_following(following);
        }
        let spec = |it: &Arc<Policy>| it.spec.selectors.clone();
        let mut selectors: Vec<TemplateSelector> = old.iter().flat_map(&spec).collect();
        selectors.extend(policy.iter().flat_map(&spec));
        self.touch_selected(&selectors);
    }

    pub fn set_override(&mut self, id: (String, String), policy: Option<Override>) {
        let policy = policy.map(Arc::new);
        let old = match &policy {
            Some(new) => self.overrides.insert(id, Arc::clone(new)),
            None => self.overrides.remove(&id),
        };
        if old.as_ref().zip(policy.as_ref()).is_some_and(|(a, b)| a == b) {
            return;
        }
        self.renders_changed = true;
        self.policies_changed = true;
        let spec = |it: &Arc<Override>| it.spec.selectors.clone();
        let mut selectors: Vec<TemplateSelector> = old.iter().flat_map(&spec).collect();
        selectors.extend(policy.iter().flat_map(&spec));
        self.touch_selected(&selectors);
    }

    pub fn set_template(&mut self, key: ObjectKey, template: Option<Arc<Template>>) {
        match template {
            Some(mut new) => {
                if let Some(old) = self.templates.get(&key)
                    && !new.workload.unreadable.is_empty()
                {
                    Arc::make_mut(&mut new).workload.remember(&old.workload);
                }
                let old = self.templates.insert(key.clone(), Arc::clone(&new));
                if old.as_ref().is_some_and(|old| old.labels != new.labels) {
                    self.moved_in.insert(key.namespace.to_string());
                }
                if old.as_ref().is_none_or(|old| old.deleting != new.deleting) {
                    self.touch_followed(&key);
                }
                let same = old.is_some_and(|old| {
                    old.uid == new.uid
                        && old.content == new.content
                        && old.labels == new.labels
                        && old.deleting == new.deleting
                        && old.finalizers == new.finalizers
                        && old.approved == new.approved
                        && old.generation == new.generation
                        && old.workload.job == new.workload.job
                });
                if !same {
                    self.dirty.extend(bounds::bounding(self, &key));
                    self.dirty.insert(key);
                }
            }
            None => {
                if self.templates.remove(&key).is_some() {
                    self.decided.remove(&key);
                    self.forget_failback(&key);
                    self.moved_in.insert(key.namespace.to_string());
                    self.touch_followed(&key);
                    self.dirty.insert(key);
                }
            }
        }
    }

    /// A Placement as a watch delivers it; an older one than is known is not listened to.
    pub fn set_placement(&mut self, key: ObjectKey, placed: Option<Placed>) {
        let old = self.placements.get(&key);
        let Some(placed) = placed else {
            if old.is_some() {
                self.replace_placement(&key, None);
                self.dirty.insert(key);
            }
            return;
        };
        if old.is_some_and(|it| version(&it.resource_version) > version(&placed.resource_version)) {
            return;
        }
        if placed.moves() || old.is_none_or(|old| old.spec != placed.spec) {
            self.dirty.insert(key.clone());
        }
        self.replace_placement(&key, Some(placed));
    }

    /// A Placement as a pass of ours wrote it: looked at again only where it is not the last step.
    pub(crate) fn wrote_placement(&mut self, key: &ObjectKey, placed: Placed) {
        let known = self.placements.get(key).map_or(0, |it| version(&it.resource_version));
        if known > version(&placed.resource_version) {
            return;
        }
        if placed.moves() {
            self.dirty.insert(key.clone());
        }
        self.replace_placement(key, Some(placed));
    }

    fn replace_placement(&mut self, key: &ObjectKey, placed: Option<Placed>) {
        let new = placed.map(Arc::new);
        let old = match &new {
            Some(new) => {
                let name = (key.namespace.clone(), new.name.as_str().into());
                self.placement_names.insert(name, key.clone());
                self.placements.insert(key.clone(), Arc::clone(new))
            }
            None => self.placements.remove(key),
        };
        self.follow_growth(key, old.as_deref(), new.as_deref());
        self.follow_placement(key, old.as_deref(), new.as_deref());
        let unrendered = |it: &Option<Arc<Placed>>| -> Vec<(String, String)> {
            let copies = it.iter().flat_map(|it| override_status::unrendered(it));
            copies.map(|it| (it.name.clone(), it.message.clone())).collect()
        };
        self.renders_changed |= unrendered(&old) != unrendered(&new);
        let shares = |it: &Option<Arc<Placed>>| -> Vec<(String, Option<i64>)> {
            let divided = it.iter().filter(|it| it.spec.divided);
            divided
                .flat_map(|it| &it.spec.clusters)
                .map(|it| (it.name.clone(), it.replicas))
                .collect()
        };
        if shares(&old) != shares(&new) {
            self.dirty.extend(bounds::bounding(self, key));
        }
        for (it, sign) in [(&old, -1), (&new, 1)] {
            let Some(it) = it else { continue };
            self.copies += sign * count(it.spec.clusters.len());
            self.leaving += sign * it.leaving();
            *self.outcomes.entry(it.spec.outcome.reason.clone()).or_default() += sign;
        }
        let names = |it: &Option<Arc<Placed>>| -> Vec<String> {
            let meant = it.iter().flat_map(|it| &it.spec.clusters);
            meant.filter(|it| it.leaving.is_empty()).map(|it| it.name.clone()).collect()
        };
        if names(&old) != names(&new) {
            self.moved_in.insert(key.namespace.to_string());
        }
        if old.as_ref().is_some_and(|old| gives_back(old, new.as_deref())) {
            self.gave_back();
        }
        if new.as_ref().is_some_and(|it| it.unsettled()) {
            self.unsettled.insert(key.clone());
        } else {
            self.unsettled.remove(key);
        }
        let kinds = [&old, &new].map(|it| it.as_ref().map(|it| it.kind()));
        if kinds[0] != kinds[1] {
            let [old, new] = kinds;
            if let Some((kind, version)) = new {
                let known = self.placed_kinds.entry(kind).or_insert_with(|| (0, version));
                known.0 += 1;
                self.kinds_changed |= known.0 == 1;
            }
            if let Some((kind, _)) = old
                && let Some(known) = self.placed_kinds.get_mut(&kind)
            {
                known.0 -= 1;
                if known.0 == 0 {
                    self.placed_kinds.remove(&kind);
                    self.kinds_changed = true;
                }
            }
        }
    }

    /// The template that a Placement of this name decides on.
    pub(crate) fn template_of(&self, namespace: &str, placement: &str) -> Option<&ObjectKey> {
        self.placement_names.get(&(namespace.into(), placement.into()))
    }

    /// A Placement is gone: deleted by us, or by someone who went around the hub's rules.
    pub fn forget_placement(&mut self, namespace: &str, name: &str) {
        if let Some(key) = self.placement_names.remove(&(namespace.into(), name.into())) {
            self.set_placement(key, None);
        }
    }

    /// A Revision exists since that version of the store, or no longer does. Its name is the Placement's, a dash, and
    /// the hash. Revisions never change, so their versions are in the order in which they were made.
    pub fn set_revision(&mut self, namespace: &str, name: &str, since: Option<u64>) {
        let Some((placement, hash)) = name.rsplit_once('-') else { return };
        let home = (namespace.into(), placement.into());
        let known = self.revisions.entry(home.clone()).or_default();
        known.retain(|(_, it)| it != hash);
        if let Some(since) = since {
            let at = known.partition_point(|(it, _)| *it <= since);
            known.insert(at, (since, hash.to_owned()));
        } else if known.is_empty() {
            self.revisions.remove(&home);
        }
    }

    /// The order of passes, the lowest first: where room is short, the higher priority is served first. What has no
    /// template or no claim goes last.
    pub(crate) fn rank(&self, key: &ObjectKey) -> i64 {
        let claim = self.templates.get(key).and_then(|it| self.claim(key, it).winner);
        claim.map_or(i64::MAX, |it| -i64::from(it.spec.priority))
    }

    pub fn touch_everything(&mut self) {
        self.dirty.extend(self.templates.keys().cloned());
        self.dirty.extend(self.placements.keys().cloned());
    }

    /// Whatever waits: for a cluster, for room, for the gate.
    pub fn touch_waiting(&mut self) {
        self.dirty.extend(self.unsettled.iter().cloned());
        self.dirty.extend(self.postponed.iter().cloned());
        let away: Vec<ObjectKey> = self.away().cloned().collect();
        self.dirty.extend(away);
    }

    /// The templates of a namespace that have a Placement.
    pub(crate) fn placed_in(&self, namespace: &str) -> impl Iterator<Item = &ObjectKey> {
        let from = (namespace.into(), SmolStr::default());
        self.placement_names
            .range(from..)
            .take_while(move |(name, _)| name.0 == namespace)
            .map(|(_, key)| key)
    }

    /// What was decided and does not run is not to run any more, or could not be written: its room is free again.
    pub(crate) fn gave_back(&mut self) {
        self.room_version += 1;
        self.freed = true;
    }

    /// The templates to be looked at again, and with them whatever waits if room was given back.
    pub(crate) fn take_dirty(&mut self) -> BTreeSet<ObjectKey> {
        if std::mem::take(&mut self.freed) {
            self.touch_waiting();
        }
        if !self.moved_in.is_empty() {
            self.touch_company();
        }
        std::mem::take(&mut self.dirty)
    }

    /// What waits for a budget, once some window has ended.
    pub(crate) fn touch_over_budget(&mut self, now: i64) {
        let ended = |it: &Budget| it.window_ends_in(now) == 0;
        if !self.over_budget.is_empty() && self.budgets.values().any(ended) {
            let waiting = std::mem::take(&mut self.over_budget);
            self.dirty.extend(waiting);
        }
    }

    /// Removals that passed the gate and were not carried out are no longer counted.
    pub(crate) fn give_back(&mut self, removals: i64) {
        for budget in self.budgets.values_mut() {
            budget.removed = (budget.removed - removals).max(0);
        }
    }

    pub(crate) fn touch_selected(&mut self, selectors: &[TemplateSelector]) {
        let hit = |key: &ObjectKey, labels: &BTreeMap<String, String>| {
            selectors
                .iter()
                .any(|it| it.matches(&key.gvk.group, &key.gvk.kind, &key.name, labels).is_some())
        };
        let keys: Vec<ObjectKey> = self
            .templates
            .iter()
            .filter(|(key, template)| hit(key, &template.labels))
            .map(|(key, _)| key.clone())
            .collect();
        self.dirty.extend(keys);
    }

    /// The kinds to watch: what policies select, what Placements name, what follows, and what still bears our finalizer,
    /// with the version wanted first.
    pub fn wanted_kinds(&self) -> BTreeMap<KindKey, String> {
        let mut kinds = BTreeMap::new();
        for policy in self.policies.values() {
            for selector in &policy.spec.selectors {
                let gvk = Gvk::new(&selector.api_version, &selector.kind);
                kinds.entry((gvk.group, gvk.kind)).or_insert_with(|| gvk.version.to_string());
            }
        }
        for (kind, (_, version)) in &self.placed_kinds {
            kinds.entry(kind.clone()).or_insert_with(|| version.clone());
        }
        // Before anything is known to need them: what follows is to be there first.
        if self.policies.values().any(|it| follows(it)) {
            for kind in dependencies::KINDS {
                let kind = Gvk::unversioned("", kind);
                kinds.entry((kind.group, kind.kind)).or_insert_with(|| "v1".to_owned());
            }
        }
        for (kind, version) in self.follow.kinds() {
            kinds.entry(kind.clone()).or_insert_with(|| version.clone());
        }
        for (key, template) in &self.templates {
            if template.finalizers.iter().any(|it| it == COPIES_FINALIZER) {
                let version = Gvk::new(&template.api_version, &key.gvk.kind).version.to_string();
                kinds.entry((key.gvk.group.clone(), key.gvk.kind.clone())).or_insert(version);
            }
        }
        kinds
    }
}

/// Whether a Placement asks less of some cluster than the one before it.
fn gives_back(old: &Placed, new: Option<&Placed>) -> bool {
    let Some(new) = new else { return true };
    old.spec.clusters.iter().any(|before| {
        let after = new.spec.clusters.iter().find(|it| it.name == before.name);
        after.is_none_or(|it| it.replicas < before.replicas)
    })
}

/// Versions of our own hub are numbers that grow; what is not a number counts as oldest.
pub(crate) fn version(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}
