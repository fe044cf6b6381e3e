//! The stock kubectl against the hub.

use serde_json::Value;

use crate::fleet::{Fleet, deployment, policy, seen};

pub(super) async fn create_apply_edit_patch_delete(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    kubectl.ok(["create", "namespace", "verbs"]).await;
    kubectl.apply(&policy("verbs", "web", "  replicas: {mode: Duplicated}")).await;

    let said = kubectl.apply(&deployment("verbs", "web", 2)).await;
    assert!(said.contains("deployment.apps/web created"), "{said}");
    let said = kubectl.apply(&deployment("verbs", "web", 2)).await;
    assert!(said.contains("unchanged"), "a second apply changes nothing: {said}");
    let said = kubectl.apply(&deployment("verbs", "web", 3)).await;
    assert!(said.contains("configured"), "{said}");

    let diff = kubectl.run_with(&deployment("verbs", "web", 5), ["diff", "-f", "-"]).await;
    assert_eq!(diff.code, Some(1), "{diff:?}");
    assert!(diff.stdout.contains("replicas: 5"), "{diff:?}");

    let server_side = ["apply", "--server-side", "--field-manager=team", "-f", "-"];
    let conflict = kubectl.run_with(&deployment("verbs", "web", 4), server_side).await;
    assert_ne!(conflict.code, Some(0));
    assert!(
        conflict.stderr.contains("conflict with \"kubectl-client-side-apply\""),
        "{conflict:?}"
    );
    let forced = ["apply", "--server-side", "--field-manager=team", "--force-conflicts", "-f", "-"];
    assert!(kubectl.run_with(&deployment("verbs", "web", 4), forced).await.success());

    kubectl
        .ok([
            "patch",
            "deploy/web",
            "-n",
            "verbs",
            "--type=merge",
            "-p",
            r#"{"metadata":{"annotations":{"a":"1"}}}"#,
        ])
        .await;
    kubectl
        .ok([
            "patch",
            "deploy/web",
            "-n",
            "verbs",
            "--type=json",
            "-p",
            r#"[{"op":"add","path":"/metadata/annotations/b","value":"2"}]"#,
        ])
        .await;
    let image = r#"{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"registry.example/web:2.0"}]}}}}"#;
    kubectl.ok(["patch", "deploy/web", "-n", "verbs", "-p", image]).await;
    kubectl.ok(["set", "env", "deploy/web", "-n", "verbs", "MODE=on"]).await;
    kubectl.ok(["label", "deploy/web", "-n", "verbs", "team=blue"]).await;
    kubectl.ok(["scale", "deploy/web", "-n", "verbs", "--replicas=2"]).await;
    let web = fleet.get(&["deploy", "web", "-n", "verbs"]).await.unwrap();
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example/web:2.0");
    assert_eq!(
        container["resources"]["requests"]["cpu"], "250m",
        "a strategic merge keeps the rest"
    );
    assert_eq!(container["env"][0]["value"], "on");
    assert_eq!(web["metadata"]["annotations"]["b"], "2");
    assert_eq!(web["spec"]["replicas"], 2);

    let editor = kubectl.clone().env("KUBE_EDITOR", "sed -i s/web:2.0/web:3.0/");
    let said = editor.ok(["edit", "deploy/web", "-n", "verbs"]).await;
    assert!(said.contains("edited"), "{said}");

    fleet.placed("verbs", "deployment-web", "eks-1=2 gke-1=2 prem-1=2").await;
    let copy = ["deploy", "web", "-n", "verbs"];
    fleet
        .member_shows("gke-1", "the edited image", &copy, |it| {
            let image = &it["spec"]["template"]["spec"]["containers"][0]["image"];
            seen(image == "registry.example/web:3.0", image)
        })
        .await;

    let said = kubectl.ok(["delete", "deploy/web", "-n", "verbs"]).await;
    assert!(said.contains("deleted"), "{said}");
    fleet.leaves("gke-1", &["deploy", "web", "-n", "verbs"]).await;
    assert!(fleet.get(&["deploy", "web", "-n", "verbs"]).await.is_none());
}

pub(super) async fn explain_and_api_resources(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    let explained = kubectl.ok(["explain", "deployment.spec.template.spec.containers"]).await;
    assert!(explained.contains("image"), "{explained}");
    let explained = kubectl.ok(["explain", "placementpolicy.spec.replicas"]).await;
    assert!(explained.contains("division"), "{explained}");
    let resources = kubectl.ok(["api-resources"]).await;
    for expected in [
        "deployments",
        "configmaps",
        "placementpolicies",
        "memberclusters",
        "customresourcedefinitions",
    ] {
        assert!(resources.contains(expected), "{expected} is not in\n{resources}");
    }
    let mine = kubectl.ok(["api-resources", "--categories=archipel", "-o", "name"]).await;
    assert!(mine.contains("placements.archipel.dev"), "{mine}");
    let may = kubectl.ok(["auth", "can-i", "create", "deployments", "-n", "default"]).await;
    assert_eq!(may.trim(), "yes");
}

pub(super) async fn watch_and_wait(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    kubectl.ok(["create", "namespace", "waits"]).await;
    kubectl.apply(&policy("waits", "web", "  replicas: {mode: Divided, division: Weighted}")).await;
    let watching = kubectl.clone();
    let watch = tokio::spawn(async move {
        // Ends by itself once the condition is there.
        watching.run(["wait", "--for=create", "deploy/web", "-n", "waits", "--timeout=60s"]).await
    });
    kubectl.apply(&deployment("waits", "web", 6)).await;
    let created = watch.await.unwrap();
    assert!(created.success(), "{created:?}");
    kubectl
        .ok(["wait", "--for=condition=Available", "deploy/web", "-n", "waits", "--timeout=60s"])
        .await;
    kubectl.ok(["rollout", "status", "deploy/web", "-n", "waits", "--timeout=60s"]).await;
    let web = fleet.get(&["deploy", "web", "-n", "waits"]).await.unwrap();
    assert_eq!(web["status"]["readyReplicas"], 6, "divided: the copies' replicas add up");
    let table = kubectl.ok(["get", "deploy", "-n", "waits"]).await;
    assert!(table.contains("6/6"), "{table}");
    let watched = kubectl.run(["get", "deploy", "-n", "waits", "-w", "--request-timeout=3s"]).await;
    assert!(watched.stdout.contains("web"), "{watched:?}");
    kubectl.ok(["delete", "deploy/web", "-n", "waits", "--wait=true", "--timeout=60s"]).await;
}

pub(super) async fn service_and_job_made_by_create_show_no_drift(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    kubectl.ok(["create", "namespace", "drifting"]).await;
    kubectl
        .apply(
            r#"
apiVersion: archipel.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: all, namespace: drifting}
spec:
  selectors:
  - {apiVersion: v1, kind: Service}
  - {apiVersion: batch/v1, kind: Job}
"#,
        )
        .await;
    kubectl.ok(["create", "service", "clusterip", "web", "--tcp=80:8080", "-n", "drifting"]).await;
    kubectl
        .ok(["create", "job", "once", "--image=registry.example/once:1", "-n", "drifting"])
        .await;
    fleet.placed("drifting", "service-web", "eks-1 gke-1 prem-1").await;
    kubectl
        .ok(["wait", "--for=condition=Complete", "job/once", "-n", "drifting", "--timeout=60s"])
        .await;
    let hub_service = fleet.get(&["service", "web", "-n", "drifting"]).await.unwrap();
    assert_eq!(hub_service["spec"]["clusterIP"], Value::Null, "the hub allocates nothing");
    let generation = |object: &Value| object["metadata"]["generation"].clone();
    for member in ["eks-1", "gke-1", "prem-1"] {
        let service = fleet.arrives(member, &["service", "web", "-n", "drifting"]).await;
        assert!(service["spec"]["clusterIP"].is_string());
        assert!(generation(&service).is_null(), "a Service has none: {}", generation(&service));
        let managers = service["metadata"]["managedFields"].as_array().map_or(0, Vec::len);
        assert!(managers <= 2, "written once: {}", service["metadata"]["managedFields"]);
    }
    let placement = fleet.get(&["placement", "job-once", "-n", "drifting"]).await.unwrap();
    for copy in placement["status"]["clusters"].as_array().unwrap() {
        assert_eq!(copy["state"], "Ready", "{copy}");
        assert_ne!(copy["reason"], "Drift", "{copy}");
    }
    assert_eq!(
        placement["spec"]["clusters"].as_array().unwrap().len(),
        1,
        "a Job runs on one cluster"
    );
}
