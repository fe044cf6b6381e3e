//! Seconds from a `Plan` review to its answer: an edit of the one policy that claims 10,000 Deployments of 100 replicas,
//! in a fleet of 1,000 clusters. The edit takes a third of the clusters away.
//!
//! The API is played by a few lines that answer what a plan asks of it (discovery, the object as it stands, its dry-run
//! apply, the caller's rights); everything behind it is the controller's own: the copy of the index, the passes to their
//! end, the comparison, the checks, the answer as JSON.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use federation_types::{
    budget::ChangeBudgetSpec,
    cluster::{FreeNodes, MemberCluster, MemberClusterSpec, MemberClusterStatus, NodeShape},
    condition::Condition,
    names::{API_VERSION, COPIES_FINALIZER, Gvk, ObjectKey, placement_name},
    placement::{
        CopyState, CopyStatus, PlacedCluster, PlacementSpec, PlacementStatus, TemplateRef,
    },
    policy::ClusterPlacementPolicy,
    review::plan::{Action, PlanSpec, PlanStatus},
};
use http::{Method, Request, Response};
use kube::{Client, client::Body};
use placement_controller::{
    Controller,
    claim::Policy,
    gate::Budget,
    index::{KindState, Placed, Template, template_key},
};
use placement_engine::Workload;
use serde_json::{Value, json};
use tokio::time::Instant;

const CLUSTERS: usize = 1_000;
const TEMPLATES: usize = 10_000;
/// A plan lists so many templates; the store is filled by plans.
const BATCH: usize = 5_000;
const PROVIDERS: [&str; 3] = ["eks", "gke", "onprem"];

fn resources(cpu: i64, memory_gib: i64, pods: i64) -> BTreeMap<String, String> {
    [("cpu", cpu.to_string()), ("memory", format!("{memory_gib}Gi")), ("pods", pods.to_string())]
        .map(|(name, amount)| (name.to_owned(), amount))
        .into()
}

fn cluster(at: usize) -> MemberCluster {
    let shapes = [(4, 16, 58), (8, 32, 58), (16, 64, 110), (8, 64, 110)].iter().enumerate();
    let shapes = shapes.map(|(n, (cpu, memory, pods))| {
        let nodes = 40 + i64::try_from((at * 7 + n * 13) % 30).unwrap_or(0);
        let all = resources(*cpu, *memory, *pods);
        NodeShape {
            instance_type: format!("type-{n}"),
            count: nodes,
            free: vec![FreeNodes { nodes, resources: all.clone() }],
            allocatable: all,
            ..NodeShape::default()
        }
    });
    let spec = MemberClusterSpec {
        provider: PROVIDERS[at % 3].to_owned(),
        region: format!("region-{}", at % 50),
        accepted: true,
        ..MemberClusterSpec::default()
    };
    let mut member = MemberCluster::new(&name(at), spec);
    member.status = Some(MemberClusterStatus {
        uid: format!("uid-{at}"),
        apis: vec!["apps/v1/Deployment".to_owned()],
        shapes: shapes.collect(),
        conditions: vec![Condition {
            kind: "Ready".to_owned(),
            status: "True".to_owned(),
            ..Condition::default()
        }],
        ..MemberClusterStatus::default()
    });
    member
}

fn name(at: usize) -> String {
    format!("member-{at:05}")
}

/// The policy as it stands, and as the edit leaves it.
fn policy(providers: &[&str], generation: i64) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "ClusterPlacementPolicy",
        "metadata": {"name": "apps", "uid": "apps", "generation": generation},
        "spec": {
            "selectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
            "affinities": [{"clusters": {"providers": providers}}],
            "spread": [{"topologyKey": "cluster", "min": 2, "max": 5}],
            "replicas": {"mode": "Divided", "division": "Room"},
        },
    })
}

fn key(at: usize) -> ObjectKey {
    let gvk = Gvk::new("apps/v1", "Deployment");
    template_key(&gvk, &format!("team-{}", at % 40), &format!("app-{at:05}"))
}

fn template(at: usize) -> Template {
    let key = key(at);
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": key.name, "namespace": key.namespace, "labels": {"app": key.name}},
        "spec": {
            "replicas": 100,
            "selector": {"matchLabels": {"app": key.name}},
            "template": {
                "metadata": {"labels": {"app": key.name}},
                "spec": {"containers": [{
                    "name": "app", "image": "registry.example/app:1",
                    "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}},
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                }]},
            },
        },
    });
    Template {
        api_version: "apps/v1".to_owned(),
        uid: key.name.to_string(),
        generation: 1,
        resource_version: "1".to_owned(),
        labels: BTreeMap::from([("app".to_owned(), key.name.to_string())]),
        secret_type: String::new(),
        deleting: false,
        finalizers: vec![COPIES_FINALIZER.to_owned()],
        approved: String::new(),
        workload: Workload::from_template(&object),
        bounds: None,
        content: object.to_string().into_boxed_str(),
    }
}

/// The Placement that a plan foretells, as it stands once all of it runs.
fn placed(template: &Template, clusters: &[(String, Option<i64>)]) -> Placed {
    let key = &template.workload.key;
    let content = serde_json::from_str(&template.content).unwrap_or_default();
    let revision = syncer_render::revision::content_hash(&content, &[], None);
    let copies = clusters.iter().map(|(name, replicas)| CopyStatus {
        name: name.clone(),
        state: CopyState::Ready,
        replicas: *replicas,
        ready_replicas: *replicas,
        revision: revision.clone(),
        ..CopyStatus::default()
    });
    let status = PlacementStatus {
        observed_generation: Some(1),
        clusters: copies.collect(),
        ..PlacementStatus::default()
    };
    let clusters = clusters.iter().map(|(name, replicas)| PlacedCluster {
        name: name.clone(),
        replicas: *replicas,
        revision: revision.clone(),
        ..PlacedCluster::default()
    });
    let mut spec = PlacementSpec {
        template: TemplateRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: key.name.to_string(),
            uid: template.uid.clone(),
            generation: 1,
        },
        divided: true,
        clusters: clusters.collect(),
        ..PlacementSpec::default()
    };
    spec.outcome.status = "True".to_owned();
    spec.outcome.reason = "Placed".to_owned();
    Placed {
        name: placement_name(&key.gvk, &key.name),
        uid: String::new(),
        generation: 1,
        resource_version: "2".to_owned(),
        spec,
        status,
    }
}

/// What a plan asks of the hub's API, answered: the policy stands as `before`, and an apply of it comes to `after`.
fn api(before: &Value, after: &Value) -> Client {
    let (before, after) = (before.clone(), after.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (before, after) = (before.clone(), after.clone());
        async move {
            let (parts, body) = request.into_parts();
            let sent = body.collect_bytes().await.unwrap_or_default();
            let answer = match (&parts.method, parts.uri.path()) {
                (&Method::GET, "/apis/apps/v1") => served("apps/v1", "deployments", "Deployment"),
                (&Method::GET, "/apis/archipel.dev/v1alpha1") => {
                    served(API_VERSION, "clusterplacementpolicies", "ClusterPlacementPolicy")
                }
                (&Method::POST, _) => {
                    let mut review: Value = serde_json::from_slice(&sent).unwrap_or_default();
                    review["status"] = json!({"allowed": true});
                    review
                }
                (&Method::PATCH, _) => after,
                _ => before,
            };
            Ok::<_, Infallible>(Response::new(Body::from(answer.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

fn served(group_version: &str, name: &str, kind: &str) -> Value {
    json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": [
        {"name": name, "singularName": "", "namespaced": kind == "Deployment", "kind": kind,
         "verbs": ["get", "list", "patch", "create"]},
    ]})
}

async fn ask(controller: &Controller, before: &Value, after: &Value) -> PlanStatus {
    let spec = PlanSpec { objects: vec![after.clone()], ..PlanSpec::default() };
    let client = api(before, after);
    controller.plan(&client, &spec).await.expect("the played API refuses nothing")
}

fn hub() -> Arc<Controller> {
    let controller = Controller::new();
    let mut index = controller.index();
    for at in 0..CLUSTERS {
        index.set_cluster(&name(at), Some(cluster(at)));
    }
    let spec = ChangeBudgetSpec {
        window: "10m".to_owned(),
        min_removals: 20,
        removal_percent: 10,
        ..ChangeBudgetSpec::default()
    };
    index.budgets.insert("default".to_owned(), Budget { spec, ..Budget::default() });
    let state = KindState { version: "v1".to_owned(), synced: true, missing: false };
    index.kinds.insert(("apps".into(), "Deployment".into()), state);
    drop(index);
    controller
}

/// Templates with their Placements, decided by the passes of plans.
async fn fill(controller: &Controller) {
    let object = policy(&PROVIDERS, 1);
    for from in (0..TEMPLATES).step_by(BATCH) {
        for at in from..TEMPLATES.min(from + BATCH) {
            controller.index().set_template(key(at), Some(Arc::new(template(at))));
        }
        // Any edit makes it decide on all that it claims.
        let mut edited = object.clone();
        edited["spec"]["priority"] = (from + 1).into();
        edited["metadata"]["generation"] = (from + 1).into();
        let plan = ask(controller, &object, &edited).await;
        let mut index = controller.index();
        for change in plan.templates {
            let (namespace, name) = (&change.template.namespace, &change.template.name);
            let added = change.changes.iter().filter(|it| it.action == Action::Add);
            let clusters: Vec<_> =
                added.map(|it| (it.cluster.clone(), it.replicas_after)).collect();
            let key = template_key(&Gvk::new("apps/v1", "Deployment"), namespace, name);
            let template = Arc::clone(&index.templates[&key]);
            let placed = placed(&template, &clusters);
            if let Some(cluster) = placed.spec.clusters.first() {
                let revision = format!("{}-{}", placed.name, cluster.revision);
                index.set_revision(namespace, &revision, Some(1));
            }
            index.set_placement(key, Some(placed));
        }
    }
    let policy: ClusterPlacementPolicy =
        serde_json::from_value(object).expect("the policy above can be read");
    let mut index = controller.index();
    index.set_policy((String::new(), "apps".to_owned()), Some(Policy::from(&policy)));
    index.dirty.clear();
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
async fn main() {
    let begin = Instant::now();
    let controller = hub();
    fill(&controller).await;
    let copies = controller.index().copies;
    println!(
        "{TEMPLATES} templates with {copies} copies on {CLUSTERS} clusters, planned in {} ms",
        begin.elapsed().as_millis()
    );
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let begin = Instant::now();
        let plan = ask(&controller, &policy(&PROVIDERS, 1), &policy(&PROVIDERS[..2], 2)).await;
        let answer = serde_json::to_vec(&plan).expect("a plan can be written as JSON");
        let took = begin.elapsed();
        best = best.min(took);
        let it = &plan.summary;
        println!(
            "{} ms: {} templates, {} added, {} resized, {} removed ({} wait), {} unmet, {} KiB of JSON",
            took.as_millis(),
            it.templates,
            it.add,
            it.resize,
            it.remove,
            it.held,
            it.unmet,
            answer.len() / 1024
        );
    }
    let seconds = format!("{}.{:03}", best.as_secs(), best.subsec_millis());
    let seconds: serde_json::Number = seconds.parse().unwrap_or_else(|_| 0.into());
    println!("{}", json!({"bench": "plan", "figures": {"plan_10k_s": seconds}}));
}
