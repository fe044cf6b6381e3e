//! Asks the hub, as the caller, what the objects of a plan stand for, and what the caller may read.

use std::{collections::BTreeMap, sync::Arc};

use federation_types::{
    names::{Gvk, ObjectKey},
    reason::admission,
    review::plan::{Move, ObjectRef, PlanSpec, PlanStatus, Refused},
    selector::TemplateSelector,
};
use kube::{
    Client,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::Status,
    discovery::Scope,
};
use parking_lot::Mutex;
use placement_engine::dependencies;
use serde_json::Value;

use super::{Edit, work_out};
use crate::{
    approval::Approvals,
    caller::{Kinds, PlanError, may_get, refused},
    clock,
    index::{Index, KindKey, template_key},
    overlay,
};

/// More objects than this are not planned at once.
const OBJECTS: usize = 1_000;
/// With more templates than this a dry run of one write is not planned.
const PREVIEWED: usize = 2_000;
/// The field manager of what is applied with a plan.
pub(crate) const MANAGER: &str = "archipel-apply";

tokio::task_local! {
    /// Set while a plan asks the API what objects would become: those dry runs need no plan of their own.
    static PLANNING: ();
}

/// Plans what the caller asks for.
pub(crate) async fn plan(
    index: &Mutex<Index>,
    caller: &Client,
    spec: &PlanSpec,
) -> Result<PlanStatus, PlanError> {
    PLANNING.scope((), Box::pin(planned(index, caller, spec))).await
}

/// What a single write would do, for who tries it out; none while a plan is being made. Of a namespaced object only what
/// happens in its own namespace is told.
pub(crate) fn preview(index: &Mutex<Index>, object: &Value) -> Option<PlanStatus> {
    if PLANNING.try_with(|()| ()).is_ok() {
        return None;
    }
    let after: DynamicObject = serde_json::from_value(object.clone()).ok()?;
    let types = after.types.clone()?;
    let namespace = after.metadata.namespace.clone().unwrap_or_default();
    let object = ObjectRef {
        api_version: types.api_version,
        kind: types.kind,
        namespace: namespace.clone(),
        name: after.metadata.name.clone()?,
    };
    let copy = {
        let index = index.lock();
        // It is worked out while the write waits: a larger hub is asked by `archipel plan`.
        (index.templates.len() <= PREVIEWED).then(|| index.clone())?
    };
    let edits = [Edit { object, before: None, after: Some(after), refused: None }];
    let draft = work_out(copy, &edits, &[], Approvals::Given, clock::now()).ok()?;
    let told = |key: &ObjectKey| namespace.is_empty() || key.namespace == namespace;
    let mut plan = draft.finish(&[], &|key, _| told(key));
    plan.notes.clear();
    (!plan.templates.is_empty()).then_some(plan)
}

async fn planned(
    index: &Mutex<Index>,
    caller: &Client,
    spec: &PlanSpec,
) -> Result<PlanStatus, PlanError> {
    let total = spec.objects.len() + spec.delete.len() + spec.moves.len();
    if total > OBJECTS {
        let message = format!("Too many: {total}: at most {OBJECTS} objects are planned at once");
        return Err(PlanError::invalid("spec.objects", message));
    }
    let mut kinds = Kinds::new(caller);
    let mut edits = Vec::new();
    for (at, object) in spec.objects.iter().enumerate() {
        let field = format!("spec.objects[{at}]");
        edits.push(supposed(&mut kinds, &field, object, spec).await?);
    }
    for (at, object) in spec.delete.iter().enumerate() {
        edits.push(deleted(&mut kinds, &format!("spec.delete[{at}]"), object).await?);
    }
    for (at, wanted) in spec.moves.iter().enumerate() {
        moved(&mut kinds, &format!("spec.moves[{at}]"), wanted).await?;
    }
    if let Some((first, again)) = twice(&edits) {
        let place = |at: usize| match at.checked_sub(spec.objects.len()) {
            None => format!("spec.objects[{at}]"),
            Some(at) => format!("spec.delete[{at}]"),
        };
        let message =
            format!("Duplicate value: {} is {} already", edits[again].object, place(first));
        return Err(PlanError::invalid(place(again), message));
    }
    let unknown = unwatched(&index.lock(), &edits);
    let listed = list(&mut kinds, unknown).await?;
    let mut copy = index.lock().clone();
    for (gvk, object) in &listed {
        overlay::put_template(&mut copy, gvk, object);
    }
    let edits = Arc::new(edits);
    let supposed = Arc::clone(&edits);
    let moves = spec.moves.clone();
    // It is worked out for as long as a second: never on a thread that answers requests.
    let draft = tokio::task::spawn_blocking(move || {
        work_out(copy, &supposed, &moves, Approvals::All, clock::now())
    })
    .await
    .map_err(|error| PlanError::Unavailable(error.to_string()))?
    .map_err(|(at, error)| {
        let kind = if at < spec.objects.len() { "objects" } else { "delete" };
        let at = if at < spec.objects.len() { at } else { at - spec.objects.len() };
        PlanError::invalid(format!("spec.{kind}[{at}].kind"), error.to_string())
    })?;
    let readable = readable(&mut kinds, draft.keys()).await?;
    Ok(draft.finish(&edits, &|key, _| readable.get(&group_of(key)).copied().unwrap_or(false)))
}

/// The object as it stands, and as it would stand once applied: defaulted, merged, admitted, and by somebody who may.
async fn supposed(
    kinds: &mut Kinds<'_>,
    field: &str,
    object: &Value,
    spec: &PlanSpec,
) -> Result<Edit, PlanError> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    for (pointer, name) in
        [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")]
    {
        if text(pointer).is_empty() {
            return Err(PlanError::invalid(format!("{field}.{name}"), "Required value"));
        }
    }
    let (resource, capabilities) =
        kinds.find(&format!("{field}.kind"), text("/apiVersion"), text("/kind")).await?;
    let mut reference = ObjectRef {
        api_version: text("/apiVersion").to_owned(),
        kind: text("/kind").to_owned(),
        name: text("/metadata/name").to_owned(),
        namespace: String::new(),
    };
    if capabilities.scope == Scope::Namespaced {
        let stated = text("/metadata/namespace");
        reference.namespace = if stated.is_empty() { "default" } else { stated }.to_owned();
    }
    let api = kinds.api(&resource, &reference.namespace);
    let before = api.get_opt(&reference.name).await.map_err(|it| refused(field, it))?;
    let mut wanted = object.clone();
    if let Some(metadata) = wanted["metadata"].as_object_mut() {
        for name in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"] {
            metadata.remove(name);
        }
        if !reference.namespace.is_empty() {
            metadata.insert("namespace".to_owned(), reference.namespace.clone().into());
        }
    }
    // A slip of the pen must not pass for a field that is left out.
    let mut parameters = PatchParams::apply(MANAGER).dry_run().validation_strict();
    parameters.force = spec.force;
    let after = match api.patch(&reference.name, &parameters, &Patch::Apply(&wanted)).await {
        Ok(after) => after,
        Err(kube::Error::Api(status)) if not_admitted(&status).is_some() => {
            let refused = not_admitted(&status);
            return Ok(Edit { object: reference, after: before.clone(), before, refused });
        }
        // Its namespace comes with the same plan.
        Err(kube::Error::Api(status))
            if status.is_not_found() && brings(&spec.objects, &reference.namespace) =>
        {
            serde_json::from_value(wanted)
                .map_err(|error| PlanError::invalid(field, error.to_string()))?
        }
        Err(error) => return Err(refused(field, error)),
    };
    Ok(Edit { object: reference, before, after: Some(after), refused: None })
}

/// What a quota or a LimitRange has against the object: it says nothing against the plan's others.
fn not_admitted(status: &Status) -> Option<Refused> {
    let causes = status.details.iter().flat_map(|it| &it.causes);
    let reason = causes.map(|it| it.reason.as_str()).find(|it| admission::ALL.contains(it))?;
    Some(Refused { reason: reason.to_owned(), message: status.message.clone() })
}

/// Two edits of one object, whatever version of its kind they are written in.
fn twice(edits: &[Edit]) -> Option<(usize, usize)> {
    let key = |it: &Edit| {
        let gvk = Gvk::new(&it.object.api_version, &it.object.kind);
        template_key(&gvk, &it.object.namespace, &it.object.name)
    };
    let mut known = BTreeMap::new();
    edits.iter().enumerate().find_map(|(at, it)| Some((known.insert(key(it), at)?, at)))
}

fn brings(objects: &[Value], namespace: &str) -> bool {
    objects.iter().any(|it| it["kind"] == "Namespace" && it["metadata"]["name"] == namespace)
}

async fn deleted(
    kinds: &mut Kinds<'_>,
    field: &str,
    object: &ObjectRef,
) -> Result<Edit, PlanError> {
    let (_, capabilities) =
        kinds.find(&format!("{field}.kind"), &object.api_version, &object.kind).await?;
    let mut object = object.clone();
    if capabilities.scope == Scope::Namespaced && object.namespace.is_empty() {
        "default".clone_into(&mut object.namespace);
    }
    let api = kinds.api_of(field, &object).await?;
    let before = api.get_opt(&object.name).await.map_err(|it| refused(field, it))?;
    if before.is_some() {
        let parameters = DeleteParams { dry_run: true, ..DeleteParams::default() };
        api.delete(&object.name, &parameters).await.map_err(|it| refused(field, it))?;
    }
    Ok(Edit { object, before, after: None, refused: None })
}

/// Whether the caller knows the template that is to move, and says where to.
async fn moved(kinds: &mut Kinds<'_>, field: &str, wanted: &Move) -> Result<(), PlanError> {
    if wanted.to.is_empty() {
        return Err(PlanError::invalid(format!("{field}.to"), "Required value"));
    }
    if let Some((name, n)) = wanted.to.iter().find(|it| *it.1 < 0) {
        let field = format!("{field}.to[{name}]");
        return Err(PlanError::invalid(field, format!("Invalid value: {n}: at least 0")));
    }
    let field = format!("{field}.template");
    let api = kinds.api_of(&field, &wanted.template).await?;
    api.get(&wanted.template.name).await.map(drop).map_err(|it| refused(&field, it))
}

/// Kinds that the supposed policies select, or have follow, and nobody watches so far, with the namespace to look in (empty: all).
fn unwatched(index: &Index, edits: &[Edit]) -> BTreeMap<KindKey, (String, String)> {
    let mut found = BTreeMap::new();
    for edit in edits.iter().filter(|it| it.object.kind.ends_with("PlacementPolicy")) {
        let Some(after) = &edit.after else { continue };
        let spec = &after.data["spec"];
        let selectors: Vec<TemplateSelector> =
            serde_json::from_value(spec["selectors"].clone()).unwrap_or_default();
        let selected = selectors.into_iter().map(|it| (it.api_version, it.kind));
        // What they name is to be known too.
        let follow = spec["dependencies"] == "Follow";
        let followed = dependencies::KINDS.iter().filter(|_| follow);
        let followed = followed.map(|it| ("v1".to_owned(), (*it).to_owned()));
        for (api_version, kind) in selected.chain(followed) {
            let gvk = Gvk::new(&api_version, &kind);
            let kind = (gvk.group, gvk.kind);
            if index.kinds.get(&kind).is_some_and(|it| it.synced) {
                continue;
            }
            let wanted = (api_version, edit.object.namespace.clone());
            let known = found.entry(kind).or_insert_with(|| wanted.clone());
            if known.1 != wanted.1 {
                known.1.clear();
            }
        }
    }
    found
}

/// Their objects, as far as the caller may list them.
async fn list(
    kinds: &mut Kinds<'_>,
    wanted: BTreeMap<KindKey, (String, String)>,
) -> Result<Vec<(Gvk, DynamicObject)>, PlanError> {
    let mut found = Vec::new();
    for ((_, kind), (api_version, namespace)) in wanted {
        // A kind that the hub does not serve has no templates; the policy's own check says so.
        let Ok((resource, capabilities)) = kinds.find("", &api_version, &kind).await else {
            continue;
        };
        let namespace = match capabilities.scope {
            Scope::Namespaced => namespace,
            Scope::Cluster => String::new(),
        };
        let api = kinds.api(&resource, &namespace);
        match api.list(&ListParams::default()).await {
            Ok(list) => {
                let gvk = Gvk::new(&api_version, &kind);
                found.extend(list.items.into_iter().map(|mut it| {
                    it.types = Some(kube::core::TypeMeta {
                        api_version: api_version.clone(),
                        kind: kind.to_string(),
                    });
                    (gvk.clone(), it)
                }));
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => (),
            Err(error) => return Err(refused("spec.objects", error)),
        }
    }
    Ok(found)
}

/// Templates of one kind in one namespace are read by the same right.
type Group = (KindKey, String);

pub(crate) fn group_of(key: &ObjectKey) -> Group {
    ((key.gvk.group.clone(), key.gvk.kind.clone()), key.namespace.to_string())
}

/// Which templates of a plan the caller may read.
pub(crate) async fn readable<'a>(
    kinds: &mut Kinds<'_>,
    keys: impl Iterator<Item = (&'a ObjectKey, &'a str)>,
) -> Result<BTreeMap<Group, bool>, PlanError> {
    let mut found: BTreeMap<Group, bool> = BTreeMap::new();
    let mut everywhere: BTreeMap<KindKey, bool> = BTreeMap::new();
    for (key, api_version) in keys {
        let group = group_of(key);
        if found.contains_key(&group) {
            continue;
        }
        let Ok((resource, _)) = kinds.find("", api_version, &key.gvk.kind).await else {
            found.insert(group, false);
            continue;
        };
        let all = match everywhere.get(&group.0) {
            Some(all) => *all,
            None => {
                let all = may_get(kinds.caller, &resource, "").await?;
                everywhere.insert(group.0.clone(), all);
                all
            }
        };
        let may =
            all || (!group.1.is_empty() && may_get(kinds.caller, &resource, &group.1).await?);
        found.insert(group, may);
    }
    Ok(found)
}

/// Whether the caller may know how full clusters are.
pub(crate) async fn may_see_clusters(caller: &Client) -> Result<bool, PlanError> {
    let resource = ApiResource::erase::<federation_types::cluster::MemberCluster>(&());
    may_get(caller, &resource, "").await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_object_is_not_planned_twice() {
        let edit = |api_version: &str, name: &str| Edit {
            object: ObjectRef {
                api_version: api_version.to_owned(),
                kind: "HorizontalPodAutoscaler".to_owned(),
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            },
            before: None,
            after: None,
            refused: None,
        };
        let (v1, v2) = ("autoscaling/v1", "autoscaling/v2");
        assert_eq!(twice(&[edit(v2, "web"), edit(v2, "api")]), None);
        assert_eq!(twice(&[edit(v2, "web"), edit(v2, "api"), edit(v1, "web")]), Some((0, 2)));
    }

    #[test]
    fn a_quota_and_a_limit_range_are_told_by_their_reasons_not_by_their_words() {
        let said = |reason: &str| {
            let status = json!({"code": 403, "reason": "Forbidden", "message": "exceeded quota: x",
                                "details": {"causes": [{"reason": reason}]}});
            not_admitted(&serde_json::from_value(status).unwrap()).map(|it| it.reason)
        };
        for reason in ["QuotaExceeded", "LimitRangeExceeded"] {
            assert_eq!(said(reason).as_deref(), Some(reason));
        }
        assert_eq!(said("FieldValueInvalid"), None);
        assert_eq!(said(""), None);
    }
}
