//! ServiceAccount tokens: signed by the hub's key, bound to one ServiceAccount by uid, for named audiences, for a time.

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use serde::{Deserialize, Serialize};

use crate::pki::Pki;

/// Who signs our tokens, and the audience of those meant for the hub itself.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// Why a token key cannot be used or a token not be made.
#[derive(Debug, thiserror::Error)]
#[error("ServiceAccount tokens cannot be signed")]
pub struct TokenError(#[from] jsonwebtoken::errors::Error);

/// An object that a token speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    pub name: String,
    pub uid: String,
}

/// The claim `kubernetes.io`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub namespace: String,
    pub serviceaccount: ObjectRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectRef>,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    /// Seconds since 1970, as are `iat` and `nbf`.
    pub exp: u64,
    pub iat: u64,
    pub nbf: u64,
    pub iss: String,
    pub jti: String,
    pub sub: String,
    #[serde(rename = "kubernetes.io")]
    pub bound: Bound,
}

/// Signs and verifies tokens.
pub struct TokenKeys {
    id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: Jwk,
}

impl fmt::Debug for TokenKeys {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("id", &self.id).finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// The keys that `pki` holds.
    pub fn new(pki: &Pki) -> Result<Self, TokenError> {
        let (private, public) = pki.token_keys();
        let encoding = EncodingKey::from_ec_pem(private.as_bytes())?;
        let decoding = DecodingKey::from_ec_pem(public.as_bytes())?;
        let mut public = Jwk::from_decoding_key(&decoding, Some(Algorithm::ES256))?;
        let id = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { id, encoding, decoding, public })
    }

    /// Signs a token for a ServiceAccount. `now` in seconds since 1970; empty audiences mean the hub itself.
    pub fn issue(
        &self,
        bound: Bound,
        audiences: Vec<String>,
        now: u64,
        seconds: u64,
    ) -> Result<(String, Claims), TokenError> {
        let claims = Claims {
            aud: if audiences.is_empty() { vec![ISSUER.to_owned()] } else { audiences },
            exp: now + seconds,
            iat: now,
            nbf: now,
            iss: ISSUER.to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: format!("system:serviceaccount:{}:{}", bound.namespace, bound.serviceaccount.name),
            bound,
        };
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.clone());
        Ok((jsonwebtoken::encode(&header, &claims, &self.encoding)?, claims))
    }

    /// The claims of a token that we signed, that is in its time, and that is for one of `audiences`. Whether its
    /// ServiceAccount still exists is for the caller to find out.
    pub fn verify(&self, token: &str, audiences: &[&str]) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = 0;
        validation.validate_nbf = false;
        validation.set_audience(audiences);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let claims: Claims =
            jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).ok()?.claims;
        let subject = format!(
            "system:serviceaccount:{}:{}",
            claims.bound.namespace, claims.bound.serviceaccount.name
        );
        (claims.sub == subject).then_some(claims)
    }

    /// `/openid/v1/jwks`: what others need to verify our tokens.
    pub fn public(&self) -> JwkSet {
        JwkSet { keys: vec![self.public.clone()] }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn keys() -> TokenKeys {
        let dir = tempfile::tempdir().unwrap();
        TokenKeys::new(&Pki::open(dir.path(), &[], SystemTime::now()).unwrap()).unwrap()
    }

    fn bound() -> Bound {
        Bound {
            namespace: "shop".to_owned(),
            serviceaccount: ObjectRef { name: "ci".to_owned(), uid: "u1".to_owned() },
            pod: None,
            secret: None,
        }
    }

    fn now() -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn a_token_is_what_was_asked_for() {
        let keys = keys();
        let (token, claims) = keys.issue(bound(), vec![], now(), 600).unwrap();
        assert_eq!(keys.verify(&token, &[ISSUER]), Some(claims));
        assert_eq!(keys.public().keys[0].common.key_id.as_deref(), Some(keys.id.as_str()));
    }

    #[test]
    fn a_token_for_others_or_out_of_its_time_or_of_another_hub_is_refused() {
        let (keys, other) = (keys(), keys());
        let (vault, _) = keys.issue(bound(), vec!["vault".to_owned()], now(), 600).unwrap();
        assert_eq!(keys.verify(&vault, &[ISSUER]), None);
        assert!(keys.verify(&vault, &["vault"]).is_some());
        let (old, _) = keys.issue(bound(), vec![], now() - 700, 600).unwrap();
        assert_eq!(keys.verify(&old, &[ISSUER]), None);
        let (foreign, _) = other.issue(bound(), vec![], now(), 600).unwrap();
        assert_eq!(keys.verify(&foreign, &[ISSUER]), None);
    }

    #[test]
    fn every_changed_character_spoils_a_token() {
        let keys = keys();
        let (token, _) = keys.issue(bound(), vec![], now(), 600).unwrap();
        // The last character of a segment may carry bits that base64 ignores, so only whole-bit changes are made.
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = match changed[at] {
                b'A' => b'g',
                b'.' => b'A',
                _ => b'A',
            };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(keys.verify(&changed, &[ISSUER]), None, "at {at}");
        }
    }
}
