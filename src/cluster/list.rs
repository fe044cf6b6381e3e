//! `archipel cluster list`

use clap::Args;
use federation_types::{
    budget::Freeze, cluster::MemberCluster, condition, reason::condition::READY,
};
use kube::{Api, ResourceExt, api::ListParams};

use super::resume;
use crate::{
    freeze,
    hub::Hub,
    output::{self, Failure, Format, Table},
};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// How it is printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    hub: Hub,
}

impl List {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.hub.client().await?;
        let members = Api::<MemberCluster>::all(client.clone());
        let mut members = members.list(&ListParams::default()).await?.items;
        for member in &mut members {
            member.metadata.managed_fields = None;
        }
        if output::machine(self.output, &members)? {
            return Ok(());
        }
        if members.is_empty() {
            output::line("no members yet: `archipel cluster join` adds one");
            return Ok(());
        }
        let wide = self.output == Format::Wide;
        let frozen = if wide { freeze::frozen(&client).await? } else { Freeze::default() };
        table(&members, &frozen, wide).print();
        Ok(())
    }
}

/// The members as a table.
fn table(members: &[MemberCluster], frozen: &Freeze, wide: bool) -> Table {
    let mut headers = vec!["NAME", "PROVIDER", "REGION", "READY", "VERSION", "NODES", "COPIES"];
    if wide {
        headers.extend(["JURISDICTION", "TAINTS", "LAST SEEN", "SYNC", "MESSAGE"]);
    }
    let mut table = Table::new(&headers);
    for member in members {
        let status = member.status.clone().unwrap_or_default();
        let ready = condition::find(&status.conditions, READY);
        let word = match ready {
            None => "Unknown".to_owned(),
            Some(it) if it.status == "True" => "True".to_owned(),
            Some(it) => format!("{} ({})", it.status, it.reason),
        };
        let mut cells = vec![
            member.name_any(),
            member.spec.provider.clone(),
            member.spec.region.clone(),
            word,
            status.version,
            status.nodes.to_string(),
            status.copies.to_string(),
        ];
        if wide {
            let taints = member
                .spec
                .taints
                .iter()
                .map(|it| format!("{}={}:{:?}", it.key, it.value, it.effect));
            cells.push(member.spec.jurisdiction.clone());
            cells.push(taints.collect::<Vec<_>>().join(","));
            cells.push(status.last_seen);
            let paused = resume::paused(member);
            let stopped = frozen.all || frozen.clusters.contains(&member.name_any());
            let sync = if stopped { "frozen" } else { "on" };
            cells.push(if paused.is_some() { "paused" } else { sync }.to_owned());
            // Why it is not ready says more than that it is.
            let trouble = ready.filter(|it| it.status != "True").or(paused).or(ready);
            cells.push(trouble.map(|it| it.message.clone()).unwrap_or_default());
        }
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use federation_types::cluster::{MemberClusterSpec, MemberClusterStatus};

    use super::*;

    #[test]
    fn rule_4_3_a_paused_member_is_shown_with_why() {
        let mut member = MemberCluster::new("a", MemberClusterSpec::default());
        let condition = |kind: &str, message: &str| condition::Condition {
            kind: kind.to_owned(),
            status: "True".to_owned(),
            message: message.to_owned(),
            ..Default::default()
        };
        let conditions =
            vec![condition(READY, "answers"), condition("SyncPaused", "generation 9 there")];
        member.status = Some(MemberClusterStatus { conditions, ..Default::default() });
        let text = table(&[member], &Freeze::default(), true).to_string();
        assert!(text.contains("paused   generation 9 there"), "{text}");
    }

    #[test]
    fn a_member_that_was_never_reached_is_not_shown_as_ready() {
        let spec = MemberClusterSpec { provider: "eks".to_owned(), ..Default::default() };
        let text = table(&[MemberCluster::new("a", spec)], &Freeze::default(), false).to_string();
        assert!(text.contains("Unknown"), "{text}");
    }
}
