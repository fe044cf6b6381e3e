//! The rules that are built in, each on objects as its operator writes them.

use std::collections::BTreeSet;

use federation_types::{names::Gvk, placement::CopyState};
use serde_json::{Value, json};
use status_rules::{Rules, built_in};

struct Case {
    api: &'static str,
    kind: &'static str,
    spec: Value,
    status: Value,
    state: CopyState,
    reason: &'static str,
}

fn cases() -> Vec<Case> {
    use CopyState::{Degraded, Progressing, Ready};
    let case =
        |api, kind, spec, status, state, reason| Case { api, kind, spec, status, state, reason };
    let kruise = "apps.kruise.io/v1alpha1";
    let training = |kind: &str, reason: &str| {
        json!({"conditions": [
        {"type": "Created", "status": "False", "reason": "Old"},
        {"type": kind, "status": "True", "reason": reason, "message": "m"}]})
    };
    let mut all = vec![
        case(
            kruise,
            "CloneSet",
            json!({"replicas": 2}),
            json!({"updatedReplicas": 2, "availableReplicas": 2}),
            Ready,
            "",
        ),
        case(
            kruise,
            "CloneSet",
            json!({"replicas": 2}),
            json!({"updatedReplicas": 2, "availableReplicas": 1}),
            Progressing,
            "",
        ),
        case(kruise, "CloneSet", json!({}), json!({}), Progressing, ""),
        case(
            "apps.kruise.io/v1beta1",
            "StatefulSet",
            json!({"replicas": 2}),
            json!({"replicas": 2, "readyReplicas": 2}),
            Ready,
            "",
        ),
        case(
            "apps.kruise.io/v1beta1",
            "StatefulSet",
            json!({"replicas": 2}),
            json!({"replicas": 3, "readyReplicas": 3}),
            Progressing,
            "",
        ),
        case(
            kruise,
            "UnitedDeployment",
            json!({"replicas": 2}),
            json!({"updatedReplicas": 2, "readyReplicas": 2}),
            Ready,
            "",
        ),
        case(
            kruise,
            "DaemonSet",
            json!({}),
            json!({"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}),
            Ready,
            "",
        ),
        case(
            kruise,
            "DaemonSet",
            json!({}),
            json!({"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}),
            Progressing,
            "",
        ),
        case(
            kruise,
            "SidecarSet",
            json!({}),
            json!({"matchedPods": 2, "updatedPods": 2, "readyPods": 2}),
            Ready,
            "",
        ),
        case(
            kruise,
            "BroadcastJob",
            json!({}),
            json!({"phase": "running"}),
            Progressing,
            "running",
        ),
        case(kruise, "BroadcastJob", json!({}), json!({"phase": "completed"}), Ready, ""),
        case(kruise, "BroadcastJob", json!({}), json!({"phase": "failed"}), Degraded, "failed"),
        case(
            "argoproj.io/v1alpha1",
            "Workflow",
            json!({}),
            json!({"phase": "Running"}),
            Progressing,
            "Running",
        ),
        case(
            "argoproj.io/v1alpha1",
            "Workflow",
            json!({}),
            json!({"phase": "Error"}),
            Degraded,
            "Error",
        ),
        case(
            "argoproj.io/v1alpha1",
            "Workflow",
            json!({}),
            json!({"phase": "Succeeded"}),
            Ready,
            "",
        ),
        case("argoproj.io/v1alpha1", "Rollout", json!({}), json!({"phase": "Healthy"}), Ready, ""),
        case(
            "argoproj.io/v1alpha1",
            "Application",
            json!({}),
            json!({"health": {"status": "Degraded"}}),
            Degraded,
            "Degraded",
        ),
        case(
            "batch.volcano.sh/v1alpha1",
            "Job",
            json!({}),
            json!({"state": {"phase": "Running"}}),
            Ready,
            "",
        ),
        case(
            "batch.volcano.sh/v1alpha1",
            "Job",
            json!({}),
            json!({"state": {"phase": "Aborted"}}),
            Degraded,
            "Aborted",
        ),
        case(
            "batch.volcano.sh/v1alpha1",
            "Job",
            json!({}),
            json!({"state": {"phase": "Pending"}}),
            Progressing,
            "Pending",
        ),
        case(
            "jobset.x-k8s.io/v1alpha2",
            "JobSet",
            json!({}),
            json!({"replicatedJobsStatus": [{"ready": 1, "succeeded": 0}]}),
            Ready,
            "",
        ),
        case(
            "jobset.x-k8s.io/v1alpha2",
            "JobSet",
            json!({}),
            json!({"replicatedJobsStatus": [{"ready": 0, "succeeded": 0}]}),
            Progressing,
            "",
        ),
        case(
            "jobset.x-k8s.io/v1alpha2",
            "JobSet",
            json!({}),
            json!({"conditions": [{"type": "Failed", "status": "True"}]}),
            Degraded,
            "",
        ),
        case("kubeflow.org/v1", "Notebook", json!({}), json!({"readyReplicas": 1}), Ready, ""),
        case(
            "kubeflow.org/v1",
            "Notebook",
            json!({}),
            json!({"containerState": {"waiting": {"reason": "ImagePullBackOff"}}}),
            Degraded,
            "ImagePullBackOff",
        ),
        case("ray.io/v1", "RayCluster", json!({}), json!({"state": "ready"}), Ready, ""),
        case("ray.io/v1", "RayCluster", json!({}), json!({"state": "failed"}), Degraded, "failed"),
        case(
            "ray.io/v1",
            "RayJob",
            json!({}),
            json!({"jobStatus": "RUNNING", "jobDeploymentStatus": "Running"}),
            Ready,
            "",
        ),
        case(
            "ray.io/v1",
            "RayJob",
            json!({}),
            json!({"jobStatus": "FAILED", "jobDeploymentStatus": "Complete"}),
            Degraded,
            "Complete",
        ),
        case(
            "ray.io/v1",
            "RayJob",
            json!({}),
            json!({"jobDeploymentStatus": "Initializing"}),
            Progressing,
            "Initializing",
        ),
        case("ray.io/v1", "RayService", json!({}), json!({"serviceStatus": "Running"}), Ready, ""),
        case(
            "ray.io/v1",
            "RayService",
            json!({}),
            json!({"conditions": [{"type": "Ready", "status": "True"}]}),
            Ready,
            "",
        ),
        case("ray.io/v1", "RayService", json!({}), json!({}), Progressing, ""),
        case(
            "sparkoperator.k8s.io/v1beta2",
            "SparkApplication",
            json!({}),
            json!({"applicationState": {"state": "RUNNING"}}),
            Ready,
            "",
        ),
        case(
            "sparkoperator.k8s.io/v1beta2",
            "SparkApplication",
            json!({}),
            json!({"applicationState": {"state": "FAILED", "errorMessage": "x"}}),
            Degraded,
            "FAILED",
        ),
        case(
            "sparkoperator.k8s.io/v1beta2",
            "ScheduledSparkApplication",
            json!({}),
            json!({"scheduleState": "Scheduled"}),
            Ready,
            "",
        ),
        case(
            "flink.apache.org/v1beta1",
            "FlinkDeployment",
            json!({"job": {}}),
            json!({"jobManagerDeploymentStatus": "READY", "jobStatus": {"state": "RUNNING"}}),
            Ready,
            "",
        ),
        case(
            "flink.apache.org/v1beta1",
            "FlinkDeployment",
            json!({}),
            json!({"jobManagerDeploymentStatus": "READY"}),
            Ready,
            "",
        ),
        case(
            "flink.apache.org/v1beta1",
            "FlinkDeployment",
            json!({"job": {}}),
            json!({"jobManagerDeploymentStatus": "READY"}),
            Progressing,
            "READY",
        ),
        case(
            "flink.apache.org/v1beta1",
            "FlinkDeployment",
            json!({}),
            json!({"jobManagerDeploymentStatus": "ERROR", "error": "x"}),
            Degraded,
            "ERROR",
        ),
        case(
            "tekton.dev/v1",
            "PipelineRun",
            json!({}),
            json!({"conditions": [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}]}),
            Progressing,
            "Running",
        ),
        case(
            "tekton.dev/v1",
            "TaskRun",
            json!({}),
            json!({"conditions": [{"type": "Succeeded", "status": "False", "reason": "TaskRunTimeout"}]}),
            Degraded,
            "TaskRunTimeout",
        ),
        case(
            "postgresql.cnpg.io/v1",
            "Cluster",
            json!({"instances": 3}),
            json!({"readyInstances": 3}),
            Ready,
            "",
        ),
        case(
            "postgresql.cnpg.io/v1",
            "Cluster",
            json!({"instances": 3}),
            json!({"readyInstances": 2, "phase": "Waiting"}),
            Progressing,
            "Waiting",
        ),
        case(
            "rabbitmq.com/v1beta1",
            "RabbitmqCluster",
            json!({}),
            json!({"conditions": [{"type": "AllReplicasReady", "status": "True"}]}),
            Ready,
            "",
        ),
        case(
            "elasticsearch.k8s.elastic.co/v1",
            "Elasticsearch",
            json!({}),
            json!({"health": "green", "phase": "Ready"}),
            Ready,
            "",
        ),
        case(
            "elasticsearch.k8s.elastic.co/v1",
            "Elasticsearch",
            json!({}),
            json!({"health": "red", "phase": "Ready"}),
            Degraded,
            "Ready",
        ),
    ];
    for kind in ["PyTorchJob", "TFJob", "XGBoostJob", "PaddleJob", "MPIJob"] {
        let version = if kind == "MPIJob" { "kubeflow.org/v2beta1" } else { "kubeflow.org/v1" };
        all.push(case(version, kind, json!({}), training("Running", "JobRunning"), Ready, ""));
        all.push(case(
            version,
            kind,
            json!({}),
            training("Failed", "JobFailed"),
            Degraded,
            "JobFailed",
        ));
        all.push(case(
            version,
            kind,
            json!({}),
            training("Created", "JobCreated"),
            Progressing,
            "JobCreated",
        ));
        all.push(case(version, kind, json!({}), json!({}), Progressing, ""));
    }
    all
}

#[test]
fn every_built_in_rule_tells_how_its_objects_fare() {
    let rules = Rules::default();
    let mut tried = BTreeSet::new();
    for it in cases() {
        let gvk = Gvk::new(it.api, it.kind);
        let rule = rules.find(&gvk).unwrap_or_else(|| panic!("no rule for {}", it.kind));
        let live =
            json!({"apiVersion": it.api, "kind": it.kind, "spec": it.spec, "status": it.status});
        let (state, reason, message) = rule.read(&live).health.unwrap();
        assert_eq!((state, reason.as_str()), (it.state, it.reason), "{live}: {message}");
        tried.insert((gvk.group, gvk.kind));
    }
    let untried: Vec<_> = built_in()
        .filter(|(kind, spec)| {
            spec.health.is_some() && !tried.contains(&(kind.group.clone(), kind.kind.clone()))
        })
        .collect();
    assert!(untried.is_empty(), "{untried:?}");
}

#[test]
fn what_flux_objects_need_is_known() {
    let rules = Rules::default();
    let needs = |api: &str, kind: &str, spec: Value| -> Vec<String> {
        let rule = rules.find(&Gvk::new(api, kind)).unwrap();
        let all = rule.dependencies(&json!({"spec": spec})).unwrap();
        all.into_iter().map(|it| format!("{}/{} {}", it.api_version, it.kind, it.name)).collect()
    };
    let release = json!({
        "chart": {"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "charts"}}},
        "valuesFrom": [{"kind": "ConfigMap", "name": "values"}, {"kind": "Secret", "name": "more"}],
    });
    assert_eq!(
        needs("helm.toolkit.fluxcd.io/v2", "HelmRelease", release),
        [
            "source.toolkit.fluxcd.io/v1/HelmRepository charts",
            "v1/ConfigMap values",
            "v1/Secret more"
        ]
    );
    let kustomization = json!({
        "sourceRef": {"kind": "GitRepository", "name": "apps"},
        "decryption": {"provider": "sops", "secretRef": {"name": "age"}},
        "postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "vars"}]},
    });
    assert_eq!(
        needs("kustomize.toolkit.fluxcd.io/v1", "Kustomization", kustomization),
        ["source.toolkit.fluxcd.io/v1/GitRepository apps", "v1/ConfigMap vars", "v1/Secret age"]
    );
    let source = "source.toolkit.fluxcd.io/v1";
    let secret = json!({"secretRef": {"name": "token"}});
    for kind in ["GitRepository", "HelmRepository", "OCIRepository", "Bucket"] {
        assert_eq!(needs(source, kind, secret.clone()), ["v1/Secret token"], "{kind}");
        assert!(needs(source, kind, json!({})).is_empty(), "{kind}");
    }
    let chart = json!({"sourceRef": {"kind": "HelmRepository", "name": "charts"}});
    assert_eq!(
        needs(source, "HelmChart", chart),
        ["source.toolkit.fluxcd.io/v1/HelmRepository charts"]
    );
    let certificate = |kind: &str| json!({"issuerRef": {"kind": kind, "name": "ca"}});
    let cert_manager = "cert-manager.io/v1";
    assert_eq!(
        needs(cert_manager, "Certificate", certificate("Issuer")),
        ["cert-manager.io/v1/Issuer ca"]
    );
    assert!(needs(cert_manager, "Certificate", certificate("ClusterIssuer")).is_empty());
}

#[test]
fn every_kind_that_karmada_reads_is_read() {
    let third_party = [
        (
            "apps.kruise.io",
            "AdvancedCronJob BroadcastJob CloneSet DaemonSet SidecarSet StatefulSet UnitedDeployment",
        ),
        ("argoproj.io", "Workflow"),
        ("batch.volcano.sh", "Job"),
        ("flink.apache.org", "FlinkDeployment"),
        ("helm.toolkit.fluxcd.io", "HelmRelease"),
        ("kustomize.toolkit.fluxcd.io", "Kustomization"),
        ("source.toolkit.fluxcd.io", "GitRepository Bucket HelmChart HelmRepository OCIRepository"),
        ("kubeflow.org", "Notebook PyTorchJob TFJob MPIJob"),
        ("kyverno.io", "Policy ClusterPolicy"),
        ("ray.io", "RayCluster RayJob RayService"),
        ("sparkoperator.k8s.io", "SparkApplication"),
    ];
    let rules = Rules::default();
    for (group, kinds) in third_party {
        for kind in kinds.split(' ') {
            assert!(rules.find(&Gvk::unversioned(group, kind)).is_some(), "{group} {kind}");
        }
    }
    assert!(rules.find(&Gvk::new("apps/v1", "Deployment")).is_none());
}
