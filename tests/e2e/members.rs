//! The harness's own tests: members start, run workloads as told, freeze, die and leave nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use federation_tests::{Binaries, Helm, Kubectl, Member, MemberOptions, NodeShape, wait};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

fn alive(pid: u32) -> bool {
    // A zombie has ended; it only waits for its new parent to take notice.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

async fn get(kubectl: &Kubectl, args: &[&str]) -> Value {
    let output = kubectl.run(["get", "-o", "json"].iter().chain(args)).await;
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| json!({ "error": output.stderr }))
}

/// Waits until `value` at `pointer` of an object is the wanted one.
async fn becomes(kubectl: &Kubectl, object: &[&str], pointer: &str, wanted: &Value) {
    let what = format!("{object:?} {pointer} is {wanted}");
    wait::until(&what, SOON, async || {
        let found = get(kubectl, object).await;
        match found.pointer(pointer) {
            Some(value) if value == wanted => Ok(()),
            _ => Err(found.get("status").cloned().unwrap_or(found)),
        }
    })
    .await;
}

fn pod(name: &str, behaviour: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"archipel.test/behaviour": behaviour}},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    })
    .to_string()
}

fn stateful_set(name: &str) -> String {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "app:1"}]},
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            }],
        },
    })
    .to_string()
}

#[tokio::test]
async fn a_full_member_runs_workloads_as_told() {
    let shape = NodeShape::new(2, "m5.xlarge", "eu-west-1", "eu-west-1a").extended("test/gpu", "2");
    let mut member = Member::start(MemberOptions::full("alpha", [shape])).await.unwrap();
    let kubectl = Kubectl::new(member.kubeconfig()).unwrap();
    let version: Value =
        serde_json::from_str(&kubectl.ok(["version", "-o", "json"]).await).unwrap();
    assert_eq!(version["serverVersion"]["gitVersion"], "v1.36.3");
    assert_eq!(version["serverVersion"]["minor"], "36");
    let node = get(&kubectl, &["node", "alpha-0-1"]).await;
    assert_eq!(node["metadata"]["labels"]["topology.kubernetes.io/zone"], "eu-west-1a");
    assert_eq!(node["status"]["allocatable"]["test/gpu"], "2");

    kubectl.ok(["create", "deployment", "web", "--image=web", "--replicas=4"]).await;
    becomes(&kubectl, &["deployment", "web"], "/status/readyReplicas", &json!(4)).await;

    // ServiceAccounts are real ones: they have tokens, and each namespace knows the root CA.
    let token = kubectl.ok(["create", "token", "default"]).await;
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    let root = &["configmap", "kube-root-ca.crt"];
    becomes(&kubectl, root, "/metadata/name", &json!("kube-root-ca.crt")).await;

    kubectl.ok(["create", "job", "once", "--image=once"]).await;
    becomes(&kubectl, &["job", "once"], "/status/succeeded", &json!(1)).await;

    kubectl.apply(&pod("crashing", "crash-loop")).await;
    let state = "/status/containerStatuses/0/state/waiting/reason";
    becomes(&kubectl, &["pod", "crashing"], state, &json!("CrashLoopBackOff")).await;
    kubectl.apply(&pod("imageless", "image-pull-failing")).await;
    becomes(&kubectl, &["pod", "imageless"], state, &json!("ImagePullBackOff")).await;
    let imageless = get(&kubectl, &["pod", "imageless"]).await;
    assert_eq!(imageless["status"]["phase"], "Pending");
    kubectl.apply(&pod("unready", "never-ready")).await;
    becomes(&kubectl, &["pod", "unready"], "/status/phase", &json!("Running")).await;
    becomes(&kubectl, &["pod", "unready"], "/status/containerStatuses/0/ready", &json!(false))
        .await;
    kubectl.apply(&pod("failing", "fail")).await;
    becomes(&kubectl, &["pod", "failing"], "/status/phase", &json!("Failed")).await;

    kubectl.apply(&stateful_set("db")).await;
    becomes(&kubectl, &["statefulset", "db"], "/status/readyReplicas", &json!(2)).await;
    becomes(&kubectl, &["pvc", "data-db-1"], "/status/phase", &json!("Bound")).await;

    let chart = member.dir().join("hello");
    let helm = Helm::new(member.kubeconfig()).unwrap();
    helm.ok(["create".as_ref(), chart.as_os_str()]).await;
    helm.ok(["install".as_ref(), "hello".as_ref(), chart.as_os_str()]).await;
    becomes(&kubectl, &["deployment", "hello"], "/status/readyReplicas", &json!(1)).await;
    helm.ok(["uninstall", "hello", "--wait"]).await;

    // Deletion finishes: the pods go, those of the Job too.
    let workloads = ["deployment/web", "job/once", "statefulset/db"];
    kubectl.ok(["delete", "--cascade=foreground"].iter().chain(&workloads)).await;
    kubectl.ok(["delete", "pods,pvc", "--all"]).await;
    let pods = get(&kubectl, &["pods"]).await;
    assert_eq!(pods["items"], json!([]));

    // What was written survives the loss of power, on the same address.
    kubectl.ok(["create", "configmap", "kept", "--from-literal=a=b"]).await;
    let address = member.address();
    member.kill().unwrap();
    let refused = kubectl.run(["get", "configmap", "kept", "--request-timeout=2s"]).await;
    assert!(!refused.success(), "{refused:?}");
    member.restart().await.unwrap();
    assert_eq!(member.address(), address);
    becomes(&kubectl, &["configmap", "kept"], "/data/a", &json!("b")).await;
}

#[tokio::test]
async fn a_frozen_member_answers_nothing_until_it_thaws_and_a_dropped_one_is_gone() {
    let mut member = Member::start(MemberOptions::bare("beta")).await.unwrap();
    let kubectl = Kubectl::new(member.kubeconfig()).unwrap();
    kubectl.ok(["create", "configmap", "kept"]).await;

    member.freeze().unwrap();
    let silent = kubectl.run(["get", "configmap", "kept", "--request-timeout=1s"]).await;
    assert!(!silent.success(), "{silent:?}");
    member.thaw().unwrap();
    becomes(&kubectl, &["configmap", "kept"], "/metadata/name", &json!("kept")).await;

    let pids: Vec<u32> = member.processes().iter().map(|process| process.pid()).collect();
    let dir = member.dir().to_owned();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| alive(*pid)));
    // Frozen again: even then nothing stays behind.
    member.freeze().unwrap();
    drop(member);
    assert!(pids.iter().all(|pid| !alive(*pid)), "{pids:?}");
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_process_ends_with_the_one_that_started_it() {
    let binaries = Binaries::find().unwrap();
    let sleeper = format!(
        "{} --die-with-parent --exec sleep 600 & echo $!; wait",
        binaries.members.display()
    );
    let mut parent =
        Command::new("sh").args(["-c", &sleeper]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let output = parent.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    let runs =
        |pid: u32| std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"));
    wait::until("sleep runs", SOON, async || match runs(pid) {
        Ok(name) if name.trim() == "sleep" => Ok(()),
        other => Err(other.ok()),
    })
    .await;
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait::until("sleep ends", SOON, async || if alive(pid) { Err(pid) } else { Ok(()) }).await;
}
