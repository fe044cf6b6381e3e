//! `archipel rollout`: changes that are released in waves.

use clap::{Args, Subcommand};
use federation_types::{
    names::{Gvk, ObjectKey, SYSTEM_NAMESPACE, placement_name},
    rollout::{Rollout as Object, RolloutStatus},
};
use kube::{Api, Client};

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
        let api = rollouts(client, namespace);
        let rollout = api.get_opt(&placement).await?;
        Ok(Found { key, name: placement, api, rollout })
    }
}

impl Found {
    /// The rollout with how far it has come; a sentence where there is none.
    fn known(&self) -> Result<(&Object, &RolloutStatus), Failure> {
        let known = self.rollout.as_ref().and_then(|it| Some((it, it.status.as_ref()?)));
        known.ok_or_else(|| self.nothing().into())
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
    let home = if namespace.is_empty() { SYSTEM_NAMESPACE } else { namespace };
    Api::namespaced(client, home)
}
