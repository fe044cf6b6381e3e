//! Where templates go: each rule of placement, on clusters that really run them.

use federation_tests::wait;
use serde_json::{Value, json};

use crate::fleet::{Fleet, SOON, clusters, deployment, list, policy, replicas, seen};

/// As the design states them; only the group's version is added where a list of kinds leaves it out.
const DESIGN: &str = include_str!("design-example.yaml");

pub(super) async fn the_example_policy_of_the_design(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("shop").await;
    fleet
        .patch_member("eks-1", &json!({"services": [{"name": "aws/dynamodb", "latencyMs": 1}]}))
        .await;
    fleet
        .patch_member("gke-1", &json!({"services": [{"name": "aws/dynamodb", "latencyMs": 20}]}))
        .await;
    let applied = kubectl.run_with(DESIGN, ["apply", "-f", "-"]).await;
    assert!(applied.success(), "{applied:?}");
    assert!(applied.stderr.contains("spec.rollout"), "it is not warned of: {applied:?}");
    let again = kubectl.apply(DESIGN).await;
    assert!(
        again.contains("web-eu unchanged")
            && again.contains("overridepolicy.archipel.dev/web unchanged"),
        "{again}"
    );

    let web = deployment("shop", "web", 6)
        .replace("registry.example/web:1.0", "docker.example/shop/web:1.0");
    kubectl.apply(&web).await;
    let args = ["placement", "deployment-web", "-n", "shop"];
    let placement = fleet
        .shows("6 replicas of web on both EU clusters", &args, |it| {
            let replicas = replicas(it);
            let names: Vec<&str> = replicas.keys().map(String::as_str).collect();
            let fits = names == ["eks-1", "gke-1"]
                && replicas.values().all(|n| *n >= 2)
                && replicas.values().sum::<u64>() == 6;
            seen(fits && it["status"]["summary"]["readyReplicas"] == 6, it)
        })
        .await;
    assert_eq!(
        placement["spec"]["policyRef"],
        json!({"kind": "PlacementPolicy", "name": "web-eu"})
    );
    assert_eq!(placement["spec"]["affinity"], "eu");

    let copy = fleet.arrives("gke-1", &["deploy", "web", "-n", "shop"]).await;
    let container = &copy["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example/shop/web:1.0");
    assert_eq!(container["env"], json!([{"name": "CLOUD", "value": "gke"}]));
    assert_eq!(copy["metadata"]["labels"]["cloud"], "gke");
    assert_eq!(copy["spec"]["minReadySeconds"], 5);
    let plain = fleet.arrives("eks-1", &["deploy", "web", "-n", "shop"]).await;
    assert_eq!(
        plain["spec"]["template"]["spec"]["containers"][0]["image"],
        "docker.example/shop/web:1.0"
    );
    assert_eq!(plain["spec"]["template"]["spec"]["containers"][0]["env"], Value::Null);
    assert_eq!(plain["metadata"]["labels"]["cloud"], Value::Null);

    let why =
        fleet.hub.archipel_ok(&["why", "deployment/web", "-n", "shop", "--not", "prem-1"]).await;
    assert!(why.contains("prem-1") && why.contains("provider"), "{why}");
    let policy = fleet
        .shows("the policy's counts", &["placementpolicy", "web-eu", "-n", "shop"], |it| {
            seen(it["status"]["matched"] == 1 && it["status"]["placed"] == 1, &it["status"])
        })
        .await;
    assert_eq!(policy["status"]["failing"], json!(0), "{}", policy["status"]);
    // Above the service's reach: the policy asks for 40 ms.
    fleet
        .patch_member("gke-1", &json!({"services": [{"name": "aws/dynamodb", "latencyMs": 41}]}))
        .await;
    let explained = |text: &str| text.contains("aws/dynamodb");
    wait::until("why names the distance", SOON, async || {
        let why =
            fleet.hub.archipel_ok(&["why", "deployment/web", "-n", "shop", "--not", "gke-1"]).await;
        if explained(&why) { Ok(()) } else { Err(why) }
    })
    .await;
    let placement = fleet.get(&args).await.unwrap();
    assert_eq!(
        clusters(&placement).replace('!', ""),
        "eks-1 gke-1",
        "running copies stay: {}",
        placement["spec"]
    );
    for member in ["eks-1", "gke-1"] {
        fleet.patch_member(member, &json!({"services": []})).await;
    }
    fleet.end("shop").await;
}

pub(super) async fn weighted_duplicated_and_packed(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("divide").await;
    let weights = "  replicas:\n    mode: Divided\n    division: Weighted\n    weights:\n    - {clusters: {names: [eks-1]}, weight: 2}\n    - {clusters: {providers: [gke, onprem]}, weight: 1}";
    kubectl.apply(&policy("divide", "weighted", weights)).await;
    kubectl.apply(&policy("divide", "duplicated", "  replicas: {mode: Duplicated}")).await;
    kubectl
        .apply(&policy("divide", "packed", "  replicas: {mode: Divided, division: Packed}"))
        .await;
    kubectl.apply(&policy("divide", "room", "  replicas: {mode: Divided, division: Room}")).await;
    kubectl
        .apply(&policy(
            "divide",
            "capped",
            "  replicas: {mode: Divided, division: Weighted, maxPerCluster: 2}",
        ))
        .await;
    kubectl.apply(&policy("divide", "few", "  replicas: {mode: Divided, minPerCluster: 3}\n  spread: [{topologyKey: cluster, min: 2}]")).await;
    kubectl.apply(&policy("divide", "even", "  replicas: {mode: Divided}\n  spread: [{topologyKey: provider, min: 2, max: 2, maxSkew: 1}]")).await;
    for (name, replicas) in [
        ("weighted", 8),
        ("duplicated", 2),
        ("packed", 5),
        ("room", 9),
        ("capped", 5),
        ("few", 5),
        ("even", 7),
        ("plain", 1),
    ] {
        kubectl.apply(&deployment("divide", name, replicas)).await;
    }
    fleet.placed("divide", "deployment-weighted", "eks-1=4 gke-1=2 prem-1=2").await;
    fleet.placed("divide", "deployment-duplicated", "eks-1=2 gke-1=2 prem-1=2").await;
    let placement = async |name: &str| {
        let args = ["placement", name, "-n", "divide"];
        fleet
            .shows(&format!("{name} ready"), &args, |it| {
                let summary = &it["status"]["summary"];
                seen(
                    summary["ready"] == summary["clusters"] && summary["ready"].as_u64() > Some(0),
                    it,
                )
            })
            .await
    };
    let packed = replicas(&placement("deployment-packed").await);
    assert_eq!(packed.values().collect::<Vec<_>>(), [&5], "in one cluster: {packed:?}");
    let room = replicas(&placement("deployment-room").await);
    assert_eq!(room.len(), 3, "equal clusters share: {room:?}");
    assert_eq!(room.values().sum::<u64>(), 9, "{room:?}");
    let capped = replicas(&placement("deployment-capped").await);
    assert!(capped.values().all(|n| *n <= 2) && capped.values().sum::<u64>() == 5, "{capped:?}");
    let even = replicas(&placement("deployment-even").await);
    let mut shares: Vec<u64> = even.values().copied().collect();
    shares.sort_unstable();
    assert_eq!(shares, [3, 4], "two providers, a replica apart: {even:?}");
    // 5 replicas cannot give two clusters three each, and the message has the numbers.
    let few = fleet
        .shows("the refusal of few", &["placement", "deployment-few", "-n", "divide"], |it| {
            seen(it["spec"]["outcome"]["status"] == "False", &it["spec"])
        })
        .await;
    let message = few["spec"]["outcome"]["message"].as_str().unwrap_or_default();
    assert!(message.contains('5') && (message.contains('6') || message.contains('3')), "{message}");
    assert_eq!(clusters(&few), "", "nothing was placed before");
    assert!(
        fleet.get(&["placement", "deployment-plain", "-n", "divide"]).await.is_none(),
        "no policy selects it"
    );
    // The roll-up of the two modes (RULES 4.6).
    let duplicated = fleet.get(&["deploy", "duplicated", "-n", "divide"]).await.unwrap();
    assert_eq!(
        duplicated["status"]["replicas"], 2,
        "the lowest over the copies: {}",
        duplicated["status"]
    );
    let weighted = fleet.get(&["deploy", "weighted", "-n", "divide"]).await.unwrap();
    assert_eq!(weighted["status"]["replicas"], 8, "{}", weighted["status"]);
    fleet.end("divide").await;
}

pub(super) async fn affinity_taints_and_expressions(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("affine").await;
    let cases = [
        ("by-name", "{names: [gke-1, prem-1]}", "gke-1 prem-1"),
        ("by-label", "{labelSelector: {matchLabels: {tier: prod}}}", "eks-1 gke-1"),
        ("by-provider", "{providers: [onprem]}", "prem-1"),
        ("by-region", "{regions: [\"eu*-west*\"]}", "eks-1 gke-1"),
        ("by-exclusion", "{exclude: [eks-1]}", "gke-1 prem-1"),
        ("by-set", "{sets: [edge]}", "prem-1"),
        (
            "by-expression",
            "{expressions: [\"cluster.provider != 'eks' && cluster.minor >= 34\"]}",
            "gke-1 prem-1",
        ),
    ];
    kubectl
        .apply("{apiVersion: archipel.dev/v1alpha1, kind: ClusterSet, metadata: {name: edge}, spec: {labelSelector: {matchLabels: {tier: edge}}, namespaces: [affine]}}")
        .await;
    for (name, selector, _) in cases {
        kubectl
            .apply(&policy(
                "affine",
                name,
                &format!("  affinities: [{{name: it, clusters: {selector}}}]"),
            ))
            .await;
    }
    // The first group that fits wins.
    kubectl
        .apply(&policy("affine", "fallback", "  affinities:\n  - {name: first, clusters: {providers: [aks]}}\n  - {name: second, clusters: {names: [prem-1]}}\n  - {name: third, clusters: {}}"))
        .await;
    kubectl.apply(&policy("affine", "shy", "  replicas: {mode: Duplicated}")).await;
    kubectl
        .apply(&policy(
            "affine",
            "bold",
            "  tolerations: [{key: dedicated, operator: Equal, value: batch}]",
        ))
        .await;
    fleet
        .patch_member(
            "gke-1",
            &json!({"taints": [{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}]}),
        )
        .await;
    for name in ["shy", "bold"] {
        kubectl.apply(&deployment("affine", name, 1)).await;
    }
    fleet.placed("affine", "deployment-shy", "eks-1 prem-1").await;
    fleet.placed("affine", "deployment-bold", "eks-1 gke-1 prem-1").await;
    let why = fleet.hub.archipel_ok(&["why", "deploy/shy", "-n", "affine", "--not", "gke-1"]).await;
    assert!(why.contains("dedicated"), "{why}");
    fleet.patch_member("gke-1", &json!({"taints": []})).await;
    for (name, ..) in cases {
        kubectl.apply(&deployment("affine", name, 1)).await;
    }
    kubectl.apply(&deployment("affine", "fallback", 1)).await;
    for (name, _, expected) in cases {
        fleet.placed("affine", &format!("deployment-{name}"), expected).await;
    }
    fleet.placed("affine", "deployment-fallback", "prem-1").await;
    let fallback = fleet.get(&["placement", "deployment-fallback", "-n", "affine"]).await.unwrap();
    assert_eq!(fallback["spec"]["affinity"], "second");
    kubectl.ok(["delete", "clusterset", "edge"]).await;
    fleet.end("affine").await;
}

pub(super) async fn residency_and_limits(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("lawful").await;
    kubectl.apply(&policy("lawful", "eu", "  residency: {jurisdictions: [EU]}")).await;
    kubectl.apply(&policy("lawful", "swiss", "  residency: {jurisdictions: [CH]}")).await;
    kubectl.apply(&policy("lawful", "wide", "  replicas: {mode: Duplicated}")).await;
    kubectl.apply(&policy("lawful", "many", "  replicas: {mode: Divided}")).await;
    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: ClusterPlacementPolicy
metadata: {name: lawful-limits}
spec:
  selectors:
  - {apiVersion: apps/v1, kind: Deployment, name: wide}
  - {apiVersion: apps/v1, kind: Deployment, name: many}
  namespaces: [lawful]
  limitsOnly: true
  limits: {clusters: {labelSelector: {matchLabels: {tier: prod}}}, jurisdictions: [EU, CH], maxReplicas: 6}
---
apiVersion: archipel.dev/v1alpha1
kind: ClusterPlacementPolicy
metadata: {name: lawful-second}
spec:
  selectors: [{apiVersion: apps/v1, kind: Deployment, name: wide}]
  namespaces: [lawful]
  limitsOnly: true
  limits: {maxClusters: 1}
"#,
        )
        .await;
    for (name, replicas) in [("eu", 1), ("swiss", 1), ("wide", 1), ("many", 4)] {
        kubectl.apply(&deployment("lawful", name, replicas)).await;
    }
    fleet.placed("lawful", "deployment-eu", "eks-1 gke-1").await;
    fleet.placed("lawful", "deployment-swiss", "prem-1").await;
    fleet.placed("lawful", "deployment-many", "eks-1=2 gke-1=2").await;
    let wide = fleet
        .shows("wide on one cluster", &["placement", "deployment-wide", "-n", "lawful"], |it| {
            seen(it["status"]["summary"]["ready"] == 1, it)
        })
        .await;
    assert!(
        ["eks-1", "gke-1"].contains(&clusters(&wide).as_str()),
        "both limits hold: {}",
        wide["spec"]
    );
    let why =
        fleet.hub.archipel_ok(&["why", "deploy/many", "-n", "lawful", "--not", "prem-1"]).await;
    assert!(why.contains("lawful-limits"), "why names the policy behind the limit: {why}");
    kubectl.ok(["scale", "deploy/many", "-n", "lawful", "--replicas=7"]).await;
    let held = fleet
        .shows(
            "the refusal of 7 replicas",
            &["placement", "deployment-many", "-n", "lawful"],
            |it| seen(it["spec"]["outcome"]["status"] == "False", &it["spec"]),
        )
        .await;
    assert_eq!(replicas(&held).values().sum::<u64>(), 4, "what runs stays: {}", held["spec"]);
    kubectl.ok(["delete", "clusterplacementpolicy", "lawful-limits", "lawful-second"]).await;
    fleet.end("lawful").await;
}

pub(super) async fn scaling_adds_and_removes_and_moves_nothing_else(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("scaling").await;
    kubectl
        .apply(&policy("scaling", "web", "  replicas: {mode: Divided, division: Weighted}"))
        .await;
    kubectl.apply(&deployment("scaling", "web", 6)).await;
    fleet.placed("scaling", "deployment-web", "eks-1=2 gke-1=2 prem-1=2").await;
    let before = pods(fleet, "scaling").await;
    assert_eq!(before.len(), 6);
    kubectl.ok(["scale", "deploy/web", "-n", "scaling", "--replicas=9"]).await;
    fleet.placed("scaling", "deployment-web", "eks-1=3 gke-1=3 prem-1=3").await;
    let grown = until_pods(fleet, "scaling", 9).await;
    assert!(
        before.iter().all(|it| grown.contains(it)),
        "scaling up only adds: {before:?} {grown:?}"
    );
    kubectl.ok(["scale", "deploy/web", "-n", "scaling", "--replicas=8"]).await;
    let args = ["placement", "deployment-web", "-n", "scaling"];
    fleet
        .shows("8 replicas", &args, |it| {
            seen(
                replicas(it).values().sum::<u64>() == 8
                    && it["status"]["summary"]["readyReplicas"] == 8,
                it,
            )
        })
        .await;
    let shrunk = until_pods(fleet, "scaling", 8).await;
    assert!(
        shrunk.iter().all(|it| grown.contains(it)),
        "scaling down only removes: {grown:?} {shrunk:?}"
    );
    // To none and back: the clusters stay (RULES 3.3).
    kubectl.ok(["scale", "deploy/web", "-n", "scaling", "--replicas=0"]).await;
    fleet.placed("scaling", "deployment-web", "eks-1=0 gke-1=0 prem-1=0").await;
    fleet.end("scaling").await;
}

async fn pods(fleet: &Fleet, namespace: &str) -> Vec<String> {
    let mut all = Vec::new();
    for member in &fleet.members {
        all.extend(
            list(&fleet.on(member.name()), &["pods", "-n", namespace])
                .await
                .iter()
                .filter(|it| it["metadata"]["deletionTimestamp"].is_null())
                .map(|it| {
                    format!(
                        "{}/{}",
                        member.name(),
                        it["metadata"]["name"].as_str().unwrap_or_default()
                    )
                }),
        );
    }
    all
}

async fn until_pods(fleet: &Fleet, namespace: &str, n: usize) -> Vec<String> {
    wait::until(&format!("{n} pods"), SOON, async || {
        let pods = pods(fleet, namespace).await;
        if pods.len() == n { Ok(pods) } else { Err(pods) }
    })
    .await
}

pub(super) async fn a_cluster_wide_policy_carries_exactly_what_it_selects(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("exact").await;
    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: ClusterPlacementPolicy
metadata: {name: everything}
spec:
  selectors:
  - {apiVersion: apps/v1, kind: Deployment}
  - {apiVersion: v1, kind: Service}
  - {apiVersion: v1, kind: ServiceAccount}
  replicas: {mode: Duplicated}
"#,
        )
        .await;
    kubectl.apply(&deployment("exact", "web", 1)).await;
    kubectl
        .apply(
            r#"
{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: exact}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: exact}, data: {a: b}}
---
{apiVersion: v1, kind: Secret, metadata: {name: password, namespace: exact}, stringData: {a: b}}
---
{apiVersion: v1, kind: Secret, metadata: {name: robot-token, namespace: exact, annotations: {kubernetes.io/service-account.name: robot}}, type: kubernetes.io/service-account-token}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: exact}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: mine, namespace: kube-public}, spec: {selector: {app: web}, ports: [{port: 80}]}}
"#,
        )
        .await;
    for placement in ["deployment-web", "service-web", "serviceaccount-robot"] {
        fleet.placed("exact", placement, "eks-1 gke-1 prem-1").await;
    }
    for placement in list(&kubectl, &["placements.archipel.dev", "-A"]).await {
        let namespace = placement["metadata"]["namespace"].as_str().unwrap();
        let template = &placement["spec"]["template"];
        let never = namespace == "archipel-system"
            || namespace.starts_with("kube-")
            || (template["kind"] == "ServiceAccount" && template["name"] == "default")
            || (namespace == "default"
                && template["kind"] == "Service"
                && template["name"] == "kubernetes")
            || template["name"] == "kube-root-ca.crt";
        assert!(!never, "{namespace} {template}");
    }
    for member in &fleet.members {
        let ours = ["deploy,svc,sa,cm,secret", "-A", "-l", "archipel.dev/managed"];
        // Templates of other stories that nobody claims any more are carried too.
        let hubs = [
            "exact",
            "default",
            "archipel-system",
            "kube-system",
            "kube-public",
            "kube-node-lease",
        ];
        let mut found: Vec<String> = list(&fleet.on(member.name()), &ours)
            .await
            .iter()
            .filter(|it| hubs.contains(&it["metadata"]["namespace"].as_str().unwrap_or_default()))
            .map(|it| {
                format!(
                    "{} {}/{}",
                    it["kind"].as_str().unwrap(),
                    it["metadata"]["namespace"].as_str().unwrap(),
                    it["metadata"]["name"].as_str().unwrap()
                )
            })
            .collect();
        found.sort();
        assert_eq!(
            found,
            ["Deployment exact/web", "Service exact/web", "ServiceAccount exact/robot"],
            "in {}",
            member.name()
        );
    }
    kubectl.ok(["delete", "service/mine", "-n", "kube-public"]).await;
    kubectl.ok(["delete", "clusterplacementpolicy", "everything"]).await;
    fleet.end("exact").await;
}
