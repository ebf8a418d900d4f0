//! Whatever reads the store has its room among all who do.

use axum::extract::{FromRequest as _, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};

use super::*;
use crate::node::NodeSettings;
use crate::root_key::RootKeyPlace;

fn api(dir: &std::path::Path) -> Arc<Api> {
    let root = RootKeyPlace::new(Some(&dir.join("root.key"))).unwrap();
    let node = Arc::new(Node::open(&dir.join("data"), &root, &NodeSettings::default()).unwrap());
    let keys = Arc::new(ApiKeys::open(node.keyring().clone()).unwrap());
    Arc::new(Api::new(node, keys, "local".to_owned(), None).unwrap())
}

fn admin() -> Extension<Caller> {
    let who = Who::Key { id: "key_1".to_owned(), name: "laptop".to_owned() };
    Extension(Caller::of_tests(who, Role::Admin))
}

async fn body(json: serde_json::Value) -> Body {
    let request = Json(json).into_response().into_body();
    Body::from_request(Request::new(request), &()).await.unwrap()
}

async fn status(answer: impl Future<Output = Result<Response, ApiError>>) -> StatusCode {
    answer.await.into_response().status()
}

#[tokio::test]
async fn whoever_opens_a_reader_of_their_own_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path());
    let mut rooms = Vec::new();
    while let Ok(room) = tokio::time::timeout(std::time::Duration::from_millis(50), api.room_to_read()).await {
        rooms.push(room.unwrap());
    }
    let days = |days: u16| axum::extract::Query(serde_json::from_value(serde_json::json!({ "days": days })).unwrap());
    let event = "0190163d-8694-739b-aea5-966c26f8ad90";
    let explained = serde_json::json!({ "event": event });
    let taken_out = serde_json::json!({ "what": { "session": "s" }, "reason": "r" });
    let recovered = serde_json::json!({ "record": event, "reason": "r" });
    let (a, b, c, d, e) = tokio::join!(
        status(rules::coverage(State(api.clone()), admin(), days(30))),
        status(rules::explain(State(api.clone()), admin(), body(explained.clone()).await)),
        status(lifecycle::evidence(State(api.clone()), admin(), body(taken_out.clone()).await)),
        status(lifecycle::request_recovery(State(api.clone()), admin(), body(recovered.clone()).await)),
        // What is refused anyway needs no room. Any other number of days would be another answer each time.
        status(rules::coverage(State(api.clone()), admin(), days(31))),
    );
    assert_eq!([a, b, c, d], [StatusCode::TOO_MANY_REQUESTS; 4]);
    assert_eq!(e, StatusCode::BAD_REQUEST);
    rooms.truncate(15);
    assert_eq!(status(rules::explain(State(api.clone()), admin(), body(explained).await)).await, StatusCode::NOT_FOUND);
    assert_eq!(status(lifecycle::evidence(State(api.clone()), admin(), body(taken_out).await)).await, StatusCode::NOT_FOUND);
    let none = status(lifecycle::request_recovery(State(api.clone()), admin(), body(recovered).await)).await;
    assert_eq!(none, StatusCode::NOT_FOUND);
    // What they had is there again.
    assert!(tokio::time::timeout(std::time::Duration::from_secs(5), api.room_to_read()).await.unwrap().is_ok());
}

/// Neither do they wait themselves: what is made for everybody is nobody's share.
#[tokio::test]
async fn whoever_has_used_up_their_share_keeps_nobody_waiting_for_what_is_made_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path());
    let short = std::time::Duration::from_millis(50);
    let asked = readers::asked_by("key_1".to_owned(), async {
        let mut rooms = Vec::new();
        while let Ok(room) = tokio::time::timeout(short, api.room_to_read()).await {
            rooms.push(room.unwrap());
        }
        let pulse = status(console::overview::pulse(State(api.clone())));
        let pulse = tokio::time::timeout(std::time::Duration::from_secs(4), pulse).await;
        let entities = tokio::time::timeout(std::time::Duration::from_secs(4), api.at_risk()).await;
        (rooms.len(), pulse, entities.is_ok_and(|entities| entities.is_ok()))
    });
    assert_eq!(asked.await, (5, Ok(StatusCode::OK), true));
}
