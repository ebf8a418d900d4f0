//! The tower layer over a service.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test relies on and does not find ends the test")]

use std::net::TcpListener;
use std::time::Duration;

use event::Role;
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};
use watchkeeper_client::{Client, Config, Describe, Event, Loss, Message, RecordLayer, Recorded, Scope};

#[derive(Clone)]
struct Chat(Scope);

impl Describe<String, String, String> for Chat {
    fn request(&self, request: &String) -> Option<Event> {
        (!request.is_empty()).then(|| self.0.model_call("chat", "m", [Message::new(Role::User, request)]))
    }

    fn response(&self, event: Event, result: Result<&String, &String>) -> Event {
        match result {
            Ok(answer) => event.answer(answer),
            Err(error) => event.attribute("error.type", error.as_str()),
        }
    }
}

async fn model(prompt: String) -> Result<String, String> {
    if prompt == "fail" { Err("overloaded".to_owned()) } else { Ok(prompt.to_uppercase()) }
}

#[tokio::test]
async fn a_layer_that_commits_gives_nothing_unrecorded_and_one_that_does_not_counts() {
    // Nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = Config::new(&format!("http://{address}"), "wk_test").unwrap();
    config.deadline = Duration::from_millis(50);
    config.queue_events_max = 1;
    let client = Client::new(config).unwrap();
    let layer = RecordLayer::new(client.clone(), Chat(Scope::default()));

    let mut committing = ServiceBuilder::new().layer(layer.clone().committing()).service(service_fn(model));
    let unrecorded = committing.ready().await.unwrap().call("hi".to_owned()).await;
    assert!(matches!(unrecorded, Err(Recorded::Record(_))), "{unrecorded:?}");
    // What is of no kind that is recorded passes.
    assert_eq!(committing.ready().await.unwrap().call(String::new()).await.unwrap(), "");

    let mut observing = ServiceBuilder::new().layer(layer).service(service_fn(model));
    assert_eq!(observing.ready().await.unwrap().call("hi".to_owned()).await.unwrap(), "HI");
    assert!(
        matches!(observing.ready().await.unwrap().call("fail".to_owned()).await, Err(Recorded::Call(error)) if error == "overloaded")
    );
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while client.losses().total() < 3 {
        assert!(std::time::Instant::now() < until, "{:?}", client.losses());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(client.losses().counts.contains_key(&Loss::Unreachable));
}
