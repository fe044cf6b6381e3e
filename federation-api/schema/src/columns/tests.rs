use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-03-10T12:00:00Z".parse().expect("a timestamp")
}

fn row(api_version: &str, kind: &str, object: &Value) -> Vec<String> {
    cells(&Gvk::of(api_version, kind), object, now()).iter().map(cells::plain).collect()
}

fn heads(api_version: &str, kind: &str) -> Vec<(String, i64)> {
    let printer = Printer::builtin(&Gvk::of(api_version, kind));
    printer.columns().iter().map(|c| (c.name.clone(), c.priority)).collect()
}

#[test]
fn durations_read_as_kubectl_prints_them() {
    let cases = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (450, "7m30s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_700, "3h15m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (187_200, "2d4h"),
        (691_200, "8d"),
        (63_072_000, "2y"),
        (64_000_000, "2y10d"),
        (252_288_000, "8y"),
    ];
    for (seconds, wanted) in cases {
        assert_eq!(human_duration(seconds), wanted, "{seconds}");
    }
}

#[test]
fn a_deployment_shows_ready_of_wanted_and_its_containers() {
    let heads = heads("apps/v1", "Deployment");
    let names: Vec<&str> = heads.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]
    );
    assert_eq!(heads.iter().filter(|(_, priority)| *priority == 1).count(), 3);
    let deployment = json!({"metadata": {"name": "web", "creationTimestamp": "2026-03-08T08:00:00Z"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["b", "a"]}]},
            "template": {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}},
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}});
    assert_eq!(
        row("apps/v1", "Deployment", &deployment),
        ["web", "2/3", "3", "2", "2d4h", "a,b", "x,y", "app=web,tier in (a,b)"]
    );
    assert_eq!(
        row("apps/v1", "Deployment", &json!({"metadata": {"name": "new"}}))[..5],
        ["new", "0/1", "0", "0", "<unknown>"]
    );
}

#[test]
fn a_pod_shows_what_holds_it_up() {
    let pod = |status: Value| {
        json!({"metadata": {"name": "p", "creationTimestamp": "2026-03-10T11:55:00Z"},
        "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}, "status": status})
    };
    let running = pod(json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": [{"type": "Initialized", "status": "True"}],
        "containerStatuses": [{"ready": true, "restartCount": 2, "state": {"running": {}},
            "lastState": {"terminated": {"finishedAt": "2026-03-10T11:50:00Z"}}}]}));
    assert_eq!(
        row("v1", "Pod", &running),
        ["p", "1/1", "Running", "2 (10m ago)", "5m", "10.0.0.1", "<none>", "<none>", "<none>"]
    );
    let states = [
        (json!({"phase": "Pending"}), "Pending"),
        (
            json!({"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            "CrashLoopBackOff",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}),
            "ExitCode:3",
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
            "Init:0/1",
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
            "Init:Error",
        ),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
            "SchedulingGated",
        ),
        (
            json!({"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}),
            "Completed",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
            {"ready": true, "state": {"running": {}}}]}),
            "NotReady",
        ),
    ];
    for (status, wanted) in states {
        assert_eq!(row("v1", "Pod", &pod(status))[2], wanted);
    }
    let mut leaving = pod(json!({"phase": "Running"}));
    leaving["metadata"]["deletionTimestamp"] = "2026-03-10T11:59:00Z".into();
    assert_eq!(row("v1", "Pod", &leaving)[2], "Terminating");
}

#[test]
fn services_ingresses_and_autoscalers_show_how_they_are_reached() {
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"], "selector": {"a": "b"},
        "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}});
    assert_eq!(
        row("v1", "Service", &service)[1..],
        ["LoadBalancer", "10.96.0.9", "<pending>", "80:30080/TCP,53/UDP", "<unknown>", "a=b"]
    );
    let ingress = json!({"metadata": {"name": "i"}, "spec": {"rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}], "tls": [{}]},
        "status": {"loadBalancer": {"ingress": [{"hostname": "lb"}, {"ip": "1.2.3.4"}]}}});
    assert_eq!(
        row("networking.k8s.io/v1", "Ingress", &ingress)[1..5],
        ["<none>", "a,b,c + 1 more...", "1.2.3.4,lb", "80, 443"]
    );
    let autoscaler = json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}]},
        "status": {"currentReplicas": 2, "currentMetrics": [{"resource": {"current": {"averageUtilization": 40}}}]}});
    assert_eq!(
        row("autoscaling/v2", "HorizontalPodAutoscaler", &autoscaler)[1..6],
        ["Deployment/web", "cpu: 40%/80%", "<unset>", "5", "2"]
    );
}

#[test]
fn jobs_nodes_claims_and_events_show_their_state() {
    let job = json!({"metadata": {"name": "j"}, "spec": {"completions": 4}, "status": {"succeeded": 1, "startTime": "2026-03-10T11:59:00Z"}});
    assert_eq!(row("batch/v1", "Job", &job)[1..4], ["Running", "1/4", "60s"]);
    let node = json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}}, "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "False"}], "nodeInfo": {"kubeletVersion": "v1.36.3"}}});
    assert_eq!(
        row("v1", "Node", &node)[1..5],
        ["NotReady,SchedulingDisabled", "control-plane", "<unknown>", "v1.36.3"]
    );
    let claim = json!({"metadata": {"name": "c"}, "spec": {"volumeName": "v", "storageClassName": "fast"},
        "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "8Gi"}}});
    assert_eq!(
        row("v1", "PersistentVolumeClaim", &claim)[1..7],
        ["Bound", "v", "8Gi", "RWO", "fast", "<unset>"]
    );
    let event = json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "Failed", "message": " no room \n", "lastTimestamp": "2026-03-10T11:58:30Z",
        "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "kubelet", "host": "n1"}});
    assert_eq!(
        row("v1", "Event", &event),
        ["90s", "Warning", "Failed", "pod/p", "", "kubelet, n1", "no room", "<unknown>", "1", "e"]
    );
}

#[test]
fn kinds_without_columns_of_their_own_show_when_they_were_made() {
    let role = json!({"metadata": {"name": "r", "creationTimestamp": "2026-03-10T11:55:00Z"}});
    assert_eq!(row("rbac.authorization.k8s.io/v1", "Role", &role), ["r", "2026-03-10T11:55:00Z"]);
    assert_eq!(heads("rbac.authorization.k8s.io/v1", "Role")[1].0, "Created At");
}

#[test]
fn a_crd_declares_its_own_columns() {
    let columns = json!([
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
        {"name": "Made", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Zones", "type": "string", "jsonPath": ".spec.zones"},
    ]);
    let printer = Printer::custom(columns.as_array().expect("a list")).expect("well-formed");
    let object = json!({"metadata": {"name": "t", "creationTimestamp": "2026-03-10T11:00:00Z"}, "spec": {"replicas": 3, "zones": ["a", "b"]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(
        Value::Array(printer.cells(&object, now())),
        json!(["t", "True", 3, "60m", "[\"a\",\"b\"]"])
    );
    assert_eq!(
        Value::Array(printer.cells(&json!({"metadata": {"name": "u"}}), now())),
        json!(["u", null, null, null, null])
    );
    assert_eq!(printer.columns()[2].priority, 1);
    let wrong = Printer::custom(&[json!({"name": "X", "type": "string", "jsonPath": ".a["})])
        .expect_err("not a path");
    assert_eq!(
        wrong.to_string(),
        "additionalPrinterColumns[0].jsonPath: JSONPath \".a[\": a bracket is not closed"
    );
    assert_eq!(Printer::custom(&[]).expect("empty").columns()[1].name, "Age");
}
