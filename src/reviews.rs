//! The reviews `Plan` and `Simulation`: from the server to the placement controller, with a client of the caller's own.

use std::sync::{Arc, OnceLock};

use federation_server::{
    app::Server,
    hooks::{Review, ReviewError},
    identity::Identity,
};
use federation_types::names::SYSTEM_NAMESPACE;
use futures::future::BoxFuture;
use kube::Client;
use placement_controller::{Controller, PlanError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Set once the server is open.
pub(crate) type Opened = Arc<OnceLock<Arc<Server>>>;

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
                let spec = serde_json::from_value(spec).map_err(|error| ReviewError::Invalid {
                    field: "spec".to_owned(),
                    message: error.to_string(),
                })?;
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
