//! The hub that a command talks to: `--hub-kubeconfig`, else `KUBECONFIG`, else the default kubeconfig.

use std::path::{Path, PathBuf};

use clap::Args;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::output::Failure;

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Hub {
    /// The hub's kubeconfig; KUBECONFIG if left out.
    #[arg(long, value_name = "FILE")]
    hub_kubeconfig: Option<PathBuf>,
}

/// Why the hub cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    #[error("cannot read the hub's kubeconfig `{path}`")]
    Unreadable { path: String, source: kube::config::KubeconfigError },
    #[error("the hub's kubeconfig is not usable")]
    Unusable { source: kube::config::KubeconfigError },
    #[error("no hub: set KUBECONFIG or give --hub-kubeconfig")]
    Nowhere { source: kube::Error },
    #[error("the hub at {url} does not answer")]
    Silent { url: String, source: kube::Error },
    #[error("{url} is not an Archipel hub: it does not serve archipel.dev/v1alpha1")]
    NotAHub { url: String },
}

impl Hub {
    /// A client of the hub, once it has answered.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let config = self.config().await?;
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config)?;
        match client.list_core_api_versions().await {
            Ok(_) => (),
            Err(source @ kube::Error::Api(_)) => return Err(source.into()),
            Err(source) => return Err(HubError::Silent { url, source }.into()),
        }
        let groups = client.list_api_groups().await?;
        if !groups.groups.iter().any(|it| it.name == federation_types::names::GROUP) {
            return Err(HubError::NotAHub { url }.into());
        }
        Ok(client)
    }

    async fn config(&self) -> Result<Config, Failure> {
        match &self.hub_kubeconfig {
            Some(path) => read(path).await,
            None => {
                // Named and not readable is something else than nowhere to look.
                if let Some(path) = std::env::var_os("KUBECONFIG").filter(|it| !it.is_empty())
                    && let Err(source) = Kubeconfig::from_env()
                {
                    let path = path.to_string_lossy().into_owned();
                    return Err(HubError::Unreadable { path, source }.into());
                }
                Config::infer().await.map_err(|error| {
                    HubError::Nowhere { source: kube::Error::InferConfig(error) }.into()
                })
            }
        }
    }
}

/// Refuses a namespace that the hub does not have; who may not look is believed.
pub(crate) async fn namespace_exists(client: &Client, name: &str) -> Result<(), Failure> {
    match Api::<Namespace>::all(client.clone()).get_opt(name).await {
        Ok(None) => Err(format!("there is no namespace `{name}`").into()),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
        Ok(Some(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A client configuration from one kubeconfig file.
pub(crate) async fn read(path: &Path) -> Result<Config, Failure> {
    let kubeconfig = Kubeconfig::read_from(path)
        .map_err(|source| HubError::Unreadable { path: path.display().to_string(), source })?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|source| HubError::Unusable { source }.into())
}
