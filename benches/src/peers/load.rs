//! Chat completions through a gateway, in a closed loop: each client calls again as soon as it has its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::stamp;

/// In which a Watchkeeper says what it added, in microseconds.
const OVERHEAD: &str = "x-watchkeeper-overhead-us";

/// What an answer may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where calls go, and what they say.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) uri: http::Uri,
    pub(super) headers: HeaderMap,
    pub(super) model: String,
}

/// How much is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) clients: usize,
    pub(super) stream: bool,
    pub(super) time: Duration,
}

/// What was measured. Times of the stand-in itself are taken off.
#[derive(Debug, Default, Clone)]
pub(super) struct Measured {
    /// Calls that were answered while the clock ran.
    pub(super) calls: u64,
    /// Calls that failed, and why the last of them did.
    pub(super) failed: u64,
    pub(super) failure: Option<String>,
    /// All calls that were sent, before the clock ran included.
    pub(super) sent: u64,
    pub(super) time: Duration,
    /// Until a whole answer was there.
    pub(super) whole: Vec<Duration>,
    /// Until the first words of a stream were there.
    pub(super) first: Vec<Duration>,
    /// How long each word of a stream was under way from the stand-in to the client.
    pub(super) words: Vec<Duration>,
    /// What a Watchkeeper says that it added.
    pub(super) own: Vec<Duration>,
}

impl Target {
    /// `url`: up to what `path` begins with. `headers`: `name: value`.
    pub(super) fn new(url: &str, path: &str, headers: &[String], model: &str) -> anyhow::Result<Self> {
        let mut all = HeaderMap::new();
        all.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        all.insert(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer bench"));
        for header in headers {
            let (name, value) = header.split_once(':').with_context(|| format!("--header {header}: must be `name: value`"))?;
            all.insert(name.trim().parse::<HeaderName>()?, HeaderValue::from_str(value.trim())?);
        }
        Ok(Self { uri: format!("{url}{path}").parse()?, headers: all, model: model.to_owned() })
    }
}

impl Measured {
    /// Takes in what another round measured.
    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.failure = other.failure.or_else(|| self.failure.take());
        self.sent += other.sent;
        self.time += other.time;
        self.whole.extend(other.whole);
        self.first.extend(other.first);
        self.words.extend(other.words);
        self.own.extend(other.own);
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

/// Calls, with connections of its own; each client's first call is not measured.
pub(super) async fn load(target: &Target, load: Load) -> anyhow::Result<Measured> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: HttpClient = Client::builder(TokioExecutor::new()).build(connector);
    let (target, ready) = (Arc::new(target.clone()), Arc::new(Barrier::new(load.clients)));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..load.clients {
        workers.spawn(work(client.clone(), target.clone(), ready.clone(), load, worker));
    }
    let mut all = Measured::default();
    let mut longest = Duration::ZERO;
    while let Some(worker) = workers.join_next().await {
        let measured = worker?;
        longest = longest.max(measured.time);
        all.add(measured);
    }
    all.time = longest;
    Ok(all)
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

async fn work(client: HttpClient, target: Arc<Target>, ready: Arc<Barrier>, load: Load, worker: usize) -> Measured {
    let mut warm_up = Measured::default();
    call(&client, &target, load.stream, &format!("{worker} first"), &mut warm_up).await;
    ready.wait().await;
    let mut measured = Measured::default();
    let began = Instant::now();
    for nth in 0_u64.. {
        if began.elapsed() >= load.time {
            break;
        }
        call(&client, &target, load.stream, &format!("{worker} {nth} {}", stamp::now()), &mut measured).await;
    }
    measured.time = began.elapsed();
    measured.sent += warm_up.sent;
    measured.failed += warm_up.failed;
    measured.failure = measured.failure.or(warm_up.failure);
    measured
}

async fn call(client: &HttpClient, target: &Target, stream: bool, name: &str, measured: &mut Measured) {
    measured.sent += 1;
    let called = tokio::time::timeout(PATIENCE, one_call(client, target, stream, name, measured)).await;
    match called.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PATIENCE:?}"))) {
        Ok(()) => measured.calls += 1,
        Err(error) => {
            measured.failed += 1;
            measured.failure = Some(format!("{error:#}"));
        }
    }
}

async fn one_call(client: &HttpClient, target: &Target, stream: bool, name: &str, measured: &mut Measured) -> anyhow::Result<()> {
    // The system's text is the same in each call and the user's is new, as in a service that many use.
    let body = json!({ "model": target.model, "stream": stream, "messages": [
        { "role": "system", "content": "You are the harbour office. Answer in one sentence and name the pier." },
        { "role": "user", "content": format!("Ship number {name} asks for a berth for two nights with a cargo of grain; where may it lie, and when does the tide allow it to come in? Please say which pilot is free, too.") }] });
    let mut request = http::Request::post(target.uri.clone()).body(Full::new(Bytes::from(body.to_string())))?;
    request.headers_mut().extend(target.headers.clone());
    let sent = Instant::now();
    let response = client.request(request).await?;
    let status = response.status();
    let own = response.headers().get(OVERHEAD).and_then(|own| own.to_str().ok()?.parse().ok()).map(Duration::from_micros);
    let mut body = response.into_body();
    if !status.is_success() {
        let said = body.collect().await?.to_bytes();
        anyhow::bail!("{status}: {}", String::from_utf8_lossy(&said[..said.len().min(300)]));
    }
    if stream {
        let mut words = Words { sent, lines: Vec::new(), text: String::new(), read: 0, is_over: false };
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                words.read(&data, measured)?;
            }
        }
        anyhow::ensure!(words.is_over && words.read > 0, "the stream ended early, at {:?}", words.text);
    } else {
        let answer = body.collect().await?.to_bytes();
        let took = sent.elapsed();
        let answer: Value = serde_json::from_slice(&answer)?;
        let text = answer["choices"][0]["message"]["content"].as_str().unwrap_or_default();
        let (held, _) = stamp::find(stamp::HELD, text).with_context(|| format!("the answer has no stamp: {answer}"))?;
        measured.whole.push(took.saturating_sub(Duration::from_micros(held)));
    }
    measured.own.extend(own);
    Ok(())
}

/// Reads the words of a stream as they come.
struct Words {
    sent: Instant,
    /// What has come of a line that has not ended.
    lines: Vec<u8>,
    text: String,
    /// How much of the text has been looked at.
    read: usize,
    is_over: bool,
}

impl Words {
    fn read(&mut self, data: &[u8], measured: &mut Measured) -> anyhow::Result<()> {
        self.lines.extend_from_slice(data);
        while let Some(end) = self.lines.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.lines.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) else { continue };
            if data == b"[DONE]" {
                self.is_over = true;
                continue;
            }
            let event: Value = serde_json::from_slice(data)?;
            self.text += event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
            self.look(measured);
        }
        Ok(())
    }

    fn look(&mut self, measured: &mut Measured) {
        if self.read == 0 {
            let Some((held, end)) = stamp::find(stamp::HELD, &self.text) else { return };
            self.read = end;
            measured.first.push(self.sent.elapsed().saturating_sub(Duration::from_micros(held)));
        }
        while let Some((sent, end)) = stamp::find(stamp::SENT, &self.text[self.read..]) {
            self.read += end;
            measured.words.push(stamp::since(sent));
        }
    }
}
