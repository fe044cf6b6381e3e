//! Which revision each cluster of a decision gets now: what the index knows, as [`rollout::step`] wants it, and what
//! comes of it for the Placement.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use federation_types::{
    names::{ObjectKey, SYSTEM_NAMESPACE, SmolStr, home_namespace, placement_name},
    placement::{CopyState, Outcome, PlacedCluster, PlacedRollout, PlacementSpec},
    reason::placed,
    rollout::{
        Rollout, RolloutSpec, RolloutState, RolloutStatus, RolloutStrategy, RolloutStrategySpec,
    },
    selector::TemplateSelector,
    words,
};
use kube::ResourceExt;
use placement_engine::{
    Fleet, Room, Waves,
    waves::{self, ClusterFacts, WaveFacts},
};

use crate::{
    claim::Policy,
    clock,
    index::{Index, version},
    members::is_ready,
    outcome::{Event, outcome},
    rollout::{self, Health, Input, Member, Strategy},
    transition::Copies,
};

mod told;

pub(crate) use told::RolloutWrite;
use told::{events, note, write};

/// What the index knows of rollouts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rollouts {
    /// By namespace and name.
    strategies: BTreeMap<(String, String), Arc<Known>>,
    /// By namespace and name.
    rollouts: BTreeMap<(SmolStr, SmolStr), Arc<Rollout>>,
    /// When time alone changes something.
    wakes: BTreeMap<ObjectKey, i64>,
    /// Those that wait for what is measured.
    gated: BTreeSet<ObjectKey>,
    /// A plan: what is released in waves is released, and told.
    pub(crate) foreseen: bool,
}

/// A strategy, ready to be asked; or why it cannot be.
#[derive(Debug)]
struct Known {
    spec: RolloutStrategySpec,
    ready: Result<(Strategy, Waves), String>,
}

/// What is released now.
#[derive(Debug, Default)]
pub(crate) struct Release {
    /// By cluster; none: it gets no copy yet.
    revisions: BTreeMap<String, Option<String>>,
    pub(crate) note: Option<PlacedRollout>,
    /// Where nothing new can be released, and why.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) write: Option<Box<RolloutWrite>>,
    pub(crate) events: Vec<Event>,
    /// Of a plan: the clusters that a change reaches in waves.
    pub(crate) staged: Option<Staged>,
}

/// What a plan says of a change that is released in waves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Staged {
    /// `RolloutStrategy shop/eu-waves`
    pub(crate) strategy: String,
    /// The wave of each cluster that it reaches.
    pub(crate) waves: BTreeMap<String, String>,
    /// Those waves in their order, each with whether it has to be approved.
    pub(crate) order: Vec<(String, bool)>,
}

impl Staged {
    /// `released in 2 waves by RolloutStrategy shop/eu-waves: canary, rest (needs approval)`
    pub(crate) fn text(&self) -> String {
        let waves = self.order.iter().map(|(name, asks)| {
            if *asks { format!("{name} (needs approval)") } else { name.clone() }
        });
        let waves: Vec<String> = waves.collect();
        let n = words::counted(waves.len(), "wave", "waves");
        format!("released in {n} by {}: {}", self.strategy, waves.join(", "))
    }
}

/// What is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) policy: &'a Policy,
    pub(crate) previous: &'a PlacementSpec,
    pub(crate) copies: Copies<'a>,
    /// The clusters of the decision.
    pub(crate) clusters: &'a BTreeMap<String, Option<i64>>,
    /// The newest revision.
    pub(crate) to: &'a str,
    /// New copies wait for no wave: the template grows, or they take the place of something lost.
    pub(crate) urgent: bool,
    /// They are made together: parts of a divided workload.
    pub(crate) together: bool,
    pub(crate) now: i64,
}

impl Release {
    /// The revision that a cluster of the decision is given; none: the newest, as everywhere.
    pub(crate) fn given(&self, cluster: &str) -> Option<&str> {
        self.revisions.get(cluster).and_then(Option::as_deref)
    }

    /// What a cluster that the decision leaves runs, as long as others wait for their wave.
    pub(crate) fn keeps<'a>(
        &self,
        previous: &'a PlacementSpec,
        cluster: &str,
    ) -> Option<&'a PlacedCluster> {
        let left = !self.revisions.is_empty() && !self.revisions.contains_key(cluster);
        previous.clusters.iter().find(|it| left && it.name == cluster)
    }

    /// Whether a cluster of the decision waits for its wave.
    pub(crate) fn holds(&self, cluster: &str) -> bool {
        self.revisions.get(cluster).is_some_and(Option::is_none)
    }

    /// Whether some cluster of the decision does.
    pub(crate) fn holds_any(&self) -> bool {
        self.revisions.values().any(Option::is_none)
    }
}

/// The namespace of a template's Rollout: cluster-scoped ones have theirs where the hub keeps what is its own, in which
/// nothing else is a template.
fn home(key: &ObjectKey) -> (SmolStr, SmolStr) {
    (home_namespace(&key.namespace).into(), placement_name(&key.gvk, &key.name).into())
}

impl Index {
    pub(crate) fn set_strategy(
        &mut self,
        id: &(String, String),
        strategy: Option<&RolloutStrategy>,
    ) {
        let known = strategy.map(|it| {
            let title = format!("{}/{}", id.0, id.1);
            let ready = Waves::compile(&it.spec).map_err(|problems| {
                let texts: Vec<String> =
                    problems.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
                texts.join("; ")
            });
            let ready = ready.map(|waves| (Strategy::of(title, &it.spec), waves));
            Arc::new(Known { spec: it.spec.clone(), ready })
        });
        let strategies = &mut self.rollouts.strategies;
        let old = match &known {
            Some(new) => strategies.insert(id.clone(), Arc::clone(new)),
            None => strategies.remove(id),
        };
        if old.as_ref().zip(known.as_ref()).is_some_and(|(a, b)| a.spec == b.spec) {
            return;
        }
        let named = self.policies.values().filter(|it| strategy_of(it).is_some_and(|it| it == *id));
        let selectors: Vec<TemplateSelector> =
            named.flat_map(|it| it.spec.selectors.clone()).collect();
        self.touch_selected(&selectors);
    }

    /// A Rollout as a watch brings it: what differs from what is known is looked at.
    pub(crate) fn set_rollout(&mut self, namespace: &str, name: &str, rollout: Option<Rollout>) {
        let id = (SmolStr::from(namespace), SmolStr::from(name));
        let known = self.rollouts.rollouts.get(&id);
        let same = known
            .zip(rollout.as_ref())
            .is_some_and(|(a, b)| (&a.spec, &a.status) == (&b.spec, &b.status));
        if self.keep_rollout(id, rollout) && !same {
            let namespace = if namespace == SYSTEM_NAMESPACE { "" } else { namespace };
            let template = self.template_of(namespace, name).cloned();
            self.dirty.extend(template);
        }
    }

    /// A Rollout as a pass of ours wrote it: all that comes of it was done by that pass.
    pub(crate) fn wrote_rollout(&mut self, rollout: Rollout) {
        let (namespace, name) = id(&rollout);
        self.keep_rollout((namespace.into(), name.into()), Some(rollout));
    }

    /// Unless it is older than the one that is known.
    fn keep_rollout(&mut self, id: (SmolStr, SmolStr), rollout: Option<Rollout>) -> bool {
        let age =
            |it: &Rollout| version(it.metadata.resource_version.as_deref().unwrap_or_default());
        let rollouts = &mut self.rollouts.rollouts;
        match rollout {
            Some(new) if rollouts.get(&id).is_some_and(|it| age(it) > age(&new)) => return false,
            Some(new) => drop(rollouts.insert(id, Arc::new(new))),
            None => drop(rollouts.remove(&id)),
        }
        true
    }

    /// The revisions that a rollout goes from and to: an abort returns to the one.
    pub(crate) fn rolled(&self, key: &ObjectKey) -> Vec<&str> {
        let status = self.rollouts.rollouts.get(&home(key)).and_then(|it| it.status.as_ref());
        status.into_iter().flat_map(|it| [it.from.as_str(), it.to.as_str()]).collect()
    }

    /// Rollouts for which the time has come: a soak is over, a deadline has passed.
    pub(crate) fn touch_rollouts(&mut self, now: i64) {
        let wakes = &self.rollouts.wakes;
        let due: Vec<ObjectKey> =
            wakes.iter().filter(|it| *it.1 <= now).map(|it| it.0.clone()).collect();
        for key in due {
            self.rollouts.wakes.remove(&key);
            self.dirty.insert(key);
        }
    }

    /// Rollouts that wait for what is measured: something else was.
    pub(crate) fn touch_gated(&mut self) {
        self.dirty.extend(self.rollouts.gated.iter().cloned());
    }

    /// How far the last change of a template has come.
    #[cfg(test)]
    pub(crate) fn rollout(&self, key: &ObjectKey) -> Option<&Rollout> {
        self.rollouts.rollouts.get(&home(key)).map(|it| &**it)
    }

    /// How many rollouts stand where.
    pub(crate) fn rollout_states(&self) -> BTreeMap<&'static str, i64> {
        let mut states = BTreeMap::new();
        for status in self.rollouts.rollouts.values().filter_map(|it| it.status.as_ref()) {
            *states.entry(status.state.word()).or_default() += 1;
        }
        states
    }

    /// What whoever deletes a strategy should know: which policies name it.
    pub fn strategy_delete_warning(&self, namespace: &str, name: &str) -> Option<String> {
        let id = (namespace.to_owned(), name.to_owned());
        let names: Vec<String> = self
            .policies
            .values()
            .filter(|it| strategy_of(it).as_ref() == Some(&id))
            .map(|it| it.title())
            .collect();
        (!names.is_empty()).then(|| {
            format!(
                "named by {}: changes of what they place wait until there is such a RolloutStrategy again, or another \
                 one is named",
                names.join(", ")
            )
        })
    }

    /// Whether a policy names a strategy that there is not.
    pub(crate) fn lacks_strategy(&self, namespace: &str, name: &str) -> bool {
        let id = (home_namespace(namespace).to_owned(), name.to_owned());
        !self.rollouts.strategies.contains_key(&id)
    }
}

/// Namespace and name of the strategy that a policy names; that of a cluster policy is kept with the hub's own.
fn strategy_of(policy: &Policy) -> Option<(String, String)> {
    let name = policy.spec.rollout.as_ref()?.strategy_name.clone();
    Some((home_namespace(&policy.namespace).to_owned(), name))
}

/// Which revision each cluster gets now; by default the newest, everywhere.
pub(crate) fn release(
    index: &mut Index,
    fleet: &Fleet,
    room: &mut Room,
    asked: &Asked<'_>,
) -> Release {
    let Asked { key, policy, previous, to, now, .. } = *asked;
    let named = strategy_of(policy);
    if named.is_none() && index.rollouts.rollouts.is_empty() {
        return Release::default();
    }
    index.rollouts.wakes.remove(key);
    index.rollouts.gated.remove(key);
    let standing = index.rollouts.rollouts.get(&home(key)).cloned();
    let before = standing.as_ref().and_then(|it| it.status.clone()).unwrap_or_default();
    let told = match before.state {
        RolloutState::Completed => true,
        // What was taken back and is released all the same is not taken back any more.
        RolloutState::Aborted => before.to != to,
        _ => before.to.is_empty(),
    };
    if (named.is_none() && told) || previous.clusters.is_empty() {
        return Release::default();
    }
    let said = standing.as_ref().map(|it| it.spec.clone()).unwrap_or_default();
    let taken_back = rollout::is_taken_back(&said, &before, to);
    if told && before.to == to && !taken_back && said.retry == before.retry && stands(asked) {
        return Release::default();
    }
    let known = named.as_ref().and_then(|it| index.rollouts.strategies.get(it)).cloned();
    let ready = match (&named, known.as_ref().map(|it| &it.ready)) {
        (None, _) => None,
        (Some(_), Some(Ok(ready))) => Some(ready),
        // Which way back is known without it.
        (Some(_), _) if taken_back => None,
        (Some(id), unfit) => {
            let why = match unfit {
                Some(Err(why)) => format!("cannot be read: {why}"),
                Some(Ok(_)) | None => "does not exist".to_owned(),
            };
            let message =
                format!("RolloutStrategy {}/{} {why}: nothing new is released", id.0, id.1);
            return without_strategy(index, asked, message);
        }
    };
    let (strategy, waves) = match ready {
        Some((strategy, waves)) => (strategy.clone(), waves),
        None => (Strategy::default(), &Waves::default()),
    };
    let places = waves.places(fleet, room, asked.clusters.keys().map(String::as_str));
    let members = members(index, asked, places.into_iter().map(|it| (it, waves.name(it))));
    let budget = Cell::new(waves::BUDGET);
    let closed = |at: usize| {
        let mut left = budget.get();
        let why = waves.closed(at, &facts(fleet, asked, &members, at), &mut left);
        budget.set(left);
        why
    };
    let (members, closed) = (members.as_slice(), &closed);
    let input = Input {
        strategy: &strategy,
        to,
        members,
        together: asked.together,
        said: &said,
        before: &before,
        closed,
        now,
    };
    if named.is_none() {
        // The policy asks for no waves any more.
        let write = write(key, standing, None, rollout::over(&input, &before), "", now);
        return Release { write, ..Release::default() };
    }
    let step = rollout::step(&input);
    let status = step.status.as_ref().unwrap_or(&before);
    let stopped = matches!(status.state, RolloutState::Paused | RolloutState::Aborted);
    if index.rollouts.foreseen && !(step.status.is_some() && stopped) {
        let staged = step.status.as_ref().map(|_| foresee(&strategy, members, to));
        return Release { staged: staged.filter(|it| !it.waves.is_empty()), ..Release::default() };
    }
    if status.state == RolloutState::Gated {
        index.rollouts.gated.insert(key.clone());
    }
    if let Some(next) = step.next {
        index.rollouts.wakes.insert(key.clone(), next);
    }
    let mut release = Release { revisions: step.revisions, ..Release::default() };
    if let Some(status) = step.status {
        if status.state != RolloutState::Completed && status.to == to {
            release.note = Some(note(&status, &step.message));
        }
        release.events = events(&before, &status, &step.message, step.begins);
        let spec = step.begins.then(|| RolloutSpec {
            revision: to.to_owned(),
            paused: said.paused,
            retry: said.retry.clone(),
            ..RolloutSpec::default()
        });
        release.write = write(key, standing, spec, status, &step.message, now);
    }
    release
}

/// Nothing is decided for the template any more: a rollout that is on its way goes on once something is, and is told to
/// be held until then. What it waited for counts anew.
pub(crate) fn hold(
    index: &mut Index,
    key: &ObjectKey,
    spec: &mut PlacementSpec,
    now: i64,
) -> Release {
    index.rollouts.wakes.remove(key);
    index.rollouts.gated.remove(key);
    let standing = index.rollouts.rollouts.get(&home(key)).cloned();
    let before = standing.as_ref().and_then(|it| it.status.clone()).unwrap_or_default();
    let stands = before.state.is_over() || before.to.is_empty() || !before.failure.is_empty();
    if stands || index.rollouts.foreseen {
        return Release::default();
    }
    let mut status = RolloutStatus { state: RolloutState::Paused, ..before.clone() };
    status.updating.iter_mut().for_each(|it| it.held = true);
    let message = format!("held: {}", spec.outcome.message);
    spec.rollout = Some(note(&status, &message));
    let events = events(&before, &status, &message, false);
    let write = write(key, standing, None, status, &message, now);
    Release { events, write, ..Release::default() }
}

/// Whether every cluster of the decision runs the newest revision.
fn stands(asked: &Asked<'_>) -> bool {
    let clusters = &asked.previous.clusters;
    asked.clusters.keys().all(|name| {
        let at = clusters.binary_search_by(|it| it.name.as_str().cmp(name));
        at.is_ok_and(|at| clusters[at].revision == asked.to)
    })
}

/// Nothing new is released, and nothing is taken back; whoever is missing a copy gets one.
fn without_strategy(index: &Index, asked: &Asked<'_>, message: String) -> Release {
    let members = members(index, asked, std::iter::repeat((0, "")));
    let revisions = rollout::held(&members, asked.to);
    if revisions.values().all(|it| it.as_deref() == Some(asked.to)) {
        return Release::default();
    }
    let note = PlacedRollout {
        revision: asked.to.to_owned(),
        reason: placed::NO_STRATEGY.to_owned(),
        message: message.clone(),
    };
    let outcome = Some(outcome("False", placed::NO_STRATEGY, message));
    Release { revisions, note: Some(note), outcome, ..Release::default() }
}

/// The clusters of the decision as they stand.
fn members<'a>(
    index: &'a Index,
    asked: &'a Asked<'a>,
    waves: impl Iterator<Item = (usize, &'a str)>,
) -> Vec<Member<'a>> {
    let previous = asked.previous;
    asked
        .clusters
        .keys()
        .zip(waves)
        .map(|(name, wave)| {
            let at = previous.clusters.binary_search_by(|it| it.name.as_str().cmp(name));
            let standing = at.ok().map(|at| &previous.clusters[at]);
            let removing = previous.removing.iter().any(|it| it.name == *name);
            let answers = index.clusters.get(name).is_some_and(|it| is_ready(it));
            let health = match standing {
                _ if !answers => Health::Dark,
                Some(it) => health(asked.copies, name, it.replicas, asked.to),
                None => Health::Waiting,
            };
            Member {
                name,
                wave,
                revision: standing.map(|it| it.revision.as_str()),
                at_once: asked.urgent || removing,
                health,
            }
        })
        .collect()
}

/// What the syncer last said of a copy, as far as it is about this revision.
fn health<'a>(copies: Copies<'a>, name: &str, replicas: Option<i64>, to: &str) -> Health<'a> {
    if copies.is_ready_in(name, replicas, to) {
        return Health::Ready;
    }
    let Some(copy) = copies.find(name) else { return Health::Waiting };
    let why = if copy.message.is_empty() { &copy.reason } else { &copy.message };
    let failed = || Health::Failed(clock::seconds(&copy.since), why);
    match copy.state {
        _ if copy.stale => Health::Dark,
        CopyState::Held => Health::Held,
        CopyState::Unreachable => Health::Dark,
        CopyState::Degraded if copy.revision == to => failed(),
        CopyState::Refused | CopyState::Conflict => failed(),
        CopyState::Degraded
        | CopyState::Pending
        | CopyState::Progressing
        | CopyState::Ready
        | CopyState::Removing => Health::Waiting,
    }
}

/// What a gate may ask of a wave.
fn facts(fleet: &Fleet, asked: &Asked<'_>, members: &[Member<'_>], at: usize) -> WaveFacts {
    // What is made together with copies of later waves is nothing to ask about yet.
    let is_to_come = |it: &Member<'_>| asked.together && it.revision.is_none() && !it.at_once;
    let mine = || members.iter().filter(|it| it.wave.0 == at && !is_to_come(it));
    let clusters: Vec<ClusterFacts> = mine()
        .map(|it| {
            let cluster = fleet.id(it.name).and_then(|id| fleet.clusters.get(id.0 as usize));
            ClusterFacts {
                name: it.name.to_owned(),
                replicas: asked.clusters.get(it.name).copied().flatten().unwrap_or(0),
                ready: it.health == Health::Ready,
                scores: cluster.map(|it| it.scores.clone()).unwrap_or_default(),
            }
        })
        .collect();
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    WaveFacts {
        name: mine().next().map(|it| it.wave.1.to_owned()).unwrap_or_default(),
        size: number(clusters.len()),
        ready: number(clusters.iter().filter(|it| it.ready).count()),
        clusters,
    }
}

/// The waves in which a change would reach its clusters.
fn foresee(strategy: &Strategy, members: &[Member<'_>], to: &str) -> Staged {
    let reached = |it: &&Member<'_>| it.revision.map_or(!it.at_once, |it| it != to);
    let waves: BTreeMap<usize, &str> = members.iter().filter(reached).map(|it| it.wave).collect();
    Staged {
        strategy: format!("RolloutStrategy {}", strategy.title),
        waves: members
            .iter()
            .filter(reached)
            .map(|it| (it.name.to_owned(), it.wave.1.to_owned()))
            .collect(),
        order: waves.iter().map(|(at, it)| ((*it).to_owned(), strategy.asks(*at))).collect(),
    }
}

/// A strategy or a rollout by its name.
pub(crate) fn id<K: ResourceExt>(it: &K) -> (String, String) {
    (it.namespace().unwrap_or_default(), it.name_any())
}
