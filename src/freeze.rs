//! `archipel freeze` and `archipel thaw`: the stop of every write to members (RULES 1.3).

use clap::Args;
use federation_types::{
    budget::{ChangeBudget, ChangeBudgetSpec, DEFAULT_CHANGE_BUDGET as DEFAULT, Freeze as Frozen},
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
        output::line(format_args!("frozen: {}", freeze.words()));
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
    if freeze.is_none() {
        output::line("nothing is frozen");
    } else {
        output::line(format_args!("still frozen: {}", freeze.words()));
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
            None => budgets.create(&PostParams::default(), &made_with(&freeze)).await,
        };
        match written {
            Ok(_) => return Ok(freeze),
            // Somebody else wrote it in between: done again on what stands now.
            Err(kube::Error::Api(status)) if status.code == 409 => continue,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The budget as the first start makes it, with a freeze: where it is missing, its limits are not another's.
fn made_with(freeze: &Frozen) -> ChangeBudget {
    ChangeBudget::new(
        DEFAULT,
        ChangeBudgetSpec { freeze: freeze.clone(), ..ChangeBudgetSpec::default() },
    )
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
        assert_eq!(freeze.words(), "cluster a, cluster b, namespace shop");
        assert_eq!(scope(Some("a"), None).not_frozen(&freeze), None);
        let other = scope(None, Some("bank")).not_frozen(&freeze);
        assert_eq!(other.as_deref(), Some("namespace bank"));
        assert_eq!(scope(None, None).not_frozen(&Frozen::default()), None);
    }

    #[test]
    fn rule_1_3_a_freeze_makes_the_budget_that_is_missing_as_the_hub_takes_it() {
        let freeze = Frozen { all: true, ..Frozen::default() };
        let made = made_with(&freeze);
        assert_eq!(federation_types::validate::change_budget(&made.spec), []);
        assert!(made.spec.freeze.all);
        assert_eq!(
            ChangeBudgetSpec { freeze: Frozen::default(), ..made.spec },
            ChangeBudgetSpec::default()
        );
    }
}
