//! Bad input: a clear message where the user looks, which names the field or the cluster; nothing is lost or half done.

use std::net::TcpListener;

use federation_tests::wait;
use serde_json::{Value, json};

use crate::fleet::{Fleet, SOON, deployment, list, policy};

pub(super) async fn policies_name_the_field(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("bad").await;
    // What stands below `spec` beside the selectors, and the field that the answer names.
    let cases = [
        ("  affinitees: []", "affinitees"),
        ("  affinities: [{clusters: {provider: [eks]}}]", "provider"),
        ("  replicas: {mode: Sometimes}", "spec.replicas.mode"),
        ("  priority: high", "spec.priority"),
        ("  replicas: {mode: Duplicated, division: Room}", "spec.replicas.division"),
        (
            "  replicas: {mode: Divided, division: Packed}\n  spread: [{topologyKey: zone, maxSkew: 1}]",
            "spec.spread[0].maxSkew",
        ),
        ("  spread: [{topologyKey: cluster, min: 3, max: 2}]", "spec.spread[0].min"),
        (
            "  replicas: {mode: Divided, minPerCluster: 5, maxPerCluster: 4}",
            "spec.replicas.minPerCluster",
        ),
        (
            "  replicas: {mode: Divided, division: Cheapest, weights: [{clusters: {}, weight: 2}]}",
            "spec.replicas.weights",
        ),
        (
            "  affinities: [{clusters: {names: [eks-1], exclude: [eks-1]}}]",
            "spec.affinities[0].clusters.exclude",
        ),
        (
            "  affinities: [{clusters: {expressions: [\"cluster.minor >=\"]}}]",
            "spec.affinities[0].clusters.expressions[0]",
        ),
        (
            "  affinities: [{clusters: {expressions: [\"node.minor > 3\"]}}]",
            "spec.affinities[0].clusters.expressions[0]",
        ),
        ("  budget: {maxMonthlyUsd: plenty}", "spec.budget.maxMonthlyUsd"),
        ("  failover: {after: soon}", "spec.failover.after"),
        ("  residency: {jurisdictions: []}", "spec.residency.jurisdictions"),
        ("  tolerations: [{operator: Equal, value: x}]", "spec.tolerations[0].key"),
    ];
    for (rest, field) in cases {
        let refused = kubectl.run_with(&policy("bad", "web", rest), ["apply", "-f", "-"]).await;
        assert_eq!(refused.code, Some(1), "{rest}: {refused:?}");
        assert!(refused.stderr.contains(field), "{rest}: {field} is not named: {}", refused.stderr);
    }
    for (selector, field) in [
        ("{apiVersion: v1, kind: Secret}", "spec.selectors[0]"),
        (
            "{apiVersion: archipel.dev/v1alpha1, kind: MemberCluster}",
            "spec.selectors[0].apiVersion",
        ),
        ("{apiVersion: v1}", "spec.selectors[0].kind"),
    ] {
        let text = policy("bad", "web", "")
            .replace("{apiVersion: apps/v1, kind: Deployment, name: web}", selector);
        let refused = kubectl.run_with(&text, ["apply", "-f", "-"]).await;
        assert_eq!(refused.code, Some(1), "{selector}: {refused:?}");
        assert!(
            refused.stderr.contains(field),
            "{selector}: {field} is not named: {}",
            refused.stderr
        );
    }
    let empty = policy("bad", "web", "")
        .replace("[{apiVersion: apps/v1, kind: Deployment, name: web}]", "[]");
    let refused = kubectl.run_with(&empty, ["apply", "-f", "-"]).await;
    assert!(!refused.success() && refused.stderr.contains("spec.selectors"), "{refused:?}");
    let left = list(&kubectl, &["placementpolicies", "-n", "bad"]).await;
    assert_eq!(left, [] as [Value; 0], "nothing of all that was stored");

    // An override that would make another object of it, a budget, a member of no provider.
    for (text, field) in [
        (
            "{apiVersion: archipel.dev/v1alpha1, kind: OverridePolicy, metadata: {name: o, namespace: bad}, spec: {selectors: [{apiVersion: v1, kind: ConfigMap}], rules: [{jsonPatch: [{op: replace, path: /metadata/name, value: x}]}]}}",
            "spec.rules[0].jsonPatch[0].path",
        ),
        (
            "{apiVersion: archipel.dev/v1alpha1, kind: ChangeBudget, metadata: {name: b}, spec: {window: never}}",
            "spec.window",
        ),
        (
            "{apiVersion: archipel.dev/v1alpha1, kind: MemberCluster, metadata: {name: m}, spec: {provider: moon, connection: {kubeconfig: {secretRef: {namespace: a, name: b}}}}}",
            "spec.provider",
        ),
        (
            "{apiVersion: archipel.dev/v1alpha1, kind: Placement, metadata: {name: p, namespace: bad}, spec: {template: {apiVersion: v1, kind: ConfigMap, name: a, uid: u, generation: 1}}}",
            "written by the hub only",
        ),
        (
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: bad}, spec: {replicas: two, selector: {}, template: {}}}",
            "replicas",
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: Not_A_Name, namespace: bad}}",
            "metadata.name",
        ),
    ] {
        let refused = kubectl.run_with(text, ["create", "-f", "-"]).await;
        assert_eq!(refused.code, Some(1), "{text}: {refused:?}");
        assert!(refused.stderr.contains(field), "{text}: {field} is not named: {}", refused.stderr);
    }
    // A question that cannot be meant.
    for (spec, field) in [
        ("{kind: Deployment, name: web}", "spec.apiVersion: Required value"),
        ("{apiVersion: apps/v1, kind: Deployment, namespace: bad}", "spec.name: Required value"),
        ("{apiVersion: apps/v1, kind: Deployment, name: web}", "spec.namespace: Required value"),
        (
            "{apiVersion: apps/v1, kind: Deploymnet, name: web, namespace: bad}",
            "spec.kind: Invalid value",
        ),
        (
            "{apiVersion: apps/v1, kind: Deployment, name: a/b, namespace: bad}",
            "spec.name: Invalid value",
        ),
        ("{apiVersion: apps/v1, kind: Deployment, name: web, nmespace: bad}", "nmespace"),
        ("{apiVersion: apps/v1, kind: Deployment, name: [web], namespace: bad}", "spec.name: "),
        ("{apiVersion: apps/v1, kind: Deployment, name: nobody, namespace: bad}", "not found"),
    ] {
        let text = format!(
            "{{apiVersion: review.archipel.dev/v1alpha1, kind: Explanation, spec: {spec}}}"
        );
        let refused = kubectl.run_with(&text, ["create", "-f", "-"]).await;
        assert_eq!(refused.code, Some(1), "{spec}: {refused:?}");
        assert!(refused.stderr.contains(field), "{spec}: {field}: {}", refused.stderr);
    }
    // A good one next to them is taken.
    kubectl.apply(&policy("bad", "web", "  replicas: {mode: Duplicated}")).await;
    fleet.end("bad").await;
}

pub(super) async fn what_nobody_claims_is_answered_with_a_warning(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("lonely").await;
    kubectl.apply(&policy("lonely", "web", "  replicas: {mode: Duplicated}")).await;
    let claimed = kubectl.run_with(&deployment("lonely", "web", 1), ["apply", "-f", "-"]).await;
    assert!(claimed.success() && !claimed.stderr.contains("claimed by no"), "{claimed:?}");
    let unclaimed = kubectl.run_with(&deployment("lonely", "api", 1), ["apply", "-f", "-"]).await;
    assert!(unclaimed.success(), "{unclaimed:?}");
    assert!(
        unclaimed.stderr.contains("Warning")
            && unclaimed.stderr.contains("Deployment lonely/api is claimed by no placement policy"),
        "{unclaimed:?}"
    );
    // A policy that reaches every cluster says so, with the number.
    let everywhere = kubectl.run_with(&policy("lonely", "all", ""), ["apply", "-f", "-"]).await;
    assert!(
        everywhere.success() && everywhere.stderr.contains("every cluster (3 now)"),
        "{everywhere:?}"
    );
    // One that matches nothing is fine.
    fleet
        .shows("a policy that matches nothing", &["placementpolicy", "all", "-n", "lonely"], |it| {
            let ready = it["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|it| it["type"] == "Ready" && it["status"] == "True");
            crate::fleet::seen(ready && it["status"]["matched"] == 0, &it["status"])
        })
        .await;
    // A webhook that a service in some cluster serves is never called by the hub, which says so (RULES 2.5).
    let hook = "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: hook}, webhooks: [{name: a.hook.example, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {service: {namespace: default, name: hook}}, rules: [{apiGroups: [\"\"], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}]}]}";
    let warned = kubectl.run_with(hook, ["apply", "-f", "-"]).await;
    assert!(warned.success() && warned.stderr.contains("Warning"), "{warned:?}");
    kubectl.ok(["create", "configmap", "untouched", "-n", "lonely"]).await;
    kubectl.ok(["delete", "validatingwebhookconfiguration", "hook"]).await;
    assert!(fleet.get(&["placement", "deployment-api", "-n", "lonely"]).await.is_none());
    fleet.end("lonely").await;
}

pub(super) async fn a_kubeconfig_that_does_not_answer(fleet: &mut Fleet) {
    // Nobody listens; somebody listens and never answers.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ca = fleet.member("eks-1").kubeconfig();
    let good: Value = serde_json::from_str(&std::fs::read_to_string(ca).unwrap()).unwrap();
    for (name, address) in [("closed", closed), ("silent", silent.local_addr().unwrap())] {
        let mut config = good.clone();
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://{address}"));
        let file = fleet.hub.dir().join(format!("{name}.kubeconfig"));
        std::fs::write(&file, config.to_string()).unwrap();
        let joined = join(fleet, name, &file.display().to_string()).await;
        assert_eq!(joined.code, Some(1), "{joined:?}");
        assert!(
            joined.stderr.contains(&address.to_string()),
            "the server is named: {}",
            joined.stderr
        );
        nothing_left(fleet, name).await;
    }
    let missing = join(fleet, "missing", "/nonexistent/kubeconfig").await;
    assert!(
        missing.code == Some(1) && missing.stderr.contains("/nonexistent/kubeconfig"),
        "{missing:?}"
    );
    let file = fleet.hub.dir().join("broken.kubeconfig");
    std::fs::write(&file, "clusters: [\n").unwrap();
    let broken = join(fleet, "broken", &file.display().to_string()).await;
    assert!(broken.code == Some(1) && broken.stderr.contains("broken.kubeconfig"), "{broken:?}");
    // Credentials that the cluster does not know.
    let mut config = good.clone();
    config["users"][0]["user"] = json!({"token": "nonsense"});
    let file = fleet.hub.dir().join("stranger.kubeconfig");
    std::fs::write(&file, config.to_string()).unwrap();
    let stranger = join(fleet, "stranger", &file.display().to_string()).await;
    assert!(stranger.code == Some(1) && stranger.stderr.contains("Unauthorized"), "{stranger:?}");
    nothing_left(fleet, "stranger").await;
    // The same cluster twice: refused, and the first is named.
    let twice =
        join(fleet, "twin", &fleet.member("eks-1").kubeconfig().display().to_string()).await;
    assert!(twice.code == Some(1) && twice.stderr.contains("eks-1"), "{twice:?}");
    nothing_left(fleet, "twin").await;
    let again =
        join(fleet, "eks-1", &fleet.member("gke-1").kubeconfig().display().to_string()).await;
    assert!(again.code == Some(1) && again.stderr.contains("has joined already"), "{again:?}");
    // A MemberCluster made by hand whose server is not there: a condition says so, and nothing else suffers.
    let kubectl = fleet.kubectl();
    let mut config = good;
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://{closed}"));
    kubectl
        .apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "by-hand", "namespace": "archipel-system"}, "stringData": {"kubeconfig": config.to_string()}}).to_string())
        .await;
    kubectl
        .apply("{apiVersion: archipel.dev/v1alpha1, kind: MemberCluster, metadata: {name: by-hand}, spec: {provider: onprem, accepted: true, connection: {kubeconfig: {secretRef: {namespace: archipel-system, name: by-hand}}}}}")
        .await;
    wait::until("the condition of by-hand", SOON, async || {
        let member = fleet.get(&["membercluster", "by-hand"]).await.unwrap();
        let told = member["status"]["conditions"].as_array().into_iter().flatten().any(|it| {
            it["type"] == "Ready"
                && it["status"] == "False"
                && it["reason"] == "Unreachable"
                && it["message"].as_str().is_some_and(|it| it.contains(&closed.to_string()))
        });
        crate::fleet::seen(told, &member["status"])
    })
    .await;
    let listed = fleet.hub.archipel_ok(&["cluster", "list"]).await;
    assert!(listed.contains("by-hand") && listed.contains("Unreachable"), "{listed}");
    fleet.hub.archipel_ok(&["cluster", "leave", "by-hand", "--forget"]).await;
    kubectl.ok(["delete", "secret", "by-hand", "-n", "archipel-system"]).await;
}

async fn join(fleet: &Fleet, name: &str, kubeconfig: &str) -> federation_tests::CommandOutput {
    fleet
        .hub
        .archipel(&[
            "cluster",
            "join",
            name,
            "--kubeconfig",
            kubeconfig,
            "--provider",
            "onprem",
            "--region",
            "here",
        ])
        .await
}

async fn nothing_left(fleet: &Fleet, name: &str) {
    assert!(fleet.get(&["membercluster", name]).await.is_none(), "{name}");
    let secret = format!("member-{name}");
    assert!(fleet.get(&["secret", &secret, "-n", "archipel-system"]).await.is_none(), "{name}");
    let listed = fleet.hub.archipel_ok(&["cluster", "list"]).await;
    assert!(!listed.contains(name), "{listed}");
}
