use serde_json::json;

use super::*;

const PODS: Counted<'static> = Counted { group: "", plural: "pods" };
const CLAIMS: Counted<'static> = Counted { group: "", plural: "persistentvolumeclaims" };
const SERVICES: Counted<'static> = Counted { group: "", plural: "services" };

fn quota(spec: &Value) -> Quota {
    Quota::read(&json!({"metadata": {"name": "q"}, "spec": spec}))
}

fn pod(resources: &Value) -> Value {
    let container = |name: &str| json!({"name": name, "resources": resources});
    json!({"spec": {"containers": [container("c"), container("d")]}})
}

fn shown(amounts: &Amounts) -> Vec<String> {
    amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect()
}

#[test]
fn rule_2_5_a_pod_counts_for_what_it_asks_for() {
    let asked =
        json!({"requests": {"cpu": "250m", "nvidia.com/gpu": "1"}, "limits": {"memory": "1Gi"}});
    assert_eq!(
        shown(&usage(&PODS, &pod(&asked))),
        [
            "count/pods=1",
            "cpu=500m",
            "limits.memory=2Gi",
            "memory=2Gi",
            "pods=1",
            "requests.cpu=500m",
            "requests.memory=2Gi",
            "requests.nvidia.com/gpu=2",
        ]
    );
    let mut ended = pod(&asked);
    ended["status"] = json!({"phase": "Succeeded"});
    assert_eq!(shown(&usage(&PODS, &ended)), ["count/pods=1"]);
    // A quota is charged with what it bounds only.
    let bound = quota(&json!({"hard": {"requests.cpu": "1", "secrets": "2"}}));
    assert_eq!(shown(&bound.charge(&PODS, &pod(&asked))), ["requests.cpu=500m"]);
}

#[test]
fn rule_2_5_claims_count_by_class_and_services_by_port() {
    let claim = json!({
        "spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "2Gi"}}},
    });
    assert_eq!(
        shown(&usage(&CLAIMS, &claim)),
        [
            "count/persistentvolumeclaims=1",
            "gold.storageclass.storage.k8s.io/persistentvolumeclaims=1",
            "gold.storageclass.storage.k8s.io/requests.storage=2Gi",
            "persistentvolumeclaims=1",
            "requests.storage=2Gi",
        ]
    );
    let counts = |spec: Value| {
        let usage = usage(&SERVICES, &json!({"spec": spec}));
        ["services.nodeports", "services.loadbalancers"].map(|it| usage[it].to_string())
    };
    let ports = json!([{"port": 1}, {"port": 2, "nodePort": 30000}]);
    assert_eq!(counts(json!({"ports": ports})), ["0", "0"]);
    assert_eq!(counts(json!({"type": "NodePort", "ports": ports})), ["2", "0"]);
    assert_eq!(counts(json!({"type": "LoadBalancer", "ports": ports})), ["2", "1"]);
    let bare =
        json!({"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false});
    assert_eq!(counts(bare), ["1", "1"]);
}

#[test]
fn rule_2_5_a_quota_of_compute_demands_that_containers_say_what_they_need() {
    let missing = |hard: &Value, object: &Value, kind: &Counted<'_>| {
        usage::missing(&amounts(hard), kind, object)
    };
    let hard = json!({"requests.cpu": "2", "memory": "1Gi", "limits.cpu": "3", "requests.nvidia.com/gpu": "1"});
    assert_eq!(
        missing(&hard, &pod(&json!({})), &PODS),
        ["limits.cpu for: c,d", "memory for: c,d", "requests.cpu for: c,d"]
    );
    let mut some = pod(&json!({"requests": {"cpu": "1"}, "limits": {"memory": "1"}}));
    assert_eq!(missing(&hard, &some, &PODS), ["limits.cpu for: c,d"]);
    some["spec"]["resources"] = json!({"limits": {"cpu": "4"}});
    assert_eq!(missing(&hard, &some, &PODS), Vec::<String>::new());
    let hard = json!({"requests.storage": "1Gi"});
    assert_eq!(missing(&hard, &json!({"spec": {}}), &CLAIMS), ["requests.storage"]);
}

#[test]
fn rule_2_5_scopes_say_which_pods_a_quota_bears_on() {
    let covers = |spec: Value, object: &Value| quota(&spec).covers(&PODS, object);
    let scope = |name: &str| json!({"scopes": [name]});
    let idle = pod(&json!({}));
    let busy = pod(&json!({"requests": {"cpu": "1"}}));
    // Both were tried on an API server of Kubernetes 1.36: nothing asked for is nothing, and devices do not count.
    let none = pod(&json!({"requests": {"cpu": "0"}}));
    let device = pod(&json!({"requests": {"nvidia.com/gpu": "1"}}));
    for best in [&idle, &none, &device] {
        assert!(covers(scope("BestEffort"), best) && !covers(scope("NotBestEffort"), best));
    }
    assert!(!covers(scope("BestEffort"), &busy) && covers(scope("NotBestEffort"), &busy));
    let mut ending = idle.clone();
    ending["spec"]["activeDeadlineSeconds"] = 5.into();
    assert!(covers(scope("Terminating"), &ending) && !covers(scope("Terminating"), &idle));
    assert!(covers(scope("NotTerminating"), &idle) && !covers(scope("NotTerminating"), &ending));
    assert!(!covers(json!({"scopes": ["Terminating", "NotBestEffort"]}), &ending));

    let class = |operator: &str, values: &[&str]| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values},
        ]}})
    };
    let mut high = idle.clone();
    high["spec"]["priorityClassName"] = "high".into();
    for (operator, values, of_high, of_none) in [
        ("In", ["high"].as_slice(), true, false),
        ("In", &["low"], false, false),
        ("NotIn", &["high"], false, true),
        ("NotIn", &["low"], true, true),
        ("Exists", &[], true, false),
        ("DoesNotExist", &[], false, true),
    ] {
        assert_eq!(covers(class(operator, values), &high), of_high, "{operator} {values:?}");
        assert_eq!(covers(class(operator, values), &idle), of_none, "{operator} {values:?}");
    }
    let mut abroad = idle.clone();
    abroad["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
        json!([{"podAffinityTerm": {"namespaceSelector": {}}}]);
    assert!(covers(scope("CrossNamespacePodAffinity"), &abroad));
    assert!(!covers(scope("CrossNamespacePodAffinity"), &idle));

    let gold = json!({"spec": {"volumeAttributesClassName": "gold"}});
    let of_claims = quota(&json!({"scopeSelector": {"matchExpressions": [
        {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["gold"]},
    ]}}));
    assert!(of_claims.covers(&CLAIMS, &gold) && !of_claims.covers(&CLAIMS, &json!({"spec": {}})));
    assert!(!quota(&scope("Terminating")).covers(&SERVICES, &json!({})));
}

#[test]
fn a_quota_that_could_not_be_carried_out_is_refused() {
    let wrong = |spec: Value| -> Vec<String> {
        check(&json!({"spec": spec})).into_iter().map(|it| it.field).collect()
    };
    let good = json!({
        "pods": "2", "count/pods": 1, "count/deployments.apps": "3", "cpu": "1500m",
        "requests.ephemeral-storage": "1Gi", "limits.memory": "1Gi", "hugepages-2Mi": "1",
        "requests.hugepages-2Mi": "1", "requests.nvidia.com/gpu": "1", "requests.storage": "1Gi",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "services.nodeports": "1", "services.loadbalancers": "0",
    });
    assert_eq!(wrong(json!({"hard": good})), Vec::<String>::new());
    let bad = json!({
        "foo": "1", "nvidia.com/gpu": "1", "limits.nvidia.com/gpu": "1", "pods": "1.5", "cpu": "-1",
        "count/a.b": "1m", "gold.deviceclass.resource.k8s.io/devices": "1",
    });
    let mut fields = wrong(json!({"hard": bad}));
    fields.sort();
    let mut all: Vec<_> =
        bad.as_object().unwrap().keys().map(|it| format!("spec.hard[{it}]")).collect();
    all.sort();
    assert_eq!(fields, all);
    let scopes = |scopes: &[&str], hard: Value| wrong(json!({"hard": hard, "scopes": scopes}));
    assert_eq!(
        scopes(&["BestEffort"], json!({"requests.cpu": "1", "pods": "2"})),
        ["spec.scopes[0]"]
    );
    assert_eq!(
        scopes(&["BestEffort", "NotBestEffort", "Foo"], json!({"pods": "2"})),
        ["spec.scopes[2]", "spec.scopes"]
    );
    assert_eq!(scopes(&["Terminating"], json!({"secrets": "2"})), ["spec.scopes[0]"]);
    let expressions = json!({"matchExpressions": [
        {"scopeName": "PriorityClass", "operator": "In", "values": []},
        {"scopeName": "Terminating", "operator": "In", "values": ["a"]},
        {"scopeName": "PriorityClass", "operator": "Exists", "values": ["a"]},
        {"scopeName": "PriorityClass", "operator": "Is"},
    ]});
    let at =
        |index: usize, field: &str| format!("spec.scopeSelector.matchExpressions[{index}].{field}");
    assert_eq!(
        wrong(json!({"hard": {"pods": "1"}, "scopeSelector": expressions})),
        [at(0, "values"), at(1, "operator"), at(2, "values"), at(3, "operator")]
    );
}
