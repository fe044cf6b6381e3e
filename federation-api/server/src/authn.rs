//! Who makes a request: by client certificate, by ServiceAccount token, or nobody; and as whom he wants to be taken.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

use federation_storage::Store;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    authorize::{Attributes, Authorizer, Decision},
    identity::Identity,
    keys,
    status::ApiError,
    tls::Peer,
    tokens::{Claims, ISSUER, ObjectRef, TokenKeys},
};

/// Set on an impersonated identity: who stands behind it.
pub const IMPERSONATED_BY: &str = "archipel.dev/impersonated-by";

/// What somebody without credentials may ask for.
const PUBLIC_PATHS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];
/// Verified signatures that are remembered; all are forgotten when there are more.
const REMEMBERED_TOKENS: usize = 10_000;

/// Tells who makes a request.
pub struct Authenticator {
    store: Arc<dyn Store>,
    tokens: Arc<TokenKeys>,
    authorizer: Arc<dyn Authorizer>,
    /// Tokens whose signature holds, by their digest. Their time and their ServiceAccount are checked each time.
    verified: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

/// The part of a stored object that a token is bound to.
#[derive(Deserialize)]
struct Stored {
    metadata: StoredMeta,
}

#[derive(Deserialize)]
struct StoredMeta {
    uid: String,
    #[serde(rename = "deletionTimestamp")]
    deletion_timestamp: Option<String>,
}

impl Authenticator {
    /// An authenticator that looks ServiceAccounts up in `store`, and asks `authorizer` about impersonation.
    pub fn new(
        store: Arc<dyn Store>,
        tokens: Arc<TokenKeys>,
        authorizer: Arc<dyn Authorizer>,
    ) -> Self {
        Self { store, tokens, authorizer, verified: Mutex::default() }
    }

    /// The identity that a request over the network is made with. Credentials are taken out of the headers.
    pub async fn identify(
        &self,
        peer: Option<&Peer>,
        path: &str,
        headers: &mut HeaderMap,
    ) -> Result<Identity, ApiError> {
        refuse_hop_by_hop_credentials(headers)?;
        let bearer = bearer(headers)?;
        headers.remove(header::AUTHORIZATION);
        let identity = match (peer, bearer) {
            (Some(peer), _) if peer.expires > SystemTime::now() => peer.identity.clone(),
            (_, Some(token)) => {
                self.service_account(&token, &[ISSUER]).await?.ok_or_else(ApiError::unauthorized)?
            }
            (None, None) if PUBLIC_PATHS.contains(&path) => Identity::anonymous(),
            _ => return Err(ApiError::unauthorized()),
        };
        let wanted = Impersonation::take(headers)?;
        match wanted {
            None => Ok(identity),
            Some(wanted) => self.impersonate(&identity, wanted),
        }
    }

    /// Who a token for one of `audiences` is: its signature holds, it is in its time, and what it is bound to exists
    /// with that very uid.
    pub async fn service_account(
        &self,
        token: &str,
        audiences: &[&str],
    ) -> Result<Option<Identity>, ApiError> {
        Ok(self.verify(token, audiences).await?.map(|claims| identity_of(&claims)))
    }

    /// As [`Self::service_account`], but all that the token says.
    pub(crate) async fn verify(
        &self,
        token: &str,
        audiences: &[&str],
    ) -> Result<Option<Arc<Claims>>, ApiError> {
        let Some(claims) = self.signed(token, audiences) else { return Ok(None) };
        let bound = &claims.bound;
        let references = [
            ("serviceaccounts", Some(&bound.serviceaccount)),
            ("pods", bound.pod.as_ref()),
            ("secrets", bound.secret.as_ref()),
        ];
        for (resource, reference) in references {
            if let Some(reference) = reference
                && !self.exists(resource, &bound.namespace, reference).await?
            {
                return Ok(None);
            }
        }
        Ok(Some(claims))
    }

    fn signed(&self, token: &str, audiences: &[&str]) -> Option<Arc<Claims>> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = self.verified.lock().get(&digest).cloned();
        let claims = match known {
            Some(claims) => claims,
            None => {
                let claims = Arc::new(self.tokens.verify(token, audiences)?);
                let mut verified = self.verified.lock();
                if verified.len() >= REMEMBERED_TOKENS {
                    verified.clear();
                }
                verified.insert(digest, Arc::clone(&claims));
                claims
            }
        };
        let in_time = claims.exp > jsonwebtoken::get_current_timestamp();
        let for_us = claims.aud.iter().any(|audience| audiences.contains(&audience.as_str()));
        (in_time && for_us).then_some(claims)
    }

    async fn exists(
        &self,
        resource: &str,
        namespace: &str,
        wanted: &ObjectRef,
    ) -> Result<bool, ApiError> {
        let key = keys::object("", resource, namespace, &wanted.name);
        let Some(entry) = self.store.get(&key).await? else { return Ok(false) };
        let stored: Option<Stored> = serde_json::from_slice(&entry.value).ok();
        Ok(stored.is_some_and(|object| {
            object.metadata.uid == wanted.uid && object.metadata.deletion_timestamp.is_none()
        }))
    }

    fn impersonate(
        &self,
        identity: &Identity,
        wanted: Impersonation,
    ) -> Result<Identity, ApiError> {
        for attributes in wanted.attributes() {
            if let Decision::Deny(reason) = self.authorizer.authorize(identity, &attributes) {
                return Err(ApiError::denied(identity, &attributes, &reason));
            }
        }
        tracing::debug!(user = identity.user, as_user = wanted.user, "impersonation");
        let mut taken = wanted.identity();
        taken.extra.insert(IMPERSONATED_BY.to_owned(), vec![identity.user.clone()]);
        Ok(taken)
    }
}

/// The identity that a token stands for.
pub(crate) fn identity_of(claims: &Claims) -> Identity {
    let bound = &claims.bound;
    let mut identity = Identity::service_account(&bound.namespace, &bound.serviceaccount.name);
    identity.uid.clone_from(&bound.serviceaccount.uid);
    let mut extra = |key: &str, value: &str| {
        identity.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()])
    };
    extra("credential-id", &format!("JTI={}", claims.jti));
    if let Some(pod) = &bound.pod {
        extra("pod-name", &pod.name);
        extra("pod-uid", &pod.uid);
    }
    identity
}

/// A proxy in front of us drops the headers that `Connection` names. Whoever names credentials there wants them gone,
/// and the request to run as somebody else.
fn refuse_hop_by_hop_credentials(headers: &HeaderMap) -> Result<(), ApiError> {
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(|name| name.trim_ascii().to_ascii_lowercase());
    for name in named {
        if name == b"authorization"
            || name.starts_with(b"impersonate-")
            || name.starts_with(b"x-remote-")
        {
            return Err(ApiError::bad_request("the header Connection must not name credentials"));
        }
    }
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::bad_request("there is more than one header Authorization"));
    }
    let text = value.to_str().map_err(|_| ApiError::unauthorized())?.trim();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Some(token.trim().to_owned()))
        }
        // Credentials of a kind that is not known here are none, and not a pass for the anonymous.
        _ => Err(ApiError::unauthorized()),
    }
}

/// As whom somebody wants to be taken.
#[derive(Debug, Default, PartialEq, Eq)]
struct Impersonation {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// Takes the `Impersonate-*` headers out.
    fn take(headers: &mut HeaderMap) -> Result<Option<Self>, ApiError> {
        let named: Vec<_> = headers
            .keys()
            .filter(|name| name.as_str().starts_with("impersonate-"))
            .cloned()
            .collect();
        if named.is_empty() {
            return Ok(None);
        }
        let mut wanted = Self::default();
        for name in named {
            let values: Vec<String> = headers
                .get_all(&name)
                .iter()
                .map(|value| value.to_str().map(str::to_owned))
                .collect::<Result<_, _>>()
                .map_err(|_| ApiError::bad_request(format!("the header {name} is not text")))?;
            headers.remove(&name);
            let one = |values: Vec<String>| match <[String; 1]>::try_from(values) {
                Ok([value]) => Ok(value),
                Err(_) => Err(ApiError::bad_request(format!("there is more than one {name}"))),
            };
            match name.as_str() {
                "impersonate-user" => wanted.user = one(values)?,
                "impersonate-uid" => wanted.uid = one(values)?,
                "impersonate-group" => wanted.groups = values,
                other => match other.strip_prefix("impersonate-extra-") {
                    Some(key) if !key.is_empty() => {
                        wanted.extra.insert(percent_decode(key), values);
                    }
                    _ => {
                        return Err(ApiError::bad_request(format!("unknown header {name}")));
                    }
                },
            }
        }
        if wanted.user.is_empty() {
            return Err(ApiError::bad_request("impersonation without Impersonate-User"));
        }
        Ok(Some(wanted))
    }

    /// Each thing that must be allowed.
    fn attributes(&self) -> Vec<Attributes> {
        let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
            Attributes {
                verb: "impersonate".to_owned(),
                group: group.to_owned(),
                version: "v1".to_owned(),
                resource: resource.to_owned(),
                subresource: subresource.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                ..Attributes::default()
            }
        };
        let mut all = vec![match service_account(&self.user) {
            Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name),
            None => ask("", "users", "", "", &self.user),
        }];
        all.extend(self.groups.iter().map(|group| ask("", "groups", "", "", group)));
        if !self.uid.is_empty() {
            all.push(ask("authentication.k8s.io", "uids", "", "", &self.uid));
        }
        for (key, values) in &self.extra {
            all.extend(
                values
                    .iter()
                    .map(|value| ask("authentication.k8s.io", "userextras", key, "", value)),
            );
        }
        all
    }

    fn identity(self) -> Identity {
        let mut identity = match service_account(&self.user) {
            Some((namespace, name)) if self.groups.is_empty() => {
                Identity::service_account(namespace, name)
            }
            _ => Identity { groups: self.groups, ..Identity::default() },
        };
        let everyone =
            if self.user == "system:anonymous" { "unauthenticated" } else { "authenticated" };
        let everyone = format!("system:{everyone}");
        if !identity.groups.contains(&everyone) {
            identity.groups.push(everyone);
        }
        identity.user = self.user;
        identity.uid = self.uid;
        identity.extra = self.extra;
        identity
    }
}

fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        if let Some(byte) = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn connection_must_not_name_credentials() {
        for value in ["Impersonate-User", "keep-alive, authorization", "x-remote-group ,close"] {
            let headers = headers(&[("connection", value)]);
            assert!(refuse_hop_by_hop_credentials(&headers).is_err(), "{value}");
        }
        assert!(refuse_hop_by_hop_credentials(&headers(&[("connection", "keep-alive")])).is_ok());
    }

    #[test]
    fn impersonation_is_read_and_taken_out() {
        let mut headers = headers(&[
            ("impersonate-user", "jane"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            ("impersonate-extra-acme.com%2fscope", "x"),
            ("accept", "*/*"),
        ]);
        let wanted = Impersonation::take(&mut headers).unwrap().unwrap();
        assert_eq!(headers.len(), 1);
        let asked: Vec<(String, String, String)> = wanted
            .attributes()
            .into_iter()
            .map(|ask| (ask.resource, ask.subresource, ask.name))
            .collect();
        let expected = [
            ("users", "", "jane"),
            ("groups", "", "a"),
            ("groups", "", "b"),
            ("userextras", "acme.com/scope", "x"),
        ]
        .map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(asked, expected);
        assert_eq!(wanted.identity().groups, ["a", "b", "system:authenticated"]);
    }

    #[test]
    fn half_an_impersonation_is_refused() {
        for pairs in [
            &[("impersonate-group", "system:masters")][..],
            &[("impersonate-user", "a"), ("impersonate-user", "b")],
            &[("impersonate-user", "a"), ("impersonate-something", "b")],
        ] {
            assert!(Impersonation::take(&mut headers(pairs)).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn a_service_account_is_impersonated_in_its_namespace_with_its_groups() {
        let mut headers = headers(&[("impersonate-user", "system:serviceaccount:shop:ci")]);
        let wanted = Impersonation::take(&mut headers).unwrap().unwrap();
        let ask = &wanted.attributes()[0];
        assert_eq!(
            (&*ask.resource, &*ask.namespace, &*ask.name),
            ("serviceaccounts", "shop", "ci")
        );
        assert_eq!(wanted.identity().groups, Identity::service_account("shop", "ci").groups);
    }

    #[test]
    fn other_credentials_than_one_bearer_token_are_refused() {
        assert!(bearer(&headers(&[("authorization", "Basic abc")])).is_err());
        let two = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
        assert!(bearer(&two).is_err());
        assert_eq!(bearer(&headers(&[("authorization", "bearer a")])).unwrap().unwrap(), "a");
        assert_eq!(bearer(&HeaderMap::new()).unwrap(), None);
    }
}
