//! Server-side apply: `PATCH` with what one manager wants, and nothing else.

use bytes::Bytes;
use federation_schema::strict;
use http::Response;
use serde_json::Value;

use super::Context;
use crate::{
    authorize::Attributes,
    body::ResponseBody,
    object, schema,
    status::{self, ApiError, Cause},
    strategy::Part,
};

pub(super) async fn apply(
    context: &mut Context<'_>,
    body: &Bytes,
    part: Part,
) -> Result<Response<ResponseBody>, ApiError> {
    let form = context.form()?;
    let options = context.write_options("PatchOptions")?;
    if context.info.query.get("fieldManager").is_none() {
        let cause = Cause::field("fieldManager", "Required value: is required for apply patch");
        return Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", vec![cause]));
    }
    let (mut config, complaints) = read(context, body)?;
    context.fit(&mut config, complaints, &options)?;
    context.check_place(&config)?;
    name_it(context, &mut config);
    let subresource = context.info.attributes.subresource.clone();
    // Between the look and the write somebody may make or delete the object: then look again.
    for _ in 0..super::write::TRIES {
        let now = object::now();
        if context.server.store.get(&context.key()).await?.is_none() {
            if part != Part::Main {
                return Err(context.not_found());
            }
            may_create(context)?;
            if !object::meta(&config, "uid").is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    object::meta(&config, "uid")
                );
                return Err(context.conflict(context.name(), &why));
            }
            let kind = std::sync::Arc::clone(&context.kind);
            let record = schema::Record {
                kind: &kind,
                options: &options,
                part,
                subresource: &subresource,
                now: &now,
            };
            let mut made = schema::apply(None, &config, &record, options.force)?;
            if let Some(custom) = kind.custom() {
                custom.default(&mut made);
            }
            match context.insert(&options, made, true).await {
                Ok(outcome) => {
                    return Ok(context.show_outcome(status::CREATED, form, &outcome));
                }
                Err(error) if error.reason() == "AlreadyExists" && !options.dry_run => continue,
                Err(error) => return Err(error),
            }
        }
        let outcome = context
            .rewrite(&options, part, true, |context, old| {
                let record = schema::Record {
                    kind: &context.kind,
                    options: &options,
                    part,
                    subresource: &subresource,
                    now: &now,
                };
                let mut new = schema::apply(Some(old), &config, &record, options.force)?;
                if let Some(custom) = context.kind.custom() {
                    custom.default(&mut new);
                }
                Ok(new)
            })
            .await;
        match outcome {
            Ok(outcome) => return Ok(context.show_outcome(status::OK, form, &outcome)),
            Err(error) if error.is_not_found() && part == Part::Main => {}
            Err(error) => return Err(error),
        }
    }
    Err(context.conflict(context.name(), "the object is made and deleted all the time"))
}

fn read(context: &Context<'_>, body: &Bytes) -> Result<(Value, Vec<String>), ApiError> {
    let refused =
        |error: strict::ParseError| ApiError::bad_request(format!("error decoding YAML: {error}"));
    // JSON is YAML, and quicker to read as what it is.
    let parsed = match body.first() {
        Some(b'{') => strict::parse_json(body).or_else(|_| strict::parse_yaml(body)),
        _ => strict::parse_yaml(body),
    };
    let mut parsed = parsed.map_err(refused)?;
    if !parsed.value.is_object() {
        return Err(ApiError::bad_request("the applied configuration is no object"));
    }
    let kind = &context.kind;
    for (field, text) in [("apiVersion", &kind.api_version), ("kind", &kind.kind)] {
        if parsed.value[field].as_str().is_none_or(str::is_empty) {
            parsed.value[field] = text.to_string().into();
        }
    }
    Ok((parsed.value, parsed.duplicates))
}

fn name_it(context: &Context<'_>, config: &mut Value) {
    let (name, namespace) = (context.name().to_owned(), context.namespace().map(str::to_owned));
    if let Some(metadata) = object::metadata_mut(config) {
        metadata.insert("name".to_owned(), name.into());
        if let Some(namespace) = namespace {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
    }
}

/// Whoever applies what is not there creates it, and must be allowed to.
fn may_create(context: &Context<'_>) -> Result<(), ApiError> {
    let attributes = Attributes { verb: "create".to_owned(), ..context.info.attributes.clone() };
    context.server.authorize(context.identity, &attributes)
}
