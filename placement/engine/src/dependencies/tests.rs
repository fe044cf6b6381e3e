use serde_json::json;

use super::*;

/// `ConfigMap/a Secret/b?`, where `?` marks what is optional.
fn read(template: &Value) -> String {
    let all = dependencies(template, &Rules::default());
    let one = |it: &Dependency| {
        assert_eq!(it.api_version, "v1");
        format!("{}/{}{}", it.kind, it.name, if it.optional { "?" } else { "" })
    };
    all.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn deployment(pod: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web"},
           "spec": {"template": {"spec": pod}}})
}

#[test]
fn rule_4_7_a_pod_names_what_it_needs_in_each_of_these_places() {
    let container = |it: &Value| json!({"containers": [it]});
    let volume = |it: &Value| json!({"volumes": [it]});
    let cases = [
        (json!({}), ""),
        (json!({"serviceAccountName": "web"}), "ServiceAccount/web"),
        (json!({"serviceAccount": "old"}), "ServiceAccount/old"),
        (json!({"serviceAccountName": "default"}), ""),
        (json!({"imagePullSecrets": [{"name": "pull"}, {}, {"name": ""}]}), "Secret/pull"),
        (
            container(&json!({"env": [
                {"name": "A", "value": "x"},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]})),
            "ConfigMap/c Secret/s?",
        ),
        (
            container(
                &json!({"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}]}),
            ),
            "ConfigMap/c Secret/s",
        ),
        (
            json!({"initContainers": [{"envFrom": [{"configMapRef": {"name": "i"}}]}],
                   "ephemeralContainers": [{"envFrom": [{"secretRef": {"name": "e"}}]}]}),
            "ConfigMap/i Secret/e",
        ),
        (
            volume(&json!({"name": "v", "configMap": {"name": "c", "optional": true}})),
            "ConfigMap/c?",
        ),
        (volume(&json!({"name": "v", "secret": {"secretName": "s"}})), "Secret/s"),
        (
            volume(&json!({"name": "v", "projected": {"sources": [
                {"configMap": {"name": "c"}}, {"secret": {"name": "s", "optional": true}},
                {"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "kube-root-ca.crt"}}]}})),
            "ConfigMap/c Secret/s?",
        ),
        (
            volume(&json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}})),
            "PersistentVolumeClaim/data",
        ),
        (
            volume(
                &json!({"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}}),
            ),
            "Secret/s",
        ),
        (volume(&json!({"name": "v", "cephfs": {"secretRef": {"name": "ceph"}}})), "Secret/ceph"),
        (volume(&json!({"name": "v", "azureFile": {"secretName": "azure"}})), "Secret/azure"),
        (volume(&json!({"name": "v", "emptyDir": {}})), ""),
        // Named twice, it is optional only if it is so both times.
        (
            json!({"volumes": [{"configMap": {"name": "c", "optional": true}}],
                   "containers": [{"envFrom": [{"configMapRef": {"name": "c"}}]}]}),
            "ConfigMap/c",
        ),
    ];
    for (pod, expected) in cases {
        assert_eq!(read(&deployment(&pod)), expected, "{pod}");
    }
}

#[test]
fn rule_4_7_pods_are_found_wherever_a_kind_keeps_them() {
    let pod = json!({"spec": {"serviceAccountName": "web"}});
    let cases = [
        (
            "apps/v1",
            "StatefulSet",
            json!({"serviceName": "db", "template": pod}),
            "Service/db ServiceAccount/web",
        ),
        ("apps/v1", "DaemonSet", json!({"template": pod}), "ServiceAccount/web"),
        ("apps/v1", "ReplicaSet", json!({"template": pod}), "ServiceAccount/web"),
        ("batch/v1", "Job", json!({"template": pod}), "ServiceAccount/web"),
        (
            "batch/v1",
            "CronJob",
            json!({"jobTemplate": {"spec": {"template": pod}}}),
            "ServiceAccount/web",
        ),
        ("v1", "Pod", pod["spec"].clone(), "ServiceAccount/web"),
        ("example.org/v1", "Shop", json!({"template": pod}), "ServiceAccount/web"),
        (
            "kubeflow.org/v1",
            "PyTorchJob",
            json!({"pytorchReplicaSpecs": {"Master": {"template": pod}}}),
            "ServiceAccount/web",
        ),
        (
            "ray.io/v1",
            "RayCluster",
            json!({"headGroupSpec": {"template": pod}, "workerGroupSpecs": [
                {"groupName": "w", "replicas": 0, "template": {"spec": {"serviceAccountName": "worker"}}}]}),
            "ServiceAccount/web ServiceAccount/worker",
        ),
        (
            "flink.apache.org/v1beta1",
            "FlinkDeployment",
            json!({"serviceAccount": "flink", "podTemplate": pod, "taskManager": {"podTemplate":
                {"spec": {"imagePullSecrets": [{"name": "pull"}]}}}}),
            "Secret/pull ServiceAccount/flink ServiceAccount/web",
        ),
        (
            "sparkoperator.k8s.io/v1beta2",
            "SparkApplication",
            json!({"imagePullSecrets": ["pull"], "sparkConfigMap": "conf",
                   "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
                   "driver": {"serviceAccount": "spark", "secrets": [{"name": "key", "path": "/k"}]},
                   "executor": {"configMaps": [{"name": "more", "path": "/m"}], "envFrom": [{"secretRef": {"name": "env"}}]}}),
            "ConfigMap/conf ConfigMap/more PersistentVolumeClaim/data Secret/env Secret/key Secret/pull ServiceAccount/spark",
        ),
    ];
    for (api_version, kind, spec, expected) in cases {
        let template = json!({"apiVersion": api_version, "kind": kind, "spec": spec});
        assert_eq!(read(&template), expected, "{kind}");
    }
}

#[test]
fn rule_4_7_an_ingress_names_its_services_and_certificates_and_an_account_what_it_pulls_with() {
    let service = |name: &str| json!({"service": {"name": name, "port": {"number": 80}}});
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {
        "defaultBackend": service("home"),
        "tls": [{"hosts": ["a"], "secretName": "cert"}, {"hosts": ["b"]}],
        "rules": [
            {"host": "a", "http": {"paths": [{"path": "/", "backend": service("web")},
                                              {"path": "/api", "backend": service("api")}]}},
            {"http": {"paths": [{"backend": {"resource": {"kind": "Bucket", "name": "static"}}}]}},
            {"host": "b"}]}});
    assert_eq!(read(&ingress), "Secret/cert Service/api Service/home Service/web");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{"name": "pull"}],
                         "secrets": [{"name": "web-token-x1"}]});
    assert_eq!(read(&account), "Secret/pull");
}

#[test]
fn rule_2_4_what_is_never_a_template_and_what_only_selects_follows_nothing() {
    for (api_version, kind, spec) in [
        ("v1", "Service", json!({"selector": {"app": "web"}})),
        ("networking.k8s.io/v1", "NetworkPolicy", json!({"podSelector": {}})),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", json!({})),
        ("v1", "ConfigMap", json!({"template": {"spec": {"serviceAccountName": "web"}}})),
    ] {
        assert_eq!(
            read(&json!({"apiVersion": api_version, "kind": kind, "spec": spec})),
            "",
            "{kind}"
        );
    }
    // Everything in archipel-system is the hub's own.
    let mut own = deployment(&json!({"serviceAccountName": "web"}));
    own["metadata"]["namespace"] = json!("archipel-system");
    assert_eq!(read(&own), "");
}

#[test]
fn what_is_malformed_names_nothing() {
    let odd = json!({"serviceAccountName": 7, "volumes": {"configMap": {"name": "c"}}, "containers": [3, null],
                     "imagePullSecrets": [[], {"name": []}]});
    assert_eq!(read(&deployment(&odd)), "");
    assert_eq!(read(&Value::Null), "");
}

#[test]
fn rule_4_7_a_custom_kind_needs_what_its_rule_says() {
    let rule = json!({
        "target": {"apiVersion": "example.org/v1", "kind": "Engine"},
        "dependencies": "[{'apiVersion': 'v1', 'kind': 'Secret', 'name': object.spec.secret}, \
                         {'apiVersion': 'v1', 'kind': 'ServiceAccount', 'name': 'default'}, \
                         {'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': 'RoleBinding', 'name': 'admin'}, \
                         {'apiVersion': 'example.org/v1', 'kind': 'Fuel', 'name': 'e10'}]",
    });
    let rule = serde_json::from_value(rule).unwrap();
    let (rules, _) = Rules::new([("engines", &rule)]);
    let pod =
        json!({"containers": [{"envFrom": [{"secretRef": {"name": "key", "optional": true}}]}]});
    let engine = json!({
        "apiVersion": "example.org/v1", "kind": "Engine", "metadata": {"namespace": "shop", "name": "e"},
        "spec": {"secret": "key", "template": {"spec": pod}},
    });
    let found = dependencies(&engine, &rules);
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.api_version.as_str(), it.kind.as_str(), it.name.as_str(), it.optional))
        .collect();
    // Needed by the rule, it is optional nowhere; what is never a template does not follow.
    let expected = [("example.org/v1", "Fuel", "e10", false), ("v1", "Secret", "key", false)];
    assert_eq!(found, expected);
}
