//! `archipel whatif`: what would happen if clusters were lost or added, prices changed, policies were others, apps grew.

use std::path::PathBuf;

use clap::Args;
use federation_types::review::simulation::{
    AddCluster, PriceChange, Scale, SimulationSpec, SimulationStatus,
};

use crate::{
    hub::Hub,
    output::{self, Failure, Format, Table},
    plan::{
        self,
        sources::{self, Objects},
        text,
    },
};

/// Clusters that are listed as the fullest, and templates that are listed as unplaced, without `-o wide`.
const SHOWN: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct WhatIf {
    /// Clusters that are lost: a name, `region=R`, `provider=P`, `zone=Z`, or a label `key=value`.
    #[arg(long, value_name = "CLUSTER|KEY=VALUE")]
    down: Vec<String>,
    /// An empty cluster like one that there is: `NAME,like=CLUSTER[,provider=P][,region=R][,jurisdiction=J]`.
    #[arg(long, value_name = "NAME,like=CLUSTER", value_parser = added)]
    add: Vec<AddCluster>,
    /// Other prices: `[provider=P,][region=R,][type=T,]+10%`.
    #[arg(long, value_name = "[KEY=VALUE,]PERCENT", value_parser = price, allow_hyphen_values = true)]
    price: Vec<PriceChange>,
    /// Policies, overrides, clusters or templates as they would stand.
    #[arg(long, value_name = "FILE|DIR")]
    policy: Vec<PathBuf>,
    /// Other sizes: `[NAMESPACE/][KIND/]NAME=REPLICAS`, or `=PERCENT%`; `*` is every one.
    #[arg(long, value_name = "NAMESPACE/NAME=SIZE", value_parser = scale)]
    scale: Vec<Scale>,
    #[arg(long, short = 'o', value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    hub: Hub,
}

impl WhatIf {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Objects { values: objects, sources } = sources::objects(&self.policy)?;
        let spec = SimulationSpec {
            down: self.down,
            add: self.add,
            prices: self.price,
            scale: self.scale,
            objects,
        };
        if spec == SimulationSpec::default() {
            return Err("what if what? Give --down, --add, --price, --policy or --scale".into());
        }
        let client = self.hub.client().await?;
        let answer = plan::ask(&client, "Simulation", "simulations", &spec).await;
        let status: SimulationStatus =
            answer.map_err(|failure| sources::at_source(failure, &sources))?;
        if !output::machine(self.output, &status)? {
            print(&status, self.output == Format::Wide);
        }
        Ok(())
    }
}

fn print(status: &SimulationStatus, wide: bool) {
    if !status.down.is_empty() {
        output::line(format_args!("down: {}", status.down.join(", ")));
    }
    if wide {
        output::line(text::text(&status.plan).trim_end());
    }
    let shown = if wide { usize::MAX } else { SHOWN };
    if !status.unplaced.is_empty() {
        output::line("");
        let mut table = Table::new(&["UNPLACED", "REASON", "MESSAGE"]);
        for it in status.unplaced.iter().take(shown) {
            table.row(vec![it.template.to_string(), it.reason.clone(), it.message.clone()]);
        }
        table.print();
        if status.unplaced.len() > shown {
            output::line(format_args!("and {} more: -o wide", status.unplaced.len() - shown));
        }
    }
    if !status.hottest.is_empty() {
        output::line("");
        let mut table = Table::new(&["HOTTEST", "CPU", "MEMORY", "NODES"]);
        for it in status.hottest.iter().take(shown) {
            table.row(vec![
                it.cluster.clone(),
                format!("{} → {} %", it.cpu_before, it.cpu_after),
                format!("{} → {} %", it.memory_before, it.memory_after),
                match it.nodes {
                    0 => String::new(),
                    n => format!("+{n} at least"),
                },
            ]);
        }
        table.print();
    }
    output::line("");
    if !wide {
        for note in &status.plan.notes {
            output::line(format_args!("note: {note}"));
        }
        output::line(text::summary(&status.plan));
    }
    // A plan without changes says nothing of money, and prices alone change nothing but that.
    if status.plan.is_empty()
        && let Some(cost) = text::cost(status.plan.summary.cost)
    {
        output::line(format_args!("cost: {cost}"));
    }
    output::line("Nothing was changed.");
}

fn added(text: &str) -> Result<AddCluster, String> {
    let mut cluster = AddCluster::default();
    for part in text.split(',') {
        match part.split_once('=') {
            None if cluster.name.is_empty() => part.clone_into(&mut cluster.name),
            Some(("name", it)) => it.clone_into(&mut cluster.name),
            Some(("like", it)) => it.clone_into(&mut cluster.like),
            Some(("provider", it)) => it.clone_into(&mut cluster.provider),
            Some(("region", it)) => it.clone_into(&mut cluster.region),
            Some(("jurisdiction", it)) => it.clone_into(&mut cluster.jurisdiction),
            _ => return Err(format!("`{part}` says nothing of a cluster")),
        }
    }
    if cluster.name.is_empty() || cluster.like.is_empty() {
        return Err("needs a name and like=CLUSTER".to_owned());
    }
    Ok(cluster)
}

fn price(text: &str) -> Result<PriceChange, String> {
    let mut change = PriceChange::default();
    let (filters, percent) = text.rsplit_once(',').unwrap_or(("", text));
    for part in filters.split(',').filter(|it| !it.is_empty()) {
        match part.split_once('=') {
            Some(("provider", it)) => it.clone_into(&mut change.provider),
            Some(("region", it)) => it.clone_into(&mut change.region),
            Some(("type", it)) => it.clone_into(&mut change.instance_type),
            _ => return Err(format!("`{part}` says nothing of a price")),
        }
    }
    let number =
        percent.strip_suffix('%').ok_or_else(|| format!("`{percent}` is no percentage"))?;
    change.percent = number.parse().map_err(|_| format!("`{percent}` is no percentage"))?;
    Ok(change)
}

fn scale(text: &str) -> Result<Scale, String> {
    let (object, size) = text.rsplit_once('=').ok_or("needs a size: shop/web=20")?;
    let any = |it: &str| if it == "*" { String::new() } else { it.to_owned() };
    let mut change = Scale::default();
    match object.split('/').collect::<Vec<_>>().as_slice() {
        [name] => change.name = any(name),
        [namespace, name] => {
            change.namespace = any(namespace);
            change.name = any(name);
        }
        [namespace, kind, name] => {
            change.namespace = any(namespace);
            change.kind = any(kind);
            change.name = any(name);
        }
        _ => return Err(format!("`{object}` is not [NAMESPACE/][KIND/]NAME")),
    }
    match size.strip_suffix('%') {
        Some(percent) => {
            let percent = percent.parse().map_err(|_| format!("`{size}` is no percentage"))?;
            change.percent = Some(percent);
        }
        None => change.replicas = Some(size.parse().map_err(|_| format!("`{size}` is no number"))?),
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_supposed_is_read_and_what_is_not_understood_is_named() {
        let found = price("provider=eks,type=m6i.xlarge,+10%").unwrap();
        assert_eq!((found.provider.as_str(), found.instance_type.as_str()), ("eks", "m6i.xlarge"));
        assert_eq!(found.percent, 10);
        assert_eq!(price("-25%").unwrap().percent, -25);
        assert!(price("colour=red,5%").unwrap_err().contains("colour=red"));
        assert!(price("5").unwrap_err().contains("no percentage"));

        let found = scale("shop/web=20").unwrap();
        assert_eq!((found.namespace.as_str(), found.name.as_str()), ("shop", "web"));
        assert_eq!(found.replicas, Some(20));
        assert_eq!(scale("*=300%").unwrap(), Scale { percent: Some(300), ..Scale::default() });
        assert!(scale("web").is_err());

        let found = added("gke-new,like=gke-a,region=europe-west4").unwrap();
        assert_eq!((found.name.as_str(), found.like.as_str()), ("gke-new", "gke-a"));
        assert!(added("gke-new").unwrap_err().contains("like"));
    }
}
