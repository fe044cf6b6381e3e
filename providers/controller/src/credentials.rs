//! Keeps the token of our account in a member fresh: a new one in good time, put into the member's Secret.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use federation_types::cluster::SecretRef;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use providers_core::{MemberClient, token};
use serde_json::json;

/// A kubeconfig's token is renewed when it is due; the Secret's change brings the member's task to use it. Says whether
/// there is a new one.
pub(crate) async fn renew(
    hub: &Client,
    member: &MemberClient,
    secret: &SecretRef,
    kubeconfig: &[u8],
) -> Result<bool, kube::Error> {
    let due = token::TokenLife::of_kubeconfig(kubeconfig)
        .is_some_and(|it| it.renew_at() <= Timestamp::now().as_second());
    if !due {
        return Ok(false);
    }
    let token = token::request(member.rest()).await?;
    let Some(renewed) = token::replace(kubeconfig, &token) else { return Ok(false) };
    let patch = json!({"data": {"kubeconfig": STANDARD.encode(renewed)}});
    Api::<Secret>::namespaced(hub.clone(), &secret.namespace)
        .patch(&secret.name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(true)
}
