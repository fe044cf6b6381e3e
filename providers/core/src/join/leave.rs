//! Taking away what joining made, with the account that it made: the guard first, as it binds that account too.

use std::{fmt::Debug, time::Duration};

use federation_types::names::{MEMBER_SERVICE_ACCOUNT, SYSTEM_NAMESPACE};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::Namespace,
    rbac::v1::ClusterRole,
};
use kube::{Api, api::DeleteParams};
use serde::de::DeserializeOwned;

use super::{
    JoinError,
    objects::{GUARD, MADE_BY_LABEL},
    owner::Owner,
};
use crate::{ConnectError, MemberClient};

/// How long a guard that is gone may still be in force.
const GUARD_PATIENCE: u32 = 40;

/// Removes our namespace, roles and guard from a member; says what had to stay, and why. The role's binding goes with the
/// role, by the member's own garbage collection: without it, it grants nothing. What is another hub's stays: the member
/// was taken over.
pub async fn clean_up(client: &MemberClient, hub: &str) -> Result<Vec<String>, JoinError> {
    let rest = client.rest();
    let mut left = Vec::new();
    let namespaces = Api::<Namespace>::all(rest.clone());
    let namespace = namespaces.get_opt(SYSTEM_NAMESPACE).await.map_err(|error| {
        JoinError::request("reading the namespace archipel-system", client, &error)
    })?;
    let Some(metadata) = namespace.map(|it| it.metadata) else { return Ok(left) };
    if let Some(owner) = Owner::of(metadata.annotations.as_ref())
        && owner.is_other_than(hub)
    {
        left.push(format!(
            "the account {MEMBER_SERVICE_ACCOUNT} and the guard {GUARD} stay: they are of another hub, {owner}"
        ));
        return Ok(left);
    }
    let made_here = metadata.labels.unwrap_or_default().contains_key(MADE_BY_LABEL);
    if !made_here {
        // Joined with --keep-credentials: there is nothing of ours but the copies.
        return Ok(left);
    }
    let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(rest.clone());
    delete(&bindings, GUARD)
        .await
        .map_err(|error| JoinError::request("removing the guard's binding", client, &error))?;
    delete(&Api::<ValidatingAdmissionPolicy>::all(rest.clone()), GUARD)
        .await
        .map_err(|error| JoinError::request("removing the guard", client, &error))?;
    let mut tries = 0;
    loop {
        match delete(&namespaces, SYSTEM_NAMESPACE).await {
            Ok(()) => break,
            Err(kube::Error::Api(status))
                if status.message.contains(GUARD) && tries < GUARD_PATIENCE =>
            {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Err(error) => {
                return Err(JoinError::request(
                    "removing the namespace archipel-system",
                    client,
                    &error,
                ));
            }
        }
    }
    // With the namespace goes the account: this may come too late.
    if let Err(error) = delete(&Api::<ClusterRole>::all(rest.clone()), MEMBER_SERVICE_ACCOUNT).await
    {
        let why = ConnectError::from_request(client.server(), &error);
        left.push(format!("ClusterRole {MEMBER_SERVICE_ACCOUNT} stays, and nobody has it: {why}"));
    }
    Ok(left)
}

/// Deletes; what is not there is deleted.
async fn delete<K>(api: &Api<K>, name: &str) -> Result<(), kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
