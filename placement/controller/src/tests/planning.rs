//! What the tests of plans share: edits of what a [`World`] holds, the plan of them, and its lines.

use std::fmt::Write as _;

use federation_types::{
    names::API_VERSION,
    review::plan::{Move, ObjectRef, PlanStatus},
};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::world::{World, key};
use crate::{
    approval::Approvals,
    overlay,
    plan::{Edit, work_out},
};

pub(super) fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

pub(super) fn edit(after: Value) -> Edit {
    let after = object(after);
    let types = after.types.clone().unwrap();
    let reference = ObjectRef {
        api_version: types.api_version,
        kind: types.kind,
        namespace: after.metadata.namespace.clone().unwrap_or_default(),
        name: after.metadata.name.clone().unwrap(),
    };
    Edit { object: reference, before: None, after: Some(after), refused: None }
}

pub(super) fn policy_edit(generation: i64, mut spec: Value) -> Edit {
    if spec.get("selectors").is_none() {
        spec["selectors"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment"}]);
    }
    edit(json!({
        "apiVersion": API_VERSION, "kind": "PlacementPolicy",
        "metadata": {"name": "web", "namespace": "shop", "uid": "web", "generation": generation},
        "spec": spec,
    }))
}

pub(super) fn on(clusters: &[&str]) -> Value {
    json!({"affinities": [{"clusters": {"names": clusters}}], "spread": [{"topologyKey": "cluster", "min": 1}],
           "replicas": {"mode": "Divided", "division": "Weighted"}})
}

/// A template as it stands, with other replicas or another image.
pub(super) fn template_edit(world: &World, name: &str, replicas: i64, image: &str) -> Option<Edit> {
    let template = world.index.templates.get(&key(name))?;
    let mut content: Value = serde_json::from_str(&template.content).unwrap();
    content["spec"]["replicas"] = replicas.into();
    content["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    content["metadata"]["uid"] = template.uid.clone().into();
    content["metadata"]["generation"] = (template.generation + 1).into();
    content["metadata"]["finalizers"] = template.finalizers.clone().into();
    (!template.deleting).then(|| edit(content))
}

pub(super) fn member_edit(world: &World, name: &str, taint: Option<&str>) -> Option<Edit> {
    let mut member = (**world.index.clusters.get(name)?).clone();
    member.spec.taints.clear();
    let mut value = serde_json::to_value(&member).unwrap();
    if let Some(effect) = taint {
        value["spec"]["taints"] = json!([{"key": "x", "effect": effect}]);
    }
    Some(edit(value))
}

pub(super) fn plan(world: &World, edits: &[Edit]) -> PlanStatus {
    let index = world.index.clone();
    work_out(index, edits, &[], Approvals::All, world.now).unwrap().finish(edits, &|_, _| true)
}

/// A Deployment that is to run elsewhere.
pub(super) fn chosen(name: &str, to: &[(&str, i64)]) -> [Move; 1] {
    let template = ObjectRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: name.into(),
    };
    [Move { template, to: to.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect() }]
}

pub(super) fn plan_moves(world: &World, moves: &[Move]) -> PlanStatus {
    let index = world.index.clone();
    work_out(index, &[], moves, Approvals::All, world.now).unwrap().finish(&[], &|_, _| true)
}

/// Does what applying the plan does: the objects and the approvals.
pub(super) fn apply(world: &mut World, edits: &[Edit], plan: &PlanStatus) {
    for edit in edits {
        match &edit.after {
            Some(after) => overlay::put(&mut world.index, after).unwrap(),
            None => overlay::take(&mut world.index, &edit.object).unwrap(),
        }
    }
    for it in plan.templates.iter().filter(|it| !it.approval.is_empty()) {
        let name = format!("{}/{}", it.template.kind, it.template.name);
        let approved = format!("{}/{}", it.approval, world.now);
        world.with_template(&key(&name), |it| it.approved = approved);
    }
}

pub(super) fn lines(plan: &PlanStatus) -> String {
    let mut out = String::new();
    for template in &plan.templates {
        writeln!(out, "{}", template.template).unwrap();
        for it in &template.changes {
            let n = |it: Option<i64>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let (before, after) = (n(it.replicas_before), n(it.replicas_after));
            writeln!(
                out,
                "  {:?} {} {before} → {after} {} {}",
                it.action, it.cluster, it.cause, it.held
            )
            .unwrap();
        }
        if !template.unmet.is_empty() {
            writeln!(out, "  ! {}: {}", template.reason, template.unmet).unwrap();
        }
    }
    for it in plan.checks.iter().filter(|it| !it.message.is_empty()) {
        writeln!(out, "{}: {:?}: {}", it.name, it.result, it.message).unwrap();
    }
    out
}
