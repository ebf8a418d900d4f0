//! Chat completions through a gateway.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::{print, quantile_ms};

/// Calls before the clock starts: connections are open and caches warm.
const WARM_UP: u64 = 100;

pub(crate) async fn run(
    url: &str,
    count: u64,
    connections: usize,
    stream: bool,
    headers: &[String],
    model: &str,
) -> anyhow::Result<()> {
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
    let times = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let mut workers = tokio::task::JoinSet::new();
    let began = Arc::new(Mutex::new(None::<Instant>));
    for _ in 0..connections {
        let (client, uri, extra, next, times, began) =
            (client.clone(), uri.clone(), extra.clone(), next.clone(), times.clone(), began.clone());
        let model = model.to_owned();
        workers.spawn(async move {
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= count + WARM_UP {
                    return anyhow::Ok(());
                }
                if nth >= WARM_UP {
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
                let mut first = None;
                while let Some(frame) = body.frame().await {
                    frame?;
                    first.get_or_insert_with(|| sent.elapsed());
                }
                if nth >= WARM_UP {
                    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                    times.0.push(sent.elapsed());
                    times.1.push(first.unwrap_or(Duration::ZERO));
                }
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let seconds = began.lock().unwrap_or_else(PoisonError::into_inner).map_or(0.0, |began| began.elapsed().as_secs_f64());
    let (mut whole, mut first) = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
    whole.sort_unstable();
    first.sort_unstable();
    #[allow(clippy::cast_precision_loss)]
    let per_second = whole.len() as f64 / seconds;
    print(&json!({
        "calls": whole.len(), "calls_per_s": per_second, "p50_ms": quantile_ms(&whole, 0.5), "p99_ms": quantile_ms(&whole, 0.99),
        "first_byte_p50_ms": quantile_ms(&first, 0.5), "first_byte_p99_ms": quantile_ms(&first, 0.99),
    }));
    Ok(())
}
