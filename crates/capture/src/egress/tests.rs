//! The proxy between raw connections: what is recorded, what is withheld, what is refused. Real clients are in the tests of the
//! binary.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::{Kind, Phase, Value, attr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::{RawEvent, Receipt, RecordError};

/// Longer than anything here takes; a test that runs into it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A recorder whose requests and outcomes wait at gates.
struct Gated {
    requests: Semaphore,
    outcomes: Semaphore,
    error: Mutex<Option<RecordError>>,
    arrived: mpsc::UnboundedSender<RawEvent>,
}

impl Recorder for Gated {
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        Box::pin(async move {
            if let Some(error) = self.error.lock().unwrap().clone() {
                return Err(error);
            }
            let mut receipts = Vec::new();
            for event in events {
                match event.phase {
                    Phase::Request => self.requests.acquire().await.unwrap().forget(),
                    Phase::Response => self.outcomes.acquire().await.unwrap().forget(),
                    _ => {}
                }
                receipts.push(Receipt { event_id: event.id, position: 0, duplicate: false });
                let _ = self.arrived.send(event);
            }
            Ok(receipts)
        })
    }
}

/// Knows one key.
struct OneKey;

impl KeyChecker for OneKey {
    fn check(&self, secret: &str) -> Option<String> {
        (secret == "wk_good").then(|| "key_1".to_owned())
    }
}

struct Stage {
    proxy: SocketAddr,
    egress: Egress,
    recorder: Arc<Gated>,
    events: mpsc::UnboundedReceiver<RawEvent>,
}

impl Stage {
    async fn new(config: Config) -> Self {
        Self::gated(config, 1_000, 1_000, None).await
    }

    async fn gated(config: Config, requests: usize, outcomes: usize, intercept: Option<Intercept>) -> Self {
        let (arrived, events) = mpsc::unbounded_channel();
        let recorder = Arc::new(Gated {
            requests: Semaphore::new(requests),
            outcomes: Semaphore::new(outcomes),
            error: Mutex::new(None),
            arrived,
        });
        let egress = Egress::new(recorder.clone(), config, Some(Arc::new(OneKey)), intercept).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        tokio::spawn(crate::gateway::serve(listener, egress.router(), std::future::pending()));
        Self { proxy, egress, recorder, events }
    }

    async fn send(&self, bytes: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.proxy).await.unwrap();
        client.write_all(bytes.as_bytes()).await.unwrap();
        client
    }

    /// What is answered to a request that closes its connection.
    async fn ask(&self, request: &str) -> String {
        all(self.send(request).await).await
    }

    async fn next(&mut self) -> RawEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap()
    }
}

async fn all(mut stream: TcpStream) -> String {
    let mut seen = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut seen)).await.unwrap().unwrap();
    String::from_utf8_lossy(&seen).into_owned()
}

async fn head(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8_lossy(&seen).into_owned()
}

fn text(event: &RawEvent, key: &event::Key) -> String {
    match event.attributes.get(key) {
        Some(Value::Text(text)) => text.expose().to_owned(),
        Some(Value::Int(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn local(policy: Policy) -> Config {
    Config { policy, is_local: true, ..Config::default() }
}

/// A destination that answers one request with these bytes, and gives what it was asked.
async fn destination(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        let mut asked = head(&mut stream).await;
        if asked.contains("content-length: 5") {
            let mut body = [0; 5];
            stream.read_exact(&mut body).await.unwrap();
            asked += &String::from_utf8_lossy(&body);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        asked
    });
    (address, task)
}

const ANSWER: &str = "HTTP/1.1 201 Created\r\ncontent-length: 4\r\nkeep-alive: timeout=5\r\nx-own: 1\r\n\r\ndone";

#[tokio::test]
async fn a_request_goes_on_without_what_is_the_proxys_and_is_recorded_without_what_is_secret() {
    let mut stage = Stage::new(local(Policy::default())).await;
    let (address, asked) = destination(ANSWER).await;
    let request = format!(
        "POST http://u:p@{address}/v1/x?token=abc&n=1 HTTP/1.1\r\nhost: other.example\r\ncontent-length: 5\r\n\
         connection: close\r\n\
         authorization: Bearer secret-credential\r\nproxy-authorization: Basic cGxhbm5lcjp3a19nb29k\r\n\
         x-watchkeeper-session: s1\r\naccept-encoding: gzip\r\n\r\nhello"
    );
    let answer = stage.ask(&request).await;
    assert!(answer.starts_with("HTTP/1.1 201") && answer.ends_with("\r\n\r\ndone"), "{answer}");
    assert!(answer.contains("x-own: 1") && !answer.contains("keep-alive:"), "{answer}");
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("POST /v1/x?token=abc&n=1 HTTP/1.1\r\n") && asked.ends_with("hello"), "{asked}");
    assert!(asked.contains(&format!("host: {address}\r\n")) && asked.contains("accept-encoding: gzip"), "{asked}");
    assert!(asked.contains("authorization: Bearer secret-credential") && !asked.contains("proxy-") && !asked.contains("x-watch"));
    let (request, response) = (stage.next().await, stage.next().await);
    assert_eq!((request.kind, request.phase, response.phase), (Kind::ExternalCall, Phase::Request, Phase::Response));
    assert_eq!(text(&request, &attr::CALL_ID), text(&response, &attr::CALL_ID));
    assert_eq!(text(&response, &attr::URL_FULL), format!("http://{address}/v1/x?token=REDACTED&n=1"));
    for (key, value) in [
        (attr::HTTP_RESPONSE_STATUS_CODE, "201"),
        (attr::HTTP_REQUEST_BODY_SIZE, "5"),
        (attr::SOURCE_BYTES, &asked.len().to_string()),
        (attr::HTTP_RESPONSE_BODY_SIZE, "4"),
        (attr::AUTH_METHOD, "bearer"),
        (attr::EGRESS_KEY, "key_1"),
        (attr::EGRESS_MODE, "http"),
        (attr::SERVER_ADDRESS, "127.0.0.1"),
        (attr::NETWORK_PEER_ADDRESS, "127.0.0.1"),
    ] {
        assert_eq!(text(&response, &key), value, "{key}");
    }
    assert_eq!(response.identity.application.unwrap().id.expose(), "planner");
    assert_eq!(response.session.unwrap().expose(), "s1");
    assert!(response.duration_ns.is_some());
}

#[tokio::test]
async fn the_end_of_an_answer_waits_for_the_record() {
    let stage = Stage::gated(local(Policy::default()), 1_000, 0, None).await;
    let (address, _asked) = destination(ANSWER).await;
    let mut client = stage.send(&format!("GET http://{address}/ HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 201"));
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), client.read(&mut byte)).await;
    assert!(early.is_err(), "the answer's end came before its record");
    stage.recorder.outcomes.add_permits(1);
    assert_eq!(all(client).await, "done");
}

#[tokio::test]
async fn nothing_goes_out_before_it_is_recorded() {
    let stage = Stage::gated(local(Policy::default()), 0, 1_000, None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let request = format!("POST http://{address}/ HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
    let client = stage.send(&request).await;
    let mut upstream = listener.accept().await.unwrap().0;
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), upstream.read(&mut byte)).await;
    assert!(early.is_err(), "the request went out before its record");
    stage.recorder.requests.add_permits(1);
    assert!(head(&mut upstream).await.starts_with("POST / HTTP/1.1"));
    drop(client);
    // What cannot be recorded never goes.
    *stage.recorder.error.lock().unwrap() = Some(RecordError::Stopped { reason: "disk full".to_owned() });
    assert!(stage.ask(&request).await.starts_with("HTTP/1.1 503"));
    assert_eq!(all(listener.accept().await.unwrap().0).await, "");
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_happen_unless_that_is_asked_for() {
    for (on_record_failure, expected) in [(OnRecordFailure::FailClosed, "503"), (OnRecordFailure::FailOpen, "20")] {
        let stage = Stage::new(Config { on_record_failure, ..local(Policy::default()) }).await;
        *stage.recorder.error.lock().unwrap() = Some(RecordError::Stopped { reason: "disk full".to_owned() });
        let (address, _asked) = destination(ANSWER).await;
        let answer = stage.ask(&format!("GET http://{address}/ HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{answer}");
        assert_eq!(answer.ends_with("done"), on_record_failure == OnRecordFailure::FailOpen, "{answer}");
        let (address, _asked) = destination(ANSWER).await;
        let mut client = stage.send(&format!("CONNECT {address} HTTP/1.1\r\nhost: {address}\r\n\r\n")).await;
        assert!(head(&mut client).await.starts_with(&format!("HTTP/1.1 {expected}")));
    }
}

#[tokio::test]
async fn a_tunnel_is_recorded_when_it_opens_and_when_it_has_ended() {
    let mut stage = Stage::new(local(Policy::default())).await;
    let (address, asked) = destination(ANSWER).await;
    let mut client = stage.send(&format!("CONNECT {address} HTTP/1.1\r\nhost: {address}\r\n\r\n")).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
    let opened = stage.next().await;
    assert_eq!((opened.kind, opened.phase), (Kind::ExternalCall, Phase::Request));
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(all(client).await, ANSWER);
    assert_eq!(asked.await.unwrap(), "GET / HTTP/1.1\r\n\r\n");
    let ended = stage.next().await;
    assert_eq!((ended.phase, text(&ended, &attr::STREAM_END)), (Phase::Response, "upstream_closed".to_owned()));
    assert_eq!(
        (text(&ended, &attr::SOURCE_BYTES), text(&ended, &attr::DESTINATION_BYTES)),
        ("18".into(), ANSWER.len().to_string())
    );
    assert_eq!((text(&ended, &attr::EGRESS_MODE), text(&ended, &attr::AUTH_METHOD)), ("tunnel".into(), "None".into()));
}

#[tokio::test]
async fn open_tunnels_end_with_the_proxy_and_are_recorded() {
    let mut stage = Stage::new(local(Policy::default())).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = stage.send(&format!("CONNECT {address} HTTP/1.1\r\nhost: {address}\r\n\r\n")).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
    let egress = stage.egress.clone();
    tokio::time::timeout(PATIENCE, egress.end()).await.unwrap();
    stage.next().await;
    assert_eq!(text(&stage.next().await, &attr::STREAM_END), "proxy_stopped");
    assert_eq!(all(client).await, "");
}

#[tokio::test]
async fn more_connections_than_are_allowed_are_told_to_come_back() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let mut stage = Stage::new(Config { limits, ..local(Policy::default()) }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let request = format!("CONNECT {address} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut first = stage.send(&request).await;
    assert!(head(&mut first).await.starts_with("HTTP/1.1 200"));
    let mut second = stage.send(&request).await;
    let refused = head(&mut second).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    stage.next().await;
    let event = stage.next().await;
    assert_eq!((event.phase, text(&event, &attr::ERROR_TYPE)), (Phase::Complete, "connection_limit_reached".to_owned()));
    // Requests in plain text are connections, too.
    let stage = Stage::new(Config { limits, ..local(Policy::default()) }).await;
    let waiting = stage.send(&format!("GET http://{address}/ HTTP/1.1\r\nhost: h\r\n\r\n")).await;
    let (upstream, other) = (listener.accept().await.unwrap().0, listener.accept().await.unwrap().0);
    let refused = stage.ask(&request.replace("\r\nhost: ", "\r\nconnection: close\r\nhost: ")).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    drop((waiting, upstream, other));
}

#[tokio::test]
async fn one_caller_leaves_connections_to_the_others() {
    let limits = Limits { connections_max: 3, connections_each_max: 1, ..Limits::default() };
    let stage = Stage::new(Config { limits, ..local(Policy::default()) }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let request = |key: &str| format!("CONNECT {address} HTTP/1.1\r\nhost: {address}\r\n{key}\r\n");
    let keyed = request("x-watchkeeper-key: wk_good\r\n");
    let mut first = stage.send(&keyed).await;
    assert!(head(&mut first).await.starts_with("HTTP/1.1 200"));
    let mut second = stage.send(&keyed).await;
    assert!(head(&mut second).await.starts_with("HTTP/1.1 503"));
    let mut other = stage.send(&request("")).await;
    assert!(head(&mut other).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_connection_and_is_recorded() {
    let mut stage = Stage::new(local(Policy::default())).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = stage.send(&format!("GET http://{address}/ HTTP/1.1\r\nhost: h\r\n\r\n")).await;
    let mut upstream = listener.accept().await.unwrap().0;
    head(&mut upstream).await;
    stage.next().await;
    drop(client);
    assert_eq!(all(upstream).await, "");
    let ended = stage.next().await;
    assert_eq!((ended.phase, text(&ended, &attr::STREAM_END)), (Phase::Response, "client_disconnect".to_owned()));
}

#[tokio::test]
async fn what_is_not_for_a_proxy_or_leads_to_where_nobody_may_go_is_refused() {
    let policy = Policy { mode: Mode::Block, deny: vec!["*.denied.example".parse().unwrap()], ..Policy::default() };
    let mut stage = Stage::new(local(policy)).await;
    let proxy = stage.proxy;
    stage.egress.protect(vec![proxy]);
    let connect = |place: &str| format!("CONNECT {place} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    let get = |url: &str| format!("GET {url} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    for (request, expected) in [
        (get("/v1/x"), "400"),
        (get("https://127.0.0.1/"), "400"),
        (get("ftp://127.0.0.1/"), "400"),
        (get(&format!("http://{proxy}/")).replace("host: h", "host: h\r\nhost: i"), "400"),
        (connect("127.0.0.1"), "400"),
        (get("http://169.254.169.254/latest/meta-data"), "403"),
        (connect("[::ffff:169.254.169.254]:80"), "403"),
        (connect(&proxy.to_string()), "403"),
        (get(&format!("http://localhost:{}/", proxy.port())), "403"),
    ] {
        let answer = stage.ask(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{request}: {answer}");
        if expected == "403" {
            assert!(answer.contains("proxy-status: watchkeeper; error=destination_ip_prohibited"), "{answer}");
            let (event, decision) = (stage.next().await, stage.next().await);
            assert_eq!((event.kind, event.phase, decision.kind), (Kind::ExternalCall, Phase::Complete, Kind::Guardrail));
            assert_eq!(text(&decision, &attr::GEN_AI_GUARDRAIL_ACTION_TYPE), "block");
            assert_eq!(text(&decision, &attr::CAUSE_EVENT_ID), event.id.to_string());
        }
    }
}

#[tokio::test]
async fn a_key_is_asked_for_where_one_is_needed_and_a_wrong_one_is_refused_everywhere() {
    let basic = |secret: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("agent:{secret}"))
    };
    for (require_key, secret, expected) in [
        (true, None, "407"),
        (true, Some("wk_bad"), "407"),
        (true, Some("wk_good"), "201"),
        (false, None, "201"),
        (false, Some("wk_bad"), "407"),
    ] {
        let stage = Stage::new(Config { require_key, ..local(Policy::default()) }).await;
        let (address, _asked) = destination(ANSWER).await;
        let credential = secret.map(|secret| format!("proxy-authorization: Basic {}\r\n", basic(secret))).unwrap_or_default();
        let request = format!("GET http://{address}/ HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{credential}\r\n");
        let answer = stage.ask(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{answer}");
        assert_eq!(answer.contains("proxy-authenticate: Basic"), expected == "407");
    }
}

mod inside;
