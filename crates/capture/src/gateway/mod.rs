//! The LLM gateway: takes calls of OpenAI, Azure OpenAI, Anthropic, Gemini and Bedrock, passes them on, and records what was asked
//! and answered.
//!
//! # Output commit
//!
//! The request is recorded *beside* the upstream call; the first byte of the answer waits for that record. The answer
//! passes as it comes; its end (the final event of a stream, the body of an answer in one piece) waits until the
//! answer is recorded. So nothing that a client saw to the end is missing from the record, and the only cost is the
//! disk's sync where it is longer than the model's own time.
//!
//! # Way of a call
//!
//! ```text
//! dispatch ─ target (which upstream, which path) ─ read body ─ decode ─┬─ record the request ──┐
//!                                                                      └─ call the upstream ───┴─ answer
//! answer ─┬─ in one piece: collect, decode, record, send
//!         └─ as a stream: relay (parse, decode, pass on; withhold the end until recorded)
//! ```
//! A WebSocket (OpenAI's realtime API) is a connection with many calls: see [`realtime`].
//!
//! Upstream connections are HTTP/1.1, one call each: on a shared HTTP/2 connection one client that does not read would
//! use up the window of its neighbours. `TCP_NODELAY` is set on both sides and every frame is flushed.

mod answer;
pub mod anthropic;
pub mod api;
pub mod bedrock;
mod call;
pub(crate) mod caller;
pub mod decode;
pub(crate) mod dispatch;
mod enforce;
pub mod gemini;
pub mod guard;
pub(crate) mod json;
mod judging;
pub mod keys;
mod mask;
mod multipart;
pub mod openai;
mod packing;
pub(crate) mod passthrough;
pub mod policy;
mod realtime;
mod relay;
mod shape;
pub mod sse;
mod target;
pub(crate) mod upstream;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::Recorder;
use crate::budget::Budget;
use crate::recording::Recording;
use call::Shared;
use guard::Guard;
use judging::Bench;
use keys::{KeyChecker, Keys, VirtualKey};
use policy::Policy;
use upstream::Upstream;

pub use target::Provider;

/// Names of the headers that the gateway reads and writes. None of them is sent upstream.
pub mod header {
    /// Request: the end user.
    pub const USER: &str = "x-watchkeeper-user";
    /// Request: the conversation.
    pub const SESSION: &str = "x-watchkeeper-session";
    /// Request: the application.
    pub const APPLICATION: &str = "x-watchkeeper-application";
    /// Request: the agent.
    pub const AGENT: &str = "x-watchkeeper-agent";
    /// Response: id of the event that recorded the request.
    pub const EVENT_ID: &str = "x-watchkeeper-event-id";
    /// Response: that event's position in the journal.
    pub const POSITION: &str = "x-watchkeeper-position";
    /// Response: the id that ties the request's and the response's event.
    pub const CALL_ID: &str = "x-watchkeeper-call-id";
    /// Response: what the gateway itself added until the headers, in microseconds.
    pub const OVERHEAD_US: &str = "x-watchkeeper-overhead-us";
    /// Response: `durable`, or `failed` when the call passed unrecorded (only with [`OnRecordFailure::FailOpen`](super::OnRecordFailure)).
    pub const RECORD: &str = "x-watchkeeper-record";
    /// What they all begin with.
    pub const PREFIX: &str = "x-watchkeeper-";
}

/// How the gateway behaves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// Where calls go.
    pub upstreams: Upstreams,
    /// What happens to a call that cannot be recorded.
    pub on_record_failure: OnRecordFailure,
    /// What becomes of a call by what is in it: the first that fits decides.
    pub policies: Vec<Policy>,
    /// Keys of ours that stand for keys of providers.
    pub virtual_keys: Vec<VirtualKey>,
    /// Bounds on sizes and times.
    pub limits: Limits,
}

/// Where the calls of each provider go: base URLs without `/v1`. A path before that is kept. Calls for a provider without one are
/// refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstreams {
    /// OpenAI, or whatever speaks like it.
    pub openai: Option<String>,
    /// A resource of Azure OpenAI: `https://NAME.openai.azure.com`.
    pub azure: Option<String>,
    /// Anthropic.
    pub anthropic: Option<String>,
    /// Gemini.
    pub gemini: Option<String>,
    /// The Bedrock runtime of a region: `https://bedrock-runtime.REGION.amazonaws.com`.
    pub bedrock: Option<String>,
}

/// What happens to a call that cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRecordFailure {
    /// It is refused: 503, or the end of a stream is replaced by an error.
    #[default]
    FailClosed,
    /// It passes, and the answer says that it was not recorded.
    FailOpen,
}

/// Bounds on sizes and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of a model call, in bytes. OpenAI and Anthropic take 32 MB at most (pictures in base64).
    pub request_bytes_max: usize,
    /// Largest body of a call that is passed through unread, in bytes: OpenAI's largest upload is 512 MB.
    pub passthrough_bytes_max: u64,
    /// How much of an answer is read and recorded, in bytes. The rest passes and is counted as unrecorded.
    pub response_recorded_bytes_max: usize,
    /// Bodies held in memory by all calls together, in bytes. Above it calls get 503 until others are done.
    pub buffered_bytes_max: usize,
    /// Longest silence of a client that sends a body.
    pub client_idle: Duration,
    /// Longest wait for a connection to the upstream.
    pub upstream_connect: Duration,
    /// Longest silence of an upstream: before its headers and between two pieces of its body. Reasoning models think
    /// for minutes; the SDKs' own limit is 600 s.
    pub upstream_idle: Duration,
    /// Longest wait for a record to become durable.
    pub record_wait: Duration,
}

impl Default for Upstreams {
    fn default() -> Self {
        Self {
            openai: Some("https://api.openai.com".to_owned()),
            azure: None,
            anthropic: Some("https://api.anthropic.com".to_owned()),
            gemini: Some("https://generativelanguage.googleapis.com".to_owned()),
            bedrock: None,
        }
    }
}

impl Upstreams {
    /// All calls go to one place: for tests and demonstrations.
    #[must_use]
    pub fn all_at(base: &str) -> Self {
        let base = || Some(base.to_owned());
        Self { openai: base(), azure: base(), anthropic: base(), gemini: base(), bedrock: base() }
    }

    /// Where a provider is.
    #[must_use]
    pub fn of(&self, provider: Provider) -> Option<&str> {
        match provider {
            Provider::OpenAi => self.openai.as_deref(),
            Provider::Azure => self.azure.as_deref(),
            Provider::Anthropic => self.anthropic.as_deref(),
            Provider::Gemini => self.gemini.as_deref(),
            Provider::Bedrock => self.bedrock.as_deref(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 32 * 1024 * 1024,
            passthrough_bytes_max: 512 * 1024 * 1024,
            response_recorded_bytes_max: 16 * 1024 * 1024,
            buffered_bytes_max: 512 * 1024 * 1024,
            client_idle: Duration::from_secs(30),
            upstream_connect: Duration::from_secs(10),
            upstream_idle: Duration::from_secs(600),
            record_wait: Duration::from_secs(30),
        }
    }
}

/// Why a gateway cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A base URL cannot be used.
    #[error("{field} {url:?} {problem}; give something like https://api.example.com")]
    Base {
        /// Which setting.
        field: &'static str,
        /// What it is.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There are no certificate authorities to check an upstream with.
    #[error("no certificate authorities found for TLS upstreams: {0}; install ca-certificates or set SSL_CERT_FILE")]
    Roots(io::Error),
}

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

impl Gateway {
    /// Builds a gateway that records with `recorder`. Opens no connection yet. Nothing judges its calls: policies that ask for it take
    /// that for a failure.
    pub fn new(recorder: Arc<dyn Recorder>, config: Config) -> Result<Self, GatewayError> {
        Self::guarded(recorder, config, None, None)
    }

    /// As [`Self::new`], with who judges texts and who knows our keys.
    pub fn guarded(
        recorder: Arc<dyn Recorder>,
        mut config: Config,
        guard: Option<Arc<dyn Guard>>,
        checker: Option<Arc<dyn KeyChecker>>,
    ) -> Result<Self, GatewayError> {
        let upstream = Upstream::new(&config)?;
        let budget = Arc::new(Budget::new(config.limits.buffered_bytes_max));
        let keys = Keys::new(checker, std::mem::take(&mut config.virtual_keys));
        let policies = std::mem::take(&mut config.policies).into_iter().map(Arc::new).collect();
        let recording = Recording::new(recorder, config.limits.record_wait);
        let bench = Bench::new();
        let stopping = watch::Sender::new(false);
        Ok(Self { shared: Arc::new(Shared { recording, upstream, config, budget, stopping, keys, policies, guard, bench }) })
    }

    /// Its routes. For the client's address, serve it with [`serve`] or with connect info of type [`SocketAddr`].
    pub fn router(&self) -> Router {
        let roots = ["v1", "v1beta", "v1alpha", "upload", "model"].into_iter().chain(Provider::ALL.map(Provider::field));
        roots
            .fold(Router::new(), |router, root| router.route(&format!("/{root}/{{*rest}}"), any(dispatch::dispatch)))
            .with_state(Arc::clone(&self.shared))
    }

    /// Ends the connections that are still open, and waits until every record that is under way has been written: call it after the
    /// listener has stopped.
    pub async fn drained(&self) {
        self.shared.stopping.send_replace(true);
        self.shared.stopping.closed().await;
        self.shared.recording.drained().await;
    }
}

/// The gateway's routes.
pub fn router(recorder: Arc<dyn Recorder>, config: Config) -> Result<Router, GatewayError> {
    Ok(Gateway::new(recorder, config)?.router())
}

/// Serves a router with `TCP_NODELAY` and the client's address, until `shutdown` is ready and the open calls are done.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let listener = listener.tap_io(|connection| {
        // Without it, Nagle's algorithm waits for the client's delayed acknowledgement: 40 ms for every stream.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::warn!(%error, "TCP_NODELAY cannot be set; streams will be slow");
        }
    });
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).with_graceful_shutdown(shutdown).await
}

#[cfg(test)]
mod tests;
