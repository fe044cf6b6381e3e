//! The token of our own ServiceAccount in a member: asked for, read, and put into the stored kubeconfig.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use federation_types::names::{MEMBER_SERVICE_ACCOUNT, SYSTEM_NAMESPACE};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use serde_json::Value;

/// How long a token shall live; members may make it shorter, and it is renewed long before its end.
const LIFETIMES: [i64; 3] = [30 * 24 * 3600, 24 * 3600, 3600];

/// When a token was made and when it ends, in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLife {
    pub issued: i64,
    pub expires: i64,
}

impl TokenLife {
    /// When a new one is due: at four fifths of its life.
    pub fn renew_at(&self) -> i64 {
        self.issued + (self.expires - self.issued) * 4 / 5
    }

    /// From the claims of a token; `None` where it is no such token, or one that does not end.
    pub fn of(token: &str) -> Option<Self> {
        let claims = token.split('.').nth(1)?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        Some(Self { issued: claims["iat"].as_i64()?, expires: claims["exp"].as_i64()? })
    }

    /// Of the token in a kubeconfig that [`crate::join`] made; `None` where it holds other credentials.
    pub fn of_kubeconfig(kubeconfig: &[u8]) -> Option<Self> {
        let config: Value = serde_norway::from_slice(kubeconfig).ok()?;
        let claims_of_ours = |token: &str| {
            let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
            let claims: Value = serde_json::from_slice(&claims).ok()?;
            let ours = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{MEMBER_SERVICE_ACCOUNT}");
            (claims["sub"].as_str()? == ours).then_some(())
        };
        let token = config["users"][0]["user"]["token"].as_str()?;
        claims_of_ours(token)?;
        Self::of(token)
    }
}

/// Asks the member for a token of our ServiceAccount there: as long-lived as it accepts.
pub async fn request(client: &Client) -> Result<String, kube::Error> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let mut last = None;
    for seconds in LIFETIMES {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(seconds),
                ..Default::default()
            }),
            ..Default::default()
        };
        let parameters = PostParams::default();
        match accounts.create_token_request(MEMBER_SERVICE_ACCOUNT, &parameters, &request).await {
            Ok(answer) => return Ok(answer.status.unwrap_or_default().token.unwrap_or_default()),
            // The member refuses to make one that lives so long.
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {
                last = Some(kube::Error::Api(status));
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.expect("the loop ends early unless a request was refused"))
}

/// The same kubeconfig with another token.
pub fn replace(kubeconfig: &[u8], token: &str) -> Option<Vec<u8>> {
    let mut config: Value = serde_norway::from_slice(kubeconfig).ok()?;
    *config.get_mut("users")?.get_mut(0)?.get_mut("user")?.get_mut("token")? = token.into();
    Some(federation_types::yaml::to_string(&config).ok()?.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(subject: &str) -> String {
        let claims = serde_json::json!({"iat": 1000, "exp": 2000, "sub": subject}).to_string();
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn rule_4_8_a_token_of_ours_is_renewed_at_four_fifths_of_its_life() {
        let ours = token("system:serviceaccount:archipel-system:archipel-syncer");
        let kubeconfig = format!("users: [{{name: a, user: {{token: {ours}}}}}]");
        let life = TokenLife::of_kubeconfig(kubeconfig.as_bytes()).unwrap();
        assert_eq!(life, TokenLife { issued: 1000, expires: 2000 });
        assert_eq!(life.renew_at(), 1800);
        let renewed = replace(kubeconfig.as_bytes(), "new").unwrap();
        assert!(String::from_utf8(renewed).unwrap().contains("token: new"));
    }

    #[test]
    fn kept_credentials_are_not_ours_to_renew() {
        for token in [token("system:serviceaccount:kube-system:admin"), "opaque".to_owned()] {
            let kubeconfig = format!("users: [{{name: a, user: {{token: {token}}}}}]");
            assert_eq!(TokenLife::of_kubeconfig(kubeconfig.as_bytes()), None);
        }
        assert_eq!(TokenLife::of_kubeconfig(b"users: []"), None);
    }
}
