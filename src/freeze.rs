//! `archipel freeze` and `archipel thaw`: the stop of every write to members (RULES 1.3).

use clap::Args;
use federation_types::{
    budget::{ChangeBudget, ChangeBudgetSpec, Freeze as Frozen},
    cluster::MemberCluster,
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    hub::{self, Hub},
    output::{self, Failure},
};

/// The budget that is made at the first start: freezes are kept in it.
const DEFAULT: &str = "default";

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
        let client = scope.hub.client().await?;
        scope.exists(&client).await?;
        let budgets = Api::<ChangeBudget>::all(client);
        let freeze = change(&budgets, |freeze| match (&scope.cluster, &scope.namespace) {
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
        let budgets = Api::<ChangeBudget>::all(scope.hub.client().await?);
        let before = budgets.get_opt(DEFAULT).await?.map(|it| it.spec.freeze).unwrap_or_default();
        if let Some(what) = scope.not_frozen(&before) {
            output::line(format_args!("{what} was not frozen"));
            return still(&before);
        }
        let freeze = change(&budgets, |freeze| match (&scope.cluster, &scope.namespace) {
            (Some(cluster), _) => freeze.clusters.retain(|it| it != cluster),
            (None, Some(namespace)) => freeze.namespaces.retain(|it| it != namespace),
            (None, None) => *freeze = Frozen::default(),
        })
        .await?;
        still(&freeze)
    }
}

impl Scope {
    /// A freeze of what does not exist would look like one and hold nothing.
    async fn exists(&self, client: &Client) -> Result<(), Failure> {
        if let Some(cluster) = &self.cluster
            && Api::<MemberCluster>::all(client.clone()).get_opt(cluster).await?.is_none()
        {
            return Err(format!("there is no member `{cluster}`").into());
        }
        if let Some(namespace) = &self.namespace {
            hub::namespace_exists(client, namespace).await?;
        }
        Ok(())
    }

    /// What this scope asks to thaw and no freeze names.
    fn not_frozen(&self, freeze: &Frozen) -> Option<String> {
        match (&self.cluster, &self.namespace) {
            (Some(it), _) => (!freeze.clusters.contains(it)).then(|| format!("cluster {it}")),
            (None, Some(it)) => {
                (!freeze.namespaces.contains(it)).then(|| format!("namespace {it}"))
            }
            (None, None) => None,
        }
    }
}

fn still(freeze: &Frozen) -> Result<(), Failure> {
    if is_none(freeze) {
        output::line("nothing is frozen");
    } else {
        output::line(format_args!("still frozen: {}", words(freeze)));
    }
    Ok(())
}

fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|it| it == name) {
        names.push(name.to_owned());
        names.sort();
    }
}

/// Changes the freeze of the default budget, which is made where somebody deleted it.
async fn change(
    budgets: &Api<ChangeBudget>,
    change: impl Fn(&mut Frozen),
) -> Result<Frozen, Failure> {
    loop {
        let there = budgets.get_opt(DEFAULT).await?;
        let mut freeze = there.as_ref().map(|it| it.spec.freeze.clone()).unwrap_or_default();
        change(&mut freeze);
        let written = match there {
            Some(budget) => {
                // The version guards against a freeze of somebody else's being lost.
                let patch = json!({
                    "metadata": {"resourceVersion": budget.metadata.resource_version},
                    "spec": {"freeze": {
                        "all": freeze.all, "clusters": freeze.clusters, "namespaces": freeze.namespaces,
                    }},
                });
                budgets.patch(DEFAULT, &PatchParams::default(), &Patch::Merge(&patch)).await
            }
            None => {
                let spec = ChangeBudgetSpec { freeze: freeze.clone(), ..Default::default() };
                budgets.create(&PostParams::default(), &ChangeBudget::new(DEFAULT, spec)).await
            }
        };
        match written {
            Ok(_) => return Ok(freeze),
            // Somebody else wrote it in between: done again on what stands now.
            Err(kube::Error::Api(status)) if status.code == 409 => continue,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Everything that is frozen, by any budget.
pub(crate) async fn frozen(client: &Client) -> Result<Frozen, kube::Error> {
    let budgets = Api::<ChangeBudget>::all(client.clone()).list(&ListParams::default()).await?;
    let mut all = Frozen::default();
    for budget in budgets {
        let freeze = budget.spec.freeze;
        all.all |= freeze.all;
        freeze.clusters.iter().for_each(|it| add(&mut all.clusters, it));
        freeze.namespaces.iter().for_each(|it| add(&mut all.namespaces, it));
    }
    Ok(all)
}

pub(crate) fn is_none(freeze: &Frozen) -> bool {
    *freeze == Frozen::default()
}

/// What a freeze stops, for people.
pub(crate) fn words(freeze: &Frozen) -> String {
    let mut words = Vec::new();
    if freeze.all {
        words.push("every write to every member".to_owned());
    }
    words.extend(freeze.clusters.iter().map(|it| format!("cluster {it}")));
    words.extend(freeze.namespaces.iter().map(|it| format!("namespace {it}")));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_1_3_a_thaw_of_what_was_not_frozen_says_so() {
        let scope = |cluster: Option<&str>, namespace: Option<&str>| Scope {
            cluster: cluster.map(str::to_owned),
            namespace: namespace.map(str::to_owned),
            hub: Hub::default(),
        };
        let mut freeze = Frozen::default();
        add(&mut freeze.namespaces, "shop");
        add(&mut freeze.clusters, "b");
        add(&mut freeze.clusters, "a");
        add(&mut freeze.clusters, "b");
        assert_eq!(words(&freeze), "cluster a, cluster b, namespace shop");
        assert_eq!(scope(Some("a"), None).not_frozen(&freeze), None);
        let other = scope(None, Some("bank")).not_frozen(&freeze);
        assert_eq!(other.as_deref(), Some("namespace bank"));
        assert_eq!(scope(None, None).not_frozen(&Frozen::default()), None);
    }
}
