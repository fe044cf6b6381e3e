//! One member, one hub (RULES 4.8): the namespace `archipel-system` of a member says whose it is. The account and the
//! guard there have one name for every hub, so two of them would take each other's away.

use std::collections::BTreeMap;

use federation_types::names::{
    HUB_UID_ANNOTATION, JOINED_AS_ANNOTATION, MEMBER_SERVICE_ACCOUNT, SYSTEM_NAMESPACE,
};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{JoinError, objects};
use crate::MemberClient;

/// Who joins a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joiner {
    /// The hub's own id.
    pub hub: String,
    /// What the hub calls the member.
    pub name: String,
    /// The id of a hub that is lost, whose member it was.
    pub take_over: Option<String>,
}

/// The hub that a member belongs to, or that it is, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    hub: String,
    /// What that hub calls it; empty: it is that hub.
    name: String,
}

/// How often the namespace may change under a claim.
const TRIES: usize = 4;

impl Owner {
    /// `None` where nobody says so: no hub was there, or one of before this annotation.
    pub(super) fn of(annotations: Option<&BTreeMap<String, String>>) -> Option<Self> {
        let said = |key: &str| annotations.and_then(|it| it.get(key)).filter(|it| !it.is_empty());
        let hub = said(HUB_UID_ANNOTATION)?.clone();
        Some(Self { hub, name: said(JOINED_AS_ANNOTATION).cloned().unwrap_or_default() })
    }

    /// Whether it is another hub than this one.
    pub(super) fn is_other_than(&self, hub: &str) -> bool {
        self.hub != hub
    }
}

impl std::fmt::Display for Owner {
    /// `3f2c…, which calls it eks-1`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hub, name } = self;
        write!(f, "{hub}, which calls it `{name}`")
    }
}

/// Whether the joiner takes the member over from the owner; refused where that is not what was asked for.
fn judge(server: &str, joiner: &Joiner, owner: Option<&Owner>) -> Result<bool, JoinError> {
    match owner {
        // A hub says who it is, and not what it was joined as.
        Some(own) if own.name.is_empty() && own.hub == joiner.hub => {
            Err(JoinError::Itself { server: server.to_owned() })
        }
        Some(other) if other.name.is_empty() => {
            Err(JoinError::Hub { server: server.to_owned(), hub: other.hub.clone() })
        }
        None => Ok(false),
        Some(own) if !own.is_other_than(&joiner.hub) => Ok(false),
        Some(other) if joiner.take_over.as_ref() == Some(&other.hub) => Ok(true),
        Some(other) => Err(JoinError::OtherHub {
            server: server.to_owned(),
            owner: other.to_string(),
            hub: other.hub.clone(),
        }),
    }
}

/// Looks only: refuses a member that is another hub's.
pub(super) async fn check(client: &MemberClient, joiner: &Joiner) -> Result<(), JoinError> {
    let namespaces = Api::<Namespace>::all(client.rest().clone());
    let there = namespaces
        .get_opt(SYSTEM_NAMESPACE)
        .await
        .map_err(|error| JoinError::request(READING, client, &error))?;
    let owner = there.and_then(|it| Owner::of(it.metadata.annotations.as_ref()));
    judge(client.server(), joiner, owner.as_ref()).map(drop)
}

const READING: &str = "reading the namespace archipel-system";
const MAKING: &str = "making the namespace archipel-system";

/// Makes the member the joiner's, before anything else is made in it; says whether it was another hub's.
pub(super) async fn claim(client: &MemberClient, joiner: &Joiner) -> Result<bool, JoinError> {
    let rest = client.rest();
    let namespaces = Api::<Namespace>::all(rest.clone());
    let says = json!({HUB_UID_ANNOTATION: joiner.hub, JOINED_AS_ANNOTATION: joiner.name});
    let mut tries = 0;
    loop {
        tries += 1;
        let there = namespaces
            .get_opt(SYSTEM_NAMESPACE)
            .await
            .map_err(|error| JoinError::request(READING, client, &error))?;
        let (taken, made) = match there {
            None => {
                let mut namespace = objects::namespace();
                namespace["metadata"]["annotations"] = says.clone();
                let namespace = objects::typed(namespace);
                (false, namespaces.create(&PostParams::default(), &namespace).await)
            }
            Some(there) => {
                let owner = Owner::of(there.metadata.annotations.as_ref());
                let taken = judge(client.server(), joiner, owner.as_ref())?;
                if owner.is_some_and(|it| it.hub == joiner.hub && it.name == joiner.name) {
                    return Ok(false);
                }
                if taken {
                    cut_off(client).await?;
                }
                // Another hub that joins at the same time is not written over.
                let patch = json!({"metadata": {
                    "resourceVersion": there.metadata.resource_version, "annotations": says,
                }});
                let params = PatchParams::default();
                (taken, namespaces.patch(SYSTEM_NAMESPACE, &params, &Patch::Merge(patch)).await)
            }
        };
        match made {
            Ok(_) => return Ok(taken),
            Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => (),
            Err(error) => return Err(JoinError::request(MAKING, client, &error)),
        }
    }
}

/// Ends every token of the hub before: they are of this account, by its uid. A hub that was thought lost and is not
/// cannot write beside its successor.
async fn cut_off(client: &MemberClient) -> Result<(), JoinError> {
    let accounts = Api::<ServiceAccount>::namespaced(client.rest().clone(), SYSTEM_NAMESPACE);
    match accounts.delete(MEMBER_SERVICE_ACCOUNT, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => {
            Err(JoinError::request("removing the account of the hub before", client, &error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Option<Owner> {
        let all = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Owner::of(Some(&all.collect()))
    }

    #[test]
    fn rule_4_8_a_member_of_another_hub_is_refused_unless_that_very_hub_is_said_to_be_lost() {
        let joiner = |take_over: Option<&str>| Joiner {
            hub: "mine".to_owned(),
            name: "a".to_owned(),
            take_over: take_over.map(str::to_owned),
        };
        let judged = |take_over: Option<&str>, owner: Option<&Owner>| {
            judge("https://a", &joiner(take_over), owner).map_err(|it| it.to_string())
        };
        let other = said(&[(HUB_UID_ANNOTATION, "theirs"), (JOINED_AS_ANNOTATION, "eks-1")]);
        let refusal = judged(None, other.as_ref()).expect_err("it is another hub's");
        for part in ["https://a", "theirs", "`eks-1`", "cluster leave", "--take-over theirs"] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
        assert!(judged(Some("another"), other.as_ref()).is_err(), "not the hub that was meant");
        assert_eq!(judged(Some("theirs"), other.as_ref()), Ok(true));
        // Our own, under whatever name, and nobody's.
        let ours = said(&[(HUB_UID_ANNOTATION, "mine"), (JOINED_AS_ANNOTATION, "b")]);
        assert_eq!(judged(None, ours.as_ref()), Ok(false));
        assert_eq!(judged(Some("theirs"), None), Ok(false));
        assert_eq!(said(&[(JOINED_AS_ANNOTATION, "eks-1")]), None);
        assert_eq!(said(&[(HUB_UID_ANNOTATION, "")]), None);
    }

    #[test]
    fn rule_4_8_a_hub_is_no_member_neither_this_one_nor_another() {
        let judged = |hub: &str| {
            let take_over = Some(hub.to_owned());
            let joiner = Joiner { hub: "mine".to_owned(), name: "a".to_owned(), take_over };
            let owner = said(&[(HUB_UID_ANNOTATION, hub)]);
            judge("https://a", &joiner, owner.as_ref()).map_err(|it| it.to_string())
        };
        let refusal = judged("mine").expect_err("it is the hub that joins");
        assert!(refusal.starts_with("the cluster at https://a is this hub itself"), "{refusal}");
        let refusal = judged("theirs").expect_err("it is another hub");
        assert!(refusal.contains("is a hub itself, theirs"), "{refusal}");
    }
}
