//! Which templates follow which: what a template needs, by its Placement, and the claim of those that need something
//! (RULES 4.7).
//!
//! ```text
//! the pass over a user ─▶ Placement.spec.needs ─▶ Follow: needed thing ─▶ where it is needed ─▶ the pass over it
//!          ▲                                                                                        │
//!          └──────────── DependenciesMet ◀── it is left out somewhere, or is not on the hub ◀───────┘
//! ```
//!
//! What is needed is read back from Placements, so it outlives a restart, a kind that is not served, and the template
//! itself until its last copy is gone. Clusters are counted per user: a pass is asked for only where the first one comes
//! or the last one goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    names::{Gvk, ObjectKey, SmolStr},
    placement::{Dependency, Follows, PlacementSpec, PolicyRef},
    policy::Dependencies,
};
use placement_engine::dependencies::{self, RBAC, dependencies};

mod met;
mod stay;

pub(crate) use met::{note, remarks};
pub(crate) use stay::{bind, is_forsaken, keep_needs, stay, unclaimed};

use crate::{
    claim::{Claim, Facts, Policy, never},
    index::{Index, KindKey, Placed, Template, template_key},
};

/// Who needs what, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Follow {
    /// What each user names, and the clusters that hold it.
    users: BTreeMap<ObjectKey, Arc<User>>,
    /// Placements that are being written: what they will say.
    coming: BTreeMap<ObjectKey, Arc<User>>,
    needed: BTreeMap<ObjectKey, Needed>,
    /// By user: what is placed for its sake.
    followers: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// The kinds of both, with how often they are named and in which version.
    kinds: BTreeMap<KindKey, (usize, String)>,
}

/// One that needs something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct User {
    needs: BTreeSet<ObjectKey>,
    clusters: BTreeSet<SmolStr>,
    policy: Option<PolicyRef>,
}

/// Something that is needed.
#[derive(Clone, Debug, Default)]
struct Needed {
    users: BTreeSet<ObjectKey>,
    /// By cluster: how many users are there, or are about to be.
    clusters: BTreeMap<SmolStr, usize>,
    /// It has not been looked at since its clusters changed: what it lacks is not known.
    asked: bool,
    /// It is left out of some of them.
    lacks: bool,
}

/// The template that a Placement says is needed.
fn needed_key(namespace: &str, it: &Dependency) -> ObjectKey {
    template_key(&Gvk::new(&it.api_version, &it.kind), namespace, &it.name)
}

/// The template that a Placement says it follows.
pub(crate) fn user_key(namespace: &str, it: &Follows) -> ObjectKey {
    template_key(&Gvk::new(&it.api_version, &it.kind), namespace, &it.name)
}

/// The clusters that hold a copy. What is needed goes last: what is being removed still needs it.
fn holding(spec: &PlacementSpec) -> impl Iterator<Item = &str> {
    let clusters = spec.clusters.iter().map(|it| it.name.as_str());
    clusters.chain(spec.removing.iter().map(|it| it.name.as_str()))
}

fn held(key: &ObjectKey, spec: &PlacementSpec) -> User {
    let needs = spec.needs.iter().map(|it| needed_key(&key.namespace, it));
    User {
        // What names itself would never be let go.
        needs: needs.filter(|it| it != key).collect(),
        clusters: holding(spec).map(Into::into).collect(),
        policy: spec.policy_ref.clone(),
    }
}

/// What follows a template that a policy places: all that it names.
pub(crate) fn needs(index: &Index, policy: &Policy, template: &Template) -> Vec<Dependency> {
    // What is in no namespace has none in which to look.
    if !follows(policy) || template.workload.key.namespace.is_empty() {
        return Vec::new();
    }
    let rules = &index.reading.rules;
    serde_json::from_str(&template.content)
        .map_or_else(|_| Vec::new(), |it| dependencies(&it, rules))
}

impl Follow {
    /// Whether some template that is followed needs it.
    pub(crate) fn is_needed(&self, key: &ObjectKey) -> bool {
        self.needed.contains_key(key)
    }

    /// The clusters where it is needed.
    pub(crate) fn clusters(&self, key: &ObjectKey) -> impl Iterator<Item = &str> {
        self.needed.get(key).into_iter().flat_map(|it| it.clusters.keys().map(SmolStr::as_str))
    }

    pub(crate) fn is_needed_on(&self, key: &ObjectKey, cluster: &str) -> bool {
        self.needed.get(key).is_some_and(|it| it.clusters.contains_key(cluster))
    }

    /// Whether what it lacks is not known yet.
    pub(crate) fn is_asked(&self, key: &ObjectKey) -> bool {
        self.needed.get(key).is_some_and(|it| it.asked)
    }

    /// The kinds to watch for it.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&KindKey, &String)> {
        self.kinds.iter().map(|(kind, (_, version))| (kind, version))
    }

    /// Takes note of what one user needs, and where; the templates for which that changes something.
    fn set(&mut self, key: &ObjectKey, user: Option<Arc<User>>) -> BTreeSet<ObjectKey> {
        let old = match &user {
            Some(new) => self.users.insert(key.clone(), Arc::clone(new)),
            None => self.users.remove(key),
        };
        let mut changed = BTreeSet::new();
        if old == user {
            return changed;
        }
        let (old, new) = (old.unwrap_or_default(), user.unwrap_or_default());
        for it in old.needs.union(&new.needs) {
            let needed = self.needed.entry(it.clone()).or_default();
            let (was, is) = (old.needs.contains(it), new.needs.contains(it));
            let mut moved = was != is || old.policy != new.policy;
            if is {
                needed.users.insert(key.clone());
                for cluster in &new.clusters {
                    let count = needed.clusters.entry(cluster.clone()).or_insert(0);
                    *count += 1;
                    moved |= *count == 1;
                }
            }
            if was {
                for cluster in &old.clusters {
                    let Some(count) = needed.clusters.get_mut(cluster) else { continue };
                    *count -= 1;
                    if *count == 0 {
                        needed.clusters.remove(cluster);
                        moved = true;
                    }
                }
            }
            if !is {
                needed.users.remove(key);
            }
            needed.asked |= moved;
            if needed.users.is_empty() {
                self.needed.remove(it);
            }
            if moved {
                changed.insert(it.clone());
            }
        }
        changed
    }

    /// What a Placement says, and what it is about to say.
    fn known(&self, key: &ObjectKey, spec: Option<&PlacementSpec>) -> Option<Arc<User>> {
        let stands = spec.map(|it| held(key, it)).filter(|it| !it.needs.is_empty());
        match (stands, self.coming.get(key)) {
            (None, None) => None,
            (Some(it), None) => Some(Arc::new(it)),
            (None, Some(it)) => Some(Arc::clone(it)),
            (Some(mut it), Some(coming)) => {
                it.needs.extend(coming.needs.iter().cloned());
                it.clusters.extend(coming.clusters.iter().cloned());
                it.policy.clone_from(&coming.policy);
                Some(Arc::new(it))
            }
        }
    }

    /// Counts the kinds that a Placement names; whether there are others than before.
    fn count_kinds(&mut self, old: Option<&PlacementSpec>, new: Option<&PlacementSpec>) -> bool {
        let of = |spec: &PlacementSpec| -> Vec<(String, String)> {
            let needs = spec.needs.iter().map(|it| (it.api_version.clone(), it.kind.clone()));
            let follows = spec.follows.iter().map(|it| (it.api_version.clone(), it.kind.clone()));
            needs.chain(follows).collect()
        };
        let mut changed = false;
        for (api_version, kind) in new.map(of).unwrap_or_default() {
            let gvk = Gvk::new(&api_version, &kind);
            let version = gvk.version.to_string();
            let known = self.kinds.entry((gvk.group, gvk.kind)).or_insert((0, version));
            known.0 += 1;
            changed |= known.0 == 1;
        }
        for (api_version, kind) in old.map(of).unwrap_or_default() {
            let gvk = Gvk::new(&api_version, &kind);
            let kind = (gvk.group, gvk.kind);
            let Some(known) = self.kinds.get_mut(&kind) else { continue };
            known.0 -= 1;
            if known.0 == 0 {
                self.kinds.remove(&kind);
                changed = true;
            }
        }
        changed
    }
}

impl Index {
    /// A Placement is another one: what it needs is needed elsewhere, and what it holds is lacked or not.
    pub(crate) fn follow_placement(
        &mut self,
        key: &ObjectKey,
        old: Option<&Placed>,
        new: Option<&Placed>,
    ) {
        let (before, after) = (old.map(|it| &it.spec), new.map(|it| &it.spec));
        let named = |it: &PlacementSpec| (!it.needs.is_empty(), !it.follows.is_empty());
        let (needs, follows) = [before, after]
            .into_iter()
            .flatten()
            .map(named)
            .fold((false, false), |all, it| (all.0 | it.0, all.1 | it.1));
        if needs {
            let known = self.follow.known(key, after);
            let changed = self.follow.set(key, known);
            self.dirty.extend(changed);
        }
        if follows {
            self.follow_users(key, before, after);
        }
        if needs || follows {
            self.kinds_changed |= self.follow.count_kinds(before, after);
        }
        if self.follow.is_needed(key) && before != after {
            self.look_for_lacks(key);
        }
    }

    fn follow_users(
        &mut self,
        key: &ObjectKey,
        old: Option<&PlacementSpec>,
        new: Option<&PlacementSpec>,
    ) {
        let users = |it: Option<&PlacementSpec>| -> BTreeSet<ObjectKey> {
            let all = it.into_iter().flat_map(|it| &it.follows);
            all.map(|it| user_key(&key.namespace, it)).collect()
        };
        let (old, new) = (users(old), users(new));
        for user in old.difference(&new) {
            if let Some(known) = self.follow.followers.get_mut(user) {
                known.remove(key);
                if known.is_empty() {
                    self.follow.followers.remove(user);
                }
            }
        }
        for user in new.difference(&old) {
            self.follow.followers.entry(user.clone()).or_default().insert(key.clone());
        }
    }

    /// A Placement is about to be written: what it needs is to be where it will be, before it. Returns the templates for
    /// which that changes something.
    pub(crate) fn announce(&mut self, key: &ObjectKey, spec: &PlacementSpec) -> Vec<ObjectKey> {
        if spec.needs.is_empty() {
            return Vec::new();
        }
        self.follow.coming.insert(key.clone(), Arc::new(held(key, spec)));
        let standing = self.placements.get(key).cloned();
        let known = self.follow.known(key, standing.as_ref().map(|it| &it.spec));
        self.follow.set(key, known).into_iter().collect()
    }

    /// It was written, or could not be. Its own watch may have told of it before: only now it is looked at as it stands.
    pub(crate) fn announced(&mut self, key: &ObjectKey) {
        self.look_for_lacks(key);
        if self.follow.coming.remove(key).is_none() {
            return;
        }
        let standing = self.placements.get(key).cloned();
        let known = self.follow.known(key, standing.as_ref().map(|it| &it.spec));
        let changed = self.follow.set(key, known);
        self.dirty.extend(changed);
    }

    /// A pass has looked at something: what is needed of it is decided, unless it is being written.
    pub(crate) fn looked_at(&mut self, key: &ObjectKey, writes: bool) {
        if let Some(needed) = self.follow.needed.get_mut(key)
            && std::mem::take(&mut needed.asked)
            && !writes
        {
            self.look_for_lacks(key);
        }
    }

    /// Whether something is left out where it is needed. Who needs it is told when that begins, changes or ends.
    fn look_for_lacks(&mut self, key: &ObjectKey) {
        let has = meant(self.placements.get(key).map(|it| &it.spec));
        let Some(needed) = self.follow.needed.get_mut(key) else { return };
        let lacks = !needed.clusters.keys().all(|it| has.contains(it.as_str()));
        let before = std::mem::replace(&mut needed.lacks, lacks);
        // What was said while this was not known is said anew.
        let complains = |it: &&ObjectKey| {
            let said = self.placements.get(*it).and_then(|it| it.spec.dependencies.as_ref());
            said.is_some_and(|it| it.status == "False")
        };
        let told = needed.users.iter().filter(|it| before || lacks || complains(it));
        self.dirty.extend(told.cloned());
    }

    /// A template came, went, or is about to go: those that need it are told, and what was placed for its sake.
    pub(crate) fn touch_followed(&mut self, key: &ObjectKey) {
        let users = self.follow.needed.get(key).into_iter().flat_map(|it| &it.users);
        let followers = self.follow.followers.get(key).into_iter().flatten();
        let touched: Vec<ObjectKey> = users.chain(followers).cloned().collect();
        self.dirty.extend(touched);
    }

    /// All templates of a kind are known now: what is missing among them is missing on the hub.
    pub(crate) fn touch_followed_kind(&mut self, gvk: &Gvk) {
        let first = template_key(gvk, "", "");
        let of_kind = |it: &&ObjectKey| it.gvk == *gvk;
        let needed = self.follow.needed.range(first.clone()..);
        let users = needed.take_while(|it| of_kind(&it.0)).flat_map(|it| &it.1.users);
        let followers = self.follow.followers.range(first..);
        let followers = followers.take_while(|it| of_kind(&it.0)).flat_map(|it| it.1);
        let touched: Vec<ObjectKey> = users.chain(followers).cloned().collect();
        self.dirty.extend(touched);
    }

    /// The claim of what no policy selects, for the sake of those that need it: by the policy of the first of them whose
    /// policy stands.
    pub(crate) fn follow_claim(&self, key: &ObjectKey, template: &Template, claim: &mut Claim) {
        let Some(needed) = self.follow.needed.get(key) else { return };
        if needed.clusters.is_empty() || !may_follow(key, template) {
            return;
        }
        let policies = needed.users.iter().filter_map(|it| self.policy_of(it));
        let mut policies = policies.filter(|it| follows(it));
        if let Some(policy) = policies.next() {
            claim.winner = Some(Arc::new(dependencies::follow(policy)));
            claim.users = needed.users.iter().take(NAMED).cloned().collect();
        }
    }

    /// The policy by which a user was placed, if it still stands.
    fn policy_of(&self, user: &ObjectKey) -> Option<&Arc<Policy>> {
        let id = policy_id(&user.namespace, self.follow.users.get(user)?.policy.as_ref()?);
        self.policies.get(&id)
    }

    /// A policy that has dependencies follow is another one: so is what follows by it.
    pub(crate) fn touch_following(&mut self, policy: &Policy) {
        let by_it = |user: &ObjectKey, reference: &PolicyRef| {
            let (namespace, name) = policy_id(&user.namespace, reference);
            namespace == policy.namespace && name == policy.name
        };
        let users = self.follow.users.iter();
        let theirs =
            users.filter(|(user, it)| it.policy.as_ref().is_some_and(|it| by_it(user, it)));
        let touched: Vec<ObjectKey> = theirs.flat_map(|it| it.1.needs.iter().cloned()).collect();
        self.dirty.extend(touched);
    }
}

fn policy_id(namespace: &str, reference: &PolicyRef) -> (String, String) {
    let wide = reference.kind.starts_with("Cluster");
    (if wide { String::new() } else { namespace.to_owned() }, reference.name.clone())
}

/// The clusters that are to hold a template.
fn meant(spec: Option<&PlacementSpec>) -> BTreeSet<&str> {
    let clusters = spec.into_iter().flat_map(|it| &it.clusters);
    clusters.filter(|it| it.leaving.is_empty()).map(|it| it.name.as_str()).collect()
}

/// So many users are named.
const NAMED: usize = 10;

pub(crate) fn follows(policy: &Policy) -> bool {
    policy.spec.dependencies == Some(Dependencies::Follow)
}

/// Whether a template can be taken along at all: what runs pods is placed by a policy, and so is what grants rights.
pub(crate) fn may_follow(key: &ObjectKey, template: &Template) -> bool {
    let Facts { key, labels, secret_type } = Index::facts(key, template);
    key.gvk.group != RBAC
        && never(&Facts { key, labels, secret_type }).is_none()
        && !template.workload.has_pods()
}

/// The users of a claim, as a Placement names them.
pub(crate) fn named(index: &Index, claim: &Claim) -> Vec<Follows> {
    let one = |it: &ObjectKey| {
        let template = index.templates.get(it).map(|it| it.api_version.clone());
        let placed = || index.placements.get(it).map(|it| it.spec.template.api_version.clone());
        Follows {
            api_version: template.or_else(placed).unwrap_or_else(|| it.gvk.group.to_string()),
            kind: it.gvk.kind.to_string(),
            name: it.name.to_string(),
        }
    };
    claim.users.iter().map(one).collect()
}
