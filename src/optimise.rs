//! `archipel optimise`: a plan for the whole fleet that costs less, with how far from the least cost it may be. It is
//! worked out here, from what the user may read, and changes nothing.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use federation_types::{money::Money, placement::Placement, validate};
use placement_engine::{
    Plan, Previous, Room,
    plan::{Action, Change},
};
use placement_optimise::{Model, Optimum, SolveError, Subject};
use serde_json::{Value, json};

use crate::{
    hub::Hub,
    output::{self, Failure, Table},
    seen::Seen,
};

#[derive(Debug, Args)]
pub(crate) struct Optimise {
    /// Move at most so many replicas.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    budget_moves: Option<i64>,
    /// Stop looking after this time, and say so.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    time: Duration,
    /// Write the instance with its solution as JSON, so that another solver can be asked.
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: PlanFormat,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    #[default]
    Text,
    Json,
    Markdown,
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
        let seen = Seen::read(&client, None, replicated).await?;
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
        match self.output {
            PlanFormat::Json => {
                let text = serde_json::to_string_pretty(&report(&model, &optimum, &subjects))?;
                output::line(text);
            }
            PlanFormat::Text => print(&model, &optimum, &subjects, false),
            PlanFormat::Markdown => print(&model, &optimum, &subjects, true),
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

fn report(model: &Model<'_>, optimum: &Optimum, subjects: &[Subject]) -> Value {
    let answer = &optimum.answer;
    let left_out: Vec<Value> = model
        .left_out
        .iter()
        .map(|(at, why)| json!({"template": subjects[*at].workload.key.to_string(), "why": why}))
        .collect();
    json!({
        "plan": optimum.plan,
        "todayMicrosPerHour": answer.today,
        "planMicrosPerHour": answer.tally.cost,
        "boundMicrosPerHour": answer.bound,
        "gapMillionths": answer.gap(),
        "replicasMoved": answer.tally.moved,
        "stoppedByTheClock": answer.stopped,
        "leftOut": left_out,
    })
}

fn print(model: &Model<'_>, optimum: &Optimum, subjects: &[Subject], markdown: bool) {
    let Plan { templates, .. } = &optimum.plan;
    if markdown {
        output::line("| template | cluster | change | per month |");
        output::line("| --- | --- | --- | --- |");
    }
    let mut table = Table::new(&["TEMPLATE", "CLUSTER", "CHANGE", "PER MONTH"]);
    for it in templates {
        let cost = format!("{} → {}", Money(it.cost_before), Money(it.cost_after));
        for Change { cluster, action, .. } in &it.changes {
            let cells = vec![it.template.to_string(), cluster.clone(), said(action), cost.clone()];
            if markdown {
                output::line(format_args!("| {} |", cells.join(" | ")));
            } else {
                table.row(cells);
            }
        }
    }
    if !markdown && !templates.is_empty() {
        table.print();
    }
    output::line("");
    let answer = &optimum.answer;
    let mut why: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, reason) in &model.left_out {
        *why.entry(reason).or_default() += 1;
    }
    let bullet = if markdown { "- " } else { "" };
    let say = |text: std::fmt::Arguments<'_>| output::line(format_args!("{bullet}{text}"));
    say(format_args!(
        "{} of {} workloads may move; {} replicas of {} workloads do",
        model.subjects.len(),
        subjects.len(),
        answer.tally.moved,
        templates.len()
    ));
    for (reason, count) in why {
        say(format_args!("{count} stay: {reason}"));
    }
    let today = answer.today.unwrap_or(answer.tally.cost);
    say(format_args!(
        "marginal cost per month: {} → {}; nothing can be below {} (gap {})",
        monthly(today),
        monthly(answer.tally.cost),
        monthly(answer.bound),
        percent(answer.gap())
    ));
    if answer.stopped {
        say(format_args!("stopped by the clock: a longer --time may find more"));
    }
}

fn said(action: &Action) -> String {
    let number = |it: &Option<i64>| it.map_or_else(|| "all".to_owned(), |it| it.to_string());
    match action {
        Action::Add { replicas } => format!("+ {}", number(replicas)),
        Action::Resize { from, to } => format!("{from} → {to}"),
        Action::Remove { replicas } => format!("- {}", number(replicas)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_parts_are_read_and_said() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("0s").is_err() && duration("soon").is_err());
        assert_eq!(percent(12_345), "1.23 %");
        assert_eq!(said(&Action::Resize { from: 3, to: 1 }), "3 → 1");
        assert_eq!(said(&Action::Add { replicas: Some(2) }), "+ 2");
    }
}
