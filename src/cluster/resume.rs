//! `archipel cluster resume`: writes into a member again that is only observed (RULES 4.3).

use std::time::Duration;

use clap::Args;
use federation_types::{
    cluster::MemberCluster,
    condition::{self, Condition},
    names::RESUME_ANNOTATION,
    reason::condition::SYNC_PAUSED,
};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::leave::{limited, until};
use crate::{
    hub::Hub,
    output::{self, Failure},
};

/// How long the hub may take to hear of it.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The member.
    name: String,
    #[command(flatten)]
    hub: Hub,
}

impl Resume {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let members = Api::<MemberCluster>::all(self.hub.client().await?);
        let name = self.name.as_str();
        let member =
            members.get_opt(name).await?.ok_or_else(|| format!("there is no member `{name}`"))?;
        let Some(paused) = paused(&member) else {
            output::line(format_args!("{name} is not paused: there is nothing to resume"));
            return Ok(());
        };
        output::progress(format_args!("{name} is paused: {}", paused.message));
        output::progress(format_args!(
            "{name}: what it holds newer than the hub is overwritten with what the hub holds"
        ));
        let annotation = json!({"metadata": {"annotations": {
            RESUME_ANNOTATION: later_than(paused, Timestamp::now()).to_string(),
        }}});
        members.patch(name, &PatchParams::default(), &Patch::Merge(annotation)).await?;
        let waiting = until(&members, name, |it| match it {
            Some(it) if self::paused(it).is_some() => {
                Err("waiting for the hub to take up writing".to_owned())
            }
            Some(_) | None => Ok(()),
        });
        limited(Some(PATIENCE), waiting).await?;
        output::line(format_args!("{name} is written again"));
        Ok(())
    }
}

/// The condition of a member that is only observed.
pub(crate) fn paused(member: &MemberCluster) -> Option<&Condition> {
    let conditions = &member.status.as_ref()?.conditions;
    condition::find(conditions, SYNC_PAUSED).filter(|it| it.status == "True")
}

/// Now, or just after the pause where the clock here is behind the hub's: an earlier time would not count.
fn later_than(paused: &Condition, now: Timestamp) -> Timestamp {
    let since = paused.last_transition_time.parse::<Timestamp>().ok();
    let after = since.and_then(|it| it.checked_add(SignedDuration::from_millis(1)).ok());
    after.map_or(now, |it| it.max(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_3_a_clock_that_is_behind_does_not_make_a_resume_come_before_the_pause() {
        let paused =
            |at: &str| Condition { last_transition_time: at.to_owned(), ..Condition::default() };
        let time = |it: &str| it.parse::<Timestamp>().expect("a time");
        let now = time("2026-01-01T00:00:00Z");
        assert_eq!(later_than(&paused("2025-12-31T00:00:00Z"), now), now);
        let since = "2026-01-01T00:05:00Z";
        assert!(later_than(&paused(since), now) > time(since));
        assert_eq!(later_than(&paused("never"), now), now);
    }
}
