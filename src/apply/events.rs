//! Events on what a plan is about: that it was applied, or refused as out of date. Where the user may not write events,
//! none are written: they say nothing that the objects do not show.

use federation_types::{
    names::short_hash,
    review::plan::{ObjectRef, PlanSpec, PlanStatus, TemplateChange},
};
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{DynamicObject, ObjectMeta, PostParams},
};

use super::MANAGER;
use crate::plan::{sources::reference, text};

/// So many objects are told; a plan of more stands in their Placements all the same.
const TOLD: usize = 20;

/// What is said of one object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) object: ObjectRef,
    pub(super) message: String,
}

/// What is said of a plan that was applied: of the objects that were handed in, and of the templates that change.
pub(super) fn applied(spec: &PlanSpec, plan: &PlanStatus) -> Vec<Word> {
    let summary = text::summary(plan);
    let of_object = |object| Word { object, message: format!("archipel apply: {summary}") };
    let changed = plan.templates.iter().filter(|it| !it.changes.is_empty());
    let of_template = |it: &TemplateChange| {
        let changes: Vec<String> = it.changes.iter().map(text::change).collect();
        let message = format!("archipel apply: {}", changes.join(", "));
        Word { object: it.template.clone(), message }
    };
    let mut words: Vec<Word> = changed.map(of_template).collect();
    let objects = spec.objects.iter().map(reference);
    words.extend(objects.filter(|it| !names(&words, it)).map(of_object).collect::<Vec<_>>());
    words.truncate(TOLD);
    words
}

/// What is said of a plan that is out of date: `now` is what it would be.
pub(super) fn out_of_date(spec: &PlanSpec, now: &PlanStatus) -> Vec<Word> {
    let now = text::summary(now);
    let of = |object| Word {
        object,
        message: format!("archipel apply: refused as out of date; now it would be: {now}"),
    };
    let objects = spec.objects.iter().map(reference).chain(spec.delete.iter().cloned());
    let moved = spec.moves.iter().map(|it| it.template.clone());
    objects.chain(moved).take(TOLD).map(of).collect()
}

fn names(words: &[Word], object: &ObjectRef) -> bool {
    words.iter().any(|it| it.object.kind == object.kind && it.object.name == object.name)
}

/// Writes an event of the object that `api` reads, which is there.
pub(super) async fn write(
    client: &Client,
    api: &Api<DynamicObject>,
    word: &Word,
    (kind, reason): (&str, &str),
) -> Result<(), kube::Error> {
    let Some(meta) = api.get_metadata_opt(&word.object.name).await? else { return Ok(()) };
    let event = event(word, meta.metadata.uid, (kind, reason), Timestamp::now());
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let events = Api::<Event>::namespaced(client.clone(), &namespace);
    events.create(&PostParams::default(), &event).await.map(drop)
}

fn event(word: &Word, uid: Option<String>, (kind, reason): (&str, &str), now: Timestamp) -> Event {
    let ObjectRef { api_version, kind: of, namespace, name } = &word.object;
    let home = if namespace.is_empty() { "default" } else { namespace };
    let id = short_hash(format!("{} {} {now}", word.object, word.message).as_bytes());
    let stem: String = name.to_lowercase().replace(':', "-").chars().take(200).collect();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{stem}.{id}")),
            namespace: Some(home.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(api_version.clone()),
            kind: Some(of.clone()),
            name: Some(name.clone()),
            namespace: (!namespace.is_empty()).then(|| namespace.clone()),
            uid,
            ..ObjectReference::default()
        },
        type_: Some(kind.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(word.message.clone()),
        source: Some(EventSource { component: Some(MANAGER.to_owned()), host: None }),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use federation_types::review::plan::{Action, ClusterChange};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_is_told_its_own_changes_and_what_was_handed_in_the_summary() {
        let web = ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: "web".into(),
        };
        let change = ClusterChange {
            cluster: "gke-b".into(),
            action: Action::Add,
            replicas_after: Some(3),
            ..ClusterChange::default()
        };
        let template =
            TemplateChange { template: web.clone(), changes: vec![change], ..Default::default() };
        let mut plan = PlanStatus { templates: vec![template], ..PlanStatus::default() };
        plan.summarize();
        let policy = json!({"apiVersion": "archipel.dev/v1alpha1", "kind": "PlacementPolicy",
                            "metadata": {"name": "web", "namespace": "shop"}});
        let spec = PlanSpec { objects: vec![policy], ..PlanSpec::default() };
        let words = applied(&spec, &plan);
        assert_eq!(
            words[0],
            Word { object: web, message: "archipel apply: gke-b add 0 → 3".into() }
        );
        assert!(words[1].message.starts_with("archipel apply: Plan: 1 to add"), "{words:?}");
        assert_eq!(words[1].object.to_string(), "PlacementPolicy shop/web");
        let stale = out_of_date(&spec, &PlanStatus::default());
        assert!(stale[0].message.ends_with("now it would be: No changes."), "{stale:?}");
        let event = event(&words[1], None, ("Normal", "PlanApplied"), Timestamp::UNIX_EPOCH);
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
    }
}
