//! `archipel cost`: what workloads cost in a month as they are placed, and beside it as they run now, at the same prices.
//! The hub works it out: its users need not read clusters, prices and policies to know what is theirs.

use clap::{Args, ValueEnum};
use federation_types::review::cost::{CostBy, CostRow, CostSpec, CostStatus};

use crate::{
    hub::{self, Hub},
    output::{self, Failure, Format, Table},
    plan,
};

pub(crate) mod report;

/// What a row is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum By {
    #[default]
    Template,
    Namespace,
    Policy,
    Cluster,
    Provider,
}

#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// Only this namespace.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// What the costs are added up by.
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// How it is printed.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    hub: Hub,
}

impl From<By> for CostBy {
    fn from(by: By) -> Self {
        match by {
            By::Template => Self::Template,
            By::Namespace => Self::Namespace,
            By::Policy => Self::Policy,
            By::Cluster => Self::Cluster,
            By::Provider => Self::Provider,
        }
    }
}

impl Cost {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.hub.client().await?;
        if let Some(namespace) = &self.namespace {
            hub::namespace_exists(&client, namespace).await?;
        }
        let spec =
            CostSpec { namespace: self.namespace.clone().unwrap_or_default(), by: self.by.into() };
        let report: CostStatus = plan::ask(&client, "Cost", "costs", &spec).await?;
        if output::machine(self.output, &report)? {
            return Ok(());
        }
        if report.rows.is_empty() {
            output::line("nothing that costs is placed");
        } else {
            table(&report, self.output == Format::Wide).print();
            output::line("");
        }
        for note in &report.notes {
            output::line(note);
        }
        Ok(())
    }
}

fn table(report: &CostStatus, wide: bool) -> Table {
    let mut headers = vec!["NAME", "ESTIMATE", "REALISED", "MARGINAL", "COMMITTED"];
    if wide {
        headers.extend(["REALISED-MARGINAL", "REALISED-COMMITTED", "COPIES", "REPLICAS"]);
    }
    let mut table = Table::new(&headers);
    for CostRow { name, estimate, realised } in report.rows.iter().chain([&report.total]) {
        let mut cells = vec![
            name.clone(),
            estimate.text(estimate.allocated),
            realised.text(realised.allocated),
            estimate.text(estimate.marginal),
            estimate.committed.to_string(),
        ];
        if wide {
            cells.push(realised.text(realised.marginal));
            cells.push(realised.committed.to_string());
            cells.push(format!("{}/{}", realised.copies, estimate.copies));
            cells.push(format!("{}/{}", realised.replicas, estimate.replicas));
        }
        table.row(cells);
    }
    table
}
