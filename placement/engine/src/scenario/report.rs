//! What the engine decides in a scenario, in text: for each workload one sentence, what changes, and a line for each
//! cluster.

use std::fmt::{self, Write as _};

use federation_types::{
    review::ExplanationStatus,
    validate::{self, Problem},
};

use super::{Deciding, Given, Scenario, refused};
use crate::{
    beside::Beside,
    claim::{Facts, claim, never},
    explain::explain,
    fleet::Fleet,
    place::{Decision, place},
    plan::{self, Action, TemplatePlan},
    policy::CompiledPolicy,
    room::Room,
    workload::Workload,
};

/// What decisions leave behind for the next ones.
struct Stage {
    room: Room,
    /// The clusters of each workload.
    placed: Vec<Vec<String>>,
}

impl Scenario {
    /// Decides for every workload in turn, and says what came out.
    pub fn report(&self) -> String {
        let fleet = self.fleet();
        let clusters = |it: &Given| -> Vec<String> {
            it.previous.clusters.iter().map(|it| it.name.clone()).collect()
        };
        let mut stage = Stage {
            room: Room::new(&fleet),
            placed: self.workloads.iter().map(clusters).collect(),
        };
        let mut blocks = Vec::new();
        for (at, it) in self.workloads.iter().enumerate() {
            blocks.push(self.block(&fleet, &mut stage, (at, it)));
        }
        blocks.join("\n")
    }

    fn block(&self, fleet: &Fleet, stage: &mut Stage, given: (usize, &Given)) -> String {
        let mut out = String::new();
        let told = match &self.deciding {
            Deciding::One { spec, namespace, limits } => {
                let limits: Vec<_> = limits.iter().map(|(name, it)| (name.as_str(), it)).collect();
                let mut problems = validate::placement_policy(spec);
                match CompiledPolicy::compile("the policy", namespace.as_deref(), spec, &limits) {
                    Ok(policy) if problems.is_empty() => {
                        self.decide(fleet, stage, given, &policy, &mut out)
                    }
                    Ok(_) => problem_lines(&mut out, &problems),
                    Err(more) => {
                        problems.extend(more);
                        problem_lines(&mut out, &problems)
                    }
                }
            }
            Deciding::Claims(_) => self.claimed(fleet, stage, given, &mut out),
        };
        told.expect("writing to a String does not fail");
        out
    }

    fn claimed(
        &self,
        fleet: &Fleet,
        stage: &mut Stage,
        given: (usize, &Given),
        out: &mut String,
    ) -> fmt::Result {
        let Given { workload, secret_type, .. } = given.1;
        let key = &workload.key;
        let Deciding::Claims(policies) = &self.deciding else { return Ok(()) };
        let facts = Facts { key, labels: &workload.labels, secret_type };
        if let Some(why) = never(&facts) {
            return writeln!(out, "{key}: never a template: {why}");
        }
        let claim = claim(&facts, policies);
        let Some(winner) = &claim.winner else {
            return writeln!(out, "{key}: claimed by no policy: it stays on the hub");
        };
        let problems = refused(winner);
        if !problems.is_empty() {
            writeln!(out, "{key}: {} is not valid", winner.title())?;
            return problem_lines(out, &problems);
        }
        match claim.compile() {
            Some(Ok(policy)) => {
                self.decide(fleet, stage, given, &policy, out)?;
                for (policy, lost) in &claim.shadowed {
                    writeln!(out, "also matched by {}: {}", policy.title(), lost.text())?;
                }
                Ok(())
            }
            Some(Err(problems)) => {
                writeln!(out, "{key}: {} cannot decide", winner.title())?;
                problem_lines(out, &problems)
            }
            None => Ok(()),
        }
    }

    fn decide(
        &self,
        fleet: &Fleet,
        stage: &mut Stage,
        (at, given): (usize, &Given),
        policy: &CompiledPolicy,
        out: &mut String,
    ) -> fmt::Result {
        let Given { workload, previous, .. } = given;
        let all = self.workloads.iter().zip(&stage.placed);
        let others = all.map(|(it, clusters)| {
            let clusters = clusters.iter().map(String::as_str).collect();
            (&it.workload.key, &it.workload.labels, clusters)
        });
        let beside = Beside::of(&policy.spec, &workload.key, &workload.labels, others);
        let workload = &Workload { beside, ..workload.clone() };
        let room = &mut stage.room;
        let explanation = explain(fleet, room, workload, policy, previous, None);
        let decision = place(fleet, room, workload, policy, previous);
        let changes = plan::diff(fleet, workload, policy, previous, &decision, self.since);
        stage.placed[at] =
            decision.clusters.iter().map(|it| fleet.name(it.cluster).to_owned()).collect();
        let title = matches!(self.deciding, Deciding::Claims(_)).then_some(policy.name.as_str());
        write_decision(out, (fleet, self.figures), title, &explanation, &decision, &changes)
    }
}

fn problem_lines(out: &mut String, problems: &[Problem]) -> fmt::Result {
    problems.iter().try_for_each(|it| writeln!(out, "{}: {}", it.field, it.message))
}

fn write_decision(
    out: &mut String,
    (fleet, figures): (&Fleet, bool),
    claimed_by: Option<&str>,
    explanation: &ExplanationStatus,
    decision: &Decision,
    changes: &TemplatePlan,
) -> fmt::Result {
    writeln!(out, "{}", explanation.summary)?;
    if let Some(policy) = claimed_by {
        writeln!(out, "claimed by {policy}")?;
    }
    writeln!(out, "reason {}", decision.outcome.reason())?;
    if !explanation.affinity.is_empty() {
        writeln!(out, "affinity {}", explanation.affinity)?;
    }
    writeln!(out, "monthly {}", explanation.monthly_cost)?;
    if figures {
        writeln!(out, "marginal {}", explanation.marginal_monthly_cost)?;
        writeln!(out, "committed {}", explanation.committed_monthly_cost)?;
    }
    if !decision.spot.is_empty() {
        let on: Vec<_> = decision.spot.iter().map(|it| fleet.name(*it)).collect();
        writeln!(out, "on spot nodes: {}", on.join(", "))?;
    }
    for note in &explanation.notes {
        writeln!(out, "note: {note}")?;
    }
    for it in &changes.changes {
        let number = |it: &Option<i64>| it.map_or(String::new(), |it| format!(" {it}"));
        let action = match &it.action {
            Action::Add { replicas } => format!("add{}", number(replicas)),
            Action::Remove { replicas } => format!("remove{}", number(replicas)),
            Action::Resize { from, to } => format!("resize {from} to {to}"),
        };
        writeln!(out, "change {}: {action}, {}", it.cluster, it.cause)?;
    }
    if changes.needs_approval {
        writeln!(out, "needs approval")?;
    }
    for it in &explanation.clusters {
        write!(out, "{} {}", it.cluster, it.rule)?;
        for (name, text) in [
            ("by", &it.policy),
            ("wanted", &it.wanted),
            ("found", &it.found),
            ("would change:", &it.would_change),
        ] {
            if !text.is_empty() {
                write!(out, "; {name} {text}")?;
            }
        }
        out.push('\n');
    }
    Ok(())
}
