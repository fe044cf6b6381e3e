//! The reviews `Cost`, `Explanation`, `Plan` and `Simulation`: from the server to who answers, with a client of the
//! caller's own.

use std::sync::{Arc, OnceLock};

use federation_server::{
    app::Server,
    hooks::{Review, ReviewError},
    identity::Identity,
};
use federation_types::{names::SYSTEM_NAMESPACE, review::cost::CostSpec};
use futures::future::BoxFuture;
use kube::Client;
use placement_controller::{Controller, PlanError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    cost::report::{may_cost, report},
    output::Failure,
    seen::Seen,
};

/// Set once the server is open.
pub(crate) type Opened = Arc<OnceLock<Arc<Server>>>;

/// What is placed costs; told to who may list Placements and their templates. Clusters, prices and policies are read by
/// the hub: what a namespace's user is told of them is what their own workloads cost.
pub(crate) fn cost(server: Opened) -> Review {
    let opened = Arc::clone(&server);
    review("Cost", "costs", server, move |caller, spec: CostSpec| {
        let opened = Arc::clone(&opened);
        Box::pin(async move {
            let server = opened.get().expect("a review has a caller once the server is open");
            let own = Identity::component("placement-controller");
            let inventory = Client::new(server.local(own), SYSTEM_NAMESPACE);
            let namespace = Some(spec.namespace.as_str()).filter(|it| !it.is_empty());
            let seen = Seen::read(&caller, &inventory, namespace, may_cost);
            let seen = seen.await.map_err(unread)?;
            let now = jiff::Timestamp::now().to_string();
            // Every Placement is priced: not on a thread that answers requests.
            tokio::task::spawn_blocking(move || report(&seen, spec.by, &now))
                .await
                .map_err(|error| PlanError::Failed(error.to_string()))
        })
    })
}

fn unread(failure: Failure) -> PlanError {
    match failure.downcast::<kube::Error>() {
        Ok(error) => placement_controller::refused("spec.namespace", *error),
        Err(other) => PlanError::Failed(other.to_string()),
    }
}

/// Why a template is where it is; told to who may read it. Behind `archipel why`.
pub(crate) fn explanation(controller: Arc<Controller>, server: Opened) -> Review {
    review("Explanation", "explanations", server, move |caller, spec| {
        let controller = Arc::clone(&controller);
        Box::pin(async move { controller.explain(&caller, &spec).await })
    })
}

/// What a change would do; planned by whoever may make it, told of what the caller may read.
pub(crate) fn plan(controller: Arc<Controller>, server: Opened) -> Review {
    review("Plan", "plans", server, move |caller, spec| {
        let controller = Arc::clone(&controller);
        Box::pin(async move { controller.plan(&caller, &spec).await })
    })
}

/// What would happen if; told of what the caller may read.
pub(crate) fn simulation(controller: Arc<Controller>, server: Opened) -> Review {
    review("Simulation", "simulations", server, move |caller, spec| {
        let controller = Arc::clone(&controller);
        Box::pin(async move { controller.simulate(&caller, &spec).await })
    })
}

fn review<Q, A, F>(kind: &'static str, resource: &'static str, server: Opened, answer: F) -> Review
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + 'static,
    F: Fn(Client, Q) -> BoxFuture<'static, Result<A, PlanError>> + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    Review {
        kind,
        resource,
        namespaced: false,
        answer: Arc::new(move |identity: Identity, review: Value| {
            let (server, answer) = (Arc::clone(&server), Arc::clone(&answer));
            Box::pin(async move {
                let spec = review
                    .get("spec")
                    .cloned()
                    .unwrap_or_else(|| Value::Object(Default::default()));
                let spec = asked(spec)?;
                let server = server.get().ok_or_else(|| {
                    ReviewError::Unavailable("the hub is still starting".to_owned())
                })?;
                let caller = Client::new(server.local(identity), SYSTEM_NAMESPACE);
                let status = answer(caller, spec).await.map_err(refusal)?;
                let mut review = review;
                review["status"] = serde_json::to_value(status)
                    .map_err(|error| ReviewError::Unavailable(error.to_string()))?;
                Ok(review)
            })
        }),
    }
}

fn refusal(error: PlanError) -> ReviewError {
    match error {
        PlanError::Invalid { field, message } => ReviewError::Invalid { field, message },
        PlanError::Forbidden(message) => ReviewError::Forbidden(message),
        PlanError::NotFound(message) => ReviewError::NotFound(message),
        PlanError::Failed(message) => ReviewError::Failed(message),
        PlanError::Unavailable(message) => ReviewError::Unavailable(message),
    }
}

/// What is asked; a field that is not as it must be is named.
fn asked<Q: DeserializeOwned>(spec: Value) -> Result<Q, ReviewError> {
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let field = match error.path().to_string().as_str() {
            "." => "spec".to_owned(),
            path => format!("spec.{path}"),
        };
        ReviewError::Invalid { field, message: format!("Invalid value: {}", error.inner()) }
    })
}

#[cfg(test)]
mod tests {
    use federation_types::review::{ExplanationSpec, plan::PlanSpec};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_is_not_as_it_must_be_is_named() {
        let said = |spec: Value| asked::<PlanSpec>(spec).unwrap_err().to_string();
        let text = said(json!({"moves": [{"template": {"apiVersion": 1}}]}));
        assert!(text.starts_with("spec.moves[0].template.apiVersion: Invalid value: "), "{text}");
        let text = said(json!({"object": []}));
        assert!(text.contains("unknown field `object`"), "{text}");
        let text = asked::<ExplanationSpec>(json!("web")).unwrap_err().to_string();
        assert!(text.starts_with("spec: Invalid value: "), "{text}");
    }
}
