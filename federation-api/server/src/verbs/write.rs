//! The one way of a write: what came in is checked against its kind, made the successor of what stands there, judged,
//! and committed if it changes anything.

use std::sync::Arc;

use federation_storage::{CommitError, Entry, Write};
use http::{Response, StatusCode};
use serde_json::Value;

use super::{Context, WriteOptions};
use crate::{
    active,
    admission::{self, Writing},
    body::ResponseBody,
    crd, decode,
    hooks::Operation,
    metadata,
    negotiate::Form,
    object,
    registry::Kind,
    required, schema,
    status::{ApiError, Cause},
    stored,
    strategy::{self, Part},
};

/// How often a write that another one overtook is made anew.
pub(super) const TRIES: usize = 32;
/// How many generated names are tried.
const NAMES: usize = 8;

const OVERTAKEN: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Outcome {
    Stored(Arc<Entry>),
    /// Nothing would have changed, and nothing was written.
    Unchanged(Arc<Entry>),
    /// What would have been stored.
    DryRun(Value),
    /// The write removed the last thing that kept a deleted object.
    Gone(Value),
}

impl Outcome {
    /// The name of the object that was written.
    pub(crate) fn name<'o>(&'o self, kind: &Kind) -> &'o str {
        match self {
            Self::Stored(entry) | Self::Unchanged(entry) => kind.place(&entry.key).1,
            Self::DryRun(object) | Self::Gone(object) => object::meta(object, "name"),
        }
    }
}

impl Context<'_> {
    /// Shows what became of a write.
    pub(crate) fn show_outcome(
        &self,
        code: StatusCode,
        form: Form,
        outcome: &Outcome,
    ) -> Response<ResponseBody> {
        match outcome {
            Outcome::Stored(entry) | Outcome::Unchanged(entry) => self.show(code, form, entry),
            Outcome::DryRun(object) | Outcome::Gone(object) => self.show_value(code, form, object),
        }
    }

    /// Fits an object that a client made to its kind: of the right type, without unknown fields, with its defaults.
    pub(crate) fn intake(
        &mut self,
        object: &mut Value,
        complaints: Vec<String>,
        options: &WriteOptions,
    ) -> Result<(), ApiError> {
        self.fit(object, complaints, options)?;
        if let Some(custom) = self.kind.custom() {
            custom.default(object);
        }
        Ok(())
    }

    /// Fits an object that a client made to its kind, and leaves out what it leaves out.
    pub(crate) fn fit(
        &mut self,
        object: &mut Value,
        mut complaints: Vec<String>,
        options: &WriteOptions,
    ) -> Result<(), ApiError> {
        let kind = Arc::clone(&self.kind);
        for (field, expected) in [("apiVersion", &kind.api_version), ("kind", &kind.kind)] {
            let found = object[field].as_str().unwrap_or_default();
            if *found != **expected {
                let what = if field == "kind" { "kind" } else { "API version" };
                return Err(ApiError::bad_request(format!(
                    "the {what} in the data ({found}) does not match the expected {what} ({expected})"
                )));
            }
        }
        let wrong = schema::type_errors(object, &kind);
        if !wrong.is_empty() {
            return Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {}",
                wrong.join(", "),
                kind = kind.kind,
                version = kind.version,
            )));
        }
        complaints.extend(schema::take_unknown_fields(object, &kind));
        decode::complain(complaints, options.validation, &kind.gvk(), &mut self.warnings)
    }

    /// Checks the name and namespace that an object gives itself against the path.
    pub(crate) fn check_place(&self, object: &Value) -> Result<(), ApiError> {
        let namespace = object::meta(object, "namespace");
        if let Some(own) = self.namespace()
            && !namespace.is_empty()
            && namespace != own
        {
            return Err(ApiError::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request ({namespace} is not {own})"
            )));
        }
        let name = object::meta(object, "name");
        if !self.name().is_empty() && !name.is_empty() && name != self.name() {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                self.name()
            )));
        }
        Ok(())
    }

    fn write_record<'w>(
        &'w self,
        options: &'w WriteOptions,
        part: Part,
        now: &'w str,
    ) -> schema::Record<'w> {
        schema::Record {
            kind: &self.kind,
            options,
            part,
            subresource: &self.info.attributes.subresource,
            now,
        }
    }

    /// Everything that must hold of an object before it may be stored.
    fn check(
        &mut self,
        name: &str,
        old: Option<&Value>,
        new: &Value,
        part: Part,
    ) -> Result<(), ApiError> {
        let kind = Arc::clone(&self.kind);
        let mut causes = metadata::check(new, &kind);
        if let Some(old) = old {
            causes.extend(metadata::added_finalizers(old, new));
            causes.extend(admission::immutable(&kind, old, new));
        }
        if part == Part::Main {
            causes.extend(required::check(&kind, new));
            causes.extend(active::check(self.server, &kind, old, new));
            if let Some(old) = old {
                causes.extend(required::changed(&kind, old, new));
            }
        }
        if let Some(custom) = kind.custom() {
            causes.extend(custom.validate(new, old));
        }
        if causes.is_empty() {
            self.warnings.extend(active::warnings(&kind, new));
            Ok(())
        } else {
            Err(self.invalid(name, causes))
        }
    }

    fn writing<'w>(
        &'w self,
        operation: Operation,
        name: &'w str,
        object: Option<&'w Value>,
        old: Option<&'w Value>,
        dry_run: bool,
    ) -> Writing<'w> {
        Writing {
            operation,
            identity: self.identity,
            kind: &self.kind,
            subresource: &self.info.attributes.subresource,
            namespace: self.namespace(),
            name,
            object,
            old,
            dry_run,
        }
    }

    /// Lets active webhooks change an object before it is checked.
    async fn mutate(
        &mut self,
        operation: Operation,
        name: &str,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        let writing = self.writing(operation, name, None, old, dry_run);
        let warnings = active::mutate(self.server, writing, object).await?;
        self.warnings.extend(warnings);
        Ok(())
    }

    async fn judge(
        &mut self,
        operation: Operation,
        name: &str,
        object: Option<&Value>,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        let writing = self.writing(operation, name, object, old, dry_run);
        let mut warnings = admission::judge(self.server, &writing)?;
        warnings.extend(active::judge(self.server, writing).await?);
        self.warnings.extend(warnings);
        Ok(())
    }

    fn warn_of(&mut self, definition: Option<&crd::Draft>) {
        self.warnings
            .extend(definition.into_iter().flat_map(|draft| draft.warnings.iter().cloned()));
    }

    /// Asks the hooks about a deletion.
    pub(crate) async fn judge_delete(
        &mut self,
        name: &str,
        old: &Value,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        self.judge(Operation::Delete, name, None, Some(old), dry_run).await
    }

    /// Stores a new object. With `applied`, its managed fields are already there.
    pub(crate) async fn insert(
        &mut self,
        options: &WriteOptions,
        mut object: Value,
        applied: bool,
    ) -> Result<Outcome, ApiError> {
        let kind = Arc::clone(&self.kind);
        let namespace = self.namespace().map(str::to_owned);
        let base = object::meta(&object, "generateName").to_owned();
        let generated = object::meta(&object, "name").is_empty() && !base.is_empty();
        if let Some(custom) = kind.custom()
            && custom.terminating
        {
            return Err(ApiError::method_not_allowed(
                "create not allowed while custom resource definition is terminating",
            ));
        }
        let rename = |object: &mut Value| {
            if let Some(metadata) = object::metadata_mut(object) {
                metadata.insert("name".to_owned(), strategy::generated_name(&base).into());
            }
        };
        if generated {
            rename(&mut object);
        }
        strategy::prepare_create(&mut object, &kind, namespace.as_deref());
        let name = object::meta(&object, "name").to_owned();
        self.mutate(Operation::Create, &name, &mut object, None, options.dry_run).await?;
        self.check(&name, None, &object, Part::Main)?;
        if let Some(namespace) = &namespace {
            admission::namespace_lives(&*self.server.store, &kind, namespace, &name).await?;
        }
        if !applied {
            let now = object::now();
            object = schema::track(None, object, &self.write_record(options, Part::Main, &now));
        }
        let server = Arc::clone(self.server);
        let writing = self.writing(Operation::Create, &name, Some(&object), None, options.dry_run);
        let _place = active::quota::hold(&server, writing).await?;
        // After the tracking: they are nobody's field, so that no later apply of the author's takes them away.
        let finalizers = admission::finalizers(self.server, &writing);
        object::add_finalizers(&mut object, &finalizers);
        for attempt in 1.. {
            if attempt > 1 {
                rename(&mut object);
            }
            let name = object::meta(&object, "name").to_owned();
            let definition = crd::before_write(self.server, &kind, &mut object, None)?;
            self.warn_of(definition.as_ref());
            self.judge(Operation::Create, &name, Some(&object), None, options.dry_run).await?;
            let key = kind.key(namespace.as_deref(), &name);
            if options.dry_run {
                if self.server.store.get(&key).await?.is_some() {
                    return Err(ApiError::already_exists(&kind.group, &kind.plural, &name));
                }
                return Ok(Outcome::DryRun(object));
            }
            let value = stored::encode(&object, &kind);
            match self.server.store.commit(Write::Create { key, value }).await {
                Ok(committed) => {
                    crd::after_write(self.server, definition, committed.revision);
                    return Ok(Outcome::Stored(committed.entry));
                }
                Err(CommitError::Exists { .. }) if generated && attempt < NAMES => {}
                Err(CommitError::Exists { .. }) => {
                    return Err(ApiError::already_exists(&kind.group, &kind.plural, &name));
                }
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the loop returns on its last attempt")
    }

    /// Replaces the object that the path names by what `make` makes of it, anew if another write comes first.
    pub(crate) async fn rewrite(
        &mut self,
        options: &WriteOptions,
        part: Part,
        applied: bool,
        mut make: impl FnMut(&mut Self, &Value) -> Result<Value, ApiError> + Send,
    ) -> Result<Outcome, ApiError> {
        crd::may_be_written(self.server, &self.kind, self.name())?;
        for _ in 0..TRIES {
            let entry = self.entry().await?;
            let old = stored::decode(&entry, &self.kind, entry.revision);
            let new = make(self, &old)?;
            if let Some(outcome) = self.attempt(options, part, applied, &entry, &old, new).await? {
                return Ok(outcome);
            }
        }
        Err(self.conflict(self.name(), OVERTAKEN))
    }

    /// Writes the successor of a version; `None` if another write came first.
    async fn attempt(
        &mut self,
        options: &WriteOptions,
        part: Part,
        applied: bool,
        entry: &Arc<Entry>,
        old: &Value,
        mut new: Value,
    ) -> Result<Option<Outcome>, ApiError> {
        let kind = Arc::clone(&self.kind);
        let name = self.name().to_owned();
        self.check_preconditions(&name, old, &new)?;
        strategy::prepare_update(old, &mut new, &kind, part);
        self.mutate(Operation::Update, &name, &mut new, Some(old), options.dry_run).await?;
        self.check(&name, Some(old), &new, part)?;
        if !applied {
            let now = object::now();
            new = schema::track(Some(old), new, &self.write_record(options, part, &now));
        }
        let server = Arc::clone(self.server);
        let dry_run = options.dry_run;
        let writing = self.writing(Operation::Update, &name, Some(&new), Some(old), dry_run);
        let _place = active::quota::hold(&server, writing).await?;
        let definition = crd::before_write(self.server, &kind, &mut new, Some(old))?;
        self.warn_of(definition.as_ref());
        self.judge(Operation::Update, &name, Some(&new), Some(old), options.dry_run).await?;
        if object::is_deleting(&new) && strategy::may_go(&new, &kind) {
            if options.dry_run {
                return Ok(Some(Outcome::DryRun(new)));
            }
            let write = Write::Delete { key: Arc::clone(&entry.key), expected: entry.revision };
            return match self.server.store.commit(write).await {
                Ok(committed) => {
                    crd::after_delete(self.server, &kind, &name);
                    if let Some(metadata) = object::metadata_mut(&mut new) {
                        let revision = committed.revision.to_string();
                        metadata.insert("resourceVersion".to_owned(), revision.into());
                    }
                    Ok(Some(Outcome::Gone(new)))
                }
                Err(CommitError::Stale { .. }) => Ok(None),
                Err(CommitError::Missing { .. }) => Err(self.not_found()),
                Err(error) => Err(error.into()),
            };
        }
        let managed = |object: &Value| object::metadata(object).get("managedFields").cloned();
        if strategy::unchanged(old, &new) && managed(old) == managed(&new) {
            return Ok(Some(Outcome::Unchanged(Arc::clone(entry))));
        }
        if options.dry_run {
            return Ok(Some(Outcome::DryRun(new)));
        }
        let value = stored::encode(&new, &kind);
        let write = Write::Update { key: Arc::clone(&entry.key), value, expected: entry.revision };
        match self.server.store.commit(write).await {
            Ok(committed) => {
                crd::after_write(self.server, definition, committed.revision);
                Ok(Some(Outcome::Stored(committed.entry)))
            }
            Err(CommitError::Stale { .. }) => Ok(None),
            Err(CommitError::Missing { .. }) => Err(self.not_found()),
            Err(error) => Err(error.into()),
        }
    }

    /// The version and the identity that the new object says it follows.
    fn check_preconditions(&self, name: &str, old: &Value, new: &Value) -> Result<(), ApiError> {
        let version = object::meta(new, "resourceVersion");
        if !version.is_empty() && version != "0" {
            super::revision(version)?;
            if version != object::meta(old, "resourceVersion") {
                return Err(self.conflict(name, OVERTAKEN));
            }
        } else if self.kind.is_custom() {
            return Err(self.invalid(
                name,
                vec![Cause::field(
                    "metadata.resourceVersion",
                    "Invalid value: 0: must be specified for an update",
                )],
            ));
        }
        let (uid, own) = (object::meta(new, "uid"), object::meta(old, "uid"));
        if !uid.is_empty() && uid != own {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"
            );
            return Err(self.conflict(name, &why));
        }
        Ok(())
    }
}
