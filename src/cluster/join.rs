//! `archipel cluster join`: who the cluster is, an account of our own there, and the MemberCluster that stands for it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use federation_types::{
    cluster::{
        Connection, KubeconfigConnection, MemberCluster, MemberClusterSpec, SecretRef, Taint,
        TaintEffect,
    },
    condition,
    names::{CLUSTER_UID_ANNOTATION, HUB_UID_ANNOTATION, MEMBER_FINALIZER, SYSTEM_NAMESPACE},
    reason::condition::READY,
    words::counted,
};
use futures::StreamExt;
use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use providers_core::{
    ConnectOptions, UserKubeconfig,
    join::{self, JoinError, Joiner},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    hub::Hub,
    output::{self, Failure},
};

/// How long a hub that has just started may take to say who it is.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How long a new member may take to become ready.
const PATIENCE: Duration = Duration::from_secs(60);
const MANAGER: &str = "archipel-cli";
/// The secret with a member's credentials is named after it.
const SECRET_PREFIX: &str = "member-";
/// What the API takes for a name at most, with the secret's prefix before it.
const LONGEST_NAME: usize = 253 - SECRET_PREFIX.len();

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Provider {
    Eks,
    Gke,
    Aks,
    Onprem,
}

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The member's name in the hub.
    name: String,
    /// The cluster's kubeconfig: used once, to make an account of the hub's own.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// A context of it; the current one if left out.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// Whose cluster it is.
    #[arg(long, value_enum)]
    provider: Provider,
    /// The provider's own name of the region.
    #[arg(long, value_name = "REGION")]
    region: String,
    /// A zone that its nodes are in; may be repeated.
    #[arg(long = "zone", value_name = "ZONE")]
    zones: Vec<String>,
    /// The jurisdiction that data in this cluster is under; left out, it satisfies no residency.
    #[arg(long, value_name = "JURISDICTION", default_value = "", hide_default_value = true)]
    jurisdiction: String,
    /// A label, for policies to select by; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// A taint, with NoSchedule, PreferNoSchedule or NoExecute; may be repeated.
    #[arg(long = "taint", value_name = "KEY=VALUE:EFFECT", value_parser = taint)]
    taints: Vec<Taint>,
    /// Its node pools grow and shrink by themselves.
    #[arg(long)]
    autoscaled: bool,
    /// Keep the given credentials instead of making an account with a guard.
    #[arg(long)]
    keep_credentials: bool,
    /// Take the cluster over from a hub that is lost; its id is in the refusal of a join without this.
    #[arg(long, value_name = "HUB", conflicts_with = "keep_credentials")]
    take_over: Option<String>,
    /// Return at once instead of waiting until it is ready.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    hub: Hub,
}

/// Why a cluster did not become a member.
#[derive(Debug, thiserror::Error)]
#[error("cannot join {name}; nothing of it is kept in the hub")]
struct Refused {
    name: String,
    source: JoinError,
}

/// What a join needs to know; the demo makes these itself.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) spec: MemberClusterSpec,
    pub(crate) user: UserKubeconfig,
    pub(crate) keep_credentials: bool,
    /// The hub that is lost, whose member it was.
    pub(crate) take_over: Option<String>,
}

impl Join {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let user = UserKubeconfig::read(&self.kubeconfig, self.context.as_deref())?;
        let provider = self.provider.to_possible_value().map(|it| it.get_name().to_owned());
        let request = Request {
            name: self.name.clone(),
            labels: self.labels.into_iter().collect(),
            spec: MemberClusterSpec {
                provider: provider.unwrap_or_default(),
                region: self.region,
                zones: self.zones,
                jurisdiction: self.jurisdiction,
                taints: self.taints,
                autoscaled: self.autoscaled,
                ..MemberClusterSpec::default()
            },
            user,
            keep_credentials: self.keep_credentials,
            take_over: self.take_over,
        };
        let hub = self.hub.client().await?;
        for note in join(&hub, request).await? {
            output::progress(format_args!("note: {note}"));
        }
        if self.no_wait {
            output::line(format_args!("{} joined; not waited for", self.name));
            return Ok(());
        }
        let name = &self.name;
        let say = |now: &str| output::progress(format_args!("{name}: {now}"));
        let member = wait_until_ready(&hub, name, say).await?;
        let status = member.status.unwrap_or_default();
        let (version, nodes) = (status.version, status.nodes);
        let nodes = counted(nodes, "node", "nodes");
        output::line(format_args!("{} is ready: {version}, {nodes}", self.name));
        Ok(())
    }
}

/// Joins a cluster; returns notes for the user. The hub gets something only after the cluster has given everything.
pub(crate) async fn join(hub: &Client, request: Request) -> Result<Vec<String>, Failure> {
    let Request { name, labels, mut spec, user, keep_credentials, take_over } = request;
    may_be_named(&name)?;
    let members = Api::<MemberCluster>::all(hub.clone());
    if let Some(there) = members.get_opt(&name).await? {
        let leaving = there.metadata.deletion_timestamp.is_some();
        let state = if leaving { "is still leaving" } else { "has joined already" };
        return Err(
            format!("{name} {state}; `archipel cluster leave {name}` lets it go first").into()
        );
    }
    let cannot = |source: JoinError| Refused { name: name.clone(), source };
    let identified = join::identify(&user, &ConnectOptions::default()).await.map_err(cannot)?;
    let uid = identified.uid.clone();
    // A second look beside that at its namespace: that of a hub may say that it is a member, where it joined itself once.
    if matches!(join::identity(hub).await, Ok(Some(own)) if own == uid) {
        return Err(cannot(JoinError::Itself { server: user.server().to_owned() }).into());
    }
    let fleet = members.list(&ListParams::default()).await?;
    if let Some(first) = fleet.items.iter().find(|it| is(it, &uid)) {
        let server = user.server();
        return Err(format!(
            "the cluster at {server} is a member already, as `{}`",
            first.name_any()
        )
        .into());
    }
    let joiner = Joiner { hub: hub_uid(hub).await?, name: name.clone(), take_over };
    let joined = if keep_credentials {
        identified.keep(&joiner).await
    } else {
        identified.join(&joiner).await
    };
    let joined = joined.map_err(cannot)?;

    let secret_name = format!("{SECRET_PREFIX}{name}");
    spec.accepted = true;
    spec.connection = Connection {
        kubeconfig: Some(KubeconfigConnection {
            secret_ref: SecretRef {
                namespace: SYSTEM_NAMESPACE.to_owned(),
                name: secret_name.clone(),
            },
        }),
    };
    let mut member = MemberCluster::new(&name, spec);
    member.metadata.labels = (!labels.is_empty()).then_some(labels);
    member.metadata.finalizers = Some(vec![MEMBER_FINALIZER.to_owned()]);
    member.annotations_mut().insert(CLUSTER_UID_ANNOTATION.to_owned(), uid);

    let secrets = Api::<Secret>::namespaced(hub.clone(), SYSTEM_NAMESPACE);
    let secret = Secret {
        metadata: kube::api::ObjectMeta {
            name: Some(secret_name.clone()),
            ..kube::api::ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("kubeconfig".to_owned(), ByteString(joined.kubeconfig))])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    let apply = PatchParams::apply(MANAGER).force();
    secrets.patch(&secret_name, &apply, &Patch::Apply(&secret)).await.map_err(|error| {
        let why = output::sentence(&error);
        format!("cannot keep the credentials of {name} in the hub: {why}")
    })?;
    let made = match members.create(&PostParams::default(), &member).await {
        Ok(made) => made,
        Err(error) => {
            // Nothing stays behind in the hub; the account in the member does no harm and is found by the next join.
            let _ = secrets.delete(&secret_name, &kube::api::DeleteParams::default()).await;
            let why = output::sentence(&error);
            return Err(format!("the hub did not take the MemberCluster {name}: {why}").into());
        }
    };
    // With the member goes its secret, whoever deletes it.
    let owner = json!({"metadata": {"ownerReferences": [{
        "apiVersion": "archipel.dev/v1alpha1", "kind": "MemberCluster", "name": name,
        "uid": made.metadata.uid,
    }]}});
    secrets.patch(&secret_name, &PatchParams::default(), &Patch::Merge(owner)).await?;
    Ok(joined.notes)
}

/// Who the hub is, which it says in its own namespace from its start on.
pub(super) async fn hub_uid(hub: &Client) -> Result<String, Failure> {
    let namespaces = Api::<Namespace>::all(hub.clone());
    let until = Instant::now() + START_PATIENCE;
    loop {
        let there = namespaces.get_metadata_opt(SYSTEM_NAMESPACE).await?;
        let mut said = there.and_then(|it| it.metadata.annotations).unwrap_or_default();
        if let Some(uid) = said.remove(HUB_UID_ANNOTATION).filter(|it| !it.is_empty()) {
            return Ok(uid);
        }
        if Instant::now() >= until {
            return Err(format!(
                "the hub does not say who it is: its namespace {SYSTEM_NAMESPACE} has no annotation \
                 {HUB_UID_ANNOTATION}, which `archipel serve` of this version sets when it starts"
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is(member: &MemberCluster, uid: &str) -> bool {
    let seen = member.status.as_ref().map(|it| it.uid.as_str());
    seen == Some(uid)
        || member.annotations().get(CLUSTER_UID_ANNOTATION).is_some_and(|it| it == uid)
}

/// Watches a member until it is ready, and tells what it waits for.
pub(crate) async fn wait_until_ready(
    hub: &Client,
    name: &str,
    say: impl Fn(&str),
) -> Result<MemberCluster, Failure> {
    let members = Api::<MemberCluster>::all(hub.clone());
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = std::pin::pin!(watcher(members, config).default_backoff().applied_objects());
    let mut said = String::new();
    let waiting = async {
        while let Some(change) = changes.next().await {
            // An interrupted watch comes back by itself.
            let Ok(member) = change else { continue };
            let conditions = member.status.as_ref().map(|it| it.conditions.as_slice());
            if condition::is_true(conditions.unwrap_or_default(), READY) {
                return Some(member);
            }
            let found = condition::find(conditions.unwrap_or_default(), READY);
            let now = found.map_or_else(
                || "joined; the hub has not reached it yet".to_owned(),
                |it| format!("{}: {}", it.reason, it.message),
            );
            if now != said {
                say(&now);
                said = now;
            }
        }
        None
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(Some(member)) => Ok(member),
        Ok(None) => Err(format!("the hub stopped answering while {name} was waited for").into()),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            Err(format!("{name} has joined but is not ready after {seconds} s: {said}").into())
        }
    }
}

/// Whether the hub will take the name: asked before anything in the cluster is touched.
fn may_be_named(name: &str) -> Result<(), String> {
    let inside = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    let part = |it: &str| {
        !it.is_empty() && !it.starts_with('-') && !it.ends_with('-') && it.bytes().all(inside)
    };
    if !name.split('.').all(part) {
        return Err(format!(
            "a member cannot be named {name:?}: lower case letters, digits, `-` and `.` only, with a letter or digit at \
             both ends and beside each `.`"
        ));
    }
    if name.len() > LONGEST_NAME {
        let length = name.len();
        return Err(format!(
            "a member's name may have {LONGEST_NAME} characters at most, and this one has {length}"
        ));
    }
    Ok(())
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("is no KEY=VALUE".to_owned()),
    }
}

/// `key=value:Effect` or `key:Effect`
fn taint(text: &str) -> Result<Taint, String> {
    let wrong =
        || "is no KEY=VALUE:EFFECT with NoSchedule, PreferNoSchedule or NoExecute".to_owned();
    let (rest, effect) = text.rsplit_once(':').ok_or_else(wrong)?;
    let effect = match effect {
        "NoSchedule" => TaintEffect::NoSchedule,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        _ => return Err(wrong()),
    };
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    if key.is_empty() {
        return Err(wrong());
    }
    Ok(Taint { key: key.to_owned(), value: value.to_owned(), effect, ..Taint::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_taints_are_read_as_kubectl_writes_them() {
        assert_eq!(label("tier=prod"), Ok(("tier".to_owned(), "prod".to_owned())));
        assert!(label("tier").is_err() && label("=x").is_err());
        let read = taint("gpu=a100:NoSchedule").unwrap();
        assert_eq!((read.key.as_str(), read.value.as_str()), ("gpu", "a100"));
        assert_eq!(taint("spot:NoExecute").unwrap().effect, TaintEffect::NoExecute);
        assert!(
            taint("spot").is_err() && taint("spot:Never").is_err() && taint(":NoExecute").is_err()
        );
    }

    #[test]
    fn a_name_that_the_hub_would_not_take_is_refused_in_one_line() {
        let longest = "a".repeat(LONGEST_NAME);
        for name in ["a", "eks-eu-west-1", "1.prod", longest.as_str()] {
            assert_eq!(may_be_named(name), Ok(()));
        }
        let longer = "a".repeat(LONGEST_NAME + 1);
        for name in
            ["", "X_y", "Prod", "-a", "a-", "a..b", "a.-b", ".a", "a b", "a\nb", "é", &longer]
        {
            let why = may_be_named(name).expect_err(name);
            assert_eq!(why.lines().count(), 1, "{why}");
        }
    }

    #[tokio::test]
    async fn a_wrong_name_is_refused_before_anything_is_asked() {
        // Neither the hub nor the cluster is there: whoever is asked first would be in the answer.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let nobody = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let hub = Client::try_from(nobody).unwrap();
        let file = std::env::temp_dir().join(format!("archipel-join-{}", std::process::id()));
        let kubeconfig = json!({
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&file, kubeconfig.to_string()).unwrap();
        let user = UserKubeconfig::read(&file, Some("x")).unwrap();
        std::fs::remove_file(&file).unwrap();
        let request = Request {
            name: "X_y".to_owned(),
            labels: BTreeMap::new(),
            spec: MemberClusterSpec::default(),
            user,
            keep_credentials: false,
            take_over: None,
        };
        let why = join(&hub, request).await.unwrap_err().to_string();
        assert!(why.starts_with("a member cannot be named \"X_y\": "), "{why}");
    }

    #[test]
    fn rule_4_8_a_cluster_is_known_by_its_uid_before_and_after_it_was_reached() {
        let mut member = MemberCluster::new("a", MemberClusterSpec::default());
        assert!(!is(&member, "u"));
        member.annotations_mut().insert(CLUSTER_UID_ANNOTATION.to_owned(), "u".to_owned());
        assert!(is(&member, "u"));
        let mut seen = MemberCluster::new("b", MemberClusterSpec::default());
        seen.status = Some(federation_types::cluster::MemberClusterStatus {
            uid: "v".to_owned(),
            ..Default::default()
        });
        assert!(is(&seen, "v") && !is(&seen, "u"));
    }
}
