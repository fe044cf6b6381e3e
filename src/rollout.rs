//! `archipel rollout`: changes that are released in waves.

use clap::{Args, Subcommand};
use federation_types::{
    names::{Gvk, ObjectKey, home_namespace, placement_name},
    placement::{ClusterPlacement, Placement},
    rollout::{Rollout as Object, RolloutStatus},
};
use kube::{Api, Client, api::DynamicObject};

use crate::{hub::Hub, output::Failure, why::find_kind};

mod say;
mod status;

#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// Show which waves a change has reached, and what it waits for.
    Status(status::Status),
    /// Let a wave begin.
    Approve(say::Approve),
    /// Release nothing more until `resume`.
    Pause(say::Pause),
    /// Go on after a pause, or after a failure that is put right.
    Resume(say::Resume),
    /// Return every cluster to the revision before.
    Abort(say::Abort),
    /// The same after the change has reached every cluster.
    Undo(say::Undo),
    /// Begin again after an abort or a failure.
    Retry(say::Retry),
}

impl Rollout {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Status(it) => it.run().await,
            Self::Approve(it) => it.run().await,
            Self::Pause(it) => it.run().await,
            Self::Resume(it) => it.run().await,
            Self::Abort(it) => it.run().await,
            Self::Undo(it) => it.run().await,
            Self::Retry(it) => it.run().await,
        }
    }
}

/// The template whose change it is about.
#[derive(Debug, Args)]
struct Template {
    /// `deployment/web`, `deploy/web` or `deployments.apps/web`.
    #[arg(value_name = "KIND/NAME")]
    object: String,
    /// The object's namespace.
    #[arg(long, short = 'n', value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    #[command(flatten)]
    hub: Hub,
}

/// The Rollout of a template, and where it is kept.
struct Found {
    key: ObjectKey,
    name: String,
    api: Api<Object>,
    rollout: Option<Object>,
    template: Api<DynamicObject>,
    client: Client,
}

impl Template {
    async fn find(&self) -> Result<Found, Failure> {
        let Some((kind, name)) = self.object.split_once('/') else {
            return Err(format!("`{}` is not KIND/NAME", self.object).into());
        };
        let client = self.hub.client().await?;
        let (resource, namespaced) = find_kind(&client, kind).await?;
        let gvk = Gvk::new(&resource.api_version, &resource.kind);
        let placement = placement_name(&gvk, name);
        let namespace = if namespaced { self.namespace.as_str() } else { "" };
        let key = ObjectKey { gvk, namespace: namespace.into(), name: name.into() };
        let template: Api<DynamicObject> = match namespace {
            "" => Api::all_with(client.clone(), &resource),
            namespace => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        let api = rollouts(client.clone(), namespace);
        let rollout = api.get_opt(&placement).await?;
        if rollout.is_none() {
            // What is not there is said to be so.
            template.get_metadata(name).await?;
        }
        Ok(Found { key, name: placement, api, rollout, template, client })
    }
}

impl Found {
    /// The rollout with how far it has come; a sentence where there is none.
    fn known(&self) -> Result<(&Object, &RolloutStatus), Failure> {
        let known = self.rollout.as_ref().and_then(|it| Some((it, it.status.as_ref()?)));
        known.ok_or_else(|| self.nothing().into())
    }

    /// Looks at the rollout once more.
    async fn look(&mut self) -> Result<(), Failure> {
        self.rollout = self.api.get_opt(&self.name).await?;
        Ok(())
    }

    /// Whether the template was decided on as it stands now: what a rollout says before that is about another change.
    async fn is_decided(&self) -> Result<bool, Failure> {
        let template = self.template.get_metadata(&self.key.name).await?;
        let decided = match self.key.namespace.as_str() {
            "" => {
                let api = Api::<ClusterPlacement>::all(self.client.clone());
                api.get_opt(&self.name).await?.map(|it| it.spec.placement.template.generation)
            }
            namespace => {
                let api = Api::<Placement>::namespaced(self.client.clone(), namespace);
                api.get_opt(&self.name).await?.map(|it| it.spec.template.generation)
            }
        };
        // Some kinds count no generations.
        Ok(decided.is_some_and(|it| it >= template.metadata.generation.unwrap_or(1)))
    }

    fn nothing(&self) -> String {
        format!(
            "{} has no rollout: no change of it was released in waves (`spec.rollout` of its policy)",
            self.key
        )
    }
}

/// Rollouts of templates in a namespace; those of cluster-scoped ones are kept with what is the hub's own.
fn rollouts(client: Client, namespace: &str) -> Api<Object> {
    Api::namespaced(client, home_namespace(namespace))
}
