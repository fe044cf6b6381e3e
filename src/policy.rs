//! `archipel policy`: tests and lints of policies, offline: no hub is asked.

use clap::Subcommand;

use crate::output::Failure;

mod difference;
pub(crate) mod files;
mod lint;
mod read;
mod test;

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Decide scenarios, and compare with what they expect.
    Test(test::Test),
    /// Say what is wrong or odd about policies.
    Lint(lint::Lint),
    /// Say how objects of custom kinds are read: replicas, what they take, health, and by which rule.
    Read(read::Read),
}

impl Policy {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Test(it) => it.run(),
            Self::Lint(it) => it.run(),
            Self::Read(it) => it.run(),
        }
    }
}
