//! `archipel rollout status KIND/NAME`: which waves a change has reached, and what it waits for.

use std::{fmt::Write as _, time::Duration};

use clap::Args;
use federation_types::{
    condition,
    names::ObjectKey,
    reason::condition::READY,
    rollout::{RolloutState, RolloutStatus, WaveState, WaveStatus},
    words::counted,
};
use jiff::Timestamp;

use super::Template;
use crate::output::{self, Failure, Format};

/// How often a rollout that is watched is looked at.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    template: Template,
    /// Stay until it is over; fails if it is aborted, or paused by a failure.
    #[arg(long, short = 'w')]
    watch: bool,
    /// How it is printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Format,
}

impl Status {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut found = self.template.find().await?;
        let mut said = String::new();
        if self.watch {
            // What is over may be the change before.
            while !found.is_decided().await? {
                tokio::time::sleep(LOOK).await;
            }
            found.look().await?;
        }
        loop {
            if !self.watch && found.rollout.is_none() {
                output::line(found.nothing());
                return Ok(());
            }
            let (rollout, status) = found.known()?;
            let text = text(&found.key, status, &self.template.object, Timestamp::now());
            if text.0 != said {
                if !output::machine(self.output, rollout)? {
                    output::line(text.1.trim_end());
                }
                said = text.0;
            }
            if !self.watch {
                return Ok(());
            }
            if status.state == RolloutState::Completed {
                return Ok(());
            }
            if status.state == RolloutState::Aborted || !status.failure.is_empty() {
                return Err(message(status).to_owned().into());
            }
            tokio::time::sleep(LOOK).await;
            found.look().await?;
        }
    }
}

fn message(status: &RolloutStatus) -> &str {
    condition::find(&status.conditions, READY).map_or("", |it| &it.message)
}

/// What is shown; before it, the part that does not change by time alone.
fn text(key: &ObjectKey, status: &RolloutStatus, object: &str, now: Timestamp) -> (String, String) {
    let mut waves = String::new();
    for wave in &status.waves {
        line(&mut waves, wave, status, object, &key.namespace);
    }
    if status.state == RolloutState::Paused || status.state.is_over() {
        waves.push_str(message(status));
        waves.push('\n');
    }
    let mut head = format!("{key}   {} → {}", short(&status.from), short(&status.to));
    if !status.step.is_empty() {
        push(&mut head, format_args!("   wave {}", status.step));
    }
    push(&mut head, format_args!("   {}", status.state.word()));
    let whole = match since(&status.started, &status.finished, now) {
        Some(time) => format!("{head}   {time}\n{waves}"),
        None => format!("{head}\n{waves}"),
    };
    (format!("{head}\n{waves}"), whole)
}

/// `✓ wave canary   1/1 ready`
fn line(
    out: &mut String,
    wave: &WaveStatus,
    status: &RolloutStatus,
    object: &str,
    namespace: &str,
) {
    let WaveStatus { name, clusters, released, ready, .. } = wave;
    let current = status.wave == *name;
    let paused = status.state == RolloutState::Paused || status.state == RolloutState::Aborted;
    let mark = match wave.state {
        WaveState::Done => '✓',
        WaveState::WaitingForApproval => '‖',
        _ if current && paused => '‖',
        WaveState::Progressing | WaveState::Soaking | WaveState::Gated => '…',
        WaveState::Pending => ' ',
    };
    push(out, format_args!("{mark} wave {name}   {ready}/{clusters} ready"));
    let way: Vec<&str> = status.updating.iter().map(|it| it.name.as_str()).collect();
    match wave.state {
        // After an abort nobody waits for an approval.
        WaveState::WaitingForApproval if !status.state.is_over() => {
            let place =
                if namespace.is_empty() { String::new() } else { format!(" -n {namespace}") };
            push(out, format_args!("   needs approval: archipel rollout approve {object}{place}"));
        }
        WaveState::Progressing if current && !way.is_empty() => {
            let more = way.len().saturating_sub(3);
            let named = way[..way.len() - more].join(", ");
            push(out, format_args!("   on the way: {named}"));
            if more > 0 {
                push(out, format_args!(" and {}", counted(more, "other", "others")));
            }
        }
        WaveState::Soaking | WaveState::Gated if current => {
            let message = message(status);
            push(out, format_args!("   {}", message.split_once(": ").map_or(message, |it| it.1)));
        }
        WaveState::Pending if *released > 0 => push(out, format_args!("   {released} released")),
        _ => (),
    }
    out.push('\n');
}

/// `6m`
fn since(started: &str, finished: &str, now: Timestamp) -> Option<String> {
    let begun = started.parse::<Timestamp>().ok()?;
    let seconds = (finished.parse().unwrap_or(now)).as_second() - begun.as_second();
    Some(match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3_600),
    })
}

fn short(revision: &str) -> &str {
    revision.get(..8).unwrap_or(revision)
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes whatever is written to it");
}

#[cfg(test)]
mod tests {
    use federation_types::{condition::Condition, names::Gvk, rollout::Updating};

    use super::*;

    #[test]
    fn a_rollout_is_a_line_per_wave() {
        let wave = |name: &str, state, clusters, released, ready| WaveStatus {
            name: name.into(),
            state,
            clusters,
            released,
            ready,
            ..WaveStatus::default()
        };
        let mut status = RolloutStatus {
            state: RolloutState::Progressing,
            from: "9f3c000000000000".into(),
            to: "8ab1000000000000".into(),
            wave: "eu".into(),
            step: "2/3".into(),
            waves: vec![
                wave("canary", WaveState::Done, 1, 1, 1),
                wave("eu", WaveState::Progressing, 3, 2, 1),
                wave("rest", WaveState::Pending, 6, 0, 0),
            ],
            updating: vec![Updating { name: "eks-2".into(), ..Updating::default() }],
            started: "2026-11-21T10:00:00Z".into(),
            ..RolloutStatus::default()
        };
        let gvk = Gvk::new("apps/v1", "Deployment");
        let key = ObjectKey { gvk, namespace: "shop".into(), name: "web".into() };
        let now = "2026-11-21T10:06:30Z".parse().unwrap();
        let shown = |status: &RolloutStatus| text(&key, status, "deploy/web", now).1;
        assert_eq!(
            shown(&status),
            "Deployment shop/web   9f3c0000 → 8ab10000   wave 2/3   Progressing   6m\n\
             ✓ wave canary   1/1 ready\n\
             … wave eu   1/3 ready   on the way: eks-2\n  \
             wave rest   0/6 ready\n"
        );
        status.waves[1].state = WaveState::Done;
        status.waves[2].state = WaveState::WaitingForApproval;
        let waits = shown(&status);
        let command = "needs approval: archipel rollout approve deploy/web -n shop";
        assert!(waits.contains(&format!("‖ wave rest   0/6 ready   {command}\n")), "{waits}");
        status.state = RolloutState::Aborted;
        status.conditions.push(Condition {
            kind: READY.into(),
            message: "every cluster is back".into(),
            ..Condition::default()
        });
        let aborted = shown(&status);
        assert!(aborted.ends_with("every cluster is back\n"), "{aborted}");
        assert!(!aborted.contains("needs approval"), "{aborted}");
    }
}
