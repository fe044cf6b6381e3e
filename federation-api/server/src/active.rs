//! Admission by objects of the API that their owner made active here (`archipel.dev/hub: Active`): webhooks reached by
//! URL, admission policies, LimitRanges and ResourceQuotas. All others act in members only.
//!
//! ```text
//! defaults of LimitRanges ─▶ mutating policies ─▶ mutating webhooks ─▶ validation ─▶ quotas ─▶ hooks of the hub
//!     ─▶ bounds of LimitRanges ─▶ validating policies ─▶ validating webhooks ─▶ store
//! ```
//!
//! Requests of the hub's own components are not judged: they carry out what users were judged for.

use std::{
    ops::Bound,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use federation_schema::{
    cel::{self, on_large_stack},
    error::FieldError,
};
use federation_storage::{At, ReadError, Revision, WatchItem};
use federation_types::{names::HUB_ANNOTATION, reason::admission};
use futures::StreamExt as _;
use parking_lot::RwLock;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry as MetricsRegistry,
};
use serde_json::{Value, json};

use crate::{
    admission::Writing,
    app::Server,
    hooks::Operation,
    keys, object,
    registry::{Kind, key},
    status::{ApiError, Cause},
};

mod limits;
mod matching;
mod mutating;
mod policy;
mod present;
pub(crate) mod quota;
mod resources;
mod validating;
mod webhook;

use self::{mutating::Mutating, present::Present, validating::Validating, webhook::Webhook};

const GROUP: &str = "admissionregistration.k8s.io";
/// The only value of the annotation.
const ACTIVE: &str = "Active";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `policy`, `mutation`, `validating`, `mutating`
    kind: &'static str,
    name: String,
    /// `allowed`, `denied`, `changed`, `same`, `failed`
    outcome: &'static str,
}

/// What is active now.
#[derive(Debug, Default)]
struct State {
    mutations: Vec<Mutating>,
    mutating: Vec<Webhook>,
    policies: Vec<Validating>,
    validating: Vec<Webhook>,
}

/// The active objects of a server.
#[derive(Debug)]
pub struct Active {
    /// Spares those who have none the lock.
    any: AtomicBool,
    state: RwLock<Arc<State>>,
    ranges: Present,
    quotas: quota::Quotas,
    outcomes: Family<Outcome, Counter>,
}

impl Default for Active {
    fn default() -> Self {
        Self {
            any: AtomicBool::default(),
            state: RwLock::default(),
            ranges: Present::new("limitranges"),
            quotas: quota::Quotas::default(),
            outcomes: Family::default(),
        }
    }
}

impl Active {
    /// Adds its metrics.
    pub fn register(&self, registry: &mut MetricsRegistry) {
        registry.register(
            "archipel_active_admission",
            "What active policies and webhooks said of requests",
            self.outcomes.clone(),
        );
    }

    fn state(&self) -> Option<Arc<State>> {
        self.any.load(Ordering::Acquire).then(|| Arc::clone(&self.state.read()))
    }

    fn count(&self, kind: &'static str, name: &str, outcome: &'static str) {
        let labels = Outcome { kind, name: name.to_owned(), outcome };
        self.outcomes.get_or_create_owned(&labels).inc();
    }
}

/// Whether an object was made active here.
pub(crate) fn is_active(object: &Value) -> bool {
    object["metadata"]["annotations"][HUB_ANNOTATION] == ACTIVE
}

/// Knows the active objects when it returns, and follows them for as long as the server lives.
pub(crate) async fn load_and_follow(server: &Arc<Server>) -> Result<(), ReadError> {
    server.active.ranges.load(&*server.store).await?;
    server.active.quotas.load(server).await?;
    let revision = fill(server).await?;
    tokio::spawn(follow(Arc::downgrade(server), revision));
    Ok(())
}

async fn follow(server: Weak<Server>, mut since: Revision) {
    loop {
        let Some(held) = server.upgrade() else { return };
        let Ok(mut watch) = held.store.watch(&keys::group(GROUP), since) else { return };
        drop(held);
        let ended = loop {
            match watch.next().await {
                Some(Ok(WatchItem::Event(_))) => break false,
                Some(Ok(WatchItem::Progress(_))) => {}
                Some(Err(_)) | None => break true,
            }
        };
        // They are few and change seldom: all are read again.
        loop {
            let Some(server) = server.upgrade() else { return };
            match fill(&server).await {
                Ok(revision) => break since = revision,
                Err(ReadError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, ended, "active policies and webhooks are not up to date");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn fill(server: &Server) -> Result<Revision, ReadError> {
    let listing = server.store.list(&keys::group(GROUP), Bound::Unbounded, 0, At::Latest).await?;
    let mut state = State::default();
    let (mut policies, mut bindings) = (Vec::new(), Vec::new());
    let (mut mutations, mut bound) = (Vec::new(), Vec::new());
    for entry in &listing.entries {
        let Some((resource, _, _)) = keys::split(GROUP, &entry.key) else { continue };
        let Ok(object) = serde_json::from_slice::<Value>(&entry.value) else { continue };
        match resource {
            "validatingadmissionpolicybindings" => bindings.push(object),
            "validatingadmissionpolicies" if is_active(&object) => policies.push(object),
            "mutatingadmissionpolicybindings" => bound.push(object),
            "mutatingadmissionpolicies" if is_active(&object) => mutations.push(object),
            "validatingwebhookconfigurations" if is_active(&object) => {
                state.validating.extend(Webhook::read_all(&object));
            }
            "mutatingwebhookconfigurations" if is_active(&object) => {
                state.mutating.extend(Webhook::read_all(&object));
            }
            _ => {}
        }
    }
    state.policies = policies.iter().map(|it| Validating::read(it, &bindings)).collect();
    state.mutations = mutations.iter().map(|it| Mutating::read(it, &bound)).collect();
    let webhooks = state.mutating.len() + state.validating.len();
    let any = webhooks + state.policies.len() + state.mutations.len() > 0;
    *server.active.state.write() = Arc::new(state);
    server.active.any.store(any, Ordering::Release);
    Ok(listing.revision)
}

/// Whether a request is judged at all.
fn is_judged(writing: &Writing<'_>) -> bool {
    let own = writing.identity.is_component() || *writing.kind.group == *GROUP;
    !own && !writing.kind.group.ends_with("archipel.dev")
}

/// The active LimitRanges that a write of this object is bound by.
async fn ranges(
    server: &Server,
    writing: &Writing<'_>,
    object: &Value,
) -> Result<Vec<Value>, ApiError> {
    let kind = writing.kind;
    let asks = kind.is("", "pods") || kind.is("", "persistentvolumeclaims");
    // What asks for nothing new stays as it was let in.
    let same = writing.old.is_some_and(|old| old["spec"] == object["spec"]);
    match writing.namespace {
        Some(namespace) if asks && !same && writing.subresource.is_empty() => {
            Ok(server.active.ranges.of(&*server.store, namespace).await?)
        }
        _ => Ok(Vec::new()),
    }
}

/// Lets the LimitRanges, the mutating policies and the mutating webhooks change an object that is about to be written.
pub(crate) async fn mutate(
    server: &Arc<Server>,
    writing: Writing<'_>,
    object: &mut Value,
) -> Result<Vec<String>, ApiError> {
    if !is_judged(&writing) {
        return Ok(Vec::new());
    }
    if writing.kind.is("", "pods") {
        limits::default(object, &ranges(server, &writing, object).await?);
    }
    let Some(state) = server.active.state() else { return Ok(Vec::new()) };
    let mut warnings = Vec::new();
    // The policies that were about it, and what it was after each.
    let mut asked = Vec::new();
    for policy in &state.mutations {
        let call = Call::new(server, Writing { object: Some(&*object), ..writing }).await?;
        if let Some(changed) = policy.mutate(server, &call).await? {
            if policy.again {
                asked.push((policy, changed.clone()));
            }
            *object = changed;
        }
    }
    for webhook in &state.mutating {
        let call = Call::new(server, Writing { object: Some(&*object), ..writing }).await?;
        if let Some(changed) = webhook.ask(server, &call, "mutating", &mut warnings).await? {
            *object = changed;
        }
    }
    // Once more those that want to see what others made of it.
    for (policy, before) in asked {
        if before != *object {
            let call = Call::new(server, Writing { object: Some(&*object), ..writing }).await?;
            if let Some(changed) = policy.mutate(server, &call).await? {
                *object = changed;
            }
        }
    }
    Ok(warnings)
}

/// Asks the LimitRanges, the policies and the validating webhooks.
pub(crate) async fn judge(
    server: &Arc<Server>,
    writing: Writing<'_>,
) -> Result<Vec<String>, ApiError> {
    if !is_judged(&writing) {
        return Ok(Vec::new());
    }
    within_limits(server, &writing).await?;
    let Some(state) = server.active.state() else { return Ok(Vec::new()) };
    if state.policies.is_empty() && state.validating.is_empty() {
        return Ok(Vec::new());
    }
    let call = Call::new(server, writing).await?;
    let mut warnings = Vec::new();
    for policy in &state.policies {
        policy.judge(server, &call, &mut warnings).await?;
    }
    // They do not depend on each other, so the slowest one is all that is waited for.
    let asked = state.validating.iter().map(|webhook| async {
        let mut warnings = Vec::new();
        let result = webhook.ask(server, &call, "validating", &mut warnings).await;
        (result, warnings)
    });
    for (result, more) in futures::future::join_all(asked).await {
        warnings.extend(more);
        result?;
    }
    Ok(warnings)
}

/// Refuses what asks for more or less than an active LimitRange allows.
async fn within_limits(server: &Server, writing: &Writing<'_>) -> Result<(), ApiError> {
    let Some(object) = writing.object else { return Ok(()) };
    let ranges = ranges(server, writing, object).await?;
    let causes = if writing.kind.is("", "pods") {
        limits::of_pod(object, &ranges)
    } else {
        limits::of_claim(object, &ranges)
    };
    let Some(first) = causes.first() else { return Ok(()) };
    let why = match causes.as_slice() {
        [_] => format!("{}: {}", first.field, first.message),
        all => {
            let all: Vec<_> =
                all.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
            format!("[{}]", all.join(", "))
        }
    };
    let Kind { group, plural, .. } = writing.kind;
    let refused = ApiError::forbidden(group, plural, writing.name, &why);
    let causes =
        causes.into_iter().map(|it| Cause { reason: admission::LIMIT_RANGE_EXCEEDED, ..it });
    Err(causes.fold(refused, ApiError::caused_by))
}

/// A write, as policies and webhooks see it.
struct Call<'w> {
    writing: Writing<'w>,
    /// The namespace that it is made in.
    namespace: Option<Value>,
    /// `request` of expressions and of reviews, without the objects.
    request: Value,
}

impl<'w> Call<'w> {
    async fn new(server: &Server, writing: Writing<'w>) -> Result<Self, ApiError> {
        let namespace = match writing.namespace {
            Some(name) => {
                let entry = server.store.get(&key("", "namespaces", None, name)).await?;
                entry.and_then(|entry| serde_json::from_slice(&entry.value).ok())
            }
            None => None,
        };
        let Kind { group, version, kind, plural, .. } = writing.kind;
        let (kind, resource) = (
            json!({"group": group, "version": version, "kind": kind}),
            json!({"group": group, "version": version, "resource": plural}),
        );
        let identity = writing.identity;
        let request = json!({
            "uid": uuid::Uuid::new_v4().to_string(),
            "kind": kind,
            "resource": resource,
            "subResource": writing.subresource,
            "requestKind": kind,
            "requestResource": resource,
            "requestSubResource": writing.subresource,
            "name": writing.name,
            "namespace": writing.namespace.unwrap_or_default(),
            "operation": operation(writing.operation),
            "userInfo": {
                "username": identity.user,
                "uid": identity.uid,
                "groups": identity.groups,
                "extra": identity.extra,
            },
            "dryRun": writing.dry_run,
            "options": {},
        });
        Ok(Self { writing, namespace, request })
    }

    fn object(&self) -> &Value {
        self.writing.object.unwrap_or(&Value::Null)
    }

    fn old(&self) -> &Value {
        self.writing.old.unwrap_or(&Value::Null)
    }

    /// The variables of an expression about `object`, and how large they are.
    fn variables(&self, object: &Value) -> (Vec<(&'static str, cel::CelValue)>, u64) {
        let mut size = 0;
        let variables = vec![
            ("object", cel::plain(object, &mut size)),
            ("oldObject", cel::plain(self.old(), &mut size)),
            ("request", cel::plain(&self.request, &mut size)),
        ];
        (variables, size)
    }

    fn forbidden(&self, why: &str) -> ApiError {
        let Kind { group, plural, .. } = self.writing.kind;
        ApiError::forbidden(group, plural, self.writing.name, why)
    }
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
    }
}

/// What is wrong with an active object, or one that is meant to be: one that could not be carried out is not accepted.
pub(crate) fn check(
    server: &Server,
    kind: &Kind,
    old: Option<&Value>,
    object: &Value,
) -> Vec<Cause> {
    let bounds = kind.is("", "resourcequotas") || kind.is("", "limitranges");
    if (*kind.group != *GROUP && !bounds) || kind.is_custom() {
        return Vec::new();
    }
    if !is_active(object) {
        return misspelt(old, object).into_iter().collect();
    }
    match &*kind.plural {
        "limitranges" => {
            server.active.ranges.note();
            limits::check(object)
        }
        "resourcequotas" => {
            server.active.quotas.note();
            quota::check(object)
        }
        "validatingadmissionpolicies" => on_large_stack(|| validating::check(object)),
        "mutatingadmissionpolicies" => on_large_stack(|| mutating::check(object)),
        "validatingwebhookconfigurations" | "mutatingwebhookconfigurations" => {
            on_large_stack(|| webhook::check(object))
        }
        _ => Vec::new(),
    }
}

/// An annotation that was meant to make the object active and does not. One that stands there already does not keep the
/// object from being changed.
fn misspelt(old: Option<&Value>, object: &Value) -> Option<Cause> {
    let said = |it: &Value| it["metadata"]["annotations"][HUB_ANNOTATION].clone();
    let value = said(object);
    if value.is_null() || old.map(said).as_ref() == Some(&value) {
        return None;
    }
    let field = format!("metadata.annotations[{HUB_ANNOTATION}]");
    Some(FieldError::not_supported(field, value, [ACTIVE]).into())
}

/// What users should be told of an object that looks as if it did more than it does.
pub(crate) fn warnings(kind: &Kind, object: &Value) -> Vec<String> {
    let builtin = |group: &str, plurals: &[&str]| {
        !kind.is_custom() && *kind.group == *group && plurals.contains(&&*kind.plural)
    };
    let hooks =
        builtin(GROUP, &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]);
    let list = object["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out = Vec::new();
    if hooks && list.iter().any(|webhook| webhook["clientConfig"]["service"].is_object()) {
        out.push(
            "webhooks with clientConfig.service act on members only; this server does not call them"
                .to_owned(),
        );
    }
    let policies = builtin(GROUP, &["mutatingadmissionpolicies", "validatingadmissionpolicies"]);
    let activable = (hooks && !list.is_empty()) || policies;
    if activable && !is_active(object) && out.is_empty() {
        out.push(format!(
            "it acts on members only; to make it act on this server too, annotate it {HUB_ANNOTATION}: {ACTIVE}"
        ));
    }
    out
}

/// Reads an optional object's text.
fn text<'v>(object: &'v Value, field: &str) -> &'v str {
    object[field].as_str().unwrap_or_default()
}

fn name(object: &Value) -> String {
    object::meta(object, "name").to_owned()
}
