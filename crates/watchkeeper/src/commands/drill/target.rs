//! The server that is drilled: its API, and its listeners where it is our own.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use assure::drill::{Outcome, Side, Told};
use bytes::Bytes;
use event::{TechniqueId, Timestamp};
use http::{Method, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::{Value, json};
use server::Addresses;

use super::super::playing::StandIn;

/// How long the consumers may take to pass a step.
const PASS_TIMEOUT: Duration = Duration::from_secs(120);

/// How long one asks before asking again whether they have.
const PASS_POLL: Duration = Duration::from_millis(25);

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most events of one request: the API takes 10,000.
const EVENTS_MAX: usize = 2_000;

/// Most events of a detection that are looked at for when the last of them was accepted.
const EVENTS_OF_DETECTION_MAX: usize = 8;

/// What only a server of our own has: all of its listeners, and the stand-in behind them.
pub(super) struct Listeners {
    pub(super) addresses: Addresses,
    pub(super) stand_in: StandIn,
}

/// The server that is drilled.
pub(super) struct Target {
    pub(super) url: String,
    pub(super) key: String,
    /// Names this drill in everything that it sends.
    pub(super) run: String,
    pub(super) listeners: Option<Listeners>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// A detection as the API tells it.
pub(super) struct Row {
    pub(super) side: Side,
    pub(super) told: Told,
}

#[derive(Deserialize)]
struct Progress {
    recorded: u64,
    indexed: u64,
    detected: u64,
}

#[derive(Deserialize)]
struct Status {
    progress: Progress,
}

#[derive(Deserialize)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    truncated: bool,
}

impl Target {
    /// The server at an address, which the authorities of a file may vouch for in the place of the system's. A key goes over plain HTTP on
    /// this machine only.
    pub(super) fn new(url: &str, key: String, ca: Option<&Path>, listeners: Option<Listeners>) -> anyhow::Result<Self> {
        let base: Uri = url.parse().with_context(|| format!("--server {url}"))?;
        let host = base.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        match base.scheme_str() {
            Some("https") => {}
            Some("http") if is_here => {}
            _ => bail!("--server {url}: give it like https://watch.example:7700; plain HTTP goes to this machine only"),
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let builder = HttpsConnectorBuilder::new();
        let with_roots = |roots: RootCertStore| {
            let tls = ClientConfig::builder_with_provider(provider.clone().into()).with_safe_default_protocol_versions()?;
            anyhow::Ok(tls.with_root_certificates(roots).with_no_client_auth())
        };
        let is_tls = base.scheme_str() == Some("https");
        let builder = match ca {
            Some(ca) if is_tls => {
                let roots = roots(ca)
                    .with_context(|| format!("WATCHKEEPER_CA {}: name a file with certificates in PEM", ca.display()))?;
                builder.with_tls_config(with_roots(roots)?)
            }
            None if is_tls => {
                builder.with_provider_and_native_roots(provider.clone()).context("the system's certificate authorities")?
            }
            // No TLS: do not ask the system for authorities that it may not have.
            _ => builder.with_tls_config(with_roots(RootCertStore::empty())?),
        };
        let client = Client::builder(TokioExecutor::new()).build(builder.https_or_http().enable_http1().wrap_connector(http));
        let run = format!("{:x}", Timestamp::now().unix_ns() / 1_000_000);
        Ok(Self { url: url.trim_end_matches('/').to_owned(), key, run, listeners, client })
    }

    /// Records events by the events API.
    pub(super) async fn record(&self, events: &[Value]) -> anyhow::Result<()> {
        for events in events.chunks(EVENTS_MAX) {
            self.call(Method::POST, "/v1/events", Some(&Value::from(events))).await?;
        }
        Ok(())
    }

    /// Has the server record what came of the drills that are of a technique, so that its coverage tells them.
    pub(super) async fn tell(&self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let told = |outcome: &Outcome| {
            let technique = outcome.technique()?;
            outcome
                .is_played()
                .then(|| json!({ "scenario": outcome.scenario, "technique": technique, "verdict": outcome.verdict }))
        };
        let drills: Vec<Value> = outcomes.iter().filter_map(told).collect();
        self.call(Method::POST, "/api/drills", Some(&json!({ "drills": drills }))).await?;
        Ok(())
    }

    /// Waits until what is recorded now, and what is detected in it, can be asked for.
    pub(super) async fn pass(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PASS_TIMEOUT;
        let recorded = self.progress().await?.recorded;
        let mut detected = None;
        loop {
            let now = self.progress().await?;
            // Detections are records, too: they are there when those up to then are indexed.
            if now.detected >= recorded && detected.is_none() {
                detected = Some(now.recorded);
            }
            if detected.is_some_and(|detected| now.indexed >= detected) {
                return Ok(());
            }
            ensure!(Instant::now() < until, "detection did not pass {recorded} records in {} s", PASS_TIMEOUT.as_secs());
            tokio::time::sleep(PASS_POLL).await;
        }
    }

    async fn progress(&self) -> anyhow::Result<Progress> {
        let status = self.call(Method::GET, "/api/status", None).await?;
        Ok(serde_json::from_slice::<Status>(&status)?.progress)
    }

    /// How many events there are of each side.
    pub(super) async fn recorded(&self, names: &[(Side, String)]) -> anyhow::Result<HashMap<Side, u64>> {
        let mut counts = HashMap::new();
        for (side, name) in names {
            let sql = format!(
                "SELECT count(*) AS events FROM events WHERE kind <> 'detection' AND \
                 (application = '{name}' OR session_id LIKE '{name}.%' OR agent = 'agent.{name}')"
            );
            let rows = self.query(&sql).await?;
            let count = rows.first().and_then(|row| row.get("events")).and_then(Value::as_u64);
            counts.insert(*side, count.context("events were not counted")?);
        }
        Ok(counts)
    }

    /// What was told of a scenario until now.
    pub(super) async fn told(&self, names: &[(Side, String)]) -> anyhow::Result<Vec<Row>> {
        let which = |(_, name): &(Side, String)| format!("application = '{name}' OR session_id LIKE '{name}.%'");
        let which = names.iter().map(which).collect::<Vec<_>>().join(" OR ");
        let sql = format!(
            "SELECT detection_id, rule, title, techniques, severity, grade, application, session_id, events FROM detections \
             WHERE {which} ORDER BY seq"
        );
        let mut rows = Vec::new();
        let mut sources = Vec::new();
        for row in self.query(&sql).await? {
            let text = |column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
            let need = |column: &str| text(column).with_context(|| format!("a detection without {column}"));
            let (application, session) = (text("application").unwrap_or_default(), text("session_id").unwrap_or_default());
            let of = names.iter().find(|(_, name)| application == *name || session.strip_prefix(name.as_str()).is_some());
            let Some((side, _)) = of else { continue };
            let rule = need("rule")?;
            let told = Told {
                detection: need("detection_id")?,
                title: need("title")?,
                techniques: text("techniques").map(|list| techniques(&list)).transpose()?.unwrap_or_default(),
                severity: text("severity").unwrap_or_default(),
                grade: text("grade"),
                latency_ms: None,
                rule,
            };
            let events: Vec<String> = text("events").and_then(|events| serde_json::from_str(&events).ok()).unwrap_or_default();
            sources.push((told.detection.clone(), events.into_iter().rev().take(EVENTS_OF_DETECTION_MAX).collect::<Vec<_>>()));
            rows.push(Row { side: *side, told });
        }
        self.time(&mut rows, &sources).await?;
        Ok(rows)
    }

    /// Times from the last event that a detection rests on to the detection, as the record has them.
    async fn time(&self, rows: &mut [Row], sources: &[(String, Vec<String>)]) -> anyhow::Result<()> {
        let ids: Vec<String> = sources.iter().flat_map(|(id, events)| std::iter::once(id).chain(events)).cloned().collect();
        let is_plain = |id: &&String| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let list = ids.iter().filter(is_plain).map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
        if list.is_empty() {
            return Ok(());
        }
        let sql = format!("SELECT event_id, observed FROM events WHERE event_id IN ({list})");
        let mut observed = HashMap::new();
        for row in self.query(&sql).await? {
            let text = |column: &str| row.get(column).and_then(Value::as_str);
            if let (Some(id), Some(at)) = (text("event_id"), text("observed")) {
                let at: jiff::Timestamp = at.parse().with_context(|| format!("observed {at:?}"))?;
                observed.insert(id.to_owned(), at.as_microsecond());
            }
        }
        for (row, (id, events)) in rows.iter_mut().zip(sources) {
            let accepted = events.iter().filter_map(|event| observed.get(event)).max();
            #[expect(clippy::cast_precision_loss, reason = "a latency has no 52 bits of microseconds")]
            let latency = observed.get(id).zip(accepted).map(|(told, accepted)| (told - accepted) as f64 / 1e3);
            row.told.latency_ms = latency;
        }
        Ok(())
    }

    async fn query(&self, sql: &str) -> anyhow::Result<Vec<serde_json::Map<String, Value>>> {
        let answer = self.call(Method::POST, "/api/query", Some(&json!({ "sql": sql }))).await?;
        let table: Table = serde_json::from_slice(&answer)?;
        ensure!(!table.truncated, "there is more than an answer takes; drill fewer scenarios at once");
        Ok(table.rows.into_iter().map(|row| table.columns.iter().cloned().zip(row).collect()).collect())
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Bytes> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default()))?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
            if !status.is_success() {
                let error: Value = serde_json::from_slice(&body).unwrap_or_default();
                bail!("{path}: {status}: {}", error["error"]["message"].as_str().unwrap_or_default());
            }
            Ok(body)
        };
        tokio::time::timeout(CALL_TIMEOUT, exchange).await.context("the server does not answer")?
    }
}

/// Every technique that a detection says it is evidence of.
fn techniques(list: &str) -> anyhow::Result<Vec<TechniqueId>> {
    let ids: Vec<String> = serde_json::from_str(list).with_context(|| format!("techniques of a detection: {list}"))?;
    // A server of another version may have others.
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

/// The authorities of a file in PEM.
fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    ensure!(!roots.is_empty(), "there is no certificate in it");
    Ok(roots)
}
