//! One pass over one template in one member: observe, plan, act, report.
//!
//! A pass is given a name and nothing else. What changed is never an input, so a restart, a resync and a burst of events
//! all take the same path.

use std::{sync::Arc, time::Duration};

use federation_types::{
    names::ObjectKey,
    placement::CopyState,
    policy::{Conflict, Drift},
    reason::copy,
};
use syncer_render::{
    Hold, Owner, Step, Wanted,
    drift::differences,
    health::{COMPLETED, FAILED},
    manifest::ReplicasOf,
    marks, mask,
    plan::{MadeBefore, Present, Why},
    revision, template,
};

use crate::{
    act::Target,
    error::ActError,
    index::{namespace_key, namespace_kind},
    kinds::Resource,
    live::LiveObject,
    queue::Key,
    renders::{How, Rendered},
    session::{KindState, Session},
    slot::{self, Outcome},
};

/// How long a copy that cannot be written waits at most (RULES 3.3).
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// How often is looked whether an object that is being deleted is gone, beside its watch.
pub(crate) const LINGER: Duration = Duration::from_secs(10);
/// A step that finds the member otherwise than it was seen is decided anew so often in one pass.
const ROUNDS: usize = 4;

impl Session {
    /// Runs a pass and says when the next one is due if nothing changes.
    pub(crate) async fn pass(self: &Arc<Self>, key: &Key) -> Option<Duration> {
        let placement = self.shared.index.read().placement(key);
        let placed = placement.as_ref().filter(|it| it.clusters().any(|it| it == self.cluster));
        let Some(placement) = placed else {
            self.shared.board.forget(key, &self.cluster);
            {
                let mut slots = self.slots.lock();
                match slots.get_mut(key) {
                    Some(slot) if slot.seen.is_some() => {
                        slot.outcome = Outcome::Held(Hold::UnknownCopy);
                    }
                    Some(_) => {
                        slots.remove(key);
                        return None;
                    }
                    None => return None,
                }
            }
            return if key.gvk == namespace_kind() {
                self.retire_namespace(key).await
            } else {
                None
            };
        };
        let resource = match self.ensure_kind(&key.gvk).await {
            KindState::Synced(resource) => resource,
            // The end of the first list asks for this pass again.
            KindState::Starting => return None,
            KindState::Denied(reason, message) => {
                return self.failed(key, Outcome::Failed(reason, message));
            }
            KindState::Missing => {
                let message = format!("the cluster does not serve {}", key.gvk);
                self.forget_kind(&key.gvk);
                return self.failed(key, Outcome::Failed(copy::KIND_MISSING, message));
            }
        };
        match self.step(key, &resource, placement.generation).await {
            Ok(outcome) => {
                let poll = match &outcome {
                    // Nobody tells us when what is not ours goes away.
                    Outcome::Held(Hold::Foreign | Hold::OtherHub) => {
                        self.say_conflict(key, &outcome);
                        return self.failed(key, outcome);
                    }
                    Outcome::Held(Hold::Fighting(_)) => Some(MAX_PAUSE),
                    Outcome::Held(Hold::Terminating) => Some(LINGER),
                    _ => None,
                };
                self.settle(key, outcome);
                poll
            }
            Err(error) => {
                let error = self.masked(key, error);
                match &error {
                    ActError::Unauthorised => self.end(),
                    ActError::Unreachable { .. } => self.suspect(),
                    ActError::Refused { message } => {
                        self.shared.events.refused(key, &self.cluster, message);
                    }
                    _ => (),
                }
                tracing::debug!(cluster = %self.cluster, %key, %error, "a pass failed");
                self.failed(key, Outcome::Failed(error.reason(), error.to_string()))
            }
        }
    }

    /// A member words its refusals itself: what it quotes of a Secret goes no further (RULES 2.4).
    fn masked(&self, key: &Key, error: ActError) -> ActError {
        match error {
            ActError::Refused { message } => {
                ActError::Refused { message: self.masked_text(key, message) }
            }
            ActError::Busy { message } => {
                ActError::Busy { message: self.masked_text(key, message) }
            }
            other => other,
        }
    }

    fn masked_text(&self, key: &Key, message: String) -> String {
        if !mask::is_secret(&key.gvk) {
            return message;
        }
        let message = match self.wanted_manifest(key, false) {
            Some(rendered) => mask::mask(&message, &rendered.manifest.object),
            None => message,
        };
        // An override may have taken the place of a value: the template's own is none of anybody's either.
        let index = self.shared.index.read();
        let released =
            index.placement(key).and_then(|it| Some(it.placed(&self.cluster)?.revision.clone()));
        let revision = released.and_then(|it| index.revision(key, &it));
        drop(index);
        match revision.and_then(|it| serde_json::from_str(it.content.get()).ok()) {
            Some(content) => mask::mask(&message, &content),
            None => message,
        }
    }

    /// Says that something else is in the copy's place when that comes to be so, and not at each try after that.
    fn say_conflict(&self, key: &Key, outcome: &Outcome) {
        let slots = self.slots.lock();
        let slot = slots.get(key);
        if slot.is_some_and(|it| it.outcome == *outcome) {
            return;
        }
        drop(slots);
        if let Outcome::Held(hold) = outcome
            && let Some((reason, message)) = slot::conflict(hold)
        {
            self.shared.events.conflict(key, &self.cluster, reason, message);
        }
    }

    fn settle(&self, key: &Key, outcome: Outcome) {
        {
            let mut slots = self.slots.lock();
            let slot = slots.entry(Arc::clone(key)).or_default();
            slot.outcome = outcome;
            slot.failures = 0;
        }
        self.report(key);
    }

    pub(crate) fn failed(&self, key: &Key, outcome: Outcome) -> Option<Duration> {
        let pause = {
            let mut slots = self.slots.lock();
            let slot = slots.entry(Arc::clone(key)).or_default();
            slot.outcome = outcome;
            slot.failures = slot.failures.saturating_add(1);
            let base = Duration::from_millis(500) * 2_u32.saturating_pow(slot.failures.min(12));
            // Spread by name, so that a member that comes back is not met by all at once.
            let spread =
                u32::try_from(key.name.bytes().map(u64::from).sum::<u64>() % 25).unwrap_or(0);
            (base + base * spread / 100).min(MAX_PAUSE)
        };
        self.report(key);
        Some(pause)
    }

    async fn step(
        self: &Arc<Self>,
        key: &Key,
        resource: &Arc<Resource>,
        generation: i64,
    ) -> Result<Outcome, ActError> {
        let target = Target { client: self.client.rest(), resource, key };
        let mut lingering = {
            let slots = self.slots.lock();
            slots.get(key).is_some_and(|it| {
                matches!(
                    it.outcome,
                    Outcome::Held(Hold::Terminating | Hold::Foreign | Hold::OtherHub)
                )
            })
        };
        for _ in 0..ROUNDS {
            let (released, standing) = {
                let slots = self.slots.lock();
                let slot = slots.get(key);
                let released =
                    slot.and_then(|it| it.seen.as_ref()).is_some_and(|it| it.scaled_by.is_some());
                let now = self.shared.now();
                (released, slot.map_or(syncer_render::Standing::Absent, |it| it.standing(now)))
            };
            let rendered = self.render(key, released);
            let wanted = match self.wanted_of(key, &rendered) {
                Ok(Some(wanted)) => wanted,
                Ok(None) => return Ok(Outcome::Pending),
                Err((copy::REVISION_MISSING, message)) => {
                    return Ok(Outcome::Waiting(copy::REVISION_MISSING, message));
                }
                Err((reason, message)) => {
                    let message = self.masked_text(key, message);
                    self.shared.events.refused(key, &self.cluster, &message);
                    return Ok(Outcome::Failed(reason, message));
                }
            };
            let writes = self.writes(&key.namespace);
            let step = Step::decide(&wanted, &standing, writes);
            tracing::debug!(cluster = %self.cluster, %key, %step, "planned");
            let rendered = rendered.ok().flatten();
            let writes = writes.are_open() && !matches!(step, Step::Hold(_));
            if writes && matches!(wanted, Wanted::Present(_)) && !key.namespace.is_empty() {
                self.ensure_namespace(&key.namespace).await?;
            }
            let deleting = matches!(step, Step::Delete { .. });
            let done = match step {
                Step::Nothing if matches!(wanted, Wanted::Gone(_)) => {
                    return self.confirm_gone(&target).await;
                }
                Step::Nothing => return Ok(Outcome::Synced(generation)),
                // One without our label is in no watch: who waits for its end has to look.
                Step::Hold(Hold::Terminating | Hold::Foreign | Hold::OtherHub) if lingering => {
                    lingering = false;
                    self.look(&target).await
                }
                Step::Hold(hold) => {
                    if hold == Hold::NewerThanHub {
                        self.watch_for_newer(&[Arc::clone(key)]);
                    }
                    return Ok(Outcome::Held(hold));
                }
                Step::Create => self.create(&target, rendered.as_deref()).await,
                Step::Apply(why) => self.apply(&target, rendered.as_deref(), &why).await,
                Step::Delete { uid } => {
                    self.shared.metrics.wrote(&self.cluster, "delete");
                    match target.delete(&uid, None).await {
                        Ok(true) => {
                            self.vanished(key, Some(&uid));
                            Ok(())
                        }
                        other => other.map(drop),
                    }
                }
                Step::Orphan { uid } => {
                    self.shared.metrics.wrote(&self.cluster, "orphan");
                    match target.orphan(&uid).await {
                        Ok(()) => {
                            self.vanished(key, None);
                            Ok(())
                        }
                        other => other,
                    }
                }
            };
            match done {
                // A deletion is over when the copy is seen gone.
                Ok(())
                    if deleting
                        && self.slots.lock().get(key).is_some_and(|it| it.seen.is_some()) =>
                {
                    return Ok(Outcome::Held(Hold::Terminating));
                }
                Ok(()) => (),
                Err(ActError::Changed { .. } | ActError::Gone { .. }) => self.look(&target).await?,
                Err(ActError::NoNamespace { namespace }) => {
                    self.namespaces.lock().remove(&namespace);
                    if self
                        .slots
                        .lock()
                        .get(&namespace_key(&namespace))
                        .is_some_and(|it| it.seen.is_some())
                    {
                        return Err(ActError::NoNamespace { namespace });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        // It changes faster than it is written, or its kind is just going: neither says when to look again.
        Err(ActError::Changed { object: ObjectKey::clone(key) })
    }

    /// A copy that is not in the cache is asked for before it counts as gone: somebody may only have taken our label
    /// away.
    async fn confirm_gone(&self, target: &Target<'_>) -> Result<Outcome, ActError> {
        match target.get().await? {
            None => Ok(Outcome::Gone),
            Some(live) => match self.owner_of(target.key, &live) {
                Owner::Us { .. } => {
                    self.observe(&target.key.gvk, &live);
                    self.queue.push(Arc::new(target.key.clone()));
                    Ok(Outcome::Pending)
                }
                Owner::OtherHub(_) | Owner::Foreign => Ok(Outcome::Gone),
            },
        }
    }

    pub(crate) fn owner_of(&self, key: &ObjectKey, live: &LiveObject) -> Owner {
        marks::owner(&self.shared.hub_uid, key, live.annotations(), live.has_controller())
    }

    /// The member is not as it was seen: looks again.
    async fn look(&self, target: &Target<'_>) -> Result<(), ActError> {
        let key = Arc::new(target.key.clone());
        match target.get().await? {
            None => {
                let mut slots = self.slots.lock();
                let slot = slots.entry(key).or_default();
                (slot.seen, slot.foreign) = (None, None);
            }
            Some(live) => match self.owner_of(target.key, &live) {
                Owner::Us { .. } => drop(self.observe(&target.key.gvk, &live)),
                owner @ (Owner::OtherHub(_) | Owner::Foreign) => {
                    let mut slots = self.slots.lock();
                    let slot = slots.entry(key).or_default();
                    slot.seen = None;
                    slot.foreign = Some(matches!(owner, Owner::OtherHub(_)));
                }
            },
        }
        Ok(())
    }

    async fn create(
        &self,
        target: &Target<'_>,
        rendered: Option<&Rendered>,
    ) -> Result<(), ActError> {
        let Some(rendered) = rendered else { return Ok(()) };
        self.shared.metrics.wrote(&self.cluster, "create");
        let live = target.create(&rendered.bytes).await?;
        self.accepted(target, rendered, &live);
        Ok(())
    }

    async fn apply(
        &self,
        target: &Target<'_>,
        rendered: Option<&Rendered>,
        why: &Why,
    ) -> Result<(), ActError> {
        let Some(rendered) = rendered else { return Ok(()) };
        let (uid, created_at) = {
            let mut slots = self.slots.lock();
            let slot = slots.entry(Arc::new(target.key.clone())).or_default();
            if let Why::Drift(fields) = why {
                let now = self.shared.now();
                fields.iter().for_each(|it| slot.corrections.note(it, now));
            }
            if *why == Why::Revision {
                // What another manifest was not kept of says nothing of this one.
                slot.not_kept.clear();
            }
            let seen = slot.seen.as_ref();
            (seen.map(|it| it.uid.clone()), seen.and_then(|it| it.created_at))
        };
        if let Some(at) = created_at {
            match target.own_as_applied(at).await {
                Ok(live) => drop(self.observe(&target.key.gvk, &live)),
                // The entry is another one by now: what is seen next says where it stands.
                Err(ActError::Refused { .. }) => {
                    return Err(ActError::Changed { object: target.key.clone() });
                }
                Err(error) => return Err(error),
            }
        }
        self.shared.metrics.wrote(&self.cluster, "apply");
        let live = target.apply(&rendered.manifest.object, uid.as_deref()).await?;
        self.accepted(target, rendered, &live);
        Ok(())
    }

    /// What the member made of a manifest: a difference now is a field that it does not keep, and no drift later.
    fn accepted(&self, target: &Target<'_>, rendered: &Rendered, live: &LiveObject) {
        let not_kept = differences(&rendered.manifest.object, &live.value);
        {
            let mut slots = self.slots.lock();
            let slot = slots.entry(Arc::new(target.key.clone())).or_default();
            slot.not_kept = not_kept;
            if let Some(seen) = &mut slot.seen {
                seen.drift.clear();
                // The same content may have been seen as drift by an event that came first.
                seen.content = 0;
                seen.version = seen.version.min(live.resource_version().saturating_sub(1));
            }
        }
        self.observe(&target.key.gvk, live);
    }

    /// The manifest that this member is to hold; none if the template is not placed here.
    fn render(
        &self,
        key: &Key,
        released: bool,
    ) -> Result<Option<Arc<Rendered>>, crate::renders::RenderFailure> {
        let index = self.shared.index.read();
        let Some(placement) = index.placement(key) else { return Ok(None) };
        let Some(placed) = placement.placed(&self.cluster) else { return Ok(None) };
        let cluster = index.clusters.get(&self.cluster).cloned();
        let revision = index.revision(key, &placed.revision);
        drop(index);
        let Some(cluster) = cluster else { return Ok(None) };
        let Some(revision) = revision else {
            let message = format!("revision `{}` is not there yet", placed.revision);
            return Err((copy::REVISION_MISSING, message));
        };
        let replicas = ReplicasOf::of(&placement.spec, &self.cluster, &key.gvk.kind);
        let replicas = if released { replicas.released() } else { replicas };
        let how = How {
            template: &placement.spec.template.uid,
            replicas,
            spot: placed.spot,
            asked: placement.asked(),
        };
        self.shared.renders.render(key, &revision, &cluster.facts, how).map(Some)
    }

    /// What passes compare a live object with.
    pub(crate) fn wanted_manifest(&self, key: &Key, released: bool) -> Option<Arc<Rendered>> {
        self.render(key, released).ok().flatten()
    }

    /// What is wanted of a template here; none if it cannot be said.
    pub(crate) fn wanted(&self, key: &Key) -> Option<Wanted> {
        let released = {
            let slots = self.slots.lock();
            slots.get(key).and_then(|it| it.seen.as_ref()).is_some_and(|it| it.scaled_by.is_some())
        };
        self.wanted_of(key, &self.render(key, released)).ok().flatten()
    }

    fn wanted_of(
        &self,
        key: &Key,
        rendered: &Result<Option<Arc<Rendered>>, crate::renders::RenderFailure>,
    ) -> Result<Option<Wanted>, crate::renders::RenderFailure> {
        let Some(placement) = self.shared.index.read().placement(key) else { return Ok(None) };
        if let Some(removed) = placement.removed(&self.cluster) {
            return Ok(Some(Wanted::Gone(removed.on_delete)));
        }
        if placement.placed(&self.cluster).is_none() {
            return Ok(Some(Wanted::Unplaced));
        }
        let rendered = match rendered {
            Ok(Some(rendered)) => rendered,
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.clone()),
        };
        let sync = placement.spec.sync.clone().unwrap_or_default();
        Ok(Some(Wanted::Present(Present {
            mark: rendered.manifest.mark.clone(),
            template: placement.spec.template.uid.clone(),
            generation: placement.spec.template.generation,
            adopt: sync.conflict == Some(Conflict::Adopt),
            correct: sync.drift != Some(Drift::Report),
            made_before: self.made_before(key),
        })))
    }

    /// Whether a Job was seen here before: it is never made again (RULES 3.4).
    fn made_before(&self, key: &Key) -> Option<MadeBefore> {
        if key.gvk.group != "batch" || key.gvk.kind != "Job" {
            return None;
        }
        let last = self.shared.board.last(key, &self.cluster)?;
        if last.revision.is_empty() || last.state == CopyState::Refused {
            return None;
        }
        let ended = last.health.as_ref().map_or(last.reason.as_str(), |it| it.reason.as_str());
        let ended = [COMPLETED, FAILED].contains(&ended)
            || [COMPLETED, FAILED].contains(&last.reason.as_str());
        Some(if ended { MadeBefore::Finished } else { MadeBefore::Unfinished })
    }

    /// A namespace comes with its first copy, with the labels and annotations that it has on the hub; one that was there
    /// before us is left as it is (RULES 4.4).
    async fn ensure_namespace(self: &Arc<Self>, name: &str) -> Result<(), ActError> {
        let key = namespace_key(name);
        let on_hub = {
            let index = self.shared.index.read();
            // A namespace that is placed itself is its own pass's affair once it is there.
            let own = index.placement(&key).is_some_and(|it| it.placed(&self.cluster).is_some());
            let there = self.slots.lock().get(&key).is_some_and(|it| it.seen.is_some());
            if own && there {
                return Ok(());
            }
            index.namespace(name)
        };
        let Some(on_hub) = on_hub else {
            return Err(ActError::NoNamespace { namespace: name.to_owned() });
        };
        if self.namespaces.lock().get(name).is_some_and(|it| Arc::ptr_eq(it, &on_hub)) {
            return Ok(());
        }
        let KindState::Synced(resource) = self.ensure_kind(&namespace_kind()).await else {
            return Err(ActError::Busy { message: "namespaces are not known yet".to_owned() });
        };
        let content = template::strip(&serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": on_hub.labels, "annotations": on_hub.annotations},
        }));
        let hash = revision::content_hash(&content, &[], None);
        let manifest = syncer_render::render(&syncer_render::Rendering {
            hub: &self.shared.hub_uid,
            key: &key,
            template_uid: &on_hub.uid,
            revision: &hash,
            generation: 0,
            content: &content,
            rules: &[],
            matching: &[],
            replicas: ReplicasOf::Content,
            replicas_path: None,
            spot: None,
            asked: None,
        })
        .map_err(|error| ActError::Refused { message: error.to_string() })?;
        let rendered = Rendered { bytes: manifest.bytes(), manifest };
        let target = Target { client: self.client.rest(), resource: &resource, key: &key };
        let seen = self.slots.lock().get(&key).and_then(|it| it.seen.clone());
        let result = match seen {
            Some(seen) if seen.terminating => return Err(ActError::Terminating),
            Some(seen) if seen.mark.digest == rendered.manifest.mark.digest => Ok(()),
            Some(_) => self.apply(&target, Some(&rendered), &Why::Revision).await,
            None => self.create(&target, Some(&rendered)).await,
        };
        match result {
            // Somebody's, or ours and not seen yet: either way it is there.
            Ok(()) | Err(ActError::Changed { .. }) => {
                self.namespaces.lock().insert(name.to_owned(), on_hub);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
