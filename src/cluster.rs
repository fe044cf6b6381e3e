//! `archipel cluster`: join, list, resume and let go of members (RULES 4.3, 4.8).

use clap::Subcommand;

use crate::output::Failure;

pub(crate) mod join;
pub(crate) mod leave;
mod list;
pub(crate) mod resume;

#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Join a cluster by its kubeconfig; exits once it is ready.
    Join(Box<join::Join>),
    /// List the members.
    List(list::List),
    /// Let a member go.
    Leave(leave::Leave),
    /// Write into a member again that holds later generations than the hub, over what is newer there.
    Resume(resume::Resume),
}

impl Cluster {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Join(it) => it.run().await,
            Self::List(it) => it.run().await,
            Self::Leave(it) => it.run().await,
            Self::Resume(it) => it.run().await,
        }
    }
}
