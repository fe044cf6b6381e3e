//! `archipel`: the hub, its command line and its demo, in one binary.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod apply;
mod cluster;
mod convert;
mod cost;
mod demo;
mod freeze;
mod guard;
mod hub;
mod optimise;
mod orphans;
mod output;
mod plan;
mod policy;
mod reviews;
mod rollout;
mod seen;
mod serve;
mod status;
mod version;
mod whatif;
mod why;

// Objects are many small allocations made on one thread and freed on another, which is what this allocator is for; huge
// pages would keep a quiet hub twice as large.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Many clusters, one map: a control plane that places Kubernetes objects on many clusters.
#[derive(Debug, Parser)]
#[command(name = "archipel", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub: the central API and its controllers.
    Serve(serve::Serve),
    /// Join, list, and let go of member clusters.
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Show what is placed, and how it fares.
    Status(status::Status),
    /// Say why an object is where it is.
    Why(why::Why),
    /// Show what workloads cost in a month, as placed and as they run now.
    Cost(cost::Cost),
    /// Plan the cheapest placement of the whole fleet; changes nothing.
    Optimise(optimise::Optimise),
    /// Test and lint policies, without a hub.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Say what a change would do, and what it would cost, before it is made.
    Plan(plan::Plan),
    /// Make the changes of a kept plan, and give the approvals that it names.
    Apply(apply::Apply),
    /// Say what would happen if clusters were lost, prices or policies changed, apps grew.
    #[command(name = "whatif")]
    WhatIf(Box<whatif::WhatIf>),
    /// Say in our policies what Karmada's say; a list of what is lost comes beside.
    Convert(convert::Convert),
    /// Show how far a change has come that is released in waves, and say what becomes of it.
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Stop every write to members: of the fleet, one cluster or one namespace.
    Freeze(freeze::Freeze),
    /// Take a freeze back.
    Thaw(freeze::Thaw),
    /// Show copies in members that have neither template nor tombstone.
    #[command(subcommand)]
    Orphans(orphans::Orphans),
    /// Run a hub with simulated members and sample apps.
    Demo(demo::Demo),
    /// Print the version.
    Version(version::Version),
}

fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing was installed before the first line of main");
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the system gives a process its threads");
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Serve(it) => it.run().await,
            Command::Cluster(it) => it.run().await,
            Command::Status(it) => it.run().await,
            Command::Why(it) => it.run().await,
            Command::Cost(it) => it.run().await,
            Command::Optimise(it) => it.run().await,
            Command::Policy(it) => it.run(),
            Command::Plan(it) => it.run().await,
            Command::Apply(it) => it.run().await,
            Command::WhatIf(it) => it.run().await,
            Command::Convert(it) => it.run(),
            Command::Rollout(it) => it.run().await,
            Command::Freeze(it) => it.run().await,
            Command::Thaw(it) => it.run().await,
            Command::Orphans(it) => it.run().await,
            Command::Demo(it) => it.run().await,
            Command::Version(it) => it.run(),
        }
    });
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
