//! Changes that are looked at before they are made: plans, approvals, what-ifs, the optimum (RULES 1.1, 3.4).

use std::path::{Path, PathBuf};

use federation_tests::{CommandOutput, wait};
use serde_json::{Value, json};

use crate::fleet::{Fleet, SOON, clusters, deployment, get, placed_is, policy, replicas};

/// Where the files of a story are kept.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.file(name), text).unwrap();
        self.file(name)
    }

    /// The answer in a plan that was kept.
    fn answer(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.file(name)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["status"].clone()
    }
}

/// `archipel plan -f FILE --out OUT --detailed-exitcode`
async fn plan(fleet: &Fleet, file: &Path, out: &Path) -> CommandOutput {
    let (file, out) = (file.display().to_string(), out.display().to_string());
    fleet.hub.archipel(&["plan", "-f", &file, "--out", &out, "--detailed-exitcode"]).await
}

async fn apply(fleet: &Fleet, plan: &Path) -> CommandOutput {
    fleet.hub.archipel(&["apply", &plan.display().to_string()]).await
}

/// What a plan says of one template: `cluster action before→after`, a line each.
fn changes(answer: &Value, name: &str) -> String {
    let templates = answer["templates"].as_array().into_iter().flatten();
    let of_it = templates.filter(|it| it["template"]["name"] == name);
    let lines: Vec<String> = of_it
        .flat_map(|it| it["changes"].as_array().into_iter().flatten())
        .map(|it| {
            let cluster = it["cluster"].as_str().unwrap_or_default();
            let action = it["action"].as_str().unwrap_or_default().to_lowercase();
            let number = |field: &str| it[field].as_i64().unwrap_or(0);
            format!("{cluster} {action} {}→{}", number("replicasBefore"), number("replicasAfter"))
        })
        .collect();
    lines.join("\n")
}

pub(super) async fn a_plan_says_what_its_application_then_does(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    let desk = Desk::new();
    fleet.begin("plans").await;
    let on = |cluster: &str| {
        policy("plans", "web", &format!("  affinities: [{{clusters: {{names: [{cluster}]}}}}]"))
    };
    let both =
        desk.write("both.yaml", &format!("{}{}", on("eks-1"), deployment("plans", "web", 2)));
    let first = desk.file("first.plan");
    let planned = plan(fleet, &both, &first).await;
    assert_eq!(planned.code, Some(2), "something would change: {planned:?}");
    assert_eq!(changes(&desk.answer("first.plan"), "web"), "eks-1 add 0→2", "{planned:?}");
    assert!(planned.stdout.contains("eks-1"), "{}", planned.stdout);
    assert_eq!(fleet.get(&["deploy", "web", "-n", "plans"]).await, None, "a plan changes nothing");
    let applied = apply(fleet, &first).await;
    assert!(applied.success(), "{applied:?}");
    fleet.placed("plans", "deployment-web", "eks-1=2").await;

    // Worked out from what is no longer so: refused, and nothing is changed.
    let moved = desk.write("moved.yaml", &on("gke-1"));
    let stale = desk.file("stale.plan");
    assert_eq!(plan(fleet, &moved, &stale).await.code, Some(2));
    kubectl.ok(["scale", "deploy/web", "-n", "plans", "--replicas=3"]).await;
    fleet.placed("plans", "deployment-web", "eks-1=3").await;
    let refused = apply(fleet, &stale).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("out of date"), "{}", refused.stderr);
    let kept = fleet.get(&["placementpolicy", "web", "-n", "plans"]).await.unwrap();
    assert_eq!(kept["spec"]["affinities"][0]["clusters"]["names"], json!(["eks-1"]));

    // An event says so where one would look.
    let told = fleet.get(&["events", "-n", "plans"]).await.unwrap();
    let told: Vec<String> = told["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| format!("{} {}", it["reason"], it["involvedObject"]["kind"]).replace('"', ""))
        .collect();
    for expected in
        ["PlanApplied Deployment", "PlanApplied PlacementPolicy", "PlanOutOfDate PlacementPolicy"]
    {
        assert!(told.iter().any(|it| it == expected), "{expected}: {told:?}");
    }

    let fresh = desk.file("fresh.plan");
    assert_eq!(plan(fleet, &moved, &fresh).await.code, Some(2));
    let mut said: Vec<_> =
        changes(&desk.answer("fresh.plan"), "web").lines().map(str::to_owned).collect();
    said.sort();
    assert_eq!(said, ["eks-1 remove 3→0", "gke-1 add 0→3"]);
    // One that somebody has edited is refused, whatever it says.
    let text = std::fs::read_to_string(&fresh).unwrap();
    let edited = desk.write("edited.plan", &text.replace(r#""remove": 1"#, r#""remove": 0"#));
    let refused = apply(fleet, &edited).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("is not as it was written"), "{}", refused.stderr);
    let applied = apply(fleet, &fresh).await;
    assert!(applied.success(), "{applied:?}");
    fleet.placed("plans", "deployment-web", "gke-1=3").await;
    fleet.leaves("eks-1", &["deploy", "web", "-n", "plans"]).await;

    let again = plan(fleet, &moved, &desk.file("again.plan")).await;
    assert_eq!(again.code, Some(0), "nothing would change: {again:?}");
    assert!(again.stdout.contains("No changes."), "{}", again.stdout);
    let broken = desk.write("broken.yaml", &on("gke-1").replace("affinities", "afinities"));
    let broken = plan(fleet, &broken, &desk.file("broken.plan")).await;
    assert_eq!(broken.code, Some(1), "{broken:?}");
    assert!(broken.stderr.contains("afinities"), "the field is named: {}", broken.stderr);
    let empty = desk.write("empty.yaml", "# nothing yet\n");
    let empty = plan(fleet, &empty, &desk.file("empty.plan")).await;
    assert!(
        empty.code == Some(1) && empty.stderr.contains("empty.yaml holds no object"),
        "{empty:?}"
    );
    fleet.end("plans").await;
}

pub(super) async fn a_plan_says_what_is_in_the_way(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    let desk = Desk::new();
    fleet.begin("checks").await;
    let both = "  affinities: [{clusters: {names: [eks-1, gke-1]}}]\n  replicas: {mode: Divided}";
    kubectl.apply(&policy("checks", "web", both)).await;
    kubectl.apply(&deployment("checks", "web", 2)).await;
    fleet.placed("checks", "deployment-web", "eks-1=1 gke-1=1").await;
    // An override of one cluster that cannot be carried out there, and an object that a LimitRange does not take.
    kubectl
        .apply(
            &json!({
                "apiVersion": "v1", "kind": "LimitRange",
                "metadata": {"name": "small", "namespace": "checks", "annotations": {"archipel.dev/hub": "Active"}},
                "spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]},
            })
            .to_string(),
        )
        .await;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "checks"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    });
    let rule = json!({
        "apiVersion": "archipel.dev/v1alpha1", "kind": "OverridePolicy",
        "metadata": {"name": "web", "namespace": "checks"},
        "spec": {
            "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}],
            "rules": [{"clusters": {"names": ["gke-1"]}, "image": [{"container": "db", "tag": "2"}]}],
        },
    });
    let file = desk.write("both.yaml", &format!("{rule}\n---\n{claim}\n"));
    let kept = desk.file("both.plan");
    let planned = plan(fleet, &file, &kept).await;
    assert_eq!(planned.code, Some(2), "{planned:?}");
    for words in [
        "✗ overrides: failed: Deployment checks/web cannot be written to gke-1: OverridePolicy checks/web rule 0: image[0]: there is no container `db`",
        "✗ limitRange: failed: PersistentVolumeClaim checks/data: ",
    ] {
        assert!(planned.stdout.contains(words), "{words}: {}", planned.stdout);
    }
    assert_eq!(changes(&desk.answer("both.plan"), "web"), "gke-1 update 1→1");
    let refused = apply(fleet, &kept).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("nothing was changed"), "{}", refused.stderr);
    assert_eq!(fleet.get(&["overridepolicy", "web", "-n", "checks"]).await, None);
    // Without the object it is applied as it was planned, with a warning; and so it comes.
    let file = desk.write("rule.yaml", &rule.to_string());
    let kept = desk.file("rule.plan");
    assert_eq!(plan(fleet, &file, &kept).await.code, Some(2));
    let applied = apply(fleet, &kept).await;
    assert!(applied.success(), "{applied:?}");
    assert!(applied.stderr.contains("warning: check overrides fails"), "{}", applied.stderr);
    let args = ["placement", "deployment-web", "-n", "checks"];
    fleet
        .shows("the copy without its override", &args, |it| {
            let copy = crate::fleet::copy(it, "gke-1").unwrap_or(&Value::Null);
            crate::fleet::seen(copy["reason"] == "RenderFailed", copy)
        })
        .await;
    fleet.end("checks").await;
}

/// A StatefulSet of one replica.
fn database() -> String {
    deployment("approved", "db", 1).replace("kind: Deployment", "kind: StatefulSet").replace(
        "  replicas: 1",
        "  replicas: 1\n  serviceName: db\n  updateStrategy: {type: RollingUpdate}",
    )
}

pub(super) async fn a_statefulset_moves_by_an_approved_plan(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    let desk = Desk::new();
    fleet.begin("approved").await;
    let on = |cluster: &str| {
        policy("approved", "db", &format!("  affinities: [{{clusters: {{names: [{cluster}]}}}}]"))
            .replace("kind: Deployment", "kind: StatefulSet")
    };
    // As `archipel apply` writes, so that it may change it later.
    let server_side = ["apply", "--server-side", "--field-manager=archipel-apply", "-f", "-"];
    let written = kubectl.run_with(&on("eks-1"), server_side).await;
    assert!(written.success(), "{written:?}");
    kubectl.apply(&database()).await;
    let db = ["statefulset", "db", "-n", "approved"];
    let placement = ["placement", "statefulset-db", "-n", "approved"];
    fleet.placed("approved", "statefulset-db", "eks-1=1").await;
    let args = ["rollout", "status", "statefulset/db", "-n", "approved", "--timeout=60s"];
    kubectl.ok(args).await;

    let written = kubectl.run_with(&on("gke-1"), server_side).await;
    assert!(written.success(), "{written:?}");
    let held = fleet
        .shows("the move that waits", &placement, |it| placed_is(it, "False", "NeedsApproval"))
        .await;
    assert_eq!(clusters(&held), "eks-1", "{}", held["spec"]);
    // Without a file: what waits for an approval.
    let out = desk.file("moves.plan").display().to_string();
    let planned = fleet.hub.archipel(&["plan", "--out", &out, "--detailed-exitcode"]).await;
    assert_eq!(planned.code, Some(2), "{planned:?}");
    let said = changes(&desk.answer("moves.plan"), "db");
    assert!(said.contains("gke-1 add 0→1") && said.contains("eks-1 remove 1→0"), "{said}");
    assert_eq!(get(&fleet.on("gke-1"), &db).await, None);
    let applied = apply(fleet, &desk.file("moves.plan")).await;
    assert!(applied.success(), "{applied:?}");
    fleet.placed("approved", "statefulset-db", "gke-1=1").await;
    fleet.leaves("eks-1", &db).await;

    // The approval was for that move. A plan of the policy that makes the next one due carries the next one's.
    let back = desk.write("back.yaml", &on("eks-1"));
    let planned = plan(fleet, &back, &desk.file("back.plan")).await;
    assert_eq!(planned.code, Some(2), "{planned:?}");
    assert!(planned.stdout.contains("approval"), "{}", planned.stdout);
    let applied = apply(fleet, &desk.file("back.plan")).await;
    assert!(applied.success(), "{applied:?}");
    fleet.placed("approved", "statefulset-db", "eks-1=1").await;
    fleet.leaves("gke-1", &db).await;
    fleet.end("approved").await;
}

pub(super) async fn what_if_and_optimise_change_nothing(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    fleet.begin("whatif").await;
    let prod = "  affinities: [{clusters: {names: [eks-1, gke-1]}}]";
    let divided = format!("{prod}\n  replicas: {{mode: Divided}}");
    let cheapest = format!("{prod}\n  replicas: {{mode: Divided, division: Cheapest}}");
    kubectl.apply(&policy("whatif", "web", &divided)).await;
    kubectl.apply(&policy("whatif", "thrifty", &cheapest)).await;
    kubectl.apply(&deployment("whatif", "web", 4)).await;
    kubectl.apply(&deployment("whatif", "thrifty", 2)).await;
    fleet.placed("whatif", "deployment-web", "eks-1=2 gke-1=2").await;
    let args = ["placement", "deployment-thrifty", "-n", "whatif"];
    let thrifty = fleet.shows("thrifty placed", &args, |it| placed_is(it, "True", "Placed")).await;

    let lost = fleet.hub.archipel_ok(&["whatif", "--down", "gke-1", "-o", "json"]).await;
    let lost: Value = serde_json::from_str(&lost).unwrap();
    assert_eq!(lost["down"], json!(["gke-1"]), "{lost}");
    let said = changes(&lost["plan"], "web");
    assert!(said.contains("eks-1 resize 2→4"), "the other takes it over: {said}\n{lost}");
    let text = fleet.hub.archipel_ok(&["whatif", "--down", "region=europe-west3"]).await;
    assert!(text.contains("down: gke-1") && text.contains("Nothing was changed."), "{text}");
    // With both gone, what may only be there has no place.
    let all = ["whatif", "--down", "eks-1", "--down", "gke-1", "-o", "json"];
    let all: Value = serde_json::from_str(&fleet.hub.archipel_ok(&all).await).unwrap();
    assert!(!changes(&all["plan"], "web").contains("add"), "{all}");
    let unknown = fleet.hub.archipel(&["whatif", "--down", "nowhere"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.stderr.contains("nowhere"), "{unknown:?}");

    let optimum = fleet.hub.archipel_ok(&["optimise", "--time", "1s", "-o", "json"]).await;
    let optimum: Value = serde_json::from_str(&optimum).unwrap();
    let left_out = optimum["leftOut"].as_array().cloned().unwrap_or_default();
    assert!(
        left_out.iter().any(|it| it["template"] == "Deployment whatif/web"),
        "what may not move is named: {optimum}"
    );
    let text = fleet.hub.archipel_ok(&["optimise", "--time", "1s"]).await;
    assert!(text.contains("workload"), "{text}");
    let after = fleet.get(&args).await.unwrap();
    assert_eq!(replicas(&after), replicas(&thrifty), "nothing moved");
    fleet.placed("whatif", "deployment-web", "eks-1=2 gke-1=2").await;
    fleet.end("whatif").await;
}

/// Cents from dollars in decimals.
fn cents(usd: &Value) -> i64 {
    usd.as_str().unwrap().replace('.', "").parse().unwrap()
}

pub(super) async fn an_optimise_plan_is_carried_out_at_the_cost_it_said(fleet: &mut Fleet) {
    let kubectl = fleet.kubectl();
    let desk = Desk::new();
    fleet.begin("optimum").await;
    // What runs in eks-1 costs its part of nodes that come and go; gke-1 has room that is paid for anyway.
    fleet.patch_member("eks-1", &json!({"autoscaled": true})).await;
    let cheapest = |clusters: &str| {
        let rest = format!(
            "  affinities: [{{clusters: {{names: [{clusters}]}}}}]\n  replicas: {{mode: Divided, division: Cheapest}}"
        );
        policy("optimum", "thrifty", &rest)
    };
    kubectl.apply(&cheapest("eks-1")).await;
    kubectl.apply(&deployment("optimum", "thrifty", 3)).await;
    fleet.placed("optimum", "deployment-thrifty", "eks-1=3").await;
    kubectl.apply(&cheapest("eks-1, gke-1")).await;
    // A wider choice moves nothing by itself (RULES 1.2, 3.2).
    let args = ["placementpolicy", "thrifty", "-n", "optimum"];
    fleet
        .shows("the wider policy", &args, |it| {
            let seen =
                it["status"]["conditions"][0]["observedGeneration"] == it["metadata"]["generation"];
            crate::fleet::seen(seen, &it["status"])
        })
        .await;
    fleet.placed("optimum", "deployment-thrifty", "eks-1=3").await;

    let out = desk.file("optimum.plan").display().to_string();
    let optimise = ["optimise", "--time", "5s", "--out", &out, "--detailed-exitcode"];
    // What other stories leave behind may still be on its way, and makes a plan out of date.
    wait::until("the plan applied", SOON, async || {
        let found = fleet.hub.archipel(&optimise).await;
        assert_eq!(found.code, Some(2), "something would move: {found:?}");
        let applied = apply(fleet, &desk.file("optimum.plan")).await;
        if applied.success() { Ok(()) } else { Err(applied.stderr) }
    })
    .await;
    let answer = desk.answer("optimum.plan");
    let said = changes(&answer, "thrifty");
    assert_eq!(said, "eks-1 remove 3→0\ngke-1 add 0→3", "{answer}");
    fleet.placed("optimum", "deployment-thrifty", "gke-1=3").await;
    let deploy = ["deploy", "thrifty", "-n", "optimum"];
    let copy = fleet.arrives("gke-1", &deploy).await;
    assert_eq!(copy["spec"]["replicas"], 3);
    fleet.leaves("eks-1", &deploy).await;

    let templates = answer["templates"].as_array().unwrap();
    let planned = templates.iter().find(|it| it["template"]["name"] == "thrifty").unwrap();
    let expected = (planned["cost"]["afterMicros"].as_i64().unwrap() + 5_000) / 10_000;
    assert!(expected > 0, "{planned}");
    wait::until("the cost that was said", SOON, async || {
        let cost = fleet.hub.archipel_ok(&["cost", "-n", "optimum", "-o", "json"]).await;
        let cost: Value = serde_json::from_str(&cost).unwrap();
        let of = |side: &str| cents(&cost["total"][side]["monthlyUsd"]);
        let same = of("estimate") == expected && of("realised") == expected;
        crate::fleet::seen(same, &cost["total"]).map_err(|it| format!("{expected}: {it}"))
    })
    .await;
    // It is where it costs least: of this one there is nothing more to move.
    let again = fleet.hub.archipel(&optimise).await;
    assert!(
        again.code == Some(0) || changes(&desk.answer("optimum.plan"), "thrifty").is_empty(),
        "{again:?}"
    );
    fleet.patch_member("eks-1", &json!({"autoscaled": false})).await;
    fleet.end("optimum").await;
}
