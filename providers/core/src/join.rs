//! Joining a member (RULES 4.8): the user's credentials are used once, to make an account of our own there, with a guard
//! that keeps that account to what is ours.
//!
//! ```text
//! user's kubeconfig ─▶ identity, version ─▶ namespace (whose it is), account, role ─▶ guard ─▶ token ─▶ the kubeconfig that is kept
//! ```

mod leave;
mod objects;
mod owner;

use std::fmt::Debug;

use federation_types::names::{MEMBER_SERVICE_ACCOUNT, SYSTEM_NAMESPACE};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::{Namespace, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::{leave::clean_up, objects::GUARD, owner::Joiner};
use crate::{
    ConnectError, ConnectOptions, MemberClient, UserKubeconfig,
    apis::{Discovery, DiscoveryError},
    token,
};

/// Field manager of what joining writes into a member.
const JOIN_MANAGER: &str = "archipel-join";

/// What a join came to.
#[derive(Clone, Debug)]
pub struct Joined {
    /// What the hub keeps: a kubeconfig that stands on its own.
    pub kubeconfig: Vec<u8>,
    /// Of the namespace kube-system: the cluster's identity.
    pub uid: String,
    /// `v1.36.3`
    pub version: String,
    /// What the user should know, such as a guard that the cluster does not support.
    pub notes: Vec<String>,
}

/// Who a cluster is, before anything is changed in it.
#[derive(Clone, Debug)]
pub struct Identified {
    client: MemberClient,
    user: UserKubeconfig,
    pub uid: String,
    pub version: String,
}

/// Why a cluster could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{doing} in the cluster at {server}")]
    Request { doing: &'static str, server: String, source: Box<ConnectError> },
    #[error("asking the cluster at {server} what it serves")]
    Discovery { server: String, source: DiscoveryError },
    #[error(
        "the cluster at {server} is a member of another hub, {owner}: let it go there first (`archipel cluster \
         leave`); if that hub is lost, `--take-over {hub}` takes the cluster over from it"
    )]
    OtherHub { server: String, owner: String, hub: String },
    #[error(
        "the cluster at {server} is this hub itself: members are the clusters that workloads run on (is this the right \
         kubeconfig, and the right context of it?)"
    )]
    Itself { server: String },
    #[error(
        "the cluster at {server} is a hub itself, {hub}, and no cluster that workloads run on: it cannot be a member"
    )]
    Hub { server: String, hub: String },
    #[error("the cluster at {server} gave {what} without a uid")]
    NoIdentity { server: String, what: &'static str },
}

impl JoinError {
    fn request(doing: &'static str, client: &MemberClient, error: &kube::Error) -> Self {
        let server = client.server().to_owned();
        let source = Box::new(ConnectError::from_request(&server, error));
        Self::Request { doing, server, source }
    }
}

/// Connects with the user's credentials and reads who the cluster is. Nothing is written.
pub async fn identify(
    user: &UserKubeconfig,
    options: &ConnectOptions,
) -> Result<Identified, JoinError> {
    let kubeconfig = user.authenticated().await?;
    let client = MemberClient::connect(&kubeconfig, options).await?;
    let version = client
        .rest()
        .apiserver_version()
        .await
        .map_err(|error| JoinError::request("reading the version", &client, &error))?;
    let uid = identity(client.rest())
        .await
        .map_err(|error| JoinError::request("reading the namespace kube-system", &client, &error))?
        .ok_or_else(|| JoinError::NoIdentity {
            server: client.server().to_owned(),
            what: "the namespace kube-system",
        })?;
    Ok(Identified { user: user.clone(), uid, version: version.git_version, client })
}

/// The uid of kube-system.
pub async fn identity(client: &Client) -> Result<Option<String>, kube::Error> {
    let namespace = Api::<Namespace>::all(client.clone()).get("kube-system").await?;
    Ok(namespace.metadata.uid)
}

impl Identified {
    /// Makes our account, its roles and the guard, and takes a token. Doing it again changes nothing but the token. A
    /// cluster that is another hub's is refused, untouched.
    pub async fn join(self, joiner: &Joiner) -> Result<Joined, JoinError> {
        let Self { client, user, uid, version } = self;
        let rest = client.rest();
        let request = |doing| {
            let client = client.clone();
            move |error: kube::Error| JoinError::request(doing, &client, &error)
        };
        owner::check(&client, joiner).await?;
        let mut discovery = Discovery::default();
        discovery.refresh(rest).await.map_err(|source| JoinError::Discovery {
            server: client.server().to_owned(),
            source,
        })?;
        let mut notes = Vec::new();
        let guarded = discovery.serves("admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy");

        if owner::claim(&client, joiner).await? {
            notes.push(
                "the cluster is taken over: the hub before cannot write there any more; its copies run on as they \
                 are, and stay its own until they are given up (docs/clusters.md)"
                    .to_owned(),
            );
        }
        let accounts = Api::<ServiceAccount>::namespaced(rest.clone(), SYSTEM_NAMESPACE);
        apply(&accounts, &objects::account())
            .await
            .map_err(request("making the ServiceAccount archipel-syncer"))?;

        // The guard comes before the rights that it bounds.
        if guarded {
            apply(&Api::<ValidatingAdmissionPolicy>::all(rest.clone()), &objects::guard())
                .await
                .map_err(request("installing the admission policy archipel-guard"))?;
            let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(rest.clone());
            apply(&bindings, &objects::guard_binding())
                .await
                .map_err(request("binding the admission policy archipel-guard"))?;
        } else {
            notes.push(
                "the cluster does not serve ValidatingAdmissionPolicy v1 (Kubernetes 1.30): no guard keeps the hub's \
                 account to what is its own, and kinds that are added later need another join"
                    .to_owned(),
            );
        }
        let role = if guarded { objects::role() } else { objects::role_without_guard(&discovery) };
        let role = apply(&Api::<ClusterRole>::all(rest.clone()), &role)
            .await
            .map_err(request("making the ClusterRole archipel-syncer"))?;
        let role_uid = role.metadata.uid.unwrap_or_default();
        apply(&Api::<ClusterRoleBinding>::all(rest.clone()), &objects::role_binding(&role_uid))
            .await
            .map_err(request("making the ClusterRoleBinding archipel-syncer"))?;
        apply(&Api::<Role>::namespaced(rest.clone(), SYSTEM_NAMESPACE), &objects::token_role())
            .await
            .map_err(request("making the Role archipel-syncer"))?;
        let bindings = Api::<RoleBinding>::namespaced(rest.clone(), SYSTEM_NAMESPACE);
        apply(&bindings, &objects::token_binding())
            .await
            .map_err(request("making the RoleBinding archipel-syncer"))?;

        let token =
            token::request(rest).await.map_err(request("asking for a token of archipel-syncer"))?;
        Ok(Joined { kubeconfig: user.with_token(&token), uid, version, notes })
    }

    /// Keeps the user's own credentials and changes nothing in the cluster (`--keep-credentials`). A cluster that is
    /// another hub's is refused.
    pub async fn keep(self, joiner: &Joiner) -> Result<Joined, JoinError> {
        owner::check(&self.client, joiner).await?;
        let kubeconfig = self.user.kept()?;
        let notes = vec![
            "the given credentials are kept as they are: no guard keeps the hub to what is its own"
                .to_owned(),
        ];
        Ok(Joined { kubeconfig, uid: self.uid, version: self.version, notes })
    }
}

/// Server-side apply of one object.
async fn apply<K>(api: &Api<K>, object: &Value) -> Result<K, kube::Error>
where
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    let name = object["metadata"]["name"].as_str().unwrap_or(MEMBER_SERVICE_ACCOUNT);
    let params = PatchParams::apply(JOIN_MANAGER).force();
    api.patch(name, &params, &Patch::Apply(object)).await
}
