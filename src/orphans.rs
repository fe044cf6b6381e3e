//! `archipel orphans`: copies in members that have neither template nor tombstone (RULES 4.3).

mod change;
mod member;

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
        let clusters = Api::<MemberCluster>::all(self.hub.client().await?);
        let mut orphans = Vec::new();
        for cluster in clusters.list(&ListParams::default()).await? {
            let name = cluster.name_any();
            for object in cluster.status.unwrap_or_default().unknown_copies {
                orphans.push(Orphan { cluster: name.clone(), object });
            }
        }
        if output::machine(self.output, &orphans)? {
            return Ok(());
        }
        if orphans.is_empty() {
            output::line("no unknown copies");
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
