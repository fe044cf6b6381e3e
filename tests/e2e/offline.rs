//! What a platform team's CI runs where there is no hub: lints and tests of policies.

use std::path::Path;

use federation_tests::archipel;
use serde_json::Value;

const SCENARIO: &str = "clusters:
- {name: eks-1, provider: eks, region: eu-west-1, jurisdiction: EU}
- {name: gke-1, provider: gke, region: us-east1, jurisdiction: US}
policy:
  residency: {jurisdictions: [EU]}
  replicas: {mode: Divided, division: Room}
workload:
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web, namespace: shop}
  spec: {replicas: 4, template: {spec: {containers: [{name: web, resources: {requests: {cpu: 500m, memory: 1Gi}}}]}}}
== decision
";

const POLICY: &str = "apiVersion: archipel.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: web, namespace: shop}
spec:
  selectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
  residency: {jurisdictions: [EU]}
";

const CLUSTER: &str = "
---
apiVersion: archipel.dev/v1alpha1
kind: MemberCluster
metadata: {name: eks-1}
spec: {provider: eks, region: eu-west-1, jurisdiction: EU}
status: {apis: [apps/v1/Deployment], conditions: [{type: Ready, status: \"True\", reason: Ready, message: \"\", lastTransitionTime: \"2026-01-01T00:00:00Z\"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {replicas: 3, template: {spec: {containers: [{name: web, image: web:1}]}}}
";

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn scenarios_are_tested_without_a_hub() {
    let desk = tempfile::tempdir().unwrap();
    let scenario = write(desk.path(), "residency.txt", SCENARIO);
    let untold = archipel(&["policy", "test", &scenario]).await;
    assert_eq!(untold.code, Some(1), "nothing is expected yet: {untold:?}");
    let written = archipel(&["policy", "test", "--update", &scenario]).await;
    assert!(written.success(), "{written:?}");
    let decided = std::fs::read_to_string(&scenario).unwrap();
    assert!(decided.contains("eks-1") && decided.contains("Residency"), "{decided}");
    let again = archipel(&["policy", "test", &desk.path().display().to_string()]).await;
    assert!(again.success(), "{again:?}");

    let changed = decided.replacen("jurisdictions: [EU]", "jurisdictions: [US]", 1);
    let changed = write(desk.path(), "residency.txt", &changed);
    let differs = archipel(&["policy", "test", &changed]).await;
    assert_eq!(differs.code, Some(1), "{differs:?}");
    let told = format!("{}{}", differs.stdout, differs.stderr);
    assert!(told.lines().any(|it| it.trim_start().starts_with("+ ")), "{told}");

    let objects = write(desk.path(), "fleet.yaml", &format!("{POLICY}{CLUSTER}"));
    let placement = archipel(&["policy", "test", "--format", "json", &objects]).await;
    assert!(placement.success(), "{placement:?}");
    let placement: Value = serde_json::from_str(&placement.stdout).unwrap();
    assert_eq!(placement["kind"], "Placement", "{placement}");
    assert_eq!(placement["spec"]["clusters"][0]["name"], "eks-1", "{placement}");
}

#[tokio::test]
async fn policies_are_linted_without_a_hub() {
    let desk = tempfile::tempdir().unwrap();
    let good = write(desk.path(), "good.yaml", POLICY);
    let clean = archipel(&["policy", "lint", &good]).await;
    assert!(clean.success(), "{clean:?}");
    let bad = POLICY.replace("residency:", "residancy:");
    let bad = write(desk.path(), "bad.yaml", &bad);
    let found = archipel(&["policy", "lint", "-o", "json", &bad]).await;
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(
        found.stdout.contains("UnknownField") && found.stdout.contains("residancy"),
        "code and field: {}",
        found.stdout
    );
    let missing = desk.path().join("none").display().to_string();
    let nothing = archipel(&["policy", "lint", &missing]).await;
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
}

const ENGINE: &str = "apiVersion: archipel.dev/v1alpha1
kind: StatusRule
metadata: {name: engines}
spec:
  target: {apiVersion: example.org/v1, kind: Engine}
  replicas: {path: .spec.size, requests: \"{'cpu': object.spec.cores}\"}
  health: {ready: object.status.phase == 'Up', reason: object.status.phase}
  status: {keep: [{path: .status.phase}]}
  dependencies: \"[{'apiVersion': 'v1', 'kind': 'Secret', 'name': object.spec.secret}]\"
---
apiVersion: example.org/v1
kind: Engine
metadata: {name: e, namespace: shop}
spec: {size: 3, cores: 2, secret: token}
status: {phase: Starting}
";

#[tokio::test]
async fn custom_kinds_are_read_without_a_hub() {
    let desk = tempfile::tempdir().unwrap();
    let file = write(desk.path(), "engine.yaml", ENGINE);
    let read = archipel(&["policy", "read", &file]).await;
    assert!(read.success(), "{read:?}");
    for line in [
        "Engine shop/e  by StatusRule engines",
        "replicas    3 at .spec.size",
        "each takes  cpu 2000m",
        "health      Progressing (Starting)",
        "keeps       .status.phase \"Starting\"",
        "needs       v1/Secret token",
    ] {
        assert!(read.stdout.contains(line), "{line}: {}", read.stdout);
    }
    let odd = write(desk.path(), "odd.yaml", &ENGINE.replace("cores: 2, ", ""));
    let odd = archipel(&["policy", "read", &odd]).await;
    assert_eq!(odd.code, Some(1), "{odd:?}");
    assert!(odd.stdout.contains("spec.replicas.requests: no such key: cores"), "{odd:?}");
    let bad = write(desk.path(), "bad.yaml", &ENGINE.replace("== 'Up'", "=="));
    for command in ["read", "lint"] {
        let told = archipel(&["policy", command, &bad]).await;
        assert_eq!(told.code, Some(1), "{told:?}");
        let text = format!("{}{}", told.stdout, told.stderr);
        assert!(text.contains("spec.health.ready"), "{command}: {text}");
    }
}
