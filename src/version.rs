//! `archipel version`

use clap::Args;

use crate::output::{self, Failure};

#[derive(Debug, Args)]
pub(crate) struct Version {}

impl Version {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        output::line(format_args!("archipel {}", env!("CARGO_PKG_VERSION")));
        output::line(format_args!(
            "serves Kubernetes {}",
            federation_server::app::VersionInfo::default().git_version
        ));
        Ok(())
    }
}
