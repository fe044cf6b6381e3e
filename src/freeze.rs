//! `archipel freeze` and `archipel thaw`: the stop of every write to members (RULES 1.3).

use clap::Args;
use federation_types::budget::{ChangeBudget, Freeze as Frozen};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    hub::Hub,
    output::{self, Failure},
};

#[derive(Debug, Args)]
pub(crate) struct Scope {
    /// Only this cluster.
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Only this namespace.
    #[arg(long, short = 'n', value_name = "NAMESPACE", conflicts_with = "cluster")]
    namespace: Option<String>,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Debug, Args)]
pub(crate) struct Freeze {
    #[command(flatten)]
    scope: Scope,
}

#[derive(Debug, Args)]
pub(crate) struct Thaw {
    #[command(flatten)]
    scope: Scope,
}

impl Freeze {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let scope = self.scope;
        let freeze = change(&scope, |freeze| match (&scope.cluster, &scope.namespace) {
            (Some(cluster), _) => add(&mut freeze.clusters, cluster),
            (None, Some(namespace)) => add(&mut freeze.namespaces, namespace),
            (None, None) => freeze.all = true,
        })
        .await?;
        output::line(format_args!("frozen: {}", words(&freeze)));
        Ok(())
    }
}

impl Thaw {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let scope = self.scope;
        let freeze = change(&scope, |freeze| match (&scope.cluster, &scope.namespace) {
            (Some(cluster), _) => freeze.clusters.retain(|it| it != cluster),
            (None, Some(namespace)) => freeze.namespaces.retain(|it| it != namespace),
            (None, None) => *freeze = Frozen::default(),
        })
        .await?;
        output::line(format_args!("still frozen: {}", words(&freeze)));
        Ok(())
    }
}

fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|it| it == name) {
        names.push(name.to_owned());
        names.sort();
    }
}

async fn change(scope: &Scope, change: impl Fn(&mut Frozen)) -> Result<Frozen, Failure> {
    let client = scope.hub.client().await?;
    if let Some(cluster) = &scope.cluster {
        let clusters = Api::<federation_types::cluster::MemberCluster>::all(client.clone());
        clusters.get(cluster).await?;
    }
    let budgets = Api::<ChangeBudget>::all(client);
    let budget = budgets.get("default").await?;
    let mut freeze = budget.spec.freeze.clone();
    change(&mut freeze);
    // The version guards against a freeze of somebody else's being lost.
    let patch = json!({
        "metadata": {"resourceVersion": budget.metadata.resource_version},
        "spec": {"freeze": {"all": freeze.all, "clusters": freeze.clusters, "namespaces": freeze.namespaces}},
    });
    budgets.patch("default", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(freeze)
}

fn words(freeze: &Frozen) -> String {
    let mut words = Vec::new();
    if freeze.all {
        words.push("every write to every member".to_owned());
    }
    words.extend(freeze.clusters.iter().map(|it| format!("cluster {it}")));
    words.extend(freeze.namespaces.iter().map(|it| format!("namespace {it}")));
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}
