//! `archipel optimise`: a plan for the whole fleet that costs less, with how far from the least cost it may be. Which
//! moves these are is worked out here, from what the user may read; what they would do says the hub, as of any plan.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::Args;
use federation_types::{
    money::Money,
    placement::Placement,
    review::plan::{Move, ObjectRef, PlanSpec, PlanStatus},
    validate, words,
};
use placement_engine::{
    Previous, Room,
    plan::{Action, TemplatePlan},
};
use placement_optimise::{Model, Optimum, SolveError, Subject};
use serde_json::{Value, json};

use crate::{
    hub::Hub,
    output::{self, Failure},
    plan::{self, CHANGES, PlanFormat},
    seen::Seen,
};

#[derive(Debug, Args)]
pub(crate) struct Optimise {
    /// Move at most so many replicas.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    budget_moves: Option<i64>,
    /// Stop looking after this time, and say so.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    time: Duration,
    /// Write the instance with its solution as JSON, so that another solver can be asked.
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// Keep the plan in a file, for `archipel apply`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: PlanFormat,
    /// Exit with 2 if something would move.
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Debug, thiserror::Error)]
enum OptimiseError {
    #[error("no answer")]
    Solve(#[from] SolveError),
    #[error("cannot write `{path}`")]
    Unwritable { path: PathBuf, source: std::io::Error },
}

fn duration(text: &str) -> Result<Duration, String> {
    match validate::seconds(text) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("must be a duration above zero, like 10s or 2m".to_owned()),
    }
}

impl Optimise {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.hub.client().await?;
        let replicated = |it: &Placement| it.spec.clusters.iter().any(|it| it.replicas.is_some());
        let seen = Seen::read(&client, &client, None, replicated).await?;
        let fleet = seen.fleet(&jiff::Timestamp::now().to_string());
        let subjects = subjects(&seen);
        let mut room = Room::new(&fleet);
        let model = Model::new(&fleet, &mut room, &subjects, self.budget_moves);
        let begin = tokio::time::Instant::now();
        let optimum = tokio::task::block_in_place(|| {
            model.optimise(&fleet, &|| begin.elapsed() >= self.time)
        })
        .map_err(OptimiseError::from)?;
        if let Some(path) = &self.dump {
            let content = json!({"instance": model.instance, "solution": optimum.answer.solution});
            std::fs::write(path, serde_json::to_vec(&content)?)
                .map_err(|source| OptimiseError::Unwritable { path: path.clone(), source })?;
        }
        let spec = PlanSpec { moves: moves(&optimum, &subjects), ..PlanSpec::default() };
        // Nothing to move: without moves the hub would be asked what waits for an approval.
        let mut status = match spec.moves.is_empty() {
            true => PlanStatus::default(),
            false => plan::ask_plan(&client, &spec, &[]).await?,
        };
        status.notes.extend(notes(&model, &optimum, subjects.len()));
        match self.output {
            PlanFormat::Json => {
                let text =
                    serde_json::to_string_pretty(&report(&model, &optimum, &subjects, &status))?;
                output::line(text);
            }
            other => plan::print(other, &status)?,
        }
        let changes = !spec.moves.is_empty();
        if let Some(path) = &self.out {
            plan::save(path, spec, status, Vec::new())?;
            output::progress(format_args!(
                "kept in {path}; next: archipel apply {path}",
                path = path.display()
            ));
        }
        if self.detailed_exitcode && changes {
            std::process::exit(CHANGES);
        }
        Ok(())
    }
}

/// The templates that are placed and claimed. One whose Placement is on the move is left alone.
fn subjects(seen: &Seen) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for placement in &seen.placements {
        if placement.spec.clusters.iter().any(|it| !it.leaving.is_empty()) {
            continue;
        }
        let Some(workload) = seen.workload(placement) else { continue };
        let Some(Ok(policy)) = seen.claim(&workload).compile() else { continue };
        let previous = Previous::from(&placement.spec);
        subjects.push(Subject { workload, policy, previous });
    }
    subjects.sort_by(|a, b| a.workload.key.cmp(&b.workload.key));
    subjects
}

/// µ$/h as dollars per month.
fn monthly(micros: i64) -> Money {
    Money(micros).per_month()
}

/// Millionths as per cent, to two digits.
fn percent(millionths: i64) -> String {
    format!("{}.{:02} %", millionths / 10_000, millionths % 10_000 / 100)
}

/// Where each template that changes is to run.
fn moves(optimum: &Optimum, subjects: &[Subject]) -> Vec<Move> {
    let of = |it: &TemplatePlan| {
        let subject = subjects.iter().find(|own| own.workload.key == it.template)?;
        Some(to_move(it, &subject.previous))
    };
    optimum.plan.templates.iter().filter(|it| !it.changes.is_empty()).filter_map(of).collect()
}

fn to_move(plan: &TemplatePlan, previous: &Previous) -> Move {
    let held = previous.clusters.iter().filter_map(|it| Some((it.name.clone(), it.replicas?)));
    let mut to: BTreeMap<String, i64> = held.collect();
    for it in &plan.changes {
        match it.action {
            Action::Add { replicas } => drop(to.insert(it.cluster.clone(), replicas.unwrap_or(0))),
            Action::Resize { to: n, .. } => drop(to.insert(it.cluster.clone(), n)),
            Action::Remove { .. } => drop(to.remove(&it.cluster)),
        }
    }
    let key = &plan.template;
    let template = ObjectRef {
        api_version: key.gvk.api_version(),
        kind: key.gvk.kind.to_string(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    };
    Move { template, to }
}

fn report(model: &Model<'_>, optimum: &Optimum, subjects: &[Subject], plan: &PlanStatus) -> Value {
    let answer = &optimum.answer;
    let left_out: Vec<Value> = model
        .left_out
        .iter()
        .map(|(at, why)| json!({"template": subjects[*at].workload.key.to_string(), "why": why}))
        .collect();
    json!({
        "plan": plan,
        "todayMicrosPerHour": answer.today,
        "planMicrosPerHour": answer.tally.cost,
        "boundMicrosPerHour": answer.bound,
        "gapMillionths": answer.gap(),
        "replicasMoved": answer.tally.moved,
        "stoppedByTheClock": answer.stopped,
        "leftOut": left_out,
    })
}

/// What is said beside the plan: what stays and why, and how good it is.
fn notes(model: &Model<'_>, optimum: &Optimum, all: usize) -> Vec<String> {
    let answer = &optimum.answer;
    let mut why: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, reason) in &model.left_out {
        *why.entry(reason).or_default() += 1;
    }
    let mut notes = vec![format!(
        "{} of {} may move; {} of {} do",
        model.subjects.len(),
        words::counted(all, "workload", "workloads"),
        words::counted(usize::try_from(answer.tally.moved).unwrap_or(0), "replica", "replicas"),
        words::counted(optimum.plan.templates.len(), "workload", "workloads")
    )];
    notes.extend(why.into_iter().map(|(reason, count)| format!("{count} stay: {reason}")));
    let today = answer.today.unwrap_or(answer.tally.cost);
    notes.push(format!(
        "marginal cost per month: {} → {}; nothing can be below {} (gap {})",
        monthly(today),
        monthly(answer.tally.cost),
        monthly(answer.bound),
        percent(answer.gap())
    ));
    if answer.stopped {
        notes.push("stopped by the clock: a longer --time may find more".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use federation_types::{
        names::{Gvk, ObjectKey},
        reason::cause,
    };
    use placement_engine::{PreviousCluster, plan::Change};

    use super::*;

    #[test]
    fn durations_and_parts_are_read_and_said() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("0s").is_err() && duration("soon").is_err());
        assert_eq!(percent(12_345), "1.23 %");
    }

    #[test]
    fn a_move_says_where_everything_is_to_run() {
        let held = |name: &str, n| PreviousCluster {
            name: name.to_owned(),
            replicas: Some(n),
            spot: false,
        };
        let previous = Previous {
            clusters: vec![held("a", 3), held("b", 2), held("c", 1)],
            ..Previous::default()
        };
        let change = |cluster: &str, action| Change {
            cluster: cluster.to_owned(),
            action,
            cause: cause::REBALANCED.to_owned(),
        };
        let plan = TemplatePlan {
            template: ObjectKey {
                gvk: Gvk::new("apps/v1", "Deployment"),
                namespace: "shop".into(),
                name: "web".into(),
            },
            changes: vec![
                change("a", Action::Remove { replicas: Some(3) }),
                change("b", Action::Resize { from: 2, to: 4 }),
                change("d", Action::Add { replicas: Some(1) }),
            ],
            cost_before: 0,
            cost_after: 0,
            at_least: false,
            needs_approval: false,
            unmet: String::new(),
        };
        let it = to_move(&plan, &previous);
        let to: Vec<_> = it.to.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(to, [("b", 4), ("c", 1), ("d", 1)]);
        assert_eq!(it.template.to_string(), "Deployment shop/web");
        assert_eq!(it.template.api_version, "apps/v1");
    }
}
