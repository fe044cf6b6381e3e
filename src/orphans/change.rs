//! `archipel orphans adopt|delete`: what is to become of copies that nobody knows of. Nothing is done without `--yes`.

use clap::Args;
use federation_types::{budget::ChangeBudget, cluster::MemberCluster, words::counted};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, PostParams},
};
use syncer_render::adopt::template_of;

use super::member::{Found, Member};
use crate::{
    cluster::{leave::connection, resume},
    hub::Hub,
    output::{self, Failure},
};

#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The member that holds the copies.
    cluster: String,
    /// Which of them: `KIND/NAME`, as `archipel orphans list` shows them.
    #[arg(value_name = "KIND/NAME", required_unless_present = "all")]
    objects: Vec<String>,
    /// The namespace of the objects; none for cluster-scoped ones.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// All that are listed of the member.
    #[arg(long, conflicts_with_all = ["objects", "namespace"])]
    all: bool,
    /// Do it; left out, it is only said what would be done.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    hub: Hub,
}

impl Change {
    pub(super) async fn adopt(self) -> Result<(), Failure> {
        let hub = self.hub.client().await?;
        let (_, texts) = self.chosen(&hub).await?;
        self.confirmed("adopt", &texts)?;
        let member = self.member(&hub).await?;
        self.each(&texts, async |text| {
            let found = member.find(text).await?;
            let template = make(&hub, &found).await?;
            Ok(format!(
                "adopted: {text} is {template} on the hub now; a policy decides where it runs"
            ))
        })
        .await
    }

    pub(super) async fn delete(self) -> Result<(), Failure> {
        let hub = self.hub.client().await?;
        let (member, texts) = self.chosen(&hub).await?;
        if let Some(paused) = resume::paused(&member) {
            return Err(format!(
                "{} is only observed: {}; `archipel cluster resume` comes first",
                self.cluster, paused.message
            )
            .into());
        }
        for text in &texts {
            self.refuse_frozen(&hub, text).await?;
        }
        self.confirmed("delete", &texts)?;
        let member = self.member(&hub).await?;
        self.each(&texts, async |text| {
            let found = member.find(text).await?;
            member.delete(&found).await?;
            Ok(format!("deleted: {text} in {}", self.cluster))
        })
        .await
    }

    /// The member and what is meant there, in the words in which it is listed.
    async fn chosen(&self, hub: &Client) -> Result<(MemberCluster, Vec<String>), Failure> {
        let name = self.cluster.as_str();
        let members = Api::<MemberCluster>::all(hub.clone());
        let member =
            members.get_opt(name).await?.ok_or_else(|| format!("there is no member `{name}`"))?;
        let listed = member.status.as_ref().map_or(&[][..], |it| &it.unknown_copies);
        let texts = if self.all {
            listed.to_vec()
        } else {
            choose(name, &self.objects, self.namespace.as_deref(), listed)?
        };
        if texts.is_empty() {
            return Err(format!("{name} has no unknown copies").into());
        }
        Ok((member, texts))
    }

    fn confirmed(&self, verb: &str, texts: &[String]) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        for text in texts {
            output::progress(format_args!("would {verb}: {text} in {}", self.cluster));
        }
        let copies = counted(texts.len(), "copy", "copies");
        Err(format!("nothing was changed: --yes is needed to {verb} {copies}").into())
    }

    async fn member(&self, hub: &Client) -> Result<Member, Failure> {
        let name = self.cluster.as_str();
        let member = Api::<MemberCluster>::all(hub.clone()).get(name).await?;
        let client = connection(hub, &member).await.map_err(|error| {
            let why = output::with_causes(&*error);
            format!("{name} cannot be reached with the credentials that the hub keeps: {why}")
        })?;
        Ok(Member::new(name, client.rest().clone()))
    }

    /// A freeze stops every write into a member, whoever asks (RULES 1.3).
    async fn refuse_frozen(&self, hub: &Client, text: &str) -> Result<(), Failure> {
        let namespace =
            text.split_once(' ').and_then(|(_, it)| it.split_once('/')).map_or("", |it| it.0);
        let budgets = Api::<ChangeBudget>::all(hub.clone()).list(&ListParams::default()).await?;
        if budgets.iter().any(|it| it.spec.freeze.holds(&self.cluster, namespace)) {
            return Err(format!(
                "writes into {} are frozen: `archipel thaw` comes first ({text})",
                self.cluster
            )
            .into());
        }
        Ok(())
    }

    /// One after the other; what fails is said and holds nothing up.
    async fn each(
        &self,
        texts: &[String],
        change: impl AsyncFn(&str) -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        let mut failed = 0;
        for text in texts {
            match change(text).await {
                Ok(done) => output::line(done),
                Err(error) => {
                    failed += 1;
                    output::error(&format!("{text} in {}: {error}", self.cluster).into());
                }
            }
        }
        match failed {
            0 => Ok(()),
            _ => {
                Err(format!("{failed} of {} failed", counted(texts.len(), "copy", "copies")).into())
            }
        }
    }
}

/// The listed copies that are named: `KIND/NAME`, the kind in any case.
fn choose(
    cluster: &str,
    objects: &[String],
    namespace: Option<&str>,
    listed: &[String],
) -> Result<Vec<String>, Failure> {
    let mut chosen = Vec::new();
    for object in objects {
        let (kind, name) =
            object.split_once('/').ok_or_else(|| format!("`{object}` is not KIND/NAME"))?;
        let name = namespace.map_or_else(|| name.to_owned(), |it| format!("{it}/{name}"));
        let is = |text: &&String| {
            text.split_once(' ')
                .is_some_and(|(its, rest)| its.eq_ignore_ascii_case(kind) && rest == name)
        };
        let found = listed.iter().find(is).ok_or_else(|| {
            format!(
                "{cluster} has no unknown copy {kind} {name}: `archipel orphans list` shows them"
            )
        })?;
        if !chosen.contains(found) {
            chosen.push(found.clone());
        }
    }
    Ok(chosen)
}

/// Makes the template on the hub.
async fn make(hub: &Client, found: &Found) -> Result<String, Failure> {
    let live = serde_json::to_value(&found.object)?;
    let template: DynamicObject = serde_json::from_value(template_of(&live))?;
    let namespace = found.object.metadata.namespace.as_deref();
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(hub.clone(), namespace, &found.resource),
        None => Api::all_with(hub.clone(), &found.resource),
    };
    let name = found.object.metadata.name.clone().unwrap_or_default();
    let params = PostParams { field_manager: Some("archipel-adopt".to_owned()), dry_run: false };
    match api.create(&params, &template).await {
        Ok(_) => Ok(format!("{}/{name}", found.resource.plural)),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Err(format!(
            "the hub has a {} of this name: whether this cluster holds a copy of it is its policy's affair",
            found.resource.kind
        )
        .into()),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(match namespace {
            Some(namespace) => {
                format!("{}; the hub needs the namespace `{namespace}` and the kind first", status.message)
            }
            None => format!("{}; the hub needs the kind first", status.message),
        }
        .into()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_3_only_what_is_listed_can_be_chosen() {
        let listed = ["ConfigMap shop/stray", "Namespace old"].map(str::to_owned);
        let chosen = |object: &str, namespace: Option<&str>| {
            choose("a", &[object.to_owned()], namespace, &listed).map_err(|it| it.to_string())
        };
        assert_eq!(chosen("configmap/stray", Some("shop")), Ok(vec![listed[0].clone()]));
        assert_eq!(chosen("Namespace/old", None), Ok(vec![listed[1].clone()]));
        let missing = chosen("ConfigMap/stray", None).expect_err("it has a namespace");
        assert!(missing.starts_with("a has no unknown copy ConfigMap stray"), "{missing}");
        assert_eq!(chosen("stray", None), Err("`stray` is not KIND/NAME".to_owned()));
        let twice = ["ConfigMap/stray", "configmap/stray"].map(str::to_owned);
        assert_eq!(choose("a", &twice, Some("shop"), &listed).expect("one").len(), 1);
    }
}
