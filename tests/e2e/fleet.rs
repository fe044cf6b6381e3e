//! Three real members of three providers under one hub: what the stories are played on.

use std::time::Duration;

use federation_tests::{Hub, Kubectl, Member, MemberOptions, NodeShape, wait};
use serde_json::Value;

/// How long something may take that takes a second on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Fleet {
    pub(crate) hub: Hub,
    pub(crate) members: Vec<Member>,
}

/// Name, provider, region, zone, node type, further arguments of `cluster join`.
type Spec =
    (&'static str, &'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const MEMBERS: [Spec; 3] = [
    (
        "eks-1",
        "eks",
        "eu-west-1",
        "eu-west-1a",
        "m6i.xlarge",
        &["--jurisdiction", "EU", "--label", "tier=prod"],
    ),
    (
        "gke-1",
        "gke",
        "europe-west3",
        "europe-west3-a",
        "n2-standard-4",
        &["--jurisdiction", "EU", "--label", "tier=prod"],
    ),
    (
        "prem-1",
        "onprem",
        "zurich",
        "zurich-1",
        "metal-16",
        &["--jurisdiction", "CH", "--label", "tier=edge"],
    ),
];

impl Fleet {
    /// Starts the hub and the members at the same time, and joins them.
    pub(crate) async fn start() -> Self {
        let start = |at: usize| {
            let (name, _, region, zone, kind, _) = MEMBERS[at];
            let nodes = NodeShape::new(3, kind, region, zone).size("4", "16Gi");
            Member::start(MemberOptions::full(name, [nodes]))
        };
        let (hub, eks, gke, prem) = tokio::join!(Hub::start(), start(0), start(1), start(2));
        let fleet =
            Self { hub: hub.unwrap(), members: vec![eks.unwrap(), gke.unwrap(), prem.unwrap()] };
        for (at, (_, provider, region, zone, _, more)) in MEMBERS.iter().enumerate() {
            let mut args = vec!["--zone", zone];
            args.extend_from_slice(more);
            fleet.hub.join(&fleet.members[at], provider, region, &args).await;
        }
        // The stories together remove more than the default lets go in ten minutes; one of them is about that.
        let wide = r#"{"spec":{"minRemovals":100000}}"#;
        fleet.kubectl().ok(["patch", "changebudget", "default", "--type=merge", "-p", wide]).await;
        fleet
    }

    /// Joins a member again as it was joined at first.
    pub(crate) async fn join_again(&self, name: &str) {
        let at = MEMBERS.iter().position(|it| it.0 == name).expect("a member of the fleet");
        let (_, provider, region, zone, _, more) = MEMBERS[at];
        let args: Vec<&str> = ["--zone", zone].iter().chain(more).copied().collect();
        self.hub.join(&self.members[at], provider, region, &args).await;
    }

    /// Makes a story's namespace.
    pub(crate) async fn begin(&self, namespace: &str) {
        self.kubectl().ok(["create", "namespace", namespace]).await;
    }

    /// Lets a story's namespace go, with all that it holds; nobody waits for it.
    pub(crate) async fn end(&self, namespace: &str) {
        let kubectl = self.kubectl();
        kubectl.ok(["annotate", "namespace", namespace, "archipel.dev/allow-delete=true"]).await;
        kubectl.ok(["delete", "namespace", namespace, "--wait=false"]).await;
    }

    /// Undoes what a story that failed half-way may have left on the fleet.
    pub(crate) async fn tidy(&mut self) {
        for member in &mut self.members {
            let _ = member.thaw();
        }
        self.hub.archipel(&["thaw"]).await;
        let kubectl = self.kubectl();
        kubectl.run(["delete", "clusterplacementpolicies", "--all"]).await;
        kubectl.run(["delete", "changebudget", "tight", "--ignore-not-found"]).await;
        for (name, ..) in MEMBERS {
            kubectl
                .run([
                    "patch",
                    "membercluster",
                    name,
                    "--type=merge",
                    "-p",
                    r#"{"spec":{"taints":[]}}"#,
                ])
                .await;
        }
    }

    /// Changes the spec of a MemberCluster.
    pub(crate) async fn patch_member(&self, name: &str, spec: &Value) {
        let patch = serde_json::json!({ "spec": spec }).to_string();
        self.kubectl().ok(["patch", "membercluster", name, "--type=merge", "-p", &patch]).await;
    }

    pub(crate) fn kubectl(&self) -> Kubectl {
        self.hub.kubectl()
    }

    /// kubectl against one member.
    pub(crate) fn on(&self, member: &str) -> Kubectl {
        Kubectl::new(self.member(member).kubeconfig()).unwrap()
    }

    pub(crate) fn member(&self, name: &str) -> &Member {
        self.members.iter().find(|it| it.name() == name).expect("a member of the fleet")
    }

    pub(crate) fn member_mut(&mut self, name: &str) -> &mut Member {
        self.members.iter_mut().find(|it| it.name() == name).expect("a member of the fleet")
    }

    /// An object in the hub as JSON; `None` while it does not exist.
    pub(crate) async fn get(&self, args: &[&str]) -> Option<Value> {
        get(&self.kubectl(), args).await
    }

    /// Waits until a Placement puts its template on exactly these clusters (`eks-1=2 gke-1=1`, or names alone), ready.
    pub(crate) async fn placed(&self, namespace: &str, placement: &str, expected: &str) {
        let kubectl = self.kubectl();
        let what = format!("placement {namespace}/{placement} on {expected}, ready");
        wait::until(&what, SOON, async || {
            let Some(placement) = get(&kubectl, &["placement", placement, "-n", namespace]).await
            else {
                return Err("no placement".to_owned());
            };
            let shown = show(&placement, expected.contains('='));
            let ready = &placement["status"]["summary"];
            let settled = ready["ready"] == ready["clusters"]
                && placement["status"]["observedGeneration"] == placement["metadata"]["generation"];
            if shown == expected
                && settled
                && placement["spec"]["removing"].as_array().is_none_or(Vec::is_empty)
            {
                Ok(())
            } else {
                Err(format!(
                    "{shown}; outcome {}; status {}",
                    placement["spec"]["outcome"], placement["status"]
                ))
            }
        })
        .await;
    }

    /// Waits until an object of the hub is as the probe wants it; the probe's error says what is missing.
    pub(crate) async fn shows(
        &self,
        what: &str,
        args: &[&str],
        probe: impl Fn(&Value) -> Result<(), String>,
    ) -> Value {
        becomes(&self.kubectl(), &format!("{what} in the hub"), args, probe).await
    }

    /// The same for an object in a member.
    pub(crate) async fn member_shows(
        &self,
        member: &str,
        what: &str,
        args: &[&str],
        probe: impl Fn(&Value) -> Result<(), String>,
    ) -> Value {
        becomes(&self.on(member), &format!("{what} in {member}"), args, probe).await
    }

    /// Waits until the object is in the member.
    pub(crate) async fn arrives(&self, member: &str, args: &[&str]) -> Value {
        let kubectl = self.on(member);
        wait::until(&format!("{args:?} in {member}"), SOON, async || {
            get(&kubectl, args).await.ok_or("not there")
        })
        .await
    }

    /// Waits until the object is gone from the member.
    pub(crate) async fn leaves(&self, member: &str, args: &[&str]) {
        let kubectl = self.on(member);
        wait::until(&format!("no {args:?} in {member}"), SOON, async || {
            match get(&kubectl, args).await {
                None => Ok(()),
                Some(object) => Err(object["metadata"].to_string()),
            }
        })
        .await;
    }
}

/// `kubectl get ARGS -o json`; `None` while it does not exist.
pub(crate) async fn get(kubectl: &Kubectl, args: &[&str]) -> Option<Value> {
    let mut all = vec!["get", "-o", "json", "--ignore-not-found"];
    all.extend_from_slice(args);
    let text = kubectl.ok(all).await;
    if text.trim().is_empty() { None } else { Some(serde_json::from_str(&text).unwrap()) }
}

/// What `kubectl get ARGS` lists; nothing listed is no error.
pub(crate) async fn list(kubectl: &Kubectl, args: &[&str]) -> Vec<Value> {
    let found = get(kubectl, args).await.unwrap_or_default();
    found["items"].as_array().cloned().unwrap_or_default()
}

async fn becomes(
    kubectl: &Kubectl,
    what: &str,
    args: &[&str],
    probe: impl Fn(&Value) -> Result<(), String>,
) -> Value {
    wait::until(what, SOON, async || match get(kubectl, args).await {
        None => Err(format!("{args:?} is not there")),
        Some(object) => probe(&object).map(|()| object),
    })
    .await
}

/// The copy of one cluster in `Placement.status`.
pub(crate) fn copy<'a>(placement: &'a Value, cluster: &str) -> Option<&'a Value> {
    placement["status"]["clusters"].as_array()?.iter().find(|it| it["name"] == cluster)
}

/// Whether the copy in this cluster is in this state; the error is what it is instead.
pub(crate) fn copy_is(placement: &Value, cluster: &str, state: &str) -> Result<(), String> {
    match copy(placement, cluster) {
        Some(copy) if copy["state"] == state => Ok(()),
        other => Err(format!("{cluster}: {other:?}; spec {}", placement["spec"])),
    }
}

/// `Ok` if it holds, else what was seen.
pub(crate) fn seen(holds: bool, what: &Value) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

/// Whether the condition `Placed` has this status and reason; the error is what stands there instead.
pub(crate) fn placed_is(placement: &Value, status: &str, reason: &str) -> Result<(), String> {
    let conditions = placement["status"]["conditions"].as_array();
    let holds = conditions
        .into_iter()
        .flatten()
        .any(|it| it["type"] == "Placed" && it["status"] == status && it["reason"] == reason);
    seen(holds, &serde_json::json!([placement["status"]["conditions"], placement["spec"]]))
}

/// Names of the clusters in `Placement.spec.clusters`, in order; `!` marks those that are leaving.
pub(crate) fn clusters(placement: &Value) -> String {
    let clusters = placement["spec"]["clusters"].as_array().into_iter().flatten();
    let names: Vec<String> = clusters
        .map(|it| {
            let leaving = if it["leaving"].is_string() { "!" } else { "" };
            format!("{}{leaving}", it["name"].as_str().unwrap_or_default())
        })
        .collect();
    names.join(" ")
}

/// Replicas by cluster, for divisions that only bounds are known of.
pub(crate) fn replicas(placement: &Value) -> std::collections::BTreeMap<String, u64> {
    let clusters = placement["spec"]["clusters"].as_array().into_iter().flatten();
    clusters
        .map(|it| {
            (
                it["name"].as_str().unwrap_or_default().to_owned(),
                it["replicas"].as_u64().unwrap_or(0),
            )
        })
        .collect()
}

fn show(placement: &Value, replicas: bool) -> String {
    let clusters = placement["spec"]["clusters"].as_array().into_iter().flatten();
    let shown: Vec<String> = clusters
        .map(|it| {
            let name = it["name"].as_str().unwrap_or_default();
            if replicas { format!("{name}={}", it["replicas"]) } else { name.to_owned() }
        })
        .collect();
    shown.join(" ")
}

/// A Deployment that runs everywhere kwok does.
pub(crate) fn deployment(namespace: &str, name: &str, replicas: u32) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}, tier: web}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: web
        image: registry.example/{name}:1.0
        resources: {{requests: {{cpu: 250m, memory: 256Mi}}}}
---
"#
    )
}

/// A namespaced policy on Deployments of one name.
pub(crate) fn policy(namespace: &str, name: &str, rest: &str) -> String {
    format!(
        r#"
apiVersion: archipel.dev/v1alpha1
kind: PlacementPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selectors: [{{apiVersion: apps/v1, kind: Deployment, name: {name}}}]
{rest}
---
"#
    )
}
