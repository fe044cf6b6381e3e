//! `scale`: the replicas of any kind that has some, in one form.

use bytes::Bytes;
use federation_schema::{
    catalogue::{Catalogue, Gvk},
    selector::LabelSelector,
};
use http::Response;
use serde_json::{Value, json};

use super::{
    Context,
    patch::{Patch, PatchKind},
    write::Outcome,
};
use crate::{
    body::ResponseBody,
    decode,
    negotiate::{self, Form},
    object,
    registry::{ScalePaths, SubresourceKind},
    respond, schema,
    status::{self, ApiError, Cause},
    stored,
    strategy::Part,
};

const PART: Part = Part::Sub(SubresourceKind::Scale);

fn gvk() -> Gvk {
    Gvk::new("autoscaling", "v1", "Scale")
}

fn paths(context: &Context<'_>) -> Result<ScalePaths, ApiError> {
    context.kind.scale.clone().ok_or_else(ApiError::path_not_found)
}

/// The scale of an object.
fn scale(context: &Context<'_>, paths: &ScalePaths, object: &Value) -> Value {
    // A built-in kind without a number runs one; it is not written where the user did not write it.
    let missing = i64::from(!context.kind.is_custom());
    let replicas =
        object::at(object, &paths.spec_replicas).and_then(Value::as_i64).unwrap_or(missing);
    let running = object::at(object, &paths.status_replicas).and_then(Value::as_i64).unwrap_or(0);
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object::metadata(object).get(field) {
            metadata[field] = value.clone();
        }
    }
    let mut status = json!({ "replicas": running });
    let selector = paths.selector.as_ref().and_then(|path| object::at(object, path));
    if let Some(selector) = selector {
        let text = match selector {
            Value::String(text) => Some(text.clone()),
            selector => {
                LabelSelector::from_object(selector).ok().map(|selector| selector.to_string())
            }
        };
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            status["selector"] = text.into();
        }
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": { "replicas": replicas },
        "status": status,
    })
}

fn show(
    context: &Context<'_>,
    paths: &ScalePaths,
    form: Form,
    outcome: &Outcome,
) -> Response<ResponseBody> {
    let decoded;
    let object = match outcome {
        Outcome::Stored(entry) | Outcome::Unchanged(entry) => {
            decoded = stored::decode(entry, &context.kind, entry.revision);
            &decoded
        }
        Outcome::DryRun(object) | Outcome::Gone(object) => object,
    };
    respond::value_with(status::OK, form, &scale(context, paths, object))
}

pub(super) async fn get(context: &Context<'_>) -> Result<Response<ResponseBody>, ApiError> {
    let form = negotiate::plain(&context.parts.headers)?;
    let paths = paths(context)?;
    let entry = context.entry().await?;
    Ok(show(context, &paths, form, &Outcome::Unchanged(entry)))
}

/// The object with what a scale says.
fn scaled(
    context: &Context<'_>,
    paths: &ScalePaths,
    old: &Value,
    wanted: &Value,
) -> Result<Value, ApiError> {
    let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let message = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        let cause = Cause::field("spec.replicas", message);
        return Err(ApiError::invalid("autoscaling", "Scale", context.name(), vec![cause]));
    }
    let mut new = old.clone();
    let unchanged = scale(context, paths, old)["spec"]["replicas"] == replicas;
    if !unchanged {
        object::put(&mut new, &paths.spec_replicas, replicas.into());
    }
    for field in ["resourceVersion", "uid"] {
        let given = object::meta(wanted, field).to_owned();
        if let Some(metadata) = object::metadata_mut(&mut new)
            && !given.is_empty()
        {
            metadata.insert(field.to_owned(), given.into());
        }
    }
    Ok(new)
}

pub(super) async fn update(
    context: &mut Context<'_>,
    body: &Bytes,
) -> Result<Response<ResponseBody>, ApiError> {
    let form = negotiate::plain(&context.parts.headers)?;
    let paths = paths(context)?;
    let options = context.write_options("UpdateOptions")?;
    let decoded = decode::object(&context.parts.headers, body, &gvk())?;
    let mut wanted = decoded.value;
    fit(context, &mut wanted, decoded.complaints, options.validation)?;
    context.check_place(&wanted)?;
    let making = paths.clone();
    let outcome = context
        .rewrite(&options, PART, false, move |context, old| scaled(context, &making, old, &wanted))
        .await?;
    Ok(show(context, &paths, form, &outcome))
}

pub(super) async fn patch(
    context: &mut Context<'_>,
    body: &Bytes,
) -> Result<Response<ResponseBody>, ApiError> {
    let form = negotiate::plain(&context.parts.headers)?;
    let paths = paths(context)?;
    let options = context.write_options("PatchOptions")?;
    if Patch::kind(context)? == PatchKind::Apply {
        return Err(ApiError::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
        ));
    }
    let patch = Patch::read(context, body)?;
    let making = paths.clone();
    let validation = options.validation;
    let outcome = context
        .rewrite(&options, PART, false, move |context, old| {
            let Some(ty) = Catalogue::builtin().type_of(&gvk()) else {
                return Err(ApiError::path_not_found());
            };
            let mut wanted = patch.apply(&scale(context, &making, old), &ty)?;
            fit(context, &mut wanted, patch.complaints.clone(), validation)?;
            scaled(context, &making, old, &wanted)
        })
        .await?;
    Ok(show(context, &paths, form, &outcome))
}

fn fit(
    context: &mut Context<'_>,
    wanted: &mut Value,
    mut complaints: Vec<String>,
    validation: decode::FieldValidation,
) -> Result<(), ApiError> {
    if wanted["kind"] != "Scale" {
        return Err(ApiError::bad_request("the body must be a Scale of autoscaling/v1"));
    }
    if let Some(ty) = Catalogue::builtin().type_of(&gvk()) {
        let wrong = schema::type_errors_of(wanted, &ty);
        if !wrong.is_empty() {
            return Err(ApiError::bad_request(wrong.join(", ")));
        }
        complaints.extend(schema::take_unknown_fields_of(wanted, &ty));
    }
    decode::complain(complaints, validation, &gvk(), &mut context.warnings)
}
