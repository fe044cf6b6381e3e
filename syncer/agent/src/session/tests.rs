//! Two words on one copy at the same time: the answer to a write, and the watch.

use federation_types::placement::{CopyState, PlacedCluster, PlacementSpec};
use kube::Client;
use serde_json::json;
use syncer_render::CopyReport;

use super::*;
use crate::{SyncerContext, index::PlacementEntry};

/// A session with a member that answers nothing, and a Placement of one Deployment there.
fn session() -> (Arc<Session>, Key) {
    let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Ok::<_, std::io::Error>(http::Response::new(kube::client::Body::empty()))
    });
    let client = Client::new(nobody, "default");
    let context = SyncerContext::new(client.clone(), "hub".to_owned(), Default::default());
    let shared = Arc::new(Shared::new(context));
    let key = Arc::new(ObjectKey {
        gvk: Gvk::new("apps/v1", "Deployment"),
        namespace: "shop".into(),
        name: "web".into(),
    });
    let entry = PlacementEntry {
        key: Arc::clone(&key),
        name: "deployment-web".into(),
        uid: "uid".into(),
        generation: 1,
        spec: PlacementSpec {
            clusters: vec![PlacedCluster { name: "a".into(), ..PlacedCluster::default() }],
            ..PlacementSpec::default()
        },
    };
    shared.index.write().put_placement(entry);
    let queue = Arc::new(Queue::default());
    (Session::new("a", &shared, MemberClient::around(client, "a"), &queue), key)
}

fn live(version: u64, image: &str, ready: i64) -> LiveObject {
    let text = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": version.to_string(),
            "annotations": {"archipel.dev/copy-of": "hub/apps/Deployment/shop/web/t"},
        },
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"image": image}]}}},
        "status": {"replicas": 1, "readyReplicas": ready, "availableReplicas": ready},
    });
    LiveObject::parse(&text.to_string()).expect("parses")
}

fn version(session: &Session, key: &Key) -> u64 {
    session.slots.lock()[key].seen.as_ref().expect("seen").version
}

#[tokio::test]
async fn of_two_views_of_one_copy_the_older_one_never_comes_last() {
    let (session, key) = session();
    session.observe(&key.gvk, &live(4, "web:1", 0));
    // The answer to a write is being looked at while the watch brings what came after it.
    let (older, changed) = session.assess(&key, &live(5, "web:2", 0)).expect("newer than 4");
    session.observe(&key.gvk, &live(6, "web:2", 1));
    session.take_over(&key, older, changed);
    assert_eq!(version(&session, &key), 6);
    let last = session.shared.board.last(&key, "a").expect("reported");
    assert_eq!(last.health.expect("seen").ready, Some(1));
    // An object of another uid took the name: versions of the two say nothing of each other.
    let (mut other, changed) = session.assess(&key, &live(7, "web:2", 1)).expect("newer than 6");
    (other.uid, other.version) = ("other".into(), 3);
    session.take_over(&key, other, changed);
    assert_eq!(version(&session, &key), 3);
}

#[tokio::test]
async fn of_two_reports_of_one_copy_the_newer_one_comes_last() {
    let (session, key) = session();
    let report = |state| CopyReport { state, ..CopyReport::default() };
    let mut newest = CopyState::Progressing;
    session.tell(&key, || {
        let looked = report(newest);
        if newest == CopyState::Progressing {
            // Between our look and our word another one looks and has its word.
            newest = CopyState::Ready;
            session.shared.board.report(&key, "a", report(newest));
        }
        Some(looked)
    });
    assert_eq!(session.shared.board.last(&key, "a").map(|it| it.state), Some(CopyState::Ready));
}
