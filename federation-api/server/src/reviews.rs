//! Questions about authorisation and authentication, answered and never stored, and tokens for ServiceAccounts.

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};

use crate::{
    app::{Builtin, BuiltinCall, BuiltinResource},
    authn::Authenticator,
    authorize::{Attributes, Authorizer, Decision},
    authz::{Rbac, Rule},
    identity::Identity,
    status::{ApiError, Cause},
    tokens::{Bound, ISSUER, ObjectRef, TokenKeys},
};

use federation_storage::Store;

/// A token lives an hour unless more or less is asked for, ten minutes at least and a day at most.
const TOKEN_SECONDS: (u64, u64, u64) = (600, 3600, 24 * 3600);

const AUTHORIZATION: &str = "authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Every review of this module.
pub fn all(
    store: &Arc<dyn Store>,
    rbac: &Arc<Rbac>,
    authenticator: &Arc<Authenticator>,
    keys: &Arc<TokenKeys>,
) -> Vec<Arc<dyn Builtin>> {
    let access = |about| -> Arc<dyn Builtin> {
        Arc::new(AccessReview { about, authorizer: Arc::clone(rbac) as Arc<dyn Authorizer> })
    };
    vec![
        access(About::Anybody),
        access(About::Self_),
        access(About::Namespace),
        Arc::new(RulesReview(Arc::clone(rbac))),
        Arc::new(SelfReview),
        Arc::new(TokenReview(Arc::clone(authenticator))),
        Arc::new(TokenRequest { store: Arc::clone(store), keys: Arc::clone(keys) }),
    ]
}

/// Of whom an access review speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Anybody,
    Self_,
    /// Anybody, within the namespace that it is posted to.
    Namespace,
}

/// SubjectAccessReview, SelfSubjectAccessReview and LocalSubjectAccessReview.
struct AccessReview {
    about: About,
    authorizer: Arc<dyn Authorizer>,
}

impl Builtin for AccessReview {
    fn resource(&self) -> BuiltinResource {
        let (resource, kind) = match self.about {
            About::Anybody => ("subjectaccessreviews", "SubjectAccessReview"),
            About::Self_ => ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
            About::Namespace => ("localsubjectaccessreviews", "LocalSubjectAccessReview"),
        };
        builtin(AUTHORIZATION, resource, kind, self.about == About::Namespace)
    }

    fn answer<'a>(&'a self, call: BuiltinCall<'a>) -> BoxFuture<'a, Result<Value, ApiError>> {
        std::future::ready(self.review(call)).boxed()
    }
}

impl AccessReview {
    fn review(&self, call: BuiltinCall<'_>) -> Result<Value, ApiError> {
        let kind = self.resource().kind;
        let invalid = |field: &str, message: &str| {
            ApiError::invalid(AUTHORIZATION, kind, "", vec![Cause::field(field, message)])
        };
        let spec = &call.body["spec"];
        let identity = match self.about {
            About::Self_ => call.identity.clone(),
            About::Anybody | About::Namespace => subject(spec),
        };
        if identity.user.is_empty() && identity.groups.is_empty() {
            return Err(invalid(
                "spec.user",
                "Invalid value: \"\": at least one of user or group must be specified",
            ));
        }
        let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
        let attributes = match (resource.is_object(), path.is_object()) {
            (true, false) => resource_attributes(resource),
            (false, true) => Attributes {
                verb: text(&path["verb"]),
                path: text(&path["path"]),
                ..Attributes::default()
            },
            _ => {
                return Err(invalid(
                    "spec.resourceAttributes",
                    "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified",
                ));
            }
        };
        if self.about == About::Namespace
            && (path.is_object() || Some(attributes.namespace.as_str()) != call.namespace)
        {
            return Err(invalid(
                "spec.resourceAttributes.namespace",
                "Invalid value: must match metadata.namespace",
            ));
        }
        let status = match self.authorizer.authorize(&identity, &attributes) {
            Decision::Allow => json!({"allowed": true}),
            Decision::Deny(reason) if reason.is_empty() => json!({"allowed": false}),
            Decision::Deny(reason) => json!({"allowed": false, "reason": reason}),
        };
        Ok(with_status(call.body, status))
    }
}

/// SelfSubjectRulesReview.
struct RulesReview(Arc<Rbac>);

impl Builtin for RulesReview {
    fn resource(&self) -> BuiltinResource {
        builtin(AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview", false)
    }

    fn answer<'a>(&'a self, call: BuiltinCall<'a>) -> BoxFuture<'a, Result<Value, ApiError>> {
        let namespace = text(&call.body["spec"]["namespace"]);
        let answer = if namespace.is_empty() {
            let cause = Cause::field("spec.namespace", "Required value");
            Err(ApiError::invalid(AUTHORIZATION, "SelfSubjectRulesReview", "", vec![cause]))
        } else {
            let rules = self.0.rules_for(call.identity, &namespace);
            let (paths, resources): (Vec<&Rule>, Vec<&Rule>) =
                rules.iter().partition(|rule| rule.resources.is_empty());
            let resources: Vec<Value> = resources.into_iter().map(resource_rule).collect();
            let paths: Vec<Value> = paths
                .into_iter()
                .map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths}))
                .collect();
            Ok(with_status(
                call.body,
                json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false}),
            ))
        };
        std::future::ready(answer).boxed()
    }
}

fn resource_rule(rule: &Rule) -> Value {
    let mut value =
        json!({"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources});
    if !rule.names.is_empty() {
        value["resourceNames"] = json!(rule.names);
    }
    value
}

/// SelfSubjectReview: who am I.
struct SelfReview;

impl Builtin for SelfReview {
    fn resource(&self) -> BuiltinResource {
        builtin(AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview", false)
    }

    fn answer<'a>(&'a self, call: BuiltinCall<'a>) -> BoxFuture<'a, Result<Value, ApiError>> {
        let status = json!({"userInfo": user_info(call.identity)});
        std::future::ready(Ok(with_status(call.body, status))).boxed()
    }
}

/// TokenReview: whose token is this.
struct TokenReview(Arc<Authenticator>);

impl Builtin for TokenReview {
    fn resource(&self) -> BuiltinResource {
        builtin(AUTHENTICATION, "tokenreviews", "TokenReview", false)
    }

    fn answer<'a>(&'a self, call: BuiltinCall<'a>) -> BoxFuture<'a, Result<Value, ApiError>> {
        async move {
            let spec = &call.body["spec"];
            let token = text(&spec["token"]);
            if token.is_empty() {
                let cause = Cause::field("spec.token", "Required value");
                return Err(ApiError::invalid(AUTHENTICATION, "TokenReview", "", vec![cause]));
            }
            let asked = strings(&spec["audiences"]);
            let audiences: Vec<&str> = if asked.is_empty() {
                vec![ISSUER]
            } else {
                asked.iter().map(String::as_str).collect()
            };
            let status = match self.0.verify(&token, &audiences).await? {
                Some(claims) => {
                    let met: Vec<&String> = claims
                        .aud
                        .iter()
                        .filter(|audience| audiences.contains(&audience.as_str()))
                        .collect();
                    json!({
                        "authenticated": true,
                        "audiences": met,
                        "user": user_info(&crate::authn::identity_of(&claims)),
                    })
                }
                None => json!({"authenticated": false, "error": "invalid bearer token"}),
            };
            let mut body = call.body;
            // The token is not echoed: answers are logged by some clients.
            if let Some(spec) = body["spec"].as_object_mut() {
                spec.remove("token");
            }
            Ok(with_status(body, status))
        }
        .boxed()
    }
}

/// TokenRequest, posted to a ServiceAccount.
struct TokenRequest {
    store: Arc<dyn Store>,
    keys: Arc<TokenKeys>,
}

impl Builtin for TokenRequest {
    fn resource(&self) -> BuiltinResource {
        BuiltinResource {
            group: "",
            version: "v1",
            resource: "serviceaccounts",
            subresource: "token",
            kind: "TokenRequest",
            kind_api_version: "authentication.k8s.io/v1",
            namespaced: true,
        }
    }

    fn answer<'a>(&'a self, call: BuiltinCall<'a>) -> BoxFuture<'a, Result<Value, ApiError>> {
        self.issue(call).boxed()
    }
}

impl TokenRequest {
    async fn issue(&self, call: BuiltinCall<'_>) -> Result<Value, ApiError> {
        let (namespace, name) = (call.namespace.unwrap_or_default(), call.name.unwrap_or_default());
        let invalid = |field: &str, message: &str| {
            let cause = Cause::field(field, message);
            ApiError::invalid(AUTHENTICATION, "TokenRequest", name, vec![cause])
        };
        let uid = self
            .uid("serviceaccounts", namespace, name)
            .await?
            .ok_or_else(|| ApiError::not_found("", "serviceaccounts", name))?;
        let spec = &call.body["spec"];
        let (least, usual, most) = TOKEN_SECONDS;
        let seconds = match &spec["expirationSeconds"] {
            Value::Null => usual,
            value => value.as_u64().filter(|&seconds| seconds >= least).ok_or_else(|| {
                invalid(
                    "spec.expirationSeconds",
                    "Invalid value: may not specify a duration less than 10 minutes",
                )
            })?,
        };
        let mut bound = Bound {
            namespace: namespace.to_owned(),
            serviceaccount: ObjectRef { name: name.to_owned(), uid },
            pod: None,
            secret: None,
        };
        let reference = &spec["boundObjectRef"];
        if reference.is_object() {
            let (resource, slot) = match reference["kind"].as_str() {
                Some("Pod") => ("pods", &mut bound.pod),
                Some("Secret") => ("secrets", &mut bound.secret),
                _ => {
                    return Err(invalid(
                        "spec.boundObjectRef.kind",
                        "Unsupported value: supported values: \"Pod\", \"Secret\"",
                    ));
                }
            };
            let target = text(&reference["name"]);
            let uid = self
                .uid(resource, namespace, &target)
                .await?
                .ok_or_else(|| ApiError::not_found("", resource, &target))?;
            let wanted = text(&reference["uid"]);
            if !wanted.is_empty() && wanted != uid {
                return Err(ApiError::conflict(
                    "",
                    resource,
                    &target,
                    "the UID in the bound object reference does not match the UID in record",
                ));
            }
            *slot = Some(ObjectRef { name: target, uid });
        }
        let now = jsonwebtoken::get_current_timestamp();
        let (token, claims) = self
            .keys
            .issue(bound, strings(&spec["audiences"]), now, seconds.min(most))
            .map_err(|error| ApiError::internal(error.to_string()))?;
        let status = json!({"token": token, "expirationTimestamp": rfc3339(claims.exp)});
        let mut body = call.body;
        body["spec"]["audiences"] = json!(claims.aud);
        body["spec"]["expirationSeconds"] = (claims.exp - claims.iat).into();
        body["metadata"]["name"] = name.into();
        body["metadata"]["namespace"] = namespace.into();
        Ok(with_status(body, status))
    }

    async fn uid(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<String>, ApiError> {
        let key = crate::keys::object("", resource, namespace, name);
        let Some(entry) = self.store.get(&key).await? else { return Ok(None) };
        let object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        Ok(object["metadata"]["uid"].as_str().map(str::to_owned))
    }
}

fn builtin(
    group: &'static str,
    resource: &'static str,
    kind: &'static str,
    namespaced: bool,
) -> BuiltinResource {
    BuiltinResource {
        group,
        version: "v1",
        resource,
        subresource: "",
        kind,
        kind_api_version: "",
        namespaced,
    }
}

fn subject(spec: &Value) -> Identity {
    Identity {
        user: text(&spec["user"]),
        uid: text(&spec["uid"]),
        groups: strings(&spec["groups"]),
        extra: spec["extra"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.clone(), strings(values)))
            .collect(),
    }
}

fn resource_attributes(value: &Value) -> Attributes {
    let field = |name: &str| text(&value[name]);
    Attributes {
        verb: field("verb"),
        group: field("group"),
        version: field("version"),
        resource: field("resource"),
        subresource: field("subresource"),
        namespace: field("namespace"),
        name: field("name"),
        path: String::new(),
    }
}

fn user_info(identity: &Identity) -> Value {
    let mut info = json!({"username": identity.user, "groups": identity.groups});
    if !identity.uid.is_empty() {
        info["uid"] = identity.uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(identity.extra);
    }
    info
}

fn with_status(mut body: Value, status: Value) -> Value {
    if !body["metadata"].is_object() {
        body["metadata"] = json!({});
    }
    body["status"] = status;
    body
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn rfc3339(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// `/.well-known/openid-configuration` and `/openid/v1/jwks`: what others need to trust our tokens.
pub(crate) fn issuer_document(path: &str, keys: &TokenKeys) -> Option<Value> {
    match path {
        "/.well-known/openid-configuration" => Some(json!({
            "issuer": ISSUER,
            "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })),
        "/openid/v1/jwks" => serde_json::to_value(keys.public()).ok(),
        _ => None,
    }
}
