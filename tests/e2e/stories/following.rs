//! What a template names goes where it goes (RULES 4.7), seen from the members.

use federation_tests::wait;

use crate::fleet::{Fleet, SOON, clusters, get, policy, seen};

const NAMED: [&str; 3] = ["configmap/web-config", "secret/web-key", "serviceaccount/web"];

/// What the pods of a Deployment need, and a ConfigMap that nothing names.
const NEEDED: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: web-config, namespace: follow}
data: {colour: blue}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: unused, namespace: follow}
---
apiVersion: v1
kind: Secret
metadata: {name: web-key, namespace: follow}
stringData: {key: s3cret}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: follow}
"#;

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: follow}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
      - name: web
        image: registry.example/web:1.0
        envFrom: [{configMapRef: {name: web-config}}]
        env: [{name: KEY, valueFrom: {secretKeyRef: {name: web-key, key: key}}}]
"#;

fn to(clusters: &str) -> String {
    let rest =
        format!("  dependencies: Follow\n  affinities: [{{clusters: {{names: [{clusters}]}}}}]");
    policy("follow", "web", &rest)
}

async fn all_placed(fleet: &Fleet, expected: &str) {
    for it in ["deployment-web", "configmap-web-config", "secret-web-key", "serviceaccount-web"] {
        fleet.placed("follow", it, expected).await;
    }
}

/// Nothing of it is in the member.
async fn is_clean(fleet: &Fleet, member: &str) {
    for it in NAMED.iter().chain(&["deploy/web", "configmap/unused"]) {
        let found = get(&fleet.on(member), &[it, "-n", "follow"]).await;
        assert!(found.is_none(), "{member} has {it}: {found:?}");
    }
}

pub(super) async fn what_a_template_names_goes_where_it_goes(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("follow").await;
    kubectl.apply(&to("eks-1, gke-1")).await;
    let watching = kubectl.clone();
    let watch = tokio::spawn(async move {
        let args =
            ["get", "placements", "-n", "follow", "-w", "-o", "name", "--request-timeout=10s"];
        watching.run(args).await
    });
    kubectl.apply(NEEDED).await;
    kubectl.apply(WEB).await;
    all_placed(fleet, "eks-1 gke-1").await;
    for member in ["eks-1", "gke-1"] {
        let key = fleet.arrives(member, &[NAMED[1], "-n", "follow"]).await;
        assert_eq!(key["data"]["key"], "czNjcmV0");
    }
    is_clean(fleet, "prem-1").await;
    let args =
        ["wait", "placement/deployment-web", "-n", "follow", "--for=condition=DependenciesMet"];
    kubectl.ok(args.into_iter().chain(["--timeout=60s"])).await;
    let why = fleet.hub.archipel_ok(&["why", "cm/web-config", "-n", "follow"]).await;
    assert!(why.contains("follows Deployment follow/web"), "{why}");
    assert!(why.contains("claimed by PlacementPolicy follow/web"), "{why}");
    let unused = fleet.hub.archipel_ok(&["why", "cm/unused", "-n", "follow"]).await;
    assert!(unused.contains("claimed by no placement policy"), "{unused}");
    // What is needed is placed before what needs it.
    let order = watch.await.unwrap().stdout;
    let at = |name: &str| order.find(name).unwrap_or_else(|| panic!("no {name} in {order}"));
    for it in ["configmap-web-config", "secret-web-key", "serviceaccount-web"] {
        assert!(at(it) < at("deployment-web"), "{it} comes late: {order}");
    }

    let moved = to("gke-1, prem-1");
    let desk = tempfile::tempdir().unwrap();
    let file = desk.path().join("policy.yaml");
    std::fs::write(&file, &moved).unwrap();
    let plan = fleet.hub.archipel(&["plan", "-f", file.to_str().unwrap(), "-o", "json"]).await;
    assert!(plan.stdout.contains("\"Needed\"") && plan.stdout.contains("web-config"), "{plan:?}");
    kubectl.apply(&moved).await;
    all_placed(fleet, "gke-1 prem-1").await;
    for it in NAMED {
        fleet.leaves("eks-1", &[it, "-n", "follow"]).await;
    }
    is_clean(fleet, "eks-1").await;

    // A policy of its own decides alone, and what it leaves out is said.
    let own = policy("follow", "web-config", "  affinities: [{clusters: {names: [prem-1]}}]")
        .replace("apps/v1, kind: Deployment", "v1, kind: ConfigMap");
    kubectl.apply(&own).await;
    fleet.placed("follow", "configmap-web-config", "prem-1").await;
    fleet.leaves("gke-1", &[NAMED[0], "-n", "follow"]).await;
    let said = "ConfigMap web-config is left out of gke-1 by its own PlacementPolicy web-config";
    fleet
        .shows(said, &["placement", "deployment-web", "-n", "follow"], |it| {
            let conditions = it["status"]["conditions"].as_array();
            let found = conditions.into_iter().flatten().find(|it| it["type"] == "DependenciesMet");
            let holds = found.is_some_and(|it| it["status"] == "False" && it["message"] == said);
            seen(holds && clusters(it) == "gke-1 prem-1", &it["status"])
        })
        .await;
    kubectl.ok(["delete", "placementpolicy", "web-config", "-n", "follow"]).await;
    all_placed(fleet, "gke-1 prem-1").await;

    // What needed it is deleted: so are its copies, and the object stays on the hub.
    kubectl.ok(["delete", "deploy/web", "-n", "follow", "--timeout=60s"]).await;
    for member in ["gke-1", "prem-1"] {
        for it in NAMED {
            fleet.leaves(member, &[it, "-n", "follow"]).await;
        }
    }
    wait::until("no placement is left", SOON, async || {
        let left = kubectl.ok(["get", "placements", "-n", "follow", "-o", "name"]).await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    let config = fleet.get(&[NAMED[0], "-n", "follow"]).await.unwrap();
    let finalizers = config["metadata"]["finalizers"].as_array();
    assert!(finalizers.is_none_or(Vec::is_empty), "{}", config["metadata"]);
    fleet.end("follow").await;
}
