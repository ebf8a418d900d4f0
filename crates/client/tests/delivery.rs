//! Delivery to the real decoder of the events API, behind which a recorder fails as told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test relies on and does not find ends the test")]

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use capture::api::Limits;
use capture::{RawEvent, Receipt, RecordError as ServerError, Recorder};
use event::{Kind, Phase, Role, attr};
use watchkeeper_client::{Client, Config, Event, Loss, Losses, Message, RecordError, Scope, Tool};

/// Longest time that anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Records in memory, and once for each entry of `errors` not.
#[derive(Default)]
struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: Vec<RawEvent>,
    ids: BTreeSet<String>,
    errors: VecDeque<Failure>,
    calls: usize,
}

#[derive(Clone)]
enum Failure {
    Answer(ServerError),
    /// Records, and never answers.
    Silence,
}

impl Recorder for Memory {
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, ServerError>> + Send + '_>> {
        Box::pin(async move {
            let (receipts, failure) = {
                let mut state = self.state.lock().unwrap();
                state.calls += 1;
                let failure = state.errors.pop_front();
                if let Some(Failure::Answer(error)) = failure {
                    return Err(error);
                }
                let mut receipts = Vec::new();
                for event in events {
                    let duplicate = !state.ids.insert(event.id.to_string());
                    receipts.push(Receipt { event_id: event.id, position: state.events.len() as u64, duplicate });
                    if !duplicate {
                        state.events.push(event);
                    }
                }
                (receipts, failure)
            };
            if failure.is_some() {
                std::future::pending::<()>().await;
            }
            Ok(receipts)
        })
    }
}

impl Memory {
    fn failing(errors: impl IntoIterator<Item = Failure>) -> Arc<Self> {
        let memory = Arc::new(Self::default());
        memory.state.lock().unwrap().errors.extend(errors);
        memory
    }

    fn names(&self) -> Vec<String> {
        self.state.lock().unwrap().events.iter().map(|event| event.name.expose().to_owned()).collect()
    }

    fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }
}

/// Serves on a socket from a thread of its own.
fn serve(memory: Arc<Memory>, socket: TcpListener, limits: Limits) -> SocketAddr {
    let address = socket.local_addr().unwrap();
    socket.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
            let router: Router = capture::api::router(memory, limits);
            axum::serve(tokio::net::TcpListener::from_std(socket).unwrap(), router).await.unwrap();
        });
    });
    address
}

fn start(memory: &Arc<Memory>) -> SocketAddr {
    serve(memory.clone(), TcpListener::bind("127.0.0.1:0").unwrap(), Limits::default())
}

fn config(address: SocketAddr) -> Config {
    let mut config = Config::new(&format!("http://{address}"), "wk_test").unwrap();
    config.deadline = SOON;
    config
}

fn named(name: &str) -> Event {
    Event::of(Kind::Session).name(name)
}

fn gaps(memory: &Memory) -> Vec<(String, i64)> {
    let state = memory.state.lock().unwrap();
    let gaps = state.events.iter().filter(|event| event.kind == Kind::Gap);
    gaps.map(|gap| {
        let value = |key: event::Key| gap.attributes[&key].clone();
        (value(attr::GAP_REASON).as_text().unwrap().expose().to_owned(), value(attr::GAP_COUNT).as_int().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn what_was_recorded_is_what_was_said() {
    let memory = Memory::failing([]);
    let client = Client::new(config(start(&memory))).unwrap();
    let scope = Scope::default().session("s").user("u").application("app").agent("a");
    let receipt = client.record(scope.tool_call("get_weather", &serde_json::json!({"city": "Paris"}))).await.unwrap();
    assert_eq!((receipt.position, receipt.duplicate), (0, false));
    client.submit(scope.retrieval("kb", "what is it?").document("d1", "it is this", Some(0.5))).unwrap();
    let call = scope.model_call("chat", "m", [Message::new(Role::User, "hi")]).phase(Phase::Complete);
    let answer =
        client.observed(call, async { Ok::<_, ()>("hello".to_owned()) }, |event, result| event.answer(result.unwrap())).await;
    assert_eq!(answer.unwrap(), "hello");
    client.flush(SOON).await.unwrap();
    let state = memory.state.lock().unwrap();
    let kinds: Vec<_> = state.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::ToolCall, Kind::Retrieval, Kind::ModelCall]);
    assert_eq!(state.events[0].id, receipt.event_id);
    let texts: Vec<_> = state.events.iter().flat_map(|event| event.pieces.iter().map(|piece| piece.content.expose())).collect();
    assert_eq!(texts, [r#"{"city":"Paris"}"#, "what is it?", "it is this", "hi", "hello"]);
    assert!(state.events[2].duration_ns.is_some() && state.events[2].status == event::Status::Ok);
    assert!(state.events.iter().all(|event| event.identity.user.as_ref().unwrap().id.expose() == "u"));
}

#[test]
fn the_blocking_form_works_inside_a_runtime_too() {
    let memory = Memory::failing([]);
    let client = Client::new(config(start(&memory))).unwrap();
    client.record_blocking(named("outside")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { client.record_blocking(named("inside")).unwrap() });
    client.flush_blocking(SOON).unwrap();
    assert_eq!(memory.names(), ["outside", "inside"]);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_says_and_a_lost_answer_records_nothing_twice() {
    let busy = ServerError::Busy { retry_after: Duration::from_secs(1) };
    let memory = Memory::failing([Failure::Answer(busy), Failure::Silence]);
    let mut config = config(start(&memory));
    config.attempt_timeout = Duration::from_millis(300);
    let client = Client::new(config).unwrap();
    let begun = std::time::Instant::now();
    let receipt = client.record(named("once")).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After was not heeded");
    assert!(receipt.duplicate, "the attempt without an answer was recorded, and this one is its repeat");
    assert_eq!((memory.names(), memory.calls()), (vec!["once".to_owned()], memory.calls().max(3)));
    assert!(client.losses().is_empty());
}

#[tokio::test]
async fn what_a_dead_server_did_not_get_is_told_as_a_gap_when_one_is_there_again() {
    let memory = Memory::failing([]);
    // A port that is known to be free, because it was just ours.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = config(address);
    config.deadline = Duration::from_millis(200);
    let client = Client::new(config).unwrap();
    assert!(matches!(client.record(named("lost")).await, Err(RecordError::Unreachable(_) | RecordError::Deadline)));
    let until = std::time::Instant::now() + SOON;
    while client.losses().is_empty() {
        assert!(std::time::Instant::now() < until, "the loss is not counted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.losses().counts[&Loss::Unreachable], 1);
    serve(memory.clone(), TcpListener::bind(address).unwrap(), Limits::default());
    while client.record(named("there")).await.is_err() {
        assert!(std::time::Instant::now() < until, "the server is not found again");
    }
    client.flush(SOON).await.unwrap();
    let told: i64 = gaps(&memory).iter().map(|(reason, count)| if reason == "sensor_unreachable" { *count } else { 0 }).sum();
    assert!(told >= 1 && client.losses().is_empty(), "{told} {client:?}");
    assert!(!memory.names().contains(&"lost".to_owned()));
}

#[test]
fn a_client_without_patience_gives_up_at_the_first_attempt() {
    // Nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = config(address);
    config.is_patient = false;
    let client = Client::new(config).unwrap();
    // The deadline is a minute away: only an attempt that is not made again ends before.
    assert!(matches!(client.record_blocking(named("lost")), Err(RecordError::Unreachable(_))));
    assert_eq!(client.losses().counts[&Loss::Unreachable], 1);
}

#[tokio::test]
async fn losses_from_elsewhere_are_told_without_any_event() {
    let memory = Memory::failing([]);
    let client = Client::new(config(start(&memory))).unwrap();
    let mut losses = Losses::default();
    losses.add(Loss::Unreachable, 4);
    client.report(losses);
    client.flush(SOON).await.unwrap();
    assert_eq!((gaps(&memory), client.losses()), (vec![("sensor_unreachable".to_owned(), 4)], Losses::default()));
}

#[tokio::test]
async fn nobody_is_lost_by_a_neighbour() {
    let memory = Memory::failing([Failure::Answer(ServerError::Busy { retry_after: Duration::from_secs(1) })]);
    let client = Client::new(config(start(&memory))).unwrap();
    // The first waits for a second, so that the others make one batch behind it.
    client.submit(named("first")).unwrap();
    client.submit(named("second")).unwrap();
    let refused =
        client.record(named("wrong").attribute(attr::GAP_REASON.as_str(), "x").phase(Phase::Complete).tool(Tool::new("t")));
    let bad = client.record(Event::of(Kind::Detection));
    client.submit(named("third")).unwrap();
    let (refused, bad) = tokio::join!(refused, bad);
    assert!(refused.is_ok());
    assert!(matches!(&bad, Err(RecordError::Refused(why)) if why.contains("kind")), "{bad:?}");
    client.submit(named("fourth")).unwrap();
    client.flush(SOON).await.unwrap();
    let mut names = memory.names();
    names.sort();
    assert_eq!(names, ["first", "fourth", "second", "sensor.lost", "third", "wrong"]);
    assert_eq!(gaps(&memory), [("sensor_refused".to_owned(), 1)]);
}

#[tokio::test]
async fn a_server_that_takes_less_at_once_gets_less() {
    let memory = Memory::failing([]);
    let limits = Limits { body_bytes_max: 64 * 1024, ..Limits::default() };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(config(serve(memory.clone(), socket, limits))).unwrap();
    for n in 0..6 {
        client.submit(named(&format!("e{n}")).message(Message::new(Role::User, &"x".repeat(30 * 1024)))).unwrap();
    }
    let huge = client.record(named("huge").message(Message::new(Role::User, &"x".repeat(70 * 1024)))).await;
    assert_eq!(huge, Err(RecordError::TooLarge));
    client.submit(named("last")).unwrap();
    client.flush(SOON).await.unwrap();
    assert_eq!(memory.names(), ["e0", "e1", "e2", "e3", "e4", "e5", "sensor.lost", "last"]);
    assert_eq!(gaps(&memory), [("sensor_too_large".to_owned(), 1)]);
}

#[tokio::test]
async fn a_full_queue_refuses_and_counts() {
    // Nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = config(address);
    config.queue_events_max = 3;
    config.queue_bytes_max = 2_000;
    let client = Client::new(config).unwrap();
    assert_eq!(client.submit(named("big").message(Message::new(Role::User, &"x".repeat(3_000)))), Err(RecordError::QueueFull));
    for _ in 0..3 {
        client.submit(named("fits")).unwrap();
    }
    assert_eq!(client.submit(named("one too many")), Err(RecordError::QueueFull));
    assert_eq!(client.losses().counts[&Loss::QueueFull], 2);
    assert_eq!(client.flush(Duration::from_millis(20)).await, Err(RecordError::Deadline));
    assert!(matches!(
        client.inspect("x", event::Channel::User, Duration::from_millis(500)).await,
        Err(RecordError::Unreachable(_))
    ));
}
