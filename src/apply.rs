//! `archipel apply PLAN`: makes the changes of a kept plan, exactly those, and gives the approvals that it names.
//!
//! Nothing of the kept answer is trusted: it is asked for once more. What it says to fail or to wait is warned of and
//! does not stop it, as whoever kept the plan was told; the guard-rails hold all the same.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use federation_types::{
    names::{APPROVED_ANNOTATION, Gvk},
    reason::applied,
    review::plan::{Check, CheckResult, ObjectRef, PlanSpec, PlanStatus},
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    discovery::{Scope, pinned_kind},
};
use serde_json::{Value, json};

use crate::{
    hub::Hub,
    output::{self, Failure},
    plan::{SavedPlan, ask_plan, sources::reference, text},
    policy::files,
};

mod events;

/// The field manager of what is applied; plans are made for it too.
const MANAGER: &str = "archipel-apply";

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A plan that `archipel plan --out` or `archipel optimise --out` has kept.
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    #[command(flatten)]
    hub: Hub,
}

/// Why a plan is not applied.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error(
        "`{path}` is not a plan: `archipel plan -f FILE --out PLAN` and `archipel optimise --out PLAN` make one"
    )]
    NotAPlan { path: PathBuf, source: serde_json::Error },
    #[error(
        "`{path}` is not as it was written: plan again instead of editing a plan; nothing was changed"
    )]
    Edited { path: PathBuf },
    #[error(
        "the plan is out of date: what it was worked out from has changed, and now it would be: {now}\n\
         plan again: nothing was changed"
    )]
    OutOfDate { now: String },
    #[error("the hub would refuse {what}\nnothing was changed")]
    Refused { what: String },
    #[error("{done} of {all} changes were made; {what} was not")]
    Interrupted { done: usize, all: usize, what: String, source: kube::Error },
}

impl Apply {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let file = files::one(&self.plan)?;
        let plan: SavedPlan = serde_json::from_str(&file.text)
            .map_err(|source| ApplyError::NotAPlan { path: self.plan.clone(), source })?;
        if !plan.is_whole() {
            return Err(ApplyError::Edited { path: self.plan }.into());
        }
        let client = self.hub.client().await?;
        let now = ask_plan(&client, &plan.spec, &plan.sources).await?;
        let kinds = BTreeMap::new();
        let mut work = Work { client, kinds, sources: plan.sources, done: 0, all: 0 };
        if now.inputs != plan.status.inputs {
            let words = events::out_of_date(&plan.spec, &now);
            work.tell(&words, ("Warning", applied::PLAN_OUT_OF_DATE)).await;
            return Err(ApplyError::OutOfDate { now: text::summary(&now) }.into());
        }
        let refused = now.objects.iter().filter_map(|it| Some((&it.object, it.refused.as_ref()?)));
        let refused: Vec<String> =
            refused.map(|(object, it)| format!("{object}: {}", it.message)).collect();
        if !refused.is_empty() {
            return Err(ApplyError::Refused { what: refused.join("; ") }.into());
        }
        if now.is_empty() {
            output::line(text::summary(&now));
            return Ok(());
        }
        let approvals: Vec<(ObjectRef, String)> = now
            .templates
            .iter()
            .filter(|it| !it.approval.is_empty())
            .map(|it| (it.template.clone(), it.approval.clone()))
            .collect();
        for warning in warnings(&now) {
            output::progress(warning);
        }
        work.all = approvals.len() + plan.spec.objects.len() + plan.spec.delete.len();
        // Approvals first: a move that they name must find them when the objects make it due.
        for (template, approval) in &approvals {
            work.approve(template, approval).await?;
        }
        work.write(&plan.spec).await?;
        let words = events::applied(&plan.spec, &now);
        work.tell(&words, ("Normal", applied::PLAN_APPLIED)).await;
        output::line(text::summary(&now));
        output::progress("applied; archipel status shows how it goes on");
        Ok(())
    }
}

/// What of the plan fails or waits.
fn warnings(plan: &PlanStatus) -> Vec<String> {
    let unwell = plan.checks.iter().filter(|it| it.result != CheckResult::Passed);
    unwell
        .map(|it| {
            let Check { name, result, message } = it;
            let word = if *result == CheckResult::Failed { "fails" } else { "waits" };
            format!("warning: check {name} {word}: {message}")
        })
        .collect()
}

struct Work {
    client: Client,
    kinds: BTreeMap<(String, String), (ApiResource, Scope)>,
    /// Where the objects were read, in their order; empty in a plan that was kept without.
    sources: Vec<String>,
    done: usize,
    all: usize,
}

impl Work {
    /// Writes events, as far as the user may.
    async fn tell(&mut self, words: &[events::Word], kind: (&str, &str)) {
        for word in words {
            let Ok(api) = self.api(&word.object).await else { continue };
            if let Err(kube::Error::Api(status)) =
                events::write(&self.client, &api, word, kind).await
                && status.is_forbidden()
            {
                return;
            }
        }
    }

    async fn approve(&mut self, template: &ObjectRef, approval: &str) -> Result<(), Failure> {
        let api = self.api(template).await?;
        // The time makes an approval of the same move another one: none is used twice.
        let value = format!("{approval}/{}", jiff::Timestamp::now());
        let patch = json!({"metadata": {"annotations": {APPROVED_ANNOTATION: value}}});
        let parameters =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let result = api.patch(&template.name, &parameters, &Patch::Merge(patch)).await;
        self.after("approved", template, None, result.map(drop))
    }

    async fn write(&mut self, spec: &PlanSpec) -> Result<(), Failure> {
        for (at, object) in in_order(&spec.objects) {
            let reference = reference(object);
            let api = self.api(&reference).await?;
            let mut parameters = PatchParams::apply(MANAGER).validation_strict();
            parameters.force = spec.force;
            let result = api.patch(&reference.name, &parameters, &Patch::Apply(object)).await;
            let source = self.sources.get(at).cloned();
            self.after("applied", &reference, source, result.map(drop))?;
        }
        for object in &spec.delete {
            let api = self.api(object).await?;
            let result = match api.delete(&object.name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(drop),
            };
            self.after("deleted", object, None, result)?;
        }
        Ok(())
    }

    fn after(
        &mut self,
        verb: &str,
        object: &ObjectRef,
        source: Option<String>,
        result: Result<(), kube::Error>,
    ) -> Result<(), Failure> {
        let (done, all) = (self.done, self.all);
        let what = source.unwrap_or_else(|| object.to_string());
        result.map_err(|source| ApplyError::Interrupted { done, all, what, source })?;
        self.done += 1;
        output::progress(format_args!("{object} {verb}"));
        Ok(())
    }

    async fn api(&mut self, object: &ObjectRef) -> Result<Api<DynamicObject>, Failure> {
        let id = (object.api_version.clone(), object.kind.clone());
        if !self.kinds.contains_key(&id) {
            let gvk = Gvk::new(&object.api_version, &object.kind);
            let (resource, capabilities) = pinned_kind(&self.client, &(&gvk).into()).await?;
            self.kinds.insert(id.clone(), (resource, capabilities.scope));
        }
        let (resource, scope) = &self.kinds[&id];
        Ok(match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), resource),
            Scope::Namespaced => {
                let namespace = match object.namespace.as_str() {
                    "" => "default",
                    stated => stated,
                };
                Api::namespaced_with(self.client.clone(), namespace, resource)
            }
        })
    }
}

/// Namespaces and definitions before what needs them, each with its place in the list.
fn in_order(objects: &[Value]) -> Vec<(usize, &Value)> {
    let mut ordered: Vec<(usize, &Value)> = objects.iter().enumerate().collect();
    ordered.sort_by_key(|(_, it)| match it["kind"].as_str() {
        Some("Namespace") => 0,
        Some("CustomResourceDefinition") => 1,
        _ => 2,
    });
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_or_waits_is_warned_of() {
        let check = |name: &str, result| Check {
            name: name.to_owned(),
            result,
            message: "Deployment shop/web: why".to_owned(),
        };
        let plan = PlanStatus {
            checks: vec![
                check("policy", CheckResult::Failed),
                check("limits", CheckResult::Passed),
                check("disruption", CheckResult::Waits),
            ],
            ..PlanStatus::default()
        };
        assert_eq!(
            warnings(&plan),
            [
                "warning: check policy fails: Deployment shop/web: why",
                "warning: check disruption waits: Deployment shop/web: why"
            ]
        );
    }
}
