//! Changes that go in waves (docs/rollouts.md), on members that really take and refuse them.

use federation_tests::{CommandOutput, wait};
use serde_json::{Value, json};

use crate::fleet::{Fleet, SOON, copy, deployment, list, policy, seen};

const STRATEGY: &str = r#"
apiVersion: archipel.dev/v1alpha1
kind: RolloutStrategy
metadata: {name: three, namespace: waves}
spec:
  waves:
  - name: canary
    clusters: {providers: [gke]}
    soak: 2s
    gate: ["wave.clusters.all(it, it.scores['web-errors'] <= 5)"]
  - {name: eu, clusters: {regions: ["eu-*"]}, approval: Required}
  progressDeadline: 2m
  onFailure: RollBack
---
"#;

/// What somebody who measures says of the first wave.
const SCORE: &str = r#"
apiVersion: archipel.dev/v1alpha1
kind: ClusterScore
metadata: {name: waves-errors}
spec: {cluster: gke-1, scores: [{name: web-errors, value: 3}]}
"#;

/// Refuses an image in one namespace of a member.
const GUARD: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-bad-image}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments], operations: [CREATE, UPDATE]}]
  matchConditions: [{name: here, expression: "request.namespace == 'waves'"}]
  validations: [{expression: "!object.spec.template.spec.containers[0].image.endsWith(':bad')", message: "no bad images in this cluster"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-bad-image}
spec: {policyName: no-bad-image, validationActions: [Deny]}
"#;

const WEB: [&str; 4] = ["deploy", "web", "-n", "waves"];
const ROLLOUT: [&str; 4] = ["rollouts.archipel.dev", "deployment-web", "-n", "waves"];

fn web(image: &str) -> String {
    deployment("waves", "web", 1).replace("web:1.0", &format!("web:{image}"))
}

/// Waits until each member runs this image: `1.0 2.0 1.0`, in the order of the members' names.
async fn run(fleet: &Fleet, images: &str) {
    for (member, image) in ["eks-1", "gke-1", "prem-1"].into_iter().zip(images.split(' ')) {
        let what = format!("image {image}");
        fleet.member_shows(member, &what, &WEB, |it| runs(it, image)).await;
    }
}

fn runs(deployment: &Value, image: &str) -> Result<(), String> {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let found = container["image"].as_str().unwrap_or_default();
    seen(found == format!("registry.example/web:{image}"), container)
}

async fn stands(fleet: &Fleet, state: &str) -> Value {
    let what = format!("a rollout that is {state}");
    fleet.shows(&what, &ROLLOUT, |it| seen(it["status"]["state"] == state, &it["status"])).await
}

async fn archipel(fleet: &Fleet, args: &[&str]) -> CommandOutput {
    let mut all = vec!["rollout"];
    all.extend_from_slice(args);
    all.extend_from_slice(&["deploy/web", "-n", "waves"]);
    fleet.hub.archipel(&all).await
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == kind)
}

pub(super) async fn an_image_goes_in_waves_waits_for_approval_and_is_taken_back(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("waves").await;
    let slip = STRATEGY.replace("soak: 2s", "soak: soon");
    let refused = kubectl.run_with(&slip, ["apply", "-f", "-"]).await;
    assert!(refused.stderr.contains("spec.waves[0].soak"), "{refused:?}");
    kubectl.apply(STRATEGY).await;
    let rest = "  replicas: {mode: Duplicated}\n  rollout: {strategyName: three}";
    kubectl.apply(&policy("waves", "web", rest)).await;
    kubectl.apply(&web("1.0")).await;
    fleet.placed("waves", "deployment-web", "eks-1 gke-1 prem-1").await;
    assert_eq!(fleet.get(&ROLLOUT).await, None, "a first placement is no rollout");

    // The plan says what the gate then does.
    let file = std::env::temp_dir().join(format!("archipel-waves-{}.yaml", std::process::id()));
    std::fs::write(&file, web("2.0")).unwrap();
    let plan = fleet.hub.archipel_ok(&["plan", "-f", &file.display().to_string()]).await;
    std::fs::remove_file(&file).unwrap();
    let waves =
        "released in 3 waves by RolloutStrategy waves/three: canary, eu (needs approval), rest";
    assert!(plan.contains(waves) && plan.contains("wave canary"), "{plan}");
    kubectl.apply(&web("2.0")).await;
    stands(fleet, "Gated").await;
    kubectl.apply(SCORE).await;
    let waits = stands(fleet, "WaitingForApproval").await;
    assert_eq!((&waits["status"]["wave"], &waits["status"]["step"]), (&json!("eu"), &json!("2/3")));
    run(fleet, "1.0 2.0 1.0").await;
    let template = fleet
        .shows("a template whose wave waits", &WEB, |it| {
            let progressing = condition(it, "Progressing").cloned().unwrap_or_default();
            seen(progressing["reason"] == "RolloutPaused", &it["status"])
        })
        .await;
    assert_ne!(template["status"]["observedGeneration"], template["metadata"]["generation"]);
    let status = archipel(fleet, &["status"]).await;
    assert!(status.stdout.contains("✓ wave canary   1/1 ready"), "{status:?}");
    assert!(status.stdout.contains("archipel rollout approve deploy/web -n waves"), "{status:?}");
    // More replicas wait for nobody.
    kubectl.ok(["scale", "deploy/web", "-n", "waves", "--replicas=2"]).await;
    let scaled = |it: &Value| seen(it["spec"]["replicas"] == 2, &it["spec"]["replicas"]);
    fleet.member_shows("prem-1", "two replicas", &WEB, scaled).await;
    run(fleet, "1.0 2.0 1.0").await;

    // A hub that starts anew goes on where it was.
    fleet.hub.restart().await.unwrap();
    let wrong = archipel(fleet, &["approve", "--wave", "moon"]).await;
    assert!(!wrong.success() && wrong.stderr.contains("canary, eu, rest"), "{wrong:?}");
    let approved = archipel(fleet, &["approve"]).await;
    assert!(approved.success() && approved.stdout.contains("wave eu is approved"), "{approved:?}");
    let watched = archipel(fleet, &["status", "-w"]).await;
    assert!(watched.success(), "{watched:?}");
    run(fleet, "2.0 2.0 2.0").await;
    let ready = ["wait", "--for=condition=Ready", "rollouts.archipel.dev/deployment-web"];
    kubectl.ok(ready.into_iter().chain(["-n", "waves", "--timeout=60s"])).await;
    kubectl.ok(["rollout", "status", "deploy/web", "-n", "waves", "--timeout=60s"]).await;

    // What the first wave refuses reaches no other, and is taken back.
    let on = fleet.on("gke-1");
    on.apply(GUARD).await;
    wait::until("the member refuses bad images", SOON, async || {
        let tried = on.run_with(&web("bad"), ["apply", "--dry-run=server", "-f", "-"]).await;
        if tried.stderr.contains("no bad images") { Ok(()) } else { Err(tried) }
    })
    .await;
    let bad = web("bad").replace("replicas: 1", "replicas: 2");
    kubectl.apply(&bad).await;
    let aborted = stands(fleet, "Aborted").await;
    let why = &aborted["status"]["failureMessage"];
    assert!(
        why.as_str().is_some_and(|it| it.contains("gke-1") && it.contains("no bad images")),
        "{why}"
    );
    run(fleet, "2.0 2.0 2.0").await;
    let watched = archipel(fleet, &["status", "-w"]).await;
    assert!(!watched.success() && watched.stderr.contains("no bad images"), "{watched:?}");
    fleet
        .shows("a template that is taken back", &WEB, |it| {
            let stalled = condition(it, "Stalled").cloned().unwrap_or_default();
            seen(stalled["reason"] == "Aborted", &it["status"])
        })
        .await;
    let placement = ["placement", "deployment-web", "-n", "waves"];
    fleet
        .shows("copies that are well again", &placement, |it| {
            let ready = ["eks-1", "gke-1", "prem-1"]
                .iter()
                .all(|name| copy(it, name).is_some_and(|it| it["state"] == "Ready"));
            seen(ready, &it["status"])
        })
        .await;
    wait::until("the events of both", SOON, async || {
        let events = list(&kubectl, &["events", "-n", "waves"]).await;
        let said = |reason: &str| events.iter().any(|it| it["reason"] == reason);
        let all = [
            "RolloutStarted",
            "WaveStarted",
            "RolloutPaused",
            "RolloutCompleted",
            "RolloutAborted",
        ];
        if all.into_iter().all(said) { Ok(()) } else { Err(events) }
    })
    .await;
    on.ok([
        "delete",
        "validatingadmissionpolicybinding/no-bad-image",
        "validatingadmissionpolicy/no-bad-image",
    ])
    .await;

    // A newer change begins anew; somebody thinks better of it.
    kubectl.apply(&web("3.0").replace("replicas: 1", "replicas: 2")).await;
    stands(fleet, "WaitingForApproval").await;
    run(fleet, "2.0 3.0 2.0").await;
    let taken = archipel(fleet, &["abort"]).await;
    assert!(taken.success(), "{taken:?}");
    run(fleet, "2.0 2.0 2.0").await;
    // Without a strategy nothing new is released.
    kubectl.ok(["delete", "rolloutstrategy", "three", "-n", "waves"]).await;
    kubectl.apply(&web("4.0").replace("replicas: 1", "replicas: 2")).await;
    fleet
        .shows("a strategy that is missing", &placement, |it| {
            seen(it["spec"]["outcome"]["reason"] == "NoRolloutStrategy", &it["spec"]["outcome"])
        })
        .await;
    run(fleet, "2.0 2.0 2.0").await;
    kubectl.ok(["delete", "clusterscore", "waves-errors"]).await;
    fleet.end("waves").await;
}
