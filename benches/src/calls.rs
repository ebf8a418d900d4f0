//! Chat completions through a gateway: how long they take, when the first text of a stream comes, and how late each of its events is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::{print, quantile_ms};

/// What to call.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Base URL, up to and without /v1
    url: String,
    /// Calls in all
    #[arg(long, default_value_t = 2_000)]
    count: u64,
    /// Calls before the clock starts: connections are open and caches warm then
    #[arg(long, default_value_t = 100)]
    warm_up: u64,
    /// Calls under way at once
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Ask for streams; the time to the first byte and to the first text is then measured, too
    #[arg(long)]
    stream: bool,
    /// More headers, `name: value`
    #[arg(long = "header")]
    headers: Vec<String>,
    /// The model to ask for
    #[arg(long, default_value = "stand-in")]
    model: String,
}

/// What the calls took.
#[derive(Debug, Default)]
struct Times {
    whole: Vec<Duration>,
    /// To the first byte of the body, and to the first text in it.
    first_byte: Vec<Duration>,
    first_text: Vec<Duration>,
    /// From when the upstream sent an event until the client had it.
    event: Vec<Duration>,
    /// The same, without what the event waited for later ones: from when the upstream sent the newest event by then.
    own: Vec<Duration>,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let Options { url, count, warm_up, connections, stream, headers, model } = options;
    let (count, warm_up, stream) = (*count, *warm_up, *stream);
    let mut extra = Vec::new();
    for header in headers {
        let (name, value) = header.split_once(':').ok_or_else(|| anyhow::anyhow!("--header {header}: must be `name: value`"))?;
        extra.push((name.trim().parse::<HeaderName>()?, HeaderValue::from_str(value.trim())?));
    }
    let uri: http::Uri = format!("{url}/v1/chat/completions").parse()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let next = Arc::new(AtomicU64::new(0));
    let times = Arc::new(Mutex::new(Times::default()));
    let mut workers = tokio::task::JoinSet::new();
    let began = Arc::new(Mutex::new(None::<Instant>));
    for _ in 0..*connections {
        let (client, uri, extra, next, times, began) =
            (client.clone(), uri.clone(), extra.clone(), next.clone(), times.clone(), began.clone());
        let model = model.clone();
        workers.spawn(async move {
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= count + warm_up {
                    return anyhow::Ok(());
                }
                if nth >= warm_up {
                    began.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
                }
                let body = json!({ "model": model, "stream": stream, "user": "bench", "messages": [
                    { "role": "system", "content": "You are the harbour office. Answer in one sentence and name the pier." },
                    { "role": "user", "content": format!("Ship number {nth} asks for a berth for two nights with a cargo of grain; where may it lie, and when does the tide allow it to come in? Please say which pilot is free, too.") }] });
                let mut request = http::Request::post(uri.clone()).header("content-type", "application/json").header("authorization", "Bearer bench");
                for (name, value) in &extra {
                    request = request.header(name, value);
                }
                let sent = Instant::now();
                let response = client.request(request.body(Full::new(Bytes::from(body.to_string())))?).await?;
                anyhow::ensure!(response.status().is_success(), "{}", response.status());
                let mut body = response.into_body();
                let mut arrivals = Arrivals::default();
                let mut first = None;
                while let Some(frame) = body.frame().await {
                    let now = sent.elapsed();
                    first.get_or_insert(now);
                    if let Some(data) = frame?.data_ref().filter(|_| stream) {
                        arrivals.push(data, now);
                    }
                }
                if nth >= warm_up {
                    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                    times.whole.push(sent.elapsed());
                    times.first_byte.push(first.unwrap_or(Duration::ZERO));
                    times.first_text.extend(arrivals.first_text);
                    arrivals.add_to(&mut times);
                }
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let seconds = began.lock().unwrap_or_else(PoisonError::into_inner).map_or(0.0, |began| began.elapsed().as_secs_f64());
    let mut times = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
    #[allow(clippy::cast_precision_loss)]
    let per_second = times.whole.len() as f64 / seconds;
    let mut said = json!({ "calls": times.whole.len(), "calls_per_s": per_second });
    for (name, of) in [
        ("", &mut times.whole),
        ("first_byte_", &mut times.first_byte),
        ("first_text_", &mut times.first_text),
        ("event_", &mut times.event),
        ("event_own_", &mut times.own),
    ] {
        of.sort_unstable();
        for (quantile, label) in [(0.5, "p50"), (0.99, "p99")] {
            said[format!("{name}{label}_ms")] = quantile_ms(of, quantile).into();
        }
    }
    print(&said);
    Ok(())
}

/// The events of one stream, as they come.
#[derive(Debug, Default)]
struct Arrivals {
    /// What has come of an event that has not ended.
    begun: Vec<u8>,
    first_text: Option<Duration>,
    /// When the upstream sent an event, and when it came, in nanoseconds of the wall clock, which both share.
    events: Vec<(u64, u64)>,
}

impl Arrivals {
    fn push(&mut self, data: &[u8], now: Duration) {
        let came = wall_clock_ns();
        self.begun.extend_from_slice(data);
        while let Some(end) = self.begun.windows(2).position(|window| window == b"\n\n") {
            let event: Vec<u8> = self.begun.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let text = event.split_once("\"content\":\"").is_some_and(|(_, text)| !text.starts_with('"'));
            if text {
                self.first_text.get_or_insert(now);
            }
            let sent = event.lines().find_map(|line| line.strip_prefix("id: ")?.parse().ok());
            self.events.extend(sent.map(|sent| (sent, came)));
        }
    }

    fn add_to(&self, times: &mut Times) {
        for (sent, came) in &self.events {
            let newest = self.events.iter().map(|(sent, _)| *sent).filter(|sent| sent <= came).max().unwrap_or(*sent);
            times.event.push(Duration::from_nanos(came.saturating_sub(*sent)));
            times.own.push(Duration::from_nanos(came.saturating_sub(newest)));
        }
    }
}

/// The time of day: the same in the upstream's process.
pub(crate) fn wall_clock_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
