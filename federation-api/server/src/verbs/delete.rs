//! `DELETE` of one object: at once if nothing holds it, else it is marked and goes with its last finalizer.

use std::sync::Arc;

use bytes::Bytes;
use federation_storage::{CommitError, Write};
use http::Response;
use serde_json::Value;

use super::Context;
use crate::{
    admission,
    body::ResponseBody,
    crd, decode,
    negotiate::{self, Form},
    object, respond,
    status::{self, ApiError, Cause},
    stored, strategy,
};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Kinds whose deleted object is the answer, where others answer with a `Status`.
const SHOWN: [&str; 7] = [
    "pods",
    "podtemplates",
    "services",
    "serviceaccounts",
    "resourcequotas",
    "persistentvolumes",
    "persistentvolumeclaims",
];

/// What becomes of an object's dependants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// How a deletion is to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct DeleteOptions {
    dry_run: bool,
    uid: Option<String>,
    version: Option<String>,
    propagation: Option<Propagation>,
}

/// What became of a deletion.
#[derive(Debug)]
pub(super) enum Deleted {
    /// The object that is no more.
    Gone(Value),
    /// The object as it waits for its finalizers.
    Waiting(Value),
}

pub(super) async fn delete(
    context: &mut Context<'_>,
    body: &Bytes,
) -> Result<Response<ResponseBody>, ApiError> {
    let form = context.form().or_else(|_| negotiate::plain(&context.parts.headers))?;
    let options = options(context, body)?;
    let (key, name) = (context.key(), context.name().to_owned());
    let deleted = remove(context, &key, &name, &options).await?;
    Ok(answer(context, form, deleted))
}

/// `pods/eviction`: there are no disruptions to be weighed here, so it is a delete.
pub(super) async fn evict(
    context: &mut Context<'_>,
    body: &Bytes,
) -> Result<Response<ResponseBody>, ApiError> {
    let expected = federation_schema::catalogue::Gvk::new("policy", "v1", "Eviction");
    let eviction = decode::object(&context.parts.headers, body, &expected)?.value;
    let options = read(&eviction["deleteOptions"], context)?;
    let (key, name) = (context.key(), context.name().to_owned());
    remove(context, &key, &name, &options).await?;
    let status = status::deleted("", "pods", &name, "");
    Ok(respond::value_with(status::CREATED, Form::JSON, &status))
}

fn answer(context: &Context<'_>, form: Form, deleted: Deleted) -> Response<ResponseBody> {
    let kind = &context.kind;
    match deleted {
        Deleted::Waiting(object) => context.show_value(status::OK, form, &object),
        Deleted::Gone(object) if kind.group.is_empty() && SHOWN.contains(&&*kind.plural) => {
            context.show_value(status::OK, form, &object)
        }
        Deleted::Gone(object) => {
            let uid = object::meta(&object, "uid");
            let status = status::deleted(&kind.group, &kind.plural, context.name(), uid);
            respond::value_with(status::OK, form, &status)
        }
    }
}

/// Reads the options from the body, or from the query if there is none.
pub(super) fn options(context: &Context<'_>, body: &Bytes) -> Result<DeleteOptions, ApiError> {
    read(&decode::delete_options(&context.parts.headers, body)?, context)
}

fn read(body: &Value, context: &Context<'_>) -> Result<DeleteOptions, ApiError> {
    let query = &context.info.query;
    let mut causes = Vec::new();
    let stages = body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let dry_run = super::dry_run(stages.chain(query.all("dryRun")), &mut causes);
    let policy = body["propagationPolicy"].as_str().or_else(|| query.get("propagationPolicy"));
    let orphan =
        body["orphanDependents"].as_bool().or_else(|| query.optional_flag("orphanDependents"));
    let propagation = match (policy, orphan) {
        (Some(_), Some(_)) => {
            causes.push(Cause::field(
                "propagationPolicy",
                "Invalid value: orphanDependents and propagationPolicy cannot be both set",
            ));
            None
        }
        (Some("Background"), None) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), None) => Some(Propagation::Foreground),
        (Some("Orphan"), None) | (None, Some(true)) => Some(Propagation::Orphan),
        (Some(other), None) => {
            causes.push(Cause::field(
                "propagationPolicy",
                format!("Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\""),
            ));
            None
        }
        (None, None) => None,
    };
    if !causes.is_empty() {
        return Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", causes));
    }
    let precondition = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
    Ok(DeleteOptions {
        dry_run,
        uid: precondition("uid"),
        version: precondition("resourceVersion"),
        propagation,
    })
}

/// Deletes one object.
pub(super) async fn remove(
    context: &mut Context<'_>,
    key: &Arc<str>,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    let kind = Arc::clone(&context.kind);
    admission::may_be_deleted(&kind, name)?;
    crd::may_be_written(context.server, &kind, name)?;
    let store = Arc::clone(&context.server.store);
    loop {
        let entry = store
            .get(key)
            .await?
            .ok_or_else(|| ApiError::not_found(&kind.group, &kind.plural, name))?;
        let old = stored::decode(&entry, &kind, entry.revision);
        preconditions(context, name, &old, options)?;
        context.judge_delete(name, &old, options.dry_run).await?;
        let mut new = old.clone();
        propagate(&mut new, options.propagation);
        let free = strategy::may_go(&new, &kind);
        if !free {
            if !object::is_deleting(&old) {
                strategy::mark_deleted(&mut new, &kind);
            }
            crd::mark_terminating(&kind, &mut new);
        }
        if options.dry_run {
            return Ok(if free { Deleted::Gone(new) } else { Deleted::Waiting(new) });
        }
        if !free && strategy::unchanged(&old, &new) {
            return Ok(Deleted::Waiting(old));
        }
        let expected = entry.revision;
        let write = if free {
            Write::Delete { key: Arc::clone(key), expected }
        } else {
            Write::Update { key: Arc::clone(key), value: stored::encode(&new, &kind), expected }
        };
        match store.commit(write).await {
            Ok(committed) => {
                if let Some(metadata) = object::metadata_mut(&mut new) {
                    let revision = committed.revision.to_string();
                    metadata.insert("resourceVersion".to_owned(), revision.into());
                }
                if free {
                    crd::after_delete(context.server, &kind, name);
                    return Ok(Deleted::Gone(new));
                }
                crd::after_mark(context.server, &kind, &new, committed.revision);
                return Ok(Deleted::Waiting(new));
            }
            // Another write came first: judge the object as it is now.
            Err(CommitError::Stale { .. }) => {}
            Err(CommitError::Missing { .. }) => {
                return Err(ApiError::not_found(&kind.group, &kind.plural, name));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn preconditions(
    context: &Context<'_>,
    name: &str,
    old: &Value,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let checks = [
        ("UID", &options.uid, object::meta(old, "uid")),
        ("ResourceVersion", &options.version, object::meta(old, "resourceVersion")),
    ];
    for (what, wanted, found) in checks {
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            );
            return Err(context.conflict(name, &why));
        }
    }
    Ok(())
}

/// Says by finalizers what is to become of the dependants.
fn propagate(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let wanted = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let mut list: Vec<Value> = object::finalizers(object)
        .into_iter()
        .filter(|finalizer| {
            !matches!(*finalizer, ORPHAN | FOREGROUND) || Some(*finalizer) == wanted
        })
        .map(Value::from)
        .collect();
    if let Some(wanted) = wanted
        && !list.iter().any(|finalizer| finalizer == wanted)
    {
        list.push(wanted.into());
    }
    if let Some(metadata) = object::metadata_mut(object) {
        object::set(metadata, "finalizers", (!list.is_empty()).then(|| list.into()));
    }
}
