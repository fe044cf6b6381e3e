//! `archipel orphans`: copies in members that have neither template nor tombstone (RULES 4.3).

mod change;
pub(crate) mod member;

use clap::{Args, Subcommand};
use federation_types::cluster::MemberCluster;
use kube::{Api, ResourceExt, api::ListParams};
use serde::Serialize;

use crate::{
    hub::Hub,
    output::{self, Failure, Format, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Orphans {
    /// List them; nothing is changed.
    List(List),
    /// Make templates of them on the hub again, from what the hub once wrote.
    Adopt(change::Change),
    /// Delete them in the member.
    Delete(change::Change),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this member.
    #[arg(value_name = "CLUSTER")]
    cluster: Option<String>,
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Debug, Serialize)]
struct Orphan {
    cluster: String,
    object: String,
}

impl Orphans {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(it) => it.run().await,
            Self::Adopt(it) => it.adopt().await,
            Self::Delete(it) => it.delete().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let members = Api::<MemberCluster>::all(self.hub.client().await?);
        let clusters = match &self.cluster {
            None => members.list(&ListParams::default()).await?.items,
            Some(name) => {
                let member = members.get_opt(name).await?;
                vec![member.ok_or_else(|| format!("there is no member `{name}`"))?]
            }
        };
        let mut orphans = Vec::new();
        for cluster in clusters {
            let name = cluster.name_any();
            for object in cluster.status.unwrap_or_default().unknown_copies {
                orphans.push(Orphan { cluster: name.clone(), object });
            }
        }
        if output::machine(self.output, &orphans)? {
            return Ok(());
        }
        if orphans.is_empty() {
            let place = self.cluster.map_or(String::new(), |it| format!(" in {it}"));
            output::line(format_args!("no unknown copies{place}"));
            return Ok(());
        }
        let mut table = Table::new(&["CLUSTER", "OBJECT"]);
        for orphan in orphans {
            table.row(vec![orphan.cluster, orphan.object]);
        }
        table.print();
        Ok(())
    }
}
