use super::*;

fn flaws(text: &str) -> Vec<String> {
    match Scenario::parse(text) {
        Ok(_) => Vec::new(),
        Err(flaws) => flaws.iter().map(Flaw::to_string).collect(),
    }
}

const WEB: &str = "workload: {apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 2}}\n";

#[test]
fn a_flaw_names_its_line_and_field() {
    let check = |text: &str, expected: &[&str]| assert_eq!(flaws(text), expected, "{text}");
    check(&format!("clusters: [{{name: a}}]\npolicy: {{}}\n{WEB}"), &[]);
    check(
        &format!(
            "clusters: [{{name: a}}]\npolicy:\n  spread:\n  - topologyKey: zone\n    mim: 2\n{WEB}"
        ),
        &["5: policy.spread[0].mim: Unknown field: is `min` meant?"],
    );
    check(
        &format!(
            "clusters:\n- name: a\n- name: b\n  taints: [{{key: x, effect: Never}}]\npolicy: {{}}\n{WEB}"
        ),
        &[
            "4: clusters[1].taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ],
    );
    check(
        &format!(
            "clusters:\n- {{name: a, provider: gke}}\n- name: b\n  provider: gkee\npolicy: {{}}\n{WEB}"
        ),
        &[
            "4: clusters[1].provider: Unsupported value: \"gkee\": supported values: \"eks\", \"gke\", \"aks\", \"onprem\"",
        ],
    );
    check(
        "clusters: [{name: a}]\npolicy: {}\n",
        &["1: workload: Required value: what is to be placed"],
    );
    check(
        &format!(
            "clusters: [{{name: a}}]\npolicy: {{}}\nplacements:\n  Deployment shop/api: {{clusters: []}}\n{WEB}"
        ),
        &["4: placements.Deployment shop/api: Not found: no workload of the scenario is called so"],
    );
    check(
        &format!("clusters: [{{name: a}}]\npolicies:\n- kind: Policy\n{WEB}"),
        &[
            "3: policies[0].kind: Unsupported value: \"Policy\": supported values: \"PlacementPolicy\", \"ClusterPlacementPolicy\"",
        ],
    );
    let unknown = flaws(&format!("clusters:\n- name: a\n  colour: red\npolicy: {{}}\n{WEB}"));
    assert!(unknown[0].starts_with("3: clusters[0]: unknown field `colour`"), "{unknown:?}");
    let broken = flaws("clusters: [\n");
    assert_eq!(broken.len(), 1);
    assert!(broken[0].starts_with("2: "), "{broken:?}");
}

#[test]
fn a_field_of_a_template_of_another_type_is_refused_and_not_taken_for_its_default() {
    let check = |web: &str, expected: &[&str]| {
        let text = format!("clusters: [{{name: a}}]\npolicy: {{}}\nworkload: {web}\n");
        assert_eq!(flaws(&text), expected, "{web}");
    };
    let web = |spec: &str| {
        format!("{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {spec}}}")
    };
    let count = "must be a whole number that is not negative";
    let said = format!("3: workload.spec.replicas: Invalid value: \"3\": {count}");
    check(&web("{replicas: \"3\"}"), &[&said]);
    let said = format!("3: workload.spec.replicas: Invalid value: -1: {count}");
    check(&web("{replicas: -1}"), &[&said]);
    let pod = |container: &str| {
        web(&format!(
            "{{template: {{spec: {{containers: [{{name: a, resources: {container}}}]}}}}}}"
        ))
    };
    check(
        &pod("{requests: {cpu: lots}}"),
        &[
            "3: workload.spec.template.spec.containers[0].resources.requests.cpu: Invalid value: \"lots\": must be an amount, such as 500m or 1Gi",
        ],
    );
    check(&pod("{requests: {cpu: 2, memory: 1Gi}}"), &[]);
    check(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, labels: {tier: 1}}}",
        &["3: workload.metadata.labels.tier: Invalid value: 1: must be text"],
    );
    // Of a kind that nobody knows only what every object has is looked at.
    check(
        "{apiVersion: a.example/v1, kind: Thing, metadata: {name: t}, spec: {replicas: many}}",
        &[],
    );
    let objects = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {parallelism: x}\n";
    let flaws = Scenario::of_objects(objects, "2026-11-21").unwrap_err();
    let said = format!("4: spec.parallelism: Invalid value: \"x\": {count}");
    assert_eq!(flaws[0].to_string(), said);
}

#[test]
fn a_day_that_is_none_is_refused() {
    let text = format!("asOf: soon\nclusters: [{{name: a}}]\npolicy: {{}}\n{WEB}");
    assert_eq!(
        flaws(&text),
        ["1: asOf: Invalid value: \"soon\": must be a day, such as 2026-11-21"]
    );
}

#[test]
fn what_is_expected_stands_below_the_mark() {
    assert_eq!(split("a: 1\n"), ("a: 1\n", None));
    assert_eq!(split("a: 1\n== decision\nb\n"), ("a: 1\n", Some("b\n")));
    assert_eq!(split("a: x== decision\n"), ("a: x== decision\n", None));
    assert_eq!(with_decision("a: 1", "b\n"), "a: 1\n== decision\nb\n");
    assert_eq!(with_decision("a: 1\n== decision\nold\n", "b\n"), "a: 1\n== decision\nb\n");
}

#[test]
fn workloads_are_decided_in_turn_and_each_takes_its_room() {
    let text = r#"
clusters: [{name: a}, {name: b}]
policies:
- kind: PlacementPolicy
  metadata: {name: packed, namespace: shop}
  spec:
    selectors: [{apiVersion: apps/v1, kind: Deployment}]
    replicas: {mode: Divided, division: Packed}
workloads:
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: first, namespace: shop}, spec: {replicas: 4, template: {spec: {containers: [{name: a, resources: {requests: {cpu: "4"}}}]}}}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: second, namespace: shop}, spec: {replicas: 2, template: {spec: {containers: [{name: a, resources: {requests: {cpu: "4"}}}]}}}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}}
"#;
    let report = Scenario::parse(text).unwrap().report();
    let heads: Vec<&str> =
        report.lines().filter(|it| it.contains("shop/") && it.contains(": ")).collect();
    assert_eq!(
        heads,
        [
            "Deployment shop/first: on 1 cluster: a 4",
            "Deployment shop/second: on 1 cluster: b 2",
            "ConfigMap shop/settings: claimed by no policy: it stays on the hub",
        ]
    );
    assert!(report.contains("claimed by PlacementPolicy shop/packed\n"), "{report}");
}

#[test]
fn objects_that_the_hub_serves_no_kind_or_version_of_are_refused() {
    let text = "apiVersion: archipel.dev/v1alpha1\nkind: CostBudgets\nmetadata: {name: b}\n---\napiVersion: archipel.dev/v1\nkind: ClusterSet\nmetadata: {name: s}\n";
    let flaws = Scenario::of_objects(text, "").unwrap_err();
    let flaws: Vec<String> = flaws.iter().map(Flaw::to_string).collect();
    assert!(
        flaws[0].starts_with("2: kind: Unsupported value: \"CostBudgets\": the kinds of archipel.dev are ChangeBudget, "),
        "{flaws:?}"
    );
    assert_eq!(
        flaws[1..],
        [
            "5: apiVersion: Unsupported value: \"archipel.dev/v1\": supported values: \"archipel.dev/v1alpha1\""
        ]
    );
}

#[test]
fn objects_are_read_as_the_hub_stores_them() {
    let text = r#"
kind: PlacementPolicy
metadata: {name: web-eu, namespace: shop}
spec:
  selectors: [{apiVersion: apps/v1, kind: Deployment}]
  residency: {jurisdictions: [EU]}
  replicas: {mode: Divided, division: Room}
---
kind: MemberCluster
metadata: {name: eks-eu-west-1-a, labels: {tier: prod}}
spec: {provider: eks, region: eu-west-1, zones: [eu-west-1a], jurisdiction: EU}
status:
  conditions: [{type: Ready, status: "True"}]
  version: v1.36.3
  apis: [apps/v1/Deployment]
  shapes: [{type: m6i.xlarge, zone: eu-west-1a, count: 3, allocatable: {cpu: "4", memory: 16Gi, pods: "58"}, free: [{cpu: "1", memory: 2Gi, pods: "40", nodes: 2}]}]
---
kind: MemberCluster
metadata: {name: gke-us}
spec: {provider: gke, region: us-east1, jurisdiction: US}
status:
  conditions: [{type: Ready, status: "True"}]
  apis: [apps/v1/Deployment]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {replicas: 2, template: {spec: {containers: [{name: a, resources: {requests: {cpu: 500m, memory: 1Gi}}}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
"#;
    let answers = Scenario::of_objects(text, "2026-11-21").unwrap().answers();
    let placement = answers[0].placement.as_ref().unwrap();
    assert_eq!(placement["kind"], "Placement");
    assert_eq!(
        placement["metadata"],
        serde_json::json!({"name": "deployment-web", "namespace": "shop"})
    );
    assert_eq!(placement["spec"]["clusters"][0]["name"], "eks-eu-west-1-a");
    assert_eq!(placement["spec"]["clusters"][0]["replicas"], 2);
    assert_eq!(placement["spec"]["clusters"].as_array().unwrap().len(), 1);
    assert_eq!(
        placement["spec"]["policyRef"],
        serde_json::json!({"kind": "PlacementPolicy", "name": "web-eu"})
    );
    assert_eq!(placement["status"]["decisions"][0]["clusterName"], "eks-eu-west-1-a");
    assert_eq!(answers[1].placement, None);
    assert_eq!(
        answers[1].note,
        "ConfigMap shop/settings is claimed by no placement policy: it stays on the hub"
    );

    let gkee = text.replace("provider: gke,", "provider: gkee,");
    let flaws = Scenario::of_objects(&gkee, "2026-11-21").unwrap_err();
    let fields: Vec<(Option<usize>, &str)> =
        flaws.iter().map(|it| (it.line, it.field.as_str())).collect();
    assert_eq!(fields, [(Some(20), "spec.provider")]);

    let flaws = Scenario::of_objects("kind: MemberCluster\nmetadata: {name: a}\nspec:\n  provider: eks\n---\nkind: PlacementPolicy\nmetadata: {name: p}\nspec:\n  selectors: [{apiVersion: apps/v1, kind: Deployment}]\n  near:\n  - {service: x, maxLatency: 3}\n", "").unwrap_err();
    let flaws: Vec<String> = flaws.iter().map(Flaw::to_string).collect();
    assert_eq!(flaws, ["11: spec.near[0].maxLatency: Unknown field: is `maxLatencyMs` meant?"]);
}

#[test]
fn two_clusters_of_one_name_are_an_error_at_the_second() {
    let text = "clusters:\n- {name: a}\n- {name: b}\n- {name: a}\nworkload: {apiVersion: v1, kind: ConfigMap, metadata: {name: x}}\n";
    let flaws = Scenario::parse(text).unwrap_err();
    let flaws: Vec<String> = flaws.iter().map(Flaw::to_string).collect();
    assert_eq!(flaws, ["4: clusters[2].name: Duplicate value: \"a\""]);
    let member = "kind: MemberCluster\nmetadata: {name: a}\nspec: {provider: eks}\n";
    let flaws = Scenario::of_objects(&format!("{member}---\n{member}"), "").unwrap_err();
    let flaws: Vec<String> = flaws.iter().map(Flaw::to_string).collect();
    assert_eq!(flaws, ["6: metadata.name: Duplicate value: \"a\""]);
}
