//! What people say to a rollout: `archipel rollout approve|pause|resume|abort|undo|retry`.

use clap::Args;
use federation_types::rollout::{Rollout, RolloutSpec, RolloutState, RolloutStatus, WaveState};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::Template;
use crate::output::{self, Failure};

#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    template: Template,
    /// The wave; left out: the one that waits now.
    #[arg(long, value_name = "WAVE")]
    wave: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    template: Template,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    template: Template,
}

#[derive(Debug, Args)]
pub(crate) struct Abort {
    #[command(flatten)]
    template: Template,
}

#[derive(Debug, Args)]
pub(crate) struct Undo {
    #[command(flatten)]
    template: Template,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    template: Template,
}

impl Approve {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        say(&self.template, |spec, status| approve(spec, status, self.wave.as_deref())).await
    }
}

impl Pause {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        say(&self.template, |_, status| pause(status)).await
    }
}

impl Resume {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        say(&self.template, |spec, status| resume(spec, status, &now())).await
    }
}

impl Abort {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        say(&self.template, |_, status| abort(status)).await
    }
}

impl Undo {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        say(&self.template, |_, status| undo(status)).await
    }
}

impl Retry {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        say(&self.template, |_, status| retry(status, &now())).await
    }
}

fn now() -> String {
    Timestamp::now().to_string()
}

/// What is written, and what is told of it; or why it makes no sense.
type Said = Result<(Value, String), String>;

async fn say(
    template: &Template,
    what: impl Fn(&RolloutSpec, &RolloutStatus) -> Said,
) -> Result<(), Failure> {
    let found = template.find().await?;
    let (rollout, status) = found.known()?;
    let (spec, told) =
        what(&rollout.spec, status).map_err(|why| format!("{}: {why}", found.key))?;
    // It is said of what was read: where that has changed by now, it is looked at again first.
    let version = &rollout.metadata.resource_version;
    let patch = json!({"metadata": {"resourceVersion": version}, "spec": spec});
    let written: Result<Rollout, _> =
        found.api.patch(&found.name, &PatchParams::default(), &Patch::Merge(patch)).await;
    match written {
        Ok(_) => (),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let why = "the rollout has moved on in this moment: look at `archipel rollout status`";
            return Err(format!("{}: {why}", found.key).into());
        }
        Err(error) => return Err(error.into()),
    }
    output::line(format_args!("{}: {told}", found.key));
    Ok(())
}

fn approve(spec: &RolloutSpec, status: &RolloutStatus, wave: Option<&str>) -> Said {
    let waiting =
        |it: &&federation_types::rollout::WaveStatus| it.state == WaveState::WaitingForApproval;
    let wave = match wave {
        None => match status.waves.iter().find(waiting) {
            Some(it) if !status.state.is_over() => &it.name,
            _ => {
                return Err(
                    "no wave waits for approval; name one that is to come with --wave".to_owned()
                );
            }
        },
        Some(wave) => match status.waves.iter().find(|it| it.name == wave) {
            Some(it) if it.started.is_empty() && !status.state.is_over() => &it.name,
            Some(_) => return Err(format!("wave {wave} is not to come any more")),
            None => {
                let names: Vec<&str> = status.waves.iter().map(|it| it.name.as_str()).collect();
                return Err(format!("there is no wave {wave}; its waves are {}", names.join(", ")));
            }
        },
    };
    let mut approved = if spec.revision == status.to { spec.approved.clone() } else { Vec::new() };
    if !approved.contains(wave) {
        approved.push(wave.clone());
    }
    Ok((json!({"revision": status.to, "approved": approved}), format!("wave {wave} is approved")))
}

fn pause(status: &RolloutStatus) -> Said {
    if status.state.is_over() {
        return Err(format!("its rollout is {}: there is nothing to pause", status.state.word()));
    }
    Ok((json!({"paused": true}), "paused: nothing more is released until `resume`".to_owned()))
}

fn resume(spec: &RolloutSpec, status: &RolloutStatus, now: &str) -> Said {
    if status.state == RolloutState::Aborted {
        return Err("its rollout is Aborted: `retry` begins it again".to_owned());
    }
    if !spec.paused && status.failure.is_empty() {
        return Err("its rollout is not paused".to_owned());
    }
    let mut said = json!({"paused": false});
    if !status.failure.is_empty() {
        said["retry"] = json!(now);
    }
    Ok((said, "it goes on".to_owned()))
}

/// Every cluster goes back to the revision before.
fn back(status: &RolloutStatus) -> Said {
    if status.from.is_empty() || status.from == status.to {
        return Err(
            "it moves to other clusters in the revision that runs: `pause` holds that".to_owned()
        );
    }
    let said = json!({"revision": status.to, "aborted": true});
    Ok((said, format!("every cluster returns to revision {}", status.from)))
}

fn abort(status: &RolloutStatus) -> Said {
    match status.state {
        RolloutState::Completed => Err("its rollout is Completed: `undo` takes it back".to_owned()),
        RolloutState::Aborted => Err("its rollout is Aborted already".to_owned()),
        _ => back(status),
    }
}

fn undo(status: &RolloutStatus) -> Said {
    match status.state {
        RolloutState::Completed => back(status),
        RolloutState::Aborted => Err("its rollout is Aborted already".to_owned()),
        _ => Err("its rollout is not over: `abort` takes it back".to_owned()),
    }
}

fn retry(status: &RolloutStatus, now: &str) -> Said {
    if status.state != RolloutState::Aborted && status.failure.is_empty() {
        return Err("its rollout has neither failed nor been aborted".to_owned());
    }
    let said = json!({"paused": false, "aborted": false, "retry": now});
    Ok((said, format!("revision {} is released again", status.to)))
}

#[cfg(test)]
mod tests {
    use federation_types::rollout::WaveStatus;

    use super::*;

    fn status(state: RolloutState) -> RolloutStatus {
        let wave = |name: &str, state, started: &str| WaveStatus {
            name: name.into(),
            state,
            started: started.into(),
            ..WaveStatus::default()
        };
        RolloutStatus {
            state,
            from: "r1".into(),
            to: "r2".into(),
            waves: vec![
                wave("canary", WaveState::Done, "t"),
                wave("eu", WaveState::WaitingForApproval, ""),
                wave("rest", WaveState::Pending, ""),
            ],
            ..RolloutStatus::default()
        }
    }

    #[test]
    fn an_approval_is_of_the_wave_that_waits_or_of_one_to_come() {
        let waits = status(RolloutState::WaitingForApproval);
        let spec = RolloutSpec::default();
        let approved = |wave| approve(&spec, &waits, wave).map(|it| it.0["approved"].clone());
        assert_eq!(approved(None), Ok(json!(["eu"])));
        assert_eq!(approved(Some("rest")), Ok(json!(["rest"])));
        assert!(approved(Some("canary")).unwrap_err().contains("not to come"));
        assert!(approved(Some("us")).unwrap_err().contains("canary, eu, rest"));
        let known =
            RolloutSpec { revision: "r2".into(), approved: vec!["rest".into()], ..spec.clone() };
        assert_eq!(approve(&known, &waits, None).unwrap().0["approved"], json!(["rest", "eu"]));
        let older = RolloutSpec { revision: "r1".into(), ..known };
        let said = approve(&older, &waits, None).unwrap().0;
        assert_eq!(said, json!({"revision": "r2", "approved": ["eu"]}));
        assert!(approve(&spec, &status(RolloutState::Completed), None).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_answered_with_what_does() {
        let mut failed = status(RolloutState::Paused);
        failed.failure = "CopyFailed".into();
        let spec = RolloutSpec::default();
        assert_eq!(resume(&spec, &failed, "t").unwrap().0, json!({"paused": false, "retry": "t"}));
        assert!(resume(&spec, &status(RolloutState::Progressing), "t").is_err());
        assert!(resume(&spec, &status(RolloutState::Aborted), "t").unwrap_err().contains("retry"));
        assert!(abort(&status(RolloutState::Completed)).unwrap_err().contains("undo"));
        assert!(undo(&status(RolloutState::Progressing)).unwrap_err().contains("abort"));
        let taken = json!({"revision": "r2", "aborted": true});
        assert_eq!(abort(&status(RolloutState::Soaking)).unwrap().0, taken);
        assert_eq!(undo(&status(RolloutState::Completed)).unwrap().0, taken);
        assert!(pause(&status(RolloutState::Completed)).is_err());
        assert!(retry(&status(RolloutState::Progressing), "t").is_err());
        assert_eq!(retry(&status(RolloutState::Aborted), "t").unwrap().0["aborted"], json!(false));
        let moves = RolloutStatus { from: "r2".into(), ..status(RolloutState::Progressing) };
        assert!(abort(&moves).unwrap_err().contains("pause"));
    }
}
