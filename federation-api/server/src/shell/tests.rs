//! The whole server on a socket, as clients meet it.

use std::{path::PathBuf, pin::pin};

use federation_storage::MemoryStore;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::{
    api::{
        authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec},
        authorization::v1::{
            ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        },
        core::v1::{ConfigMap, Namespace, Secret, ServiceAccount},
        rbac::v1::{ClusterRoleBinding, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, PostParams, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::WatchEvent,
};

use super::*;

/// A server that runs until it is dropped.
struct Running {
    dir: tempfile::TempDir,
    server: Arc<Server>,
    metrics: Arc<Metrics>,
    pki: Pki,
    closing: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), ShellError>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.closing.cancel();
        self.task.abort();
    }
}

async fn start() -> Running {
    start_with(Limits::default()).await
}

async fn start_with(limits: Limits) -> Running {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dir = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let mut options = ShellOptions::new(Arc::new(MemoryStore::new()), dir.path(), listen);
    options.limits = limits;
    let shell = Shell::open(options).await.unwrap();
    let (server, metrics) = (Arc::clone(&shell.server), Arc::clone(&shell.metrics));
    let pki = shell.pki.lock().clone();
    let closing = CancellationToken::new();
    let task = tokio::spawn(shell.run(Some(dir.path().join("kubeconfig")), closing.clone()));
    let running = Running { dir, server, metrics, pki, closing, task };
    within("the kubeconfig is written", async || running.kubeconfig().exists()).await;
    running
}

/// Waits until a condition holds.
async fn within(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let patience = Duration::from_secs(20);
    let waited = tokio::time::timeout(patience, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {patience:?}: {what}");
}

impl Running {
    fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// A client of the admin kubeconfig, changed.
    async fn client(&self, change: impl FnOnce(&mut Config)) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        change(&mut config);
        Client::try_from(config).unwrap()
    }

    async fn admin(&self) -> Client {
        self.client(|_| {}).await
    }

    /// A client that shows these certificate and key.
    async fn with_certificate(&self, pair: &crate::pki::Pair) -> Client {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        self.client(|config| {
            config.auth_info.client_certificate_data = Some(STANDARD.encode(&pair.certificate));
            config.auth_info.client_key_data = Some(STANDARD.encode(&pair.key).into());
        })
        .await
    }

    /// A client without a certificate, and with a token if there is one.
    async fn with_token(&self, token: Option<&str>) -> Client {
        self.client(|config| {
            config.auth_info.client_certificate_data = None;
            config.auth_info.client_key_data = None;
            config.auth_info.token = token.map(|token| token.to_owned().into());
        })
        .await
    }
}

async fn namespace(client: &Client, name: &str) {
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
}

async fn account_with_token(client: &Client, namespace: &str, name: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(600),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer =
        accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    answer.status.unwrap().token.unwrap()
}

fn binding(namespace: &str, role: &str, subject: &Value) -> RoleBinding {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }))
    .unwrap()
}

async fn who(client: &Client) -> (String, Vec<String>) {
    let answer: SelfSubjectReview = Api::all(client.clone())
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .unwrap();
    let user = answer.status.unwrap().user_info.unwrap();
    (user.username.unwrap(), user.groups.unwrap_or_default())
}

fn code<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(other) => panic!("{other}"),
    }
}

async fn get(client: &Client, path: &str) -> u16 {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    code(client.request_text(request).await)
}

#[tokio::test]
async fn the_admin_kubeconfig_serves_reads_writes_and_watches() {
    let running = start().await;
    let admin = running.admin().await;
    let (user, groups) = who(&admin).await;
    assert_eq!(user, crate::pki::ADMIN_USER);
    assert_eq!(groups, [crate::pki::ADMIN_GROUP, "system:authenticated"]);
    namespace(&admin, "shop").await;
    let maps: Api<ConfigMap> = Api::namespaced(admin.clone(), "shop");
    let mut watch = pin!(maps.watch(&WatchParams::default(), "0").await.unwrap());
    let map: ConfigMap = serde_json::from_value(
        serde_json::json!({"metadata": {"name": "settings"}, "data": {"a": "b"}}),
    )
    .unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    let event = tokio::time::timeout(Duration::from_secs(20), watch.try_next()).await;
    let Some(WatchEvent::Added(seen)) = event.unwrap().unwrap() else { panic!("no event") };
    assert_eq!(seen.metadata.name.as_deref(), Some("settings"));
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 1);
    let metrics = running.metrics.render();
    assert!(metrics.contains(r#"apiserver_request_total{verb="create",group="",resource="configmaps",subresource="",code="201"} 1"#), "{metrics}");
    assert!(
        metrics.contains(r#"apiserver_registered_watchers{group="",resource="configmaps"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn without_credentials_only_health_and_version_are_shown() {
    let running = start().await;
    let nobody = running.with_token(None).await;
    for (path, expected) in [
        ("/healthz", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/version", 200),
        ("/readyz/store", 401),
        ("/metrics", 401),
        ("/api", 401),
        ("/api/v1/namespaces", 401),
    ] {
        assert_eq!(get(&nobody, path).await, expected, "{path}");
    }
    let admin = running.admin().await;
    assert_eq!(get(&admin, "/readyz/store").await, 200);
    assert_eq!(get(&admin, "/metrics").await, 200);
    assert_eq!(get(&admin, "/openid/v1/jwks").await, 200);
    let forger = running.with_token(Some("eyJhbGciOiJub25lIn0.e30.")).await;
    assert_eq!(get(&forger, "/healthz").await, 401);
}

#[tokio::test]
async fn a_token_is_good_for_as_long_as_its_account_lives() {
    let running = start().await;
    let admin = running.admin().await;
    namespace(&admin, "shop").await;
    let token = account_with_token(&admin, "shop", "ci").await;
    let ci = running.with_token(Some(&token)).await;
    assert_eq!(who(&ci).await.0, "system:serviceaccount:shop:ci");
    let maps: Api<ConfigMap> = Api::namespaced(ci.clone(), "shop");
    let secrets: Api<Secret> = Api::namespaced(ci.clone(), "shop");
    assert_eq!(code(maps.list(&ListParams::default()).await), 403);
    let subject = serde_json::json!({"kind": "ServiceAccount", "namespace": "shop", "name": "ci"});
    let view = binding("shop", "view", &subject);
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), "shop");
    bindings.create(&PostParams::default(), &view).await.unwrap();
    within("the binding holds", async || code(maps.list(&ListParams::default()).await) == 200)
        .await;
    assert_eq!(code(secrets.list(&ListParams::default()).await), 403);

    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), "shop");
    accounts.delete("ci", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(maps.list(&ListParams::default()).await), 401);
    // Another account of that name is another account.
    account_with_token(&admin, "shop", "ci").await;
    assert_eq!(code(maps.list(&ListParams::default()).await), 401);
}

#[tokio::test]
async fn system_masters_is_a_group_like_any_other() {
    let running = start().await;
    let now = SystemTime::now();
    let pair = running.pki.issue_client("mallory", Some("system:masters"), now).unwrap();
    let mallory = running.with_certificate(&pair).await;
    assert_eq!(who(&mallory).await.1, ["system:masters", "system:authenticated"]);
    let secrets: Api<Secret> = Api::all(mallory);
    assert_eq!(code(secrets.list(&ListParams::default()).await), 403);
}

#[tokio::test]
async fn certificates_of_others_and_of_the_server_are_no_credentials() {
    let running = start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Pki::open(elsewhere.path(), &[], SystemTime::now()).unwrap();
    for pair in [&other.admin, &running.pki.serving] {
        let client = running.with_certificate(pair).await;
        let request = http::Request::get("/version").body(Vec::new()).unwrap();
        let error = client.request_text(request).await.unwrap_err();
        assert!(!matches!(error, kube::Error::Api(_)), "{error}");
    }
}

#[tokio::test]
async fn impersonation_needs_the_right_and_gives_no_more_than_the_other_has() {
    let running = start().await;
    let admin = running.admin().await;
    namespace(&admin, "shop").await;
    let as_jane = |config: &mut Config| {
        config.auth_info.impersonate = Some("jane".to_owned());
        config.auth_info.impersonate_groups = Some(vec!["dev".to_owned()]);
    };
    let jane = running.client(as_jane).await;
    assert_eq!(who(&jane).await.0, "jane");
    let secrets: Api<Secret> = Api::namespaced(jane, "shop");
    assert_eq!(code(secrets.list(&ListParams::default()).await), 403);

    let token = account_with_token(&admin, "shop", "ci").await;
    let ci = running
        .client(|config| {
            config.auth_info.client_certificate_data = None;
            config.auth_info.client_key_data = None;
            config.auth_info.token = Some(token.into());
            config.auth_info.impersonate = Some(crate::pki::ADMIN_USER.to_owned());
            config.auth_info.impersonate_groups = Some(vec![crate::pki::ADMIN_GROUP.to_owned()]);
        })
        .await;
    assert_eq!(get(&ci, "/api").await, 403);
}

#[tokio::test]
async fn nobody_grants_himself_more_than_he_holds() {
    let running = start().await;
    let admin = running.admin().await;
    namespace(&admin, "shop").await;
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), "shop");
    let ann = serde_json::json!({"kind": "User", "name": "ann"});
    bindings.create(&PostParams::default(), &binding("shop", "admin", &ann)).await.unwrap();
    let pair = running.pki.issue_client("ann", None, SystemTime::now()).unwrap();
    let client = running.with_certificate(&pair).await;
    let own: Api<RoleBinding> = Api::namespaced(client.clone(), "shop");
    within("ann is admin", async || {
        let view = binding("shop", "view", &ann);
        code(own.create(&PostParams::default(), &view).await) == 200
    })
    .await;
    let more = binding("shop", "cluster-admin", &ann);
    let error = own.create(&PostParams::default(), &more).await.unwrap_err();
    let kube::Error::Api(status) = &error else { panic!("{error}") };
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"), "{status:?}");
    assert!(status.message.contains("not currently held"), "{}", status.message);
    let everywhere: Api<ClusterRoleBinding> = Api::all(client.clone());
    assert_eq!(code(everywhere.list(&ListParams::default()).await), 403);

    let review = |verb: &str| SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some("shop".to_owned()),
                verb: Some(verb.to_owned()),
                resource: Some("secrets".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    for (verb, allowed) in [("get", true), ("impersonate", false)] {
        let answer =
            Api::all(client.clone()).create(&PostParams::default(), &review(verb)).await.unwrap();
        assert_eq!(answer.status.unwrap().allowed, allowed, "{verb}");
    }
}

#[tokio::test]
async fn the_local_client_is_judged_as_the_network_is() {
    let running = start().await;
    let admin = running.admin().await;
    namespace(&admin, "shop").await;
    let local = |component: &str| {
        Client::new(running.server.local(Identity::component(component)), "default")
    };
    let maps: Api<ConfigMap> = Api::namespaced(local("lifecycle"), "shop");
    let mut watch = pin!(maps.watch(&WatchParams::default(), "0").await.unwrap());
    let map: ConfigMap =
        serde_json::from_value(serde_json::json!({"metadata": {"name": "a"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    let event = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap();
    assert!(matches!(event, Some(Ok(WatchEvent::Added(_)))), "{event:?}");
    let web: Api<ConfigMap> = Api::namespaced(local("web"), "shop");
    assert_eq!(code(web.list(&ListParams::default()).await), 403);
    assert_eq!(code(web.create(&PostParams::default(), &map).await), 403);
    let stranger: Api<ConfigMap> = Api::namespaced(local("stranger"), "shop");
    assert_eq!(code(stranger.list(&ListParams::default()).await), 403);
}

#[tokio::test]
async fn too_many_requests_are_sent_away_and_watches_are_not_counted() {
    let running = start_with(Limits { in_flight: 0, ..Limits::default() }).await;
    // The client would try again, for minutes.
    let client = running.client(|config| config.default_retry = false).await;
    let namespaces: Api<Namespace> = Api::all(client);
    let error = namespaces.list(&ListParams::default()).await.unwrap_err();
    let kube::Error::Api(status) = &error else { panic!("{error}") };
    assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(status.details.as_ref().unwrap().retry_after_seconds, 1);
    assert!(namespaces.watch(&WatchParams::default(), "0").await.is_ok());
}

#[tokio::test]
async fn a_shutdown_ends_watches_and_lets_go_of_the_port() {
    let mut running = start().await;
    let admin = running.admin().await;
    let namespaces: Api<Namespace> = Api::all(admin);
    let watch = namespaces.watch(&WatchParams::default().timeout(200), "0").await.unwrap();
    let drained = tokio::spawn(async move { pin!(watch).count().await });
    running.closing.cancel();
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, drained).await.unwrap().unwrap();
    tokio::time::timeout(patience, &mut running.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_restart_finds_its_keys_and_roles_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let open = async || {
        let listen = "127.0.0.1:0".parse().unwrap();
        Shell::open(ShellOptions::new(Arc::clone(&store), dir.path(), listen)).await.unwrap()
    };
    let first = open().await;
    let (uid, revision) = (first.hub_uid(), store.revision());
    assert!(revision.0 > 0);
    drop(first);
    let second = open().await;
    assert_eq!(second.hub_uid(), uid);
    assert_eq!(store.revision(), revision);
}
