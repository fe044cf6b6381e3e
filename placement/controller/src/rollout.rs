//! How a change reaches its clusters: wave by wave. PURE: time is an argument.
//!
//! What is decided is told by the clusters as they stand and by the [`RolloutStatus`] that was written before; both are
//! stored before anything is released by them, so a hub that starts anew goes on where it was.

use std::collections::{BTreeMap, BTreeSet};

use federation_types::{
    reason::rollout as reason,
    rollout::{
        Approval, OnFailure, RolloutSpec, RolloutState, RolloutStatus, RolloutStrategySpec,
        Updating, WaveState, WaveStatus,
    },
    validate,
};

use crate::clock;

/// A strategy as the steps see it: the stated waves, and the one of the clusters that are left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strategy {
    /// `shop/eu-waves`
    pub(crate) title: String,
    waves: Vec<Wave>,
    deadline: i64,
    on_failure: OnFailure,
}

#[derive(Clone, Debug, Default)]
struct Wave {
    max_concurrent: usize,
    soak: i64,
    approval: Approval,
}

/// A cluster of the decision.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    /// The place of its wave, and its name.
    pub(crate) wave: (usize, &'a str),
    /// The revision that was released to it last; none: it holds no copy.
    pub(crate) revision: Option<&'a str>,
    /// Without a copy, and it waits for no wave: it is the first one, grows, or takes the place of something lost.
    pub(crate) at_once: bool,
    pub(crate) health: Health<'a>,
}

/// How a copy fares, as far as the new revision goes: nothing of it is known by what was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health<'a> {
    /// The member runs the new revision, and is ready in it.
    Ready,
    Waiting,
    /// Nothing is written there for now: a freeze holds.
    Held,
    /// The cluster does not answer.
    Dark,
    /// It failed or was refused, since when and why.
    Failed(i64, &'a str),
}

/// What a step is made from.
pub(crate) struct Input<'a> {
    pub(crate) strategy: &'a Strategy,
    /// The newest revision.
    pub(crate) to: &'a str,
    /// Sorted by name.
    pub(crate) members: &'a [Member<'a>],
    /// New copies are made together: parts of a divided workload.
    pub(crate) together: bool,
    pub(crate) said: &'a RolloutSpec,
    /// As it was written; that of no rollout names no revision.
    pub(crate) before: &'a RolloutStatus,
    /// Why the gate of a wave is closed, if it is.
    pub(crate) closed: &'a dyn Fn(usize) -> Option<String>,
    pub(crate) now: i64,
}

/// What is released now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// By cluster; none: it gets no copy yet.
    pub(crate) revisions: BTreeMap<String, Option<String>>,
    /// As it is to be written, without generation and conditions; none: there is nothing to say.
    pub(crate) status: Option<RolloutStatus>,
    /// It begins (again): what was said of the one before does not count for it.
    pub(crate) begins: bool,
    /// What of the state people should know, in words.
    pub(crate) message: String,
    /// When time alone will change something.
    pub(crate) next: Option<i64>,
}

impl Strategy {
    /// From a strategy that is well formed.
    pub(crate) fn of(title: String, spec: &RolloutStrategySpec) -> Self {
        let read = |text: &str| validate::seconds(text).and_then(|it| i64::try_from(it).ok());
        let mut waves: Vec<Wave> = spec
            .waves
            .iter()
            .map(|it| Wave {
                max_concurrent: it.max_concurrent.map_or(usize::MAX, |it| it as usize),
                soak: it.soak.as_deref().and_then(read).unwrap_or(0),
                approval: it.approval,
            })
            .collect();
        waves.push(Wave { max_concurrent: usize::MAX, ..Wave::default() });
        let deadline = read(&spec.progress_deadline).unwrap_or(600);
        Self { title, waves, deadline, on_failure: spec.on_failure }
    }

    /// Whether a wave is asked for.
    pub(crate) fn asks(&self, wave: usize) -> bool {
        self.waves.get(wave).is_some_and(|it| it.approval == Approval::Required)
    }
}

/// What a cluster is left with while nothing new may be released.
pub(crate) fn held(members: &[Member<'_>], to: &str) -> BTreeMap<String, Option<String>> {
    let good = standing(members, to);
    let kept = |it: &Member<'_>| match it.revision {
        Some(revision) => Some(revision.to_owned()),
        None => it.at_once.then(|| good.to_owned()),
    };
    members.iter().map(|it| (it.name.to_owned(), kept(it))).collect()
}

/// The revision that most clusters run beside the new one; of as many the one of the first cluster.
fn standing<'a>(members: &[Member<'a>], to: &'a str) -> &'a str {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for revision in members.iter().filter_map(|it| it.revision).filter(|it| *it != to) {
        match counts.iter_mut().find(|it| it.0 == revision) {
            Some(known) => known.1 += 1,
            None => counts.push((revision, 1)),
        }
    }
    let most = counts.iter().map(|it| it.1).max();
    counts.iter().find(|it| Some(it.1) == most).map_or(to, |it| it.0)
}

/// One look at a change: what is released now, and what is said of it.
pub(crate) fn step(input: &Input<'_>) -> Step {
    let Input { to, members, said, before, .. } = *input;
    let same = before.to == to;
    let planned = members.iter().any(|it| it.revision.is_none() && !it.at_once);
    let retried = same && said.retry != before.retry;
    let taken_back = is_taken_back(said, before, to);
    let good = match (same, before.state) {
        _ if before.to.is_empty() => standing(members, to),
        (_, RolloutState::Completed) if !taken_back => &before.to,
        _ => &before.from,
    };
    if taken_back {
        return aborted(input, before.clone());
    }
    let differs = members.iter().any(|it| it.revision.is_some_and(|it| it != to));
    let is_over = before.to.is_empty() || before.state.is_over();
    if !planned && (good == to || (!differs && (!same || is_over))) {
        // What was taken back, and is not what is written any more, is not taken back for ever.
        let ends = !is_over || (before.state == RolloutState::Aborted && !same);
        let status = match ends {
            true => Some(over(input, before)),
            false => retried.then(|| RolloutStatus { retry: said.retry.clone(), ..before.clone() }),
        };
        return Step { revisions: all(members, to), status, ..Step::default() };
    }
    let again = retried && before.state == RolloutState::Aborted;
    if same && !again && !is_over {
        return walk(input, before.clone(), retried, false);
    }
    let begun = RolloutStatus {
        from: good.to_owned(),
        to: to.to_owned(),
        started: clock::text(input.now),
        retry: said.retry.clone(),
        ..RolloutStatus::default()
    };
    walk(input, begun, false, true)
}

/// Whether every cluster is to return to the revision before: somebody said so, or it was done.
pub(crate) fn is_taken_back(said: &RolloutSpec, before: &RolloutStatus, to: &str) -> bool {
    let asked = said.aborted && said.revision == to;
    let same = before.to == to && said.retry == before.retry;
    same && (asked || before.state == RolloutState::Aborted) && before.from != to
}

fn all(members: &[Member<'_>], revision: &str) -> BTreeMap<String, Option<String>> {
    members.iter().map(|it| (it.name.to_owned(), Some(revision.to_owned()))).collect()
}

/// Nothing is left to be released in waves: the template is again what runs everywhere, or no strategy is asked for.
pub(crate) fn over(input: &Input<'_>, before: &RolloutStatus) -> RolloutStatus {
    RolloutStatus {
        state: RolloutState::Completed,
        strategy: input.strategy.title.clone(),
        to: input.to.to_owned(),
        wave: String::new(),
        step: String::new(),
        waves: Vec::new(),
        updating: Vec::new(),
        failure: String::new(),
        failure_message: String::new(),
        finished: clock::text(input.now),
        ..before.clone()
    }
}

/// Every cluster is back at the last good revision, at once; new ones by a move wait.
fn aborted(input: &Input<'_>, mut status: RolloutStatus) -> Step {
    let from = status.from.clone();
    let back = |it: &Member<'_>| (it.revision.is_some() || it.at_once).then(|| from.clone());
    let revisions = input.members.iter().map(|it| (it.name.to_owned(), back(it))).collect();
    if status.state != RolloutState::Aborted {
        status.state = RolloutState::Aborted;
        status.updating.clear();
        status.finished = clock::text(input.now);
    }
    let why =
        if status.failure.is_empty() { "somebody aborted it" } else { &status.failure_message };
    let message = format!("every cluster is back at revision {from}: {why}");
    Step { revisions, message, status: Some(status), ..Step::default() }
}

/// The waves of one rollout as they are looked at, one after the other.
struct Walk<'a> {
    input: &'a Input<'a>,
    before: &'a RolloutStatus,
    /// Given the revision, by this step or one before.
    released: BTreeSet<&'a str>,
    next: Option<i64>,
    /// What the wave that it stops at waits for.
    waits: String,
}

fn walk(input: &Input<'_>, mut status: RolloutStatus, retried: bool, begins: bool) -> Step {
    let Input { to, said, now, .. } = *input;
    status.strategy.clone_from(&input.strategy.title);
    if retried {
        status.failure.clear();
        status.failure_message.clear();
        status.retry.clone_from(&said.retry);
    }
    if retried
        || (status.state == RolloutState::Paused && !said.paused && status.failure.is_empty())
    {
        // What was ready before a pause shows it once more.
        status
            .waves
            .iter_mut()
            .filter(|it| it.finished.is_empty())
            .for_each(|it| it.ready_since.clear());
    }
    let before = status.clone();
    if !retried
        && status.failure.is_empty()
        && let Some((failure, message)) = failure(input, &before)
    {
        fail(&mut status, failure, message);
        if input.strategy.on_failure == OnFailure::RollBack && status.from != to {
            return Step { begins, ..aborted(input, status) };
        }
    }
    let mut walk = Walk {
        input,
        before: &before,
        released: released(input, &before).map(|it| it.name).collect(),
        next: None,
        waits: String::new(),
    };
    let stopped = said.paused || !status.failure.is_empty();
    status.waves = walk.waves(stopped, begins);
    if !stopped && let Some(late) = status.waves.iter().find(|it| walk.gate_is_late(it)) {
        let message = format!("wave {}: {}", late.name, walk.waits);
        fail(&mut status, reason::GATE_CLOSED, message);
        if input.strategy.on_failure == OnFailure::RollBack && status.from != to {
            return Step { begins, ..aborted(input, status) };
        }
    }
    let stopped = stopped || !status.failure.is_empty();
    let at = status.waves.iter().position(|it| it.state != WaveState::Done);
    let current = at.map(|at| status.waves[at].clone());
    status.updating = walk.updating(&status, retried);
    status.wave = current.as_ref().map(|it| it.name.clone()).unwrap_or_default();
    status.step = at.map_or_else(String::new, |at| format!("{}/{}", at + 1, status.waves.len()));
    status.state = match current.as_ref().map(|it| it.state) {
        None => RolloutState::Completed,
        Some(_) if stopped => RolloutState::Paused,
        Some(WaveState::WaitingForApproval) => RolloutState::WaitingForApproval,
        Some(WaveState::Soaking) => RolloutState::Soaking,
        Some(WaveState::Gated) => RolloutState::Gated,
        Some(WaveState::Pending | WaveState::Progressing | WaveState::Done) => {
            RolloutState::Progressing
        }
    };
    if status.state == RolloutState::Completed {
        status.finished = clock::text(now);
        status.updating.clear();
    }
    let message = told(&status, &walk.waits);
    let done: BTreeSet<&str> = status
        .waves
        .iter()
        .filter(|it| it.state == WaveState::Done)
        .map(|it| it.name.as_str())
        .collect();
    let given = |it: &Member<'_>| {
        if walk.released.contains(it.name) {
            return Some(to.to_owned());
        }
        match it.revision {
            Some(revision) => Some(revision.to_owned()),
            None if !it.at_once => None,
            None if done.contains(it.wave.1) => Some(to.to_owned()),
            None => Some(status.from.clone()),
        }
    };
    let revisions = input.members.iter().map(|it| (it.name.to_owned(), given(it))).collect();
    let next = if stopped { None } else { walk.next };
    let next = status
        .updating
        .iter()
        .filter(|it| !it.held && !stopped)
        .map(|it| clock::seconds(&it.since) + input.strategy.deadline + 1)
        .chain(next)
        .min();
    Step { revisions, status: Some(status), begins, message, next }
}

fn fail(status: &mut RolloutStatus, failure: &str, message: String) {
    failure.clone_into(&mut status.failure);
    status.failure_message = message;
}

/// A cluster that was given the revision and was not ready in it when it was looked at last.
fn on_the_way<'a>(status: &'a RolloutStatus, name: &str) -> Option<&'a Updating> {
    let at = status.updating.binary_search_by(|it| it.name.as_str().cmp(name)).ok()?;
    Some(&status.updating[at])
}

/// The clusters that were given the revision: they name it, or were about to when the hub was stopped.
fn released<'a>(
    input: &'a Input<'a>,
    before: &'a RolloutStatus,
) -> impl Iterator<Item = &'a Member<'a>> {
    let about = |name: &str| on_the_way(before, name).is_some();
    input.members.iter().filter(move |it| it.revision == Some(input.to) || about(it.name))
}

/// What has gone wrong in the clusters that this rollout reached.
fn failure(input: &Input<'_>, before: &RolloutStatus) -> Option<(&'static str, String)> {
    for it in released(input, before) {
        let Health::Failed(since, why) = it.health else { continue };
        let own = on_the_way(before, it.name);
        let wave = before.waves.iter().find(|wave| wave.name == it.wave.1);
        let given = own.map(|it| &it.since).or_else(|| wave.map(|it| &it.started));
        // What was so before is no answer to what was released.
        if given.is_some_and(|given| !given.is_empty() && since >= clock::seconds(given)) {
            return Some((reason::COPY_FAILED, format!("{}: {why}", it.name)));
        }
    }
    let late = before.updating.iter().filter(|_| !input.said.paused).find(|it| {
        let at = input.members.binary_search_by(|member| member.name.cmp(&it.name)).ok();
        let member = at.map(|at| &input.members[at]);
        let waits =
            member.is_some_and(|it| matches!(it.health, Health::Waiting | Health::Failed(..)));
        let since = clock::seconds(&it.since);
        waits && !it.held && input.now > since.saturating_add(input.strategy.deadline)
    })?;
    let minutes = words(input.strategy.deadline);
    Some((reason::DEADLINE, format!("{} was not ready within {minutes}", late.name)))
}

/// `10m`, `90s`
fn words(seconds: i64) -> String {
    if seconds % 60 == 0 { format!("{}m", seconds / 60) } else { format!("{seconds}s") }
}

impl<'a> Walk<'a> {
    fn waves(&mut self, stopped: bool, begins: bool) -> Vec<WaveStatus> {
        let mut found = Vec::new();
        let mut open = true;
        for (at, rules) in self.input.strategy.waves.iter().enumerate() {
            let members: Vec<&'a Member<'a>> =
                self.input.members.iter().filter(|it| it.wave.0 == at).collect();
            let Some(name) = members.first().map(|it| it.wave.1) else { continue };
            let known = self.before.waves.iter().find(|it| it.name == name);
            let mut wave = known
                .cloned()
                .unwrap_or_else(|| WaveStatus { name: name.to_owned(), ..WaveStatus::default() });
            let pending = members.iter().any(|it| self.is_pending(it));
            // A wave in which nothing changes is no step of this rollout.
            if !pending && wave.started.is_empty() {
                continue;
            }
            if members.iter().any(|it| self.comes_after(it)) {
                // It is waited for as all others were, and it waits as they did.
                wave.finished.clear();
            }
            if !wave.finished.is_empty() {
                wave.state = WaveState::Done;
            } else if open {
                let approved = !begins
                    && self.input.said.revision == self.input.to
                    && self.input.said.approved.iter().any(|it| it == name);
                let asks = rules.approval == Approval::Required && wave.started.is_empty();
                if asks && !approved {
                    wave.state = WaveState::WaitingForApproval;
                } else if stopped && wave.started.is_empty() {
                    wave.state = WaveState::Pending;
                } else {
                    self.turn(at, rules, &members, &mut wave, stopped);
                }
                open = wave.state == WaveState::Done;
            } else {
                wave.state = WaveState::Pending;
            }
            self.count(&members, &mut wave);
            found.push(wave);
        }
        found
    }

    /// Whether a cluster is to get the revision, and was not given it: one that got a copy in between too.
    fn is_pending(&self, it: &Member<'_>) -> bool {
        !self.released.contains(it.name)
    }

    /// Whether it is to get the revision, though its wave may be over: a move brings it there.
    fn comes_after(&self, it: &Member<'_>) -> bool {
        self.is_pending(it) && (it.revision.is_some() || !it.at_once)
    }

    fn is_ready(&self, it: &Member<'_>) -> bool {
        self.released.contains(it.name) && it.health == Health::Ready
    }

    /// Whether a new copy is made together with others of which some are not released: its wave cannot wait for it.
    fn is_to_come(&self, it: &Member<'_>) -> bool {
        let is_new = |it: &Member<'_>| it.revision.is_none() && !it.at_once;
        let mut others = self.input.members.iter().filter(|it| is_new(it));
        self.input.together && is_new(it) && others.any(|it| self.is_pending(it))
    }

    /// Gives the revision to clusters of a wave, as many as may be on their way at a time; those of new copies that are
    /// made together do not count.
    fn release(&mut self, members: &[&'a Member<'a>], most: usize, dark: bool) {
        let together = self.input.together;
        let counts = |it: &Member<'_>| !together || it.revision.is_some() || it.at_once;
        let on_the_way = members.iter().filter(|it| {
            let is_up = matches!(it.health, Health::Ready | Health::Dark);
            counts(it) && self.released.contains(it.name) && !is_up
        });
        let mut room = most.saturating_sub(on_the_way.count());
        for it in members {
            let may = self.is_pending(it) && (dark || it.health != Health::Dark);
            if may && (room > 0 || !counts(it)) {
                self.released.insert(it.name);
                room -= usize::from(counts(it));
            }
        }
    }

    /// One step of the wave whose turn it is.
    fn turn(
        &mut self,
        at: usize,
        rules: &Wave,
        members: &[&'a Member<'a>],
        wave: &mut WaveStatus,
        stopped: bool,
    ) {
        let now = self.input.now;
        if wave.started.is_empty() {
            wave.started = clock::text(now);
        }
        if !stopped {
            self.release(members, rules.max_concurrent, false);
        }
        if !stopped && members.iter().all(|it| self.is_to_come(it)) {
            // It is open, which is all that the others wait for.
            wave.state = WaveState::Done;
            wave.finished = clock::text(now);
            return;
        }
        // Who does not answer is not waited for, as long as somebody shows that the revision works.
        let mut answering = members
            .iter()
            .filter(|it| it.health != Health::Dark && !self.is_to_come(it))
            .peekable();
        let all = answering.peek().is_some() && answering.all(|it| self.is_ready(it));
        wave.state = WaveState::Progressing;
        if !all {
            wave.ready_since.clear();
            if members.iter().all(|it| it.health == Health::Dark) {
                "none of its clusters answers".clone_into(&mut self.waits);
            }
            return;
        }
        if wave.ready_since.is_empty() {
            wave.ready_since = clock::text(now);
        }
        let due = clock::seconds(&wave.ready_since).saturating_add(rules.soak);
        if now < due {
            wave.state = WaveState::Soaking;
            self.next = Some(due);
            self.waits = format!("it soaks until {}", clock::text(due));
        } else if let Some(why) = (self.input.closed)(at) {
            wave.state = WaveState::Gated;
            self.next = Some(due + self.input.strategy.deadline + 1);
            self.waits = format!("its gate is closed: {why}");
        } else if !stopped {
            wave.state = WaveState::Done;
            wave.finished = clock::text(now);
            self.release(members, usize::MAX, true);
        }
    }

    /// Whether a gate has been closed for too long.
    fn gate_is_late(&self, wave: &WaveStatus) -> bool {
        let rules = self.input.members.iter().find(|it| it.wave.1 == wave.name);
        let soak = rules.map_or(0, |it| self.input.strategy.waves[it.wave.0].soak);
        let due = clock::seconds(&wave.ready_since).saturating_add(soak);
        wave.state == WaveState::Gated
            && self.input.now > due.saturating_add(self.input.strategy.deadline)
    }

    fn count(&self, members: &[&Member<'_>], wave: &mut WaveStatus) {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        wave.clusters = number(members.len());
        wave.released = number(members.iter().filter(|it| self.released.contains(it.name)).count());
        wave.ready = number(members.iter().filter(|it| self.is_ready(it)).count());
    }

    /// The clusters on their way, each with the time from which its deadline counts.
    fn updating(&self, status: &RolloutStatus, retried: bool) -> Vec<Updating> {
        let now = clock::text(self.input.now);
        let begun =
            |name: &str| status.waves.iter().any(|it| it.name == name && !it.started.is_empty());
        let members = self.input.members.iter().filter(|it| {
            self.released.contains(it.name) && it.health != Health::Ready && begun(it.wave.1)
        });
        members
            .map(|it| {
                let known = on_the_way(self.before, it.name);
                let waits = matches!(it.health, Health::Held | Health::Dark) || self.is_to_come(it);
                let held = waits || self.input.said.paused;
                let goes_on = known.filter(|known| (!known.held || held) && !retried);
                let since = goes_on.map_or_else(|| now.clone(), |it| it.since.clone());
                Updating { name: it.name.to_owned(), since, held }
            })
            .collect()
    }
}

/// Where it stands, in words that change with the state only.
fn told(status: &RolloutStatus, waits: &str) -> String {
    let wave = format!("wave {} ({})", status.wave, status.step.replace('/', " of "));
    match status.state {
        RolloutState::Completed => format!("every cluster was given revision {}", status.to),
        RolloutState::WaitingForApproval => format!("{wave} waits for approval"),
        RolloutState::Paused if status.failure.is_empty() => format!("paused at {wave}"),
        RolloutState::Paused => format!("paused at {wave}: {}", status.failure_message),
        RolloutState::Progressing | RolloutState::Soaking | RolloutState::Gated
            if waits.is_empty() =>
        {
            format!("{wave} is on its way")
        }
        RolloutState::Progressing | RolloutState::Soaking | RolloutState::Gated => {
            format!("{wave}: {waits}")
        }
        RolloutState::Aborted => String::new(),
    }
}

/// The reason code of where a rollout stands.
pub(crate) fn reason_of(status: &RolloutStatus) -> &str {
    match status.state {
        RolloutState::Progressing => reason::PROGRESSING,
        RolloutState::Soaking => reason::SOAKING,
        RolloutState::Gated => reason::GATE_CLOSED,
        RolloutState::WaitingForApproval => reason::WAITING_FOR_APPROVAL,
        RolloutState::Paused if status.failure.is_empty() => reason::PAUSED,
        RolloutState::Paused => &status.failure,
        RolloutState::Completed => reason::COMPLETED,
        RolloutState::Aborted => reason::ABORTED,
    }
}

#[cfg(test)]
mod tests;
