//! Keeps the status of override policies true: how many templates match, how many are rendered with it, and which rules
//! cannot do what they say. Worked out at most once a tick and written on change only.

use std::collections::BTreeMap;

use federation_types::{
    condition::Condition,
    names::ObjectKey,
    overrides::{FailingRule, OverrideStatus},
    placement::CopyStatus,
    reason::{condition::READY, copy},
    words::counted,
};
use placement_engine::claim::{Override, never};

use crate::{
    context::Context,
    index::{Index, Placed, Template},
    revision::revision,
    status::{Id, Names, Status, Statuses},
};

/// So many failing rules are listed; the condition counts all.
const LISTED: usize = 20;

impl Status for OverrideStatus {
    fn conditions(&mut self) -> &mut Vec<Condition> {
        &mut self.conditions
    }

    fn gone(&self) -> Option<&'static str> {
        self.failing.is_empty().then_some("failing")
    }
}

/// Writes what has changed.
pub(crate) async fn write(context: &Context, statuses: &mut Statuses<OverrideStatus>) {
    let counted = {
        let mut index = context.index.lock();
        if !(std::mem::take(&mut index.renders_changed) | statuses.is_due()) {
            return;
        }
        count(&index)
    };
    statuses.write(context, Names::override_policy, counted).await;
}

/// Copies that could not be rendered, by the cluster.
pub(crate) fn unrendered(placed: &Placed) -> impl Iterator<Item = &CopyStatus> {
    placed.status.clusters.iter().filter(|it| it.reason == copy::RENDER_FAILED)
}

/// The status of every override policy, the `Ready` condition first and without its time.
fn count(index: &Index) -> BTreeMap<Id, OverrideStatus> {
    index.overrides.iter().map(|(id, policy)| (id.clone(), status_of(index, policy))).collect()
}

fn status_of(index: &Index, policy: &Override) -> OverrideStatus {
    let mut matched = 0;
    let mut applied = 0;
    let mut unclaimed = 0;
    let mut failing: BTreeMap<(i64, String, String), Vec<String>> = BTreeMap::new();
    let prefix = format!("{} rule ", policy.title());
    for (key, template) in &index.templates {
        let facts = Index::facts(key, template);
        if never(&facts).is_some() || !policy.selects(&facts) {
            continue;
        }
        matched += 1;
        let placed = index.placements.get(key);
        let claimed = match placed {
            Some(placed) => placed.spec.policy_ref.is_some(),
            None => index.claim(key, template).winner.is_some(),
        };
        unclaimed += i64::from(!claimed);
        let Some(placed) = placed else { continue };
        // Nothing is released while no policy claims it: the copies that were left behind are as they were.
        if !claimed && !is_released(index, key, template, placed) {
            continue;
        }
        let mut fails = false;
        for copy in unrendered(placed) {
            // `OverridePolicy shop/web rule 0: jsonPatch[0] /spec/paused: path is invalid`
            let said = copy.message.strip_prefix(&prefix).and_then(|it| it.split_once(": "));
            let Some((rule, why)) = said else { continue };
            let Ok(rule) = rule.parse() else { continue };
            fails = true;
            let group = (rule, template_text(key), why.to_owned());
            failing.entry(group).or_default().push(copy.name.clone());
        }
        applied += i64::from(!fails && !placed.spec.clusters.is_empty());
    }
    let count = failing.len();
    let listed = failing.into_iter().take(LISTED).map(|((rule, template, message), clusters)| {
        FailingRule { rule, template, message, clusters }
    });
    let failing: Vec<FailingRule> = listed.collect();
    let (ready, reason, message) = match failing.first() {
        Some(first) => {
            let more = match count {
                1 => String::new(),
                _ => format!("; {} more in `status.failing`", count - 1),
            };
            let message = format!(
                "rule {} cannot change {} for {}: {}{more}",
                first.rule,
                first.template,
                first.clusters.join(", "),
                first.message
            );
            ("False", copy::RENDER_FAILED, message)
        }
        None => {
            let by_nobody = match unclaimed {
                0 => String::new(),
                _ => format!(
                    "; {} no policy claims: what of it stays in clusters is left as it is",
                    counted(
                        usize::try_from(unclaimed).unwrap_or(usize::MAX),
                        "template",
                        "templates"
                    )
                ),
            };
            let message = format!("{applied} of {matched} that match are changed by it{by_nobody}");
            ("True", "Ready", message)
        }
    };
    OverrideStatus {
        observed_generation: Some(policy.generation),
        conditions: vec![Condition {
            kind: READY.to_owned(),
            status: ready.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(policy.generation),
            last_transition_time: String::new(),
        }],
        matched,
        applied,
        failing,
    }
}

/// Whether the copies hold the template's content with the overrides of this moment.
fn is_released(index: &Index, key: &ObjectKey, template: &Template, placed: &Placed) -> bool {
    let hash = revision(index, key, template, &placed.spec.template).hash;
    placed.spec.clusters.iter().any(|it| it.revision == hash)
}

fn template_text(key: &ObjectKey) -> String {
    if key.namespace.is_empty() {
        format!("{}/{}", key.gvk.kind, key.name)
    } else {
        format!("{}/{} in {}", key.gvk.kind, key.name, key.namespace)
    }
}

#[cfg(test)]
mod tests {
    use federation_types::placement::CopyState;
    use serde_json::json;

    use super::*;
    use crate::tests::world::{World, key};

    #[test]
    fn an_override_of_what_no_policy_claims_is_not_said_to_be_applied() {
        let mut world = World::new("a eks");
        world.apply("web", 2, "v1");
        world.overrides("labels", &json!([{"labels": {"set": {"x": "y"}}}]));
        world.settle();
        let said = |world: &World| {
            let policy = world.index.overrides.values().next().expect("there").clone();
            let status = status_of(&world.index, &policy);
            (status.matched, status.applied, status.conditions[0].message.clone())
        };
        let nobody = "no policy claims: what of it stays in clusters is left as it is";
        let unclaimed = format!("0 of 1 that match are changed by it; 1 template {nobody}");
        assert_eq!(said(&world), (1, 0, unclaimed.clone()));
        world.policy("web", json!({}));
        world.settle();
        assert_eq!(said(&world), (1, 1, "1 of 1 that match are changed by it".to_owned()));
        // The copies that a policy left behind keep what they have; a later change does not reach them.
        world.drop_policy("web");
        world.settle();
        let kept = format!("1 of 1 that match are changed by it; 1 template {nobody}");
        assert_eq!(said(&world), (1, 1, kept));
        world.overrides("labels", &json!([{"labels": {"set": {"x": "z"}}}]));
        world.settle();
        assert_eq!(said(&world), (1, 0, unclaimed));
    }

    #[test]
    fn an_override_policy_says_what_it_changes_and_which_rule_cannot() {
        let mut world = World::new("a eks, b gke");
        world.policy("web", json!({}));
        world.apply("web", 2, "v1");
        world.apply("api", 2, "v1");
        world.overrides(
            "broken",
            &json!([{"labels": {"set": {"x": "y"}}}, {"image": [{"container": "db", "tag": "2"}]}]),
        );
        world.settle();
        let policy = world.index.overrides.values().next().expect("there").clone();
        let status = status_of(&world.index, &policy);
        assert_eq!((status.matched, status.applied), (2, 2));
        assert_eq!(status.conditions[0].status, "True");

        world.index.renders_changed = false;
        world.report(&key("web"), |copy| {
            copy.state = CopyState::Refused;
            copy.reason = copy::RENDER_FAILED.to_owned();
            copy.message =
                "OverridePolicy shop/broken rule 1: image[0]: there is no container `db`"
                    .to_owned();
        });
        assert!(world.index.renders_changed);
        let status = status_of(&world.index, &policy);
        assert_eq!((status.matched, status.applied), (2, 1));
        assert_eq!(
            status.failing,
            [FailingRule {
                rule: 1,
                template: "Deployment/web in shop".into(),
                message: "image[0]: there is no container `db`".into(),
                clusters: vec!["a".into(), "b".into()],
            }]
        );
        let ready = &status.conditions[0];
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", copy::RENDER_FAILED));
        assert!(
            ready.message.contains("rule 1") && ready.message.contains("a, b"),
            "{}",
            ready.message
        );
    }
}
