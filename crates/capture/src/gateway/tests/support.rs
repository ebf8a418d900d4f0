//! The stage: upstream, recorder, gateway, client.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::{Phase, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use crate::gateway::guard::Guard;
use crate::gateway::keys::KeyChecker;
use crate::gateway::{Config, Gateway, Limits, OnRecordFailure, Upstreams, serve};
use crate::{RawEvent, Receipt, RecordError, Recorder};

/// Longer than anything here takes; a test that runs into it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A recorder that lets requests and outcomes through only when their gate is open.
pub(super) struct Gated {
    pub(super) requests: Semaphore,
    pub(super) outcomes: Semaphore,
    error: Mutex<Option<RecordError>>,
    text_bytes_max: Mutex<usize>,
    recorded: Mutex<u64>,
    arrived: mpsc::UnboundedSender<RawEvent>,
}

impl Recorder for Gated {
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        Box::pin(async move {
            let mut receipts = Vec::new();
            for event in events {
                let gate = if event.phase == Phase::Request { &self.requests } else { &self.outcomes };
                let event_id = event.id;
                let text_bytes: usize = event.pieces.iter().map(|piece| piece.content.expose().len()).sum();
                let _ = self.arrived.send(event);
                gate.acquire().await.unwrap().forget();
                if text_bytes > *self.text_bytes_max.lock().unwrap() {
                    return Err(RecordError::TooLarge { bytes: text_bytes, bytes_max: 0 });
                }
                if let Some(error) = self.error.lock().unwrap().clone() {
                    return Err(error);
                }
                let mut recorded = self.recorded.lock().unwrap();
                receipts.push(Receipt { event_id, position: *recorded, duplicate: false });
                *recorded += 1;
            }
            Ok(receipts)
        })
    }
}

/// Everything that a test needs.
pub(super) struct Stage {
    pub(super) gateway: SocketAddr,
    pub(super) recorder: Arc<Gated>,
    events: mpsc::UnboundedReceiver<RawEvent>,
    /// Requests as they arrived upstream, with the connection to answer on.
    upstream: mpsc::UnboundedReceiver<(String, TcpStream)>,
}

/// Gates that are open from the start.
pub(super) const OPEN: usize = 1_000;

impl Stage {
    pub(super) async fn new(requests: usize, outcomes: usize) -> Self {
        Self::with(requests, outcomes, Limits::default(), OnRecordFailure::FailClosed).await
    }

    pub(super) async fn with(requests: usize, outcomes: usize, limits: Limits, on_record_failure: OnRecordFailure) -> Self {
        let (base, received) = upstream().await;
        let config = Config { upstreams: Upstreams::all_at(&base), on_record_failure, limits, ..Config::default() };
        Self::build(requests, outcomes, config, None, None, received).await
    }

    /// A gateway with policies and keys; its recorder lets everything through.
    pub(super) async fn guarded(config: Config, guard: Option<Arc<dyn Guard>>, checker: Option<Arc<dyn KeyChecker>>) -> Self {
        let (base, received) = upstream().await;
        Self::build(OPEN, OPEN, Config { upstreams: Upstreams::all_at(&base), ..config }, guard, checker, received).await
    }

    /// A gateway before an upstream of the test's own.
    pub(super) async fn to(base: &str) -> Self {
        let (_, received) = mpsc::unbounded_channel();
        let config = Config { upstreams: Upstreams::all_at(base), ..Config::default() };
        Self::build(OPEN, OPEN, config, None, None, received).await
    }

    async fn build(
        requests: usize,
        outcomes: usize,
        config: Config,
        guard: Option<Arc<dyn Guard>>,
        checker: Option<Arc<dyn KeyChecker>>,
        upstream: mpsc::UnboundedReceiver<(String, TcpStream)>,
    ) -> Self {
        let (arrived, events) = mpsc::unbounded_channel();
        let recorder = Arc::new(Gated {
            requests: Semaphore::new(requests),
            outcomes: Semaphore::new(outcomes),
            error: Mutex::new(None),
            text_bytes_max: Mutex::new(usize::MAX),
            recorded: Mutex::new(0),
            arrived,
        });
        let routes = Gateway::guarded(recorder.clone(), config, guard, checker).unwrap().router();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, routes, std::future::pending()));
        Self { gateway, recorder, events, upstream }
    }

    /// Whether no call has arrived upstream that the test has not taken.
    pub(super) fn no_call(&mut self) -> bool {
        self.upstream.try_recv().is_err()
    }

    /// From now on nothing can be recorded.
    pub(super) fn break_recorder(&self) {
        *self.recorder.error.lock().unwrap() = Some(RecordError::Stopped { reason: "disk full".to_owned() });
    }

    /// From now on events with more text than this cannot be recorded.
    pub(super) fn refuse_large(&self, text_bytes_max: usize) {
        *self.recorder.text_bytes_max.lock().unwrap() = text_bytes_max;
    }

    /// The next event that came to be recorded.
    pub(super) async fn event(&mut self) -> RawEvent {
        patiently(self.events.recv()).await.unwrap()
    }

    /// The next call that arrived upstream.
    pub(super) async fn call(&mut self) -> (String, TcpStream) {
        patiently(self.upstream.recv()).await.unwrap()
    }

    /// Sends a request over a connection of its own, and closes nothing.
    pub(super) async fn send(&self, head: &str, body: impl AsRef<[u8]>) -> Client {
        let mut connection = TcpStream::connect(self.gateway).await.unwrap();
        let body = body.as_ref();
        let head = format!("{head}\r\nhost: gateway\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(body).await.unwrap();
        Client { connection, seen: Vec::new() }
    }

    pub(super) async fn chat(&self, body: &str) -> Client {
        self.send("POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json", body).await
    }
}

/// An upstream that hands every request to the test, with the connection to answer on.
async fn upstream() -> (String, mpsc::UnboundedReceiver<(String, TcpStream)>) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", upstream.local_addr().unwrap());
    let (calls, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = upstream.accept().await {
            let calls = calls.clone();
            tokio::spawn(async move {
                connection.set_nodelay(true).unwrap();
                if let Some(request) = read_request(&mut connection).await {
                    let _ = calls.send((request, connection));
                }
            });
        }
    });
    (base, received)
}

/// The client's side of a connection.
pub(super) struct Client {
    connection: TcpStream,
    seen: Vec<u8>,
}

impl Client {
    /// Reads until the text has been seen; everything so far.
    pub(super) async fn until(&mut self, text: &str) -> String {
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let read = patiently(self.connection.read_buf(&mut self.seen)).await.unwrap();
            assert!(read > 0, "the connection ended without {text:?}: {}", String::from_utf8_lossy(&self.seen));
        }
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads to the end of the connection.
    pub(super) async fn all(mut self) -> String {
        // A reset is an end, too.
        while patiently(self.connection.read_buf(&mut self.seen)).await.unwrap_or(0) > 0 {}
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Whether nothing comes. The only proof of silence is to listen for a while.
    pub(super) async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(60), self.connection.read_buf(&mut self.seen)).await.is_err()
    }
}

pub(super) async fn patiently<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it should have happened long ago")
}

/// Reads a request with a content-length or in chunks; head and body as text.
async fn read_request(connection: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let is_whole = match length {
            Some(length) => body.len() >= length,
            None => !head.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"),
        };
        if is_whole {
            return Some(text);
        }
    }
}

/// Answers in one piece and closes.
pub(super) async fn answer(connection: &mut TcpStream, status: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(body.as_bytes()).await.unwrap();
}

/// Begins a stream of events.
pub(super) async fn begin_stream(connection: &mut TcpStream) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
}

/// Sends a chunk of a stream; an empty one ends it.
pub(super) async fn chunk(connection: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    let mut frame = format!("{:x}\r\n", bytes.len()).into_bytes();
    frame.extend_from_slice(bytes);
    frame.extend_from_slice(b"\r\n");
    connection.write_all(&frame).await.unwrap();
}

/// An event of a chat stream with a piece of text.
pub(super) fn delta(text: &str) -> String {
    format!("data: {}\n\n", serde_json::json!({"id": "r1", "model": "m1", "choices": [{"index": 0, "delta": {"content": text}}]}))
}

pub(super) const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub(super) const DONE: &str = "data: [DONE]\n\n";
pub(super) const ASK: &str = r#"{"model":"m","user":"u1","messages":[{"role":"user","content":"hello"}]}"#;
pub(super) const ASK_STREAM: &str = r#"{"model":"m","user":"u1","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
pub(super) const WHOLE: &str = r#"{"id":"r1","model":"m1","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hi there"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;

/// An attribute as text.
pub(super) fn attribute(event: &RawEvent, key: &str) -> String {
    match event.attribute(key) {
        Some(Value::Text(text)) => text.expose().to_owned(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

/// The texts of an event's pieces.
pub(super) fn texts(event: &RawEvent) -> Vec<&str> {
    event.pieces.iter().map(|piece| piece.content.expose()).collect()
}
