//! CustomResourceDefinitions: what is accepted, what is served because of it, and what goes with it.
//!
//! A definition is judged and served by the write that stores it: its conditions are in the answer, and discovery knows
//! its kinds before the answer is sent. Definitions written by another replica arrive by the watch.

use std::sync::Arc;

use federation_storage::{Entry, Revision};
use serde_json::Value;

use crate::{
    app::Server,
    object,
    registry::Kind,
    status::{ApiError, Cause},
    verbs::Context,
};

pub use self::definition::{CrdError, CustomVersion, Definition};
pub(crate) use self::{
    definition::Draft,
    follow::{cleanup, load_and_follow},
};

mod conditions;
mod definition;
mod follow;

pub(crate) const GROUP: &str = "apiextensions.k8s.io";
pub(crate) const PLURAL: &str = "customresourcedefinitions";
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

fn is_definition(kind: &Kind) -> bool {
    kind.is(GROUP, PLURAL)
}

/// Judges a definition that is about to be stored, and writes into its status what the judgement is.
pub(crate) fn before_write(
    server: &Server,
    kind: &Kind,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<Option<Draft>, ApiError> {
    if !is_definition(kind) {
        return Ok(None);
    }
    let name = object::meta(object, "name").to_owned();
    definition::complete(object);
    let snapshot = server.registry.snapshot();
    if snapshot.definition(&name).is_some_and(|definition| definition.embedded) {
        return Err(ApiError::already_exists(GROUP, PLURAL, &name));
    }
    if old.is_none() {
        definition::add_finalizer(object);
    }
    let compiled = Draft::compile(object);
    let compiled = match old.map(|old| conditions::changed(old, object)) {
        Some(mut errors) if !errors.is_empty() => {
            errors.extend(compiled.err().into_iter().flat_map(|CrdError(errors)| errors));
            Err(CrdError(errors))
        }
        _ => compiled,
    };
    let draft = compiled.map_err(|CrdError(errors)| {
        let causes = errors.into_iter().map(Cause::from).collect();
        ApiError::invalid(GROUP, "CustomResourceDefinition", &name, causes)
    })?;
    let accepted = conditions::judge(object, old, &snapshot);
    Ok(Some(draft.accepted(accepted, object)))
}

/// Serves a definition that was stored.
pub(crate) fn after_write(server: &Server, draft: Option<Draft>, revision: Revision) {
    let Some(draft) = draft else { return };
    let held = server.registry.snapshot().definition(&draft.name).cloned();
    let definition = draft.serve(revision, held.as_deref(), false);
    server.registry.put(Arc::new(definition));
}

/// Stops serving a definition that is gone.
pub(crate) fn after_delete(server: &Server, kind: &Kind, name: &str) {
    if is_definition(kind) {
        server.registry.remove(name);
    }
}

/// Notes in a definition that it is going.
pub(crate) fn mark_terminating(kind: &Kind, object: &mut Value) {
    if is_definition(kind) {
        conditions::terminating(object);
    }
}

/// Begins to delete the objects of a definition that is going.
pub(crate) fn after_mark(server: &Arc<Server>, kind: &Kind, object: &Value, revision: Revision) {
    if !is_definition(kind) {
        return;
    }
    if let Ok(draft) = Draft::compile(object) {
        let accepted = conditions::is_accepted(object);
        after_write(server, Some(draft.accepted(accepted, object)), revision);
    }
    let name = object::meta(object, "name").to_owned();
    tokio::spawn(cleanup(Arc::downgrade(server), name));
}

/// What the server brings along stays as it is.
pub(crate) fn may_be_written(server: &Server, kind: &Kind, name: &str) -> Result<(), ApiError> {
    let embedded = is_definition(kind)
        && server.registry.snapshot().definition(name).is_some_and(|held| held.embedded);
    if embedded {
        return Err(ApiError::forbidden(GROUP, PLURAL, name, "it is part of this server"));
    }
    Ok(())
}

/// The definitions that the server brings along, as versions of the store, for requests about definitions.
pub(crate) fn embedded(context: &Context<'_>) -> Vec<Arc<Entry>> {
    if !is_definition(&context.kind) {
        return Vec::new();
    }
    context.kinds.definitions().filter_map(|definition| definition.entry.clone()).collect()
}
